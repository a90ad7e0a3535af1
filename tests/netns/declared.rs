//! Declared sets: those that are like an expression (`typeof`), those that packets write to, and large ones; from the kernel, from
//! text and from JSON.

use std::fmt::Write as _;

use crate::manual::{assert_listed, without_expiry};
use crate::native::load;
use crate::rules::{nslens, printed};
use crate::support::{Lab, require_root};
use crate::texts::{both_ways, script_and_kernel};

#[test]
fn sets_that_are_like_an_expression_are_the_same_from_kernel_text_and_json() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    assert!(load(&lab, include_str!("../fixtures/nft/typeof.nft")), "the sets could not be loaded");
    let lines = assert_listed(&lab, "typeof.nft");
    assert!(lines > 300, "{lines}");
    let (text, json) = both_ways(&lab, "typeof.nft");
    assert!(text.sets >= 55 && json.sets >= 55, "{text:?} {json:?}");
    assert!(text.rules >= 60 && text.exact + 3 >= text.rules, "{text:?}");
    assert!(json.exact + 3 >= json.rules, "{json:?}");
}

/// What packets wrote to sets: counters, limits, quotas, times, and what elements lead to.
const WRITTEN: &str = "table inet t {
 set s { type ipv4_addr; size 1000; flags dynamic,timeout; timeout 1m; counter; }
 set s2 { type ipv4_addr . inet_service; size 1000; flags dynamic; }
 map m { type ipv4_addr : inet_service; size 1000; flags dynamic,timeout; }
 set s3 { type ipv4_addr; flags dynamic; size 10; limit rate 5/second; }
 set s4 { type ipv4_addr; flags dynamic; size 10; }
 set s5 { type ipv4_addr; flags dynamic; size 10; quota over 1 mbytes; }
 set s6 { type ipv4_addr; flags dynamic; size 10; ct count over 5; }
 set s7 { typeof ip ttl . udp dport . meta mark; flags dynamic; size 10; }
 set s8 { type ipv4_addr; size 10; }
 set s9 { typeof udp length . ip daddr; flags dynamic; size 10; counter; quota over 5 mbytes; }
 chain o { type filter hook output priority 0;
  update @s { ip daddr }
  add @s2 { ip daddr . udp dport counter }
  add @m { ip daddr timeout 3h : udp dport }
  add @s3 { ip daddr }
  add @s4 { ip daddr limit rate over 10/minute burst 7 packets counter }
  add @s5 { ip daddr }
  add @s6 { ip daddr }
  add @s7 { ip ttl . udp dport . meta mark }
  add @s8 { ip daddr }
  update @s9 { udp length . ip daddr }
  meter mm { ip daddr limit rate 3/second } accept
  meter mm2 size 12 { ip daddr . udp dport timeout 5m counter } accept
 }
}
";

#[test]
fn what_packets_wrote_to_sets_is_listed_as_nft_lists_it() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    assert!(load(&lab, WRITTEN), "the sets could not be loaded");
    lab.command("bash")
        .args(["-c", "for i in 1 2 3 9; do for n in 1 2; do echo hi > /dev/udp/127.0.0.$i/5$i; done; done"])
        .stderr(std::process::Stdio::null())
        .status()
        .expect("packets");
    let list = lab.sh("nft list ruleset");
    // Every set and map has them.
    for wrote in [
        "127.0.0.9 counter packets 2",
        "127.0.0.1 . 51 counter",
        "timeout 3h expires",
        ": 59",
        "burst 7 packets counter",
        "used 62 bytes",
        "ct count over 5,",
        "64 . 51 . ",
        "flags dynamic\n\t\telements = { 127",
        "11 . 127.0.0.9 counter",
    ] {
        assert!(list.contains(wrote), "{wrote:?} is not in {list}");
    }
    assert_listed(&lab, "after packets");
    let file = tempfile::Builder::new().suffix(".nft").tempfile().expect("a file");
    std::fs::write(file.path(), &list).expect("written");
    let name = file.path().to_str().expect("a path");
    let ours = printed(&lab, &["rules", "-o", "nft"]);
    assert_eq!(without_expiry(&ours), without_expiry(&list));
    let differ = nslens(&lab, &["diff", &format!("file/{name}")]);
    assert_eq!(differ.status.code(), Some(0), "{}", String::from_utf8_lossy(&differ.stdout));
}

