//! What transparent proxies do with what they get, followed to its end or round and round; each step is dialled for real, too.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, connect, listen, setsockopt, socket, sockopt,
};
use nix::unistd::{Uid, setfsuid};
use nslens::analysis::trace::{Followed, Identity, Question, Stop, Tracer, Verdict};
use nslens::capture::routes;
use nslens::capture::rules::{Wanted, read as read_rules};
use nslens::model::{Endpoint, Snapshot};

use crate::look_at;
use crate::support::{Lab, Running, require_root, wait_until};

/// As istio-iptables writes them, in this order; what begins with `#` is left out where it is asked for.
const ISTIO: [&str; 12] = [
    "-A PREROUTING -p tcp -j ISTIO_INBOUND",
    "-A OUTPUT -p tcp -j ISTIO_OUTPUT",
    "-A ISTIO_INBOUND -p tcp --dport 15008 -j RETURN",
    "-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT",
    "-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001",
    "-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006",
    "-A ISTIO_OUTPUT -s 127.0.0.6/32 -o lo -j RETURN",
    "-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT",
    "-A ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN",
    "-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN",
    "-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN",
    "-A ISTIO_OUTPUT -j ISTIO_REDIRECT",
];
/// Places of rules in it: that for what comes from 127.0.0.6, and that for the proxy's own.
const PASSTHROUGH: usize = 6;
const EXEMPTION: usize = 9;

/// A pod with a proxy on 15001 and 15006 and an application on 8080, and a server in the world; each says who it is.
struct Mesh {
    pod: Lab,
    world: Lab,
    _servers: Vec<Running>,
}

fn mesh(without: Option<usize>) -> Mesh {
    let (pod, world) = Lab::pod_and_world();
    let rules = ISTIO.iter().enumerate().filter(|(at, _)| Some(*at) != without).map(|(_, rule)| format!("{rule}\n"));
    let chains =
        ["INBOUND", "REDIRECT", "IN_REDIRECT", "OUTPUT"].map(|name| format!(":ISTIO_{name} - [0:0]\n")).concat();
    pod.sh(&format!("iptables-nft-restore <<'END'\n*nat\n{chains}{}COMMIT\nEND", rules.collect::<String>()));
    let says = |word: &str, port: u16| format!("-ll -p {port} -e echo {word}");
    let servers = vec![
        pod.nc(1337, 1337, &says("outbound", 15001)),
        pod.nc(1337, 1337, &says("inbound", 15006)),
        pod.nc(1000, 1000, &says("application", 8080)),
        world.nc(0, 0, &says("world", 80)),
    ];
    pod.wait_for_sockets(3, "state listening");
    world.wait_for_sockets(1, "state listening");
    Mesh { pod, world, _servers: servers }
}

fn looked(lab: &Lab) -> Snapshot {
    let mut snapshot = look_at(lab);
    routes::read_into(&mut snapshot, lab.netns(), Path::new("/proc"));
    snapshot.rulesets = Some(read_rules(lab.netns(), Path::new("/proc"), Wanted::default()).expect("the rules").0);
    assert!(snapshot.unread.is_empty(), "{:?}", snapshot.unread);
    snapshot
}

/// Who answers a call of this user.
fn answers(lab: &Lab, uid: u32, arguments: &str) -> String {
    let script = format!("busybox nc -w 1 {arguments} </dev/null || true");
    let output = lab.command_as(uid, uid, "sh").args(["-c", &script]).output().expect("sh can be run");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// The same for one of UID 1337 from an address of its own.
fn answers_proxy(lab: &Lab, from: &str, to: &str) -> String {
    let at = |text: &str| SockaddrStorage::from(text.parse::<SocketAddr>().expect("an end"));
    let answer = lab.netns().enter(|| {
        // Of this thread alone, which ends with this.
        setfsuid(Uid::from_raw(1337));
        let caller = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        bind(caller.as_raw_fd(), &at(from)).expect("an address");
        connect(caller.as_raw_fd(), &at(to)).expect("a connection");
        let mut answer = String::new();
        TcpStream::from(caller).read_to_string(&mut answer).expect("an answer");
        answer
    });
    answer.expect("inside")
}

fn to(address: [u8; 4], port: u16) -> Question {
    Question::to(Endpoint::new(address.into(), port))
}

/// Of each step its verdict, and the port at which it is received.
fn told(followed: &Followed<'_>) -> Vec<(Verdict, Option<u16>)> {
    let step = |step: &nslens::analysis::trace::Step<'_>| {
        let port = step.trace.outcomes[0].receivers.first().map(|socket| socket.local.port);
        (step.trace.verdict(), port)
    };
    followed.steps.iter().map(step).collect()
}

