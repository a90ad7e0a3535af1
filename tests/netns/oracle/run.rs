//! Sends random packets through random rules, compares, and makes small what is wrong.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use nslens::analysis::trace::{Trace, Tracer, Verdict};
use nslens::capture::rules::{Wanted, read};
use nslens::capture::sets::Elements;
use nslens::model::{Protocol, RuleRef, Snapshot};

use super::chance::Chance;
use super::covered::Covered;
use super::judge::{self, Seen};
use super::packets::{self, Asked, Ports};
use super::rules::Rules;
use crate::support::require_root;
use crate::traffic::{Place, Properties, Stage};

/// Rules, and packets that may find something in them.
pub(super) struct Class {
    pub(super) name: &'static str,
    /// Makes rules.
    pub(super) rules: fn(&mut Chance) -> Rules,
    /// Packets of IPv6: so many of a hundred.
    pub(super) ipv6: usize,
    /// Nothing may be left open.
    pub(super) decidable: bool,
    /// The owner is not told: so often of a hundred times.
    pub(super) anonymous: usize,
}

/// How much of everything there was.
/// Of so many rule sets one is asked about by all its packets at once, too.
const COVERED: usize = 2;

#[derive(Debug, Default)]
struct Tally {
    rule_sets: usize,
    rules: usize,
    refused_rules: usize,
    packets: usize,
    undecided: usize,
    several: usize,
    open_ends: usize,
    again: usize,
    /// Looked for in the classes of `coverage`, too.
    covered: usize,
    outcomes: BTreeMap<&'static str, usize>,
    /// Of which nothing but the absence of anything else was seen.
    unseen: BTreeMap<&'static str, usize>,
    wrong: BTreeMap<String, usize>,
}

impl Tally {
    fn count(&mut self, trace: &Trace<'_>, seen: &Seen) {
        self.packets += 1;
        let word = trace.verdict().word();
        *self.outcomes.entry(word).or_default() += 1;
        self.undecided += usize::from(trace.outcomes.iter().any(|one| one.verdict == Verdict::Undecided));
        self.several += usize::from(trace.outcomes.len() > 1);
        self.open_ends += usize::from(trace.outcomes.iter().any(judge::leaves_ends_open));
        if !seen.shows(trace.verdict()) {
            *self.unseen.entry(word).or_default() += 1;
        }
    }
}

/// Packets for each rule set.
const PACKETS: usize = 40;
/// Rule sets for each pair of namespaces: what was there before must not be seen for ever.
const REUSED: usize = 25;
/// Differences that are made small and told in full, unless `NSLENS_TOLD` says how many.
const TOLD: usize = 3;

/// What a question cannot say, and so must be left open: a program may connect its socket for datagrams first, or not (K29).
const NOT_ASKED: [&str; 1] = ["whether its socket is connected"];

/// Ports at which the pod waits: everywhere, at one address, in one family, transparently, or not at all.
const WAITING: [(&str, bool); 12] = [
    ("0.0.0.0:80", false),
    ("[::]:80", false),
    ("[::]:8080", false),
    ("127.0.0.1:53", false),
    ("[::1]:53", false),
    ("10.0.0.2:443", false),
    ("[fd00::2]:443", false),
    ("0.0.0.0:15001", false),
    ("[::]:15001", false),
    ("0.0.0.0:15006", true),
    ("[::]:15006", true),
    ("0.0.0.0:15008", false),
];

fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.deafen();
    // Nobody is spared an answer for having got one a moment ago.
    stage.pod.sh("sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0");
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for (at, transparent) in WAITING {
            let shared = WAITING.iter().any(|(other, _)| *other == at.replace("[::]", "0.0.0.0"));
            // One of IPv6 at an address may be found at 127.0.0.6, too, or not: that cannot be told (and hangs on the kernel's version).
            let only_v6 = shared || at.starts_with("[") && !at.starts_with("[::]");
            let socket = Properties { transparent, only_v6, uid: 1337, ..Properties::default() };
            stage.receive(Place::Pod, protocol, at.parse().expect("an end"), &socket).expect("a receiver");
        }
    }
    stage
}

fn told_at_most() -> usize {
    std::env::var("NSLENS_TOLD").ok().and_then(|count| count.parse().ok()).unwrap_or(TOLD)
}

fn counters(stage: &Stage) -> HashMap<RuleRef, u64> {
    let wanted = Wanted { elements: Elements::None, ..Wanted::default() };
    let (rulesets, _) = read(stage.pod.netns(), std::path::Path::new("/proc"), wanted).expect("rules");
    judge::counters(&rulesets)
}

/// Rules that are loaded, and what is known of the pod then.
struct Scene<'a> {
    stage: &'a mut Stage,
    tracer: &'a Tracer<'a>,
    counted: HashMap<RuleRef, u64>,
    decidable: bool,
}

/// What came of one packet.
struct Compared<'a> {
    trace: Trace<'a>,
    seen: Seen,
    wrong: Vec<&'static str>,
}

