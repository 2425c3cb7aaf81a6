//! Variables that Ansible itself provides, made from plain facts about the run.

use std::path::PathBuf;
use std::sync::Arc;

use crate::template::{Layer, Raw, Value};

/// The version of Ansible whose language this is.
pub const ANSIBLE_VERSION: &str = "2.19.0";

/// What is the same for all hosts of a run.
#[derive(Debug, Clone, Default)]
pub struct RunFacts {
    /// Groups and their hosts, `all` and `ungrouped` among them.
    pub groups: Vec<(Arc<str>, Vec<Arc<str>>)>,
    /// The playbook's directory.
    pub playbook_dir: PathBuf,
    /// The directory of the first inventory.
    pub inventory_dir: Option<PathBuf>,
    /// The first inventory.
    pub inventory_file: Option<PathBuf>,
    /// `--check`.
    pub check: bool,
    /// `--diff`.
    pub diff: bool,
    /// `-v`, counted.
    pub verbosity: u8,
    /// `--forks`.
    pub forks: usize,
    /// `--limit`.
    pub limit: Option<String>,
    /// `--tags`; everything is `all`.
    pub run_tags: Vec<String>,
    /// `--skip-tags`.
    pub skip_tags: Vec<String>,
    /// The configuration file, if one was read.
    pub config_file: Option<PathBuf>,
}

/// What is the same for all hosts of a play.
#[derive(Debug, Clone, Default)]
pub struct PlayFacts {
    /// The play's name.
    pub name: String,
    /// All hosts of the play.
    pub hosts_all: Vec<Arc<str>>,
    /// Hosts of the play that have not failed.
    pub hosts: Vec<Arc<str>>,
    /// Hosts of the present batch.
    pub batch: Vec<Arc<str>>,
    /// Names of the play's roles, those they depend on included.
    pub role_names: Vec<String>,
    /// Names of roles that depend on others left out.
    pub own_role_names: Vec<String>,
    /// Names of roles that others depend on.
    pub dependent_role_names: Vec<String>,
}

/// What is the host's own.
#[derive(Debug, Clone, Default)]
pub struct HostFacts {
    /// Its name in the inventory.
    pub name: Arc<str>,
    /// Its groups, without `all`.
    pub groups: Vec<Arc<str>>,
}

/// What is the role's, for a task inside one.
#[derive(Debug, Clone, Default)]
pub struct RoleFacts {
    /// Its name.
    pub name: String,
    /// Its directory.
    pub path: PathBuf,
    /// Names of the roles that brought it in, the outermost last.
    pub parents: Vec<String>,
}

fn strings<T: AsRef<str>>(list: &[T]) -> Value {
    Value::from(list.iter().map(|s| Value::from(s.as_ref())).collect::<Vec<_>>())
}

fn path(path: &std::path::Path) -> Value {
    Value::from(path.display().to_string())
}

fn put(layer: &mut Layer, name: &str, value: impl Into<Value>) {
    layer.insert(Arc::from(name), Raw::Value(value.into()));
}

/// The variables of a run.
pub fn run_layer(run: &RunFacts) -> Layer {
    let mut layer = Layer::new();
    let groups = run.groups.iter().map(|(name, hosts)| (Value::from(name), strings(hosts)));
    put(&mut layer, "groups", Value::from_pairs(groups));
    put(&mut layer, "playbook_dir", path(&run.playbook_dir));
    if let Some(dir) = &run.inventory_dir {
        put(&mut layer, "inventory_dir", path(dir));
    }
    if let Some(file) = &run.inventory_file {
        put(&mut layer, "inventory_file", path(file));
    }
    put(&mut layer, "ansible_check_mode", run.check);
    put(&mut layer, "ansible_diff_mode", run.diff);
    put(&mut layer, "ansible_verbosity", i64::from(run.verbosity));
    put(&mut layer, "ansible_forks", run.forks);
    if let Some(limit) = &run.limit {
        put(&mut layer, "ansible_limit", limit.as_str());
    }
    let all = ["all".to_owned()];
    put(&mut layer, "ansible_run_tags", strings(if run.run_tags.is_empty() { &all } else { &run.run_tags }));
    put(&mut layer, "ansible_skip_tags", strings(&run.skip_tags));
    put(&mut layer, "ansible_config_file", run.config_file.as_deref().map_or(Value::from(()), path));
    let part = |i: usize| ANSIBLE_VERSION.split('.').nth(i).and_then(|p| p.parse::<i64>().ok()).unwrap_or(0);
    put(
        &mut layer,
        "ansible_version",
        Value::from_pairs([
            ("full", Value::from(ANSIBLE_VERSION)),
            ("major", Value::from(part(0))),
            ("minor", Value::from(part(1))),
            ("revision", Value::from(part(2))),
            ("string", Value::from(ANSIBLE_VERSION)),
        ]),
    );
    layer
}

