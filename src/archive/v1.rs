//! The first version of snapshot files. Its form is never changed, only added to: every later nslens reads it.
//!
//! Rules that iptables can express are stored as iptables-save writes them: the one form of them that will not change, and that a
//! person can read. Those of nf_tables are stored expression by expression.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ArchiveError, SCHEMA};
use crate::model::{
    Backend, Body, Chain, Counters, Extra, Family, Flow, FlowTable, Hook, IdMaps, Interface, IpSet, LockHolder,
    NativeObject, NativeRule, NativeSet, OtherSocket, Policy, Process, Resolver, Routing, Rule, Ruleset, Settings,
    Snapshot, Socket, Syntax, Table, TrackingState, Unread, Workload,
};
use crate::syntax::parse_body;

/// Rules that a snapshot may have: understood, each takes far more memory than its text. The largest nodes have a tenth of it.
const MOST_RULES: usize = 1 << 21;

/// What every document has, read before anything else of it.
#[derive(Deserialize)]
struct Head {
    schema: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct File {
    schema: String,
    node: String,
    taken: u64,
    asked: String,
    workload: Workload,
    rulesets: Option<Vec<FileRuleset>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ipsets: Vec<IpSet>,
    sockets: Option<Vec<Socket>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    other_sockets: Option<Vec<OtherSocket>>,
    flows: Option<Vec<Flow>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tracking: Option<TrackingState>,
    processes: Option<Vec<Process>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ids: Option<IdMaps>,
    interfaces: Option<Vec<Interface>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    node_addresses: Vec<std::net::IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    routes: Option<Routing>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resolver: Option<Resolver>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settings: Option<Settings>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    resolvers: Vec<(String, Resolver)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    programs: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lsm: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lock_holder: Option<LockHolder>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node_state: Option<Box<File>>,
    unread: Vec<Unread>,
}

#[derive(Serialize, Deserialize)]
struct FileRuleset {
    backend: Backend,
    family: Family,
    tables: Vec<FileTable>,
}

#[derive(Serialize, Deserialize)]
struct FileTable {
    name: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    dormant: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    handle: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    chains: Vec<FileChain>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sets: Vec<NativeSet>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    ipsets: BTreeMap<u16, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    objects: Vec<NativeObject>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    flow_tables: Vec<FileFlowTable>,
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    extra: Extra,
}

/// At first only its name was kept.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum FileFlowTable {
    Name(String),
    Whole(FlowTable),
}

#[derive(Serialize, Deserialize)]
struct FileChain {
    name: String,
    syntax: Syntax,
    kind: Option<String>,
    hook: Option<Hook>,
    priority: Option<i32>,
    policy: Option<Policy>,
    counters: Option<Counters>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    handle: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    devices: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    extra: Extra,
    rules: Vec<FileRule>,
}

/// Either `text` or `nft` is there; beside `text` may stand what nf_tables holds for it.
#[derive(Serialize, Deserialize)]
struct FileRule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nft: Option<Box<NativeRule>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    native: Option<Box<NativeRule>>,
    counters: Option<Counters>,
    handle: Option<u64>,
}

pub(super) fn write(snapshot: &Snapshot, out: &mut dyn Write) -> std::io::Result<()> {
    serde_json::to_writer_pretty(out, &file(snapshot)).map_err(Into::into)
}

fn file(snapshot: &Snapshot) -> File {
    File {
        schema: SCHEMA.to_owned(),
        node: snapshot.node.clone(),
        taken: snapshot.taken,
        asked: snapshot.asked.clone(),
        workload: snapshot.workload.clone(),
        rulesets: snapshot.rulesets.as_ref().map(|rulesets| rulesets.iter().map(file_ruleset).collect()),
        ipsets: snapshot.ipsets.clone(),
        sockets: snapshot.sockets.clone(),
        other_sockets: snapshot.other_sockets.clone(),
        flows: snapshot.flows.clone(),
        tracking: snapshot.tracking.clone(),
        processes: snapshot.processes.clone(),
        ids: snapshot.ids.clone(),
        interfaces: snapshot.interfaces.clone(),
        routes: snapshot.routes.clone(),
        node_addresses: snapshot.node_addresses.clone(),
        resolver: snapshot.resolver.clone(),
        settings: snapshot.settings.clone(),
        resolvers: snapshot.resolvers.clone(),
        programs: snapshot.programs.clone(),
        lsm: snapshot.lsm.clone(),
        lock_holder: snapshot.lock_holder.clone(),
        node_state: snapshot.node_state.as_deref().map(|node| Box::new(file(node))),
        unread: snapshot.unread.clone(),
    }
}

pub(super) fn read(text: &str) -> Result<Snapshot, ArchiveError> {
    let damaged = |error: serde_json::Error| ArchiveError::Damaged(error.to_string());
    let head: Head = serde_json::from_str(text).map_err(damaged)?;
    match head.schema.as_deref() {
        Some(SCHEMA) => {}
        Some(other) if other.starts_with("nslens.snapshot/") => return Err(ArchiveError::Version(other.to_owned())),
        Some(other) => return Err(ArchiveError::ForeignJson(other.to_owned())),
        None => return Err(ArchiveError::ForeignJson("not given".to_owned())),
    }
    let file: File = serde_json::from_str(text).map_err(damaged)?;
    if rules(&file) > MOST_RULES {
        return Err(ArchiveError::Damaged("it has more rules than this program takes into memory".to_owned()));
    }
    snapshot(file)
}

