//! Puts the agents that `make` has built into `deploy`: `DEPLOY_AGENT_BUNDLE` names a directory with
//! `agent-<arch>.gz`, `agent-<arch>.sha256` and `agent-<arch>.size` for each CPU type. Without it, as in a development
//! build, there are none inside, and `deploy` looks beside itself.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-env-changed=DEPLOY_AGENT_BUNDLE");
    println!("cargo:rerun-if-changed=build.rs");
    let mut entries = String::new();
    if let Some(bundle) = std::env::var_os("DEPLOY_AGENT_BUNDLE").map(PathBuf::from) {
        println!("cargo:rerun-if-changed={}", bundle.display());
        for (arch, gzip) in programs(&bundle) {
            println!("cargo:rerun-if-changed={}", gzip.display());
            let sha256 = word(&gzip.with_extension("sha256"));
            let size = word(&gzip.with_extension("size"));
            let gzip = gzip.canonicalize().unwrap_or_else(|e| panic!("{}: {e}", gzip.display()));
            entries.push_str(&format!(
                "Embedded {{ arch: {arch:?}, sha256: {sha256:?}, size: {size}, gzip: include_bytes!({gzip:?}) }},\n"
            ));
        }
        assert!(!entries.is_empty(), "DEPLOY_AGENT_BUNDLE: no agent-*.gz in {}", bundle.display());
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("agents.rs");
    let text = format!("/// Agents built in.\nstatic EMBEDDED: &[Embedded] = &[\n{entries}];\n");
    std::fs::write(&out, text).unwrap_or_else(|e| panic!("{}: {e}", out.display()));
}

/// CPU types and compressed programs, sorted.
fn programs(bundle: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(bundle).unwrap_or_else(|e| panic!("DEPLOY_AGENT_BUNDLE {}: {e}", bundle.display()));
    let mut programs: Vec<(String, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let arch = name.strip_prefix("agent-")?.strip_suffix(".gz")?.to_string();
            Some((arch, entry.path()))
        })
        .collect();
    programs.sort();
    programs
}

/// The first word of a small file.
fn word(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.split_whitespace().next().unwrap_or_default().to_string()
}
