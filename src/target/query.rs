//! The grammar of targets: what a word on the command line asks for.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use thiserror::Error;

/// The kinds that may stand before a `/`, as help and errors list them.
pub const KINDS: [&str; 7] = ["pod", "container", "pid", "netns", "inode", "ip", "file"];

/// The runtimes that may stand before `://`, in the words that Kubernetes uses in `containerID`.
const SCHEMES: [&str; 4] = ["docker", "containerd", "cri-o", "podman"];

/// Shortest prefix of an ID that is taken for one.
const SHORTEST_ID: usize = 4;

/// Length of a full container ID in hexadecimal digits.
const FULL_ID: usize = 64;

/// What a target asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// A Kubernetes pod. `parse` leaves `namespace` empty: only the node's pods tell where a dotted name is to be split.
    Pod {
        /// Its name, maybe followed by a dot and its namespace.
        name: String,
        /// Its namespace, when the caller knows it.
        namespace: Option<String>,
    },
    /// A container by its exact name.
    Container(String),
    /// A container (or a pod's sandbox) by its ID or a prefix of it.
    Id {
        /// `docker`, `containerd`, `cri-o` or `podman`; any when `None`.
        runtime: Option<String>,
        /// Four or more hexadecimal digits, in lower case.
        prefix: String,
    },
    /// A process of this node.
    Pid(u32),
    /// A network namespace by its name (`ip netns`) or the path of a file that holds it.
    Netns(String),
    /// A network namespace by its inode, the number in `net:[…]`.
    Inode(u64),
    /// The network namespace in which an interface has this address.
    Address(IpAddr),
    /// The node's own network namespace.
    Host,
    /// Saved text from standard input.
    Stdin,
    /// Saved text, or a snapshot; several make one workload.
    Files(Vec<PathBuf>),
    /// A bare word: a pod of that name, a container of that name, an ID prefix.
    Name(String),
}

/// A word that is no target.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GrammarError {
    /// Nothing where a target should be.
    #[error("the target is empty")]
    Empty,
    /// Nothing behind `KIND/`.
    #[error("target {asked:?}: nothing stands behind {kind:?}")]
    NothingBehind {
        /// The whole word.
        asked: String,
        /// The kind with its separator.
        kind: String,
    },
    /// An unknown kind before `/`.
    #[error(
        "target {asked:?}: {kind:?} is no kind of target; there are pod/NAME, container/NAME, pid/NUMBER, \
         netns/NAME-OR-PATH, inode/NUMBER, ip/ADDRESS, file/PATH, host, docker://ID, containerd://ID, cri-o://ID and a bare name"
    )]
    UnknownKind {
        /// The whole word.
        asked: String,
        /// What stood before the separator.
        kind: String,
    },
    /// `pid/` with something that is no process number.
    #[error("target {asked:?}: {number:?} is no process number")]
    BadPid {
        /// The whole word.
        asked: String,
        /// What stood behind `pid/`.
        number: String,
    },
    /// `inode/` with something that is no inode's number.
    #[error("target {asked:?}: {number:?} is no inode number; it is the number in net:[…] of ls -l /proc/PID/ns/net")]
    BadInode {
        /// The whole word.
        asked: String,
        /// What stood behind `inode/`.
        number: String,
    },
    /// `ip/` with something that is no address.
    #[error("target {asked:?}: {address:?} is no IPv4 or IPv6 address")]
    BadAddress {
        /// The whole word.
        asked: String,
        /// What stood behind `ip/`.
        address: String,
    },
    /// `ip/` with an address that every namespace has, or none.
    #[error("target {asked:?}: {address} tells no network namespace from another")]
    AddressOfAll {
        /// The whole word.
        asked: String,
        /// The address.
        address: IpAddr,
    },
    /// An ID that is none.
    #[error("target {asked:?}: {id:?} is no container ID (4 to 64 hexadecimal digits)")]
    BadId {
        /// The whole word.
        asked: String,
        /// What stood behind `://`.
        id: String,
    },
}

impl Query {
    /// Whether container runtimes are asked about it.
    #[must_use]
    pub fn asks_runtimes(&self) -> bool {
        self.names_workload() || matches!(self, Self::Inode(_) | Self::Address(_))
    }

    /// Whether it names a pod or a container, so that `-n` and `-c` narrow it.
    #[must_use]
    pub fn names_workload(&self) -> bool {
        matches!(self, Self::Pod { .. } | Self::Container(_) | Self::Id { .. } | Self::Name(_))
    }

