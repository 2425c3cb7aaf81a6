//! Asking a host of the inventory something, whether the play has it or not: the members of a cluster are asked about
//! the cluster, whatever `--limit` says.

use super::call::{Call, Trouble};
use super::fleet::Link;
use super::play::{Batch, PlayRun};
use super::position::Position;
use super::prepare;
use super::run::Run;
use super::walker::Walker;
use crate::connection::agent::Relay;
use crate::machine::Mode;
use crate::modules::Outcome;
use crate::wire::{Become, OnFailure, Reply, TaskRequest};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// A host that answers: linked, and with the identity that the play says.
pub struct Respondent {
    /// Its name in the inventory.
    pub host: Arc<str>,
    link: Arc<Link>,
    become_user: Option<Become>,
}

/// A task on `host` that is only there to ask.
fn asking(play: &Arc<PlayRun>, host: &str) -> Call {
    let hosts = vec![play.run.host(host)];
    let board = Arc::new(super::board::Board::new(1, false, play.run.sink.clone()));
    let batch = Arc::new(Batch::new(hosts, board, false));
    let walker = Walker::new(play.clone(), batch, 0);
    let task = super::synthetic::task(&play.play, &play.play.span, "look", "ansible.builtin.ping", Vec::new(), &[]);
    let frame = super::frame::Frame { keywords: vec![play.play.keywords.clone()], ..Default::default() };
    Call::new(&walker.this, &task, &frame, &Position::end())
}

/// Variables of a host as the play sees them, templated, without reaching it; what is not defined is left out. An error
/// says which cannot be evaluated, and why.
pub async fn host_variables(play: &Arc<PlayRun>, host: &str, names: &[&str]) -> Result<Map<String, Value>, String> {
    let call = asking(play, host);
    let mut found = Map::new();
    for name in names {
        let value = call.variable(name).await.map_err(|trouble| {
            let why = match trouble {
                // The place would be in a play that nobody has written.
                Trouble::Template(error) => error.into_diag().message,
                other => prepare::explain(&call, other),
            };
            format!("`{name}` cannot be evaluated: {why}; is everything that it is made of defined?")
        })?;
        found.extend(value.map(|value| (name.to_string(), crate::template::to_json(&value))));
    }
    Ok(found)
}

impl Respondent {
    /// Reaches `host` with the play's keywords and the host's own variables. An error says why it cannot be reached.
    pub async fn reach(play: &Arc<PlayRun>, host: &str) -> Result<Respondent, String> {
        let call = asking(play, host);
        let in_words = |trouble: Trouble| prepare::explain(&call, trouble);
        let become_user = prepare::become_user(&call, None).await.map_err(in_words)?;
        let link = prepare::link(&call, None).await.map_err(|none| none.why)?;
        Ok(Respondent { host: host.into(), link, become_user })
    }

    /// The way to it.
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Connects from it to `target`, an address or a name that it can resolve.
    pub async fn relay(&self, target: &str, port: u16, timeout: Duration) -> std::io::Result<Relay> {
        self.link.relay(target, port, timeout).await
    }

    /// Who the play becomes there.
    pub(super) fn become_user(&self) -> Option<Become> {
        self.become_user.clone()
    }

    /// Runs a module's host half for real, also in a check, and without waiting for other runs on that host: for
    /// modules that only look, and for the cluster's lock.
    pub async fn ask(&self, run: &Run, module: &str, arguments: Map<String, Value>) -> Result<Outcome, String> {
        let request = TaskRequest {
            module: module.to_string(),
            arguments,
            become_user: self.become_user.clone(),
            mode: Mode::Live,
            diff: false,
            no_log: true,
            environment: Default::default(),
            epoch: run.next_epoch(),
            on_failure: OnFailure::Continue,
            group: 0,
            timeout: 0,
            detach: None,
            label: module.to_string(),
            run: run.id.clone(),
            turn: 0,
            unlocked: true,
            no_fetch: false,
            within_check: false,
        };
        let answer = self.link.submit(request, run.fleet.blobs.clone(), None).await.await?;
        match answer.reply {
            Reply::Done(outcome) => Ok(outcome),
            Reply::NotRun => Err("the host is shutting its agent down".into()),
            Reply::BecomeFailed { why, .. } => Err(why),
        }
    }
}
