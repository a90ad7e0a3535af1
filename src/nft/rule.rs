//! A rule in nf_tables' own form.

use serde::{Deserialize, Serialize};

use super::{Expression, Verdict, comment_of};
use crate::packet::hexadecimal;

/// A rule as a list of expressions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rule {
    /// In order.
    pub expressions: Vec<Expression>,
    /// `NFTA_RULE_USERDATA`: what the tool that wrote the rule noted for itself.
    #[serde(default, with = "hexadecimal::text")]
    pub user_data: Vec<u8>,
}

impl Rule {
    /// The comment that nft keeps in the rule's user data (hostile text).
    #[must_use]
    pub fn comment(&self) -> Option<String> {
        comment_of(&self.user_data, 0)
    }

    /// All expressions, one behind the other.
    #[must_use]
    pub fn text(&self) -> String {
        self.expressions.iter().map(Expression::text).collect::<Vec<_>>().join(" ")
    }

    /// The chain that a match jumps or goes to.
    #[must_use]
    pub fn jumps_to(&self) -> Option<&str> {
        self.expressions.iter().find_map(|expression| match expression {
            Expression::Immediate(Verdict::Jump(chain) | Verdict::Goto(chain)) => Some(chain.as_str()),
            _ => None,
        })
    }

    /// Whether a match may end the packet's way through its base chain: by a verdict that is no jump, a translation or an answer.
    /// What the verdicts of a map do is not looked at.
    #[must_use]
    pub fn ends_some(&self) -> bool {
        self.expressions.iter().any(|expression| {
            matches!(
                expression,
                Expression::Immediate(Verdict::Accept | Verdict::Drop)
                    | Expression::Redirect { .. }
                    | Expression::Masquerade { .. }
                    | Expression::Nat { .. }
                    | Expression::Reject { .. }
                    | Expression::Queue { .. }
                    | Expression::QueueBy { .. }
                    | Expression::Synproxy { .. }
                    | Expression::Send { copy: false, .. }
                    | Expression::Target { .. }
            )
        })
    }

    /// Whether a match sends the packet elsewhere: `redir`, `tproxy`, `nat` to a new destination, or an xtables target that does.
    #[must_use]
    pub fn redirects(&self) -> bool {
        self.expressions.iter().any(|expression| match expression {
            Expression::Redirect { .. } | Expression::Tproxy { .. } => true,
            Expression::Nat { kind, .. } => *kind == DESTINATION,
            // A part of a text that is not understood begins with its word.
            Expression::Unknown { name, data } => match name.split(' ').next().unwrap_or_default() {
                "redir" | "tproxy" | "redirect" | "dnat" => true,
                "nat" => nat_kind(data) == Some(DESTINATION),
                // Of a target of xtables nft 1.0.6 writes the name alone.
                "xt" => name.strip_prefix("xt target ").is_some_and(|name| sends_elsewhere(name.trim_matches('"'))),
                _ => false,
            },
            Expression::Target { name, .. } => sends_elsewhere(name),
            _ => false,
        })
    }

    /// Whether xtables' target is among its expressions that moves an end to another network.
    #[must_use]
    pub fn moves(&self) -> bool {
        self.expressions.iter().any(|part| matches!(part, Expression::Target { name, .. } if name == "NETMAP"))
    }

    /// Whether it looks into a set, a map or a map of objects.
    #[must_use]
    pub fn asks_sets(&self) -> bool {
        self.expressions.iter().any(|expression| match expression {
            Expression::Lookup { .. } | Expression::Update { .. } | Expression::ObjectMap { .. } => true,
            Expression::Unknown { name, .. } => matches!(name.as_str(), "lookup" | "dynset" | "objref"),
            _ => false,
        })
    }

    /// Names of the expressions that are not understood.
    #[must_use]
    pub fn unknown(&self) -> Vec<String> {
        let names = self.expressions.iter().filter_map(|expression| match expression {
            Expression::Unknown { name, .. } => Some(format!("expression {name}")),
            _ => None,
        });
        names.collect()
    }
}

/// Whether a target of xtables sends the packet elsewhere.
fn sends_elsewhere(target: &str) -> bool {
    matches!(target, "REDIRECT" | "DNAT" | "DNPT" | "TPROXY" | "NETMAP")
}

/// `NFT_NAT_DNAT`
const DESTINATION: u32 = 1;

/// `NFTA_NAT_TYPE`, which the kernel sends first (net/netfilter/nft_nat.c).
fn nat_kind(attributes: &[u8]) -> Option<u32> {
    const KIND: u16 = 1;
    let (head, value) = (attributes.first_chunk::<4>()?, attributes.get(4..8)?.first_chunk::<4>()?);
    (u16::from_ne_bytes([head[2], head[3]]) == KIND).then(|| u32::from_be_bytes(*value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_by_name_alone_redirects_by_its_name() {
        let rule = |name: &str| {
            let unknown = Expression::Unknown { name: name.to_owned(), data: Vec::new() };
            Rule { expressions: vec![unknown], user_data: Vec::new() }
        };
        for name in ["redirect to :15001", "tproxy to :15001", "xt target TPROXY", "xt target \"REDIRECT\""] {
            assert!(rule(name).redirects(), "{name}");
        }
        for name in ["xt target MARK", "xt match TPROXY", "drop", "xt"] {
            assert!(!rule(name).redirects(), "{name}");
        }
    }
}
