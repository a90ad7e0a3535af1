//! A rule as nft divides it: comparisons, and what is done.

use super::{Expression, Term, Verdict};

/// What a term is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Right {
    /// A value.
    Value(Vec<u8>),
    /// The beginning of a value: its bytes, filled up with zeros, and so many bits.
    Prefix(Vec<u8>, u32),
    /// Ends included.
    Range(Vec<u8>, Vec<u8>),
    /// A text that begins so.
    Begins(Vec<u8>),
    /// A set.
    Set(String),
    /// Any of these bits.
    AnyOf(Vec<u8>),
    /// None of these bits.
    NoneOf(Vec<u8>),
    /// Of the bits of the mask, these.
    Of {
        /// Which bits are looked at.
        mask: Vec<u8>,
        /// Which of them are set.
        value: Vec<u8>,
    },
}

/// What may stand in place of an address and a port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ends {
    /// First and last address.
    pub address: Option<(Term, Option<Term>)>,
    /// First and last port.
    pub port: Option<(Term, Option<Term>)>,
}

/// A part of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// A comparison: `""` or `==` for equal, else nft's sign.
    Match {
        /// What is compared.
        left: Term,
        /// How.
        sign: &'static str,
        /// With what.
        right: Right,
    },
    /// A verdict looked up in a map.
    VerdictMap {
        /// Key.
        key: Term,
        /// The map's name.
        set: String,
    },
    /// A named object looked up in a map: what kind of object, the key, the map's name.
    ObjectMap(u32, Term, String),
    /// A verdict.
    Verdict(Verdict),
    /// Something is set.
    Set {
        /// What.
        what: Term,
        /// To which value.
        to: Term,
    },
    /// Source (`snat`) or destination (`dnat`) becomes another, `redirect`, `masquerade`.
    Nat {
        /// nft's word.
        word: &'static str,
        /// `NFPROTO_*` of the addresses, where the word needs it.
        family: Option<u32>,
        /// What to.
        to: Ends,
        /// `NF_NAT_RANGE_*`
        flags: u32,
    },
    /// To a transparent socket.
    Tproxy {
        /// `NFPROTO_*` of the address, where the word needs it.
        family: Option<u32>,
        /// Where to.
        to: Ends,
    },
    /// Refuses with an answer; the family whose answers are meant.
    Reject {
        /// `NFT_REJECT_*`
        kind: u32,
        /// Code.
        code: u8,
        /// The answer is one of ICMPv6; `None` where the packet's own family decides.
        ipv6: Option<bool>,
        /// The table sees both families: the kind of answer is always written.
        both: bool,
    },
    /// Writes an element to a set.
    Update {
        /// The set's name.
        set: String,
        /// `NFT_DYNSET_OP_*`
        operation: u32,
        /// Key.
        key: Term,
        /// Data.
        data: Option<Term>,
        /// Milliseconds.
        timeout: Option<u64>,
        /// What is asked for each element.
        expressions: Vec<Expression>,
    },
    /// A copy (`dup`), or the packet itself (`fwd`), goes elsewhere.
    Send {
        /// nft's word.
        word: &'static str,
        /// `NFPROTO_*` of the address, where the word needs it.
        family: Option<u32>,
        /// Address.
        address: Option<Term>,
        /// Index of the device.
        device: Option<Term>,
    },
    /// An xtables match or target, with what stands before it: whether IPv6 and which protocol.
    Xtables {
        /// It.
        expression: Expression,
        /// The transport protocol that the rule asked for.
        protocol: Option<u8>,
    },
    /// An option of TCP is taken out.
    Strip(u8),
    /// To the program of a queue whose number is looked up; `NFT_QUEUE_FLAG_*`.
    QueueBy(Term, u16),
    /// What stands alone: counter, limit, log, a named object …
    Plain(Expression),
    /// Not understood.
    Unknown(Expression),
}
