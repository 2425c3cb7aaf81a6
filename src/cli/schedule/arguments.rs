//! What may be written behind `deploy schedule`.

use super::notify::{Receiver, When};
use crate::engine::IfLocked;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// The arguments of `deploy schedule`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ScheduleArgs {
    #[command(flatten)]
    pub(super) write: Write,
    #[command(subcommand)]
    pub(super) command: Option<ScheduleCommand>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ScheduleCommand {
    /// What the timer runs: says nothing when nothing was done, and says everything when something went wrong.
    ///
    /// The playbook is run with `pki_next_run`, computed from the calendar, so that what would expire before the next run
    /// is renewed by this one. Behind it the certificates of all hosts are judged as `deploy pki status` does. Exit code: that of
    /// the run; 1 when the run went well and certificates are nevertheless late, or worse.
    Run(Box<Run>),
    /// Make this user's SSH key for jobs if there is none, and print what hosts must be given of it.
    Key(Key),
}

/// What belongs to a job wherever it is run.
#[derive(Clone, Debug, Args)]
pub(super) struct JobArguments {
    /// When, as OnCalendar= of systemd has it
    #[arg(long = "on-calendar", value_name = "CALENDAR", default_value = "daily")]
    pub(super) on_calendar: String,
    /// Begin up to so much later: 90s, 30m, 2h [default: 1h, or a 24th of the time between two runs]
    #[arg(long = "randomized-delay", value_name = "TIME", value_parser = super::seconds)]
    pub(super) randomized_delay: Option<u64>,
    /// When another run has the cluster or a host, or this job still runs: wait, wait:TIME, leave or fail
    #[arg(long = "if-locked", value_name = "WHAT", default_value = "leave")]
    pub(super) if_locked: IfLocked,
    /// Run this command (words as a shell has them, without a shell), the result as JSON on its standard input
    #[arg(long = "notify-command", value_name = "COMMAND", value_parser = Receiver::command)]
    pub(super) notify_command: Vec<Receiver>,
    /// POST the result as JSON to this address; what is secret in it belongs into the variable schedule_notify
    #[arg(long = "notify-url", value_name = "URL", value_parser = Receiver::url)]
    pub(super) notify_url: Vec<Receiver>,
    /// Mail the result there, by `sendmail -t`
    #[arg(long = "notify-mail", value_name = "ADDRESS", value_parser = Receiver::mail)]
    pub(super) notify_mail: Vec<Receiver>,
    /// What is worth telling: changed, failed, left
    #[arg(long = "notify-on", value_name = "WHEN", value_delimiter = ',', default_value = "changed,failed")]
    pub(super) notify_on: Vec<When>,
    /// Name of the job [default: that of its playbook]
    #[arg(long, value_name = "NAME", value_parser = super::plain_name)]
    pub(super) name: Option<String>,
}

impl JobArguments {
    /// Whom the command line names.
    pub(super) fn receivers(&self) -> Vec<Receiver> {
        let named = self.notify_command.iter().chain(&self.notify_url).chain(&self.notify_mail);
        named.map(|one| Receiver { on: self.notify_on.clone(), ..one.clone() }).collect()
    }
}

/// Write the units of a job: by default a timer that renews daily what is due of the project in this folder.
#[derive(Debug, Args)]
pub(super) struct Write {
    #[command(flatten)]
    pub(super) job: JobArguments,
    /// The user it runs as
    #[arg(long, value_name = "USER", default_value = "deploy", value_parser = super::plain_name)]
    pub(super) user: String,
    /// Make the user if there is none: a system account without a password, at home in /var/lib/USER
    #[arg(long = "create-user")]
    pub(super) create_user: bool,
    /// A secret for the job from systemd: pki-passphrase, vault-password or become-password, sealed by systemd-creds in
    /// /etc/credstore.encrypted/deploy.NAME; or NAME=FILE, which is sealed when it ends in .cred or lies there
    #[arg(long = "credential", value_name = "NAME[=FILE]")]
    pub(super) credentials: Vec<String>,
    /// A further directory that the job may write to; all others are read-only to it
    #[arg(long = "read-write", value_name = "DIR")]
    pub(super) read_write: Vec<PathBuf>,
    /// Write a file for cron instead of units for systemd
    #[arg(long)]
    pub(super) cron: bool,
    /// Show the files and do nothing
    #[arg(long, conflicts_with = "remove")]
    pub(super) print: bool,
    /// Say what would be changed, and change nothing
    #[arg(short = 'C', long)]
    pub(super) check: bool,
    /// Take the job's files away
    #[arg(long)]
    pub(super) remove: bool,
    /// Write the files here, and tell systemd nothing [default: /etc/systemd/system, or /etc/cron.d]
    #[arg(long = "directory", value_name = "DIR")]
    pub(super) directory: Option<PathBuf>,
    /// The playbooks and options of the run, as for `deploy` [default: playbooks/rotate-certs.yml]
    #[arg(last = true, value_name = "RUN")]
    pub(super) run: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    pub(super) job: JobArguments,
    /// Show the run as `deploy` does
    #[arg(short = 'v', long)]
    pub(super) verbose: bool,
    /// The playbooks and options of the run, as for `deploy` [default: playbooks/rotate-certs.yml]
    #[arg(last = true, value_name = "RUN")]
    pub(super) run: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Key {
    /// The key file [default: ~/.local/state/deploy/ssh/id_ed25519]
    #[arg(value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
}
