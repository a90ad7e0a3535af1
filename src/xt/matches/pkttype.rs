//! `-m pkttype`: whom the link layer addressed (`struct xt_pkttype_info`, `include/uapi/linux/if_packet.h`).

use super::span::{bang, not, unequal};
use super::{Condition, Extension, Given, Matching, Words};
use crate::packet::Field;
use crate::xt::bytes::Layout;

/// The packet is of this type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pkttype {
    /// `!`
    pub negated: bool,
    /// `PACKET_HOST` to `PACKET_OTHERHOST`.
    pub kind: u8,
}

/// By number.
const KINDS: [&str; 4] = ["unicast", "broadcast", "multicast", "otherhost"];

impl Pkttype {
    fn word(self) -> &'static str {
        KINDS.get(usize::from(self.kind)).copied().unwrap_or_default()
    }
}

impl Extension for Pkttype {
    const NAMES: &'static [&'static str] = &["pkttype"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--pkt-type", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let kind = u8::try_from(layout.u32(0)?).ok().filter(|kind| usize::from(*kind) < KINDS.len())?;
        (revision == 0).then_some(Self { negated: layout.u32(4)? != 0, kind })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let given = options.last()?;
        let name = given.value().to_ascii_lowercase();
        // Names from before, which iptables still takes.
        let name = match name.as_str() {
            "host" => "unicast",
            "bcast" => "broadcast",
            "mcast" => "multicast",
            name => name,
        };
        let kind = KINDS.iter().position(|known| *known == name)?;
        Some(Self { negated: given.negated, kind: u8::try_from(kind).ok()? })
    }

    fn save(&self, out: &mut String) {
        out.push_str(&format!("{} --pkt-type {}", bang(self.negated), self.word()));
    }
}

impl Matching for Pkttype {
    fn condition(&self) -> Condition {
        Condition::equals(Field::PacketType, self.kind).negated_if(self.negated)
    }

    fn explain(&self, words: &mut Words) {
        let what = match self.kind {
            3 => "to another host's link-layer address".to_owned(),
            _ => format!("by link-layer {}", self.word()),
        };
        words.also(format!("{}sent {what}", not(self.negated)));
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        let name = if self.kind == 3 { "3" } else { self.word() };
        Some(format!("pkttype {}{name}", unequal(self.negated)))
    }
}
