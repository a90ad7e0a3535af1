//! The document: written once, by fragments, for one packet as for a million of them a line each.

use std::collections::HashMap;
use std::net::IpAddr;

use serde_json::{Map, Value};

use super::sentence::{doubted, sentence, supposed};
use super::steps::{Step, action, merged, name, steps};
use super::{Story, Teller, digits, end, kind_word, push_change, state_word};
use crate::analysis::eval::{Place, Routed};
use crate::analysis::trace::asked;
use crate::analysis::trace::{Followed, Outcome, Question, Stop};
use crate::model::{Hook, Process, RuleRef, Socket};
use crate::packet::{Known, Packet};
use crate::report::document as documents;

/// Writes documents, `nslens.trace/v1`, each on one line.
#[derive(Debug)]
pub struct Writer<'t> {
    teller: &'t Teller<'t>,
    /// What each begins with.
    head: String,
    /// Rules that were written before: the members `rule` and `action`.
    rules: HashMap<Place, (String, String)>,
    /// Rules that did not match too, each with why.
    all: bool,
}

/// One document as a value, for forms of several lines.
#[must_use]
pub fn document(writer: &mut Writer<'_>, story: Story<'_, '_>) -> Map<String, Value> {
    let mut line = String::new();
    writer.write(story, &mut line);
    // It was written as JSON.
    serde_json::from_str(&line).unwrap_or_default()
}

/// The same of a packet that was followed through proxies.
#[must_use]
pub fn followed_document(writer: &mut Writer<'_>, followed: &Followed<'_>) -> Map<String, Value> {
    let mut line = String::new();
    writer.write_followed(followed, &mut line);
    // It was written as JSON.
    serde_json::from_str(&line).unwrap_or_default()
}

impl<'t> Writer<'t> {
    /// For this teller's packets; with `all`, rules that did not match too.
    #[must_use]
    pub fn new(teller: &'t Teller<'t>, all: bool) -> Self {
        let head = documents::head("nslens.trace/v1", teller.snapshot);
        let head = documents::line(&Value::Object(head));
        let head = head.strip_suffix('}').unwrap_or_default().to_owned();
        Self { teller, head, rules: HashMap::new(), all }
    }

    /// Appends a document, without the end of its line.
    pub fn write(&mut self, story: Story<'_, '_>, out: &mut String) {
        out.push_str(&self.head);
        out.push(',');
        self.members(story, out);
        out.push_str(",\"then\":null,\"followed\":null}");
    }

    /// The same of a packet that was followed through proxies.
    pub fn write_followed(&mut self, followed: &Followed<'_>, out: &mut String) {
        out.push_str(&self.head);
        out.push(',');
        let mut steps = followed.steps.iter();
        if let Some(first) = steps.next() {
            self.members(Story { question: &first.question, trace: &first.trace }, out);
            out.push(',');
        }
        // Each stands within the one before.
        let mut depth = 0;
        for step in steps {
            out.push_str("\"then\":{\"sender\":");
            self.sender(step.sender, out);
            out.push(',');
            self.members(Story { question: &step.question, trace: &step.trace }, out);
            out.push(',');
            depth += 1;
        }
        out.push_str("\"then\":null");
        out.extend(std::iter::repeat_n('}', depth));
        let (end, again, why) = match &followed.stop {
            Stop::Arrived => ("arrived", None, None),
            Stop::Loop { from } => ("loop", u32::try_from(*from).ok(), None),
            Stop::Unclear(why) => ("unclear", None, Some(why.as_str())),
            Stop::TooLong => ("too-long", None, None),
        };
        out.push_str(",\"followed\":{\"end\":\"");
        out.push_str(end);
        out.push_str("\",\"again\":");
        self::number(again, out);
        out.push_str(",\"why\":");
        optional(why, out);
        out.push_str("}}");
    }

    fn sender(&self, sender: Option<&Process>, out: &mut String) {
        let Some(process) = sender else { return out.push_str("null") };
        out.push_str("{\"pid\":");
        number(Some(process.pid), out);
        out.push_str(",\"name\":");
        text(&process.name, out);
        out.push_str(",\"uid\":");
        number(Some(process.uid), out);
        out.push_str(",\"container\":");
        optional(process.container.as_deref(), out);
        out.push('}');
    }

