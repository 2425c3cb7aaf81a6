//! How a module of the user's own wants its arguments, as its file says it. The same marks as Ansible's.

/// How a program is told its arguments, and run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnStyle {
    /// An executable: the path of a JSON file is its argument.
    Binary,
    /// A script that has `WANT_JSON` in it: the path of a JSON file is its argument.
    WantJson,
    /// Any other script: the path of a file with `key=value` words is its argument.
    OldStyle,
    /// Python for Ansible's own library, which is not here.
    AnsiblePython,
    /// PowerShell, for hosts with Windows.
    PowerShell,
}

impl OwnStyle {
    /// What the contents of a file say.
    pub fn of(contents: &[u8]) -> OwnStyle {
        let has = |text: &str| contents.windows(text.len()).any(|window| window == text.as_bytes());
        if is_binary(contents) {
            OwnStyle::Binary
        } else if has("from ansible.module_utils.")
            || has("import ansible.module_utils")
            || has("from ansible.module_utils import")
            || has("#<<INCLUDE_ANSIBLE_MODULE_COMMON>>")
            || has("from ansible_collections.")
        {
            OwnStyle::AnsiblePython
        } else if has("#powershell")
            || has("#Requires -Module Ansible")
            || has("#AnsibleRequires")
            || has("#!powershell")
        {
            OwnStyle::PowerShell
        } else if has("WANT_JSON") {
            OwnStyle::WantJson
        } else {
            OwnStyle::OldStyle
        }
    }

    /// Whether it can know that it runs in a check: it looks at what a check is told by.
    pub fn reads_check_mode(contents: &[u8]) -> bool {
        let word = b"_ansible_check_mode";
        contents.windows(word.len()).any(|window| window == word)
    }
}

/// Whether the first kilobyte has bytes that no text has.
fn is_binary(contents: &[u8]) -> bool {
    let first = contents.get(..contents.len().min(1024)).unwrap_or_default();
    first.iter().any(|byte| !matches!(byte, 7 | 8 | 9 | 10 | 12 | 13 | 27 | 0x20..=0x7e | 0x80..=0xff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_say_how_they_want_their_arguments() {
        for (text, style) in [
            ("#!/bin/sh\n. $1\n", OwnStyle::OldStyle),
            ("#!/bin/sh\n# WANT_JSON\n", OwnStyle::WantJson),
            ("#!/usr/bin/python\nimport json # WANT_JSON ä\n", OwnStyle::WantJson),
            ("#!/usr/bin/python\nfrom ansible.module_utils.basic import AnsibleModule\n", OwnStyle::AnsiblePython),
            ("#!powershell\n", OwnStyle::PowerShell),
            ("\u{7f}ELF\u{0}\u{1}", OwnStyle::Binary),
        ] {
            assert_eq!(OwnStyle::of(text.as_bytes()), style, "{text}");
        }
    }
}
