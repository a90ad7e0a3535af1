//! Real container runtimes in private: a dockerd and a containerd that nothing outside their own namespaces can see.
//!
//! A lab is a process tree of its own (network, mount, PID, UTS and IPC namespaces, a tmpfs on `/run` and on the runtimes'
//! folders). It ends with the thread that started it, on return, on panic and on `kill -9` alike; only its cgroup folders are
//! removed by hand, when the lab is dropped or by the next one that starts.

#[path = "runtimes/cri.rs"]
mod cri;
#[path = "runtimes/image.rs"]
mod image;
#[path = "runtimes/place.rs"]
mod place;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use place::Trouble;

pub(crate) use place::{Place, run};

/// The image that every lab has: a static busybox, users 1000 and 1337.
pub(crate) const IMAGE: &str = image::NAME;

/// How long a daemon may take until it answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// What must never come out of any command.
pub(crate) const PLANTED: &str = "planted-hunter2";

/// The annotation in which `kubectl apply` keeps a whole manifest.
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Does nothing.
pub(crate) const SLEEP: &[&str] = &["/bin/sleep", "infinity"];

/// Stands in for Envoy: takes what is redirected to it, of both families, and keeps it open. `nc` is no server of two ports.
const PROXY: &[&str] =
    &["/bin/sh", "-c", "nc -ll -p 15006 -e /bin/sleep 1000 & exec nc -ll -p 15001 -e /bin/sleep 1000"];

/// What a container's environment may hold beside what is wanted.
const PROXY_ENVIRONMENT: [(&str, &str); 4] = [
    ("ISTIO_META_INTERCEPTION_MODE", "REDIRECT"),
    ("ISTIO_META_API_TOKEN", PLANTED),
    ("PROXY_CONFIG", PLANTED),
    ("DB_PASSWORD", PLANTED),
];

/// A lab in which pods run, whatever runs them.
pub(crate) trait Node {
    /// What the runtime calls itself.
    const RUNTIME: &'static str;

    /// Where it is.
    fn place(&self) -> &Place;

    /// A pod as Istio leaves it: `app` runs as 1000, `istio-proxy` as 1337 and listens on 15001 and 15006, the init container
    /// that set the rules is gone. The rules themselves are the caller's. Passwords are planted wherever pods have them.
    fn run_istio_pod(&self, name: &str, namespace: &str) -> PodHandle;

    /// Starts one more program in a container, under these IDs, and lets it run.
    fn start_in(&self, container: &str, id: u32, words: &[&str]);
}

fn manifest() -> String {
    format!("{{\"env\":[{{\"name\":\"DB_PASSWORD\",\"value\":\"{PLANTED}\"}}]}}")
}

/// A private dockerd.
pub(crate) struct DockerLab {
    place: Place,
}

impl DockerLab {
    /// Starts one. `None`, loudly, where it cannot be done; a panic when `CI` is set.
    pub(crate) fn start() -> Option<Self> {
        place::or_say("Docker", Self::try_start())
    }

    fn try_start() -> Result<Self, Trouble> {
        let place = Place::open(&["dockerd", "runc", "iptables"], |folder, cgroup| {
            std::fs::write(folder.join("daemon.json"), "{}")?;
            Ok(format!(
                "exec_daemon dockerd --config-file {folder}/daemon.json --host unix:///run/docker.sock \
                 --storage-driver vfs --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent /{cgroup} \
                 --ipv6 --fixed-cidr-v6 fd00:99::/64",
                folder = folder.display()
            ))
        })?;
        place.wait_for(PATIENCE, || ping(&place.socket("run/docker.sock")))?;
        let lab = Self { place };
        let archive = image::archive(lab.place.folder())?;
        let loaded = lab.docker().arg("load").stdin(std::fs::File::open(archive)?).output()?;
        place::succeed("docker load", &loaded)?;
        Ok(lab)
    }

    /// The client, Debian's own where there are several. Its text is not to be relied on, `--format` and IDs are.
    pub(crate) fn docker(&self) -> Command {
        let debian = PathBuf::from("/usr/bin/docker");
        let program = if debian.exists() { debian } else { PathBuf::from("docker") };
        let mut command = self.place.inside(program);
        command.arg("--host").arg("unix:///run/docker.sock");
        command
    }

    /// `docker run --detach OPTIONS IMAGE COMMAND`; the container's full ID.
    pub(crate) fn run_container(&self, options: &[&str], command: &[&str]) -> String {
        let mut run = self.docker();
        run.args(["run", "--detach"]).args(options).arg(IMAGE).args(command);
        place::run(&mut run).trim().to_owned()
    }

