//! What can be typed: data without side effects. The doc comments are the help texts.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::commands::{check, completions, conns, coverage, demo, diff, list, rules, snapshot, trace, watch};
use crate::model::Backend;
use crate::target::RuntimeChoice;

/// See, prove and compare what redirects a pod's traffic, from its node.
#[derive(Debug, Parser)]
#[command(
    name = "nslens",
    version,
    max_term_width = 100,
    arg_required_else_help = false,
    before_long_help = "Examples:\n  sudo nslens rules pod/productpage\n  sudo nslens conns pod/productpage -n default\n"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands, in the order in which a person meets them.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "each command's own text is its help, the short and the long one")]
pub enum Command {
    List(list::List),
    Rules(rules::Rules),
    Conns(conns::Conns),
    Trace(trace::Trace),
    Coverage(coverage::Coverage),
    Check(check::Check),
    Diff(diff::Diff),
    Snapshot(snapshot::Snapshot),
    Watch(watch::Watch),
    Demo(demo::Demo),
    Completions(completions::Completions),
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Options that every command has.
#[derive(Debug, Clone, Args)]
pub struct Looks {
    /// Colours: auto, always, never
    #[arg(
        long,
        hide_short_help = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub color: When,
    /// No notes on stderr, only errors
    #[arg(short, long, hide_short_help = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say on stderr what was tried
    #[arg(short, long, hide_short_help = true)]
    pub verbose: bool,
}

/// Options about where to look.
#[derive(Debug, Clone, Args)]
pub struct Where {
    /// Kubernetes namespace of the pod (default: all)
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// One container of the pod
    #[arg(short, long, value_name = "CONTAINER")]
    pub container: Option<String>,
    #[command(flatten)]
    /// Whom to ask.
    pub asking: Asking,
}

/// Options about whom to ask.
#[derive(Debug, Clone, Args)]
pub struct Asking {
    /// Runtime to ask: auto, docker, podman, cri, containerd, proc
    #[arg(long, hide_short_help = true, value_name = "RUNTIME", default_value = "auto", hide_default_value = true, value_parser = runtime)]
    pub runtime: RuntimeChoice,
    /// Socket of the runtime, and no other
    #[arg(long, hide_short_help = true, value_name = "SOCKET")]
    pub runtime_endpoint: Option<String>,
    /// Where the node's root is mounted, such as /host in a debug pod (which needs hostPID)
    #[arg(long, hide_short_help = true, value_name = "FOLDER")]
    pub host_root: Option<PathBuf>,
    /// Time that each runtime gets, such as 500ms or 5s
    #[arg(long, hide_short_help = true, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub timeout: Duration,
}

impl Asking {
    /// Whether no runtime is to be asked at all.
    #[must_use]
    pub fn is_proc_alone(&self) -> bool {
        self.runtime == RuntimeChoice::Proc
    }
}

/// Options about which rules.
#[derive(Debug, Clone, Copy, Args)]
pub struct Which {
    /// IPv4 only
    #[arg(short = '4', long = "ipv4", conflicts_with = "ipv6")]
    pub ipv4: bool,
    /// IPv6 only
    #[arg(short = '6', long = "ipv6")]
    pub ipv6: bool,
    /// Rules of one subsystem: legacy, nft, all
    #[arg(long, value_name = "BACKEND", default_value = "all", hide_default_value = true, hide_possible_values = true)]
    pub backend: BackendChoice,
}

/// `--backend`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BackendChoice {
    /// x_tables.
    Legacy,
    /// nf_tables.
    Nft,
    /// Both.
    All,
}

impl Which {
    /// What capture is to read.
    #[must_use]
    pub fn wanted(self) -> crate::capture::rules::Wanted {
        let backend = match self.backend {
            BackendChoice::Legacy => Some(Backend::Legacy),
            BackendChoice::Nft => Some(Backend::Nft),
            BackendChoice::All => None,
        };
        crate::capture::rules::Wanted {
            backend,
            ipv4: !self.ipv6,
            ipv6: !self.ipv4,
            expressions: false,
            ..Default::default()
        }
    }
}

fn runtime(word: &str) -> Result<RuntimeChoice, String> {
    RuntimeChoice::parse(word).ok_or_else(|| {
        let words: Vec<&str> = RuntimeChoice::WORDS.iter().map(|(word, _)| *word).collect();
        format!("there are: {}", words.join(", "))
    })
}

/// A time: `500ms`, `5s`, or a number of seconds.
///
/// # Errors
/// What it should have been.
pub fn duration(text: &str) -> Result<Duration, String> {
    // A bare number is seconds, as with kubectl and crictl.
    let seconds = text.parse().ok().and_then(|seconds: f64| Duration::try_from_secs_f64(seconds).ok());
    match seconds.map_or_else(|| humantime::parse_duration(text).map_err(|error| error.to_string()), Ok)? {
        Duration::ZERO => Err("it must be longer than nothing".to_owned()),
        time => Ok(time),
    }
}