/// The variables of a play.
pub fn play_layer(play: &PlayFacts) -> Layer {
    let mut layer = Layer::new();
    put(&mut layer, "ansible_play_name", play.name.as_str());
    put(&mut layer, "ansible_play_hosts_all", strings(&play.hosts_all));
    put(&mut layer, "ansible_play_hosts", strings(&play.hosts));
    put(&mut layer, "ansible_play_batch", strings(&play.batch));
    // An old name of the batch.
    put(&mut layer, "play_hosts", strings(&play.batch));
    put(&mut layer, "role_names", strings(&play.own_role_names));
    put(&mut layer, "ansible_play_role_names", strings(&play.own_role_names));
    put(&mut layer, "ansible_dependent_role_names", strings(&play.dependent_role_names));
    put(&mut layer, "ansible_role_names", strings(&play.role_names));
    layer
}

/// The variables of a host.
pub fn host_layer(host: &HostFacts) -> Layer {
    let mut layer = Layer::new();
    put(&mut layer, "inventory_hostname", Value::from(&host.name));
    // An address has no short form.
    let short = match host.name.parse::<std::net::IpAddr>() {
        Ok(_) => &*host.name,
        Err(_) => host.name.split('.').next().unwrap_or_default(),
    };
    put(&mut layer, "inventory_hostname_short", short);
    let mut groups = host.groups.clone();
    groups.sort();
    put(&mut layer, "group_names", strings(&groups));
    layer
}

/// The variables of a role's tasks.
pub fn role_layer(role: &RoleFacts) -> Layer {
    let mut layer = Layer::new();
    put(&mut layer, "role_name", role.name.rsplit('.').next().unwrap_or_default());
    put(&mut layer, "role_path", path(&role.path));
    put(&mut layer, "ansible_role_name", role.name.as_str());
    let collection = role.name.rsplit_once('.').map(|(c, _)| c).filter(|c| c.contains('.')).unwrap_or_default();
    put(&mut layer, "ansible_collection_name", collection);
    put(&mut layer, "ansible_parent_role_names", strings(&role.parents));
    layer
}

/// `ansible_loop`, and the loop and index variables, of one item of a loop.
pub fn loop_layer(
    loop_var: &str,
    index_var: Option<&str>,
    items: &[Value],
    index: usize,
    extended: bool,
    with_all_items: bool,
) -> Layer {
    let mut layer = Layer::new();
    let item = items.get(index).cloned().unwrap_or_default();
    put(&mut layer, loop_var, item);
    put(&mut layer, "ansible_loop_var", loop_var);
    if let Some(name) = index_var {
        put(&mut layer, name, index);
        put(&mut layer, "ansible_index_var", name);
    }
    if extended {
        let length = items.len();
        let mut pairs = vec![
            ("index", Value::from(index + 1)),
            ("index0", Value::from(index)),
            ("first", Value::from(index == 0)),
            ("last", Value::from(index + 1 == length)),
            ("length", Value::from(length)),
            ("revindex", Value::from(length.saturating_sub(index))),
            ("revindex0", Value::from(length.saturating_sub(index + 1))),
        ];
        if with_all_items {
            pairs.push(("allitems", Value::from(items.to_vec())));
        }
        if let Some(next) = items.get(index + 1) {
            pairs.push(("nextitem", next.clone()));
        }
        if let Some(previous) = index.checked_sub(1).and_then(|i| items.get(i)) {
            pairs.push(("previtem", previous.clone()));
        }
        put(&mut layer, "ansible_loop", Value::from_pairs(pairs));
    }
    layer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{Scope, Templar, to_json};

    #[test]
    fn templates_see_them() {
        let templar = Templar::default();
        let run = RunFacts {
            groups: vec![("all".into(), vec!["a.example".into(), "b".into()]), ("db".into(), vec!["b".into()])],
            playbook_dir: "/play".into(),
            check: true,
            ..RunFacts::default()
        };
        let host = HostFacts { name: "a.example".into(), groups: vec!["web".into(), "db".into()] };
        let items = [Value::from("x"), Value::from("y")];
        let role = RoleFacts { name: "ns.col.web".into(), path: "/r".into(), parents: vec!["top".into()] };
        let scope = Scope::new(&templar)
            .with(run_layer(&run))
            .with(play_layer(&PlayFacts { hosts: vec!["a.example".into()], ..PlayFacts::default() }))
            .with(host_layer(&host))
            .with(role_layer(&role))
            .with(loop_layer("item", Some("i"), &items, 1, true, true));
        for (text, want) in [
            ("{{ groups.db | first }} {{ groups['all'] | length }}", "b 2"),
            ("{{ inventory_hostname_short }} {{ group_names }}", "a ['db', 'web']"),
            ("{{ ansible_check_mode }} {{ playbook_dir }} {{ ansible_run_tags }}", "True /play ['all']"),
            ("{{ item }} {{ i }} {{ ansible_loop.last }} {{ ansible_loop.previtem }}", "y 1 True x"),
            ("{{ role_name }} {{ role_path }} {{ ansible_collection_name }}", "web /r ns.col"),
            ("{{ ansible_play_hosts }} {{ ansible_version.major }}", "['a.example'] 2"),
        ] {
            let value = templar.template_str(text, &scope).expect(text).value;
            assert_eq!(to_json(&value), want, "{text}");
        }
        let short = host_layer(&HostFacts { name: "10.0.0.1".into(), groups: Vec::new() });
        assert!(matches!(short.get("inventory_hostname_short"), Some(Raw::Value(v)) if v.as_str() == Some("10.0.0.1")));
    }
}
