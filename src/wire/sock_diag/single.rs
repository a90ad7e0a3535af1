//! One socket by its ends, and sockets that came to their end.

use super::{
    AF_INET, AF_INET6, MESSAGE, PROTOCOL, SOCKET_ID, SockDiagError, Wanted, array, attributes, by_family, cookie, port,
};
use crate::model::{Endpoint, Family, GoneSocket, Protocol};

/// `SKNLGRP_INET_TCP_DESTROY` and `SKNLGRP_INET6_TCP_DESTROY` (`include/uapi/linux/sock_diag.h`).
pub const TCP_GROUPS: [u32; 2] = [1, 3];
/// `SKNLGRP_INET_UDP_DESTROY` and `SKNLGRP_INET6_UDP_DESTROY`.
pub const UDP_GROUPS: [u32; 2] = [2, 4];

/// The payload of a request without a dump for the socket with these ends. Where none has them, the kernel may answer with one that
/// listens, or takes datagrams from anyone, at the local end.
#[must_use]
pub fn exact_request(protocol: Protocol, local: Endpoint, peer: Endpoint) -> Vec<u8> {
    const NO_COOKIE: [u8; 8] = [0xff; 8];
    let family = if local.address.is_ipv6() { Family::Ip6 } else { Family::Ip };
    // Of UDP the two ends are taken the wrong way round, and always were (`udp_dump_one`, net/ipv4/udp_diag.c).
    let (source, destination) = if protocol == Protocol::Udp { (peer, local) } else { (local, peer) };
    let mut request = by_family(family, protocol.number(), Wanted::states(super::EVERY_STATE));
    request.truncate(request.len().saturating_sub(SOCKET_ID));
    request.extend(source.port.to_be_bytes());
    request.extend(destination.port.to_be_bytes());
    for end in [source, destination] {
        let mut address = [0; 16];
        match end.address {
            std::net::IpAddr::V4(own) => address.iter_mut().zip(own.octets()).for_each(|(to, from)| *to = from),
            std::net::IpAddr::V6(own) => address = own.octets(),
        }
        request.extend(address);
    }
    request.extend(0_u32.to_ne_bytes());
    request.extend(NO_COOKIE);
    request
}

/// Reads a message of [`TCP_GROUPS`] or [`UDP_GROUPS`].
///
/// # Errors
/// See [`SockDiagError`]; without the protocol it is [`SockDiagError::Short`].
pub fn decode_gone(payload: &[u8]) -> Result<GoneSocket, SockDiagError> {
    let head: &[u8; MESSAGE] = payload.first_chunk().ok_or(SockDiagError::Short(payload.len()))?;
    let family = match head[0] {
        AF_INET => Family::Ip,
        AF_INET6 => Family::Ip6,
        other => return Err(SockDiagError::Family(other)),
    };
    let mut protocol = None;
    for attribute in attributes(payload.get(MESSAGE..).unwrap_or_default()) {
        let attribute = attribute?;
        if attribute.kind == PROTOCOL {
            protocol = attribute.u8();
        }
    }
    let end = |address: [u8; 16], port| {
        let [a, b, c, d, ..] = address;
        match family {
            Family::Ip6 => Endpoint::unmapped(std::net::Ipv6Addr::from(address).into(), port).0,
            _ => Endpoint::new(std::net::Ipv4Addr::new(a, b, c, d).into(), port),
        }
    };
    let peer = end(array(head, 24), port(head, 6));
    Ok(GoneSocket {
        protocol: Protocol::from_number(protocol.ok_or(SockDiagError::Short(payload.len()))?),
        family,
        local: end(array(head, 8), port(head, 4)),
        peer: (peer.port != 0).then_some(peer),
        cookie: cookie(array(head, 44)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Vec<u8> {
        let mut message = vec![0; MESSAGE];
        message[0] = AF_INET;
        message[4..8].copy_from_slice(&[0x1f, 0x90, 0, 80]);
        message[8..12].copy_from_slice(&[10, 0, 0, 2]);
        message[24..28].copy_from_slice(&[10, 0, 0, 5]);
        message[44..52].copy_from_slice(&7_u64.to_ne_bytes());
        message
    }

    #[test]
    fn a_socket_that_is_gone_says_which_it_was() {
        let mut message = message();
        assert_eq!(decode_gone(&message), Err(SockDiagError::Short(MESSAGE)));
        message.extend([5, 0, PROTOCOL as u8, 0, 6, 0, 0, 0]);
        let gone = decode_gone(&message).expect("a socket");
        assert_eq!((gone.protocol, gone.local.to_string().as_str()), (Protocol::Tcp, "10.0.0.2:8080"));
        assert_eq!(gone.peer.map(|peer| peer.to_string()).as_deref(), Some("10.0.0.5:80"));
        assert!(gone.cookie != 0);
        message[0] = 1;
        assert_eq!(decode_gone(&message), Err(SockDiagError::Family(1)));
        for cut in 0..MESSAGE {
            assert!(decode_gone(&message[..cut]).is_err());
        }
    }

    #[test]
    fn a_request_names_both_ends() {
        let end = |text: &str| text.parse::<std::net::SocketAddr>().map(|end| Endpoint::new(end.ip(), end.port()));
        let (local, peer) = (end("10.0.0.2:8080").expect("an end"), end("10.0.0.5:80").expect("an end"));
        let tcp = exact_request(Protocol::Tcp, local, peer);
        assert_eq!((tcp.len(), &tcp[8..12]), (56, &[0x1f, 0x90, 0, 80][..]));
        assert_eq!((&tcp[12..16], &tcp[28..32]), (&[10, 0, 0, 2][..], &[10, 0, 0, 5][..]));
        assert_eq!(exact_request(Protocol::Udp, local, peer)[8..12], [0, 80, 0x1f, 0x90]);
    }
}
