//! `check` of many workloads at once: folders and files. One that is broken costs one line.

use serde_json::{Value, json};

use crate::program::{Folder, Run, nslens, text_of};

/// A saved pod that nobody calls and that calls nobody, changed by `change`.
pub(crate) fn pod(change: impl FnOnce(&mut Value)) -> String {
    let mut snapshot: Value = serde_json::from_str(&text_of("docs/productpage.json")).expect("a snapshot");
    snapshot["flows"] = json!([]);
    snapshot["sockets"].as_array_mut().expect("sockets").retain(|socket| socket["peer"].is_null());
    change(&mut snapshot);
    snapshot.to_string()
}

/// It has no IPv6: nothing is wrong with it.
pub(crate) fn without_ipv6(snapshot: &mut Value) {
    for interface in snapshot["interfaces"].as_array_mut().expect("interfaces") {
        let addresses = interface["addresses"].as_array_mut().expect("addresses");
        addresses.retain(|address| !address.to_string().contains("fd00:"));
    }
}

/// Its rules are gone.
pub(crate) fn without_rules(snapshot: &mut Value) {
    for ruleset in snapshot["rulesets"].as_array_mut().expect("rule sets") {
        ruleset["tables"] = json!([]);
    }
}

/// Nothing tells that it is in a mesh, but for its rules.
pub(crate) fn without_metadata(snapshot: &mut Value) {
    for key in ["labels", "annotations"] {
        snapshot["workload"][key] = json!({});
    }
    let containers = snapshot["workload"]["containers"].as_array_mut().expect("containers");
    containers.retain(|container| container["name"] != "istio-proxy");
}

/// It bears another name.
pub(crate) fn called(name: &'static str) -> impl FnOnce(&mut Value) {
    move |snapshot| snapshot["workload"]["name"] = json!(name)
}

/// A good pod, one that lost its rules, one that never was in a mesh, one whose metadata is gone, and a damaged file.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.put(
        "good.json",
        pod(|pod| {
            without_ipv6(pod);
            called("good")(pod);
        }),
    );
    folder.put(
        "lost.json",
        pod(|pod| {
            without_rules(pod);
            called("lost")(pod);
        }),
    );
    folder.put(
        "plain.json",
        pod(|pod| {
            without_rules(pod);
            without_metadata(pod);
            pod["processes"].as_array_mut().expect("processes").retain(|process| process["container"] != "istio-proxy");
            called("plain")(pod);
        }),
    );
    folder.put(
        "silent.json",
        pod(|pod| {
            without_ipv6(pod);
            without_metadata(pod);
            called("silent")(pod);
        }),
    );
    folder.put("damaged.json", "{");
    folder.put(".hidden", "nothing");
    folder
}

/// The line of a workload.
fn line<'a>(run: &'a Run, name: &str) -> &'a str {
    let is_of = |line: &&str| line.split_whitespace().nth(1) == Some(name);
    run.out.lines().find(is_of).unwrap_or_else(|| panic!("no line of {name}:\n{}", run.out))
}

#[test]
fn a_folder_has_one_line_for_each_then_the_findings_then_a_summary() {
    let folder = folder();
    let run = nslens(&["check", &folder.path("")]).ended(1);
    assert!(
        line(&run, "default/good").starts_with("✓ default/good") && line(&run, "default/good").contains("pass"),
        "{}",
        run.out
    );
    assert!(
        line(&run, "default/lost").starts_with('✗') && line(&run, "default/lost").contains("1 error"),
        "{}",
        run.out
    );
    assert!(
        line(&run, "default/plain").starts_with('-') && line(&run, "default/plain").contains("not meshed"),
        "{}",
        run.out
    );
    let damaged = line(&run, &folder.path("damaged.json"));
    assert!(damaged.starts_with('?'), "{damaged}");
    assert!(run.out.contains("could not be looked at: "), "{}", run.out);
    assert!(!run.out.contains(".hidden"), "{}", run.out);
    let first = run.out.find("RDR001").expect("the finding");
    assert!(run.out.find("default/silent").is_some_and(|line| line < first), "{}", run.out);
    assert!(run.out.contains("\nin a mesh, and without rules that redirect: default/lost\n"), "{}", run.out);
    assert!(
        run.out.contains("\nredirected, and nothing says that they are in a mesh: default/silent\n"),
        "{}",
        run.out
    );
    assert!(run.out.contains("\n5 workloads: 2 pass, 1 fail, 1 not meshed, 1 could not be looked at\n"), "{}", run.out);
}

