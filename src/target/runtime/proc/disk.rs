//! What runtimes keep on disk of their containers, looked up by ID: names, pods, environments.
//!
//! | runtime | file |
//! | --- | --- |
//! | Docker | `/var/lib/docker/containers/ID/config.v2.json` and `hostconfig.json` (moby, daemon/container) |
//! | containerd, nerdctl | `/run/containerd/io.containerd.runtime.v2.task/NAMESPACE/ID/config.json`, the OCI bundle |
//! | CRI-O | `/run/containers/storage/DRIVER-containers/ID/userdata/config.json`, likewise |
//! | Podman | the same below `/var/lib`; names in `DRIVER-containers/containers.json` |
//!
//! Every field is optional and every file may be anything: what cannot be read tells nothing.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::sys::records::Records;
use crate::target::allow;

/// Docker's folders: the usual one and the snap's.
const DOCKER: [&str; 2] = ["var/lib/docker/containers", "var/snap/docker/common/var-lib-docker/containers"];

/// Docker's settings, which may name another folder.
const DAEMON: &str = "etc/docker/daemon.json";

/// containerd's state folders: the usual one, those of k3s and RKE2, k0s, MicroK8s, and of Docker's own containerd.
const CONTAINERD: [&str; 5] = [
    "run/containerd",
    "run/k3s/containerd",
    "run/k0s/containerd",
    "var/snap/microk8s/common/run/containerd",
    "run/docker/containerd/daemon",
];

/// In a state folder: one folder for each of containerd's namespaces, in that one for each task.
const TASKS: &str = "io.containerd.runtime.v2.task";

/// containerd's namespace for what Docker runs.
const MOBY: &str = "moby";

/// Where CRI-O and Podman keep a folder of containers for each storage driver.
const STORAGE: [&str; 2] = ["run/containers/storage", "var/lib/containers/storage"];

/// Largest file of one container, and of Podman's list of all, in bytes.
const LARGEST: u64 = 4 << 20;
const LARGEST_LIST: u64 = 16 << 20;

/// Whose record it was.
const OF_DOCKER: &str = "Docker's container folder";
const OF_CONTAINERD: &str = "containerd's state folder";
const OF_CRIO: &str = "CRI-O's state folder";
const OF_PODMAN: &str = "Podman's container folder";

/// What is recorded of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) source: &'static str,
    pub(super) runtime: &'static str,
    pub(super) name: Option<String>,
    /// Namespace and name of its pod.
    pub(super) pod: Option<(String, String)>,
    pub(super) uid: Option<String>,
    /// The sandbox that it belongs to, or is.
    pub(super) sandbox: Option<String>,
    pub(super) is_sandbox: bool,
    pub(super) image: Option<String>,
    /// The container in whose network namespace Docker put it, by its ID.
    pub(super) shares: Option<String>,
    /// Docker's.
    pub(super) labels: HashMap<String, String>,
    /// Already reduced to the allow-list.
    pub(super) environment: BTreeMap<String, String>,
}

/// The folders that are there.
pub(super) struct Disk {
    records: Records,
    docker: Vec<PathBuf>,
    /// Of each of containerd's namespaces, with its name.
    tasks: Vec<(PathBuf, String)>,
    /// `…/DRIVER-containers`.
    storage: Vec<PathBuf>,
    podman: OnceCell<BTreeMap<String, String>>,
}

impl Disk {
    pub(super) fn new(records: Records) -> Self {
        let names = |folder: &Path| records.names(folder).unwrap_or_default();
        let tasks = CONTAINERD.iter().map(|folder| Path::new(folder).join(TASKS)).flat_map(|tasks| {
            names(&tasks).into_iter().map(move |namespace| (tasks.join(&namespace), namespace)).collect::<Vec<_>>()
        });
        let storage = STORAGE.iter().map(Path::new).flat_map(|folder| {
            let drivers = names(folder).into_iter().filter(|name| name.ends_with("-containers"));
            drivers.map(|name| folder.join(name)).collect::<Vec<_>>()
        });
        let (tasks, storage) = (tasks.collect(), storage.collect());
        let docker = DOCKER.iter().map(PathBuf::from).collect();
        let mut disk = Self { docker, tasks, storage, records, podman: OnceCell::new() };
        let other = disk.json::<DockerDaemon>(Path::new(DAEMON), LARGEST).and_then(|daemon| daemon.data_root);
        disk.docker.extend(other.and_then(|root| Some(root.strip_prefix("/").ok()?.join("containers"))));
        disk
    }

    pub(super) fn records(&self) -> &Records {
        &self.records
    }

    /// The record of a container, by its full ID.
    pub(super) fn of(&self, id: &str) -> Option<Record> {
        self.docker(id).or_else(|| self.containerd(id)).or_else(|| self.storage(id))
    }

