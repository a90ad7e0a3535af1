//! Init containers are captured without a proxy.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::model::{Container, Endpoint, Protocol};

pub(super) const KIND: Kind = Kind {
    id: "RDR302",
    title: "Init containers are captured while no proxy runs",
    severity: Severity::Error,
    page: Page {
        seen: "An init container cannot reach an API, a store, a database; it works without the mesh, or without its \
              CNI plugin.",
        why: "Rules of a CNI plugin are there from the sandbox's beginning, the proxy starts after all init containers.",
        evidence: "Nobody listens where rules send connections, an init container runs or has failed last, and the proxy's \
              container has not started.",
        remedy: "A native sidecar; or run that init container as the proxy's user; or leave what it calls alone, which \
              opens it to the application too.",
        references: &[
            "istio/cni#77",
            "istio/istio#23802",
            "istio/istio#27382",
            "istio/istio#43324",
            "linkerd/linkerd2#11465",
        ],
    },
    silenced_by: &["RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let containers = &case.snapshot.workload.containers;
    let own = |container: &&Container| case.expected.proxy_containers.contains(&container.name.as_str());
    let init = |container: &&Container| container.init == Some(true) && !own(container);
    let caught = |container: &&Container| {
        init(container) && (container.finished.is_none() || container.exit_code.is_some_and(|code| code != 0))
    };
    let started =
        containers.iter().filter(own).any(|container| container.init != Some(true) && container.started.is_some());
    let (Some(caught), false) = (containers.iter().find(caught), started) else { return };
    let deserted = case.deserted();
    let Some(target) = deserted.iter().find(|target| !target.incoming) else { return };
    let who: Vec<_> = case
        .applications()
        .filter(|person| person.process.container.as_deref() == Some(caught.name.as_str()))
        .collect();
    let to = Endpoint::new(case.outside(target.ipv6), case.port());
    if !who.is_empty()
        && who.iter().all(|person| !case.dials(person.identity.as_ref(), Protocol::Tcp, to).is_captured())
    {
        return;
    }
    let finding = KIND.found(
        format!("init container {} is captured, and no proxy runs yet", caught.name),
        "make the proxy a native sidecar, or run this container as the user that rules leave alone",
    );
    let state = match caught.exit_code {
        Some(code) => format!("container {} has ended with code {code}", caught.name),
        None => format!("container {} runs", caught.name),
    };
    found.finding(
        finding
            .because(format!("{} sends connections to port {}, where nobody listens", target.rule, target.port))
            .because(state)
            .about(Some(target.rule.clone())),
    );
}
