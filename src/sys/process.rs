//! A process held so that a reused PID can never pass for it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;

use super::below::Root;
use super::netns::Netns;

/// Larger than what `/proc/PID/stat` and `cgroup` hold nearly everywhere.
const USUAL: usize = 4096;

/// A live process: its pidfd, its `/proc` folder, and what it was when it was found.
///
/// The `/proc/PID` folder's descriptor answers `ESRCH` once that very process is gone, whatever runs under its number then.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    pidfd: OwnedFd,
    folder: OwnedFd,
    start_time: u64,
    cgroup: String,
}

impl Process {
    /// Takes hold of the process that has this number in the PID namespace of the given `/proc`.
    ///
    /// # Errors
    /// `NotFound` when there is no such process; the system's own otherwise.
    pub fn hold(proc_root: &Path, pid: u32) -> io::Result<Self> {
        let number = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
        let pidfd = rustix::process::pidfd_open(number, rustix::process::PidfdFlags::empty()).map_err(missing)?;
        let folder = nix::fcntl::open(
            &proc_root.join(pid.to_string()),
            OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .map_err(io::Error::from)?;
        let mut process = Self { pid, pidfd, folder, start_time: 0, cgroup: String::new() };
        process.start_time = process.read_start_time()?;
        process.cgroup = process.read("cgroup")?;
        // Alive still, so its number was its own all the while, and the folder is its folder.
        process.alive()?;
        Ok(process)
    }

    /// The process's number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Start time in clock ticks after boot (field 22 of `/proc/PID/stat`).
    #[must_use]
    pub fn start_time(&self) -> u64 {
        self.start_time
    }

    /// When it started, after 1970-01-01 UTC, by the clock as it is set now; cut off to a clock tick (mostly 10 ms).
    ///
    /// The kernel keeps the time after boot only: if the clock was set since then, this is off by as much.
    #[must_use]
    pub fn started(&self) -> Duration {
        started_at(self.start_time)
    }

    /// `/proc/PID/cgroup` as it was when the process was taken hold of.
    #[must_use]
    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// Opens the process's network namespace and makes sure that it was this process's.
    ///
    /// # Errors
    /// `NotFound` when the process went away meanwhile; `PermissionDenied` without CAP_SYS_PTRACE over it.
    pub fn netns(&self) -> io::Result<Netns> {
        let netns = Netns::from_file(self.open("ns/net")?)?;
        self.verify()?;
        Ok(netns)
    }

    /// The process's root folder.
    ///
    /// # Errors
    /// `NotFound` when the process is gone; `PermissionDenied` without CAP_SYS_PTRACE over it.
    pub fn root(&self) -> io::Result<Root> {
        Root::open(&self.folder).map_err(missing_io)
    }

    /// Says whether this is still the process that was taken hold of: alive, same start, same cgroup.
    ///
    /// # Errors
    /// `NotFound` when it is gone or another one has taken its number; `Other` when its cgroup changed.
    pub fn verify(&self) -> io::Result<()> {
        let mut ends = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ends, PollTimeout::ZERO).map_err(io::Error::from)? > 0
            || self.read_start_time()? != self.start_time
        {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the process has ended"));
        }
        if self.read("cgroup")? != self.cgroup {
            return Err(io::Error::other("the process was moved to another cgroup while it was looked at"));
        }
        Ok(())
    }

    /// Says whether the process is alive; while it is, nobody else can have its number.
    ///
    /// # Errors
    /// `NotFound` when it has ended (its pidfd has become readable).
    pub fn alive(&self) -> io::Result<()> {
        let mut ends = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ends, PollTimeout::ZERO).map_err(io::Error::from)? {
            0 => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::NotFound, "the process has ended")),
        }
    }

    /// Reads a small file of the process's `/proc` folder.
    ///
    /// # Errors
    /// `NotFound` when the process is gone.
    pub fn read(&self, name: &str) -> io::Result<String> {
        // These files say of themselves that they are empty, so the buffer is given its size here: one read, and one for the end.
        let mut bytes = vec![0; USUAL];
        let (mut file, mut length) = (self.open(name)?, 0);
        loop {
            let space = bytes.get_mut(length..).unwrap_or_default();
            match file.read(space).map_err(missing_io)? {
                0 => break,
                read => length += read,
            }
            if length == bytes.len() {
                bytes.resize(length * 2, 0);
            }
        }
        bytes.truncate(length);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn open(&self, name: &str) -> io::Result<File> {
        openat(self.folder.as_fd(), name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
            .map(File::from)
            .map_err(|error| missing_io(error.into()))
    }

    fn read_start_time(&self) -> io::Result<u64> {
        let stat = self.read("stat")?;
        parse_start_time(&stat).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc/PID/stat"))
    }
}

/// The pidfd: it can be read once the process has ended.
impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// The time after 1970-01-01 UTC that is so many clock ticks after boot; see [`Process::started`].
#[must_use]
pub fn started_at(start_time: u64) -> Duration {
    let now = |clock| {
        let now = rustix::time::clock_gettime(clock);
        let (seconds, rest) = (u64::try_from(now.tv_sec), u32::try_from(now.tv_nsec));
        Duration::new(seconds.unwrap_or_default(), rest.unwrap_or_default())
    };
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    let after_boot = Duration::from_nanos((1_000_000_000 / ticks).saturating_mul(start_time));
    // Field 22 counts from where CLOCK_BOOTTIME does, sleep of the machine included (fs/proc/array.c).
    let ago = now(rustix::time::ClockId::Boottime).saturating_sub(after_boot);
    now(rustix::time::ClockId::Realtime).saturating_sub(ago)
}

/// Field 22 of `/proc/PID/stat`. The command (field 2) is hostile: it may hold blanks and brackets, so count from its last one.
#[must_use]
pub fn parse_start_time(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn missing(error: rustix::io::Errno) -> io::Error {
    missing_io(error.into())
}

/// A process that went away shows as ESRCH; callers know it as `NotFound`.
fn missing_io(error: io::Error) -> io::Error {
    if error.raw_os_error() == Some(libc::ESRCH) {
        return io::Error::new(io::ErrorKind::NotFound, "the process has ended");
    }
    error
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_process_started_when_it_was_made() {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let before = now();
        let mut child = std::process::Command::new("sleep").arg("100").spawn().expect("sleep can be run");
        let after = now();
        let started = Process::hold(Path::new("/proc"), child.id()).map(|held| held.started());
        child.kill().and_then(|()| child.wait()).expect("it ends");
        let started = started.expect("it lived");
        // Cut off to a tick, at least the hundredth part of a second.
        let tick = Duration::from_millis(11);
        assert!(started + tick >= before && started <= after, "{started:?} is not in {before:?}..{after:?}");
    }

    #[test]
    fn numbers_that_no_process_has_are_not_found() {
        for pid in [0, 1 << 23, u32::MAX] {
            let error = Process::hold(Path::new("/proc"), pid).expect_err("no such process");
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{pid}");
        }
    }

    #[test]
    fn the_start_time_stands_behind_the_last_bracket() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(parse_start_time(&format!("7 (a) S 1 (b) {rest}")), Some(4711));
        assert_eq!(parse_start_time("7 (a) S 1"), None);
    }
}
