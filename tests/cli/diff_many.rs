//! `diff` of many workloads at once, and in the forms of other programs; `snapshot --verify`.

use serde_json::{Value, json};

use crate::check_forms::fits;
use crate::program::{Folder, fixture, nslens, text_of};

/// A saved pod under a name, changed by `change`.
fn pod(name: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut snapshot: Value = serde_json::from_str(&text_of("docs/productpage.json")).expect("a snapshot");
    snapshot["workload"]["name"] = json!(name);
    change(&mut snapshot);
    snapshot.to_string()
}

/// Without its rules.
fn bare(snapshot: &mut Value) {
    for ruleset in snapshot["rulesets"].as_array_mut().expect("rule sets") {
        ruleset["tables"] = json!([]);
    }
}

/// Two folders: one pod the same, one without rules, one started anew, one gone, one new.
fn folders() -> (Folder, Folder) {
    let (old, new) = (Folder::new(), Folder::new());
    old.put("a.json", pod("same", |_| {}));
    old.put("b.json", pod("db-0", |_| {}));
    old.put("c.json", pod("web-6b746f74dc-9rlmh", |_| {}));
    old.put("d.json", pod("gone", |_| {}));
    new.put("1.json", pod("web-7c5ddbdf54-zzzzz", |_| {}));
    new.put("2.json", pod("db-0", bare));
    new.put("3.json", pod("same", |_| {}));
    new.put("4.json", pod("fresh", |_| {}));
    (old, new)
}

#[test]
fn workloads_of_two_folders_are_paired_and_each_pair_is_told() {
    let (old, new) = folders();
    let run = nslens(&["diff", &old.path(""), &new.path("")]).ended(1);
    for line in [
        "= default/same",
        "! default/db-0",
        "= default/web-6b746f74dc-9rlmh → default/web-7c5ddbdf54-zzzzz",
        "- default/gone",
        "+ default/fresh",
    ] {
        assert!(run.out.lines().any(|told| told.starts_with(line)), "{line}:\n{}", run.out);
    }
    assert!(run.out.ends_with("5 workloads: 2 equal, 1 different, 1 gone, 1 appeared\n"), "{}", run.out);
    let json = nslens(&["diff", &old.path(""), &new.path(""), "-o", "json"]).ended(1).json();
    assert_eq!((&json["schema"], &json["equal"]), (&json!("nslens.sweep/v1"), &json!(false)));
    let equal: Vec<&Value> = json["documents"].as_array().expect("documents").iter().map(|one| &one["equal"]).collect();
    assert_eq!(equal.iter().filter(|equal| ***equal == json!(true)).count(), 2, "{equal:?}");
    assert_eq!((&json["gone"][0]["name"], &json["appeared"][0]["name"]), (&json!("gone"), &json!("fresh")));
    let lines = nslens(&["diff", &old.path(""), &new.path(""), "-o", "jsonl"]).ended(1);
    assert_eq!(lines.out.lines().count(), 3);
    nslens(&["diff", &old.path(""), &old.path("")]).ended(0);
    nslens(&["diff", &old.path(""), &new.path(""), "-n", "elsewhere"]).ended(0);
}

#[test]
fn one_that_cannot_be_read_costs_one_line() {
    let (old, new) = folders();
    new.put("5.json", "{\"schema\":\"nslens.snapshot/v1\",");
    let run = nslens(&["diff", &old.path(""), &new.path("")]).ended(1);
    assert!(run.out.contains("5.json") && run.out.contains("could not be looked at"), "{}", run.out);
    new.put("2.json", pod("db-0", |_| {}));
    let json = nslens(&["diff", &old.path(""), &new.path(""), "-o", "json"]).ended(1).json();
    assert_eq!(json["failed"].as_array().map(Vec::len), Some(1));
    nslens(&["diff", &old.path(""), &fixture("save/legacy.rules")]).ended(2);
    nslens(&["diff", &old.path(""), "./no-such-folder"]).ended(3);
    nslens(&["diff", "-A"]).ended(2);
}

