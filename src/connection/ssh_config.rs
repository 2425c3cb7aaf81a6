//! `ssh_config` as OpenSSH resolves it: read here while it is simple, by `ssh -G` where it is not.
//!
//! `ssh -G` is exact by definition and takes 20 ms a host. Files that only use `Host`, `Include` and keywords known
//! to [`super::ssh_args`] are evaluated here instead; `Match`, canonical names and everything unknown go to `ssh -G`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

use super::known_hosts::wildcard;
use super::ssh_args::{Keyword, canonical, classify};

/// How deep files may include each other, as in OpenSSH.
const INCLUDE_DEPTH: usize = 16;

/// The settings that apply to one host: the first value of a keyword counts, lists collect all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(Vec<(String, String)>);

impl Settings {
    /// Settings in the order of their precedence.
    pub fn new(pairs: Vec<(String, String)>) -> Self {
        Settings(pairs)
    }

    /// The value that counts.
    pub fn get(&self, keyword: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == keyword).map(|(_, v)| v.as_str())
    }

    /// All values, for keywords that collect.
    pub fn all<'a>(&'a self, keyword: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == keyword).map(|(_, v)| v.as_str())
    }

    /// The first keyword of several that is set, with its value.
    pub fn first_of(&self, keywords: &[&str]) -> Option<(&str, &str)> {
        self.0.iter().find(|(k, _)| keywords.contains(&k.as_str())).map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// These settings, then those of `lower`.
    pub fn over(mut self, lower: Settings) -> Settings {
        self.0.extend(lower.0);
        self
    }

    /// The pairs.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

/// The configuration files of a run.
#[derive(Default)]
pub struct SshConfig {
    files: Mutex<HashMap<Option<PathBuf>, Arc<Vec<File>>>>,
    asked: Mutex<HashMap<Vec<String>, Answer>>,
}

type Answer = Arc<OnceLock<Result<Settings, String>>>;

/// One file, read.
#[derive(Debug, Default)]
struct File {
    items: Vec<Item>,
    /// Why only `ssh -G` can tell, if so.
    beyond_us: Option<String>,
}

#[derive(Debug)]
enum Item {
    Host(Vec<String>),
    /// `Match`, with whether it is `Match all`.
    Match(bool),
    Set(String, String),
    Include(Vec<File>),
}

impl SshConfig {
    /// The settings of the files for `host`, as given on the command line. `given` are the settings of the command
    /// line, which `Match` and tokens can depend on; they are not part of the answer when it is found here.
    ///
    /// Answers with a warning where something had to be left out.
    pub fn settings(
        &self,
        host: &str,
        config_file: Option<&Path>,
        given: &Settings,
    ) -> Result<(Settings, Option<String>), String> {
        let files = self.read(config_file)?;
        let beyond_us = files.iter().find_map(File::beyond_us);
        let Some(why) = beyond_us else {
            let mut found = Vec::new();
            for file in files.iter() {
                file.evaluate(host, true, &mut found);
            }
            return Ok((Settings(found), None));
        };
        match self.ask_ssh(host, config_file, given) {
            Some(Ok(settings)) => Ok((settings, None)),
            Some(Err(e)) => Err(e),
            None => {
                let mut found = Vec::new();
                for file in files.iter() {
                    file.evaluate(host, true, &mut found);
                }
                let warning = format!(
                    "ssh_config needs `ssh -G` ({why}), but there is no ssh program: Match blocks were left out"
                );
                Ok((Settings(found), Some(warning)))
            }
        }
    }

    fn read(&self, config_file: Option<&Path>) -> Result<Arc<Vec<File>>, String> {
        let key = config_file.map(Path::to_path_buf);
        if let Some(files) = self.files.lock().ok().and_then(|f| f.get(&key).cloned()) {
            return Ok(files);
        }
        let home = home();
        let mut files = Vec::new();
        match config_file {
            Some(path) if path == Path::new("none") => {}
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|e| format!("cannot read the ssh configuration {}: {e}", path.display()))?;
                files.push(File::parse(&text, &home.join(".ssh"), 0));
            }
            None => {
                for (path, base) in [
                    (home.join(".ssh/config"), home.join(".ssh")),
                    (PathBuf::from("/etc/ssh/ssh_config"), PathBuf::from("/etc/ssh")),
                ] {
                    match std::fs::read_to_string(&path) {
                        Ok(text) => files.push(File::parse(&text, &base, 0)),
                        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                        Err(e) => return Err(format!("cannot read the ssh configuration {}: {e}", path.display())),
                    }
                }
            }
        }
        let files = Arc::new(files);
        if let Ok(mut cache) = self.files.lock() {
            cache.insert(key, files.clone());
        }
        Ok(files)
    }

    /// Asks `ssh -G`, once for the same question. None when there is no such program.
    fn ask_ssh(&self, host: &str, config_file: Option<&Path>, given: &Settings) -> Option<Result<Settings, String>> {
        let mut args = vec!["-G".to_string()];
        if let Some(path) = config_file {
            args.extend(["-F".to_string(), path.display().to_string()]);
        }
        for (keyword, value) in given.pairs() {
            args.extend(["-o".to_string(), format!("{keyword}={value}")]);
        }
        args.extend(["--".to_string(), host.to_string()]);
        let slot = self.asked.lock().ok()?.entry(args.clone()).or_default().clone();
        let mut missing = false;
        let answer =
            slot.get_or_init(|| match Command::new("ssh").args(&args).stdin(std::process::Stdio::null()).output() {
                Ok(output) if output.status.success() => Ok(parse_dump(&String::from_utf8_lossy(&output.stdout))),
                Ok(output) => Err(format!(
                    "`ssh -G {host}` refuses the configuration: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                )),
                Err(e) => {
                    missing = e.kind() == std::io::ErrorKind::NotFound;
                    Err(format!("`ssh -G {host}` cannot be run: {e}"))
                }
            });
        if missing { None } else { Some(answer.clone()) }
    }
}

/// What the text of one configuration file says of `host`, or why only `ssh -G` can tell.
pub fn settings_of_text(text: &str, host: &str) -> Result<Settings, String> {
    let file = File::parse(text, &home().join(".ssh"), 0);
    if let Some(why) = file.beyond_us() {
        return Err(why);
    }
    let mut found = Vec::new();
    file.evaluate(host, true, &mut found);
    Ok(Settings(found))
}

/// What `ssh -G` printed.
fn parse_dump(text: &str) -> Settings {
    let pairs = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(k, v)| (canonical(k), v.to_string()))
        // A default that cannot be told from a wish; we have our own.
        .filter(|(k, v)| !matches!((k.as_str(), v.as_str()), ("serveraliveinterval", "0") | ("connecttimeout", "none")))
        .collect();
    Settings(pairs)
}

