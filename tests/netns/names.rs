//! Names in the kernel that are no text: it is asked for each by its bytes, and none is taken for another.

use std::path::Path;

use nslens::capture::rules::{Wanted, read};
use nslens::model::{Backend, Ruleset};
use nslens::syntax::write_save;

use crate::support::{Lab, require_root};

fn rules_of(text: &[u8]) -> Vec<Vec<u8>> {
    text.split(|byte| *byte == b'\n')
        .filter(|line| line.starts_with(b"-A") || line.starts_with(b":a"))
        .map(<[u8]>::to_vec)
        .collect()
}

#[test]
fn chains_devices_and_comments_of_any_bytes_are_read_as_the_tools_read_them() {
    if !require_root() {
        return;
    }
    for backend in [Backend::Legacy, Backend::Nft] {
        let program = if backend == Backend::Nft { "iptables-nft" } else { "iptables-legacy" };
        let lab = Lab::new();
        lab.sh(&format!(
            "a=$(printf 'a\\377') b=$(printf 'a\\376') c=$(printf 'a\\200') d=$(printf 'a\\303\\251')
             for name in \"$a\" \"$b\" \"$c\" \"$d\"; do {program} -N \"$name\"; done
             {program} -A \"$a\" -p udp -j DROP
             {program} -A \"$b\" -p tcp -o \"$b\" -j ACCEPT
             {program} -A OUTPUT -m comment --comment \"$a\" -j \"$b\"
             {program} -A INPUT -j \"$a\""
        ));
        let wanted = Wanted { backend: Some(backend), ipv6: false, ..Wanted::default() };
        let (rulesets, unread) = read(lab.netns(), Path::new("/proc"), wanted).expect("the namespace");
        assert!(unread.is_empty(), "{unread:?}");
        let [ruleset] = &rulesets[..] else { panic!("one rule set: {rulesets:?}") };
        assert_eq!(
            ruleset.tables.iter().flat_map(|table| &table.chains).map(|chain| chain.rules.len()).sum::<usize>(),
            4
        );
        let printed = |ruleset: &Ruleset| {
            let mut text = Vec::new();
            write_save(ruleset, "0", &mut text).expect("memory");
            rules_of(&text)
        };
        let saved = lab.command(&format!("{program}-save")).output().expect("the save program");
        assert_eq!(printed(ruleset), rules_of(&saved.stdout), "{program}");
    }
}
