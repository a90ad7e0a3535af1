//! `find TARGET [-n NAMESPACE] [-c CONTAINER]`: who answers to a name on this node, as JSON.
#![expect(clippy::print_stdout, reason = "a program that shows its result")]

use std::process::ExitCode;

use nslens::target::{Choice, Given, Query, TargetError, World, endpoints, find};
use serde_json::{Value, json};

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (mut asked, mut choice) = (String::new(), Choice::default());
    while let Some(word) = words.next() {
        match word.as_str() {
            "-n" => choice.namespace = words.next(),
            "-c" => choice.container = words.next(),
            _ => asked = word,
        }
    }
    let answer = match Query::parse(&asked) {
        Err(error) => json!({"error": "Grammar", "message": error.to_string()}),
        Ok(query) => answer(&query, &choice),
    };
    println!("{answer}");
    if answer.get("error").is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn answer(query: &Query, choice: &Choice) -> Value {
    let endpoints = endpoints(&Given::default()).unwrap_or_default();
    match find(query, choice, &World::here("here", endpoints)) {
        Ok(live) => json!({
            "workload": live.workload,
            "tried": live.tried.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }),
        Err(error) => {
            let debug = format!("{error:?}");
            let kind = debug.split(' ').next().unwrap_or_default();
            let candidates: Vec<&str> = match &error {
                TargetError::Ambiguous { candidates, .. } => {
                    candidates.iter().map(|candidate| candidate.command_word.as_str()).collect()
                }
                _ => Vec::new(),
            };
            let near = if let TargetError::NotFound { near, .. } = &error { near.clone() } else { Vec::new() };
            json!({"error": kind, "message": error.to_string(), "candidates": candidates, "near": near})
        }
    }
}
