//! Rules from nft's text and JSON against the same rules from the kernel.
//!
//! What text does not tell is left out on both sides: handles, names of sets that have none of their own, the order of elements,
//! times left. What nft leaves out of its words (that a header is there, an order of two such questions) is told apart: such
//! rules have the same words and are counted, all others must be equal expression by expression.

use nslens::archive::{self, Loaded};
use nslens::model::{Body, Chain, Family, Rule, Ruleset, Snapshot, Table};
use nslens::nft::{Element, Expression, Set};
use nslens::syntax::{place_of, print_native};

use crate::manual;
use crate::native::load;
use crate::rules::{FAMILIES, cases, corpus, printed};
use crate::support::{Lab, require_root};

/// Devices' names that a text cannot tell by number.
const NO_DEVICES: &[(u32, String)] = &[];

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Rules of other words, and the first of them.
    other: usize,
    first: Option<String>,
    /// Those of them that were read as if they were understood: rules that nobody wrote.
    wrong: Vec<String>,
    pub(crate) rules: usize,
    pub(crate) exact: usize,
    /// The others, which nft's words do not tell apart.
    pub(crate) apart: Vec<String>,
    pub(crate) sets: usize,
}

impl Counts {
    fn add(&mut self, more: Self) {
        self.other += more.other;
        self.first = self.first.take().or(more.first);
        self.wrong.extend(more.wrong);
        self.rules += more.rules;
        self.exact += more.exact;
        self.apart.extend(more.apart);
        self.sets += more.sets;
    }
}

/// A set without what text does not tell. JSON has no notes, no `typeof`, not every flag.
fn bare(set: &Set, json: bool) -> Set {
    let mut set = set.clone();
    (set.handle, set.count) = (None, None);
    for element in &mut set.elements {
        element.expiration = None;
    }
    set.elements.sort_by(|a: &Element, b: &Element| (&a.key, a.flags).cmp(&(&b.key, b.flags)));
    if set.is_constant() {
        set.size = None;
    }
    if set.is_anonymous() || json {
        set.user_data.clear();
    }
    if set.is_anonymous() {
        set.name.clear();
    }
    if json {
        set.flags &= !0x20;
    }
    set
}

/// Expressions with what stands in a nameless set in place of its name.
fn expressions(rule: &Rule, table: &Table) -> Vec<(Expression, Option<Set>)> {
    let native = match (&rule.body, &rule.native) {
        (Body::Nft(native), _) => native,
        (Body::Xt(_), Some(native)) => native,
        (Body::Xt(_), None) => panic!("a rule without expressions"),
    };
    let known = |name: &str| table.sets.iter().find(|set| set.name == name && set.is_anonymous());
    native.expressions.iter().map(|expression| with_set(expression, known)).collect()
}

fn with_set<'a>(expression: &Expression, known: impl Fn(&str) -> Option<&'a Set>) -> (Expression, Option<Set>) {
    let mut expression = expression.clone();
    let mut found = None;
    if let Expression::Lookup { set, .. } | Expression::ObjectMap { set, .. } = &mut expression {
        found = known(set).map(|set| bare(set, false));
        if found.is_some() {
            set.clear();
        }
    }
    (expression, found)
}

/// Nothing of it is unknown.
fn is_whole(rule: &Rule) -> bool {
    match (&rule.body, &rule.native) {
        (Body::Nft(native), _) | (Body::Xt(_), Some(native)) => {
            !native.expressions.iter().any(|expression| matches!(expression, Expression::Unknown { .. }))
        }
        (Body::Xt(_), None) => true,
    }
}

fn words(rule: &Rule, family: Family, table: &Table) -> String {
    let place = place_of(family, table, NO_DEVICES, true);
    match (&rule.body, &rule.native) {
        (Body::Nft(native), _) => print_native(native, &place).0,
        (Body::Xt(_), Some(native)) => print_native(native, &place).0,
        (Body::Xt(_), None) => String::new(),
    }
}

