//! Expressions of nf_tables that no kernel would send: each has a text and a meaning, or none, and nothing panics.

use nslens::model::{Backend, Body, Chain, Family, Ruleset, Table};
use nslens::nft::{Comparison, Data, Element, Expression, Load, Rule, Set, Span, Verdict};
use nslens::syntax::{print_nft, print_rule};
use proptest::collection::vec;
use proptest::prelude::*;

/// Expressions of every sort, with numbers that no kernel would send.
fn any_expression() -> impl Strategy<Value = Expression> {
    let register = || prop_oneof![Just(1_u32), Just(0), 1..24_u32, any::<u32>()];
    let small = || prop_oneof![0..4_u32, 0..40_u32, any::<u32>()];
    let bytes = || vec(prop_oneof![Just(0_u8), Just(0xff), any::<u8>()], 0..20);
    let span = move || {
        (proptest::option::of(1..24_u32), proptest::option::of(1..24_u32)).prop_map(|(from, to)| Span { from, to })
    };
    let loads = prop_oneof![
        (0..40_u32, register()).prop_map(|(key, register)| Expression::Meta { key, register }),
        (0..4_u32, small(), small(), register()).prop_map(|(base, offset, length, register)| Expression::Payload {
            base,
            offset,
            length,
            register
        }),
        (0..30_u32, proptest::option::of(0..3_u8), register())
            .prop_map(|(key, direction, register)| Expression::Load { from: Load::Ct { key, direction }, register }),
        (0..5_u32, any::<u32>(), register())
            .prop_map(|(result, flags, register)| Expression::Load { from: Load::Fib { result, flags }, register }),
        (bytes(), register()).prop_map(|(value, register)| Expression::Value { value, register }),
        register().prop_map(|register| Expression::ByteOrder { register }),
    ];
    let changes = prop_oneof![
        (bytes(), bytes(), register()).prop_map(|(mask, xor, register)| Expression::Bitwise { mask, xor, register }),
        (any::<bool>(), small(), register()).prop_map(|(left, bits, register)| Expression::Shift {
            left,
            bits,
            register
        }),
        (0..6_u32, bytes(), register()).prop_map(|(comparison, value, register)| Expression::Cmp {
            comparison: Comparison::from_number(comparison).expect("a comparison"),
            value,
            register
        }),
        (any::<bool>(), bytes(), bytes(), register()).prop_map(|(negated, from, to, register)| Expression::Range {
            negated,
            from,
            to,
            register
        }),
        (any::<bool>(), register(), proptest::option::of(register()))
            .prop_map(|(negated, register, into)| Expression::Lookup { set: "s".to_owned(), negated, register, into }),
    ];
    let acts =
        prop_oneof![
            (0..3_u32, any::<u32>(), span(), span(), any::<u32>()).prop_map(|(kind, family, address, port, flags)| {
                Expression::Nat { kind, family, address, port, flags }
            }),
            (span(), any::<u32>()).prop_map(|(port, flags)| Expression::Redirect { port, flags }),
            (any::<u32>(), proptest::option::of(register()), proptest::option::of(register()))
                .prop_map(|(family, address, port)| Expression::Tproxy { family, address, port }),
            (0..40_u32, register()).prop_map(|(key, register)| Expression::SetMeta { key, register }),
            (0..4_u32, small(), small(), register())
                .prop_map(|(base, offset, length, register)| Expression::SetPayload { base, offset, length, register }),
            (any::<u64>(), any::<u64>(), any::<u32>(), any::<bool>())
                .prop_map(|(rate, unit, burst, bytes)| Expression::Limit { rate, unit, burst, bytes, over: bytes }),
            (any::<u32>(), any::<u8>()).prop_map(|(kind, code)| Expression::Reject { kind, code }),
            Just(Expression::Immediate(Verdict::Accept)),
        ];
    prop_oneof![4 => loads, 4 => changes, 1 => acts]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_expressions_have_a_text_and_a_meaning_or_none(
        expressions in vec(any_expression(), 0..12),
        family in proptest::sample::select(&[1_u8, 2, 3, 5, 7, 10][..]),
        (key, flags, length) in (any::<u32>(), any::<u32>(), 0..40_u32),
        elements in vec((vec(any::<u8>(), 0..20), 0..4_u32, any::<u64>()), 0..6),
    ) {
        let family = Family::from_number(family).expect("a family");
        let elements = elements.into_iter().map(|(key, flags, time)| Element {
            data: Some(Data::Value(key.clone())), key, flags, timeout: Some(time), ..Element::default()
        });
        let set = Set { name: "s".to_owned(), key, flags, key_length: length, data: Some(key), elements: elements.collect(), ..Set::default() };
        let table = Table { sets: vec![set], ..Table::default() };
        let rule = Rule { expressions, user_data: Vec::new() };
        let chain = Chain::user("c");
        let rule = nslens::model::Rule { counters: None, handle: None, body: Body::Nft(Box::new(rule)), native: None };
        let _ = print_rule(family, &table, &chain, &rule);
        if let Some(reading) = nslens::analysis::native::reading(family, &table, &rule) {
            let _ = reading.condition().ask(&nslens::packet::Packet::default());
        }
        let chain = Chain { rules: vec![rule], ..chain };
        let table = Table { chains: vec![chain], ..table };
        let _ = print_nft(&[Ruleset { backend: Backend::Nft, family, tables: vec![table] }], &[]);
    }
}
