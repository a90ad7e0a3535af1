//! Tracing on the command line: what is asked wrongly, documents and their keys, packets by the line, pictures, hostile names.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::Value;

use crate::program::{Folder, Run, command, fixture, nslens, text_of, with_input};

const POD: &str = "docs/productpage.json";
const BROKEN: &str = "docs/productpage-v2.json";

fn trace(file: &str, words: &[&str]) -> Run {
    let path = fixture(file);
    let all: Vec<&str> = ["trace", &path, "-q"].into_iter().chain(words.iter().copied()).collect();
    nslens(&all)
}

#[test]
fn what_makes_no_sense_is_refused_with_what_to_say_instead() {
    let to = "10.0.0.5:80";
    for (words, said) in [
        (&["--to", "10.0.0.5"][..], "10.0.0.5:443"),
        (&["--to", "10.0.0.5:0"], "have a port"),
        (&["--to", "10.0.0.5:http!"], "neither a port nor the name of a service"),
        (&["--to", "productpage:9080"], "names are not looked up"),
        (&["--to", "reviews.default.svc.cluster.local"], "names are not looked up"),
        (&["--to", "fe80::1%eth0"], "--interface eth0"),
        (&["--to", "0.0.0.0:80"], "127.0.0.1:80"),
        (&["--to", "[::]:80"], "[::1]:80"),
        (&["--to", "10.0.0:80"], "is no address"),
        (&["--to", to, "--from", "fd00::5"], "two families"),
        (&["--to", to, "--protocol", "icmp"], "have no port"),
        (&["--to", "10.0.0.5", "--protocol", "icmpv6"], "it is icmp"),
        (&["--to", to, "--protocol", "bogus"], "there are: tcp"),
        (&["--to", to, "--in", "--uid", "0"], "no owner here"),
        (&["--to", to, "--in", "--out"], "cannot be used with"),
        (&["--to", to, "--uid", "app"], "a number"),
        (&["--to", to, "--groups", "1,app"], "a number"),
        (&["--to", to, "--mark", "0xfffffffff"], "32 bits"),
        (&["--to", to, "--state", "old"], "there are: new"),
        (&["--to", to, "--interface", "a-name-that-is-too-long"], "15 bytes"),
        (&["--to", to, "--as", "productpage", "--uid", "1"], "cannot be used with"),
        (&["--to", to, "--as", "productpage", "--in"], "cannot be used with"),
        (&["--to", to, "--batch", "-"], "cannot be used with"),
        (&["--to", to, "--follow", "-o", "svg"], "no picture"),
        (&["--batch", "-", "-o", "table"], "lines of JSON"),
        (&[], "--to"),
    ] {
        let run = trace(POD, words).ended(2);
        assert_eq!(run.out, "", "{words:?}");
        assert!(run.err.starts_with("error: ") && run.err.contains(said), "{words:?}: {}", run.err);
    }
    for (words, said) in [
        (&["--to", to, "--interface", "eth7"][..], "there is: lo, eth0"),
        (&["--to", to, "--as", "nobody"], "containers with processes: istio-proxy, productpage"),
        (&["--to", to, "--as", "pid/9"], "no process"),
        (&["--batch", "./nowhere.jsonl"], "cannot read ./nowhere.jsonl"),
    ] {
        let run = trace(POD, words).ended(3);
        assert!(run.err.contains(said), "{words:?}: {}", run.err);
    }
    let both = nslens(&["trace", "-", "--batch", "-"]).ended(2);
    assert!(both.err.contains("standard input"), "{}", both.err);
    let rules = trace("istio.v4.rules", &["--to", to, "--as", "app"]).ended(2);
    assert!(rules.err.contains("--uid"), "{}", rules.err);
}

