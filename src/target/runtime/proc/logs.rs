//! Names in the kubelet's log folders. Nothing there is opened or followed: the names themselves tell.
//!
//! `/var/log/pods/NAMESPACE_NAME_UID/CONTAINER/N.log` and the links `/var/log/containers/NAME_NAMESPACE_CONTAINER-ID.log`
//! (pkg/kubelet/kuberuntime: helpers.go, legacy.go). No name of Kubernetes holds an underscore.

use std::collections::BTreeMap;
use std::path::Path;

use crate::sys::records::Records;
use crate::target::cgroup;

const PODS: &str = "var/log/pods";
const CONTAINERS: &str = "var/log/containers";

/// Length of a full container ID.
const FULL_ID: usize = 64;

/// Whose log it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Logged {
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) container: String,
}

/// What the log folders tell.
#[derive(Debug, Default)]
pub(super) struct Logs {
    /// By container ID.
    containers: BTreeMap<String, Logged>,
    /// By UID: the folder's name, the namespace, the pod's name.
    pods: BTreeMap<String, (String, String, String)>,
}

impl Logs {
    /// Reads the names of both folders; those that are not there or may not be read tell nothing.
    pub(super) fn read(records: &Records) -> Self {
        let names = |folder| records.names(Path::new(folder)).unwrap_or_default();
        Self {
            containers: names(CONTAINERS).iter().filter_map(|name| link(name)).collect(),
            pods: names(PODS).into_iter().filter_map(folder).collect(),
        }
    }

    pub(super) fn container(&self, id: &str) -> Option<&Logged> {
        self.containers.get(id)
    }

    /// Namespace and name of the pod with this UID.
    pub(super) fn pod(&self, uid: &str) -> Option<(&str, &str)> {
        self.pods.get(uid).map(|(_, namespace, name)| (namespace.as_str(), name.as_str()))
    }

    /// The names of the containers of the pod with this UID that have ever logged.
    pub(super) fn names(&self, records: &Records, uid: &str) -> Vec<String> {
        let folder = self.pods.get(uid).map(|(folder, ..)| Path::new(PODS).join(folder));
        folder.and_then(|folder| records.names(&folder).ok()).unwrap_or_default()
    }
}

fn link(name: &str) -> Option<(String, Logged)> {
    let (names, id) = name.strip_suffix(".log")?.rsplit_once('-')?;
    let mut parts = names.split('_').map(str::to_owned);
    let (pod, namespace, container) = (parts.next()?, parts.next()?, parts.next()?);
    let whole = id.len() == FULL_ID && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let fits = whole && parts.next().is_none() && [&pod, &namespace, &container].iter().all(|part| !part.is_empty());
    fits.then(|| (id.to_owned(), Logged { namespace, pod, container }))
}

fn folder(whole: String) -> Option<(String, (String, String, String))> {
    let mut parts = whole.split('_').map(str::to_owned);
    let (namespace, name, uid) = (parts.next()?, parts.next()?, parts.next()?);
    let fits = parts.next().is_none() && !namespace.is_empty() && !name.is_empty() && cgroup::is_uid(&uid);
    fits.then_some((uid, (whole, namespace, name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_and_others_passed_over() {
        let id = "a".repeat(64);
        let logged = Logged { namespace: "blue".into(), pod: "web-7.x".into(), container: "istio-proxy".into() };
        assert_eq!(link(&format!("web-7.x_blue_istio-proxy-{id}.log")), Some((id.clone(), logged)));
        for name in [
            format!("web_blue-{id}.log"),
            format!("web_blue_app_more-{id}.log"),
            format!("web__app-{id}.log"),
            format!("web_blue_app-{}.log", &id[..63]),
            format!("web_blue_app-{id}"),
            "é_é_é-é.log".to_owned(),
        ] {
            assert_eq!(link(&name), None, "{name}");
        }
        let uid = "3f1c2d4e-aaaa-bbbb-cccc-0123456789ab";
        let name = format!("blue_web_{uid}");
        let wanted = (uid.to_owned(), (name.clone(), "blue".to_owned(), "web".to_owned()));
        assert_eq!(folder(name), Some(wanted));
        for name in ["blue_web_uid", "blue_web", &format!("_web_{uid}"), &format!("a_b_c_{uid}")] {
            assert_eq!(folder(name.to_owned()), None, "{name}");
        }
    }
}
