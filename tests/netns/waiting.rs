//! A trace of what begins a connection asks the kernel for the sockets that wait alone, and for no tracked ones: the answer is the one
//! that is worked out from everything.

use std::net::{TcpListener, TcpStream, UdpSocket};

use serde_json::Value;

use crate::rules::{nslens, printed};
use crate::support::{Lab, require_root};

/// What is said of a packet, without whose it is.
fn said(document: &str) -> Value {
    let document: Value = serde_json::from_str(document).expect("JSON");
    let of = |name: &str| document.get(name).cloned().unwrap_or_else(|| panic!("no {name}"));
    Value::Array(["verdict", "destination", "receiver", "path", "outcomes"].map(of).to_vec())
}

#[test]
fn who_begins_a_connection_needs_no_connections_to_be_told_where_it_goes() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    lab.sh("iptables-legacy -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 8080");
    let held = lab.netns().enter(|| {
        let server = TcpListener::bind("127.0.0.1:8080").expect("a listener");
        let datagrams = UdpSocket::bind("127.0.0.1:5353").expect("a socket");
        let connections: Vec<(TcpStream, TcpStream)> = (0..20)
            .map(|_| (TcpStream::connect("127.0.0.1:80").expect("a connection"), server.accept().expect("the call").0))
            .collect();
        // A connected socket whose own end is where datagrams of others go.
        let connected = UdpSocket::bind("127.0.0.1:7000").expect("a socket");
        connected.connect("127.0.0.1:5353").expect("an address");
        (server, datagrams, connections, connected)
    });
    let held = held.expect("the namespace can be entered");
    let file = std::env::temp_dir().join(format!("nslens-waiting-{}.json", lab.pid()));
    let path = file.to_string_lossy().into_owned();
    let kept = nslens(&lab, &["snapshot", "-f", &path]);
    assert!(kept.status.success(), "{}", String::from_utf8_lossy(&kept.stderr));
    for (to, protocol) in
        [("127.0.0.1:80", "tcp"), ("127.0.0.1:81", "tcp"), ("127.0.0.1:5353", "udp"), ("127.0.0.1:7000", "udp")]
    {
        let packet = ["--to", to, "--protocol", protocol, "--uid", "1000", "-o", "json"];
        let live = printed(&lab, &[&["trace"], packet.as_slice()].concat());
        let program =
            std::process::Command::new(env!("CARGO_BIN_EXE_nslens")).args(["trace", &path]).args(packet).output();
        let saved = program.expect("nslens runs");
        assert_eq!(said(&live), said(&String::from_utf8_lossy(&saved.stdout)), "{to} {protocol}");
    }
    drop(held);
    std::fs::remove_file(file).expect("removed");
}
