//! The catalogue of findings: one file each, which says what it is and looks for it. To add one is to add a file and a line here.

mod rdr001;
mod rdr002;
mod rdr003;
mod rdr004;
mod rdr005;
mod rdr006;
mod rdr007;
mod rdr008;
mod rdr009;
mod rdr010;
mod rdr011;
mod rdr012;
mod rdr101;
mod rdr102;
mod rdr103;
mod rdr104;
mod rdr105;
mod rdr201;
mod rdr202;
mod rdr203;
mod rdr204;
mod rdr205;
mod rdr206;
mod rdr207;
mod rdr208;
mod rdr209;
mod rdr210;
mod rdr211;
mod rdr212;
mod rdr301;
mod rdr302;
mod rdr303;
mod rdr304;
mod rdr305;
mod rdr306;
mod rdr307;
mod rdr308;
mod rdr309;
mod rdr310;
mod rdr401;
mod rdr402;
mod rdr403;
mod rdr404;
mod rdr405;
mod rdr406;
mod rdr407;
mod rdr408;
mod rdr409;
mod rdr501;
mod rdr502;
mod rdr503;
mod rdr504;
mod rdr505;
mod rdr506;
mod rdr507;
mod rdr508;
mod rdr601;
mod rdr602;
mod rdr603;
mod rdr604;
mod rdr605;
mod rdr606;
mod rdr607;
mod rdr608;
mod rdr609;
mod rdr610;
mod rdr611;
mod rdr701;
mod rdr702;
mod rdr703;
mod rdr704;
mod rdr705;
mod rdr706;
mod rdr707;
mod rdr708;
mod rdr709;
mod rdr801;
mod rdr802;
mod rdr803;
mod rdr804;
mod rdr805;
mod rdr806;
mod rdr807;
mod rdr808;
mod rdr809;
mod rdr810;

use super::check::{Case, Finding, Found, Severity};
use crate::model::RuleRef;

/// What is known of a finding: the page that people read, and who looks for it.
#[derive(Debug)]
pub struct Kind {
    /// Its number in the catalogue, never used for anything else: `RDR101`.
    pub id: &'static str,
    /// What it is, in a few words.
    pub title: &'static str,
    /// How bad it usually is.
    pub severity: Severity,
    /// The page about it.
    pub page: Page,
    /// Where one of these was found, this one would only tell the same again.
    pub(super) silenced_by: &'static [&'static str],
    /// Looks for it.
    pub(super) look: fn(&Case<'_>, &mut Found),
}

/// What `--explain` prints, and `docs/findings/` holds.
#[derive(Debug)]
pub struct Page {
    /// What somebody notices.
    pub seen: &'static str,
    /// How it comes about.
    pub why: &'static str,
    /// What it is told by.
    pub evidence: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// Public reports of it: `owner/repository#number`, or the address of a page.
    pub references: &'static [&'static str],
}

/// What findings are about, by the hundreds of their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// RDR001 to RDR099.
    Capture,
    /// RDR1xx.
    Loop,
    /// RDR2xx.
    Bypass,
    /// RDR3xx.
    Proxy,
    /// RDR4xx.
    Backends,
    /// RDR5xx.
    Dns,
    /// RDR6xx.
    Ambient,
    /// RDR7xx.
    Connections,
    /// RDR8xx.
    Environment,
}

impl Group {
    /// All of them, in order.
    pub const ALL: [Self; 9] = [
        Self::Capture,
        Self::Loop,
        Self::Bypass,
        Self::Proxy,
        Self::Backends,
        Self::Dns,
        Self::Ambient,
        Self::Connections,
        Self::Environment,
    ];

    /// Its heading.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Loop => "loops",
            Self::Bypass => "bypasses",
            Self::Proxy => "proxy",
            Self::Backends => "families and backends",
            Self::Dns => "DNS",
            Self::Ambient => "ambient",
            Self::Connections => "live connections",
            Self::Environment => "environment",
        }
    }
}

