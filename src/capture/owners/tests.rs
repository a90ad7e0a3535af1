//! Who a process belongs to, and what hostile names and a missing `/proc` do.

use super::*;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn containers() -> Vec<Container> {
    let named = |id: &str, name: &str| Container { name: name.into(), id: id.into(), ..Container::default() };
    vec![named(A, "app"), named(B, "istio-proxy")]
}

#[test]
fn a_container_is_known_by_its_id_in_the_cgroup_path() {
    let of = |path: String| container_of(&path, &containers()).map(str::to_owned);
    assert_eq!(of(format!("0::/kubepods.slice/pod1/cri-containerd-{A}.scope\n")).as_deref(), Some("app"));
    assert_eq!(of(format!("3:cpu:/docker/{B}\n0::/docker/{B}\n")).as_deref(), Some("istio-proxy"));
    // A container inside a node that is a container itself.
    assert_eq!(of(format!("0::/docker/{A}/kubelet/pods/{B}\n")).as_deref(), Some("istio-proxy"));
    assert_eq!(of(format!("0::/docker/{A}0\n")), None);
    assert_eq!(of("0::/user.slice\n".into()), None);
}

#[test]
fn a_hostile_command_name_changes_nothing() {
    let own = std::fs::read_to_string("/proc/self/stat").expect("its own state");
    let (before, after) = (own.split_once('(').expect("a name").0, own.rsplit_once(')').expect("a name").1);
    let parsed = stat(format!("{before}(a) S 1 (b\n){after}").as_bytes()).expect("a state");
    let real = stat(own.as_bytes()).expect("a state");
    assert_eq!(parsed.comm, "a) S 1 (b\n");
    assert_eq!((parsed.starttime, parsed.flags), (real.starttime, real.flags));
    assert!(stat(b"").is_err());
}

#[test]
fn a_proc_that_is_not_there_is_said_once() {
    let (processes, unread) = {
        let namespace = Namespace { netns: (0, 0), numbering: Numbering::Unknown };
        let none = read_processes(Path::new("/nonexistent"), namespace, &[], &HashSet::from([1]), None, || None);
        (none.processes, none.unread)
    };
    assert!(processes.is_empty());
    assert_eq!(unread.len(), 1);
    assert_eq!(unread[0].means, "the owner of 1 socket is not known");
}
