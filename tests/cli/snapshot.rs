//! Snapshot files: all commands read them; hostile names stay harmless; what could not be read is never taken for nothing.

use serde_json::{Value, json};

use crate::program::{Folder, fixture, nslens, text_of, with_input};

fn plain() -> Value {
    serde_json::from_str(&text_of("snapshot/plain.json")).expect("JSON")
}

/// The plain snapshot with one change, as a file's text.
fn changed(change: impl FnOnce(&mut Value)) -> String {
    let mut snapshot = plain();
    change(&mut snapshot);
    snapshot.to_string()
}

#[test]
fn every_command_reads_it() {
    let file = fixture("snapshot/plain.json");
    let rules = nslens(&["rules", &file]).ended(0);
    let heading: Vec<&str> = rules.out.lines().take(2).collect();
    assert_eq!(
        heading,
        ["pod web · namespace shop · containerd · PID 4711 · netns 4026532184", "containers app, istio-proxy"]
    );
    assert!(rules.out.contains("[unknown match recent rev"), "{}", rules.out);
    let conns = nslens(&["conns", &file]).ended(0);
    assert!(conns.out.contains("app/4711 · app · UID 1000"), "{}", conns.out);
    nslens(&["diff", &file, &file, "--conns", "--rules"]).ended(0);
    let from_stdin = with_input(&["rules", "-"], text_of("snapshot/plain.json").as_bytes()).ended(0);
    assert_eq!(from_stdin.out, rules.out);
}

#[test]
fn what_is_not_understood_is_kept_and_named() {
    let json = nslens(&["rules", &fixture("snapshot/plain.json"), "-o", "json"]).ended(0).json();
    let chains = |set: usize| json["rulesets"][set]["tables"][0]["chains"].as_array().expect("chains").clone();
    let inbound = chains(0).into_iter().find(|chain| chain["name"] == "ISTIO_INBOUND").expect("the chain");
    let rule = &inbound["rules"][0];
    assert_eq!(rule["unknown"], json!(["match recent revision 1"]));
    assert_eq!(rule["text"], "-A ISTIO_INBOUND [unknown match recent rev 1: 00000000020078004641554c54] -j RETURN");
    let native = &chains(1)[0];
    assert_eq!((&native["syntax"], &native["hook"]), (&json!("nft"), &json!("output")));
    let rule = &native["rules"][0];
    assert_eq!(rule["unknown"], json!(["expression quantum"]));
    assert_eq!((&rule["packets"], &rule["means"]), (&Value::Null, &Value::Null));
    assert!(rule["text"].as_str().is_some_and(|text| text.contains("[ quantum 0x08000100deadbeef ]")), "{rule}");
}

#[test]
fn names_of_users_and_the_resolver_travel_along() {
    let resolver = json!({"nameservers": ["10.96.0.10"], "search": ["shop.svc.cluster.local"]});
    let file = changed(|snapshot| {
        let processes = snapshot["processes"].as_array_mut().expect("processes");
        let app = processes.iter_mut().find(|process| process["pid"] == 4711).expect("the process");
        app["user"] = json!("ap\u{1b}[2J");
        snapshot["resolver"] = resolver.clone();
    });
    let conns = with_input(&["conns", "-"], file.as_bytes()).ended(0);
    assert!(conns.out.contains("app/4711 · app · UID 1000 (ap\\x1b[2J)"), "{}", conns.out);
    let again = with_input(&["snapshot", "-", "-q"], file.as_bytes()).ended(0).json();
    assert_eq!(again["resolver"], resolver);
    // Files that were written before these keys came have neither.
    let old = with_input(&["snapshot", "-", "-q"], plain().to_string().as_bytes()).ended(0).json();
    assert_eq!((&old["resolver"], &old["processes"][0]["user"]), (&Value::Null, &Value::Null));
}

#[test]
fn routes_travel_along_and_older_files_have_none() {
    let routes = json!({
        "routes": [{
            "kind": "unicast", "destination": {"address": "10.1.0.0", "bits": 16}, "tos": 0, "table": 254, "protocol": 3,
            "scope": 0, "flags": 0, "priority": 5, "hops": [{"interface": 2, "gateway": "10.0.0.1", "weight": 1, "flags": 0}],
            "unknown": [{"at": "8.2", "bytes": "78050000"}],
        }],
        "rules": [{
            "ipv6": false, "priority": 10, "action": {"lookup": 100}, "mark": [1337, 4294967295_u32], "tos": 0, "flags": 0,
            "maker": 0,
        }],
        "addresses": null,
        "settings": {"ipv4": {"all": {"rp_filter": 2}}, "ipv6": {}},
    });
    let file = changed(|snapshot| snapshot["routes"] = routes.clone());
    let again = with_input(&["snapshot", "-", "-q"], file.as_bytes()).ended(0).json();
    assert_eq!(again["routes"], routes);
    let old = with_input(&["snapshot", "-", "-q"], plain().to_string().as_bytes()).ended(0).json();
    assert_eq!(old["routes"], Value::Null);
}