    /// A pod's sandbox, as cri-dockerd makes it.
    pub(crate) fn run_sandbox(&self, name: &str, namespace: &str) -> String {
        let mut options = kubernetes_labels(name, namespace, "POD");
        let marks =
            ["io.kubernetes.docker.type=podsandbox".to_owned(), format!("annotation.{LAST_APPLIED}={}", manifest())];
        for mark in marks.into_iter().chain([
            r#"annotation.sidecar.istio.io/status={"containers":["istio-proxy"]}"#.to_owned(),
            format!("app={name}"),
        ]) {
            options.extend(["--label".to_owned(), mark]);
        }
        self.run_container(&options.iter().map(String::as_str).collect::<Vec<_>>(), SLEEP)
    }

    /// The container's first process as the lab counts.
    pub(crate) fn pid(&self, container: &str) -> u32 {
        let text = place::run(self.docker().args(["inspect", "--format", "{{.State.Pid}}", container]));
        text.trim().parse().expect("a process number")
    }
}

impl Node for DockerLab {
    const RUNTIME: &'static str = "docker";

    fn place(&self) -> &Place {
        &self.place
    }

    /// As cri-dockerd makes it: containers that share a sandbox's network, all known by their labels.
    fn run_istio_pod(&self, name: &str, namespace: &str) -> PodHandle {
        let sandbox = self.run_sandbox(name, namespace);
        let network = format!("container:{sandbox}");
        let mut handle = PodHandle {
            sandbox_pid: self.pid(&sandbox),
            sandbox: sandbox.clone(),
            ids: BTreeMap::new(),
            pids: BTreeMap::new(),
        };
        let containers = [
            ContainerSpec {
                name: "app",
                uid: 1000,
                args: SLEEP,
                env: &[("DB_PASSWORD", PLANTED)],
                ..ContainerSpec::default()
            },
            ContainerSpec {
                name: "istio-proxy",
                uid: 1337,
                args: PROXY,
                env: &PROXY_ENVIRONMENT,
                ..ContainerSpec::default()
            },
        ];
        for ContainerSpec { name: container, uid, args, env, .. } in containers {
            let mut options = kubernetes_labels(name, namespace, container);
            options.extend(["--network", &network, "--user", &uid.to_string()].map(str::to_owned));
            for (key, value) in env {
                options.extend(["--env".to_owned(), format!("{key}={value}")]);
            }
            let id = self.run_container(&options.iter().map(String::as_str).collect::<Vec<_>>(), args);
            handle.pids.insert(container.to_owned(), self.pid(&id));
            handle.ids.insert(container.to_owned(), id);
        }
        handle
    }

    fn start_in(&self, container: &str, id: u32, words: &[&str]) {
        run(self.docker().args(["exec", "--detach", "--user", &id.to_string(), container]).args(words));
    }
}

/// What cri-dockerd's containers are known by.
pub(crate) fn kubernetes_labels(pod: &str, namespace: &str, container: &str) -> Vec<String> {
    let pairs = [
        ("io.kubernetes.pod.name", pod),
        ("io.kubernetes.pod.namespace", namespace),
        ("io.kubernetes.pod.uid", namespace),
        ("io.kubernetes.container.name", container),
    ];
    let words = pairs.iter().flat_map(|(key, value)| ["--label".to_owned(), format!("{key}={value}")]);
    words.chain(["--name".to_owned(), format!("k8s_{container}_{pod}_{namespace}")]).collect()
}

/// A private containerd with CRI and a CNI network (IPv4 and IPv6).
pub(crate) struct CriLab {
    client: cri::Client,
    place: Place,
}

/// A container of a pod to be made.
#[derive(Clone, Default)]
pub(crate) struct ContainerSpec<'a> {
    /// Its name in the pod.
    pub(crate) name: &'a str,
    /// Its user.
    pub(crate) uid: i64,
    /// Its command.
    pub(crate) args: &'a [&'a str],
    /// Its environment.
    pub(crate) env: &'a [(&'a str, &'a str)],
    /// What it may do beside what all may, such as `NET_ADMIN`.
    pub(crate) capabilities: &'a [&'a str],
    /// The kubelet's notes on it.
    pub(crate) annotations: &'a [(&'a str, &'a str)],
    /// The others are made once it has ended.
    pub(crate) ends: bool,
}

/// A pod to be made.
#[derive(Clone, Default)]
pub(crate) struct PodSpec<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Its Kubernetes namespace.
    pub(crate) namespace: &'a str,
    /// Its labels.
    pub(crate) labels: &'a [(&'a str, &'a str)],
    /// Its annotations.
    pub(crate) annotations: &'a [(&'a str, &'a str)],
    /// It shares the node's network namespace.
    pub(crate) host_network: bool,
    /// Its UID, which then stands in its cgroup's path as the kubelet writes it; made up, and not there, when empty.
    pub(crate) uid: &'a str,
    /// Its containers.
    pub(crate) containers: &'a [ContainerSpec<'a>],
}

