//! The fuzzers of `fuzz/`, one after the other, each for some minutes, beginning with what the tests keep of real bytes and texts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::{Outcome, root};

/// Debian has no package of it; kept in `target/`, so that nothing is installed into the user's own folders.
const VERSION: &str = "0.13.2";

/// Runs every fuzzer for so many minutes; fails when one of them finds something. What it found stays in `fuzz/artifacts`.
pub(crate) fn run(minutes: u32, only: Option<&str>) -> Outcome {
    let tools = root().join("target/tools");
    let program = tools.join("bin/cargo-fuzz");
    if !program.is_file() {
        println!("building cargo-fuzz {VERSION}");
        let mut install = crate::cargo();
        install.args(["install", "cargo-fuzz", "--version", VERSION, "--locked", "--quiet", "--root"]).arg(&tools);
        if !install.status()?.success() {
            return Err("cargo-fuzz could not be built".into());
        }
    }
    let mut failed = Vec::new();
    for name in names()?.iter().filter(|name| only.is_none_or(|only| name.contains(only))) {
        let corpus = root().join("target/fuzz-corpus").join(name);
        seed(&corpus, name)?;
        println!("== fuzzing {name} for {minutes} min");
        let status = fuzzer(&program, name)
            .arg(&corpus)
            .args([
                "--",
                &format!("-max_total_time={}", minutes * 60),
                "-max_len=32768",
                "-timeout=20",
                "-print_final_stats=1",
            ])
            .status()?;
        if !status.success() {
            failed.push(name.clone());
        }
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(format!("fuzzers found something: {}; see fuzz/artifacts", failed.join(", ")).into())
}

/// cargo-fuzz wants a nightly compiler, for the sanitizer.
fn fuzzer(program: &Path, name: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).env("RUSTUP_TOOLCHAIN", "nightly").env("CARGO_TARGET_DIR", root().join("target/fuzz"));
    command.args(["run", name]);
    command
}

fn names() -> std::io::Result<Vec<String>> {
    let files = fs::read_dir(root().join("fuzz/fuzz_targets"))?.collect::<Result<Vec<_>, _>>()?;
    let mut names: Vec<String> =
        files.iter().filter_map(|file| file.file_name().to_str()?.strip_suffix(".rs").map(str::to_owned)).collect();
    names.sort();
    Ok(names)
}

/// Puts the fixtures that a fuzzer understands into its folder.
fn seed(corpus: &Path, name: &str) -> std::io::Result<()> {
    fs::create_dir_all(corpus)?;
    let (folder, head): (&str, &[u8]) = match name {
        "legacy_table" => ("wire", &[1, 0]),
        "nf_tables" => ("wire", &[]),
        "save_text" => ("save", &[]),
        "nft_text" => ("nft", &[]),
        "file" => ("snapshot", &[]),
        _ => return Ok(()),
    };
    for file in fs::read_dir(root().join("tests/fixtures").join(folder))? {
        let path: PathBuf = file?.path();
        let Some(own) = path.file_name().filter(|_| path.is_file()) else { continue };
        fs::write(corpus.join(own), [head, &fs::read(&path)?].concat())?;
    }
    Ok(())
}
