//! A runtime that names a process which is no longer the container's: never an answer.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use nslens::target::{Choice, Query, RuntimeEndpoint, RuntimeKind, TargetError, World, find};

use super::runtimes::CriLab;

#[test]
fn a_number_that_another_container_took_over_is_an_error() {
    let Some(lab) = CriLab::start() else { return };
    let pod = lab.run_istio_pod("web", "blue");
    // The process's number as this test counts, found by its cgroup.
    let id = pod.ids["app"].clone();
    let query = Query::Id { runtime: None, prefix: id.clone() };
    let live = find(&query, &Choice::default(), &World::here("node", Vec::new())).expect("by cgroup");
    let pid = live.workload.pid.expect("a process");

    let folder = tempfile::tempdir().expect("folder");
    let ask = |told: &str| {
        let path = folder.path().join(format!("{}.sock", &told[..8]));
        serve(&path, told.to_owned(), pid);
        let endpoint = RuntimeEndpoint { kind: RuntimeKind::Docker, path, explicit: true };
        find(&Query::Container("web".into()), &Choice::default(), &World::here("node", vec![endpoint]))
    };
    let right = ask(&id).expect("its own process");
    assert_eq!(right.workload.pid, Some(pid));
    assert_eq!(right.workload.netns, live.workload.netns);
    let error = ask(&"b".repeat(64)).expect_err("another's process");
    assert!(matches!(error, TargetError::Gone { .. }), "{error:?}");
    assert!(error.to_string().contains("another container"), "{error}");
}

/// An Engine API that has one container.
fn serve(path: &Path, id: String, pid: u32) {
    let listener = UnixListener::bind(path).expect("bind");
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            answer(stream, &id, pid);
        }
    });
}

fn answer(mut stream: UnixStream, id: &str, pid: u32) {
    let mut request = [0; 4096];
    let read = stream.read(&mut request).unwrap_or(0);
    let request = String::from_utf8_lossy(&request[..read]);
    let body = if request.starts_with("GET /version") {
        r#"{"ApiVersion":"1.41"}"#.to_owned()
    } else if request.starts_with("GET /containers/json") {
        format!(r#"[{{"Id":"{id}","Names":["/web"],"State":"running"}}]"#)
    } else {
        format!(r#"{{"Id":"{id}","State":{{"Pid":{pid}}}}}"#)
    };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
}
