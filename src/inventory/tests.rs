//! Tables for sources, patterns, precedence and printing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::source::{Diags, no_vault};

fn text(name: &str, text: &str) -> (Inventory, String) {
    let mut diags = Diags::new();
    let inventory = Inventory::from_text(name, text, &mut diags);
    (inventory, diags.render(false))
}

fn yaml(source: &str) -> Inventory {
    let (inventory, diags) = text("hosts.yml", source);
    assert_eq!(diags, "");
    inventory
}

fn load(dir: &Path, sources: &[&str]) -> (Inventory, Diags) {
    let mut diags = Diags::new();
    let sources: Vec<String> = sources.iter().map(|s| dir.join(s).display().to_string()).collect();
    let inventory = Inventory::load(&sources, &no_vault, &Constructing::default(), &mut diags);
    (inventory, diags)
}

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

const SITE: &str = "
all:
  vars: {a: 1}
  children:
    galera:
      vars: {a: 2}
      children:
        dc1:
          hosts:
            db[1:2]: {x: 1}
        dc2:
          hosts:
            db3:
              ansible_host: 10.0.0.3
    web:
      hosts:
        web[01:03]:
    lb:
      hosts:
        lb-[a:b].example.org:2222:
  hosts:
    lonely:
";

#[test]
fn yaml_graph() {
    let inventory = yaml(SITE);
    insta::assert_snapshot!(graph(&inventory, "all", None, true), @r#"
    @all:
      |--@ungrouped:
      |  |--lonely
      |  |  |--{a = 1}
      |--@galera:
      |  |--@dc1:
      |  |  |--db1
      |  |  |  |--{a = 2}
      |  |  |  |--{x = 1}
      |  |  |--db2
      |  |  |  |--{a = 2}
      |  |  |  |--{x = 1}
      |  |--@dc2:
      |  |  |--db3
      |  |  |  |--{a = 2}
      |  |  |  |--{ansible_host = 10.0.0.3}
      |  |--{a = 2}
      |--@web:
      |  |--web01
      |  |  |--{a = 1}
      |  |--web02
      |  |  |--{a = 1}
      |  |--web03
      |  |  |--{a = 1}
      |--@lb:
      |  |--lb-a.example.org
      |  |  |--{a = 1}
      |  |  |--{ansible_port = 2222}
      |  |--lb-b.example.org
      |  |  |--{a = 1}
      |  |  |--{ansible_port = 2222}
      |--{a = 1}
    "#);
}

#[test]
fn yaml_list() {
    insta::assert_snapshot!(list_json(&yaml(SITE), None, true), @r#"
    {
        "_meta": {
            "hostvars": {
                "db1": {
                    "a": 2,
                    "x": 1
                },
                "db2": {
                    "a": 2,
                    "x": 1
                },
                "db3": {
                    "a": 2,
                    "ansible_host": "10.0.0.3"
                },
                "lb-a.example.org": {
                    "a": 1,
                    "ansible_port": 2222
                },
                "lb-b.example.org": {
                    "a": 1,
                    "ansible_port": 2222
                },
                "lonely": {
                    "a": 1
                },
                "web01": {
                    "a": 1
                },
                "web02": {
                    "a": 1
                },
                "web03": {
                    "a": 1
                }
            }
        },
        "all": {
            "children": [
                "ungrouped",
                "galera",
                "web",
                "lb"
            ],
            "vars": {
                "a": 1
            }
        },
        "dc1": {
            "hosts": [
                "db1",
                "db2"
            ]
        },
        "dc2": {
            "hosts": [
                "db3"
            ]
        },
        "galera": {
            "children": [
                "dc1",
                "dc2"
            ],
            "vars": {
                "a": 2
            }
        },
        "lb": {
            "hosts": [
                "lb-a.example.org",
                "lb-b.example.org"
            ]
        },
        "ungrouped": {
            "hosts": [
                "lonely"
            ]
        },
        "web": {
            "hosts": [
                "web01",
                "web02",
                "web03"
            ]
        }
    }
    "#);
}

#[test]
fn patterns() {
    let table: &[(&str, &str)] = &[
        ("all", "lonely web01 web02 web03 lb-a.example.org lb-b.example.org db1 db2 db3"),
        ("*", "lonely web01 web02 web03 lb-a.example.org lb-b.example.org db1 db2 db3"),
        ("galera", "db1 db2 db3"),
        ("galera:web", "db1 db2 db3 web01 web02 web03"),
        ("web,galera", "web01 web02 web03 db1 db2 db3"),
        ("galera:&dc1", "db1 db2"),
        ("galera:!dc1", "db3"),
        ("!dc1:galera", "db3"),
        ("galera:&dc1:!db2", "db1"),
        ("all:!galera:!web", "lonely lb-a.example.org lb-b.example.org"),
        ("!galera", "lonely web01 web02 web03 lb-a.example.org lb-b.example.org"),
        ("&dc2", "db3"),
        ("db*", "db1 db2 db3"),
        ("[d]b1", "db1"),
        ("db?", "db1 db2 db3"),
        ("db[!1]", "db2 db3"),
        ("*.example.org", "lb-a.example.org lb-b.example.org"),
        ("~(db|web0)[12]", "db1 db2 web01 web02"),
        ("~db", "db1 db2 db3"),
        ("~b1", ""),
        ("galera[0]", "db1"),
        ("galera[-1]", "db3"),
        ("galera[0:1]", "db1 db2"),
        ("galera[1:]", "db2 db3"),
        ("galera[1:9]", "db2 db3"),
        ("galera[0]:web[1]", "db1 web02"),
        ("db2", "db2"),
        ("db2,db1,db2", "db2 db1"),
        ("ungrouped", "lonely"),
        ("localhost", "localhost"),
        ("nothing", ""),
    ];
    for (pattern, expected) in table {
        let mut inventory = yaml(SITE);
        let mut diags = Diags::new();
        let selected = inventory.select(&[(*pattern).to_owned()], &[], &Span::generated(), &mut diags);
        let names: Vec<&str> = selected.hosts.iter().map(HostName::as_str).collect();
        assert_eq!(names.join(" "), *expected, "{pattern}");
    }
}

#[test]
fn what_matches_nothing_is_said() {
    let mut inventory = yaml(SITE);
    let mut select = |pattern: &str| {
        let mut diags = Diags::new();
        inventory.select(&[pattern.to_owned()], &[], &Span::generated(), &mut diags);
        diags.render(false)
    };
    assert_eq!(select("galera:nope"), "warning: Could not match supplied host pattern, ignoring: nope");
    assert!(select("galera[7]").contains("no host matches `galera[7]`: `galera` has 3"));
    assert!(select("~(").contains("is no pattern"));
    assert_eq!(select("all"), "");
}

#[test]
fn limits() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "retry", "db1\n\nweb01\n");
    let mut inventory = yaml(SITE);
    let mut diags = Diags::new();
    let mut run = |limit: &str| {
        let limit = Inventory::limit_patterns(limit, &mut diags);
        let span = Span::generated();
        let selection = inventory.select(&["galera".to_owned()], &limit, &span, &mut diags);
        selection.hosts.iter().map(|h| h.as_str().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(run("dc1"), "db1 db2");
    assert_eq!(run("db3,db1"), "db1 db3");
    assert_eq!(run("all:!db1"), "db2 db3");
    assert_eq!(run("!db1"), "db2 db3");
    assert_eq!(run(&format!("@{}", dir.path().join("retry").display())), "db1");
    assert_eq!(run("@/nonexistent/limit"), "db1 db2 db3");
    assert!(diags.render(false).contains("cannot read the limit file"));
}

#[test]
fn implicit_localhost_is_not_in_all() {
    let mut inventory = yaml(SITE);
    assert_eq!(inventory.ensure_localhost("localhost").unwrap().as_str(), "localhost");
    assert!(!inventory.group_hosts("all").contains("localhost"));
    inventory.reconcile();
    assert!(inventory.groups["ungrouped"].hosts.get("localhost").is_none());
    assert!(inventory.group_names("localhost").is_empty());
    let layers = inventory.variable_layers("localhost", None);
    assert_eq!(layers[0].name, "inventory group all");
    let mut with = yaml("all: {hosts: {127.0.0.1: {ansible_connection: local}}}");
    assert_eq!(with.ensure_localhost("localhost").unwrap().as_str(), "127.0.0.1");
}

#[test]
fn ini_as_ansible_reads_it() {
    let (inventory, diags) = text(
        "hosts",
        r#"# comment
; another
bare ansible_host=10.0.0.9 # why
port.example.org:2222

[web]
web[1:2] a=1 b='two words' c="[1, 'x']" d=0644 e=True f=yes  g=1.5 h={'k':2}
[db:children]
dc1
[dc1]
db1
[dc1:vars]
x=5
y = some text # kept
z = "quoted" # dropped
l = [1,2]
[db:vars]
ansible_group_priority=10
"#,
    );
    assert_eq!(diags, "");
    let show = |host: &str| format!("{:?}", inventory.merged_vars(host, None));
    assert_eq!(show("bare"), r#"{"ansible_host": "10.0.0.9"}"#);
    assert_eq!(show("port.example.org"), r#"{"ansible_port": 2222}"#);
    assert_eq!(
        show("web2"),
        r#"{"a": 1, "b": "two words", "c": [1, "x"], "d": "0644", "e": true, "f": "yes", "g": 1.5, "h": "{k:2}"}"#
    );
    assert_eq!(show("db1"), r#"{"x": 5, "y": "some text # kept", "z": "quoted", "l": [1, 2]}"#);
    assert_eq!(inventory.groups["db"].priority, 10);
    assert_eq!(inventory.group_names("db1"), [Arc::from("db"), Arc::from("dc1")]);
    let a = &inventory.hosts["web1"].vars["a"];
    assert_eq!((a.raw(), a.span.line_col()), ("1", (7, 12)));
}

#[test]
fn python_literals() {
    let table = [
        ("1", "1"),
        ("-1", "-1"),
        ("0644", "none"),
        ("0o644", "420"),
        ("1_000", "1000"),
        ("1e3", "1000.0"),
        ("True", "true"),
        ("true", "none"),
        ("None", "null"),
        ("'a' \"b\"", "\"ab\""),
        ("r'\\n'", "\"\\\\n\""),
        ("'\\x41\\n'", "\"A\\n\""),
        ("[1, 'x', [2]]", "[1, \"x\", [2]]"),
        ("(1, 2)", "[1, 2]"),
        ("1, 2", "[1, 2]"),
        ("()", "[]"),
        ("(1)", "1"),
        ("{'a': 1, 'b': {}}", "{\"a\": 1, \"b\": {}}"),
        ("{1, 2}", "[1, 2]"),
        ("1 # comment", "1"),
        ("a b", "none"),
        ("10.0.0.1", "none"),
        ("", "none"),
        ("[1", "none"),
        ("'open", "none"),
        ("1 2", "none"),
        ("--1", "1"),
    ];
    for (source, expected) in table {
        let value = python_literal(&Span::generated(), source);
        let shown = value.map_or("none".to_owned(), |node| format!("{node:?}"));
        assert_eq!(shown, expected, "{source}");
    }
}

#[test]
fn ranges() {
    let table = [
        ("db[1:3]", "db1 db2 db3"),
        ("db[01:03]", "db01 db02 db03"),
        ("db[08:10]", "db08 db09 db10"),
        ("db[a:c]x", "dbax dbbx dbcx"),
        ("db[1:5:2]", "db1 db3 db5"),
        ("r[1:2]n[a:b]", "r1na r1nb r2na r2nb"),
        ("db[:2]", "db0 db1 db2"),
        ("::1", "::1"),
        ("[fe80::1]:22", "fe80::1"),
        ("plain", "plain"),
        ("db[3:1]", "the range `[3:1]` ends before it begins"),
        ("db[01:100]", "both ends of `[01:100]` must have as many digits"),
        ("db[1:]", "the range `[1:]` has no end"),
        ("db[1-3]", "the range `[1-3]` must be begin:end or begin:end:step"),
        ("db[1:3", "the bracket in `db[1:3` is not closed"),
        ("db[1:3:0]", "the step `0` of `[1:3:0]` must be a positive number"),
        ("db[1:99999999999]", "more than 100000 hosts in one range"),
        ("a[1:999]b[1:999]", "more than 100000 hosts in one range"),
        ("h:99999", "`99999` in `h:99999` is no port"),
        ("h:", "`h:` is no host: it ends with a colon"),
    ];
    for (pattern, expected) in table {
        let shown = match expand_host_pattern(pattern) {
            Ok((hosts, _)) => hosts.join(" "),
            Err(why) => why,
        };
        assert_eq!(shown, expected, "{pattern}");
    }
}

#[test]
fn precedence_of_layers() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    write(
        root,
        "inv/hosts.yml",
        "all: {vars: {v: 1}, children: {top: {vars: {v: 2}, children: {sub: {vars: {v: 3}, hosts: {h1: {v: 10}}}}}}}",
    );
    for (name, v) in [("all", 4), ("top", 6), ("sub", 7)] {
        write(root, &format!("inv/group_vars/{name}.yml"), &format!("v: {v}\n"));
    }
    write(root, "play/group_vars/all/a.yml", "v: 5\nonly_a: 1\n");
    write(root, "play/group_vars/all/b.yaml", "only_b: 1\n");
    write(root, "play/group_vars/all/.hidden.yml", "v: 99\n");
    write(root, "play/group_vars/all/x.txt", "v: 99\n");
    write(root, "play/group_vars/top.json", "{\"v\": 8}");
    write(root, "play/group_vars/sub", "v: 9\n");
    write(root, "inv/host_vars/h1.yml", "v: 11\n");
    write(root, "play/host_vars/h1/z.yml", "v: 12\n");
    let (mut inventory, mut diags) = load(root, &["inv"]);
    let play = root.join("play");
    inventory.load_vars(Some(&play), &no_vault, &mut diags);
    assert_eq!(diags.render(false), "");
    let layers = inventory.variable_layers("h1", Some(&play));
    let shown: Vec<String> = layers.iter().map(|l| format!("{} {:?}", l.name, l.vars["v"])).collect();
    assert_eq!(
        shown,
        [
            "inventory group all 1",
            "inventory group top 2",
            "inventory group sub 3",
            "inventory group_vars/all 4",
            "playbook group_vars/all 5",
            "inventory group_vars/top 6",
            "inventory group_vars/sub 7",
            "playbook group_vars/top 8",
            "playbook group_vars/sub 9",
            "inventory host h1 10",
            "inventory host_vars/h1 11",
            "playbook host_vars/h1 12",
        ]
    );
    assert_eq!(inventory.merged_vars("h1", Some(&play))["only_b"].as_int(), Some(1));
    assert_eq!(inventory.merged_vars("h1", None)["v"].as_int(), Some(11));
    // A host that comes later finds its file.
    write(root, "play/host_vars/late.yml", "v: 1\n");
    let (mut inventory, _) = load(root, &["inv"]);
    inventory.add_host("late", Some("sub"), &Span::generated());
    inventory.reconcile();
    inventory.load_vars(Some(&play), &no_vault, &mut diags);
    assert_eq!(inventory.variable("late", "v", Some(&play)).unwrap().as_int(), Some(1));
}

#[test]
fn depth_priority_and_name_order_groups() {
    let inventory = yaml(
        "
a: {vars: {v: a}, hosts: {h}}
b: {vars: {v: b, ansible_group_priority: 5}, hosts: {h: }}
c: {vars: {v: c}, hosts: {h: }}
deep: {children: {er: {hosts: {h: }}}}
",
    );
    let order: Vec<&str> = inventory.host_groups("h").iter().map(|group| &*group.name).collect();
    assert_eq!(order, ["all", "a", "c", "deep", "b", "er"]);
    assert_eq!(inventory.variable("h", "v", None).unwrap().as_str(), Some("b"));
    assert!(inventory.merged_vars("h", None).get("ansible_group_priority").is_none());
}

#[test]
fn many_sources_merge() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    write(root, "a/10.yml", "web: {hosts: {w1: {x: 1, y: 1}}}\n");
    write(root, "a/20", "[web]\nw1 x=2\nw2\n[other]\nw2\n");
    write(root, "a/README.md", "no inventory\n");
    write(root, "a/.git", "no inventory\n");
    write(root, "b.json", "{\"web\": {\"hosts\": {\"w1\": {\"z\": 3}}}}");
    let (inventory, diags) = load(root, &["a", "b.json"]);
    assert_eq!(diags.render(false), "");
    assert_eq!(format!("{:?}", inventory.merged_vars("w1", None)), r#"{"x": 2, "y": 1, "z": 3}"#);
    let mut diags = Diags::new();
    let lists = Inventory::load(&["h1,h[2:3]:22,".into()], &no_vault, &Constructing::default(), &mut diags);
    assert_eq!(lists.group_hosts("ungrouped").len(), 3);
    assert_eq!(lists.variable("h3", "ansible_port", None).unwrap().as_int(), Some(22));
}

#[test]
fn executable_inventories() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let program = |name: &str, body: &str| {
        write(root, name, body);
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    program(
        "meta",
        "#!/bin/sh\necho '{\"web\": {\"hosts\": [\"w1\"], \"vars\": {\"g\": 1}, \"children\": [\"sub\"]}, \"sub\": [\"w2\"], \"_meta\": {\"hostvars\": {\"w1\": {\"x\": 1}, \"nobody\": {}}}}'\n",
    );
    program(
        "nometa",
        "#!/bin/sh\nif [ \"$1\" = --host ]; then echo \"{\\\"me\\\": \\\"$2\\\"}\"; else echo '{\"web\": [\"w1\", \"w2\"]}'; fi\n",
    );
    program("broken", "#!/bin/sh\necho boom >&2\nexit 3\n");
    program("garbage", "#!/bin/sh\necho '['\n");
    // Marked executable by accident.
    program("plain.yml", "web: {hosts: {w9: }}\n");
    let (inventory, diags) = load(root, &["meta"]);
    assert_eq!(diags.render(false), "");
    assert_eq!(format!("{:?}", inventory.merged_vars("w1", None)), r#"{"g": 1, "x": 1}"#);
    assert_eq!(inventory.group_names("w2"), [Arc::from("sub"), Arc::from("web")]);
    let (inventory, _) = load(root, &["nometa"]);
    assert_eq!(inventory.variable("w2", "me", None).unwrap().as_str(), Some("w2"));
    let (_, diags) = load(root, &["broken"]);
    assert!(diags.render(false).contains("failed: exit status: 3") && diags.render(false).contains("boom"));
    let (_, diags) = load(root, &["garbage"]);
    assert!(diags.has_errors());
    let (inventory, _) = load(root, &["plain.yml"]);
    assert!(inventory.hosts.contains_key("w9"));
}

#[test]
fn encrypted_variable_files_go_through_the_hook() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    write(root, "hosts.yml", "web: {hosts: {w1: }}");
    write(root, "group_vars/web.yml", "$ANSIBLE_VAULT;1.1;AES256\n6162\n");
    let (mut inventory, mut diags) = load(root, &["hosts.yml"]);
    inventory.load_vars(None, &no_vault, &mut diags);
    assert!(diags.render(false).contains("no vault password was given"));
    let (mut inventory, mut diags) = load(root, &["hosts.yml"]);
    let hook = |bytes: &[u8], _: &Path| {
        assert!(bytes.starts_with(b"$ANSIBLE_VAULT"));
        Ok(b"password: hunter2\npassword: hunter3\n".to_vec())
    };
    inventory.load_vars(None, &hook, &mut diags);
    let value = inventory.variable("w1", "password", None).unwrap();
    assert_eq!(value.as_str(), Some("hunter3"));
    assert!(value.span.file.sensitive);
    assert!(!format!("{value:?} {}", diags.render(false)).contains("hunter"));
}

#[test]
fn errors_as_users_see_them() {
    let cases = [
        ("hosts.yml", "a: {children: {b: {children: {a: }}}}\n"),
        ("hosts.yml", "a: {children: {a: }}\n"),
        ("hosts.yml", "a:\n  hosts:\n    - h1\n    - h2\n"),
        ("hosts.yml", "a:\n  host:\n    h1:\n"),
        ("hosts.yml", "a:\n  hosts:\n    h1: 3\n"),
        ("hosts.yml", "- h1\n"),
        ("hosts.yml", "plugin: amazon.aws.aws_ec2\n"),
        ("hosts.yml", "my-group:\n  hosts:\n    db[1-3]:\n"),
        ("hosts.yml", "a: {hosts: {h: {my-var: 1}}}\n"),
        ("hosts.yml", "a: {hosts: {a: }}\n"),
        ("hosts", "[web:childs]\n[web:vars]\nx=1\n[db:children]\nwbe\n[we b]\n"),
        ("hosts", "[web]\nw1 x\nw2 x='1\n[web:vars]\nnovalue\n"),
        ("hosts.ini", "---\nweb:\n"),
        ("hosts.yml", "a: {vars: {ansible_group_priority: high}}\n"),
    ];
    let shown: Vec<String> = cases.iter().map(|(name, source)| text(name, source).1).collect();
    insta::assert_snapshot!(shown.join("\n\n"));
    let (_, diags) = load(Path::new("/nonexistent"), &["inv"]);
    insta::assert_snapshot!(diags.render(false), @r#"
    error: cannot read the inventory /nonexistent/inv: no such file or directory
     |
     = help: a list of hosts ends with a comma: -i host1,
    "#);
}

#[test]
fn ten_thousand_hosts() {
    let started = std::time::Instant::now();
    let mut source = String::from("all:\n  children:\n    web:\n      hosts:\n");
    for n in 0..10_000 {
        source.push_str(&format!("        host{n}:\n          ansible_host: 10.0.0.{n}\n"));
    }
    let mut inventory = yaml(&source);
    let selected = inventory.select(&["web:!host3*".into()], &[], &Span::generated(), &mut Diags::new());
    assert_eq!(selected.hosts.len(), 10_000 - 1111);
    for host in &selected.hosts {
        assert!(!inventory.variable_layers(host.as_str(), None).is_empty());
    }
    // Generous: a debug build on a busy machine.
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

proptest::proptest! {
    #[test]
    fn no_ini_panics(source in "[\\[\\]a-c:=#; '\"\\\\\n\t{}(),0-9é-]{0,80}") {
        text("hosts", &source);
    }

    #[test]
    fn no_yaml_inventory_panics(source in "[\\[\\]a-b:{}, \n'hostvarclde-]{0,80}") {
        text("hosts.yml", &source);
    }

    #[test]
    fn no_pattern_panics(pattern in "[\\[\\]ab1:!&~*?,.@(|)-]{0,20}") {
        let mut inventory = yaml(SITE);
        inventory.select(&[pattern], &[], &Span::generated(), &mut Diags::new());
    }
}
