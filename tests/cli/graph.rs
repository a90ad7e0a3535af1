//! Rules as a picture: everything once and nothing over anything else, whatever the names are; and text that its readers accept.

use std::collections::BTreeSet;
use std::path::Path;

use nslens::analysis::paths::Chosen;
use nslens::archive::{self, Loaded};
use nslens::model::{Family, Kind, Ruleset, Snapshot, Workload};
use nslens::report::graph::{Area, End, Graph, dot, graph, mermaid, picture, svg};

use crate::corpus::{corpus, files};
use crate::kernel::messages;
use crate::parsers::assembled;
use crate::program::{fixture, nslens, say, text_of, with_input};

const ALL: Chosen<'static> = Chosen { all: true, tables: &[], chains: &[] };
const REDIRECTING: Chosen<'static> = Chosen { all: false, tables: &[], chains: &[] };

fn of(name: &str, rulesets: Vec<Ruleset>) -> Snapshot {
    let mut snapshot = Snapshot::of("node", 0, name, Workload::named(Kind::File, name));
    snapshot.rulesets = Some(rulesets);
    snapshot
}

fn of_text(name: &str, text: &str) -> Snapshot {
    let family = if name.contains("six") || name.contains(".v6.") { Family::Ip6 } else { Family::Ip };
    match archive::read(text.as_bytes(), family).unwrap_or_else(|error| panic!("{name}: {error}")) {
        Loaded::Rules(rulesets, _) => of(name, rulesets),
        Loaded::Snapshot(snapshot) => *snapshot,
    }
}

/// Rule sets of this repository, and of the corpus where it is at hand.
fn cases() -> Vec<Snapshot> {
    const TEXTS: [&str; 8] = [
        "istio.v4.rules",
        "istio.v6.rules",
        "save/legacy.rules",
        "save/legacy-six.rules",
        "save/nft.rules",
        "docs/unknown.rules",
        "docs/productpage.json",
        "snapshot/hostile.json",
    ];
    let mut cases: Vec<Snapshot> = TEXTS.iter().map(|name| of_text(name, &text_of(name))).collect();
    for name in ["nf-iptables", "nf-native", "nf-listed"] {
        cases.push(of(name, assembled(&messages(name))));
    }
    cases.push(of_text("evil", &evil()));
    if let Some(corpus) = corpus() {
        for path in files(&corpus.join("saved"), &[".nft-save", ".legacy-save"]) {
            let text = std::fs::read_to_string(&path).expect("text");
            cases.push(of_text(&path.to_string_lossy(), &text));
        }
        say(&format!("{} rule sets drawn", cases.len()));
    }
    cases
}

/// Names that are markup in one form or another, and one of five thousand characters.
fn evil() -> String {
    let long = "W".repeat(5000);
    let tag = "<b>&x;]]>--\u{202e}%{}|";
    format!(
        "*nat\n:OUTPUT ACCEPT [0:0]\n:{long} - [0:0]\n:{tag} - [0:0]\n:loop - [0:0]\n\
         -A OUTPUT -m comment --comment \"<script>\" -j {long}\n-A OUTPUT -o <&>`#quot; -j {tag}\n-A OUTPUT -j loop\n\
         -A loop -j loop\n-A loop -j {tag}\n-A {tag} -j loop\n\
         -A {long} -p tcp -j REDIRECT --to-ports 15001\n-A {tag} -m foo --bar \"\\\"\\\\N;<i>\u{ffff}\" -j DNAT --to-destination 10.0.0.1\n\
         -A OUTPUT -g {tag}\nCOMMIT\n"
    )
}

