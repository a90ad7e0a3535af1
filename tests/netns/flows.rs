//! The tracked flows that are read are those that `conntrack` lists, field by field.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream, UdpSocket};

use nslens::model::{Endpoint, Flow};

use crate::look_at;
use crate::support::{Lab, require_root, wait_until};

/// A line of `conntrack -L -o id,extended`.
#[derive(Debug, PartialEq)]
struct Line {
    protocol: u8,
    state: Option<String>,
    tuples: [(Endpoint, Endpoint); 2],
    counters: Option<(u64, u64)>,
    replied: bool,
    assured: bool,
    mark: u32,
    zone: u16,
}

/// What conntrack lists, by the id of the entry, with the seconds left.
fn listed_by_conntrack(lab: &Lab) -> BTreeMap<u32, (Line, u32)> {
    let text = lab.sh("conntrack -L -o id,extended; conntrack -L -f ipv6 -o id,extended");
    text.lines().map(parse).collect()
}

fn parse(text: &str) -> (u32, (Line, u32)) {
    let words: Vec<_> = text.split_whitespace().collect();
    let all = |key: &str| {
        let values = words.iter().filter_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        values.map(str::to_owned).collect::<Vec<_>>()
    };
    let number = |key: &str| all(key).last().map_or(0, |value| value.parse().expect("a number"));
    let tuple = |at: usize| {
        let port = |key: &str| all(key).get(at).map_or(0, |port| port.parse().expect("a port"));
        let address = |key: &str| all(key)[at].parse().expect("an address");
        (Endpoint::new(address("src"), port("sport")), Endpoint::new(address("dst"), port("dport")))
    };
    let sum = |key: &str| all(key).iter().map(|value| value.parse::<u64>().expect("a number")).sum();
    let line = Line {
        protocol: words[3].parse().expect("a protocol"),
        state: (words[2] == "tcp").then(|| words[5].to_owned()),
        tuples: [tuple(0), tuple(1)],
        counters: (!all("packets").is_empty()).then(|| (sum("packets"), sum("bytes"))),
        replied: !words.contains(&"[UNREPLIED]"),
        assured: words.contains(&"[ASSURED]"),
        mark: number("mark"),
        zone: u16::try_from(number("zone")).expect("a zone"),
    };
    (number("id"), (line, words[4].parse().expect("seconds")))
}

fn as_conntrack_has_it(flow: &Flow) -> Line {
    const SEEN_REPLY: u32 = 1 << 1;
    const ASSURED: u32 = 1 << 2;
    Line {
        protocol: flow.protocol.number(),
        state: flow.state.clone().map(Into::into),
        tuples: [flow.original, flow.reply],
        counters: flow.packets.zip(flow.bytes),
        replied: flow.status & SEEN_REPLY != 0,
        assured: flow.status & ASSURED != 0,
        mark: flow.mark,
        zone: flow.zone,
    }
}

/// Reads a lab and compares; hands back what was read.
fn compared(lab: &Lab) -> Vec<Flow> {
    let snapshot = look_at(lab);
    assert!(snapshot.unread.is_empty(), "{:?}", snapshot.unread);
    let flows = snapshot.flows.expect("flows were read");
    let mut listed = listed_by_conntrack(lab);
    for flow in &flows {
        let (line, seconds) = listed.remove(&flow.id).expect("conntrack lists it too");
        assert_eq!(as_conntrack_has_it(flow), line);
        assert!(flow.timeout.is_some_and(|left| left.abs_diff(seconds) <= 3), "{:?} and {seconds}", flow.timeout);
    }
    assert!(listed.is_empty(), "these were not read: {listed:?}");
    flows
}

#[test]
fn where_nothing_is_tracked_the_list_is_empty_and_whole() {
    if require_root() {
        let lab = Lab::new();
        let listener = lab.netns().enter(|| TcpListener::bind("127.0.0.1:8080").expect("a listener"));
        let listener = listener.expect("the namespace can be entered");
        let caller = lab.netns().enter(|| TcpStream::connect("127.0.0.1:8080").expect("a connection"));
        assert_eq!(compared(&lab), []);
        drop((listener, caller));
    }
}

#[test]
fn flows_of_all_kinds_with_counters_marks_and_zones() {
    if !require_root() {
        return;
    }
    let (pod, world) = Lab::pod_and_world();
    pod.sh("echo 1 > /proc/sys/net/netfilter/nf_conntrack_acct
        iptables-nft -t nat -A OUTPUT -p tcp -d 10.0.0.5 --dport 80 -j REDIRECT --to-ports 15001
        ip6tables-nft -t nat -A OUTPUT -p tcp -d fd00::5 --dport 80 -j REDIRECT --to-ports 15001
        iptables-nft -t raw -A OUTPUT -p udp --dport 53 -j CT --zone 7
        iptables-nft -t mangle -A OUTPUT -p udp -j CONNMARK --set-mark 0x111");
    let held = pod.netns().enter(|| {
        let proxy = TcpListener::bind("[::]:15001").expect("a listener");
        let streams = ["10.0.0.5:80", "[fd00::5]:80", "127.0.0.1:15001"].map(TcpStream::connect);
        let closed = TcpStream::connect("10.0.0.5:80");
        let _ = closed.map(|closed| closed.shutdown(std::net::Shutdown::Both));
        let datagrams = UdpSocket::bind("10.0.0.2:4000").expect("a socket");
        datagrams.send_to(b"query", "10.0.0.5:53").expect("a datagram");
        datagrams.send_to(b"other", "10.0.0.5:5000").expect("another");
        (proxy, streams, datagrams)
    });
    let held = held.expect("the namespace can be entered");
    pod.sh("busybox ping -c 1 10.0.0.5 >&2; busybox ping -6 -c 1 fd00::5 >&2");
    wait_until("the shutdown to be tracked", || pod.sh("conntrack -L").contains("CLOSE_WAIT"));
    let flows = compared(&pod);
    let redirected: Vec<_> = flows.iter().filter(|flow| flow.reply.0 != flow.original.1).collect();
    assert_eq!(redirected.len(), 3, "{flows:#?}");
    assert!(redirected.iter().all(|flow| flow.reply.0.port == 15001 && flow.packets.is_some()));
    assert!(flows.iter().any(|flow| flow.zone == 7 && flow.original.1.port == 53 && flow.mark == 0x111));
    assert!(flows.iter().any(|flow| flow.protocol.number() == 1 && flow.original.1.port == 0));
    assert!(flows.iter().any(|flow| flow.protocol.number() == 58));
    drop((held, world));
}