#[test]
fn other_programs_get_their_forms() {
    let (old, new) = folders();
    let form = |form: &str| nslens(&["diff", &old.path(""), &new.path(""), "-o", form]).ended(1).out;
    let junit = form("junit");
    assert_eq!(junit.matches("<testsuite name=").count(), 5, "{junit}");
    if let Some(judged) = fits(&junit) {
        judged.unwrap_or_else(|told| panic!("{told}\n{junit}"));
    }
    let failed = |name: &str| {
        let suite =
            junit.split("<testsuite ").find(|suite| suite.starts_with(&format!("name=\"{name}\""))).expect("a suite");
        suite.matches("<failure ").count()
    };
    assert_eq!((failed("default/same"), failed("default/db-0"), failed("default/gone")), (0, 2, 1));
    let markdown = form("markdown");
    assert!(markdown.contains("| default/db-0 | rules differ in"), "{markdown}");
    assert!(markdown.contains("| default/web-6b746f74dc-9rlmh → default/web-7c5ddbdf54-zzzzz | equal |"), "{markdown}");
    assert_eq!(markdown.matches("```").count(), 2, "one of them differs: {markdown}");
    let unified = form("unified");
    assert!(
        unified.contains("\n-A ISTIO_OUTPUT -j ISTIO_REDIRECT\n") || unified.contains("\n--A ISTIO_OUTPUT"),
        "{unified}"
    );
}

#[test]
fn a_patch_of_rules_is_one_that_patch_takes() {
    let folder = Folder::new();
    let base =
        "*nat\n:OUTPUT ACCEPT [0:0]\n:A - [0:0]\n-A OUTPUT -j A\n-A A -p tcp -j REDIRECT --to-ports 15001\nCOMMIT\n";
    let (before, after) = (folder.put("a.rules", base), folder.put("b.rules", base.replace("15001", "15002")));
    let run = nslens(&["diff", &before, &after, "--rules", "-o", "unified"]).ended(1);
    let wanted = format!(
        "--- {before}\n+++ {after}\n@@ -1,5 +1,5 @@\n # A · nat · iptables-legacy · ipv4\n :A -\n\
         --A A -p tcp -j REDIRECT --to-ports 15001\n+-A A -p tcp -j REDIRECT --to-ports 15002\n \
         # OUTPUT · nat · iptables-legacy · ipv4\n :OUTPUT ACCEPT (hook output, priority -100)\n"
    );
    // The last line of context is cut off where the text ends.
    assert!(run.out.starts_with(wanted.lines().take(2).collect::<Vec<_>>().join("\n").as_str()), "{}", run.out);
    let body: Vec<&str> = run.out.lines().skip(3).collect();
    let (old, new) = (
        body.iter().filter(|line| !line.starts_with('+')).count(),
        body.iter().filter(|line| !line.starts_with('-')).count(),
    );
    assert_eq!(run.out.lines().nth(2), Some(format!("@@ -1,{old} +1,{new} @@").as_str()), "{}", run.out);
}

#[test]
fn markup_of_others_stays_text() {
    let (old, new) = (Folder::new(), Folder::new());
    let hostile = "we`b|<b>**x**\u{1b}[31m";
    old.put("a.json", pod(hostile, |_| {}));
    new.put("a.json", pod(hostile, bare));
    let markdown = nslens(&["diff", &old.path(""), &new.path(""), "-o", "markdown"]).ended(1).out;
    assert!(!markdown.contains('\u{1b}') && !markdown.contains("<b>"), "{markdown}");
    assert!(markdown.contains("| default/we\\`b\\|\\<b\\>\\*\\*x"), "{markdown}");
    let junit = nslens(&["diff", &old.path(""), &new.path(""), "-o", "junit"]).ended(1).out;
    assert!(!junit.contains('\u{1b}') && !junit.contains("<b>"), "{junit}");
}