#[test]
fn ten_thousand_elements_are_wrapped_as_nft_wraps_them() {
    if !require_root() {
        return;
    }
    const COUNT: u32 = 10_000;
    type Key = fn(u32) -> String;
    let kinds: [(&str, Key); 4] = [
        ("ipv4_addr", |i| format!("10.{}.{}.{}", i >> 16, i >> 8 & 255, i & 255)),
        ("inet_service", |i| i.to_string()),
        ("ipv4_addr . inet_service", |i| format!("10.0.{}.{} . {i}", i >> 8 & 255, i & 255)),
        ("ipv6_addr", |i| format!("fd00::{i:x}")),
    ];
    for (kind, key) in kinds {
        for (flags, rest) in [("", ""), ("flags interval;", ""), ("flags timeout;", " timeout 1h comment \"a, b\"")] {
            let lab = Lab::new();
            let mut text = format!("table ip t {{\n set s {{\n type {kind}; {flags}\n elements = {{ ");
            // Ranges that touch would become one; some elements have more than their key.
            let step = if flags.contains("interval") { 3 } else { 1 };
            for number in 0..COUNT {
                let more = if number % 3 == 0 { rest } else { "" };
                write!(text, "{}{more}, ", key(number * step)).expect("a text");
            }
            text.push_str("}\n }\n}\n");
            assert!(load(&lab, &text), "{kind} {flags}");
            let (ours, list) = (printed(&lab, &["rules", "-o", "nft"]), lab.sh("nft list ruleset"));
            assert!(
                without_expiry(&ours) == without_expiry(&list),
                "{kind} {flags}: {} and {} lines",
                ours.lines().count(),
                list.lines().count()
            );
            assert!(list.lines().count() > 2000, "{kind} {flags}");
        }
    }
}

/// Fields that do not fill their bytes: nft lists most of these rules in words that it could not load again.
const BITS: &str = "table inet t {
 set ds { typeof ip dscp; elements = { cs1, 0x3f }; }
 set dc { typeof ip dscp . ip saddr; elements = { cs1 . 1.2.3.4 }; }
 set dr { typeof ip dscp . ip daddr; flags interval; elements = { 3-5 . 1.2.3.0/24 }; }
 set six { typeof ip6 dscp . ip6 saddr; elements = { cs1 . ::1 }; }
 set tag { typeof vlan pcp . ether saddr; elements = { 3 . 00:01:02:03:04:05 }; }
 map to { typeof ip dscp : meta mark; elements = { cs1 : 3 }; }
 map verdicts { typeof ip dscp : verdict; elements = { cs1 : accept }; }
 set seen { typeof ip dscp . tcp dport; size 9; flags dynamic; }
 counter k { }
 chain c {
  ip dscp @ds
  ip dscp . ip saddr @dc
  ip dscp . ip daddr @dr
  ip6 dscp . ip6 saddr @six
  vlan pcp . ether saddr @tag
  meta mark set ip dscp map @to
  meta mark set ip dscp map { cs1 : 3 }
  ip dscp vmap @verdicts
  ip dscp vmap { cs1 : accept }
  counter name ip dscp map { cs1 : \"k\" }
  add @seen { ip dscp . tcp dport }
  meta mark set jhash ip dscp mod 3
  meta mark set jhash ip dscp . ip saddr mod 3
  ip dscp . ip saddr { cs1 . 1.2.3.4, 3-5 . 10.0.0.0/8 }
  ip6 dscp . ip6 saddr { cs1 . ::1 }
  ip6 dscp { 3, 4 }
  ip dscp & 0x3 { 1, 2 }
  vlan id & 0x3 == 1
  @nh,9,3 & 1 == 1
  ip dscp cs1-cs2
  ip dscp != cs1
  ip dscp & 0x3 == 0x1
  ip dscp < 5
  frag frag-off . ip6 saddr { 5 . ::1 }
  tcp doff . tcp dport vmap { 5 . 22 : accept }
 }
}
";

#[test]
fn fields_of_less_than_a_byte_are_shifted_where_nft_shifts_them() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let (head, rules) = BITS.split_once("chain c {\n").expect("a chain");
    let mut script = format!("{head}chain c {{\n");
    assert!(load(&lab, &format!("{script} }}\n}}\n")), "{script}");
    let (mut taken, mut refused) = (0, Vec::new());
    for rule in rules.lines().filter(|line| line.len() > 2 && !line.ends_with('}') || line.contains('{')) {
        // What this nft does not take is left out.
        if load(&lab, &format!("table inet t {{\n chain c {{\n {rule}\n }}\n}}\n")) {
            script.push_str(&format!("{rule}\n"));
            taken += 1;
        } else {
            refused.push(rule);
        }
    }
    script.push_str(" }\n}\n");
    assert!(taken >= 20, "not taken: {refused:?}");
    let counts = script_and_kernel(&lab, &script, "bits");
    assert_eq!((counts.rules, counts.exact), (taken, taken), "{counts:?}");
    assert_eq!(counts.sets, 8);
}
