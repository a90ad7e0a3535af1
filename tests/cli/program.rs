//! Runs the program as a person or a script would, in an environment of its own.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::Value;

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Run {
    /// Exit code; a signal is its negative number.
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    /// Its standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {}\n{}", self.out, self.err))
    }

    /// The run, if it ended with this code.
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    /// Standard output without comment lines.
    pub(crate) fn saved(&self) -> Vec<&str> {
        self.out.lines().filter(|line| !line.starts_with('#')).collect()
    }
}

/// The program with these words. Nothing of the test's own environment reaches it.
pub(crate) fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nslens"));
    command.args(words).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn nslens(words: &[&str]) -> Run {
    finish(command(words), &[])
}

/// Runs it with this standard input.
pub(crate) fn with_input(words: &[&str], input: &[u8]) -> Run {
    let mut command = command(words);
    command.stdin(Stdio::piped());
    finish(command, input)
}

fn finish(mut command: Command, input: &[u8]) -> Run {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let stdin = child.stdin.take();
    let output = thread::scope(|scope| {
        // A program that refuses its input before the end closes the pipe: that is its right.
        scope.spawn(|| stdin.map(|mut stdin| stdin.write_all(input).ok()));
        child.wait_with_output().expect("the program ends")
    });
    let code = output.status.code().unwrap_or_else(|| {
        use std::os::unix::process::ExitStatusExt;
        -output.status.signal().unwrap_or(0)
    });
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
    Run { code, out: text(output.stdout), err: text(output.stderr) }
}

/// Says something that is seen also when all tests pass: the test runner keeps what macros print.
pub(crate) fn say(text: &str) {
    // A stderr that is closed leaves nobody to tell.
    writeln!(std::io::stderr(), "{text}").ok();
}

/// A file of `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    assert!(path.is_file(), "{} is missing", path.display());
    path.to_str().expect("a path of UTF-8").to_owned()
}

/// The text of a file of `tests/fixtures`.
pub(crate) fn text_of(name: &str) -> String {
    std::fs::read_to_string(fixture(name)).expect("a fixture of text")
}

/// A folder for the files of one test.
#[derive(Debug)]
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// Writes a file and gives its path.
    pub(crate) fn put(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).expect("a file is written");
        path
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("a path of UTF-8").to_owned()
    }
}
