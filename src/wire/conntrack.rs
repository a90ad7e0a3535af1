//! Tracked connections as ctnetlink gives them: one flow from one answer.
//!
//! Source of the numbers: `include/uapi/linux/netfilter/nfnetlink_conntrack.h` (`CTA_*`), of the states
//! `nf_conntrack_tcp.h`, `nf_conntrack_sctp.h` beside it and `nf_conntrack_dccp.h` (up to Linux 6.15). Numbers wider than a byte
//! stand in network order. An attribute that is not known, or not as long as it should be, is kept by number and bytes.

pub mod event;
pub mod request;
pub mod table;
#[cfg(test)]
mod tests;
mod tuple;

use std::borrow::Cow;

use super::attribute::{Attribute, Attributes, CutAttribute, attributes};
use crate::model::{Adjustment, Flow, FlowDetails, SynProxy, TcpSide, Transport, Tuple, UnknownPart};
pub use request::{GET, NEW, request};
use tuple::tuple;

/// Bytes of `struct nfgenmsg`; attributes follow.
const HEAD: usize = 4;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_PROTOINFO: u16 = 4;
const CTA_HELP: u16 = 5;
const CTA_TIMEOUT: u16 = 7;
const CTA_MARK: u16 = 8;
const CTA_COUNTERS_ORIG: u16 = 9;
const CTA_COUNTERS_REPLY: u16 = 10;
const CTA_USE: u16 = 11;
const CTA_ID: u16 = 12;
const CTA_TUPLE_MASTER: u16 = 14;
const CTA_SEQ_ADJ_ORIG: u16 = 15;
const CTA_SEQ_ADJ_REPLY: u16 = 16;
const CTA_ZONE: u16 = 18;
const CTA_SECCTX: u16 = 19;
const CTA_TIMESTAMP: u16 = 20;
const CTA_LABELS: u16 = 22;
const CTA_SYNPROXY: u16 = 24;

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

/// Reads one answer to a [`request`].
///
/// # Errors
/// See [`ConntrackError`].
pub fn decode(payload: &[u8]) -> Result<Flow, ConntrackError> {
    let body = payload.get(HEAD..).ok_or(ConntrackError::Short(payload.len()))?;
    let mut entry = Entry::default();
    for attribute in attributes(body) {
        entry.take(&attribute?)?;
    }
    entry.finish()
}

/// What was not understood, as it comes.
#[derive(Debug, Default)]
struct Strangers(Vec<UnknownPart>);

impl Strangers {
    /// Keeps an attribute that stands in others, which are named by their numbers.
    fn keep(&mut self, within: &[u16], attribute: &Attribute<'_>) {
        self.0.push(UnknownPart::new(&[within, &[attribute.kind]].concat(), attribute.value));
    }

    /// The value, or none, and then the attribute is kept.
    fn or_keep<T>(&mut self, value: Option<T>, within: &[u16], attribute: &Attribute<'_>) -> Option<T> {
        if value.is_none() {
            self.keep(within, attribute);
        }
        value
    }
}

/// An attribute's value, where it has just this length.
fn exact<const N: usize>(attribute: &Attribute<'_>) -> Option<[u8; N]> {
    attribute.value.try_into().ok()
}

fn be16(attribute: &Attribute<'_>) -> Option<u16> {
    exact(attribute).map(u16::from_be_bytes)
}

fn be32(attribute: &Attribute<'_>) -> Option<u32> {
    exact(attribute).map(u32::from_be_bytes)
}

fn be64(attribute: &Attribute<'_>) -> Option<u64> {
    exact(attribute).map(u64::from_be_bytes)
}

fn byte(attribute: &Attribute<'_>) -> Option<u8> {
    exact(attribute).map(|[byte]| byte)
}

