//! What people read of rules: who gets the rest, how matches and targets are worded, what is said of rules of nft, and the help where
//! something was misspelt.

use crate::program::{Folder, nslens, with_input};

/// The words of all rules of a text, chain by chain, without headings.
fn told(text: &str) -> Vec<String> {
    let run = with_input(&["rules", "-", "--all", "--why"], text.as_bytes()).ended(0);
    let mut lines: Vec<String> = Vec::new();
    for line in run.out.lines().filter(|line| line.starts_with("    ")) {
        // A line that goes on stands further in.
        match (line.strip_prefix("      "), lines.last_mut()) {
            (Some(more), Some(last)) => *last = format!("{last} {more}"),
            _ => lines.push(line.trim_start().to_owned()),
        }
    }
    lines
}

/// The words of these rules of OUTPUT in nat, before a rule that redirects.
fn told_of(rules: &[&str]) -> Vec<String> {
    let rules: Vec<String> = rules.iter().map(|rule| format!("-A OUTPUT {rule}\n")).collect();
    let text =
        format!("*nat\n:OUTPUT ACCEPT [0:0]\n{}-A OUTPUT -p tcp -j REDIRECT --to-ports 1\nCOMMIT\n", rules.concat());
    let mut words = told(&text);
    words.retain(|line| line != "(no rules)");
    words.pop();
    words
}

#[test]
fn the_rest_is_what_was_taken_before() {
    let told = |rules: &str| {
        let text = format!("*nat\n:OUTPUT ACCEPT [0:0]\n:MARK - [0:0]\n:DST - [0:0]\n{rules}\nCOMMIT\n");
        let all = told(&text);
        all.into_iter().filter(|line| line.ends_with("sent to 10.0.0.9")).collect::<Vec<_>>().concat()
    };
    let last = "-A OUTPUT -j DNAT --to-destination 10.0.0.9";
    let tcp = "-A OUTPUT -p tcp -j DNAT --to-destination 10.0.0.9";
    let marks = "-A MARK -j MARK --set-xmark 0x4000/0x4000\n-A DST -p tcp -j DNAT --to-destination 10.0.0.8";
    // What only gets a mark, is counted, comes back or is of another protocol is not taken.
    for before in [
        "-A OUTPUT -s 10.0.0.1 -j MARK --set-mark 1",
        "-A OUTPUT -s 10.0.0.1",
        "-A OUTPUT -j MARK",
        "-A OUTPUT ! -s 10.0.0.0/8 -j MARK",
        "-A OUTPUT -j DST",
    ] {
        assert_eq!(told(&format!("{marks}\n{before}\n{last}")), "everything → sent to 10.0.0.9", "{before}");
    }
    assert_eq!(told(&format!("{marks}\n-A OUTPUT -p udp --dport 53 -j RETURN\n{tcp}")), "all TCP → sent to 10.0.0.9");
    // These packets are gone, or some of them.
    for before in [
        "-A OUTPUT -s 10.0.0.1 -j RETURN",
        "-A OUTPUT -p tcp -j ACCEPT",
        "-A OUTPUT -p tcp -j REDIRECT --to-ports 1",
        "-A OUTPUT -d 10.0.0.7 -j DST",
        "-A OUTPUT -d 10.0.0.7 -g MARK",
    ] {
        assert_eq!(told(&format!("{marks}\n{before}\n{last}")), "everything else → sent to 10.0.0.9", "{before}");
    }
    let both = "-A OUTPUT -p tcp --dport 22 -j RETURN\n-A OUTPUT -p udp -j RETURN";
    assert_eq!(told(&format!("{both}\n{tcp}")), "all other TCP → sent to 10.0.0.9");
    // Of each protocol the last rule gets the rest.
    assert_eq!(told(&format!("{both}\n{tcp}\n-A OUTPUT -p sctp -j RETURN")), "all other TCP → sent to 10.0.0.9");
}

