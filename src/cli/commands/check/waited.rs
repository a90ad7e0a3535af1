//! `--wait`: until it passes, for pods that are still starting.

use std::thread;
use std::time::{Duration, Instant};

use super::looked::Looked;
use crate::analysis::check::Measure;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;

/// Between the first two looks; each pause is twice the one before.
const FIRST: Duration = Duration::from_millis(250);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(5);

/// Looks until it passes, or until the time is over: the last answer. What is not there may come; what is typed wrongly, and a right
/// that is missing, will not.
pub(super) fn until_it_passes(
    most: Duration,
    look: impl Fn(&Screen) -> Result<Looked, Failure>,
    measure: &Measure,
    screen: &Screen,
) -> Result<Looked, Failure> {
    let start = Instant::now();
    let mut pause = FIRST;
    let mut looked = look(screen);
    // Once said is enough.
    let screen = screen.silent();
    loop {
        let over = match &looked {
            Ok(looked) => looked.exit(measure) == Exit::Done,
            Err(failure) => matches!(failure.exit, Exit::Usage | Exit::NotPermitted),
        };
        let left = most.saturating_sub(start.elapsed());
        if over || left.is_zero() {
            return looked;
        }
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(LONGEST);
        looked = look(&screen);
    }
}
