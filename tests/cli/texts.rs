//! nft's text and JSON as files, and what of a text is not understood: said by line and column, kept as text, and nothing else lost.

use nslens::model::{Body, Family};
use nslens::syntax::{parse_nft, parse_nft_json, print_nft, read_save};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::program::{Folder, nslens, with_input};

const NFT: &str = "table inet t {\n\tchain out {\n\t\ttype nat hook output priority dstnat; policy accept;\n\
    \t\tmeta skuid 1337 return\n\t\tmeta l4proto tcp redirect to :15001\n\t}\n}\n";

#[test]
fn nfts_text_is_listed_as_it_stands_and_read_as_rules() {
    let run = with_input(&["rules", "-", "-o", "nft"], NFT.as_bytes()).ended(0);
    assert_eq!(run.out, NFT.replace("priority dstnat", "priority -100"));
    let run = with_input(&["rules", "-"], NFT.as_bytes()).ended(0);
    assert!(run.out.contains("proxy at 15001") && run.out.contains("UID 1337"), "{}", run.out);
}

#[test]
fn what_nft_takes_from_files_is_taken() {
    let script = "#!/usr/sbin/nft -f\n# a comment\nflush ruleset\ndefine proxy = 15001\ndefine ours = { 10.0.0.0/8, 127.0.0.1 }\n\
        add table inet t\nadd chain inet t out { type nat hook output priority -100; }\n\
        add rule inet t out ip daddr $ours return\ninsert rule inet t out meta skuid 1337 \\\n return\n\
        table inet t { chain out { tcp dport { 80,443 } redirect to :$proxy; }; }\r\n";
    let run = with_input(&["rules", "-", "-o", "nft"], script.as_bytes()).ended(0);
    let rules: Vec<&str> = run.out.lines().skip(3).map(str::trim).collect();
    assert_eq!(
        rules[..3],
        [
            "meta skuid 1337 return",
            "ip daddr { 10.0.0.0/8, 127.0.0.1 } return",
            "tcp dport { 80, 443 } redirect to :15001"
        ]
    );
}

/// Rules of a text, line by line, as nft would list them.
fn rules_of(text: &str, code: i32) -> Vec<String> {
    let run = with_input(&["rules", "-", "-o", "nft"], text.as_bytes()).ended(code);
    let lines = run.out.lines().filter(|line| line.starts_with("\t\t") && !line.contains("hook"));
    lines.map(|line| line.trim().to_owned()).collect()
}

#[test]
fn commands_take_away_what_others_put() {
    let script = "table inet old { chain c { accept\n} }\ndelete table inet old\ntable inet t\ndelete table inet t\n\
        add table inet t\nadd chain inet t a\nadd rule inet t a tcp dport 1 accept\nadd rule inet t a tcp dport 3 accept\n\
        add rule inet t a index 0 tcp dport 2 accept\ninsert rule inet t a index 0 tcp dport 0 accept\n\
        add chain inet t gone { drop\n }\ndelete chain inet t gone\nadd chain inet t e { drop\n }\nflush chain inet t e\n\
        rename chain inet t a renamed\nadd inet t renamed tcp dport 4 accept\n\
        add set inet t s { type mark; }\nadd element inet t s { 1, 2, 3 }\ndelete element inet t s { 2 }\n\
        destroy chain inet t never\nflush set inet t never\n";
    let run = with_input(&["rules", "-", "-o", "nft"], script.as_bytes()).ended(0);
    assert!(
        run.out.contains("chain renamed {") && !run.out.contains("gone") && !run.out.contains("old"),
        "{}",
        run.out
    );
    assert!(run.out.contains("elements = { 0x00000001, 0x00000003 }"), "{}", run.out);
    let ports: Vec<String> = (0..5).map(|port| format!("tcp dport {port} accept")).collect();
    assert!(rules_of(script, 0).ends_with(&ports), "{:?}", rules_of(script, 0));
    let json = r#"{"nftables": [{"add": {"table": {"family": "ip", "name": "t"}}},
        {"add": {"rule": {"family": "ip", "table": "t", "chain": "c", "expr": [{"accept": null}]}}},
        {"insert": {"rule": {"family": "ip", "table": "t", "chain": "c", "expr": [{"drop": null}]}}},
        {"add": {"chain": {"family": "ip", "table": "t", "name": "gone"}}},
        {"delete": {"chain": {"family": "ip", "table": "t", "name": "gone"}}},
        {"add": {"table": {"family": "ip6", "name": "x"}}}, {"delete": {"table": {"family": "ip6", "name": "x"}}}]}"#;
    assert_eq!(rules_of(json, 0), ["drop", "accept"]);
    // What hangs on the kernel's handles is said, by its place.
    for (text, place) in [
        ("table ip t { chain c { accept\n} }\n delete rule ip t c handle 5\n", "line 3, column 14: "),
        ("table ip t { chain c { accept\n} }\nreplace rule ip t c handle 5 drop\n", "line 3, column 1: "),
        ("table ip t { chain c { accept\n} }\nadd rule ip t c handle 5 drop\n", "line 3, column 17: "),
    ] {
        let run = with_input(&["rules", "-"], text.as_bytes()).ended(5);
        assert!(run.out.contains(place) || run.err.contains(place), "{text}: {}{}", run.out, run.err);
    }
}

