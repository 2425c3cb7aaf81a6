//! What has to happen for a changed setting to take effect, and what follows for the node: a restart, a reload, nothing.

use super::options::{self, ProviderOptions};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// How a new value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It is read when it is needed: nothing has to be done.
    None,
    /// The running server takes it (`SET GLOBAL`).
    Dynamic,
    /// The server reads it when it starts.
    Restart,
    /// Not node by node at all.
    Never,
}

/// A variable of which the server's own word (`READ_ONLY` in `information_schema.SYSTEM_VARIABLES`) is not the whole truth,
/// or that our template writes.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Variable.
    pub name: &'static str,
    /// How it takes effect.
    pub effect: Effect,
    /// Why, and how it is known.
    pub why: &'static str,
}

const fn setting(name: &'static str, effect: Effect, why: &'static str) -> Setting {
    Setting { name, effect, why }
}

const READ_ONLY: &str = "READ_ONLY in SYSTEM_VARIABLES of 11.8.6";
const WRITABLE: &str = "not READ_ONLY in SYSTEM_VARIABLES of 11.8.6";

/// The table, for MariaDB 10.11 to 11.8. What is not in it goes by the server's own word.
pub const SETTINGS: [Setting; 30] = [
    setting("bind_address", Effect::Restart, READ_ONLY),
    setting("max_connections", Effect::Dynamic, WRITABLE),
    setting(
        "binlog_format",
        Effect::Restart,
        "sessions that are open keep theirs (MariaDB: Replication and Binary Log Variables)",
    ),
    setting("default_storage_engine", Effect::Dynamic, WRITABLE),
    setting("innodb_autoinc_lock_mode", Effect::Restart, READ_ONLY),
    setting("innodb_buffer_pool_size", Effect::Dynamic, WRITABLE),
    setting("innodb_flush_log_at_trx_commit", Effect::Dynamic, WRITABLE),
    setting("require_secure_transport", Effect::Dynamic, WRITABLE),
    setting("tls_version", Effect::Restart, READ_ONLY),
    setting(
        "ssl_ca",
        Effect::Restart,
        "another path; new contents of the same file need FLUSH LOCAL SSL only (10.4.19)",
    ),
    setting(
        "ssl_cert",
        Effect::Restart,
        "another path; new contents of the same file need FLUSH LOCAL SSL only (10.4.19)",
    ),
    setting(
        "ssl_key",
        Effect::Restart,
        "another path; new contents of the same file need FLUSH LOCAL SSL only (10.4.19)",
    ),
    setting("wsrep_on", Effect::Restart, "turning it on at run time does not join anything"),
    setting("wsrep_provider", Effect::Restart, READ_ONLY),
    setting(
        "wsrep_cluster_name",
        Effect::Never,
        "nodes of another name are refused: it changes for all nodes at once, with the cluster down",
    ),
    setting(
        "wsrep_cluster_address",
        Effect::None,
        "only read when a node looks for its cluster; setting it at run time makes the node leave and join again",
    ),
    setting("wsrep_node_name", Effect::Restart, "told to the others when the node joins"),
    setting("wsrep_node_address", Effect::Restart, "told to the others when the node joins"),
    setting("wsrep_slave_threads", Effect::Dynamic, WRITABLE),
    setting("wsrep_provider_options", Effect::Restart, "option by option: see the provider's"),
    setting("wsrep_sst_method", Effect::Dynamic, "read when a transfer begins"),
    setting("wsrep_sst_receive_address", Effect::Dynamic, "read when a transfer begins"),
    setting("wsrep_sst_donor", Effect::Dynamic, "read when a transfer begins"),
    setting("datadir", Effect::Restart, READ_ONLY),
    setting("log_error", Effect::Restart, READ_ONLY),
    setting("log_bin", Effect::Restart, READ_ONLY),
    setting("port", Effect::Restart, READ_ONLY),
    setting("max_allowed_packet", Effect::Dynamic, "for new connections"),
    setting("slow_query_log", Effect::Dynamic, WRITABLE),
    setting("long_query_time", Effect::Dynamic, "for new connections"),
];

