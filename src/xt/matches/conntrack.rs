//! `-m conntrack` and its short form `-m state` (`struct xt_conntrack_mtinfo1` to `3`, `struct xt_state_info`).

use std::fmt::Write;
use std::net::IpAddr;

use super::host::Host;
use super::span::{bang, not, unequal};
use super::{Condition, Extension, Given, Matching, Span, Words};
use crate::packet::Field;
use crate::xt::bytes::Layout;
use crate::xt::extension::begins;
use crate::xt::ip::{protocol_name, protocol_number};
use crate::xt::services::service;

/// Tests of a packet's tracked connection. A negation stands in front of what it negates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conntrack {
    /// Written as `-m state --state`.
    pub short: bool,
    /// `--ctstate`: one of these `XT_CONNTRACK_STATE_*` bits.
    pub states: Option<(bool, u16)>,
    /// `--ctproto`
    pub protocol: Option<(bool, u8)>,
    /// `--ctorigsrc`, `--ctorigdst`, `--ctreplsrc`, `--ctrepldst`
    pub addresses: [Option<(bool, Host)>; 4],
    /// The same for ports: `--ctorigsrcport` and so on.
    pub ports: [Option<Span>; 4],
    /// `--ctstatus`: one of these `IPS_*` bits; none of those known here where it is 0.
    pub status: Option<(bool, u16)>,
    /// `--ctexpire`: seconds that are left.
    pub expiry: Option<Span>,
    /// `--ctdir`: against the connection's first packet.
    pub reply: Option<bool>,
}

/// In the order in which iptables prints them (`include/uapi/linux/netfilter/xt_conntrack.h`).
const STATES: [(u16, &str); 7] = [
    (1, "INVALID"),
    (1 << 3, "NEW"),
    (1 << 2, "RELATED"),
    (1 << 1, "ESTABLISHED"),
    (1 << 8, "UNTRACKED"),
    (1 << 6, "SNAT"),
    (1 << 7, "DNAT"),
];
/// The states of a packet that has no connection.
const WITHOUT: u16 = 1 | 1 << 8;

/// `IPS_*` (`nf_conntrack_common.h`), and in nft's words.
const STATUSES: [(u16, &str, &str); 4] = [
    (1, "EXPECTED", "expected"),
    (2, "SEEN_REPLY", "seen-reply"),
    (4, "ASSURED", "assured"),
    (8, "CONFIRMED", "confirmed"),
];

/// `match_flags`, `invert_flags`
const STATE: u16 = 1;
const PROTOCOL: u16 = 1 << 1;
const FIRST_ADDRESS: u16 = 1 << 2;
const STATUS: u16 = 1 << 6;
const EXPIRY: u16 = 1 << 7;
const FIRST_PORT: u16 = 1 << 8;
const DIRECTION: u16 = 1 << 12;
const STATE_ALIAS: u16 = 1 << 13;

/// Of each end, in the kernel's order: the option, the field of address and of port, people's and nft's words.
const ENDS: [(&str, Field, Field, &str, &str); 4] = [
    ("--ctorigsrc", Field::OriginalSource, Field::OriginalSourcePort, "from", "original s"),
    ("--ctorigdst", Field::OriginalDestination, Field::OriginalDestinationPort, "to", "original d"),
    ("--ctreplsrc", Field::ReplySource, Field::ReplySourcePort, "answered from", "reply s"),
    ("--ctrepldst", Field::ReplyDestination, Field::ReplyDestinationPort, "answered to", "reply d"),
];

fn state_names(bits: u16) -> Vec<&'static str> {
    STATES.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect()
}

/// `of related or established connections`; states that are no connection's, and negations, by their names.
fn state_words(negated: bool, bits: u16) -> String {
    /// NEW, RELATED, ESTABLISHED.
    const PLAIN: u16 = 1 << 3 | 1 << 2 | 1 << 1;
    let names = state_names(bits);
    let list = match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    };
    match negated || bits & !PLAIN != 0 {
        false => format!("of {} connections", list.to_lowercase()),
        true => format!("{}in connection state {list}", not(negated)),
    }
}

