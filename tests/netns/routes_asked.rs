//! Where packets go, by the routes that were read, against `ip route get`: random routes, rules and settings, random questions.

use std::io::Write;
use std::net::IpAddr;
use std::process::Stdio;

use nslens::analysis::routes::{Decision, Kind, Outcome, Query, Routes};
use nslens::packet::Known;
use serde_json::Value;

use crate::routes::read;
use crate::support::{Lab, require_root};

/// Numbers that look random and are the same for the same seed (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % count
    }

    pub(crate) fn one_of<'a>(&mut self, these: &[&'a str]) -> &'a str {
        these[usize::try_from(self.below(these.len() as u64)).expect("small")]
    }

    pub(crate) fn once_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

const DEVICES: [&str; 4] = ["eth0", "eth1", "eth2", "eth3"];

fn address(dice: &mut Dice, ipv6: bool) -> String {
    let parts = [dice.below(4), dice.below(2), dice.below(9)];
    match ipv6 {
        false => format!("10.{}.{}.{}", parts[0], parts[1], parts[2]),
        true => format!("fd0{}::{}:{}", parts[0], parts[1], parts[2]),
    }
}

fn network(dice: &mut Dice, ipv6: bool) -> String {
    let address = address(dice, ipv6);
    match (ipv6, dice.below(6)) {
        (_, 0) => "default".to_owned(),
        (_, 1) => address,
        (false, 2) => format!("10.{}.0.0/16", dice.below(4)),
        (false, 3) => format!("10.{}.{}.0/24", dice.below(4), dice.below(2)),
        (false, 4) => format!("10.{}.0.0/29", dice.below(4)),
        (false, _) => "10.0.0.0/8".to_owned(),
        (true, 2) => format!("fd0{}::/16", dice.below(4)),
        (true, 3) => format!("fd0{}::{}:0/112", dice.below(4), dice.below(2)),
        (true, 4) => format!("fd0{}::/125", dice.below(4)),
        (true, _) => "fd00::/8".to_owned(),
    }
}

fn route(dice: &mut Dice, ipv6: bool) -> String {
    let (to, device, gateway) = (network(dice, ipv6), dice.one_of(&DEVICES), address(dice, ipv6));
    let table = dice.one_of(&["main", "main", "main", "100", "101", "local", "default"]);
    let other = (dice.one_of(&DEVICES), address(dice, ipv6));
    let mut made = match dice.below(10) {
        0 => format!("blackhole {to}"),
        1 => format!("unreachable {to}"),
        2 => format!("prohibit {to}"),
        3 => format!("throw {to}"),
        4 => format!("local {to} dev {}", dice.one_of(&["lo", "eth0", "eth2"])),
        5 => format!("{to} nexthop via {gateway} dev {device} onlink nexthop via {} dev {} onlink", other.1, other.0),
        6 | 7 => format!("{to} dev {device}"),
        _ => format!("{to} via {gateway} dev {device} onlink"),
    };
    if dice.once_in(3) {
        made += &format!(" metric {}", 1 + dice.below(3));
    }
    if !ipv6 && dice.once_in(6) {
        made += " tos 0x10";
    }
    format!("route add {made} table {table}")
}

fn rule(dice: &mut Dice, ipv6: bool, place: u64) -> String {
    let mut made = String::new();
    if dice.once_in(6) {
        made += " not";
    }
    let mut asks = 0;
    let mut may = |dice: &mut Dice, part: String| {
        if dice.once_in(5) && asks < 3 {
            made += &format!(" {part}");
            asks += 1;
        }
    };
    let networks = [network(dice, ipv6), network(dice, ipv6)].map(|network| network.replace("default", "all"));
    may(dice, format!("from {}", networks[0]));
    may(dice, format!("to {}", networks[1]));
    let device = dice.one_of(&["eth0", "eth1", "lo", "nodev"]);
    may(dice, format!("iif {device}"));
    let device = dice.one_of(&["eth0", "eth2"]);
    may(dice, format!("oif {device}"));
    let mark = dice.one_of(&["1", "5", "0x1/0x1", "0x4/0x5"]);
    may(dice, format!("fwmark {mark}"));
    may(dice, "uidrange 5-10".to_owned());
    may(dice, "ipproto tcp".to_owned());
    may(dice, "sport 1-5".to_owned());
    may(dice, "dport 80".to_owned());
    may(dice, "tos 0x10".to_owned());
    let end = match dice.below(12) {
        0 => "blackhole".to_owned(),
        1 => "unreachable".to_owned(),
        2 => "prohibit".to_owned(),
        3 => format!("goto {}", 10 + place + 1 + dice.below(3)),
        4 => "nop".to_owned(),
        5 | 6 => format!("lookup main suppress_prefixlength {}", dice.one_of(&["0", "8", "16"])),
        _ => format!("lookup {}", dice.one_of(&["100", "101", "main", "default"])),
    };
    format!("rule add{made} pref {} {end}", 10 + place)
}

