//! Programs of BPF that are attached to control groups (`BPF_PROG_QUERY` of bpf(2)). Asking takes CAP_NET_ADMIN and changes nothing.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};

// `include/uapi/linux/bpf.h`
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_F_QUERY_EFFECTIVE: u32 = 1;

/// `CGROUP2_SUPER_MAGIC` of `include/uapi/linux/magic.h`.
const CGROUP2: u64 = 0x6367_7270;

/// Programs that one hook may have (`BPF_CGROUP_MAX_PROGS` of `kernel/bpf/cgroup.c`).
const MOST: usize = 64;

/// The beginning of `struct bpf_prog_info`, up to the end of the program's name.
const INFO: usize = 80;
const NAME: std::ops::Range<usize> = 64..80;

/// The part of `union bpf_attr` that is used, in bytes.
const ATTRIBUTES: usize = 64;

/// The mounted hierarchy of control groups, version 2.
#[derive(Debug)]
pub struct Hierarchy {
    root: OwnedFd,
}

/// Arguments of the call: fields are put in by their place in the union.
#[repr(C, align(8))]
struct Attributes([u8; ATTRIBUTES]);

impl Attributes {
    fn new() -> Self {
        Self([0; ATTRIBUTES])
    }

    fn put(mut self, at: usize, bytes: &[u8]) -> Self {
        if let Some(space) = self.0.get_mut(at..at + bytes.len()) {
            space.copy_from_slice(bytes);
        }
        self
    }

    fn number(&self, at: usize) -> u32 {
        let bytes = self.0.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_ne_bytes)
    }
}

impl Hierarchy {
    /// Opens it where it is mounted.
    ///
    /// # Errors
    /// `InvalidInput` where something else is; the system's own.
    pub fn open(place: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(place, flags, Mode::empty())?;
        let kind = rustix::fs::fstatfs(&root)?.f_type as u64 & 0xffff_ffff;
        if kind != CGROUP2 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the hierarchy of control groups, version 2"));
        }
        Ok(Self { root })
    }

    /// Opens one of its groups by the path that `/proc/PID/cgroup` has of a process; one outside of the mounted part has `..` in it.
    /// Such a path begins at the root of the reader's cgroup namespace, which need not be where the hierarchy is mounted: so the
    /// process must be in the group.
    ///
    /// # Errors
    /// `NotFound` where it is gone, or the process is not in it; the system's own otherwise.
    pub fn group_of(&self, path: &str, pid: u32) -> io::Result<OwnedFd> {
        let below = match path.trim_start_matches('/') {
            "" => ".",
            below => below,
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let group = rustix::fs::openat2(&self.root, below, flags, Mode::empty(), resolve)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let inside = File::from(rustix::fs::openat(&group, c"cgroup.procs", flags, Mode::empty())?);
        let mut lines = BufReader::new(inside).lines().map_while(Result::ok);
        let pid = pid.to_string();
        if lines.any(|line| line == pid) { Ok(group) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

/// The numbers of the programs that run for processes of a control group at a hook (`enum bpf_attach_type`): its own and those of
/// the groups above it, in the order in which they run.
///
/// # Errors
/// `PermissionDenied` without CAP_NET_ADMIN; `InvalidInput` for a hook that the kernel does not know.
pub fn effective(group: BorrowedFd<'_>, hook: u32) -> io::Result<Vec<u32>> {
    let mut ids = [0_u32; MOST];
    let place = ids.as_mut_ptr() as u64;
    let mut attributes = Attributes::new()
        .put(0, &group.as_raw_fd().to_ne_bytes())
        .put(4, &hook.to_ne_bytes())
        .put(8, &BPF_F_QUERY_EFFECTIVE.to_ne_bytes())
        .put(16, &place.to_ne_bytes())
        .put(24, &(MOST as u32).to_ne_bytes());
    // SAFETY: `ids` has room for as many numbers as the attributes say, and lives for the call.
    unsafe { call(BPF_PROG_QUERY, &mut attributes)? };
    let count = usize::try_from(attributes.number(24)).unwrap_or(MOST);
    Ok(ids.into_iter().take(count.min(MOST)).collect())
}

/// The name of a program, which may be empty; at most 15 bytes.
///
/// # Errors
/// `PermissionDenied` without CAP_SYS_ADMIN; `NotFound` where the program is gone.
pub fn name(id: u32) -> io::Result<Vec<u8>> {
    // SAFETY: the command takes a number and no pointer.
    let opened = unsafe { call(BPF_PROG_GET_FD_BY_ID, &mut Attributes::new().put(0, &id.to_ne_bytes()))? };
    // SAFETY: the kernel has just made this descriptor for us, nobody else has it.
    let program = File::from(unsafe { OwnedFd::from_raw_fd(opened) });
    let mut info = [0_u8; INFO];
    let place = info.as_mut_ptr() as u64;
    let mut attributes = Attributes::new()
        .put(0, &program.as_fd().as_raw_fd().to_ne_bytes())
        .put(4, &(INFO as u32).to_ne_bytes())
        .put(8, &place.to_ne_bytes());
    // SAFETY: `info` has as many bytes as the attributes say, all zero, so that nothing is written beyond it, and lives for the call.
    unsafe { call(BPF_OBJ_GET_INFO_BY_FD, &mut attributes)? };
    let name = info.get(NAME).unwrap_or_default();
    Ok(name.iter().copied().take_while(|byte| *byte != 0).collect())
}

/// # Safety
/// Places that the attributes name must be as large as the command and the attributes say, and live for the call.
unsafe fn call(command: libc::c_int, attributes: &mut Attributes) -> io::Result<libc::c_int> {
    // SAFETY: as above; the kernel reads and writes no more of the attributes than the size given.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), ATTRIBUTES) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(libc::c_int::try_from(done).unwrap_or_default()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_hierarchy_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(Hierarchy::open(folder.path()).expect_err("a folder").kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn fields_stand_at_their_places() {
        let attributes = Attributes::new().put(4, &7_u32.to_ne_bytes()).put(ATTRIBUTES, &[1]);
        assert_eq!((attributes.number(0), attributes.number(4), attributes.number(ATTRIBUTES)), (0, 7, 0));
    }
}
