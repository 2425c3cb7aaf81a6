//! From a host's variables, the command line and `ssh_config` to a [`Target`].

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;

use super::error::ConnectionError;
use super::options::ConnectionOptions;
use super::ssh_args::SshArgs;
use super::ssh_config::{Settings, SshConfig, home, local_user};
use super::target::{AddressFamily, AuthSources, HostKeyCheck, HostKeyPolicy, Identity, Methods, Target, Timeouts};
use super::tokens::{Tokens, expand};
use crate::secret::Secret;

/// Jump hosts may name jump hosts; this deep.
const JUMP_DEPTH: usize = 8;

/// The names of the usual key files, in OpenSSH's order.
const USUAL_KEYS: &[&str] = &["id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk", "id_xmss", "id_dsa"];

/// Resolves hosts; reads every file once and says every warning once.
pub struct Resolver {
    options: ConnectionOptions,
    config: SshConfig,
    warnings: Mutex<Warnings>,
}

#[derive(Default)]
struct Warnings {
    said: HashSet<String>,
    new: Vec<String>,
}

impl Resolver {
    /// A resolver for one run.
    pub fn new(options: ConnectionOptions) -> Self {
        Resolver { options, config: SshConfig::default(), warnings: Mutex::default() }
    }

    /// The warnings that came up since the last call, each once a run.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.lock().map(|mut w| std::mem::take(&mut w.new)).unwrap_or_default()
    }

    fn warn(&self, text: String) {
        if let Ok(mut warnings) = self.warnings.lock()
            && warnings.said.insert(text.clone())
        {
            warnings.new.push(text);
        }
    }

    /// The target of the inventory host `host`, whose variables (templated) `vars` answers.
    ///
    /// It may run `ssh -G`, which takes some 20 ms: only where the ssh configuration has `Match` blocks and the like.
    pub fn target(&self, host: &str, vars: &dyn Fn(&str) -> Option<Value>) -> Result<Target, ConnectionError> {
        self.target_with(host, vars, &self.options)
    }

    /// The same with other options, such as a play's `remote_user`.
    pub fn target_with(
        &self,
        host: &str,
        vars: &dyn Fn(&str) -> Option<Value>,
        options: &ConnectionOptions,
    ) -> Result<Target, ConnectionError> {
        let vars = Vars { host, vars };
        let connection = vars.text(&["ansible_connection"])?.or_else(|| options.connection.clone());
        match connection.as_deref() {
            None | Some("ssh" | "smart" | "paramiko" | "paramiko_ssh" | "ansible.builtin.ssh") => {}
            Some("local" | "ansible.builtin.local") => return Ok(Target::local(host)),
            Some(other) => {
                return Err(ConnectionError::config(
                    host,
                    format!("ansible_connection: {other} is not supported; ssh and local are"),
                ));
            }
        }
        let Line { given, config_file, timeout } = self.command_line(&vars, options)?;
        let address = vars.text(&["ansible_host", "ansible_ssh_host"])?.unwrap_or_else(|| host.to_string());
        let place = Place { name: host, original: &address, config_file: config_file.as_deref() };

        let mut target = self.build(&place, &given, options, 0)?;
        target.timeouts.connect = timeout.unwrap_or(target.timeouts.connect);
        target.auth.password = match vars.text(&["ansible_password", "ansible_ssh_pass", "ansible_ssh_password"])? {
            Some(password) => Some(Secret::from(password)),
            None => options.password.clone(),
        };
        target.auth.passphrase =
            vars.text(&["ansible_private_key_passphrase", "ansible_ssh_private_key_passphrase"])?.map(Secret::from);
        target.host_key.pinned = vars.list("ansible_ssh_host_key")?;
        if let Some(retries) = vars.number::<u32>(&["ansible_ssh_retries"])? {
            target.retries = retries;
        }
        // OpenSSH gives jump hosts nothing of this command line. An unknown jump host is no safer for it, so they
        // also use the files and keys named for the host behind them, after their own.
        for hop in &mut target.jump {
            hop.timeouts.connect = target.timeouts.connect;
            hop.auth.interactive = target.auth.interactive;
            for file in given.all("userknownhostsfile").flat_map(split_paths) {
                let file = PathBuf::from(expand(&file, &Tokens::of(&hop.address, hop)));
                if !hop.host_key.user_files.contains(&file) {
                    hop.host_key.user_files.insert(0, file);
                }
            }
            if let Some(policy) = given.get("stricthostkeychecking").and_then(policy_of) {
                hop.host_key.policy = policy;
            }
            let named: Vec<Identity> = target.auth.identities.iter().filter(|i| i.explicit).cloned().collect();
            for identity in named {
                if !hop.auth.identities.iter().any(|i| i.path == identity.path) {
                    hop.auth.identities.push(identity);
                }
            }
        }
        Ok(target)
    }

    /// The arguments that Ansible would give to `ssh`, in its order: the first value of an option counts.
    fn command_line(&self, vars: &Vars<'_>, options: &ConnectionOptions) -> Result<Line, ConnectionError> {
        let mut line = Line::default();
        let arguments = |text: Option<String>, origin: &str, line: &mut Line| {
            let Some(text) = text else { return Ok(()) };
            let args = SshArgs::parse(&text, origin).map_err(|e| ConnectionError::config(vars.host, e))?;
            for warning in args.warnings {
                self.warn(warning);
            }
            line.config_file = args.config_file.or(line.config_file.take());
            line.given = std::mem::take(&mut line.given).over(Settings::new(args.options));
            Ok(())
        };
        let add = |line: &mut Line, keyword: &str, value: Option<String>| {
            if let Some(value) = value {
                let pair = Settings::new(vec![(keyword.to_string(), value)]);
                line.given = std::mem::take(&mut line.given).over(pair);
            }
        };
        let own = vars.text(&["ansible_ssh_args"])?;
        arguments(own.or_else(|| options.ssh_args.clone()), "ansible_ssh_args", &mut line)?;
        let checking = vars.flag(&["ansible_ssh_host_key_checking", "ansible_host_key_checking"])?;
        if checking.or(options.host_key_checking) == Some(false) {
            add(&mut line, "stricthostkeychecking", Some("no".to_string()));
        }
        let port = vars.number::<u16>(&["ansible_port", "ansible_ssh_port"])?.or(options.port);
        add(&mut line, "port", port.map(|p| p.to_string()));
        let key = vars.text(&["ansible_private_key_file", "ansible_ssh_private_key_file"])?;
        let key = key.or_else(|| options.private_key.as_ref().map(|p| p.display().to_string()));
        add(&mut line, "identityfile", key);
        let user = vars.text(&["ansible_user", "ansible_ssh_user"])?.or_else(|| options.user.clone());
        add(&mut line, "user", user);
        let seconds = vars.number::<u64>(&["ansible_timeout", "ansible_ssh_timeout"])?;
        line.timeout = seconds.map(Duration::from_secs).or(options.timeout);
        let common = vars.text(&["ansible_ssh_common_args"])?.or_else(|| options.ssh_common_args.clone());
        arguments(common, "ansible_ssh_common_args", &mut line)?;
        let extra = vars.text(&["ansible_ssh_extra_args"])?.or_else(|| options.ssh_extra_args.clone());
        arguments(extra, "ansible_ssh_extra_args", &mut line)?;
        if let Some(file) = line.config_file.take() {
            line.config_file = Some(expand_home(&file.display().to_string()));
        }
        Ok(line)
    }

    fn build(
        &self,
        place: &Place<'_>,
        given: &Settings,
        options: &ConnectionOptions,
        depth: usize,
    ) -> Result<Target, ConnectionError> {
        let fail = |reason: String| ConnectionError::config(place.name, reason);
        check_name(place.original).map_err(fail)?;
        let (from_files, warning) = self.config.settings(place.original, place.config_file, given).map_err(fail)?;
        if let Some(warning) = warning {
            self.warn(warning);
        }
        let explicit_keys: Vec<String> = given.all("identityfile").map(String::from).collect();
        // `ssh -G` repeats the keys of the command line in its answer.
        let all = given.clone().over(from_files);

        let mut target = Target::plain(place.name, place.original, 22, &local_user());
        if let Some(user) = all.get("user") {
            check_name(user).map_err(fail)?;
            target.user = user.to_string();
        }
        if let Some(port) = all.get("port") {
            target.port = port.parse().ok().filter(|p| *p != 0).ok_or_else(|| fail(format!("{port:?} is no port")))?;
        }
        if let Some(name) = all.get("hostname") {
            target.address = expand(name, &Tokens::of(place.original, &target));
            check_name(&target.address).map_err(fail)?;
        }
        target.family = match all.get("addressfamily") {
            Some("inet") => AddressFamily::Inet,
            Some("inet6") => AddressFamily::Inet6,
            _ => AddressFamily::Any,
        };
        target.timeouts = timeouts(&all);
        target.retries =
            all.get("connectionattempts").and_then(|n| n.parse::<u32>().ok()).unwrap_or(1).saturating_sub(1);
        target.host_key = self.host_key(&all, place, &target);
        target.auth = auth(&all, &explicit_keys, place, &target);
        target.auth.interactive = !options.batch && !is_yes(all.get("batchmode"));
        self.route(&mut target, &all, place, options, depth)?;
        Ok(target)
    }

    fn host_key(&self, all: &Settings, place: &Place<'_>, target: &Target) -> HostKeyCheck {
        let tokens = Tokens::of(place.original, target);
        let paths = |keyword: &str, usual: &[PathBuf]| -> Vec<PathBuf> {
            match all.get(keyword) {
                None => usual.to_vec(),
                Some("none") => Vec::new(),
                Some(value) => split_paths(value).map(|p| expand_home(&expand(&p, &tokens))).collect(),
            }
        };
        let ssh = home().join(".ssh");
        let wish = all.get("stricthostkeychecking");
        if wish.is_some_and(is_no) {
            self.warn(
                "StrictHostKeyChecking=no (host_key_checking off) records new hosts as accept-new does; a changed host key \
                 is still refused"
                    .to_string(),
            );
        }
        HostKeyCheck {
            policy: wish.and_then(policy_of).unwrap_or_default(),
            alias: all.get("hostkeyalias").filter(|a| *a != "none").map(String::from),
            user_files: paths("userknownhostsfile", &[ssh.join("known_hosts"), ssh.join("known_hosts2")]),
            global_files: paths(
                "globalknownhostsfile",
                &[PathBuf::from("/etc/ssh/ssh_known_hosts"), PathBuf::from("/etc/ssh/ssh_known_hosts2")],
            ),
            revoked_files: paths("revokedhostkeys", &[]),
            hash_names: is_yes(all.get("hashknownhosts")),
            pinned: Vec::new(),
        }
    }

    /// Jump hosts or a proxy command: whichever is set first.
    fn route(
        &self,
        target: &mut Target,
        all: &Settings,
        place: &Place<'_>,
        options: &ConnectionOptions,
        depth: usize,
    ) -> Result<(), ConnectionError> {
        let (keyword, value) = match all.first_of(&["proxyjump", "proxycommand"]) {
            Some((_, value)) if value.eq_ignore_ascii_case("none") => return Ok(()),
            Some(found) => found,
            None => return Ok(()),
        };
        if keyword == "proxycommand" {
            target.proxy_command = Some(expand(value, &Tokens::of(place.original, target)));
            return Ok(());
        }
        if depth >= JUMP_DEPTH {
            return Err(ConnectionError::config(
                place.name,
                format!("the jump hosts of {} lead in a circle (ProxyJump {value})", place.original),
            ));
        }
        for (index, hop) in value.split(',').enumerate() {
            let hop = Hop::parse(hop).ok_or_else(|| {
                ConnectionError::config(place.name, format!("{hop:?} in ProxyJump {value} is no host"))
            })?;
            // Only the first hop is reached as its own configuration says; the others are reached through the one
            // before.
            let mut given: Vec<(String, String)> = Vec::new();
            given.extend(hop.user.map(|u| ("user".to_string(), u)));
            given.extend(hop.port.map(|p| ("port".to_string(), p.to_string())));
            if index > 0 {
                given.push(("proxyjump".to_string(), "none".to_string()));
            }
            let hop_place = Place { name: place.name, original: &hop.host, config_file: place.config_file };
            let mut resolved = self.build(&hop_place, &Settings::new(given), options, depth + 1)?;
            target.jump.append(&mut resolved.jump);
            resolved.name = format!("{} (jump host {})", place.name, hop.host);
            target.jump.push(resolved);
        }
        Ok(())
    }
}

