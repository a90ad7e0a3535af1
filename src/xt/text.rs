//! A rule's text in iptables-save's syntax, both ways.
//!
//! What the text says and we do not understand is kept as its words; only a line that is no rule at all is an error.

use std::borrow::Cow;

use super::address::parse_address;
use super::extension::{Given, OPTIONAL, Unknown};
use super::ip::{AddressMatch, DeviceMatch, Fragments, IpPart, ProtocolMatch, protocol_match, protocol_number};
use super::{Action, Match, Rule, Target};

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

/// Rules that one line may make by its lists of addresses.
const LISTS: usize = 1024;

/// A word of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its text, quotation marks and backslashes taken off.
    pub text: String,
    /// It stood in quotation marks, so it is no option even if it looks like one.
    pub quoted: bool,
}

/// Divides a line into words as iptables-restore does: blanks part, double quotes keep together, a backslash takes the next
/// character as it is.
///
/// # Errors
/// [`TextError::OpenQuote`].
pub fn tokens(line: &str) -> Result<Vec<Token>, TextError> {
    let mut found = Vec::new();
    let mut current: Option<Token> = None;
    let (mut in_quotes, mut characters) = (false, line.chars());
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                in_quotes = !in_quotes;
                current.get_or_insert(Token { text: String::new(), quoted: true }).quoted = true;
            }
            '\\' if in_quotes => {
                let token = current.get_or_insert(Token { text: String::new(), quoted: true });
                token.text.extend(characters.next());
            }
            blank if blank.is_ascii_whitespace() && !in_quotes => found.extend(current.take()),
            other => current.get_or_insert(Token { text: String::new(), quoted: false }).text.push(other),
        }
    }
    if in_quotes {
        return Err(TextError::OpenQuote);
    }
    found.extend(current);
    Ok(found)
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
    let breaks = |character: char| character.is_whitespace() || matches!(character, '"' | '\\');
    match value {
        "!" => Cow::Borrowed("\"!\""),
        _ if value.is_empty() || value.chars().any(breaks) => Cow::Owned(quote(value)),
        _ => Cow::Borrowed(value),
    }
}

impl Token {
    /// As it is written in a rule that is not understood: bare words stay bare, quoted ones stay what they are.
    fn written(&self) -> String {
        match self.text.as_str() {
            bare if !self.quoted => bare.to_owned(),
            option if option.starts_with('-') => format!("\"{}\"", option.replace('\\', r"\\").replace('"', "\\\"")),
            text => quote(text),
        }
    }
}

/// A match or target while its options are gathered.
#[derive(Debug, Default)]
struct Pending {
    name: String,
    given: Vec<Given>,
    /// The same as it was written.
    words: Vec<String>,
    /// Some option of it is not known: it is kept as words.
    opaque: bool,
    /// Already whole: an unknown one in brackets.
    whole: Option<Unknown>,
}

struct Parser<'a> {
    tokens: std::iter::Peekable<std::slice::Iter<'a, Token>>,
    ipv6: bool,
    ip: IpPart,
    sources: Vec<AddressMatch>,
    destinations: Vec<AddressMatch>,
    matches: Vec<Pending>,
    target: Option<Pending>,
    goto: bool,
    is_chain: &'a dyn Fn(&str) -> bool,
}

/// Parses the words of a rule behind `-A CHAIN`.
///
/// `is_chain` tells user chains from unknown targets. Lists of addresses make several rules, as they do when loaded.
///
/// # Errors
/// See [`TextError`].
pub fn parse_rule(tokens: &[Token], ipv6: bool, is_chain: &dyn Fn(&str) -> bool) -> Result<Vec<Rule>, TextError> {
    let mut parser = Parser {
        tokens: tokens.iter().peekable(),
        ipv6,
        ip: IpPart::default(),
        sources: Vec::new(),
        destinations: Vec::new(),
        matches: Vec::new(),
        target: None,
        goto: false,
        is_chain,
    };
    parser.read()?;
    let rules = parser.sources.len().max(1) * parser.destinations.len().max(1);
    if rules > LISTS {
        return Err(TextError::Lists(rules));
    }
    Ok(parser.finish())
}

