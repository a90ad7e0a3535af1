//! Names: RDR501 to RDR508.

use nslens::analysis::check::{Answer, Asked, Finding, Severity, check};
use nslens::model::{CpuStatistics, Resolver, Snapshot};

use super::stage::{Pod, istio, only, restore, silent, without, words};
use crate::questions::stage::run;

const BACKENDS: [&str; 2] = ["legacy", "nft"];
/// Where the lab's proxy waits, for queries too.
const PROXY: &str = "accept:[::]:15001 accept:[::]:15006 accept:127.0.0.1:15053 udp:127.0.0.1:15053";
/// What Istio adds for DNS; `FOR` stands for the resolver, `FROM` for what comes from it.
const NAMES: &str = "
*nat
:ISTIO_OUTPUT_DNS - [0:0]
-A OUTPUT -p udp -j ISTIO_OUTPUT_DNS
-A ISTIO_OUTPUT_DNS -p udp --dport 53 -m owner --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT_DNS -p udp --dport 53 -m owner --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT_DNS -p udp --dport 53 FOR -j REDIRECT --to-ports 15053
COMMIT
";
const ZONES: &str = "
*raw
-A OUTPUT -p udp --dport 53 -m owner --uid-owner 1337 -j CT --zone 1
-A OUTPUT -p udp --sport 15053 -m owner --uid-owner 1337 -j CT --zone 2
-A OUTPUT -p udp --dport 53 -m owner --gid-owner 1337 -j CT --zone 1
-A OUTPUT -p udp --sport 15053 -m owner --gid-owner 1337 -j CT --zone 2
-A OUTPUT -p udp --dport 53 FOR -j CT --zone 2
-A PREROUTING -p udp --sport 53 FROM -j CT --zone 1
COMMIT
";

/// A pod of Istio with DNS capture.
struct Names {
    pod: Pod,
    /// What the application's resolv.conf says.
    nameservers: Vec<&'static str>,
}

impl Names {
    /// All is well: queries to this resolver are captured, or to any where there is none.
    fn well(backend: &str, resolver: Option<&'static str>) -> Option<Self> {
        let own = Self::ruled(backend, resolver, NAMES, ZONES, PROXY)?;
        Some(own)
    }

    /// The same with other rules or another proxy.
    fn ruled(backend: &str, resolver: Option<&'static str>, names: &str, zones: &str, proxy: &str) -> Option<Self> {
        let mut pod = Pod::bare()?;
        let (to, from) =
            resolver.map_or_else(Default::default, |resolver| (format!("-d {resolver}"), format!("-s {resolver}")));
        let filled = |rules: &str| rules.replace("FOR", &to).replace("FROM", &from);
        // TCP stands among Istio's own rules.
        let tcp = filled("-A ISTIO_OUTPUT -p tcp --dport 53 FOR -j REDIRECT --to-ports 15053");
        let own = "-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN";
        let rules = istio(false).replace("-o lo -m owner !", "-o lo -p tcp ! --dport 53 -m owner !");
        restore(&pod.lab, backend, false, &rules.replace(own, &format!("{tcp}\n{own}")));
        restore(&pod.lab, backend, true, &istio(true));
        for rules in [names, zones].into_iter().filter(|rules| !rules.is_empty()) {
            restore(&pod.lab, backend, false, &filled(rules));
        }
        pod.claims_istio();
        pod.runs(1337, "istio-proxy", proxy, proxy.matches("accept:").count());
        pod.runs(1000, "app", "accept:[::]:8080", proxy.matches("accept:").count() + 1);
        Some(Self { pod, nameservers: resolver.into_iter().collect() })
    }

    fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.pod.snapshot();
        let nameservers = self.nameservers.iter().map(|address| (*address).to_owned()).collect();
        snapshot.resolvers = vec![("app".to_owned(), Resolver { nameservers, search: Vec::new() })];
        snapshot
    }

    fn checked(&self) -> Answer {
        check(&self.snapshot(), Asked::default())
    }

    /// Starts a program of the application and waits until this many datagram sockets are bound to a port.
    fn asks(&mut self, words: &str, port: u16) {
        self.pod.programs.push((run(&self.pod.lab, 1000, words), "app"));
        self.pod.lab.wait_for_sockets(1, &format!("sport = {port}"));
    }
}

/// Whether a fact of a finding says all of these words.
fn says(finding: &Finding, words: &[&str]) -> bool {
    finding.evidence.iter().any(|fact| words.iter().all(|word| fact.contains(word)))
}

/// The place of the rule that a finding is about.
#[track_caller]
fn place(finding: &Finding) -> (&str, &str, usize) {
    let rule = finding.rule.as_ref().expect("the rule");
    (&rule.table, &rule.chain, rule.number)
}

#[track_caller]
fn told<'a>(answer: &'a Answer, id: &str) -> &'a Finding {
    silent(answer);
    let found = answer.findings.iter().find(|finding| finding.kind.id == id);
    found.unwrap_or_else(|| panic!("{id} was to be told: {}", words(answer)))
}

#[test]
fn a_healthy_pod_with_dns_capture_has_no_finding() {
    for backend in BACKENDS {
        for resolver in ["10.96.0.10", "169.254.20.10"] {
            let Some(pod) = Names::well(backend, Some(resolver)) else { return };
            let answer = pod.checked();
            silent(&answer);
            assert!(answer.expected.dns && answer.findings.is_empty(), "{}", words(&answer));
        }
        // Any resolver at all, and nobody says whom programs ask.
        let Some(pod) = Names::well(backend, None) else { return };
        silent(&pod.pod.checked());
    }
}

#[test]
fn capture_of_queries_alone_is_no_capture_of_what_is_sent() {
    let Some(pod) = Names::well("nft", Some("10.96.0.10")) else { return };
    for program in ["iptables-nft", "ip6tables-nft"] {
        pod.pod.lab.sh(&format!("{program} -w -t nat -D ISTIO_OUTPUT -j ISTIO_REDIRECT"));
    }
    let answer = pod.checked();
    let finding = only(&answer, "RDR003", Severity::Error);
    assert_eq!(place(finding), ("nat", "ISTIO_REDIRECT", 1));
}

#[test]
fn rdr501_rules_name_another_resolver_than_resolv_conf() {
    for backend in BACKENDS {
        let Some(mut pod) = Names::well(backend, Some("10.96.0.10")) else { return };
        pod.nameservers = vec!["169.254.20.10"];
        let answer = pod.checked();
        let finding = only(&answer, "RDR501", Severity::Warning);
        assert_eq!(place(finding), ("nat", "ISTIO_OUTPUT_DNS", 3));
        assert!(says(finding, &["169.254.20.10:53", "container app"]), "{finding:?}");
        assert!(says(finding, &["to 10.96.0.10 alone"]), "{finding:?}");
        // Where nobody tells whom programs ask it cannot be decided.
        let answer = pod.pod.checked();
        assert!(answer.undecided.iter().any(|open| open.id == "RDR501"), "{}", words(&answer));
    }
}

#[test]
fn rdr501_the_proxy_is_told_to_answer_and_rules_know_nothing_of_it() {
    let Some(mut pod) = Names::ruled("nft", None, "", "", PROXY) else { return };
    pod.nameservers = vec!["10.0.0.5"];
    // TCP alone goes to it.
    pod.pod.lab.sh("iptables-nft -w -t nat -D ISTIO_OUTPUT -p tcp --dport 53 -j REDIRECT --to-ports 15053");
    let answer = pod.checked();
    let finding = only(&answer, "RDR501", Severity::Warning);
    assert!(says(finding, &["waits for queries", "127.0.0.1:15053"]), "{finding:?}");
    // Metadata says so as well, or that it is not wanted.
    let switched = |pod: &mut Names, value: &str| {
        let proxy = pod.pod.workload.containers.first_mut().expect("the proxy's container");
        proxy.environment.insert("ISTIO_META_DNS_CAPTURE".to_owned(), value.to_owned());
    };
    switched(&mut pod, "true");
    let answer = pod.checked();
    assert!(says(only(&answer, "RDR501", Severity::Warning), &["ISTIO_META_DNS_CAPTURE of container istio-proxy"]));
    switched(&mut pod, "false");
    silent(&pod.checked());
}

