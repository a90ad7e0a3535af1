//! `--suppl-groups`: sockets of users with further groups, against the kernel.

use std::net::UdpSocket;
use std::path::Path;

use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use nslens::analysis::trace::{Question, Tracer, Verdict};
use nslens::capture::rules::{Wanted, read as read_rules};
use nslens::model::{Endpoint, Protocol};

use crate::routes::read;
use crate::support::{Lab, require_root};

/// Whether the kernel sends a datagram of this owner: one that a rule drops in OUTPUT is told to its sender.
fn is_sent(lab: &Lab, gid: u32, groups: &[u32]) -> bool {
    let groups: Vec<_> = groups.iter().map(|group| rustix::process::Gid::from_raw(*group)).collect();
    let sent = lab.netns().enter(|| {
        // Of this thread alone, which ends with this.
        rustix::thread::set_thread_groups(&groups).expect("groups");
        setfsgid(Gid::from_raw(gid));
        setfsuid(Uid::from_raw(1000));
        let socket = UdpSocket::bind("10.0.0.2:0").expect("a socket");
        socket.send_to(b"?", "10.0.0.5:53").map_err(|error| error.kind())
    });
    match sent.expect("inside") {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error, std::io::ErrorKind::PermissionDenied);
            false
        }
    }
}

#[test]
fn a_further_group_counts_as_the_kernel_counts_it() {
    if !require_root() {
        return;
    }
    let owners: [(u32, Vec<u32>); 7] = [
        (5, vec![]),
        (1, vec![5]),
        (1, vec![4, 7]),
        (1, vec![]),
        (5, vec![5, 6, 7]),
        (1, (100..117).collect()),
        (1, (90..106).collect()),
    ];
    let asks = [
        "--gid-owner 5 --suppl-groups",
        "! --gid-owner 5 --suppl-groups",
        "--gid-owner 5-7 --suppl-groups",
        "! --gid-owner 6-7 --suppl-groups",
        "--gid-owner 5",
        "--uid-owner 1000 --gid-owner 105 --suppl-groups",
        "! --uid-owner 1000 --gid-owner 5 --suppl-groups",
        "--socket-exists ! --gid-owner 116 --suppl-groups",
    ];
    let (pod, _world) = Lab::pod_and_world();
    let mut undecided = Vec::new();
    for ask in asks {
        pod.sh(&format!("iptables-nft -F OUTPUT; iptables-nft -A OUTPUT -p udp -m owner {ask} -j DROP"));
        let mut snapshot = read(&pod);
        let rules = read_rules(pod.netns(), Path::new("/proc"), Wanted::default()).expect("the rules").0;
        snapshot.rulesets = Some(rules);
        let tracer = Tracer::of(&snapshot);
        for (gid, groups) in &owners {
            let question = Question {
                protocol: Protocol::Udp,
                uid: Some(1000),
                gid: Some(*gid),
                groups: Some(groups.clone()),
                ..Question::to(Endpoint::new([10, 0, 0, 5].into(), 53))
            };
            let expected = if is_sent(&pod, *gid, groups) { Verdict::Sent } else { Verdict::Dropped };
            match tracer.trace(&question).verdict() {
                // More groups than are kept.
                Verdict::Undecided => undecided.push((ask, groups.len())),
                found => assert_eq!(found, expected, "{ask} of GID {gid} with groups {groups:?}"),
            }
        }
    }
    assert!(undecided.iter().all(|(_, groups)| *groups == 17), "{undecided:?}");
    assert_eq!(undecided.len(), 6, "{undecided:?}");
}
