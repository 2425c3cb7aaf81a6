//! The command lines of sudo, su and doas, and the script that they run: it finds or makes a copy of the agent that
//! its user may trust, and becomes it.

use super::installed;
use super::launch::{FAIL, NEED, READY};
use crate::wire::{Become, BecomeMethod};

/// A program that starts a child as another user.
pub(super) struct Elevation {
    pub program: String,
    pub arguments: Vec<String>,
    pub prompt: Prompt,
    /// It asks for passwords on a terminal only, or may do so.
    pub terminal: bool,
}

/// How its question is recognised.
pub(super) enum Prompt {
    /// A text of ours that nobody else knows.
    Exact(String),
    /// Anything that ends like a question for a password.
    Password,
}

impl Prompt {
    /// Whether `said` asks.
    pub fn asks(&self, said: &[u8]) -> bool {
        let said = String::from_utf8_lossy(said);
        match self {
            Prompt::Exact(text) => said.contains(text.as_str()),
            Prompt::Password => said.lines().next_back().is_some_and(|line| {
                let line = line.trim_end().to_lowercase();
                line.ends_with(':') && line.contains("passwor")
            }),
        }
    }
}

/// A shell that waits for the script on its standard input, up to a line with a point, and then runs it. `read` takes no byte more
/// than its line, so that what follows the script is still there for what it starts. Braces, because `sudo -i` escapes everything
/// but letters, digits, `_`, `-` and `$` for the login shell, which then takes `$l` for its own.
fn reader() -> String {
    format!(
        r#"echo; echo {READY}; n=$(printf "\n."); s=; while IFS= read -r l && [ "${{l}}" != . ]; do s="${{s}}${{l}}${{n%.}}"; done; [ "${{l}}" = . ] && eval "${{s}}""#
    )
}

/// How `target` is become. `unique` is a text that nobody can guess.
pub(super) fn elevation(target: &Become, unique: &str) -> Elevation {
    let script = reader();
    let asks = target.password.is_some();
    let flags = target.flags.iter().flat_map(|f| f.split_whitespace()).map(str::to_string);
    let mut arguments: Vec<String>;
    let push = |arguments: &mut Vec<String>, words: &[&str]| arguments.extend(words.iter().map(|w| w.to_string()));
    let (default, prompt) = match target.method {
        BecomeMethod::Sudo => {
            let prompt = format!("[deploy {unique}] ");
            // -n is Ansible's default and means: do not ask. We say it ourselves when there is no answer.
            arguments = flags.filter(|f| f != "-n").collect();
            if arguments.is_empty() {
                push(&mut arguments, &["-H"]);
            }
            match asks {
                // -k: a cached permission would leave the password unread, and a wrong one undetected.
                true => push(&mut arguments, &["-S", "-k", "-p", &prompt]),
                false => push(&mut arguments, &["-n"]),
            }
            push(&mut arguments, &["-u", &target.user, "--", "/bin/sh", "-c", &script]);
            ("sudo", Prompt::Exact(prompt.trim_end().to_string()))
        }
        BecomeMethod::Su => {
            arguments = flags.collect();
            push(&mut arguments, &["-s", "/bin/sh", "-c", &script, &target.user]);
            ("su", Prompt::Password)
        }
        BecomeMethod::Doas => {
            arguments = flags.filter(|f| f != "-n").collect();
            if !asks {
                push(&mut arguments, &["-n"]);
            }
            push(&mut arguments, &["-u", &target.user, "/bin/sh", "-c", &script]);
            ("doas", Prompt::Password)
        }
    };
    Elevation {
        program: target.exe.clone().unwrap_or_else(|| default.to_string()),
        arguments,
        prompt,
        terminal: target.method != BecomeMethod::Sudo,
    }
}

