//! UNIX sockets that a path names, as unix_diag gives them: `include/uapi/linux/unix_diag.h`.

use super::SockDiagError;
use crate::model::UnixSocket;
use crate::wire::attribute::attributes;

const AF_UNIX: u8 = 1;
/// Bytes of `struct unix_diag_req` and `struct unix_diag_msg`; attributes follow the latter.
const REQUEST: usize = 24;
const MESSAGE: usize = 16;
/// `UDIAG_SHOW_NAME | UDIAG_SHOW_UID`.
const SHOW: u32 = 0x41;
/// `UNIX_DIAG_NAME` and `UNIX_DIAG_UID`.
const NAME: u16 = 0;
const UID: u16 = 7;
/// TCP's numbers for the states: not connected, and listening.
const CLOSED: u8 = 7;
const LISTENING: u8 = 10;

/// The payload of a [`super::BY_FAMILY`] request for those UNIX sockets that others can dial or send to.
#[must_use]
pub fn request() -> Vec<u8> {
    let mut request = vec![AF_UNIX, 0, 0, 0];
    request.extend((1_u32 << CLOSED | 1 << LISTENING).to_ne_bytes());
    request.extend(0_u32.to_ne_bytes());
    request.extend(SHOW.to_ne_bytes());
    request.resize(REQUEST, 0);
    request
}

/// Reads one answer; `None` for a socket without a path (nameless, or abstract).
///
/// # Errors
/// See [`SockDiagError`].
pub fn decode(payload: &[u8]) -> Result<Option<UnixSocket>, SockDiagError> {
    let head: &[u8; MESSAGE] = payload.first_chunk().ok_or(SockDiagError::Short(payload.len()))?;
    let [family, _, state, _, i0, i1, i2, i3, cookie @ ..] = *head;
    if family != AF_UNIX {
        return Err(SockDiagError::Family(family));
    }
    let (mut path, mut uid) = (String::new(), None);
    for attribute in attributes(payload.get(MESSAGE..).unwrap_or_default()) {
        let attribute = attribute?;
        match attribute.kind {
            // The name of an abstract one begins with a zero, and so is empty here.
            NAME => path = attribute.text(),
            UID => uid = attribute.u32(),
            _ => {}
        }
    }
    let inode = u32::from_ne_bytes([i0, i1, i2, i3]);
    let socket = UnixSocket { path, listening: state == LISTENING, uid, inode, cookie: super::cookie(cookie) };
    Ok(Some(socket).filter(|socket| !socket.path.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::attribute::Builder;

    fn message(name: &[u8]) -> Vec<u8> {
        let mut bytes = vec![1, 1, 10, 0];
        for word in [4711_u32, 9, 0] {
            bytes.extend(word.to_ne_bytes());
        }
        Builder::after(&bytes).put(0, name).put(7, &1337_u32.to_ne_bytes()).finish()
    }

    #[test]
    fn only_a_path_makes_it_a_socket_of_interest() {
        let socket = decode(&message(b"./etc/istio/proxy/XDS\0")).expect("a message").expect("a path");
        assert_eq!((socket.path.as_str(), socket.uid, socket.inode), ("./etc/istio/proxy/XDS", Some(1337), 4711));
        assert!(socket.listening);
        assert_eq!(decode(&message(b"\0abstract")), Ok(None));
        assert_eq!(decode(&message(b"")), Ok(None));
        assert_eq!(request().len(), REQUEST);
        let whole = message(b"/x\0");
        for length in 0..whole.len() {
            assert_eq!(decode(&whole[..length]).is_ok(), matches!(length, 16 | 23 | 24), "{length}");
        }
        assert_eq!(decode(&[2; 16]), Err(SockDiagError::Family(2)));
    }
}
