//! The grid: for every rule set of the corpus the same packets, in a made pod; what nslens says of each, and what the kernel does.
//!
//! A packet is a sender, a place that it is sent to, and a port; each rule set adds those that it names itself.

#[path = "grid/named.rs"]
mod named;
#[path = "grid/pod.rs"]
pub(crate) mod pod;
#[path = "grid/rows.rs"]
pub(crate) mod rows;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

pub(crate) use named::Named;
use nslens::analysis::trace::{Outcome, Question, Trace, Verdict};
use nslens::archive::{Loaded, read};
use nslens::model::{Endpoint, Family, Protocol, Ruleset, Unread};
use nslens::packet::Known;

/// A rule set of the corpus, in all forms in which it is there.
pub(crate) struct Case {
    /// `mesh/case`.
    pub(crate) name: String,
    /// The forms, the first being the one that the corpus was given.
    pub(crate) forms: Vec<Form>,
}

/// One form of a case: a text for each family, or one for both.
pub(crate) struct Form {
    pub(crate) word: &'static str,
    pub(crate) files: Vec<(Family, PathBuf)>,
}

/// Who sends a packet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Who {
    pub(crate) label: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mark: u32,
    /// Where it comes from, where that is told.
    pub(crate) source: Option<IpAddr>,
}

/// Where a packet is sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    pub(crate) label: String,
    pub(crate) address: IpAddr,
    /// From which address, where that is told.
    pub(crate) source: Option<IpAddr>,
}

/// Whether an address is one of the pod's own.
pub(crate) fn is_own(it: IpAddr) -> bool {
    it.is_loopback() || ["10.0.0.2", "10.0.0.3", "fd00::2", "::6"].map(address).contains(&it)
}

/// A direction and family, with all that its packets are made of.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) incoming: bool,
    pub(crate) ipv6: bool,
    pub(crate) who: Vec<Who>,
    pub(crate) places: Vec<Place>,
    pub(crate) ports: Vec<(Protocol, u16)>,
}

/// A packet by its places in the lists of its block.
pub(crate) type Cell = [usize; 3];

/// What is said of a packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Told {
    /// What becomes of it.
    pub(crate) becomes: String,
    /// The rule that decides.
    pub(crate) by: String,
}

/// Source port of every packet.
pub(crate) const SOURCE_PORT: u16 = 40_000;

/// All cases below a corpus; none is a failure.
pub(crate) fn cases(corpus: &Path) -> Vec<Case> {
    let mut found: BTreeMap<String, Vec<Form>> = BTreeMap::new();
    let mut meshes: Vec<PathBuf> = list(corpus).into_iter().filter(|path| path.is_dir()).collect();
    meshes.retain(|path| !path.ends_with("saved"));
    for mesh in meshes {
        let mesh_name = mesh.file_name().expect("a name").to_string_lossy().into_owned();
        for path in list(&mesh) {
            let file = path.file_name().expect("a name").to_string_lossy().into_owned();
            let Some((stem, word, family)) = divided(&file, &["rules", "nft"]) else { continue };
            add(found.entry(format!("{mesh_name}/{stem}")).or_default(), word, family, path);
        }
    }
    for (name, forms) in &mut found {
        let folder = corpus.join("saved").join(name).parent().expect("a folder").to_owned();
        let families: Vec<Family> = forms.iter().flat_map(|form| &form.files).map(|(family, _)| *family).collect();
        let mut saved = Vec::new();
        for path in list(&folder) {
            let file = path.file_name().expect("a name").to_string_lossy().into_owned();
            let kinds = ["legacy-save", "nft-save", "nft-list", "nft-json"];
            let Some((stem, word, family)) = divided(&file, &kinds) else { continue };
            if name.ends_with(&format!("/{stem}")) {
                add(&mut saved, word, family, path);
            }
        }
        // A half that did not load has no saved form; the other half alone is another rule set.
        saved.retain(|form| form.files.len() == families.len());
        forms.extend(saved);
    }
    assert!(!found.is_empty(), "no case below {}", corpus.display());
    found.into_iter().map(|(name, forms)| Case { name, forms }).collect()
}

fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    found.sort();
    found
}