#[test]
fn every_chain_and_rule_is_there_once() {
    for snapshot in cases() {
        let name = &snapshot.asked;
        let graph = graph(&snapshot, &ALL, "");
        let (mut chains, mut rules, mut jumps) = (0, 0, 0);
        for table in snapshot.rulesets().iter().flat_map(|ruleset| &ruleset.tables) {
            for chain in &table.chains {
                chains += 1;
                rules += chain.rules.len();
                let there = |rule: &&nslens::model::Rule| rule.jumps_to().is_some_and(|to| table.chain(to).is_some());
                jumps += chain.rules.iter().filter(there).count();
            }
        }
        assert_eq!(graph.chains.len(), chains, "{name}: chains");
        let numbered = graph.chains.iter().flat_map(|node| &node.rows).filter(|row| row.number.is_some()).count();
        assert_eq!(numbered, rules, "{name}: rules");
        let lines = graph.edges.iter().filter(|edge| matches!(edge.to, End::Chain(_))).count();
        assert!(lines >= jumps, "{name}: {lines} lines for {jumps} jumps");
        for edge in &graph.edges {
            let row = graph.chains.get(edge.from).and_then(|node| node.rows.get(edge.row));
            assert!(row.is_some_and(|row| row.number.is_some()), "{name}: {edge:?} comes from nowhere");
            let there = match edge.to {
                End::Chain(to) => to < graph.chains.len(),
                End::Exit(to) => to < graph.exits.len(),
            };
            assert!(there, "{name}: {edge:?} leads nowhere");
        }
    }
}

#[test]
fn what_does_not_redirect_is_left_out_unless_it_is_asked_for() {
    let snapshot = of_text("save/legacy.rules", &text_of("save/legacy.rules"));
    let (some, all) = (graph(&snapshot, &REDIRECTING, ""), graph(&snapshot, &ALL, ""));
    assert!(!some.chains.is_empty() && some.chains.len() < all.chains.len());
    let tables = ["filter".to_owned()];
    let filter = graph(&snapshot, &Chosen { tables: &tables, ..REDIRECTING }, "");
    assert!(!filter.chains.is_empty() && filter.chains.iter().all(|node| node.place.starts_with("filter · ")));
    let chains = ["OUTPUT".to_owned()];
    let output = graph(&snapshot, &Chosen { chains: &chains, ..REDIRECTING }, "");
    assert!(output.chains.len() > 1 && output.chains.iter().all(|node| node.name == "OUTPUT"));
}

#[test]
fn maps_of_verdicts_lead_to_their_chains() {
    let snapshot = of("nf-listed", assembled(&messages("nf-listed")));
    let graph = graph(&snapshot, &ALL, "");
    let by_map = graph.edges.iter().filter(|edge| {
        let row = &graph.chains[edge.from].rows[edge.row];
        row.text.contains("vmap") && matches!(edge.to, End::Chain(_))
    });
    assert!(by_map.count() > 0, "no line of a verdict map");
}

fn inside(inner: &Area, outer: &Area) -> bool {
    inner.x >= outer.x && inner.y >= outer.y && inner.right() <= outer.right() && inner.bottom() <= outer.bottom()
}

/// Whether a line from corner to corner passes over a place.
fn passes((ax, ay): (i32, i32), (bx, by): (i32, i32), area: &Area) -> bool {
    ax.min(bx) < area.right() && ax.max(bx) > area.x && ay.min(by) < area.bottom() && ay.max(by) > area.y
}

fn geometry(name: &str, graph: &Graph) {
    let picture = picture(graph);
    let whole = Area { x: 0, y: 0, width: picture.width, height: picture.height };
    assert_eq!((picture.cards.len(), picture.plates.len()), (graph.chains.len(), graph.exits.len()), "{name}");
    let areas: Vec<Area> =
        picture.cards.iter().map(|card| card.area).chain(picture.plates.iter().map(|plate| plate.area)).collect();
    for (at, area) in areas.iter().enumerate() {
        assert!(inside(area, &whole), "{name}: {area:?} is not within {whole:?}");
        for other in areas.iter().skip(at + 1) {
            assert!(!area.overlaps(other), "{name}: {area:?} and {other:?} overlap");
        }
    }
    for card in &picture.cards {
        let mut end = card.area.y + card.head;
        for row in &card.rows {
            assert!(inside(&row.area, &card.area), "{name}: a row outside its card");
            assert_eq!(row.area.y, end, "{name}: rows follow each other");
            end = row.area.bottom();
            assert!(row.pill.as_ref().is_none_or(|pill| inside(&pill.area, &row.area)), "{name}: {row:?}");
        }
        assert!(end <= card.area.bottom(), "{name}: rows beyond their card");
    }
    assert_eq!(picture.wires.len(), graph.edges.len(), "{name}: a wire for each edge");
    for wire in &picture.wires {
        for pair in wire.points.windows(2) {
            let (a, b) = (pair[0], pair[1]);
            assert!(a.0 == b.0 || a.1 == b.1, "{name}: {a:?} to {b:?} is slanting");
            let over = areas.iter().find(|area| passes(a, b, area));
            assert_eq!(over, None, "{name}: the wire from {a:?} to {b:?} passes over it");
        }
    }
}

