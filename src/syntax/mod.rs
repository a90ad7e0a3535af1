//! Framing of text: what iptables-save prints, parsed and printed.

mod builtin;
mod command;
mod draft;
mod nft;
mod nft_json;
mod nft_rule;
mod nft_tables;
mod nft_text;
mod nft_uses;
mod parse;
mod print;

pub use crate::nft::{elements_text, flow_table_text, object_text, set_properties, set_types};
pub use nft::{NftText, print_nft};
pub use nft_json::parse_nft_json;
pub use nft_rule::{place_of, print_native};
pub use nft_tables::{NftRead, TextFault};
pub use nft_text::parse_nft;
pub use parse::{SaveError, SaveRead, left_out, parse_body, parse_save, read_save};
pub use print::{print_rule, print_save, write_save};
