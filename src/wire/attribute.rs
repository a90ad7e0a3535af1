//! Netlink attributes: length, type, value, padded to four bytes (`struct nlattr`, `include/uapi/linux/netlink.h`).

use std::borrow::Cow;

use crate::model::{exact_bytes, exact_text};

/// One attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Type without the nested and byte-order flags.
    pub kind: u16,
    /// Value without padding.
    pub value: &'a [u8],
}

/// The bytes do not divide into attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("attribute at byte {offset} is cut short")]
pub struct CutAttribute {
    /// Where.
    pub offset: usize,
}

/// The attributes of a message or of a nested attribute, in order.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    bytes: &'a [u8],
    offset: usize,
}

/// Walks the attributes in `bytes`.
#[must_use]
pub fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes { bytes, offset: 0 }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, CutAttribute>;

    fn next(&mut self) -> Option<Self::Item> {
        const HEADER: usize = 4;
        const TYPE: u16 = 0x3fff;
        let rest = self.bytes.get(self.offset..).filter(|rest| !rest.is_empty())?;
        let cut = CutAttribute { offset: self.offset };
        let Some(&[l0, l1, k0, k1]) = rest.first_chunk::<HEADER>() else {
            self.offset = self.bytes.len();
            return Some(Err(cut));
        };
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let Some(value) = rest.get(HEADER..length) else {
            self.offset = self.bytes.len();
            return Some(Err(cut));
        };
        self.offset += length.next_multiple_of(4);
        Some(Ok(Attribute { kind: u16::from_ne_bytes([k0, k1]) & TYPE, value }))
    }
}

impl<'a> Attribute<'a> {
    /// The attributes nested in this one.
    #[must_use]
    pub fn nested(&self) -> Attributes<'a> {
        attributes(self.value)
    }

    /// A byte.
    #[must_use]
    pub fn u8(&self) -> Option<u8> {
        self.value.first().copied()
    }

    /// Two bytes, most significant first, as netfilter sends them.
    #[must_use]
    pub fn be16(&self) -> Option<u16> {
        self.value.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// Four bytes, most significant first.
    #[must_use]
    pub fn be32(&self) -> Option<u32> {
        self.value.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// Eight bytes, most significant first.
    #[must_use]
    pub fn be64(&self) -> Option<u64> {
        self.value.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
    }

    /// Four bytes in the machine's order, as routing and sock_diag send them.
    #[must_use]
    pub fn u32(&self) -> Option<u32> {
        self.value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
    }

    /// Text up to its terminating zero, as [`exact_text`] has it.
    #[must_use]
    pub fn text(&self) -> String {
        self.word().into_owned()
    }

    /// The same, not copied where it is UTF-8.
    #[must_use]
    pub fn word(&self) -> Cow<'a, str> {
        exact_text(self.up_to_zero())
    }

    /// Its bytes up to a terminating zero.
    #[must_use]
    pub fn up_to_zero(&self) -> &'a [u8] {
        let end = self.value.iter().position(|byte| *byte == 0).unwrap_or(self.value.len());
        self.value.get(..end).unwrap_or_default()
    }
}

/// Builds attributes for a request.
#[derive(Debug, Default)]
pub struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    /// A message that begins with these bytes (`nfgenmsg`, `inet_diag_req_v2` …).
    #[must_use]
    pub fn after(head: &[u8]) -> Self {
        Self { bytes: head.to_vec() }
    }

    /// Appends an attribute.
    #[must_use]
    pub fn put(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// Appends four bytes, most significant first.
    #[must_use]
    pub fn put_be32(self, kind: u16, value: u32) -> Self {
        self.put(kind, &value.to_be_bytes())
    }

    /// Appends text with its terminating zero.
    #[must_use]
    pub fn put_text(self, kind: u16, value: &str) -> Self {
        let mut bytes = exact_bytes(value).into_owned();
        bytes.push(0);
        self.put(kind, &bytes)
    }

    /// Appends nested attributes (`NLA_F_NESTED` is set).
    #[must_use]
    pub fn put_nested(self, kind: u16, nested: &Builder) -> Self {
        const NESTED: u16 = 0x8000;
        self.put(kind | NESTED, &nested.bytes)
    }

    /// The message.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}
