//! Looking changes nothing: tables, rules, modules, and conntrack's own switch are as before.

use std::net::{TcpListener, TcpStream};

use crate::look_at;
use crate::support::{Lab, require_root};

/// All that reading could have changed.
fn state(lab: &Lab) -> String {
    let own = |path: &str| std::fs::read_to_string(path).unwrap_or_else(|_| "absent".into());
    let theirs = |file: &str| own(&format!("/proc/{}/net/{file}", lab.pid()));
    // The modules of a busy machine come and go, their names are what counts.
    let modules: Vec<_> =
        own("/proc/modules").lines().filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect();
    [theirs("ip_tables_names"), theirs("ip6_tables_names"), modules.join(" "), lab.sh("nft -a list ruleset")]
        .join("\n--\n")
}

#[test]
fn an_empty_namespace_stays_empty_and_untracked() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let before = state(&lab);
    look_at(&lab);
    assert_eq!(state(&lab), before);
    // Where nothing needs it nothing is tracked, also after conntrack was asked.
    let held = lab.netns().enter(|| {
        let listener = TcpListener::bind("127.0.0.1:8080").expect("a listener");
        (TcpStream::connect("127.0.0.1:8080").expect("a connection"), listener)
    });
    assert_eq!(look_at(&lab).flows.as_deref(), Some(&[][..]));
    assert_eq!(lab.sh("cat /proc/sys/net/netfilter/nf_conntrack_count").trim(), "0");
    drop(held);
}

#[test]
fn rules_and_their_counters_stay_as_they_are() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    lab.sh("iptables-nft -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 15001
        iptables-legacy -t nat -A OUTPUT -p tcp --dport 81 -j REDIRECT --to-ports 15001");
    let before = state(&lab);
    assert!(before.contains("nat\n") && before.contains("OUTPUT"), "{before}");
    look_at(&lab);
    assert_eq!(state(&lab), before);
}
