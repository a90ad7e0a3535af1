//! The lab's first process: makes the namespaces, the link, the rules and the other processes, then holds them until the line to
//! the process that wanted the lab is closed. It plays the part of a pod's sandbox (`pause`).

use std::ffi::OsString;
use std::fmt::Display;
use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::sys::lab::{self, Child};
use crate::sys::netlink::NetlinkError;

use super::link::Network;
use super::reports::{self, Milestone, Reporter, Reports};
use super::ruleset::passthrough_source;
use super::{Variant, encoding, outside, plan, proxy, workload};

/// Everything here takes milliseconds; a machine that needs longer than this is not going to make it.
const PATIENCE: Duration = Duration::from_secs(10);
const WRONG_USAGE: u8 = 2;

/// What failed, while doing what.
#[derive(Debug)]
struct Failure {
    stage: &'static str,
    cause: String,
}

/// Runs as the lab's first process: what the program does when its first argument is [`PART`](super::PART), with the arguments
/// behind it. It must be called before any thread is started, and its exit code handed on.
///
/// Its standard input must be the socket that [`Lab`](super::Lab) gives it; called in any other way it does nothing.
pub fn run_part(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Option<Vec<String>> = arguments.into_iter().map(|word| word.into_string().ok()).collect();
    let variant = words.and_then(|words| match words.as_slice() {
        [word] => Variant::from_word(word),
        _ => None,
    });
    let (Some(variant), Ok(line)) = (variant, lab::line_to_parent()) else {
        return ExitCode::from(WRONG_USAGE);
    };
    let mut children = Vec::new();
    let answer = match build(variant, &line, &mut children) {
        Ok(()) => "ready\n".to_owned(),
        Err(Failure { stage, cause }) => format!("{stage}\t{cause}\n"),
    };
    wait_for_end(line, &answer);
    // Waited for here, so that no process is left to be collected by anybody else.
    children.into_iter().for_each(Child::end);
    ExitCode::SUCCESS
}

/// Hands the answer over and waits until the other end of the line is closed, which also happens when its process is killed.
fn wait_for_end(mut line: UnixStream, answer: &str) {
    if line.write_all(answer.as_bytes()).is_ok() {
        while line.read(&mut [0]).is_ok_and(|length| length > 0) {}
    }
}

fn build(variant: Variant, line: &UnixStream, children: &mut Vec<Child>) -> Result<(), Failure> {
    lab::set_name("pause");
    let families: &[bool] = if lab::has_ipv6(Path::new("/proc")) { &[false, true] } else { &[false] };
    let (reporter, mut reports) = reports::channel(line).map_err(failed("make a pipe"))?;
    let orders = start_outside(&reporter, families, children)?;
    lab::enter_new_netns().map_err(failed("make a network namespace"))?;
    allow_ipv6();
    connect(children, families).map_err(failed("set up the lab's network"))?;
    tell(&orders, &mut reports, &[Milestone::ServiceListens], "set up the network outside")?;
    for &ipv6 in families {
        encoding::load(ipv6, variant).map_err(failed(rules_stage(ipv6)))?;
    }
    start_inside(&reporter, &mut reports, families, variant, children)?;
    let mut wanted = Vec::new();
    for &ipv6 in families {
        wanted.extend([Milestone::ClientAnswered(ipv6), Milestone::HealthAnswered(ipv6)]);
        wanted.push(match variant {
            Variant::Istio => Milestone::CallAnswered(ipv6),
            Variant::WithoutExemption => Milestone::LoopStopped(ipv6),
        });
    }
    tell(&orders, &mut reports, &wanted, "let the lab's programs talk")
}

/// The namespace outside comes first: the process in it is then the one to hand the other end of the link to.
fn start_outside(reporter: &Reporter, families: &[bool], children: &mut Vec<Child>) -> Result<PipeWriter, Failure> {
    let stage = "make a network namespace";
    lab::enter_new_netns().map_err(failed(stage))?;
    allow_ipv6();
    let (read_orders, orders): (PipeReader, PipeWriter) = io::pipe().map_err(failed(stage))?;
    let work = || reporter.run("outside", |reporter| outside::run(reporter, read_orders, families));
    children.push(lab::spawn(work).map_err(failed(stage))?);
    Ok(orders)
}

fn start_inside(
    reporter: &Reporter,
    reports: &mut Reports,
    families: &[bool],
    variant: Variant,
    children: &mut Vec<Child>,
) -> Result<(), Failure> {
    let stage = "start the stand-in proxy";
    let work = || reporter.run("proxy", |reporter| proxy::run(reporter, families, variant));
    children.push(lab::spawn(work).map_err(failed(stage))?);
    reports.wait_for(&[Milestone::ProxyListens], PATIENCE).map_err(failed(stage))?;
    let stage = "start the application";
    let work = || reporter.run("app", |reporter| workload::run(reporter, families));
    children.push(lab::spawn(work).map_err(failed(stage))?);
    reports.wait_for(&[Milestone::ApplicationListens], PATIENCE).map_err(failed(stage))
}

fn connect(children: &[Child], families: &[bool]) -> Result<(), NetlinkError> {
    let mut network = Network::open()?;
    network.loopback_up()?;
    let peer = children.first().map_or(0, Child::pid);
    network.add_pair(peer)?;
    for &ipv6 in families {
        network.add_address(plan::pod(ipv6), plan::prefix(ipv6))?;
    }
    network.interface_up()?;
    for &ipv6 in families {
        network.add_default_route(plan::outside(ipv6))?;
        if ipv6 {
            // 127.0.0.6 is loopback's already; the mesh's init container adds its IPv6 twin as well.
            network.add_loopback_address(passthrough_source(ipv6), 128)?;
        }
    }
    Ok(())
}

/// New namespaces inherit the node's switch in some configurations; this writes only to the namespace just made.
fn allow_ipv6() {
    for scope in ["all", "default", "lo"] {
        // Where /proc/sys cannot be written the switch is tried as it is: adding the address tells.
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "0");
    }
}

fn tell(
    mut orders: &PipeWriter,
    reports: &mut Reports,
    wanted: &[Milestone],
    stage: &'static str,
) -> Result<(), Failure> {
    orders.write_all(b"!").map_err(failed(stage))?;
    reports.wait_for(wanted, PATIENCE).map_err(failed(stage))
}

fn rules_stage(ipv6: bool) -> &'static str {
    if ipv6 { "write the IPv6 rules" } else { "write the IPv4 rules" }
}

fn failed<E: Display>(stage: &'static str) -> impl FnOnce(E) -> Failure {
    move |error| Failure { stage, cause: error.to_string().replace(['\n', '\t'], " ") }
}