#[test]
fn rdr502_the_proxys_queries_share_the_applications_zone() {
    for backend in BACKENDS {
        let Some(pod) = Names::ruled(backend, Some("10.0.0.5"), NAMES, "", PROXY) else { return };
        let answer = pod.checked();
        let finding = only(&answer, "RDR502", Severity::Error);
        assert_eq!(place(finding), ("nat", "ISTIO_OUTPUT_DNS", 3));
        assert!(finding.title.contains("10.0.0.5") && finding.title.contains("zone 0"), "{finding:?}");
        // Zones for queries alone: no answer is translated back.
        restore(&pod.pod.lab, backend, false, &ZONES.replace("FOR", "").replace("FROM", "").replace("15053", "15054"));
        let answer = pod.checked();
        let finding = only(&answer, "RDR502", Severity::Error);
        assert!(finding.title.contains("zone 0") && finding.title.contains("zone 2"), "{finding:?}");
    }
}

#[test]
fn rdr502_of_consul_is_information() {
    const CONSUL: &str = "
*nat
:CONSUL_PROXY_INBOUND - [0:0]
:CONSUL_PROXY_IN_REDIRECT - [0:0]
:CONSUL_PROXY_OUTPUT - [0:0]
:CONSUL_PROXY_REDIRECT - [0:0]
:CONSUL_DNS_REDIRECT - [0:0]
-A CONSUL_PROXY_REDIRECT -p tcp -j REDIRECT --to-ports 15001
-A CONSUL_DNS_REDIRECT -d 127.0.0.1/32 -p udp --dport 53 -j DNAT --to-destination 127.0.0.1:8600
-A CONSUL_DNS_REDIRECT -d 127.0.0.1/32 -p tcp --dport 53 -j DNAT --to-destination 127.0.0.1:8600
-A OUTPUT -d 127.0.0.1/32 -p udp --dport 53 -j CONSUL_DNS_REDIRECT
-A OUTPUT -d 127.0.0.1/32 -p tcp --dport 53 -j CONSUL_DNS_REDIRECT
-A OUTPUT -p tcp -j CONSUL_PROXY_OUTPUT
-A CONSUL_PROXY_OUTPUT -m owner --uid-owner 5995 -j RETURN
-A CONSUL_PROXY_OUTPUT -d 127.0.0.1/32 -j RETURN
-A CONSUL_PROXY_OUTPUT -j CONSUL_PROXY_REDIRECT
-A CONSUL_PROXY_IN_REDIRECT -p tcp -j REDIRECT --to-ports 20000
-A PREROUTING -p tcp -j CONSUL_PROXY_INBOUND
-A CONSUL_PROXY_INBOUND -p tcp -j CONSUL_PROXY_IN_REDIRECT
COMMIT
";
    let Some(mut pod) = Pod::bare() else { return };
    restore(&pod.lab, "nft", false, CONSUL);
    pod.lab.sh("ip -6 addr del fd00::2/64 dev eth0");
    pod.container("consul-dataplane");
    pod.workload.annotations.insert("consul.hashicorp.com/connect-inject-status".to_owned(), "injected".to_owned());
    let proxy = "accept:0.0.0.0:15001 accept:0.0.0.0:20000 accept:127.0.0.1:8600 udp:127.0.0.1:8600";
    pod.runs(5995, "consul-dataplane", proxy, 3);
    pod.runs(1000, "app", "accept:0.0.0.0:8080", 4);
    let pod = Names { pod, nameservers: vec!["127.0.0.1"] };
    let answer = pod.checked();
    assert_eq!(told(&answer, "RDR502").severity, Severity::Info);
}