fn compare_chains(
    live: &Chain,
    text: &Chain,
    tables: (&Table, &Table),
    family: Family,
    json: bool,
    what: &str,
) -> Counts {
    let what = format!("{what}: {} {} {}", family.word(), live_name(tables.0), live.name);
    assert_eq!((&live.kind, live.hook, live.priority), (&text.kind, text.hook, text.priority), "{what}");
    assert_eq!((live.policy, live.syntax), (text.policy, text.syntax), "{what}");
    if !json {
        // nft 1.0.6 forgets these in JSON.
        let sorted = |chain: &Chain| {
            let mut devices = chain.devices.clone();
            devices.sort();
            devices
        };
        assert_eq!((sorted(live), &live.comment), (sorted(text), &text.comment), "{what}");
    }
    assert_eq!(live.rules.len(), text.rules.len(), "{what}");
    let mut counts = Counts::default();
    for (number, (ours, theirs)) in live.rules.iter().zip(&text.rules).enumerate() {
        let what = format!("{what} {}", number + 1);
        assert_eq!(ours.counters, theirs.counters, "{what}");
        let same = words(ours, family, tables.0) == words(theirs, family, tables.1);
        if !same {
            counts.other += 1;
            let both =
                format!("{what}\n live: {}\n text: {}", words(ours, family, tables.0), words(theirs, family, tables.1));
            if is_whole(theirs) {
                counts.wrong.push(both.clone());
            }
            counts.first.get_or_insert(both);
        }
        counts.rules += 1;
        let (left, right) = (expressions(ours, tables.0), expressions(theirs, tables.1));
        counts.exact += usize::from(left == right);
        if left != right {
            counts.apart.push(format!("{what} {}\n live: {left:?}\n text: {right:?}", words(ours, family, tables.0)));
        }
    }
    counts
}

fn live_name(table: &Table) -> &str {
    &table.name
}

/// Compares all of nf_tables; the counts.
fn compare(live: &Snapshot, text: &[Ruleset], json: bool, what: &str) -> Counts {
    let mut counts = Counts::default();
    for ruleset in live.rulesets().iter().filter(|ruleset| ruleset.backend == nslens::model::Backend::Nft) {
        let family = ruleset.family;
        let Some(read) = text.iter().find(|read| read.family == family) else {
            assert!(ruleset.tables.is_empty(), "{what}: no {}", family.word());
            continue;
        };
        let names = |ruleset: &Ruleset| ruleset.tables.iter().map(|table| table.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(ruleset), names(read), "{what}");
        for (ours, theirs) in ruleset.tables.iter().zip(&read.tables) {
            if !json {
                assert_eq!((ours.dormant, &ours.comment), (theirs.dormant, &theirs.comment), "{what}");
            }
            assert_eq!(ours.flow_tables, theirs.flow_tables, "{what}");
            let named = |table: &Table| {
                let mut sets: Vec<Set> = table.sets.iter().filter(|set| !set.is_anonymous()).cloned().collect();
                sets.sort_by(|a, b| a.name.cmp(&b.name));
                sets.iter().map(|set| bare(set, json)).collect::<Vec<_>>()
            };
            for (ours, theirs) in named(ours).iter().zip(named(theirs)) {
                assert_eq!(*ours, theirs, "{what}");
                counts.sets += 1;
            }
            assert_eq!(named(ours).len(), named(theirs).len(), "{what}");
            let objects = |table: &Table| {
                let mut objects: Vec<_> = table
                    .objects
                    .iter()
                    .map(|object| (object.name.clone(), object.kind, object.expression.clone()))
                    .collect();
                objects.sort_by(|a, b| a.0.cmp(&b.0));
                objects
            };
            assert_eq!(objects(ours), objects(theirs), "{what}");
            for chain in &ours.chains {
                let other = theirs.chain(&chain.name).unwrap_or_else(|| panic!("{what}: no chain {}", chain.name));
                counts.add(compare_chains(chain, other, (ours, theirs), family, json, what));
            }
            assert_eq!(ours.chains.len(), theirs.chains.len(), "{what}");
        }
    }
    counts
}

/// What the kernel of a lab holds.
fn look_at(lab: &Lab) -> Snapshot {
    match archive::read(printed(lab, &["snapshot"]).as_bytes(), Family::Ip) {
        Ok(Loaded::Snapshot(snapshot)) => *snapshot,
        other => panic!("{other:?}"),
    }
}

fn read(text: &str, what: &str) -> Vec<Ruleset> {
    match archive::read(text.as_bytes(), Family::Ip) {
        Ok(Loaded::Rules(rulesets, unread)) => {
            // In JSON nft 1.0.6 gives a table's own name in place of the flag that it has.
            let lost = format!("flag {:?} of a table is not known", "t2");
            assert!(unread.iter().all(|unread| unread.error == lost && text.starts_with('{')), "{what}: {unread:?}");
            rulesets
        }
        other => panic!("{what}: {other:?}"),
    }
}

