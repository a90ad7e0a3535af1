//! `inode/` and `ip/`: a namespace that is found among all of the node's, and named afterwards by who lives in it.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use super::error::{Candidate, TargetError};
use super::namespaces::{self, Holder, Survey};
use super::opening;
use super::proof::{self, Node};
use super::runtime::{Group, Runtimes, first_processes};
use super::world::{Live, World};
use super::{Query, local};
use crate::model::{Kind, Workload};
use crate::sys::netns::Netns;
use crate::sys::process::Process;

/// `inode/NUMBER`: by device and inode a namespace is one; the number alone is enough, since all have one nsfs for device.
pub(super) fn by_inode(inode: u64, world: &World) -> Result<Live, TargetError> {
    find(&Query::Inode(inode), world, |netns, _| Ok(netns.1 == inode))
}

/// `ip/ADDRESS`: the namespace in which an interface has it.
pub(super) fn by_address(address: IpAddr, world: &World) -> Result<Live, TargetError> {
    find(&Query::Address(address), world, |identity, holders| {
        let (netns, _) = namespaces::open(world, identity, holders)?;
        Ok(netns.addresses()?.contains(&address))
    })
}

fn find(
    query: &Query,
    world: &World,
    fits: impl Fn((u64, u64), &[Holder]) -> io::Result<bool>,
) -> Result<Live, TargetError> {
    let asked = query.to_string();
    proof::same_numbers(&world.proc_root)?;
    let survey = Survey::take(world)
        .map_err(|source| TargetError::Failed { what: format!("read {}", world.proc_root.display()), source })?;
    let (mut hits, mut refusal) = (Vec::new(), None);
    for (identity, holders) in &survey.held {
        match fits(*identity, holders) {
            Ok(true) => hits.push((*identity, holders)),
            Ok(false) => {}
            // One that ended meanwhile is none of them; one that may not be entered may be the one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => refusal = Some(error),
        }
    }
    match hits.as_slice() {
        [(identity, holders)] => {
            let (netns, process) = namespaces::open(world, *identity, holders)
                .map_err(|error| TargetError::of_kernel(error, format!("open {asked}"), &asked))?;
            Ok(named(netns, process, world))
        }
        [] => Err(match refusal {
            Some(error) => {
                TargetError::of_kernel(error, format!("look for {asked} in every network namespace"), &asked)
            }
            // Where no right is missing, what still may not be looked at is guarded from everybody, and no pod.
            None if survey.denied > 0 && !crate::sys::caps::missing().is_empty() => {
                let what = format!("look for {asked} among {} processes", survey.denied);
                TargetError::of_kernel(io::ErrorKind::PermissionDenied.into(), what, &asked)
            }
            None => TargetError::NotFound { asked, tried: Vec::new(), near: Vec::new() },
        }),
        several => {
            let candidates = several.iter().map(|((_, inode), holders)| Candidate {
                describe: holders.iter().take(3).map(|holder| holder.words(world)).collect::<Vec<_>>().join(", "),
                command_word: format!("inode/{inode}"),
            });
            Err(TargetError::Ambiguous { asked, candidates: candidates.collect() })
        }
    }
}

/// The workload that lives in a namespace: the node, the one pod or container in it, or all that are in it under its number.
///
/// The namespace itself is what was asked for: runtimes that fail leave it without a name and are no failure.
fn named(netns: Netns, process: Option<Process>, world: &World) -> Live {
    let node = Node::read(world);
    let identity = netns.identity();
    if node.is(&netns) {
        return local::live(Workload::named(Kind::Host, world.node.clone()), netns, process, node);
    }
    let plain = Workload::named(Kind::Netns, identity.1.to_string());
    let Ok(runtimes) = Runtimes::ask(world) else { return local::live(plain, netns, process, node) };
    let first = first_processes(&world.proc_root);
    let inside = |group: &&Group| pids(group, &first).iter().any(|pid| opening::is_in(world, *pid, identity));
    let groups: Vec<&Group> = runtimes.groups.iter().filter(inside).collect();
    let owner = match groups.as_slice() {
        [one] => Some(*one),
        // Of containers that share a namespace the one whose it is.
        several => several.iter().copied().find(|group| group.pod.is_some() || group.shares.is_none()),
    };
    let mut live = local::live(owner.map_or(plain, opening::told), netns, process, node);
    for group in groups {
        if let Ok(detail) = runtimes.detail(group) {
            let containers = opening::containers(group, &detail, None, world);
            live.workload.containers.extend(containers);
        }
    }
    live.tried = runtimes.tried;
    live
}

fn pids(group: &Group, first: &BTreeMap<String, u32>) -> Vec<u32> {
    let sandbox = group.sandbox.iter().map(|sandbox| &sandbox.id);
    let ids = group.members.iter().map(|member| &member.id).chain(sandbox);
    ids.filter_map(|id| first.get(id).copied()).collect()
}
