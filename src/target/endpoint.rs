//! Which runtime sockets are asked: a pure function of what the user gave and of the usual places.

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The protocol that is spoken on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuntimeKind {
    /// The Docker Engine API.
    Docker,
    /// The same API, served by Podman.
    Podman,
    /// CRI v1: containerd, CRI-O, cri-dockerd.
    Cri,
}

impl RuntimeKind {
    /// The kind that a socket of this path serves, as its name tells.
    fn of(path: &Path) -> Self {
        let text = path.to_string_lossy();
        if text.contains("podman") {
            Self::Podman
        } else if text.ends_with("docker.sock") && !text.contains("cri-dockerd") {
            Self::Docker
        } else {
            Self::Cri
        }
    }
}

/// A runtime's socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeEndpoint {
    /// What is spoken there.
    pub kind: RuntimeKind,
    /// The socket's path.
    pub path: PathBuf,
    /// The user named it; a default place otherwise. One that is named and absent is a failure, a default one is not.
    pub explicit: bool,
}

/// `--runtime`: which runtimes are asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RuntimeChoice {
    /// All that are there.
    #[default]
    Auto,
    /// Docker.
    Docker,
    /// Podman.
    Podman,
    /// Everything that serves CRI.
    Cri,
    /// containerd, over CRI.
    Containerd,
    /// None: only what `/proc` tells.
    Proc,
}

impl RuntimeChoice {
    /// Every choice with its word on the command line.
    pub const WORDS: [(&'static str, Self); 6] = [
        ("auto", Self::Auto),
        ("docker", Self::Docker),
        ("podman", Self::Podman),
        ("cri", Self::Cri),
        ("containerd", Self::Containerd),
        ("proc", Self::Proc),
    ];

    /// The choice of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, choice)| *choice)
    }

    fn admits(self, kind: RuntimeKind, path: &Path) -> bool {
        match self {
            Self::Auto => true,
            Self::Docker => kind == RuntimeKind::Docker,
            Self::Podman => kind == RuntimeKind::Podman,
            Self::Cri => kind == RuntimeKind::Cri,
            Self::Containerd => kind == RuntimeKind::Cri && path.to_string_lossy().contains("containerd"),
            Self::Proc => false,
        }
    }

    /// What an endpoint given together with this choice speaks.
    fn kind(self, path: &Path) -> RuntimeKind {
        match self {
            Self::Auto | Self::Proc => RuntimeKind::of(path),
            Self::Docker => RuntimeKind::Docker,
            Self::Podman => RuntimeKind::Podman,
            Self::Cri | Self::Containerd => RuntimeKind::Cri,
        }
    }
}

impl fmt::Display for RuntimeChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::WORDS.iter().find(|(_, choice)| choice == self).map_or("", |(word, _)| word))
    }
}

/// What a user can have said about runtimes. The library reads no environment: the caller hands the values in.
#[derive(Debug, Clone, Copy, Default)]
pub struct Given<'a> {
    /// `--runtime`.
    pub choice: RuntimeChoice,
    /// `--runtime-endpoint`: this socket and no other.
    pub endpoint: Option<&'a str>,
    /// `CONTAINER_RUNTIME_ENDPOINT`, crictl's variable.
    pub container_runtime_endpoint: Option<&'a str>,
    /// `DOCKER_HOST`.
    pub docker_host: Option<&'a str>,
    /// `CONTAINER_HOST`, Podman's variable.
    pub container_host: Option<&'a str>,
    /// The text of `/etc/crictl.yaml`.
    pub crictl_yaml: Option<&'a str>,
    /// Where the node's root is mounted; the default places are looked for below it.
    pub host_root: Option<&'a Path>,
    /// Folders in which users' own runtimes have their sockets: `/run/user/UID`, as far as they may be looked into.
    pub users: &'a [PathBuf],
}

/// An endpoint that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// Not a unix socket.
    #[error("runtime endpoint {0:?} is no unix socket; only unix:///PATH or /PATH can be a runtime of this node")]
    NotUnix(String),
}

/// The usual places, those that cost least to ask first.
///
/// `/var/run` is `/run` everywhere; RKE2 has its containerd where k3s has it. What runs in nodes in containers (kind, k3d) is
/// reached inside of them only.
const DEFAULTS: [&str; 8] = [
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/k0s/containerd.sock",
    "/var/snap/microk8s/common/run/containerd.sock",
    "/run/cri-dockerd.sock",
    "/var/run/docker.sock",
    "/run/podman/podman.sock",
];

/// Rootless Docker's and Podman's, in a user's folder.
const USERS: [&str; 2] = ["docker.sock", "podman/podman.sock"];

