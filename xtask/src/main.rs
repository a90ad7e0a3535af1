//! The project's own chores, as `cargo xtask CHORE`: run all tests, generate what is checked in, build what is handed out.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a chore talks to the person who started it")]

mod completions;
mod dist;
mod findings;
mod fuzz;
mod licences;
mod packages;
mod test;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What a chore comes to: an exit code, or a reason why it could not be done.
type Outcome = Result<ExitCode, Box<dyn Error>>;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own chores")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Install what the tests need (root, apt), then run all of them: unit, documentation, tests/cli, tests/netns, tests/runtime
    Test {
        /// Only these tests, as `cargo test` takes a filter
        filter: Option<String>,
        /// Also what takes long: more rounds of some tests, then every fuzzer for ten minutes
        #[arg(long)]
        long: bool,
    },
    /// Run the fuzzers (a nightly compiler; cargo-fuzz is built when it is not there)
    Fuzz {
        /// Only those whose names hold this
        only: Option<String>,
        /// How long each runs
        #[arg(long, default_value_t = 10)]
        minutes: u32,
    },
    /// Write the shell completions into completions/
    Completions {
        /// Write nothing; fail when a file there is stale
        #[arg(long)]
        check: bool,
    },
    /// Write the pages of all findings into docs/findings/
    Findings,
    /// Build a static release binary into dist/, with its checksum and all licences
    Dist,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().chore {
        Chore::Test { filter, long } => test::run(filter.as_deref(), long),
        Chore::Fuzz { only, minutes } => fuzz::run(minutes, only.as_deref()),
        Chore::Completions { check } => completions::run(check),
        Chore::Findings => findings::run(),
        Chore::Dist => dist::run(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

/// The folder of the workspace, whatever the current one is.
fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// The cargo that started this, or the one in the path.
fn cargo() -> std::process::Command {
    let mut command = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}
