//! Where the rest of the cluster stands when a turn has failed: the cause may be another member than the one whose turn it is.

use super::Roll;
use crate::engine::ask::Respondent;
use crate::galera::{Observation, trouble};
use crate::modules::Status;
use serde_json::{Map, json};
use std::sync::Arc;
use std::time::Duration;

/// A member that says nothing for so long is one that cannot be reached.
const PATIENCE: Duration = Duration::from_secs(15);

impl Roll<'_> {
    /// What is wrong with members that the turn has not touched, in a sentence; nothing when they are well.
    pub(super) async fn elsewhere(&self, turn: &[Arc<str>]) -> Option<String> {
        if !self.is_cluster() || self.check {
            return None;
        }
        let mut asking = Vec::new();
        for name in self.settings.members.iter().filter(|name| !turn.contains(name)) {
            let (play, name) = (self.play.clone(), name.clone());
            asking.push(tokio::spawn(async move {
                let asked = async {
                    // The connection that the run has may be as dead as the member.
                    let respondent = Respondent::reach(&play, &name).await?;
                    let arguments = Map::from_iter([("host".to_string(), json!(&*name))]);
                    respondent.ask(&play.run, "deploy.builtin.galera_status", arguments).await
                };
                let silence = Err(format!("no answer within {} s", PATIENCE.as_secs()));
                (name.clone(), tokio::time::timeout(PATIENCE, asked).await.unwrap_or(silence))
            }));
        }
        let (mut silent, mut unwell) = (Vec::new(), Vec::new());
        for asked in asking {
            let Ok((name, answer)) = asked.await else { continue };
            match answer {
                Err(why) => silent.push(format!("{name} cannot be reached ({why})")),
                Ok(outcome) if outcome.status == Status::Failed => {
                    unwell.push(format!("{name}: {}", outcome.msg.unwrap_or_default()));
                }
                Ok(outcome) => {
                    let seen = outcome.data.get("galera").cloned().unwrap_or_default();
                    let seen: Observation = serde_json::from_value(seen).unwrap_or_default();
                    unwell.extend(trouble(&seen).map(|why| format!("{name}: {why}")));
                }
            }
        }
        silent.extend(unwell);
        (!silent.is_empty()).then(|| silent.join("; "))
    }
}