/// The sockets to ask, each once.
///
/// `--runtime-endpoint` stands alone. Otherwise what the variables and crictl's file name comes first, then the default
/// places, then users' own. A path in crictl's file is the node's and lies below its root, those in variables are ours. A variable that names another machine (`tcp://`, `ssh://`) is passed over: its containers are not on this node.
///
/// # Errors
/// `--runtime-endpoint` is not a unix socket.
pub fn endpoints(given: &Given<'_>) -> Result<Vec<RuntimeEndpoint>, EndpointError> {
    if given.choice == RuntimeChoice::Proc {
        return Ok(Vec::new());
    }
    if let Some(text) = given.endpoint {
        let path = unix_path(text).ok_or_else(|| EndpointError::NotUnix(text.to_owned()))?;
        return Ok(vec![RuntimeEndpoint { kind: given.choice.kind(&path), path, explicit: true }]);
    }
    // Below another root `/var/run` may be a link to the absolute `/run`, which would lead out of it.
    let moved = |path: PathBuf| match given.host_root {
        Some(root) => root.join(plain(&path).strip_prefix("/").unwrap_or(&path)),
        None => path,
    };
    let path = |text: Option<&str>| text.and_then(unix_path);
    let named = [
        (path(given.container_runtime_endpoint), Some(RuntimeKind::Cri)),
        (path(given.crictl_yaml.and_then(crictl_endpoint)).map(moved), Some(RuntimeKind::Cri)),
        (path(given.docker_host), None),
        (path(given.container_host), Some(RuntimeKind::Podman)),
    ];
    let mut list: Vec<RuntimeEndpoint> = Vec::new();
    for (path, kind) in named {
        if let Some(path) = path {
            // DOCKER_HOST may well be Podman's socket.
            let guessed =
                if RuntimeKind::of(&path) == RuntimeKind::Podman { RuntimeKind::Podman } else { RuntimeKind::Docker };
            add(&mut list, given.choice, RuntimeEndpoint { kind: kind.unwrap_or(guessed), path, explicit: true });
        }
    }
    let usual = DEFAULTS.iter().map(|default| moved(PathBuf::from(default)));
    let users = given.users.iter().flat_map(|folder| USERS.iter().map(|name| folder.join(name)));
    for path in usual.chain(users) {
        add(&mut list, given.choice, RuntimeEndpoint { kind: RuntimeKind::of(&path), path, explicit: false });
    }
    Ok(list)
}

fn add(list: &mut Vec<RuntimeEndpoint>, choice: RuntimeChoice, endpoint: RuntimeEndpoint) {
    let known = list.iter().any(|other| plain(&other.path) == plain(&endpoint.path));
    if !known && choice.admits(endpoint.kind, &endpoint.path) {
        list.push(endpoint);
    }
}

/// `/var/run` is `/run` on every system that has both.
fn plain(path: &Path) -> PathBuf {
    path.strip_prefix("/var/run").map_or_else(|_| path.to_owned(), |rest| Path::new("/run").join(rest))
}

fn unix_path(text: &str) -> Option<PathBuf> {
    let text = text.trim();
    let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")).unwrap_or(text);
    path.starts_with('/').then(|| PathBuf::from(path))
}

