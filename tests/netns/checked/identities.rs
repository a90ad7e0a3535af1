//! Whom rules leave alone: RDR201, RDR202, RDR210.

use nslens::analysis::check::Severity;

use super::stage::{Pod, only, silent};
use crate::questions::stage::{run, run_as};
use crate::support::wait_until;

const BACKENDS: [&str; 2] = ["legacy", "nft"];

/// Whether a call of a user and group from within reaches the world's server directly.
fn passes_by(pod: &Pod, (uid, gid): (u32, u32)) -> bool {
    let _server = run(&pod.world, 0, "accept:[::]:80");
    pod.world.wait_for_sockets(1, "state listening sport = 80");
    let _caller = run_as(&pod.lab, (uid, gid), "dial:10.0.0.5:80");
    let mut tracked = String::new();
    wait_until("the call", || {
        tracked = pod.lab.sh("conntrack -L -p tcp --dport 80 --state ESTABLISHED 2>/dev/null");
        !tracked.is_empty()
    });
    tracked.contains("src=10.0.0.5 dst=10.0.0.2 sport=80")
}

#[test]
fn rdr201_an_application_with_the_user_of_the_proxy() {
    for backend in BACKENDS {
        let Some(mut pod) = Pod::istio(backend) else { return };
        pod.container("worker");
        pod.runs(1337, "worker", "accept:[::]:9090", 7);
        let answer = pod.checked();
        let finding = only(&answer, "RDR201", Severity::Error);
        assert!(finding.title.contains("container worker") && finding.title.contains("UID 1337"), "{finding:?}");
        let rule = finding.rule.as_ref().expect("the rule");
        assert_eq!((rule.chain.as_str(), rule.number), ("ISTIO_OUTPUT", 4), "{finding:?}");
        assert!(passes_by(&pod, (1337, 1337)));
        // With a user of its own it is caught.
        let Some(mut pod) = Pod::istio(backend) else { return };
        pod.container("worker");
        pod.runs(1338, "worker", "accept:[::]:9090", 7);
        silent(&pod.checked());
        assert!(!passes_by(&pod, (1338, 1338)));
    }
}

#[test]
fn rdr202_an_application_with_the_group_of_the_proxy() {
    for backend in BACKENDS {
        let Some(mut pod) = Pod::istio(backend) else { return };
        pod.container("worker");
        pod.runs_as((1338, 1337), "worker", "accept:[::]:9090", 7);
        let answer = pod.checked();
        let finding = only(&answer, "RDR202", Severity::Warning);
        let rule = finding.rule.as_ref().expect("the rule");
        assert_eq!((rule.chain.as_str(), rule.number), ("ISTIO_OUTPUT", 7), "{finding:?}");
        assert!(finding.title.contains("GID 1337"), "{finding:?}");
        assert!(passes_by(&pod, (1338, 1337)));
    }
}

#[test]
fn rdr210_an_agent_that_leaves_the_application_alone() {
    for backend in BACKENDS {
        let Some(pod) = Pod::istio(backend) else { return };
        let owner =
            |user: u32| pod.both(backend, &format!("-t nat -I OUTPUT -p tcp -m owner --uid-owner {user} -j RETURN"));
        // Its own user is nobody's concern.
        owner(7777);
        silent(&pod.checked());
        owner(1000);
        let answer = pod.checked();
        let finding = only(&answer, "RDR210", Severity::Error);
        let rule = finding.rule.as_ref().expect("the rule");
        assert_eq!((rule.chain.as_str(), rule.number), ("OUTPUT", 1), "{finding:?}");
        assert!(finding.title.contains("container app"), "{finding:?}");
        assert!(passes_by(&pod, (1000, 1000)));
    }
}
