//! What is dangerous wherever it stands.

use crate::lint::finding::Findings;
use crate::lint::rules;
use crate::lint::walk::{Visit, truth};
use crate::source::{Node, parse_bool};
use regex_lite::Regex;
use std::sync::LazyLock;

/// What was downloaded, piped into an interpreter, or given to one by substitution.
#[allow(clippy::unwrap_used)] // written out, and tested
static PIPED: LazyLock<Regex> = LazyLock::new(|| {
    let shell = r"(?:sudo\s+(?:-\S+\s+)*)?(?:\S*/)?(?:ba|da|z|k)?sh\b|(?:sudo\s+)?(?:python[0-9.]*|perl|ruby)\s*(?:-\s*)?(?:$|[;&|\n])";
    Regex::new(&format!(
        r#"(?:curl|wget)\b[^|;&\n]*(?:\|[^|;&\n]+)*\|\s*(?:{shell})|(?:^|[\s;&|(])(?:{shell}|eval|source|\.)\s+(?:-\S+\s+)*["']?[<$]\(\s*(?:curl|wget)\b"#
    ))
    .unwrap()
});

/// Options that switch off who may answer.
#[allow(clippy::unwrap_used)] // written out, and tested
static UNVERIFIED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"\bcurl\b[^|;&\n]*\s(?:-[a-zA-Z]*k\b|--insecure\b)|--no-check-certificate\b|--allow-unauthenticated\b|--nogpgcheck\b|StrictHostKeyChecking[= ]no\b",
    )
    .unwrap()
});

const COMMANDS: [&str; 4] = ["command", "shell", "raw", "script"];

pub fn task(visit: &Visit<'_>, findings: &mut Findings) {
    let action = &visit.task.action;
    if COMMANDS.contains(&visit.short()) {
        for node in visit.texts() {
            let Some(text) = node.as_str() else { continue };
            // A line that goes on is one line.
            let text = text.replace("\\\n", " ");
            if PIPED.is_match(&text) {
                let message = "what is downloaded here is run as it comes";
                findings.add(&rules::PIPE_TO_SHELL, rules::PIPE_TO_SHELL.breach(message).at(&node.span));
            }
            insecure(&text, node, findings);
        }
    }
    for (key, value) in &action.args {
        let name = key.as_str().unwrap_or_default();
        let said = || value.as_bool().or_else(|| value.as_str().and_then(parse_bool));
        let off = matches!(name, "validate_certs" | "gpgcheck" | "repo_gpgcheck" | "sslverify" | "check_hostname");
        let on = matches!(name, "allow_unauthenticated" | "disable_gpg_check" | "insecure" | "trusted");
        if off && said() == Some(false) || on && said() == Some(true) {
            let message = format!("`{name}: {}` lets anyone answer", value.raw());
            findings.add(&rules::UNVERIFIED_PEER, rules::UNVERIFIED_PEER.breach(message).at(&value.span));
        }
        if (name == "mode" || name.ends_with("_mode")) && lets_everybody_write(value) {
            let message = format!("mode `{}` lets everybody write", value.raw());
            findings.add(&rules::WORLD_WRITABLE, rules::WORLD_WRITABLE.breach(message).at(&value.span));
        }
    }
    let ignored = visit.keyword(|keywords| keywords.ignore_errors.as_ref());
    if let Some(node) = ignored.filter(|node| !node.is_template() && truth(node))
        && let Some(what) = serious(visit)
    {
        let message = format!("a failure to {what} is ignored");
        let diag = rules::IGNORED_ERRORS.breach(message).at(&visit.task.action.span);
        findings.add(&rules::IGNORED_ERRORS, diag.label(&node.span, "here"));
    }
}

/// A variable of an inventory.
pub fn variable(name: &str, value: &Node, findings: &mut Findings) {
    if name.starts_with("ansible_")
        && let Some(text) = value.as_str()
    {
        insecure(text, value, findings);
    }
}

