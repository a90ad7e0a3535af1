//! Expressions read as the iptables rule that iptables-nft 1.8 meant by them.
//!
//! It writes a rule partly as native expressions (addresses, devices, ports, marks), partly as xtables payloads; both shapes
//! normalise to one [`xt::Rule`] here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::exact_text;
use crate::nft::{Comparison, Expression, Rule, Verdict};
use crate::xt::matches::{Comparison as HopsComparison, Hl, Hops, Icmp, Mark, Pkttype, Ports, Tcp, Ttl, Udp};
use crate::xt::targets::{Nflog, Trace};
use crate::xt::{self, Action, AddressMatch, DeviceMatch, Fragments, IpPart, Match, ProtocolMatch, Target};

/// The one register that iptables-nft uses.
const FIRST: u32 = 1;

/// `NFT_META_*` keys that iptables-nft uses.
const MARK: u32 = 3;
const INPUT_INDEX: u32 = 4;
const OUTPUT_INDEX: u32 = 5;
const INPUT: u32 = 6;
const OUTPUT: u32 = 7;
const TRACE: u32 = 12;
const L4PROTO: u32 = 16;
const PACKET_TYPE: u32 = 19;

/// What stands in the register.
#[derive(Debug, Clone)]
struct Loaded {
    source: Source,
    mask: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Meta(u32),
    Payload { base: u32, offset: u32, length: u32 },
}

/// The value that the register is compared with.
enum Test<'a> {
    Equal { negated: bool, value: &'a [u8] },
    Within { negated: bool, from: &'a [u8], to: &'a [u8] },
}

struct Reader {
    ipv6: bool,
    loaded: Option<Loaded>,
    ip: IpPart,
    matches: Vec<Match>,
    action: Action,
    /// The register into which a one was loaded, to be used next.
    one: Option<u32>,
    /// Where the match is that native expressions of a TCP or UDP header fill; one from the kernel's bytes stays by itself.
    header: Option<usize>,
    /// A range of ports that has begun, and may end in the next comparison: protocol, offset, first port.
    begun: Option<(u8, u32, u16)>,
}

/// The iptables rule, with its counters; `None` when the expressions are none that iptables-nft writes.
#[must_use]
pub(super) fn to_xt(rule: &Rule, ipv6: bool) -> Option<(xt::Rule, Option<(u64, u64)>)> {
    let mut reader = Reader {
        ipv6,
        loaded: None,
        ip: IpPart::default(),
        matches: Vec::new(),
        action: Action::None,
        one: None,
        header: None,
        begun: None,
    };
    let mut counters = None;
    for expression in &rule.expressions {
        if let Expression::Counter { packets, bytes } = expression {
            counters = Some((*packets, *bytes));
        } else if reader.action == Action::None {
            reader.read(expression)?;
        } else {
            // What stands behind the verdict is never asked: no rule of iptables has anything there.
            return None;
        }
    }
    // A comment in the user data is nft's way, or that of iptables-nft for long ones.
    if let Some(text) = rule.comment() {
        reader.matches.push(Match::Comment(xt::matches::Comment { text }));
    }
    if reader.one.is_some() {
        return None;
    }
    let Reader { ip, matches, action, .. } = reader;
    Some((xt::Rule { ip, matches, action }, counters))
}

