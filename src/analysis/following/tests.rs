//! Told in every order, a connection is opened once and closed once.

use std::borrow::Cow;

use super::*;
use crate::model::{Family, SocketDetails};

fn end(text: &str) -> Endpoint {
    let end: std::net::SocketAddr = text.parse().expect("an end");
    Endpoint::new(end.ip(), end.port())
}

fn flow(id: u32, state: Option<&'static str>) -> Flow {
    let (app, web, proxy) = (end("10.0.0.2:40000"), end("10.0.0.5:80"), end("127.0.0.1:15001"));
    let flow = Flow::between(Protocol::Tcp, (app, web), (proxy, app));
    Flow { id, state: state.map(Cow::Borrowed), ..flow }
}

fn socket(cookie: u64, local: &str, peer: Option<&str>, state: SocketState) -> Socket {
    Socket {
        protocol: Protocol::Tcp,
        family: Family::Ip,
        mapped: false,
        state,
        local: end(local),
        peer: peer.map(end),
        uid: 0,
        inode: 7,
        mark: None,
        interface: 0,
        receive_queue: 0,
        send_queue: 0,
        details: SocketDetails { cookie, ..SocketDetails::default() },
    }
}

fn gone(cookie: u64, local: &str, peer: &str) -> Observed {
    let (local, peer) = (end(local), Some(end(peer)));
    Observed::SocketGone(GoneSocket { protocol: Protocol::Tcp, family: Family::Ip, local, peer, cookie })
}

use Happening::{Dropped, New, Updated};
use Observed::{ListBegins, ListEnds, ListFails, Listed, Lost, Sockets, Tracked};

/// The words of all changes; those that a list showed are marked.
fn told(ledger: &mut Ledger, observed: impl IntoIterator<Item = Observed>) -> Vec<String> {
    let mut out = Vec::new();
    for (at, one) in observed.into_iter().enumerate() {
        ledger.take(1_000 + at as u64, one, &mut out);
    }
    let word = |change: &Change| format!("{}{}", change.what.word(), if change.late { "~" } else { "" });
    out.iter().map(word).collect()
}

fn begun(initial: bool) -> Ledger {
    let mut ledger = Ledger::new(initial);
    assert_eq!(told(&mut ledger, [ListBegins, ListEnds, Sockets(Vec::new())]), [""; 0]);
    ledger
}

#[test]
fn a_connection_is_told_from_its_beginning_to_its_end() {
    let tracked = |happening, state| Tracked(happening, flow(1, state));
    let mut ledger = begun(false);
    let all = [
        tracked(New, Some("SYN_SENT")),
        tracked(Updated, Some("SYN_RECV")),
        tracked(Updated, Some("ESTABLISHED")),
        // An event that says nothing of the state.
        tracked(Updated, None),
        tracked(Updated, Some("FIN_WAIT")),
        tracked(Updated, Some("TIME_WAIT")),
        tracked(Dropped, None),
    ];
    assert_eq!(told(&mut ledger, all), ["open", "established", "closed"]);
    assert!(ledger.flows.is_empty() && ledger.ends.is_empty());
    // What tracking counted is told when the entry is dropped only.
    let counted = Flow { packets: Some(3), bytes: Some(9), ..flow(1, None) };
    let all = [tracked(New, None), tracked(Updated, Some("CLOSE")), Tracked(Dropped, counted)];
    assert_eq!(told(&mut ledger, all), ["open", "closed", "counted"]);
    assert_eq!(told(&mut ledger, [tracked(Dropped, None)]), ["closed"], "one that nobody knew");
}

#[test]
fn an_entry_may_serve_a_second_connection() {
    let tracked = |state| Tracked(Updated, flow(1, Some(state)));
    let mut ledger = begun(false);
    let all = [tracked("ESTABLISHED"), tracked("TIME_WAIT"), tracked("SYN_SENT"), tracked("ESTABLISHED")];
    assert_eq!(told(&mut ledger, all), ["open", "established", "closed", "open", "established"]);
}

#[test]
fn udp_is_answered_and_says_when_it_was_not() {
    let ends = (end("10.0.0.2:5000"), end("10.0.0.9:53"));
    let mut flow = Flow::between(Protocol::Udp, ends, (ends.1, ends.0));
    let mut ledger = begun(false);
    let mut out = Vec::new();
    ledger.take(5, Tracked(New, flow.clone()), &mut out);
    ledger.take(25, Tracked(Dropped, flow.clone()), &mut out);
    assert_eq!((out[1].what, out[1].lasted), (What::Closed, Some(20)));
    assert!(out[1].of.is_some_and(|of| !of.answered));
    flow.status = Flow::SEEN_REPLY;
    let all =
        [Tracked(New, Flow { status: 0, ..flow.clone() }), Tracked(Updated, flow.clone()), Tracked(Dropped, flow)];
    assert_eq!(told(&mut ledger, all), ["open", "answered", "closed"]);
}

