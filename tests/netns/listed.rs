//! nf_tables in nft's own words: what `-o nft` prints is what `nft list ruleset` prints.

use std::process::Stdio;

use crate::rules::{FAMILIES, cases, corpus, nslens, printed, without_comments};
use crate::support::{Lab, require_root};

/// Translations by which iptables' own code makes another thing of a rule than it is, by what they are of and how they begin: there
/// ours stands whole.
const MISTRANSLATED: [(&str, &[&str]); 17] = [
    ("xt match addrtype", &["fib "]),
    ("xt match cluster", &["jhash ct original saddr "]),
    ("xt match connlimit", &["add @connlimit"]),
    (
        "xt match conntrack",
        &[
            "ct status ",
            "ct direction original ct status ",
            "ct original protocol ",
            "ct direction original ct original protocol ",
            "ct state invalid ct status ",
        ],
    ),
    ("xt match devgroup", &["iifgroup != ", "iifgroup and "]),
    ("xt match ecn", &["tcp flags ", "ip ecn "]),
    ("xt match frag", &["frag "]),
    ("xt match hashlimit", &["meter "]),
    ("xt match helper", &["ct helper \"\"", "ct helper != \"\""]),
    ("xt match icmp", &["ip protocol icmp "]),
    ("xt match ipcomp", &["comp cpi "]),
    (
        "xt match multiport",
        &[
            "tcp sport . tcp dport ",
            "udp sport . udp dport {",
            "udplite sport . udplite dport {",
            "dccp sport . dccp dport {",
        ],
    ),
    ("xt match sctp", &["sctp "]),
    ("xt match time", &["meta hour ", " meta hour ", "meta time ", "meta day "]),
    ("xt target AUDIT", &["log level audit"]),
    (
        "xt target CONNMARK",
        &[
            "ct mark set ct mark xor ",
            "ct mark set mark and ",
            "ct mark set ( ct mark xor ",
            "meta mark set ct mark and ",
        ],
    ),
    ("xt target TOS", &["ip6 dscp set "]),
];

/// Matches of which iptables' translation may leave nothing at all.
const FORGOTTEN: [&str; 2] = ["xt match frag", "xt match time"];

/// Nft takes a comparison of both ports at once apart, which makes another thing of it where it is negated.
fn ports_apart(ours: &str) -> Option<String> {
    let (before, rest) = ours.split_once("@th,0,32 != 0x")?;
    let (start, protocol) = before.trim_end().rsplit_once("meta l4proto ")?;
    let (number, after) = rest.split_once(' ').unwrap_or((rest, ""));
    let number = u32::from_str_radix(number, 16).ok()?;
    let (source, destination) = (number >> 16, number & 0xffff);
    Some(format!("{start}{protocol} sport != {source} {protocol} dport != {destination} {after}"))
}

/// Whether a line of ours says what nft's does: the same, or whole what nft cuts short (`xt target TPROXY`) or gets wrong.
pub(crate) fn agrees(ours: &str, theirs: &str) -> bool {
    if ours == theirs || ports_apart(ours).as_deref() == Some(theirs) {
        return true;
    }
    let Some(at) = [ours.find("xt match "), ours.find("xt target ")].into_iter().flatten().min() else { return false };
    let (before, whole) = ours.split_at(at);
    let Some(rest) = theirs.strip_prefix(before) else { return false };
    let name: String = whole.split(' ').take(3).collect::<Vec<_>>().join(" ");
    let mut wrong = MISTRANSLATED.iter().filter(|(of, _)| *of == name).flat_map(|(_, words)| words.iter());
    let known = wrong.any(|words| rest.starts_with(words));
    // Where the options end is seen from what follows.
    let ends = |text: &str| -> Vec<usize> { text.match_indices(' ').map(|(at, _)| at).chain([text.len()]).collect() };
    ends(whole).into_iter().any(|end| {
        let (part, after) = whole.split_at(end);
        // A match without options stands as it is.
        if part == name && rest.strip_prefix(part).is_some_and(|rest| agrees(after, rest)) {
            return true;
        }
        let more = part.len() > name.len();
        match rest.strip_prefix(name.as_str()) {
            Some(rest) => more && agrees(after, rest),
            None if more && FORGOTTEN.contains(&name.as_str()) && agrees(after, rest) => true,
            None => more && known && ends(rest).into_iter().any(|end| agrees(after, &rest[end..])),
        }
    })
}

#[test]
fn a_line_agrees_only_where_ours_says_more() {
    assert!(agrees("a xt target CT --zone 1", "a xt target CT"));
    assert!(agrees("xt match owner --socket-exists counter accept", "xt match owner counter accept"));
    assert!(agrees("xt target CONNMARK --set-xmark 0x1/0xf", "ct mark set ct mark xor 0x1 and 0xfffffff0"));
    assert!(!agrees("xt target CT --zone 1", "notrack"));
    assert!(!agrees("xt target CT --zone 1 accept", "xt target CT drop"));
    assert!(!agrees("xt target CT", "xt target TPROXY"));
    assert!(!agrees("xt target CT --zone 1", "ct mark set ct mark xor 0x1 and 0xfffffff0"));
}

