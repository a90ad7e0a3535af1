//! The handle on a running lab: starting it, naming it, ending it.

use std::io::{self, BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::sys::caps;

use super::{PART, Variant};

/// Longer than all that the lab's first process allows itself.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long the lab may take to end in order before it is killed.
const END_LIMIT: Duration = Duration::from_secs(3);

/// Why there is no lab.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Making namespaces and writing rules is root's business.
    #[error("the demo needs root: it makes network namespaces of its own and writes rules there; run: {command}")]
    NotRoot {
        /// The command that does it.
        command: String,
    },
    /// Root, but with its hands tied, as in many containers.
    #[error("the demo needs {}, which this root user does not have here", .names.join(" and "))]
    MissingCapability {
        /// The capabilities that are missing.
        names: Vec<&'static str>,
    },
    /// The lab's first process could not be started.
    #[error("cannot start the lab from {}: {source}", .program.display())]
    Start {
        /// The program that was to be run.
        program: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The lab could not be made; nothing of it is left.
    #[error("the lab could not {stage}: {cause}")]
    Setup {
        /// What was being done.
        stage: String,
        /// What the kernel or a part of the lab said.
        cause: String,
    },
}

/// A running lab pod. Dropping it, or ending the process that holds it in any way, ends the lab.
#[derive(Debug)]
pub struct Lab {
    pod: Child,
    /// The lab lives as long as this is open. A socket rather than the kernel's signal for a parent's death, because that signal
    /// comes when the *thread* ends that started the child.
    line: Option<UnixStream>,
}

impl Lab {
    /// Makes a lab pod and returns when everything in it is connected. `program` is this program's own path: it is started again
    /// with [`PART`] as its first argument, and must then call [`run_part`](super::run_part).
    ///
    /// # Errors
    /// See [`DemoError`].
    pub fn start(program: &Path, variant: Variant) -> Result<Self, DemoError> {
        permitted(program)?;
        let start = |source| DemoError::Start { program: program.to_owned(), source };
        let (line, theirs) = UnixStream::pair().map_err(start)?;
        line.set_read_timeout(Some(START_LIMIT)).map_err(start)?;
        let pod = Command::new(program)
            .args([PART, variant.word()])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A group of its own: what is typed at the terminal (^C, ^Z) is for the program that shows the lab.
            .process_group(0)
            .spawn()
            .map_err(start)?;
        let lab = Self { pod, line: Some(line) };
        lab.wait_until_ready()?;
        Ok(lab)
    }

    /// The lab's first process, which is in the pod's network namespace.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pod.id()
    }

    /// The pod's network namespace.
    #[must_use]
    pub fn netns_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.pid()))
    }

    /// The lab pod as a target of every command.
    #[must_use]
    pub fn target(&self) -> String {
        format!("pid/{}", self.pid())
    }

    fn wait_until_ready(&self) -> Result<(), DemoError> {
        let setup = |stage: &str, cause: &str| DemoError::Setup { stage: stage.to_owned(), cause: cause.to_owned() };
        let mut answer = String::new();
        if let Some(line) = &self.line {
            let read = BufReader::new(line).read_line(&mut answer);
            read.map_err(|error| setup("answer in time", &error.to_string()))?;
        }
        match answer.trim_end().split_once('\t') {
            None if answer == "ready\n" => Ok(()),
            None => Err(setup("start", "its first process ended without a word")),
            Some((stage, cause)) => Err(setup(stage, cause)),
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.line = None;
        let deadline = Instant::now() + END_LIMIT;
        while Instant::now() < deadline {
            if !matches!(self.pod.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
        // Its children die with it: the kernel sees to that. Failing here means that it is gone already.
        let _ = self.pod.kill();
        let _ = self.pod.wait();
    }
}

fn permitted(program: &Path) -> Result<(), DemoError> {
    if !caps::is_root() {
        return Err(DemoError::NotRoot { command: format!("sudo {} demo", program.display()) });
    }
    let needed = |name: &&str| ["CAP_SYS_ADMIN", "CAP_NET_ADMIN"].contains(name);
    let names: Vec<_> = caps::missing().into_iter().filter(needed).collect();
    if names.is_empty() { Ok(()) } else { Err(DemoError::MissingCapability { names }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_root_the_command_is_named() {
        let error = DemoError::NotRoot { command: "sudo ./nslens demo".to_owned() };
        assert!(error.to_string().ends_with("run: sudo ./nslens demo"), "{error}");
    }

    #[test]
    fn the_first_process_turns_away_whoever_calls_it_otherwise() {
        // The test's standard input is no socket; and the words are checked first.
        assert_eq!(super::super::run_part(["nonsense".into()]), std::process::ExitCode::from(2));
    }
}
