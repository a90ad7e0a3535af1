//! What runtimes tell of containers beside their names: how they began and ended, as whom, with what rights, and of their sandbox.

use serde_json::{Value, json};

use crate::netns_of;
use crate::program::{nslens, refused, target, workload};
use crate::runtimes::{ContainerSpec, CriLab, DockerLab, Node, PLANTED, Place, PodHandle, PodSpec, SLEEP, run};

const PORTS: (&str, &str) =
    ("io.kubernetes.container.ports", r#"[{"name":"http","hostPort":8080,"containerPort":80,"protocol":"TCP"}]"#);

/// Sets rules, and is gone: its words are those of no other program here.
const INIT: &[&str] = &["/bin/sh", "-c", "sleep 0.1; exit 0", "istio-iptables", "-p", "15001", "--token", PLANTED];

/// A pod as a mesh's injector makes it, with one more container that has to end first.
fn meshed(lab: &CriLab) -> PodHandle {
    let secret = ["/bin/sh", "-c", "sleep 1000", PLANTED];
    let own = ContainerSpec { uid: 1000, args: &secret, annotations: &[PORTS], ..ContainerSpec::default() };
    lab.run_pod(&PodSpec {
        name: "web",
        namespace: "blue",
        containers: &[
            ContainerSpec { name: "migrate", args: &["/bin/true"], ends: true, ..ContainerSpec::default() },
            ContainerSpec { name: "istio-init", args: INIT, capabilities: &["NET_ADMIN"], ends: true, ..own.clone() },
            ContainerSpec { name: "app", ..own },
            ContainerSpec { name: "istio-proxy", uid: 1337, args: SLEEP, ..ContainerSpec::default() },
        ],
        ..PodSpec::default()
    })
}

/// The container of that name.
fn container(workload: &Value, name: &str) -> Value {
    let containers = workload["containers"].as_array().expect("containers");
    containers.iter().find(|one| one["name"] == name).cloned().unwrap_or_else(|| panic!("no {name} in {workload}"))
}

/// Capabilities as a process has them, by the kernel's own account, and those that a snapshot names: as many, and with these.
fn has(place: &Place, pid: u32, told: &Value, named: &[(&str, u32)]) {
    let line = place.sh(&format!("grep CapEff /proc/{pid}/status"));
    let bits = u64::from_str_radix(line.trim().trim_start_matches("CapEff:").trim(), 16).expect("a number");
    let told: Vec<&str> =
        told["capabilities"].as_array().expect("told").iter().map(|name| name.as_str().expect("a name")).collect();
    assert_eq!(u32::try_from(told.len()).expect("few"), bits.count_ones(), "{line} is not {told:?}");
    for (name, bit) in named {
        assert_eq!(told.contains(name), bits >> bit & 1 == 1, "{name} of {told:?}, {line}");
    }
}

const RAW: (&str, u32) = ("NET_RAW", 13);
const ADMIN: (&str, u32) = ("NET_ADMIN", 12);

#[test]
fn a_pods_containers_tell_how_they_began_and_ended() {
    let Some(lab) = CriLab::start() else { return };
    let place = lab.place();
    let pod = meshed(&lab);
    let known = workload(place, &["pod/web"]);
    let names: Vec<&str> =
        known["containers"].as_array().expect("containers").iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, ["migrate", "istio-init", "app", "istio-proxy"]);
    let [migrate, init, app, proxy] =
        ["migrate", "istio-init", "app", "istio-proxy"].map(|name| container(&known, name));
    for ended in [&migrate, &init] {
        assert_eq!(
            (&ended["pid"], &ended["state"], &ended["init"]),
            (&Value::Null, &json!("exited"), &json!(true)),
            "{ended}"
        );
        assert_eq!(
            (&ended["exit_code"], &ended["reason"], &ended["restarts"]),
            (&json!(0), &json!("Completed"), &json!(0))
        );
        assert!(
            ended["started"].as_u64() > Some(0) && ended["finished"].as_u64() >= ended["started"].as_u64(),
            "{ended}"
        );
    }
    // The shell's words come as they were given; what follows a word like "token" does not, see `Answer::of`.
    let words = json!(["/bin/sh", "-c", "sleep 0.1; exit 0", "istio-iptables", "-p", "15001", "--token", "(left out)"]);
    assert_eq!((&init["arguments"], &init["user"], &init["group"]), (&words, &json!(1000), &json!(1000)));
    assert_eq!(init["capabilities"], json!([]), "it is not root, and has no ambient ones");
    assert!(
        migrate["capabilities"]
            .as_array()
            .is_some_and(|all| !all.contains(&json!("NET_ADMIN")) && all.contains(&json!("NET_RAW")))
    );
    for (runs, uid) in [(&app, 1000), (&proxy, 1337)] {
        assert_eq!(
            (&runs["user"], &runs["group"], &runs["privileged"]),
            (&json!(uid), &json!(uid), &json!(false)),
            "{runs}"
        );
        assert!(["finished", "exit_code", "reason", "state"].iter().all(|key| runs[key].is_null()), "{runs}");
        has(place, runs["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("it runs"), runs, &[RAW, ADMIN]);
    }
    assert_eq!((&app["arguments"], &proxy["arguments"]), (&Value::Null, &json!(SLEEP)));
    assert_eq!((&app["init"], &proxy["init"]), (&Value::Null, &json!(false)));
    assert_eq!(app["ports"], json!([{"name": "http", "port": 80, "protocol": "tcp", "host_port": 8080}]));

    // The sandbox, by the kernel's account of the pod.
    assert_eq!(known["sandbox_pid"], json!(pod.sandbox_pid));
    assert_eq!(known["sandbox_netns"]["inode"], json!(netns_of(place, pod.sandbox_pid)));
    assert_eq!((&known["user_namespace"], &known["runtime_handler"]), (&json!(false), &Value::Null));
    let now: u64 = place.sh("date +%s").trim().parse().expect("a time");
    assert!(known["created"].as_u64().is_some_and(|made| made <= now && made + 600 > now), "{known}");
    let shown = place.sh(&format!("nsenter --net=/proc/{}/ns/net ip -o address show scope global", pod.sandbox_pid));
    let told: Vec<&str> = known["addresses"].as_array().expect("addresses").iter().filter_map(Value::as_str).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|address| shown.contains(&format!(" {address}/"))), "{told:?} are not those of {shown}");

    // What has ended is there and runs nowhere.
    assert_eq!(target(place, &["pod/web"])["pid"], json!(pod.pids["app"]));
    refused(place, &["pod/web", "-c", "istio-init"], 3).said("is not running (exited)");
    refused(place, &["container/istio-init"], 3).said("is not running (exited)");
    let heading = nslens(place, &["rules", "pod/web"]).ended(0);
    assert!(
        heading.stdout.contains("containers migrate (exited), istio-init (exited), app, istio-proxy\n"),
        "{heading:#?}"
    );
    let listed = nslens(place, &["list", "-o", "json"]).ended(0).json();
    assert_eq!(listed["workloads"].as_array().map(Vec::len), Some(1), "{listed}");
}