    /// The numbers that containerd's shims, CRI-O's and Podman's monitors wrote down for containers' first processes, by ID.
    pub(super) fn first_processes(&self) -> Vec<(String, PathBuf)> {
        let tasks = self.tasks.iter().map(|(folder, _)| (folder, "init.pid"));
        let all = tasks.chain(self.storage.iter().map(|folder| (folder, "userdata/pidfile")));
        all.flat_map(|(folder, file)| {
            let names = self.records.names(folder).unwrap_or_default();
            let ids =
                names.into_iter().filter(|name| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()));
            ids.map(|id| (id.clone(), folder.join(id).join(file))).collect::<Vec<_>>()
        })
        .collect()
    }

    /// The number in such a file.
    pub(super) fn pid(&self, file: &Path) -> Option<u32> {
        String::from_utf8(self.records.read(file, 32).ok()?).ok()?.trim().parse().ok().filter(|pid| *pid > 0)
    }

    fn docker(&self, id: &str) -> Option<Record> {
        let (kept, folder) = self.docker.iter().map(|folder| folder.join(id)).find_map(|folder| {
            Some((self.json::<DockerContainer>(&folder.join("config.v2.json"), LARGEST)?, folder))
        })?;
        let host: DockerHost = self.json(&folder.join("hostconfig.json"), LARGEST).unwrap_or_default();
        let shares = host.network_mode.as_deref().and_then(|mode| mode.strip_prefix("container:"));
        let config = kept.config.unwrap_or_default();
        let labels = config.labels.unwrap_or_default();
        let label = |name: &str| labels.get(name).cloned();
        Some(Record {
            source: OF_DOCKER,
            runtime: "docker",
            name: label("io.kubernetes.container.name")
                .or(named(kept.name.as_deref().map(|name| name.trim_start_matches('/')))),
            pod: label("io.kubernetes.pod.namespace").zip(label("io.kubernetes.pod.name")),
            uid: label("io.kubernetes.pod.uid"),
            sandbox: label("io.kubernetes.sandbox.id"),
            is_sandbox: super::super::docker::is_sandbox(&labels),
            image: config.image,
            shares: named(shares),
            environment: allow::environment(config.env.iter().flatten().map(String::as_str)),
            labels,
        })
    }

    fn containerd(&self, id: &str) -> Option<Record> {
        let (spec, namespace) = self.tasks.iter().find_map(|(folder, namespace)| {
            let spec: Spec = self.json(&folder.join(id).join("config.json"), LARGEST)?;
            Some((spec, namespace))
        })?;
        let told = |name: &str| named(spec.annotations.as_ref()?.get(name).map(String::as_str));
        let of_cri = |name: &str| told(&format!("io.kubernetes.cri.{name}"));
        Some(Record {
            source: OF_CONTAINERD,
            runtime: if namespace == MOBY { "docker" } else { "containerd" },
            name: of_cri("container-name").or_else(|| told("nerdctl/name")),
            pod: of_cri("sandbox-namespace").zip(of_cri("sandbox-name")),
            uid: of_cri("sandbox-uid"),
            sandbox: of_cri("sandbox-id"),
            is_sandbox: of_cri("container-type").is_some_and(|kind| kind == "sandbox"),
            image: of_cri("image-name"),
            shares: None,
            labels: HashMap::new(),
            environment: spec.environment(),
        })
    }

    fn storage(&self, id: &str) -> Option<Record> {
        let file = |folder: &PathBuf| folder.join(id).join("userdata/config.json");
        let spec: Spec = self.storage.iter().find_map(|folder| self.json(&file(folder), LARGEST))?;
        let told = |name: &str| named(spec.annotations.as_ref()?.get(name).map(String::as_str));
        let by_podman = told("io.container.manager").is_some_and(|manager| manager == "libpod");
        if by_podman || told("io.kubernetes.pod.name").is_none() {
            return Some(Record {
                source: OF_PODMAN,
                runtime: "podman",
                name: self.podman.get_or_init(|| self.podman_names()).get(id).cloned(),
                environment: spec.environment(),
                ..Record::default()
            });
        }
        Some(Record {
            source: OF_CRIO,
            runtime: "cri-o",
            name: told("io.kubernetes.container.name"),
            pod: told("io.kubernetes.pod.namespace").zip(told("io.kubernetes.pod.name")),
            uid: told("io.kubernetes.pod.uid"),
            sandbox: told("io.kubernetes.cri-o.SandboxID"),
            is_sandbox: told("io.kubernetes.cri-o.ContainerType").is_some_and(|kind| kind == "sandbox"),
            image: told("io.kubernetes.cri-o.ImageName"),
            shares: None,
            labels: HashMap::new(),
            environment: spec.environment(),
        })
    }

    /// Podman's names of all containers, by ID; read once, when the first of them is met.
    fn podman_names(&self) -> BTreeMap<String, String> {
        let lists = self
            .storage
            .iter()
            .filter_map(|folder| self.json::<Vec<StoredContainer>>(&folder.join("containers.json"), LARGEST_LIST));
        let names = lists.flatten().filter_map(|one| Some((one.id?, named(one.names?.first().map(String::as_str))?)));
        names.collect()
    }

    fn json<T: serde::de::DeserializeOwned>(&self, file: &Path, most: u64) -> Option<T> {
        serde_json::from_slice(&self.records.read(file, most).ok()?).ok()
    }
}

/// An empty name is none.
fn named(text: Option<&str>) -> Option<String> {
    text.filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Of an OCI runtime specification what is wanted.
#[derive(Deserialize)]
struct Spec {
    annotations: Option<BTreeMap<String, String>>,
    process: Option<SpecProcess>,
}

#[derive(Deserialize)]
struct SpecProcess {
    env: Option<Vec<String>>,
}

impl Spec {
    fn environment(&self) -> BTreeMap<String, String> {
        let pairs = self.process.iter().flat_map(|process| process.env.iter().flatten());
        allow::environment(pairs.map(String::as_str))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct DockerDaemon {
    data_root: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerContainer {
    name: Option<String>,
    config: Option<DockerConfig>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct DockerConfig {
    image: Option<String>,
    env: Option<Vec<String>>,
    labels: Option<HashMap<String, String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct DockerHost {
    network_mode: Option<String>,
}

/// One of containers/storage's list.
#[derive(Deserialize)]
struct StoredContainer {
    id: Option<String>,
    names: Option<Vec<String>>,
}
