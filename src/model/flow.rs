//! Tracked connections: what the kernel's connection tracking knows of each, and which of them are wanted.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Endpoint, Protocol, SocketState};
use crate::packet::hex;

/// One tracked connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// The kernel's id of the entry.
    pub id: u32,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Tracked state of TCP, SCTP and DCCP in conntrack's words, `None` for others.
    pub state: Option<Cow<'static, str>>,
    /// Who dialled what. Of GRE the ports are its keys.
    pub original: (Endpoint, Endpoint),
    /// What the answers carry: its source is where the packets really go.
    pub reply: (Endpoint, Endpoint),
    /// `IPS_*` bits of the entry (`include/uapi/linux/netfilter/nf_conntrack_common.h`).
    pub status: u32,
    /// Connection mark.
    pub mark: u32,
    /// Zone, 0 by default; [`Side::zone`] tells where it is that of one direction only.
    pub zone: u16,
    /// Seconds until the entry is dropped.
    pub timeout: Option<u32>,
    /// Packets in both directions, where accounting is on.
    pub packets: Option<u64>,
    /// Bytes in both directions, where accounting is on.
    pub bytes: Option<u64>,
    /// What else is known of it.
    #[serde(default, skip_serializing_if = "FlowDetails::is_empty")]
    pub details: FlowDetails,
}

/// What the kernel tells of an entry beside its ends and its state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FlowDetails {
    /// Of the side that dialled.
    #[serde(skip_serializing_if = "Side::is_empty")]
    pub original: Side,
    /// Of the side that answers.
    #[serde(skip_serializing_if = "Side::is_empty")]
    pub reply: Side,
    /// What is tracked of the transport protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// When tracking began, nanoseconds after 1970-01-01 UTC, where `nf_conntrack_timestamp` is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<u64>,
    /// When it ended, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<u64>,
    /// Numbers of the connection's labels (`connlabel`, `ct label`).
    #[serde(skip_serializing_if = "<[u16]>::is_empty")]
    pub labels: Box<[u16]>,
    /// The protocol's helper, such as `ftp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub helper: Option<Box<str>>,
    /// Security context (SELinux and others).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security: Option<Box<str>>,
    /// What SYNPROXY keeps of a handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synproxy: Option<Box<SynProxy>>,
    /// Holders of the entry inside the kernel.
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    pub holders: Option<u32>,
    /// The connection that announced this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master: Option<Box<Tuple>>,
    /// Attributes that are not understood.
    #[serde(skip_serializing_if = "<[UnknownPart]>::is_empty")]
    pub unknown: Box<[UnknownPart]>,
}

/// One direction of a flow, beside its ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Side {
    /// The zone, where it is that of this direction only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<u16>,
    /// ICMP's and ICMPv6's in the place of ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp: Option<Icmp>,
    /// Packets and bytes, where accounting is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counted: Option<(u64, u64)>,
    /// By how much a helper moved TCP's sequence numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adjusted: Option<Box<Adjustment>>,
}

/// Type, code and identifier of ICMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Icmp {
    /// Type.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Identifier; 0 where the type has none.
    pub id: u16,
}

/// `struct nf_ct_seqadj`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adjustment {
    /// Sequence number of the last correction.
    pub position: u32,
    /// Bytes added before it.
    pub before: i32,
    /// Bytes added behind it.
    pub after: i32,
}

/// `struct nf_conn_synproxy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SynProxy {
    /// Initial sequence number.
    pub sequence: u32,
    /// Initial time stamp.
    pub timestamp: u32,
    /// Offset of time stamps.
    pub offset: u32,
}

/// What is tracked of a transport protocol beside its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    Tcp {
        /// Of the side that dialled.
        original: TcpSide,
        /// Of the side that answers.
        reply: TcpSide,
    },
    /// SCTP: the verification tags of both directions.
    Sctp {
        /// Of the side that dialled.
        original: Option<u32>,
        /// Of the side that answers.
        reply: Option<u32>,
    },
    /// DCCP.
    Dccp {
        /// 0: the side that dialled is the client; 1: it is the server.
        role: Option<u8>,
        /// Sequence number of the handshake.
        handshake: Option<u64>,
    },
}

