//! Pods that are checked: rules by the real programs, real processes and sockets, and what a runtime would tell of them.

use std::path::Path;

use nslens::analysis::check::{Answer, Asked, Finding, Severity, check};
use nslens::capture::rules::Wanted;
use nslens::capture::sets::Elements;
use nslens::capture::{Occasion, Parts, take};
use nslens::model::{Container, Kind, Snapshot, Workload};

use crate::questions::stage::{Program, run_as};
use crate::support::{Lab, require_root};

/// Istio's sidecar, as profile I of the catalogue has it; `LOCAL`, `SELF` and `PASS` stand for the family's own addresses.
const ISTIO: &str = "
*nat
:ISTIO_INBOUND - [0:0]
:ISTIO_IN_REDIRECT - [0:0]
:ISTIO_OUTPUT - [0:0]
:ISTIO_REDIRECT - [0:0]
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A OUTPUT -p tcp -j ISTIO_OUTPUT
-A ISTIO_INBOUND -p tcp --dport 15008 -j RETURN
-A ISTIO_INBOUND -p tcp --dport 15090 -j RETURN
-A ISTIO_INBOUND -p tcp --dport 15021 -j RETURN
-A ISTIO_INBOUND -p tcp --dport 15020 -j RETURN
-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT
-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
-A ISTIO_OUTPUT -s PASS -o lo -j RETURN
-A ISTIO_OUTPUT ! -d SELF -o lo -p tcp -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT ! -d SELF -o lo -p tcp -m owner --gid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -d SELF -j RETURN
-A ISTIO_OUTPUT -j ISTIO_REDIRECT
COMMIT
";

/// The rules of Istio's sidecar for one family.
pub(crate) fn istio(ipv6: bool) -> String {
    let (own, pass) = if ipv6 { ("::1/128", "::6/128") } else { ("127.0.0.1/32", "127.0.0.6/32") };
    ISTIO.replace("SELF", own).replace("PASS", pass)
}

/// Loads rules by the restore program of a family and backend; the user of nothing is asked.
pub(crate) fn restore(lab: &Lab, backend: &str, ipv6: bool, rules: &str) {
    let program = if ipv6 { "ip6tables" } else { "iptables" };
    lab.sh(&format!("{program}-{backend}-restore --noflush <<'END'\n{}\nEND", rules.trim()));
}

/// A pod with a world beside it, and what runs there.
pub(crate) struct Pod {
    pub(crate) lab: Lab,
    pub(crate) world: Lab,
    /// What the runtime tells of it.
    pub(crate) workload: Workload,
    /// Programs with the name of their container.
    pub(crate) programs: Vec<(Program, &'static str)>,
}

impl Pod {
    /// A pod without rules and processes; none without root. The world is the way out of it, as a pod's node is.
    pub(crate) fn bare() -> Option<Self> {
        if !require_root() {
            return None;
        }
        let (lab, world) = Lab::pod_and_world();
        lab.sh("ip route add default via 10.0.0.5; ip -6 route add default via fd00::5");
        let workload = Workload { runtime: Some("containerd".to_owned()), ..Workload::named(Kind::Pod, "web") };
        Some(Self { lab, world, workload, programs: Vec::new() })
    }

    /// A pod of Istio where all is well: rules of both families, a proxy, an application at 8080.
    pub(crate) fn istio(backend: &str) -> Option<Self> {
        let mut pod = Self::bare()?;
        for ipv6 in [false, true] {
            restore(&pod.lab, backend, ipv6, &istio(ipv6));
        }
        pod.is_istio();
        Some(pod)
    }

    /// A pod of Istio with these rules of each family in place of its own.
    pub(crate) fn with_rules(backend: &str, rules: impl Fn(bool) -> Option<String>) -> Option<Self> {
        let mut pod = Self::bare()?;
        pod.loads(backend, rules);
        pod.is_istio();
        Some(pod)
    }

    /// Loads rules of both families, where there are some.
    pub(crate) fn loads(&self, backend: &str, rules: impl Fn(bool) -> Option<String>) {
        for ipv6 in [false, true] {
            if let Some(rules) = rules(ipv6) {
                restore(&self.lab, backend, ipv6, &rules);
            }
        }
    }

    /// Does the same by the programs of both families.
    pub(crate) fn both(&self, backend: &str, words: &str) {
        for program in ["iptables", "ip6tables"] {
            self.lab.sh(&format!("{program}-{backend} -w {words}"));
        }
    }

    /// All of a pod of Istio but its rules.
    pub(crate) fn is_istio(&mut self) {
        self.is_istio_with("accept:[::]:15001 accept:[::]:15006");
    }

    /// The same with a proxy that does this at its two ports.
    pub(crate) fn is_istio_with(&mut self, proxy: &'static str) {
        let listening = proxy.split(' ').count() + 3;
        self.claims_istio();
        let own = "accept:[::]:15021 accept:[::]:15090 accept:[::]:15020";
        self.runs(1337, "istio-proxy", &format!("{proxy} {own}"), listening);
        self.runs(1000, "app", "accept:[::]:8080", listening + 1);
    }

