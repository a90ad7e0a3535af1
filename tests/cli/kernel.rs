//! Bytes that a real kernel sent (`tests/fixtures/wire`), decoded and printed: equal to what the tools of that day printed.

use std::path::Path;

use nslens::model::{Backend, Family, Ruleset, Table};
use nslens::syntax::{parse_save, print_nft, print_save};
use nslens::wire::attribute::attributes;
use nslens::wire::nf_object;
use nslens::wire::nf_table::assemble;
use nslens::wire::nf_tables::{self, ChainMessage, RuleMessage, TableMessage};
use nslens::wire::xt::{EntryError, TableInfo, decode_table};

use crate::program::{fixture, text_of};

/// A table of legacy xtables as it was read: its name, its family, what the kernel says of it, its entries.
#[derive(Debug, Clone)]
pub(crate) struct Legacy {
    pub(crate) name: String,
    pub(crate) ipv6: bool,
    pub(crate) info: TableInfo,
    pub(crate) entries: Vec<u8>,
}

impl Legacy {
    pub(crate) fn decode(&self) -> Result<Table, EntryError> {
        decode_table(&self.name, self.ipv6, &self.info, &self.entries)
    }

    pub(crate) fn family(&self) -> Family {
        if self.ipv6 { Family::Ip6 } else { Family::Ip }
    }
}

/// The recorded tables, `xt-FAMILY-NAME.bin`.
pub(crate) fn legacy() -> Vec<Legacy> {
    let names = ["ip-filter", "ip-mangle", "ip-nat", "ip-raw", "ip6-filter", "ip6-mangle", "ip6-nat"];
    let read = |name: &str| {
        let bytes = std::fs::read(fixture(&format!("wire/xt-{name}.bin"))).expect("a fixture");
        let (head, entries) = bytes.split_at(44);
        let word = |at: usize| u32::from_le_bytes(head[4 * at..4 * at + 4].try_into().expect("four bytes"));
        let (family, name) = name.split_once('-').expect("a family");
        Legacy {
            name: name.to_owned(),
            ipv6: family == "ip6",
            info: TableInfo {
                valid_hooks: word(0),
                hook_entry: std::array::from_fn(|hook| word(1 + hook)),
                underflow: std::array::from_fn(|hook| word(6 + hook)),
            },
            entries: entries.to_vec(),
        }
    };
    names.map(read).to_vec()
}

/// What a recorded message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Generation,
    Table,
    Chain,
    Rule,
    Set,
    Elements,
    Object,
}

/// The recorded messages of nf_tables in the order in which they came.
pub(crate) fn messages(name: &str) -> Vec<(Kind, Vec<u8>)> {
    let bytes = std::fs::read(fixture(&format!("wire/{name}.bin"))).expect("a fixture");
    let (mut rest, mut found) = (bytes.as_slice(), Vec::new());
    while let Some((head, tail)) = rest.split_at_checked(8) {
        let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes")) as usize;
        const KINDS: [Kind; 7] =
            [Kind::Generation, Kind::Table, Kind::Chain, Kind::Rule, Kind::Set, Kind::Elements, Kind::Object];
        let kind = KINDS[word(0)];
        let (payload, after) = tail.split_at(word(4));
        found.push((kind, payload.to_vec()));
        rest = after;
    }
    assert!(rest.is_empty(), "{name} is cut");
    found
}

/// The rule sets that messages make, one for each family. What cannot be decoded is left out.
pub(crate) fn assembled(messages: &[(Kind, Vec<u8>)]) -> Vec<Ruleset> {
    let of = |kind: Kind| messages.iter().filter(move |(own, _)| *own == kind).map(|(_, payload)| payload.as_slice());
    let tables: Vec<TableMessage> = of(Kind::Table).filter_map(|payload| nf_tables::table(payload).ok()).collect();
    let chains: Vec<ChainMessage> = of(Kind::Chain).filter_map(|payload| nf_tables::chain(payload).ok()).collect();
    // A rule's family stands in its header, as every message's does.
    let rules: Vec<(u8, RuleMessage)> =
        of(Kind::Rule).filter_map(|payload| Some((*payload.first()?, nf_tables::rule(payload).ok()?))).collect();
    let mut rulesets: Vec<Ruleset> = Vec::new();
    for table in &tables {
        let Some(family) = Family::from_number(table.family) else { continue };
        let own = chains.iter().filter(|chain| chain.family == table.family && chain.table == table.name);
        let with_rules = own.map(|chain| {
            let rules = rules.iter().filter(|(family, rule)| {
                (*family, &rule.table, &rule.chain) == (chain.family, &chain.table, &chain.name)
            });
            (chain, rules.map(|(_, rule)| rule.clone()).collect())
        });
        let mut made = assemble(family, table, with_rules.collect());
        add_sets(&mut made, table, messages);
        match rulesets.iter_mut().find(|ruleset| ruleset.family == family) {
            Some(ruleset) => ruleset.tables.push(made),
            None => rulesets.push(Ruleset { backend: Backend::Nft, family, tables: vec![made] }),
        }
    }
    rulesets
}

/// Sets with their elements, and objects. Each of their messages begins with the family and the table's name.
fn add_sets(made: &mut Table, table: &TableMessage, messages: &[(Kind, Vec<u8>)]) {
    let named = |payload: &[u8], kind: u16| {
        let found = attributes(payload.get(4..)?).filter_map(Result::ok).find(|attribute| attribute.kind == kind)?;
        Some(found.text())
    };
    let own = |wanted: Kind| {
        messages.iter().filter(move |(kind, _)| *kind == wanted).map(|(_, payload)| payload.as_slice()).filter(
            move |payload| payload.first() == Some(&table.family) && named(payload, 1).as_ref() == Some(&table.name),
        )
    };
    made.sets = own(Kind::Set).filter_map(|payload| nf_tables::set(payload).ok()).collect();
    for payload in own(Kind::Elements) {
        let name = named(payload, 2);
        let set = made.sets.iter_mut().find(|set| Some(&set.name) == name.as_ref());
        if let (Some(set), Ok(elements)) = (set, nf_tables::elements(payload)) {
            set.elements.extend(elements);
        }
    }
    made.objects = own(Kind::Object).filter_map(|payload| nf_object::object(payload).ok()).collect();
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
