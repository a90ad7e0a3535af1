//! `check --expect`: what a file says is held against the workload, and told in every form; `--write-expect` writes such a file.

use serde_json::Value;

use crate::check_many::{called, pod, without_ipv6, without_rules};
use crate::program::{Folder, nslens};

/// A good pod, and a file that it does not meet: the proxy's own user is expected to be redirected.
fn unmet() -> (Folder, String, String) {
    let folder = Folder::new();
    let good = folder.put("good.json", pod(without_ipv6));
    let expect = folder.put(
        "expect.yaml",
        "mesh: istio\nfamilies: [ip]\npackets:\n  - destination: 10.0.0.5:443\n    uid: 1000\n    gid: 1000\n    \
         expect: {verdict: delivered, destination: '127.0.0.1:15001'}\n  - destination: 10.0.0.5:443\n    uid: 1337\n    gid: 1337\n    \
         expect: {destination: '127.0.0.1:15001'}\n",
    );
    (folder, good, expect)
}

const PART: &str =
    "uid 1337 → 10.0.0.5:443: expected 127.0.0.1:15001, got sent, because rule nft ip nat ISTIO_OUTPUT 4";

#[test]
fn what_is_not_met_fails_and_says_why() {
    let (_folder, good, expect) = unmet();
    nslens(&["check", &good]).ended(0);
    let run = nslens(&["check", &good, "--expect", &expect]).ended(1);
    let told: String = run.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains(PART), "{}", run.out);
    assert!(told.contains("(-A ISTIO_OUTPUT ") && told.contains("--uid-owner 1337"), "the rule's text: {}", run.out);
    assert!(run.out.contains("\n✗ expectations\n") && run.out.contains("\n1 not as expected: fail\n"), "{}", run.out);
    assert!(!told.contains("uid 1000 →"), "what is met is not told: {}", run.out);
}

#[test]
fn every_form_tells_it() {
    let (_folder, good, expect) = unmet();
    let run = |form: &str| nslens(&["check", &good, "--expect", &expect, "-o", form]).ended(1).out;
    let json: Value = serde_json::from_str(&run("json")).expect("JSON");
    assert_eq!(json["verdict"], "fail");
    let kept = json["expectations"].as_array().expect("expectations");
    assert_eq!(kept.iter().map(|kept| &kept["met"]).collect::<Vec<_>>(), [true, true, false]);
    assert!(kept[2]["why"].as_str().is_some_and(|why| why.starts_with("expected 127.0.0.1:15001, got sent")), "{json}");
    let junit = run("junit");
    assert!(
        junit.contains("failures=\"1\"") && junit.contains("type=\"expectation\"") && junit.contains(PART),
        "{junit}"
    );
    let sarif: Value = serde_json::from_str(&run("sarif")).expect("JSON");
    let result = &sarif["runs"][0]["results"][0];
    let index = usize::try_from(result["ruleIndex"].as_u64().expect("an index")).expect("small");
    assert_eq!(
        (&result["ruleId"], &sarif["runs"][0]["tool"]["driver"]["rules"][index]["id"]),
        (&Value::from("expect"), &Value::from("expect"))
    );
    assert!(result["message"]["text"].as_str().is_some_and(|text| text.contains(PART)), "{result}");
    let github = run("github");
    assert!(github.starts_with("::error title=default/productpage%3A expect::") && github.contains(PART), "{github}");
    let tap = run("tap");
    assert_eq!(tap.matches("\nnot ok ").count(), 1, "{tap}");
    assert!(tap.contains("got sent, because rule"), "{tap}");
    let many = nslens(&["check", &good, &good, "--expect", &expect]).ended(1).out;
    assert!(many.contains("\n2 workloads: 2 fail\n") && many.contains("1 not as expected"), "{many}");
}

#[test]
fn what_cannot_be_told_is_neither_met_nor_unmet() {
    let (folder, ..) = unmet();
    let rules = folder.put("rules.txt", crate::program::text_of("docs/istio.rules"));
    let expect =
        folder.put("open.yaml", "packets:\n  - {direction: in, destination: 'self:80', expect: {verdict: refused}}\n");
    let run = nslens(&["check", &rules, "--expect", &expect, "-o", "json"]).ended(5);
    assert_eq!(run.json()["expectations"][0]["met"], Value::Null);
    assert_eq!(run.json()["verdict"], "undecided");
    nslens(&["check", &rules, "--expect", &expect, "--ignore-undecided"]).ended(0);
}

