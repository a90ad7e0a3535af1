//! How a question is asked: of the tracer, with what `nslens trace` reads of the pod, and of the kernel, by sending the packet.
//!
//! Both answers are one line in the same words. What is said of each rule on the way is held beside its counter.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nslens::analysis::eval::{At, Met};
use nslens::analysis::native::reading;
use nslens::analysis::trace::{Outcome, Question, Trace, Tracer, Verdict};
use nslens::capture::rules::Wanted;
use nslens::capture::sets::Elements;
use nslens::capture::{Occasion, Parts, take};
use nslens::model::{Body, Endpoint, Kind, Protocol, Rule, RuleRef, Snapshot, Workload};
use nslens::nft::Expression;
use nslens::packet::{DeviceName, Known};
use nslens::report::paint::Paint;
use nslens::report::trace::{Form, Story, Teller};
use nslens::sys::netns::Netns;

use super::profiles::Rules;
use crate::traffic::{Arrived, Place, Properties, Sent, Stage, Told};

/// How long to wait for a packet on a busy machine; TCP sends anew after a second.
const PATIENCE: Duration = Duration::from_millis(400);

/// Where rules are, and by what they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Means {
    Legacy,
    Nft,
    Native,
}

impl Means {
    /// Both places where iptables keeps rules.
    pub(super) const IPTABLES: [Self; 2] = [Self::Legacy, Self::Nft];
    /// For meshes that write nft's own, too.
    pub(super) const ALL: [Self; 3] = [Self::Legacy, Self::Nft, Self::Native];

    pub(super) fn word(self) -> &'static str {
        if self == Self::Legacy { "legacy" } else { "nft" }
    }
}

/// A pod under rules, all else, and who waits in both.
pub(super) struct Pod {
    pub(super) stage: Stage,
    means: Means,
    /// Of the receivers, in their order.
    names: Vec<&'static str>,
}

/// A question, which is a packet.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    sent: Sent,
    /// Comes in by this device.
    by: Option<&'static str>,
}

/// A connection that a process of the pod opens to there.
pub(super) fn out(to: &str) -> Asked {
    let to = to.parse().expect("an end");
    let sent = Sent { from: Place::Pod, protocol: Protocol::Tcp, source: None, to, socket: Properties::default() };
    Asked { sent, by: None }
}

/// One that somebody outside opens.
pub(super) fn inward(from: &str, to: &str) -> Asked {
    let asked = out(to).from(&format!("{from}:0"));
    Asked { sent: Sent { from: Place::Ext, ..asked.sent }, ..asked }
}

impl Asked {
    /// User and group of who sends it.
    pub(super) fn uid(mut self, id: u32) -> Self {
        (self.sent.socket.uid, self.sent.socket.gid) = (id, id);
        self
    }

    pub(super) fn gid(mut self, id: u32) -> Self {
        self.sent.socket.gid = id;
        self
    }

    pub(super) fn mark(mut self, mark: u32) -> Self {
        self.sent.socket.mark = mark;
        self
    }

    /// A datagram instead.
    pub(super) fn udp(mut self) -> Self {
        self.sent.protocol = Protocol::Udp;
        self
    }

    /// Comes in by this device, whatever routes say.
    pub(super) fn through(mut self, device: &'static str) -> Self {
        self.by = Some(device);
        self
    }

    pub(super) fn from(mut self, source: &str) -> Self {
        self.sent.source = Some(source.parse().expect("an end"));
        self
    }

    /// What the tracer is asked.
    pub(super) fn question(&self) -> Question {
        let Sent { from, protocol, source, to, socket } = &self.sent;
        let inside = *from == Place::Pod;
        Question {
            incoming: !inside,
            protocol: *protocol,
            source: source.map(|source| source.ip()),
            source_port: source.map(|source| source.port()).filter(|port| *port != 0),
            uid: inside.then_some(socket.uid),
            gid: inside.then_some(socket.gid),
            groups: inside.then(Vec::new),
            mark: if inside { socket.mark } else { 0 },
            interface: self.by.and_then(DeviceName::new),
            ..Question::to(Endpoint::new(to.ip(), to.port()))
        }
    }
}

