//! What stands around rules and keeps them from being made or from working: RDR705, RDR708, RDR802 to RDR804, RDR807, RDR809, RDR810.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use nslens::analysis::check::{Answer, Asked, Severity, check};
use nslens::capture::{Occasion, Parts, take};
use nslens::model::{Container, Kind, LockHolder, Snapshot, Workload};

use super::stage::{Pod, exactly, found, istio, noted, only, silent, tells, without};
use crate::questions::stage::{dial, run};
use crate::support::wait_until;

const BACKENDS: [&str; 2] = ["legacy", "nft"];

fn checked(snapshot: &Snapshot) -> Answer {
    check(snapshot, Asked::default())
}

/// A pod whose init container has ended so; nothing else of it has begun.
fn stopped(code: i32) -> Option<Pod> {
    let mut pod = Pod::bare()?;
    pod.annotate("sidecar.istio.io/status", "{}");
    pod.workload.containers.push(Container {
        name: "istio-init".to_owned(),
        init: Some(true),
        state: Some("exited".to_owned()),
        finished: Some(1),
        exit_code: Some(code),
        user: Some(0),
        privileged: Some(false),
        capabilities: Some(vec!["NET_ADMIN".to_owned(), "NET_RAW".to_owned()]),
        ..Container::default()
    });
    Some(pod)
}

/// The same with half a rule set: no hook leads to its chains.
fn halved(backend: &str, code: i32) -> Option<Pod> {
    let pod = stopped(code)?;
    pod.loads(backend, |ipv6| Some(without(&without(&istio(ipv6), "-A OUTPUT"), "-A PREROUTING")));
    Some(pod)
}

/// With which code a command ends in the pod.
fn code(pod: &Pod, command: &str) -> i32 {
    let ended = pod.lab.command("sh").args(["-c", command]).output().expect("sh");
    ended.status.code().expect("a code")
}

/// Segments of an open connection that lie far outside of its window, at four places of the sequence's circle: two are ahead of it.
const ASTRAY: &str = r#"
import socket, struct, sys
source, port, target, to = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
def total(data):
    words = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while words >> 16: words = (words & 0xffff) + (words >> 16)
    return ~words & 0xffff
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
raw.bind((source, 0))
for quarter in range(4):
    seq = quarter << 30
    head = struct.pack('!HHLLBBHHH', port, to, seq, seq, 5 << 4, 0x10, 1000, 0, 0)
    ends = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack('!BBH', 0, 6, len(head) + 4)
    check = total(ends + head + b'data')
    raw.sendto(head[:16] + struct.pack('!H', check) + head[18:] + b'data', (target, 0))
"#;

/// Two samples of a pod, and between them packets that fit no connection.
fn disturbed(pod: &Pod) -> Answer {
    let _call = pod.world.netns().enter(|| dial("10.0.0.2:8080", Some("10.0.0.5:45000"))).expect("inside");
    pod.lab.wait_for_sockets(1, "state established sport = 15006");
    let first = pod.snapshot();
    let sent = pod.world.command("python3").args(["-c", ASTRAY, "10.0.0.5", "45000", "10.0.0.2", "8080"]).output();
    let sent = sent.expect("python3");
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    std::thread::sleep(std::time::Duration::from_millis(100));
    let later = pod.snapshot();
    check(&first, Asked { later: Some(&later), demand: None })
}

#[test]
fn rdr705_segments_that_fit_no_connection() {
    for backend in BACKENDS {
        let Some(pod) = Pod::istio(backend) else { return };
        silent(&pod.checked());
        let answer = disturbed(&pod);
        let finding = only(&answer, "RDR705", Severity::Warning);
        assert!(tells(finding, "resets were sent") && tells(finding, "ctstate INVALID"), "{finding:?}");
        assert!(tells(finding, "nf_conntrack_tcp_be_liberal is 0"), "{finding:?}");
        // A rule that drops them.
        let Some(pod) = Pod::istio(backend) else { return };
        for program in ["iptables", "ip6tables"] {
            pod.lab.sh(&format!(
                "{program}-{backend} -w -t mangle -A PREROUTING -p tcp -m conntrack --ctstate INVALID -j DROP"
            ));
        }
        silent(&disturbed(&pod));
        // A setting that takes them for valid.
        let Some(pod) = Pod::istio(backend) else { return };
        pod.lab.sh("echo 1 > /proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal");
        silent(&disturbed(&pod));
    }
}

