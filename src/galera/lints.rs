//! What is wrong with a node's configuration before it is used.

use super::options::{DANGEROUS, ProviderOptions};
use serde::Serialize;
use std::collections::BTreeMap;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It will not work, or loses data.
    Error,
    /// It works, and hurts later.
    Warning,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// The variable or option.
    pub name: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// The server's part (`[mysqld]`, `[mariadb]`, `[galera]` …) of an option file, last one wins.
#[derive(Clone, Debug, Default)]
pub struct NodeConfig(pub BTreeMap<String, String>);

impl NodeConfig {
    /// Reads an option file's text.
    pub fn parse(text: &str) -> NodeConfig {
        let mut variables = BTreeMap::new();
        let mut ours = false;
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with(['#', ';', '!']) {
                continue;
            }
            if let Some(section) = line.strip_prefix('[') {
                let section = section.split(']').next().unwrap_or("");
                ours = matches!(section, "mysqld" | "mariadbd" | "server" | "galera")
                    || section.starts_with("mariadb-") && section.ends_with(|c: char| c.is_ascii_digit())
                    || section == "mariadb";
            } else if ours {
                let (key, value) = line.split_once('=').unwrap_or((line, ""));
                let key = key.trim().replace('-', "_").to_ascii_lowercase();
                let key = key.strip_prefix("loose_").unwrap_or(&key).to_string();
                let value = value.trim();
                let bare = ['"', '\''].iter().find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q)).unwrap_or(value);
                variables.insert(key, bare.to_string());
            }
        }
        NodeConfig(variables)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// Looks at a node's configuration. `members` are the addresses of all nodes, where they are known.
pub fn lint(config: &NodeConfig, members: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |severity, name: &str, message: String| {
        findings.push(Finding { severity, name: name.into(), message });
    };
    let error = Severity::Error;
    let warning = Severity::Warning;
    let address = config.get("wsrep_cluster_address").unwrap_or("");
    match address.strip_prefix("gcomm://").map(|list| list.split('?').next().unwrap_or("")) {
        Some("") => add(
            error,
            "wsrep_cluster_address",
            "it names no member, so each start of this node makes a new cluster: list all members; the first start is \
             galera_new_cluster's work"
                .into(),
        ),
        Some(list) => {
            let named: Vec<&str> = list.split(',').map(|item| host_of(item.trim())).collect();
            for member in members.iter().filter(|member| !named.contains(&member.as_str())) {
                add(warning, "wsrep_cluster_address", format!("the member {member} is not in it"));
            }
        }
        None => add(error, "wsrep_cluster_address", "it is missing, or does not begin with gcomm://".into()),
    }
    for (name, wanted, why) in [
        ("binlog_format", "ROW", "Galera replicates rows only"),
        ("default_storage_engine", "InnoDB", "Galera replicates InnoDB only"),
        ("innodb_autoinc_lock_mode", "2", "other modes lock up under replication"),
    ] {
        match config.get(name) {
            Some(value) if !value.eq_ignore_ascii_case(wanted) => {
                add(error, name, format!("it is {value}, but must be {wanted}: {why}"));
            }
            _ => {}
        }
    }
    if config.get("bind_address").is_some_and(|a| a == "localhost" || a == "::1" || a.starts_with("127.")) {
        add(error, "bind_address", "the server listens on the loopback address only".into());
    }
    if config.get("innodb_flush_log_at_trx_commit").is_some_and(|value| value == "0") {
        add(
            warning,
            "innodb_flush_log_at_trx_commit",
            "with 0 the nodes' positions differ after a crash of all of them: use 1 (or 2)".into(),
        );
    }
    for name in ["wsrep_node_name", "wsrep_node_address"] {
        if config.get(name).is_none_or(str::is_empty) {
            add(warning, name, "it is not set, so the node guesses it".into());
        }
    }
    match config.get("wsrep_sst_method") {
        Some("mysqldump") => {
            add(error, "wsrep_sst_method", "mysqldump blocks the donor and knows no TLS: use mariabackup".into())
        }
        Some(method) if method.starts_with("xtrabackup") => {
            add(error, "wsrep_sst_method", format!("MariaDB does not support {method}: use mariabackup"));
        }
        _ => {}
    }
    if config.get("wsrep_sst_auth").is_some_and(|auth| auth.starts_with("root:")) {
        add(error, "wsrep_sst_auth", "state transfers as root: use an account with the rights for backups".into());
    }
    match ProviderOptions::parse(config.get("wsrep_provider_options").unwrap_or("")) {
        Err(why) => add(error, "wsrep_provider_options", why),
        Ok(options) => {
            for (severity, name, message) in provider(&options) {
                add(severity, name, message);
            }
        }
    }
    findings
}

