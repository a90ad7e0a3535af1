//! The sentence at the end of `rules`: where TCP goes, and who is exempt.

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::analysis::summary::{Direction, Fate, Others, Summary};
use crate::report::escape::escape;

/// One sentence or a few for both families; `None` for a family whose rules were not asked for.
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
        if is_plain(first) && is_plain(second) {
            return text; // twice nothing needs no words of its own
        }
        text.push_str(&match (same, is_plain(second)) {
            (true, _) => " IPv6: the same.".to_owned(),
            (false, true) => " IPv6: no redirect rules.".to_owned(),
            (false, false) => format!(" IPv6: {}", about(second)),
        });
    }
    text
}

/// Whether nothing at all is redirected.
fn is_plain(summary: &Summary) -> bool {
    let plain = |direction: &Direction| direction.fate == Fate::Direct && !direction.redirects_some;
    plain(&summary.outbound) && plain(&summary.inbound) && summary.dns.is_none()
}

fn about(summary: &Summary) -> String {
    let Summary { outbound, inbound, dns, .. } = summary;
    let mut text = match (&outbound.fate, &inbound.fate) {
        // Said together, "goes" need not be said twice.
        (Fate::Redirected(Some(out)), Fate::Redirected(Some(port))) => {
            format!("Outbound TCP goes to {out}, inbound TCP to {port}")
        }
        _ => format!("Outbound TCP {}, inbound TCP {}", fate(outbound), fate(inbound)),
    };
    let exempt = identities(&outbound.others);
    let redirected = matches!(outbound.fate, Fate::Redirected(_));
    if redirected && !exempt.is_empty() {
        text.push_str(&format!(", except from {exempt}"));
    }
    text.push('.');
    let mut spared = Vec::new();
    for (word, from_to, direction) in [("outbound", "to", outbound), ("inbound", "from", inbound)] {
        if matches!(direction.fate, Fate::Redirected(_)) {
            spared.extend(places(&direction.others, from_to).into_iter().map(|place| format!("{word} {place}")));
        }
    }
    if !spared.is_empty() {
        text.push_str(&format!(" Left alone too: {}.", spared.join("; ")));
    }
    if let Some(port) = dns {
        text.push_str(&format!(" DNS over UDP goes to {port}."));
    }
    if redirected && exempt.is_empty() {
        text.push_str(
            " Nobody is exempt by UID, GID or mark: what the proxy itself dials comes back to it, again and again.",
        );
    }
    if summary.more {
        text.push_str(" The rules name more than is asked for this sentence: others may be treated otherwise.");
    }
    for direction in [outbound, inbound] {
        if let Fate::Undecided(because) = &direction.fate {
            text.push_str(&format!(" That hangs on {}.", escape(because)));
        }
    }
    text
}

fn fate(direction: &Direction) -> String {
    let others = &direction.others;
    match &direction.fate {
        Fate::Direct if !others.is_empty() => {
            let mut only = places(others, "to");
            let who = identities(others);
            only.extend((!who.is_empty()).then(|| format!("from {who}")));
            format!("is redirected only {}", only.join(" or "))
        }
        Fate::Direct if direction.redirects_some => "is redirected only where a rule names it".to_owned(),
        Fate::Direct => "is not redirected".to_owned(),
        Fate::Redirected(Some(port)) => format!("goes to {port}"),
        Fate::Redirected(None) => "is sent elsewhere".to_owned(),
        Fate::Dropped => "is dropped".to_owned(),
        Fate::Undecided(_) => "may be redirected or not".to_owned(),
    }
}

/// `to ports 22 and 80`, `to 10.0.0.0/8`
fn places(others: &Others, from_to: &str) -> Vec<String> {
    let mut places = Vec::new();
    if !others.ports.is_empty() {
        let word = if others.ports.len() == 1 { "port" } else { "ports" };
        places.push(format!("to {word} {}", list(&others.ports)));
    }
    if !others.networks.is_empty() {
        places.push(format!("{from_to} {}", list(&others.networks)));
    }
    places
}

/// `UID/GID 1337` when both are the same, else each by itself.
fn identities(others: &Others) -> String {
    let both: BTreeSet<u32> = others.uids.intersection(&others.gids).copied().collect();
    let mut parts = Vec::new();
    if !both.is_empty() {
        parts.push(format!("UID/GID {}", list(&both)));
    }
    for (word, ids) in [("UID", &others.uids), ("GID", &others.gids)] {
        let alone: BTreeSet<u32> = ids.difference(&both).copied().collect();
        if !alone.is_empty() {
            parts.push(format!("{word} {}", list(&alone)));
        }
    }
    if !others.marks.is_empty() {
        let word = if others.marks.len() == 1 { "mark" } else { "marks" };
        let marks: Vec<String> = others.marks.iter().map(|mark| format!("{mark:#x}")).collect();
        parts.push(format!("{word} {}", list(&marks)));
    }
    list(&parts)
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
