//! A store in one file, and what tar makes of it.

use super::*;

#[test]
fn a_backup_is_whole_and_tar_makes_a_store_of_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("pki");
    let store = store_at(&root);
    store.ensure(&AuthoritySpec::new("cluster", Purpose::Cluster).unwrap(), NOW).unwrap();
    let issued = store.issue("cluster", "galera1", &request(Profile::Cluster, KeyType::EcdsaP256), NOW).unwrap();
    store.revoke(&issued.info.serial, Some("lost"), NOW).unwrap();
    // Revoked once, revoked then.
    assert_eq!(store.revoke(&issued.info.serial, None, NOW + DAY).unwrap().at, NOW);
    // tar remarks upon files from the future.
    let packed = pack(&store.files().unwrap(), 1_700_000_000).unwrap();
    assert!(!String::from_utf8_lossy(&packed).contains("BEGIN PRIVATE KEY"));
    let passphrase = || Passphrase::given(Secret::new("it's \"a\" $ecret\\"));
    let (views, count) = Archive::read(&packed, "b.tar").unwrap().verify(Some(&passphrase())).unwrap();
    assert_eq!((views.len(), count), (1, 1));

    let again = dir.path().join("again");
    std::fs::create_dir(&again).unwrap();
    std::fs::set_permissions(&again, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::write(dir.path().join("b.tar"), &packed).unwrap();
    let unpacked = std::process::Command::new("tar").args(["-xpf", "../b.tar"]).current_dir(&again).output().unwrap();
    assert!(unpacked.status.success() && unpacked.stderr.is_empty(), "{unpacked:?}");
    let restored = store_at(&again);
    assert_eq!(restored.files().unwrap(), store.files().unwrap());
    restored.unlock("cluster").unwrap();
    assert_eq!(restored.revoked().unwrap().len(), 1);
}

#[test]
fn a_damaged_backup_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_at(&dir.path().join("pki"));
    store.ensure(&AuthoritySpec::new("cluster", Purpose::Cluster).unwrap(), NOW).unwrap();
    let files = store.files().unwrap();
    let packed = pack(&files, NOW).unwrap();
    let verified = |bytes: &[u8], passphrase: &str| {
        let passphrase = Passphrase::given(Secret::new(passphrase));
        Archive::read(bytes, "b.tar").and_then(|archive| archive.verify(Some(&passphrase)).map(|_| ()))
    };
    assert!(verified(&packed, "it's \"a\" $ecret\\").is_ok());
    assert!(matches!(verified(&packed, "wrong").unwrap_err(), PkiError::WrongPassphrase { .. }));
    let mut turned = packed.clone();
    turned[3] ^= 1;
    assert!(verified(&turned, "").unwrap_err().to_string().contains("checksum"));
    for cut in [0, 100, 700, packed.len() - 1024] {
        assert!(verified(&packed[..cut], "").unwrap_err().to_string().contains("ends in the middle"), "{cut}");
    }
    let without: Vec<_> = files.iter().filter(|(name, _)| !name.ends_with("key.pem")).cloned().collect();
    let error = verified(&pack(&without, NOW).unwrap(), "x").unwrap_err().to_string();
    assert!(error.contains("the authority's key is missing"), "{error}");
    let other = authority("cluster", Purpose::Cluster).cert_pem.into_bytes();
    let turned: Vec<_> = files
        .iter()
        .map(|(name, bytes)| (name.clone(), if name.ends_with("cert.pem") { other.clone() } else { bytes.clone() }))
        .collect();
    let error = verified(&pack(&turned, NOW).unwrap(), "it's \"a\" $ecret\\").unwrap_err().to_string();
    assert!(error.contains("not the key of the certificate beside it"), "{error}");
    let outside = pack(&[("../etc/passwd".to_string(), vec![1])], NOW).unwrap();
    assert!(verified(&outside, "").unwrap_err().to_string().contains("no name inside a store"));
}
