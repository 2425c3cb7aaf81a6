//! `sefcontext`: which label of SELinux files below a path get.

use super::fcontext::{Equivalences, Label, NO_LABEL, label_of};
use super::semanage::{Semanage, failed, foreseen, setting};
use crate::machine::Machine;
use crate::modules::files::common::Step;
use crate::modules::files::lineinfile::State;
use crate::modules::programs::{exclusive, or_null};
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};

/// `community.general.sefcontext`
pub const SEFCONTEXT: Module = Module {
    name: "community.general.sefcontext",
    aliases: &["sefcontext"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Sefcontext::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// A kind of files, by the letter that semanage takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Files {
    /// All.
    #[default]
    #[serde(rename = "a")]
    All,
    /// Block devices.
    #[serde(rename = "b")]
    Block,
    /// Character devices.
    #[serde(rename = "c")]
    Character,
    /// Directories.
    #[serde(rename = "d")]
    Directory,
    /// Regular files.
    #[serde(rename = "f")]
    Regular,
    /// Symbolic links.
    #[serde(rename = "l")]
    Link,
    /// Named pipes.
    #[serde(rename = "p")]
    Pipe,
    /// Sockets.
    #[serde(rename = "s")]
    Socket,
}

impl Files {
    /// Its letter, and what semanage calls it in a list.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Files::All => ("a", "all files"),
            Files::Block => ("b", "block device"),
            Files::Character => ("c", "character device"),
            Files::Directory => ("d", "directory"),
            Files::Regular => ("f", "regular file"),
            Files::Link => ("l", "symbolic link"),
            Files::Pipe => ("p", "named pipe"),
            Files::Socket => ("s", "socket"),
        }
    }
}

crate::arguments! {
    /// Says which label of SELinux the files of a path get, or that a path counts as another one.
    ///
    /// Files that are there keep the label that they have: run `restorecon -R` on them. It is done by `semanage` (package
    /// policycoreutils-python-utils).
    ///
    /// Unverified: the policy of a kernel that has SELinux. Adding and removing was tried, with `ignore_selinux_state`, on
    /// hosts whose kernel has none.
    pub struct Sefcontext {
        /// The path, a regular expression: `/srv/mysql(/.*)?`.
        #[serde(alias = "path")]
        pub target: Text,
        /// For which files: `a` all, `b` block devices, `c` character devices, `d` directories, `f` regular files, `l` links,
        /// `p` pipes, `s` sockets. `a` when not given.
        pub ftype: Option<Files>,
        /// Type of the label: `mysqld_db_t`. `<<none>>`: what files have is left alone.
        pub setype: Option<Text>,
        /// The path that the target counts as; instead of `setype`, `ftype`, `seuser` and `selevel`.
        #[serde(alias = "equal")]
        pub substitute: Option<Text>,
        /// User of the label; `system_u` for a new one.
        pub seuser: Option<Text>,
        /// Level of the label; `s0` for a new one.
        #[serde(alias = "serange")]
        pub selevel: Option<Text>,
        /// `present` or `absent`; without `setype` and `substitute` both the label and what the path counts as go.
        #[serde(default)]
        pub state: State,
        /// Have the kernel load the changed policy at once.
        #[serde(default = "Flag::yes")]
        pub reload: Flag,
        /// Change the policy also where the kernel has no SELinux.
        #[serde(default)]
        pub ignore_selinux_state: Flag,
    }
}

impl Sefcontext {
    fn validate(&self) -> Step<()> {
        let given = self.substitute.is_some();
        for (name, other) in [
            ("setype", self.setype.is_some()),
            ("ftype", self.ftype.is_some()),
            ("seuser", self.seuser.is_some()),
            ("selevel", self.selevel.is_some()),
        ] {
            exclusive(&[("substitute", given), (name, other)])?;
        }
        if self.state == State::Present && !given && self.setype.is_none() {
            return Err(failed("state is present but any of the following are missing: setype, substitute"));
        }
        Ok(())
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Step<Outcome> {
    let arguments: Sefcontext = decode(arguments)?;
    arguments.validate()?;
    let semanage = Semanage::find(machine, arguments.ignore_selinux_state.0, arguments.reload.0)?;
    let listing = semanage.list(machine, "fcontext", false)?;
    let equivalences = Equivalences::read(&listing);
    let files = arguments.ftype.unwrap_or_default();
    let mut task = Task { arguments: &arguments, semanage, equivalences, listing, files };
    let mut outcome = Outcome::ok()
        .with("target", arguments.target.0.as_str())
        .with("ftype", files.names().0)
        .with("setype", or_null(arguments.setype.as_deref()))
        .with("substitute", or_null(arguments.substitute.as_deref()));
    if arguments.state == State::Absent {
        task.remove(machine)?;
        return Ok(outcome.with("state", "absent"));
    }
    let (user, level) = match (&arguments.setype, &arguments.substitute) {
        (Some(kind), _) => task.label(machine, kind)?,
        (None, Some(other)) => {
            task.equate(machine, other)?;
            (None, None)
        }
        (None, None) => (None, None),
    };
    outcome = outcome.with("seuser", or_null(user.as_deref())).with("serange", or_null(level.as_deref()));
    Ok(outcome.with("state", "present"))
}

/// One task, and what semanage lists.
struct Task<'a> {
    arguments: &'a Sefcontext,
    semanage: Semanage,
    equivalences: Equivalences,
    listing: String,
    files: Files,
}

impl Task<'_> {
    fn target(&self) -> &str {
        &self.arguments.target
    }

