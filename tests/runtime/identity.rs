//! A runtime that names a process which is no longer the container's: never an answer.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use serde_json::{Value, json};

use crate::program::outside;
use crate::runtimes::{CriLab, Node};

#[test]
fn a_number_that_another_container_took_over_is_an_error() {
    let Some(lab) = CriLab::start() else { return };
    let pod = lab.run_istio_pod("web", "blue");
    // The process's number outside of the lab, where it stands in no runtime but in its cgroup.
    let id = pod.ids["app"].as_str();
    let by_cgroup = outside(&["rules", id, "--runtime", "proc", "-o", "json"]).ended(0).json();
    let live = &by_cgroup["target"];
    let pid = live["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a process");
    assert_ne!(pid, pod.pids["app"], "the lab counts otherwise");

    let folder = tempfile::tempdir().expect("folder");
    let ask = |told: &str| {
        let path = folder.path().join(format!("{}.sock", &told[..8]));
        serve(&path, told.to_owned(), pid);
        let path = path.to_str().expect("a path");
        outside(&["rules", "container/web", "--runtime", "docker", "--runtime-endpoint", path, "-o", "json"])
    };
    let right: Value = ask(id).ended(0).json();
    assert_eq!((&right["target"]["pid"], &right["target"]["netns"]), (&json!(pid), &live["netns"]), "its own process");
    ask(&"b".repeat(64)).ended(3).said("now belongs to another container");
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

/// What it says to one connection.
pub(crate) fn answer(mut stream: UnixStream, id: &str, pid: u32) {
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
