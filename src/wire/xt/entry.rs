//! One entry of a table: where its parts stand, and what they say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::EntryError;
use crate::model::{Counters, exact_text};
use crate::xt::{AddressMatch, DeviceMatch, Fragments, IpPart, Match, ProtocolMatch};

/// Where things stand in an entry of a family.
pub(super) struct Layout {
    /// Bytes of the address part; then come 4 of `nfcache` and the two offsets.
    pub(super) ip: usize,
    pub(super) counters: usize,
    pub(super) head: usize,
}

pub(super) const V4: Layout = Layout { ip: 84, counters: 96, head: 112 };
pub(super) const V6: Layout = Layout { ip: 136, counters: 152, head: 168 };

/// Match and target header: u16 size, name of 29 bytes, u8 revision.
pub(super) const PART_HEAD: usize = 32;
const DEVICE: usize = 16;

/// `IPT_INV_*`
const INVERT_IN: u8 = 1;
const INVERT_OUT: u8 = 2;
const INVERT_SOURCE: u8 = 8;
const INVERT_DESTINATION: u8 = 16;
const INVERT_FRAGMENT: u8 = 32;
const INVERT_PROTOCOL: u8 = 64;
const INVERTED: u8 = 0x7f;

/// An entry before its jump is resolved.
pub(super) struct Entry<'a> {
    pub(super) offset: usize,
    pub(super) next: usize,
    pub(super) counters: Counters,
    pub(super) ip: IpPart,
    pub(super) goto: bool,
    pub(super) matches: Vec<Match>,
    pub(super) target: &'a [u8],
}

/// The parts of an entry, and where the next one begins: always behind this one, so that every walk ends.
pub(super) struct Bounds<'a> {
    pub(super) head: &'a [u8],
    pub(super) matches: &'a [u8],
    pub(super) target: &'a [u8],
    pub(super) next: usize,
}

pub(super) fn bounds<'a>(layout: &Layout, entries: &'a [u8], offset: usize) -> Result<Bounds<'a>, EntryError> {
    let fail = |what| EntryError { offset, what };
    let rest = entries.get(offset..).ok_or_else(|| fail("starts behind the end"))?;
    let head = rest.get(..layout.head).ok_or_else(|| fail("is cut short"))?;
    let u16_at = |at: usize| word::<2>(head, at).map_or(0, |bytes| usize::from(u16::from_ne_bytes(bytes)));
    let (target_at, length) = (u16_at(layout.ip + 4), u16_at(layout.ip + 6));
    let impossible = || fail("has impossible offsets");
    let target = rest.get(target_at..length).filter(|target| target.len() >= PART_HEAD).ok_or_else(impossible)?;
    let matches = rest.get(layout.head..target_at).ok_or_else(impossible)?;
    Ok(Bounds { head, matches, target, next: offset + length })
}

fn matches(mut rest: &[u8], ipv6: bool) -> Option<Vec<Match>> {
    // Room for those that are there: most rules have one or two, and a list that grows takes room for four.
    let (mut count, mut left) = (0, rest);
    while !left.is_empty() {
        left = left.get(usize::from(u16::from_ne_bytes(word(left, 0)?)).max(PART_HEAD)..)?;
        count += 1;
    }
    let mut found = Vec::with_capacity(count);
    while !rest.is_empty() {
        let Part { name, revision, data } = part(rest)?;
        found.push(Match::decode(&exact_text(name), revision, data, ipv6));
        rest = rest.get(PART_HEAD + data.len()..)?;
    }
    Some(found)
}

/// A match or target.
pub(super) struct Part<'a> {
    pub(super) name: &'a [u8],
    pub(super) revision: u8,
    pub(super) data: &'a [u8],
}

/// The match or target that begins here.
pub(super) fn part(bytes: &[u8]) -> Option<Part<'_>> {
    let (head, _) = bytes.split_first_chunk::<PART_HEAD>()?;
    let [low, high, name @ .., revision] = head;
    let data = bytes.get(PART_HEAD..usize::from(u16::from_ne_bytes([*low, *high])))?;
    Some(Part { name: up_to_zero(name), revision: *revision, data })
}

pub(super) fn up_to_zero(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

pub(super) fn word<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

pub(super) fn decode_entry<'a>(
    layout: &Layout,
    bounds: &Bounds<'a>,
    offset: usize,
    ipv6: bool,
) -> Result<Entry<'a>, EntryError> {
    let fail = |what| EntryError { offset, what };
    let Bounds { head, target, next, .. } = *bounds;
    let u64_at = |at: usize| word::<8>(head, at).map_or(0, u64::from_ne_bytes);
    let matches = matches(bounds.matches, ipv6).ok_or_else(|| fail("has a match cut short"))?;
    let (ip, goto) = if ipv6 { ip_part_v6(head) } else { ip_part_v4(head) }
        .ok_or_else(|| fail("asks for addresses, devices or a protocol in no known way"))?;
    if ![&ip.source, &ip.destination].into_iter().flatten().all(AddressMatch::is_masked) {
        return Err(fail("has an address outside of its mask"));
    }
    let counters = Counters { packets: u64_at(layout.counters), bytes: u64_at(layout.counters + 8) };
    Ok(Entry { offset, next, counters, ip, goto, matches, target })
}

