//! What targets do to a connection, beside what is said that they do: marks, translations, headers, and those after which all goes on.

use nslens::analysis::eval::{End, Rulebase};
use nslens::analysis::join::Rulebook;
use nslens::analysis::rulebook::SnapshotRules;
use nslens::model::Hook;
use nslens::packet::{Known, Packet};

use crate::order::{dial, outbound, saying, taken};
use crate::support::require_root;

/// Lines of `iptables`, in both backends' programs in turn.
fn each(rules: &[&str], becomes: &str) {
    for program in ["iptables-legacy", "iptables-nft"] {
        let lines: Vec<String> = rules.iter().map(|rule| format!("{program} -w -t {rule}")).collect();
        outbound(&format!("set -e\n{}", lines.join("\n")), becomes);
    }
}

const REDIRECT: &str = "-j REDIRECT --to-ports 15001";

/// This mark of the connection after these rules of the mangle table, and no other, sends it to the proxy.
fn connection_mark(rules: &[&str], mark: u32) {
    let mangle: Vec<String> = rules.iter().map(|rule| format!("mangle -A OUTPUT {rule}")).collect();
    for (asked, becomes) in [(mark, "15001"), (mark ^ 1, "direct")] {
        let nat = format!("nat -A OUTPUT -p tcp -m connmark --mark {asked:#x} {REDIRECT}");
        let rules: Vec<&str> = mangle.iter().map(String::as_str).chain([nat.as_str()]).collect();
        each(&rules, becomes);
    }
}

#[test]
fn marks_become_what_the_kernel_makes_of_them() {
    if !require_root() {
        return;
    }
    connection_mark(&["-j CONNMARK --set-mark 0x5 --left-shift-mark 4"], 0x50);
    connection_mark(&["-j CONNMARK --set-mark 0xf5 --right-shift-mark 4"], 0xf);
    connection_mark(&["-j CONNMARK --set-mark 0xff", "-j CONNMARK --set-xmark 0x105/0xf"], 0x1f5);
    connection_mark(
        &[
            "-j CONNMARK --set-mark 0x700",
            "-j MARK --set-mark 0xff",
            "-j CONNMARK --save-mark --nfmask 0xf --ctmask 0xff --left-shift-mark 4",
        ],
        0x7f0,
    );
    connection_mark(
        &[
            "-j CONNMARK --set-mark 0xabcd",
            "-j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xff00 --right-shift-mark 8",
            "-j MARK --xor-mark 0x1",
            "-j CONNMARK --save-mark",
        ],
        0xaa,
    );
}

/// What becomes of a connection to port 80 of the world, and what is said of just that one: whether it comes through.
fn through(rules: &str) -> (bool, bool) {
    let (pod, _world, snapshot) = taken(rules);
    let packet = Packet {
        protocol: Known::Is(6),
        source: Known::Is([10, 0, 0, 2].into()),
        destination: Known::Is([10, 0, 0, 5].into()),
        destination_port: Known::Is(80),
        tcp_flags: Known::Is(2),
        ..Packet::default()
    };
    let end = Rulebase::of(&snapshot).through(&[Hook::Output], &packet, false);
    (dial(&pod, "10.0.0.5:80") != "dropped", matches!(end, End::Redirected { .. }))
}

#[test]
fn networks_are_moved_as_they_are() {
    if !require_root() {
        return;
    }
    for (network, address, comes_through) in [
        ("127.0.0.0/24", "127.0.0.5", true),
        ("127.0.0.0/24", "127.0.0.4", false),
        ("127.9.0.0/16", "127.9.0.5", true),
        ("127.0.0.0/29", "127.0.0.5", true),
        ("127.0.0.8/30", "127.0.0.9", true),
        ("127.0.0.1/32", "127.0.0.1", true),
    ] {
        let rules = format!(
            "iptables-nft -t nat -A OUTPUT -p tcp -j NETMAP --to {network}
             iptables-nft -A OUTPUT -p tcp --syn ! -d {address} -j DROP"
        );
        assert_eq!(through(&rules), (comes_through, comes_through), "{rules}");
    }
}