impl Parser<'_> {
    fn read(&mut self) -> Result<(), TextError> {
        let mut negated = false;
        while let Some(token) = self.tokens.next() {
            let option = token.text.as_str();
            if option == "!" && !token.quoted {
                negated = true;
                continue;
            }
            let stands_alone = ["-m", "--match", "-j", "--jump", "-g", "--goto", "-c", "--set-counters", "[unknown"];
            if negated && stands_alone.contains(&option) {
                return Err(TextError::Stray("!".to_owned()));
            }
            match option {
                "-s" | "--source" | "--src" => self.sources = self.addresses(option, negated)?,
                "-d" | "--destination" | "--dst" => self.destinations = self.addresses(option, negated)?,
                "-i" | "--in-interface" => self.ip.input = self.device(option, negated)?,
                "-o" | "--out-interface" => self.ip.output = self.device(option, negated)?,
                "-p" | "--protocol" => self.protocol(option, negated)?,
                "-4" | "--ipv4" if !self.ipv6 => {}
                "-6" | "--ipv6" if self.ipv6 => {}
                "-f" | "--fragment" => self.ip.fragments = Some(Fragments { negated }),
                "-m" | "--match" => {
                    let name = self.name(option)?;
                    self.matches.push(Pending { name, ..Pending::default() });
                }
                "-j" | "--jump" | "-g" | "--goto" => {
                    self.goto = matches!(option, "-g" | "--goto");
                    let name = self.name(option)?;
                    self.target = Some(Pending { name, ..Pending::default() });
                }
                "-c" | "--set-counters" => {
                    let (_, packets) = self.value(option)?;
                    if !packets.contains(',') {
                        self.value(option)?;
                    }
                }
                "[unknown" if !token.quoted => self.bracket()?,
                _ => self.option(token, negated)?,
            }
            negated = false;
        }
        if negated { Err(TextError::Stray("!".to_owned())) } else { Ok(()) }
    }

    /// The value of an option; old rules write the negation in front of it.
    fn value(&mut self, option: &str) -> Result<(bool, String), TextError> {
        let missing = || TextError::NoValue(option.to_owned());
        let first = self.tokens.next().ok_or_else(missing)?;
        if first.text == "!" && !first.quoted {
            return Ok((true, self.tokens.next().ok_or_else(missing)?.text.clone()));
        }
        Ok((false, first.text.clone()))
    }

    /// The name of a match or target, which cannot be negated.
    fn name(&mut self, option: &str) -> Result<String, TextError> {
        match self.value(option)? {
            (false, name) => Ok(name),
            (true, _) => Err(TextError::Stray("!".to_owned())),
        }
    }

    fn addresses(&mut self, option: &str, negated: bool) -> Result<Vec<AddressMatch>, TextError> {
        let (inner, value) = self.value(option)?;
        let one = |text: &str| parse_address(text, negated || inner, self.ipv6);
        let all: Option<Vec<_>> = value.split(',').map(one).collect();
        all.ok_or_else(|| TextError::BadValue { option: option.to_owned(), value })
    }

    fn device(&mut self, option: &str, negated: bool) -> Result<Option<Box<DeviceMatch>>, TextError> {
        let (inner, value) = self.value(option)?;
        let (name, prefix) = value.strip_suffix('+').map_or((value.as_str(), false), |name| (name, true));
        let negated = negated || inner;
        // A lone `+` is any device: the kernel holds nothing for it.
        let any = name.is_empty() && prefix && !negated;
        Ok((!any).then(|| Box::new(DeviceMatch { negated, name: name.to_owned(), prefix })))
    }

    fn protocol(&mut self, option: &str, negated: bool) -> Result<(), TextError> {
        let (inner, value) = self.value(option)?;
        let number = protocol_number(&value).ok_or_else(|| TextError::BadValue { option: option.to_owned(), value })?;
        let negated = negated || inner;
        self.ip.protocol = (number != 0 || negated).then_some(ProtocolMatch { negated, number });
        Ok(())
    }

    /// `[unknown match NAME rev N: HEX]`, as [`Unknown::save`] writes it.
    fn bracket(&mut self) -> Result<(), TextError> {
        let mut words = Vec::new();
        for token in self.tokens.by_ref() {
            let end = token.text.strip_suffix(']').filter(|_| !token.quoted);
            words.push(end.unwrap_or(&token.text).to_owned());
            if end.is_some() {
                break;
            }
        }
        let role = if words.is_empty() { String::new() } else { words.remove(0) };
        if role == "rule" && words.len() == 2 {
            let whole = Some(Unknown::Rule(words.concat()));
            self.target = Some(Pending { whole, ..Pending::default() });
            return Ok(());
        }
        let whole = Unknown::from_words(&words).ok_or_else(|| TextError::Stray("[unknown".to_owned()))?;
        let pending = Pending { whole: Some(whole), ..Pending::default() };
        match role.as_str() {
            "target" => self.target = Some(pending),
            "match" => self.matches.push(pending),
            _ => return Err(TextError::Stray("[unknown".to_owned())),
        }
        Ok(())
    }

    /// An option of a match or target: the target's when it knows it, else the nearest match's in front, else the protocol's.
    fn option(&mut self, token: &Token, negated: bool) -> Result<(), TextError> {
        if token.quoted || !token.text.starts_with('-') {
            return Err(TextError::Stray(token.text.clone()));
        }
        let known = |options: Option<&'static [(&'static str, usize)]>| resolve(options?, &token.text);
        if let Some(target) = self.target.as_mut()
            && let Some(option) = known(Target::options(&target.name))
        {
            return take(&mut self.tokens, target, option, negated);
        }
        // What stands behind a target that we do not know is that target's.
        if self.target.as_ref().is_some_and(|target| !self.goto && target.is_unknown(self.is_chain)) {
            return self.opaque(token, negated);
        }
        let nearest = self.matches.iter_mut().rev();
        if let Some((pending, option)) = nearest
            .filter_map(|pending| Some((known(Match::options(&pending.name))?, pending)))
            .map(|(o, p)| (p, o))
            .next()
        {
            return take(&mut self.tokens, pending, option, negated);
        }
        let protocol =
            self.ip.protocol.filter(|protocol| !protocol.negated).map(|protocol| protocol_match(protocol.number));
        if let Some(name) = protocol
            && let Some(option) = known(Match::options(&name))
        {
            self.matches.push(Pending { name, ..Pending::default() });
            let pending = self.matches.last_mut().ok_or_else(|| TextError::Stray(token.text.clone()))?;
            return take(&mut self.tokens, pending, option, negated);
        }
        // What no match and no target knows may be a short form of the rule's own options.
        if token.text.len() > 3 && "--protocol".starts_with(&token.text) {
            return self.protocol(&token.text, negated);
        }
        self.opaque(token, negated)
    }

    /// Nobody knows the option: the last match or target keeps it, and all of its own, as words.
    fn opaque(&mut self, token: &Token, negated: bool) -> Result<(), TextError> {
        let last = self.target.as_mut().or(self.matches.last_mut());
        let pending = last.ok_or_else(|| TextError::Stray(token.text.clone()))?;
        pending.opaque = true;
        pending.words.extend(negated.then(|| "!".to_owned()));
        pending.words.push(token.written());
        let is_value = |next: &Token| next.quoted || !(next.text.starts_with('-') || next.text == "!");
        while let Some(value) = self.tokens.next_if(|next| is_value(next)) {
            pending.words.push(value.written());
        }
        Ok(())
    }

    fn finish(self) -> Vec<Rule> {
        let ipv6 = self.ipv6;
        let matches: Vec<Match> = self.matches.into_iter().map(|pending| pending.into_match(ipv6)).collect();
        let action = match self.target {
            None => Action::None,
            Some(pending) => pending.into_action(self.goto, ipv6, self.is_chain),
        };
        let either = |list: Vec<AddressMatch>| -> Vec<Option<AddressMatch>> {
            if list.is_empty() { vec![None] } else { list.into_iter().map(Some).collect() }
        };
        let (sources, destinations) = (either(self.sources), either(self.destinations));
        let mut rules = Vec::new();
        for source in &sources {
            for destination in &destinations {
                // `-s 0.0.0.0/0` asks nothing, and the kernel holds nothing for it.
                let asks = |part: &AddressMatch| part.negated || part.prefix() != Some(0);
                let ip = IpPart {
                    source: source.clone().filter(asks),
                    destination: destination.clone().filter(asks),
                    ..self.ip.clone()
                };
                rules.push(Rule { ip, matches: matches.clone(), action: action.clone() });
            }
        }
        rules
    }
}