#[test]
fn what_the_proxy_sends_leaves_by_its_exemption() {
    if !require_root() {
        return;
    }
    let mesh = mesh(None);
    let snapshot = looked(&mesh.pod);
    let tracer = Tracer::of(&snapshot);
    let question = Question { uid: Some(1000), gid: Some(1000), groups: Some(Vec::new()), ..to([10, 0, 0, 5], 80) };
    let followed = tracer.follow(&question);
    assert_eq!(told(&followed), [(Verdict::Delivered, Some(15001)), (Verdict::Sent, None)], "{followed:#?}");
    assert_eq!(followed.stop, Stop::Arrived);
    let proxy = &followed.steps[1];
    assert_eq!((proxy.question.uid, proxy.question.gid), (Some(1337), Some(1337)));
    assert_eq!(proxy.sender.map(|process| process.pid), Some(mesh._servers[0].pid()));
    let kernel = [1000, 1337].map(|uid| answers(&mesh.pod, uid, "10.0.0.5 80"));
    assert_eq!(kernel, ["outbound", "world"]);
}

#[test]
fn without_its_exemption_it_goes_round_and_round() {
    if !require_root() {
        return;
    }
    let mesh = mesh(Some(EXEMPTION));
    let snapshot = looked(&mesh.pod);
    let tracer = Tracer::of(&snapshot);
    let question = Question { uid: Some(1000), gid: Some(1000), groups: Some(Vec::new()), ..to([10, 0, 0, 5], 80) };
    let followed = tracer.follow(&question);
    assert_eq!(told(&followed), [(Verdict::Delivered, Some(15001)), (Verdict::Delivered, Some(15001))]);
    assert_eq!(followed.stop, Stop::Loop { from: 1 }, "{followed:#?}");
    assert_eq!(followed.steps[1].question.uid, Some(1337));
    let kernel = [1000, 1337].map(|uid| answers(&mesh.pod, uid, "10.0.0.5 80"));
    assert_eq!(kernel, ["outbound", "outbound"]);
}

#[test]
fn inbound_the_proxy_dials_the_application() {
    if !require_root() {
        return;
    }
    let question = Question { incoming: true, source: Some([10, 0, 0, 5].into()), ..to([10, 0, 0, 2], 8080) };
    let whole = mesh(None);
    let snapshot = looked(&whole.pod);
    let followed = Tracer::of(&snapshot).follow(&question);
    assert_eq!(told(&followed), [(Verdict::Delivered, Some(15006)), (Verdict::Delivered, Some(8080))], "{followed:#?}");
    assert_eq!(followed.stop, Stop::Arrived);
    assert_eq!(followed.steps[1].question.source, Some([127, 0, 0, 6].into()));
    assert_eq!(answers(&whole.world, 0, "10.0.0.2 8080"), "inbound");
    assert_eq!(answers_proxy(&whole.pod, "127.0.0.6:0", "10.0.0.2:8080"), "application\n");
    // Nothing spares what it sends to its own pod (RDR103).
    let without = mesh(Some(PASSTHROUGH));
    let snapshot = looked(&without.pod);
    let followed = Tracer::of(&snapshot).follow(&question);
    assert_eq!(told(&followed), [(Verdict::Delivered, Some(15006)), (Verdict::Delivered, Some(15006))]);
    assert_eq!(followed.stop, Stop::Loop { from: 1 });
    assert_eq!(answers(&without.pod, 1337, "10.0.0.2 8080"), "inbound");
}

