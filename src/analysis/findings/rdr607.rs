//! Another agent wipes the mark bits.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::model::{RuleRef, Subject};

pub(super) const KIND: Kind = Kind {
    id: "RDR607",
    title: "Another agent uses or wipes the mark bits",
    severity: Severity::Error,
    page: Page {
        seen: "Loops, bypasses or drops after a CNI, a VPN or a debugger was installed or upgraded.",
        why: "A packet has one mark of 32 bits for everybody. Who sets the whole word, or restores it whole from the connection, destroys the \
              bits of others.",
        evidence: "The proxy's mark on what it sends, the mark of the connections that it opens to the application, and the mark of the answers \
                   on them are followed through the rules: one of them takes away bits that were there. Rules of the node do not matter: \
                   marks do not leave a namespace.",
        remedy: "Give that agent a mask, or other bits.",
        references: &[
            "aws/amazon-vpc-cni-k8s#3872",
            "tailscale/tailscale#591",
            "siderolabs/talos#5945",
            "projectcalico/felix#964",
            "metalbear-co/mirrord#2456",
        ],
    },
    silenced_by: &["RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if !case.is_ambient() || case.expected.mode.is_none() || case.unread(&[Subject::Rules]).is_some() {
        return;
    }
    let mut wiped: Vec<(RuleRef, Vec<String>)> = Vec::new();
    let mut note = |rule: Option<RuleRef>, fact: String| {
        let Some(rule) = rule else { return };
        match wiped.iter_mut().find(|(known, _)| *known == rule) {
            Some((_, facts)) => facts.push(fact),
            None => wiped.push((rule, vec![fact])),
        }
    };
    for ipv6 in case.families() {
        let family = if ipv6 { "IPv6" } else { "IPv4" };
        for (mark, mask) in case.proxy_marks() {
            if let Some(way) = case.own_mark(ipv6, (mark, mask)) {
                note(way.wiped, format!("{family}: what the proxy sends loses its mark {mark:#x}"));
            }
            let Some(connection) = case.connection_mark(ipv6, mark) else { continue };
            note(connection.wiped, format!("{family}: a connection that the proxy opens loses its mark"));
            let Some(given) = connection.last.filter(|given| *given != 0) else { continue };
            if let Some(answer) = case.answer_mark(ipv6, given) {
                note(answer.wiped, format!("{family}: answers on its connections lose the mark {given:#x}"));
            }
        }
    }
    for (rule, facts) in wiped {
        let finding = KIND.found(
            format!("{rule} takes away mark bits by which the proxy's packets are known"),
            "let what made that rule set its own bits alone, by a mask",
        );
        found.finding(facts.into_iter().fold(finding, super::Finding::because).about(Some(rule)));
    }
}
