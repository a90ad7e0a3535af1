//! The processes of a `/proc`, and the sockets that their descriptors hold.
//!
//! Every file of a process is opened below one descriptor of its folder, which answers `ESRCH` or `ENOENT` once that very
//! process is gone: what is read through it is never another process's that has taken the number. A descriptor costs one
//! `readlinkat(2)` and nothing else, since a busy node has a million of them.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, RawDir};

use super::below::Root;

/// Bytes asked for at once from a folder.
const ENTRIES: usize = 32 * 1024;
/// More than what the small files of a process hold nearly everywhere.
const SMALL: usize = 4096;

/// A mounted `/proc`.
#[derive(Debug)]
pub struct Proc {
    folder: OwnedFd,
    counted: bool,
}

/// The folder of one process in a [`Proc`].
#[derive(Debug)]
pub struct ProcessFolder {
    folder: OwnedFd,
}

impl Proc {
    /// Opens the `/proc` that is mounted there.
    ///
    /// # Errors
    /// The system's own.
    pub fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(root, flags, Mode::empty())?;
        // Since Linux 6.2 the size of the folder of descriptors is their number; before it is 0. This process has at least one.
        let counted = rustix::fs::statat(&folder, c"self/fd", AtFlags::empty()).is_ok_and(|stat| stat.st_size > 0);
        Ok(Self { folder, counted })
    }

    /// Device and inode of a process's network namespace, as [`ProcessFolder::netns`] has it, in one call: for a first look, since
    /// the number may be another process's at the next.
    ///
    /// # Errors
    /// As there.
    pub fn netns_of(&self, pid: u32) -> io::Result<(u64, u64)> {
        let stat = rustix::fs::statat(&self.folder, path(pid, b"ns/net").as_c_str(), AtFlags::empty())?;
        Ok((stat.st_dev, stat.st_ino))
    }

    /// What `/proc/PID/cgroup` says, into a buffer that is used again and again: for a first look, since the number may be another
    /// process's at the next.
    ///
    /// # Errors
    /// `NotFound` when there is no such process.
    pub fn cgroup_of(&self, pid: u32, bytes: &mut Vec<u8>) -> io::Result<()> {
        read_file(&self.folder, path(pid, b"cgroup").as_c_str(), bytes)
    }

    /// Whether a process is known to have no descriptor, as kernel threads have none: one call tells since Linux 6.2.
    #[must_use]
    pub fn has_no_descriptors(&self, pid: u32) -> bool {
        let size = || rustix::fs::statat(&self.folder, path(pid, b"fd").as_c_str(), AtFlags::empty());
        self.counted && size().is_ok_and(|stat| stat.st_size == 0)
    }

    /// The numbers of all processes, in its order (ascending).
    ///
    /// # Errors
    /// The system's own.
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        let mut pids = Vec::new();
        each_entry(&self.folder, |name| {
            pids.extend(number(name.to_bytes()));
            ControlFlow::Continue(())
        })?;
        Ok(pids)
    }

    /// The folder of a process.
    ///
    /// # Errors
    /// `NotFound` when there is no such process.
    pub fn process(&self, pid: u32) -> io::Result<ProcessFolder> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(ProcessFolder { folder: rustix::fs::openat(&self.folder, path(pid, b"").as_c_str(), flags, Mode::empty())? })
    }
}

/// A path below the folder of a process, without an allocation: there are thousands of them.
struct PathOf {
    bytes: [u8; 24],
}

/// `PID/name`, or `PID/` alone; the name has at most 12 bytes.
fn path(pid: u32, name: &[u8]) -> PathOf {
    let mut bytes = [0; 24];
    let mut rest = bytes.as_mut_slice();
    // What does not fit is cut, and names nothing.
    write!(rest, "{pid}/").and_then(|()| rest.write_all(name)).ok();
    if let Some(last) = bytes.last_mut() {
        *last = 0;
    }
    PathOf { bytes }
}

impl PathOf {
    fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}

impl ProcessFolder {
    /// Device and inode of the process's network namespace (its main thread's).
    ///
    /// # Errors
    /// `PermissionDenied` without CAP_SYS_PTRACE over it; `NotFound` or `ESRCH` when the process has ended.
    pub fn netns(&self) -> io::Result<(u64, u64)> {
        // The link is magic: followed, it is the namespace itself.
        let stat = rustix::fs::statat(&self.folder, c"ns/net", AtFlags::empty())?;
        Ok((stat.st_dev, stat.st_ino))
    }

    /// Device and inode of the process's user namespace.
    ///
    /// # Errors
    /// As [`Self::netns`].
    pub fn user_namespace(&self) -> io::Result<(u64, u64)> {
        let stat = rustix::fs::statat(&self.folder, c"ns/user", AtFlags::empty())?;
        Ok((stat.st_dev, stat.st_ino))
    }

