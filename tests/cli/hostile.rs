//! Bytes and text from an enemy: no decoder panics or hangs, and what is understood is printed so that it reads back the same.

use nslens::model::{Backend, Ruleset};
use nslens::syntax::print_nft;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::kernel::{legacy, messages};
use crate::parsers::{
    MATCHES, Message, TARGETS, assembled, file, ipsets, legacy_table, match_payload, message, network, nf_tables,
    nft_text, save_text, survives, target_payload, words,
};
use crate::program::{fixture, text_of};

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

fn recorded_message() -> impl Strategy<Value = Vec<u8>> {
    let all: Vec<Vec<u8>> =
        ["nf-iptables", "nf-native"].iter().flat_map(|name| messages(name)).map(|(_, payload)| payload).collect();
    proptest::sample::select(all).prop_flat_map(mutated)
}

#[test]
fn the_recordings_survive_as_they_are() {
    for table in legacy() {
        let decoded = table.decode().expect("a real table");
        survives(vec![Ruleset { backend: Backend::Legacy, family: table.family(), tables: vec![decoded] }]);
    }
    for name in ["nf-iptables", "nf-native"] {
        survives(assembled(&messages(name)));
    }
}

/// The same cases each time, unless `PROPTEST_RNG_SEED` or `PROPTEST_CASES` ask for others.
fn config() -> ProptestConfig {
    let mut config = ProptestConfig { max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() };
    config.cases = config.cases.max(1000);
    if matches!(config.rng_seed, RngSeed::Random) {
        config.rng_seed = RngSeed::Fixed(1337);
    }
    config
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn random_tables(entries in vec(any::<u8>(), 0..600), ipv6: bool, hooks: u32, offset in 0..600_u32) {
        let mut table = legacy()[0].clone();
        (table.entries, table.ipv6, table.info.valid_hooks) = (entries, ipv6, hooks);
        table.info.hook_entry[0] = offset;
        let _ = table.decode();
    }

    #[test]
    fn changed_tables((name, bytes) in proptest::sample::select(&["ip-filter", "ip-nat", "ip6-nat", "ip-mangle"][..]).prop_flat_map(|name| {
        (Just(name), mutated(std::fs::read(fixture(&format!("wire/xt-{name}.bin"))).expect("a fixture")))
    })) {
        let (family, table) = name.split_once('-').expect("a family");
        legacy_table(table, family == "ip6", &bytes);
    }

    #[test]
    fn changed_answers(bytes in mutated(std::fs::read(fixture("wire/nf-native.bin")).expect("a fixture"))) {
        nf_tables(&bytes);
    }

    #[test]
    fn random_messages(bytes in vec(any::<u8>(), 0..300)) {
        message(&bytes);
        network(&bytes);
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
        message(&bytes);
        network(&bytes);
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
        survives(assembled(&all));
    }

    #[test]
    fn matches_of_every_name_and_revision(name in proptest::sample::select(MATCHES), revision in 0..5_u8, ipv6: bool,
        data in prop_oneof![vec(any::<u8>(), 0..320), vec(0..4_u8, 0..320), vec(prop_oneof![3 => Just(0), 1 => any::<u8>()], 8..260)]) {
        match_payload(name, revision, ipv6, &data);
    }

    #[test]
    fn targets_of_every_name_and_revision(name in proptest::sample::select(TARGETS), revision in 0..4_u8, ipv6: bool,
        data in prop_oneof![vec(any::<u8>(), 0..100), vec(0..4_u8, 0..100), vec(prop_oneof![3 => Just(0), 1 => any::<u8>()], 4..100)]) {
        target_payload(name, revision, ipv6, &data);
    }

    #[test]
    fn random_text(text in "(\\PC|[\\n\"\\\\! -])*", head in proptest::sample::select(&["", "*nat\n", "*filter\n:A - [0:0]\n-A A "][..])) {
        save_text(&format!("{head}{text}"));
        save_text(&format!("{head}{text}\nCOMMIT\n"));
        file(format!("{head}{text}").as_bytes());
    }

    #[test]
    fn changed_text(text in proptest::sample::select(&["legacy", "legacy-six", "nft", "nft-six"][..])
        .prop_flat_map(|name| mutated_text(text_of(&format!("save/{name}.rules"))))) {
        save_text(&text);
    }

    #[test]
    fn rules_of_random_options(words in vec(proptest::sample::select(&[
        "!", "-p", "tcp", "udp", "all", "0", "255", "-m", "tcp", "owner", "multiport", "conntrack", "set", "mark", "-s", "-d", "10.0.0.1",
        "10.0.0.0/8", "::1", "-i", "-o", "eth+", "+", "lo", "-f", "-j", "-g", "X", "ACCEPT", "REDIRECT", "DNAT", "CT", "NOTRACK", "LOG",
        "--dport", "--dports", "80", "1:5", ":5", "80,443", "--to-ports", "--to-destination", "10.0.0.1:80-90", "--ctstate", "NEW",
        "--uid-owner", "1-5", "--mark", "0x1/0xff", "--match-set", "\"a b\"", "\"-x\"", "\"!\"", "\"\"", "--tcp-flags", "ALL", "NONE",
        "--comment", "--syn", "--random", "-c", "[unknown", "match", "rev", "1:", "00]",
    ][..]), 0..14)) {
        save_text(&format!("*nat\n:X - [0:0]\n-A X {}\nCOMMIT\n", words.join(" ")));
    }

    #[test]
    fn changed_text_of_nft(text in mutated_text(text_of("nft/sets.nft"))) {
        nft_text(&text);
    }

    #[test]
    fn random_messages_of_ipset(bytes in vec(any::<u8>(), 0..300)) {
        ipsets(&bytes);
    }

    #[test]
    fn any_word_as_a_target(text: String, kind in proptest::sample::select(&["", "pod/", "docker://", "pid/", "file/", "netns/", "a:b/"][..])) {
        words(&format!("{kind}{text}"));
    }

    #[test]
    fn any_text_escaped(text: String) {
        words(&text);
    }

    #[test]
    fn changed_snapshots(bytes in mutated(text_of("snapshot/plain.json").into_bytes())) {
        file(&bytes);
    }
}
