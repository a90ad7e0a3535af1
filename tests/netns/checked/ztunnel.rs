//! Pods of Istio's ambient mode: rules in the pod, a proxy of the node that waits there, and the node's own rules.

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, connect, listen, setsockopt, socket, sockopt,
};
use nslens::analysis::check::{Answer, Asked, check};
use nslens::capture::rules::Wanted;
use nslens::capture::sets::Elements;
use nslens::capture::{Occasion, Parts, take};
use nslens::model::{Kind, Resolver, Snapshot, Workload};

use super::stage::{Pod, restore};
use crate::questions::stage::Program;
use crate::support::Lab;

/// Ambient mode's rules as the CNI agent of Istio 1.27 writes them; `SELF` and `PROBE` stand for the family's own addresses.
const AMBIENT: &str = "
*mangle
:ISTIO_PRERT - [0:0]
:ISTIO_OUTPUT - [0:0]
-A PREROUTING -j ISTIO_PRERT
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_PRERT -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff
-A ISTIO_OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff
COMMIT
*nat
:ISTIO_PRERT - [0:0]
:ISTIO_OUTPUT - [0:0]
-A OUTPUT -j ISTIO_OUTPUT
-A PREROUTING -j ISTIO_PRERT
-A ISTIO_PRERT -s PROBE -p tcp -m tcp -j ACCEPT
-A ISTIO_OUTPUT -d PROBE -p tcp -m tcp -j ACCEPT
-A ISTIO_PRERT ! -d SELF -p tcp ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006
-A ISTIO_OUTPUT ! -o lo -p udp -m mark ! --mark 0x539/0xfff -m udp --dport 53 -j REDIRECT --to-ports 15053
-A ISTIO_OUTPUT ! -d SELF -p tcp --dport 53 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15053
-A ISTIO_OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT
-A ISTIO_OUTPUT ! -d SELF -o lo -j ACCEPT
-A ISTIO_OUTPUT ! -d SELF -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001
COMMIT
*raw
:ISTIO_PRERT - [0:0]
:ISTIO_OUTPUT - [0:0]
-A PREROUTING -j ISTIO_PRERT
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_OUTPUT -p udp -m mark --mark 0x539/0xfff -m udp --dport 53 -j CT --zone 1
-A ISTIO_PRERT -p udp -m mark ! --mark 0x539/0xfff -m udp --sport 53 -j CT --zone 1
COMMIT
";
/// The mark of ztunnel's sockets.
const MARK: u32 = 0x539;
/// Where the lab's ztunnel waits.
pub(crate) const EVERYWHERE: &str = "tcp:[::]:15001 tcp:[::]:15006 tcp:[::]:15008 udp:127.0.0.1:15053 tcp:127.0.0.1:15053 \
                                     udp:[::1]:15053 tcp:[::1]:15053";

/// The rules of ambient mode for one family.
pub(crate) fn ambient(ipv6: bool) -> String {
    let (own, probe) =
        if ipv6 { ("::1/128", "fd16:9254:7127:1337:ffff:ffff:ffff:ffff") } else { ("127.0.0.1/32", "169.254.7.127") };
    AMBIENT.replace("SELF", own).replace("PROBE", probe)
}

/// A ztunnel, killed when this value goes away.
pub(crate) struct Ztunnel(Child);

