//! Asking a host of the inventory something, whether the play has it or not: the members of a cluster are asked about
//! the cluster, whatever `--limit` says.

use super::call::{Call, Trouble};
use super::fleet::Link;
use super::play::{Batch, PlayRun};
use super::position::Position;
use super::prepare;
use super::run::Run;
use super::walker::Walker;
use crate::machine::Mode;
use crate::modules::Outcome;
use crate::wire::{Become, OnFailure, Reply, TaskRequest};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A host that answers: linked, and with the identity that the play says.
pub struct Respondent {
    /// Its name in the inventory.
    pub host: Arc<str>,
    link: Arc<Link>,
    become_user: Option<Become>,
}

impl Respondent {
    /// Reaches `host` with the play's keywords and the host's own variables. An error says why it cannot be reached.
    pub async fn reach(play: &Arc<PlayRun>, host: &str) -> Result<Respondent, String> {
        let hosts = vec![play.run.host(host)];
        let board = Arc::new(super::board::Board::new(1, false, play.run.sink.clone()));
        let batch = Arc::new(Batch::new(hosts, board, false));
        let walker = Walker::new(play.clone(), batch, 0);
        let task = super::synthetic::task(&play.play, &play.play.span, "look", "ansible.builtin.ping", Vec::new(), &[]);
        let frame = super::frame::Frame { keywords: vec![play.play.keywords.clone()], ..Default::default() };
        let call = Call::new(&walker.this, &task, &frame, &Position::end());
        let in_words = |trouble: Trouble| prepare::explain(&call, trouble);
        let become_user = prepare::become_user(&call, None).await.map_err(in_words)?;
        let link = prepare::link(&call, None).await.map_err(|none| none.why)?;
        Ok(Respondent { host: host.into(), link, become_user })
    }

    /// The way to it.
    pub(super) fn link(&self) -> &Link {
        &self.link
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
        };
        let answer = self.link.submit(request, run.fleet.blobs.clone(), None).await.await?;
        match answer.reply {
            Reply::Done(outcome) => Ok(outcome),
            Reply::NotRun => Err("the host is shutting its agent down".into()),
            Reply::BecomeFailed(why) => Err(why),
        }
    }
}
