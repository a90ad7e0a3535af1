//! Which way connections took and what that is known from: real sockets and rules, the program's own answer, fact by fact.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Stdio;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, connect, listen, setsockopt, socket, sockopt,
};
use serde_json::Value;

use crate::support::{Lab, require_root, wait_until};

const BOTH: [&str; 2] = ["iptables-legacy", "iptables-nft"];

/// What the program tells of a lab's connections.
fn conns(lab: &Lab, options: &str) -> Vec<Value> {
    let program = env!("CARGO_BIN_EXE_nslens");
    let mut command = std::process::Command::new(program);
    command.args(["conns", &format!("pid/{}", lab.pid()), "-o", "json", "-q"]).args(options.split_whitespace());
    let output = command.stdin(Stdio::null()).output().expect("the program can be run");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["unread"].as_array().map_or(0, Vec::len), 0, "{}", told["unread"]);
    told["connections"].as_array().expect("connections").clone()
}

/// The connections that fit all of these keys.
fn those<'a>(all: &'a [Value], keys: &[(&str, &str)]) -> Vec<&'a Value> {
    let has = |one: &Value, (key, value): &(&str, &str)| one[*key].as_str() == Some(*value);
    all.iter().filter(|one| keys.iter().all(|key| has(one, key))).collect()
}

fn the<'a>(all: &'a [Value], keys: &[(&str, &str)]) -> &'a Value {
    let found = those(all, keys);
    assert_eq!(found.len(), 1, "{keys:?}: {all:#?}");
    found[0]
}

/// `way evidence`.
fn judged(one: &Value) -> String {
    format!("{} {}", one["way"].as_str().unwrap_or("?"), one["evidence"].as_str().unwrap_or("-"))
}

fn in_<T>(lab: &Lab, what: impl FnOnce() -> T + Send) -> T
where
    T: Send,
{
    lab.netns().enter(what).expect("the namespace can be entered")
}

fn dial(lab: &Lab, to: &str) -> TcpStream {
    in_(lab, || TcpStream::connect(to).expect("a connection"))
}

fn listener(lab: &Lab, at: &str) -> TcpListener {
    in_(lab, || TcpListener::bind(at).expect("a listener"))
}

/// A listener as TPROXY needs it.
fn transparent(lab: &Lab, at: &str) -> OwnedFd {
    in_(lab, || {
        let waiting = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        setsockopt(&waiting, sockopt::IpTransparent, &true).expect("the option");
        setsockopt(&waiting, sockopt::ReuseAddr, &true).expect("the option");
        let at: SocketAddr = at.parse().expect("an address");
        bind(waiting.as_raw_fd(), &SockaddrStorage::from(at)).expect("the address");
        listen(&waiting, Backlog::new(8).expect("a number")).expect("a listener");
        waiting
    })
}

fn accept(listener: &OwnedFd) -> OwnedFd {
    TcpListener::from(listener.try_clone().expect("a copy")).accept().expect("the call").0.into()
}

#[test]
fn a_connection_older_than_the_rules_went_past_them() {
    if !require_root() {
        return;
    }
    for tool in BOTH {
        let (pod, world) = Lab::pod_and_world();
        let _servers = (listener(&world, "10.0.0.5:80"), listener(&pod, "0.0.0.0:15001"));
        // Tracking is on before the rules, so that they change nothing for what goes on (K7).
        pod.sh(&format!("{tool} -A OUTPUT -m conntrack --ctstate INVALID -j DROP"));
        let older = dial(&pod, "10.0.0.5:80");
        pod.sh(&format!("{tool} -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 15001"));
        let younger = dial(&pod, "10.0.0.5:80");
        let all = conns(&pod, "");
        let of = |stream: &TcpStream| {
            let local = stream.local_addr().expect("its end").to_string();
            the(&all, &[("local", &local), ("direction", "out")])
        };
        let (old, new) = (of(&older), of(&younger));
        assert_eq!((judged(old), judged(new)), ("direct tracked".into(), "redirected tracked".into()));
        assert_eq!((&old["would_redirect"], &new["would_redirect"]), (&new["rule"], &Value::Null));
        assert_eq!((new["rule"]["chain"].as_str(), new["rule"]["number"].as_u64()), (Some("OUTPUT"), Some(1)));
        assert!(old["flow"].is_u64() && new["flow"].is_u64() && old["flow"] != new["flow"], "{all:#?}");
        assert!(pod.sh("conntrack -L -o id 2>/dev/null").contains(&format!("id={}", new["flow"])), "the tool's own id");
        assert_eq!(new["actual_destination"], "127.0.0.1:15001");
    }
}