impl Reader {
    fn read(&mut self, expression: &Expression) -> Option<()> {
        let begun = self.begun.take();
        match expression {
            Expression::Meta { key, register: FIRST } => {
                self.loaded = Some(Loaded { source: Source::Meta(*key), mask: None })
            }
            Expression::Payload { base, offset, length, register: FIRST } => {
                let source = Source::Payload { base: *base, offset: *offset, length: *length };
                self.loaded = Some(Loaded { source, mask: None });
            }
            Expression::Bitwise { mask, xor, register: FIRST } => {
                let loaded = self.loaded.as_mut()?;
                if loaded.mask.is_some() || xor.iter().any(|byte| *byte != 0) {
                    return None;
                }
                loaded.mask = Some(mask.clone());
            }
            Expression::Cmp { comparison, value, register: FIRST } if self.asks_hops() => {
                self.hops(*comparison, value)?
            }
            Expression::Cmp { comparison: Comparison::Eq, value, register: FIRST } => {
                self.test(&Test::Equal { negated: false, value })?;
            }
            Expression::Cmp { comparison: Comparison::Neq, value, register: FIRST } => {
                self.test(&Test::Equal { negated: true, value })?;
            }
            // nft writes a range as two comparisons, one behind the other.
            Expression::Cmp { comparison: Comparison::Lte, value, register: FIRST } if self.loaded.is_none() => {
                let (protocol, offset, from) = begun?;
                let to = u16::from_be_bytes(value.as_slice().try_into().ok()?);
                *self.place_of_ports(protocol, offset)? = None;
                self.ports(protocol, offset, Ports { negated: false, from, to })?;
            }
            Expression::Cmp { comparison, value, register: FIRST } => {
                let (from, to) = open_range(*comparison, value)?;
                if *comparison == Comparison::Gte
                    && let Some(Loaded { source: Source::Payload { base: 2, offset, length: 2 }, mask: None }) =
                        self.loaded
                {
                    let protocol = self.ip.protocol.map(|protocol| protocol.number);
                    self.begun = protocol.map(|protocol| (protocol, offset, u16::from_be_bytes(from)));
                }
                self.test(&Test::Within { negated: false, from: &from, to: &to })?;
            }
            Expression::Range { negated, from, to, register: FIRST } => {
                self.test(&Test::Within { negated: *negated, from, to })?
            }
            Expression::Match { name, revision, data } => {
                self.matches.push(Match::decode(name, *revision, data, self.ipv6));
            }
            Expression::Limit { rate, unit, burst, bytes: false, over: false } => {
                self.matches.push(limit(*rate, *unit, *burst)?);
            }
            // `-j TRACE` is written as nft's own way to say it.
            Expression::Value { value, register } if *value == [1] && self.one.is_none() => self.one = Some(*register),
            Expression::SetMeta { key: TRACE, register } if self.one == Some(*register) => {
                self.one = None;
                self.action = Action::Target(Target::Trace(Trace));
            }
            other => self.act(other)?,
        }
        Some(())
    }

    fn act(&mut self, expression: &Expression) -> Option<()> {
        self.action = match expression {
            Expression::Immediate(Verdict::Accept) => Action::Accept,
            Expression::Immediate(Verdict::Drop) => Action::Drop,
            Expression::Immediate(Verdict::Return) => Action::Return,
            Expression::Immediate(Verdict::Jump(chain)) => Action::Jump(chain_name(chain)?),
            Expression::Immediate(Verdict::Goto(chain)) => Action::Goto(chain_name(chain)?),
            Expression::Target { name, revision, data } => {
                Action::Target(Target::decode(name, *revision, data, self.ipv6))
            }
            Expression::Log { group: Some(group), prefix, length, threshold, level: None, flags: None, .. } => {
                Action::Target(Target::from(Nflog {
                    group: *group,
                    prefix: prefix.clone(),
                    size: *length,
                    range: None,
                    threshold: threshold.unwrap_or(0),
                }))
            }
            _ => return None,
        };
        Some(())
    }

    fn test(&mut self, test: &Test<'_>) -> Option<()> {
        let Loaded { source, mask } = self.loaded.take()?;
        match (source, test) {
            (Source::Meta(key), Test::Equal { negated, value }) => self.meta(key, mask.as_deref(), *negated, value),
            (Source::Payload { base: 1, offset, length }, Test::Equal { negated, value }) => {
                self.network(offset, length, mask.as_deref(), *negated, value)
            }
            (Source::Payload { base: 2, offset, length }, test) => {
                self.transport(offset, length, mask.as_deref(), test)
            }
            _ => None,
        }
    }