/// Devices with addresses, and routes, rules and settings at random. What the kernel refuses is left out.
fn lab(dice: &mut Dice, ipv6: bool, rules: bool) -> Lab {
    let lab = Lab::new();
    lab.sh("ip link add eth0 type veth peer name eth1; ip link add eth2 type veth peer name eth3
            for i in 0 1 2 3; do sysctl -qw net.ipv6.conf.eth$i.accept_dad=0; ip link set eth$i up; done");
    let flag = if ipv6 { "-6" } else { "-4" };
    let mut lines = Vec::new();
    for (number, device) in DEVICES.iter().enumerate() {
        match ipv6 {
            false => lines.push(format!("addr add 10.{number}.0.2/24 dev {device}")),
            true => lines.push(format!("addr add fd0{number}::2/112 dev {device} nodad")),
        }
    }
    if !ipv6 {
        lines.push("addr add 10.0.0.3/24 dev eth0".to_owned());
        lines.push("addr add 10.1.1.1/24 dev eth1".to_owned());
        lines.push("addr add 10.2.1.1/32 scope link dev eth2".to_owned());
    }
    lines.extend((0..24).map(|_| route(dice, ipv6)));
    if rules {
        lines.extend((0..8).map(|place| rule(dice, ipv6, place)));
    }
    let mut settings = Vec::new();
    for device in ["all", "eth0", "eth1", "eth2"] {
        for name in ["rp_filter", "route_localnet", "accept_local", "src_valid_mark", "send_redirects"] {
            let value = if name == "rp_filter" { dice.below(3) } else { dice.below(2) };
            if device != "all" || dice.once_in(3) {
                settings.push(format!("net.ipv4.conf.{device}.{name}={value}"));
            }
        }
    }
    let forwarding = format!(
        "sysctl -qw net.ipv4.ip_forward={}; sysctl -qw net.ipv6.conf.all.forwarding={}; sysctl -qw {}",
        dice.below(2),
        dice.below(2),
        settings.join(" ")
    );
    lab.sh(&forwarding);
    lab.sh(&format!("ip {flag} -force -batch - 2>/dev/null <<'END' || true\n{}\nEND", lines.join("\n")));
    lab
}

/// A question, and how `ip` is asked it.
fn question(dice: &mut Dice, ipv6: bool) -> (Query, String) {
    let special = match ipv6 {
        false => ["127.0.0.1", "127.3.0.1", "8.8.8.8", "10.0.0.255", "255.255.255.255", "224.0.0.5", "239.1.1.1"],
        true => ["::1", "2001:db8::1", "fe80::9", "ff02::5", "ff05::1", "fd00::2", "fd02::2"],
    };
    let to = if dice.once_in(6) { dice.one_of(&special).to_owned() } else { address(dice, ipv6) };
    let destination: IpAddr = to.parse().expect("an address");
    let mut query = Query::to(destination);
    let mut words = format!("route get {to}");
    let group = destination.is_multicast();
    match dice.below(5) {
        0 if !group => {
            let from = if !ipv6 && dice.once_in(8) { "127.0.0.1".to_owned() } else { address(dice, ipv6) };
            let device = dice.one_of(&DEVICES);
            (query.source, query.input) = (Some(from.parse().expect("an address")), Some(device.to_owned()));
            words += &format!(" from {from} iif {device}");
        }
        1 => {
            let device = dice.one_of(&["eth0", "eth1", "eth2", "lo"]);
            query.output = Some(device.to_owned());
            words += &format!(" oif {device}");
        }
        2 => {
            let own = if ipv6 { ["fd00::2", "fd01::2", "fd02::2"] } else { ["10.0.0.2", "10.0.0.3", "10.9.9.9"] };
            let from = dice.one_of(&own);
            query.source = Some(from.parse().expect("an address"));
            words += &format!(" from {from}");
        }
        _ => {}
    }
    let mark = [0, 0, 1, 4, 5][usize::try_from(dice.below(5)).expect("small")];
    query.mark = Known::Is(mark);
    words += &format!(" mark {mark}");
    // Whoever sent a packet that comes in: the kernel asks for root.
    let users = if query.input.is_some() { [0; 4] } else { [0, 5, 10, 11] };
    let uid = users[usize::try_from(dice.below(4)).expect("small")];
    query.uid = Known::Is(uid);
    words += &format!(" uid {uid}");
    let (protocol, name) = if dice.once_in(2) { (6, "tcp") } else { (17, "udp") };
    let ports = (1 + 5 * dice.below(2), 79 + dice.below(2));
    query.protocol = Known::Is(protocol);
    query.source_port = Known::Is(u16::try_from(ports.0).expect("a port"));
    query.destination_port = Known::Is(u16::try_from(ports.1).expect("a port"));
    words += &format!(" ipproto {name} sport {} dport {}", ports.0, ports.1);
    if dice.once_in(4) {
        query.traffic_class = Known::Is(0x10);
        words += " tos 0x10";
    }
    (query, words)
}

/// What `ip` answers to each question: what it prints, or why it cannot.
fn answers(lab: &Lab, ipv6: bool, questions: &[(Query, String)]) -> Vec<Result<Value, String>> {
    let mut command = lab.command("ip");
    command.args([if ipv6 { "-6" } else { "-4" }, "-j", "-force", "-batch", "-"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ip can be run");
    let mut lines: Vec<u8> = Vec::new();
    questions.iter().for_each(|(_, words)| lines.extend(format!("{words}\n").as_bytes()));
    let mut input = child.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || input.write_all(&lines));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("no panic").expect("written");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut failed: Vec<Option<String>> = vec![None; questions.len()];
    let mut last = String::new();
    for line in errors.lines() {
        match line.strip_prefix("Command failed -:") {
            Some(number) => failed[number.trim().parse::<usize>().expect("a line") - 1] = Some(last.clone()),
            None => last = line.trim_start_matches("RTNETLINK answers: ").to_owned(),
        }
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut printed = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let mut next = || printed.next().expect("an answer").expect("JSON")[0].clone();
    failed.into_iter().map(|error| error.map_or_else(|| Ok(next()), Err)).collect()
}

/// Whether a decision is what `ip` says.
fn agrees(query: &Query, decision: &Decision, answer: &Result<Value, String>) -> bool {
    let ipv6 = query.destination.is_ipv6();
    let answer = match answer {
        Err(error) => {
            // How a packet that came in is refused, is told by one number since Linux 6.14.
            let dropped = ["No route to host", "Invalid argument", "Invalid cross-device link"];
            return match decision.kind {
                // That is seen to before the routes are asked.
                Kind::Invalid if ipv6 => true,
                Kind::NoRoute => error == "Network is unreachable",
                Kind::Unreachable | Kind::NotForwarded => error == "No route to host",
                Kind::Prohibit => error == "Permission denied",
                Kind::Blackhole => error == "Invalid argument",
                Kind::Invalid | Kind::ReversePath if query.input.is_some() => dropped.contains(&error.as_str()),
                Kind::Invalid => ["Invalid argument", "Network is unreachable"].contains(&error.as_str()),
                _ => false,
            };
        }
        Ok(_) if ipv6 && decision.kind == Kind::Invalid => return true,
        Ok(answer) => answer,
    };
    let text = |key: &str| answer[key].as_str().map(str::to_owned);
    let kind = match text("type").as_deref() {
        None | Some("unicast") => Kind::Unicast,
        Some("local") => Kind::Local,
        Some("broadcast") => Kind::Broadcast,
        Some("multicast") => Kind::Multicast,
        Some("anycast") => Kind::Anycast,
        Some(_) => return false,
    };
    if ipv6 && query.input.is_some() && decision.kind == Kind::NotForwarded {
        // The route is there; that nothing is forwarded is seen to later.
        return kind == Kind::Unicast;
    }
    let gateway = text("gateway").or_else(|| answer["via"]["host"].as_str().map(str::to_owned));
    let gateway = gateway.map(|gateway| gateway.parse::<IpAddr>().expect("an address"));
    let nobody = IpAddr::from([0_u8; 4]);
    let told = text("prefsrc").map(|source| source.parse::<IpAddr>().expect("an address"));
    let source = match (&decision.source, ipv6) {
        _ if query.input.is_some() || ipv6 && query.source.is_some() => true,
        (Known::Is(source), false) => *source == told.or(query.source).unwrap_or(nobody),
        (Known::Is(source), true) => Some(*source) == told,
        (Known::Absent, _) => told.is_none(),
        (Known::Unknown, _) => true,
    };
    decision.kind == kind && decision.gateway == gateway && decision.device == text("dev") && source
}

/// How many questions of a lab were decided, and how many left open with the right answer among others.
fn compare(seed: u64, ipv6: bool, rules: bool, count: usize) -> (usize, usize) {
    let mut dice = Dice(seed);
    let lab = lab(&mut dice, ipv6, rules);
    let questions: Vec<(Query, String)> = (0..count).map(|_| question(&mut dice, ipv6)).collect();
    // Addresses of IPv6 get their routes a while after they are there.
    let mut snapshot = read(&lab);
    let told = loop {
        let told = answers(&lab, ipv6, &questions);
        let after = read(&lab);
        if after.routes == snapshot.routes {
            break told;
        }
        snapshot = after;
    };
    let routes = Routes::of(&snapshot).expect("read");
    let (mut decided, mut open, mut wrong) = (0, 0, Vec::new());
    for ((query, words), told) in questions.iter().zip(&told) {
        let outcome = routes.lookup(query);
        let right = match &outcome {
            Outcome::Decided(decision) => {
                decided += 1;
                agrees(query, decision, told)
            }
            Outcome::OneOf(decisions, _) => {
                open += 1;
                decisions.iter().any(|decision| agrees(query, decision, told))
            }
            Outcome::CannotKnow(_) => true,
        };
        if !right {
            wrong.push(format!("{words}\n  ip: {told:?}\n  we: {outcome:?}"));
        }
    }
    let flag = if ipv6 { "-6" } else { "-4" };
    let shown = || {
        lab.sh(&format!(
            "ip {flag} rule; ip {flag} -d route show table all; sysctl -a 2>/dev/null | grep -E \
                                    'conf.(all|eth.).(rp_filter|forwarding|accept_local|route_localnet) = [12]'"
        ))
    };
    let first: Vec<&str> = wrong.iter().take(12).map(String::as_str).collect();
    assert!(wrong.is_empty(), "seed {seed}: {} of {count} differ\n{}\n{}", wrong.len(), first.join("\n"), shown());
    (decided, open)
}

/// Several labs, with a seed that can be given to repeat a run.
#[expect(clippy::print_stdout, reason = "how many are decided is worth knowing")]
fn compare_all(ipv6: bool) {
    if !require_root() {
        return;
    }
    let given = std::env::var("NSLENS_SEED").ok().and_then(|seed| seed.parse().ok());
    let first: u64 = given.unwrap_or(7);
    let (mut decided, mut open, labs, each) = (0, 0, 8, 150);
    for number in 0..labs {
        let (sure, unsure) = compare(first + number, ipv6, number % 4 != 0, each);
        (decided, open) = (decided + sure, open + unsure);
    }
    let all = usize::try_from(labs).expect("small") * each;
    println!("{decided} of {all} decided, {open} among others");
    assert!(decided * 100 >= all * 60, "only {decided} of {all} are decided");
}

#[test]
fn ipv4_goes_where_the_kernel_says() {
    compare_all(false);
}

#[test]
fn ipv6_goes_where_the_kernel_says() {
    compare_all(true);
}
