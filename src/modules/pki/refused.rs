//! `pki_refused`: proof that nobody takes certificates of a generation that has gone.

use serde::{Deserialize, Serialize};

use crate::modules::scalars::{Int, Text};
use crate::modules::{FreeForm, Module, Reach};

/// `deploy.builtin.pki_refused`
pub const MODULE: Module = Module {
    name: "deploy.builtin.pki_refused",
    aliases: &["pki_refused"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: PkiRefused::ARGUMENTS,
    run: None,
    #[cfg(feature = "controller")]
    action: Some(controller::act),
};

crate::arguments! {
    /// Proves that ports refuse certificates of the generation that leaves in an authority's rotation, and take those of the one that
    /// comes. `rotate-ca.yml` ends with it.
    ///
    /// Both generations sign a certificate for ten minutes, in the controller's memory: neither it nor its key is written
    /// anywhere, nor sent to a host. The controller shows them to each port through this host's agent. The task fails where the
    /// old one is taken, where the new one is refused, and where no answer came, because that would prove nothing. Nothing is
    /// changed; on a database server each look leaves a line in its log.
    ///
    /// Returned are `refused` (a sentence for each port) and `proved`, which is false where the old generation has run out: then
    /// nothing that it signs is valid, and there is nothing to try. A check tries nothing.
    pub struct PkiRefused {
        /// Name of the authority, in the middle of its rotation.
        #[serde(alias = "ca")]
        pub name: Text,
        /// The ports: dictionaries with `address`, `port` and `protocol` (`tls`, or `mysql` for 3306).
        pub ports: Vec<Port>,
        /// Directory of the store on the controller, as for `pki_ca`.
        pub store: Option<Text>,
        /// File with the passphrase of the CA keys, as for `pki_ca`.
        pub passphrase_file: Option<Text>,
    }
}

/// A port to try.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Port {
    address: Text,
    port: Int,
    protocol: Option<Text>,
}

#[cfg(feature = "controller")]
mod controller {
    use std::time::Duration;

    use serde_json::{Map, Value};

    use super::{PkiRefused, Port};
    use crate::modules::pki::stores::{aside, failed, open};
    use crate::modules::{ActionError, ActionFuture, ActionHost, Outcome, Prepared, decode};
    use crate::pki::probe::{Answer, takes};
    use crate::pki::{self, Issued, PkiError, Protocol};

    /// All must be said within this.
    const TALK: Duration = Duration::from_secs(8);

    pub fn act<'a>(host: &'a dyn ActionHost, arguments: Map<String, Value>) -> ActionFuture<'a, Prepared> {
        Box::pin(async move { prove(host, arguments).await.map(Prepared::Done) })
    }

    async fn prove(host: &dyn ActionHost, arguments: Map<String, Value>) -> Result<Outcome, ActionError> {
        let arguments: PkiRefused = decode(arguments).map_err(|error| ActionError::Failed(error.to_string()))?;
        let store = open(host, arguments.store.as_deref(), arguments.passphrase_file.as_deref())?;
        let name = arguments.name.0.clone();
        let Some(rotation) = store.rotation(&name).map_err(failed)? else {
            return Err(ActionError::Failed(format!(
                "the authority `{name}` is not being rotated: there is no generation to refuse"
            )));
        };
        if host.check() {
            return Ok(Outcome::unknown("whether the old generation is refused can be tried only when it has gone"));
        }
        let leaves = aside(move || {
            let (view, now) = (store.require(&name)?, pki::now());
            let old = match store.unlock_generation(&view, &rotation.from)?.probe(now) {
                Err(PkiError::AuthorityExpired { .. }) => return Ok(None),
                other => other?,
            };
            Ok(Some((old, store.unlock_generation(&view, &rotation.to)?.probe(now)?)))
        });
        let Some((old, new)) = leaves.await? else {
            let msg = "the old generation has run out, so nothing that it signs is valid";
            return Ok(Outcome::ok().with("proved", false).with("refused", Vec::<String>::new()).with("msg", msg));
        };
        [&old, &new].iter().for_each(|leaf| host.conceal(&leaf.key_pem));
        let mut refused = Vec::new();
        for port in &arguments.ports {
            let (number, protocol) = read(port)?;
            let place = format!("{}:{number}", port.address.0);
            let show = |leaf| show(host, &port.address.0, number, protocol, leaf);
            // First that the way is open: a port that refuses everybody proves nothing.
            match show(&new).await? {
                Answer::Taken => {}
                Answer::Refused(alert) => {
                    let why = format!(
                        "{place} refuses the new generation ({alert}): it does not trust it, or does not say so"
                    );
                    return Err(ActionError::Failed(why));
                }
            }
            match show(&old).await? {
                Answer::Refused(alert) => refused.push(format!("{place} refuses it ({alert})")),
                Answer::Taken => {
                    return Err(ActionError::Failed(format!(
                        "{place} still takes a certificate of the old generation of `{}`: the process there trusts it in its memory; \
                         run this playbook again, or restart it",
                        arguments.name.0
                    )));
                }
            }
        }
        Ok(Outcome::ok().with("proved", true).with("refused", refused))
    }

    fn read(port: &Port) -> Result<(u16, Protocol), ActionError> {
        let number = u16::try_from(port.port.0);
        let number = number.map_err(|_| ActionError::Failed(format!("`ports`: {} is no port", port.port.0)))?;
        match port.protocol.as_deref() {
            None | Some("tls") => Ok((number, Protocol::Tls)),
            Some("mysql") => Ok((number, Protocol::Mysql)),
            Some(other) => Err(ActionError::Failed(format!("`ports`: the protocol is {other}: write tls or mysql"))),
        }
    }

    async fn show(
        host: &dyn ActionHost,
        address: &str,
        port: u16,
        protocol: Protocol,
        leaf: &Issued,
    ) -> Result<Answer, ActionError> {
        let wire = host.relay(address, port).await?;
        let told = |why: String| {
            ActionError::Failed(format!(
                "whom {address}:{port} lets in is not known, asked from {}: {why}",
                host.host()
            ))
        };
        let answer = tokio::time::timeout(TALK, takes(wire, protocol, leaf)).await;
        answer.unwrap_or_else(|_| Err(format!("it said nothing within {} s", TALK.as_secs()))).map_err(told)
    }
}