#[test]
fn kumas_rules_leave_queries_over_tcp_alone() {
    const KUMA: &str = "
*raw
-A PREROUTING -p udp -m udp --sport 53 -j CT --zone 1
-A OUTPUT -p udp -m udp --dport 53 -m owner --uid-owner 5678 -j CT --zone 1
-A OUTPUT -p udp -m udp --sport 15053 -m owner --uid-owner 5678 -j CT --zone 2
-A OUTPUT -p udp -m udp --dport 53 -j CT --zone 2
COMMIT
*nat
:KUMA_MESH_INBOUND - [0:0]
:KUMA_MESH_INBOUND_REDIRECT - [0:0]
:KUMA_MESH_OUTBOUND - [0:0]
:KUMA_MESH_OUTBOUND_REDIRECT - [0:0]
-A PREROUTING -p tcp -j KUMA_MESH_INBOUND
-A OUTPUT -p udp -m udp --dport 53 -m owner --uid-owner 1 -j RETURN
-A OUTPUT -p udp -m udp --dport 53 -m owner --uid-owner 5678 -j RETURN
-A OUTPUT -p udp -m udp --dport 53 -j REDIRECT --to-ports 15053
-A OUTPUT -p tcp -m tcp --dport 53 -m owner ! --uid-owner 5678 -j RETURN
-A OUTPUT -p tcp -j KUMA_MESH_OUTBOUND
-A KUMA_MESH_INBOUND -p tcp -j KUMA_MESH_INBOUND_REDIRECT
-A KUMA_MESH_INBOUND_REDIRECT -p tcp -j REDIRECT --to-ports 15006
-A KUMA_MESH_OUTBOUND -s 127.0.0.6/32 -o lo -j RETURN
-A KUMA_MESH_OUTBOUND ! -d 127.0.0.1/32 -o lo -p tcp -m owner --uid-owner 5678 -j KUMA_MESH_INBOUND_REDIRECT
-A KUMA_MESH_OUTBOUND -o lo -p tcp -m owner ! --uid-owner 5678 -j RETURN
-A KUMA_MESH_OUTBOUND -m owner --uid-owner 5678 -j RETURN
-A KUMA_MESH_OUTBOUND -d 127.0.0.1/32 -j RETURN
-A KUMA_MESH_OUTBOUND -j KUMA_MESH_OUTBOUND_REDIRECT
-A KUMA_MESH_OUTBOUND_REDIRECT -p tcp -j REDIRECT --to-ports 15001
COMMIT
";
    let Some(mut pod) = Pod::bare() else { return };
    restore(&pod.lab, "nft", false, KUMA);
    pod.lab.sh("ip -6 addr del fd00::2/64 dev eth0");
    pod.container("kuma-sidecar");
    pod.workload.annotations.insert("kuma.io/sidecar-injected".to_owned(), "true".to_owned());
    pod.runs(5678, "kuma-sidecar", PROXY, 3);
    pod.runs(1000, "app", "accept:0.0.0.0:8080", 4);
    let pod = Names { pod, nameservers: vec!["10.96.0.10"] };
    let answer = pod.checked();
    let finding = told(&answer, "RDR504");
    assert!(finding.severity == Severity::Info && says(finding, &["TCP to 10.96.0.10:53", "OUTPUT 4"]), "{finding:?}");
}

