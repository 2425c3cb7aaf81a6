//! Whether the members reach each other where nobody listens while all is well: the port of incremental transfers. With
//! it closed a node that was restarted never comes back, so it is tried before.

use super::ask::Respondent;
use super::play::PlayRun;
use crate::galera::{NodeStatus, Observation};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// A host says at once that nobody listens; a firewall says nothing.
const PATIENCE: Duration = Duration::from_secs(3);

/// The first pair of members of which one does not reach the other, as a sentence without a full stop. Nothing while one
/// of them is not Synced: a node that waits for its transfer would take the attempt for it.
pub async fn blocked(play: &Arc<PlayRun>, members: &[Observation]) -> Option<String> {
    let all: Vec<(&Observation, &NodeStatus)> = members.iter().filter_map(|m| Some((m, m.status.as_ref()?))).collect();
    if all.len() < members.len() || all.iter().any(|(_, status)| !status.is_synced()) {
        return None;
    }
    let mut asking = JoinSet::new();
    for (donor, _) in &all {
        // A member that does not answer now is the next look's business.
        let Ok(respondent) = Respondent::reach(play, &donor.host).await else { continue };
        let respondent = Arc::new(respondent);
        for (joiner, status) in all.iter().filter(|(one, status)| one.host != donor.host && status.ist_port != 0) {
            let (joiner, address, port) = (joiner.host.clone(), status.ist_host.clone(), status.ist_port);
            let respondent = respondent.clone();
            asking.spawn(async move {
                let answer = respondent.link().try_port(&address, port, PATIENCE).await.err()?;
                let why = silence(&answer)?;
                Some(format!(
                    "{joiner}: {} does not reach its port {port} ({address}, {why}), over which it gets what it missed \
                     (IST): is the firewall open?",
                    respondent.host
                ))
            });
        }
    }
    let mut found: Vec<String> = asking.join_all().await.into_iter().flatten().collect();
    found.sort();
    found.into_iter().next()
}

/// What of an answer shows that the way is closed. That nobody listens is as it should be.
fn silence(answer: &str) -> Option<&'static str> {
    let answer = answer.to_lowercase();
    [("timed out", "no answer"), ("no route to host", "no route to it"), ("unreachable", "it is unreachable")]
        .into_iter()
        .find_map(|(word, meaning)| answer.contains(word).then_some(meaning))
}

#[cfg(test)]
mod tests {
    use super::silence;

    #[test]
    fn answers() {
        for (answer, expected) in [
            ("10.0.0.1:4568: Connection refused (os error 111)", None),
            ("10.0.0.1:4568: connection timed out", Some("no answer")),
            ("10.0.0.1:4568: No route to host (os error 113)", Some("no route to it")),
            ("10.0.0.1:4568: Network is unreachable (os error 101)", Some("it is unreachable")),
            ("the session is gone", None),
            ("`db2` has no address", None),
        ] {
            assert_eq!(silence(answer), expected, "{answer}");
        }
    }
}