/// What the command line of Ansible's `ssh` would say.
#[derive(Default)]
struct Line {
    given: Settings,
    config_file: Option<PathBuf>,
    timeout: Option<Duration>,
}

/// Which host is being resolved.
struct Place<'a> {
    name: &'a str,
    original: &'a str,
    config_file: Option<&'a Path>,
}

/// One host of `ProxyJump`.
struct Hop {
    user: Option<String>,
    host: String,
    port: Option<u16>,
}

impl Hop {
    fn parse(text: &str) -> Option<Hop> {
        let text = text.trim();
        let text = text.strip_prefix("ssh://").unwrap_or(text).trim_end_matches('/');
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (Some(user.to_string()), rest),
            None => (None, text),
        };
        let (host, port) = match rest.strip_prefix('[') {
            Some(bracketed) => {
                let (host, after) = bracketed.split_once(']')?;
                (host, after.strip_prefix(':').map(str::to_string))
            }
            // More than one colon without brackets is a bare IPv6 address.
            None => match rest.split_once(':') {
                Some((host, port)) if !port.contains(':') => (host, Some(port.to_string())),
                _ => (rest, None),
            },
        };
        if host.is_empty() || user.as_deref() == Some("") {
            return None;
        }
        let port = match port {
            Some(port) => Some(port.parse().ok().filter(|p| *p != 0)?),
            None => None,
        };
        Some(Hop { user, host: host.to_string(), port })
    }
}

