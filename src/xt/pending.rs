//! A match or target of a rule's text while its options are gathered.

use std::iter::Peekable;
use std::slice::Iter;

use super::extension::{Given, OPTIONAL, Unknown};
use super::text::{TextError, Token, word};
use super::{Action, Match, Target};

/// An option as a match or target has it: its full name, and how many values it takes.
pub(super) type Known = (&'static str, usize);

/// A match or target while its options are gathered.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) name: String,
    given: Vec<Given>,
    /// The same as it was written.
    words: Vec<String>,
    /// Some option of it is not known: it is kept as words.
    opaque: bool,
    /// Already whole: an unknown one in brackets.
    pub(super) whole: Option<Unknown>,
}

/// Verdicts, which take no options.
const VERDICTS: [&str; 4] = ["ACCEPT", "DROP", "QUEUE", "RETURN"];

impl Pending {
    pub(super) fn named(name: String) -> Self {
        Self { name, ..Self::default() }
    }

    pub(super) fn whole(unknown: Unknown) -> Self {
        Self { whole: Some(unknown), ..Self::default() }
    }

    /// Neither verdict nor chain nor a target that is known here.
    pub(super) fn is_unknown(&self, is_chain: &dyn Fn(&str) -> bool) -> bool {
        let name = self.name.as_str();
        Target::options(name).is_none() && !VERDICTS.contains(&name) && !is_chain(name)
    }

    /// Reads an option's values, of which one may be glued to it: `--dport=80`.
    pub(super) fn take(
        &mut self,
        tokens: &mut Peekable<Iter<'_, Token>>,
        (name, arity): Known,
        glued: Option<&str>,
        mut negated: bool,
    ) -> Result<(), TextError> {
        let arity = match (arity, tokens.peek()) {
            (OPTIONAL, _) if glued.is_some() => 1,
            (OPTIONAL, Some(next)) => usize::from(next.is_value()),
            (OPTIONAL, None) => 0,
            (fixed, _) => fixed,
        };
        let mut values: Vec<Token> = Vec::new();
        values.extend(glued.map(|text| Token { text: text.to_owned(), quoted: text.starts_with(['-', '!']) }));
        if values.len() > arity {
            let (option, value) = (name.to_owned(), glued.unwrap_or_default().to_owned());
            return Err(TextError::BadValue { option, value });
        }
        while values.len() < arity {
            let value = tokens.next().ok_or_else(|| TextError::NoValue(name.to_owned()))?;
            if values.is_empty() && is_negation(value, tokens) {
                negated = true;
                continue;
            }
            values.push(value.clone());
        }
        self.words.extend(negated.then(|| "!".to_owned()));
        self.words.push(name.to_owned());
        self.words.extend(values.iter().map(Token::written));
        let values = values.into_iter().map(|value| value.text).collect();
        self.given.push(Given { negated, name, values });
        Ok(())
    }

    /// Keeps an option that nobody knows, with what looks like its values.
    pub(super) fn keep(&mut self, token: &Token, tokens: &mut Peekable<Iter<'_, Token>>, negated: bool) {
        self.opaque = true;
        self.words.extend(negated.then(|| "!".to_owned()));
        match token.text.split_once('=') {
            Some((name, value)) if word(&token.text) != token.text.as_str() => {
                self.words.push(name.to_owned());
                self.words.push(Token { text: value.to_owned(), quoted: true }.written());
            }
            _ => self.words.push(token.written()),
        }
        while let Some(value) = tokens.next_if(|next| next.is_value()) {
            self.words.push(value.written());
        }
    }

    pub(super) fn into_match(self, ipv6: bool) -> Match {
        if let Some(whole) = self.whole {
            return Match::Unknown(Box::new(whole));
        }
        let known = if self.opaque { None } else { Match::parse(&self.name, &self.given, ipv6) };
        known.unwrap_or_else(|| Match::Unknown(Box::new(Unknown::Text { name: self.name, words: self.words })))
    }

    pub(super) fn into_action(self, goto: bool, ipv6: bool, is_chain: &dyn Fn(&str) -> bool) -> Action {
        if let Some(whole) = self.whole {
            return Action::Target(whole.into());
        }
        match self.name.as_str() {
            // Never a verdict: a chain that is called like one can only have been made by others than iptables.
            name if goto => return Action::Goto(name.to_owned()),
            "ACCEPT" => return Action::Accept,
            "DROP" => return Action::Drop,
            "QUEUE" => return Action::Queue,
            "RETURN" => return Action::Return,
            // A chain comes before a target of its name, and takes no options.
            name if is_chain(name) && self.words.is_empty() => return Action::Jump(name.to_owned()),
            _ => {}
        }
        let known = if self.opaque { None } else { Target::parse(&self.name, &self.given, ipv6) };
        Action::Target(known.unwrap_or_else(|| Unknown::Text { name: self.name, words: self.words }.into()))
    }
}

/// Old rules write the negation behind the option. A `!` behind which no value stands is the value itself.
pub(super) fn is_negation(token: &Token, tokens: &mut Peekable<Iter<'_, Token>>) -> bool {
    token.text == "!" && !token.quoted && tokens.peek().is_some_and(|next| next.is_value())
}

/// The option of exactly this name.
pub(super) fn exactly(options: &'static [Known], typed: &str) -> Option<Known> {
    options.iter().find(|(name, _)| *name == typed).copied()
}

/// Those of an extension that begin so: one of them alone may be written short.
pub(super) fn beginning<'a>(
    (extension, ipv6): (&'a str, bool),
    options: &'static [Known],
    typed: &'a str,
) -> impl Iterator<Item = Known> + use<'a> {
    // One file knows several of them, each of which has its own options.
    let foreign = move |option: &str| match extension {
        "icmp" => option == "--icmpv6-type",
        "icmp6" => option == "--icmp-type",
        "state" => option != "--state",
        "conntrack" => option == "--state",
        "ah" => !ipv6 && option != "--ahspi",
        "DNAT" | "REDIRECT" => option == "--random-fully",
        _ => false,
    };
    options.iter().filter(move |(name, _)| name.starts_with(typed) && !foreign(name)).copied()
}
