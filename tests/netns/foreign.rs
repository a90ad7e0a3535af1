//! Rules of nft in the tables of iptables: those that iptables could have written are read as its own, as its save program reads
//! them; the others stand alone, in nft's words, and the rules around them stay.

use crate::rules::{nslens, printed, without_comments};
use crate::support::{Lab, require_root};

/// Written by nft in the way of iptables; the save program of iptables-nft is the oracle.
const SAID: &[&str] = &[
    "tcp dport 80 accept",
    "meta l4proto tcp tcp dport 80 counter accept",
    "ip protocol tcp tcp dport 80-90 drop",
    "tcp dport != 80",
    "tcp dport <= 5",
    "tcp dport >= 5",
    "tcp dport != 5-9",
    "tcp dport 0-65535",
    "tcp dport 1-65535",
    "tcp sport 1 tcp dport 2",
    "tcp flags & (syn|ack) == syn",
    "udp sport 5-6",
    "ip saddr != 1.2.3.0/24",
    "ip saddr & 255.0.255.0 == 1.0.2.0",
    "ip daddr 1.1.1.1 ip saddr 2.2.2.2 tcp dport 5 counter drop",
    "meta mark 5",
    "meta mark & 0xff == 5",
    "meta mark != 5",
    "meta pkttype broadcast",
    "meta pkttype != host",
    "meta pkttype other",
    "iif \"lo\" accept",
    "oif \"lo\" accept",
    "iifname \"lo\" accept",
    "iifname \"eth*\" accept",
    "iifname != \"lo\" accept",
    "limit rate 5/second",
    "limit rate 5/minute burst 9 packets accept",
    "log group 5",
    "log group 5 prefix \"x\" snaplen 10 queue-threshold 3",
    "meta nftrace set 1",
    "counter packets 5 bytes 6",
    "counter comment \"hey\"",
    "icmp type echo-request",
    "icmp type echo-request icmp code 0",
    "icmp type destination-unreachable icmp code 4 drop",
    "ip ttl 5",
    "ip ttl != 5",
    "ip ttl < 5",
    "ip ttl > 5",
    "ip frag-off & 0x1fff != 0",
    "meta l4proto 50",
    "meta l4proto != tcp",
    "ip protocol != tcp",
    "return",
    "jump X",
    "ip saddr 10.0.0.0/8",
    "ip saddr 10.1.0.0/16",
    "ip saddr 10.1.2.0/24",
    "ip saddr 10.0.0.0/7",
    "ip saddr 10.0.0.0/9",
    "ip saddr != 0.0.0.0/0",
    "ip saddr & 255.0.0.0 == 10.0.0.0",
    "ip saddr & 0.0.0.255 == 0.0.0.5",
    "ip saddr & 0.0.0.255 != 0.0.0.5",
    "ip daddr 1.2.3.4 ip protocol tcp tcp dport 80",
    "ip frag-off & 0x1fff == 0",
    "ip ttl 0",
    "ip ttl 255",
    "ip ttl != 0",
    "ip protocol icmp",
    "meta l4proto icmp icmp type 3",
    "icmp type 255",
    "meta mark 1 ip saddr 1.1.1.1 tcp dport 5",
    "limit rate 5/minute ip saddr 1.1.1.1",
    "ip ttl 5 ip ttl 6",
    "ip ttl > 5 ip ttl < 9",
    "ip daddr 1.1.1.1 ip saddr 2.2.2.2 iifname \"lo\" oifname \"eth0\"",
    "ip saddr 0.0.0.0/0",
    "ip ttl <= 5",
    "ip ttl >= 5",
    "ip protocol tcp meta l4proto tcp",
];

