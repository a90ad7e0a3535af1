//! Decoders switched off, as they are to what a later kernel or tool sends: what is not understood must not be lost, nor take anything
//! with it.

use std::cell::RefCell;
use std::collections::BTreeSet;

/// What this thread does not understand, and all that it was asked to.
#[derive(Default)]
struct Blind {
    all: bool,
    name: Option<String>,
    asked: BTreeSet<String>,
}

thread_local! {
    static BLIND: RefCell<Blind> = RefCell::default();
}

/// Whether the match, target or expression of this name is not to be understood.
pub(crate) fn to(name: &str) -> bool {
    BLIND.with_borrow_mut(|blind| {
        if !blind.asked.contains(name) {
            blind.asked.insert(name.to_owned());
        }
        blind.all || blind.name.as_deref() == Some(name)
    })
}

/// Runs blind to a name; to all where there is none.
fn without<T>(name: Option<&str>, run: impl FnOnce() -> T) -> T {
    BLIND.with_borrow_mut(|blind| (blind.all, blind.name) = (name.is_none(), name.map(str::to_owned)));
    let result = run();
    BLIND.with_borrow_mut(|blind| (blind.all, blind.name) = (false, None));
    result
}

mod tests {
    use std::collections::BTreeMap;

    use nslens::analysis::{describe, diff, paths::Paths};
    use nslens::model::{Backend, Body, Family, Kind, Rule, Ruleset, Snapshot, Workload};
    use nslens::nft::Expression;
    use nslens::parsers::{Legacy, assembled, framed, survives};
    use nslens::syntax::{print_nft, print_rule};
    use nslens::xt::{Action, Match, Target, Unknown};

    use super::{BLIND, without};

