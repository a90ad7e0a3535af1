//! A rule: what it asks, and what happens then.

use super::matches::Set;
use super::sets::{named_match, named_target, set_indices};
use super::text::word;
use super::{Effect, IpPart, Match, SetNames, Target, Unknown};
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
        self.save_options(&mut out);
        out.strip_prefix(' ').map(str::to_owned).unwrap_or(out)
    }

    /// Appends its options, each with a blank in front.
    fn save_options(&self, out: &mut String) {
        self.ip.save(out);
        for part in &self.matches {
            part.save(out);
        }
        self.save_action(out);
    }

    /// What it does, as iptables-save writes it: `-j RETURN`; empty for one that only counts.
    #[must_use]
    pub fn action_text(&self) -> String {
        let mut out = String::new();
        self.save_action(&mut out);
        out.trim().to_owned()
    }

    fn save_action(&self, out: &mut String) {
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
            Action::Target(target) => target.save(out),
        }
    }

    /// The rule as iptables-save writes it.
    #[must_use]
    pub fn save(&self, chain: &str) -> String {
        let mut out = String::new();
        self.save_to(&word(chain), &mut out);
        out
    }

    /// Appends the rule as iptables-save writes it, into the chain whose name [`word`] has written.
    pub fn save_to(&self, chain: &str, out: &mut String) {
        out.push_str("-A ");
        out.push_str(chain);
        self.save_options(out);
        // Some options write nothing but the blank in front.
        out.truncate(out.trim_end_matches(' ').len());
    }

    /// What it asks of a packet.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.condition_by(&|_| None)
    }

    /// The same, where `sets` knows what it is to be in an ipset.
    #[must_use]
    pub fn condition_by(&self, sets: &dyn Fn(&Set) -> Option<Condition>) -> Condition {
        let one = |part: &Match| match part {
            Match::Set(set) => sets(set).unwrap_or_else(|| part.condition()),
            _ => part.condition(),
        };
        let mut all = self.ip.conditions();
        all.extend(self.matches.iter().map(one).filter(|part| *part != Condition::Always));
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

    /// Whether a match may end the packet's way through its base chain: by a verdict that is no jump, a translation or an answer.
    #[must_use]
    pub fn ends_some(&self) -> bool {
        match &self.action {
            Action::Accept | Action::Drop | Action::Queue => true,
            Action::None | Action::Return | Action::Jump(_) | Action::Goto(_) => false,
            Action::Target(target) => matches!(
                target.effect(),
                Effect::Redirect(_)
                    | Effect::Destination(_)
                    | Effect::Source(_)
                    | Effect::OutgoingSource(_)
                    | Effect::Network { .. }
                    | Effect::Transparent { .. }
                    | Effect::Queue { .. }
                    | Effect::AnsweredForServer
                    | Effect::Stop
            ),
        }
    }

    /// Whether a match sends the packet elsewhere than it was addressed to.
    #[must_use]
    pub fn redirects(&self) -> bool {
        let Action::Target(target) = &self.action else { return false };
        // What is not understood but for its name does so all the same.
        if let Target::Unknown(unknown) = target {
            return matches!(unknown.name(), "REDIRECT" | "DNAT" | "DNPT" | "NETMAP" | "TPROXY");
        }
        matches!(
            target.effect(),
            Effect::Redirect(_)
                | Effect::Destination(_)
                | Effect::Network { .. }
                | Effect::Prefix { destination: true, .. }
                | Effect::Transparent { .. }
        )
    }

    /// Whether a match moves an end to another network: the destination before the route is chosen, the source behind.
    #[must_use]
    pub fn moves(&self) -> bool {
        match &self.action {
            Action::Target(Target::Unknown(unknown)) => unknown.name() == "NETMAP",
            Action::Target(target) => matches!(target.effect(), Effect::Network { .. }),
            _ => false,
        }
    }

    /// Whether a match gives the packet the mark of the socket that takes it.
    #[must_use]
    pub fn restores_mark(&self) -> bool {
        self.matches.iter().any(|part| matches!(part, Match::Socket(socket) if socket.restore_mark))
    }

    /// A match asks for the socket that the packet is for.
    #[must_use]
    pub fn asks_for_socket(&self) -> bool {
        self.matches.iter().any(|part| matches!(part, Match::Socket(_)))
    }

    /// The indices of the sets that it holds by index still.
    #[must_use]
    pub fn set_indices(&self) -> Vec<u16> {
        let mut found = Vec::new();
        for part in &self.matches {
            if let Match::Unknown(unknown) = part
                && let Unknown::Bytes { name, revision, data } = &**unknown
            {
                found.extend(set_indices(false, name, *revision, data));
            }
        }
        if let Action::Target(Target::Unknown(unknown)) = &self.action
            && let Unknown::Bytes { name, revision, data } = &**unknown
        {
            found.extend(set_indices(true, name, *revision, data));
        }
        found
    }

    /// The names of the sets that it asks or changes.
    #[must_use]
    pub fn set_names(&self) -> Vec<&str> {
        let mut found = Vec::new();
        for part in &self.matches {
            if let Match::Set(set) = part {
                found.push(set.key.name.as_str());
            }
        }
        if let Action::Target(Target::SetTarget(target)) = &self.action {
            let sets = [&target.add, &target.delete, &target.map];
            found.extend(sets.into_iter().flatten().map(|key| key.name.as_str()));
        }
        found
    }

    /// Understands the matches and targets that hold sets by index, as far as their names are known.
    pub fn name_sets(&mut self, names: &SetNames) {
        for part in &mut self.matches {
            if let Match::Unknown(unknown) = part
                && let Unknown::Bytes { name, revision, data } = &**unknown
                && let Some(set) = named_match(name, *revision, data, names)
            {
                *part = set;
            }
        }
        if let Action::Target(target) = &mut self.action
            && let Target::Unknown(unknown) = target
            && let Unknown::Bytes { name, revision, data } = &**unknown
            && let Some(set) = named_target(name, *revision, data, names)
        {
            *target = set;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_of_which_only_the_name_is_known_redirects_all_the_same() {
        for (name, redirects, moves) in
            [("REDIRECT", true, false), ("TPROXY", true, false), ("NETMAP", true, true), ("FOO", false, false)]
        {
            let unknown = Unknown::Bytes { name: name.to_owned(), revision: 99, data: Vec::new() };
            let action = Action::Target(Target::Unknown(Box::new(unknown)));
            let rule = Rule { ip: IpPart::default(), matches: Vec::new(), action };
            assert_eq!((rule.redirects(), rule.moves()), (redirects, moves), "{name}");
        }
    }
}
