//! Ambient mode: RDR601 to RDR611.

use nslens::analysis::check::{Asked, Finding, Severity, check};
use nslens::model::NetnsId;

use super::stage::{Pod, only, restore, silent, words};
use super::ztunnel::{Ambient, EVERYWHERE, Ztunnel, able, ambient};
use crate::questions::stage::{dial, run};
use crate::support::{Lab, wait_until};

const BACKENDS: [&str; 2] = ["legacy", "nft"];

fn identity(lab: &Lab) -> NetnsId {
    let (device, inode) = lab.netns().identity();
    NetnsId { device, inode }
}

/// Whether a fact of a finding says all of these words.
fn says(finding: &Finding, words: &[&str]) -> bool {
    finding.evidence.iter().any(|fact| words.iter().all(|word| fact.contains(word)))
}

/// Runs `iptables` of a backend and of both families in the pod.
fn both(pod: &Ambient, backend: &str, words: &str) {
    pod.pod.lab.sh(&format!("iptables-{backend} -w {words}; ip6tables-{backend} -w {words}"));
}

/// The place of the rule that a finding is about.
#[track_caller]
fn place(finding: &Finding) -> (&str, &str, usize) {
    let rule = finding.rule.as_ref().expect("the rule");
    (&rule.table, &rule.chain, rule.number)
}

#[test]
fn a_healthy_pod_of_ambient_mode_has_no_finding() {
    for backend in BACKENDS {
        let Some(pod) = Ambient::well(backend) else { return };
        let answer = pod.checked();
        silent(&answer);
        assert_eq!(answer.expected.name, Some("Istio ambient"));
        assert!(answer.findings.is_empty(), "{}", words(&answer));
        // And so it is: a call of the application comes to the proxy, the node's own goes to the application.
        let call = pod.pod.lab.netns().enter(|| dial("10.0.0.5:80", None)).expect("inside");
        pod.pod.lab.wait_for_sockets(1, "state established sport = 15001");
        let probe = pod.pod.world.netns().enter(|| dial("10.0.0.2:8080", None)).expect("inside");
        pod.pod.lab.wait_for_sockets(1, "state established src 10.0.0.2 sport = 8080 dst 169.254.7.127");
        drop((call, probe));
    }
}

