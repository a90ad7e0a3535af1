//! Constants: from nft's words to bytes.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::Term;
use super::super::constant;
use super::super::kind::{Kind, Order, bytes_of};
use super::{Fault, Value};
use crate::packet::exact_bytes;

/// What a value is compared with or written to: its kind, order and length, and how far it is shifted within its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(super) kind: Kind,
    pub(super) order: Order,
    pub(super) bytes: usize,
    pub(super) shift: u32,
}

/// `NFT_META_MARK`
const MARK: u32 = 3;

/// Words for ports that people write; nft itself lists numbers.
const SERVICES: [(&str, u128); 24] = [
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("bootps", 67),
    ("bootpc", 68),
    ("http", 80),
    ("pop3", 110),
    ("ntp", 123),
    ("imap2", 143),
    ("snmp", 161),
    ("bgp", 179),
    ("ldap", 389),
    ("https", 443),
    ("submission", 587),
    ("ldaps", 636),
    ("imaps", 993),
    ("pop3s", 995),
    ("ms-sql-s", 1433),
    ("mysql", 3306),
    ("postgresql", 5432),
    ("mdns", 5353),
    ("http-alt", 8080),
];

/// A number in decimal or hexadecimal digits.
#[must_use]
pub fn number(word: &str) -> Option<u128> {
    match word.strip_prefix("0x") {
        Some(digits) => u128::from_str_radix(digits, 16).ok(),
        None => word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok()).flatten(),
    }
}

/// `1d2h3m4s5ms` in milliseconds; a number alone is seconds.
#[must_use]
pub fn duration(word: &str) -> Option<u64> {
    let (mut rest, mut total) = (word, 0_u64);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (count, tail) = rest.split_at_checked(digits)?;
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at_checked(letters)?;
        let unit = match unit {
            "w" => 604_800_000,
            "d" => 86_400_000,
            "h" => 3_600_000,
            "m" => 60_000,
            "s" | "" => 1000,
            "ms" => 1,
            _ => return None,
        };
        total = total.checked_add(count.parse::<u64>().ok()?.checked_mul(unit)?)?;
        rest = tail;
    }
    Some(total)
}

/// Bytes of a link's address.
fn link_address(word: &str) -> Option<u128> {
    let mut value = 0;
    for part in word.split(':') {
        value = value << 8 | u128::from(u8::from_str_radix(part, 16).ok()?);
    }
    (word.split(':').count() <= 16).then_some(value)
}

/// `1:10`
fn class(word: &str) -> Option<u128> {
    match word {
        "none" => Some(0),
        "root" => Some(0xffff_ffff),
        _ => {
            let (high, low) = word.split_once(':')?;
            let part = |text: &str| if text.is_empty() { Some(0) } else { u16::from_str_radix(text, 16).ok() };
            Some(u128::from(part(high)?) << 16 | u128::from(part(low)?))
        }
    }
}

/// `17:00`, `17:00:01` in seconds, where the clock is that of UTC.
fn seconds_of_day(word: &str) -> Option<u128> {
    let mut parts = word.split(':').map(|part| number(part).filter(|_| part.len() <= 2));
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    (parts.next().is_none() && hours < 24 && minutes < 60 && seconds < 60)
        .then_some(hours * 3600 + minutes * 60 + seconds)
}

