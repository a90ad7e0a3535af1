//! The demo's lab: its rules are those that iptables itself would have written, its programs are connected, and nothing of it
//! is left when the program that made it is gone, however it went.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nslens::demo::{DemoError, Lab, Variant, steps};
use nslens::sys::netlink::{DUMP, NETFILTER, NetlinkSocket};
use nslens::sys::netns::Netns;
use nslens::wire::attribute::{Attribute, attributes};

const PROGRAM: &str = env!("CARGO_BIN_EXE_nslens");

/// A lab, or `None` after a loud line where this machine does not allow one. Under `CI` that is a failure.
fn lab(variant: Variant) -> Option<Lab> {
    match Lab::start(Path::new(PROGRAM), variant) {
        Ok(lab) => Some(lab),
        Err(error @ (DemoError::NotRoot { .. } | DemoError::MissingCapability { .. })) => {
            assert!(std::env::var_os("CI").is_none(), "{error}");
            skip(&error.to_string());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Said past the test harness, which keeps what `eprintln!` says of a passing test to itself.
fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// Whether iptables can be asked for its opinion. Under `CI` it must be.
fn has_iptables() -> bool {
    let there = Command::new("iptables-nft-save").arg("--version").output().is_ok_and(|output| output.status.success());
    assert!(there || std::env::var_os("CI").is_none(), "iptables-nft-save is missing");
    if !there {
        skip("iptables-nft-save is missing");
    }
    there
}

/// What `*-save` has to print, counters and comment lines aside.
fn expected(ipv6: bool, variant: Variant) -> String {
    let (own, passthrough) = if ipv6 { ("::1/128", "::6/128") } else { ("127.0.0.1/32", "127.0.0.6/32") };
    let mut lines: Vec<String> = [
        "*nat",
        ":PREROUTING ACCEPT",
        ":INPUT ACCEPT",
        ":OUTPUT ACCEPT",
        ":POSTROUTING ACCEPT",
        ":ISTIO_INBOUND -",
        ":ISTIO_IN_REDIRECT -",
        ":ISTIO_OUTPUT -",
        ":ISTIO_REDIRECT -",
        "-A PREROUTING -p tcp -j ISTIO_INBOUND",
        "-A OUTPUT -p tcp -j ISTIO_OUTPUT",
        "-A ISTIO_INBOUND -p tcp -m tcp --dport 15008 -j RETURN",
        "-A ISTIO_INBOUND -p tcp -m tcp --dport 15090 -j RETURN",
        "-A ISTIO_INBOUND -p tcp -m tcp --dport 15021 -j RETURN",
        "-A ISTIO_INBOUND -p tcp -m tcp --dport 15020 -j RETURN",
        "-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT",
        "-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006",
    ]
    .map(str::to_owned)
    .into();
    lines.push(format!("-A ISTIO_OUTPUT -s {passthrough} -o lo -j RETURN"));
    for who in ["--uid-owner 1337", "--gid-owner 1337"] {
        let call = format!("! -d {own} -o lo -p tcp -m tcp ! --dport 15008 -m owner {who} -j ISTIO_IN_REDIRECT");
        lines.push(format!("-A ISTIO_OUTPUT {call}"));
        lines.push(format!("-A ISTIO_OUTPUT -o lo -m owner ! {who} -j RETURN"));
        if variant == Variant::Istio {
            lines.push(format!("-A ISTIO_OUTPUT -m owner {who} -j RETURN"));
        }
    }
    lines.push(format!("-A ISTIO_OUTPUT -d {own} -j RETURN"));
    lines.push("-A ISTIO_OUTPUT -j ISTIO_REDIRECT".to_owned());
    lines.push("-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001".to_owned());
    lines.push("COMMIT\n".to_owned());
    lines.join("\n")
}

/// What a save program prints in the calling thread's namespace, counters and comment lines aside.
fn saved(ipv6: bool) -> String {
    let program = if ipv6 { "ip6tables-nft-save" } else { "iptables-nft-save" };
    let output = Command::new(program).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success() && output.stderr.is_empty(), "{program}: {output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(!text.contains("incompatible"), "{text}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| format!("{}\n", line.split(" [").next().unwrap_or_default())).collect()
}

/// Every rule of a family in the calling thread's namespace: table, chain and expressions byte for byte, counters left out.
fn dumped(ipv6: bool) -> Vec<String> {
    const GET_RULE: u16 = 10 << 8 | 7;
    const HEAD: usize = 4;
    let mut rules = Vec::new();
    let head = [if ipv6 { 10 } else { 2 }, 0, 0, 0];
    let mut socket = NetlinkSocket::open(NETFILTER).expect("a netlink socket");
    let each = |message: nslens::sys::netlink::Message<'_>| {
        let parts = attributes(&message.payload[HEAD..]).map(|part| part.expect("whole"));
        rules.push(parts.filter_map(|part| written(&part)).collect::<Vec<_>>().join(" "));
    };
    socket.request(GET_RULE, DUMP, &head, each).expect("a dump");
    rules
}

/// An attribute of a rule, unless the kernel made it (handle, position).
fn written(part: &Attribute<'_>) -> Option<String> {
    match part.kind {
        3 | 6 => None,
        4 => Some(part.nested().map(|element| expression(&element.expect("whole"))).collect()),
        _ => Some(format!("{}={:?}", part.kind, part.value)),
    }
}

fn expression(element: &Attribute<'_>) -> String {
    let parts: Vec<_> = element.nested().map(|part| part.expect("whole")).collect();
    let name = parts.first().expect("a name").text();
    let data = if name == "counter" { &[] } else { parts.get(1).expect("data").value };
    format!("\n  {name} {data:?}")
}

#[test]
fn iptables_lists_the_rules_as_its_own() {
    for variant in [Variant::Istio, Variant::WithoutExemption] {
        if !has_iptables() {
            return;
        }
        let Some(lab) = lab(variant) else { return };
        let netns = Netns::open(&lab.netns_path()).expect("the lab's namespace");
        for ipv6 in [false, true] {
            let saved = netns.enter(|| saved(ipv6)).expect("inside");
            assert_eq!(saved, expected(ipv6, variant), "IPv6: {ipv6}, {variant:?}");
        }
    }
}

#[test]
fn the_bytes_are_those_that_iptables_writes() {
    if !has_iptables() {
        return;
    }
    let Some(lab) = lab(Variant::Istio) else { return };
    let netns = Netns::open(&lab.netns_path()).expect("the lab's namespace");
    for ipv6 in [false, true] {
        let ours = netns.enter(|| dumped(ipv6)).expect("inside");
        // A thread of its own: its namespace ends with it.
        let theirs = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a namespace");
            restore(ipv6, &expected(ipv6, Variant::Istio));
            dumped(ipv6)
        });
        assert_eq!(ours.len(), 18);
        assert_eq!(ours, theirs.join().expect("the thread ends in order"), "IPv6: {ipv6}");
    }
}

