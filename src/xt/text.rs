//! The words of a line in iptables-save's syntax, both ways.

use std::borrow::Cow;

use super::line::LISTS;

/// A line is not a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// A quotation mark is never closed.
    #[error("a quotation mark is not closed")]
    OpenQuote,
    /// An option stands where its value should.
    #[error("{0} has no value")]
    NoValue(String),
    /// A value cannot be what the option wants.
    #[error("{option} cannot be {value:?}")]
    BadValue {
        /// The option.
        option: String,
        /// What stood there.
        value: String,
    },
    /// A word that belongs to nothing.
    #[error("{0:?} belongs to no match and no target")]
    Stray(String),
    /// Lists of addresses that make more rules than anybody writes.
    #[error("its lists of addresses make {0} rules, more than {LISTS}")]
    Lists(usize),
}

/// A word of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its text, quotation marks and backslashes taken off.
    pub text: String,
    /// It begins with a quotation mark, so it is no option even if it looks like one.
    pub quoted: bool,
}

/// Divides a line into words as iptables-restore does: blanks part, double quotes keep together, in them a backslash takes the next
/// character as it is. A quotation mark that closes ends its word.
///
/// # Errors
/// [`TextError::OpenQuote`].
pub fn tokens(line: &str) -> Result<Vec<Token>, TextError> {
    let mut found = Vec::new();
    let mut current: Option<Token> = None;
    let (mut in_quotes, mut characters) = (false, line.chars());
    while let Some(character) = characters.next() {
        match character {
            '"' if in_quotes => {
                in_quotes = false;
                found.extend(current.take());
            }
            '"' => {
                in_quotes = true;
                current.get_or_insert(Token { text: String::new(), quoted: true });
            }
            '\\' if in_quotes => {
                let token = current.get_or_insert(Token { text: String::new(), quoted: true });
                token.text.extend(characters.next());
            }
            blank if is_blank(blank) && !in_quotes => found.extend(current.take()),
            other => current.get_or_insert(Token { text: String::new(), quoted: false }).text.push(other),
        }
    }
    if in_quotes {
        return Err(TextError::OpenQuote);
    }
    found.extend(current);
    Ok(found)
}

/// What parts words for iptables-restore, and nothing else does.
fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n')
}

/// A value as iptables-save writes free text: bare when it is of letters, digits, `-` and `_` only, else quoted.
#[must_use]
pub fn quote(value: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for character in value.chars() {
        if matches!(character, '"' | '\\' | '\'') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

/// A name as iptables-save writes it: bare, unless it could not be read back.
#[must_use]
pub fn word(value: &str) -> Cow<'_, str> {
    let breaks = |character: char| is_blank(character) || character == '"';
    if value.is_empty() || value.chars().any(breaks) { Cow::Owned(quote(value)) } else { Cow::Borrowed(value) }
}

impl Token {
    /// As it is written in a rule that is not understood: bare words stay bare, quoted ones stay what they are.
    pub(crate) fn written(&self) -> String {
        match self.text.as_str() {
            bare if !self.quoted => word(bare).into_owned(),
            option if option.starts_with('-') => format!("\"{}\"", option.replace('\\', r"\\").replace('"', "\\\"")),
            text => quote(text),
        }
    }

    /// It can be the value of an option, and is none itself.
    pub(super) fn is_value(&self) -> bool {
        self.quoted || !(self.text.starts_with('-') || self.text == "!")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_iptables_restore_takes_for_them() {
        let words = |line: &str| tokens(line).map(|all| all.into_iter().map(|one| one.text).collect::<Vec<_>>());
        assert_eq!(words("a\tb  c"), Ok(vec!["a".into(), "b".into(), "c".into()]));
        assert_eq!(words(r#"--x="a b"c "d"e ""f"#), Ok(["--x=a b", "c", "d", "e", "", "f"].map(String::from).to_vec()));
        assert_eq!(words(r#""a\"b\\" a\b it's"#), Ok([r#"a"b\"#, r"a\b", "it's"].map(String::from).to_vec()));
        // Other blanks than these belong to a name.
        assert_eq!(words("a\u{a0}b\u{c}c\rd"), Ok(vec!["a\u{a0}b\u{c}c\rd".into()]));
        assert_eq!(words("\"open"), Err(TextError::OpenQuote));
    }

    #[test]
    fn a_name_reads_back_as_it_was() {
        for name in ["eth0", "", "a b", "a\"b", r"a\b", "a\u{3000}", "!", "-i", "a'b", "#", "a\rb"] {
            let read = tokens(&word(name)).expect("a word");
            assert_eq!(read.iter().map(|one| one.text.as_str()).collect::<Vec<_>>(), [name]);
        }
        // As the save program writes them.
        assert_eq!(["!", r"a\b", "a\u{a0}"].map(|name| word(name).into_owned()), ["!", r"a\b", "a\u{a0}"]);
    }
}