/// How many rules it has, those of the node with them.
fn rules(file: &File) -> usize {
    let tables = file.rulesets.iter().flatten().flat_map(|ruleset| &ruleset.tables);
    let own: usize = tables.flat_map(|table| &table.chains).map(|chain| chain.rules.len()).sum();
    own.saturating_add(file.node_state.as_deref().map_or(0, rules))
}

fn snapshot(file: File) -> Result<Snapshot, ArchiveError> {
    let node_state = file.node_state.map(|node| snapshot(*node)).transpose()?;
    let rulesets: Option<Result<Vec<Ruleset>, ArchiveError>> =
        file.rulesets.map(|rulesets| rulesets.into_iter().map(ruleset).collect());
    Ok(Snapshot {
        node: file.node,
        taken: file.taken,
        asked: file.asked,
        workload: file.workload,
        rulesets: rulesets.transpose()?,
        ipsets: file.ipsets,
        sockets: file.sockets,
        other_sockets: file.other_sockets,
        flows: file.flows,
        tracking: file.tracking,
        processes: file.processes,
        ids: file.ids,
        interfaces: file.interfaces,
        routes: file.routes,
        node_addresses: file.node_addresses,
        resolver: file.resolver,
        settings: file.settings,
        resolvers: file.resolvers,
        programs: file.programs,
        lsm: file.lsm,
        lock_holder: file.lock_holder,
        node_state: node_state.map(Arc::new),
        unread: file.unread,
    })
}

fn file_ruleset(ruleset: &Ruleset) -> FileRuleset {
    let table = |table: &Table| FileTable {
        name: table.name.clone(),
        dormant: table.dormant,
        handle: table.handle,
        comment: table.comment.clone(),
        chains: table.chains.iter().map(file_chain).collect(),
        sets: table.sets.clone(),
        ipsets: table.ipsets.clone(),
        objects: table.objects.clone(),
        flow_tables: table.flow_tables.iter().cloned().map(FileFlowTable::Whole).collect(),
        extra: table.extra.clone(),
    };
    FileRuleset { backend: ruleset.backend, family: ruleset.family, tables: ruleset.tables.iter().map(table).collect() }
}

fn file_chain(chain: &Chain) -> FileChain {
    let rule = |rule: &Rule| {
        let (text, nft) = match &rule.body {
            Body::Xt(body) => (Some(body.options()), None),
            Body::Nft(body) => (None, Some(body.clone())),
        };
        FileRule { text, nft, native: rule.native.clone(), counters: rule.counters, handle: rule.handle }
    };
    FileChain {
        name: chain.name.clone(),
        syntax: chain.syntax,
        kind: chain.kind.clone(),
        hook: chain.hook,
        priority: chain.priority,
        policy: chain.policy,
        counters: chain.counters,
        handle: chain.handle,
        devices: chain.devices.clone(),
        comment: chain.comment.clone(),
        extra: chain.extra.clone(),
        rules: chain.rules.iter().map(rule).collect(),
    }
}

fn ruleset(stored: FileRuleset) -> Result<Ruleset, ArchiveError> {
    let ipv6 = stored.family == Family::Ip6;
    let tables: Result<Vec<Table>, ArchiveError> =
        stored.tables.into_iter().map(|stored| table(stored, ipv6)).collect();
    Ok(Ruleset { backend: stored.backend, family: stored.family, tables: tables? })
}

fn table(mut stored: FileTable, ipv6: bool) -> Result<Table, ArchiveError> {
    let names: HashSet<String> = stored.chains.iter().map(|chain| chain.name.clone()).collect();
    let mut chains = Vec::with_capacity(stored.chains.len());
    for chain in std::mem::take(&mut stored.chains) {
        let mut rules = Vec::with_capacity(chain.rules.len());
        for (index, stored) in chain.rules.into_iter().enumerate() {
            let damaged =
                |why: &str| ArchiveError::Damaged(format!("rule {} of chain {}: {why}", index + 1, chain.name));
            let body = match (stored.text, stored.nft) {
                (Some(text), None) => {
                    parse_body(&text, ipv6, &|name| names.contains(name)).map_err(|why| damaged(&why))?
                }
                (None, Some(rule)) => Body::Nft(rule),
                _ => return Err(damaged("it says nothing, or two things")),
            };
            rules.push(Rule { counters: stored.counters, handle: stored.handle, body, native: stored.native });
        }
        chains.push(Chain {
            name: chain.name,
            syntax: chain.syntax,
            kind: chain.kind,
            hook: chain.hook,
            priority: chain.priority,
            policy: chain.policy,
            counters: chain.counters,
            handle: chain.handle,
            devices: chain.devices,
            comment: chain.comment,
            extra: chain.extra,
            rules,
            saved: None,
        });
    }
    let FileTable { name, dormant, handle, comment, sets, ipsets, objects, flow_tables, extra, .. } = stored;
    let flow_tables = flow_tables
        .into_iter()
        .map(|stored| match stored {
            FileFlowTable::Name(name) => FlowTable { name, ..FlowTable::default() },
            FileFlowTable::Whole(table) => table,
        })
        .collect();
    Ok(Table { name, handle, comment, dormant, chains, sets, ipsets, objects, flow_tables, extra, ..Table::default() })
}
