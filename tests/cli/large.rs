//! Large texts: time grows with their length, not with its square.

use std::fmt::Write;
use std::time::{Duration, Instant};

use crate::program::{Folder, nslens};

/// Far above what each takes unoptimised, far below what a square would take.
const SOON: Duration = Duration::from_secs(60);

fn saved(text: &str, lines: usize) {
    let folder = Folder::new();
    let file = folder.put("large.rules", text);
    let start = Instant::now();
    let run = nslens(&["rules", &file, "-o", "save"]).ended(0);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    assert_eq!(run.out.lines().filter(|line| line.starts_with("-A")).count(), lines);
}

/// Text from a piece for each number.
fn many(count: usize, piece: impl Fn(usize, &mut String) -> std::fmt::Result) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        piece(number, &mut text).expect("memory");
        text
    })
}

#[test]
fn many_chains_with_jumps_to_each() {
    const COUNT: usize = 50_000;
    let chains = many(COUNT, |number, text| writeln!(text, ":C{number} - [0:0]"));
    let jumps = many(COUNT, |number, text| writeln!(text, "-A OUTPUT -j C{number}"));
    let rules = many(COUNT, |number, text| writeln!(text, "-A C{number} -p tcp -j REDIRECT --to-ports 15001"));
    saved(&format!("*nat\n{chains}{jumps}{rules}COMMIT\n"), 2 * COUNT);
}

#[test]
fn a_comment_of_many_lines() {
    let text = many(50_000, |number, text| writeln!(text, "{}", number % 10));
    saved(&format!("*nat\n-A OUTPUT -m comment --comment \"{text}\" -j DROP\nCOMMIT\n"), 1);
}

#[test]
fn a_mark_that_is_never_closed() {
    let folder = Folder::new();
    let text = many(500_000, |number, text| writeln!(text, "-A OUTPUT -m comment --comment x{number}"));
    let file = folder.put("open.rules", format!("*nat\n-A OUTPUT -m comment --comment \"open\n{text}COMMIT\n"));
    let start = Instant::now();
    let run = nslens(&["rules", &file]).ended(2);
    assert!(run.err.contains("line 2"), "{}", run.err);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[test]
fn many_insertions_keep_their_order() {
    const COUNT: usize = 50_000;
    let inserted = many(COUNT, |number, text| writeln!(text, "-I OUTPUT {} -p tcp -j DROP", number / 2 + 1));
    saved(&format!("*nat\n{inserted}COMMIT\n"), COUNT);
    // As `iptables` does it, one after the other, on a list that is short enough for that.
    let places = [1, 1, 2, 9, 0, 3, 1, 4, 4, 2];
    let mut wanted: Vec<usize> = Vec::new();
    for (number, place) in places.into_iter().enumerate() {
        let at = if number % 4 == 3 { wanted.len() } else { place.max(1) - 1 };
        wanted.insert(at.min(wanted.len()), number);
    }
    let text = many(places.len(), |number, text| match number % 4 {
        3 => writeln!(text, "-A OUTPUT -m mark --mark {number} -j DROP"),
        _ => writeln!(text, "-I OUTPUT {} -m mark --mark {number} -j DROP", places[number]),
    });
    let folder = Folder::new();
    let file = folder.put("short.rules", format!("*nat\n{text}COMMIT\n"));
    let run = nslens(&["rules", &file, "-o", "save"]).ended(0);
    let mark = |line: &str| usize::from_str_radix(line.split("0x").nth(1)?.split(' ').next()?, 16).ok();
    assert_eq!(run.out.lines().filter_map(mark).collect::<Vec<_>>(), wanted);
}

#[test]
fn lists_that_multiply() {
    let list = vec!["10.0.0.1"; 3000].join(",");
    let folder = Folder::new();
    let file = folder.put("lists.rules", format!("*nat\n-A OUTPUT -s {list} -d {list} -j DROP\nCOMMIT\n"));
    let run = nslens(&["rules", &file]).ended(5);
    assert!(run.out.contains("line 2") && run.out.contains("9000000 rules"), "{}", run.out);
}
