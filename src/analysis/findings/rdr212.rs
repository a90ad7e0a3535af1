//! The address of cloud metadata.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::model::Flow;
use std::net::{IpAddr, Ipv4Addr};

/// Of machines, and of AWS tasks.
const ADDRESSES: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2))];

pub(super) const KIND: Kind = Kind {
    id: "RDR212",
    title: "Cloud metadata address captured (or silently exempt)",
    severity: Severity::Info,
    page: Page {
        seen: "Calls for credentials to 169.254.169.254 or 169.254.170.2 fail within the mesh, or go past it \
              unexpectedly.",
        why: "App Mesh leaves these addresses alone by itself, Istio and Linkerd do not; a filter on egress then \
              refuses them.",
        evidence: "Live connections or tracked ones to one of these addresses, and whether rules capture them.",
        remedy: "Leave these addresses alone, or allow them in the policy of egress.",
        references: &["aws/aws-app-mesh-controller-for-k8s#600", "aws/aws-app-mesh-roadmap#131"],
    },
    silenced_by: &["RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if !case.expected.captures_something() {
        return;
    }
    for address in ADDRESSES {
        let flows = case.snapshot.flows.iter().flatten();
        let theirs: Vec<&Flow> = flows.filter(|flow| flow.original.1.address == address).collect();
        let Some(first) = theirs.first() else { continue };
        let (what, does) = match first.reply.0 == first.original.1 {
            true => ("goes past the proxy", format!("{} goes there as it is", first.original.0)),
            false => ("goes through the proxy", format!("{} is sent to {}", first.original.0, first.reply.0)),
        };
        let finding = KIND.found(
            format!("what is asked of the cloud's metadata at {address} {what}"),
            format!("where credentials fail, look whether {address} is to be left alone or to be allowed"),
        );
        found.finding(finding.because(does));
    }
}
