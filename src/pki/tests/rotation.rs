//! The change from one generation of an authority to the next.

use super::*;

/// Everything that may stand in the way of a step, and what each step changes.
#[test]
fn a_rotation_goes_through_its_phases_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let open = || store_at(&dir.path().join("pki"));
    let mut spec = AuthoritySpec::new("cluster", Purpose::Cluster).unwrap();
    spec.permitted = ["galera1", "example.org", "10.0.0.0/8", "fd00::/16"].map(|rule| rule.parse().unwrap()).to_vec();
    spec.excluded = vec!["10.9.0.0/16".parse().unwrap()];
    let old = open().ensure(&spec, NOW).unwrap().0;
    let heir = AuthoritySpec::heir(&old).unwrap();
    assert_eq!((&heir.permitted, &heir.excluded), (&spec.permitted, &spec.excluded));
    assert_eq!((heir.path_length, heir.key_type, heir.purpose), (Some(0), KeyType::EcdsaP256, Purpose::Cluster));
    let leaf = |authority: &AuthorityView| {
        let issued = open().issue("cluster", "galera1", &request(Profile::Cluster, KeyType::EcdsaP256), NOW).unwrap();
        trusts(&issued.chain_pem, &authority.bundle_pem, NOW).is_ok()
    };
    let refused = |to: Phase| open().advance_rotation("cluster", to).unwrap_err().to_string();
    assert!(refused(Phase::Sign).contains("not being rotated"));

    let (both, rotation) = open().begin_rotation(spec.clone(), NOW).unwrap();
    assert_eq!(
        (both.info.serial.as_str(), rotation.from.as_str()),
        (old.info.serial.as_str(), old.info.serial.as_str())
    );
    assert_eq!(open().begin_rotation(spec, NOW + DAY).unwrap().1, rotation, "begun once");
    assert_eq!(both.bundle_pem.matches("BEGIN").count(), 2);
    assert!(leaf(&old) && leaf(&both));
    assert!(refused(Phase::Untrust).contains("two steps away"));
    assert!(open().end_rotation("cluster").unwrap_err().to_string().contains("cannot end"));

    assert!(open().advance_rotation("cluster", Phase::Sign).unwrap());
    assert!(!open().advance_rotation("cluster", Phase::Sign).unwrap(), "taken once");
    let signs = open().require("cluster").unwrap();
    assert_eq!((signs.info.subject.as_str(), &signs.info.serial), ("/CN=cluster CA G2", &rotation.to));
    assert_eq!(signs.bundle_pem, both.bundle_pem, "no file on a host changes because of who signs");
    assert!(leaf(&signs) && !leaf(&old));

    assert!(open().advance_rotation("cluster", Phase::Untrust).unwrap());
    let alone = open().require("cluster").unwrap();
    assert_eq!(alone.bundle_pem, alone.cert_pem);
    assert!(open().advance_rotation("cluster", Phase::Purge).unwrap());
    assert!(open().end_rotation("cluster").unwrap() && !open().end_rotation("cluster").unwrap());
    assert_eq!(open().rotation("cluster").unwrap(), None);
    let again = open().begin_rotation(AuthoritySpec::new("cluster", Purpose::Cluster).unwrap(), NOW).unwrap().1;
    open().advance_rotation("cluster", Phase::Sign).unwrap();
    assert_eq!(
        (again.from, open().require("cluster").unwrap().info.subject.as_str()),
        (rotation.to, "/CN=cluster CA G3")
    );
}