/// Text and JSON of a lab against its kernel.
pub(crate) fn both_ways(lab: &Lab, what: &str) -> (Counts, Counts) {
    let live = look_at(lab);
    let (text, json) = (lab.sh("nft list ruleset"), lab.sh("nft -j list ruleset 2>/dev/null"));
    let from_text = compare(&live, &read(&text, what), false, what);
    let printed = nslens::syntax::print_nft(&read(&text, what), NO_DEVICES).text;
    assert_eq!(printed, text, "{what}");
    let from_json = compare(&live, &read(&json, what), true, what);
    assert_eq!((from_text.other, from_json.other), (0, 0), "{what}: {:?} {:?}", from_text.first, from_json.first);
    (from_text, from_json)
}

/// A script that the lab's kernel was given against what it holds since.
pub(crate) fn script_and_kernel(lab: &Lab, script: &str, what: &str) -> Counts {
    compare(&look_at(lab), &read(script, what), false, what)
}

#[test]
#[expect(clippy::print_stdout, reason = "the counts are wanted, with --nocapture")]
fn each_rule_of_the_table_is_the_same_from_kernel_text_and_json() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let mut taken = 0;
    for (number, line) in
        include_str!("../fixtures/nft/rules.txt").lines().filter(|line| !line.starts_with('#')).enumerate()
    {
        let parts: Vec<&str> = line.splitn(3, '|').collect();
        let [family, hook, rule] = parts.as_slice() else { panic!("{line:?} is no line of three parts") };
        taken +=
            usize::from(load(&lab, &format!("table {family} t{number} {{\n chain c {{\n {hook};\n {rule}\n }}\n}}\n")));
    }
    let (text, json) = both_ways(&lab, "rules.txt");
    println!("{taken} rules; from text {text:?}; from JSON {json:?}");
    assert!(taken >= 370 && text.rules == taken && json.rules == taken, "{taken}: {text:?} {json:?}");
    // The rest differs by what nft leaves out of its words.
    assert!(text.exact + 14 >= taken && json.exact + 14 >= taken, "{taken}: {text:?} {json:?}");
}

#[test]
fn sets_maps_and_objects_are_the_same_from_kernel_text_and_json() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    assert!(load(&lab, include_str!("../fixtures/nft/sets.nft")), "the sets could not be loaded");
    let (text, json) = both_ways(&lab, "sets.nft");
    assert_eq!((text.rules, text.exact), (20, 20));
    assert_eq!((json.rules, json.exact), (20, 20));
    assert!(text.sets >= 27 && json.sets >= 27, "{text:?} {json:?}");
}

#[test]
#[expect(clippy::print_stdout, reason = "the counts are wanted, with --nocapture")]
fn the_corpus_is_the_same_from_kernel_text_and_json() {
    if !require_root() {
        return;
    }
    let Some(folder) = corpus() else { return };
    let (mut files, mut text, mut json) = (0, Counts::default(), Counts::default());
    for path in cases(&folder, "nft") {
        let lab = Lab::new();
        if !lab.command("nft").arg("-f").arg(&path).output().expect("nft").status.success() {
            continue;
        }
        let (from_text, from_json) = both_ways(&lab, &path.display().to_string());
        text.add(from_text);
        json.add(from_json);
        files += 1;
    }
    println!("{files} files; from text {text:?}; from JSON {json:?}");
    assert!(files >= 34, "only {files} files load");
    assert!(text.exact * 10 >= text.rules * 9 && json.exact * 10 >= json.rules * 9, "{text:?} {json:?}");
}

