//! Capture by TPROXY: RDR012, RDR104.

use nslens::analysis::check::Severity;

use super::stage::{Pod, only, silent, without};
use crate::questions::stage::{load, run};
use crate::support::wait_until;

const BACKENDS: [&str; 2] = ["legacy", "nft"];

/// Istio's sidecar in TPROXY mode, for IPv4.
const TPROXY: &str = "
*mangle
:ISTIO_DIVERT - [0:0]
:ISTIO_INBOUND - [0:0]
:ISTIO_TPROXY - [0:0]
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A PREROUTING -p tcp -m mark --mark 1337 -j CONNMARK --save-mark
-A OUTPUT -p tcp -o lo -m mark --mark 1337 -j RETURN
-A OUTPUT ! -d 127.0.0.1/32 -p tcp -o lo -m owner --uid-owner 1337 -j MARK --set-mark 1338
-A OUTPUT ! -d 127.0.0.1/32 -p tcp -o lo -m owner --gid-owner 1337 -j MARK --set-mark 1338
-A OUTPUT -p tcp -m connmark --mark 1337 -j CONNMARK --restore-mark
-A ISTIO_DIVERT -j MARK --set-mark 1337
-A ISTIO_DIVERT -j ACCEPT
-A ISTIO_TPROXY ! -d 127.0.0.1/32 -p tcp -j TPROXY --tproxy-mark 1337/0xffffffff --on-port 15006
-A ISTIO_INBOUND -p tcp -m mark --mark 1337 -j RETURN
-A ISTIO_INBOUND -p tcp -s 127.0.0.6/32 -i lo -j RETURN
-A ISTIO_INBOUND -p tcp -i lo -m mark ! --mark 1338 -j RETURN
-A ISTIO_INBOUND -p tcp --dport 15008 -j RETURN
-A ISTIO_INBOUND -p tcp -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT
-A ISTIO_INBOUND -p tcp -j ISTIO_TPROXY
COMMIT
*nat
:ISTIO_OUTPUT - [0:0]
:ISTIO_REDIRECT - [0:0]
-A OUTPUT -p tcp -j ISTIO_OUTPUT
-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
-A ISTIO_OUTPUT -s 127.0.0.6/32 -o lo -j RETURN
-A ISTIO_OUTPUT -o lo -p tcp -m owner ! --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN
-A ISTIO_OUTPUT -j ISTIO_REDIRECT
COMMIT";

/// A pod of IPv4 with these rules, and the routes that go with them if they are `whole`.
fn pod(backend: &str, rules: &str, whole: bool, proxy: &'static str) -> Option<Pod> {
    let mut pod = Pod::bare()?;
    pod.lab.sh("ip -6 addr flush dev eth0; ip -6 route flush dev eth0");
    load(&pod.lab, backend, rules);
    if whole {
        pod.lab.sh("ip rule add fwmark 1337 lookup 133; ip route add local default dev lo table 133");
    }
    pod.claims_istio();
    // To be transparent a proxy needs NET_ADMIN: its group is what rules leave alone.
    pod.runs_as((0, 1337), "istio-proxy", proxy, 2);
    pod.runs(1000, "app", "accept:0.0.0.0:8080", 3);
    Some(pod)
}

const WELL: &str = "accept:0.0.0.0:15001 transparent:0.0.0.0:15006";

#[test]
fn rdr012_the_pieces_of_tproxy() {
    for backend in BACKENDS {
        let Some(whole) = pod(backend, TPROXY, true, WELL) else { return };
        silent(&whole.checked());
        let Some(bare) = pod(backend, TPROXY, false, WELL) else { return };
        let answer = bare.checked();
        let finding = only(&answer, "RDR012", Severity::Error);
        assert!(
            finding.evidence.iter().any(|fact| fact.contains("no policy rule looks for mark 0x539")),
            "{finding:?}"
        );
        bare.lab.sh("ip rule add fwmark 1337 lookup 133");
        let answer = bare.checked();
        let finding = only(&answer, "RDR012", Severity::Error);
        assert!(
            finding.evidence.iter().any(|fact| fact.contains("table 133 has no local default route")),
            "{finding:?}"
        );
        // What is for another address than the pod's times out then, and does not once it is whole.
        let taken = |pod: &Pod| {
            pod.world.sh("ip route replace 10.9.9.9/32 via 10.0.0.2");
            let _caller = run(&pod.world, 0, "dial:10.9.9.9:8080");
            (0..50).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(20));
                !pod.lab.sh("ss -Htn src 10.9.9.9:8080").is_empty()
            })
        };
        assert!(!taken(&bare) && taken(&whole));
        let Some(strict) = pod(backend, TPROXY, true, WELL) else { return };
        strict.lab.sh("for one in all eth0; do echo 1 > /proc/sys/net/ipv4/conf/$one/rp_filter; echo 1 > /proc/sys/net/ipv4/conf/$one/src_valid_mark; done");
        let answer = strict.checked();
        assert!(
            answer
                .findings
                .iter()
                .any(|finding| finding.kind.id == "RDR012"
                    && finding.evidence.iter().any(|fact| fact.contains("rp_filter"))),
            "{answer:?}"
        );
    }
}

#[test]
fn rdr301_nobody_waits_where_tproxy_gives_connections_to() {
    for backend in BACKENDS {
        let Some(pod) = pod(backend, TPROXY, true, "accept:[::]:15001 accept:[::]:15007") else { return };
        let answer = pod.checked();
        let finding = only(&answer, "RDR301", Severity::Error);
        assert!(finding.title.contains("15006"), "{finding:?}");
        assert_eq!(finding.rule.as_ref().map(|rule| rule.chain.as_str()), Some("ISTIO_TPROXY"), "{finding:?}");
    }
}

#[test]
fn rdr104_the_proxy_gets_its_own_calls_back() {
    for backend in BACKENDS {
        let rules = without(&without(TPROXY, "-i lo"), "-A ISTIO_INBOUND -p tcp -m mark --mark 1337");
        let Some(pod) = pod(backend, &rules, true, WELL) else { return };
        let answer = pod.checked();
        let finding = only(&answer, "RDR104", Severity::Error);
        let rule = finding.rule.as_ref().expect("the rule");
        assert_eq!((rule.chain.as_str(), rule.number), ("ISTIO_TPROXY", 1), "{finding:?}");
        // So it is: its own call to the application waits at its own port.
        let _caller = run(&pod.lab, 0, "mark:10.0.0.2:8080#1337");
        let taken = || pod.lab.sh("ss -Htne state established src 10.0.0.2:8080");
        wait_until("the call", || !taken().is_empty());
        assert!(!taken().contains("uid:1000"), "{}", taken());
    }
}
