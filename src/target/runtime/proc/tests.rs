//! Made-up nodes: a `/proc`, and what runtimes and the kubelet leave on disk, good and hostile.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::json;

use super::*;
use crate::target::runtime::{Member, PodName};

const UID: &str = "3f1c2d4e-aaaa-bbbb-cccc-0123456789ab";
const TASKS: &str = "run/containerd/io.containerd.runtime.v2.task";

struct Node(tempfile::TempDir);

impl Node {
    fn new() -> Self {
        let node = Self(tempfile::tempdir().expect("folder"));
        node.process(1, 1, "init", "0::/init.scope\n");
        node
    }

    fn path(&self, path: &str) -> PathBuf {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        path
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(path), text).expect("write");
    }

    fn process(&self, pid: u32, started: u64, command: &str, cgroup: &str) {
        self.child(pid, 1, started, command, cgroup);
    }

    fn child(&self, pid: u32, parent: u32, started: u64, command: &str, cgroup: &str) {
        self.write(&format!("proc/{pid}/cgroup"), cgroup);
        let zeros = "0 ".repeat(17);
        self.write(&format!("proc/{pid}/stat"), format!("{pid} (a) Z (\u{ff}) S {parent} {zeros}{started} 0\n"));
        self.write(&format!("proc/{pid}/comm"), format!("{command}\n"));
        self.write(&format!("proc/{pid}/cmdline"), format!("{command}\0"));
    }

    fn list(&self) -> Vec<Group> {
        let mut world = World::here("node", Vec::new());
        world.proc_root = self.0.path().join("proc");
        world.host_root = self.0.path().to_owned();
        let answer = list(&world);
        assert!(matches!(answer.tried.outcome, Outcome::Inferred { .. }), "{:?}", answer.tried);
        answer.groups
    }

    /// All groups in short: runtime, pod, sandbox, containers, what was inferred.
    fn told(&self) -> Vec<String> {
        let groups = self.list();
        groups.iter().map(told).collect()
    }
}

fn told(group: &Group) -> String {
    let member = |member: &Member| format!("{} {} {}", member.name, &member.id[..2], member.pid.unwrap_or_default());
    let members: Vec<String> = group.members.iter().map(member).collect();
    let pod = group.pod.as_ref().map_or("-".to_owned(), |pod| format!("{pod} {}", pod.uid.as_deref().unwrap_or("-")));
    let sandbox = group.sandbox.as_ref().map_or("-".to_owned(), |sandbox| {
        format!("{} {}", &sandbox.id[..2], sandbox.pid.map_or("-".to_owned(), |pid| pid.to_string()))
    });
    format!("{} | {pod} | {sandbox} | {}", group.runtime, members.join(", "))
}