    fn meta(&mut self, key: u32, mask: Option<&[u8]>, negated: bool, value: &[u8]) -> Option<()> {
        match key {
            INPUT if mask.is_none() => once(&mut self.ip.input, device(value, negated)?)?,
            OUTPUT if mask.is_none() => once(&mut self.ip.output, device(value, negated)?)?,
            INPUT_INDEX if mask.is_none() => once(&mut self.ip.input, loopback(value, negated)?)?,
            OUTPUT_INDEX if mask.is_none() => once(&mut self.ip.output, loopback(value, negated)?)?,
            PACKET_TYPE if mask.is_none() => {
                let [kind @ 0..=3] = value else { return None };
                self.matches.push(Match::Pkttype(Pkttype { negated, kind: *kind }));
            }
            L4PROTO if mask.is_none() => once(&mut self.ip.protocol, protocol(negated, value)?)?,
            MARK => {
                let number = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_ne_bytes);
                let mask = mask.map_or(Some(u32::MAX), number)?;
                self.matches.push(Match::Mark(Mark { negated, value: number(value)?, mask }));
            }
            _ => return None,
        }
        Some(())
    }

    fn network(&mut self, offset: u32, length: u32, mask: Option<&[u8]>, negated: bool, value: &[u8]) -> Option<()> {
        // Offsets of source and destination in the IPv4 and IPv6 headers; fragment offset and protocol of IPv4.
        let address = |mask: Option<&[u8]>| address_match(self.ipv6, length, mask, negated, value);
        match (self.ipv6, offset) {
            (false, 12) | (true, 8) => once_asked(&mut self.ip.source, address(mask)?)?,
            (false, 16) | (true, 24) => once_asked(&mut self.ip.destination, address(mask)?)?,
            (false, 9) | (true, 6) if length == 1 && mask.is_none() => {
                once(&mut self.ip.protocol, protocol(negated, value)?)?;
            }
            (false, 6) if length == 2 && mask == Some(&[0x1f, 0xff]) && value == [0, 0] => {
                once(&mut self.ip.fragments, Fragments { negated: !negated })?;
            }
            _ => return None,
        }
        Some(())
    }

    fn transport(&mut self, offset: u32, length: u32, mask: Option<&[u8]>, test: &Test<'_>) -> Option<()> {
        let protocol = self.ip.protocol.filter(|protocol| !protocol.negated)?.number;
        if (offset, length) == (13, 1) && protocol == 6 {
            let (Test::Equal { negated, value: [value] }, [mask]) = (test, mask?) else { return None };
            let known = (mask | value) & !0x3f == 0;
            if self.tcp()?.flags.is_some() {
                self.header = None;
            }
            return once(&mut self.tcp()?.flags, (*negated, *mask, *value)).filter(|()| known);
        }
        if mask.is_some() {
            return None;
        }
        if protocol == if self.ipv6 { 58 } else { 1 } {
            let Test::Equal { negated, value } = test else { return None };
            return self.message(offset, *negated, value);
        }
        let port = |bytes: &[u8]| bytes.try_into().ok().map(u16::from_be_bytes);
        let ports = match test {
            // Two whole ports are compared in one go.
            Test::Equal { negated, value: [a, b, c, d] } if (offset, length) == (0, 4) => {
                let one = |bytes: [u8; 2]| {
                    let port = u16::from_be_bytes(bytes);
                    Ports { negated: *negated, from: port, to: port }
                };
                if self.place_of_ports(protocol, 0)?.is_some() || self.place_of_ports(protocol, 2)?.is_some() {
                    self.header = None;
                }
                self.ports(protocol, 0, one([*a, *b]))?;
                self.ports(protocol, 2, one([*c, *d]))?;
                match protocol {
                    6 => self.tcp()?.pair = *negated,
                    _ => self.udp()?.pair = *negated,
                }
                return Some(());
            }
            _ if length != 2 => return None,
            Test::Equal { negated, value } => Ports { negated: *negated, from: port(value)?, to: port(value)? },
            Test::Within { negated, from, to } => Ports { negated: *negated, from: port(from)?, to: port(to)? },
        };
        self.ports(protocol, offset, ports)
    }

    /// Type and code of an ICMP message, which are one match.
    fn message(&mut self, offset: u32, negated: bool, value: &[u8]) -> Option<()> {
        let of_type = |kind: u8, codes: (u8, u8)| Icmp { ipv6: self.ipv6, negated, kind, codes };
        let made = match (offset, value) {
            (0, [kind]) => of_type(*kind, (0, u8::MAX)),
            (0, [kind, code]) => of_type(*kind, (*code, *code)),
            (1, [code]) if !negated => {
                return match self.matches.last_mut() {
                    Some(Match::Icmp(icmp)) if !icmp.negated && icmp.codes == (0, u8::MAX) => {
                        icmp.codes = (*code, *code);
                        Some(())
                    }
                    _ => None,
                };
            }
            _ => return None,
        };
        self.matches.push(Match::Icmp(made));
        Some(())
    }

    /// What is loaded is the TTL or the hop limit.
    fn asks_hops(&self) -> bool {
        let offset = if self.ipv6 { 7 } else { 8 };
        let wanted = Source::Payload { base: 1, offset, length: 1 };
        self.loaded.as_ref().is_some_and(|loaded| loaded.source == wanted && loaded.mask.is_none())
    }

    fn hops(&mut self, how: Comparison, value: &[u8]) -> Option<()> {
        self.loaded = None;
        let comparison = match how {
            Comparison::Eq => HopsComparison::Equal,
            Comparison::Neq => HopsComparison::Unequal,
            Comparison::Lt | Comparison::Lte => HopsComparison::Less,
            Comparison::Gt | Comparison::Gte => HopsComparison::Greater,
        };
        let [value] = value else { return None };
        let value = match how {
            Comparison::Lte => value.checked_add(1)?,
            Comparison::Gte => value.checked_sub(1)?,
            _ => *value,
        };
        let hops = Hops { comparison, value };
        self.matches.push(if self.ipv6 { Match::Hl(Hl(hops)) } else { Match::Ttl(Ttl(hops)) });
        Some(())
    }

    /// Where the test of the port at this offset of the transport header is kept.
    fn place_of_ports(&mut self, protocol: u8, offset: u32) -> Option<&mut Option<Ports>> {
        let (source, destination) = match protocol {
            6 => {
                let tcp = self.tcp()?;
                (&mut tcp.source, &mut tcp.destination)
            }
            17 => {
                let udp = self.udp()?;
                (&mut udp.source, &mut udp.destination)
            }
            _ => return None,
        };
        match offset {
            0 => Some(source),
            2 => Some(destination),
            _ => None,
        }
    }

    fn ports(&mut self, protocol: u8, offset: u32, ports: Ports) -> Option<()> {
        let place = self.place_of_ports(protocol, offset)?;
        // Every port: iptables writes the test, and its save program leaves it out again.
        let every = ports == Ports { negated: false, from: 0, to: u16::MAX };
        if every {
            return Some(());
        }
        // Two open ranges, `>= 5` and `<= 9`, are one.
        if let Some(there @ Ports { negated: false, to: u16::MAX, .. }) = place
            && let Ports { negated: false, from: 0, to } = ports
            && there.from <= to
        {
            there.to = to;
            return Some(());
        }
        // iptables-nft-save overwrites the first test by the second; both are asked, as two matches of one kind are.
        if place.is_some() {
            self.header = None;
        }
        once(self.place_of_ports(protocol, offset)?, ports)
    }

    /// The match that native expressions fill: several make one.
    fn header(&mut self, new: impl FnOnce() -> Match) -> Option<&mut Match> {
        let at = *self.header.get_or_insert_with(|| {
            self.matches.push(new());
            self.matches.len() - 1
        });
        self.matches.get_mut(at)
    }

    fn tcp(&mut self) -> Option<&mut Tcp> {
        match self.header(|| Match::Tcp(Tcp::default()))? {
            Match::Tcp(tcp) => Some(tcp),
            _ => None,
        }
    }

    fn udp(&mut self) -> Option<&mut Udp> {
        match self.header(|| Match::Udp(Udp::default()))? {
            Match::Udp(udp) => Some(udp),
            _ => None,
        }
    }
}

