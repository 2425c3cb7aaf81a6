//! Writing a job's units: what they say is decided here, shown or compared, and put in force.

use super::account::{self, Account};
use super::arguments::{JobArguments, Write};
use super::calendar::Calendar;
use super::files::Wanted;
use super::unit::{Credential, Job};
use super::{key, name_of, words_of};
use crate::cli::access;
use crate::cli::arguments::RunArguments;
use crate::credential::{BECOME_PASSWORD, PKI_PASSPHRASE, VAULT_PASSWORD};
use crate::pki::IssuerSpec;
use serde_json::{Map, Value};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Sealed credentials lie here.
const SEALED: &str = "/etc/credstore.encrypted";

/// Does what the command line says.
pub fn write(args: &Write) -> Result<(), String> {
    let (words, run) = words_of(&args.run)?;
    let name = format!("deploy-{}", name_of(args.job.name.as_ref(), &run));
    let usual = if args.cron { "/etc/cron.d" } else { "/etc/systemd/system" };
    let place = args.directory.clone().unwrap_or_else(|| usual.into());
    if args.remove {
        return remove(args, &name, &place);
    }
    let mut remarks = Vec::new();
    let account = account::find(&args.user)?;
    let job = decide(args, &name, words, &run, account.as_ref(), &mut remarks)?;
    let files = files(args, &job, &place)?;
    if args.print {
        for file in &files {
            let text = file.text.as_deref().unwrap_or_default();
            crate::cli::show(&format!("# {}\n{text}\n", file.path.display()));
        }
        remarks.iter().for_each(|remark| eprintln!("warning: {remark}"));
        return Ok(());
    }
    refuse_strangers(&files)?;
    if account.is_none() && !args.create_user {
        return Err(format!(
            "there is no user `{0}`, whom the job is to run as: --create-user makes it (a system account without a \
             password, at home in {1}), --user names another",
            args.user,
            account::new_home(&args.user).display()
        ));
    }
    if args.check {
        return preview(args, &files, account.is_none(), &remarks);
    }
    if args.directory.is_none() && !rustix::process::geteuid().is_root() {
        return Err(format!("only root may write to {usual}: use sudo, or --print to see the files"));
    }
    let account = match account {
        Some(account) => account,
        None => {
            let account = account::create(&args.user)?;
            println!("user {}: made, at home in {}", args.user, account.home.display());
            account
        }
    };
    give_key(&account)?;
    let mut changed = Vec::new();
    for file in &files {
        let done = file.apply()?;
        println!("{}: {}", file.path.display(), if done { "written" } else { "as it should be" });
        changed.push(done);
    }
    if args.directory.is_none() && !args.cron {
        put_in_force(&name, &changed)?;
    }
    remarks.iter().for_each(|remark| eprintln!("warning: {remark}"));
    Ok(())
}

