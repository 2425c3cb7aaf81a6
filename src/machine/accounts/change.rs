//! Making, changing and removing users and groups.

use super::database::read;
use super::{Group, User};
use crate::machine::files::Stat;
use crate::machine::{Change, Command, Domain, Facet, Machine, MachineError, Mode, Result, Subject};
use crate::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a user shall be; nothing said means as it is, or the system's default for a new one.
#[derive(Clone, Debug, Default)]
pub struct UserWish {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: Option<u32>,
    /// Allow an id that another user has.
    pub non_unique: bool,
    /// Primary group, by name or number.
    pub group: Option<String>,
    /// Further groups.
    pub groups: Option<Vec<String>>,
    /// Keep the groups that the user is in already.
    pub append: bool,
    /// Full name and remarks.
    pub comment: Option<String>,
    /// Home directory.
    pub home: Option<String>,
    /// Login shell.
    pub shell: Option<String>,
    /// Encrypted password.
    pub password: Option<Secret>,
    /// Set the password of a new user only.
    pub password_on_create: bool,
    /// Lock or unlock the password.
    pub password_lock: Option<bool>,
    /// A system account.
    pub system: bool,
    /// Make the home directory.
    pub create_home: bool,
    /// Move the old home directory.
    pub move_home: bool,
    /// Where a new home's first files come from.
    pub skeleton: Option<String>,
    /// The umask of a new home.
    pub umask: Option<String>,
    /// Days since 1970 after which the account is closed; -1 for never.
    pub expires: Option<i64>,
    /// Days that a password is good for at most.
    pub password_max: Option<i64>,
    /// Days before a password may be changed.
    pub password_min: Option<i64>,
    /// Days of warning before a password expires.
    pub password_warn: Option<i64>,
    /// Only in the host's own files, not in the name service.
    pub local: bool,
    /// SELinux user.
    pub seuser: Option<String>,
}

/// What a group shall be.
#[derive(Clone, Debug, Default)]
pub struct GroupWish {
    /// Name.
    pub name: String,
    /// Group id.
    pub gid: Option<u32>,
    /// Allow an id that another group has.
    pub non_unique: bool,
    /// A system group.
    pub system: bool,
    /// Only in the host's own files.
    pub local: bool,
}

/// A line of `/etc/shadow`.
#[derive(Clone, Debug, Default)]
struct Shadow {
    password: String,
    fields: Vec<String>,
    /// In a check: the digest of a password that an earlier task would set.
    foreseen: Option<String>,
    locked: bool,
}

impl Shadow {
    fn has(&self, password: &str, unlocked: bool) -> bool {
        match &self.foreseen {
            Some(digest) => *digest == digest_of(password),
            None if unlocked => self.password.trim_start_matches('!') == password || self.password == password,
            None => self.password == password,
        }
    }
}

/// What a check knows of the line of a user beyond the file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ForeseenShadow {
    /// Nothing of an old line holds.
    new: bool,
    password: Option<String>,
    locked: Option<bool>,
    days: BTreeMap<usize, i64>,
}

fn digest_of(password: &str) -> String {
    crate::machine::files::sha256(password.as_bytes())
}

fn shadow(name: &str) -> Option<Shadow> {
    read("/etc/shadow").lines().find_map(|line| {
        let fields: Vec<String> = line.split(':').map(str::to_string).collect();
        let password = fields.get(1).cloned().unwrap_or_default();
        let locked = password.starts_with('!');
        (fields.first()? == name).then_some(Shadow { password, fields, foreseen: None, locked })
    })
}

fn number(shadow: &Option<Shadow>, index: usize) -> i64 {
    shadow.as_ref().and_then(|s| s.fields.get(index)?.parse().ok()).unwrap_or(-1)
}

/// A change of an account. None is undone: files and processes may belong to it by the time.
fn set(subject: Subject, aspect: &str, before: Facet, after: Facet) -> Change {
    Change::set(subject, aspect, before, after).lasting()
}

