//! A real dockerd.

use serde_json::{Value, json};

use super::runtimes::{DockerLab, PLANTED};
use super::{ask, netns_of};

const SLEEP: &[&str] = &["/bin/sleep", "infinity"];

fn find(lab: &DockerLab, words: &[&str]) -> Value {
    ask(|program| lab.inside(program), words)
}

#[test]
fn docker_containers_are_found_by_name_and_id() {
    let Some(lab) = DockerLab::start() else { return };
    let secret = format!("DB_PASSWORD={PLANTED}");
    let id = lab
        .run_container(&["--name", "web", "--label", "tier=front", "-e", &secret, "-e", "ISTIO_META_MESH_ID=m"], SLEEP);
    let pid = lab.pid(&id);
    for words in [&["container/web"][..], &["web"], &[&id[..12]], &[&id], &[&format!("docker://{}", &id[..8])]] {
        let answer = find(&lab, words);
        let workload = &answer["workload"];
        assert_eq!(workload["kind"], "container", "{words:?}: {answer}");
        assert_eq!((&workload["name"], &workload["runtime"]), (&json!("web"), &json!("docker")));
        assert_eq!((&workload["pid"], &workload["host_network"]), (&json!(pid), &json!(false)));
        assert_eq!(workload["netns"]["inode"], json!(netns_of(lab.inside("readlink"), pid)));
        assert_eq!(workload["containers"][0]["id"], json!(id));
        assert_eq!(workload["containers"][0]["environment"], json!({"ISTIO_META_MESH_ID": "m"}));
        assert_eq!(workload["labels"]["tier"], "front");
    }
    let answer = find(&lab, &["container/wbe2"]);
    assert_eq!(answer["error"], "NotFound", "{answer}");
    assert_eq!(find(&lab, &["container/webb"])["near"], json!(["web"]));
    assert_eq!(find(&lab, &[&format!("containerd://{}", &id[..8])])["error"], "NotFound");
}

#[test]
fn docker_network_modes_come_out_right() {
    let Some(lab) = DockerLab::start() else { return };
    let web = lab.run_container(&["--name", "web"], SLEEP);
    let inode = netns_of(lab.inside("readlink"), lab.pid(&web));
    lab.run_container(&["--name", "side", "--network", "container:web"], SLEEP);
    lab.run_container(&["--name", "node", "--network", "host"], SLEEP);
    let lone = lab.run_container(&["--name", "lone", "--network", "none"], SLEEP);

    let side = find(&lab, &["side"]);
    assert_eq!(side["workload"]["netns"]["inode"], json!(inode), "{side}");
    assert_eq!(side["workload"]["host_network"], json!(false));
    let node = find(&lab, &["node"]);
    assert_eq!(node["workload"]["host_network"], json!(true), "{node}");
    assert_eq!(node["workload"]["netns"], find(&lab, &["host"])["workload"]["netns"]);
    let none = find(&lab, &["lone"]);
    assert_eq!(none["workload"]["netns"]["inode"], json!(netns_of(lab.inside("readlink"), lab.pid(&lone))));
    assert_eq!(none["workload"]["host_network"], json!(false));

    let dead = lab.run_container(&["--name", "dead"], &["/bin/true"]);
    super::runtimes::run(lab.docker().args(["wait", &dead]));
    let answer = find(&lab, &["container/dead"]);
    assert_eq!(answer["error"], "NotRunning", "{answer}");
    assert!(answer["message"].as_str().is_some_and(|text| text.contains("exited")), "{answer}");

    super::runtimes::run(lab.docker().args(["pause", "web"]));
    assert_eq!(find(&lab, &["web"])["workload"]["netns"]["inode"], json!(inode), "paused ones have a namespace");
}

#[test]
fn a_kubernetes_pod_in_docker_is_known_by_its_labels() {
    let Some(lab) = DockerLab::start() else { return };
    let sandbox = |namespace: &str| {
        let mut words = labels(namespace, "POD");
        words.extend(
            ["--label", "io.kubernetes.docker.type=podsandbox", "--label", "annotation.a/b=c"].map(String::from),
        );
        lab.run_container(&words.iter().map(String::as_str).collect::<Vec<_>>(), SLEEP)
    };
    let member = |namespace: &str, name: &str, sandbox: &str| {
        let mut words = labels(namespace, name);
        words.extend(["--network".to_owned(), format!("container:{sandbox}")]);
        words.extend(["-e".to_owned(), format!("DB_PASSWORD={PLANTED}")]);
        lab.run_container(&words.iter().map(String::as_str).collect::<Vec<_>>(), SLEEP)
    };
    let blue = sandbox("blue");
    let app = member("blue", "app", &blue);
    let proxy = member("blue", "istio-proxy", &blue);
    let green = sandbox("green");
    member("green", "app", &green);

    let answer = find(&lab, &["pod/web", "-n", "blue"]);
    let workload = &answer["workload"];
    assert_eq!((&workload["kind"], &workload["namespace"]), (&json!("pod"), &json!("blue")), "{answer}");
    assert_eq!(workload["containers"].as_array().map(Vec::len), Some(2), "{answer}");
    assert_eq!(workload["annotations"], json!({"a/b": "c"}));
    assert_eq!(workload["netns"]["inode"], json!(netns_of(lab.inside("readlink"), lab.pid(&blue))));
    assert_eq!(find(&lab, &["pod/web.blue", "-c", "istio-proxy"])["workload"]["pid"], json!(lab.pid(&proxy)));
    assert_eq!(find(&lab, &[&format!("docker://{app}")])["workload"]["name"], "web");
    assert_eq!(find(&lab, &[&blue[..12]])["workload"]["name"], "web", "a sandbox's ID is its pod's");
    let answer = find(&lab, &["pod/web"]);
    assert_eq!(answer["error"], "Ambiguous", "{answer}");
    assert_eq!(answer["candidates"], json!(["pod/web -n blue", "pod/web -n green"]));
}

#[test]
fn without_rights_it_is_said_which_are_missing() {
    let Some(lab) = DockerLab::start() else { return };
    lab.run_container(&["--name", "web"], SLEEP);
    let nobody = |program: &std::path::Path| {
        // The program may lie where others may not go.
        super::runtimes::run(lab.inside("install").args(["-m", "755"]).arg(program).arg("/run/find"));
        let mut command = lab.inside("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "/run/find"]);
        command
    };
    let answer = ask(nobody, &["web"]);
    assert_eq!(answer["error"], "NotPermitted", "{answer}");
    assert!(answer["message"].as_str().is_some_and(|text| text.contains("docker.sock")), "{answer}");
    let answer = ask(nobody, &["pid/1"]);
    assert_eq!(answer["error"], "NotPermitted", "{answer}");
    assert!(answer["message"].as_str().is_some_and(|text| text.contains("CAP_SYS_PTRACE")), "{answer}");
}

fn labels(namespace: &str, container: &str) -> Vec<String> {
    let pairs = [
        ("io.kubernetes.pod.name", "web"),
        ("io.kubernetes.pod.namespace", namespace),
        ("io.kubernetes.pod.uid", namespace),
        ("io.kubernetes.container.name", container),
    ];
    let words = pairs.iter().flat_map(|(key, value)| ["--label".to_owned(), format!("{key}={value}")]);
    words.chain(["--name".to_owned(), format!("k8s_{container}_web_{namespace}")]).collect()
}
