//! What goes in circles, and what waits in vain: CQ06, CQ08 and CQ09.

use super::stage::{BACKENDS, conns, dial, inodes, load, meshed, numbers, run, says, send_and_close, shown};
use crate::support::{Lab, require_root, wait_until};

#[test]
fn cq06_is_there_a_loop() {
    if !require_root() {
        return;
    }
    for backend in BACKENDS {
        let (pod, world) = Lab::pod_and_world();
        load(&pod, backend, "*nat\n-A OUTPUT -p tcp -j REDIRECT --to-ports 15001\nCOMMIT");
        let proxy = run(&pod, 1337, "forward:0.0.0.0:15001>original");
        pod.wait_for_sockets(1, "state listening");
        let app = run(&pod, 1000, "dial:10.0.0.5:80");
        let own = |text: &str| text.matches(&format!("pid={},", proxy.pid())).count();
        // Twenty calls taken, twenty dialled, of which the last waits to be taken.
        wait_until("the circles", || own(&pod.sh("ss -Htnp state established")) >= 40);
        let said = conns(&pod);
        let seen = said.only("loop");
        says(
            seen,
            &["dials 10.0.0.5:80", "redirected to itself at 127.0.0.1:15001", &format!("{backend} ip nat OUTPUT 1")],
        );
        says(seen, &["19 times", "a loop"]);
        let dialled = said.of(&proxy).into_iter().filter(|row| row["direction"] == "out" && !row["twin"].is_null());
        assert!(numbers(&seen["connections"]).is_superset(&inodes(dialled)));
        assert!(numbers(&seen["connections"]).is_disjoint(&inodes(said.of(&app))), "the application is no part of it");
        assert!(shown(&pod, &[]).contains("Seen:\n- "));
        drop(world);
    }
}

#[test]
fn cq06_a_call_to_oneself_through_both_halves_of_a_proxy_is_no_loop() {
    let proxy = "forward:0.0.0.0:15001>10.0.0.2:8080 forward:0.0.0.0:15006>10.0.0.2:8080@127.0.0.6:0";
    let Some((pod, _world, _held)) = meshed("nft", proxy) else { return };
    let _app = run(&pod, 1000, "accept:0.0.0.0:8080");
    pod.wait_for_sockets(3, "state listening");
    let callers: Vec<_> = (0..4).map(|_| run(&pod, 1000, "dial:10.0.0.5:80")).collect();
    // Application, outbound half, inbound half, application: three connections of two halves each.
    pod.wait_for_connections(4 * 6);
    let said = conns(&pod);
    let itself = said.rows().filter(|row| row["way"] == "redirected" && row["uid"] == 1337).count();
    assert_eq!((itself, said.seen("loop").len()), (4, 0), "{:#}", said.document);
    drop(callers);
}

#[test]
fn cq08_a_handshake_stalls_while_the_proxy_is_healthy() {
    if !require_root() {
        return;
    }
    for backend in BACKENDS {
        let (pod, world) = Lab::pod_and_world();
        load(&pod, backend, "*nat\n-A PREROUTING -p tcp -j REDIRECT --to-ports 4143\nCOMMIT");
        let _proxy = run(&pod, 2102, "accept:0.0.0.0:4143");
        pod.wait_for_sockets(1, "state listening");
        let first = world.netns().enter(|| dial("10.0.0.2:8080", Some("10.0.0.5:45000"))).expect("inside");
        pod.wait_for_connections(1);
        let healthy = conns(&pod);
        assert!(healthy.is_quiet());
        // No answer of a handshake leaves any more, and tracking does not see it either.
        let drop_answers = "-A OUTPUT -p tcp --sport 4143 --tcp-flags SYN,ACK SYN,ACK -j DROP";
        load(&pod, backend, &format!("*raw\n{drop_answers}\nCOMMIT"));
        let _second = run(&world, 0, "dial:10.0.0.2:8081@10.0.0.5:45000");
        wait_until("the handshake", || pod.sh("conntrack -L 2>/dev/null").contains("[UNREPLIED]"));
        let said = conns(&pod);
        let seen = said.only("stalled-handshake");
        // What conntrack says of it.
        let listed = pod.sh("conntrack -L -p tcp -o id 2>/dev/null");
        let line = listed.lines().find(|line| line.contains("[UNREPLIED]")).expect("it waits");
        assert!(line.contains("SYN_SENT") && line.contains("dport=8081"), "{line}");
        let word = |line: &str, key: &str| {
            let found: Vec<_> = line.split(' ').filter_map(|word| word.strip_prefix(key)).map(str::to_owned).collect();
            found.last().expect("it is there").clone()
        };
        let port = word(line, "dport=");
        assert_ne!(port, "45000", "the kernel had to find another port: {line}");
        let clash = format!("source port {port} instead of 45000, because it clashes with the one to 10.0.0.2:8080");
        says(seen, &["10.0.0.5:45000 with 10.0.0.2:8081", "10.0.0.2:4143", &clash, "ESTABLISHED"]);
        let ids = listed.lines().map(|line| word(line, "id=").parse::<u64>().expect("an id")).collect();
        assert_eq!(numbers(&seen["flows"]), ids);
        drop(first);
    }
}

#[test]
fn cq09_close_wait_with_bytes_that_nobody_reads() {
    if !require_root() {
        return;
    }
    let (pod, world) = Lab::pod_and_world();
    load(&pod, "nft", "*nat\n-A PREROUTING -p tcp -j REDIRECT --to-ports 4143\nCOMMIT");
    // The kernel notes when connections began.
    pod.sh("echo 1 > /proc/sys/net/netfilter/nf_conntrack_timestamp");
    // Two are taken and not read; what comes later is not even taken.
    let taking = run(&pod, 2102, "accept:0.0.0.0:4143");
    pod.wait_for_sockets(1, "state listening");
    let stuck = run(&pod, 2102, "listen:0.0.0.0:4191");
    pod.wait_for_sockets(2, "state listening");
    load(&pod, "nft", "*nat\n-I PREROUTING -p tcp --dport 9000 -j REDIRECT --to-ports 4191\nCOMMIT");
    let send = |to: &str| {
        world.netns().enter(|| send_and_close(to, &[b'x'; 206])).expect("inside");
    };
    (0..2).for_each(|_| send("10.0.0.2:8080"));
    (0..3).for_each(|_| send("10.0.0.2:9000"));
    pod.wait_for_sockets(5, "state close-wait");
    let said = conns(&pod);
    let seen = said.only("unread-bytes");
    // The queue as ss has it: the end of the stream counts as one.
    let ss = pod.sh("ss -Htn state close-wait sport = :4191");
    let queues: Vec<u64> =
        ss.lines().map(|line| line.split_whitespace().next().expect("a queue").parse().expect("a number")).collect();
    assert_eq!(queues, [207, 207, 207]);
    let owner = format!("/{} has not read (207 each); 3 of them were never accepted", stuck.pid());
    says(seen, &["3 connections on 4191, where rules redirect to,", "hold 621 bytes", &owner]);
    // A third that was taken, and they are too many to be of the moment.
    send("10.0.0.2:8080");
    pod.wait_for_sockets(6, "state close-wait");
    let said = conns(&pod);
    let taken = *said
        .seen("unread-bytes")
        .iter()
        .find(|seen| !numbers(&seen["connections"]).is_empty())
        .expect("they are said");
    says(taken, &["3 connections on 4143", &format!("/{} has not read", taking.pid()), "; the oldest is ", " s old."]);
    assert_eq!(numbers(&taken["connections"]), inodes(said.of(&taking)));
}