impl File {
    fn parse(text: &str, base: &Path, depth: usize) -> File {
        let mut file = File::default();
        for line in text.lines() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let end = line.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(line.len());
            let (keyword, rest) = line.split_at_checked(end).unwrap_or((line, ""));
            let rest = rest.trim_start();
            let value = rest.strip_prefix('=').unwrap_or(rest).trim();
            file.line(&canonical(keyword), value, base, depth);
        }
        file
    }

    fn line(&mut self, keyword: &str, value: &str, base: &Path, depth: usize) {
        match keyword {
            "host" => match words(value) {
                Some(patterns) => self.items.push(Item::Host(patterns)),
                None => self.give_up("quotes in Host"),
            },
            "match" => {
                let all = value.trim().eq_ignore_ascii_case("all");
                if !all {
                    self.give_up("Match");
                }
                self.items.push(Item::Match(all));
            }
            "include" => match words(value) {
                Some(patterns) if depth < INCLUDE_DEPTH => {
                    let mut files = Vec::new();
                    for pattern in patterns {
                        files.extend(include(&pattern, base, depth));
                    }
                    self.items.push(Item::Include(files));
                }
                _ => self.give_up("Include"),
            },
            _ => self.setting(keyword, value),
        }
    }

    fn setting(&mut self, keyword: &str, value: &str) {
        if classify(keyword) == Keyword::Unknown {
            self.give_up(keyword);
        }
        if keyword == "canonicalizehostname" && !value.eq_ignore_ascii_case("no") {
            self.give_up("CanonicalizeHostname");
        }
        if value.contains("${") {
            self.give_up("an environment variable");
        }
        // A comment may follow a value; a command runs to the end of its line.
        let value = match keyword {
            "proxycommand" | "localcommand" | "remotecommand" => value.to_string(),
            _ => match words(value) {
                Some(words) => words.join(" "),
                None => {
                    self.give_up("quotes");
                    value.to_string()
                }
            },
        };
        // Several paths with blanks in them cannot be told apart once they are joined.
        if value.contains(' ') && matches!(keyword, "userknownhostsfile" | "globalknownhostsfile" | "identityfile") {
            let quoted = value.contains('"') || keyword == "identityfile";
            if quoted {
                self.give_up("a path with a blank");
            }
        }
        self.items.push(Item::Set(keyword.to_string(), value));
    }

    fn give_up(&mut self, why: &str) {
        self.beyond_us.get_or_insert_with(|| why.to_string());
    }

    fn beyond_us(&self) -> Option<String> {
        self.beyond_us.clone().or_else(|| {
            self.items.iter().find_map(|item| match item {
                Item::Include(files) => files.iter().find_map(File::beyond_us),
                _ => None,
            })
        })
    }

    /// Collects what applies to `host`. `outer` says whether the place that includes this file applies.
    fn evaluate(&self, host: &str, outer: bool, found: &mut Vec<(String, String)>) {
        let mut active = outer;
        for item in &self.items {
            match item {
                Item::Host(patterns) => active = outer && host_matches(patterns, host),
                Item::Match(all) => active = outer && *all,
                Item::Set(keyword, value) if active => {
                    let collects = matches!(keyword.as_str(), "identityfile" | "certificatefile");
                    if collects || !found.iter().any(|(k, _)| k == keyword) {
                        found.push((keyword.clone(), value.clone()));
                    }
                }
                Item::Set(..) => {}
                Item::Include(files) => {
                    for file in files {
                        file.evaluate(host, active, found);
                    }
                }
            }
        }
    }
}

