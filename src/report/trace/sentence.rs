//! The answer in one sentence.

use std::rc::Rc;

use super::{Story, Teller, destination, rule_words, source, steps};
use crate::analysis::eval::{Doubt, Routed};
use crate::analysis::routes::Kind;
use crate::analysis::trace::{Outcome, Trace, Verdict};
use crate::model::Socket;
use crate::packet::Known;
use crate::report::escape::escape;

/// The answer, whichever way the packet takes. Free of what steers a terminal.
#[must_use]
pub fn answer(teller: &Teller<'_>, story: Story<'_, '_>) -> String {
    match story.trace.outcomes.as_slice() {
        [only] => sentence(teller, story.trace, only),
        several => {
            const MOST: usize = 4;
            let mut ways: Vec<String> = Vec::new();
            for outcome in several {
                let way = brief(teller, outcome);
                if !ways.contains(&way) {
                    ways.push(way);
                }
            }
            let more = ways.len().saturating_sub(MOST);
            ways.truncate(MOST);
            let more = if more == 0 { String::new() } else { format!(", or one of {more} more ends") };
            format!("Undecided: {}{more}; it hangs on {}.", ways.join(", or "), hangs_on(teller, story.trace))
        }
    }
}

/// What becomes of it on one way, in few words.
pub(super) fn brief(teller: &Teller<'_>, outcome: &Outcome<'_>) -> String {
    let to = destination(&outcome.packet);
    let by = outcome.rule.as_ref().map(|rule| format!(" by {}", rule_words(rule))).unwrap_or_default();
    match outcome.verdict {
        Verdict::Delivered => {
            let name = |socket: &&Socket| {
                let process = teller.owner(socket)?;
                Some(format!("{}/{}", escape(&process.name), process.pid))
            };
            let who = outcome.receivers.first().and_then(name);
            who.map_or_else(|| format!("delivered at {to}"), |who| format!("delivered to {who} at {to}"))
        }
        Verdict::Refused => format!("refused at {to}"),
        Verdict::Sent => match outcome.packet.output {
            Known::Is(device) => format!("sent to {to} by {}", escape(device.as_str())),
            _ => format!("sent to {to}"),
        },
        Verdict::Dropped => format!("dropped{by}"),
        Verdict::Rejected => format!("rejected{by}"),
        Verdict::Undecided => match &outcome.why {
            Some(why) => format!("something that is open ({})", escape(why)),
            None => "something that is open".to_owned(),
        },
    }
}