/// All that `nslens trace` reads of a namespace.
pub(super) fn look(netns: &Netns) -> Snapshot {
    let wanted = Wanted { elements: Elements::All, ..Wanted::default() };
    let parts = Parts { rules: Some(wanted), connections: true, routes: true, ..Parts::default() };
    let occasion = Occasion { node: "node", now: 0, asked: "netns/lab", proc_root: Path::new("/proc") };
    let snapshot = take(Workload::named(Kind::Netns, "lab"), netns, None, parts, occasion).expect("a snapshot");
    assert!(snapshot.unread.is_empty(), "{:?}", snapshot.unread);
    snapshot
}

impl Pod {
    /// Without rules, and nobody waits.
    pub(super) fn bare(means: Means) -> Self {
        Self { stage: Stage::new(), means, names: Vec::new() }
    }

    pub(super) fn under(means: Means, rules: &Rules) -> Self {
        let pod = Self::bare(means);
        pod.load(rules);
        pod
    }

    /// A mesh's rules, with its proxy, an application, and servers outside.
    pub(super) fn meshed(means: Means, rules: &Rules) -> Self {
        let mut pod = Self::under(means, rules);
        for port in rules.ports {
            pod.waits("proxy", &format!("[::]:{port}"), rules.proxy);
        }
        pod.waits("application", "[::]:8080", 1000);
        pod
    }

    /// From here on rules are written by the other of both that iptables has.
    pub(super) fn turn(&mut self) {
        self.means = if self.means == Means::Legacy { Means::Nft } else { Means::Legacy };
    }

    pub(super) fn means(&self) -> Means {
        self.means
    }

    /// What is not known of a packet and makes a difference.
    pub(super) fn open(&self, asked: &Asked) -> Vec<String> {
        let snapshot = look(self.stage.pod.netns());
        let trace = Tracer::of(&snapshot).trace(&asked.question());
        trace.doubts.into_iter().map(|doubt| doubt.why).collect()
    }

    /// What people would read of a packet, with all rules that it met.
    pub(super) fn story(&self, asked: &Asked) -> String {
        let (snapshot, question) = (look(self.stage.pod.netns()), asked.question());
        let tracer = Tracer::of(&snapshot);
        story_of(&snapshot, &tracer, &question, &tracer.trace(&question))
    }

