//! Which entry is a socket's, which socket another's half, and what is known where there is no entry.

use super::*;

/// Waits at all addresses.
fn listening(pod: Pod, inode: u32, port: u16, transparent: bool) -> Pod {
    pod.socket(inode, 1337, &format!("0.0.0.0:{port}"), "", |socket| socket.details.transparent = Some(transparent))
}

fn unread_flows(mut pod: Pod) -> Pod {
    pod.snapshot.unread.push(Unread {
        source: "conntrack".into(),
        error: "EPERM".into(),
        means: String::new(),
        subject: Subject::Flows,
        cause: Cause::Permission,
    });
    pod
}

const DIALLED: (&str, &str) = ("10.0.0.2:40000", "10.0.0.5:80");
const TO_PROXY: (&str, &str) = ("127.0.0.1:15001", "10.0.0.2:40000");

#[test]
fn an_entry_that_is_over_is_not_that_of_an_open_socket() {
    for (state, fits) in
        [("ESTABLISHED", true), ("FIN_WAIT", true), ("TIME_WAIT", false), ("LAST_ACK", false), ("CLOSE", false)]
    {
        let pod = Pod::new()
            .tcp(11, 1000, DIALLED.0, DIALLED.1)
            .flow(DIALLED, TO_PROXY, |flow| (flow.id, flow.state) = (7, Some(state.into())));
        let app = pod.only(11);
        let expected =
            if fits { (Way::Redirected, Some(Evidence::Tracked), Some(7)) } else { (Way::Unknown, None, None) };
        assert_eq!((app.way, app.evidence, app.flow), expected, "{state}");
        assert_eq!(app.original_destination, Some(end(DIALLED.1)), "{state}");
    }
    // What ends its side itself has such an entry.
    let pod = Pod::new().socket(11, 1000, DIALLED.0, DIALLED.1, |socket| socket.state = SocketState::FinWait2).flow(
        DIALLED,
        TO_PROXY,
        |flow| flow.state = Some("TIME_WAIT".into()),
    );
    assert_eq!(pod.only(11).way, Way::Redirected);
    // One that is in TIME-WAIT has none that begins.
    let pod = Pod::new().socket(0, 0, DIALLED.0, DIALLED.1, |socket| socket.state = SocketState::TimeWait).flow(
        DIALLED,
        TO_PROXY,
        |flow| flow.state = Some("SYN_SENT".into()),
    );
    assert_eq!(pod.only(0).way, Way::Unknown);
}

#[test]
fn of_two_entries_in_two_zones_the_one_that_fits_speaks_and_of_two_that_fit_none() {
    let direct = (DIALLED.1, DIALLED.0);
    let state = |word: &'static str, zone| move |flow: &mut Flow| (flow.state, flow.zone) = (Some(word.into()), zone);
    let pod = |first, second| {
        Pod::new()
            .tcp(11, 1000, DIALLED.0, DIALLED.1)
            .flow(DIALLED, direct, state(first, 0))
            .flow(DIALLED, TO_PROXY, state(second, 1))
            .only(11)
    };
    assert_eq!(pod("TIME_WAIT", "ESTABLISHED").way, Way::Redirected);
    assert_eq!(pod("ESTABLISHED", "TIME_WAIT").way, Way::Direct);
    let both = pod("ESTABLISHED", "ESTABLISHED");
    assert_eq!((both.way, both.evidence, both.flow), (Way::Unknown, None, None));
}

#[test]
fn of_two_entries_with_one_reply_the_accepted_half_has_neither() {
    let other = ("10.0.0.2:40000", "10.0.0.6:443");
    let pod = Pod::new().tcp(12, 1337, TO_PROXY.0, TO_PROXY.1).flow(DIALLED, TO_PROXY, |flow| flow.zone = 1).flow(
        other,
        TO_PROXY,
        |flow| flow.zone = 2,
    );
    assert_eq!((pod.only(12).way, pod.only(12).original_destination), (Way::Unknown, None));
}

#[test]
fn an_entry_without_answer_tells_already_where_the_packets_go() {
    let pod = Pod::new().socket(11, 1000, DIALLED.0, DIALLED.1, |socket| socket.state = SocketState::SynSent).flow(
        DIALLED,
        ("127.0.0.1:15001", "10.0.0.2:61000"),
        |flow| {
            (flow.status, flow.state) = (0x1a8, Some("SYN_SENT".into()));
        },
    );
    let app = pod.only(11);
    assert_eq!((app.way, app.actual_destination, app.rewritten_port), (Way::Redirected, Some(end(TO_PROXY.0)), true));
}

