//! Labels and their colours, in one table. Code says what a piece of text is; only this file says what that looks like.

use anstyle::{AnsiColor, Style};

use crate::analysis::join::Way;
use crate::report::conns::Part;

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// The line over a block.
    Heading,
    /// A name that the user knows it by.
    Name,
    /// Beside the point.
    Dim,
    /// Where redirected traffic goes.
    Redirect,
    /// Traffic that is left alone.
    Exempt,
    /// Traffic that is dropped or refused.
    Dropped,
    /// Only in the second.
    Added,
    /// Only in the first.
    Removed,
    /// Look here.
    Warning,
    /// Something failed.
    Error,
}

/// Gives text its colour, or leaves it plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    colour: bool,
}

impl Paint {
    /// With or without colour.
    #[must_use]
    pub fn new(colour: bool) -> Self {
        Self { colour }
    }

    /// The text in its label's colour. It must have been escaped before.
    #[must_use]
    pub fn text(self, label: Label, text: &str) -> String {
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        let style = style(label);
        format!("{}{text}{}", style.render(), style.render_reset())
    }

    /// The same for the parts of a list of connections.
    #[must_use]
    pub fn part(self, part: Part, text: &str) -> String {
        match part {
            Part::Heading => self.text(Label::Dim, text),
            Part::Process => self.text(Label::Name, text),
            Part::Way(Way::Redirected | Way::Intercepted) => self.text(Label::Redirect, text),
            Part::Way(Way::Exempt) => self.text(Label::Exempt, text),
            Part::Way(Way::Unknown) => self.text(Label::Warning, text),
            Part::Way(Way::Direct | Way::Listening) => text.to_owned(),
        }
    }
}

fn style(label: Label) -> Style {
    let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
    match label {
        Label::Heading => Style::new().bold().underline(),
        Label::Name => Style::new().bold(),
        Label::Dim => Style::new().dimmed(),
        Label::Redirect => colour(AnsiColor::Cyan),
        Label::Exempt | Label::Added => colour(AnsiColor::Green),
        Label::Dropped | Label::Removed => colour(AnsiColor::Red),
        Label::Warning => colour(AnsiColor::Yellow).bold(),
        Label::Error => colour(AnsiColor::Red).bold(),
    }
}
