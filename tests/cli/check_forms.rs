//! `check` as other programs want it: JUnit by Jenkins' schema, SARIF by OASIS', GitHub's commands, TAP; and no name breaks out of it.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::check_many::{called, pod, without_ipv6, without_metadata, without_rules};
use crate::json_schema::faults;
use crate::program::{Folder, fixture, nslens, say, text_of};

/// Everything that would break out of a form.
const HOSTILE: &str = "x\"><failure/>&\u{1}\u{1b}[31m]]>\u{fffe}\n::error::y%0A # SKIP \u{202e}\n1..0\nok 1";

/// Workloads of every outcome: passing, failing, with an accepted finding's id, not meshed, undecided, damaged, and one with hostile names.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.put(
        "good.json",
        pod(|pod| {
            without_ipv6(pod);
            called("good")(pod);
        }),
    );
    folder.put(
        "lost.json",
        pod(|pod| {
            without_rules(pod);
            called("lost")(pod);
        }),
    );
    folder.put(
        "plain.json",
        pod(|pod| {
            without_rules(pod);
            without_metadata(pod);
            pod["processes"].as_array_mut().expect("processes").retain(|process| process["container"] != "istio-proxy");
            called("plain")(pod);
        }),
    );
    folder.put("rules.txt", text_of("docs/istio.rules"));
    folder.put("damaged.json", "{");
    folder.put(
        "hostile.json",
        pod(|pod| {
            for process in pod["processes"].as_array_mut().expect("processes") {
                process["name"] = json!(HOSTILE);
                process["uid"] = json!(1337);
            }
            called(HOSTILE)(pod);
        }),
    );
    folder
}

/// Whether xmllint takes a document by the schema; `None` where there is no xmllint.
pub(crate) fn fits(document: &str) -> Option<Result<(), String>> {
    let lint = Command::new("xmllint")
        .args(["--noout", "--schema", &fixture("schemas/junit-10.xsd"), "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut lint = match lint {
        Ok(lint) => lint,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "xmllint (libxml2-utils) is needed: {error}");
            say("SKIPPED: JUnit was not judged by its schema: xmllint (libxml2-utils) is not here");
            return None;
        }
    };
    let written = lint.stdin.take().expect("a pipe").write_all(document.as_bytes());
    written.expect("it reads all");
    let output = lint.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(if output.status.success() { Ok(()) } else { Err(told) })
}

#[test]
fn junit_is_as_its_schema_says_and_counts_what_fails() {
    let folder = folder();
    let run = nslens(&["check", &folder.path(""), "-o", "junit", "--allow", "RDR402=IPv4 only"]).ended(1);
    if let Some(judged) = fits(&run.out) {
        judged.unwrap_or_else(|told| panic!("{told}\n{}", run.out));
        // The judge judges.
        for (from, to) in [("<testcase name=", "<testcase nam="), ("</testsuites>", "")] {
            assert!(fits(&run.out.replacen(from, to, 1)).is_some_and(|judged| judged.is_err()), "{from}");
        }
    }
    let count = |tag: &str| run.out.matches(&format!("<{tag} ")).count();
    let head = run.out.lines().nth(1).expect("the root");
    let wanted = |name: &str, tag: &str| format!("{name}=\"{}\"", count(tag));
    for (name, tag) in [("tests", "testcase"), ("failures", "failure"), ("errors", "error")] {
        assert!(head.contains(&wanted(name, tag)) && count(tag) > 0, "{head}: {}", wanted(name, tag));
    }
    assert_eq!(count("testsuite"), 6);
    assert!(run.out.contains("<skipped message=\"allowed: IPv4 only\">"), "{}", run.out);
    assert!(run.out.contains("<skipped message=\"not meshed: nothing was expected\"/>"), "{}", run.out);
    assert!(run.out.contains("could not be looked at"), "{}", run.out);
}

#[test]
fn sarif_is_as_its_schema_says() {
    let folder = folder();
    let run = nslens(&["check", &folder.path(""), "-o", "sarif", "--allow", "RDR402=IPv4 only"]).ended(1);
    let schema: Value = serde_json::from_str(&text_of("schemas/sarif-schema-2.1.0.json")).expect("a schema");
    let document = run.json();
    let found = faults(&schema, &document);
    assert!(found.is_empty(), "{}", found.join("\n"));
    let broken = run.out.replacen("\"ruleId\"", "\"ruleid\"", 1);
    assert_eq!(faults(&schema, &serde_json::from_str(&broken).expect("JSON")).len(), 1, "the judge judges");
    let log = &document["runs"][0];
    let results = log["results"].as_array().expect("results");
    let rules = log["tool"]["driver"]["rules"].as_array().expect("rules");
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().expect("an index")).expect("small");
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert_eq!(result["level"] == "none", result["kind"] == "open", "{result}");
    }
    let is = |id: &str, name: &str| {
        results
            .iter()
            .find(|result| result["ruleId"] == id && result["locations"][0]["logicalLocations"][0]["name"] == name)
    };
    assert!(
        is("RDR001", "lost").is_some_and(|result| result["level"] == "error" && result.get("suppressions").is_none())
    );
    assert!(is("RDR402", HOSTILE).is_some_and(|result| result["suppressions"][0]["justification"] == "IPv4 only"));
    assert!(results.iter().any(|result| result["kind"] == "open"), "{}", run.out);
    assert_eq!(log["invocations"][0]["executionSuccessful"], false);
    let notes = log["invocations"][0]["toolExecutionNotifications"].as_array().expect("notifications");
    assert!(notes.iter().any(|note| note.to_string().contains("damaged.json")), "{}", run.out);
    assert!(!run.out.contains(['\u{1b}', '\u{202e}']), "nothing steers a terminal");
}

