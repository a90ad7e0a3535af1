//! What must hold of every parser whatever it is given: it comes back, and what it understood reads back as the same. Shared by the
//! seeded tests of `tests/cli` and by the fuzzers in `fuzz/`, which give it more time.

use nslens::archive::{self, Loaded};
use nslens::model::{Backend, Body, Family, Kind, Ruleset, Snapshot, Table, Workload};
use nslens::packet::Packet;
use nslens::report::escape::escape;
use nslens::syntax::{parse_body, parse_nft, parse_nft_json, parse_save, print_nft, print_rule, print_save};
use nslens::target::{Query, Selector};
use nslens::wire::attribute::{Attribute, Attributes, attributes};
use nslens::wire::nf_object;
use nslens::wire::nf_table::assemble;
use nslens::wire::nf_tables::{self, ChainMessage, RuleMessage, TableMessage};
use nslens::wire::xt::{EntryError, Kept as KeptOf, TableInfo, decode_table};
use nslens::wire::{conntrack, ipset, proc_raw, routes, rtnetlink, sock_diag};
use nslens::xt::{Match, Target};

/// Matches that are known, one that is not, and none.
pub(crate) const MATCHES: &[&str] = &[
    "addrtype",
    "ah",
    "bpf",
    "cgroup",
    "cluster",
    "comment",
    "connbytes",
    "connlabel",
    "connlimit",
    "connmark",
    "conntrack",
    "state",
    "cpu",
    "helper",
    "dccp",
    "devgroup",
    "dscp",
    "ecn",
    "esp",
    "eui64",
    "frag",
    "hashlimit",
    "icmp",
    "icmp6",
    "ipcomp",
    "iprange",
    "ipv6header",
    "ipvs",
    "length",
    "limit",
    "mac",
    "mark",
    "mh",
    "multiport",
    "nfacct",
    "dst",
    "hbh",
    "osf",
    "owner",
    "physdev",
    "pkttype",
    "policy",
    "quota",
    "rateest",
    "realm",
    "recent",
    "rpfilter",
    "rt",
    "sctp",
    "set",
    "socket",
    "srh",
    "statistic",
    "string",
    "tcp",
    "tcpmss",
    "time",
    "tos",
    "ttl",
    "hl",
    "u32",
    "udp",
    "foreign",
    "",
];
/// Targets likewise.
pub(crate) const TARGETS: &[&str] = &[
    "AUDIT",
    "CHECKSUM",
    "CLASSIFY",
    "CLUSTERIP",
    "CONNMARK",
    "CONNSECMARK",
    "CT",
    "NOTRACK",
    "DNAT",
    "DNPT",
    "DSCP",
    "ECN",
    "HL",
    "HMARK",
    "IDLETIMER",
    "LED",
    "LOG",
    "MARK",
    "MASQUERADE",
    "NETMAP",
    "NFLOG",
    "NFQUEUE",
    "RATEEST",
    "REDIRECT",
    "REJECT",
    "SECMARK",
    "SET",
    "SNAT",
    "SNPT",
    "SYNPROXY",
    "TCPMSS",
    "TCPOPTSTRIP",
    "TEE",
    "TOS",
    "TPROXY",
    "TRACE",
    "TTL",
    "ULOG",
    "foreign",
    "",
];

/// A table of legacy xtables as it was read: its name, its family, what the kernel says of it, its entries.
#[derive(Debug, Clone)]
pub(crate) struct Legacy {
    pub(crate) name: String,
    pub(crate) ipv6: bool,
    pub(crate) info: TableInfo,
    pub(crate) entries: Vec<u8>,
}

impl Legacy {
    /// From words in the machine's order (valid hooks, five hook entries, five underflows) and the entries behind them.
    pub(crate) fn framed(name: &str, ipv6: bool, bytes: &[u8]) -> Option<Self> {
        let (head, entries) = bytes.split_at_checked(44)?;
        let word = |at: usize| {
            head.get(4 * at..4 * at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_ne_bytes)
        };
        Some(Self {
            name: name.to_owned(),
            ipv6,
            info: TableInfo {
                valid_hooks: word(0),
                hook_entry: std::array::from_fn(|hook| word(1 + hook)),
                underflow: std::array::from_fn(|hook| word(6 + hook)),
            },
            entries: entries.to_vec(),
        })
    }

