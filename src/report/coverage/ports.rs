//! `coverage --ports`: whether what comes for a port at which somebody listens reaches him through a proxy, directly, or not at all.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::words::{People, ends, new_destination};
use crate::analysis::coverage::{Class, Coverage, meets, usual};
use crate::analysis::trace::Verdict;
use crate::model::{Protocol, Snapshot, SocketState};
use crate::packet::number;
use crate::report::document::head;
use crate::report::escape::escape;
use crate::report::paint::{Label, Paint};

/// How one port is reached from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Protocol.
    pub protocol: Protocol,
    /// Family of the packets.
    pub ipv6: bool,
    /// Port.
    pub port: u16,
    /// Who listens there.
    pub listener: String,
    /// Through a proxy, directly, not at all; several where it hangs on who sends, or on what is not known.
    pub how: Vec<How>,
}

/// Protocol, family (IPv6), port, and who listens.
type Place = (u8, bool, u16, String);

/// A way to a port, or none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct How {
    /// `proxy`, `direct`, `local`, `no`, `undecided`.
    pub way: &'static str,
    /// In words.
    pub words: String,
}

/// How every port is reached at which somebody waits, by the addresses at which the workload is reached.
#[must_use]
pub fn reached(snapshot: &Snapshot, coverage: &Coverage<'_>) -> Vec<Reached> {
    let people = People::of(snapshot);
    let has_usual = |class: &&Class<'_>| meets(class, &usual(snapshot, &class.kind, &[]));
    let usual_ones: Vec<&Class<'_>> =
        coverage.classes.iter().filter(|class| class.kind.incoming).filter(has_usual).collect();
    let outer: Vec<IpAddr> = snapshot
        .interfaces
        .iter()
        .flatten()
        .filter(|interface| !interface.loopback && interface.up)
        .flat_map(|interface| interface.addresses.iter().map(|(address, _)| *address))
        .filter(|address| !matches!(address, IpAddr::V6(near) if near.is_unicast_link_local()))
        .collect();
    let mut found: BTreeMap<Place, Vec<How>> = BTreeMap::new();
    let waits = |state: SocketState| matches!(state, SocketState::Listen | SocketState::Unconnected);
    for socket in snapshot.sockets.iter().flatten().filter(|socket| waits(socket.state) && socket.local.port != 0) {
        for address in outer.iter().filter(|address| {
            let both = socket.local.address.is_unspecified() && socket.local.address.is_ipv6();
            both && socket.details.only_v6 != Some(true) || socket.local.address.is_ipv6() == address.is_ipv6()
        }) {
            let key = (socket.protocol.number(), address.is_ipv6(), socket.local.port, people.holder(socket));
            let hows = found.entry(key).or_default();
            if socket.local.address.is_loopback() {
                hows.push(How { way: "local", words: "from this workload alone: bound to loopback".to_owned() });
                continue;
            }
            hows.extend(ways(&usual_ones, (socket.protocol, *address, socket.local.port), &people));
        }
    }
    let one = |((number, ipv6, port, listener), mut how): (Place, Vec<How>)| {
        how.sort();
        how.dedup();
        Reached { protocol: Protocol::from_number(number), ipv6, port, listener, how }
    };
    found.into_iter().map(one).collect()
}

/// What becomes of what comes from outside for this end. What the kernel itself refuses, whoever listens, is left out.
fn ways(usual: &[&Class<'_>], (protocol, address, port): (Protocol, IpAddr, u16), people: &People<'_>) -> Vec<How> {
    let holds = |class: &&Class<'_>| {
        let kind = &class.kind;
        let own = kind.incoming && kind.protocol == Some(protocol) && kind.ipv6 == address.is_ipv6();
        let area = &class.area;
        let has = |values: &[_], number| crate::analysis::coverage::holds(values, number);
        own && has(&area.destinations, number(address)) && has(&area.ports, port.into())
    };
    let mut found = Vec::new();
    for class in usual.iter().copied().filter(holds) {
        for outcome in &class.outcomes {
            let moved = new_destination(outcome).is_some() || outcome.taken;
            let way = match outcome.verdict {
                Verdict::Dropped | Verdict::Rejected if outcome.rule.is_none() => continue,
                Verdict::Delivered if moved => "proxy",
                Verdict::Delivered => "direct",
                Verdict::Sent | Verdict::Refused | Verdict::Dropped | Verdict::Rejected => "no",
                Verdict::Undecided => "undecided",
            };
            let rule =
                outcome.rule.as_ref().map(|rule| format!(", by {}", escape(&rule.to_string()))).unwrap_or_default();
            let words = match way {
                "direct" => format!("directly{rule}"),
                "proxy" => format!("through the proxy {}{rule}", ends(&class.outcomes, people)),
                "no" => format!("not at all: {}{rule}", ends(&class.outcomes, people)),
                _ => ends(&class.outcomes, people),
            };
            found.push(How { way, words });
        }
    }
    found
}

/// The table.
#[must_use]
pub fn ports(reached: &[Reached], paint: Paint) -> String {
    let mut out = String::new();
    for one in reached {
        let family = if one.ipv6 { "IPv6" } else { "IPv4" };
        let protocol = one.protocol.to_string().to_uppercase();
        let name = format!("{protocol} {:<5} {family}", one.port);
        out.push_str(&format!("{}  {}\n", paint.text(Label::Name, &name), one.listener));
        for how in &one.how {
            let label = match how.way {
                "proxy" => Label::Redirect,
                "no" => Label::Dropped,
                "undecided" => Label::Warning,
                _ => Label::Exempt,
            };
            out.push_str(&format!("    {}\n", paint.text(label, &how.words)));
        }
    }
    out
}

/// The document.
#[must_use]
pub fn ports_document(snapshot: &Snapshot, reached: &[Reached]) -> Map<String, Value> {
    let mut document = head("nslens.coverage.ports/v1", snapshot);
    let ports = reached.iter().map(|one| {
        json!({
            "protocol": one.protocol.to_string(),
            "family": if one.ipv6 { "ip6" } else { "ip" },
            "port": one.port,
            "listener": one.listener,
            "reached": one.how.iter().map(|how| json!({"way": how.way, "words": how.words})).collect::<Vec<_>>(),
        })
    });
    document.insert("ports".to_owned(), ports.collect());
    document
}
