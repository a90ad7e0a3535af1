//! What is handed out: one static binary, its checksum, the licences of all that is in it.

use std::env::consts::ARCH;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::{Outcome, cargo, licences, root};

/// Builds into `dist/nslens-VERSION-TARGET/`.
pub(crate) fn run() -> Outcome {
    let target = format!("{ARCH}-unknown-linux-musl");
    if !installed(&target) {
        eprintln!("The target {target} is not installed, so no static binary can be built. To install it:");
        eprintln!("    rustup target add {target}");
        return Ok(ExitCode::FAILURE);
    }
    let status =
        cargo().args(["build", "--release", "--locked", "--package", "nslens", "--target", &target]).status()?;
    if !status.success() {
        return Err("the release build failed".into());
    }
    let metadata = licences::metadata(&target)?;
    let name = format!("nslens-{}-{target}", licences::version(&metadata)?);
    let folder = root().join("dist").join(&name);
    fs::create_dir_all(&folder)?;
    let built = licences::target_folder(&metadata)?.join(&target).join("release/nslens");
    fs::copy(built, folder.join("nslens"))?;
    for file in ["LICENSE-MIT", "LICENSE-APACHE"] {
        fs::copy(root().join(file), folder.join(file))?;
    }
    fs::write(folder.join("THIRD-PARTY-LICENSES"), licences::of_dependencies(&metadata)?)?;
    checksum(&folder)?;
    let size = fs::metadata(folder.join("nslens"))?.len();
    println!("dist/{name}/nslens: {size} bytes");
    Ok(ExitCode::SUCCESS)
}

/// Whether the toolchain has this target's standard library.
fn installed(target: &str) -> bool {
    let output = Command::new("rustc").args(["--print", "target-libdir", "--target", target]).output();
    output.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

/// `sha256sum`'s own format, so that `sha256sum --check nslens.sha256` tells.
fn checksum(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let output = Command::new("sha256sum").arg("nslens").current_dir(folder).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err("sha256sum failed".into());
    }
    fs::write(folder.join("nslens.sha256"), output.stdout)?;
    Ok(())
}
