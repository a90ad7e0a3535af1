//! Two commands timed in turn, from start to end: the machine's speed drifts, so that only pairs compare.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Pairs that count, after some that do not.
const PAIRS: usize = 60;
const WARM_UP: usize = 5;

/// How long a command takes from its start to its end, its output thrown away.
fn time(command: &mut Command) -> Duration {
    let begun = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let took = begun.elapsed();
    assert!(status.is_ok_and(|status| status.success()), "{command:?} failed");
    took
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Runs both in turn and prints medians and the median ratio.
pub(crate) fn pair(title: &str, ours: impl FnMut() -> Command, theirs: impl FnMut() -> Command) {
    pairs(PAIRS, title, ours, theirs);
}

/// The same with so many pairs: long commands need fewer.
pub(crate) fn pairs(count: usize, title: &str, mut ours: impl FnMut() -> Command, mut theirs: impl FnMut() -> Command) {
    let milliseconds = |took: Duration| took.as_secs_f64() * 1000.0;
    let mut times = Vec::new();
    for round in 0..WARM_UP.min(count) + count {
        let both = (milliseconds(time(&mut ours())), milliseconds(time(&mut theirs())));
        if round >= WARM_UP.min(count) {
            times.push(both);
        }
    }
    let of = |pick: fn(&(f64, f64)) -> f64| median(times.iter().map(pick).collect());
    let (own, other, ratio) = (of(|pair| pair.0), of(|pair| pair.1), of(|pair| pair.0 / pair.1));
    println!("{title:<58} {own:>7.2} ms {other:>9.2} ms {ratio:>7.2}");
}

/// The line above the figures.
pub(crate) fn headings() {
    println!("{:<58} {:>10} {:>12} {:>7}", "medians of whole processes", "nslens", "instead", "ratio");
}
