//! Reading many rules, against the tools that wrote them and against the kernel's own cost, pair by pair: `cargo bench --bench
//! rules_at_scale` (as root). What the figures are and how the floors were found: docs/design/speed.md.
//!
//! Called again by itself with `bare-nft`, `bare-legacy` or `peak`, it is the floor that is compared with, or tells how much memory
//! a command took.
#![expect(clippy::print_stdout, reason = "it prints its figures")]

#[path = "../tests/support/netns.rs"]
#[expect(dead_code, reason = "the benchmark needs a part of the tests' labs")]
mod netns;

mod pairs;

use std::fmt::Write;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use netns::Lab as Place;
use nix::sys::resource::{UsageWho, getrusage};
use nslens::demo::{Lab, Variant};
use nslens::sys::netlink::{DUMP, NETFILTER, NetlinkSocket};
use nslens::sys::xt_sockopt::XtSocket;
use nslens::wire::nf_tables::{GET_RULE, rules_of};
use pairs::{headings, pair, pairs};

/// The program: `NSLENS_PROGRAM`, to measure the static one that is handed out, else the one just built.
static NSLENS: LazyLock<String> =
    LazyLock::new(|| std::env::var("NSLENS_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_nslens").to_owned()));
/// Pairs of commands that take a second or so.
const FEW: usize = 9;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["bare-nft", table, chain] => return bare_nft(table, chain),
        ["bare-legacy", table] => return bare_legacy(table),
        ["peak", program, arguments @ ..] => return peak(program, arguments),
        _ => {}
    }
    if !nix::unistd::geteuid().is_root() {
        println!("NOT RUN: it needs root");
        return;
    }
    headings();
    ordinary();
    legacy();
    nft();
    chains();
    sets();
}

fn command(program: &str, arguments: &str) -> Command {
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace());
    command
}

/// This program itself, inside.
fn bare(pid: u32, arguments: &str) -> Command {
    let own = std::env::current_exe().unwrap_or_default();
    let mut command = command("nsenter", &format!("-t {pid} -n"));
    command.arg(own).args(arguments.split_whitespace());
    command
}

/// The kernel's part of reading a chain: the same socket and buffer, and all bytes thrown away.
fn bare_nft(table: &str, chain: &str) {
    const IPV4: u8 = 2;
    let mut socket = NetlinkSocket::open(NETFILTER).expect("a socket");
    let mut bytes = 0;
    let dump = socket.request(GET_RULE, DUMP, &rules_of(IPV4, table, chain), |message| bytes += message.payload.len());
    dump.expect("a dump");
    println!("{bytes}");
}

fn bare_legacy(table: &str) {
    let table = XtSocket::open(false).and_then(|socket| socket.table(table)).expect("a table");
    println!("{}", table.entries().len());
}

/// Kilobytes that the command took at most.
fn peak(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()), "{program} failed");
    println!("{}", getrusage(UsageWho::RUSAGE_CHILDREN).expect("its usage").max_rss());
}

fn memory(title: &str, ours: &str, than: &str, other: f64) {
    let ours = peak_of(ours);
    println!("{title:<58} {:>7.1} MB {:>9.1} MB {:>7.2}   ({than})", ours / 1024.0, other / 1024.0, ours / other);
}

fn peak_of(line: &str) -> f64 {
    let own = std::env::current_exe().unwrap_or_default();
    let output = Command::new(own).arg("peak").args(line.split_whitespace()).output().expect("it can be run");
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or(f64::NAN)
}

/// Loads a rule set; false where the program is not there.
fn load(place: &Place, program: &str, text: &str) -> bool {
    let mut words = program.split_whitespace();
    let mut restore = place.command(words.next().unwrap_or_default());
    let restore = restore.args(words).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
    let loaded = restore.and_then(|mut restore| {
        restore.stdin.take().map_or(Ok(()), |mut input| input.write_all(text.as_bytes()))?;
        restore.wait()
    });
    let loaded = loaded.is_ok_and(|status| status.success());
    if !loaded {
        println!("NOT RUN: {program} does not load the rules");
    }
    loaded
}

