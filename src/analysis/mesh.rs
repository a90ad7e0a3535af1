//! What is expected of a namespace: which mesh, by which rules, with which numbers, each with the reason.
//!
//! A pure function over the snapshot. Names (of chains, tables, comments, containers, annotations, processes) only suggest a mesh;
//! ports, users, marks and exclusions are read from the rules, by asking them about packets, never assumed: every one can be
//! configured. Where no name is known and rules send TCP to a port of the namespace, the mesh is [`Mesh::Custom`].
//! To add a mesh is to add a file beside this one and a line in `profile.rs`.

mod ambient;
mod appmesh;
mod bystanders;
mod consul;
mod contradictions;
mod istio;
mod kuma;
mod linkerd;
mod osm;
mod profile;
mod reach;
mod stated;
mod structure;

use std::collections::BTreeSet;
use std::net::IpAddr;

pub use contradictions::Contradiction;
pub use profile::Setting;
use profile::{PROFILES, Profile, plain};
pub use stated::Stated;
use structure::Structure;

use super::summary::Further;
use crate::model::{Backend, RuleRef, Snapshot, Subject, Table, Workload};

/// Which mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mesh {
    /// Istio, and what is built on it.
    Istio,
    /// Linkerd 2.
    Linkerd,
    /// Kuma and Kong Mesh.
    Kuma,
    /// Consul's service mesh.
    Consul,
    /// AWS App Mesh.
    Appmesh,
    /// Open Service Mesh and its relatives.
    Osm,
    /// Rules that redirect to a port of the namespace, of a writer without a name here.
    Custom,
}

impl Mesh {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Istio, Self::Linkerd, Self::Kuma, Self::Consul, Self::Appmesh, Self::Osm, Self::Custom];

    /// The word that stands for it in JSON and options.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Istio => "istio",
            Self::Linkerd => "linkerd",
            Self::Kuma => "kuma",
            Self::Consul => "consul",
            Self::Appmesh => "appmesh",
            Self::Osm => "osm",
            Self::Custom => "custom",
        }
    }
}

/// Where the proxy lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// In the pod.
    Sidecar,
    /// On the node, with sockets in the pod.
    Ambient,
}

impl Variant {
    /// The word that stands for it in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Sidecar => "sidecar",
            Self::Ambient => "ambient",
        }
    }
}

/// How connections get to the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// By translation.
    Redirect,
    /// In one direction at least by TPROXY.
    Tproxy,
}

impl Mode {
    /// The word that stands for it in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Redirect => "redirect",
            Self::Tproxy => "tproxy",
        }
    }
}

/// What tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Rules.
    Rules,
    /// Labels, annotations, containers, variables.
    Metadata,
    /// What runs.
    Processes,
}

/// A reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Because {
    /// What tells it.
    pub source: Source,
    /// What, in words (names in it are hostile text).
    pub what: String,
}

/// How much of a direction's TCP goes to the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Captured {
    /// What no rule names, and so all but exceptions.
    All,
    /// Only what rules name.
    Some,
    /// Nothing; the rules may stand there all the same.
    Nothing,
    /// It is dropped before.
    Dropped,
    /// It hangs on what is not known.
    Undecided,
}

/// Who or what is picked out. Ranges have both their ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Picked {
    /// Destination ports.
    pub ports: BTreeSet<(u16, u16)>,
    /// Destinations when outbound, sources when inbound, as the rules write them.
    pub networks: Vec<String>,
    /// Users of senders.
    pub uids: BTreeSet<(u32, u32)>,
    /// Groups of senders.
    pub gids: BTreeSet<(u32, u32)>,
    /// Packet marks.
    pub marks: BTreeSet<u32>,
}

/// TCP of one direction, in one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// How much of it is captured, by asking the rules.
    pub captured: Captured,
    /// The proxy's port: the one that packets really get to, else the first that is written for them.
    pub port: Option<u16>,
    /// Ports written for this direction, whether or not a packet comes there.
    pub written: BTreeSet<u16>,
    /// It is TPROXY that sends there.
    pub transparent: bool,
    /// Left alone, where all else is captured.
    pub excluded: Picked,
    /// Captured, where all else is not.
    pub included: Picked,
    /// Rules that pick by several properties at once.
    pub further: Vec<Further>,
}

