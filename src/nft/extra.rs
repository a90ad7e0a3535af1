//! What the kernel says beside what is known: flag bits, and attributes by number and bytes.

use serde::{Deserialize, Serialize};

use crate::packet::{exact_bytes, exact_text, hex, hexadecimal};

/// An attribute that is not known: its number, and its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownAttribute(
    /// Number.
    pub u16,
    /// Bytes.
    #[serde(with = "hexadecimal::text")]
    pub Vec<u8>,
);

impl UnknownAttribute {
    /// No attribute of the kernel has this number: words of a text that are not understood.
    const WORDS: u16 = 0;

    /// Words of a text that are not understood.
    #[must_use]
    pub fn words(words: &str) -> Self {
        Self(Self::WORDS, exact_bytes(words).into_owned())
    }

    /// In brackets, as what is not understood is shown.
    #[must_use]
    pub fn text(&self) -> String {
        if self.0 == Self::WORDS {
            return format!("[ {} ]", exact_text(&self.1));
        }
        format!("[ attribute {} 0x{} ]", self.0, hex(&self.1))
    }
}

/// Of a table or a chain: its flag bits, and what is not known of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Extra {
    /// `NFT_TABLE_F_*`, `NFT_CHAIN_*`
    #[serde(default)]
    pub flags: u32,
    /// Attributes that are not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<UnknownAttribute>,
}

impl Extra {
    /// Nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Bits other than these, and the attributes, each in brackets.
    #[must_use]
    pub fn texts(&self, known: u32) -> Vec<String> {
        let bits = self.flags & !known;
        let flags = (bits != 0).then(|| format!("[ flags 0x{bits:x} ]"));
        flags.into_iter().chain(self.unknown.iter().map(UnknownAttribute::text)).collect()
    }
}
