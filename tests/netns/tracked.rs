//! All that is read of tracked connections is what `conntrack -L -o extended,id,ktimestamp` prints, entry by entry and word by word,
//! over every kind of entry that can be made here; and the kernel leaves out what a filter does not want.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use nslens::capture::flows::{Tracking, table_use};
use nslens::model::{Endpoint, Family, Flow, FlowFilter, Protocol, Side, Transport};
use nslens::sys::netlink::{DUMP, NETFILTER, NetlinkSocket};
use nslens::wire::conntrack::{GET, request};

use crate::support::{Lab, require_root, wait_until};

/// Entries of every kind that the tool makes: protocol by protocol, marks, zones, states and translations.
const ENTRIES: &str = "
-p tcp -s 10.0.0.2 -d 10.0.0.5 --sport 1000 --dport 80 --state ESTABLISHED -m 6 -u ASSURED,SEEN_REPLY -r 127.0.0.1 -q 10.0.0.2 --reply-port-src 15001 --reply-port-dst 1000
-p tcp -s 10.0.0.2 -d 10.0.0.5 --sport 1001 --dport 21 --state SYN_SENT -w 7
-p tcp -s 10.0.0.2 -d 10.0.0.5 --sport 1002 --dport 80 --state SYN_RECV --orig-zone 8
-p tcp -s 10.0.0.2 -d 10.0.0.5 --sport 1003 --dport 80 --state FIN_WAIT --reply-zone 9
-p tcp -s 10.0.0.2 -d 10.0.0.5 --sport 1004 --dport 80 --state CLOSE_WAIT -n 10.0.0.9
-p tcp -s fd00::2 -d fd00::5 --sport 1005 --dport 80 --state LAST_ACK
-p tcp -s fd00::2 -d fd00::5 --sport 1006 --dport 80 --state TIME_WAIT -g [fd00::9]:81
-p tcp -s 10.0.0.2 -d 10.0.0.5 --sport 1007 --dport 80 --state CLOSE -u FIXED_TIMEOUT
-p udp -s 10.0.0.2 -d 10.0.0.5 --sport 1008 --dport 53 -m 273
-p udp -s fd00::2 -d fd00::5 --sport 1008 --dport 53 -u SEEN_REPLY
-p udplite -s 10.0.0.2 -d 10.0.0.5 --sport 1003 --dport 53
-p icmp -s 10.0.0.2 -d 10.0.0.5 --icmp-type 8 --icmp-code 0 --icmp-id 77
-p icmp -s 10.0.0.2 -d 10.0.0.6 --icmp-type 13 --icmp-code 0 --icmp-id 78
-p icmpv6 -s fd00::2 -d fd00::5 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 78
-p sctp -s 10.0.0.2 -d 10.0.0.5 --sport 1 --dport 2 --state ESTABLISHED --orig-vtag 5 --reply-vtag 6
-p sctp -s fd00::2 -d fd00::5 --sport 1 --dport 2 --state COOKIE_WAIT --orig-vtag 5 --reply-vtag 6
-p gre -s 10.0.0.2 -d 10.0.0.5 --srckey 1 --dstkey 2
-p 50 -s 10.0.0.2 -d 10.0.0.5
-p 50 -s fd00::2 -d fd00::5 -w 3 -m 4294967295";

fn switched_on() -> (Lab, Lab) {
    let (pod, world) = Lab::pod_and_world();
    for switch in ["acct", "timestamp"] {
        pod.sh(&format!("echo 1 > /proc/sys/net/netfilter/nf_conntrack_{switch}"));
    }
    (pod, world)
}

fn made(pod: &Lab) {
    let lines = ENTRIES.lines().filter(|line| !line.is_empty());
    let script: String = lines.map(|line| format!("conntrack -I -t 600 {line} 2>&1\n")).collect();
    pod.sh(&script);
}

fn read(pod: &Lab, filter: &FlowFilter) -> Vec<Flow> {
    let mut tracking = Tracking::open(pod.netns(), Path::new("/proc")).expect("the namespace can be entered");
    let mut flows = Vec::new();
    let unread = tracking.each(filter, |flow| {
        flows.push(flow);
        ControlFlow::Continue(())
    });
    assert_eq!(unread, []);
    flows
}

