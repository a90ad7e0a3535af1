//! A target as it was typed becomes a snapshot: taken of a live workload, or read from files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::arguments::{Asking, Where, Which};
use super::exit::Exit;
use super::failure::Failure;
use super::screen::Screen;
use crate::archive::{self, Loaded};
use crate::capture::cross_check::Namespace;
use crate::capture::follow::HeldProcess;
use crate::capture::{self, Occasion, Parts};
use crate::model::{Family, Kind, Snapshot, Workload};
use crate::target::{
    self, Choice, Given, Live, NodeNamespace, Outcome, Query, RuntimeChoice, RuntimeEndpoint, TargetError, World,
};

/// Where crictl's settings lie, below the node's root.
const CRICTL: &str = "etc/crictl.yaml";
/// Where each user has a folder for what runs, likewise.
const USERS: &str = "run/user";
/// Where the node's name is kept, likewise.
const HOSTNAME: &str = "etc/hostname";

/// The end of the year 9999: what is later in a file is nonsense, and cannot be written as a date.
const MOST: u64 = 253_402_300_799;

/// Said where nothing better than the calling thread's namespace could be had for the node's.
pub const GUESSED_NODE: &str = "the node's own namespace could not be read; that of this program stands for it";

/// What a command needs to know to get at a snapshot.
#[derive(Debug)]
pub struct Source<'a> {
    /// Where to look.
    pub place: &'a Where,
    /// Which rules to keep.
    pub which: Which,
    /// Which parts to take.
    pub parts: Parts,
    /// For notes.
    pub screen: &'a Screen,
}

/// A live target, held so that it cannot turn into another one.
#[derive(Debug)]
pub struct Held {
    /// Its network namespace.
    pub netns: Namespace,
    /// The process through which that was found, if it was.
    pub process: Option<HeldProcess>,
    /// The `/proc` in which it was.
    pub proc_root: PathBuf,
}

/// What files hold, and what is to be said of a snapshot among them.
type Saved = (Snapshot, Option<String>);

