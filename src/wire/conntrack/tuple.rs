//! `CTA_TUPLE_*`: one direction of a flow.

use super::super::address::ip;
use super::super::attribute::{Attribute, Attributes};
use super::{ConntrackError, Strangers, be16, byte};
use crate::model::{Endpoint, Icmp, Protocol, Tuple, UnknownPart};

const IP: u16 = 1;
const PROTO: u16 = 2;
const ZONE: u16 = 3;

/// What stands behind the protocol's number.
#[derive(Debug, Default)]
struct Ports {
    protocol: Option<u8>,
    source: u16,
    destination: u16,
    id: Option<u16>,
    kind: Option<u8>,
    code: Option<u8>,
}

/// Addresses (1), protocol with its ports (2), zone (3).
pub(super) fn tuple(
    parts: Attributes<'_>,
    kind: u16,
    which: &'static str,
    strangers: &mut Strangers,
) -> Result<Tuple, ConntrackError> {
    let (mut source, mut destination, mut zone) = (None, None, None);
    let mut ports = Ports::default();
    for part in parts {
        let part = part?;
        match part.kind {
            IP => {
                for address in part.nested() {
                    let address = address?;
                    let path = [kind, IP];
                    match address.kind {
                        1 | 3 => source = strangers.or_keep(ip(&address), &path, &address),
                        2 | 4 => destination = strangers.or_keep(ip(&address), &path, &address),
                        _ => strangers.keep(&path, &address),
                    }
                }
            }
            PROTO => {
                for field in part.nested() {
                    ports.take(&field?, kind, strangers);
                }
            }
            ZONE => zone = strangers.or_keep(be16(&part), &[kind], &part),
            _ => strangers.keep(&[kind], &part),
        }
    }
    let missing = ConntrackError::Missing(which);
    Ok(Tuple {
        protocol: Protocol::from_number(ports.protocol.ok_or(missing)?),
        source: Endpoint::new(source.ok_or(missing)?, ports.source),
        destination: Endpoint::new(destination.ok_or(missing)?, ports.destination),
        icmp: ports.icmp(kind, strangers),
        zone,
    })
}

impl Ports {
    /// ICMPv6 has numbers of its own for what ICMP has at 4 to 6.
    fn take(&mut self, field: &Attribute<'_>, kind: u16, strangers: &mut Strangers) {
        let path = [kind, PROTO];
        match field.kind {
            1 => self.protocol = strangers.or_keep(byte(field), &path, field),
            2 => self.source = strangers.or_keep(be16(field), &path, field).unwrap_or_default(),
            3 => self.destination = strangers.or_keep(be16(field), &path, field).unwrap_or_default(),
            4 | 7 => self.id = strangers.or_keep(be16(field), &path, field),
            5 | 8 => self.kind = strangers.or_keep(byte(field), &path, field),
            6 | 9 => self.code = strangers.or_keep(byte(field), &path, field),
            _ => strangers.keep(&path, field),
        }
    }

    /// A code or an identifier without a type says nothing, and is kept.
    fn icmp(&self, kind: u16, strangers: &mut Strangers) -> Option<Icmp> {
        if let Some(kind) = self.kind {
            return Some(Icmp { kind, code: self.code.unwrap_or_default(), id: self.id.unwrap_or_default() });
        }
        let lone = |number: u16, bytes: &[u8]| UnknownPart::new(&[kind, PROTO, number], bytes);
        strangers.0.extend(self.id.map(|id| lone(4, &id.to_be_bytes())));
        strangers.0.extend(self.code.map(|code| lone(6, &[code])));
        None
    }
}
