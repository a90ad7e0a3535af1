//! What Docker and Podman tell of one container that they were asked for (`GET /containers/ID/json` of the Engine API).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, HostConfig};

use super::docker::ANNOTATION;
use super::{Detail, Inner, first_line, ports, spec};
use crate::model::Container;
use crate::target::allow;

/// What Docker gives a container that asks for nothing (moby, oci/caps/defaults.go). It cannot be set otherwise.
const USUAL_CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Stands for every capability.
const ALL: &str = "ALL";

/// cri-dockerd's note of how often the kubelet started a container again.
const RESTARTS: &str = "io.kubernetes.container.restartCount";

/// Addresses that a container is told to have.
const MOST_ADDRESSES: usize = 64;

/// What is told of the container with that name.
pub(super) fn inner(answer: &ContainerInspectResponse, name: &str, by_docker: bool) -> Inner {
    let state = answer.state.as_ref();
    let pid = state.and_then(|state| state.pid).and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0);
    let started = state.and_then(|state| instant(state.started_at.as_deref()?));
    // One that was started again still tells of its last end, and one that never ran has code 0.
    let ended = state.filter(|_| pid.is_none() && started.is_some());
    let finished = ended.and_then(|state| instant(state.finished_at.as_deref()?));
    let by_memory = ended.is_some_and(|state| state.oom_killed == Some(true)).then(|| "OOMKilled".to_owned());
    let complaint = || ended.and_then(|state| state.error.as_deref()).map(first_line).filter(|text| !text.is_empty());
    let (config, host) = (answer.config.as_ref(), answer.host_config.as_ref());
    let environment = config.and_then(|config| config.env.as_ref()).into_iter().flatten();
    let words = answer.path.iter().chain(answer.args.iter().flatten());
    let (user, group) = config.and_then(|config| config.user.as_deref()).map_or((None, None), ids);
    let note = |name: &str| config?.labels.as_ref()?.get(&format!("{ANNOTATION}{name}"));
    let restarts = note(RESTARTS).and_then(|text| text.parse().ok());
    let told = Container {
        environment: allow::environment(environment.map(String::as_str)),
        started: started.map(|started| started.as_secs()),
        finished: finished.map(|finished| finished.as_secs()),
        exit_code: finished.and(ended).and_then(|state| i32::try_from(state.exit_code?).ok()),
        reason: by_memory.or_else(complaint),
        restarts: restarts.or_else(|| u32::try_from(answer.restart_count?).ok()),
        arguments: allow::arguments(name, words.map(String::as_str)),
        user,
        group,
        ports: note(ports::NOTE).map_or_else(|| exposed(answer), |note| ports::noted(note)),
        capabilities: host.filter(|_| by_docker).and_then(|host| capabilities(host, user?)),
        privileged: host.and_then(|host| host.privileged),
        ..Container::default()
    };
    // A container that does not run has process 0.
    Inner { pid, started, finished, told }
}

/// What is told of the container that holds a network namespace.
pub(super) fn sandbox_into(detail: &mut Detail, answer: &ContainerInspectResponse) {
    let host = answer.host_config.as_ref();
    detail.created = answer.created.as_deref().and_then(instant);
    detail.handler = host.and_then(|host| host.runtime.as_deref()).map(first_line).filter(|word| !word.is_empty());
    // `host` leaves the one that the daemon may give to all others.
    let mode = host.and_then(|host| host.userns_mode.as_deref());
    detail.user_namespace = mode.filter(|mode| *mode == "host").map(|_| false);
    let networks = answer.network_settings.iter().filter_map(|settings| settings.networks.as_ref()).flatten();
    let addresses = networks.flat_map(|(_, network)| [&network.ip_address, &network.global_ipv6_address]);
    let addresses: BTreeSet<IpAddr> = addresses.flatten().filter_map(|text| text.parse().ok()).collect();
    detail.addresses = addresses.into_iter().take(MOST_ADDRESSES).collect();
}

/// User and group of a `Config.User`: `USER[:GROUP]`, empty for root. Names are known in the container's own files alone, and so is
/// the group of one who names none.
fn ids(text: &str) -> (Option<u32>, Option<u32>) {
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let user = if user.is_empty() { Some(0) } else { user.parse().ok() };
    (user, group.and_then(|group| group.parse().ok()))
}

/// Ports of the image and of the command line, each with one of the node's where the runtime leads one there.
fn exposed(answer: &ContainerInspectResponse) -> Vec<crate::model::DeclaredPort> {
    let named = answer.config.iter().filter_map(|config| config.exposed_ports.as_ref()).flatten();
    let bound = answer.host_config.iter().filter_map(|host| host.port_bindings.as_ref());
    let open = answer.network_settings.iter().filter_map(|settings| settings.ports.as_ref());
    let led = open.chain(bound).flatten().flat_map(|(word, ends)| {
        let ends = ends.iter().flatten().filter_map(|end| end.host_port.as_deref()?.parse().ok());
        ends.filter(|port| *port > 0).map(|port: u16| (word.as_str(), Some(port)))
    });
    ports::exposed(named.map(|word| (word.as_str(), None)).chain(led))
}

