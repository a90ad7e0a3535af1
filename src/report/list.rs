//! Workloads in a list: for a screen, one a line for other programs, and as JSON; and the endpoints that told of them.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use serde_json::{Value, json};

use super::escape::escape;
use super::paint::{Label, Paint};
use super::wrap::wrap;
use crate::analysis::mesh::{Mesh, claimed};
use crate::analysis::overview::Overview;
use crate::model::{Kind, Workload};

/// One workload.
#[derive(Debug)]
pub struct Line<'a> {
    /// Who it is.
    pub workload: &'a Workload,
    /// Its state where it does not run.
    pub stopped: Option<&'a str>,
    /// What holds a namespace that belongs to no container.
    pub holders: Vec<String>,
    /// What is in its namespace, or why that is not known.
    pub overview: Result<&'a Overview, String>,
    /// The reason is that a right is missing.
    pub refused: bool,
}

/// How a list looks.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// With a line of headings.
    pub headings: bool,
    /// Characters in a line.
    pub width: usize,
    /// Colours.
    pub paint: Paint,
}

/// Characters that the columns behind the names take with the blanks before them.
const FIGURES: usize = 40;

/// Two lines each: what one looks for and the figures, then what else is known.
#[must_use]
pub fn table(lines: &[Line<'_>], look: Look) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let namespace = |line: &Line<'_>| or_dash(line.workload.namespace.as_deref());
    // One long name would push all figures out of the screen: it has a line of its own.
    let is_long =
        |line: &Line<'_>| namespace(line).chars().count() + word(line.workload).chars().count() + FIGURES > look.width;
    let rows = lines.iter().map(|line| {
        let [rules, connections] = figures(line);
        let name = if is_long(line) { [String::new(), String::new()] } else { [namespace(line), word(line.workload)] };
        [name.to_vec(), vec![pid(line), backends(line), rules, connections]].concat()
    });
    let heading = ["NAMESPACE", "NAME", "PID", "BACKENDS", "RULES", "CONNS"];
    let text = aligned(&heading, rows, &[2, 4, 5], look.headings);
    let mut out = String::new();
    let mut text = text.lines();
    if look.headings
        && let Some(heading) = text.next()
    {
        out.push_str(&format!("{}\n", look.paint.text(Label::Dim, heading)));
    }
    for (line, text) in lines.iter().zip(text) {
        let label = if line.stopped.is_some() { Label::Dim } else { Label::Name };
        if is_long(line) {
            let name = format!("{}  {}", namespace(line), word(line.workload));
            out.push_str(&format!("{}\n", look.paint.text(label, &name)));
        }
        out.push_str(&format!("{}\n", look.paint.text(label, text)));
        for (label, facts) in facts(line) {
            for part in wrap(&facts, look.width.saturating_sub(2)) {
                out.push_str(&format!("  {}\n", look.paint.text(label, &part)));
            }
        }
    }
    out
}

/// One line each with everything, `-` where there is nothing.
#[must_use]
pub fn wide(lines: &[Line<'_>], look: Look) -> String {
    let heading =
        ["NAMESPACE", "NAME", "KIND", "CONTAINERS", "RUNTIME", "PID", "NETNS", "BACKENDS", "RULES", "CONNS", "REMARKS"];
    if lines.is_empty() {
        return String::new();
    }
    let rows = lines.iter().map(|line| {
        let workload = line.workload;
        let [rules, connections] = figures(line);
        vec![
            or_dash(workload.namespace.as_deref()),
            word(workload),
            workload.kind.word().to_owned(),
            or_dash(Some(containers(workload, ",", "").as_str())),
            or_dash(workload.runtime.as_deref()),
            pid(line),
            netns(line),
            backends(line),
            rules,
            connections,
            or_dash(Some(remarks(line, false).join("; ").as_str())),
        ]
    });
    let text = aligned(&heading, rows, &[5, 8, 9], look.headings);
    match text.split_once('\n').filter(|_| look.headings) {
        Some((heading, rest)) => format!("{}\n{rest}", look.paint.text(Label::Dim, heading)),
        None => text,
    }
}

/// One element of `workloads[]`.
#[must_use]
pub fn json(line: &Line<'_>) -> Value {
    let workload = line.workload;
    let overview = line.overview.as_ref().ok();
    let containers: Vec<Value> = workload
        .containers
        .iter()
        .map(|one| json!({"name": one.name, "id": one.id, "pid": one.pid, "state": one.state, "image": one.image}))
        .collect();
    let backends = overview.map(|overview| overview.backends.iter().map(|backend| backend.word()).collect::<Vec<_>>());
    json!({
        "kind": workload.kind.word(),
        "name": workload.name,
        "namespace": workload.namespace,
        "uid": workload.uid,
        "runtime": workload.runtime,
        "containers": containers,
        "pid": workload.pid,
        "netns": workload.netns,
        "host_network": workload.host_network,
        "mesh": mesh(line).map(Mesh::word),
        "backends": backends.unwrap_or_default(),
        "rules": overview.and_then(|overview| overview.rules),
        "connections": overview.and_then(|overview| overview.connections),
        "redirects": overview.and_then(|overview| overview.redirects),
        "labels": workload.labels,
        "inferred": workload.inferred,
        "held_by": line.holders,
        "stopped": line.stopped,
        "unread": overview.map(|overview| overview.unread.as_slice()).unwrap_or_default(),
        "error": line.overview.as_ref().err().filter(|_| line.stopped.is_none()),
    })
}

/// The mesh that its rules tell of, else that which its metadata claims.
fn mesh(line: &Line<'_>) -> Option<Mesh> {
    line.overview.as_ref().ok().and_then(|overview| overview.mesh).or_else(|| claimed(line.workload))
}

/// The word that picks a workload on the command line, but for `-n`.
pub(super) fn word(workload: &Workload) -> String {
    match workload.kind {
        Kind::Netns if workload.netns.is_none_or(|netns| netns.inode.to_string() == workload.name) => {
            escape(&format!("inode/{}", workload.name)).into_owned()
        }
        Kind::Netns => escape(&format!("netns/{}", workload.name)).into_owned(),
        Kind::Host => "host".to_owned(),
        _ => escape(&workload.name).into_owned(),
    }
}

fn containers(workload: &Workload, separator: &str, blank: &str) -> String {
    let names: Vec<_> = workload.containers.iter().map(|one| escape(&one.words()).replace(' ', blank)).collect();
    names.join(separator)
}

fn pid(line: &Line<'_>) -> String {
    or_dash(line.workload.pid.map(|pid| pid.to_string()).as_deref())
}

fn netns(line: &Line<'_>) -> String {
    or_dash(line.workload.netns.map(|netns| netns.inode.to_string()).as_deref())
}

fn backends(line: &Line<'_>) -> String {
    let Ok(overview) = &line.overview else { return unknown(line) };
    let mut words: Vec<_> = overview.backends.iter().map(|backend| backend.word()).collect();
    // Of what could not be read nobody knows whether it holds any.
    words.extend(overview.rules.is_none().then_some("?"));
    or_dash(Some(words.join(",").as_str()))
}

/// Rules and connections.
fn figures(line: &Line<'_>) -> [String; 2] {
    let figures = match &line.overview {
        Ok(overview) => [overview.rules, overview.connections],
        Err(_) => [None, None],
    };
    figures.map(|figure| figure.map_or_else(|| unknown(line), |figure| figure.to_string()))
}

/// What does not run has no figures; of what could not be read they are not known.
fn unknown(line: &Line<'_>) -> String {
    if line.stopped.is_some() { "-" } else { "?" }.to_owned()
}

/// The second line; what is wrong stands in one of its own.
fn facts(line: &Line<'_>) -> Vec<(Label, String)> {
    let workload = line.workload;
    let mut plain = Vec::new();
    match workload.kind {
        Kind::Pod => plain.extend(
            Some(containers(workload, ", ", " "))
                .filter(|names| !names.is_empty())
                .or(Some("no containers".to_owned())),
        ),
        Kind::Container => plain.push(workload.kind.word().to_owned()),
        _ => {}
    }
    plain.extend(workload.runtime.as_deref().map(|runtime| escape(runtime).into_owned()));
    let netns = workload.netns.map(|netns| netns.inode.to_string()).filter(|inode| *inode != workload.name);
    plain.extend(netns.map(|inode| format!("netns {inode}")));
    let broken = match &line.overview {
        Ok(overview) => !overview.unread.is_empty(),
        Err(_) => line.stopped.is_none(),
    };
    let mut facts = if broken {
        vec![(Label::Dim, plain.join(" · ")), (Label::Warning, remarks(line, true).join(" · "))]
    } else {
        vec![(Label::Dim, [plain, remarks(line, true)].concat().join(" · "))]
    };
    facts.retain(|(_, text)| !text.is_empty());
    facts
}

/// What is worth a remark; in `brief` what all lines share is left to a note.
fn remarks(line: &Line<'_>, brief: bool) -> Vec<String> {
    let mut remarks = Vec::new();
    remarks.extend(line.stopped.map(|state| format!("not running ({})", escape(state))));
    remarks.extend(line.workload.host_network.then(|| "host network".to_owned()));
    let redirects = line.overview.as_ref().ok().and_then(|overview| overview.redirects);
    remarks.extend(mesh(line).map(|mesh| mesh.word().to_owned()));
    remarks.extend((redirects == Some(true)).then(|| "redirects".to_owned()));
    let idle = redirects == Some(false) && mesh(line).is_some() && !line.workload.host_network;
    remarks.extend(idle.then(|| "redirects nothing".to_owned()));
    let mut sources: Vec<(&str, Vec<&str>)> = Vec::new();
    for (fact, source) in &line.workload.inferred {
        match sources.iter_mut().find(|(known, _)| known == source) {
            Some((_, facts)) => facts.push(fact),
            None => sources.push((source, vec![fact])),
        }
    }
    if brief {
        remarks.extend((!sources.is_empty()).then(|| "inferred".to_owned()));
    } else {
        let words = sources.iter().map(|(source, facts)| format!("{} from {source}", facts.join(", ")));
        remarks.extend(words.map(|words| escape(&words).into_owned()));
    }
    // Half the node lives in its own.
    let holders = if line.workload.kind == Kind::Host { &[] } else { line.holders.as_slice() };
    let (shown, more) = holders.split_at(holders.len().min(2));
    if !shown.is_empty() {
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        remarks.push(escape(&format!("held by {}{more}", shown.join(", "))).into_owned());
    }
    match &line.overview {
        Err(_) if brief && line.refused => remarks.push("not permitted".to_owned()),
        Err(error) if line.stopped.is_none() => remarks.push(escape(error).into_owned()),
        Ok(overview) => {
            let words =
                overview.unread.iter().map(|unread| format!("could not read {}: {}", unread.source, unread.error));
            remarks.extend(words.map(|words| escape(&words).into_owned()));
        }
        Err(_) => {}
    }
    remarks
}

/// Aligned columns, `right` of them to the right; lines are never broken.
pub(super) fn aligned(
    heading: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
    right: &[usize],
    headings: bool,
) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled).force_no_tty();
    if headings {
        table.set_header(heading);
    }
    table.add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn or_dash(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty()).map_or_else(|| "-".to_owned(), |text| escape(text).into_owned())
}