/// DNS capture, as the rules do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// The port that queries get to; `None` where it stays.
    pub port: Option<u16>,
    /// The address; `None` for the machine itself.
    pub address: Option<IpAddr>,
    /// Only queries to this resolver are known to be captured; `None` for any.
    pub resolver: Option<IpAddr>,
    /// Queries over UDP.
    pub udp: bool,
    /// Queries over TCP.
    pub tcp: bool,
    /// The rule.
    pub rule: RuleRef,
}

/// What the rules of one family do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// IPv6 rather than IPv4.
    pub ipv6: bool,
    /// Out of the namespace.
    pub outbound: Lane,
    /// Into the namespace.
    pub inbound: Lane,
    /// DNS capture.
    pub dns: Option<Dns>,
}

impl Reach {
    /// Something is captured.
    #[must_use]
    pub fn captures(&self) -> bool {
        let lane = |lane: &Lane| matches!(lane.captured, Captured::All | Captured::Some);
        lane(&self.outbound) || lane(&self.inbound) || self.dns.is_some()
    }
}

/// Whose outbound packets are left alone, wherever they go: the proxy's, if the rules are right.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exempt {
    /// Users, as rules count them.
    pub uids: BTreeSet<(u32, u32)>,
    /// Groups, likewise.
    pub gids: BTreeSet<(u32, u32)>,
    /// Marks with their masks.
    pub marks: BTreeSet<(u32, u32)>,
}

/// A process that bears the name of the mesh's proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// PID as the node counts.
    pub pid: u32,
    /// Its name (hostile text).
    pub name: String,
    /// User, as rules count; as the node counts where the user namespace is not known.
    pub uid: u32,
    /// Group, likewise.
    pub gid: u32,
    /// It lives in another network namespace, as ztunnel does.
    pub elsewhere: bool,
}

/// What is expected of a namespace. With `mesh: None` nothing is: there is no sign of a mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Which mesh; `None` for no sign of one.
    pub mesh: Option<Mesh>,
    /// The product's own name: `Istio ambient`, `FSM`.
    pub name: Option<&'static str>,
    /// Where its proxy lives; `None` for custom sets.
    pub variant: Option<Variant>,
    /// How connections get there; `None` where no rule sends anything.
    pub mode: Option<Mode>,
    /// Where its rules stand; `None` where there are none, or where they stand in both.
    pub backend: Option<Backend>,
    /// Its rules are written in nft's own terms.
    pub native: bool,
    /// Families that some rule set sees, IPv4 first.
    pub families: Vec<Reach>,
    /// Who is exempt by owner or mark alone.
    pub exempt: Exempt,
    /// Its rules that send connections to a port of the namespace, DNS left out, whether or not a packet comes there.
    pub sends: Vec<(RuleRef, u16)>,
    /// Rules that give conntrack zones to DNS: it is captured, or was.
    pub dns_zones: Vec<RuleRef>,
    /// DNS capture is expected: by metadata where that says it, else by rules.
    pub dns: bool,
    /// What metadata sets.
    pub stated: Vec<Stated>,
    /// Its proxies that run.
    pub proxies: Vec<Proxy>,
    /// Names that its proxies' containers have.
    pub proxy_containers: &'static [&'static str],
    /// Chains whose redirects are for outbound connections, and those whose are for inbound ones, as it names them.
    pub chains: [&'static [&'static str]; 2],
    /// Targets (in capitals) and matches (in small letters) of xtables that its rules ask for.
    pub needs: &'static [&'static str],
    /// Others that have rules here and are no mesh.
    pub bystanders: BTreeSet<&'static str>,
    /// Why this mesh.
    pub because: Vec<Because>,
    /// What does not fit together.
    pub contradictions: Vec<Contradiction>,
}

impl Expected {
    /// Some rule captures something, in some family.
    #[must_use]
    pub fn captures_something(&self) -> bool {
        self.families.iter().any(Reach::captures)
    }

    /// Whether a chain is one whose redirects are for this direction.
    #[must_use]
    pub fn redirects_in(&self, chain: &str, incoming: bool) -> bool {
        let [outbound, inbound] = self.chains;
        if incoming { inbound } else { outbound }.contains(&plain(chain).as_str())
    }

    /// What the rules of a family do; `None` where no rule set sees it.
    #[must_use]
    pub fn family(&self, ipv6: bool) -> Option<&Reach> {
        self.families.iter().find(|family| family.ipv6 == ipv6)
    }
}

/// Whether a chain was written by a program that is no mesh.
#[must_use]
pub fn is_bystander(table: &Table, chain: &str) -> bool {
    structure::bystander(table, chain).is_some()
}

