//! `inode/` and `ip/`: a namespace that is found among all of the node's, and named afterwards by who lives in it.

use std::io;
use std::net::IpAddr;

use super::error::{Candidate, TargetError};
use super::namespaces::{self, Holder, Survey};
use super::opening;
use super::proof::{self, Node};
use super::runtime::{Detail, Group, Runtimes, first_processes};
use super::world::{Live, World};
use super::{Query, listing, local};
use crate::model::{Container, Kind, Workload};
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
            let residents = Residents::ask(world);
            let candidates = several.iter().map(|(identity, holders)| {
                let inside = residents.as_ref().map(|residents| residents.of(*identity, world)).unwrap_or_default();
                let holders =
                    || holders.iter().take(3).map(|holder| holder.words(world)).collect::<Vec<_>>().join(", ");
                Candidate {
                    describe: owner(&inside).map_or_else(holders, |group| opening::describe(group, None)),
                    command_word: format!("inode/{}", identity.1),
                }
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
    let Some(residents) = Residents::ask(world) else { return local::live(plain, netns, process, node) };
    let inside = residents.of(identity, world);
    let owner = owner(&inside);
    let mut live = local::live(owner.map_or(plain, opening::told), netns, process, node);
    live.workload.containers = inside.into_iter().flat_map(|(_, containers)| containers).collect();
    live.tried = residents.runtimes.tried;
    live
}

/// Who lives where, by the runtimes' account and the processes' control groups.
struct Residents {
    runtimes: Runtimes,
    details: Vec<Detail>,
}

impl Residents {
    fn ask(world: &World) -> Option<Self> {
        let runtimes = Runtimes::ask(world).ok()?;
        let details = listing::details(&runtimes, &first_processes(&world.proc_root), |_| true);
        Some(Self { runtimes, details })
    }

    /// The groups of which a proven process is in the namespace, each with its containers.
    fn of(&self, netns: (u64, u64), world: &World) -> Vec<(&Group, Vec<Container>)> {
        let groups = self.runtimes.groups.iter().zip(&self.details);
        let inside = groups.filter_map(|(group, detail)| {
            let near = listing::pids(detail).any(|pid| opening::is_in(world, pid, netns));
            let containers = near.then(|| opening::containers(group, detail, None, world))?;
            let proven =
                containers.iter().filter_map(|container| container.pid).any(|pid| opening::is_in(world, pid, netns))
                    || opening::sandbox_is_in(group, detail, netns, world);
            proven.then_some((group, containers))
        });
        inside.collect()
    }
}

/// Of containers that share a namespace the one whose it is.
fn owner<'a>(inside: &[(&'a Group, Vec<Container>)]) -> Option<&'a Group> {
    match inside {
        [(one, _)] => Some(*one),
        several => several.iter().map(|(group, _)| *group).find(|group| group.pod.is_some() || group.shares.is_none()),
    }
}
