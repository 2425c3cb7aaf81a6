//! `deploy vault` as a user runs it, and `ansible-vault` beside it where there is one.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.write("one", "first password\n");
        folder.write("two", "it's \"the\" second\n");
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn program(&self, name: &str, text: &str) -> String {
        self.write(name, text);
        std::fs::set_permissions(self.path(name), PermissionsExt::from_mode(0o755)).unwrap();
        self.path(name).display().to_string()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn run(&self, program: &Path, words: &str, stdin: &str, variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(program);
        command.args(words.split(' ')).current_dir(self.0.path());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ANSIBLE_")) {
            command.env_remove(name);
        }
        command
            .envs(variables.iter().copied())
            .env("XDG_RUNTIME_DIR", self.0.path())
            .env("ANSIBLE_LOCAL_TEMP", self.path("tmp"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes()); // who reads nothing closes it
        child.wait_with_output().unwrap()
    }

    fn deploy(&self, words: &str, stdin: &str) -> String {
        self.deploy_with(words, stdin, &[])
    }

    fn deploy_with(&self, words: &str, stdin: &str, variables: &[(&str, &str)]) -> String {
        good(&self.run(Path::new(env!("CARGO_BIN_EXE_deploy")), &format!("vault {words}"), stdin, variables))
    }

    fn refused(&self, words: &str, stdin: &str, variables: &[(&str, &str)]) -> (i32, String) {
        let program = Path::new(env!("CARGO_BIN_EXE_deploy"));
        let output = self.run(program, &format!("vault {words}"), stdin, variables);
        assert!(!output.status.success(), "{words}: {output:?}");
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

fn good(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn standard_input_and_output() {
    let folder = Folder::new();
    let text = folder.deploy("encrypt --vault-id dev@one", "clear\n");
    assert!(text.starts_with("$ANSIBLE_VAULT;1.2;AES256;dev\n"), "{text}");
    assert_eq!(folder.deploy("decrypt --vault-id dev@one -", &text), "clear\n");
    assert_eq!(folder.deploy("view --vault-password-file one -", &text), "clear\n");
    assert_eq!(folder.deploy_with("decrypt --output -", &text, &[("ANSIBLE_VAULT_PASSWORD_FILE", "one")]), "clear\n");
    let (code, why) = folder.refused("decrypt --vault-id dev@two", &text, &[]);
    assert_eq!((code, why.contains("standard input: none of the 1 vault passwords opens it")), (1, true), "{why}");
    assert!(!why.contains("second"), "{why}");
    let (code, _) = folder.refused("encrypt --vault-id dev@one --vault-id x@two", "clear", &[]);
    assert_eq!(code, 5);
}

#[test]
fn values_for_a_file_of_variables() {
    let folder = Folder::new();
    let text = folder.deploy("encrypt-string --vault-password-file one --stdin-name db", "s3cr3t");
    assert!(text.starts_with("db: !vault |\n          $ANSIBLE_VAULT;1.1;AES256\n          "), "{text}");
    let inner: String = text.lines().skip(1).map(|line| format!("{}\n", line.trim())).collect();
    assert_eq!(folder.deploy("decrypt --vault-password-file one", &inner), "s3cr3t");
    let two = folder.deploy("encrypt_string --vault-password-file one -n a -n b first second", "");
    assert_eq!(two.matches("!vault |").count(), 2);
    assert!(two.contains("\nb: !vault |\n"), "{two}");
    let (code, why) = folder.refused("encrypt-string --vault-password-file one", "", &[]);
    assert_eq!((code, why.contains("is empty")), (5, true), "{why}");
}

#[test]
fn an_editor_sees_the_clear_text_and_nobody_else() {
    let folder = Folder::new();
    let editor = folder.program(
        "editor",
        "#!/bin/sh\nfor file; do :; done\nstat -c '%a %n' \"$file\" \"$(dirname \"$file\")\" > seen\ncat \"$file\" > before\n\
         [ \"$1\" = -keep ] || echo 'b: 2' >> \"$file\"\n[ \"$1\" != -fail ]\n",
    );
    let with = |options: &str| format!("{editor}{options}");
    folder.write("secret.yml", &folder.deploy("encrypt --vault-id prod@one", "a: 1\n"));
    std::fs::set_permissions(folder.path("secret.yml"), PermissionsExt::from_mode(0o644)).unwrap();
    let text = folder.read("secret.yml");

    folder.deploy_with("edit --vault-id prod@one secret.yml", "", &[("EDITOR", &with(" -keep"))]);
    assert_eq!(folder.read("secret.yml"), text, "it was not changed, and is not written");
    let (_, why) = folder.refused("edit --vault-id prod@one secret.yml", "", &[("EDITOR", &with(" -fail"))]);
    assert!(why.contains("secret.yml is as it was"), "{why}");
    assert_eq!(folder.read("secret.yml"), text);

    folder.deploy_with("edit --vault-id other@two --vault-id x@one secret.yml", "", &[("EDITOR", &with(""))]);
    assert_eq!(folder.read("before"), "a: 1\n");
    let seen = folder.read("seen");
    let mut seen = seen.lines();
    assert!(seen.next().is_some_and(|line| line.starts_with("600 ") && line.ends_with("/secret.yml")), "{seen:?}");
    let directory = seen.next().unwrap();
    assert!(directory.starts_with("700 "), "{directory}");
    assert!(!Path::new(&directory[4..]).exists(), "{directory}");
    let mode = std::fs::metadata(folder.path("secret.yml")).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o644);
    let text = folder.read("secret.yml");
    assert!(text.starts_with("$ANSIBLE_VAULT;1.2;AES256;prod\n"), "the id of its header stays: {text}");
    assert_eq!(folder.deploy("decrypt --vault-id prod@one", &text), "a: 1\nb: 2\n");

    folder.deploy_with("create --vault-password-file one new.yml", "", &[("EDITOR", &with(""))]);
    assert_eq!(folder.deploy("view --vault-password-file one new.yml", ""), "b: 2\n");
    let (_, why) = folder.refused("create --vault-password-file one new.yml", "", &[("EDITOR", &with(""))]);
    assert!(why.contains("is there already"), "{why}");
}

#[test]
fn what_was_edited_is_kept_when_the_file_was_changed_meanwhile() {
    let folder = Folder::new();
    folder.write("s", &folder.deploy("encrypt --vault-id prod@one", "a: 1\n"));
    let editor = folder.program("editor", "#!/bin/sh\necho other > s\necho mine > \"$1\"\n");
    let (code, why) = folder.refused("edit --vault-id prod@one s", "", &[("EDITOR", &editor)]);
    assert_eq!((code, folder.read("s").as_str()), (1, "other\n"));
    let kept = why.split("what was edited is in ").nth(1).unwrap().split(", encrypted").next().unwrap();
    let text = std::fs::read_to_string(kept).unwrap();
    std::fs::remove_file(kept).unwrap();
    assert_eq!(folder.deploy("decrypt --vault-id prod@one", &text), "mine\n");
}

/// Both ways: what one encrypts the other reads.
#[test]
fn exchanged_with_ansible_vault() {
    let cache = std::env::var("DEPLOY_DIFFERENTIAL_CACHE").unwrap_or_else(|_| "/var/cache/deploy-differential".into());
    let ansible = Path::new(&cache).join("venv/bin/ansible-vault");
    if !ansible.exists() {
        eprintln!(
            "there is no ansible-vault (make differential brings one): only what it once made is read, in src/vars/vault.rs"
        );
        return;
    }
    let folder = Folder::new();
    let clients = folder.program("pass-client", "#!/bin/sh\necho \"for $2\"\n");
    let clear = "a: 1\nümlaut: ß\n";
    for (number, (options, header)) in [
        ("--vault-password-file one".to_string(), "1.1;AES256\n"),
        ("--vault-id prod@two".to_string(), "1.2;AES256;prod\n"),
        ("--vault-id default@two".to_string(), "1.1;AES256\n"),
        (format!("--vault-id dev@{clients}"), "1.2;AES256;dev\n"),
        ("--vault-id a@one --vault-id b@two --encrypt-vault-id b".to_string(), "1.2;AES256;b\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let reading = options.replace(" --encrypt-vault-id b", "");
        let (ours, theirs) = (format!("ours{number}"), format!("theirs{number}"));
        folder.write(&ours, clear);
        folder.write(&theirs, clear);
        folder.deploy(&format!("encrypt {options} {ours}"), "");
        good(&folder.run(&ansible, &format!("encrypt {options} {theirs}"), "", &[]));
        for file in [&ours, &theirs] {
            assert!(
                folder.read(file).starts_with(&format!("$ANSIBLE_VAULT;{header}")),
                "{options}: {}",
                folder.read(file)
            );
        }
        assert_eq!(
            good(&folder.run(&ansible, &format!("view {reading} {ours}"), "", &[])).trim_end(),
            clear.trim_end()
        );
        assert_eq!(folder.deploy(&format!("view {reading} {theirs}"), ""), clear);
        let value = good(&folder.run(&ansible, &format!("encrypt_string {options} -n x word"), "", &[]));
        let own = folder.deploy(&format!("encrypt-string {options} -n x word"), "");
        assert_eq!(value.lines().take(2).collect::<Vec<_>>(), own.lines().take(2).collect::<Vec<_>>());
        assert_eq!(value.lines().count(), own.lines().count());
    }
    folder.write("f", clear);
    folder.deploy("encrypt --vault-id dev@one f", "");
    good(&folder.run(&ansible, "rekey --vault-id dev@one --new-vault-id prod@two f", "", &[]));
    assert_eq!(folder.deploy("view --vault-id prod@two f", ""), clear);
    folder.deploy("rekey --vault-id prod@two --new-vault-password-file one f", "");
    good(&folder.run(&ansible, "decrypt --vault-password-file one f", "", &[]));
    assert_eq!(folder.read("f"), clear);
}