fn status_names(bits: u16) -> String {
    let names: Vec<&str> = STATUSES.iter().filter(|(bit, ..)| bits & bit != 0).map(|(_, name, _)| *name).collect();
    if names.is_empty() { "NONE".to_owned() } else { names.join(",") }
}

impl Conntrack {
    /// A test of the state alone.
    #[must_use]
    pub fn of_states(negated: bool, states: u16) -> Self {
        Self { states: Some((negated, states)), ..Self::default() }
    }

    /// The ends' options, each with its place, and whether it is that of a port.
    fn end(option: &str) -> Option<(usize, bool)> {
        let (name, port) = option.strip_suffix("port").map_or((option, false), |name| (name, true));
        Some((ENDS.iter().position(|(known, ..)| *known == name)?, port))
    }

    fn set(&mut self, given: &Given, ipv6: bool) -> Option<()> {
        let negated = given.negated;
        match given.name {
            "--ctstate" | "--state" => {
                let known = |name: &str| STATES.iter().find(|(_, known)| begins(known, name));
                let bits = given.value().split(',').try_fold(0, |bits, name| Some(bits | known(name)?.0))?;
                self.states = Some((negated, bits));
            }
            "--ctproto" => self.protocol = Some((negated, protocol_number(given.value())?)),
            "--ctstatus" => {
                let known = |name: &str| match name {
                    _ if begins("NONE", name) => Some(0),
                    _ => STATUSES.iter().find(|(_, known, _)| begins(known, name)).map(|(bit, ..)| *bit),
                };
                let bits = given.value().split(',').try_fold(0, |bits, name| Some(bits | known(name)?))?;
                self.status = Some((negated, bits));
            }
            "--ctexpire" => self.expiry = Some(Span::parse(given, u32::MAX)?),
            "--ctdir" => {
                self.reply = Some(match given.value().to_ascii_uppercase().as_str() {
                    "ORIGINAL" => false,
                    "REPLY" => true,
                    _ => return None,
                });
            }
            option => match Self::end(option)? {
                (end, false) => *self.addresses.get_mut(end)? = Some((negated, Host::parse(given.value(), ipv6)?)),
                (end, true) => {
                    let ports = Span::parse_named(given, u16::MAX.into(), |text| service(text).map(u32::from))?;
                    *self.ports.get_mut(end)? = Some(ports);
                }
            },
        }
        Some(())
    }

    /// Everything but the state, which packets without a connection have too.
    fn of_connection(&self) -> Vec<Condition> {
        let mut all = Vec::new();
        all.extend(self.reply.map(|reply| Condition::equals(Field::IsReply, u8::from(reply))));
        all.extend(
            self.protocol
                .map(|(negated, protocol)| Condition::equals(Field::ConnectionProtocol, protocol).negated_if(negated)),
        );
        for ((address, ports), (_, of_address, of_port, ..)) in self.addresses.iter().zip(&self.ports).zip(ENDS) {
            all.extend(address.map(|(negated, host)| host.condition(of_address).negated_if(negated)));
            all.extend(ports.map(|ports| ports.condition(of_port)));
        }
        all.extend(self.status.map(|(negated, bits)| match bits {
            // No bit at all: the kernel compares nothing, and nothing is found.
            0 => Condition::Any(Vec::new()).negated_if(negated),
            bits => Condition::AnyBit(Field::ConnectionStatus, bits.into()).negated_if(negated),
        }));
        all.extend(self.expiry.map(|expiry| expiry.condition(Field::ConnectionExpiry)));
        all
    }
}

