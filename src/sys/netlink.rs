//! Netlink transport: one request, all its answers. Framing only; attributes are read in `wire`.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::asked::{self, Question};

/// `NETLINK_ROUTE`: links and addresses.
pub const ROUTE: i32 = libc::NETLINK_ROUTE;
/// `NETLINK_SOCK_DIAG`: sockets.
pub const SOCK_DIAG: i32 = libc::NETLINK_SOCK_DIAG;
/// `NETLINK_NETFILTER`: nf_tables and conntrack.
pub const NETFILTER: i32 = libc::NETLINK_NETFILTER;

/// `NLM_F_REQUEST | NLM_F_DUMP`.
pub const DUMP: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
/// `NLM_F_REQUEST`: one object is asked for, one message (or an error) answers.
pub const GET: u16 = libc::NLM_F_REQUEST as u16;
/// `NLM_F_REQUEST | NLM_F_ACK`: an acknowledgement ends the answer.
pub const ACK: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;

const HEADER: usize = 16;
const BUFFER: usize = 64 * 1024;

/// What can go wrong between a netlink request and its last answer.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The kernel answered with an error number.
    #[error("the kernel answered: {}", io::Error::from_raw_os_error(*.0))]
    Kernel(i32),
    /// What was listed changed while it was being listed (`NLM_F_DUMP_INTR`); ask again.
    #[error("the list changed while it was read")]
    Interrupted,
    /// The socket failed.
    #[error("netlink socket: {0}")]
    Io(#[from] io::Error),
    /// A message that is cut short or contradicts itself.
    #[error("malformed netlink message: {0}")]
    Malformed(&'static str),
}

impl NetlinkError {
    /// The error number behind it, if it has one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Kernel(number) => Some(*number),
            Self::Io(error) => error.raw_os_error(),
            Self::Interrupted | Self::Malformed(_) => None,
        }
    }
}

/// One message of an answer.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// What follows the 16 bytes of `nlmsghdr`.
    pub payload: &'a [u8],
}

/// A netlink socket of the network namespace in which it was opened.
#[derive(Debug)]
pub struct NetlinkSocket {
    fd: OwnedFd,
    protocol: i32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl NetlinkSocket {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// The system's own; `EPROTONOSUPPORT` where the kernel lacks the protocol.
    pub fn open(protocol: i32) -> io::Result<Self> {
        asked::note(|| Question::Open { protocol });
        // SAFETY: socket(2) takes integers only.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just returned by socket(2) and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        connect_to_kernel(&fd)?;
        // A busy node's dump can outrun the default buffer; the forced size needs CAP_NET_ADMIN, which readers of rules have.
        let size: libc::c_int = 1 << 20;
        // SAFETY: the option value is a c_int that lives for the call, its size is given with it.
        unsafe {
            libc::setsockopt(
                fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVBUFFORCE,
                (&raw const size).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            );
        }
        // The kernel answers at once or never: a bound keeps a defect from hanging a person's terminal.
        let bound = libc::timeval { tv_sec: 10, tv_usec: 0 };
        // SAFETY: as above, with a timeval.
        unsafe {
            libc::setsockopt(
                fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVTIMEO,
                (&raw const bound).cast(),
                size_of::<libc::timeval>() as libc::socklen_t,
            );
        }
        Ok(Self { fd, protocol, sequence: 0, buffer: vec![0; BUFFER] })
    }

