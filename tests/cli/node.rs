//! A node with many services: rules as kube-proxy writes them, and what `rules` says of so many.

use std::fmt::Write;

use crate::program::with_input;

/// The nat table of a node with so many services, each with one endpoint.
fn services(count: usize) -> String {
    let mut chains = String::new();
    let mut rules = String::new();
    for number in 0..count {
        let (address, port, pod) = (format!("10.96.0.{}/32", number % 150 + 1), 80 + number / 150, "10.244.1.2");
        writeln!(chains, ":KUBE-SVC-{number:04} - [0:0]\n:KUBE-SEP-{number:04} - [0:0]").expect("a string");
        writeln!(
            rules,
            "-A KUBE-SERVICES -d {address} -p tcp -m tcp --dport {port} -j KUBE-SVC-{number:04}\n\
             -A KUBE-SVC-{number:04} ! -s 10.244.0.0/16 -d {address} -p tcp -m tcp --dport {port} -j KUBE-MARK-MASQ\n\
             -A KUBE-SVC-{number:04} -j KUBE-SEP-{number:04}\n\
             -A KUBE-SEP-{number:04} -s {pod}/32 -j KUBE-MARK-MASQ\n\
             -A KUBE-SEP-{number:04} -p tcp -m tcp -j DNAT --to-destination {pod}:8080"
        )
        .expect("a string");
    }
    format!(
        "*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n\
         :KUBE-MARK-MASQ - [0:0]\n:KUBE-POSTROUTING - [0:0]\n{chains}\
         -A PREROUTING -j KUBE-SERVICES\n-A OUTPUT -j KUBE-SERVICES\n-A POSTROUTING -j KUBE-POSTROUTING\n\
         -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000\n\
         -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n\
         -A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0\n\
         -A KUBE-POSTROUTING -j MASQUERADE\n{rules}COMMIT\n"
    )
}

fn told(text: &str, words: &[&str], exit: i32) -> String {
    let run = with_input(&[&["rules", "-4", "-"][..], words].concat(), text.as_bytes()).ended(exit);
    run.out + &run.err
}

#[test]
fn what_is_only_marked_on_the_way_is_not_taken_off_it() {
    let said = told(&services(2), &["--all"], 0);
    assert!(said.contains("2         -  everything → chain KUBE-SEP-0001"), "marked packets go there too:\n{said}");
    assert!(said.contains("all TCP → sent to 10.244.1.2:8080"), "{said}");
    assert!(said.contains("everything → has mark bits 0x4000 flipped"), "{said}");
    assert!(said.contains("3         -  everything else\n"), "a RETURN before it takes some:\n{said}");
}

/// The last rule of `X` gets all, or what the first ones left.
#[test]
fn the_rest_is_what_no_rule_took() {
    let base = "*nat\n:OUTPUT ACCEPT [0:0]\n:X - [0:0]\n:Y - [0:0]\n:Z - [0:0]\n-A OUTPUT -j X\n";
    for (rules, rest) in [
        ("-A X -d 10.0.0.1 -j LOG", false),
        ("-A X -d 10.0.0.1", false),
        ("-A X -d 10.0.0.1 -j CONNMARK --save-mark", false),
        ("-A Y -p udp -j RETURN\n-A X -d 10.0.0.1 -j Y", false),
        ("-A Z -j MARK --set-mark 1\n-A Y -j Z\n-A X -d 10.0.0.1 -j Y", false),
        ("-A X -d 10.0.0.1 -j RETURN", true),
        ("-A X -d 10.0.0.1 -j ACCEPT", true),
        ("-A X -d 10.0.0.1 -g Y", true),
        ("-A Y -p udp -j ACCEPT\n-A X -d 10.0.0.1 -j Y", true),
        ("-A Z -p tcp -j REDIRECT --to-ports 1\n-A Y -j Z\n-A X -d 10.0.0.1 -j LOG\n-A X -d 10.0.0.1 -j Y", true),
    ] {
        let text = format!("{base}{rules}\n-A X -p tcp -j REDIRECT --to-ports 15001\nCOMMIT\n");
        let said = told(&text, &["--why"], 0);
        let wanted = if rest { "all other TCP → proxy at 15001" } else { "    all TCP → proxy at 15001" };
        assert!(said.contains(wanted), "{rules}:\n{said}");
    }
}

