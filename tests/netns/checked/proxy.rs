//! Whether the proxy does its work: RDR306, RDR309, RDR310.

use nslens::analysis::check::Severity;

use super::stage::{Pod, istio, noted, only, silent};
use crate::questions::stage::{Program, dial, run};

#[test]
fn rdr306_a_proxy_that_takes_no_calls() {
    for (proxy, stuck) in
        [("listen:[::]:15001 accept:[::]:15006", true), ("accept:[::]:15001 accept:[::]:15006", false)]
    {
        let Some(mut pod) = Pod::bare() else { return };
        pod.loads("nft", |ipv6| Some(istio(ipv6)));
        // So that three calls fill the queue.
        pod.lab.sh("echo 2 > /proc/sys/net/core/somaxconn");
        pod.is_istio_with(proxy);
        let _callers: Vec<Program> = (0..3).map(|_| run(&pod.lab, 1000, "dial:10.0.0.5:80")).collect();
        pod.lab.wait_for_sockets(3, "state established sport = 15001");
        let answer = pod.checked();
        if stuck {
            let finding = only(&answer, "RDR306", Severity::Error);
            assert!(finding.title.contains("15001"), "{finding:?}");
            assert!(finding.evidence.iter().any(|fact| fact.starts_with("3 connections wait")), "{finding:?}");
        } else {
            silent(&answer);
        }
    }
}

#[test]
fn rdr309_a_proxy_near_its_limits() {
    let Some(mut pod) = Pod::istio("nft") else { return };
    let _server = run(&pod.world, 0, "accept:[::]:80");
    pod.world.wait_for_sockets(1, "state listening sport = 80");
    pod.lab.sh("echo '40000 40004' > /proc/sys/net/ipv4/ip_local_port_range");
    pod.runs(1337, "istio-proxy", "dial:10.0.0.5:80 dial:10.0.0.5:80 dial:10.0.0.5:80", 6);
    pod.world.wait_for_sockets(3, "state established");
    silent(&pod.checked());
    pod.runs(1337, "istio-proxy", "dial:10.0.0.5:80", 6);
    pod.world.wait_for_sockets(4, "state established");
    let answer = pod.checked();
    let finding = only(&answer, "RDR309", Severity::Warning);
    assert!(finding.title.contains("4 of 5 ports") && finding.title.contains("10.0.0.5:80"), "{finding:?}");
    pod.lab.sh("echo '40000 40009' > /proc/sys/net/ipv4/ip_local_port_range");
    silent(&pod.checked());
    // Descriptors likewise.
    let proxy = pod.programs[0].0.pid();
    let open = std::fs::read_dir(format!("/proc/{proxy}/fd")).expect("its descriptors").count();
    for (limit, near) in [(open * 2, false), (open * 5 / 4, true)] {
        let (pid, limit) = (proxy.to_string(), format!("--nofile={limit}:"));
        let set = pod.lab.command_as(1337, 1337, "prlimit").args(["--pid", &pid, &limit]).status().expect("prlimit");
        assert!(set.success());
        let answer = pod.checked();
        if near { _ = only(&answer, "RDR309", Severity::Warning) } else { silent(&answer) }
    }
}

#[test]
fn rdr310_nobody_serves_what_is_called() {
    for backend in ["legacy", "nft"] {
        let Some(pod) = Pod::istio(backend) else { return };
        let _call = pod.world.netns().enter(|| dial("10.0.0.2:8080", None)).expect("inside");
        pod.lab.wait_for_sockets(1, "state established sport = 15006");
        assert!(!pod.checked().findings.iter().any(|finding| finding.kind.id == "RDR310"));
        let _call = pod.world.netns().enter(|| dial("10.0.0.2:9999", None)).expect("inside");
        pod.lab.wait_for_sockets(2, "state established sport = 15006");
        let answer = pod.checked();
        silent(&answer);
        assert!(noted(&answer, "RDR310").title.contains("9999"), "{answer:?}");
    }
}
