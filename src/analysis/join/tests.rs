//! The join over made-up namespaces, one for each case.

mod drawn;
mod pairing;

use std::net::IpAddr;

use super::*;
use crate::model::{
    Backend, Cause, Family, Flow, Interface, Kind, SocketDetails, SocketState, Subject, Unread, Workload,
};

/// A namespace put together by hand: 10.0.0.2 and fd00::2 are its own.
struct Pod {
    snapshot: Snapshot,
}

fn end(text: &str) -> Endpoint {
    let address: std::net::SocketAddr = text.parse().expect("an endpoint");
    Endpoint::new(address.ip(), address.port())
}

impl Pod {
    fn new() -> Self {
        let mut snapshot = Snapshot::of("node", 0, "pod/test", Workload::named(Kind::Pod, "test"));
        let own = ["10.0.0.2", "fd00::2"].map(|text| (text.parse::<IpAddr>().expect("an address"), 64));
        let addresses = own.to_vec();
        let eth0 = Interface { index: 2, name: "eth0".into(), loopback: false, up: true, addresses };
        snapshot.interfaces = Some(vec![eth0]);
        snapshot.sockets = Some(Vec::new());
        snapshot.flows = Some(Vec::new());
        snapshot.processes = Some(Vec::new());
        Self { snapshot }
    }

    fn socket(mut self, inode: u32, uid: u32, local: &str, peer: &str, change: impl FnOnce(&mut Socket)) -> Self {
        let local = end(local);
        let mut socket = Socket {
            protocol: Protocol::Tcp,
            family: if local.address.is_ipv6() { Family::Ip6 } else { Family::Ip },
            mapped: false,
            state: if peer.is_empty() { SocketState::Listen } else { SocketState::Established },
            local,
            peer: (!peer.is_empty()).then(|| end(peer)),
            uid,
            inode,
            mark: Some(0),
            interface: 0,
            receive_queue: 0,
            send_queue: 0,
            details: SocketDetails::default(),
        };
        change(&mut socket);
        self.snapshot.sockets.get_or_insert_default().push(socket);
        self
    }

    fn tcp(self, inode: u32, uid: u32, local: &str, peer: &str) -> Self {
        self.socket(inode, uid, local, peer, |_| {})
    }

    fn udp(self, inode: u32, local: &str, peer: &str) -> Self {
        self.socket(inode, 1000, local, peer, |socket| {
            socket.protocol = Protocol::Udp;
            if socket.peer.is_none() {
                socket.state = SocketState::Unconnected;
            }
        })
    }

    fn flow(mut self, original: (&str, &str), reply: (&str, &str), change: impl FnOnce(&mut Flow)) -> Self {
        let ends = |ends: (&str, &str)| (end(ends.0), end(ends.1));
        let mut flow = Flow { status: 0x1ae, ..Flow::between(Protocol::Tcp, ends(original), ends(reply)) };
        change(&mut flow);
        self.snapshot.flows.get_or_insert_default().push(flow);
        self
    }

    fn tracked(self, original: (&str, &str), reply: (&str, &str)) -> Self {
        self.flow(original, reply, |_| {})
    }

    fn process(mut self, pid: u32, name: &str, ids: (u32, u32), sockets: &[u32]) -> Self {
        self.snapshot.processes.get_or_insert_default().push(Process {
            pid,
            start_time: 0,
            name: name.into(),
            uid: ids.0,
            user: None,
            gid: ids.1,
            groups: vec![ids.1],
            container: None,
            elsewhere: false,
            sockets: sockets.to_vec(),
            capabilities: None,
            netns: None,
            descriptors: None,
            state: None,
        });
        self
    }

    fn join(&self, rulebook: &dyn Rulebook) -> Vec<Connection> {
        connections(&self.snapshot, true, rulebook)
    }

    fn only(&self, inode: u32) -> Connection {
        self.join(&Istio).into_iter().find(|connection| connection.inode == inode).expect("the socket")
    }
}

/// UID and GID 1337 or mark 0x539 are let through, every other outgoing TCP goes to 15001, incoming to 15006; IPv4 only.
struct Istio;

fn rule(chain: &str, number: usize) -> RuleRef {
    RuleRef { backend: Backend::Nft, family: Family::Ip, table: "nat".into(), chain: chain.into(), number }
}

