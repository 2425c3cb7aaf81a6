//! What a port serves, asked by ourselves through a host's agent.

use std::time::Duration;

use crate::engine::Respondent;
use crate::pki::{Port, probe};

/// A connection must be made within this.
const CONNECT: Duration = Duration::from_secs(4);
/// And everything said within this.
const TALK: Duration = Duration::from_secs(5);

/// The chain (PEM) that `address` serves on a port, as `from` sees it.
pub async fn served(from: &Respondent, address: &str, port: Port) -> Result<String, String> {
    let stream = from.relay(address, port.port, CONNECT).await.map_err(|error| error.to_string())?;
    tokio::time::timeout(TALK, probe::ask(stream, port.protocol))
        .await
        .unwrap_or_else(|_| Err(format!("it said nothing within {} s", TALK.as_secs())))
}