impl Machine {
    /// The line of a user, with what a check foresees laid over it.
    fn shadow_of(&self, name: &str) -> Option<Shadow> {
        let Some(foreseen) = self.predictions.accounts.shadows.get(name) else {
            return shadow(name);
        };
        let mut line = if foreseen.new { Shadow::default() } else { shadow(name).unwrap_or_default() };
        line.foreseen = foreseen.password.clone().or(line.foreseen);
        line.locked = foreseen.locked.unwrap_or(line.locked);
        for (index, days) in &foreseen.days {
            line.fields.resize(line.fields.len().max(index + 1), String::new());
            if let Some(field) = line.fields.get_mut(*index) {
                *field = days.to_string();
            }
        }
        Some(line)
    }

    /// In a check: what a wish does to the line of a user.
    fn foresee_shadow(&mut self, wish: &UserWish, new: bool, password: Option<&Secret>) {
        let foreseen = self.predictions.accounts.shadows.entry(wish.name.clone()).or_default();
        if new {
            // Without a password the account is locked.
            *foreseen = ForeseenShadow { new, locked: Some(password.is_none()), ..ForeseenShadow::default() };
        }
        if let Some(password) = password {
            foreseen.password = Some(digest_of(password.expose()));
            foreseen.locked = Some(password.expose().starts_with('!'));
        }
        foreseen.locked = wish.password_lock.or(foreseen.locked);
        let dates = [(3, wish.password_min), (4, wish.password_max), (5, wish.password_warn), (7, wish.expires)];
        foreseen.days.extend(dates.into_iter().filter_map(|(index, days)| Some((index, days?))));
    }

    /// In a check: a new home with what the skeleton holds.
    fn foresee_home(&mut self, wish: &UserWish, user: &User) -> Result<()> {
        use crate::machine::files::{Attributes, Foreseen};
        let owned = |mode: u32| Attributes { mode: Some(mode), owner: Some(user.uid), group: Some(user.gid) };
        self.foresee_file(&user.home, Foreseen::Directory(owned(home_mode(wish.umask.as_deref()))))?;
        let skeleton = wish.skeleton.clone().unwrap_or_else(|| "/etc/skel".into());
        for (from, to, stat) in self.skeleton_of_home(Path::new(&skeleton), Path::new(&user.home))? {
            let entry = if stat.is_dir() {
                Foreseen::Directory(owned(stat.mode))
            } else if stat.is_link() {
                Foreseen::Link(self.read_link(&from)?)
            } else {
                Foreseen::File { contents: self.read_file(&from, 1 << 20).ok(), attributes: owned(stat.mode) }
            };
            self.foresee_file(&to, entry)?;
        }
        Ok(())
    }

    /// What a new home begins with: each entry below `skeleton`, where it comes to lie below `home`, and what it is;
    /// directories before what is in them.
    pub fn skeleton_of_home(&self, skeleton: &Path, home: &Path) -> Result<Vec<(PathBuf, PathBuf, Stat)>> {
        let mut found = Vec::new();
        let mut todo = vec![skeleton.to_path_buf()];
        while let Some(directory) = todo.pop() {
            if !self.stat(&directory)?.is_some_and(|stat| stat.is_dir()) {
                continue;
            }
            for name in self.list_directory(&directory)? {
                let from = directory.join(&name);
                let to = home.join(from.strip_prefix(skeleton).unwrap_or(&from));
                let Some(stat) = self.lstat(&from)? else { continue };
                if stat.is_dir() {
                    todo.push(from.clone());
                }
                found.push((from, to, stat));
            }
        }
        Ok(found)
    }

