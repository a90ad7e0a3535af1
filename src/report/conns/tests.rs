//! What a tired person sees, and what a program gets.

use super::*;
use crate::analysis::join::{Direction, Evidence};
use crate::model::{Backend, Endpoint, Family, Protocol, RuleRef, SocketState};

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
    assert_eq!(lines[0].len(), 16);
    assert_eq!(
        lines[1].join(" "),
        "curl/4711 productpage 1000 - tcp established 10.244.1.12:45716 10.96.14.7:9080 10.96.14.7:9080 127.0.0.1:15001 \
         redirected tracked envoy/4720 4711 1 nft ip nat ISTIO_REDIRECT 1"
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
    assert_eq!(rows_json(&connections)[0]["process"]["user"], "\u{1b}[2Ja b");
}

#[test]
fn colours_are_put_around_pieces_and_change_no_width() {
    let brackets =
        |part: Part, text: &str| if part == Part::Way(Way::Exempt) { format!("<{text}>") } else { text.into() };
    let text = table(&pod(), Look { headings: true, paint: &brackets });
    assert_eq!(text.replace("<exempt>", "exempt"), table(&pod(), Look::plain()));
    assert!(text.contains("<exempt>"));
}

#[test]
fn nothing_is_nothing() {
    assert_eq!(table(&[], Look::plain()), "");
    assert_eq!(wide(&[], Look::plain()), "");
    assert_eq!(rows_json(&[]), serde_json::json!([]));
}

#[test]
fn the_json_keys_are_those_of_the_schema() {
    let rows = rows_json(&pod()[..1]);
    assert_eq!(
        rows,
        serde_json::json!([{
            "protocol": "tcp", "family": "ip", "mapped": false, "state": "established", "direction": "out",
            "local": "10.244.1.12:45716", "peer": "10.96.14.7:9080", "uid": 1000, "inode": 4711,
            "process": {"pid": 4711, "name": "curl", "container": "productpage", "user": null},
            "processes": [{"pid": 4711, "name": "curl", "container": "productpage", "user": null}],
            "original_destination": "10.96.14.7:9080", "actual_destination": "127.0.0.1:15001", "way": "redirected",
            "rule": {"backend": "nft", "family": "ip", "table": "nat", "chain": "ISTIO_REDIRECT", "number": 1},
            "twin": 4720, "evidence": "tracked", "flow": 5, "would_redirect": null, "rewritten_port": false, "age": null,
        }])
    );
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
    assert_eq!(rows_json(&connections)[3]["would_redirect"]["chain"], "ISTIO_REDIRECT");
}
