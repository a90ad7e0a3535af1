//! A second opinion: the node's own save programs beside nslens, agreeing, leaving things out, absent, and lying.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{Lab, require_root};

const REAL: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn asked(lab: &Lab, path: &str, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nslens"));
    command.args(["rules", &format!("pid/{}", lab.pid()), "--cross-check"]).args(words);
    command.env_clear().env("PATH", path).output().expect("nslens runs")
}

/// What is printed, which must end so.
fn text(lab: &Lab, path: &str, words: &[&str], exit: i32) -> String {
    let output = asked(lab, path, words);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{text}\n{errors}");
    assert_eq!(errors, "", "{text}");
    text
}

/// All that a second opinion could change.
fn state(lab: &Lab) -> String {
    lab.sh("nft list ruleset; cat /proc/net/ip_tables_names /proc/net/ip6_tables_names; nft --handle list chains")
}

const RULES: &str = "
    $tool -w -t nat -N MESH
    $tool -w -t nat -A OUTPUT -p tcp -m owner ! --uid-owner 1337 -m comment --comment 'to the proxy' -j MESH
    $tool -w -t nat -A MESH -p tcp -j REDIRECT --to-ports 15001
    $tool -w -t filter -A INPUT -p tcp -m multiport --dports 80,443 -j ACCEPT";

#[test]
fn both_see_the_same_and_nothing_is_changed() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    for tool in ["iptables-legacy", "ip6tables-legacy", "iptables-nft", "ip6tables-nft"] {
        lab.sh(&format!("tool={tool}\n{RULES}"));
    }
    let before = state(&lab);
    let said = text(&lab, REAL, &[], 0);
    for program in ["iptables-legacy-save", "ip6tables-legacy-save", "iptables-nft-save", "ip6tables-nft-save"] {
        for table in ["nat", "filter"] {
            let line = said.lines().find(|line| line.starts_with(&format!("{table} · {program} v")));
            assert!(line.is_some_and(|line| line.contains(": the same, ")), "{table} {program}\n{said}");
        }
    }
    assert!(said.contains("iptables-legacy tables present"), "what the program itself says is passed on:\n{said}");
    assert_eq!(state(&lab), before, "looking changes nothing");
    let json: Value = serde_json::from_slice(&asked(&lab, REAL, &["-o", "json"]).stdout).expect("JSON");
    let checked = json["cross_check"].as_array().expect("a list");
    assert_eq!(checked.len(), 8);
    assert!(checked.iter().all(|table| table["differences"].as_array().is_some_and(Vec::is_empty)), "{checked:?}");
    assert_eq!(checked[0]["answered"], true);
}

#[test]
fn a_table_that_lacks_base_chains_gets_none() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    // iptables-nft -S would make the other three.
    lab.sh("iptables-nft -w -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001");
    let before = state(&lab);
    let said = text(&lab, REAL, &["-4"], 0);
    assert!(said.contains("nat · iptables-nft-save"), "{said}");
    // Not even a table that nobody made is asked for.
    assert!(!said.contains("filter ·") && !said.contains("legacy"), "{said}");
    assert_eq!(state(&lab), before);
    let empty = Lab::new();
    assert!(text(&empty, REAL, &[], 0).contains("no table of iptables"), "an empty namespace");
    assert_eq!(state(&empty), "");
}

#[test]
fn chains_that_the_programs_cannot_express_are_named() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    lab.sh("iptables-nft -w -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001
            nft add chain ip nat early '{ type nat hook output priority -110; }'
            nft add rule ip nat early meta skuid '{ 1, 2 }' tcp dport '{ 80, 443 }' redirect to :15002");
    let said = text(&lab, REAL, &["-4"], 1);
    for words in ["nat · iptables-nft-save", "chain early on output: 1 rules", "nf_tables' own terms", "it says: Table"]
    {
        assert!(said.contains(words), "{words:?} is missing in\n{said}");
    }
    // A table that holds nothing else is refused as a whole, and the program ends well all the same.
    let lab = Lab::new();
    lab.sh("nft add table ip nat
            nft add chain ip nat output '{ type nat hook output priority 5; }'
            nft add rule ip nat output ip daddr '{ 10.0.0.1, 10.0.0.9 }' tcp dport 80 redirect to :15001");
    let said = text(&lab, REAL, &["-4"], 1);
    assert!(said.contains("incompatible") && said.contains("chain output on output"), "{said}");
}

#[test]
fn a_missing_program_is_said_and_the_rules_are_shown() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    lab.sh("iptables-nft -w -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001");
    let nowhere = tempfile::tempdir().expect("a folder");
    let said = text(&lab, &nowhere.path().display().to_string(), &["-4"], 5);
    assert!(
        said.contains("proxy at 15001") && said.contains("no iptables-save for nft ip where nslens runs"),
        "{said}"
    );
}