impl Source<'_> {
    /// The snapshot of a target.
    ///
    /// # Errors
    /// A [`Failure`] that says what to do.
    pub fn snapshot(&self, asked: Option<&str>) -> Result<Snapshot, Failure> {
        self.taken(asked).map(|(snapshot, _)| snapshot)
    }

    /// The same with the namespace that was looked into; none for a file.
    ///
    /// # Errors
    /// A [`Failure`] that says what to do.
    pub fn taken(&self, asked: Option<&str>) -> Result<(Snapshot, Option<Namespace>), Failure> {
        self.held(asked).map(|(snapshot, held)| (snapshot, held.map(|held| held.netns)))
    }

    /// The same with all that is held of a live target, so that it can be looked at again; none for a file.
    ///
    /// # Errors
    /// A [`Failure`] that says what to do.
    pub fn held(&self, asked: Option<&str>) -> Result<(Snapshot, Option<Held>), Failure> {
        let asked = asked.ok_or_else(|| {
            Failure::new(Exit::Usage, "which workload? a target is missing")
                .hint("sudo nslens list names those of this node; a target is pod/NAME, container/NAME, an ID, pid/NUMBER, ip/ADDRESS or a file")
        })?;
        let query = Query::parse(asked).map_err(|error| {
            let failure = Failure::from(error);
            if Path::new(asked).exists() {
                failure.hint(format!("for the file of that name: ./{asked}"))
            } else {
                failure
            }
        })?;
        let (mut snapshot, held) = match query {
            Query::Stdin => (self.noted(self.text(asked, &[("standard input".to_owned(), standard_input()?)])?), None),
            Query::Files(paths) => {
                let read = |path: &PathBuf| Ok((path.display().to_string(), file(path)?));
                let files = several(paths).iter().map(read).collect::<Result<Vec<_>, Failure>>()?;
                (self.noted(self.text(asked, &files)?), None)
            }
            query => self.live(asked, &query).map(|(snapshot, held)| (snapshot, Some(held)))?,
        };
        if let Some(rulesets) = &mut snapshot.rulesets {
            rulesets.retain(|ruleset| self.which.wanted().covers(ruleset));
        }
        Ok((snapshot, held))
    }

    fn live(&self, asked: &str, query: &Query) -> Result<(Snapshot, Held), Failure> {
        let place = self.place;
        let world = world(&place.asking, query.asks_runtimes())?;
        let choice = Choice { namespace: place.namespace.clone(), container: place.container.clone() };
        if !query.names_workload() && choice != Choice::default() {
            self.screen.note(&format!("-n and -c pick pods and their containers; they say nothing of {asked}"));
        }
        let found = target::find(query, &choice, &world);
        let tried = found.as_ref().map_or_else(TargetError::tried, |live| &live.tried);
        tried.iter().for_each(|tried| self.screen.detail(&tried.to_string()));
        let live = found.map_err(|error| {
            let narrowed = matches!(error, TargetError::NotFound { .. }) && choice.namespace.is_some();
            let failure = Failure::from(error);
            let failure =
                if narrowed { failure.hint("with -n only pods of that namespace are looked for") } else { failure };
            also_there(asked, &world, failure)
        })?;
        if live.node_namespace == NodeNamespace::CallingThread && live.workload.host_network {
            self.screen.note(GUESSED_NODE);
        }
        self.told_by_proc(&live, &world);
        // Found by the kernel alone; that nobody is named there means something only where every runtime answered.
        for tried in live.tried.iter().filter(|tried| !query.names_workload() && tried.counts_as_failure()) {
            self.screen.note(&format!("{tried}; who lives there may be missing"));
        }
        let occasion = Occasion { node: &world.node, now: now(), asked, proc_root: &world.proc_root };
        let snapshot = capture::take(live.workload, &live.netns, live.process.as_ref(), self.parts, occasion)?;
        Ok((snapshot, Held { netns: live.netns, process: live.process, proc_root: world.proc_root }))
    }

    /// A live target once more, as it is now.
    ///
    /// # Errors
    /// It cannot be looked at any more.
    pub fn again(&self, before: &Snapshot, held: &Held) -> Result<Snapshot, Failure> {
        let Snapshot { node, asked, workload, .. } = before;
        let occasion = Occasion { node, now: now(), asked, proc_root: &held.proc_root };
        let taken = capture::take(workload.clone(), &held.netns, held.process.as_ref(), self.parts, occasion);
        Ok(taken?)
    }

    /// Says which facts no runtime told, unless the user wanted it so.
    fn told_by_proc(&self, live: &Live, world: &World) {
        let by_proc = live.tried.iter().any(|tried| matches!(tried.outcome, Outcome::Inferred { .. }));
        let answered = live.tried.iter().any(|tried| tried.outcome.answered());
        // A user's own runtime may have answered beside it, and told of this one.
        let told = answered && live.workload.inferred.is_empty();
        if by_proc && !world.proc_alone && !told {
            let mut by_source: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for (fact, source) in &live.workload.inferred {
                by_source.entry(source).or_default().push(fact);
            }
            let facts: Vec<String> =
                by_source.iter().map(|(source, facts)| format!("{} from {source}", facts.join(", "))).collect();
            let facts = if facts.is_empty() { String::new() } else { format!("; inferred: {}", facts.join("; ")) };
            let why = if answered { "no runtime told of it" } else { "no container runtime answered" };
            self.screen.note(&format!("{why}{facts}"));
        }
    }

    /// A snapshot, or saved rules; several files of saved rules make one workload.
    fn text(&self, asked: &str, files: &[(String, Vec<u8>)]) -> Result<Saved, Failure> {
        let (mut rulesets, mut unread) = (Vec::new(), Vec::new());
        for (name, bytes) in files {
            match archive::read(bytes, self.family(name)).map_err(|error| Failure::from(error).about(name))? {
                Loaded::Snapshot(snapshot) if files.len() == 1 => {
                    let taken =
                        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(snapshot.taken.min(MOST)));
                    let taken = if snapshot.taken == 0 { "unknown time".to_owned() } else { taken.to_string() };
                    let note = format!("{name} is a snapshot of {taken}, node {}", snapshot.node);
                    return Ok((Snapshot { asked: asked.to_owned(), ..*snapshot }, Some(note)));
                }
                Loaded::Snapshot(_) => {
                    let message =
                        format!("{name}: a snapshot is a whole workload, it cannot be put together with other files");
                    return Err(Failure::new(Exit::Usage, message));
                }
                Loaded::Rules(found, left_out) => {
                    rulesets.extend(found);
                    unread.extend(left_out);
                }
            }
        }
        let name = files.first().map_or("", |(name, _)| name.as_str());
        let mut snapshot = Snapshot::of(node(), 0, asked, Workload::named(Kind::File, name));
        snapshot.rulesets = Some(rulesets);
        snapshot.unread = unread;
        Ok((snapshot, None))
    }

    /// A file's own, after it was said of when it is.
    fn noted(&self, (snapshot, note): Saved) -> Snapshot {
        note.iter().for_each(|note| self.screen.note(note));
        snapshot
    }

    /// What a file holds, without a word about it: one of many.
    ///
    /// # Errors
    /// A [`Failure`] that names the file.
    pub fn saved(&self, path: PathBuf) -> Result<Snapshot, Failure> {
        let asked = path.display().to_string();
        let read = |path: &PathBuf| Ok((path.display().to_string(), file(path)?));
        let files = several(vec![path]).iter().map(read).collect::<Result<Vec<_>, Failure>>()?;
        self.text(&asked, &files).map(|(snapshot, _)| snapshot)
    }

    /// The same of bytes of an archive.
    ///
    /// # Errors
    /// A [`Failure`] that names the file.
    pub fn unpacked(&self, name: &str, bytes: Vec<u8>) -> Result<Snapshot, Failure> {
        self.text(name, &[(name.to_owned(), bytes)]).map(|(snapshot, _)| snapshot)
    }

    /// The family of a text that does not tell its own: by its name, else by `-6`.
    fn family(&self, name: &str) -> Family {
        let name = name.rsplit('/').next().unwrap_or(name);
        let named = name.contains("ip6") || name.contains(".v6.");
        if named || self.which.ipv6 { Family::Ip6 } else { Family::Ip }
    }
}