#[test]
fn a_namespace_in_which_nothing_tracks_is_direct_by_that_knowledge() {
    if !require_root() {
        return;
    }
    let (pod, world) = Lab::pod_and_world();
    let _server = listener(&world, "10.0.0.5:80");
    let _held = dial(&pod, "10.0.0.5:80");
    let all = conns(&pod, "");
    assert_eq!(all.iter().map(judged).collect::<Vec<_>>(), ["direct rules"], "{all:#?}");
    assert!(all[0]["flow"].is_null());
}

#[test]
fn redirections_lead_to_loopback_or_to_the_interface_for_mapped_sockets_too() {
    if !require_root() {
        return;
    }
    for tool in BOTH {
        let (pod, world) = Lab::pod_and_world();
        let _proxy = (listener(&pod, "[::]:15001"), listener(&pod, "[::]:15006"));
        pod.sh(&format!(
            "{tool} -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 15001
             {tool} -t nat -A PREROUTING -p tcp --dport 8080 -j REDIRECT --to-ports 15006"
        ));
        let out = dial(&pod, "[::ffff:10.0.0.5]:80");
        let inward = dial(&world, "10.0.0.2:8080");
        let all = conns(&pod, "");
        let caller = the(&all, &[("direction", "out")]);
        assert_eq!((judged(caller), &caller["mapped"]), ("redirected tracked".into(), &Value::Bool(true)));
        assert_eq!(caller["actual_destination"], "127.0.0.1:15001");
        let half = the(&all, &[("local", "127.0.0.1:15001"), ("direction", "in")]);
        assert_eq!(
            (judged(half), &half["original_destination"]),
            ("intercepted tracked".into(), &"10.0.0.5:80".into())
        );
        assert_eq!(half["rule"], caller["rule"]);
        let inner = the(&all, &[("local", "10.0.0.2:15006"), ("direction", "in")]);
        assert_eq!(judged(inner), "intercepted tracked");
        assert_eq!(inner["original_destination"], "10.0.0.2:8080");
        assert_eq!(inner["rule"]["chain"], "PREROUTING");
        drop((out, inward));
    }
}

/// Two connections from one end to two destinations, held.
fn from_one_end(pod: &Lab) -> [OwnedFd; 2] {
    let dial = |to: &str| -> OwnedFd {
        let caller = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        let address = |text: &str| SockaddrStorage::from(text.parse::<SocketAddr>().expect("an address"));
        setsockopt(&caller, sockopt::ReuseAddr, &true).expect("a shared address");
        bind(caller.as_raw_fd(), &address("10.0.0.2:45000")).expect("the address");
        connect(caller.as_raw_fd(), &address(to)).expect("a connection");
        caller
    };
    in_(pod, || [dial("10.0.0.5:80"), dial("10.0.0.5:81")])
}

