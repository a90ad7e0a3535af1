//! Two commands timed in turn, from start to end: the machine's speed drifts, so that only pairs compare.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Pairs that count, after some that do not.
const PAIRS: usize = 60;
const WARM_UP: usize = 5;

/// Ends of a command that are no failure.
const SUCCESS: &[i32] = &[0];
/// The same of one that judges: a pass, a fail, undecided.
const VERDICTS: &[i32] = &[0, 1, 5];

/// How long a command takes from its start to its end, its output thrown away.
fn time(command: &mut Command, ends: &[i32]) -> Duration {
    let begun = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let took = begun.elapsed();
    let code = status.ok().and_then(|status| status.code());
    assert!(code.is_some_and(|code| ends.contains(&code)), "{command:?} failed: {code:?}");
    took
}

/// The one in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Runs both in turn and prints medians and the median ratio.
pub(crate) fn pair(title: &str, ours: impl FnMut() -> Command, theirs: impl FnMut() -> Command) {
    pairs(PAIRS, title, ours, theirs);
}

/// The same with so many pairs: long commands need fewer.
pub(crate) fn pairs(count: usize, title: &str, ours: impl FnMut() -> Command, theirs: impl FnMut() -> Command) {
    timed((count, title), SUCCESS, ours, theirs);
}

/// The same of commands that judge.
#[expect(clippy::allow_attributes, reason = "only one of several benchmarks judges")]
#[allow(dead_code, reason = "likewise")]
pub(crate) fn pairs_of_verdicts(
    count: usize,
    title: &str,
    ours: impl FnMut() -> Command,
    theirs: impl FnMut() -> Command,
) {
    timed((count, title), VERDICTS, ours, theirs);
}

fn timed(
    (count, title): (usize, &str),
    ends: &[i32],
    mut ours: impl FnMut() -> Command,
    mut theirs: impl FnMut() -> Command,
) {
    let milliseconds = |took: Duration| took.as_secs_f64() * 1000.0;
    let mut times = Vec::new();
    let warm_up = WARM_UP.min(count / 3);
    for round in 0..warm_up + count {
        let both = (milliseconds(time(&mut ours(), ends)), milliseconds(time(&mut theirs(), ends)));
        if round >= warm_up {
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
