//! What a tired person sees, and what a program gets.

use super::*;
use crate::analysis::join::{Direction, Evidence};
use crate::model::{
    Backend, Endpoint, Family, IdMaps, Interface, Kind, OtherSocket, PacketSocket, Process, Protocol, RuleRef,
    Snapshot, Socket, SocketDetails, SocketState, UnixSocket, Workload,
};

fn end(text: &str) -> Endpoint {
    let address: std::net::SocketAddr = text.parse().expect("an endpoint");
    Endpoint::new(address.ip(), address.port())
}

fn connection(owner: (u32, &str, &str, u32), ends: (&str, &str), way: Way, went: (&str, &str)) -> Connection {
    Connection {
        protocol: Protocol::Tcp,
        family: Family::Ip,
        mapped: false,
        state: SocketState::Established,
        local: end(ends.0),
        peer: Some(end(ends.1)),
        uid: Some(owner.3),
        inode: owner.0,
        processes: vec![Owner {
            pid: owner.0,
            name: owner.1.into(),
            container: Some(owner.2.into()),
            uid: owner.3,
            user: None,
        }],
        direction: Some(if way == Way::Intercepted { Direction::In } else { Direction::Out }),
        original_destination: Some(end(went.0)),
        actual_destination: Some(end(went.1)),
        way,
        rule: None,
        twin: None,
        evidence: Some(Evidence::Tracked),
        flow: Some(5),
        would: None,
        rewritten_port: false,
        age: None,
    }
}

fn pod() -> Vec<Connection> {
    let app = (4711, "curl", "productpage", 1000);
    let proxy = (4720, "envoy", "istio-proxy", 1337);
    let mut redirected = connection(
        app,
        ("10.244.1.12:45716", "10.96.14.7:9080"),
        Way::Redirected,
        ("10.96.14.7:9080", "127.0.0.1:15001"),
    );
    redirected.twin = Some(4720);
    redirected.rule = Some(RuleRef {
        backend: Backend::Nft,
        family: Family::Ip,
        table: "nat".into(),
        chain: "ISTIO_REDIRECT".into(),
        number: 1,
    });
    let half = connection(
        proxy,
        ("127.0.0.1:15001", "10.244.1.12:45716"),
        Way::Intercepted,
        ("10.96.14.7:9080", "127.0.0.1:15001"),
    );
    let upstream = connection(
        proxy,
        ("10.244.1.12:50000", "10.244.3.9:9080"),
        Way::Exempt,
        ("10.244.3.9:9080", "10.244.3.9:9080"),
    );
    vec![redirected, half, upstream]
}

#[test]
fn the_table_reads_from_who_dialled_to_where_it_went() {
    assert_eq!(
        table(&pod(), Look::plain()),
        "\
\x20 FROM               DIALLED          WENT TO          WAY
curl/4711 · productpage · UID 1000
→ 10.244.1.12:45716  10.96.14.7:9080  127.0.0.1:15001  redirected
envoy/4720 · istio-proxy · UID 1337
← 10.244.1.12:45716  10.96.14.7:9080  127.0.0.1:15001  intercepted
→ 10.244.1.12:50000  10.244.3.9:9080  as dialled       exempt
"
    );
}

#[test]
fn states_show_where_one_is_out_of_the_ordinary_and_lines_stay_below_80() {
    let mut connections = pod();
    let mut listener = connections[1].clone();
    (listener.peer, listener.direction, listener.way) = (None, None, Way::Listening);
    (listener.original_destination, listener.actual_destination) = (None, None);
    listener.state = SocketState::Listen;
    let mut query = connections[0].clone();
    query.protocol = Protocol::Udp;
    (query.way, query.actual_destination) = (Way::Unknown, None);
    connections.insert(1, query);
    connections.push(listener);
    let text = table(&connections, Look::plain());
    assert_eq!(
        text,
        "\
\x20 FROM               DIALLED          WENT TO          WAY          STATE
curl/4711 · productpage · UID 1000
→ 10.244.1.12:45716  10.96.14.7:9080  127.0.0.1:15001  redirected   established
→ 10.244.1.12:45716  10.96.14.7:9080  ?                unknown      udp
envoy/4720 · istio-proxy · UID 1337
← 10.244.1.12:45716  10.96.14.7:9080  127.0.0.1:15001  intercepted  established
→ 10.244.1.12:50000  10.244.3.9:9080  as dialled       exempt       established
                     127.0.0.1:15001                   listening    listen
"
    );
    assert!(text.lines().all(|line| line.chars().count() <= 80));
}

