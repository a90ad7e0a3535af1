//! `-m addrtype`: what the routing tables call an address (`struct xt_addrtype_info`, of revision 1 `struct xt_addrtype_info_v1`).

use super::{Condition, Extension, Given, Matching, Words};
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
}

/// By bit number (`include/uapi/linux/netfilter/xt_addrtype.h`).
const NAMES: [&str; 12] = [
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

/// `XT_ADDRTYPE_LOCAL`
const LOCAL: u16 = 1 << 2;

impl Types {
    fn new(negated: bool, bits: u16) -> Option<Self> {
        (bits != 0).then_some(Self { negated, bits })
    }

    fn parse(given: &Given) -> Option<Self> {
        let bit = |name: &str| NAMES.iter().position(|known| begins(known, name)).map(|bit| 1 << bit);
        let bits = given.value().split(',').try_fold(0, |bits, name| Some(bits | bit(name)?))?;
        Self::new(given.negated, bits)
    }

    fn text(self) -> String {
        let named = NAMES.iter().enumerate().filter(|(bit, _)| self.bits & (1 << bit) != 0);
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
        let known = source | destination != 0 && (source | destination) >> NAMES.len() == 0 && flags & !0xf == 0;
        known.then(|| Self {
            source: Types::new(flags & 1 != 0, source),
            destination: Types::new(flags & 2 != 0, destination),
            limit_input: flags & 4 != 0,
            limit_output: flags & 8 != 0,
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

impl Matching for Addrtype {
    fn condition(&self) -> Condition {
        if self.limit_input || self.limit_output {
            return Condition::Opaque(format!("address types by device{}", self.text()));
        }
        let of = |types: Types, destination| match types.bits {
            LOCAL => Condition::Local { destination }.negated_if(types.negated),
            _ => {
                let end = if destination { "destination" } else { "source" };
                Condition::Opaque(format!("a {end} of type {}", types.text())).negated_if(types.negated)
            }
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
