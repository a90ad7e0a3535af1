//! nft's own rules, sets and objects, beyond those of the corpus: listed as nft lists them, in every family.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;

use crate::rules::{cases, corpus, nslens, printed};
use crate::support::{Lab, require_root};

/// Hands a text to `nft -f -`; whether it was taken.
pub(crate) fn load(lab: &Lab, text: &str) -> bool {
    let mut nft = lab
        .command("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("nft can be run");
    nft.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("written");
    nft.wait().expect("nft ends").success()
}

fn assert_listed(lab: &Lab, what: &str) {
    let (ours, theirs) = (printed(lab, &["rules", "-o", "nft"]), lab.sh("nft list ruleset"));
    for (line, wanted) in ours.lines().zip(theirs.lines()) {
        assert_eq!(line, wanted, "{what}");
    }
    assert_eq!(ours.lines().count(), theirs.lines().count(), "{what}");
}

#[test]
#[expect(clippy::print_stdout, reason = "the counts are wanted, with --nocapture")]
fn rules_of_every_kind_and_family_are_listed_as_nft_lists_them() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let (mut chains, mut taken, mut refused) = (BTreeMap::new(), 0, Vec::new());
    for line in include_str!("../fixtures/nft/rules.txt").lines().filter(|line| !line.starts_with('#')) {
        let parts: Vec<&str> = line.splitn(3, '|').collect();
        let [family, hook, rule] = parts.as_slice() else { panic!("{line:?} is no line of three parts") };
        let number = chains.len();
        let chain = chains.entry((*family, *hook)).or_insert(number);
        let text = format!("table {family} t {{\n chain c{chain} {{\n {hook};\n {rule}\n }}\n}}\n");
        if load(&lab, &text) { taken += 1 } else { refused.push(line) }
    }
    assert_listed(&lab, "rules.txt");
    println!("{taken} rules compared; not taken by this kernel or nft: {refused:?}");
    assert!(taken >= 370, "only {taken} rules were taken; not {refused:?}");
}

#[test]
fn sets_maps_and_objects_are_listed_as_nft_lists_them() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    // Line by line as far as it goes, so that what one kernel does not have takes nothing else with it.
    assert!(load(&lab, include_str!("../fixtures/nft/sets.nft")), "the sets could not be loaded");
    assert_listed(&lab, "sets.nft");
    let document: serde_json::Value = serde_json::from_str(&printed(&lab, &["rules", "-o", "json"])).expect("JSON");
    let sets = document["sets"].as_array().expect("sets");
    let one = |name: &str| sets.iter().find(|set| set["name"] == name).expect(name);
    assert_eq!(one("s1")["elements"], serde_json::json!(["10.0.0.0/8", "172.16.0.1", "192.168.1.1-192.168.1.77"]));
    assert_eq!(one("m1")["map"], "verdict");
    assert_eq!(one("s1")["flags"], serde_json::json!(["interval"]));
    assert!(sets.iter().all(|set| !set["name"].as_str().expect("a name").starts_with("__")), "{sets:?}");
}

#[test]
fn changes_of_sets_are_seen_in_one_piece() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    assert!(load(&lab, "table ip t {\n set s { type inet_service; }\n}\n"));
    let whole = |from: u32| {
        let list: Vec<String> = (from..from + 200).map(|port| port.to_string()).collect();
        format!("flush set ip t s\nadd element ip t s {{ {} }}\n", list.join(", "))
    };
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for from in [1, 5000].into_iter().cycle() {
                if done.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                assert!(load(&lab, &whole(from)));
            }
        });
        let mut seen = 0;
        for _ in 0..40 {
            let text = printed(&lab, &["rules", "-o", "json"]);
            let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            let elements = document["sets"][0]["elements"].as_array().expect("elements").clone();
            if elements.is_empty() {
                continue;
            }
            seen += 1;
            let ports: Vec<u32> =
                elements.iter().map(|port| port.as_str().expect("text").parse().expect("a port")).collect();
            assert_eq!(ports.len(), 200, "half a set");
            assert!(ports.iter().all(|port| (*port < 5000) == (ports[0] < 5000)), "two sets in one");
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(seen > 5, "the set was seen {seen} times only");
    });
}

/// The sentence at the end of `rules -4`, names of tables and chains in one spelling, on one line.
fn sentence(lab: &Lab) -> String {
    let document: serde_json::Value =
        serde_json::from_str(&printed(lab, &["rules", "-4", "-o", "json"])).expect("JSON");
    let said = document["summary"].as_str().expect("a sentence").to_lowercase().replace('_', "-");
    ["istio-ambient-", "istio-proxy-"].iter().fold(said, |said, prefix| said.replace(prefix, ""))
}

#[test]
#[expect(clippy::print_stdout, reason = "the count is wanted, with --nocapture")]
fn native_rules_of_istio_end_in_the_sentence_of_its_iptables_rules() {
    if !require_root() {
        return;
    }
    let Some(folder) = corpus() else { return };
    let (mut compared, mut telling) = (0, 0);
    for native in cases(&folder, "nft") {
        let path = native.to_string_lossy().into_owned();
        let twin = path.replace("istio-nft-", "istio-").replace(".nft", ".rules");
        if !path.contains("istio-nft-") || !std::path::Path::new(&twin).is_file() {
            continue;
        }
        let (ours, theirs) = (Lab::new(), Lab::new());
        let loaded = ours.command("nft").arg("-f").arg(&native).output().expect("nft").status.success();
        let restored = theirs.command("iptables-nft-restore").arg(&twin).output().expect("restore").status.success();
        if !(loaded && restored) {
            continue;
        }
        let (ours, theirs) = (sentence(&ours), sentence(&theirs));
        assert_eq!(ours, theirs, "{path}");
        compared += 1;
        telling += usize::from(theirs.contains("1500"));
    }
    println!("{compared} native cases end as their iptables twins, {telling} of them with a port");
    assert!(compared >= 12 && telling >= 6, "{compared}, {telling}");
}