/// `runtime-endpoint:` of crictl's file: one plain scalar, so no YAML reader is needed.
fn crictl_endpoint(text: &str) -> Option<&str> {
    let value = text.lines().find_map(|line| line.trim_start().strip_prefix("runtime-endpoint:"))?;
    let value = value.split(" #").next().unwrap_or(value).trim();
    let value = value.trim_matches(|character| character == '"' || character == '\'');
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(given: &Given<'_>) -> Vec<String> {
        endpoints(given).expect("endpoints").iter().map(|endpoint| endpoint.path.display().to_string()).collect()
    }

    #[test]
    fn nothing_said_means_the_default_places() {
        let list = endpoints(&Given::default()).expect("endpoints");
        assert_eq!(list.len(), DEFAULTS.len());
        assert!(list.iter().all(|endpoint| !endpoint.explicit));
        let kinds: Vec<RuntimeKind> = list.iter().map(|endpoint| endpoint.kind).collect();
        use RuntimeKind::{Cri, Docker, Podman};
        assert_eq!(kinds, [Cri, Cri, Cri, Cri, Cri, Cri, Docker, Podman]);
    }

    #[test]
    fn the_option_stands_alone_and_must_be_a_socket() {
        let given = Given {
            endpoint: Some("unix:///tmp/x.sock"),
            docker_host: Some("unix:///a/docker.sock"),
            ..Given::default()
        };
        let wanted = RuntimeEndpoint { kind: RuntimeKind::Cri, path: "/tmp/x.sock".into(), explicit: true };
        assert_eq!(endpoints(&given), Ok(vec![wanted]));
        let given = Given { endpoint: Some("/tmp/x.sock"), choice: RuntimeChoice::Docker, ..Given::default() };
        assert_eq!(endpoints(&given).expect("endpoints")[0].kind, RuntimeKind::Docker);
        for text in ["tcp://10.0.0.1:2375", "containerd.sock", ""] {
            let given = Given { endpoint: Some(text), ..Given::default() };
            assert_eq!(endpoints(&given), Err(EndpointError::NotUnix(text.into())));
        }
    }

    #[test]
    fn variables_come_first_once_and_other_machines_are_passed_over() {
        let given = Given {
            container_runtime_endpoint: Some("unix:///run/containerd/containerd.sock"),
            docker_host: Some("unix:///run/docker.sock"),
            container_host: Some("unix:///run/user/1000/podman/podman.sock"),
            crictl_yaml: Some("timeout: 2\nruntime-endpoint: \"unix:///run/crio/crio.sock\" # ours\n"),
            ..Given::default()
        };
        assert_eq!(
            paths(&given),
            [
                "/run/containerd/containerd.sock",
                "/run/crio/crio.sock",
                "/run/docker.sock",
                "/run/user/1000/podman/podman.sock",
                "/run/k3s/containerd/containerd.sock",
                "/run/k0s/containerd.sock",
                "/var/snap/microk8s/common/run/containerd.sock",
                "/run/cri-dockerd.sock",
                "/run/podman/podman.sock",
            ]
        );
        let given = Given { docker_host: Some("tcp://10.0.0.1:2375"), ..Given::default() };
        assert_eq!(paths(&given).len(), DEFAULTS.len());
    }

    #[test]
    fn a_choice_leaves_only_its_own() {
        let of = |choice| paths(&Given { choice, ..Given::default() });
        assert_eq!(of(RuntimeChoice::Docker), ["/var/run/docker.sock"]);
        assert_eq!(of(RuntimeChoice::Podman), ["/run/podman/podman.sock"]);
        assert_eq!(
            of(RuntimeChoice::Containerd),
            [
                "/run/containerd/containerd.sock",
                "/run/k3s/containerd/containerd.sock",
                "/run/k0s/containerd.sock",
                "/var/snap/microk8s/common/run/containerd.sock",
            ]
        );
        assert_eq!(of(RuntimeChoice::Cri).len(), 6);
        assert!(of(RuntimeChoice::Proc).is_empty());
    }

    #[test]
    fn below_another_root_the_default_places_move_along() {
        let given = Given {
            host_root: Some(Path::new("/host")),
            docker_host: Some("unix:///run/mine.sock"),
            crictl_yaml: Some("runtime-endpoint: unix:///var/run/crio/crio.sock"),
            ..Given::default()
        };
        let paths = paths(&given);
        assert_eq!(paths[..2], ["/host/run/crio/crio.sock", "/run/mine.sock"], "a variable is not the node's");
        assert!(paths.contains(&"/host/run/docker.sock".to_owned()), "{paths:?}");
        assert!(paths[2..].iter().all(|path| path.starts_with("/host/")), "{paths:?}");
    }

    #[test]
    fn users_own_runtimes_come_last() {
        let users = ["/run/user/1000".into(), "/run/user/7".into()];
        let list = endpoints(&Given { users: &users, ..Given::default() }).expect("endpoints");
        let last: Vec<(RuntimeKind, &str)> =
            list.iter().skip(DEFAULTS.len()).map(|one| (one.kind, one.path.to_str().expect("text"))).collect();
        assert_eq!(
            last,
            [
                (RuntimeKind::Docker, "/run/user/1000/docker.sock"),
                (RuntimeKind::Podman, "/run/user/1000/podman/podman.sock"),
                (RuntimeKind::Docker, "/run/user/7/docker.sock"),
                (RuntimeKind::Podman, "/run/user/7/podman/podman.sock"),
            ]
        );
    }

    #[test]
    fn crictls_file_is_read_as_people_write_it() {
        assert_eq!(crictl_endpoint("runtime-endpoint: unix:///a.sock\n"), Some("unix:///a.sock"));
        assert_eq!(crictl_endpoint("runtime-endpoint: \"\"\n"), None);
        assert_eq!(crictl_endpoint("#runtime-endpoint: unix:///a.sock\n"), None);
        assert_eq!(crictl_endpoint("image-endpoint: unix:///a.sock\n"), None);
    }

    #[test]
    fn words_and_choices_agree() {
        for (word, choice) in RuntimeChoice::WORDS {
            assert_eq!(RuntimeChoice::parse(word), Some(choice));
            assert_eq!(choice.to_string(), word);
        }
        assert_eq!(RuntimeChoice::parse("rkt"), None);
    }
}
