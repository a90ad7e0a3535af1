//! The making of rules, as far as a node sees it afterwards: the container that was to do it, how it ended, and what is missing since.

use super::case::Case;
use super::{Finding, Found, Severity};
use crate::model::{Backend, Container};

/// Findings that tell of rules that are missing, or half made.
const INCOMPLETE: [&str; 2] = ["RDR001", "RDR003"];

/// How the making of rules went wrong.
#[derive(Debug)]
pub struct Failed<'c> {
    /// The container that was to make them and has ended with an error; `None` where none is known.
    pub maker: Option<&'c Container>,
    /// Some of them stand there.
    pub half: bool,
    /// In which backend these stand.
    pub backend: Option<Backend>,
}

impl Failed<'_> {
    /// How its container has ended. Not escaped.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        let maker = self.maker?;
        let code = maker.exit_code.map_or_else(String::new, |code| format!(" with code {code}"));
        Some(format!("container {} has ended{code}", maker.name))
    }
}

impl Case<'_> {
    /// The containers that make the mesh's rules, and end then.
    pub fn makers(&self) -> impl Iterator<Item = &Container> {
        let known = &self.expected.proxy_containers;
        let makes = |container: &&Container| {
            container.init != Some(false) && container.name.contains("init") && known.contains(&container.name.as_str())
        };
        self.snapshot.workload.containers.iter().filter(makes)
    }

    /// The container that was to make the rules, where it has ended with an error.
    #[must_use]
    pub fn failed_maker(&self) -> Option<&Container> {
        self.makers().find(|container| container.exit_code.is_some_and(|code| code != 0))
    }

    /// How the making of rules went wrong, where they are missing or half made; `None` where they are not.
    #[must_use]
    pub fn failed(&self, found: &Found) -> Option<Failed<'_>> {
        self.expected.mesh?;
        let tells = |one: &&Finding| one.severity == Severity::Error && INCOMPLETE.contains(&one.kind.id);
        let found: Vec<&Finding> = found.findings.iter().filter(tells).collect();
        let half = found.iter().find(|one| one.kind.id != "RDR001");
        let backend = half.and_then(|one| one.rule.as_ref()).map(|rule| rule.backend);
        (!found.is_empty()).then(|| Failed { maker: self.failed_maker(), half: half.is_some(), backend })
    }
}
