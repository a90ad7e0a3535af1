//! `-m dst` and `-m hbh`: headers of options in IPv6 (`struct ip6t_opts`).

use std::fmt::Write;

use super::span::{bang, other, unequal};
use super::{Condition, Extension, Given, Matching, Words};
use crate::xt::bytes::Layout;
use crate::xt::extension::parse_number;

/// Tests of a header of options.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OptionsHeader {
    /// `--dst-len`, `--hbh-len`, with its negation; bytes.
    pub length: Option<(bool, u32)>,
    /// `--dst-opts`, `--hbh-opts`: types, some with their length, in this order.
    pub options: Vec<(u8, Option<u8>)>,
}

/// The header of destination options.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dst(
    /// What is asked of it.
    pub OptionsHeader,
);

/// The header of hop-by-hop options.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hbh(
    /// What is asked of it.
    pub OptionsHeader,
);

const LENGTH: u8 = 1;
const OPTIONS: u8 = 2;
/// Options that the kernel's structure holds.
const MOST: u8 = 16;
/// Stands for an option's length that was not given.
const NO_LENGTH: u16 = 0xff;

impl OptionsHeader {
    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let (flags, inverted, count) = (layout.u8(4)?, layout.u8(5)?, layout.u8(38)?);
        if !ipv6 || revision != 0 || flags & !(LENGTH | OPTIONS) != 0 || inverted > 1 || count > MOST {
            return None;
        }
        let option = |index: u8| {
            let [length, kind] = layout.u16(6 + 2 * usize::from(index))?.to_le_bytes();
            Some((kind, (u16::from(length) != NO_LENGTH).then_some(length)))
        };
        let count = if flags & OPTIONS == 0 { 0 } else { Some(count).filter(|count| *count > 0)? };
        Some(Self {
            length: (flags & LENGTH != 0).then_some((inverted != 0, layout.u32(0)?)),
            options: (0..count).map(option).collect::<Option<_>>()?,
        })
    }

    fn parse(options: &[Given], ipv6: bool) -> Option<Self> {
        let mut found = Self::default();
        let byte = |text: &str| u8::try_from(parse_number(text)?).ok();
        let option = |text: &str| match text.split_once(':') {
            Some((kind, length)) => Some((byte(kind)?, Some(byte(length)?).filter(|length| *length != 0xff))),
            None => Some((byte(text)?, None)),
        };
        for given in options {
            if given.name.ends_with("-len") {
                found.length = Some((given.negated, given.number()?));
            } else {
                found.options = given.value().split(',').map(option).collect::<Option<_>>()?;
            }
        }
        (ipv6 && found.options.len() <= usize::from(MOST)).then_some(found)
    }

    fn list(&self) -> String {
        let one = |(kind, length): &(u8, Option<u8>)| match length {
            Some(length) => format!("{kind}:{length}"),
            None => kind.to_string(),
        };
        self.options.iter().map(one).collect::<Vec<_>>().join(",")
    }

    fn save(&self, name: &str, out: &mut String) {
        // Writing to a String cannot fail.
        if let Some((negated, length)) = self.length {
            write!(out, "{} --{name}-len {length}", bang(negated)).ok();
        }
        if !self.options.is_empty() {
            write!(out, " --{name}-opts {}", self.list()).ok();
        }
    }

    fn explain(&self, header: &str, words: &mut Words) {
        let mut phrase = format!("with {header} options");
        if !self.options.is_empty() {
            write!(phrase, " of types {}", self.list().replace(',', ", ")).ok();
        }
        if let Some((negated, length)) = self.length {
            write!(phrase, " in a header of {}{length} bytes", other(negated)).ok();
        }
        words.also(phrase);
    }
}

impl Extension for Dst {
    const NAMES: &'static [&'static str] = &["dst"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--dst-len", 1), ("--dst-opts", 1)];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        OptionsHeader::decode(revision, data, ipv6).map(Self)
    }

    fn parse(_name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        OptionsHeader::parse(options, ipv6).map(Self)
    }

    fn save(&self, out: &mut String) {
        self.0.save("dst", out);
    }
}

impl Matching for Dst {
    fn condition(&self) -> Condition {
        Condition::Opaque("destination options".into())
    }

    fn explain(&self, words: &mut Words) {
        self.0.explain("destination", words);
    }
}

impl Extension for Hbh {
    const NAMES: &'static [&'static str] = &["hbh"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--hbh-len", 1), ("--hbh-opts", 1)];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        OptionsHeader::decode(revision, data, ipv6).map(Self)
    }

    fn parse(_name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        OptionsHeader::parse(options, ipv6).map(Self)
    }

    fn save(&self, out: &mut String) {
        self.0.save("hbh", out);
    }
}

impl Matching for Hbh {
    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        let (negated, length) = self.0.length.filter(|_| self.0.options.is_empty())?;
        Some(format!("hbh hdrlength {}{length}", unequal(negated)))
    }

    fn condition(&self) -> Condition {
        Condition::Opaque("hop-by-hop options".into())
    }

    fn explain(&self, words: &mut Words) {
        self.0.explain("hop-by-hop", words);
    }
}
