//! Rules as they stand in nft's text or JSON: words and their places, before anything is known of bytes and registers.

use super::super::{Element, Expression, Term, UnknownAttribute, Verdict};

/// A value as it is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A word without quotation marks: a number, an address, a name.
    Word(String),
    /// A text in quotation marks.
    Text(String),
    /// Something that is loaded: a field, a property of the packet, of the connection …
    Term(Term),
    /// Everything that has no element (`*`).
    Any,
    /// A set or map of the table (`@name`).
    Named(String),
    /// A set or map that stands in the rule itself.
    Set(Vec<Item>),
    /// Several, one behind the other (`.`).
    Concat(Vec<Value>),
    /// Several, of which each is meant (`,`).
    List(Vec<Value>),
    /// First and last.
    Range(Box<Value>, Box<Value>),
    /// A value, and how many of its first bits count.
    Prefix(Box<Value>, u32),
    /// `&`, `|`, `^`, `<<`, `>>`
    Binary(Box<Value>, &'static str, Box<Value>),
    /// What a map makes of a value.
    Map(Box<Value>, Box<Value>),
    /// A hash of a value: modulus, seed, added.
    Hash(Box<Value>, u32, Option<u32>, u32),
}

/// An element of a set or map.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Key.
    pub key: Value,
    /// What it leads to.
    pub data: Option<ItemData>,
    /// Milliseconds.
    pub timeout: Option<u64>,
    /// Milliseconds left.
    pub expires: Option<u64>,
    /// Its comment.
    pub comment: Option<String>,
    /// Its own counters and the like.
    pub expressions: Vec<Expression>,
}

/// What an element of a map leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum ItemData {
    /// A verdict.
    Verdict(Verdict),
    /// A value.
    Value(Value),
}

/// With which answer a packet is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// None is given.
    Usual,
    /// `tcp reset`
    Reset,
    /// `icmp`
    Icmp(u8),
    /// `icmpv6`
    Icmpv6(u8),
    /// `icmpx`
    Icmpx(u8),
}

/// A part of a rule.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// A comparison: `""` where no sign is written, else nft's.
    Match(Value, &'static str, Value),
    /// Of the bits of the last value, those of the middle one (`tcp flags syn / syn,ack`).
    Masked(Value, &'static str, Value, Value),
    /// A verdict looked up in a map.
    VerdictMap(Value, Value),
    /// A named object looked up in a map: `NFT_OBJECT_*`, key, map.
    ObjectMap(u32, Value, Value),
    /// A verdict.
    Verdict(Verdict),
    /// Something is set.
    Set(Term, Value),
    /// `snat`, `dnat`, `masquerade`, `redirect`: the word, `NFPROTO_*` where it is given, address, port, `NF_NAT_RANGE_*`.
    Nat {
        /// nft's word.
        word: &'static str,
        /// `NFPROTO_*` where it is given.
        family: Option<u32>,
        /// Address, or a map that leads to it.
        address: Option<Value>,
        /// Port.
        port: Option<Value>,
        /// `NF_NAT_RANGE_*`
        flags: u32,
    },
    /// To a transparent socket: `NFPROTO_*` where it is given, address, port.
    Tproxy(Option<u32>, Option<Value>, Option<Value>),
    /// Refuses.
    Reject(Answer),
    /// Writes an element to a set.
    Update {
        /// `NFT_DYNSET_OP_*`
        operation: u32,
        /// The set's name.
        set: String,
        /// The element: key, timeout, data.
        element: Box<Item>,
        /// What is asked for each element.
        expressions: Vec<Expression>,
    },
    /// Writes an element to a set that the rule has for itself.
    Meter {
        /// The set's name.
        name: String,
        /// Most elements.
        size: Option<u32>,
        /// The element: key, timeout.
        element: Box<Item>,
        /// What is asked for each element.
        expressions: Vec<Expression>,
    },
    /// A copy (`true`), or the packet itself, goes elsewhere: `NFPROTO_*`, address, device.
    Send {
        /// It is a copy.
        copy: bool,
        /// `NFPROTO_*` where it is given.
        family: Option<u32>,
        /// Address.
        address: Option<Value>,
        /// Device.
        device: Option<Value>,
    },
    /// What stands alone: counter, limit, log, a named object …
    Plain(Expression),
    /// Not understood: its text.
    Unknown(String),
}

/// A part, and how it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// What was understood.
    pub part: Part,
    /// Its own text.
    pub text: String,
    /// Where that begins: bytes from the start of all.
    pub at: usize,
}

