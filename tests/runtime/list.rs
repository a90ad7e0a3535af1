//! `list` on real nodes: every workload once, with what is in its namespace, whatever runs it and whatever is broken.

use serde_json::{Value, json};

use crate::actor::Actor;
use crate::netns_of;
use crate::program::{Answer, NSLENS, nslens, refused, target, workload};
use crate::runtimes::{CriLab, DockerLab, Node, Place, SLEEP, run};

fn list(place: &Place, words: &[&str], code: i32) -> Vec<Value> {
    let answer = nslens(place, &[&["list", "-o", "json"], words].concat());
    assert_eq!(answer.code, code, "{answer:#?}");
    let document: Value = serde_json::from_str(&answer.stdout).expect("JSON");
    assert_eq!(document["schema"], "nslens.list/v1");
    document["workloads"].as_array().expect("workloads").clone()
}

fn names(workloads: &[Value]) -> Vec<&str> {
    workloads.iter().map(|workload| workload["name"].as_str().expect("a name")).collect()
}

fn named<'a>(workloads: &'a [Value], name: &str) -> &'a Value {
    workloads.iter().find(|workload| workload["name"] == name).unwrap_or_else(|| panic!("{name} in {workloads:#?}"))
}

#[test]
fn containers_of_docker_are_listed_with_what_they_share() {
    let Some(lab) = DockerLab::start() else { return };
    let place = lab.place();
    let web = lab.run_container(&["--name", "web", "--label", "tier=front"], SLEEP);
    lab.run_container(&["--name", "side", "--network", "container:web"], SLEEP);
    lab.run_container(&["--name", "node", "--network", "host"], SLEEP);
    lab.run_container(&["--name", "lone", "--network", "none", "--label", "tier=back"], SLEEP);
    let dead = lab.run_container(&["--name", "dead"], &["/bin/true"]);
    run(lab.docker().args(["wait", &dead]));
    let pod = lab.run_istio_pod("shop", "blue");
    lab.place().sh(&format!(
        "nsenter -n -t {} iptables-nft -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001",
        pod.sandbox_pid
    ));

    let all = list(place, &[], 0);
    assert_eq!(
        names(&all),
        ["shop", "lone", "node", "side", "web"],
        "pods first, then by name; the dead one is not there"
    );
    let inode = netns_of(place, lab.pid(&web));
    for name in ["web", "side"] {
        let found = named(&all, name);
        assert_eq!((&found["netns"]["inode"], &found["host_network"]), (&json!(inode), &json!(false)), "{found}");
        assert_eq!((&found["rules"], &found["connections"], &found["backends"]), (&json!(0), &json!(0), &json!([])));
    }
    assert_eq!(named(&all, "web")["containers"][0]["pid"], json!(lab.pid(&web)));
    assert_eq!(named(&all, "web")["containers"][0]["id"], json!(web));
    assert_eq!(named(&all, "node")["host_network"], json!(true));
    let shop = named(&all, "shop");
    assert_eq!(
        (&shop["kind"], &shop["namespace"], &shop["runtime"]),
        (&json!("pod"), &json!("blue"), &json!("docker"))
    );
    assert_eq!((&shop["backends"], &shop["rules"], &shop["redirects"]), (&json!(["nft"]), &json!(1), &json!(true)));
    assert_eq!(shop["mesh"], json!("custom"));
    let pids: Vec<&Value> = shop["containers"].as_array().expect("containers").iter().map(|one| &one["pid"]).collect();
    assert_eq!(pids, [&json!(pod.pids["app"]), &json!(pod.pids["istio-proxy"])]);

    assert_eq!(names(&list(place, &["-n", "blue"], 0)), ["shop"]);
    assert_eq!(names(&list(place, &["-l", "tier in (front)"], 0)), ["web"]);
    assert_eq!(names(&list(place, &["-l", "tier,tier!=front"], 0)), ["lone"]);
    assert_eq!(names(&list(place, &["-n", "green"], 0)), Vec::<&str>::new());
    let whole = list(place, &["--all"], 0);
    assert_eq!((&named(&whole, "dead")["stopped"], &named(&whole, "dead")["rules"]), (&json!("exited"), &Value::Null));
    assert!(whole.iter().any(|one| one["kind"] == "host" && one["host_network"] == true), "{whole:#?}");
    let text = nslens(place, &["list"]);
    assert_eq!(text.code, 0, "{text:#?}");
    assert!(text.stderr.contains("note: 1 more do not run: --all"), "{text:#?}");
    assert!(text.stdout.lines().all(|line| line.chars().count() <= 80), "{text:#?}");
    let wide = nslens(place, &["list", "-o", "wide", "--no-headers"]);
    assert_eq!(wide.stdout.lines().count(), 5, "{wide:#?}");

    // Who shares a namespace is part of what one looks at there.
    for name in ["web", "side"] {
        let found = workload(place, &[name]);
        let mut containers = names(found["containers"].as_array().expect("containers"));
        containers.sort_unstable();
        assert_eq!(containers, ["side", "web"], "{found}");
    }
    by_inode_and_address(place, (&pod.ids["app"], pod.sandbox_pid), (lab.pid(&web), inode));
}

