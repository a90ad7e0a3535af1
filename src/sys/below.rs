//! Files below a process's root: their links, devices and file systems are the container's own, and not to be trusted.
//!
//! A path is resolved as the process itself would (`RESOLVE_IN_ROOT`), so that no link leads out of the root; links of `/proc`
//! that lead anywhere (`RESOLVE_NO_MAGICLINKS`) are not followed. What is found is looked at before it is opened for reading: to
//! open a FIFO lets its writer go on, to open a device can do anything, and to read some files of the kernel's own file systems
//! takes away what is read.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxFlags};

/// How often a path is resolved again whose folders are moved at that very moment (`EAGAIN` of openat2(2)).
const TRIES: usize = 8;

/// File systems whose files the kernel makes up (`include/uapi/linux/magic.h`): proc, sysfs, debugfs, tracefs, securityfs, cgroup,
/// cgroup2, bpf, pstore, efivarfs, selinux, smack, nsfs, binfmt_misc, mqueue, hugetlbfs, configfs, fusectl.
const MADE_UP: [u64; 18] = [
    0x9fa0,
    0x6265_6572,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0x0027_e0eb,
    0x6367_7270,
    0xcafe_4a11,
    0x6165_676c,
    0xde5e_81e4,
    0xf97c_ff8c,
    0x4341_5d53,
    0x6e73_6673,
    0x4249_4e4d,
    0x1980_0202,
    0x9584_58f6,
    0x6265_6570,
    0x6573_5543,
];

/// The root folder of a process, held.
#[derive(Debug)]
pub struct Root {
    folder: OwnedFd,
    identity: RootId,
}

/// What tells one root from another: the mount, and the folder in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RootId {
    mount: u64,
    device: (u32, u32),
    inode: u64,
}

/// What was read of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Its beginning, or all of it.
    pub bytes: Vec<u8>,
    /// Bytes that follow and were not read.
    pub left_out: u64,
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum BelowError {
    /// There is no file of that name, in the root's own view.
    #[error("there is no such file")]
    Absent,
    /// It is no regular file.
    #[error("it is {0}, not a regular file")]
    NotRegular(&'static str),
    /// It lies on a file system of the kernel's own, where reading may change things.
    #[error("a link leads to a file that the kernel makes up")]
    MadeUp,
    /// A loop of links, or one that leads out of the container's own files.
    #[error("its links lead round in a circle, or through /proc to somewhere else")]
    Links,
    /// The kernel has no openat2(2), which came with Linux 5.6.
    #[error("the kernel cannot open a file without leaving the container's root")]
    TooOld,
    /// The system's own.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Root {
    /// Opens `root` in a process's `/proc` folder. That asks nothing of the file system behind it, which might not answer.
    pub(super) fn open(process: &OwnedFd) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(process, c"root", flags, Mode::empty())?;
        let wanted = StatxFlags::INO | StatxFlags::MNT_ID;
        let found = rustix::fs::statx(&folder, c"", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, wanted)?;
        let device = (found.stx_dev_major, found.stx_dev_minor);
        Ok(Self { folder, identity: RootId { mount: found.stx_mnt_id, device, inode: found.stx_ino } })
    }

    /// Which root it is.
    #[must_use]
    pub fn identity(&self) -> RootId {
        self.identity
    }

    /// Reads a regular file, `limit` bytes at most. The file system may be the container's own program: whoever calls must be able
    /// to go on when it never answers.
    ///
    /// # Errors
    /// See [`BelowError`].
    pub fn read(&self, path: &str, limit: usize) -> Result<Contents, BelowError> {
        let found = self.find(path)?;
        let stat = rustix::fs::fstat(&found).map_err(io::Error::from)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(BelowError::NotRegular("a folder")),
            FileType::Fifo => return Err(BelowError::NotRegular("a FIFO")),
            FileType::Socket => return Err(BelowError::NotRegular("a socket")),
            FileType::CharacterDevice | FileType::BlockDevice => return Err(BelowError::NotRegular("a device")),
            _ => return Err(BelowError::NotRegular("something else")),
        }
        let system = rustix::fs::fstatfs(&found).map_err(io::Error::from)?;
        // The field's type differs between machines; the numbers have 32 bits.
        if MADE_UP.contains(&(system.f_type as u64 & 0xffff_ffff)) {
            return Err(BelowError::MadeUp);
        }
        let mut bytes = Vec::new();
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        reopen(&found)?.take(limit).read_to_end(&mut bytes)?;
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        let left_out = size.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(Contents { bytes, left_out })
    }

    /// Looks a path up without opening what it leads to.
    fn find(&self, path: &str) -> Result<OwnedFd, BelowError> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..TRIES {
            match rustix::fs::openat2(&self.folder, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Ok(found) => return Ok(found),
                Err(rustix::io::Errno::AGAIN) => {}
                Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Err(BelowError::Absent),
                Err(rustix::io::Errno::LOOP) => return Err(BelowError::Links),
                Err(rustix::io::Errno::NOSYS) => return Err(BelowError::TooOld),
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
        Err(io::Error::other("its folders were moved each time it was looked up").into())
    }
}

/// Opens for reading what was looked at, and nothing else: by its descriptor, not by its name again.
fn reopen(found: &OwnedFd) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", found.as_raw_fd());
    // O_NONBLOCK: somebody may hold a lease on the file, and would be waited for.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = match rustix::fs::open(&path, flags | OFlags::NOATIME, Mode::empty()) {
        // Its time of access is its owner's to keep, or that of one with CAP_FOWNER.
        Err(rustix::io::Errno::PERM) => rustix::fs::open(&path, flags, Mode::empty()),
        other => other,
    };
    Ok(File::from(opened?))
}
