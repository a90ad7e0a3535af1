//! ipsets: what rules look into beside themselves, as the kernel lists them, and in the words of `ipset save` 7.17.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::ip::address_text;
use super::ipset_key::{key_text, parts};
use crate::packet::{hex, hexadecimal};

/// An ipset (`include/uapi/linux/netfilter/ipset/ip_set.h`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IpSet {
    /// Name.
    pub name: String,
    /// Type, such as `hash:ip,port`.
    pub kind: String,
    /// Revision of the type.
    pub revision: u8,
    /// `NFPROTO_IPV4`, `NFPROTO_IPV6`, or 0 for types that have none.
    pub family: u8,
    /// How it was made, and what the kernel counts of it.
    pub header: IpSetHeader,
    /// Its elements in the kernel's order; `None` where they were not read, or not all.
    pub elements: Option<Vec<Entry>>,
}

/// What stands in a set's header.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct IpSetHeader {
    /// First and last address of a bitmap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<(IpAddr, IpAddr)>,
    /// First and last port of a bitmap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<(u16, u16)>,
    /// Bits of the network that an address is kept as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netmask: Option<u8>,
    /// Bits of an address that are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bitmask: Option<IpAddr>,
    /// Bits of a mark that are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub markmask: Option<u32>,
    /// Buckets of the hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hashsize: Option<u32>,
    /// Most elements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxelem: Option<u32>,
    /// Most elements in a bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucketsize: Option<u8>,
    /// What the hash begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initval: Option<u32>,
    /// Places of a list of sets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
    /// Seconds that an element stays, 0 for good; `None` for a set without time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// `IPSET_FLAG_WITH_*`
    pub flags: u32,
    /// Number of its elements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Rules and sets that name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub references: Option<u32>,
    /// Bytes that it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u32>,
    /// What is not known of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<UnknownAttribute>,
}

/// An element.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// Address, or that of a network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Bits of the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits: Option<u8>,
    /// The second address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second: Option<IpAddr>,
    /// Bits of the second network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_bits: Option<u8>,
    /// Port; of ICMP type and code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Protocol of the port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u8>,
    /// Hardware address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<[u8; 6]>,
    /// Mark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    /// Device, or the beginning of its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// A set in a list of sets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// The set that it stands beside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beside: Option<String>,
    /// `IPSET_FLAG_BEFORE`, `PHYSDEV`, `NOMATCH`, `IFACE_WILDCARD`
    pub flags: u32,
    /// Seconds left, 0 for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// Packets counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets: Option<u64>,
    /// Bytes counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Comment (hostile text).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Mark and mask that `SET --map-mark` gives to a packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gives_mark: Option<(u32, u32)>,
    /// Priority that `SET --map-prio` gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gives_priority: Option<u32>,
    /// Queue that `SET --map-queue` gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gives_queue: Option<u16>,
    /// What is not known of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<UnknownAttribute>,
}

/// An attribute that nobody knew when this was written, or of a type of set that nobody knew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownAttribute {
    /// `IPSET_ATTR_*`
    pub kind: u16,
    /// Its value.
    #[serde(with = "hexadecimal::text")]
    pub data: Vec<u8>,
}

impl UnknownAttribute {
    fn text(&self) -> String {
        format!("[unknown attribute {}: {}]", self.kind, hex(&self.data))
    }
}

impl Entry {
    /// `IPSET_FLAG_PHYSDEV`: the device is the port of a bridge.
    pub const PHYSDEV: u32 = 2;
    /// `IPSET_FLAG_NOMATCH`: an exception.
    pub const NOMATCH: u32 = 4;
    /// `IPSET_FLAG_IFACE_WILDCARD`: the device's name begins so.
    pub const WILDCARD: u32 = 128;
    const KNOWN: u32 = 1 | Self::PHYSDEV | Self::NOMATCH | Self::WILDCARD;

    /// It is an exception.
    #[must_use]
    pub fn is_exception(&self) -> bool {
        self.flags & Self::NOMATCH != 0
    }
}

impl IpSet {
    /// Its type is known, so that its elements can be written and understood.
    #[must_use]
    pub fn is_known(&self) -> bool {
        parts(&self.kind).is_some()
    }

    /// Elements, as the kernel counts them or as they were read.
    #[must_use]
    pub fn count(&self) -> Option<usize> {
        self.elements.as_ref().map(Vec::len).or_else(|| self.header.count.and_then(|count| count.try_into().ok()))
    }

