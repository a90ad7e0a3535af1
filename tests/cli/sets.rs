//! ipsets in snapshot files: kept, shown harmlessly, and never taken for empty where they were not read.

use serde_json::{Value, json};

use crate::program::{Folder, nslens, text_of};

/// The plain snapshot with two ipsets, and a rule that names them, as a file.
fn snapshot(folder: &Folder) -> (String, Value) {
    let mut snapshot: Value = serde_json::from_str(&text_of("snapshot/plain.json")).expect("JSON");
    let ipsets = json!([
        {
            "name": "evil\u{1b}[2J", "kind": "hash:ip,port", "revision": 7, "family": 2,
            "header": {"hashsize": 1024, "maxelem": 65536, "flags": 16, "unknown": [{"kind": 99, "data": "00ff"}]},
            "elements": [{"address": "10.0.0.1", "port": 80, "protocol": 6, "flags": 0, "comment": "a\u{202e}b"}]
        },
        {
            "name": "large", "kind": "hash:planet", "revision": 1, "family": 10,
            "header": {"flags": 0, "count": 100_000}, "elements": null
        }
    ]);
    snapshot["ipsets"] = ipsets.clone();
    let path = folder.path("sets.json");
    std::fs::write(&path, snapshot.to_string()).expect("written");
    (path, ipsets)
}

#[test]
fn sets_of_a_file_are_shown_and_what_was_not_read_is_said() {
    let folder = Folder::new();
    let (file, _) = snapshot(&folder);
    let table = nslens(&["rules", &file, "--sets"]).ended(0).out;
    assert!(table.contains("\n      10.0.0.1,tcp:80 comment \"a\\u{202e}b\"\n"), "{table}");
    assert!(table.contains("ipset evil\\x1b[2J · hash:ip,port · 1 element\n"), "{table}");
    assert!(table.contains("ipset large · hash:planet (unknown type) · 100000 elements, not read\n"), "{table}");
    assert!(!table.contains('\u{1b}') && !table.contains('\u{202e}'), "{table}");
    let wide = nslens(&["rules", &file, "--sets", "-o", "wide"]).ended(0).out;
    let said = wide.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("maxelem 65536 comment"), "{wide}");
    let json = nslens(&["rules", &file, "-o", "json"]).ended(0).json();
    let sets = json["sets"].as_array().expect("sets");
    let one = |name: &str| sets.iter().find(|set| set["name"] == name).expect(name);
    assert_eq!(
        *one("large"),
        json!({
            "backend": "ipset", "family": "ip6", "table": null, "name": "large", "type": "hash:planet", "map": null,
            "flags": [], "options": "family inet6", "read": false, "count": 100_000, "elements": null, "comment": null
        })
    );
    let evil = one("evil\u{1b}[2J");
    assert_eq!(evil["elements"], json!(["10.0.0.1,tcp:80 comment \"a\u{202e}b\""]));
    let options = "family inet hashsize 1024 maxelem 65536 comment [unknown attribute 99: 00ff]";
    assert_eq!((&evil["options"], &evil["flags"]), (&json!(options), &json!(["comment"])));
}

#[test]
fn a_snapshot_keeps_its_ipsets_and_files_without_them_are_read() {
    let folder = Folder::new();
    let (file, ipsets) = snapshot(&folder);
    assert_eq!(nslens(&["snapshot", &file]).ended(0).json()["ipsets"], ipsets);
    let plain = folder.path("plain.json");
    std::fs::write(&plain, text_of("snapshot/plain.json")).expect("written");
    assert_eq!(nslens(&["snapshot", &plain]).ended(0).json()["ipsets"], Value::Null);
    assert_eq!(nslens(&["rules", &plain, "-o", "json"]).ended(0).json()["sets"], json!([]));
}