    fn recorded(name: &str) -> Vec<u8> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wire");
        std::fs::read(folder.join(format!("{name}.bin"))).expect("a recording")
    }

    /// A recording as it is read.
    fn read(name: &str) -> Vec<Ruleset> {
        let bytes = recorded(name);
        let Some(table) = name.strip_prefix("xt-") else { return assembled(&framed(&bytes)) };
        let (family, table) = table.split_once('-').expect("a family");
        let table = Legacy::framed(table, family == "ip6", &bytes).expect("a table");
        let (family, decoded) = (table.family(), table.decode().expect("a real table"));
        vec![Ruleset { backend: Backend::Legacy, family, tables: vec![decoded] }]
    }

    const RECORDINGS: [&str; 10] = [
        "xt-ip-filter",
        "xt-ip-mangle",
        "xt-ip-nat",
        "xt-ip-raw",
        "xt-ip6-filter",
        "xt-ip6-mangle",
        "xt-ip6-nat",
        "nf-iptables",
        "nf-listed",
        "nf-native",
    ];

    /// The rules of each chain.
    fn rules(rulesets: &[Ruleset]) -> BTreeMap<(Family, String, String), Vec<Rule>> {
        let mut found = BTreeMap::new();
        for ruleset in rulesets {
            for table in &ruleset.tables {
                for chain in &table.chains {
                    found.insert((ruleset.family, table.name.clone(), chain.name.clone()), chain.rules.clone());
                }
            }
        }
        found
    }

    /// The same part, or all of its bytes under its name.
    fn kept(before: &Expression, after: &Expression) -> bool {
        before == after || matches!(after, Expression::Unknown { name, .. } if !name.is_empty())
    }

    fn match_kept(before: &Match, after: &Match) -> bool {
        before == after
            || matches!(after, Match::Unknown(unknown) if matches!(&**unknown, Unknown::Bytes { name, .. } if !name.is_empty()))
    }

    fn action_kept(before: &Action, after: &Action) -> bool {
        before == after || matches!((before, after), (Action::Target(_), Action::Target(Target::Unknown(_))))
    }

    /// Nothing of a rule is lost; whether it is another than before.
    fn compare(before: &Rule, after: &Rule) -> bool {
        if before.body == after.body {
            return false;
        }
        match (&before.body, &after.body) {
            (Body::Xt(before), Body::Xt(after)) => {
                assert_eq!(before.ip, after.ip);
                assert_eq!(before.matches.len(), after.matches.len());
                assert!(before.matches.iter().zip(&after.matches).all(|(before, after)| match_kept(before, after)));
                assert!(action_kept(&before.action, &after.action), "{before:?} {after:?}");
            }
            (_, Body::Nft(after)) => {
                let before = match (&before.body, &before.native) {
                    (Body::Nft(native), _) | (Body::Xt(_), Some(native)) => native,
                    _ => panic!("{before:?} has expressions"),
                };
                assert_eq!(before.user_data, after.user_data);
                assert_eq!(before.expressions.len(), after.expressions.len());
                let parts = before.expressions.iter().zip(&after.expressions);
                assert!(parts.clone().all(|(before, after)| kept(before, after)), "{before:?} {after:?}");
            }
            (Body::Nft(_), Body::Xt(_)) => panic!("{after:?} says more than before"),
        }
        true
    }

    fn snapshot(rulesets: &[Ruleset]) -> Snapshot {
        let mut snapshot = Snapshot::of("node", 0, "netns/t", Workload::named(Kind::Netns, "t"));
        snapshot.rulesets = Some(rulesets.to_vec());
        snapshot
    }

    /// Another byte in what is not understood of a rule; whether there is any.
    fn change(rule: &mut Rule) -> bool {
        let unknown = match &mut rule.body {
            Body::Nft(native) => native.expressions.iter_mut().find_map(|part| match part {
                Expression::Unknown { data, .. } => data.last_mut(),
                _ => None,
            }),
            Body::Xt(rule) => {
                let part = rule.matches.iter_mut().find_map(|part| match part {
                    Match::Unknown(unknown) => Some(unknown),
                    _ => None,
                });
                let target = match &mut rule.action {
                    Action::Target(Target::Unknown(unknown)) => Some(unknown),
                    _ => None,
                };
                part.or(target).and_then(|unknown| match &mut **unknown {
                    Unknown::Bytes { data, .. } => data.last_mut(),
                    _ => None,
                })
            }
        };
        unknown.map(|byte| *byte ^= 1).is_some()
    }

    /// All that must hold of a recording with decoders off; how many rules are other than with them.
    fn holds(before: &[Ruleset], after: &[Ruleset], name: &str) -> usize {
        let (old, new) = (rules(before), rules(after));
        assert!(old.keys().eq(new.keys()), "{name}: a chain more or less");
        let mut others = 0;
        for (place, rules) in &new {
            let whole = &old[place];
            assert_eq!(whole.len(), rules.len(), "{name}: {place:?}");
            others += whole.iter().zip(rules).filter(|(before, after)| compare(before, after)).count();
        }
        for ruleset in after {
            for table in &ruleset.tables {
                let paths = Paths::of(table);
                for chain in &table.chains {
                    for (at, rule) in chain.rules.iter().enumerate() {
                        let unknown = describe::unknown(rule);
                        let text = print_rule(ruleset.family, table, chain, rule);
                        let means = describe::means(ruleset.family, table, &paths, chain, at);
                        let foreign =
                            old[&(ruleset.family, table.name.clone(), chain.name.clone())][at].body != rule.body;
                        assert!(!foreign || !unknown.is_empty(), "{name}: {text} says not that it is not understood");
                        assert!(!foreign || text.contains('['), "{name}: {text}");
                        assert!(
                            name.is_empty() || !foreign || unknown.iter().any(|part| part.contains(name)),
                            "{name}: {unknown:?}"
                        );
                        let _ = means;
                    }
                }
            }
        }
        let _ = print_nft(after, &[]);
        assert!(diff::rules(&snapshot(after), &snapshot(after)).changes.is_empty());
        survives(after.to_vec());
        others
    }

    #[test]
    fn a_decoder_less_takes_nothing_else_away() {
        let mut off = 0;
        for recording in RECORDINGS {
            BLIND.with_borrow_mut(|blind| blind.asked.clear());
            let whole = read(recording);
            let names = BLIND.with_borrow(|blind| blind.asked.clone());
            for name in &names {
                let without = without(Some(name), || read(recording));
                let others = holds(&whole, &without, name);
                off += usize::from(others > 0);
            }
            let none = without(None, || read(recording));
            let rules: usize = whole.iter().map(Ruleset::rule_count).sum();
            assert!(holds(&whole, &none, "") * 2 > rules, "{recording}");
        }
        assert!(off > 40, "{off} decoders made a difference");
    }

    #[test]
    fn one_byte_of_what_is_not_understood_is_a_difference() {
        let mut changed = 0;
        for recording in RECORDINGS {
            let rulesets = without(None, || read(recording));
            let before = snapshot(&rulesets);
            for (at, ruleset) in rulesets.iter().enumerate() {
                for (number, table) in ruleset.tables.iter().enumerate() {
                    for (chain, kept) in table.chains.iter().enumerate() {
                        let Some(rule) = (0..kept.rules.len()).next() else { continue };
                        let mut after = before.clone();
                        let rulesets = after.rulesets.as_mut().expect("rules");
                        if change(&mut rulesets[at].tables[number].chains[chain].rules[rule]) {
                            assert_eq!(diff::rules(&before, &after).changes.len(), 1, "{recording}: {}", kept.name);
                            changed += 1;
                        }
                    }
                }
            }
        }
        assert!(changed > 40, "{changed}");
    }
}
