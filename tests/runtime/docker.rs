//! Names of real containers in a real dockerd.

use serde_json::json;

use crate::netns_of;
use crate::program::{nslens, refused, rivals, target, workload};
use crate::runtimes::{DockerLab, LAST_APPLIED, Node, PLANTED, SLEEP, run};

#[test]
fn containers_are_found_by_name_and_id() {
    let Some(lab) = DockerLab::start() else { return };
    let place = lab.place();
    let (secret, manifest) = (format!("DB_PASSWORD={PLANTED}"), format!("{LAST_APPLIED}={PLANTED}"));
    let options = ["--name", "web", "--label", "tier=front", "--label", &manifest, "-e", &secret];
    let id = lab.run_container(&[&options[..], &["-e", "ISTIO_META_MESH_ID=m"]].concat(), SLEEP);
    let (pid, inode) = (lab.pid(&id), netns_of(place, lab.pid(&id)));
    for word in ["container/web", "web", &id[..12], &id[..4], &id, &format!("docker://{}", &id[..8])] {
        let found = target(place, &[word]);
        assert_eq!((&found["kind"], &found["name"]), (&json!("container"), &json!("web")), "{word}: {found}");
        assert_eq!((&found["runtime"], &found["namespace"]), (&json!("docker"), &json!(null)), "{word}");
        assert_eq!((&found["pid"], &found["host_network"]), (&json!(pid), &json!(false)), "{word}");
        assert_eq!(found["netns"]["inode"], json!(inode), "{word}");
    }
    let known = workload(place, &["web"]);
    assert_eq!(known["containers"][0]["id"], json!(id));
    assert_eq!(known["containers"][0]["environment"], json!({"ISTIO_META_MESH_ID": "m"}));
    assert_eq!(known["labels"], json!({"tier": "front"}));
    refused(place, &["container/webb"], 3).said("there is: web\n");
    refused(place, &["pod/web"], 3);
    refused(place, &[&format!("containerd://{}", &id[..8])], 3);
}

#[test]
fn network_modes_and_states_come_out_right() {
    let Some(lab) = DockerLab::start() else { return };
    let place = lab.place();
    let web = lab.run_container(&["--name", "web"], SLEEP);
    let inode = netns_of(place, lab.pid(&web));
    lab.run_container(&["--name", "side", "--network", "container:web"], SLEEP);
    lab.run_container(&["--name", "node", "--network", "host"], SLEEP);
    let lone = lab.run_container(&["--name", "lone", "--network", "none"], SLEEP);

    let side = target(place, &["side"]);
    assert_eq!((&side["netns"]["inode"], &side["host_network"]), (&json!(inode), &json!(false)), "{side}");
    let node = target(place, &["node"]);
    assert_eq!(node["host_network"], json!(true), "{node}");
    assert_eq!(node["netns"], target(place, &["host"])["netns"]);
    // Docker's own rules redirect there: they are shown as what they are.
    let answer = nslens(place, &["rules", "node"]).ended(0);
    assert!(answer.stdout.contains("\nThis is the node's own network namespace"), "{answer:#?}");
    let none = target(place, &["lone"]);
    assert_eq!(none["netns"]["inode"], json!(netns_of(place, lab.pid(&lone))));
    assert_eq!(none["host_network"], json!(false));
    let answer = nslens(place, &["rules", "lone"]).ended(0);
    assert!(answer.stdout.contains("no redirect rules in ") && !answer.stdout.contains("node's own"), "{answer:#?}");

    let dead = lab.run_container(&["--name", "dead"], &["/bin/true"]);
    run(lab.docker().args(["wait", &dead]));
    refused(place, &["container/dead"], 3).said("is not running (exited)");
    run(lab.docker().args(["pause", "web"]));
    assert_eq!(target(place, &["web"])["netns"]["inode"], json!(inode), "paused ones have a namespace");
    run(lab.docker().args(["unpause", "web"]));
    run(lab.docker().args(["rm", "--force", "lone"]));
    refused(place, &["lone"], 3).said("no lone on this node");
}

#[test]
fn kubernetes_pods_in_docker_are_known_by_their_labels() {
    let Some(lab) = DockerLab::start() else { return };
    let place = lab.place();
    let blue = lab.run_istio_pod("web", "blue");
    let green = lab.run_istio_pod("web", "green");
    let known = workload(place, &["pod/web", "-n", "blue"]);
    assert_eq!((&known["kind"], &known["namespace"]), (&json!("pod"), &json!("blue")), "{known}");
    assert_eq!(known["containers"].as_array().map(Vec::len), Some(2), "{known}");
    let annotations = json!({"sidecar.istio.io/status": r#"{"containers":["istio-proxy"]}"#});
    assert_eq!(known["annotations"], annotations, "without the one that holds the manifest");
    assert_eq!(known["netns"]["inode"], json!(netns_of(place, blue.sandbox_pid)));
    let proxy = json!(blue.pids["istio-proxy"]);
    assert_eq!(target(place, &["pod/web.blue", "-c", "istio-proxy"])["pid"], proxy);
    assert_eq!(target(place, &["web.blue"])["pid"], json!(blue.pids["app"]));
    assert_eq!(target(place, &[&format!("docker://{}", blue.ids["app"])])["name"], "web");
    assert_eq!(target(place, &[&blue.sandbox[..12]])["namespace"], "blue", "a sandbox's ID is its pod's");
    let picked = [("pod/web.blue", &blue), ("pod/web.green", &green)];
    assert_eq!(rivals(place, &["web"]), picked.map(|(words, pod)| (words.to_owned(), json!(pod.pids["app"]))));

    // A container of that name which is in no pod is one more; its ID picks it.
    let lone = lab.run_container(&["--name", "web"], SLEEP);
    let rivals = rivals(place, &["web"]);
    assert_eq!(rivals.len(), 3, "{rivals:?}");
    assert_eq!(rivals[0], (format!("docker://{}", &lone[..12]), json!(lab.pid(&lone))));
}
