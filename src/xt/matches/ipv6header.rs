//! `-m ipv6header`: which extension headers a packet has (`struct ip6t_ipv6header_info`).

use super::span::bang;
use super::{Condition, Extension, Given, Matching, Words};
use crate::xt::bytes::Layout;

/// A set of headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6header {
    /// `!`
    pub negated: bool,
    /// `MASK_*` bits.
    pub headers: u8,
    /// `--soft`: there may be others too.
    pub soft: bool,
}

/// From the highest bit down: long name, short name, number.
const HEADERS: [(&str, &str, &str); 8] = [
    ("hop-by-hop", "hop", "0"),
    ("ipv6-opts", "dst", "60"),
    ("ipv6-route", "route", "43"),
    ("ipv6-frag", "frag", "44"),
    ("ah", "auth", "51"),
    ("esp", "esp", "50"),
    ("ipv6-nonxt", "none", "59"),
    ("protocol", "prot", "255"),
];

impl Ipv6header {
    fn list(self) -> Vec<&'static str> {
        let named = HEADERS.iter().enumerate().filter(|(index, _)| self.headers & (128 >> index) != 0);
        named.map(|(_, (long, ..))| *long).collect()
    }
}

impl Extension for Ipv6header {
    const NAMES: &'static [&'static str] = &["ipv6header"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--header", 1), ("--soft", 0)];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let (headers, inverted, soft) = (layout.u8(0)?, layout.u8(1)?, layout.u8(2)?);
        // iptables inverts all or nothing.
        let known = matches!(inverted, 0 | 0xff) && matches!(soft, 0 | 0xff) && headers != 0;
        (ipv6 && revision == 0 && known).then_some(Self { negated: inverted != 0, headers, soft: soft != 0 })
    }

    fn parse(_name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        let (mut negated, mut headers, mut soft) = (false, 0, false);
        let bit = |name: &str| {
            let found = HEADERS.iter().position(|(long, short, number)| [*long, *short, *number].contains(&name));
            found.map(|index| 128 >> index)
        };
        for given in options {
            if given.name == "--soft" {
                soft = true;
            } else {
                negated = given.negated;
                headers = given.value().split(',').try_fold(0, |bits, name| Some(bits | bit(name)?))?;
            }
        }
        (ipv6 && headers != 0).then_some(Self { negated, headers, soft })
    }

    fn save(&self, out: &mut String) {
        out.push_str(bang(self.negated));
        out.push_str(" --header ");
        out.push_str(&self.list().join(","));
        out.push_str(if self.soft { " --soft" } else { "" });
    }
}

impl Matching for Ipv6header {
    fn condition(&self) -> Condition {
        Condition::Opaque("extension headers of IPv6".into())
    }

    fn explain(&self, words: &mut Words) {
        let list = self.list().join(", ");
        words.also(match (self.negated, self.soft) {
            (false, true) => format!("with headers {list} at least"),
            (false, false) => format!("with headers {list} and no others"),
            (true, true) => format!("with none of the headers {list}"),
            (true, false) => format!("with exactly the headers that are not {list}"),
        });
    }
}