#[test]
fn rdr705_a_rule_that_metadata_asks_for() {
    let Some(mut pod) = Pod::istio("nft") else { return };
    for (name, misspelt) in [("INVALID_DROP", false), ("DROP_INVALID", true)] {
        let proxy = pod.workload.containers.iter_mut().find(|container| container.name == "istio-proxy");
        proxy.expect("the proxy").environment = [(name.to_owned(), "true".to_owned())].into();
        let answer = pod.checked();
        let finding = only(&answer, "RDR705", Severity::Warning);
        assert!(tells(finding, &format!("{name} of container istio-proxy is true")), "{finding:?}");
        assert_eq!(tells(finding, "knows INVALID_DROP alone"), misspelt, "{finding:?}");
    }
    for program in ["iptables", "ip6tables"] {
        pod.lab.sh(&format!("{program}-nft -w -t mangle -A PREROUTING -m conntrack --ctstate INVALID -j DROP"));
    }
    silent(&pod.checked());
}

#[test]
fn rdr708_a_pod_that_calls_itself() {
    for backend in BACKENDS {
        let Some(mut pod) = Pod::istio(backend) else { return };
        pod.runs(1000, "app", "dial:127.0.0.1:8080", 6);
        pod.lab.wait_for_sockets(2, "state established");
        assert!(!pod.checked().findings.iter().any(|finding| finding.kind.id == "RDR708"));
        pod.programs.pop();
        pod.runs(1000, "app", "dial:10.0.0.2:8080", 6);
        pod.lab.wait_for_sockets(2, "state established dport = :8080 or sport = :8080");
        let answer = pod.checked();
        silent(&answer);
        let finding = noted(&answer, "RDR708");
        assert!(tells(finding, "a call to localhost, 127.0.0.1:8080, by UID 1000 goes there as it is"), "{finding:?}");
        assert!(tells(finding, "10.0.0.2:8080, by UID 1000 goes there as it is"), "{finding:?}");
        assert!(tells(finding, "a call to a service by UID 1000 is sent to port 15001"), "{finding:?}");
        assert!(tells(finding, "a call of the proxy to 10.0.0.2:8080 is sent to port 15006"), "{finding:?}");
        // What the proxy dials by loopback is dropped.
        let Some(pod) = Pod::istio(backend) else { return };
        pod.lab.sh(&format!("iptables-{backend} -w -A INPUT -i lo -p tcp --dport 15006 -j DROP"));
        let answer = pod.checked();
        let finding = only(&answer, "RDR708", Severity::Warning);
        let rule = finding.rule.as_ref().expect("the rule");
        assert_eq!((rule.table.as_str(), rule.chain.as_str(), rule.number), ("filter", "INPUT", 1), "{finding:?}");
    }
}

/// What a kernel told in `/proc/net/ip_tables_matches` that was built without the match for owners, and whose other modules were there.
const MATCHES: &str = "addrtype\ncomment\nconntrack\nconntrack\nicmp\nmultiport\nstate\ntcp\nudp\nudplite\n";

#[test]
fn rdr802_a_kernel_without_what_rules_need() {
    // Nothing can be taken from this kernel: what such a kernel tells is put into the snapshot.
    for (backend, half) in [("legacy", true), ("nft", true), ("nft", false)] {
        let Some(pod) = (if half { halved(backend, 1) } else { stopped(1) }) else { return };
        let cause = if half { "RDR003" } else { "RDR001" };
        let mut snapshot = pod.snapshot();
        snapshot.lock_holder = None;
        exactly(&checked(&snapshot), if half { &["RDR003", "RDR003"] } else { &["RDR001"] });
        let kernel = &mut snapshot.settings.as_mut().expect("they were read").kernel;
        let known: Vec<String> = MATCHES.lines().map(str::to_owned).collect();
        kernel.legacy_matches.insert("ip".to_owned(), known);
        let answer = checked(&snapshot);
        let finding = found(&answer, "RDR802");
        assert_eq!(finding.severity, Severity::Error, "{finding:?}");
        assert!(tells(finding, "no match owner for IPv4 (/proc/net/ip_tables_matches)"), "{finding:?}");
        assert!(tells(finding, "container istio-init has ended with code 1"), "{finding:?}");
        assert!(finding.remedy.contains("load xt_owner on the node"), "{finding:?}");
        assert!(answer.findings.iter().any(|finding| finding.kind.id == cause), "{answer:?}");
        assert!(!answer.findings.iter().any(|finding| finding.kind.id == "RDR803"), "{answer:?}");
    }
}

