//! The database domain without a server: what a check foresees.

use super::*;
use crate::machine::Mode;

fn fresh() -> Server {
    Server { state: ServerState::Fresh }
}

#[test]
fn a_new_server_has_its_default_accounts_and_databases() {
    let machine = Machine::new(Mode::Predicted);
    let mut server = fresh();
    assert!(machine.database(&mut server, "mysql").unwrap().is_some());
    assert!(machine.database(&mut server, "app").unwrap().is_none());
    assert_eq!(machine.database_account_hosts(&mut server, "root").unwrap(), ["localhost"]);
    assert!(matches!(machine.sql_read(&mut server, "SELECT 1"), Err(MachineError::Unknown { .. })));
}

#[test]
fn what_is_looked_at_is_told_by_fingerprints_and_in_a_check_only() {
    let mut machine = Machine::new(Mode::Predicted);
    let mut account = Account::new("app", "%");
    let mut seen = Vec::new();
    for change in [
        |_: &mut Account| {},
        |account: &mut Account| account.locked = true,
        |account: &mut Account| account.password_expired = true,
        |account: &mut Account| account.grants = Grants::parse("app.*:ALL", true).unwrap_or_default(),
        |account: &mut Account| {
            let value = Secret::new("*B69027D44F6E5EDC07F1AEAD1477967B16F28227");
            account.authentication = vec![Authentication { plugin: "ed25519".into(), value, clear: false }];
        },
    ] {
        change(&mut account);
        machine.observe(Domain::DatabaseAccount, "'app'@'%'", &account.state());
        let observed = machine.take_observed();
        assert_eq!(observed.keys().collect::<Vec<_>>(), ["DatabaseAccount 'app'@'%'"]);
        let print = observed.into_values().next().unwrap();
        assert!(print.len() == 12 && !seen.contains(&print), "each state has its own");
        seen.push(print);
    }
    assert!(machine.take_observed().is_empty());
    let mut live = Machine::new(Mode::Live);
    live.observe(Domain::Database, "app", "x");
    assert!(live.take_observed().is_empty());
}

#[test]
fn what_a_check_would_do_is_seen_by_later_tasks_and_survives_the_overlay() {
    let mut machine = Machine::new(Mode::Predicted);
    let mut server = fresh();
    assert!(machine.create_database(&mut server, "app", &Database::default()).unwrap().is_some());
    assert!(machine.create_database(&mut server, "app", &Database::default()).unwrap().is_none());
    let mut account = Account::new("app", "%");
    account.grants = Grants::parse("app.*:ALL", true).unwrap();
    assert!(machine.set_database_account(&mut server, None, &account).unwrap());
    assert_eq!(machine.take_changes().len(), 2);

    let mut other = Machine::new(Mode::Predicted);
    other.load_overlay(machine.overlay().unwrap()).unwrap();
    assert!(other.databases(&mut server).unwrap().contains(&"app".to_string()));
    let seen = other.database_account(&mut server, "app", "%").unwrap().unwrap();
    assert_eq!(seen, account);
    assert!(!other.set_database_account(&mut server, Some(&seen), &account).unwrap());
    assert!(other.drop_database_account(&mut server, "app", "%").unwrap());
    assert!(other.database_account(&mut server, "app", "%").unwrap().is_none());
}

#[test]
fn what_may_or_may_not_have_happened_is_unknown() {
    let mut machine = Machine::new(Mode::Tainted);
    let mut server = fresh();
    machine.create_database(&mut server, "app", &Database::default()).unwrap();
    machine.set_mode(Mode::Predicted);
    assert!(matches!(machine.database(&mut server, "app"), Err(MachineError::Unknown { .. })));
}

#[test]
fn errors_hold_no_secret() {
    let secret = Secret::new("it's a \\ \"pa$$\"");
    let text = format!("You have an error near '{}' or {}", secret.expose(), quote(secret.expose()));
    let clean = without(&text, [&secret].into_iter());
    assert!(!clean.contains("pa$$"), "{clean}");
}

#[test]
fn a_check_knows_what_the_server_would_refuse() {
    let listed: Vec<String> =
        ["Select", "Insert", "Delete versioning rows", "Binlog monitor"].map(String::from).to_vec();
    let account = |grants: &str| {
        let mut account = Account::new("app", "%");
        account.grants = Grants::parse(grants, true).unwrap();
        account
    };
    for (before, after, expected) in [
        (None, "app.*:SELECT,INSERT", None),
        (None, "app.*:ALL,GRANT", None),
        (None, "*.*:REPLICATION CLIENT,DELETE HISTORY", None),
        (None, "app.t:SELECT (a)", None),
        (None, "app.*:NOSUCH", Some("NOSUCH")),
        // What it has is no longer asked for.
        (Some("app.*:NOSUCH"), "app.*:NOSUCH,SELECT", None),
    ] {
        let (before, after) = (before.map(account), account(after));
        assert_eq!(unheard_of(&new_privileges(before.as_ref(), &after), &listed), expected, "{after:?}");
    }
    for (value, read_only, kind, refused) in [
        ("/x", "YES", "VARCHAR", true),
        ("99", "NO", "BIGINT UNSIGNED", false),
        ("many", "NO", "BIGINT UNSIGNED", true),
        ("0.5", "NO", "DOUBLE", false),
        ("ON", "NO", "BOOLEAN", false),
    ] {
        assert_eq!(refusal("v", value, read_only, kind).is_some(), refused, "{value} {kind}");
    }
}
