//! Looking changes nothing: all that can be seen of a namespace is the same before and after each command, and a change would show.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use nslens::sys::netlink::{GET, NETFILTER, NetlinkSocket};

use crate::look_at;
use crate::support::{Lab, require_root};

/// All that can be seen of a namespace, by where it is seen.
pub(crate) type State = BTreeMap<String, String>;

/// Files of `/proc/PID/net` that tell of the whole machine, on which others are at work.
const THE_MACHINES: [&str; 5] = ["protocols", "sockstat", "sockstat6", "softnet_stat", "rt_cache"];

pub(crate) fn state(lab: &Lab) -> State {
    let mut state = State::new();
    // First of all, lest it show what the tools below do.
    files(Path::new(&format!("/proc/{}/net", lab.pid())), &mut state);
    lab.netns().enter(|| files(Path::new("/proc/sys/net"), &mut state)).expect("entered");
    state.insert("generation".to_owned(), generation(lab).to_string());
    state.insert("nft".to_owned(), lab.sh("nft --handle --numeric list ruleset"));
    for (family, names) in [("iptables", "ip_tables_names"), ("ip6tables", "ip6_tables_names")] {
        // A table that is asked for comes into being: only those that are there are.
        let names = state.iter().find(|(path, _)| path.ends_with(&format!("/{names}"))).map(|(_, text)| text.clone());
        for table in names.as_deref().unwrap_or_default().lines() {
            let text = lab.sh(&format!("{family}-legacy-save --counters -t {table}"));
            let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
            state.insert(format!("{family} {table}"), lines.join("\n"));
        }
    }
    // An entry's time runs down by itself.
    let untimed = |line: &str| -> Vec<String> {
        let words = line.split_whitespace().enumerate().filter(|(index, _)| *index != 2);
        words.map(|(_, word)| word.to_owned()).collect()
    };
    let entries = lab.sh("conntrack -L 2>/dev/null; conntrack -L expect 2>/dev/null");
    state.insert("conntrack".to_owned(), entries.lines().map(|line| untimed(line).join(" ") + "\n").collect());
    let modules = fs::read_to_string("/proc/modules").unwrap_or_default();
    state.insert(
        "modules".to_owned(),
        modules.lines().filter_map(|line| Some(line.split(' ').next()?.to_owned() + " ")).collect(),
    );
    state
}

/// Every file of a folder with what is in it, or why it cannot be read.
fn files(folder: &Path, state: &mut State) {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if !THE_MACHINES.iter().any(|name| path.ends_with(name)) {
                let bytes = fs::read(&path);
                let text =
                    bytes.map_or_else(|error| error.to_string(), |bytes| String::from_utf8_lossy(&bytes).into_owned());
                let lines = text.lines().map(|line| lasting(&path, line) + "\n");
                state.insert(path.display().to_string(), lines.collect());
            }
        }
    }
}

/// What of a line does not change with time alone.
fn lasting(path: &Path, line: &str) -> String {
    let words = line.split_whitespace().collect::<Vec<_>>();
    match path.file_name().and_then(|name| name.to_str()) {
        // Up to the inode; then come the times of delayed acknowledgements.
        Some("tcp" | "tcp6") => words[..words.len().min(10)].join(" "),
        // Seconds until the entry is dropped.
        Some("nf_conntrack") if words.len() > 5 => [&words[..4], &words[5..]].concat().join(" "),
        _ => line.to_owned(),
    }
}

/// The number of changes to nf_tables so far: `NFT_MSG_GETGEN`, attribute `NFTA_GEN_ID` (big-endian).
fn generation(lab: &Lab) -> u32 {
    const GET_GENERATION: u16 = 10 << 8 | 16;
    let mut socket = lab.netns().enter(|| NetlinkSocket::open(NETFILTER)).expect("entered").expect("a socket");
    let mut found = None;
    let read = socket.request(GET_GENERATION, GET, &[0; 4], |message| {
        // `nfgenmsg`, then the first attribute: length 8, type 1.
        let number = message.payload.get(8..).and_then(|rest| rest.first_chunk::<4>());
        assert_eq!(message.payload.get(4..8), Some(&[8, 0, 1, 0][..]));
        found = number.map(|number| u32::from_be_bytes(*number));
    });
    read.expect("it answers");
    found.expect("a generation")
}