#[test]
fn rdr503_a_zone_for_the_wrong_direction() {
    for backend in BACKENDS {
        let zones = ZONES.replace("FROM", "-d 10.0.0.5");
        let Some(mut pod) = Names::ruled(backend, Some("10.0.0.5"), NAMES, &zones, PROXY) else { return };
        // A query of the proxy's own, and its answer.
        let _server = run(&pod.pod.world, 0, "udp:10.0.0.5:53");
        pod.pod.world.wait_for_sockets(1, "sport = 53");
        pod.pod.programs.push((run(&pod.pod.lab, 1337, "ask:10.0.0.5:53@10.0.0.2:40010"), "istio-proxy"));
        let entries = || pod.snapshot().flows.iter().flatten().filter(|flow| flow.protocol.number() == 17).count();
        crate::support::wait_until("two entries", || entries() == 2);
        let answer = pod.checked();
        let finding = told(&answer, "RDR503");
        assert!(finding.title.contains("zone 1") && finding.title.contains("zone 0"), "{finding:?}");
        assert_eq!(place(finding), ("raw", "OUTPUT", 1));
        assert!(says(finding, &["1 queries have two entries"]), "{finding:?}");
    }
}

#[test]
fn rdr504_tcp_or_another_resolver_slips_through() {
    for backend in BACKENDS {
        let Some(mut pod) = Names::well(backend, Some("10.0.0.5")) else { return };
        // TCP like any other connection is information.
        pod.pod.lab.sh(&format!(
            "iptables-{backend} -w -t nat -D ISTIO_OUTPUT -p tcp --dport 53 -d 10.0.0.5 -j REDIRECT --to-ports 15053"
        ));
        let answer = pod.checked();
        let finding = told(&answer, "RDR504");
        assert!(finding.severity == Severity::Info && says(finding, &["TCP to 10.0.0.5:53"]), "{finding:?}");
        // TCP that is left alone is not.
        pod.pod.lab.sh(&format!("iptables-{backend} -w -t nat -I ISTIO_OUTPUT 1 -p tcp --dport 53 -j RETURN"));
        let answer = pod.checked();
        let finding = only(&answer, "RDR504", Severity::Warning);
        assert!(says(finding, &["TCP to 10.0.0.5:53", "as it is"]), "{finding:?}");
        assert_eq!(place(finding), ("nat", "ISTIO_OUTPUT_DNS", 3));
        pod.pod.lab.sh(&format!("iptables-{backend} -w -t nat -D ISTIO_OUTPUT 1"));
        pod.nameservers.push("169.254.20.10");
        let answer = pod.checked();
        let finding = only(&answer, "RDR504", Severity::Warning);
        assert!(says(finding, &["UDP to 169.254.20.10:53"]), "{finding:?}");
    }
}

#[test]
fn rdr504_a_program_asks_a_resolver_of_its_own() {
    let Some(mut pod) = Names::well("nft", Some("10.96.0.10")) else { return };
    pod.asks("ask:10.0.0.5:53@10.0.0.2:40020", 40020);
    let answer = pod.checked();
    let finding = only(&answer, "RDR504", Severity::Warning);
    assert!(says(finding, &["container app", "10.0.0.5:53", "UDP"]), "{finding:?}");
    // To the one that is captured it is right.
    pod.pod.programs.pop();
    pod.asks("ask:10.96.0.10:53@10.0.0.2:40021", 40021);
    silent(&pod.checked());
}

#[test]
fn rdr102_what_the_proxy_asks_others_comes_back_to_it() {
    let alone = "-A ISTIO_OUTPUT_DNS -p udp --dport 53 -m owner";
    for backend in BACKENDS {
        let rules = without(NAMES, alone);
        let Some(pod) = Names::ruled(backend, Some("10.96.0.10"), &rules, ZONES, PROXY) else { return };
        let answer = pod.checked();
        let finding = only(&answer, "RDR102", Severity::Error);
        assert_eq!(place(finding), ("nat", "ISTIO_OUTPUT_DNS", 1));
        assert!(says(finding, &["a query of it to 10.96.0.10 over udp is sent to port 15053"]), "{finding:?}");
    }
}

