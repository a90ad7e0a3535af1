//! Reading fixed C layouts: each read says where, none can panic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The payload of a match or target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout<'a>(pub(crate) &'a [u8]);

impl Layout<'_> {
    fn at<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.0.get(offset..)?.first_chunk().copied()
    }

    pub(crate) fn u8(&self, offset: usize) -> Option<u8> {
        self.0.get(offset).copied()
    }

    pub(crate) fn u16(&self, offset: usize) -> Option<u16> {
        self.at(offset).map(u16::from_ne_bytes)
    }

    pub(crate) fn be16(&self, offset: usize) -> Option<u16> {
        self.at(offset).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&self, offset: usize) -> Option<u32> {
        self.at(offset).map(u32::from_ne_bytes)
    }

    pub(crate) fn v4(&self, offset: usize) -> Option<IpAddr> {
        self.at::<4>(offset).map(|octets| Ipv4Addr::from(octets).into())
    }

    pub(crate) fn v6(&self, offset: usize) -> Option<IpAddr> {
        self.at::<16>(offset).map(|octets| Ipv6Addr::from(octets).into())
    }

    /// A zero-terminated name in a field of `length` bytes.
    pub(crate) fn text(&self, offset: usize, length: usize) -> Option<String> {
        let field = self.0.get(offset..offset + length)?;
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(length);
        Some(String::from_utf8_lossy(field.get(..end)?).into_owned())
    }
}
