//! Which command lines can only read, by their words: what `--probes all` runs in a check without being told.
//!
//! Whatever is not known here for certain is not run: a variable, a pattern that might become an option, a redirection, a
//! program that is not in the list, or an option of it that writes or runs something.

use super::words;

/// Whether a program with these arguments can only read.
pub fn reads(argv: &[String]) -> bool {
    let Some((program, arguments)) = argv.split_first() else { return false };
    let name = match program.rsplit_once('/') {
        Some(("/bin" | "/usr/bin" | "/sbin" | "/usr/sbin", name)) => name,
        Some(_) => return false,
        None => program.as_str(),
    };
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if arguments.iter().any(|word| word.contains('$')) {
        return false;
    }
    let first = arguments.first().copied().unwrap_or_default();
    let options = || arguments.iter().filter(|word| word.len() > 1 && word.starts_with('-')).copied();
    // Short options of these letters alone, with numbers.
    let letters = |allowed: &str| {
        options()
            .all(|word| word.chars().skip(1).all(|c| c.is_ascii_digit() || ",.".contains(c) || allowed.contains(c)))
    };
    match name {
        "cat" | "head" | "ls" | "stat" | "wc" | "grep" | "egrep" | "fgrep" | "cut" | "tr" | "test" | "[" | "true"
        | "false" | "echo" | "printf" | "pwd" | "id" | "whoami" | "groups" | "getent" | "uname" | "uptime" | "df"
        | "du" | "lsblk" | "mountpoint" | "readlink" | "realpath" | "basename" | "dirname" | "md5sum" | "sha1sum"
        | "sha256sum" | "sha512sum" | "cksum" | "cmp" | "diff" | "which" | "nproc" | "arch" | "lscpu" | "lsmod"
        | "ps" | "pgrep" | "printenv" | "dpkg-query" => true,
        "tail" => letters("ncqv"),
        "sort" => letters("bdfghiknrtuV"),
        "free" => letters("bkmght"),
        "ss" => letters("46anlptuxrmoeiH"),
        "hostname" => arguments.iter().all(|word| ["-f", "-s", "-i", "-I", "-d", "-A", "--fqdn"].contains(word)),
        "date" => arguments.iter().all(|word| word.starts_with('+') || ["-u", "--utc", "-R", "-I"].contains(word)),
        "dpkg" => {
            let asks = [
                "-l",
                "-s",
                "-L",
                "-S",
                "--list",
                "--status",
                "--listfiles",
                "--search",
                "--get-selections",
                "--print-architecture",
                "--compare-versions",
            ];
            asks.contains(&first) && options().count() == 1
        }
        // -E and -D are macros, which run programs; -p takes addresses.
        "rpm" => first.starts_with("-q") && letters("qailcdfRVs"),
        "apt-cache" => {
            matches!(first, "policy" | "show" | "search" | "depends" | "rdepends" | "madison") && options().count() == 0
        }
        // An option before the verb may take the word behind it for its value: only those that do not.
        "systemctl" => {
            let plain =
                ["--no-pager", "-q", "--quiet", "-a", "--all", "--plain", "--no-legend", "-l", "--full", "--user"];
            let verb = arguments.iter().find(|word| !plain.contains(word)).copied().unwrap_or_default();
            matches!(
                verb,
                "is-active"
                    | "is-enabled"
                    | "is-failed"
                    | "is-system-running"
                    | "status"
                    | "show"
                    | "cat"
                    | "list-units"
                    | "list-unit-files"
                    | "list-timers"
                    | "list-sockets"
                    | "list-dependencies"
            )
        }
        "timedatectl" => arguments.is_empty() || matches!(first, "status" | "show"),
        "hostnamectl" => arguments.is_empty() || arguments == ["status"],
        "mount" => arguments.is_empty(),
        "sysctl" => letters("abenN") && !arguments.iter().any(|word| word.contains('=')),
        "ip" => {
            let mut words =
                arguments.iter().skip_while(|word| ["-4", "-6", "-s", "-d", "-o", "-j", "-br"].contains(word));
            matches!(words.next().copied(), Some("addr" | "address" | "a" | "link" | "route" | "r" | "rule" | "neigh"))
                && matches!(words.next().copied(), None | Some("show" | "list" | "ls" | "get"))
        }
        "openssl" => arguments == ["version"],
        "nginx" | "haproxy" | "nft" => arguments == ["-v"] || arguments == ["--version"],
        "mariadb" | "mysql" | "mariadbd" | "python3" => arguments == ["-V"] || arguments == ["--version"],
        "git" | "perl" | "bash" => arguments == ["--version"],
        _ => false,
    }
}

