//! Reading many tracked flows, against conntrack and against the kernel's own cost, pair by pair: `cargo bench --bench
//! flows_at_scale` (as root). The flows are made over netlink, in a namespace of their own; no packet is sent.
//!
//! Called again by itself with `bare` or `peak`, it is the floor that is compared with, or tells how much memory a command took.
#![expect(clippy::print_stdout, reason = "it prints its figures")]

#[path = "../tests/support/netns.rs"]
#[expect(dead_code, reason = "the benchmark needs a part of the tests' labs")]
mod netns;

#[expect(dead_code, reason = "the benchmark has only long commands")]
mod pairs;

use std::process::{Command, Stdio};
use std::sync::LazyLock;

use netns::Lab;
use nix::sys::resource::{UsageWho, getrusage};
use nslens::sys::netlink::{ACK, DUMP, GET as REQUEST, NETFILTER, NetlinkSocket};
use nslens::wire::attribute::Builder;
use nslens::wire::conntrack::{GET, NEW, request};
use pairs::{headings, pairs};

/// The program: `NSLENS_PROGRAM`, to measure the static one that is handed out, else the one just built.
static NSLENS: LazyLock<String> =
    LazyLock::new(|| std::env::var("NSLENS_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_nslens").to_owned()));
/// Flows: nearly as many as most kernels allow.
const FLOWS: u32 = 250_000;
/// Pairs of commands that take a second or so.
const FEW: usize = 11;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["bare"] => return bare(),
        ["peak", program, arguments @ ..] => return peak(program, arguments),
        _ => {}
    }
    if !nix::unistd::geteuid().is_root() {
        println!("NOT RUN: it needs root");
        return;
    }
    let lab = Lab::new();
    let made = lab.netns().enter(make).expect("the namespace can be entered");
    if let Err(error) = made {
        println!("NOT RUN: {FLOWS} flows cannot be made: {error}");
        return;
    }
    headings();
    let pid = lab.pid();
    let own = std::env::current_exe().unwrap_or_default();
    let inside = |program: &str, arguments: &str| {
        let mut command = command("nsenter", &format!("-t {pid} -n {program}"));
        command.args(arguments.split_whitespace());
        command
    };
    let ours = |options: &str| command(&NSLENS, &format!("conns pid/{pid} {options}"));
    let floor = || inside(&own.display().to_string(), "bare");
    pairs(FEW, "250,000 flows: a bare dump, against conntrack -L", floor, || inside("conntrack", "-L"));
    pairs(FEW, "--summary, against a bare dump (at most 1.2)", || ours("--summary"), floor);
    pairs(
        FEW,
        "--flows -o jsonl, against conntrack -L (at most 0.6)",
        || ours("--flows -o jsonl"),
        || inside("conntrack", "-L"),
    );
    pairs(
        FEW,
        "--flows -o jsonl of one mark, against conntrack -L -m",
        || ours("--flows -o jsonl --mark 7"),
        || inside("conntrack", "-L -m 7"),
    );
    for options in ["--summary", "--flows -o jsonl"] {
        let output =
            command(&own.display().to_string(), &format!("peak {} conns pid/{pid} {options}", *NSLENS)).output();
        let kilobytes = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        let kilobytes: f64 = kilobytes.ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
        println!("{:<58} {:>7.1} MB   (at most 64 MB)", format!("peak memory of {options}"), kilobytes / 1024.0);
    }
}

fn command(program: &str, arguments: &str) -> Command {
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace());
    command
}

/// The kernel's part: the same socket and buffer, and all bytes thrown away.
fn bare() {
    let mut socket = NetlinkSocket::open(NETFILTER).expect("a socket");
    let (mut flows, mut bytes) = (0_usize, 0);
    let dump = socket.request(GET, DUMP, &request(), |message| {
        flows += 1;
        bytes += message.payload.len();
    });
    dump.expect("a dump");
    println!("{flows} {bytes}");
}

/// Kilobytes that the command took at most.
fn peak(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()), "{program} failed");
    println!("{}", getrusage(UsageWho::RUSAGE_CHILDREN).expect("its usage").max_rss());
}

/// Makes the flows in the calling thread's namespace: TCP, one in three redirected, to some 30,000 destinations, one of which is
/// dialled far more often than the others.
fn make() -> Result<(), String> {
    const CREATE: u16 = 0x600; // NLM_F_CREATE | NLM_F_EXCL
    const TOGETHER: u32 = 100;
    let mut socket = NetlinkSocket::open(NETFILTER).map_err(|error| error.to_string())?;
    let numbers: Vec<u32> = (0..FLOWS).collect();
    for some in numbers.chunks(TOGETHER as usize) {
        let last = some.last();
        let message = |number: &u32| {
            let flags = if Some(number) == last { ACK } else { REQUEST };
            (NEW, flags | CREATE, flow(*number))
        };
        let messages: Vec<_> = some.iter().map(message).collect();
        socket.transact(&messages).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn flow(number: u32) -> Vec<u8> {
    const TCP: u8 = 6;
    const ESTABLISHED: u8 = 3;
    let [_, high, middle, low] = number.to_be_bytes();
    let client = ([10, high, middle, low], 1024 + (number % 60_000) as u16);
    let place = (number % 30_000).to_be_bytes();
    let server = if number.is_multiple_of(5) { ([10, 200, 0, 5], 443) } else { ([10, 201, place[2], place[3]], 80) };
    let answers = if number.is_multiple_of(3) { ([127, 0, 0, 1], 15001) } else { server };
    let tuple = |source: ([u8; 4], u16), destination: ([u8; 4], u16)| {
        let addresses = Builder::default().put(1, &source.0).put(2, &destination.0);
        let ports =
            Builder::default().put(1, &[TCP]).put(2, &source.1.to_be_bytes()).put(3, &destination.1.to_be_bytes());
        Builder::default().put_nested(1, &addresses).put_nested(2, &ports)
    };
    let state = Builder::default().put_nested(1, &Builder::default().put(1, &[ESTABLISHED]));
    Builder::after(&[2, 0, 0, 0])
        .put_nested(1, &tuple(client, server))
        .put_nested(2, &tuple(answers, client))
        .put_nested(4, &state)
        .put_be32(7, 3600)
        .put_be32(8, number % 10)
        .finish()
}