#[test]
fn odd_ways_of_writing_are_read_as_nft_reads_them() {
    let wanted =
        ["iifname \"eth0\" tcp dport 80 accept", "tcp dport { 22, 443 } jump other", "ip saddr 10.0.0.0/8 drop"];
    for text in [
        "\u{feff}# a comment\r\ntable ip t {\r\n\tchain c {\r\n\t\tiifname \"eth0\" tcp dport 80 accept\r\n\
         \t\ttcp dport { 22, 443 } jump other\r\n\t\tip saddr 10.0.0.0/8 drop\r\n\t}\r\n}\r\n",
        "table ip t{chain c{iifname eth0 tcp dport 80 accept;tcp dport{22,443}jump other;ip saddr 10.0.0.0/8 drop;}}",
        "define lan = eth0\ndefine web = { 22,\n 443 } # ports\ntable ip t { # here\n define to = other\n chain c { # there\n\
         define all = 10.0.0.0/8\n iifname $lan tcp dport 80 accept # a; b { c\n tcp dport $web jump $to ;; ip saddr $all drop } }",
        "add table t;add chain t c;add rule t c iifname eth0 \\\n  tcp   dport\t80 accept\n\
         add rule ip t c tcp dport {\n 22 ,\n # no\n 443\n} jump other\nadd rule t c ip saddr 10.0.0.0/8 drop",
    ] {
        assert_eq!(rules_of(text, 0), wanted, "{text:?}");
    }
    for (text, line, column) in [
        ("table ip t {\n chain c {\n  accept\n  tcp dport 80 grün\n }\n}\n", 4, 16),
        ("table ip t {\n chain c {\n  tcp dport { 80,\n 81,\n  x y }\n accept\n }\n}\n", 5, 5),
        ("table ip t {\n chain ä \\\n {\n  comment \"ü\" ; nope\n }\n}\n", 4, 17),
        ("\u{feff}nope\ntable ip t {\n}\n", 1, 1),
    ] {
        let read = parse_nft(text.trim_start_matches('\u{feff}'));
        let places: Vec<_> = read.faults.iter().map(|fault| (fault.line, fault.column)).collect();
        assert_eq!(places, [(line, column)], "{text:?}: {:?}", read.faults);
    }
}

#[test]
fn several_texts_make_one_workload() {
    let folder = Folder::new();
    let rules = "# Generated by iptables-save v1.8.9\n*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p tcp -j REDIRECT --to-ports 15001\nCOMMIT\n";
    let both = format!(
        "file/{},{}",
        folder.put("a.nft", "table inet own {\n chain c {\n  drop\n }\n}\n"),
        folder.put("b.rules", rules)
    );
    let run = nslens(&["rules", &both, "-o", "json"]).ended(0).json();
    let tables: Vec<&str> = run["rulesets"]
        .as_array()
        .expect("a list")
        .iter()
        .flat_map(|set| set["tables"].as_array().expect("a list"))
        .filter_map(|table| table["name"].as_str())
        .collect();
    assert!(tables.contains(&"own") && tables.contains(&"nat"), "{tables:?}");
}

