//! What the table of tracked connections says by itself: CQ07 and CQ14.

use serde_json::Value;

use super::stage::{BACKENDS, conns, load, numbers, run, says, shown};
use crate::rules::nslens;
use crate::support::{Lab, require_root, wait_until};

/// Ids of the entries without an answer, as conntrack has them.
fn unreplied(lab: &Lab) -> std::collections::BTreeSet<u64> {
    let listed = lab.sh("conntrack -L -p udp -o id 2>/dev/null");
    let lines = listed.lines().filter(|line| line.contains("[UNREPLIED]"));
    lines.map(|line| line.rsplit("id=").next().expect("an id").trim().parse().expect("a number")).collect()
}

#[test]
fn cq07_two_entries_a_query_since_the_answer_has_another_source() {
    if !require_root() {
        return;
    }
    for backend in BACKENDS {
        let (pod, _world) = Lab::pod_and_world();
        load(&pod, backend, "*nat\n-A OUTPUT -p udp --dport 53 -j REDIRECT --to-ports 15053\nCOMMIT");
        let proxy = run(&pod, 1337, "udp:0.0.0.0:15053");
        pod.wait_for_sockets(1, "sport = :15053");
        let _client = run(&pod, 1000, "ask:10.0.0.5:53@10.0.0.2:40000 ask:10.0.0.5:53@10.0.0.2:40001");
        wait_until("the entries", || unreplied(&pod).len() == 4);
        let said = conns(&pod);
        let seen = said.only("mirrored-entries");
        let who = format!("/{}, which waits at 0.0.0.0:15053, answers from 10.0.0.2:15053", proxy.pid());
        says(seen, &["2 queries over UDP to 10.0.0.5:53 have two entries each", &who, "not from 127.0.0.1:15053"]);
        assert_eq!(numbers(&seen["flows"]), unreplied(&pod));
        assert!(shown(&pod, &[]).contains("Seen:\n- 2 queries over UDP"));
    }
}

#[test]
fn cq07_two_entries_a_query_since_the_answer_is_in_another_zone() {
    if !require_root() {
        return;
    }
    for backend in BACKENDS {
        let (pod, world) = Lab::pod_and_world();
        // The second rule should ask for the source.
        load(
            &pod,
            backend,
            "*raw
-A OUTPUT -p udp -d 10.0.0.5/32 --dport 53 -j CT --zone 1
-A PREROUTING -p udp -d 10.0.0.5/32 --sport 53 -j CT --zone 1
COMMIT",
        );
        let _server = run(&world, 0, "udp:10.0.0.5:53");
        world.wait_for_sockets(1, "sport = :53");
        let _client = run(&pod, 1000, "ask:10.0.0.5:53@10.0.0.2:40000");
        wait_until("the entries", || unreplied(&pod).len() == 2);
        let said = conns(&pod);
        let seen = said.only("mirrored-entries");
        says(
            seen,
            &["1 query over UDP to 10.0.0.5:53 has two entries", "queries are tracked in zone 1, answers in zone 0"],
        );
        assert_eq!(numbers(&seen["flows"]), unreplied(&pod));
    }
}

#[test]
fn cq07_answered_queries_and_those_of_others_are_no_pair() {
    if !require_root() {
        return;
    }
    let (pod, world) = Lab::pod_and_world();
    load(&pod, "nft", "*nat\n-A OUTPUT -p udp --dport 53 -j REDIRECT --to-ports 15053\nCOMMIT");
    let _proxy = run(&pod, 1337, "udp:127.0.0.1:15053");
    pod.wait_for_sockets(1, "sport = :15053");
    // One is answered as it should be, the other goes where nobody is.
    let _client = run(&pod, 1000, "ask:10.0.0.5:53@10.0.0.2:40000 ask:10.0.0.5:5353@10.0.0.2:40001");
    wait_until("the entries", || pod.sh("conntrack -L -p udp 2>/dev/null").lines().count() == 2);
    assert_eq!(unreplied(&pod).len(), 1);
    assert!(conns(&pod).is_quiet());
    drop(world);
}

#[test]
fn cq14_what_fills_the_table() {
    if !require_root() {
        return;
    }
    let (pod, world) = Lab::pod_and_world();
    load(&pod, "nft", super::stage::SIDECAR);
    let _server = run(&world, 0, "accept:0.0.0.0:80 accept:0.0.0.0:5432");
    let _proxy = run(&pod, 1337, "accept:0.0.0.0:15001 accept:0.0.0.0:15006");
    pod.wait_for_sockets(2, "state listening");
    world.wait_for_sockets(2, "state listening");
    let _app = run(
        &pod,
        1000,
        "dial:10.0.0.5:80 dial:10.0.0.5:80 dial:10.0.0.5:80 dial:10.0.0.5:5432 ask:10.0.0.5:7@10.0.0.2:40000",
    );
    let _client = run(&world, 0, "dial:10.0.0.2:8080");
    pod.wait_for_connections(3 + 3 + 1 + 1);
    let output = nslens(&pod, &["conns", "--summary", "-o", "json"]);
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    // All of it against conntrack's own list and counters.
    let listed = pod.sh("conntrack -L 2>/dev/null");
    let with = |word: &str| listed.lines().filter(|line| line.contains(word)).count();
    assert_eq!((&said["flows"], &said["unanswered"]), (&listed.lines().count().into(), &with("[UNREPLIED]").into()));
    let top = &said["destinations"][0];
    assert_eq!((&top["destination"], &top["flows"], &top["redirected"]), (&"10.0.0.5:80".into(), &3.into(), &3.into()));
    let states = said["states"].as_array().expect("states");
    let established = states.iter().find(|state| state["state"] == "ESTABLISHED").expect("there are some");
    assert_eq!(established["flows"], with("ESTABLISHED"));
    let ports: Vec<(u64, u64)> = said["proxy_ports"]
        .as_array()
        .expect("ports")
        .iter()
        .map(|port| (port["port"].as_u64().expect("a port"), port["flows"].as_u64().expect("a number")))
        .collect();
    assert_eq!(ports, [(15001, with(" sport=15001 ") as u64), (15006, with(" sport=15006 ") as u64)]);
    let number = |text: String| text.trim().parse::<u64>().expect("a number");
    assert_eq!(said["table"]["count"], number(pod.sh("conntrack -C")));
    let limit = number(std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max").expect("the limit"));
    assert_eq!((&said["table"]["limit"], &said["node_table"]["limit"]), (&limit.into(), &limit.into()));
    assert!(said["node_table"]["count"].is_u64(), "{said:#}");
}
