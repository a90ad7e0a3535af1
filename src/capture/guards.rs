//! Who watches or changes what processes may do beside the rules: programs of their control groups, security modules, the holder of the
//! lock that programs take which write rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::evidence::same;
use crate::model::{LockHolder, Process, exact_text};
use crate::sys::bpf::{self, Hierarchy};
use crate::sys::descriptors::Proc;

/// Where the lock lies, below the node's root (iptables, `XT_LOCK_NAME`).
const LOCK: &str = "run/xtables.lock";

/// Processes whose control groups are looked at.
const MOST_PROCESSES: usize = 256;

/// Programs that are named.
const MOST_PROGRAMS: usize = 256;

/// Bytes of a label.
const LONGEST_LABEL: usize = 256;

/// Hooks of `enum bpf_attach_type` (`include/uapi/linux/bpf.h`) at which programs of control groups see sockets and packets, as bpftool
/// names them.
const HOOKS: [(u32, &str); 21] = [
    (0, "cgroup_inet_ingress"),
    (1, "cgroup_inet_egress"),
    (2, "cgroup_inet_sock_create"),
    (3, "cgroup_sock_ops"),
    (8, "cgroup_inet4_bind"),
    (9, "cgroup_inet6_bind"),
    (10, "cgroup_inet4_connect"),
    (11, "cgroup_inet6_connect"),
    (12, "cgroup_inet4_post_bind"),
    (13, "cgroup_inet6_post_bind"),
    (14, "cgroup_udp4_sendmsg"),
    (15, "cgroup_udp6_sendmsg"),
    (19, "cgroup_udp4_recvmsg"),
    (20, "cgroup_udp6_recvmsg"),
    (21, "cgroup_getsockopt"),
    (22, "cgroup_setsockopt"),
    (29, "cgroup_inet4_getpeername"),
    (30, "cgroup_inet6_getpeername"),
    (31, "cgroup_inet4_getsockname"),
    (32, "cgroup_inet6_getsockname"),
    (34, "cgroup_inet_sock_release"),
];

/// The programs that run for these processes, each by hook, number and name; `None` where that cannot be told of some group, and
/// nothing was found.
pub(super) fn programs(folder: &Proc, host_root: &Path, processes: &[Process]) -> Option<Vec<String>> {
    let places = ["sys/fs/cgroup", "sys/fs/cgroup/unified"].map(|place| host_root.join(place));
    let hierarchy = places.iter().find_map(|place| Hierarchy::open(place).ok())?;
    let mut groups = BTreeMap::new();
    for process in processes.iter().filter(|process| !process.elsewhere).take(MOST_PROCESSES) {
        let Some(text) = same(folder, process, "cgroup") else { continue };
        let path = text.lines().find_map(|line| line.strip_prefix("0::"));
        groups.extend(path.map(|path| (path.to_owned(), process.pid)));
    }
    let (mut found, mut whole) = (BTreeSet::new(), !groups.is_empty());
    for (path, pid) in groups {
        let asked = hierarchy.group_of(&path, pid).map(|group| {
            let told = HOOKS.map(|(hook, word)| bpf::effective(group.as_fd(), hook).map(|ids| (word, ids)).ok());
            // A kernel without some hook has no programs there; one that answers for none tells nothing.
            told.iter().any(Option::is_some).then(|| told.into_iter().flatten().collect::<Vec<_>>())
        });
        match asked {
            Ok(Some(told)) => {
                found.extend(told.into_iter().flat_map(|(word, ids)| ids.into_iter().map(move |id| (word, id))));
            }
            _ => whole = false,
        }
    }
    let words = |(hook, id): (&str, u32)| {
        let name = bpf::name(id).unwrap_or_default();
        format!("{hook} {id} {}", exact_text(&name)).trim_end().to_owned()
    };
    let found: Vec<String> = found.into_iter().take(MOST_PROGRAMS).map(words).collect();
    (whole || !found.is_empty()).then_some(found)
}

/// What confines the process, or would confine any; `None` where nothing does.
pub(super) fn lsm(folder: &Proc, host_root: &Path, process: Option<&Process>) -> Option<String> {
    let file = |path: &str| fs::read_to_string(host_root.join(path)).ok();
    match file("sys/fs/selinux/enforce").as_deref().map(str::trim) {
        Some("1") => return Some("SELinux enforcing".to_owned()),
        Some(_) => return Some("SELinux permissive".to_owned()),
        None => {}
    }
    if !file("sys/module/apparmor/parameters/enabled").is_some_and(|enabled| enabled.starts_with('Y')) {
        return None;
    }
    // Of several security modules each has a folder of its own; older kernels have one file for the one that they have.
    let label = |name| same(folder, process?, name);
    let label = label("attr/apparmor/current").or_else(|| label("attr/current"))?;
    let label = label.trim_end_matches(['\n', '\0']);
    let confined = !label.is_empty() && label != "unconfined" && label.len() <= LONGEST_LABEL;
    confined.then(|| format!("AppArmor {label}"))
}

/// Who holds the lock at this moment. Locks of processes that this `/proc` does not show are not in its list.
pub(super) fn lock_holder(proc_root: &Path, host_root: &Path) -> Option<LockHolder> {
    let lock = fs::symlink_metadata(host_root.join(LOCK)).ok().filter(fs::Metadata::is_file)?;
    let text = fs::read_to_string(proc_root.join("locks")).ok()?;
    let device = lock.dev();
    let pid = holder(&text, (nix::libc::major(device), nix::libc::minor(device)), lock.ino())?;
    let name = fs::read(proc_root.join(pid.to_string()).join("comm")).ok();
    let name = name.map(|name| exact_text(name.strip_suffix(b"\n").unwrap_or(&name)).into_owned());
    Some(LockHolder { pid, name })
}

/// Who has a lock on that file, by the lines of `/proc/locks` (proc_locks(5)): `1: FLOCK  ADVISORY  WRITE 123 fe:00:5349444 0 EOF`.
/// With an arrow they are those of who waits.
fn holder(text: &str, (major, minor): (u32, u32), inode: u64) -> Option<u32> {
    let file = format!("{major:02x}:{minor:02x}:{inode}");
    text.lines().find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            [_, _, _, "WRITE", pid, at, ..] if *at == file => pid.parse().ok().filter(|pid| *pid > 0),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_told_from_who_waits() {
        let text = "1: POSIX  ADVISORY  READ  7 fe:00:5349444 0 EOF\n2: -> FLOCK  ADVISORY  WRITE 8 fe:00:5349444 0 EOF\n\
                    3: FLOCK  ADVISORY  WRITE 9 fe:00:53494 0 EOF\n4: FLOCK  ADVISORY  WRITE 10 fe:00:5349444 0 EOF\n\n4:\n";
        assert_eq!(holder(text, (0xfe, 0), 5_349_444), Some(10));
        assert_eq!((holder(text, (0xfe, 1), 5_349_444), holder("", (0, 0), 0)), (None, None));
    }
}
