//! The main road: a meshed pod's name, its rules, its connections and their owners, the same from a file, and differences.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::connections;
use crate::mesh::{Mesh, Writer, without_comments};
use crate::netns_of;
use crate::program::{Answer, changes, nslens, outside};
use crate::runtimes::{CriLab, DockerLab, Node, PLANTED, run};

/// What the fixture's rules do, in a sentence.
const SENTENCE: &str = "Outbound TCP goes to 15001, inbound TCP to 15006, except from UID/GID 1337. \
                        Left alone too: inbound to ports 15008, 15020, 15021 and 15090. IPv6: the same.";

#[test]
fn from_a_docker_pods_name_to_its_connections_and_back_from_a_file() {
    let Some(lab) = DockerLab::start() else { return };
    whole_road(&lab);
}

#[test]
fn from_a_containerd_pods_name_to_its_connections_and_back_from_a_file() {
    let Some(lab) = CriLab::start() else { return };
    whole_road(&lab);
}

fn whole_road(lab: &impl Node) {
    for (name, writer) in [("productpage", Writer::Nft), ("reviews", Writer::Legacy)] {
        let mesh = Mesh::run(lab, name, "default", writer);
        mesh.converse();
        let rules = rules(&mesh);
        saved_rules(&mesh);
        screen(&mesh);
        let conns = nslens(mesh.place(), &["conns", &mesh.target(), "-o", "json"]).ended(0).json();
        identity(&mesh, &conns);
        connections::check(&mesh, &conns);
        let file = snapshot(&mesh);
        resolver(&mesh, &file);
        the_same_from_a_file(&mesh, &file, &rules, &conns);
        differences(&mesh, &file);
    }
}

/// Who it is, at the head of every document.
fn identity<N: Node>(mesh: &Mesh<'_, N>, document: &Value) {
    let target = &document["target"];
    assert_eq!((&target["asked"], &target["kind"]), (&json!(mesh.target()), &json!("pod")), "{target}");
    assert_eq!((&target["name"], &target["namespace"]), (&json!(mesh.name), &json!(mesh.namespace)), "{target}");
    assert_eq!((&target["runtime"], &target["host_network"]), (&json!(N::RUNTIME), &json!(false)), "{target}");
    assert_eq!(target["pid"], json!(mesh.pod.pids["app"]), "{target}");
    assert_eq!(target["netns"]["inode"], json!(netns_of(mesh.place(), mesh.pod.pids["app"])), "{target}");
    let host = run(mesh.place().inside("uname").arg("-n"));
    assert_eq!((&document["node"], &target["node"]), (&json!(host.trim()), &json!(host.trim())));
    assert_eq!(document["unread"], json!([]));
}

/// The document of `rules`: whole, in order, with the counters that the kernel has.
fn rules<N: Node>(mesh: &Mesh<'_, N>) -> Value {
    let document = nslens(mesh.place(), &["rules", &mesh.target(), "-o", "json"]).ended(0).json();
    assert_eq!(document["schema"], json!("nslens.rules/v1"));
    identity(mesh, &document);
    assert_eq!(document["summary"], json!(SENTENCE));
    for family in ["ip", "ip6"] {
        let of = |backend: &str| -> Vec<Value> {
            let sets = document["rulesets"].as_array().into_iter().flatten();
            let set = sets.filter(|set| set["backend"] == backend && set["family"] == family);
            set.flat_map(|set| set["tables"].as_array().cloned().unwrap_or_default()).collect()
        };
        let other = if mesh.writer == Writer::Nft { "legacy" } else { "nft" };
        assert_eq!(of(other), Vec::<Value>::new(), "{other} has none");
        let tables = of(mesh.writer.word());
        assert_eq!(tables.iter().map(|table| &table["name"]).collect::<Vec<_>>(), ["nat"], "{tables:?}");
        let chains = tables[0]["chains"].as_array().expect("chains");
        let mut lines = Vec::new();
        for chain in chains {
            for (index, rule) in chain["rules"].as_array().expect("rules").iter().enumerate() {
                assert_eq!((&rule["number"], &rule["unknown"]), (&json!(index + 1), &json!([])), "{rule}");
                assert!(rule["means"].is_string(), "{rule}");
                lines.push(format!("[{}:{}] {}", rule["packets"], rule["bytes"], rule["text"].as_str().unwrap_or("")));
            }
        }
        let mut wanted = mesh.saved(family, &["--counters"]);
        wanted.retain(|line| line.starts_with('['));
        assert_eq!(lines, wanted);
        let hooked = chains.iter().filter(|chain| chain["hook"].is_string());
        let hooks: Vec<&Value> = hooked.map(|chain| &chain["hook"]).collect();
        assert_eq!(hooks, ["prerouting", "input", "output", "postrouting"]);
    }
    document
}

