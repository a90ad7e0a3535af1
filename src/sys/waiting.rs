//! Waiting for several things at once: descriptors, the signals that end a program, a deadline; and what the clock on the wall says.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// SIGINT and SIGTERM as something that can be waited for.
#[derive(Debug)]
pub struct EndSignals {
    descriptor: SignalFd,
}

impl EndSignals {
    /// From now on the two do not end the calling thread, and threads that it starts, but are told here.
    ///
    /// # Errors
    /// The system's own.
    pub fn take() -> io::Result<Self> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
        signals.thread_block()?;
        Ok(Self { descriptor: SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)? })
    }
}

impl AsFd for EndSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Waits until one of the descriptors can be read or has failed, at most until then; which of them, and at the end whether nobody is
/// left to read what is written to another one.
///
/// # Errors
/// The system's own; a signal that is caught elsewhere ends the waiting early, and is none.
pub fn wait_with_reader(
    descriptors: &[BorrowedFd<'_>],
    written: BorrowedFd<'_>,
    until: Option<Instant>,
) -> io::Result<Vec<bool>> {
    let mut polled: Vec<_> = descriptors.iter().map(|one| PollFd::new(*one, PollFlags::POLLIN)).collect();
    // Nothing is asked of it: that it failed is told unasked.
    polled.push(PollFd::new(written, PollFlags::empty()));
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    // Rounded up, lest the last millisecond be spent in asking again.
    let left = left.map(|left| i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX));
    let left = left.and_then(|left| PollTimeout::try_from(left).ok()).unwrap_or(PollTimeout::NONE);
    match poll(&mut polled, left) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(polled.iter().map(|one| one.revents().is_some_and(|events| !events.is_empty())).collect())
}

/// Seconds by which local time is ahead of UTC at a moment (seconds after 1970), as `TZ` and `/etc/localtime` have it; 0 where they
/// do not tell.
#[must_use]
pub fn seconds_east(moment: u64) -> i64 {
    let Ok(moment) = libc::time_t::try_from(moment) else { return 0 };
    // SAFETY: struct tm is plain integers and a pointer that is not followed, for which zero is a value.
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both live for the call, which writes into the second.
    let told = unsafe { libc::localtime_r(&raw const moment, &raw mut local) };
    if told.is_null() { 0 } else { local.tm_gmtoff }
}

/// Time that processors have spent for this program.
#[must_use]
pub fn spent() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let (seconds, rest) = (u64::try_from(spent.tv_sec), u32::try_from(spent.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), rest.unwrap_or_default())
}

/// Sleeps for a moment, so that many events are read at once.
pub fn nap(time: Duration) {
    std::thread::sleep(time);
}
