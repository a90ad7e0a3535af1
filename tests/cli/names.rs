//! Names that are no text: any bytes stand in the kernel. No two of them are one, and each comes back as it was.

use nslens::archive::{self, Loaded};
use nslens::model::{Backend, Body, Family, Kind, Ruleset, Snapshot, Table, Workload};
use nslens::report::escape::escape;
use nslens::syntax::{print_nft, write_save};
use nslens::wire::attribute::Builder;
use nslens::wire::nf_table::assemble;
use nslens::wire::nf_tables;

use crate::kernel::legacy;
use crate::program::Folder;

/// Bytes that look alike once they are made into text: some that are no UTF-8, the character that usually stands for such, the
/// characters that stand for them here, and the digits that they are shown by.
const NAMES: [&[u8]; 8] = [
    b"a\xff",
    b"a\xfe",
    b"a\xff\xfe",
    b"a\xc3",
    "a\u{fffd}".as_bytes(),
    "a\u{10feff}".as_bytes(),
    b"a\\xff",
    "aÿ".as_bytes(),
];

fn message(parts: &[(u16, &[u8])]) -> Builder {
    parts.iter().fold(Builder::after(&nf_tables::head(2)), |message, (kind, bytes)| message.put(*kind, bytes))
}

/// A table of chains of these names; each jumps to the next, whose device, comment and mark are its own.
fn table() -> Table {
    let named = message(&[(1, NAMES[0])]).finish();
    let chains = NAMES.map(|name| nf_tables::chain(&message(&[(1, NAMES[0]), (3, name)]).finish()).expect("a chain"));
    let rules = |at: usize| {
        let next = NAMES[(at + 1) % NAMES.len()];
        let verdict = Builder::default().put_be32(1, (-3_i32).cast_unsigned()).put(2, next);
        let data = Builder::default().put_nested(2, &verdict);
        let jump = Builder::default().put_be32(1, 0).put_nested(2, &data);
        let jump = Builder::default().put_text(1, "immediate").put_nested(2, &jump);
        let list = Builder::default().put_nested(1, &jump);
        let note = [&[0, u8::try_from(next.len() + 1).expect("short")], next, &[0]].concat();
        vec![
            nf_tables::rule(&message(&[(1, NAMES[0]), (2, NAMES[at])]).put_nested(4, &list).put(7, &note).finish())
                .expect("a rule"),
        ]
    };
    let table = nf_tables::table(&named).expect("a table");
    assemble(Family::Ip, &table, chains.iter().enumerate().map(|(at, chain)| (chain, rules(at))).collect())
}

fn snapshot(backend: Backend, table: Table) -> Snapshot {
    let mut snapshot = Snapshot::of("node", 0, "netns/t", Workload::named(Kind::Netns, "t"));
    snapshot.rulesets = Some(vec![Ruleset { backend, family: Family::Ip, tables: vec![table] }]);
    snapshot
}

fn stored(snapshot: &Snapshot) -> Vec<u8> {
    let mut bytes = Vec::new();
    archive::write(snapshot, false, &mut bytes).expect("memory");
    bytes
}

fn printed(arguments: &[&str], file: &[u8]) -> Vec<u8> {
    let folder = Folder::new();
    let file = folder.put("a.nslens", file);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_nslens"))
        .args(["rules", &format!("file/{file}")])
        .args(arguments)
        .output()
        .expect("nslens runs");
    output.stdout
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[test]
fn every_jump_leads_to_the_chain_of_its_name() {
    let table = table();
    for (at, name) in NAMES.iter().enumerate() {
        let chain = &table.chains[at];
        let next = &table.chains[(at + 1) % NAMES.len()];
        let [rule] = &chain.rules[..] else { panic!("{name:?} has a rule") };
        assert_eq!(rule.jumps_to(), Some(next.name.as_str()));
        let same: Vec<&str> =
            table.chains.iter().map(|chain| chain.name.as_str()).filter(|other| *other == next.name).collect();
        assert_eq!(same.len(), 1, "{same:?}");
        // The kernel is asked for the chain by its own bytes.
        assert!(holds(&nf_tables::rules_of(2, &table.name, &chain.name), &[name, &[0][..]].concat()), "{name:?}");
    }
}

#[test]
fn they_come_back_from_a_file_and_are_written_as_they_were() {
    let snapshot = snapshot(Backend::Nft, table());
    let file = stored(&snapshot);
    let Ok(Loaded::Snapshot(back)) = archive::read(&file, Family::Ip) else { panic!("a snapshot") };
    assert_eq!(back.rulesets(), snapshot.rulesets());
    let listed = printed(&["-o", "nft"], &file);
    for name in NAMES {
        assert!(holds(&listed, &[b"\tchain ", name, b" {\n"].concat()), "{name:?}");
        assert!(holds(&listed, &[b"jump ", name, b" comment \"", name, b"\""].concat()), "{name:?}");
    }
    // JSON has a character of its own for each byte that is no text.
    let json = String::from_utf8(printed(&["-o", "json"], &file)).expect("JSON is UTF-8");
    assert!(json.contains(r#""a\udbff\udeff""#), "{json}");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let chains = json["rulesets"][0]["tables"][0]["chains"].as_array().expect("chains").iter();
    let mut named: Vec<&str> = chains.map(|chain| chain["name"].as_str().expect("a name")).collect();
    assert!(named.contains(&"a\u{10feff}\u{10fefe}"), "{named:?}");
    named.dedup();
    assert_eq!(named.len(), NAMES.len());
    let shown = printed(&["-o", "wide"], &file);
    assert!(holds(&shown, b"a\\xff") && !holds(&shown, b"\xff"), "{}", String::from_utf8_lossy(&shown));
    assert_eq!(escape(&snapshot.rulesets()[0].tables[0].chains[2].name), "a\\xff\\xfe");
}

#[test]
fn what_nft_lists_of_them_reads_back() {
    let snapshot = snapshot(Backend::Nft, table());
    let text = print_nft(snapshot.rulesets(), &[]).text;
    assert!(text.contains('\u{10feff}'), "{text}");
}

#[test]
fn a_legacy_table_and_its_saved_text_are_the_same() {
    let mut recorded = legacy().into_iter().find(|table| !table.ipv6 && table.name == "nat").expect("the recording");
    // Letters of the names of chains and devices, and of comments, become bytes that are no text.
    let mut changed = 0;
    for at in 0..recorded.entries.len() - 5 {
        if recorded.entries[at..].starts_with(b"ISTIO") {
            recorded.entries[at] = 0xff;
            changed += 1;
        }
    }
    assert!(changed > 3, "{changed}");
    let table = recorded.decode().expect("a table");
    let ruleset = Ruleset { backend: Backend::Legacy, family: Family::Ip, tables: vec![table] };
    let mut text = Vec::new();
    write_save(&ruleset, "0", &mut text).expect("memory");
    assert!(holds(&text, b":\xffSTIO"), "{}", String::from_utf8_lossy(&text));
    let Ok(Loaded::Rules(read, _)) = archive::read(&text, Family::Ip) else { panic!("saved rules") };
    let bodies = |ruleset: &Ruleset| -> Vec<(String, Vec<Body>)> {
        let chains = &ruleset.tables[0].chains;
        chains
            .iter()
            .map(|chain| (chain.name.clone(), chain.rules.iter().map(|rule| rule.body.clone()).collect()))
            .collect()
    };
    assert_eq!(bodies(&read[0]), bodies(&ruleset));
}
