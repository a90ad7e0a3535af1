//! Packets that fit no connection reach the application.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Going, Severity};
use crate::analysis::trace::Question;
use crate::model::{Endpoint, Snapshot};
use crate::packet::state::INVALID;

/// By which variables the rule is asked for; of the two only the first is one that Istio knows.
const OPTIONS: [&str; 2] = ["INVALID_DROP", "DROP_INVALID"];
/// The setting that takes packets out of the window for valid.
const LIBERAL: &str = "net.netfilter.nf_conntrack_tcp_be_liberal";

pub(super) const KIND: Kind = Kind {
    id: "RDR705",
    title: "INVALID packets reach the application and cause RST",
    severity: Severity::Warning,
    page: Page {
        seen: "Now and then \"connection reset by peer\", on big transfers.",
        why: "A packet out of its connection's window fits none to the tracking, is not translated, and is delivered to a socket that \
              knows nothing of it and answers with a reset.",
        evidence: "Connections are redirected, no rule drops what the tracking calls invalid (asked of the rules), \
                   nf_conntrack_tcp_be_liberal is 0, and between two samples both the count of invalid packets and that of resets \
                   sent have grown. Or metadata asks for the rule, and there is none.",
        remedy: "Switch on the mesh's option that drops invalid packets, or set nf_conntrack_tcp_be_liberal to 1.",
        references: &["istio/istio#36566", "istio/istio#36536", "istio/istio#49975", "kubernetes/kubernetes#74839"],
    },
    silenced_by: &["RDR009", "RDR001", "RDR704"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if case.expected.mesh.is_none() || !case.expected.captures_something() {
        return;
    }
    let passes: Vec<bool> = case.families().into_iter().filter(|ipv6| passes(case, *ipv6)).collect();
    let liberal =
        case.snapshot.settings.as_ref().and_then(|settings| settings.sysctls.get(LIBERAL)).map(String::as_str);
    if passes.is_empty() || liberal == Some("1") {
        return;
    }
    let remedy = format!("switch on the mesh's option that drops invalid packets, or set {LIBERAL} to 1 in the pod");
    let family = match passes.as_slice() {
        [false] => "of IPv4 ",
        [true] => "of IPv6 ",
        _ => "",
    };
    let fact = format!("no rule drops packets {family}that fit no connection (ctstate INVALID)");
    if let Some(option) = option(case) {
        let title = "metadata asks for a rule that drops invalid packets, and there is none";
        let mut finding = KIND.found(title, remedy).because(option.said).because(fact);
        if option.misspelt {
            finding = finding.because("Istio knows INVALID_DROP alone");
        }
        return found.finding(finding);
    }
    let Some((invalid, resets)) = grown(case).filter(|_| liberal == Some("0")) else { return };
    let finding = KIND.found("packets that fit no connection reach the application, which answers with resets", remedy);
    found.finding(
        finding
            .because(format!("between two samples {invalid} packets were invalid, and {resets} resets were sent"))
            .because(fact)
            .because(format!("{LIBERAL} is 0")),
    );
}

/// Whether a packet from outside comes through that fits no connection.
fn passes(case: &Case<'_>, ipv6: bool) -> bool {
    let captures = case.expected.family(ipv6).is_some_and(crate::analysis::mesh::Reach::captures);
    let Some(own) = case.own_address(ipv6).filter(|_| captures) else { return false };
    let question = Question { incoming: true, state: Some(INVALID), ..Question::to(Endpoint::new(own, case.port())) };
    matches!(case.going(&question), Going::Direct(_) | Going::Proxy { .. })
}

/// What metadata says of the option.
struct Asks {
    said: String,
    misspelt: bool,
}

fn option(case: &Case<'_>) -> Option<Asks> {
    let containers = case.snapshot.workload.containers.iter();
    let own = containers.filter(|container| case.expected.proxy_containers.contains(&container.name.as_str()));
    let on = |value: &String| matches!(value.trim().to_ascii_lowercase().as_str(), "true" | "1");
    own.flat_map(|container| {
        let said = OPTIONS.iter().filter_map(move |name| {
            let value = container.environment.get(*name).filter(|value| on(value))?;
            Some(Asks {
                said: format!("{name} of container {} is {value}", container.name),
                misspelt: Some(name) != OPTIONS.first(),
            })
        });
        let told = container.arguments.iter().any(|word| word == "--drop-invalid" || word == "--drop-invalid=true");
        let told = told
            .then(|| Asks { said: format!("container {} was given --drop-invalid", container.name), misspelt: false });
        said.chain(told).collect::<Vec<_>>()
    })
    .next()
}

/// How many more packets were invalid in the second sample, and how many resets were sent; `None` where not both have grown.
fn grown(case: &Case<'_>) -> Option<(u64, u64)> {
    let later = case.asked.later?;
    let invalid = |snapshot: &Snapshot| -> Option<u64> {
        let counters = snapshot.tracking.as_ref()?.statistics.iter().flat_map(|cpu| &cpu.counters);
        Some(counters.filter(|(name, _)| name == "invalid").map(|(_, count)| u64::from(*count)).sum())
    };
    let resets = |snapshot: &Snapshot| snapshot.settings.as_ref()?.counters.get("Tcp.OutRsts").copied();
    let invalid = invalid(later)?.checked_sub(invalid(case.snapshot)?)?;
    let resets = resets(later)?.checked_sub(resets(case.snapshot)?)?;
    (invalid > 0 && resets > 0).then_some((invalid, resets))
}