/// Reads an option's values and gives it to a match or target.
fn take(
    tokens: &mut std::iter::Peekable<std::slice::Iter<'_, Token>>,
    pending: &mut Pending,
    (name, arity): (&'static str, usize),
    negated: bool,
) -> Result<(), TextError> {
    let mut negated = negated;
    let mut values: Vec<&Token> = Vec::new();
    let arity = match (arity, tokens.peek()) {
        (OPTIONAL, Some(next)) => usize::from(next.quoted || !(next.text.starts_with('-') || next.text == "!")),
        (OPTIONAL, None) => 0,
        (fixed, _) => fixed,
    };
    while values.len() < arity {
        let value = tokens.next().ok_or_else(|| TextError::NoValue(name.to_owned()))?;
        if value.text == "!" && !value.quoted && values.is_empty() {
            negated = true;
            continue;
        }
        values.push(value);
    }
    pending.words.extend(negated.then(|| "!".to_owned()));
    pending.words.push(name.to_owned());
    pending.words.extend(values.iter().map(|value| value.written()));
    let values = values.into_iter().map(|value| value.text.clone()).collect();
    pending.given.push(Given { negated, name, values });
    Ok(())
}

/// The option that is meant: its full name, or the only one that begins so.
fn resolve(options: &'static [(&'static str, usize)], typed: &str) -> Option<(&'static str, usize)> {
    if let Some(exact) = options.iter().find(|(name, _)| *name == typed) {
        return Some(*exact);
    }
    let mut beginning = options.iter().filter(|(name, _)| typed.len() > 3 && name.starts_with(typed));
    beginning.next().copied().filter(|_| beginning.next().is_none())
}

