//! What metadata says, and what is there: RDR002, RDR004, RDR008, RDR203, RDR302, RDR304, RDR307, RDR308.

use nslens::analysis::check::{Asked, Severity, check};
use nslens::model::{Container, NetnsId};

use super::stage::{Pod, istio, only, silent, words};
use crate::questions::stage::{dial, run};

const BACKENDS: [&str; 2] = ["legacy", "nft"];

#[test]
fn rdr002_rules_were_made_in_another_namespace() {
    let Some(mut pod) = Pod::bare() else { return };
    pod.is_istio();
    let netns = |inode| Some(NetnsId { device: 4, inode });
    let mut snapshot = pod.snapshot();
    (snapshot.workload.netns, snapshot.workload.sandbox_netns) = (netns(7), netns(7));
    only(&check(&snapshot, Asked::default()), "RDR001", Severity::Error);
    snapshot.workload.sandbox_netns = netns(8);
    let answer = check(&snapshot, Asked::default());
    assert!(
        only(&answer, "RDR002", Severity::Error).evidence.iter().any(|fact| fact.contains("netns 8")),
        "{answer:?}"
    );
    // Or the sandbox is younger than what made the rules.
    let init =
        Container { name: "istio-init".to_owned(), init: Some(true), finished: Some(100), ..Container::default() };
    snapshot.workload.sandbox_netns = netns(7);
    snapshot.workload.containers.push(init);
    snapshot.workload.created = Some(90);
    only(&check(&snapshot, Asked::default()), "RDR001", Severity::Error);
    snapshot.workload.created = Some(400);
    let answer = check(&snapshot, Asked::default());
    assert!(
        only(&answer, "RDR002", Severity::Error).evidence.iter().any(|fact| fact.contains("300 s after")),
        "{answer:?}"
    );
}

#[test]
fn rdr004_rules_that_were_flushed() {
    for backend in BACKENDS {
        let Some(mut pod) = Pod::istio(backend) else { return };
        pod.lab.sh(&format!("iptables-{backend} -w -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT"));
        pod.runs(1000, "app", "dial:10.0.0.5:80", 6);
        pod.lab.wait_for_sockets(1, "state established sport = 15001");
        silent(&pod.checked());
        pod.lab.sh(&format!(
            "for one in iptables ip6tables; do $one-{backend} -w -t nat -F; $one-{backend} -w -t nat -X; done"
        ));
        let answer = pod.checked();
        let finding = only(&answer, "RDR004", Severity::Error);
        assert!(finding.evidence.iter().any(|fact| fact.contains("dialled 10.0.0.5:80")), "{finding:?}");
    }
}

#[test]
fn rdr008_guests_of_the_pod() {
    for backend in BACKENDS {
        let Some(pod) = Pod::istio(backend) else { return };
        pod.lab.sh("ip link add docker0 type veth peer name guest0; ip link set guest0 up; ip addr add 172.17.0.1/24 dev docker0; ip link set docker0 up; echo 0 > /proc/sys/net/ipv4/ip_forward");
        silent(&pod.checked());
        pod.lab.sh("echo 1 > /proc/sys/net/ipv4/ip_forward");
        let answer = pod.checked();
        let finding = only(&answer, "RDR008", Severity::Warning);
        assert!(finding.title.contains("docker0") && finding.title.contains("15006"), "{finding:?}");
        pod.lab.sh(&format!("iptables-{backend} -w -t nat -I PREROUTING -i docker0 -j RETURN"));
        silent(&pod.checked());
    }
}

#[test]
fn rdr203_settings_that_rules_do_not_carry_out() {
    for backend in BACKENDS {
        let Some(mut pod) = Pod::istio(backend) else { return };
        let name = |rest: &str| format!("traffic.sidecar.istio.io/{rest}");
        let told = |pod: &Pod, fact: &str| {
            let answer = pod.checked();
            let finding = only(&answer, "RDR203", Severity::Warning);
            assert!(finding.evidence.iter().any(|known| known.contains(fact)), "{finding:?}");
        };
        pod.annotate(&name("excludeOutboundPorts"), "3306");
        told(&pod, "they capture 3306");
        pod.lab.sh(&format!("for one in iptables ip6tables; do $one-{backend} -w -t nat -I ISTIO_OUTPUT 9 -p tcp --dport 3306 -j RETURN; done"));
        silent(&pod.checked());
        pod.annotate(&name("excludeOutboundIPRanges"), "10.96.0.0/16");
        told(&pod, "a connection to 10.96.0.1:");
        pod.lab.sh(&format!("iptables-{backend} -w -t nat -I ISTIO_OUTPUT 9 -d 10.96.0.0/16 -j RETURN"));
        silent(&pod.checked());
        pod.annotate(&name("excludeOutboundIPRanges"), "10.96.0.0");
        told(&pod, "is no network");
        pod.annotate(&name("excludeOutboundIPRanges"), "10.96.0.0/16");
        pod.annotate(&name("excludeOutBoundPorts"), "5432");
        told(&pod, "traffic.sidecar.istio.io/excludeOutboundPorts");
    }
}

