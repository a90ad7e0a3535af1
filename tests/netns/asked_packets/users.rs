//! Whose packet it is: marks instead of users, users of another user namespace, and containers inside of the pod. PQ18 to PQ20.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nslens::analysis::trace::{Question, Tracer, Verdict};
use nslens::model::Endpoint;
use nslens::packet::{DeviceName, Known};
use nslens::sys::netns::Netns;

use super::ask::{Means, Pod, look, out, path};
use super::outbound::every;
use super::profiles::{AMBIENT, ISTIO, NONE, Rules};
use crate::support::{Lab, require_root};

#[test]
fn pq18_in_ambient_mode_users_do_not_matter_and_the_mark_does() {
    every(&[AMBIENT], |mut pod, _, _| {
        let by = "nat OUTPUT 1, ISTIO_OUTPUT 6";
        let expected = "proxy gets 10.0.0.2 > 127.0.0.1:15001 for 10.0.0.5:3306";
        for uid in [1000, 1337, 0] {
            pod.ask(&out("10.0.0.5:3306").uid(uid), expected, by);
        }
        pod.ask(&out("10.0.0.5:3306").uid(1000).mark(0x538), expected, by);
        for mark in [0x539, 0x8539] {
            pod.ask(&out("10.0.0.5:3306").uid(1000).mark(mark), "leaves 10.0.0.2 > 10.0.0.5:3306", "no rule");
        }
    });
}

/// A program that ends with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A pod that counts its users from 100000 of the machine's: the process that holds it.
fn mapped() -> Ends {
    let mut command = Command::new("unshare");
    command.args(["-U", "-n", "setpriv", "--pdeathsig", "KILL", "sh", "-c", "echo ready; exec sleep 1000"]);
    let mut pod = Ends(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("unshare can be run"));
    let output = pod.0.stdout.take().expect("its output is a pipe");
    BufReader::new(output).read_line(&mut String::new()).expect("a line");
    for map in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{}/{map}", pod.0.id()), "0 100000 65536").expect("a map");
    }
    pod
}

/// A shell in that pod, as this user of it.
fn inside(pod: &Ends, id: u32, script: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["-t", &pod.0.id().to_string(), "-U", "-n", "setpriv", "--pdeathsig", "KILL"]);
    command.args(["--reuid", &id.to_string(), "--regid", &id.to_string(), "--clear-groups"]);
    command.args(["sh", "-euc", script]).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

#[test]
fn pq19_users_are_compared_as_the_pod_counts_them() {
    if !require_root() {
        return;
    }
    for means in Means::ALL {
        let (world, pod) = (Lab::new(), mapped());
        world.sh(&format!(
            "ip link add eth0 type veth peer name eth0 netns {}
             ip addr add 10.0.0.5/24 dev eth0
             ip link set eth0 up",
            pod.0.id()
        ));
        let rules = match means {
            Means::Native => format!("nft -f - <<'END'\n{}\nEND", ISTIO.native),
            means => format!("iptables-{}-restore <<'END'\n{}\nEND", means.word(), ISTIO.four),
        };
        let script = format!(
            "ip link set lo up
             ip addr add 10.0.0.2/24 dev eth0
             ip link set eth0 up
             export XTABLES_LOCKFILE=/dev/null
             {rules}"
        );
        assert!(inside(&pod, 0, &script).status().expect("nsenter can be run").success());
        let netns = Netns::open(Path::new(&format!("/proc/{}/ns/net", pod.0.id()))).expect("the namespace");
        let proxy = netns.enter(|| TcpListener::bind("127.0.0.1:15001")).expect("inside").expect("a listener");
        let server = world.netns().enter(|| TcpListener::bind("10.0.0.5:80")).expect("inside").expect("a listener");
        let snapshot = look(&netns);
        let tracer = Tracer::of(&snapshot);
        // Of the machine's 101337 is meant, which the pod knows as 1337; its 101337 there is not.
        for (uid, captured, by) in [
            (1337, false, "nat OUTPUT 1, ISTIO_OUTPUT 4"),
            (1000, true, "nat OUTPUT 1, ISTIO_OUTPUT 9, ISTIO_REDIRECT 1"),
        ] {
            let question =
                Question { uid: Some(uid), gid: Some(uid), ..Question::to(Endpoint::new([10, 0, 0, 5].into(), 80)) };
            let trace = tracer.trace(&question);
            let verdict = if captured { Verdict::Delivered } else { Verdict::Sent };
            assert_eq!(trace.verdict(), verdict, "{means:?} {uid}");
            assert_eq!(path(&tracer, &trace.outcomes[0]), by, "{means:?} {uid}");
            let mut client = Ends(inside(&pod, uid, "exec busybox nc 10.0.0.5 80").spawn().expect("nsenter"));
            [&proxy, &server].iter().for_each(|listener| listener.set_nonblocking(true).expect("it can"));
            let mut got = [false; 2];
            crate::support::wait_until("the call", || {
                got = [proxy.accept().is_ok(), server.accept().is_ok()];
                got != [false; 2]
            });
            assert_eq!(got, [captured, !captured], "{means:?} {uid}");
            client.0.kill().expect("it can be ended");
        }
    }
}

