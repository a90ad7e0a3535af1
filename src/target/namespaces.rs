//! The network namespaces of the node, and what holds each: processes, names, mounts, single threads, open descriptors.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::world::World;
use crate::sys::descriptors::{Proc, ProcessFolder, is_gone};
use crate::sys::mounts::unescape;
use crate::sys::netns::Netns;
use crate::sys::process::Process;

/// What keeps a namespace in being.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holder {
    /// A process lives in it.
    Process(u32),
    /// A file in one of the folders of `ip netns`.
    Name(PathBuf),
    /// It is mounted there.
    Mount(PathBuf),
    /// A single thread has entered it.
    Thread { pid: u32, thread: u32 },
    /// A process has it open.
    Descriptor { pid: u32, descriptor: u32 },
}

impl Holder {
    /// In words, with the command name of the process where it still runs.
    pub(super) fn words(&self, world: &World) -> String {
        let (Self::Process(pid) | Self::Thread { pid, .. } | Self::Descriptor { pid, .. }) = self else {
            return self.to_string();
        };
        let name = Proc::open(&world.proc_root).and_then(|processes| processes.process(*pid)?.read("comm"));
        name.map_or_else(|_| self.to_string(), |name| format!("{self} ({})", String::from_utf8_lossy(&name).trim_end()))
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(pid) => write!(f, "process {pid}"),
            Self::Name(path) | Self::Mount(path) => write!(f, "mount {}", path.display()),
            Self::Thread { pid, thread } => write!(f, "thread {thread} of process {pid}"),
            Self::Descriptor { pid, descriptor } => write!(f, "descriptor {descriptor} of process {pid}"),
        }
    }
}

/// All namespaces that could be seen.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// What holds each, by device and inode; processes first, each kind in ascending order.
    pub(super) held: BTreeMap<(u64, u64), Vec<Holder>>,
    /// Processes that may not be looked at: they may hold others.
    pub(super) denied: usize,
}

impl Survey {
    /// Looks at every process, name and mount of the node, at every thread and every descriptor.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub(super) fn take(world: &World) -> io::Result<Self> {
        let mut survey = Self::default();
        let proc_root = Proc::open(&world.proc_root)?;
        let mut by_inode: BTreeMap<u64, Vec<Holder>> = BTreeMap::new();
        for pid in proc_root.pids()? {
            // One that ended meanwhile holds nothing any more.
            let Ok(process) = proc_root.process(pid) else { continue };
            if let Err(error) = survey.process(pid, &process, &mut by_inode)
                && !is_gone(&error)
            {
                survey.denied += 1;
            }
        }
        for holder in bound(world) {
            let (Holder::Name(path) | Holder::Mount(path)) = &holder else { continue };
            // Other files lie there too; only network namespaces open as such.
            if let Ok(netns) = Netns::open(path) {
                survey.note(netns.identity(), holder);
            }
        }
        // All network namespaces are inodes of one nsfs, whose device any of them tells.
        let device = survey.held.keys().next().map_or(0, |(device, _)| *device);
        for (inode, holders) in by_inode {
            holders.into_iter().for_each(|holder| survey.note((device, inode), holder));
        }
        for holders in survey.held.values_mut() {
            holders.sort_unstable();
            holders.dedup();
        }
        Ok(survey)
    }

    fn process(
        &mut self,
        pid: u32,
        process: &ProcessFolder,
        by_inode: &mut BTreeMap<u64, Vec<Holder>>,
    ) -> io::Result<()> {
        let own = process.netns()?;
        self.note(own, Holder::Process(pid));
        for thread in process.threads()?.into_iter().filter(|thread| *thread != pid) {
            // A thread that ended meanwhile is no loss.
            if let Ok(other) = process.thread_netns(thread)
                && other != own
            {
                self.note(other, Holder::Thread { pid, thread });
            }
        }
        for (descriptor, inode) in process.namespaces()? {
            by_inode.entry(inode).or_default().push(Holder::Descriptor { pid, descriptor });
        }
        Ok(())
    }

    fn note(&mut self, netns: (u64, u64), holder: Holder) {
        self.held.entry(netns).or_default().push(holder);
    }
}

