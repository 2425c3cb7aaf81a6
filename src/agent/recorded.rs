//! Whether sudo records what passes through it. The agent's requests go through sudo's pipe, so an input log (`log_input`) has
//! every secret of every task in it, and whoever may read the log may read those.

use std::path::{Path, PathBuf};

/// What sudo records with, in a word each.
const FLAGS: [&str; 5] = ["log_input", "log_output", "log_stdin", "log_stdout", "log_stderr"];

/// A warning, if this process was started by a sudo that records. Only root can tell.
pub(super) fn warning() -> Option<String> {
    let user = std::env::var("SUDO_USER").ok().filter(|_| rustix::process::geteuid().is_root())?;
    let mut files = vec![PathBuf::from("/etc/sudoers")];
    let mut included: Vec<PathBuf> =
        std::fs::read_dir("/etc/sudoers.d").into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    included.sort();
    files.extend(included.into_iter().filter(|path| is_read(path)));
    let texts: Vec<(PathBuf, String)> =
        files.into_iter().filter_map(|path| Some((path.clone(), std::fs::read_to_string(path).ok()?))).collect();
    let (flag, path, line) = recording(&texts, &user)?;
    Some(format!(
        "sudo on this host records what passes through it (`{flag}`, {}:{line}): what tasks are given is in its log, secrets \
         included; leave {user} out of it with `Defaults:{user} !log_input, !log_output`, and look at who may read /var/log/sudo-io",
        path.display()
    ))
}

/// sudo reads no file whose name has a dot in it or ends in a tilde (sudoers(5), `@includedir`).
fn is_read(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| !name.contains('.') && !name.ends_with('~'))
}

/// The flag that makes sudo record commands of `user`, with its place: of several settings of a flag the last one counts.
fn recording<'a>(texts: &'a [(PathBuf, String)], user: &str) -> Option<(&'a str, &'a Path, usize)> {
    let mut on: Vec<(&str, &Path, usize)> = Vec::new();
    for (path, text) in texts {
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            // A tag of one rule: `deploy ALL=(ALL) LOG_INPUT: ALL`.
            for (tag, flag) in [("LOG_INPUT:", "log_input"), ("LOG_OUTPUT:", "log_output")] {
                let whose = line.split_whitespace().next().unwrap_or_default();
                if line.split_whitespace().any(|word| word.contains(tag) && !word.contains(&format!("NO{tag}")))
                    && (whose == user || whose == "ALL" || whose.starts_with('%'))
                {
                    on.push((flag, path, number + 1));
                }
            }
            let Some(rest) = line.trim_start().strip_prefix("Defaults") else { continue };
            let (scope, settings) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let everybody = scope.is_empty() || scope.starts_with(['@', '>', '!']) || scope.starts_with(":%");
            if !everybody && scope != ":ALL" && scope != format!(":{user}") {
                continue;
            }
            for setting in settings.split(',').map(str::trim) {
                let (off, name) = match setting.strip_prefix('!') {
                    Some(name) => (true, name.trim()),
                    None => (false, setting),
                };
                if let Some(flag) = FLAGS.into_iter().find(|flag| *flag == name) {
                    on.retain(|(known, ..)| *known != flag);
                    if !off {
                        on.push((flag, path, number + 1));
                    }
                }
            }
        }
    }
    on.first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_recorded() {
        for (text, expected) in [
            ("Defaults env_reset\ndeploy ALL=(ALL) NOPASSWD: ALL\n", None),
            ("Defaults log_output\n", Some(("log_output", 1))),
            ("Defaults env_reset, log_input\n", Some(("log_input", 1))),
            ("# Defaults log_output\nDefaults !log_output\n", None),
            ("Defaults log_output\nDefaults:deploy !log_output\n", None),
            ("Defaults:other log_output\n", None),
            ("Defaults:deploy log_input\n", Some(("log_input", 1))),
            ("Defaults log_input, log_output\nDefaults:deploy !log_input\n", Some(("log_output", 1))),
            ("\ndeploy ALL=(ALL) NOPASSWD:LOG_INPUT: ALL\n", Some(("log_input", 2))),
            ("deploy ALL=(ALL) NOLOG_INPUT: ALL\n", None),
            ("other ALL=(ALL) LOG_INPUT: ALL\n", None),
            ("Defaults iolog_dir=/var/log/sudo-io\n", None),
        ] {
            let texts = vec![(PathBuf::from("/etc/sudoers"), text.to_string())];
            let found = recording(&texts, "deploy").map(|(flag, _, line)| (flag, line));
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn names_that_sudo_passes_over() {
        for (name, read) in [("io", true), ("io.conf", false), ("io~", false), ("10-io", true)] {
            assert_eq!(is_read(&Path::new("/etc/sudoers.d").join(name)), read, "{name}");
        }
    }
}
