//! What a line of iptables-restore wants done: `-A CHAIN`, and the commands that are written by hand.

use std::borrow::Cow;

use crate::xt::Token;

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// `-A`
    Append,
    /// `-I`
    Insert,
    /// `-D`
    Delete,
    /// `-R`
    Replace,
    /// `-N`
    New,
    /// `-P`
    Policy,
    /// `-F`
    Flush,
    /// `-X`
    Remove,
    /// `-Z`
    Zero,
}

const VERBS: [(&str, &str, Verb); 9] = [
    ("-A", "--append", Verb::Append),
    ("-I", "--insert", Verb::Insert),
    ("-D", "--delete", Verb::Delete),
    ("-R", "--replace", Verb::Replace),
    ("-N", "--new-chain", Verb::New),
    ("-P", "--policy", Verb::Policy),
    ("-F", "--flush", Verb::Flush),
    ("-X", "--delete-chain", Verb::Remove),
    ("-Z", "--zero", Verb::Zero),
];

/// Letters of a long name that are enough, where that many tell it from the others.
const ENOUGH: usize = "--xx".len();

impl Verb {
    /// The command that a word begins, and what is glued to it: `-AINPUT`, `--append=INPUT`.
    fn of(word: &Token) -> Option<(Self, Option<&str>)> {
        if word.quoted {
            return None;
        }
        if !word.text.starts_with("--") {
            let (verb, glued) =
                VERBS.iter().find_map(|(short, _, verb)| Some((*verb, word.text.strip_prefix(short)?)))?;
            return Some((verb, Some(glued).filter(|glued| !glued.is_empty())));
        }
        let (name, glued) = match word.text.split_once('=') {
            Some((name, glued)) => (name, Some(glued)),
            None => (word.text.as_str(), None),
        };
        if let Some((.., verb)) = VERBS.iter().find(|(_, long, _)| *long == name) {
            return Some((*verb, glued));
        }
        let mut begun = VERBS.iter().filter(|(_, long, _)| name.len() >= ENOUGH && long.starts_with(name));
        let (.., verb) = begun.next()?;
        begun.next().is_none().then_some((*verb, glued))
    }
}

/// A line's command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command<'a> {
    pub(super) verb: Verb,
    /// The chain; none where it is all chains.
    pub(super) chain: Option<&'a str>,
    /// A place in the chain, from 1.
    pub(super) place: Option<usize>,
    /// The other words: the rule, or the policy.
    pub(super) rest: Cow<'a, [Token]>,
}

impl<'a> Command<'a> {
    /// The command among the words of a line, which is the first of them unless the line was written by hand.
    pub(super) fn of(words: &'a [Token]) -> Option<Self> {
        // Later in the line a short form is that of another option.
        let whole = |word: &Token| VERBS.iter().any(|(short, long, _)| word.text == *short || word.text == *long);
        let possible = words.iter().enumerate().filter(|(at, word)| *at == 0 || whole(word));
        let (at, (verb, glued)) = possible.filter_map(|(at, word)| Some((at, Verb::of(word)?))).next()?;
        let (before, behind) = (words.get(..at)?, words.get(at + 1..)?);
        let is_option = |word: &Token| !word.quoted && (word.text.starts_with('-') || word.text == "!");
        let optional = matches!(verb, Verb::Flush | Verb::Remove | Verb::Zero);
        let (chain, behind) = match (glued, behind.split_first()) {
            (Some(glued), _) => (Some(glued), behind),
            (None, Some((next, behind))) if !optional || !is_option(next) => (Some(next.text.as_str()), behind),
            _ => (None, behind),
        };
        let numbered = matches!(verb, Verb::Insert | Verb::Delete | Verb::Replace | Verb::Zero);
        let place = behind.first().filter(|word| numbered && !is_option(word)).and_then(|word| word.text.parse().ok());
        let behind = if place.is_some() { behind.get(1..).unwrap_or_default() } else { behind };
        let rest = if before.is_empty() { behind.into() } else { [before, behind].concat().into() };
        Some(Self { verb, chain, place, rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xt::tokens;

    #[test]
    fn a_command_stands_first_or_later_glued_or_short() {
        let of = |line: &str| {
            let words = tokens(line).expect("words");
            let found = Command::of(&words)?;
            let rest: Vec<&str> = found.rest.iter().map(|word| word.text.as_str()).collect();
            Some((found.verb, found.chain.map(str::to_owned), found.place, rest.join(" ")))
        };
        let wanted =
            |verb, chain: &str, place, rest: &str| Some((verb, Some(chain.to_owned()), place, rest.to_owned()));
        assert_eq!(of("-A X -j Y"), wanted(Verb::Append, "X", None, "-j Y"));
        assert_eq!(of("-AX 2 -j Y"), wanted(Verb::Append, "X", None, "2 -j Y"));
        assert_eq!(of("--append=X -j Y"), wanted(Verb::Append, "X", None, "-j Y"));
        assert_eq!(of("--ins X 3 -j Y"), wanted(Verb::Insert, "X", Some(3), "-j Y"));
        assert_eq!(of("-4 -p tcp -I X -j Y"), wanted(Verb::Insert, "X", None, "-4 -p tcp -j Y"));
        assert_eq!(of("--delete X 7"), wanted(Verb::Delete, "X", Some(7), ""));
        assert_eq!(of("--delete-c X"), wanted(Verb::Remove, "X", None, ""));
        assert_eq!(of("-F"), Some((Verb::Flush, None, None, String::new())));
        assert_eq!(of("-P INPUT DROP"), wanted(Verb::Policy, "INPUT", None, "DROP"));
        assert_eq!(of("-m policy --pol none -A X"), wanted(Verb::Append, "X", None, "-m policy --pol none"));
        for none in ["", "-p tcp", "\"-A\" X", "--del X", "-E X Y", "--append-x X"] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