/// The range of ports of which one end is named only: `--sport :5` is written as `<= 5`, and `! --sport :5` as `> 5`, which
/// iptables-nft-save prints as `--sport 6:65535`.
fn open_range(comparison: Comparison, value: &[u8]) -> Option<([u8; 2], [u8; 2])> {
    let port = u16::from_be_bytes(value.try_into().ok()?);
    let (from, to) = match comparison {
        Comparison::Lt => (0, port.checked_sub(1)?),
        Comparison::Lte => (0, port),
        Comparison::Gt => (port.checked_add(1)?, u16::MAX),
        Comparison::Gte => (port, u16::MAX),
        Comparison::Eq | Comparison::Neq => return None,
    };
    Some((from.to_be_bytes(), to.to_be_bytes()))
}

/// Fills a place that can hold one test only: another one is no rule of iptables.
fn once<T: PartialEq>(place: &mut Option<T>, value: T) -> Option<()> {
    match place {
        Some(there) => (*there == value).then_some(()),
        None => {
            *place = Some(value);
            Some(())
        }
    }
}

/// The same of addresses, where every one may be asked for.
fn once_asked(place: &mut Option<AddressMatch>, value: AddressMatch) -> Option<()> {
    if value.prefix() == Some(0) && !value.negated { Some(()) } else { once(place, value) }
}

