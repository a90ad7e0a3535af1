//! Names of real pods in a real containerd, asked over CRI.

use std::time::Duration;

use serde_json::json;

use crate::netns_of;
use crate::program::{nslens, refused, rivals, target, workload};
use crate::runtimes::{ContainerSpec, CriLab, Node, PodSpec};

#[test]
fn pods_are_found_by_name_namespace_container_and_id() {
    let Some(lab) = CriLab::start() else { return };
    let place = lab.place();
    let blue = lab.run_istio_pod("web", "blue");
    let inode = netns_of(place, blue.sandbox_pid);
    let (app, proxy) = (&blue.ids["app"], &blue.ids["istio-proxy"]);

    for (words, pid) in [
        (&["pod/web"][..], "app"),
        (&["web"], "app"),
        (&["pod/web.blue"], "app"),
        (&["web.blue"], "app"),
        (&["web", "-n", "blue"], "app"),
        (&["pod/web", "-c", "istio-proxy"], "istio-proxy"),
        (&["web.blue", "-c", "app"], "app"),
        (&["container/istio-proxy"], "istio-proxy"),
        (&["istio-proxy"], "istio-proxy"),
        (&[&blue.sandbox[..10]], "app"),
        (&[&app[..12]], "app"),
        (&[&app[..4]], "app"),
        (&[proxy], "istio-proxy"),
        (&[&format!("containerd://{proxy}")], "istio-proxy"),
        (&[&format!("containerd://{}", &proxy[..8])], "istio-proxy"),
    ] {
        let found = target(place, words);
        assert_eq!((&found["kind"], &found["name"]), (&json!("pod"), &json!("web")), "{words:?}: {found}");
        assert_eq!((&found["namespace"], &found["runtime"]), (&json!("blue"), &json!("containerd")), "{words:?}");
        assert_eq!((&found["netns"]["inode"], &found["host_network"]), (&json!(inode), &json!(false)), "{words:?}");
        assert_eq!((&found["pid"], &found["asked"]), (&json!(blue.pids[pid]), &json!(words[0])), "{words:?}");
    }
    let known = workload(place, &["pod/web"]);
    for (index, name) in ["app", "istio-proxy"].into_iter().enumerate() {
        let container = &known["containers"][index];
        assert_eq!((&container["name"], &container["id"]), (&json!(name), &json!(blue.ids[name])));
        assert_eq!(container["pid"], json!(blue.pids[name]));
    }
    assert_eq!(known["labels"]["app"], "web");

    refused(place, &["pod/web", "-c", "sidecar"], 3).said("app, istio-proxy");
    refused(place, &["pod/web", "-n", "red"], 3).said("there is: web.blue");
    refused(place, &["pod/webb"], 3).said("there is: web\n");
    refused(place, &[&format!("docker://{}", &app[..12])], 3).said("/run/containerd/containerd.sock");
    refused(place, &["pod/we"], 3);
}

#[test]
fn each_candidate_of_an_ambiguous_name_picks_one() {
    let Some(lab) = CriLab::start() else { return };
    let place = lab.place();
    let pods = ["blue", "green"].map(|namespace| lab.run_istio_pod("web", namespace));
    let picked = |word: &dyn Fn(&str) -> String, container: &str| {
        [("blue", &pods[0]), ("green", &pods[1])].map(|(name, pod)| (word(name), json!(pod.pids[container])))
    };
    let by_pod = picked(&|namespace| format!("pod/web.{namespace}"), "app");
    assert_eq!(rivals(place, &["pod/web"]), by_pod);
    assert_eq!(rivals(place, &["web"]), by_pod);
    let by_container = picked(&|namespace| format!("pod/web.{namespace} -c istio-proxy"), "istio-proxy");
    assert_eq!(rivals(place, &["container/istio-proxy"]), by_container);
    assert_eq!(rivals(place, &["pod/web", "-c", "istio-proxy"]), by_container);
    // The same from every command; nothing is guessed, nothing is written.
    for words in [&["conns", "pod/web"][..], &["snapshot", "pod/web"], &["diff", "pod/web.blue", "pod/web"]] {
        assert_eq!(nslens(place, words).ended(3).candidates().len(), 2, "{words:?}");
    }

    // A pod and its container of the same name are one network namespace, hence one answer.
    let containers = [ContainerSpec { name: "db", args: &["/bin/sleep", "infinity"], ..ContainerSpec::default() }];
    let db = PodSpec { name: "db", namespace: "blue", containers: &containers, ..PodSpec::default() };
    let db = lab.run_pod(&db);
    let found = target(place, &["db"]);
    assert_eq!((&found["kind"], &found["pid"]), (&json!("pod"), &json!(db.pids["db"])), "{found}");

    // A dotted name is first a whole name.
    let dotted = PodSpec { name: "web.blue", namespace: "green", containers: &containers, ..PodSpec::default() };
    let dotted = lab.run_pod(&dotted);
    assert_eq!(target(place, &["web.blue"])["pid"], json!(dotted.pids["db"]));
    assert_eq!(target(place, &["web.green"])["pid"], json!(pods[1].pids["app"]));
}

