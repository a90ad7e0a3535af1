//! `--write-expect`: what a good workload does today, as a file of expectations.

use std::path::Path;

use super::looked::{Judge, Looked};
use super::{Check, told};
use crate::analysis::check::{Asked, Case};
use crate::analysis::expectation::written;
use crate::cli::commands::snapshot::write_file;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;
use crate::report::yaml;

/// Runs it. What does not pass is shown, and nothing is written: it would be expected from then on.
pub(super) fn run(arguments: &Check, judge: &Judge, path: &Path, screen: &Screen) -> Result<Exit, Failure> {
    if arguments.target.len() > 1 {
        return Err(Failure::new(Exit::Usage, "--write-expect is about one workload"));
    }
    let (looked, snapshot) = Looked::alone(arguments, judge, screen)?;
    let exit = looked.exit(&judge.measure);
    if exit != Exit::Done {
        told::told(arguments, &looked, &judge.measure, screen)?;
        screen.note(
            "nothing was written: mend it first, or accept findings by --allow and what is open by --ignore-undecided",
        );
        return Ok(exit);
    }
    let text = yaml::print(&written(&Case::of(&snapshot, Asked::default()), &judge.measure.allow));
    if path.as_os_str() == "-" {
        screen.print(&text)?;
    } else {
        write_file(path, |out| out.write_all(text.as_bytes()))?;
        screen.note(&format!("written to {}", path.display()));
    }
    Ok(Exit::Done)
}
