//! A rule of iptables-save's syntax, and what iptables-restore takes beside it: glued, shortened and older forms.
//!
//! What the text says and we do not understand is kept as its words; only a line that is no rule at all is an error.

use std::iter::Peekable;
use std::slice::Iter;

use super::address::parse_address;
use super::extension::Unknown;
use super::ip::{AddressMatch, DeviceMatch, Fragments, IpPart, ProtocolMatch, protocol_match, protocol_number};
use super::pending::{Known, Pending, beginning, exactly, is_negation};
use super::text::{TextError, Token};
use super::{Action, Match, Rule, Target};

/// Rules that one line may make by its lists of addresses.
pub(super) const LISTS: usize = 1024;

/// What a line says behind its command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    /// Its rules: several where it lists addresses, none where it is for the other family (`-6` in a text of IPv4).
    pub rules: Vec<Rule>,
    /// `-c`: packets and bytes.
    pub counted: Option<(u64, u64)>,
}

/// An option that every rule has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own {
    Source,
    Destination,
    Input,
    Output,
    Protocol,
    Ipv4,
    Ipv6,
    Fragment,
    Match,
    Jump,
    Goto,
    Counters,
    /// How rules are listed, which changes none of them.
    Listing,
}

const LONG: [(&str, Own); 19] = [
    ("--source", Own::Source),
    ("--src", Own::Source),
    ("--destination", Own::Destination),
    ("--dst", Own::Destination),
    ("--in-interface", Own::Input),
    ("--out-interface", Own::Output),
    ("--protocol", Own::Protocol),
    ("--ipv4", Own::Ipv4),
    ("--ipv6", Own::Ipv6),
    ("--fragments", Own::Fragment),
    ("--fragment", Own::Fragment),
    ("--match", Own::Match),
    ("--jump", Own::Jump),
    ("--goto", Own::Goto),
    ("--set-counters", Own::Counters),
    ("--verbose", Own::Listing),
    ("--numeric", Own::Listing),
    ("--exact", Own::Listing),
    ("--line-numbers", Own::Listing),
];

impl Own {
    fn of(name: &str) -> Option<Self> {
        LONG.iter().find(|(long, _)| *long == name).map(|(_, own)| *own)
    }

    /// The one that a shortened name means.
    fn beginning(typed: &str, ipv6: bool) -> Option<Self> {
        let own = LONG.iter().filter(|(_, own)| !(ipv6 && *own == Self::Fragment));
        let mut found = own.filter(|(long, _)| long.starts_with(typed)).map(|(_, own)| *own);
        let first = found.next()?;
        found.all(|other| other == first).then_some(first)
    }

    fn letter(letter: char) -> Option<Self> {
        Some(match letter {
            's' => Self::Source,
            'd' => Self::Destination,
            'i' => Self::Input,
            'o' => Self::Output,
            'p' => Self::Protocol,
            '4' => Self::Ipv4,
            '6' => Self::Ipv6,
            'f' => Self::Fragment,
            'm' => Self::Match,
            'j' => Self::Jump,
            'g' => Self::Goto,
            'c' => Self::Counters,
            'v' | 'n' | 'x' => Self::Listing,
            _ => return None,
        })
    }

    fn takes_value(self) -> bool {
        !matches!(self, Self::Ipv4 | Self::Ipv6 | Self::Fragment | Self::Listing)
    }

    fn can_be_negated(self) -> bool {
        !matches!(self, Self::Match | Self::Jump | Self::Goto | Self::Counters)
    }
}

/// Whose option it is.
enum Meant {
    Target(Known),
    /// That of the match at this place.
    Match(usize, Known),
    Own(Own),
}

struct Parser<'a> {
    tokens: Peekable<Iter<'a, Token>>,
    ipv6: bool,
    ip: IpPart,
    sources: Vec<AddressMatch>,
    destinations: Vec<AddressMatch>,
    matches: Vec<Pending>,
    target: Option<Pending>,
    goto: bool,
    counted: Option<(u64, u64)>,
    /// It is for the other family.
    foreign: bool,
    is_chain: &'a dyn Fn(&str) -> bool,
}

