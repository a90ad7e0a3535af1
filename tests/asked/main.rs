//! What is not loaded is not asked: every question to the kernel is noted where it leaves, with a list of modules that is made up.
//! Needs root. A process of its own, since the notes are the whole process's; one test at a time.

#[path = "../support/netns.rs"]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod support;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use nslens::capture::follow::Follow;
use nslens::capture::{Occasion, Parts, rules::Wanted, take};
use nslens::model::{Backend, Cause, Kind, Snapshot, Subject, Workload};
use nslens::sys::asked::{Question, since_last};
use nslens::sys::netlink::{NETFILTER, SOCK_DIAG};
use support::{Lab, require_root};

/// All that there is to ask, as `/proc/modules` names it.
const ALL: [&str; 7] =
    ["nfnetlink", "nf_tables", "nf_conntrack", "nf_conntrack_netlink", "inet_diag", "tcp_diag", "udp_diag"];

/// `/proc/net/protocols` where nothing else than TCP and UDP is in use.
const PROTOCOLS: &str =
    "protocol  size sockets  memory\nSCTP 1 0 0\nRAW 1 0 -1\nUDP-Lite 1 0 0\nUDP 1 7 0\nTCP 1 7 0\n";

/// `nfgenmsg` subsystems (`include/uapi/linux/netfilter/nfnetlink.h`).
const CONNTRACK: u16 = 1;
const EXPECTED: u16 = 2;
const IPSET: u16 = 6;
const NFTABLES: u16 = 10;

/// What was asked, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    Netfilter,
    Nftables,
    Conntrack,
    SockDiag,
    Tcp,
    Udp,
    UdpLite,
    Sctp,
    Raw,
    Mptcp,
    Packet,
    Unix,
    Legacy,
    Legacy6,
    SetName,
    Ipset,
}