    fn about_label(&self) -> crate::machine::settings::Setting {
        setting(format_args!("label of {} ({})", self.target(), self.files.names().1), "label")
    }

    fn about_equivalence(&self) -> crate::machine::settings::Setting {
        setting(format_args!("labels of {}", self.target()), "substitute")
    }

    /// The label that the target has, or would have by now.
    fn present_label(&self, machine: &Machine) -> Step<Option<String>> {
        let about = self.about_label();
        let listed = label_of(&self.listing, self.target(), self.files.names().1).map(str::to_string);
        machine.observe_setting(&about, listed.as_deref().unwrap_or_default());
        Ok(foreseen(machine, &about)?.unwrap_or(listed))
    }

    fn present_equivalence(&self, machine: &Machine) -> Step<Option<String>> {
        let about = self.about_equivalence();
        let listed = self.equivalences.of(self.target()).map(str::to_string);
        machine.observe_setting(&about, listed.as_deref().unwrap_or_default());
        Ok(foreseen(machine, &about)?.unwrap_or(listed))
    }

    /// Brings the label; answers its user and its level.
    fn label(&mut self, machine: &mut Machine, kind: &Text) -> Step<(Option<String>, Option<String>)> {
        let present = self.present_label(machine)?;
        let old = present.as_deref().and_then(Label::parse);
        let given = |text: &Option<Text>| text.as_ref().map(|text| text.0.clone());
        let fresh = |value: &str| old.is_none().then(|| value.to_string());
        let user = given(&self.arguments.seuser).or(old.as_ref().map(|old| old.user.clone())).or(fresh("system_u"));
        let level = given(&self.arguments.selevel).or(old.as_ref().and_then(|old| old.level.clone())).or(fresh("s0"));
        let none = kind.eq_ignore_ascii_case("<<none>>");
        let new = match (none, &user) {
            (false, Some(user)) => {
                let role = old.as_ref().map_or("object_r", |old| &old.role).to_string();
                Label { user: user.clone(), role, kind: kind.0.clone(), level: level.clone() }.shown()
            }
            _ => NO_LABEL.to_string(),
        };
        if present.as_deref() != Some(new.as_str()) {
            if let Some(why) = self.equivalences.refusal(self.target()) {
                return Err(failed(format!("ValueError: {why}")));
            }
            let verb = if present.is_some() { "-m" } else { "-a" };
            // semanage knows it in small letters alone.
            let kind = if none { "<<none>>" } else { kind };
            let mut words = vec!["fcontext", verb, "-t", kind, "-f", self.files.names().0];
            for (option, value) in [("-r", &level), ("-s", &user)] {
                words.extend(value.as_deref().filter(|_| !none).into_iter().flat_map(|value| [option, value]));
            }
            words.push(self.target());
            self.semanage.change(machine, &self.about_label(), (present.as_deref(), Some(&new)), &words)?;
        }
        Ok((user, level))
    }

    /// Has the path count as another one.
    fn equate(&mut self, machine: &mut Machine, other: &str) -> Step<()> {
        let present = self.present_equivalence(machine)?;
        if present.as_deref() == Some(other) {
            return Ok(());
        }
        let known = present.is_some();
        let why = match known {
            // Only what was said on this host can be changed, and what an earlier task of a check said.
            true if self.equivalences.of(self.target()).is_some() && !self.equivalences.is_local(self.target()) => {
                Some(format!("Equivalence class for {} does not exist: it is the distribution's", self.target()))
            }
            true => None,
            false => self.equivalences.refusal_of_equivalence(self.target(), other),
        };
        if let Some(why) = why {
            return Err(failed(format!("ValueError: {why}")));
        }
        let words = ["fcontext", if known { "-m" } else { "-a" }, "-e", other, self.target()];
        self.semanage.change(machine, &self.about_equivalence(), (present.as_deref(), Some(other)), &words)
    }