#[test]
fn a_port_that_the_kernel_chose_by_itself_is_marked_and_one_that_a_rule_asked_for_is_not() {
    if !require_root() {
        return;
    }
    for tool in BOTH {
        let (pod, _world) = Lab::pod_and_world();
        let proxy = listener(&pod, "0.0.0.0:15001");
        pod.sh(&format!("{tool} -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001"));
        let held = (from_one_end(&pod), proxy.accept().expect("a call"), proxy.accept().expect("another"));
        let all = conns(&pod, "");
        let rewritten = |all: &[Value]| all.iter().filter(|one| one["rewritten_port"] == true).count();
        assert_eq!((all.len(), rewritten(&all)), (4, 2), "the second caller and its half: {all:#?}");
        let caller = all.iter().find(|one| one["rewritten_port"] == true && one["direction"] == "out").expect("it");
        let half = all.iter().find(|one| one["inode"] == caller["twin"]).expect("its half");
        assert_eq!((half["twin"].as_u64(), &half["rewritten_port"]), (caller["inode"].as_u64(), &Value::Bool(true)));
        assert_ne!(half["peer"], caller["local"]);
        assert_eq!(half["original_destination"], caller["peer"]);
        pod.sh(&format!("{tool} -t nat -A POSTROUTING -p tcp -o lo -j MASQUERADE --to-ports 50000-50009"));
        assert_eq!(rewritten(&conns(&pod, "")), 0, "a rule may be its reason");
        drop(held);
    }
}

#[test]
fn what_tproxy_gives_to_the_proxy_is_intercepted() {
    if !require_root() {
        return;
    }
    let native = "nft -f - <<'END'
        table ip t {
            chain p {
                type filter hook prerouting priority mangle;
                tcp dport 8080 tproxy to :15006 accept
            }
        }
END";
    let xt = BOTH.map(|tool| format!("{tool} -t mangle -A PREROUTING -p tcp --dport 8080 -j TPROXY --on-port 15006"));
    // Without a verdict nft's own lets the packet go on.
    let without = native.replace(" accept", "");
    for (rule, tracking) in [(xt[0].as_str(), false), (&xt[1], true), (native, false), (native, true), (&without, true)]
    {
        let (pod, world) = Lab::pod_and_world();
        let proxy = transparent(&pod, "0.0.0.0:15006");
        // The application listens at the port itself.
        let _app = listener(&pod, "0.0.0.0:8080");
        pod.sh(rule);
        if tracking {
            pod.sh("iptables-nft -A INPUT -m conntrack --ctstate INVALID -j DROP");
        }
        let held = (dial(&world, "10.0.0.2:8080"), accept(&proxy));
        let itself = (dial(&world, "10.0.0.2:15006"), accept(&proxy));
        let all = conns(&pod, "");
        let taken = the(&all, &[("local", "10.0.0.2:8080")]);
        assert_eq!((judged(taken).as_str(), &taken["direction"]), ("intercepted ends", &"in".into()), "{rule}");
        assert_eq!(taken["original_destination"], "10.0.0.2:8080");
        assert!(taken["rule"].is_object(), "{rule}: {taken:#?}");
        assert_eq!(taken["flow"].is_u64(), tracking);
        let dialled = the(&all, &[("local", "10.0.0.2:15006")]);
        let expected = if tracking { "direct tracked" } else { "direct rules" };
        assert_eq!(judged(dialled), expected, "{rule}");
        drop((held, itself));
    }
}

