//! Real pods and containers, found by their runtime and without it: the same processes, the same names, the same namespace.

use std::time::Instant;

use serde_json::{Value, json};

use crate::netns_of;
use crate::program::{Answer, NSLENS, nslens, outside, refused, target, workload};
use crate::runtimes::{ContainerSpec, CriLab, DockerLab, Node, Place, PodSpec, SLEEP};

/// What must be the same whoever tells it.
fn essence(workload: &Value) -> Value {
    let containers: Vec<Value> = workload["containers"]
        .as_array()
        .expect("containers")
        .iter()
        .map(|one| json!([one["name"], one["id"], one["pid"], one["environment"]]))
        .collect();
    let of = |key: &str| workload[key].clone();
    json!([
        of("kind"),
        of("name"),
        of("namespace"),
        of("runtime"),
        of("pid"),
        of("netns"),
        of("host_network"),
        containers
    ])
}

/// Asks for the same in both ways; what `--runtime proc` says.
fn both(place: &Place, words: &[&str]) -> Value {
    let asked = workload(place, words);
    let alone = workload(place, &[words, &["--runtime", "proc"]].concat());
    assert_eq!(essence(&asked), essence(&alone), "{words:?}");
    assert!(asked.get("inferred").is_none() && alone["inferred"].is_object(), "{words:?}: {asked} {alone}");
    alone
}

/// The list is the same, and whole, in both ways.
fn list(place: &Place) {
    let of = |options: &[&str]| {
        let document = nslens(place, &[&["list", "-q", "-o", "json"], options].concat()).ended(0).json();
        let workloads = document["workloads"].as_array().expect("workloads").iter().map(|one| {
            let containers: Vec<Value> = one["containers"]
                .as_array()
                .expect("containers")
                .iter()
                .map(|one| json!([one["name"], one["id"], one["pid"]]))
                .collect();
            json!([one["kind"], one["name"], one["namespace"], one["runtime"], one["pid"], one["netns"], containers])
        });
        workloads.collect::<Vec<Value>>()
    };
    let asked = of(&[]);
    assert!(asked.len() > 2);
    assert_eq!(asked, of(&["--runtime", "proc"]));
    let document = nslens(place, &["list", "--runtimes", "--runtime", "proc", "-o", "json"]).ended(0).json();
    let told = &document["runtimes"][0];
    assert_eq!(
        (&told["endpoint"], &told["outcome"]),
        (&json!("/proc and files on disk"), &json!("inferred")),
        "{document}"
    );
}

#[test]
fn containerds_pods_are_the_same_with_and_without_it() {
    let Some(lab) = CriLab::start() else { return };
    let place = lab.place();
    let blue = lab.run_istio_pod("web", "blue");
    let green = lab.run_istio_pod("web", "green");
    let containers = [ContainerSpec { name: "agent", args: SLEEP, ..ContainerSpec::default() }];
    let agent = PodSpec { name: "agent", namespace: "kube-system", containers: &containers, ..PodSpec::default() };
    lab.run_pod(&PodSpec { host_network: true, ..agent });
    // Not the first process of its container, and not one of its own cgroup.
    lab.start_in(&blue.ids["app"], 1000, SLEEP);

    for words in [
        &["pod/web", "-n", "blue"][..],
        &["web.green"],
        &["pod/web", "-n", "blue", "-c", "istio-proxy"],
        &["pod/agent"],
        &[&blue.sandbox[..12]],
        &[&green.ids["app"]],
        &[&format!("containerd://{}", &blue.ids["istio-proxy"][..12])],
    ] {
        let alone = both(place, words);
        for fact in ["name", "namespace", "containers", "runtime"] {
            assert_eq!(alone["inferred"][fact], "containerd's state folder", "{words:?}");
        }
    }
    list(place);
    let found = target(place, &["web.blue", "--runtime", "proc"]);
    assert_eq!(found["netns"]["inode"], json!(netns_of(place, blue.sandbox_pid)));
    let mut rivals = refused(place, &["pod/web", "--runtime", "proc"], 3).said("is ambiguous").candidates();
    rivals.sort_unstable();
    assert_eq!(rivals, ["pod/web.blue", "pod/web.green"]);
    refused(place, &["pod/webb", "--runtime", "proc"], 3)
        .said("and files on disk: 3 pods, 5 containers")
        .said("is: web\n");
    refused(place, &[&format!("docker://{}", &blue.sandbox[..12]), "--runtime", "proc"], 3);

    // An end is seen at once, with no daemon to tell.
    lab.stop_container(&blue.ids["app"]);
    let left = workload(place, &["web.blue", "--runtime", "proc"]);
    assert_eq!(left["containers"].as_array().map(Vec::len), Some(1), "{left}");
    assert_eq!(left["pid"], json!(blue.pids["istio-proxy"]));
    lab.stop_container(&blue.ids["istio-proxy"]);
    assert_eq!(target(place, &["web.blue", "--runtime", "proc"])["pid"], json!(blue.sandbox_pid));
    lab.stop_pod(&blue);
    refused(place, &["web.blue", "--runtime", "proc"], 3);

    hanging(place, green.pids["app"]);
    by_logs(&lab);
    without_cgroups(&lab);
    below_another_root(place, green.pids["app"]);
}