#[test]
fn a_file_may_accept_findings_and_demand_a_mesh() {
    let folder = Folder::new();
    let (both, lost) = (folder.put("both.json", pod(|_| ())), folder.put("lost.json", pod(without_rules)));
    nslens(&["check", &both]).ended(1);
    let expect = folder.put("allow.yaml", "allow:\n  - {id: RDR402, because: nobody dials IPv6}\n");
    let run = nslens(&["check", &both, "--expect", &expect]).ended(0);
    assert!(run.out.contains("allowed: nobody dials IPv6"), "{}", run.out);
    let plain = folder.put("plain.txt", "*nat\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n");
    let (any, none) = (folder.put("any.yaml", "mesh: any\n"), folder.put("none.yaml", "mesh: none\n"));
    nslens(&["check", &plain, "--ignore-undecided"]).ended(0);
    nslens(&["check", &plain, "--ignore-undecided", "--expect", &any]).ended(1);
    nslens(&["check", &plain, "--ignore-undecided", "--expect", &none]).ended(0);
    let run = nslens(&["check", &both, "--expect", &none, "--allow", "RDR402=x"]).ended(1);
    assert!(run.out.contains("mesh: expected none, got istio"), "{}", run.out);
    let families = folder.put("families.yaml", "families: [ip, ip6]\n");
    let run = nslens(&["check", &both, "--expect", &families, "--allow", "RDR402=x"]).ended(1);
    assert!(run.out.contains("IPv6: expected to be redirected") && !run.out.contains("IPv4: expected"), "{}", run.out);
    nslens(&["check", &lost, "--expect", &families]).ended(1);
}

#[test]
fn what_is_written_from_a_good_pod_is_met_by_it_and_not_by_a_broken_one() {
    let folder = Folder::new();
    let good = folder.put("good.json", pod(without_ipv6));
    let file = folder.path("expect.yaml");
    nslens(&["check", &good, &format!("--write-expect={file}")]).ended(0);
    let written = std::fs::read_to_string(&file).expect("a file");
    assert_eq!(nslens(&["check", &good, "--write-expect"]).ended(0).out, written, "the same on standard output");
    assert!(written.starts_with("---\nmesh: istio\nfamilies:\n  - ip\npackets:\n"), "{written}");
    assert!(written.contains("\"self:9080\"") && written.contains("127.0.0.1:15001"), "{written}");
    let run = nslens(&["check", &good, "--expect", &file]).ended(0);
    assert!(run.out.contains("✓ expectations\n"), "{}", run.out);
    // Another pod of the same kind has another address.
    let other = folder
        .put("other.json", pod(without_ipv6).replace("10.88.7.2\"", "10.88.7.9\"").replace("10.88.7.2:", "10.88.7.9:"));
    nslens(&["check", &other, "--expect", &file]).ended(0);
    let lost = folder.put(
        "lost.json",
        pod(|pod| {
            without_ipv6(pod);
            without_rules(pod);
            called("lost")(pod);
        }),
    );
    let run = nslens(&["check", &lost, "--expect", &file, "--allow", "RDR001=x"]).ended(1);
    assert!(run.out.contains("expected delivered at 127.0.0.1:15001"), "{}", run.out);
}

#[test]
fn what_is_accepted_is_written_too_and_what_fails_is_not_written() {
    let folder = Folder::new();
    let both = folder.put("both.json", pod(|_| ()));
    let file = folder.path("expect.yaml");
    let option = format!("--write-expect={file}");
    let run = nslens(&["check", &both, &option]).ended(1);
    assert!(run.out.contains("RDR402") && run.err.contains("nothing was written"), "{}{}", run.out, run.err);
    assert!(!std::path::Path::new(&file).exists());
    nslens(&["check", &both, &option, "--allow", "RDR402=nobody dials it"]).ended(0);
    let written = std::fs::read_to_string(&file).expect("a file");
    assert!(written.ends_with("allow:\n  - id: RDR402\n    because: nobody dials it\n"), "{written}");
    nslens(&["check", &both, "--expect", &file]).ended(0);
}

#[test]
fn a_file_that_is_not_understood_is_named_with_the_line() {
    let (folder, good, expect) = unmet();
    let wrong = folder.put(
        "wrong.yaml",
        "mesh: istio\npackets:\n  - destination: 10.0.0.5:443\n    user: 1000\n    expect: {verdict: sent}\n",
    );
    let run = nslens(&["check", &good, "--expect", &wrong]).ended(2);
    assert!(run.err.contains("wrong.yaml") && run.err.contains("user") && run.err.contains("line 4"), "{}", run.err);
    assert_eq!(run.out, "");
    nslens(&["check", &good, "--expect", &folder.path("nowhere.yaml")]).ended(3);
    nslens(&["check", &good, "--expect", &folder.put("bytes.yaml", [0xff, 0xfe])]).ended(2);
    nslens(&["check", &good, "--expect", &expect, "--write-expect"]).ended(2);
    nslens(&["check", &good, &good, "--write-expect"]).ended(2);
}