/// The same of what asks nothing of an address.
const SAID_OF_BOTH: &[&str] = &[
    "tcp flags syn",
    "tcp flags & (fin|syn|rst|ack) == syn",
    "tcp flags & (fin|syn) != syn",
    "tcp flags & syn != 0",
    "tcp flags & syn == 0",
    "tcp flags ! syn",
    "tcp flags syn / fin,syn",
    "tcp dport < 5",
    "tcp dport > 5",
    "tcp dport > 65534",
    "tcp dport 0",
    "tcp sport != 0",
    "tcp dport != 0-5",
    "tcp dport 5-5",
    "udp dport 53",
    "udp sport 1 udp dport 53",
    "udp dport >= 5",
    "meta l4proto tcp th dport 53",
    "meta mark 0",
    "meta mark != 0",
    "meta mark & 0xff00 != 0x100",
    "meta mark & 0xff == 0x1ff",
    "meta mark & 5 == 0",
    "meta pkttype host",
    "meta pkttype unicast",
    "meta pkttype multicast",
    "meta iif lo",
    "meta iif != \"lo\"",
    "meta oif != \"lo\"",
    "iifname \"dummy0\"",
    "oifname \"dummy0\" iifname \"lo\"",
    "iifname \"d*\"",
    "iifname != \"d*\"",
    "iifname \"abcdefghijklmn*\"",
    "oifname \"abcdefghijklmno\"",
    "limit rate 1/hour",
    "limit rate 1/day burst 10 packets",
    "limit rate 3/minute",
    "limit rate 7/second",
    "limit rate 400/minute",
    "limit rate 5/minute accept",
    "log group 0",
    "log group 5 snaplen 0",
    "log group 5 queue-threshold 65535",
    "log prefix \"123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890\" group 3",
    "log group 5 counter",
    "counter log group 5",
    "tcp dport { 80 }",
    "accept comment \"a\"",
    "counter",
    "counter accept",
    "accept",
    "drop",
    "goto X",
    "counter packets 1 bytes 2 accept",
    "counter counter",
    "counter tcp dport 80 counter accept",
    "counter meta mark 1 accept",
    "meta mark 1 meta mark 2",
    "tcp dport 5 meta mark 1 tcp sport 7",
    "limit rate 5/minute limit rate 7/minute",
    "meta pkttype host meta pkttype broadcast",
    "meta nftrace set 1 counter",
    "iifname \"INVAL/D\"",
    "iifname \"lo\" iifname \"lo\"",
    "meta l4proto tcp tcp dport >= 5 tcp dport <= 9",
    "jump LOG",
    "goto LOG",
];

/// The same of IPv6.
const SAID_OF_IP6: &[&str] = &[
    "ip6 saddr fc00::/8",
    "ip6 saddr fc00:1::/16",
    "ip6 saddr fc00:1:2::/24",
    "ip6 saddr fc00::/7",
    "ip6 saddr fc00::/9",
    "ip6 saddr != ::/0",
    "ip6 saddr & ffff:: == fc00::",
    "ip6 saddr & ::ff == ::5",
    "ip6 saddr & ::ff != ::5",
    "ip6 hoplimit 0",
    "ip6 hoplimit 255",
    "ip6 hoplimit != 0",
    "meta l4proto icmpv6 icmpv6 type 3",
    "meta mark 1 ip6 saddr ::1 tcp dport 5",
    "limit rate 5/minute ip6 saddr ::1",
    "ip6 hoplimit 5 ip6 hoplimit 6",
    "ip6 hoplimit > 5 ip6 hoplimit < 9",
    "ip6 daddr ::1 ip6 saddr ::2 iifname \"lo\" oifname \"eth0\"",
    "icmpv6 type echo-request",
    "icmpv6 type nd-neighbor-solicit",
    "icmpv6 type 1 icmpv6 code 3",
    "ip6 saddr fe80::/10",
    "ip6 saddr fe80::/64",
    "ip6 saddr fe80::/16",
    "ip6 daddr != 2001:db8::/32",
    "ip6 daddr ::1/127",
    "ip6 saddr ::/0",
    "ip6 hoplimit <= 5",
    "ip6 hoplimit >= 5",
];

/// What iptables has no words for. Its save program refuses the table, or shows another rule than there is.
const FOREIGN: &[&str] = &[
    "tcp dport { 80, 443 }",
    "ip saddr 1.2.3.4-1.2.3.9",
    "meta mark 0x00000001-0x00000005",
    "ip saddr { 1.1.1.1, 2.2.2.2 }",
    "meta skuid 1000",
    "ct state established,new accept",
    "ct mark 0x00000005",
    "limit rate over 5/second",
    "log prefix \"abc\"",
    "reject",
    "meta mark set 0x00000005",
    "ip dscp cs1",
    "meta cpu 1",
    "tcp option maxseg size 5",
    "notrack",
    "quota 5 bytes",
    "tcp doff 5",
    "tcp dport vmap { 5 : accept }",
];

