//! Many packets: one a line in, one answer a line out.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::{Trace, ends};
use crate::analysis::trace::{Tracer, Verdict, asked};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;
use crate::report::document;
use crate::report::trace::{Story, Writer};

/// Longer lines are no packets.
const LONGEST: usize = 64 * 1024;
/// Answers are gathered up to so many bytes.
const ENOUGH: usize = 128 * 1024;

/// Answers every line. Lines that are not understood are answered too, so that answers and packets stay in step.
pub(super) fn run(
    arguments: &Trace,
    tracer: &Tracer<'_>,
    writer: &mut Writer<'_>,
    screen: &Screen,
) -> Result<Exit, Failure> {
    let Some(path) = &arguments.batch else { return Ok(Exit::Done) };
    let mut lines = Lines::of(open(path)?);
    let mut batch = Batch {
        tracer,
        writer,
        out: String::with_capacity(ENOUGH + LONGEST),
        follow: arguments.follow,
        wrong: false,
        undecided: false,
    };
    let failed = |error: &io::Error| Failure::of(Exit::Failed, error).about(format!("cannot read {}", path.display()));
    loop {
        // Whoever waits for an answer before the next question gets it.
        if (batch.out.len() >= ENOUGH || !lines.at_hand()) && !batch.out.is_empty() {
            if !screen.send(batch.out.as_bytes())? {
                return Ok(batch.exit());
            }
            batch.out.clear();
        }
        match lines.next().map_err(|error| failed(&error))? {
            None => return Ok(batch.exit()),
            Some((_, Line::Blank)) => {}
            Some((number, Line::Long)) => batch.refuse(number, "the line is longer than any packet"),
            Some((number, Line::Of(line))) => batch.answer(number, line),
        }
    }
}

fn open(path: &Path) -> Result<Box<dyn Read>, Failure> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    let opened = File::open(path).and_then(|file| match file.metadata()?.is_dir() {
        true => Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder")),
        false => Ok(file),
    });
    match opened {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => {
            let exit = match error.kind() {
                io::ErrorKind::NotFound => Exit::NotFound,
                io::ErrorKind::PermissionDenied => Exit::NotPermitted,
                io::ErrorKind::IsADirectory => Exit::Usage,
                _ => Exit::Failed,
            };
            Err(Failure::of(exit, &error).about(format!("cannot read {}", path.display())))
        }
    }
}

struct Batch<'b, 't, 'a> {
    tracer: &'b Tracer<'a>,
    writer: &'b mut Writer<'t>,
    out: String,
    follow: bool,
    wrong: bool,
    undecided: bool,
}

impl Batch<'_, '_, '_> {
    fn answer(&mut self, number: u64, line: &[u8]) {
        match asked::question(line) {
            Ok(question) if self.follow => {
                let followed = self.tracer.follow(&question);
                self.undecided |= !ends(&followed);
                self.writer.write_followed(&followed, &mut self.out);
                self.out.push('\n');
            }
            Ok(question) => {
                let trace = self.tracer.trace(&question);
                self.undecided |= trace.verdict() == Verdict::Undecided;
                self.writer.write(Story { question: &question, trace: &trace }, &mut self.out);
                self.out.push('\n');
            }
            Err(wrong) => self.refuse(number, &wrong.text),
        }
    }

    fn refuse(&mut self, number: u64, why: &str) {
        self.wrong = true;
        self.out.push_str(&document::line(&serde_json::json!({"error": why, "line": number})));
        self.out.push('\n');
    }

    fn exit(&self) -> Exit {
        let undecided = if self.undecided { Exit::CannotTell } else { Exit::Done };
        Exit::of([undecided, if self.wrong { Exit::Usage } else { Exit::Done }])
    }
}

/// A line of the input.
enum Line<'l> {
    Of(&'l [u8]),
    /// There is nothing on it.
    Blank,
    /// There is too much on it: it was passed over.
    Long,
}

struct Lines {
    from: BufReader<Box<dyn Read>>,
    line: Vec<u8>,
    /// Of the line that was read last, from 1.
    number: u64,
}

impl Lines {
    fn of(from: Box<dyn Read>) -> Self {
        Self { from: BufReader::with_capacity(LONGEST, from), line: Vec::new(), number: 0 }
    }

    /// Whether there is another whole line without waiting for it.
    fn at_hand(&self) -> bool {
        self.from.buffer().contains(&b'\n')
    }

    /// The next line without its end, and its number; `None` behind the last.
    fn next(&mut self) -> io::Result<Option<(u64, Line<'_>)>> {
        self.line.clear();
        let most = LONGEST as u64 + 1;
        let read = (&mut self.from).take(most).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if read > LONGEST {
            self.from.skip_until(b'\n')?;
            return Ok(Some((self.number, Line::Long)));
        }
        if self.line.iter().all(u8::is_ascii_whitespace) {
            return Ok(Some((self.number, Line::Blank)));
        }
        Ok(Some((self.number, Line::Of(&self.line))))
    }
}
