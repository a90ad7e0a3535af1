//! Netlink's multicast groups: what the kernel tells by itself, many messages for one system call, and whether some were lost.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::asked::{self, Question};
use super::netlink::{Message, connect_to_kernel, split};

/// Datagrams that one call takes at most.
const SLOTS: usize = 64;
/// Bytes of each: an event of connection tracking has some 300, and none of the groups here sends more than a page.
const SLOT: usize = 8 * 1024;

/// What one call gave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Received {
    /// Datagrams that were read.
    pub datagrams: usize,
    /// Nothing was left to be read.
    pub empty: bool,
    /// The kernel could not keep all that it had to tell (`ENOBUFS`). What was kept is read all the same; from then on nothing more
    /// is kept until all of it was read (`NETLINK_S_CONGESTED`, net/netlink/af_netlink.c).
    pub lost: bool,
}

/// A socket that belongs to some groups, in the network namespace in which it was opened.
#[derive(Debug)]
pub struct Subscription {
    fd: OwnedFd,
    protocol: i32,
    buffer: Vec<u8>,
    /// Bytes that the kernel keeps for it, as the kernel counts them.
    room: usize,
}

impl Subscription {
    /// Opens a socket in the calling thread's network namespace that belongs to no group yet, with room for so many bytes: beyond
    /// the machine's limit (`net.core.rmem_max`) with CAP_NET_ADMIN, else up to it.
    ///
    /// # Errors
    /// The system's own.
    pub fn open(protocol: i32, room: i32) -> io::Result<Self> {
        asked::note(|| Question::Open { protocol });
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: socket(2) takes integers only.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, protocol) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just returned by socket(2) and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        connect_to_kernel(&fd)?;
        if set(&fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, room).is_err() {
            // A smaller room loses events sooner, and says so then.
            set(&fd, libc::SOL_SOCKET, libc::SO_RCVBUF, room).ok();
        }
        let room = get(&fd, libc::SOL_SOCKET, libc::SO_RCVBUF).unwrap_or_default();
        Ok(Self { fd, protocol, buffer: vec![0; SLOTS * SLOT], room: usize::try_from(room).unwrap_or_default() })
    }

    /// Joins a group. What answers for it may be loaded by that: it has to be known to be there.
    ///
    /// # Errors
    /// `EPERM` where the group wants CAP_NET_ADMIN over the namespace.
    pub fn join(&self, group: u32) -> io::Result<()> {
        asked::note(|| Question::Join { protocol: self.protocol, group });
        let group = i32::try_from(group).map_err(|_| io::ErrorKind::InvalidInput)?;
        set(&self.fd, libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, group)
    }

    /// Bytes that the kernel keeps until they are read, its own burden for each message counted (some 800 bytes).
    #[must_use]
    pub fn room(&self) -> usize {
        self.room
    }

    /// Hands on what is there, without waiting. What is not from the kernel is passed over: with CAP_NET_ADMIN in the namespace
    /// anybody can send to a group.
    ///
    /// # Errors
    /// The system's own. Messages cut short count as lost.
    pub fn receive(&mut self, mut each: impl FnMut(Message<'_>)) -> io::Result<Received> {
        // SAFETY: all of these are plain integers and pointers, for which zero is a value.
        let (mut senders, mut parts, mut heads): (
            [libc::sockaddr_nl; SLOTS],
            [libc::iovec; SLOTS],
            [libc::mmsghdr; SLOTS],
        ) = unsafe { (std::mem::zeroed(), std::mem::zeroed(), std::mem::zeroed()) };
        let slots = self.buffer.chunks_exact_mut(SLOT);
        for (((sender, part), head), slot) in senders.iter_mut().zip(&mut parts).zip(&mut heads).zip(slots) {
            (part.iov_base, part.iov_len) = (slot.as_mut_ptr().cast(), slot.len());
            head.msg_hdr.msg_name = (&raw mut *sender).cast();
            head.msg_hdr.msg_namelen = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
            head.msg_hdr.msg_iov = &raw mut *part;
            head.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: every header points to a sender, a part and a slot of its own, which live for the call; their number is given.
        let count = unsafe {
            libc::recvmmsg(
                self.fd.as_raw_fd(),
                heads.as_mut_ptr(),
                SLOTS as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::ENOBUFS) => Ok(Received { lost: true, ..Received::default() }),
                Some(libc::EAGAIN | libc::EINTR) => Ok(Received { empty: true, ..Received::default() }),
                _ => Err(error),
            };
        };
        let mut received = Received { datagrams: count, empty: count < SLOTS, lost: false };
        for ((sender, head), slot) in senders.iter().zip(&heads).zip(self.buffer.chunks_exact(SLOT)).take(count) {
            if sender.nl_pid != 0 {
                continue;
            }
            let mut rest = slot.get(..head.msg_len as usize).unwrap_or_default();
            if head.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                received.lost = true;
                continue;
            }
            while !rest.is_empty() {
                let Ok((message, _, next)) = split(rest) else {
                    received.lost = true;
                    break;
                };
                each(message);
                rest = next;
            }
        }
        Ok(received)
    }
}

impl AsFd for Subscription {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn set(fd: &OwnedFd, level: i32, option: i32, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the option value is a c_int that lives for the call, its size is given with it.
    let answer = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn get(fd: &OwnedFd, level: i32, option: i32) -> io::Result<libc::c_int> {
    let (mut value, mut size): (libc::c_int, libc::socklen_t) = (0, size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: value and size live for the call, and the size is the value's.
    let answer = unsafe { libc::getsockopt(fd.as_raw_fd(), level, option, (&raw mut value).cast(), &raw mut size) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}