fn provider(options: &ProviderOptions) -> Vec<(Severity, &'static str, String)> {
    let mut found = Vec::new();
    for name in DANGEROUS {
        if options.get(name).is_some() {
            found.push((Severity::Error, name, "it lets two halves of a cluster go on by themselves".to_string()));
        }
    }
    let has = |name| options.get(name).is_some();
    if has("socket.ssl_cert") && !has("socket.ssl_ca") {
        let why = "without it a node trusts its own certificate only".to_string();
        found.push((Severity::Error, "socket.ssl_ca", why));
    }
    if has("socket.ssl_cert") != has("socket.ssl_key") {
        found.push((Severity::Error, "socket.ssl_key", "certificate and key are needed together".into()));
    }
    if options
        .get("socket.dynamic")
        .is_some_and(|v| matches!(v.to_ascii_lowercase().as_str(), "yes" | "true" | "1" | "on"))
    {
        let why = "plaintext peers are let in: use it only while TLS is being introduced".to_string();
        found.push((Severity::Warning, "socket.dynamic", why));
    }
    if !has("gcache.size") {
        let why = "not set: with the default 128M a node that is away for long needs a full state transfer".to_string();
        found.push((Severity::Warning, "gcache.size", why));
    }
    // The defaults, in milliseconds.
    let period = |name: &str, default: u64| options.get(name).map_or(Some(default), period_ms);
    let keepalive = period("evs.keepalive_period", 1000);
    let suspect = period("evs.suspect_timeout", 5000);
    let inactive = period("evs.inactive_timeout", 15_000);
    let install = period("evs.install_timeout", 7500);
    for (name, value) in [
        ("evs.keepalive_period", keepalive),
        ("evs.suspect_timeout", suspect),
        ("evs.inactive_timeout", inactive),
        ("evs.install_timeout", install),
    ] {
        if value.is_none() {
            found.push((Severity::Error, name, "no period: write for example PT30S".to_string()));
        }
    }
    if let (Some(keepalive), Some(suspect), Some(inactive)) = (keepalive, suspect, inactive) {
        if keepalive >= suspect {
            let why = "it must be longer than evs.keepalive_period, else members that are well are suspected";
            found.push((Severity::Error, "evs.suspect_timeout", why.into()));
        }
        if suspect >= inactive {
            let why = "it must be longer than evs.suspect_timeout";
            found.push((Severity::Error, "evs.inactive_timeout", why.into()));
        }
        if install.is_some_and(|install| install > inactive) {
            let why = "it must not be longer than evs.inactive_timeout";
            found.push((Severity::Error, "evs.install_timeout", why.into()));
        }
    }
    found
}

/// An ISO 8601 period (`PT1M30.5S`) in milliseconds.
pub fn period_ms(text: &str) -> Option<u64> {
    let mut rest = text.trim().strip_prefix("PT").or_else(|| text.trim().strip_prefix("pt"))?;
    let mut total = 0.0;
    let mut any = false;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let number: f64 = rest.get(..end)?.parse().ok()?;
        let unit = rest.get(end..end + 1)?;
        total += number
            * match unit {
                "H" | "h" => 3600.0,
                "M" | "m" => 60.0,
                "S" | "s" => 1.0,
                _ => return None,
            };
        any = true;
        rest = rest.get(end + 1..)?;
    }
    any.then_some((total * 1000.0) as u64)
}