/// The node as the options show it; its runtimes only where they are to be asked.
///
/// # Errors
/// `--runtime-endpoint` is no socket.
pub fn world(asking: &Asking, asks_runtimes: bool) -> Result<World, Failure> {
    if let Some(root) = asking.host_root.as_deref().filter(|root| !root.join("proc/1").exists()) {
        let message = format!("{}: no node's root is mounted there: it has no proc/1", root.display());
        let failure = Failure::new(Exit::NotFound, message);
        return Err(failure.hint("in a debug pod: mount the node's / there (hostPath), and give the pod hostPID: true"));
    }
    let endpoints = if asks_runtimes { endpoints(asking)? } else { Vec::new() };
    let world = match &asking.host_root {
        Some(root) => World::here(node_below(root), endpoints).below(root),
        None => World::here(node(), endpoints),
    };
    Ok(World {
        timeout: asking.timeout,
        proc_alone: asking.runtime == RuntimeChoice::Proc,
        proc_instead: asking.runtime == RuntimeChoice::Auto && asking.runtime_endpoint.is_none(),
        ..world
    })
}

/// The runtimes' sockets, by the options, the environment, crictl's file and users' folders.
fn endpoints(asking: &Asking) -> Result<Vec<RuntimeEndpoint>, Failure> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (cri, docker, podman) =
        (variable("CONTAINER_RUNTIME_ENDPOINT"), variable("DOCKER_HOST"), variable("CONTAINER_HOST"));
    let root = asking.host_root.as_deref().unwrap_or(Path::new("/"));
    let crictl = std::fs::read_to_string(root.join(CRICTL)).ok();
    let users = users(&root.join(USERS));
    Ok(target::endpoints(&Given {
        choice: asking.runtime,
        endpoint: asking.runtime_endpoint.as_deref(),
        container_runtime_endpoint: cri.as_deref(),
        docker_host: docker.as_deref(),
        container_host: podman.as_deref(),
        crictl_yaml: crictl.as_deref(),
        host_root: asking.host_root.as_deref(),
        users: &users,
    })?)
}

/// Users' folders that may be looked into, by number.
fn users(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let mut users: Vec<u32> = entries.filter_map(number).collect();
    users.sort_unstable();
    let folders = users.into_iter().map(|user| folder.join(user.to_string()));
    folders.filter(|folder| std::fs::read_dir(folder).is_ok()).collect()
}

/// A word that was taken for a name may be a file's, or a namespace's.
fn also_there(asked: &str, world: &World, failure: Failure) -> Failure {
    let namespaces = world.netns_folders.iter().any(|folder| !asked.contains('/') && folder.join(asked).exists());
    let failure =
        if namespaces { failure.hint(format!("for the namespace of that name: netns/{asked}")) } else { failure };
    if Path::new(asked).exists() { failure.hint(format!("for the file of that name: ./{asked}")) } else { failure }
}

/// The machine's own name.
#[must_use]
pub fn node() -> String {
    nix::unistd::gethostname().map_or_else(|_| "unknown".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The name of the node whose root is mounted there; this program's own UTS namespace is another's.
fn node_below(root: &Path) -> String {
    let kept = std::fs::read_to_string(root.join(HOSTNAME)).unwrap_or_default();
    let name = kept.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    name.map_or_else(|| "unknown".to_owned(), str::to_owned)
}

/// Seconds after 1970-01-01 UTC.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A path with commas that is none, as several.
fn several(paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let [only] = paths.as_slice() else { return paths };
    match only.to_str() {
        Some(text) if text.contains(',') && !only.exists() => {
            text.split(',').filter(|path| !path.is_empty()).map(PathBuf::from).collect()
        }
        _ => paths,
    }
}

fn standard_input() -> Result<Vec<u8>, Failure> {
    limited(&mut io::stdin().lock()).map_err(|error| Failure::of(Exit::Failed, &error).about("standard input"))
}

/// The bytes of a file, if it is no folder; hardly more than the archive takes.
///
/// # Errors
/// A [`Failure`] that names the file.
pub fn file(path: &Path) -> Result<Vec<u8>, Failure> {
    let read = File::open(path).and_then(|mut file| {
        if file.metadata()?.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
        }
        limited(&mut file)
    });
    read.map_err(|error| {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::NotFound,
            io::ErrorKind::PermissionDenied => Exit::NotPermitted,
            io::ErrorKind::IsADirectory => Exit::Usage,
            _ => Exit::Failed,
        };
        Failure::of(exit, &error).about(format!("cannot read {}", path.display()))
    })
}

/// At most one byte more than the archive takes: enough for it to refuse.
fn limited(from: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(archive::MOST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
