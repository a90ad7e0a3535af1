//! Shell completions: generated from the command line's own definition, and checked in.

use std::fs;
use std::process::ExitCode;

use clap_complete::Shell;

use crate::{Outcome, root};

const FOLDER: &str = "completions";
const FILES: [(Shell, &str); 3] = [(Shell::Bash, "nslens.bash"), (Shell::Zsh, "_nslens"), (Shell::Fish, "nslens.fish")];

/// Writes the files, or says which of those there are not what would be written.
pub(crate) fn run(check: bool) -> Outcome {
    let folder = root().join(FOLDER);
    let mut stale = Vec::new();
    for (shell, name) in FILES {
        let text = generate(shell);
        let path = folder.join(name);
        if check {
            if fs::read(&path).ok().as_ref() != Some(&text) {
                stale.push(format!("{FOLDER}/{name}"));
            }
        } else {
            fs::create_dir_all(&folder)?;
            fs::write(&path, text)?;
            println!("{FOLDER}/{name}");
        }
    }
    if stale.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("stale: {}; run `cargo xtask completions` and commit the result", stale.join(", "));
    Ok(ExitCode::FAILURE)
}

fn generate(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut nslens::cli::command(), "nslens", &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_current() {
        for (shell, name) in FILES {
            let written = fs::read(root().join(FOLDER).join(name)).unwrap_or_default();
            assert!(written == generate(shell), "{FOLDER}/{name} is stale: run `cargo xtask completions`");
        }
    }
}
