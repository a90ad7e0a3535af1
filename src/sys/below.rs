//! Files below a process's root: their links, devices and file systems are the container's own, and not to be trusted.
//!
//! A path is resolved as the process itself would (`RESOLVE_IN_ROOT`), so that no link leads out of the root; links of `/proc`
//! that lead anywhere (`RESOLVE_NO_MAGICLINKS`) are not followed. What is found is looked at before it is opened for reading: to
//! open a FIFO lets its writer go on, to open a device can do anything, and to read some files of the kernel's own file systems
//! takes away what is read.
//!
//! Nor is a file system entered that a program or another machine serves: who waits for an answer of such a one may not even be
//! ended by SIGKILL (`request_wait_answer`, fs/fuse/dev.c), and anybody with a user namespace can be its server. Where some are
//! mounted, the path is followed here, component by component, and none that is a mount point of theirs is looked up.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxFlags};

use super::mounts::{Mounts, is_served};

/// Links of a path that are followed, as many as the kernel does (path_resolution(7)).
const MOST_LINKS: usize = 40;

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
    /// The process's `mountinfo`, open; what it says is of the moment when it is read.
    mounts: File,
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
    /// A file system of this type is in the way, which somebody serves who might never answer.
    #[error(
        "it lies on a file system ({0}) that is served by a program or by another machine, which might never answer"
    )]
    Served(String),
    /// The root lies in a mount that neither the process nor process 1 sees.
    #[error("on what file system the root lies is not known")]
    Unknown,
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
        let identity = RootId { mount: found.stx_mnt_id, device, inode: found.stx_ino };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let mounts = File::from(rustix::fs::openat(process, c"mountinfo", flags, Mode::empty())?);
        Ok(Self { folder, identity, mounts })
    }

    /// Which root it is.
    #[must_use]
    pub fn identity(&self) -> RootId {
        self.identity
    }

    /// Reads a regular file, `limit` bytes at most. A file system may be slow or broken, or lie on top of one that is served:
    /// whoever calls must be able to go on when it never answers.
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
        if is_made_up(&found)? {
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
        let mounts = Mounts::read(&self.mounts)?;
        let kind = self.kind(&mounts)?;
        if is_served(&kind) {
            return Err(BelowError::Served(kind));
        }
        let served = mounts.served();
        if served.is_empty() {
            return self.look_up(path.as_bytes(), OFlags::empty(), ResolveFlags::NO_MAGICLINKS);
        }
        let path = self.follow(path, &served)?;
        self.look_up(&path, OFlags::empty(), ResolveFlags::NO_SYMLINKS)
    }

    /// The type of the root's own file system. A root that was changed by chroot(2) need not lie in a mount that the process sees.
    fn kind(&self, mounts: &Mounts) -> Result<String, BelowError> {
        let RootId { mount, device, .. } = self.identity;
        if let Some(kind) = mounts.kind(mount, device) {
            return Ok(kind.to_owned());
        }
        let nodes = File::open("/proc/1/mountinfo").and_then(|file| Mounts::read(&file));
        nodes.ok().and_then(|nodes| nodes.kind(mount, device).map(str::to_owned)).ok_or(BelowError::Unknown)
    }

    /// The path without links to which the given one leads, as the process would resolve it, none of the `served` mount points
    /// on its way.
    fn follow(&self, path: &str, served: &BTreeMap<String, String>) -> Result<Vec<u8>, BelowError> {
        let mut ahead = components(path.as_bytes());
        let (mut at, mut links) = (Vec::new(), 0);
        while let Some(name) = ahead.pop() {
            if name == b".." {
                at.truncate(at.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                continue;
            }
            let next = [at.as_slice(), b"/", &name].concat();
            if let Some(kind) = served.get(&*String::from_utf8_lossy(&next)) {
                return Err(BelowError::Served(kind.clone()));
            }
            let found = self.look_up(&next, OFlags::NOFOLLOW, ResolveFlags::NO_SYMLINKS)?;
            let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
            let stat = rustix::fs::statx(&found, c"", flags, StatxFlags::TYPE).map_err(io::Error::from)?;
            if FileType::from_raw_mode(stat.stx_mode.into()) != FileType::Symlink {
                at = next;
                continue;
            }
            links += 1;
            // What a link of /proc says need not be where it leads.
            if links > MOST_LINKS || is_made_up(&found)? {
                return Err(BelowError::Links);
            }
            let target = rustix::fs::readlinkat(&found, c"", Vec::new()).map_err(io::Error::from)?.into_bytes();
            if target.starts_with(b"/") {
                at.clear();
            }
            ahead.extend(components(&target));
        }
        Ok(if at.is_empty() { b"/".to_vec() } else { at })
    }

    /// Opens a path, `resolve` being what is not allowed on its way, for being looked at only.
    fn look_up(&self, path: &[u8], flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, BelowError> {
        let (flags, resolve) = (flags | OFlags::PATH | OFlags::CLOEXEC, resolve | ResolveFlags::IN_ROOT);
        for _ in 0..TRIES {
            match rustix::fs::openat2(&self.folder, path, flags, Mode::empty(), resolve) {
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

/// The components of a path, the last one first.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    names.rev().map(<[u8]>::to_vec).collect()
}

/// Whether the kernel makes up what lies there.
fn is_made_up(found: &OwnedFd) -> io::Result<bool> {
    let system = rustix::fs::fstatfs(found)?;
    // The field's type differs between machines; the numbers have 32 bits.
    Ok(MADE_UP.contains(&(system.f_type as u64 & 0xffff_ffff)))
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