#[test]
fn matches_and_targets_are_worded_as_people_say_them() {
    for (rule, words) in [
        ("-d 10.96.0.1 -p tcp --dport 443 -j RETURN", "TCP to 10.96.0.1:443 → left alone"),
        ("-s 10.0.0.1 -p udp --sport 53 -j RETURN", "UDP from 10.0.0.1:53 → left alone"),
        ("-d 10.0.0.0/8 -p tcp --dport 443 -j RETURN", "TCP to 10.0.0.0/8, to port 443 → left alone"),
        ("! -d 10.0.0.1 -p tcp --dport 443 -j RETURN", "TCP not to 10.0.0.1, to port 443 → left alone"),
        ("-d 10.0.0.1 -p tcp ! --dport 443 -j RETURN", "TCP to 10.0.0.1, not to port 443 → left alone"),
        ("-d 10.0.0.1 -p tcp --dport 1:2 -j RETURN", "TCP to 10.0.0.1, to ports 1–2 → left alone"),
        ("-p tcp -m multiport --dports 1,2,5:7 -j RETURN", "TCP to ports 1, 2 or 5–7 → left alone"),
        ("-p tcp -m multiport ! --dports 53,15008 -j RETURN", "TCP not to ports 53 or 15008 → left alone"),
        ("-p tcp -m multiport --ports 53,54 -j RETURN", "TCP from or to ports 53 or 54 → left alone"),
        ("-m mark --mark 0 -j RETURN", "everything without a mark → left alone"),
        ("-m mark ! --mark 0 -j RETURN", "everything with a mark → left alone"),
        ("-m mark ! --mark 0/0xfff -j RETURN", "everything with some of the mark bits 0xfff → left alone"),
        ("-m connmark --mark 0 -j RETURN", "everything without a connection mark → left alone"),
        ("-m mark --mark 1/0xf -j RETURN", "everything with mark 0x1/0xf → left alone"),
        (
            "-m conntrack --ctstate NEW,ESTABLISHED -j RETURN",
            "everything of new or established connections → left alone",
        ),
        (
            "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
            "everything not in connection state RELATED, ESTABLISHED or DNAT → dropped",
        ),
        ("-m conntrack --ctstate INVALID -j DROP", "everything in connection state INVALID → dropped"),
        ("-m statistic --mode random --probability 0.5 -j RETURN", "everything with a chance of 50 % → left alone"),
        ("-p tcp -m socket -j RETURN", "TCP for which a socket other than a wildcard listener exists → left alone"),
        ("-j MARK --xor-mark 0x4000", "everything → has mark bits 0x4000 flipped"),
        ("-j MARK --or-mark 0x4000", "everything → gets mark bits 0x4000"),
        ("-j MARK --and-mark 0xfffffff0", "everything → loses mark bits 0xf"),
        ("-j MARK --set-xmark 0x11/0xf", "everything → gets mark bits 0x1/0xf, and 0x10 flipped"),
        ("-j MARK --set-mark 0x1", "everything → gets mark 0x1"),
        ("-j CONNMARK --set-xmark 0x50/0", "everything → connection has mark bits 0x50 flipped"),
        ("-p tcp --syn -j RETURN", "TCP that opens a connection (SYN alone) → left alone"),
        ("-p tcp ! --syn -j DROP", "TCP that opens no connection (not SYN alone) → dropped"),
        ("-m limit --limit 3/hour -j RETURN", "everything up to 3 an hour (burst 5) → left alone"),
        ("-p 200 -j DROP", "all packets of protocol 200 → dropped"),
        ("-p 200 -i lo -j DROP", "packets of protocol 200 coming in by lo → dropped"),
        (
            "-m addrtype --dst-type LOCAL,MULTICAST,ANYCAST -j RETURN",
            "everything to a local, anycast or multicast address → left alone",
        ),
    ] {
        assert_eq!(told_of(&[rule]), [words], "{rule}");
    }
    let six = "# Generated by ip6tables-save v1.8.9\n*nat\n-A OUTPUT -d fd00::1 -p tcp --dport 53 -j RETURN\nCOMMIT\n";
    assert!(told(six).contains(&"TCP to [fd00::1]:53 → goes back".to_owned()), "{:?}", told(six));
    let icmp = "# Generated by ip6tables-save v1.8.9\n*filter\n-A INPUT -p ipv6-icmp -j ACCEPT\nCOMMIT\n";
    assert!(told(icmp).contains(&"all ICMPv6 → accepted".to_owned()), "{:?}", told(icmp));
    let snat = "*nat\n-A POSTROUTING -s 127.0.0.11 -p udp --sport 41234 -j SNAT --to-source :53\nCOMMIT\n";
    assert!(told(snat).contains(&"UDP from 127.0.0.11:41234 → source port becomes 53".to_owned()), "{:?}", told(snat));
}

