//! What no nslens knows yet: attributes, flags, objects and hooks from messages made by hand are kept by number and bytes, shown in
//! brackets, said to be unknown, and survive a snapshot. Flow tables, which few kernels have, are read here too.

use nslens::archive;
use nslens::model::{Backend, Body, Family, Kind, Ruleset, Snapshot, Workload};
use nslens::nft::{Expression, Rule};
use nslens::syntax::print_nft;
use nslens::wire::attribute::Builder;
use nslens::wire::nf_table::assemble;
use nslens::wire::{nf_object, nf_tables};

use crate::program::Folder;

fn message() -> Builder {
    Builder::after(&nf_tables::head(2)).put_text(1, "t")
}

fn expression(name: &str, data: &Builder) -> Builder {
    Builder::default().put_text(1, name).put_nested(2, data)
}

/// The expressions of a rule message with these expressions.
fn read(parts: &[Builder]) -> Vec<Expression> {
    let list = parts.iter().fold(Builder::default(), |list, part| list.put_nested(1, part));
    let message = message().put_text(2, "c").put_nested(4, &list).finish();
    nf_tables::rule(&message).expect("a rule").rule.expressions
}

/// A snapshot of one table, whose messages these are.
fn snapshot(table: &[u8], chain: &[u8], rules: &[Vec<u8>]) -> Snapshot {
    let table = nf_tables::table(table).expect("a table");
    let chain = nf_tables::chain(chain).expect("a chain");
    let rules = rules.iter().map(|rule| nf_tables::rule(rule).expect("a rule")).collect();
    let table = assemble(Family::Ip, &table, vec![(&chain, rules)]);
    let mut snapshot = Snapshot::of("node", 0, "netns/t", Workload::named(Kind::Netns, "t"));
    snapshot.rulesets = Some(vec![Ruleset { backend: Backend::Nft, family: Family::Ip, tables: vec![table] }]);
    snapshot
}

fn listed(snapshot: &Snapshot) -> (String, Vec<String>) {
    let text = print_nft(snapshot.rulesets(), &[]);
    (text.text, text.missing)
}

/// The same, by way of a file.
fn again(snapshot: &Snapshot) -> Snapshot {
    let mut bytes = Vec::new();
    archive::write(snapshot, false, &mut bytes).expect("written");
    match archive::read(&bytes, Family::Ip).expect("read") {
        archive::Loaded::Snapshot(snapshot) => *snapshot,
        archive::Loaded::Rules(..) => panic!("no snapshot"),
    }
}

fn plain_chain() -> Builder {
    message().put_text(3, "c")
}