/// What the job is.
fn decide(
    args: &Write,
    name: &str,
    words: Vec<String>,
    run: &RunArguments,
    account: Option<&Account>,
    remarks: &mut Vec<String>,
) -> Result<Job, String> {
    let told = |error: std::io::Error| format!("cannot tell where we are: {error}");
    let directory = std::env::current_dir().map_err(told)?;
    let program = std::env::current_exe().map_err(told)?;
    for playbook in &run.playbooks {
        if !playbook.is_file() {
            return Err(format!(
                "there is no {} in {}: run this in the project's folder, or name a playbook behind `--`",
                playbook.display(),
                directory.display()
            ));
        }
    }
    let calendar = Calendar::parse(&args.job.on_calendar)?;
    if args.cron && !args.credentials.is_empty() {
        return Err(
            "cron hands over no credentials: set `pki_passphrase_file` to a file of the job's user, mode 0600".into()
        );
    }
    let credentials =
        args.credentials.iter().map(|text| credential(text, args.print)).collect::<Result<Vec<_>, _>>()?;
    let home = account.map_or_else(|| account::new_home(&args.user), |account| account.home.clone());
    let state = home.join(".local/state/deploy");
    let mut writable = vec![state.clone()];
    for path in &args.read_write {
        let path = std::path::absolute(path).map_err(told)?;
        if !path.is_dir() && !args.print {
            return Err(format!("--read-write {}: there is no such directory", path.display()));
        }
        writable.push(path);
    }
    let mut low_port = false;
    match needs(run, &home) {
        Ok(needs) => {
            for (path, what) in needs.writable {
                if path.starts_with(&state) || writable.contains(&path) {
                    continue;
                }
                if !path.is_dir() {
                    remarks.push(format!(
                        "{what} is {}, which does not exist: make it before the job begins, its unit does not start without it",
                        path.display()
                    ));
                }
                writable.push(path);
            }
            remarks.extend(needs.remarks.into_iter().map(|remark| remark.replace("USER", &args.user)));
            low_port = needs.low_port;
        }
        Err(why) => remarks.push(format!(
            "whether the inventory names a store of certificates (`pki_store`) or issuers (`pki_issuers`) is not known ({why}): if it \
             does, name their directories with --read-write"
        )),
    }
    if low_port && args.cron {
        remarks.push(format!(
            "an issuer of type acme listens below port 1024, and cron gives {} no right to that: have it listen higher up (`listen`), and \
             port 80 forwarded there",
            args.user
        ));
    }
    writable.dedup();
    let delay = args.job.delay(&calendar);
    let mut command = vec![program.display().to_string(), "schedule".into(), "run".into()];
    command.extend(args.job.words(name, &calendar, delay, args.cron));
    command.extend(["--".to_string(), "--private-key".into(), state.join(key::FILE).display().to_string()]);
    command.extend(words);
    let below = |path: &Path| ["/home", "/root", "/run/user"].iter().any(|top| path.starts_with(top));
    let homes = below(&directory) || below(&program) || below(&home) || writable.iter().any(|path| below(path));
    remarks.extend(mailing(args));
    let playbooks: Vec<String> = run.playbooks.iter().map(|path| path.display().to_string()).collect();
    let about = format!("deploy {} in {}", playbooks.join(" "), directory.display());
    let user = args.user.clone();
    Ok(Job {
        name: name.into(),
        about,
        user,
        directory,
        command,
        calendar,
        delay,
        credentials,
        writable,
        homes,
        low_port,
    })
}

impl JobArguments {
    /// Seconds that the job may begin late.
    pub(super) fn delay(&self, calendar: &Calendar) -> u64 {
        let part = u64::try_from(calendar.interval(jiff::Timestamp::now()) / 24).unwrap_or_default();
        self.randomized_delay.unwrap_or_else(|| part.min(3600))
    }