/// What the answer hangs on.
fn hangs_on(teller: &Teller<'_>, trace: &Trace<'_>) -> String {
    let mut reasons: Vec<String> = Vec::new();
    // The last doubt is the first fork.
    for doubt in trace.doubts.iter().rev() {
        let reason = doubted(teller, trace, doubt);
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    const MOST: usize = 3;
    let more = reasons.len().saturating_sub(MOST);
    reasons.truncate(MOST);
    let more = if more == 0 { String::new() } else { format!(", and {more} more") };
    format!("{}{more}", reasons.join(", and on "))
}

/// What is not known, and why: `whether rule 4 of ISTIO_OUTPUT (nat) matches (its UID is not known)`.
pub(super) fn doubted(teller: &Teller<'_>, trace: &Trace<'_>, doubt: &Doubt) -> String {
    let Some(rule) = &doubt.rule else { return escape(&doubt.why).into_owned() };
    // Its name within a sentence is for programs.
    let words = doubt.why.replace(&format!("rule {rule}"), &rule_words(rule));
    let mut met = trace.outcomes.iter().flat_map(|outcome| &outcome.met).filter(|met| met.supposed);
    let reason = met.find_map(|met| {
        let at = teller.rules.at(met.place).filter(|at| at.name().as_ref() == Some(rule))?;
        teller.reasons().why_unknown(&at, met.before)
    });
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    escape(&format!("{words}{reason}")).into_owned()
}

/// What one way supposes.
pub(super) fn supposed(trace: &Trace<'_>, outcome: &Outcome<'_>) -> String {
    let parts = outcome.hangs_on.iter().rev().filter_map(|(at, holds)| {
        let doubt = trace.doubts.get(*at)?;
        Some(match (&doubt.rule, holds) {
            (Some(rule), true) => format!("{} matches", rule_words(rule)),
            (Some(rule), false) => format!("{} does not match", rule_words(rule)),
            (None, true) => format!("{}: yes", escape(&doubt.why)),
            (None, false) => format!("{}: no", escape(&doubt.why)),
        })
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// What becomes of it on one way.
pub(super) fn sentence(teller: &Teller<'_>, trace: &Trace<'_>, outcome: &Outcome<'_>) -> String {
    let (before, after) = (&trace.packet, &outcome.packet);
    let to = destination(after);
    let moved = (before.destination, before.destination_port) != (after.destination, after.destination_port);
    // Each of these is only made for the sentence that has it.
    let rule = || outcome.rule.as_ref().map(rule_words);
    let by = || rule().map(|rule| format!(" by {rule}")).unwrap_or_default();
    let alone = || match rule() {
        Some(rule) => format!(": {rule} leaves it alone"),
        None => ": no rule sends it elsewhere".to_owned(),
    };
    if let Some(kind) = outcome.lost {
        return lost(kind, &to, trace.packet.input != Known::Absent);
    }
    match outcome.verdict {
        Verdict::Delivered => {
            let who = who(teller, &outcome.receivers);
            let taken = outcome.receivers.iter().any(|socket| Known::Is(socket.local.port) != after.destination_port);
            match (moved, taken) {
                (true, _) => format!("Redirected to {to}{}, where {who} takes it.", by()),
                (false, true) => format!("Handed to {who}{}, still addressed to {to}.", by()),
                (false, false) => format!("Delivered to {who}{}.", alone()),
            }
        }
        Verdict::Refused if moved => format!("Refused: it is redirected to {to}{}, where nobody listens.", by()),
        Verdict::Refused => {
            let alone = rule().map(|rule| format!("; {rule} leaves it alone")).unwrap_or_default();
            format!("Refused: nobody listens at {to}{alone}.")
        }
        Verdict::Sent => {
            let device = match after.output {
                Known::Is(device) => format!(" by {}", escape(device.as_str())),
                _ => String::new(),
            };
            let masked = (before.source, before.source_port) != (after.source, after.source_port);
            let from = if masked { format!(", as coming from {}", source(after)) } else { String::new() };
            match moved {
                true => format!("Redirected to {to}{}: it leaves{device}{from}.", by()),
                false => format!("Leaves for {to}{device}{from}{}.", alone()),
            }
        }
        Verdict::Dropped => match (rule(), policy(teller, outcome)) {
            (Some(rule), _) => format!("Dropped by {rule}."),
            (None, Some(policy)) => format!("Dropped by {policy}."),
            (None, None) => "Dropped.".to_owned(),
        },
        Verdict::Rejected => format!("Rejected{}: its sender is told.", by()),
        Verdict::Undecided => {
            let moved = if moved { format!("redirected to {to}{}; ", by()) } else { String::new() };
            let why = outcome.why.as_deref().unwrap_or("something that is not known");
            format!("Undecided: {moved}open is {}.", escape(why))
        }
    }
}

/// The policy that ended it: what it met last.
fn policy(teller: &Teller<'_>, outcome: &Outcome<'_>) -> Option<String> {
    let at = teller.rules.at(outcome.met.iter().last()?.place)?;
    at.rule.is_none().then(|| rule_words(&steps::name(&at)))
}

/// `envoy/4720 (istio-proxy, UID 1337) at 0.0.0.0:15001`, or several of them.
fn who(teller: &Teller<'_>, receivers: &[&Socket]) -> Rc<str> {
    match receivers {
        [] => "the kernel itself".into(),
        [only] => teller.told_of(only, || receiver(teller, only)),
        several => {
            let mut all: Vec<String> = Vec::new();
            for socket in several {
                let one = receiver(teller, socket);
                if !all.contains(&one) {
                    all.push(one);
                }
            }
            all.join(" or ").into()
        }
    }
}

fn receiver(teller: &Teller<'_>, socket: &Socket) -> String {
    let Some(process) = teller.owner(socket) else { return format!("whoever holds the socket at {}", socket.local) };
    let mut about: Vec<String> =
        process.container.as_deref().map(|name| escape(name).into_owned()).into_iter().collect();
    about.push(format!("UID {}", process.uid));
    format!("{}/{} ({}) at {}", escape(&process.name), process.pid, about.join(", "), socket.local)
}

/// `route: by eth0, via 10.0.0.1, from 10.0.0.2`
pub(super) fn route(routed: &Routed) -> String {
    let lost = |why: &str| format!("route: {why}");
    let device = match routed.device {
        Known::Is(device) => format!("by {}", escape(device.as_str())),
        _ => "by a device that is not known".to_owned(),
    };
    let via = routed.gateway.map(|gateway| format!(", via {gateway}")).unwrap_or_default();
    let from = match routed.source {
        Known::Is(source) => format!(", from {source}"),
        _ => String::new(),
    };
    // Those of the main table go without saying.
    const COMMON: [u32; 3] = [253, 254, 255];
    let table = routed.table.filter(|table| !COMMON.contains(table)).map(|table| format!(", by table {table}"));
    let table = table.unwrap_or_default();
    match routed.kind {
        Kind::Local | Kind::Anycast => format!("route: the workload takes it in{table}"),
        Kind::Unicast => format!("route: {device}{via}{from}{table}"),
        Kind::Broadcast => format!("route: a broadcast, {device}{from}{table}"),
        Kind::Multicast => format!("route: to a group, {device}{via}{from}{table}"),
        other => lost(nowhere(other)),
    }
}

/// Why a route leads nowhere.
fn nowhere(kind: Kind) -> &'static str {
    match kind {
        Kind::Blackhole => "a route drops it without a word (blackhole)",
        Kind::Unreachable => "a route says that it cannot be reached (unreachable)",
        Kind::Prohibit => "a route forbids it (prohibit)",
        Kind::NoRoute => "none leads there",
        Kind::NotForwarded => "it would have to be forwarded, and the device does not forward",
        Kind::Invalid => "its addresses cannot be what they are, there",
        Kind::ReversePath => "the way back to its source leads elsewhere (rp_filter)",
        _ => "it leads on",
    }
}

/// The same as an answer; `unsent` where the packet is an own one, whose program is told.
fn lost(kind: Kind, to: &str, incoming: bool) -> String {
    let error = match kind {
        _ if incoming => None,
        Kind::NoRoute => Some("ENETUNREACH"),
        Kind::Unreachable => Some("EHOSTUNREACH"),
        Kind::Prohibit => Some("EACCES"),
        Kind::Blackhole | Kind::Invalid => Some("EINVAL"),
        _ => None,
    };
    let verdict = match (kind, error) {
        (_, Some(_)) | (Kind::NoRoute | Kind::Unreachable | Kind::Prohibit, None) => "Rejected",
        _ => "Dropped",
    };
    let told = error.map(|error| format!(": its program gets {error}")).unwrap_or_default();
    match kind {
        Kind::NoRoute => format!("{verdict}, since no route leads to {to}{told}."),
        other => format!("{verdict} on the way to {to}, since {}{told}.", nowhere(other)),
    }
}
