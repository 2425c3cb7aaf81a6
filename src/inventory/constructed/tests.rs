//! Tables of constructed sources.

use std::collections::HashMap;
use std::fs;

use super::{Constructing, Layer, Raw, Value, safe_name};
use crate::inventory::Inventory;
use crate::source::{Diags, no_vault};

const HOSTS: &str = "
all:
  vars: {everywhere: 1}
  children:
    web:
      vars: {role: front, tags: {env: prod, empty: '', none: null}}
      hosts: {w1: {size: 3, zones: [a, '', c-d]}, w2: {size: 5, own: '{{ size }}'}}
    db:
      hosts: {d.x.org: {name: 'a {{ everywhere }}', blank: ''}}
";

fn load(text: &str) -> (Inventory, String) {
    load_with(text, &Constructing::default())
}

fn load_with(text: &str, with: &Constructing) -> (Inventory, String) {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    write("base/group_vars/web.yml", "from_file: group");
    write("base/host_vars/w1.yml", "host_file: host");
    let sources = [write("base/a.yml", HOSTS), write("b.yml", &format!("plugin: constructed\n{text}"))];
    let mut diags = Diags::new();
    let inventory = Inventory::load(&sources, &no_vault, with, &mut diags);
    let said: Vec<String> = diags.iter().map(|diag| diag.message.clone()).collect();
    (inventory, said.join("; "))
}

/// The groups that the source made, with their hosts, then their parents.
fn groups(inventory: &Inventory) -> String {
    let made = inventory.groups.values().filter(|group| !matches!(&*group.name, "all" | "ungrouped" | "web" | "db"));
    let shown = made.map(|group| {
        let hosts: Vec<&str> = group.hosts.iter().map(|host| host.as_str()).collect();
        let parents: Vec<&str> = group.parents.iter().map(|name| &**name).filter(|name| *name != "all").collect();
        let above = if parents.is_empty() { String::new() } else { format!("<{}", parents.join(",")) };
        format!("{}{above}={}", group.name, hosts.join(","))
    });
    sorted(&shown.collect::<Vec<_>>().join(" "))
}

fn sorted(words: &str) -> String {
    let mut words: Vec<&str> = words.split(' ').collect();
    words.sort_unstable();
    words.join(" ")
}

#[test]
fn composed_variables() {
    // Expression, host, value as JSON; nothing where it is passed over.
    let cases = [
        ("size + 1", "w1", Some("4")),
        ("size + 1", "d.x.org", None),
        ("own + 1", "w2", Some("6")),
        ("inventory_hostname | upper", "w1", Some("\"W1\"")),
        ("inventory_hostname_short", "d.x.org", Some("\"d\"")),
        ("inventory_file | basename", "w1", Some("\"a.yml\"")),
        ("inventory_dir | basename", "w1", Some("\"base\"")),
        ("group_names", "w1", Some("[\"web\"]")),
        ("everywhere", "w1", Some("1")),
        ("name", "d.x.org", Some("\"a 1\"")),
        ("groups", "w1", None),
        ("hostvars", "w1", None),
        ("other", "w1", None),
        ("from_file is defined", "w1", Some("false")),
        ("omit", "w1", None),
        ("1 +", "w1", None),
        ("{'front': [role, none]}", "w1", Some("{\"front\":[\"front\",null]}")),
    ];
    for (expression, host, expected) in cases {
        let (inventory, said) = load(&format!("compose: {{other: '1', made: \"{expression}\"}}\n"));
        assert_eq!(said, "", "{expression}");
        let made = inventory.variable(host, "made", None).map(|node| node.to_json().to_string());
        assert_eq!(made.as_deref(), expected, "{expression} of {host}");
    }
}