    fn members(&mut self, story: Story<'_, '_>, out: &mut String) {
        let Story { question, trace } = story;
        packet(question, &trace.packet, out);
        out.push_str(",\"verdict\":\"");
        out.push_str(trace.verdict().word());
        out.push('"');
        let only = match trace.outcomes.as_slice() {
            [only] => Some(only),
            _ => None,
        };
        match only {
            Some(only) => self.reached(only, out),
            None => out.push_str(",\"source\":null,\"destination\":null,\"interface\":null,\"receiver\":null"),
        }
        out.push_str(",\"path\":[");
        let path = match only {
            Some(only) => steps(self.teller, only, self.all),
            None => merged(self.teller, trace, self.all),
        };
        for (number, step) in path.iter().enumerate() {
            comma(number, out);
            self.step(step, out);
        }
        out.push_str("],\"outcomes\":[");
        for (number, outcome) in trace.outcomes.iter().enumerate() {
            comma(number, out);
            out.push_str("{\"verdict\":\"");
            out.push_str(outcome.verdict.word());
            out.push('"');
            self.reached(outcome, out);
            out.push_str(",\"because\":");
            let because = match (&outcome.why, only) {
                (None, None) => supposed(trace, outcome),
                _ => sentence(self.teller, trace, outcome),
            };
            text(&because, out);
            out.push_str(",\"rule\":");
            match &outcome.rule {
                Some(rule) => self::rule(rule, out),
                None => out.push_str("null"),
            }
            out.push_str(",\"routes\":[");
            for (at, routed) in outcome.routed.iter().enumerate() {
                comma(at, out);
                route(routed, out);
            }
            out.push_str("]}");
        }
        out.push_str("],\"uncertain\":[");
        for (number, doubt) in trace.doubts.iter().enumerate() {
            comma(number, out);
            out.push_str("{\"rule\":");
            match &doubt.rule {
                Some(rule) => self::rule(rule, out),
                None => out.push_str("null"),
            }
            out.push_str(",\"why\":");
            text(&doubted(self.teller, trace, doubt), out);
            out.push('}');
        }
        if trace.same_in_any_order {
            comma(trace.doubts.len(), out);
            out.push_str("{\"rule\":null,\"why\":");
            text(super::text::SAME_IN_ANY_ORDER, out);
            out.push('}');
        }
        out.push_str("],\"assumed\":[");
        for (number, assumed) in trace.assumed.iter().enumerate() {
            comma(number, out);
            text(&assumed.to_string(), out);
        }
        out.push(']');
    }

    /// Where it comes to: `source`, `destination`, `interface`, `receiver`.
    fn reached(&self, outcome: &Outcome<'_>, out: &mut String) {
        let packet = &outcome.packet;
        out.push_str(",\"source\":");
        endpoint(packet.source, packet.source_port, out);
        out.push_str(",\"destination\":");
        endpoint(packet.destination, packet.destination_port, out);
        out.push_str(",\"interface\":");
        interface(packet, out);
        out.push_str(",\"receiver\":");
        match outcome.receivers.as_slice() {
            [] => out.push_str("null"),
            [first, ..] => self.receiver(first, outcome.receivers.len(), out),
        }
    }

    fn receiver(&self, socket: &Socket, one_of: usize, out: &mut String) {
        let owner = self.teller.owner(socket);
        out.push_str("{\"local\":");
        endpoint(Known::Is(socket.local.address), Known::Is(socket.local.port), out);
        out.push_str(",\"pid\":");
        number(owner.map(|process| process.pid), out);
        out.push_str(",\"name\":");
        optional(owner.map(|process| process.name.as_str()), out);
        out.push_str(",\"uid\":");
        number(Some(socket.uid), out);
        out.push_str(",\"container\":");
        optional(owner.and_then(|process| process.container.as_deref()), out);
        out.push_str(",\"one_of\":");
        number(u32::try_from(one_of).ok(), out);
        out.push('}');
    }

    fn step(&mut self, step: &Step<'_>, out: &mut String) {
        let Some(at) = self.teller.rules.at(step.met.place) else { return out.push_str("null") };
        let (rule, action) = self.rules.entry(step.met.place).or_insert_with(|| {
            let (mut named, mut does) = (String::new(), String::new());
            self::rule(&name(&at), &mut named);
            optional(Some(action(&at).as_str()).filter(|action| !action.is_empty()), &mut does);
            (named, does)
        });
        out.push_str("{\"hook\":\"");
        out.push_str(step.met.hook.word());
        out.push_str("\",\"rule\":");
        out.push_str(rule);
        out.push_str(match step.matched {
            Some(true) => ",\"matched\":true,\"action\":",
            Some(false) => ",\"matched\":false,\"action\":",
            None => ",\"matched\":null,\"action\":",
        });
        out.push_str(action);
        out.push_str(",\"change\":");
        let quoted = out.len();
        out.push('"');
        push_change(out, step.met.before, step.met.after);
        if out.len() == quoted + 1 {
            out.truncate(quoted);
            out.push_str("null");
        } else {
            out.push('"');
        }
        if self.all {
            let reasons = self.teller.reasons();
            let why = match step.matched {
                Some(true) => None,
                Some(false) => reasons.why_not(&at, step.met.before),
                None => reasons.why_unknown(&at, step.met.before),
            };
            out.push_str(",\"why\":");
            optional(why.as_deref(), out);
        }
        out.push('}');
    }
}