#[test]
fn rdr505_a_local_resolver_whose_queries_come_back_to_it() {
    for backend in BACKENDS {
        let Some(mut pod) = Names::well(backend, None) else { return };
        pod.nameservers = vec!["127.0.0.1"];
        pod.pod.lab.sh("echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start");
        pod.pod.programs.push((run(&pod.pod.lab, 999, "udp:127.0.0.1:53"), "dnsmasq"));
        pod.pod.lab.wait_for_sockets(1, "sport = 53");
        let answer = pod.checked();
        let finding = only(&answer, "RDR505", Severity::Error);
        assert_eq!(place(finding), ("nat", "ISTIO_OUTPUT_DNS", 3));
        assert!(finding.title.contains("container dnsmasq") && says(finding, &["127.0.0.1:53"]), "{finding:?}");
        assert!(finding.remedy.contains("UID 999"), "{finding:?}");
        // Left alone, it is right.
        pod.pod.lab.sh(&format!(
            "iptables-{backend} -w -t nat -I ISTIO_OUTPUT_DNS -p udp --dport 53 -m owner --uid-owner 999 -j RETURN"
        ));
        silent(&pod.checked());
    }
}

#[test]
fn rdr506_dockers_rules_in_the_other_backend() {
    const DOCKER: &str = "
*nat
:DOCKER_OUTPUT - [0:0]
:DOCKER_POSTROUTING - [0:0]
-A OUTPUT -d 127.0.0.11/32 -j DOCKER_OUTPUT
-A POSTROUTING -d 127.0.0.11/32 -j DOCKER_POSTROUTING
-A DOCKER_OUTPUT -d 127.0.0.11/32 -p tcp -m tcp --dport 53 -j DNAT --to-destination 127.0.0.11:40054
-A DOCKER_OUTPUT -d 127.0.0.11/32 -p udp -m udp --dport 53 -j DNAT --to-destination 127.0.0.11:40053
-A DOCKER_POSTROUTING -s 127.0.0.11/32 -p tcp -m tcp --sport 40054 -j SNAT --to-source :53
-A DOCKER_POSTROUTING -s 127.0.0.11/32 -p udp -m udp --sport 40053 -j SNAT --to-source :53
COMMIT
";
    let Some(mut pod) = Names::well("nft", None) else { return };
    pod.nameservers = vec!["127.0.0.11"];
    silent(&pod.checked());
    pod.pod.runs(0, "dockerd", "udp:127.0.0.11:40053 accept:127.0.0.11:40054", 5);
    restore(&pod.pod.lab, "legacy", false, DOCKER);
    let answer = pod.checked();
    let finding = only(&answer, "RDR506", Severity::Warning);
    assert!(says(finding, &["127.0.0.11", "order"]) && says(finding, &["ISTIO_OUTPUT_DNS 3"]), "{finding:?}");
    // In one backend it is clear: who comes first has it.
    pod.pod.lab.sh("iptables-legacy -w -t nat -F; iptables-legacy -w -t nat -X");
    restore(&pod.pod.lab, "nft", false, DOCKER);
    silent(&pod.checked());
    pod.pod.lab.sh("iptables-nft -w -t nat -I OUTPUT -d 127.0.0.11 -j DOCKER_OUTPUT");
    let answer = pod.checked();
    let finding = only(&answer, "RDR506", Severity::Warning);
    assert_eq!(place(finding), ("nat", "DOCKER_OUTPUT", 2));
    assert!(says(finding, &["127.0.0.11:40053"]), "{finding:?}");
}

#[test]
fn rdr507_nobody_waits_for_queries() {
    for backend in BACKENDS {
        let proxy = "accept:[::]:15001 accept:[::]:15006 accept:127.0.0.1:15053";
        let Some(mut pod) = Names::ruled(backend, Some("10.0.0.5"), NAMES, ZONES, proxy) else { return };
        let answer = pod.checked();
        let finding = only(&answer, "RDR507", Severity::Error);
        assert_eq!(place(finding), ("nat", "ISTIO_OUTPUT_DNS", 3));
        assert!(finding.title.contains("udp 127.0.0.1:15053") && !finding.title.contains("tcp"), "{finding:?}");
        pod.pod.programs.push((run(&pod.pod.lab, 1337, "udp:127.0.0.1:15053"), "istio-proxy"));
        pod.pod.lab.wait_for_sockets(1, "state unconnected sport = 15053");
        silent(&pod.checked());
    }
}