    pub(crate) fn decode(&self) -> Result<Table, EntryError> {
        decode_table(&self.name, self.ipv6, &self.info, &self.entries, KeptOf::Rules)
    }

    /// The same by the text of its rules alone.
    pub(crate) fn text(&self) -> Result<Table, EntryError> {
        decode_table(&self.name, self.ipv6, &self.info, &self.entries, KeptOf::Text)
    }

    pub(crate) fn family(&self) -> Family {
        if self.ipv6 { Family::Ip6 } else { Family::Ip }
    }
}

/// What a message of nf_tables is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    Generation,
    Table,
    Chain,
    Rule,
    Set,
    Elements,
    Object,
}

/// Messages one behind the other, each with two words in front: what it is, and its length. What is cut at the end is left off.
pub(crate) fn framed(bytes: &[u8]) -> Vec<(Message, Vec<u8>)> {
    use Message::{Chain, Elements, Generation, Object, Rule, Set, Table};
    const KINDS: [Message; 7] = [Generation, Table, Chain, Rule, Set, Elements, Object];
    let (mut rest, mut found) = (bytes, Vec::new());
    while let Some((head, tail)) = rest.split_first_chunk::<8>() {
        let [kind, length] =
            [[head[0], head[1], head[2], head[3]], [head[4], head[5], head[6], head[7]]].map(u32::from_le_bytes);
        let kind = KINDS[kind as usize % KINDS.len()];
        let Some((payload, after)) = tail.split_at_checked(length as usize) else { break };
        found.push((kind, payload.to_vec()));
        rest = after;
    }
    found
}

/// The rule sets that messages make, one for each family. What cannot be decoded is left out.
pub(crate) fn assembled(messages: &[(Message, Vec<u8>)]) -> Vec<Ruleset> {
    let of =
        |kind: Message| messages.iter().filter(move |(own, _)| *own == kind).map(|(_, payload)| payload.as_slice());
    let tables: Vec<TableMessage> = of(Message::Table).filter_map(|payload| nf_tables::table(payload).ok()).collect();
    let chains: Vec<ChainMessage> = of(Message::Chain).filter_map(|payload| nf_tables::chain(payload).ok()).collect();
    // A rule's family stands in its header, as every message's does.
    let rules: Vec<(u8, RuleMessage)> =
        of(Message::Rule).filter_map(|payload| Some((*payload.first()?, nf_tables::rule(payload).ok()?))).collect();
    let mut rulesets: Vec<Ruleset> = Vec::new();
    for table in &tables {
        let Some(family) = Family::from_number(table.family) else { continue };
        let own = chains.iter().filter(|chain| chain.family == table.family && chain.table == table.name);
        let with_rules = own.map(|chain| {
            let rules = rules.iter().filter(|(family, rule)| {
                (*family, &rule.table, &rule.chain) == (chain.family, &chain.table, &chain.name)
            });
            (chain, rules.map(|(_, rule)| rule.clone()).collect())
        });
        let mut made = assemble(family, table, with_rules.collect());
        add_sets(&mut made, table, messages);
        match rulesets.iter_mut().find(|ruleset| ruleset.family == family) {
            Some(ruleset) => ruleset.tables.push(made),
            None => rulesets.push(Ruleset { backend: Backend::Nft, family, tables: vec![made] }),
        }
    }
    rulesets
}

/// Sets with their elements, and objects. Each of their messages begins with the family and the table's name.
fn add_sets(made: &mut Table, table: &TableMessage, messages: &[(Message, Vec<u8>)]) {
    let named = |payload: &[u8], kind: u16| {
        let found = attributes(payload.get(4..)?).filter_map(Result::ok).find(|attribute| attribute.kind == kind)?;
        Some(found.text())
    };
    let own = |wanted: Message| {
        messages.iter().filter(move |(kind, _)| *kind == wanted).map(|(_, payload)| payload.as_slice()).filter(
            move |payload| payload.first() == Some(&table.family) && named(payload, 1).as_ref() == Some(&table.name),
        )
    };
    made.sets = own(Message::Set).filter_map(|payload| nf_tables::set(payload).ok()).collect();
    for payload in own(Message::Elements) {
        let name = named(payload, 2);
        let set = made.sets.iter_mut().find(|set| Some(&set.name) == name.as_ref());
        if let (Some(set), Ok(elements)) = (set, nf_tables::elements(payload)) {
            set.elements.extend(elements);
        }
    }
    made.objects = own(Message::Object).filter_map(|payload| nf_object::object(payload).ok()).collect();
}

