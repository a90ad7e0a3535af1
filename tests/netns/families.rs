//! Rules of tables that see IPv4 and IPv6 and mean one of them: what they do to real connections is what is said of each.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::native::load;
use crate::rules::printed;
use crate::support::{Lab, require_root, wait_until};

/// nslens' option for a family, and where the world listens.
const ENDS: [(&str, &str); 2] = [("-4", "10.0.0.5:80"), ("-6", "[fd00::5]:80")];

/// A pod, and a world that can be reached and answers.
fn pod_and_world() -> (Lab, Lab, [TcpListener; 2]) {
    let (pod, world) = Lab::pod_and_world();
    let servers = ENDS.map(|(_, at)| listen(&world, at));
    for (_, at) in ENDS {
        wait_until(at, || reached(&pod, at).is_some());
    }
    (pod, world, servers)
}

/// The document of `rules` for one family.
fn document(lab: &Lab, family: &str) -> serde_json::Value {
    serde_json::from_str(&printed(lab, &["rules", family, "-o", "json"])).expect("JSON")
}

/// The sentence about one family.
fn sentence(lab: &Lab, family: &str) -> String {
    document(lab, family)["summary"].as_str().expect("a sentence").to_owned()
}

/// The words for each rule of the only chain.
fn words(lab: &Lab) -> Vec<String> {
    let document = document(lab, "-4");
    let rulesets = document["rulesets"].as_array().expect("rule sets");
    let chains = rulesets.iter().flat_map(|set| set["tables"].as_array().expect("tables"));
    let rules = chains.flat_map(|table| table["chains"][0]["rules"].as_array().expect("rules"));
    rules.map(|rule| rule["means"].as_str().unwrap_or("-").to_owned()).collect()
}

fn listen(lab: &Lab, at: &str) -> TcpListener {
    lab.netns().enter(|| TcpListener::bind(at).expect("a listener")).expect("entered")
}

/// Whether a connection comes about, and who is at the other end of it.
fn reached(lab: &Lab, at: &str) -> Option<SocketAddr> {
    let at: SocketAddr = at.parse().expect("an address");
    let connect = || TcpStream::connect_timeout(&at, Duration::from_millis(500)).ok()?.peer_addr().ok();
    lab.netns().enter(connect).expect("entered")
}

#[test]
fn a_refusal_in_the_words_of_one_family_refuses_that_one_alone() {
    if !require_root() {
        return;
    }
    let (pod, _world, _servers) = pod_and_world();
    for (table, rule, subject) in [
        ("inet", "reject with icmp type port-unreachable", "all IPv4"),
        ("inet", "meta nfproto ipv4 reject", "all IPv4"),
        ("inet", "reject with icmpv6 type no-route", "all IPv6"),
        ("inet", "reject with tcp reset", "all TCP"),
        ("inet", "reject with icmpx type host-unreachable", "everything"),
        ("ip", "reject with tcp reset", "all TCP"),
        ("ip", "reject", "everything"),
        ("inet", "meta protocol ip drop", "all IPv4"),
        ("inet", "ip6 nexthdr tcp tcp dport 80-65535 drop", "IPv6 TCP to ports 80–65535"),
    ] {
        pod.sh("nft flush ruleset");
        assert!(load(
            &pod,
            &format!("table {table} f {{\n chain o {{\n type filter hook output priority 0;\n {rule}\n }}\n}}\n")
        ));
        for (family, at) in ENDS {
            let (said, connects) = (sentence(&pod, family), reached(&pod, at).is_some());
            assert_eq!(!said.contains("is dropped"), connects, "{table} {rule} {family}: {said}");
        }
        let said = words(&pod);
        assert!(said[0].starts_with(&format!("{subject} → ")), "{table} {rule}: {said:?}");
    }
}

