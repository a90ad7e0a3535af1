//! Streams, colour and width: decided once, handed down.

use std::io::{self, IsTerminal, Write};

use super::arguments::When;
use super::exit::Exit;
use super::failure::Failure;
use crate::report::paint::{Label, Paint};

/// Narrower terminals than this wrap by themselves; wider lines than this are hard to read.
const WIDTHS: (usize, usize) = (60, 120);
/// Where there is no terminal.
const PLAIN_WIDTH: usize = 80;

/// What the command prints on.
#[derive(Debug)]
pub struct Screen {
    /// Colours for stdout.
    pub paint: Paint,
    /// Characters in a line.
    pub width: usize,
    /// Characters in a line of the terminal that stdout is; none where it is something else.
    pub columns: Option<usize>,
    /// Stdout is a terminal.
    pub terminal: bool,
    quiet: bool,
    verbose: bool,
}

impl Screen {
    /// Decides by the options, the environment (`NO_COLOR`, `TERM`) and what stdout is.
    #[must_use]
    pub fn new(when: When, quiet: bool, verbose: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = match when {
            When::Always => true,
            When::Never => false,
            When::Auto => terminal && !set("NO_COLOR") && !dumb,
        };
        let columns = if terminal { terminal_size::terminal_size() } else { None };
        let columns = columns.map(|(width, _)| usize::from(width.0));
        let width = columns.map_or(PLAIN_WIDTH, |columns| columns.clamp(WIDTHS.0, WIDTHS.1));
        Self { paint: Paint::new(colour), width, columns, terminal, quiet, verbose }
    }

    /// The same without notes: for what is done again and again.
    #[must_use]
    pub fn silent(&self) -> Self {
        Self { quiet: true, verbose: false, ..*self }
    }

    /// Prints a result.
    ///
    /// # Errors
    /// The stream's; a reader that has gone (`| head`) is no error: nobody is left to tell.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        self.stream(|out| out.write_all(text.as_bytes()))
    }

    /// Prints a result piece by piece, as `write` has them.
    ///
    /// # Errors
    /// As of [`Screen::print`].
    pub fn stream(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match write(&mut out).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(Failure::of(Exit::Failed, &error).about("cannot write to standard output")),
            Ok(()) => Ok(()),
        }
    }

    /// Prints a part of a result that goes on, at once; whether somebody is left to read more.
    ///
    /// # Errors
    /// The stream's.
    pub fn send(&self, bytes: &[u8]) -> Result<bool, Failure> {
        let mut out = io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Failure::of(Exit::Failed, &error).about("cannot write to standard output")),
            Ok(()) => Ok(true),
        }
    }

    /// Something that is no result, on stderr; silent with `-q`.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            // A stderr that is closed leaves nobody to tell.
            writeln!(io::stderr(), "note: {}", crate::report::escape::escape(text)).ok();
        }
    }

    /// What was tried, on stderr; only with `-v`.
    pub fn detail(&self, text: &str) {
        if self.verbose {
            // As above.
            writeln!(io::stderr(), "{}", crate::report::escape::escape(text)).ok();
        }
    }

    /// An error, on stderr, whatever was asked.
    pub fn fail(failure: &Failure) {
        let paint = Paint::new(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
        let text = failure.text();
        let rest = text.strip_prefix("error:").unwrap_or(&text);
        // As above.
        write!(io::stderr(), "{}{rest}", paint.text(Label::Error, "error:")).ok();
    }
}