/// Whether a chain of a table is named as a mesh names its own.
#[must_use]
pub fn is_named_by(mesh: Mesh, table: &Table, chain: &str) -> bool {
    PROFILES.iter().filter(|profile| profile.mesh == mesh).any(|profile| structure::bears(profile, table, chain))
}

/// Names of annotations and variables that set something in some mesh.
pub fn setting_names() -> impl Iterator<Item = &'static str> {
    PROFILES.iter().flat_map(|profile| profile.settings).map(|(name, _)| *name)
}

/// Whether a number is in one of the ranges.
#[must_use]
pub fn within(ranges: &BTreeSet<(u32, u32)>, id: u32) -> bool {
    ranges.iter().any(|(from, to)| (*from..=*to).contains(&id))
}

/// The mesh that rules tell of, by names alone; [`Mesh::Custom`] where there are none and something is redirected all the same.
#[must_use]
pub fn ruled(snapshot: &Snapshot) -> Option<Mesh> {
    let signs = PROFILES.iter().map(|profile| (profile.mesh, structure::signs(snapshot, profile).len()));
    // Of equal ones the first.
    let named = signs.rev().filter(|(_, count)| *count > 0).max_by_key(|(_, count)| *count).map(|(mesh, _)| mesh);
    named.or_else(|| Structure::of(snapshot).sends.iter().any(structure::Sends::is_of_a_mesh).then_some(Mesh::Custom))
}

/// The mesh that metadata tells of.
#[must_use]
pub fn claimed(workload: &Workload) -> Option<Mesh> {
    let signs = PROFILES.iter().map(|profile| (profile.mesh, stated::signs(workload, profile).len()));
    signs.rev().filter(|(_, count)| *count > 0).max_by_key(|(_, count)| *count).map(|(mesh, _)| mesh)
}

/// What is expected of this namespace.
#[must_use]
pub fn expected(snapshot: &Snapshot) -> Expected {
    let structure = Structure::of(snapshot);
    let mut signs: Vec<(&Profile, Vec<Because>)> = PROFILES
        .iter()
        .map(|profile| (*profile, because(snapshot, profile)))
        .filter(|(_, signs)| !signs.is_empty())
        .collect();
    // Rules are what packets meet, so their names weigh most; then more signs; then the order of the profiles.
    let weight = |signs: &[Because]| {
        let count = |source| signs.iter().filter(|because| because.source == source).count();
        (count(Source::Rules), count(Source::Metadata), count(Source::Processes))
    };
    signs.sort_by_key(|(_, signs)| std::cmp::Reverse(weight(signs)));
    let mut signs = signs.into_iter();
    let (profile, because) = match signs.next() {
        Some((profile, because)) => (Some(profile), because),
        None if structure.sends.is_empty() && structure.zone_owners == (true, true) => {
            let what = "rules give conntrack zones to the DNS of a user and of a group, as Istio's do".to_owned();
            (Some(&istio::SIDECAR), vec![Because { source: Source::Rules, what }])
        }
        None => (None, Vec::new()),
    };
    let mut expected = from_rules(snapshot, &structure, profile);
    expected.because.splice(0..0, because);
    for (other, signs) in signs.filter(|(other, _)| profile.is_none_or(|profile| other.name != profile.name)) {
        let others = signs.iter().map(|because| because.source).collect::<BTreeSet<_>>();
        let another = |source| Contradiction::AnotherMesh { mesh: other.mesh, name: other.name, source };
        expected.contradictions.extend(others.into_iter().map(another));
    }
    if let Some(profile) = profile {
        expected.stated = stated::settings(snapshot, profile);
        expected.proxies = proxies(snapshot, profile);
    }
    let says = expected.stated.iter().filter(|stated| stated.setting == Setting::Dns).find_map(Stated::switch);
    let captured = expected.families.iter().any(|family| family.dns.is_some()) || !expected.dns_zones.is_empty();
    expected.dns = says.unwrap_or(captured);
    let whole = snapshot.processes.is_some() && snapshot.unread_about(&[Subject::Processes]).next().is_none();
    let found = contradictions::contradictions(
        snapshot,
        &expected,
        whole && profile.is_some_and(|it| !it.processes.is_empty()),
    );
    expected.contradictions.extend(found);
    expected
}

