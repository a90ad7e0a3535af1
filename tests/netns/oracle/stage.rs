//! What the stage tells of packets is what becomes of them: where nothing is asked of it, one cannot believe its answers either.

use std::net::SocketAddr;
use std::time::Instant;

use nix::errno::Errno;
use nslens::analysis::trace::{Tracer, Verdict};
use nslens::model::Protocol;

use super::packets::Asked;
use crate::support::require_root;
use crate::traffic::{Place, Properties, Sent, Stage, Told};

fn end(text: &str) -> SocketAddr {
    text.parse().expect("an end")
}

fn sent(from: Place, protocol: Protocol, to: &str) -> Sent {
    Sent { from, protocol, source: None, to: end(to), socket: Properties::default() }
}

#[test]
fn packets_arrive_where_somebody_waits() {
    if !require_root() {
        return;
    }
    let mut stage = Stage::new();
    let mut waits = |place, protocol, at: &str| {
        stage.receive(place, protocol, end(at), &Properties::default()).expect("a receiver")
    };
    let numbers = [Protocol::Tcp, Protocol::Udp].map(|protocol| {
        [
            waits(Place::Pod, protocol, "[::]:80"),
            waits(Place::Pod, protocol, "0.0.0.0:81"),
            waits(Place::Ext, protocol, "[::]:80"),
        ]
    });
    for (protocol, [six, four, ext]) in [Protocol::Tcp, Protocol::Udp].into_iter().zip(numbers) {
        for (from, to, receiver) in [
            (Place::Pod, "10.0.0.5:80", Some(ext)),
            (Place::Pod, "127.0.0.1:80", Some(six)),
            (Place::Pod, "10.0.0.2:81", Some(four)),
            (Place::Pod, "[::1]:81", None),
            (Place::Pod, "[fd01::9]:80", Some(ext)),
            (Place::Pod, "10.0.0.5:79", None),
            (Place::Ext, "10.0.0.3:81", Some(four)),
            (Place::Ext, "[fd00::2]:80", Some(six)),
            (Place::Ext, "10.0.0.2:79", None),
        ] {
            let seen = stage.send(&sent(from, protocol, to));
            let by: Vec<_> = seen.by.iter().map(|one| one.receiver).collect();
            assert_eq!(by, receiver.into_iter().collect::<Vec<_>>(), "{to} {seen:?}");
            let leaves = from == Place::Pod && receiver.is_none_or(|receiver| receiver == ext) && to != "[::1]:81";
            assert_eq!(seen.wire.len(), usize::from(leaves), "{to} {seen:?}");
            let refused = seen.told == Told::Error(Errno::ECONNREFUSED);
            assert_eq!(refused, receiver.is_none(), "{to} {seen:?}");
            let at_pod = from == Place::Ext || to == "[::1]:81";
            assert_eq!(seen.refused, u64::from(refused && at_pod), "{to}");
            let Some(arrival) = seen.by.first() else { continue };
            assert_eq!((arrival.local, Some(arrival.peer)), (Some(end(to)), seen.source), "{to}");
        }
    }
    let snapshot = stage.snapshot();
    for receiver in stage.receivers().iter().filter(|one| one.place == Place::Pod) {
        let known = snapshot.sockets.iter().flatten().find(|socket| u64::from(socket.inode) == receiver.inode);
        let known = known.expect("it is in the list");
        assert_eq!((known.protocol, known.local.port), (receiver.protocol, receiver.at.port()));
    }
    stage.silence();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        assert_eq!(stage.send(&sent(Place::Ext, protocol, "10.0.0.3:81")).told, Told::Error(Errno::ECONNREFUSED));
    }
}