    /// Runs one of the shadow tools; its complaint is the error.
    fn account_tool(&self, argv: Vec<String>) -> Result<()> {
        let mut command = Command::new(argv);
        command.environment.push(("LC_ALL".into(), "C.UTF-8".into()));
        let output = self.run_process(&command).map_err(|e| match e {
            MachineError::MissingProgram { program, .. } => {
                MachineError::MissingProgram { program, hint: "; install the package passwd (shadow-utils)".into() }
            }
            other => other,
        })?;
        if output.success() {
            return Ok(());
        }
        let program = command.argv.first().cloned().unwrap_or_default();
        let text = output.stderr_text();
        let complaint = text.trim();
        if complaint.contains("Permission denied") || complaint.contains("cannot lock") {
            return Err(MachineError::failed(format!(
                "{complaint} (set `become: true`, or wait for another change of accounts)"
            )));
        }
        Err(MachineError::failed(if complaint.is_empty() {
            format!("{program} ended with status {}", output.rc)
        } else {
            complaint.replace('\n', "; ")
        }))
    }

    fn require_root_for_accounts(&self) -> Result<()> {
        match rustix::process::geteuid().is_root() {
            true => Ok(()),
            false => Err(MachineError::failed("only root can change accounts: set `become: true`")),
        }
    }

    /// Brings a group to what it shall be. Says whether anything was done.
    pub fn set_group(&mut self, wish: &GroupWish) -> Result<bool> {
        if self.mode() == Mode::Tainted {
            self.predictions.accounts.unknown.insert(wish.name.clone());
            return Ok(false);
        }
        let subject = || Subject::new(Domain::Group, wish.name.clone());
        let present = self.group_by_name(&wish.name)?;
        match present {
            None => {
                self.require_root_for_accounts()?;
                if self.predicted() {
                    if let Some(gid) = wish.gid.filter(|_| !wish.non_unique)
                        && let Some(other) = self.group_by_id(gid)
                    {
                        return Err(MachineError::failed(format!(
                            "groupadd: GID '{gid}' already exists (group {})",
                            other.name
                        )));
                    }
                    let group =
                        Group { name: wish.name.clone(), gid: wish.gid.unwrap_or(u32::MAX), members: Vec::new() };
                    self.foresee_group(group);
                } else {
                    let mut argv = vec![if wish.local { "lgroupadd" } else { "groupadd" }.to_string()];
                    if let Some(gid) = wish.gid {
                        argv.extend(["-g".into(), gid.to_string()]);
                        if wish.non_unique {
                            argv.push("-o".into());
                        }
                    }
                    if wish.system {
                        argv.push("-r".into());
                    }
                    argv.push(wish.name.clone());
                    self.account_tool(argv)?;
                }
                self.record(set(subject(), "state", Facet::Absent, Facet::Value("present".into())));
                Ok(true)
            }
            Some(group) => {
                let Some(gid) = wish.gid.filter(|gid| *gid != group.gid) else {
                    return Ok(false);
                };
                self.require_root_for_accounts()?;
                if self.predicted() {
                    self.foresee_group(Group { gid, ..group.clone() });
                } else {
                    let mut argv = vec!["groupmod".to_string(), "-g".into(), gid.to_string()];
                    if wish.non_unique {
                        argv.push("-o".into());
                    }
                    argv.push(wish.name.clone());
                    self.account_tool(argv)?;
                }
                self.record(set(subject(), "gid", Facet::Value(group.gid.into()), Facet::Value(gid.into())));
                Ok(true)
            }
        }
    }

    /// Removes a group. Says whether anything was done.
    pub fn remove_group(&mut self, name: &str, force: bool) -> Result<bool> {
        let Some(group) = self.group_by_name(name)? else {
            return Ok(false);
        };
        self.require_root_for_accounts()?;
        if self.mode() == Mode::Tainted {
            self.predictions.accounts.unknown.insert(name.to_string());
            return Ok(false);
        }
        if let Some(user) = self.known_users().into_iter().find(|u| u.gid == group.gid).filter(|_| !force) {
            return Err(MachineError::failed(format!(
                "groupdel: cannot remove the primary group of user '{}' (set `force: true`)",
                user.name
            )));
        }
        if self.predicted() {
            self.predictions.accounts.groups.insert(name.to_string(), None);
        } else {
            let mut argv = vec!["groupdel".to_string()];
            if force {
                argv.push("-f".into());
            }
            argv.push(name.to_string());
            self.account_tool(argv)?;
        }
        let change = set(Subject::new(Domain::Group, name), "state", Facet::Value("present".into()), Facet::Absent);
        self.record(change);
        Ok(true)
    }

