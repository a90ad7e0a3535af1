//! Which client is behind a probe: CQ16.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::stage::{AMBIENT, conns, dial, inodes, load, numbers, run, says, shown};
use crate::support::{Lab, require_root};

#[test]
fn cq16_the_kubelets_probes_in_ambient_mode() {
    if !require_root() {
        return;
    }
    let (pod, world) = Lab::pod_and_world();
    load(&pod, "nft", AMBIENT);
    let sixth = "fd16:9254:7127:1337:ffff:ffff:ffff:ffff";
    world.sh(&format!("ip addr add 169.254.7.127/32 dev lo; ip addr add {sixth}/128 dev lo"));
    pod.sh(&format!("ip route add 169.254.7.127/32 dev eth0; ip -6 route add {sixth}/128 via fd00::5"));
    // Neighbours are known before one speaks from an address that is not on the cable.
    world.sh("until busybox ping -6 -c 1 -W 1 fd00::2 >&2; do sleep 0.1; done");
    pod.sh("until busybox ping -6 -c 1 -W 1 fd00::5 >&2; do sleep 0.1; done");
    let app = run(&pod, 1000, "accept:[::]:8080");
    let _proxy = run(&pod, 1337, "accept:0.0.0.0:15006");
    pod.wait_for_sockets(2, "state listening");
    let probes = world.netns().enter(|| {
        let other = dial("10.0.0.2:8080", Some("10.0.0.5:0"));
        (dial("10.0.0.2:8080", Some("169.254.7.127:0")), dial("[fd00::2]:8080", Some(&format!("[{sixth}]:0"))), other)
    });
    let _probes = probes.expect("inside");
    pod.wait_for_connections(3);
    let said = conns(&pod);
    let seen = said.seen("node-client");
    assert_eq!(seen.len(), 2, "{:#}", said.document);
    for (seen, address) in seen.iter().zip(["169.254.7.127", sixth]) {
        says(seen, &[&format!("The client {address} on 8080 is Istio's address for the kubelet's probes")]);
        let of =
            said.of(&app).into_iter().filter(|row| row["peer"].as_str().is_some_and(|peer| peer.contains(address)));
        assert_eq!(numbers(&seen["connections"]), inodes(of));
    }
    let entry =
        |id: &Value| pod.sh("conntrack -L -o id 2>/dev/null").contains("src=169.254.7.127 dst=10.0.0.2") && id.is_u64();
    assert!(entry(&seen[0]["flows"][0]), "the entry too: {:#}", seen[0]);
    assert!(
        shown(&pod, &["--all"]).contains("The client 169.254.7.127 on 8080") && !shown(&pod, &[]).contains("Seen:")
    );
}

/// A small machine of its own: its first process lives in the node's network namespace, a pod beside it.
#[test]
fn cq16_the_node_itself() {
    if !require_root() {
        return;
    }
    const SCRIPT: &str = "
        ip link set lo up
        unshare -n sh -c 'ip link set lo up; exec busybox nc -ll -p 8080 -e busybox sleep 100' &
        pod=$!
        while [ \"$(readlink /proc/$pod/ns/net)\" = \"$(readlink /proc/1/ns/net)\" ]; do sleep 0.02; done
        ip link add veth0 type veth peer name eth0 netns $pod
        ip addr add 10.9.0.1/24 dev veth0; ip link set veth0 up
        nsenter -t $pod -n sh -c 'ip addr add 10.9.0.2/24 dev eth0; ip link set eth0 up'
        while ! nsenter -t $pod -n ss -Htln | grep -q :8080; do sleep 0.02; done
        sleep 100 | busybox nc 10.9.0.2 8080 >/dev/null &
        while ! nsenter -t $pod -n ss -Htne state established | grep ino: | grep -qv 'ino:0 '; do sleep 0.02; done
        \"$0\" conns pid/$pod -o json
        kill -9 $pod";
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", "30", "unshare", "-pfn", "--kill-child", "--mount-proc", "sh", "-euc", SCRIPT]);
    let output = command.arg(env!("CARGO_BIN_EXE_nslens")).stdin(Stdio::null()).output().expect("unshare can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"));
    let seen = said["observations"].as_array().expect("observations");
    let node: Vec<_> = seen.iter().filter(|seen| seen["id"] == "node-client").collect();
    assert_eq!(node.len(), 1, "{said:#}\n{errors}");
    says(node[0], &["The client 10.9.0.1 on 8080 is an address of the node: its kubelet's probes, as a rule."]);
    let row = &said["connections"][0];
    assert!(row["peer"].as_str().is_some_and(|peer| peer.starts_with("10.9.0.1:")), "{said:#}");
    assert_eq!(node[0]["connections"], serde_json::json!([row["inode"]]));
}