/// An entry while it is read.
#[derive(Debug, Default)]
struct Entry {
    original: Option<Tuple>,
    reply: Option<Tuple>,
    id: Option<u32>,
    status: Option<u32>,
    mark: u32,
    zone: Option<u16>,
    timeout: Option<u32>,
    state: Option<Cow<'static, str>>,
    details: FlowDetails,
    strangers: Strangers,
}

impl Entry {
    fn take(&mut self, attribute: &Attribute<'_>) -> Result<(), ConntrackError> {
        let (kind, parts) = (attribute.kind, attribute.nested());
        let (details, strangers) = (&mut self.details, &mut self.strangers);
        match kind {
            CTA_TUPLE_ORIG => self.original = Some(tuple(parts, kind, "an original tuple", strangers)?),
            CTA_TUPLE_REPLY => self.reply = Some(tuple(parts, kind, "a reply tuple", strangers)?),
            CTA_STATUS => self.status = strangers.or_keep(be32(attribute), &[], attribute),
            CTA_PROTOINFO => self.transport(parts)?,
            CTA_TIMEOUT => self.timeout = strangers.or_keep(be32(attribute), &[], attribute),
            CTA_MARK => self.mark = strangers.or_keep(be32(attribute), &[], attribute).unwrap_or_default(),
            CTA_COUNTERS_ORIG => details.original.counted = counted(parts, kind, strangers)?,
            CTA_COUNTERS_REPLY => details.reply.counted = counted(parts, kind, strangers)?,
            CTA_USE => details.holders = strangers.or_keep(be32(attribute), &[], attribute),
            CTA_ID => self.id = strangers.or_keep(be32(attribute), &[], attribute),
            CTA_ZONE => self.zone = strangers.or_keep(be16(attribute), &[], attribute),
            CTA_TIMESTAMP => self.timestamps(parts)?,
            _ => self.take_rare(attribute)?,
        }
        Ok(())
    }

    /// What most entries do not have.
    fn take_rare(&mut self, attribute: &Attribute<'_>) -> Result<(), ConntrackError> {
        let (kind, parts) = (attribute.kind, attribute.nested());
        let (details, strangers) = (&mut self.details, &mut self.strangers);
        match kind {
            CTA_HELP => details.helper = name(parts, kind, strangers)?,
            CTA_SECCTX => details.security = name(parts, kind, strangers)?,
            CTA_LABELS => details.labels = labels(attribute.value),
            CTA_TUPLE_MASTER => {
                details.master = Some(Box::new(tuple(parts, kind, "a master tuple", strangers)?));
            }
            CTA_SEQ_ADJ_ORIG | CTA_SEQ_ADJ_REPLY => {
                let [position, before, after] = three(parts, kind, strangers)?;
                let [before, after] = [before, after].map(u32::cast_signed);
                let adjusted = Some(Box::new(Adjustment { position, before, after }));
                let original = kind == CTA_SEQ_ADJ_ORIG;
                let side = if original { &mut details.original } else { &mut details.reply };
                side.adjusted = adjusted;
            }
            CTA_SYNPROXY => {
                let [sequence, timestamp, offset] = three(parts, kind, strangers)?;
                let kept = SynProxy { sequence, timestamp, offset };
                // Every entry has room for it; empty, it says nothing.
                details.synproxy = (kept != SynProxy::default()).then(|| Box::new(kept));
            }
            _ => strangers.keep(&[], attribute),
        }
        Ok(())
    }

    /// `CTA_TIMESTAMP`: nanoseconds of start (1) and stop (2); 3 pads.
    fn timestamps(&mut self, parts: Attributes<'_>) -> Result<(), ConntrackError> {
        let (details, strangers, path) = (&mut self.details, &mut self.strangers, [CTA_TIMESTAMP]);
        for part in parts {
            let part = part?;
            match part.kind {
                1 => details.started = strangers.or_keep(be64(&part), &path, &part),
                2 => details.stopped = strangers.or_keep(be64(&part), &path, &part),
                3 => {}
                _ => strangers.keep(&path, &part),
            }
        }
        Ok(())
    }

