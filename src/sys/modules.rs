//! Whether a kernel subsystem is there already. To ask a subsystem that is not loaded makes the kernel load it, and looking
//! changes nothing, so it is looked up first.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Whether the kernel subsystem `module` (underscores) is built in or loaded.
///
/// Sources, cheapest first: no `/proc/modules` (a kernel without modules never loads one), the loaded modules,
/// `/sys/module`, the running kernel's `modules.builtin`, at last a known `symbol` in `/proc/kallsyms`.
#[must_use]
pub fn present(proc_root: &Path, module: &str, symbol: &str) -> bool {
    let Ok(loaded) = fs::read_to_string(proc_root.join("modules")) else {
        return true;
    };
    if loaded.lines().any(|line| line.split(' ').next() == Some(module))
        || Path::new("/sys/module").join(module).exists()
    {
        return true;
    }
    built_in(proc_root, module).unwrap_or_else(|| in_symbols(proc_root, symbol))
}

/// What `modules.builtin` says; `None` where the running kernel's list is not on this file system.
fn built_in(proc_root: &Path, module: &str) -> Option<bool> {
    let release = fs::read_to_string(proc_root.join("sys/kernel/osrelease")).ok()?;
    let list = fs::read_to_string(format!("/lib/modules/{}/modules.builtin", release.trim())).ok()?;
    let mut names = list.lines().filter_map(|line| line.rsplit('/').next()?.strip_suffix(".ko"));
    Some(names.any(|name| name.replace('-', "_") == module))
}

fn in_symbols(proc_root: &Path, symbol: &str) -> bool {
    let Ok(symbols) = File::open(proc_root.join("kallsyms")) else {
        return false;
    };
    let mut lines = BufReader::new(symbols).lines().map_while(Result::ok);
    lines.any(|line| line.split(' ').nth(2).is_some_and(|name| name.split('\t').next() == Some(symbol)))
}
