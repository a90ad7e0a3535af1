//! Framing of text: what iptables-save prints, parsed and printed.

mod builtin;
mod parse;
mod print;

pub use parse::{SaveError, left_out, parse_body, parse_save};
pub use print::{print_rule, print_save};
