//! Who opened it, where did it go, and why past the proxy: CQ01 to CQ04 and CQ15.

use super::stage::{BACKENDS, conns, dial, inodes, load, meshed, numbers, run, says, shown};
use crate::support::{Lab, require_root, wait_until};

#[test]
fn cq01_who_opened_it_and_where_did_it_really_go() {
    for backend in BACKENDS {
        let Some((pod, _world, held)) = meshed(backend, "accept:0.0.0.0:15001") else { return };
        let app = run(&pod, 1000, "dial:10.0.0.5:80");
        pod.wait_for_connections(2);
        let said = conns(&pod);
        let row = said.dialled(&app, "10.0.0.5:80");
        assert_eq!((&row["uid"], &row["actual_destination"]), (&1000.into(), &"127.0.0.1:15001".into()));
        assert_eq!((&row["way"], &row["rule"]["chain"]), (&"redirected".into(), &"REDIRECT_OUT".into()));
        assert_eq!(row["rule"]["backend"], backend);
        let twin = said.row(&row["twin"]);
        assert_eq!((&twin["process"]["pid"], &twin["uid"]), (&held[1].pid().into(), &1337.into()));
        assert_eq!((&twin["way"], &twin["local"]), (&"intercepted".into(), &"127.0.0.1:15001".into()));
        // What the tools see of it, each in its own list.
        let local = row["local"].as_str().expect("an end");
        let port = local.rsplit(':').next().expect("a port");
        let ss = pod.sh("ss -Htnp state established");
        assert!(ss.lines().any(|line| line.contains(local) && line.contains(&format!("pid={},", app.pid()))), "{ss}");
        let listed = pod.sh("conntrack -L -p tcp 2>/dev/null");
        let entry = format!("dst=10.0.0.5 sport={port} dport=80 src=127.0.0.1 dst=10.0.0.2 sport=15001 dport={port}");
        assert!(listed.contains(&entry), "{listed}");
        assert!(said.is_quiet() && !shown(&pod, &[]).contains("Seen:"), "{:#}", said.document);
    }
}

#[test]
fn cq02_which_bypass_the_proxy_and_why() {
    for backend in BACKENDS {
        let Some((pod, world, _held)) = meshed(backend, "accept:0.0.0.0:15001") else { return };
        load(&pod, backend, "*raw\n-A OUTPUT -p tcp --dport 81 -j CT --notrack\nCOMMIT");
        let good = run(&pod, 1000, "dial:10.0.0.5:80");
        let same_user = run(&pod, 1337, "dial:10.0.0.5:80");
        let untracked = run(&pod, 1000, "dial:10.0.0.5:81");
        let sixth = run(&pod, 1000, "dial:[fd00::5]:80");
        pod.wait_for_connections(5);
        let said = conns(&pod);
        let seen = said.seen("bypass");
        assert_eq!(seen.len(), 3, "{:#}", said.document);
        let about = |program| inodes(said.of(program));
        let of = |program| *seen.iter().find(|one| numbers(&one["connections"]) == about(program)).expect("it is said");
        says(of(&same_user), &["(UID 1337) is not the proxy", &format!("{backend} ip nat OUT 4"), "10.0.0.5:80"]);
        says(of(&untracked), &[&format!("{backend} ip raw OUTPUT 1"), "tracking", "10.0.0.5:81"]);
        says(of(&sixth), &["IPv6 goes past the proxy", "[fd00::5]:80"]);
        assert_eq!(said.dialled(&good, "10.0.0.5:80")["way"], "redirected");
        let text = shown(&pod, &[]);
        assert!(text.contains("\nSeen:\n- ") && text.contains("IPv6 goes past the proxy"), "{text}");
        // Only what is about the connections that are asked for.
        let one = shown(&pod, &["--process", &sixth.pid().to_string()]);
        assert!(one.contains("IPv6 goes past") && !one.contains("notrack") && !one.contains("UID 1337)"), "{one}");
        drop(world);
    }
}

