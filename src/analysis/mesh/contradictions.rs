//! Where metadata, rules and processes do not say the same.

use super::profile::Setting;
use super::stated::Stated;
use super::{Captured, Expected, Lane, Mesh, Mode, Source, within};
use crate::model::{Kind, Snapshot, Subject};

/// What does not fit together. Whether it is a defect is for findings to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contradiction {
    /// Metadata names a mesh, and no rule that was read captures anything for it.
    RulesAbsent,
    /// Rules of a mesh are there, and the metadata, which is known, names none.
    MetadataSilent,
    /// Signs of another mesh too.
    AnotherMesh {
        /// Which.
        mesh: Mesh,
        /// By the name of its product.
        name: &'static str,
        /// Where from.
        source: Source,
    },
    /// Rules or metadata name a mesh, and none of its processes was found among all that run.
    ProxyAbsent,
    /// What metadata sets is not what the rules do.
    Setting {
        /// What it says.
        stated: Stated,
        /// What the rules do, in words.
        found: String,
    },
    /// The proxy that runs is not exempt by its user, by its group or by a mark.
    ProxyNotExempt {
        /// Its PID.
        pid: u32,
        /// Its user, as rules count.
        uid: u32,
    },
}

/// All of them.
pub(super) fn contradictions(snapshot: &Snapshot, expected: &Expected, known_processes: bool) -> Vec<Contradiction> {
    let mut found = Vec::new();
    let rules_read = snapshot.rulesets.is_some() && snapshot.unread_about(&[Subject::Rules]).next().is_none();
    let by = |source: Source| expected.because.iter().any(|because| because.source == source);
    if rules_read && by(Source::Metadata) && !by(Source::Rules) && expected.mode.is_none() {
        found.push(Contradiction::RulesAbsent);
    }
    let workload = &snapshot.workload;
    let told = workload.kind == Kind::Pod && workload.inferred.is_empty() && workload.runtime.is_some();
    if told && by(Source::Rules) && !by(Source::Metadata) {
        found.push(Contradiction::MetadataSilent);
    }
    if known_processes && expected.mesh.is_some() && expected.mesh != Some(Mesh::Custom) && expected.proxies.is_empty()
    {
        found.push(Contradiction::ProxyAbsent);
    }
    if expected.captures_something() {
        let differing = expected.stated.iter().filter_map(|stated| Some((stated, differs(expected, stated)?)));
        found.extend(differing.map(|(stated, found)| Contradiction::Setting { stated: stated.clone(), found }));
        not_exempt(expected, &mut found);
    }
    found
}

fn not_exempt(expected: &Expected, found: &mut Vec<Contradiction>) {
    let captured = expected.families.iter().any(|family| family.outbound.captured == Captured::All);
    if !captured || !expected.exempt.marks.is_empty() {
        return;
    }
    for proxy in expected.proxies.iter().filter(|proxy| !proxy.elsewhere) {
        if !within(&expected.exempt.uids, proxy.uid) && !within(&expected.exempt.gids, proxy.gid) {
            found.push(Contradiction::ProxyNotExempt { pid: proxy.pid, uid: proxy.uid });
        }
    }
}

/// What the rules do where they do not do what is said; `None` where they do, or where it cannot be told.
fn differs(expected: &Expected, stated: &Stated) -> Option<String> {
    let outbound =
        |expected: &Expected| expected.families.iter().map(|family| family.outbound.clone()).collect::<Vec<_>>();
    let inbound =
        |expected: &Expected| expected.families.iter().map(|family| family.inbound.clone()).collect::<Vec<_>>();
    let port = |lanes: Vec<Lane>| {
        let said = stated.number()?;
        let there: Vec<u16> = lanes.iter().filter_map(|lane| lane.port).collect();
        let differs = !there.is_empty() && there.iter().all(|port| u32::from(*port) != said);
        differs.then(|| format!("they send to port {}", words(&there)))
    };
    let id = |ranges: &std::collections::BTreeSet<(u32, u32)>| {
        let said = stated.number()?;
        let there: Vec<u32> = ranges.iter().map(|(from, _)| *from).collect();
        (!ranges.is_empty() && !within(ranges, said)).then(|| format!("they exempt {}", words(&there)))
    };
    match stated.setting {
        Setting::OutboundPort => port(outbound(expected)),
        Setting::InboundPort => port(inbound(expected)),
        Setting::Uid => id(&expected.exempt.uids),
        Setting::Gid => id(&expected.exempt.gids),
        Setting::ExcludedOutboundPorts => excluded(&outbound(expected), stated),
        Setting::ExcludedInboundPorts => excluded(&inbound(expected), stated),
        Setting::Mode => match (stated.value.trim(), expected.mode) {
            ("REDIRECT", Some(Mode::Tproxy)) => Some("they use TPROXY".to_owned()),
            ("TPROXY", Some(Mode::Redirect)) => Some("they use REDIRECT".to_owned()),
            _ => None,
        },
        Setting::Dns => {
            let captured = expected.families.iter().any(|family| family.dns.is_some());
            match (stated.switch(), captured) {
                (Some(true), false) => Some("no DNS query is captured".to_owned()),
                (Some(false), true) => Some("DNS queries are captured".to_owned()),
                _ => None,
            }
        }
        Setting::IncludedOutboundPorts
        | Setting::IncludedInboundPorts
        | Setting::ExcludedNetworks
        | Setting::IncludedNetworks => None,
    }
}

/// Ports that are said to be left alone, and that are captured.
fn excluded(lanes: &[Lane], stated: &Stated) -> Option<String> {
    let all: Vec<&Lane> = lanes.iter().filter(|lane| lane.captured == Captured::All).collect();
    let left_alone = |lane: &&&Lane, (from, to): (u16, u16)| {
        lane.excluded.ports.iter().any(|(first, last)| *first <= from && to <= *last)
    };
    let missing: Vec<u16> = stated
        .ports()?
        .into_iter()
        .filter(|range| all.iter().any(|lane| !left_alone(&lane, *range)))
        .map(|(from, _)| from)
        .collect();
    (!missing.is_empty()).then(|| format!("they capture {}", words(&missing)))
}

fn words<T: ToString>(numbers: &[T]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