#[test]
fn rdr802_a_kernel_without_legacy_tables() {
    let Some(mut pod) = stopped(1) else { return };
    let mut look = |arguments: &[&str], modules: Option<&[&str]>| {
        let init = pod.workload.containers.last_mut().expect("a container");
        init.arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
        let mut snapshot = pod.snapshot();
        let kernel = &mut snapshot.settings.as_mut().expect("they were read").kernel;
        for lists in [&mut kernel.legacy_tables, &mut kernel.legacy_matches, &mut kernel.legacy_targets] {
            lists.clear();
        }
        kernel.modules = modules.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        checked(&snapshot)
    };
    let nft: Option<&[&str]> = Some(&["nf_tables", "nft_compat"]);
    // It was to write legacy rules, or nobody knows what, or rules that need no such tables.
    let answer = look(&["istio-iptables", "--iptables-mode", "legacy"], nft);
    exactly(&answer, &["RDR001", "RDR802"]);
    let finding = found(&answer, "RDR802");
    assert!(finding.severity == Severity::Error && tells(finding, "no /proc/net/ip_tables_names"), "{finding:?}");
    assert!(finding.remedy.contains("ip_tables, iptable_nat"), "{finding:?}");
    assert_eq!(found(&look(&["istio-iptables"], nft), "RDR802").severity, Severity::Warning);
    exactly(&look(&["istio-iptables", "--native-nftables"], nft), &["RDR001"]);
    // Once there are rules nothing is missing.
    let Some(pod) = Pod::istio("nft") else { return };
    let mut snapshot = pod.snapshot();
    snapshot.settings.as_mut().expect("they were read").kernel.legacy_tables.clear();
    silent(&checked(&snapshot));
}

/// Who holds the lock below a root.
fn holder(pod: &Pod, root: &Path) -> Option<LockHolder> {
    let proc_root = root.join("proc");
    let occasion = Occasion { node: "node", now: 0, asked: "lab", proc_root: &proc_root };
    let parts = Parts { connections: true, evidence: true, ..Parts::default() };
    let snapshot = take(Workload::named(Kind::Netns, "lab"), pod.lab.netns(), None, parts, occasion);
    snapshot.expect("a snapshot").lock_holder
}

#[test]
fn rdr803_somebody_holds_the_lock() {
    let Some(mut pod) = stopped(0) else { return };
    // A node's root with a lock of its own: the machine's is not for tests to hold.
    let root = tempfile::tempdir().expect("a folder");
    let (proc_root, lock) = (root.path().join("proc"), root.path().join("run/xtables.lock"));
    for folder in [&proc_root, &root.path().join("run")] {
        fs::create_dir_all(folder).expect("a folder");
    }
    fs::write(&lock, "").expect("a file");
    symlink(format!("/proc/{}", pod.lab.pid()), proc_root.join("1")).expect("a link");
    for name in ["thread-self", "self", "sys", "locks", "kallsyms"] {
        symlink(Path::new("/proc").join(name), proc_root.join(name)).expect("a link");
    }
    let begun = |ipv6| Some(without(&without(&istio(ipv6), "-A OUTPUT"), "-A PREROUTING"));
    pod.loads("legacy", begun);
    let mut other = Command::new("flock").arg("--no-fork").arg(&lock).args(["sleep", "1000"]).spawn().expect("flock");
    symlink(format!("/proc/{}", other.id()), proc_root.join(other.id().to_string())).expect("a link");
    wait_until("it sleeps", || {
        fs::read_to_string(format!("/proc/{}/comm", other.id())).unwrap_or_default() == "sleep\n"
    });
    let add =
        format!("XTABLES_LOCKFILE={} iptables-legacy -w 1 -t nat -A OUTPUT -p tcp -j ISTIO_OUTPUT", lock.display());
    let refused = code(&pod, &add);
    let held = holder(&pod, root.path());
    let _ = other.kill();
    let _ = other.wait();
    assert_eq!(refused, 4, "iptables did not get the lock");
    pod.workload.containers.last_mut().expect("a container").exit_code = Some(255);
    let look = |first: Option<&LockHolder>, later: Option<&LockHolder>| {
        let of = |holder: Option<&LockHolder>| Snapshot { lock_holder: holder.cloned(), ..pod.snapshot() };
        check(&of(first), Asked { later: Some(&of(later)), demand: None })
    };
    let answer = look(held.as_ref(), held.as_ref());
    exactly(&answer, &["RDR003", "RDR003", "RDR803"]);
    let finding = found(&answer, "RDR803");
    assert!(tells(finding, &format!("sleep (PID {}) still holds /run/xtables.lock", other.id())), "{finding:?}");
    assert!(tells(finding, "container istio-init has ended with code 255"), "{finding:?}");
    // Who holds it for a moment is no reason, nor is half a set alone.
    for first in [held.as_ref(), None] {
        let answer = look(first, None);
        exactly(&answer, &["RDR003", "RDR003"]);
        noted(&answer, "RDR803");
    }
    // Nor is it for rules that are whole.
    let Some(pod) = Pod::istio("legacy") else { return };
    let snapshot = Snapshot { lock_holder: held, ..pod.snapshot() };
    silent(&check(&snapshot, Asked { later: Some(&snapshot), demand: None }));
}

