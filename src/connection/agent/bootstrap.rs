//! Starting the agent with one command on one channel. Where it is already there, that command becomes the agent;
//! otherwise the same channel brings it.

use super::host::{Host, Opened};
use super::program::Programs;
use super::{AgentError, AgentOptions};
use crate::wire::MAGIC;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

/// The script's own words begin with this.
const SAYS: &[u8] = b"deploy-agent-says:";
/// Bytes of a login shell's noise that are read before we give up.
const NOISE: usize = 256 * 1024;

/// A channel whose agent has spoken its magic.
pub(super) struct Started {
    /// What it said behind the magic, and everything to come.
    pub output: Box<dyn AsyncRead + Send + Unpin>,
    pub channel: Channel,
}

/// The rest of the channel.
pub(super) struct Channel {
    pub input: Box<dyn tokio::io::AsyncWrite + Send + Unpin>,
    pub diagnosis: Box<dyn Fn() -> String + Send + Sync>,
}

/// Starts the agent on `host`.
pub(super) async fn start(host: &dyn Host, programs: &Programs, options: &AgentOptions) -> Result<Started, AgentError> {
    let command = command(programs, options.directory.as_deref())?;
    let Opened { mut output, mut input, diagnosis } = host.open(&command).await?;
    let mut heard = Vec::new();
    let mut noise = 0;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let n =
            output.read(&mut buffer).await.map_err(|e| AgentError::NoAnswer(format!("{e}{}", quoted(&diagnosis()))))?;
        if n == 0 {
            return Err(silent(&heard, &diagnosis()));
        }
        heard.extend_from_slice(buffer.get(..n).unwrap_or_default());
        if let Some(at) = find(&heard, MAGIC) {
            let rest = std::io::Cursor::new(heard.split_off(at + MAGIC.len()));
            let output = Box::new(AsyncReadExt::chain(rest, output));
            return Ok(Started { output, channel: Channel { input, diagnosis } });
        }
        if let Some(line) = said(&heard) {
            heard.clear();
            let bytes = answer(&line, programs, options)?;
            let size = format!("{}\n", bytes.len());
            let sent = async {
                input.write_all(size.as_bytes()).await?;
                input.write_all(&bytes).await?;
                input.flush().await
            };
            // A script that stops reading says why.
            let _ = sent.await;
        }
        if heard.len() > NOISE / 4 {
            noise += heard.len();
            heard.drain(..heard.len() - 1024);
        }
        if noise > NOISE {
            return Err(AgentError::NoAnswer("its start files print without end".into()));
        }
    }
}

/// A complete line of the script.
fn said(heard: &[u8]) -> Option<String> {
    let behind = heard.get(find(heard, SAYS)? + SAYS.len()..)?;
    let end = behind.iter().position(|b| *b == b'\n')?;
    Some(String::from_utf8_lossy(behind.get(..end)?).trim().to_string())
}

/// The program that the script asks for, or the error that it tells.
fn answer(line: &str, programs: &Programs, options: &AgentOptions) -> Result<Vec<u8>, AgentError> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let setting = match &options.directory {
        Some(_) => "set `deploy_agent_dir` to another directory",
        None => "set `deploy_agent_dir` to a directory where the login user may write and run programs",
    };
    match word {
        "gzip" => programs.get(rest)?.gzip().map(<[u8]>::to_vec),
        "plain" => programs.get(rest)?.plain(),
        "arch" => Err(programs.get(rest).err().unwrap_or_else(|| AgentError::NoAnswer(line.to_string()))),
        "noexec" => Err(AgentError::Run(format!(
            "programs in {rest} may not be run (is its file system mounted noexec?); {setting}"
        ))),
        "place" => Err(AgentError::Place(format!("{rest}; {setting}"))),
        _ => Err(AgentError::NoAnswer(line.to_string())),
    }
}