#[test]
fn connections_have_every_key() {
    let json = nslens(&["conns", &fixture("snapshot/plain.json"), "--all", "-o", "json"]).ended(0).json();
    assert_eq!(json["schema"], "nslens.conns/v1");
    let target = json!({"asked": json["target"]["asked"], "kind": "pod", "name": "web", "namespace": "shop", "node": "worker-1"});
    for (key, value) in target.as_object().expect("an object") {
        assert_eq!(json["target"][key], *value, "target.{key}");
    }
    let connections = json["connections"].as_array().expect("connections");
    let of = |inode: u64| connections.iter().find(|connection| connection["inode"] == inode).expect("the connection");
    for connection in connections {
        let connection = connection.as_object().expect("an object");
        for key in [
            "protocol",
            "family",
            "mapped",
            "state",
            "local",
            "peer",
            "uid",
            "uid_inner",
            "inode",
            "process",
            "processes",
            "original_destination",
            "actual_destination",
            "way",
            "rule",
            "twin",
            "evidence",
            "flow",
            "would_redirect",
            "rewritten_port",
            "age",
            "details",
        ] {
            assert!(connection.contains_key(key), "{key} is missing");
        }
        assert!(connection["uid"].is_u64() && connection["inode"].is_u64() && connection["mapped"].is_boolean());
        let claimed = !["listening", "unknown"].contains(&connection["way"].as_str().unwrap_or_default());
        assert_eq!(connection["evidence"].is_string(), claimed, "{connection:?}");
    }
    let redirected = of(102);
    assert_eq!(redirected["way"], "redirected");
    assert_eq!(redirected["original_destination"], "10.0.0.5:80");
    assert_eq!(redirected["actual_destination"], "127.0.0.1:15001");
    assert_eq!(redirected["twin"], 103);
    assert_eq!(redirected["evidence"], "tracked");
    assert_eq!(
        redirected["process"],
        json!({
            "pid": 4711, "name": "app", "container": "app", "user": null, "uid": 1000, "uid_inner": null,
            "gid": 1000, "gid_inner": null, "groups": [], "groups_inner": null, "start_time": 100, "elsewhere": false,
        })
    );
    let by = json!({"backend": "legacy", "family": "ip", "table": "nat", "chain": "ISTIO_OUTPUT", "number": 2});
    assert_eq!(redirected["rule"], by);
    let listener = of(101);
    assert_eq!((&listener["peer"], &listener["way"]), (&Value::Null, &json!("listening")));
    assert_eq!((&listener["state"], &of(105)["local"]), (&json!("listen"), &json!("[fd00::2]:53")));
}

#[test]
fn a_snapshot_of_a_snapshot_is_the_same() {
    let folder = Folder::new();
    for name in ["snapshot/plain.json", "snapshot/hostile.json"] {
        let source = fixture(name);
        let printed = nslens(&["snapshot", &source]).ended(0);
        let mut before: Value = serde_json::from_str(&text_of(name)).expect("JSON");
        let mut after = printed.json();
        // What was asked is this file now.
        before["asked"] = Value::Null;
        after["asked"] = Value::Null;
        assert_eq!(after, before, "{name}");
        for file in ["copy.json", "copy.json.gz"] {
            let copy = folder.path(file);
            nslens(&["snapshot", &source, "-f", &copy]).ended(0);
            let bytes = std::fs::read(&copy).expect("the copy");
            assert_eq!(bytes.starts_with(&[0x1f, 0x8b]), file.ends_with(".gz"), "{file}");
            nslens(&["diff", &source, &copy, "--rules", "--conns"]).ended(0);
        }
    }
}

#[test]
fn a_snapshot_file_is_its_owner_s_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let copy = folder.put("copy.json", "something else, readable by all");
    nslens(&["snapshot", &fixture("snapshot/plain.json"), "-f", &copy]).ended(0);
    assert_eq!(std::fs::metadata(&copy).expect("the copy").permissions().mode() & 0o777, 0o600);
    let run = nslens(&["snapshot", &fixture("snapshot/plain.json"), "-f", &folder.path("no/such/folder")]);
    assert_eq!((run.code, run.out.as_str()), (2, ""), "{}", run.err);
}