    /// Reads a target.
    ///
    /// # Errors
    /// The word is no target; an unknown `KIND/` is never taken for something else.
    pub fn parse(text: &str) -> Result<Self, GrammarError> {
        if text.is_empty() {
            return Err(GrammarError::Empty);
        }
        if text == "-" {
            return Ok(Self::Stdin);
        }
        if text == "host" {
            return Ok(Self::Host);
        }
        if ["/", "./", "../"].iter().any(|start| text.starts_with(start)) {
            return Ok(Self::Files(vec![PathBuf::from(text)]));
        }
        if let Some((scheme, id)) = text.split_once("://") {
            return by_id(text, scheme, id);
        }
        match text.split_once('/') {
            Some((kind, rest)) => by_kind(text, kind, rest),
            // A colon is in no name of a pod or container; it announces a node (`NODE:KIND/…`).
            None => match text.split_once(':') {
                Some((kind, _)) => Err(unknown(text, &format!("{kind}:"))),
                None => Ok(Self::Name(text.to_owned())),
            },
        }
    }
}

/// Whether a bare word can be a prefix of a container's ID; if so, in lower case.
pub(super) fn id_prefix(word: &str) -> Option<String> {
    let fits = (SHORTEST_ID..=FULL_ID).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| word.to_ascii_lowercase())
}

fn by_id(asked: &str, scheme: &str, id: &str) -> Result<Query, GrammarError> {
    if !SCHEMES.contains(&scheme) {
        return Err(unknown(asked, &format!("{scheme}://")));
    }
    if id.is_empty() {
        return Err(GrammarError::NothingBehind { asked: asked.to_owned(), kind: format!("{scheme}://") });
    }
    let prefix = id_prefix(id).ok_or_else(|| GrammarError::BadId { asked: asked.to_owned(), id: id.to_owned() })?;
    Ok(Query::Id { runtime: Some(scheme.to_owned()), prefix })
}

fn by_kind(asked: &str, kind: &str, rest: &str) -> Result<Query, GrammarError> {
    if !KINDS.contains(&kind) {
        return Err(unknown(asked, &format!("{kind}/")));
    }
    if rest.is_empty() {
        return Err(GrammarError::NothingBehind { asked: asked.to_owned(), kind: format!("{kind}/") });
    }
    match kind {
        "pod" => Ok(Query::Pod { name: rest.to_owned(), namespace: None }),
        "container" => Ok(Query::Container(rest.to_owned())),
        "netns" => Ok(Query::Netns(rest.to_owned())),
        "pid" => match rest.parse::<u32>() {
            Ok(pid) if pid > 0 && i32::try_from(pid).is_ok() => Ok(Query::Pid(pid)),
            _ => Err(GrammarError::BadPid { asked: asked.to_owned(), number: rest.to_owned() }),
        },
        "inode" => match rest.parse::<u64>() {
            Ok(inode) if inode > 0 => Ok(Query::Inode(inode)),
            _ => Err(GrammarError::BadInode { asked: asked.to_owned(), number: rest.to_owned() }),
        },
        "ip" => by_address(asked, rest),
        _ if rest == "-" => Ok(Query::Stdin),
        _ => {
            let paths: Vec<PathBuf> = rest.split(',').filter(|path| !path.is_empty()).map(PathBuf::from).collect();
            if paths.is_empty() {
                return Err(GrammarError::NothingBehind { asked: asked.to_owned(), kind: format!("{kind}/") });
            }
            Ok(Query::Files(paths))
        }
    }
}

fn by_address(asked: &str, text: &str) -> Result<Query, GrammarError> {
    let asked = asked.to_owned();
    // As it stands in a URL, too.
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match bare.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(address) if address.is_loopback() || address.is_unspecified() || address.is_multicast() => {
            Err(GrammarError::AddressOfAll { asked, address })
        }
        Ok(address) => Ok(Query::Address(address)),
        Err(_) => Err(GrammarError::BadAddress { asked, address: text.to_owned() }),
    }
}