/// An ordinary pod: what Istio writes.
fn ordinary() {
    for backend in ["legacy", "nft"] {
        let lab = match Lab::start(NSLENS.as_str().as_ref(), Variant::Istio) {
            Ok(lab) => lab,
            Err(error) => return println!("NOT RUN: {error}"),
        };
        let pid = lab.pid();
        if backend == "legacy" {
            let rules = format!("nsenter -t {pid} -n iptables-nft-save | nsenter -t {pid} -n iptables-legacy-restore");
            let status = Command::new("sh").args(["-c", &rules]).status();
            assert!(status.is_ok_and(|status| status.success()), "the rules cannot be loaded");
        }
        let tool = format!("-t {pid} -n iptables-{backend}-save");
        pair(
            &format!("nothing, against {backend}-save in a pod"),
            || command("true", ""),
            || command("nsenter", &tool),
        );
        pair(
            &format!("rules -o save -4 --backend {backend}, against the same"),
            || command(&NSLENS, &format!("rules pid/{pid} -o save -4 --backend {backend}")),
            || command("nsenter", &tool),
        );
    }
}

/// 50,000 rules in one chain.
fn many() -> String {
    let mut text = "*nat\n:MANY - [0:0]\n-A OUTPUT -p tcp -j MANY\n".to_owned();
    for rule in 0..50_000 {
        let (high, middle, low) = (rule >> 16 & 255, rule >> 8 & 255, rule & 255);
        // Writing to a String cannot fail.
        writeln!(
            text,
            "-A MANY -d 10.{high}.{middle}.{low}/32 -p tcp -m tcp --dport {} -j REDIRECT --to-ports 15001",
            rule % 60_000 + 1
        )
        .ok();
    }
    text + "COMMIT\n"
}

fn legacy() {
    let place = Place::new();
    if !load(&place, "iptables-legacy-restore", &many()) {
        return;
    }
    let pid = place.pid();
    let ours = format!("rules pid/{pid} -o save -4 --backend legacy");
    let tool = format!("-t {pid} -n iptables-legacy-save");
    pairs(
        2 * FEW,
        "the table's bytes alone, against iptables-legacy-save",
        || bare(pid, "bare-legacy nat"),
        || command("nsenter", &tool),
    );
    pairs(
        2 * FEW,
        "50,000 legacy rules -o save, against iptables-legacy-save",
        || command(&NSLENS, &ours),
        || command("nsenter", &tool),
    );
    let blob = bare(pid, "bare-legacy nat").output().expect("it can be run").stdout;
    let blob: f64 = String::from_utf8_lossy(&blob).trim().parse().unwrap_or(f64::NAN);
    memory("peak memory, against the table's bytes", &format!("{} {ours}", *NSLENS), "at most 3", blob / 1024.0);
}

fn nft() {
    let place = Place::new();
    if !load(&place, "iptables-nft-restore", &many()) {
        return;
    }
    let pid = place.pid();
    let ours = format!("rules pid/{pid} -o save -4 --backend nft");
    let json = format!("rules pid/{pid} -o json --backend nft");
    let (save, list) = (format!("-t {pid} -n iptables-nft-save"), format!("-t {pid} -n nft -j list ruleset"));
    pairs(
        FEW,
        "50,000 nft rules -o save, against the bare dump",
        || command(&NSLENS, &ours),
        || bare(pid, "bare-nft nat MANY"),
    );
    pairs(FEW, "the same, against iptables-nft-save", || command(&NSLENS, &ours), || command("nsenter", &save));
    pairs(
        FEW,
        "the bare dump, against nft -j list ruleset",
        || bare(pid, "bare-nft nat MANY"),
        || command("nsenter", &list),
    );
    pairs(
        FEW,
        "50,000 nft rules -o json, against nft -j list ruleset",
        || command(&NSLENS, &json),
        || command("nsenter", &list),
    );
    let theirs = peak_of(&format!("nsenter {list}"));
    memory("peak memory of -o json, against nft's", &format!("{} {json}", *NSLENS), "at most 0.25", theirs);
    pairs(
        FEW,
        "the table of 50,000 rules (--all), against -o save",
        || command(&NSLENS, &format!("rules pid/{pid} --all")),
        || command(&NSLENS, &format!("rules pid/{pid} -o save")),
    );
}

