//! What is shown of flows.

use super::*;
use crate::model::{FlowDetails, Icmp, Side, TcpSide, Transport, UnknownPart};
use crate::report::conns::Look;

fn at(text: &str) -> Endpoint {
    let end: std::net::SocketAddr = text.parse().expect("an end");
    Endpoint::new(end.ip(), end.port())
}

fn redirected() -> Flow {
    let (app, service, proxy) = (at("10.0.0.2:45716"), at("10.96.14.7:9080"), at("127.0.0.1:15001"));
    let mut flow = Flow::between(Protocol::Tcp, (app, service), (proxy, app));
    (flow.id, flow.state, flow.status, flow.timeout) = (7, Some("ESTABLISHED".into()), 0x1ae, Some(431_999));
    flow.details.original = Side { counted: Some((3, 172)), ..Side::default() };
    (flow.packets, flow.bytes) = (Some(3), Some(172));
    let side = TcpSide { scale: Some(7), flags: Some(3) };
    flow.details.transport = Some(Transport::Tcp { original: side, reply: TcpSide { scale: Some(8), flags: None } });
    flow
}

fn echo() -> Flow {
    let ends = (at("[fd00::2]:0"), at("[fd00::5]:0"));
    let mut flow = Flow::between(Protocol::Other(58), ends, (ends.1, ends.0));
    flow.details = FlowDetails {
        original: Side { icmp: Some(Icmp { kind: 128, code: 0, id: 9 }), ..Side::default() },
        started: Some(1_700_000_000_000_000_001),
        helper: Some("f\x1b[2Jtp x".into()),
        unknown: [UnknownPart::new(&[4, 9], &[0, 255])].into(),
        ..FlowDetails::default()
    };
    flow
}

#[test]
fn the_table_tells_who_dialled_what_and_where_it_went() {
    assert_eq!(
        table(&[redirected(), echo()], Look::plain()),
        "\
PROTO   STATE        FROM                   DIALLED          WENT TO          LEFT
tcp     ESTABLISHED  10.0.0.2:45716         10.96.14.7:9080  127.0.0.1:15001  431999 s
icmpv6  unanswered   fd00::2 type 128 id 9  fd00::5          as dialled
"
    );
    assert_eq!(table(&[], Look::plain()), "");
}

#[test]
fn the_wide_form_fills_every_cell_and_hostile_texts_are_harmless() {
    let text = wide(&[redirected(), echo()], Look::plain());
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        lines[1].join(" "),
        "7 tcp ESTABLISHED 10.0.0.2:45716 10.96.14.7:9080 127.0.0.1:15001 10.0.0.2:45716 \
         seen-reply,assured,confirmed,dnat,snat-done,dnat-done 0x0 0 431999 3 172 - original-counted=3/172 \
         tcp=7:window-scale,sack/8:"
    );
    assert_eq!(
        lines[2][13..].join(" "),
        "2023-11-14T22:13:20.000000001Z original=type,128,id,9 helper=f\\x1b[2Jtp_x [4.9:0x00ff]"
    );
    assert_eq!(lines[0].len(), 15);
}

#[test]
fn a_line_of_json_has_the_keys_of_the_schema() {
    let mut out = Vec::new();
    write_line(&redirected(), &mut out).expect("memory");
    assert_eq!(
        String::from_utf8(out).expect("text"),
        "{\"id\":7,\"protocol\":\"tcp\",\"state\":\"ESTABLISHED\",\
         \"original\":{\"source\":\"10.0.0.2:45716\",\"destination\":\"10.96.14.7:9080\",\"packets\":3,\"bytes\":172,\
         \"window_scale\":7,\"flags\":[\"window-scale\",\"sack\"]},\
         \"reply\":{\"source\":\"127.0.0.1:15001\",\"destination\":\"10.0.0.2:45716\",\"window_scale\":8},\
         \"status\":[\"seen-reply\",\"assured\",\"confirmed\",\"dnat\",\"snat-done\",\"dnat-done\"],\
         \"mark\":0,\"zone\":0,\"timeout\":431999,\"packets\":3,\"bytes\":172}\n"
    );
    let mut out = Vec::new();
    write_line(&echo(), &mut out).expect("memory");
    let text = String::from_utf8(out).expect("text");
    assert!(!text.contains('\x1b') && text.contains("\"source\":\"fd00::2\""), "{text}");
    let row: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(row, rows(&[echo()])[0]);
    assert_eq!((&row["helper"], &row["unknown"][0]["at"]), (&"f\x1b[2Jtp x".into(), &"4.9".into()));
}
