//! Flows as `nslens.flows/v1` has them. Texts are data here and not escaped beyond what JSON itself wants.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::time::{Duration, UNIX_EPOCH};

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::named;
use crate::model::{
    Adjustment, Endpoint, Expectation, Flow, Icmp, Protocol, Side, SynProxy, TcpSide, Transport, Tuple, UnknownPart,
};
use crate::report::document;
use crate::report::layout::OneLine;

/// One element of `flows[]`. What an entry does not have is left out, but for the keys that every one has.
#[derive(Debug, Serialize)]
struct Row<'a> {
    id: u32,
    protocol: Name,
    state: Option<&'a str>,
    original: Ends<'a>,
    reply: Ends<'a>,
    status: Words<'a>,
    mark: u32,
    zone: u16,
    timeout: Option<u32>,
    packets: Option<u64>,
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
    #[serde(skip_serializing_if = "<[u16]>::is_empty")]
    labels: &'a [u16],
    #[serde(skip_serializing_if = "Option::is_none")]
    helper: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    security: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    synproxy: Option<&'a SynProxy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    master: Option<Announced>,
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    holders: Option<u32>,
    #[serde(skip_serializing_if = "<[UnknownPart]>::is_empty")]
    unknown: &'a [UnknownPart],
}

/// One direction.
#[derive(Debug, Serialize)]
struct Ends<'a> {
    source: End,
    destination: End,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp: Option<Icmp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<(u16, u16)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<&'a Adjustment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window_scale: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<Vec<Cow<'static, str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vtag: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handshake_sequence: Option<u64>,
}

/// One direction of another connection.
#[derive(Debug, Serialize)]
struct Announced {
    protocol: Name,
    source: End,
    destination: End,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp: Option<Icmp>,
}

/// A protocol by its name, else by its number.
#[derive(Debug)]
struct Name(Protocol);

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match named(self.0) {
            Some(name) => serializer.serialize_str(name),
            None => serializer.serialize_u8(self.0.number()),
        }
    }
}

/// An end, with its port where there are ports.
#[derive(Debug)]
enum End {
    Whole(Endpoint),
    Address(Endpoint),
}

impl Serialize for End {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Whole(end) => serializer.collect_str(end),
            Self::Address(end) => serializer.collect_str(&end.address),
        }
    }
}

#[derive(Debug)]
struct Words<'a>(&'a Flow);

impl Serialize for Words<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        self.0.status_words().try_for_each(|word| list.serialize_element(&word))?;
        list.end()
    }
}

/// Writes a flow on a line of its own.
///
/// # Errors
/// The writer's own.
pub fn write_line(flow: &Flow, out: &mut impl Write) -> io::Result<()> {
    row(flow).serialize(&mut serde_json::Serializer::with_formatter(&mut *out, OneLine))?;
    out.write_all(b"\n")
}

/// Where the flows of a document come from, and what is known once they have come.
pub trait Listing {
    /// Gives one flow after the other, until it is told to stop.
    fn each(&mut self, take: &mut dyn FnMut(&Flow) -> ControlFlow<()>);

    /// The document's last keys, asked for after the flows.
    fn rest(&mut self) -> Map<String, Value>;
}

/// Writes a document whose `flows` stand behind the keys of its `head`, each as it comes: so that memory does not grow with them.
///
/// # Errors
/// The writer's own.
pub fn write_document(head: &Map<String, Value>, listing: &mut dyn Listing, out: &mut dyn Write) -> io::Result<()> {
    document::write(&Document { head, listing: RefCell::new(listing) }, out)
}

/// Values are written by reference, and a listing gives what it has once.
struct Document<'a> {
    head: &'a Map<String, Value>,
    listing: RefCell<&'a mut dyn Listing>,
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entries = serializer.serialize_map(None)?;
        self.head.iter().try_for_each(|(key, value)| entries.serialize_entry(key, value))?;
        entries.serialize_entry("flows", &Flows(&self.listing))?;
        let rest = self.listing.borrow_mut().rest();
        rest.iter().try_for_each(|(key, value)| entries.serialize_entry(key, value))?;
        entries.end()
    }
}