#[test]
fn what_goes_out_by_way_of_tproxy_is_redirected() {
    if !require_root() {
        return;
    }
    let (pod, _world) = Lab::pod_and_world();
    let proxy = transparent(&pod, "0.0.0.0:15001");
    pod.sh("ip rule add fwmark 1 lookup 100
        ip route add local default dev lo table 100
        iptables-nft -t mangle -A OUTPUT -p tcp --dport 80 -j MARK --set-mark 1
        iptables-nft -t mangle -A PREROUTING -i lo -p tcp --dport 80 -j TPROXY --on-port 15001
        iptables-nft -A INPUT -m conntrack --ctstate INVALID -j DROP");
    let held = (dial(&pod, "10.0.0.5:80"), accept(&proxy));
    let all = conns(&pod, "");
    let (caller, half) = (the(&all, &[("direction", "out")]), the(&all, &[("direction", "in")]));
    assert_eq!((judged(caller).as_str(), judged(half).as_str()), ("redirected ends", "intercepted ends"), "{all:#?}");
    assert_eq!((&caller["twin"], &half["twin"]), (&half["inode"], &caller["inode"]));
    assert_eq!(half["local"], "10.0.0.5:80", "an address of somebody else");
    drop(held);
}

#[test]
fn what_is_exempt_from_tracking_goes_past_a_redirection() {
    if !require_root() {
        return;
    }
    for tool in BOTH {
        let (pod, world) = Lab::pod_and_world();
        let _servers = (listener(&world, "10.0.0.5:9000"), listener(&pod, "0.0.0.0:15001"));
        pod.sh(&format!(
            "{tool} -t raw -A OUTPUT -p tcp --dport 9000 -j CT --notrack
             {tool} -t raw -A PREROUTING -p tcp --sport 9000 -j CT --notrack
             {tool} -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001"
        ));
        let held = (dial(&pod, "10.0.0.5:9000"), dial(&pod, "10.0.0.5:80"));
        let all = conns(&pod, "");
        let past = the(&all, &[("peer", "10.0.0.5:9000")]);
        assert_eq!((judged(past).as_str(), &past["would_redirect"]), ("direct rules", &Value::Null), "{past:#?}");
        assert_eq!(judged(the(&all, &[("peer", "10.0.0.5:80")])), "redirected tracked");
        // An entry with the same ends that is over is another connection's.
        let port = held.0.local_addr().expect("its end").port();
        pod.sh(&format!(
            "conntrack -I -p tcp -s 10.0.0.2 -d 10.0.0.5 --sport {port} --dport 9000 --state TIME_WAIT \
            -t 100 -u SEEN_REPLY -r 127.0.0.1 -q 10.0.0.2 --reply-port-src 15001 --reply-port-dst {port} 2>&1"
        ));
        let all = conns(&pod, "");
        assert_eq!(judged(the(&all, &[("peer", "10.0.0.5:9000")])), "direct rules");
        pod.sh(&format!("{tool} -t raw -F"));
        let all = conns(&pod, "");
        let doubtful = the(&all, &[("peer", "10.0.0.5:9000")]);
        assert_eq!((judged(doubtful).as_str(), &doubtful["flow"]), ("unknown -", &Value::Null), "{doubtful:#?}");
    }
}

#[test]
fn queries_go_to_the_proxy_whether_the_socket_has_a_peer_or_not_and_in_zones_of_their_own() {
    if !require_root() {
        return;
    }
    for zone in ["--zone 7", "--zone-orig 7", "--zone 0"] {
        for tool in BOTH {
            let (pod, _world) = Lab::pod_and_world();
            let proxy = in_(&pod, || UdpSocket::bind("127.0.0.1:15053").expect("a socket"));
            pod.sh(&format!(
                "ip route add default via 10.0.0.5
                 {tool} -t raw -A OUTPUT -p udp --dport 53 -j CT {zone}
                 {tool} -t nat -A OUTPUT -p udp --dport 53 -j REDIRECT --to-ports 15053"
            ));
            let (free, bound) = in_(&pod, || {
                let free = UdpSocket::bind("0.0.0.0:0").expect("a socket");
                let bound = UdpSocket::bind("0.0.0.0:0").expect("a socket");
                bound.connect("10.96.0.10:53").expect("a peer");
                free.send_to(b"query", "10.96.0.10:53").expect("it is sent");
                bound.send(b"query").expect("it is sent");
                (free, bound)
            });
            let all = conns(&pod, "");
            let receiver = proxy.local_addr().expect("its end").to_string();
            let (sent, connected) = (the(&all, &[("state", "unconnected")]), the(&all, &[("state", "established")]));
            assert_eq!((judged(sent), judged(connected)), ("redirected ends".into(), "redirected tracked".into()));
            for one in [sent, connected] {
                assert_eq!(
                    (&one["peer"], &one["actual_destination"]),
                    (&"10.96.0.10:53".into(), &receiver.as_str().into())
                );
                assert!(one["twin"].is_u64() && one["rule"].is_object() && one["flow"].is_u64(), "{zone}: {one:#?}");
            }
            let port = free.local_addr().expect("its end").port();
            assert_eq!(sent["local"], format!("10.0.0.2:{port}"), "what the packets carry");
            // Answered in two zones, to two destinations: nobody can tell which entry is the socket's.
            let port = bound.local_addr().expect("its end").port();
            let more = |zone: u16, to: &str| {
                pod.sh(&format!(
                    "conntrack -I -p udp -s 10.0.0.2 -d 10.96.0.10 --sport {port} --dport 53 -t 100 -w {zone} \
                    -u SEEN_REPLY -r {to} -q 10.0.0.2 --reply-port-src 53 --reply-port-dst {port} 2>&1"
                ));
            };
            more(21, "10.96.0.10");
            assert_eq!(
                judged(the(&conns(&pod, ""), &[("state", "established")])),
                "direct tracked",
                "the answered one"
            );
            more(22, "10.0.0.9");
            assert_eq!(judged(the(&conns(&pod, ""), &[("state", "established")])), "unknown -");
            drop((free, proxy));
        }
    }
}

#[test]
fn a_handshake_that_nobody_answers_is_told_where_it_goes() {
    if !require_root() {
        return;
    }
    for tool in BOTH {
        let (pod, world) = Lab::pod_and_world();
        let _other = listener(&world, "10.0.0.5:81");
        pod.sh(&format!(
            "{tool} -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 15001
             {tool} -t nat -A OUTPUT -p tcp -d 10.96.0.10 -j DNAT --to-destination 10.0.0.5:81
             {tool} -A INPUT -p tcp --dport 15001 -j DROP
             ip route add default via 10.0.0.5"
        ));
        let _waiting = pod.nc(1000, 1000, "10.0.0.5 80");
        pod.wait_for_sockets(1, "state syn-sent");
        let _elsewhere = dial(&pod, "10.96.0.10:443");
        let all = conns(&pod, "");
        let waiting = the(&all, &[("state", "syn-sent")]);
        assert_eq!((judged(waiting).as_str(), &waiting["twin"]), ("redirected tracked", &Value::Null));
        assert_eq!(waiting["actual_destination"], "127.0.0.1:15001");
        let elsewhere = the(&all, &[("peer", "10.96.0.10:443")]);
        assert_eq!((judged(elsewhere).as_str(), &elsewhere["twin"]), ("redirected tracked", &Value::Null));
        assert_eq!(elsewhere["actual_destination"], "10.0.0.5:81");
        assert_eq!(elsewhere["rule"]["number"], 2);
    }
}

#[test]
fn a_half_whose_caller_has_gone_still_knows_what_was_dialled() {
    if !require_root() {
        return;
    }
    let (pod, _world) = Lab::pod_and_world();
    let proxy = listener(&pod, "0.0.0.0:15001");
    pod.sh("iptables-nft -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 15001");
    let mut caller = dial(&pod, "10.0.0.5:80");
    let (half, _) = proxy.accept().expect("the call");
    caller.write_all(b"the last words").expect("they are sent");
    drop(caller);
    wait_until("the end", || pod.sh("ss -Htn state close-wait; ss -Htn state fin-wait-2").lines().count() == 2);
    let all = conns(&pod, "--all");
    let left = the(&all, &[("state", "close-wait")]);
    assert_eq!((judged(left).as_str(), &left["twin"]), ("intercepted tracked", &Value::Null), "{left:#?}");
    assert_eq!(left["original_destination"], "10.0.0.5:80");
    let orphan = the(&all, &[("state", "fin-wait-2")]);
    assert_eq!((judged(orphan).as_str(), &orphan["twin"]), ("redirected tracked", &left["inode"]));
    drop(half);
}