    /// Sends one request and hands every answer to `each` until the kernel says it is done.
    ///
    /// With [`DUMP`] the answer ends with `NLMSG_DONE`, with [`ACK`] with the acknowledgement, with [`GET`] after one message.
    ///
    /// # Errors
    /// See [`NetlinkError`]. After [`NetlinkError::Interrupted`] all answers were still delivered, but may contradict each other.
    pub fn request(
        &mut self,
        kind: u16,
        flags: u16,
        payload: &[u8],
        mut each: impl FnMut(Message<'_>),
    ) -> Result<(), NetlinkError> {
        self.request_until(kind, flags, payload, |message| {
            each(message);
            ControlFlow::Continue(())
        })
    }

    /// The same, until `each` has enough. The kernel still has the rest of the answer: the socket is of no further use then.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub fn request_until(
        &mut self,
        kind: u16,
        flags: u16,
        payload: &[u8],
        mut each: impl FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Result<(), NetlinkError> {
        asked::note(|| Question::Message { protocol: self.protocol, kind, payload: payload.to_vec() });
        self.sequence += 1;
        let request = frame(kind, flags, self.sequence, payload);
        self.send(&request)?;
        let dump = flags & DUMP == DUMP;
        let acknowledged = flags & ACK == ACK;
        let mut interrupted = false;
        loop {
            let length = self.receive()?;
            let mut rest = self.buffer.get(..length).ok_or(NetlinkError::Malformed("datagram"))?;
            while !rest.is_empty() {
                let (message, sequence, next) = split(rest)?;
                rest = next;
                if sequence != self.sequence {
                    continue; // left over from an earlier request that was given up
                }
                interrupted |= message.flags & libc::NLM_F_DUMP_INTR as u16 != 0;
                match i32::from(message.kind) {
                    libc::NLMSG_DONE => {
                        done_status(message.payload)?;
                        return if interrupted { Err(NetlinkError::Interrupted) } else { Ok(()) };
                    }
                    libc::NLMSG_ERROR => return acknowledgement(message.payload),
                    libc::NLMSG_NOOP => {}
                    _ => {
                        if each(message).is_break() || !dump && !acknowledged {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    /// Sends several messages in one datagram, as nf_tables wants its transactions, and waits for `acknowledgements` of them.
    ///
    /// Only the demo's lab uses it: readers never write.
    ///
    /// # Errors
    /// The first error that the kernel answers.
    pub fn transact(&mut self, messages: &[(u16, u16, Vec<u8>)]) -> Result<(), NetlinkError> {
        let mut datagram = Vec::new();
        let mut awaited = Vec::new();
        for (kind, flags, payload) in messages {
            self.sequence += 1;
            if flags & ACK == ACK {
                awaited.push(self.sequence);
            }
            datagram.extend(frame(*kind, *flags, self.sequence, payload));
        }
        self.send(&datagram)?;
        while !awaited.is_empty() {
            let length = self.receive()?;
            let mut rest = self.buffer.get(..length).ok_or(NetlinkError::Malformed("datagram"))?;
            while !rest.is_empty() {
                let (message, sequence, next) = split(rest)?;
                rest = next;
                if i32::from(message.kind) == libc::NLMSG_ERROR {
                    acknowledgement(message.payload)?;
                    awaited.retain(|waiting| *waiting != sequence);
                }
            }
        }
        Ok(())
    }

    fn send(&self, datagram: &[u8]) -> io::Result<()> {
        // SAFETY: pointer and length describe `datagram`, which lives for the call.
        let sent = unsafe { libc::send(self.fd.as_raw_fd(), datagram.as_ptr().cast(), datagram.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// One datagram into the buffer.
    fn receive(&mut self) -> Result<usize, NetlinkError> {
        loop {
            // SAFETY: MSG_TRUNC makes the call tell the whole length, and it writes at most `len` bytes into the buffer, and its length is given.
            let length = unsafe {
                libc::recv(self.fd.as_raw_fd(), self.buffer.as_mut_ptr().cast(), self.buffer.len(), libc::MSG_TRUNC)
            };
            if length < 0 {
                let error = io::Error::last_os_error();
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                return Err(error.into());
            }
            let length = usize::try_from(length).unwrap_or_default();
            if length > self.buffer.len() {
                // Dump datagrams are at most 32 KiB in every kernel so far; a larger one was cut, so it must not pass as whole.
                return Err(NetlinkError::Malformed("a datagram larger than the buffer"));
            }
            return Ok(length);
        }
    }
}

/// Lets nobody but the kernel (port 0) send to the socket: a process of the same namespace could otherwise answer in its place.
pub(super) fn connect_to_kernel(fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: sockaddr_nl is plain integers, for which zero is a value.
    let mut kernel: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    kernel.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    // SAFETY: the address is a sockaddr_nl that lives for the call, its size is given with it.
    let answer = unsafe {
        libc::connect(fd.as_raw_fd(), (&raw const kernel).cast(), size_of::<libc::sockaddr_nl>() as libc::socklen_t)
    };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn frame(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER + payload.len() + 3);
    message.extend(((HEADER + payload.len()) as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    message.extend(payload);
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

/// First message of a datagram, its sequence number, and what follows it.
pub(super) fn split(datagram: &[u8]) -> Result<(Message<'_>, u32, &[u8]), NetlinkError> {
    const CUT: NetlinkError = NetlinkError::Malformed("message header cut short");
    let header = datagram.first_chunk::<HEADER>().ok_or(CUT)?;
    let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
    let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
    let payload = datagram.get(HEADER..length).ok_or(CUT)?;
    let rest = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    let message = Message { kind: u16::from_ne_bytes([k0, k1]), flags: u16::from_ne_bytes([f0, f1]), payload };
    Ok((message, u32::from_ne_bytes([s0, s1, s2, s3]), rest))
}

/// `NLMSG_ERROR`: a negative error number, zero for an acknowledgement.
fn acknowledgement(payload: &[u8]) -> Result<(), NetlinkError> {
    let number = payload.first_chunk::<4>().ok_or(NetlinkError::Malformed("error message cut short"))?;
    match i32::from_ne_bytes(*number) {
        0 => Ok(()),
        number => Err(NetlinkError::Kernel(-number)),
    }
}

/// `NLMSG_DONE` may carry an error number of the dump.
fn done_status(payload: &[u8]) -> Result<(), NetlinkError> {
    match payload.first_chunk::<4>().map(|number| i32::from_ne_bytes(*number)) {
        Some(number) if number < 0 => Err(NetlinkError::Kernel(-number)),
        _ => Ok(()),
    }
}
