//! Rules against the programs that wrote them: what `iptables-*-restore` loads, `-o save` prints as `iptables-*-save` does.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Lab, require_root};

/// The two families: `iptables` or `ip6tables`, and the option of nslens.
pub(crate) const FAMILIES: [(&str, &str); 2] = [("iptables", "-4"), ("ip6tables", "-6")];

pub(crate) fn nslens(lab: &Lab, arguments: &[&str]) -> Output {
    let target = format!("pid/{}", lab.pid());
    let (command, rest) = arguments.split_first().expect("a command");
    let program = std::process::Command::new(env!("CARGO_BIN_EXE_nslens")).arg(command).arg(target).args(rest).output();
    program.expect("nslens runs")
}

/// The text of a run that must succeed.
pub(crate) fn printed(lab: &Lab, arguments: &[&str]) -> String {
    let output = nslens(lab, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

pub(crate) fn without_comments(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with('#')).collect()
}

/// The corpus, or `None` where the machine has none and none was named.
#[expect(clippy::print_stderr, reason = "what did not run is said loudly")]
pub(crate) fn corpus() -> Option<PathBuf> {
    let named = std::env::var_os("NSLENS_CORPUS").map(PathBuf::from);
    let folder = named.clone().unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus"));
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(named.is_none(), "NSLENS_CORPUS names {}, which is no folder", folder.display());
    eprintln!("NOT RUN: there is no corpus at {}; name one with NSLENS_CORPUS", folder.display());
    None
}

/// Files of the corpus of this kind, mesh by mesh.
pub(crate) fn cases(folder: &Path, kind: &str) -> Vec<PathBuf> {
    let list = |folder: &Path| -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> =
            std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
        found.sort();
        found
    };
    let meshes = list(folder).into_iter().filter(|path| path.is_dir() && !path.ends_with("saved"));
    meshes.flat_map(|mesh| list(&mesh)).filter(|path| path.extension().is_some_and(|found| found == kind)).collect()
}

#[test]
#[expect(clippy::print_stdout, reason = "the count is wanted, with --nocapture")]
fn every_corpus_case_prints_as_the_save_program_prints_it() {
    if !require_root() {
        return;
    }
    let Some(folder) = corpus() else { return };
    let mut compared = 0;
    for path in cases(&folder, "rules") {
        let ipv6 = path.to_string_lossy().contains(".v6.");
        let (program, family) = FAMILIES[usize::from(ipv6)];
        for backend in ["legacy", "nft"] {
            let lab = Lab::new();
            let restored = lab.command(&format!("{program}-{backend}-restore")).arg(&path).output().expect("restore");
            if !restored.status.success() {
                continue; // kept in the corpus on purpose: it loads nowhere
            }
            let theirs = lab.sh(&format!("{program}-{backend}-save 2>/dev/null"));
            let ours = printed(&lab, &["rules", family, "--backend", backend, "-o", "save"]);
            let (theirs, ours) = (without_comments(&theirs), without_comments(&ours));
            assert_eq!(ours, theirs, "{} in {backend}", path.display());
            compared += 1;
        }
    }
    println!("{compared} cases compared");
    assert!(compared >= 262, "only {compared} cases: fewer than load");
}

#[test]
fn all_backends_and_families_stand_one_after_the_other() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    for (program, _) in FAMILIES {
        for (backend, port) in [("legacy", 81), ("nft", 82)] {
            lab.sh(&format!("{program}-{backend} -t nat -A OUTPUT -p tcp --dport {port} -j REDIRECT --to-ports 15001"));
        }
    }
    let programs = ["iptables-legacy-save", "ip6tables-legacy-save", "iptables-nft-save", "ip6tables-nft-save"];
    let theirs: String = programs.iter().map(|program| lab.sh(&format!("{program} 2>/dev/null"))).collect();
    let ours = printed(&lab, &["rules", "-o", "save"]);
    assert_eq!(without_comments(&ours), without_comments(&theirs));
    assert!(theirs.contains("--dport 81") && theirs.contains("--dport 82"), "{theirs}");
}