#[test]
fn what_was_written_is_verified() {
    let run = nslens(&["snapshot", "--verify", &fixture("docs/productpage.json")]).ended(0);
    assert!(run.out.starts_with("ok ") && run.out.contains("18 rules, 12 sockets"), "{}", run.out);
    let (old, _) = folders();
    let run = nslens(&["snapshot", "--verify", &old.path("")]).ended(0);
    assert_eq!(run.out.lines().filter(|line| line.starts_with("ok ")).count(), 4, "{}", run.out);
    let text = text_of("docs/productpage.json");
    old.put("e.json", &text[..text.len() / 2]);
    old.put("f.json", "*nat\nCOMMIT\n");
    let run = nslens(&["snapshot", "--verify", &old.path("")]).ended(2);
    let damaged: Vec<&str> = run.out.lines().filter(|line| line.starts_with("damaged ")).collect();
    assert!(damaged.len() == 2 && damaged[0].contains("e.json") && damaged[1].contains("f.json"), "{damaged:?}");
    // A manifest tells what has to be there.
    let manifest = |bytes: usize, file: &str| {
        json!({"schema": "nslens.manifest/v1", "nslens": "0", "node": "n", "taken": 1, "redacted": false, "unread": [], "failed": [],
            "workloads": [{"file": file, "bytes": bytes, "kind": "pod", "name": "same", "namespace": "default"}]})
        .to_string()
    };
    let whole = Folder::new();
    let saved = pod("same", |_| {});
    whole.put("a.json", &saved);
    whole.put("manifest.json", manifest(saved.len(), "a.json"));
    nslens(&["snapshot", "--verify", &whole.path("")]).ended(0);
    for (told, why) in [
        (manifest(saved.len() + 1, "a.json"), "bytes"),
        (manifest(5, "b.json"), "it is not there"),
        ("{}".to_owned(), "manifest.json"),
    ] {
        whole.put("manifest.json", told);
        let run = nslens(&["snapshot", "--verify", &whole.path("")]).ended(2);
        assert!(run.out.contains(why) || run.err.contains(why), "{why}: {}{}", run.out, run.err);
    }
}

#[test]
fn an_archive_is_a_folder_in_one_file() {
    let (old, new) = folders();
    let elsewhere = Folder::new();
    let tar = |folder: &Folder, name: &str| {
        let path = elsewhere.path(name);
        let mut tar = std::process::Command::new("tar");
        let done = tar.args(["--format=ustar", "-C", &folder.path(""), "-caf", &path, "."]).status();
        assert!(done.expect("tar starts").success());
        path
    };
    let (before, after) = (tar(&old, "old.tar.gz"), tar(&new, "new.tar"));
    let told = |before: &str, after: &str| {
        let run = nslens(&["diff", before, after]).ended(1);
        run.out.lines().take(5).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(told(&before, &after), told(&old.path(""), &new.path("")));
    nslens(&["snapshot", "--verify", &before]).ended(0);
    let check = nslens(&["check", &before, "-o", "json"]).json();
    assert_eq!(check["documents"].as_array().map(Vec::len), Some(4));
    // For one of them it has to be unpacked.
    let run = nslens(&["rules", &before]).ended(2);
    assert!(run.err.contains("archive of many snapshots") && run.err.contains("tar"), "{}", run.err);
    let bytes = std::fs::read(&before).expect("the archive");
    let cut = elsewhere.put("cut.tar.gz", &bytes[..bytes.len() / 2]);
    nslens(&["snapshot", "--verify", &cut]).ended(2);
}

#[test]
fn what_is_too_large_for_its_file_is_left_out_and_said() {
    let file = fixture("docs/productpage.json");
    let run = nslens(&["snapshot", &file, "--max-size", "20k"]).ended(5);
    assert!(run.out.len() <= 20 << 10, "{} bytes", run.out.len());
    assert!(run.err.contains("5 of 5 were left out of the file for its size"), "{}", run.err);
    let left = run.json();
    assert!(left["unread"].as_array().is_some_and(|unread| !unread.is_empty()));
    nslens(&["snapshot", &file, "--max-size", "1k"]).ended(2);
    for wrong in ["0", "1T", "x", "300M", "-5"] {
        nslens(&["snapshot", &file, "--max-size", wrong]).ended(2);
    }
    assert_eq!(nslens(&["snapshot", &file, "-q"]).ended(0).json()["unread"], json!([]));
}