fn restore(ipv6: bool, rules: &str) {
    let program = if ipv6 { "ip6tables-nft-restore" } else { "iptables-nft-restore" };
    let mut child = Command::new(program).stdin(Stdio::piped()).spawn().expect("the restore program");
    child.stdin.take().expect("its input").write_all(rules.as_bytes()).expect("to write");
    assert!(child.wait().expect("its end").success());
}

/// Established connections of the lab: UID, local and remote end, as `/proc/PID/net/tcp` prints them.
fn established(lab: &Lab, file: &str) -> Vec<(String, String, String)> {
    let text = fs::read_to_string(format!("/proc/{}/net/{file}", lab.pid())).expect("the lab's sockets");
    let fields = text.lines().skip(1).map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let fields = fields.filter(|fields| fields[3] == "01");
    fields.map(|fields| (fields[7].to_owned(), fields[1].to_owned(), fields[2].to_owned())).collect()
}

#[test]
fn every_way_through_the_proxy_is_taken() {
    let Some(lab) = lab(Variant::Istio) else { return };
    for file in ["tcp", "tcp6"] {
        let found = established(&lab, file);
        let count = |uid: &str, local: &str, remote: &str| {
            let fits = |(user, here, there): &&(String, String, String)| {
                user == uid && here.ends_with(local) && there.ends_with(remote)
            };
            found.iter().filter(fits).count()
        };
        assert_eq!(count("1000", "", ":0050"), 1, "the application's call: {found:?}");
        assert_eq!(count("1337", ":3A99", ""), 1, "the proxy took it: {found:?}");
        assert_eq!(count("1337", "", ":0050"), 1, "and dialled: {found:?}");
        assert_eq!(count("1337", ":3A9E", ""), 1, "the proxy took a call from outside: {found:?}");
        assert_eq!(count("1337", "", ":1F90"), 1, "and passed it on: {found:?}");
        assert_eq!(count("1000", ":1F90", ""), 1, "to the application: {found:?}");
        assert_eq!(count("1337", ":3AAD", ""), 1, "the health check: {found:?}");
        assert_eq!(found.len(), 7, "{found:?}");
    }
}

#[test]
fn without_the_exemption_the_proxy_dials_itself_and_stops() {
    let Some(lab) = lab(Variant::WithoutExemption) else { return };
    let rounds = || {
        let found = established(&lab, "tcp");
        found.into_iter().filter(|(uid, _, remote)| uid == "1337" && remote.ends_with(":0050")).count()
    };
    assert_eq!(rounds(), 4, "the proxy's own calls, each of which came back");
    thread::sleep(Duration::from_millis(300));
    assert_eq!(rounds(), 4, "and it is over");
}