#[test]
fn what_rules_do_is_seen() {
    if !require_root() {
        return;
    }
    let mut stage = Stage::new();
    stage.deafen();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        stage.receive(Place::Pod, protocol, end("0.0.0.0:15001"), &Properties::default()).expect("a receiver");
    }
    let rules = "*nat\n-A OUTPUT -m owner --uid-owner 7 --gid-owner 8 -p tcp -j REDIRECT --to-ports 15001\n\
-A OUTPUT -m owner --uid-owner 7 --gid-owner 8 -p udp -j REDIRECT --to-ports 15001\nCOMMIT\n\
*filter\n-A OUTPUT -m mark --mark 5 -j DROP\n-A OUTPUT -m mark --mark 6 -j REJECT\nCOMMIT\n";
    stage.tell("iptables-legacy-restore", rules).expect("rules");
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let packet = sent(Place::Pod, protocol, "10.0.0.5:80");
        let begun = Instant::now();
        let seen = stage.send(&packet);
        assert_eq!((seen.by.len(), seen.wire.len()), (0, 1), "{seen:?} {:?}", begun.elapsed());
        assert_eq!(seen.wire[0].destination, packet.to);
        let of =
            |uid, gid, mark| Sent { socket: Properties { uid, gid, mark, ..Properties::default() }, ..packet.clone() };
        let seen = stage.send(&of(7, 8, 0));
        assert_eq!((seen.by.len(), seen.wire.len()), (1, 0), "{seen:?}");
        assert_eq!(seen.by[0].local, Some(end("127.0.0.1:15001")));
        assert_eq!(seen.by[0].original, (protocol == Protocol::Tcp).then_some(packet.to));
        assert_eq!(stage.send(&of(7, 9, 0)).wire.len(), 1);
        let seen = stage.send(&of(1, 1, 5));
        assert_eq!((seen.by.len(), seen.wire.len(), seen.complaints), (0, 0, 0), "{seen:?}");
        let seen = stage.send(&of(1, 1, 6));
        assert_eq!((seen.by.len(), seen.wire.len(), seen.complaints), (0, 0, 1), "{seen:?}");
    }
}

#[test]
fn who_is_translated_to_another_loopback_is_passed_on() {
    if !require_root() {
        return;
    }
    let mut stage = Stage::new();
    stage.deafen();
    stage.pod.sh("sysctl -qw net.ipv6.conf.all.forwarding=1");
    let rules = "table ip6 t { chain c { type nat hook prerouting priority 0; ip6 daddr fd00::2 meta l4proto udp dnat to [::1]:443; }; }";
    stage.tell("nft -f -", rules).expect("rules");
    let snapshot = stage.snapshot();
    let tracer = Tracer::of(&snapshot);
    let said = |sent: &Sent| tracer.trace(&Asked { sent: sent.clone(), anonymous: false }.question()).verdict();
    let packet = Sent { source: Some(end("[fd00::1]:7777")), ..sent(Place::Ext, Protocol::Udp, "[fd00::2]:9090") };
    let seen = stage.send(&packet);
    assert_eq!(seen.wire.iter().map(|frame| frame.destination).collect::<Vec<_>>(), [end("[::1]:443")], "{seen:?}");
    assert_eq!(said(&packet), Verdict::Sent);
    // On the cable no such destination is believed.
    assert_eq!(said(&Sent { to: end("[::1]:443"), ..packet }), Verdict::Dropped);
}

#[test]
fn a_listener_whose_answer_is_not_known_to_its_client_was_asked() {
    if !require_root() {
        return;
    }
    let mut stage = Stage::new();
    stage.receive(Place::Pod, Protocol::Tcp, end("0.0.0.0:15006"), &Properties::default()).expect("a receiver");
    let rules = "table ip t { chain n { type nat hook output priority -110; tcp dport 80 redirect to :15006; }; \
        chain r { type filter hook output priority -310; ip daddr 10.0.0.3 notrack; }; }";
    stage.tell("nft -f -", rules).expect("rules");
    let packet = Sent { source: Some(end("10.0.0.3:7777")), ..sent(Place::Pod, Protocol::Tcp, "10.0.0.5:80") };
    let seen = stage.send(&packet);
    assert_eq!((seen.by.len(), seen.wire.len(), seen.abandoned, seen.refused), (0, 0, 1, 1), "{seen:?}");
    let packet = Sent { to: end("10.0.0.3:81"), ..packet };
    assert_eq!(stage.send(&packet).abandoned, 0);
}