    /// A group by name only.
    pub fn group_by_name(&self, name: &str) -> Result<Option<Group>> {
        self.known_account(&self.predictions.accounts.unknown, name, "group")?;
        Ok(self.group(name)?.filter(|g| g.name == name))
    }

    /// A user by name only.
    pub fn user_by_name(&self, name: &str) -> Result<Option<User>> {
        self.known_account(&self.predictions.accounts.unknown, name, "user")?;
        Ok(self.user(name)?.filter(|u| u.name == name))
    }

    fn known_account(&self, unknown: &std::collections::BTreeSet<String>, name: &str, kind: &str) -> Result<()> {
        match self.predicted() && unknown.contains(name) {
            true => Err(MachineError::unknown(format!(
                "the {kind} {name} depends on an earlier task of which it is not known whether it runs"
            ))),
            false => Ok(()),
        }
    }

    /// Names of the further groups of a user.
    pub fn further_groups(&self, user: &str) -> Vec<String> {
        let mut groups: Vec<String> =
            self.known_groups().into_iter().filter(|g| g.members.iter().any(|m| m == user)).map(|g| g.name).collect();
        groups.sort();
        groups
    }

    /// Brings a user to what it shall be. Says whether anything was done.
    pub fn set_user(&mut self, wish: &UserWish) -> Result<bool> {
        for group in wish.group.iter().chain(wish.groups.iter().flatten()) {
            if self.group(group)?.is_none() {
                return Err(MachineError::failed(format!("Group {group} does not exist")));
            }
        }
        if self.mode() == Mode::Tainted {
            self.predictions.accounts.unknown.insert(wish.name.clone());
            return Ok(false);
        }
        match self.user_by_name(&wish.name)? {
            None => self.add_user(wish).map(|()| true),
            Some(user) => self.modify_user(wish, &user),
        }
    }

    fn add_user(&mut self, wish: &UserWish) -> Result<()> {
        self.require_root_for_accounts()?;
        let subject = Subject::new(Domain::User, wish.name.clone());
        if let Some(uid) = wish.uid.filter(|_| !wish.non_unique)
            && let Some(other) = self.user_by_id(uid)
        {
            return Err(MachineError::failed(format!("useradd: UID {uid} is not unique: it is {}'s", other.name)));
        }
        // A group of the user's name that is there becomes the primary group, as in Ansible.
        let same_name = self.group_by_name(&wish.name)?.is_some();
        let group = wish.group.clone().or_else(|| same_name.then(|| wish.name.clone()));
        if self.predicted() {
            let gid = match &group {
                Some(group) => self.resolve_group(group)?.unwrap_or(u32::MAX),
                None => {
                    let own = Group { name: wish.name.clone(), gid: u32::MAX, members: Vec::new() };
                    self.foresee_group(own).gid
                }
            };
            let home = wish.home.clone().unwrap_or_else(|| default_home(&wish.name));
            let user = self.foresee_user(User {
                name: wish.name.clone(),
                uid: wish.uid.unwrap_or(u32::MAX),
                gid,
                gecos: wish.comment.clone().unwrap_or_default(),
                home: home.clone(),
                shell: wish.shell.clone().or_else(|| useradd_default("SHELL")).unwrap_or_else(|| "/bin/sh".into()),
            });
            self.foresee_membership(&wish.name, wish.groups.as_deref().unwrap_or_default(), true)?;
            self.foresee_shadow(wish, true, wish.password.as_ref());
            if wish.create_home && self.stat(&home)?.is_none() {
                self.foresee_home(wish, &user)?;
            }
        } else {
            let mut argv = vec![if wish.local { "luseradd" } else { "useradd" }.to_string()];
            let mut option = |name: &str, value: Option<String>| {
                if let Some(value) = value {
                    argv.extend([name.to_string(), value]);
                }
            };
            option("-u", wish.uid.map(|u| u.to_string()));
            option("-g", group.clone());
            option("-G", wish.groups.as_ref().filter(|g| !g.is_empty()).map(|g| g.join(",")));
            option("-c", wish.comment.clone());
            option("-d", wish.home.clone());
            option("-s", wish.shell.clone());
            option("-e", wish.expires.map(expiry_date));
            option("-k", wish.skeleton.clone().filter(|_| wish.create_home));
            option("-K", wish.umask.as_ref().filter(|_| wish.create_home).map(|u| format!("UMASK={u}")));
            option("-Z", wish.seuser.clone());
            if wish.uid.is_some() && wish.non_unique {
                argv.push("-o".into());
            }
            if wish.system {
                argv.push("-r".into());
            }
            argv.push(if wish.create_home { "-m" } else { "-M" }.into());
            argv.push(wish.name.clone());
            self.account_tool(argv)?;
            if let Some(password) = &wish.password {
                self.set_password(&wish.name, password)?;
            }
            if wish.password_lock == Some(true) {
                self.account_tool(vec!["usermod".into(), "-L".into(), wish.name.clone()])?;
            }
            self.set_aging(wish, &None)?;
        }
        self.record(set(subject, "state", Facet::Absent, Facet::Value("present".into())));
        Ok(())
    }

