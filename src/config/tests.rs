//! Tables of files and variables, and what they mean.

use super::*;
use std::os::unix::fs::PermissionsExt;

fn around<'a>(directory: &'a Path, variables: &[(&str, &str)]) -> Surroundings<'a> {
    Surroundings {
        variables: variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        directory,
        home: Some(directory.join("home")),
        system: directory,
    }
}

fn settings(text: &str, variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    let ini = Ini::parse(Path::new("/srv/ops/ansible.cfg"), text)?;
    Settings::of(&ini, &around(Path::new("/here"), variables))
}

#[test]
fn the_first_file_that_is_there_counts() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    for directory in ["here", "home", "etc", "elsewhere"] {
        std::fs::create_dir(root.join(directory)).unwrap();
    }
    let found = |named: Option<&str>| {
        let variables = named.map(|name| ("ANSIBLE_CONFIG".to_string(), name.to_string()));
        let (directory, system) = (root.join("here"), root.join("etc"));
        let around = Surroundings {
            variables: variables.into_iter().collect(),
            directory: &directory,
            home: Some(root.join("home")),
            system: &system,
        };
        let found = find(&around);
        let name = |path: PathBuf| path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        (found.path.map(name), found.warning.is_some())
    };
    assert_eq!(found(None), (None, false));
    for (file, named, expected, warned) in [
        ("etc/ansible.cfg", None, "etc/ansible.cfg", false),
        ("home/.ansible.cfg", None, "home/.ansible.cfg", false),
        ("here/ansible.cfg", None, "here/ansible.cfg", false),
        ("elsewhere/ansible.cfg", Some("../elsewhere"), "here/../elsewhere/ansible.cfg", false),
        ("elsewhere/x.cfg", Some("../elsewhere/x.cfg"), "here/../elsewhere/x.cfg", false),
        ("elsewhere/x.cfg", Some("missing.cfg"), "here/ansible.cfg", true),
    ] {
        std::fs::write(root.join(file), "[defaults]\n").unwrap();
        assert_eq!(found(named), (Some(expected.to_string()), warned), "{file} {named:?}");
    }
    std::fs::set_permissions(root.join("here"), std::fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(found(None), (Some("home/.ansible.cfg".into()), true), "everybody could have written it");
    assert_eq!(found(Some("ansible.cfg")), (Some("here/ansible.cfg".into()), false), "it was named");
}

#[test]
fn the_text_is_read_as_python_reads_it() {
    let text =
        "# c\n; c\n[defaults]\nForks = 5 ; five\nroles_path: a;b\ninventory =\n    one,\n    two\n\n[x]\nk=v=w\n";
    let ini = Ini::parse(Path::new("a.cfg"), text).unwrap();
    let entries: Vec<(&str, &str, &str, usize)> =
        ini.entries.iter().map(|e| (e.section.as_str(), e.key.as_str(), e.value.as_str(), e.line)).collect();
    let expected = [
        ("defaults", "forks", "5", 4),
        ("defaults", "roles_path", "a;b", 5),
        ("defaults", "inventory", "\none,\ntwo", 6),
        ("x", "k", "v=w", 11),
    ];
    assert_eq!(entries, expected);
    for (text, part) in [
        ("a = 1\n", "a.cfg:1: `a = 1` stands before"),
        ("[a\n", "a.cfg:1: a section"),
        ("[a]\nword\n", "a.cfg:2: `word`"),
    ] {
        let error = Ini::parse(Path::new("a.cfg"), text).unwrap_err().to_string();
        assert!(error.starts_with(part), "{error}");
    }
}

/// A file, variables, and a part of what is made of them.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], fn(&Settings) -> String, &'a str);

