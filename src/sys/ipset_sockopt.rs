//! The names of ipsets: `getsockopt` 83 of IPv4 sockets (`SO_IP_SET`, `include/uapi/linux/netfilter/ipset/ip_set.h`).
//!
//! It loads no module, unlike netlink: a kernel without ipset does not know the option. Whatever family rules are of, all sets of a
//! namespace are asked for here.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::asked::{self, Question};

const SO_IP_SET: libc::c_int = 83;
/// `IP_SET_OP_*`
const VERSION: u32 = 0x100;
const BY_INDEX: u32 = 7;
/// `IPSET_MAXNAMELEN`
const NAME: usize = 32;
/// Protocols of which the layout is known (`IPSET_PROTOCOL_MIN`, `IPSET_PROTOCOL`).
const KNOWN: std::ops::RangeInclusive<u32> = 6..=7;

/// A socket through which the names of ipsets are asked for.
#[derive(Debug)]
pub struct IpsetSocket {
    fd: OwnedFd,
    version: u32,
}

impl IpsetSocket {
    /// Opens the socket in the calling thread's network namespace, and agrees on the protocol as its tool does.
    ///
    /// # Errors
    /// The system's own; `ENOPROTOOPT` where the kernel has no ipset, `Unsupported` where it speaks another protocol.
    pub fn open() -> io::Result<Self> {
        // SAFETY: socket(2) takes integers only. A datagram socket serves and needs no CAP_NET_RAW.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just returned by socket(2) and nobody else owns it.
        let mut socket = Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, version: *KNOWN.end() };
        let mut question = [0_u8; 8];
        put(&mut question, 0, VERSION);
        put(&mut question, 4, socket.version);
        socket.get(&mut question)?;
        socket.version = word(&question, 4);
        if !KNOWN.contains(&socket.version) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "ipset speaks a protocol that is not known"));
        }
        Ok(socket)
    }

    /// The name of the set with this index; `None` where there is none. Any bytes but zero.
    ///
    /// # Errors
    /// `PermissionDenied` without CAP_NET_ADMIN over the namespace; the system's own otherwise.
    pub fn name(&self, index: u16) -> io::Result<Option<Vec<u8>>> {
        asked::note(|| Question::SetName { index });
        // `struct ip_set_req_get_set`
        let mut question = [0_u8; 8 + NAME];
        put(&mut question, 0, BY_INDEX);
        put(&mut question, 4, self.version);
        if let Some(field) = question.get_mut(8..10) {
            field.copy_from_slice(&index.to_ne_bytes());
        }
        self.get(&mut question)?;
        let name = question.get(8..).unwrap_or_default();
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        let name = name.get(..end).unwrap_or_default();
        Ok((!name.is_empty()).then(|| name.to_vec()))
    }

    fn get(&self, buffer: &mut [u8]) -> io::Result<()> {
        let mut length = buffer.len() as libc::socklen_t;
        let (fd, to) = (self.fd.as_raw_fd(), buffer.as_mut_ptr());
        // SAFETY: the kernel reads and writes at most `length` bytes of `buffer`, which is that long and lives for the call.
        let answer = unsafe { libc::getsockopt(fd, libc::IPPROTO_IP, SO_IP_SET, to.cast(), &raw mut length) };
        if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

fn put(buffer: &mut [u8], at: usize, value: u32) {
    if let Some(field) = buffer.get_mut(at..at + 4) {
        field.copy_from_slice(&value.to_ne_bytes());
    }
}

fn word(buffer: &[u8], at: usize) -> u32 {
    buffer.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}