#[test]
fn a_destination_in_another_pod_has_no_twin_here() {
    let pod = Pod::new().tcp(11, 1000, DIALLED.0, DIALLED.1).tracked(DIALLED, ("10.0.0.77:9080", DIALLED.0));
    let app = pod.only(11);
    assert_eq!((app.way, app.twin, app.actual_destination), (Way::Redirected, None, Some(end("10.0.0.77:9080"))));
}

#[test]
fn what_tproxy_took_is_intercepted_though_nothing_is_translated() {
    let ends = ("10.0.0.9:33333", "10.0.0.2:8080");
    let proxy = |socket: &mut Socket| socket.details.transparent = Some(true);
    let untracked = listening(Pod::new(), 10, 15006, true).socket(11, 1337, ends.1, ends.0, proxy);
    let tracked =
        listening(Pod::new(), 10, 15006, true).socket(11, 1337, ends.1, ends.0, proxy).tracked(ends, (ends.1, ends.0));
    // Where the application listens too, the connection went past it.
    let beside = listening(listening(Pod::new(), 10, 15006, true), 9, 8080, false)
        .socket(11, 1337, ends.1, ends.0, proxy)
        .tracked(ends, (ends.1, ends.0));
    for pod in [untracked, tracked, beside] {
        let half = pod.only(11);
        assert_eq!(
            (half.way, half.direction, half.evidence),
            (Way::Intercepted, Some(Direction::In), Some(Evidence::Ends))
        );
        assert_eq!((half.original_destination, half.actual_destination), (Some(end(ends.1)), Some(end(ends.1))));
        assert_eq!((half.rule, half.would), (Some(rule("ISTIO_IN_REDIRECT", 1)), None));
    }
    // Who dials the proxy's own port is not taken, and who listens there without the option takes nothing.
    let itself = listening(Pod::new(), 10, 8080, true).socket(11, 1337, ends.1, ends.0, proxy);
    assert_eq!(itself.tracked(ends, (ends.1, ends.0)).only(11).way, Way::Direct);
    let plain = listening(Pod::new(), 10, 8080, false).tcp(11, 1000, ends.1, ends.0).tracked(ends, (ends.1, ends.0));
    assert_eq!(plain.only(11).way, Way::Direct);
}

#[test]
fn the_caller_of_what_tproxy_took_in_the_same_namespace_is_redirected() {
    let pod = listening(Pod::new(), 10, 15001, true)
        .tcp(11, 1000, DIALLED.0, DIALLED.1)
        .socket(12, 1337, DIALLED.1, DIALLED.0, |socket| socket.details.transparent = Some(true))
        .tracked(DIALLED, (DIALLED.1, DIALLED.0));
    let (caller, half) = (pod.only(11), pod.only(12));
    assert_eq!((caller.way, caller.twin, caller.evidence), (Way::Redirected, Some(12), Some(Evidence::Ends)));
    assert_eq!((half.way, half.twin, half.evidence), (Way::Intercepted, Some(11), Some(Evidence::Ends)));
}

#[test]
fn without_entries_two_halves_that_fit_only_each_other_tell() {
    let pod = |callers: usize| {
        let pod = listening(Pod::new(), 10, 15001, false)
            .tcp(11, 1000, DIALLED.0, DIALLED.1)
            .tcp(12, 1337, TO_PROXY.0, TO_PROXY.1);
        let more = ["10.0.0.6:80", "10.0.0.7:80"].into_iter().zip(20..).take(callers - 1);
        unread_flows(more.fold(pod, |pod, (to, inode)| pod.tcp(inode, 1000, DIALLED.0, to)))
    };
    let (caller, half) = (pod(1).only(11), pod(1).only(12));
    assert_eq!((caller.way, caller.twin, caller.evidence), (Way::Redirected, Some(12), Some(Evidence::Ends)));
    assert_eq!((caller.original_destination, caller.actual_destination), (Some(end(DIALLED.1)), Some(end(TO_PROXY.0))));
    assert_eq!((half.way, half.twin, half.evidence), (Way::Intercepted, Some(11), Some(Evidence::Ends)));
    assert_eq!(half.original_destination, Some(end(DIALLED.1)));
    // Two that dialled from one port: either may be the other half.
    assert!([11, 12, 20].iter().all(|inode| pod(2).only(*inode).way == Way::Unknown));
}