/// What the rules alone say, once it is known whose they are.
fn from_rules(snapshot: &Snapshot, structure: &Structure, profile: Option<&Profile>) -> Expected {
    let sees = |ipv6: &bool| {
        snapshot.rulesets().iter().any(|ruleset| ruleset.family.sees(*ipv6) && !ruleset.tables.is_empty())
    };
    let families: Vec<Reach> =
        [false, true].into_iter().filter(sees).map(|ipv6| reach::reach(snapshot, structure, profile, ipv6)).collect();
    // A translation to a given address is what anybody publishes ports by; only what takes all of a direction counts.
    let own = |sends: &&structure::Sends| !sends.bystander && (sends.outbound || sends.inbound || profile.is_some());
    let redirects: Vec<&structure::Sends> = structure.sends.iter().filter(own).collect();
    let custom = redirects.iter().find(|sends| sends.is_of_a_mesh());
    let custom_mesh = (profile.is_none() && custom.is_some()).then_some(Mesh::Custom);
    let mesh = profile.map(|profile| profile.mesh).or(custom_mesh);
    let backends: BTreeSet<Backend> = redirects.iter().map(|sends| sends.rule.backend).collect();
    let mode = mesh.filter(|_| !redirects.is_empty()).map(|_| match redirects.iter().any(|sends| sends.transparent) {
        true => Mode::Tproxy,
        false => Mode::Redirect,
    });
    let mut exempt = Exempt::default();
    exempt.uids.extend(&structure.exempted.uids);
    exempt.gids.extend(&structure.exempted.gids);
    exempt.marks.extend(&structure.exempted.marks);
    for lane in families.iter().map(|family| &family.outbound) {
        exempt.uids.extend(&lane.excluded.uids);
        exempt.gids.extend(&lane.excluded.gids);
        let mask =
            |mark: u32| structure.marks.iter().find(|(known, _)| *known == mark).map_or(u32::MAX, |(_, mask)| *mask);
        exempt.marks.extend(lane.excluded.marks.iter().map(|mark| (*mark, mask(*mark))));
    }
    Expected {
        mesh,
        name: profile.map(|profile| profile.name),
        variant: profile.map(|profile| profile.variant),
        mode,
        backend: backends.first().copied().filter(|_| mesh.is_some() && backends.len() == 1),
        native: mesh.is_some() && redirects.iter().any(|sends| sends.native),
        families,
        exempt,
        sends: redirects.iter().filter(|sends| !sends.dns).map(|sends| (sends.rule.clone(), sends.port)).collect(),
        dns_zones: structure.dns_zones.clone(),
        dns: false,
        stated: Vec::new(),
        proxies: Vec::new(),
        proxy_containers: profile.map_or(&[], |profile| profile.containers),
        chains: profile.map_or([&[], &[]], |profile| [profile.outbound, profile.inbound]),
        needs: profile.map_or(&[], |profile| profile.needs),
        bystanders: structure::bystanders(snapshot),
        because: custom
            .filter(|_| custom_mesh.is_some())
            .map(|sends| Because {
                source: Source::Rules,
                what: format!("rule {} sends connections to port {}, under no name of a mesh", sends.rule, sends.port),
            })
            .into_iter()
            .collect(),
        contradictions: Vec::new(),
    }
}

/// Every sign of a mesh.
fn because(snapshot: &Snapshot, profile: &Profile) -> Vec<Because> {
    let because = |source: Source| move |what: String| Because { source, what };
    let rules = structure::signs(snapshot, profile).into_iter().map(because(Source::Rules));
    let metadata = stated::signs(&snapshot.workload, profile).into_iter().map(because(Source::Metadata));
    let processes = proxies(snapshot, profile).into_iter();
    let processes =
        processes.map(|proxy| format!("process {} ({})", proxy.pid, proxy.name)).map(because(Source::Processes));
    rules.chain(metadata).chain(processes).collect()
}

fn proxies(snapshot: &Snapshot, profile: &Profile) -> Vec<Proxy> {
    let ids = snapshot.ids.as_ref();
    // One that has ended is no proxy any more.
    let living = snapshot.processes.iter().flatten().filter(|process| !process.has_ended());
    let own = living.filter(|process| {
        profile.processes.iter().any(|name| process.name == name.get(..15).unwrap_or(name))
            || process.container.as_deref().is_some_and(|name| profile.containers.contains(&name))
                && process.name == "envoy"
    });
    own.map(|process| Proxy {
        pid: process.pid,
        name: process.name.clone(),
        uid: ids.and_then(|ids| ids.inside_uid(process.uid)).unwrap_or(process.uid),
        gid: ids.and_then(|ids| ids.inside_gid(process.gid)).unwrap_or(process.gid),
        elsewhere: process.elsewhere,
    })
    .collect()
}
