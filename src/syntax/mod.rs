//! Framing of text: what iptables-save prints, parsed and printed.

mod builtin;
mod nft;
mod nft_rule;
mod parse;
mod print;

pub use crate::nft::{elements_text, set_types};
pub use nft::{NftText, print_nft};
pub use nft_rule::{place_of, print_native};
pub use parse::{SaveError, left_out, parse_body, parse_save};
pub use print::{print_rule, print_save, write_save};
