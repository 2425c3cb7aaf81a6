//! The children of a hub: one for each identity, started when it is first needed, and the overlay that they share.

use super::elevate;
use super::installed;
use super::launch::{self, Child, Program, Refusal};
use crate::machine::{Machine, Mode};
use crate::secret::Secret;
use crate::wire::{Become, BecomeMethod, End, Frame, Kind, Start};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Whose child it is; nothing for the user who logged in.
pub(super) type Identity = Option<(BecomeMethod, String, Option<String>, Vec<String>)>;

/// The host's users and groups as they were: a process keeps the groups that it was started with.
#[derive(Clone, PartialEq, Eq)]
struct Accounts([Option<(u64, i64, i64)>; 2]);

impl Accounts {
    fn now() -> Self {
        let state = |path| std::fs::metadata(path).ok().map(|file| (file.ino(), file.mtime(), file.mtime_nsec()));
        Accounts(["/etc/passwd", "/etc/group"].map(state))
    }
}

/// All of them.
pub(super) struct Children {
    running: BTreeMap<Identity, Child>,
    /// The accounts when those who are somebody else were started.
    accounts: Accounts,
    /// Who may not be become, with which password, and why: a password is tried once.
    refused: Vec<(Identity, Option<Secret>, Refusal)>,
    /// Who has the newest overlay of a check.
    overlay_with: Option<Identity>,
    overlay_lost: bool,
    sha256: Option<String>,
    start: Start,
}

impl Children {
    /// None yet. `sha256` is that of this program, if it is known.
    pub fn new(sha256: Option<String>) -> Self {
        Children {
            running: BTreeMap::new(),
            accounts: Accounts::now(),
            refused: Vec::new(),
            overlay_with: None,
            overlay_lost: false,
            sha256,
            start: Start::default(),
        }
    }

    /// Whose run this is: children that root starts take root's lock for it.
    pub fn set_start(&mut self, start: Start) {
        self.start = start;
    }

    /// Lets children that took root's lock give it up until their next task.
    pub fn give_way(&mut self) {
        for (_, child) in self.running.iter_mut().filter(|(identity, _)| identity.is_some()) {
            // One that is gone has given it up.
            let _ = child.send(&Frame::new(Kind::GiveWay, 0, Vec::new()));
        }
    }

    /// The child for `target`, started if there is none, with the newest overlay if `mode` needs it.
    pub fn get(&mut self, target: Option<&Become>, mode: Mode) -> Result<(Identity, &mut Child), Refusal> {
        let identity = identity(target)?;
        let accounts = Accounts::now();
        if self.accounts != accounts {
            self.dismiss(|_| true);
            self.accounts = accounts;
        }
        if !self.running.contains_key(&identity) {
            let child = self.start_child(&identity, target)?;
            if identity.is_some()
                && let Ok(start) = Frame::json(Kind::Start, 0, &self.start)
            {
                let _ = child.send(&start);
            }
            self.running.insert(identity.clone(), child);
        }
        if mode != Mode::Live {
            self.hand_over(&identity)?;
        }
        match self.running.get_mut(&identity) {
            Some(child) => Ok((identity, child)),
            None => Err("the process that becomes the user is gone".to_string().into()),
        }
    }

    /// Ends those who are this user, or anybody's: who is needed again is started again.
    pub fn leave(&mut self, user: Option<&str>) {
        self.dismiss(|other| user.is_none_or(|user| user == other));
    }

    /// Ends children of these users, but not root's.
    fn dismiss(&mut self, users: impl Fn(&str) -> bool) {
        let goes = |who: &Identity| who.as_ref().is_some_and(|(_, user, ..)| user != "root" && users(user));
        // Who knows what tasks of a check would have done tells the login's own first.
        let keeper = self.overlay_with.clone().filter(goes);
        let spared = keeper.filter(|_| !self.hand_to_login());
        let goes = |who: &Identity| goes(who) && spared.as_ref() != Some(who);
        let (gone, stay): (BTreeMap<Identity, Child>, _) =
            std::mem::take(&mut self.running).into_iter().partition(|(who, _)| goes(who));
        self.running = stay;
        gone.values().for_each(Child::close);
        for (_, child) in gone {
            child.post_mortem();
        }
    }