fn host_matches(patterns: &[String], host: &str) -> bool {
    let mut hit = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(negated) if wildcard(negated, host) => return false,
            Some(_) => {}
            None => hit |= wildcard(pattern, host),
        }
    }
    hit
}

fn include(pattern: &str, base: &Path, depth: usize) -> Vec<File> {
    let pattern = match pattern.strip_prefix("~/") {
        Some(rest) => home().join(rest),
        None => base.join(pattern),
    };
    let Ok(paths) = glob::glob(&pattern.display().to_string()) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = paths.flatten().collect();
    paths.sort();
    paths
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .map(|text| File::parse(&text, base, depth + 1))
        .collect()
}

/// The words of a value: blanks separate, `"…"` holds together, `#` at a word's start ends the line. None when a
/// quote stays open or stands inside a word.
fn words(value: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = value.trim();
    while !rest.is_empty() && !rest.starts_with('#') {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (word, after) = quoted.split_once('"')?;
            words.push(word.to_string());
            rest = after.trim_start();
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let (word, after) = rest.split_at_checked(end)?;
            if word.contains(['"', '\'', '\\']) {
                return None;
            }
            words.push(word.to_string());
            rest = after.trim_start();
        }
    }
    Some(words)
}

/// The home directory as OpenSSH finds it: from the account, not from the environment.
pub fn home() -> PathBuf {
    account()
        .map(|(_, home)| home)
        .or_else(|| std::env::var_os("HOME").map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from("/"))
}

/// The name of the account this runs as.
pub fn local_user() -> String {
    account()
        .map(|(name, _)| name)
        .or_else(|| std::env::var("LOGNAME").ok())
        .or_else(|| std::env::var("USER").ok())
        .unwrap_or_else(|| "root".to_string())
}

fn account() -> Option<(String, PathBuf)> {
    static ACCOUNT: OnceLock<Option<(String, PathBuf)>> = OnceLock::new();
    ACCOUNT
        .get_or_init(|| {
            let uid = rustix::process::getuid().as_raw().to_string();
            let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
            passwd.lines().find_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next()?;
                if fields.nth(1)? != uid {
                    return None;
                }
                Some((name.to_string(), PathBuf::from(fields.nth(2)?)))
            })
        })
        .clone()
}

#[cfg(test)]
mod tests;
