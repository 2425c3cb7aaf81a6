//! One run at a time on a cluster: a lock on every member that can be reached, taken in the order of their names, and
//! valid with a majority of the members.

use super::ask::Respondent;
use super::play::PlayRun;
use super::run::Run;
use crate::journal::Store;
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const MODULE: &str = "deploy.builtin.cluster_lock";
/// Between two attempts while another run has it.
const AGAIN: Duration = Duration::from_secs(1);

/// Why a cluster cannot be locked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Another run has it.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// Too few members answer.
    #[error(
        "the cluster {cluster} cannot be locked: {reached} of {all} members can be reached, and a majority is needed \
         ({})",
        missing.join("; ")
    )]
    NoMajority {
        /// The cluster.
        cluster: String,
        /// Members that were locked.
        reached: usize,
        /// Members there are.
        all: usize,
        /// Why the others were not.
        missing: Vec<String>,
    },
    /// It was lost while the run had it.
    #[error("{0}")]
    Lost(String),
    /// The run was interrupted while it waited.
    #[error("interrupted while waiting for the lock of the cluster {0}")]
    Interrupted(String),
}

/// Who has the lock, as a member said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The cluster.
    pub cluster: String,
    /// The member that said so.
    pub host: String,
    /// `alice@control`
    pub owner: String,
    /// Its run.
    pub run: String,
    /// What for.
    pub reason: String,
    /// Seconds since it was taken.
    pub held_for: u64,
    /// Seconds since its last heartbeat; nothing when the host was booted since.
    pub age: Option<u64>,
    /// Whether three heartbeats were missed.
    pub stale: bool,
    /// The controller's own mark.
    pub controller: String,
}

impl Refusal {
    /// From what the module says of a holder.
    pub fn read(host: &str, holder: &Value) -> Refusal {
        let text = |key: &str| holder.get(key).and_then(Value::as_str).unwrap_or_default().to_string();
        Refusal {
            cluster: text("cluster"),
            host: host.into(),
            owner: text("owner"),
            run: text("run"),
            reason: text("reason"),
            held_for: holder.get("held_for").and_then(Value::as_u64).unwrap_or(0),
            age: holder.get("age").and_then(Value::as_u64),
            stale: holder.get("stale").and_then(Value::as_bool).unwrap_or(false),
            controller: text("controller"),
        }
    }