#[test]
fn the_exit_code_says_whether_the_answer_is_known() {
    trace(POD, &["--to", "10.0.0.5:80", "--uid", "1000"]).ended(0);
    // The workload has but one program that may have sent it.
    let run = trace(POD, &["--to", "10.0.0.5:80"]).ended(0);
    assert!(run.out.contains("taken for granted: it is sent by app/150 (UID 1000, GID 1000)"), "{}", run.out);
    let run = trace(POD, &["--to", "10.0.0.5:80", "--gid", "1000"]).ended(5);
    assert!(run.out.lines().any(|line| line.starts_with("Undecided: ")), "{}", run.out);
    let path = fixture(POD);
    let run = nslens(&["trace", &path, "--to", "10.0.0.5:80", "--gid", "1000"]).ended(5);
    assert!(run.err.contains("--uid, --gid, or --as"), "{}", run.err);
    trace(BROKEN, &["--to", "10.0.0.5:80", "--as", "productpage", "--follow"]).ended(0);
    // Nobody listens there.
    let run = trace(POD, &["--in", "--to", "10.88.7.2:15020"]).ended(0);
    assert!(
        run.out.lines().any(|line| line.starts_with("Refused: nobody listens at 10.88.7.2:15020; ")),
        "{}",
        run.out
    );
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().map(|object| object.keys().map(String::as_str).collect()).unwrap_or_default()
}

#[test]
fn the_document_has_the_keys_that_are_promised() {
    let told = trace(POD, &["--to", "10.0.0.5:80", "--uid", "1000", "-v", "-o", "json"]);
    // -q and -v do not go together.
    assert_eq!(told.code, 2, "{}", told.err);
    let path = fixture(POD);
    let told = nslens(&["trace", &path, "--to", "10.0.0.5:80", "--uid", "1000", "-v", "-o", "json"]).ended(0).json();
    let all = [
        "schema",
        "node",
        "target",
        "unread",
        "packet",
        "verdict",
        "source",
        "destination",
        "interface",
        "receiver",
        "path",
        "outcomes",
        "uncertain",
        "assumed",
        "then",
        "followed",
    ];
    assert_eq!(keys(&told), all);
    assert_eq!(told["schema"], "nslens.trace/v1");
    let packet =
        ["direction", "protocol", "source", "destination", "uid", "gid", "groups", "mark", "interface", "state"];
    assert_eq!(keys(&told["packet"]), packet);
    assert_eq!(keys(&told["receiver"]), ["local", "pid", "name", "uid", "container", "one_of"]);
    assert_eq!(keys(&told["path"][0]), ["hook", "rule", "matched", "action", "change", "why"]);
    assert_eq!(keys(&told["path"][0]["rule"]), ["backend", "family", "table", "chain", "number"]);
    let outcome = ["verdict", "source", "destination", "interface", "receiver", "because", "rule", "routes"];
    assert_eq!(keys(&told["outcomes"][0]), outcome);
    let unmatched = told["path"].as_array().into_iter().flatten().filter(|step| step["matched"] == false);
    assert!(unmatched.clone().count() >= 8 && unmatched.clone().all(|step| step["why"].is_string()), "{told}");
    assert_eq!(told["verdict"], "delivered");
    assert_eq!(told["destination"], "127.0.0.1:15001");
    assert_eq!(told["receiver"]["container"], "istio-proxy");
    let told = trace(POD, &["--to", "10.0.0.5:80", "--gid", "1000", "-o", "json"]).ended(5).json();
    assert_eq!(keys(&told["path"][0]), ["hook", "rule", "matched", "action", "change"]);
    assert_eq!(keys(&told["uncertain"][0]), ["rule", "why"]);
    let fourth = told["path"].as_array().into_iter().flatten().find(|step| step["rule"]["number"] == 4);
    assert!(fourth.is_some_and(|step| step["matched"].is_null()), "{told}");
    assert_eq!(told["outcomes"].as_array().map(Vec::len), Some(2));
    let told = trace(BROKEN, &["--to", "10.0.0.5:80", "--as", "productpage", "--follow", "-o", "json"]).json();
    assert_eq!((&told["followed"]["end"], &told["followed"]["again"]), (&"loop".into(), &1.into()));
    assert_eq!(told["then"]["sender"]["name"], "proxy");
    assert_eq!(keys(&told["then"])[1..], all[4..15]);
    assert!(told["then"]["then"].is_null() && told["then"]["sender"].is_object(), "{told}");
}

