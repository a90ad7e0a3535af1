//! Rules of nft in the terms of iptables, where they mean the same: so one evaluator, and the same plain words, serve both.
//!
//! A comparison that has no such term stays as a match that is not modelled. A rule that does what no single target does is not read.

mod answers;
mod branches;
mod elements;
mod parts;
mod sets;

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::{Body, Family, Rule, Table};
use crate::nft::{self, Expression, Load, Place, Right, Statement, Term, Verdict, statements};
use crate::packet::{Condition, exact_text};
use crate::syntax::place_of;
use crate::xt::matches::{Addrtype, Connmark, Conntrack, Ids, Mark, Match, Multiport, Owner, Ports, Side, Tcp, Udp};
use crate::xt::targets::{
    ConnmarkTarget, Ct, Direction, Dnat, MarkTarget, Masquerade, Mode, NatRange, PortRange, Redirect, Reject, Snat,
    Tproxy, Zone,
};
use crate::xt::{self, Action, AddressMatch, DeviceMatch, ProtocolMatch, Target, Unknown};

pub use branches::{Branch, NotFollowed, branches, native_branches};
use parts::changed_bits;
pub(super) use parts::{alone, asked_first, asks};

/// A rule in the terms of iptables.
#[derive(Debug, Clone)]
pub struct Reading<'a> {
    /// It.
    pub rule: Cow<'a, xt::Rule>,
    /// It is about packets of IPv6 (`true`) or IPv4 alone, though its table sees both.
    pub ipv6: Option<bool>,
}

/// The reading of a rule; `None` where it means something that iptables cannot say.
#[must_use]
pub fn reading<'a>(family: Family, table: &Table, rule: &'a Rule) -> Option<Reading<'a>> {
    match &rule.body {
        Body::Xt(rule) => Some(Reading { rule: Cow::Borrowed(rule), ipv6: None }),
        Body::Nft(native) => translate(family, table, native),
    }
}

impl Reading<'_> {
    /// What the rule asks of a packet.
    #[must_use]
    pub fn condition(&self) -> Condition {
        match (self.ipv6, self.rule.condition()) {
            (None, condition) => condition,
            (Some(ipv6), condition) => Condition::All(vec![Condition::Ipv6(ipv6), condition]),
        }
    }
}

struct Translator<'a> {
    table: &'a Table,
    place: Place<'a>,
    rule: xt::Rule,
    ipv6: Option<bool>,
    /// It asks for both families at once, which no packet is of.
    never: bool,
    acted: bool,
    tproxy: Option<Tproxy>,
}

fn translate<'a>(family: Family, table: &Table, native: &nft::Rule) -> Option<Reading<'a>> {
    let mut translator = Translator::new(table, place_of(family, table, &[], false));
    for statement in statements(native, translator.place)? {
        translator.statement(&statement)?;
    }
    // nft's own tproxy lets the packet go on; only with a verdict behind it does it do what TPROXY does.
    if translator.tproxy.is_some() || translator.never {
        return None;
    }
    let mixed = matches!(family, Family::Inet | Family::Netdev);
    if let Some(text) = native.comment() {
        translator.rule.matches.push(Match::Comment(xt::matches::Comment { text }));
    }
    // In a table of one family, what is for the other is for nobody.
    let ipv6 = translator.ipv6.filter(|ipv6| mixed || !family.sees(*ipv6));
    Some(Reading { rule: Cow::Owned(translator.rule), ipv6 })
}

fn host(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn big16(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()),
        16 => Some(Ipv6Addr::from(*bytes.first_chunk::<16>()?).into()),
        _ => None,
    }
}

/// Fills a place that can hold one test only.
fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.is_none().then(|| *place = Some(value))
}

impl<'a> Translator<'a> {
    fn new(table: &'a Table, place: Place<'a>) -> Self {
        let rule = xt::Rule { ip: xt::IpPart::default(), matches: Vec::new(), action: Action::None };
        Self { table, place, rule, ipv6: None, never: false, acted: false, tproxy: None }
    }

