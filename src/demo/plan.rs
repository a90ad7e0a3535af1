//! Who has which address, port and UID in the lab.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Length of both sides' prefix.
pub(super) fn prefix(ipv6: bool) -> u8 {
    if ipv6 { 64 } else { 24 }
}

/// The pod's address.
pub(super) fn pod(ipv6: bool) -> IpAddr {
    host(ipv6, 2)
}

/// The address outside the pod: its gateway, the remote service and the remote client are all there.
pub(super) fn outside(ipv6: bool) -> IpAddr {
    host(ipv6, 1)
}

/// The remote service that the application calls.
pub(super) fn service(ipv6: bool) -> SocketAddr {
    SocketAddr::new(outside(ipv6), 80)
}

/// The application, as the pod's clients dial it.
pub(super) fn application(ipv6: bool) -> SocketAddr {
    SocketAddr::new(pod(ipv6), APPLICATION_PORT)
}

/// Any address of the family, with this port.
pub(super) fn anywhere(ipv6: bool, port: u16) -> SocketAddr {
    let any: IpAddr = if ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    SocketAddr::new(any, port)
}

/// The port on which the application listens.
pub(super) const APPLICATION_PORT: u16 = 8080;
/// UID and GID of the application, and of everybody outside.
pub(super) const APPLICATION_ID: u32 = 1000;

fn host(ipv6: bool, number: u8) -> IpAddr {
    if ipv6 {
        Ipv6Addr::new(0xfd00, 0x88, 0, 0, 0, 0, 0, number.into()).into()
    } else {
        Ipv4Addr::new(10, 88, 0, number).into()
    }
}
