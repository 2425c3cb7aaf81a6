//! Users and groups: who they are, in the files, in the name service and in what a check predicts.

mod change;
mod database;
mod ssh_key;

pub(crate) use change::home_mode;
pub use change::{GroupWish, UserWish};
pub use database::{Group, User};
pub use ssh_key::KeyWish;

use super::{Command, Machine, Result};
use database::{parse_group, parse_passwd};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Ids from here on stand for users and groups that a check predicts: consistent within the run, never real.
const PREDICTED_IDS: u32 = 0xf000_0000;

/// What a check knows about accounts beyond the host's own.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Accounts {
    /// Users as they would be; nothing for one that would be removed.
    users: BTreeMap<String, Option<User>>,
    /// Groups as they would be; nothing for one that would be removed.
    groups: BTreeMap<String, Option<Group>>,
    /// Passwords and their dates as they would be.
    shadows: BTreeMap<String, change::ForeseenShadow>,
    /// Users and groups of which it is not known what they would be.
    unknown: std::collections::BTreeSet<String>,
    /// How many ids were made up so far.
    made_up: u32,
}

/// Whether an id stands for an account that does not exist yet.
pub fn is_predicted_id(id: u32) -> bool {
    (PREDICTED_IDS..u32::MAX).contains(&id)
}

impl Machine {
    /// A user by name or, when nobody has that name, by number.
    pub fn user(&self, name: &str) -> Result<Option<User>> {
        if let Some(user) = self.predictions.accounts.users.get(name) {
            return Ok(user.clone());
        }
        if let Some(user) = self.known_users().into_iter().find(|u| u.name == name) {
            return Ok(Some(user));
        }
        if let Some(user) = self.getent("passwd", name)?.and_then(|text| parse_passwd(&text).pop()) {
            return Ok(Some(user));
        }
        let Ok(uid) = name.parse::<u32>() else {
            return self.nobody_brings(name).map(|()| None);
        };
        Ok(self.user_by_id(uid))
    }

    /// A group by name or, when none has that name, by number.
    pub fn group(&self, name: &str) -> Result<Option<Group>> {
        if let Some(group) = self.predictions.accounts.groups.get(name) {
            return Ok(group.clone());
        }
        if let Some(group) = self.known_groups().into_iter().find(|g| g.name == name) {
            return Ok(Some(group));
        }
        if let Some(group) = self.getent("group", name)?.and_then(|text| parse_group(&text).pop()) {
            return Ok(Some(group));
        }
        let Ok(gid) = name.parse::<u32>() else {
            return self.nobody_brings(name).map(|()| None);
        };
        Ok(self.group_by_id(gid))
    }

    /// An account that is not there is known not to be there.
    fn nobody_brings(&self, name: &str) -> Result<()> {
        match self.unread_packages() {
            Some(why) => {
                Err(crate::machine::MachineError::unknown(format!("whether there is an account {name}: {why}")))
            }
            None => Ok(()),
        }
    }

    /// The id of a user given by name or number. A number needs no account.
    /// In a check, a user that earlier tasks would make has an id of its own ([`is_predicted_id`]).
    pub fn resolve_user(&self, name: &str) -> Result<Option<u32>> {
        Ok(self.user(name)?.map(|u| u.uid).or_else(|| name.parse().ok()))
    }

    /// The id of a group given by name or number, as [`Machine::resolve_user`].
    pub fn resolve_group(&self, name: &str) -> Result<Option<u32>> {
        Ok(self.group(name)?.map(|g| g.gid).or_else(|| name.parse().ok()))
    }

    /// The user with this id. Reads the files and predictions, and asks the name service last.
    pub fn user_by_id(&self, uid: u32) -> Option<User> {
        self.known_users().into_iter().find(|u| u.uid == uid).or_else(|| {
            let text = self.getent("passwd", &uid.to_string()).ok()??;
            parse_passwd(&text).pop()
        })
    }

    /// The group with this id, as [`Machine::user_by_id`].
    pub fn group_by_id(&self, gid: u32) -> Option<Group> {
        self.known_groups().into_iter().find(|g| g.gid == gid).or_else(|| {
            let text = self.getent("group", &gid.to_string()).ok()??;
            parse_group(&text).pop()
        })
    }