/// `-o save` is what the save programs print in the namespace.
fn saved_rules<N: Node>(mesh: &Mesh<'_, N>) {
    let [ip, ip6] = ["ip", "ip6"].map(|family| mesh.saved(family, &[]));
    let both = [ip.clone(), ip6.clone()].concat();
    let (backend, target) = (mesh.writer.word(), mesh.target());
    for (options, wanted) in [
        (&["-4"][..], &ip),
        (&["-6"], &ip6),
        (&[], &both),
        (&["--backend", backend, "-6"], &ip6),
        (&["--backend", if backend == "nft" { "legacy" } else { "nft" }], &Vec::new()),
    ] {
        let words = [&["rules", &target, "-o", "save"], options].concat();
        let answer = nslens(mesh.place(), &words).ended(0);
        let changes = changes(wanted, &without_comments(&answer.stdout));
        assert!(
            changes.is_empty(),
            "{words:?}: the save program's (-), nslens's (+)
{}",
            changes.join(
                "
"
            )
        );
        assert_eq!(answer.stderr, "");
    }
}

/// What a person sees first and last.
fn screen<N: Node>(mesh: &Mesh<'_, N>) {
    let answer = nslens(mesh.place(), &["rules", &mesh.target()]).ended(0);
    let (pid, inode) = (mesh.pod.pids["app"], netns_of(mesh.place(), mesh.pod.pids["app"]));
    let head = format!(
        "pod {} · namespace {} · {} · PID {pid} · netns {inode}\ncontainers app, istio-proxy\n",
        mesh.name,
        mesh.namespace,
        N::RUNTIME
    );
    assert!(answer.stdout.starts_with(&head), "{answer:#?}");
    let output = format!("\nOUTPUT · nat · {} · ipv4\n", mesh.writer.title());
    assert!(answer.stdout.contains(&output), "{answer:#?}");
    let (_, sentence) = answer.stdout.trim_end().rsplit_once("\n\n").expect("a last paragraph");
    assert_eq!(sentence.replace('\n', " "), SENTENCE);
    let too_wide = answer.stdout.lines().find(|line| line.chars().count() > 80);
    assert_eq!((too_wide, answer.stdout.contains('\x1b')), (None, false), "80 columns, no escapes in a pipe");
    let table = nslens(mesh.place(), &["conns", &mesh.target()]).ended(0).stdout;
    assert!(table.contains(" · app · UID 1000") && table.contains(" · istio-proxy · UID 1337"), "{table}");
}

/// Writes one, readable by its owner only and without a secret, and looks at its bytes.
fn snapshot<N: Node>(mesh: &Mesh<'_, N>) -> PathBuf {
    // The lab's folder is seen inside and outside under the same path.
    let folder = mesh.place().folder();
    let (packed, plain) = (format!("{}.json.gz", mesh.name), format!("{}.json", mesh.name));
    for name in [&packed, &plain] {
        let path = folder.join(name);
        let words = ["snapshot", &mesh.target(), "-f", path.to_str().expect("a path")];
        let answer = nslens(mesh.place(), &words).ended(0).said("saved to ");
        assert_eq!(answer.stdout, "");
        assert_eq!(
            std::fs::metadata(&path).expect("the file").permissions().mode() & 0o7777,
            0o600,
            "{}",
            path.display()
        );
    }
    let bytes = std::fs::read(folder.join(&packed)).expect("the file");
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).expect("gzip");
    for bytes in [&bytes, text.as_bytes(), &std::fs::read(folder.join(&plain)).expect("the file")] {
        let found = bytes.windows(PLANTED.len()).any(|window| window == PLANTED.as_bytes());
        assert!(!found, "a secret is in the file");
    }
    let document: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(document["schema"], json!("nslens.snapshot/v1"));
    let proxy = &document["workload"]["containers"][1];
    assert_eq!(proxy["environment"], json!({"ISTIO_META_INTERCEPTION_MODE": "REDIRECT"}));
    assert_eq!(document["workload"]["labels"]["app"], json!(mesh.name));
    assert!(document["workload"]["annotations"]["sidecar.istio.io/status"].is_string());
    folder.join(packed)
}

/// The name servers that the snapshot has are those of the container's own file.
fn resolver<N: Node>(mesh: &Mesh<'_, N>, file: &Path) {
    let snapshot = outside(&["snapshot", file.to_str().expect("a path")]).ended(0).json();
    let own = mesh.place().sh(&format!("cat /proc/{}/root/etc/resolv.conf", mesh.pod.pids["app"]));
    let servers: Vec<&str> = own.lines().filter_map(|line| line.strip_prefix("nameserver ")).map(str::trim).collect();
    assert_eq!(snapshot["resolver"]["nameservers"], json!(servers), "{own}");
}

