//! What `deploy vault` does to files, without a terminal. `tests/vault.rs` runs the program itself, and `ansible-vault` beside it.

use super::files::{Place, Target, replace};
use super::*;
use clap::Parser;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    vault: VaultArguments,
}

/// A directory with password files `one`, `two` and a program `say` that prints its arguments.
fn scratch() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [("one", " first password \n"), ("two", "second password\n")] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let program = dir.path().join("say-client");
    std::fs::write(&program, "#!/bin/sh\necho \"said:$*\"\n").unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    dir
}

/// Runs a command line, in which `@` before a word stands for the directory.
fn vault(dir: &Path, line: &str) -> Result<(), Fault> {
    let place = format!("{}/", dir.display());
    let words = line.split(' ').map(|word| word.replace('%', &place));
    let line = Line::try_parse_from(std::iter::once("vault".to_string()).chain(words)).unwrap();
    carry_out(&line.vault.command, &Redactor::new())
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn files_are_encrypted_rekeyed_and_decrypted_in_place() {
    let dir = scratch();
    let dir = dir.path();
    let file = dir.join("vars.yml");
    std::fs::write(&file, "password: x\n").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
    symlink("vars.yml", dir.join("link")).unwrap();
    let header = |wanted: &str| {
        assert_eq!(read(&file).lines().next(), Some(wanted));
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
        assert!(std::fs::symlink_metadata(dir.join("link")).unwrap().is_symlink());
    };
    vault(dir, "encrypt --vault-password-file %one %link").unwrap();
    header("$ANSIBLE_VAULT;1.1;AES256");
    let again = vault(dir, "encrypt --vault-password-file %one %vars.yml").unwrap_err();
    assert!(again.to_string().ends_with("is encrypted already"), "{again}");
    let wrong = vault(dir, "decrypt --vault-password-file %two %vars.yml").unwrap_err();
    assert!(wrong.to_string().contains("none of the 1 vault passwords opens it"), "{wrong}");
    header("$ANSIBLE_VAULT;1.1;AES256");
    vault(dir, "rekey --vault-password-file %one --new-vault-id prod@%two %vars.yml").unwrap();
    header("$ANSIBLE_VAULT;1.2;AES256;prod");
    vault(dir, "rekey --vault-id x@%two --new-vault-password-file %one --encrypt-vault-id dev %vars.yml").unwrap();
    header("$ANSIBLE_VAULT;1.2;AES256;dev");
    vault(dir, "decrypt --vault-id %two --vault-id prod@%one %vars.yml").unwrap();
    header("password: x");
}

#[test]
fn the_id_to_encrypt_for_is_the_only_one_or_the_one_that_is_said() {
    let dir = scratch();
    let dir = dir.path();
    let file = dir.join("f");
    for (line, wanted) in [
        ("encrypt --vault-id a@%one --vault-id b@%two %f", Err("the vault ids a, b are available")),
        ("encrypt --vault-id a@%one --encrypt-vault-id c %f", Err("no vault password with the id 'c'; known are: a")),
        ("encrypt --vault-id a;b@%one %f", Err("is no vault id")),
        ("encrypt --vault-id a@%none %f", Err("cannot read the password file")),
        ("encrypt --vault-id a@%one --encrypt-vault-id a %f", Ok("$ANSIBLE_VAULT;1.2;AES256;a")),
        ("encrypt --vault-id a@%one --vault-id b@%two --encrypt-vault-id b %f", Ok("$ANSIBLE_VAULT;1.2;AES256;b")),
        ("encrypt --vault-id %say-client %f", Ok("$ANSIBLE_VAULT;1.1;AES256")),
        ("encrypt --vault-id b@%one %f --output %g", Ok("clear")),
    ] {
        std::fs::write(&file, "clear\n").unwrap();
        match (vault(dir, line), wanted) {
            (Ok(()), Ok(header)) => assert_eq!(read(&file).lines().next(), Some(header), "{line}"),
            (Err(fault), Err(part)) => assert!(fault.to_string().contains(part), "{line}: {fault}"),
            (result, _) => panic!("{line}: {result:?}"),
        }
    }
    assert!(read(&dir.join("g")).starts_with("$ANSIBLE_VAULT;1.2;AES256;b"));
    assert_eq!(std::fs::metadata(dir.join("g")).unwrap().mode() & 0o7777, 0o600);
    let two = vault(dir, "encrypt --vault-id b@%one %f %g --output %h").unwrap_err();
    assert!(matches!(two, Fault::Options(_)), "{two}");
}

#[test]
fn nothing_is_written_before_everything_was_read() {
    let dir = scratch();
    let dir = dir.path();
    for name in ["a", "b"] {
        std::fs::write(dir.join(name), "clear\n").unwrap();
    }
    assert!(vault(dir, "encrypt --vault-id x@%one %a %b %missing").is_err());
    assert_eq!(read(&dir.join("a")), "clear\n");
    vault(dir, "encrypt --vault-id x@%one %a").unwrap();
    let before = read(&dir.join("a"));
    assert!(vault(dir, "decrypt --vault-id x@%one %a %b").is_err());
    assert!(vault(dir, "rekey --vault-id x@%one --new-vault-id y@%two %a %b").is_err());
    assert_eq!(read(&dir.join("a")), before);
    assert!(std::fs::read_dir(dir).unwrap().flatten().all(|e| !e.file_name().to_string_lossy().starts_with('.')));
}

#[test]
fn passwords_are_read_as_ansible_reads_them() {
    let dir = scratch();
    let path = |name: &str| dir.path().join(name);
    for (file, label, wanted) in
        [("one", "x", "first password"), ("two", "x", "second password"), ("say-client", "dev", "said:--vault-id dev")]
    {
        assert_eq!(from_file(&path(file), label).unwrap().expose(), wanted, "{file}");
    }
    std::fs::write(path("empty"), "\n").unwrap();
    assert!(from_file(&path("empty"), "x").unwrap_err().ends_with("holds no password"));
}

#[test]
fn a_value_stands_in_yaml_as_ansible_writes_it() {
    assert_eq!(as_yaml("$A\n12\n", Some("x")), "x: !vault |\n          $A\n          12\n");
    assert_eq!(as_yaml("$A\n12\n", None), "!vault |\n          $A\n          12\n");
}

#[test]
fn places_and_what_cannot_be_replaced() {
    assert_eq!((Place::of("-"), Place::of("a")), (Place::Stdin, Place::File(PathBuf::from("a"))));
    let dir = tempfile::tempdir().unwrap();
    assert!(replace(dir.path(), b"x").is_err());
    assert!(Target::File(dir.path().join("none/x")).write(b"x").is_err());
}
