//! Many workloads, side by side: every one of the node, in two waves where counters are evidence; or files.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::thread;
use std::time::Instant;

use super::looked::{Judge, Looked};
use super::{Check, source};
use crate::capture::shared::Shared;
use crate::capture::sweep::side_by_side;
use crate::capture::{self, Occasion};
use crate::cli::commands::list::{nothing, silent_exits, tell_silent, unlisted};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;
use crate::cli::source::{self as sources, Source};
use crate::model::{Kind, Snapshot, Workload};
use crate::report::check::{Broken, Judged, Outcome};
use crate::target::{Filter, Listing, NodeNamespace, World};

/// What came of one, and its exit code.
type One = (Outcome, Exit);

/// All that files hold, each a workload.
pub(super) fn saved(arguments: &Check, judge: &Judge, files: Vec<PathBuf>, screen: &Screen) -> Looked {
    let source = source(arguments, screen);
    let each = |index: usize| -> Option<One> {
        let path = files.get(index)?;
        let asked = path.display().to_string();
        let unknown = || Snapshot::of("", 0, &asked, Workload::named(Kind::File, &asked));
        let judged = source.saved(path.clone()).and_then(|snapshot| judge.judged(&snapshot, None));
        Some(one(judged, unknown))
    };
    let ones = side_by_side(files.len(), usize::MAX, each).into_iter().flatten();
    let (outcomes, exits): (Vec<Outcome>, Vec<Exit>) = ones.unzip();
    let mut nodes = outcomes.iter().flatten().map(|judged| &judged.who.node);
    let node = nodes.next().filter(|first| nodes.all(|node| node == *first)).cloned();
    Looked { outcomes, exits, many: true, node, unlisted: Vec::new(), unlisted_exits: Vec::new() }
}

/// Every workload of the node that is wanted.
pub(super) fn live(arguments: &Check, judge: &Judge, screen: &Screen) -> Result<Looked, Failure> {
    let place = &arguments.place;
    let world = sources::world(&place.asking, true)?;
    let filter = Filter { namespace: place.namespace.clone(), selector: arguments.selector.clone(), all: false };
    let listing = Listing::take(&filter, &world)?;
    listing.tried.iter().for_each(|tried| screen.detail(&tried.to_string()));
    tell_silent(&listing, screen);
    if listing.is_empty() {
        // Nothing was checked: whoever counts on it must not take that for a pass.
        let stands_in = !listing.tried.iter().any(|tried| tried.outcome.answered());
        let message = nothing(place.namespace.as_ref(), arguments.selector.as_ref(), &listing, stands_in);
        let exit = silent_exits(&listing).next().unwrap_or(Exit::NotFound);
        return Err(Failure::new(exit, message).hint("what runs on this node: nslens list"));
    }
    let node = world.node.clone();
    let sweep = Sweep { arguments, judge, source: source(arguments, screen), listing: &listing, world: &world };
    let ones = sweep.all();
    let (outcomes, exits): (Vec<Outcome>, Vec<Exit>) = ones.into_iter().unzip();
    let by_guess = outcomes.iter().flatten().any(|judged| judged.who.workload.host_network);
    if by_guess && listing.node_namespace() == NodeNamespace::CallingThread {
        screen.note(sources::GUESSED_NODE);
    }
    let (unlisted, unlisted_exits) = (unlisted(&listing), silent_exits(&listing).collect());
    Ok(Looked { outcomes, exits, many: true, node: Some(node), unlisted, unlisted_exits })
}

struct Sweep<'a> {
    arguments: &'a Check,
    judge: &'a Judge,
    source: Source<'a>,
    listing: &'a Listing,
    world: &'a World,
}

impl Sweep<'_> {
    fn all(&self) -> Vec<One> {
        let count = self.listing.len();
        let shared = self.shared();
        if self.arguments.once {
            let each = |index: usize| {
                let judged = self.sample(index, &shared).and_then(|snapshot| self.judge.judged(&snapshot, None));
                one(judged, || self.who(index))
            };
            return side_by_side(count, usize::MAX, each);
        }
        // All of the first samples, then all of the second: they cost one interval together.
        let first = side_by_side(count, usize::MAX, |index| (self.sample(index, &shared), Instant::now()));
        drop(shared);
        let later = OnceLock::new();
        let second = |index: usize| {
            let (before, at) = first.get(index)?;
            let judged = match before {
                Ok(before) => {
                    thread::sleep(self.arguments.interval.saturating_sub(at.elapsed()));
                    self.again(index, before, later.get_or_init(|| self.shared()))
                        .and_then(|later| self.judge.judged(before, Some(&later)))
                }
                Err(failure) => Err(failure.clone()),
            };
            Some(one(judged, || self.who(index)))
        };
        side_by_side(count, usize::MAX, second).into_iter().flatten().collect()
    }

    /// What all have in common, as it is now.
    fn shared(&self) -> Shared {
        let World { node, proc_root, .. } = self.world;
        Shared::begin(self.source.parts, Occasion { node, now: sources::now(), asked: "", proc_root })
    }

    /// One sample.
    fn sample(&self, index: usize, shared: &Shared) -> Result<Snapshot, Failure> {
        let live = self.listing.open(index)?;
        let asked = typed(&live.workload);
        let world = self.world;
        let occasion = Occasion { node: &world.node, now: sources::now(), asked: &asked, proc_root: &world.proc_root };
        let (parts, process) = (self.source.parts, live.process.as_ref());
        Ok(capture::take_among(live.workload, &live.netns, process, parts, occasion, Some(shared))?)
    }

    /// Another one of the same workload.
    fn again(&self, index: usize, before: &Snapshot, shared: &Shared) -> Result<Snapshot, Failure> {
        let later = self.sample(index, shared)?;
        let same = |one: &Workload, other: &Workload| (one.netns, one.pid) == (other.netns, other.pid);
        if !same(&before.workload, &later.workload) {
            return Err(Failure::new(Exit::NotFound, "it was started anew while it was looked at"));
        }
        Ok(later)
    }

    /// Who it is, where no more is known.
    fn who(&self, index: usize) -> Snapshot {
        let workload = self.listing.workload(index).cloned();
        let workload = workload.unwrap_or_else(|| Workload::named(Kind::Process, "?"));
        Snapshot::of(&self.world.node, sources::now(), typed(&workload), workload)
    }
}

/// What came of one; one that failed costs only itself.
fn one(judged: Result<(Judged, Exit), Failure>, who: impl FnOnce() -> Snapshot) -> One {
    match judged {
        Ok((judged, exit)) => (Ok(judged), exit),
        Err(failure) => {
            let exit = if failure.exit == Exit::NotPermitted { Exit::NotPermitted } else { Exit::CannotTell };
            (Err(Broken { who: who(), error: failure.line() }), exit)
        }
    }
}

/// What one types to get at it.
fn typed(workload: &Workload) -> String {
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