fn id(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn in_pod(container: &str) -> String {
    format!(
        "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice/{container}.scope\n",
        UID.replace('-', "_")
    )
}

fn inferred(group: &Group, fact: &str) -> String {
    group.inferred.get(fact).cloned().unwrap_or_default()
}

/// A pod of two containers and a sandbox in cgroups alone, as containerd leaves it.
fn pod(node: &Node) {
    node.process(10, 100, "pause", &in_pod(&format!("cri-containerd-{}", id('a'))));
    node.process(11, 200, "sleep", &in_pod(&format!("cri-containerd-{}", id('b'))));
    node.process(12, 300, "envoy", &in_pod(&format!("cri-containerd-{}", id('c'))));
}

#[test]
fn a_pod_without_any_record_is_known_by_its_uid() {
    let node = Node::new();
    pod(&node);
    let groups = node.list();
    let wanted = format!("containerd | {UID} {UID} | aa 10 | bbbbbbbbbbbb bb 11, cccccccccccc cc 12");
    assert_eq!(groups.iter().map(told).collect::<Vec<_>>(), [wanted]);
    assert!(inferred(&groups[0], "name").contains("nothing tells the name"));
    assert!(inferred(&groups[0], "containers").contains("pause"));
    assert_eq!(inferred(&groups[0], "runtime"), "the form of the control group's path");
    assert!(!groups[0].inferred.contains_key("namespace"));
}

#[test]
fn the_kubelets_logs_name_a_pod_and_its_containers() {
    let node = Node::new();
    pod(&node);
    for (container, id) in [("app", id('b')), ("istio-proxy", id('c'))] {
        symlink("/nowhere", node.path(&format!("var/log/containers/web_blue_{container}-{id}.log"))).expect("link");
    }
    let groups = node.list();
    let wanted = format!("containerd | blue/web {UID} | aa 10 | app bb 11, istio-proxy cc 12");
    assert_eq!(groups.iter().map(told).collect::<Vec<_>>(), std::slice::from_ref(&wanted));
    assert_eq!(inferred(&groups[0], "namespace"), "the kubelet's log folders");

    // A sandbox may be called anything: nothing names it, and it is the oldest.
    node.process(10, 100, "sleep", &in_pod(&format!("cri-containerd-{}", id('a'))));
    assert_eq!(node.told(), std::slice::from_ref(&wanted));
    assert!(inferred(&node.list()[0], "containers").contains("the oldest one"));
    node.process(10, 250, "sleep", &in_pod(&format!("cri-containerd-{}", id('a'))));
    let younger = format!("containerd | blue/web {UID} | - | app bb 11, aaaaaaaaaaaa aa 10, istio-proxy cc 12");
    assert_eq!(node.told(), [younger]);

    // The folder of a pod tells its name without any link, and its container's when that is the only one.
    let node = Node::new();
    pod(&node);
    node.write(&format!("var/log/pods/blue_web_{UID}/app/0.log"), "");
    assert_eq!(node.told(), [wanted.replace("app ", "bbbbbbbbbbbb ").replace("istio-proxy ", "cccccccccccc ")]);
    fs::remove_dir_all(node.path("proc/12")).expect("ended");
    assert_eq!(node.told(), [format!("containerd | blue/web {UID} | aa 10 | app bb 11")]);
}

#[test]
fn containerds_state_folder_tells_everything() {
    for folder in
        ["run/containerd", "run/k3s/containerd", "run/k0s/containerd", "var/snap/microk8s/common/run/containerd"]
    {
        let node = Node::new();
        // A process in a cgroup below, an older process of the node, a zombie, one that has ended: none is the first.
        let cgroup = format!("0::/kubepods/burstable/pod{UID}/{}", id('b'));
        node.process(9, 50, "old", "0::/system.slice\n");
        node.process(11, 200, "sleep", &cgroup);
        node.process(7, 201, "sh", &format!("{cgroup}/init.scope"));
        node.process(6, 150, "gone", &cgroup);
        node.write("proc/6/stat", format!("6 (gone) Z 1 {}150 0\n", "0 ".repeat(17)));
        node.write("proc/5/other", "");
        node.process(10, 100, "anything", &format!("0::/kubepods/burstable/pod{UID}/{}", id('a')));
        let annotations = |kind: &str, name: &str| {
            json!({"io.kubernetes.cri.container-type": kind, "io.kubernetes.cri.sandbox-id": id('a'),
                "io.kubernetes.cri.sandbox-name": "web", "io.kubernetes.cri.sandbox-namespace": "blue",
                "io.kubernetes.cri.container-name": name, "io.kubernetes.cri.image-name": "busybox:1"})
        };
        let environment = json!(["DB_PASSWORD=x", "ISTIO_META_DNS_CAPTURE=true"]);
        let config = |id: &str| format!("{folder}/io.containerd.runtime.v2.task/k8s.io/{id}/config.json");
        node.write(&config(&id('a')), json!({"annotations": annotations("sandbox", "")}).to_string());
        let spec = json!({"annotations": annotations("container", "app"), "process": {"env": environment}});
        node.write(&config(&id('b')), spec.to_string());
        let groups = node.list();
        assert_eq!(
            groups.iter().map(told).collect::<Vec<_>>(),
            [format!("containerd | blue/web {UID} | aa 10 | app bb 11")]
        );
        assert_eq!(groups[0].members[0].image.as_deref(), Some("busybox:1"));
        for fact in ["name", "namespace", "containers", "runtime"] {
            assert_eq!(inferred(&groups[0], fact), "containerd's state folder", "{fact}");
        }
        let mut world = World::here("node", Vec::new());
        (world.proc_root, world.host_root) = (node.0.path().join("proc"), node.0.path().to_owned());
        let kept = list(&world).recorded.remove(&id('b')).expect("recorded").told.environment;
        assert_eq!(kept, BTreeMap::from([("ISTIO_META_DNS_CAPTURE".to_owned(), "true".to_owned())]));
    }
}

#[test]
fn containers_of_docker_nerdctl_and_podman_have_their_names() {
    let node = Node::new();
    node.process(20, 1, "a", &format!("0::/system.slice/docker-{}.scope\n", id('d')));
    let labels = json!({"tier": "front", "kubectl.kubernetes.io/last-applied-configuration": "hunter2"});
    let config = json!({"Name": "/web", "Config": {"Image": "busybox", "Env": null, "Labels": labels}});
    node.write(&format!("var/lib/docker/containers/{}/config.v2.json", id('d')), config.to_string());
    node.process(19, 1, "a", &format!("0::/docker/{}\n", id('c')));
    node.write("etc/docker/daemon.json", r#"{"debug": true, "data-root": "/mnt/docker"}"#);
    node.write(&format!("mnt/docker/containers/{}/config.v2.json", id('c')), r#"{"Name": "/moved"}"#);
    node.process(21, 1, "a", &format!("0::/default/{}\n", id('e')));
    let spec = json!({"annotations": {"nerdctl/name": "lone"}});
    node.write(&format!("{TASKS}/default/{}/config.json", id('e')), spec.to_string());
    node.process(22, 1, "a", &format!("0::/machine.slice/libpod-{}.scope/container\n", id('f')));
    node.process(23, 1, "conmon", &format!("0::/machine.slice/libpod-conmon-{}.scope\n", id('f')));
    let spec = json!({"annotations": {"io.container.manager": "libpod"}, "process": {}});
    node.write(
        &format!("var/lib/containers/storage/vfs-containers/{}/userdata/config.json", id('f')),
        spec.to_string(),
    );
    let list = json!([{"id": id('f'), "names": ["pod"]}, {"id": id('0')}, {"names": null}]);
    node.write("var/lib/containers/storage/vfs-containers/containers.json", list.to_string());
    node.process(24, 1, "a", &format!("0::/custom/{}\n", id('0')));
    let groups = node.list();
    let wanted = [
        "unknown | - | - | 000000000000 00 24",
        "docker | - | - | moved cc 19",
        "docker | - | - | web dd 20",
        "containerd | - | - | lone ee 21",
        "podman | - | - | pod ff 22",
    ];
    assert_eq!(groups.iter().map(told).collect::<Vec<_>>(), wanted);
    assert_eq!(groups[2].labels, BTreeMap::from([("tier".to_owned(), "front".to_owned())]));
    assert_eq!(inferred(&groups[2], "name"), "Docker's container folder");
    assert!(!groups[0].inferred.contains_key("runtime"));
}

#[test]
fn pods_of_crio_and_in_docker_are_put_together() {
    let node = Node::new();
    let annotations = json!({"io.container.manager": "cri-o", "io.kubernetes.cri-o.ContainerType": "container",
        "io.kubernetes.cri-o.SandboxID": id('a'), "io.kubernetes.pod.name": "web", "io.kubernetes.pod.namespace": "blue",
        "io.kubernetes.pod.uid": UID, "io.kubernetes.container.name": "app"});
    node.process(11, 200, "sleep", &in_pod(&format!("crio-{}", id('b'))));
    node.process(12, 100, "conmon", &in_pod(&format!("crio-conmon-{}", id('b'))));
    let spec = json!({"annotations": annotations}).to_string();
    node.write(&format!("run/containers/storage/overlay-containers/{}/userdata/config.json", id('b')), spec);
    assert_eq!(node.told(), [format!("cri-o | blue/web {UID} | aa - | app bb 11")], "its sandbox has no process");

    let node = Node::new();
    for (pid, one, container, kind) in [(10, 'a', "POD", "podsandbox"), (11, 'b', "app", "container")] {
        node.process(pid, u64::from(pid), "x", &format!("0::/kubepods/pod{UID}/{}", id(one)));
        let labels = json!({"io.kubernetes.pod.name": "web", "io.kubernetes.pod.namespace": "blue",
            "io.kubernetes.pod.uid": UID, "io.kubernetes.container.name": container,
            "io.kubernetes.docker.type": kind, "annotation.a/b": "c"});
        let config = json!({"Name": "/k8s", "Config": {"Labels": labels}}).to_string();
        node.write(&format!("var/lib/docker/containers/{}/config.v2.json", id(one)), config);
    }
    let groups = node.list();
    assert_eq!(groups.iter().map(told).collect::<Vec<_>>(), [format!("docker | blue/web {UID} | aa 10 | app bb 11")]);
    assert_eq!(groups[0].annotations, BTreeMap::from([("a/b".to_owned(), "c".to_owned())]));
    let known = PodName { name: "web".into(), namespace: "blue".into(), uid: Some(UID.into()) };
    assert_eq!(groups[0].pod.as_ref(), Some(&known));
}

#[test]
fn a_container_without_a_cgroup_is_known_by_its_monitor() {
    let node = Node::new();
    let shim = format!("containerd-shim-runc-v2\0-namespace\0k8s.io\0-id\0{}", id('a'));
    node.child(5, 1, 5, &shim, "0::/system.slice/containerd.service\n");
    node.child(10, 5, 10, "pause", "0::/\n");
    node.child(11, 1, 10, "another's", "0::/\n");
    node.child(12, 5, 10, "elsewhere", &format!("0::/docker/{}\n", id('d')));
    for (one, pid) in [('a', "10"), ('b', "11\n"), ('c', "12"), ('e', "x"), ('f', "99999999999999")] {
        node.write(&format!("{TASKS}/k8s.io/{}/init.pid", id(one)), pid);
        let annotations = json!({"io.kubernetes.cri.sandbox-id": id('a'), "io.kubernetes.cri.container-name": "app",
            "io.kubernetes.cri.sandbox-name": "web", "io.kubernetes.cri.sandbox-namespace": "blue"});
        node.write(&format!("{TASKS}/k8s.io/{}/config.json", id(one)), json!({"annotations": annotations}).to_string());
    }
    let wanted = ["containerd | blue/web - | aa - | app aa 10", "docker | - | - | dddddddddddd dd 12"];
    assert_eq!(node.told(), wanted);
}

#[test]
fn containers_around_us_are_none_of_ours() {
    let node = Node::new();
    let outer = id('e');
    node.process(1, 1, "init", &format!("0::/docker/{outer}/init.scope\n"));
    node.process(2, 1, "kubelet", &format!("0::/docker/{outer}/kubelet.slice\n"));
    node.process(
        3,
        9,
        "sleep",
        &format!(
            "0::/docker/{outer}/kubelet.slice/kubelet-kubepods-pod{}.slice/cri-containerd-{}.scope\n",
            UID.replace('-', "_"),
            id('a')
        ),
    );
    assert_eq!(node.told(), [format!("containerd | {UID} {UID} | - | aaaaaaaaaaaa aa 3")]);
}

#[test]
fn nobody_takes_anothers_place() {
    let node = Node::new();
    let victim = id('a');
    let config = json!({"Name": "/web", "Config": {}}).to_string();
    node.write(&format!("var/lib/docker/containers/{victim}/config.v2.json"), &config);
    let by_user = format!("0::/user.slice/user-1000.slice/user@1000.service/docker-{victim}.scope\n");
    node.process(20, 1, "user's", &by_user);
    assert_eq!(node.told(), ["docker | - | - | aaaaaaaaaaaa aa 20"], "it gets no name of the machine's runtime");
    assert!(first_processes(&node.0.path().join("proc")).is_empty(), "it is paired with no runtime's container");
    let other = id('b');
    node.process(21, 2, "nested", &format!("0::/docker/{other}/docker/{victim}\n"));
    node.process(22, 9, "real", &format!("0::/docker/{victim}\n"));
    node.process(23, 3, "other", &format!("0::/docker/{other}\n"));
    assert_eq!(node.told(), ["docker | - | - | web aa 22", "docker | - | - | bbbbbbbbbbbb bb 23"]);
    let pids: Vec<u32> = first_processes(&node.0.path().join("proc")).into_values().collect();
    assert_eq!(pids, [22, 23]);
    assert!(first_processes(&node.0.path().join("nowhere")).is_empty());
}

#[test]
fn no_name_of_a_cgroup_hides_a_container() {
    let node = Node::new();
    let stands = [b"0::/docker/".as_slice(), id('a').as_bytes(), b"/\xff\n"].concat();
    node.process(20, 1, "sly", "0::/\n");
    node.write("proc/20/cgroup", stands);
    assert_eq!(node.told(), ["docker | - | - | aaaaaaaaaaaa aa 20"]);
}

#[test]
fn hostile_records_tell_nothing_and_hold_nobody_up() {
    let node = Node::new();
    let digits = ['0', '1', '2', '3', '4', '5', '6'];
    let file = |one: char| format!("var/lib/docker/containers/{}/config.v2.json", id(one));
    for (index, one) in digits.iter().enumerate() {
        node.process(30 + u32::try_from(index).expect("few"), 1, "x", &format!("0::/docker/{}\n", id(*one)));
    }
    nix::unistd::mkfifo(&node.path(&file('0')), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    node.write("secret.json", json!({"Name": "/stolen"}).to_string());
    symlink(node.path("secret.json"), node.path(&file('1'))).expect("link");
    fs::File::create(node.path(&file('2'))).expect("file").set_len(1 << 30).expect("sparse");
    node.write(&file('3'), b"\xff\xfe{{{{\0garbage");
    node.write(&file('4'), format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)));
    node.write(&file('5'), json!({"Name": ["x"], "Config": 7}).to_string());
    node.write(&file('6'), json!({"Name": "/\u{1b}[31mred\n\u{202e}", "Config": {"Labels": {}}}).to_string());
    // Names in log folders that are none.
    node.write("var/log/containers/\u{1b}[2J_\n_x-zz.log", "");
    node.write("var/log/pods/a_b", "a file");
    let begun = Instant::now();
    let groups = node.list();
    assert!(begun.elapsed().as_secs() < 5);
    assert_eq!(groups.len(), digits.len());
    for (group, digit) in groups.iter().zip(digits).take(6) {
        assert_eq!(group.members[0].name, digit.to_string().repeat(12), "{group:?}");
    }
    // Kept as it is; what prints it escapes it.
    assert_eq!(groups[6].members[0].name, "\u{1b}[31mred\n\u{202e}");
}

#[test]
fn no_proc_is_a_failure_and_no_empty_list() {
    let folder = tempfile::tempdir().expect("folder");
    let mut world = World::here("node", Vec::new());
    world.proc_root = folder.path().join("proc");
    for _ in 0..2 {
        let answer = list(&world);
        assert!(matches!(answer.tried.outcome, Outcome::Failed(_)), "{:?}", answer.tried);
        fs::create_dir_all(&world.proc_root).expect("a folder that is no proc");
    }
    // Without a readable root cgroups still tell.
    let node = Node::new();
    pod(&node);
    (world.proc_root, world.host_root) = (node.0.path().join("proc"), folder.path().join("nowhere"));
    assert_eq!(list(&world).groups.len(), 1);
}
