//! Which environment variables, labels and annotations may ever be captured.
//!
//! A container's environment is where passwords live, and a snapshot travels to other people. So nothing is taken unless
//! its *name* stands here: variables by which a mesh tells its proxy what is redirected and which ports and owners are
//! not. Left out on purpose: `PROXY_CONFIG`, `ISTIO_METAJSON_*` and `ISTIO_BOOTSTRAP*` (JSON that repeats annotations and
//! arbitrary proxy metadata), certificates, addresses of control planes. What is refused is dropped where the runtime's
//! answer is read; it is never stored, printed or logged.

use std::collections::BTreeMap;

/// Names taken as they stand.
const NAMES: [&str; 17] = [
    "APPMESH_APP_PORTS",
    "APPMESH_EGRESS_IGNORED_IP",
    "APPMESH_EGRESS_IGNORED_PORTS",
    "APPMESH_ENABLE_IPV6",
    "APPMESH_IGNORE_GID",
    "APPMESH_IGNORE_UID",
    "APPMESH_PROXY_EGRESS_PORT",
    "APPMESH_PROXY_INGRESS_PORT",
    "ENVOY_GID",
    "ENVOY_UID",
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

/// Whether a variable of that name may be captured.
pub(super) fn variable(name: &str) -> bool {
    let listed = NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    listed && !SECRETS.iter().any(|secret| name.to_ascii_uppercase().contains(secret))
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
    fn the_applied_manifest_is_dropped() {
        let given = [(LAST_APPLIED.to_owned(), "{}".to_owned()), ("app".to_owned(), "web".to_owned())];
        assert_eq!(metadata(given), BTreeMap::from([("app".to_owned(), "web".to_owned())]));
    }
}
