//! Bytes and text from an enemy: no decoder panics or hangs, and what is understood is printed so that it reads back the same.

use nslens::archive::{self, Loaded};
use nslens::model::{Backend, Body, Family, Kind, Ruleset, Snapshot, Workload};
use nslens::report::escape::escape;
use nslens::syntax::{parse_body, parse_save, print_nft, print_rule, print_save};
use nslens::target::Query;
use nslens::wire::attribute::{Attributes, attributes};
use nslens::wire::{nf_object, nf_tables};
use nslens::xt::{Match, Target};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::kernel::{Kind as Message, assembled, legacy, messages};
use crate::program::text_of;

const MATCHES: [&str; 16] = [
    "icmp",
    "icmp6",
    "statistic",
    "addrtype",
    "comment",
    "connmark",
    "conntrack",
    "mark",
    "multiport",
    "owner",
    "socket",
    "state",
    "tcp",
    "udp",
    "set",
    "",
];
const TARGETS: [&str; 14] = [
    "CONNMARK",
    "CT",
    "DNAT",
    "LOG",
    "MARK",
    "MASQUERADE",
    "NFLOG",
    "NOTRACK",
    "REDIRECT",
    "REJECT",
    "SNAT",
    "TPROXY",
    "TCPMSS",
    "",
];

/// A rule's text reads back as the same text.
fn reads_back(text: &str, ipv6: bool, chains: &dyn Fn(&str) -> bool) -> Result<(), TestCaseError> {
    let body = parse_body(text, ipv6, chains);
    let Ok(Body::Xt(rule)) = body else { return Err(TestCaseError::fail(format!("{text:?}: {body:?}"))) };
    prop_assert_eq!(rule.options(), text);
    Ok(())
}

/// Whatever the bytes are, every decoder of nf_tables' messages comes back.
fn decode_all(bytes: &[u8]) {
    let _ = (nf_tables::table(bytes), nf_tables::chain(bytes), nf_tables::rule(bytes), nf_tables::generation(bytes));
    let _ = (nf_tables::set(bytes), nf_tables::elements(bytes), nf_object::object(bytes), nf_object::flow_table(bytes));
}

/// Everything in it that has a text reads back as it was, rule by rule, as a save, and in a snapshot file.
fn survives(rulesets: Vec<Ruleset>) -> Result<(), TestCaseError> {
    for ruleset in &rulesets {
        for table in &ruleset.tables {
            for (chain, rule) in table.chains.iter().flat_map(|chain| chain.rules.iter().map(move |rule| (chain, rule)))
            {
                let _ = print_rule(ruleset.family, table, chain, rule);
                if let Body::Xt(rule) = &rule.body {
                    reads_back(&rule.options(), ruleset.family == Family::Ip6, &|name| table.chain(name).is_some())?;
                }
            }
        }
    }
    let texts: Vec<String> = rulesets.iter().map(|ruleset| print_save(ruleset, "0")).collect();
    let mut snapshot = Snapshot::of("node", 0, "asked", Workload::named(Kind::File, "name"));
    snapshot.rulesets = Some(rulesets);
    let mut bytes = Vec::new();
    archive::write(&snapshot, false, &mut bytes).expect("memory");
    let loaded = archive::read(&bytes, Family::Ip);
    let Ok(Loaded::Snapshot(back)) = loaded else { return Err(TestCaseError::fail(format!("{loaded:?}"))) };
    let again: Vec<String> = back.rulesets().iter().map(|ruleset| print_save(ruleset, "0")).collect();
    prop_assert_eq!(again, texts);
    Ok(())
}

/// Walks attributes within attributes, as far as they divide into any.
fn walk(parts: Attributes<'_>, depth: u32) -> usize {
    let inner = |part: nslens::wire::attribute::Attribute<'_>| {
        let _ = part.text();
        let _ = (part.u8(), part.be16(), part.be32(), part.be64(), part.u32());
        1 + if depth == 0 { 0 } else { walk(part.nested(), depth - 1) }
    };
    parts.map(|part| part.map_or(0, inner)).sum()
}