#[test]
fn json_of_nft_is_told_from_a_snapshot() {
    let json = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"table": {"family": "ip", "name": "t", "handle": 1}},
        {"chain": {"family": "ip", "table": "t", "name": "c", "handle": 1, "type": "nat", "hook": "output", "prio": -100}},
        {"rule": {"family": "ip", "table": "t", "chain": "c", "handle": 2, "expr": [
        {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 80}},
        {"redirect": {"port": 15001}}]}}]}"#;
    let run = with_input(&["rules", "-", "-o", "nft"], json.as_bytes()).ended(0);
    assert!(run.out.contains("\t\ttcp dport 80 redirect to :15001\n"), "{}", run.out);
    let cut = with_input(&["rules", "-"], &json.as_bytes()[..json.len() - 20]).ended(5);
    assert!(cut.out.contains("could not read line 3"), "{}", cut.out);
}

#[test]
fn a_statement_that_is_not_understood_is_said_by_its_place_and_the_rest_is_read() {
    let text = NFT.replace("meta skuid 1337 return", "meta skuid 1337 frobnicate \"x\" 7");
    let run = with_input(&["rules", "-", "-o", "nft"], text.as_bytes()).ended(5);
    assert!(run.out.contains("\t\tmeta skuid 1337 [ frobnicate \"x\" 7 ]\n"), "{}", run.out);
    assert!(run.out.contains("redirect to :15001"), "{}", run.out);
    assert!(run.err.contains("line 4, column 19: "), "{}", run.err);
    let json = with_input(&["rules", "-", "-o", "json"], text.as_bytes()).json();
    let rule = &json["rulesets"][0]["tables"][0]["chains"][0]["rules"][0];
    assert_eq!(rule["unknown"], serde_json::json!(["expression frobnicate \"x\" 7"]));
    for (text, place) in
        [("include \"other.nft\"", "line 8, column 1"), ("table ip x {\n flibber y\n}", "line 9, column")]
    {
        let run = with_input(&["rules", "-"], format!("{NFT}{text}\n").as_bytes()).ended(5);
        assert!(run.out.contains(place), "{}", run.out);
    }
}

#[test]
fn a_rule_of_iptables_that_is_not_understood_does_not_take_the_others_with_it() {
    let text = "*nat\n:OUTPUT ACCEPT [0:0]\n[1:2] -A OUTPUT -s example.org -j RETURN\r\n-A OUTPUT -j REDIRECT --to-ports\n\
        -A OUTPUT -p tcp -j REDIRECT --to-ports 15001\nCOMMIT";
    let run = with_input(&["rules", "-", "-o", "save"], text.as_bytes()).ended(5);
    for line in
        ["-A OUTPUT [unknown rule \"-s example.org -j RETURN\" ]\n", "-A OUTPUT -p tcp -j REDIRECT --to-ports 15001\n"]
    {
        assert!(run.out.contains(line), "{}", run.out);
    }
    for place in ["line 3, column 20: ", "line 4, column "] {
        assert!(run.err.contains(place), "{}", run.err);
    }
    // What was kept survives its own print, and a snapshot.
    let again = with_input(&["rules", "-", "-o", "save"], run.out.as_bytes());
    assert_eq!(again.out, run.out);
    let folder = Folder::new();
    let (file, saved) = (folder.put("a.rules", text), folder.path("a.json"));
    nslens(&["snapshot", &file, "-f", &saved]);
    assert_eq!(nslens(&["rules", &saved, "-o", "save"]).out, run.out);
}

const WORDS: [&str; 64] = [
    "table",
    "chain",
    "set",
    "map",
    "inet",
    "ip",
    "ip6",
    "{",
    "}",
    "{",
    "}",
    "\n",
    "\n",
    ";",
    "type",
    "filter",
    "nat",
    "hook",
    "input",
    "output",
    "priority",
    "-100",
    "policy",
    "accept",
    "drop",
    "tcp",
    "dport",
    "sport",
    "80",
    "80-90",
    "443",
    ",",
    ":",
    ".",
    "saddr",
    "daddr",
    "10.0.0.1",
    "10.0.0.0/8",
    "fd00::1",
    "meta",
    "mark",
    "l4proto",
    "ct",
    "state",
    "new,established",
    "!=",
    "==",
    "&",
    "|",
    "(",
    ")",
    "vmap",
    "@s",
    "counter",
    "limit",
    "rate",
    "1/second",
    "log",
    "prefix",
    "\"a b\"",
    "redirect",
    "to",
    "jump",
    "elements =",
];

