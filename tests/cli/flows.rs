//! `conns --flows` and `--summary` on files: forms that agree with each other, filters, and what is no list of flows.

use serde_json::{Value, json};

use crate::program::{Folder, fixture, nslens, text_of, with_input};

/// Protocol, original and reply ends, status and mark.
type Given<'a> = (Value, [&'a str; 2], [&'a str; 2], u32, u32);

/// A snapshot with these flows.
fn snapshot(flows: &[Given<'_>]) -> String {
    let mut snapshot: Value = serde_json::from_str(&text_of("snapshot/plain.json")).expect("JSON");
    let entries = flows.iter().zip(1..).map(|((protocol, original, reply, status, mark), id)| {
        json!({
            "id": id, "protocol": protocol, "state": if protocol == "tcp" { json!("ESTABLISHED") } else { Value::Null },
            "original": original, "reply": reply, "status": status, "mark": mark, "zone": id % 2, "timeout": 9,
            "packets": null, "bytes": null,
        })
    });
    snapshot["flows"] = entries.collect();
    snapshot.to_string()
}

fn several() -> String {
    let (tcp, udp) = (json!("tcp"), json!("udp"));
    snapshot(&[
        (tcp.clone(), ["10.0.0.2:1000", "10.0.0.5:80"], ["127.0.0.1:15001", "10.0.0.2:1000"], 0x1ae, 0),
        (tcp.clone(), ["10.0.0.2:1001", "10.0.0.5:80"], ["127.0.0.1:15001", "10.0.0.2:1001"], 0x1ac, 0x111),
        (tcp, ["[fd00::2]:1002", "[fd00::5]:80"], ["[fd00::5]:80", "[fd00::2]:1002"], 0x18e, 0),
        (udp, ["10.0.0.2:1003", "10.0.0.6:53"], ["10.0.0.6:53", "10.0.0.2:1003"], 0x188, 0x1_0111),
        (json!(1), ["10.0.0.2:0", "10.0.0.5:0"], ["10.0.0.5:0", "10.0.0.2:0"], 0x18a, 0),
    ])
}

fn ids(words: &[&str]) -> Vec<u64> {
    let run = with_input(&[&["conns", "-", "--flows", "-o", "json"], words].concat(), several().as_bytes()).ended(0);
    let document = run.json();
    assert_eq!(document["schema"], "nslens.flows/v1");
    let mut ids: Vec<u64> =
        document["flows"].as_array().expect("flows").iter().map(|flow| flow["id"].as_u64().expect("an id")).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn filters_leave_out_what_is_not_wanted() {
    assert_eq!(ids(&[]), [1, 2, 3, 4, 5]);
    assert_eq!(ids(&["-4"]), [1, 2, 4, 5]);
    assert_eq!(ids(&["-6"]), [3]);
    assert_eq!(ids(&["--protocol", "icmp"]), [5]);
    assert_eq!(ids(&["--protocol", "17"]), [4]);
    assert_eq!(ids(&["--to", "10.0.0.5"]), [1, 2, 5]);
    assert_eq!(ids(&["--to", ":80", "--from", "[fd00::2]:1002"]), [3]);
    assert_eq!(ids(&["--mark", "0x111"]), [2]);
    assert_eq!(ids(&["--mark", "0x111/0xfff"]), [2, 4]);
    assert_eq!(ids(&["--status", "dnat"]), [1, 2]);
    assert_eq!(ids(&["--status", "dnat,seen-reply"]), [1]);
    assert_eq!(ids(&["--zone", "0"]), [2, 4]);
}

#[test]
fn wrong_filters_are_wrong_usage() {
    for words in [
        &["--flows", "--mark", "5/4"][..],
        &["--flows", "--mark", "x"],
        &["--flows", "--status", "open"],
        &["--flows", "--to", "host:80"],
        &["--flows", "--protocol", "256"],
        &["--flows", "-4", "-6"],
        &["--flows", "--summary"],
        &["--flows", "--all"],
        &["--zone", "7"],
        &["-4"],
    ] {
        let run = nslens(&[&["conns", &fixture("snapshot/plain.json")], words].concat()).ended(2);
        assert_eq!(run.out, "", "{words:?}");
    }
}

#[test]
fn the_forms_agree() {
    let run = |words: &[&str]| with_input(&[&["conns", "-"], words].concat(), several().as_bytes()).ended(0);
    let document = run(&["--flows", "-o", "json"]).json();
    let lines = run(&["--flows", "-o", "jsonl"]).out;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let by_id = |flows: &[Value]| {
        let mut flows = flows.to_vec();
        flows.sort_by_key(|flow| flow["id"].as_u64());
        flows
    };
    assert_eq!(by_id(document["flows"].as_array().expect("flows")), by_id(&lines));
    assert_eq!(lines[4]["original"]["source"], "10.0.0.2");
    let (table, wide) = (run(&["--flows"]).out, run(&["--flows", "-o", "wide", "--no-headers"]).out);
    assert!(table.contains("10.0.0.5:80   127.0.0.1:15001"), "{table}");
    assert_eq!(wide.lines().filter(|line| line.contains("confirmed")).count(), 5, "{wide}");
    let summary = run(&["--summary", "-o", "json"]).json();
    assert_eq!((&summary["flows"], &summary["redirected"], &summary["unanswered"]), (&json!(5), &json!(2), &json!(2)));
    assert_eq!(summary["destinations"][0]["destination"], "10.0.0.5:80");
    assert_eq!(summary["proxy_ports"], json!([{ "port": 15001, "flows": 2 }]));
    assert_eq!(run(&["--summary", "-o", "jsonl"]).json(), summary);
    for words in [&["--flows"][..], &["--summary"]] {
        let yaml: Value = yaml_serde::from_str(&run(&[words, &["-o", "yaml"]].concat()).out).expect("YAML");
        assert_eq!(yaml, run(&[words, &["-o", "json"]].concat()).json(), "{words:?}");
    }
    let text = run(&["--summary"]).out;
    assert!(text.contains("5 tracked connections: 2 redirected") && text.contains("15001"), "{text}");
    let file = fixture("snapshot/plain.json");
    let connections = nslens(&["conns", &file, "-o", "jsonl", "--all"]).ended(0).out;
    let whole = nslens(&["conns", &file, "-o", "json", "--all"]).ended(0).json();
    let lines: Vec<Value> = connections.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(whole["connections"], json!(lines));
}

#[test]
fn rules_hold_no_flows_and_no_flows_are_said() {
    for words in [&["--flows"][..], &["--summary"]] {
        let run = nslens(&[&["conns", &fixture("save/legacy.rules")], words].concat()).ended(2);
        assert!(run.err.contains("holds rules only"), "{}", run.err);
        let none = with_input(&[&["conns", "-"], words].concat(), snapshot(&[]).as_bytes()).ended(0);
        assert!(none.out.contains("no tracked flows") || none.out.contains("0 tracked connections"), "{}", none.out);
    }
}

/// What a file says of the table beside its entries is shown as it is of a live target.
#[test]
fn what_is_known_of_the_table_survives_a_file() {
    let mut file: Value = serde_json::from_str(&several()).expect("JSON");
    let tuple = |from: &str, to: &str| json!({ "protocol": "tcp", "source": from, "destination": to, "zone": null, "icmp": null });
    let (master, data) = (tuple("10.0.0.2:40000", "10.0.0.5:21"), tuple("10.0.0.5:0", "10.0.0.2:2000"));
    file["tracking"] = json!({
        "table": { "count": 5, "limit": 10 },
        "node_table": { "count": 7, "limit": 0 },
        "statistics": [{ "cpu": 1, "counters": [["found", 3], ["drop", 4]] }],
        "expectations": [{
            "id": 9, "master": master, "expected": data, "mask": data, "timeout": 300, "helper": "f\u{1b}tp", "zone": 0,
            "flags": 0, "class": 0, "translated": null, "function": null,
        }],
    });
    let text = file.to_string();
    let kept = with_input(&["snapshot", "-", "-q"], text.as_bytes()).ended(0).json();
    for key in ["table", "node_table", "statistics"] {
        assert_eq!(kept["tracking"][key], file["tracking"][key], "{key}");
    }
    assert_eq!(kept["tracking"]["expectations"][0]["master"]["destination"], "10.0.0.5:21");
    let run = |words: &[&str]| with_input(&[&["conns", "-"], words].concat(), text.as_bytes()).ended(0);
    let summary = run(&["--summary"]).out;
    assert!(
        summary.contains("table: 5 of 10 entries (50 %); the node's own: 7 entries, without a limit\n"),
        "{summary}"
    );
    assert!(summary.contains("\ncounted since the namespace was made: drop 4\n"), "{summary}");
    assert_eq!(run(&["--summary", "-o", "json"]).json()["expected"], 1);
    let flows = run(&["--flows"]).out;
    assert!(flows.contains("\nf\\x1btp  tcp:10.0.0.5:0 → 10.0.0.2:2000 "), "{flows}");
    let document = run(&["--flows", "-o", "json"]).json();
    assert_eq!(document["expectations"][0]["id"], 9);
    // Files of earlier versions say nothing of it.
    assert_eq!(serde_json::from_str::<Value>(&several()).expect("JSON").get("tracking"), None);
}

/// What the first version of a file does not have, a file of today has, and both are read again as they were.
#[test]
fn details_survive_a_file() {
    let mut file: Value = serde_json::from_str(&several()).expect("JSON");
    let details = json!({ "helper": "ftp", "labels": [5], "original": { "icmp": { "type": 8, "code": 0, "id": 77 } } });
    file["flows"][4]["details"] = details.clone();
    let folder = Folder::new();
    let copy = folder.path("copy.json");
    with_input(&["snapshot", "-", "-f", &copy], file.to_string().as_bytes()).ended(0);
    let copied: Value = serde_json::from_str(&std::fs::read_to_string(&copy).expect("the copy")).expect("JSON");
    assert_eq!((&copied["flows"][4]["details"], &copied["flows"][0]["details"]), (&details, &Value::Null));
    let shown = nslens(&["conns", &copy, "--flows"]).ended(0).out;
    assert!(shown.contains("10.0.0.2 type 8 id 77"), "{shown}");
}

#[test]
fn connections_are_picked_by_way_port_process_and_state() {
    let file = fixture("docs/productpage.json");
    let picked = |words: &[&str]| {
        let run = nslens(&[&["conns", &file, "-o", "json", "--all"], words].concat()).ended(0);
        run.json()["connections"].as_array().expect("a list").clone()
    };
    let all = picked(&[]);
    let is = |key: &str, word: &str, rows: &[serde_json::Value]| rows.iter().filter(|row| row[key] == word).count();
    for way in ["redirected", "intercepted", "exempt", "direct"] {
        let rows = picked(&["--way", way]);
        assert!(!rows.is_empty() && is("way", way, &rows) == rows.len(), "{way}: {rows:?}");
        assert_eq!(rows.len(), is("way", way, &all), "{way}");
    }
    let listening = picked(&["--listen"]);
    assert!(!listening.is_empty() && listening.len() == is("way", "listening", &all), "{listening:?}");
    let established = picked(&["--state", "established"]);
    assert_eq!(established.len(), is("state", "established", &all));
    let has_port = |row: &serde_json::Value| {
        ["local", "peer", "original_destination", "actual_destination"]
            .iter()
            .any(|key| row[key].as_str().is_some_and(|end| end.ends_with(":15001")))
    };
    let by_port = picked(&["--port", "15001"]);
    assert!(!by_port.is_empty() && by_port.len() < all.len() && by_port.iter().all(has_port), "{by_port:?}");
    assert_eq!(by_port.len(), all.iter().filter(|row| has_port(row)).count());
    let of_app = picked(&["--process", "app"]);
    assert!(!of_app.is_empty() && of_app.iter().all(|row| row["process"]["name"] == "app"), "{of_app:?}");
    let pid = of_app[0]["process"]["pid"].to_string();
    assert_eq!(picked(&["--process", &pid]), of_app);
    let by_way = nslens(&["conns", &file, "-o", "json", "--all", "--sort", "way"]).ended(0).json();
    let ways: Vec<_> = by_way["connections"].as_array().expect("a list").iter().map(|row| row["way"].clone()).collect();
    assert!(
        ways.chunk_by(|a, b| a == b).count()
            == ways.iter().map(ToString::to_string).collect::<std::collections::BTreeSet<_>>().len()
    );
    let told = nslens(&["conns", &file, "--way", "redirected"]).ended(0).out;
    assert!(told.contains("1 connection: 1 redirected\n"), "{told}");
    assert!(nslens(&["conns", &file, "--port", "1"]).ended(0).out.contains("no such connections"));
    nslens(&["conns", &file, "--way", "elsewhere"]).ended(2);
    nslens(&["conns", &file, "--flows", "--way", "direct"]).ended(2);
}