/// A socket with this mark.
fn marked(mark: u32) -> OwnedFd {
    let opened = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    setsockopt(&opened, sockopt::Mark, &mark).expect("root may mark");
    opened
}

#[test]
fn a_proxy_is_spared_by_the_mark_of_its_sockets() {
    if !require_root() {
        return;
    }
    let at = |text: &str| SockaddrStorage::from(text.parse::<SocketAddr>().expect("an end"));
    for (rules, stop) in [
        (
            "-A OUTPUT -m mark --mark 0x539/0xfff -j ACCEPT\n-A OUTPUT -p tcp -j REDIRECT --to-ports 15001",
            Stop::Arrived,
        ),
        ("-A OUTPUT -p tcp -j REDIRECT --to-ports 15001", Stop::Loop { from: 1 }),
    ] {
        let (pod, world) = Lab::pod_and_world();
        pod.sh(&format!("iptables-nft-restore <<'END'\n*nat\n{rules}\nCOMMIT\nEND"));
        let _server = world.nc(0, 0, "-ll -p 80 -e echo world");
        world.wait_for_sockets(1, "state listening");
        // The proxy lives elsewhere, as ztunnel does, and marks all its sockets.
        let proxy = pod.netns().enter(|| {
            let proxy = marked(0x539);
            bind(proxy.as_raw_fd(), &at("0.0.0.0:15001")).expect("a free port");
            listen(&proxy, Backlog::new(8).expect("small")).expect("a listener");
            TcpListener::from(proxy)
        });
        let proxy = proxy.expect("inside");
        let snapshot = looked(&pod);
        let followed = Tracer::of(&snapshot).follow(&Question { uid: Some(1000), ..to([10, 0, 0, 5], 80) });
        assert_eq!(followed.stop, stop, "{followed:#?}");
        assert_eq!(followed.steps.len(), 2);
        assert_eq!(followed.steps[1].question.mark, 0x539);
        assert_eq!(followed.steps[1].sender.map(|process| process.pid), Some(std::process::id()));
        // Its own connection gets as far as is said.
        let peer = pod.netns().enter(|| {
            let caller = marked(0x539);
            connect(caller.as_raw_fd(), &at("10.0.0.5:80")).expect("somebody answers");
            caller
        });
        proxy.set_nonblocking(true).expect("a listener");
        assert_eq!(proxy.accept().is_ok(), stop != Stop::Arrived, "{rules}");
        drop(peer);
    }
}

#[test]
fn a_process_is_known_by_its_number() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let mut command = lab.command("setpriv");
    command.args(["--reuid", "1000", "--regid", "1001", "--groups", "7,5", "--pdeathsig", "KILL", "sleep", "100"]);
    let mut sleeper = command.spawn().expect("setpriv can be run");
    let known = || {
        let snapshot = looked(&lab);
        Tracer::of(&snapshot).identity(&format!("pid/{}", sleeper.id()))
    };
    wait_until("the process is another user", || known().is_ok_and(|identity| identity.uid == 1000));
    let found = known();
    sleeper.kill().and_then(|()| sleeper.wait()).expect("it ends");
    assert_eq!(found, Ok(Identity { uid: 1000, gid: 1001, groups: vec![5, 7] }));
}

#[test]
fn a_packet_that_no_rule_sends_elsewhere_is_followed_no_further() {
    if !require_root() {
        return;
    }
    let mesh = mesh(None);
    let snapshot = looked(&mesh.pod);
    let tracer = Tracer::of(&snapshot);
    for (question, expected) in [
        (Question { uid: Some(1000), ..to([127, 0, 0, 1], 8080) }, (Verdict::Delivered, Some(8080))),
        (Question { uid: Some(1000), ..to([127, 0, 0, 1], 15001) }, (Verdict::Delivered, Some(15001))),
        (Question { uid: Some(1000), ..to([127, 0, 0, 1], 8081) }, (Verdict::Refused, None)),
    ] {
        let followed = tracer.follow(&question);
        assert_eq!((told(&followed), followed.stop), (vec![expected], Stop::Arrived));
    }
}
