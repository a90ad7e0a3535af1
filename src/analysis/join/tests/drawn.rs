//! The join over namespaces drawn by chance, of so few ends that everything meets everything.

use std::collections::HashSet;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

const ENDS: [&str; 7] = [
    "10.0.0.2:40000",
    "10.0.0.2:8080",
    "10.0.0.2:15001",
    "127.0.0.1:15001",
    "127.0.0.1:40000",
    "10.0.0.5:80",
    "0.0.0.0:15001",
];
const STATES: [&str; 8] =
    ["SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE"];

/// Protocol, ends, state, whether transparent.
type Drawn = (bool, usize, Option<usize>, usize, bool);
/// Protocol, the four ends, state, answered, zone.
type Entry = (bool, [usize; 4], usize, bool, u16);

fn sockets() -> impl Strategy<Value = Vec<Drawn>> {
    let one =
        (any::<bool>(), 0..ENDS.len(), proptest::option::of(0..ENDS.len()), 0..SocketState::ALL.len(), any::<bool>());
    proptest::collection::vec(one, 0..9)
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let ends = [0..ENDS.len(), 0..ENDS.len(), 0..ENDS.len(), 0..ENDS.len()];
    proptest::collection::vec((any::<bool>(), ends, 0..STATES.len(), any::<bool>(), 0..2_u16), 0..9)
}

fn protocol(udp: bool) -> Protocol {
    if udp { Protocol::Udp } else { Protocol::Tcp }
}

fn pod(sockets: &[Drawn], entries: &[Entry], unread: bool) -> Pod {
    let mut pod = Pod::new();
    let mut seen = HashSet::new();
    for (inode, (udp, local, peer, state, transparent)) in (1..).zip(sockets) {
        if seen.insert((*udp, *local, *peer)) {
            pod = pod.socket(inode, 1000, ENDS[*local], peer.map_or("", |peer| ENDS[peer]), |socket| {
                socket.protocol = protocol(*udp);
                if socket.peer.is_some() || *udp {
                    socket.state = SocketState::ALL[*state];
                }
                socket.details.transparent = Some(*transparent);
            });
        }
    }
    for (id, (udp, ends, state, answered, zone)) in (1..).zip(entries) {
        let [client, dialled, from, to] = ends.map(|end| ENDS[end]);
        pod = pod.flow((client, dialled), (from, to), |flow| {
            (flow.id, flow.zone, flow.protocol) = (id, *zone, protocol(*udp));
            flow.state = (!udp).then(|| STATES[*state].into());
            flow.status = if *answered { Flow::SEEN_REPLY } else { 0 };
        });
    }
    if unread {
        pod.snapshot.flows = None;
    }
    pod
}

/// Several answers to one question are one too many.
fn check(pod: &Pod, rulebook: &dyn Rulebook) {
    let all = pod.join(rulebook);
    for one in &all {
        let claims = !matches!(one.way, Way::Listening | Way::Unknown);
        assert_eq!(one.evidence.is_some(), claims, "what is claimed is known from something: {one:?}");
        assert!(one.evidence != Some(Evidence::Tracked) || one.flow.is_some(), "{one:?}");
        assert!(one.would.is_none() || one.way == Way::Direct, "{one:?}");
        assert_eq!(one.peer.is_some(), one.direction.is_some(), "{one:?}");
        if let Some(id) = one.flow {
            let mut flows = pod.snapshot.flows.iter().flatten();
            let flow = flows.find(|flow| flow.id == id).expect("an entry of the list");
            let ends = Some((one.local, one.peer.expect("a peer")));
            assert!(ends == Some(flow.original) || ends == Some(flow.reply), "{one:?} {flow:?}");
            assert!(flow.may_be_of(one.state), "{one:?} {flow:?}");
        }
        // A datagram socket without a peer is the other half of many.
        let twin = all.iter().find(|other| {
            Some(other.inode) == one.twin && other.peer.is_some() && other.state != SocketState::Unconnected
        });
        let one_of_one = one.state != SocketState::Unconnected;
        let same = |twin: &&Connection| twin.flow == one.flow && one.flow.is_some() && twin.direction != one.direction;
        if let Some(twin) = twin.filter(|twin| one_of_one && same(twin)) {
            assert_eq!(twin.twin, Some(one.inode), "{one:?} {twin:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(5), failure_persistence: None, ..ProptestConfig::with_cases(2000) })]
    #[test]
    fn whatever_meets_is_judged_by_what_there_is(sockets in sockets(), entries in entries(), unread in any::<bool>()) {
        let pod = pod(&sockets, &entries, unread);
        check(&pod, &Istio);
        check(&pod, &());
    }
}
