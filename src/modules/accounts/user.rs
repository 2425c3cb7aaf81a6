//! `user`: user accounts.

use super::group::{State, check_name, id};
use crate::machine::accounts::{KeyWish, UserWish, is_predicted_id};
use crate::machine::files::{Attributes, NewContent, WriteOptions};
use crate::machine::{Command, Machine};
use crate::modules::scalars::{Flag, Int, Text, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use crate::secret::Secret;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// `ansible.builtin.user`
pub const USER: Module = Module {
    name: "ansible.builtin.user",
    aliases: &["user", "ansible.legacy.user"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: User::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// When a password is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdatePassword {
    /// Whenever it differs.
    #[default]
    Always,
    /// For new users only.
    OnCreate,
}

crate::arguments! {
    /// Makes, changes or removes a user account.
    ///
    /// A password is given encrypted (`password_hash`); it is never shown, and never on a command line.
    pub struct User {
        /// Login name.
        #[serde(alias = "user")]
        pub name: String,
        /// `present` or `absent`.
        #[serde(default)]
        pub state: State,
        /// User id.
        pub uid: Option<Int>,
        /// Allow an id that another user has.
        #[serde(default)]
        pub non_unique: Flag,
        /// Primary group, by name or number.
        pub group: Option<Text>,
        /// Further groups, as a list or separated by commas. An empty list leaves none.
        pub groups: Option<TextList>,
        /// Keep the groups that the user is in already.
        #[serde(default)]
        pub append: Flag,
        /// Full name and remarks.
        pub comment: Option<Text>,
        /// Home directory.
        pub home: Option<String>,
        /// Login shell.
        pub shell: Option<String>,
        /// Directory of files for a new home.
        pub skeleton: Option<String>,
        /// Encrypted password.
        pub password: Option<Secret>,
        /// `always` or `on_create`.
        #[serde(default)]
        pub update_password: UpdatePassword,
        /// Lock or unlock the password.
        pub password_lock: Option<Flag>,
        /// Days that a password is good for at most.
        pub password_expire_max: Option<Int>,
        /// Days before a password may be changed.
        pub password_expire_min: Option<Int>,
        /// Days of warning before a password expires.
        pub password_expire_warn: Option<Int>,
        /// Days between the end of a password and that of the account.
        pub password_expire_account_disable: Option<Int>,
        /// When the account is closed, in seconds since 1970; negative for never.
        pub expires: Option<f64>,
        /// A system account, when it is made.
        #[serde(default)]
        pub system: Flag,
        /// Make the home directory.
        #[serde(default = "Flag::yes", alias = "createhome")]
        pub create_home: Flag,
        /// Move the old home directory to the new place.
        #[serde(default)]
        pub move_home: Flag,
        /// The umask for a new home, `"0077"`.
        pub umask: Option<Text>,
        /// With `state: absent`: remove the home directory and the mail too.
        #[serde(default)]
        pub remove: Flag,
        /// With `state: absent`: remove it even when it is logged in.
        #[serde(default)]
        pub force: Flag,
        /// Make an SSH key for the user, unless the file exists.
        #[serde(default)]
        pub generate_ssh_key: Flag,
        /// Size of the key.
        pub ssh_key_bits: Option<Int>,
        /// Type of the key.
        pub ssh_key_type: Option<Text>,
        /// Path of the key; relative to the home directory.
        pub ssh_key_file: Option<String>,
        /// Comment of the key.
        pub ssh_key_comment: Option<Text>,
        /// Passphrase of the key.
        pub ssh_key_passphrase: Option<Secret>,
        /// SELinux user.
        pub seuser: Option<Text>,
        /// Only in the host's own files, where a central directory is in use (needs libuser).
        #[serde(default)]
        pub local: Flag,
        /// For other systems; it has no effect on Linux.
        pub login_class: Option<Text>,
        /// For other systems; it has no effect on Linux.
        pub hidden: Option<Flag>,
        /// For other systems; it has no effect on Linux.
        pub profile: Option<Text>,
        /// For other systems; it has no effect on Linux.
        pub authorization: Option<Text>,
        /// For other systems; it has no effect on Linux.
        pub role: Option<Text>,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let arguments: User = decode(arguments)?;
    check_name(&arguments.name)?;
    if arguments.password_expire_account_disable.is_some() {
        return Err(ModuleError::argument("password_expire_account_disable", "it is not supported yet"));
    }
    let outcome = Outcome::ok().with("name", arguments.name.clone());
    if arguments.state == State::Absent {
        let existed = machine.user_by_name(&arguments.name)?.is_some();
        machine.remove_user(&arguments.name, arguments.remove.0, arguments.force.0)?;
        let outcome = outcome.with("state", "absent");
        return Ok(match existed {
            true => outcome.with("force", arguments.force.0).with("remove", arguments.remove.0),
            false => outcome,
        });
    }
    let wish = UserWish {
        name: arguments.name.clone(),
        uid: arguments.uid.map(|uid| id("uid", uid)).transpose()?,
        non_unique: arguments.non_unique.0,
        group: arguments.group.as_ref().map(|g| g.0.clone()),
        groups: arguments.groups.as_ref().map(|g| g.0.iter().filter(|g| !g.is_empty()).cloned().collect()),
        append: arguments.append.0,
        comment: arguments.comment.as_ref().map(|c| c.0.clone()),
        home: arguments.home.clone(),
        shell: arguments.shell.clone(),
        password: arguments.password.clone(),
        password_on_create: arguments.update_password == UpdatePassword::OnCreate,
        password_lock: arguments.password_lock.map(|f| f.0),
        system: arguments.system.0,
        create_home: arguments.create_home.0,
        move_home: arguments.move_home.0,
        skeleton: arguments.skeleton.clone(),
        umask: arguments.umask.as_ref().map(|u| u.0.clone()),
        expires: arguments.expires.map(|seconds| if seconds < 0.0 { -1 } else { (seconds / 86400.0).floor() as i64 }),
        password_max: arguments.password_expire_max.map(|i| i.0),
        password_min: arguments.password_expire_min.map(|i| i.0),
        password_warn: arguments.password_expire_warn.map(|i| i.0),
        local: arguments.local.0,
        seuser: arguments.seuser.as_ref().map(|s| s.0.clone()),
    };
    let existed = machine.user_by_name(&arguments.name)?.is_some();
    machine.set_user(&wish)?;
    let outcome = outcome.with("state", "present");
    let mut outcome = match existed {
        true => outcome.with("append", arguments.append.0).with("move_home", arguments.move_home.0),
        false => outcome.with("system", arguments.system.0).with("create_home", arguments.create_home.0),
    };
    if let Some(password) = &arguments.password
        && !password.is_empty()
    {
        outcome = outcome.with("password", "NOT_LOGGING_PASSWORD");
    }
    let Some(user) = machine.user_by_name(&arguments.name)? else {
        return Ok(outcome);
    };
    // An existing user whose home is missing gets one.
    if existed && arguments.create_home.0 && user.home != "/nonexistent" && !machine.exists(&user.home)? {
        make_home(&arguments, &user, machine)?;
    }
    if arguments.generate_ssh_key.0 {
        outcome = ssh_key(&arguments, &user, machine, outcome)?;
    }
    for (name, id) in [("uid", user.uid), ("group", user.gid)] {
        if is_predicted_id(id) {
            outcome.unknown_fields.push(name.into());
        } else {
            outcome = outcome.with(name, id);
        }
    }
    if let Some(groups) = &wish.groups {
        outcome = outcome.with("groups", groups.join(","));
    }
    Ok(outcome.with("comment", user.gecos).with("home", user.home).with("shell", user.shell))
}

/// A home for a user who has been there without, with what is in the homes of new users.
fn make_home(
    arguments: &User,
    user: &crate::machine::accounts::User,
    machine: &mut Machine,
) -> Result<(), ModuleError> {
    let owned = |mode: u32| Attributes { mode: Some(mode), owner: Some(user.uid), group: Some(user.gid) };
    let umask = arguments.umask.as_ref().map(|umask| umask.0.as_str());
    machine.make_directory(&user.home, &owned(crate::machine::accounts::home_mode(umask)))?;
    let skeleton = PathBuf::from(arguments.skeleton.as_deref().unwrap_or("/etc/skel"));
    for (from, to, stat) in machine.skeleton_of_home(&skeleton, Path::new(&user.home))? {
        if stat.is_dir() {
            machine.make_directory(&to, &owned(stat.mode))?;
        } else if stat.is_link() {
            let target = machine.read_link(&from)?;
            machine.make_link(&to, target)?;
            // The link's own owner: what it leads to may be anybody's.
            machine.set_attributes(&to, &Attributes { mode: None, ..owned(0) }, false)?;
        } else {
            let mut source = machine.file_source(&from)?;
            let options = WriteOptions { attributes: owned(stat.mode), ..WriteOptions::default() };
            machine.write(&to, NewContent::Stream(&mut source), &options, None)?;
        }
    }
    Ok(())
}

/// Makes the user's SSH key, unless the file is there.
fn ssh_key(
    arguments: &User,
    user: &crate::machine::accounts::User,
    machine: &mut Machine,
    mut outcome: Outcome,
) -> Result<Outcome, ModuleError> {
    let kind = arguments.ssh_key_type.as_ref().map_or("rsa", |t| t.0.as_str()).to_string();
    let file = arguments.ssh_key_file.clone().unwrap_or_else(|| format!(".ssh/id_{kind}"));
    let path = if file.starts_with('/') { file } else { format!("{}/{file}", user.home) };
    outcome = outcome.with("ssh_key_file", path.clone());
    if arguments.ssh_key_passphrase.as_ref().is_some_and(|p| !p.is_empty()) {
        return Err(ModuleError::argument("ssh_key_passphrase", "keys with a passphrase are not supported yet"));
    }
    let wish = KeyWish {
        path: &path,
        kind: &kind,
        bits: arguments.ssh_key_bits.map(|b| b.0),
        comment: arguments.ssh_key_comment.as_ref().map(|c| c.0.as_str()),
    };
    if machine.make_user_key(user, &wish)? && machine.predicted() {
        outcome.unknown_fields.extend(["ssh_public_key".to_string(), "ssh_fingerprint".to_string()]);
        return Ok(outcome);
    }
    if let Ok(text) = machine.read_file(format!("{path}.pub"), 64 * 1024) {
        outcome = outcome.with("ssh_public_key", String::from_utf8_lossy(&text).trim().to_string());
    }
    if let Ok(shown) = machine.probe(&Command::new(["ssh-keygen", "-l", "-f", &path])) {
        outcome = outcome.with("ssh_fingerprint", shown.stdout_text().trim().to_string());
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use crate::machine::{Machine, Mode};
    use crate::modules::testing::{apply, check_then_apply};
    use serde_json::json;

    /// Takes the account away again, whatever happens.
    struct Cleanup(&'static str);

    impl Drop for Cleanup {
        fn drop(&mut self) {
            for argv in [["userdel", "-rf", self.0], ["groupdel", "-f", self.0]] {
                let _ = std::process::Command::new(argv[0]).args(&argv[1..]).output();
            }
        }
    }

    #[test]
    fn the_life_of_a_user() {
        if !rustix::process::geteuid().is_root() {
            return; // accounts are made by root only
        }
        let name = "deploytestu";
        let _cleanup = Cleanup(name);
        let home = format!("/tmp/{name}");
        let hash = "$6$salt$0r3cWDgSYvBeU0hMQgBxPpQ6nJyNVlqfSBWE5n.Z9RpFV4fQh9QV1GLmFQZ9IfYtGv9u5VCPzvvTjXK0g0DfB/";
        let steps = [
            (json!({"name": name, "system": true, "home": home, "shell": "/bin/false", "comment": "A, b"}), 1),
            (json!({"name": name, "home": home, "shell": "/bin/false", "comment": "A, b"}), 0),
            (json!({"name": name, "shell": "/bin/sh", "groups": "adm,tty"}), 2),
            (json!({"name": name, "groups": ["tty"], "append": true}), 0),
            (json!({"name": name, "groups": ["tty"]}), 1),
            (json!({"name": name, "groups": []}), 1),
            (json!({"name": name, "password": hash}), 1),
            (json!({"name": name, "password": hash}), 0),
            (json!({"name": name, "password": "!", "update_password": "on_create"}), 0),
            (json!({"name": name, "password_lock": true}), 1),
            (json!({"name": name, "password_lock": true}), 0),
            (json!({"name": name, "expires": 1422403387}), 1),
            (json!({"name": name, "expires": 1422403387}), 0),
            (json!({"name": name, "expires": -1}), 1),
            (json!({"name": name, "expires": -1}), 0),
            (json!({"name": name, "password_expire_max": 90}), 1),
            (json!({"name": name, "password_expire_max": 90}), 0),
            (json!({"name": name, "generate_ssh_key": true, "ssh_key_type": "ed25519"}), 5),
            (json!({"name": name, "generate_ssh_key": true, "ssh_key_type": "ed25519"}), 0),
            (json!({"name": name, "state": "absent", "remove": true}), 1),
            (json!({"name": name, "state": "absent"}), 0),
        ];
        for (arguments, changes) in steps {
            let outcome = check_then_apply("user", &arguments);
            if arguments.get("generate_ssh_key").is_none() {
                assert_eq!(outcome.changes.len(), changes, "{arguments}: {outcome:?}");
            } else {
                assert_eq!(outcome.changed(), changes > 0, "{arguments}: {outcome:?}");
            }
            assert!(!serde_json::to_string(&outcome).unwrap().contains("$6$salt"), "the password is shown");
        }
    }

    #[test]
    fn links_of_the_skeleton_are_the_users_and_what_they_lead_to_is_not() {
        use std::os::unix::fs::MetadataExt;
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let name = "deploytestl";
        let _cleanup = Cleanup(name);
        let scratch = tempfile::tempdir().unwrap();
        let (skeleton, home, target) =
            (scratch.path().join("skel"), scratch.path().join("home"), scratch.path().join("target"));
        std::fs::create_dir(&skeleton).unwrap();
        std::fs::write(&target, "root's").unwrap();
        std::os::unix::fs::symlink(&target, skeleton.join("link")).unwrap();
        apply("user", &json!({"name": name, "home": home, "create_home": false}));
        let outcome = check_then_apply("user", &json!({"name": name, "home": home, "skeleton": skeleton}));
        let uid = u32::try_from(outcome.data["uid"].as_u64().unwrap()).unwrap();
        let link = std::fs::symlink_metadata(home.join("link")).unwrap();
        assert_eq!((link.uid(), std::fs::metadata(&home).unwrap().uid()), (uid, uid), "{outcome:?}");
        assert_eq!(std::fs::metadata(&target).unwrap().uid(), 0);
    }

    #[test]
    fn groups_are_made_changed_and_removed() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let name = "deploytestg";
        let _cleanup = Cleanup(name);
        for (arguments, changes) in [
            (json!({"name": name, "gid": 64321}), 1),
            (json!({"name": name, "gid": "64321"}), 0),
            (json!({"name": name, "gid": 64322}), 1),
            (json!({"name": name, "state": "absent"}), 1),
            (json!({"name": name, "state": "absent"}), 0),
        ] {
            assert_eq!(check_then_apply("group", &arguments).changes.len(), changes, "{arguments}");
        }
    }

    #[test]
    fn a_check_knows_accounts_that_it_would_make() {
        let mut machine = Machine::new(Mode::Predicted);
        let mut controller = crate::modules::testing::TestController::default();
        let mut run = |module: &str, arguments: serde_json::Value| {
            crate::modules::testing::run_on(&mut machine, &mut controller, module, &arguments)
        };
        if !rustix::process::geteuid().is_root() {
            return;
        }
        assert_eq!(run("group", json!({"name": "later"})).changes.len(), 1);
        assert_eq!(run("user", json!({"name": "soon", "group": "later", "groups": ["later"]})).changes.len(), 1);
        assert_eq!(run("user", json!({"name": "soon", "group": "later"})).changes.len(), 0);
        assert_eq!(run("file", json!({"path": "/home/soon", "owner": "soon", "group": "later"})).changes.len(), 0);
        let hash = "$6$salt$0r3cWDgSYvBeU0hMQgBxPpQ6nJyNVlqfSBWE5n";
        for (arguments, changes) in [
            (json!({"name": "soon", "password": hash}), 1),
            (json!({"name": "soon", "password": hash}), 0),
            (json!({"name": "soon", "password_lock": true}), 1),
            (json!({"name": "soon", "password_lock": true}), 0),
            (json!({"name": "soon", "password_lock": false}), 1),
            (json!({"name": "soon", "password_expire_max": 90}), 1),
            (json!({"name": "soon", "password_expire_max": 90}), 0),
            (json!({"name": "soon", "expires": 1_422_403_387}), 1),
            (json!({"name": "soon", "expires": 1_422_403_387}), 0),
        ] {
            assert_eq!(run("user", arguments.clone()).changes.len(), changes, "{arguments}");
        }
        // What the skeleton holds is in the home; its owner is known by name, not by number.
        for entry in std::fs::read_dir("/etc/skel").into_iter().flatten().flatten() {
            let path = std::path::Path::new("/home/soon").join(entry.file_name());
            let stat = run("stat", json!({"path": path}));
            assert_eq!(stat.data["stat"]["pw_name"], "soon", "{stat:?}");
            assert!(stat.unknown_fields.contains(&"stat.uid".to_string()));
        }
        let asked = run("getent", json!({"database": "passwd", "key": "soon"}));
        assert_eq!(asked.unknown_facts, ["getent_passwd"], "{asked:?}");
        let missing = run("user", json!({"name": "soon", "group": "never"}));
        assert_eq!(missing.msg.as_deref(), Some("Group never does not exist"));
    }
}