/// One side of a TCP connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpSide {
    /// Shift of the window.
    pub scale: Option<u8>,
    /// `IP_CT_TCP_FLAG_*` (`include/uapi/linux/netfilter/nf_conntrack_tcp.h`).
    pub flags: Option<u8>,
}

/// One direction of another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tuple {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Its source.
    pub source: Endpoint,
    /// Its destination.
    pub destination: Endpoint,
    /// ICMP's in the place of ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp: Option<Icmp>,
    /// Its zone, where it has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<u16>,
}

/// An attribute that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownPart {
    /// Its number, behind those of the attributes that it stands in: `4.1.9`.
    pub at: Box<str>,
    /// Its bytes, in hexadecimal digits.
    pub bytes: Box<str>,
}

impl UnknownPart {
    /// Of an attribute that stands in others.
    #[must_use]
    pub fn new(path: &[u16], bytes: &[u8]) -> Self {
        let at: Vec<String> = path.iter().map(u16::to_string).collect();
        Self { at: at.join(".").into(), bytes: hex(bytes).into() }
    }
}

/// `IPS_*`: the words that are said for the bits, from the lowest.
const STATUS: [&str; 16] = [
    "expected",
    "seen-reply",
    "assured",
    "confirmed",
    "snat",
    "dnat",
    "seq-adjust",
    "snat-done",
    "dnat-done",
    "dying",
    "fixed-timeout",
    "template",
    "nat-clash",
    "helper",
    "offload",
    "hw-offload",
];

/// `IP_CT_TCP_FLAG_*`, from the lowest bit.
const TCP_FLAGS: [&str; 8] =
    ["window-scale", "sack", "close-init", "liberal", "unacknowledged", "maxack", "challenge-ack", "simultaneous-open"];

/// The words of the bits that are set. Bits beyond the words are given as one number.
fn words(bits: u32, words: &'static [&'static str]) -> impl Iterator<Item = Cow<'static, str>> {
    let named = words.iter().enumerate().filter(move |(bit, _)| bits >> bit & 1 == 1);
    let rest = u32::try_from(words.len()).ok().and_then(|count| bits.checked_shr(count).map(|rest| rest << count));
    let rest = rest.filter(|rest| *rest != 0).map(|rest| Cow::Owned(format!("{rest:#x}")));
    named.map(|(_, word)| Cow::Borrowed(*word)).chain(rest)
}

impl Flow {
    /// The entry was answered.
    pub const SEEN_REPLY: u32 = 1 << 1;
    /// It is not dropped early when the table is full.
    pub const ASSURED: u32 = 1 << 2;
    /// Its source is translated.
    pub const SRC_NAT: u32 = 1 << 4;
    /// Its destination is translated.
    pub const DST_NAT: u32 = 1 << 5;

    /// A flow of which only the ends are known, for tests and drafts.
    #[must_use]
    pub fn between(protocol: Protocol, original: (Endpoint, Endpoint), reply: (Endpoint, Endpoint)) -> Self {
        Self {
            id: 0,
            protocol,
            state: None,
            original,
            reply,
            status: 0,
            mark: 0,
            zone: 0,
            timeout: None,
            packets: None,
            bytes: None,
            details: FlowDetails::default(),
        }
    }

    /// Whether it can be the entry of a TCP socket in this state that has its ends. Ports are used again: the entry may be that of an
    /// earlier connection, or of a later one.
    ///
    /// Both sides' ends were seen (`LAST_ACK`, `TIME_WAIT`) or the connection was broken off (`CLOSE`): none of that leaves a socket
    /// behind that has not ended its side. And where a socket is in TIME-WAIT, its entry does not begin.
    /// Sources: the table of states in net/netfilter/nf_conntrack_proto_tcp.c.
    #[must_use]
    pub fn may_be_of(&self, state: SocketState) -> bool {
        use SocketState::{CloseWait, Established, SynRecv, SynSent, TimeWait};
        match self.state.as_deref().filter(|_| self.protocol == Protocol::Tcp) {
            Some("LAST_ACK" | "TIME_WAIT" | "CLOSE") => !matches!(state, Established | SynSent | SynRecv | CloseWait),
            Some("SYN_SENT" | "SYN_SENT2" | "SYN_RECV" | "ESTABLISHED") => state != TimeWait,
            _ => true,
        }
    }