fn unknown(asked: &str, kind: &str) -> GrammarError {
    GrammarError::UnknownKind { asked: asked.to_owned(), kind: kind.to_owned() }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod { name, namespace: None } => write!(f, "pod/{name}"),
            Self::Pod { name, namespace: Some(namespace) } => write!(f, "pod/{name}.{namespace}"),
            Self::Container(name) => write!(f, "container/{name}"),
            Self::Id { runtime: Some(runtime), prefix } => write!(f, "{runtime}://{prefix}"),
            Self::Id { runtime: None, prefix } => f.write_str(prefix),
            Self::Pid(pid) => write!(f, "pid/{pid}"),
            Self::Netns(name) => write!(f, "netns/{name}"),
            Self::Inode(inode) => write!(f, "inode/{inode}"),
            Self::Address(address) => write!(f, "ip/{address}"),
            Self::Host => f.write_str("host"),
            Self::Stdin => f.write_str("-"),
            Self::Files(paths) => {
                let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
                write!(f, "file/{}", paths.join(","))
            }
            Self::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> Query {
        Query::Pod { name: name.into(), namespace: None }
    }

    #[test]
    fn every_form_of_the_table_is_read() {
        let cases = [
            ("pod/web", pod("web")),
            ("pod/web.blue", pod("web.blue")),
            ("container/web", Query::Container("web".into())),
            ("docker://4F3a", Query::Id { runtime: Some("docker".into()), prefix: "4f3a".into() }),
            ("containerd://4f3a99", Query::Id { runtime: Some("containerd".into()), prefix: "4f3a99".into() }),
            ("cri-o://4f3a99", Query::Id { runtime: Some("cri-o".into()), prefix: "4f3a99".into() }),
            ("pid/1234", Query::Pid(1234)),
            ("netns/blue", Query::Netns("blue".into())),
            ("netns//run/netns/blue", Query::Netns("/run/netns/blue".into())),
            ("inode/4026532184", Query::Inode(4_026_532_184)),
            ("ip/10.0.0.5", Query::Address("10.0.0.5".parse().expect("address"))),
            ("ip/fd00::5", Query::Address("fd00::5".parse().expect("address"))),
            ("ip/[fd00::5]", Query::Address("fd00::5".parse().expect("address"))),
            ("ip/::ffff:10.0.0.5", Query::Address("10.0.0.5".parse().expect("address"))),
            ("host", Query::Host),
            ("-", Query::Stdin),
            ("file/-", Query::Stdin),
            ("file/a,b", Query::Files(vec!["a".into(), "b".into()])),
            ("file//tmp/a", Query::Files(vec!["/tmp/a".into()])),
            ("/tmp/a,b", Query::Files(vec!["/tmp/a,b".into()])),
            ("./a", Query::Files(vec!["./a".into()])),
            ("../a", Query::Files(vec!["../a".into()])),
            ("web", Query::Name("web".into())),
            ("web.blue", Query::Name("web.blue".into())),
            ("4f3a", Query::Name("4f3a".into())),
        ];
        for (text, wanted) in cases {
            assert_eq!(Query::parse(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_no_target_is_refused_and_never_taken_for_a_name() {
        for text in ["kind-worker:pod/web", "kind-worker:host", "node:web", "pods/web", "rkt://4f3a"] {
            let error = Query::parse(text).expect_err(text);
            assert!(matches!(error, GrammarError::UnknownKind { .. }), "{text}: {error:?}");
            assert!(KINDS.iter().all(|kind| error.to_string().contains(&format!("{kind}/"))), "{error}");
        }
        assert_eq!(Query::parse(""), Err(GrammarError::Empty));
        for text in ["pod/", "container/", "pid/", "netns/", "inode/", "ip/", "file/", "file/,", "docker://"] {
            assert!(matches!(Query::parse(text), Err(GrammarError::NothingBehind { .. })), "{text}");
        }
        for text in ["pid/0", "pid/-1", "pid/x", "pid/4294967295", "pid/1/2"] {
            assert!(matches!(Query::parse(text), Err(GrammarError::BadPid { .. })), "{text}");
        }
        for text in ["inode/0", "inode/-1", "inode/x", "inode/18446744073709551616"] {
            assert!(matches!(Query::parse(text), Err(GrammarError::BadInode { .. })), "{text}");
        }
        for text in ["ip/web", "ip/10.0.0", "ip/10.0.0.5/24", "ip/[]", "ip/fe80::1%eth0"] {
            assert!(matches!(Query::parse(text), Err(GrammarError::BadAddress { .. })), "{text}");
        }
        for text in ["ip/127.0.0.1", "ip/::1", "ip/0.0.0.0", "ip/::", "ip/224.0.0.1"] {
            assert!(matches!(Query::parse(text), Err(GrammarError::AddressOfAll { .. })), "{text}");
        }
        for text in ["docker://4f3", "docker://web1", &format!("docker://{}", "a".repeat(65))] {
            assert!(matches!(Query::parse(text), Err(GrammarError::BadId { .. })), "{text}");
        }
    }

    #[test]
    fn a_query_prints_as_it_was_asked() {
        for text in [
            "pod/web",
            "container/web",
            "docker://4f3a",
            "pid/1",
            "netns/blue",
            "inode/7",
            "ip/fd00::5",
            "host",
            "-",
            "file/a,b",
            "web",
        ] {
            assert_eq!(Query::parse(text).expect(text).to_string(), text);
        }
    }
}
