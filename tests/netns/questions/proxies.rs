//! Who is behind the proxy, and who is the proxy: CQ05 and CQ10 to CQ13.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command};

use nix::sys::socket::{setsockopt, sockopt};

use super::stage::{AMBIENT, BACKENDS, conns, dial, inodes, load, meshed, numbers, run, says, shown};
use crate::support::{Lab, require_root};

#[test]
fn cq05_why_does_my_application_see_127_0_0_6() {
    let proxy = "accept:0.0.0.0:15001 forward:0.0.0.0:15006>10.0.0.2:8080@127.0.0.6:0";
    let Some((pod, world, held)) = meshed("nft", proxy) else { return };
    let app = run(&pod, 1000, "accept:0.0.0.0:8080");
    pod.wait_for_sockets(3, "state listening");
    let client = world.netns().enter(|| dial("10.0.0.2:8080", Some("10.0.0.5:40000"))).expect("inside");
    // One for another port is nobody's candidate, nor is what goes out.
    let _out = run(&pod, 1000, "dial:10.0.0.5:80");
    let other = world.netns().enter(|| dial("10.0.0.2:9999", Some("10.0.0.5:40001"))).expect("inside");
    pod.wait_for_connections(8);
    let said = conns(&pod);
    let seen = said.only("hidden-client");
    says(seen, &["sees 127.0.0.6 as its client on 8080", &format!("/{}, as which Istio", held[1].pid())]);
    says(seen, &["Candidates for who is behind it: 10.0.0.5:40000."]);
    let [accepted, ..] = said.of(&app)[..] else { panic!("{:#}", said.document) };
    assert!(accepted["peer"].as_str().expect("a peer").starts_with("127.0.0.6:"));
    assert!(numbers(&seen["connections"]).is_superset(&inodes([accepted, said.row(&accepted["twin"])])));
    // So it is in every pod with a sidecar: it is said when everything is asked for.
    assert!(!shown(&pod, &[]).contains("Seen:") && shown(&pod, &["--all"]).contains("sees 127.0.0.6 as its client"));
    drop((client, other));
}

/// A process of the machine's own namespace that holds these sockets.
struct Ztunnel(Child);

impl Ztunnel {
    fn with([input, output, errors]: [OwnedFd; 3]) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "sleep", "1000"]).stdin(input).stdout(output).stderr(errors);
        Self(command.spawn().expect("sleep can be run"))
    }
}

impl Drop for Ztunnel {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn marked(socket: OwnedFd) -> OwnedFd {
    setsockopt(&socket, sockopt::Mark, &0x539).expect("a mark");
    socket
}

/// A pod of ambient mode and its proxy, which lives elsewhere.
fn ambient(backend: &str) -> (Lab, Lab, Ztunnel) {
    let (pod, world) = Lab::pod_and_world();
    load(&pod, backend, AMBIENT);
    let listen = |port: u16| marked(TcpListener::bind(("0.0.0.0", port)).expect("a listener").into());
    let sockets = pod.netns().enter(|| [15001, 15006, 15008].map(listen)).expect("inside");
    (pod, world, Ztunnel::with(sockets))
}

#[test]
fn cq10_who_listens_on_15001_where_no_container_is_a_proxy() {
    if !require_root() {
        return;
    }
    for backend in BACKENDS {
        let (pod, _world, ztunnel) = ambient(backend);
        let said = conns(&pod);
        let seen = said.only("proxy-elsewhere");
        let who = format!("sleep/{} of another network namespace", ztunnel.0.id());
        says(seen, &[&who, "15001, 15006, 15008", "it is the proxy", "the mark 0x539"]);
        let ss = pod.sh("ss -Htlne");
        let listed: BTreeSet<u64> =
            ss.split_whitespace().filter_map(|word| word.strip_prefix("ino:")?.parse().ok()).collect();
        assert_eq!(numbers(&seen["connections"]), listed);
        assert!(shown(&pod, &["--all"]).contains(&who) && !shown(&pod, &[]).contains("Seen:"));
        // A listener of the pod's own, on a port that no rule speaks of, is not a proxy.
        let _app = run(&pod, 1000, "accept:0.0.0.0:8080");
        pod.wait_for_sockets(4, "state listening");
        assert_eq!(conns(&pod).only("proxy-elsewhere")["connections"], seen["connections"]);
    }
}

#[test]
fn cq11_is_it_hbone_or_plain() {
    if !require_root() {
        return;
    }
    let (pod, world, _ztunnel) = ambient("nft");
    let _server = run(&world, 0, "accept:0.0.0.0:15008 accept:0.0.0.0:80");
    world.wait_for_sockets(2, "state listening");
    let marked_dial = |to: &str| {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, socket};
        let caller = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        let caller = marked(caller);
        let address: std::net::SocketAddr = to.parse().expect("an address");
        connect(std::os::fd::AsRawFd::as_raw_fd(&caller), &SockaddrStorage::from(address)).expect("a connection");
        caller
    };
    let out =
        pod.netns().enter(|| ["10.0.0.5:15008", "10.0.0.5:15008", "10.0.0.5:80"].map(marked_dial)).expect("inside");
    let inward = world.netns().enter(|| dial("10.0.0.2:15008", None)).expect("inside");
    pod.wait_for_connections(3);
    let said = conns(&pod);
    let seen = said.only("hbone-share");
    says(seen, &["3 of 4 connections with other machines", "15008 (1 in, 2 out)", "1 in plain: 10.0.0.5:80 (out)"]);
    let ss = pod.sh("ss -Htn state established").lines().filter(|line| line.contains(":15008")).count();
    assert_eq!(ss, 3);
    assert!(out.iter().all(|socket| socket.as_fd().try_clone_to_owned().is_ok()));
    drop(inward);
}

