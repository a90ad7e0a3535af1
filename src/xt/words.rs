//! A rule in plain words: who, from where, to where.

use super::ip::{AddressMatch, IpPart, protocol_name};
use super::{Match, Rule};

/// The parts of the sentence, gathered from the rule's matches.
#[derive(Debug, Default)]
pub struct Words {
    protocol: Option<(bool, String)>,
    who: Vec<String>,
    source: End,
    destination: End,
    devices: Vec<String>,
    also: Vec<String>,
    comment: Option<String>,
}

/// One end of a packet: what is asked of its address and of its ports, each with its negation.
#[derive(Debug, Default)]
struct End {
    address: Option<(bool, String)>,
    ports: Vec<(bool, String)>,
}

impl End {
    /// `to 10.0.0.1:80`, `not to 10.0.0.0/8`, `to port 80`.
    fn phrases(self, preposition: &str) -> Vec<String> {
        let not = |negated| if negated { "not " } else { "" };
        if let (Some((false, address)), [(false, port)]) = (&self.address, self.ports.as_slice())
            && !address.contains('/')
            && port.bytes().all(|byte| byte.is_ascii_digit())
        {
            let address = if address.contains(':') { format!("[{address}]") } else { address.clone() };
            return vec![format!("{preposition} {address}:{port}")];
        }
        let address = self.address.map(|(negated, address)| format!("{}{preposition} {address}", not(negated)));
        let ports = self.ports.into_iter().map(|(negated, ports)| {
            let several = ports.contains([',', '–', ' ']);
            format!("{}{preposition} {} {ports}", not(negated), if several { "ports" } else { "port" })
        });
        address.into_iter().chain(ports).collect()
    }
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
        self.source.ports.extend(source);
        self.destination.ports.extend(destination);
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
        let name = |number| match protocol_name(number) {
            name if name == "ipv6-icmp" => "ICMPv6".to_owned(),
            name if name.bytes().all(|byte| byte.is_ascii_digit()) => format!("packets of protocol {name}"),
            name => name.to_uppercase(),
        };
        self.protocol = ip.protocol.map(|part| (part.negated, name(part.number)));
        self.source.address = ip.source.as_ref().map(|part| (part.negated, part.words()));
        self.destination.address = ip.destination.as_ref().map(|part| (part.negated, part.words()));
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
        let (source, destination) = (self.source.phrases("from"), self.destination.phrases("to"));
        let also = joined_conditions(self.also);
        let phrases: Vec<String> = [self.who, source, destination, self.devices, also].into_iter().flatten().collect();
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

/// `if a`, `if b` as `if a and b`.
fn joined_conditions(phrases: Vec<String>) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    for phrase in phrases {
        match (joined.last_mut(), phrase.strip_prefix("if ")) {
            (Some(last), Some(condition)) if last.starts_with("if ") => {
                last.push_str(" and ");
                last.push_str(condition);
            }
            _ => joined.push(phrase),
        }
    }
    joined
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
        // That it is not to 127.0.0.1 holds for every packet of IPv6: only what is asked for says of which family it is.
        let says = |part: &Option<AddressMatch>| part.as_ref().is_some_and(|part| !part.negated);
        let family = ipv6.filter(|_| !says(&self.ip.source) && !says(&self.ip.destination));
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
