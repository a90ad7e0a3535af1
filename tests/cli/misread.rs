//! Rules that somebody made to look like others: what iptables would never write is not read as iptables.

use nslens::model::{Body, Family, Syntax};
use nslens::nft::{Comparison, Expression, Rule, Verdict};
use nslens::wire::attribute::Builder;
use nslens::wire::nf_table::assemble;
use nslens::wire::nf_tables::{self, ChainMessage, RuleMessage};

fn load_protocol() -> Expression {
    Expression::Meta { key: 16, register: 1 }
}

fn load_port() -> Expression {
    Expression::Payload { base: 2, offset: 2, length: 2, register: 1 }
}

fn equals(value: &[u8]) -> Expression {
    Expression::Cmp { comparison: Comparison::Eq, value: value.to_vec(), register: 1 }
}

/// The text of a rule in a chain of iptables-nft; `None` when it is read as nft's own.
fn as_iptables(expressions: Vec<Expression>) -> Option<String> {
    let chain = ChainMessage {
        family: 2,
        table: "nat".into(),
        name: "OUTPUT".into(),
        hook: Some((3, -100)),
        kind: Some("nat".into()),
        policy: None,
        counters: None,
        handle: None,
        devices: Vec::new(),
        user_data: Vec::new(),
        extra: nslens::model::Extra::default(),
    };
    let rule = Rule { expressions, user_data: Vec::new() };
    let message = RuleMessage { table: "nat".into(), chain: "OUTPUT".into(), handle: 1, rule };
    let table = assemble(Family::Ip, &nat(), vec![(&chain, vec![message])]);
    let chain = table.chain("OUTPUT").expect("the chain");
    match &chain.rules.first().expect("the rule").body {
        Body::Xt(rule) => Some(rule.options()),
        Body::Nft(_) => {
            assert_eq!(chain.syntax, Syntax::Nft);
            None
        }
    }
}

#[test]
fn a_plain_rule_is_read() {
    let rule = vec![
        load_protocol(),
        equals(&[6]),
        load_port(),
        equals(&[0, 80]),
        Expression::Counter { packets: 0, bytes: 0 },
        Expression::Immediate(Verdict::Accept),
    ];
    assert_eq!(as_iptables(rule).as_deref(), Some("-p tcp -m tcp --dport 80 -j ACCEPT"));
}

#[test]
fn nothing_stands_behind_a_verdict() {
    let rule = vec![Expression::Immediate(Verdict::Accept), load_protocol(), equals(&[6])];
    assert_eq!(as_iptables(rule), None, "every packet is accepted, not TCP alone");
}

#[test]
fn no_test_stands_twice() {
    let twice = |first: &[u8], second: &[u8]| {
        as_iptables(vec![load_protocol(), equals(first), load_protocol(), equals(second)])
    };
    assert_eq!(twice(&[6], &[17]), None, "no packet is of both");
    assert_eq!(twice(&[6], &[6]).as_deref(), Some("-p tcp"), "the same said again");
    assert_eq!(as_iptables(vec![load_protocol(), equals(&[0])]), None, "to iptables a zero is any protocol");
    let address = Expression::Payload { base: 1, offset: 16, length: 4, register: 1 };
    let rule = vec![address.clone(), equals(&[10, 0, 0, 1]), address, equals(&[10, 0, 0, 2])];
    assert_eq!(as_iptables(rule), None, "no packet goes to both");
}

#[test]
fn values_have_the_length_of_what_is_loaded() {
    let tcp = || vec![load_protocol(), equals(&[6])];
    for value in [&[0][..], &[0, 80, 0], &[]] {
        assert_eq!(as_iptables([tcp(), vec![load_port(), equals(value)]].concat()), None, "{value:?}");
    }
    assert_eq!(as_iptables(vec![load_protocol(), equals(&[6, 0])]), None);
    assert_eq!(as_iptables(vec![Expression::Meta { key: 3, register: 1 }, equals(&[1, 0, 0, 0, 0])]), None);
    assert_eq!(as_iptables(vec![Expression::Meta { key: 7, register: 1 }, equals(b"lo\0x")]), None);
    let masked = vec![
        Expression::Payload { base: 1, offset: 12, length: 4, register: 1 },
        Expression::Bitwise { mask: vec![255, 0, 0, 0], xor: vec![0; 4], register: 1 },
        equals(&[10, 1, 0, 0]),
    ];
    assert_eq!(as_iptables(masked), None, "no packet has bits outside of the mask");
}

#[test]
fn a_chain_with_the_name_of_a_verdict_is_no_verdict() {
    for name in ["ACCEPT", "DROP", "RETURN", "QUEUE"] {
        assert_eq!(as_iptables(vec![Expression::Immediate(Verdict::Jump(name.into()))]), None, "{name}");
    }
    assert_eq!(as_iptables(vec![Expression::Immediate(Verdict::Goto("X".into()))]).as_deref(), Some("-g X"));
    // iptables-restore makes a chain with the name of a target, and what jumps there is written as what uses the target.
    let jump = vec![Expression::Immediate(Verdict::Jump("REDIRECT".into()))];
    assert_eq!(as_iptables(jump).as_deref(), Some("-j REDIRECT"));
}

#[test]
fn a_value_from_another_register_is_not_the_one_loaded() {
    let expression = |name: &str, data: Builder| Builder::default().put_text(1, name).put_nested(2, &data);
    let meta = |register: u32, key: u32| expression("meta", Builder::default().put_be32(1, register).put_be32(2, key));
    let cmp = |register: u32, value: &[u8]| {
        let data = Builder::default().put_be32(1, register).put_be32(2, 0);
        expression("cmp", data.put_nested(3, &Builder::default().put(1, value)))
    };
    let read = |parts: [Builder; 2]| {
        let list = parts.iter().fold(Builder::default(), |list, part| list.put_nested(1, part));
        let message = Builder::after(&nf_tables::head(2)).put_text(1, "nat").put_text(2, "OUTPUT").put_nested(4, &list);
        as_iptables(nf_tables::rule(&message.finish()).expect("a rule").rule.expressions)
    };
    assert_eq!(read([meta(1, 16), cmp(1, &[6])]).as_deref(), Some("-p tcp"));
    assert_eq!(read([meta(2, 16), cmp(1, &[6])]), None, "register 1 holds something else");
    assert_eq!(read([meta(1, 16), cmp(2, &[6])]), None);
}

fn nat() -> nslens::wire::nf_tables::TableMessage {
    nslens::wire::nf_tables::TableMessage {
        family: 2,
        name: "nat".to_owned(),
        dormant: false,
        handle: None,
        user_data: Vec::new(),
        extra: nslens::model::Extra::default(),
    }
}
