//! `-m addrtype`: what the routing tables call an address (`struct xt_addrtype_info`, of revision 1 `struct xt_addrtype_info_v1`).

use super::{Condition, Extension, Given, Matching, Words};
use crate::packet::{By, Field, Lookup, Wanted};
use crate::xt::bytes::Layout;
use crate::xt::extension::begins;

/// One end's type is one of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Types {
    /// `!`
    pub negated: bool,
    /// `XT_ADDRTYPE_*` bits.
    pub bits: u16,
}

/// Tests of address types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Addrtype {
    /// `--src-type`
    pub source: Option<Types>,
    /// `--dst-type`
    pub destination: Option<Types>,
    /// `--limit-iface-in`
    pub limit_input: bool,
    /// `--limit-iface-out`
    pub limit_output: bool,
    /// It is nft's `fib`, for which an address of IPv6 has one type alone.
    pub native: bool,
}

/// By bit number (`include/uapi/linux/netfilter/xt_addrtype.h`).
pub const ADDRESS_TYPES: [&str; 12] = [
    "UNSPEC",
    "UNICAST",
    "LOCAL",
    "BROADCAST",
    "ANYCAST",
    "MULTICAST",
    "BLACKHOLE",
    "UNREACHABLE",
    "PROHIBIT",
    "THROW",
    "NAT",
    "XRESOLVE",
];

/// `XT_ADDRTYPE_*`
const UNSPECIFIED: u16 = 1;
const UNICAST: u16 = 1 << 1;
const LOCAL: u16 = 1 << 2;
const MULTICAST: u16 = 1 << 5;

impl Types {
    fn new(negated: bool, bits: u16) -> Option<Self> {
        (bits != 0).then_some(Self { negated, bits })
    }

    fn parse(given: &Given) -> Option<Self> {
        let bit = |name: &str| ADDRESS_TYPES.iter().position(|known| begins(known, name)).map(|bit| 1 << bit);
        let bits = given.value().split(',').try_fold(0, |bits, name| Some(bits | bit(name)?))?;
        Self::new(given.negated, bits)
    }

    fn text(self) -> String {
        let named = ADDRESS_TYPES.iter().enumerate().filter(|(bit, _)| self.bits & (1 << bit) != 0);
        named.map(|(_, name)| *name).collect::<Vec<_>>().join(",")
    }
}

impl Extension for Addrtype {
    const NAMES: &'static [&'static str] = &["addrtype"];
    const OPTIONS: &'static [(&'static str, usize)] =
        &[("--src-type", 1), ("--dst-type", 1), ("--limit-iface-in", 0), ("--limit-iface-out", 0)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let (source, destination) = (layout.u16(0)?, layout.u16(2)?);
        let flags = match revision {
            // The older revision has a number for each negation, and knows no devices.
            0 => u32::from(layout.u32(4)? != 0) | u32::from(layout.u32(8)? != 0) << 1,
            1 => layout.u32(4)?,
            _ => return None,
        };
        let known =
            source | destination != 0 && (source | destination) >> ADDRESS_TYPES.len() == 0 && flags & !0xf == 0;
        known.then(|| Self {
            source: Types::new(flags & 1 != 0, source),
            destination: Types::new(flags & 2 != 0, destination),
            limit_input: flags & 4 != 0,
            limit_output: flags & 8 != 0,
            native: false,
        })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let mut found = Self::default();
        for given in options {
            match given.name {
                "--src-type" => found.source = Some(Types::parse(given)?),
                "--dst-type" => found.destination = Some(Types::parse(given)?),
                "--limit-iface-in" => found.limit_input = true,
                _ => found.limit_output = true,
            }
        }
        Some(found)
    }

    fn save(&self, out: &mut String) {
        out.push_str(&self.text());
    }
}

