//! `-m socket` of packets that begin a connection: where the kernel finds no socket that counts, that is said; where it finds one, nothing
//! else is.

use std::net::SocketAddr;

use nslens::analysis::trace::{Question, Tracer, Verdict};
use nslens::model::{Endpoint, Protocol};

use crate::support::require_root;
use crate::traffic::{Place, Properties, Sent, Stage, Told};

/// Where somebody waits, and whether transparently.
const WAITING: [&[(&str, bool)]; 8] = [
    &[],
    &[("0.0.0.0:80", false)],
    &[("[::]:80", false)],
    &[("[::]:80", true)],
    &[("10.0.0.2:80", false)],
    &[("10.0.0.3:80", false), ("[fd00::2]:81", false)],
    &[("10.0.0.2:80", true), ("[fd00::2]:80", true)],
    &[("0.0.0.0:80", true), ("[fd00::2]:80", false)],
];

#[test]
fn a_socket_that_is_looked_for_is_missed_where_the_kernel_misses_it() {
    if !require_root() {
        return;
    }
    let (mut found, mut missed, mut port) = (0, 0, 40_000);
    for waiting in WAITING {
        let mut stage = Stage::new();
        for (at, transparent) in waiting {
            let properties = Properties { transparent: *transparent, shares_port: true, ..Properties::default() };
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let at = at.parse().expect("an end");
                stage.receive(Place::Pod, protocol, at, &properties).expect("a socket that waits");
            }
        }
        for options in ["", "--transparent", "--nowildcard", "--nowildcard --transparent"] {
            let text = format!("*mangle\n-A PREROUTING -m socket {options} -j DROP\nCOMMIT\n");
            for program in ["iptables-nft-restore", "ip6tables-nft-restore"] {
                stage.tell(program, &text).expect("it loads");
            }
            let snapshot = stage.snapshot();
            let tracer = Tracer::of(&snapshot);
            for (from, to) in [("10.0.0.1", "10.0.0.2:80"), ("fd00::1", "[fd00::2]:80")] {
                for protocol in [Protocol::Tcp, Protocol::Udp] {
                    // What was left of the last one has other ends.
                    port += 1;
                    let from = SocketAddr::new(from.parse().expect("an address"), port);
                    let to: SocketAddr = to.parse().expect("an end");
                    let question = Question {
                        incoming: true,
                        protocol,
                        source: Some(from.ip()),
                        source_port: Some(from.port()),
                        ..Question::to(Endpoint::new(to.ip(), to.port()))
                    };
                    let socket = Properties::default();
                    let sent = Sent { from: Place::Ext, protocol, source: Some(from), to, socket };
                    let arrived = stage.send(&sent);
                    // What comes after the first packet has a socket, and nobody accepts; but that one was answered.
                    let answered = arrived.refused > 0 || arrived.told == Told::Connected;
                    let takes = arrived.by.is_empty() && !answered;
                    let said = tracer.trace(&question).verdict();
                    let fits = match said {
                        Verdict::Delivered | Verdict::Refused => !takes,
                        Verdict::Dropped | Verdict::Undecided => takes,
                        _ => false,
                    };
                    assert!(fits, "{waiting:?} {options} {protocol} {to}: {said:?}, and the kernel takes it: {takes}");
                    (found, missed) = (found + usize::from(takes), missed + usize::from(!takes));
                }
            }
        }
    }
    assert!(found > 20 && missed > 60, "{found} found, {missed} missed");
}
