//! All tests, with everything that they need.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{ExitCode, Stdio};

use crate::{Outcome, cargo, packages};

/// Programs that Debian keeps where a user's search path does not look.
const ROOT_PATHS: &str = "/usr/local/sbin:/usr/sbin:/sbin";

/// Minutes for each fuzzer.
const FUZZING: u32 = 10;

/// Installs what is absent, runs `cargo test --workspace`, and ends with cargo's counts and its exit code. `long`: with more rounds
/// where a test knows `NSLENS_LONG`, and the fuzzers behind it.
pub(crate) fn run(filter: Option<&str>, long: bool) -> Outcome {
    prepare()?;
    let path = env::var("PATH").unwrap_or_default();
    let mut command = cargo();
    command
        .args(["test", "--workspace", "--no-fail-fast"])
        .args(filter)
        .env("PATH", format!("{path}:{ROOT_PATHS}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    if long {
        command.env("NSLENS_LONG", "1");
    }
    let mut child = command.spawn()?;
    let mut counts = Counts::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            writeln!(std::io::stdout(), "{line}")?;
            counts.take(&line);
        }
    }
    let status = child.wait()?;
    counts.print();
    if long && status.success() {
        return crate::fuzz::run(FUZZING, None);
    }
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn prepare() -> Result<(), String> {
    let missing = packages::missing();
    if !is_root() {
        eprintln!("----------------------------------------------------------------------------------------------");
        eprintln!("NOT ROOT: the tests that need a network namespace or a container runtime cannot run, which is");
        eprintln!(
            "most of tests/netns and tests/runtime. Each says so{}. All of them:",
            if in_ci() { " and fails (CI is set)" } else { "" }
        );
        eprintln!("    sudo env \"PATH=$PATH\" \"HOME=$HOME\" cargo xtask test");
        eprintln!("----------------------------------------------------------------------------------------------");
        return Ok(());
    }
    if missing.is_empty() {
        return Ok(());
    }
    match packages::install(&missing) {
        Ok(()) => Ok(()),
        Err(error) if in_ci() => Err(error),
        Err(error) => {
            eprintln!("WARNING: {error}; the tests that need them will say so or fail");
            Ok(())
        }
    }
}

fn in_ci() -> bool {
    env::var_os("CI").is_some()
}

fn is_root() -> bool {
    nslens::sys::caps::is_root()
}

/// What the test programs said of themselves, one line each.
#[derive(Debug, Default)]
struct Counts {
    programs: usize,
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Counts {
    fn take(&mut self, line: &str) {
        let Some((_, counts)) = line.split_once("test result: ").and_then(|(_, rest)| rest.split_once(". ")) else {
            return;
        };
        self.programs += 1;
        for part in counts.split("; ") {
            match part.split_once(' ').map(|(number, what)| (number.parse::<u64>().unwrap_or_default(), what)) {
                Some((number, "passed")) => self.passed += number,
                Some((number, "failed")) => self.failed += number,
                Some((number, "ignored")) => self.ignored += number,
                _ => {}
            }
        }
    }

    fn print(&self) {
        let Self { programs, passed, failed, ignored } = self;
        println!("\ncargo test: {passed} passed; {failed} failed; {ignored} ignored; in {programs} test programs");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_cargo_s_own() {
        let mut counts = Counts::default();
        counts.take("running 3 tests");
        counts.take("test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s");
        counts
            .take("test result: FAILED. 5 passed; 1 failed; 0 ignored; 0 measured; 3 filtered out; finished in 1.00s");
        assert_eq!((counts.programs, counts.passed, counts.failed, counts.ignored), (2, 7, 1, 1));
    }
}