#[test]
fn the_wide_form_has_one_line_each_and_names_the_twin() {
    let text = wide(&pod(), Look::plain());
    let lines: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0].len(), 22);
    assert_eq!(
        lines[1].join(" "),
        "curl/4711 productpage 1000 - tcp established 10.244.1.12:45716 10.96.14.7:9080 10.96.14.7:9080 127.0.0.1:15001 \
         redirected tracked envoy/4720 4711 1 - - - - - - nft ip nat ISTIO_REDIRECT 1"
    );
    assert_eq!(lines[2].last(), Some(&"-"));
    assert_eq!(wide(&pod(), Look { headings: false, ..Look::plain() }).lines().count(), 3);
}

#[test]
fn hostile_names_cannot_steer_the_terminal() {
    let mut connections = pod();
    connections[0].processes[0].name = "sh\x1b[2J\n".into();
    connections[0].processes[0].container = Some("\u{202e}ppa".into());
    for text in [table(&connections, Look::plain()), wide(&connections, Look::plain())] {
        assert!(text.contains("sh\\x1b[2J\\x0a/4711") && text.contains("\\u{202e}ppa"), "{text}");
        assert!(!text.contains('\x1b') && !text.contains('\u{202e}'));
    }
}

#[test]
fn who_holds_a_socket_is_said_also_when_nobody_does() {
    let mut connections = pod();
    connections[0].processes.clear();
    (connections[1].inode, connections[1].uid) = (0, None);
    connections[1].processes.clear();
    connections[2].processes.push(Owner { pid: 9, name: "worker".into(), container: None, uid: 0, user: None });
    let text = table(&connections, Look::plain());
    assert!(text.contains("\n(owner not found) · UID 1000\n"), "{text}");
    assert!(text.contains("\n(no process)\n"), "{text}");
    assert!(text.contains("\nenvoy/4720 · istio-proxy · UID 1337 · and 1 more\n"), "{text}");
}

#[test]
fn a_user_has_a_name_where_the_process_runs_as_the_socket_s_user() {
    let mut connections = pod();
    connections[0].processes[0].user = Some("\u{1b}[2Ja b".into());
    connections[2].processes[0].user = Some("proxy".into());
    connections[2].processes[0].uid = 0;
    let (text, lines) = (table(&connections, Look::plain()), wide(&connections, Look::plain()));
    assert!(text.contains("\ncurl/4711 · productpage · UID 1000 (\\x1b[2Ja b)\n"), "{text}");
    assert!(lines.contains(" 1000  \\x1b[2Ja_b  tcp "), "{lines}");
    assert!(!text.contains("proxy)") && !lines.contains(" proxy "), "{text}{lines}");
    assert_eq!(rows_json(&connections, None)[0]["process"]["user"], "\u{1b}[2Ja b");
}

#[test]
fn colours_are_put_around_pieces_and_change_no_width() {
    let brackets =
        |part: Part, text: &str| if part == Part::Way(Way::Exempt) { format!("<{text}>") } else { text.into() };
    let text = table(&pod(), Look { paint: &brackets, ..Look::plain() });
    assert_eq!(text.replace("<exempt>", "exempt"), table(&pod(), Look::plain()));
    assert!(text.contains("<exempt>"));
}

#[test]
fn nothing_is_nothing() {
    assert_eq!(table(&[], Look::plain()), "");
    assert_eq!(wide(&[], Look::plain()), "");
    assert_eq!(rows_json(&[], None), serde_json::json!([]));
}

