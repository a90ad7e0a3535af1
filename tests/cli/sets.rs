//! ipsets in snapshot files: kept, shown harmlessly, and never taken for empty where they were not read.

use std::collections::BTreeMap;

use nslens::syntax::parse_body;
use nslens::wire::attribute::Builder;
use nslens::wire::ipset::add_listed;
use nslens::xt::{Action, SetNames, named_match, named_target, parse_rule, tokens};
use proptest::collection::vec;
use proptest::prelude::*;
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

#[test]
fn differing_elements_of_ipsets_are_a_difference() {
    let folder = Folder::new();
    let mut file: Value = serde_json::from_str(&text_of("snapshot/plain.json")).expect("JSON");
    let chain = &mut file["rulesets"][0]["tables"][0]["chains"][0]["rules"];
    let rule = json!({"text": "-m set --match-set s dst -j RETURN", "counters": null, "handle": null});
    chain.as_array_mut().expect("rules").push(rule);
    let write = |name: &str, elements: Value, timeout: Value| {
        let mut file = file.clone();
        let header = json!({"flags": 8, "timeout": timeout});
        file["ipsets"] = json!([{"name": "s", "kind": "hash:ip", "revision": 6, "family": 2, "header": header, "elements": elements}]);
        let path = folder.path(name);
        std::fs::write(&path, file.to_string()).expect("written");
        path
    };
    let entry = |address: &str, packets: u64| json!({"address": address, "packets": packets, "flags": 0});
    let (one, two) = (entry("10.0.0.1", 1), entry("10.0.0.2", 2));
    let before = write("a.json", json!([one, two]), Value::Null);
    let counted = write("b.json", json!([two, entry("10.0.0.1", 9)]), Value::Null);
    nslens(&["diff", &before, &counted]).ended(0);
    let less = write("c.json", json!([two]), Value::Null);
    let said = nslens(&["diff", &before, &less]).ended(1).out;
    assert!(said.contains("ipset s") && said.contains("10.0.0.1") && !said.contains("10.0.0.2"), "{said}");
    // What was not read on one side, and what comes and goes, is no difference.
    nslens(&["diff", &before, &write("d.json", Value::Null, Value::Null)]).ended(0);
    let (timed, later) = (write("e.json", json!([two]), json!(5)), write("f.json", json!([one]), json!(5)));
    nslens(&["diff", &timed, &later]).ended(0);
}

#[test]
fn rules_that_differ_in_a_set_differ_in_words() {
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    for line in text_of("xt/set.rules").lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let text = line.splitn(4, ' ').nth(3).expect("a rule");
        let parsed = parse_rule(&tokens(text).expect("words"), line.starts_with('6'), &|_| false).expect("a rule");
        let rule = &parsed[0];
        assert!(rule.unknown().is_empty(), "{text}");
        let does = match &rule.action {
            Action::Target(target) => target.explain(),
            other => format!("{other:?}"),
        };
        let words = format!("{} → {does}", rule.subject(None, false));
        let options = said.entry(words.clone()).or_insert_with(|| rule.options());
        assert_eq!(*options, rule.options(), "{words}");
    }
    assert!(said.len() > 50, "{}", said.len());
}

/// A message that lists a set with two elements.
fn listing(kind: &str) -> Vec<u8> {
    let address = |kind, last| Builder::default().put_nested(kind, &Builder::default().put(1, &[10, 0, 0, last]));
    let one = address(1, 1).put(3, &[24]).put(4, &[0, 80]).put(7, &[6]).put_be32(6, 7).put_text(26, "a comment");
    let two = address(20, 2).put(21, &[8]).put(17, &[2; 6]).put_be32(10, 9).put_text(23, "eth0").put_text(18, "s");
    let elements = Builder::default().put_nested(7, &one).put_nested(7, &two.put(27, &[1; 8]).put_be32(8, 0x86));
    let header = Builder::default().put_be32(18, 1024).put_be32(19, 65536).put(20, &[24]).put_be32(6, 0);
    let message = Builder::after(&[2, 0, 0, 0]).put(1, &[6]).put_text(2, "s").put_text(3, kind).put(5, &[2]);
    message.put(4, &[7]).put_nested(7, &header).put_nested(8, &elements).finish()
}

const KINDS: [&str; 18] = [
    "bitmap:ip",
    "bitmap:ip,mac",
    "bitmap:port",
    "hash:ip",
    "hash:mac",
    "hash:ip,mac",
    "hash:ip,mark",
    "hash:ip,port",
    "hash:ip,port,ip",
    "hash:ip,port,net",
    "hash:net",
    "hash:net,iface",
    "hash:net,net",
    "hash:net,port",
    "hash:net,port,net",
    "list:set",
    "hash:planet",
    "",
];

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(5), failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn changed_listings_of_ipsets(kind in proptest::sample::select(&KINDS[..]), cut: proptest::sample::Index,
        changes in vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6), whole: bool) {
        let mut message = listing(kind);
        for (at, byte) in changes {
            let at = at.index(message.len());
            message[at] = byte;
        }
        if !whole {
            message.truncate(cut.index(message.len()));
        }
        let mut sets = Vec::new();
        let _ = add_listed(&message, &mut sets);
        let _ = add_listed(&message, &mut sets);
        for set in &sets {
            prop_assert!(set.save().ends_with('\n'));
            let text = serde_json::to_string(set).expect("JSON");
            prop_assert_eq!(&serde_json::from_str::<nslens::model::IpSet>(&text).expect("a set"), set);
        }
    }

    #[test]
    fn rules_that_name_sets_by_any_bytes(target: bool, revision in 0..6_u8, length in 0..9_usize,
        data in vec(prop_oneof![4 => 0..5_u8, 1 => any::<u8>()], 64)) {
        let names: SetNames = (0..6_u16).map(|index| (index, format!("s{index}"))).collect();
        let data = &data[..length * 8];
        let mut text = String::new();
        if target {
            let Some(target) = named_target("SET", revision, data, &names) else { return Ok(()) };
            target.save(&mut text);
        } else {
            let Some(part) = named_match("set", revision, data, &names) else { return Ok(()) };
            part.save(&mut text);
        }
        let Ok(nslens::model::Body::Xt(rule)) = parse_body(text.trim(), false, &|_| false) else {
            return Err(TestCaseError::fail(text));
        };
        prop_assert_eq!(rule.options(), text.trim());
        prop_assert!(rule.unknown().is_empty(), "{}", text);
    }
}