    pub(super) fn load(&self, rules: &Rules) {
        let words = self.means.word();
        let loaded = match self.means {
            Means::Native => self.stage.tell("nft -f -", rules.native),
            _ => self
                .stage
                .tell(&format!("iptables-{words}-restore --noflush"), rules.four)
                .and_then(|_| self.stage.tell(&format!("ip6tables-{words}-restore --noflush"), rules.six)),
        };
        loaded.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Lines of iptables without the program, and of nft, as this pod has one or the other.
    pub(super) fn also(&self, iptables: &str, nft: &str) {
        let script: String = match self.means {
            Means::Native => format!("nft '{nft}'"),
            means => iptables
                .lines()
                .map(|line| format!("iptables-{} -w {}\n", means.word(), line.trim()))
                .collect::<String>(),
        };
        self.stage.pod.sh(&script);
    }

    /// Takes a rule out of a chain of Istio's sidecar.
    pub(super) fn remove(&self, chain: &str, number: usize) {
        let lower = chain.to_ascii_lowercase().replace('_', "-");
        let native = format!("inet istio-proxy-nat {lower}");
        let listed = match self.means {
            Means::Native => self.stage.pod.sh(&format!("nft -a list chain {native}")),
            _ => String::new(),
        };
        let handle = listed.lines().filter(|line| line.contains("counter")).nth(number - 1);
        let handle = handle.and_then(|line| line.rsplit("handle ").next()).unwrap_or_default();
        self.also(&format!("-t nat -D {chain} {number}"), &format!("delete rule {native} handle {handle}"));
    }

    /// One who waits for connections in the pod.
    pub(super) fn waits(&mut self, name: &'static str, at: &str, id: u32) {
        self.waits_so(name, (Place::Pod, Protocol::Tcp), at, &Properties { uid: id, gid: id, ..Properties::default() });
    }

    /// One who waits for datagrams in the pod.
    pub(super) fn hears(&mut self, name: &'static str, at: &str, id: u32) {
        self.waits_so(name, (Place::Pod, Protocol::Udp), at, &Properties { uid: id, gid: id, ..Properties::default() });
    }

    pub(super) fn waits_so(
        &mut self,
        name: &'static str,
        (place, protocol): (Place, Protocol),
        at: &str,
        socket: &Properties,
    ) {
        let at: SocketAddr = at.parse().expect("an end");
        let number = self.stage.receive(place, protocol, at, socket).expect("it can wait there");
        assert_eq!(number, self.names.len());
        self.names.push(name);
    }

    /// The answer is this one, says the tracer and says the kernel, and for this rule.
    #[track_caller]
    pub(super) fn ask(&mut self, asked: &Asked, expected: &str, by: &str) {
        self.ask_all(asked, &[(expected, by)]);
    }

    /// The same where more than one answer is possible: these are all of them, and the kernel's is among them. Which, is told.
    #[track_caller]
    pub(super) fn ask_all(&mut self, asked: &Asked, expected: &[(&str, &str)]) -> String {
        self.compare(asked, &asked.question(), expected, |pod| {
            let arrived = pod.stage.send_within(&asked.sent, PATIENCE);
            pod.seen(asked, &arrived)
        })
    }

    /// A question about an echo request.
    #[track_caller]
    pub(super) fn ping(&mut self, to: &str, expected: &str, by: &str) {
        let asked = out(&format!("{to}:0"));
        let question = Question { protocol: Protocol::Other(1), ..asked.question() };
        self.compare(&asked, &question, &[(expected, by)], |pod| {
            // Who answers has got it.
            pod.stage.pod.sh(&format!("busybox ping -c 1 -W 1 {to}"));
            expected.to_owned()
        });
    }

    /// What the kernel makes of a packet that `send` sends and tells of is what the tracer says.
    #[track_caller]
    pub(super) fn compare(
        &mut self,
        asked: &Asked,
        question: &Question,
        expected: &[(&str, &str)],
        send: impl FnOnce(&mut Self) -> String,
    ) -> String {
        let before = look(self.stage.pod.netns());
        let tracer = Tracer::of(&before);
        let trace = tracer.trace(question);
        let said = |outcome: &Outcome<'_>| (self.said(asked, outcome), path(&tracer, outcome));
        let told: Vec<(String, String)> = trace.outcomes.iter().map(said).collect();
        let seen = send(self);
        // Where it was refused nobody tells.
        let fits = |text: &str| text == seen || seen == "refused" && text.starts_with("refused at ");
        let story = || format!("{:?}, {asked:?}\n{}", self.means, story_of(&before, &tracer, question, &trace));
        let wanted = |one: &(String, String)| expected.iter().any(|(text, by)| one.0 == *text && one.1 == *by);
        assert!(
            told.len() == expected.len() && told.iter().all(wanted) && expected.iter().any(|(text, _)| fits(text)),
            "\nexpected {expected:#?}\nthe tracer says {told:#?}\nthe kernel says {seen:?}\n{}",
            story()
        );
        let at = told.iter().position(|(text, _)| fits(text)).expect("it is one of them");
        let wrong = miscounted(&tracer, &trace.outcomes[at], &before, &look(self.stage.pod.netns()), asked);
        assert!(wrong.is_empty(), "{wrong:#?}\n{}", story());
        seen
    }

    /// What a way of the tracer's comes to, in one line.
    fn said(&self, asked: &Asked, outcome: &Outcome<'_>) -> String {
        let packet = &outcome.packet;
        let source = known(packet.source);
        let end = match (packet.destination, packet.destination_port) {
            (Known::Is(address), Known::Is(port)) => SocketAddr::new(address, port).to_string(),
            (Known::Is(address), Known::Absent) => address.to_string(),
            other => format!("{other:?}"),
        };
        let name = |inode: u32| {
            let place = self.stage.receivers().iter().position(|one| one.inode == u64::from(inode));
            place.map_or("a stranger", |place| self.names[place])
        };
        match outcome.verdict {
            Verdict::Delivered => {
                let who: Vec<_> = outcome.receivers.iter().map(|socket| name(socket.inode)).collect();
                format!("{} gets {source} > {end}{}", who.join(" or "), dialled(asked, Some(plain(asked.sent.to))))
            }
            Verdict::Sent => format!("leaves {source} > {end}"),
            Verdict::Refused => format!("refused at {end}"),
            Verdict::Undecided => format!("undecided: {}", outcome.why.as_deref().unwrap_or_default()),
            other => other.word().to_owned(),
        }
    }

    /// The same of what really happened.
    fn seen(&self, asked: &Asked, arrived: &Arrived) -> String {
        let receivers = self.stage.receivers();
        let inside = arrived.by.iter().find(|one| receivers[one.receiver].place == Place::Pod);
        match (inside, arrived.wire.first(), arrived.told) {
            (Some(one), _, _) => {
                let local = one.local.map_or("nobody knows".to_owned(), |local| local.to_string());
                // Where nothing is tracked it is where it was sent (K4).
                let original = one.original.or(one.local);
                format!("{} gets {} > {local}{}", self.names[one.receiver], one.peer.ip(), dialled(asked, original))
            }
            (None, Some(frame), _) => format!("leaves {} > {}", frame.source.ip(), frame.destination),
            (None, None, Told::Error(Errno::ECONNREFUSED)) => "refused".to_owned(),
            // Who sends a datagram that is dropped on its way out is told so.
            (None, None, Told::Nothing | Told::Error(Errno::EPERM)) => "dropped".to_owned(),
            (None, None, Told::Error(_)) => "rejected".to_owned(),
            (None, None, Told::Connected) => "answered by nobody".to_owned(),
        }
    }
}

/// What people would read.
fn story_of(snapshot: &Snapshot, tracer: &Tracer<'_>, question: &Question, trace: &Trace<'_>) -> String {
    let teller = Teller::of(snapshot, tracer.rules());
    nslens::report::trace::text(
        &teller,
        Story { question, trace },
        Form { paint: Paint::new(false), width: 100, all: true },
    )
}

/// An address of IPv4 that an IPv6 socket dials is one of IPv4.
fn plain(end: SocketAddr) -> SocketAddr {
    SocketAddr::new(end.ip().to_canonical(), end.port())
}

/// `SO_ORIGINAL_DST`, which connections alone have.
fn dialled(asked: &Asked, end: Option<SocketAddr>) -> String {
    match (asked.sent.protocol, end) {
        (Protocol::Tcp, Some(end)) => format!(" for {end}"),
        _ => String::new(),
    }
}

fn known<T: std::fmt::Display>(value: Known<T>) -> String {
    match value {
        Known::Is(value) => value.to_string(),
        Known::Absent => "none".to_owned(),
        Known::Unknown => "?".to_owned(),
    }
}

/// The name of a chain of either iptables or nft: a mesh writes both in its own way.
fn name(chain: &str) -> String {
    chain.to_ascii_uppercase().replace('-', "_")
}

/// The rule that decided, behind the rules that lead to it: `nat OUTPUT 1, ISTIO_OUTPUT 9, ISTIO_REDIRECT 1`.
pub(super) fn path(tracer: &Tracer<'_>, outcome: &Outcome<'_>) -> String {
    let Some(rule) = &outcome.rule else { return "no rule".to_owned() };
    let met: Vec<(Met<'_>, At<'_>)> =
        outcome.met.iter().filter_map(|met| Some((met, tracer.rules().at(met.place)?))).collect();
    let last = met.iter().rposition(|(met, at)| met.matched && at.name().as_ref() == Some(rule));
    let last = last.expect("it was met, and matched");
    let (hook, mut at) = (met[last].0.hook, met[last].1);
    let mut parts = Vec::new();
    for (met, earlier) in met[..=last].iter().rev() {
        let here = earlier.name().filter(|_| met.matched && met.hook == hook);
        if let Some(here) =
            here.filter(|here| parts.is_empty() || leads(earlier, at.chain.name.as_str()) && here.table == rule.table)
        {
            parts.push(format!("{} {}", name(&here.chain), here.number));
            at = *earlier;
        }
    }
    assert_eq!(at.chain.hook, Some(hook), "the path begins at the hook");
    parts.reverse();
    let table = rule.table.rsplit('-').next().unwrap_or_default();
    format!("{table} {}", parts.join(", "))
}

fn leads(at: &At<'_>, to: &str) -> bool {
    let Some((_, rule)) = at.rule else { return false };
    reading(at.ruleset.family, at.table, rule).is_some_and(|reading| reading.rule.jumps_to() == Some(to))
}

/// Packets that each rule has counted, where it counts; and whether that are first ones alone.
fn counted(snapshot: &Snapshot) -> BTreeMap<RuleRef, (u64, bool)> {
    let mut all = BTreeMap::new();
    for ruleset in snapshot.rulesets() {
        for table in &ruleset.tables {
            let mut base = table.chains.iter().filter(|chain| chain.hook.is_some());
            let nat = base.all(|chain| chain.kind.as_deref() == Some("nat"));
            for chain in &table.chains {
                for (at, rule) in chain.rules.iter().enumerate() {
                    let name = RuleRef {
                        backend: ruleset.backend,
                        family: ruleset.family,
                        table: table.name.clone(),
                        chain: chain.name.clone(),
                        number: at + 1,
                    };
                    all.extend(packets(rule).map(|packets| (name, (packets, nat))));
                }
            }
        }
    }
    all
}

fn packets(rule: &Rule) -> Option<u64> {
    let native = match &rule.body {
        Body::Nft(native) => native.expressions.iter().find_map(|part| match part {
            Expression::Counter { packets, .. } => Some(*packets),
            _ => None,
        }),
        Body::Xt(_) => None,
    };
    rule.counters.map(|counters| counters.packets).or(native)
}

/// Rules whose counters say something else than the tracer. Those of nat tables see nothing but the first packet of a connection;
/// others, where one is answered, see more.
fn miscounted(
    tracer: &Tracer<'_>,
    way: &Outcome<'_>,
    before: &Snapshot,
    after: &Snapshot,
    asked: &Asked,
) -> Vec<String> {
    let mut said: BTreeMap<RuleRef, u64> = BTreeMap::new();
    for met in way.met.iter().filter(|met| met.matched) {
        let name = tracer.rules().at(met.place).and_then(|at| at.name());
        name.into_iter().for_each(|name| *said.entry(name).or_default() += 1);
    }
    let (before, after) = (counted(before), counted(after));
    let alone = asked.sent.protocol == Protocol::Udp;
    let wrong = after.iter().filter_map(|(rule, (now, nat))| {
        let moved = now - before.get(rule).map_or(0, |(then, _)| *then);
        let said = said.get(rule).copied().unwrap_or(0);
        let right = if *nat || alone { moved == said } else { moved >= said };
        (!right).then(|| format!("{rule} counted {moved} packets where {said} are said"))
    });
    wrong.collect()
}