impl Addrtype {
    /// What nft's `fib … type` asks by these flags (`NFTA_FIB_F_*`) for a type (`RTN_*`).
    #[must_use]
    pub fn native(flags: u32, negated: bool, kind: u32) -> Option<Self> {
        const SOURCE: u32 = 1;
        const DESTINATION: u32 = 2;
        const INPUT: u32 = 8;
        const OUTPUT: u32 = 16;
        let bits = 1_u16.checked_shl(kind).filter(|bits| *bits < 1 << 9)?;
        let types = Some(Types { negated, bits });
        let (limit_input, limit_output) = (flags & INPUT != 0, flags & OUTPUT != 0);
        let both = Self { limit_input, limit_output, native: true, ..Self::default() };
        match flags & !(INPUT | OUTPUT) {
            _ if limit_input && limit_output => None,
            SOURCE => Some(Self { source: types, ..both }),
            DESTINATION => Some(Self { destination: types, ..both }),
            _ => None,
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        for (option, types) in [("--src-type", self.source), ("--dst-type", self.destination)] {
            if let Some(types) = types {
                out.push_str(if types.negated { " ! " } else { " " });
                out.push_str(option);
                out.push(' ');
                out.push_str(&types.text());
            }
        }
        out.push_str(if self.limit_input { " --limit-iface-in" } else { "" });
        out.push_str(if self.limit_output { " --limit-iface-out" } else { "" });
        out
    }
}

/// The address is of one of these types. Of IPv6 the match wants those that the address itself tells all together, and one of those
/// that hang on its route (`match_type6`).
fn asked(lookup: Lookup, bits: u16) -> Condition {
    let any = |bits: u16| Condition::AnyBit(Field::Lookup(lookup), bits.into());
    let told = [UNSPECIFIED, UNICAST, MULTICAST].into_iter().filter(|bit| bits & bit != 0);
    let by_route = bits & !(UNSPECIFIED | UNICAST | MULTICAST);
    if lookup.wanted == Wanted::Type || bits.count_ones() < 2 || bits == by_route {
        return any(bits);
    }
    let all = told.chain((by_route != 0).then_some(by_route)).map(any).collect();
    Condition::Any(vec![
        Condition::All(vec![Condition::Ipv6(false), any(bits)]),
        Condition::All(std::iter::once(Condition::Ipv6(true)).chain::<Vec<Condition>>(all).collect()),
    ])
}

impl Matching for Addrtype {
    fn condition(&self) -> Condition {
        let by = match (self.limit_input, self.limit_output) {
            (false, false) => By::Any,
            (true, _) => By::Input,
            (_, true) => By::Output,
        };
        let wanted = if self.native { Wanted::Type } else { Wanted::Types };
        let of = |types: Types, destination| {
            let condition = match types.bits {
                LOCAL if by == By::Any => Condition::Local { destination },
                bits => asked(Lookup { wanted, destination, by, mark: false }, bits),
            };
            condition.negated_if(types.negated)
        };
        let ends = [(self.source, false), (self.destination, true)];
        Condition::All(ends.into_iter().filter_map(|(types, end)| Some(of(types?, end))).collect())
    }

    fn explain(&self, words: &mut Words) {
        for (end, types) in [("from", self.source), ("to", self.destination)] {
            if let Some(types) = types {
                let (not, kind) = (if types.negated { "not " } else { "" }, types.text().to_lowercase());
                let device = match (self.limit_input, self.limit_output) {
                    (false, false) => "",
                    (true, false) => " of the device it came in by",
                    (false, true) => " of the device it leaves by",
                    (true, true) => " of the devices it crosses",
                };
                let article = if kind.starts_with("un") && !kind.starts_with("uni") || kind.starts_with("any") {
                    "an"
                } else {
                    "a"
                };
                let kind = match kind.rsplit_once(',') {
                    Some((kinds, last)) => format!("{} or {last}", kinds.replace(',', ", ")),
                    None => kind,
                };
                words.also(format!("{not}{end} {article} {kind} address{device}"));
            }
        }
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        // nft's names end with PROHIBIT, and of two ends iptables' translation forgets one.
        const NAMED: u16 = (1 << 9) - 1;
        let (end, types) = match (self.source, self.destination) {
            (Some(types), None) => ("saddr", types),
            (None, Some(types)) => ("daddr", types),
            _ => return None,
        };
        let names = types.text().to_lowercase();
        let names = if names.contains(',') { format!("{{ {} }}", names.replace(',', ", ")) } else { names };
        let device = match (self.limit_input, self.limit_output) {
            (false, false) => "",
            (true, false) => " . iif",
            (false, true) => " . oif",
            (true, true) => return None,
        };
        let sign = if types.negated { "!= " } else { "" };
        (types.bits & !NAMED == 0).then(|| format!("fib {end}{device} type {sign}{names}"))
    }
}