/// A rule's text reads back as the same text.
pub(crate) fn reads_back(text: &str, ipv6: bool, chains: &dyn Fn(&str) -> bool) {
    match parse_body(text, ipv6, chains) {
        Ok(Body::Xt(rule)) => assert_eq!(rule.options(), text),
        body => panic!("{text:?}: {body:?}"),
    }
}

/// Everything that has a text reads back as it was, rule by rule, as a save, and in a snapshot file.
pub(crate) fn survives(rulesets: Vec<Ruleset>) {
    for ruleset in &rulesets {
        for table in &ruleset.tables {
            for (chain, rule) in table.chains.iter().flat_map(|chain| chain.rules.iter().map(move |rule| (chain, rule)))
            {
                let _ = print_rule(ruleset.family, table, chain, rule);
                if let Body::Xt(rule) = &rule.body {
                    reads_back(&rule.options(), ruleset.family == Family::Ip6, &|name| table.chain(name).is_some());
                }
            }
        }
    }
    let texts: Vec<String> = rulesets.iter().map(|ruleset| print_save(ruleset, "0")).collect();
    let mut snapshot = Snapshot::of("node", 0, "asked", Workload::named(Kind::File, "name"));
    snapshot.rulesets = Some(rulesets);
    let back = stored(&snapshot);
    let again: Vec<String> = back.rulesets().iter().map(|ruleset| print_save(ruleset, "0")).collect();
    assert_eq!(again, texts);
}

/// The snapshot as it comes back from a file.
fn stored(snapshot: &Snapshot) -> Snapshot {
    let mut bytes = Vec::new();
    archive::write(snapshot, false, &mut bytes).expect("memory");
    match archive::read(&bytes, Family::Ip) {
        Ok(Loaded::Snapshot(back)) => *back,
        other => panic!("{other:?}"),
    }
}

/// Walks attributes within attributes, as far as they divide into any.
pub(crate) fn walk(parts: Attributes<'_>, depth: u32) -> usize {
    let inner = |part: Attribute<'_>| {
        let _ = part.text();
        let _ = (part.u8(), part.be16(), part.be32(), part.be64(), part.u32());
        1 + if depth == 0 { 0 } else { walk(part.nested(), depth - 1) }
    };
    parts.map(|part| part.map_or(0, inner)).sum()
}

/// A message of nf_tables of any kind.
pub(crate) fn message(bytes: &[u8]) {
    walk(attributes(bytes), 4);
    let _ = (nf_tables::table(bytes), nf_tables::chain(bytes), nf_tables::rule(bytes), nf_tables::generation(bytes));
    let _ = (nf_tables::set(bytes), nf_tables::elements(bytes), nf_object::object(bytes), nf_object::flow_table(bytes));
}

/// A whole answer of nf_tables, message after message.
pub(crate) fn nf_tables(bytes: &[u8]) {
    let messages = framed(bytes);
    for (_, payload) in &messages {
        message(payload);
    }
    let rulesets = assembled(&messages);
    let _ = print_nft(&rulesets, &[(1, "lo".to_owned())]);
    survives(rulesets);
}

/// A legacy table.
pub(crate) fn legacy_table(name: &str, ipv6: bool, bytes: &[u8]) {
    let Some(table) = Legacy::framed(name, ipv6, bytes) else { return };
    let (decoded, text) = (table.decode(), table.text());
    let saved = |decoded: &Result<Table, EntryError>| {
        let tables = decoded.as_ref().map_err(EntryError::clone)?.clone();
        let ruleset = Ruleset { backend: Backend::Legacy, family: table.family(), tables: vec![tables] };
        Ok::<_, EntryError>(print_save(&ruleset, "0"))
    };
    assert_eq!(saved(&text), saved(&decoded), "the text alone is another than that of the rules");
    if let Ok(decoded) = decoded {
        survives(vec![Ruleset { backend: Backend::Legacy, family: table.family(), tables: vec![decoded] }]);
    }
}