#[test]
fn cq12_a_machine_was_dialled_and_no_service() {
    let Some((pod, world, _held)) = meshed("nft", "accept:0.0.0.0:15001") else { return };
    world.sh("ip addr add 10.96.0.10/32 dev lo");
    pod.sh("ip route add 10.96.0.0/16 via 10.0.0.5");
    let service = run(&pod, 1000, "dial:10.96.0.10:80");
    pod.wait_for_connections(2);
    // Whether this is a service cannot be told, and so nothing is said.
    assert_eq!(conns(&pod).seen("endpoint-dialled").len(), 0);
    let machine = run(&pod, 1000, "dial:10.0.0.5:80");
    pod.wait_for_connections(4);
    let said = conns(&pod);
    let seen = said.only("endpoint-dialled");
    says(seen, &["1 of 2 connections redirected", "no service: 10.0.0.5:80", "cannot be told here"]);
    assert_eq!(numbers(&seen["connections"]), inodes(said.of(&machine)));
    assert_eq!(said.dialled(&service, "10.96.0.10:80")["way"], "redirected");
}

#[test]
fn cq13_which_upstream_belongs_to_which_downstream() {
    let Some((pod, _world, held)) = meshed("nft", "forward:0.0.0.0:15001>original") else { return };
    pod.sh("echo 1 > /proc/sys/net/netfilter/nf_conntrack_timestamp");
    let app = run(&pod, 1000, "dial:10.0.0.5:80 dial:10.0.0.5:80 dial:10.0.0.5:81");
    pod.wait_for_connections(9);
    let said = conns(&pod);
    let seen = said.seen("upstream-candidates");
    assert_eq!(seen.len(), 2, "{:#}", said.document);
    for (seen, (to, many)) in seen.iter().zip([("10.0.0.5:80", 2), ("10.0.0.5:81", 1)]) {
        let near = format!("; {many} of them began within 5 s of a call: candidates, no more");
        says(seen, &[&format!("for {to} and has {many} of its own"), &near]);
        let of_proxy: Vec<_> = said.of(&held[1]).into_iter().filter(|row| row["original_destination"] == to).collect();
        assert_eq!((of_proxy.len(), numbers(&seen["connections"])), (2 * many, inodes(of_proxy)));
    }
    // Nothing claims more: the halves of the application's connections end at the proxy.
    let outgoing = said.of(&held[1]).into_iter().filter(|row| row["direction"] == "out");
    assert!(outgoing.into_iter().all(|row| row["twin"].is_null()));
    assert_eq!(said.of(&app).len(), 3);
}
