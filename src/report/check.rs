//! What `check` found, of one workload or of many: for people, as JSON, and as other programs want it.

mod github;
mod json;
mod junit;
mod many;
mod page;
mod points;
mod sarif;
mod tap;
mod text;

pub use github::github;
pub use json::{broken, document, sweep};
pub use junit::junit;
pub use many::{Look, table};
pub use page::{markdown, page};
pub use sarif::sarif;
pub use tap::tap;
pub use text::text;

use super::escape::escape;
use super::list::word;
use crate::analysis::check::{Answer, Measure, Verdict};
use crate::analysis::expectation::{Kept, State};
use crate::analysis::mesh::Mesh;
use crate::model::{Kind, Snapshot};

/// A workload that was judged.
#[derive(Debug)]
pub struct Judged {
    /// Who it is, and what of it could not be read; whatever else was read is not needed any more.
    pub who: Snapshot,
    /// The mesh that its metadata tells of.
    pub claimed: Option<Mesh>,
    /// What was found.
    pub answer: Answer,
    /// How it is with what a file expects of it.
    pub kept: Vec<Kept>,
}

/// A workload that could not be looked at.
#[derive(Debug)]
pub struct Broken {
    /// Who it is, as far as that is known.
    pub who: Snapshot,
    /// Why.
    pub error: String,
}

/// What came of one of many workloads.
pub type Outcome = Result<Judged, Broken>;

impl Judged {
    /// What it comes to: what is found, and what was expected and is not so.
    #[must_use]
    pub fn verdict(&self, measure: &Measure) -> Verdict {
        let any = |is: fn(&State) -> bool| self.kept.iter().any(|kept| is(&kept.state));
        match measure.verdict(&self.answer) {
            _ if any(|state| matches!(state, State::Unmet(_))) => Verdict::Fail,
            Verdict::Pass if !measure.ignore_undecided && any(|state| matches!(state, State::Open(_))) => {
                Verdict::Undecided
            }
            verdict => verdict,
        }
    }

    /// Something that counts could not be decided.
    #[must_use]
    pub fn is_open(&self, measure: &Measure) -> bool {
        let open = self.kept.iter().any(|kept| matches!(kept.state, State::Open(_)));
        measure.is_open(&self.answer) || open && !measure.ignore_undecided
    }

    /// What was expected and is not so, or cannot be told; with `failures` only what counts.
    fn unkept(&self, measure: &Measure, failures: bool) -> impl Iterator<Item = &Kept> {
        let open = !failures || !measure.ignore_undecided;
        self.kept.iter().filter(move |kept| match kept.state {
            State::Met => false,
            State::Unmet(_) => true,
            State::Open(_) => open,
        })
    }

    /// Metadata says that it is in a mesh, and no rule redirects anything.
    #[must_use]
    pub fn only_claims(&self) -> bool {
        self.claimed.is_some() && !self.answer.expected.captures_something()
    }

    /// Rules redirect as those of a mesh do, and no metadata says why. What has none cannot say it.
    #[must_use]
    pub fn claims_nothing(&self) -> bool {
        let has_metadata = matches!(self.who.workload.kind, Kind::Pod | Kind::Container);
        has_metadata
            && self.claimed.is_none()
            && self.answer.expected.mesh.is_some()
            && self.answer.expected.captures_something()
    }
}

/// Whose outcome it is.
fn whose(outcome: &Outcome) -> &Snapshot {
    match outcome {
        Ok(judged) => &judged.who,
        Err(broken) => &broken.who,
    }
}

/// Who it is among others: `default/productpage`, a container's name, a file. Free of what steers a terminal.
#[must_use]
pub fn name(who: &Snapshot) -> String {
    let workload = &who.workload;
    match (&workload.namespace, workload.kind) {
        (Some(namespace), _) => escape(&format!("{namespace}/{}", workload.name)).into_owned(),
        (None, Kind::File) => escape(&who.asked).into_owned(),
        (None, _) => word(workload),
    }
}
