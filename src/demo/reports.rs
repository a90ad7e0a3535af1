//! How the lab's processes tell the one that builds it how far they are: one line each, through a pipe.

use std::collections::BTreeSet;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sys::lab::wait_readable;

/// What some part of the lab has come to. `true` stands for IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Milestone {
    /// The remote service listens.
    ServiceListens,
    /// The proxy listens.
    ProxyListens,
    /// The application listens.
    ApplicationListens,
    /// The application's call was answered by the remote service.
    CallAnswered(bool),
    /// The remote client was answered by the application.
    ClientAnswered(bool),
    /// The health check was answered by the proxy.
    HealthAnswered(bool),
    /// The proxy carries as many outbound connections as it is allowed to: its own come back to it.
    LoopStopped(bool),
}

impl Milestone {
    const ALL: [Self; 11] = [
        Self::ServiceListens,
        Self::ProxyListens,
        Self::ApplicationListens,
        Self::CallAnswered(false),
        Self::CallAnswered(true),
        Self::ClientAnswered(false),
        Self::ClientAnswered(true),
        Self::HealthAnswered(false),
        Self::HealthAnswered(true),
        Self::LoopStopped(false),
        Self::LoopStopped(true),
    ];
}

/// The writing end; every process of the lab has a copy.
#[derive(Debug, Clone)]
pub(super) struct Reporter(Arc<PipeWriter>);

impl Reporter {
    /// A milestone is reached.
    pub(super) fn reached(&self, milestone: Milestone) {
        self.say(&format!("{milestone:?}"));
    }

    /// Runs a part of the lab to its end; a part that fails says so.
    pub(super) fn run(&self, part: &str, work: impl FnOnce(&Self) -> io::Result<()>) {
        if let Err(error) = work(self) {
            self.say(&format!("!{part}: {error}"));
        }
    }

    fn say(&self, line: &str) {
        // Shorter than PIPE_BUF, so lines of different processes never mix. Nobody listening any more means the lab is ending.
        let _ = (&*self.0).write_all(format!("{}\n", line.replace('\n', " ")).as_bytes());
    }
}

/// The reading end.
#[derive(Debug)]
pub(super) struct Reports {
    reader: PipeReader,
    /// Becomes readable when whoever wanted the lab is gone: nothing is ever sent along it in this direction.
    line: UnixStream,
    pending: Vec<u8>,
    reached: BTreeSet<Milestone>,
}

/// A pipe for reports; waiting on it ends when the other end of `line` is closed.
pub(super) fn channel(line: &UnixStream) -> io::Result<(Reporter, Reports)> {
    let (reader, writer) = io::pipe()?;
    let reports = Reports { reader, line: line.try_clone()?, pending: Vec::new(), reached: BTreeSet::new() };
    Ok((Reporter(Arc::new(writer)), reports))
}

impl Reports {
    /// Waits until all these milestones are reached.
    pub(super) fn wait_for(&mut self, wanted: &[Milestone], limit: Duration) -> io::Result<()> {
        let deadline = Instant::now() + limit;
        while let Some(missing) = wanted.iter().find(|milestone| !self.reached.contains(milestone)) {
            let left = deadline.saturating_duration_since(Instant::now());
            match wait_readable(&[self.line.as_fd(), self.reader.as_fd()], left)? {
                None => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, format!("waited in vain for {missing:?}")));
                }
                Some(0) => return Err(io::Error::new(io::ErrorKind::NotConnected, "nobody wants the lab any more")),
                Some(_) => self.read()?,
            }
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 512];
        let length = self.reader.read(&mut buffer)?;
        self.pending.extend(buffer.iter().take(length));
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            if let Some(failure) = line.strip_prefix('!') {
                return Err(io::Error::other(failure.trim_end().to_owned()));
            }
            let named = |milestone: &Milestone| format!("{milestone:?}") == line.trim_end();
            self.reached.extend(Milestone::ALL.into_iter().find(named));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> (UnixStream, Reporter, Reports) {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let (reporter, reports) = channel(&theirs).expect("a pipe");
        (ours, reporter, reports)
    }

    #[test]
    fn milestones_arrive_in_any_order() {
        let (_line, reporter, mut reports) = ends();
        for milestone in Milestone::ALL.into_iter().rev() {
            reporter.reached(milestone);
        }
        reports.wait_for(&Milestone::ALL, Duration::from_secs(5)).expect("all were reported");
    }

    #[test]
    fn a_part_that_fails_is_named() {
        let (_line, reporter, mut reports) = ends();
        reporter.run("proxy", |_| Err(io::Error::other("no port")));
        let error = reports.wait_for(&[Milestone::ProxyListens], Duration::from_secs(5)).expect_err("it failed");
        assert_eq!(error.to_string(), "proxy: no port");
    }

    #[test]
    fn waiting_ends() {
        let (line, _reporter, mut reports) = ends();
        let error = reports.wait_for(&[Milestone::ProxyListens], Duration::from_millis(20)).expect_err("nobody spoke");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(line);
        let error = reports.wait_for(&[Milestone::ProxyListens], Duration::from_secs(60)).expect_err("nobody waits");
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);
    }
}