#[test]
fn rules_of_nft_that_do_several_things_are_told_in_the_same_words() {
    let told = told(
        "table inet x {\n\tmap m {\n\t\ttype ipv4_addr : verdict\n\t\telements = { 1.2.3.4 : jump foo }\n\t}\n\
         \tchain foo {\n\t}\n\tchain out {\n\t\ttype filter hook output priority 0; policy accept;\n\
         \t\tip daddr vmap @m\n\
         \t\ttcp dport 1000-2000 ip saddr != { 1.1.1.1, 2.2.2.2 } meta mark set 0x7 ct mark set meta mark\n\
         \t\tudp dport 53 meta mark set 0x1 accept\n\
         \t\tip daddr != 127.0.0.1 tcp dport 8 drop\n\t\tip daddr 127.0.0.1 tcp dport 9 drop\n\
         \t\tmeta l4proto { tcp, udp } th dport 53 drop\n\t}\n}\n",
    );
    for words in [
        "all IPv4 → as a map says (ip daddr vmap @m)",
        "IPv4 TCP to ports 1000–2000, if ip saddr != { 1.1.1.1, 2.2.2.2 } → gets mark 0x7, then packet's mark is saved to the \
         connection",
        "UDP to port 53 → gets mark 0x1, then accepted",
        "IPv4 TCP not to 127.0.0.1, to port 8 → dropped",
        "TCP to 127.0.0.1:9 → dropped",
        "everything if meta l4proto { tcp, udp } and th dport 53 → dropped",
    ] {
        assert!(told.iter().any(|line| line == words), "{words:?} is not among {told:#?}");
    }
}

#[test]
fn chains_that_nothing_leads_to_are_said_to_be_so_beside_maps_that_were_read() {
    let table = |elements: &str| {
        format!(
            "table ip x {{\n\tmap m {{\n\t\ttype ipv4_addr : verdict\n{elements}\t}}\n\tchain alone {{\n\t\ttcp dport 7 redirect to :8\n\t}}\n\
             \tchain out {{\n\t\ttype nat hook output priority -100; policy accept;\n\t\ttcp dport != {{ 1, 2 }} ip daddr vmap @m\n\t}}\n}}\n"
        )
    };
    let run = with_input(&["rules", "-"], table("\t\telements = { 1.2.3.4 : accept }\n").as_bytes()).ended(0);
    assert!(run.out.contains("x · nft · ipv4 · no hook leads here"), "{}", run.out);
    let run = with_input(&["rules", "-"], table("\t\telements = { 1.2.3.4 : jump alone }\n").as_bytes()).ended(0);
    assert!(!run.out.contains("no hook leads here") && run.out.contains("  alone\n"), "{}", run.out);
}

#[test]
fn of_many_names_those_are_offered_that_may_have_been_meant() {
    let chains: Vec<String> = (0..40).map(|at| format!(":KUBE-SVC-{at:08} - [0:0]\n")).collect();
    let text = format!("*nat\n{}COMMIT\n", chains.concat());
    let said = |name: &str| with_input(&["rules", "-", "--chain", name], text.as_bytes()).ended(3).err;
    let near = said("kube-svc-00000007x");
    assert!(near.contains("KUBE-SVC-00000007") && near.lines().count() == 2 && near.len() < 200, "{near}");
    let far = said("nothing-like-it");
    assert!(far.ends_with(" and 28 more\n"), "{far}");
}

#[test]
fn what_is_shown_already_is_not_offered() {
    let text = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j DROP\nCOMMIT\n";
    let some = with_input(&["rules", "-"], text.as_bytes()).ended(0);
    assert!(some.out.contains("no redirect rules in 1 rule sets read; 1 other rules: --all\n"), "{}", some.out);
    let all = with_input(&["rules", "-", "--all"], text.as_bytes()).ended(0);
    assert!(all.out.contains("no redirect rules in 1 rule sets read; 1 other rules\n"), "{}", all.out);
}