#[test]
fn shifted_ports_are_counted_from_their_base() {
    if !require_root() {
        return;
    }
    // Port 80 is the second behind 79, and so becomes the second of the range; in a shorter range it goes round.
    for (range, comes_through) in [
        ("15000-15010/79", true),
        ("15000-15010/78", false),
        ("15000-15002/76", true),
        ("15001-15003/80", true),
        ("15001-15003/77", true),
        ("15001-15003/79", false),
    ] {
        let rules = format!(
            "iptables-nft -t nat -A OUTPUT -p tcp -j DNAT --to-destination 127.0.0.1:{range}
             iptables-nft -A OUTPUT -p tcp --syn ! --dport 15001 -j DROP"
        );
        assert_eq!(through(&rules), (comes_through, comes_through), "{rules}");
    }
    // A summary is for any port.
    let rules = "iptables-nft -t nat -A OUTPUT -p tcp -j DNAT --to-destination 127.0.0.1:15000-15010/79";
    assert_eq!(saying(rules, false), "elsewhere");
}

#[test]
fn headers_become_what_the_kernel_makes_of_them() {
    if !require_root() {
        return;
    }
    let dropped = |target: &str, asked: &str, becomes: &str| {
        each(&[&format!("mangle -A OUTPUT {target}"), &format!("filter -A OUTPUT -p tcp {asked} -j DROP")], becomes);
    };
    dropped("-j TTL --ttl-set 7", "-m ttl --ttl-eq 7", "dropped");
    dropped("-j TTL --ttl-set 7", "-m ttl --ttl-eq 8", "direct");
    dropped("-j TOS --set-tos 0x28", "-m dscp --dscp 10", "dropped");
    dropped("-j TOS --set-tos 0x28", "-m tos --tos 0x28", "dropped");
    dropped("-j TOS --set-tos 0x28", "-m tos --tos 0x29", "direct");
    each(
        &[
            "mangle -A OUTPUT -j TTL --ttl-set 7",
            "mangle -A OUTPUT -j TTL --ttl-inc 3",
            "mangle -A OUTPUT -j TTL --ttl-dec 1",
            "filter -A OUTPUT -p tcp -m ttl --ttl-eq 9 -j DROP",
        ],
        "dropped",
    );
}

#[test]
fn behind_these_the_packet_goes_on() {
    if !require_root() {
        return;
    }
    for (table, target) in [
        ("mangle", "AUDIT --type drop"),
        ("mangle", "CHECKSUM --checksum-fill"),
        ("mangle", "CLASSIFY --set-class 1:2"),
        ("mangle", "CONNSECMARK --save"),
        ("mangle", "DSCP --set-dscp 5"),
        ("mangle", "IDLETIMER --timeout 100 --label effects"),
        ("mangle", "LOG"),
        ("mangle", "NFLOG"),
        ("mangle", "RATEEST --rateest-name x --rateest-interval 1s --rateest-ewmalog 2s"),
        ("mangle", "TCPMSS --set-mss 600"),
        ("mangle", "TCPOPTSTRIP --strip-options mss"),
        ("mangle", "TEE --gateway 10.0.0.77"),
        ("mangle", "HMARK --hmark-tuple src --hmark-mod 4 --hmark-rnd 1"),
        ("raw", "CT --zone 7"),
        ("raw", "CT --ctevents new"),
    ] {
        let (only, flags) = match target.split(' ').next() {
            Some("TCPMSS") => ("-p tcp", "--syn"),
            Some("TCPOPTSTRIP" | "CHECKSUM") => ("-p tcp", ""),
            _ => ("", ""),
        };
        each(
            &[&format!("{table} -A OUTPUT {only} {flags} -j {target}"), &format!("nat -A OUTPUT -p tcp {REDIRECT}")],
            "15001",
        );
    }
    let tracked = format!("nat -A OUTPUT -p tcp {REDIRECT}");
    for untracked in ["NOTRACK", "CT --notrack"] {
        each(&[&format!("raw -A OUTPUT -j {untracked}"), &tracked], "direct");
    }
}

