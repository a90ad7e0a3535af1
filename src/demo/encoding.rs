//! The lab's rules as the netlink messages that iptables-nft 1.8.9 sends for them, so that iptables itself lists them.
//!
//! Plain matches are nf_tables expressions, in the order in which iptables writes them; `owner` and `REDIRECT` are xtables
//! extensions with their own structures. Numbers from `include/uapi/linux/netfilter/{nf_tables,nf_tables_compat,xt_owner}.h`
//! and `nf_nat.h`.

use std::net::IpAddr;

use crate::sys::netlink::{ACK, NETFILTER, NetlinkError, NetlinkSocket};
use crate::wire::attribute::Builder;

use super::Variant;
use super::ruleset::{Action, BASE_CHAINS, OWN_CHAINS, Owner, Rule, Test, rules};

type Message = (u16, u16, Vec<u8>);

const TABLE: &str = "nat";
const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const REQUEST: u16 = 1;
/// `NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE`.
const CREATE: u16 = ACK | 0x400;
/// `NLM_F_APPEND`: behind the rules that are there.
const APPEND: u16 = 0x800;

const REGISTER: u32 = 1;
const VERDICT_REGISTER: u32 = 0;
const PROTOCOL_TCP: u8 = 6;

/// Writes the whole `nat` table of one family, in one transaction, into the calling thread's namespace.
pub(super) fn load(ipv6: bool, variant: Variant) -> Result<(), NetlinkError> {
    NetlinkSocket::open(NETFILTER)?.transact(&messages(ipv6, variant))
}

fn messages(ipv6: bool, variant: Variant) -> Vec<Message> {
    let head = head(ipv6);
    let edge = [0, 0, 0, 10]; // the batch is for subsystem 10
    let mut messages = vec![(BATCH_BEGIN, REQUEST, edge.to_vec())];
    messages.push((NEW_TABLE, CREATE, Builder::after(&head).put_text(1, TABLE).finish()));
    for (name, hook, priority) in BASE_CHAINS {
        messages.push((NEW_CHAIN, CREATE, base_chain(&head, name, hook, priority)));
    }
    for name in OWN_CHAINS {
        messages.push((NEW_CHAIN, CREATE, Builder::after(&head).put_text(1, TABLE).put_text(3, name).finish()));
    }
    for rule in rules(ipv6, variant) {
        messages.push((NEW_RULE, CREATE | APPEND, rule_message(&head, &rule, ipv6)));
    }
    messages.push((BATCH_END, REQUEST, edge.to_vec()));
    messages
}

/// `struct nfgenmsg`: family, version, resource.
fn head(ipv6: bool) -> [u8; 4] {
    [if ipv6 { 10 } else { 2 }, 0, 0, 0]
}

/// A chain at a hook, with policy ACCEPT and counters at zero.
fn base_chain(head: &[u8], name: &str, hook: u32, priority: i32) -> Vec<u8> {
    let place = Builder::default().put_be32(1, hook).put(2, &priority.to_be_bytes());
    Builder::after(head)
        .put_text(1, TABLE)
        .put_text(3, name)
        .put_nested(4, &place)
        .put_be32(5, 1)
        .put_nested(8, &counters())
        .put_text(7, "nat")
        .finish()
}

fn rule_message(head: &[u8], rule: &Rule, ipv6: bool) -> Vec<u8> {
    let message =
        Builder::after(head).put_text(1, TABLE).put_text(2, rule.chain).put_nested(4, &expressions(rule, ipv6));
    if !rule.tcp {
        return message.finish();
    }
    // NFTA_RULE_COMPAT: extensions are checked against the protocol that the rule names.
    message.put_nested(5, &Builder::default().put_be32(1, PROTOCOL_TCP.into()).put_be32(2, 0)).finish()
}

fn expressions(rule: &Rule, ipv6: bool) -> Builder {
    let mut list = Expressions(Builder::default());
    if rule.to_loopback {
        const OUT_INTERFACE_NAME: u32 = 7;
        list = list.meta(OUT_INTERFACE_NAME).compare(b"lo\0", false);
    }
    if rule.tcp {
        const LAYER_4_PROTOCOL: u32 = 16;
        list = list.meta(LAYER_4_PROTOCOL).compare(&[PROTOCOL_TCP], false);
    }
    let (source_at, destination_at) = if ipv6 { (8, 24) } else { (12, 16) };
    if let Some(source) = rule.source {
        list = list.address(source_at, Test { value: source, inverted: false });
    }
    if let Some(destination) = rule.destination {
        list = list.address(destination_at, destination);
    }
    if let Some(port) = rule.port {
        const TRANSPORT_HEADER: u32 = 2;
        list = list.payload(TRANSPORT_HEADER, 2, 2).compare(&port.value.to_be_bytes(), port.inverted);
    }
    if let Some(owner) = rule.owner {
        list = list.extension("match", "owner", 1, &owner_info(owner));
    }
    list = list.push("counter", &counters());
    let list = match rule.action {
        Action::Return => list.verdict(-5, None),
        Action::Jump(chain) => list.verdict(-3, Some(chain)),
        Action::Redirect(port) => list.extension("target", "REDIRECT", 0, &redirect_info(port, ipv6)),
    };
    list.0
}

/// Packets and bytes, both zero, in the order of the header's numbers: bytes are 1, packets 2 in an expression.
fn counters() -> Builder {
    let zero = [0; 8];
    Builder::default().put(1, &zero).put(2, &zero)
}

