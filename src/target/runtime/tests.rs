//! Servers that stand in for broken runtimes.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::target::{Choice, Query, TargetError, find};

const DEADLINE: Duration = Duration::from_secs(1);

fn world(endpoints: &[(RuntimeKind, &Path)]) -> World {
    let endpoints = endpoints
        .iter()
        .map(|(kind, path)| RuntimeEndpoint { kind: *kind, path: path.to_path_buf(), explicit: false })
        .collect();
    let mut world = World::here("node", endpoints);
    world.timeout = DEADLINE;
    world
}

fn serve(path: &Path, answer: impl Fn(&mut std::os::unix::net::UnixStream) + Send + 'static) {
    let listener = UnixListener::bind(path).expect("bind");
    thread::spawn(move || {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept() {
            answer(&mut stream);
            kept.push(stream);
        }
    });
}

/// Accepts and never answers.
fn silent(path: &Path) {
    serve(path, |_| ());
}

fn garbage(path: &Path) {
    serve(path, |stream| {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\x00\xff\xfe garbage \r\n\r\n");
        let _ = stream.shutdown(std::net::Shutdown::Write);
    });
}

/// An Engine API with one answer for each path.
fn engine(path: &Path, containers: &'static str) {
    serve(path, move |stream| {
        let mut request = [0; 4096];
        let read = stream.read(&mut request).unwrap_or(0);
        let request = String::from_utf8_lossy(&request[..read]);
        let body = if request.starts_with("GET /version") { r#"{"ApiVersion":"1.41"}"# } else { containers };
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
    });
}

#[test]
fn silent_runtimes_cost_one_deadline_together() {
    let folder = tempfile::tempdir().expect("folder");
    let paths: Vec<_> = (0..4).map(|number| folder.path().join(format!("{number}.sock"))).collect();
    paths.iter().for_each(|path| silent(path));
    let kinds = [RuntimeKind::Cri, RuntimeKind::Docker, RuntimeKind::Podman, RuntimeKind::Cri];
    let endpoints: Vec<_> = kinds.into_iter().zip(paths.iter().map(AsRef::as_ref)).collect();
    let begun = Instant::now();
    let error = find(&Query::Name("web".into()), &Choice::default(), &world(&endpoints)).expect_err("nobody answers");
    let took = begun.elapsed();
    assert!(took >= DEADLINE && took < DEADLINE * 2, "{took:?}");
    let TargetError::RuntimeFailed { tried, .. } = error else { panic!("{error}") };
    let (proc, asked) = tried.split_last().expect("endpoints");
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|one| one.outcome == Outcome::TimedOut), "{tried:?}");
    assert!(matches!(proc.outcome, Outcome::Inferred { .. }), "what hangs leaves /proc: {proc:?}");
}

#[test]
fn one_that_hangs_does_not_keep_the_others_from_answering() {
    let folder = tempfile::tempdir().expect("folder");
    let (hanging, good) = (folder.path().join("a.sock"), folder.path().join("b.sock"));
    silent(&hanging);
    engine(&good, "[]");
    let world = world(&[(RuntimeKind::Cri, &hanging), (RuntimeKind::Docker, &good)]);
    let runtimes = Runtimes::ask(&world).expect("machinery");
    let outcomes: Vec<Outcome> = runtimes.tried.iter().map(|one| one.outcome.clone()).collect();
    let answered = Outcome::Answered { runtime: "docker".into(), pods: 0, containers: 0 };
    assert_eq!(outcomes, [Outcome::TimedOut, answered]);
}

#[test]
fn garbage_is_a_failure_and_never_an_empty_list() {
    let folder = tempfile::tempdir().expect("folder");
    for (number, kind) in [RuntimeKind::Cri, RuntimeKind::Docker].into_iter().enumerate() {
        let path = folder.path().join(format!("{number}.sock"));
        garbage(&path);
        let begun = Instant::now();
        let runtimes = Runtimes::ask(&world(&[(kind, &path)])).expect("machinery");
        let outcome = &runtimes.tried[0].outcome;
        // A gRPC connection that breaks before the question is out is made anew, until the time is up.
        let again = kind == RuntimeKind::Cri && *outcome == Outcome::TimedOut;
        let failed = matches!(outcome, Outcome::Failed(words) if !words.is_empty());
        assert!(failed || again, "{kind:?}: {outcome:?}");
        assert!(begun.elapsed() < DEADLINE * 2, "{kind:?}: told within the deadline");
    }
}

