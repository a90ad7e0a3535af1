//! nft's text in words, texts in quotation marks, signs and ends of lines.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number, a name, an address, a time.
    Word,
    /// In quotation marks, which are not part of it.
    Text,
    /// One or two characters.
    Sign,
    /// A line feed.
    Line,
    /// A semicolon.
    Semicolon,
    /// Nothing is left.
    End,
}

/// A piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// Where it begins, and ends.
    pub(super) at: usize,
    pub(super) end: usize,
}

/// Reads one piece after the other.
#[derive(Debug, Clone)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

const PAIRS: [&str; 7] = ["==", "!=", "<=", ">=", "<<", ">>", "&&"];

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// What stands between two places.
    pub(super) fn slice(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to).unwrap_or_default()
    }

    /// Reads on from another place.
    pub(super) fn go_to(&mut self, at: usize) {
        self.at = at;
    }

    /// The place behind the line on which one stands.
    pub(super) fn end_of_line(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        at + rest.find('\n').unwrap_or(rest.len())
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Passes over blanks, comments, and line ends with a backslash before them.
    fn blanks(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\r']).len();
            self.at += blank;
            let rest = self.rest();
            if rest.starts_with('#') {
                self.at = self.end_of_line(self.at);
            } else if let Some(after) = rest.strip_prefix("\\\n").or_else(|| rest.strip_prefix("\\\r\n")) {
                self.at += rest.len() - after.len();
            } else {
                return;
            }
        }
    }

    pub(super) fn next(&mut self) -> Token<'a> {
        self.blanks();
        let (rest, at) = (self.rest(), self.at);
        let Some(first) = rest.chars().next() else {
            return Token { kind: Kind::End, text: "", at, end: at };
        };
        let (kind, length) = match first {
            '\n' => (Kind::Line, 1),
            ';' => (Kind::Semicolon, 1),
            '"' => {
                let inside = rest.get(1..).unwrap_or_default();
                if let Some(length) = inside.find('"') {
                    self.at += length + 2;
                    let text = inside.get(..length).unwrap_or_default();
                    return Token { kind: Kind::Text, text, at, end: self.at };
                }
                (Kind::Sign, 1)
            }
            _ => match word(rest) {
                0 if PAIRS.iter().any(|pair| rest.starts_with(pair)) => (Kind::Sign, 2),
                0 => (Kind::Sign, first.len_utf8()),
                length => (Kind::Word, length),
            },
        };
        self.at += length;
        Token { kind, text: rest.get(..length).unwrap_or_default(), at, end: self.at }
    }
}

/// How long the word is with which a text begins; 0 where it begins with none.
fn word(rest: &str) -> usize {
    let Some(first) = rest.chars().next() else { return 0 };
    let hexadecimal = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.');
    if hexadecimal(first) {
        let length = address(rest, hexadecimal);
        if length > 0 {
            return length;
        }
    }
    let run = |more: fn(char) -> bool| rest.len() - rest.trim_start_matches(more).len();
    if first.is_ascii_digit() {
        return run(|c: char| c.is_ascii_alphanumeric() || c == '_');
    }
    let dotted = first == '.' && rest.chars().nth(1).is_some_and(|c| c.is_ascii_alphanumeric());
    if first.is_ascii_alphabetic() || first == '_' || dotted {
        let length = run(|c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.'));
        let after = rest.get(length..).unwrap_or_default();
        return length + if after.starts_with("\\*") { 2 } else { usize::from(after.starts_with('*')) };
    }
    if first.is_ascii() { 0 } else { run(|c: char| !c.is_ascii()) }
}

/// How long the address is with which a text begins: of IPv6, of a link, of a traffic class, of IPv4.
fn address(rest: &str, hexadecimal: impl Fn(char) -> bool) -> usize {
    /// No address is longer.
    const LONGEST: usize = 64;
    let run: usize = rest.chars().take(LONGEST).take_while(|c| hexadecimal(*c)).map(char::len_utf8).sum();
    let mut whole = rest.get(..run).unwrap_or_default();
    if whole.ends_with(':') && !whole.ends_with("::") {
        whole = whole.strip_suffix(':').unwrap_or(whole);
    }
    let after = rest.get(whole.len()..).and_then(|after| after.chars().next());
    let ends = after.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_');
    if ends && whole.contains(':') {
        let groups = whole.split(':').count();
        let link = groups >= 6 && whole.split(':').all(|group| matches!(group.len(), 1 | 2));
        let class = groups == 2 && !whole.contains('.') && whole.split(':').all(|group| matches!(group.len(), 1..=4));
        if link || class || whole.parse::<Ipv6Addr>().is_ok() {
            return whole.len();
        }
    }
    let digits: usize =
        rest.chars().take(LONGEST).take_while(|c| c.is_ascii_digit() || *c == '.').map(char::len_utf8).sum();
    let digits = rest.get(..digits).unwrap_or_default();
    if digits.parse::<Ipv4Addr>().is_ok() { digits.len() } else { 0 }
}
