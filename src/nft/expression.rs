//! Expressions as the kernel holds them, each typed; one that is not understood is kept as name and bytes.

use serde::{Deserialize, Serialize};

use super::{Comparison, HeaderOption, Load, Span, Verdict, is_first};
use crate::packet::{hex, hexadecimal};

/// One expression. Registers are the kernel's numbers (`NFT_REG_1` is 1, `NFT_REG32_00` is 8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expression {
    /// Loads a property of the packet (`NFT_META_*` key).
    Meta {
        /// Key.
        key: u32,
        /// Where to.
        #[serde(default = "super::first", skip_serializing_if = "is_first")]
        register: u32,
    },
    /// Sets a property of the packet.
    SetMeta {
        /// Key.
        key: u32,
        /// Where the value is.
        register: u32,
    },
    /// Loads bytes of the packet.
    Payload {
        /// 0 link, 1 network, 2 transport header.
        base: u32,
        /// Bytes from its start.
        offset: u32,
        /// Bytes loaded.
        length: u32,
        /// Where to.
        #[serde(default = "super::first", skip_serializing_if = "is_first")]
        register: u32,
    },
    /// Changes bytes of the packet.
    SetPayload {
        /// As above.
        base: u32,
        /// As above.
        offset: u32,
        /// Bytes written.
        length: u32,
        /// Where the value is.
        register: u32,
    },
    /// Loads something else.
    Load {
        /// What.
        from: Load,
        /// Where to.
        register: u32,
    },
    /// Sets a property of the connection (`NFT_CT_*` key).
    SetCt {
        /// Key.
        key: u32,
        /// Direction.
        direction: Option<u8>,
        /// Where the value is.
        register: u32,
    },
    /// Masks what was loaded.
    Bitwise {
        /// Bits kept.
        #[serde(with = "hexadecimal::text")]
        mask: Vec<u8>,
        /// Bits flipped then.
        #[serde(with = "hexadecimal::text")]
        xor: Vec<u8>,
        /// Where it is, and stays.
        #[serde(default = "super::first", skip_serializing_if = "is_first")]
        register: u32,
    },
    /// Shifts what was loaded.
    Shift {
        /// To the left.
        left: bool,
        /// By so many bits.
        bits: u32,
        /// Where it is, and stays.
        register: u32,
    },
    /// A hash of what was loaded (kind 0) or of both ends (kind 1), below the modulus, plus an offset.
    Hash {
        /// `NFT_HASH_*`
        kind: u32,
        /// Where it is, and how many bytes.
        source: Option<(u32, u32)>,
        /// Modulus.
        modulus: u32,
        /// Seed, where it is given.
        seed: Option<u32>,
        /// Added.
        offset: u32,
        /// Where to.
        register: u32,
    },
    /// Loads from an option or extension header.
    Option {
        /// From which.
        from: HeaderOption,
        /// Where to.
        register: u32,
    },
    /// Changes an option.
    SetOption {
        /// Which.
        to: HeaderOption,
        /// Where the value is.
        register: u32,
    },
    /// Sends a copy (`dup`), or the packet itself (`fwd`), elsewhere.
    Send {
        /// It is a copy.
        copy: bool,
        /// Register of the address.
        address: Option<u32>,
        /// Register of the device.
        device: Option<u32>,
        /// `NFPROTO_*` of the address.
        family: Option<u32>,
    },
    /// Turns the order of bytes round.
    ByteOrder {
        /// Where it is, and stays.
        register: u32,
    },
    /// A value.
    Value {
        /// It.
        #[serde(with = "hexadecimal::text")]
        value: Vec<u8>,
        /// Where to.
        register: u32,
    },
    /// Compares what was loaded.
    Cmp {
        /// How.
        comparison: Comparison,
        /// With what.
        #[serde(with = "hexadecimal::text")]
        value: Vec<u8>,
        /// Where it is.
        #[serde(default = "super::first", skip_serializing_if = "is_first")]
        register: u32,
    },
    /// Compares what was loaded with a range, ends included.
    Range {
        /// Must lie outside.
        negated: bool,
        /// First.
        #[serde(with = "hexadecimal::text")]
        from: Vec<u8>,
        /// Last.
        #[serde(with = "hexadecimal::text")]
        to: Vec<u8>,
        /// Where it is.
        #[serde(default = "super::first", skip_serializing_if = "is_first")]
        register: u32,
    },
    /// Looks what was loaded up in a set, or in a map.
    Lookup {
        /// Its name.
        set: String,
        /// Must not be in it.
        negated: bool,
        /// Where it is.
        register: u32,
        /// Where the map's answer goes: 0 for a verdict; none for a set.
        into: Option<u32>,
    },
    /// Packets and bytes.
    Counter {
        /// Packets.
        packets: u64,
        /// Bytes.
        bytes: u64,
    },
    /// A verdict.
    Immediate(Verdict),
    /// Destination (kind 1) or source (kind 0) becomes another.
    Nat {
        /// `NFT_NAT_SNAT`, `NFT_NAT_DNAT`
        kind: u32,
        /// `NFPROTO_*` of the addresses.
        family: u32,
        /// Addresses.
        address: Span,
        /// Ports.
        port: Span,
        /// `NF_NAT_RANGE_*`
        flags: u32,
    },
    /// Destination becomes this machine.
    Redirect {
        /// Ports.
        port: Span,
        /// `NF_NAT_RANGE_*`
        flags: u32,
    },
    /// Source becomes the outgoing device's address.
    Masquerade {
        /// Ports.
        port: Span,
        /// `NF_NAT_RANGE_*`
        flags: u32,
    },
    /// To a transparent socket.
    Tproxy {
        /// `NFPROTO_*`, 0 for both.
        family: u32,
        /// Register of the address.
        address: Option<u32>,
        /// Register of the port.
        port: Option<u32>,
    },
    /// So much in a time.
    Limit {
        /// Packets or bytes.
        rate: u64,
        /// In so many seconds.
        unit: u64,
        /// Beyond it.
        burst: u32,
        /// Bytes are counted.
        bytes: bool,
        /// Matches above the limit.
        over: bool,
    },
    /// So much in all.
    Quota {
        /// Bytes.
        bytes: u64,
        /// Used up.
        used: u64,
        /// `NFT_QUOTA_F_*`
        flags: u32,
    },
    /// So many connections at once.
    Connections {
        /// Count.
        count: u32,
        /// Matches above it.
        over: bool,
    },
    /// Refuses with an answer.
    Reject {
        /// `NFT_REJECT_*`
        kind: u32,
        /// Code of the answer.
        code: u8,
    },
    /// Tracking is switched off for the packet.
    Notrack,
    /// To a program.
    Queue {
        /// First queue.
        number: u16,
        /// How many.
        total: u16,
        /// `NFT_QUEUE_FLAG_*`
        flags: u16,
    },
    /// To the program of the queue whose number is looked up.
    QueueBy {
        /// Register of the number.
        register: u32,
        /// `NFT_QUEUE_FLAG_*`
        flags: u16,
    },
    /// Takes an option of TCP out of the packet.
    Strip {
        /// Its number.
        number: u8,
    },
    /// Answers the handshake in place of the receiver.
    Synproxy {
        /// Maximum segment size.
        mss: u16,
        /// Window scale.
        scale: u8,
        /// `NF_SYNPROXY_OPT_*`: which of them, and of the other options, are offered.
        flags: u32,
    },
    /// The connection goes on in a flow table.
    Flow {
        /// Its name.
        table: String,
    },
    /// When the rule last held: milliseconds ago, none if never.
    Last(Option<u64>),
    /// A helper for connections (an object).
    Helper {
        /// Name of the helper.
        name: String,
        /// `NFPROTO_*`
        family: u16,
        /// Transport protocol.
        protocol: u8,
    },
    /// How long a connection is kept in each of its states (an object).
    Timeouts {
        /// `NFPROTO_*`
        family: u16,
        /// Transport protocol.
        protocol: u8,
        /// Number of the state (`CTA_TIMEOUT_*`) and seconds.
        seconds: Vec<(u16, u32)>,
    },
    /// A connection that is expected beside another (an object).
    Expectation {
        /// `NFPROTO_*`
        family: u16,
        /// Transport protocol.
        protocol: u8,
        /// Destination port.
        port: u16,
        /// Milliseconds for which it is expected.
        timeout: u32,
        /// How many at most.
        size: u8,
    },
    /// A security context for packets (an object; hostile text).
    Secmark(String),
    /// A named object of the table.
    Object {
        /// `NFT_OBJECT_*`
        kind: u32,
        /// Name.
        name: String,
    },
    /// A named object, looked up in a map.
    ObjectMap {
        /// The map's name.
        set: String,
        /// Register of the key.
        register: u32,
    },
    /// Writes an element to a set.
    Update {
        /// Its name.
        set: String,
        /// `NFT_DYNSET_OP_*`
        operation: u32,
        /// Register of the key.
        key: u32,
        /// Register of the data.
        data: Option<u32>,
        /// Milliseconds.
        timeout: Option<u64>,
        /// What is asked for each element.
        expressions: Vec<Expression>,
    },
    /// An xtables match.
    Match {
        /// Name.
        name: String,
        /// Revision.
        revision: u8,
        /// Payload.
        #[serde(with = "hexadecimal::text")]
        data: Vec<u8>,
    },
    /// An xtables target.
    Target {
        /// Name.
        name: String,
        /// Revision.
        revision: u8,
        /// Payload.
        #[serde(with = "hexadecimal::text")]
        data: Vec<u8>,
    },
    /// Logging to the kernel's log, or to a netlink group.
    Log {
        /// Group, where it is given.
        group: Option<u16>,
        /// Text for people (hostile).
        prefix: String,
        /// The text was given, and is empty.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        blank: bool,
        /// Bytes copied.
        length: Option<u32>,
        /// Packets gathered before they are sent.
        threshold: Option<u16>,
        /// syslog level.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        level: Option<u32>,
        /// `NF_LOG_*`
        #[serde(default, skip_serializing_if = "Option::is_none")]
        flags: Option<u32>,
    },
    /// One that is not understood: its name and its attributes.
    Unknown {
        /// Name.
        name: String,
        /// Attributes as the kernel sent them.
        #[serde(with = "hexadecimal::text")]
        data: Vec<u8>,
    },
}

