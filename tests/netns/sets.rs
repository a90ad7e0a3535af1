//! Sets that rules name: ipsets as `ipset save` writes them, and how much of large sets is read.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use nslens::capture::rules::Wanted;
use nslens::capture::sets::{Elements, few_elements};
use nslens::capture::{Occasion, Parts, take};
use nslens::model::{Kind, Snapshot, Workload};
use nslens::sys::netlink::{self, NetlinkSocket};

use crate::native::load;
use crate::rules::printed;
use crate::support::{Lab, require_root};

/// What a lab holds, with these elements of its sets.
pub(crate) fn look(lab: &Lab, elements: Elements) -> Snapshot {
    let rules = Some(Wanted { elements, ..Wanted::default() });
    let parts = Parts { rules, ..Parts::default() };
    let occasion = Occasion { node: "node", now: 0, asked: "netns/lab", proc_root: Path::new("/proc") };
    take(Workload::named(Kind::Netns, "lab"), lab.netns(), None, parts, occasion).expect("a snapshot")
}

/// Gives lines to `ipset restore`.
fn restore(lab: &Lab, text: &str) -> bool {
    let mut ipset = lab
        .command("ipset")
        .arg("restore")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("ipset can be run");
    ipset.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("written");
    ipset.wait().expect("ipset ends").success()
}

#[test]
#[expect(clippy::print_stdout, reason = "the counts are wanted, with --nocapture")]
fn ipsets_read_as_ipset_saves_them() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let (mut names, mut taken, mut refused) = (Vec::new(), 0, Vec::new());
    for line in include_str!("../fixtures/ipset/sets.txt").lines().filter(|line| !line.starts_with('#')) {
        if !restore(&lab, &format!("{line}\n")) {
            refused.push(line);
            continue;
        }
        taken += 1;
        if let Some(name) = line.strip_prefix("create ").and_then(|rest| rest.split(' ').next()) {
            let family = if line.contains("inet6") { "ip6" } else { "ip" };
            lab.sh(&format!("{family}tables-legacy -A INPUT -m set --match-set {name} src"));
            names.push(name);
        }
    }
    names.sort_unstable();
    let ours = || look(&lab, Elements::All).ipsets;
    assert_eq!(ours().iter().map(|set| set.name.clone()).collect::<Vec<_>>(), names);
    for (at, name) in names.iter().enumerate() {
        // The seconds that are left go on while both look.
        let (mut own, mut theirs) = (ours().remove(at), String::new());
        for _ in 0..20 {
            theirs = lab.sh(&format!("ipset save {name}"));
            own = ours().remove(at);
            if own.save() == theirs {
                break;
            }
        }
        assert_eq!(own.save(), theirs);
        let ours = own;
        let terse = IpSetCount::of(&lab, &ours.name);
        assert_eq!((ours.header.count, ours.header.references), (Some(terse.count), Some(terse.references)));
    }
    println!("{} sets, {taken} lines compared; not taken by this kernel: {refused:?}", names.len());
    assert!(taken >= 112, "only {taken} lines were taken; not {refused:?}");
    // What a snapshot file keeps is the same.
    let snapshot = look(&lab, Elements::All);
    let mut file = Vec::new();
    nslens::archive::write(&snapshot, false, &mut file).expect("written");
    let nslens::archive::Loaded::Snapshot(again) =
        nslens::archive::read(&file, nslens::model::Family::Ip).expect("a snapshot")
    else {
        panic!("no snapshot")
    };
    assert_eq!(again.ipsets, snapshot.ipsets);
    assert_eq!(again.rulesets, snapshot.rulesets);
}

/// What `ipset list -t` counts.
struct IpSetCount {
    count: u32,
    references: u32,
}

impl IpSetCount {
    fn of(lab: &Lab, name: &str) -> Self {
        let text = lab.sh(&format!("ipset list -t {name}"));
        let number = |word: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(word)).unwrap_or_else(|| panic!("{word}"));
            line.trim().parse().expect("a number")
        };
        Self { count: number("Number of entries:"), references: number("References:") }
    }
}