fn ip_part_v4(head: &[u8]) -> Option<(IpPart, bool)> {
    const FRAGMENT: u8 = 1;
    const GOTO: u8 = 2;
    let address = |at| word::<4>(head, at).map(|octets| IpAddr::from(Ipv4Addr::from(octets)));
    let protocol = u16::from_ne_bytes(word(head, 80)?);
    let (flags, inverted) = (*head.get(82)?, *head.get(83)?);
    let known = flags & !(FRAGMENT | GOTO) == 0 && inverted & !INVERTED == 0;
    let ip = IpPart {
        source: address_match(address(0)?, address(8)?, inverted & INVERT_SOURCE != 0),
        destination: address_match(address(4)?, address(12)?, inverted & INVERT_DESTINATION != 0),
        input: device_match(head, 16, 48, inverted & INVERT_IN != 0)?,
        output: device_match(head, 32, 64, inverted & INVERT_OUT != 0)?,
        protocol: protocol_match(protocol, inverted & INVERT_PROTOCOL != 0)?,
        fragments: (flags & FRAGMENT != 0 || inverted & INVERT_FRAGMENT != 0)
            .then_some(Fragments { negated: inverted & INVERT_FRAGMENT != 0 }),
    };
    known.then_some((ip, flags & GOTO != 0))
}

fn ip_part_v6(head: &[u8]) -> Option<(IpPart, bool)> {
    /// Without this flag the kernel does not look at the protocol (net/ipv6/netfilter/ip6_tables.c).
    const PROTOCOL: u8 = 1;
    const TOS: u8 = 2;
    const GOTO: u8 = 4;
    let address = |at| word::<16>(head, at).map(|octets| IpAddr::from(Ipv6Addr::from(octets)));
    let protocol = u16::from_ne_bytes(word(head, 128)?);
    let (flags, inverted) = (*head.get(131)?, *head.get(132)?);
    let known = flags & !(PROTOCOL | TOS | GOTO) == 0 && inverted & !INVERTED == 0;
    let ip = IpPart {
        source: address_match(address(0)?, address(32)?, inverted & INVERT_SOURCE != 0),
        destination: address_match(address(16)?, address(48)?, inverted & INVERT_DESTINATION != 0),
        input: device_match(head, 64, 96, inverted & INVERT_IN != 0)?,
        output: device_match(head, 80, 112, inverted & INVERT_OUT != 0)?,
        protocol: if flags & PROTOCOL == 0 { None } else { protocol_match(protocol, inverted & INVERT_PROTOCOL != 0)? },
        fragments: None,
    };
    known.then_some((ip, flags & GOTO != 0))
}

fn address_match(address: IpAddr, mask: IpAddr, negated: bool) -> Option<AddressMatch> {
    (negated || !mask.is_unspecified() || !address.is_unspecified()).then_some(AddressMatch { negated, address, mask })
}

/// `None` for a number that no packet has.
fn protocol_match(number: u16, negated: bool) -> Option<Option<ProtocolMatch>> {
    let number = u8::try_from(number).ok()?;
    Some((number != 0 || negated).then_some(ProtocolMatch { negated, number }))
}

/// A device name and its mask: whole when the mask covers the closing zero, else a beginning. `None` when the mask has holes, or
/// covers something behind the closing zero.
fn device_match(head: &[u8], name_at: usize, mask_at: usize, negated: bool) -> Option<Option<Box<DeviceMatch>>> {
    let (field, mask) = (head.get(name_at..name_at + DEVICE)?, head.get(mask_at..mask_at + DEVICE)?);
    let covered = mask.iter().take_while(|byte| **byte == u8::MAX).count();
    if covered == 0 && !negated && mask.iter().all(|byte| *byte == 0) {
        return Some(None);
    }
    let (compared, ignored) = (field.get(..covered)?, mask.get(covered..)?);
    let end = compared.iter().position(|byte| *byte == 0);
    let behind = compared.get(end.unwrap_or(covered)..)?;
    if ignored.iter().chain(behind).any(|byte| *byte != 0) {
        return None;
    }
    // `eth+` is stored with its plus, which the mask leaves out.
    let found = DeviceMatch { negated, name: exact_text(up_to_zero(compared)).into_owned(), prefix: end.is_none() };
    Some((covered != 0 || negated).then(|| Box::new(found)))
}