#[test]
fn what_was_there_is_told_where_that_is_wanted_only() {
    let first = || [ListBegins, Listed(flow(1, Some("ESTABLISHED"))), Listed(flow(2, Some("TIME_WAIT"))), ListEnds];
    assert_eq!(told(&mut Ledger::new(true), first()), ["there"]);
    let mut ledger = Ledger::new(false);
    assert_eq!(told(&mut ledger, first()), [""; 0]);
    assert!(ledger.has_older());
    // Nobody tells of their end: the next list does.
    assert_eq!(told(&mut ledger, [ListBegins, ListEnds]), ["closed~"]);
    assert!(!ledger.has_older());
}

#[test]
fn what_is_told_while_a_list_is_read_is_newer_than_the_list() {
    let tracked = |happening, id, state| Tracked(happening, flow(id, Some(state)));
    let mut ledger = begun(false);
    assert_eq!(told(&mut ledger, [tracked(New, 1, "SYN_SENT"), tracked(New, 2, "SYN_SENT")]), ["open", "open"]);
    let all = [
        ListBegins,
        Listed(flow(1, Some("SYN_SENT"))),
        Listed(flow(2, Some("SYN_SENT"))),
        tracked(Dropped, 1, "SYN_SENT"),
        tracked(Updated, 2, "ESTABLISHED"),
        tracked(New, 3, "SYN_SENT"),
        ListEnds,
    ];
    assert_eq!(told(&mut ledger, all), ["closed", "established", "open"]);
    assert_eq!(told(&mut ledger, [ListBegins, Listed(flow(3, Some("SYN_SENT"))), ListEnds]), ["closed~"]);
}

#[test]
fn a_loss_is_told_before_what_it_hid() {
    let mut ledger = begun(false);
    told(&mut ledger, [Tracked(New, flow(1, Some("ESTABLISHED"))), Tracked(New, flow(2, Some("SYN_SENT")))]);
    let list = [Lost, ListBegins, Listed(flow(2, Some("ESTABLISHED"))), Listed(flow(3, None)), ListEnds];
    assert_eq!(told(&mut ledger, list), ["lost", "closed~", "established~", "open~"]);
    let mut out = Vec::new();
    for one in [Lost, ListBegins, ListFails] {
        ledger.take(9, one, &mut out);
    }
    assert_eq!(out.iter().map(|change| change.what).collect::<Vec<_>>(), [What::Lost(None)]);
    assert_eq!(ledger.flows.len(), 2, "a list that failed says nothing");
}

#[test]
fn sockets_tell_of_what_is_not_tracked() {
    let here = || socket(1, "10.0.0.2:40000", Some("10.0.0.5:80"), SocketState::SynSent);
    let listener = || socket(9, "0.0.0.0:8080", None, SocketState::Listen);
    let mut ledger = begun(false);
    assert_eq!(told(&mut ledger, [Sockets(vec![here(), listener()])]), ["open~"]);
    let up = Socket { state: SocketState::Established, ..here() };
    assert_eq!(told(&mut ledger, [Sockets(vec![up.clone(), listener()])]), ["established~"]);
    let accepted = socket(2, "10.0.0.2:8080", Some("10.0.0.7:555"), SocketState::Established);
    let mut out = Vec::new();
    ledger.take(5, Sockets(vec![up, accepted, listener()]), &mut out);
    let of = out[0].of.expect("a connection");
    assert_eq!((of.source, of.dialled), (end("10.0.0.7:555"), end("10.0.0.2:8080")), "who dialled comes first");
    assert_eq!(told(&mut ledger, [gone(1, "10.0.0.2:40000", "10.0.0.5:80")]), ["closed"]);
    assert_eq!(told(&mut ledger, [Sockets(vec![listener()])]), ["closed~"]);
    // Too short for a list.
    assert_eq!(told(&mut ledger, [gone(5, "10.0.0.2:40001", "10.0.0.5:80")]), ["closed"]);
}

#[test]
fn what_is_tracked_is_told_once() {
    let mut ledger = begun(true);
    assert_eq!(told(&mut ledger, [Tracked(New, flow(1, Some("SYN_SENT")))]), ["open"]);
    // Both halves of the redirected connection.
    let app = socket(1, "10.0.0.2:40000", Some("10.0.0.5:80"), SocketState::Established);
    let proxy = socket(2, "127.0.0.1:15001", Some("10.0.0.2:40000"), SocketState::Established);
    let other = socket(3, "10.0.0.2:40009", Some("10.0.0.5:80"), SocketState::Established);
    assert_eq!(told(&mut ledger, [Sockets(vec![app, proxy, other])]), ["open~"], "the one that is not tracked");
    let ends = [
        gone(1, "10.0.0.2:40000", "10.0.0.5:80"),
        gone(2, "127.0.0.1:15001", "10.0.0.2:40000"),
        gone(3, "10.0.0.2:40009", "10.0.0.5:80"),
        gone(4, "10.0.0.2:40010", "10.0.0.5:80"),
    ];
    assert_eq!(told(&mut ledger, ends), ["closed"]);
}