/// Where nothing tells labels, that is said, and not that there are none; what filters leave out is named.
fn without_the_runtime(place: &Place) {
    assert_eq!(names(&list(place, &["-l", "app=web"], 6)), ["web"], "a dead socket beside it");
    let answer = nslens(place, &["list", "--runtime", "proc", "-l", "app=web"]);
    assert_eq!((answer.code, answer.stdout.as_str()), (5, ""), "{answer:#?}");
    let untold = list(place, &["--runtime", "proc", "-l", "app=web"], 5);
    assert!(untold.is_empty(), "{untold:#?}");
    assert_eq!(names(&list(place, &["--runtime", "proc", "-n", "blue"], 0)), ["shop", "web"]);
    let answer = nslens(place, &["list", "--runtime", "cri", "-n", "bleu"]);
    assert!(answer.code == 0 && answer.stderr.contains("there are: blue"), "{answer:#?}");
    let answer = nslens(place, &["list", "--runtime", "podman"]).ended(3);
    assert!(answer.stderr.contains("/run/podman/podman.sock"), "{answer:#?}");
    let answer = nslens(place, &["list", "--runtime-endpoint", "/run/nowhere.sock", "-q"]);
    assert!(answer.stderr.contains("/run/nowhere.sock"), "what decides the exit code is no note: {answer:#?}");
    // One right is missing: no figure is made up, and the reason is told once.
    place.sh(&format!("install -m 755 {NSLENS} /run/nslens"));
    let mut command = place.inside("setpriv");
    command.args([
        "--bounding-set=-net_admin",
        "--inh-caps=-net_admin",
        "/run/nslens",
        "list",
        "--runtime",
        "cri",
        "-o",
        "json",
    ]);
    let answer = Answer::of(command, &[]);
    assert_eq!(answer.code, 4, "{answer:#?}");
    assert!(answer.stderr.matches("error: ").count() == 1 && answer.stderr.contains("CAP_NET_ADMIN"), "{answer:#?}");
    let document: Value = serde_json::from_str(&answer.stdout).expect("JSON");
    let web = &document["workloads"][1];
    assert_eq!((&web["name"], &web["rules"], &web["redirects"]), (&json!("web"), &Value::Null, &Value::Null), "{web}");
    assert!(!web["unread"].as_array().expect("unread").is_empty(), "{web}");
}

/// The namespace is found by what is in anybody's hand, and named by who lives in it.
fn by_inode_and_address(place: &Place, pod: (&str, u32), shared: (u32, u64)) {
    let (id, pid) = pod;
    let inode = netns_of(place, pid);
    let found = workload(place, &[&format!("inode/{inode}")]);
    assert_eq!((&found["kind"], &found["name"], &found["namespace"]), (&json!("pod"), &json!("shop"), &json!("blue")));
    assert_eq!(found["netns"]["inode"], json!(inode));
    assert!(found["containers"].as_array().expect("containers").iter().any(|one| one["id"] == id), "{found}");

    let (pid, inode) = shared;
    let addresses = place.sh(&format!("nsenter -n -t {pid} ip -o addr show dev eth0 scope global"));
    let addresses = addresses.split_whitespace().filter_map(|word| Some(word.split_once('/')?.0));
    let addresses: Vec<String> = addresses.map(|address| format!("ip/{address}")).collect();
    assert_eq!(addresses.len(), 2, "IPv4 and IPv6: {addresses:?}");
    for word in addresses.iter().chain(&[format!("inode/{inode}")]) {
        let found = workload(place, &[word]);
        assert_eq!((&found["kind"], &found["name"]), (&json!("container"), &json!("web")), "whose it is: {found}");
        assert_eq!(found["containers"].as_array().map(Vec::len), Some(2), "{found}");
        assert_eq!(found["netns"]["inode"], json!(inode), "{word}");
    }
    refused(place, &["ip/192.0.2.77"], 3);
    refused(place, &["inode/1"], 3);
    refused(place, &["ip/127.0.0.1"], 2).said("tells no network namespace from another");
    assert_eq!(workload(place, &[&format!("inode/{}", netns_of(place, 1))])["kind"], "host");
}

