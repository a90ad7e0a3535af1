//! Reading fixed C layouts: each read says where, none can panic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::packet::exact_text;

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

    pub(crate) fn u64(&self, offset: usize) -> Option<u64> {
        self.at(offset).map(u64::from_ne_bytes)
    }

    /// An address of the union of both families (`union nf_inet_addr`).
    pub(crate) fn address(&self, offset: usize, ipv6: bool) -> Option<IpAddr> {
        if ipv6 { self.v6(offset) } else { self.v4(offset) }
    }

    pub(crate) fn v4(&self, offset: usize) -> Option<IpAddr> {
        self.at::<4>(offset).map(|octets| Ipv4Addr::from(octets).into())
    }

    pub(crate) fn v6(&self, offset: usize) -> Option<IpAddr> {
        self.at::<16>(offset).map(|octets| Ipv6Addr::from(octets).into())
    }

    /// A zero-terminated name in a field of `length` bytes; `None` where no zero ends it, since iptables would read on.
    pub(crate) fn text(&self, offset: usize, length: usize) -> Option<String> {
        let field = self.0.get(offset..offset.checked_add(length)?)?;
        let end = field.iter().position(|byte| *byte == 0)?;
        Some(exact_text(field.get(..end)?).into_owned())
    }
}

impl<'a> Layout<'a> {
    /// The payload of a structure of `size` bytes, which the kernel aligns to eight.
    pub(crate) fn of(data: &'a [u8], size: usize) -> Option<Self> {
        (data.len() == size.next_multiple_of(8)).then_some(Self(data))
    }
}

/// How many leading bits a mask has; `None` when it has others.
pub(crate) fn prefix_length(mask: IpAddr) -> Option<u8> {
    let (ones, contiguous) = match mask {
        IpAddr::V4(mask) => (mask.to_bits().leading_ones(), mask.to_bits().count_ones()),
        IpAddr::V6(mask) => (mask.to_bits().leading_ones(), mask.to_bits().count_ones()),
    };
    u8::try_from(ones).ok().filter(|_| ones == contiguous)
}

/// The mask of so many leading bits; `None` for more than an address has.
pub(crate) fn prefix_mask(length: u8, ipv6: bool) -> Option<IpAddr> {
    let width: u32 = if ipv6 { 128 } else { 32 };
    let rest = width.checked_sub(u32::from(length))?;
    Some(match ipv6 {
        true => Ipv6Addr::from_bits(u128::MAX.checked_shl(rest).unwrap_or(0)).into(),
        false => Ipv4Addr::from_bits(u32::MAX.checked_shl(rest).unwrap_or(0)).into(),
    })
}
