//! The two small files below a container's root that are read: `etc/passwd` for the names of users, `etc/resolv.conf` for the
//! resolver.
//!
//! Both are the container's, so anything may stand there. File systems that a program or another machine serves are not asked; a
//! read that takes too long all the same is left to itself, and ends with this program.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::owners::container_of;
use crate::model::{Cause, Container, Process, Resolver, Subject, Unread};
use crate::sys::below::{BelowError, Contents, Root, RootId};
use crate::sys::descriptors::{ProcessFolder, is_gone};
use crate::sys::process::Process as Held;

const PASSWD: &str = "etc/passwd";
const RESOLV_CONF: &str = "etc/resolv.conf";

/// Bytes that are read of a file.
const MOST_BYTES: usize = 1 << 20;

/// How long one file may take, and all together.
const PATIENCE: Duration = Duration::from_secs(1);
const PATIENCE_FOR_ALL: Duration = Duration::from_secs(3);

/// Roots that are held at once, each by two descriptors, of which a process may have a thousand.
const MOST_ROOTS: usize = 256;

/// Characters of a user's name; useradd(8) allows 32. A longer one is no name.
const LONGEST_NAME: usize = 64;

/// Servers or domains that a resolver may have: glibc uses 3 of the former, and long had room for 6 of the latter.
const MOST_ENTRIES: usize = 64;

/// Bytes of a server or a domain (RFC 1035, 2.3.4).
const LONGEST_ENTRY: usize = 255;

/// Processes whose users are to have names, by the root in which these names are looked up.
#[derive(Debug, Default)]
pub(super) struct Users {
    roots: BTreeMap<RootId, (Root, Vec<Sought>)>,
    failures: Vec<(u32, Failure)>,
}

/// A process, and its user as its own user namespace counts.
#[derive(Debug, Clone, Copy)]
struct Sought {
    pid: u32,
    uid: u32,
}

/// Why a file is not known, or not all of it.
#[derive(Debug)]
struct Failure {
    cause: Cause,
    error: String,
}

impl Users {
    /// Takes note of a process and its effective user, as this program counts. Nothing of the root is read yet.
    pub(super) fn note(&mut self, pid: u32, uid: u32, folder: &ProcessFolder) {
        let sought = folder.read("uid_map").map(|map| inside(uid, &String::from_utf8_lossy(&map)));
        match sought.and_then(|uid| Ok((uid, folder.root()?))) {
            // A user that has no number inside has no name there.
            Ok((None, _)) => {}
            Ok((Some(uid), root)) => {
                if self.roots.len() >= MOST_ROOTS && !self.roots.contains_key(&root.identity()) {
                    let error = format!("the processes have more than {MOST_ROOTS} different roots");
                    self.failures.push((pid, Failure { cause: Cause::Failed, error }));
                    return;
                }
                let (_, all) = self.roots.entry(root.identity()).or_insert_with(|| (root, Vec::new()));
                all.push(Sought { pid, uid });
            }
            Err(error) if is_gone(&error) => {}
            Err(error) => self.failures.push((pid, error.into())),
        }
    }

    /// Gives the users their names, one look into each root, and says where that was not possible.
    pub(super) fn name(mut self, processes: &mut [Process]) -> Option<Unread> {
        let end = Instant::now() + PATIENCE_FOR_ALL;
        let mut named: HashMap<u32, String> = HashMap::new();
        for (root, all) in std::mem::take(&mut self.roots).into_values() {
            let first = all.first().map_or(0, |sought| sought.pid);
            let contents = match read(root, PASSWD, PATIENCE.min(end.saturating_duration_since(Instant::now()))) {
                Ok(contents) => contents,
                Err(Some(failure)) => {
                    self.failures.push((first, failure));
                    continue;
                }
                Err(None) => continue,
            };
            let names = names(&contents, &all.iter().map(|sought| sought.uid).collect());
            if contents.left_out > 0 && all.iter().any(|sought| !names.contains_key(&sought.uid)) {
                self.failures.push((first, Failure::too_long(&contents)));
            }
            named.extend(all.iter().filter_map(|sought| Some((sought.pid, names.get(&sought.uid)?.clone()))));
        }
        for process in processes {
            process.user = named.remove(&process.pid);
        }
        let (pid, failure) = self.failures.first()?;
        let others = match self.failures.len() - 1 {
            0 => String::new(),
            1 => "; likewise of 1 other".to_owned(),
            many => format!("; likewise of {many} others"),
        };
        Some(Unread {
            source: PASSWD.to_owned(),
            error: format!("that of process {pid}: {}{others}", failure.error),
            means: "users there have numbers only".to_owned(),
            subject: Subject::Metadata,
            cause: failure.cause,
        })
    }
}

