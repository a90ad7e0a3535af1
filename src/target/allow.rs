//! Which environment variables, labels and annotations may ever be captured.
//!
//! A container's environment is where passwords live, and a snapshot travels to other people. So nothing is taken unless
//! its *name* stands here: variables by which a mesh tells its proxy what is redirected and which ports and owners are
//! not. Left out on purpose: `PROXY_CONFIG`, `ISTIO_METAJSON_*` and `ISTIO_BOOTSTRAP*` (JSON that repeats annotations and
//! arbitrary proxy metadata), certificates, addresses of control planes. What is refused is dropped where the runtime's
//! answer is read; it is never stored, printed or logged.

use std::collections::BTreeMap;

/// Names taken as they stand.
const NAMES: [&str; 19] = [
    "APPMESH_APP_PORTS",
    "APPMESH_EGRESS_IGNORED_IP",
    "APPMESH_EGRESS_IGNORED_PORTS",
    "APPMESH_ENABLE_IPV6",
    "APPMESH_IGNORE_GID",
    "APPMESH_IGNORE_UID",
    "APPMESH_PROXY_EGRESS_PORT",
    "APPMESH_PROXY_INGRESS_PORT",
    "DROP_INVALID",
    "ENVOY_GID",
    "ENVOY_UID",
    "INVALID_DROP",
    "ISTIO_DUAL_STACK",
    "KUMA_DNS_CORE_DNS_PORT",
    "KUMA_DNS_ENABLED",
    "KUMA_DNS_ENVOY_DNS_PORT",
    "KUMA_DNS_PROXY_PORT",
    "LINKERD2_PROXY_INBOUND_PORTS",
    "LINKERD2_PROXY_OUTBOUND_PORTS",
];

/// Beginnings of names.
const PREFIXES: [&str; 5] = [
    "ISTIO_META_",
    "LINKERD2_PROXY_INBOUND_LISTEN_ADDR",
    "LINKERD2_PROXY_INBOUND_PORTS_",
    "LINKERD2_PROXY_OUTBOUND_LISTEN_ADDR",
    "LINKERD2_PROXY_OUTBOUND_PORTS_",
];

/// A name that holds one of these is refused whatever it begins with: `ISTIO_META_*` is open to everyone's own values.
const SECRETS: [&str; 8] = ["TOKEN", "SECRET", "PASSW", "PASSPHRASE", "KEY", "CREDENTIAL", "CERT", "AUTH"];

/// The annotation in which `kubectl apply` keeps the whole manifest, passwords in its environment included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Containers that a mesh brings along, by name: of these alone the command and its arguments are taken.
const MESH_CONTAINERS: [&str; 15] = [
    "consul-connect-inject-init",
    "consul-dataplane",
    "envoy-sidecar",
    "fsm-init",
    "istio-init",
    "istio-proxy",
    "istio-validation",
    "kuma-init",
    "kuma-sidecar",
    "kuma-validation",
    "linkerd-init",
    "linkerd-network-validator",
    "linkerd-proxy",
    "osm-init",
    "proxyinit",
];

/// Words of a command that are taken, and the bytes of each: a longer one is a script, or a whole configuration.
const MOST_WORDS: usize = 256;
const LONGEST_WORD: usize = 1024;

/// Stands for what was not taken, so that the words around it keep their places.
const LEFT_OUT: &str = "(left out)";

/// Whether a variable of that name may be captured.
pub(super) fn variable(name: &str) -> bool {
    let listed = NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    listed && !is_secret(name)
}

fn is_secret(name: &str) -> bool {
    SECRETS.iter().any(|secret| name.to_ascii_uppercase().contains(secret))
}