/// A runtime that does not answer is done without, and that is said.
fn hanging(place: &Place, pid: u32) {
    place.hold_daemon(true);
    let run = |options: &[&str]| {
        let words = [&["rules", "pod/web", "-o", "json", "--timeout", "200ms"], options].concat();
        Answer::of(place.inside(NSLENS), &words).ended(0)
    };
    let answer = run(&[])
        .said("note: no container runtime answered; inferred: ")
        .said("namespace, runtime from containerd's state folder");
    assert_eq!(answer.stderr.lines().count(), 1, "{answer:#?}");
    let document: Value = serde_json::from_str(&answer.stdout).expect("JSON");
    assert_eq!(document["target"]["pid"], json!(pid));
    assert_eq!(run(&["-q"]).stderr, "");
    let told = run(&["-v"]).stderr;
    let (first, last) = (told.find("no answer in time"), told.find("/proc and files on disk: 2 pods, 3 containers ("));
    assert!(first.is_some() && first < last, "{told}");
    // Whoever wants no runtime does not wait for one.
    let begun = Instant::now();
    let words = ["rules", "pod/web", "--runtime", "proc", "--timeout", "30s", "-o", "json"];
    assert_eq!(Answer::of(place.inside(NSLENS), &words).ended(0).stderr, "");
    assert!(begun.elapsed().as_secs() < 15);
    place.hold_daemon(false);
}

/// Without containerd's state folder the kubelet's log folders name a pod. The lab has no kubelet: its folders are made up, in a
/// mount namespace of their own.
fn by_logs(lab: &CriLab) {
    let place = lab.place();
    let uid = "3f1c2d4e-aaaa-bbbb-cccc-0123456789ab";
    let containers = ["app", "side"].map(|name| ContainerSpec { name, args: SLEEP, ..ContainerSpec::default() });
    let pod = PodSpec { name: "logged", namespace: "red", uid, containers: &containers, ..PodSpec::default() };
    let pod = lab.run_pod(&pod);
    // In the pod's cgroup, in that of a container, and below that.
    let known = both(place, &["pod/logged"]);
    assert_eq!((&known["uid"], &known["pid"]), (&json!(uid), &json!(pod.pids["app"])), "{known}");
    let run = |logs: &str, words: &[&str]| {
        let mut command = place.inside("unshare");
        let script = format!(
            "mount -t tmpfs none /run; mount -t tmpfs none /var/log; mkdir -p /var/log/containers; \
             mkdir -p /var/log/pods/red_logged_{uid}/app /var/log/pods/red_logged_{uid}/side; {logs} exec \"$0\" \"$@\""
        );
        command.args(["--mount", "sh", "-euc", &script, NSLENS]);
        Answer::of(command, words)
    };
    let links =
        pod.ids.iter().map(|(name, id)| format!("ln -s /dev/zero /var/log/containers/logged_red_{name}-{id}.log;"));
    let links: String = links.collect();
    let answer = run(&links, &["rules", "pod/logged", "-n", "red", "-o", "json"]);
    let answer =
        answer.ended(0).said("no container runtime answered").said("name, namespace from the kubelet's log folders");
    let document: Value = serde_json::from_str(&answer.stdout).expect("JSON");
    assert_eq!((&document["target"]["pid"], &document["target"]["runtime"]), (&json!(pod.pids["app"]), &json!(null)));
    let snapshot = run(&links, &["snapshot", "logged", "-c", "side", "--runtime", "proc"]).ended(0).json();
    let workload = &snapshot["workload"];
    assert_eq!((&workload["uid"], &workload["pid"]), (&json!(uid), &json!(pod.pids["side"])), "{workload}");
    assert_eq!(
        workload["inferred"]["containers"].as_str().map(|told| told.contains("taken for the sandbox")),
        Some(true)
    );
    for (container, index) in [("app", 0), ("side", 1)] {
        let told = &workload["containers"][index];
        let same = json!([container, pod.ids[container], pod.pids[container]]);
        assert_eq!(json!([told["name"], told["id"], told["pid"]]), same, "{workload}");
    }
    let json_of =
        |logs: &str, word: &str| run(logs, &["rules", word, "-o", "json", "--runtime", "proc"]).ended(0).json();
    assert_eq!(json_of(&links, &pod.sandbox[..10])["target"]["name"], "logged", "a sandbox's ID is its pod's");
    for scheme in ["containerd", "docker"] {
        // Nothing tells the runtime.
        assert_eq!(json_of(&links, &format!("{scheme}://{}", pod.ids["app"]))["target"]["pid"], json!(pod.pids["app"]));
    }
    // Without links there is the pod's name alone, without its folder the UID.
    assert_eq!(json_of("", "pod/logged")["target"]["namespace"], "red");
    let nameless = json_of("rm -r /var/log/pods;", &pod.ids["side"]);
    let target = &nameless["target"];
    assert_eq!((&target["name"], &target["namespace"], &target["kind"]), (&json!(uid), &json!(null), &json!("pod")));
    assert_eq!(target["pid"], json!(pod.pids["side"]), "{target}");
}