#[test]
fn a_failed_and_restarted_container_is_told_as_such() {
    let Some(lab) = CriLab::start() else { return };
    let place = lab.place();
    let failing = ["/bin/sh", "-c", "exit 3"];
    lab.run_pod(&PodSpec {
        name: "agent",
        namespace: "kube-system",
        host_network: true,
        containers: &[
            ContainerSpec { name: "job", args: &failing, ends: true, ..ContainerSpec::default() },
            ContainerSpec { name: "agent", args: SLEEP, capabilities: &["NET_ADMIN"], ..ContainerSpec::default() },
        ],
        ..PodSpec::default()
    });
    let known = workload(place, &["pod/agent"]);
    let (job, agent) = (container(&known, "job"), container(&known, "agent"));
    assert_eq!((&job["exit_code"], &job["reason"], &job["init"]), (&json!(3), &json!("Error"), &Value::Null), "{job}");
    has(place, agent["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("it runs"), &agent, &[RAW, ADMIN]);
    // Nobody made a namespace for it.
    assert_eq!((&known["sandbox_netns"], &known["host_network"]), (&Value::Null, &json!(true)), "{known}");
}

#[test]
fn docker_tells_the_same() {
    let Some(lab) = DockerLab::start() else { return };
    let place = lab.place();
    let options = ["--cap-add", "NET_ADMIN", "--cap-drop", "chown", "--expose", "9090/udp", "--publish", "8080:80"];
    let id = lab.run_container(&[&["--name", "istio-proxy"], &options[..]].concat(), SLEEP);
    let known = workload(place, &["istio-proxy"]);
    let proxy = container(&known, "istio-proxy");
    has(place, lab.pid(&id), &proxy, &[RAW, ADMIN, ("CHOWN", 0)]);
    assert_eq!(
        (&proxy["user"], &proxy["group"], &proxy["privileged"]),
        (&json!(0), &Value::Null, &json!(false)),
        "{proxy}"
    );
    assert_eq!((&proxy["arguments"], &proxy["restarts"]), (&json!(SLEEP), &json!(0)));
    let ports = json!([{"port": 80, "protocol": "tcp", "host_port": 8080}, {"port": 9090, "protocol": "udp"}]);
    assert_eq!(proxy["ports"], ports);
    let address = run(lab.docker().args(["inspect", "--format", "{{.NetworkSettings.IPAddress}}", &id]));
    assert!(known["addresses"].as_array().is_some_and(|all| all.contains(&json!(address.trim()))), "{known}");
    assert_eq!(known["runtime_handler"], json!("runc"));

    let pod = lab.run_istio_pod("web", "blue");
    run(lab.docker().args(["kill", &pod.ids["app"]]));
    run(lab.docker().args(["wait", &pod.ids["app"]]));
    let known = workload(place, &["pod/web"]);
    let (app, proxy) = (container(&known, "app"), container(&known, "istio-proxy"));
    assert_eq!((&app["exit_code"], &app["user"], &app["pid"]), (&json!(137), &json!(1000), &Value::Null), "{app}");
    assert!(app["finished"].as_u64() >= app["started"].as_u64() && app["started"].as_u64() > Some(0), "{app}");
    assert_eq!((&app["init"], &app["arguments"], &proxy["init"]), (&Value::Null, &Value::Null, &json!(false)));
    has(place, pod.pids["istio-proxy"], &proxy, &[RAW, ADMIN]);
    assert_eq!(known["sandbox_pid"], json!(pod.sandbox_pid));
    assert_eq!(known["sandbox_netns"]["inode"], json!(netns_of(place, pod.sandbox_pid)));
    assert!(known["created"].as_u64() > Some(0) && known["addresses"].as_array().is_some_and(|all| !all.is_empty()));
}