/// Packets with the options that ask the same.
const SAME: [(&str, &[&str]); 9] = [
    (r#"{"destination":"10.0.0.5:80"}"#, &["--to", "10.0.0.5:80"]),
    (
        r#"{"destination":"10.0.0.5:80","uid":1000,"gid":1000,"groups":[5,6]}"#,
        &["--to", "10.0.0.5:80", "--uid", "1000", "--gid", "1000", "--groups", "5,6"],
    ),
    (
        r#"{"destination":"10.0.0.5:http","uid":1337,"mark":1337}"#,
        &["--to", "10.0.0.5:80", "--uid", "1337", "--mark", "0x539"],
    ),
    (
        r#"{"direction":"in","destination":"10.88.7.2:9080","source":"10.88.7.1:4000","interface":"eth0"}"#,
        &["--in", "--to", "10.88.7.2:9080", "--from", "10.88.7.1:4000", "--interface", "eth0"],
    ),
    (r#"{"direction":"in","destination":"10.88.7.2:15020"}"#, &["--in", "--to", "10.88.7.2:15020"]),
    (
        r#"{"destination":"10.0.0.5:53","protocol":"udp","uid":0}"#,
        &["--to", "10.0.0.5:53", "--protocol", "udp", "--uid", "0"],
    ),
    (
        r#"{"destination":"10.0.0.5","protocol":"icmp","uid":0}"#,
        &["--to", "10.0.0.5", "--protocol", "icmp", "--uid", "0"],
    ),
    (
        r#"{"destination":"[fd00:88:7::9]:443","uid":7,"state":"untracked"}"#,
        &["--to", "[fd00:88:7::9]:443", "--uid", "7", "--state", "untracked"],
    ),
    (r#"{"destination":"127.0.0.1:15001","uid":7}"#, &["--to", "127.0.0.1:15001", "--uid", "7"]),
];

#[test]
fn a_line_is_answered_as_the_same_packet_alone() {
    let lines: String = SAME.iter().map(|(line, _)| format!("{line}\n")).collect();
    for (file, more) in [(POD, None), (POD, Some("--follow")), (BROKEN, Some("--follow")), ("istio.v4.rules", None)] {
        let path = fixture(file);
        let words: Vec<&str> = ["trace", &path, "-q", "--batch", "-"].into_iter().chain(more).collect();
        let batch = with_input(&words, lines.as_bytes());
        assert_eq!(batch.out.lines().count(), SAME.len(), "{}", batch.err);
        for (answer, (line, words)) in batch.out.lines().zip(SAME) {
            let words: Vec<&str> = words.iter().copied().chain(more).chain(["-o", "json"]).collect();
            let alone = trace(file, &words).json();
            let answer: Value = serde_json::from_str(answer).expect("a document");
            assert_eq!(answer, alone, "{file}: {line}");
            let words: Vec<&str> = words.iter().copied().take(words.len() - 1).chain(["jsonl"]).collect();
            let alone: Value = serde_json::from_str(&trace(file, &words).out).expect("a document");
            assert_eq!(answer, alone, "{file}: {line}");
        }
    }
}

/// Numbers that look random: `xorshift64`.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below.max(1) as u64).expect("small")
    }
}

/// A line of a packet, or one with bytes changed, left out, doubled or put in.
fn hostile(dice: &mut Dice) -> Vec<u8> {
    const BYTES: &[u8] = b"\"{}[]:,\\0eE+-.\x00\x1b\x7f\xff\xc3 \tnull";
    let (line, _) = SAME[dice.roll(SAME.len())];
    let mut line = line.as_bytes().to_vec();
    for _ in 0..dice.roll(4) {
        let at = dice.roll(line.len());
        match dice.roll(4) {
            0 if !line.is_empty() => line[at] = BYTES[dice.roll(BYTES.len())],
            1 if !line.is_empty() => drop(line.remove(at)),
            2 => line.insert(at, BYTES[dice.roll(BYTES.len())]),
            _ => line.extend_from_within(at..),
        }
    }
    line.retain(|byte| *byte != b'\n');
    line
}

#[test]
fn hostile_lines_are_answered_in_step() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut lines: Vec<Vec<u8>> = (0..3000).map(|_| hostile(&mut dice)).collect();
    lines.push(vec![b'['; 60_000]);
    lines.push(vec![b'x'; 200_000]);
    lines.push(Vec::new());
    lines.push(SAME[0].0.as_bytes().to_vec());
    let path = fixture(POD);
    // The last one has no end.
    let run = with_input(&["trace", &path, "-q", "--batch", "-"], &lines.join(&b'\n')).ended(2);
    let asked: Vec<usize> = (1..=lines.len()).filter(|at| !lines[at - 1].iter().all(u8::is_ascii_whitespace)).collect();
    assert_eq!(run.out.lines().count(), asked.len(), "{}", run.err);
    let mut wrong = 0;
    for (answer, at) in run.out.lines().zip(asked) {
        assert!(!answer.contains(|c: char| c.is_control()), "{answer:?}");
        let answer: Value = serde_json::from_str(answer).expect("JSON");
        if answer.get("error").is_some() {
            wrong += 1;
            assert_eq!(keys(&answer), ["error", "line"]);
            assert_eq!(answer["line"], at, "{answer}");
        } else {
            assert_eq!(answer["schema"], "nslens.trace/v1");
        }
    }
    assert!(wrong > 1000 && wrong < 2900, "{wrong} of 3000 are wrong");
}

