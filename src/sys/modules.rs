//! Whether a kernel subsystem is there already. To ask a subsystem that is not loaded makes the kernel load it, and looking
//! changes nothing, so it is looked up first.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Whether the kernel subsystem `module` (underscores) is built in or loaded.
///
/// Sources, cheapest first: no `/proc/modules` (a kernel without modules never loads one), the loaded modules,
/// `/sys/module`, the running kernel's `modules.builtin`, at last a known `symbol` in `/proc/kallsyms`.
///
/// `/sys` and `/lib` are those that lie beside the given `/proc`: below another root they are that root's.
///
/// What was seen once is not looked up again, and what is built in is looked up once: a sweep over a node asks for each of its
/// namespaces, and the symbols of a kernel are many megabytes. What is loaded meanwhile is noticed.
#[must_use]
pub fn present(proc_root: &Path, module: &str, symbol: &str) -> bool {
    static SEEN: Mutex<BTreeMap<(PathBuf, String), bool>> = Mutex::new(BTreeMap::new());
    let key = (proc_root.to_owned(), module.to_owned());
    let seen = || SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = seen().get(&key).copied();
    if known == Some(true) {
        return true;
    }
    let present = loaded(proc_root, module)
        || known.is_none() && built_in(proc_root, module).unwrap_or_else(|| in_symbols(proc_root, symbol));
    seen().insert(key, present);
    present
}

/// Loaded at this moment, or the kernel loads nothing: it has what it has.
fn loaded(proc_root: &Path, module: &str) -> bool {
    let Ok(loaded) = fs::read_to_string(proc_root.join("modules")) else {
        return true;
    };
    loaded.lines().any(|line| line.split(' ').next() == Some(module))
        || beside(proc_root, "sys/module").join(module).exists()
}

/// What `modules.builtin` says; `None` where the running kernel's list is not on this file system.
fn built_in(proc_root: &Path, module: &str) -> Option<bool> {
    let release = fs::read_to_string(proc_root.join("sys/kernel/osrelease")).ok()?;
    let list = beside(proc_root, "lib/modules").join(release.trim()).join("modules.builtin");
    let list = fs::read_to_string(list).ok()?;
    let mut names = list.lines().filter_map(|line| line.rsplit('/').next()?.strip_suffix(".ko"));
    Some(names.any(|name| name.replace('-', "_") == module))
}

fn beside(proc_root: &Path, folder: &str) -> PathBuf {
    proc_root.parent().unwrap_or(Path::new("/")).join(folder)
}

fn in_symbols(proc_root: &Path, symbol: &str) -> bool {
    let Ok(symbols) = File::open(proc_root.join("kallsyms")) else {
        return false;
    };
    let mut lines = BufReader::new(symbols).lines().map_while(Result::ok);
    lines.any(|line| line.split(' ').nth(2).is_some_and(|name| name.split('\t').next() == Some(symbol)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root with these files.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        root
    }

    fn there(files: &[(&str, &str)]) -> bool {
        present(&root(files).path().join("proc"), "nf_tables", "nf_tables_newtable")
    }

    #[test]
    fn each_source_can_say_that_it_is_there() {
        let release = ("proc/sys/kernel/osrelease", "6.1.0\n");
        let loaded = ("proc/modules", "nf_conntrack 1 0 - Live 0x0\nnf_tables 1 0 - Live 0x0\n");
        let nothing = ("proc/modules", "nf_tables_set 1 0 - Live 0x0\n");
        assert!(there(&[]), "a kernel that loads nothing has what it has");
        assert!(there(&[loaded]));
        assert!(there(&[nothing, ("sys/module/nf_tables/refcnt", "0")]));
        let list = ("lib/modules/6.1.0/modules.builtin", "kernel/net/netfilter/nf-tables.ko\n");
        assert!(there(&[nothing, release, list]));
        assert!(there(&[nothing, ("proc/kallsyms", "0 t nf_tables_newtable\n")]));
    }

    #[test]
    fn this_machine_does_not_answer_for_another() {
        let nothing = ("proc/modules", "nf_tables_set 1 0 - Live 0x0\n");
        let release = ("proc/sys/kernel/osrelease", "6.1.0\n");
        assert!(!there(&[nothing]));
        assert!(!there(&[nothing, ("proc/kallsyms", "0 t nf_tables_newtable2\n")]));
        // The list of what is built in is the last word where it is there.
        let list = ("lib/modules/6.1.0/modules.builtin", "kernel/net/ipv4/tcp_diag.ko\n");
        assert!(!there(&[nothing, release, list, ("proc/kallsyms", "0 t nf_tables_newtable\n")]));
    }

    #[test]
    fn symbols_are_read_once_and_what_is_loaded_later_is_noticed() {
        let root = root(&[("proc/modules", "nf_tables_set 1 0 - Live 0x0\n"), ("proc/kallsyms", "")]);
        let proc_root = root.path().join("proc");
        let there = || present(&proc_root, "nf_tables", "nf_tables_newtable");
        assert!(!there());
        // A kernel's symbols of what is built in do not change; here they do, to see whether they are read again.
        fs::write(proc_root.join("kallsyms"), "0 t nf_tables_newtable\n").expect("a file");
        assert!(!there(), "they were read again");
        fs::write(proc_root.join("modules"), "nf_tables 1 0 - Live 0x0\n").expect("a file");
        assert!(there());
    }
}