/// How a new value of a server variable takes effect. `read_only` is the server's own word.
pub fn effect(name: &str, read_only: bool) -> Effect {
    match SETTINGS.iter().find(|known| known.name == name) {
        Some(known) => known.effect,
        None if read_only => Effect::Restart,
        None => Effect::Dynamic,
    }
}

/// A variable of the running server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// Its value.
    pub value: String,
    /// `SET GLOBAL` is refused.
    pub read_only: bool,
    /// Its value came from an option file when the server started.
    pub from_file: bool,
}

/// What the option files say now.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Every variable with the value a start would give it.
    pub values: &'a BTreeMap<String, String>,
    /// Those that a file names.
    pub named: &'a BTreeSet<String>,
    /// Those that stand there as they stood when the server was started: whatever the server has made of them since
    /// (it rounds, and limits by what the system allows) is no change.
    pub unchanged: &'a BTreeSet<String>,
}

/// One setting that is not in force yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pending {
    /// Variable, or option of the provider.
    pub name: String,
    /// What is in force.
    pub from: String,
    /// What the files say.
    pub to: String,
    /// What has to be done for it.
    pub effect: Effect,
    /// An option of the provider, not a variable of the server.
    pub provider: bool,
}

impl std::fmt::Display for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |text: &str| if text.is_empty() { "nothing".to_string() } else { text.to_string() };
        write!(f, "{}: {} → {}", self.name, shown(&self.from), shown(&self.to))
    }
}

/// What of the option files is not in force in the running server.
pub fn pending(running: &BTreeMap<String, Running>, wanted: &Wanted<'_>) -> Vec<Pending> {
    // Masked, or told apart option by option.
    const ELSEWHERE: [&str; 2] = ["wsrep_sst_auth", "wsrep_provider_options"];
    let mut found = Vec::new();
    for (name, now) in running {
        let named = wanted.named.contains(name);
        if !named && !now.from_file || ELSEWHERE.contains(&name.as_str()) || wanted.unchanged.contains(name) {
            continue;
        }
        let Some(value) = wanted.values.get(name) else { continue };
        if !same_value(&now.value, value) {
            found.push(Pending {
                name: name.clone(),
                from: now.value.clone(),
                to: value.clone(),
                effect: effect(name, now.read_only),
                provider: false,
            });
        }
    }
    found
}

/// The same for the provider's options. `running` is its full list, `wanted` the string of the option files, `before` the
/// string it was started with where that is known: what has gone from it falls back to its default. `live` says which
/// options the running provider takes, where the server knows.
pub fn pending_options(
    running: &ProviderOptions,
    wanted: &ProviderOptions,
    before: Option<&ProviderOptions>,
    live: &dyn Fn(&str) -> Option<bool>,
) -> Vec<Pending> {
    let effect = |name: &str| match live(name).unwrap_or_else(|| options::is_dynamic(name)) {
        true => Effect::Dynamic,
        false => Effect::Restart,
    };
    let mut found: Vec<Pending> = running
        .changes_to(wanted)
        .into_iter()
        // Read when a transfer begins, or written only.
        .filter(|change| change.name != "socket.ssl_reload" && change.name != "pc.bootstrap")
        .map(|change| Pending {
            effect: effect(&change.name),
            name: change.name,
            from: change.from.unwrap_or_default(),
            to: change.to.unwrap_or_default(),
            provider: true,
        })
        .collect();
    for name in before.into_iter().flat_map(|before| before.0.keys()).filter(|name| wanted.get(name).is_none()) {
        found.push(Pending {
            name: name.clone(),
            from: running.get(name).unwrap_or_default().to_string(),
            to: "its default".into(),
            // What the default is, only a start tells.
            effect: Effect::Restart,
            provider: true,
        });
    }
    found
}