#[test]
fn groups_by_condition_and_by_key() {
    let cases = [
        (
            "groups: {'a-b': size > 3, never: 'false', all_of: true, number: size, bad: 5}",
            "a_b=w2 all_of=w1,w2,d.x.org number=w1,w2 bad=w1,w2,d.x.org",
        ),
        ("compose: {c: size * 2}\ngroups: {g: c == 6, seen: \"'g' in group_names\"}", "g=w1"),
        ("keyed_groups: [{key: role}]", "_front=w1,w2"),
        ("keyed_groups: [{key: role, prefix: r}]", "r_front=w1,w2"),
        ("keyed_groups: [{key: role, prefix: r, separator: '-'}]", "r_front=w1,w2"),
        ("keyed_groups: [{key: role, prefix: r, separator: ''}]", "rfront=w1,w2"),
        ("leading_separator: false\nkeyed_groups: [{key: role}]", "front=w1,w2"),
        ("keyed_groups: [{key: zones, prefix: z}]", "z_a=w1 z_=w1 z_c_d=w1"),
        ("keyed_groups: [{key: zones, prefix: z, default_value: no}]", "z_a=w1 z_False=w1 z_c_d=w1"),
        ("keyed_groups: [{key: tags, prefix: t}]", "t_env_prod=w1,w2 t_empty_=w1,w2 t_none_None=w1,w2"),
        (
            "keyed_groups: [{key: tags, prefix: t, trailing_separator: false}]",
            "t_env_prod=w1,w2 t_empty=w1,w2 t_none=w1,w2",
        ),
        ("keyed_groups: [{key: tags, prefix: t, default_value: x}]", "t_env_prod=w1,w2 t_empty_x=w1,w2 t_none_x=w1,w2"),
        ("leading_separator: no\nkeyed_groups: [{key: tags}]", "env_prod=w1,w2 empty_=w1,w2 none_None=w1,w2"),
        ("keyed_groups: [{key: blank}, {key: blank, prefix: b, default_value: none-at-all}]", "b_none_at_all=d.x.org"),
        (
            "keyed_groups: [{key: role, parent_group: 'of {{ inventory_hostname }}'}]",
            "_front<of_w1,of_w2=w1,w2 of_w1= of_w2=",
        ),
        (
            "keyed_groups: [{key: role, parent_group: '{{ omit }}'}, {key: role, prefix: p, parent_group: '{{ nope }}'}]",
            "_front=w1,w2",
        ),
        ("keyed_groups: [{key: nope}, {key: '[]'}, {key: '0'}]", ""),
        ("use_vars_plugins: true\nkeyed_groups: [{key: from_file}, {key: host_file}]", "_group=w1,w2 _host=w1"),
    ];
    for (text, expected) in cases {
        let (inventory, said) = load(text);
        assert_eq!((groups(&inventory), said.as_str()), (sorted(expected), ""), "{text}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let cases = [
        ("strict: true\ncompose: {v: nope}", "`v` of host w1 cannot be made: "),
        ("strict: 'yes'\ngroups: {g: size > 1}", "whether host d.x.org is in group `g` cannot be said: "),
        ("strict: true\nkeyed_groups: [{key: nope}]", "host w1 has no key to be grouped by: "),
        ("strict: true\nkeyed_groups: [{key: \"''\"}]", "the key of host w1 is empty"),
        (
            "strict: true\nkeyed_groups: [{key: \"'a'\", parent_group: '{{ nope }}'}]",
            "the parent of the group of host w1",
        ),
        ("keyed_groups: [{key: '5'}]", "a key of groups is a text, a list or a dictionary, and not `5`"),
        ("keyed_groups: [{key: role, parent_group: _front}]", "group `_front` cannot be its own child"),
        ("keyed_groups: [{key: role, default_value: a, trailing_separator: false}]", "exclude each other"),
        ("keyed_groups: [{prefix: a}]", "needs `key`"),
        ("keyed_groups: [word]", "`an entry of keyed_groups` must be a dictionary"),
        ("compose: [a]", "`compose` must be a dictionary, and this is a list"),
        ("strict: perhaps", "`strict` must be true or false"),
        ("keyed_group: []", "constructed inventories have no option `keyed_group`"),
    ];
    for (text, expected) in cases {
        let (_, said) = load(text);
        assert!(said.contains(expected), "{text}: {said}");
    }
    // Empty lists and dictionaries are no mistake even where mistakes are errors.
    assert_eq!(load("strict: true\nkeyed_groups: [{key: '[]'}, {key: '{}'}]").1, "");
}

#[test]
fn extra_variables_and_known_facts() {
    let extra: Layer = [("role".into(), Raw::Value(Value::from("extra")))].into_iter().collect();
    let known: HashMap<String, Layer> =
        [("w1".to_owned(), [("ansible_os".into(), Raw::Value(Value::from("Debian")))].into_iter().collect())].into();
    let facts = move |host: &str| known.get(host).cloned().unwrap_or_default();
    let with = Constructing {
        extra: std::sync::Arc::new(extra),
        facts: Some(std::sync::Arc::new(facts)),
        ..Constructing::default()
    };
    let cases = [
        ("keyed_groups: [{key: role}]", "_front=w1,w2"),
        ("use_extra_vars: true\nkeyed_groups: [{key: role}]", "_extra=w1,w2,d.x.org"),
        ("keyed_groups: [{key: ansible_os, prefix: os}]", "os_Debian=w1"),
    ];
    for (text, expected) in cases {
        assert_eq!(groups(&load_with(text, &with).0), expected, "{text}");
    }
}

#[test]
fn sources_see_earlier_ones_alone_and_made_text_is_no_template() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        fs::write(dir.path().join(name), text).unwrap();
    };
    write("1", "[all:vars]\ne=1\n[g]\nh\n[g:vars]\nv=1\n");
    write(
        "2.config",
        "plugin: ansible.builtin.constructed\ncompose: {a: v + 1, b: late, c: \"'{' ~ '{ v }}'\", d: e}\n",
    );
    write("3.yml", "plugin: constructed\nkeyed_groups: [{key: a | string, prefix: n}]\n");
    write("4.yml", "g: {vars: {late: 1}}\n");
    let mut diags = Diags::new();
    let source = dir.path().display().to_string();
    let inventory = Inventory::load(&[source], &no_vault, &Constructing::default(), &mut diags);
    assert_eq!(diags.render(false), "");
    assert_eq!(groups(&inventory), "g=h n_2=h");
    let of = |name: &str| inventory.hosts["h"].vars.get(name).cloned();
    assert_eq!(of("a").and_then(|node| node.as_int()), Some(2));
    assert!(of("b").is_none(), "a later source is not seen");
    assert!(of("c").is_some_and(|node| node.is_unsafe() && !node.is_template()));
    assert!(of("d").is_none(), "that g is below all is settled after the last source");
}

#[test]
fn names_of_groups() {
    let cases = [("a-b.c", "a_b_c"), ("9a9", "_a9"), ("x y", "x_y"), ("é", "é"), ("", ""), ("_a", "_a")];
    for (name, expected) in cases {
        assert_eq!(safe_name(name), expected);
    }
}