#[test]
fn a_translation_to_an_address_of_one_family_is_not_said_of_the_other() {
    if !require_root() {
        return;
    }
    let (pod, _world, _servers) = pod_and_world();
    let _proxies = ["127.0.0.1:15001", "[::1]:15001"].map(|at| listen(&pod, at));
    for (rule, redirected) in [
        ("meta l4proto tcp dnat ip to 127.0.0.1:15001", "-4"),
        ("meta l4proto tcp dnat ip6 to [::1]:15001", "-6"),
        ("meta nfproto ipv6 meta l4proto tcp redirect to :15001", "-6"),
    ] {
        pod.sh("nft flush ruleset");
        assert!(load(
            &pod,
            &format!("table inet f {{\n chain o {{\n type nat hook output priority -100;\n {rule}\n }}\n}}\n")
        ));
        for ((family, at), word) in ENDS.into_iter().zip(["ipv4", "ipv6"]) {
            let said = sentence(&pod, family);
            assert_eq!(said.contains("15001"), family == redirected, "{rule} {family}: {said}");
            reached(&pod, at).expect("connected");
            let tracked = pod.sh(&format!("conntrack -L -f {word} -p tcp 2>/dev/null"));
            assert_eq!(tracked.contains("sport=15001"), family == redirected, "{rule} {family}: {tracked}");
        }
        pod.sh("conntrack -F 2>/dev/null");
    }
}

#[test]
fn what_a_rule_does_is_said_with_the_family_that_it_is_for() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    assert!(load(
        &lab,
        "table inet f {
 chain o { type nat hook output priority -100;
  meta nfproto ipv4 tcp dport 80 redirect to :15001
  meta nfproto ipv6 accept
  ip6 daddr fd00::/8 tcp dport 80 accept
  meta nfproto ipv4 meta l4proto != tcp accept
  meta nfproto ipv4 meta l4proto tcp redirect to :15002
 }
}
"
    ));
    assert_eq!(
        words(&lab),
        [
            "IPv4 TCP to port 80 → proxy at 15001",
            "all IPv6 → left alone (accepted)",
            "TCP to fd00::/8, to port 80 → left alone (accepted)",
            "all IPv4 but TCP → left alone (accepted)",
            "all other IPv4 TCP → proxy at 15002",
        ]
    );
}

#[test]
fn a_transparent_proxy_of_one_family_is_not_said_of_the_other() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    for (rule, proxied, means) in [
        (
            "meta l4proto tcp tproxy ip to 127.0.0.1:15001 accept",
            &["-4"][..],
            "all IPv4 TCP → proxy at 127.0.0.1:15001 (transparent)",
        ),
        ("meta l4proto tcp tproxy ip6 to :15001 accept", &["-6"], "all IPv6 TCP → proxy at 15001 (transparent)"),
        ("meta l4proto tcp tproxy to :15001 accept", &["-4", "-6"], "all TCP → proxy at 15001 (transparent)"),
        (
            "meta l4proto tcp tproxy to :15001 meta mark set 0x1 accept",
            &["-4", "-6"],
            "all TCP → proxy at 15001 (transparent), mark 0x1",
        ),
    ] {
        lab.sh("nft flush ruleset");
        let chain = format!("chain p {{\n type filter hook prerouting priority -150;\n {rule}\n }}");
        assert!(load(&lab, &format!("table inet f {{\n {chain}\n}}\n")), "{rule}");
        for (family, _) in ENDS {
            let said = sentence(&lab, family);
            assert_eq!(said.contains("15001"), proxied.contains(&family), "{rule} {family}: {said}");
        }
        assert_eq!(words(&lab), [means], "{rule}");
    }
}

#[test]
fn a_transparent_proxy_with_another_verdict_behind_it_is_not_forgotten() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    for verdict in ["return", "drop", "jump more", "goto more"] {
        lab.sh("nft flush ruleset");
        let chain = format!(
            "chain p {{\n type filter hook prerouting priority -150;\n meta l4proto tcp tproxy to :15001 {verdict}\n }}"
        );
        assert!(load(&lab, &format!("table inet f {{\n chain more {{\n }}\n {chain}\n}}\n")), "{verdict}");
        for (family, _) in ENDS {
            let said = sentence(&lab, family);
            // The packet goes on with the proxy's socket, as far as it goes on.
            assert_eq!(said.contains("inbound TCP goes to 15001"), verdict != "drop", "{verdict} {family}: {said}");
            assert!(!said.contains("inbound TCP is not"), "{verdict} {family}: {said}");
        }
    }
}