#[test]
fn counters_are_the_kernels() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    lab.sh("ip link set lo up
        iptables-nft -t filter -A OUTPUT -p icmp -j ACCEPT
        iptables-legacy -t filter -A OUTPUT -p icmp -j ACCEPT");
    lab.netns()
        .enter(|| {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
            // Nobody listens there: the kernel answers with ICMP, which both rules count.
            for _ in 0..3 {
                socket.send_to(b"x", "127.0.0.1:9").expect("sent");
            }
        })
        .expect("entered");
    let document: serde_json::Value =
        serde_json::from_str(&printed(&lab, &["rules", "-4", "-o", "json"])).expect("JSON");
    let counted = |backend: &str| -> Vec<u64> {
        let rulesets = document["rulesets"].as_array().expect("rule sets");
        let ours = rulesets.iter().filter(|ruleset| ruleset["backend"] == backend);
        let chains = ours.flat_map(|ruleset| ruleset["tables"][0]["chains"].as_array().expect("chains"));
        chains
            .flat_map(|chain| chain["rules"].as_array().expect("rules"))
            .map(|r| r["packets"].as_u64().expect("n"))
            .collect()
    };
    assert_eq!(counted("nft"), counted("legacy"));
    assert!(counted("nft")[0] >= 1, "{document}");
}

#[test]
fn a_set_that_changes_while_it_is_read_is_read_whole() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let whole = |mark: u32| {
        let rules: String =
            (0..40).map(|port| format!("-A OUTPUT -p tcp -m tcp --dport {port} -j MARK --set-mark {mark}\n")).collect();
        format!("*mangle\n:OUTPUT ACCEPT [0:0]\n{rules}COMMIT\n")
    };
    let files = tempfile::tempdir().expect("a folder");
    let paths: Vec<PathBuf> = [1, 2].map(|mark| files.path().join(mark.to_string())).to_vec();
    for (mark, path) in (1..).zip(&paths) {
        std::fs::write(path, whole(mark)).expect("written");
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for path in paths.iter().cycle() {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                lab.command("iptables-nft-restore").arg(path).output().expect("restore");
            }
        });
        let mut seen = 0;
        for _ in 0..60 {
            let text = printed(&lab, &["rules", "-4", "--backend", "nft", "-o", "save"]);
            let marks: Vec<&str> = text.lines().filter_map(|line| line.split("--set-xmark ").nth(1)).collect();
            if let Some(first) = marks.first() {
                seen += 1;
                assert_eq!(marks.len(), 40, "half a set");
                assert!(marks.iter().all(|mark| mark == first), "two sets in one: {marks:?}");
            }
        }
        done.store(true, Ordering::Relaxed);
        assert!(seen > 10, "the set was seen {seen} times only");
    });
}

#[test]
fn asking_for_rules_makes_no_table_and_changes_none() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let state = || {
        let file = |name: &str| std::fs::read_to_string(format!("/proc/{}/net/{name}", lab.pid())).unwrap_or_default();
        let lists = [file("ip_tables_names"), file("ip6_tables_names"), lab.sh("nft -a list ruleset")];
        let lock = std::fs::metadata("/run/xtables.lock").and_then(|lock| lock.modified()).ok();
        (lists, lab.sh("iptables-legacy-save -c | grep -v '^#' || true"), lock)
    };
    let look = || {
        for form in ["table", "wide", "json", "save"] {
            printed(&lab, &["rules", "--all", "-o", form]);
        }
    };
    let before = state();
    look();
    assert_eq!(state(), before);
    lab.sh("iptables-legacy -t nat -A OUTPUT -p tcp --dport 81 -j REDIRECT --to-ports 15001
        ip6tables-nft -t mangle -A OUTPUT -j MARK --set-mark 3");
    let before = state();
    assert_eq!(before.0[0], "nat\n");
    look();
    assert_eq!(state(), before);
}

#[test]
fn a_missing_capability_is_named_and_nothing_is_called_empty() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    lab.sh("iptables-legacy -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001");
    let target = format!("pid/{}", lab.pid());
    let run = |drop: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--bounding-set", drop, "--inh-caps", drop, "--", env!("CARGO_BIN_EXE_nslens")]);
        let output = command.args(arguments).arg(&target).output().expect("setpriv runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, out, _) = run("-net_admin", &["rules"]);
    assert_eq!(code, Some(4), "{out}");
    assert!(out.contains("could not read legacy ip nat") && out.contains("could not read nft"), "{out}");
    assert!(!out.contains("no redirect rules"), "{out}");
    let (code, _, error) = run("-sys_admin", &["rules"]);
    assert_eq!(code, Some(4), "{error}");
    assert!(error.contains("CAP_SYS_ADMIN"), "{error}");
    let (code, _, error) = run("-sys_ptrace", &["rules"]);
    assert_eq!(code, Some(4), "{error}");
    assert!(error.contains("CAP_SYS_PTRACE"), "{error}");
    // Root of a user namespace has every capability there, and none here.
    let program = env!("CARGO_BIN_EXE_nslens");
    let output = std::process::Command::new("unshare").args(["-Ur", program, "rules", &target]).output();
    let output = output.expect("unshare runs");
    let error = String::from_utf8_lossy(&output.stderr);
    if !error.contains("unshare failed") {
        assert_eq!(output.status.code(), Some(4), "{error}");
        assert!(error.contains("this root is one of a user namespace"), "{error}");
    }
}

