//! The first minute: what the program says when it is asked nothing, for help, or wrongly.

use crate::program::{command, nslens};

const COMMANDS: [&str; 9] = ["rules", "conns", "trace", "check", "diff", "snapshot", "watch", "demo", "completions"];

#[test]
fn alone_it_says_what_it_is_in_ten_lines() {
    let run = nslens(&[]).ended(0);
    assert!(run.out.lines().count() <= 10, "{}", run.out);
    assert!(run.out.lines().all(|line| line.chars().count() <= 100), "{}", run.out);
    let examples = run.out.lines().filter(|line| line.starts_with("  ") && line.contains("nslens ")).count();
    assert_eq!(examples, 3, "{}", run.out);
    assert!(run.out.contains("nslens demo"), "{}", run.out);
    assert_eq!(run.err, "");
}

#[test]
fn the_version_is_the_package_s() {
    let run = nslens(&["--version"]).ended(0);
    assert_eq!(run.out, format!("nslens {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(nslens(&["-V"]).ended(0).out, run.out);
}

#[test]
fn every_help_begins_with_two_examples() {
    for name in COMMANDS {
        let run = nslens(&[name, "--help"]).ended(0);
        let mut lines = run.out.lines();
        assert_eq!(lines.next(), Some("Examples:"), "{name}");
        for _ in 0..2 {
            let example = lines.next().unwrap_or_default();
            let words = example.trim().trim_start_matches("sudo ");
            assert!(words.starts_with("nslens "), "{name}: {example:?} is no example");
        }
        assert!(run.out.contains(&format!("nslens {name}")), "{name}: its examples are another's");
    }
    let run = nslens(&["--help"]).ended(0);
    assert_eq!(run.out.lines().next(), Some("Examples:"));
    for name in COMMANDS {
        assert!(run.out.contains(&format!("\n  {name} ")), "--help does not list {name}");
    }
}

#[test]
fn the_short_help_fits_a_screen() {
    for words in std::iter::once(vec!["-h"]).chain(COMMANDS.iter().map(|name| vec![*name, "-h"])) {
        let output = command(&words).env("COLUMNS", "80").output().expect("the program runs");
        let text = String::from_utf8(output.stdout).expect("text");
        let lines = text.lines().count();
        assert!(lines <= 24, "{words:?} prints {lines} lines:\n{text}");
        for line in text.lines() {
            let width = line.chars().count();
            assert!(width <= 80, "{words:?} prints a line of {width}: {line:?}");
        }
    }
}

#[test]
fn the_examples_of_every_help_are_understood() {
    for name in COMMANDS {
        let help = nslens(&[name, "--help"]).ended(0).out;
        let examples = help.lines().skip(1).take_while(|line| !line.is_empty());
        for example in examples {
            let words: Vec<&str> = example.split_whitespace().skip_while(|word| *word != "nslens").skip(1).collect();
            let mut words: Vec<&str> =
                words.into_iter().take_while(|word| !word.starts_with(['>', '|', '#'])).collect();
            words.push("--help");
            assert_eq!(nslens(&words).code, 0, "{example:?} is not understood");
        }
    }
}

#[test]
fn what_is_not_understood_is_wrong_usage() {
    for words in [
        &["bogus"][..],
        &["rules", "--nope"],
        &["rules", "./a", "./b"],
        &["rules", "./a", "-4", "-6"],
        &["rules", "./a", "-q", "-v"],
        &["rules", "./a", "-o", "xml"],
        &["rules", "./a", "--backend", "ebtables"],
        &["rules", "./a", "--color", "sometimes"],
        &["rules", "./a", "--timeout", "0"],
        &["rules", "./a", "--runtime", "rkt"],
        &["watch", "./a", "--only", "sets"],
        &["watch", "./a", "-o", "json"],
        &["watch", "./a", "--count", "0"],
        &["watch", "./a", "--interval", "0"],
        &["completions", "tcsh"],
        &["completions"],
    ] {
        let run = nslens(words).ended(2);
        assert_eq!(run.out, "", "{words:?}");
        assert!(run.err.starts_with("error: "), "{words:?}: {}", run.err);
    }
}

#[test]
fn an_unknown_kind_names_the_known_ones() {
    for word in ["deployment/web", "pod/", "pid/one", "docker://xyz", "file/", "", "node-1:pod/web", "rkt://abcd1234"] {
        let run = nslens(&["rules", word]).ended(2);
        assert_eq!(run.out, "");
        assert!(run.err.starts_with("error: "), "{word:?}: {}", run.err);
    }
    let run = nslens(&["rules", "deployment/web"]).ended(2);
    for kind in ["pod/", "container/", "pid/", "netns/", "file/"] {
        assert!(run.err.contains(kind), "{}", run.err);
    }
}

#[test]
fn what_is_followed_is_named_and_a_file_does_not_change() {
    let run = nslens(&["watch", "host", "--only", "rules"]).ended(2);
    assert!(run.err.contains("rules are not followed yet"), "{}", run.err);
    let run = nslens(&["watch", "./tests/fixtures/docs/productpage.json"]).ended(2);
    assert!(run.err.contains("does not change") && run.err.contains("nslens conns"), "{}", run.err);
}

#[test]
fn a_missing_target_says_what_one_looks_like() {
    for words in [&["rules"][..], &["conns"], &["watch"], &["snapshot"], &["diff"], &["diff", "./a"]] {
        let run = nslens(words).ended(2);
        assert!(run.err.lines().any(|line| line.starts_with("hint: ") && line.contains("pod/")), "{}", run.err);
    }
    let both = nslens(&["diff", "-", "-"]).ended(2);
    assert!(both.err.contains("standard input"), "{}", both.err);
}

#[test]
fn a_target_s_own_control_characters_do_not_reach_the_terminal() {
    let run = nslens(&["rules", "x\u{1b}[31m/y\u{202e}"]).ended(2);
    assert!(!run.err.contains(['\u{1b}', '\u{202e}']), "{:?}", run.err);
    let run = nslens(&["rules", "./no\u{1b}[2Jsuch"]).ended(3);
    assert!(!run.err.contains('\u{1b}'), "{:?}", run.err);
    let run = nslens(&["bo\u{1b}[31mgus"]).ended(2);
    assert!(!run.err.contains('\u{1b}'), "{:?}", run.err);
}

#[test]
fn words_that_are_no_text_are_wrong_usage() {
    use std::os::unix::ffi::OsStrExt;
    let mut command = command(&["rules"]);
    let output = command.arg(std::ffi::OsStr::from_bytes(b"./\xff\xfe")).output().expect("the program runs");
    assert!(matches!(output.status.code(), Some(2 | 3)), "{output:?}");
}