    fn modify_user(&mut self, wish: &UserWish, user: &User) -> Result<bool> {
        let shadow = self.shadow_of(&wish.name);
        let mut changes: Vec<Change> = Vec::new();
        let mut argv: Vec<String> = vec!["usermod".into()];
        let mut after = user.clone();
        {
            let subject = || Subject::new(Domain::User, wish.name.clone());
            let mut note = |aspect: &str, before: Value, now: Value| {
                changes.push(set(subject(), aspect, Facet::Value(before), Facet::Value(now)));
            };
            if let Some(uid) = wish.uid.filter(|uid| *uid != user.uid) {
                note("uid", user.uid.into(), uid.into());
                argv.extend(["-u".into(), uid.to_string()]);
                if wish.non_unique {
                    argv.push("-o".into());
                }
                after.uid = uid;
            }
            if let Some(group) = &wish.group {
                let gid = self.resolve_group(group)?.unwrap_or(user.gid);
                if gid != user.gid {
                    let old = self.group_name(user.gid).unwrap_or_else(|| user.gid.to_string());
                    note("group", old.into(), group.clone().into());
                    argv.extend(["-g".into(), gid.to_string()]);
                    after.gid = gid;
                }
            }
            if let Some(comment) = wish.comment.as_ref().filter(|c| **c != user.gecos) {
                note("comment", user.gecos.clone().into(), comment.clone().into());
                argv.extend(["-c".into(), comment.clone()]);
                after.gecos = comment.clone();
            }
            if let Some(home) = wish.home.as_ref().filter(|h| **h != user.home) {
                note("home", user.home.clone().into(), home.clone().into());
                argv.extend(["-d".into(), home.clone()]);
                if wish.move_home {
                    argv.push("-m".into());
                }
                after.home = home.clone();
            }
            if let Some(shell) = wish.shell.as_ref().filter(|s| **s != user.shell) {
                note("shell", user.shell.clone().into(), shell.clone().into());
                argv.extend(["-s".into(), shell.clone()]);
                after.shell = shell.clone();
            }
            let days = number(&shadow, 7);
            if let Some(expires) = wish.expires.filter(|e| *e != days && !(*e < 0 && days < 0)) {
                note("expires", days.into(), expires.into());
                argv.extend(["-e".into(), expiry_date(expires)]);
            }
            if let Some(lock) = wish.password_lock {
                let locked = shadow.as_ref().is_some_and(|s| s.locked);
                if lock != locked {
                    note("password_lock", locked.into(), lock.into());
                    argv.push(if lock { "-L" } else { "-U" }.into());
                }
            }
        }
        let subject = || Subject::new(Domain::User, wish.name.clone());
        let mut membership = None;
        if let Some(groups) = &wish.groups {
            let mut wanted: Vec<String> = Vec::new();
            for group in groups {
                let name = self.group(group)?.map_or_else(|| group.clone(), |g| g.name);
                wanted.push(name);
            }
            let now = self.further_groups(&wish.name);
            let primary = self.group_name(after.gid).unwrap_or_default();
            wanted.retain(|g| *g != primary || now.contains(g));
            wanted.sort();
            wanted.dedup();
            let missing = wanted.iter().any(|g| !now.contains(g));
            if missing || (!wish.append && now.iter().any(|g| !wanted.contains(g))) {
                let mut result = if wish.append { [now.clone(), wanted.clone()].concat() } else { wanted.clone() };
                result.sort();
                result.dedup();
                changes.push(set(subject(), "groups", Facet::Value(now.into()), Facet::Value(result.into())));
                if wish.append {
                    argv.push("-a".into());
                }
                argv.extend(["-G".into(), wanted.join(",")]);
                membership = Some(wanted);
            }
        }
        let new_password = wish.password.as_ref().filter(|p| {
            let has = shadow.as_ref().is_some_and(|line| line.has(p.expose(), wish.password_lock.is_some()));
            !wish.password_on_create && !has
        });
        if new_password.is_some() {
            let fingerprint = |text: &str| Facet::Secret { fingerprint: crate::machine::files::fingerprint(text) };
            let old = shadow.as_ref().map(|s| s.password.clone()).unwrap_or_default();
            let now = new_password.map(|p| p.expose().to_string()).unwrap_or_default();
            changes.push(set(subject(), "password", fingerprint(&old), fingerprint(&now)));
        }
        for (aspect, wanted, index) in [
            ("password_expire_min", wish.password_min, 3),
            ("password_expire_max", wish.password_max, 4),
            ("password_expire_warn", wish.password_warn, 5),
        ] {
            let now = number(&shadow, index);
            if let Some(wanted) = wanted.filter(|w| *w != now) {
                changes.push(set(subject(), aspect, Facet::Value(now.into()), Facet::Value(wanted.into())));
            }
        }
        if changes.is_empty() {
            return Ok(false);
        }
        self.require_root_for_accounts()?;
        if self.predicted() {
            self.foresee_user(after);
            self.foresee_shadow(wish, false, new_password);
            if let Some(groups) = membership {
                self.foresee_membership(&wish.name, &groups, wish.append)?;
            }
        } else {
            if argv.len() > 1 {
                argv.push(wish.name.clone());
                self.account_tool(argv)?;
            }
            if let Some(password) = new_password {
                self.set_password(&wish.name, password)?;
            }
            self.set_aging(wish, &shadow)?;
        }
        changes.into_iter().for_each(|change| self.record(change));
        Ok(true)
    }

