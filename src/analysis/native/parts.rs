//! Parts of a rule of nft in the terms of iptables, where the whole has none: what it asks first, and each thing that it does.

use std::borrow::Cow;

use super::{Reading, Translator, host};
use crate::model::{Family, Table};
use crate::nft::{self, Expression, Statement, Term, statements};
use crate::syntax::place_of;
use crate::xt::Action;

/// Whether a statement of nft only picks packets, or counts them.
pub(in crate::analysis) fn asks(statement: &Statement) -> bool {
    let limits = |part: &Expression| {
        matches!(
            part,
            Expression::Counter { .. }
                | Expression::Limit { .. }
                | Expression::Quota { .. }
                | Expression::Connections { .. }
        )
    };
    matches!(statement, Statement::Match { .. }) || matches!(statement, Statement::Plain(part) if limits(part))
}

/// What a rule asks before it does anything, whatever that is.
pub(in crate::analysis) fn asked_first<'a>(family: Family, table: &Table, native: &nft::Rule) -> Option<Reading<'a>> {
    let mut translator = Translator::new(table, place_of(family, table, &[], false));
    for statement in statements(native, translator.place)?.iter().take_while(|statement| asks(statement)) {
        translator.statement(statement)?;
    }
    let mixed = matches!(family, Family::Inet | Family::Netdev);
    let ipv6 = translator.ipv6.filter(|_| mixed);
    (!translator.never).then_some(Reading { rule: Cow::Owned(translator.rule), ipv6 })
}

/// What a statement does, where one target does the same to all packets.
pub(in crate::analysis) fn alone(family: Family, table: &Table, statement: &Statement) -> Option<Action> {
    let mut translator = Translator::new(table, place_of(family, table, &[], false));
    translator.statement(statement)?;
    (translator.acted && translator.ipv6.is_none()).then_some(translator.rule.action)
}

/// The bits that a mark gets, and those that are cleared before: `(mark & !cleared) ^ bits`.
pub(super) fn changed_bits(what: &Term, to: &Term) -> Option<(u32, u32)> {
    match to {
        Term::Value(value) => Some((host(value)?, u32::MAX)),
        Term::Binary { of, sign, with } => {
            let (bits, cleared) = if **of == *what { (0, 0) } else { changed_bits(what, of)? };
            let with = host(with)?;
            Some(match *sign {
                "&" => (bits & with, cleared | !with),
                "|" => (bits | with, cleared | with),
                "^" => (bits ^ with, cleared),
                _ => return None,
            })
        }
        _ => None,
    }
}