impl Rulebook for Istio {
    fn redirecting(&self, packet: &Dialled) -> Option<RuleRef> {
        if packet.protocol != Protocol::Tcp || packet.destination.address.is_ipv6() || self.exempting(packet).is_some()
        {
            return None;
        }
        Some(if packet.incoming { rule("ISTIO_IN_REDIRECT", 1) } else { rule("ISTIO_REDIRECT", 1) })
    }

    fn exempting(&self, packet: &Dialled) -> Option<RuleRef> {
        if packet.uid == Some(1337) {
            return Some(rule("ISTIO_OUTPUT", 3));
        }
        (packet.gid == Some(1337)).then(|| rule("ISTIO_OUTPUT", 4))
    }

    fn tracks(&self, ipv6: bool) -> Option<bool> {
        Some(!ipv6)
    }
}

/// An application that dials 10.0.0.5:80, and the proxy that gets it and dials on.
fn sidecar() -> Pod {
    Pod::new()
        .tcp(11, 1000, "10.0.0.2:40000", "10.0.0.5:80")
        .tcp(12, 1337, "127.0.0.1:15001", "10.0.0.2:40000")
        .tcp(13, 1337, "10.0.0.2:50000", "10.0.0.5:80")
        .tcp(14, 1337, "0.0.0.0:15001", "")
        .tracked(("10.0.0.2:40000", "10.0.0.5:80"), ("127.0.0.1:15001", "10.0.0.2:40000"))
        .tracked(("10.0.0.2:50000", "10.0.0.5:80"), ("10.0.0.5:80", "10.0.0.2:50000"))
        .process(30, "envoy", (1337, 1337), &[12, 13, 14])
        .process(20, "curl", (1000, 1000), &[11])
}

#[test]
fn an_application_is_redirected_to_the_proxy() {
    let app = sidecar().only(11);
    assert_eq!((app.way, app.direction, app.twin), (Way::Redirected, Some(Direction::Out), Some(12)));
    assert_eq!(app.original_destination, Some(end("10.0.0.5:80")));
    assert_eq!(app.actual_destination, Some(end("127.0.0.1:15001")));
    assert_eq!(app.rule, Some(rule("ISTIO_REDIRECT", 1)));
    assert_eq!(app.process().map(|owner| owner.name.as_str()), Some("curl"));
}

#[test]
fn the_proxys_accepted_half_is_intercepted() {
    let half = sidecar().only(12);
    assert_eq!((half.way, half.direction, half.twin), (Way::Intercepted, Some(Direction::In), Some(11)));
    assert_eq!(half.original_destination, Some(end("10.0.0.5:80")));
    assert_eq!(half.actual_destination, Some(half.local));
    assert_eq!(half.rule, Some(rule("ISTIO_REDIRECT", 1)), "the rule of the caller's packet, not of an incoming one");
}

#[test]
fn the_proxys_own_connection_is_exempt_by_uid_or_by_the_group_of_its_process() {
    let upstream = sidecar().only(13);
    assert_eq!((upstream.way, upstream.rule.as_ref()), (Way::Exempt, Some(&rule("ISTIO_OUTPUT", 3))));
    assert_eq!(upstream.original_destination, upstream.actual_destination);
    let pod = Pod::new()
        .tcp(13, 1000, "10.0.0.2:50000", "10.0.0.5:80")
        .tracked(("10.0.0.2:50000", "10.0.0.5:80"), ("10.0.0.5:80", "10.0.0.2:50000"))
        .process(30, "agent", (1000, 1337), &[13]);
    assert_eq!(pod.only(13).rule, Some(rule("ISTIO_OUTPUT", 4)));
}

#[test]
fn a_rewritten_source_port_is_followed_through_the_reply() {
    let pod = Pod::new()
        .tcp(11, 1000, "10.0.0.2:40000", "10.0.0.6:80")
        .tcp(12, 1337, "127.0.0.1:15001", "10.0.0.2:61234")
        .tracked(("10.0.0.2:40000", "10.0.0.6:80"), ("127.0.0.1:15001", "10.0.0.2:61234"));
    assert_eq!(pod.only(11).twin, Some(12));
    let half = pod.only(12);
    assert_eq!((half.way, half.twin), (Way::Intercepted, Some(11)));
    assert_eq!(half.original_destination, Some(end("10.0.0.6:80")));
    assert!(half.rewritten_port && pod.only(11).rewritten_port, "both halves say so");
    assert!(!sidecar().only(11).rewritten_port && !sidecar().only(12).rewritten_port);
}

