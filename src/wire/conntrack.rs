//! Tracked connections as ctnetlink gives them: the request for all of them, and one flow from one answer.
//!
//! Source of the numbers: `include/uapi/linux/netfilter/nfnetlink_conntrack.h` (`CTA_*`), of TCP's states
//! `include/uapi/linux/netfilter/nf_conntrack_tcp.h`. Numbers wider than a byte stand in network order.

use super::address::ip;
use super::attribute::{Attributes, CutAttribute, attributes};
use crate::model::{Endpoint, Flow, Protocol};

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET`: message type of the request.
pub const GET: u16 = 0x0101;
/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW`: message type of an answer.
pub const NEW: u16 = 0x0100;

/// Bytes of `struct nfgenmsg`; attributes follow.
const HEAD: usize = 4;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_PROTOINFO: u16 = 4;
const CTA_TIMEOUT: u16 = 7;
const CTA_MARK: u16 = 8;
const CTA_COUNTERS_ORIG: u16 = 9;
const CTA_COUNTERS_REPLY: u16 = 10;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;

/// An answer that is no flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConntrackError {
    /// Shorter than `struct nfgenmsg`.
    #[error("conntrack message of {0} bytes is cut short")]
    Short(usize),
    /// The bytes do not divide into attributes.
    #[error("conntrack message: {0}")]
    Attribute(#[from] CutAttribute),
    /// A part that every entry has is missing or too short.
    #[error("conntrack entry without {0}")]
    Missing(&'static str),
}

/// The payload of a dump request (`struct nfgenmsg`) for the entries of every family.
///
/// The plain "get" is asked, never the one that sets counters to zero.
#[must_use]
pub fn request() -> Vec<u8> {
    const AF_UNSPEC: u8 = 0;
    const NFNETLINK_V0: u8 = 0;
    vec![AF_UNSPEC, NFNETLINK_V0, 0, 0]
}

/// Reads one answer to a [`request`].
///
/// # Errors
/// See [`ConntrackError`].
pub fn decode(payload: &[u8]) -> Result<Flow, ConntrackError> {
    let body = payload.get(HEAD..).ok_or(ConntrackError::Short(payload.len()))?;
    let (mut original, mut reply) = (None, None);
    let (mut id, mut status, mut mark, mut zone, mut timeout) = (None, None, 0, None, None);
    let (mut tcp_state, mut counters) = (None, None);
    for attribute in attributes(body) {
        let attribute = attribute?;
        match attribute.kind {
            CTA_TUPLE_ORIG => original = Some(tuple(attribute.nested(), "an original tuple")?),
            CTA_TUPLE_REPLY => reply = Some(tuple(attribute.nested(), "a reply tuple")?),
            CTA_STATUS => status = attribute.be32(),
            CTA_PROTOINFO => tcp_state = state(attribute.nested())?,
            CTA_TIMEOUT => timeout = attribute.be32(),
            CTA_MARK => mark = attribute.be32().unwrap_or_default(),
            CTA_COUNTERS_ORIG | CTA_COUNTERS_REPLY => counters = added(counters, count(attribute.nested())?),
            CTA_ID => id = attribute.be32(),
            CTA_ZONE => zone = attribute.be16(),
            _ => {}
        }
    }
    let original = original.ok_or(ConntrackError::Missing("an original tuple"))?;
    let reply = reply.ok_or(ConntrackError::Missing("a reply tuple"))?;
    Ok(Flow {
        id: id.ok_or(ConntrackError::Missing("an id"))?,
        protocol: original.protocol,
        state: tcp_state,
        original: (original.source, original.destination),
        reply: (reply.source, reply.destination),
        status: status.ok_or(ConntrackError::Missing("a status"))?,
        mark,
        // A zone of one direction only stands in that direction's tuple.
        zone: zone.or(original.zone).or(reply.zone).unwrap_or_default(),
        timeout,
        packets: counters.map(|(packets, _)| packets),
        bytes: counters.map(|(_, bytes)| bytes),
    })
}

/// One direction of a flow.
struct Tuple {
    protocol: Protocol,
    source: Endpoint,
    destination: Endpoint,
    zone: Option<u16>,
}

/// `CTA_TUPLE_*`: addresses (1), protocol with its ports (2), zone (3).
fn tuple(parts: Attributes<'_>, which: &'static str) -> Result<Tuple, ConntrackError> {
    let (mut source, mut destination, mut protocol, mut zone) = (None, None, None, None);
    let (mut source_port, mut destination_port) = (0, 0);
    for part in parts {
        let part = part?;
        match part.kind {
            1 => {
                for address in part.nested() {
                    let address = address?;
                    match address.kind {
                        1 | 3 => source = ip(&address),
                        2 | 4 => destination = ip(&address),
                        _ => {}
                    }
                }
            }
            2 => {
                for field in part.nested() {
                    let field = field?;
                    match field.kind {
                        1 => protocol = field.u8(),
                        2 => source_port = field.be16().unwrap_or_default(),
                        3 => destination_port = field.be16().unwrap_or_default(),
                        _ => {} // identifiers of ICMP, which has no ports
                    }
                }
            }
            3 => zone = part.be16(),
            _ => {}
        }
    }
    let missing = ConntrackError::Missing(which);
    Ok(Tuple {
        protocol: Protocol::from_number(protocol.ok_or(missing)?),
        source: Endpoint::new(source.ok_or(missing)?, source_port),
        destination: Endpoint::new(destination.ok_or(missing)?, destination_port),
        zone,
    })
}

/// `CTA_PROTOINFO`: TCP's part is 1, its state there 1, in the words that `conntrack -L` prints.
fn state(parts: Attributes<'_>) -> Result<Option<String>, ConntrackError> {
    const WORDS: [&str; 10] = [
        "NONE",
        "SYN_SENT",
        "SYN_RECV",
        "ESTABLISHED",
        "FIN_WAIT",
        "CLOSE_WAIT",
        "LAST_ACK",
        "TIME_WAIT",
        "CLOSE",
        "SYN_SENT2",
    ];
    for part in parts {
        let part = part?;
        if part.kind != 1 {
            continue;
        }
        for field in part.nested() {
            let field = field?;
            if let (1, Some(number)) = (field.kind, field.u8()) {
                let word = WORDS.get(usize::from(number)).copied();
                return Ok(Some(word.map_or_else(|| format!("UNKNOWN_{number}"), str::to_owned)));
            }
        }
    }
    Ok(None)
}

/// `CTA_COUNTERS_*`: packets (1) and bytes (2). They are sent only where `net.netfilter.nf_conntrack_acct` is on.
fn count(parts: Attributes<'_>) -> Result<Option<(u64, u64)>, ConntrackError> {
    let (mut packets, mut bytes) = (None, None);
    for part in parts {
        let part = part?;
        match part.kind {
            1 => packets = part.be64(),
            2 => bytes = part.be64(),
            _ => {}
        }
    }
    Ok(packets.zip(bytes))
}

fn added(sum: Option<(u64, u64)>, one: Option<(u64, u64)>) -> Option<(u64, u64)> {
    match (sum, one) {
        (Some((packets, bytes)), Some((more_packets, more_bytes))) => {
            Some((packets.saturating_add(more_packets), bytes.saturating_add(more_bytes)))
        }
        (sum, one) => sum.or(one),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::attribute::Builder;

    /// A redirected connection as Linux 6.18 sent it, accounting on.
    const REDIRECTED: &str = "02000000\
        34000180 14000180 080001000a000002 080002000a090909 1c000280 0500010006000000 06000200e9ba0000 0600030000500000\
        34000280 14000180 080001007f000001 080002000a000002 1c000280 0500010006000000 060002003a990000 06000300e9ba0000\
        08000300000001ae 0800080000000000 08000c00a58f2cb5 08000b0000000001 080007000006977f\
        30000480 2c000180 0500010003000000 050002000a000000 050003000a000000 0600040023000000 0600050023000000\
        1c000980 0c0001000000000000000002 0c0002000000000000000070\
        1c000a80 0c0001000000000000000001 0c000200000000000000003c";

    fn bytes(hexadecimal: &str) -> Vec<u8> {
        let digits: Vec<u8> = hexadecimal
            .chars()
            .filter_map(|digit| digit.to_digit(16))
            .map(|digit| u8::try_from(digit).expect("a digit"))
            .collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    #[test]
    fn a_redirected_connection() {
        let flow = decode(&bytes(REDIRECTED)).expect("a flow");
        assert_eq!(flow.original.0.to_string(), "10.0.0.2:59834");
        assert_eq!(flow.original.1.to_string(), "10.9.9.9:80");
        assert_eq!(flow.reply.0.to_string(), "127.0.0.1:15001");
        assert_eq!(flow.reply.1.to_string(), "10.0.0.2:59834");
        assert_eq!((flow.protocol, flow.state.as_deref()), (Protocol::Tcp, Some("ESTABLISHED")));
        assert_eq!((flow.status, flow.mark, flow.zone, flow.id), (0x1ae, 0, 0, 0xa58f_2cb5));
        assert_eq!((flow.timeout, flow.packets, flow.bytes), (Some(431_999), Some(3), Some(172)));
    }

    fn one_way(source: [u8; 16], destination: [u8; 16], protocol: &Builder) -> Builder {
        let addresses = Builder::default().put(3, &source).put(4, &destination);
        Builder::default().put_nested(1, &addresses).put(3, &7_u16.to_be_bytes()).put_nested(2, protocol)
    }

    #[test]
    fn icmpv6_has_no_ports_and_a_zone_may_stand_in_a_tuple() {
        let protocol = Builder::default().put(1, &[58]).put(7, &99_u16.to_be_bytes()).put(8, &[128]);
        let mut to = [0; 16];
        to[15] = 1;
        let message = Builder::after(&[10, 0, 0, 0])
            .put_nested(CTA_TUPLE_ORIG, &one_way([0; 16], to, &protocol))
            .put_nested(CTA_TUPLE_REPLY, &one_way(to, [0; 16], &protocol))
            .put_be32(CTA_STATUS, 0)
            .put_be32(CTA_ID, 1)
            .finish();
        let flow = decode(&message).expect("a flow");
        assert_eq!((flow.protocol, flow.zone, flow.state), (Protocol::Other(58), 7, None));
        assert_eq!(flow.original.1.to_string(), "[::1]:0");
        assert_eq!((flow.packets, flow.timeout), (None, None));
    }

    #[test]
    fn an_entry_without_tuples_is_an_error() {
        assert_eq!(decode(&[2, 0, 0, 0]), Err(ConntrackError::Missing("an original tuple")));
        assert_eq!(decode(&[2, 0]), Err(ConntrackError::Short(2)));
    }

    #[test]
    fn every_cut_before_the_id_is_an_error() {
        let whole = bytes(REDIRECTED);
        for length in 0..(4 + 52 + 52 + 8 + 8 + 8) {
            assert!(decode(&whole[..length]).is_err(), "cut at {length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn a_damaged_message_gives_an_answer(at in 0_usize..252, byte: u8, cut in 0_usize..256) {
            let mut message = bytes(REDIRECTED);
            if let Some(place) = message.get_mut(at) {
                *place = byte;
            }
            message.truncate(cut);
            let _ = decode(&message);
        }
    }
}