/// Processes that the runtime gave no cgroup of their own: containerd's shims wrote their numbers down, and are their parents.
fn without_cgroups(lab: &CriLab) {
    let place = lab.place();
    let pod = lab.run_istio_pod("bare", "red");
    let cgroup = place.cgroup();
    let inode = netns_of(place, pod.sandbox_pid);
    place.sh(&format!(
        "for process in /proc/[0-9]*; do \
         [ \"$(readlink $process/ns/net)\" = 'net:[{inode}]' ] || continue; \
         for file in $(find /sys/fs/cgroup -maxdepth 3 -path '*/{cgroup}/cgroup.procs'); do \
         echo ${{process#/proc/}} > $file; done; done"
    ));
    let stands = place.sh(&format!("cat /proc/{}/cgroup", pod.pids["app"]));
    assert!(!stands.contains(&pod.ids["app"]) && stands.contains(cgroup), "{stands}");
    for words in
        [&["pod/bare"][..], &["pod/bare", "-c", "istio-proxy"], &[&pod.sandbox[..12]], &[&pod.ids["app"][..12]]]
    {
        both(place, words);
    }
    // A number that stands there and is somebody else's is not believed.
    let file = format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{}/init.pid", pod.ids["app"]);
    place.sh(&format!("sleep 1000 > /dev/null 2>&1 & echo -n $! > {file}"));
    let left = workload(place, &["pod/bare", "--runtime", "proc"]);
    assert_eq!(left["containers"].as_array().map(Vec::len), Some(1), "{left}");
    assert_eq!(left["pid"], json!(pod.pids["istio-proxy"]));
}

/// A debug pod: the node's root lies somewhere else, and there is no other way to it.
fn below_another_root(place: &Place, pid: u32) {
    let run = |words: &[&str]| {
        let mut command = place.inside("unshare");
        let script = "mkdir -p /run/host; mount --rbind / /run/host; echo debugged > /run/hostname; \
             mount --bind /run/hostname /run/host/etc/hostname; mkdir -p /run/empty; mount --bind /run/empty /run/containerd; \
             mount -t tmpfs none /proc; exec \"$0\" \"$@\"";
        command.args(["--mount", "sh", "-euc", script, NSLENS]);
        Answer::of(command, words)
    };
    for runtime in ["auto", "proc"] {
        let words =
            ["rules", "pod/web", "--host-root", "/run/host", "--runtime", runtime, "-o", "json", "--timeout", "30s"];
        let document = run(&words).ended(0).json();
        assert_eq!((&document["target"]["pid"], &document["node"]), (&json!(pid), &json!("debugged")), "{document}");
        assert_eq!(document["target"]["inferred"]["name"].is_null(), runtime == "auto", "{document}");
    }
    run(&["rules", "pod/web", "--timeout", "30s"]).ended(6).said("/proc and files on disk: no process is shown there");
    // In another PID namespace than the node's numbers would mean other processes.
    let socket = place.socket("");
    let words = ["rules", "pod/web", "--runtime", "proc", "--host-root", socket.to_str().expect("a path")];
    outside(&words).ended(6).said("another PID namespace");
}

#[test]
fn dockers_containers_are_the_same_with_and_without_it() {
    let Some(lab) = DockerLab::start() else { return };
    let place = lab.place();
    let web = lab.run_container(&["--name", "web", "-e", "ISTIO_META_MESH_ID=m", "--label", "tier=front"], SLEEP);
    lab.run_container(&["--name", "side", "--network", "container:web"], SLEEP);
    lab.run_container(&["--name", "node", "--network", "host"], SLEEP);
    let dead = lab.run_container(&["--name", "dead"], &["/bin/true"]);
    let pod = lab.run_istio_pod("shop", "blue");
    lab.start_in(&web, 0, SLEEP);
    for words in [
        &["container/web"][..],
        &["side"],
        &["node"],
        &["pod/shop"],
        &["shop.blue", "-c", "istio-proxy"],
        &[&pod.sandbox[..12]],
        &[&format!("docker://{}", &web[..12])],
    ] {
        let alone = both(place, words);
        assert_eq!(alone["inferred"]["name"], "Docker's container folder", "{words:?}");
        assert_eq!(alone["labels"], workload(place, words)["labels"], "{words:?}");
        assert_eq!(alone["annotations"], workload(place, words)["annotations"], "{words:?}");
    }
    list(place);
    lab.docker().args(["wait", &dead]).output().expect("docker");
    // What has ended has no process, and nothing else is asked.
    refused(place, &["container/dead", "--runtime", "proc"], 3).said("no container/dead");
    refused(place, &["container/webb", "--runtime", "proc"], 3).said("there is: web\n");
    let answer = nslens(place, &["rules", "web", "--runtime", "proc", "-v"]).ended(0);
    assert!(answer.stderr.starts_with("/proc and files on disk: 1 pods, 5 containers ("), "{answer:#?}");
}