/// Whether a shell's text is such programs alone, with `|`, `&&`, `||`, `;` or line ends between them.
pub fn shell_reads(text: &str) -> bool {
    let mut quiet = format!("{text} ");
    for harmless in ["2>/dev/null", "2> /dev/null", "1>/dev/null", ">/dev/null", "> /dev/null", "2>&1"] {
        for behind in [" ", ";", "|", "\n"] {
            quiet = quiet.replace(&format!(" {harmless}{behind}"), &format!(" {behind}"));
        }
    }
    let Some(parts) = commands(&quiet) else { return false };
    let mut any = false;
    for part in parts.iter().filter(|part| !part.trim().is_empty()) {
        any = true;
        match words::split(part) {
            Ok(argv) if reads(&argv) => {}
            _ => return false,
        }
    }
    any
}

/// The simple commands of a text; nothing where there is more to it than that.
fn commands(text: &str) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let mut quote = None;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let part = parts.last_mut()?;
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => {
                quote = None;
                part.push(c);
            }
            (Some('\''), _) => part.push(c),
            (_, '$' | '`' | '\\') => return None,
            (Some(_), _) => part.push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                part.push(c);
            }
            (None, '>' | '<' | '(' | ')' | '{' | '}' | '#' | '*' | '?' | '~') => return None,
            (None, '&') => {
                characters.next_if_eq(&'&')?;
                parts.push(String::new());
            }
            (None, '|') => {
                if characters.peek() == Some(&'&') {
                    return None;
                }
                characters.next_if_eq(&'|');
                parts.push(String::new());
            }
            (None, ';' | '\n') => parts.push(String::new()),
            (None, c) => part.push(c),
        }
    }
    quote.is_none().then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_reads_is_told_from_the_rest() {
        for (line, expected) in [
            ("cat /etc/os-release", true),
            ("/usr/bin/stat -c %a /x", true),
            ("./cat /x", false),
            ("systemctl is-active mariadb", true),
            ("systemctl --no-pager status mariadb", true),
            ("systemctl restart mariadb", false),
            ("systemctl -H show restart mariadb", false),
            ("systemctl -p show restart mariadb", false),
            ("rpm -q --pipe reboot bash", false),
            ("ss -K dst 10.0.0.1", false),
            ("ip -b /tmp/x addr", false),
            ("sysctl -f /tmp/x", false),
            ("apt-cache -o x=y show bash", false),
            ("date +%s", true),
            ("date -s 12:00", false),
            ("hostname", true),
            ("hostname db1", false),
            ("sysctl net.ipv4.ip_forward", true),
            ("sysctl net.ipv4.ip_forward=1", false),
            ("sysctl -w x", false),
            ("ip addr show", true),
            ("ip -4 route", true),
            ("/usr/sbin/ip -br addr", true),
            ("ip link set eth0 down", false),
            ("ip netns exec x reboot", false),
            ("sort -o /etc/passwd /x", false),
            ("sort --outp=/etc/passwd /x", false),
            ("sort -u /x", true),
            ("tail -n 3 /x", true),
            ("tail -f /x", false),
            ("dpkg -s bash", true),
            ("dpkg -i x.deb", false),
            ("rpm -qa", true),
            ("rpm -q -E %(reboot) bash", false),
            ("rpm -qp http://example.com/x.rpm", false),
            ("rpm -e bash", false),
            ("apt-cache policy bash", true),
            ("echo $HOME", false),
            ("mysql --version", true),
            ("mariadbd -v", false),
            ("mysql -e 'drop database x'", false),
            ("find / -delete", false),
            ("touch /x", false),
        ] {
            assert_eq!(reads(&words::split(line).unwrap()), expected, "{line}");
        }
    }

    #[test]
    fn a_shell_reads_when_all_its_commands_do() {
        for (text, expected) in [
            ("cat /x | grep -c 'a;b|c > d'", true),
            ("test -e /x && cat /x || true", true),
            ("ls /x 2>/dev/null | wc -l", true),
            ("cat /x 2>&1", true),
            ("cat /x > /y", false),
            ("cat /x>/dev/nullx", false),
            ("cat /x | tee /y", false),
            ("echo $(reboot)", false),
            ("echo \"$(reboot)\"", false),
            ("echo `reboot`", false),
            ("cat /x & reboot", false),
            ("cat /x &", false),
            ("(cat /x)", false),
            ("ls\nreboot", false),
            ("X=1 cat /x", false),
            ("cat 'x", false),
            ("ls /x/*", false),
            ("", false),
        ] {
            assert_eq!(shell_reads(text), expected, "{text}");
        }
    }
}
