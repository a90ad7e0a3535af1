//! Expressions, typed as far as iptables-nft and redirect detection need them; every other one is kept as name and bytes.

use serde::{Deserialize, Serialize};

use crate::packet::{hex, hexadecimal};

/// What a verdict says (`enum nft_verdicts`, `include/uapi/linux/netfilter/nf_tables.h`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// `NF_ACCEPT`
    Accept,
    /// `NF_DROP`
    Drop,
    /// `NFT_RETURN`
    Return,
    /// `NFT_JUMP`
    Jump(String),
    /// `NFT_GOTO`
    Goto(String),
    /// Another, by its number.
    Other(i32),
}

/// How a comparison compares (`enum nft_cmp_ops`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the kernel's own")]
pub enum Comparison {
    Eq,
    Neq,
    Lt,
    Lte,
    Gt,
    Gte,
}

impl Comparison {
    /// From the kernel's number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::Eq, Self::Neq, Self::Lt, Self::Lte, Self::Gt, Self::Gte].get(number as usize).copied()
    }

    fn word(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Neq => "neq",
            Self::Lt => "lt",
            Self::Lte => "lte",
            Self::Gt => "gt",
            Self::Gte => "gte",
        }
    }
}

/// One expression.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expression {
    /// Loads a property of the packet (`NFT_META_*` key).
    Meta {
        /// Key.
        key: u32,
    },
    /// Loads bytes of the packet.
    Payload {
        /// 0 link, 1 network, 2 transport header.
        base: u32,
        /// Bytes from its start.
        offset: u32,
        /// Bytes loaded.
        length: u32,
    },
    /// Masks what was loaded.
    Bitwise {
        /// Bits kept.
        #[serde(with = "hexadecimal::text")]
        mask: Vec<u8>,
        /// Bits flipped then.
        #[serde(with = "hexadecimal::text")]
        xor: Vec<u8>,
    },
    /// Compares what was loaded.
    Cmp {
        /// How.
        comparison: Comparison,
        /// With what.
        #[serde(with = "hexadecimal::text")]
        value: Vec<u8>,
    },
    /// Compares what was loaded with a range, ends included.
    Range {
        /// Must lie outside.
        negated: bool,
        /// First.
        #[serde(with = "hexadecimal::text")]
        from: Vec<u8>,
        /// Last.
        #[serde(with = "hexadecimal::text")]
        to: Vec<u8>,
    },
    /// Packets and bytes.
    Counter {
        /// Packets.
        packets: u64,
        /// Bytes.
        bytes: u64,
    },
    /// A verdict.
    Immediate(Verdict),
    /// An xtables match.
    Match {
        /// Name.
        name: String,
        /// Revision.
        revision: u8,
        /// Payload.
        #[serde(with = "hexadecimal::text")]
        data: Vec<u8>,
    },
    /// An xtables target.
    Target {
        /// Name.
        name: String,
        /// Revision.
        revision: u8,
        /// Payload.
        #[serde(with = "hexadecimal::text")]
        data: Vec<u8>,
    },
    /// Logging to a netlink group.
    Log {
        /// Group, where it is given.
        group: Option<u16>,
        /// Text for people (hostile).
        prefix: String,
        /// Bytes copied.
        length: Option<u32>,
        /// Packets gathered before they are sent.
        threshold: Option<u16>,
    },
    /// One that is not understood: its name and its attributes.
    Unknown {
        /// Name.
        name: String,
        /// Attributes as the kernel sent them.
        #[serde(with = "hexadecimal::text")]
        data: Vec<u8>,
    },
}

impl Expression {
    /// In the shape in which nft's own debug output shows expressions: precise, and no nft syntax that could be mistaken for it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Meta { key } => format!("[ meta load key {key} ]"),
            Self::Payload { base, offset, length } => format!("[ payload load {length}b @ base {base} + {offset} ]"),
            Self::Bitwise { mask, xor } => format!("[ bitwise & 0x{} ^ 0x{} ]", hex(mask), hex(xor)),
            Self::Cmp { comparison, value } => format!("[ cmp {} 0x{} ]", comparison.word(), hex(value)),
            Self::Range { negated, from, to } => {
                format!("[ range {} 0x{} 0x{} ]", if *negated { "neq" } else { "eq" }, hex(from), hex(to))
            }
            Self::Counter { .. } => "[ counter ]".to_owned(),
            Self::Immediate(verdict) => format!("[ {} ]", verdict.text()),
            Self::Match { name, revision, data } => format!("[ xt match {name} rev {revision} 0x{} ]", hex(data)),
            Self::Target { name, revision, data } => format!("[ xt target {name} rev {revision} 0x{} ]", hex(data)),
            Self::Log { group, prefix, .. } => format!("[ log prefix {prefix:?} group {} ]", group.unwrap_or(0)),
            Self::Unknown { name, data } => format!("[ {name} 0x{} ]", hex(data)),
        }
    }
}

impl Verdict {
    /// nft's word.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Accept => "accept".to_owned(),
            Self::Drop => "drop".to_owned(),
            Self::Return => "return".to_owned(),
            Self::Jump(chain) => format!("jump {chain}"),
            Self::Goto(chain) => format!("goto {chain}"),
            Self::Other(number) => format!("verdict {number}"),
        }
    }
}
