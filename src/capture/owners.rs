//! Finds the processes behind sockets: those of the namespace first, then every other until no socket is without an owner.
//!
//! sock_diag names a socket's inode and no process, so descriptors are looked through. Sockets of a namespace can belong to
//! processes that live elsewhere: a proxy of the node opens them in the pod's namespace, or they were passed over a UNIX socket.

use std::collections::HashSet;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use procfs::process::{Stat, Status};
use procfs::{FromBufRead, FromRead, ProcError};

use super::root_files::Users;
use crate::model::{Cause, Container, Process, Subject, Unread};
use crate::sys::descriptors::{Proc, ProcessFolder, is_gone};

/// All processes of the namespace with the `wanted` sockets that they hold, and every process elsewhere that holds one of those
/// that remain. In order of PID. Inside the namespace all owners of a socket are found, elsewhere the first.
///
/// `netns` is the namespace's device and inode. Kernel threads, which hold no descriptors, are left out. A process that ends
/// meanwhile is left out too; those that may not be looked at are counted in one
/// [`Unread`], if some socket was left without an owner; roots in which users' names could not be looked up in another.
#[must_use]
pub fn read_processes(
    proc_root: &Path,
    netns: (u64, u64),
    containers: &[Container],
    wanted: &HashSet<u32>,
) -> (Vec<Process>, Vec<Unread>) {
    let mut search = Search {
        containers,
        wanted,
        ownerless: wanted.clone(),
        found: Vec::new(),
        users: Users::default(),
        seen: 0,
        refused: 0,
        failure: None,
    };
    let walked = Proc::open(proc_root).and_then(|folder| search.walk(&folder, netns));
    let mut unread = Vec::new();
    if let Err(error) = walked {
        let cause = cause(&error);
        unread.push(search.unread(cause, format!("{}: {error}", proc_root.display())));
    } else if let Some(failure) = search.failure.as_ref().filter(|_| !search.ownerless.is_empty()) {
        // A process that hides from root (a sandbox's, say) is no matter as long as every socket has its owner.
        let error = format!("{} of {} processes: {failure}", search.refused, search.seen);
        unread.push(search.unread(cause(failure), error));
    }
    search.found.sort_by_key(|process| process.pid);
    unread.extend(search.users.name(&mut search.found));
    (search.found, unread)
}

/// Name of the container that a process belongs to: the deepest full ID (64 hexadecimal digits) in its `/proc/PID/cgroup` that is
/// one of the `containers`.
#[must_use]
pub fn container_of<'a>(cgroup: &str, containers: &'a [Container]) -> Option<&'a str> {
    const ID: usize = 64;
    let words = cgroup.rsplit(|character: char| !character.is_ascii_hexdigit()).filter(|word| word.len() == ID);
    words.filter_map(|id| containers.iter().find(|container| container.id == id)).map(|one| one.name.as_str()).next()
}

/// A walk over `/proc`.
struct Search<'a> {
    containers: &'a [Container],
    wanted: &'a HashSet<u32>,
    ownerless: HashSet<u32>,
    found: Vec<Process>,
    users: Users,
    seen: usize,
    refused: usize,
    failure: Option<io::Error>,
}