    fn statement(&mut self, statement: &Statement) -> Option<()> {
        match statement {
            Statement::Match { left, sign, right } => {
                // What is asked after something was done cannot be said in one rule.
                if self.acted || self.tproxy.is_some() {
                    return None;
                }
                let before = (self.rule.clone(), self.ipv6);
                if self.compared(left, sign, right).is_none() {
                    (self.rule, self.ipv6) = before;
                    self.unmodelled(statement)?;
                }
            }
            Statement::Plain(Expression::Counter { .. } | Expression::Log { .. }) => {}
            Statement::Plain(Expression::Notrack) => {
                self.act(Action::Target(Ct { untracked: true, short: true, ..Ct::default() }.into()))?;
            }
            Statement::Plain(Expression::Limit { .. } | Expression::Quota { .. } | Expression::Connections { .. })
                if !self.acted && self.tproxy.is_none() =>
            {
                self.unmodelled(statement)?
            }
            Statement::Verdict(verdict) => self.verdict(verdict)?,
            Statement::Set { what, to } => self.set(what, to)?,
            Statement::Nat { word, to, flags, family } => {
                self.only(*family)?;
                let range = self.range(to, *flags)?;
                self.act(Action::Target(match *word {
                    "redirect" => Redirect(range.without_address()?).into(),
                    "masquerade" => Masquerade(range.without_address()?).into(),
                    "dnat" => Dnat(range).into(),
                    _ => Snat(range).into(),
                }))?;
            }
            Statement::Tproxy { to, family } => {
                self.only(*family)?;
                let range = self.range(to, 0)?;
                let port = range.ports.map_or(0, |ports| ports.from);
                let unspecified = IpAddr::from([0_u8; 4]);
                let address = range.addresses.map_or(unspecified, |(address, _)| address);
                once(&mut self.tproxy, Tproxy { port, address, mark: 0, mask: 0 })?;
            }
            Statement::Reject { kind, code, ipv6, .. } => {
                const UNREACHABLE: u32 = 0;
                let ipv6 = if *kind == UNREACHABLE { (*ipv6)? } else { false };
                let answer = answers::answer(*kind, *code, ipv6)?;
                self.act(Action::Target(Target::Reject(Reject { answer })))?;
            }
            _ => return None,
        }
        Some(())
    }

    /// The expression is for packets of this family (`NFPROTO_*`) and does nothing to others (net/netfilter/nft_nat.c,
    /// nft_tproxy.c), as if the rule asked for it: nothing is done before or behind it.
    fn only(&mut self, family: Option<u32>) -> Option<()> {
        match family {
            None => Some(()),
            Some(2) => self.family(false),
            Some(10) => self.family(true),
            Some(_) => None,
        }
    }

    /// A comparison that is kept in nft's words.
    fn unmodelled(&mut self, statement: &Statement) -> Option<()> {
        let text = nft::statement_text(statement, &self.place)?;
        let known = match statement {
            Statement::Match { left, sign, right } => self.sets(left, sign, right),
            _ => None,
        };
        let condition = known.unwrap_or_else(|| Condition::Opaque(text.clone()));
        self.rule.matches.push(Match::Unknown(Box::new(Unknown::Native { text, condition })));
        Some(())
    }

    fn act(&mut self, action: Action) -> Option<()> {
        if self.acted || self.tproxy.is_some() {
            return None;
        }
        (self.rule.action, self.acted) = (action, true);
        Some(())
    }

    fn verdict(&mut self, verdict: &Verdict) -> Option<()> {
        // With another verdict behind it, what becomes of the packet is nothing that one target does.
        if *verdict == Verdict::Accept
            && let Some(tproxy) = self.tproxy.take()
        {
            return self.act(Action::Target(Target::Tproxy(tproxy)));
        }
        self.act(match verdict {
            Verdict::Accept => Action::Accept,
            Verdict::Drop => Action::Drop,
            Verdict::Return => Action::Return,
            Verdict::Jump(chain) => Action::Jump(chain.clone()),
            Verdict::Goto(chain) => Action::Goto(chain.clone()),
            // What all rules without a verdict do.
            Verdict::Continue => return (!self.acted).then_some(()),
            Verdict::Other(_) => return None,
        })
    }