    /// Its heartbeat, in words.
    pub fn heartbeat(&self) -> String {
        match self.age {
            None => "none since that host was booted".into(),
            Some(age) if self.stale => format!("missing for {}", duration(age)),
            Some(age) => format!("{} ago", duration(age)),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Refusal { cluster, host, owner, run, reason, .. } = self;
        write!(
            f,
            "the cluster {cluster} is locked by {owner} for {}: {reason} (run {run}, seen on {host}, last heartbeat {}); ",
            duration(self.held_for),
            self.heartbeat()
        )?;
        match self.stale {
            true => write!(
                f,
                "that run is not heard of any longer: if you know that it is over, `deploy unlock {cluster}` frees it"
            ),
            false => write!(f, "--if-locked says whether to wait for it, to leave or to fail"),
        }
    }
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// The cluster's name: the same in every inventory that has the cluster.
    pub cluster: String,
    /// What for: `rolling restart of galera`.
    pub reason: String,
    /// How long to wait for another run.
    pub wait: Duration,
}

/// The locks that a run holds, so that none outlives it.
#[derive(Default)]
pub struct Locks(Mutex<Vec<Held>>);

impl Locks {
    fn list(&self) -> std::sync::MutexGuard<'_, Vec<Held>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Gives everything back: the run ends.
    pub async fn release_all(&self) {
        let all = std::mem::take(&mut *self.list());
        for held in all {
            held.give_back().await;
        }
    }
}

/// A cluster that this run has locked. It is given back by [`Held::release`], and at the end of the run at the latest.
#[derive(Clone)]
pub struct Held(Arc<Lock>);

struct Lock {
    play: Arc<PlayRun>,
    terms: Terms,
    /// All members in the order of their names, with those that could be reached.
    members: tokio::sync::Mutex<Vec<(Arc<str>, Result<Respondent, String>)>>,
}

/// Locks `cluster` on its members, whether the play has them or not. A check takes no lock and is not refused.
pub async fn acquire(play: &Arc<PlayRun>, members: &[Arc<str>], terms: Terms) -> Result<Held, LockError> {
    let run = &play.run;
    let mut names = members.to_vec();
    names.sort();
    names.dedup();
    let lock = |members| Held(Arc::new(Lock { play: play.clone(), terms: terms.clone(), members }));
    if run.options.check {
        return Ok(lock(Default::default()));
    }
    let mut reaching = tokio::task::JoinSet::new();
    for (index, name) in names.iter().enumerate() {
        let (play, name) = (play.clone(), name.clone());
        reaching.spawn(async move { (index, Respondent::reach(&play, &name).await) });
    }
    let mut reached: Vec<_> = names.iter().map(|name| (name.clone(), Err("it was not asked".to_string()))).collect();
    while let Some(Ok((index, respondent))) = reaching.join_next().await {
        reached[index].1 = respondent;
    }
    let began = Instant::now();
    let mut told = false;
    loop {
        match attempt(run, &mut reached, &terms).await {
            Ok(()) => break,
            Err(LockError::Refused(refusal)) if began.elapsed() < terms.wait && !refusal.stale => {
                if !std::mem::replace(&mut told, true) {
                    let limit = match terms.wait {
                        Duration::MAX => "for its end".to_string(),
                        time => format!("up to {} s", time.as_secs()),
                    };
                    run.warn(format!("waiting {limit}: {refusal}"));
                }
                if run.stopping() {
                    return Err(LockError::Interrupted(terms.cluster));
                }
                // Who has the cluster may need a host that this run has worked on.
                run.fleet.give_way();
                tokio::time::sleep(AGAIN).await;
            }
            Err(other) => return Err(other),
        }
    }
    for (host, respondent) in &reached {
        if let Err(why) = respondent {
            run.warn(format!("[{host}] the lock of the cluster {} is not taken there: {why}", terms.cluster));
        }
    }
    let held = lock(tokio::sync::Mutex::new(reached));
    run.locks.list().push(held.clone());
    Ok(held)
}

/// One attempt; when it is refused nothing is held.
async fn attempt(
    run: &Run,
    members: &mut [(Arc<str>, Result<Respondent, String>)],
    terms: &Terms,
) -> Result<(), LockError> {
    let mut taken = 0;
    let mut refused = None;
    for (_, respondent) in members.iter_mut() {
        let Ok(member) = respondent else { continue };
        match take(run, member, terms).await {
            Ok(None) => taken += 1,
            Ok(Some(refusal)) => {
                refused = Some(refusal);
                break;
            }
            Err(why) => *respondent = Err(why),
        }
    }
    let enough = taken * 2 > members.len();
    if refused.is_none() && enough {
        return Ok(());
    }
    for (_, respondent) in members.iter() {
        if let Ok(member) = respondent {
            let _ = tell(run, member, "free", terms, "").await; // its heartbeats end with the session
        }
    }
    Err(match refused {
        Some(refusal) => LockError::Refused(Box::new(refusal)),
        None => LockError::NoMajority {
            cluster: terms.cluster.clone(),
            reached: taken,
            all: members.len(),
            missing: members
                .iter()
                .filter_map(|(host, reached)| reached.as_ref().err().map(|why| format!("{host}: {why}")))
                .collect(),
        },
    })
}

/// Takes the lock on one member, over a dead run of this controller if need be.
async fn take(run: &Run, member: &Respondent, terms: &Terms) -> Result<Option<Refusal>, String> {
    let mut instead_of = String::new();
    loop {
        let answer = tell(run, member, "held", terms, &instead_of).await?;
        if answer.get("held").and_then(Value::as_bool) == Some(true) {
            return Ok(None);
        }
        let refusal = Refusal::read(&member.host, answer.get("holder").unwrap_or(&Value::Null));
        // The journal's own lock is free: the process that held it is gone. That is proof, and not a timeout.
        let ours = !refusal.controller.is_empty() && refusal.controller == mark(run);
        let dead = ours && store(run).is_some_and(|store| store.alive(&refusal.run) == Some(false));
        if !dead || instead_of == refusal.run {
            return Ok(Some(refusal));
        }
        run.warn(format!(
            "[{}] the cluster {} was locked by the run {} of this controller, whose process is gone: its lock is taken \
             over",
            member.host, terms.cluster, refusal.run
        ));
        instead_of = refusal.run;
    }
}

async fn tell(
    run: &Run,
    member: &Respondent,
    state: &str,
    terms: &Terms,
    instead_of: &str,
) -> Result<Map<String, Value>, String> {
    let arguments = json!({
        "state": state, "cluster": terms.cluster, "run": run.id, "owner": run.owner, "controller": mark(run),
        "reason": terms.reason, "instead_of": instead_of,
    });
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    let outcome = member.ask(run, MODULE, arguments).await?;
    match outcome.status {
        crate::modules::Status::Ok => Ok(outcome.data),
        _ => Err(outcome.msg.unwrap_or_else(|| "it does not say why".into())),
    }
}

fn store(run: &Run) -> Option<&Store> {
    run.journal.as_ref().map(|journal| journal.store())
}

/// What tells this controller's journal from any other; empty without a journal.
fn mark(run: &Run) -> String {
    store(run).map(|store| store.mark()).unwrap_or_default()
}

impl Held {
    /// The cluster.
    pub fn cluster(&self) -> &str {
        &self.0.terms.cluster
    }