#[test]
fn a_caller_from_outside_is_intercepted_by_the_incoming_rule() {
    let pod = Pod::new()
        .tcp(12, 1337, "10.0.0.2:15006", "10.0.0.9:33333")
        .tracked(("10.0.0.9:33333", "10.0.0.2:8080"), ("10.0.0.2:15006", "10.0.0.9:33333"));
    let half = pod.only(12);
    assert_eq!((half.way, half.twin), (Way::Intercepted, None));
    assert_eq!(half.original_destination, Some(end("10.0.0.2:8080")));
    assert_eq!(half.rule, Some(rule("ISTIO_IN_REDIRECT", 1)));
}

#[test]
fn a_v4_mapped_half_is_paired_with_its_ipv4_one() {
    let pod = Pod::new()
        .tcp(11, 1000, "10.0.0.2:40000", "10.0.0.5:80")
        .socket(12, 1337, "127.0.0.1:15001", "10.0.0.2:40000", |socket| {
            (socket.family, socket.mapped) = (Family::Ip6, true);
        })
        .tracked(("10.0.0.2:40000", "10.0.0.5:80"), ("127.0.0.1:15001", "10.0.0.2:40000"));
    assert_eq!((pod.only(11).twin, pod.only(12).twin), (Some(12), Some(11)));
    assert_eq!(pod.only(12).way, Way::Intercepted);
}

#[test]
fn both_halves_of_a_local_connection_know_each_other() {
    let pod = Pod::new()
        .tcp(11, 1000, "127.0.0.1:40000", "127.0.0.1:8080")
        .tcp(12, 1001, "127.0.0.1:8080", "127.0.0.1:40000")
        .tracked(("127.0.0.1:40000", "127.0.0.1:8080"), ("127.0.0.1:8080", "127.0.0.1:40000"));
    let (caller, called) = (pod.only(11), pod.only(12));
    assert_eq!((caller.way, caller.direction, caller.twin), (Way::Direct, Some(Direction::Out), Some(12)));
    assert_eq!((called.way, called.direction, called.twin), (Way::Direct, Some(Direction::In), Some(11)));
    assert_eq!(called.original_destination, Some(end("127.0.0.1:8080")));
}

#[test]
fn an_entry_that_was_picked_up_the_wrong_way_round_does_not_turn_a_caller() {
    // The first packet that was tracked came from the one that had been dialled.
    let entry = (("10.0.0.9:6443", "10.0.0.2:59280"), ("10.0.0.2:59280", "10.0.0.9:6443"));
    let pod = Pod::new().tcp(11, 1000, "10.0.0.2:59280", "10.0.0.9:6443").tracked(entry.0, entry.1);
    let caller = pod.only(11);
    assert_eq!((caller.way, caller.direction, caller.twin), (Way::Direct, Some(Direction::Out), None));
    assert_eq!(caller.original_destination, Some(end("10.0.0.9:6443")));
    assert_eq!(caller.actual_destination, Some(end("10.0.0.9:6443")));
    // Where somebody waits on that port, it is taken at its word; and so it is where no caller would have that port.
    let called = pod.tcp(12, 1000, "0.0.0.0:59280", "").only(11);
    assert_eq!((called.direction, called.original_destination), (Some(Direction::In), Some(end("10.0.0.2:59280"))));
    let served = Pod::new()
        .tcp(11, 1000, "10.0.0.2:8080", "10.0.0.9:40000")
        .tracked(("10.0.0.9:40000", "10.0.0.2:8080"), ("10.0.0.2:8080", "10.0.0.9:40000"));
    assert_eq!(served.only(11).direction, Some(Direction::In));
    // The other side of such a one.
    let server = Pod::new()
        .tcp(10, 1000, "0.0.0.0:8080", "")
        .tcp(11, 1000, "10.0.0.2:8080", "10.0.0.9:40000")
        .tracked(("10.0.0.2:8080", "10.0.0.9:40000"), ("10.0.0.9:40000", "10.0.0.2:8080"));
    let called = server.only(11);
    assert_eq!((called.way, called.direction), (Way::Direct, Some(Direction::In)));
    assert_eq!(called.original_destination, Some(end("10.0.0.2:8080")));
}

