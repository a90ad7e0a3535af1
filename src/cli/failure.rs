//! Errors as a person meets them: what failed on what, why, and what to do. Library errors know no advice; it is added here.

use std::error::Error;
use std::fmt::Display;

use super::exit::Exit;
use crate::archive::ArchiveError;
use crate::capture::{self, CaptureError};
use crate::demo::DemoError;
use crate::report::escape::escape;
use crate::target::{EndpointError, GrammarError, Outcome, TargetError, Tried};

/// An error with its exit code and advice.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What failed on what.
    pub message: String,
    /// Why, from the nearest cause to the farthest.
    pub causes: Vec<String>,
    /// What to do, one line each.
    pub hints: Vec<String>,
}

impl Failure {
    /// An error without a cause.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), causes: Vec::new(), hints: Vec::new() }
    }

    /// An error with its chain of causes.
    pub fn of(exit: Exit, error: &dyn Error) -> Self {
        let mut failure = Self::new(exit, error.to_string());
        let mut cause = error.source();
        while let Some(error) = cause {
            failure.causes.push(error.to_string());
            cause = error.source();
        }
        failure
    }

    /// With advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The message and its causes in one line. Not escaped.
    #[must_use]
    pub fn line(&self) -> String {
        let causes = self.causes.iter().filter(|cause| !self.message.contains(cause.as_str()));
        causes.fold(self.message.clone(), |text, cause| format!("{text}: {cause}"))
    }

    /// About a file.
    #[must_use]
    pub fn about(mut self, what: impl Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The lines for stderr, escaped.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = format!("error: {}\n", escape(&self.message));
        for cause in self.causes.iter().filter(|cause| !self.message.contains(cause.as_str())) {
            out.push_str(&format!("  because: {}\n", escape(cause)));
        }
        for hint in &self.hints {
            out.push_str(&format!("hint: {}\n", escape(hint)));
        }
        out
    }
}

/// The same command with more rights, and what is missing.
pub(super) fn rights() -> String {
    let missing = capture::missing_rights();
    if capture::is_root() && !missing.is_empty() {
        return format!("this root user lacks {}; start nslens with all capabilities", missing.join(", "));
    }
    if capture::is_root() && !of_the_first_user_namespace() {
        return "this root is one of a user namespace: run it as the node's own root".to_owned();
    }
    if capture::is_root() {
        return "even root is refused here: a security module or a sandbox guards it".to_owned();
    }
    let words: Vec<String> = std::env::args().map(|word| shell_word(&word)).collect();
    format!("run it as root: sudo {}", words.join(" "))
}

/// Whether all users are their own here, as in the namespace that the kernel begins with (user_namespaces(7)).
fn of_the_first_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map");
    map.map_or(true, |map| map.split_whitespace().eq(["0", "0", "4294967295"]))
}

/// `nslens rules `, as it was typed, for commands that have one target.
fn typed_command() -> String {
    let command =
        std::env::args().nth(1).filter(|command| matches!(command.as_str(), "rules" | "conns" | "snapshot" | "watch"));
    command.map(|command| format!("nslens {command} ")).unwrap_or_default()
}

/// What may have been meant by a target that nothing answers to.
fn not_found(asked: &str) -> String {
    let (kind, rest) = asked.split_once('/').unwrap_or(("", asked));
    match (kind, rest) {
        ("ip", _) => "an address of an interface is looked for; that of a Service is on none".to_owned(),
        ("inode", _) => "what held it may have ended; nslens list --all shows all network namespaces".to_owned(),
        ("netns", _) => "names are those of `ip netns`, in /run/netns; nslens list --all shows them".to_owned(),
        ("pod", rest) if rest.contains('/') => match rest.split_once('/') {
            Some((namespace, name)) => format!("the namespace stands behind the name: pod/{name}.{namespace}"),
            None => String::new(),
        },
        ("", word) if word.parse::<std::net::IpAddr>().is_ok() => {
            format!("for the namespace with that address: ip/{word}")
        }
        ("", word) if word.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("for the process of that number: pid/{word}")
        }
        _ => "names are exact, and only this node's are found: nslens list shows them".to_owned(),
    }
}

/// No runtime was there to be asked for a name.
const NO_SOCKET: &str = "no runtime's socket is where they usually are; in a debug pod, say where the node's root is mounted: --host-root /host";

