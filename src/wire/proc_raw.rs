//! Raw sockets as `/proc/net/raw` and `/proc/net/raw6` list them: for kernels without raw_diag.
//!
//! Source of the columns: `raw_sock_seq_show` (net/ipv4/raw.c) and `__ip6_dgram_sock_seq_show` (net/ipv6/datagram.c). Addresses are
//! 32-bit words in the machine's order, printed as numbers; where a port would be stands the protocol.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::model::{Endpoint, Family, Protocol, Socket, SocketDetails, SocketState};

/// A line that is no socket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a raw socket: {0:?}")]
pub struct NotRaw(pub String);

/// The sockets in the text of one of the files, and the lines that were not understood. The first line has the headings.
///
/// The files tell neither mark nor bound interface (0 stands there), nor what else sock_diag does.
pub fn sockets(text: &str) -> impl Iterator<Item = Result<Socket, NotRaw>> {
    text.lines().skip(1).map(|line| socket(line).ok_or_else(|| NotRaw(line.chars().take(200).collect())))
}

fn socket(line: &str) -> Option<Socket> {
    let mut words = line.split_ascii_whitespace();
    let (_slot, local, peer, state) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let (family, local, local_mapped, protocol) = end(local)?;
    let (_, peer, peer_mapped, _) = end(peer)?;
    let state = match state {
        "01" => SocketState::Established,
        "07" => SocketState::Unconnected,
        _ => return None,
    };
    let hex = |digits: &str| u32::from_str_radix(digits, 16).ok();
    let (send_queue, receive_queue) = words.next()?.split_once(':')?;
    let (_timer, _retransmits, uid, _timeout) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let connected = state == SocketState::Established;
    Some(Socket {
        protocol: Protocol::from_number(protocol),
        family,
        mapped: local_mapped || (connected && peer_mapped),
        state,
        local,
        peer: connected.then_some(peer),
        uid: uid.parse().ok()?,
        inode: words.next()?.parse().ok()?,
        mark: None,
        interface: 0,
        receive_queue: hex(receive_queue)?,
        send_queue: hex(send_queue)?,
        details: SocketDetails::default(),
    })
}

/// An address of 8 or 32 digits and, behind a colon, 4 digits of protocol.
fn end(text: &str) -> Option<(Family, Endpoint, bool, u8)> {
    let (address, protocol) = text.split_once(':')?;
    let protocol = u8::try_from(u16::from_str_radix(protocol, 16).ok()?).ok()?;
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match address.len() {
        8 => Some((Family::Ip, Endpoint::new(Ipv4Addr::from(word(0)?).into(), 0), false, protocol)),
        32 => {
            let mut bytes = [0; 16];
            for (place, at) in bytes.chunks_exact_mut(4).zip([0, 8, 16, 24]) {
                place.copy_from_slice(&word(at)?);
            }
            let (endpoint, mapped) = Endpoint::unmapped(Ipv6Addr::from(bytes).into(), 0);
            Some((Family::Ip6, endpoint, mapped, protocol))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_of_both_files() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
             1: 0100007F:0001 00000000:0000 07 00000000:00000300 00:00000000 00000000  1000        0 4711 2 0000000000000000 0\n\
            58: 0000000000000000FFFF00000100007F:003A 000000000000000000000000 01 0:0\n\
           132: 00000000000000000000000001000000:0084 00000000000000000000000001000000:0000 01 00000002:00000000 00:00000000 00000000     0        0 18 2 0 0\n";
        let read: Vec<_> = sockets(text).collect();
        let first = read[0].as_ref().expect("a socket");
        assert_eq!((first.protocol, first.local.to_string().as_str()), (Protocol::Other(1), "127.0.0.1:0"));
        assert_eq!((first.uid, first.inode, first.receive_queue, first.peer), (1000, 4711, 0x300, None));
        assert!(read[1].is_err());
        let last = read[2].as_ref().expect("a socket");
        assert_eq!((last.family, last.protocol, last.send_queue), (Family::Ip6, Protocol::Other(132), 2));
        assert_eq!(last.peer.map(|peer| peer.to_string()).as_deref(), Some("[::1]:0"));
        assert_eq!(read.len(), 3);
    }

    proptest! {
        #[test]
        fn any_text_gives_an_answer(text in "([0-9A-F: ]{0,60}\n){0,3}", other: String) {
            let _ = (sockets(&text).count(), sockets(&other).count());
        }
    }
}
