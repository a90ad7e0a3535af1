//! What fills the table of tracked connections, for people and as `nslens.flows-summary/v1`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::lines::aligned;
use super::{named, word};
use crate::analysis::tracked::{Count, Tracked};
use crate::model::{CpuStatistics, Endpoint, Protocol, TableUse};
use crate::report::conns::Look;
use crate::report::escape::escape;

/// Destinations that people are shown, and that programs are.
const TOP: (usize, usize) = (10, 100);
/// Lines of states, ports and zones that people are shown.
const LINES: usize = 20;

/// What was counted, and what is known of the table beside it.
#[derive(Debug, Clone, Copy)]
pub struct Summary<'a> {
    /// What was counted.
    pub tracked: &'a Tracked,
    /// How full the namespace's table is; none of a file.
    pub table: Option<TableUse>,
    /// How full the node's is.
    pub node: Option<TableUse>,
    /// What the processors counted.
    pub statistics: &'a [CpuStatistics],
    /// How many connections helpers expect.
    pub expected: Option<usize>,
}

/// Counters that tell of trouble where they are not 0.
const TROUBLE: [&str; 6] = ["invalid", "insert_failed", "drop", "early_drop", "error", "chaintoolong"];

/// The summary for people.
#[must_use]
pub fn text(summary: &Summary<'_>, look: Look<'_>) -> String {
    let tracked = summary.tracked;
    let Count { flows, unanswered, redirected } = tracked.all;
    let mut out = format!(
        "{flows} tracked {}: {redirected} redirected to a port of this namespace, {unanswered} without an answer, {} IPv6\n",
        if flows == 1 { "connection" } else { "connections" },
        tracked.ipv6
    );
    out.push_str(&full(summary));
    let blocks = [destinations(tracked, look), states(tracked, look), ports(tracked, look), zones(tracked, look)];
    for block in blocks.iter().filter(|block| !block.is_empty()) {
        out.push('\n');
        out.push_str(block);
    }
    let sums = sums(summary.statistics);
    let trouble: Vec<String> = TROUBLE
        .iter()
        .filter_map(|name| sums.get(*name).filter(|sum| **sum > 0).map(|sum| format!("{name} {sum}")))
        .collect();
    if !trouble.is_empty() {
        out.push_str(&format!("\ncounted since the namespace was made: {}\n", trouble.join(", ")));
    }
    out
}

/// How full the tables are (K17: a pod's limit is the node's, its count its own).
fn full(summary: &Summary<'_>) -> String {
    let one = |whose: &str, table: TableUse| match table.limit {
        0 => format!("{whose} {} entries, without a limit", table.count),
        limit => format!("{whose} {} of {limit} entries ({})", table.count, percent(table.count, limit)),
    };
    let parts: Vec<String> = [("table:", summary.table), ("the node's own:", summary.node)]
        .into_iter()
        .filter_map(|(whose, table)| Some(one(whose, table?)))
        .collect();
    if parts.is_empty() { String::new() } else { format!("{}\n", parts.join("; ")) }
}

fn percent(part: u64, whole: u64) -> String {
    match (u128::from(part) * 100).checked_div(u128::from(whole)) {
        Some(0) if part > 0 => "< 1 %".to_owned(),
        Some(percent) => format!("{percent} %"),
        None => "-".to_owned(),
    }
}

/// A destination as it is written: without a port where there is none.
fn written(end: Endpoint) -> String {
    if end.port == 0 { end.address.to_string() } else { end.to_string() }
}

fn destinations(tracked: &Tracked, look: Look<'_>) -> String {
    let top = tracked.top(TOP.0);
    let least = if tracked.short() > 0 { "≥ " } else { "" };
    let row = |(protocol, end, count): &(Protocol, Endpoint, Count)| {
        [
            written(*end),
            word(*protocol),
            format!("{least}{}", count.flows),
            percent(count.flows, tracked.all.flows),
            count.redirected.to_string(),
            count.unanswered.to_string(),
        ]
    };
    let heading = ["DIALLED", "PROTO", "FLOWS", "SHARE", "REDIRECTED", "UNANSWERED"];
    let mut out = aligned(heading, top.iter().map(row), look);
    match tracked.destinations() {
        Some(all) if all > top.len() => out.push_str(&format!("and {} other destinations\n", all - top.len())),
        None => out.push_str(&format!(
            "more destinations than are counted one by one: these counts may be too low by up to {}\n",
            tracked.short()
        )),
        Some(_) => {}
    }
    out
}