/// The packet that was asked about, with what was worked out of it.
fn packet(question: &Question, packet: &Packet, out: &mut String) {
    out.push_str("\"packet\":{\"direction\":\"");
    out.push_str(if question.incoming { "in" } else { "out" });
    out.push_str("\",\"protocol\":\"");
    out.push_str(&asked::name(question.protocol));
    out.push_str("\",\"source\":");
    endpoint(packet.source, packet.source_port, out);
    out.push_str(",\"destination\":");
    endpoint(
        packet.destination,
        if asked::has_ports(question.protocol) { packet.destination_port } else { Known::Absent },
        out,
    );
    let known = |id: Known<u32>| if let Known::Is(id) = id { Some(id) } else { None };
    out.push_str(",\"uid\":");
    number(known(packet.uid), out);
    out.push_str(",\"gid\":");
    number(known(packet.gid), out);
    out.push_str(",\"groups\":");
    match &question.groups {
        None => out.push_str("null"),
        Some(groups) => {
            out.push('[');
            for (at, group) in groups.iter().enumerate() {
                comma(at, out);
                number(Some(*group), out);
            }
            out.push(']');
        }
    }
    out.push_str(",\"mark\":");
    number(Some(question.mark), out);
    out.push_str(",\"interface\":");
    interface(packet, out);
    out.push_str(",\"state\":");
    optional(state_word(packet), out);
    out.push('}');
}

fn comma(at: usize, out: &mut String) {
    if at > 0 {
        out.push(',');
    }
}

fn number(number: Option<u32>, out: &mut String) {
    match number {
        Some(number) => digits(out, number),
        None => out.push_str("null"),
    }
}

fn optional(value: Option<&str>, out: &mut String) {
    match value {
        Some(value) => text(value, out),
        None => out.push_str("null"),
    }
}

/// A text of JSON. What steers a terminal is written as its number there.
fn text(value: &str, out: &mut String) {
    let plain = |letter: char| matches!(letter, ' ' | '!' | '#'..='[' | ']'..='~' | '→');
    let quickly = |byte: u8| matches!(byte, b' ' | b'!' | b'#'..=b'[' | b']'..=b'~');
    if value.bytes().all(quickly) || value.chars().all(plain) {
        out.push('"');
        out.push_str(value);
        out.push('"');
    } else {
        out.push_str(&documents::line(&Value::String(value.to_owned())));
    }
}

fn endpoint(address: Known<IpAddr>, port: Known<u16>, out: &mut String) {
    if let Known::Is(_) = address {
        out.push('"');
        end(out, address, port);
        out.push('"');
    } else {
        out.push_str("null");
    }
}

fn interface(packet: &Packet, out: &mut String) {
    match (&packet.output, &packet.input) {
        (Known::Is(device), _) | (_, Known::Is(device)) => text(device.as_str(), out),
        _ => out.push_str("null"),
    }
}

/// A choice of route.
fn route(routed: &Routed, out: &mut String) {
    out.push_str("{\"behind\":");
    optional(routed.behind.map(Hook::word), out);
    out.push_str(",\"kind\":\"");
    out.push_str(kind_word(routed.kind));
    out.push_str("\",\"interface\":");
    match &routed.device {
        Known::Is(device) => text(device.as_str(), out),
        _ => out.push_str("null"),
    }
    out.push_str(",\"gateway\":");
    endpoint(Known::from_option(routed.gateway), Known::Absent, out);
    out.push_str(",\"source\":");
    endpoint(routed.source, Known::Absent, out);
    out.push_str(",\"table\":");
    number(routed.table, out);
    out.push_str(",\"priority\":");
    number(routed.rule, out);
    out.push('}');
}

fn rule(rule: &RuleRef, out: &mut String) {
    let RuleRef { backend, family, table, chain, number } = rule;
    for (before, word) in [("{\"backend\":\"", backend.word()), ("\",\"family\":\"", family.word())] {
        out.push_str(before);
        out.push_str(word);
    }
    out.push_str("\",\"table\":");
    text(table, out);
    out.push_str(",\"chain\":");
    text(chain, out);
    out.push_str(",\"number\":");
    self::number(u32::try_from(*number).ok(), out);
    out.push('}');
}