/// A word as a shell takes it back unchanged.
fn shell_word(word: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./:=,@%+".contains(character);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

impl From<GrammarError> for Failure {
    fn from(error: GrammarError) -> Self {
        Self::of(Exit::Usage, &error)
    }
}

impl From<EndpointError> for Failure {
    fn from(error: EndpointError) -> Self {
        Self::of(Exit::Usage, &error)
            .hint("give the runtime's unix socket: --runtime-endpoint /run/containerd/containerd.sock")
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        let failure = |exit| Self::of(exit, &error);
        match &error {
            TargetError::NotFound { near, .. } if !near.is_empty() => {
                failure(Exit::NotFound).hint(format!("there is: {}", near.join(", ")))
            }
            TargetError::NotFound { asked, .. } if asked.starts_with("pid/") => {
                failure(Exit::NotFound).hint("it may have ended; PIDs are the node's own, not a container's")
            }
            TargetError::NotFound { asked, tried, .. } => {
                let mut failure = failure(Exit::NotFound).hint(not_found(asked));
                let nowhere = |one: &Tried| matches!(one.outcome, Outcome::Absent | Outcome::Inferred { .. });
                if !tried.is_empty() && tried.iter().all(|one| nowhere(one) && !one.explicit) {
                    failure.hints.push(NO_SOCKET.to_owned());
                }
                failure
            }
            TargetError::Ambiguous { candidates, .. } => {
                let mut ambiguous = failure(Exit::NotFound);
                for candidate in candidates {
                    ambiguous.hints.push(format!("{}{}  for {}", typed_command(), candidate.command_word, candidate.describe));
                }
                ambiguous
            }
            TargetError::NoSuchContainer { .. } => failure(Exit::NotFound).hint("pick one of these with -c"),
            TargetError::NotRunning { pod: Some(pod), .. } => failure(Exit::NotFound)
                .hint(format!("its pod runs, and all containers of a pod share one namespace: {}{pod}", typed_command())),
            TargetError::NotRunning { .. } => failure(Exit::NotFound).hint("what runs on this node: nslens list"),
            TargetError::Gone { .. } => failure(Exit::NotFound).hint("it may have been restarted under a new ID: look again"),
            TargetError::NotPermitted { .. } => failure(Exit::NotPermitted).hint(rights()),
            TargetError::NoRuntime { .. } => failure(Exit::NotFound).hint(
                "run it on the node itself, name the socket with --runtime-endpoint, or look at a process: nslens rules pid/NUMBER",
            ),
            TargetError::RuntimeFailed { tried, .. } if tried.iter().any(|one| one.outcome == Outcome::TimedOut) => {
                failure(Exit::Failed).hint(
                    "allow more time with --timeout, name one socket with --runtime-endpoint, or ask none with --runtime proc",
                )
            }
            TargetError::RuntimeFailed { .. } => {
                failure(Exit::Failed).hint(
                    "see whether the runtime is well, name another socket with --runtime-endpoint, or ask none with --runtime proc",
                )
            }
            TargetError::Unproven { pid, .. } => failure(Exit::Failed)
                .hint(format!("if you know that it is the right one, look at the process itself: {}pid/{pid}", typed_command())),
            TargetError::NoProcess { .. }
            | TargetError::NotTheirs { .. }
            | TargetError::Failed { .. } => failure(Exit::Failed),
            TargetError::NotNetns { .. } => {
                failure(Exit::Usage).hint("give a name from /run/netns, or a path such as /proc/PID/ns/net")
            }
            TargetError::ForeignPids { .. } => failure(Exit::Failed).hint("a debug pod needs hostPID: true for that"),
            TargetError::NotLive { .. } => failure(Exit::Usage),
        }
    }
}

impl From<CaptureError> for Failure {
    fn from(error: CaptureError) -> Self {
        match &error {
            CaptureError::Enter { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                Self::of(Exit::NotPermitted, &error).hint(rights())
            }
            CaptureError::Enter { .. } => Self::of(Exit::Failed, &error),
            CaptureError::Gone { .. } => {
                Self::of(Exit::NotFound, &error).hint("it may have been restarted under a new ID: look again")
            }
        }
    }
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        let failure = Self::of(Exit::Usage, &error);
        match error {
            ArchiveError::Version(_) => failure.hint("use the nslens that wrote it, or a later one"),
            ArchiveError::Damaged(_) | ArchiveError::Compression(_) => failure.hint("take the snapshot again"),
            ArchiveError::Save(_) | ArchiveError::NotText | ArchiveError::Empty | ArchiveError::ForeignJson(_) => {
                failure.hint("give a file of `nslens snapshot`, or what iptables-save, ip6tables-save, `nft list ruleset` or `nft -j list ruleset` prints")
            }
            ArchiveError::Many => {
                failure.hint("check and diff read it as it is; for one of them unpack it with tar, and name its file")
            }
            ArchiveError::Nft(_) | ArchiveError::NoTable | ArchiveError::TooLarge => failure,
        }
    }
}

impl From<DemoError> for Failure {
    fn from(error: DemoError) -> Self {
        let exit = match error {
            DemoError::NotRoot { .. } | DemoError::MissingCapability { .. } => Exit::NotPermitted,
            DemoError::Start { .. } | DemoError::Setup { .. } => Exit::Failed,
        };
        Self::of(exit, &error)
    }
}
