//! The command-line arguments of `ssh` that inventories carry in `ansible_ssh_common_args` and its sisters.

use std::path::PathBuf;

/// What a list of arguments means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SshArgs {
    /// `-o` options and the flags that are short for one, keys in lower case, in order.
    pub options: Vec<(String, String)>,
    /// The file after `-F`.
    pub config_file: Option<PathBuf>,
    /// What has no effect here and may surprise: one sentence each.
    pub warnings: Vec<String>,
}

/// What an `ssh_config` keyword is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keyword {
    /// It is acted on.
    Used,
    /// It changes nothing about what this program does, so nobody needs to hear of it.
    Harmless,
    /// OpenSSH knows it and we do not do it.
    Unsupported,
    /// Nobody knows it.
    Unknown,
}

const USED: &[&str] = &[
    "addressfamily",
    "batchmode",
    "certificatefile",
    "connecttimeout",
    "connectionattempts",
    "globalknownhostsfile",
    "hashknownhosts",
    "hostkeyalias",
    "hostname",
    "identitiesonly",
    "identityagent",
    "identityfile",
    "kbdinteractiveauthentication",
    "passwordauthentication",
    "pkcs11provider",
    "port",
    "preferredauthentications",
    "proxycommand",
    "proxyjump",
    "pubkeyauthentication",
    "revokedhostkeys",
    "serveralivecountmax",
    "serveraliveinterval",
    "stricthostkeychecking",
    "user",
    "userknownhostsfile",
];

const HARMLESS: &[&str] = &[
    "addkeystoagent",
    "canonicaldomains",
    "canonicalizefallbacklocal",
    "canonicalizehostname",
    "canonicalizemaxdots",
    "canonicalizepermittedcnames",
    "channeltimeout",
    "checkhostip",
    "clearallforwardings",
    "compression",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "enableescapecommandline",
    "enablesshkeysign",
    "escapechar",
    "exitonforwardfailure",
    "fingerprinthash",
    "forkafterauthentication",
    "forwardx11",
    "forwardx11timeout",
    "forwardx11trusted",
    "gatewayports",
    "gssapiauthentication",
    "gssapidelegatecredentials",
    "gssapikexalgorithms",
    "gssapikeyexchange",
    "gssapirenewalforcesrekey",
    "gssapitrustdns",
    "hostbasedacceptedalgorithms",
    "hostbasedauthentication",
    "ignoreunknown",
    "ipqos",
    "loglevel",
    "logverbose",
    "nohostauthenticationforlocalhost",
    "numberofpasswordprompts",
    "obscurekeystroketiming",
    "permitlocalcommand",
    "permitremoteopen",
    "proxyusefdpass",
    "rekeylimit",
    "requesttty",
    "requiredrsasize",
    "sendenv",
    "sessiontype",
    "stdinnull",
    "streamlocalbindmask",
    "streamlocalbindunlink",
    "syslogfacility",
    "tag",
    "tcpkeepalive",
    "tunnel",
    "tunneldevice",
    "updatehostkeys",
    "verifyhostkeydns",
    "versionaddendum",
    "visualhostkey",
    "xauthlocation",
];

const UNSUPPORTED: &[&str] = &[
    "bindaddress",
    "bindinterface",
    "casignaturealgorithms",
    "ciphers",
    "dynamicforward",
    "forwardagent",
    "hostkeyalgorithms",
    "kexalgorithms",
    "knownhostscommand",
    "localcommand",
    "localforward",
    "macs",
    "pubkeyacceptedalgorithms",
    "remotecommand",
    "remoteforward",
    "securitykeyprovider",
    "setenv",
];

/// The keyword in lower case under its present name.
pub fn canonical(keyword: &str) -> String {
    let lower = keyword.to_ascii_lowercase();
    match lower.as_str() {
        "challengeresponseauthentication" | "skeyauthentication" | "tisauthentication" => {
            "kbdinteractiveauthentication".to_string()
        }
        "dsaauthentication" => "pubkeyauthentication".to_string(),
        "hostbasedkeytypes" => "hostbasedacceptedalgorithms".to_string(),
        "identityfile2" => "identityfile".to_string(),
        "pubkeyacceptedkeytypes" => "pubkeyacceptedalgorithms".to_string(),
        "smartcarddevice" => "pkcs11provider".to_string(),
        "globalknownhostsfile2" => "globalknownhostsfile".to_string(),
        "userknownhostsfile2" => "userknownhostsfile".to_string(),
        _ => lower,
    }
}