#[test]
fn hostile_names_reach_the_screen_harmless() {
    let file = fixture("snapshot/hostile.json");
    let steers = |text: &str| -> Option<char> {
        let hidden = |character: &char| matches!(*character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}');
        text.chars().find(|character| *character != '\n' && (character.is_control() || hidden(character)))
    };
    for words in [
        &["rules"][..],
        &["rules", "--all", "-o", "wide"],
        &["rules", "-o", "json"],
        &["conns", "--all"],
        &["conns", "--all", "-o", "wide"],
        &["conns", "--all", "-o", "json"],
        &["conns", "--flows"],
        &["conns", "--flows", "-o", "wide"],
        &["conns", "--flows", "-o", "json"],
        &["conns", "--summary"],
        &["conns", "--summary", "-o", "json"],
    ] {
        let run = nslens(&[words, &[file.as_str()]].concat()).ended(0);
        assert_eq!((steers(&run.out), steers(&run.err)), (None, None), "{words:?}:\n{}", run.out);
        if words.contains(&"json") {
            run.json();
        } else {
            let forged = |line: &str| line.starts_with("no redirect rules") || line.starts_with(":FAKE");
            assert!(!run.out.lines().any(forged), "{words:?}: a name begins a line of its own:\n{}", run.out);
        }
    }
    for words in [&["diff"][..], &["diff", "--conns"], &["diff", "-o", "json", "--rules", "--conns"]] {
        let plain = fixture("snapshot/plain.json");
        let run = nslens(&[words, &[file.as_str(), plain.as_str()]].concat()).ended(1);
        assert_eq!((steers(&run.out), steers(&run.err)), (None, None), "{words:?}:\n{}", run.out);
    }
}

#[test]
fn hostile_names_stay_whole_in_json() {
    let file = fixture("snapshot/hostile.json");
    let original: Value = serde_json::from_str(&text_of("snapshot/hostile.json")).expect("JSON");
    let rules = nslens(&["rules", &file, "-o", "json"]).ended(0).json();
    assert_eq!(rules["node"], original["node"]);
    assert_eq!(rules["target"]["name"], original["workload"]["name"]);
    let names = |document: &Value| -> Vec<Value> {
        let chains = document["rulesets"][0]["tables"][0]["chains"].as_array().expect("chains").iter();
        chains.map(|chain| chain["name"].clone()).collect()
    };
    assert_eq!(names(&rules), names(&original));
    let conns = nslens(&["conns", &file, "--all", "-o", "json"]).ended(0).json();
    let app = conns["connections"].as_array().expect("connections").iter().find(|one| one["inode"] == 102);
    let app = app.expect("the connection");
    assert_eq!(app["process"]["name"], original["processes"][0]["name"]);
    assert_eq!(app["process"]["container"], original["processes"][0]["container"]);
}

#[test]
fn hostile_names_write_no_lines_of_their_own_into_a_save() {
    // A match of a hostile name is nothing that can be restored, which is said.
    let run = nslens(&["rules", &fixture("snapshot/hostile.json"), "-o", "save"]).ended(5);
    assert!(run.err.contains("by name and bytes") && !run.err.contains("\u{1b}"), "{}", run.err);
    // Read back, it has the chains and rules that the snapshot has, and no more.
    let back = with_input(&["rules", "-", "-o", "json"], run.out.as_bytes()).ended(0).json();
    let original: Value = serde_json::from_str(&text_of("snapshot/hostile.json")).expect("JSON");
    let shape = |document: &Value| -> Vec<Vec<(Value, usize)>> {
        let sets = document["rulesets"].as_array().expect("sets").iter();
        let tables = sets.flat_map(|set| set["tables"].as_array().expect("tables"));
        let of = |chain: &Value| (chain["name"].clone(), chain["rules"].as_array().expect("rules").len());
        let user = |table: &Value| -> Vec<(Value, usize)> {
            let chains = table["chains"].as_array().expect("chains").iter();
            let mut found: Vec<_> = chains.filter(|chain| chain["syntax"] == "iptables").map(of).collect();
            found.retain(|(_, rules)| *rules > 0);
            found.sort_by_key(|(name, _)| name.to_string());
            found
        };
        tables.map(user).filter(|table| !table.is_empty()).collect()
    };
    assert_eq!(shape(&back), shape(&original), "{}", run.out);
}

/// `(cause, exit code)` as `docs/exit-codes.md` has them.
const CAUSES: [(&str, i32); 3] = [("permission", 4), ("failed", 5), ("unsupported", 5)];

