//! What every match and target has in common, and what is kept of one that is not understood.

use super::text::{quote, word};
use crate::packet::{Condition, exact_bytes, exact_text, hex, unhex};

/// An option as it was written: `! --dport 80`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// It was negated.
    pub negated: bool,
    /// The option's full name, `--dport`.
    pub name: &'static str,
    /// Its values.
    pub values: Vec<String>,
}

/// Options whose values are addresses, alone, with ports or as ranges.
const ADDRESSES: [&str; 15] = [
    "--to-destination",
    "--to-source",
    "--to",
    "--on-ip",
    "--gateway",
    "--src-range",
    "--dst-range",
    "--tunnel-src",
    "--tunnel-dst",
    "--ctorigsrc",
    "--ctorigdst",
    "--ctreplsrc",
    "--ctrepldst",
    "--rt-0-addrs",
    "--mask",
];

/// Whether an address is of the other family: no program takes such a rule.
#[must_use]
pub(super) fn is_of_other_family(options: &[Given], ipv6: bool) -> bool {
    let foreign = |value: &String| {
        // Ports stand behind one colon, and an IPv6 address has two at least.
        let six = value.matches(':').count() > 1;
        if ipv6 { !six && value.contains('.') } else { six }
    };
    options.iter().any(|given| ADDRESSES.contains(&given.name) && given.values.iter().any(foreign))
}

impl Given {
    /// The first value; empty where the option takes none.
    #[must_use]
    pub fn value(&self) -> &str {
        self.values.first().map_or("", String::as_str)
    }

    /// The first value as far as it goes into a field of `size` bytes with a zero behind it: iptables cuts the rest off, in the middle
    /// of a character too.
    #[must_use]
    pub(crate) fn cut(&self, size: usize) -> String {
        let bytes = exact_bytes(self.value());
        let kept = bytes.get(..size.saturating_sub(1)).unwrap_or(&bytes);
        exact_text(kept).into_owned()
    }

    /// The first value as a number, decimal or `0x…`.
    pub fn number(&self) -> Option<u32> {
        parse_number(self.value())
    }

    /// `VALUE` or `VALUE/MASK`, as marks are written.
    pub fn masked(&self) -> Option<(u32, u32)> {
        let (value, mask) = self.value().split_once('/').unwrap_or((self.value(), "0xffffffff"));
        parse_number(value).zip(parse_number(mask))
    }
}

/// A number as iptables takes it: decimal, `0x…`, or octal with a 0 in front.
#[must_use]
pub(crate) fn parse_number(text: &str) -> Option<u32> {
    parse_whole(text)
}

/// The same of another width.
#[must_use]
pub(crate) fn parse_whole<T: TryFrom<u64>>(text: &str) -> Option<T> {
    let digits = |text: &str, radix| {
        // Rust takes a sign too.
        text.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u64::from_str_radix(text, radix).ok())?
    };
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hexadecimal) => digits(hexadecimal, 16),
        None if text.len() > 1 && text.starts_with('0') => digits(text, 8),
        None => digits(text, 10),
    };
    number.and_then(|number| T::try_from(number).ok())
}

/// A word of a list may be written short, in either case.
#[must_use]
pub(crate) fn begins(word: &str, typed: &str) -> bool {
    !typed.is_empty() && word.get(..typed.len()).is_some_and(|start| start.eq_ignore_ascii_case(typed))
}

/// In place of the number of values: one, unless another option stands there.
pub(crate) const OPTIONAL: usize = usize::MAX;

/// A match or a target: all that is known of it stands in one file.
pub trait Extension: Sized {
    /// Its names; the first is the usual one.
    const NAMES: &'static [&'static str];
    /// Its options with the number of values each takes. Abbreviations are resolved against these.
    const OPTIONS: &'static [(&'static str, usize)];

    /// From the kernel's bytes; `None` when revision, length or content is not understood (the caller keeps the bytes).
    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self>;

    /// From the options as text; `None` when a value is not understood (the caller keeps the words).
    fn parse(name: &str, options: &[Given], ipv6: bool) -> Option<Self>;

    /// The name under which iptables-save writes it.
    fn name(&self) -> &'static str {
        Self::NAMES.first().copied().unwrap_or_default()
    }

    /// Appends its options as iptables-save writes them, each with a blank in front.
    fn save(&self, out: &mut String);
}

/// A match or target that is not understood, kept whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// From the kernel.
    Bytes {
        /// Its name.
        name: String,
        /// Its revision.
        revision: u8,
        /// Its payload.
        data: Vec<u8>,
    },
    /// From text: the options as they stood.
    Text {
        /// Its name.
        name: String,
        /// The words behind it as they are written, each in its quotation marks if it needs them.
        words: Vec<String>,
    },
    /// The text of a whole rule.
    Rule(String),
    /// A comparison of nft's own that iptables has no match for.
    Native {
        /// In nft's words.
        text: String,
        /// What it asks; opaque where that is not modelled.
        condition: Condition,
    },
}

impl Unknown {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Rule(_) => "text",
            Self::Bytes { name, .. } | Self::Text { name, .. } => name,
            Self::Native { text, .. } => text,
        }
    }

    /// What is not understood, for people: `match foo revision 3`.
    #[must_use]
    pub fn describe(&self, role: &str) -> String {
        match self {
            Self::Rule(_) => "text that is not understood".to_owned(),
            Self::Bytes { name, revision, .. } => format!("{role} {name} revision {revision}"),
            Self::Text { name, .. } => format!("{role} {name}"),
            Self::Native { text, .. } => format!("{role} {text}"),
        }
    }

    /// As text. Bytes are put in brackets that no iptables-restore takes for an option: better refused than misread.
    #[must_use]
    pub fn save(&self, role: &str) -> String {
        match self {
            Self::Rule(text) => format!("[unknown rule {} ]", quote(text)),
            Self::Bytes { name, revision, data } => {
                format!("[unknown {role} {} rev {revision}: {}]", quote(name), hex(data))
            }
            Self::Native { text, .. } => format!("[nft {role} {}]", quote(text)),
            Self::Text { name, words } => {
                let mut text = word(name).into_owned();
                for word in words {
                    text.push(' ');
                    text.push_str(word);
                }
                text
            }
        }
    }

    /// From the words between the brackets that [`Unknown::save`] writes, `unknown ROLE` left off.
    pub(crate) fn from_words(words: &[String]) -> Option<Self> {
        let [name, rev, revision, data] = words else { return None };
        let revision = revision.strip_suffix(':').filter(|_| rev == "rev")?.parse().ok()?;
        Some(Self::Bytes { name: name.clone(), revision, data: unhex(data)? })
    }
}