/// Whether two values are one, as a server prints them here and there.
pub fn same_value(a: &str, b: &str) -> bool {
    let plain = |text: &str| text.trim().trim_end_matches('/').to_string();
    if options::same(a, b) || plain(a).eq_ignore_ascii_case(&plain(b)) {
        return true;
    }
    if let (Ok(a), Ok(b)) = (a.trim().parse::<f64>(), b.trim().parse::<f64>()) {
        return a == b;
    }
    let set = |text: &str| text.split(',').map(|part| part.trim().to_ascii_lowercase()).collect::<BTreeSet<_>>();
    a.contains(',') && set(a) == set(b)
}

/// What is to be done with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Everything is in force.
    Nothing,
    /// The running server takes it all.
    Reload,
    /// The server is stopped and started.
    Restart,
    /// The server does not run.
    Start,
}

impl Action {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Action::Nothing => "nothing",
            Action::Reload => "reload",
            Action::Restart => "restart",
            Action::Start => "start",
        }
    }
}

/// What else there is to know for the choice.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// The server runs.
    pub running: bool,
    /// It is to be restarted whatever is in force.
    pub force: bool,
    /// Programs or libraries that it runs with and that were replaced since (an upgrade), in words.
    pub replaced: Vec<String>,
    /// Certificates whose files were replaced since it read them, in words.
    pub certificates: Vec<String>,
}

