//! Settings of the kernel that keep packets from where rules send them.

use super::{Kind, Page};
use crate::analysis::check::{Asked, Case, Found, Going, Severity};
use crate::analysis::trace::Question;
use crate::model::{Endpoint, RuleRef, Snapshot};
use crate::packet::state::NEW;

pub(super) const KIND: Kind = Kind {
    id: "RDR807",
    title: "Sysctls that break redirection",
    severity: Severity::Warning,
    page: Page {
        seen: "Packets vanish, and no rule counts them.",
        why: "Profiles that harden nodes, and daemons of VPNs, write settings for all devices: what is sent to 127.0.0.1 from outside \
              needs route_localnet, marked packets no strict rp_filter with src_valid_mark, what is sent on needs forwarding, \
              addresses on lo need IPv6.",
        evidence: "A connection that rules send somewhere, and that routing then drops; asked once more with one setting changed, it \
                   arrives. Or IPv6 is switched off on lo while connections of IPv6 are redirected. Where all connections of a \
                   direction are lost it is an error.",
        remedy: "Set the setting that is named to the value that is named.",
        references: &[
            "MetaCubeX/Meta-Docs#214",
            "cloudnativelabs/kube-router#511",
            "linkerd/linkerd2#7089",
            "envoyproxy/envoy#5539",
        ],
    },
    silenced_by: &["RDR009"],
    look,
};

/// A setting, and the value with which packets come through; the devices' own counts too where the kernel takes the greater one.
const SETTINGS: [(&str, i32); 5] =
    [("route_localnet", 1), ("rp_filter", 2), ("src_valid_mark", 0), ("accept_local", 1), ("forwarding", 1)];

/// Switches IPv6 off on a device, or on all.
const NO_IPV6: &str = "disable_ipv6";

/// A connection that somebody opens.
struct Probe {
    words: String,
    question: Question,
    incoming: bool,
}

fn look(case: &Case<'_>, found: &mut Found) {
    if case.expected.mesh.is_none() || case.expected.sends.is_empty() {
        return;
    }
    without_ipv6(case, found);
    // Settings of this kind are those of IPv4.
    if !case.families().contains(&false) {
        return;
    }
    let (lost, whole): (Vec<Probe>, Vec<Probe>) =
        probes(case).into_iter().partition(|probe| case.going(&probe.question) == Going::Nowhere);
    // What TPROXY lacks is told whole by its own finding.
    let usable = |(name, _): &&(&str, i32)| !found.has("RDR012") || !matches!(*name, "rp_filter" | "src_valid_mark");
    let settings: Vec<(&str, i32)> = SETTINGS.iter().filter(usable).copied().collect();
    for incoming in [false, true] {
        let of = |probe: &&Probe| probe.incoming == incoming;
        let Some(first) = lost.iter().find(of) else { continue };
        let mended = settings.iter().find_map(|(name, value)| mended(case, &first.question, name, *value));
        let Some(mended) = mended else { continue };
        let severity = if whole.iter().any(|probe| of(&probe)) { Severity::Warning } else { Severity::Error };
        report(found, &lost.iter().filter(of).collect::<Vec<_>>(), mended, severity);
    }
}

/// What a packet comes through with.
struct Mended {
    name: String,
    was: i32,
    value: i32,
    rule: Option<RuleRef>,
    port: Option<u16>,
}

fn report(found: &mut Found, lost: &[&Probe], mended: Mended, severity: Severity) {
    let Mended { name, was, value, rule, port } = mended;
    let by = rule.as_ref().map_or_else(String::new, |rule| format!(" that {rule} sends on"));
    let finding =
        KIND.found(format!("{name} is {was}: packets{by} are dropped by routing"), format!("sysctl -w {name}={value}"));
    let to = port.map_or_else(String::new, |port| format!(" at port {port}"));
    let fact = |probe: &&Probe| format!("{} is lost; with {name} set to {value} it arrives{to}", probe.words);
    let finding = lost.iter().map(fact).take(4).fold(finding, super::Finding::because);
    found.finding(finding.severity(severity).about(rule));
}

