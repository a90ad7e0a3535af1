//! A sandboxed runtime: the kernel's rules are not the pod's.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};

/// Handlers of runtimes whose pods have a network of their own, as they usually are called.
const HANDLERS: [&str; 4] = ["runsc", "gvisor", "kata", "firecracker"];
/// Programs that such a pod runs in, as the kernel cuts their names.
const PROGRAMS: [&str; 5] = ["runsc", "qemu-system", "cloud-hypervis", "firecracker", "stratovirt"];

pub(super) const KIND: Kind = Kind {
    id: "RDR805",
    title: "A sandboxed runtime: the kernel's rules are not the pod's rules",
    severity: Severity::Info,
    page: Page {
        seen: "Rules look perfect from the node and the application is not intercepted, or the other way round.",
        why: "gVisor has a network of its own, and Kata a kernel: the namespace on the node only carries their packets.",
        evidence: "The runtime handler of the pod, or the programs that its processes are. Nothing else can be judged from the node then.",
        remedy: "Use the runtime's own tools, and look whether the mesh supports it.",
        references: &["google/gvisor#170", "google/gvisor#12685", "istio/istio#57678", "istio/istio#58573"],
    },
    silenced_by: &[],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let workload = &case.snapshot.workload;
    let of = |names: &[&str], name: &str| names.iter().any(|known| name.starts_with(known));
    let handler = workload.runtime_handler.as_ref().filter(|handler| of(&HANDLERS, handler));
    let own = || case.people.iter().filter(|person| !person.process.elsewhere);
    let program = own().find(|person| of(&PROGRAMS, &person.process.name));
    let fact = match (handler, program) {
        (Some(handler), _) => format!("its runtime handler is {handler}"),
        (None, Some(person)) => format!("it runs in {}", person.words()),
        (None, None) => return,
    };
    let title = "the pod is sandboxed: rules seen from the node are not the application's";
    let remedy = "look with the runtime's own tools, from within the sandbox";
    found.finding(KIND.found(title, remedy).because(fact));
    found.block(&KIND, "what the application's packets meet is inside of its sandbox");
}
