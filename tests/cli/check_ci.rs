//! The job of `docs/ci.md`, run: its steps as they stand there, with a `docker` that looks at a folder of snapshots.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::check_many::{called, pod, without_ipv6, without_rules};
use crate::program::Folder;

/// Stands in for docker: what it is to execute in a node is done here, on the snapshots in place of the node's workloads.
const DOCKER: &str = r#"#!/bin/sh
[ "$1" = cp ] && exit 0
[ "$1 $2 $3" = "exec kind-control-plane nslens" ] || { echo "docker $* is not known" >&2; exit 125; }
shift 3
words=""
while [ $# -gt 0 ]; do
    case "$1" in
        -A) words="$words $PODS" ;;
        -n) shift ;;
        *) words="$words $1" ;;
    esac
    shift
done
exec "$NSLENS" $words
"#;

/// The steps of the job that call nslens: their lines, and whether they are always run.
fn steps() -> Vec<(String, bool)> {
    let page = include_str!("../../docs/ci.md");
    let job = page.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the job");
    let (mut steps, mut inside): (Vec<(String, bool)>, bool) = (Vec::new(), false);
    for line in job.lines() {
        if line.starts_with("      - ") {
            inside = false;
            steps.push((String::new(), false));
        }
        let Some((lines, always)) = steps.last_mut() else { continue };
        *always |= line.trim() == "if: always()";
        match line.strip_prefix("          ") {
            Some(command) if inside => lines.push_str(&format!("{command}\n")),
            _ => inside = line.trim() == "run: |",
        }
    }
    steps.retain(|(lines, _)| lines.contains("nslens"));
    steps
}

/// Runs the job; the exit code of its first failing step, and what was printed.
fn job(folder: &Folder, pods: &Folder) -> (i32, String) {
    let (mut exit, mut printed) = (0, String::new());
    for (lines, always) in steps() {
        if exit != 0 && !always {
            continue;
        }
        // As the runner does.
        let output = Command::new("/bin/bash")
            .args(["-e", "-c", &lines])
            .current_dir(folder.path(""))
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", folder.path("")))
            .env("NSLENS", env!("CARGO_BIN_EXE_nslens"))
            .env("PODS", pods.path(""))
            .output()
            .expect("a shell");
        printed.push_str(&String::from_utf8_lossy(&output.stdout));
        printed.push_str(&String::from_utf8_lossy(&output.stderr));
        exit = if exit == 0 { output.status.code().expect("an exit code") } else { exit };
    }
    (exit, printed)
}

fn workspace() -> Folder {
    let folder = Folder::new();
    let docker = folder.put("docker", DOCKER);
    std::fs::set_permissions(docker, std::fs::Permissions::from_mode(0o755)).expect("it can be run");
    folder
}

#[test]
fn the_job_passes_on_good_pods_and_writes_its_reports() {
    assert_eq!(steps().len(), 2, "{:?}", steps());
    let (folder, pods) = (workspace(), Folder::new());
    pods.put(
        "web.json",
        pod(|pod| {
            without_ipv6(pod);
            called("web")(pod);
        }),
    );
    let (exit, printed) = job(&folder, &pods);
    assert_eq!((exit, printed.as_str()), (0, ""));
    let report = |name: &str| std::fs::read_to_string(folder.path(name)).expect("a report");
    assert!(report("redirection.xml").contains("failures=\"0\" errors=\"0\""), "{}", report("redirection.xml"));
    assert!(report("redirection.sarif").contains("\"results\": []"), "{}", report("redirection.sarif"));
}

#[test]
fn the_job_fails_on_a_pod_that_lost_its_rules() {
    let (folder, pods) = (workspace(), Folder::new());
    pods.put(
        "web.json",
        pod(|pod| {
            without_ipv6(pod);
            called("web")(pod);
        }),
    );
    // The job waits for a minute; here it need not.
    let quick =
        DOCKER.replace("        -n) shift ;;\n", "        -n) shift ;;\n        60s) words=\"$words 300ms\" ;;\n");
    folder.put("docker", quick);
    pods.put(
        "lost.json",
        pod(|pod| {
            without_rules(pod);
            called("lost")(pod);
        }),
    );
    let (exit, printed) = job(&folder, &pods);
    assert_eq!(exit, 1, "{printed}");
    assert!(printed.contains("::error title=default/lost%3A RDR001::"), "{printed}");
    let report = std::fs::read_to_string(folder.path("redirection.xml")).expect("it is written all the same");
    assert!(report.contains("<failure type=\"error\""), "{report}");
}