#[test]
fn matches_that_iptables_nft_writes_as_expressions_are_read_as_it_reads_them() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    for rule in [
        "-p tcp --sport 1000 --dport 2000 -j ACCEPT",
        "-p udp --sport 5:6 ! --dport 2000 -j ACCEPT",
        "-p tcp --sport :5 -j DROP",
        "-p tcp ! --sport :5 -j DROP",
        "-p tcp --sport 5:6 --dport :7 -j DROP",
        "-p udp --sport 60000: ! --dport :60000 -j DROP",
        "-m limit --limit 3/min -j LOG --log-prefix x",
        "-m limit --limit 60/min --limit-burst 9 -j ACCEPT",
        "-m limit --limit 7/hour -j ACCEPT",
        "-m limit --limit 1/day -j ACCEPT",
        "-p tcp --tcp-flags SYN,ACK SYN -j DROP",
        "-s 10.0.0.0/12 ! -d 10.1.2.3/255.0.255.0 -i eth+ -f -p ipip -j DROP",
        "-m mark ! --mark 0x1/0xff -m comment --comment \"a 'b' \\\"c\\\"\" -j RETURN",
    ] {
        lab.sh(&format!("iptables-nft -A INPUT {rule}"));
    }
    let theirs = lab.sh("iptables-nft-save 2>/dev/null");
    let ours = printed(&lab, &["rules", "-4", "--backend", "nft", "-o", "save"]);
    assert_eq!(without_comments(&ours), without_comments(&theirs));
}

#[test]
fn a_chain_that_iptables_cannot_express_is_said_to_be_missing() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    lab.sh("iptables-nft -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001
        nft add chain ip nat mine '{ type nat hook output priority -50; }'
        nft add rule ip nat mine tcp dport 80 redirect to :1");
    let output = nslens(&lab, &["rules", "-4", "--backend", "nft", "-o", "save"]);
    assert_eq!(output.status.code(), Some(5), "a part is missing");
    let (text, note) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains(":mine") && text.contains("--to-ports 15001"), "{text}");
    assert!(note.contains("ip nat mine"), "{note}");
}

#[test]
fn what_iptables_takes_is_written_so_that_it_can_be_restored() {
    if !require_root() {
        return;
    }
    for backend in ["nft", "legacy"] {
        let lab = Lab::new();
        let save = || nslens(&lab, &["rules", "-4", "--backend", backend, "-o", "save"]);
        let restored = |text: &[u8]| {
            let file = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(file.path(), text).expect("written");
            let restore = lab.command(&format!("iptables-{backend}-restore")).arg("-t").arg(file.path()).output();
            restore.expect("restore").status.success()
        };
        lab.sh(&format!("iptables-{backend} -A INPUT -p tcp --dport 80 -m limit --limit 3/min -j DROP"));
        let output = save();
        assert!(output.status.success() && restored(&output.stdout), "{backend}");
        lab.sh(&format!(
            "iptables-{backend} -F
            name=$(printf 'a\\377')
            iptables-{backend} -A INPUT -p tcp -m recent --set --name $name -j DROP
            iptables-{backend} -A INPUT -p tcp -m helper --helper $name -m recent --rcheck --name $name -j DROP
            iptables-{backend} -t mangle -A OUTPUT -p tcp -j LOG --log-prefix $name"
        ));
        // Names are bytes: they are written as they are.
        let output = save();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let theirs = lab.command(&format!("iptables-{backend}-save")).output().expect("it runs").stdout;
        let lines = |text: &[u8]| -> Vec<Vec<u8>> {
            text.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"#")).map(<[u8]>::to_vec).collect()
        };
        assert_eq!(lines(&output.stdout), lines(&theirs), "{backend}");
    }
}

#[test]
fn a_dormant_table_redirects_nothing() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    lab.sh("iptables-nft -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001");
    assert!(printed(&lab, &["rules"]).contains("Outbound TCP goes to 15001"));
    lab.sh("nft add table ip nat '{ flags dormant; }'");
    let text = printed(&lab, &["rules"]);
    assert!(text.contains("no redirect rules"), "{text}");
    let text = printed(&lab, &["rules", "--all"]);
    assert!(text.contains("dormant: not in force"), "{text}");
}