    /// Hands the overlay of a check to the login's own child; says whether that went well.
    fn hand_to_login(&mut self) -> bool {
        if !self.running.contains_key(&None) {
            let Ok(child) = self.start_child(&None, None) else { return false };
            self.running.insert(None, child);
        }
        let before = self.overlay_with.clone();
        let done = self.hand_over(&None).is_ok();
        if !done {
            self.overlay_with = before;
        }
        done
    }

    /// Whether a child has gone that alone knew what earlier tasks of a check would have done.
    pub fn overlay_is_lost(&self) -> bool {
        self.overlay_lost
    }

    /// Forgets a child that is gone; says how it ended and what it said last.
    pub fn bury(&mut self, identity: &Identity) -> (String, String) {
        if self.overlay_with.as_ref() == Some(identity) {
            self.overlay_with = None;
            self.overlay_lost = true;
        }
        match self.running.remove(identity) {
            Some(child) => child.post_mortem(),
            None => ("is gone".to_string(), String::new()),
        }
    }

    fn start_child(&mut self, identity: &Identity, target: Option<&Become>) -> Result<Child, Refusal> {
        let Some(target) = target.filter(|_| identity.is_some()) else {
            let mut command = Command::new(installed::myself());
            command.arg("--child");
            return launch::plain(command);
        };
        if let Some((_, _, why)) =
            self.refused.iter().find(|(who, password, _)| who == identity && *password == target.password)
        {
            return Err(why.clone());
        }
        let result = match rustix::process::geteuid().is_root() {
            true => self.sha256().map_err(Refusal::from).and_then(|sha256| as_root(&target.user, &sha256)),
            false => self.by_program(target),
        };
        result.map_err(|refusal| {
            let why = format!("cannot become {}: {}", target.user, refusal.why);
            let refusal = Refusal { why, ..refusal };
            // A user who is not there may be made yet.
            if !matches!(Machine::new(Mode::Live).user(&target.user), Ok(None)) {
                self.refused.push((identity.clone(), target.password.clone(), refusal.clone()));
            }
            refusal
        })
    }

    fn by_program(&mut self, target: &Become) -> Result<Child, Refusal> {
        let sha256 = self.sha256()?;
        let path = installed::myself();
        let size = std::fs::metadata(&path).map_err(|e| format!("cannot read the agent itself: {e}"))?.len();
        let language = std::env::var("LC_ALL").ok();
        let program = Program { script: elevate::script(&sha256, size, language.as_deref()), path };
        let elevation = elevate::elevation(target, &unique());
        let password = target.password.as_ref();
        let terminal = elevation.terminal && password.is_some();
        match launch::elevated(&elevation, password, &program, terminal) {
            // `requiretty`: sudo has not asked yet, so nothing is lost.
            Err(refusal) if !terminal && refusal.why.contains("must have a tty") => {
                launch::elevated(&elevation, password, &program, true)
            }
            Err(refusal) if password.is_none() && wants_password(&refusal.why) => {
                let why =
                    format!("`{}` asks for a password; set `ansible_become_password`, or use -K", elevation.program);
                Err(why.into())
            }
            other => other,
        }
    }

    fn sha256(&mut self) -> Result<String, String> {
        if self.sha256.is_none() {
            self.sha256 = Some(installed::my_sha256().map_err(|e| format!("cannot read the agent itself: {e}"))?);
        }
        Ok(self.sha256.clone().unwrap_or_default())
    }