    fn set(&mut self, what: &Term, to: &Term) -> Option<()> {
        let connection = |mode, value, connection_mask| {
            Target::ConnmarkTarget(ConnmarkTarget {
                mode,
                value,
                connection_mask,
                packet_mask: u32::MAX,
                ..Default::default()
            })
        };
        let target = match (what, to) {
            (Term::Meta(MARK), Term::Load(Load::Ct { key: CT_MARK, .. })) => connection(Mode::Restore, 0, u32::MAX),
            (Term::Load(Load::Ct { key: CT_MARK, .. }), Term::Meta(MARK)) => connection(Mode::Save, 0, u32::MAX),
            (Term::Meta(MARK), to) => {
                let (value, mask) = changed_bits(what, to)?;
                if let Some(tproxy) = &mut self.tproxy {
                    (tproxy.mark, tproxy.mask) = (value, mask);
                    return Some(());
                }
                Target::MarkTarget(MarkTarget { value, mask })
            }
            (Term::Load(Load::Ct { key: CT_MARK, .. }), to) => {
                let (value, mask) = changed_bits(what, to)?;
                connection(Mode::Set, value, mask)
            }
            (Term::Load(Load::Ct { key: CT_ZONE, direction: None }), Term::Value(zone)) => {
                let zone = u16::from_ne_bytes(*zone.first_chunk()?);
                let zone = (zone != 0).then_some(Zone { number: Some(zone), direction: Direction::Both });
                Ct { zone, ..Ct::default() }.into()
            }
            _ => return None,
        };
        self.act(Action::Target(target))
    }

    fn range(&self, to: &nft::Ends, flags: u32) -> Option<NatRange> {
        /// `NF_NAT_RANGE_MAP_IPS`, `NF_NAT_RANGE_PROTO_SPECIFIED`
        const SAID: u32 = 3;
        /// `NF_NAT_RANGE_NETMAP`
        const PREFIX: u32 = 64;
        if flags & PREFIX != 0 {
            return None;
        }
        let value = |term: &Term| match term {
            Term::Value(value) => Some(value.clone()),
            _ => None,
        };
        let addresses = match &to.address {
            None => None,
            Some((from, to)) => {
                let from = address(&value(from)?)?;
                let to = match to {
                    Some(to) => address(&value(to)?)?,
                    None => from,
                };
                Some((from, to))
            }
        };
        let ports = match &to.port {
            None => None,
            Some((from, to)) => {
                let from = big16(&value(from)?)?;
                let to = match to {
                    Some(to) => big16(&value(to)?)?,
                    None => from,
                };
                Some(PortRange { from, to })
            }
        };
        Some(NatRange { addresses, ports, flags: flags & !SAID, base: None })
    }

