//! A real containerd over CRI, with real pods.

use std::time::Instant;

use nslens::target::{Choice, Query, RuntimeEndpoint, RuntimeKind, TargetError, World};
use serde_json::{Value, json};

use super::runtimes::{ContainerSpec, CriLab, PodSpec};
use super::{ask, netns_of};

fn find(lab: &CriLab, words: &[&str]) -> Value {
    ask(|program| lab.inside(program), words)
}

#[test]
fn pods_are_found_by_name_namespace_and_container() {
    let Some(lab) = CriLab::start() else { return };
    let blue = lab.run_istio_pod("web", "blue");
    let inode = netns_of(lab.inside("readlink"), blue.sandbox_pid);

    for words in [&["pod/web"][..], &["web"], &["pod/web.blue"], &["web", "-n", "blue"], &[&blue.sandbox[..10]]] {
        let answer = find(&lab, words);
        let workload = &answer["workload"];
        assert_eq!((&workload["kind"], &workload["name"]), (&json!("pod"), &json!("web")), "{words:?}: {answer}");
        assert_eq!((&workload["namespace"], &workload["runtime"]), (&json!("blue"), &json!("containerd")));
        assert_eq!((&workload["netns"]["inode"], &workload["host_network"]), (&json!(inode), &json!(false)));
        assert_eq!(workload["pid"], json!(blue.pids["app"]), "the first running container");
        assert_eq!(workload["labels"]["app"], "web");
        assert!(workload["annotations"].get("sidecar.istio.io/status").is_some(), "{answer}");
    }
    let workload = &find(&lab, &["pod/web"])["workload"];
    for (index, name) in ["app", "istio-proxy"].into_iter().enumerate() {
        let container = &workload["containers"][index];
        assert_eq!((&container["name"], &container["id"]), (&json!(name), &json!(blue.ids[name])));
        assert_eq!(container["pid"], json!(blue.pids[name]));
    }
    assert_eq!(workload["containers"][1]["environment"], json!({"ISTIO_META_INTERCEPTION_MODE": "REDIRECT"}));

    let proxy = json!(blue.pids["istio-proxy"]);
    assert_eq!(find(&lab, &["pod/web", "-c", "istio-proxy"])["workload"]["pid"], proxy);
    assert_eq!(find(&lab, &["container/istio-proxy"])["workload"]["pid"], proxy);
    assert_eq!(find(&lab, &[&format!("containerd://{}", blue.ids["istio-proxy"])])["workload"]["pid"], proxy);
    let answer = find(&lab, &["pod/web", "-c", "sidecar"]);
    assert_eq!(answer["error"], "NoSuchContainer");
    assert!(answer["message"].as_str().is_some_and(|text| text.contains("app, istio-proxy")), "{answer}");
    let answer = find(&lab, &["pod/web", "-n", "red"]);
    assert_eq!((&answer["error"], &answer["near"]), (&json!("NotFound"), &json!(["web.blue"])));
    assert_eq!(find(&lab, &["pod/webb"])["near"], json!(["web"]));

    let green = lab.run_istio_pod("web", "green");
    let answer = find(&lab, &["pod/web"]);
    assert_eq!(answer["error"], "Ambiguous", "{answer}");
    let mut words: Vec<&str> =
        answer["candidates"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    words.sort_unstable();
    assert_eq!(words, ["pod/web -n blue", "pod/web -n green"]);
    for (word, pod) in words.iter().zip([&blue, &green]) {
        let answer = find(&lab, &word.split(' ').collect::<Vec<_>>());
        assert_eq!(answer["workload"]["pid"], json!(pod.pids["app"]), "{word} picks it");
    }
    let answer = find(&lab, &["container/app"]);
    assert_eq!(answer["error"], "Ambiguous");
    assert!(
        answer["candidates"].as_array().is_some_and(|all| all.contains(&json!("pod/web -n blue -c app"))),
        "{answer}"
    );
}

#[test]
fn host_network_restarts_and_ends_are_told() {
    let Some(lab) = CriLab::start() else { return };
    let containers = [ContainerSpec { name: "agent", args: &["/bin/sleep", "infinity"], ..ContainerSpec::default() }];
    let agent = PodSpec {
        name: "agent",
        namespace: "kube-system",
        host_network: true,
        containers: &containers,
        ..PodSpec::default()
    };
    lab.run_pod(&agent);
    let answer = find(&lab, &["pod/agent"]);
    assert_eq!(answer["workload"]["host_network"], json!(true), "{answer}");
    assert_eq!(answer["workload"]["netns"], find(&lab, &["host"])["workload"]["netns"]);

    let web = lab.run_istio_pod("web", "blue");
    lab.stop_container(&web.ids["app"]);
    let answer = find(&lab, &["pod/web", "-c", "app"]);
    assert_eq!(answer["error"], "NotRunning", "{answer}");
    assert_eq!(find(&lab, &["pod/web"])["workload"]["pid"], json!(web.pids["istio-proxy"]), "another container of it");
    lab.stop_container(&web.ids["istio-proxy"]);
    let answer = find(&lab, &["pod/web"]);
    assert_eq!(answer["workload"]["pid"], json!(web.sandbox_pid), "{answer}");
    lab.stop_pod(&web);
    assert_eq!(find(&lab, &["pod/web"])["error"], "NotRunning");
    // Its successor of the same name is found.
    let next = lab.run_istio_pod("web2", "blue");
    assert_eq!(find(&lab, &["pod/web2"])["workload"]["pid"], json!(next.pids["app"]));
}

#[test]
fn processes_and_named_namespaces_need_no_runtime() {
    let Some(lab) = CriLab::start() else { return };
    let pod = lab.run_istio_pod("web", "blue");
    let pid = pod.pids["app"];
    let answer = find(&lab, &[&format!("pid/{pid}")]);
    assert_eq!(answer["workload"]["kind"], "process");
    assert_eq!(answer["workload"]["netns"]["inode"], json!(netns_of(lab.inside("readlink"), pid)));
    assert_eq!(answer["tried"], json!([]));
    // The CNI's own file for the pod.
    let names = super::runtimes::run(lab.inside("ls").arg("/run/netns"));
    let name = names.lines().next().expect("a name");
    for word in [format!("netns/{name}"), format!("netns//run/netns/{name}")] {
        let answer = find(&lab, &[&word]);
        assert_eq!(
            (&answer["workload"]["kind"], &answer["workload"]["pid"]),
            (&json!("netns"), &json!(null)),
            "{answer}"
        );
        assert_eq!(answer["workload"]["netns"]["inode"], json!(netns_of(lab.inside("readlink"), pid)));
    }
    assert_eq!(find(&lab, &["pid/999999"])["error"], "NotFound");
}

#[test]
fn a_runtime_of_another_pid_namespace_is_refused_from_outside() {
    let Some(lab) = CriLab::start() else { return };
    let pod = lab.run_istio_pod("web", "blue");
    let endpoint = RuntimeEndpoint { kind: RuntimeKind::Cri, path: lab.socket(), explicit: true };
    let world = World::here("outside", vec![endpoint]);
    let begun = Instant::now();
    let error =
        nslens::target::find(&Query::Name("web".into()), &Choice::default(), &world).expect_err("foreign numbers");
    assert!(matches!(error, TargetError::ForeignPids { .. }), "{error:?}");
    assert!(begun.elapsed().as_secs() < 1);
    // Without asking it, the ID still stands in the cgroup of the process, and that is this node's number.
    let query = Query::Id { runtime: Some("containerd".into()), prefix: pod.ids["app"].clone() };
    let live =
        nslens::target::find(&query, &Choice::default(), &World::here("outside", Vec::new())).expect("by cgroup");
    let inode = netns_of(lab.inside("readlink"), pod.pids["app"]);
    assert_eq!(live.workload.netns.map(|netns| netns.inode), Some(inode));
}