    /// Sees to it that the child of `identity` knows what earlier tasks of the check would have done.
    fn hand_over(&mut self, identity: &Identity) -> Result<(), String> {
        let before = self.overlay_with.replace(identity.clone());
        let Some(before) = before.filter(|before| before != identity) else { return Ok(()) };
        let lost = |why: &str| format!("the state predicted by earlier tasks cannot be handed over: {why}");
        let overlay = match self.running.get_mut(&before) {
            Some(child) => ask(child, Frame::new(Kind::OverlayDump, 0, Vec::new())).map_err(|e| lost(&e))?,
            None => return Ok(()),
        };
        match self.running.get_mut(identity) {
            Some(child) => ask(child, Frame::new(Kind::OverlayLoad, 0, overlay.body)).map_err(|e| lost(&e))?,
            None => return Ok(()),
        };
        Ok(())
    }
}

/// A request to a child that is answered by one frame at once.
fn ask(child: &mut Child, frame: Frame) -> Result<Frame, String> {
    let kind = frame.kind;
    let answer = child.send(&frame).ok().and_then(|()| child.receive());
    let answer = answer.ok_or_else(|| "a process of the agent is gone".to_string())?;
    let error = match answer.kind {
        Kind::OverlayDump if kind == Kind::OverlayDump => None,
        _ => match answer.parse::<End>() {
            Ok(end) => end.error,
            Err(error) => Some(error.to_string()),
        },
    };
    error.map_or(Ok(answer), Err)
}

/// Whose child runs a request. Becoming oneself is becoming nobody.
fn identity(target: Option<&Become>) -> Result<Identity, String> {
    let Some(target) = target else { return Ok(None) };
    if target.user.is_empty() || target.user.starts_with('-') {
        return Err(format!("`{}` is no user name", target.user));
    }
    let us = rustix::process::geteuid().as_raw();
    if target.user == "root" && us == 0 || us != 0 && own_name().is_some_and(|name| name == target.user) {
        return Ok(None);
    }
    Ok(Some((target.method, target.user.clone(), target.exe.clone(), target.flags.clone())))
}

fn own_name() -> Option<String> {
    Machine::new(Mode::Live).user_name(rustix::process::geteuid().as_raw())
}

/// Root becomes anybody without asking.
fn as_root(user: &str, sha256: &str) -> Result<Child, Refusal> {
    let account = Machine::new(Mode::Live).user(user).map_err(|e| e.to_string())?;
    let account = account.ok_or_else(|| "the host has no such user".to_string())?;
    let (groups, uid, gid) = (supplementary_groups(user)?, account.uid, account.gid);
    let mut command = Command::new(installed::shared_copy(sha256)?);
    command.arg("--child");
    command.env("HOME", &account.home).env("USER", user).env("LOGNAME", user).env("SHELL", &account.shell);
    command.env_remove("XDG_RUNTIME_DIR").env_remove("DBUS_SESSION_BUS_ADDRESS").env_remove("MAIL");
    // Root could enter a home that its owner cannot; `/` always works.
    command.current_dir("/");
    // In this order, and not by `Command::uid`, which drops the right to set groups before it runs our part.
    // SAFETY: between fork and exec only three system calls are made, on memory that was allocated before.
    unsafe {
        command.pre_exec(move || {
            let done =
                libc::setgroups(groups.len(), groups.as_ptr()) == 0 && libc::setgid(gid) == 0 && libc::setuid(uid) == 0;
            if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        });
    }
    launch::plain(command)
}

/// The groups of a user, as the host's own name services know them.
fn supplementary_groups(user: &str) -> Result<Vec<libc::gid_t>, String> {
    let output = Command::new("id").args(["-G", "--", user]).output().map_err(|e| format!("cannot run `id`: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match (output.status.success(), text.split_whitespace().map(str::parse).collect::<Result<Vec<_>, _>>()) {
        (true, Ok(groups)) if !groups.is_empty() => Ok(groups),
        _ => Err(format!("`id -G {user}` does not say its groups: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// A text that nobody can guess.
fn unique() -> String {
    let random = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    format!("{}{}", random.trim(), std::process::id())
}

/// What sudo and doas say when they may not ask.
fn wants_password(said: &str) -> bool {
    let signs = ["a password is required", "Authentication required", "Authorization required"];
    signs.iter().any(|sign| said.contains(sign))
}