impl<'a> Scene<'a> {
    /// Sends a packet and compares; what is wrong is wrong three times, with more patience.
    fn compare(&mut self, asked: &Asked, ports: &mut Ports, again: &mut usize) -> Compared<'a> {
        let mut found = self.once(asked, ports, Duration::from_millis(3));
        for patience in [30, 100] {
            if found.wrong.is_empty() {
                break;
            }
            *again += 1;
            // What is on its way still may come to its end.
            std::thread::sleep(Duration::from_millis(2));
            self.counted = counters(self.stage);
            found = self.once(asked, ports, Duration::from_millis(patience));
        }
        found
    }

    fn once(&mut self, asked: &Asked, ports: &mut Ports, patience: Duration) -> Compared<'a> {
        let mut asked = asked.clone();
        if let Some(source) = &mut asked.sent.source {
            source.set_port(ports.next());
        }
        let trace = self.tracer.trace(&asked.question());
        let arrived = self.stage.send_within(&asked.sent, patience);
        let after = counters(self.stage);
        let seen = Seen { arrived, moved: judge::moved(&self.counted, &after), protocol: asked.sent.protocol };
        self.counted = after;
        let mut wrong: Option<Vec<&'static str>> = None;
        for outcome in &trace.outcomes {
            let against =
                judge::against((self.tracer, outcome), &seen, self.stage.receivers(), (&self.counted, self.decidable));
            let open = against == ["undecided"] && !self.decidable;
            let better = wrong.as_ref().is_none_or(|known| against.len() < known.len());
            if open || against.is_empty() {
                wrong = Some(Vec::new());
            } else if better {
                wrong = Some(against);
            }
        }
        let mut wrong = wrong.unwrap_or_else(|| vec!["no outcome"]);
        let unsaid = trace.doubts.iter().any(|doubt| !NOT_ASKED.contains(&doubt.why.as_str()));
        if self.decidable && trace.outcomes.len() > 1 && unsaid {
            wrong.push("undecided");
        }
        if seen.arrived.late > 0 {
            wrong.push("late");
        }
        if !judge::original_is(&trace, &seen) {
            wrong.push("original");
        }
        Compared { trace, seen, wrong }
    }
}

/// What the pod is with these rules; they are loaded.
fn look(stage: &Stage, known: &Snapshot) -> Snapshot {
    let wanted = Wanted { elements: Elements::All, ..Wanted::default() };
    let mut snapshot = known.clone();
    stage.read_rules(&mut snapshot, wanted);
    snapshot
}

/// Whether a packet still is wrong in the same way with these rules, and how it is told then.
fn still_wrong(rules: &Rules, asked: &Asked, class: &Class, ports: &mut Ports) -> Option<(String, Vec<&'static str>)> {
    let mut stage = stage();
    let mut rules = rules.clone();
    rules.load_or_refuse(&stage).then_some(())?;
    let snapshot = stage.snapshot();
    let tracer = Tracer::of(&snapshot);
    let counted = counters(&stage);
    let mut scene = Scene { stage: &mut stage, tracer: &tracer, counted, decidable: class.decidable };
    let Compared { trace, seen, wrong } = scene.compare(asked, ports, &mut 0);
    let ours: Vec<String> = trace.outcomes.iter().map(|outcome| judge::told(&tracer, outcome)).collect();
    let doubts: Vec<&str> = trace.doubts.iter().map(|doubt| doubt.why.as_str()).collect();
    let text = format!(
        "{}\n  packet: {}\n  kernel: {}\n  said:   {}\n  doubts: {doubts:?}\n  wrong:  {wrong:?}",
        rules.script(),
        asked.words(),
        seen.words(scene.stage.receivers()),
        ours.join("\n          ")
    );
    (!wrong.is_empty()).then_some((text, wrong))
}

/// The least rules with which a packet still is wrong in the same way.
fn shrink(rules: &Rules, asked: &Asked, class: &Class, wrong: &[&str]) -> String {
    let mut ports = Ports::default();
    let (mut least, mut told) = (rules.clone(), None);
    let until = Instant::now() + Duration::from_secs(25);
    'smaller: while Instant::now() < until {
        for smaller in least.smaller() {
            if Instant::now() > until {
                break;
            }
            let found = still_wrong(&smaller, asked, class, &mut ports);
            if let Some((text, same)) = found
                && same.first() == wrong.first()
            {
                (least, told) = (smaller, Some(text));
                continue 'smaller;
            }
        }
        break;
    }
    let told = told.or_else(|| Some(still_wrong(&least, asked, class, &mut ports)?.0));
    told.unwrap_or_else(|| format!("{}\n  packet: {}\n  (not seen again)", rules.script(), asked.words()))
}

/// The seed of ordinary runs.
const USUAL_SEED: u64 = 20_261_123;

