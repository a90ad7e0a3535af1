//! Many workloads, side by side: every one of the node, in two waves where counters are evidence; or files.

use std::sync::OnceLock;
use std::thread;
use std::time::Instant;

use super::looked::{Judge, Looked};
use super::{Check, source};
use crate::capture::Parts;
use crate::capture::shared::Shared;
use crate::capture::sweep::side_by_side;
use crate::cli::commands::list::{silent_exits, unlisted};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::folder::Saved;
use crate::cli::node::Node;
use crate::cli::screen::Screen;
use crate::cli::source as sources;
use crate::model::{Kind, Snapshot, Workload};
use crate::report::check::{Broken, Judged, Outcome};
use crate::target::NodeNamespace;

/// What came of one, and its exit code.
type One = (Outcome, Exit);

/// All that files hold, each a workload.
pub(super) fn saved(arguments: &Check, judge: &Judge, files: &[Saved], screen: &Screen) -> Looked {
    let source = source(arguments, screen);
    let each = |index: usize| -> Option<One> {
        let file = files.get(index)?;
        let asked = file.name();
        let unknown = || Snapshot::of("", 0, &asked, Workload::named(Kind::File, &asked));
        let judged = file.read(&source).and_then(|snapshot| judge.judged(&snapshot, None));
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
    let node = Node::listed(&arguments.place, arguments.selector.as_ref(), screen)?;
    let sweep = Sweep { arguments, judge, parts: source(arguments, screen).parts, node: &node };
    let ones = sweep.all();
    let (outcomes, exits): (Vec<Outcome>, Vec<Exit>) = ones.into_iter().unzip();
    let by_guess = outcomes.iter().flatten().any(|judged| judged.who.workload.host_network);
    if by_guess && node.listing.node_namespace() == NodeNamespace::CallingThread {
        screen.note(sources::GUESSED_NODE);
    }
    let (unlisted, unlisted_exits) = (unlisted(&node.listing), silent_exits(&node.listing).collect());
    Ok(Looked { outcomes, exits, many: true, node: Some(node.world.node.clone()), unlisted, unlisted_exits })
}

struct Sweep<'a> {
    arguments: &'a Check,
    judge: &'a Judge,
    parts: Parts,
    node: &'a Node,
}

impl Sweep<'_> {
    fn all(&self) -> Vec<One> {
        let (node, parts) = (self.node, self.parts);
        let count = node.listing.len();
        let shared = node.shared(parts);
        if self.arguments.once {
            let each = |index: usize| {
                let judged = node.sample(index, parts, &shared).and_then(|snapshot| self.judge.judged(&snapshot, None));
                one(judged, || node.who(index))
            };
            return side_by_side(count, usize::MAX, each);
        }
        // All of the first samples, then all of the second: they cost one interval together.
        let first = side_by_side(count, usize::MAX, |index| (node.sample(index, parts, &shared), Instant::now()));
        drop(shared);
        let later = OnceLock::new();
        let second = |index: usize| {
            let (before, at) = first.get(index)?;
            let judged = match before {
                Ok(before) => {
                    thread::sleep(self.arguments.interval.saturating_sub(at.elapsed()));
                    self.again(index, before, later.get_or_init(|| node.shared(parts)))
                        .and_then(|later| self.judge.judged(before, Some(&later)))
                }
                Err(failure) => Err(failure.clone()),
            };
            Some(one(judged, || node.who(index)))
        };
        side_by_side(count, usize::MAX, second).into_iter().flatten().collect()
    }

    /// Another one of the same workload.
    fn again(&self, index: usize, before: &Snapshot, shared: &Shared) -> Result<Snapshot, Failure> {
        let later = self.node.sample(index, self.parts, shared)?;
        let same = |one: &Workload, other: &Workload| (one.netns, one.pid) == (other.netns, other.pid);
        if !same(&before.workload, &later.workload) {
            return Err(Failure::new(Exit::NotFound, "it was started anew while it was looked at"));
        }
        Ok(later)
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
