//! `-m ttl` and `-m hl`: how many hops a packet may still make (`struct ipt_ttl_info`, `struct ip6t_hl_info`).

use super::{Condition, Extension, Given, Matching, Words};
use crate::packet::Field;
use crate::xt::bytes::Layout;

/// How the number is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// It is this number.
    Equal,
    /// It is another.
    Unequal,
    /// It is smaller.
    Less,
    /// It is larger.
    Greater,
}

/// A test of the TTL or the hop limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hops {
    /// How.
    pub comparison: Comparison,
    /// With what.
    pub value: u8,
}

/// A test of IPv4's TTL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl(
    /// The test.
    pub Hops,
);

/// A test of IPv6's hop limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hl(
    /// The test.
    pub Hops,
);

impl Hops {
    fn decode(revision: u8, data: &[u8]) -> Option<Self> {
        let layout = Layout(data);
        let comparison = match layout.u8(0)? {
            0 => Comparison::Equal,
            1 => Comparison::Unequal,
            2 => Comparison::Less,
            3 => Comparison::Greater,
            _ => return None,
        };
        (revision == 0).then_some(Self { comparison, value: layout.u8(1)? })
    }

    fn parse(options: &[Given]) -> Option<Self> {
        let given = options.last()?;
        let ending = given.name.rsplit_once('-').map_or("", |(_, ending)| ending);
        let comparison = match (ending, given.negated) {
            ("lt", false) => Comparison::Less,
            ("gt", false) => Comparison::Greater,
            ("lt" | "gt", true) => return None,
            (_, false) => Comparison::Equal,
            (_, true) => Comparison::Unequal,
        };
        Some(Self { comparison, value: u8::try_from(given.number()?).ok()? })
    }

    fn save(self, name: &str, out: &mut String) {
        let (before, ending) = match self.comparison {
            Comparison::Equal => ("", "eq"),
            Comparison::Unequal => (" !", "eq"),
            Comparison::Less => ("", "lt"),
            Comparison::Greater => ("", "gt"),
        };
        out.push_str(&format!("{before} --{name}-{ending} {}", self.value));
    }

    fn condition(self) -> Condition {
        let (field, value) = (Field::HopLimit, u128::from(self.value));
        let never = || Condition::Any(Vec::new());
        match self.comparison {
            Comparison::Equal => Condition::equals(field, value),
            Comparison::Unequal => Condition::equals(field, value).negated_if(true),
            Comparison::Less => value.checked_sub(1).map_or_else(never, |last| Condition::Range(field, 0, last)),
            Comparison::Greater => Condition::Range(field, value + 1, u128::MAX),
        }
    }

    fn explain(self, name: &str, words: &mut Words) {
        let value = self.value;
        words.also(match self.comparison {
            Comparison::Equal => format!("with {name} {value}"),
            Comparison::Unequal => format!("with {name} other than {value}"),
            Comparison::Less => format!("with {name} below {value}"),
            Comparison::Greater => format!("with {name} above {value}"),
        });
    }

    fn nft(self, name: &str) -> String {
        let sign = match self.comparison {
            Comparison::Equal => "",
            Comparison::Unequal => "!= ",
            Comparison::Less => "lt ",
            Comparison::Greater => "gt ",
        };
        format!("{name} {sign}{}", self.value)
    }
}

impl Extension for Ttl {
    const NAMES: &'static [&'static str] = &["ttl"];
    const OPTIONS: &'static [(&'static str, usize)] =
        &[("--ttl", 1), ("--ttl-eq", 1), ("--ttl-lt", 1), ("--ttl-gt", 1)];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        Hops::decode(revision, data).filter(|_| !ipv6).map(Self)
    }

    fn parse(_name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        Hops::parse(options).filter(|_| !ipv6).map(Self)
    }

    fn save(&self, out: &mut String) {
        self.0.save("ttl", out);
    }
}

impl Matching for Ttl {
    fn condition(&self) -> Condition {
        self.0.condition()
    }

    fn explain(&self, words: &mut Words) {
        self.0.explain("TTL", words);
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        Some(self.0.nft("ip ttl"))
    }
}

impl Extension for Hl {
    const NAMES: &'static [&'static str] = &["hl"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--hl", 1), ("--hl-eq", 1), ("--hl-lt", 1), ("--hl-gt", 1)];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        Hops::decode(revision, data).filter(|_| ipv6).map(Self)
    }

    fn parse(_name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        Hops::parse(options).filter(|_| ipv6).map(Self)
    }

    fn save(&self, out: &mut String) {
        self.0.save("hl", out);
    }
}

impl Matching for Hl {
    fn condition(&self) -> Condition {
        self.0.condition()
    }

    fn explain(&self, words: &mut Words) {
        self.0.explain("hop limit", words);
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        Some(self.0.nft("ip6 hoplimit"))
    }
}
