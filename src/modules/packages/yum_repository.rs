//! `yum_repository`: one repository in a file of `/etc/yum.repos.d`.

use crate::machine::Machine;
use crate::modules::files::common::{Step, begin, file_arguments};
use crate::modules::files::edit::Edit;
use crate::modules::files::lineinfile::State;
use crate::modules::scalars::{Flag, Text, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// `ansible.builtin.yum_repository`
pub const YUM_REPOSITORY: Module = Module {
    name: "ansible.builtin.yum_repository",
    aliases: &["yum_repository", "ansible.legacy.yum_repository"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: YumRepository::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// Options that are written as they are named here: `1` or `0`.
const SWITCHES: &[&str] = &[
    "async",
    "countme",
    "enabled",
    "enablegroups",
    "gpgcheck",
    "keepalive",
    "module_hotfixes",
    "protect",
    "repo_gpgcheck",
    "s3_enabled",
    "skip_if_unavailable",
    "ssl_check_cert_permissions",
    "sslverify",
];

/// Where the aliases of Ansible's arguments lead to.
const ALIASES: &[(&str, &str)] = &[
    ("ca_cert", "sslcacert"),
    ("client_cert", "sslclientcert"),
    ("client_key", "sslclientkey"),
    ("excludepkgs", "exclude"),
    ("validate_certs", "sslverify"),
];

file_arguments! {
    /// Keeps a repository of dnf and yum in a file of its own. Package lists are not updated by it.
    ///
    /// A file that has this repository is written anew as a whole, without its comments, as Ansible does. Unverified: no host
    /// with dnf was at hand; the file is compared with what Ansible writes.
    pub struct YumRepository {
        /// The repository's id, which is also its file's name unless `file` says another.
        pub name: Text,
        /// Its name for people. Needed with `state: present`.
        pub description: Option<Text>,
        /// The file's name, without `.repo`.
        pub file: Option<Text>,
        /// Where the files are; `/etc/yum.repos.d` when not given.
        pub reposdir: Option<Text>,
        /// `present` or `absent`.
        #[serde(default)]
        pub state: State,
        /// Addresses of the repository.
        pub baseurl: Option<TextList>,
        /// Address of a list of mirrors.
        pub mirrorlist: Option<Text>,
        /// Address of a metalink.
        pub metalink: Option<Text>,
        /// Keys that sign packages.
        pub gpgkey: Option<TextList>,
        /// Packages that are never taken from it.
        #[serde(alias = "excludepkgs")]
        pub exclude: Option<TextList>,
        /// The only packages that are taken from it.
        pub includepkgs: Option<TextList>,
        /// Whether it is used.
        pub enabled: Option<Flag>,
        /// Whether packages must be signed.
        pub gpgcheck: Option<Flag>,
        /// Whether its metadata must be signed.
        pub repo_gpgcheck: Option<Flag>,
        /// Whether the server's certificate is verified.
        #[serde(alias = "validate_certs")]
        pub sslverify: Option<Flag>,
        /// Whether a repository that does not answer is passed over.
        pub skip_if_unavailable: Option<Flag>,
        /// Whether its packages replace those of module streams.
        pub module_hotfixes: Option<Flag>,
        /// Whether groups of packages are used.
        pub enablegroups: Option<Flag>,
        /// Whether use of it is counted.
        pub countme: Option<Flag>,
        /// Whether Amazon S3 wants a login.
        pub s3_enabled: Option<Flag>,
        /// The file of authorities for the server's certificate.
        #[serde(alias = "ca_cert")]
        pub sslcacert: Option<Text>,
        /// The file of a certificate to show.
        #[serde(alias = "client_cert")]
        pub sslclientcert: Option<Text>,
        /// The file of its key.
        #[serde(alias = "client_key")]
        pub sslclientkey: Option<Text>,
        /// User name.
        pub username: Option<Text>,
        /// Password. It stands in the file, which is readable by all unless `mode` says otherwise; no diff shows the file then.
        pub password: Option<Text>,
        /// A proxy's address.
        pub proxy: Option<Text>,
        /// A proxy's user.
        pub proxy_username: Option<Text>,
        /// A proxy's password.
        pub proxy_password: Option<Text>,
        /// Written as it is.
        pub bandwidth: Option<Text>,
        /// Written as it is.
        pub cost: Option<Text>,
        /// Written as it is.
        pub deltarpm_metadata_percentage: Option<Text>,
        /// Written as it is.
        pub deltarpm_percentage: Option<Text>,
        /// `roundrobin` or `priority`.
        pub failovermethod: Option<Text>,
        /// Written as it is.
        pub gpgcakey: Option<Text>,
        /// Written as it is.
        pub http_caching: Option<Text>,
        /// Address of a file with further options.
        pub include: Option<Text>,
        /// Written as it is.
        pub ip_resolve: Option<Text>,
        /// Written as it is.
        pub keepalive: Option<Flag>,
        /// Written as it is.
        pub keepcache: Option<Text>,
        /// How long metadata are good.
        pub metadata_expire: Option<Text>,
        /// Written as it is.
        pub metadata_expire_filter: Option<Text>,
        /// Written as it is.
        pub mirrorlist_expire: Option<Text>,
        /// 1 to 99; the smaller goes first.
        pub priority: Option<Text>,
        /// Written as it is.
        pub protect: Option<Flag>,
        /// Written as it is.
        pub retries: Option<Text>,
        /// Written as it is.
        pub ssl_check_cert_permissions: Option<Flag>,
        /// Written as it is.
        pub throttle: Option<Text>,
        /// Seconds to wait for an answer.
        pub timeout: Option<Text>,
        /// Written as it is.
        pub ui_repoid_vars: Option<Text>,
        /// Written as it is.
        #[serde(rename = "async")]
        pub asynchronous: Option<Flag>,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let given = arguments.clone();
    let arguments: YumRepository = decode(arguments)?;
    begin(machine, context);
    let present = arguments.state == State::Present;
    if present && arguments.baseurl.is_none() && arguments.mirrorlist.is_none() && arguments.metalink.is_none() {
        let why = "state is present but any of the following are missing: baseurl, mirrorlist, metalink";
        return Err(ModuleError::Failed(why.into()));
    }
    if present && arguments.description.is_none() {
        return Err(ModuleError::Failed("state is present but all of the following are missing: description".into()));
    }
    let directory = arguments.reposdir.as_deref().unwrap_or("/etc/yum.repos.d");
    if !machine.stat(directory)?.is_some_and(|stat| stat.is_dir()) {
        return Err(ModuleError::Failed(format!("Repo directory '{directory}' does not exist.")));
    }
    let path = format!("{directory}/{}.repo", arguments.file.as_deref().unwrap_or(&arguments.name));
    let edit = Edit::open(machine, &path, arguments.common(), false, None)?;
    let before = parse(&String::from_utf8_lossy(edit.before.as_deref().unwrap_or_default()));
    let mut after = before.clone();
    after.retain(|section| section.name != arguments.name.0);
    if present {
        after.push(Section { name: arguments.name.0.clone(), options: options(&given, &arguments) });
    }
    let changed = sorted(&before) != sorted(&after);
    // Passwords stand in the file, and would stand in its diff.
    let secret =
        |section: &Section| ["password", "proxy_password"].iter().any(|name| section.options.contains_key(*name));
    machine.no_log |= before.iter().chain(&after).any(secret);
    let outcome = if changed && after.is_empty() {
        machine.remove(&path)?;
        Outcome::ok()
    } else {
        edit.finish(machine, changed.then(|| write(&after).into_bytes()), "", "backup_file")?
    };
    let mut outcome =
        outcome.with("repo", arguments.name.0.clone()).with("state", if present { "present" } else { "absent" });
    outcome.msg = None;
    Ok(outcome)
}

/// What is not written into the file.
const OURS: &[&str] = &[
    "attr",
    "attributes",
    "description",
    "file",
    "group",
    "mode",
    "owner",
    "reposdir",
    "selevel",
    "serole",
    "setype",
    "seuser",
    "state",
    "unsafe_writes",
];

/// The section's options, by name.
fn options(given: &Map<String, Value>, arguments: &YumRepository) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    for (name, value) in given {
        let name = ALIASES.iter().find(|(alias, _)| alias == name).map_or(name.as_str(), |(_, name)| *name);
        if OURS.contains(&name) || value.is_null() {
            continue;
        }
        let text = match name {
            _ if SWITCHES.contains(&name) => u8::from(Flag::parse(value).unwrap_or_default()).to_string(),
            "baseurl" | "gpgkey" => list(value).join("\n"),
            "exclude" | "includepkgs" => list(value).join(" "),
            _ => serde_json::from_value::<Text>(value.clone()).unwrap_or_default().0,
        };
        options.insert(name.to_string(), text);
    }
    options.insert("name".into(), arguments.description.as_ref().map_or(String::new(), |text| text.0.clone()));
    options
}

fn list(value: &Value) -> Vec<String> {
    serde_json::from_value::<TextList>(value.clone()).unwrap_or_default().0
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Section {
    name: String,
    options: BTreeMap<String, String>,
}

/// The file as Python's configparser reads it: names of options in lower case, lines that go on are indented.
fn parse(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut last: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        let Some(section) = sections.last_mut() else {
            if let Some(name) = header(trimmed) {
                sections.push(Section { name, options: BTreeMap::new() });
            }
            continue;
        };
        if line.starts_with([' ', '\t'])
            && let Some(value) = last.as_ref().and_then(|last| section.options.get_mut(last))
        {
            value.push('\n');
            value.push_str(trimmed);
        } else if let Some(name) = header(trimmed) {
            sections.push(Section { name, options: BTreeMap::new() });
            last = None;
        } else if let Some((name, value)) = trimmed.split_once(['=', ':']) {
            let name = name.trim().to_lowercase();
            section.options.insert(name.clone(), value.trim().to_string());
            last = Some(name);
        }
    }
    sections
}

fn header(line: &str) -> Option<String> {
    let rest = line.strip_prefix('[')?;
    rest.rfind(']').and_then(|end| rest.get(..end)).map(str::to_string)
}

fn sorted(sections: &[Section]) -> Vec<&Section> {
    let mut all: Vec<&Section> = sections.iter().collect();
    all.sort();
    all
}

fn write(sections: &[Section]) -> String {
    let mut text = String::new();
    for section in sections {
        text += &format!("[{}]\n", section.name);
        for (name, value) in &section.options {
            text += &format!("{name} = {}\n", value.replace('\n', "\n\t"));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::modules::Status;
    use crate::modules::testing::{apply_twice, check_then_apply};
    use serde_json::json;

    #[test]
    fn repositories_come_change_and_go() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("db.repo");
        let read = || std::fs::read_to_string(&file).unwrap();
        let mut mariadb = json!({
            "name": "mariadb", "description": "MariaDB", "file": "db", "reposdir": scratch.path(),
            "baseurl": ["https://a/x", "https://b/x"], "gpgcheck": true, "exclude": "a, b", "validate_certs": "no",
        });
        apply_twice("yum_repository", &mariadb);
        let first = "[mariadb]\nbaseurl = https://a/x\n\thttps://b/x\nexclude = a b\ngpgcheck = 1\nname = MariaDB\nsslverify = 0\n\n";
        assert_eq!(read(), first);
        let tools = json!({"name": "tools", "description": "Tools", "file": "db", "reposdir": scratch.path(), "mirrorlist": "https://m"});
        apply_twice("yum_repository", &tools);
        assert_eq!(read(), format!("{first}[tools]\nmirrorlist = https://m\nname = Tools\n\n"));
        mariadb["enabled"] = json!(false);
        assert!(apply_twice("yum_repository", &mariadb).changed());
        assert!(read().starts_with("[tools]"));
        for name in ["mariadb", "tools"] {
            let gone = json!({"name": name, "file": "db", "reposdir": scratch.path(), "state": "absent"});
            assert!(apply_twice("yum_repository", &gone).changed());
        }
        assert!(!file.exists());
        let hidden = json!({"name": "s", "description": "S", "reposdir": scratch.path(), "baseurl": "https://s", "password": "geheim"});
        let outcome = apply_twice("yum_repository", &hidden);
        assert!(outcome.changed() && !serde_json::to_string(&outcome).unwrap().contains("geheim"), "{outcome:?}");
        for wrong in [
            json!({"name": "x", "description": "x", "reposdir": scratch.path()}),
            json!({"name": "x", "baseurl": "https://x", "reposdir": scratch.path()}),
            json!({"name": "x", "baseurl": "https://x", "description": "x", "reposdir": scratch.path().join("none")}),
        ] {
            assert_eq!(check_then_apply("yum_repository", &wrong).status, Status::Failed, "{wrong}");
        }
    }
}
