//! What the OCI specification of a container tells of it (opencontainers/runtime-spec, config.md and config-linux.md). Runtimes hand
//! it out for debugging: whatever cannot be read is absent.

use serde_json::Value;

use crate::model::Container;
use crate::target::allow;

/// Names of capabilities that one list may have; the kernel knows 41.
const MOST_CAPABILITIES: usize = 64;

/// Fills in what the specification tells of the first process of the container with that name.
pub(super) fn tell(container: &mut Container, name: &str, spec: &Value) {
    container.environment = allow::environment(words(spec, "/process/env"));
    container.arguments = allow::arguments(name, words(spec, "/process/args"));
    container.user = number(spec, "/process/user/uid");
    container.group = number(spec, "/process/user/gid");
    container.capabilities = capabilities(spec, container.user);
}

/// Whether it puts the process into a user namespace of its own; `None` where it lists no namespaces.
pub(super) fn user_namespace(spec: &Value) -> Option<bool> {
    let namespaces = spec.pointer("/linux/namespaces")?.as_array()?;
    Some(namespaces.iter().any(|namespace| namespace.get("type").and_then(Value::as_str) == Some("user")))
}

/// `CAP_NET_ADMIN` as `NET_ADMIN`.
pub(super) fn capability(name: &str) -> String {
    let name = name.to_ascii_uppercase();
    name.strip_prefix("CAP_").map_or_else(|| name.clone(), str::to_owned)
}

/// To begin a program gives root all that the bounding set allows, and leaves others nothing but the ambient set (capabilities(7),
/// "Transformation of capabilities during execve()").
fn capabilities(spec: &Value, user: Option<u32>) -> Option<Vec<String>> {
    spec.pointer("/process/capabilities")?.as_object()?;
    let set = if user? == 0 { "/process/capabilities/bounding" } else { "/process/capabilities/ambient" };
    Some(words(spec, set).take(MOST_CAPABILITIES).map(capability).collect())
}

fn words<'a>(spec: &'a Value, pointer: &str) -> impl Iterator<Item = &'a str> {
    spec.pointer(pointer).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn number(spec: &Value, pointer: &str) -> Option<u32> {
    spec.pointer(pointer)?.as_u64()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn told(name: &str, spec: &Value) -> Container {
        let mut container = Container::default();
        tell(&mut container, name, spec);
        container
    }

    #[test]
    fn every_field_is_optional() {
        for spec in
            [json!(null), json!({}), json!({"process": 1, "linux": 2}), json!({"process": {"args": "x", "user": -1}})]
        {
            assert_eq!(told("istio-init", &spec), Container::default(), "{spec}");
            assert_eq!(user_namespace(&spec), None, "{spec}");
        }
    }

    #[test]
    fn what_is_there_is_taken() {
        let sets =
            json!({"bounding": ["CAP_NET_ADMIN", "CAP_NET_RAW"], "ambient": ["CAP_NET_RAW", 1], "effective": []});
        let mut spec = json!({
            "process": {"env": ["DB_PASSWORD=x", "ISTIO_META_DNS_CAPTURE=true", 3], "args": ["istio-iptables", "-p"],
                "user": {"uid": 0, "gid": 7}, "capabilities": sets},
            "linux": {"namespaces": [{"type": "network"}]},
        });
        let root = told("istio-init", &spec);
        assert_eq!(root.environment, BTreeMap::from([("ISTIO_META_DNS_CAPTURE".to_owned(), "true".to_owned())]));
        assert_eq!((root.user, root.group), (Some(0), Some(7)));
        assert_eq!(root.arguments, ["istio-iptables", "-p"]);
        assert_eq!(root.capabilities, Some(vec!["NET_ADMIN".to_owned(), "NET_RAW".to_owned()]));
        assert!(told("app", &spec).arguments.is_empty());
        assert_eq!(user_namespace(&spec), Some(false));
        spec["process"]["user"]["uid"] = json!(1337);
        spec["linux"]["namespaces"] = json!([{"type": "user"}]);
        assert_eq!(told("app", &spec).capabilities, Some(vec!["NET_RAW".to_owned()]));
        assert_eq!(user_namespace(&spec), Some(true));
    }
}