    /// Metadata of an injected pod of Istio, and the address from which its proxy passes on to ports that no service declares.
    pub(crate) fn claims_istio(&mut self) {
        self.lab.sh("ip -6 addr replace ::6/128 dev lo");
        self.workload.annotations.insert("sidecar.istio.io/status".to_owned(), "{}".to_owned());
        self.container("istio-proxy");
        self.container("app");
    }

    /// One more annotation.
    pub(crate) fn annotate(&mut self, name: &str, value: &str) {
        self.workload.annotations.insert(name.to_owned(), value.to_owned());
    }

    /// One more container.
    pub(crate) fn container(&mut self, name: &str) {
        self.workload.containers.push(Container { name: name.to_owned(), ..Container::default() });
    }

    /// Starts a program (the words of [`run`]) as a user with a group of the same number, and waits until this many sockets listen.
    pub(crate) fn runs(&mut self, id: u32, container: &'static str, words: &str, listening: usize) {
        self.runs_as((id, id), container, words, listening);
    }

    /// The same as a user with a group of another number.
    pub(crate) fn runs_as(&mut self, ids: (u32, u32), container: &'static str, words: &str, listening: usize) {
        self.programs.push((run_as(&self.lab, ids, words), container));
        self.lab.wait_for_sockets(listening, "state listening");
    }

    /// All that is read of it.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let parts = Parts {
            rules: Some(Wanted { elements: Elements::All, ..Wanted::default() }),
            connections: true,
            every_socket: true,
            figures: true,
            tracking: true,
            routes: true,
            settings: true,
            evidence: true,
            ..Parts::default()
        };
        let occasion = Occasion { node: "node", now: 0, asked: "pod/web", proc_root: Path::new("/proc") };
        let mut snapshot =
            take(self.workload.clone(), self.lab.netns(), None, parts, occasion).expect("it can be looked at");
        let container =
            |pid: u32| self.programs.iter().find(|(program, _)| program.pid() == pid).map(|(_, name)| *name);
        // The holder of the namespace and its like belong to the lab, not to the pod.
        let processes = snapshot.processes.iter_mut().flatten();
        processes.for_each(|process| process.container = container(process.pid).map(str::to_owned));
        if let Some(processes) = &mut snapshot.processes {
            processes.retain(|process| process.container.is_some() || process.elsewhere);
        }
        snapshot
    }

    /// What is found, by one sample.
    pub(crate) fn checked(&self) -> Answer {
        check(&self.snapshot(), Asked::default())
    }
}

/// Without the rules that contain this.
pub(crate) fn without(rules: &str, part: &str) -> String {
    assert!(rules.contains(part), "{part}");
    rules.lines().filter(|line| !line.contains(part)).collect::<Vec<_>>().join("\n")
}

/// The finding of this id, at info.
#[track_caller]
pub(crate) fn noted<'a>(answer: &'a Answer, id: &str) -> &'a Finding {
    let mut noted = answer.findings.iter().filter(|finding| finding.severity == Severity::Info);
    noted
        .find(|finding| finding.kind.id == id)
        .unwrap_or_else(|| panic!("{id} was to be noted, not:\n{}", words(answer)))
}

/// What is found above info, as text.
pub(crate) fn words(answer: &Answer) -> String {
    let finding = |finding: &Finding| {
        format!("{} {} {}: {}", finding.kind.id, finding.severity.word(), finding.title, finding.evidence.join(" | "))
    };
    let open = answer.undecided.iter().map(|open| format!("{} undecided: {}", open.id, open.why));
    answer.findings.iter().map(finding).chain(open).collect::<Vec<_>>().join("\n")
}

/// Nothing is found above info, and everything is decided.
pub(crate) fn silent(answer: &Answer) {
    let loud = answer.findings.iter().any(|finding| finding.severity > Severity::Info);
    assert!(!loud && answer.undecided.is_empty(), "{}", words(answer));
}

/// Exactly this is found above info, and everything is decided: the finding.
#[track_caller]
pub(crate) fn only<'a>(answer: &'a Answer, id: &str, severity: Severity) -> &'a Finding {
    let loud: Vec<&Finding> = answer.findings.iter().filter(|finding| finding.severity > Severity::Info).collect();
    match loud.as_slice() {
        [finding] if finding.kind.id == id && finding.severity == severity && answer.undecided.is_empty() => finding,
        _ => panic!("{id} alone was to be found, not:\n{}", words(answer)),
    }
}

/// Exactly these are found above info, in any order, and everything is decided.
#[track_caller]
pub(crate) fn exactly(answer: &Answer, ids: &[&str]) {
    let loud = answer.findings.iter().filter(|finding| finding.severity > Severity::Info);
    let mut found: Vec<&str> = loud.map(|finding| finding.kind.id).collect();
    found.sort_unstable();
    assert!(found == ids && answer.undecided.is_empty(), "{ids:?} were to be found, not:\n{}", words(answer));
}

/// The finding of this id.
#[track_caller]
pub(crate) fn found<'a>(answer: &'a Answer, id: &str) -> &'a Finding {
    let mut found = answer.findings.iter().filter(|finding| finding.kind.id == id);
    found.next().unwrap_or_else(|| panic!("{id} was to be found, not:\n{}", words(answer)))
}

/// Whether some fact of a finding holds this.
pub(crate) fn tells(finding: &Finding, part: &str) -> bool {
    finding.evidence.iter().any(|fact| fact.contains(part))
}
