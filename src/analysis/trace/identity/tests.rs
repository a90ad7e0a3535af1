//! Processes by the names of their containers, and what is said where one name is not enough.

use super::*;
use crate::analysis::trace::{Question, Stop, Verdict};
use crate::model::{
    Endpoint, Family, IdMaps, Interface, Kind, Protocol, Snapshot, Socket, SocketDetails, SocketState, Workload,
};

fn process(pid: u32, container: &str, (uid, gid): (u32, u32), groups: &[u32]) -> Process {
    Process {
        pid,
        start_time: 1,
        name: format!("p{pid}"),
        uid,
        user: None,
        gid,
        groups: groups.to_vec(),
        container: Some(container.to_owned()),
        elsewhere: false,
        sockets: Vec::new(),
        capabilities: None,
        netns: None,
        descriptors: None,
        state: None,
    }
}

fn snapshot(processes: Vec<Process>) -> Snapshot {
    let mut snapshot = Snapshot::of("node", 0, "pod/web", Workload::named(Kind::Pod, "web"));
    snapshot.processes = Some(processes);
    snapshot.ids = Some(IdMaps::same());
    snapshot
}

#[test]
fn a_container_is_one_user_or_several() {
    let all = vec![
        process(10, "app", (1000, 1001), &[5, 6]),
        process(11, "app", (1000, 1001), &[6, 5]),
        process(12, "istio-proxy", (1337, 1337), &[]),
        process(13, "nginx", (0, 0), &[]),
        process(14, "nginx", (101, 101), &[7]),
    ];
    let snapshot = snapshot(all);
    let tracer = Tracer::of(&snapshot);
    let app = Identity { uid: 1000, gid: 1001, groups: vec![5, 6] };
    assert_eq!(tracer.identity("app"), Ok(app.clone()));
    assert_eq!(tracer.identity("container/app"), Ok(app));
    assert_eq!(tracer.identity("pid/14"), Ok(Identity { uid: 101, gid: 101, groups: vec![7] }));
    let several = tracer.identity("nginx").expect_err("two users");
    let words = "the processes of nginx are of different users or groups: pid/13 p13 (UID 0, GID 0), \
                 pid/14 p14 (UID 101, GID 101, groups 7)";
    assert_eq!(several.to_string(), words);
    let nobody = tracer.identity("pid/99").expect_err("no such process");
    assert_eq!(nobody.to_string(), "there is no process of pid/99; containers with processes: app, istio-proxy, nginx");
}

#[test]
fn numbers_are_those_of_the_namespaces_owner() {
    let mut inside =
        snapshot(vec![process(10, "app", (101_337, 101_338), &[100_005, 3]), process(11, "alien", (7, 101_338), &[])]);
    inside.ids = IdMaps::parse("0 100000 65536", "0 100000 65536");
    let found = Tracer::of(&inside).identity("app");
    assert_eq!(found, Ok(Identity { uid: 1337, gid: 1338, groups: vec![5] }));
    assert_eq!(Tracer::of(&inside).identity("alien"), Err(IdentityError::Uncounted { pid: 11 }));
    inside.ids = None;
    assert_eq!(Tracer::of(&inside).identity("app"), Err(IdentityError::Uncounted { pid: 10 }));
    inside.processes = None;
    assert_eq!(Tracer::of(&inside).identity("app"), Err(IdentityError::Unread));
}

fn listener(inode: u32) -> Socket {
    Socket {
        protocol: Protocol::Tcp,
        family: Family::Ip,
        mapped: false,
        state: SocketState::Listen,
        local: Endpoint::new([0, 0, 0, 0].into(), 15001),
        peer: None,
        uid: 1337,
        inode,
        mark: Some(0),
        interface: 0,
        receive_queue: 0,
        send_queue: 0,
        details: SocketDetails::default(),
    }
}

/// A pod whose TCP goes to two listeners that share a port, held by these processes.
fn redirected(processes: Vec<Process>) -> Snapshot {
    let mut all = snapshot(processes);
    let rules = "*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p tcp -j REDIRECT --to-ports 15001\nCOMMIT\n";
    all.rulesets = Some(crate::syntax::parse_save(rules, Family::Ip).expect("rules"));
    all.sockets = Some(vec![listener(1), listener(2)]);
    all.interfaces = Some(vec![Interface {
        index: 1,
        name: "lo".to_owned(),
        loopback: true,
        up: true,
        addresses: vec![([127, 0, 0, 1].into(), 8)],
    }]);
    all
}

#[test]
fn of_a_shared_port_it_matters_who_shares_it() {
    let holding = |pid, ids, sockets: &[u32]| Process { sockets: sockets.to_vec(), ..process(pid, "proxy", ids, &[]) };
    let question =
        Question { uid: Some(1000), gid: Some(1000), ..Question::to(Endpoint::new([10, 0, 0, 5].into(), 80)) };
    let alike = redirected(vec![holding(1, (1337, 1337), &[1]), holding(2, (1337, 1337), &[2])]);
    let followed = Tracer::of(&alike).follow(&question);
    assert_eq!(followed.steps[0].trace.verdict(), Verdict::Delivered);
    assert_eq!(followed.steps[0].trace.outcomes[0].receivers.len(), 2);
    assert_eq!(followed.stop, Stop::Loop { from: 1 }, "{followed:#?}");
    let others = redirected(vec![holding(1, (1337, 1337), &[1]), holding(2, (0, 0), &[2])]);
    let followed = Tracer::of(&others).follow(&question);
    assert_eq!(followed.steps.len(), 1);
    assert!(matches!(&followed.stop, Stop::Unclear(why) if why.contains("pid/1 and pid/2")), "{:?}", followed.stop);
    // A socket that nobody is known to hold is at least its owner's.
    let followed = redirected(Vec::new());
    let followed = Tracer::of(&followed).follow(&question);
    assert_eq!((followed.steps[1].question.uid, followed.steps[1].sender.is_none()), (Some(1337), true));
    // What was not read is not known.
    let mut unread = redirected(Vec::new());
    unread.sockets = None;
    let followed = Tracer::of(&unread).follow(&question);
    assert_eq!((followed.steps[0].trace.verdict(), followed.stop), (Verdict::Undecided, Stop::Arrived));
}