impl Drop for Ztunnel {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Ztunnel {
    /// Starts one that lives in the machine's own namespaces and waits in this one, at so many sockets.
    pub(crate) fn of(lab: &Lab, words: &str) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", program.to_str().expect("its path")]);
        command.args(["--exact", "checked::ztunnel::a_ztunnel_of_the_lab"]);
        command.env("NSLENS_TEST_ZTUNNEL", format!("/proc/{}/ns/net {words}", lab.pid()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let own = Self(command.spawn().expect("it can be run"));
        for word in words.split_whitespace() {
            let (protocol, at) = word.split_once(':').expect("a word");
            let filter = if protocol == "udp" { "-u" } else { "-t" };
            crate::support::wait_until(word, || {
                lab.sh(&format!("ss -Hnal {filter}")).contains(at.trim_start_matches("[::]"))
            });
        }
        own
    }
}

/// Starts an application of UID 1000 with this capability that calls somebody with ztunnel's mark, or does nothing.
pub(crate) fn able(lab: &Lab, capability: &str, words: &str) -> Program {
    let program = std::env::current_exe().expect("this program");
    let mut command = lab.command("setpriv");
    command.args(["--reuid", "1000", "--regid", "1000", "--clear-groups"]);
    command.args(["--inh-caps", capability, "--ambient-caps", capability, "--pdeathsig", "KILL"]);
    command.args([program.to_str().expect("its path"), "--exact", "checked::ztunnel::a_ztunnel_of_the_lab"]);
    command.env("NSLENS_TEST_ZTUNNEL", format!("- {words}"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Program(command.spawn().expect("it can be run"))
}

/// The functions above start this program again: then this is ztunnel, or such an application.
#[test]
fn a_ztunnel_of_the_lab() {
    let Ok(words) = std::env::var("NSLENS_TEST_ZTUNNEL") else { return };
    let (netns, places) =
        words.split_once(' ').map(|(netns, places)| (netns.to_owned(), places.to_owned())).expect("words");
    if netns != "-" {
        fs::write("/proc/self/comm", "ztunnel").expect("a name");
    }
    // The program itself stays where it is: only the thread that opens the sockets goes there.
    let opens = thread::spawn(move || {
        if netns != "-" {
            setns(fs::File::open(netns).expect("the namespace"), CloneFlags::CLONE_NEWNET).expect("it can be entered");
        }
        places.split_whitespace().for_each(opened);
    });
    opens.join().expect("sockets");
    thread::sleep(Duration::from_secs(1000));
}

/// A socket with the mark.
fn opened(place: &str) {
    let (protocol, at) = place.split_once(':').expect("a protocol and a place");
    let at: SocketAddr = at.parse().expect("an address");
    let family = if at.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let kind = if protocol == "udp" { SockType::Datagram } else { SockType::Stream };
    let own = socket(family, kind, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    setsockopt(&own, sockopt::Mark, &MARK).expect("the mark");
    if protocol == "call" {
        connect(own.as_raw_fd(), &SockaddrStorage::from(at)).expect("a connection");
        return std::mem::forget(own);
    }
    bind(own.as_raw_fd(), &SockaddrStorage::from(at)).expect("the place");
    if protocol == "udp" {
        let own = UdpSocket::from(own);
        thread::spawn(move || {
            let mut bytes = [0; 64];
            while let Ok((length, from)) = own.recv_from(&mut bytes) {
                let _ = own.send_to(&bytes[..length], from);
            }
        });
    } else {
        waits(own);
    }
}

/// It takes what comes.
fn waits(own: OwnedFd) {
    listen(&own, Backlog::new(16).expect("a number")).expect("it waits");
    let listener = TcpListener::from(own);
    thread::spawn(move || listener.incoming().flatten().for_each(std::mem::forget));
}

/// A pod of ambient mode with its node.
pub(crate) struct Ambient {
    pub(crate) pod: Pod,
    pub(crate) ztunnel: Option<Ztunnel>,
    /// What its container's resolv.conf says.
    pub(crate) nameservers: Vec<String>,
}

impl Ambient {
    /// A pod in which all is well; none without root. Its world is its node.
    pub(crate) fn well(backend: &str) -> Option<Self> {
        let mut own = Self::enrolled()?;
        for ipv6 in [false, true] {
            restore(&own.pod.lab, backend, ipv6, &ambient(ipv6));
        }
        own.node(backend);
        own.ztunnel = Some(Ztunnel::of(&own.pod.lab, EVERYWHERE));
        Some(own)
    }

    /// A pod that metadata tells of, with routes and an application, and nothing else.
    pub(crate) fn enrolled() -> Option<Self> {
        let mut pod = Pod::bare()?;
        pod.workload.annotations.insert("ambient.istio.io/redirection".to_owned(), "enabled".to_owned());
        pod.workload.addresses = vec!["10.0.0.2".parse().expect("an address"), "fd00::2".parse().expect("an address")];
        pod.container("app");
        pod.lab.sh("ip rule add fwmark 0x111/0xfff pref 32764 lookup 100
                    ip route add local 0.0.0.0/0 dev lo table 100
                    ip -6 rule add fwmark 0x111/0xfff pref 32764 lookup 100
                    ip -6 route add local ::/0 dev lo table 100");
        pod.runs(1000, "app", "accept:[::]:8080", 1);
        Some(Self { pod, ztunnel: None, nameservers: vec!["10.0.0.5".to_owned()] })
    }

    /// The node's rules for its own calls, and its sets.
    pub(crate) fn node(&self, backend: &str) {
        self.pod.world.sh("ipset create istio-inpod-probes-v4 hash:ip family inet comment
                           ipset create istio-inpod-probes-v6 hash:ip family inet6 comment
                           ipset add istio-inpod-probes-v4 10.0.0.2
                           ipset add istio-inpod-probes-v6 fd00::2");
        for (ipv6, set, to) in [(false, "v4", "169.254.7.127"), (true, "v6", "fd16:9254:7127:1337:ffff:ffff:ffff:ffff")]
        {
            restore(
                &self.pod.world,
                backend,
                ipv6,
                &format!(
                    "*nat\n:ISTIO_POSTRT - [0:0]\n-A POSTROUTING -j ISTIO_POSTRT\n-A ISTIO_POSTRT -m owner --socket-exists -p tcp \
                     -m set --match-set istio-inpod-probes-{set} dst -j SNAT --to-source {to}\nCOMMIT"
                ),
            );
        }
    }

    /// All that is read of pod and node.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.pod.snapshot();
        let parts = Parts {
            rules: Some(Wanted { elements: Elements::All, ..Wanted::default() }),
            connections: true,
            routes: true,
            ..Parts::default()
        };
        let occasion = Occasion { node: "node", now: 0, asked: "host", proc_root: Path::new("/proc") };
        let host = Workload::named(Kind::Host, "node");
        let node = take(host, self.pod.world.netns(), None, parts, occasion).expect("the node can be looked at");
        snapshot.node_addresses = vec!["10.0.0.5".parse().expect("an address"), "fd00::5".parse().expect("an address")];
        snapshot.node_state = Some(Arc::new(node));
        let resolver = Resolver { nameservers: self.nameservers.clone(), search: Vec::new() };
        snapshot.resolvers = vec![("app".to_owned(), resolver)];
        snapshot
    }

    /// What is found.
    pub(crate) fn checked(&self) -> Answer {
        check(&self.snapshot(), Asked::default())
    }
}