#[test]
fn the_json_keys_are_those_of_the_schema() {
    let process = serde_json::json!({
        "pid": 4711, "name": "curl", "container": "productpage", "user": null, "uid": 1000, "uid_inner": null,
        "gid": null, "gid_inner": null, "groups": null, "groups_inner": null, "start_time": null, "elsewhere": null,
    });
    let rows = rows_json(&pod()[..1], None);
    assert_eq!(
        rows,
        serde_json::json!([{
            "protocol": "tcp", "family": "ip", "mapped": false, "state": "established", "direction": "out",
            "local": "10.244.1.12:45716", "peer": "10.96.14.7:9080", "uid": 1000, "uid_inner": null, "inode": 4711,
            "process": process, "processes": [process],
            "original_destination": "10.96.14.7:9080", "actual_destination": "127.0.0.1:15001", "way": "redirected",
            "rule": {"backend": "nft", "family": "ip", "table": "nat", "chain": "ISTIO_REDIRECT", "number": 1},
            "twin": 4720, "evidence": "tracked", "flow": 5, "would_redirect": null, "rewritten_port": false, "age": null,
            "details": null,
        }])
    );
}

/// The snapshot behind [`pod`] where its users are counted from 1000 on, and `envoy` lives elsewhere.
fn snapshot() -> Snapshot {
    let mut snapshot = Snapshot::of("node", 0, "pod/p", Workload::named(Kind::Pod, "p"));
    snapshot.ids = IdMaps::parse("0 1000 1000", "0 1000 100");
    let process = |pid, uid, elsewhere| Process {
        pid,
        start_time: 7,
        name: "curl".into(),
        uid,
        user: None,
        gid: 1005,
        groups: vec![1001, 5],
        container: None,
        elsewhere,
        sockets: vec![pid],
        capabilities: None,
        netns: None,
        descriptors: None,
        state: None,
    };
    snapshot.processes = Some(vec![process(4711, 1000, false), process(4720, 5, true)]);
    let interface = Interface { index: 2, name: "eth0".into(), up: true, loopback: false, addresses: vec![] };
    snapshot.interfaces = Some(vec![interface]);
    let pod = pod();
    let socket = |connection: &Connection| Socket {
        protocol: connection.protocol,
        family: connection.family,
        mapped: false,
        state: connection.state,
        local: connection.local,
        peer: connection.peer,
        uid: 1000,
        inode: connection.inode,
        mark: Some(0x10),
        interface: 2,
        receive_queue: 7,
        send_queue: 8,
        details: SocketDetails { cookie: 9, ..SocketDetails::default() },
    };
    snapshot.sockets = Some(pod.iter().map(socket).collect());
    snapshot
}

#[test]
fn users_are_shown_in_both_numberings_where_they_differ() {
    let mut snapshot = snapshot();
    let beside = Beside::of(&snapshot, true);
    let look = Look { beside: Some(&beside), ..Look::plain() };
    let mut connections = pod();
    connections[0].processes[0].user = Some("app".into());
    connections[1].uid = Some(5);
    let text = table(&connections, look);
    assert!(text.contains("\ncurl/4711 · productpage · UID 1000 (0 in the pod, app)\n"), "{text}");
    assert!(text.contains(" · UID 5 (none in the pod) · in another network namespace\n"), "{text}");
    let rows = rows_json(&connections, Some(&beside));
    assert_eq!((&rows[0]["uid"], &rows[0]["uid_inner"]), (&1000.into(), &0.into()));
    assert_eq!((&rows[1]["uid"], &rows[1]["uid_inner"]), (&5.into(), &serde_json::Value::Null));
    let process = &rows[0]["process"];
    assert_eq!((&process["gid"], &process["gid_inner"]), (&1005.into(), &5.into()));
    assert_eq!(
        (&process["groups"], &process["groups_inner"]),
        (&serde_json::json!([1001, 5]), &serde_json::json!([1, null]))
    );
    assert_eq!(
        rows[0]["details"],
        serde_json::json!({
            "receive_queue": 7, "send_queue": 8, "mark": 16, "interface": 2, "device": "eth0", "cookie": 9,
        })
    );
    let lines = wide(&connections, look);
    assert!(lines.contains(" 4711   1       0           1005  7       8       0x10  eth0    nft ip nat"), "{lines}");
    snapshot.ids = Some(IdMaps::same());
    let beside = Beside::of(&snapshot, true);
    let text = table(&connections, Look { beside: Some(&beside), ..Look::plain() });
    assert!(text.contains(" · UID 1000 (app)\n"), "{text}");
    assert_eq!(rows_json(&connections, Some(&beside))[0]["uid_inner"], 1000);
}

