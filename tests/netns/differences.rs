//! What differs between a kernel and a text of it: nothing, wherever the text tells all; and every change of what somebody wrote.

use std::collections::BTreeMap;

use crate::manual;
use crate::native::load;
use crate::rules::{nslens, printed};
use crate::support::{Lab, require_root};

/// The differences between a file and the lab: exit code, and the lines with a sign before them.
fn differences(lab: &Lab, text: &str, suffix: &str) -> (Option<i32>, Vec<String>) {
    let file = tempfile::Builder::new().suffix(suffix).tempfile().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    let run = nslens(lab, &["diff", &format!("file/{}", file.path().display()), "--rules"]);
    let lines = String::from_utf8_lossy(&run.stdout).into_owned();
    let signed = lines
        .lines()
        .filter(|line| line.starts_with(['+', '-']) && !line.starts_with("--- ") && !line.starts_with("+++ "));
    (run.status.code(), signed.map(str::to_owned).collect())
}

#[test]
#[expect(clippy::print_stdout, reason = "the counts are wanted, with --nocapture")]
fn the_manual_differs_from_its_own_text_in_nothing_but_what_the_text_does_not_tell() {
    if !require_root() {
        return;
    }
    const TABLES: [(&str, &str); 4] = [
        ("statements", include_str!("../fixtures/nft/manual/statements.txt")),
        ("options", include_str!("../fixtures/nft/manual/options.txt")),
        ("packet", include_str!("../fixtures/nft/manual/packet.txt")),
        ("fields", include_str!("../fixtures/nft/manual/fields.txt")),
    ];
    for (name, table) in TABLES {
        let lab = manual::lab();
        // Of the many fields every seventh line, another one than elsewhere.
        let (first, step) = if name == "fields" { (3, 7) } else { (0, 1) };
        let lines: Vec<_> = manual::lines(table).into_iter().skip(first).step_by(step).collect();
        let taken = manual::load_rules(&lab, &lines, &mut BTreeMap::new());
        let (code, signed) = differences(&lab, &lab.sh("nft list ruleset"), ".nft");
        // A device's number does not stand in the text, and its name is no longer in the kernel's rule.
        let of_text: Vec<&String> = signed.iter().filter(|line| line.starts_with('+')).collect();
        let other: Vec<&&String> = of_text.iter().filter(|line| !line.contains("eth0")).collect();
        println!("{name}: {taken} rules, {} lines of difference, {} of them not of devices", signed.len(), other.len());
        assert!(other.is_empty() && of_text.len() * 2 == signed.len(), "{name}: {signed:#?}");
        assert!(taken > 100 && signed.len() <= 18, "{name}: {signed:#?}");
        assert_eq!(code, Some(i32::from(!signed.is_empty())), "{name}");
    }
}

/// Before, after, and what of it is named as changed.
const CHANGES: [(&str, &str, &str); 12] = [
    ("quota q { over 10 mbytes }", "quota q { over 20 mbytes }", "quota q { over 20 mbytes }"),
    ("quota q { over 10 mbytes }", "quota q { 10 mbytes }", "quota q { 10 mbytes }"),
    ("limit l { rate 5/second }", "limit l { rate 6/second }", "rate 6/second"),
    ("ct helper h { type \"ftp\" protocol tcp; }", "ct helper h { type \"sip\" protocol udp; }", "\"sip\""),
    (
        "ct timeout t { protocol tcp; policy = { close: 4 }; }",
        "ct timeout t { protocol tcp; policy = { close: 5 }; }",
        "close : 5",
    ),
    ("synproxy s { mss 1460; wscale 7; }", "synproxy s { mss 1440; wscale 7; }", "mss 1440"),
    ("counter k { }", "counter k2 { }", "counter k2"),
    ("set s { type ipv4_addr; size 10; }", "set s { type ipv4_addr; size 11; }", "size 11"),
    ("set s { type ipv4_addr; timeout 5m; }", "set s { type ipv4_addr; timeout 6m; }", "timeout 6m"),
    ("set s { type ipv4_addr; }", "set s { type ipv4_addr; counter; }", "counter"),
    ("set s { typeof ip saddr; }", "set s { typeof ip daddr; }", "ip daddr"),
    (
        "chain c { type nat hook output priority 0; }\n",
        "chain c { type route hook output priority 0; }\n",
        "type route",
    ),
];

#[test]
fn what_somebody_declared_is_compared_and_what_was_counted_is_not() {
    if !require_root() {
        return;
    }
    // A chain without a rule and with the usual policy is as none.
    let table = |member: &str| {
        let member = member.replace("0; }\n", "0; counter; }\n");
        format!("table ip t {{\n {member}\n}}\n")
    };
    for (before, after, named) in CHANGES {
        let (old, new) = (Lab::new(), Lab::new());
        assert!(load(&old, &table(before)) && load(&new, &table(after)), "{before} {after}");
        let text = old.sh("nft list ruleset");
        assert_eq!(differences(&old, &text, ".nft"), (Some(0), Vec::new()), "{before}");
        let (code, signed) = differences(&new, &text, ".nft");
        assert_eq!(code, Some(1), "{before} and {after} are taken for the same");
        assert!(signed.iter().any(|line| line.contains(named)), "{named}: {signed:?}");
        // The other way round, and from a snapshot.
        assert_eq!(differences(&old, &new.sh("nft list ruleset"), ".nft").0, Some(1), "{after} and {before}");
        assert_eq!(differences(&new, &printed(&old, &["snapshot"]), ".json").0, Some(1), "{before} and {after}");
    }
    let lab = Lab::new();
    assert!(load(
        &lab,
        "table ip t {\n counter k { }\n quota q { over 1 mbytes }\n chain o { type filter hook output priority 0; \n counter name k quota name q\n }\n}\n"
    ));
    let text = lab.sh("nft list ruleset");
    lab.command("bash").args(["-c", "echo hi > /dev/udp/127.0.0.1/9"]).status().expect("a packet");
    assert!(!lab.sh("nft list ruleset").contains("packets 0 "), "nothing was counted");
    assert_eq!(differences(&lab, &text, ".nft"), (Some(0), Vec::new()));
}