#[test]
fn the_exit_codes_of_all_are_put_together() {
    let (good, damaged) = (pod(without_ipv6), "{");
    let folder = Folder::new();
    let good = folder.put("good.json", good);
    let (one, other) = (folder.put("one.json", damaged), folder.put("other.json", damaged));
    nslens(&["check", &good, &good]).ended(0);
    nslens(&["check", &good, &one]).ended(5);
    nslens(&["check", &one, &other]).ended(5);
    let lost = folder.put("lost.json", pod(without_rules));
    nslens(&["check", &good, &one, &lost]).ended(1);
    // A file that is not there is one of them too.
    let run = nslens(&["check", &good, &folder.path("nowhere.json")]).ended(5);
    assert!(run.out.contains("nowhere.json"), "{}", run.out);
}

#[test]
fn only_failures_are_shown_when_that_is_asked() {
    let folder = folder();
    let run = nslens(&["check", &folder.path(""), "-q"]).ended(1);
    assert!(!run.out.contains("default/good") && !run.out.contains("default/plain"), "{}", run.out);
    assert!(run.out.contains("default/lost") && run.out.contains("RDR001"), "{}", run.out);
    let good = folder.path("good.json");
    assert_eq!(nslens(&["check", &good, &good, "-q"]).ended(0).out, "");
    assert_eq!(nslens(&["check", &good, "-q"]).ended(0).out, "");
}

#[test]
fn documents_of_many_are_gathered() {
    let folder = folder();
    let run = nslens(&["check", &folder.path(""), "-o", "json"]).ended(1);
    let sweep = run.json();
    assert_eq!(sweep["schema"], "nslens.sweep/v1");
    assert_eq!(sweep["node"], "worker-1");
    let documents = sweep["documents"].as_array().expect("documents");
    assert_eq!(documents.len(), 4);
    assert!(documents.iter().all(|document| document["schema"] == "nslens.check/v1"));
    assert_eq!(sweep["failed"].as_array().map(Vec::len), Some(1));
    assert_eq!(sweep["failed"][0]["target"]["asked"], folder.path("damaged.json"));
    assert!(sweep["failed"][0]["error"].as_str().is_some_and(|error| error.contains("damaged")));
    let names = |key: &str| -> Vec<&str> {
        let targets = sweep[key].as_array().expect("targets").iter();
        targets.filter_map(|target| target["name"].as_str()).collect()
    };
    assert_eq!((names("meshed_without_rules"), names("rules_without_mesh")), (vec!["lost"], vec!["silent"]));
    let lines = nslens(&["check", &folder.path(""), "-o", "jsonl"]).ended(1);
    let lines: Vec<Value> = lines.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(lines.iter().filter(|line| line["error"].is_string()).count(), 1);
    let alone = nslens(&["check", &folder.path("good.json"), "-o", "json"]).ended(0).json();
    assert!(documents.contains(&alone), "the same document as of one alone");
}

#[test]
fn no_line_is_wider_than_the_screen() {
    let folder = folder();
    let long = "a-very-long-name-of-a-pod-that-some-controller-made-5d8f9c7b6d-x7k2p";
    folder.put("long.json", pod(|pod| called(long)(pod)));
    let run = nslens(&["check", &folder.path("")]).ended(1);
    for line in run.out.lines().filter(|line| !line.contains(&folder.path(""))) {
        assert!(line.chars().count() <= 80, "{line:?}");
    }
    assert!(run.out.contains(long), "{}", run.out);
}

#[test]
fn what_does_not_go_together_is_wrong_usage() {
    let folder = folder();
    let good = folder.path("good.json");
    let run = nslens(&["check", &good, "pod/web"]).ended(2);
    assert!(run.err.contains("pod/web") && run.err.contains("-A"), "{}", run.err);
    nslens(&["check", "-A", &good]).ended(2);
    nslens(&["check", &good, "-l", "app=web"]).ended(2);
    nslens(&["check", "-A", "-l", "="]).ended(2);
    nslens(&["check", "-A", "-c", "web"]).ended(2);
    let empty = Folder::new();
    let run = nslens(&["check", &empty.path("")]).ended(3);
    assert!(run.err.contains("no file"), "{}", run.err);
}
