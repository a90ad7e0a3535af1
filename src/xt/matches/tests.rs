//! What holds of every match, whatever its bytes: nothing panics, what is understood reads back the same, and no two share their words.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::Match;
use crate::xt::{Action, IpPart, Rule, parse_rule, tokens};

/// A payload that a kernel could hold, more or less: mostly zeros or mostly ones, with a few other bytes.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let length =
        prop_oneof![9 => 0..64_usize, 9 => 100..320_usize, 3 => 500..560_usize, 1 => Just(1984), 1 => Just(4120)];
    let fill = prop_oneof![4 => Just(0_u8), 1 => Just(0xff), 1 => any::<u8>()];
    let byte = prop_oneof![2 => any::<u8>(), 3 => 0..8_u8, 2 => b'a'..b'f', 1 => Just(0x20_u8), 1 => Just(0xff)];
    // Where flags and numbers stand in many layouts, or anywhere.
    let place = prop_oneof![0..24_usize, 130..176_usize, 260..310_usize, 0..2000_usize, 1900..1984_usize];
    (length, fill, prop::collection::vec((place, byte), 0..12)).prop_map(|(length, fill, places)| {
        let mut data = vec![fill; length];
        for (place, byte) in places {
            if let Some(there) = data.get_mut(place) {
                *there = byte;
            }
        }
        data
    })
}

/// Where bytes must stand for a payload to mean anything, for the matches that chance alone seldom meets.
fn seeded(name: &str, data: &mut Vec<u8>) {
    let places: &[(usize, &[u8])] = match name {
        "bpf" => &[(0, &[0, 0, 1, 0]), (16, &[0])],
        "multiport" => &[(0, &[1, 2]), (31, &[0; 17])],
        "policy" => &[(304, &[1, 0, 1, 0])],
        "string" => &[(4, b"bm\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), (20, b"ab c"), (148, &[4])],
        "time" => &[(4, &[0xff, 0xff, 0xff, 0x7f]), (16, &[0xfe, 0xff, 0xff, 0xff, 0xfe, 0])],
        "u32" => &[(176, &[1, 1]), (1980, &[1])],
        _ => return,
    };
    let end = places.iter().map(|(place, bytes)| place + bytes.len()).max().unwrap_or(0);
    data.resize(data.len().max(end), 0);
    for (place, bytes) in places {
        if let Some(there) = data.get_mut(*place..place + bytes.len()) {
            there.copy_from_slice(bytes);
        }
    }
}

fn saved(part: &Match) -> String {
    let mut text = String::new();
    part.save(&mut text);
    text.trim_start().to_owned()
}

fn words(part: &Match) -> String {
    Rule { ip: IpPart::default(), matches: vec![part.clone()], action: Action::None }.subject(None, false)
}

/// iptables' text leaves something of it out: that the whole range was negated, or every day was.
fn is_cut_short(part: &Match) -> bool {
    let whole = |span: Option<super::Span>| span.is_some_and(|span| span.is_whole(u32::MAX));
    let ports = |ports: Option<super::Ports>| ports.is_some_and(|ports| (ports.from, ports.to) == (0, u16::MAX));
    match part {
        Match::Ah(ah) => whole(ah.spi),
        Match::Esp(esp) => whole(esp.spi),
        Match::Ipcomp(ipcomp) => ipcomp.index.is_whole(u32::MAX),
        Match::Frag(frag) => whole(frag.id),
        Match::Rt(rt) => whole(rt.segments_left),
        Match::Mh(mh) => mh.kind.is_some_and(|kind| kind.is_whole(255)),
        Match::Tcp(tcp) => ports(tcp.source) || ports(tcp.destination),
        Match::Udp(udp) => ports(udp.source) || ports(udp.destination),
        Match::Time(time) => time.week_days == 0 || time.month_days == 0,
        _ => false,
    }
}

#[test]
fn what_is_understood_reads_back_the_same() {
    let mut understood: BTreeMap<&str, usize> = BTreeMap::new();
    let mut said: HashMap<(bool, &str, String), String> = HashMap::new();
    for name in Match::names() {
        let mut runner = TestRunner::new_with_rng(
            Config { failure_persistence: None, ..Config::with_cases(250) },
            proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
        );
        let count = std::cell::Cell::new(0);
        let said = std::cell::RefCell::new(&mut said);
        let tried = runner.run(&(payload(), 0..4_u8, any::<bool>()), |(mut data, revision, ipv6)| {
            if ipv6 || revision % 2 == 1 {
                seeded(name, &mut data);
            }
            let part = Match::decode(name, revision, &data, ipv6);
            let text = saved(&part);
            // None of these panics.
            let (words, _, _) = (words(&part), part.condition(), part.nft(Some(6)));
            if matches!(part, Match::Unknown(_)) || is_cut_short(&part) {
                return Ok(());
            }
            count.set(count.get() + 1);
            let line = tokens(&text).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
            let rules = parse_rule(&line, ipv6, &|_| false);
            let rules = rules.map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
            let again: Vec<Match> = rules.into_iter().flat_map(|rule| rule.matches).collect();
            prop_assert_eq!(&again, std::slice::from_ref(&part), "{}", text);
            // The short form says what the long one says, and a comment says nothing.
            let plain = text.replace("-m state --state", "-m conntrack --ctstate").replace("! --state", "! --ctstate");
            // Ports are said alike of every protocol, which the rule names.
            let ported = ["tcp", "udp", "sctp", "dccp", "multiport"].contains(&name);
            let header = if ported { name } else { "" };
            // Nor does a header that is asked for without more: the protocol says it.
            let bare = !plain.contains(" --") && words == "everything";
            if !matches!(part, Match::Comment(_)) && !plain.starts_with("-m state") && !bare {
                let known =
                    said.borrow_mut().entry((ipv6, header, words.clone())).or_insert_with(|| plain.clone()).clone();
                prop_assert_eq!(known, plain, "both are said as {}", words);
            }
            Ok(())
        });
        if let Err(error) = tried {
            panic!("{name}: {error}");
        }
        understood.insert(name, count.get());
    }
    // Of the matches that keep a state a random payload is too seldom a sound one; `tests/fixtures/xt` holds these to the kernel.
    const STATEFUL: [&str; 13] = [
        "cluster",
        "connbytes",
        "connlabel",
        "connlimit",
        "hashlimit",
        "helper",
        "ipvs",
        "limit",
        "nfacct",
        "quota",
        "rateest",
        "recent",
        "set",
    ];
    let never = understood.iter().filter(|(name, count)| **count == 0 && !STATEFUL.contains(name));
    let never: Vec<_> = never.map(|(name, _)| *name).collect();
    assert!(never.is_empty(), "no payload was understood of {never:?}: the test says nothing of them");
}
