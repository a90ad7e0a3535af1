//! `nslens completions`: the scripts that `cargo xtask completions` makes and the repository holds.

use clap::{Args, ValueEnum};

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;

/// Print the completion script of a shell.
#[derive(Debug, Args)]
#[command(
    before_long_help = "Examples:\n  nslens completions bash > /etc/bash_completion.d/nslens\n  nslens completions fish > ~/.config/fish/completions/nslens.fish\n"
)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Runs the command.
pub(in crate::cli) fn run(arguments: &Completions, screen: &Screen) -> Result<Exit, Failure> {
    screen.print(match arguments.shell {
        Shell::Bash => include_str!("../../../completions/nslens.bash"),
        Shell::Zsh => include_str!("../../../completions/_nslens"),
        Shell::Fish => include_str!("../../../completions/nslens.fish"),
    })?;
    Ok(Exit::Done)
}
