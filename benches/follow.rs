//! Following 10,000 new flows a second, beside `conntrack -E` at the same rate: `cargo bench --bench follow` (as root). The flows are
//! made over netlink, in a namespace of their own; no packet is sent. The target: at most half of one processor, and nothing lost
//! without a word.
#![expect(clippy::print_stdout, reason = "it prints its figures")]

#[path = "../tests/support/netns.rs"]
#[expect(dead_code, reason = "the benchmark needs a part of the tests' labs")]
mod netns;

#[path = "../tests/netns/flows_made.rs"]
mod flows_made;

use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use netns::Lab;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;

/// The program: `NSLENS_PROGRAM`, to measure the static one that is handed out, else the one just built.
static NSLENS: LazyLock<String> =
    LazyLock::new(|| std::env::var("NSLENS_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_nslens").to_owned()));
/// Flows a second, and for how many seconds.
const RATE: u32 = 10_000;
const SECONDS: u32 = 10;
/// Rounds of both programs.
const ROUNDS: usize = 3;

fn main() {
    if !nix::unistd::geteuid().is_root() {
        println!("NOT RUN: it needs root");
        return;
    }
    println!(
        "{:<44} {:>10} {:>10} {:>9} {:>6}",
        "10,000 new flows a second, 10 s", "processor", "made", "told", "lost"
    );
    for _ in 0..ROUNDS {
        measure("nslens watch -o jsonl", "\"event\":\"open\"", |pid| ours(pid, "jsonl"));
        measure("nslens watch", "  open  ", |pid| ours(pid, "table"));
        measure("conntrack -E", "[NEW]", |pid| {
            let mut command = Command::new("nsenter");
            command.args(["-t", &pid.to_string(), "-n", "conntrack", "-E", "-b", "33554432"]);
            command
        });
    }
}

fn ours(pid: u32, form: &str) -> Command {
    let mut command = Command::new(&*NSLENS);
    command.args(["watch", &format!("pid/{pid}"), "-q", "-o", form]);
    command
}

/// Runs a program while the flows are made, and prints what it took and told.
fn measure(title: &str, mark: &str, program: impl Fn(u32) -> Command) {
    let lab = Lab::new();
    let mut told = tempfile::tempfile().expect("a file");
    let before = used();
    let mut child = program(lab.pid())
        .stdin(Stdio::null())
        .stdout(told.try_clone().expect("the file"))
        .stderr(Stdio::null())
        .spawn()
        .expect("it can be run");
    std::thread::sleep(Duration::from_secs(1));
    let begun = Instant::now();
    const STEPS: u32 = 100;
    for step in 0..SECONDS * STEPS {
        flows_made::make_from(lab.netns(), step * (RATE / STEPS), RATE / STEPS);
        let due = begun + Duration::from_secs(1) * (step + 1) / STEPS;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    let took = begun.elapsed();
    std::thread::sleep(Duration::from_secs(1));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).expect("it runs");
    child.wait().expect("it ends");
    let share = (used() - before) / took.as_secs_f64();
    told.rewind().expect("the file");
    let (opened, lost) = count(&told, mark);
    println!("{title:<44} {:>8.1} % {:>10} {opened:>9} {lost:>6}", share * 100.0, RATE * SECONDS);
}

/// Seconds of processor time that all programs took which have ended.
fn used() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the usage");
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
}

fn count(told: &File, mark: &str) -> (usize, usize) {
    let (mut opened, mut lost) = (0, 0);
    for line in BufReader::new(told).lines().map_while(Result::ok) {
        opened += usize::from(line.contains(mark));
        lost += usize::from(line.contains("\"lost\"") || line.contains("events were lost"));
    }
    (opened, lost)
}