#[test]
fn without_entries_a_local_connection_is_known_by_both_its_halves() {
    let (client, server) = ("127.0.0.1:40000", "127.0.0.1:8080");
    let halves = Pod::new().tcp(11, 1000, client, server).tcp(12, 1001, server, client);
    let unclear = unread_flows(halves);
    assert_eq!(unclear.only(11).way, Way::Unknown, "nobody waits: which side dialled is not known");
    let pod = listening(unclear, 10, 8080, false);
    let (caller, called) = (pod.only(11), pod.only(12));
    assert_eq!((caller.way, caller.direction, caller.twin), (Way::Direct, Some(Direction::Out), Some(12)));
    assert_eq!((called.way, called.direction, called.twin), (Way::Direct, Some(Direction::In), Some(11)));
    assert_eq!((caller.evidence, called.evidence), (Some(Evidence::Ends), Some(Evidence::Ends)));
    // A proxy's listener that was dialled directly is no other one's half.
    let pod = listening(Pod::new(), 10, 15001, false)
        .tcp(11, 1000, DIALLED.0, DIALLED.1)
        .tcp(12, 1000, DIALLED.0, "127.0.0.1:15001")
        .tcp(13, 1337, "127.0.0.1:15001", DIALLED.0);
    let pod = unread_flows(pod);
    assert_eq!((pod.only(11).way, pod.only(12).way, pod.only(13).way), (Way::Unknown, Way::Direct, Way::Direct));
}

/// Packets to port 9000 are exempt from tracking.
struct NoTrack;

impl Rulebook for NoTrack {
    fn redirecting(&self, packet: &Dialled) -> Option<RuleRef> {
        self.untracking(packet).is_none().then(|| rule("ISTIO_REDIRECT", 1))
    }

    fn exempting(&self, _: &Dialled) -> Option<RuleRef> {
        None
    }

    fn tracks(&self, _: bool) -> Option<bool> {
        Some(true)
    }

    fn untracking(&self, packet: &Dialled) -> Option<RuleRef> {
        (packet.destination.port == 9000).then(|| rule("RAW", 1))
    }
}

#[test]
fn what_is_exempt_from_tracking_is_direct_by_the_rules() {
    let pod = Pod::new()
        .tcp(11, 1000, "10.0.0.2:40000", "10.0.0.5:9000")
        .tcp(12, 1000, "10.0.0.2:40001", "10.0.0.5:80")
        .tcp(13, 1000, "10.0.0.2:9000", "10.0.0.9:33333")
        .tcp(14, 1000, "0.0.0.0:9000", "");
    let all = pod.join(&NoTrack);
    let of = |inode| all.iter().find(|one| one.inode == inode).expect("the socket");
    assert_eq!((of(11).way, of(11).evidence, &of(11).would), (Way::Direct, Some(Evidence::Rules), &None));
    assert_eq!(
        (of(13).way, of(13).direction, of(13).evidence),
        (Way::Direct, Some(Direction::In), Some(Evidence::Rules))
    );
    assert_eq!((of(12).way, of(12).evidence), (Way::Unknown, None));
}

/// The rules could not be read.
struct Unknowing;

impl Rulebook for Unknowing {
    fn redirecting(&self, _: &Dialled) -> Option<RuleRef> {
        None
    }

    fn exempting(&self, _: &Dialled) -> Option<RuleRef> {
        None
    }
}

#[test]
fn where_it_is_not_known_whether_anything_tracks_no_entry_means_nothing() {
    let pod = Pod::new().tcp(11, 1000, DIALLED.0, DIALLED.1);
    let way = |rulebook: &dyn Rulebook| pod.join(rulebook).first().map(|one| one.way);
    assert_eq!((way(&Unknowing), way(&())), (Some(Way::Unknown), Some(Way::Direct)));
}

#[test]
fn a_datagram_socket_without_a_peer_has_a_connection_for_each_entry_from_its_port() {
    let udp = |flow: &mut Flow| flow.protocol = Protocol::Udp;
    let query = ("10.0.0.2:40000", "10.96.0.10:53");
    let other = ("10.0.0.2:40000", "10.0.0.7:123");
    let pod = Pod::new()
        .udp(11, "0.0.0.0:40000", "")
        .udp(12, "127.0.0.1:15053", "")
        .flow(query, ("127.0.0.1:15053", query.0), udp)
        .flow(other, (other.1, other.0), udp);
    let live = connections(&pod.snapshot, false, &Istio);
    let told: Vec<_> = live.iter().map(|one| (one.inode, one.peer, one.way, one.twin, one.evidence)).collect();
    let ends = Some(Evidence::Ends);
    assert_eq!(
        told,
        [(11, Some(end(other.1)), Way::Direct, None, ends), (11, Some(end(query.1)), Way::Redirected, Some(12), ends),]
    );
    assert_eq!(live[0].local, end(query.0), "what the packets carry");
    assert_eq!(pod.join(&Istio).len(), 4, "the sockets themselves only wait");
    // One that is connected has its own entry, and of two that share the port nobody knows which sent.
    let connected = pod.udp(13, query.0, query.1);
    assert_eq!(connections(&connected.snapshot, false, &Istio).iter().filter(|one| one.inode == 11).count(), 1);
    let shared = connected.udp(14, "0.0.0.0:40000", "");
    assert!(connections(&shared.snapshot, false, &Istio).iter().all(|one| one.inode == 13));
}