    /// The same as words of `deploy schedule run`.
    fn words(&self, name: &str, calendar: &Calendar, delay: u64, cron: bool) -> Vec<String> {
        let mut words = vec!["--name".to_string(), name.strip_prefix("deploy-").unwrap_or(name).to_string()];
        let mut say = |option: &str, value: String| words.push(format!("{option}={value}"));
        say("--on-calendar", calendar.to_string());
        say("--randomized-delay", format!("{}s", if cron { 0 } else { delay }));
        say("--if-locked", self.if_locked.to_string());
        self.notify_command.iter().for_each(|one| say("--notify-command", one.written()));
        self.notify_url.iter().for_each(|one| say("--notify-url", one.written()));
        self.notify_mail.iter().for_each(|one| say("--notify-mail", one.written()));
        if !self.receivers().is_empty() {
            say("--notify-on", self.notify_on.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
        }
        words
    }
}

/// `pki-passphrase`, or `pki-passphrase=FILE`.
fn credential(text: &str, print: bool) -> Result<Credential, String> {
    let (short, file) = text.split_once('=').map_or((text, None), |(short, file)| (short, Some(file)));
    let all = [PKI_PASSPHRASE, VAULT_PASSWORD, BECOME_PASSWORD];
    let name = all.into_iter().find(|name| name.strip_prefix("deploy.") == Some(short));
    let name = name.ok_or_else(|| {
        format!("--credential {text}: a job is given pki-passphrase, vault-password and become-password")
    })?;
    let file = file.map_or_else(|| Path::new(SEALED).join(name), PathBuf::from);
    let file = std::path::absolute(&file).unwrap_or(file);
    let sealed = file.starts_with(SEALED) || file.extension().is_some_and(|end| end == "cred");
    if !file.is_file() && !print {
        return Err(format!(
            "--credential {text}: there is no {0}; make it with\n  systemd-ask-password -n | systemd-creds encrypt --name={name} - {0}",
            file.display()
        ));
    }
    Ok(Credential { name, file, sealed })
}

/// What the inventory asks of the unit.
fn needs(run: &RunArguments, home: &Path) -> Result<Needs, String> {
    let access = access::open(run.access.clone(), "reading the inventory");
    let access = std::sync::Arc::new(access.map_err(|(said, _)| said.trim().to_string())?);
    let hosts = access.hosts();
    let found =
        access.clone().block_on(async move { access.variables(&hosts, &["pki_store", "pki_issuers"]).await })?;
    let mut needs = Needs::default();
    for (_, variables) in found {
        needs.add(&variables?, home)?;
    }
    Ok(needs)
}

/// What certificates need of a unit.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// Directories that the job must be able to write to, and what they are.
    pub writable: Vec<(PathBuf, &'static str)>,
    /// It answers challenges below port 1024.
    pub low_port: bool,
    /// What whoever writes the unit should know.
    pub remarks: Vec<String>,
}

impl Needs {
    /// Takes in the variables of one host; `home` is that of the job's user.
    pub(super) fn add(&mut self, variables: &Map<String, Value>, home: &Path) -> Result<(), String> {
        if let Some(text) = variables.get("pki_store").and_then(Value::as_str).filter(|text| !text.trim().is_empty()) {
            let path = match text.strip_prefix("~/") {
                Some(rest) => {
                    let path = home.join(rest);
                    let remark = format!(
                        "`pki_store` is {text}: to the job that is {}, below the home of USER, whatever it is to you",
                        path.display()
                    );
                    if !self.remarks.contains(&remark) {
                        self.remarks.push(remark);
                    }
                    path
                }
                None => PathBuf::from(text),
            };
            if !path.is_absolute() {
                return Err(format!("`pki_store` is {text}: write an absolute path"));
            }
            self.write(path, "the store of authorities (`pki_store`)");
        }
        let issuers = IssuerSpec::map(variables.get("pki_issuers").unwrap_or(&Value::Null));
        for (_, issuer) in issuers.map_err(|error| error.to_string())? {
            match issuer {
                IssuerSpec::Files(spec) => self.write(spec.requests, "the folder of requests (`pki_issuers`)"),
                IssuerSpec::Acme(spec) => self.low_port |= (1..1024).contains(&spec.listen.port()),
                IssuerSpec::Store => {}
            }
        }
        Ok(())
    }

    fn write(&mut self, path: PathBuf, what: &'static str) {
        if !self.writable.iter().any(|(known, _)| *known == path) {
            self.writable.push((path, what));
        }
    }
}

/// A unit of ours gains no privileges, and most mail systems' `sendmail` is a program that does.
fn mailing(args: &Write) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let wanted = !args.job.notify_mail.is_empty() && !args.cron;
    let sendmail = super::notify::sendmail(None).filter(|_| wanted);
    match sendmail {
        None if wanted => Some("--notify-mail: there is no `sendmail` on this machine".into()),
        Some(path) => {
            let path = std::fs::canonicalize(&path).unwrap_or(path);
            let mode = std::fs::metadata(&path).map(|meta| meta.mode()).unwrap_or_default();
            (mode & 0o6000 != 0).then(|| {
                format!(
                    "{} takes on another user's rights, which the unit does not let it do: use one that speaks SMTP by itself \
                     (msmtp-mta, for example), or --notify-command",
                    path.display()
                )
            })
        }
        None => None,
    }
}

