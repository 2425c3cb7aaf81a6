//! The store on a disk.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn the_store_keeps_authorities_encrypted_and_openssl_opens_them() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("state/pki");
    let store = store_at(&root);
    let spec = AuthoritySpec::new("cluster", Purpose::Cluster).unwrap();
    let (made, new) = store.ensure(&spec, NOW).unwrap();
    assert!(new);
    let (same, new) = store_at(&root).ensure(&spec, NOW + DAY).unwrap();
    assert!(!new);
    assert_eq!(made.info, same.info);
    assert_eq!(store.authorities().unwrap(), ["cluster"]);

    let folder = root.join("ca/cluster").join(&made.info.serial);
    let key = std::fs::read_to_string(folder.join("key.pem")).unwrap();
    assert!(key.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{key}");
    for path in [&root, &folder, &folder.join("key.pem")] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o077, 0, "{path:?}");
    }
    std::fs::write(folder.join("pass"), "it's \"a\" $ecret\\\n").unwrap();
    let public = ok(&folder, "pkey -in key.pem -passin file:pass -pubout");
    assert_eq!(public, ok(&folder, "x509 -in cert.pem -noout -pubkey"));

    // A later run unlocks it with the passphrase, and only with that.
    let issued =
        store_at(&root).issue("cluster", "galera1", &request(Profile::Cluster, KeyType::EcdsaP256), NOW).unwrap();
    let wrong = Store::new(Box::new(DirStorage::open(&root).unwrap()), Passphrase::given(Secret::new("wrong")));
    assert!(matches!(wrong.unlock("cluster").unwrap_err(), PkiError::WrongPassphrase { .. }));
    let records = store.issued().unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].host.as_str(), &records[0].info), ("galera1", &issued.info));
    for file in walk(&root) {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains("BEGIN PRIVATE KEY"), "{file:?}");
    }
    assert!(matches!(store.unlock("other").unwrap_err(), PkiError::NoAuthority { .. }));
    let clash = AuthoritySpec::new("cluster", Purpose::Client).unwrap();
    assert!(store.ensure(&clash, NOW).unwrap_err().to_string().contains("take another name"));
}

fn walk(root: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

#[test]
fn a_check_leaves_the_store_alone() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("pki");
    let storage = OverlayStorage::over(DirStorage::open(&root).unwrap());
    let store = Store::new(Box::new(storage), Passphrase::given(Secret::new("secret")));
    assert!(!store.keeps());
    let (view, new) = store.ensure(&AuthoritySpec::new("client", Purpose::Client).unwrap(), NOW).unwrap();
    assert!(new && view.info.is_ca);
    store.issue("client", "app", &request(Profile::Client, KeyType::EcdsaP256), NOW).unwrap();
    assert_eq!(store.issued().unwrap().len(), 1);
    assert!(!root.exists());
}

#[test]
fn a_store_that_others_can_reach_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| DirStorage::open(path).map(|_| ()).map_err(|error| error.to_string());
    let root = dir.path().join("pki");
    std::fs::create_dir(&root).unwrap();
    for (mode, good) in [(0o755, false), (0o701, false), (0o770, false), (0o700, true)] {
        std::fs::set_permissions(&root, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(open(&root).is_ok(), good, "{mode:o}");
    }
    // In a work tree only where git ignores it.
    let tree = dir.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    assert!(Command::new("git").args(["init", "-q"]).current_dir(&tree).status().unwrap().success());
    let inside = tree.join("deep/pki");
    assert!(open(&inside).unwrap_err().contains("does not ignore it"));
    std::os::unix::fs::symlink(&tree, dir.path().join("link")).unwrap();
    assert!(open(&dir.path().join("link/deep/pki")).is_err(), "through a link");
    std::fs::write(tree.join(".gitignore"), "deep/\n").unwrap();
    assert_eq!(open(&inside), Ok(()));
    // A key that others can read is refused by itself.
    let storage = DirStorage::open(&root).unwrap();
    storage.write("ca/x/1/key.pem", b"key", 0o600).unwrap();
    assert_eq!(storage.read("ca/x/1/key.pem").unwrap().as_deref(), Some(b"key".as_slice()));
    std::fs::set_permissions(root.join("ca/x/1/key.pem"), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(storage.read("ca/x/1/key.pem").unwrap_err().to_string().contains("0644"));
    assert!(storage.write("../outside", b"", 0o600).is_err());
}

#[test]
fn one_run_at_a_time_writes() {
    let dir = tempfile::tempdir().unwrap();
    let open =
        || DirStorage::open(&dir.path().join("pki")).unwrap().with_patience(std::time::Duration::from_millis(60));
    let held = open().lock().unwrap();
    let refused = open().lock().err().unwrap().to_string();
    assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
    drop(held);
    assert!(open().lock().is_ok());
}