    /// `CTA_PROTOINFO`: TCP's part is 1, DCCP's 2, SCTP's 3; the state is the first of each.
    fn transport(&mut self, parts: Attributes<'_>) -> Result<(), ConntrackError> {
        for part in parts {
            let part = part?;
            let path = [CTA_PROTOINFO, part.kind];
            let (transport, state) = match part.kind {
                1 => tcp(part.nested(), &path, &mut self.strangers)?,
                2 => dccp(part.nested(), &path, &mut self.strangers)?,
                3 => sctp(part.nested(), &path, &mut self.strangers)?,
                _ => {
                    self.strangers.keep(&[CTA_PROTOINFO], &part);
                    continue;
                }
            };
            self.details.transport = Some(transport);
            self.state = state;
        }
        Ok(())
    }

    fn finish(self) -> Result<Flow, ConntrackError> {
        let original = self.original.ok_or(ConntrackError::Missing("an original tuple"))?;
        let reply = self.reply.ok_or(ConntrackError::Missing("a reply tuple"))?;
        let mut details = self.details;
        (details.original.zone, details.original.icmp) = (original.zone, original.icmp);
        (details.reply.zone, details.reply.icmp) = (reply.zone, reply.icmp);
        details.unknown = self.strangers.0.into();
        let counted = added(details.original.counted, details.reply.counted);
        Ok(Flow {
            id: self.id.ok_or(ConntrackError::Missing("an id"))?,
            protocol: original.protocol,
            state: self.state,
            original: (original.source, original.destination),
            reply: (reply.source, reply.destination),
            status: self.status.ok_or(ConntrackError::Missing("a status"))?,
            mark: self.mark,
            // A zone of one direction only stands in that direction's tuple.
            zone: self.zone.or(original.zone).or(reply.zone).unwrap_or_default(),
            timeout: self.timeout,
            packets: counted.map(|(packets, _)| packets),
            bytes: counted.map(|(_, bytes)| bytes),
            details,
        })
    }
}

/// A state by its number.
type State = Option<Cow<'static, str>>;

