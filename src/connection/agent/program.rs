//! The agent's program for each CPU type: carried inside a release build, found beside a development build, or put
//! into a directory by the user.

use super::AgentError;
use super::blobs::hex;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// One program that was built in.
pub(super) struct Embedded {
    arch: &'static str,
    sha256: &'static str,
    size: u64,
    gzip: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/agents.rs"));

/// Where users put agents for further CPUs, named `deploy-agent-<uname -m>`.
const USER_DIRECTORY: &str = ".local/share/deploy/agents";

/// The program for one CPU type.
#[derive(Clone)]
pub struct Program {
    /// As `uname -m` says.
    pub arch: String,
    /// SHA-256 of the program, hex.
    pub sha256: String,
    /// Its bytes.
    pub size: u64,
    /// Compressed. Only made when a host needs it.
    gzip: Arc<OnceLock<Vec<u8>>>,
    source: Source,
}

#[derive(Clone)]
enum Source {
    Embedded(&'static [u8]),
    File(PathBuf),
}

impl Program {
    /// A program from a file.
    pub fn from_file(arch: &str, path: &Path) -> Result<Program, AgentError> {
        let bytes = read(path)?;
        Ok(Program {
            arch: arch.to_string(),
            sha256: hex(&Sha256::digest(&bytes)),
            size: bytes.len() as u64,
            gzip: Arc::default(),
            source: Source::File(path.to_path_buf()),
        })
    }

    /// Compressed.
    pub fn gzip(&self) -> Result<&[u8], AgentError> {
        match &self.source {
            Source::Embedded(bytes) => Ok(bytes),
            Source::File(path) => {
                if let Some(bytes) = self.gzip.get() {
                    return Ok(bytes);
                }
                let failed = |e: std::io::Error| program_error(path, &e);
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(&read(path)?).map_err(failed)?;
                let bytes = encoder.finish().map_err(failed)?;
                Ok(self.gzip.get_or_init(|| bytes))
            }
        }
    }

    /// As it is, for hosts without gzip.
    pub fn plain(&self) -> Result<Vec<u8>, AgentError> {
        match &self.source {
            Source::File(path) => read(path),
            Source::Embedded(bytes) => {
                let mut plain = Vec::new();
                std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(*bytes), &mut plain)
                    .map_err(|e| program_error(Path::new("built into deploy"), &e))?;
                Ok(plain)
            }
        }
    }
}

fn program_error(path: &Path, error: &std::io::Error) -> AgentError {
    AgentError::Program { path: path.display().to_string(), why: error.to_string() }
}

fn read(path: &Path) -> Result<Vec<u8>, AgentError> {
    std::fs::read(path).map_err(|e| program_error(path, &e))
}

/// All programs there are.
#[derive(Clone)]
pub struct Programs {
    by_arch: BTreeMap<String, Program>,
    directory: PathBuf,
}

impl Programs {
    /// Looks into `DEPLOY_AGENT_DIR`, into this program, beside it, and into `~/.local/share/deploy/agents`; the first
    /// for each CPU type is taken.
    pub fn find() -> Result<Programs, AgentError> {
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        let named = std::env::var_os("DEPLOY_AGENT_DIR").map(PathBuf::from);
        let directory = named.clone().unwrap_or_else(|| home.join(USER_DIRECTORY));
        let mut programs = Programs { by_arch: BTreeMap::new(), directory };
        if let Some(named) = named {
            programs.add_directory(&named)?;
        }
        for embedded in EMBEDDED {
            programs.add(Program {
                arch: embedded.arch.to_string(),
                sha256: embedded.sha256.to_string(),
                size: embedded.size,
                gzip: Arc::default(),
                source: Source::Embedded(embedded.gzip),
            });
        }
        programs.add_beside()?;
        programs.add_directory(&home.join(USER_DIRECTORY))?;
        Ok(programs)
    }

    /// Exactly these.
    pub fn of(programs: impl IntoIterator<Item = Program>) -> Programs {
        let mut all = Programs { by_arch: BTreeMap::new(), directory: PathBuf::from(USER_DIRECTORY) };
        programs.into_iter().for_each(|program| all.add(program));
        all
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Program> {
        self.by_arch.values()
    }

    /// The one for this CPU type.
    pub fn get(&self, arch: &str) -> Result<&Program, AgentError> {
        self.by_arch.get(arch).ok_or_else(|| {
            let present: Vec<&str> = self.by_arch.keys().map(String::as_str).collect();
            AgentError::NoProgram {
                arch: arch.to_string(),
                present: if present.is_empty() { "none".into() } else { present.join(", ") },
                directory: self.directory.display().to_string(),
            }
        })
    }

    fn add(&mut self, program: Program) {
        self.by_arch.entry(program.arch.clone()).or_insert(program);
    }

    /// A development build has the agent of this machine in the same directory, or one above (tests).
    fn add_beside(&mut self) -> Result<(), AgentError> {
        let arch = std::env::consts::ARCH;
        if self.by_arch.contains_key(arch) {
            return Ok(());
        }
        let Ok(us) = std::env::current_exe() else { return Ok(()) };
        for directory in us.ancestors().skip(1).take(2) {
            let path = directory.join("deploy-agent");
            if path.is_file() {
                self.add(Program::from_file(arch, &path)?);
                return Ok(());
            }
        }
        Ok(())
    }

    fn add_directory(&mut self, directory: &Path) -> Result<(), AgentError> {
        let Ok(entries) = std::fs::read_dir(directory) else { return Ok(()) };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(arch) = name.strip_prefix("deploy-agent-").filter(|arch| plain_word(arch)) else { continue };
            if !self.by_arch.contains_key(arch) {
                self.add(Program::from_file(arch, &entry.path())?);
            }
        }
        Ok(())
    }
}

/// What `uname -m` may say; it becomes part of a shell script.
fn plain_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