#[test]
fn nothing_stands_over_anything_else() {
    for snapshot in cases() {
        for chosen in [ALL, REDIRECTING] {
            geometry(&snapshot.asked, &graph(&snapshot, &chosen, "A sentence. ".repeat(30).trim_end()));
        }
    }
}

/// Whether a text is well-formed XML as far as these pictures go: tags closed in order, attributes quoted, no stray `<` or `&`.
fn well_formed(text: &str) -> Result<usize, String> {
    const ENTITIES: [&str; 4] = ["amp", "lt", "gt", "quot"];
    let mut open: Vec<&str> = Vec::new();
    let (mut elements, mut rest) = (0, text);
    let entities = |text: &str| {
        let names = text.split('&').skip(1).map(|part| part.split(';').next().unwrap_or_default());
        names.into_iter().find(|name| !ENTITIES.contains(name)).map_or(Ok(()), |name| Err(format!("&{name}")))
    };
    let plain = |c: char| c == '\n' || !(c.is_control() || ('\u{fffe}'..='\u{ffff}').contains(&c));
    if let Some(bad) = text.chars().find(|c| !plain(*c)) {
        return Err(format!("{bad:?}"));
    }
    while let Some((before, after)) = rest.split_once('<') {
        entities(before)?;
        let (tag, behind) = after.split_once('>').ok_or("a tag is not closed")?;
        if tag.contains('<') {
            return Err(format!("< in {tag}"));
        }
        rest = behind;
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("</{name}> closes something else"));
            }
            continue;
        }
        elements += 1;
        let name = tag.split([' ', '/']).next().unwrap_or_default();
        if tag.matches('"').count() % 2 != 0 || name.is_empty() {
            return Err(format!("<{tag}>"));
        }
        entities(tag)?;
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    entities(rest)?;
    if open.is_empty() { Ok(elements) } else { Err(format!("{open:?} are never closed")) }
}

#[test]
fn what_is_not_well_formed_is_noticed() {
    for text in ["<a>", "<a></b>", "<a>&</a>", "<a>&x;</a>", "<a b=\"c></a>", "<a>\u{1}</a>", "</a>"] {
        assert!(well_formed(text).is_err(), "{text}");
    }
    assert_eq!(well_formed("<a b=\"&lt;\"><c/>&amp;</a>"), Ok(2));
}

#[test]
fn pictures_are_well_formed_and_the_same_every_time() {
    for snapshot in cases() {
        let name = &snapshot.asked;
        let graph = graph(&snapshot, &ALL, "<all> & \"said\"");
        let picture = svg(&graph, "0");
        let elements = well_formed(&picture).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(elements > graph.chains.len() * 3, "{name}");
        assert_eq!(picture.matches("<g class=\"card").count(), graph.chains.len(), "{name}: a card for each chain");
        assert_eq!(picture.matches("<path class=\"wire").count(), graph.edges.len(), "{name}: a line for each edge");
        assert!(!picture.contains("<script") && !picture.contains("href"), "{name}");
        assert!(picture.contains("prefers-color-scheme") && picture.contains("<desc "), "{name}");
        let again = self::graph(&snapshot, &ALL, "<all> & \"said\"");
        assert_eq!((svg(&again, "0"), dot(&again), mermaid(&again)), (picture, dot(&graph), mermaid(&graph)));
    }
}