/// What a pod has in which containers are run, beside the mesh's.
const MASQUERADE: &str = "*nat\n-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\nCOMMIT\n";

#[test]
fn pq20_a_container_inside_of_the_pod_is_caught_inbound() {
    if !require_root() {
        return;
    }
    for means in Means::IPTABLES {
        let pod = Pod::under(means, &ISTIO);
        pod.load(&Rules { four: MASQUERADE, six: NONE, ..ISTIO });
        let container = Lab::new();
        pod.stage.pod.sh(&format!(
            "ip link add docker0 type bridge
             ip addr add 172.17.0.1/16 dev docker0
             ip link set docker0 up
             ip link add port type veth peer name eth0 netns {}
             ip link set port master docker0 up
             sysctl -qw net.ipv4.ip_forward=1",
            container.pid()
        ));
        container.sh("ip addr add 172.17.0.2/16 dev eth0
             ip link set eth0 up
             ip route add default via 172.17.0.1");
        let proxy = pod.stage.pod.netns().enter(|| TcpListener::bind("0.0.0.0:15006")).expect("inside");
        let proxy = proxy.expect("a listener");
        let snapshot = look(pod.stage.pod.netns());
        let tracer = Tracer::of(&snapshot);
        let question = Question {
            incoming: true,
            source: Some([172, 17, 0, 2].into()),
            interface: DeviceName::new("docker0"),
            ..Question::to(Endpoint::new([10, 0, 0, 5].into(), 80))
        };
        let trace = tracer.trace(&question);
        let [outcome] = trace.outcomes.as_slice() else { panic!("{trace:#?}") };
        let by = "nat PREROUTING 1, ISTIO_INBOUND 5, ISTIO_IN_REDIRECT 1";
        assert_eq!((outcome.verdict, path(&tracer, outcome).as_str()), (Verdict::Delivered, by), "{trace:#?}");
        let address = Known::Is([172, 17, 0, 1].into());
        assert_eq!((outcome.packet.destination, outcome.packet.destination_port), (address, Known::Is(15006)));
        let end: SocketAddr = "10.0.0.5:80".parse().expect("an end");
        let call = || TcpStream::connect_timeout(&end, Duration::from_secs(5)).expect("the proxy takes it");
        let client = container.netns().enter(call).expect("inside");
        let (taken, peer) = proxy.accept().expect("the call");
        assert_eq!(taken.local_addr().expect("its end").to_string(), "172.17.0.1:15006");
        assert_eq!(peer, client.local_addr().expect("its end"));
        let original = nix::sys::socket::getsockopt(&taken, nix::sys::socket::sockopt::OriginalDst).expect("tracked");
        assert_eq!(u32::from_be(original.sin_addr.s_addr), 0x0a00_0005);
    }
}