fn auth(all: &Settings, explicit_keys: &[String], place: &Place<'_>, target: &Target) -> AuthSources {
    let tokens = Tokens::of(place.original, target);
    let ssh = home().join(".ssh");
    let usual: Vec<PathBuf> = USUAL_KEYS.iter().map(|name| ssh.join(name)).collect();
    let mut identities: Vec<Identity> = Vec::new();
    for value in all.all("identityfile").filter(|v| *v != "none") {
        let path = expand_home(&expand(value, &tokens));
        let explicit = explicit_keys.iter().any(|k| k == value) || !usual.contains(&path);
        if !identities.iter().any(|i| i.path == path) {
            identities.push(Identity { path, explicit });
        }
    }
    // OpenSSH tries the usual files only when no file is named. Ansible's users name one for a host and lose their
    // usual keys the same way.
    if all.all("identityfile").next().is_none() {
        identities.extend(usual.into_iter().map(|path| Identity { path, explicit: false }));
    }
    let agent = match all.get("identityagent") {
        Some("none") => None,
        Some("SSH_AUTH_SOCK") | None => std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from),
        Some(value) => match value.strip_prefix('$') {
            Some(variable) => std::env::var_os(variable.trim_matches(['{', '}'])).map(PathBuf::from),
            None => Some(expand_home(&expand(value, &tokens))),
        },
    };
    let mut methods = Methods {
        publickey: !all.get("pubkeyauthentication").is_some_and(is_no),
        password: !all.get("passwordauthentication").is_some_and(is_no),
        keyboard_interactive: !all.get("kbdinteractiveauthentication").is_some_and(is_no),
    };
    let mut unsupported = Vec::new();
    if let Some(preferred) = all.get("preferredauthentications") {
        let named: Vec<&str> = preferred.split(',').map(str::trim).collect();
        methods.publickey &= named.contains(&"publickey");
        methods.password &= named.contains(&"password");
        methods.keyboard_interactive &= named.contains(&"keyboard-interactive");
        for method in ["gssapi-with-mic", "hostbased"] {
            if named.contains(&method) {
                unsupported.push(method.to_string());
            }
        }
    }
    if let Some(provider) = all.get("pkcs11provider").filter(|p| *p != "none") {
        unsupported.push(format!("PKCS11Provider {provider} (load it into ssh-agent with ssh-add -s)"));
    }
    AuthSources {
        agent: agent.filter(|a| !a.as_os_str().is_empty()),
        identities,
        certificates: all.all("certificatefile").map(|v| expand_home(&expand(v, &tokens))).collect(),
        identities_only: is_yes(all.get("identitiesonly")),
        password: None,
        passphrase: None,
        methods,
        interactive: true,
        unsupported,
    }
}