#[test]
fn what_a_program_or_a_hash_decides_is_not_said() {
    if !require_root() {
        return;
    }
    for (rules, because) in [
        ("iptables-nft -t mangle -A OUTPUT -j NFQUEUE --queue-bypass", "asks a program"),
        (
            "iptables-nft -t mangle -A OUTPUT -j HMARK --hmark-tuple src --hmark-mod 4 --hmark-rnd 1
             iptables-nft -t nat -A OUTPUT -p tcp -m mark --mark 2 -j REDIRECT --to-ports 15001",
            "whether rule",
        ),
        ("iptables-nft -t nat -A OUTPUT -p tcp -m limit --limit 1/sec -j REDIRECT --to-ports 15001", "whether rule"),
    ] {
        let said = saying(rules, false);
        assert!(said.starts_with("undecided: ") && said.contains(because), "{said} with {rules}");
    }
    let said = saying("iptables-nft -A INPUT -p tcp --syn -j SYNPROXY", true);
    assert!(said.contains("in the server's place"), "{said}");
}

#[test]
fn what_wakes_the_tracking_is_known_of_each() {
    if !require_root() {
        return;
    }
    for (rule, wakes) in [
        ("filter -A OUTPUT -m cluster --cluster-total-nodes 2 --cluster-local-node 1 --cluster-hash-seed 1", true),
        ("filter -A OUTPUT -m connbytes --connbytes 0 --connbytes-mode packets --connbytes-dir both", true),
        ("filter -A OUTPUT -m connlabel --label 1", true),
        ("filter -A OUTPUT -m connlimit --connlimit-above 1", true),
        ("filter -A OUTPUT -m connmark --mark 1", true),
        ("filter -A OUTPUT -m conntrack --ctstate NEW", true),
        ("filter -A OUTPUT -m helper --helper ftp", true),
        ("filter -A OUTPUT -m limit", false),
        ("filter -A OUTPUT -m recent --set", false),
        ("filter -A OUTPUT -m quota --quota 1", false),
        ("filter -A OUTPUT -m hashlimit --hashlimit-upto 1/sec --hashlimit-name x", false),
        ("filter -A INPUT -p tcp -j SYNPROXY", true),
        ("mangle -A OUTPUT -j CONNMARK --set-mark 1", true),
        ("mangle -A OUTPUT -j CONNSECMARK --save", true),
        ("mangle -A OUTPUT -j HMARK --hmark-tuple ct --hmark-mod 1 --hmark-rnd 1", false),
        ("mangle -A OUTPUT -j MARK --set-mark 1", false),
        ("mangle -A PREROUTING -p tcp -j TPROXY --on-port 1", false),
        ("raw -A OUTPUT -j CT", true),
        ("raw -A OUTPUT -j CT --zone 1", true),
        ("raw -A OUTPUT -j CT --notrack", false),
        ("raw -A OUTPUT -j NOTRACK", false),
        ("nat -A PREROUTING -j NETMAP --to 10.9.9.0/24", true),
        ("nat -A POSTROUTING -j MASQUERADE", true),
        ("nat -A POSTROUTING -j SNAT --to-source 10.0.0.2", true),
    ] {
        let (pod, _world, snapshot) = taken(&format!("iptables-legacy -t {rule}"));
        dial(&pod, "10.0.0.5:80");
        let count = pod.sh("cat /proc/sys/net/netfilter/nf_conntrack_count");
        let said = SnapshotRules::of(&snapshot).tracks(false);
        assert_eq!((count.trim() != "0", said), (wakes, Some(wakes)), "{rule}");
    }
}