/// The resolver of the process, as its root has it; without the file it has no servers of its own choice.
pub(super) fn read_resolver(process: &Held) -> (Option<Resolver>, Option<Unread>) {
    let found = process.root().map_err(Failure::from).and_then(|root| resolver_below(root, PATIENCE));
    match found {
        Ok(resolver) => (Some(resolver), None),
        Err(failure) => (None, Some(failure.about_resolver("the workload"))),
    }
}

/// The resolvers of the containers' first processes, by the containers' names: of those that share a root only the first's. One that
/// is another's by now is passed over.
pub(super) fn read_resolvers(
    proc_root: &Path,
    containers: &[Container],
    netns: (u64, u64),
) -> (Vec<(String, Resolver)>, Vec<Unread>) {
    let end = Instant::now() + PATIENCE_FOR_ALL;
    let (mut found, mut unread, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for (container, pid) in containers.iter().filter_map(|container| Some((container, container.pid?))).take(MOST_ROOTS)
    {
        let Ok(process) = Held::hold(proc_root, pid) else { continue };
        // The control group names the container; where it names none, the process must be where the container was.
        let its_own = match container_of(process.cgroup(), containers) {
            Some(name) => name == container.name,
            None => process.netns().is_ok_and(|found| found.identity() == netns),
        };
        let root = match process.root() {
            _ if !its_own => continue,
            Err(error) if is_gone(&error) => continue,
            Ok(root) if !seen.insert(root.identity()) => continue,
            other => other,
        };
        let patience = PATIENCE.min(end.saturating_duration_since(Instant::now()));
        match root.map_err(Failure::from).and_then(|root| resolver_below(root, patience)) {
            Ok(resolver) => found.push((container.name.clone(), resolver)),
            Err(failure) => unread.push(failure.about_resolver(&format!("container {}", container.name))),
        }
    }
    (found, unread)
}

fn resolver_below(root: Root, patience: Duration) -> Result<Resolver, Failure> {
    match read(root, RESOLV_CONF, patience) {
        Ok(contents) if contents.left_out > 0 => Err(Failure::too_long(&contents)),
        Ok(contents) => resolver(&String::from_utf8_lossy(&contents.bytes)),
        Err(None) => Ok(Resolver::default()),
        Err(Some(failure)) => Err(failure),
    }
}

/// Reads a file on a thread of its own, which is waited for only so long. `Err(None)` when there is no such file.
fn read(root: Root, path: &'static str, patience: Duration) -> Result<Contents, Option<Failure>> {
    let (sender, receiver) = mpsc::channel();
    let reader = thread::Builder::new().name("root".into()).spawn(move || {
        // Nobody listens any more when it took too long.
        sender.send(root.read(path, MOST_BYTES)).ok();
    });
    reader.map_err(|error| Some(error.into()))?;
    match receiver.recv_timeout(patience) {
        Ok(Ok(contents)) => Ok(contents),
        Ok(Err(BelowError::Absent)) => Err(None),
        Ok(Err(BelowError::Io(error))) => Err(Some(error.into())),
        Ok(Err(error @ BelowError::TooOld)) => {
            Err(Some(Failure { cause: Cause::Unsupported, error: error.to_string() }))
        }
        Ok(Err(error)) => Err(Some(Failure { cause: Cause::Failed, error: error.to_string() })),
        Err(_) => {
            Err(Some(Failure { cause: Cause::Failed, error: "the file system did not answer in time".to_owned() }))
        }
    }
}

impl Failure {
    fn too_long(contents: &Contents) -> Self {
        let size = contents.left_out + contents.bytes.len() as u64;
        let error = format!("it has {size} bytes, of which only the first {} were read", contents.bytes.len());
        Self { cause: Cause::Failed, error }
    }

    fn about_resolver(self, whose: &str) -> Unread {
        let means = format!("which name servers {whose} asks is not known");
        let Self { cause, error } = self;
        Unread { source: RESOLV_CONF.to_owned(), error, means, subject: Subject::Metadata, cause }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let cause = if error.kind() == io::ErrorKind::PermissionDenied { Cause::Permission } else { Cause::Failed };
        Self { cause, error: error.to_string() }
    }
}

/// The number inside a user namespace of a number outside; lines of `/proc/PID/uid_map` are `INSIDE OUTSIDE COUNT`
/// (user_namespaces(7)).
fn inside(outside: u32, map: &str) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().map(str::parse::<u32>);
        let (inner, outer, count) = (words.next()?.ok()?, words.next()?.ok()?, words.next()?.ok()?);
        let offset = outside.checked_sub(outer).filter(|offset| *offset < count)?;
        inner.checked_add(offset)
    })
}