/// Of the command of a container with that name what may be captured: nothing unless the name is a mesh's. Values of options whose
/// names sound of secrets are left out, and so are words of more than one line.
pub(super) fn arguments<'a>(container: &str, words: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    if !MESH_CONTAINERS.contains(&container) {
        return Vec::new();
    }
    let mut secret_follows = false;
    let take = |word: &'a str| {
        let is_option = word.starts_with('-');
        let is_value = std::mem::take(&mut secret_follows) && !is_option;
        if is_value || word.len() > LONGEST_WORD || word.contains('\n') {
            return LEFT_OUT.to_owned();
        }
        match word.split_once('=') {
            Some((name, _)) if is_secret(name) => format!("{name}={LEFT_OUT}"),
            None if is_option && is_secret(word) => {
                secret_follows = true;
                word.to_owned()
            }
            None if is_secret(word) => LEFT_OUT.to_owned(),
            _ => word.to_owned(),
        }
    };
    words.into_iter().take(MOST_WORDS).map(take).collect()
}

/// Of an environment (`NAME=VALUE` each) what may be captured.
pub(super) fn environment<'a>(pairs: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, _)| variable(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Labels or annotations without the one that holds a whole manifest.
pub(super) fn metadata(given: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
    given.into_iter().filter(|(key, _)| key != LAST_APPLIED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_meshes_say_of_redirection_is_taken() {
        for name in [
            "ISTIO_META_INTERCEPTION_MODE",
            "ISTIO_META_DNS_CAPTURE",
            "LINKERD2_PROXY_INBOUND_LISTEN_ADDR",
            "LINKERD2_PROXY_OUTBOUND_LISTEN_ADDRS",
            "LINKERD2_PROXY_INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION",
            "APPMESH_IGNORE_UID",
            "KUMA_DNS_PROXY_PORT",
        ] {
            assert!(variable(name), "{name}");
        }
    }

    #[test]
    fn what_can_hold_a_secret_is_not() {
        for name in [
            "DB_PASSWORD",
            "PATH",
            "PROXY_CONFIG",
            "ISTIO_BOOTSTRAP",
            "ISTIO_METAJSON_ANNOTATIONS",
            "ISTIO_META_API_TOKEN",
            "ISTIO_META_DB_PASSWORD",
            "ISTIO_META_client_secret",
            "ISTIO_META_SSH_KEY",
            "LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS",
            "APPMESH_EGRESS_IGNORED_PORTS_SECRET",
            "istio_meta_mode",
        ] {
            assert!(!variable(name), "{name}");
        }
    }

    #[test]
    fn an_environment_keeps_only_listed_names() {
        let taken = environment(["DB_PASSWORD=x", "ISTIO_META_DNS_CAPTURE=a=b", "ISTIO_META_NOTHING", "=y"]);
        assert_eq!(taken, BTreeMap::from([("ISTIO_META_DNS_CAPTURE".to_owned(), "a=b".to_owned())]));
    }

    #[test]
    fn commands_are_taken_of_containers_of_meshes_alone() {
        let words = ["istio-iptables", "-p", "15001", "-x", ""];
        assert_eq!(arguments("istio-init", words), words);
        for name in ["app", "istio-init-2", "envoy", ""] {
            assert!(arguments(name, words).is_empty(), "{name}");
        }
        assert_eq!(arguments("istio-init", ["x"; 300]).len(), MOST_WORDS);
    }

    #[test]
    fn what_sounds_of_secrets_is_left_out_of_commands() {
        let long = "a".repeat(LONGEST_WORD + 1);
        let given = [
            "run",
            "--login-token",
            "hunter2",
            "--api-token=hunter2",
            "--token",
            "-v",
            "a\nb",
            &long,
            "dbPassword",
            "x=y",
        ];
        let taken = arguments("consul-dataplane", given);
        let kept = [
            "run",
            "--login-token",
            LEFT_OUT,
            "--api-token=(left out)",
            "--token",
            "-v",
            LEFT_OUT,
            LEFT_OUT,
            LEFT_OUT,
            "x=y",
        ];
        assert_eq!(taken, kept);
    }

    #[test]
    fn the_applied_manifest_is_dropped() {
        let given = [(LAST_APPLIED.to_owned(), "{}".to_owned()), ("app".to_owned(), "web".to_owned())];
        assert_eq!(metadata(given), BTreeMap::from([("app".to_owned(), "web".to_owned())]));
    }
}
