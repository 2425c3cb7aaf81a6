//! A running agent on one host.

use super::blobs::{BlobSource, NoBlobs};
use super::bootstrap;
use super::codec::FrameReader;
use super::host::Host;
use super::program::Programs;
use super::pump::{self, Entry, Link};
use super::relay::{self, Relay};
use super::{AgentError, Lost};
use crate::modules::Outcome;
use crate::wire::{Frame, Hello, Kind, Leftover, MAX_MESSAGE, PROTOCOL, Progress, Reply, Start, TaskRequest};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

/// How the agent is started.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// The agent's own directory on the host (`deploy_agent_dir`); by default `~/.cache/deploy`.
    pub directory: Option<String>,
    /// A name of this run that no other run has. Sessions of one run do not wait for each other.
    pub run: String,
    /// Who is told to others that wait: `alice@control, playbooks/site.yml`.
    pub who: String,
    /// Live tasks wait for other runs on this host. Not for the controller itself: runs for different clusters share it.
    pub exclusive: bool,
    /// How long the host may take to start the agent, the copying included.
    pub timeout: Duration,
    /// After this long without a word from us the agent takes us for dead, and frees the host for others.
    pub patience: Duration,
    /// Where contents that hosts send are kept until they are taken; by default the system's temporary directory.
    pub received: Option<PathBuf>,
}

impl Default for AgentOptions {
    fn default() -> Self {
        AgentOptions {
            directory: None,
            run: String::new(),
            who: String::new(),
            exclusive: true,
            timeout: Duration::from_secs(60),
            patience: Duration::from_secs(120),
            received: None,
        }
    }
}

/// Called with the progress of a request.
pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

/// A request and what belongs to it.
pub struct Call {
    /// The request.
    pub request: TaskRequest,
    /// Contents that it may ask for.
    pub blobs: Arc<dyn BlobSource>,
    /// Told how far a long step is.
    pub progress: Option<ProgressSink>,
}

impl Call {
    /// A request without anything.
    pub fn new(request: TaskRequest) -> Self {
        Call { request, blobs: Arc::new(NoBlobs), progress: None }
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The reply.
    pub reply: Reply,
    /// Contents that the host sent, by their names; the files are removed when this is dropped.
    pub received: BTreeMap<String, tempfile::TempPath>,
    /// Contents that could not be stored here, and why.
    pub not_received: BTreeMap<String, String>,
}

/// An answer that is on its way. Dropping it does not stop the task.
pub struct Pending {
    answer: oneshot::Receiver<Result<Answer, Lost>>,
    label: String,
}

impl Future for Pending {
    type Output = Result<Answer, Lost>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.answer).poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(answer)) => Poll::Ready(answer),
            Poll::Ready(Err(_)) => Poll::Ready(Err(Lost {
                during: self.label.clone(),
                label: self.label.clone(),
                why: "the session was given up".into(),
            })),
        }
    }
}

/// A running agent. Clones share it; the agent ends with the last.
#[derive(Clone)]
pub struct Session {
    hello: Arc<Hello>,
    link: Arc<Link>,
}

impl Session {
    /// Starts the agent on `host`, bringing it there if it is missing.
    pub async fn start(host: &dyn Host, programs: &Programs, options: &AgentOptions) -> Result<Session, AgentError> {
        let late = || {
            let seconds = options.timeout.as_secs();
            AgentError::NoAnswer(format!(
                "nothing within {seconds} s; do the login shell's start files wait for input?"
            ))
        };
        tokio::time::timeout(options.timeout, Session::begin(host, programs, options)).await.map_err(|_| late())?
    }

    async fn begin(host: &dyn Host, programs: &Programs, options: &AgentOptions) -> Result<Session, AgentError> {
        let started = bootstrap::start(host, programs, options).await?;
        let mut reader = FrameReader::new(tokio::io::BufReader::with_capacity(64 * 1024, started.output));
        let first = reader.next().await;
        let hello = match first.map_err(|e| AgentError::NoAnswer(e.to_string()))? {
            Some(frame) if frame.kind == Kind::Hello => {
                frame.parse::<Hello>().map_err(|e| AgentError::NoAnswer(e.to_string()))?
            }
            _ => return Err(AgentError::Run((started.channel.diagnosis)())),
        };
        if hello.protocol != PROTOCOL {
            return Err(AgentError::Protocol { theirs: hello.protocol, ours: PROTOCOL });
        }
        let start = Start {
            run: options.run.clone(),
            who: options.who.clone(),
            patience: options.patience.as_secs(),
            exclusive: options.exclusive,
        };
        let start = Frame::json(Kind::Start, 0, &start).map_err(|e| AgentError::Run(e.to_string()))?;
        let link = pump::start(reader, started.channel, options);
        link.control(start);
        Ok(Session { hello: Arc::new(hello), link })
    }

    /// What the agent said of itself.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Results that an earlier run on this host did not live to receive.
    pub fn leftovers(&self) -> &[Leftover] {
        &self.hello.leftovers
    }

    /// Queues a request. Requests run strictly in the order of these calls; the answer can be awaited at any time.
    pub fn submit(&self, call: Call) -> Pending {
        let Call { request, blobs, progress } = call;
        let (sender, answer) = oneshot::channel();
        let label = request.label.clone();
        let pending = Pending { answer, label: label.clone() };
        match Frame::json(Kind::Task, 0, &request) {
            Ok(frame) if frame.body.len() <= MAX_MESSAGE => {
                self.link.submit(frame, Entry::new(label, sender, blobs, progress));
            }
            Ok(frame) => refuse(sender, format!("its arguments are {} MiB long", frame.body.len() / 1024 / 1024)),
            Err(error) => refuse(sender, error.to_string()),
        }
        pending
    }

    /// Connects from the host to `target`, an address or a name that it can resolve, and passes bytes both ways.
    pub async fn relay(&self, target: &str, port: u16, timeout: Duration) -> std::io::Result<Relay> {
        relay::open(&self.link, target, port, timeout).await
    }

    /// Why the session is over, if it is.
    pub fn lost(&self) -> Option<String> {
        self.link.lost()
    }

    /// Lets other runs work on the host until the next request, once those before are done.
    pub fn give_way(&self) {
        self.link.control(Frame::new(Kind::GiveWay, 0, Vec::new()));
    }

    /// Ends the agent after all that was submitted; returns when it has ended, or after two seconds of silence.
    pub async fn close(&self) {
        self.link.shut_down();
        let _ = tokio::time::timeout(Duration::from_secs(2), self.link.ended()).await;
    }
}

/// An answer to what cannot be sent.
fn refuse(sender: oneshot::Sender<Result<Answer, Lost>>, why: String) {
    let outcome = Outcome::failed(format!("the task cannot be sent to the host: {why}"));
    let answer = Answer { reply: Reply::Done(outcome), received: BTreeMap::new(), not_received: BTreeMap::new() };
    let _ = sender.send(Ok(answer));
}
