//! The sentence at the end of `rules`: where TCP goes, and who is exempt.

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::analysis::summary::{Fate, Summary};

/// One sentence or a few for both families; `None` for a family whose rules could not be read or were not asked for.
#[must_use]
pub fn sentence(ipv4: Option<&Summary>, ipv6: Option<&Summary>) -> String {
    let (first, second) = match (ipv4, ipv6) {
        (Some(first), second) => (first, second),
        (None, Some(only)) => return format!("IPv6: {}", about(only)),
        (None, None) => return String::new(),
    };
    let mut text = about(first);
    if let Some(second) = second {
        let same = Summary { ipv6: first.ipv6, ..second.clone() } == *first;
        let other = match (same, is_plain(second)) {
            (_, true) if !is_plain(first) => "no redirect rules.".to_owned(),
            (true, _) => "the same.".to_owned(),
            (false, _) => about(second),
        };
        // Twice nothing needs no words of its own.
        if !(is_plain(first) && is_plain(second)) {
            text.push_str(&format!(" IPv6: {other}"));
        }
    }
    text
}

/// Whether nothing at all is redirected.
fn is_plain(summary: &Summary) -> bool {
    let Summary { outbound, inbound, only_inbound_ports, .. } = summary;
    *outbound == Fate::Direct && *inbound == Fate::Direct && only_inbound_ports.is_empty()
}

fn about(summary: &Summary) -> String {
    let mut text = format!("Outbound TCP {}, inbound TCP {}", fate(&summary.outbound), inbound(summary));
    let exempt = identities(summary);
    let redirected = matches!(summary.outbound, Fate::Redirected(_));
    if redirected && !exempt.is_empty() {
        text.push_str(&format!(", except from {exempt}"));
    }
    text.push('.');
    let mut spared = Vec::new();
    if !summary.outbound_ports.is_empty() {
        spared.push(format!("outbound to {}", ports(&summary.outbound_ports)));
    }
    if !summary.outbound_networks.is_empty() {
        spared.push(format!("outbound to {}", list(&summary.outbound_networks)));
    }
    if !summary.inbound_ports.is_empty() {
        spared.push(format!("inbound to {}", ports(&summary.inbound_ports)));
    }
    if !spared.is_empty() {
        text.push_str(&format!(" Left alone too: {}.", spared.join("; ")));
    }
    if redirected && exempt.is_empty() {
        text.push_str(
            " Nobody is exempt by UID, GID or mark: what the proxy itself dials comes back to it, again and again.",
        );
    }
    for undecided in [&summary.outbound, &summary.inbound] {
        if let Fate::Undecided(because) = undecided {
            text.push_str(&format!(" It hangs on {}.", crate::report::escape::escape(because)));
        }
    }
    text
}

fn fate(fate: &Fate) -> String {
    match fate {
        Fate::Direct => "is not redirected".to_owned(),
        Fate::Redirected(Some(port)) => format!("goes to {port}"),
        Fate::Redirected(None) => "is sent elsewhere".to_owned(),
        Fate::Dropped => "is dropped".to_owned(),
        Fate::Undecided(_) => "cannot be told".to_owned(),
    }
}

fn inbound(summary: &Summary) -> String {
    match &summary.inbound {
        // After "goes to" the shorter form reads better.
        Fate::Redirected(Some(port)) if matches!(summary.outbound, Fate::Redirected(Some(_))) => format!("to {port}"),
        Fate::Direct if !summary.only_inbound_ports.is_empty() => {
            format!("is redirected on {} only", ports(&summary.only_inbound_ports))
        }
        other => fate(other),
    }
}

/// `UID/GID 1337` when both are the same, else each by itself.
fn identities(summary: &Summary) -> String {
    let both: BTreeSet<u32> = summary.uids.intersection(&summary.gids).copied().collect();
    let mut parts = Vec::new();
    if !both.is_empty() {
        parts.push(format!("UID/GID {}", list(&both)));
    }
    for (word, ids) in [("UID", &summary.uids), ("GID", &summary.gids)] {
        let alone: BTreeSet<u32> = ids.difference(&both).copied().collect();
        if !alone.is_empty() {
            parts.push(format!("{word} {}", list(&alone)));
        }
    }
    if !summary.marks.is_empty() {
        let marks: Vec<String> = summary.marks.iter().map(|mark| format!("{mark:#x}")).collect();
        parts.push(format!("mark {}", list(&marks)));
    }
    list(&parts)
}

fn ports(ports: &BTreeSet<u16>) -> String {
    format!("{} {}", if ports.len() == 1 { "port" } else { "ports" }, list(ports))
}

/// `a, b and c`
fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match items.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((only, _)) => only.clone(),
        None => String::new(),
    }
}