    /// Removes a user. Says whether anything was done.
    pub fn remove_user(&mut self, name: &str, with_files: bool, force: bool) -> Result<bool> {
        let Some(user) = self.user_by_name(name)? else {
            return Ok(false);
        };
        self.require_root_for_accounts()?;
        if self.predicted() {
            if self.mode() == Mode::Tainted {
                self.predictions.accounts.unknown.insert(name.to_string());
            } else {
                self.predictions.accounts.users.insert(name.to_string(), None);
                // The group of the same name goes with its last user.
                if self.group_by_name(name)?.is_some_and(|g| g.gid == user.gid && g.members.iter().all(|m| m == name)) {
                    self.predictions.accounts.groups.insert(name.to_string(), None);
                }
                if with_files && user.home != "/" && self.lstat(&user.home)?.is_some() {
                    self.foresee_file(&user.home, crate::machine::files::Foreseen::Absent)?;
                }
            }
        } else {
            let mut argv = vec!["userdel".to_string()];
            if force {
                argv.push("-f".into());
            }
            if with_files {
                argv.push("-r".into());
            }
            argv.push(name.to_string());
            self.account_tool(argv)?;
        }
        let subject = Subject::new(Domain::User, name);
        let change = set(subject, "state", Facet::Value("present".into()), Facet::Absent);
        self.record(change);
        Ok(true)
    }

