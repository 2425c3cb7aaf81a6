//! `ansible.cfg` and `ANSIBLE_*` variables, as a user meets them.

use std::process::{Command, Output};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.write("hosts", "[web]\na\n");
        folder.write("other", "[db]\nb\n");
        folder
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn deploy(&self, words: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deploy"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ANSIBLE_") || name == "DEPLOY_INVENTORY")
        {
            command.env_remove(name);
        }
        command.args(words).current_dir(self.0.path()).env("HOME", self.0.path()).env("NO_COLOR", "1");
        command.env("XDG_STATE_HOME", self.0.path().join("state")).envs(variables.iter().copied());
        command.stdin(std::process::Stdio::null()).output().unwrap()
    }

    fn out(&self, words: &[&str], variables: &[(&str, &str)]) -> String {
        let output = self.deploy(words, variables);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn the_inventory_is_that_of_option_variable_or_file() {
    let folder = Folder::new();
    folder.write("conf/ansible.cfg", "[defaults]\ninventory = ../hosts\n");
    let list = |words: &[&str], variables: &[(&str, &str)]| {
        let words: Vec<&str> = ["inventory", "--graph"].iter().chain(words).copied().collect();
        folder.out(&words, variables)
    };
    let cfg = ("ANSIBLE_CONFIG", "conf");
    assert!(list(&[], &[cfg]).contains("@web"));
    assert!(list(&[], &[cfg, ("ANSIBLE_INVENTORY", "other")]).contains("@db"));
    assert!(list(&["-i", "hosts"], &[cfg, ("ANSIBLE_INVENTORY", "other")]).contains("@web"));
    assert!(list(&[], &[("ANSIBLE_INVENTORY", "hosts,other")]).contains("@web"));
}

#[test]
fn what_is_wrong_has_a_place_and_what_has_no_effect_is_named_once() {
    let folder = Folder::new();
    folder.write("ansible.cfg", "[defaults]\ninventory = hosts\n\nforks = many\n");
    let output = folder.deploy(&["inventory", "--list"], &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(said.contains("ansible.cfg:4: forks: `many` is not a number"), "{said}");
    folder.write("ansible.cfg", "[defaults]\ninventory = hosts\n[ssh_connection]\npipelining = True\n");
    let output = folder.deploy(&["inventory", "--list"], &[("ANSIBLE_LOG_PATH", "x")]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success());
    assert_eq!(said.matches("ANSIBLE_LOG_PATH, [ssh_connection] pipelining have no effect here").count(), 1, "{said}");
    // A page of the documentation has nothing to do with it.
    assert!(folder.deploy(&["doc", "copy"], &[("ANSIBLE_FORKS", "many")]).status.success());
}

#[test]
fn a_run_takes_its_settings() {
    let folder = Folder::new();
    folder.write(
        "ansible.cfg",
        "[defaults]\ninventory = here,\nroles_path = shared\nforks = 3\ngathering = explicit\nansible_managed = by us\n\
         vault_identity_list = prod@pass\n[diff]\nalways = yes\n[tags]\nskip = slow\n",
    );
    folder.write("pass", "a password\n");
    folder.write(
        "shared/r/tasks/main.yml",
        "- debug: {msg: 'role {{ ansible_forks }} {{ ansible_diff_mode }} {{ ansible_managed }} {{ x }}'}\n",
    );
    folder.write(
        "play.yml",
        "- hosts: all\n  connection: local\n  roles: [r]\n  tasks: [{debug: {msg: never}, tags: slow}]\n  vars_files: [secret.yml]\n",
    );
    folder.write("plain", "x: opened\n");
    folder.out(&["vault", "encrypt", "--output", "secret.yml", "plain"], &[]);
    assert!(std::fs::read_to_string(folder.0.path().join("secret.yml")).unwrap().contains(";prod\n"));
    let said = folder.out(&["play.yml"], &[]);
    assert!(said.contains("role 3 True by us"), "{said}");
    assert!(!said.contains("Gathering Facts") && !said.contains("never"), "{said}");
    let said =
        folder.out(&["play.yml", "--skip-tags", "none"], &[("ANSIBLE_GATHERING", "implicit"), ("ANSIBLE_FORKS", "9")]);
    assert!(said.contains("role 9 True by us") && said.contains("never"), "{said}");
    // Two plays, and facts once.
    folder.write(
        "two.yml",
        "- hosts: all\n  connection: local\n- hosts: all\n  connection: local\n  gather_subset: [min]\n",
    );
    for (gathering, count) in [("implicit", 2), ("explicit", 0), ("smart", 1)] {
        let said = folder.out(&["two.yml", "--format", "json"], &[("ANSIBLE_GATHERING", gathering)]);
        let done = said.lines().filter(|line| line.contains("\"task_done\"") && line.contains("Gathering Facts"));
        assert_eq!(done.count(), count, "{gathering}: {said}");
    }
}
