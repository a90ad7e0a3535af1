//! Reads what decides in a namespace beside its rules: settings, figures, and what the kernel has of filters. Files of `/proc` alone,
//! of the thread that has entered the namespace: to read them loads nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use super::connections::Refusal;
use crate::model::{KernelSupport, Settings, Snapshot, Subject};
use crate::sys::netns::Netns;

/// What it means when the namespace cannot be entered, or a list not be read.
const MEANS: &str = "settings and figures of the namespace are not known";

/// Bytes that are read of a file; `/proc/modules` is the longest.
const MOST_BYTES: u64 = 1 << 20;

/// Names that one list may have.
const MOST_NAMES: usize = 4096;

/// Settings that decide whether packets pass, by their names in sysctl(8). Those of devices stand in the routing.
const SYSCTLS: [&str; 30] = [
    "net.bridge.bridge-nf-call-ip6tables",
    "net.bridge.bridge-nf-call-iptables",
    "net.core.somaxconn",
    "net.ipv4.fwmark_reflect",
    "net.ipv4.ip_early_demux",
    "net.ipv4.ip_forward",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_nonlocal_bind",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_fwmark_accept",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv6.bindv6only",
    "net.ipv6.fwmark_reflect",
    "net.ipv6.ip_nonlocal_bind",
    "net.netfilter.nf_conntrack_acct",
    "net.netfilter.nf_conntrack_buckets",
    "net.netfilter.nf_conntrack_checksum",
    "net.netfilter.nf_conntrack_count",
    "net.netfilter.nf_conntrack_helper",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_tcp_be_liberal",
    "net.netfilter.nf_conntrack_tcp_loose",
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait",
    "net.netfilter.nf_conntrack_tcp_timeout_established",
    "net.netfilter.nf_conntrack_tcp_timeout_time_wait",
    "net.netfilter.nf_conntrack_udp_timeout",
    "net.netfilter.nf_conntrack_udp_timeout_stream",
];

/// Figures that tell of connections that were lost, by file of `/proc/net`; `snmp6` writes group and name in one word.
const COUNTERS: [(&str, &[&str]); 3] = [
    (
        "snmp",
        &[
            "Ip.InAddrErrors",
            "Ip.InDiscards",
            "Ip.OutDiscards",
            "Ip.OutNoRoutes",
            "Tcp.ActiveOpens",
            "Tcp.AttemptFails",
            "Tcp.EstabResets",
            "Tcp.InErrs",
            "Tcp.OutRsts",
            "Tcp.PassiveOpens",
            "Tcp.RetransSegs",
            "Udp.InErrors",
            "Udp.NoPorts",
            "Udp.RcvbufErrors",
        ],
    ),
    (
        "netstat",
        &[
            "IpExt.InNoRoutes",
            "TcpExt.EmbryonicRsts",
            "TcpExt.IPReversePathFilter",
            "TcpExt.ListenDrops",
            "TcpExt.ListenOverflows",
            "TcpExt.SyncookiesSent",
            "TcpExt.TCPAbortOnTimeout",
            "TcpExt.TCPBacklogDrop",
            "TcpExt.TCPReqQFullDoCookies",
            "TcpExt.TCPReqQFullDrop",
            "TcpExt.TCPTimeWaitOverflow",
            "TcpExt.TCPTimeouts",
        ],
    ),
    (
        "snmp6",
        &["Ip6.InAddrErrors", "Ip6.InDiscards", "Ip6.InNoRoutes", "Ip6.OutDiscards", "Ip6.OutNoRoutes", "Udp6.NoPorts"],
    ),
];

/// How names of modules begin that belong to packet filters, connection tracking and sets.
const MODULES: [&str; 17] = [
    "arp_tables",
    "arpt",
    "br_netfilter",
    "ebt",
    "ip6_tables",
    "ip6t",
    "ip_set",
    "ip_tables",
    "ip_vs",
    "ipt_",
    "iptable_",
    "nf_",
    "nfnetlink",
    "nft_",
    "x_tables",
    "xt_",
    "tproxy",
];

type Names = BTreeMap<String, Vec<String>>;

/// Fills in the settings of `netns`, and what of them could not be read.
pub(super) fn read_into(snapshot: &mut Snapshot, netns: &Netns, proc_root: &Path) {
    match netns.enter(|| read(proc_root)) {
        Ok((settings, error)) => {
            let refusal = error.map(|error| Refusal::from_io(&error).about(Subject::Metadata, "settings", MEANS));
            snapshot.unread.extend(refusal);
            snapshot.settings = Some(settings);
        }
        Err(error) => snapshot.unread.push(Refusal::from_io(&error).about(Subject::Metadata, "settings", MEANS)),
    }
}

