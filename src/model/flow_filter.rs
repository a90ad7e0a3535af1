//! Which tracked connections are wanted.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::{Endpoint, Family, Flow, Protocol};

/// Which tracked connections are wanted: those that all of these fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlowFilter {
    /// Of this family only.
    pub only: Option<Family>,
    /// Of this protocol.
    pub protocol: Option<Protocol>,
    /// Value of the mark under a mask.
    pub mark: Option<(u32, u32)>,
    /// Bits of the status, all of which must be set.
    pub status: u32,
    /// The zone, that of either direction too.
    pub zone: Option<u16>,
    /// Who dialled.
    pub source: FlowEnd,
    /// What was dialled.
    pub destination: FlowEnd,
}

/// An address, a port, or both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlowEnd {
    /// The address.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: Option<u16>,
}

impl FlowEnd {
    fn fits(self, end: Endpoint) -> bool {
        self.address.is_none_or(|address| address == end.address) && self.port.is_none_or(|port| port == end.port)
    }
}

impl FromStr for FlowEnd {
    type Err = &'static str;

    /// `10.0.0.5`, `10.0.0.5:80`, `fd00::5`, `[fd00::5]:80`, `:80`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse() {
            return Ok(Self { address: Some(address), port: None });
        }
        if let Ok(end) = text.parse::<SocketAddr>() {
            return Ok(Self { address: Some(end.ip()), port: Some(end.port()) });
        }
        let port = text.strip_prefix(':').and_then(|port| port.parse().ok());
        port.map(|port| Self { address: None, port: Some(port) })
            .ok_or("it is ADDRESS, ADDRESS:PORT or :PORT, an IPv6 address before a port in brackets")
    }
}

impl FlowFilter {
    /// The only family that can fit.
    #[must_use]
    pub fn family(&self) -> Option<Family> {
        let addressed = self.source.address.or(self.destination.address);
        self.only.or(addressed.map(|address| if address.is_ipv4() { Family::Ip } else { Family::Ip6 }))
    }

    /// Whether a flow is wanted.
    #[must_use]
    pub fn fits(&self, flow: &Flow) -> bool {
        let ipv4 = flow.original.0.address.is_ipv4();
        self.only.is_none_or(|family| ipv4 == (family == Family::Ip))
            && self.protocol.is_none_or(|protocol| protocol == flow.protocol)
            && self.mark.is_none_or(|(mark, mask)| flow.mark & mask == mark)
            && flow.status & self.status == self.status
            && self.zone.is_none_or(|zone| zone == flow.zone)
            && self.source.fits(flow.original.0)
            && self.destination.fits(flow.original.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_an_address_a_port_or_both() {
        let end = |text: &str| text.parse::<FlowEnd>();
        let both = |address: &str, port| Ok(FlowEnd { address: address.parse().ok(), port });
        assert_eq!(end("10.0.0.5"), both("10.0.0.5", None));
        assert_eq!(end("10.0.0.5:80"), both("10.0.0.5", Some(80)));
        assert_eq!(end("fd00::5"), both("fd00::5", None));
        assert_eq!(end("[fd00::5]:80"), both("fd00::5", Some(80)));
        assert_eq!(end(":53"), both("", Some(53)));
        for wrong in ["", ":", "80", "10.0.0", "host:80", ":70000"] {
            assert!(end(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_flow_is_wanted_when_everything_fits() {
        let end =
            |text: &str| text.parse::<SocketAddr>().map(|end| Endpoint::new(end.ip(), end.port())).expect("an end");
        let ends = (end("10.0.0.2:1000"), end("10.0.0.5:80"));
        let mut flow = Flow::between(Protocol::Tcp, ends, (ends.1, ends.0));
        (flow.mark, flow.status, flow.zone) = (0x111, Flow::ASSURED | Flow::SEEN_REPLY, 7);
        let all = FlowFilter {
            only: Some(Family::Ip),
            protocol: Some(Protocol::Tcp),
            mark: Some((0x100, 0xf00)),
            status: Flow::ASSURED,
            zone: Some(7),
            source: "10.0.0.2".parse().expect("an end"),
            destination: ":80".parse().expect("an end"),
        };
        assert!(all.fits(&flow) && FlowFilter::default().fits(&flow));
        for other in [
            FlowFilter { only: Some(Family::Ip6), ..all },
            FlowFilter { protocol: Some(Protocol::Udp), ..all },
            FlowFilter { mark: Some((0x200, 0xf00)), ..all },
            FlowFilter { status: Flow::DST_NAT, ..all },
            FlowFilter { zone: Some(8), ..all },
            FlowFilter { source: "10.0.0.3".parse().expect("an end"), ..all },
            FlowFilter { destination: ":81".parse().expect("an end"), ..all },
        ] {
            assert!(!other.fits(&flow), "{other:?}");
        }
    }
}
