//! The kernel has not what rules need.

use std::collections::BTreeSet;

use super::{Kind, Page};
use crate::analysis::check::{Case, Failed, Found, Severity};
use crate::analysis::mesh::Setting;
use crate::model::{Backend, Container, KernelSupport};

/// What capture by TPROXY needs beside.
const TPROXY: [&str; 4] = ["MARK", "TPROXY", "conntrack", "mark"];

pub(super) const KIND: Kind = Kind {
    id: "RDR802",
    title: "Kernel support missing: rules could not be installed",
    severity: Severity::Error,
    page: Page {
        seen: "The init container or CNI plugin says \"unable to initialize table 'nat'\", \"Extension owner revision 0 not supported\", \
              \"TABLE_ADD failed\", \"iptables who?\" or \"Protocol not supported\".",
        why: "Modules of the legacy tables are not loaded, or there are none any more (RHEL 8 and later, Amazon Linux 2023, RHEL 10); \
              matches and targets are missing in small kernels; from within a container nothing can be loaded.",
        evidence: "Rules are missing or half made, and of what the mesh's rules ask for the kernel has something not: legacy tables, \
                   matches and targets as /proc/net lists them. Nothing is loaded to find out. Where a kernel with modules is told only by \
                   rules that are missing it is a warning: nobody may have asked for them yet.",
        remedy: "Load the modules on the node (/etc/modules-load.d), let set-up write with nft, or use a newer image.",
        references: &[
            "istio/istio#23009",
            "istio/istio#44118",
            "istio/istio#52347",
            "linkerd/linkerd2#7749",
            "linkerd/linkerd2#14326",
            "awslabs/amazon-eks-ami#2354",
            "kumahq/kuma#8069",
        ],
    },
    silenced_by: &["RDR009", "RDR809", "RDR810"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let Some(failed) = case.failed(found) else { return };
    let Some(kernel) = case.snapshot.settings.as_ref().map(|settings| &settings.kernel) else { return };
    let writes = written_by(case, &failed);
    let mut lack = Lack::default();
    for ipv6 in case.families() {
        lack.of(case, kernel, ipv6, writes);
    }
    if lack.facts.is_empty() {
        return;
    }
    let tried = failed.half || failed.maker.is_some();
    // Set-up may have written with nft, which needs no legacy tables.
    let other_way = lack.names.is_empty() && writes.is_none() && has_nft(case, kernel);
    let sure = !other_way && (tried || kernel.modules.is_none());
    let mut finding = KIND.found(
        format!("the kernel has not all that rules of {} need", case.expected.name.unwrap_or("the mesh")),
        format!("load {} on the node (/etc/modules-load.d), or let set-up write with nft", lack.modules()),
    );
    finding = lack.facts.into_iter().fold(finding, super::Finding::because);
    finding = failed.words().into_iter().fold(finding, super::Finding::because);
    if kernel.modules.is_some() && !tried {
        finding = finding.because("it may have modules for it that nobody has asked for yet");
    }
    if let Some(lsm) = case.snapshot.lsm.as_ref().filter(|_| kernel.modules.is_some()) {
        finding = finding.because(format!("{lsm} may keep containers from having modules loaded"));
    }
    found.finding(finding.severity(if sure { Severity::Error } else { Severity::Warning }));
}

/// What is not there.
#[derive(Default)]
struct Lack {
    /// In words.
    facts: Vec<String>,
    /// Matches and targets.
    names: BTreeSet<String>,
    /// Modules of tables.
    tables: BTreeSet<&'static str>,
}

impl Lack {
    fn of(&mut self, case: &Case<'_>, kernel: &KernelSupport, ipv6: bool, writes: Option<Backend>) {
        let (key, family) = if ipv6 { ("ip6", "IPv6") } else { ("ip", "IPv4") };
        if !kernel.legacy_tables.contains_key(key) && writes != Some(Backend::Nft) {
            self.facts.push(format!("it has no legacy tables of {family} (no /proc/net/{key}_tables_names)"));
            self.tables.extend(if ipv6 { ["ip6_tables", "ip6table_nat"] } else { ["ip_tables", "iptable_nat"] });
        }
        for name in asked(case) {
            let target = name.starts_with(|letter: char| letter.is_ascii_uppercase());
            let (lists, kind) = match target {
                true => (&kernel.legacy_targets, "target"),
                false => (&kernel.legacy_matches, "match"),
            };
            // Without a list nothing is told.
            if lists.get(key).is_some_and(|list| !list.is_empty() && !list.iter().any(|one| one == name)) {
                let list = if target { "targets" } else { "matches" };
                self.facts.push(format!("it has no {kind} {name} for {family} (/proc/net/{key}_tables_{list})"));
                self.names.insert(name.to_owned());
            }
        }
    }

    /// What to load.
    fn modules(&self) -> String {
        let own = |name: &String| match name.as_str() {
            "MARK" | "CONNMARK" => format!("xt_{}", name.to_ascii_lowercase()),
            name => format!("xt_{name}"),
        };
        let tables = self.tables.iter().map(|name| (*name).to_owned());
        tables.chain(self.names.iter().map(own)).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
    }
}

/// What the mesh's rules ask for.
fn asked<'c>(case: &'c Case<'_>) -> impl Iterator<Item = &'static str> + 'c {
    let transparent = case
        .expected
        .stated
        .iter()
        .any(|stated| stated.setting == Setting::Mode && stated.value.trim().eq_ignore_ascii_case("TPROXY"));
    let more = TPROXY.iter().filter(move |_| transparent);
    case.expected.needs.iter().chain(more).copied().collect::<BTreeSet<_>>().into_iter()
}

/// The backend that set-up writes to, as half a rule set or its own arguments tell.
fn written_by(case: &Case<'_>, failed: &Failed<'_>) -> Option<Backend> {
    let words = |container: &Container| container.arguments.join(" ").to_ascii_lowercase();
    let says = |part: &str| case.makers().any(|maker| words(maker).contains(part));
    match failed.backend {
        None if says("nft") => Some(Backend::Nft),
        None if says("legacy") => Some(Backend::Legacy),
        told => told,
    }
}

/// Whether the kernel is known to have nf_tables.
fn has_nft(case: &Case<'_>, kernel: &KernelSupport) -> bool {
    let loaded = kernel.modules.iter().flatten().any(|module| module == "nf_tables");
    let node = case.snapshot.node_state.iter().flat_map(|node| node.rulesets());
    loaded || case.snapshot.rulesets().iter().chain(node).any(|ruleset| ruleset.backend == Backend::Nft)
}
