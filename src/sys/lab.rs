//! What the demo's lab needs of the system: a namespace, child processes that cannot outlive their parent, sockets with choice.
//!
//! Only the lab uses this; nothing that looks at a pod does.

use std::ffi::CString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, connect, getsockopt, listen, setsockopt, socket,
    sockopt,
};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Gid, Pid, Uid, fork, getpid, getppid, setgid, setgroups, setuid};

/// Moves the calling process into a network namespace of its own, which ends with the last process in it.
///
/// # Errors
/// `PermissionDenied` without CAP_SYS_ADMIN; `InvalidInput` when other threads would stay behind.
pub fn enter_new_netns() -> io::Result<()> {
    require_one_thread()?;
    unshare(CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
}

/// A child made by [`spawn`].
#[derive(Debug)]
pub struct Child(Pid);

impl Child {
    /// Its number, as the caller counts.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.as_raw().unsigned_abs()
    }

    /// Ends the child at once and waits until nothing is left of it.
    pub fn end(self) {
        // Both can fail only when it is gone already, which is what is wanted.
        let _ = kill(self.0, Signal::SIGKILL);
        let _ = waitpid(self.0, None);
    }
}

/// Runs `work` in a child process that the kernel kills as soon as the calling process dies, however that happens.
///
/// # Errors
/// `InvalidInput` when the process has several threads (a forked copy of them would be unsound); the system's own.
pub fn spawn(work: impl FnOnce()) -> io::Result<Child> {
    require_one_thread()?;
    let parent = getpid();
    // SAFETY: there is one thread (checked above), so no lock can be held by a thread that the child does not have.
    match unsafe { fork() }.map_err(io::Error::from)? {
        ForkResult::Parent { child } => Ok(Child(child)),
        ForkResult::Child => {
            if die_with(parent).is_ok() {
                // A panic must not unwind into the caller's frames: in this copy of them nobody continues.
                let _ = catch_unwind(AssertUnwindSafe(work));
            }
            // SAFETY: _exit(2) takes an integer; it skips exit handlers, which belong to the parent.
            unsafe { libc::_exit(0) }
        }
    }
}

/// Gives up root for this user, with a group of the same number and no others.
///
/// # Errors
/// `PermissionDenied` without CAP_SETUID and CAP_SETGID.
pub fn become_user(id: u32) -> io::Result<()> {
    setgroups(&[]).map_err(io::Error::from)?;
    setgid(Gid::from_raw(id)).map_err(io::Error::from)?;
    let parent = getppid();
    setuid(Uid::from_raw(id)).map_err(io::Error::from)?;
    // A change of identity clears the signal that comes when the parent dies.
    die_with(parent)
}

/// Sets the command name under which the process shows in `/proc`; 15 bytes count.
pub fn set_name(name: &str) {
    // Only for people's eyes: a failure changes nothing.
    let _ = CString::new(name).map(|name| prctl::set_name(&name));
}

/// The index of an interface of the calling thread's namespace.
///
/// # Errors
/// `NotFound` and the like when there is none of that name.
pub fn interface_index(name: &str) -> io::Result<u32> {
    nix::net::if_::if_nametoindex(name).map_err(io::Error::from)
}

/// Whether this kernel speaks IPv6, as the given `/proc` tells.
#[must_use]
pub fn has_ipv6(proc_root: &Path) -> bool {
    proc_root.join("sys/net/ipv6").exists()
}

/// Listens on one address of one family: an IPv6 listener takes no IPv4 connections, so both can have the port.
///
/// # Errors
/// The system's own.
pub fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let fd = stream_socket(&address)?;
    if address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true).map_err(io::Error::from)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address)).map_err(io::Error::from)?;
    listen(&fd, Backlog::new(64).map_err(io::Error::from)?).map_err(io::Error::from)?;
    Ok(TcpListener::from(fd))
}

/// Connects from a chosen source address, where one is given.
///
/// # Errors
/// The system's own.
pub fn connect_from(source: Option<IpAddr>, destination: SocketAddr) -> io::Result<TcpStream> {
    let fd = stream_socket(&destination)?;
    if let Some(source) = source {
        bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(source, 0))).map_err(io::Error::from)?;
    }
    connect(fd.as_raw_fd(), &SockaddrStorage::from(destination)).map_err(io::Error::from)?;
    Ok(TcpStream::from(fd))
}

/// What the other side dialled before a rule redirected it (`SO_ORIGINAL_DST`).
///
/// # Errors
/// `NotFound` when the connection is not tracked.
pub fn original_destination(stream: &TcpStream) -> io::Result<SocketAddr> {
    if stream.local_addr()?.is_ipv6() {
        let raw = getsockopt(stream, sockopt::Ip6tOriginalDst).map_err(io::Error::from)?;
        let address = Ipv6Addr::from(raw.sin6_addr.s6_addr);
        return Ok(SocketAddrV6::new(address, u16::from_be(raw.sin6_port), 0, raw.sin6_scope_id).into());
    }
    let raw = getsockopt(stream, sockopt::OriginalDst).map_err(io::Error::from)?;
    let address = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
    Ok(SocketAddr::new(address.into(), u16::from_be(raw.sin_port)))
}

/// The standard input, when it is a connected socket: the line to the process that made this one.
///
/// # Errors
/// `NotConnected` when it is something else.
pub fn line_to_parent() -> io::Result<UnixStream> {
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream.peer_addr()?;
    Ok(stream)
}

/// Waits until something can be read from one of these, or its other end is closed, and tells which is the first such; `None`
/// when the time is over.
///
/// # Errors
/// The system's own.
pub fn wait_readable(descriptors: &[BorrowedFd<'_>], limit: Duration) -> io::Result<Option<usize>> {
    let mut wanted: Vec<_> = descriptors.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    loop {
        match poll(&mut wanted, limit) {
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(wanted.iter().position(|fd| fd.any().unwrap_or(true))),
        }
    }
}

/// Arms the kernel's signal for the parent's death, and makes sure that the parent did not die before that.
fn die_with(parent: Pid) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from)?;
    if getppid() == parent { Ok(()) } else { Err(io::Error::other("the parent has ended")) }
}

fn require_one_thread() -> io::Result<()> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads == 1 {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("the process has {threads} threads, one is allowed here")))
}

fn stream_socket(address: &SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).map_err(io::Error::from)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true).map_err(io::Error::from)?;
    Ok(fd)
}