#[test]
fn rdr302_an_init_container_without_a_proxy() {
    for backend in BACKENDS {
        let Some(mut pod) = Pod::bare() else { return };
        pod.loads(backend, |ipv6| Some(istio(ipv6)));
        pod.claims_istio();
        let init = Container { name: "migrate".to_owned(), init: Some(true), started: Some(1), ..Container::default() };
        pod.workload.containers.push(init);
        pod.runs(1000, "migrate", "listen:127.0.0.1:9001", 1);
        let answer = pod.checked();
        let finding = only(&answer, "RDR302", Severity::Error);
        assert!(finding.title.contains("migrate"), "{finding:?}");
        let call = |id: u32| {
            pod.lab.command_as(id, id, "busybox").args(["nc", "-w", "1", "10.0.0.5", "80"]).output().expect("nc")
        };
        let _server = run(&pod.world, 0, "accept:[::]:80");
        pod.world.wait_for_sockets(1, "state listening sport = 80");
        // Refused for it, and not for the user that rules leave alone.
        assert!(!call(1000).status.success());
        let _proxy = run(&pod.lab, 1337, "dial:10.0.0.5:80");
        pod.world.wait_for_sockets(1, "state established");
        // Once it has ended well, nobody is caught any more: what is left is that there is no proxy.
        for container in &mut pod.workload.containers {
            if container.name == "migrate" {
                (container.finished, container.exit_code) = (Some(2), Some(0));
            }
        }
        let answer = pod.checked();
        assert!(answer.findings.iter().any(|finding| finding.kind.id == "RDR301"), "{}", words(&answer));
        assert!(!answer.findings.iter().any(|finding| finding.kind.id == "RDR302"), "{}", words(&answer));
    }
}

#[test]
fn rdr304_a_proxy_that_has_ended() {
    for backend in BACKENDS {
        let Some(mut pod) = Pod::istio(backend) else { return };
        silent(&pod.checked());
        // The proxy's program is the first.
        pod.programs.remove(0);
        pod.lab.wait_for_sockets(1, "state listening");
        let answer = pod.checked();
        assert!(answer.findings.iter().any(|finding| finding.kind.id == "RDR301"), "{}", words(&answer));
        for container in &mut pod.workload.containers {
            if container.name == "istio-proxy" {
                (container.finished, container.exit_code, container.reason) =
                    (Some(2), Some(137), Some("OOMKilled".to_owned()));
            }
        }
        let answer = pod.checked();
        let finding = only(&answer, "RDR304", Severity::Error);
        assert!(finding.evidence.iter().any(|fact| fact.contains("137 (OOMKilled)")), "{finding:?}");
    }
}

#[test]
fn rdr307_what_the_node_asks() {
    for backend in BACKENDS {
        let Some(pod) = Pod::istio(backend) else { return };
        let call = |to: &str| pod.world.netns().enter(|| dial(to, None)).expect("inside");
        // The world is the pod's node here.
        let checked = || {
            let mut snapshot = pod.snapshot();
            snapshot.node_addresses = vec!["10.0.0.5".parse().expect("an address")];
            check(&snapshot, Asked::default())
        };
        let _exempt = call("10.0.0.2:15021");
        pod.lab.wait_for_sockets(1, "state established sport = 15021");
        silent(&checked());
        let _caught = call("10.0.0.2:8080");
        pod.lab.wait_for_sockets(1, "state established sport = 15006");
        let answer = checked();
        let finding = only(&answer, "RDR307", Severity::Warning);
        assert!(finding.title.contains("port 8080 gets to port 15006"), "{finding:?}");
    }
}

#[test]
fn rdr308_an_application_at_another_address_than_the_proxy_dials() {
    for backend in BACKENDS {
        let Some(mut pod) = Pod::istio(backend) else { return };
        pod.runs(1000, "app", "accept:127.0.0.1:9090", 7);
        silent(&pod.checked());
        // What the proxy would do for it is refused.
        let dialled = ["nc", "-w", "1", "-s", "127.0.0.6", "10.0.0.2", "9090"];
        let passing = pod.lab.command_as(1337, 1337, "busybox").args(dialled).output().expect("nc");
        assert!(!passing.status.success());
        let _call = pod.world.netns().enter(|| dial("10.0.0.2:9090", None)).expect("inside");
        pod.lab.wait_for_sockets(1, "state established sport = 15006");
        let answer = pod.checked();
        let finding = only(&answer, "RDR308", Severity::Error);
        assert!(finding.title.contains("10.0.0.2:9090") && finding.title.contains("127.0.0.1:9090"), "{finding:?}");
    }
}