fn silent(heard: &[u8], diagnosis: &str) -> AgentError {
    let heard = String::from_utf8_lossy(heard).trim().to_string();
    let said = [heard.as_str(), diagnosis].iter().filter(|t| !t.is_empty()).cloned().collect::<Vec<_>>().join("; ");
    AgentError::NoAnswer(match said.is_empty() {
        true => "it ended without a word; the login shell must be able to run /bin/sh".to_string(),
        false => said.chars().take(600).collect(),
    })
}

fn quoted(diagnosis: &str) -> String {
    if diagnosis.is_empty() { String::new() } else { format!("; it said: {diagnosis}") }
}

/// The command for the login shell, whatever that is: one line, no quote inside, no `!`.
fn command(programs: &Programs, directory: Option<&str>) -> Result<String, AgentError> {
    let mut cases = String::new();
    for program in programs.iter() {
        let name = program.sha256.get(..12).unwrap_or_default();
        cases.push_str(&format!("{}) n=agent-{name}; h={}; z={};; ", program.arch, program.sha256, program.size));
    }
    let directory = match directory {
        None => "${XDG_CACHE_HOME:-$HOME/.cache}/deploy".to_string(),
        Some(given) => {
            let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@% ".contains(c);
            let (home, rest) = match given.strip_prefix("~/") {
                Some(rest) => ("$HOME/", rest),
                None => ("", given),
            };
            if !(given.starts_with('/') || given.starts_with("~/")) || !rest.chars().all(plain) {
                return Err(AgentError::Place(format!(
                    "`deploy_agent_dir` is `{given}`; it must be an absolute path, or begin with `~/`, without special \
                     characters"
                )));
            }
            format!("{home}{rest}")
        }
    };
    let script = [
        r#"t=; a=$(uname -m); say() { printf "\ndeploy-agent-says:%s %s\n" "$1" "$2"; };"#,
        r#"die() { [ -z "$t" ] || rm -f "$t"; say "$@"; exit 1; };"#,
        // Ours, and writable by nobody else: what is run from here may be given a password.
        r#"own() { [ -O "$d" ] || return 1; case "$(ls -ld "$d")" in d????w*|d???????w*) return 1;; esac; };"#,
        &format!(r#"d="{directory}"; case "$a" in {cases}*) die arch "$a";; esac;"#),
        r#"f="$d/$n"; t="$d/.new-$$";"#,
        // The installing is private, and what the agent makes is as the login's own umask says.
        r#"m=$(umask); go() { umask "$m"; exec "$f" --stdio --directory "$d" --sha256 "$h"; };"#,
        r#"if [ -x "$f" ] && own; then go; fi;"#,
        r#"umask 077; e=$(mkdir -p "$d" 2>&1) || die place "cannot make the directory $d: $e";"#,
        r#"own || die place "the directory $d belongs to somebody else or can be written by others";"#,
        r#"e=$( { echo : > "$t" && chmod 700 "$t"; } 2>&1 ) || die place "cannot write to $d: $e";"#,
        r#""$t" 2>/dev/null || die noexec "$d";"#,
        r#"if command -v gzip > /dev/null; then say gzip "$a"; read g; e=$( { head -c "$g" | gzip -dc > "$t"; } 2>&1 );"#,
        r#"else say plain "$a"; read g; e=$( { head -c "$g" > "$t"; } 2>&1 ); fi;"#,
        r#"[ "$(wc -c < "$t")" -eq "$z" ] || die place "cannot write the agent to $d (is the disk full?): $e";"#,
        r#"if command -v sha256sum > /dev/null; then case "$(sha256sum < "$t")" in"#,
        r#""$h"*) ;; *) die place "the agent arrived damaged in $d";; esac; fi;"#,
        r#"chmod 700 "$t" && mv -f "$t" "$f" || die place "cannot write to $d";"#,
        r#"find "$d" -name "agent-*" -mtime +60 -exec rm -f {} + 2>/dev/null; touch "$f"; go"#,
    ]
    .join(" ");
    Ok(format!("exec /bin/sh -c '{script}'"))
}

fn find(heap: &[u8], needle: &[u8]) -> Option<usize> {
    heap.windows(needle.len()).position(|window| window == needle)
}
