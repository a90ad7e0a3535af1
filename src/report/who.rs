//! Who is looked at, and what could not be read: the lines above and below every table.

use crate::analysis::paths::{is_nat, standing};
use crate::model::{Backend, Chain, Family, Kind, Snapshot, Subject, Syntax};
use crate::report::escape::escape;
use crate::report::paint::{Label, Paint};
use crate::report::wrap::wrap;

/// Who this is, and what else is known of them.
#[must_use]
pub fn facts(snapshot: &Snapshot) -> (String, Vec<String>) {
    let workload = &snapshot.workload;
    let title = format!("{} {}", workload.kind.word(), escape(&workload.name));
    let mut facts = Vec::new();
    facts.extend(workload.namespace.as_ref().map(|name| format!("namespace {}", escape(name))));
    facts.extend(workload.runtime.as_ref().map(|name| escape(name).into_owned()));
    // A process is named by its PID already.
    let pid = workload.pid.filter(|_| workload.kind != Kind::Process);
    facts.extend(pid.map(|pid| format!("PID {pid}")));
    let netns = workload.netns.map(|netns| netns.inode.to_string()).filter(|inode| *inode != workload.name);
    facts.extend(netns.map(|inode| format!("netns {inode}")));
    (title, facts)
}

/// Where a base chain stands at its hook: `priority 0`, `priority 50 among the nat chains, at -100`.
#[must_use]
pub fn standing_words(chain: &Chain) -> String {
    match (standing(chain), is_nat(chain)) {
        ((Some(place), Some(own)), true) if place != own => {
            format!("priority {own} among the nat chains, at {place}")
        }
        ((Some(place), _), _) => format!("priority {place}"),
        _ => "priority unknown".to_owned(),
    }
}

/// The lines that say who this is.
#[must_use]
pub fn heading(snapshot: &Snapshot, paint: Paint, width: usize) -> String {
    let workload = &snapshot.workload;
    let (title, facts) = facts(snapshot);
    let facts: Vec<String> = std::iter::once(title).chain(facts).collect();
    let mut out: String =
        wrap(&facts.join(" · "), width).iter().map(|line| format!("{}\n", paint.text(Label::Name, line))).collect();
    let containers: Vec<_> =
        workload.containers.iter().map(|container| escape(&container.words()).into_owned()).collect();
    if workload.kind == Kind::Pod && !containers.is_empty() {
        let word = if containers.len() == 1 { "container" } else { "containers" };
        for line in wrap(&format!("{word} {}", containers.join(", ")), width) {
            out.push_str(&format!("{}\n", paint.text(Label::Dim, &line)));
        }
    }
    if workload.host_network {
        let text =
            "This is the node's own network namespace: the rules below are the node's, not the workload's alone.";
        for line in wrap(text, width) {
            out.push_str(&format!("{}\n", paint.text(Label::Warning, &line)));
        }
    }
    out
}

/// `iptables-nft · ipv4`: which program's rules these are.
#[must_use]
pub fn who_wrote(backend: Backend, family: Family, syntax: Syntax) -> String {
    let family = match family {
        Family::Ip => "ipv4",
        Family::Ip6 => "ipv6",
        other => other.word(),
    };
    let writer = match (backend, syntax) {
        (Backend::Legacy, _) => "iptables-legacy",
        (Backend::Nft, Syntax::Iptables) => "iptables-nft",
        (Backend::Nft, Syntax::Nft) => "nft",
    };
    format!("{writer} · {family}")
}

/// The lines that say what could not be read about these subjects; empty when all was.
#[must_use]
pub fn unread(snapshot: &Snapshot, subjects: &[Subject], paint: Paint, width: usize) -> String {
    let mut out = String::new();
    for unread in snapshot.unread_about(subjects) {
        let text = format!("could not read {}: {}; {}", unread.source, unread.error, unread.means);
        for line in wrap(&escape(&text), width) {
            out.push_str(&format!("{}\n", paint.text(Label::Warning, &line)));
        }
    }
    out
}
