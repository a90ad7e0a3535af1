//! An image without a registry: a root folder with a static busybox, packed as `docker save` would.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::place::{Trouble, found, succeed};

/// The name under which labs know it.
pub(crate) const NAME: &str = "lab.local/busybox:1";

const APPLETS: [&str; 8] = ["sh", "sleep", "nc", "cat", "echo", "httpd", "wget", "true"];

/// Makes the archive in the folder; its path.
pub(crate) fn archive(folder: &Path) -> Result<PathBuf, Trouble> {
    let (root, image) = (folder.join("root"), folder.join("image"));
    fs::create_dir_all(root.join("bin"))?;
    fs::create_dir_all(root.join("etc"))?;
    fs::create_dir_all(&image)?;
    fs::copy(found("busybox")?, root.join("bin/busybox"))?;
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\nproxy:x:1337:1337::/:/bin/sh\n",
    )?;
    fs::write(root.join("etc/group"), "root:x:0:\napp:x:1000:\nproxy:x:1337:\n")?;
    let layer = image.join("layer.tar");
    pack(&root, &layer, &["."])?;
    let digest = Command::new("sha256sum").arg(&layer).output()?;
    succeed("sha256sum", &digest)?;
    let digest = String::from_utf8_lossy(&digest.stdout).split(' ').next().unwrap_or_default().to_owned();
    let config = serde_json::json!({
        "architecture": architecture(), "os": "linux",
        "config": {"Cmd": ["/bin/sleep", "infinity"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    });
    fs::write(image.join("config.json"), config.to_string())?;
    let manifest = serde_json::json!([{"Config": "config.json", "RepoTags": [NAME], "Layers": ["layer.tar"]}]);
    fs::write(image.join("manifest.json"), manifest.to_string())?;
    let archive = folder.join("image.tar");
    pack(&image, &archive, &["manifest.json", "config.json", "layer.tar"])?;
    Ok(archive)
}

/// As Go names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn pack(folder: &Path, archive: &Path, names: &[&str]) -> Result<(), Trouble> {
    let output = Command::new("tar")
        .args(["--owner", "0", "--group", "0", "-C"])
        .arg(folder)
        .arg("-cf")
        .arg(archive)
        .args(names)
        .output()?;
    succeed("tar", &output)
}