#[test]
fn a_half_that_no_descriptor_holds_is_no_twin_and_has_no_uid() {
    let pod = Pod::new()
        .tcp(11, 1000, "10.0.0.2:40000", "10.0.0.5:80")
        .tcp(0, 0, "127.0.0.1:15001", "10.0.0.2:40000")
        .tracked(("10.0.0.2:40000", "10.0.0.5:80"), ("127.0.0.1:15001", "10.0.0.2:40000"));
    assert_eq!(pod.only(11).twin, None);
    let waiting = pod.only(0);
    assert_eq!((waiting.way, waiting.uid, waiting.twin), (Way::Intercepted, None, Some(11)));
}

#[test]
fn where_nothing_is_tracked_everything_is_direct() {
    let pod = Pod::new()
        .tcp(11, 1000, "[fd00::2]:40000", "[fd00::5]:80")
        .tcp(12, 1000, "[fd00::2]:8080", "[fd00::9]:55555")
        .tcp(13, 1000, "[::]:8080", "");
    let (out, inward) = (pod.only(11), pod.only(12));
    assert_eq!((out.way, out.direction), (Way::Direct, Some(Direction::Out)));
    assert_eq!(out.actual_destination, Some(end("[fd00::5]:80")));
    assert_eq!((inward.way, inward.direction), (Way::Direct, Some(Direction::In)));
    assert_eq!(inward.original_destination, Some(end("[fd00::2]:8080")));
}

#[test]
fn where_something_is_tracked_a_connection_without_entry_is_unknown() {
    let pod = sidecar().tcp(21, 1000, "10.0.0.2:40404", "10.0.0.7:443");
    let older = pod.only(21);
    assert_eq!((older.way, older.original_destination), (Way::Unknown, Some(end("10.0.0.7:443"))));
    assert_eq!(older.actual_destination, None);
    let without_rules = pod.join(&());
    assert_eq!(without_rules.iter().find(|one| one.inode == 21).map(|one| one.way), Some(Way::Unknown));
    // No entry at all, but a rule that would take it: tracking is on, so no entry means nothing.
    assert_eq!(Pod::new().tcp(21, 1000, "10.0.0.2:40404", "10.0.0.7:443").only(21).way, Way::Unknown);
}

#[test]
fn without_the_list_of_entries_nothing_is_claimed() {
    let mut pod = Pod::new().tcp(11, 1000, "[fd00::2]:40000", "[fd00::5]:80");
    pod.snapshot.unread.push(Unread {
        source: "conntrack".into(),
        error: "EPERM".into(),
        means: String::new(),
        subject: Subject::Flows,
        cause: Cause::Permission,
    });
    assert_eq!(pod.only(11).way, Way::Unknown);
    pod.snapshot.unread.clear();
    pod.snapshot.flows = None;
    assert_eq!(pod.only(11).way, Way::Unknown);
}

#[test]
fn a_datagram_client_finds_the_unconnected_socket_that_receives() {
    let pod = Pod::new().udp(11, "10.0.0.2:40000", "10.96.0.10:53").udp(12, "127.0.0.1:15053", "").flow(
        ("10.0.0.2:40000", "10.96.0.10:53"),
        ("127.0.0.1:15053", "10.0.0.2:40000"),
        |flow| {
            flow.protocol = Protocol::Udp;
        },
    );
    assert_eq!((pod.only(11).way, pod.only(11).twin), (Way::Redirected, Some(12)));
    assert_eq!((pod.only(12).way, pod.only(12).peer), (Way::Listening, None));
}

#[test]
fn of_two_entries_in_two_zones_the_answered_one_speaks() {
    let ends = ("10.0.0.2:40000", "10.96.0.10:53");
    let pod = Pod::new()
        .udp(11, ends.0, ends.1)
        .flow(ends, ("10.96.0.10:53", "10.0.0.2:40000"), |flow| (flow.protocol, flow.status) = (Protocol::Udp, 0))
        .flow(ends, ("127.0.0.1:15053", "10.0.0.2:40000"), |flow| (flow.protocol, flow.zone) = (Protocol::Udp, 1));
    assert_eq!(pod.only(11).way, Way::Redirected);
}

#[test]
fn what_is_over_or_not_yet_begun_shows_only_when_asked_for() {
    let pod = sidecar()
        .udp(15, "0.0.0.0:53", "")
        .socket(0, 0, "10.0.0.2:41000", "10.0.0.5:80", |socket| socket.state = SocketState::TimeWait)
        .socket(16, 1000, "10.0.0.2:0", "", |socket| socket.state = SocketState::Unconnected);
    let live = connections(&pod.snapshot, false, &Istio);
    assert_eq!(live.iter().map(|one| one.inode).collect::<Vec<_>>(), [11, 12, 13]);
    let all = pod.join(&Istio);
    // By PID, then by port; those of nobody last.
    assert_eq!(all.iter().map(|one| one.inode).collect::<Vec<_>>(), [11, 14, 12, 13, 16, 15, 0]);
    assert_eq!((pod.only(14).way, pod.only(15).way, pod.only(16).way), (Way::Listening, Way::Listening, Way::Unknown));
}

