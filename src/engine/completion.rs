//! Answers to requests that a host ran ahead of, dealt with in the order of the requests.

use super::call::Call;
use super::finish::{self, Answer};
use super::fleet::ReplyFuture;
use super::walker::{Flow, HostRun};
use crate::machine::Change;
use crate::modules::Outcome;
use crate::wire::Reply;
use std::sync::{Arc, Weak};
use std::time::Instant;
use tokio::sync::mpsc::UnboundedReceiver;

/// A request that was sent.
pub struct Sent {
    /// Its answer to come.
    pub reply: ReplyFuture,
    /// When it was sent.
    pub since: Instant,
    /// What the controller half changed already.
    pub changes: Vec<Change>,
    /// The host it was delegated to.
    pub delegated_to: Option<Arc<str>>,
    /// In a check: why it is not known whether it would run at all.
    pub doubt: Option<Outcome>,
}

impl Sent {
    /// Waits for the answer; nothing when it was not run. With it come the seconds it took and what the controller
    /// half changed.
    pub async fn answer(self, call: &Call) -> Option<(Answer, f64, Vec<Change>)> {
        let reply = self.reply.await;
        let seconds = self.since.elapsed().as_secs_f64();
        let answer = match reply {
            Ok(Reply::NotRun) => return None,
            Ok(reply) => Answer::of(reply)?,
            Err(why) => Answer::Unreachable(format!("{why} (during `{}`)", call.info.name)),
        };
        let answer = match (answer, self.doubt) {
            (Answer::Outcome(_), Some(why)) => Answer::Outcome(why),
            (answer, _) => answer,
        };
        Some((answer, seconds, self.changes))
    }
}

/// Something in flight whose answer nobody waits for.
pub struct InFlight {
    /// The call.
    pub call: Call,
    /// What was sent.
    pub work: Work,
}

/// What is in flight.
pub enum Work {
    /// One request.
    Task(Sent),
    /// A result that is known, of a task that did nothing; it counts when everything before it ended well.
    Known(Arc<super::task::Finished>),
    /// The items of a loop.
    Loop(Box<super::loops::Under>),
}

/// Deals with the answers of one host until its run is over.
pub async fn serve(host: Weak<HostRun>, mut queue: UnboundedReceiver<InFlight>) {
    while let Some(InFlight { call, work }) = queue.recv().await {
        match work {
            Work::Task(sent) => {
                let delegated_to = sent.delegated_to.clone();
                match sent.answer(&call).await {
                    Some((answer, seconds, changes)) => {
                        let mut finished = finish::finish(&call, answer, Some(changes), seconds).await;
                        finished.delegated_to = delegated_to;
                        finish::publish(&call, Arc::new(finished));
                    }
                    None => finish::forget_pending(&call),
                }
            }
            Work::Known(finished) => {
                let reached =
                    host.upgrade().is_some_and(|host| !matches!(host.state(), Flow::Failed | Flow::Unreachable));
                match reached {
                    true => finish::publish(&call, finished),
                    false => finish::forget_pending(&call),
                }
            }
            Work::Loop(under) => match under.finish().await {
                Some(finished) => finish::publish(&call, Arc::new(finished)),
                None => finish::forget_pending(&call),
            },
        }
        if let Some(host) = host.upgrade() {
            host.batch.board.answered(host.index, call.position());
        }
    }
}
