//! A second opinion: what the node's own `iptables-save` and its kin print of tables that exist already.
//!
//! The one place that starts other programs. The save programs are asked rather than `iptables -S`, which makes tables and base
//! chains that are not there (iptables-nft(8), seen with 1.8.9).

use std::io;

use crate::model::{Backend, Family, Printed, Ruleset, Table};
use crate::sys::netns::Netns;

/// A namespace that was entered, to be entered again.
pub use crate::sys::netns::Netns as Namespace;

/// The tables of iptables; the save programs know no others.
const TABLES: [&str; 5] = ["filter", "nat", "mangle", "raw", "security"];

/// Asks the programs about every table of iptables in these rule sets.
///
/// # Errors
/// The namespace cannot be entered.
pub fn ask(netns: &Netns, rulesets: &[Ruleset]) -> io::Result<Vec<Printed>> {
    let known = |table: &&Table| TABLES.contains(&table.name.as_str());
    let mut wanted: Vec<(Backend, Family, &str)> = Vec::new();
    for ruleset in rulesets.iter().filter(|ruleset| matches!(ruleset.family, Family::Ip | Family::Ip6)) {
        let tables = ruleset.tables.iter().filter(known);
        wanted.extend(tables.map(|table| (ruleset.backend, ruleset.family, table.name.as_str())));
    }
    // Programs that a thread starts run in the thread's own namespace.
    netns.enter(|| {
        let mut programs: Vec<((Backend, Family), Found)> = Vec::new();
        let mut printed = Vec::new();
        for (backend, family, table) in wanted {
            let known = programs.iter().find(|(of, _)| *of == (backend, family)).map(|(_, found)| found.clone());
            let found = known.unwrap_or_else(|| {
                let found = program(backend, family, table);
                programs.push(((backend, family), found.clone()));
                found
            });
            let (program, version, text) = match found {
                Some((program, version)) => (Some(program), version, run(program, table, "")),
                None => (None, None, Err("there is no such program".to_owned())),
            };
            printed.push(Printed { backend, family, table: table.to_owned(), program, version, text });
        }
        printed
    })
}

/// A program, and what it says of its version.
type Found = Option<(&'static str, Option<String>)>;

/// The program for a subsystem and family: the one that is named for it, else the plain one if that is of this subsystem.
fn program(backend: Backend, family: Family, table: &str) -> Found {
    let (named, plain) = match (backend, family) {
        (Backend::Legacy, Family::Ip6) => ("ip6tables-legacy-save", "ip6tables-save"),
        (Backend::Legacy, _) => ("iptables-legacy-save", "iptables-save"),
        (Backend::Nft, Family::Ip6) => ("ip6tables-nft-save", "ip6tables-save"),
        (Backend::Nft, _) => ("iptables-nft-save", "iptables-save"),
    };
    let version = |program| run(program, table, "-V").ok().and_then(|text| version(&text));
    if there(named) {
        return Some((named, version(named)));
    }
    if !there(plain) {
        return None;
    }
    // Before 1.8 there was but one subsystem, and no word for it.
    let said = version(plain);
    let nft = said.as_ref().is_some_and(|said| said.contains("nf_tables"));
    (nft == (backend == Backend::Nft)).then_some((plain, said))
}

/// `iptables-save v1.8.9 (nf_tables)`: from the `v` on.
fn version(text: &str) -> Option<String> {
    let (_, version) = text.lines().next()?.split_once(' ')?;
    version.starts_with('v').then(|| version.trim().to_owned())
}

#[cfg(feature = "via-iptables")]
fn asked(program: &'static str) -> iptables::IPTables {
    // Made by hand: the crate's own maker starts `iptables`, whichever that is, and knows no save program.
    iptables::IPTables { cmd: program, has_check: false, has_wait: false, is_numeric: false }
}

/// Whether the program can be started.
#[cfg(feature = "via-iptables")]
fn there(program: &'static str) -> bool {
    !matches!(
        asked(program).execute("filter", "-V").map_err(|error| error.downcast::<io::Error>()),
        Err(Ok(error)) if error.kind() == io::ErrorKind::NotFound
    )
}

/// What the program prints of a table.
#[cfg(feature = "via-iptables")]
fn run(program: &'static str, table: &str, options: &str) -> Result<String, String> {
    let output = asked(program).execute(table, options).map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if !output.status.success() {
        return Err(format!("{}: {}", output.status, text(&output.stderr)));
    }
    // Warnings stand in comment lines, on either stream.
    let warnings: String =
        text(&output.stderr).lines().map(|line| format!("# {}\n", line.trim_start_matches("# "))).collect();
    Ok(format!("{warnings}{}\n", text(&output.stdout)))
}

#[cfg(not(feature = "via-iptables"))]
fn there(_program: &'static str) -> bool {
    false
}

#[cfg(not(feature = "via-iptables"))]
fn run(_program: &'static str, _table: &str, _options: &str) -> Result<String, String> {
    Err("this nslens was built without the feature via-iptables".to_owned())
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn a_version_begins_with_v() {
        assert_eq!(version("iptables-save v1.8.9 (nf_tables)\n").as_deref(), Some("v1.8.9 (nf_tables)"));
        assert_eq!(version("iptables-save v1.6.1\n").as_deref(), Some("v1.6.1"));
        assert_eq!(version("Unknown option\n"), None);
    }
}