#[test]
fn paths_with_commas_are_several_unless_one_is_there() {
    let folder = Folder::new();
    let four = folder.put("a.rules", "*nat\n-A OUTPUT -p tcp -j REDIRECT --to-ports 15001\nCOMMIT\n");
    let six = folder.put("b.v6.rules", "*nat\n-A OUTPUT -p tcp -j REDIRECT --to-ports 15002\nCOMMIT\n");
    let both = nslens(&["rules", &format!("{four},{six}")]).ended(0);
    assert!(both.out.contains("proxy at 15001") && both.out.contains("proxy at 15002"), "{}", both.out);
    let one = folder.put("a,b.rules", "*nat\n-A OUTPUT -p tcp -j REDIRECT --to-ports 15003\nCOMMIT\n");
    assert!(nslens(&["rules", &one]).ended(0).out.contains("proxy at 15003"));
}

#[test]
fn nothing_is_left_behind_a_rule_that_takes_everything() {
    let picture = |rule: &str| {
        let text = format!("*filter\n:INPUT ACCEPT [0:0]\n{rule}\nCOMMIT\n");
        with_input(&["rules", "-", "--table", "filter", "--chain", "INPUT", "-o", "svg"], text.as_bytes()).ended(0).out
    };
    assert!(!picture("-A INPUT -j DROP").contains("what is left"));
    for rule in ["-A INPUT -p tcp -j DROP", "-A INPUT -j LOG", "-A INPUT -i lo -j DROP"] {
        assert!(picture(rule).contains("what is left"), "{rule}");
    }
}

#[test]
fn many_chains_that_two_hooks_lead_to_are_shown_once() {
    let text = |chains: usize| {
        let rules = (0..chains).map(|at| {
            format!(
                "-A SVC -d 10.0.0.{at} -p tcp -j SEP{at}\n-A SEP{at} -p tcp -j DNAT --to-destination 10.1.0.{at}:80\n"
            )
        });
        let made = (0..chains).map(|at| format!(":SEP{at} - [0:0]\n")).collect::<String>();
        format!(
            "*nat\n:SVC - [0:0]\n{made}-A PREROUTING -j SVC\n-A OUTPUT -j SVC\n{}COMMIT\n",
            rules.collect::<String>()
        )
    };
    let of = |chains: usize| with_input(&["rules", "-"], text(chains).as_bytes()).ended(0).out;
    let (few, many) = (of(5), of(20));
    assert_eq!((few.matches("sent to 10.1.0.3:80").count(), few.matches("as above").count()), (2, 0), "{few}");
    assert_eq!((many.matches("sent to 10.1.0.3:80").count(), many.matches("as above").count()), (1, 1), "{many}");
    assert!(many.contains("everything → chain SVC\n  SVC and 20 more chains: as above\n"), "{many}");
}

#[test]
fn a_picture_that_few_programs_show_is_said_to_be_large() {
    let said = |chains: usize| {
        let made = (0..chains).map(|at| format!(":C{at} - [0:0]\n")).collect::<String>();
        let text = format!("*filter\n{made}COMMIT\n");
        with_input(&["rules", "-", "--all", "-o", "svg"], text.as_bytes()).ended(0).err
    };
    assert!(!said(20).contains("large picture"));
    assert!(said(200).contains("chains make a large picture; --table and --chain draw a part"));
}

#[test]
fn what_is_dropped_stands_out() {
    let text = "*filter\n-A INPUT -p tcp -j DROP\n-A INPUT -p udp -j ACCEPT\nCOMMIT\n";
    let run = with_input(&["rules", "-", "--all", "--color", "always"], text.as_bytes()).ended(0);
    assert!(run.out.contains("all TCP →\u{1b}[31m dropped\u{1b}[0m\n"), "{:?}", run.out);
    assert!(run.out.contains("all UDP → accepted\n"), "{:?}", run.out);
}

#[test]
fn a_program_is_no_text() {
    let run = with_input(&["rules", "-"], b"\x7fELF\x02\x01\x01\0\0\n*nat\nCOMMIT\n").ended(2);
    assert!(run.err.starts_with("error: standard input: it is neither a snapshot nor text\n"), "{}", run.err);
}
