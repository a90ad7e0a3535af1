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

fn add(lab: &Lab, rule: &str) -> bool {
    lab.command("nft").args(["add", "rule", "ip", "filter", "T", rule]).output().expect("nft").status.success()
}

#[test]
#[expect(clippy::print_stdout, reason = "the count is wanted, with --nocapture")]
fn what_iptables_could_have_written_is_read_as_its_save_program_reads_it() {
    if !require_root() {
        return;
    }
    let lab = lab();
    let taken = SAID.iter().filter(|rule| add(&lab, rule)).count();
    let theirs = lab.sh("iptables-nft-save 2>/dev/null");
    assert!(theirs.contains("-A T -p tcp"), "the save program reads the table: {theirs}");
    let ours = printed(&lab, &["rules", "-4", "--backend", "nft", "-o", "save"]);
    assert_eq!(without_comments(&ours), without_comments(&theirs));
    println!("{taken} rules of nft are read as those of iptables");
    assert!(taken >= 44, "only {taken} were taken");
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
