//! Packet sockets (packet(7)) as packet_diag gives them: `include/uapi/linux/packet_diag.h`.

use super::SockDiagError;
use crate::model::PacketSocket;
use crate::wire::attribute::attributes;

const AF_PACKET: u8 = 17;
/// Bytes of `struct packet_diag_req` and `struct packet_diag_msg`; attributes follow the latter.
const REQUEST: usize = 20;
const MESSAGE: usize = 16;
/// `PACKET_SHOW_INFO`: what it is bound to, and its owner's UID.
const SHOW: u32 = 1;
/// `PACKET_DIAG_INFO`, which begins with the interface, and `PACKET_DIAG_UID`.
const INFO: u16 = 0;
const UID: u16 = 5;

/// The payload of a [`super::BY_FAMILY`] request for all packet sockets.
#[must_use]
pub fn request() -> Vec<u8> {
    let mut request = vec![AF_PACKET, 0, 0, 0, 0, 0, 0, 0];
    request.extend(SHOW.to_ne_bytes());
    request.resize(REQUEST, 0);
    request
}

/// Reads one answer.
///
/// # Errors
/// See [`SockDiagError`].
pub fn decode(payload: &[u8]) -> Result<PacketSocket, SockDiagError> {
    /// `SOCK_DGRAM`: without the link-layer header. `SOCK_RAW` and the old `SOCK_PACKET` come with it.
    const DATAGRAM: u8 = 2;
    let head: &[u8; MESSAGE] = payload.first_chunk().ok_or(SockDiagError::Short(payload.len()))?;
    let [family, kind, n0, n1, i0, i1, i2, i3, cookie @ ..] = *head;
    if family != AF_PACKET {
        return Err(SockDiagError::Family(family));
    }
    let (mut interface, mut uid) = (None, None);
    for attribute in attributes(payload.get(MESSAGE..).unwrap_or_default()) {
        let attribute = attribute?;
        match attribute.kind {
            INFO => interface = attribute.u32(),
            UID => uid = attribute.u32(),
            _ => {}
        }
    }
    Ok(PacketSocket {
        with_header: kind != DATAGRAM,
        ethertype: u16::from_ne_bytes([n0, n1]),
        interface,
        uid,
        inode: u32::from_ne_bytes([i0, i1, i2, i3]),
        cookie: super::cookie(cookie),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::attribute::Builder;

    #[test]
    fn a_packet_socket_and_its_cuts() {
        let mut bytes = vec![17, 3];
        bytes.extend(0x0800_u16.to_ne_bytes());
        for word in [4711_u32, 9, 1] {
            bytes.extend(word.to_ne_bytes());
        }
        let info: Vec<u8> = [2_u32, 0, 0, 0, 0, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
        let whole = Builder::after(&bytes).put(0, &info).put(5, &1000_u32.to_ne_bytes()).finish();
        let socket = decode(&whole).expect("a socket");
        let expected = PacketSocket {
            with_header: true,
            ethertype: 0x0800,
            interface: Some(2),
            uid: Some(1000),
            inode: 4711,
            cookie: 1 << 32 | 9,
        };
        assert_eq!(socket, expected);
        assert_eq!(request().len(), REQUEST);
        for length in 0..whole.len() {
            let cut = decode(&whole[..length]);
            assert_eq!(cut.is_ok(), matches!(length, 16 | 44), "{length}: {cut:?}");
        }
        assert_eq!(decode(&[2; 16]), Err(SockDiagError::Family(2)));
    }
}