    /// Takes away the equivalence, the label, or both.
    fn remove(&mut self, machine: &mut Machine) -> Step<()> {
        let arguments = self.arguments;
        let equivalence = self.present_equivalence(machine)?;
        let label = self.present_label(machine)?.filter(|label| label != NO_LABEL && arguments.substitute.is_none());
        let goes = |present: &&String| {
            arguments.setype.is_none() && arguments.substitute.as_ref().is_none_or(|other| other.0 == **present)
        };
        // First what the path counts as: as long as that is there, semanage takes a removal for one of it.
        if let Some(other) = equivalence.as_ref().filter(goes) {
            let own = self.equivalences.is_local(self.target());
            if !own && self.equivalences.of(self.target()).is_some() {
                let why =
                    format!("{} counts as {other} by the distribution's word: it cannot be deleted", self.target());
                return Err(failed(why));
            }
            let words = ["fcontext", "-d", "-e", other, self.target()];
            self.semanage.change(machine, &self.about_equivalence(), (Some(other), None), &words)?;
        } else if equivalence.is_some() && label.is_some() && self.equivalences.is_local(self.target()) {
            let why = "it counts as another path, too, and semanage would delete that: delete both, without setype";
            return Err(failed(format!("the label of {} cannot be deleted: {why}", self.target())));
        }
        let Some(label) = label else { return Ok(()) };
        let (letter, files) = self.files.names();
        // semanage would say so, too, but not in a check.
        let local = self.semanage.list(machine, "fcontext", true)?;
        if label_of(&local, self.target(), files).is_none() && foreseen(machine, &self.about_label())?.is_none() {
            let why = format!("File context for {} is defined in policy, cannot be deleted", self.target());
            return Err(failed(format!("ValueError: {why}")));
        }
        let words = ["fcontext", "-d", "-f", letter, self.target()];
        self.semanage.change(machine, &self.about_label(), (Some(&label), None), &words)
    }
}

#[cfg(test)]
mod tests {
    use crate::machine::Mode;
    use crate::modules::selinux::semanage::fake;
    use crate::modules::testing::{TestController, run_on};
    use crate::modules::{Outcome, Status};
    use serde_json::{Value, json};
    use std::path::Path;

    const LISTINGS: &str = "'fcontext -l') printf '%s\\n' 'SELinux fcontext type Context' '' \
        '/srv/my(/.*)?  all files  system_u:object_r:mysqld_db_t:s0 ' '/etc/x  regular file  u:object_r:etc_t:s1' \
        '/srv/none  all files  <<None>>' '/both  all files  u:r:t:s0' \
        '' 'SELinux Distribution fcontext Equivalence ' '' '/lib = /usr/lib' \
        '' 'SELinux Local fcontext Equivalence ' '' '/srv/other = /srv/my' '/both = /etc';;\n\
        'fcontext -l -C') printf '%s\\n' '/srv/my(/.*)?  all files  system_u:object_r:mysqld_db_t:s0 ' '/both  all files u:r:t:s0';;";

    fn run(mode: Mode, directory: &Path, arguments: &Value) -> (Outcome, Vec<String>) {
        let mut machine = fake::machine(mode, directory, LISTINGS);
        let mut arguments = arguments.clone();
        arguments["ignore_selinux_state"] = json!(true);
        let outcome = run_on(&mut machine, &mut TestController::default(), "sefcontext", &arguments);
        (outcome, fake::told(directory))
    }