/// A running pod; process numbers are those of the lab's inside.
#[derive(Debug)]
pub(crate) struct PodHandle {
    /// The sandbox's ID.
    pub(crate) sandbox: String,
    /// The sandbox's process.
    pub(crate) sandbox_pid: u32,
    /// Container IDs by name.
    pub(crate) ids: BTreeMap<String, String>,
    /// Container processes by name.
    pub(crate) pids: BTreeMap<String, u32>,
}

impl CriLab {
    /// Starts one. `None`, loudly, where it cannot be done; a panic when `CI` is set.
    pub(crate) fn start() -> Option<Self> {
        place::or_say("containerd", Self::try_start())
    }

    fn try_start() -> Result<Self, Trouble> {
        let place = Place::open(&["containerd", "ctr", "runc"], |folder, _| {
            std::fs::write(folder.join("containerd.toml"), configuration())?;
            std::fs::write(folder.join("10-lab.conflist"), NETWORK)?;
            Ok(format!(
                "mkdir -p /run/cni/net.d; cp {folder}/10-lab.conflist /run/cni/net.d/; \
                 exec_daemon containerd --config {folder}/containerd.toml",
                folder = folder.display()
            ))
        })?;
        let client = cri::Client::new(place.socket("run/containerd/containerd.sock"));
        place.wait_for(PATIENCE, || client.answers())?;
        let archive = image::archive(place.folder())?;
        let imported = place.inside("ctr").args(["-n", "k8s.io", "images", "import"]).arg(archive).output()?;
        place::succeed("ctr images import", &imported)?;
        place.wait_for(PATIENCE, || client.network_is_ready())?;
        Ok(Self { client, place })
    }

    /// Makes and starts a pod.
    pub(crate) fn run_pod(&self, pod: &PodSpec<'_>) -> PodHandle {
        self.client.run_pod(pod, self.place.cgroup())
    }

    /// Stops one container of a pod.
    pub(crate) fn stop_container(&self, id: &str) {
        self.client.stop_container(id);
    }

    /// Stops a pod's sandbox and with it everything in the pod.
    pub(crate) fn stop_pod(&self, pod: &PodHandle) {
        self.client.stop_sandbox(&pod.sandbox);
    }

    /// Removes a stopped pod, so that the runtime does not know it any more.
    pub(crate) fn remove_pod(&self, pod: &PodHandle) {
        self.client.remove_sandbox(&pod.sandbox);
    }

    /// The runtime's socket as seen from outside.
    pub(crate) fn socket(&self) -> PathBuf {
        self.place.socket("run/containerd/containerd.sock")
    }
}

impl Node for CriLab {
    const RUNTIME: &'static str = "containerd";

    fn place(&self) -> &Place {
        &self.place
    }

    fn run_istio_pod(&self, name: &str, namespace: &str) -> PodHandle {
        self.run_pod(&PodSpec {
            name,
            namespace,
            labels: &[("app", name), ("security.istio.io/tlsMode", "istio")],
            annotations: &[
                ("sidecar.istio.io/status", r#"{"initContainers":["istio-init"],"containers":["istio-proxy"]}"#),
                (LAST_APPLIED, &manifest()),
            ],
            host_network: false,
            uid: "",
            containers: &[
                ContainerSpec {
                    name: "app",
                    uid: 1000,
                    args: SLEEP,
                    env: &[("DB_PASSWORD", PLANTED)],
                    ..ContainerSpec::default()
                },
                ContainerSpec {
                    name: "istio-proxy",
                    uid: 1337,
                    args: PROXY,
                    env: &PROXY_ENVIRONMENT,
                    ..ContainerSpec::default()
                },
            ],
        })
    }

    fn start_in(&self, container: &str, id: u32, words: &[&str]) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("started-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut command = self.place.inside("ctr");
        command.args(["-n", "k8s.io", "tasks", "exec", "--detach", "--exec-id", &name]);
        run(command.args(["--user", &format!("{id}:{id}"), container]).args(words));
    }
}

/// No image is pulled, no score lowered (that takes CAP_SYS_RESOURCE), nothing is kept outside the lab.
fn configuration() -> String {
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{bin}"
    conf_dir = "/run/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
"#,
        bin = if std::path::Path::new("/usr/lib/cni/bridge").exists() { "/usr/lib/cni" } else { "/opt/cni/bin" },
    )
}

const NETWORK: &str = r#"{"cniVersion": "0.4.0", "name": "lab", "plugins": [{
  "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
  "ipam": {"type": "host-local", "dataDir": "/run/cni/ipam",
    "ranges": [[{"subnet": "10.88.7.0/24"}], [{"subnet": "fd00:88:7::/64"}]],
    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}
}]}"#;

/// Whether an Engine API answers.
fn ping(socket: &std::path::Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket) else { return false };
    let mut answer = [0; 15];
    stream.set_read_timeout(Some(Duration::from_secs(5))).is_ok()
        && stream.write_all(b"GET /_ping HTTP/1.0\r\n\r\n").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer.ends_with(b" 200 OK")
}