#[test]
fn a_known_expression_with_an_attribute_more_is_not_the_one_known() {
    const STRANGE: u16 = 40;
    let number = |builder: Builder, values: &[(u16, u32)]| {
        values.iter().fold(builder, |builder, (kind, value)| builder.put_be32(*kind, *value))
    };
    let wide = |kind: u16, value: u64| Builder::default().put(kind, &value.to_be_bytes());
    let known: Vec<(&str, Builder)> = vec![
        ("meta", number(Builder::default(), &[(1, 1), (2, 3)])),
        ("payload", number(Builder::default(), &[(1, 1), (2, 1), (3, 12), (4, 4)])),
        ("ct", number(Builder::default(), &[(1, 1), (2, 0)])),
        ("rt", number(Builder::default(), &[(1, 1), (2, 0)])),
        ("fib", number(Builder::default(), &[(1, 1), (2, 3), (3, 2)])),
        ("socket", number(Builder::default(), &[(1, 0), (2, 1)])),
        ("numgen", number(Builder::default(), &[(1, 1), (2, 2), (3, 0)])),
        ("osf", number(Builder::default(), &[(1, 1)]).put(2, &[0])),
        ("xfrm", number(Builder::default(), &[(1, 1), (2, 5), (4, 0)]).put(3, &[0])),
        ("cmp", number(Builder::default(), &[(1, 1), (2, 0)]).put_nested(3, &Builder::default().put(1, &[1]))),
        ("counter", wide(1, 5).put(2, &7_u64.to_be_bytes())),
        ("limit", number(wide(1, 5).put(2, &1_u64.to_be_bytes()), &[(3, 5)])),
        ("quota", wide(1, 5)),
        ("connlimit", number(Builder::default(), &[(1, 5)])),
        ("nat", number(Builder::default(), &[(1, 1), (2, 2)])),
        ("masq", number(Builder::default(), &[(1, 4)])),
        ("redir", number(Builder::default(), &[(3, 4)])),
        ("tproxy", number(Builder::default(), &[(1, 2)])),
        ("reject", number(Builder::default(), &[(1, 1)])),
        ("log", Builder::default().put(1, &[0, 5])),
        ("queue", Builder::default().put(1, &[0, 5]).put(2, &[0, 1])),
        ("synproxy", number(Builder::default().put(1, &[5, 0]).put(2, &[7]), &[(3, 3)])),
        ("flow_offload", Builder::default().put_text(1, "f")),
        ("last", number(Builder::default(), &[(1, 0)])),
        ("dup", number(Builder::default(), &[(1, 1)])),
        ("fwd", number(Builder::default(), &[(1, 1)])),
        ("objref", number(Builder::default(), &[(1, 1)]).put_text(2, "c")),
        ("dynset", number(Builder::default().put_text(1, "s"), &[(3, 0), (4, 1)])),
        ("lookup", number(Builder::default().put_text(1, "s"), &[(2, 1)])),
    ];
    for (name, data) in known {
        let plain = read(&[expression(name, &data)]);
        assert!(!matches!(plain[..], [Expression::Unknown { .. }]), "{name} is known: {plain:?}");
        let strange = read(&[expression(name, &data.put_be32(STRANGE, 5))]);
        let [Expression::Unknown { name: kept, data }] = &strange[..] else { panic!("{name}: {strange:?}") };
        assert!(kept == name && data.ends_with(&[0, 0, 0, 5]), "{strange:?}");
    }
}

#[test]
fn flag_bits_that_nobody_knows_are_not_left_out() {
    let shown = |expression: Expression| {
        let rule = nslens::model::Rule {
            counters: None,
            handle: None,
            body: Body::Nft(Box::new(Rule { expressions: vec![expression], user_data: Vec::new() })),
            native: None,
        };
        let mut snapshot = snapshot(&message().finish(), &plain_chain().finish(), &[]);
        snapshot.rulesets.as_mut().expect("rules")[0].tables[0].chains[0].rules.push(rule);
        listed(&snapshot)
    };
    let log = |flags| Expression::Log {
        group: None,
        prefix: String::new(),
        blank: false,
        length: None,
        threshold: None,
        level: None,
        flags: Some(flags),
    };
    for strange in [
        log(0x40),
        Expression::Queue { number: 1, total: 1, flags: 8 },
        Expression::Quota { bytes: 5, used: 0, flags: 4 },
        Expression::Synproxy { mss: 1, scale: 1, flags: 0x80 },
        Expression::Meta { key: 99, register: 1 },
    ] {
        let (text, missing) = shown(strange.clone());
        let known = matches!(strange, Expression::Meta { .. });
        assert!(known || (text.contains('[') && missing == ["ip t chain c"]), "{strange:?}: {text} {missing:?}");
    }
    assert_eq!(shown(log(4)).1, [""; 0]);
}

