//! Files that are no snapshot and no save, by accident or by malice: each is refused fast, with words, and in bounded memory.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::program::{Folder, Run, command, fixture, nslens, say, text_of, with_input};

/// Longer than any refusal takes, also unoptimised and on a busy machine.
const SOON: Duration = Duration::from_secs(30);

fn refused(input: &[u8], words: &[&str]) -> Run {
    let start = Instant::now();
    let run = with_input(&["rules", "-"], input);
    let shown = String::from_utf8_lossy(&input[..input.len().min(60)]);
    assert_eq!(run.code, 2, "{shown:?}\n{}{}", run.out, run.err);
    assert_eq!(run.out, "");
    assert!(start.elapsed() < SOON, "{shown:?} took {:?}", start.elapsed());
    for word in words {
        assert!(run.err.contains(word), "{shown:?}: {word:?} is missing in {}", run.err);
    }
    run
}

fn gz(parts: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for part in parts {
        encoder.write_all(&part).expect("memory");
    }
    encoder.finish().expect("memory")
}

#[test]
fn other_versions_and_other_json() {
    let of = |schema: Value| json!({"schema": schema}).to_string();
    refused(of(json!("nslens.snapshot/v2")).as_bytes(), &["version", "v2", "hint: "]);
    refused(of(json!("nslens.snapshot/v1\u{1b}[31m")).as_bytes(), &["version"]);
    refused(of(json!("nslens.rules/v1")).as_bytes(), &["nslens.rules/v1", "hint: "]);
    refused(of(json!(7)).as_bytes(), &["snapshot"]);
    refused(b"{}", &["schema"]);
    refused(br#"{"nftables": [{"metainfo": {"version": "1.0.6"}}]}"#, &["JSON"]);
    refused(b"[]", &[]);
    refused(b"null", &[]);
    let run = refused(of(json!("nslens.snapshot/v9\u{1b}[31m")).as_bytes(), &[]);
    assert!(!run.err.contains('\u{1b}'));
}

#[test]
fn a_cut_snapshot_anywhere() {
    let text = text_of("snapshot/plain.json");
    for tenth in 1..10 {
        let end = text.len() * tenth / 10;
        refused(&text.as_bytes()[..end], &["damaged or cut", "hint: "]);
    }
    refused(format!("{text}{text}").as_bytes(), &["damaged"]);
}

#[test]
fn wrong_types_missing_keys_and_huge_numbers() {
    let wrong: [fn(&mut Value); 14] = [
        |file| file["taken"] = json!("now"),
        |file| file["taken"] = json!(1e300),
        |file| file["taken"] = json!(-1),
        |file| file["workload"] = Value::Null,
        |file| file["workload"]["pid"] = json!(4_294_967_296_u64),
        |file| file["rulesets"] = json!({}),
        |file| file["rulesets"][0]["backend"] = json!("ebtables"),
        |file| file["rulesets"][0]["tables"][0]["chains"][0]["rules"][0] = json!({}),
        |file| file["rulesets"][0]["tables"][0]["chains"][0]["rules"][0]["text"] = json!("stray"),
        |file| file["rulesets"][0]["tables"][0]["chains"][0]["rules"][0]["text"] = json!("-j \"open"),
        |file| {
            file["rulesets"][1]["tables"][0]["chains"][0]["rules"][0]["nft"]["expressions"][0] =
                json!({"unknown": {"name": "x", "data": "0g"}})
        },
        |file| file["sockets"][0]["local"] = json!("example.org:80"),
        |file| file["sockets"][0]["local"] = json!("10.0.0.1:65536"),
        |file| file.as_object_mut().map(|file| file.remove("unread")).map_or((), drop),
    ];
    for (number, change) in wrong.into_iter().enumerate() {
        let mut file: Value = serde_json::from_str(&text_of("snapshot/plain.json")).expect("JSON");
        change(&mut file);
        let run = refused(file.to_string().as_bytes(), &["damaged"]);
        assert!(run.err.lines().count() <= 4, "case {number}: {}", run.err);
    }
    let text = text_of("snapshot/plain.json");
    let huge = format!("\"taken\": {}", "9".repeat(100_000));
    refused(text.replace("\"taken\": 1790000000", &huge).as_bytes(), &["damaged"]);
}

#[test]
fn brackets_without_end() {
    const DEEP: usize = 100_000;
    let text = text_of("snapshot/plain.json");
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = format!("{}1{}", open.repeat(DEEP), close.repeat(DEEP));
        refused(format!("{{\"schema\": {nested}}}").as_bytes(), &[]);
        refused(format!("{{\"x\": {nested}}}").as_bytes(), &["schema"]);
        refused(text.replace("\"taken\": 1790000000", &format!("\"taken\": {nested}")).as_bytes(), &["damaged"]);
        refused(
            format!("{{\"schema\": \"nslens.snapshot/v1\", \"more\": {}", open.repeat(DEEP)).as_bytes(),
            &["damaged"],
        );
        refused(nested.as_bytes(), &[]);
    }
    let negations = format!("*nat\n-A OUTPUT {}-p tcp -j DROP\nCOMMIT\n", "! ".repeat(DEEP));
    with_input(&["rules", "-"], negations.as_bytes());
}

#[test]
fn keys_that_later_versions_add_are_left_alone() {
    let mut file: Value = serde_json::from_str(&text_of("snapshot/plain.json")).expect("JSON");
    file["sysctls"] = json!({"net.ipv4.ip_forward": "1"});
    file["workload"]["mesh"] = json!("istio");
    let run = with_input(&["rules", "-"], file.to_string().as_bytes()).ended(0);
    assert_eq!(run.out, nslens(&["rules", &fixture("snapshot/plain.json")]).out);
}