/// A rule as it is written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RuleTree {
    /// In order.
    pub parts: Vec<Written>,
    /// Its comment.
    pub comment: Option<String>,
}

/// A set or map as it is declared.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SetTree {
    /// Name.
    pub name: String,
    /// nft's handle of it.
    pub handle: Option<u64>,
    /// `type`: words of the key's kinds.
    pub key: Vec<String>,
    /// `typeof`: what the key is like.
    pub key_of: Option<Value>,
    /// `type … : …`: words of the data's kinds.
    pub data: Vec<String>,
    /// `typeof … : …`
    pub data_of: Option<Value>,
    /// What a rule looks up in it, from which the length of numbers is known that no word tells.
    pub asked: Option<Value>,
    /// What a rule sets to what it leads to, likewise.
    pub given: Option<Value>,
    /// A rule writes elements to it.
    pub written: bool,
    /// It is a map.
    pub map: bool,
    /// Its keys lead to a first and a last value.
    pub ranges: bool,
    /// nft's words for its flags.
    pub flags: Vec<String>,
    /// Overlapping ranges become one.
    pub merge: bool,
    /// Milliseconds.
    pub timeout: Option<u64>,
    /// Milliseconds.
    pub collection: Option<u64>,
    /// Most elements.
    pub size: Option<u32>,
    /// `policy memory`
    pub memory: bool,
    /// Its comment.
    pub comment: Option<String>,
    /// What each element has.
    pub expressions: Vec<Expression>,
    /// Elements.
    pub elements: Vec<Item>,
}

impl Item {
    /// An element of which only the key is known.
    #[must_use]
    pub fn of(key: Value) -> Self {
        Self { key, data: None, timeout: None, expires: None, comment: None, expressions: Vec::new() }
    }

    /// The element as its words alone.
    pub(super) fn unknown(&self) -> Element {
        let key = self.key.words();
        let words = match &self.data {
            None => key,
            Some(ItemData::Verdict(verdict)) => format!("{key} : {}", verdict.text()),
            Some(ItemData::Value(value)) => format!("{key} : {}", value.words()),
        };
        Element { unknown: vec![UnknownAttribute::words(&words)], ..Element::default() }
    }
}

impl Value {
    /// A constant as it was written, for people.
    fn words(&self) -> String {
        let joined = |parts: &[Self], between: &str| parts.iter().map(Self::words).collect::<Vec<_>>().join(between);
        match self {
            Self::Word(word) => word.clone(),
            Self::Text(text) => format!("\"{text}\""),
            Self::Any => "*".to_owned(),
            Self::Named(name) => format!("@{name}"),
            Self::Set(items) => format!("{{ {} elements }}", items.len()),
            Self::Concat(parts) => joined(parts, " . "),
            Self::List(parts) => joined(parts, ","),
            Self::Range(from, to) => format!("{}-{}", from.words(), to.words()),
            Self::Prefix(start, bits) => format!("{}/{bits}", start.words()),
            Self::Binary(left, sign, right) => format!("{} {sign} {}", left.words(), right.words()),
            Self::Term(term) => format!("{term:?}"),
            Self::Map(key, map) => format!("{} map {}", key.words(), map.words()),
            Self::Hash(of, modulus, ..) => format!("jhash {} mod {modulus}", of.words()),
        }
    }
}
