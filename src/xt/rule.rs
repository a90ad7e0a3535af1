//! A rule: what it asks, and what happens then.

use super::text::word;
use super::{Effect, IpPart, Match, Target, Unknown};
use crate::packet::Condition;

/// What happens to a packet that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It is only counted.
    None,
    /// Leaves the table.
    Accept,
    /// Is dropped.
    Drop,
    /// Is handed to a program (the old QUEUE).
    Queue,
    /// Goes back to the calling chain.
    Return,
    /// Enters a chain and comes back.
    Jump(String),
    /// Enters a chain for good.
    Goto(String),
    /// A target's own doing.
    Target(Target),
}

/// A rule that iptables can express.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Addresses, devices, protocol.
    pub ip: IpPart,
    /// Matches in order.
    pub matches: Vec<Match>,
    /// What happens then.
    pub action: Action,
}

impl Rule {
    /// Its options as iptables-save writes them, `-A CHAIN` left off.
    #[must_use]
    pub fn options(&self) -> String {
        let mut out = String::new();
        self.ip.save(&mut out);
        for part in &self.matches {
            part.save(&mut out);
        }
        let mut jump = |option: &str, name: &str| {
            out.push_str(option);
            out.push_str(&word(name));
        };
        match &self.action {
            Action::None => {}
            Action::Accept => jump(" -j ", "ACCEPT"),
            Action::Drop => jump(" -j ", "DROP"),
            Action::Queue => jump(" -j ", "QUEUE"),
            Action::Return => jump(" -j ", "RETURN"),
            Action::Jump(chain) => jump(" -j ", chain),
            Action::Goto(chain) => jump(" -g ", chain),
            Action::Target(target) => target.save(&mut out),
        }
        out.strip_prefix(' ').map(str::to_owned).unwrap_or(out)
    }

    /// The rule as iptables-save writes it.
    #[must_use]
    pub fn save(&self, chain: &str) -> String {
        format!("-A {} {}", word(chain), self.options()).trim_end().to_owned()
    }

    /// What it asks of a packet.
    #[must_use]
    pub fn condition(&self) -> Condition {
        let mut all = self.ip.conditions();
        all.extend(self.matches.iter().map(Match::condition).filter(|part| *part != Condition::Always));
        if all.is_empty() { Condition::Always } else { Condition::All(all) }
    }

    /// The chain that a match jumps or goes to.
    #[must_use]
    pub fn jumps_to(&self) -> Option<&str> {
        match &self.action {
            Action::Jump(chain) | Action::Goto(chain) => Some(chain),
            _ => None,
        }
    }

    /// Whether a match sends the packet elsewhere than it was addressed to.
    #[must_use]
    pub fn redirects(&self) -> bool {
        let Action::Target(target) = &self.action else { return false };
        matches!(
            target.effect(),
            Effect::Redirect(_)
                | Effect::Destination(_)
                | Effect::Network { .. }
                | Effect::Prefix { destination: true, .. }
                | Effect::Transparent { .. }
        )
    }

    /// What of it is not understood.
    #[must_use]
    pub fn unknown(&self) -> Vec<String> {
        let matches = self.matches.iter().filter_map(|part| match part {
            Match::Unknown(unknown) => Some(unknown.describe("match")),
            _ => None,
        });
        let target = match &self.action {
            Action::Target(Target::Unknown(unknown)) => Some(unknown.describe("target")),
            _ => None,
        };
        matches.chain(target).collect()
    }

    /// What of it stands in its text in brackets, by name and bytes: iptables-restore refuses such a text.
    #[must_use]
    pub fn bracketed(&self) -> Vec<String> {
        let bytes = |unknown: &Unknown| !matches!(unknown, Unknown::Text { .. });
        let matches = self.matches.iter().filter_map(|part| match part {
            Match::Unknown(unknown) if bytes(unknown) => Some(format!("match {}", unknown.name())),
            _ => None,
        });
        let target = match &self.action {
            Action::Target(Target::Unknown(unknown)) if bytes(unknown) => Some(format!("target {}", unknown.name())),
            _ => None,
        };
        matches.chain(target).collect()
    }
}