/// Ambient mode's rules in nft's own terms.
const NATIVE: &str = "
add table inet istio-ambient-nat
add chain inet istio-ambient-nat prerouting { type nat hook prerouting priority -100 ; }
add chain inet istio-ambient-nat output { type nat hook output priority -100 ; }
add chain inet istio-ambient-nat istio-prerouting
add chain inet istio-ambient-nat istio-output
add rule inet istio-ambient-nat output jump istio-output
add rule inet istio-ambient-nat prerouting jump istio-prerouting
add rule inet istio-ambient-nat istio-prerouting meta l4proto tcp ip saddr 169.254.7.127 counter accept
add rule inet istio-ambient-nat istio-prerouting meta l4proto tcp ip6 saddr fd16:9254:7127:1337:ffff:ffff:ffff:ffff counter accept
add rule inet istio-ambient-nat istio-output meta l4proto tcp ip daddr 169.254.7.127 counter accept
add rule inet istio-ambient-nat istio-output meta l4proto tcp ip6 daddr fd16:9254:7127:1337:ffff:ffff:ffff:ffff counter accept
add rule inet istio-ambient-nat istio-prerouting ip daddr != 127.0.0.1/32 tcp dport != 15008 mark and 0xfff != 0x539 counter redirect to :15006
add rule inet istio-ambient-nat istio-prerouting ip6 daddr != ::1/128 tcp dport != 15008 mark and 0xfff != 0x539 counter redirect to :15006
add rule inet istio-ambient-nat istio-output oifname != lo mark and 0xfff != 0x539 udp dport 53 counter redirect to :15053
add rule inet istio-ambient-nat istio-output ip daddr != 127.0.0.1/32 tcp dport 53 mark and 0xfff != 0x539 counter redirect to :15053
add rule inet istio-ambient-nat istio-output ip6 daddr != ::1/128 tcp dport 53 mark and 0xfff != 0x539 counter redirect to :15053
add rule inet istio-ambient-nat istio-output meta l4proto tcp mark and 0xfff == 0x111 counter accept
add rule inet istio-ambient-nat istio-output oifname lo ip daddr != 127.0.0.1/32 counter accept
add rule inet istio-ambient-nat istio-output oifname lo ip6 daddr != ::1/128 counter accept
add rule inet istio-ambient-nat istio-output meta l4proto tcp ip daddr != 127.0.0.1/32 mark and 0xfff != 0x539 counter redirect to :15001
add rule inet istio-ambient-nat istio-output meta l4proto tcp ip6 daddr != ::1/128 mark and 0xfff != 0x539 counter redirect to :15001
add table inet istio-ambient-mangle
add chain inet istio-ambient-mangle prerouting { type filter hook prerouting priority -150 ; }
add chain inet istio-ambient-mangle output { type route hook output priority -150 ; }
add chain inet istio-ambient-mangle istio-prerouting
add chain inet istio-ambient-mangle istio-output
add rule inet istio-ambient-mangle prerouting jump istio-prerouting
add rule inet istio-ambient-mangle output jump istio-output
add rule inet istio-ambient-mangle istio-prerouting meta mark & 0xfff == 0x539 counter ct mark set ct mark & 0xfffff000 | 0x111
add rule inet istio-ambient-mangle istio-output ct mark and 0xfff == 0x111 counter meta mark set ct mark
add table inet istio-ambient-raw
add chain inet istio-ambient-raw prerouting { type filter hook prerouting priority -300 ; }
add chain inet istio-ambient-raw output { type filter hook output priority -300 ; }
add chain inet istio-ambient-raw istio-prerouting
add chain inet istio-ambient-raw istio-output
add rule inet istio-ambient-raw prerouting jump istio-prerouting
add rule inet istio-ambient-raw output jump istio-output
add rule inet istio-ambient-raw istio-output udp dport 53 meta mark and 0xfff == 0x539 counter ct zone set 1
add rule inet istio-ambient-raw istio-prerouting udp sport 53 meta mark and 0xfff != 0x539 counter ct zone set 1
";

#[test]
fn a_healthy_pod_in_nfts_own_terms_has_no_finding() {
    let Some(mut pod) = Ambient::enrolled() else { return };
    pod.pod.lab.sh(&format!("nft -f - <<'END'\n{NATIVE}\nEND"));
    pod.node("nft");
    pod.ztunnel = Some(Ztunnel::of(&pod.pod.lab, EVERYWHERE));
    let answer = pod.checked();
    silent(&answer);
    assert!(answer.expected.native && answer.findings.is_empty(), "{}", words(&answer));
    // One rule less.
    pod.pod.lab.sh("nft flush chain inet istio-ambient-mangle istio-output");
    let answer = pod.checked();
    let finding = only(&answer, "RDR601", Severity::Error);
    assert!(says(finding, &["IPv4", "0x111", "answers"]), "{finding:?}");
}

#[test]
fn ambient_mode_without_dns_capture_is_right_too() {
    let Some(mut pod) = Ambient::enrolled() else { return };
    for ipv6 in [false, true] {
        let rules: Vec<String> =
            ambient(ipv6).lines().filter(|line| !line.contains("port 53")).map(str::to_owned).collect();
        restore(&pod.pod.lab, "nft", ipv6, &rules.join("\n"));
    }
    pod.node("nft");
    pod.ztunnel = Some(Ztunnel::of(&pod.pod.lab, "tcp:[::]:15001 tcp:[::]:15006 tcp:[::]:15008"));
    let answer = pod.checked();
    silent(&answer);
    assert!(answer.findings.is_empty(), "{}", words(&answer));
}

#[test]
fn rdr601_enrolled_without_rules() {
    let Some(mut pod) = Ambient::enrolled() else { return };
    pod.node("nft");
    pod.ztunnel = Some(Ztunnel::of(&pod.pod.lab, EVERYWHERE));
    let answer = pod.checked();
    let finding = only(&answer, "RDR601", Severity::Error);
    assert!(finding.title.starts_with("none") && says(finding, &["ambient.istio.io/redirection"]), "{finding:?}");
}

