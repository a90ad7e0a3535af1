//! What nft asks before a field is looked at: that its header is there.

use super::super::header::{self, Field, LINK, NETWORK, TRANSPORT};
use super::super::{Comparison, Expression, Family, Term};
use super::{Draft, Fault, Item, Value, register};

/// `NFT_META_*`
const PROTOCOL: u32 = 1;
const DEVICE_TYPE: u32 = 8;
const NFPROTO: u32 = 15;
const L4PROTO: u32 = 16;

/// `ICMP_ECHO`, `ICMPV6_ECHO_REQUEST`
const ECHO: u8 = 8;
const ECHO6: u8 = 128;

/// `NFT_EXTHDR_OP_IPV6`, `NFT_EXTHDR_OP_IPV4`
const EXTENSION: u32 = 0;
const IP_OPTION: u32 = 2;

/// `ARPHRD_ETHER`, in the machine's order.
const ETHERNET: u16 = 1;

impl Draft<'_, '_> {
    /// Everything that a value loads must be there.
    pub(super) fn needs(&mut self, value: &Value) -> Result<(), Fault> {
        match value {
            Value::Term(Term::Field(field)) => self.header(field),
            Value::Term(Term::Option(option) | Term::OptionPart(option, ..)) => match option.of {
                EXTENSION => self.network("ip6", self.table.family == Family::Bridge),
                IP_OPTION => self.network("ip", self.table.family == Family::Bridge),
                _ => Ok(()),
            },
            Value::Concat(parts) | Value::List(parts) => parts.iter().try_for_each(|part| self.needs(part)),
            Value::Binary(of, _, with) => {
                self.needs(of)?;
                self.needs(with)
            }
            Value::Hash(of, ..) | Value::Map(of, _) => self.needs(of),
            _ => Ok(()),
        }
    }

    fn header(&mut self, field: &Field) -> Result<(), Fault> {
        match (field.base, field.header) {
            (LINK, "vlan") => {
                self.ethernet();
                if self.vlans == 0 {
                    self.ask_type(12, 0x8100);
                    self.vlans = 1;
                }
            }
            (LINK, _) => self.ethernet(),
            (NETWORK, name) => self.network(name, false)?,
            (TRANSPORT, "th") => {}
            (TRANSPORT, name) => {
                match name {
                    "icmp" => self.network("ip", true)?,
                    "icmpv6" => self.network("ip6", true)?,
                    _ => {}
                }
                self.transport(header::protocol_of(name).ok_or_else(|| format!("{name} is no protocol"))?);
            }
            _ => {}
        }
        field.message.map_or(Ok(()), |wanted| self.message(field, wanted))
    }

    /// Messages of other types have other fields there: nft asks for the type that has this one.
    fn message(&mut self, field: &Field, wanted: u8) -> Result<(), Fault> {
        match self.message {
            Some(known) if known == wanted => return Ok(()),
            Some(_) => return Err(format!("the message that was asked for has no {}", field.name)),
            None => {}
        }
        let kind = header::named(field.header, "type").ok_or("this header has no type")?;
        match wanted {
            ECHO | ECHO6 => {
                let (request, answer) = (wanted, if wanted == ECHO { 0 } else { ECHO6 + 1 });
                let either = [request, answer].map(|kind| Item::of(Value::Word(kind.to_string())));
                self.compare(&Value::Term(Term::Field(kind)), "", &Value::Set(either.to_vec()))?;
            }
            _ => self.equal_bytes(TRANSPORT, kind.offset / 8, vec![wanted]),
        }
        self.message = Some(wanted);
        Ok(())
    }

    /// Types of ICMP messages out of a set that the rule has for itself.
    pub(super) fn learn_messages(&mut self, key: &Value, items: &[Item]) {
        let Value::Term(term @ Term::Field(field)) = key else { return };
        if matches!((field.header, field.name), ("icmp" | "icmpv6", "type")) {
            for item in items {
                let said = self.shape_of(term).encode(&item.key, &[]).unwrap_or_default();
                if let [said] = said.as_slice() {
                    self.learn(term, u128::from(*said));
                }
            }
        }
    }