/// A folder with a program of this name that prints this, and says that it is of this version.
fn liar(folder: &Path, name: &str, version: &str, prints: &str) -> String {
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *' -V '*) echo '{name} {version}';; *) /bin/cat <<'END'\n{prints}\nEND\n;; esac\n"
    );
    let path = folder.join(name);
    std::fs::write(&path, script).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("made a program");
    folder.display().to_string()
}

#[test]
fn differences_are_explained() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    lab.sh(
        "iptables-nft -w -t nat -A OUTPUT -p tcp -m tcp --dport 80 -m owner --uid-owner 7 -j REDIRECT --to-ports 15001",
    );
    const CHAINS: &str =
        "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [5:6]\n:POSTROUTING ACCEPT [0:0]\n";
    for (rule, why, exit) in [
        (
            "-A OUTPUT -p tcp -m tcp --dport 80 -m owner --uid-owner 7 -j REDIRECT --to-ports 15001",
            "the same, 5 lines",
            0,
        ),
        ("-A OUTPUT -p tcp -m owner --uid-owner 7 -m tcp --dport 80 -j REDIRECT --to-ports 15001", "another order", 1),
        (
            "-A OUTPUT -p 6 -m tcp --dport 80 -m owner --uid-owner 7 -j REDIRECT --to-ports 15001",
            "write it differently",
            1,
        ),
        (
            "-A OUTPUT -p tcp -m tcp --dport 80 -m owner --uid-owner 7 -j REDIRECT --to-ports 15009",
            "not the same rule",
            1,
        ),
        ("-A OUTPUT -p tcp -m tcp [unsupported revision] -j REDIRECT", "older than the rule", 1),
        ("", "in the meantime", 1),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = liar(folder.path(), "iptables-nft-save", "v1.8.2 (nf_tables)", &format!("{CHAINS}{rule}\nCOMMIT"));
        let said = text(&lab, &path, &["-4"], exit);
        assert!(said.replace("\n    ", " ").contains(why), "{why:?} is missing in\n{said}");
        assert!(said.contains("iptables-nft-save v1.8.2"), "{said}");
    }
    // The plain name serves where it is of the right subsystem, and only there.
    let same = format!(
        "{CHAINS}-A OUTPUT -p tcp -m tcp --dport 80 -m owner --uid-owner 7 -j REDIRECT --to-ports 15001\nCOMMIT"
    );
    for (version, exit) in [("v1.8.9 (nf_tables)", 0), ("v1.8.9 (legacy)", 5), ("v1.6.1", 5)] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = liar(folder.path(), "iptables-save", version, &same);
        text(&lab, &path, &["-4"], exit);
    }
    // One that fails is not taken for one that sees nothing.
    let folder = tempfile::tempdir().expect("a folder");
    let path = liar(
        folder.path(),
        "iptables-nft-save",
        "v1.8.9 (nf_tables)",
        "END\necho 'no \u{1b}[31mright' >&2; exit 4; cat <<END",
    );
    let said = text(&lab, &path, &["-4"], 5);
    assert!(said.contains("printed nothing") && said.contains("\\x1b[31mright"), "{said}");
}

#[test]
fn a_file_has_no_programs_to_ask() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/istio.v4.rules");
    let mut command = Command::new(env!("CARGO_BIN_EXE_nslens"));
    let output = command.args(["rules", &file.display().to_string(), "--cross-check"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