/// Compares line by line; the lines in which ours says more.
fn compare(ours: &str, theirs: &str, what: &str) -> usize {
    let (ours, theirs): (Vec<&str>, Vec<&str>) = (ours.lines().collect(), theirs.lines().collect());
    for (line, wanted) in ours.iter().zip(&theirs) {
        assert!(agrees(line, wanted), "{what}\n ours: {line}\n nft: {wanted}");
    }
    assert_eq!(ours.len(), theirs.len(), "{what}");
    ours.iter().zip(&theirs).filter(|(line, wanted)| line != wanted).count()
}

#[test]
#[expect(clippy::print_stdout, reason = "the counts are wanted, with --nocapture")]
fn every_corpus_case_of_nf_tables_is_listed_as_nft_lists_it() {
    if !require_root() {
        return;
    }
    let Some(folder) = corpus() else { return };
    let (mut written, mut native, mut whole) = (0, 0, 0);
    let mut read_back = |lab: &Lab, what: &str| {
        let theirs = lab.sh("nft list ruleset");
        let ours = printed(lab, &["rules", "-o", "nft"]);
        whole += compare(&ours, &theirs, what);
        let file = tempfile::NamedTempFile::new().expect("a file");
        printed(lab, &["snapshot", "-f", file.path().to_str().expect("a path")]);
        let again = std::process::Command::new(env!("CARGO_BIN_EXE_nslens"))
            .args(["rules", &format!("file/{}", file.path().display()), "-o", "nft"])
            .output()
            .expect("nslens runs");
        assert_eq!(String::from_utf8_lossy(&again.stdout), ours, "{what} from a snapshot");
    };
    for path in cases(&folder, "rules") {
        let (program, _) = FAMILIES[usize::from(path.to_string_lossy().contains(".v6."))];
        let lab = Lab::new();
        let restored = lab.command(&format!("{program}-nft-restore")).arg(&path).output().expect("restore");
        if restored.status.success() {
            read_back(&lab, &path.display().to_string());
            written += 1;
        }
    }
    for path in cases(&folder, "nft") {
        let lab = Lab::new();
        if lab.command("nft").arg("-f").arg(&path).output().expect("nft").status.success() {
            read_back(&lab, &path.display().to_string());
            native += 1;
        }
    }
    println!("{written} cases of iptables-nft and {native} of nft; {whole} lines say more than nft's");
    assert!(written >= 131 && native >= 34, "{written} and {native}: fewer than load");
}

#[test]
fn a_save_text_of_iptables_nft_is_listed_as_its_table_is() {
    if !require_root() {
        return;
    }
    let Some(folder) = corpus() else { return };
    let mut compared = 0;
    for path in cases(&folder, "rules") {
        let (program, family) = FAMILIES[usize::from(path.to_string_lossy().contains(".v6."))];
        let lab = Lab::new();
        let restored = lab.command(&format!("{program}-nft-restore")).arg(&path).output().expect("restore");
        if !restored.status.success() {
            continue;
        }
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), lab.sh(&format!("{program}-nft-save -c 2>/dev/null"))).expect("written");
        let text = std::process::Command::new(env!("CARGO_BIN_EXE_nslens"))
            .args(["rules", &format!("file/{}", file.path().display()), family, "-o", "nft"])
            .stdin(Stdio::null())
            .output()
            .expect("nslens runs");
        let rules = |text: &str| -> Vec<String> {
            let mut rules: Vec<String> = text
                .lines()
                .filter(|line| line.starts_with("\t\t") && line.contains("counter"))
                .map(str::to_owned)
                .collect();
            rules.sort();
            rules
        };
        let live = printed(&lab, &["rules", family, "-o", "nft"]);
        assert_eq!(rules(&String::from_utf8_lossy(&text.stdout)), rules(&live), "{}", path.display());
        compared += 1;
    }
    assert!(compared >= 131, "only {compared}");
}

#[test]
fn nothing_of_legacy_is_in_the_list_and_that_is_said() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    lab.sh("iptables-legacy -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001
        nft add table inet t");
    let output = nslens(&lab, &["rules", "-o", "nft"]);
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "table inet t {\n}\n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("legacy"));
}

#[test]
fn every_match_and_target_is_listed_as_nft_lists_it_or_whole() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    lab.sh("iptables-nft -t nat -N X; iptables-nft -N Y");
    let (mut added, mut refused) = (0, Vec::new());
    for line in include_str!("../fixtures/save/matches.txt").lines().filter(|line| !line.starts_with('#')) {
        let (table, rule) = line.split_once(' ').expect("a table and a rule");
        let script = format!("iptables-nft -t {table} -A {rule}");
        match lab.command("sh").args(["-c", &script]).output().expect("sh runs").status.success() {
            true => added += 1,
            false => refused.push(line),
        }
    }
    assert!(added >= 95, "only {added} rules were taken; not {refused:?}");
    compare(&printed(&lab, &["rules", "-o", "nft"]), &lab.sh("nft list ruleset"), "matches.txt");
    let theirs = lab.sh("iptables-nft-save 2>/dev/null");
    let ours = printed(&lab, &["rules", "-4", "--backend", "nft", "-o", "save"]);
    assert_eq!(without_comments(&ours), without_comments(&theirs));
}