#[test]
fn rdr507_answers_come_from_the_pods_address() {
    for backend in BACKENDS {
        let proxy = "accept:[::]:15001 accept:[::]:15006 accept:0.0.0.0:15053 udp:0.0.0.0:15053";
        let Some(mut pod) = Names::ruled(backend, Some("10.0.0.5"), NAMES, ZONES, proxy) else { return };
        pod.asks("ask:10.0.0.5:53@10.0.0.2:40030", 40030);
        let entries = || pod.snapshot().flows.iter().flatten().filter(|flow| flow.protocol.number() == 17).count();
        crate::support::wait_until("two entries", || entries() == 2);
        let answer = pod.checked();
        let finding = only(&answer, "RDR507", Severity::Error);
        assert!(finding.title.contains("10.0.0.2:15053") && finding.title.contains("127.0.0.1:15053"), "{finding:?}");
        assert!(says(finding, &["0.0.0.0:15053", "istio-proxy"]), "{finding:?}");
        assert_eq!(place(finding), ("nat", "ISTIO_OUTPUT_DNS", 3));
    }
}

#[test]
fn rdr508_an_entry_that_outlives_its_rule() {
    for backend in BACKENDS {
        let Some(pod) = Pod::istio(backend) else { return };
        let mut pod = Names { pod, nameservers: vec!["10.0.0.5"] };
        // As kube-proxy writes for a service.
        let service = |to: &str| {
            format!(
                "*nat\n:KUBE-SERVICES - [0:0]\n-A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m udp --dport 53 -j DNAT --to-destination {to}:53\nCOMMIT"
            )
        };
        restore(&pod.pod.lab, backend, false, &service("10.0.0.77"));
        pod.pod.lab.sh(&format!("iptables-{backend} -w -t nat -A OUTPUT -j KUBE-SERVICES"));
        pod.asks("ask:10.96.0.10:53@10.0.0.2:40040", 40040);
        let entries = || pod.snapshot().flows.iter().flatten().filter(|flow| flow.protocol.number() == 17).count();
        crate::support::wait_until("an entry", || entries() == 1);
        silent(&pod.checked());
        restore(&pod.pod.lab, backend, false, &service("10.0.0.5"));
        let answer = pod.checked();
        let finding = only(&answer, "RDR508", Severity::Warning);
        assert!(finding.title.contains("10.96.0.10:53") && finding.title.contains("10.0.0.77:53"), "{finding:?}");
        assert!(says(finding, &["today", "10.0.0.5:53"]), "{finding:?}");
        // What it says to do helps.
        pod.pod.lab.sh(finding.remedy.strip_prefix("delete the entry: ").expect("a command"));
        silent(&pod.checked());
    }
}

#[test]
fn rdr508_counters_that_rise_between_two_samples() {
    let Some(mut pod) = Names::well("nft", Some("10.96.0.10")) else { return };
    pod.asks("ask:10.96.0.10:53@10.0.0.2:40050", 40050);
    let counted = |insert_failed: u32| {
        let mut snapshot = pod.snapshot();
        let counters = vec![("insert_failed".to_owned(), insert_failed), ("drop".to_owned(), 0)];
        snapshot.tracking.get_or_insert_default().statistics = vec![CpuStatistics { cpu: 0, counters }];
        snapshot
    };
    let (first, later) = (counted(3), counted(5));
    let with = |later| check(&first, Asked { later: Some(later), ..Asked::default() });
    let answer = with(&later);
    assert!(says(only(&answer, "RDR508", Severity::Warning), &["insert_failed", "by 2"]));
    silent(&with(&first));
}