#[test]
fn strange_attributes_of_tables_chains_sets_objects_and_flow_tables_are_shown_and_kept() {
    const STRANGE: u16 = 60;
    let table = message().put_be32(2, 0x102).put(STRANGE, &[0xab, 0xcd]).finish();
    let hook = Builder::default().put_be32(1, 3).put_be32(2, 0).put(STRANGE, &[0x11]);
    let chain = message().put_text(3, "c").put_nested(4, &hook).put_text(7, "filter").put_be32(5, 1).put_be32(10, 0x13);
    let chain = chain.put(STRANGE, &[0xee]).finish();
    let mut snapshot = snapshot(&table, &chain, &[]);
    let set =
        message().put_text(2, "s").put_be32(3, 0x1000).put_be32(4, 7).put_be32(5, 4).put(STRANGE, &[1, 2]).finish();
    let mut set = nf_tables::set(&set).expect("a set");
    let element = Builder::default().put_nested(1, &Builder::default().put(1, &[1, 1, 1, 1])).put(STRANGE, &[9]);
    let elements = message().put_text(2, "s").put_nested(3, &Builder::default().put_nested(1, &element)).finish();
    set.elements = nf_tables::elements(&elements).expect("elements");
    let object = message().put_text(2, "o").put_be32(3, 77).put_nested(4, &Builder::default().put(1, &[3])).finish();
    let object = nf_object::object(&object).expect("an object");
    let devices = Builder::default().put_text(1, "eth0").put_text(1, "eth1");
    let hook = Builder::default().put_be32(1, 0).put_be32(2, (-5_i32).cast_unsigned()).put_nested(3, &devices);
    let flow = |flags: u32| message().put_text(2, "f").put_nested(3, &hook).put_be32(7, flags);
    let plain = nf_object::flow_table(&flow(3).finish()).expect("a flow table");
    let strange = nf_object::flow_table(&flow(8).put(STRANGE, &[7]).finish()).expect("a flow table");
    let first = &mut snapshot.rulesets.as_mut().expect("rules")[0].tables[0];
    (first.sets, first.objects, first.flow_tables) = (vec![set], vec![object], vec![plain, strange]);
    let (text, missing) = listed(&snapshot);
    for wanted in [
        "[ flags 0x100 ]",
        "[ attribute 60 0xabcd ]",
        "flags owner",
        "[ attribute 60 0x11 ]",
        "[ flags 0x10 ]",
        "[ attribute 60 0xee ]",
        "flags offload",
        "[ flags 0x1000 ]",
        "[ attribute 60 0x0102 ]",
        "1.1.1.1 [ attribute 60 0x09 ]",
        "[ object type 77 ] o {",
        "\tflowtable f {\n\t\thook ingress priority filter - 5\n\t\tdevices = { eth0, eth1 }\n\t\tflags offload\n\t\tcounter\n\t}\n",
        "[ attribute 60 0x07 ]",
        "[ flags 0x8 ]",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
    }
    for wanted in ["ip t table t", "ip t chain c", "ip t set s", "ip t object o", "ip t flow table f"] {
        assert!(missing.iter().any(|known| known == wanted), "{wanted}: {missing:?}");
    }
    assert_eq!(listed(&again(&snapshot)), (text, missing));
}

#[test]
fn what_stands_by_name_and_bytes_is_said_and_ends_with_a_code_of_its_own() {
    let load = expression("meta", &Builder::default().put_be32(1, 1).put_be32(2, 99));
    let equal = Builder::default().put_be32(1, 1).put_be32(2, 0).put_nested(3, &Builder::default().put(1, &[1]));
    let list = Builder::default().put_nested(1, &load).put_nested(1, &expression("cmp", &equal));
    let strange = Builder::default().put_nested(1, &expression("hyper", &Builder::default().put(1, &[5])));
    let rule = |list: &Builder| message().put_text(2, "c").put_nested(4, list).finish();
    let snapshot = snapshot(&message().finish(), &plain_chain().finish(), &[rule(&list), rule(&strange)]);
    let folder = Folder::new();
    let mut bytes = Vec::new();
    archive::write(&snapshot, false, &mut bytes).expect("written");
    let file = folder.put("a.nslens", bytes);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_nslens"))
        .args(["rules", &format!("file/{}", file), "-o", "nft"])
        .output()
        .expect("nslens runs");
    let (text, note) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(5), "{text}{note}");
    assert!(text.contains("[ meta load key 99 => reg 1 ]") && text.contains("[ hyper 0x05000100050"), "{text}");
    assert!(note.contains("ip t chain c"), "{note}");
    let unknown = nslens::analysis::describe::unknown(&again(&snapshot).rulesets()[0].tables[0].chains[0].rules[1]);
    assert_eq!(unknown, ["expression hyper"]);
}