struct Flows<'a, 'b>(&'a RefCell<&'b mut dyn Listing>);

impl Serialize for Flows<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        let mut outcome = Ok(());
        self.0.borrow_mut().each(&mut |flow| {
            outcome = list.serialize_element(&row(flow));
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        outcome.and_then(|()| list.end())
    }
}

/// The value of the document's key `flows`.
#[must_use]
pub fn rows(flows: &[Flow]) -> Value {
    // Rows have text keys and whole numbers only, which is all that could fail.
    flows.iter().map(|flow| serde_json::to_value(row(flow)).unwrap_or_default()).collect()
}

/// The value of the document's key `expectations`.
#[must_use]
pub fn expectations(expected: &[Expectation]) -> Value {
    let element = |one: &Expectation| {
        let (direction, translated) = one.translated.unzip();
        serde_json::json!({
            "id": one.id,
            "helper": one.helper,
            "master": announced(&one.master),
            "expected": announced(&one.expected),
            "mask": announced(&one.mask),
            "timeout": one.timeout,
            "zone": one.zone,
            "flags": one.flags,
            "class": one.class,
            "translated": translated.as_ref().map(announced),
            "direction": direction,
            "function": one.function,
            "unknown": one.unknown,
        })
    };
    expected.iter().map(element).collect()
}

fn row(flow: &Flow) -> Row<'_> {
    let details = &flow.details;
    let (mut original, mut reply) =
        (ends(flow, flow.original, &details.original), ends(flow, flow.reply, &details.reply));
    match &details.transport {
        Some(Transport::Tcp { original: one, reply: other }) => {
            let flags = |side: &TcpSide| side.flags.map(|_| side.words().collect());
            (original.window_scale, reply.window_scale) = (one.scale, other.scale);
            (original.flags, reply.flags) = (flags(one), flags(other));
        }
        Some(Transport::Sctp { original: one, reply: other }) => (original.vtag, reply.vtag) = (*one, *other),
        Some(Transport::Dccp { role, handshake }) => {
            (original.role, original.handshake_sequence) = (*role, *handshake);
        }
        None => {}
    }
    Row {
        id: flow.id,
        protocol: Name(flow.protocol),
        state: flow.state.as_deref(),
        original,
        reply,
        status: Words(flow),
        mark: flow.mark,
        zone: flow.zone,
        timeout: flow.timeout,
        packets: flow.packets,
        bytes: flow.bytes,
        started: details.started.map(date),
        stopped: details.stopped.map(date),
        labels: &details.labels,
        helper: details.helper.as_deref(),
        security: details.security.as_deref(),
        synproxy: details.synproxy.as_deref(),
        master: details.master.as_deref().map(announced),
        holders: details.holders,
        unknown: &details.unknown,
    }
}

fn ends<'a>(flow: &Flow, (source, destination): (Endpoint, Endpoint), side: &'a Side) -> Ends<'a> {
    const GRE: u8 = 47;
    let written = if flow.has_ports() { End::Whole } else { End::Address };
    Ends {
        source: written(source),
        destination: written(destination),
        zone: side.zone,
        icmp: side.icmp,
        keys: (flow.protocol.number() == GRE).then_some((source.port, destination.port)),
        packets: side.counted.map(|(packets, _)| packets),
        bytes: side.counted.map(|(_, bytes)| bytes),
        sequence: side.adjusted.as_deref(),
        window_scale: None,
        flags: None,
        vtag: None,
        role: None,
        handshake_sequence: None,
    }
}

fn announced(tuple: &Tuple) -> Announced {
    Announced {
        protocol: Name(tuple.protocol),
        source: End::Whole(tuple.source),
        destination: End::Whole(tuple.destination),
        zone: tuple.zone,
        icmp: tuple.icmp,
    }
}

/// Nanoseconds after 1970 as a date: as a number it would be larger than JSON's readers take without loss.
pub(super) fn date(nanoseconds: u64) -> String {
    humantime::format_rfc3339_nanos(UNIX_EPOCH + Duration::from_nanos(nanoseconds)).to_string()
}
