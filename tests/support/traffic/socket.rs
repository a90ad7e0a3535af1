//! Sockets of anybody's: opened under other IDs, with marks, devices and addresses that are not the machine's own.

use std::ffi::OsString;
use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrStorage, bind, getsockname,
    getsockopt, listen, recvmsg, setsockopt, socket, sockopt,
};
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use nslens::model::Protocol;

/// What a socket has beside its ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Properties {
    /// Its file's owner, and the user of its routes.
    pub(crate) uid: u32,
    /// Its file's group.
    pub(crate) gid: u32,
    /// Further groups of who opened it.
    pub(crate) groups: Vec<u32>,
    /// `SO_MARK`
    pub(crate) mark: u32,
    /// `SO_BINDTODEVICE`
    pub(crate) device: Option<String>,
    /// `IP_TRANSPARENT`: may have any address.
    pub(crate) transparent: bool,
    /// `IPV6_V6ONLY`
    pub(crate) only_v6: bool,
    /// `SO_REUSEPORT`
    pub(crate) shares_port: bool,
}

/// A thread's own file system IDs decide who owns a socket (`sock_alloc`, `sock_alloc_file`); its capabilities stay.
fn owned<T>(properties: &Properties, open: impl FnOnce() -> T) -> T {
    let groups = |ids: &[u32]| {
        let ids: Vec<_> = ids.iter().map(|id| rustix::thread::Gid::from_raw(*id)).collect();
        rustix::thread::set_thread_groups(&ids).expect("groups");
    };
    groups(&properties.groups);
    setfsgid(Gid::from_raw(properties.gid));
    setfsuid(Uid::from_raw(properties.uid));
    let opened = open();
    setfsuid(Uid::from_raw(0));
    setfsgid(Gid::from_raw(0));
    groups(&[]);
    opened
}

/// A socket that does not wait, not yet bound.
pub(super) fn open(protocol: Protocol, ipv6: bool, properties: &Properties) -> nix::Result<OwnedFd> {
    let family = if ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let kind = if protocol == Protocol::Tcp { SockType::Stream } else { SockType::Datagram };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let opened = owned(properties, || socket(family, kind, flags, None))?;
    if properties.mark != 0 {
        setsockopt(&opened, sockopt::Mark, &properties.mark)?;
    }
    if let Some(device) = &properties.device {
        setsockopt(&opened, sockopt::BindToDevice, &OsString::from(device))?;
    }
    if properties.transparent {
        setsockopt(&opened, sockopt::IpTransparent, &true)?;
    }
    if ipv6 && properties.only_v6 {
        setsockopt(&opened, sockopt::Ipv6V6Only, &true)?;
    }
    if properties.shares_port {
        setsockopt(&opened, sockopt::ReusePort, &true)?;
    }
    Ok(opened)
}

/// The same, bound; a listener where it is of TCP, and telling where datagrams were sent to where not.
pub(super) fn open_receiver(protocol: Protocol, at: SocketAddr, properties: &Properties) -> nix::Result<OwnedFd> {
    let opened = open(protocol, at.is_ipv6(), properties)?;
    if protocol == Protocol::Tcp {
        setsockopt(&opened, sockopt::ReuseAddr, &true)?;
    }
    bind_to(&opened, at)?;
    if protocol == Protocol::Tcp {
        listen(&opened, Backlog::new(64)?)?;
    } else {
        setsockopt(&opened, sockopt::Ipv4OrigDstAddr, &true)?;
        if at.is_ipv6() {
            setsockopt(&opened, sockopt::Ipv6OrigDstAddr, &true)?;
        }
    }
    Ok(opened)
}

pub(super) fn bind_to(socket: &OwnedFd, at: SocketAddr) -> nix::Result<()> {
    bind(socket.as_raw_fd(), &SockaddrStorage::from(at))
}

/// The socket's own end.
pub(super) fn local(socket: &OwnedFd) -> Option<SocketAddr> {
    address(&getsockname(socket.as_raw_fd()).ok()?)
}

/// Its inode, by which it stands in lists.
pub(super) fn inode(socket: &OwnedFd) -> u64 {
    nix::sys::stat::fstat(socket).expect("an open file").st_ino
}

/// What the kernel has to say of a socket, once.
pub(super) fn error(socket: &OwnedFd) -> Option<Errno> {
    let error = getsockopt(socket, sockopt::SocketError).ok()?;
    (error != 0).then(|| Errno::from_raw(error))
}

/// With nothing more to be sent.
pub(super) fn abort(socket: OwnedFd) {
    let _ = setsockopt(&socket, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 });
    drop(socket);
}

/// What was dialled before it was translated (`SO_ORIGINAL_DST`).
pub(super) fn original(socket: &OwnedFd) -> Option<SocketAddr> {
    let four = || {
        let told = getsockopt(socket, sockopt::OriginalDst).ok()?;
        Some(SocketAddr::from((u32::from_be(told.sin_addr.s_addr).to_be_bytes(), u16::from_be(told.sin_port))))
    };
    let six = || {
        let told = getsockopt(socket, sockopt::Ip6tOriginalDst).ok()?;
        Some(SocketAddr::from((told.sin6_addr.s6_addr, u16::from_be(told.sin6_port))))
    };
    match local(socket)? {
        SocketAddr::V4(_) => four(),
        SocketAddr::V6(own) if own.ip().to_ipv4_mapped().is_some() => four(),
        SocketAddr::V6(_) => six(),
    }
}

/// An address of the IPv4 that it is, also where an IPv6 socket tells it.
pub(super) fn plain(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V6(six) => six.to_ipv4_mapped().map_or(IpAddr::V6(six), IpAddr::V4),
        four @ IpAddr::V4(_) => four,
    };
    SocketAddr::new(ip, address.port())
}

pub(super) fn address(told: &SockaddrStorage) -> Option<SocketAddr> {
    let four = told.as_sockaddr_in().map(|end| SocketAddr::from((end.ip(), end.port())));
    four.or_else(|| told.as_sockaddr_in6().map(|end| SocketAddr::from((end.ip(), end.port()))))
}

/// A datagram with its ends.
pub(super) struct Datagram {
    pub(super) bytes: Vec<u8>,
    pub(super) from: SocketAddr,
    pub(super) to: Option<SocketAddr>,
}

/// The next one that waits.
pub(super) fn datagram(socket: RawFd) -> Option<Datagram> {
    let mut bytes = [0; 64];
    let mut space = nix::cmsg_space!(libc::sockaddr_in, libc::sockaddr_in6);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let message = recvmsg::<SockaddrStorage>(socket, &mut parts, Some(&mut space), MsgFlags::MSG_DONTWAIT).ok()?;
    let mut to = None;
    for told in message.cmsgs().ok()? {
        match told {
            ControlMessageOwned::Ipv4OrigDstAddr(end) => {
                to = Some((u32::from_be(end.sin_addr.s_addr).to_be_bytes(), u16::from_be(end.sin_port)).into());
            }
            ControlMessageOwned::Ipv6OrigDstAddr(end) => {
                to.get_or_insert((end.sin6_addr.s6_addr, u16::from_be(end.sin6_port)).into());
            }
            _ => {}
        }
    }
    let (from, length) = (message.address.as_ref().and_then(address)?, message.bytes);
    Some(Datagram { bytes: bytes.get(..length)?.to_vec(), from: plain(from), to: to.map(plain) })
}
