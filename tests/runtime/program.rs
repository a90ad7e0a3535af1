//! Runs the program and keeps all that it said. Nothing of it may ever hold what was planted in environments and manifests.

use std::process::{Command, Output};

use serde_json::Value;

use crate::runtimes::{PLANTED, Place};

/// The program under test.
pub(crate) const NSLENS: &str = env!("CARGO_BIN_EXE_nslens");

/// Variables by which a user could name runtimes or looks; the machine's own must not reach a test.
const VARIABLES: [&str; 5] =
    ["CONTAINER_RUNTIME_ENDPOINT", "CONTAINER_HOST", "DOCKER_HOST", "DOCKER_CONTEXT", "CLICOLOR_FORCE"];

/// What came of one run.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The command line, for messages.
    #[expect(dead_code, reason = "Debug prints it")]
    words: String,
    /// The exit code.
    pub(crate) code: i32,
    /// Results.
    pub(crate) stdout: String,
    /// Everything else.
    pub(crate) stderr: String,
}

impl Answer {
    /// Runs a command that is the program, or starts it.
    pub(crate) fn of(mut command: Command, words: &[&str]) -> Self {
        VARIABLES.iter().for_each(|name| {
            command.env_remove(name);
        });
        let Output { status, stdout, stderr } = command.args(words).output().expect("the program can be run");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
        let answer = Self {
            words: words.join(" "),
            code: status.code().expect("it ends by itself"),
            stdout: text(stdout),
            stderr: text(stderr),
        };
        assert!(!answer.stdout.contains(PLANTED) && !answer.stderr.contains(PLANTED), "a secret came out: {answer:#?}");
        answer
    }

    /// It must have ended with this code. Where that is a failure, nothing is on stdout, and stderr says what and what to do.
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        if code > 1 {
            assert!(self.stdout.is_empty() && self.stderr.starts_with("error: "), "{self:#?}");
        }
        self
    }

    /// It must have said so on stderr.
    pub(crate) fn said(self, words: &str) -> Self {
        assert!(self.stderr.contains(words), "{words:?} is missing: {self:#?}");
        self
    }

    /// The document on stdout; it must have ended well and have had nothing else to say.
    pub(crate) fn json(&self) -> Value {
        // That it reads a file is said.
        let silent = self.stderr.lines().all(|line| line.starts_with("note: ") && line.contains(" is a snapshot of "));
        assert!(self.code <= 1 && silent, "{self:#?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// The words of each candidate that an ambiguous target has.
    pub(crate) fn candidates(&self) -> Vec<String> {
        let hints = self.stderr.lines().filter_map(|line| line.strip_prefix("hint: ")?.split_once("  for "));
        let command = |words: &str| {
            // `nslens COMMAND` stands before it where a command has one target.
            let typed = words.strip_prefix("nslens ").and_then(|rest| rest.split_once(' ')).map(|(_, target)| target);
            typed.unwrap_or(words).to_owned()
        };
        hints.map(|(words, _)| command(words)).collect()
    }
}

/// Runs it inside a lab. Unless the test is about that, runtimes get more time than a user would give them: tests run side by
/// side on machines that are busy.
pub(crate) fn nslens(place: &Place, words: &[&str]) -> Answer {
    let patience: &[&str] = if words.contains(&"--timeout") { &[] } else { &["--timeout", "30s"] };
    Answer::of(place.inside(NSLENS), &[words, patience].concat())
}

/// Runs it on the machine itself, outside of every lab.
pub(crate) fn outside(words: &[&str]) -> Answer {
    Answer::of(Command::new(NSLENS), words)
}

/// Whom a target turns out to be.
pub(crate) fn target(place: &Place, words: &[&str]) -> Value {
    let words = [&["rules"], words, &["-o", "json"]].concat();
    nslens(place, &words).ended(0).json()["target"].take()
}

/// All that is known of a target, as a snapshot has it.
pub(crate) fn workload(place: &Place, words: &[&str]) -> Value {
    let words = [&["snapshot"], words].concat();
    nslens(place, &words).ended(0).json()["workload"].take()
}

/// `rules` on a target that leads nowhere.
pub(crate) fn refused(place: &Place, words: &[&str], code: i32) -> Answer {
    nslens(place, &[&["rules"], words].concat()).ended(code)
}

/// An ambiguous target: its candidates in order, each of which picks exactly one, and the processes that they pick.
pub(crate) fn rivals(place: &Place, words: &[&str]) -> Vec<(String, Value)> {
    let answer = refused(place, words, 3).said("is ambiguous");
    let mut candidates = answer.candidates();
    assert!(answer.stderr.contains(&format!("{} workloads", candidates.len())), "{answer:#?}");
    candidates.sort_unstable();
    let picked = candidates.into_iter().map(|candidate| {
        let target = target(place, &candidate.split(' ').collect::<Vec<_>>());
        (candidate, target["pid"].clone())
    });
    let picked: Vec<_> = picked.collect();
    for (index, (candidate, pid)) in picked.iter().enumerate() {
        assert!(picked[..index].iter().all(|(_, other)| other != pid), "{candidate} picks another's: {picked:?}");
    }
    picked
}

/// Lines that only one of the two has; all where it is only their order that differs.
pub(crate) fn changes(before: &[String], after: &[String]) -> Vec<String> {
    if before == after {
        return Vec::new();
    }
    let only = |sign: char, these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|line| !those.contains(line)).map(|line| format!("{sign} {line}")).collect()
    };
    let changes = [only('-', before, after), only('+', after, before)].concat();
    if changes.is_empty() { [before, after].concat() } else { changes }
}