/// Names of the `wanted` users: of several lines for one the first counts, as getpwuid(3) has it.
fn names(contents: &Contents, wanted: &HashSet<u32>) -> HashMap<u32, String> {
    let mut lines: Vec<&[u8]> = contents.bytes.split(|byte| *byte == b'\n').collect();
    if contents.left_out > 0 {
        // The last one was cut, and a number cut is another number.
        lines.pop();
    }
    let mut found = HashMap::new();
    for line in lines {
        let mut fields = line.splitn(4, |byte| *byte == b':');
        let (Some(name), Some(_), Some(uid), Some(_)) = (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let digits = str::from_utf8(uid).ok().filter(|uid| uid.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(uid) = digits.and_then(|uid| uid.parse().ok()).filter(|uid| wanted.contains(uid)) else { continue };
        let name = String::from_utf8_lossy(name);
        // Lines of NIS begin with a sign and name nobody.
        if !name.is_empty() && !name.starts_with(['+', '-', '#']) && name.chars().count() <= LONGEST_NAME {
            found.entry(uid).or_insert_with(|| name.into_owned());
        }
    }
    found
}

/// What resolv.conf(5) says: all `nameserver` lines, and of `search` and `domain` the last.
fn resolver(text: &str) -> Result<Resolver, Failure> {
    let mut resolver = Resolver::default();
    for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("nameserver") => resolver.nameservers.extend(words.next().map(str::to_owned)),
            Some("search") => resolver.search = words.take(MOST_ENTRIES + 1).map(str::to_owned).collect(),
            Some("domain") => resolver.search = words.take(1).map(str::to_owned).collect(),
            _ => {}
        }
        if resolver.nameservers.len().max(resolver.search.len()) > MOST_ENTRIES {
            let error = format!("it has more than {MOST_ENTRIES} name servers or domains");
            return Err(Failure { cause: Cause::Failed, error });
        }
    }
    if resolver.nameservers.iter().chain(&resolver.search).any(|entry| entry.len() > LONGEST_ENTRY) {
        let error = format!("it has a name server or domain of more than {LONGEST_ENTRY} bytes");
        return Err(Failure { cause: Cause::Failed, error });
    }
    Ok(resolver)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, left_out: u64) -> Vec<(u32, String)> {
        let contents = Contents { bytes: text.into(), left_out };
        let mut found: Vec<_> = names(&contents, &HashSet::from([0, 10, 100, 1000])).into_iter().collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn the_first_line_of_a_user_names_it() {
        let text = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/:\nlater:x:1000:1::/:\nother:x:7:7::/:\n";
        assert_eq!(found(text, 0), [(0, "root".to_owned()), (1000, "app".to_owned())]);
    }

    #[test]
    fn what_is_no_line_of_a_user_names_nobody() {
        let long = "a".repeat(LONGEST_NAME + 1);
        let text = format!(
            "+:x:0:0\n:x:0:0::/:\n#root:x:0:0::/:\nroot:x:+0:0::/:\nroot:x: 0:0\nroot:x:\nroot:x:0\n{long}:x:0:0\n\0\u{1b}\n"
        );
        assert_eq!(found(&text, 0), []);
    }

    #[test]
    fn a_cut_line_is_not_taken_for_another() {
        // Cut out of `app:x:1000:…`.
        for cut in ["app:x:10", "app:x:100", "app:x:1000:"] {
            assert_eq!(found(&format!("root:x:0:0::/:\n{cut}"), 1), [(0, "root".to_owned())], "{cut}");
        }
    }

    #[test]
    fn users_are_counted_as_inside() {
        let own = "         0          0 4294967295\n";
        assert_eq!((inside(0, own), inside(1337, own)), (Some(0), Some(1337)));
        let pod = "0 100000 65536\n70000 7 1\n";
        assert_eq!((inside(101_337, pod), inside(7, pod)), (Some(1337), Some(70_000)));
        for other in [0, 8, 99_999, 165_536, u32::MAX] {
            assert_eq!(inside(other, pod), None, "{other}");
        }
        assert_eq!((inside(0, ""), inside(0, "a b c\n"), inside(0, "0 0\n")), (None, None, None));
    }

    #[test]
    fn a_resolver_is_read_as_the_c_library_does() {
        let text = "# x\n;nameserver 1.1.1.1\nnameserver 10.96.0.10\nsearch a\nsearch default.svc.cluster.local b\n\
                    nameserver\tfe80::1%eth0 # here\noptions ndots:5\nnameserver\n";
        let read = resolver(text).expect("a resolver");
        assert_eq!(read.nameservers, ["10.96.0.10", "fe80::1%eth0"]);
        assert_eq!(read.search, ["default.svc.cluster.local", "b"]);
        assert_eq!(resolver("search a b\ndomain c d\n").expect("a resolver").search, ["c"]);
        assert_eq!(resolver("").ok(), Some(Resolver::default()));
    }

    #[test]
    fn a_resolver_beyond_all_measure_is_none() {
        for text in [
            "nameserver 1.1.1.1\n".repeat(65),
            format!("search{}", " a".repeat(65)),
            format!("domain {}", "a".repeat(256)),
        ] {
            assert!(resolver(&text).is_err());
        }
    }
}
