//! Which way connections take under rules like Istio's, told for real connections of an application, a proxy and the world.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use nslens::analysis::join::{Connection, Dialled, Direction, Rulebook, Way, connections};
use nslens::model::{Backend, Endpoint, Family, RuleRef};
use nslens::report::conns::{Look, table, wide};

use crate::look_at;
use crate::support::{Lab, Running, require_root};

/// As istio-iptables writes them; IPv4 only.
const ISTIO: &str = "
iptables-nft-restore <<'END'
*nat
:ISTIO_INBOUND - [0:0]
:ISTIO_REDIRECT - [0:0]
:ISTIO_IN_REDIRECT - [0:0]
:ISTIO_OUTPUT - [0:0]
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A OUTPUT -p tcp -j ISTIO_OUTPUT
-A ISTIO_INBOUND -p tcp --dport 15008 -j RETURN
-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT
-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
-A ISTIO_OUTPUT -s 127.0.0.6/32 -o lo -j RETURN
-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -m owner --gid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN
-A ISTIO_OUTPUT -j ISTIO_REDIRECT
COMMIT
END";

/// The exemptions of these rules, as far as these tests need them.
struct Istio;

fn rule(chain: &str, number: usize) -> RuleRef {
    RuleRef { backend: Backend::Nft, family: Family::Ip, table: "nat".into(), chain: chain.into(), number }
}

impl Rulebook for Istio {
    fn redirecting(&self, packet: &Dialled) -> Option<RuleRef> {
        let chain = if packet.incoming { "ISTIO_IN_REDIRECT" } else { "ISTIO_REDIRECT" };
        (packet.destination.address.is_ipv4() && self.exempting(packet).is_none()).then(|| rule(chain, 1))
    }

    fn exempting(&self, packet: &Dialled) -> Option<RuleRef> {
        if packet.destination.address.is_loopback() || packet.destination.address.is_ipv6() {
            return None;
        }
        let by_uid = (packet.uid == Some(1337)).then(|| rule("ISTIO_OUTPUT", 4));
        by_uid.or_else(|| (packet.gid == Some(1337)).then(|| rule("ISTIO_OUTPUT", 7)))
    }

    fn tracks(&self, ipv6: bool) -> Option<bool> {
        Some(!ipv6)
    }
}

/// A meshed pod, its proxy listening on 15001 and 15006, and a server in the world.
struct Mesh {
    pod: Lab,
    world: Lab,
    _servers: Vec<Running>,
}

fn mesh() -> Mesh {
    let (pod, world) = Lab::pod_and_world();
    pod.sh(ISTIO);
    let each = "-e busybox sleep 100";
    let servers = vec![
        pod.nc(1337, 1337, &format!("-ll -p 15001 {each}")),
        pod.nc(1337, 1337, &format!("-ll -p 15006 {each}")),
        pod.nc(1000, 1000, &format!("-ll -p 8080 {each}")),
        world.nc(0, 0, &format!("-ll -p 80 {each}")),
    ];
    pod.wait_for_sockets(3, "state listening");
    world.wait_for_sockets(1, "state listening");
    Mesh { pod, world, _servers: servers }
}

fn end(text: &str) -> Endpoint {
    let address: SocketAddr = text.parse().expect("an endpoint");
    Endpoint::new(address.ip(), address.port())
}

fn joined(lab: &Lab) -> Vec<Connection> {
    let snapshot = look_at(lab);
    assert!(snapshot.unread.is_empty(), "{:?}", snapshot.unread);
    connections(&snapshot, false, &Istio)
}

/// Where there are no rules.
fn joined_without_rules(lab: &Lab) -> Vec<Connection> {
    connections(&look_at(lab), false, &())
}

/// The connection that a program holds.
fn of<'a>(connections: &'a [Connection], program: &Running) -> &'a Connection {
    let held = |one: &&Connection| one.processes.iter().any(|owner| owner.pid == program.pid());
    connections.iter().find(held).expect("the program has a connection")
}

/// The other half of a connection.
fn twin<'a>(connections: &'a [Connection], of: &Connection) -> &'a Connection {
    let inode = of.twin.expect("it has a twin");
    let twin = connections.iter().find(|one| one.inode == inode).expect("the twin is there");
    assert_eq!(twin.twin, Some(of.inode), "twins know each other");
    twin
}