#[test]
fn what_stands_beside_the_expressions_of_a_rule_is_not_left_out() {
    const STRANGE: u16 = 40;
    let counter = expression("counter", &Builder::default().put(1, &[0; 8]).put(2, &[0; 8]));
    let list = Builder::default().put_nested(1, &counter);
    let plain = || message().put_text(2, "c");
    let read = |message: Builder| nf_tables::rule(&message.finish()).map(|rule| rule.rule.expressions);
    let more = Builder::default().put_nested(1, &counter).put(STRANGE, &[1, 2]);
    let inside = expression("counter", &Builder::default().put(1, &[0; 8])).put(STRANGE, &[1, 2]);
    let inside = Builder::default().put_nested(1, &inside);
    for strange in [
        plain().put_nested(4, &list).put(STRANGE, &[1, 2]),
        plain().put_nested(4, &more),
        plain().put_nested(4, &inside),
    ] {
        let found = read(strange).expect("a rule");
        let unknown = found.iter().find_map(|part| match part {
            Expression::Unknown { data, .. } => Some(data),
            _ => None,
        });
        assert!(unknown.is_some_and(|data| data.windows(2).any(|pair| pair == [1, 2])), "{found:?}");
    }
    // A rule for everything has an empty list.
    assert_eq!(read(plain().put_nested(4, &Builder::default())), Ok(Vec::new()));
    assert!(read(plain()).is_err());
}

#[test]
fn a_hook_that_nobody_knows_is_shown_by_its_number() {
    let hook = Builder::default().put_be32(1, 9).put_be32(2, 5);
    let chain = message().put_text(3, "c").put_nested(4, &hook).put_text(7, "filter").put_be32(5, 1).finish();
    let found = snapshot(&message().finish(), &chain, &[]);
    let (text, missing) = listed(&found);
    assert!(text.contains("[ attribute 4 0x0000000900000005 ]") && missing == ["ip t chain c"], "{text} {missing:?}");
    assert_eq!(again(&found).rulesets(), found.rulesets());
}

#[test]
fn a_strange_byte_anywhere_is_a_difference() {
    use nslens::analysis::diff;
    let of = |table: u8, chain: u8, object: u8| {
        let strange = |message: Builder, byte: u8| message.put(60, &[byte]).finish();
        let mut found = snapshot(&strange(message(), table), &strange(plain_chain(), chain), &[]);
        let object = message().put_text(2, "o").put_be32(3, 77).put_nested(4, &Builder::default().put(1, &[object]));
        let object = nf_object::object(&object.finish()).expect("an object");
        let rule = Builder::default().put_nested(1, &expression("notrack", &Builder::default()));
        let rule = message().put_text(2, "c").put_nested(4, &rule).finish();
        let table = &mut found.rulesets.as_mut().expect("rules")[0].tables[0];
        table.objects = vec![object];
        let (_, rule) = nf_tables::rule_body(&rule).expect("a rule");
        table.chains[0].rules.push(nslens::model::Rule {
            counters: None,
            handle: None,
            body: Body::Nft(Box::new(rule)),
            native: None,
        });
        found
    };
    let same = of(1, 2, 3);
    assert!(diff::rules(&same, &of(1, 2, 3)).changes.is_empty());
    for other in [of(9, 2, 3), of(1, 9, 3), of(1, 2, 9)] {
        assert_eq!(diff::rules(&same, &other).changes.len(), 1);
    }
}
