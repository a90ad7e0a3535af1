//! The proxy has stopped before the application.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};

pub(super) const KIND: Kind = Kind {
    id: "RDR304",
    title: "Proxy stops before the application",
    severity: Severity::Error,
    page: Page {
        seen: "Errors while a version is rolled out or the number of pods is lowered; hooks before the stop fail, jobs \
              hang or have no network.",
        why: "All containers are told to stop at once. The proxy closes its listeners first, while rules still send \
              everything there.",
        evidence: "Nobody listens where rules send connections, the proxy's container or process has ended, and processes \
              of the application live.",
        remedy: "A native sidecar, a longer time to drain, or a proxy that ends only when there are no connections.",
        references: &["istio/istio#7136", "istio/istio#36631", "istio/istio#19567", "knative/serving#2314"],
    },
    silenced_by: &["RDR009", "RDR302"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let deserted = case.deserted();
    let Some(target) = deserted.first() else { return };
    let containers = case.snapshot.workload.containers.iter();
    let mut own = containers.filter(|container| case.expected.proxy_containers.contains(&container.name.as_str()));
    let ended = own.find(|container| {
        container.init != Some(true) && (container.finished.is_some() || container.exit_code.is_some())
    });
    let dead = case.proxies().find(|person| person.process.state == Some('Z'));
    let fact = match (ended, dead) {
        (Some(container), _) => {
            let code = container.exit_code.map_or_else(String::new, |code| format!(" with code {code}"));
            let reason = container.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
            format!("container {} has ended{code}{reason}", container.name)
        }
        (None, Some(person)) => format!("{} has ended, and nobody has waited for it", person.words()),
        (None, None) => return,
    };
    let Some(alive) = case.applications().next() else { return };
    let finding = KIND.found(
        format!("the proxy has ended, and rules still send connections to its port {}", target.port),
        "make the proxy a native sidecar, or let it end only after the application",
    );
    found.finding(
        finding
            .because(fact)
            .because(format!("{} still runs", alive.words()))
            .because(format!("{} sends connections there", target.rule))
            .about(Some(target.rule.clone())),
    );
}