fn timeouts(all: &Settings) -> Timeouts {
    let mut timeouts = Timeouts::default();
    if let Some(limit) = all.get("connecttimeout").and_then(seconds) {
        timeouts.connect = limit;
    }
    if let Some(interval) = all.get("serveraliveinterval").and_then(seconds) {
        timeouts.keepalive = (!interval.is_zero()).then_some(interval);
    }
    if let Some(count) = all.get("serveralivecountmax").and_then(|n| n.parse().ok()).filter(|n| *n > 0) {
        timeouts.keepalive_max = count;
    }
    timeouts
}

/// OpenSSH's time formats: `90`, `1m30s`.
fn seconds(text: &str) -> Option<Duration> {
    let mut total: u64 = 0;
    let mut number = String::new();
    for c in text.chars() {
        let unit = match c.to_ascii_lowercase() {
            '0'..='9' => {
                number.push(c);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86400,
            'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(std::mem::take(&mut number).parse::<u64>().ok()?.checked_mul(unit)?)?;
    }
    if !number.is_empty() {
        total = total.checked_add(number.parse().ok()?)?;
    }
    Some(Duration::from_secs(total))
}

fn policy_of(value: &str) -> Option<HostKeyPolicy> {
    match value.to_ascii_lowercase().as_str() {
        "yes" | "true" => Some(HostKeyPolicy::Strict),
        "accept-new" | "no" | "false" | "off" => Some(HostKeyPolicy::AcceptNew),
        "ask" => Some(HostKeyPolicy::Ask),
        _ => None,
    }
}

fn is_yes(value: Option<&str>) -> bool {
    value.is_some_and(|v| matches!(v.to_ascii_lowercase().as_str(), "yes" | "true" | "on"))
}

fn is_no(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "no" | "false" | "off")
}

/// A name that could be taken for an option by a program it is passed to, or breaks a line, is refused.
fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.starts_with('-') || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(format!("{name:?} is no name of a host or user"));
    }
    Ok(())
}

