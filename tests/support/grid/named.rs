//! What a rule set names itself: users, groups, marks, ports, addresses, and where it redirects to.
//!
//! Words are looked for, nothing is understood: the worst that a mistake does is a packet more or less.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// So many of each kind are asked about.
const MOST: usize = 6;

#[derive(Debug, Default)]
pub(crate) struct Named {
    pub(crate) uids: Vec<u32>,
    pub(crate) gids: Vec<u32>,
    pub(crate) marks: Vec<u32>,
    pub(crate) ports: Vec<u16>,
    /// One address inside each network.
    pub(crate) addresses: Vec<IpAddr>,
    /// Ports to which it redirects.
    pub(crate) targets: Vec<u16>,
    /// It gives packets to transparent sockets.
    pub(crate) tproxy: bool,
}

impl Named {
    pub(crate) fn of(text: &str) -> Self {
        let words: Vec<&str> = text.split(|it: char| it.is_whitespace() || ",{};".contains(it)).collect();
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        let mut targets: BTreeSet<u16> = values(&words, &TARGETS, target).into_iter().collect();
        targets.remove(&0);
        Self {
            uids: few(values(&words, &["--uid-owner", "skuid"], id)),
            gids: few(values(&words, &["--gid-owner", "skgid"], id)),
            marks: few(values(&words, &["--mark", "mark"], mark).into_iter().filter(|mark| *mark != 0).collect()),
            ports: few(values(&words, &PORTS, first)),
            addresses: few(values(&words, &["-d", "--destination", "daddr"], inside)),
            targets: targets.into_iter().collect(),
            tproxy: words.iter().any(|word| ["TPROXY", "tproxy"].contains(word)),
        }
    }
}

const PORTS: [&str; 6] = ["--dport", "--dports", "--destination-port", "--destination-ports", "dport", "th"];
const TARGETS: [&str; 7] = ["--to-ports", "--to-port", "--on-port", "--to", "--to-destination", "to", "--to-dest"];

/// Values behind these words, several where they stand in a list.
fn values<T>(words: &[&str], keys: &[&str], read: fn(&str) -> Option<T>) -> Vec<T> {
    let mut found = Vec::new();
    for (at, _) in words.iter().enumerate().filter(|(_, word)| keys.contains(word)) {
        let rest = words.iter().skip(at + 1).skip_while(|word| ["!", "!=", "==", "ip", "ip6"].contains(word));
        found.extend(rest.map_while(|word| read(word)));
    }
    found
}

/// The first ones, each once, in order.
fn few<T: Ord + Copy>(values: Vec<T>) -> Vec<T> {
    values.into_iter().collect::<BTreeSet<T>>().into_iter().take(MOST).collect()
}

fn id(word: &str) -> Option<u32> {
    word.split(['-', ':']).next()?.parse().ok()
}

fn mark(word: &str) -> Option<u32> {
    let word = word.split('/').next()?;
    word.strip_prefix("0x").map_or_else(|| word.parse().ok(), |digits| u32::from_str_radix(digits, 16).ok())
}

fn first(word: &str) -> Option<u16> {
    word.split(['-', ':']).next()?.parse().ok()
}

fn target(word: &str) -> Option<u16> {
    word.rsplit(':').next()?.split(['-', '/']).next()?.parse().ok()
}

/// An address inside a network, not its first one where it has others.
fn inside(word: &str) -> Option<IpAddr> {
    let (address, bits) = word.split_once('/').unwrap_or((word, "128"));
    let (address, bits): (IpAddr, u32) = (address.parse().ok()?, bits.parse().ok()?);
    Some(match address {
        IpAddr::V4(v4) if bits < 31 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            IpAddr::V4(((u32::from(v4) & mask) | 9).into())
        }
        IpAddr::V6(v6) if bits < 126 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            IpAddr::V6(((u128::from(v6) & mask) | 9).into())
        }
        one => one,
    })
}
