//! The change from one generation of an authority to the next.

use std::collections::BTreeSet;

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

/// What nobody replaces is named before nobody trusts it any more.
#[test]
fn certificates_that_no_run_replaces_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_at(&dir.path().join("pki"));
    let spec = AuthoritySpec::new("client", Purpose::Client).unwrap();
    store.ensure(&spec, NOW).unwrap();
    let named = |name: &str, days: i64| Request {
        subject: Subject::new(name, None).unwrap(),
        lifetime: Lifetime::days(days),
        ..request(Profile::Client, KeyType::EcdsaP256)
    };
    let managed: BTreeSet<String> = ["web1", "web2"].map(String::from).into();
    let left = |now: UnixTime| -> Vec<String> {
        store.left_behind("client", &managed, now).unwrap().into_iter().map(|one| one.host).collect()
    };
    for host in ["web1", "web2", "elsewhere"] {
        store.issue("client", host, &named(host, 90), NOW).unwrap();
    }
    let report = store.issue_by_hand("client", "report", &named("report", 90), NOW).unwrap();
    store.issue_by_hand("client", "brief", &named("brief", 1), NOW).unwrap();
    // By hand, and for a host that has a set of its own beside it.
    store.issue_by_hand("client", "web1", &named("web1", 90), NOW).unwrap();
    assert_eq!(left(NOW), [""; 0], "nothing leaves");
    store.begin_rotation(spec, NOW).unwrap();
    let mut all = left(NOW);
    all.sort();
    assert_eq!(all, ["brief", "elsewhere", "report", "web1"]);
    store.advance_rotation("client", Phase::Sign).unwrap();
    // A run replaces what is managed, and somebody one of the others.
    store.issue("client", "web1", &named("web1", 90), NOW + DAY).unwrap();
    store.issue("client", "elsewhere", &named("elsewhere", 90), NOW + DAY).unwrap();
    let mut all = left(NOW + 2 * DAY);
    all.sort();
    assert_eq!(all, ["report", "web1"]);
    // Nobody's word is taken for what will be replaced: what is without a successor.
    let bare = store.left_behind("client", &BTreeSet::new(), NOW + 2 * DAY).unwrap();
    let mut bare: Vec<&str> = bare.iter().map(|one| one.host.as_str()).collect();
    bare.sort_unstable();
    assert_eq!(bare, ["report", "web1", "web2"]);
    store.issue_by_hand("client", "web1", &named("web1", 90), NOW + DAY).unwrap();
    store.revoke(&report.info.serial, None, NOW).unwrap();
    assert_eq!(left(NOW + 2 * DAY), [""; 0]);
}

#[test]
fn an_authority_that_has_run_out_gets_an_heir_and_another_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_at(&dir.path().join("pki"));
    let mut spec = AuthoritySpec::new("cluster", Purpose::Cluster).unwrap();
    spec.lifetime = Lifetime::days(30);
    let old = store.ensure(&spec, NOW).unwrap().0;
    assert!(!store.replace_expired(spec.clone(), NOW + 29 * DAY).unwrap(), "it is valid");
    assert_eq!(store.require("cluster").unwrap().info.serial, old.info.serial);
    let late = NOW + 31 * DAY;
    let refused = store.begin_rotation(spec.clone(), late).unwrap_err().to_string();
    assert!(refused.contains("recover-certs.yml -e recover_authority=cluster"), "{refused}");
    assert!(store.replace_expired(spec.clone(), late).unwrap());
    let heir = store.require("cluster").unwrap();
    assert_eq!((heir.info.subject.as_str(), heir.bundle_pem == heir.cert_pem), ("/CN=cluster CA G2", true));
    let leaf = store.issue("cluster", "galera1", &request(Profile::Cluster, KeyType::EcdsaP256), late).unwrap();
    assert!(trusts(&leaf.chain_pem, &heir.bundle_pem, late).is_ok());
    assert!(!store.replace_expired(spec.clone(), late).unwrap(), "once");
    // One that runs out in the middle of its rotation: what comes is there already.
    let (_, rotation) =
        store.begin_rotation(AuthoritySpec { lifetime: Lifetime::days(90), ..spec.clone() }, late).unwrap();
    let later = late + 31 * DAY;
    assert!(store.replace_expired(spec, later).unwrap());
    assert_eq!(store.require("cluster").unwrap().info.serial, rotation.to);
    assert_eq!(store.rotation("cluster").unwrap(), None);
}