    #[test]
    fn what_semanage_is_told() {
        let directory = tempfile::tempdir().unwrap();
        for (arguments, told) in [
            (json!({"target": "/srv/my(/.*)?", "setype": "mysqld_db_t"}), &[][..]),
            (
                json!({"target": "/srv/my(/.*)?", "setype": "mysqld_db_t", "seuser": "x_u"}),
                &["fcontext -m -t mysqld_db_t -f a -r s0 -s x_u /srv/my(/.*)?"],
            ),
            (
                json!({"path": "/srv/my(/.*)?", "setype": "etc_t", "reload": false}),
                &["fcontext -N -m -t etc_t -f a -r s0 -s system_u /srv/my(/.*)?"],
            ),
            (
                json!({"target": "/srv/my(/.*)?", "ftype": "d", "setype": "mysqld_db_t"}),
                &["fcontext -a -t mysqld_db_t -f d -r s0 -s system_u /srv/my(/.*)?"],
            ),
            (
                json!({"target": "/etc/x", "ftype": "f", "setype": "bin_t"}),
                &["fcontext -m -t bin_t -f f -r s1 -s u /etc/x"],
            ),
            (json!({"target": "/srv/none", "setype": "<<none>>"}), &[]),
            (json!({"target": "/srv/no", "setype": "<<none>>"}), &["fcontext -a -t <<none>> -f a /srv/no"]),
            (json!({"target": "/srv/other", "substitute": "/srv/my"}), &[]),
            (json!({"target": "/srv/other", "equal": "/srv/you"}), &["fcontext -m -e /srv/you /srv/other"]),
            (json!({"target": "/srv/new", "equal": "/srv/you"}), &["fcontext -a -e /srv/you /srv/new"]),
            (json!({"target": "/srv/my(/.*)?", "state": "absent"}), &["fcontext -d -f a /srv/my(/.*)?"]),
            (json!({"target": "/srv/other", "state": "absent"}), &["fcontext -d -e /srv/my /srv/other"]),
            (json!({"target": "/srv/other", "state": "absent", "substitute": "/srv/x"}), &[]),
            (json!({"target": "/srv/other", "state": "absent", "setype": "x_t"}), &[]),
            (json!({"target": "/both", "state": "absent"}), &["fcontext -d -e /etc /both", "fcontext -d -f a /both"]),
            (json!({"target": "/srv/nowhere", "state": "absent"}), &[]),
        ] {
            for mode in [Mode::Predicted, Mode::Live] {
                let (outcome, said) = run(mode, directory.path(), &arguments);
                assert_eq!(outcome.status, Status::Ok, "{arguments}: {:?}", outcome.msg);
                assert_eq!(outcome.changes.len(), told.len(), "{arguments}");
                let expected: &[&str] = if mode == Mode::Live { told } else { &[] };
                assert_eq!(said, expected, "{arguments}");
            }
        }
    }

    #[test]
    fn what_cannot_be_is_told_by_a_check_too() {
        let directory = tempfile::tempdir().unwrap();
        for (arguments, expected) in [
            (json!({"target": "/x"}), "any of the following are missing: setype, substitute"),
            (json!({"target": "/x", "equal": "/y", "ftype": "a"}), "mutually exclusive: substitute|ftype"),
            (json!({"target": "/x", "equal": "/y", "setype": "a"}), "mutually exclusive"),
            (json!({"target": "/lib/x", "setype": "etc_t"}), "Try adding '/usr/lib/x' instead"),
            (json!({"target": "/lib", "equal": "/y"}), "does not exist"),
            (json!({"target": "/lib", "state": "absent"}), "distribution"),
            (json!({"target": "/srv", "equal": "/y"}), "conflicts"),
            (json!({"target": "/etc/x", "ftype": "f", "state": "absent"}), "cannot be deleted"),
            (json!({"target": "/both", "setype": "t", "state": "absent"}), "delete both"),
        ] {
            for mode in [Mode::Predicted, Mode::Live] {
                let (outcome, said) = run(mode, directory.path(), &arguments);
                assert_eq!(outcome.status, Status::Failed, "{arguments}");
                assert!(
                    outcome.msg.as_deref().unwrap_or_default().contains(expected),
                    "{arguments}: {:?}",
                    outcome.msg
                );
                assert!(said.is_empty(), "{arguments}: {said:?}");
            }
        }
    }

    #[test]
    fn a_check_remembers_and_answers() {
        let directory = tempfile::tempdir().unwrap();
        let mut machine = fake::machine(Mode::Predicted, directory.path(), LISTINGS);
        for (more, changes) in [
            (json!({"setype": "etc_t"}), 1),
            (json!({"setype": "etc_t"}), 0),
            (json!({"setype": "bin_t", "selevel": "s0:c1"}), 1),
            (json!({"state": "absent"}), 1),
            (json!({"state": "absent"}), 0),
        ] {
            let mut arguments = json!({"target": "/srv/q", "ignore_selinux_state": true});
            arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let outcome = run_on(&mut machine, &mut TestController::default(), "sefcontext", &arguments);
            assert_eq!(outcome.changes.len(), changes, "{arguments}: {:?}", outcome.msg);
        }
        let (outcome, _) =
            run(Mode::Live, directory.path(), &json!({"target": "/etc/x", "ftype": "f", "setype": "etc_t"}));
        assert_eq!((&outcome.data["seuser"], &outcome.data["serange"]), (&json!("u"), &json!("s1")));
        assert_eq!((&outcome.data["substitute"], &outcome.data["ftype"]), (&Value::Null, &json!("f")));
    }
}