#[test]
fn a_changed_set_is_a_difference_and_one_that_changes_by_itself_is_none() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let sets = "set s { type inet_service; elements = { 80, 443 }; }\n set d { type ipv4_addr; flags dynamic; }";
    assert!(load(&lab, &format!("table ip t {{\n {sets}\n chain c {{\n tcp dport @s counter drop\n }}\n}}\n")));
    let file = tempfile::NamedTempFile::new().expect("a file");
    let before = format!("file/{}", file.path().display());
    printed(&lab, &["snapshot", "-f", file.path().to_str().expect("a path")]);
    assert!(load(&lab, "add element ip t d { 10.0.0.1 }"));
    let same = nslens(&lab, &["diff", &before]);
    assert_eq!(same.status.code(), Some(0), "{}", String::from_utf8_lossy(&same.stdout));
    assert!(load(&lab, "add element ip t s { 8080 }"));
    let changed = nslens(&lab, &["diff", &before]);
    assert_eq!(changed.status.code(), Some(1));
    let text = String::from_utf8_lossy(&changed.stdout);
    assert!(text.contains("@s") && text.contains("8080"), "{text}");
}

#[test]
fn connections_under_native_rules_are_told_with_the_rule_that_sent_them() {
    if !require_root() {
        return;
    }
    let (pod, world) = Lab::pod_and_world();
    assert!(load(
        &pod,
        "table inet mesh {
 chain to-proxy { meta l4proto tcp counter redirect to :15001
 }
 chain leave {
  oifname \"lo\" return
  meta skuid 1337 counter return
  ip daddr 127.0.0.1 return
  tcp dport { 22, 9000-9009 } return
  jump to-proxy
 }
 chain out { type nat hook output priority -100;
  meta nfproto ipv4 meta l4proto tcp jump leave
 }
}
"
    ));
    let each = "-e busybox sleep 100";
    let servers = [
        pod.nc(1337, 1337, &format!("-ll -p 15001 {each}")),
        world.nc(0, 0, &format!("-ll -p 80 {each}")),
        world.nc(0, 0, &format!("-ll -p 9005 {each}")),
    ];
    pod.wait_for_sockets(1, "state listening");
    world.wait_for_sockets(2, "state listening");
    let programs = [
        (pod.nc(1000, 1000, "10.0.0.5 80"), "redirected", Some(("to-proxy", 1))),
        (pod.nc(1337, 1337, "10.0.0.5 80"), "exempt", Some(("leave", 2))),
        (pod.nc(1000, 1000, "10.0.0.5 9005"), "direct", None),
    ];
    // The redirected one has its other half in the pod.
    pod.wait_for_connections(4);
    let document: serde_json::Value = serde_json::from_str(&printed(&pod, &["conns", "-o", "json"])).expect("JSON");
    let connections = document["connections"].as_array().expect("connections");
    for (program, way, rule) in &programs {
        let held = |one: &&serde_json::Value| one["process"]["pid"] == program.pid();
        let connection = connections.iter().find(held).unwrap_or_else(|| panic!("{way}: {connections:#?}"));
        assert_eq!(connection["way"], *way, "{connection:#}");
        match rule {
            Some((chain, number)) => {
                let named = &connection["rule"];
                assert_eq!((named["family"].as_str(), named["table"].as_str()), (Some("inet"), Some("mesh")));
                assert_eq!((named["chain"].as_str(), named["number"].as_u64()), (Some(*chain), Some(*number)));
            }
            None => assert!(connection["rule"].is_null(), "{connection:#}"),
        }
    }
    let listed = pod.sh("nft list ruleset");
    assert!(listed.contains("meta l4proto tcp counter packets 1 "), "the kernel redirected one: {listed}");
    let text = printed(&pod, &["rules"]);
    assert!(text.contains("Outbound TCP goes to 15001") && text.contains("except from UID 1337"), "{text}");
    drop(servers);
}

#[test]
fn sets_of_addresses_users_and_protocols_are_followed() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    assert!(load(
        &lab,
        "table inet mesh {
 set proxies { type uid; elements = { 1337, 2000 }; }
 set nets { type ipv4_addr; flags interval; elements = { 10.96.0.0/12, 127.0.0.1 }; }
 chain out { type nat hook output priority -100;
  meta skuid @proxies return
  ip daddr @nets return
  meta l4proto { tcp, udp } th dport 25-29 return
  meta l4proto tcp redirect to :15001
 }
}
"
    ));
    let text = printed(&lab, &["rules", "-4"]).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("IPv4 if ip daddr @nets → left alone"), "{text}");
    assert!(text.contains("Outbound TCP goes to 15001") && text.contains("except from UID 1337 and 2000"), "{text}");
    assert!(text.contains("outbound to ports 25–29"), "{text}");
    assert!(!text.contains("hangs"), "{text}");
}