fn lab() -> Lab {
    let lab = Lab::new();
    lab.sh("iptables-nft -N X; iptables-nft -N T; iptables-nft -A INPUT -s 1.2.3.4 -j ACCEPT");
    lab
}

#[test]
#[expect(clippy::print_stdout, reason = "the count is wanted, with --nocapture")]
fn what_iptables_could_have_written_is_read_as_its_save_program_reads_it() {
    if !require_root() {
        return;
    }
    let mut taken = 0;
    for (family, program, digit, rules) in
        [("ip", "iptables-nft", "-4", SAID), ("ip6", "ip6tables-nft", "-6", SAID_OF_IP6)]
    {
        let lab = Lab::new();
        // A chain may have the name of a target.
        lab.sh(&format!("{program} -N X; {program} -N T; nft add chain {family} filter LOG"));
        for rule in rules.iter().chain(SAID_OF_BOTH) {
            let added = lab.command("nft").args(["add", "rule", family, "filter", "T", rule]).output().expect("nft");
            assert!(added.status.success(), "{rule}: {}", String::from_utf8_lossy(&added.stderr));
            taken += 1;
        }
        let theirs = lab.sh(&format!("{program}-save 2>/dev/null"));
        assert!(theirs.contains("-A T -p tcp"), "the save program reads the table: {theirs}");
        let ours = printed(&lab, &["rules", digit, "--backend", "nft", "-o", "save"]);
        assert_eq!(without_comments(&ours), without_comments(&theirs));
    }
    println!("{taken} rules of nft are read as those of iptables");
}

#[test]
fn a_rule_that_iptables_cannot_express_stands_alone_in_nfts_words() {
    if !require_root() {
        return;
    }
    for rule in FOREIGN {
        let lab = lab();
        lab.sh("iptables-nft -A T -p udp -j DROP; iptables-nft -A T -p tcp --dport 7 -j DROP");
        assert!(
            lab.command("nft")
                .args(["insert", "rule", "ip", "filter", "T", rule])
                .output()
                .expect("nft")
                .status
                .success(),
            "{rule}"
        );
        let output = nslens(&lab, &["rules", "-4", "--backend", "nft", "-o", "save"]);
        let (text, note) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(5), "{rule}: {text}");
        assert!(
            text.contains("-A T -p tcp -m tcp --dport 7 -j DROP") && text.contains("-A T -p udp -j DROP"),
            "{text}"
        );
        assert!(text.contains("# Rule 1 of T, which iptables cannot express: "), "{text}");
        assert!(note.contains("rule 1 of ip filter T") && !note.contains("unknown"), "{note}");
        assert!(!text.contains("unknown"), "{text}");
        let document: serde_json::Value =
            serde_json::from_str(&printed(&lab, &["rules", "-4", "--backend", "nft", "-o", "json"])).expect("JSON");
        let chains = document["rulesets"][0]["tables"][0]["chains"].as_array().expect("chains");
        let chain = chains.iter().find(|chain| chain["name"] == "T").expect("the chain");
        assert_eq!((chain["syntax"].as_str(), chain["rules"][0]["syntax"].as_str()), (Some("iptables"), Some("nft")));
        assert_eq!(chain["rules"][0]["text"], *rule, "{chain:#}");
        assert!(chain["rules"][1].get("syntax").is_none(), "{chain:#}");
        let table = printed(&lab, &["rules", "--all", "-4", "--backend", "nft"]);
        assert!(table.contains("iptables tools do not show it"), "{table}");
        // The list of nft knows no difference.
        let (ours, theirs) = (printed(&lab, &["rules", "-o", "nft"]), lab.sh("nft list ruleset"));
        assert_eq!(ours, theirs, "{rule}");
        let file = tempfile::NamedTempFile::new().expect("a file");
        printed(&lab, &["snapshot", "-f", file.path().to_str().expect("a path")]);
        let again = std::process::Command::new(env!("CARGO_BIN_EXE_nslens"))
            .args(["rules", &format!("file/{}", file.path().display()), "-4", "--backend", "nft", "-o", "save"])
            .output()
            .expect("nslens runs");
        assert_eq!(without_comments(&String::from_utf8_lossy(&again.stdout)), without_comments(&text), "{rule}");
    }
}