/// Runs a class for so many packets.
#[expect(clippy::print_stdout, reason = "the seed and the figures are wanted, with --nocapture and with every failure")]
pub(super) fn run(class: &Class, packets: usize) {
    if !require_root() {
        return;
    }
    let told = std::env::var("NSLENS_SEED").ok().and_then(|seed| seed.parse().ok());
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_micros());
    // Every day the same: what nobody has seen yet is for those who have the time to look at it.
    let drawn = || match std::env::var_os("NSLENS_LONG") {
        Some(_) => u64::try_from(now() & 0xffff_ffff).unwrap_or_default(),
        None => USUAL_SEED,
    };
    let seed = told.unwrap_or_else(drawn);
    println!("{}: NSLENS_SEED={seed}", class.name);
    let (mut tally, mut failures, begun) = (Tally::default(), Vec::new(), Instant::now());
    let mut seeds = Chance::new(seed);
    while tally.packets < packets {
        let mut stage = stage();
        let known = stage.snapshot();
        assert!(known.unread.is_empty(), "{:?}", known.unread);
        let mut ports = Ports::default();
        for _ in 0..REUSED {
            if tally.packets >= packets || failures.len() >= told_at_most() {
                break;
            }
            rule_set(
                class,
                &mut Chance::new(seeds.next()),
                (&mut stage, &known, &mut ports),
                &mut tally,
                &mut failures,
            );
        }
        if failures.len() >= told_at_most() {
            break;
        }
    }
    println!("{}: {tally:?} in {:.1?}", class.name, begun.elapsed());
    assert!(failures.is_empty(), "NSLENS_SEED={seed} {:?}\n\n{}", tally.wrong, failures.join("\n\n"));
}

/// One rule set, and the packets for it.
#[expect(clippy::print_stdout, reason = "what is not known is wanted where it is asked for")]
fn rule_set(
    class: &Class,
    chance: &mut Chance,
    (stage, known, ports): (&mut Stage, &Snapshot, &mut Ports),
    tally: &mut Tally,
    failures: &mut Vec<String>,
) {
    let mut rules = (class.rules)(chance);
    tally.refused_rules += rules.load(stage);
    (tally.rule_sets, tally.rules) = (tally.rule_sets + 1, tally.rules + rules.count());
    let snapshot = look(stage, known);
    let tracer = Tracer::of(&snapshot);
    let counted = counters(stage);
    let mut scene = Scene { stage: &mut *stage, tracer: &tracer, counted, decidable: class.decidable };
    let mut shown = false;
    let script = rules.script();
    let grouped = script.contains("suppl-groups");
    let mut covered = None;
    if tally.rule_sets.is_multiple_of(COVERED) {
        let (classes, wrong) = Covered::of(&tracer, grouped);
        failures.extend(wrong.map(|wrong| format!("{script}\n{wrong}")));
        covered = Some(classes);
    }
    for _ in 0..PACKETS {
        let ipv6 = chance.percent(class.ipv6);
        let incoming = chance.percent(35);
        let mut asked = packets::packet(chance, incoming, ipv6);
        asked.anonymous = chance.percent(class.anonymous);
        let Compared { trace, seen, wrong } = scene.compare(&asked, ports, &mut tally.again);
        tally.count(&trace, &seen);
        if let Some(covered) = &mut covered
            && let Some(how) = covered.check(&tracer, &asked.question(), grouped)
            && failures.len() < told_at_most()
        {
            failures.push(format!("{script}\n{how}"));
        }
        for outcome in trace.outcomes.iter().filter(|_| std::env::var_os("NSLENS_DOUBTS").is_some()) {
            for met in outcome.met.iter().filter(|met| met.supposed) {
                let Some(at) = tracer.rules().at(met.place) else { continue };
                let Some((_, rule)) = at.rule else { continue };
                println!("DOUBT {}", nslens::syntax::print_rule(at.ruleset.family, at.table, at.chain, rule));
            }
            if let Some(why) = &outcome.why {
                let rule = why.split("rule ").nth(1).and_then(|rule| rule.split(',').next()).unwrap_or("");
                let text = counted_text(&snapshot, rule);
                println!("DOUBT {why} {text}");
            }
        }
        if !wrong.is_empty() {
            *tally.wrong.entry(wrong.join("+")).or_default() += 1;
            let wanted = std::env::var("NSLENS_WRONG").map_or(true, |only| wrong.first() == Some(&only.as_str()));
            if failures.len() < told_at_most() && !shown && wanted {
                shown = true;
                failures.push(shrink(&rules, &asked, class, &wrong));
            }
        }
    }
    tally.covered += covered.map_or(0, |covered| covered.packets);
    rules.unload(stage);
}

fn counted_text(snapshot: &Snapshot, name: &str) -> String {
    for ruleset in snapshot.rulesets() {
        for table in &ruleset.tables {
            for chain in &table.chains {
                for (at, rule) in chain.rules.iter().enumerate() {
                    let own = format!(
                        "{} {} {} {} {}",
                        ruleset.backend.word(),
                        ruleset.family.word(),
                        table.name,
                        chain.name,
                        at + 1
                    );
                    if own == name {
                        return nslens::syntax::print_rule(ruleset.family, table, chain, rule);
                    }
                }
            }
        }
    }
    String::new()
}