    /// What its elements have, and that new ones push old ones out (`forceadd`).
    #[must_use]
    pub fn flag_words(&self) -> Vec<&'static str> {
        const FLAGS: [(u32, &str); 4] = [(8, "counters"), (16, "comment"), (64, "skbinfo"), (32, "forceadd")];
        FLAGS.iter().filter(|(bit, _)| self.header.flags & bit != 0).map(|(_, word)| *word).collect()
    }

    /// `create NAME TYPE …` behind its name and type. As in `ipset save`, `forceadd` is left out.
    #[must_use]
    pub fn options(&self) -> String {
        let header = &self.header;
        let mut out = Vec::new();
        let mut put = |word: &str, value: Option<String>| out.extend(value.map(|value| format!("{word} {value}")));
        let number = |value: Option<u32>| value.map(|value| value.to_string());
        let hash = self.kind.starts_with("hash:");
        let address = |address: IpAddr| address_text(address);
        put("range", header.range.map(|(from, to)| format!("{}-{}", address(from), address(to))));
        put("range", header.ports.map(|(from, to)| format!("{from}-{to}")));
        let family = match self.family {
            2 => Some("inet".to_owned()),
            10 => Some("inet6".to_owned()),
            0 => None,
            other => Some(other.to_string()),
        };
        put("family", family.filter(|_| hash));
        put("markmask", header.markmask.map(|mask| format!("0x{mask:08x}")));
        put("hashsize", number(header.hashsize));
        put("maxelem", number(header.maxelem));
        put("size", number(header.size));
        let netmask = header.netmask.map(|bits| bits.to_string());
        let bitmask = header.bitmask.map(address);
        // Types that had no mask from the beginning say it last.
        let early = matches!(self.kind.as_str(), "hash:ip" | "bitmap:ip");
        put("netmask", netmask.clone().filter(|_| early));
        put("bitmask", bitmask.clone().filter(|_| early));
        put("timeout", number(header.timeout));
        out.extend(self.flag_words().into_iter().filter(|word| *word != "forceadd").map(str::to_owned));
        let mut put = |word: &str, value: Option<String>| out.extend(value.map(|value| format!("{word} {value}")));
        put("bucketsize", header.bucketsize.map(|size| size.to_string()));
        put("initval", header.initval.map(|value| format!("0x{value:08x}")));
        put("netmask", netmask.filter(|_| !early));
        put("bitmask", bitmask.filter(|_| !early));
        out.extend(header.unknown.iter().map(UnknownAttribute::text));
        out.join(" ")
    }

    /// An element behind the set's name, as `ipset save` writes it: what is not understood stands in brackets.
    #[must_use]
    pub fn entry_text(&self, entry: &Entry) -> String {
        let key = parts(&self.kind).and_then(|parts| key_text(parts, entry));
        let mut out = vec![key.unwrap_or_else(|| "[element]".to_owned())];
        let mut put = |word: &str, value: Option<String>| out.extend(value.map(|value| format!("{word} {value}")));
        put("timeout", entry.timeout.map(|seconds| seconds.to_string()));
        for (bit, word) in [(Entry::NOMATCH, "nomatch"), (Entry::WILDCARD, "wildcard")] {
            if entry.flags & bit != 0 {
                out.push(word.to_owned());
            }
        }
        let mut put = |word: &str, value: Option<String>| out.extend(value.map(|value| format!("{word} {value}")));
        put("packets", entry.packets.map(|count| count.to_string()));
        put("bytes", entry.bytes.map(|count| count.to_string()));
        put("comment", entry.comment.as_ref().map(|comment| format!("\"{comment}\"")));
        let mark = entry.gives_mark.map(|(mark, mask)| match mask {
            u32::MAX => format!("{mark:#x}"),
            mask => format!("{mark:#x}/{mask:#x}"),
        });
        put("skbmark", mark);
        put("skbprio", entry.gives_priority.map(|priority| format!("{:x}:{:x}", priority >> 16, priority & 0xffff)));
        put("skbqueue", entry.gives_queue.map(|queue| queue.to_string()));
        let strange = entry.flags & !Entry::KNOWN;
        if strange != 0 {
            out.push(format!("[unknown flags {strange:#x}]"));
        }
        out.extend(entry.unknown.iter().map(UnknownAttribute::text));
        out.join(" ")
    }

    /// The same without what the element has counted.
    #[must_use]
    pub fn uncounted_text(&self, entry: &Entry) -> String {
        self.entry_text(&Entry { packets: None, bytes: None, ..entry.clone() })
    }

    /// The set as `ipset save` writes it, line by line; the header alone where its elements were not read.
    #[must_use]
    pub fn save(&self) -> String {
        let mut out = format!("create {} {} {}", self.name, self.kind, self.options()).trim_end().to_owned();
        out.push('\n');
        for entry in self.elements.iter().flatten() {
            out.push_str(&format!("add {} {}\n", self.name, self.entry_text(entry)));
        }
        out
    }
}