/// A line of the tool without what goes on while one looks: seconds left, age, and the day of the week.
fn line_of(text: &str) -> (u32, String) {
    let words: Vec<&str> = text.split_whitespace().collect();
    let still = words.iter().enumerate().filter(|(at, word)| *at != 4 && !word.starts_with("delta-time="));
    let words: Vec<&str> = still.map(|(_, word)| if word.starts_with("[start=") { "[start=" } else { *word }).collect();
    let id = words.iter().rev().find_map(|word| word.strip_prefix("id=")).expect("an id");
    (id.parse().expect("a number"), words.join(" "))
}

fn listed(pod: &Lab) -> BTreeMap<u32, String> {
    let text = pod.sh("for family in ipv4 ipv6; do TZ=UTC conntrack -L -f $family -o extended,id,ktimestamp; done");
    text.lines().map(line_of).collect()
}

/// What the tool would print of it.
fn printed(flow: &Flow) -> String {
    let ipv6 = flow.original.0.address.is_ipv6();
    let name = match flow.protocol.number() {
        1 => "icmp",
        6 => "tcp",
        17 => "udp",
        47 => "gre",
        58 => "icmpv6",
        132 => "sctp",
        136 => "udplite",
        _ => "unknown",
    };
    let mut words =
        vec![(if ipv6 { "ipv6 10 " } else { "ipv4 2 " }).to_owned() + name, flow.protocol.number().to_string()];
    words.extend(flow.state.as_deref().map(str::to_owned));
    words.extend(side(flow, flow.original, &flow.details.original, "zone-orig"));
    words.extend((flow.status & Flow::SEEN_REPLY == 0).then(|| "[UNREPLIED]".to_owned()));
    words.extend(side(flow, flow.reply, &flow.details.reply, "zone-reply"));
    words.extend((flow.status & Flow::ASSURED != 0).then(|| "[ASSURED]".to_owned()));
    words.push(format!("mark={}", flow.mark));
    let of_one_side = flow.details.original.zone.or(flow.details.reply.zone).is_some();
    words.extend((flow.zone != 0 && !of_one_side).then(|| format!("zone={}", flow.zone)));
    let started = flow.details.started.expect("time stamps are on");
    let date = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_nanos(started)).to_string();
    let (day, time) = date.trim_end_matches('Z').split_once('T').expect("a date");
    let parts: Vec<&str> = day.split('-').collect();
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months[parts[1].parse::<usize>().expect("a month") - 1];
    words.push(format!("[start= {month} {} {time} {}]", parts[2].trim_start_matches('0'), parts[0]));
    words.extend(flow.details.helper.as_deref().map(|helper| format!("helper={helper}")));
    words.push(format!("use={}", flow.details.holders.expect("its holders")));
    words.push(format!("id={}", flow.id));
    words.join(" ")
}

fn side(flow: &Flow, ends: (Endpoint, Endpoint), side: &Side, zone: &str) -> Vec<String> {
    let mut words = vec![format!("src={} dst={}", ends.0.address, ends.1.address)];
    words.extend(match (side.icmp, flow.protocol.number()) {
        (Some(icmp), _) => Some(format!("type={} code={} id={}", icmp.kind, icmp.code, icmp.id)),
        (None, 47) => Some(format!("srckey={:#x} dstkey={:#x}", ends.0.port, ends.1.port)),
        (None, 50) => None,
        _ => Some(format!("sport={} dport={}", ends.0.port, ends.1.port)),
    });
    words.extend(side.zone.map(|number| format!("{zone}={number}")));
    words.extend(side.counted.map(|(packets, bytes)| format!("packets={packets} bytes={bytes}")));
    words
}

/// Reads and compares; hands back what was read.
fn compared(pod: &Lab) -> Vec<Flow> {
    let flows = read(pod, &FlowFilter::default());
    let ours: BTreeMap<u32, String> = flows.iter().map(|flow| (flow.id, printed(flow))).collect();
    assert_eq!(ours, listed(pod));
    assert!(flows.iter().all(|flow| flow.details.unknown.is_empty()), "{flows:#?}");
    flows
}