impl Expression {
    /// In the shape in which nft's own debug output shows expressions: precise, and no nft syntax that could be mistaken for it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Meta { key, register } => format!("[ meta load key {key} => reg {register} ]"),
            Self::Payload { base, offset, length, register } => {
                format!("[ payload load {length}b @ base {base} + {offset} => reg {register} ]")
            }
            Self::Bitwise { mask, xor, register } => {
                format!("[ bitwise reg {register} & 0x{} ^ 0x{} ]", hex(mask), hex(xor))
            }
            Self::Cmp { comparison, value, register } => {
                format!("[ cmp {} reg {register} 0x{} ]", comparison.word(), hex(value))
            }
            Self::Range { negated, from, to, register } => {
                let word = if *negated { "neq" } else { "eq" };
                format!("[ range {word} reg {register} 0x{} 0x{} ]", hex(from), hex(to))
            }
            Self::Value { value, register } => format!("[ immediate reg {register} 0x{} ]", hex(value)),
            Self::Lookup { set, register, .. } => format!("[ lookup reg {register} set {set} ]"),
            Self::Counter { .. } => "[ counter ]".to_owned(),
            Self::Immediate(verdict) => format!("[ {} ]", verdict.text()),
            Self::Match { name, revision, data } => format!("[ xt match {name} rev {revision} 0x{} ]", hex(data)),
            Self::Target { name, revision, data } => format!("[ xt target {name} rev {revision} 0x{} ]", hex(data)),
            Self::Log { group, prefix, .. } => format!("[ log prefix {prefix:?} group {} ]", group.unwrap_or(0)),
            // A part of a text has no bytes.
            Self::Unknown { name, data } if data.is_empty() => format!("[ {name} ]"),
            Self::Unknown { name, data } => format!("[ {name} 0x{} ]", hex(data)),
            other => format!("[ {} ]", debug(other)),
        }
    }
}

/// The rest, in the words of their fields.
fn debug(expression: &Expression) -> String {
    format!("{expression:?}")
        .replace(['{', '}', ','], "")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_lowercase()
}