/// What a question was about, each once, in order.
fn about(questions: &[Question]) -> Vec<Asked> {
    let mut found: Vec<Asked> = questions
        .iter()
        .filter_map(|question| match question {
            Question::Open { protocol: NETFILTER } => Some(Asked::Netfilter),
            Question::Open { protocol: SOCK_DIAG } => Some(Asked::SockDiag),
            Question::Open { .. } => None,
            Question::Message { protocol: NETFILTER, kind, .. } => match kind >> 8 {
                NFTABLES => Some(Asked::Nftables),
                CONNTRACK | EXPECTED => Some(Asked::Conntrack),
                IPSET => Some(Asked::Ipset),
                other => panic!("netfilter's subsystem {other} was asked"),
            },
            Question::Message { protocol: SOCK_DIAG, kind: nslens::wire::sock_diag::TCP, .. } => Some(Asked::Tcp),
            // `inet_diag_req_v2`: family, protocol; an attribute behind it names one that does not fit there.
            Question::Message { protocol: SOCK_DIAG, payload, .. } => match (payload[0], payload[1]) {
                (1, _) => Some(Asked::Unix),
                (17, _) => Some(Asked::Packet),
                (_, 6) => Some(Asked::Tcp),
                (_, 17) => Some(Asked::Udp),
                (_, 132) => Some(Asked::Sctp),
                (_, 136) => Some(Asked::UdpLite),
                (_, 255) if payload.len() > 56 => Some(Asked::Mptcp),
                (_, 255) => Some(Asked::Raw),
                (_, other) => panic!("sockets of protocol {other} were asked for"),
            },
            Question::Join { protocol: NETFILTER, .. } => Some(Asked::Conntrack),
            Question::Join { protocol: SOCK_DIAG, group: 1 | 3 } => Some(Asked::Tcp),
            Question::Join { protocol: SOCK_DIAG, group: 2 | 4 } => Some(Asked::Udp),
            Question::Join { protocol, group } => panic!("group {group} of protocol {protocol} was joined"),
            Question::Message { .. } => None,
            Question::SetName { .. } => Some(Asked::SetName),
            Question::Table { ipv6: false, .. } => Some(Asked::Legacy),
            Question::Table { ipv6: true, .. } => Some(Asked::Legacy6),
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// A root folder whose kernel has these modules, and lists legacy tables if it is to.
fn machine(modules: &[&str], legacy: bool) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a folder");
    let write = |path: &str, text: String| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    };
    write("proc/modules", modules.iter().map(|name| format!("{name} 16384 0 - Live 0x0\n")).collect());
    write("proc/kallsyms", "0000000000000000 T _text\n".to_owned());
    write("proc/thread-self/net/protocols", format!("{PROTOCOLS}UNIX 1152 0\n"));
    write("proc/sys/kernel/osrelease", "6.1.0-none\n".to_owned());
    if legacy {
        write("proc/thread-self/net/ip_tables_names", "nat\n".to_owned());
        write("proc/thread-self/net/ip6_tables_names", "nat\n".to_owned());
    }
    root
}

/// Looks at everything in the lab as if the kernel were that machine's.
fn look(lab: &Lab, machine: &Path) -> (Snapshot, Vec<Asked>) {
    look_at(lab, machine, false)
}

fn look_at(lab: &Lab, machine: &Path, every_socket: bool) -> (Snapshot, Vec<Asked>) {
    since_last();
    let parts = Parts {
        rules: Some(Wanted::default()),
        connections: true,
        every_socket,
        figures: every_socket,
        tracking: every_socket,
        interfaces: true,
        ..Parts::default()
    };
    let proc_root = machine.join("proc");
    let occasion = Occasion { node: "node", now: 0, asked: "netns/lab", proc_root: &proc_root };
    let snapshot = take(Workload::named(Kind::Netns, "lab"), lab.netns(), None, parts, occasion).expect("a snapshot");
    (snapshot, about(&since_last()))
}

/// What of the snapshot is said to be unread, leaving aside what the made-up `/proc` lacks.
fn unread(snapshot: &Snapshot) -> Vec<(&str, Subject, Cause)> {
    let others = snapshot.unread.iter().filter(|unread| unread.subject != Subject::Processes);
    others.map(|unread| (unread.source.as_str(), unread.subject, unread.cause)).collect()
}

fn tables(snapshot: &Snapshot, backend: Backend) -> Option<usize> {
    let of = snapshot.rulesets().iter().filter(|ruleset| ruleset.backend == backend);
    of.map(|ruleset| ruleset.tables.len()).reduce(|sum, more| sum + more)
}

#[test]
fn what_is_not_loaded_is_not_asked() {
    if !require_root() {
        return;
    }
    // On this machine all of it is there, and has something to tell.
    let lab = Lab::new();
    lab.sh("for family in ip ip6; do
            ${family}tables-nft -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 15001
            ${family}tables-legacy -t nat -A OUTPUT -p tcp --dport 81 -j REDIRECT --to-ports 15001
        done");
    let _held = lab.netns().enter(|| {
        let listener = TcpListener::bind("127.0.0.1:8080").expect("a listener");
        (TcpStream::connect("127.0.0.1:8080").expect("a connection"), listener)
    });
    use Asked::{Conntrack, Legacy, Legacy6, Netfilter, Nftables, SockDiag, Tcp, Udp};
    let everything = [Netfilter, Nftables, Conntrack, SockDiag, Tcp, Udp, Legacy, Legacy6];
    let (snapshot, asked) = look(&lab, machine(&ALL, true).path());
    assert_eq!((asked.as_slice(), unread(&snapshot)), (&everything[..], vec![]));
    assert_eq!((tables(&snapshot, Backend::Nft), tables(&snapshot, Backend::Legacy)), (Some(2), Some(2)));
    let counted =
        |snapshot: &Snapshot| (snapshot.sockets.iter().flatten().count(), snapshot.flows.iter().flatten().count());
    assert_eq!(counted(&snapshot), (3, 1));

    let without = |names: &[&str]| -> Vec<&str> { ALL.into_iter().filter(|name| !names.contains(name)).collect() };
    let asked_all_but = |asked: &[Asked], these: &[Asked]| {
        everything.into_iter().filter(|one| !these.contains(one)).eq(asked.iter().copied())
    };

    // Rules: what is not there holds none, and that is known.
    let (snapshot, asked) = look(&lab, machine(&without(&["nf_tables"]), true).path());
    assert!(asked_all_but(&asked, &[Nftables]), "{asked:?}");
    assert_eq!((tables(&snapshot, Backend::Nft), unread(&snapshot)), (Some(0), vec![]));
    let (snapshot, asked) = look(&lab, machine(&ALL, false).path());
    assert!(asked_all_but(&asked, &[Legacy, Legacy6]), "{asked:?}");
    assert_eq!((tables(&snapshot, Backend::Legacy), unread(&snapshot)), (Some(0), vec![]));

    // ipset: asked for names where a rule holds one, and for the sets that it named.
    lab.sh("ipset create addresses hash:ip; iptables-legacy -t nat -A INPUT -m set --match-set addresses src");
    let (snapshot, asked) = look(&lab, machine(&without(&["nf_tables"]), true).path());
    assert!(asked.contains(&Asked::SetName) && asked.contains(&Asked::Ipset), "{asked:?}");
    assert_eq!(snapshot.ipsets.iter().map(|set| set.name.as_str()).collect::<Vec<_>>(), ["addresses"]);
    lab.sh("iptables-legacy -t nat -F INPUT");
    let (snapshot, asked) = look(&lab, machine(&without(&["nf_tables"]), true).path());
    assert!(asked_all_but(&asked, &[Nftables]) && snapshot.ipsets.is_empty(), "{asked:?}");

    // Connection tracking: without it there are no entries; without what lists them they are not known.
    let unsupported = |source, subject| (source, subject, Cause::Unsupported);
    let (snapshot, asked) = look(&lab, machine(&without(&["nf_conntrack", "nf_conntrack_netlink"]), true).path());
    assert!(asked_all_but(&asked, &[Conntrack]), "{asked:?}");
    assert_eq!((counted(&snapshot).1, unread(&snapshot)), (0, vec![]));
    let (snapshot, asked) = look(&lab, machine(&without(&["nf_conntrack_netlink"]), true).path());
    assert!(asked_all_but(&asked, &[Conntrack]), "{asked:?}");
    assert_eq!(unread(&snapshot), [unsupported("conntrack", Subject::Flows)]);

    // Sockets: there always are some, so a missing list is unread.
    let tcp = [unsupported("sockets tcp", Subject::Sockets)];
    let udp = [unsupported("sockets udp", Subject::Sockets)];
    let (snapshot, asked) = look(&lab, machine(&without(&["tcp_diag"]), true).path());
    assert!(asked_all_but(&asked, &[Tcp]), "{asked:?}");
    assert_eq!(unread(&snapshot), tcp);
    let (snapshot, asked) = look(&lab, machine(&without(&["udp_diag"]), true).path());
    assert!(asked_all_but(&asked, &[Udp]), "{asked:?}");
    assert_eq!(unread(&snapshot), udp);
    for names in [&["inet_diag"][..], &["tcp_diag", "udp_diag"]] {
        let (snapshot, asked) = look(&lab, machine(&without(names), true).path());
        assert!(asked_all_but(&asked, &[SockDiag, Tcp, Udp]), "{asked:?}");
        assert_eq!(unread(&snapshot), [tcp, udp].concat());
    }

    // Nothing at all: no netfilter socket is opened either.
    let (snapshot, asked) = look(&lab, machine(&[], false).path());
    assert_eq!(asked, []);
    assert_eq!((tables(&snapshot, Backend::Nft), tables(&snapshot, Backend::Legacy)), (Some(0), Some(0)));
    assert_eq!(unread(&snapshot), [tcp, udp].concat());

    other_sockets(&lab);
    followed(&lab);
}

/// To join a group is to ask, and so is a socket of it that ends.
fn followed(lab: &Lab) {
    use Asked::{Conntrack, Netfilter, SockDiag, Tcp, Udp};
    let joined = |without: &[&str]| {
        let names: Vec<&str> = ALL.into_iter().filter(|name| !without.contains(name)).collect();
        let machine = machine(&names, false);
        since_last();
        let mut follow =
            Follow::open(lab.netns(), &machine.path().join("proc"), Duration::from_secs(1)).expect("entered");
        follow.turn(|_| {}).expect("read");
        about(&since_last())
    };
    assert_eq!(joined(&[]), [Netfilter, Conntrack, SockDiag, Tcp, Udp]);
    assert_eq!(joined(&["tcp_diag"]), [Netfilter, Conntrack, SockDiag, Udp]);
    assert_eq!(joined(&["udp_diag"]), [Netfilter, Conntrack, SockDiag, Tcp]);
    assert_eq!(joined(&["inet_diag"]), [Netfilter, Conntrack]);
    assert_eq!(joined(&["nf_conntrack_netlink"]), [SockDiag, Tcp, Udp]);
    assert_eq!(joined(&["nf_conntrack", "inet_diag"]), [Netfilter]);
}

/// Sockets that are no ends of connections, and those of rarer protocols.
fn other_sockets(lab: &Lab) {
    use Asked::{Mptcp, Packet, Raw, Sctp, UdpLite, Unix};
    const LISTERS: [&str; 5] = ["mptcp_diag", "packet_diag", "raw_diag", "sctp_diag", "unix_diag"];
    const IN_USE: &str =
        "protocol size sockets\nPACKET 1 2\nMPTCP 1 0\nRAW 1 1\nRAWv6 1 0\nUDP-Lite 1 1\nSCTP 1 1\nUNIX 1 3\n";
    let asked_beside = |machine: &tempfile::TempDir, every: bool| {
        let (snapshot, asked) = look_at(lab, machine.path(), every);
        let rare = |one: &Asked| [Mptcp, Packet, Raw, Sctp, UdpLite, Unix].contains(one);
        // The made-up machine has no first process, whose table the node's would be.
        let here = |source: &&str| *source != "conntrack count of the node";
        let unread = unread(&snapshot).into_iter().map(|(source, ..)| source).filter(here).map(str::to_owned);
        let unread = unread.collect::<Vec<_>>();
        (asked.into_iter().filter(rare).collect::<Vec<_>>(), unread)
    };
    let with = |names: &[&str], in_use: &str| {
        let machine = machine(&[&ALL[..], names].concat(), false);
        fs::write(machine.path().join("proc/thread-self/net/protocols"), in_use).expect("a file");
        machine
    };
    // This kernel has no SCTP and no raw_diag, whatever the made-up one has.
    let lacks = |unread: Vec<String>| {
        let known = ["sockets sctp", "sockets raw"];
        unread.into_iter().filter(|source| !known.contains(&source.as_str())).collect::<Vec<_>>()
    };
    let none: Vec<String> = Vec::new();
    // Nothing is in use.
    let (asked, unread) =
        asked_beside(&with(&LISTERS, "protocol\nUDP 1 7\nTCP 1 7\nRAW 1 0\nSCTP 1 0\nPACKET 1 0\n"), true);
    assert_eq!((asked, unread), (vec![], none.clone()));
    // Everything is, and can be listed.
    let (asked, unread) = asked_beside(&with(&LISTERS, IN_USE), true);
    assert_eq!((asked, lacks(unread)), (vec![UdpLite, Sctp, Raw, Mptcp, Packet, Unix], none.clone()));
    // Where only connections are wanted, only their ends are asked for.
    let (asked, _) = asked_beside(&with(&LISTERS, IN_USE), false);
    assert_eq!(asked, [UdpLite, Sctp]);
    // What would have to be loaded is not asked; raw sockets then are read from their file.
    let (asked, unread) = asked_beside(&with(&[], IN_USE), true);
    let missing = ["sockets sctp", "sockets mptcp", "sockets packet", "sockets unix"].map(str::to_owned);
    assert_eq!(asked, [UdpLite]);
    assert_eq!(unread.into_iter().filter(|source| source != "sockets raw").collect::<Vec<_>>(), missing);
}
