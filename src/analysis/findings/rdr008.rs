//! What is nested takes the wrong path.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Going, Severity};
use crate::analysis::trace::Question;
use crate::model::Endpoint;
use crate::packet::DeviceName;
use crate::packet::state::NEW;
use std::net::{IpAddr, Ipv4Addr};

pub(super) const KIND: Kind = Kind {
    id: "RDR008",
    title: "Traffic of nested containers or VMs takes the wrong path",
    severity: Severity::Warning,
    page: Page {
        seen: "Builds in Docker within the pod, or a virtual machine, lose the network; or what they send out shows as \
              inbound.",
        why: "Packets from a bridge in the pod are forwarded: they never meet OUTPUT, but do meet PREROUTING, where \
              the inbound redirect takes them.",
        evidence: "The namespace forwards, it has an interface of its own besides its way out, and a packet that enters \
              there for somewhere outside is sent to the proxy: asked of the rules.",
        remedy: "Name the interface to the mesh as a virtual one (kubevirtInterfaces, excludeInterfaces); names that a \
              guest asks for need a rule of their own.",
        references: &["istio/istio#10378", "istio/istio#11321", "istio/istio#44996", "kubevirt/kubevirt#5200"],
    },
    silenced_by: &["RDR009", "RDR001"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if !case.expected.captures_something() || !case.forwards() {
        return;
    }
    let out = case.own_address(false);
    for interface in case.snapshot.interfaces.iter().flatten().filter(|interface| interface.up && !interface.loopback) {
        let of_it = interface.addresses.iter().find_map(|(address, _)| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        });
        let (Some(own), Some(device)) = (of_it, DeviceName::new(&interface.name)) else { continue };
        if out == Some(IpAddr::from(own)) {
            continue;
        }
        let guest = Ipv4Addr::from(u32::from(own) ^ 2);
        let question = Question {
            incoming: true,
            source: Some(guest.into()),
            interface: Some(device),
            state: Some(NEW),
            ..Question::to(Endpoint::new(case.outside(false), case.port()))
        };
        if let Going::Proxy { port, rule, .. } = case.going(&question) {
            let finding = KIND.found(
                format!("what comes from {} and is for others is sent to port {port} of the proxy", interface.name),
                format!("name {} to the mesh as an interface of guests, or leave it out", interface.name),
            );
            let by = rule.as_ref().map_or_else(String::new, |rule| format!(", by {rule}"));
            found.finding(
                finding
                    .because(format!("a connection from {guest} to {} ends there{by}", case.outside(false)))
                    .about(rule),
            );
        }
    }
}