#[test]
fn dot_and_mermaid_name_what_they_join() {
    for snapshot in cases() {
        let (name, graph) = (&snapshot.asked, graph(&snapshot, &ALL, "Said."));
        let text = dot(&graph);
        let known = |line: &str| line.trim().split([' ', '[', ':']).next().unwrap_or_default().to_owned();
        let nodes: BTreeSet<String> =
            text.lines().filter(|line| line.contains(" [") && !line.contains(" -> ")).map(known).collect();
        let arrows: Vec<&str> = text.lines().filter(|line| line.contains(" -> ") && line.starts_with("  c")).collect();
        assert_eq!(arrows.len(), graph.edges.len(), "{name}");
        for line in arrows {
            let (from, to) = line.split_once(" -> ").expect("an arrow");
            assert!(nodes.contains(&known(from)) && nodes.contains(&known(to)), "{name}: {line}");
        }
        for (at, node) in graph.chains.iter().enumerate() {
            let label = text.lines().find(|line| line.starts_with(&format!("  c{at} [label=<"))).expect("a node");
            let label = label.strip_suffix(">];").and_then(|label| label.split_once("[label=<")).expect("a label").1;
            well_formed(label).unwrap_or_else(|error| panic!("{name}: {error} in {label}"));
            assert_eq!(label.matches("port=\"r").count(), node.rows.len(), "{name}: a row for each rule");
        }
        let chart = mermaid(&graph);
        let nodes: BTreeSet<&str> =
            chart.lines().filter_map(|line| line.trim().split_once(['[', '(']).map(|(id, _)| id)).collect();
        for line in chart.lines().filter(|line| line.contains("| ") && line.contains(" -->|")) {
            let (from, rest) = line.trim().split_once(" -->|\"").expect("an arrow");
            let (label, to) = rest.rsplit_once("\"| ").expect("its end");
            assert!(nodes.contains(from) && nodes.contains(to), "{name}: {line}");
            assert!(!label.contains(['"', '`', '{', '|']), "{name}: {label}");
        }
        for row in graph.chains.iter().flat_map(|node| &node.rows).filter_map(|row| row.number) {
            assert!(chart.contains(&format!("{row}: ")), "{name}: rule {row}");
        }
    }
}

#[test]
fn the_program_draws_what_it_lists() {
    let file = fixture("istio.v4.rules");
    let picture = nslens(&["rules", &file, "-o", "svg"]).ended(0).out;
    assert!(well_formed(&picture).is_ok());
    for words in ["ISTIO_OUTPUT", "proxy at 15001", "Outbound TCP goes to 15001", "PREROUTING"] {
        assert!(picture.contains(words), "{words}");
    }
    assert!(nslens(&["rules", &file, "-o", "dot"]).ended(0).out.starts_with("digraph "));
    assert!(nslens(&["rules", &file, "-o", "mermaid"]).ended(0).out.contains("\nflowchart "));
    let quiet = "*filter\n-A INPUT -j DROP\nCOMMIT\n";
    let empty = with_input(&["rules", "-", "-o", "svg"], quiet.as_bytes()).ended(0);
    assert!(well_formed(&empty.out).is_ok() && empty.out.contains("no redirect rules in 1 rule sets read"));
    let noted = with_input(&["rules", "-", "-o", "dot"], quiet.as_bytes()).ended(0);
    assert!(noted.err.contains("no redirect rules"), "{}", noted.err);
    assert!(Path::new(&file).is_file());
}

#[test]
fn the_picture_in_the_manual_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rules.svg");
    let drawn = nslens(&["rules", &fixture("docs/productpage.json"), "-4", "-o", "svg"]).ended(0).out;
    if std::env::var_os("NSLENS_WRITE_EXAMPLES").is_some() {
        std::fs::write(&path, &drawn).expect("the picture is written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == drawn, "docs/rules.svg is stale: NSLENS_WRITE_EXAMPLES=1 cargo test --test cli graph");
}
