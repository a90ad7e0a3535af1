//! How a JSON document is laid out: two blanks for each level, and no character in it that steers a terminal.

use std::io::{self, Write};

use serde_json::ser::Formatter;

use crate::report::escape::steers;

/// Depth of a rule's members: document, rule sets, tables, chains, rules, each a list of objects.
const LINES: usize = 9;

/// Lays out as people read it: line by line down to the members of a rule, and what these hold on their line. What steers a terminal is written as JSON's own `\u….`, so that programs read the same text.
#[derive(Debug, Default)]
pub(super) struct Readable {
    depth: usize,
    /// Something stands in the innermost list or object.
    filled: bool,
}

impl Readable {
    fn line<W: ?Sized + Write>(&self, out: &mut W) -> io::Result<()> {
        const BLANKS: &[u8; 1 + 2 * LINES] = b"\n                  ";
        out.write_all(BLANKS.get(..1 + 2 * self.depth).unwrap_or_default())
    }

    fn begin<W: ?Sized + Write>(&mut self, bracket: &[u8], out: &mut W) -> io::Result<()> {
        self.depth += 1;
        self.filled = false;
        out.write_all(bracket)
    }

    fn end<W: ?Sized + Write>(&mut self, bracket: &[u8], out: &mut W) -> io::Result<()> {
        let filled = self.filled && self.depth <= LINES;
        self.depth -= 1;
        if filled {
            self.line(out)?;
        }
        out.write_all(bracket)
    }

    fn next<W: ?Sized + Write>(&self, out: &mut W, first: bool) -> io::Result<()> {
        match (first, self.depth <= LINES) {
            (true, false) => Ok(()),
            (false, false) => out.write_all(b", "),
            (true, true) => self.line(out),
            (false, true) => {
                out.write_all(b",")?;
                self.line(out)
            }
        }
    }
}

impl Formatter for Readable {
    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.begin(b"[", out)
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.end(b"]", out)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.next(out, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, _out: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.begin(b"{", out)
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.end(b"}", out)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.next(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, _out: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        harmless(fragment, out)
    }
}

/// Texts on one line, as harmless.
#[derive(Debug)]
pub(super) struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        harmless(fragment, out)
    }
}

/// JSON itself escapes ASCII's control characters only, but for the last.
fn harmless<W: ?Sized + Write>(fragment: &str, out: &mut W) -> io::Result<()> {
    const DELETE: u8 = 0x7f;
    if fragment.bytes().all(|byte| byte < DELETE) {
        return out.write_all(fragment.as_bytes());
    }
    let mut rest = fragment;
    while let Some((at, character)) = rest.char_indices().find(|(_, character)| steers(*character)) {
        out.write_all(rest.get(..at).unwrap_or_default().as_bytes())?;
        for unit in character.encode_utf16(&mut [0; 2]) {
            write!(out, "\\u{unit:04x}")?;
        }
        rest = rest.get(at + character.len_utf8()..).unwrap_or_default();
    }
    out.write_all(rest.as_bytes())
}