/// The host of `10.0.0.1:4567`, `[fd00::1]:4567` or a name.
fn host_of(item: &str) -> &str {
    if let Some(inner) = item.strip_prefix('[') {
        return inner.split(']').next().unwrap_or(inner);
    }
    match item.matches(':').count() {
        1 => item.split(':').next().unwrap_or(item),
        _ => item,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[mysqld]\nbinlog_format=ROW\ninnodb-autoinc-lock-mode = 2\nbind-address=::\n[galera]\n\
        wsrep_cluster_address=\"gcomm://10.0.0.1,10.0.0.2:4567,[fd00::3]\"\nwsrep_node_name=a\nwsrep_node_address=10.0.0.1\n\
        wsrep_sst_method=mariabackup\nwsrep_sst_auth=mysql:\n\
        wsrep_provider_options=\"gcache.size=1G;socket.ssl_ca=/a;socket.ssl_cert=/b;socket.ssl_key=/c\"\n[sst]\nx=1\n";

    fn findings(text: &str) -> Vec<(String, Severity)> {
        let members = ["10.0.0.1", "10.0.0.2", "fd00::3"].map(String::from);
        lint(&NodeConfig::parse(text), &members).into_iter().map(|f| (f.name, f.severity)).collect()
    }

    #[test]
    fn a_good_file_has_no_findings() {
        assert_eq!(findings(GOOD), []);
    }

    #[test]
    fn each_mistake_is_found() {
        for (from, to, name, severity) in [
            ("10.0.0.1,10.0.0.2:4567,[fd00::3]", "", "wsrep_cluster_address", Severity::Error),
            ("10.0.0.2:4567,", "", "wsrep_cluster_address", Severity::Warning),
            ("gcomm://", "tcp://", "wsrep_cluster_address", Severity::Error),
            ("=ROW", "=STATEMENT", "binlog_format", Severity::Error),
            ("mode = 2", "mode = 1", "innodb_autoinc_lock_mode", Severity::Error),
            ("bind-address=::", "bind-address=127.0.0.1", "bind_address", Severity::Error),
            ("wsrep_node_name=a\n", "", "wsrep_node_name", Severity::Warning),
            ("=mariabackup", "=mysqldump", "wsrep_sst_method", Severity::Error),
            ("=mariabackup", "=xtrabackup-v2", "wsrep_sst_method", Severity::Error),
            ("auth=mysql:", "auth=root:x", "wsrep_sst_auth", Severity::Error),
            ("socket.ssl_ca=/a;", "", "socket.ssl_ca", Severity::Error),
            (";socket.ssl_key=/c", "", "socket.ssl_key", Severity::Error),
            ("gcache.size=1G;", "", "gcache.size", Severity::Warning),
            ("gcache.size=1G", "gcache.size=1G;pc.ignore_sb=1", "pc.ignore_sb", Severity::Error),
            ("gcache.size=1G", "gcache.size=1G;socket.dynamic=YES", "socket.dynamic", Severity::Warning),
            ("gcache.size=1G", "gcache.size=1G;evs.suspect_timeout=PT30S", "evs.inactive_timeout", Severity::Error),
            ("gcache.size=1G", "gcache.size=1G;evs.keepalive_period=PT6S", "evs.suspect_timeout", Severity::Error),
            ("gcache.size=1G", "gcache.size=1G;evs.install_timeout=PT1M", "evs.install_timeout", Severity::Error),
            ("gcache.size=1G", "gcache.size=1G;evs.suspect_timeout=30", "evs.suspect_timeout", Severity::Error),
            ("gcache.size=1G", "gcache.size", "wsrep_provider_options", Severity::Error),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            assert_eq!(findings(&text), [(name.to_string(), severity)], "{from} → {to}");
        }
    }

    #[test]
    fn periods() {
        assert_eq!(period_ms("PT1M30.5S"), Some(90_500));
        assert_eq!(period_ms("PT"), None);
        assert_eq!(period_ms("30"), None);
    }
}