#[test]
fn the_tour_names_both_pods() {
    let (Some(good), Some(broken)) = (lab(Variant::Istio), lab(Variant::WithoutExemption)) else { return };
    let tour = steps(&good, &broken);
    let commands: Vec<_> = tour.iter().filter_map(|step| step.command.first()).collect();
    assert_eq!(commands, ["rules", "conns", "diff", "conns"]);
    assert_ne!(good.target(), broken.target());
    let targets: BTreeSet<_> = tour.iter().flat_map(|step| step.command.iter().skip(1)).collect();
    assert_eq!(targets, BTreeSet::from([&good.target(), &broken.target()]));
}

#[test]
fn an_orderly_end_leaves_nothing() {
    let Some(lab) = lab(Variant::Istio) else { return };
    let tree = tree(lab.pid());
    assert_eq!(tree.len(), 4, "pause, reviews, proxy, app");
    drop(lab);
    assert_eq!(alive(&tree), BTreeSet::new());
}

#[test]
fn the_lab_dies_with_its_first_process() {
    let Some(lab) = lab(Variant::Istio) else { return };
    let tree = tree(lab.pid());
    kill(pid(lab.pid()), Signal::SIGKILL).expect("to kill it");
    // The first process itself waits to be collected by this one.
    let children = tree.into_iter().filter(|(pid, _)| *pid != lab.pid()).collect();
    assert_gone(&children);
}

#[test]
fn nothing_is_left_however_the_demo_ends() {
    for signal in [Signal::SIGKILL, Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let Some(probe) = lab(Variant::Istio) else { return };
        drop(probe);
        let mut demo = Keeper::start();
        let tree = demo.tree();
        // A process that has just been started is still where its parent is.
        let own = namespace(std::process::id());
        let namespaces: BTreeSet<_> =
            tree.iter().map(|(pid, _)| namespace(*pid)).filter(|id| *id != own).flatten().collect();
        assert!(namespaces.len() >= 2, "inside and outside: {namespaces:?}");
        kill(pid(demo.0.id()), signal).expect("to end it");
        demo.0.wait().expect("its end");
        assert_gone(&tree);
        let left: Vec<_> =
            processes().into_iter().filter(|pid| namespace(*pid).is_some_and(|id| namespaces.contains(&id))).collect();
        assert!(left.is_empty(), "{signal}: still in the lab's namespaces: {left:?}");
    }
}

/// `nslens demo --keep`, waiting for Enter.
struct Keeper(Child);

impl Keeper {
    fn start() -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["demo", "--keep"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("the program"))
    }

    /// Its descendants, once a whole lab is among them.
    fn tree(&mut self) -> BTreeSet<(u32, String)> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let tree: BTreeSet<_> = tree(self.0.id()).into_iter().filter(|(pid, _)| *pid != self.0.id()).collect();
            let whole = ["pause", "reviews", "proxy", "app"].iter().all(|name| {
                let is =
                    |pid: u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == *name);
                tree.iter().any(|(pid, _)| is(*pid))
            });
            if whole {
                return tree;
            }
            assert!(self.0.try_wait().expect("its state").is_none(), "the demo ended by itself");
            assert!(Instant::now() < deadline, "no lab came up: {tree:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // It is gone already where the test went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process and its descendants, each with its start time, by which it is told from a later one of the same number.
fn tree(root: u32) -> BTreeSet<(u32, String)> {
    let children = fs::read_to_string(format!("/proc/{root}/task/{root}/children")).unwrap_or_default();
    let below = children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).flat_map(tree);
    start_time(root).map(|time| (root, time)).into_iter().chain(below).collect()
}

/// Start time of a process that is more than a zombie.
fn start_time(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    (fields.next()? != "Z").then(|| fields.nth(18).map(str::to_owned)).flatten()
}

fn alive(tree: &BTreeSet<(u32, String)>) -> BTreeSet<u32> {
    tree.iter().filter(|(pid, time)| start_time(*pid).as_ref() == Some(time)).map(|(pid, _)| *pid).collect()
}

/// Fails unless all of these are gone within a second.
fn assert_gone(tree: &BTreeSet<(u32, String)>) {
    let deadline = Instant::now() + Duration::from_secs(1);
    while !alive(tree).is_empty() {
        assert!(Instant::now() < deadline, "still alive: {:?}", alive(tree));
        thread::sleep(Duration::from_millis(5));
    }
}

fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn namespace(pid: u32) -> Option<String> {
    fs::read_link(format!("/proc/{pid}/ns/net")).ok().map(|link| link.to_string_lossy().into_owned())
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(number.try_into().expect("a PID"))
}