#[test]
fn damaged_compression() {
    let whole = gz(std::iter::once(text_of("snapshot/plain.json").into_bytes()));
    let folder = Folder::new();
    let file = folder.put("whole.json.gz", &whole);
    assert_eq!(nslens(&["rules", &file]).ended(0).out, nslens(&["rules", &fixture("snapshot/plain.json")]).out);
    for end in [2, 5, 10, whole.len() / 2, whole.len() - 8, whole.len() - 1] {
        refused(&whole[..end], &["compressed", "hint: "]);
    }
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0xff;
    refused(&flipped, &[]);
    refused(&gz(std::iter::empty()), &["empty"]);
}

#[test]
fn a_small_file_that_unpacks_to_much() {
    const MEBIBYTE: usize = 1 << 20;
    let zeros = gz(std::iter::repeat_n(vec![0; MEBIBYTE], 1024));
    assert!(zeros.len() < 8 * MEBIBYTE);
    let folder = Folder::new();
    let bomb = folder.put("bomb.json.gz", &zeros);
    let start = Instant::now();
    let run = limited(&bomb, 1 << 30);
    assert_eq!(run.0, Some(2), "{}", run.1);
    assert!(run.1.contains("more than 256 MiB"), "{}", run.1);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[test]
fn text_that_grows_when_it_is_understood() {
    let text = text_of("snapshot/plain.json");
    let (before, after) = text.split_once("\"rules\": [").expect("rules");
    let snapshot = format!("{before}\"rules\": [");
    // Each of these is small on disk, below the limit when unpacked, and many times larger as values.
    let lists = format!("-A OUTPUT -s {0} -d {0} -j DROP\n", vec!["10.0.0.1"; 3000].join(","));
    for (head, body, times, tail) in [
        ("*nat\n", "-A OUTPUT\n".repeat(100_000), 40, "COMMIT\n"),
        ("*nat\n", "\n".repeat(1 << 20), 50, "COMMIT\n"),
        ("*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT", " -f".repeat(300_000), 40, "\nCOMMIT\n"),
        ("*nat\n-A OUTPUT -m comment --comment \"", "a\n".repeat(500_000), 40, "\" -j DROP\nCOMMIT\n"),
        ("*nat\n", lists, 1, "COMMIT\n"),
        (&snapshot, "{\"text\":\"-f\"},".repeat(100_000), 22, after),
    ] {
        let parts = std::iter::once(head.as_bytes().to_vec());
        let parts =
            parts.chain(std::iter::repeat_n(body.clone().into_bytes(), times)).chain([tail.as_bytes().to_vec()]);
        let folder = Folder::new();
        let file = folder.put("a.rules.gz", gz(parts));
        let start = Instant::now();
        let (code, said) = limited(&file, 3 << 29);
        let shown = &body[..20];
        assert!(matches!(code, Some(0 | 2 | 5)), "{shown:?} × {times}: {code:?} {said}");
        assert!(start.elapsed() < 4 * SOON, "{shown:?} × {times} took {:?}", start.elapsed());
    }
}

/// Runs `rules -o save` on a file with this much address space; exit code and what was said on stderr.
fn limited(file: &str, bytes: u64) -> (Option<i32>, String) {
    let mut command = command(&["rules", file, "-o", "save"]);
    let limit = nix::sys::resource::Resource::RLIMIT_AS;
    #[expect(unsafe_code, reason = "setrlimit(2) is what keeps the child small, and is safe between fork and exec")]
    // SAFETY: the closure makes one system call and touches no memory of the parent's.
    unsafe {
        command.pre_exec(move || nix::sys::resource::setrlimit(limit, bytes, bytes).map_err(Into::into));
    }
    let output = command.stdout(Stdio::null()).output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn bytes_that_are_no_text() {
    refused(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0", &[]);
    refused(&[0xff; 4096], &["neither a snapshot nor text", "hint: "]);
    refused(&[0; 4096], &[]);
    refused(b"{\"schema\": \"\xe9\"}", &["neither a snapshot nor text"]);
    // Comments and names may be any bytes.
    let saved = b"*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -m comment --comment \"caf\xe9\" -j ACCEPT\nCOMMIT\n";
    assert_eq!(with_input(&["rules", "-"], saved).code, 0);
    let program = std::fs::read(env!("CARGO_BIN_EXE_nslens")).expect("the program");
    refused(&program, &[]);
}

#[test]
fn places_that_are_no_file() {
    let folder = Folder::new();
    let missing = nslens(&["rules", &folder.path("none.json")]).ended(3);
    assert!(missing.err.contains("none.json") && missing.err.contains("No such file"), "{}", missing.err);
    let run = nslens(&["rules", &folder.path("")]).ended(2);
    assert!(run.err.contains("folder"), "{}", run.err);
    let empty = folder.put("empty.rules", "");
    let run = nslens(&["rules", &empty]).ended(2);
    assert!(run.err.contains("empty"), "{}", run.err);
    nslens(&["rules", "file//dev/null"]).ended(2);
    let endless = nslens(&["rules", "/dev/zero"]).ended(2);
    assert!(endless.err.contains("more than 256 MiB"), "{}", endless.err);
}

#[test]
fn a_file_that_may_not_be_read() {
    use std::os::unix::fs::PermissionsExt;
    if nix::unistd::geteuid().is_root() {
        say("NOT TESTED as root: a file that may not be read");
        return;
    }
    let folder = Folder::new();
    let file = folder.put("secret.json", text_of("snapshot/plain.json"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).expect("one's own file");
    let run = nslens(&["rules", &file]).ended(4);
    assert!(run.err.contains("secret.json") && run.err.contains("Permission denied"), "{}", run.err);
}