#[test]
fn a_wrong_line_names_what_is_wrong() {
    let path = fixture(POD);
    let lines = "{\"destination\":\"10.0.0.5:80\",\"colour\":7}\n\n{\"destination\":\"10.0.0.5\"}\n[]\n{\"destination\":\"10.0.0.5:80\",\"uid\":1}\n";
    let run = with_input(&["trace", &path, "-q", "--batch", "-"], lines.as_bytes()).ended(2);
    let answers: Vec<Value> = run.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let error = |at: usize| answers[at]["error"].as_str().unwrap_or_default();
    assert!(error(0).contains("`colour`") && answers[0]["line"] == 1, "{}", error(0));
    assert!(error(1).contains("have a port") && answers[1]["line"] == 3, "{}", error(1));
    assert!(answers[2]["error"].is_string() && answers[2]["line"] == 4);
    assert_eq!(answers[3]["verdict"], "delivered");
}

#[test]
fn whoever_waits_for_an_answer_gets_it() {
    let path = fixture(POD);
    let mut child = command(&["trace", &path, "-q", "--batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let (mut input, output) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
    let mut output = BufReader::new(output);
    for port in 80..83 {
        writeln!(input, "{{\"destination\":\"10.0.0.5:{port}\",\"uid\":1337}}").expect("a line is written");
        let mut answer = String::new();
        output.read_line(&mut answer).expect("an answer");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(answer["destination"], format!("10.0.0.5:{port}"));
    }
    drop(input);
    assert_eq!(child.wait().expect("an end").code(), Some(0));
}

#[test]
fn lines_are_as_wide_as_the_screen_and_colours_are_but_colours() {
    let path = fixture(POD);
    for words in [&["--to", "10.0.0.5:80"][..], &["--in", "--to", "10.88.7.2:9080"], &["--to", "10.0.0.5:80", "-v"]] {
        let all = |colour| -> Vec<&str> {
            ["trace", &path, "--color", colour].into_iter().chain(words.iter().copied()).collect()
        };
        let (plain, painted) = (nslens(&all("never")).out, nslens(&all("always")).out);
        for line in plain.lines() {
            assert!(line.chars().count() <= 80, "{line:?}");
        }
        let mut stripped = String::new();
        let mut parts = painted.split('\u{1b}');
        stripped.push_str(parts.next().unwrap_or_default());
        for part in parts {
            stripped.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
        }
        assert_eq!(stripped, plain);
        assert_ne!(painted, plain);
    }
}

#[test]
fn names_that_steer_a_terminal_are_written_out_in_every_form() {
    let evil = "ev\u{1b}[31mil\u{202e}";
    let rules = format!(
        "*nat\n:OUTPUT ACCEPT [0:0]\n:{evil} - [0:0]\n-A OUTPUT -m comment --comment \"\u{1b}]0;x\u{7}\" -j {evil}\n\
         -A {evil} -p tcp -m mark --mark 0x1 -j RETURN\n-A {evil} -p tcp -j REDIRECT --to-ports 15001\nCOMMIT\n"
    );
    let folder = Folder::new();
    let path = folder.put("evil.rules", rules);
    for form in ["table", "json", "jsonl", "yaml", "mermaid", "dot", "svg"] {
        let run = nslens(&["trace", &path, "--to", "10.0.0.5:80", "--uid", "1", "-v", "-o", form]);
        assert!(run.code == 0 || run.code == 5, "{form}: {}", run.err);
        let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!run.out.contains(steers), "{form}: {:?}", run.out);
        assert!(run.out.contains("il"), "{form}");
    }
}

#[test]
fn the_picture_marks_what_is_taken_and_nothing_else() {
    let words = ["--to", "10.0.0.5:80", "--uid", "1000"];
    let with = |form: &str| {
        let words: Vec<&str> = words.iter().copied().chain(["-o", form]).collect();
        trace(POD, &words).ended(0).out
    };
    let dot = with("dot");
    let arrows: Vec<&str> = dot.lines().filter(|line| line.contains(" -> ") && line.contains("tooltip")).collect();
    assert_eq!(arrows.len(), 3, "{dot}");
    assert!(arrows.iter().all(|line| line.contains("penwidth=3")), "{dot}");
    assert_eq!(dot.matches("✓ ").count(), 3, "{dot}");
    assert!(!dot.contains("ISTIO_INBOUND"), "a chain that is not on the way");
    let svg = with("svg");
    assert_eq!((svg.matches("class=\"taken\"").count(), svg.matches("wire-taken\"").count()), (3, 3), "{svg}");
    assert_eq!(with("mermaid").matches("✓ ").count(), 3);
    let unsure = trace(POD, &["--to", "10.0.0.5:80", "--gid", "1000", "-o", "svg"]).ended(5).out;
    assert!(unsure.contains("class=\"perhaps\"") && unsure.contains("stroke-dasharray"), "{unsure}");
    // Pictures of rules are as they were.
    let path = fixture(POD);
    let rules = nslens(&["rules", &path, "-q", "-o", "svg"]).ended(0).out;
    assert!(!rules.contains("class=\"taken\"") && !rules.contains("class=\"not\""));
}

#[test]
fn long_chains_are_shortened_to_what_is_taken() {
    let many: String = (1..=300).map(|at| format!("-A OUTPUT -d 10.1.0.{}/32 -j RETURN\n", at % 250)).collect();
    let rules =
        format!("*nat\n:OUTPUT ACCEPT [0:0]\n{many}-A OUTPUT -p tcp -j REDIRECT --to-ports 15001\n{many}COMMIT\n");
    let folder = Folder::new();
    let path = folder.put("long.rules", rules);
    let dot = nslens(&["trace", &path, "--to", "10.0.0.5:80", "--uid", "1", "-o", "dot"]).out;
    assert_eq!(dot.matches("300 rules that do not match").count(), 2, "{dot}");
    assert_eq!(dot.matches("✓ ").count(), 1, "{dot}");
    let arrow = dot.lines().find(|line| line.contains("tooltip")).unwrap_or_default();
    assert!(arrow.contains("15001") && arrow.contains("penwidth=3"), "{dot}");
}

#[test]
fn rules_alone_say_where_it_goes_and_that_the_rest_is_not_known() {
    let run = trace("istio.v4.rules", &["--to", "10.0.0.5:80", "--uid", "1000"]).ended(5);
    let told = run.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("redirected to 127.0.0.1:15001 by rule 1 of ISTIO_REDIRECT (nat)"), "{told}");
    assert!(told.contains("taken for granted"), "{told}");
    let text = text_of("istio.v4.rules");
    let piped = with_input(&["trace", "-", "--to", "10.0.0.5:80", "--uid", "1337"], text.as_bytes()).ended(0);
    assert!(piped.out.contains("Leaves for 10.0.0.5:80"), "{}", piped.out);
}

#[test]
fn a_rule_that_gives_a_packet_to_a_socket_is_named_where_no_sockets_were_read() {
    let folder = Folder::new();
    let rule = "-A PREROUTING -p tcp --dport 80 -j TPROXY --on-port 15006 --tproxy-mark 1";
    let file = folder.put("rules", format!("*mangle\n{rule}\nCOMMIT\n"));
    let run = nslens(&["trace", &file, "--in", "--to", "10.0.0.5:80"]).ended(5);
    let path = run.out.find("TPROXY --on-port 15006").expect("the rule stands in the path");
    let said = run.out.find("Undecided: ").expect("the answer");
    let answer = run.out.get(said..).unwrap_or_default();
    assert!(
        path < said && answer.contains("which sockets wait, for rule legacy ip mangle PREROUTING 1"),
        "{}",
        run.out
    );
}
