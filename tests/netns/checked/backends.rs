//! Families that differ, backends and nft's own chains: RDR403 to RDR409.

use nslens::analysis::check::{Answer, Severity};
use nslens::model::{Interface, Kind, Workload};

use super::stage::{Pod, istio, noted, only, restore, silent, words};
use crate::questions::stage::run;

const BACKENDS: [&str; 2] = ["legacy", "nft"];

fn says(answer: &Answer, id: &str, what: &str) -> bool {
    let facts = answer.findings.iter().filter(|finding| finding.kind.id == id).flat_map(|finding| &finding.evidence);
    facts.into_iter().any(|fact| fact.contains(what))
}

#[test]
fn rdr403_an_exclusion_of_one_family() {
    for backend in BACKENDS {
        for (words, says_so) in [
            ("ISTIO_OUTPUT -p tcp --dport 3306 -j RETURN", "a connection to port 3306: over IPv4 left alone by"),
            ("ISTIO_INBOUND -p tcp --dport 9999 -j RETURN", "from outside to port 9999: over IPv4 left alone by"),
            ("ISTIO_OUTPUT -p tcp -m owner --uid-owner 7777 -j RETURN", "one of UID 7777 to port"),
        ] {
            let Some(pod) = Pod::istio(backend) else { return };
            pod.both(backend, &format!("-t nat -I {words}"));
            silent(&pod.checked());
            pod.lab.sh(&format!("ip6tables-{backend} -w -t nat -D {words}"));
            let answer = pod.checked();
            let finding = only(&answer, "RDR403", Severity::Warning);
            assert!(says(&answer, "RDR403", says_so), "{finding:?}");
            let rule = finding.rule.as_ref().expect("the rule");
            assert!(rule.chain.starts_with("ISTIO_") && rule.number == 1, "{finding:?}");
        }
    }
}

#[test]
fn rdr403_a_family_in_which_calls_to_oneself_stay() {
    // IPv4 sends what an application says to itself to the proxy, and IPv6 does not.
    let rule = "-A ISTIO_OUTPUT -d SELF -j RETURN";
    let rules = |ipv6: bool| {
        let own = if ipv6 { "::1/128" } else { "127.0.0.1/32" };
        Some(if ipv6 { istio(ipv6) } else { istio(ipv6).replace(&rule.replace("SELF", own), "") })
    };
    for backend in BACKENDS {
        let Some(pod) = Pod::with_rules(backend, rules) else { return };
        // Others than UID and GID 1337 return on lo before: nothing is different.
        silent(&pod.checked());
    }
}

#[test]
fn rdr404_rules_of_a_node_in_both_backends() {
    let Some(mut pod) = Pod::bare() else { return };
    pod.workload = Workload::named(Kind::Process, "node");
    let service = |to: &str| {
        format!(
            "*nat\n:KUBE-SERVICES - [0:0]\n-A PREROUTING -j KUBE-SERVICES\n-A OUTPUT -j KUBE-SERVICES\n\
             -A KUBE-SERVICES -d 10.96.0.10/32 -p tcp --dport 80 -j DNAT --to-destination {to}\nCOMMIT\n"
        )
    };
    restore(&pod.lab, "nft", false, &service("10.0.0.5:8081"));
    let answer = pod.checked();
    assert!(!words(&answer).contains("RDR404"), "{}", words(&answer));
    // What an older system left.
    restore(&pod.lab, "legacy", false, &service("10.0.0.77:8081"));
    let _server = run(&pod.world, 0, "accept:[::]:8081");
    let answer = pod.checked();
    let finding = only(&answer, "RDR404", Severity::Warning);
    assert!(finding.title.starts_with("IPv4 rules of the node's programs"), "{finding:?}");
    assert!(says(&answer, "RDR404", "legacy: chains KUBE-*, 1 rules"), "{finding:?}");
    assert!(says(&answer, "RDR404", "nf_tables: chains KUBE-*, 1 rules"), "{finding:?}");
}