/// Name, form and family of a file.
fn divided(file: &str, words: &[&'static str]) -> Option<(String, &'static str, Family)> {
    let word = words.iter().find(|word| file.ends_with(&format!(".{word}")))?;
    let stem = file.strip_suffix(word)?.strip_suffix('.')?;
    let native = *word == "nft" || *word == "nft-json";
    match stem.strip_suffix(".v6") {
        Some(stem) => Some((stem.to_owned(), word, Family::Ip6)),
        None => Some((stem.to_owned(), word, if native { Family::Inet } else { Family::Ip })),
    }
}

fn add(forms: &mut Vec<Form>, word: &'static str, family: Family, path: PathBuf) {
    match forms.iter_mut().find(|form| form.word == word) {
        Some(form) => form.files.push((family, path)),
        None => forms.push(Form { word, files: vec![(family, path)] }),
    }
}

impl Form {
    /// Its rules and what of them was not read, as for a target that is a file; or why it is none.
    pub(crate) fn rules(&self) -> Result<(Vec<Ruleset>, Vec<Unread>), String> {
        let (mut rulesets, mut unread) = (Vec::new(), Vec::new());
        for (family, path) in &self.files {
            let bytes = std::fs::read(path).expect("a text");
            let family = if *family == Family::Ip6 { Family::Ip6 } else { Family::Ip };
            match read(&bytes, family).map_err(|error| error.to_string())? {
                Loaded::Rules(found, left_out) => {
                    rulesets.extend(found);
                    unread.extend(left_out);
                }
                Loaded::Snapshot(_) => return Err("it is a snapshot".to_owned()),
            }
        }
        Ok((rulesets, unread))
    }

    fn text(&self) -> String {
        self.files.iter().map(|(_, path)| std::fs::read_to_string(path).expect("a text")).collect()
    }
}

impl Case {
    /// What the rules name themselves.
    pub(crate) fn named(&self) -> Named {
        Named::of(&self.forms.first().map(Form::text).unwrap_or_default())
    }

    /// The packets that are asked about.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let named = self.named();
        [(false, false), (false, true), (true, false), (true, true)]
            .map(|(incoming, ipv6)| Block::of(incoming, ipv6, &named))
            .to_vec()
    }
}

impl Block {
    fn of(incoming: bool, ipv6: bool, named: &Named) -> Self {
        let mut ports: Vec<(Protocol, u16)> =
            [22, 53, 80, 443, 3306, 4143, 4190, 15001, 15006, 15008, 15020, 15090].map(|it| (Protocol::Tcp, it)).into();
        ports.extend(named.ports.iter().map(|port| (Protocol::Tcp, *port)));
        ports.sort_by_key(|(_, port)| *port);
        ports.dedup();
        ports.extend([(Protocol::Udp, 53), (Protocol::Udp, 443)]);
        let (who, places) = if incoming { (callers(ipv6), own(ipv6)) } else { (senders(named), places(ipv6, named)) };
        Self { incoming, ipv6, who, places, ports }
    }

    /// What stands above it.
    pub(crate) fn title(&self) -> String {
        format!("{} IPv{}", if self.incoming { "in" } else { "out" }, if self.ipv6 { 6 } else { 4 })
    }

    /// All packets.
    pub(crate) fn cells(&self) -> impl Iterator<Item = Cell> {
        let [who, places, ports] = self.sizes();
        (0..who).flat_map(move |who| (0..places).flat_map(move |place| (0..ports).map(move |port| [who, place, port])))
    }

    pub(crate) fn sizes(&self) -> [usize; 3] {
        [self.who.len(), self.places.len(), self.ports.len()]
    }

