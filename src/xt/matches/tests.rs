//! What holds of every match, whatever its bytes: nothing panics, what is understood reads back the same, and no two share their words.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::Match;
use crate::packet::{Answer, Condition, Known, Packet};
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

/// Matches that keep a state: `tests/cli/targets.rs` tries payloads of their own sizes. A set needs the names of sets:
/// `tests/netns/extensions.rs` has real ones.
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
    let tried_here = |name: &str| !STATEFUL.contains(&name);
    let never: Vec<_> =
        understood.iter().filter(|(name, count)| tried_here(name) && **count == 0).map(|(name, _)| *name).collect();
    assert!(never.is_empty(), "no payload was understood of {never:?}: the test says nothing of them");
}

/// The condition of a match written as text, for IPv4.
fn condition(text: &str) -> Condition {
    let rules = parse_rule(&tokens(text).expect("words"), false, &|_| false).expect("a rule");
    rules.into_iter().next().expect("a rule").condition()
}

#[test]
fn a_packet_is_asked_what_the_kernel_asks() {
    let known = Packet {
        hop_limit: Known::Is(64),
        length: Known::Is(1500),
        traffic_class: Known::Is(0xb9),
        tcp_flags: Known::Is(0x02),
        icmp_type: Known::Absent,
        source: Known::Is([10, 0, 0, 5].into()),
        source_port: Known::Is(1234),
        destination_port: Known::Is(80),
        maximum_segment: Known::Absent,
        source_mac: Known::Absent,
        input: Known::Absent,
        input_group: Known::Is(5),
        mark: Known::Is(5),
        ..Packet::default()
    };
    let (yes, no, open) = (Answer::Yes, Answer::No, Answer::CannotKnow);
    for (text, answer) in [
        ("-m ttl --ttl-eq 64", yes),
        ("-m ttl --ttl-lt 64", no),
        ("-m ttl --ttl-gt 63", yes),
        ("-m ttl --ttl-lt 0", no),
        ("-m length --length 1501:", no),
        ("-m length ! --length 1501:", yes),
        ("-m dscp --dscp-class EF", yes),
        ("-m dscp ! --dscp 46", no),
        ("-m tos --tos 0xb9", yes),
        ("-m ecn --ecn-ip-ect 1", yes),
        ("-m tcp --tcp-flags SYN,ACK SYN", yes),
        ("-m tcp ! --syn", no),
        ("-m tcp --dport 80:90 ! --sport 1", yes),
        ("-m multiport ! --ports 79,1234", no),
        ("-m iprange --src-range 10.0.0.1-10.0.0.9", yes),
        // What the packet has not is found neither equal nor different, unless the kernel says otherwise.
        ("-m icmp ! --icmp-type 8", no),
        ("-m mac ! --mac-source 00:00:00:00:00:01", no),
        ("-m tcpmss ! --mss 5", yes),
        // Bits beside the mask: of a group they are not looked at, of a mark they are.
        ("-m devgroup --src-group 0x35/0xf", yes),
        ("-m devgroup ! --src-group 0x35/0xf", no),
        ("-m mark --mark 0x35/0xf", no),
        // Any device is found where there is none.
        ("-i +", yes),
        ("! -i +", no),
        ("-i lo+", no),
        ("! -i lo+", yes),
        // What is not known stays so.
        ("-m cpu --cpu 0", open),
        ("-m u32 --u32 0=0", open),
        ("-m conntrack --ctorigdstport 80", open),
    ] {
        assert_eq!(condition(text).ask(&known), answer, "{text}");
    }
}

#[test]
fn without_a_connection_only_the_state_can_match() {
    let untracked = Packet { state: Known::Is(1 << 8), ..Packet::default() };
    for (text, answer) in [
        ("-m conntrack --ctstate UNTRACKED", Answer::Yes),
        ("-m conntrack ! --ctproto tcp", Answer::No),
        ("-m conntrack --ctdir ORIGINAL", Answer::No),
        // The kernel looks no further when there is no connection.
        ("-m conntrack --ctstate UNTRACKED --ctproto tcp", Answer::Yes),
        ("-m conntrack --ctstate NEW ! --ctproto tcp", Answer::No),
    ] {
        assert_eq!(condition(text).ask(&untracked), answer, "{text}");
    }
    let mut tracked = Packet { state: Known::Is(1 << 3), ..Packet::default() };
    tracked.connection.original_destination_port = Known::Is(443);
    tracked.connection.is_reply = Known::Is(false);
    assert_eq!(condition("-m conntrack --ctorigdstport 440:450 --ctdir ORIGINAL").ask(&tracked), Answer::Yes);
    assert_eq!(condition("-m conntrack ! --ctorigdstport 443").ask(&tracked), Answer::No);
}