#[test]
fn rdr601_one_rule_is_missing() {
    for backend in BACKENDS {
        let missing = |spoil: &str, words: &[&str]| {
            let Some(pod) = Ambient::well(backend) else { return };
            if spoil.starts_with("ip ") {
                pod.pod.lab.sh(spoil);
            } else {
                both(&pod, backend, spoil);
            }
            let answer = pod.checked();
            let finding = only(&answer, "RDR601", Severity::Error);
            assert!(finding.title.starts_with("some") && says(finding, words), "{spoil}: {finding:?}");
        };
        missing("-t nat -D ISTIO_PRERT 2", &["what comes in"]);
        missing("-t nat -D ISTIO_OUTPUT 6", &["what it sends"]);
        missing("-t mangle -D ISTIO_PRERT 1", &["IPv4", "no rule marks the connections", "0x539"]);
        missing("-t mangle -D ISTIO_OUTPUT 1", &["IPv6", "0x111", "answers"]);
        missing("ip rule del pref 32764", &["IPv4", "policy rule"]);
    }
}

#[test]
fn rdr602_rules_without_ztunnel() {
    for backend in BACKENDS {
        let Some(mut pod) = Ambient::well(backend) else { return };
        pod.ztunnel = None;
        let answer = pod.checked();
        let finding = only(&answer, "RDR602", Severity::Error);
        assert!(["15001", "15006", "15008"].iter().all(|port| finding.title.contains(port)), "{finding:?}");
        assert!(says(finding, &["ISTIO_OUTPUT", "port 15001"]), "{finding:?}");
        // One that waits again from its own namespace.
        pod.ztunnel = Some(Ztunnel::of(&pod.pod.lab, EVERYWHERE));
        silent(&pod.checked());
    }
}

#[test]
fn rdr603_another_rule_of_the_node_comes_before() {
    for backend in BACKENDS {
        let Some(pod) = Ambient::well(backend) else { return };
        pod.pod.world.sh(&format!("iptables-{backend} -w -t nat -I POSTROUTING -d 10.0.0.0/24 -j MASQUERADE"));
        let answer = pod.checked();
        let finding = only(&answer, "RDR603", Severity::Error);
        assert_eq!(place(finding), ("nat", "POSTROUTING", 1));
        assert!(finding.title.contains("10.0.0.5") && finding.title.contains("ISTIO_POSTRT 1"), "{finding:?}");
        // So it is: the node's call comes to the proxy.
        let probe = pod.pod.world.netns().enter(|| dial("10.0.0.2:8080", None)).expect("inside");
        pod.pod.lab.wait_for_sockets(1, "state established sport = 15006");
        drop(probe);
        // One that leaves the pod alone is right.
        pod.pod.world.sh(&format!(
            "iptables-{backend} -w -t nat -D POSTROUTING 1
             iptables-{backend} -w -t nat -I POSTROUTING -d 10.9.0.0/16 -j MASQUERADE"
        ));
        silent(&pod.checked());
    }
}

#[test]
fn rdr603_no_rule_of_the_node_is_about_probes() {
    let Some(pod) = Ambient::well("nft") else { return };
    pod.pod.world.sh("ip6tables-nft -w -t nat -F ISTIO_POSTRT");
    let answer = pod.checked();
    let finding = only(&answer, "RDR603", Severity::Error);
    assert!(finding.title.contains("fd00::5") && says(finding, &["IPv6"]), "{finding:?}");
    // The address is another one than the pod lets through.
    pod.pod.world.sh("ip6tables-nft -w -t nat -A ISTIO_POSTRT -p tcp -j SNAT --to-source fd16::9");
    let answer = pod.checked();
    let finding = only(&answer, "RDR603", Severity::Error);
    assert!(finding.title.contains("fd16::9"), "{finding:?}");
    assert_eq!(place(finding), ("nat", "ISTIO_PRERT", 2));
}

