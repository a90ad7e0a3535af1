//! A rule taken apart for programs: every test and the target by name, options and values, as iptables names them.
//!
//! It is made from what each match and target writes about itself, so that a new one needs nothing here.

use serde::Serialize;

use super::extension::Unknown;
use super::ip::{AddressMatch, DeviceMatch, protocol_name};
use super::text::tokens;
use super::{Action, Match, Rule, Target};
use crate::packet::hexadecimal;

/// A rule in its parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Parts {
    /// `-p`: by name, else by number.
    pub protocol: Option<Test>,
    /// `-s`
    pub source: Option<Test>,
    /// `-d`
    pub destination: Option<Test>,
    /// `-i`
    pub input: Option<Test>,
    /// `-o`
    pub output: Option<Test>,
    /// `-f`, without a value.
    pub fragment: Option<Test>,
    /// Matches, in order.
    pub matches: Vec<Part>,
    /// What happens then; `None` where the packet is only counted.
    pub target: Option<Outcome>,
}

/// A test that every rule can make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Test {
    /// `!`
    pub negated: bool,
    /// As it is written.
    pub value: Option<String>,
}

/// A match or a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its options, in order.
    pub options: Vec<PartOption>,
    /// What was read of one that is not understood.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Bytes>,
}

/// One option of a match or target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartOption {
    /// `!`
    pub negated: bool,
    /// `--dport`
    pub name: String,
    /// Its values, quotation marks taken off.
    pub values: Vec<String>,
}

/// A match or target that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bytes {
    /// Its revision.
    pub revision: u8,
    /// Its payload.
    #[serde(with = "hexadecimal::text")]
    pub data: Vec<u8>,
}

/// What happens to a packet that passes all tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// What it is.
    pub kind: OutcomeKind,
    /// The target, or the chain.
    #[serde(flatten)]
    pub part: Part,
}

/// What `-j` or `-g` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OutcomeKind {
    /// `ACCEPT`, `DROP`, `RETURN`, `QUEUE`.
    Verdict,
    /// A chain, which comes back.
    Jump,
    /// A chain, for good.
    Goto,
    /// A target's own doing.
    Target,
}

impl Rule {
    /// The rule in its parts.
    #[must_use]
    pub fn parts(&self) -> Parts {
        let address = |part: &AddressMatch| Test { negated: part.negated, value: Some(part.text()) };
        let device = |part: &DeviceMatch| Test { negated: part.negated, value: Some(part.text()) };
        let ip = &self.ip;
        let mut text = String::new();
        Parts {
            protocol: ip.protocol.map(|part| Test { negated: part.negated, value: Some(protocol_name(part.number)) }),
            source: ip.source.as_ref().map(address),
            destination: ip.destination.as_ref().map(address),
            input: ip.input.as_deref().map(device),
            output: ip.output.as_deref().map(device),
            fragment: ip.fragments.map(|part| Test { negated: part.negated, value: None }),
            matches: self.matches.iter().map(|part| of_match(part, &mut text)).collect(),
            target: outcome(&self.action, &mut text),
        }
    }
}

fn of_match(part: &Match, text: &mut String) -> Part {
    if let Match::Unknown(unknown) = part
        && let Some(part) = of_unknown(unknown)
    {
        return part;
    }
    text.clear();
    part.save(text);
    Part { name: part.name().to_owned(), options: options(text), bytes: None }
}

fn outcome(action: &Action, text: &mut String) -> Option<Outcome> {
    let named = |kind: OutcomeKind, name: &str| {
        Some(Outcome { kind, part: Part { name: name.to_owned(), options: Vec::new(), bytes: None } })
    };
    match action {
        Action::None => None,
        Action::Accept => named(OutcomeKind::Verdict, "ACCEPT"),
        Action::Drop => named(OutcomeKind::Verdict, "DROP"),
        Action::Queue => named(OutcomeKind::Verdict, "QUEUE"),
        Action::Return => named(OutcomeKind::Verdict, "RETURN"),
        Action::Jump(chain) => named(OutcomeKind::Jump, chain),
        Action::Goto(chain) => named(OutcomeKind::Goto, chain),
        Action::Target(target) => {
            let unknown = if let Target::Unknown(unknown) = target { of_unknown(unknown) } else { None };
            let part = unknown.unwrap_or_else(|| {
                text.clear();
                target.save(text);
                Part { name: target.name().to_owned(), options: options(text), bytes: None }
            });
            Some(Outcome { kind: OutcomeKind::Target, part })
        }
    }
}