    fn foresee_membership(&mut self, user: &str, groups: &[String], append: bool) -> Result<()> {
        for mut group in self.known_groups() {
            let wanted = groups.iter().any(|g| *g == group.name || *g == group.gid.to_string());
            let member = group.members.iter().any(|m| m == user);
            if wanted && !member {
                group.members.push(user.to_string());
            } else if !wanted && member && !append {
                group.members.retain(|m| m != user);
            } else {
                continue;
            }
            self.foresee_group(group);
        }
        Ok(())
    }

    /// The password goes through standard input, so that no process list shows it.
    fn set_password(&self, user: &str, password: &Secret) -> Result<()> {
        if password.expose().contains(['\n', ':']) {
            return Err(MachineError::failed("an encrypted password contains no colon and no line end"));
        }
        let command = Command {
            stdin: Some(format!("{user}:{}\n", password.expose()).into_bytes()),
            ..Command::new(["chpasswd", "-e"])
        };
        let output = self.run_process(&command)?;
        match output.success() {
            true => Ok(()),
            // What it says could quote the line.
            false => Err(MachineError::failed(format!(
                "chpasswd could not set the password of {user} (status {})",
                output.rc
            ))),
        }
    }

    fn set_aging(&self, wish: &UserWish, shadow: &Option<Shadow>) -> Result<()> {
        let mut argv = vec!["chage".to_string()];
        for (option, wanted, index) in
            [("-m", wish.password_min, 3), ("-M", wish.password_max, 4), ("-W", wish.password_warn, 5)]
        {
            if let Some(days) = wanted.filter(|w| *w != number(shadow, index)) {
                argv.extend([option.to_string(), days.to_string()]);
            }
        }
        if argv.len() == 1 {
            return Ok(());
        }
        argv.push(wish.name.clone());
        self.account_tool(argv)
    }
}

/// The home that useradd gives.
fn default_home(name: &str) -> String {
    format!("{}/{name}", useradd_default("HOME").unwrap_or_else(|| "/home".into()))
}

/// What useradd takes where nothing is said.
fn useradd_default(key: &str) -> Option<String> {
    let value = |line: &str| Some(line.trim().strip_prefix(key)?.strip_prefix('=')?.trim_matches('"').to_string());
    read("/etc/default/useradd").lines().find_map(value).filter(|value| !value.is_empty())
}

/// The mode that useradd gives a new home: `HOME_MODE`, else by the umask.
pub(crate) fn home_mode(umask: Option<&str>) -> u32 {
    let definitions = read("/etc/login.defs");
    let get = |key: &str| {
        definitions.lines().filter(|l| !l.trim_start().starts_with('#')).find_map(|l| {
            let mut words = l.split_whitespace();
            (words.next()? == key).then(|| words.next().map(str::to_string))?
        })
    };
    let octal = |text: String| u32::from_str_radix(&text, 8).ok();
    if let Some(umask) = umask.map(str::to_string).and_then(octal) {
        return 0o777 & !umask;
    }
    get("HOME_MODE").and_then(octal).unwrap_or_else(|| 0o777 & !get("UMASK").and_then(octal).unwrap_or(0o022))
}

/// Days since 1970 as the date that the tools take; nothing for never.
fn expiry_date(days: i64) -> String {
    if days < 0 {
        return String::new();
    }
    // Civil date from days (Howard Hinnant's algorithm).
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        for (days, date) in [(0, "1970-01-01"), (19_782, "2024-02-29"), (20_000, "2024-10-04"), (-1, "")] {
            assert_eq!(expiry_date(days), date);
        }
    }
}
