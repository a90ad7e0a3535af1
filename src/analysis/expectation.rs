//! What somebody expects of a workload, as a file says it (`check --expect`), and whether it is so.

mod written;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use written::written;

use super::check::{Allowed, Case, Demand};
use super::findings::Kind;
use super::mesh::Mesh;
use super::trace::asked::{self, Wrong};
use super::trace::{Outcome, Question, Trace, Verdict};
use crate::model::{Endpoint, Family, RuleRef, Snapshot, Subject};
use crate::packet::Known;
use crate::syntax::print_rule;

/// What a file expects.
#[derive(Debug, Clone, Default)]
pub struct Expectation {
    /// The mesh; `None` where the file says nothing of one.
    pub mesh: Option<MeshExpected>,
    /// Families in which something must be redirected: whether it is IPv6.
    pub families: Vec<bool>,
    /// Packets, and what becomes of each.
    pub packets: Vec<Packet>,
    /// Findings that are accepted.
    pub allow: Vec<Allowed>,
}

/// Which mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeshExpected {
    /// None at all.
    None,
    /// Redirection is demanded.
    Demanded(Demand),
}

/// A packet as `trace --batch` takes it, and what is expected of it. In its addresses `self` stands for the workload's own of IPv4,
/// `self6` for that of IPv6.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packet {
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    destination: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    expect: End,
}

/// What is expected of a packet: each that is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    /// A word of [`Verdict`].
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<String>,
    /// Where it goes after all translation.
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<String>,
    /// The port of the socket that gets it, which with TPROXY is not the packet's.
    #[serde(skip_serializing_if = "Option::is_none")]
    receiver_port: Option<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    mesh: Option<String>,
    #[serde(default)]
    families: Vec<String>,
    #[serde(default)]
    packets: Vec<Packet>,
    #[serde(default)]
    allow: Vec<Accepted>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Accepted {
    id: String,
    because: String,
}

/// Whether something is as it was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What was expected, in few words: `uid 1000 → 10.0.0.5:443` (hostile text, as below).
    pub what: String,
    /// How it is.
    pub state: State,
}

/// How it is with what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// As expected.
    Met,
    /// Not so: what was expected, what it is, and why.
    Unmet(String),
    /// Cannot be told, and why.
    Open(String),
}

impl Expectation {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong, and in which line or part.
    pub fn read(text: &str) -> Result<Self, String> {
        let file: Option<File> = yaml_serde::from_str(text).map_err(|error| error.to_string())?;
        let file = file.ok_or("nothing stands in it")?;
        let mesh = file.mesh.as_deref().map(mesh).transpose()?;
        let families = file.families.iter().map(|word| family(word)).collect::<Result<_, _>>()?;
        for (at, packet) in file.packets.iter().enumerate() {
            packet.check().map_err(|wrong| format!("packet {} ({}): {wrong}", at + 1, packet.destination))?;
        }
        let allow = file.allow.iter().map(Accepted::read).collect::<Result<_, _>>()?;
        Ok(Self { mesh, families, packets: file.packets, allow })
    }

    /// The mesh that is demanded.
    #[must_use]
    pub fn demand(&self) -> Option<Demand> {
        match self.mesh {
            Some(MeshExpected::Demanded(demand)) => Some(demand),
            _ => None,
        }
    }

    /// How it is with all of it. That a demanded mesh is there is no part of this: a finding tells it.
    #[must_use]
    pub fn kept(&self, case: &Case<'_>) -> Vec<Kept> {
        let mut kept = Vec::new();
        if self.mesh == Some(MeshExpected::None) {
            let state = match case.expected.mesh {
                None => State::Met,
                Some(mesh) => State::Unmet(format!("expected none, got {}", mesh.word())),
            };
            kept.push(Kept { what: "mesh".to_owned(), state });
        }
        kept.extend(self.families.iter().map(|ipv6| redirected(case, *ipv6)));
        kept.extend(self.packets.iter().map(|packet| packet.kept(case)));
        kept
    }
}

fn mesh(word: &str) -> Result<MeshExpected, String> {
    match (word, Mesh::ALL.into_iter().find(|mesh| mesh.word() == word)) {
        ("none", _) => Ok(MeshExpected::None),
        ("any", _) => Ok(MeshExpected::Demanded(Demand::Any)),
        (_, Some(mesh)) => Ok(MeshExpected::Demanded(Demand::Mesh(mesh))),
        _ => {
            let words: Vec<&str> = Mesh::ALL.into_iter().map(Mesh::word).collect();
            Err(format!("mesh: {word:?} is none; there are: {}, any, none", words.join(", ")))
        }
    }
}

