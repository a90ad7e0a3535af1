//! Container IDs in cgroup paths: a second witness of whose process it is, and the first one where no runtime answers.
//!
//! Every runtime writes the full ID (64 hexadecimal digits) into the path: `cri-containerd-ID.scope`, `crio-ID.scope`,
//! `docker-ID.scope`, `libpod-ID.scope`, `/kubepods/…/ID`, `slice:cri-containerd:ID`, `/docker/ID`. So the ID is any run of
//! exactly 64 hexadecimal digits between characters that are none, whatever stands around it. The kubelet writes a pod's UID
//! before it: `/podUID/`, and with systemd's driver `-podUID.slice`, dashes turned to underscores
//! (pkg/kubelet/cm/pod_container_manager_linux.go).

/// Length of a full container ID in hexadecimal digits.
const FULL_ID: usize = 64;

/// Words before an ID by which a runtime marks its own, and the runtime's name.
const MARKS: [(&str, &str); 12] = [
    ("cri-containerd-", "containerd"),
    ("cri-containerd:", "containerd"),
    ("nerdctl-", "containerd"),
    ("nerdctl:", "containerd"),
    ("crio-", "cri-o"),
    ("crio:", "cri-o"),
    ("docker-", "docker"),
    ("docker:", "docker"),
    ("/docker/", "docker"),
    ("libpod-", "podman"),
    ("libpod-payload-", "podman"),
    ("libpod:", "podman"),
];

/// Before the ID of a container whose monitor the process is: it runs on the node, not in the container.
const MONITOR: &str = "conmon-";

/// Before an ID that is a pod's of Podman, not a container's.
const PODS: [&str; 2] = ["libpod_pod_", "/libpod_parent/"];

/// Where a process stands by one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// The innermost container.
    pub(super) id: &'a str,
    /// Its runtime, where the path's form tells.
    pub(super) runtime: Option<&'static str>,
    /// UID of the Kubernetes pod that it is in.
    pub(super) pod: Option<String>,
    /// How many containers are around it.
    pub(super) depth: usize,
    /// Whether a user can have made the path: below `user.slice` everybody makes cgroups of any name (root's own apart).
    pub(super) by_user: bool,
}

/// The container IDs in the text of `/proc/PID/cgroup`, outermost first, without repetition.
pub(super) fn ids(cgroup: &str) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for line in cgroup.lines() {
        for run in line.split(|character: char| !character.is_ascii_hexdigit()) {
            if run.len() == FULL_ID && !found.contains(&run) {
                found.push(run);
            }
        }
    }
    found
}

/// Where the process of this `/proc/PID/cgroup` stands. Containers `around` us are none of ours.
///
/// With several hierarchies the path with the most containers counts, of equal ones the first.
pub(super) fn place<'a>(cgroup: &'a str, around: &[&str]) -> Option<Place<'a>> {
    let mut found: Option<Place<'a>> = None;
    let mut by_user = false;
    for line in cgroup.lines() {
        // `NUMBER:CONTROLLERS:PATH` (cgroups(7)); a path may hold colons.
        let Some(place) = line.splitn(3, ':').nth(2).and_then(|path| in_path(path, around)) else { continue };
        by_user |= place.by_user;
        if found.as_ref().is_none_or(|known| known.depth < place.depth) {
            found = Some(place);
        }
    }
    found.map(|place| Place { by_user, ..place })
}

/// Whether the path speaks against the process being the container's of one of these IDs.
///
/// IDs that also stand in our own path say nothing: they are containers around us (a runner, a node in a container), and a
/// runtime that gives its containers no cgroup leaves only those.
pub(super) fn contradicts(cgroup: &str, own: &str, expected: &[&str]) -> bool {
    let around = ids(own);
    let named: Vec<&str> = ids(cgroup).into_iter().filter(|id| !around.contains(id)).collect();
    !named.is_empty() && !named.iter().any(|id| expected.contains(id))
}

fn in_path<'a>(path: &'a str, around: &[&str]) -> Option<Place<'a>> {
    // Where the containers around the last one end, and where that begins and ends.
    let (mut outer, mut start, mut depth) = (0, None, 0);
    let mut at = 0;
    for run in path.split(|character: char| !character.is_ascii_hexdigit()) {
        let begins = at;
        // What divides the runs may be a character of several bytes.
        at += run.len() + path.get(at + run.len()..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        let before = path.get(..begins).unwrap_or_default();
        if run.len() != FULL_ID || PODS.iter().any(|mark| before.ends_with(mark)) {
            continue;
        }
        if let Some(last) = start.replace(begins) {
            outer = last + FULL_ID;
            depth += usize::from(!around.contains(&path.get(last..outer).unwrap_or_default()));
        }
    }
    let start = start?;
    let (before, id) = (path.get(..start)?, path.get(start..start + FULL_ID)?);
    if around.contains(&id) || before.ends_with(MONITOR) {
        return None;
    }
    Some(Place {
        id,
        runtime: MARKS.iter().find(|(mark, _)| before.ends_with(mark)).map(|(_, runtime)| *runtime),
        pod: pod_uid(before.get(outer..)?),
        depth,
        by_user: before.contains("/user.slice/") && !before.contains("/user.slice/user-0.slice/"),
    })
}

