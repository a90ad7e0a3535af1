//! A rule in plain words: who, from where, to where.

use super::ip::{IpPart, protocol_name};
use super::{Match, Rule};

/// The parts of the sentence, gathered from the rule's matches.
#[derive(Debug, Default)]
pub struct Words {
    protocol: Option<(bool, String)>,
    who: Vec<String>,
    from: Vec<String>,
    to: Vec<String>,
    devices: Vec<String>,
    also: Vec<String>,
    comment: Option<String>,
}

impl Words {
    /// An identity of the sender: `UID 1337`; or what a packet carries: `mark 0x1`, `connection mark 0x1`.
    pub fn who(&mut self, negated: bool, identity: &str) {
        if identity.starts_with("mark ") || identity.starts_with("connection mark ") {
            self.also.push(format!("{} {identity}", if negated { "without" } else { "with" }));
            return;
        }
        self.who.push(if negated { format!("from anyone but {identity}") } else { format!("from {identity}") });
    }

    /// Ports of either end, each with its negation.
    pub fn ports(&mut self, source: Option<(bool, String)>, destination: Option<(bool, String)>) {
        let not = |negated| if negated { "not " } else { "" };
        let word = |ports: &str| if ports.contains([',', '–']) { "ports" } else { "port" };
        self.from.extend(source.map(|(negated, ports)| format!("{}from {} {ports}", not(negated), word(&ports))));
        self.to.extend(destination.map(|(negated, ports)| format!("{}to {} {ports}", not(negated), word(&ports))));
    }

    /// Anything else, as a phrase.
    pub fn also(&mut self, phrase: impl Into<String>) {
        self.also.push(phrase.into());
    }

    /// The rule's comment.
    pub fn comment(&mut self, text: &str) {
        self.comment = Some(text.to_owned());
    }

    fn ip(&mut self, ip: &IpPart) {
        let not = |negated| if negated { "not " } else { "" };
        self.protocol = ip.protocol.map(|part| (part.negated, protocol_name(part.number).to_uppercase()));
        if let Some(part) = &ip.source {
            self.from.push(format!("{}from {}", not(part.negated), part.words()));
        }
        if let Some(part) = &ip.destination {
            self.to.push(format!("{}to {}", not(part.negated), part.words()));
        }
        if let Some(part) = &ip.input {
            self.devices.push(format!("{}coming in by {}", not(part.negated), part.text()));
        }
        if let Some(part) = &ip.output {
            self.devices.push(format!("{}leaving by {}", not(part.negated), part.text()));
        }
        if let Some(part) = ip.fragments {
            self.also.push(if part.negated { "unless a later fragment" } else { "in later fragments" }.to_owned());
        }
    }

    /// The subject of the rule: `all TCP`, `IPv4 TCP to port 15008`, `everything else`. `rest`: rules stand before it, so that a rule
    /// that asks nothing more means what they left over.
    fn subject(self, family: Option<&str>, rest: bool) -> String {
        let phrases: Vec<String> =
            [self.who, self.from, self.to, self.devices, self.also].into_iter().flatten().collect();
        let other = if rest { "other " } else { "" };
        let kind = match (family, self.protocol) {
            (None, None) if phrases.is_empty() => {
                return if rest { "everything else" } else { "everything" }.to_owned();
            }
            (None, None) => "everything".to_owned(),
            (None, Some((true, name))) => format!("all but {name}"),
            (Some(family), Some((true, name))) => format!("all {family} but {name}"),
            (family, protocol) => {
                let name = protocol.map(|(_, name)| name);
                let name = family.into_iter().chain(name.as_deref()).collect::<Vec<_>>().join(" ");
                if phrases.is_empty() { format!("all {other}{name}") } else { name }
            }
        };
        if phrases.is_empty() { kind } else { format!("{kind} {}", phrases.join(", ")) }
    }
}

impl Rule {
    /// Which packets the rule is about, in plain words. `ipv6`: it is for packets of IPv6 (`true`) or IPv4 alone where both pass;
    /// said unless an address says it.
    #[must_use]
    pub fn subject(&self, ipv6: Option<bool>, rest: bool) -> String {
        let mut words = Words::default();
        words.ip(&self.ip);
        for part in &self.matches {
            part.explain(&mut words);
        }
        let family = ipv6.filter(|_| self.ip.source.is_none() && self.ip.destination.is_none());
        words.subject(family.map(|ipv6| if ipv6 { "IPv6" } else { "IPv4" }), rest)
    }

    /// The rule's comment (hostile text).
    #[must_use]
    pub fn comment(&self) -> Option<&str> {
        self.matches.iter().find_map(|part| match part {
            Match::Comment(comment) => Some(comment.text.as_str()),
            _ => None,
        })
    }
}