fn expand_home(path: &str) -> PathBuf {
    match path.strip_prefix("~/") {
        Some(rest) => home().join(rest),
        None if path == "~" => home(),
        None => PathBuf::from(path),
    }
}

fn split_paths(value: &str) -> impl Iterator<Item = String> + use<> {
    let words = super::ssh_args::split(value).unwrap_or_else(|_| vec![value.to_string()]);
    words.into_iter()
}

/// A host's variables, read leniently where Ansible is lenient.
struct Vars<'a> {
    host: &'a str,
    vars: &'a dyn Fn(&str) -> Option<Value>,
}

impl Vars<'_> {
    /// The first of `names` that is set, with its name.
    fn first<'n>(&self, names: &[&'n str]) -> Option<(&'n str, Value)> {
        names.iter().find_map(|name| (self.vars)(name).filter(|v| !v.is_null()).map(|v| (*name, v)))
    }

    fn wrong(&self, name: &str, expected: &str) -> ConnectionError {
        // The value stays out of the message: it may be a password under the wrong name.
        ConnectionError::config(self.host, format!("the variable {name} must be {expected}"))
    }

    fn text(&self, names: &[&str]) -> Result<Option<String>, ConnectionError> {
        match self.first(names) {
            None => Ok(None),
            Some((_, Value::String(text))) if text.is_empty() => Ok(None),
            Some((_, Value::String(text))) => Ok(Some(text)),
            Some((_, Value::Number(number))) => Ok(Some(number.to_string())),
            Some((name, _)) => Err(self.wrong(name, "a string")),
        }
    }

    fn number<T: std::str::FromStr>(&self, names: &[&str]) -> Result<Option<T>, ConnectionError> {
        let Some((name, value)) = self.first(names) else { return Ok(None) };
        let text = match value {
            Value::String(text) if text.trim().is_empty() => return Ok(None),
            Value::String(text) => text.trim().to_string(),
            Value::Number(number) => number.to_string(),
            _ => return Err(self.wrong(name, "a number")),
        };
        let limit = if std::mem::size_of::<T>() == 2 { "a number from 0 to 65535" } else { "a number" };
        text.parse().map(Some).map_err(|_| self.wrong(name, limit))
    }

    fn flag(&self, names: &[&str]) -> Result<Option<bool>, ConnectionError> {
        match self.first(names) {
            None => Ok(None),
            Some((_, Value::Bool(flag))) => Ok(Some(flag)),
            Some((name, Value::String(text))) => match text.to_ascii_lowercase().as_str() {
                "yes" | "true" | "on" | "1" | "y" | "t" => Ok(Some(true)),
                "no" | "false" | "off" | "0" | "n" | "f" => Ok(Some(false)),
                _ => Err(self.wrong(name, "true or false")),
            },
            Some((_, Value::Number(number))) => Ok(Some(number.as_f64() != Some(0.0))),
            Some((name, _)) => Err(self.wrong(name, "true or false")),
        }
    }

    fn list(&self, name: &str) -> Result<Vec<String>, ConnectionError> {
        let wrong =
            || self.wrong(name, "a key (\"ssh-ed25519 AAAA…\"), a fingerprint (\"SHA256:…\") or a list of them");
        let items: Vec<String> = match (self.vars)(name) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::String(text)) => text.lines().map(String::from).collect(),
            Some(Value::Array(items)) => {
                items.into_iter().map(|i| i.as_str().map(String::from).ok_or_else(wrong)).collect::<Result<_, _>>()?
            }
            Some(_) => return Err(wrong()),
        };
        let pins: Vec<String> =
            items.iter().map(|l| l.trim().to_string()).filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
        // A pin that nobody can read must not quietly become no pin.
        let readable = |pin: &String| pin.starts_with("SHA256:") || super::host_key::is_key_line(pin);
        if pins.is_empty() || !pins.iter().all(readable) { Err(wrong()) } else { Ok(pins) }
    }
}

#[cfg(test)]
mod tests;
