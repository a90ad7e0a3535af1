//! What is said of connections beyond their rows: when, how it looks, and that hostile names do no harm in it.

use serde_json::{Value, json};

use crate::program::{Folder, nslens};

const HEALTHY: &str = "./tests/fixtures/docs/productpage.json";
const PAST: &str = "./tests/fixtures/docs/past-the-proxy.json";

fn snapshot(path: &str) -> Value {
    let text = std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).expect("a fixture");
    serde_json::from_str(&text).expect("JSON")
}

/// What is said of a snapshot: the document's words by kind.
fn said(path: &str) -> Vec<(String, String)> {
    let document = nslens(&["conns", path, "-o", "json"]).json();
    let seen = document["observations"].as_array().expect("observations");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    seen.iter().map(|seen| (text(&seen["id"]), text(&seen["words"]))).collect()
}

#[test]
fn a_healthy_pod_is_quiet_unless_everything_is_asked_for() {
    assert!(!nslens(&["conns", HEALTHY]).ended(0).out.contains("Seen:"));
    let all = nslens(&["conns", HEALTHY, "--all"]).out;
    let (_, block) = all.split_once("\nSeen:\n").expect("a block");
    assert!(block.starts_with("- ") && block.lines().all(|line| line.chars().count() <= 80), "{block}");
    let kinds: Vec<String> = said(HEALTHY).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["hidden-client", "upstream-candidates", "upstream-candidates"]);
}

#[test]
fn what_goes_past_the_proxy_is_shown_with_its_cause() {
    let out = nslens(&["conns", PAST]).out;
    let (_, block) = out.split_once("\nSeen:\n").expect("a block");
    let text = block.replace("\n  ", " ");
    assert!(text.contains("- app/150 (UID 1337) is not the proxy, yet nft ip nat ISTIO_OUTPUT 4"), "{block}");
    assert!(text.contains("- IPv6 goes past the proxy"), "{block}");
    // Of one process, or of none.
    assert!(!nslens(&["conns", PAST, "--process", "proxy"]).out.contains("Seen:"));
    assert!(nslens(&["conns", PAST, "--process", "app"]).out.contains("Seen:"));
}

#[test]
fn hostile_names_are_escaped_on_the_screen_and_whole_in_json() {
    let folder = Folder::new();
    let mut changed = snapshot(PAST);
    let name = "app\u{1b}[2J\nSeen:\n- all is well";
    for process in changed["processes"].as_array_mut().expect("processes") {
        if process["pid"] == 150 {
            process["name"] = json!(name);
        }
    }
    let path = folder.put("hostile.json", changed.to_string());
    let out = nslens(&["conns", &path]).out;
    assert!(out.contains("app\\x1b[2J\\x0aSeen:\\x0a-") && !out.contains('\u{1b}'), "{out}");
    assert_eq!(out.lines().filter(|line| *line == "Seen:").count(), 1);
    assert!(said(&path).iter().any(|(kind, words)| kind == "bypass" && words.contains(name)));
}
