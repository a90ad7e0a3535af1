//! What `nft list ruleset` prints, and what `nft -f` reads of the same kind: tables with their chains, sets and rules.

mod block;
mod command;
mod lexer;
mod object;
mod parser;
mod rule;
mod stateful;
mod value;

pub(in crate::syntax) use block::{family, family_number, hook};
pub(in crate::syntax) use object::transport;
pub(in crate::syntax) use stateful::{complete_log, log_flag, log_level, period, unit, usual_burst};

use super::nft_tables::{NftRead, Tables};
use crate::nft::{Family, RuleTree};
use parser::Parser;

/// Reads the parts of a rule; what is wrong with them, if anything.
pub(super) fn parse_rule_text(text: &str, family: Family) -> (RuleTree, Option<String>) {
    let mut parser = Parser::new(text);
    parser.family = family;
    let rule = parser.rule();
    (rule, parser.faults.into_iter().next().map(|fault| fault.what))
}

/// Reads nft's text.
#[must_use]
pub fn parse_nft(text: &str) -> NftRead {
    let mut tables = Tables::default();
    let mut parser = Parser::new(text);
    parser.tables(&mut tables);
    let faults = parser.faults.into_iter().map(|fault| (fault.at, fault.what)).collect();
    tables.finish(text, faults)
}
