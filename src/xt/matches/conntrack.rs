//! `-m conntrack` and its short form `-m state` (`struct xt_conntrack_mtinfo1` to `3`, `struct xt_state_info`).

use super::{Condition, Extension, Given, Matching, Words};
use crate::packet::Field;
use crate::xt::bytes::Layout;

/// The connection's tracking state is one of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conntrack {
    /// Written as `-m state --state`.
    pub short: bool,
    /// `!`
    pub negated: bool,
    /// `XT_CONNTRACK_STATE_*` bits.
    pub states: u16,
}

/// In the order in which iptables prints them (`include/uapi/linux/netfilter/xt_conntrack.h`).
const STATES: [(u16, &str); 7] = [
    (1, "INVALID"),
    (1 << 3, "NEW"),
    (1 << 2, "RELATED"),
    (1 << 1, "ESTABLISHED"),
    (1 << 8, "UNTRACKED"),
    (1 << 6, "SNAT"),
    (1 << 7, "DNAT"),
];

/// `match_flags`: the state is compared; the rule was written as `-m state`.
const STATE: u16 = 1;
const STATE_ALIAS: u16 = 1 << 13;

impl Conntrack {
    fn names(&self) -> Vec<&'static str> {
        STATES.iter().filter(|(bit, _)| self.states & bit != 0).map(|(_, name)| *name).collect()
    }
}

impl Extension for Conntrack {
    const NAMES: &'static [&'static str] = &["conntrack", "state"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--ctstate", 1), ("--state", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        // Eight addresses, two expiry times, five ports; then what is compared, what is negated, and the state.
        const FLAGS: usize = 8 * 16 + 2 * 4 + 5 * 2;
        let layout = Layout(data);
        let (tests, negations) = (layout.u16(FLAGS)?, layout.u16(FLAGS + 2)?);
        let states = match revision {
            1 => layout.u8(FLAGS + 4)?.into(),
            2 | 3 => layout.u16(FLAGS + 4)?,
            _ => return None,
        };
        let known = STATES.iter().fold(0, |bits, (bit, _)| bits | bit);
        let named = states != 0 && states & !known == 0;
        // Other tests of this match (addresses, ports, status, expiry) are kept as bytes.
        (tests & !STATE_ALIAS == STATE && named).then_some(Self {
            short: tests & STATE_ALIAS != 0,
            negated: negations & STATE != 0,
            states,
        })
    }

    fn parse(name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let given = options.first()?;
        let bit = |state: &str| STATES.iter().find(|(_, known)| known.eq_ignore_ascii_case(state)).map(|(bit, _)| *bit);
        let states = given.value().split(',').try_fold(0, |bits, state| Some(bits | bit(state)?));
        let states = states?;
        Some(Self { short: name == "state", negated: given.negated, states })
    }

    fn name(&self) -> &'static str {
        if self.short { "state" } else { "conntrack" }
    }

    fn save(&self, out: &mut String) {
        out.push_str(if self.negated { " !" } else { "" });
        out.push_str(if self.short { " --state " } else { " --ctstate " });
        out.push_str(&self.names().join(","));
    }
}

impl Matching for Conntrack {
    fn condition(&self) -> Condition {
        Condition::AnyBit(Field::State, self.states.into()).negated_if(self.negated)
    }

    fn explain(&self, words: &mut Words) {
        let not = if self.negated { "not " } else { "" };
        words.also(format!("of {not}{} connections", self.names().join(" or ").to_lowercase()));
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        const SNAT: u16 = 1 << 6;
        const DNAT: u16 = 1 << 7;
        // iptables' translation forgets states beside a translated address, and the negation of one.
        match (self.states, self.negated) {
            (SNAT, false) => Some("ct status snat".to_owned()),
            (DNAT, false) => Some("ct status dnat".to_owned()),
            (states, _) if states & (SNAT | DNAT) != 0 => None,
            (_, negated) => {
                let names = self.names().join(",").to_lowercase();
                Some(format!("ct state {}{names}", if negated { "! " } else { "" }))
            }
        }
    }
}
