//! What metadata says of a workload: which mesh, and what it sets.

use super::profile::{Profile, Setting};
use crate::model::{Container, Snapshot, Workload};

/// Something that metadata sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated {
    /// What.
    pub setting: Setting,
    /// To what, as it stands (hostile text).
    pub value: String,
    /// Where it stands: `annotation NAME`, `NAME of container NAME`.
    pub from: String,
}

/// What in the metadata tells of a mesh, in words.
pub(super) fn signs(workload: &Workload, profile: &Profile) -> Vec<String> {
    let mut found = Vec::new();
    for (name, wanted) in profile.metadata {
        for (kind, given) in [("annotation", &workload.annotations), ("label", &workload.labels)] {
            let tells = |value: &String| match *wanted {
                "" => !matches!(value.as_str(), "" | "false" | "disabled"),
                wanted => value == wanted,
            };
            found.extend(given.get(*name).filter(|value| tells(value)).map(|_| format!("{kind} {name}")));
        }
    }
    for container in &workload.containers {
        if profile.containers.contains(&container.name.as_str()) {
            found.push(format!("container {}", container.name));
        } else if let Some(name) = variable(profile, container) {
            found.push(format!("variable {name} of container {}", container.name));
        }
    }
    found
}

fn variable<'a>(profile: &Profile, container: &'a Container) -> Option<&'a str> {
    let own = |name: &&String| profile.environment.iter().any(|start| name.starts_with(start));
    container.environment.keys().find(own).map(String::as_str)
}

/// Everything that the metadata sets in a profile's terms.
pub(super) fn settings(snapshot: &Snapshot, profile: &Profile) -> Vec<Stated> {
    let workload = &snapshot.workload;
    let mut found = Vec::new();
    for (name, setting) in profile.settings {
        let annotation = workload.annotations.get(*name).map(|value| (value.clone(), format!("annotation {name}")));
        let variables = workload.containers.iter().filter_map(|container| {
            let value = container.environment.get(*name)?;
            Some((value.clone(), format!("{name} of container {}", container.name)))
        });
        found.extend(annotation.into_iter().chain(variables).map(|(value, from)| Stated {
            setting: *setting,
            value,
            from,
        }));
    }
    found
}

impl Stated {
    /// The one number that it sets: a port or an ID, also as the port of `ADDRESS:PORT`.
    #[must_use]
    pub fn number(&self) -> Option<u32> {
        self.value.rsplit(':').next()?.trim().parse().ok()
    }

    /// The ports that it lists, ranges with both ends; `None` for `*` and for what is no list of ports.
    #[must_use]
    pub fn ports(&self) -> Option<Vec<(u16, u16)>> {
        let parts = self.value.split(',').map(str::trim).filter(|part| !part.is_empty());
        let range = |part: &str| {
            let (from, to) = part.split_once(['-', ':']).unwrap_or((part, part));
            Some((from.trim().parse().ok()?, to.trim().parse().ok()?))
        };
        parts.map(range).collect()
    }

    /// Whether it switches on or off.
    #[must_use]
    pub fn switch(&self) -> Option<bool> {
        match self.value.trim().to_ascii_lowercase().as_str() {
            "true" | "enabled" | "1" | "yes" => Some(true),
            "false" | "disabled" | "0" | "no" => Some(false),
            _ => None,
        }
    }
}
