//! Bytes that a real kernel sent (`tests/fixtures/wire`), decoded and printed: equal to what the tools of that day printed.

use std::path::Path;

use nslens::model::{Backend, Family, Ruleset};
use nslens::syntax::{parse_save, print_nft, print_save};

use crate::parsers::{Legacy, Message, assembled, framed};
use crate::program::{fixture, text_of};

/// The recorded tables, `xt-FAMILY-NAME.bin`.
pub(crate) fn legacy() -> Vec<Legacy> {
    let names = ["ip-filter", "ip-mangle", "ip-nat", "ip-raw", "ip6-filter", "ip6-mangle", "ip6-nat"];
    let read = |name: &str| {
        let bytes = std::fs::read(fixture(&format!("wire/xt-{name}.bin"))).expect("a fixture");
        let (family, name) = name.split_once('-').expect("a family");
        Legacy::framed(name, family == "ip6", &bytes).expect("a whole fixture")
    };
    names.map(read).to_vec()
}

/// The recorded messages of nf_tables in the order in which they came.
pub(crate) fn messages(name: &str) -> Vec<(Message, Vec<u8>)> {
    let bytes = std::fs::read(fixture(&format!("wire/{name}.bin"))).expect("a fixture");
    let found = framed(&bytes);
    assert_eq!(found.iter().map(|(_, payload)| 8 + payload.len()).sum::<usize>(), bytes.len(), "{name} is cut");
    found
}

fn rules_of(text: &str) -> Vec<String> {
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn legacy_tables_are_what_the_save_program_printed() {
    for table in legacy() {
        let saved = text_of(if table.ipv6 { "save/legacy-six.rules" } else { "save/legacy.rules" });
        let wanted = parse_save(&saved, table.family()).expect("saved text");
        let wanted = rules_of(&print_save(
            &Ruleset { tables: vec![wanted[0].table(&table.name).expect("the table").clone()], ..wanted[0].clone() },
            "0",
        ));
        let decoded = table.decode().expect("a real table");
        let ruleset = Ruleset { backend: Backend::Legacy, family: table.family(), tables: vec![decoded] };
        let got = rules_of(&print_save(&ruleset, "0"));
        assert_eq!(got.len(), wanted.len(), "{}", table.name);
        for (got, wanted) in got.iter().zip(&wanted) {
            // Matches and targets that are not decoded yet stay as bytes, the rest of the rule in its text.
            if !got.contains("[unknown ") {
                assert_eq!(got, wanted, "{} ipv6 {}", table.name, table.ipv6);
            }
        }
    }
}

#[test]
fn nf_tables_messages_are_what_the_save_program_printed() {
    let rulesets = assembled(&messages("nf-iptables"));
    assert_eq!(rulesets.len(), 2);
    for ruleset in rulesets {
        let ipv6 = ruleset.family == Family::Ip6;
        let saved = rules_of(&text_of(if ipv6 { "save/nft-six.rules" } else { "save/nft.rules" }));
        let got = rules_of(&print_save(&ruleset, "0"));
        let known = got.iter().filter(|line| line.starts_with("-A") && !line.contains("[unknown "));
        let missing: Vec<&String> = known.clone().filter(|line| !saved.contains(line)).collect();
        assert_eq!(missing, Vec::<&String>::new(), "lines that the tool does not print");
        assert!(known.count() * 2 > saved.iter().filter(|line| line.starts_with("-A")).count());
    }
}

#[test]
fn nf_tables_messages_are_what_nft_listed() {
    let listed = print_nft(&assembled(&messages("nf-listed")), &[]);
    let wanted = text_of("nft/listed.txt");
    for (line, wanted) in listed.text.lines().zip(wanted.lines()) {
        assert_eq!(line, wanted);
    }
    assert_eq!(listed.text.len(), wanted.len());
    assert_eq!(listed.missing, Vec::<String>::new());
}

#[test]
fn native_messages_keep_what_is_not_understood() {
    let rulesets = assembled(&messages("nf-native"));
    let inet = rulesets.iter().find(|ruleset| ruleset.family == Family::Inet).expect("inet");
    let table = inet.table("istio-proxy-nat").expect("the table");
    let chain = table.chain("istio-output").expect("the chain");
    let last = chain.rules.last().expect("a rule");
    assert!(last.redirects());
    assert_eq!(table.chain("prerouting").expect("the chain").rules.len(), 1);
}

#[test]
fn every_recording_says_where_it_is_from() {
    let readme = text_of("wire/README.md");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wire");
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(name == "README.md" || readme.contains(&name), "wire/README.md does not name {name}");
    }
}