fn states(tracked: &Tracked, look: Look<'_>) -> String {
    let mut states: Vec<_> = tracked.states.iter().collect();
    states.sort_by_key(|(_, count)| std::cmp::Reverse(count.flows));
    let row = |((protocol, state), count): &(&(Protocol, Option<_>), &Count)| {
        let state: Option<&str> = Option::as_ref(state).map(std::convert::AsRef::as_ref);
        [
            word(*protocol),
            state.map_or_else(|| "-".to_owned(), |state| escape(state).into_owned()),
            count.flows.to_string(),
            percent(count.flows, tracked.all.flows),
            count.unanswered.to_string(),
        ]
    };
    aligned(["PROTO", "STATE", "FLOWS", "SHARE", "UNANSWERED"], states.iter().take(LINES).map(row), look)
}

fn ports(tracked: &Tracked, look: Look<'_>) -> String {
    let mut ports: Vec<_> = tracked.ports.iter().collect();
    ports.sort_by_key(|(_, flows)| std::cmp::Reverse(**flows));
    let row = |(port, flows): &(&u16, &u64)| [port.to_string(), flows.to_string(), percent(**flows, tracked.all.flows)];
    aligned(["REDIRECTED TO PORT", "FLOWS", "SHARE"], ports.iter().take(LINES).map(row), look)
}

/// Only where there are several.
fn zones(tracked: &Tracked, look: Look<'_>) -> String {
    if tracked.zones.keys().all(|zone| *zone == 0) {
        return String::new();
    }
    let row = |(zone, flows): (&u16, &u64)| [zone.to_string(), flows.to_string(), percent(*flows, tracked.all.flows)];
    aligned(["ZONE", "FLOWS", "SHARE"], tracked.zones.iter().take(LINES).map(row), look)
}

/// Each counter over all processors.
fn sums(statistics: &[CpuStatistics]) -> BTreeMap<&str, u64> {
    let mut sums = BTreeMap::new();
    for (name, value) in statistics.iter().flat_map(|cpu| &cpu.counters) {
        *sums.entry(name.as_str()).or_default() += u64::from(*value);
    }
    sums
}

/// Adds the summary's own keys to a document.
pub fn json(summary: &Summary<'_>, document: &mut Map<String, Value>) {
    let tracked = summary.tracked;
    let protocol = |protocol: Protocol| named(protocol).map_or_else(|| json!(protocol.number()), |name| json!(name));
    let top: Vec<Value> = tracked
        .top(TOP.1)
        .into_iter()
        .map(|(of, end, count)| {
            json!({
                "protocol": protocol(of), "destination": written(end), "flows": count.flows,
                "unanswered": count.unanswered, "redirected": count.redirected,
            })
        })
        .collect();
    let states: Vec<Value> = tracked
        .states
        .iter()
        .map(|((of, state), count)| {
            json!({
                "protocol": protocol(*of), "state": state, "flows": count.flows,
                "unanswered": count.unanswered, "redirected": count.redirected,
            })
        })
        .collect();
    let ports: Vec<Value> = tracked.ports.iter().map(|(port, flows)| json!({ "port": port, "flows": flows })).collect();
    let zones: Vec<Value> = tracked.zones.iter().map(|(zone, flows)| json!({ "zone": zone, "flows": flows })).collect();
    let cpus: Vec<Value> = summary
        .statistics
        .iter()
        .map(|cpu| {
            let counters = cpu.counters.iter().map(|(name, value)| (name.clone(), json!(value)));
            let number = std::iter::once(("cpu".to_owned(), json!(cpu.cpu)));
            Value::Object(number.chain(counters).collect())
        })
        .collect();
    let all = tracked.all;
    let keys = [
        ("flows", json!(all.flows)),
        ("unanswered", json!(all.unanswered)),
        ("redirected", json!(all.redirected)),
        ("ipv6", json!(tracked.ipv6)),
        ("dnat", json!(tracked.dnat)),
        ("snat", json!(tracked.snat)),
        ("table", json!(summary.table)),
        ("node_table", json!(summary.node)),
        ("destinations", json!(top)),
        ("destinations_total", json!(tracked.destinations())),
        ("destinations_short", json!(tracked.short())),
        ("states", json!(states)),
        ("proxy_ports", json!(ports)),
        ("zones", json!(zones)),
        ("statistics", json!(cpus)),
        ("expected", json!(summary.expected)),
    ];
    document.extend(keys.map(|(key, value)| (key.to_owned(), value)));
}
