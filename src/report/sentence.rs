//! The sentence at the end of `rules`: where TCP goes, and who is exempt.

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::analysis::summary::{Direction, Does, Fate, Others, Summary};
use crate::model::RuleRef;
use crate::report::escape::escape;

/// More items than this of one kind are counted rather than named.
const MOST: usize = 16;
/// As many rules: each is several words.
const MOST_RULES: usize = 6;

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
        if first.is_plain() && second.is_plain() {
            return text; // twice nothing needs no words of its own
        }
        let other = about(second);
        text.push_str(&match (other == text, second.is_plain()) {
            (true, _) => " IPv6: the same.".to_owned(),
            (false, true) => " IPv6: no redirect rules.".to_owned(),
            (false, false) => format!(" IPv6: {other}"),
        });
    }
    text
}

fn about(summary: &Summary) -> String {
    let Summary { outbound, inbound, dns, .. } = summary;
    let mut text = match (&outbound.fate, &inbound.fate) {
        // Said together, "goes" need not be said twice.
        (Fate::Redirected(_), Fate::Redirected(_)) => {
            format!("Outbound TCP goes {}, inbound TCP {}", place(outbound), place(inbound))
        }
        _ => format!("Outbound TCP {}, inbound TCP {}", fate(outbound, "to"), fate(inbound, "from")),
    };
    let exempt = identities(&outbound.others);
    let redirected = matches!(outbound.fate, Fate::Redirected(_));
    if redirected && !exempt.is_empty() {
        text.push_str(&format!(", except from {exempt}"));
    }
    text.push('.');
    because(outbound, inbound, &mut text);
    warn_of_loop(outbound, &exempt, &mut text);
    let mut spared = Vec::new();
    for (word, from_to, direction) in [("outbound", "to", outbound), ("inbound", "from", inbound)] {
        if matches!(direction.fate, Fate::Redirected(_)) {
            spared.extend(places(&direction.others, from_to).into_iter().map(|place| format!("{word} {place}")));
        }
    }
    if !spared.is_empty() {
        text.push_str(&format!(" Left alone too: {}.", spared.join("; ")));
    }
    let alike = outbound.fate == inbound.fate && outbound.others.further == inbound.others.further;
    let further = match alike {
        // A service is redirected whichever way its packets come.
        true => further("outbound and inbound", outbound),
        false => [further("outbound", outbound), further("inbound", inbound)].concat(),
    };
    if !further.is_empty() {
        text.push_str(&format!(" Further exceptions: {}.", further.join("; ")));
    }
    if let Some(port) = dns {
        text.push_str(&format!(" DNS over UDP goes to {port}."));
    }
    if summary.more {
        text.push_str(" The rules name more than is asked for this sentence: others may be treated otherwise.");
    }
    text
}

/// On what it hangs that a direction is undecided, and which rule drops it; once where it is the same for both.
fn because(outbound: &Direction, inbound: &Direction, text: &mut String) {
    let why = |direction: &Direction| match &direction.fate {
        Fate::Undecided(because) => Some((false, format!("on {}", escape(because)))),
        Fate::Dropped(Some(by)) => Some((true, format!("by rule {}", rule(by)))),
        _ => None,
    };
    let verb = |dropped: bool| if dropped { "is dropped" } else { "hangs" };
    text.push_str(&match (why(outbound), why(inbound)) {
        (Some((dropped, why)), Some(other)) if other == (dropped, why.clone()) => {
            format!(" Both {} {why}.", if dropped { "are dropped" } else { "hang" })
        }
        (Some((true, why)), None) | (None, Some((true, why))) => format!(" Dropped {why}."),
        (Some((false, why)), None) | (None, Some((false, why))) => format!(" That hangs {why}."),
        (Some((out, why)), Some((dropped, other))) => {
            format!(" Outbound {} {why}, inbound {} {other}.", verb(out), verb(dropped))
        }
        (None, None) => return,
    });
}

/// `outbound left alone by rule nat OUTPUT 2`
fn further(word: &str, direction: &Direction) -> Vec<String> {
    let ways = [Does::Redirects, Does::LeavesAlone, Does::Drops].into_iter().map(|does| {
        let rules = direction.others.further.iter().filter(|further| further.does == does);
        (does, rules.map(|further| rule(&further.rule)).collect::<Vec<_>>())
    });
    let told = ways.filter(|(_, rules)| !rules.is_empty()).map(|(does, rules)| {
        let verb = match does {
            Does::Redirects if matches!(direction.fate, Fate::Redirected(_)) => "sent elsewhere",
            Does::Redirects => "redirected",
            Does::LeavesAlone => "left alone",
            Does::Drops => "dropped",
        };
        let of = if rules.len() == 1 { "rule" } else { "rules" };
        format!("{word} {verb} by {of} {}", list_of(rules, MOST_RULES))
    });
    told.collect()
}

