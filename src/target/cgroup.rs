//! Container IDs in cgroup paths: a second witness of whose process it is.
//!
//! Every runtime writes the full ID (64 hexadecimal digits) into the path: `cri-containerd-ID.scope`, `crio-ID.scope`,
//! `docker-ID.scope`, `libpod-ID.scope`, `/kubepods/…/ID`, `slice:cri-containerd:ID`, `/docker/ID`. So the ID is any run of
//! exactly 64 hexadecimal digits between characters that are none, whatever stands around it.

/// Length of a full container ID in hexadecimal digits.
const FULL_ID: usize = 64;

/// Words before an ID by which a runtime marks its own, and the runtime's name.
const MARKS: [(&str, &str); 6] = [
    ("cri-containerd-", "containerd"),
    ("cri-containerd:", "containerd"),
    ("crio-", "cri-o"),
    ("docker-", "docker"),
    ("/docker/", "docker"),
    ("libpod-", "podman"),
];

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

/// The innermost container of a path: its ID and, where the path tells, its runtime.
pub(super) fn innermost(cgroup: &str) -> Option<(&str, Option<&'static str>)> {
    let id = *ids(cgroup).last()?;
    let runtime = MARKS.iter().find(|(mark, _)| cgroup.contains(&format!("{mark}{id}"))).map(|(_, runtime)| *runtime);
    Some((id, runtime))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> String {
        digit.to_string().repeat(FULL_ID)
    }

    #[test]
    fn every_runtimes_form_is_known() {
        let a = id('a');
        for (path, runtime) in [
            (
                format!(
                    "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1234_56.slice/cri-containerd-{a}.scope"
                ),
                Some("containerd"),
            ),
            (format!("0::/kubepods.slice/kubepods-pod1.slice/crio-{a}.scope"), Some("cri-o")),
            (format!("0::/system.slice/docker-{a}.scope"), Some("docker")),
            (format!("0::/machine.slice/libpod-{a}.scope/container"), Some("podman")),
            (format!("11:memory:/kubepods/besteffort/pod3f1c2d4e-aaaa-bbbb-cccc-0123456789ab/{a}"), None),
            (format!("1:name=systemd:/system.slice:cri-containerd:{a}"), Some("containerd")),
            (format!("0::/docker/{a}"), Some("docker")),
        ] {
            assert_eq!(ids(&path), [a.as_str()], "{path}");
            assert_eq!(innermost(&path), Some((a.as_str(), runtime)), "{path}");
        }
    }

    #[test]
    fn what_is_no_id_is_not_taken_for_one() {
        for path in [
            "0::/",
            "0::/user.slice/user-0.slice",
            &format!("0::/{}", "a".repeat(63)),
            &format!("0::/{}", "a".repeat(65)),
        ] {
            assert!(ids(path).is_empty(), "{path}");
        }
    }

    #[test]
    fn the_innermost_of_nested_containers_counts() {
        let (outer, inner) = (id('a'), id('b'));
        let path = format!("4:memory:/docker/{outer}/docker/{inner}\n0::/docker/{outer}/docker/{inner}\n");
        assert_eq!(ids(&path), [outer.as_str(), inner.as_str()]);
        assert_eq!(innermost(&path), Some((inner.as_str(), Some("docker"))));
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