fn survives(text: &str) {
    let read = parse_nft(text);
    let printed = print_nft(&read.rulesets, &[]).text;
    for fault in &read.faults {
        assert!(
            fault.line >= 1 && fault.column >= 1 && fault.line <= text.matches('\n').count() + 1,
            "{fault} in {text:?}"
        );
    }
    let _ = parse_nft(&printed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_words_of_nft(words in vec(select(&WORDS[..]), 0..60)) {
        survives(&words.join(" "));
        survives(&format!("table inet t {{\n chain c {{\n {}", words.join(" ")));
    }

    #[test]
    fn any_text_as_nfts(text in "(\\PC|[\\n\"{};,#\\\\-])*") {
        survives(&text);
        survives(&format!("table ip t {{\nchain c {{\n{text}\n}}\n}}\n"));
    }

    #[test]
    fn changed_lists_of_nft(at in 0_usize..30_000, length in 0_usize..40, put in "(\\PC|[\\n\"{}])*") {
        let list = include_str!("../fixtures/nft/listed.txt");
        let from = (at..list.len()).find(|at| list.is_char_boundary(*at)).unwrap_or(0);
        let to = (from + length..=list.len()).find(|at| list.is_char_boundary(*at)).unwrap_or(list.len());
        survives(&format!("{}{put}{}", &list[..from], &list[to..]));
    }

    #[test]
    fn any_text_as_nfts_json(text in "(\\PC|[\\[\\]{}\",:0-9])*") {
        let _ = parse_nft_json(&text);
        let _ = parse_nft_json(&format!("{{\"nftables\": [{text}]}}"));
        let rule = format!("{{\"rule\": {{\"family\": \"ip\", \"table\": \"t\", \"chain\": \"c\", \"expr\": [{text}]}}}}");
        let _ = parse_nft_json(&format!("{{\"nftables\": [{rule}]}}"));
    }

    #[test]
    fn a_rule_that_is_kept_as_text_prints_as_one(text in "[a-z0-9 \"'!,./:-]*") {
        let text = format!("*nat\n-A OUTPUT {text}\nCOMMIT\n");
        if let Ok(read) = read_save(&text, Family::Ip) {
            let rules: Vec<_> = read.rulesets.iter().flat_map(|set| &set.tables).flat_map(|table| &table.chains).flat_map(|chain| &chain.rules).collect();
            prop_assert!(rules.iter().all(|rule| matches!(rule.body, Body::Xt(_))));
        }
    }
}

#[test]
fn deep_wide_and_open_texts_end_soon() {
    let start = std::time::Instant::now();
    let head = "table ip t {\n chain c {\n";
    for text in [
        format!("{head}{}", "(".repeat(100_000)),
        format!("{head}{}", "ip saddr { ".repeat(50_000)),
        format!("{head}{}", "jhash ".repeat(50_000)),
        format!("{head}{}", "ip saddr { 1.1.1.1, x y\n".repeat(3_000)),
        format!("{head}{}", "a \"\n".repeat(10_000)),
        format!("table ip t {{\n{}", "chain c { ".repeat(50_000)),
        format!(
            "table ip t {{\n{}}}\n",
            (0..10_000).map(|n| format!("set s{n} {{ type mark; }}\n")).collect::<String>()
        ),
        format!(
            "{head}{} }}\n",
            (0..10_000).map(|n| format!("tcp dport {} accept\n", n % 60_000 + 1)).collect::<String>()
        ),
        "\0".repeat(10_000),
        "{".repeat(1_000_000),
        format!("{head}{}", "{ ".repeat(500_000)),
        format!("{head} tcp dport {{ {} }} accept\n }}\n}}\n", "80, ".repeat(100_000)),
        (0..20_000).map(|n| format!("define d{n} = {n}\n")).collect::<String>(),
        format!("{head}}}\n}}\n{}", "insert rule ip t c accept\n".repeat(20_000)),
    ] {
        let _ = parse_nft(&text);
        let _ = parse_nft_json(&text);
    }
    assert!(start.elapsed() < std::time::Duration::from_secs(60), "{:?}", start.elapsed());
}
