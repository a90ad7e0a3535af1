//! Real namespaces with real sockets, flows and rules; the kernel and its own tools (`ss`, `conntrack`, `ip`, `nft`) are the
//! oracles. Needs root; one namespace (or a pair) for each test, nothing in the machine's own.

#[path = "../support/grid.rs"]
mod corpus_grid;
#[path = "../support/coverage.rs"]
mod drawn;
#[path = "../support/mutants.rs"]
mod mutants;
#[path = "../support/netns.rs"]
mod support;
#[path = "../support/traffic.rs"]
mod traffic;

mod asked_packets;
mod below;
mod certain;
mod changing;
mod checked;
mod counted;
mod cross_check;
mod declared;
mod demo;
mod differences;
mod effects;
mod effects_sent;
mod evidence;
mod extensions;
mod families;
mod flows;
mod flows_made;
mod followed;
mod foreign;
mod grid;
mod groups;
mod interfaces;
mod joined;
mod listed;
mod looked_for;
mod manual;
mod maps;
mod names;
mod native;
mod oracle;
mod order;
mod owners;
mod owners_elsewhere;
mod permission;
mod questions;
mod received;
mod restored;
mod routes;
mod routes_asked;
mod rules;
mod sampled;
mod services;
mod sets;
mod shown;
mod sockets;
mod sockets_in_full;
mod texts;
mod tracked;
mod transparent;
mod untouched;
mod waiting;
mod watch;
mod ways;

use std::path::Path;

use nslens::capture::connections::read_into;
use nslens::model::{Kind, Snapshot, Workload};
use support::Lab;

/// All that is read of a lab.
fn look_at(lab: &Lab) -> Snapshot {
    let mut snapshot = Snapshot::of("node", 0, "netns/lab", Workload::named(Kind::Netns, "lab"));
    read_into(&mut snapshot, lab.netns(), Path::new("/proc"), false);
    snapshot
}

#[test]
fn no_file_of_this_folder_is_forgotten() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/netns");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("this folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "main") else {
            continue;
        };
        files += 1;
        let line = format!("\nmod {module};\n");
        assert!(include_str!("main.rs").contains(&line), "{name} is not part of the tests: `mod {module};` is missing");
    }
    assert!(files >= 7, "{files} files found where at least seven are");
}