#[test]
fn cq03_is_the_exclusion_of_5432_effective() {
    let Some((pod, _world, held)) = meshed("nft", "forward:0.0.0.0:15001>original") else { return };
    let app = run(&pod, 1000, "dial:10.0.0.5:5432");
    pod.wait_for_connections(1);
    let said = conns(&pod);
    assert_eq!(said.dialled(&app, "10.0.0.5:5432")["way"], "direct");
    assert!(said.is_quiet(), "what is left alone by its port is as it should be: {:#}", said.document);
    // Without the exclusion the proxy is seen to be connected too, and is the one that owns what leaves.
    pod.sh("iptables-nft -t nat -D OUT -p tcp --dport 5432 -j RETURN");
    let other = run(&pod, 1000, "dial:10.0.0.5:5432");
    pod.wait_for_connections(4);
    let said = conns(&pod);
    assert_eq!(said.dialled(&other, "10.0.0.5:5432")["way"], "redirected");
    assert_eq!(said.dialled(&held[1], "10.0.0.5:5432")["way"], "exempt");
}

#[test]
fn cq04_what_is_the_half_at_15001() {
    let Some((pod, _world, held)) = meshed("legacy", "accept:0.0.0.0:15001") else { return };
    let app = run(&pod, 1000, "dial:10.0.0.5:80");
    pod.wait_for_connections(2);
    let said = conns(&pod);
    let [half] = said.of(&held[1])[..] else { panic!("{:#}", said.document) };
    let caller = said.dialled(&app, "10.0.0.5:80");
    assert_eq!((&half["local"], &half["peer"]), (&"127.0.0.1:15001".into(), &caller["local"]));
    assert_eq!((&half["direction"], &half["original_destination"]), (&"in".into(), &"10.0.0.5:80".into()));
    assert_eq!((&half["twin"], &caller["twin"]), (&caller["inode"], &half["inode"]));
}

#[test]
fn cq15_did_the_change_cut_my_connections() {
    if !require_root() {
        return;
    }
    for backend in BACKENDS {
        // Tracked before, and not: the former stay, the latter are cut.
        for tracked in [true, false] {
            let (pod, world) = Lab::pod_and_world();
            let _server = run(&world, 0, "accept:0.0.0.0:80");
            world.wait_for_sockets(1, "state listening");
            if tracked {
                pod.sh("iptables-nft -A INPUT -m conntrack --ctstate INVALID -j DROP");
            }
            let old = run(&pod, 1000, "dial:10.0.0.5:80 dial:10.0.0.5:80");
            pod.wait_for_connections(2);
            assert!(conns(&pod).is_quiet(), "there are no rules yet");
            load(&pod, backend, super::stage::SIDECAR);
            let _proxy = run(&pod, 1337, "accept:0.0.0.0:15001");
            pod.wait_for_sockets(1, "state listening");
            let said = conns(&pod);
            let seen = said.only("older-than-rules");
            assert_eq!(numbers(&seen["connections"]), inodes(said.of(&old)));
            let rule = format!("older than {backend} ip nat REDIRECT_OUT 1");
            let fate = if tracked { "direct until it ends" } else { "the next packet will be redirected" };
            says(seen, &["2 connections", "10.0.0.5:80", &rule, fate]);
            assert!(shown(&pod, &[]).contains("Seen:\n- 2 connections of"));
        }
    }
}

#[test]
fn cq15_what_was_opened_anew_is_counted_beside_what_is_left() {
    if !require_root() {
        return;
    }
    let (pod, world) = Lab::pod_and_world();
    let _server = run(&world, 0, "accept:0.0.0.0:80");
    world.wait_for_sockets(1, "state listening");
    pod.sh("iptables-nft -A INPUT -m conntrack --ctstate INVALID -j DROP");
    let old = pod.netns().enter(|| dial("10.0.0.5:80", None)).expect("inside");
    load(&pod, "nft", super::stage::SIDECAR);
    let _proxy = run(&pod, 1337, "accept:0.0.0.0:15001");
    pod.wait_for_sockets(1, "state listening");
    let new = pod.netns().enter(|| dial("10.0.0.5:80", None)).expect("inside");
    pod.wait_for_connections(3);
    let said = conns(&pod);
    says(said.only("older-than-rules"), &["1 connection ", "Opened anew and redirected: 1."]);
    drop(old);
    wait_until("the old one to be gone", || conns(&pod).seen("older-than-rules").is_empty());
    drop(new);
}
