//! `/etc/selinux/config`: what the kernel is told at the next start.

/// Where it is, unless a task says otherwise.
pub const FILE: &str = "/etc/selinux/config";

/// The value of a line `NAME=value`; the first one counts, as for Ansible.
pub fn value_of(text: &str, name: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.split('=').next().unwrap_or_default().trim().to_string())
}

/// The text with lines `NAME=value` that say something else. A line that there is not comes at the end.
pub fn with(text: &str, name: &str, value: &str) -> String {
    let own = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
    let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
    let mut found = false;
    for line in lines.iter_mut().filter(|line| own(line)) {
        *line = format!("{name}={value}");
        found = true;
    }
    if !found {
        lines.push(format!("{name}={value}"));
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

/// The policy that libselinux would load: its own reading of the file, in which the last line counts, small letters are
/// the same, and one without any means `targeted`.
pub fn loaded_policy(text: &str) -> String {
    let of = |line: &str| {
        let line = line.trim_start();
        let (name, value) = line.split_once('=')?;
        name.eq_ignore_ascii_case("SELINUXTYPE").then(|| value.trim_end().to_string())
    };
    text.lines().filter_map(of).next_back().unwrap_or_else(|| "targeted".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# SELINUX= one of three\nSELINUX=permissive \nSELINUXTYPE=default\n\nSETLOCALDEFS=0";

    #[test]
    fn values() {
        for (text, name, expected) in [
            (TEXT, "SELINUX", Some("permissive")),
            (TEXT, "SELINUXTYPE", Some("default")),
            (TEXT, "SELINUXTYP", None),
            (" SELINUX=x\n", "SELINUX", None),
            ("SELINUX=a=b\nSELINUX=c", "SELINUX", Some("a")),
        ] {
            assert_eq!(value_of(text, name).as_deref(), expected, "{text} {name}");
        }
        for (text, expected) in [
            (TEXT, "default"),
            ("", "targeted"),
            ("#SELINUXTYPE=x\n", "targeted"),
            ("SELINUXTYPE=a\n  selinuxtype=mls \n", "mls"),
        ] {
            assert_eq!(loaded_policy(text), expected, "{text}");
        }
    }

    #[test]
    fn lines_are_changed_or_added() {
        let enforcing = "# SELINUX= one of three\nSELINUX=enforcing\nSELINUXTYPE=default\n\nSETLOCALDEFS=0\n";
        for (text, name, value, expected) in [
            (TEXT, "SELINUX", "enforcing", enforcing),
            ("", "SELINUX", "disabled", "SELINUX=disabled\n"),
            ("a\r\nSELINUX=a\nSELINUX=b", "SELINUX", "c", "a\nSELINUX=c\nSELINUX=c\n"),
        ] {
            assert_eq!(with(text, name, value), expected);
        }
    }
}
