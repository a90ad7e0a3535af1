//! Mounts as a process sees them, and which of their file systems somebody serves who might never answer.
//!
//! The kernel alone answers for the list: nothing that is mounted is asked.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek};

/// Bytes of a list that are read. A mount namespace has 100000 mounts at most (`fs.mount-max`), nearly all have some hundred.
const MOST_BYTES: u64 = 16 << 20;

/// File systems that another machine, or automount(8), answers for. Whether it does, nobody knows beforehand. (virtiofs is none: it
/// is a virtual machine's own disk, and who makes the machine can stop all of it.)
const SERVED: [&str; 13] =
    ["9p", "afs", "autofs", "beegfs", "ceph", "cifs", "coda", "lustre", "nfs", "nfs4", "orangefs", "smb3", "smbfs"];

/// One line of `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    id: u64,
    device: (u32, u32),
    /// As seen from the process's root.
    point: String,
    kind: String,
}

/// All that a process can reach from its root.
#[derive(Debug)]
pub(super) struct Mounts(Vec<Mount>);

impl Mounts {
    /// Reads an open `/proc/PID/mountinfo` from its beginning.
    pub(super) fn read(mut file: &File) -> io::Result<Self> {
        file.rewind()?;
        let mut bytes = Vec::new();
        if file.take(MOST_BYTES).read_to_end(&mut bytes)? as u64 == MOST_BYTES {
            return Err(io::Error::other("it has too many mounts"));
        }
        let lines = String::from_utf8_lossy(&bytes);
        let mounts: Option<Vec<Mount>> = lines.lines().map(parse).collect();
        mounts.map(Self).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc/PID/mountinfo"))
    }

    /// The type of the file system of this mount, else of another mount of that device.
    pub(super) fn kind(&self, id: u64, device: (u32, u32)) -> Option<&str> {
        let found = self.0.iter().find(|mount| mount.id == id);
        found.or_else(|| self.0.iter().find(|mount| mount.device == device)).map(|mount| mount.kind.as_str())
    }

    /// Where somebody's file systems are mounted, hidden ones too, and their types. Bytes that are no text are all alike there.
    pub(super) fn served(self) -> BTreeMap<String, String> {
        self.0.into_iter().filter(|mount| is_served(&mount.kind)).map(|mount| (mount.point, mount.kind)).collect()
    }
}

/// Whether a program or another machine answers for file systems of this type. `fusectl` and `nfsd` are the kernel's own.
pub(super) fn is_served(kind: &str) -> bool {
    matches!(kind.split('.').next(), Some("fuse" | "fuseblk")) || SERVED.contains(&kind)
}

fn parse(line: &str) -> Option<Mount> {
    let (mount, rest) = line.split_once(" - ")?;
    let mut fields = mount.split(' ');
    let (id, _, device, _, point) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let (major, minor) = device.split_once(':')?;
    Some(Mount {
        id: id.parse().ok()?,
        device: (major.parse().ok()?, minor.parse().ok()?),
        point: unescape(point),
        kind: rest.split(' ').next()?.to_owned(),
    })
}

/// Blanks, tabs, line feeds and backslashes stand in mountinfo as octal numbers.
#[must_use]
pub fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_real_list_is_understood() {
        let file = File::open("/proc/self/mountinfo").expect("mountinfo");
        for _ in 0..2 {
            let mounts = Mounts::read(&file).expect("mounts");
            assert!(mounts.0.iter().any(|mount| (mount.point.as_str(), mount.kind.as_str()) == ("/proc", "proc")));
        }
    }

    #[test]
    fn those_that_somebody_serves_are_told_from_the_kernels_own() {
        let line = "36 35 0:51 /a /mnt\\040b rw,noatime master:1 shared:2 - fuse.sshfs me@there rw";
        let mount = parse(line).expect("a mount");
        let expected = Mount { id: 36, device: (0, 51), point: "/mnt b".into(), kind: "fuse.sshfs".into() };
        assert_eq!(mount, expected);
        let mounts = Mounts(vec![expected]);
        assert_eq!((mounts.kind(36, (0, 0)), mounts.kind(1, (0, 51))), (Some("fuse.sshfs"), Some("fuse.sshfs")));
        assert_eq!(mounts.kind(1, (0, 1)), None);
        for kind in ["fuse", "fuse.fuse-overlayfs", "fuseblk", "fuseblk.ntfs", "nfs", "nfs4", "cifs", "autofs"] {
            assert!(is_served(kind), "{kind}");
        }
        for kind in ["fusectl", "nfsd", "ext4", "overlay", "virtiofs", "tmpfs", "proc", "fusex"] {
            assert!(!is_served(kind), "{kind}");
        }
        for line in ["", "36 35 0:51 /a /b rw", "x 35 0:51 / / rw - ext4 x rw"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