/// The payload of a match.
pub(crate) fn match_payload(name: &str, revision: u8, ipv6: bool, data: &[u8]) {
    let decoded = Match::decode(name, revision, data, ipv6);
    let mut text = String::new();
    decoded.save(&mut text);
    reads_back(text.trim_start(), ipv6, &|_| false);
    let _ = decoded.condition().ask(&Packet::default());
}

/// The payload of a target.
pub(crate) fn target_payload(name: &str, revision: u8, ipv6: bool, data: &[u8]) {
    let decoded = Target::decode(name, revision, data, ipv6);
    let mut text = String::new();
    decoded.save(&mut text);
    reads_back(text.trim_start(), ipv6, &|_| false);
    let _ = (decoded.effect(), decoded.explain());
}

/// A saved text that is understood prints as a text that is understood and prints the same.
pub(crate) fn save_text(text: &str) {
    for family in [Family::Ip, Family::Ip6] {
        let Ok(rulesets) = parse_save(text, family) else { continue };
        let printed: String = rulesets.iter().map(|ruleset| print_save(ruleset, "0")).collect();
        // Tables that no tool knows and that hold nothing are not printed.
        if !printed.contains("\nCOMMIT") {
            continue;
        }
        let again = parse_save(&printed, family).unwrap_or_else(|error| panic!("{error}:\n{printed}"));
        let reprinted: String = again.iter().map(|ruleset| print_save(ruleset, "0")).collect();
        assert_eq!(reprinted, printed);
    }
}

/// What nft lists, or takes from a file, as text or as JSON.
pub(crate) fn nft_text(text: &str) {
    for read in [parse_nft(text), parse_nft_json(text)] {
        let _ = print_nft(&read.rulesets, &[]);
        survives(read.rulesets);
    }
}

/// What the kernel says of ipsets, message after message.
pub(crate) fn ipsets(bytes: &[u8]) {
    let (mut rest, mut sets) = (bytes, Vec::new());
    while let Some((length, tail)) = rest.split_first() {
        let (message, after) = tail.split_at(tail.len().min(usize::from(*length) * 4));
        let _ = ipset::add_listed(message, &mut sets);
        rest = after;
    }
    for set in &sets {
        let _ = (set.save(), format!("{set:?}"));
    }
}

/// A file of whatever kind; a snapshot that is understood is written as one that reads the same.
pub(crate) fn file(bytes: &[u8]) {
    if let Ok(Loaded::Snapshot(snapshot)) = archive::read(bytes, Family::Ip) {
        assert_eq!(stored(&snapshot), *snapshot);
    }
}

/// What the kernel says of sockets, tracked connections, devices and addresses.
pub(crate) fn network(bytes: &[u8]) {
    use nslens::model::Protocol;
    for protocol in [Protocol::Tcp, Protocol::Udp, sock_diag::SCTP] {
        let _ = sock_diag::decode(protocol, bytes);
    }
    let _ = (sock_diag::decode_raw(bytes), sock_diag::decode_mptcp(bytes));
    let _ = (sock_diag::packet::decode(bytes), sock_diag::unix::decode(bytes));
    let _ = proc_raw::sockets(&String::from_utf8_lossy(bytes)).count();
    let _ = (conntrack::decode(bytes), rtnetlink::decode_link(bytes), rtnetlink::decode_address(bytes));
    let _ = (conntrack::table::decode_cpu(bytes), conntrack::table::decode_use(bytes));
    let _ = conntrack::table::decode_expected(bytes);
    let _ = [false, true].map(|ipv6| (routes::decode_route(bytes, ipv6), routes::decode_rule(bytes, ipv6)));
    let _ = routes::decode_own(bytes);
}

/// What a user types, and what a pod is called.
pub(crate) fn words(text: &str) {
    let _ = (Query::parse(text), Selector::parse(text));
    let escaped = escape(text);
    let bidi = |character: char| matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!escaped.chars().any(|character| character.is_control() || bidi(character)), "{escaped:?}");
    assert_eq!(escape(&escaped), escaped);
}