/// `2019-06-21 17:00:00`, or a number of seconds, in nanoseconds since 1970, where the clock is that of UTC.
fn date(word: &str) -> Option<u128> {
    const SECOND: u128 = 1_000_000_000;
    if let Some(seconds) = number(word) {
        return seconds.checked_mul(SECOND);
    }
    let (day, time) = word.split_once(' ').unwrap_or((word, "00:00"));
    let mut parts = day.split('-').map(number);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let leap = |year: u128| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = |month: u128| match month {
        2 if leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if day == 0 || day > length(month) {
        return None;
    }
    let before = (year - 1970) * 365 + (1970..year).filter(|year| leap(*year)).count() as u128;
    let days = before + (1..month).map(length).sum::<u128>() + day - 1;
    Some((days * 86_400 + seconds_of_day(time)?) * SECOND)
}

/// A word as a number of its kind.
fn plain(word: &str, kind: Kind, devices: &[(u32, String)]) -> Option<u128> {
    match kind {
        Kind::Ipv4 => return word.parse::<Ipv4Addr>().ok().map(|address| u32::from(address).into()),
        Kind::Ipv6 => return word.parse::<Ipv6Addr>().ok().map(u128::from),
        Kind::Ether | Kind::LinkAddress => return link_address(word),
        Kind::Time => return duration(word).map(u128::from),
        Kind::CtLabel => {
            let bit = number(word)?;
            return (bit < 128).then(|| 1 << bit);
        }
        Kind::ClassId if number(word).is_none() => return class(word),
        Kind::Date => return date(word),
        Kind::Hour if number(word).is_none() => return seconds_of_day(word),
        // The one name that is the same on every node.
        Kind::Uid | Kind::Gid if word == "root" => return Some(0),
        _ => {}
    }
    if let Some(value) = constant::named(kind, word).or_else(|| number(word)) {
        return Some(value);
    }
    match (kind, word) {
        (Kind::Index, name) => {
            let known = devices.iter().find(|(_, device)| device == name).map(|(index, _)| u128::from(*index));
            // The first device of every namespace.
            known.or_else(|| (name == "lo").then_some(1))
        }
        (Kind::Port, name) => SERVICES.iter().find(|(known, _)| *known == name).map(|(_, port)| *port),
        (Kind::Protocol, "icmpv6") => Some(58),
        (Kind::EtherType, "vlan") => Some(0x8100),
        (Kind::Boolean, "true") => Some(1),
        (Kind::Boolean, "false") => Some(0),
        _ => None,
    }
}

impl Shape {
    /// Of a kind that has a length of its own.
    pub(super) fn of(kind: Kind) -> Self {
        /// Of names of helpers and of systems, which are the only ones of this kind.
        const NAME: usize = 16;
        let bytes = if kind == Kind::Text { NAME } else { kind.bytes().max(1) };
        Self { kind, order: kind.order(), bytes, shift: 0 }
    }

    /// The same, most significant byte first.
    pub(super) fn big(self) -> Self {
        Self { order: Order::Big, ..self }
    }

    /// Bytes in a register, padded to whole words.
    pub(super) fn padded(self) -> usize {
        self.bytes.next_multiple_of(4)
    }

    fn bytes_of(self, value: u128) -> Option<Vec<u8>> {
        bytes_of(value.checked_shl(self.shift)?, self.bytes, self.order)
    }

    /// A constant as a number, where it is one.
    fn value(self, value: &Value, devices: &[(u32, String)]) -> Result<u128, Fault> {
        let unknown = |word: &str| format!("{word:?} is no {}", self.kind.word_or("value"));
        match value {
            Value::Word(word) | Value::Text(word) => {
                let found = plain(word, self.kind, devices);
                found.ok_or_else(|| match self.kind {
                    Kind::Index => format!("the number of device {word:?} does not stand in the text"),
                    Kind::Uid | Kind::Gid => format!("the number of {word:?} does not stand in the text"),
                    _ => unknown(word),
                })
            }
            // A word that stands for a property of the packet elsewhere.
            Value::Term(Term::Meta(MARK)) if self.kind == Kind::CtEvent => {
                self.value(&Value::Word("mark".to_owned()), devices)
            }
            Value::List(values) => values.iter().try_fold(0, |bits, value| Ok(bits | self.value(value, devices)?)),
            Value::Binary(left, sign, right) => {
                let (left, right) = (self.value(left, devices)?, self.value(right, devices)?);
                Ok(match *sign {
                    "|" => left | right,
                    "&" => left & right,
                    "^" => left ^ right,
                    _ => return Err(format!("{sign} between constants")),
                })
            }
            _ => Err(format!("a constant {} is expected", self.kind.word_or("value"))),
        }
    }

    /// A constant in bytes.
    pub(super) fn encode(self, value: &Value, devices: &[(u32, String)]) -> Result<Vec<u8>, Fault> {
        if self.kind.is_text() {
            let (start, wild) = text_of(value)?;
            if wild || start.len() > self.bytes {
                return Err("a whole name is expected".to_owned());
            }
            let mut bytes = start;
            bytes.resize(self.bytes, 0);
            return Ok(bytes);
        }
        let number = self.value(value, devices)?;
        self.bytes_of(number).ok_or_else(|| format!("{number} is too large"))
    }

    /// First and last of a range, a prefix, a beginning of a name, or one value.
    pub(super) fn range(self, value: &Value, devices: &[(u32, String)]) -> Result<(Vec<u8>, Vec<u8>), Fault> {
        match value {
            Value::Range(from, to) => Ok((self.encode(from, devices)?, self.encode(to, devices)?)),
            Value::Prefix(start, bits) => {
                let (whole, free) = (self.encode(start, devices)?, self.free_bits(*bits)?);
                let order = self.order;
                let low = super::super::kind::number(&whole, order).unwrap_or_default() & !free;
                let both = bytes_of(low, self.bytes, order).zip(bytes_of(low | free, self.bytes, order));
                both.ok_or_else(|| "it is too large".to_owned())
            }
            other if self.kind.is_text() => {
                let (start, wild) = text_of(other)?;
                let filled = |with: u8| {
                    let mut bytes = start.clone();
                    bytes.resize(self.bytes.max(start.len()), with);
                    bytes
                };
                Ok((filled(0), filled(if wild { 0xff } else { 0 })))
            }
            other => self.encode(other, devices).map(|bytes| (bytes.clone(), bytes)),
        }
    }

    /// The bits that a prefix of this length leaves free.
    fn free_bits(self, bits: u32) -> Result<u128, Fault> {
        let all = u32::try_from(self.bytes).unwrap_or_default() * 8;
        let free = all.checked_sub(bits).ok_or_else(|| format!("/{bits} is too long"))?;
        Ok(if free >= 128 { u128::MAX } else { (1 << free) - 1 })
    }

    /// The mask of a prefix of this length.
    pub(super) fn mask(self, bits: u32) -> Result<Vec<u8>, Fault> {
        let all = u32::try_from(self.bytes).unwrap_or_default() * 8;
        let ones = if all >= 128 { u128::MAX } else { (1 << all) - 1 };
        bytes_of(ones & !self.free_bits(bits)?, self.bytes, self.order).ok_or_else(|| "it is too long".to_owned())
    }
}

/// A name, and whether more may follow (`eth*`; a star of the name's own has a backslash before it).
pub(super) fn text_of(value: &Value) -> Result<(Vec<u8>, bool), Fault> {
    let (Value::Word(text) | Value::Text(text)) = value else { return Err("a name is expected".to_owned()) };
    if let Some(start) = text.strip_suffix("\\*") {
        return Ok(([&exact_bytes(start), &b"*"[..]].concat(), false));
    }
    Ok(match text.strip_suffix('*') {
        Some(start) => (exact_bytes(start).into_owned(), true),
        None => (exact_bytes(text).into_owned(), false),
    })
}

impl Kind {
    /// nft's word, or another where it has none.
    fn word_or(self, other: &'static str) -> &'static str {
        if self.word().is_empty() { other } else { self.word() }
    }
}