    /// The question that a packet is.
    pub(crate) fn question(&self, [who, place, port]: Cell) -> Question {
        let (who, place, (protocol, port)) = (&self.who[who], &self.places[place], self.ports[port]);
        let own = |id| (!self.incoming).then_some(id);
        Question {
            incoming: self.incoming,
            protocol,
            source: who.source.or(place.source),
            source_port: Some(SOURCE_PORT),
            destination: Endpoint::new(place.address, port),
            uid: own(who.uid),
            gid: own(who.gid),
            groups: (!self.incoming).then(Vec::new),
            mark: who.mark,
            interface: None,
            icmp: None,
            state: None,
        }
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn senders(named: &Named) -> Vec<Who> {
    let who = |label: String, uid, gid, mark| Who { label, uid, gid, mark, source: None };
    let mut senders = vec![
        who("1000".to_owned(), 1000, 1000, 0),
        who("root".to_owned(), 0, 0, 0),
        who("1337".to_owned(), 1337, 1337, 0),
        who("1337:1000".to_owned(), 1337, 1000, 0),
        who("1000:1337".to_owned(), 1000, 1337, 0),
        who("2102".to_owned(), 2102, 2102, 0),
        who("5678".to_owned(), 5678, 5678, 0),
        who("1000+0x539".to_owned(), 1000, 1000, 0x539),
    ];
    let usual = [0, 1337, 2102, 5678];
    senders.extend(
        named
            .uids
            .iter()
            .filter(|uid| !usual.contains(uid) && **uid != 1000)
            .map(|uid| who(format!("{uid}:9999"), *uid, 9999, 0)),
    );
    senders.extend(
        named
            .gids
            .iter()
            .filter(|gid| !usual.contains(gid) && **gid != 1000)
            .map(|gid| who(format!("9999:{gid}"), 9999, *gid, 0)),
    );
    senders.extend(
        named.marks.iter().filter(|mark| **mark != 0x539).map(|mark| who(format!("root+{mark:#x}"), 0, 0, *mark)),
    );
    senders
}

fn callers(ipv6: bool) -> Vec<Who> {
    let sources: &[(&str, &str)] = match ipv6 {
        false => &[("neighbour", "10.0.0.1"), ("world", "203.0.113.7"), ("probe", "169.254.7.127")],
        true => {
            &[("neighbour", "fd00::1"), ("world", "2610:a1::7"), ("probe", "fd16:9254:7127:1337:ffff:ffff:ffff:ffff")]
        }
    };
    let who = |(label, source): &(&str, &str)| Who {
        label: (*label).to_owned(),
        uid: 0,
        gid: 0,
        mark: 0,
        source: Some(address(source)),
    };
    sources.iter().map(who).collect()
}

fn own(ipv6: bool) -> Vec<Place> {
    vec![Place { label: "pod".to_owned(), address: address(if ipv6 { "fd00::2" } else { "10.0.0.2" }), source: None }]
}

fn places(ipv6: bool, named: &Named) -> Vec<Place> {
    let places: &[(&str, &str, Option<&str>)] = match ipv6 {
        false => &[
            ("service", "10.96.0.1", None),
            ("dns", "10.96.0.10", None),
            ("world", "203.0.113.7", None),
            ("metadata", "169.254.169.254", None),
            ("pod", "10.0.0.2", None),
            ("pod<127.0.0.6", "10.0.0.2", Some("127.0.0.6")),
            ("127.0.0.1", "127.0.0.1", None),
        ],
        true => &[
            ("service", "fd00:96::1", None),
            ("dns", "fd00:96::a", None),
            ("world", "2610:a1::7", None),
            ("pod", "fd00::2", None),
            ("pod<::6", "fd00::2", Some("::6")),
            ("::1", "::1", None),
        ],
    };
    let place = |(label, to, from): &(&str, &str, Option<&str>)| Place {
        label: (*label).to_owned(),
        address: address(to),
        source: from.map(address),
    };
    let mut places: Vec<Place> = places.iter().map(place).collect();
    // A link's own addresses say nothing without the link.
    let of_link = |own: &IpAddr| matches!(own, IpAddr::V6(own) if own.is_unicast_link_local());
    for own in named.addresses.iter().filter(|own| own.is_ipv6() == ipv6 && !of_link(own)) {
        if !places.iter().any(|known| known.address == *own) {
            places.push(Place { label: own.to_string(), address: *own, source: None });
        }
    }
    places
}

/// What is said of a packet, in few words.
pub(crate) fn told(trace: &Trace<'_>) -> Told {
    if let [only] = trace.outcomes.as_slice() {
        let (text, why) = (becomes(trace, only), only.why.as_deref());
        let text = why.map_or(text.clone(), |why| format!("{text}: {why}"));
        return Told { becomes: text, by: by(only) };
    }
    let mut ways: Vec<String> =
        trace.outcomes.iter().map(|outcome| [becomes(trace, outcome), ruled(outcome)].concat()).collect();
    ways.sort();
    let why = trace.doubts.last().map(|doubt| doubt.why.clone()).unwrap_or_default();
    Told { becomes: format!("undecided: {}", ways.join(" | ")), by: why }
}

fn ruled(outcome: &Outcome<'_>) -> String {
    outcome.rule.as_ref().map(|_| format!(" ({})", by(outcome))).unwrap_or_default()
}

fn by(outcome: &Outcome<'_>) -> String {
    outcome.rule.as_ref().map(|rule| format!("{} {} {}", rule.table, rule.chain, rule.number)).unwrap_or_default()
}

fn becomes(trace: &Trace<'_>, outcome: &Outcome<'_>) -> String {
    let (asked, packet) = (&trace.packet, &outcome.packet);
    let mut text = outcome.verdict.word().to_owned();
    text.push_str(&outcome.lost.map(|kind| format!(" by its route ({kind:?})")).unwrap_or_default());
    let stopped = matches!(outcome.verdict, Verdict::Dropped | Verdict::Rejected | Verdict::Undecided);
    if (asked.destination, asked.destination_port) != (packet.destination, packet.destination_port) && !stopped {
        text.push_str(&format!(" → {}", end(packet.destination, packet.destination_port)));
    }
    let at: Vec<String> = outcome.receivers.iter().map(|socket| socket.local.port.to_string()).collect();
    if !at.is_empty() && at != [port(packet.destination_port)] {
        text.push_str(&format!(" to the socket at {}", at.join(" or ")));
    }
    // The address that the kernel chooses is not worth a word, nor the one that was asked for.
    let chosen = outcome.routed.first().map_or(asked.source, |routed| routed.source);
    let usual = matches!(chosen, Known::Is(address) if is_own(address)) || chosen == asked.source;
    if (chosen != packet.source || !usual) && !stopped {
        let same = packet.source == asked.destination && packet.source != Known::Unknown;
        let from = if same { "itself".to_owned() } else { end(packet.source, Known::Absent) };
        text.push_str(&format!(" from {from}"));
    }
    text
}

fn port(port: Known<u16>) -> String {
    match port {
        Known::Is(port) => port.to_string(),
        _ => "?".to_owned(),
    }
}

fn end(address: Known<IpAddr>, at: Known<u16>) -> String {
    match (address, at) {
        (Known::Is(address), Known::Is(port)) => Endpoint::new(address, port).to_string(),
        (Known::Is(address), _) => address.to_string(),
        _ => format!("?:{}", port(at)),
    }
}