fn files(args: &Write, job: &Job, place: &Path) -> Result<Vec<Wanted>, String> {
    let file = |end: &str, text: String| Wanted { path: place.join(format!("{}{end}", job.name)), text: Some(text) };
    Ok(match args.cron {
        true => vec![file("", job.cron()?)],
        false => vec![file(".service", job.service()), file(".timer", job.timer())],
    })
}

fn preview(args: &Write, files: &[Wanted], missing: bool, remarks: &[String]) -> Result<(), String> {
    if missing {
        println!("would make the user {}", args.user);
    }
    let mut changes = 0;
    for file in files {
        if let Some(diff) = file.diff()? {
            changes += 1;
            print!("{diff}");
        }
    }
    if changes == 0 && !missing {
        println!("nothing would be changed");
    }
    remarks.iter().for_each(|remark| eprintln!("warning: {remark}"));
    Ok(())
}

/// Lets the job's user make its key: what root writes into somebody's home may end up elsewhere.
fn give_key(account: &Account) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| format!("cannot tell which program we are: {error}"))?;
    let mut command = Command::new(&program);
    command
        .args(["schedule", "key"])
        .env("HOME", &account.home)
        .env_remove("XDG_STATE_HOME")
        .env_remove("USER")
        .env_remove("LOGNAME");
    command.current_dir("/");
    if rustix::process::geteuid().as_raw() != account.uid {
        command.uid(account.uid).gid(account.gid);
    }
    let told = command.output().map_err(|error| {
        format!(
            "the job's user cannot run {}: {error}; install deploy where everybody may, in /usr/local/bin",
            program.display()
        )
    })?;
    if !told.status.success() {
        return Err(format!("as the job's user: {}", String::from_utf8_lossy(&told.stderr).trim()));
    }
    crate::cli::show(&String::from_utf8_lossy(&told.stdout));
    Ok(())
}

fn systemctl(words: &[&str]) -> Result<(), String> {
    let told = Command::new("systemctl").args(words).output().map_err(|error| format!("systemctl: {error}"))?;
    if told.status.success() {
        return Ok(());
    }
    Err(format!("systemctl {}: {}", words.join(" "), String::from_utf8_lossy(&told.stderr).trim()))
}

fn put_in_force(name: &str, changed: &[bool]) -> Result<(), String> {
    let timer = format!("{name}.timer");
    if changed.contains(&true) {
        systemctl(&["daemon-reload"])?;
    }
    let active =
        systemctl(&["is-active", "--quiet", &timer]).is_ok() && systemctl(&["is-enabled", "--quiet", &timer]).is_ok();
    if !active {
        systemctl(&["enable", "--now", "--quiet", &timer])?;
        println!("{timer}: enabled and started");
    } else if changed.get(1) == Some(&true) {
        systemctl(&["restart", &timer])?;
        println!("{timer}: started anew");
    } else {
        println!("{timer}: active");
    }
    Ok(())
}

/// Files of other hands, and of other projects, stay.
fn refuse_strangers(files: &[Wanted]) -> Result<(), String> {
    let project = std::env::current_dir().map_err(|error| format!("cannot tell where we are: {error}"))?;
    let project = project.display().to_string();
    for file in files {
        if let Some(why) = file.stranger(&project)? {
            return Err(why);
        }
    }
    Ok(())
}

fn remove(args: &Write, name: &str, place: &Path) -> Result<(), String> {
    let ends: &[&str] = if args.cron { &[""] } else { &[".timer", ".service"] };
    let files: Vec<Wanted> =
        ends.iter().map(|end| Wanted { path: place.join(format!("{name}{end}")), text: None }).collect();
    refuse_strangers(&files)?;
    if args.check {
        return preview(args, &files, false, &[]);
    }
    let tell = args.directory.is_none() && !args.cron;
    let timer = format!("{name}.timer");
    if tell && files.iter().any(|file| file.path.exists()) {
        systemctl(&["disable", "--now", "--quiet", &timer])?;
    }
    for file in &files {
        let done = file.apply()?;
        println!("{}: {}", file.path.display(), if done { "removed" } else { "was not there" });
    }
    if tell {
        systemctl(&["daemon-reload"])?;
    }
    println!("the user, its key and its credentials stay");
    Ok(())
}