/// Opens a namespace through whatever still holds it, and makes sure that it is this one.
///
/// # Errors
/// Nothing holds it any more, or none of its holders may be looked at.
pub(super) fn open(world: &World, wanted: (u64, u64), holders: &[Holder]) -> io::Result<(Netns, Option<Process>)> {
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for holder in holders {
        match through(world, holder) {
            Ok((netns, process)) if netns.identity() == wanted => return Ok((netns, process)),
            Ok(_) => {}
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn through(world: &World, holder: &Holder) -> io::Result<(Netns, Option<Process>)> {
    let below = |pid: u32, name: String| -> io::Result<(Netns, Option<Process>)> {
        let process = Proc::open(&world.proc_root)?.process(pid)?;
        Ok((Netns::from_file(process.open_namespace(&name)?)?, None))
    };
    match holder {
        Holder::Process(pid) => {
            let process = Process::hold(&world.proc_root, *pid)?;
            Ok((process.netns()?, Some(process)))
        }
        Holder::Name(path) | Holder::Mount(path) => Ok((Netns::open(path)?, None)),
        Holder::Thread { pid, thread } => below(*pid, format!("task/{thread}/ns/net")),
        Holder::Descriptor { pid, descriptor } => below(*pid, format!("fd/{descriptor}")),
    }
}

/// Names of `ip netns` and other mounts of namespaces, each path once.
fn bound(world: &World) -> Vec<Holder> {
    let mut holders: Vec<Holder> = Vec::new();
    for folder in &world.netns_folders {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        // One folder may be a link to the other.
        let folder = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.clone());
        holders.extend(entries.map(|entry| Holder::Name(folder.join(entry.file_name()))));
    }
    holders.sort_unstable();
    holders.dedup();
    let text = std::fs::read_to_string(world.proc_root.join("self/mountinfo")).unwrap_or_default();
    let named = |path: &Path| holders.iter().any(|holder| matches!(holder, Holder::Name(name) if name == path));
    let mounts: Vec<Holder> = mounts(&text).filter(|path| !named(path)).map(Holder::Mount).collect();
    holders.extend(mounts);
    holders
}

/// Where `/proc/PID/mountinfo` (proc(5)) says that network namespaces are mounted.
fn mounts(text: &str) -> impl Iterator<Item = PathBuf> {
    text.lines().filter_map(|line| {
        let (mount, rest) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (rest.starts_with("nsfs ") && root.starts_with("net:[")).then(|| PathBuf::from(unescape(point)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_network_namespaces_are_known_among_all_others() {
        let text = "24 1 8:1 / / rw - ext4 /dev/sda rw\n\
                    30 24 0:4 net:[4026532250] /run/netns/blue rw shared:1 - nsfs nsfs rw\n\
                    31 24 0:4 mnt:[4026532251] /run/mnt rw - nsfs nsfs rw\n\
                    32 24 0:4 net:[4026532252] /tmp/a\\040b rw - nsfs nsfs rw\n";
        assert_eq!(mounts(text).collect::<Vec<_>>(), [Path::new("/run/netns/blue"), Path::new("/tmp/a b")]);
    }

    #[test]
    fn the_own_namespace_is_held_by_this_process() {
        let world = World::here("node", Vec::new());
        let survey = Survey::take(&world).expect("a survey");
        let own = Netns::current().expect("own namespace").identity();
        let holders = survey.held.get(&own).expect("seen");
        assert!(holders.contains(&Holder::Process(std::process::id())), "{holders:?}");
        let (netns, _) = open(&world, own, holders).expect("open");
        assert_eq!(netns.identity(), own);
    }

    #[test]
    fn a_namespace_that_only_a_descriptor_holds_is_seen() {
        let world = World::here("node", Vec::new());
        let netns = Netns::current().expect("own namespace");
        let survey = Survey::take(&world).expect("a survey");
        let holders = survey.held.get(&netns.identity()).expect("seen");
        let is_ours = |holder: &&Holder| matches!(holder, Holder::Descriptor { pid, .. } if *pid == std::process::id());
        let ours: Vec<Holder> = holders.iter().filter(is_ours).cloned().collect();
        assert!(!ours.is_empty(), "{holders:?}");
        assert_eq!(open(&world, netns.identity(), &ours).expect("open").0.identity(), netns.identity());
    }
}
