//! What goes where: colours, closed and full streams, notes, completions.

use std::fs::OpenOptions;
use std::io::Read;
use std::process::{Command, Stdio};

use crate::program::{command, fixture, nslens, say, with_input};

const ESCAPE: char = '\u{1b}';

#[test]
fn colours_come_when_they_are_asked_for() {
    let file = fixture("save/legacy.rules");
    let rules = |words: &[&str]| nslens(&[&["rules", &file], words].concat()).ended(0).out;
    assert!(!rules(&[]).contains(ESCAPE), "no escapes where there is no terminal");
    assert!(!rules(&["--color", "auto"]).contains(ESCAPE));
    assert!(!rules(&["--color", "never"]).contains(ESCAPE));
    assert!(rules(&["--color", "always"]).contains(ESCAPE));
    let plain: String = without_colours(&rules(&["--color", "always"]));
    assert_eq!(plain, rules(&[]), "the meaning never hangs on colour");
}

/// The text without `ESC [ … m`.
fn without_colours(text: &str) -> String {
    let mut parts = text.split(ESCAPE);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').map_or("", |(_, rest)| rest))
}

/// The program's standard output on a terminal that `script` makes; `None` where there is no such tool.
fn on_a_terminal(shell: &str, variables: &[(&str, &str)]) -> Option<String> {
    let mut script = Command::new("script");
    script.args(["-qec", shell, "/dev/null"]).env_clear().env("PATH", "/usr/bin:/bin").env("TERM", "xterm");
    let output = script.envs(variables.iter().copied()).stdin(Stdio::null()).output();
    let output = output.inspect_err(|error| say(&format!("NOT TESTED: script(1) cannot be run: {error}"))).ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_terminal_gets_colours_unless_the_environment_refuses_them() {
    let shell = format!("{} rules {}", env!("CARGO_BIN_EXE_nslens"), fixture("save/legacy.rules"));
    let Some(coloured) = on_a_terminal(&shell, &[]) else { return };
    assert!(coloured.contains(ESCAPE), "{coloured:?}");
    for refusal in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let plain = on_a_terminal(&shell, &[refusal]).expect("it could be run before");
        assert!(!plain.contains(ESCAPE), "{refusal:?}: {plain:?}");
    }
    let always = on_a_terminal(&format!("{shell} --color always"), &[("NO_COLOR", "1")]).expect("as before");
    assert!(always.contains(ESCAPE), "an option outweighs the environment");
    let empty = on_a_terminal(&shell, &[("NO_COLOR", "")]).expect("as before");
    assert!(empty.contains(ESCAPE), "an empty NO_COLOR is none (no-color.org)");
}

#[test]
fn saved_text_is_escaped_on_a_terminal_only() {
    let folder = crate::program::Folder::new();
    let file = folder.put("a.rules", "*nat\n-A OUTPUT -m comment --comment \"a\u{1b}[31mb\" -j ACCEPT\nCOMMIT\n");
    assert!(nslens(&["rules", &file, "-o", "save"]).ended(0).out.contains("\"a\u{1b}[31mb\""));
    let shell = format!("{} rules {file} -o save", env!("CARGO_BIN_EXE_nslens"));
    let Some(shown) = on_a_terminal(&shell, &[]) else { return };
    assert!(shown.contains("a\\x1b[31mb") && !shown.contains(ESCAPE), "{shown:?}");
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let file = fixture("save/legacy.rules");
    for words in [vec!["rules", &file, "--all", "-o", "json"], vec!["--help"], vec!["completions", "bash"]] {
        let mut child = command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        drop(child.stdout.take());
        let mut said = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
        let status = child.wait().expect("it ends");
        assert_eq!((status.code(), said.as_str()), (Some(0), ""), "{words:?}");
    }
}

#[test]
fn a_full_disk_is_said() {
    let file = fixture("save/legacy.rules");
    let snapshot = fixture("snapshot/plain.json");
    for words in [
        vec!["rules", &file],
        vec!["rules", &file, "-o", "json"],
        vec!["rules", &file, "-o", "save"],
        vec!["conns", &snapshot],
        vec!["conns", &snapshot, "--flows"],
        vec!["conns", &snapshot, "--flows", "-o", "jsonl"],
        vec!["conns", &snapshot, "--summary"],
        vec!["diff", &file, &file],
        vec!["snapshot", &snapshot],
        vec!["completions", "fish"],
        vec![],
    ] {
        let full = OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
        let output = command(&words).stdout(full).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(6), "{words:?}: {said}");
        assert!(said.contains("standard output") && said.contains("No space left"), "{words:?}: {said}");
    }
}

#[test]
fn results_and_everything_else_keep_apart() {
    let run = nslens(&["rules", "./no-such-file"]).ended(3);
    assert_eq!(run.out, "");
    let folder = crate::program::Folder::new();
    let target = folder.path("copy.json");
    let source = fixture("snapshot/plain.json");
    let run = nslens(&["snapshot", &source, "-f", &target]).ended(0);
    assert_eq!((run.out.as_str(), run.err.contains(&target)), ("", true), "{}", run.err);
    let quiet = nslens(&["snapshot", &source, "-f", &target, "-q"]).ended(0);
    assert_eq!((quiet.out, quiet.err), (String::new(), String::new()));
}

#[test]
fn completions_are_scripts_of_their_shells() {
    for (shell, mark) in [("bash", "complete -F"), ("zsh", "#compdef nslens"), ("fish", "complete -c nslens")] {
        let script = nslens(&["completions", shell]).ended(0).out;
        assert!(script.contains(mark), "{shell}: {mark:?} is missing");
        for name in ["rules", "conns", "diff", "snapshot", "watch", "demo"] {
            assert!(script.contains(name), "{shell} does not complete {name}");
        }
    }
    let script = nslens(&["completions", "bash"]).ended(0).out;
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().expect("bash");
    std::io::Write::write_all(&mut bash.stdin.take().expect("a pipe"), script.as_bytes()).expect("bash reads");
    assert!(bash.wait().expect("bash ends").success());
}

#[test]
fn an_empty_input_is_refused() {
    for input in ["", "\n \n", "\u{feff}"] {
        let run = with_input(&["rules", "-"], input.as_bytes()).ended(2);
        assert_eq!(run.out, "");
        assert!(run.err.contains("standard input"), "{}", run.err);
    }
}