/// Parses the words of a rule behind `-A CHAIN`.
///
/// `is_chain` tells user chains from unknown targets. Lists of addresses make several rules, as they do when loaded.
///
/// # Errors
/// See [`TextError`].
pub fn parse_rule(tokens: &[Token], ipv6: bool, is_chain: &dyn Fn(&str) -> bool) -> Result<Vec<Rule>, TextError> {
    parse_line(tokens, ipv6, is_chain).map(|line| line.rules)
}

/// Parses them with what the line says beside the rule.
///
/// # Errors
/// See [`TextError`].
pub fn parse_line(tokens: &[Token], ipv6: bool, is_chain: &dyn Fn(&str) -> bool) -> Result<Line, TextError> {
    let mut parser = Parser {
        tokens: tokens.iter().peekable(),
        ipv6,
        ip: IpPart::default(),
        sources: Vec::new(),
        destinations: Vec::new(),
        matches: Vec::new(),
        target: None,
        goto: false,
        counted: None,
        foreign: false,
        is_chain,
    };
    parser.read()?;
    if parser.foreign {
        return Ok(Line::default());
    }
    let rules = parser.sources.len().max(1) * parser.destinations.len().max(1);
    if rules > LISTS {
        return Err(TextError::Lists(rules));
    }
    Ok(Line { counted: parser.counted, rules: parser.finish() })
}

