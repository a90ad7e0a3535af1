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
use std::time::Duration;

use place::{Place, Trouble};

pub(crate) use place::run;

/// The image that every lab has: a static busybox, users 1000 and 1337.
pub(crate) const IMAGE: &str = image::NAME;

/// How long a daemon may take until it answers.
const PATIENCE: Duration = Duration::from_secs(30);

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

    /// A command inside the lab.
    pub(crate) fn inside(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        self.place.inside(program)
    }

    /// The client, Debian's own where there are several. Its text is not to be relied on, `--format` and IDs are.
    pub(crate) fn docker(&self) -> Command {
        let debian = PathBuf::from("/usr/bin/docker");
        let program = if debian.exists() { debian } else { PathBuf::from("docker") };
        let mut command = self.inside(program);
        command.arg("--host").arg("unix:///run/docker.sock");
        command
    }

    /// `docker run --detach OPTIONS IMAGE COMMAND`; the container's full ID.
    pub(crate) fn run_container(&self, options: &[&str], command: &[&str]) -> String {
        let mut run = self.docker();
        run.args(["run", "--detach"]).args(options).arg(IMAGE).args(command);
        place::run(&mut run).trim().to_owned()
    }

    /// The container's first process as the lab counts.
    pub(crate) fn pid(&self, container: &str) -> u32 {
        let text = place::run(self.docker().args(["inspect", "--format", "{{.State.Pid}}", container]));
        text.trim().parse().expect("a process number")
    }
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

    /// A command inside the lab.
    pub(crate) fn inside(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        self.place.inside(program)
    }

    /// Makes and starts a pod.
    pub(crate) fn run_pod(&self, pod: &PodSpec<'_>) -> PodHandle {
        self.client.run_pod(pod, self.place.cgroup())
    }

    /// A pod as Istio leaves it: `app` runs as 1000, `istio-proxy` as 1337, the init container that set the rules is gone.
    pub(crate) fn run_istio_pod(&self, name: &str, namespace: &str) -> PodHandle {
        let forever: &[&str] = &["/bin/sleep", "infinity"];
        let proxy_env = [
            ("ISTIO_META_INTERCEPTION_MODE", "REDIRECT"),
            ("ISTIO_META_API_TOKEN", PLANTED),
            ("PROXY_CONFIG", PLANTED),
            ("DB_PASSWORD", PLANTED),
        ];
        let manifest = format!("{{\"env\":[{{\"name\":\"DB_PASSWORD\",\"value\":\"{PLANTED}\"}}]}}");
        self.run_pod(&PodSpec {
            name,
            namespace,
            labels: &[("app", name), ("security.istio.io/tlsMode", "istio")],
            annotations: &[
                ("sidecar.istio.io/status", r#"{"initContainers":["istio-init"],"containers":["istio-proxy"]}"#),
                ("kubectl.kubernetes.io/last-applied-configuration", &manifest),
            ],
            host_network: false,
            containers: &[
                ContainerSpec { name: "app", uid: 1000, args: forever, env: &[("DB_PASSWORD", PLANTED)] },
                ContainerSpec { name: "istio-proxy", uid: 1337, args: forever, env: &proxy_env },
            ],
        })
    }

    /// Stops one container of a pod.
    pub(crate) fn stop_container(&self, id: &str) {
        self.client.stop_container(id);
    }

    /// Stops a pod's sandbox and with it everything in the pod.
    pub(crate) fn stop_pod(&self, pod: &PodHandle) {
        self.client.stop_sandbox(&pod.sandbox);
    }

    /// The runtime's socket as seen from outside.
    pub(crate) fn socket(&self) -> PathBuf {
        self.place.socket("run/containerd/containerd.sock")
    }
}

/// What must never come out of any command.
pub(crate) const PLANTED: &str = "planted-hunter2";

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
