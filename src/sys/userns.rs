//! Whose a user namespace is: what tells a rootless runtime's processes from everybody else's.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use libc::{Ioctl, c_int, uid_t};

/// `include/uapi/linux/nsfs.h`: `_IO(NSIO, 0x2)` and `_IO(NSIO, 0x4)`.
const NS_GET_PARENT: Ioctl = 0xb702;
const NS_GET_OWNER_UID: Ioctl = 0xb704;

/// `_IO(NSIO, 0x1)`: the user namespace that owns a namespace.
const NS_GET_USERNS: Ioctl = 0xb701;

/// User namespaces nest at most this deep (`kernel/user_namespace.c`).
const DEEPEST: usize = 33;

/// The users that own the process's user namespace and those around it, innermost first, the machine's own left out.
///
/// The owner is the user who made it (user_namespaces(7)), as this process counts users.
///
/// # Errors
/// `PermissionDenied` without CAP_SYS_PTRACE over the process; `NotFound` when it has ended.
pub fn owners(proc_root: &Path, pid: u32) -> io::Result<Vec<u32>> {
    let mut namespace = OwnedFd::from(File::open(proc_root.join(pid.to_string()).join("ns/user"))?);
    let mut owners = Vec::new();
    for _ in 0..DEEPEST {
        let Some(parent) = parent(&namespace)? else { break };
        owners.push(owner(&namespace)?);
        namespace = parent;
    }
    Ok(owners)
}

/// Device and inode of the user namespace that owns a network namespace; `None` where it is neither ours nor below it.
///
/// # Errors
/// The system's own.
pub fn owner_of(netns: BorrowedFd<'_>) -> io::Result<Option<(u64, u64)>> {
    // SAFETY: NS_GET_USERNS takes no argument and touches no memory of ours; it returns a new descriptor or -1.
    let owner = unsafe { libc::ioctl(netns.as_raw_fd(), NS_GET_USERNS) };
    if owner < 0 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::EPERM) { Ok(None) } else { Err(error) };
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    let owner = File::from(unsafe { OwnedFd::from_raw_fd(owner) }).metadata()?;
    Ok(Some((owner.dev(), owner.ino())))
}

/// Device and inode of our own user namespace.
///
/// # Errors
/// The system's own.
pub fn own() -> io::Result<(u64, u64)> {
    let own = std::fs::metadata("/proc/self/ns/user")?;
    Ok((own.dev(), own.ino()))
}

/// `None` for the first one, and for our own: what is around that is not shown (EPERM).
fn parent(namespace: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    // SAFETY: NS_GET_PARENT takes no argument and touches no memory of ours; it returns a new descriptor or -1.
    let parent = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_PARENT) };
    if parent < 0 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::EPERM) { Ok(None) } else { Err(error) };
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(parent) }))
}

fn owner(namespace: &OwnedFd) -> io::Result<u32> {
    let mut uid: uid_t = 0;
    // SAFETY: NS_GET_OWNER_UID writes one uid_t to where the argument points, which lives until the call is over.
    let done: c_int = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_OWNER_UID, &raw mut uid) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(uid) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_namespace_has_none_around_it() {
        assert_eq!(owners(Path::new("/proc"), std::process::id()).expect("own"), Vec::<u32>::new());
        assert!(owners(Path::new("/proc"), u32::MAX).is_err());
    }
}