#[test]
fn variables_win_over_the_file() {
    let table: &[Case<'_>] = &[
        ("", &[], |s| format!("{:?}", s.forks), "None"),
        ("[defaults]\nforks = 7\n", &[], |s| format!("{:?}", s.forks), "Some(7)"),
        ("[defaults]\nforks = 7\n", &[("ANSIBLE_FORKS", "9")], |s| format!("{:?}", s.forks), "Some(9)"),
        ("[defaults]\ninventory = hosts, ~/more\n", &[], |s| s.inventory.join(" "), "/srv/ops/hosts /here/home/more"),
        ("[defaults]\ninventory = hosts\n", &[("ANSIBLE_INVENTORY", "mine")], |s| s.inventory.join(" "), "/here/mine"),
        ("", &[("ANSIBLE_INVENTORY", "a,b,")], |s| s.inventory.join(" "), "a,b,"),
        (
            "[defaults]\nroles_path = roles:$X/r:/r\n",
            &[("X", "/x")],
            |s| format!("{:?}", s.roles_path.as_ref().unwrap()),
            "[\"/srv/ops/roles\", \"/x/r\", \"/r\"]",
        ),
        ("[defaults]\nhost_key_checking = False\n", &[], |s| format!("{:?}", s.host_key_checking), "Some(false)"),
        (
            "[ssh_connection]\nhost_key_checking = no\n[defaults]\nhost_key_checking = yes\n",
            &[],
            |s| format!("{:?}", s.host_key_checking),
            "Some(false)",
        ),
        (
            "[privilege_escalation]\nbecome = yes\nbecome_user = db\n",
            &[("ANSIBLE_BECOME_USER", "app")],
            |s| format!("{} {:?}", s.become_, s.become_user),
            "true Some(\"app\")",
        ),
        (
            "[defaults]\nvault_identity_list = dev@dev.txt, prod@prompt, plain\n",
            &[],
            |s| s.vault_identity_list.join(" "),
            "dev@/srv/ops/dev.txt prod@prompt /srv/ops/plain",
        ),
        (
            "[defaults]\nvault_password_file = {{CWD}}/pass\n",
            &[],
            |s| format!("{:?}", s.vault_password_file),
            "Some(\"/here/pass\")",
        ),
        ("[defaults]\ngathering = smart\n", &[], |s| format!("{:?}", s.gathering), "Smart"),
        ("[defaults]\nstrategy = ansible.builtin.free\n", &[], |s| format!("{:?}", s.strategy), "Some(\"free\")"),
        (
            "[diff]\nalways = True\ncontext = 5\n",
            &[],
            |s| format!("{} {:?}", s.diff_always, s.diff_context),
            "true Some(5)",
        ),
        ("[defaults]\ntimeout = 3\n[ssh_connection]\ntimeout = 4\n", &[], |s| format!("{:?}", s.timeout), "Some(4)"),
        ("[defaults]\nhash_behaviour = merge\n", &[], |s| format!("{}", s.merge_hashes), "true"),
        ("[defaults]\nremote_user = \"a b\"\n", &[], |s| format!("{:?}", s.remote_user), "Some(\"a b\")"),
        (
            "[tags]\nskip = a, b\n",
            &[("ANSIBLE_RUN_TAGS", "c")],
            |s| format!("{:?} {:?}", s.run_tags, s.skip_tags),
            "[\"c\"] [\"a\", \"b\"]",
        ),
    ];
    for (text, variables, of, expected) in table {
        let settings = settings(text, variables).unwrap();
        assert_eq!(of(&settings), *expected, "{text} {variables:?}");
        assert_eq!(settings.warnings, Vec::<String>::new(), "{text}");
    }
}

#[test]
fn wrong_values_are_errors_with_their_place() {
    for (text, variables, part) in [
        ("[defaults]\nforks = many\n", &[][..], "/srv/ops/ansible.cfg:2: forks: `many` is not a number from 1 on"),
        ("[defaults]\nforks = 0\n", &[], "forks: `0` is not"),
        ("", &[("ANSIBLE_BECOME", "perhaps")], "ANSIBLE_BECOME: `perhaps` is neither yes nor no"),
        ("[defaults]\nfact_caching = jsonfile\n", &[], "`jsonfile` needs a directory: fact_caching_connection"),
        ("[defaults]\ngathering = often\n", &[], "`often` is not implicit, explicit or smart"),
        ("[defaults]\nstrategy = debug\n", &[], "`debug` is not linear"),
        ("[defaults]\nhash_behaviour = blend\n", &[], "`blend` is neither replace nor merge"),
    ] {
        let error = settings(text, variables).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn undefined_variables_stay_errors() {
    let found = settings("", &[("ANSIBLE_ERROR_ON_UNDEFINED_VARS", "no")]).unwrap();
    assert!(
        found.warnings[0].starts_with("ANSIBLE_ERROR_ON_UNDEFINED_VARS: `no` has no effect"),
        "{:?}",
        found.warnings
    );
}

#[test]
fn what_has_no_effect_is_named_in_one_sentence() {
    let text = "[defaults]\nforks = 5\ninject_facts = x\nfact_caching = redis\n[ssh_connection]\npipelining = yes\nlibrary = y\n";
    let found = settings(text, &[("ANSIBLE_LOG_PATH", "x"), ("ANSIBLE_FORKS", "3"), ("HOME", "/root")]).unwrap();
    assert_eq!(
        found.warnings,
        [
            "fact_caching = redis has no effect: facts are kept in memory or in a jsonfile",
            "/srv/ops/ansible.cfg: ANSIBLE_LOG_PATH, [defaults] inject_facts, [ssh_connection] library, [ssh_connection] \
             pipelining have no effect here",
        ]
    );
    assert_eq!(settings("", &[("ANSIBLE_X", "")]).unwrap().warnings, ["the environment: ANSIBLE_X has no effect here"]);
}

/// The table of docs/configuration.md, as the code has it.
fn page() -> String {
    let mut text = String::from("| `ansible.cfg` | Variable | Meaning |\n|---|---|---|\n");
    for (variables, places, meaning) in TABLE {
        let places: Vec<String> = places.iter().map(|(section, key)| format!("`[{section}] {key}`")).collect();
        let variables: Vec<String> = variables.iter().map(|name| format!("`{name}`")).collect();
        text += &format!("| {} | {} | {meaning} |\n", places.join(", "), variables.join(", "));
    }
    text
}

#[test]
fn the_page_has_every_setting() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(&page()), "docs/configuration.md needs this table:\n{}", page());
}