    /// The numbers of its threads, its own (the main thread's) among them.
    ///
    /// # Errors
    /// The system's own; `NotFound` or `ESRCH` when the process has ended.
    pub fn threads(&self) -> io::Result<Vec<u32>> {
        let folder = self.open_folder(c"task")?;
        let mut threads = Vec::new();
        each_entry(&folder, |name| {
            threads.extend(number(name.to_bytes()));
            ControlFlow::Continue(())
        })?;
        Ok(threads)
    }

    /// Device and inode of the network namespace of one of its threads, which may have entered another than the process's.
    ///
    /// # Errors
    /// As [`Self::netns`].
    pub fn thread_netns(&self, thread: u32) -> io::Result<(u64, u64)> {
        let stat = rustix::fs::statat(&self.folder, format!("task/{thread}/ns/net"), AtFlags::empty())?;
        Ok((stat.st_dev, stat.st_ino))
    }

    /// Its descriptors of network namespaces: the number of each, with the namespace's inode.
    ///
    /// # Errors
    /// As [`Self::sockets`].
    pub fn namespaces(&self) -> io::Result<Vec<(u32, u64)>> {
        let mut found = Vec::new();
        self.descriptors(|descriptor, target| {
            let inode = target.strip_prefix(b"net:[").and_then(|rest| rest.strip_suffix(b"]"));
            let inode = inode.and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
            found.extend(inode.and_then(|inode| Some((number(descriptor.to_bytes())?, inode))));
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// Opens a namespace by its link in the folder, such as `task/7/ns/net` or `fd/3`, which is the kernel's own and is followed.
    ///
    /// Another file may have taken the descriptor's number meanwhile, and to open a FIFO or a terminal changes something for those
    /// who have it: so what the link leads to is held first, looked at, and only then opened.
    ///
    /// # Errors
    /// `InvalidInput` when it leads to something else than a namespace; the system's own.
    pub fn open_namespace(&self, name: &str) -> io::Result<File> {
        let found = rustix::fs::openat(&self.folder, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let path = format!("/proc/self/fd/{}", found.as_raw_fd());
        if !rustix::fs::readlink(&path, Vec::new())?.to_bytes().starts_with(b"net:[") {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a network namespace"));
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        Ok(File::from(rustix::fs::open(&path, flags, Mode::empty())?))
    }

    fn open_folder(&self, name: &CStr) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.folder, name, flags, Mode::empty())?)
    }

    /// The process's root folder.
    ///
    /// # Errors
    /// `PermissionDenied` without CAP_SYS_PTRACE over it; `NotFound` or `ESRCH` when the process has ended.
    pub fn root(&self) -> io::Result<Root> {
        Root::open(&self.folder)
    }

    /// Reads a small file of the folder.
    ///
    /// # Errors
    /// The system's own; `NotFound` or `ESRCH` when the process has ended.
    pub fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_into(name, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads a small file of the folder into a buffer that is used again and again; what was in it is gone.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_into(&self, name: impl rustix::path::Arg, bytes: &mut Vec<u8>) -> io::Result<()> {
        read_file(&self.folder, name, bytes)
    }

    /// How many descriptors the process has open. The size of the folder, which Linux tells since 6.2, would count those too that are
    /// only reserved, as by a thread that waits in accept(2).
    ///
    /// # Errors
    /// As [`Self::sockets`].
    pub fn count_descriptors(&self) -> io::Result<u32> {
        let mut count = 0;
        each_entry(&self.open_folder(c"fd")?, |name| {
            count += u32::from(number(name.to_bytes()).is_some());
            ControlFlow::Continue(())
        })?;
        Ok(count)
    }

    /// Hands the inode of every socket among the process's descriptors to `each`, until that says to stop.
    ///
    /// # Errors
    /// `PermissionDenied` without CAP_SYS_PTRACE over the process; `NotFound` or `ESRCH` when it has ended.
    pub fn sockets(&self, mut each: impl FnMut(u32) -> ControlFlow<()>) -> io::Result<()> {
        self.descriptors(|_, target| socket_inode(target).map_or(ControlFlow::Continue(()), &mut each))
    }

    /// The same of one of its threads, which may have descriptors of its own (`CLONE_FILES` of unshare(2)).
    ///
    /// # Errors
    /// As [`Self::sockets`].
    pub fn thread_sockets(&self, thread: u32, mut each: impl FnMut(u32)) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(&self.folder, format!("task/{thread}/fd"), flags, Mode::empty())?;
        links(&folder, |_, target| {
            socket_inode(target).into_iter().for_each(&mut each);
            ControlFlow::Continue(())
        })
    }

    /// Hands every descriptor's number and the beginning of what its link says to `each`, until that says to stop.
    fn descriptors(&self, each: impl FnMut(&CStr, &[u8]) -> ControlFlow<()>) -> io::Result<()> {
        links(&self.open_folder(c"fd")?, each)
    }
}

/// Reads a small file into a buffer.
fn read_file(folder: &OwnedFd, name: impl rustix::path::Arg, bytes: &mut Vec<u8>) -> io::Result<()> {
    let file = rustix::fs::openat(folder, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    bytes.resize(bytes.capacity().max(SMALL), 0);
    let mut length = 0;
    loop {
        // Such files say of themselves that they are empty: their end shows only by reading.
        match rustix::io::read(&file, bytes.get_mut(length..).unwrap_or_default())? {
            0 => break,
            read => length += read,
        }
        if length == bytes.len() {
            bytes.resize(length * 2, 0);
        }
    }
    bytes.truncate(length);
    Ok(())
}

/// Hands every entry of a folder of descriptors and the beginning of what its link says to `each`, until that says to stop.
fn links(folder: &OwnedFd, mut each: impl FnMut(&CStr, &[u8]) -> ControlFlow<()>) -> io::Result<()> {
    let mut target = [0_u8; 32];
    each_entry(folder, |name| {
        // A descriptor that was closed meanwhile is of no interest; a longer target is neither socket nor namespace.
        match rustix::fs::readlinkat_raw(folder, name, &mut target[..]) {
            Ok(length) => target.get(..length).map_or(ControlFlow::Continue(()), |target| each(name, target)),
            Err(_) => ControlFlow::Continue(()),
        }
    })
}

/// Whether the error says that the process has ended.
#[must_use]
pub fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// `socket:[12345]`. Inodes of sockets have 32 bits (`get_next_ino`).
fn socket_inode(target: &[u8]) -> Option<u32> {
    number(target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?)
}

fn number(digits: &[u8]) -> Option<u32> {
    if !digits.first()?.is_ascii_digit() {
        return None;
    }
    str::from_utf8(digits).ok()?.parse().ok()
}

/// Hands the name of every entry of a folder to `each`, until that says to stop.
pub(super) fn each_entry(folder: &OwnedFd, mut each: impl FnMut(&CStr) -> ControlFlow<()>) -> io::Result<()> {
    let mut buffer = vec![MaybeUninit::uninit(); ENTRIES];
    let mut entries = RawDir::new(folder, &mut buffer);
    while let Some(entry) = entries.next() {
        if each(entry?.file_name()).is_break() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn own_sockets_are_found_in_the_real_proc() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a listener");
        let link = std::fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).expect("its link");
        let proc_root = Proc::open(Path::new("/proc")).expect("/proc");
        let pid = std::process::id();
        assert!(proc_root.pids().expect("the processes").contains(&pid));
        let own = proc_root.process(pid).expect("this process");
        let mut found = Vec::new();
        own.sockets(|inode| {
            found.push(format!("socket:[{inode}]"));
            ControlFlow::Continue(())
        })
        .expect("the descriptors");
        assert!(found.contains(&link.to_string_lossy().into_owned()), "{link:?} is not in {found:?}");
        let netns = own.netns().expect("the namespace");
        assert!(netns.1 > 0 && proc_root.netns_of(pid).expect("the namespace") == netns);
        assert!(own.user_namespace().expect("the namespace").1 > 0);
        assert!(!proc_root.has_no_descriptors(pid) && !proc_root.has_no_descriptors(u32::MAX));
        assert!(own.read("stat").expect("its state").starts_with(pid.to_string().as_bytes()));
        let mut buffer = vec![b'x'; 9000];
        for name in [c"cgroup", c"maps", c"cgroup"] {
            own.read_into(name, &mut buffer).expect("a file");
            let whole = own.read(name.to_str().expect("text")).expect("a file");
            assert!(!buffer.is_empty() && (name == c"maps" || buffer == whole), "{name:?}");
            buffer.shrink_to_fit();
        }
    }

    #[test]
    fn what_took_a_descriptors_number_is_not_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        let held = rustix::fs::open(&path, OFlags::PATH, Mode::empty()).expect("it is there");
        let own = File::open("/proc/self/ns/net").expect("the namespace");
        let proc_root = Proc::open(Path::new("/proc")).expect("/proc");
        let folder = proc_root.process(std::process::id()).expect("this process");
        let open = |number: i32| folder.open_namespace(&format!("fd/{number}"));
        assert_eq!(open(held.as_raw_fd()).expect_err("a FIFO").kind(), io::ErrorKind::InvalidInput);
        assert!(open(own.as_raw_fd()).is_ok());
    }

    #[test]
    fn a_missing_process_is_gone() {
        let proc_root = Proc::open(Path::new("/proc")).expect("/proc");
        assert!(is_gone(&proc_root.process(u32::MAX).expect_err("no such process")));
    }

    #[test]
    fn only_sockets_are_sockets() {
        assert_eq!(socket_inode(b"socket:[4294967295]"), Some(u32::MAX));
        for other in ["pipe:[1]", "socket:[]", "socket:[+1]", "socket:[1", "/tmp/socket:[1]", "socket:[4294967296]"] {
            assert_eq!(socket_inode(other.as_bytes()), None, "{other}");
        }
    }
}