#[test]
fn elements_are_read_where_they_were_asked_for_or_are_few() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let many = |from: u32| (0..2000_u32).map(move |at| format!("10.{from}.{}.{}", at / 250, at % 250));
    assert!(load(
        &lab,
        &format!(
            "table ip t {{
                set few {{ type ipv4_addr; elements = {{ 10.0.0.1, 10.0.0.2 }} }}
                set many {{ type ipv4_addr; elements = {{ {} }} }}
                chain c {{
                    type nat hook output priority -100
                    ip daddr @few tcp dport {{ 1, 2 }} return
                    ip daddr @many return
                    tcp dport 80 redirect to :15001
                }}
            }}",
            many(0).collect::<Vec<_>>().join(", ")
        )
    ));
    let adds: String = many(1).map(|address| format!("add large {address}\n")).collect();
    assert!(restore(
        &lab,
        &format!(
            "create large hash:ip\ncreate small hash:ip\nadd small 10.0.0.1\n{adds}
create ports bitmap:port range 0-99\nadd ports 7\nadd ports 9\n"
        )
    ));
    lab.sh("for set in small large ports; do iptables-nft -A OUTPUT -m set --match-set $set dst -j DROP; done");
    let found = |elements| {
        let snapshot = look(&lab, elements);
        let sets = snapshot.rulesets().iter().flat_map(|ruleset| &ruleset.tables).flat_map(|table| &table.sets);
        let mut native: Vec<_> = sets
            .map(|set| {
                let name = if set.is_anonymous() { "anonymous" } else { &set.name };
                (name.to_owned(), (!set.unread).then_some(set.elements.len()))
            })
            .collect();
        native.sort();
        let ipsets: Vec<_> = snapshot
            .ipsets
            .iter()
            .map(|set| (set.name.clone(), set.elements.as_ref().map(Vec::len), set.header.count))
            .collect();
        (native, ipsets)
    };
    let own = |name: &str| name.to_owned();
    let native = |few, many| vec![(own("anonymous"), Some(2)), (own("few"), few), (own("many"), many)];
    let counted = |large, small, counts: Option<(u32, u32)>| {
        vec![
            (own("large"), large, counts.map(|counts| counts.0)),
            (own("ports"), Some(2), Some(2)),
            (own("small"), small, counts.map(|counts| counts.1)),
        ]
    };
    let ipsets = |large, small| counted(large, small, Some((2000, 1)));
    assert_eq!(found(Elements::None), (native(None, None), vec![]));
    assert_eq!(found(Elements::Cheap), (native(Some(2), None), counted(None, None, None)));
    assert_eq!(found(Elements::Few), (native(Some(2), None), ipsets(None, Some(1))));
    assert_eq!(found(Elements::All), (native(Some(2), Some(2000)), ipsets(Some(2000), Some(1))));

    // What was not read is never shown as empty, and the sentence does not pretend to know.
    let table = printed(&lab, &["rules", "--all", "-4"]);
    assert!(table.contains("ip t many · ipv4_addr · 2000 elements, not read: --sets"), "{table}");
    assert!(table.contains("ip t few · ipv4_addr · 2 elements\n"), "{table}");
    assert!(table.contains("ipset large · hash:ip · elements not read: --sets\n"), "{table}");
    let said = |table: &str| table.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said(&table).contains("hangs on whether rule nft ip"), "{table}");
    let document = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&printed(&lab, &[&["rules", "-o", "json"], arguments].concat())).expect("JSON")
    };
    let one = |document: &serde_json::Value, name: &str| {
        let sets = document["sets"].as_array().expect("sets");
        let set = sets.iter().find(|set| set["name"] == name).expect(name).clone();
        (set["read"].clone(), set["count"].clone(), set["elements"].as_array().map(Vec::len))
    };
    let plain = document(&[]);
    assert_eq!(one(&plain, "many"), (false.into(), 2000.into(), None));
    assert_eq!(one(&plain, "large"), (false.into(), serde_json::Value::Null, None));
    assert_eq!(one(&plain, "ports"), (true.into(), 2.into(), Some(2)));
    let whole = document(&["--sets"]);
    for name in ["many", "large"] {
        assert_eq!(one(&whole, name), (true.into(), 2000.into(), Some(2000)), "{name}");
    }
    let table = printed(&lab, &["rules", "--sets", "-4"]);
    assert!(table.contains("\n      10.1.7.249\n") && table.contains("\n      10.0.7.249\n"), "{table}");
    assert!(!said(&table).contains("hangs"), "{table}");
    // nft lists its own sets whole.
    assert_eq!(printed(&lab, &["rules", "-o", "nft", "--backend", "nft"]).matches("10.0.7.249").count(), 1);
}

#[test]
fn a_list_of_elements_is_given_up_when_there_are_many() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let elements: Vec<String> = (0..5000).map(|at| format!("10.0.{}.{}", at / 250, at % 250)).collect();
    let text = format!(
        "table ip t {{\n set few {{\n type ipv4_addr\n elements = {{ 10.0.0.1 }}\n }}\n \
         set many {{\n type ipv4_addr\n elements = {{ {} }}\n }}\n }}\n",
        elements.join(", ")
    );
    assert!(load(&lab, &text));
    let ask = |set: &str| {
        let socket = lab.netns().enter(|| NetlinkSocket::open(netlink::NETFILTER)).expect("the namespace");
        let request = nslens::wire::nf_tables::elements_of(2, "t", set);
        few_elements(&mut socket.expect("a socket"), &request, 1024).expect("an answer").map(|found| found.len())
    };
    assert_eq!((ask("few"), ask("many")), (Some(1), None));
}

#[test]
fn rules_of_both_backends_and_mixed_chains_look_into_the_sets() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    lab.sh("ipset create a hash:ip; ipset add a 10.7.7.7; ipset create p bitmap:port range 0-99; ipset add p 80
            iptables-legacy -t nat -A OUTPUT -p tcp -m set --match-set p dst -j REDIRECT --to-ports 15001");
    let said = |arguments: &[&str]| {
        let text = printed(&lab, &[&["rules", "-4"], arguments].concat());
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    // Ports that are in a set are as good as named.
    let text = said(&[]);
    assert!(text.contains("SETS ipset p · bitmap:port · 1 element"), "{text}");
    assert!(text.contains("Outbound TCP is redirected only to port 80 (it goes to 15001)"), "{text}");
    // A hash is looked into on request.
    lab.sh("iptables-legacy -t nat -I OUTPUT -m set --match-set a dst -j RETURN");
    assert!(!said(&[]).contains("redirected only to port 80"), "{}", said(&[]));
    assert!(said(&["--sets"]).contains("Outbound TCP is redirected only to port 80"), "{}", said(&["--sets"]));
    // A set that a rule changes, be it in a chain of nft's, may hold anything.
    lab.sh("iptables-nft -A INPUT -j SET --add-set a src; nft add rule ip filter INPUT tcp dport vmap { 80 : drop }");
    let text = said(&["--sets", "--backend", "all", "--all"]);
    assert!(text.contains("source is added to set a") && !text.contains("only to port 80"), "{text}");
    let nft = printed(&lab, &["rules", "-o", "nft"]);
    assert!(nft.contains("counter packets 0 bytes 0 xt target SET --add-set a src\n"), "{nft}");
}