/// Connections of IPv4 that come in to served ports, and that applications open.
fn probes(case: &Case<'_>) -> Vec<Probe> {
    let mut probes = Vec::new();
    for to in case.served(false) {
        let question = Question { incoming: true, state: Some(NEW), ..Question::to(to) };
        probes.push(Probe { words: format!("a connection from outside to {to}"), question, incoming: true });
    }
    let to = Endpoint::new(case.outside(false), case.port());
    for who in case.identities() {
        let uid = who.as_ref().map_or_else(|| case.free_id(), |who| who.uid);
        let (gid, groups) = who.map_or_else(|| (case.free_id(), Vec::new()), |who| (who.gid, who.groups));
        let question =
            Question { uid: Some(uid), gid: Some(gid), groups: Some(groups), state: Some(NEW), ..Question::to(to) };
        probes.push(Probe { words: format!("a connection by UID {uid} to {to}"), question, incoming: false });
    }
    probes
}

/// The setting, if a packet comes through with it that does not as it is.
fn mended(case: &Case<'_>, question: &Question, name: &str, value: i32) -> Option<Mended> {
    let (device, was) = worst(case.snapshot, name, value)?;
    let mut other = case.snapshot.clone();
    for of in other.routes.as_mut()?.settings.ipv4.values_mut() {
        of.insert(name.to_owned(), value);
    }
    let other = Case::of(&other, Asked::default());
    let (rule, port) = match other.going(question) {
        Going::Proxy { rule, port, .. } => (rule, Some(port)),
        Going::Direct(rule) => (rule, None),
        _ => return None,
    };
    Some(Mended { name: format!("net.ipv4.conf.{device}.{name}"), was, value, rule, port })
}

/// The device whose setting is to be changed, and what it is: where the kernel takes the greater of it and of `all`, the one that
/// has it.
fn worst(snapshot: &Snapshot, name: &str, value: i32) -> Option<(String, i32)> {
    let settings = &snapshot.routes.as_ref()?.settings;
    let devices = snapshot.interfaces.iter().flatten().filter(|device| device.up && !device.loopback);
    let names = std::iter::once("all").chain(devices.map(|device| device.name.as_str()));
    let mut told = names.filter_map(|device| Some((device.to_owned(), settings.ipv4(device, name)?)));
    match value {
        // What is too great anywhere is too great; what is too small is so everywhere.
        0 | 2 => told.filter(|(_, now)| *now > 0 && *now != value).max_by_key(|(_, now)| *now),
        _ => told.find(|(device, _)| device != "all"),
    }
}

/// IPv6 is switched off on lo, where connections are sent by it.
fn without_ipv6(case: &Case<'_>, found: &mut Found) {
    let Some(routing) = &case.snapshot.routes else { return };
    let captures = case.expected.family(true).is_some_and(crate::analysis::mesh::Reach::captures);
    if case.speaks(true) != Some(true) || !captures {
        return;
    }
    if routing.settings.ipv6("lo", NO_IPV6) != Some(1) {
        return;
    }
    let rule = case.expected.sends.iter().map(|(rule, _)| rule).find(|rule| rule.family.sees(true)).cloned();
    let name = format!("net.ipv6.conf.lo.{NO_IPV6}");
    let finding = KIND.found(
        format!("{name} is 1: what is redirected over IPv6 within the pod finds no address"),
        format!("sysctl -w {name}=0, then make the pod anew, so that lo gets its addresses again"),
    );
    let sends = rule.as_ref().map(|rule| format!("{rule} sends connections of IPv6 on"));
    let finding = sends.into_iter().fold(finding, super::Finding::because);
    found.finding(finding.because("lo has no address of IPv6, neither ::1 nor ::6").about(rule));
}