#[test]
fn namespaces_of_no_container_are_listed_on_request() {
    let Some(lab) = DockerLab::start() else { return };
    let place = lab.place();
    place.sh("ip netns add blue; mkdir -p /run/elsewhere; touch /run/elsewhere/bound; ip netns add bound; \
         mount --bind /run/netns/bound /run/elsewhere/bound; ip netns del bound");
    // One thread is in a namespace of its own, one descriptor keeps another that nobody is in.
    let holder = Actor::start(place, "holder");
    let kept: u64 = holder.line.trim().parse().expect("an inode");

    assert!(list(place, &[], 0).is_empty());
    let all = list(place, &["--all"], 0);
    let held = |words: &str| {
        all.iter().find(|one| {
            one["held_by"]
                .as_array()
                .expect("holders")
                .iter()
                .any(|by| by.as_str().is_some_and(|by| by.starts_with(words)))
        })
    };
    assert_eq!(named(&all, "blue")["kind"], "netns");
    assert!(held("mount /run/elsewhere/bound").is_some(), "{all:#?}");
    assert!(held("thread ").is_some(), "{all:#?}");
    let by_descriptor = held("descriptor ").unwrap_or_else(|| panic!("{all:#?}"));
    assert_eq!(by_descriptor["netns"]["inode"], json!(kept), "{all:#?}");
    let found = target(place, &[&format!("inode/{kept}")]);
    assert_eq!((&found["kind"], &found["netns"]["inode"]), (&json!("netns"), &json!(kept)));
}

#[test]
fn pods_of_containerd_are_listed_and_a_broken_one_costs_one_line() {
    let Some(lab) = CriLab::start() else { return };
    let place = lab.place();
    let web = lab.run_istio_pod("web", "blue");
    let shop = lab.run_istio_pod("shop", "blue");
    let all = list(place, &[], 0);
    assert_eq!(names(&all), ["shop", "web"]);
    for (name, pod) in [("web", &web), ("shop", &shop)] {
        let found = named(&all, name);
        assert_eq!(found["netns"]["inode"], json!(netns_of(place, pod.sandbox_pid)), "{found}");
        let containers = found["containers"].as_array().expect("containers");
        let pids: Vec<&Value> = containers.iter().map(|one| &one["pid"]).collect();
        assert_eq!(pids, [&json!(pod.pids["app"]), &json!(pod.pids["istio-proxy"])], "{found}");
        assert!(found["uid"].is_string(), "{found}");
    }
    // A second runtime that tells of a container which is not there, and a third that never answers.
    let ghost = Actor::start(place, "ghost");
    let answer = nslens(place, &["list"]);
    assert_eq!(answer.code, 5, "{answer:#?}");
    assert!(answer.stdout.contains("ghost") && answer.stdout.contains("shop"), "{answer:#?}");
    let all = list(place, &[], 5);
    assert_eq!(names(&all), ["shop", "web", "ghost"]);
    let broken = named(&all, "ghost");
    assert!(broken["error"].is_string() && broken["rules"].is_null() && broken["netns"].is_null(), "{broken}");
    assert!(named(&all, "web")["error"].is_null());
    let runtimes = nslens(place, &["list", "--runtimes", "-o", "json"]);
    assert_eq!(runtimes.code, 0, "{runtimes:#?}");
    let document: Value = serde_json::from_str(&runtimes.stdout).expect("JSON");
    let told: Vec<_> =
        document["runtimes"].as_array().expect("runtimes").iter().filter(|one| one["outcome"] == "answered").collect();
    assert_eq!(told.len(), 2, "{document:#}");
    assert!(told.iter().any(|one| one["runtime"] == "containerd" && one["pods"] == 2 && one["containers"] == 4));
    drop(ghost);
    without_the_runtime(place);
    // Nobody listens there any more: what the others told is shown, and that something is missing is said.
    let answer = nslens(place, &["list"]);
    assert_eq!(answer.code, 6, "{answer:#?}");
    assert!(answer.stdout.contains("web") && answer.stderr.contains("/var/run/docker.sock"), "{answer:#?}");
}