#[test]
fn host_network_restarts_and_ends_are_told() {
    let Some(lab) = CriLab::start() else { return };
    let place = lab.place();
    let containers = [ContainerSpec { name: "agent", args: &["/bin/sleep", "infinity"], ..ContainerSpec::default() }];
    let agent = PodSpec { name: "agent", namespace: "kube-system", containers: &containers, ..PodSpec::default() };
    lab.run_pod(&PodSpec { host_network: true, ..agent });
    let found = target(place, &["pod/agent"]);
    assert_eq!(found["host_network"], json!(true), "{found}");
    let host = target(place, &["host"]);
    assert_eq!((&host["kind"], &found["netns"]), (&json!("host"), &host["netns"]));
    for command in ["rules", "conns"] {
        let answer = nslens(place, &[command, "pod/agent"]).ended(0);
        let third = answer.stdout.lines().nth(2).expect("a third line");
        assert!(third.starts_with("This is the node's own network namespace"), "{answer:#?}");
    }

    let web = lab.run_istio_pod("web", "blue");
    lab.stop_container(&web.ids["app"]);
    refused(place, &["pod/web", "-c", "app"], 3).said("is not running (exited)");
    refused(place, &[&web.ids["app"]], 3).said("is not running (exited)");
    assert_eq!(target(place, &["pod/web"])["pid"], json!(web.pids["istio-proxy"]), "another container of it");
    lab.stop_container(&web.ids["istio-proxy"]);
    assert_eq!(target(place, &["pod/web"])["pid"], json!(web.sandbox_pid), "the sandbox still holds the namespace");
    lab.stop_pod(&web);
    refused(place, &["pod/web"], 3).said("is not running");
    lab.remove_pod(&web);
    refused(place, &["pod/web"], 3).said("no pod/web on this node");
    // Its successor of the same name is found.
    let next = lab.run_istio_pod("web", "blue");
    assert_eq!(target(place, &["pod/web"])["pid"], json!(next.pids["app"]));
}

#[test]
fn a_sandbox_whose_process_is_gone_leaves_its_pod_to_its_containers() {
    let Some(lab) = CriLab::start() else { return };
    let place = lab.place();
    let web = lab.run_istio_pod("web", "blue");
    place.sh(&format!("kill -KILL {}", web.sandbox_pid));
    let gone = || !place.sh(&format!("ls -d /proc/{} 2>/dev/null || true", web.sandbox_pid)).contains("proc");
    place.wait_for(Duration::from_secs(10), gone).unwrap_or_else(|_| panic!("it does not end"));
    assert_eq!(target(place, &["pod/web"])["pid"], json!(web.pids["app"]));
    assert_eq!(target(place, &[&web.sandbox[..12]])["pid"], json!(web.pids["app"]));
    lab.stop_container(&web.ids["app"]);
    lab.stop_container(&web.ids["istio-proxy"]);
    // Only the file to which the CNI bound its namespace is left, and the runtime says that the pod is over.
    refused(place, &["pod/web"], 3).said("is not running");
    let list = nslens(place, &["list", "--all"]);
    assert!(list.stdout.contains("not running (exited)") && list.code == 0, "{list:#?}");
}

#[test]
fn processes_and_named_namespaces_need_no_runtime() {
    let Some(lab) = CriLab::start() else { return };
    let place = lab.place();
    let pod = lab.run_istio_pod("web", "blue");
    let (pid, inode) = (pod.pids["app"], netns_of(place, pod.pids["app"]));
    // Nobody would answer: what needs no runtime does not wait for one.
    place.hold_daemon(true);
    let found = target(place, &[&format!("pid/{pid}")]);
    assert_eq!((&found["kind"], &found["runtime"]), (&json!("process"), &json!(null)), "{found}");
    assert_eq!((&found["name"], &found["pid"]), (&json!(pid.to_string()), &json!(pid)), "{found}");
    assert_eq!(found["netns"]["inode"], json!(inode));
    // The CNI's own file for the pod.
    let names = place.sh("ls /run/netns");
    let name = names.lines().next().expect("a name");
    for word in [format!("netns/{name}"), format!("netns//run/netns/{name}"), format!("netns//proc/{pid}/ns/net")] {
        let found = target(place, &[&word]);
        assert_eq!((&found["kind"], &found["pid"]), (&json!("netns"), &json!(null)), "{found}");
        assert_eq!(found["netns"]["inode"], json!(inode));
    }
    refused(place, &["pid/999999"], 3).said("no pid/999999");
    refused(place, &["netns/nowhere"], 3);
    refused(place, &["netns//etc/passwd"], 2).said("is not a network namespace");
    place.hold_daemon(false);
}
