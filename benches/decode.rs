//! Decoding by itself: rules a second of one core, over bytes that this machine's kernel sends when the benchmark begins (as root):
//! `cargo bench --bench decode`.
#![expect(clippy::print_stdout, reason = "it says when it cannot run")]

#[path = "../tests/support/netns.rs"]
#[expect(dead_code, reason = "the benchmark needs a part of the tests' labs")]
mod netns;

use std::fmt::Write;
use std::hint::black_box;
use std::io::Write as _;
use std::process::Stdio;

use criterion::{Criterion, Throughput};
use netns::Lab;
use nslens::model::Family;
use nslens::sys::netlink::{DUMP, NETFILTER, NetlinkSocket};
use nslens::sys::xt_sockopt::{RawTable, XtSocket};
use nslens::wire::nf_table::{ChainReader, Kept};
use nslens::wire::nf_tables::{self, ChainMessage, GET_CHAIN, GET_RULE, head, rules_of};
use nslens::wire::xt::{self, TableInfo, decode_table};

/// Few enough to stay in the processor's cache: what memory costs, `rules_at_scale` shows.
const RULES: usize = 2000;

/// Rules as meshes and kube-proxy write them.
fn rules() -> String {
    let mut text = "*nat\n:MANY - [0:0]\n".to_owned();
    for rule in 0..RULES {
        let (high, low) = (rule >> 8, rule & 255);
        // Writing to a String cannot fail.
        match rule % 4 {
            0 => writeln!(text, "-A MANY -p tcp -m tcp --dport {} -j RETURN", rule + 1),
            1 => {
                writeln!(text, "-A MANY -d 10.0.{high}.{low}/32 -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 15001")
            }
            2 => writeln!(text, "-A MANY -o lo -s 10.1.{high}.{low}/32 -m owner --uid-owner 1337 -j ACCEPT"),
            _ => writeln!(
                text,
                "-A MANY -p udp -m mark --mark 0x{rule:x}/0xffff -j DNAT --to-destination 10.2.{high}.{low}:8080"
            ),
        }
        .ok();
    }
    text + "COMMIT\n"
}

/// By the program's standard input: they are more than the kernel takes in an argument.
fn load(lab: &Lab, program: &str) {
    let mut restore = lab.command(program).stdin(Stdio::piped()).spawn().expect("it can be run");
    restore.stdin.take().expect("its input").write_all(rules().as_bytes()).expect("it reads");
    assert!(restore.wait().expect("it ends").success(), "{program} does not load the rules");
}

fn legacy() -> RawTable {
    let lab = Lab::new();
    load(&lab, "iptables-legacy-restore");
    let table = lab.netns().enter(|| XtSocket::open(false).and_then(|socket| socket.table("nat")));
    table.expect("the namespace").expect("the table")
}

fn nft() -> (ChainMessage, Vec<Vec<u8>>) {
    const IPV4: u8 = 2;
    let lab = Lab::new();
    load(&lab, "iptables-nft-restore");
    let mut socket = lab.netns().enter(|| NetlinkSocket::open(NETFILTER)).expect("the namespace").expect("a socket");
    let (mut chains, mut rules) = (Vec::new(), Vec::new());
    let dump = socket.request(GET_CHAIN, DUMP, &head(0), |message| chains.extend(nf_tables::chain(message.payload)));
    dump.expect("the chains");
    let chain = chains.into_iter().find(|chain| chain.name == "MANY").expect("the chain");
    let dump =
        socket.request(GET_RULE, DUMP, &rules_of(IPV4, "nat", "MANY"), |message| rules.push(message.payload.to_vec()));
    dump.expect("the rules");
    (chain, rules)
}

fn main() {
    if !nix::unistd::geteuid().is_root() {
        println!("NOT RUN: it needs root");
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(RULES as u64));
    let raw = legacy();
    let info = TableInfo { valid_hooks: raw.valid_hooks, hook_entry: raw.hook_entry, underflow: raw.underflow };
    for (name, kept) in [("legacy table", xt::Kept::Rules), ("legacy table, its text", xt::Kept::Text)] {
        group.bench_function(name, |bench| {
            bench.iter(|| decode_table("nat", false, &info, black_box(raw.entries()), kept).expect("a table"));
        });
    }
    let (chain, messages) = nft();
    for (name, kept) in [("nft messages", Kept::Reading), ("nft messages, expressions kept", Kept::Expressions)] {
        group.bench_function(name, |bench| {
            bench.iter(|| {
                let mut reader = ChainReader::new(Family::Ip, "nat", &chain, kept);
                black_box(&messages).iter().for_each(|message| reader.read(message).expect("a rule"));
                reader.finish()
            });
        });
    }
    group.finish();
    criterion.final_summary();
}
