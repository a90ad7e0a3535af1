//! What a check comes to: pass, fail, or cannot tell.

use super::{Answer, Finding, Open, Severity};

/// What it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was found at the severity that counts, and everything could be decided.
    Pass,
    /// Something was found at the severity that counts.
    Fail,
    /// Nothing was, and something could not be decided.
    Undecided,
}

impl Verdict {
    /// The word that stands for it in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Undecided => "undecided",
        }
    }
}

/// A finding that somebody accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// Its id.
    pub id: String,
    /// Why.
    pub reason: String,
}

/// By what is judged.
#[derive(Debug, Clone)]
pub struct Measure {
    /// The least severity that fails.
    pub fail_on: Severity,
    /// Findings that are accepted.
    pub allow: Vec<Allowed>,
    /// What cannot be decided does not count.
    pub ignore_undecided: bool,
}

impl Measure {
    /// Why a finding is accepted; `None` where it is not.
    #[must_use]
    pub fn accepts(&self, finding: &Finding) -> Option<&str> {
        let accepted = self.allow.iter().find(|allowed| allowed.id.eq_ignore_ascii_case(finding.kind.id));
        accepted.map(|allowed| allowed.reason.as_str())
    }

    /// Whether a finding fails.
    #[must_use]
    pub fn fails(&self, finding: &Finding) -> bool {
        finding.severity >= self.fail_on && self.accepts(finding).is_none()
    }

    /// What an answer comes to.
    #[must_use]
    pub fn verdict(&self, answer: &Answer) -> Verdict {
        if answer.findings.iter().any(|finding| self.fails(finding)) {
            Verdict::Fail
        } else if self.is_open(answer) {
            Verdict::Undecided
        } else {
            Verdict::Pass
        }
    }

    /// Something that counts could not be decided.
    #[must_use]
    pub fn is_open(&self, answer: &Answer) -> bool {
        answer.undecided.iter().any(|open| self.counts(open))
    }

    /// Whether it counts that this could not be decided.
    #[must_use]
    pub fn counts(&self, open: &Open) -> bool {
        !self.ignore_undecided && !self.allow.iter().any(|allowed| allowed.id.eq_ignore_ascii_case(open.id))
    }
}