fn family(word: &str) -> Result<bool, String> {
    match word {
        "ip" => Ok(false),
        "ip6" => Ok(true),
        _ => Err(format!("families: {word:?} is none; there are: ip, ip6")),
    }
}

impl Accepted {
    fn read(&self) -> Result<Allowed, String> {
        let Some(kind) = Kind::of(&self.id) else { return Err(format!("allow: there is no finding {:?}", self.id)) };
        let reason = self.because.trim();
        if reason.is_empty() {
            return Err(format!("allow: {} needs a reason", kind.id));
        }
        Ok(Allowed { id: kind.id.to_owned(), reason: reason.to_owned() })
    }
}

fn redirected(case: &Case<'_>, ipv6: bool) -> Kept {
    let name = if ipv6 { "IPv6" } else { "IPv4" };
    let state = match (case.expected.family(ipv6).is_some_and(|reach| reach.captures()), case.unread(&[Subject::Rules]))
    {
        (true, _) => State::Met,
        (false, Some(why)) => State::Open(why),
        (false, None) => State::Unmet("expected to be redirected, and no rule redirects it".to_owned()),
    };
    Kept { what: name.to_owned(), state }
}

/// `self` and `self6` as these addresses; `None` where one is named that there is not.
fn resolved(text: &str, own: [Option<IpAddr>; 2]) -> Option<String> {
    let (host, port) = text.split_once(':').filter(|_| text.starts_with("self")).unwrap_or((text, ""));
    let address = match host {
        "self" => own[0]?,
        "self6" => own[1]?,
        _ => return Some(text.to_owned()),
    };
    Some(match port.is_empty() {
        true => address.to_string(),
        false if address.is_ipv6() => format!("[{address}]:{port}"),
        false => format!("{address}:{port}"),
    })
}

/// What stands for the workload's own addresses while none is known (RFC 5737, RFC 3849).
const EXAMPLES: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

impl Packet {
    /// Whether it makes sense.
    fn check(&self) -> Result<(), Wrong> {
        self.question(EXAMPLES.map(Some)).transpose()?;
        let wrong = |text: &str| Wrong { text: text.to_owned(), hint: None };
        let End { verdict, destination, receiver_port } = &self.expect;
        if let Some(word) = verdict.as_ref().filter(|word| !Verdict::ALL.iter().any(|verdict| verdict.word() == **word))
        {
            let words: Vec<&str> = Verdict::ALL.into_iter().map(Verdict::word).collect();
            return Err(wrong(&format!("expect: {word:?} is no verdict; there are: {}", words.join(", "))));
        }
        if let Some(end) = destination {
            let end = resolved(end, EXAMPLES.map(Some)).unwrap_or_default();
            asked::end(&end).map_err(|error| wrong(&format!("expect: {error}")))?;
        }
        match (verdict, destination, receiver_port) {
            (None, None, None) => Err(wrong("expect: a verdict, a destination or a receiver_port is wanted")),
            _ => Ok(()),
        }
    }

    /// The question that it asks of a workload with these addresses; `None` where one is named that it has not.
    fn question(&self, own: [Option<IpAddr>; 2]) -> Option<Result<Question, Wrong>> {
        let source = match &self.source {
            Some(source) => Some(resolved(source, own)?),
            None => None,
        };
        let packet = Self { source, destination: resolved(&self.destination, own)?, ..self.clone() };
        let json = serde_json::to_value(packet).map(|mut json| {
            json.as_object_mut().map(|json| json.remove("expect"));
            json.to_string()
        });
        // A value of texts and numbers is always written.
        Some(asked::question(json.unwrap_or_default().as_bytes()))
    }

    /// `udp uid 1000 → 10.0.0.5:53`
    fn words(&self) -> String {
        let mut words = Vec::new();
        words.extend(self.protocol.clone().filter(|word| word != "tcp"));
        words.extend(self.uid.map(|uid| format!("uid {uid}")));
        words.extend(self.gid.filter(|gid| Some(*gid) != self.uid).map(|gid| format!("gid {gid}")));
        words.extend(self.mark.map(|mark| format!("mark {mark}")));
        words.extend((self.direction.as_deref() == Some("in")).then(|| "from outside".to_owned()));
        words.extend(self.source.clone());
        words.push(format!("→ {}", self.destination));
        words.join(" ")
    }

    fn kept(&self, case: &Case<'_>) -> Kept {
        let own = [false, true].map(|ipv6| case.own_address(ipv6));
        Kept { what: self.words(), state: self.state(case, own) }
    }

