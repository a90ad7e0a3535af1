//! ipset messages, protocols 6 and 7 (`include/uapi/linux/netfilter/ipset/ip_set.h`): requests, and sets from their answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::attribute::{Attribute, Builder, CutAttribute, attributes};
use crate::xt::ipset::{Entry, IpSet, IpSetHeader, UnknownAttribute};

/// `NFNL_SUBSYS_IPSET` in the upper byte of the message type.
const SUBSYSTEM: u16 = 6 << 8;
/// Lists a set (`IPSET_CMD_LIST`): its header, and its elements over as many messages as it takes.
pub const LIST: u16 = SUBSYSTEM | 7;
/// Length of `struct nfgenmsg`.
const HEAD: usize = 4;

/// A message that cannot be taken apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IpsetError {
    /// An attribute is cut short.
    #[error(transparent)]
    Cut(#[from] CutAttribute),
    /// The message is too short, or lacks what every such message has.
    #[error("an ipset message without {0}")]
    Lacks(&'static str),
}

/// Asks for one set; with its elements, or for its header alone (`IPSET_FLAG_LIST_HEADER`).
#[must_use]
pub fn list(name: &str, elements: bool) -> Vec<u8> {
    const PROTOCOL: u8 = 6;
    const LIST_HEADER: u32 = 4;
    const INET: u8 = 2;
    // The older protocol: all kernels know it, and the answers are the same.
    let request = Builder::after(&[INET, 0, 0, 0]).put(1, &[PROTOCOL]).put_text(2, name);
    if elements { request } else { request.put_be32(6, LIST_HEADER) }.finish()
}

/// Adds what a `IPSET_CMD_LIST` message says to the sets that earlier ones began; how many elements it held.
///
/// # Errors
/// [`IpsetError`].
pub fn add_listed(message: &[u8], sets: &mut Vec<IpSet>) -> Result<usize, IpsetError> {
    let rest = message.get(HEAD..).ok_or(IpsetError::Lacks("header"))?;
    let (mut name, mut kind, mut revision, mut family) = (None, None, 0, 0);
    let (mut header, mut elements) = (None, None);
    for attribute in attributes(rest) {
        let attribute = attribute?;
        match attribute.kind {
            2 => name = Some(attribute.text()),
            3 => kind = Some(attribute.text()),
            4 => revision = attribute.u8().unwrap_or_default(),
            5 => family = attribute.u8().unwrap_or_default(),
            7 => header = Some(attribute),
            8 => elements = Some(attribute),
            _ => {}
        }
    }
    let name = name.ok_or(IpsetError::Lacks("name"))?;
    if let Some(kind) = kind {
        let mut set = IpSet { name, kind, revision, family, elements: Some(Vec::new()), ..IpSet::default() };
        let known = set.is_known();
        if let Some(attribute) = header {
            set.header = self::header(&attribute, known)?;
        }
        sets.push(set);
    } else if sets.last().is_none_or(|set| set.name != name) {
        return Err(IpsetError::Lacks("type"));
    }
    let (Some(set), Some(elements)) = (sets.last_mut(), elements) else { return Ok(0) };
    let known = set.is_known();
    let found = elements.nested().map(|part| entry(&part?, known)).collect::<Result<Vec<_>, _>>()?;
    let count = found.len();
    set.elements.get_or_insert_default().extend(found);
    Ok(count)
}

/// `IPSET_ATTR_IPADDR_IPV4`, `_IPV6` within an address.
fn address(attribute: &Attribute<'_>) -> Option<IpAddr> {
    let part = attribute.nested().next()?.ok()?;
    match (part.kind, part.value.len()) {
        (1, 4) => Some(Ipv4Addr::from(*part.value.first_chunk::<4>()?).into()),
        (2, 16) => Some(Ipv6Addr::from(*part.value.first_chunk::<16>()?).into()),
        _ => None,
    }
}

fn unknown(attribute: &Attribute<'_>) -> UnknownAttribute {
    UnknownAttribute { kind: attribute.kind, data: attribute.value.to_vec() }
}

/// Stores a value, or says that there is none: then the attribute is not understood.
fn put<T>(place: &mut Option<T>, value: Option<T>) -> Option<()> {
    *place = Some(value?);
    Some(())
}

fn header(attribute: &Attribute<'_>, known: bool) -> Result<IpSetHeader, IpsetError> {
    let mut header = IpSetHeader::default();
    let (mut from, mut to, mut port_from, mut port_to) = (None, None, None, None);
    for part in attribute.nested() {
        let part = part?;
        let number = part.be32();
        let understood = match part.kind {
            1 => put(&mut from, address(&part)),
            2 => put(&mut to, address(&part)),
            4 => put(&mut port_from, part.be16()),
            5 => put(&mut port_to, part.be16()),
            6 => put(&mut header.timeout, number),
            8 => number.map(|flags| header.flags = flags),
            11 => put(&mut header.markmask, number),
            12 => put(&mut header.bitmask, address(&part)),
            17 => put(&mut header.initval, number),
            18 => put(&mut header.hashsize, number),
            19 => put(&mut header.maxelem, number),
            20 => put(&mut header.netmask, part.u8()),
            21 => put(&mut header.bucketsize, part.u8()),
            23 => put(&mut header.size, number),
            24 => put(&mut header.count, number),
            25 => put(&mut header.references, number),
            26 => put(&mut header.memory, number),
            _ => None,
        };
        if understood.is_none() || !known {
            header.unknown.push(unknown(&part));
        }
    }
    header.range = from.zip(to);
    header.ports = port_from.zip(port_to);
    Ok(header)
}

/// One element; of a type that is not known every attribute is kept as it came.
fn entry(attribute: &Attribute<'_>, known: bool) -> Result<Entry, IpsetError> {
    let mut entry = Entry::default();
    for part in attribute.nested() {
        let part = part?;
        let number = part.be32();
        let understood = match part.kind {
            _ if !known => None,
            1 => put(&mut entry.address, address(&part)),
            3 => put(&mut entry.bits, part.u8()),
            4 => put(&mut entry.port, part.be16()),
            6 => put(&mut entry.timeout, number),
            7 => put(&mut entry.protocol, part.u8()),
            8 => number.map(|flags| entry.flags = flags),
            10 => put(&mut entry.mark, number),
            17 => put(&mut entry.mac, part.value.try_into().ok()),
            18 => put(&mut entry.set, Some(part.text())),
            19 => put(&mut entry.beside, Some(part.text())),
            20 => put(&mut entry.second, address(&part)),
            21 => put(&mut entry.second_bits, part.u8()),
            23 => put(&mut entry.device, Some(part.text())),
            24 => put(&mut entry.bytes, part.be64()),
            25 => put(&mut entry.packets, part.be64()),
            26 => put(&mut entry.comment, Some(part.text())),
            27 => put(&mut entry.gives_mark, part.be64().map(|both| ((both >> 32) as u32, both as u32))),
            28 => put(&mut entry.gives_priority, number),
            29 => put(&mut entry.gives_queue, part.be16()),
            // The padding that aligns what follows.
            30 => Some(()),
            _ => None,
        };
        if understood.is_none() {
            entry.unknown.push(unknown(&part));
        }
    }
    Ok(entry)
}
