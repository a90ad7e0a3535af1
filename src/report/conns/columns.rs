//! Aligned columns: as wide as their widest cell, two blanks between them, nothing after the last.

use std::borrow::Cow;
use std::fmt::Write;

use super::Part;

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    text: Cow<'static, str>,
    part: Option<Part>,
}

impl Cell {
    pub(super) fn plain(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), part: None }
    }

    pub(super) fn painted(part: Part, text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), part: Some(part) }
    }

    pub(super) fn width(&self) -> usize {
        if self.text.is_ascii() { self.text.len() } else { self.text.chars().count() }
    }
}

/// The widths that these rows need.
pub(super) fn widths<'a, const N: usize>(rows: impl Iterator<Item = &'a [Cell; N]>) -> [usize; N] {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.width().max(*width);
        }
    }
    widths
}

/// Writes one line. A column of no width is left out whole.
pub(super) fn line<const N: usize>(
    out: &mut String,
    cells: &[Cell; N],
    widths: [usize; N],
    paint: &dyn Fn(Part, &str) -> String,
) {
    let mut blanks = 0;
    for (cell, width) in cells.iter().zip(widths).filter(|(_, width)| *width > 0) {
        if !cell.text.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(out, "{:blanks$}", "");
            match cell.part {
                Some(part) => out.push_str(&paint(part, &cell.text)),
                None => out.push_str(&cell.text),
            }
            blanks = 0;
        }
        blanks += width - cell.width().min(width) + 2;
    }
    out.push('\n');
}