#[test]
fn an_applications_connection_goes_to_the_proxy() {
    if !require_root() {
        return;
    }
    let mesh = mesh();
    let app = mesh.pod.nc(1000, 1000, "10.0.0.5 80");
    mesh.pod.wait_for_connections(2);
    let connections = joined(&mesh.pod);
    assert_eq!(connections.len(), 2, "{connections:#?}");
    let caller = of(&connections, &app);
    assert_eq!((caller.way, caller.uid, caller.direction), (Way::Redirected, Some(1000), Some(Direction::Out)));
    assert_eq!(caller.original_destination, Some(end("10.0.0.5:80")));
    assert_eq!(caller.actual_destination, Some(end("127.0.0.1:15001")));
    assert_eq!(caller.rule, Some(rule("ISTIO_REDIRECT", 1)));
    let half = twin(&connections, caller);
    assert_eq!((half.way, half.uid, half.direction), (Way::Intercepted, Some(1337), Some(Direction::In)));
    assert!(half.mapped, "busybox listens on both families");
    assert_eq!(half.original_destination, Some(end("10.0.0.5:80")));
    let text = table(&connections, Look::plain());
    assert!(text.contains("10.0.0.5:80  127.0.0.1:15001  redirected\n"), "{text}");
    assert!(wide(&connections, Look::plain()).contains("nft ip nat ISTIO_REDIRECT 1"));
}

#[test]
fn the_proxys_connections_are_exempt_by_uid_and_by_gid() {
    if !require_root() {
        return;
    }
    let mesh = mesh();
    let by_uid = mesh.pod.nc(1337, 1337, "10.0.0.5 80");
    let by_gid = mesh.pod.nc(1000, 1337, "10.0.0.5 80");
    mesh.pod.wait_for_connections(2);
    let connections = joined(&mesh.pod);
    for (program, number) in [(&by_uid, 4), (&by_gid, 7)] {
        let connection = of(&connections, program);
        assert_eq!((connection.way, connection.twin), (Way::Exempt, None));
        assert_eq!(connection.rule, Some(rule("ISTIO_OUTPUT", number)));
        assert_eq!(connection.actual_destination, Some(end("10.0.0.5:80")));
    }
}

#[test]
fn within_the_pod_it_is_direct_and_both_halves_are_known() {
    if !require_root() {
        return;
    }
    let mesh = mesh();
    let app = mesh.pod.nc(1001, 1001, "127.0.0.1 8080");
    mesh.pod.wait_for_connections(2);
    let connections = joined(&mesh.pod);
    let caller = of(&connections, &app);
    assert_eq!((caller.way, caller.rule.as_ref()), (Way::Direct, None));
    let called = twin(&connections, caller);
    assert_eq!((called.way, called.uid, called.direction), (Way::Direct, Some(1000), Some(Direction::In)));
    assert_eq!(called.original_destination, Some(end("127.0.0.1:8080")));
}

#[test]
fn a_caller_from_the_world_is_intercepted() {
    if !require_root() {
        return;
    }
    let mesh = mesh();
    let client = mesh.world.nc(0, 0, "10.0.0.2 8080");
    mesh.pod.wait_for_connections(1);
    let connections = joined(&mesh.pod);
    assert_eq!(connections.len(), 1, "{connections:#?}");
    let half = &connections[0];
    assert_eq!((half.way, half.twin, half.uid), (Way::Intercepted, None, Some(1337)));
    assert_eq!(half.original_destination, Some(end("10.0.0.2:8080")));
    assert_eq!(half.actual_destination, Some(end("10.0.0.2:15006")));
    assert_eq!(half.rule, Some(rule("ISTIO_IN_REDIRECT", 1)));
    // Nothing is tracked where the call came from.
    let outside = joined_without_rules(&mesh.world);
    assert_eq!((of(&outside, &client).way, of(&outside, &client).direction), (Way::Direct, Some(Direction::Out)));
}

#[test]
fn ipv6_without_rules_of_its_own_is_direct() {
    if !require_root() {
        return;
    }
    let mesh = mesh();
    let app = mesh.pod.nc(1000, 1000, "fd00::5 80");
    let inward = mesh.world.nc(0, 0, "fd00::2 8080");
    mesh.pod.wait_for_connections(2);
    let connections = joined(&mesh.pod);
    let out = of(&connections, &app);
    assert_eq!((out.way, out.actual_destination), (Way::Direct, Some(end("[fd00::5]:80"))));
    let called = connections.iter().find(|one| one.local.port == 8080).expect("the accepted half");
    assert_eq!((called.way, called.direction), (Way::Direct, Some(Direction::In)));
    assert_eq!(called.original_destination, Some(end("[fd00::2]:8080")));
    drop(inward);
}

