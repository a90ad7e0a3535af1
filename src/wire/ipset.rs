//! ipset messages, protocols 6 and 7 (`include/uapi/linux/netfilter/ipset/ip_set.h`): requests, and sets from their answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::attribute::{Attribute, Builder, CutAttribute, attributes};
use crate::xt::ipset::{Entry, IpSet, IpSetHeader, UnknownAttribute};

/// `NFNL_SUBSYS_IPSET` in the upper byte of the message type.
const SUBSYSTEM: u16 = 6 << 8;
/// Lists a set (`IPSET_CMD_LIST`): its header, and its elements over as many messages as it takes.
pub const LIST: u16 = SUBSYSTEM | 7;
/// Asks for a set's type, revision and family (`IPSET_CMD_HEADER`).
pub const HEADER: u16 = SUBSYSTEM | 12;
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
    const LIST_HEADER: u32 = 4;
    if elements { of(name) } else { of(name).put_be32(6, LIST_HEADER) }.finish()
}

/// Asks for a set's type alone.
#[must_use]
pub fn header_of(name: &str) -> Vec<u8> {
    of(name).finish()
}

/// In the older protocol: all kernels know it, and the answers are the same.
fn of(name: &str) -> Builder {
    const PROTOCOL: u8 = 6;
    const INET: u8 = 2;
    Builder::after(&[INET, 0, 0, 0]).put(1, &[PROTOCOL]).put_text(2, name)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn element(attributes: Builder) -> Builder {
        Builder::default().put_nested(7, &attributes)
    }

    /// A listing of one set with one element, by the published numbers.
    fn listed(kind: &str, header: &Builder, entry: Builder) -> IpSet {
        let message = Builder::after(&[2, 0, 0, 0]).put(1, &[7]).put_text(2, "s").put_text(3, kind);
        let message = message.put(5, &[2]).put(4, &[1]).put_nested(7, header).finish();
        let more = Builder::after(&[2, 0, 0, 0]).put(1, &[7]).put_text(2, "s").put_nested(8, &element(entry)).finish();
        let mut sets = Vec::new();
        assert_eq!(add_listed(&message, &mut sets), Ok(0));
        assert_eq!(add_listed(&more, &mut sets), Ok(1));
        assert_eq!(sets.len(), 1);
        sets.remove(0)
    }

    fn v4(address: [u8; 4]) -> Builder {
        Builder::default().put(1, &address)
    }

    fn entry() -> Builder {
        Builder::default()
    }

    #[test]
    fn types_that_few_kernels_have_are_read_by_the_published_protocol() {
        let hash = || entry().put_be32(18, 1024).put_be32(19, 65536);
        let here = || entry().put_nested(1, &v4([10, 0, 0, 1]));
        let mac = [2, 0x11, 0x22, 0x33, 0x44, 0xfe];
        let net = || here().put(3, &[8]).put_nested(20, &v4([192, 168, 0, 0])).put(21, &[16]);
        let flags = |builder: Builder| builder.put_be32(8, 4);
        let cases = [
            ("hash:mac", hash(), entry().put(17, &mac), "hashsize 1024 maxelem 65536", "02:11:22:33:44:FE"),
            ("hash:ip,mac", hash(), here().put(17, &mac), "hashsize 1024 maxelem 65536", "10.0.0.1,02:11:22:33:44:FE"),
            (
                "hash:ip,mark",
                hash().put_be32(11, 0xff00),
                here().put_be32(10, 0x1200),
                "markmask 0x0000ff00 hashsize 1024 maxelem 65536",
                "10.0.0.1,0x00001200",
            ),
            ("hash:net,net", hash(), net(), "hashsize 1024 maxelem 65536", "10.0.0.1/8,192.168.0.0/16"),
            (
                "hash:net,port,net",
                hash().put(21, &[12]).put_be32(17, 7),
                flags(net().put(4, &80_u16.to_be_bytes()).put(7, &[6])),
                "hashsize 1024 maxelem 65536 bucketsize 12 initval 0x00000007",
                "10.0.0.1/8,tcp:80,192.168.0.0/16 nomatch",
            ),
        ];
        for (kind, header, entry, options, text) in cases {
            let set = listed(kind, &header, entry);
            let wanted = format!("create s {kind} family inet {options}\nadd s {text}\n");
            assert_eq!(set.save(), wanted);
        }
    }

    #[test]
    fn what_nobody_knew_is_kept_and_shown() {
        let set = listed("hash:planet", &entry().put_be32(18, 64), entry().put(1, &[1, 2]).put(40, &[0xab]));
        assert!(!set.is_known());
        assert_eq!(
            set.save(),
            "create s hash:planet family inet hashsize 64 [unknown attribute 18: 00000040]\n\
             add s [element] [unknown attribute 1: 0102] [unknown attribute 40: ab]\n"
        );
        // An attribute, a flag, a value of another length within a known type.
        let strange = entry().put_nested(1, &v4([10, 0, 0, 1])).put(31, &[0xff]).put_be32(8, 1 << 20).put(6, &[1]);
        let set = listed("hash:ip", &entry().put(40, &[1]), strange);
        assert_eq!(
            set.save(),
            "create s hash:ip family inet [unknown attribute 40: 01]\n\
             add s 10.0.0.1 [unknown flags 0x100000] [unknown attribute 31: ff] [unknown attribute 6: 01]\n"
        );
        let set = listed("hash:ip", &entry(), entry().put_nested(1, &entry().put(1, &[1, 2, 3])));
        assert_eq!(
            set.save(),
            "create s hash:ip family inet\nadd s [element] [unknown attribute 1: 0700010001020300]\n"
        );
    }

    #[test]
    fn messages_that_are_cut_are_errors_or_shorter_but_never_more() {
        let message = Builder::after(&[2, 0, 0, 0]).put_text(2, "s").put_text(3, "hash:ip");
        let two = element(entry().put_nested(1, &v4([10, 0, 0, 1]))).put_nested(7, &entry().put_be32(6, 5));
        let message = message.put_nested(7, &entry().put_be32(18, 64)).put_nested(8, &two).finish();
        let whole = {
            let mut sets = Vec::new();
            assert_eq!(add_listed(&message, &mut sets), Ok(2));
            sets.remove(0)
        };
        for length in 0..message.len() {
            let mut sets = Vec::new();
            if add_listed(&message[..length], &mut sets).is_ok() {
                assert!(sets[0].elements.as_ref().is_none_or(Vec::is_empty), "{length}: {sets:?}");
                assert_ne!(sets[0], whole);
            }
        }
        // Elements of a set that was not begun.
        let stray = Builder::after(&[2, 0, 0, 0]).put_text(2, "t").put_nested(8, &two).finish();
        assert_eq!(add_listed(&stray, &mut vec![whole]), Err(IpsetError::Lacks("type")));
    }
}