    fn compared(&mut self, left: &Term, sign: &str, right: &Right) -> Option<()> {
        let negated = match sign {
            "" | "==" => false,
            "!=" => true,
            _ => return None,
        };
        match (left, right) {
            (Term::Meta(key @ (IIF | OIF)), Right::Value(value)) if host(value)? == 1 && !negated => {
                self.device(*key == IIF, DeviceMatch { negated, name: "lo".to_owned(), prefix: false })
            }
            (Term::Meta(key @ (IIFNAME | OIFNAME)), Right::Value(name) | Right::Begins(name)) => {
                let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
                let prefix = matches!(right, Right::Begins(_));
                let (name, rest) = name.split_at_checked(end)?;
                // No device has a name with something behind its end.
                if rest.iter().any(|byte| *byte != 0) {
                    return None;
                }
                let name = exact_text(name).into_owned();
                self.device(*key == IIFNAME, DeviceMatch { negated, name, prefix })
            }
            (Term::Meta(NFPROTO), Right::Value(value)) if !negated => match value.as_slice() {
                [2] => self.family(false),
                [10] => self.family(true),
                _ => None,
            },
            (Term::Meta(PROTOCOL), Right::Value(value)) if !negated => match big16(value)? {
                0x800 => self.family(false),
                0x86dd => self.family(true),
                _ => None,
            },
            (Term::Meta(L4PROTO), Right::Value(value)) => self.protocol(negated, *value.first()?),
            (Term::Meta(key @ (SKUID | SKGID)), Right::Value(value)) => {
                self.owner(*key == SKUID, Ids { negated, from: host(value)?, to: host(value)? });
                Some(())
            }
            // Ranges of them are kept most significant byte first.
            (Term::Turned(of), Right::Range(from, to)) => {
                let Term::Meta(key @ (SKUID | SKGID)) = **of else { return None };
                let (from, to) = self.turned_range(from, to)?;
                self.owner(key == SKUID, Ids { negated, from, to });
                Some(())
            }
            (Term::Load(Load::Ct { key: CT_STATE, .. }), right) => self.state(negated, right),
            (Term::Load(Load::Fib { result: 3, flags }), Right::Value(value)) => {
                let types = Addrtype::native(*flags, negated, host(value)?)?;
                self.rule.matches.push(Match::Addrtype(types));
                Some(())
            }
            (Term::Field(field), right) => self.field(field, negated, right),
            (left, right) => self.mark(left, negated, right),
        }
    }

    /// A set that no rule of the table changes.
    fn lasting(&self, name: &str) -> Option<&nft::Set> {
        self.place.set(name).filter(|_| !self.table.changes(name))
    }

    fn turned_range(&self, from: &[u8], to: &[u8]) -> Option<(u32, u32)> {
        let big = |bytes: &[u8]| Some(u32::from_be_bytes(bytes.try_into().ok()?));
        big(from).zip(big(to))
    }

    fn device(&mut self, input: bool, device: DeviceMatch) -> Option<()> {
        once(if input { &mut self.rule.ip.input } else { &mut self.rule.ip.output }, Box::new(device))
    }

    fn family(&mut self, ipv6: bool) -> Option<()> {
        self.never |= *self.ipv6.get_or_insert(ipv6) != ipv6;
        Some(())
    }

    fn protocol(&mut self, negated: bool, number: u8) -> Option<()> {
        let wanted = ProtocolMatch { negated, number };
        if self.rule.ip.protocol == Some(wanted) {
            return Some(());
        }
        once(&mut self.rule.ip.protocol, wanted)
    }

    /// A packet that nobody owns never passes nft's test, not even a negated one (net/netfilter/nft_meta.c).
    fn owner(&mut self, user: bool, ids: Ids) {
        let socket_exists = ids.negated.then_some(false);
        let owner = Owner { socket_exists, ..Owner::default() };
        self.rule.matches.push(Match::Owner(match user {
            true => Owner { uid: Some(ids), ..owner },
            false => Owner { gid: Some(ids), ..owner },
        }));
    }

    fn state(&mut self, negated: bool, right: &Right) -> Option<()> {
        /// nft's bits, and those of iptables.
        const STATES: [(u32, u16); 5] = [(1, 1), (2, 2), (4, 4), (8, 8), (0x40, 1 << 8)];
        let (bits, negated) = match right {
            Right::AnyOf(bits) if !negated => (host(bits)?, false),
            Right::NoneOf(bits) if !negated => (host(bits)?, true),
            Right::Value(value) if host(value)?.count_ones() == 1 => (host(value)?, negated),
            _ => return None,
        };
        let known = STATES.iter().fold(0, |all, (bit, _)| all | bit);
        let states = STATES.iter().filter(|(bit, _)| bits & bit != 0).fold(0, |all, (_, state)| all | state);
        (bits & !known == 0).then(|| {
            self.rule.matches.push(Match::Conntrack(Box::new(Conntrack::of_states(negated, states))));
        })
    }