    fn state(&self, case: &Case<'_>, own: [Option<IpAddr>; 2]) -> State {
        let question = match self.question(own) {
            Some(Ok(question)) => question,
            // It was looked at when the file was read.
            Some(Err(wrong)) => return State::Open(wrong.text),
            None => return State::Open("the workload has no address of this family, or none was read".to_owned()),
        };
        let destination = match &self.expect.destination {
            Some(end) => match resolved(end, own) {
                Some(end) => asked::end(&end).ok(),
                None => return State::Open("the workload has no address of the family that is expected".to_owned()),
            },
            None => None,
        };
        let trace = case.trace(&question);
        let undecided = trace.verdict() == Verdict::Undecided;
        if undecided && self.expect.verdict.as_deref() == Some(Verdict::Undecided.word()) {
            return State::Met;
        }
        let fits: Vec<bool> = trace.outcomes.iter().map(|outcome| self.fits(outcome, destination)).collect();
        if !fits.is_empty()
            && fits.iter().all(|fits| *fits)
            && trace.outcomes.iter().all(|one| one.verdict != Verdict::Undecided)
        {
            return State::Met;
        }
        let surely = trace.outcomes.iter().all(|outcome| outcome.verdict != Verdict::Undecided);
        match trace.outcomes.first() {
            Some(first) if surely && !fits.contains(&true) => {
                State::Unmet(format!("expected {}, got {}", self.expected(), got(case.snapshot, &question, first)))
            }
            _ => State::Open(format!("expected {}, and it hangs on {}", self.expected(), hangs_on(&trace))),
        }
    }

    fn fits(&self, outcome: &Outcome<'_>, destination: Option<(IpAddr, Option<u16>)>) -> bool {
        let packet = &outcome.packet;
        let to = destination.is_none_or(|(address, port)| {
            packet.destination == Known::Is(address)
                && port.is_none_or(|port| packet.destination_port == Known::Is(port))
        });
        let verdict = self.expect.verdict.as_deref().is_none_or(|word| word == outcome.verdict.word());
        let receiver = self.expect.receiver_port.is_none_or(|port| {
            !outcome.receivers.is_empty() && outcome.receivers.iter().all(|socket| socket.local.port == port)
        });
        to && verdict && receiver
    }

    /// `delivered at 127.0.0.1:15001`, or what of it is said.
    fn expected(&self) -> String {
        let End { verdict, destination, receiver_port } = &self.expect;
        let mut words = Vec::new();
        words.extend(verdict.clone());
        words.extend(destination.as_ref().map(|end| if verdict.is_some() { format!("at {end}") } else { end.clone() }));
        words.extend(receiver_port.map(|port| format!("to the socket of port {port}")));
        words.join(" ")
    }
}

/// What became of a packet, and why.
fn got(snapshot: &Snapshot, question: &Question, outcome: &Outcome<'_>) -> String {
    let packet = &outcome.packet;
    let now = match (packet.destination, packet.destination_port) {
        (Known::Is(address), Known::Is(port)) => Some(Endpoint::new(address, port)),
        _ => None,
    };
    let moved = now.filter(|now| *now != question.destination);
    let at = moved.map(|end| format!(" at {end}")).unwrap_or_default();
    let why = match (&outcome.rule, outcome.verdict) {
        (Some(rule), _) => format!("rule {}", described(snapshot, rule)),
        (None, Verdict::Dropped | Verdict::Rejected) if outcome.lost.is_some() => "no route leads there".to_owned(),
        (None, Verdict::Dropped | Verdict::Rejected) => "a chain's policy ends it".to_owned(),
        (None, Verdict::Refused) => "nobody listens there".to_owned(),
        (None, _) => "no rule is about it".to_owned(),
    };
    format!("{}{at}, because {why}", outcome.verdict.word())
}

/// A rule by its place, with its text.
fn described(snapshot: &Snapshot, place: &RuleRef) -> String {
    let is_it = |backend, family: Family| (backend, family) == (place.backend, place.family);
    let table =
        snapshot.rulesets().iter().filter(|one| is_it(one.backend, one.family)).find_map(|one| one.table(&place.table));
    let chain = table.and_then(|table| Some((table, table.chain(&place.chain)?)));
    let text = chain.and_then(|(table, chain)| {
        let at = place.number.checked_sub(1)?;
        Some(print_rule(place.family, table, chain, chain.rules.get(at)?))
    });
    text.map_or_else(|| place.to_string(), |text| format!("{place} ({text})"))
}

fn hangs_on(trace: &Trace<'_>) -> String {
    let doubt = trace.doubts.last().map(|doubt| doubt.why.clone());
    let open = trace.outcomes.iter().find_map(|outcome| outcome.why.clone());
    doubt.or(open).unwrap_or_else(|| "several things".to_owned())
}

#[cfg(test)]
mod tests;
