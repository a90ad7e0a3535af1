//! The story of a packet: one block a hook, the rules that decided, and the answer in one sentence.

use serde_json::{Map, Value, json};

use crate::analysis::describe;
use crate::analysis::eval::{At, Met, Rulebase};
use crate::analysis::paths::Paths;
use crate::analysis::trace::{Outcome, Question, Trace, Verdict};
use crate::model::{Process, Protocol, RuleRef, Snapshot, Socket};
use crate::packet::{Known, Packet};
use crate::report::document;
use crate::report::escape::escape;
use crate::report::paint::{Label, Paint};
use crate::report::who::{heading, who_wrote};
use crate::report::wrap::wrap;
use crate::syntax::print_rule;

/// A trace with all that it is about.
#[derive(Debug, Clone, Copy)]
pub struct Story<'a> {
    /// Whose rules they are.
    pub snapshot: &'a Snapshot,
    /// The rules.
    pub rules: &'a Rulebase<'a>,
    /// What was asked.
    pub question: &'a Question,
    /// The answer.
    pub trace: &'a Trace<'a>,
}

/// How the story is told.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// Colours.
    pub paint: Paint,
    /// Columns.
    pub width: usize,
    /// Rules that did not match too.
    pub all: bool,
}

/// The story for people.
#[must_use]
pub fn text(story: &Story<'_>, form: Form) -> String {
    let mut out = heading(story.snapshot, form.paint, form.width);
    out.push('\n');
    paragraph(&mut out, &asked(story.question, &story.trace.packet), form.width);
    for (number, outcome) in story.trace.outcomes.iter().enumerate() {
        if story.trace.outcomes.len() > 1 {
            let supposed = because(story.trace, outcome);
            let title = format!("Way {} of {}: {supposed}", number + 1, story.trace.outcomes.len());
            out.push('\n');
            for line in wrap(&escape(&title), form.width) {
                out.push_str(&format!("{}\n", form.paint.text(Label::Name, &line)));
            }
        }
        steps(&mut out, story, outcome, form);
        let label = match outcome.verdict {
            Verdict::Delivered | Verdict::Sent => Label::Exempt,
            Verdict::Refused | Verdict::Dropped | Verdict::Rejected => Label::Dropped,
            Verdict::Undecided => Label::Warning,
        };
        out.push('\n');
        for line in wrap(&sentence(story, outcome), form.width) {
            out.push_str(&format!("{}\n", form.paint.text(label, &line)));
        }
    }
    if story.trace.outcomes.len() > 1 {
        out.push('\n');
        let why = story.trace.doubts.last().map(|doubt| doubt.why.as_str()).unwrap_or_default();
        let text = format!("undecided: {} ways are possible; it hangs on {why}", story.trace.outcomes.len());
        for line in wrap(&escape(&text), form.width) {
            out.push_str(&format!("{}\n", form.paint.text(Label::Warning, &line)));
        }
    }
    out
}

fn paragraph(out: &mut String, text: &str, width: usize) {
    wrap(text, width).iter().for_each(|line| out.push_str(&format!("{line}\n")));
}

fn asked(question: &Question, packet: &Packet) -> String {
    let (source, destination) = ends(packet);
    let mut parts = vec![format!("{} {source} → {destination}", question.protocol)];
    parts.push(if question.incoming { "from outside" } else { "from inside" }.to_owned());
    parts.extend(question.uid.map(|uid| format!("UID {uid}")));
    parts.extend(question.gid.map(|gid| format!("GID {gid}")));
    parts.extend((question.mark != 0).then(|| format!("mark {:#x}", question.mark)));
    parts.join(" · ")
}