#[test]
fn ends_that_are_too_long_stand_one_below_the_other() {
    let mut connections = pod();
    let long = "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:45716";
    connections[1].peer = Some(end(long));
    connections[1].original_destination = Some(end(long));
    connections[2].local = end(long);
    connections[2].state = SocketState::SynSent;
    let narrow = table(&connections, Look { columns: Some(80), ..Look::plain() });
    assert_eq!(
        narrow,
        "\
\x20 FROM               DIALLED          WENT TO          WAY         STATE
curl/4711 · productpage · UID 1000
→ 10.244.1.12:45716  10.96.14.7:9080  127.0.0.1:15001  redirected
envoy/4720 · istio-proxy · UID 1337
← [2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:45716  intercepted
    dialled  [2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:45716
    went to  127.0.0.1:15001
→ [2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:45716  exempt  syn-sent
    dialled  10.244.3.9:9080
"
    );
    assert!(narrow.lines().all(|line| line.chars().count() <= 80));
    // Where there is room, and where nobody looks, each has its line.
    let wide = table(&connections, Look::plain());
    assert_eq!(wide.lines().count(), 6);
    assert_eq!(table(&connections, Look { columns: Some(200), ..Look::plain() }), wide);
}

#[test]
fn other_sockets_are_told_with_their_holders() {
    let mut snapshot = snapshot();
    let unix = |path: &str, inode| {
        OtherSocket::Unix(UnixSocket { path: path.into(), listening: true, uid: Some(1000), inode, cookie: 1 })
    };
    let packet = |ethertype, interface, inode| {
        OtherSocket::Packet(PacketSocket {
            with_header: true,
            ethertype,
            interface: Some(interface),
            uid: Some(1000),
            inode,
            cookie: 2,
        })
    };
    snapshot.other_sockets =
        Some(vec![unix("/run/\u{1b}[2Jenvoy a", 50), packet(3, 0, 4711), packet(0x88cc, 2, 51), packet(0x800, 9, 52)]);
    let beside = Beside::of(&snapshot, false);
    let look = Look { beside: Some(&beside), ..Look::plain() };
    let all = others(&snapshot, |_| true);
    assert_eq!(
        others_table(&all, look),
        "
OTHER SOCKET  HELD BY                                      WHAT
packet        curl/4711 · UID 1000 (0 in the pod)          all packets of every device
packet        (owner not found) · UID 1000 (0 in the pod)  packets of type 0x88cc of eth0
packet        (owner not found) · UID 1000 (0 in the pod)  IPv4 packets of device number 9
unix          (owner not found) · UID 1000 (0 in the pod)  /run/\\x1b[2Jenvoy a, listening
"
    );
    let lines = others_wide(&all, look);
    assert!(lines.lines().skip(1).all(|line| line.split_whitespace().count() >= 8), "{lines}");
    let rows = others_json(&all, Some(&beside));
    assert_eq!((&rows[0]["kind"], &rows[0]["process"]["pid"]), (&"packet".into(), &4711.into()));
    assert_eq!(
        (&rows[1]["device"], &rows[1]["uid_inner"], &rows[1]["process"]),
        (&"eth0".into(), &0.into(), &serde_json::Value::Null)
    );
    assert_eq!(others(&snapshot, |holders| holders.iter().any(|process| process.pid == 4711)).len(), 1);
    assert_eq!(others_table(&[], look), "");
}

#[test]
fn what_the_rules_would_redirect_today_is_counted_apart() {
    let mut connections = pod();
    let mut older = connections[2].clone();
    (older.way, older.would) = (Way::Direct, connections[0].rule.clone());
    connections.extend([older.clone(), older]);
    assert_eq!(
        totals(&connections),
        "5 connections: 1 redirected, 1 intercepted, 1 exempt, 2 the rules would redirect today but went direct\n\n"
    );
    let text = table(&connections, Look::plain());
    assert_eq!(text.matches("  as dialled       direct *\n").count(), 2, "{text}");
    assert!(text.ends_with("\n* the rules would redirect it today\n"), "{text}");
    assert_eq!(rows_json(&connections, None)[3]["would_redirect"]["chain"], "ISTIO_REDIRECT");
}
