//! Without the rights: what cannot be read is said, the rest is there, and nothing is claimed that is not known.

use std::net::{TcpListener, TcpStream};
use std::thread;

use nslens::analysis::join::{Evidence, Way, connections};
use nslens::model::{Cause, Snapshot, Subject};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use crate::look_at;
use crate::support::{Lab, require_root};

/// What a thread reads that lacks these capabilities (they are a thread's own).
fn look_without(lab: &Lab, missing: CapabilitySet) -> Snapshot {
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut sets = capabilities(None).expect("our capabilities");
            sets.effective &= !missing;
            sets.permitted &= !missing;
            sets.inheritable = CapabilitySet::empty();
            set_capabilities(None, sets).expect("fewer of them");
            look_at(lab)
        });
        reader.join().expect("the reader came back")
    })
}

fn subjects(snapshot: &Snapshot) -> Vec<(Subject, Cause)> {
    snapshot.unread.iter().map(|unread| (unread.subject, unread.cause)).collect()
}

#[test]
fn without_net_admin_flows_and_marks_are_unknown() {
    if !require_root() {
        return;
    }
    let (lab, world) = Lab::pod_and_world();
    let far = world.netns().enter(|| TcpListener::bind("10.0.0.5:81").expect("a listener"));
    lab.sh("iptables-nft -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 15001");
    let held = lab.netns().enter(|| {
        let listeners = ["127.0.0.1:8080", "0.0.0.0:15001"].map(|at| TcpListener::bind(at).expect("a listener"));
        let callers = ["127.0.0.1:8080", "10.0.0.5:80", "10.0.0.5:81"];
        (callers.map(|to| TcpStream::connect(to).expect("a connection")), listeners)
    });
    let snapshot = look_without(&lab, CapabilitySet::NET_ADMIN);
    assert_eq!(subjects(&snapshot), [(Subject::Flows, Cause::Permission)]);
    assert_eq!(snapshot.flows.as_deref(), Some(&[][..]));
    let sockets = snapshot.sockets.as_deref().expect("sockets were read");
    assert!(sockets.len() == 7 && sockets.iter().all(|socket| socket.mark.is_none()), "{sockets:?}");
    // What both halves tell by their ends is known; what has its other half elsewhere is not.
    let connections = connections(&snapshot, false, &());
    let dialled = |to: u16| {
        let caller = connections.iter().find(|one| one.peer.is_some_and(|peer| peer.port == to)).expect("the caller");
        (caller.way, caller.evidence)
    };
    assert_eq!(connections.len(), 5, "{connections:?}");
    assert_eq!(dialled(8080), (Way::Direct, Some(Evidence::Ends)));
    assert_eq!(dialled(80), (Way::Redirected, Some(Evidence::Ends)));
    assert_eq!(dialled(81), (Way::Unknown, None));
    drop((held, far));
}

#[test]
fn without_sys_ptrace_owners_are_unknown() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let _server = lab.nc(0, 0, "-l -p 8080");
    lab.wait_for_sockets(1, "sport = :8080");
    let snapshot = look_without(&lab, CapabilitySet::SYS_PTRACE);
    assert_eq!(subjects(&snapshot), [(Subject::Processes, Cause::Permission)]);
    assert_eq!(snapshot.unread[0].means, "the owner of 1 socket is not known");
    assert_eq!(snapshot.sockets.map(|sockets| sockets.len()), Some(1));
}

#[test]
fn without_sys_admin_each_part_says_so() {
    if !require_root() {
        return;
    }
    let snapshot = look_without(&Lab::new(), CapabilitySet::SYS_ADMIN);
    let expected = [Subject::Sockets, Subject::Flows, Subject::Interfaces].map(|subject| (subject, Cause::Permission));
    assert_eq!(subjects(&snapshot), expected);
}

/// A sidecar that may set rules may also read them: entering the namespace in which one is takes no right.
#[test]
fn from_within_net_admin_alone_will_do() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    lab.sh("iptables-legacy -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001
        ip6tables-nft -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15006");
    let only = |rights: &str, program: &str| {
        let all = format!("--bounding-set={rights} --inh-caps={rights} --ambient-caps=-all");
        let look = format!("exec {program} rules pid/$$ -q -o save");
        lab.sh(&format!("code=0; setpriv {all} -- sh -c '{look}' 2>&1 || code=$?; echo ended $code"))
    };
    let program = env!("CARGO_BIN_EXE_nslens");
    let said = only("-all,+net_admin", program);
    assert!(said.contains("--to-ports 15001") && said.contains("--to-ports 15006"), "{said}");
    assert!(said.ends_with("ended 0\n"), "{said}");
    let said = only("-all", program);
    assert!(said.ends_with("ended 4\n") && !said.contains("--to-ports"), "{said}");
}