/// Where two states differ.
pub(crate) fn changes(before: &State, after: &State) -> Vec<String> {
    let everywhere = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
    let changed = everywhere.filter(|key| before.get(*key) != after.get(*key));
    changed.map(|key| format!("{key}: {:?} became {:?}", before.get(key), after.get(key))).collect()
}

/// Whether the xtables lock was there, and somebody had it, while the program ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    Absent,
    Held,
}

/// Runs a program with a `/run` of its own, in which the lock of xtables is or is not; that must be as before when it ends.
fn run(lock: Lock, words: &[&str]) -> i32 {
    const SCRIPT: &str = r#"
        mount --make-rprivate /; mount -t tmpfs none /run
        if test "$0" = Held; then
            : > /run/xtables.lock; touch -d @1000000000 /run/xtables.lock
            exec 9< /run/xtables.lock; flock --exclusive 9
        fi
        look() { stat -c '%i %s %X %Y %Z' /run/xtables.lock 2>&1 || true; ls -a /run; }
        before=$(look)
        code=0; timeout 30 "$@" 9<&- > /dev/null || code=$?
        test "$before" = "$(look)" || exit 90
        exit $code"#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-euc", SCRIPT, &format!("{lock:?}")]).args(words);
    let output = command.stdin(Stdio::null()).output().expect("unshare can be run");
    let code = output.status.code().expect("it ends by itself");
    let errors = String::from_utf8_lossy(&output.stderr);
    let unknown = errors.contains("invalid value") || errors.contains("unrecognized subcommand");
    // 5: that something could not be told is no matter here.
    assert!(
        matches!(code, 0 | 5 | 90) || code == 1 && (words.contains(&"diff") || words.contains(&"check")) || unknown,
        "{words:?}: {code}\n{errors}"
    );
    code
}