#[test]
fn a_shared_socket_has_all_its_owners() {
    let pod = sidecar().process(7, "supervisor", (0, 0), &[14]);
    let names: Vec<_> = pod.only(14).processes.into_iter().map(|owner| owner.name).collect();
    assert_eq!(names, ["supervisor", "envoy"]);
}

#[test]
fn the_twin_is_the_socket_that_lives_not_the_one_before_it_with_the_same_ends() {
    for first in [0, 12] {
        let pod = Pod::new()
            .tcp(11, 1000, "10.0.0.2:40000", "10.0.0.5:80")
            .tcp(first, 1337, "127.0.0.1:15001", "10.0.0.2:40000")
            .tcp(12 - first, 1337, "127.0.0.1:15001", "10.0.0.2:40000")
            .tracked(("10.0.0.2:40000", "10.0.0.5:80"), ("127.0.0.1:15001", "10.0.0.2:40000"));
        assert_eq!(pod.only(11).twin, Some(12));
    }
}

#[test]
fn what_is_claimed_says_what_it_is_known_from() {
    let pod =
        sidecar().tcp(21, 1000, "[fd00::2]:40404", "[fd00::7]:443").tcp(22, 1000, "10.0.0.2:40404", "10.0.0.7:443");
    let evidence = |inode| pod.only(inode).evidence;
    assert_eq!(
        (evidence(11), evidence(12), evidence(13)),
        (Some(Evidence::Tracked), Some(Evidence::Tracked), Some(Evidence::Tracked))
    );
    assert_eq!((evidence(21), evidence(22), evidence(14)), (Some(Evidence::Rules), None, None));
}

#[test]
fn the_entry_is_named_and_its_age_where_the_kernel_noted_the_time() {
    let mut pod = Pod::new().tcp(11, 1000, "10.0.0.2:40000", "10.0.0.5:80").flow(
        ("10.0.0.2:40000", "10.0.0.5:80"),
        ("127.0.0.1:15001", "10.0.0.2:40000"),
        |flow| {
            flow.id = 77;
            flow.details.started = Some(1_000_000_000_999);
        },
    );
    pod.snapshot.taken = 1_060;
    assert_eq!((pod.only(11).flow, pod.only(11).age), (Some(77), Some(60)));
    pod.snapshot.taken = 900;
    assert_eq!(pod.only(11).age, None, "clocks that disagree tell nothing");
    assert_eq!((sidecar().only(11).flow, sidecar().only(11).age), (None, None));
}

#[test]
fn what_went_as_dialled_against_the_rules_of_today_is_marked() {
    let as_dialled = (("10.0.0.2:40000", "10.0.0.5:80"), ("10.0.0.5:80", "10.0.0.2:40000"));
    let inward = (("10.0.0.9:33333", "10.0.0.2:8080"), ("10.0.0.2:8080", "10.0.0.9:33333"));
    let pod = sidecar()
        .tcp(21, 1000, "10.0.0.2:40001", "10.0.0.5:80")
        .tracked(("10.0.0.2:40001", "10.0.0.5:80"), ("10.0.0.5:80", "10.0.0.2:40001"))
        .tcp(22, 1000, inward.0.1, inward.0.0)
        .tracked(inward.0, inward.1);
    let older = pod.only(21);
    assert_eq!((older.way, older.rule, older.would), (Way::Direct, None, Some(rule("ISTIO_REDIRECT", 1))));
    let called = pod.only(22);
    assert_eq!((called.way, called.would), (Way::Direct, Some(rule("ISTIO_IN_REDIRECT", 1))));
    // What is redirected, or exempt, is as the rules have it.
    assert!([11, 12, 13].iter().all(|inode| pod.only(*inode).would.is_none()));
    let foreign = Pod::new().tcp(21, 1337, as_dialled.0.0, as_dialled.0.1).tracked(as_dialled.0, as_dialled.1);
    assert_eq!((foreign.only(21).way, foreign.only(21).would), (Way::Exempt, None));
}