/// The same in rules of nft.
#[test]
fn the_rest_of_nft_s_rules_is_what_no_rule_took() {
    for (rules, rest) in [
        ("ip daddr 10.0.0.1 meta mark set 0x1", false),
        ("ip daddr 10.0.0.1 counter jump y", false),
        ("ip daddr 10.0.0.1 jump z", true),
        ("ip daddr 10.0.0.1 return", true),
        ("ip daddr 10.0.0.1 goto y", true),
    ] {
        let text = format!(
            "table ip t {{\n\tchain y {{\n\t\tmeta mark set 0x2\n\t}}\n\tchain z {{\n\t\tudp dport 53 accept\n\t}}\n\
             \tchain o {{\n\t\ttype nat hook output priority -100; policy accept;\n\t\t{rules}\n\
             \t\tmeta l4proto tcp redirect to :15001\n\t}}\n}}\n"
        );
        let said = told(&text, &["--why"], 0);
        let wanted = if rest { "all other TCP → proxy at 15001" } else { "    all TCP → proxy at 15001" };
        assert!(said.contains(wanted), "{rules}:\n{said}");
    }
}

fn sentence(text: &str) -> String {
    let run = with_input(&["rules", "-4", "-o", "json", "-"], text.as_bytes()).ended(0);
    run.json()["summary"].as_str().expect("a sentence").to_owned()
}

#[test]
fn the_sentence_stays_short() {
    let said = |count| sentence(&services(count)).split_once(" Further exceptions: ").expect("exceptions").1.to_owned();
    let by = "outbound and inbound redirected by rules";
    assert_eq!(said(2), format!("{by} nat KUBE-SEP-0000 2 and nat KUBE-SEP-0001 2."), "each is named once");
    let first: Vec<String> = (0..6).map(|number| format!("nat KUBE-SEP-000{number} 2")).collect();
    let first = first.join(", ");
    assert_eq!(said(150), format!("{by} {first} and 144 more."));
    let more = "The rules name more than is asked for this sentence: others may be treated otherwise.";
    assert_eq!(said(300), format!("{by} {first} and 194 more. {more}"), "not all were asked about");
}

/// Two chains of one place, of which the second asks what is not known: the order is not what the answer hangs on.
#[test]
fn what_is_not_known_is_named_once_and_rightly() {
    let base = |hook: &str| format!("type nat hook {hook} priority -100; policy accept;");
    let text = format!(
        "table ip t {{\n\
         \tchain o {{\n\t\t{}\n\t\tjump c\n\t}}\n\tchain i {{\n\t\t{}\n\t\tjump c\n\t}}\n\
         \tchain c {{\n\t\tmeta mark set 0x00000007 tcp dport 80 drop\n\t}}\n}}\n\
         table ip u {{\n\tchain o {{\n\t\t{}\n\t}}\n\tchain i {{\n\t\t{}\n\t}}\n}}\n",
        base("output"),
        base("prerouting"),
        base("output"),
        base("prerouting"),
    );
    let said = sentence(&text);
    assert!(said.contains("rule nft ip t c 1, which") && !said.contains("order"), "{said}");
    assert_eq!(said.matches("rule nft ip t c 1").count(), 1, "{said}");
}

#[test]
fn a_misspelt_chain_of_thousands_is_answered_by_the_nearest() {
    let text = services(300);
    let near = told(&text, &["--chain", "KUBE-SERVICE"], 3);
    assert!(near.contains("hint: there is: KUBE-SERVICES") && near.len() < 300, "{near}");
    let far = told(&text, &["--chain", "ISTIO_OUTPUT"], 3);
    assert!(far.contains(" and 591 more") && far.len() < 400, "{far}");
}
