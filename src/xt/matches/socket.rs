//! `-m socket`: an established or listening socket takes the packet (`struct xt_socket_mtinfo1` to `3`).

use super::{Condition, Extension, Given, Matching, Words};
use crate::packet::{Field, socket};
use crate::xt::bytes::Layout;

/// A local socket exists for the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Socket {
    /// `--transparent`
    pub transparent: bool,
    /// `--nowildcard`
    pub no_wildcard: bool,
    /// `--restore-skmark`
    pub restore_mark: bool,
}

impl Extension for Socket {
    const NAMES: &'static [&'static str] = &["socket"];
    const OPTIONS: &'static [(&'static str, usize)] =
        &[("--transparent", 0), ("--nowildcard", 0), ("--restore-skmark", 0)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let flags = match revision {
            0 => 0,
            1..=3 => Layout(data).u8(0)?,
            _ => return None,
        };
        let bit = |bit: u8| flags & bit != 0;
        (flags & !7 == 0).then(|| Self { transparent: bit(1), no_wildcard: bit(2), restore_mark: bit(4) })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let has = |name: &str| options.iter().any(|given| given.name == name);
        Some(Self {
            transparent: has("--transparent"),
            no_wildcard: has("--nowildcard"),
            restore_mark: has("--restore-skmark"),
        })
    }

    fn save(&self, out: &mut String) {
        out.push_str(if self.transparent { " --transparent" } else { "" });
        out.push_str(if self.no_wildcard { " --nowildcard" } else { "" });
        out.push_str(if self.restore_mark { " --restore-skmark" } else { "" });
    }
}

impl Socket {
    /// Which socket it takes.
    fn kind(&self) -> &'static str {
        match (self.transparent, self.no_wildcard) {
            (false, false) => "a socket other than a wildcard listener",
            (true, false) => "a transparent socket other than a wildcard listener",
            (false, true) => "a socket",
            (true, true) => "a transparent socket",
        }
    }
}

impl Matching for Socket {
    fn condition(&self) -> Condition {
        // Without `--nowildcard` listeners at any address do not count (net/netfilter/xt_socket.c).
        let bound = if self.no_wildcard { 0 } else { socket::BOUND };
        let transparent = if self.transparent { socket::TRANSPARENT } else { 0 };
        let mask = u128::from(socket::EXISTS | bound | transparent);
        Condition::Masked { field: Field::Socket, mask, value: mask }
    }

    fn explain(&self, words: &mut Words) {
        let mark = if self.restore_mark { " whose mark it takes" } else { "" };
        words.also(format!("for which {} exists{mark}", self.kind()));
    }
}
