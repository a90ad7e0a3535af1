//! Rules in a form that is the same for all ways to write them.
//!
//! What is read is typed already, so that `/32`, names of protocols and the revisions of programs make no difference. Left are the old
//! name of a match and the order of matches.

use crate::model::{Body, Chain, Family, Rule, RuleRef, Ruleset, Table};
use crate::syntax::print_rule;
use crate::xt;

/// Matches that count the packets that come to them, or draw lots: what stands before such a one decides which these are.
const COUNTING: [&str; 9] = ["bpf", "hashlimit", "limit", "nfacct", "quota", "rateest", "recent", "set", "statistic"];

/// What a rule asks, without what it does then; `None` where there is no such rule, or it is written in nft's own terms.
pub(super) fn asked(name: &RuleRef, rulesets: &[Ruleset]) -> Option<String> {
    let (_, rule) = name.find(rulesets)?;
    match &rule.body {
        Body::Xt(rule) => Some(matches(rule)),
        Body::Nft(_) => None,
    }
}

/// A rule without the name of its chain; `target` gives the name to write for a chain to which it leads.
pub(super) fn text(
    (family, table, chain): (Family, &Table, &Chain),
    rule: &Rule,
    target: &dyn Fn(&str) -> String,
) -> String {
    match &rule.body {
        Body::Xt(rule) => {
            let action = match &rule.action {
                xt::Action::Jump(chain) => format!("-j {}", target(chain)),
                xt::Action::Goto(chain) => format!("-g {}", target(chain)),
                _ => rule.action_text(),
            };
            format!("{} {action}", matches(rule)).trim().to_owned()
        }
        Body::Nft(_) => {
            let text = print_rule(family, table, chain, rule);
            match rule.jumps_to() {
                Some(to) => {
                    let last = |verdict: &str| text.strip_suffix(&format!("{verdict} {to}"));
                    ["jump", "goto"]
                        .into_iter()
                        .find_map(|verdict| Some(format!("{}{verdict} {}", last(verdict)?, target(to))))
                        .unwrap_or(text)
                }
                None => text,
            }
        }
    }
}

/// What a rule of iptables asks, in one order.
fn matches(rule: &xt::Rule) -> String {
    let mut out = String::new();
    rule.ip.save(&mut out);
    let mut run = Vec::new();
    for part in &rule.matches {
        let mut written = String::new();
        part.save(&mut written);
        let written = written.replacen(" -m state ", " -m conntrack ", 1).replacen(" --state ", " --ctstate ", 1);
        if COUNTING.contains(&part.name()) {
            flush(&mut run, &mut out);
            out.push_str(&written);
        } else {
            run.push(written);
        }
    }
    flush(&mut run, &mut out);
    out.trim().to_owned()
}

/// Matches that only look can stand in any order.
fn flush(run: &mut Vec<String>, out: &mut String) {
    run.sort();
    run.drain(..).for_each(|part| out.push_str(&part));
}
