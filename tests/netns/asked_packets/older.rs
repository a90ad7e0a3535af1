//! Connections that are older than the rules: PQ24.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use nslens::analysis::trace::{Question, Tracer, Verdict};
use nslens::model::Endpoint;
use nslens::packet::{Known, state};

use super::ask::{Means, Pod, look, path};
use super::profiles::ISTIO;
use crate::support::require_root;

/// A connection that a program holds to a server outside, and the server's half.
fn held(pod: &Pod) -> (TcpStream, TcpStream) {
    let server = pod.stage.ext.netns().enter(|| TcpListener::bind("10.0.0.5:3306")).expect("inside");
    let server = server.expect("a listener");
    let end: SocketAddr = "10.0.0.5:3306".parse().expect("an end");
    let client = pod.stage.pod.netns().enter(|| TcpStream::connect(end)).expect("inside").expect("a connection");
    let (taken, _) = server.accept().expect("the call");
    for half in [&client, &taken] {
        half.set_read_timeout(Some(Duration::from_millis(500))).expect("it can");
    }
    (client, taken)
}

/// The next packet of that connection.
fn next(client: &TcpStream) -> Question {
    let own = client.local_addr().expect("its end");
    Question {
        source: Some(own.ip()),
        source_port: Some(own.port()),
        uid: Some(0),
        gid: Some(0),
        state: Some(state::ESTABLISHED),
        ..Question::to(Endpoint::new([10, 0, 0, 5].into(), 3306))
    }
}

#[test]
fn pq24_one_that_is_tracked_stays_direct() {
    if !require_root() {
        return;
    }
    for means in Means::ALL {
        let mut pod = Pod::bare(means);
        pod.waits("proxy", "0.0.0.0:15001", 1337);
        // Something wants to know of connections before.
        pod.stage.pod.sh("nft 'table ip t { chain c { type filter hook output priority 0; ct state new counter; }; }'");
        let (mut client, mut server) = held(&pod);
        pod.load(&ISTIO);
        let snapshot = look(pod.stage.pod.netns());
        let tracer = Tracer::of(&snapshot);
        for question in [next(&client), Question { state: None, ..next(&client) }] {
            let trace = tracer.trace(&question);
            let [outcome] = trace.outcomes.as_slice() else { panic!("{trace:#?}") };
            assert_eq!((outcome.verdict, &outcome.rule), (Verdict::Sent, &None), "{means:?} {trace:#?}");
            assert_eq!(outcome.packet.destination, Known::Is([10, 0, 0, 5].into()));
        }
        client.write_all(b"x").expect("it is sent");
        server.read_exact(&mut [0]).expect("and comes, to whom it came before");
        // One that is new now goes to the proxy.
        let asked = super::ask::out("10.0.0.5:3306").uid(1000);
        let by = "nat OUTPUT 1, ISTIO_OUTPUT 9, ISTIO_REDIRECT 1";
        pod.ask(&asked, "proxy gets 10.0.0.2 > 127.0.0.1:15001 for 10.0.0.5:3306", by);
    }
}

#[test]
fn pq24_one_that_is_not_is_redirected_and_reset() {
    if !require_root() {
        return;
    }
    for means in Means::ALL {
        let mut pod = Pod::bare(means);
        pod.waits("proxy", "0.0.0.0:15001", 1337);
        let (mut client, mut server) = held(&pod);
        pod.load(&ISTIO);
        let snapshot = look(pod.stage.pod.netns());
        let tracer = Tracer::of(&snapshot);
        let trace = tracer.trace(&next(&client));
        let [outcome] = trace.outcomes.as_slice() else { panic!("{trace:#?}") };
        let by = "nat OUTPUT 1, ISTIO_OUTPUT 9, ISTIO_REDIRECT 1";
        assert_eq!((outcome.verdict, path(&tracer, outcome).as_str()), (Verdict::Refused, by), "{means:?} {trace:#?}");
        assert_eq!(outcome.packet.destination, Known::Is([127, 0, 0, 1].into()));
        assert_eq!(outcome.packet.destination_port, Known::Is(15001));
        client.write_all(b"x").expect("it is sent");
        assert_eq!(client.read(&mut [0]).expect_err("no answer").kind(), ErrorKind::ConnectionReset);
        server.read(&mut [0]).expect_err("nothing came");
    }
}