/// Chooses, and says why. An error is a change that cannot be made node by node.
pub fn choose(pending: &[Pending], around: &Circumstances) -> Result<(Action, Vec<String>), String> {
    if let Some(never) = pending.iter().find(|one| one.effect == Effect::Never) {
        return Err(format!(
            "{never}: this cannot be changed node by node ({})",
            SETTINGS.iter().find(|known| known.name == never.name).map_or("", |known| known.why)
        ));
    }
    if !around.running {
        return Ok((Action::Start, vec!["the server does not run".into()]));
    }
    let of = |effect: Effect| pending.iter().filter(move |one| one.effect == effect).map(ToString::to_string);
    let mut restart: Vec<String> = around.replaced.to_vec();
    restart.extend(of(Effect::Restart));
    let mut reload: Vec<String> = around.certificates.to_vec();
    reload.extend(of(Effect::Dynamic));
    if around.force && restart.is_empty() {
        restart.push("asked for".into());
    }
    Ok(match (restart.is_empty(), reload.is_empty()) {
        (false, _) => {
            restart.extend(reload);
            (Action::Restart, restart)
        }
        (true, false) => (Action::Reload, reload),
        (true, true) => (Action::Nothing, Vec::new()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(pairs: &[(&str, &str, bool, bool)]) -> BTreeMap<String, Running> {
        pairs
            .iter()
            .map(|(name, value, read_only, from_file)| {
                (name.to_string(), Running { value: value.to_string(), read_only: *read_only, from_file: *from_file })
            })
            .collect()
    }

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    fn names(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn what_differs_is_pending() {
        let now = running(&[
            ("max_connections", "151", false, true),
            ("wsrep_on", "ON", false, true),
            ("bind_address", "*", true, true),
            ("tls_version", "TLSv1.2,TLSv1.3", true, true),
            ("long_query_time", "10.000000", false, true),
            ("slow_query_log", "ON", false, true),
            ("port", "3306", true, false),
            ("wsrep_sst_auth", "********", false, true),
            ("table_open_cache", "1990", false, true),
        ]);
        let values = values(&[
            ("max_connections", "200"),
            ("wsrep_on", "TRUE"),
            ("bind_address", "10.0.0.1"),
            ("tls_version", "TLSv1.3,TLSv1.2"),
            ("long_query_time", "10"),
            ("slow_query_log", "FALSE"),
            ("port", "3307"),
            ("wsrep_sst_auth", "x:"),
            ("table_open_cache", "2000"),
        ]);
        let named = names(&["max_connections", "bind_address", "wsrep_on"]);
        let unchanged = names(&["table_open_cache"]);
        let found = pending(&now, &Wanted { values: &values, named: &named, unchanged: &unchanged });
        let shown: Vec<(String, Effect)> = found.iter().map(|one| (one.to_string(), one.effect)).collect();
        assert_eq!(
            shown,
            [
                ("bind_address: * → 10.0.0.1".to_string(), Effect::Restart),
                ("max_connections: 151 → 200".to_string(), Effect::Dynamic),
                // No longer in a file, so a start would give it its default.
                ("slow_query_log: ON → FALSE".to_string(), Effect::Dynamic),
            ]
        );
    }

    #[test]
    fn options_of_the_provider() {
        let parse = |text| ProviderOptions::parse(text).unwrap();
        let now = parse("gcache.size=128M; gcs.fc_limit=16; socket.ssl=YES; pc.weight=2; evs.send_window=4");
        let wanted = parse("gcache.size=256M; gcs.fc_limit=20; socket.ssl=yes; evs.send_window=4");
        let before = parse("gcache.size=128M; pc.weight=2; socket.ssl=YES");
        let found = pending_options(&now, &wanted, Some(&before), &|_| None);
        let shown: Vec<(String, Effect)> = found.iter().map(|one| (one.to_string(), one.effect)).collect();
        assert_eq!(
            shown,
            [
                ("gcache.size: 128M → 256M".to_string(), Effect::Restart),
                ("gcs.fc_limit: 16 → 20".to_string(), Effect::Dynamic),
                ("pc.weight: 2 → its default".to_string(), Effect::Restart),
            ]
        );
        // The server's own word counts more than the table.
        let found = pending_options(&now, &wanted, None, &|name| (name == "gcs.fc_limit").then_some(false));
        assert!(found.iter().all(|one| one.effect == Effect::Restart), "{found:?}");
    }

    #[test]
    fn restart_reload_or_nothing() {
        let one = |name: &str, effect| Pending {
            name: name.into(),
            from: "1".into(),
            to: "2".into(),
            effect,
            provider: false,
        };
        let runs = Circumstances { running: true, ..Circumstances::default() };
        let forced = Circumstances { force: true, ..runs.clone() };
        let upgraded = Circumstances { replaced: vec!["the program was replaced".into()], ..runs.clone() };
        let renewed = Circumstances { certificates: vec!["the certificate for 4567".into()], ..runs.clone() };
        let down = Circumstances::default();
        let (none, dynamic, restart) = (one("a", Effect::None), one("b", Effect::Dynamic), one("c", Effect::Restart));
        for (pending, around, expected) in [
            (vec![], &runs, Action::Nothing),
            (vec![none.clone()], &runs, Action::Nothing),
            (vec![none.clone(), dynamic.clone()], &runs, Action::Reload),
            (vec![dynamic.clone(), restart.clone()], &runs, Action::Restart),
            (vec![], &forced, Action::Restart),
            (vec![dynamic.clone()], &forced, Action::Restart),
            (vec![], &upgraded, Action::Restart),
            (vec![], &renewed, Action::Reload),
            (vec![restart], &down, Action::Start),
        ] {
            let (action, reasons) = choose(&pending, around).unwrap();
            assert_eq!(action, expected, "{pending:?}");
            assert_eq!(reasons.is_empty(), action == Action::Nothing);
        }
        let error = choose(&[one("wsrep_cluster_name", Effect::Never)], &runs).unwrap_err();
        assert!(error.contains("node by node") && error.contains("all nodes at once"), "{error}");
    }

    #[test]
    fn the_table_names_each_setting_once() {
        let mut seen = BTreeSet::new();
        assert!(SETTINGS.iter().all(|one| seen.insert(one.name) && !one.why.is_empty()));
        assert_eq!(effect("some_new_variable", true), Effect::Restart);
        assert_eq!(effect("some_new_variable", false), Effect::Dynamic);
    }
}