/// The rules that the packet met, hook by hook.
fn steps(out: &mut String, story: &Story<'_>, outcome: &Outcome<'_>, form: Form) {
    let mut block = None;
    let met = if form.all { story.rules.whole(&outcome.met) } else { outcome.met.iter().collect() };
    for met in met {
        let Some(at) = story.rules.at(met.place) else { continue };
        let Some((number, rule)) = at.rule.filter(|_| met.matched || form.all) else { continue };
        let here = (met.hook, at.ruleset.backend, at.ruleset.family, at.table.name.as_str());
        if block != Some(here) {
            block = Some(here);
            let who = who_wrote(at.ruleset.backend, at.ruleset.family, at.chain.syntax);
            let title = format!("{} · {who} · table {}", met.hook.word().to_uppercase(), escape(&at.table.name));
            out.push_str(&format!("\n{}\n", form.paint.text(Label::Heading, &title)));
        }
        let text = print_rule(at.ruleset.family, at.table, at.chain, rule);
        let sign = match (met.matched, met.supposed) {
            (true, false) => "✓",
            (true, true) | (false, true) => "?",
            (false, false) => " ",
        };
        let line = format!("{sign} {number:>3}  {}", escape(&text));
        let label = if met.matched { Label::Name } else { Label::Dim };
        for (at, part) in wrap(&line, form.width.saturating_sub(2)).iter().enumerate() {
            let indent = if at == 0 { "" } else { "       " };
            out.push_str(&format!("{indent}{}\n", form.paint.text(label, part)));
        }
        if met.matched {
            words(out, &at, number, form);
        }
        if let Some(change) = change(&met) {
            out.push_str(&format!("       {}\n", form.paint.text(Label::Redirect, &change)));
        }
    }
}

/// What the rule means.
fn words(out: &mut String, at: &At<'_>, number: usize, form: Form) {
    let paths = Paths::of(at.table);
    let means = describe::means(at.ruleset.family, at.table, &paths, at.chain, number - 1);
    for line in wrap(&escape(&means.unwrap_or_default()), form.width.saturating_sub(7)) {
        out.push_str(&format!("       {}\n", form.paint.text(Label::Dim, &line)));
    }
}

/// `10.0.0.5:80 → 127.0.0.1:15001`
fn change(met: &Met) -> Option<String> {
    let (source, destination) = ends(met.before);
    let (new_source, new_destination) = ends(met.after);
    let mut parts = Vec::new();
    if destination != new_destination {
        parts.push(format!("{destination} → {new_destination}"));
    }
    if source != new_source {
        parts.push(format!("from {source} → {new_source}"));
    }
    if met.before.mark != met.after.mark {
        parts.push(format!("mark {}", mark(met.after.mark)));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn mark(mark: Known<u32>) -> String {
    match mark {
        Known::Is(mark) => format!("{mark:#x}"),
        _ => "?".to_owned(),
    }
}

/// Both ends as they are known.
fn ends(packet: &Packet) -> (String, String) {
    let end = |address: Known<std::net::IpAddr>, port: Known<u16>| {
        let address = match address {
            Known::Is(std::net::IpAddr::V6(v6)) => format!("[{v6}]"),
            Known::Is(address) => address.to_string(),
            _ => "?".to_owned(),
        };
        match port {
            Known::Is(port) => format!("{address}:{port}"),
            _ => address,
        }
    };
    (end(packet.source, packet.source_port), end(packet.destination, packet.destination_port))
}

fn sentence(story: &Story<'_>, outcome: &Outcome<'_>) -> String {
    let (_, destination) = ends(&outcome.packet);
    let by = outcome.rule.as_ref().map(|rule| format!(", by rule {}", escape(&rule.to_string()))).unwrap_or_default();
    match outcome.verdict {
        Verdict::Delivered => {
            let who: Vec<String> = outcome.receivers.iter().map(|socket| receiver(story.snapshot, socket)).collect();
            format!("delivered to {}{by}", who.join(" or "))
        }
        Verdict::Refused => format!("refused: nobody listens at {destination}{by}"),
        Verdict::Sent => match outcome.packet.output {
            Known::Is(device) => format!("sent to {destination} by {}{by}", escape(device.as_str())),
            _ => format!("sent to {destination}{by}"),
        },
        Verdict::Dropped => format!("dropped{}", if by.is_empty() { ", by a policy".to_owned() } else { by }),
        Verdict::Rejected => format!("rejected{by}"),
        Verdict::Undecided => {
            format!("undecided: {}", escape(outcome.why.as_deref().unwrap_or("something that is not known")))
        }
    }
}

/// `envoy/4720 (istio-proxy) at 0.0.0.0:15001`
fn receiver(snapshot: &Snapshot, socket: &Socket) -> String {
    match owner(snapshot, socket) {
        Some(process) => {
            let container = process.container.as_deref().map(|name| format!(" ({})", escape(name)));
            let name = escape(&process.name);
            format!("{name}/{}{} at {}", process.pid, container.unwrap_or_default(), socket.local)
        }
        None => format!("whoever holds the socket at {}", socket.local),
    }
}

fn owner<'a>(snapshot: &'a Snapshot, socket: &Socket) -> Option<&'a Process> {
    let holds = |process: &&Process| socket.inode != 0 && process.sockets.contains(&socket.inode);
    snapshot.processes.iter().flatten().filter(holds).min_by_key(|process| process.pid)
}