#[test]
fn an_ipv6_socket_that_speaks_ipv4_follows_the_ipv4_rules() {
    if !require_root() {
        return;
    }
    let mesh = mesh();
    let address: SocketAddr = "[::ffff:10.0.0.5]:80".parse().expect("an address");
    let held = mesh.pod.netns().enter(|| TcpStream::connect(address).expect("a connection"));
    mesh.pod.wait_for_connections(2);
    let connections = joined(&mesh.pod);
    let caller = connections.iter().find(|one| one.way == Way::Redirected && one.mapped).expect("it is redirected");
    assert_eq!((caller.family, caller.mapped), (Family::Ip6, true));
    assert_eq!(caller.original_destination, Some(end("10.0.0.5:80")));
    assert_eq!(caller.process().map(|owner| owner.pid), Some(std::process::id()), "its owner lives elsewhere");
    twin(&connections, caller);
    drop(held);
}

#[test]
fn a_rewritten_source_port_does_not_mislead() {
    if !require_root() {
        return;
    }
    let mesh = mesh();
    // The same end dials two destinations, both go to one proxy port: the kernel tells them apart by another source port.
    let dial = |to: &str| -> OwnedFd {
        let caller = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        let address = |text: &str| SockaddrStorage::from(text.parse::<SocketAddr>().expect("an address"));
        setsockopt(&caller, sockopt::ReuseAddr, &true).expect("a shared address");
        bind(caller.as_raw_fd(), &address("10.0.0.2:45000")).expect("the address");
        connect(caller.as_raw_fd(), &address(to)).expect("a connection");
        caller
    };
    let held = mesh.pod.netns().enter(|| [dial("10.0.0.5:80"), dial("10.0.0.5:81")]);
    mesh.pod.wait_for_connections(4);
    let connections = joined(&mesh.pod);
    let callers: Vec<_> = connections.iter().filter(|one| one.way == Way::Redirected).collect();
    assert_eq!(callers.len(), 2, "{connections:#?}");
    let mut rewritten = 0;
    for caller in callers {
        let half = twin(&connections, caller);
        assert_eq!((half.way, half.original_destination), (Way::Intercepted, caller.original_destination));
        rewritten += usize::from(half.peer != Some(caller.local));
    }
    assert_eq!(rewritten, 1, "{connections:#?}");
    drop(held);
}

#[test]
fn a_connection_older_than_the_tracking_is_unknown() {
    if !require_root() {
        return;
    }
    let (pod, world) = Lab::pod_and_world();
    let listener = world.netns().enter(|| TcpListener::bind("10.0.0.5:80").expect("a listener"));
    let _app = pod.nc(1000, 1000, "10.0.0.5 80");
    pod.wait_for_connections(1);
    let before = joined_without_rules(&pod);
    assert_eq!((before.len(), before[0].way), (1, Way::Direct), "nothing is tracked yet");
    pod.sh(ISTIO);
    let after = joined(&pod);
    assert_eq!((after[0].way, after[0].actual_destination), (Way::Unknown, None));
    assert_eq!(after[0].original_destination, Some(end("10.0.0.5:80")));
    drop(listener);
}

#[test]
fn a_caller_stays_one_when_the_tracking_begins_with_an_answer() {
    if !require_root() {
        return;
    }
    let (pod, world) = Lab::pod_and_world();
    let listener = world.netns().enter(|| TcpListener::bind("10.0.0.5:80")).expect("inside").expect("a listener");
    let held = pod.netns().enter(|| TcpStream::connect("10.0.0.5:80")).expect("inside").expect("a connection");
    let (mut accepted, _) = listener.accept().expect("the call");
    pod.wait_for_connections(1);
    pod.sh("iptables-nft -A INPUT -m conntrack --ctstate INVALID -j DROP");
    accepted.write_all(b"an answer").expect("it is sent");
    (&held).read_exact(&mut [0; 9]).expect("it arrives");
    let listed = pod.sh("conntrack -L 2>/dev/null");
    assert!(listed.contains("src=10.0.0.5 dst=10.0.0.2 sport=80"), "the entry has the answer's direction: {listed}");
    let connections = connections(&look_at(&pod), false, &());
    let caller = connections.iter().find(|one| one.peer == Some(end("10.0.0.5:80"))).expect("the caller");
    assert_eq!((caller.way, caller.direction), (Way::Direct, Some(Direction::Out)));
    assert_eq!(caller.original_destination, Some(end("10.0.0.5:80")));
}