#[test]
fn an_answer_that_is_no_list_is_a_failure() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("docker.sock");
    engine(&path, r#"{"message":"DB_PASSWORD=hunter2"}"#);
    let error = find(&Query::Name("web".into()), &Choice::default(), &world(&[(RuntimeKind::Docker, &path)]))
        .expect_err("not a list");
    let TargetError::RuntimeFailed { .. } = error else { panic!("{error}") };
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn an_answer_without_end_is_given_up_and_a_long_one_is_not() {
    let folder = tempfile::tempdir().expect("folder");
    let (endless, long) = (folder.path().join("a.sock"), folder.path().join("b.sock"));
    let said = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&said);
    serve(&endless, move |stream| {
        let _ = stream.read(&mut [0; 4096]);
        let mut words: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[";
        while let Ok(written) = stream.write(words) {
            counted.fetch_add(written, Ordering::Relaxed);
            words = &[b' '; 65_536];
        }
    });
    engine(&long, Box::leak(format!("[{}]", " ".repeat(900 << 10)).into_boxed_str()));
    let mut world = world(&[(RuntimeKind::Docker, &endless), (RuntimeKind::Docker, &long)]);
    world.timeout = Duration::from_secs(30);
    let runtimes = Runtimes::ask(&world).expect("machinery");
    let outcomes: Vec<&Outcome> = runtimes.tried.iter().map(|one| &one.outcome).collect();
    let [Outcome::Failed(words), Outcome::Answered { .. }] = outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!(words, "its answer is too long");
    let said = said.load(Ordering::Relaxed);
    assert!(said < 20 << 20, "{said} bytes were read");
}

#[test]
fn absent_sockets_cost_nothing_and_are_listed() {
    let mut world = world(&[
        (RuntimeKind::Cri, Path::new("/nonexistent/a.sock")),
        (RuntimeKind::Docker, Path::new("/nonexistent/b.sock")),
    ]);
    // A node without containers.
    let proc_root = tempfile::tempdir().expect("folder");
    std::fs::create_dir(proc_root.path().join("1")).expect("process");
    world.proc_root = proc_root.path().to_owned();
    let begun = Instant::now();
    let runtimes = Runtimes::ask(&world).expect("nothing to build");
    assert!(runtimes.machinery.is_none());
    assert!(begun.elapsed() < Duration::from_millis(500), "no deadline, only /proc");
    let error = find(&Query::Name("web".into()), &Choice::default(), &world).expect_err("no runtime");
    let TargetError::NoRuntime { ref tried, .. } = error else { panic!("{error}") };
    let outcomes: Vec<&Outcome> = tried.iter().map(|one| &one.outcome).collect();
    assert!(matches!(outcomes[..], [Outcome::Absent, Outcome::Absent, Outcome::Inferred { .. }]), "{tried:?}");
    assert!(error.to_string().contains("/nonexistent/a.sock"), "{error}");
}

#[test]
fn a_socket_without_a_listener_and_a_file_are_failures() {
    let folder = tempfile::tempdir().expect("folder");
    let (stale, file) = (folder.path().join("a.sock"), folder.path().join("b.sock"));
    drop(UnixListener::bind(&stale).expect("bind"));
    std::fs::write(&file, "").expect("write");
    let runtimes =
        Runtimes::ask(&world(&[(RuntimeKind::Cri, &stale), (RuntimeKind::Docker, &file)])).expect("machinery");
    assert_eq!(runtimes.tried.len(), 3);
    for one in &runtimes.tried[..2] {
        assert!(matches!(one.outcome, Outcome::Failed(_)), "{one:?}");
    }
}

#[test]
fn the_same_socket_under_two_names_is_asked_once() {
    let folder = tempfile::tempdir().expect("folder");
    let (path, link) = (folder.path().join("docker.sock"), folder.path().join("podman.sock"));
    engine(&path, "[]");
    std::os::unix::fs::symlink(&path, &link).expect("link");
    let runtimes =
        Runtimes::ask(&world(&[(RuntimeKind::Docker, &path), (RuntimeKind::Podman, &link)])).expect("machinery");
    assert_eq!(runtimes.tried.len(), 1);
}

#[test]
fn pods_in_docker_are_known_by_their_labels() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("docker.sock");
    engine(
        &path,
        r#"[
            {"Id":"aa","Names":["/k8s_POD_web_blue"],"State":"running","Created":1,"Labels":{
                "io.kubernetes.pod.name":"web","io.kubernetes.pod.namespace":"blue","io.kubernetes.pod.uid":"u",
                "io.kubernetes.docker.type":"podsandbox","app":"web","annotation.sidecar.istio.io/status":"{}",
                "annotation.kubectl.kubernetes.io/last-applied-configuration":"{\"password\":1}"}},
            {"Id":"bb","Names":["/k8s_app_web_blue"],"State":"exited","Created":2,"Labels":{
                "io.kubernetes.pod.name":"web","io.kubernetes.pod.namespace":"blue","io.kubernetes.pod.uid":"u",
                "io.kubernetes.container.name":"app"}},
            {"Id":"cc","Names":["/k8s_app_web_blue_1"],"State":"running","Created":3,"Labels":{
                "io.kubernetes.pod.name":"web","io.kubernetes.pod.namespace":"blue","io.kubernetes.pod.uid":"u",
                "io.kubernetes.container.name":"app"}},
            {"Id":"dd","Names":["/other/alias","/lone"],"State":"running","Created":4}
        ]"#,
    );
    let runtimes = Runtimes::ask(&world(&[(RuntimeKind::Docker, &path)])).expect("machinery");
    let [pod, lone] = runtimes.groups.as_slice() else { panic!("{:?}", runtimes.groups) };
    assert_eq!(pod.pod, Some(PodName { name: "web".into(), namespace: "blue".into(), uid: Some("u".into()) }));
    assert_eq!(pod.sandbox.as_ref().map(|sandbox| (sandbox.id.as_str(), sandbox.ready)), Some(("aa", true)));
    let members: Vec<_> = pod.members.iter().map(|member| (member.name.as_str(), member.id.as_str())).collect();
    assert_eq!(members, [("app", "cc")], "the running one of two attempts");
    assert_eq!(pod.annotations, BTreeMap::from([("sidecar.istio.io/status".to_owned(), "{}".to_owned())]));
    assert_eq!(pod.labels.get("app").map(String::as_str), Some("web"));
    assert_eq!((lone.pod.as_ref(), lone.members[0].name.as_str()), (None, "lone"));
}