fn because(trace: &Trace<'_>, outcome: &Outcome<'_>) -> String {
    let parts = outcome.hangs_on.iter().filter_map(|(at, holds)| {
        let why = &trace.doubts.get(*at)?.why;
        Some(if *holds { format!("{why}: yes") } else { format!("{why}: no") })
    });
    parts.collect::<Vec<_>>().join("; ")
}

/// The document of `-o json`.
#[must_use]
pub fn json(story: &Story<'_>) -> Map<String, Value> {
    let mut document = document::head("nslens.trace/v1", story.snapshot);
    answer(story).into_iter().for_each(|(key, value)| {
        document.insert(key, value);
    });
    document
}

/// The answer alone, as one line of `--batch`.
#[must_use]
pub fn answer(story: &Story<'_>) -> Map<String, Value> {
    let Story { question, trace, .. } = story;
    let only = match trace.outcomes.as_slice() {
        [only] => Some(only),
        _ => None,
    };
    let (source, destination) = only.map_or((None, None), |only| {
        let (source, destination) = ends(&only.packet);
        (Some(source), Some(destination))
    });
    let (asked_source, asked_destination) = ends(&trace.packet);
    let mut document = Map::new();
    let mut insert = |key: &str, value: Value| {
        document.insert(key.to_owned(), value);
    };
    insert(
        "packet",
        json!({
            "direction": if question.incoming { "in" } else { "out" },
            "protocol": question.protocol.to_string(),
            "source": asked_source,
            "destination": asked_destination,
            "uid": question.uid,
            "gid": question.gid,
            "mark": question.mark,
            "interface": question.interface.map(|name| name.as_str().to_owned()),
        }),
    );
    insert("verdict", json!(trace.verdict().word()));
    insert("source", json!(source));
    insert("destination", json!(destination));
    insert("interface", json!(only.and_then(|only| interface(&only.packet))));
    let receiver = only.and_then(|only| only.receivers.first());
    insert("receiver", receiver.map_or(Value::Null, |socket| receiver_json(story.snapshot, socket)));
    let path = trace.outcomes.first().map(|outcome| path(story, outcome));
    insert("path", json!(path.unwrap_or_default()));
    let outcomes = trace.outcomes.iter().map(|outcome| {
        let (source, destination) = ends(&outcome.packet);
        json!({
            "verdict": outcome.verdict.word(),
            "source": source,
            "destination": destination,
            "rule": outcome.rule,
            "because": match (&outcome.why, only) {
                (Some(why), _) => why.clone(),
                (None, Some(_)) => sentence(story, outcome),
                (None, None) => because(trace, outcome),
            },
        })
    });
    insert("outcomes", outcomes.collect());
    let doubts = trace.doubts.iter().map(|doubt| json!({"rule": doubt.rule, "why": doubt.why}));
    insert("uncertain", doubts.collect());
    insert("then", Value::Null);
    document
}

fn interface(packet: &Packet) -> Option<String> {
    match (packet.output, packet.input) {
        (Known::Is(device), _) | (_, Known::Is(device)) => Some(device.as_str().to_owned()),
        _ => None,
    }
}

fn receiver_json(snapshot: &Snapshot, socket: &Socket) -> Value {
    let owner = owner(snapshot, socket);
    json!({
        "local": socket.local,
        "pid": owner.map(|process| process.pid),
        "name": owner.map(|process| &process.name),
        "uid": socket.uid,
        "container": owner.and_then(|process| process.container.as_ref()),
    })
}

fn path(story: &Story<'_>, outcome: &Outcome<'_>) -> Vec<Value> {
    let steps = outcome.met.iter().filter_map(|met| {
        let at = story.rules.at(met.place)?;
        let (_, rule) = at.rule?;
        let name: Option<RuleRef> = at.name();
        Some(json!({
            "hook": met.hook.word(),
            "rule": name,
            "matched": met.matched,
            "supposed": met.supposed,
            "action": met.matched.then(|| print_rule(at.ruleset.family, at.table, at.chain, rule)),
            "change": change(&met),
        }))
    });
    steps.collect()
}

/// Whether a protocol has ports.
#[must_use]
pub fn has_ports(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Tcp | Protocol::Udp)
}