/// `None` for one that is known by its words, which are as good as any.
fn of_unknown(unknown: &Unknown) -> Option<Part> {
    let bytes = match unknown {
        Unknown::Bytes { revision, data, .. } => Some(Bytes { revision: *revision, data: data.clone() }),
        Unknown::Native { .. } => None,
        Unknown::Rule(text) => Some(Bytes { revision: 0, data: text.clone().into_bytes() }),
        Unknown::Text { .. } => return None,
    };
    Some(Part { name: unknown.name().to_owned(), options: Vec::new(), bytes })
}

/// The options in ` -m NAME ! --option value …`.
fn options(text: &str) -> Vec<PartOption> {
    /// `-m` or `-j`, and the name.
    const HEAD: usize = 2;
    let mut found: Vec<PartOption> = Vec::new();
    let mut negated = false;
    // What is written by ourselves has no open quotation mark.
    for token in tokens(text).unwrap_or_default().into_iter().skip(HEAD) {
        if token.text == "!" && !token.quoted {
            negated = true;
            continue;
        }
        let names_option = !token.quoted && token.text.starts_with("--");
        match found.last_mut().filter(|_| !names_option) {
            Some(last) => {
                last.negated |= negated;
                last.values.push(token.text);
            }
            None => found.push(PartOption { negated, name: token.text, values: Vec::new() }),
        }
        negated = false;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xt::parse_rule;

    fn parts(text: &str) -> serde_json::Value {
        let words = tokens(text).expect("words");
        let rules = parse_rule(&words, false, &|name| name == "X").expect("a rule");
        serde_json::to_value(rules.first().expect("one").parts()).expect("JSON")
    }

    #[test]
    fn every_part_stands_under_its_name() {
        let text = "! -s 10.0.0.0/8 -i eth+ -p tcp -m tcp ! --dport 80:90 --tcp-flags SYN,ACK NONE -m comment --comment \"--x \\\"y\" -j \
                    REDIRECT --to-ports 15001";
        let wanted = serde_json::json!({
            "protocol": {"negated": false, "value": "tcp"},
            "source": {"negated": true, "value": "10.0.0.0/8"},
            "destination": null,
            "input": {"negated": false, "value": "eth+"},
            "output": null,
            "fragment": null,
            "matches": [
                {"name": "tcp", "options": [
                    {"negated": true, "name": "--dport", "values": ["80:90"]},
                    {"negated": false, "name": "--tcp-flags", "values": ["SYN,ACK", "NONE"]},
                ]},
                {"name": "comment", "options": [{"negated": false, "name": "--comment", "values": ["--x \"y"]}]},
            ],
            "target": {"kind": "target", "name": "REDIRECT", "options": [
                {"negated": false, "name": "--to-ports", "values": ["15001"]},
            ]},
        });
        assert_eq!(parts(text), wanted);
    }

    #[test]
    fn jumps_verdicts_and_what_is_not_understood() {
        assert_eq!(parts("! -f -g X")["target"], serde_json::json!({"kind": "goto", "name": "X", "options": []}));
        assert_eq!(parts("! -f -g X")["fragment"], serde_json::json!({"negated": true, "value": null}));
        assert_eq!(parts("-j DROP")["target"]["kind"], "verdict");
        assert_eq!(parts("-p udp")["target"], serde_json::Value::Null);
        let unknown = serde_json::json!([{"name": "foo", "options": [], "revision": 3, "data": "0a1b"}]);
        assert_eq!(parts("[unknown match foo rev 3: 0a1b]")["matches"], unknown);
        let words =
            serde_json::json!([{"name": "foo", "options": [{"negated": false, "name": "--bar", "values": ["baz"]}]}]);
        assert_eq!(parts("-m foo --bar baz")["matches"], words);
    }
}