impl Extension for Conntrack {
    const NAMES: &'static [&'static str] = &["conntrack", "state"];
    const OPTIONS: &'static [(&'static str, usize)] = &[
        ("--ctstate", 1),
        ("--state", 1),
        ("--ctproto", 1),
        ("--ctorigsrc", 1),
        ("--ctorigdst", 1),
        ("--ctreplsrc", 1),
        ("--ctrepldst", 1),
        ("--ctorigsrcport", 1),
        ("--ctorigdstport", 1),
        ("--ctreplsrcport", 1),
        ("--ctrepldstport", 1),
        ("--ctstatus", 1),
        ("--ctexpire", 1),
        ("--ctdir", 1),
    ];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        // Four addresses with their masks; expiry; protocol and four ports; then what is compared, what is negated, the states.
        const EXPIRES: usize = 8 * 16;
        const PROTOCOL_AT: usize = EXPIRES + 8;
        const FLAGS: usize = PROTOCOL_AT + 10;
        let layout = Layout(data);
        let (tests, negations) = (layout.u16(FLAGS)?, layout.u16(FLAGS + 2)?);
        let (states, status) = match revision {
            1 => (layout.u8(FLAGS + 4)?.into(), layout.u8(FLAGS + 5)?.into()),
            2 | 3 => (layout.u16(FLAGS + 4)?, layout.u16(FLAGS + 6)?),
            _ => return None,
        };
        let test = |bit: u16| (tests & bit != 0).then_some(negations & bit != 0);
        let known_states = STATES.iter().fold(0, |bits, (bit, _)| bits | bit);
        let known_statuses = STATUSES.iter().fold(0, |bits, (bit, ..)| bits | bit);
        let wrong = (test(STATE).is_some() && (states == 0 || states & !known_states != 0))
            || (test(STATUS).is_some() && status & !known_statuses != 0)
            // The short form asks for states and nothing else.
            || (tests & STATE_ALIAS != 0 && tests != STATE_ALIAS | STATE)
            || tests & !(STATE_ALIAS | (STATE_ALIAS - 1)) != 0
            || tests == 0;
        if wrong {
            return None;
        }
        let mut found = Self {
            short: tests & STATE_ALIAS != 0,
            states: test(STATE).map(|negated| (negated, states)),
            status: test(STATUS).map(|negated| (negated, status)),
            reply: test(DIRECTION),
            ..Self::default()
        };
        if let Some(negated) = test(PROTOCOL) {
            found.protocol = Some((negated, u8::try_from(layout.u16(PROTOCOL_AT)?).ok()?));
        }
        if let Some(negated) = test(EXPIRY) {
            found.expiry = Some(Span { negated, from: layout.u32(EXPIRES)?, to: layout.u32(EXPIRES + 4)? });
        }
        for (index, place) in found.addresses.iter_mut().enumerate() {
            let address = |at| -> Option<IpAddr> { if ipv6 { layout.v6(at) } else { layout.v4(at) } };
            if let Some(negated) = test(FIRST_ADDRESS << index) {
                *place = Some((negated, Host::new(address(32 * index)?, address(32 * index + 16)?)?));
            }
        }
        for (index, place) in found.ports.iter_mut().enumerate() {
            let (first, last) = (PROTOCOL_AT + 2 + 2 * index, FLAGS + 8 + 2 * index);
            if let Some(negated) = test(FIRST_PORT << index) {
                // Only the newest revision knows ranges, and holds them in the machine's own order.
                let (from, to) = match revision {
                    3 => (layout.u16(first)?, layout.u16(last)?),
                    _ => (layout.be16(first)?, layout.be16(first)?),
                };
                *place = Some(Span { negated, from: from.into(), to: to.into() });
            }
        }
        Some(found)
    }

    fn parse(name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        let mut found = Self { short: name == "state", ..Self::default() };
        for given in options {
            // Each form has its own option for the states.
            if (given.name == "--state") != found.short {
                return None;
            }
            found.set(given, ipv6)?;
        }
        (!options.is_empty()).then_some(found)
    }

    fn name(&self) -> &'static str {
        if self.short { "state" } else { "conntrack" }
    }

    fn save(&self, out: &mut String) {
        // Writing to a String cannot fail.
        if let Some((negated, bits)) = self.states {
            let option = if self.short { "--state" } else { "--ctstate" };
            write!(out, "{} {option} {}", bang(negated), state_names(bits).join(",")).ok();
        }
        if let Some((negated, protocol)) = self.protocol {
            write!(out, "{} --ctproto {protocol}", bang(negated)).ok();
        }
        for (address, (option, ..)) in self.addresses.iter().zip(ENDS) {
            if let Some((negated, host)) = address {
                write!(out, "{} {option} {}", bang(*negated), host.text()).ok();
            }
        }
        for (ports, (option, ..)) in self.ports.iter().zip(ENDS) {
            if let Some(ports) = ports {
                ports.save(&format!("{option}port"), out);
            }
        }
        if let Some((negated, bits)) = self.status {
            write!(out, "{} --ctstatus {}", bang(negated), status_names(bits)).ok();
        }
        if let Some(expiry) = self.expiry {
            expiry.save("--ctexpire", out);
        }
        if let Some(reply) = self.reply {
            write!(out, " --ctdir {}", if reply { "REPLY" } else { "ORIGINAL" }).ok();
        }
    }
}