    /// Looks whether the run still has it, on a majority of the members, and takes it anew where a host was booted or
    /// its session was lost meanwhile. To be asked before each turn: somebody may have unlocked it.
    pub async fn confirm(&self) -> Result<(), LockError> {
        let Lock { play, terms, members } = &*self.0;
        let run = &play.run;
        let mut members = members.lock().await;
        if members.is_empty() {
            return Ok(()); // a check
        }
        let mut held = 0;
        for (host, respondent) in members.iter_mut() {
            let mut answer = match &respondent {
                Ok(member) => patiently(take(run, member, terms)).await,
                Err(why) => Err(why.clone()),
            };
            if answer.is_err() {
                run.fleet.reset(host).await;
                *respondent = Respondent::reach(play, host).await;
                answer = match &respondent {
                    Ok(member) => patiently(take(run, member, terms)).await,
                    Err(why) => Err(why.clone()),
                };
            }
            match answer {
                Ok(None) => held += 1,
                Ok(Some(refusal)) => {
                    return Err(LockError::Lost(format!("this run has lost its lock of the cluster: {refusal}")));
                }
                Err(why) => *respondent = Err(why),
            }
        }
        if held * 2 > members.len() {
            return Ok(());
        }
        let missing = members.iter().filter_map(|(host, r)| r.as_ref().err().map(|why| format!("{host}: {why}")));
        Err(LockError::NoMajority {
            cluster: terms.cluster.clone(),
            reached: held,
            all: members.len(),
            missing: missing.collect(),
        })
    }

    /// Gives it back.
    pub async fn release(self) {
        self.0.play.run.locks.list().retain(|other| !Arc::ptr_eq(&other.0, &self.0));
        self.give_back().await;
    }

    async fn give_back(&self) {
        let Lock { play, terms, members } = &*self.0;
        for (host, respondent) in members.lock().await.drain(..) {
            let Ok(member) = respondent else { continue };
            let told = tokio::time::timeout(PATIENCE, tell(&play.run, &member, "free", terms, "")).await;
            if let Ok(Err(why)) = told {
                play.run.warn(format!("[{host}] the lock of the cluster {} stays there: {why}", terms.cluster));
            }
        }
    }
}

/// How long a member may take to answer. Between two turns nothing of ours is under way there.
const PATIENCE: Duration = Duration::from_secs(15);

/// A member that says nothing is none that has our lock: it may be cut off, and somebody else's by now.
async fn patiently(work: impl Future<Output = Result<Option<Refusal>, String>>) -> Result<Option<Refusal>, String> {
    let silence = || Err(format!("no answer within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| silence())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_who_when_why_and_what_to_do() {
        let holder = json!({"cluster": "db", "owner": "alice@control", "run": "r1", "reason": "a rolling restart",
                            "held_for": 300, "age": 4, "stale": false, "controller": "x"});
        let said = Refusal::read("db1", &holder).to_string();
        for part in ["alice@control", "5 min", "a rolling restart", "r1", "db1", "4 s ago", "--if-locked"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let stale = Refusal { stale: true, age: Some(60), ..Refusal::read("db1", &holder) };
        let said = stale.to_string();
        assert!(said.contains("missing for 60 s") && said.contains("deploy unlock db"), "{said}");
        assert!(Refusal { age: None, ..stale }.to_string().contains("since that host was booted"));
    }
}