fn state(number: u8, words: &[&'static str]) -> Cow<'static, str> {
    let word = words.get(usize::from(number)).copied();
    word.map_or_else(|| Cow::Owned(format!("UNKNOWN_{number}")), Cow::Borrowed)
}

/// State (1), shift of the window of both sides (2, 3), flags of both (4, 5: `struct nf_ct_tcp_flags`, the flags and a mask, which
/// the kernel leaves empty).
fn tcp(parts: Attributes<'_>, path: &[u16], strangers: &mut Strangers) -> Result<(Transport, State), CutAttribute> {
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
    let (mut original, mut reply, mut word) = (TcpSide::default(), TcpSide::default(), None);
    let flags = |part: &Attribute<'_>| exact(part).and_then(|[flags, mask]| (mask == 0).then_some(flags));
    for part in parts {
        let part = part?;
        match part.kind {
            1 => word = strangers.or_keep(byte(&part), path, &part).map(|number| state(number, &WORDS)),
            2 => original.scale = strangers.or_keep(byte(&part), path, &part),
            3 => reply.scale = strangers.or_keep(byte(&part), path, &part),
            4 => original.flags = strangers.or_keep(flags(&part), path, &part),
            5 => reply.flags = strangers.or_keep(flags(&part), path, &part),
            _ => strangers.keep(path, &part),
        }
    }
    Ok((Transport::Tcp { original, reply }, word))
}

/// State (1), role (2), sequence number of the handshake (3); 4 pads.
fn dccp(parts: Attributes<'_>, path: &[u16], strangers: &mut Strangers) -> Result<(Transport, State), CutAttribute> {
    const WORDS: [&str; 10] =
        ["NONE", "REQUEST", "RESPOND", "PARTOPEN", "OPEN", "CLOSEREQ", "CLOSING", "TIMEWAIT", "IGNORE", "INVALID"];
    let (mut role, mut handshake, mut word) = (None, None, None);
    for part in parts {
        let part = part?;
        match part.kind {
            1 => word = strangers.or_keep(byte(&part), path, &part).map(|number| state(number, &WORDS)),
            2 => role = strangers.or_keep(byte(&part), path, &part),
            3 => handshake = strangers.or_keep(be64(&part), path, &part),
            4 => {}
            _ => strangers.keep(path, &part),
        }
    }
    Ok((Transport::Dccp { role, handshake }, word))
}

/// State (1) and the verification tags of both directions (2, 3).
fn sctp(parts: Attributes<'_>, path: &[u16], strangers: &mut Strangers) -> Result<(Transport, State), CutAttribute> {
    const WORDS: [&str; 10] = [
        "NONE",
        "CLOSED",
        "COOKIE_WAIT",
        "COOKIE_ECHOED",
        "ESTABLISHED",
        "SHUTDOWN_SENT",
        "SHUTDOWN_RECD",
        "SHUTDOWN_ACK_SENT",
        "HEARTBEAT_SENT",
        "HEARTBEAT_ACKED",
    ];
    let (mut original, mut reply, mut word) = (None, None, None);
    for part in parts {
        let part = part?;
        match part.kind {
            1 => word = strangers.or_keep(byte(&part), path, &part).map(|number| state(number, &WORDS)),
            2 => original = strangers.or_keep(be32(&part), path, &part),
            3 => reply = strangers.or_keep(be32(&part), path, &part),
            _ => strangers.keep(path, &part),
        }
    }
    Ok((Transport::Sctp { original, reply }, word))
}

/// `CTA_COUNTERS_*`: packets (1) and bytes (2); 5 pads. They are sent only where `net.netfilter.nf_conntrack_acct` is on.
fn counted(parts: Attributes<'_>, kind: u16, strangers: &mut Strangers) -> Result<Option<(u64, u64)>, CutAttribute> {
    let (mut packets, mut bytes) = (None, None);
    for part in parts {
        let part = part?;
        match part.kind {
            1 => packets = strangers.or_keep(be64(&part), &[kind], &part),
            2 => bytes = strangers.or_keep(be64(&part), &[kind], &part),
            5 => {}
            _ => strangers.keep(&[kind], &part),
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

/// `CTA_HELP_NAME`, `CTA_SECCTX_NAME`: a name is the first. What a helper keeps for itself is kept as it is.
fn name(parts: Attributes<'_>, kind: u16, strangers: &mut Strangers) -> Result<Option<Box<str>>, CutAttribute> {
    let mut name = None;
    for part in parts {
        let part = part?;
        match part.kind {
            1 => name = Some(part.text().into()),
            _ => strangers.keep(&[kind], &part),
        }
    }
    Ok(name)
}

/// Three numbers, each 0 where it is not told: `CTA_SEQADJ_*`, `CTA_SYNPROXY_*`.
fn three(parts: Attributes<'_>, kind: u16, strangers: &mut Strangers) -> Result<[u32; 3], CutAttribute> {
    let mut numbers = [0; 3];
    for part in parts {
        let part = part?;
        let place = part.kind.checked_sub(1).and_then(|at| numbers.get_mut(usize::from(at)));
        match (place, be32(&part)) {
            (Some(place), Some(number)) => *place = number,
            _ => strangers.keep(&[kind], &part),
        }
    }
    Ok(numbers)
}

/// The numbers of the bits that are set, in words of the machine's own order (`struct nf_conn_labels`).
fn labels(bytes: &[u8]) -> Box<[u16]> {
    let words = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        u64::from_ne_bytes(word)
    });
    let bits = words.zip(0_u16..).flat_map(|(word, at)| {
        (0..64_u16).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at.saturating_mul(64).saturating_add(bit))
    });
    bits.collect()
}
