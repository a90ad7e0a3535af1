//! Many workloads: folders and archives of snapshots against each other, or against the node as it is.

use std::path::{Path, PathBuf};

use super::{Diff, Output, Views, of_equal};
use crate::analysis::diff::{self as differences, Paired, paired};
use crate::capture::sweep::side_by_side;
use crate::cli::commands::list::{of_many, silent_exits, unlisted};
use crate::cli::commands::unread_exit;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::folder;
use crate::cli::node::Node;
use crate::cli::screen::Screen;
use crate::model::{Snapshot, Workload};
use crate::report::diff::{self as report, Look, Pair};
use crate::report::document;
use crate::target::Query;

/// The workloads of one side, and those that could not be looked at.
#[derive(Default)]
struct Side {
    there: Vec<Snapshot>,
    broken: Vec<(String, Failure)>,
    /// What could not be listed.
    unread: Vec<serde_json::Value>,
    exits: Vec<Exit>,
}

/// Whether a target is a folder or an archive.
pub(super) fn is_meant(target: &str) -> bool {
    path_of(target).is_some_and(|path| matches!(folder::saved(&path), Ok(Some(_))))
}

fn path_of(target: &str) -> Option<PathBuf> {
    match Query::parse(target) {
        Ok(Query::Files(paths)) => match paths.as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// Compares them.
pub(super) fn run(arguments: &Diff, screen: &Screen) -> Result<Exit, Failure> {
    let views = arguments.views();
    let missing = || {
        Failure::new(Exit::Usage, "what to compare with is missing: a folder or an archive of nslens snapshot -A")
            .hint("nslens diff -A ./yesterday, or nslens diff ./yesterday ./today")
    };
    let before = saved(arguments, views, arguments.before.as_deref().ok_or_else(missing)?, screen)?;
    let after = match &arguments.after {
        _ if arguments.all_workloads => live(arguments, views, screen)?,
        Some(after) => saved(arguments, views, after, screen)?,
        None => return Err(missing()),
    };
    let workloads = |side: &'_ Side| side.there.iter().map(|snapshot| snapshot.workload.clone()).collect::<Vec<_>>();
    let (first, second) = (workloads(&before), workloads(&after));
    let Paired { both, gone, appeared } =
        paired(&first.iter().collect::<Vec<&Workload>>(), &second.iter().collect::<Vec<&Workload>>());
    let at = |(one, other): &(usize, usize)| Some((before.there.get(*one)?, after.there.get(*other)?));
    let both: Vec<(&Snapshot, &Snapshot)> = both.iter().filter_map(at).collect();
    let grounds: Vec<_> = both.iter().map(|(before, after)| differences::on_common_ground(before, after)).collect();
    let compare = |index: usize| {
        let (sides, grounds) = both.get(index).zip(grounds.get(index))?;
        Some(Pair::Both(Box::new(arguments.difference(views, *sides, (&grounds.0, &grounds.1)))))
    };
    let mut pairs: Vec<Pair<'_>> = side_by_side(both.len(), usize::MAX, compare).into_iter().flatten().collect();
    pairs.extend(gone.iter().filter_map(|at| before.there.get(*at)).map(Pair::Gone));
    pairs.extend(appeared.iter().filter_map(|at| after.there.get(*at)).map(Pair::Appeared));
    let broken = before.broken.iter().chain(&after.broken);
    pairs.extend(broken.map(|(who, failure)| Pair::Broken { who: who.clone(), error: failure.line() }));
    print(arguments, &pairs, (&before, &after), screen)?;
    let unread = both.iter().flat_map(|(before, after)| [before, after]);
    let unread = of_many(unread.map(|side| unread_exit(side, &views.subjects())));
    let equal = pairs.iter().map(|pair| of_equal(pair.equal()));
    Ok(Exit::of(equal.chain(unread).chain(after.exits.iter().copied())))
}

fn print(
    arguments: &Diff,
    pairs: &[Pair<'_>],
    (before, after): (&Side, &Side),
    screen: &Screen,
) -> Result<(), Failure> {
    let Screen { paint, width, .. } = *screen;
    let looks = Look { unread_rules: false, verbose: arguments.looks.verbose, paint, width };
    let mut nodes = before.there.iter().chain(&after.there).map(|snapshot| snapshot.node.as_str());
    let node = nodes.next().filter(|first| nodes.all(|node| node == *first));
    let sweep = || report::sweep(node, pairs, after.unread.clone());
    screen.print(&match arguments.output {
        Output::Json => document::print(sweep()),
        Output::Jsonl => {
            let documents = sweep().remove("documents").and_then(|documents| documents.as_array().cloned());
            documents.unwrap_or_default().iter().map(|one| document::line(one) + "\n").collect()
        }
        other => other.print(pairs, looks),
    })
}

/// What a folder or an archive holds.
fn saved(arguments: &Diff, views: Views, target: &str, screen: &Screen) -> Result<Side, Failure> {
    let foreign = || {
        Failure::new(Exit::Usage, format!("{target} is no folder and no archive of snapshots"))
            .hint("write one with nslens snapshot -A -f FOLDER")
    };
    let path = path_of(target).ok_or_else(foreign)?;
    if !Path::new(&path).exists() {
        return Err(Failure::new(Exit::NotFound, format!("{}: there is no such folder", path.display())));
    }
    let all = folder::saved(&path)?.ok_or_else(foreign)?;
    let mut side = Side::default();
    for one in folder::read(&all, &arguments.source(views, screen)) {
        match one.and_then(|snapshot| views.has_all(snapshot).map_err(|failure| (target.to_owned(), failure))) {
            Ok(snapshot) if arguments.is_wanted(&snapshot) => side.there.push(snapshot),
            Ok(_) => {}
            Err((name, failure)) => side.broken.push((name, failure)),
        }
    }
    Ok(side)
}

/// The node as it is.
fn live(arguments: &Diff, views: Views, screen: &Screen) -> Result<Side, Failure> {
    let node = Node::listed(&arguments.place, arguments.selector.as_ref(), screen)?;
    let parts = arguments.source(views, screen).parts;
    let shared = node.shared(parts);
    let sample = |index: usize| node.sample(index, parts, &shared).map_err(|failure| (node.who(index).asked, failure));
    let mut side = Side { unread: unlisted(&node.listing), ..Side::default() };
    side.exits.extend(silent_exits(&node.listing));
    for one in side_by_side(node.listing.len(), usize::MAX, sample) {
        match one {
            Ok(mut snapshot) => {
                if let Some(rulesets) = &mut snapshot.rulesets {
                    rulesets.retain(|ruleset| arguments.which.wanted().covers(ruleset));
                }
                side.there.push(snapshot);
            }
            Err((who, failure)) => side.broken.push((who, failure)),
        }
    }
    Ok(side)
}

impl Diff {
    /// Whether a saved workload is one that is asked about.
    fn is_wanted(&self, snapshot: &Snapshot) -> bool {
        let workload = &snapshot.workload;
        self.place.namespace.as_ref().is_none_or(|wanted| workload.namespace.as_ref() == Some(wanted))
            && self.selector.as_ref().is_none_or(|selector| selector.admits(&workload.labels))
    }
}