impl Matching for Conntrack {
    fn condition(&self) -> Condition {
        let without = Condition::AnyBit(Field::State, WITHOUT.into());
        let rest = self.of_connection();
        // Without a connection the state decides alone where it is asked for; else nothing matches (net/netfilter/xt_conntrack.c).
        match self.states {
            Some((negated, bits)) => {
                let state = Condition::AnyBit(Field::State, bits.into()).negated_if(negated);
                if rest.is_empty() {
                    return state;
                }
                Condition::All(vec![state, Condition::Any(vec![without, Condition::All(rest)])])
            }
            None => Condition::All(rest.into_iter().chain([without.negated_if(true)]).collect()),
        }
    }

    fn explain(&self, words: &mut Words) {
        if let Some((negated, bits)) = self.states {
            words.also(state_words(negated, bits));
        }
        if let Some((negated, protocol)) = self.protocol {
            let name = protocol_name(protocol).to_uppercase();
            words.also(format!("{}of connections by {name}", not(negated)));
        }
        for ((address, ports), (.., way, _)) in self.addresses.iter().zip(&self.ports).zip(ENDS) {
            if let Some((negated, host)) = address {
                words.also(format!("{}of connections {way} {}", not(*negated), host.text()));
            }
            if let Some(ports) = ports {
                words.also(format!("{}of connections {way} port {}", not(ports.negated), ports.text('–')));
            }
        }
        if let Some((negated, bits)) = self.status {
            let status = status_names(bits).to_lowercase().replace('_', " ").replace(',', " or ");
            words.also(format!("{}of connections with status {status}", not(negated)));
        }
        if let Some(expiry) = self.expiry {
            words.also(format!("{}of connections with {} seconds left", not(expiry.negated), expiry.text('–')));
        }
        if let Some(reply) = self.reply {
            words.also(if reply { "that are replies" } else { "that are no replies" });
        }
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        const SNAT: u16 = 1 << 6;
        const DNAT: u16 = 1 << 7;
        let mut parts = Vec::new();
        let way = if self.reply == Some(true) { "reply" } else { "original" };
        parts.extend(self.reply.map(|_| format!("ct direction {way}")));
        if let Some((negated, protocol)) = self.protocol {
            parts.push(format!("ct {way} protocol {}{protocol}", unequal(negated)));
        }
        // iptables' translation forgets states beside a translated address, and the negation of one.
        match self.states {
            None => {}
            Some((false, SNAT)) => parts.push("ct status snat".to_owned()),
            Some((false, DNAT)) => parts.push("ct status dnat".to_owned()),
            Some((_, bits)) if bits & (SNAT | DNAT) != 0 => return None,
            Some((negated, bits)) => {
                let names = state_names(bits).join(",").to_lowercase();
                parts.push(format!("ct state {}{names}", if negated { "! " } else { "" }));
            }
        }
        if let Some((negated, bits)) = self.status {
            let named = STATUSES.iter().filter(|(bit, ..)| bits & bit != 0);
            let names: Vec<&str> = named.map(|(.., name)| *name).collect();
            if names.is_empty() {
                return None;
            }
            parts.push(format!("ct status {}{}", if negated { "! " } else { "" }, names.join(",")));
        }
        parts.extend(self.expiry.map(|expiry| expiry.nft("ct expiration")));
        for (address, (.., word)) in self.addresses.iter().zip(ENDS) {
            parts.extend(address.map(|(negated, host)| format!("ct {word}addr {}{}", unequal(negated), host.text())));
        }
        for (ports, (.., word)) in self.ports.iter().zip(ENDS) {
            let word = word.replace(" s", " proto-src").replace(" d", " proto-dst");
            parts.extend(ports.map(|ports| ports.nft(&format!("ct {word}"))));
        }
        Some(parts.join(" "))
    }
}