    /// Where a field begins in bits: those of a VLAN's tag behind the tags before it.
    pub(super) fn offset_of(&self, field: &Field) -> u32 {
        const TAG: u32 = 32;
        let before = if field.header == "vlan" { self.vlans.saturating_sub(1) } else { 0 };
        field.offset + before * TAG
    }

    fn ethernet(&mut self) {
        if !self.ether {
            self.compare_meta(DEVICE_TYPE, &ETHERNET.to_ne_bytes());
            self.ether = true;
        }
    }

    /// Asks for the type in an Ethernet header or a VLAN tag.
    fn ask_type(&mut self, offset: u32, kind: u16) {
        self.equal_bytes(LINK, offset, kind.to_be_bytes().to_vec());
    }

    /// That the packet has this network header; `answers` where a header above it belongs to one family.
    pub(super) fn network(&mut self, name: &'static str, answers: bool) -> Result<(), Fault> {
        match self.network {
            Some(known) if known == name => return Ok(()),
            // A header above belongs to either; nothing more is asked.
            Some(_) if answers => return Ok(()),
            Some(known) => return Err(format!("{name} does not follow {known}")),
            None => {}
        }
        let (kind, family) = match name {
            "ip" => (0x800, 2),
            "ip6" => (0x86dd, 10),
            _ => (0x806, 3),
        };
        match self.table.family {
            Family::Inet if name == "arp" => return Err("a table of inet has no header of arp".to_owned()),
            Family::Inet => self.compare_meta(NFPROTO, &[family]),
            _ if self.vlans > 0 => self.ask_type(12 + self.vlans * 4, kind),
            Family::Bridge if answers || name == "arp" => self.ask_type(12, kind),
            _ => self.compare_meta(PROTOCOL, &kind.to_be_bytes()),
        }
        self.network = Some(name);
        Ok(())
    }

    pub(super) fn transport(&mut self, protocol: u8) {
        if self.protocol != Some(protocol) {
            self.compare_meta(L4PROTO, &[protocol]);
            self.protocol = Some(protocol);
        }
    }

    fn compare_meta(&mut self, key: u32, value: &[u8]) {
        self.out.push(Expression::Meta { key, register: register(0) });
        let comparison = Comparison::Eq;
        self.out.push(Expression::Cmp { comparison, value: value.to_vec(), register: register(0) });
    }

    /// What a comparison with a constant tells of the packet's headers.
    pub(super) fn learn(&mut self, term: &Term, said: u128) {
        let by_type = |said: u128| match said {
            0x800 => Some("ip"),
            0x86dd => Some("ip6"),
            0x806 => Some("arp"),
            _ => None,
        };
        match term {
            Term::Meta(NFPROTO) => self.network = if said == 10 { Some("ip6") } else { Some("ip") },
            // In tables of other families it says nothing of which header stands there.
            Term::Meta(PROTOCOL) if matches!(self.table.family, Family::Netdev | Family::Bridge) => {
                self.network = by_type(said).or(self.network)
            }
            Term::Meta(DEVICE_TYPE) if said == u128::from(ETHERNET) => self.ether = true,
            Term::Meta(L4PROTO) => self.protocol = u8::try_from(said).ok(),
            Term::Field(field) => match (field.header, field.name) {
                // No packet has so many; a hostile text may.
                ("ether" | "vlan", "type") if matches!(said, 0x8100 | 0x88a8) => self.vlans = (self.vlans + 1).min(64),
                ("ether" | "vlan", "type") => self.network = by_type(said).or(self.network),
                ("icmp", "type") if said == 0 => self.message = Some(ECHO),
                ("icmpv6", "type") if said == u128::from(ECHO6) + 1 => self.message = Some(ECHO6),
                ("icmp" | "icmpv6", "type") => self.message = u8::try_from(said).ok().filter(|said| *said != 0),
                ("ip", "protocol") | ("ip6", "nexthdr") => self.protocol = u8::try_from(said).ok(),
                _ => {}
            },
            _ => {}
        }
    }
}
