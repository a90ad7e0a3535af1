//! What else decides than a mesh's own rules: others' rules beside it, and connections from before. PQ21 to PQ24.

use super::ask::{Means, Pod, out};
use super::outbound::every;
use super::profiles::{ISTIO, NONE, Rules};
use crate::support::require_root;

const CAPTURED: &str = "nat OUTPUT 1, ISTIO_OUTPUT 9, ISTIO_REDIRECT 1";

#[test]
fn pq21_what_is_not_tracked_is_not_translated() {
    every(&[ISTIO], |mut pod, _, _| {
        pod.also(
            "-t raw -A OUTPUT -p tcp --dport 80 -j NOTRACK",
            "table inet guard-raw { chain output { type filter hook output priority -300; tcp dport 80 counter notrack; }; }",
        );
        pod.ask(&out("10.0.0.5:80").uid(1000), "leaves 10.0.0.2 > 10.0.0.5:80", "raw OUTPUT 1");
        let expected = "proxy gets 10.0.0.2 > 127.0.0.1:15001 for 10.0.0.5:3306";
        pod.ask(&out("10.0.0.5:3306").uid(1000), expected, CAPTURED);
    });
}

/// All goes to this port.
fn redirect(port: u16) -> Rules {
    let four = match port {
        15001 => "*nat\n-A OUTPUT -p tcp -j REDIRECT --to-ports 15001\nCOMMIT\n",
        _ => "*nat\n-A OUTPUT -p tcp -j REDIRECT --to-ports 15002\nCOMMIT\n",
    };
    Rules { four, six: NONE, native: NONE, proxy: 1337, ports: &[15001, 15002] }
}

/// Two proxies.
fn proxies(means: Means) -> Pod {
    let mut pod = Pod::bare(means);
    pod.waits("one", "0.0.0.0:15001", 1337);
    pod.waits("two", "0.0.0.0:15002", 1338);
    pod
}

const ONE: &str = "one gets 10.0.0.2 > 127.0.0.1:15001 for 10.0.0.5:80";
const TWO: &str = "two gets 10.0.0.2 > 127.0.0.1:15002 for 10.0.0.5:80";

#[test]
fn pq22_both_backends_redirect_and_the_last_one_wins() {
    if !require_root() {
        return;
    }
    let asked = out("10.0.0.5:80").uid(1000);
    for (first, wins) in [(Means::Legacy, TWO), (Means::Nft, ONE)] {
        let mut pod = proxies(first);
        for _ in 0..2 {
            pod.load(&redirect(if pod.means() == Means::Legacy { 15001 } else { 15002 }));
            pod.turn();
        }
        let seen = pod.ask_all(&asked, &[(ONE, "nat OUTPUT 1"), (TWO, "nat OUTPUT 1")]);
        assert_eq!(seen, wins, "the one that was registered last");
        assert_eq!(pod.open(&asked), ["the unknown order of chains at the same priority"]);
    }
}

#[test]
fn pq23_a_native_chain_beside_that_of_iptables() {
    if !require_root() {
        return;
    }
    let asked = out("10.0.0.5:80").uid(1000);
    let native = |priority: i32| {
        format!(
            "nft 'table ip guard-nat {{ chain output {{ type nat hook output priority {priority}; meta l4proto tcp counter redirect to :15002; }}; }}'"
        )
    };
    for (priority, answers) in [
        (-101, vec![(TWO, "nat OUTPUT 1")]),
        (-99, vec![(ONE, "nat OUTPUT 1")]),
        (-100, vec![(ONE, "nat OUTPUT 1"), (TWO, "nat OUTPUT 1")]),
    ] {
        for native_first in [false, true] {
            let mut pod = proxies(Means::Nft);
            if native_first {
                pod.stage.pod.sh(&native(priority));
            }
            pod.load(&redirect(15001));
            if !native_first {
                pod.stage.pod.sh(&native(priority));
            }
            let seen = pod.ask_all(&asked, &answers);
            let last = if native_first { ONE } else { TWO };
            assert!(answers.len() == 1 || seen == last, "the one that was registered last, not {seen}");
        }
    }
}
