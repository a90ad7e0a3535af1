//! The only part that knows a terminal: arguments, one file per command, hints, colour, exit codes.

pub mod arguments;
pub mod commands;
pub mod exit;
pub mod failure;
mod folder;
pub mod node;
pub mod screen;
pub mod source;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use arguments::{Cli, Command, When};
use exit::Exit;
use failure::Failure;
use screen::Screen;

/// What `nslens` alone prints.
const WELCOME: &str = "\
nslens shows what redirects a pod's traffic, from its node.

  sudo nslens list                    every workload of this node
  sudo nslens rules pod/productpage   the redirect rules, in plain words
  sudo nslens conns pod/productpage   live connections, and where they went

New here? sudo nslens demo makes a private lab pod and shows all of this on it.
nslens --help lists all commands.
";

/// The whole command line, for completions and documentation.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the program with these arguments, the program's own name first, and tells how it ended.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.get(1).is_some_and(|first| first == crate::demo::PART) {
        return crate::demo::run_part(arguments.into_iter().skip(2));
    }
    let exit = match Cli::try_parse_from(arguments) {
        Ok(Cli { command: None }) => Screen::new(When::Never, false, false).print(WELCOME).map(|()| Exit::Done),
        Ok(Cli { command: Some(command) }) => command.run(&command.screen()),
        Err(error) => usage(&error),
    };
    let exit = exit.unwrap_or_else(|failure| {
        Screen::fail(&failure);
        failure.exit
    });
    ExitCode::from(exit.code())
}

/// clap's own texts: help and version are results, everything else is wrong usage.
fn usage(error: &clap::Error) -> Result<Exit, Failure> {
    // A closed stream leaves nobody to tell.
    error.print().ok();
    std::io::stdout().flush().ok();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Exit::Done),
        _ => Ok(Exit::Usage),
    }
}

impl Command {
    /// The screen that the command's options want.
    fn screen(&self) -> Screen {
        let looks = match self {
            Self::List(arguments) => &arguments.looks,
            Self::Rules(arguments) => &arguments.looks,
            Self::Conns(arguments) => &arguments.looks,
            Self::Trace(arguments) => &arguments.looks,
            Self::Coverage(arguments) => &arguments.looks,
            Self::Check(arguments) => &arguments.looks,
            Self::Diff(arguments) => &arguments.looks,
            Self::Snapshot(arguments) => &arguments.looks,
            Self::Watch(arguments) => &arguments.looks,
            Self::Demo(arguments) => &arguments.looks,
            Self::Completions(_) => return Screen::new(When::Never, false, false),
        };
        Screen::new(looks.color, looks.quiet, looks.verbose)
    }

    fn run(&self, screen: &Screen) -> Result<Exit, Failure> {
        let exit = self.look(screen)?;
        // What could not be read is in the output; which right would have helped is not. `list` says so by itself.
        if exit == Exit::NotPermitted && !matches!(self, Self::List(_)) {
            screen.note(&failure::rights());
        }
        Ok(exit)
    }

    fn look(&self, screen: &Screen) -> Result<Exit, Failure> {
        match self {
            Self::List(arguments) => commands::list::run(arguments, screen),
            Self::Rules(arguments) => commands::rules::run(arguments, screen),
            Self::Conns(arguments) => commands::conns::run(arguments, screen),
            Self::Trace(arguments) => commands::trace::run(arguments, screen),
            Self::Coverage(arguments) => commands::coverage::run(arguments, screen),
            Self::Check(arguments) => commands::check::run(arguments, screen),
            Self::Diff(arguments) => commands::diff::run(arguments, screen),
            Self::Snapshot(arguments) => commands::snapshot::run(arguments, screen),
            Self::Watch(arguments) => commands::watch::run(arguments, screen),
            Self::Demo(arguments) => commands::demo::run(arguments, screen),
            Self::Completions(arguments) => commands::completions::run(arguments, screen),
        }
    }
}
