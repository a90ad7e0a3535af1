//! What comes by the cable, before anybody there decides what becomes of it.

use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::libc;
use nix::sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, socket};

/// A packet on the cable that begins something: a datagram, or the first packet of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    /// IANA protocol number.
    pub(crate) protocol: u8,
    /// Where it says that it comes from.
    pub(crate) source: SocketAddr,
    /// Where it is to go.
    pub(crate) destination: SocketAddr,
    /// The number of the datagram, as its sender wrote it.
    pub(super) number: Option<u64>,
}

/// All that arrives at the devices of the namespace in which it is opened.
pub(super) fn tap() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket(AddressFamily::Packet, SockType::Datagram, flags, SockProtocol::EthAll)
}

/// Takes all that waits; what begins nothing, and what leaves, is thrown away.
pub(super) fn take(tap: &OwnedFd) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some((bytes, arrives)) = next(tap.as_raw_fd()) {
        frames.extend(Some(()).filter(|()| arrives).and_then(|()| frame(&bytes)));
    }
    frames
}

fn next(tap: RawFd) -> Option<(Vec<u8>, bool)> {
    let mut bytes = [0; 256];
    let (length, from) = recvfrom::<LinkAddr>(tap, &mut bytes).ok()?;
    // Of loopback there is nothing to be told.
    let arrives = from.is_some_and(|from| {
        u32::from(from.pkttype()) != u32::from(libc::PACKET_OUTGOING) && from.hatype() != libc::ARPHRD_LOOPBACK
    });
    Some((bytes.get(..length.min(bytes.len()))?.to_vec(), arrives))
}

fn frame(bytes: &[u8]) -> Option<Frame> {
    let (protocol, [source, destination], rest) = match bytes.first()? >> 4 {
        4 => {
            let address = |at: usize| Some(<[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok()?.into());
            let header = usize::from(bytes.first()? & 15) * 4;
            (*bytes.get(9)?, [address(12)?, address(16)?], bytes.get(header..)?)
        }
        6 => {
            let address = |at: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(at..at + 16)?).ok()?).into());
            (*bytes.get(6)?, [address(8)?, address(24)?], bytes.get(40..)?)
        }
        _ => return None,
    };
    let port = |at: usize| Some(u16::from_be_bytes(rest.get(at..at + 2)?.try_into().ok()?));
    let number = match protocol {
        // SYN without ACK.
        6 if rest.get(13)? & 0x12 == 2 => None,
        17 => Some(u64::from_be_bytes(rest.get(8..16)?.try_into().ok()?)),
        _ => return None,
    };
    let ends = (SocketAddr::new(source, port(0)?), SocketAddr::new(destination, port(2)?));
    Some(Frame { protocol, source: ends.0, destination: ends.1, number })
}