/// What a thread sees of its own namespace, and the first refusal.
fn read(proc_root: &Path) -> (Settings, Option<io::Error>) {
    let net = proc_root.join("thread-self/net");
    let mut refusal = None;
    let mut text = |path: &Path| {
        contents(path).unwrap_or_else(|error| {
            refusal.get_or_insert(error);
            None
        })
    };
    let mut settings = Settings::default();
    for name in SYSCTLS {
        let path = proc_root.join("sys").join(name.replace('.', "/"));
        let value = text(&path).map(|text| text.split_ascii_whitespace().collect::<Vec<_>>().join(" "));
        settings.sysctls.extend(value.map(|value| (name.to_owned(), value)));
    }
    for (file, wanted) in COUNTERS {
        let found = text(&net.join(file)).map(|text| if file == "snmp6" { one_a_line(&text) } else { in_pairs(&text) });
        let found = found.unwrap_or_default().into_iter();
        settings.counters.extend(found.filter(|(name, _)| wanted.contains(&name.as_str())));
    }
    let mut lists = |kind: &str| -> Names {
        let list = |family: &str| {
            let text = text(&net.join(format!("{family}_tables_{kind}")))?;
            Some((family.to_owned(), names(text.lines())))
        };
        ["ip", "ip6"].into_iter().filter_map(list).collect()
    };
    let (legacy_tables, legacy_matches, legacy_targets) = (lists("names"), lists("matches"), lists("targets"));
    let modules = text(&proc_root.join("modules")).map(|text| {
        let loaded = text.lines().filter_map(|line| line.split(' ').next());
        names(loaded.filter(|name| MODULES.iter().any(|start| name.starts_with(start))))
    });
    let ipv6 = net.join("if_inet6").exists();
    settings.kernel = KernelSupport { legacy_tables, legacy_matches, legacy_targets, modules, ipv6 };
    (settings, refusal)
}

/// `None` where there is no such file: the kernel has no such setting, list or subsystem.
fn contents(path: &Path) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        // A subsystem that a namespace has none of.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Each once, in order.
fn names<'a>(given: impl Iterator<Item = &'a str>) -> Vec<String> {
    let found: BTreeSet<&str> = given.map(str::trim).filter(|name| !name.is_empty()).take(MOST_NAMES).collect();
    found.into_iter().map(str::to_owned).collect()
}

/// `snmp` and `netstat`: of each group a line of names and one of figures.
fn in_pairs(text: &str) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let (Some(names), Some(figures)) = (lines.next(), lines.next()) {
        let (Some((group, names)), Some((same, figures))) = (names.split_once(": "), figures.split_once(": ")) else {
            break;
        };
        if group != same {
            break;
        }
        let pairs = names.split(' ').zip(figures.split(' '));
        found.extend(pairs.filter_map(|(name, figure)| Some((format!("{group}.{name}"), figure.parse().ok()?))));
    }
    found
}

/// `snmp6`: a name and a figure on each line.
fn one_a_line(text: &str) -> Vec<(String, u64)> {
    let pair = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (name, figure) = (words.next()?, words.next()?.parse().ok()?);
        let (group, name) = name.split_once('6')?;
        Some((format!("{group}6.{name}"), figure))
    };
    text.lines().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_by_group_and_name() {
        let text = "TcpExt: A ListenDrops\nTcpExt: 1 2\nIpExt: InNoRoutes B\nIpExt: 18446744073709551615 -1\n";
        let wanted = [("TcpExt.A", 1), ("TcpExt.ListenDrops", 2), ("IpExt.InNoRoutes", u64::MAX)]
            .map(|(name, figure)| (name.to_owned(), figure));
        assert_eq!(in_pairs(text), wanted);
        assert_eq!(in_pairs("A: b\nB: 1\n"), []);
        assert_eq!(in_pairs("A: b\n"), []);
        let read = one_a_line("Ip6InNoRoutes                   \t7\nUdp6NoPorts 8\nnothing\nIp6X y\n");
        assert_eq!(read, [("Ip6.InNoRoutes".to_owned(), 7), ("Udp6.NoPorts".to_owned(), 8)]);
    }

    #[test]
    fn what_a_kernel_has_not_is_not_said_to_be_empty() {
        let place = tempfile::tempdir().expect("a folder");
        let (settings, refusal) = read(place.path());
        assert!(refusal.is_none() && settings == Settings::default(), "{settings:?}");
        let net = place.path().join("thread-self/net");
        std::fs::create_dir_all(&net).expect("made");
        std::fs::write(net.join("ip_tables_matches"), "tcp\ntcp\nowner\n").expect("written");
        std::fs::write(net.join("ip_tables_names"), "").expect("written");
        std::fs::write(place.path().join("modules"), "xt_owner 1 0 - Live 0x0\next4 1 0 - Live 0x0\n")
            .expect("written");
        let (settings, _) = read(place.path());
        let list =
            |names: &[&str]| Names::from([("ip".to_owned(), names.iter().map(|name| (*name).to_owned()).collect())]);
        let kernel = &settings.kernel;
        assert_eq!((&kernel.legacy_matches, &kernel.legacy_tables), (&list(&["owner", "tcp"]), &list(&[])));
        assert_eq!(kernel.modules, Some(vec!["xt_owner".to_owned()]));
        assert!(!kernel.ipv6 && kernel.legacy_targets.is_empty());
    }
}