/// Every command that looks, in every form. Forms and commands that this version does not have yet say so and do nothing.
fn looks(target: &str, other: &str) -> Vec<Vec<String>> {
    let mut looks: Vec<String> = Vec::new();
    for form in ["table", "wide", "json", "save", "nft"] {
        looks.push(format!("rules {target} --all -o {form}"));
    }
    looks.push(format!("rules {target}"));
    looks.push(format!("rules {target} --backend legacy -4"));
    looks.push(format!("rules {target} --backend nft -6"));
    for form in ["table", "wide", "json"] {
        looks.push(format!("conns {target} -o {form}"));
        looks.push(format!("conns {target} --all -o {form}"));
    }
    looks.push(format!("diff {target} {other} --rules --conns"));
    looks.push(format!("diff {other} {target}"));
    looks.push(format!("snapshot {target}"));
    looks.push(format!("check {target} --interval 50ms"));
    for form in ["table", "json", "sarif"] {
        looks.push(format!("check {target} --once -o {form}"));
    }
    looks.push(format!("check {target} --once --write-expect"));
    looks.extend(["list", "list --all", "list --runtimes"].map(str::to_owned));
    looks.iter().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

const NO_RULES: &str = ":";
const LEGACY: &str = "
    for family in ip ip6; do
        ${family}tables-legacy -t nat -A OUTPUT -p tcp --dport 81 -j REDIRECT --to-ports 15001
        ${family}tables-legacy -A INPUT -p tcp --dport 9999 -m recent --name seen --set -j ACCEPT
    done";
const NFT: &str = "
    ip6tables-nft -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 15001
    nft -f - <<'END'
table inet mesh {
    set ports { type inet_service; elements = { 80, 443 }; }
    counter seen { }
    quota some { over 10 mbytes }
    chain out {
        type nat hook output priority -100;
        tcp dport @ports counter name seen redirect to :15001
    }
}
END";

/// A lab with these rules, with sockets in it, and with connections that are tracked if the rules want it.
fn lab_with(rules: &str) -> (Lab, impl Sized + use<>) {
    let lab = Lab::new();
    lab.sh(rules);
    let held = lab.netns().enter(|| {
        let listeners = ["127.0.0.1:8080", "[::1]:8080"].map(|end| TcpListener::bind(end).expect("a listener"));
        let streams = ["127.0.0.1:8080", "[::1]:8080"].map(|end| TcpStream::connect(end).expect("a connection"));
        (listeners, streams)
    });
    (lab, held.expect("entered"))
}

#[test]
fn no_command_changes_anything() {
    if !require_root() {
        return;
    }
    let both = format!("{LEGACY}\n{NFT}");
    let kinds = [NO_RULES, LEGACY, NFT, &both].map(lab_with);
    let states = || -> Vec<State> { kinds.iter().map(|(lab, _)| state(lab)).collect() };
    let mut before = states();
    // What is watched is there to be seen, and nothing moves by itself.
    let seen = |state: &State, place: &str, words: &str| {
        let found = state.iter().find(|(key, _)| key.ends_with(place)).map(|(_, text)| text.as_str());
        assert!(found.unwrap_or_default().contains(words), "{place}: {found:?}");
    };
    seen(&before[1], "ip6tables filter", "recent");
    seen(&before[2], "nft", "quota");
    seen(&before[3], "ip_tables_names", "nat");
    seen(&before[3], "conntrack", "8080");
    seen(&before[3], "/proc/sys/net/netfilter/nf_conntrack_count", "2");
    seen(&before[0], "/proc/sys/net/netfilter/nf_conntrack_count", "0");
    seen(&before[0], "/net/tcp6", "1F90");
    assert!(before[0].len() > 300, "{} places", before[0].len());
    for (index, (lab, _)) in kinds.iter().enumerate() {
        let next = &kinds[(index + 1) % kinds.len()].0;
        let (target, other) = (format!("pid/{}", lab.pid()), format!("pid/{}", next.pid()));
        for look in looks(&target, &other) {
            let words: Vec<&str> =
                std::iter::once(env!("CARGO_BIN_EXE_nslens")).chain(look.iter().map(String::as_str)).collect();
            for lock in [Lock::Absent, Lock::Held] {
                assert_ne!(run(lock, &words), 90, "{look:?}: the lock was touched ({lock:?})");
            }
            let after = states();
            let changes: Vec<_> =
                before.iter().zip(&after).flat_map(|(before, after)| changes(before, after)).collect();
            assert!(changes.is_empty(), "{look:?}:\n{}", changes.join("\n"));
            before = after;
        }
    }
    // Conntrack's own switch is off still where no rule wants it: a new connection leaves no entry.
    let (lab, _) = &kinds[0];
    let _more = lab.netns().enter(|| TcpStream::connect("127.0.0.1:8080").expect("a connection"));
    seen(&state(lab), "/proc/sys/net/netfilter/nf_conntrack_count", "0");
}

#[test]
fn a_change_is_noticed() {
    if !require_root() {
        return;
    }
    let cases: [(&str, &str); 9] = [
        ("iptables-legacy -t nat -S", "/ip_tables_names"),
        ("ip6tables-legacy -t raw -S", "/ip6_tables_names"),
        ("nft add table ip passing; nft delete table ip passing", "generation"),
        ("iptables-nft -t nat -A OUTPUT -j ACCEPT", "nft"),
        ("iptables-legacy -Z INPUT -t filter; iptables-legacy -A INPUT", "iptables filter"),
        ("ping -c 1 -W 1 127.0.0.1 || busybox ping -c 1 127.0.0.1", "/net/dev"),
        ("echo 63 > /proc/sys/net/ipv4/ip_default_ttl", "/net/ipv4/ip_default_ttl"),
        ("conntrack -I -s 10.0.0.1 -d 10.0.0.2 -p udp --sport 1 --dport 2 --timeout 100", "conntrack"),
        ("(setsid busybox nc -l -p 7777 > /dev/null 2>&1 < /dev/zero &); sleep 0.3", "/net/tcp6"),
    ];
    for (change, place) in cases {
        let (lab, _held) = lab_with(NO_RULES);
        let before = state(&lab);
        assert_eq!(changes(&before, &state(&lab)), Vec::<String>::new(), "it moves by itself");
        lab.sh(change);
        let changes = changes(&before, &state(&lab));
        let named = changes.iter().any(|change| change.split(':').next().is_some_and(|key| key.ends_with(place)));
        assert!(named, "{change}: {place} is the same; {changes:#?}");
    }
    assert_eq!(run(Lock::Absent, &["touch", "/run/xtables.lock"]), 90);
    assert_eq!(run(Lock::Held, &["touch", "/run/xtables.lock"]), 90);
    assert_eq!(run(Lock::Held, &["true"]), 0);
}

#[test]
fn an_empty_namespace_stays_untracked() {
    if !require_root() {
        return;
    }
    let (lab, _held) = lab_with(NO_RULES);
    let before = state(&lab);
    assert_eq!(look_at(&lab).flows.as_deref(), Some(&[][..]));
    assert_eq!(changes(&before, &state(&lab)), Vec::<String>::new());
}