fn insecure(text: &str, node: &Node, findings: &mut Findings) {
    if let Some(found) = UNVERIFIED.find(text) {
        let words = found.as_str();
        let word = words.rsplit(char::is_whitespace).next().unwrap_or(words);
        let message = format!("`{word}` lets anyone answer");
        findings.add(&rules::UNVERIFIED_PEER, rules::UNVERIFIED_PEER.breach(message).at(&node.span));
    }
}

/// `0666`, `o+w`, `a=rwx`. A sticky folder (`1777`) is for everybody.
fn lets_everybody_write(value: &Node) -> bool {
    let text = value.as_str().unwrap_or(value.raw()).trim();
    if !text.is_empty() && text.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        let sticky = text.len() >= 4 && matches!(text.as_bytes().get(text.len() - 4), Some(b'1' | b'3' | b'5' | b'7'));
        let links = text.len() > 5;
        return matches!(text.bytes().last(), Some(b'2' | b'3' | b'6' | b'7')) && text.len() >= 3 && !sticky && !links;
    }
    text.split(',').any(|clause| {
        let Some(at) = clause.find(['+', '=']) else { return false };
        let (who, what) = clause.split_at(at);
        who.contains(['o', 'a']) && what.contains('w')
    })
}

/// What the task does that others rely on, if it does.
fn serious(visit: &Visit<'_>) -> Option<String> {
    let action = &visit.task.action;
    let state = action.arg("state").and_then(Node::as_str).unwrap_or_default();
    let named = || {
        let name = ["name", "pkg", "package", "path", "dest"].iter().find_map(|key| action.arg(key));
        name.and_then(Node::as_str).unwrap_or("it").to_owned()
    };
    match visit.short() {
        "service" | "systemd" | "systemd_service" | "sysvinit" if matches!(state, "stopped" | "restarted") => {
            let verb = if state == "stopped" { "stop" } else { "restart" };
            Some(format!("{verb} {}", named()))
        }
        "apt" | "dnf" | "yum" | "package" if matches!(state, "absent" | "removed" | "latest" | "purged") => {
            Some(format!("change the packages {} ({state})", named()))
        }
        "file" if state == "absent" => Some(format!("remove {}", named())),
        "mount" => Some("mount or unmount".to_owned()),
        "reboot" => Some("reboot".to_owned()),
        word if word.starts_with("mysql_") && !word.ends_with("_info") => Some("change the database".to_owned()),
        "galera_gate" | "galera_bootstrap" | "galera_join" | "galera_restart" | "galera_drain" => {
            Some("keep the cluster whole".to_owned())
        }
        "iptables" | "nftables" | "ufw" | "firewalld" | "firewall" => Some("set the firewall".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloads_into_a_shell_are_seen() {
        for text in [
            "curl -sSL https://x/y | sh",
            "wget -qO- https://x | sudo -E bash -",
            "curl x | tee y | /bin/bash",
            "bash <(curl -s x)",
            "sh -c \"$(curl -fsSL x)\"",
            "curl x | python3",
        ] {
            assert!(PIPED.is_match(text), "{text}");
        }
        for text in [
            "curl -o x https://y && sha256sum -c z",
            "curl x | grep shell",
            "echo sh | cat",
            "curl x || sh y",
            "curl x | python3 -m json.tool",
            "curl x | perl -pe 's/a/b/'",
            "git push \"$(curl x)\"",
        ] {
            assert!(!PIPED.is_match(text), "{text}");
        }
    }

    #[test]
    fn modes_that_let_everybody_write() {
        let mode = |text: &str| {
            let node = crate::source::load_yaml_str("m", text, &mut crate::source::Diags::new()).unwrap();
            lets_everybody_write(&node)
        };
        for text in ["0777", "'0666'", "777", "o+w", "u=rw,o=rw", "a+rwx"] {
            assert!(mode(text), "{text}");
        }
        for text in ["0755", "'1777'", "u+w", "g=rw", "0640", "preserve", "o-w", "o=r"] {
            assert!(!mode(text), "{text}");
        }
    }
}
