//! What the rules of a table do with its declared sets: it tells what no word of a declaration does.

use std::collections::HashMap;

use crate::nft::{Part, RuleTree, SetTree, Value};

/// What is done with one set.
#[derive(Debug, Default)]
struct Use<'a> {
    asked: Option<&'a Value>,
    given: Option<Value>,
    written: bool,
}

/// By the set's name.
#[derive(Debug, Default)]
pub(super) struct Uses<'a>(HashMap<&'a str, Use<'a>>);

impl<'a> Uses<'a> {
    /// Those of these rules.
    pub(super) fn of(rules: impl Iterator<Item = &'a RuleTree>) -> Self {
        let mut uses = Self::default();
        for part in rules.flat_map(|rule| &rule.parts) {
            uses.part(&part.part);
        }
        uses
    }

    /// Notes it beside the set.
    pub(super) fn tell(&self, set: &mut SetTree) {
        if let Some(found) = self.0.get(set.name.as_str()) {
            (set.asked, set.given) = (found.asked.cloned(), found.given.clone());
            set.written = found.written;
        }
    }

    fn part(&mut self, part: &'a Part) {
        match part {
            Part::Match(key, _, set) | Part::VerdictMap(key, set) | Part::ObjectMap(_, key, set) => {
                self.asks(key, set);
                self.value(key);
            }
            Part::Masked(left, ..) => self.value(left),
            Part::Set(what, to) => {
                if let Value::Map(_, map) = to
                    && let Value::Named(name) = &**map
                {
                    self.0.entry(name).or_default().given = Some(Value::Term(what.clone()));
                }
                self.value(to);
            }
            Part::Nat { address, port, .. } | Part::Tproxy(_, address, port) => self.values([address, port]),
            Part::Send { address, device, .. } => self.values([address, device]),
            Part::Update { set, element, .. } => {
                let found = self.0.entry(set).or_default();
                found.written = true;
                found.asked = found.asked.or(Some(&element.key));
                self.value(&element.key);
            }
            _ => {}
        }
    }

    fn values(&mut self, values: [&'a Option<Value>; 2]) {
        values.into_iter().flatten().for_each(|value| self.value(value));
    }

    fn asks(&mut self, key: &'a Value, set: &'a Value) {
        if let Value::Named(name) = set {
            self.0.entry(name).or_default().asked = Some(key);
        }
    }

    fn value(&mut self, value: &'a Value) {
        match value {
            Value::Map(key, map) => {
                self.asks(key, map);
                self.value(key);
            }
            Value::Concat(parts) | Value::List(parts) => parts.iter().for_each(|part| self.value(part)),
            Value::Binary(left, _, right) | Value::Range(left, right) => {
                self.value(left);
                self.value(right);
            }
            Value::Hash(of, ..) | Value::Prefix(of, _) => self.value(of),
            _ => {}
        }
    }
}