#[test]
fn entries_of_every_kind_are_read_as_conntrack_prints_them() {
    if !require_root() {
        return;
    }
    let (pod, _world) = switched_on();
    made(&pod);
    let flows = compared(&pod);
    assert_eq!(flows.len(), ENTRIES.lines().count() - 1);
    let tags =
        |flow: &Flow| matches!(flow.details.transport, Some(Transport::Sctp { original: Some(_), reply: Some(_) }));
    assert_eq!(flows.iter().filter(|flow| tags(flow)).count(), 2);
    assert!(flows.iter().all(|flow| flow.timeout.is_some_and(|left| left > 500)));
    let used = table_use(pod.netns(), Path::new("/proc")).expect("it can be read").expect("it is tracked");
    assert_eq!(used.count, flows.len() as u64);
    assert_eq!(used.limit.to_string(), pod.sh("cat /proc/sys/net/netfilter/nf_conntrack_max").trim());
}

/// Real connections: scaled windows, labels, a helper, what it expects, and the connection that was expected.
#[test]
fn real_connections_are_read_with_what_only_traffic_makes() {
    if !require_root() {
        return;
    }
    let (pod, world) = switched_on();
    pod.sh("iptables-legacy -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 15001
        iptables-legacy -t raw -A OUTPUT -p tcp --dport 21 -j CT --helper ftp
        iptables-legacy -A OUTPUT -p udp -m connlabel --label 5 --set
        iptables-legacy -A OUTPUT -p udp -m connlabel --label 126 --set");
    let server =
        world.netns().enter(|| TcpListener::bind("10.0.0.5:21").expect("a listener")).expect("it can be entered");
    let inside = || {
        let proxy = TcpListener::bind("127.0.0.1:15001").expect("a listener");
        let redirected = TcpStream::connect("10.0.0.5:80").expect("a connection");
        let mut control = TcpStream::connect("10.0.0.5:21").expect("a connection");
        // The helper looks at a line only where it saw the end of the one before.
        control.write_all(b"USER me\r\n").expect("a command");
        control.write_all(b"PORT 10,0,0,2,8,0\r\n").expect("a command");
        let query = UdpSocket::bind("10.0.0.2:4000").expect("a socket");
        query.send_to(b"query", "10.0.0.5:53").expect("a datagram");
        (proxy, redirected, control, query, TcpListener::bind("10.0.0.2:2048").expect("a listener"))
    };
    let held = pod.netns().enter(inside).expect("it can be entered");
    wait_until("the expectation", || !pod.sh("conntrack -L expect").is_empty());
    expectation(&pod);
    let data =
        world.netns().enter(|| TcpStream::connect("10.0.0.2:2048").expect("a connection")).expect("it can be entered");
    wait_until("quiet", || {
        let counted = || listed(&pod).into_values().collect::<Vec<_>>();
        counted() == counted()
    });
    let flows = compared(&pod);
    let to = |port: u16| flows.iter().find(|flow| flow.original.1.port == port).expect("a flow");
    assert_eq!(*to(53).details.labels, [5, 126]);
    assert_eq!(to(21).details.helper.as_deref(), Some("ftp"));
    let master = to(2048).details.master.as_deref().expect("a master");
    assert_eq!((master.source, master.destination), to(21).original);
    let Some(Transport::Tcp { original, reply }) = to(80).details.transport else { panic!("TCP") };
    assert!(original.scale.is_some_and(|scale| scale > 0) && reply.scale.is_some(), "{original:?} {reply:?}");
    assert!(original.words().any(|word| word == "window-scale"));
    assert_eq!(to(80).reply.0.to_string(), "127.0.0.1:15001");
    drop((held, data, server));
}

fn expectation(pod: &Lab) {
    let mut tracking = Tracking::open(pod.netns(), Path::new("/proc")).expect("the namespace can be entered");
    let (expected, unread) = tracking.expectations();
    assert_eq!((expected.len(), unread.len()), (1, 0));
    let one = &expected[0];
    let text = pod.sh("conntrack -L expect");
    let words: Vec<&str> = text.split_whitespace().collect();
    assert!(one.timeout.is_some_and(|left| left.abs_diff(words[0].parse().expect("seconds")) <= 2), "{text}");
    let tuple = |tuple: &nslens::model::Tuple, names: [&str; 2]| {
        let [source, destination] = names;
        let ports = format!("sport={} dport={}", tuple.source.port, tuple.destination.port);
        let addresses = format!("{source}={} {destination}={}", tuple.source.address, tuple.destination.address);
        (addresses, ports)
    };
    let ((addresses, ports), (masks, mask_ports)) =
        (tuple(&one.expected, ["src", "dst"]), tuple(&one.mask, ["mask-src", "mask-dst"]));
    let (of_master, master_ports) = tuple(&one.master, ["master-src", "master-dst"]);
    let ours = format!(
        "proto={} {addresses} {ports} {masks} {mask_ports} {of_master} {master_ports} class={} helper={}",
        one.expected.protocol.number(),
        one.class,
        one.helper.as_deref().unwrap_or_default(),
    );
    assert_eq!(ours, words[1..].join(" "), "{one:#?}");
    assert!(one.unknown.is_empty(), "{one:#?}");
    let (counted, unread) = tracking.statistics();
    assert!(unread.is_empty() && !counted.is_empty());
    for line in pod.sh("conntrack -S").lines() {
        let (cpu, counters) = line.split_once('\t').expect("a processor and its counters");
        let ours = counted.iter().find(|one| cpu.trim() == format!("cpu={}", one.cpu)).expect("it is counted");
        for counter in counters.split_whitespace() {
            assert!(
                ours.counters.iter().any(|(name, value)| counter == format!("{name}={value}")),
                "{counter}: {ours:?}"
            );
        }
    }
}

/// What the kernel sends is what is wanted, and nothing else: it is counted before anything is left out here.
#[test]
fn the_kernel_leaves_out_what_a_filter_does_not_want() {
    if !require_root() {
        return;
    }
    let (pod, _world) = switched_on();
    made(&pod);
    let all = read(&pod, &FlowFilter::default());
    let end = |text: &str| text.parse().expect("an end");
    let none = FlowFilter::default();
    let filters = [
        FlowFilter { only: Some(Family::Ip6), ..none },
        FlowFilter { only: Some(Family::Ip), ..none },
        FlowFilter { mark: Some((0x111, 0xfff)), ..none },
        FlowFilter { status: Flow::ASSURED, ..none },
        FlowFilter { status: Flow::SRC_NAT, ..none },
        FlowFilter { zone: Some(7), ..none },
        FlowFilter { zone: Some(0), ..none },
        FlowFilter { destination: end("10.0.0.6"), ..none },
        FlowFilter { destination: end("10.0.0.5:80"), protocol: Some(Protocol::Tcp), ..none },
        FlowFilter { source: end("10.0.0.2:1008"), protocol: Some(Protocol::Udp), ..none },
        FlowFilter { only: Some(Family::Ip), protocol: Some(Protocol::Other(132)), ..none },
        FlowFilter { only: Some(Family::Ip6), mark: Some((u32::MAX, u32::MAX)), zone: Some(3), ..none },
    ];
    for filter in filters {
        let wanted = all.iter().filter(|flow| filter.fits(flow)).count();
        assert!(wanted > 0 && wanted < all.len(), "{filter:?}");
        let mut sent = 0;
        let socket = pod.netns().enter(|| NetlinkSocket::open(NETFILTER)).expect("it can be entered");
        let asked = socket.expect("a socket").request(GET, DUMP, &request::filtered(&filter), |_| sent += 1);
        asked.unwrap_or_else(|error| panic!("{filter:?}: {error}"));
        assert_eq!(sent, wanted, "{filter:?}");
        assert_eq!(read(&pod, &filter).len(), wanted, "{filter:?}");
    }
    assert_eq!(read(&pod, &FlowFilter { source: end("fd00::2"), destination: end("fd00::5"), ..none }).len(), 6);
    // Ports of any protocol, of which the kernel knows nothing, are looked at here.
    assert_eq!(read(&pod, &FlowFilter { destination: end(":53"), ..none }).len(), 3);
}
