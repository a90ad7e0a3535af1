//! iptables rules: the part about addresses and devices, one file per match and per target, text both ways, plain words.
//!
//! Legacy xtables and iptables-nft carry the same payload bytes, so one decoder serves both backends. What is not understood
//! stays as name, revision and bytes ([`Unknown`]).

mod address;
mod bytes;
mod extension;
mod ip;
pub mod ipset;
mod ipset_key;
mod line;
pub mod matches;
mod parts;
mod pending;
mod rule;
mod services;
mod sets;
pub mod targets;
mod text;
mod words;

pub use extension::{Extension, Given, Unknown};
pub use ip::{AddressMatch, DeviceMatch, Fragments, IpPart, ProtocolMatch, protocol_name, protocol_number};
pub use line::{Line, parse_line, parse_rule};
pub use matches::Match;
pub use parts::{Bytes, Outcome, OutcomeKind, Part, PartOption, Parts, Test};
pub use rule::{Action, Rule};
pub use services::service;
pub use sets::{SetKey, SetNames, Way, named_match, named_target, set_indices};
pub use targets::{Effect, NatRange, PortRange, Target};
pub use text::{TextError, Token, quote, tokens, word};
pub use words::Words;

#[cfg(test)]
pub(crate) mod blind;
