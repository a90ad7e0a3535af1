//! Rules absent in a pod that claims to be meshed.

use super::{Kind, Page};
use crate::analysis::check::{Case, Demand, Found, Severity};
use crate::analysis::mesh::{Captured, Mesh};
use crate::model::Subject;

pub(super) const KIND: Kind = Kind {
    id: "RDR001",
    title: "Redirect rules are absent in a pod that claims to be meshed",
    severity: Severity::Error,
    page: Page {
        seen: "The pod runs and its proxy is well, but peers see no TLS, policies do nothing and telemetry stays empty. Or the pod \
               hangs in Init, with a validator that was refused.",
        why: "With a CNI plugin the rules are made once, when the pod's sandbox is made. A plugin that was not there at that moment, \
              on a new node, after a reboot or during an upgrade, makes none later.",
        evidence: "Metadata or processes name a mesh, and no rule in any backend and family sends TCP to a port of the namespace, in \
                   one direction or in both.",
        remedy: "Delete the pod so that its sandbox is made anew; a restart of containers is not enough. Let the mesh's CNI agent \
                 repair such pods, and keep pods off fresh nodes until it is ready.",
        references: &["istio/istio#14327", "istio/istio#21266", "linkerd/linkerd2#2970", "linkerd/linkerd2#11325"],
    },
    silenced_by: &["RDR009", "RDR208", "RDR002", "RDR004", "RDR601", "RDR605"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let expected = &case.expected;
    demanded(case, found);
    let Some(mesh) = expected.mesh.filter(|mesh| *mesh != Mesh::Custom) else { return };
    // What is missing in ambient mode has a finding of its own.
    if expected.mode.is_some() || found.has(KIND.id) || case.is_ambient() {
        return;
    }
    if let Some(why) = case.unread(&[Subject::Rules]) {
        return found.cannot_tell(&KIND, why);
    }
    let nothing = |captured: Captured| captured == Captured::Nothing;
    let missing = |outbound: bool| {
        expected
            .families
            .iter()
            .all(|family| nothing(if outbound { family.outbound.captured } else { family.inbound.captured }))
    };
    let direction = match (missing(true), missing(false)) {
        (true, true) => "outbound or inbound",
        (true, false) => "outbound",
        (false, true) => "inbound",
        (false, false) => return,
    };
    let name = expected.name.unwrap_or(mesh.word());
    let mut finding = KIND.found(
        format!("no rule redirects {direction} TCP, though this is a pod of {name}"),
        "delete the pod, so that its sandbox and its rules are made anew; then look why the mesh's CNI agent or init container made none",
    );
    for because in &expected.because {
        finding = finding.because(because.what.clone());
    }
    let read = case.snapshot.rulesets().iter().map(|ruleset| ruleset.tables.len()).sum::<usize>();
    found.finding(finding.because(format!(
        "{read} tables were read in {} rule sets, none sends TCP to a port of the namespace",
        case.snapshot.rulesets().len()
    )));
}

/// Somebody says that it is in a mesh, and nothing else does.
fn demanded(case: &Case<'_>, found: &mut Found) {
    let Some(demand) = case.asked.demand else { return };
    let title = match (demand, case.expected.mesh) {
        (_, None) => "no sign of a mesh, and redirection was demanded".to_owned(),
        (Demand::Mesh(wanted), Some(mesh)) if wanted != mesh => {
            format!("this is {}, and {} was demanded", mesh.word(), wanted.word())
        }
        _ => return,
    };
    let remedy = "look whether the injection was switched on for this pod and its namespace before the pod was made, then make it anew";
    found.finding(
        KIND.found(title, remedy).because("neither rules nor metadata nor processes tell of what was demanded"),
    );
}