#[test]
fn rdr405_a_chain_of_nft_in_a_table_of_iptables() {
    let Some(pod) = Pod::istio("nft") else { return };
    let shown = |pod: &Pod| pod.lab.sh("iptables-nft-save -t nat 2>/dev/null | grep -c ^-A || true").trim().to_owned();
    let before = shown(&pod);
    // A table of one's own name is nobody else's business.
    pod.lab.sh(
        "nft 'table ip mine { chain out { type nat hook output priority -90; tcp dport { 4000, 4001 } redirect to :15001; }; }'",
    );
    assert!(!words(&pod.checked()).contains("RDR405"));
    let Some(pod) = Pod::istio("nft") else { return };
    pod.lab.sh(
        "nft 'add chain ip nat own { type nat hook output priority -90; }; add rule ip nat own tcp dport { 4000, 4001 } redirect to :15001'",
    );
    let answer = pod.checked();
    let finding = answer.findings.iter().find(|finding| finding.kind.id == "RDR405").expect("it is found");
    assert_eq!(finding.severity, Severity::Warning);
    assert!(finding.title.starts_with("table ip nat holds"), "{finding:?}");
    assert!(says(&answer, "RDR405", "base chain own at output, priority -90"), "{finding:?}");
    assert!(says(&answer, "RDR405", "programs that use iptables there"), "{finding:?}");
    assert!(!says(&answer, "RDR405", "ip6"), "{finding:?}");
    // So it is: the real program shows what the note says.
    let noted = noted(&answer, "RDR408");
    let all = pod.lab.sh("(iptables-legacy-save; ip6tables-legacy-save; iptables-nft-save; ip6tables-nft-save) 2>/dev/null | grep -c ^-A");
    let words = format!("can show {} of", all.trim());
    assert!(noted.evidence.iter().any(|fact| fact.contains(&words)), "{words}: {noted:?}");
    assert_eq!(shown(&pod), before, "the chain is left out, and nothing else");
}

#[test]
fn rdr406_a_second_redirect_in_a_chain_of_nft() {
    for (priority, wins) in [(-101, true), (-99, false)] {
        let Some(mut pod) = Pod::istio("nft") else { return };
        pod.runs(0, "agent", "accept:[::]:9999", 7);
        pod.container("agent");
        let chain = format!("type nat hook output priority {priority};");
        let rule = "meta skuid 1000 tcp dport 80 redirect to :9999;";
        pod.lab.sh(&format!("nft 'table inet agent {{ chain out {{ {chain} {rule} }}; }}'"));
        let answer = pod.checked();
        let finding = only(&answer, "RDR406", Severity::Warning);
        assert!(finding.title.contains("nft inet agent out"), "{finding:?}");
        let first = if wins { "packets meet nft inet agent out" } else { "packets meet nft ip nat OUTPUT" };
        assert!(says(&answer, "RDR406", first), "{finding:?}");
        // One that takes everything takes it from the mesh.
        pod.lab.sh("nft 'flush chain inet agent out; add rule inet agent out meta skuid 1000 meta l4proto tcp redirect to :9999'");
        let answer = pod.checked();
        let severity = if wins { Severity::Error } else { Severity::Warning };
        let finding = only(&answer, "RDR406", severity);
        assert_eq!(says(&answer, "RDR406", "sent to port 9999 by nft inet agent out 1"), wins, "{finding:?}");
        assert_ne!(
            says(&answer, "RDR406", "of UID 1000 to 198.51.100.77:39999 is sent to port 15001"),
            wins,
            "{finding:?}"
        );
        // So it is.
        let _server = run(&pod.world, 0, "accept:[::]:80");
        let _call = run(&pod.lab, 1000, "dial:10.0.0.5:80");
        let port = if wins { 9999 } else { 15001 };
        pod.lab.wait_for_sockets(1, &format!("state established sport = {port}"));
    }
    // A chain that redirects nothing is no second interceptor.
    let Some(pod) = Pod::istio("nft") else { return };
    pod.lab.sh("nft 'table inet agent { chain out { type nat hook output priority -101; tcp dport 80 counter; }; }'");
    silent(&pod.checked());
}