/// 10,000 chains of five rules.
fn chains() {
    const CHAINS: usize = 10_000;
    let mut text = "*filter\n".to_owned();
    // Writing to a String cannot fail.
    (0..CHAINS).for_each(|chain| writeln!(text, ":C{chain:05} - [0:0]").unwrap_or_default());
    for chain in 0..CHAINS {
        let (high, low) = (chain >> 8, chain & 255);
        writeln!(text, "-A OUTPUT -d 10.1.{high}.{low}/32 -j C{chain:05}").ok();
        for rule in 0..5 {
            writeln!(text, "-A C{chain:05} -s 10.2.{rule}.{low}/32 -p tcp -m tcp --dport {} -j ACCEPT", rule + 1).ok();
        }
    }
    let place = Place::new();
    if !load(&place, "iptables-nft-restore", &(text + "COMMIT\n")) {
        return;
    }
    let pid = place.pid();
    let save = format!("-t {pid} -n iptables-nft-save");
    pairs(
        FEW,
        "10,000 nft chains of 5 rules -o save, against nft-save",
        || command(&NSLENS, &format!("rules pid/{pid} -o save -4 --backend nft")),
        || command("nsenter", &save),
    );
    pairs(
        FEW,
        "their table (--all), against -o save",
        || command(&NSLENS, &format!("rules pid/{pid} --all")),
        || command(&NSLENS, &format!("rules pid/{pid} -o save")),
    );
}

/// A set of 100,000 elements that a rule names, and that nobody asked to see, against the same without an element.
fn sets() {
    const MANY: usize = 100_000;
    let addresses = |count: usize| (0..count).map(|at| format!("10.{}.{}.{}", at >> 16, at >> 8 & 255, at & 255));
    let native = |place: &Place, count: usize| {
        let elements: Vec<String> = addresses(count).collect();
        let list = if count == 0 { String::new() } else { format!("elements = {{ {} }}; ", elements.join(", ")) };
        let chain = "chain output { type filter hook output priority 0; ip daddr @big counter accept; }";
        load(place, "nft -f -", &format!("table ip mine {{ set big {{ type ipv4_addr; {list}}}; {chain}; }}\n"))
    };
    let ipset = |place: &Place, count: usize| {
        let adds: String = addresses(count).map(|address| format!("add big {address}\n")).collect();
        let rule = "*filter\n-A OUTPUT -m set --match-set big dst -j ACCEPT\nCOMMIT\n";
        load(place, "ipset restore", &format!("create big hash:ip maxelem {MANY}\n{adds}"))
            && load(place, "iptables-legacy-restore", rule)
    };
    let kinds: [(&str, &dyn Fn(&Place, usize) -> bool); 2] = [("nft set", &native), ("ipset", &ipset)];
    for (kind, made) in kinds {
        let (full, empty) = (Place::new(), Place::new());
        if !made(&full, MANY) || !made(&empty, 0) {
            continue;
        }
        for form in ["-o save", "--all"] {
            pair(
                &format!("{kind} of 100,000 elements ({form}), against an empty one"),
                || command(&NSLENS, &format!("rules pid/{} {form}", full.pid())),
                || command(&NSLENS, &format!("rules pid/{} {form}", empty.pid())),
            );
        }
    }
}