fn protocol(negated: bool, value: &[u8]) -> Option<ProtocolMatch> {
    // To iptables a zero is any protocol.
    let [number @ 1..=u8::MAX] = value else { return None };
    Some(ProtocolMatch { negated, number: *number })
}

/// The name of a chain that iptables lets be one: `-j ACCEPT` is never a jump. A chain of a target's name comes before the target.
fn chain_name(name: &str) -> Option<String> {
    (!matches!(name, "ACCEPT" | "DROP" | "RETURN" | "QUEUE")).then(|| name.to_owned())
}

/// The first device of every namespace, by its number; the name of another is not known here.
fn loopback(value: &[u8], negated: bool) -> Option<Box<DeviceMatch>> {
    let one = value.try_into().ok().map(u32::from_ne_bytes) == Some(1);
    one.then(|| Box::new(DeviceMatch { negated, name: "lo".to_owned(), prefix: false }))
}

/// What iptables-nft compares with for `! -i +`: no device can have this name.
const NO_DEVICE: &[u8] = b"INVAL/D";

/// A device name: whole when its closing zero is compared too, else a beginning.
fn device(value: &[u8], negated: bool) -> Option<Box<DeviceMatch>> {
    let end = value.iter().position(|byte| *byte == 0);
    let (name, behind) = value.split_at_checked(end.unwrap_or(value.len()))?;
    let prefix = end.is_none();
    if name == NO_DEVICE && !prefix && !negated {
        return Some(Box::new(DeviceMatch { negated: true, name: String::new(), prefix: true }));
    }
    let possible = behind.iter().all(|byte| *byte == 0) && !(prefix && name.is_empty());
    possible.then(|| Box::new(DeviceMatch { negated, name: exact_text(name).into_owned(), prefix }))
}

/// An address of `length` loaded bytes: fewer than a whole one are a prefix.
fn address_match(ipv6: bool, length: u32, mask: Option<&[u8]>, negated: bool, value: &[u8]) -> Option<AddressMatch> {
    let loaded = usize::try_from(length).ok().filter(|length| *length > 0 && *length == value.len())?;
    let mask = mask.or([0xff; 16].get(..loaded))?;
    let address = |bytes: &[u8]| -> Option<IpAddr> {
        let mut octets = [0; 16];
        octets.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(if ipv6 { Ipv6Addr::from(octets).into() } else { Ipv4Addr::from(*octets.first_chunk::<4>()?).into() })
    };
    if loaded > if ipv6 { 16 } else { 4 } || mask.len() != loaded {
        return None;
    }
    Some(AddressMatch { negated, address: address(value)?, mask: address(mask)? }).filter(AddressMatch::is_masked)
}

/// `-m limit`, which iptables-nft writes as nf_tables' own expression.
fn limit(rate: u64, unit: u64, burst: u32) -> Option<Match> {
    let average = unit.checked_mul(10_000)?.checked_div(rate)?;
    xt::matches::Limit::new(u32::try_from(average).ok()?, burst).map(Match::Limit)
}
