//! Processes of the workload's containers that no look at its network namespace shows: they live in another one, or in none any more.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Crowd, ID, chase, container_of, describe};
use crate::model::{Container, NetnsId, Process};
use crate::sys::descriptors::{Proc, is_gone};

/// Processes that are found at most: a container can make as many as it likes.
const MOST: usize = 1024;

/// Processes that one thread looks at before it takes the next ones.
const PART: usize = 64;

/// Processes of the `containers` that are none of the `known` ones and do not live in the namespace `own`: those of another one, and
/// those that have ended and nobody waited for. What cannot be looked at is left out.
///
/// # Errors
/// The processes cannot be listed.
pub(in crate::capture) fn astray(
    folder: &Proc,
    containers: &[Container],
    known: &HashSet<u32>,
    own: (u64, u64),
    crowd: Option<&Crowd>,
) -> io::Result<Vec<Process>> {
    if containers.iter().all(|container| container.pid.is_none()) {
        return Ok(Vec::new());
    }
    let mut pids = match crowd {
        Some(crowd) => containers.iter().flat_map(|container| crowd.of_container(&container.id)).copied().collect(),
        None => folder.pids()?,
    };
    pids.retain(|pid| !known.contains(pid));
    pids.sort_unstable();
    pids.dedup();
    let (parts, next) = (pids.chunks(PART).collect::<Vec<_>>(), AtomicUsize::new(0));
    let looked = chase::shared(parts.len(), || {
        let (mut found, mut buffer) = (Vec::new(), Vec::new());
        while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            found.extend(part.iter().filter_map(|pid| look(folder, *pid, containers, own, &mut buffer)));
        }
        found
    });
    let mut found: Vec<Process> = looked.into_iter().flatten().collect();
    found.sort_by_key(|process| process.pid);
    found.truncate(MOST);
    Ok(found)
}

/// Whether no path has another container's ID below that of one of these: what runs in a container inside is not the outer one's.
fn is_innermost(cgroup: &str, containers: &[Container]) -> bool {
    let own = |id: &str| containers.iter().any(|container| container.id == id);
    let last = |line: &str| {
        let mut words = line.rsplit(|character: char| !character.is_ascii_hexdigit());
        words.find(|word| word.len() == ID).map(own)
    };
    cgroup.lines().all(|line| last(line) != Some(false))
}

fn look(folder: &Proc, pid: u32, containers: &[Container], own: (u64, u64), buffer: &mut Vec<u8>) -> Option<Process> {
    folder.cgroup_of(pid, buffer).ok()?;
    let text = String::from_utf8_lossy(buffer);
    container_of(&text, containers).filter(|_| is_innermost(&text, containers))?;
    let process = folder.process(pid).ok()?;
    let netns = process.netns();
    let (mut described, _) = describe(pid, &process, containers).ok()??;
    // Held now, and described anew: the number may have been another one's before.
    described.container.as_ref()?;
    match netns {
        Ok(netns) if netns != own => {
            described.netns = Some(NetnsId { device: netns.0, inode: netns.1 });
            described.elsewhere = true;
            Some(described)
        }
        Err(error) if is_gone(&error) && described.state == Some('Z') => Some(described),
        // Made meanwhile, or not to be looked at.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_runs_in_a_container_inside_is_not_the_outer_ones() {
        let (outer, inner) = ("a".repeat(ID), "b".repeat(ID));
        let all = [Container { id: outer.clone(), ..Container::default() }];
        assert!(is_innermost(&format!("1:cpu:/\n0::/docker/{outer}/system.slice\n"), &all));
        assert!(!is_innermost(
            &format!("1:cpu:/docker/{outer}\n0::/docker/{outer}/kubepods/cri-{inner}.scope\n"),
            &all
        ));
    }

    #[test]
    fn without_a_running_container_nobody_is_looked_for() {
        let folder = Proc::open(Path::new("/proc")).expect("/proc");
        let ended = Container { id: "a".repeat(64), ..Container::default() };
        assert_eq!(astray(&folder, &[ended], &HashSet::new(), (0, 0), None).expect("a list"), []);
    }
}