/// The UID behind the last `pod` of a path, as Kubernetes writes it.
fn pod_uid(path: &str) -> Option<String> {
    path.rmatch_indices("pod").find_map(|(at, word)| {
        let begins = path.get(..at)?.ends_with(['/', '-']);
        let rest = path.get(at + word.len()..)?;
        let end = rest.find(|character: char| !character.is_ascii_hexdigit() && !matches!(character, '-' | '_'));
        let uid = rest.get(..end.unwrap_or(rest.len()))?.replace('_', "-");
        (begins && is_uid(&uid)).then_some(uid)
    })
}

/// Whether it is the UID of a pod: RFC 4122's form, or 32 digits, the hash of a static pod's manifest.
pub(super) fn is_uid(text: &str) -> bool {
    let digits = |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts: Vec<&str> = text.split('-').collect();
    match parts.as_slice() {
        [hash] => digits(hash, 32),
        [a, b, c, d, e] => digits(a, 8) && [b, c, d].iter().all(|part| digits(part, 4)) && digits(e, 12),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "3f1c2d4e-aaaa-bbbb-cccc-0123456789ab";
    const SYSTEMD_UID: &str = "3f1c2d4e_aaaa_bbbb_cccc_0123456789ab";
    const HASH: &str = "0123456789abcdef0123456789abcdef";

    fn id(digit: char) -> String {
        digit.to_string().repeat(FULL_ID)
    }

    fn seen(cgroup: &str) -> Option<(String, Option<&'static str>, Option<String>)> {
        place(cgroup, &[]).map(|place| (place.id.to_owned(), place.runtime, place.pod))
    }

    #[test]
    fn every_runtimes_form_is_known() {
        let a = id('a');
        let slice = format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{SYSTEMD_UID}.slice");
        let uid = Some(UID);
        for (paths, runtime, pod) in [
            // systemd's driver: v2, v1 and hybrid; guaranteed pods; k3s, RKE2 and k0s write the same.
            (format!("0::{slice}/cri-containerd-{a}.scope"), Some("containerd"), uid),
            (format!("0::{slice}/crio-{a}.scope/container"), Some("cri-o"), uid),
            (format!("0::{slice}/docker-{a}.scope"), Some("docker"), uid),
            (format!("0::/kubepods.slice/kubepods-pod{SYSTEMD_UID}.slice/crio-{a}.scope"), Some("cri-o"), uid),
            (
                format!(
                    "12:pids:{slice}/cri-containerd-{a}.scope\n1:name=systemd:{slice}/cri-containerd-{a}.scope\n0::/\n"
                ),
                Some("containerd"),
                uid,
            ),
            // A static pod.
            (
                format!("0::/kubepods.slice/kubepods-burstable-pod{HASH}.slice/cri-containerd-{a}.scope"),
                Some("containerd"),
                Some(HASH),
            ),
            // The cgroupfs driver, MicroK8s among others.
            (format!("11:memory:/kubepods/besteffort/pod{UID}/{a}"), None, uid),
            (format!("0::/kubepods/pod{UID}/{a}/init.scope"), None, uid),
            (format!("0::/kubepods/burstable/pod{HASH}/{a}"), None, Some(HASH)),
            (format!("0::/kubepods/burstable/pod{UID}/crio-{a}"), Some("cri-o"), uid),
            // A node whose cgroups begin elsewhere (minikube, kind, `--kubelet-cgroups`).
            (
                format!(
                    "0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{SYSTEMD_UID}.slice/cri-containerd-{a}.scope"
                ),
                Some("containerd"),
                uid,
            ),
            (format!("0::/kubelet/kubepods/burstable/pod{UID}/{a}"), None, uid),
            // systemd's names under the cgroupfs driver.
            (
                format!(
                    "1:name=systemd:/system.slice/containerd.service/kubepods-burstable-pod{SYSTEMD_UID}.slice:cri-containerd:{a}"
                ),
                Some("containerd"),
                uid,
            ),
            (format!("1:name=systemd:/system.slice:docker:{a}"), Some("docker"), None),
            // Containers in no pod.
            (format!("0::/system.slice/docker-{a}.scope"), Some("docker"), None),
            (format!("0::/docker/{a}"), Some("docker"), None),
            (format!("0::/docker/{a}/sub/cgroup (deleted)"), Some("docker"), None),
            (format!("0::/system.slice/nerdctl-{a}.scope"), Some("containerd"), None),
            (format!("0::/default/{a}"), None, None),
            (format!("0::/machine.slice/libpod-{a}.scope/container"), Some("podman"), None),
            (format!("0::/libpod_parent/libpod-{a}"), Some("podman"), None),
            (format!("0::/machine.slice/machine-libpod_pod_{}.slice/libpod-{a}.scope", id('b')), Some("podman"), None),
            (format!("0::/libpod_parent/{}/libpod-{a}", id('b')), Some("podman"), None),
            (format!("0::/a/libpod-payload-{a}"), Some("podman"), None),
            // Seen from inside a cgroup namespace.
            (format!("0::/../../kubepods-pod{SYSTEMD_UID}.slice/cri-containerd-{a}.scope"), Some("containerd"), uid),
        ] {
            assert_eq!(seen(&paths), Some((a.clone(), runtime, pod.map(str::to_owned))), "{paths}");
        }
    }

    #[test]
    fn what_is_no_container_is_not_taken_for_one() {
        let a = id('a');
        for path in [
            "0::/",
            "",
            "nonsense",
            "0::/user.slice/user-0.slice",
            &format!("0::/{}", "a".repeat(63)),
            &format!("0::/{}", "a".repeat(65)),
            &format!("0::/é{}é", "a".repeat(63)),
            &format!("0::/kubepods.slice/kubepods-pod{SYSTEMD_UID}.slice"),
            // Monitors run on the node.
            &format!("0::/kubepods.slice/kubepods-pod{SYSTEMD_UID}.slice/crio-conmon-{a}.scope"),
            &format!("0::/machine.slice/libpod-conmon-{a}.scope"),
            &format!("0::/machine.slice/machine-libpod_pod_{a}.slice"),
        ] {
            assert_eq!(place(path, &[]), None, "{path}");
        }
        assert_eq!(seen(&format!("0::/é/docker-{a}é")), Some((a, Some("docker"), None)));
    }

    #[test]
    fn only_a_whole_uid_behind_its_word_is_a_pods() {
        let a = id('a');
        for parent in [
            format!("/kubepods/pod{}", &UID[..35]),
            format!("/kubepods/pod{UID}0"),
            format!("/kubepods/xpod{UID}"),
            format!("/kubepods/{UID}"),
            "/libpod_pod_1/pod".to_owned(),
        ] {
            assert_eq!(seen(&format!("0::{parent}/{a}")), Some((a.clone(), None, None)), "{parent}");
        }
        assert!(is_uid(UID) && is_uid(HASH) && !is_uid("") && !is_uid("blue"));
    }

    #[test]
    fn the_innermost_of_nested_containers_counts() {
        let (outer, inner) = (id('a'), id('b'));
        let path = format!("4:memory:/docker/{outer}/docker/{inner}\n0::/docker/{outer}/docker/{inner}\n");
        assert_eq!(ids(&path), [outer.as_str(), inner.as_str()]);
        let nested = Place { id: &inner, runtime: Some("docker"), pod: None, depth: 1, by_user: false };
        assert_eq!(place(&path, &[]), Some(nested.clone()));
        assert_eq!(place(&path, &[&outer]), Some(Place { depth: 0, ..nested }), "the outer one is around us");
        assert_eq!(place(&format!("0::/docker/{outer}/init.scope"), &[&outer]), None, "a process of our own machine");
        // A pod is around its containers, not around those that are made inside one of them.
        let path = format!("0::/kubepods/pod{UID}/{outer}/docker/{inner}");
        assert_eq!(seen(&path), Some((inner.clone(), Some("docker"), None)));
        let path = format!("0::/docker/{outer}/kubelet/kubepods/pod{UID}/{inner}");
        assert_eq!(seen(&path), Some((inner.clone(), None, Some(UID.to_owned()))));
        // Hierarchies need not agree.
        let path = format!("4:memory:/docker/{outer}\n3:pids:/\n0::/docker/{outer}/docker/{inner}\n");
        assert_eq!(seen(&path), Some((inner, Some("docker"), None)));
    }

    #[test]
    fn what_a_user_can_have_made_is_told() {
        let a = id('a');
        let by_user = |path: &str| place(path, &[]).map(|place| place.by_user);
        let rootless = format!("0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{a}.scope");
        assert_eq!(by_user(&rootless), Some(true));
        assert_eq!(by_user(&format!("1:memory:/docker/{a}\n{rootless}")), Some(true), "in any hierarchy");
        assert_eq!(by_user(&format!("0::/user.slice/user-0.slice/session-1.scope/docker/{a}")), Some(false));
        assert_eq!(by_user(&format!("0::/docker/{a}/user.slice/user-1000.slice")), Some(false), "within a container");
    }

    #[test]
    fn a_reused_number_is_contradicted_and_what_is_around_us_is_not_a_witness() {
        let (outer, other, ours) = (id('a'), id('b'), id('c'));
        let expected = [ours.as_str()];
        let host = "0::/user.slice\n";
        assert!(contradicts(&format!("0::/docker/{other}"), host, &expected));
        assert!(!contradicts(&format!("0::/docker/{ours}"), host, &expected));
        assert!(!contradicts("0::/", host, &expected));
        let own = format!("0::/docker/{outer}");
        assert!(!contradicts(&own, &own, &expected));
        assert!(contradicts(&format!("0::/docker/{outer}/docker/{other}"), &own, &expected));
    }
}