#[test]
#[expect(clippy::print_stdout, reason = "the counts are wanted, with --nocapture")]
fn the_manual_comes_back_from_text_and_json_but_for_what_is_listed() {
    if !require_root() {
        return;
    }
    const TABLES: [(&str, &str); 4] = [
        ("statements", include_str!("../fixtures/nft/manual/statements.txt")),
        ("options", include_str!("../fixtures/nft/manual/options.txt")),
        ("packet", include_str!("../fixtures/nft/manual/packet.txt")),
        ("fields", include_str!("../fixtures/nft/manual/fields.txt")),
    ];
    for (name, table) in TABLES {
        let lab = manual::lab();
        // Of the many fields every seventh line.
        let step = if name == "fields" { 7 } else { 1 };
        let lines: Vec<_> = manual::lines(table).into_iter().step_by(step).collect();
        manual::load_rules(&lab, &lines, &mut std::collections::BTreeMap::new());
        let live = look_at(&lab);
        for (form, text) in [("text", lab.sh("nft list ruleset")), ("JSON", lab.sh("nft -j list ruleset 2>/dev/null"))]
        {
            let Ok(Loaded::Rules(rulesets, unread)) = archive::read(text.as_bytes(), Family::Ip) else {
                panic!("{name} {form} is not read");
            };
            let counts = compare(&live, &rulesets, form == "JSON", name);
            let Counts { rules, other, exact, wrong, first, .. } = counts;
            println!("{name} from {form}: {rules} rules, {exact} the same in every expression, {other} not understood");
            // nft's JSON has whole seconds, and does not say of which family an address of the connection is.
            let (lost, open) = if form == "JSON" { (1, 10) } else { (0, 9) };
            assert!(wrong.len() <= lost, "{name} from {form}: {wrong:#?}");
            // What is open names a device, whose number the text does not tell.
            assert!(rules > 100 && other <= open && unread.len() <= open, "{name} from {form}: {other} {first:?}");
        }
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the counts are wanted, with --nocapture")]
fn tables_of_iptables_nft_are_read_from_nfts_text_as_far_as_it_goes() {
    if !require_root() {
        return;
    }
    let Some(folder) = corpus() else { return };
    let (mut rules, mut whole) = (0, 0);
    for path in cases(&folder, "rules") {
        let (program, _) = FAMILIES[usize::from(path.to_string_lossy().contains(".v6."))];
        let lab = Lab::new();
        if !lab.command(&format!("{program}-nft-restore")).arg(&path).output().expect("restore").status.success() {
            continue;
        }
        let text = lab.sh("nft list ruleset");
        let Ok(Loaded::Rules(rulesets, unread)) = archive::read(text.as_bytes(), Family::Ip) else {
            panic!("{}: not read", path.display());
        };
        let live = look_at(&lab);
        let count = |rulesets: &[Ruleset]| rulesets.iter().map(Ruleset::rule_count).sum::<usize>();
        assert_eq!(count(&rulesets), count(live.rulesets()), "{}", path.display());
        rules += count(&rulesets);
        whole += count(&rulesets).saturating_sub(unread.len());
    }
    println!("{rules} rules of iptables-nft in nft's text, {whole} of them understood whole");
    assert!(whole * 2 > rules, "{whole} of {rules}");
}

/// A list without its first line, which names whose it is, and without what only the kernel tells: that a family has no rules.
fn said(list: &str) -> String {
    let (_, rest) = list.split_once('\n').unwrap_or_default();
    let words: Vec<&str> = rest.split_whitespace().collect();
    words.join(" ").replace(" IPv6: no redirect rules.", "").replace(" IPv4: no redirect rules.", "")
}

#[test]
fn what_is_said_of_the_corpus_is_the_same_live_and_from_text_and_nothing_differs() {
    if !require_root() {
        return;
    }
    let Some(folder) = corpus() else { return };
    let file = std::env::temp_dir().join(format!("nslens-texts-{}.nft", std::process::id()));
    let name = file.display().to_string();
    let mut files = 0;
    for (number, path) in cases(&folder, "nft").into_iter().enumerate() {
        let lab = Lab::new();
        if !lab.command("nft").arg("-f").arg(&path).output().expect("nft").status.success() {
            continue;
        }
        let what = path.display().to_string();
        std::fs::write(&file, lab.sh("nft list ruleset")).expect("a file");
        let saved = nslens_on(&["rules", &name]);
        // The kernel tells the elements of a map, and so the chains behind it, in another order than nft's list.
        let in_order = |list: &str| {
            let mut words: Vec<String> = said(list).split(' ').map(str::to_owned).collect();
            if what.contains("kube-proxy") {
                words.sort();
            }
            words
        };
        assert_eq!(in_order(&printed(&lab, &["rules"])), in_order(&saved), "{what}");
        assert!(saved.lines().count() > 3, "{what}: {saved}");
        if number % 4 == 0 && !what.contains("kube-proxy") {
            for form in ["wide", "save", "nft"] {
                let (live, text) = (printed(&lab, &["rules", "-o", form]), nslens_on(&["rules", &name, "-o", form]));
                assert_eq!(said(&live), said(&text), "{what}: {form}");
            }
        }
        files += 1;
    }
    std::fs::remove_file(&file).ok();
    assert!(files >= 34, "only {files} files load");
}

/// What the program prints of a file.
fn nslens_on(words: &[&str]) -> String {
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_nslens")).args(words).output().expect("it starts");
    assert!(run.status.success(), "{words:?}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).expect("UTF-8")
}
