//! Which headers the packet has, as the rule's own comparisons tell, and which of these nft leaves out of its text.

use super::header::{Field, LINK, NETWORK, TRANSPORT};
use super::reading::Reader;
use super::{Family, Statement, Term};

/// `NFT_META_*` that say which protocol follows.
const PROTOCOL: u32 = 1;
const DEVICE_TYPE: u32 = 8;
const NFPROTO: u32 = 15;
const L4PROTO: u32 = 16;

/// The statement that asks for VLAN frames, beside those for the headers.
const VLAN: usize = 3;

impl Reader<'_> {
    /// A field is named: nobody need be told any more that its header is there.
    pub(super) fn used(&mut self, field: &Field) {
        if field.header == "vlan" {
            self.drop_asked(VLAN);
        }
        self.drop_asked(field.base as usize);
    }

    pub(super) fn reject(&mut self, kind: u32, code: u8, both: bool) -> Statement {
        const UNREACHABLE: u32 = 0;
        const RESET: u32 = 1;
        if both && kind == UNREACHABLE {
            self.drop_asked(NETWORK as usize);
        }
        if !both && kind == RESET {
            self.drop_asked(TRANSPORT as usize);
        }
        Statement::Reject { kind, code, ipv6: self.network == Some("ip6"), both }
    }

    /// The statement is implied by another: nft does not write it.
    fn drop_asked(&mut self, which: usize) {
        if self.whole {
            return;
        }
        let statement = self.asked.get_mut(which).and_then(Option::take);
        if let Some(place) = statement.and_then(|index| self.statements.get_mut(index)) {
            *place = None;
        }
    }

    /// What a comparison tells of the packet's headers.
    pub(super) fn learn(&mut self, term: &Term, said: u128, index: usize) {
        let ask = |asked: &mut [Option<usize>; 4], which: u32| {
            if let Some(place) = asked.get_mut(which as usize) {
                *place = Some(index);
            }
        };
        let by_ether_type = |said: u128| match said {
            0x800 => Some("ip"),
            0x86dd => Some("ip6"),
            0x806 => Some("arp"),
            _ => None,
        };
        let word = match term {
            Term::Field(field) => (field.header, field.name),
            _ => ("", ""),
        };
        match (term, word) {
            (Term::Meta(NFPROTO), _) => {
                self.network = if said == 10 { Some("ip6") } else { Some("ip") };
                ask(&mut self.asked, NETWORK);
            }
            (Term::Meta(PROTOCOL), _) => {
                self.network = by_ether_type(said).or(self.network);
                ask(&mut self.asked, NETWORK);
            }
            (_, ("ether", "type")) if said == 0x8100 => self.asked[VLAN] = Some(index),
            (_, ("ether" | "vlan", "type")) => {
                self.network = by_ether_type(said).or(self.network);
                ask(&mut self.asked, NETWORK);
            }
            (Term::Meta(DEVICE_TYPE), _) => ask(&mut self.asked, LINK),
            (Term::Meta(L4PROTO), _) => {
                self.protocol = u8::try_from(said).ok();
                // ICMP says which family it belongs to.
                if matches!((said, self.network), (1, Some("ip")) | (58, Some("ip6"))) {
                    self.drop_asked(NETWORK as usize);
                }
                ask(&mut self.asked, TRANSPORT);
            }
            (_, ("ip", "protocol") | ("ip6", "nexthdr")) => {
                self.protocol = u8::try_from(said).ok();
                // Where both families pass, it is what tells them apart, and stays.
                if matches!(self.place.family, Family::Ip | Family::Ip6) {
                    ask(&mut self.asked, TRANSPORT);
                }
            }
            _ => {}
        }
    }
}