/// What a canonical keyword is to us.
pub fn classify(keyword: &str) -> Keyword {
    if USED.contains(&keyword) {
        Keyword::Used
    } else if HARMLESS.contains(&keyword) {
        Keyword::Harmless
    } else if UNSUPPORTED.contains(&keyword) {
        Keyword::Unsupported
    } else {
        Keyword::Unknown
    }
}

impl SshArgs {
    /// Reads `text`, which came from `origin` (a variable or an option, for messages).
    pub fn parse(text: &str, origin: &str) -> Result<SshArgs, String> {
        let mut args = SshArgs::default();
        let words = split(text).map_err(|e| format!("{origin}: {e} in {text:?}"))?;
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let Some(flags) = word.strip_prefix('-').filter(|f| !f.is_empty()) else {
                return Err(format!("{origin}: {word:?} is no option of ssh"));
            };
            let mut rest = flags;
            while let Some(flag) = rest.chars().next() {
                rest = rest.get(flag.len_utf8()..).unwrap_or_default();
                if !"bceilmopBDEFIJLOPQRSWw".contains(flag) {
                    args.plain_flag(flag, origin)?;
                    continue;
                }
                let value = if rest.is_empty() {
                    words.next().ok_or_else(|| format!("{origin}: -{flag} needs a value"))?
                } else {
                    rest.to_string()
                };
                args.valued_flag(flag, value, origin)?;
                break;
            }
        }
        Ok(args)
    }

    fn plain_flag(&mut self, flag: char, origin: &str) -> Result<(), String> {
        match flag {
            '4' => self.options.push(("addressfamily".to_string(), "inet".to_string())),
            '6' => self.options.push(("addressfamily".to_string(), "inet6".to_string())),
            'A' => self.warn(origin, "-A (agent forwarding)"),
            'C' | 'K' | 'M' | 'N' | 'T' | 'X' | 'Y' | 'a' | 'f' | 'g' | 'k' | 'n' | 'q' | 's' | 't' | 'v' | 'x'
            | 'y' | '1' | '2' => {}
            other => return Err(format!("{origin}: ssh has no option -{other}")),
        }
        Ok(())
    }

    fn valued_flag(&mut self, flag: char, value: String, origin: &str) -> Result<(), String> {
        let short_for = match flag {
            'i' => "identityfile",
            'l' => "user",
            'p' => "port",
            'J' => "proxyjump",
            'I' => "pkcs11provider",
            'F' => {
                self.config_file = Some(PathBuf::from(value));
                return Ok(());
            }
            'o' => return self.option(&value, origin),
            'S' | 'E' | 'e' | 'O' | 'P' | 'Q' | 'B' => return Ok(()),
            other => {
                self.warn(origin, &format!("-{other}"));
                return Ok(());
            }
        };
        self.options.push((short_for.to_string(), value));
        Ok(())
    }

    fn option(&mut self, text: &str, origin: &str) -> Result<(), String> {
        let text = text.trim();
        let end = text.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(text.len());
        let (keyword, rest) = text.split_at_checked(end).unwrap_or((text, ""));
        let rest = rest.trim_start();
        let value = rest.strip_prefix('=').unwrap_or(rest).trim();
        if value.is_empty() {
            return Err(format!("{origin}: -o {text} has no value"));
        }
        let keyword = canonical(keyword);
        match classify(&keyword) {
            Keyword::Used => self.options.push((keyword, value.to_string())),
            Keyword::Harmless => {}
            Keyword::Unsupported if value.eq_ignore_ascii_case("no") || value.eq_ignore_ascii_case("none") => {}
            Keyword::Unsupported => self.warn(origin, &format!("-o {text}")),
            Keyword::Unknown => {
                self.warnings
                    .push(format!("{origin}: -o {text} is no option of ssh that is known here; it has no effect"));
            }
        }
        Ok(())
    }

    fn warn(&mut self, origin: &str, what: &str) {
        self.warnings.push(format!("{origin}: {what} is not supported and has no effect"));
    }
}

/// Splits a line into words as a POSIX shell does, without expansions: `'…'`, `"…"`, `\`.
pub fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err("a ' is not closed".to_string()),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => match chars.next() {
                            Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                            Some(c) => word.extend(['\\', c]),
                            None => return Err("a \" is not closed".to_string()),
                        },
                        Some(c) => word.push(c),
                        None => return Err("a \" is not closed".to_string()),
                    }
                }
            }
            '\\' => match chars.next() {
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err("a \\ stands at the end".to_string()),
            },
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests;