/// Every finding, in order of work: what silences others comes before them.
#[rustfmt::skip] // One section for each step of work.
pub const ALL: &[&Kind] = &[
    // Which namespace it is.
    &rdr009::KIND,
    &rdr805::KIND,
    &rdr605::KIND,
    &rdr002::KIND,
    &rdr806::KIND,
    &rdr004::KIND,
    &rdr208::KIND,
    // Rules of all backends, and whether they are whole.
    &rdr601::KIND,
    &rdr001::KIND,
    &rdr608::KIND,
    &rdr010::KIND,
    &rdr003::KIND,
    &rdr012::KIND,
    &rdr401::KIND,
    &rdr404::KIND,
    &rdr405::KIND,
    &rdr407::KIND,
    &rdr406::KIND,
    &rdr408::KIND,
    &rdr011::KIND,
    &rdr005::KIND,
    // What runs in circles now.
    &rdr607::KIND,
    &rdr101::KIND,
    // Listeners.
    &rdr302::KIND,
    &rdr304::KIND,
    &rdr602::KIND,
    &rdr301::KIND,
    &rdr303::KIND,
    &rdr305::KIND,
    &rdr306::KIND,
    &rdr309::KIND,
    // Identities.
    &rdr102::KIND,
    &rdr104::KIND,
    &rdr103::KIND,
    &rdr801::KIND,
    &rdr201::KIND,
    &rdr202::KIND,
    &rdr210::KIND,
    // Packets: what bypasses, what is shadowed, both families, probes.
    &rdr203::KIND,
    &rdr206::KIND,
    &rdr204::KIND,
    &rdr006::KIND,
    &rdr402::KIND,
    &rdr007::KIND,
    &rdr211::KIND,
    &rdr403::KIND,
    &rdr409::KIND,
    &rdr008::KIND,
    &rdr307::KIND,
    &rdr808::KIND,
    &rdr207::KIND,
    &rdr205::KIND,
    &rdr212::KIND,
    // DNS.
    &rdr501::KIND,
    &rdr502::KIND,
    &rdr503::KIND,
    &rdr504::KIND,
    &rdr505::KIND,
    &rdr506::KIND,
    &rdr507::KIND,
    &rdr508::KIND,
    // Ambient.
    &rdr603::KIND,
    &rdr604::KIND,
    &rdr609::KIND,
    &rdr610::KIND,
    &rdr611::KIND,
    &rdr606::KIND,
    // Live connections.
    &rdr704::KIND,
    &rdr105::KIND,
    &rdr701::KIND,
    &rdr702::KIND,
    &rdr703::KIND,
    &rdr709::KIND,
    &rdr705::KIND,
    &rdr706::KIND,
    &rdr707::KIND,
    &rdr209::KIND,
    &rdr308::KIND,
    &rdr310::KIND,
    &rdr708::KIND,
    // The environment, which explains what was found.
    &rdr809::KIND,
    &rdr810::KIND,
    &rdr802::KIND,
    &rdr804::KIND,
    &rdr803::KIND,
    &rdr807::KIND,
];

impl Kind {
    /// What it is about.
    #[must_use]
    pub fn group(&self) -> Group {
        match self.id.as_bytes().get(3) {
            Some(b'1') => Group::Loop,
            Some(b'2') => Group::Bypass,
            Some(b'3') => Group::Proxy,
            Some(b'4') => Group::Backends,
            Some(b'5') => Group::Dns,
            Some(b'6') => Group::Ambient,
            Some(b'7') => Group::Connections,
            Some(b'8') => Group::Environment,
            _ => Group::Capture,
        }
    }

    /// The finding of an id, however it is written.
    #[must_use]
    pub fn of(id: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|kind| kind.id.eq_ignore_ascii_case(id))
    }

    /// One of this kind, at its usual severity; evidence is added by [`Finding::because`].
    fn found(&'static self, title: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding {
            kind: self,
            severity: self.severity,
            title: title.into(),
            evidence: Vec::new(),
            rule: None,
            remedy: remedy.into(),
        }
    }
}

impl Finding {
    /// With one more fact.
    #[must_use]
    fn because(mut self, fact: impl Into<String>) -> Self {
        self.evidence.push(fact.into());
        self
    }

    /// As bad as this.
    #[must_use]
    fn severity(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }

    /// About this rule.
    #[must_use]
    fn about(self, rule: Option<RuleRef>) -> Self {
        Self { rule, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_silences_a_finding_is_looked_for_before_it() {
        let at = |id: &str| ALL.iter().position(|kind| kind.id == id);
        for (place, kind) in ALL.iter().enumerate() {
            for id in kind.silenced_by {
                assert!(at(id).is_some_and(|other| other < place), "{id} does not come before {}", kind.id);
            }
        }
        let ids: std::collections::BTreeSet<&str> = ALL.iter().map(|kind| kind.id).collect();
        assert_eq!(ids.len(), ALL.len(), "each once");
    }
}
