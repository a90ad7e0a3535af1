//! Every workload of the node that is wanted, one after the other or some at once.

use super::arguments::Where;
use super::commands::list::{nothing, silent_exits, tell_silent};
use super::exit::Exit;
use super::failure::Failure;
use super::screen::Screen;
use super::source as sources;
use crate::capture::shared::Shared;
use crate::capture::{self, Occasion, Parts};
use crate::model::{Kind, Snapshot, Workload};
use crate::target::{Filter, Listing, Selector, World};

/// A node and what of it is wanted.
#[derive(Debug)]
pub struct Node {
    /// The node.
    pub world: World,
    /// Its workloads.
    pub listing: Listing,
}

impl Node {
    /// Lists what is wanted.
    ///
    /// # Errors
    /// There is nothing of it: whoever counts on it must not take that for a pass.
    pub fn listed(place: &Where, selector: Option<&Selector>, screen: &Screen) -> Result<Self, Failure> {
        let world = sources::world(&place.asking, true)?;
        let filter = Filter { namespace: place.namespace.clone(), selector: selector.cloned(), all: false };
        let listing = Listing::take(&filter, &world)?;
        listing.tried.iter().for_each(|tried| screen.detail(&tried.to_string()));
        tell_silent(&listing, screen);
        if listing.is_empty() {
            let stands_in = !listing.tried.iter().any(|tried| tried.outcome.answered());
            let message = nothing(place.namespace.as_ref(), selector, &listing, stands_in);
            let exit = silent_exits(&listing).next().unwrap_or(Exit::NotFound);
            return Err(Failure::new(exit, message).hint("what runs on this node: nslens list"));
        }
        Ok(Self { world, listing })
    }

    /// What all have in common, as it is now.
    #[must_use]
    pub fn shared(&self, parts: Parts) -> Shared {
        let World { node, proc_root, .. } = &self.world;
        Shared::begin(parts, Occasion { node, now: sources::now(), asked: "", proc_root })
    }

    /// One of them, by its place in the list.
    ///
    /// # Errors
    /// It could not be opened or read.
    pub fn sample(&self, index: usize, parts: Parts, shared: &Shared) -> Result<Snapshot, Failure> {
        let live = self.listing.open(index)?;
        let asked = typed(&live.workload);
        let world = &self.world;
        let occasion = Occasion { node: &world.node, now: sources::now(), asked: &asked, proc_root: &world.proc_root };
        let process = live.process.as_ref();
        Ok(capture::take_among(live.workload, &live.netns, process, parts, occasion, Some(shared))?)
    }

    /// Who it is, where no more is known.
    #[must_use]
    pub fn who(&self, index: usize) -> Snapshot {
        let workload = self.listing.workload(index).cloned();
        let workload = workload.unwrap_or_else(|| Workload::named(Kind::Process, "?"));
        Snapshot::of(&self.world.node, sources::now(), typed(&workload), workload)
    }
}

/// What one types to get at it.
#[must_use]
pub fn typed(workload: &Workload) -> String {
    let Workload { kind, name, namespace, netns, .. } = workload;
    match (kind, namespace) {
        (Kind::Pod, Some(namespace)) => format!("pod/{name}.{namespace}"),
        (Kind::Pod, None) => format!("pod/{name}"),
        (Kind::Container, _) => format!("container/{name}"),
        (Kind::Process, _) => format!("pid/{name}"),
        (Kind::Host, _) => "host".to_owned(),
        (Kind::Netns, _) => netns.map_or_else(|| format!("netns/{name}"), |netns| format!("inode/{}", netns.inode)),
        (Kind::File, _) => name.clone(),
    }
}