#[test]
fn what_cannot_be_told_of_an_ended_container_is_no_failure_of_its_pod() {
    const LABELS: &str = r#""Labels":{"io.kubernetes.pod.name":"web","io.kubernetes.pod.namespace":"blue"}"#;
    let folder = tempfile::tempdir().expect("folder");
    let list = |first: &str| {
        let one = |id: &str, state: &str| format!(r#"{{"Id":"{id}","Names":["/{id}"],"State":"{state}",{LABELS}}}"#);
        format!("[{},{}]", one("init", first), one("app", "running"))
    };
    for (state, fails) in [("exited", false), ("running", true)] {
        let path = folder.path().join(state);
        let list = list(state);
        serve(&path, move |stream| {
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let body = match request.split(' ').nth(1).unwrap_or_default() {
                path if path.contains("/version") => r#"{"ApiVersion":"1.41"}"#,
                path if path.contains("/containers/app/") => r#"{"State":{"Pid":7,"ExitCode":0}}"#,
                path if path.contains("/containers/init/") => r#"{"State":{"Status":"no word of the API"}}"#,
                _ => &list,
            };
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        });
        let runtimes = Runtimes::ask(&world(&[(RuntimeKind::Docker, &path)])).expect("it answers");
        let group = runtimes.groups.first().expect("a pod");
        let told = runtimes.detail(group);
        assert_eq!(told.is_err(), fails, "{told:?}");
        let pids = told.map(|detail| detail.members.values().filter_map(|inner| inner.pid).collect::<Vec<_>>());
        assert_eq!(pids.unwrap_or_default(), if fails { vec![] } else { vec![7] });
    }
}
