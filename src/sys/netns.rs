//! Network namespaces: held by descriptor, told apart by device and inode, entered by threads that end.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};

/// A network namespace held open: it cannot vanish or be taken for another while this value lives.
#[derive(Debug)]
pub struct Netns {
    file: File,
    device: u64,
    inode: u64,
}

impl Netns {
    /// Opens a namespace file: `/proc/PID/ns/net`, `/run/netns/NAME` or any bind mount of one.
    ///
    /// # Errors
    /// The system's own; `InvalidInput` when the file is something else than a network namespace.
    pub fn open(path: &Path) -> io::Result<Self> {
        // O_NONBLOCK: what lies at a path that a user names might be a FIFO.
        let file = open_nonblocking(path)?;
        Self::from_file(file)
    }

    /// Takes an open namespace descriptor.
    ///
    /// # Errors
    /// `InvalidInput` when the descriptor is something else than a network namespace.
    pub fn from_file(file: File) -> io::Result<Self> {
        // NS_GET_NSTYPE (include/uapi/linux/nsfs.h) answers only on nsfs descriptors.
        const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
        // SAFETY: the ioctl takes no argument and only reads the descriptor, which `file` keeps open.
        let kind = unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&file), NS_GET_NSTYPE as _) };
        if kind != libc::CLONE_NEWNET {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a network namespace"));
        }
        let metadata = file.metadata()?;
        Ok(Self { file, device: metadata.dev(), inode: metadata.ino() })
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// The system's own.
    pub fn current() -> io::Result<Self> {
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// Device number of the nsfs mount and inode: together the identity of the namespace (an inode alone is not one).
    #[must_use]
    pub fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// The addresses of its interfaces, those of the loopback too, in the kernel's order (getifaddrs(3), which asks rtnetlink).
    ///
    /// # Errors
    /// The namespace cannot be entered, or the list not be had.
    pub fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        self.enter(|| {
            let interfaces = nix::ifaddrs::getifaddrs().map_err(io::Error::from)?;
            let ends = interfaces.filter_map(|interface| interface.address);
            let addresses = ends.filter_map(|end| {
                let ipv4 = end.as_sockaddr_in().map(|end| IpAddr::V4(end.ip()));
                ipv4.or_else(|| end.as_sockaddr_in6().map(|end| IpAddr::V6(end.ip())))
            });
            Ok(addresses.collect())
        })?
    }

    /// Whether the calling thread is in this namespace already, as a program that looks at its own pod from within.
    fn is_here(&self) -> bool {
        Self::current().is_ok_and(|here| here.identity() == self.identity())
    }

    /// Runs `work` inside the namespace, on a thread that is made for it and ends with it.
    ///
    /// Descriptors opened there stay in the namespace and may be used from anywhere afterwards. The calling thread never
    /// changes its namespace, so no early return and no panic can leave it in the wrong one.
    ///
    /// # Errors
    /// `setns` refused (CAP_SYS_ADMIN is needed, save for the namespace in which the program is anyway), or the thread could not be
    /// made.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        one_arena();
        thread::scope(|scope| {
            let inside = thread::Builder::new().name("netns".into()).spawn_scoped(scope, || {
                match setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET) {
                    // The new thread is where the calling one is.
                    Err(Errno::EPERM) if self.is_here() => {}
                    other => other.map_err(io::Error::from)?,
                }
                Ok(work())
            })?;
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Keeps glibc from making a heap of its own for the short-lived thread: reserving and trimming it costs more than the thread.
fn one_arena() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) takes integers only and may be called at any time.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

fn open_nonblocking(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)
}