#[test]
fn rdr803_a_container_that_ends_as_iptables_does_without_the_lock() {
    for (backend, loud) in [("legacy", true), ("nft", false)] {
        let Some(pod) = halved(backend, 4) else { return };
        let answer = checked(&Snapshot { lock_holder: None, ..pod.snapshot() });
        if loud {
            exactly(&answer, &["RDR003", "RDR003", "RDR803"]);
            assert!(tells(found(&answer, "RDR803"), "has ended with code 4"), "{answer:?}");
        } else {
            exactly(&answer, &["RDR003", "RDR003"]);
        }
    }
}

#[test]
fn rdr804_a_security_module_in_the_way() {
    // A namespace has no security module of its own: what a node with one tells is put into the snapshot.
    let Some(mut pod) = halved("nft", 1) else { return };
    let look = |pod: &Pod, lsm: &str| {
        let lsm = (!lsm.is_empty()).then(|| lsm.to_owned());
        checked(&Snapshot { lsm, ..pod.snapshot() })
    };
    let answer = look(&pod, "SELinux enforcing");
    exactly(&answer, &["RDR003", "RDR003", "RDR804"]);
    let finding = found(&answer, "RDR804");
    assert!(finding.severity == Severity::Error && tells(finding, "SELinux enforcing"), "{finding:?}");
    assert!(tells(finding, "container istio-init is not privileged"), "{finding:?}");
    assert!(tells(finding, "has ended with code 1") && tells(finding, "half a rule set"), "{finding:?}");
    let answer = look(&pod, "AppArmor strict (enforce)");
    assert_eq!(found(&answer, "RDR804").severity, Severity::Warning);
    for mild in ["", "SELinux permissive", "AppArmor strict (complain)", "AppArmor docker-default (enforce)"] {
        exactly(&look(&pod, mild), &["RDR003", "RDR003"]);
    }
    pod.workload.containers.last_mut().expect("a container").privileged = Some(true);
    exactly(&look(&pod, "SELinux enforcing"), &["RDR003", "RDR003"]);
    let Some(pod) = Pod::istio("nft") else { return };
    silent(&look(&pod, "SELinux enforcing"));
}

#[test]
fn rdr807_what_is_sent_to_loopback_from_outside() {
    for backend in BACKENDS {
        let Some(mut pod) = Pod::bare() else { return };
        pod.lab.sh("ip -6 addr flush dev eth0; ip -6 route flush dev eth0");
        let translated = istio(false)
            .replace("-p tcp -j REDIRECT --to-ports 15006", "-p tcp -j DNAT --to-destination 127.0.0.1:15006");
        pod.loads(backend, |ipv6| (!ipv6).then(|| translated.clone()));
        pod.is_istio();
        let calls = || {
            let _caller = run(&pod.world, 0, "dial:10.0.0.2:8080");
            std::thread::sleep(std::time::Duration::from_millis(500));
            !pod.world.sh("ss -Htn state established dport = 8080").trim().is_empty()
        };
        pod.lab.sh("for one in all eth0; do echo 0 > /proc/sys/net/ipv4/conf/$one/route_localnet; done");
        assert!(!calls());
        let answer = pod.checked();
        let finding = only(&answer, "RDR807", Severity::Error);
        assert!(finding.remedy.contains("net.ipv4.conf.eth0.route_localnet=1"), "{finding:?}");
        assert_eq!(finding.rule.as_ref().map(|rule| rule.chain.as_str()), Some("ISTIO_IN_REDIRECT"), "{finding:?}");
        assert!(tells(finding, "from outside to 10.0.0.2:8080 is lost"), "{finding:?}");
        for device in ["eth0", "all"] {
            pod.lab.sh(&format!(
                "for one in all eth0; do echo 0 > /proc/sys/net/ipv4/conf/$one/route_localnet; done
                                 echo 1 > /proc/sys/net/ipv4/conf/{device}/route_localnet"
            ));
            assert!(calls());
            silent(&pod.checked());
        }
    }
}