/// `struct xt_owner_match_info`: UID range, GID range, what to match, what to turn round.
fn owner_info(owner: Test<Owner>) -> Vec<u8> {
    let (uids, gids, flag) = match owner.value {
        Owner::User(id) => ([id; 2], [0; 2], 1),
        Owner::Group(id) => ([0; 2], [id; 2], 2),
    };
    let mut info: Vec<u8> = [uids, gids].as_flattened().iter().flat_map(|id| id.to_ne_bytes()).collect();
    info.extend([flag, if owner.inverted { flag } else { 0 }]);
    info.resize(info.len().next_multiple_of(8), 0);
    info
}

/// `struct nf_nat_ipv4_multi_range_compat` with one range, or `struct nf_nat_range`: only the port is said, twice.
fn redirect_info(port: u16, ipv6: bool) -> Vec<u8> {
    const PORT_SPECIFIED: u32 = 2;
    let mut info = Vec::new();
    if !ipv6 {
        info.extend(1_u32.to_ne_bytes());
    }
    info.extend(PORT_SPECIFIED.to_ne_bytes());
    let addresses = if ipv6 { 32 } else { 8 };
    info.resize(info.len() + addresses, 0);
    info.extend([port.to_be_bytes(); 2].as_flattened());
    // The kernel rounds the IPv4 structure up to 8 bytes; the IPv6 one comes out even.
    info.resize(info.len().next_multiple_of(8), 0);
    info
}

/// A list of expressions under way.
struct Expressions(Builder);

impl Expressions {
    fn push(self, name: &str, data: &Builder) -> Self {
        const ELEMENT: u16 = 1;
        Self(self.0.put_nested(ELEMENT, &Builder::default().put_text(1, name).put_nested(2, data)))
    }

    fn meta(self, key: u32) -> Self {
        self.push("meta", &Builder::default().put_be32(2, key).put_be32(1, REGISTER))
    }

    fn payload(self, base: u32, offset: u32, length: u32) -> Self {
        let data = Builder::default().put_be32(1, REGISTER).put_be32(2, base).put_be32(3, offset).put_be32(4, length);
        self.push("payload", &data)
    }

    fn compare(self, value: &[u8], inverted: bool) -> Self {
        let data = Builder::default()
            .put_be32(1, REGISTER)
            .put_be32(2, inverted.into())
            .put_nested(3, &Builder::default().put(1, value));
        self.push("cmp", &data)
    }

    fn address(self, offset: u32, test: Test<IpAddr>) -> Self {
        const NETWORK_HEADER: u32 = 1;
        match test.value {
            IpAddr::V4(address) => self.payload(NETWORK_HEADER, offset, 4).compare(&address.octets(), test.inverted),
            IpAddr::V6(address) => self.payload(NETWORK_HEADER, offset, 16).compare(&address.octets(), test.inverted),
        }
    }

    fn extension(self, kind: &str, name: &str, revision: u32, info: &[u8]) -> Self {
        self.push(kind, &Builder::default().put_text(1, name).put_be32(2, revision).put(3, info))
    }

    fn verdict(self, code: i32, chain: Option<&str>) -> Self {
        let mut verdict = Builder::default().put(1, &code.to_be_bytes());
        if let Some(chain) = chain {
            verdict = verdict.put_text(2, chain);
        }
        let data =
            Builder::default().put_be32(1, VERDICT_REGISTER).put_nested(2, &Builder::default().put_nested(2, &verdict));
        self.push("immediate", &data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::attribute::attributes;

    /// The names of a rule's expressions, in order.
    fn names(rule: &Rule, ipv6: bool) -> Vec<String> {
        let bytes = expressions(rule, ipv6).finish();
        let elements = attributes(&bytes).map(|element| element.expect("whole"));
        elements.map(|element| element.nested().next().expect("a name").expect("whole").text()).collect()
    }

    #[test]
    fn expressions_come_in_the_order_in_which_iptables_writes_them() {
        for ipv6 in [false, true] {
            let rules = rules(ipv6, Variant::Istio);
            let own_call = rules.iter().find(|rule| rule.destination.is_some_and(|test| test.inverted));
            let wanted = "meta cmp meta cmp payload cmp payload cmp match counter immediate";
            assert_eq!(names(own_call.expect("a rule for the proxy's calls to its own pod"), ipv6).join(" "), wanted);
        }
    }

    #[test]
    fn extensions_have_the_kernel_s_structures() {
        let owner = owner_info(Test { value: Owner::Group(1337), inverted: true });
        assert_eq!(owner, [0, 0, 0, 0, 0, 0, 0, 0, 0x39, 5, 0, 0, 0x39, 5, 0, 0, 2, 2, 0, 0, 0, 0, 0, 0]);
        let redirect = redirect_info(15006, false);
        assert_eq!(redirect, [1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x3a, 0x9e, 0x3a, 0x9e, 0, 0, 0, 0]);
        assert_eq!(redirect_info(15006, true).len(), 40);
    }

    #[test]
    fn the_variant_lacks_exactly_the_two_exemptions() {
        for ipv6 in [false, true] {
            let count = |variant| messages(ipv6, variant).iter().filter(|(kind, _, _)| *kind == NEW_RULE).count();
            assert_eq!(count(Variant::Istio), count(Variant::WithoutExemption) + 2);
        }
    }
}