#[test]
fn rdr406_chains_at_one_place() {
    let Some(mut pod) = Pod::istio("nft") else { return };
    pod.runs(0, "agent", "accept:[::]:9999", 7);
    pod.container("agent");
    pod.lab.sh(
        "nft 'table inet agent { chain out { type nat hook output priority -100; meta l4proto tcp redirect to :9999; }; }'",
    );
    let answer = pod.checked();
    assert!(says(&answer, "RDR406", "which packets meet first cannot be told"), "{}", words(&answer));
}

#[test]
fn rdr407_rules_by_iptables_and_by_nft() {
    let Some(pod) = Pod::istio("nft") else { return };
    silent(&pod.checked());
    pod.lab.sh("nft 'table inet istio-proxy-nat {
            chain output { type nat hook output priority -101; jump istio-output; }
            chain istio-output { meta skuid 1337 return; meta l4proto tcp redirect to :15001; }
        }'");
    let answer = pod.checked();
    let finding = only(&answer, "RDR407", Severity::Warning);
    assert!(says(&answer, "RDR407", "iptables: nft ip nat, nft ip6 nat"), "{finding:?}");
    assert!(says(&answer, "RDR407", "nft: nft inet istio-proxy-nat: 3 rules"), "{finding:?}");
    assert!(says(&answer, "RDR407", "is redirected by nft inet istio-proxy-nat istio-output 2"), "{finding:?}");
}

#[test]
fn rdr407_what_ambient_left_on_a_node() {
    let Some(mut pod) = Pod::bare() else { return };
    pod.workload = Workload::named(Kind::Process, "node");
    silent(&pod.checked());
    pod.lab.sh("ip link add istioin type veth peer name istioout
         ip rule add fwmark 0x400/0xfff lookup 100");
    let answer = pod.checked();
    let finding = only(&answer, "RDR407", Severity::Warning);
    assert!(says(&answer, "RDR407", "interfaces istioin, istioout"), "{finding:?}");
    assert!(says(&answer, "RDR407", "1 policy rules"), "{finding:?}");
    let seen: Vec<Interface> = pod.snapshot().interfaces.unwrap_or_default();
    assert!(seen.iter().any(|interface| interface.name == "istioin"));
}

#[test]
fn rdr409_nobody_finds_the_pod() {
    for backend in BACKENDS {
        let Some(pod) = Pod::istio(backend) else { return };
        let rules = "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A INPUT -i lo -j ACCEPT\n\
                     -A INPUT -p tcp -j ACCEPT\n";
        let with = |more: &str| format!("*filter\n{rules}{more}-A INPUT -j REJECT\nCOMMIT\n");
        restore(&pod.lab, backend, true, &with(""));
        let answer = pod.checked();
        let finding = only(&answer, "RDR409", Severity::Error);
        let rule = finding.rule.as_ref().expect("the rule");
        assert_eq!((rule.table.as_str(), rule.chain.as_str(), rule.number), ("filter", "INPUT", 4), "{finding:?}");
        assert!(says(&answer, "RDR409", "neighbour solicitation (ICMPv6 type 135) to fd00::2"), "{finding:?}");
        // So it is.
        let reached = |pod: &Pod| {
            pod.world.sh("ip -6 neigh flush dev eth0");
            let call = run(&pod.world, 0, "dial:[fd00::2]:8080");
            std::thread::sleep(std::time::Duration::from_millis(700));
            let there = pod.world.sh("ss -Htn state established dport = 8080");
            drop(call);
            !there.trim().is_empty()
        };
        assert!(!reached(&pod));
        let Some(pod) = Pod::istio(backend) else { return };
        restore(&pod.lab, backend, true, &with("-A INPUT -p ipv6-icmp -j ACCEPT\n"));
        silent(&pod.checked());
        assert!(reached(&pod));
    }
}