#[test]
fn rdr807_loopback_without_ipv6() {
    for backend in BACKENDS {
        let Some(pod) = Pod::istio(backend) else { return };
        silent(&pod.checked());
        pod.lab.sh("echo 1 > /proc/sys/net/ipv6/conf/lo/disable_ipv6");
        let answer = pod.checked();
        let finding = only(&answer, "RDR807", Severity::Warning);
        assert!(finding.remedy.contains("net.ipv6.conf.lo.disable_ipv6=0"), "{finding:?}");
        assert!(tells(finding, "neither ::1 nor ::6"), "{finding:?}");
    }
}

#[test]
fn rdr809_a_container_without_the_right_to_make_rules() {
    for backend in BACKENDS {
        let Some(mut pod) = stopped(0) else { return };
        let add = format!("iptables-{backend} -w -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001");
        let refused = code(&pod, &format!("exec setpriv --bounding-set=-net_admin,-net_raw {add}"));
        assert_ne!(refused, 0);
        let init = pod.workload.containers.last_mut().expect("a container");
        (init.exit_code, init.capabilities) = (Some(refused), Some(vec!["CHOWN".to_owned()]));
        let answer = pod.checked();
        exactly(&answer, &["RDR001", "RDR809"]);
        let finding = found(&answer, "RDR809");
        assert!(finding.title.contains("NET_ADMIN and NET_RAW missing"), "{finding:?}");
        assert!(tells(finding, "began as user 0 with only CHOWN"), "{finding:?}");
        assert!(tells(finding, &format!("istio-init has ended with code {refused}")), "{finding:?}");
        // One that has them, or may do everything, has failed for another reason.
        let init = pod.workload.containers.last_mut().expect("a container");
        init.privileged = Some(true);
        exactly(&pod.checked(), &["RDR001"]);
        let init = pod.workload.containers.last_mut().expect("a container");
        (init.privileged, init.capabilities) = (None, Some(vec!["NET_ADMIN".to_owned(), "NET_RAW".to_owned()]));
        exactly(&pod.checked(), &["RDR001"]);
        assert_eq!(code(&pod, &add), 0);
    }
}

#[test]
fn rdr810_a_pod_without_ipv6() {
    let Some(mut pod) = stopped(0) else { return };
    pod.lab.sh("for one in all lo; do echo 1 > /proc/sys/net/ipv6/conf/$one/disable_ipv6; done");
    let refused = code(&pod, "ip -6 addr add ::6/128 dev lo");
    assert_ne!(refused, 0);
    pod.workload.containers.last_mut().expect("a container").exit_code = Some(refused);
    let answer = pod.checked();
    exactly(&answer, &["RDR001", "RDR810"]);
    let finding = found(&answer, "RDR810");
    assert!(tells(finding, "net.ipv6.conf.all.disable_ipv6 is 1"), "{finding:?}");
    assert!(tells(finding, &format!("istio-init has ended with code {refused}")), "{finding:?}");
    // Where there is IPv6, that was not it.
    pod.lab.sh("for one in all lo; do echo 0 > /proc/sys/net/ipv6/conf/$one/disable_ipv6; done");
    exactly(&pod.checked(), &["RDR001"]);
    // A kernel without IPv6 cannot be had here: what it tells is put into the snapshot.
    let mut snapshot = pod.snapshot();
    snapshot.settings.as_mut().expect("they were read").kernel.ipv6 = false;
    let answer = checked(&snapshot);
    exactly(&answer, &["RDR001", "RDR810"]);
    assert!(tells(found(&answer, "RDR810"), "no /proc/net/if_inet6"), "{answer:?}");
}

#[test]
fn rdr810_a_pod_with_ipv6_alone() {
    let Some(pod) = stopped(1) else { return };
    exactly(&pod.checked(), &["RDR001"]);
    pod.lab.sh("ip -4 addr flush dev eth0");
    assert_eq!(found(&pod.checked(), "RDR810").severity, Severity::Warning);
    let mut snapshot = pod.snapshot();
    snapshot.settings.as_mut().expect("they were read").kernel.legacy_tables.remove("ip");
    let answer = checked(&snapshot);
    exactly(&answer, &["RDR001", "RDR810"]);
    let finding = found(&answer, "RDR810");
    assert!(finding.severity == Severity::Error && tells(finding, "no legacy tables of IPv4"), "{finding:?}");
}