/// Nobody may leave without coming back: said only where a local port takes the packets.
fn warn_of_loop(outbound: &Direction, exempt: &str, text: &mut String) {
    let Fate::Redirected(to) = &outbound.fate else { return };
    let local = !to.stays && !to.several && to.address.is_none_or(|address| address.is_loopback());
    match (local && exempt.is_empty(), outbound.others.further_owner) {
        (true, false) => text.push_str(
            " Nobody is exempt by UID, GID or mark: what the proxy itself dials comes back to it, again and again.",
        ),
        (true, true) => text.push_str(" No UID, GID or mark is exempt altogether: see the exceptions."),
        _ => {}
    }
}

/// `to 15001`, `to 10.9.9.9:3128`
fn place(direction: &Direction) -> String {
    let Fate::Redirected(to) = &direction.fate else { return String::new() };
    match (to.address, to.port) {
        (None, Some(port)) if to.several => format!("to port {port} of one of several addresses"),
        (None, None) if to.several => "to one of several addresses".to_owned(),
        (None, Some(port)) if to.stays => format!("to port {port} of the same address"),
        (None, Some(port)) => format!("to {port}"),
        (Some(address), Some(port)) => format!("to {}", crate::model::Endpoint::new(address, port)),
        (Some(address), None) => format!("to {address}"),
        (None, None) => "elsewhere".to_owned(),
    }
}

fn fate(direction: &Direction, from_to: &str) -> String {
    let others = &direction.others;
    match &direction.fate {
        Fate::Direct if others.told() => {
            let mut only = places(others, from_to);
            let who = identities(others);
            only.extend((!who.is_empty()).then(|| format!("from {who}")));
            let sent =
                if others.sent.is_empty() { String::new() } else { format!(" (it goes to {})", list(&others.sent)) };
            format!("is redirected only {}{sent}", only.join(" or "))
        }
        // The packets asked about are samples; a redirect that none of them met is there all the same.
        Fate::Direct if direction.redirects_some => "is not redirected unless a rule above says so".to_owned(),
        Fate::Direct => "is not redirected".to_owned(),
        Fate::Redirected(_) => format!("goes {}", place(direction)),
        Fate::Dropped(_) => "is dropped".to_owned(),
        Fate::Undecided(_) => "may be redirected or not".to_owned(),
    }
}

/// `to ports 22 and 80`, `to 10.0.0.0/8`
fn places(others: &Others, from_to: &str) -> Vec<String> {
    let mut places = Vec::new();
    if !others.ports.is_empty() {
        let single = matches!(others.ports.iter().collect::<Vec<_>>().as_slice(), [(from, to)] if from == to);
        places.push(format!("to {} {}", if single { "port" } else { "ports" }, list(ranges(&others.ports))));
    }
    if !others.networks.is_empty() {
        places.push(format!("{from_to} {}", list(&others.networks)));
    }
    places
}

/// `UID/GID 1337` when both are the same, else each by itself.
fn identities(others: &Others) -> String {
    let both: BTreeSet<(u32, u32)> = others.uids.intersection(&others.gids).copied().collect();
    let mut parts = Vec::new();
    if !both.is_empty() {
        parts.push(format!("UID/GID {}", list(ranges(&both))));
    }
    for (word, ids) in [("UID", &others.uids), ("GID", &others.gids)] {
        let alone: BTreeSet<(u32, u32)> = ids.difference(&both).copied().collect();
        if !alone.is_empty() {
            parts.push(format!("{word} {}", list(ranges(&alone))));
        }
    }
    if !others.marks.is_empty() {
        let word = if others.marks.len() == 1 { "mark" } else { "marks" };
        let marks: Vec<String> = others.marks.iter().map(|mark| format!("{mark:#x}")).collect();
        parts.push(format!("{word} {}", list(&marks)));
    }
    list(&parts)
}

/// `nat OUTPUT 2`: chains of several tables have the same name.
fn rule(name: &RuleRef) -> String {
    format!("{} {} {}", escape(&name.table), escape(&name.chain), name.number)
}

/// `22`, `80–94`: three or more that follow each other are one range.
fn ranges<T: Copy + Into<u64>>(ranges: &BTreeSet<(T, T)>) -> Vec<String> {
    let mut runs: Vec<Vec<(u64, u64)>> = Vec::new();
    for (from, to) in ranges.iter().map(|(from, to)| ((*from).into(), (*to).into())) {
        match runs.last_mut() {
            Some(run) if run.last().is_some_and(|(_, last)| last + 1 == from) => run.push((from, to)),
            _ => runs.push(vec![(from, to)]),
        }
    }
    let text = |(from, to): (u64, u64)| if from == to { from.to_string() } else { format!("{from}–{to}") };
    let run = |run: Vec<(u64, u64)>| match run.as_slice() {
        [(from, _), _, .., (_, to)] => vec![text((*from, *to))],
        few => few.iter().copied().map(text).collect(),
    };
    runs.into_iter().flat_map(run).collect()
}

/// `a, b and c`; of very many the first ones, and how many more.
fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    list_of(items.into_iter().map(|item| item.to_string()).collect(), MOST)
}

fn list_of(mut items: Vec<String>, most: usize) -> String {
    if items.len() > most {
        let more = items.len() - most;
        items.truncate(most);
        items.push(format!("{more} more"));
    }
    match items.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((only, _)) => only.clone(),
        None => String::new(),
    }
}