fn unread(cause: &str, subject: &str) -> Value {
    json!({
        "source": "legacy ip \u{1b}[31mnat", "error": "Operation \u{1b}[31mnot permitted", "means": "rules are \u{1b}[31mnot known",
        "subject": subject, "cause": cause,
    })
}

#[test]
fn what_could_not_be_read_is_never_taken_for_nothing() {
    for (cause, code) in CAUSES {
        let text = changed(|snapshot| {
            snapshot["rulesets"] = json!([{"backend": "legacy", "family": "ip", "tables": []}]);
            snapshot["unread"] = json!([unread(cause, "rules")]);
        });
        for words in [&["rules", "-"][..], &["rules", "-", "--all"], &["rules", "-", "-o", "wide"]] {
            let run = with_input(words, text.as_bytes()).ended(code);
            assert!(!run.out.contains("no redirect rules"), "{}", run.out);
            assert!(run.out.contains("could not read legacy ip"), "{}", run.out);
            assert!(!run.out.contains('\u{1b}'), "{:?}", run.out);
        }
        let json = with_input(&["rules", "-", "-o", "json"], text.as_bytes()).ended(code).json();
        assert_eq!(json["unread"].as_array().map(Vec::len), Some(1));
        for key in ["source", "error", "means"] {
            assert!(json["unread"][0][key].is_string(), "{key}");
        }
        let save = with_input(&["rules", "-", "-o", "save"], text.as_bytes()).ended(code);
        assert!(save.err.contains("could not read") && !save.err.contains('\u{1b}'), "{:?}", save.err);
    }
}

#[test]
fn a_rule_set_that_was_read_in_part_makes_no_sentence() {
    for (cause, code) in CAUSES {
        let text = changed(|snapshot| snapshot["unread"] = json!([unread(cause, "rules")]));
        let run = with_input(&["rules", "-"], text.as_bytes()).ended(code);
        assert!(!run.out.contains("Outbound TCP goes to"), "{}", run.out);
        let conns = with_input(&["conns", "-"], text.as_bytes()).ended(code);
        assert!(conns.out.contains("could not read"), "{}", conns.out);
    }
}

#[test]
fn what_a_command_is_not_about_does_not_count() {
    let text = changed(|snapshot| snapshot["unread"] = json!([unread("permission", "sockets")]));
    with_input(&["rules", "-"], text.as_bytes()).ended(0);
    with_input(&["conns", "-"], text.as_bytes()).ended(4);
    let text =
        changed(|snapshot| snapshot["unread"] = json!([unread("failed", "flows"), unread("permission", "rules")]));
    with_input(&["conns", "-"], text.as_bytes()).ended(4);
    let none = changed(|snapshot| {
        snapshot["sockets"] = json!([]);
        snapshot["unread"] = json!([unread("failed", "sockets")]);
    });
    let run = with_input(&["conns", "-"], none.as_bytes()).ended(5);
    assert!(!run.out.contains("no live connections"), "{}", run.out);
}

#[test]
fn a_difference_weighs_more_than_what_cannot_be_told_and_less_than_a_missing_right() {
    let folder = Folder::new();
    let file = fixture("snapshot/plain.json");
    for (cause, equal, differs) in [("permission", 4, 4), ("failed", 5, 1)] {
        let same = folder.put("same.json", changed(|snapshot| snapshot["unread"] = json!([unread(cause, "rules")])));
        nslens(&["diff", &file, &same]).ended(equal);
        let other = folder.put(
            "other.json",
            changed(|snapshot| {
                snapshot["unread"] = json!([unread(cause, "rules")]);
                snapshot["rulesets"] = json!([]);
            }),
        );
        let run = nslens(&["diff", &file, &other, "-o", "json"]).ended(differs);
        assert_eq!(run.json()["unread"].as_array().map(Vec::len), Some(1));
    }
}

#[test]
fn a_part_that_was_not_taken_is_not_empty() {
    let text = changed(|snapshot| snapshot["sockets"] = Value::Null);
    let run = with_input(&["conns", "-"], text.as_bytes()).ended(2);
    assert!(run.err.contains("hint: "), "{}", run.err);
}

#[test]
fn rules_that_were_not_taken_are_not_none() {
    let text = changed(|snapshot| snapshot["rulesets"] = Value::Null);
    let run = with_input(&["rules", "-"], text.as_bytes()).ended(2);
    assert!(!run.out.contains("no redirect rules"), "exit {}: {}", run.code, run.out);
    let run = with_input(&["diff", "-", &fixture("snapshot/plain.json")], text.as_bytes()).ended(2);
    assert!(run.err.contains("holds no rules") && run.out.is_empty(), "{}", run.out);
}