/// What the other user runs. A copy that root made is used by everybody; where there is none, root makes it, and any
/// other user makes a private one that removes itself. Nobody runs a file that somebody of less power could write. It works where the
/// login user stood, as after any `sudo`, unless it may not look there, and speaks the login user's language: `language` is
/// its LC_ALL, which was C for the program that asks for the password.
pub(super) fn script(sha256: &str, size: u64, language: Option<&str>) -> String {
    let name = installed::name(sha256);
    let language = match language {
        Some(language) => format!("LC_ALL={}", crate::modules::commands::words::quote(language)),
        None => "unset LC_ALL".into(),
    };
    let places = installed::PLACES.join(" ");
    format!(
        r#"umask 022
[ "${{LC_ALL-}}" != C ] || {language}
owned() {{ set -- $(ls -ldn "$1" 2>/dev/null); case "$1 $3" in "drwxr-xr-x"*" 0") return 0;; esac; return 1; }}
fail() {{ echo; echo "{FAIL} $1"; exit 1; }}
stay() {{ {{ [ -r . ] && [ -x . ]; }} || cd "$HOME" 2>/dev/null || cd /; }}
runs() {{ t="$1/.try$$"; printf '#!/bin/sh\n' > "$t" && chmod 755 "$t" && "$t"; r=$?; rm -f "$t"; return $r; }}
for d in {places}; do if [ -x "$d/{name}" ] && owned "$d"; then stay; exec "$d/{name}" --child; fi; done
d=; k=
if [ "$(id -u)" = 0 ]; then
  for p in {places}; do if mkdir -p "$p" && chmod 755 "$p" && owned "$p" && runs "$p"; then d=$p; break; fi; done 2>/dev/null
else
  k=--temporary
  for p in /var/tmp /tmp "$HOME" /dev/shm; do
    d=$(mktemp -d "$p/deploy-XXXXXX") && runs "$d" && break; [ -z "$d" ] || rmdir "$d"; d=
  done 2>/dev/null
fi
[ -n "$d" ] || fail "user $(id -un) has no directory to run the agent from: {places} and the temporary directories are not writable, full, or mounted noexec"
f="$d/.{name}.$$"
gone() {{ rm -f "$f"; [ -z "$k" ] || rmdir "$d"; fail "$1"; }}
echo; echo {NEED}
e=$(head -c {size} 2>&1 > "$f") || gone "cannot write the agent to $d: $e"
[ "$(wc -c < "$f")" -eq {size} ] || gone "the agent did not arrive whole in $d (is the disk full?)"
if command -v sha256sum > /dev/null; then case "$(sha256sum < "$f")" in {sha256}*) ;; *) gone "the agent arrived damaged in $d";; esac; fi
chmod 755 "$f" && mv -f "$f" "$d/{name}" || gone "cannot put the agent into $d"
[ -n "$k" ] || find "$d" -name "agent-*" ! -name "{name}" -mtime +60 -exec rm -f {{}} + 2>/dev/null
stay
exec "$d/{name}" --child $k"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    /// What a command line does with the script on its standard input and a line behind it.
    fn run(words: &[&str], input: &str) -> String {
        let mut command = Command::new(words[0]);
        let mut child = command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }

    #[test]
    fn the_script_is_read_to_its_point_and_no_further() {
        let reader = reader();
        // As `sudo -i` gives it to the login shell.
        let escaped: String = reader
            .chars()
            .flat_map(|c| {
                let plain = c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$');
                (!plain).then_some('\\').into_iter().chain([c])
            })
            .collect();
        let login = format!("/bin/sh -c {escaped}");
        let script =
            "for w in a \"b  c\" 'd$e'; do\n  echo \"[$w]\"\ndone\nprintf '%s\\n' '\\n'; exec cat\n.\nwhat follows\n";
        let expected = format!("\n{READY}\n[a]\n[b  c]\n[d$e]\n\\n\nwhat follows\n");
        for words in
            [["/bin/sh", "-c", &reader], ["bash", "-c", &reader], ["/bin/sh", "-c", &login], ["bash", "-c", &login]]
        {
            assert_eq!(run(&words, script), expected, "{words:?}");
        }
        assert_eq!(run(&["/bin/sh", "-c", &reader], "echo half"), format!("\n{READY}\n"), "half a script is not run");
    }
}