/// What Docker lets root begin with; others begin with none, since it sets no ambient ones. `None` where that is all that the
/// kernel has.
fn capabilities(host: &HostConfig, user: u32) -> Option<Vec<String>> {
    let names = |list: &Option<Vec<String>>| -> BTreeSet<String> {
        list.iter().flatten().map(|name| spec::capability(name)).collect()
    };
    let (added, dropped) = (names(&host.cap_add), names(&host.cap_drop));
    if user != 0 {
        return Some(Vec::new());
    }
    if host.privileged == Some(true) || added.contains(ALL) {
        return None;
    }
    let usual = USUAL_CAPABILITIES.iter().map(|name| (*name).to_owned());
    let usual = usual.filter(|name| !dropped.contains(ALL) && !dropped.contains(name));
    Some(usual.chain(added.iter().cloned()).collect::<BTreeSet<_>>().into_iter().collect())
}

/// A time of the API (RFC 3339) after 1970-01-01 UTC. Docker writes `Z`, Podman may write the machine's own offset.
fn instant(text: &str) -> Option<Duration> {
    let signed = text.len().checked_sub(6).filter(|at| matches!(text.as_bytes().get(*at), Some(b'+' | b'-')));
    let (local, offset) = match signed.and_then(|at| text.split_at_checked(at)) {
        Some((local, offset)) => (format!("{local}Z"), offset),
        None => (text.to_owned(), "+00:00"),
    };
    let since = humantime::parse_rfc3339(&local).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let east = Duration::from_secs(hours.parse::<u64>().ok()? * 3600 + minutes.parse::<u64>().ok()? * 60);
    if offset.starts_with('-') { since.checked_add(east) } else { since.checked_sub(east) }
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerConfig, ContainerState};

    use super::*;

    #[test]
    fn what_is_not_told_is_not_made_up() {
        let nothing = inner(&ContainerInspectResponse::default(), "istio-proxy", true);
        assert_eq!((nothing.pid, nothing.told), (None, Container::default()));
        let created = ContainerState {
            exit_code: Some(0),
            started_at: Some("0001-01-01T00:00:00Z".into()),
            finished_at: Some("0001-01-01T00:00:00Z".into()),
            ..ContainerState::default()
        };
        let created = ContainerInspectResponse { state: Some(created), ..ContainerInspectResponse::default() };
        assert_eq!(inner(&created, "app", true).told.exit_code, None);
    }

    #[test]
    fn users_have_numbers_or_none() {
        assert_eq!((ids(""), ids("1000"), ids("7:8")), ((Some(0), None), (Some(1000), None), (Some(7), Some(8))));
        assert_eq!((ids("app"), ids("app:8"), ids("-1:x")), ((None, None), (None, Some(8)), (None, None)));
    }

    #[test]
    fn capabilities_are_counted_as_docker_counts_them() {
        let of = |added: &[&str], dropped: &[&str], user| {
            let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
            let host = HostConfig { cap_add: names(added), cap_drop: names(dropped), ..HostConfig::default() };
            capabilities(&host, user)
        };
        assert_eq!(of(&["net_admin", "CAP_NET_RAW"], &["ALL"], 0).expect("told"), ["NET_ADMIN", "NET_RAW"]);
        assert_eq!(of(&[], &["CHOWN"], 0).map(|all| all.len()), Some(13));
        assert_eq!((of(&["ALL"], &[], 0), of(&["NET_ADMIN"], &[], 1000)), (None, Some(Vec::new())));
    }

    #[test]
    fn ports_of_the_kubelets_note_come_first() {
        let config = ContainerConfig {
            exposed_ports: Some(vec!["80/tcp".into()]),
            labels: Some([(format!("{ANNOTATION}{}", ports::NOTE), r#"[{"containerPort":9}]"#.to_owned())].into()),
            ..ContainerConfig::default()
        };
        let mut answer = ContainerInspectResponse { config: Some(config), ..ContainerInspectResponse::default() };
        let first =
            |answer: &ContainerInspectResponse| inner(answer, "app", true).told.ports.first().map(|one| one.port);
        assert_eq!(first(&answer), Some(9));
        answer.config.as_mut().expect("set").labels = None;
        assert_eq!(first(&answer), Some(80));
    }
    #[test]
    fn times_are_read_with_their_offset() {
        let nanoseconds = |text| instant(text).map(|since| since.as_nanos());
        assert_eq!(nanoseconds("1970-01-01T00:00:01.000000005Z"), Some(1_000_000_005));
        assert_eq!(nanoseconds("1970-01-01T02:00:01.5+02:00"), Some(1_500_000_000));
        assert_eq!(nanoseconds("1970-01-01T00:00:01-00:30"), Some(1_801_000_000_000));
        // Docker's word for "never", and others' for anything.
        for text in ["0001-01-01T00:00:00Z", "", "+02:00", "yesterday", "1970-01-01T00:00:00+xx:00"] {
            assert_eq!(instant(text), None, "{text}");
        }
    }
}