    /// Words of its status, from the lowest bit.
    pub fn status_words(&self) -> impl Iterator<Item = Cow<'static, str>> {
        words(self.status, &STATUS)
    }

    /// Whether its protocol has ports (of GRE's keys the ends tell like ports).
    #[must_use]
    pub fn has_ports(&self) -> bool {
        self.protocol.has_ports()
    }

    /// Whether an entry of the status' word is meant; the bits of one or more of them.
    #[must_use]
    pub fn status_bit(word: &str) -> Option<u32> {
        STATUS.iter().position(|known| *known == word).and_then(|bit| 1_u32.checked_shl(u32::try_from(bit).ok()?))
    }

    /// The words of [`Flow::status_bit`].
    #[must_use]
    pub fn known_status() -> &'static [&'static str] {
        &STATUS
    }
}

impl FlowDetails {
    /// Nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Side {
    /// Nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl TcpSide {
    /// Words of its flags; none where they were not told.
    pub fn words(&self) -> impl Iterator<Item = Cow<'static, str>> {
        words(self.flags.map_or(0, u32::from), &TCP_FLAGS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow() -> Flow {
        let (one, other) = ("10.0.0.2", "10.0.0.5");
        let ends = |from: &str, to: &str| {
            let end = |text: &str| Endpoint::new(text.parse().expect("an address"), 1);
            (end(from), end(to))
        };
        Flow::between(Protocol::Udp, ends(one, other), ends(other, one))
    }

    #[test]
    fn status_bits_have_words_and_strange_ones_their_number() {
        let words = |status| Flow { status, ..flow() }.status_words().collect::<Vec<_>>().join(" ");
        assert_eq!(words(0x1ae), "seen-reply assured confirmed dnat snat-done dnat-done");
        assert_eq!(words(0), "");
        assert_eq!(words(0x8005_8001), "expected hw-offload 0x80050000");
        assert_eq!(Flow::status_bit("assured"), Some(Flow::ASSURED));
        assert_eq!(Flow::status_bit("Assured"), None);
        let side = TcpSide { scale: None, flags: Some(0x23) };
        assert_eq!(side.words().collect::<Vec<_>>(), ["window-scale", "sack", "maxack"]);
    }

    #[test]
    fn entries_of_the_first_files_are_read_and_what_is_not_known_takes_no_room() {
        let text = r#"{"id":5,"protocol":"tcp","state":"ESTABLISHED","original":["10.0.0.2:1","10.0.0.5:80"],
            "reply":["127.0.0.1:15001","10.0.0.2:1"],"status":430,"mark":0,"zone":0,"timeout":9,"packets":null,"bytes":null}"#;
        let old: Flow = serde_json::from_str(text).expect("an entry");
        assert_eq!((old.state.as_deref(), old.details.is_empty()), (Some("ESTABLISHED"), true));
        let again = serde_json::to_string(&old).expect("JSON");
        assert_eq!(again, text.replace([' ', '\n'], ""));
    }

    #[test]
    fn all_that_is_known_survives_a_file() {
        let mut whole = flow();
        whole.details = FlowDetails {
            original: Side {
                zone: Some(7),
                icmp: Some(Icmp { kind: 8, code: 0, id: 77 }),
                counted: Some((u64::MAX, 2)),
                adjusted: Some(Box::new(Adjustment { position: 1, before: -2, after: 3 })),
            },
            transport: Some(Transport::Tcp {
                original: TcpSide { scale: Some(7), flags: Some(3) },
                reply: TcpSide::default(),
            }),
            labels: [5, 127].into(),
            helper: Some("ftp".into()),
            unknown: [UnknownPart { at: "4.1.9".into(), bytes: "00ff".into() }].into(),
            holders: Some(1),
            ..FlowDetails::default()
        };
        let text = serde_json::to_string(&whole).expect("JSON");
        assert_eq!(serde_json::from_str::<Flow>(&text).expect("an entry"), whole);
        assert!(text.contains(r#""use":1"#) && !text.contains("security") && !text.contains("master"), "{text}");
    }
}