#[test]
fn github_gets_commands_and_nothing_else() {
    let folder = folder();
    let run = nslens(&["check", &folder.path(""), "-o", "github", "--allow", "RDR402=IPv4 only"]).ended(1);
    for line in run.out.lines() {
        let rest = line.strip_prefix("::").unwrap_or_else(|| panic!("{line:?} is no command"));
        let (command, message) = rest.split_once("::").expect("a message");
        let (level, title) = command.split_once(" title=").expect("a title");
        assert!(["error", "warning", "notice"].contains(&level), "{line}");
        assert!(!title.contains([',', ':']) && !message.is_empty(), "{line}");
    }
    let of = |start: &str| run.out.lines().filter(|line| line.starts_with(start)).count();
    assert_eq!(of("::error title=default/lost%3A RDR001::"), 1, "{}", run.out);
    assert_eq!(of("::notice title=default/plain::not meshed"), 1, "{}", run.out);
    assert_eq!(of("::error title=default/good"), 0, "{}", run.out);
    assert!(run.out.contains("%0A→ "), "the remedy has a line of its own: {}", run.out);
}

#[test]
fn tap_has_as_many_points_as_it_plans() {
    let folder = folder();
    let run = nslens(&["check", &folder.path(""), "-o", "tap", "--allow", "RDR402=IPv4 only"]).ended(1);
    let mut lines = run.out.lines();
    assert_eq!(lines.next(), Some("TAP version 14"));
    let plan: usize = lines.next().and_then(|plan| plan.strip_prefix("1..")?.parse().ok()).expect("a plan");
    let (mut points, mut blocks) = (Vec::new(), 0);
    for line in lines {
        let point = line
            .strip_prefix("not ok ")
            .map(|rest| (false, rest))
            .or(line.strip_prefix("ok ").map(|rest| (true, rest)));
        match point {
            Some((ok, rest)) => {
                let (number, what) = rest.split_once(" - ").expect("a name");
                points.push((number.parse::<usize>().expect("a number"), ok, what));
            }
            None => {
                blocks += usize::from(line == "  ---");
                assert!(line.starts_with("  "), "{line:?} is neither a point nor part of a block");
            }
        }
    }
    assert_eq!(points.iter().map(|point| point.0).collect::<Vec<_>>(), (1..=plan).collect::<Vec<_>>());
    assert!(blocks > 0 && blocks == run.out.matches("\n  ...\n").count(), "{}", run.out);
    let skipped = |what: &str| what.contains(" # SKIP ");
    let hostile = points.iter().filter(|(_, _, what)| what.contains("<failure/>"));
    assert!(hostile.clone().count() > 1 && hostile.clone().any(|(_, ok, what)| !ok && !skipped(what)), "{}", run.out);
    assert!(points.iter().any(|(_, ok, what)| *ok && what.ends_with("# SKIP allowed: IPv4 only")), "{}", run.out);
    assert!(
        points
            .iter()
            .filter(|(_, _, what)| what.starts_with("default/plain "))
            .all(|(_, ok, what)| *ok && skipped(what))
    );
    assert!(
        points
            .iter()
            .filter(|(_, _, what)| what.starts_with("default/good "))
            .any(|(_, ok, what)| *ok && !skipped(what))
    );
}

#[test]
fn one_workload_alone_has_every_form_too() {
    let folder = folder();
    let good = folder.path("good.json");
    let schema: Value = serde_json::from_str(&text_of("schemas/sarif-schema-2.1.0.json")).expect("a schema");
    let sarif = nslens(&["check", &good, "-o", "sarif"]).ended(0).json();
    assert_eq!(faults(&schema, &sarif), Vec::<String>::new());
    assert_eq!(sarif["runs"][0]["results"], json!([]));
    let junit = nslens(&["check", &good, "-o", "junit"]).ended(0).out;
    assert!(
        junit.contains("failures=\"0\" errors=\"0\"") && fits(&junit).is_none_or(|judged| judged.is_ok()),
        "{junit}"
    );
    assert!(!nslens(&["check", &good, "-o", "tap"]).ended(0).out.contains("not ok"));
    assert_eq!(nslens(&["check", &good, "-o", "github"]).ended(0).out, "");
}
