//! What nft asks before a field is looked at: that its header is there.

use super::super::header::{self, Field, LINK, NETWORK, TRANSPORT};
use super::super::{Comparison, Expression, Family, Term};
use super::{Draft, Fault, Value, register};

/// `NFT_META_*`
const PROTOCOL: u32 = 1;
const DEVICE_TYPE: u32 = 8;
const NFPROTO: u32 = 15;
const L4PROTO: u32 = 16;

/// `ARPHRD_ETHER`, in the machine's order.
const ETHERNET: u16 = 1;

impl Draft<'_, '_> {
    /// Everything that a value loads must be there.
    pub(super) fn needs(&mut self, value: &Value) -> Result<(), Fault> {
        match value {
            Value::Term(Term::Field(field)) => self.header(field),
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
                if !self.vlan {
                    self.ask_type(12, 0x8100);
                    self.vlan = true;
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
        Ok(())
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
            Family::Inet => self.compare_meta(NFPROTO, &[family]),
            _ if self.vlan => self.ask_type(16, kind),
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
            Term::Meta(PROTOCOL) => self.network = by_type(said).or(self.network),
            Term::Meta(DEVICE_TYPE) if said == u128::from(ETHERNET) => self.ether = true,
            Term::Meta(L4PROTO) => self.protocol = u8::try_from(said).ok(),
            Term::Field(field) => match (field.header, field.name) {
                ("ether", "type") if said == 0x8100 => self.vlan = true,
                ("ether" | "vlan", "type") => self.network = by_type(said).or(self.network),
                ("ip", "protocol") | ("ip6", "nexthdr") => self.protocol = u8::try_from(said).ok(),
                _ => {}
            },
            _ => {}
        }
    }
}