/// On another machine, without the pod and without its runtime.
fn the_same_from_a_file<N: Node>(mesh: &Mesh<'_, N>, file: &Path, rules: &Value, conns: &Value) {
    let file = file.to_str().expect("a path");
    let elsewhere = |words: &[&str]| outside(&[words, &[file]].concat()).ended(0);
    let unasked = |document: &Value| {
        let mut document = document.clone();
        document["target"]["asked"].take();
        // What moves on between two looks: the milliseconds since something happened.
        for row in document["connections"].as_array_mut().into_iter().flatten() {
            row["details"]["timer"].take();
            for clock in ["last_sent", "last_received", "last_acknowledged", "rtt", "rtt_deviation"] {
                row["details"]["tcp"][clock].take();
            }
        }
        document
    };
    for (command, live) in [("rules", rules), ("conns", conns)] {
        let saved = elsewhere(&[command, "-o", "json"]).json();
        assert_eq!(saved["target"]["asked"], json!(file));
        assert_eq!(unasked(&saved), unasked(live), "{command}");
    }
    let target = mesh.target();
    for words in [
        &["rules"][..],
        &["rules", "--all"],
        &["rules", "-o", "wide"],
        &["rules", "-o", "save"],
        &["conns"],
        &["conns", "-o", "wide"],
        &["conns", "--all"],
    ] {
        let live = nslens(mesh.place(), &[words, &[&target]].concat()).ended(0);
        let lines = |answer: &Answer| -> Vec<String> { answer.stdout.lines().map(str::to_owned).collect() };
        let changes = changes(&lines(&live), &lines(&elsewhere(words)));
        assert!(changes.is_empty(), "{words:?}: live (-), from a file (+)\n{}", changes.join("\n"));
    }
}

/// `diff` of a pod with its own file, with its like, and with its like once a rule is missing there.
fn differences<N: Node>(mesh: &Mesh<'_, N>, file: &Path) {
    let (target, file) = (mesh.target(), file.to_str().expect("a path"));
    let diff = |words: &[&str]| -> Answer { nslens(mesh.place(), &[&["diff"], words].concat()) };
    for words in [&[&target, file][..], &[file, &target, "--rules", "--conns"]] {
        let answer = diff(words).ended(0);
        assert!(answer.stdout.contains("rules: equal\n"), "{answer:#?}");
    }
    let name = format!("{}-next", mesh.name);
    let next = Mesh::run(mesh.lab, &name, mesh.namespace, mesh.writer);
    let other = next.target();
    let document = diff(&[&target, &other, "-o", "json"]).ended(0).json();
    assert_eq!((&document["equal"], &document["rules"]), (&json!(true), &json!([])), "{document}");

    let rule = "-m owner --uid-owner 1337 -j RETURN";
    let program = format!("iptables-{}", mesh.writer.word());
    let mut delete = next.beside(&program);
    run(delete.args(["-w", "10", "-t", "nat", "-D", "ISTIO_OUTPUT"]).args(rule.split(' ')));
    let answer = diff(&[&target, &other]).ended(1);
    let place = format!("@@ ISTIO_OUTPUT · nat · {program} · ipv4 @@\n-   4 -A ISTIO_OUTPUT {rule}\n");
    let (patch, sentences) = answer.stdout.split_once("\nbefore: ").expect("what it means");
    let effect = patch.strip_prefix(&format!("--- {target}\n+++ {other}\n{place}"));
    let effect = effect.unwrap_or_else(|| panic!("{patch}"));
    // By GID it is exempt still: what it does under another one comes back to it.
    assert!(effect.starts_with("@@ outgoing TCP, IPv4 @@\n  UID 1337"), "{effect}");
    assert!(effect.contains("but not GID 1337") && effect.contains("\n+ → 127.0.0.1:15001"), "{effect}");
    assert_eq!(effect.matches("@@ ").count(), 1, "{effect}");
    let (before, after) = sentences.split_once("\nafter: ").expect("both");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(before).contains("except from UID/GID 1337"), "{before}");
    assert!(words(after).contains("except from GID 1337"), "{after}");
    let document = diff(&[file, &other, "-o", "json"]).ended(1).json();
    assert_eq!(document["equal"], json!(false));
    let [change] = document["rules"].as_array().expect("changes").as_slice() else { panic!("one change: {document}") };
    assert_eq!(change["before"], json!(format!("-A ISTIO_OUTPUT {rule}")), "{change}");
    assert_eq!((&change["after"], &change["rule"]["number"]), (&json!(null), &json!(4)), "{change}");
    // What is missing is said, and what it leads to: it is by GID that the proxy is still exempt.
    let answer = nslens(mesh.place(), &["rules", &other]).ended(0);
    assert!(answer.stdout.contains("except from GID 1337"), "{answer:#?}");
}
