//! What stands around the rules and sockets of a workload, and only a judge of it asks for: how full its servers are, which of its
//! processes are somewhere else.

use std::collections::HashSet;
use std::path::Path;

use super::owners::{Crowd, astray};
use super::{guards, root_files};
use crate::model::{Descriptors, Process, Snapshot, SocketState, exact_text};
use crate::sys::descriptors::{Proc, ProcessFolder};
use crate::sys::netns::Netns;
use crate::sys::process::parse_start_time;

/// Servers of which descriptors are counted; a pod has some dozens of processes.
const MOST_SERVERS: usize = 4096;

/// Fills in what is known beside the processes that were read. What cannot be read is left as it is: nothing hangs on it alone.
pub(super) fn read_into(snapshot: &mut Snapshot, netns: &Netns, proc_root: &Path, crowd: Option<&Crowd>) {
    let Ok(folder) = Proc::open(proc_root) else { return };
    let host_root = proc_root.parent().unwrap_or(Path::new("/"));
    let listening: HashSet<u32> = snapshot
        .sockets
        .iter()
        .flatten()
        .filter(|socket| socket.state == SocketState::Listen && socket.inode != 0)
        .map(|socket| socket.inode)
        .collect();
    let entered = snapshot.workload.pid;
    let containers = &snapshot.workload.containers;
    let processes = snapshot.processes.get_or_insert_default();
    let serves = |process: &&mut Process| process.sockets.iter().any(|inode| listening.contains(inode));
    for process in processes.iter_mut().filter(serves).take(MOST_SERVERS) {
        process.descriptors = descriptors(&folder, process);
    }
    snapshot.programs = guards::programs(&folder, host_root, processes);
    let entered = processes.iter().find(|process| entered.is_none_or(|pid| process.pid == pid));
    snapshot.lsm = guards::lsm(&folder, host_root, entered);
    snapshot.lock_holder = guards::lock_holder(proc_root, host_root);
    let (resolvers, unread) = root_files::read_resolvers(proc_root, containers, netns.identity());
    snapshot.resolvers = resolvers;
    snapshot.unread.extend(unread);
    let known = processes.iter().map(|process| process.pid).collect();
    if let Ok(found) = astray(&folder, containers, &known, netns.identity(), crowd) {
        processes.extend(found);
        processes.sort_by_key(|process| process.pid);
    }
}

/// How many descriptors a process has; `None` where that cannot be told.
fn descriptors(folder: &Proc, process: &Process) -> Option<Descriptors> {
    let held = folder.process(process.pid).ok()?;
    let open = held.count_descriptors().ok()?;
    let limit = limit(&String::from_utf8_lossy(&held.read("limits").ok()?))?;
    is_same(&held, process).then_some(Descriptors { open, limit })
}

/// A small file of a process that was read before; `None` where that cannot be read, or another one has its number by now.
pub(super) fn same(folder: &Proc, process: &Process, name: &str) -> Option<String> {
    let held = folder.process(process.pid).ok()?;
    let bytes = held.read(name).ok()?;
    is_same(&held, process).then(|| exact_text(&bytes).into_owned())
}

fn is_same(held: &ProcessFolder, process: &Process) -> bool {
    let stat = held.read("stat").ok();
    stat.and_then(|stat| parse_start_time(&String::from_utf8_lossy(&stat))) == Some(process.start_time)
}

/// The soft limit in `/proc/PID/limits` (proc_pid_limits(5)): `Max open files  1024  524288  files`.
fn limit(text: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match rest.split_ascii_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_read() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max processes             7                    unlimited            processes \n\
                    Max open files            1024                 524288               files     \n";
        assert_eq!(limit(text), Some(1024));
        assert_eq!(
            limit("Max open files            unlimited            unlimited            files\n"),
            Some(u64::MAX)
        );
        assert_eq!((limit("Max open files"), limit("")), (None, None));
    }
}