impl Parser<'_> {
    fn read(&mut self) -> Result<(), TextError> {
        let mut negated = false;
        while let Some(token) = self.tokens.next() {
            if token.text == "!" && !token.quoted && !negated {
                negated = true;
                continue;
            }
            self.one(token, negated)?;
            if self.foreign {
                return Ok(());
            }
            negated = false;
        }
        if negated { Err(TextError::Stray("!".to_owned())) } else { Ok(()) }
    }

    fn one(&mut self, token: &Token, negated: bool) -> Result<(), TextError> {
        let stray = || TextError::Stray(token.text.clone());
        if token.quoted {
            return Err(stray());
        }
        if token.text == "[unknown" {
            return if negated { Err(TextError::Stray("!".to_owned())) } else { self.bracket() };
        }
        if token.text.starts_with("--") {
            return self.long(token, negated);
        }
        // `-fi eth0`: letters of options without a value, then one with its value behind it.
        let mut letters = token.text.strip_prefix('-').filter(|letters| !letters.is_empty()).ok_or_else(stray)?.chars();
        while let Some(letter) = letters.next() {
            let Some(own) = Own::letter(letter) else { return self.opaque(token, negated) };
            if own.takes_value() {
                let glued = Some(letters.as_str()).filter(|glued| !glued.is_empty());
                return self.own(own, &format!("-{letter}"), glued, negated);
            }
            self.own(own, &token.text, None, negated)?;
        }
        Ok(())
    }

    fn long(&mut self, token: &Token, negated: bool) -> Result<(), TextError> {
        let (name, glued) = match token.text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (token.text.as_str(), None),
        };
        if let Some(own) = Own::of(name) {
            return self.own(own, name, glued, negated);
        }
        // What stands behind a target that we do not know is that target's.
        if self.target.as_ref().is_some_and(|target| !self.goto && target.is_unknown(self.is_chain)) {
            return self.opaque(token, negated);
        }
        let stray = || TextError::Stray(token.text.clone());
        match self.meant(name) {
            Some(Meant::Own(own)) => self.own(own, name, glued, negated),
            Some(Meant::Target(option)) => {
                self.target.as_mut().ok_or_else(stray)?.take(&mut self.tokens, option, glued, negated)
            }
            Some(Meant::Match(at, option)) => {
                self.matches.get_mut(at).ok_or_else(stray)?.take(&mut self.tokens, option, glued, negated)
            }
            None => self.opaque(token, negated),
        }
    }

    /// Whose option a name is: as getopt finds it among those of the rule, its target and its matches so far, where one that is written
    /// out comes before all that begin so; else that of the match which the protocol names.
    fn meant(&mut self, name: &str) -> Option<Meant> {
        let target = self.target.as_ref().map_or("", |target| &target.name);
        let of_target = Target::options(target);
        // Of matches of one name the last takes the options.
        let last = |at: usize, name: &str| self.matches.iter().skip(at + 1).all(|other| other.name != name);
        let nearest = || {
            let all = self.matches.iter().enumerate().rev().filter(|(at, pending)| last(*at, &pending.name));
            all.filter_map(|(at, pending)| Some((at, pending.name.as_str(), Match::options(&pending.name)?)))
        };
        if let Some(option) = of_target.and_then(|options| exactly(options, name)) {
            return Some(Meant::Target(option));
        }
        if let Some((at, option)) = nearest().find_map(|(at, _, options)| Some((at, exactly(options, name)?))) {
            return Some(Meant::Match(at, option));
        }
        let targets =
            of_target.into_iter().flat_map(|options| beginning((target, self.ipv6), options, name)).map(Meant::Target);
        let matches = nearest().flat_map(|(at, extension, options)| {
            beginning((extension, self.ipv6), options, name).map(move |option| Meant::Match(at, option))
        });
        // Two letters at least: nobody writes less, and what is not known is kept.
        let long_enough = name.len() > 3;
        let alone = {
            let mut begun =
                targets.chain(matches).chain(Own::beginning(name, self.ipv6).map(Meant::Own)).filter(|_| long_enough);
            begun.next().filter(|_| begun.next().is_none())
        };
        alone.or_else(|| self.of_protocol(name, long_enough))
    }

    /// The option of the match that the protocol names, which is loaded by it.
    fn of_protocol(&mut self, name: &str, shortened: bool) -> Option<Meant> {
        let protocol = self.ip.protocol.filter(|protocol| !protocol.negated)?;
        let extension = protocol_match(protocol.number);
        let options = Match::options(&extension)?;
        let alone = {
            let mut begun = beginning((&extension, self.ipv6), options, name).filter(|_| shortened);
            begun.next().filter(|_| begun.next().is_none())
        };
        let option = exactly(options, name).or(alone)?;
        self.matches.push(Pending::named(extension));
        Some(Meant::Match(self.matches.len() - 1, option))
    }

    fn own(&mut self, own: Own, option: &str, glued: Option<&str>, negated: bool) -> Result<(), TextError> {
        if negated && !own.can_be_negated() {
            return Err(TextError::Stray("!".to_owned()));
        }
        if let Some(value) = glued.filter(|_| !own.takes_value()) {
            return Err(TextError::BadValue { option: option.to_owned(), value: value.to_owned() });
        }
        match own {
            Own::Source => self.sources = self.addresses(option, glued, negated)?,
            Own::Destination => self.destinations = self.addresses(option, glued, negated)?,
            Own::Input => self.ip.input = self.device(option, glued, negated)?,
            Own::Output => self.ip.output = self.device(option, glued, negated)?,
            Own::Protocol => self.protocol(option, glued, negated)?,
            Own::Ipv4 => self.foreign |= self.ipv6,
            Own::Ipv6 => self.foreign |= !self.ipv6,
            Own::Fragment => self.ip.fragments = Some(Fragments { negated }),
            Own::Match => {
                let name = self.name(option, glued)?;
                self.matches.push(Pending::named(name));
            }
            Own::Jump | Own::Goto => {
                self.goto = own == Own::Goto;
                self.target = Some(Pending::named(self.name(option, glued)?));
            }
            Own::Counters => self.counters(option, glued)?,
            Own::Listing => {}
        }
        Ok(())
    }

    /// The value of an option; old rules write the negation in front of it.
    fn value(&mut self, option: &str, glued: Option<&str>) -> Result<(bool, String), TextError> {
        let missing = || TextError::NoValue(option.to_owned());
        if let Some(value) = glued {
            return Ok((false, value.to_owned()));
        }
        let first = self.tokens.next().ok_or_else(missing)?;
        if is_negation(first, &mut self.tokens) {
            return Ok((true, self.tokens.next().ok_or_else(missing)?.text.clone()));
        }
        Ok((false, first.text.clone()))
    }

    /// The name of a match or target, which cannot be negated.
    fn name(&mut self, option: &str, glued: Option<&str>) -> Result<String, TextError> {
        match self.value(option, glued)? {
            (false, name) if name != "!" => Ok(name),
            _ => Err(TextError::Stray("!".to_owned())),
        }
    }

    fn addresses(&mut self, option: &str, glued: Option<&str>, negated: bool) -> Result<Vec<AddressMatch>, TextError> {
        let (inner, value) = self.value(option, glued)?;
        let one = |text: &str| parse_address(text, negated || inner, self.ipv6);
        let all: Option<Vec<_>> = value.split(',').map(one).collect();
        all.ok_or_else(|| TextError::BadValue { option: option.to_owned(), value })
    }

    fn device(
        &mut self,
        option: &str,
        glued: Option<&str>,
        negated: bool,
    ) -> Result<Option<Box<DeviceMatch>>, TextError> {
        let (inner, value) = self.value(option, glued)?;
        let (name, prefix) = value.strip_suffix('+').map_or((value.as_str(), false), |name| (name, true));
        let negated = negated || inner;
        // A lone `+` is any device: the kernel holds nothing for it.
        let any = name.is_empty() && prefix && !negated;
        Ok((!any).then(|| Box::new(DeviceMatch { negated, name: name.to_owned(), prefix })))
    }

    fn protocol(&mut self, option: &str, glued: Option<&str>, negated: bool) -> Result<(), TextError> {
        let (inner, value) = self.value(option, glued)?;
        let number = protocol_number(&value).ok_or_else(|| TextError::BadValue { option: option.to_owned(), value })?;
        let negated = negated || inner;
        self.ip.protocol = (number != 0 || negated).then_some(ProtocolMatch { negated, number });
        Ok(())
    }

    /// `-c PACKETS BYTES` or `-c PACKETS,BYTES`.
    fn counters(&mut self, option: &str, glued: Option<&str>) -> Result<(), TextError> {
        let (_, packets) = self.value(option, glued)?;
        let (packets, bytes) = match packets.split_once(',') {
            Some((packets, bytes)) => (packets.to_owned(), bytes.to_owned()),
            None => (packets, self.value(option, None)?.1),
        };
        let number = |value: String| match value.parse() {
            Ok(number) => Ok(number),
            Err(_) => Err(TextError::BadValue { option: option.to_owned(), value }),
        };
        self.counted = Some((number(packets)?, number(bytes)?));
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
            self.target = Some(Pending::whole(Unknown::Rule(words.concat())));
            return Ok(());
        }
        let whole = Unknown::from_words(&words).ok_or_else(|| TextError::Stray("[unknown".to_owned()))?;
        match role.as_str() {
            "target" => self.target = Some(Pending::whole(whole)),
            "match" => self.matches.push(Pending::whole(whole)),
            _ => return Err(TextError::Stray("[unknown".to_owned())),
        }
        Ok(())
    }

    /// Nobody knows the option: the last match or target keeps it, and all of its own, as words.
    fn opaque(&mut self, token: &Token, negated: bool) -> Result<(), TextError> {
        let last = self.target.as_mut().or(self.matches.last_mut());
        last.ok_or_else(|| TextError::Stray(token.text.clone()))?.keep(token, &mut self.tokens, negated);
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

#[cfg(test)]
mod tests {
    use super::super::text::tokens;
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
            "! -i ! -j QUEUE",
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
