//! Telling somebody how a job ended: a command, a web hook, a mail. That it cannot be told changes nothing about the job,
//! and is said.

mod command;
mod mail;

pub use mail::sendmail;

use super::summary::{Ended, Summary};
use crate::http;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// So long may one take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Something was done.
    Changed,
    /// It failed, or certificates are late.
    Failed,
    /// Another run had what it needs.
    Left,
}

impl std::fmt::Display for When {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            When::Changed => "changed",
            When::Failed => "failed",
            When::Left => "left",
        })
    }
}

/// Somebody to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// How.
    pub way: Way,
    /// Of what.
    pub on: Vec<When>,
}

/// How somebody is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// A program, with JSON on its standard input.
    Command(Vec<String>),
    /// A POST of JSON.
    Http {
        /// Where to.
        url: http::Url,
        /// Further headers.
        headers: Vec<(String, String)>,
        /// Authorities to trust instead of the system's.
        ca_file: Option<PathBuf>,
    },
    /// `sendmail -t`.
    Mail {
        /// To whom.
        to: Vec<String>,
        /// From whom, if not from whom sendmail says.
        from: Option<String>,
        /// Which program.
        sendmail: Option<PathBuf>,
    },
}

/// As the variable `schedule_notify` has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    command: Option<Value>,
    url: Option<String>,
    #[serde(default)]
    headers: Map<String, Value>,
    ca_file: Option<PathBuf>,
    mail: Option<Value>,
    from: Option<String>,
    sendmail: Option<PathBuf>,
    /// Not `on`, which is `true` to YAML.
    events: Option<Vec<When>>,
}

impl Receiver {
    fn of(way: Way) -> Receiver {
        Receiver { way, on: vec![When::Changed, When::Failed] }
    }

    /// From `--notify-command`.
    pub fn command(text: &str) -> Result<Receiver, String> {
        let words = shlex::split(text).filter(|words| !words.is_empty());
        Ok(Receiver::of(Way::Command(words.ok_or_else(|| format!("`{text}` is no command"))?)))
    }

    /// From `--notify-url`.
    pub fn url(text: &str) -> Result<Receiver, String> {
        Ok(Receiver::of(Way::Http { url: http::Url::parse(text)?, headers: Vec::new(), ca_file: None }))
    }

    /// From `--notify-mail`.
    pub fn mail(text: &str) -> Result<Receiver, String> {
        Ok(Receiver::of(Way::Mail { to: vec![mail::address(text)?], from: None, sendmail: None }))
    }

    /// As it stands on the command line.
    pub fn written(&self) -> String {
        match &self.way {
            Way::Command(words) => shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default(),
            Way::Http { url, .. } => url.whole(),
            Way::Mail { to, .. } => to.join(","),
        }
    }

    /// From the variable `schedule_notify`.
    pub fn list(value: &Value) -> Result<Vec<Receiver>, String> {
        let one = [value.clone()];
        let items = value.as_array().map(Vec::as_slice).unwrap_or(&one);
        let read = |(number, item): (usize, &Value)| {
            Receiver::read(item).map_err(|why| format!("schedule_notify, entry {}: {why}", number + 1))
        };
        items.iter().enumerate().map(read).collect()
    }

    fn read(item: &Value) -> Result<Receiver, String> {
        let written = Written::deserialize(item).map_err(|error| error.to_string())?;
        let words = |value: Value| match value {
            Value::String(text) => shlex::split(&text).ok_or_else(|| format!("`{text}` is no command")),
            other => serde_json::from_value::<Vec<String>>(other).map_err(|error| error.to_string()),
        };
        let way = match (written.command, written.url, written.mail) {
            (Some(command), None, None) => Way::Command(words(command)?),
            (None, Some(url), None) => {
                let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), String::from);
                let headers: Vec<(String, String)> =
                    written.headers.into_iter().map(|(name, value)| (name, text(value))).collect();
                http::check(&headers)?;
                Way::Http { url: http::Url::parse(&url)?, headers, ca_file: written.ca_file }
            }
            (None, None, Some(mail)) => {
                let to = match mail {
                    Value::String(one) => vec![one],
                    many => serde_json::from_value::<Vec<String>>(many).map_err(|error| error.to_string())?,
                };
                let to = to.iter().map(|one| mail::address(one)).collect::<Result<_, _>>()?;
                let from = written.from.as_deref().map(mail::address).transpose()?;
                Way::Mail { to, from, sendmail: written.sendmail }
            }
            _ => return Err("it has one of `command`, `url` and `mail`".into()),
        };
        if matches!(&way, Way::Command(words) if words.is_empty()) {
            return Err("`command` is empty".into());
        }
        let mut receiver = Receiver::of(way);
        receiver.on = written.events.unwrap_or(receiver.on);
        Ok(receiver)
    }

    /// Whether this end is worth telling.
    pub fn wants(&self, ended: Ended) -> bool {
        match ended {
            Ended::Quiet => false,
            Ended::Changed => self.on.contains(&When::Changed),
            Ended::Left => self.on.contains(&When::Left),
            Ended::Late | Ended::Failed => self.on.contains(&When::Failed),
        }
    }

    /// What is secret in it.
    pub fn secrets(&self) -> Vec<String> {
        match &self.way {
            Way::Http { url, headers, .. } => {
                url.secrets().into_iter().chain(headers.iter().map(|(_, value)| value.clone())).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Who it is, in a message: no secret is in it.
    pub fn name(&self) -> String {
        match &self.way {
            Way::Command(words) => format!("the command {}", words.first().map(String::as_str).unwrap_or_default()),
            Way::Http { url, .. } => url.shown(),
            Way::Mail { to, .. } => format!("mail to {}", to.join(", ")),
        }
    }

    /// Tells it. `mask` hides what is secret.
    pub async fn tell(&self, summary: &Summary, mask: &(dyn Fn(&str) -> String + Sync)) -> Result<(), String> {
        let text = mask(&summary.text());
        let mut document = json!(summary);
        document["text"] = text.clone().into();
        let told = async {
            match &self.way {
                Way::Command(words) => command::run(words, mask(&document.to_string()).as_bytes()).await,
                Way::Http { url, headers, ca_file } => {
                    let trust = http::Trust { file: ca_file.as_deref(), setting: "`ca_file`" };
                    http::post(url, headers, trust, mask(&document.to_string()).as_bytes()).await
                }
                Way::Mail { to, from, sendmail } => {
                    let message = mail::message(to, from.as_deref(), summary, &text);
                    mail::send(sendmail.as_deref(), &message).await
                }
            }
        };
        let late = || Err(format!("no answer within {} s", PATIENCE.as_secs()));
        tokio::time::timeout(PATIENCE, told).await.unwrap_or_else(|_| late())
    }
}

#[cfg(test)]
mod tests;