    /// The name of a user id, where it has one.
    pub fn user_name(&self, uid: u32) -> Option<String> {
        self.user_by_id(uid).map(|u| u.name)
    }

    /// The name of a group id, where it has one.
    pub fn group_name(&self, gid: u32) -> Option<String> {
        self.group_by_id(gid).map(|g| g.name)
    }

    /// Users of `/etc/passwd` with the predictions laid over them.
    pub fn known_users(&self) -> Vec<User> {
        let mut users = parse_passwd(&database::read("/etc/passwd"));
        let predicted = &self.predictions.accounts.users;
        users.retain(|u| !predicted.contains_key(&u.name));
        users.extend(predicted.values().flatten().cloned());
        users
    }

    /// Groups of `/etc/group` with the predictions laid over them.
    pub fn known_groups(&self) -> Vec<Group> {
        let mut groups = parse_group(&database::read("/etc/group"));
        let predicted = &self.predictions.accounts.groups;
        groups.retain(|g| !predicted.contains_key(&g.name));
        groups.extend(predicted.values().flatten().cloned());
        groups
    }

    /// A line of the name service. Ids that are made up are not asked for.
    fn getent(&self, database: &str, key: &str) -> Result<Option<String>> {
        if key.is_empty()
            || key.starts_with('-')
            || key.parse().is_ok_and(is_predicted_id)
            || !self.name_service(database)
        {
            return Ok(None);
        }
        let output = self.probe(&Command::new(["getent", database, key]))?;
        Ok(output.success().then(|| output.stdout_text()))
    }

    /// Whether accounts can come from anywhere but the files: else nobody need be asked.
    fn name_service(&self, database: &str) -> bool {
        let configuration = database::read("/etc/nsswitch.conf");
        let sources =
            configuration.lines().find_map(|line| line.trim().strip_prefix(database)?.trim_start().strip_prefix(':'));
        sources.is_some_and(|s| s.split_whitespace().any(|source| !matches!(source, "files" | "compat")))
            && self.has_program("getent")
    }

    /// In a check: this user will exist. Used by the user module's prediction and by what packages bring.
    pub(crate) fn foresee_user(&mut self, mut user: User) -> User {
        if user.uid == u32::MAX {
            user.uid = self.made_up_id();
        }
        self.predictions.accounts.users.insert(user.name.clone(), Some(user.clone()));
        user
    }

    /// In a check: this group will exist.
    pub(crate) fn foresee_group(&mut self, mut group: Group) -> Group {
        if group.gid == u32::MAX {
            group.gid = self.made_up_id();
        }
        self.predictions.accounts.groups.insert(group.name.clone(), Some(group.clone()));
        group
    }

    fn made_up_id(&mut self) -> u32 {
        let accounts = &mut self.predictions.accounts;
        accounts.made_up += 1;
        PREDICTED_IDS + accounts.made_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Mode;

    #[test]
    fn names_and_numbers_are_resolved() {
        let machine = Machine::new(Mode::Live);
        assert_eq!(machine.resolve_user("root").unwrap(), Some(0));
        assert_eq!(machine.resolve_group("root").unwrap(), Some(0));
        assert_eq!(machine.user_name(0).as_deref(), Some("root"));
        assert_eq!(machine.resolve_user("54321").unwrap(), Some(54321));
        assert_eq!(machine.resolve_user("no-such-user").unwrap(), None);
    }

    #[test]
    fn predicted_accounts_have_consistent_ids_that_survive_the_overlay() {
        let mut machine = Machine::new(Mode::Predicted);
        let group = machine.foresee_group(Group { name: "mysql".into(), gid: u32::MAX, members: vec![] });
        let user = User { name: "mysql".into(), uid: u32::MAX, gid: group.gid, ..User::default() };
        let user = machine.foresee_user(user);
        let mut other = Machine::new(Mode::Predicted);
        other.load_overlay(machine.overlay().unwrap()).unwrap();
        assert_eq!(other.resolve_user("mysql").unwrap(), Some(user.uid));
        assert!(is_predicted_id(user.uid) && is_predicted_id(group.gid) && user.uid != group.gid);
        assert_eq!(other.user_name(user.uid).as_deref(), Some("mysql"));
        assert_eq!(other.group_name(group.gid).as_deref(), Some("mysql"));
    }
}