/// Some bytes replaced, some cut off, some put in between.
fn mutated(original: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let length = original.len();
    let flips = vec((0..length.max(1), prop_oneof![any::<u8>(), Just(0), Just(0xff), Just(4), Just(0x80)]), 0..12);
    (
        flips,
        proptest::option::weighted(0.2, 0..=length),
        proptest::option::weighted(0.2, (0..=length, vec(any::<u8>(), 0..40))),
    )
        .prop_map(move |(flips, cut, insert)| {
            let mut bytes = original.clone();
            for (at, byte) in flips {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            if let Some((at, more)) = insert {
                bytes.splice(at..at, more);
            }
            bytes.truncate(cut.unwrap_or(usize::MAX));
            bytes
        })
}

fn mutated_text(original: String) -> impl Strategy<Value = String> {
    const PIECES: [&str; 24] = [
        "!",
        "\"",
        "\\",
        "\n",
        " ",
        "[",
        "]",
        ":",
        ",",
        "/",
        "-",
        "-m ",
        "-j ",
        "-g X",
        "COMMIT",
        "*nat\n",
        "[unknown match a rev 1: 00]",
        "-s 10.0.0.0/33",
        "-I OUTPUT 2 ",
        "\u{1b}",
        "\r\n",
        "99999999999999999999",
        "\0",
        "é",
    ];
    let pieces = vec((0..=original.len(), proptest::sample::select(&PIECES[..])), 0..6);
    (pieces, proptest::option::weighted(0.3, 0..=original.len())).prop_map(move |(pieces, cut)| {
        let mut text = original.clone();
        text.truncate(floor(&text, cut.unwrap_or(usize::MAX)));
        for (at, piece) in pieces {
            text.insert_str(floor(&text, at), piece);
        }
        text
    })
}

fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// A saved text that is understood prints as a text that is understood and prints the same.
fn settles(text: &str) -> Result<(), TestCaseError> {
    for family in [Family::Ip, Family::Ip6] {
        let Ok(rulesets) = parse_save(text, family) else { continue };
        let printed: String = rulesets.iter().map(|ruleset| print_save(ruleset, "0")).collect();
        // Tables that no tool knows and that hold nothing are not printed.
        if !printed.contains("\nCOMMIT") {
            continue;
        }
        let again = parse_save(&printed, family);
        let Ok(again) = again else { return Err(TestCaseError::fail(format!("{again:?}:\n{printed}"))) };
        let reprinted: String = again.iter().map(|ruleset| print_save(ruleset, "0")).collect();
        prop_assert_eq!(reprinted, printed);
    }
    Ok(())
}

fn recorded_message() -> impl Strategy<Value = Vec<u8>> {
    let all: Vec<Vec<u8>> =
        ["nf-iptables", "nf-native"].iter().flat_map(|name| messages(name)).map(|(_, payload)| payload).collect();
    proptest::sample::select(all).prop_flat_map(mutated)
}

#[test]
fn the_recordings_survive_as_they_are() {
    for table in legacy() {
        let decoded = table.decode().expect("a real table");
        survives(vec![Ruleset { backend: Backend::Legacy, family: table.family(), tables: vec![decoded] }])
            .expect(&table.name);
    }
    for name in ["nf-iptables", "nf-native"] {
        survives(assembled(&messages(name))).expect(name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(1000), max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_tables(entries in vec(any::<u8>(), 0..600), ipv6: bool, hooks: u32, offset in 0..600_u32) {
        let mut table = legacy()[0].clone();
        (table.entries, table.ipv6, table.info.valid_hooks) = (entries, ipv6, hooks);
        table.info.hook_entry[0] = offset;
        let _ = table.decode();
    }

    #[test]
    fn changed_tables((table, entries) in proptest::sample::select(legacy()).prop_flat_map(|table| {
        let entries = table.entries.clone();
        (Just(table), mutated(entries))
    })) {
        let mut changed = table.clone();
        changed.entries = entries;
        if let Ok(decoded) = changed.decode() {
            survives(vec![Ruleset { backend: Backend::Legacy, family: changed.family(), tables: vec![decoded] }])?;
        }
    }

    #[test]
    fn random_messages(bytes in vec(any::<u8>(), 0..300)) {
        walk(attributes(&bytes), 4);
        decode_all(&bytes);
    }

    #[test]
    fn one_changed_message_of_a_listed_set(at in any::<proptest::sample::Index>(), seed in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6)) {
        let mut all = messages("nf-listed");
        let message = { let at = at.index(all.len()); &mut all[at].1 };
        for (place, byte) in seed {
            let place = place.index(message.len());
            message[place] = byte;
        }
        let _ = print_nft(&assembled(&all), &[(1, "lo".to_owned())]);
    }

    #[test]
    fn changed_messages(bytes in recorded_message()) {
        walk(attributes(&bytes), 4);
        decode_all(&bytes);
    }

    #[test]
    fn one_changed_rule_in_a_real_set(at in any::<proptest::sample::Index>(), seed in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6)) {
        let mut all = messages("nf-iptables");
        let rules: Vec<usize> = (0..all.len()).filter(|at| all[*at].0 == Message::Rule).collect();
        let message = &mut all[rules[at.index(rules.len())]].1;
        for (place, byte) in seed {
            let place = place.index(message.len());
            message[place] = byte;
        }
        survives(assembled(&all))?;
    }

    #[test]
    fn matches_of_every_name_and_revision(name in proptest::sample::select(&MATCHES[..]), revision in 0..5_u8, ipv6: bool,
        data in prop_oneof![vec(any::<u8>(), 0..320), vec(0..4_u8, 0..320), vec(prop_oneof![3 => Just(0), 1 => any::<u8>()], 8..260)]) {
        let decoded = Match::decode(name, revision, &data, ipv6);
        let mut text = String::new();
        decoded.save(&mut text);
        reads_back(text.trim_start(), ipv6, &|_| false)?;
        let _ = decoded.condition().ask(&nslens::packet::Packet::default());
    }

    #[test]
    fn targets_of_every_name_and_revision(name in proptest::sample::select(&TARGETS[..]), revision in 0..4_u8, ipv6: bool,
        data in prop_oneof![vec(any::<u8>(), 0..100), vec(0..4_u8, 0..100), vec(prop_oneof![3 => Just(0), 1 => any::<u8>()], 4..100)]) {
        let decoded = Target::decode(name, revision, &data, ipv6);
        let mut text = String::new();
        decoded.save(&mut text);
        reads_back(text.trim_start(), ipv6, &|_| false)?;
        let _ = (decoded.effect(), decoded.explain());
    }

    #[test]
    fn random_text(text in "(\\PC|[\\n\"\\\\! -])*", head in proptest::sample::select(&["", "*nat\n", "*filter\n:A - [0:0]\n-A A "][..])) {
        settles(&format!("{head}{text}"))?;
        settles(&format!("{head}{text}\nCOMMIT\n"))?;
        let _ = archive::read(format!("{head}{text}").as_bytes(), Family::Ip);
    }

    #[test]
    fn changed_text(text in proptest::sample::select(&["legacy", "legacy-six", "nft", "nft-six"][..])
        .prop_flat_map(|name| mutated_text(text_of(&format!("save/{name}.rules"))))) {
        settles(&text)?;
    }

    #[test]
    fn rules_of_random_options(words in vec(proptest::sample::select(&[
        "!", "-p", "tcp", "udp", "all", "0", "255", "-m", "tcp", "owner", "multiport", "conntrack", "set", "mark", "-s", "-d", "10.0.0.1",
        "10.0.0.0/8", "::1", "-i", "-o", "eth+", "+", "lo", "-f", "-j", "-g", "X", "ACCEPT", "REDIRECT", "DNAT", "CT", "NOTRACK", "LOG",
        "--dport", "--dports", "80", "1:5", ":5", "80,443", "--to-ports", "--to-destination", "10.0.0.1:80-90", "--ctstate", "NEW",
        "--uid-owner", "1-5", "--mark", "0x1/0xff", "--match-set", "\"a b\"", "\"-x\"", "\"!\"", "\"\"", "--tcp-flags", "ALL", "NONE",
        "--comment", "--syn", "--random", "-c", "[unknown", "match", "rev", "1:", "00]",
    ][..]), 0..14)) {
        settles(&format!("*nat\n:X - [0:0]\n-A X {}\nCOMMIT\n", words.join(" ")))?;
    }

    #[test]
    fn any_word_as_a_target(text: String, kind in proptest::sample::select(&["", "pod/", "docker://", "pid/", "file/", "netns/", "a:b/"][..])) {
        let _ = Query::parse(&format!("{kind}{text}"));
    }

    #[test]
    fn any_text_escaped(text: String) {
        let escaped = escape(&text);
        let bidi = |character: char| matches!(character, '\u{202a}'..='\u{202e}');
        let steers = escaped.chars().any(|character| character.is_control() || bidi(character));
        prop_assert!(!steers);
        prop_assert_eq!(escape(&escaped).into_owned(), escaped.into_owned());
    }

    #[test]
    fn changed_snapshots(bytes in mutated(text_of("snapshot/plain.json").into_bytes())) {
        let _ = archive::read(&bytes, Family::Ip);
    }
}
