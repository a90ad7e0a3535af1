//! One piece of text after the other, with a look ahead; and what is wrong, with its place.

use std::collections::HashMap;

use super::lexer::{Kind, Lexer, Token};
use crate::nft::{Family, Value};

/// What is not understood, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Bytes from the start of the text.
    pub(super) at: usize,
    pub(super) what: String,
}

/// No value of nft's is nested deeper.
pub(super) const DEEPEST: usize = 32;

/// The state of reading.
#[derive(Debug)]
pub(super) struct Parser<'a> {
    lexer: Lexer<'a>,
    ahead: Option<Token<'a>>,
    /// Where the last piece ended.
    pub(super) end: usize,
    pub(super) depth: usize,
    /// Family of the table that is read.
    pub(super) family: Family,
    /// Values by name; with the piece of text where the value is a single one.
    pub(super) defined: HashMap<&'a str, (Value, Option<Token<'a>>)>,
    pub(super) faults: Vec<Fault>,
    /// A bracket was seen that nothing closes: from there on lines are what holds together.
    unbalanced: bool,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            lexer: Lexer::new(text),
            ahead: None,
            end: 0,
            depth: 0,
            family: Family::Ip,
            defined: HashMap::new(),
            faults: Vec::new(),
            unbalanced: false,
        }
    }

    pub(super) fn peek(&mut self) -> Token<'a> {
        if let Some(token) = self.ahead {
            return token;
        }
        let (token, lexer) = self.behind(self.lexer.clone());
        self.lexer = lexer;
        *self.ahead.insert(token)
    }

    /// The next piece of a text: a name that stands for a single one is that one.
    fn behind(&self, mut lexer: Lexer<'a>) -> (Token<'a>, Lexer<'a>) {
        let token = lexer.next();
        if (token.kind, token.text) == (Kind::Sign, "$") && !self.defined.is_empty() {
            let mut ahead = lexer.clone();
            let name = ahead.next();
            if let Some((_, Some(one))) = self.defined.get(name.text).filter(|_| name.at == token.end) {
                return (Token { at: token.at, end: name.end, ..*one }, ahead);
            }
        }
        (token, lexer)
    }

    pub(super) fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.ahead = None;
        self.end = token.end;
        token
    }

    /// The piece behind the next one.
    pub(super) fn second(&mut self) -> Token<'a> {
        self.peek();
        self.behind(self.lexer.clone()).0
    }

    /// Reads ahead from the next piece on.
    pub(super) fn clone_lexer(&mut self) -> Lexer<'a> {
        self.peek();
        self.lexer.clone()
    }

    /// The text from a place to the end of the last piece.
    pub(super) fn since(&self, at: usize) -> &'a str {
        self.lexer.slice(at, self.end.max(at))
    }

    pub(super) fn fault(&mut self, what: impl Into<String>) -> Fault {
        Fault { at: self.peek().at, what: what.into() }
    }

    /// That something else was expected.
    pub(super) fn unexpected(&mut self, expected: &str) -> Fault {
        let found = self.peek();
        let found = match found.kind {
            Kind::Line | Kind::Semicolon => "the statement ends".to_owned(),
            Kind::End => "the text ends".to_owned(),
            _ => format!("{:?} stands", found.text),
        };
        self.fault(format!("{found} where {expected} is expected"))
    }

    pub(super) fn at_sign(&mut self, sign: &str) -> bool {
        let token = self.peek();
        token.kind == Kind::Sign && token.text == sign
    }

    pub(super) fn at_word(&mut self, word: &str) -> bool {
        let token = self.peek();
        token.kind == Kind::Word && token.text == word
    }

    /// Takes the sign, where it is the next.
    pub(super) fn sign(&mut self, sign: &str) -> bool {
        let found = self.at_sign(sign);
        if found {
            self.next();
        }
        found
    }

    /// Takes the word, where it is the next.
    pub(super) fn word(&mut self, word: &str) -> bool {
        let found = self.at_word(word);
        if found {
            self.next();
        }
        found
    }

    pub(super) fn expect_sign(&mut self, sign: &str) -> Result<(), Fault> {
        if self.sign(sign) { Ok(()) } else { Err(self.unexpected(&format!("{sign:?}"))) }
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Result<(), Fault> {
        if self.word(word) { Ok(()) } else { Err(self.unexpected(&format!("{word:?}"))) }
    }

    /// Takes only the beginning of the next piece.
    pub(super) fn cut_off(&mut self, length: usize) {
        self.end = self.peek().at + length;
        self.lexer.go_to(self.end);
        self.ahead = None;
    }

    /// A word, or a text in quotation marks.
    pub(super) fn name(&mut self, expected: &str) -> Result<&'a str, Fault> {
        let token = self.peek();
        match token.kind {
            Kind::Word | Kind::Text => {
                self.next();
                Ok(token.text)
            }
            _ => Err(self.unexpected(expected)),
        }
    }

    /// A text in quotation marks.
    pub(super) fn text(&mut self, expected: &str) -> Result<&'a str, Fault> {
        let token = self.peek();
        if token.kind != Kind::Text {
            return Err(self.unexpected(expected));
        }
        self.next();
        Ok(token.text)
    }

    pub(super) fn number<T: TryFrom<u128>>(&mut self, expected: &str) -> Result<T, Fault> {
        let token = self.peek();
        let number = crate::nft::number_of(token.text).filter(|_| token.kind == Kind::Word);
        match number.and_then(|number| T::try_from(number).ok()) {
            Some(number) => {
                self.next();
                Ok(number)
            }
            None => Err(self.unexpected(expected)),
        }
    }

    /// Line feeds, and semicolons.
    pub(super) fn ends(&mut self) {
        while matches!(self.peek().kind, Kind::Line | Kind::Semicolon) {
            self.next();
        }
    }

    pub(super) fn lines(&mut self) {
        while self.peek().kind == Kind::Line {
            self.next();
        }
    }

    /// A statement is over.
    pub(super) fn is_over(&mut self) -> bool {
        matches!(self.peek().kind, Kind::Line | Kind::Semicolon | Kind::End) || self.at_sign("}")
    }

    /// Goes one deeper, as far as that is allowed.
    pub(super) fn deeper<T>(&mut self, inside: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth >= DEEPEST {
            return Err(self.fault("it is nested too deep"));
        }
        self.depth += 1;
        let found = inside(self);
        self.depth -= 1;
        found
    }

    /// Passes over the rest of a statement from a place on, brackets as a whole; the line alone where they do not close.
    pub(super) fn pass_over(&mut self, at: usize) {
        self.ahead = None;
        self.lexer.go_to(at);
        self.end = at;
        let mut open = 0_usize;
        while !self.unbalanced {
            let token = self.peek();
            match (token.kind, token.text) {
                (Kind::End, _) if open > 0 => self.unbalanced = true,
                (Kind::End, _) => return,
                (Kind::Line | Kind::Semicolon, _) if open == 0 => return,
                (Kind::Sign, "{") => open += 1,
                (Kind::Sign, "}") if open == 0 => return,
                (Kind::Sign, "}") => open -= 1,
                _ => {}
            }
            self.next();
        }
        self.ahead = None;
        self.end = self.lexer.end_of_line(at);
        self.lexer.go_to(self.end);
    }
}
