//! Rule sets that change while they are read: each answer is one of the states that there were, or says that they kept changing.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nslens::capture::rules::{Wanted, read};
use nslens::model::{Backend, Body, Ruleset};

use crate::support::{Lab, require_root};

/// How long the writer replaces the whole set; a minute where `NSLENS_LONG` is set.
fn time() -> Duration {
    Duration::from_secs(if std::env::var_os("NSLENS_LONG").is_some() { 60 } else { 3 })
}

/// A whole set of so many chains, every rule of which sets the same mark.
fn set(mark: u32, chains: usize) -> String {
    let names = || (0..chains).map(|chain| format!("C{mark}-{chain:03}"));
    let made: String = names().map(|name| format!(":{name} - [0:0]\n")).collect();
    let jumps: String = names().map(|name| format!("-A OUTPUT -j {name}\n")).collect();
    let rules = |name: String| {
        (1..4).map(move |port| format!("-A {name} -p tcp -m tcp --dport {port} -j MARK --set-mark {mark}\n"))
    };
    let rules: String = names().flat_map(rules).collect();
    format!("*mangle\n{made}{jumps}{rules}COMMIT\n")
}

/// The mark that all rules set, and how many do; `None` where there are no rules yet.
fn state(rulesets: &[Ruleset]) -> Option<(String, usize)> {
    let tables = rulesets.iter().flat_map(|ruleset| &ruleset.tables);
    let rules = tables.flat_map(|table| &table.chains).flat_map(|chain| &chain.rules);
    let text = |body: &Body| match body {
        Body::Xt(rule) => rule.options(),
        Body::Nft(_) => panic!("a rule of iptables is read as one of nft's"),
    };
    let marks: Vec<String> =
        rules.filter_map(|rule| Some(text(&rule.body).split_once("--set-xmark ")?.1.to_owned())).collect();
    let first = marks.first()?.clone();
    assert!(marks.iter().all(|mark| *mark == first), "two states in one answer");
    Some((first, marks.len()))
}

/// Ends the writer.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads again and again while a program replaces the set; how often a state was seen, and how often it was said to change.
fn watched(program: &str, backend: Backend, chains: usize) -> (usize, usize) {
    let lab = Lab::new();
    let files = tempfile::tempdir().expect("a folder");
    let paths: Vec<PathBuf> = [1, 2].map(|mark| files.path().join(mark.to_string())).to_vec();
    for (mark, path) in (1..).zip(&paths) {
        std::fs::write(path, set(mark, chains)).expect("written");
    }
    let wanted = Wanted { backend: Some(backend), ipv6: false, expressions: false, ..Wanted::default() };
    let done = AtomicBool::new(false);
    let (mut seen, mut changing) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for path in paths.iter().cycle().take_while(|_| !done.load(Ordering::Relaxed)) {
                lab.command(program).arg(path).output().expect("restore");
            }
        });
        // Also where the reader fails.
        let _ends = Ends(&done);
        let begun = Instant::now();
        while begun.elapsed() < time() {
            let (rulesets, unread) = read(lab.netns(), Path::new("/proc"), wanted).expect("the namespace");
            match unread.as_slice() {
                [] => {
                    if let Some((_, rules)) = state(&rulesets) {
                        assert_eq!(rules, 3 * chains, "half a state");
                        seen += 1;
                    }
                }
                [one] => {
                    assert!(one.error.contains("changed each time"), "{one:?}");
                    changing += 1;
                }
                more => panic!("{more:?}"),
            }
        }
    });
    (seen, changing)
}

#[test]
#[expect(clippy::print_stdout, reason = "the counts are wanted, with --nocapture")]
fn a_set_that_is_replaced_all_the_time_is_read_whole_or_not_at_all() {
    if !require_root() {
        return;
    }
    // So many chains are read on two sockets side by side.
    for (program, backend, chains) in [
        ("iptables-nft-restore", Backend::Nft, 5),
        ("iptables-nft-restore", Backend::Nft, 100),
        ("iptables-legacy-restore", Backend::Legacy, 100),
    ] {
        let (seen, changing) = watched(program, backend, chains);
        println!("{program}, {chains} chains: {seen} states, {changing} times changing");
        assert!(seen + changing > 3, "{program}, {chains} chains: read {seen} times, {changing} times changing");
    }
}

#[test]
fn what_is_not_kept_makes_no_difference_to_what_is_read() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    // The last rule of one chain is none of iptables', and stands alone; many chains are read on two sockets.
    let many: String = (0..100).map(|chain| format!("-N C{chain:03}\n-A C{chain:03} -p udp -j DROP\n")).collect();
    lab.sh(&format!(
        "iptables-nft-restore <<'END'\n*filter\n{many}-A INPUT -p tcp --dport 80 -j ACCEPT\n-A OUTPUT -j DROP\nCOMMIT\nEND
         nft add rule ip filter INPUT numgen random mod 2 0 drop"
    ));
    let of = |expressions: bool| {
        let wanted = Wanted { expressions, ..Wanted::default() };
        let (mut rulesets, unread) = read(lab.netns(), Path::new("/proc"), wanted).expect("the namespace");
        assert!(unread.is_empty(), "{unread:?}");
        let tables = rulesets.iter_mut().flat_map(|ruleset| &mut ruleset.tables);
        let rules = tables.flat_map(|table| &mut table.chains).flat_map(|chain| &mut chain.rules);
        let kept = rules.filter_map(|rule| rule.native.take()).count();
        (rulesets, kept)
    };
    let ((with, kept), (without, none)) = (of(true), of(false));
    assert_eq!((kept, none), (102, 0));
    assert_eq!(with, without);
    let table = with.iter().find_map(|ruleset| ruleset.table("filter")).expect("the table");
    let input = &table.chain("INPUT").expect("INPUT").rules;
    assert!(matches!((&input[0].body, &input[1].body), (Body::Xt(_), Body::Nft(_))), "{input:?}");
    let names: Vec<&str> = table.chains.iter().filter(|chain| chain.hook.is_none()).map(|chain| &*chain.name).collect();
    assert!(names.len() == 100 && names.is_sorted(), "{names:?}");
}
