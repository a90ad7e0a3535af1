//! `nslens demo`: the other commands, shown on a private lab pod.

use std::io::{self, BufRead};

use clap::{Args, Parser};

use crate::cli::arguments::{Cli, Looks, When};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;
use crate::demo::{Lab, Variant, steps};
use crate::report::paint::Label;
use crate::report::wrap::wrap;

/// Make a private lab pod and show rules, conns and diff on it.
///
/// A pod as Istio leaves it, in network namespaces of its own: rules, an application (UID 1000) and a stand-in proxy (UID 1337)
/// that talk over real sockets. Nothing of it is left when the command ends, however it ends.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  sudo nslens demo\n  sudo nslens demo --keep\n")]
pub struct Demo {
    /// Leave the lab running until Enter, and say how to look at it
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    /// Colours and notes.
    pub looks: Looks,
}

/// Runs the command.
pub(in crate::cli) fn run(arguments: &Demo, screen: &Screen) -> Result<Exit, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::of(Exit::Failed, &error).about("cannot tell where this program lies"))?;
    let good = Lab::start(&program, Variant::Istio)?;
    let broken = Lab::start(&program, Variant::WithoutExemption)?;
    let steps = steps(&good, &broken);
    for (index, step) in steps.iter().enumerate() {
        let title = format!("{} of {}: {}", index + 1, steps.len(), step.title);
        screen.print(&format!("{}\n\n", screen.paint.text(Label::Heading, &title)))?;
        for paragraph in step.explains.split("\n\n") {
            let lines = wrap(paragraph, screen.width).join("\n");
            screen.print(&format!("{lines}\n\n"))?;
        }
        let command = format!("$ nslens {}", step.command.join(" "));
        screen.print(&format!("{}\n", screen.paint.text(Label::Dim, &command)))?;
        show(&step.command, arguments)?;
        screen.print("\n")?;
    }
    if arguments.keep {
        let text = format!(
            "The lab is running. In another terminal try:\n  sudo {0} rules {1} -o wide\n  sudo {0} conns {1} --all\n  \
             sudo {0} snapshot {1} -f lab.json\nEnter ends it.\n",
            program.display(),
            good.target()
        );
        screen.print(&text)?;
        // Whatever ends the line, its end or an error, ends the demo.
        io::stdin().lock().read_line(&mut String::new()).ok();
    }
    Ok(Exit::Done)
}

/// Runs a step as if it had been typed; what it finds is part of the story, so that its exit code is not the demo's.
fn show(words: &[String], arguments: &Demo) -> Result<(), Failure> {
    let color = match arguments.looks.color {
        When::Auto => "auto",
        When::Always => "always",
        When::Never => "never",
    };
    let typed = std::iter::once("nslens").chain(words.iter().map(String::as_str)).chain(["--color", color]);
    let cli = Cli::try_parse_from(typed)
        .map_err(|error| Failure::new(Exit::Failed, format!("a step of the demo is wrong: {error}")))?;
    match cli.command {
        Some(command) => command.run(&command.screen()).map(|_| ()),
        None => Ok(()),
    }
}