    fn mark(&mut self, left: &Term, negated: bool, right: &Right) -> Option<()> {
        let (of, mask) = match left {
            Term::Binary { of, sign: "&", with } => (&**of, host(with)?),
            other => (other, u32::MAX),
        };
        let (value, mask) = match right {
            Right::Value(value) => (host(value)?, mask),
            Right::Prefix(value, bits) => (host(value)?, mask & u32::MAX.checked_shl(32_u32.checked_sub(*bits)?)?),
            _ => return None,
        };
        let mark = Mark { negated, value, mask };
        self.rule.matches.push(match of {
            Term::Meta(MARK) => Match::Mark(mark),
            Term::Load(Load::Ct { key: CT_MARK, .. }) => Match::Connmark(Connmark(mark)),
            _ => return None,
        });
        Some(())
    }

    fn field(&mut self, field: &nft::Field, negated: bool, right: &Right) -> Option<()> {
        match (field.header, field.name) {
            ("ip" | "ip6", "saddr" | "daddr") => {
                let (value, bits) = match right {
                    Right::Value(value) => (value, field.bits),
                    Right::Prefix(value, bits) => (value, *bits),
                    _ => return None,
                };
                let mask = match field.bits {
                    32 => IpAddr::from(Ipv4Addr::from(u32::MAX.checked_shl(32_u32.checked_sub(bits)?).unwrap_or(0))),
                    _ => IpAddr::from(Ipv6Addr::from(u128::MAX.checked_shl(128_u32.checked_sub(bits)?).unwrap_or(0))),
                };
                let part = AddressMatch { negated, address: address(value)?, mask };
                let ip = &mut self.rule.ip;
                once(if field.name == "saddr" { &mut ip.source } else { &mut ip.destination }, part)?;
                self.family(field.header == "ip6")
            }
            // A connection begins without extension headers: what follows the header of IPv6 is the transport header.
            ("ip", "protocol") | ("ip6", "nexthdr") => {
                let Right::Value(value) = right else { return None };
                self.protocol(negated, *value.first()?)?;
                self.family(field.header == "ip6")
            }
            ("tcp" | "udp", "sport" | "dport") => {
                let tcp = field.header == "tcp";
                self.protocol(false, if tcp { 6 } else { 17 })?;
                self.ports(tcp, field.name == "sport", negated, right)
            }
            _ => None,
        }
    }

    fn ports(&mut self, tcp: bool, source: bool, negated: bool, right: &Right) -> Option<()> {
        let (from, to) = match right {
            Right::Value(value) => (big16(value)?, big16(value)?),
            Right::Range(from, to) => (big16(from)?, big16(to)?),
            Right::Set(name) => {
                let set = self.lasting(name)?;
                let ports: Option<Vec<(u16, u16)>> =
                    nft::ranges(set)?.iter().map(|(from, to)| big16(from).zip(big16(to))).collect();
                let side = if source { Side::Source } else { Side::Destination };
                self.rule.matches.push(Match::Multiport(Multiport { negated, side, ports: ports? }));
                return Some(());
            }
            _ => return None,
        };
        let ports = Ports { negated, from, to };
        let (left, right) = if source { (Some(ports), None) } else { (None, Some(ports)) };
        self.rule.matches.push(match tcp {
            true => Match::Tcp(Tcp { source: left, destination: right, ..Tcp::default() }),
            false => Match::Udp(Udp { source: left, destination: right, ..Udp::default() }),
        });
        Some(())
    }
}

/// `NFT_META_*` and `NFT_CT_*` keys.
const PROTOCOL: u32 = 1;
const MARK: u32 = 3;
const IIF: u32 = 4;
const OIF: u32 = 5;
const IIFNAME: u32 = 6;
const OIFNAME: u32 = 7;
const SKUID: u32 = 10;
const SKGID: u32 = 11;
const NFPROTO: u32 = 15;
const L4PROTO: u32 = 16;
const CT_STATE: u32 = 0;
const CT_MARK: u32 = 3;
const CT_ZONE: u32 = 17;
