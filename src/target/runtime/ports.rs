//! Ports that the description of a container names: as the kubelet notes them, and as Docker does.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::model::DeclaredPort;

/// The annotation in which the kubelet keeps a container's ports: a list in JSON (kubernetes, pkg/kubelet/kuberuntime/labels.go).
pub(super) const NOTE: &str = "io.kubernetes.container.ports";

/// Ports that are taken of one container.
const MOST: usize = 256;

/// Bytes of a port's name; Kubernetes allows 15.
const LONGEST_NAME: usize = 63;

/// What the kubelet noted; what makes no sense is left out.
pub(super) fn noted(note: &str) -> Vec<DeclaredPort> {
    let list: Value = serde_json::from_str(note).unwrap_or(Value::Null);
    let number = |port: &Value, key: &str| {
        port.get(key)?.as_u64().and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0)
    };
    let port = |port: &Value| {
        let name = port.get("name").and_then(Value::as_str).filter(|name| (1..=LONGEST_NAME).contains(&name.len()));
        Some(DeclaredPort {
            name: name.map(str::to_owned),
            port: number(port, "containerPort")?,
            protocol: protocol(port.get("protocol").and_then(Value::as_str).unwrap_or("tcp"))?,
            host_port: number(port, "hostPort"),
        })
    };
    list.as_array().into_iter().flatten().filter_map(port).take(MOST).collect()
}

/// Docker's words, such as `80/tcp`, each with the ports of the node that lead there.
pub(super) fn exposed<'a>(ports: impl Iterator<Item = (&'a str, Option<u16>)>) -> Vec<DeclaredPort> {
    let mut known: BTreeMap<(u16, String), Option<u16>> = BTreeMap::new();
    for (word, host_port) in ports {
        let (port, kind) = word.split_once('/').unwrap_or((word, "tcp"));
        let Some(key) = port.parse().ok().filter(|port| *port > 0).zip(protocol(kind)) else { continue };
        let entry = known.entry(key).or_default();
        *entry = entry.or(host_port);
    }
    let port = |((port, protocol), host_port)| DeclaredPort { name: None, port, protocol, host_port };
    known.into_iter().map(port).take(MOST).collect()
}

fn protocol(word: &str) -> Option<String> {
    let word = word.to_ascii_lowercase();
    ["tcp", "udp", "sctp"].contains(&word.as_str()).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: Option<&str>, port: u16, protocol: &str, host_port: Option<u16>) -> DeclaredPort {
        DeclaredPort { name: name.map(str::to_owned), port, protocol: protocol.to_owned(), host_port }
    }

    #[test]
    fn the_kubelets_note_is_read() {
        let note = r#"[{"name":"http","containerPort":8080,"protocol":"TCP"},{"hostPort":53,"containerPort":5353,"protocol":"UDP"},
            {"containerPort":0},{"containerPort":70000},{"containerPort":1,"protocol":"x"},{"name":""},7]"#;
        assert_eq!(noted(note), [port(Some("http"), 8080, "tcp", None), port(None, 5353, "udp", Some(53))]);
        for note in ["", "null", "{}", "[[]]", "[{\"containerPort\":\"80\"}]"] {
            assert_eq!(noted(note), [], "{note}");
        }
    }

    #[test]
    fn dockers_ports_are_read() {
        let given =
            [("80/tcp", None), ("80/tcp", Some(8080)), ("53/udp", None), ("x/tcp", None), ("0/tcp", None), ("9", None)];
        let wanted = [port(None, 9, "tcp", None), port(None, 53, "udp", None), port(None, 80, "tcp", Some(8080))];
        assert_eq!(exposed(given.into_iter()), wanted);
    }
}
