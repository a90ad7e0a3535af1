//! Verdicts and comparisons, by the kernel's numbers.

use serde::{Deserialize, Serialize};

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
    /// `NFT_CONTINUE`
    Continue,
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

    /// nft's sign; nothing for equal.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Eq => "",
            Self::Neq => "!=",
            Self::Lt => "<",
            Self::Lte => "<=",
            Self::Gt => ">",
            Self::Gte => ">=",
        }
    }

    pub(super) fn word(self) -> &'static str {
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

impl Verdict {
    /// nft's word.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Accept => "accept".to_owned(),
            Self::Drop => "drop".to_owned(),
            Self::Return => "return".to_owned(),
            Self::Continue => "continue".to_owned(),
            Self::Jump(chain) => format!("jump {chain}"),
            Self::Goto(chain) => format!("goto {chain}"),
            Self::Other(number) => format!("verdict {number}"),
        }
    }
}