impl Search<'_> {
    fn walk(&mut self, folder: &Proc, netns: (u64, u64)) -> io::Result<()> {
        let pids = folder.pids()?;
        self.seen = pids.len();
        let mut elsewhere = Vec::new();
        for pid in pids {
            let looked = folder.process(pid).and_then(|process| {
                if process.netns()? != netns {
                    elsewhere.push(pid);
                    return Ok(());
                }
                self.inside(pid, &process)
            });
            self.note(looked);
        }
        for pid in elsewhere {
            if self.ownerless.is_empty() {
                break;
            }
            let looked = folder.process(pid).and_then(|process| self.outside(pid, &process));
            self.note(looked);
        }
        Ok(())
    }

    /// A process of the namespace: all its sockets, whether or not another one holds them too.
    fn inside(&mut self, pid: u32, process: &ProcessFolder) -> io::Result<()> {
        let Some(mut described) = self.describe(pid, process)? else {
            return Ok(());
        };
        let looked = process.sockets(|inode| {
            if self.wanted.contains(&inode) {
                self.ownerless.remove(&inode);
                described.sockets.push(inode);
            }
            ControlFlow::Continue(())
        });
        described.sockets.sort_unstable();
        described.sockets.dedup();
        // The process is listed even where its descriptors may not be looked at.
        self.found.push(described);
        looked
    }

    /// A process of another namespace: only sockets that nobody was found for so far.
    fn outside(&mut self, pid: u32, process: &ProcessFolder) -> io::Result<()> {
        let mut sockets = Vec::new();
        process.sockets(|inode| {
            if self.ownerless.remove(&inode) {
                sockets.push(inode);
            }
            if self.ownerless.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if sockets.is_empty() {
            return Ok(());
        }
        sockets.sort_unstable();
        let described = self.describe(pid, process);
        if let Ok(Some(described)) = described {
            self.found.push(Process { sockets, ..described });
            return Ok(());
        }
        // It ended between the two looks: somebody else may hold them.
        self.ownerless.extend(sockets);
        described.map(|_| ())
    }

    /// Who a process is; `None` for a kernel thread.
    fn describe(&mut self, pid: u32, process: &ProcessFolder) -> io::Result<Option<Process>> {
        // `include/linux/sched.h`
        const PF_KTHREAD: u32 = 0x0020_0000;
        let stat = stat(&process.read("stat")?)?;
        if stat.flags & PF_KTHREAD != 0 {
            return Ok(None);
        }
        let status = text(process.read("status")?);
        let status = Status::from_buf_read(status.as_bytes()).map_err(unreadable)?;
        let cgroup = text(process.read("cgroup")?);
        self.users.note(pid, status.euid, process);
        Ok(Some(Process {
            pid,
            start_time: stat.starttime,
            name: stat.comm,
            uid: status.euid,
            user: None,
            gid: status.egid,
            groups: status.groups,
            container: container_of(&cgroup, self.containers).map(str::to_owned),
            sockets: Vec::new(),
        }))
    }

    fn note(&mut self, looked: io::Result<()>) {
        if let Err(error) = looked
            && !is_gone(&error)
        {
            self.refused += 1;
            self.failure.get_or_insert(error);
        }
    }

    fn unread(&self, cause: Cause, error: String) -> Unread {
        let means = match self.ownerless.len() {
            0 => "the processes of the namespace are not known".to_owned(),
            1 => "the owner of 1 socket is not known".to_owned(),
            many => format!("the owners of {many} sockets are not known"),
        };
        Unread { source: "processes".to_owned(), error, means, subject: Subject::Processes, cause }
    }
}

fn cause(error: &io::Error) -> Cause {
    if error.kind() == io::ErrorKind::PermissionDenied { Cause::Permission } else { Cause::Failed }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// What `/proc/PID/stat` says. The command name in it is hostile: it may hold blanks, brackets and anything else.
fn stat(bytes: &[u8]) -> io::Result<Stat> {
    Stat::from_read(bytes).map_err(unreadable)
}

fn unreadable(error: ProcError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn containers() -> Vec<Container> {
        let named = |id: &str, name: &str| Container { name: name.into(), id: id.into(), ..Container::default() };
        vec![named(A, "app"), named(B, "istio-proxy")]
    }

    #[test]
    fn a_container_is_known_by_its_id_in_the_cgroup_path() {
        let of = |path: String| container_of(&path, &containers()).map(str::to_owned);
        assert_eq!(of(format!("0::/kubepods.slice/pod1/cri-containerd-{A}.scope\n")).as_deref(), Some("app"));
        assert_eq!(of(format!("3:cpu:/docker/{B}\n0::/docker/{B}\n")).as_deref(), Some("istio-proxy"));
        // A container inside a node that is a container itself.
        assert_eq!(of(format!("0::/docker/{A}/kubelet/pods/{B}\n")).as_deref(), Some("istio-proxy"));
        assert_eq!(of(format!("0::/docker/{A}0\n")), None);
        assert_eq!(of("0::/user.slice\n".into()), None);
    }

    #[test]
    fn a_hostile_command_name_changes_nothing() {
        let own = std::fs::read_to_string("/proc/self/stat").expect("its own state");
        let (before, after) = (own.split_once('(').expect("a name").0, own.rsplit_once(')').expect("a name").1);
        let parsed = stat(format!("{before}(a) S 1 (b\n){after}").as_bytes()).expect("a state");
        let real = stat(own.as_bytes()).expect("a state");
        assert_eq!(parsed.comm, "a) S 1 (b\n");
        assert_eq!((parsed.starttime, parsed.flags), (real.starttime, real.flags));
        assert!(stat(b"").is_err());
    }

    #[test]
    fn a_proc_that_is_not_there_is_said_once() {
        let (processes, unread) = read_processes(Path::new("/nonexistent"), (0, 0), &[], &HashSet::from([1]));
        assert!(processes.is_empty());
        assert_eq!(unread.len(), 1);
        assert_eq!(unread[0].means, "the owner of 1 socket is not known");
    }
}