#[test]
fn rdr603_cannot_be_told_without_the_node() {
    let Some(pod) = Ambient::well("nft") else { return };
    let mut snapshot = pod.snapshot();
    snapshot.node_state = None;
    let answer = check(&snapshot, Asked::default());
    assert!(answer.findings.is_empty() && answer.undecided.iter().all(|open| open.id == "RDR603"));
    assert_eq!(answer.undecided.len(), 1, "{}", words(&answer));
    // Unless a call of the node's was captured.
    pod.pod.world.sh("iptables-nft -w -t nat -F ISTIO_POSTRT");
    let probe = pod.pod.world.netns().enter(|| dial("10.0.0.2:8080", None)).expect("inside");
    let mut snapshot = pod.snapshot();
    snapshot.node_state = None;
    let answer = check(&snapshot, Asked::default());
    let finding = answer.findings.iter().find(|finding| finding.kind.id == "RDR603").expect("it is found");
    assert!(says(finding, &["10.0.0.5:", "10.0.0.2:8080", "10.0.0.2:15006"]), "{finding:?}");
    drop(probe);
}

#[test]
fn rdr604_the_pod_is_not_in_the_nodes_set() {
    for backend in BACKENDS {
        let Some(pod) = Ambient::well(backend) else { return };
        pod.pod.world.sh("ipset del istio-inpod-probes-v4 10.0.0.2; ipset add istio-inpod-probes-v4 10.0.0.3");
        let answer = pod.checked();
        let finding = only(&answer, "RDR604", Severity::Error);
        assert!(finding.title.contains("10.0.0.2") && finding.title.contains("istio-inpod-probes-v4"), "{finding:?}");
        assert_eq!(place(finding), ("nat", "ISTIO_POSTRT", 1));
    }
    // The same in nft's own terms.
    let Some(pod) = Ambient::well("nft") else { return };
    pod.pod.world.sh("iptables-nft -w -t nat -F ISTIO_POSTRT; nft -f - <<'END'
        table inet istio-ambient-nat {
          set istio-inpod-probes-v4 { type ipv4_addr; }
          chain postrouting {
            type nat hook postrouting priority 100;
            meta l4proto tcp skuid 0 ip daddr @istio-inpod-probes-v4 counter snat ip to 169.254.7.127
          }
        }
END");
    let answer = pod.checked();
    let finding = only(&answer, "RDR604", Severity::Error);
    assert_eq!(place(finding), ("istio-ambient-nat", "postrouting", 1));
    pod.pod.world.sh("nft add element inet istio-ambient-nat istio-inpod-probes-v4 { 10.0.0.2 }");
    silent(&pod.checked());
}

#[test]
fn rdr605_ztunnel_waits_in_a_namespace_that_nobody_uses() {
    let Some(mut pod) = Ambient::well("nft") else { return };
    pod.ztunnel = None;
    let old = Lab::new();
    let _ztunnel = Ztunnel::of(&old, EVERYWHERE);
    let mut snapshot = pod.snapshot();
    snapshot.workload.netns = Some(identity(&pod.pod.lab));
    snapshot.workload.sandbox_netns = Some(identity(&old));
    let answer = check(&snapshot, Asked::default());
    let finding = only(&answer, "RDR605", Severity::Error);
    assert!(says(finding, &[&identity(&old).inode.to_string()]), "{finding:?}");
    // With one that serves this one, the runtime's word alone is another matter.
    pod.ztunnel = Some(Ztunnel::of(&pod.pod.lab, EVERYWHERE));
    let mut snapshot = pod.snapshot();
    snapshot.workload.netns = Some(identity(&pod.pod.lab));
    snapshot.workload.sandbox_netns = snapshot.workload.netns;
    silent(&check(&snapshot, Asked::default()));
}

#[test]
fn rdr606_a_connection_from_before_the_enrolment() {
    for backend in BACKENDS {
        let Some(mut pod) = Ambient::enrolled() else { return };
        // Something tracks already.
        both(&pod, backend, "-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT");
        let _server = run(&pod.pod.world, 0, "accept:[::]:80");
        pod.pod.world.wait_for_sockets(1, "state listening");
        pod.pod.programs.push((run(&pod.pod.lab, 1000, "dial:10.0.0.5:80"), "app"));
        pod.pod.lab.wait_for_sockets(1, "state established dport = 80");
        for ipv6 in [false, true] {
            restore(&pod.pod.lab, backend, ipv6, &ambient(ipv6));
        }
        pod.node(backend);
        pod.ztunnel = Some(Ztunnel::of(&pod.pod.lab, EVERYWHERE));
        let answer = pod.checked();
        let finding = only(&answer, "RDR606", Severity::Warning);
        assert!(says(finding, &["10.0.0.5:80", "older than"]), "{finding:?}");
        assert_eq!(place(finding), ("nat", "ISTIO_OUTPUT", 6));
        // Opened anew it is redirected.
        pod.pod.programs.pop();
        pod.pod.programs.push((run(&pod.pod.lab, 1000, "dial:10.0.0.5:80"), "app"));
        pod.pod.lab.wait_for_sockets(1, "state established sport = 15001");
        silent(&pod.checked());
    }
}

#[test]
fn rdr607_another_agent_sets_the_whole_mark() {
    for backend in BACKENDS {
        let Some(pod) = Ambient::well(backend) else { return };
        both(&pod, backend, "-t mangle -A OUTPUT -j MARK --set-mark 0");
        let answer = pod.checked();
        let loud: Vec<&Finding> = answer.findings.iter().filter(|one| one.severity > Severity::Info).collect();
        assert!(loud.iter().all(|one| one.kind.id == "RDR607") && answer.undecided.is_empty(), "{}", words(&answer));
        assert_eq!(loud.len(), 2, "one for each family: {}", words(&answer));
        for finding in loud {
            assert_eq!(place(finding), ("mangle", "OUTPUT", 2));
            assert!(says(finding, &["what the proxy sends", "0x539"]), "{finding:?}");
        }
        // The mark of the answers is enough.
        both(&pod, backend, "-t mangle -R OUTPUT 2 -m mark --mark 0x111/0xfff -j MARK --set-mark 0");
        let answer = pod.checked();
        let loud: Vec<&Finding> = answer.findings.iter().filter(|one| one.severity > Severity::Info).collect();
        assert!(loud.len() == 2 && loud.iter().all(|one| one.kind.id == "RDR607"), "{}", words(&answer));
        assert!(loud.iter().all(|one| says(one, &["answers", "0x111"])), "{}", words(&answer));
        // One that sets its own bits alone is right.
        both(&pod, backend, "-t mangle -D OUTPUT 2");
        both(&pod, backend, "-t mangle -A OUTPUT -j MARK --set-xmark 0x10000/0x10000");
        silent(&pod.checked());
    }
}

#[test]
fn rdr608_a_sidecar_in_a_pod_of_ambient_mode() {
    let Some(pod) = Pod::istio("nft") else { return };
    silent(&pod.checked());
    let ztunnel = Ztunnel::of(&pod.lab, "tcp:[::]:15008");
    let answer = pod.checked();
    let finding = only(&answer, "RDR608", Severity::Warning);
    assert!(says(finding, &["[::]:15008"]), "{finding:?}");
    drop(ztunnel);
    // And rules of both.
    let marks = ambient(false).split_inclusive("COMMIT").next().map(str::to_owned).expect("the marks");
    restore(&pod.lab, "nft", false, &marks);
    let answer = pod.checked();
    let finding = only(&answer, "RDR608", Severity::Warning);
    assert!(says(finding, &["rules of Istio ambient"]), "{finding:?}");
}

#[test]
fn rdr609_an_address_that_is_not_the_pods_own() {
    let Some(mut pod) = Ambient::well("nft") else { return };
    pod.pod.lab.sh("ip addr add 10.9.0.2/24 dev eth0");
    let answer = pod.checked();
    let finding = only(&answer, "RDR609", Severity::Warning);
    assert!(finding.title.contains("10.9.0.2") && says(finding, &["eth0", "10.0.0.2"]), "{finding:?}");
    assert_eq!(place(finding), ("nat", "ISTIO_PRERT", 2));
    pod.pod.workload.addresses.push("10.9.0.2".parse().expect("an address"));
    silent(&pod.checked());
}

#[test]
fn rdr609_a_pod_that_the_node_reaches_by_policy_alone() {
    let Some(pod) = Ambient::well("nft") else { return };
    // As for a pod with an interface of the cloud's own.
    pod.pod.world.sh("ip route add 10.0.0.2/32 dev eth0 table 101; ip rule add iif eth0 lookup 101 pref 10");
    silent(&pod.checked());
    pod.pod.world.sh("ip rule add to 10.0.0.2 lookup 101 pref 11; ip route del 10.0.0.0/24 dev eth0");
    let answer = pod.checked();
    let finding = only(&answer, "RDR609", Severity::Warning);
    assert!(finding.title.contains("table 101") && says(finding, &["policy rule 10"]), "{finding:?}");
}

#[test]
fn rdr610_an_application_has_taken_the_port_of_hbone() {
    let Some(mut pod) = Ambient::well("nft") else { return };
    pod.ztunnel = None;
    pod.pod.programs.push((run(&pod.pod.lab, 1000, "accept:[::]:15008"), "app"));
    pod.pod.lab.wait_for_sockets(1, "state listening sport = 15008");
    pod.ztunnel = Some(Ztunnel::of(&pod.pod.lab, &EVERYWHERE.replace("tcp:[::]:15008 ", "")));
    let answer = pod.checked();
    let finding = only(&answer, "RDR610", Severity::Error);
    assert!(finding.title.contains("container app") && says(finding, &["[::]:15008"]), "{finding:?}");
}

#[test]
fn rdr610_a_filter_blocks_the_port_of_hbone() {
    for backend in BACKENDS {
        let Some(pod) = Ambient::well(backend) else { return };
        pod.pod.lab.sh(&format!("iptables-{backend} -w -A INPUT -p tcp --dport 15008 -j DROP"));
        let answer = pod.checked();
        let finding = only(&answer, "RDR610", Severity::Error);
        assert_eq!(place(finding), ("filter", "INPUT", 1));
        assert!(finding.title.contains("dropped") && says(finding, &["10.0.0.2:15008"]), "{finding:?}");
        pod.pod.lab.sh(&format!("iptables-{backend} -w -I INPUT -p tcp --dport 15008 -j ACCEPT"));
        silent(&pod.checked());
    }
}

#[test]
fn rdr611_an_application_with_the_mark_or_the_means_to_have_it() {
    for backend in BACKENDS {
        let Some(mut pod) = Ambient::well(backend) else { return };
        let _server = run(&pod.pod.world, 0, "accept:[::]:80");
        pod.pod.world.wait_for_sockets(1, "state listening");
        pod.pod.programs.push((able(&pod.pod.lab, "+net_raw", ""), "app"));
        let pid = pod.pod.programs.last().expect("it runs").0.pid();
        let status = || std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        wait_until("its capability", || status().contains("CapEff:\t0000000000002000"));
        let mut snapshot = pod.snapshot();
        let own = snapshot.processes.iter_mut().flatten().find(|process| process.pid == pid);
        own.expect("it is listed").capabilities = Some(1 << 13);
        let answer = check(&snapshot, Asked::default());
        let finding = only(&answer, "RDR611", Severity::Warning);
        assert!(says(finding, &["container app", "NET_RAW"]), "{finding:?}");
        pod.pod.programs.pop();
        pod.pod.programs.push((able(&pod.pod.lab, "+net_raw", "call:10.0.0.5:80"), "app"));
        pod.pod.lab.wait_for_sockets(1, "state established dst 10.0.0.5 dport = 80");
        let answer = pod.checked();
        let finding = only(&answer, "RDR611", Severity::Error);
        assert!(says(finding, &["container app", "0x539"]) && says(finding, &["ISTIO_OUTPUT"]), "{finding:?}");
        // It is past the proxy.
        pod.pod.lab.wait_for_sockets(0, "state established sport = 15001");
        pod.pod.programs.pop();
        pod.pod.lab.wait_for_sockets(0, "state established dport = 80");
        silent(&pod.checked());
    }
}