/// Verdicts, which take no options.
const VERDICTS: [&str; 4] = ["ACCEPT", "DROP", "QUEUE", "RETURN"];

impl Pending {
    /// Neither verdict nor chain nor a target that is known here.
    fn is_unknown(&self, is_chain: &dyn Fn(&str) -> bool) -> bool {
        let name = self.name.as_str();
        Target::options(name).is_none() && !VERDICTS.contains(&name) && !is_chain(name)
    }

    fn into_match(self, ipv6: bool) -> Match {
        if let Some(whole) = self.whole {
            return Match::Unknown(Box::new(whole));
        }
        let known = if self.opaque { None } else { Match::parse(&self.name, &self.given, ipv6) };
        known.unwrap_or_else(|| Match::Unknown(Box::new(Unknown::Text { name: self.name, words: self.words })))
    }

    fn into_action(self, goto: bool, ipv6: bool, is_chain: &dyn Fn(&str) -> bool) -> Action {
        if let Some(whole) = self.whole {
            return Action::Target(whole.into());
        }
        match self.name.as_str() {
            "ACCEPT" => return Action::Accept,
            "DROP" => return Action::Drop,
            "QUEUE" => return Action::Queue,
            "RETURN" => return Action::Return,
            name if goto => return Action::Goto(name.to_owned()),
            name if is_chain(name) => return Action::Jump(name.to_owned()),
            _ => {}
        }
        let known = if self.opaque { None } else { Target::parse(&self.name, &self.given, ipv6) };
        Action::Target(known.unwrap_or_else(|| Unknown::Text { name: self.name, words: self.words }.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(line: &str) -> Vec<String> {
        let rules = parse_rule(&tokens(line).unwrap(), false, &|name| name == "ISTIO_OUTPUT").unwrap();
        rules.iter().map(|rule| rule.options()).collect()
    }

    #[test]
    fn saved_rules_read_back_as_they_stand() {
        for line in [
            "-s 127.0.0.6/32 -o lo -j RETURN",
            "! -d 127.0.0.1/32 -o lo -p tcp -m tcp ! --dport 15008 -m owner --uid-owner 1337 -j ISTIO_OUTPUT",
            "-p tcp -j REDIRECT --to-ports 15001",
            "-p udp -m udp --dport 53 -m owner --gid-owner 106-108 -j CT --zone 1",
            "-p tcp -m mark ! --mark 0x539/0xfff -j TPROXY --on-port 15006 --on-ip 0.0.0.0 --tproxy-mark 0x539/0xffffffff",
            "-i eth+ -p tcp -m multiport ! --dports 80,443:445 -m comment --comment \"a \\\"b\\\" c\" -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff",
            "-m conntrack --ctstate RELATED,ESTABLISHED -j MARK --set-xmark 0x539/0xffffffff",
            "-m recent --name x --rsource -j NFQUEUE --queue-num 3",
            "[unknown match foo rev 3: 0a1b] -j RETURN",
            "-m set ! --match-set x src,dst -m limit --limit 5/min -m string --string \"two words\" -j LOG.d --to \"-x\"",
            "! -i \"!\" -j QUEUE",
            "-i \"\" -j ACCEPT",
            "-p tcp -j NOTRACK",
        ] {
            assert_eq!(round(line), [line]);
        }
    }

    #[test]
    fn input_forms_become_the_saved_form() {
        assert_eq!(
            round("-p tcp --dport 80 -j REDIRECT --to-port 15001"),
            ["-p tcp -m tcp --dport 80 -j REDIRECT --to-ports 15001"]
        );
        assert_eq!(round("-d 10.1.2.3/8,10.0.0.5 -j RETURN"), ["-d 10.0.0.0/8 -j RETURN", "-d 10.0.0.5/32 -j RETURN"]);
        assert_eq!(round("-s ! 10.0.0.0/8 -s 0.0.0.0/0 -j ACCEPT"), ["-j ACCEPT"]);
        assert_eq!(round("-j MARK --set-mark 1337"), ["-j MARK --set-xmark 0x539/0xffffffff"]);
    }

    #[test]
    fn what_is_no_rule_is_an_error() {
        let parse = |line: &str| tokens(line).and_then(|words| parse_rule(&words, false, &|_| false));
        assert_eq!(parse("-m comment --comment \"open"), Err(TextError::OpenQuote));
        assert!(matches!(parse("-s example.org -j DROP"), Err(TextError::BadValue { .. })));
        assert!(matches!(parse("-j"), Err(TextError::NoValue(_))));
        for text in ["-m ! tcp", "-m ! ! --tcp-flags -p tcp", "-j ! DROP"] {
            assert!(matches!(parse(text), Err(TextError::Stray(_))), "{text}");
        }
        assert!(matches!(parse("stray"), Err(TextError::Stray(_))));
        for dangling in
            ["-p tcp !", "! -m tcp --dport 80", "! -j DROP", "[unknown match foo rev 999: 00] -j DROP", "[unknown"]
        {
            assert!(matches!(parse(dangling), Err(TextError::Stray(_))), "{dangling}");
        }
        let list = ["10.0.0.1"; 40].join(",");
        assert_eq!(parse(&format!("-s {list} -d {list} -j DROP")), Err(TextError::Lists(1600)));
    }
}
