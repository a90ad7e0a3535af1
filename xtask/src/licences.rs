//! What cargo knows of the packages in the binary, and their licences' texts.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::cargo;

/// Files that hold a licence or a notice begin so.
const NAMES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"];

/// `cargo metadata` for one target.
pub(crate) fn metadata(target: &str) -> Result<Value, Box<dyn Error>> {
    let arguments = ["metadata", "--format-version", "1", "--locked", "--filter-platform", target];
    let output = cargo().args(arguments).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err("cargo metadata failed".into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The program's version.
pub(crate) fn version(metadata: &Value) -> Result<String, Box<dyn Error>> {
    let (_, package) =
        packages(metadata).into_iter().find(|(_, package)| package["name"] == "nslens").ok_or("no nslens")?;
    Ok(text(package, "version"))
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder(metadata: &Value) -> Result<PathBuf, Box<dyn Error>> {
    Ok(metadata["target_directory"].as_str().ok_or("no target folder")?.into())
}

/// Every package that is linked into the program, with its licence's name and texts.
pub(crate) fn of_dependencies(metadata: &Value) -> Result<String, Box<dyn Error>> {
    let packages = packages(metadata);
    let root = packages.iter().find(|(_, package)| package["name"] == "nslens").ok_or("no nslens")?.0;
    let mut out = String::from("nslens contains the following packages.\n");
    let mut ids: Vec<_> = linked(metadata, root).into_iter().filter(|id| id != root).collect();
    ids.sort_by_key(|id| packages.get(id.as_str()).map(|package| text(package, "name")));
    for id in ids {
        let Some(package) = packages.get(id.as_str()) else { continue };
        let (name, version) = (text(package, "name"), text(package, "version"));
        writeln!(
            out,
            "\n{}\n{name} {version}: {}\n{}",
            "=".repeat(80),
            text(package, "license"),
            text(package, "repository")
        )?;
        let manifest = text(package, "manifest_path");
        for file in licence_files(Path::new(&manifest)) {
            let heading = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            writeln!(out, "\n--- {heading}\n{}", String::from_utf8_lossy(&fs::read(&file)?).trim_end())?;
        }
    }
    Ok(out)
}

fn packages(metadata: &Value) -> BTreeMap<&str, &Value> {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    packages.iter().filter_map(|package| Some((package["id"].as_str()?, package))).collect()
}

/// The packages reached from `root` through normal dependencies: those of tests and build scripts are not in the binary.
fn linked(metadata: &Value, root: &str) -> BTreeSet<String> {
    let nodes = metadata["resolve"]["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut found = BTreeSet::new();
    let mut next = vec![root.to_owned()];
    while let Some(id) = next.pop() {
        let Some(node) = nodes.iter().find(|node| node["id"] == id.as_str()) else { continue };
        let dependencies = node["deps"].as_array().map(Vec::as_slice).unwrap_or_default();
        let normal = |dependency: &&Value| {
            dependency["dep_kinds"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
        };
        next.extend(
            dependencies
                .iter()
                .filter(normal)
                .filter_map(|dependency| dependency["pkg"].as_str())
                .filter(|id| !found.contains(*id))
                .map(str::to_owned),
        );
        found.insert(id);
    }
    found
}

fn licence_files(manifest: &Path) -> Vec<PathBuf> {
    let entries = manifest.parent().and_then(|folder| fs::read_dir(folder).ok());
    let is_licence = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        path.is_file() && NAMES.iter().any(|start| name.starts_with(start))
    };
    let mut files: Vec<_> =
        entries.into_iter().flatten().flatten().map(|entry| entry.path()).filter(is_licence).collect();
    files.sort();
    files
}

fn text(package: &Value, key: &str) -> String {
    package[key].as_str().unwrap_or("not stated").to_owned()
}
