//! `pki_status`: what lies on a host, and what ports serve as seen from it.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::set::{CURRENT, LIMIT};
use crate::machine::Machine;
use crate::modules::galera::leaf;
use crate::modules::scalars::{Int, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use crate::pki::{KeyEvidence, public_half};

/// `deploy.builtin.pki_status`
pub const MODULE: Module = Module {
    name: "deploy.builtin.pki_status",
    aliases: &["pki_status"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: PkiStatus::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// A file that says that the set in force has yet to be read by what serves it: `rotate-certs.yml` makes and removes it.
const UNSERVED: &str = "unserved";

/// A port that says nothing for so long is not answering.
const PATIENCE: Duration = Duration::from_secs(3);

crate::arguments! {
    /// Looks at certificates: in files of this host, and on ports, as they are seen from this host. It changes nothing, and
    /// does not fail because a file is missing or a port does not answer.
    ///
    /// Returned are `sets` (for each set of the argument, in its order: `name`, `path`, `set` (the directory that `current`
    /// leads to), `stale` (a run of `rotate-certs.yml` broke off before what serves it had read it), `cert` and `ca` (PEM), `serial`, `not_before`, `not_after` (seconds since 1970), `key` (what is known of the
    /// private key without showing it: `missing`, `unusable`, `public` with the SHA-256 of its public half, `untold`)) and
    /// `ports` (for each port: `address`, `port`, `protocol`, and either `chain` (PEM), `serial`, `not_before` and
    /// `not_after`, or `error`). What is not there is null. `deploy pki status` judges all of it.
    ///
    /// A port is asked with a greeting of TLS 1.2 that is broken off once the certificate is shown. MariaDB counts that
    /// against the address it comes from, and after 100 in a row (`max_connect_errors`) lets nobody in from there until
    /// somebody logs in or `mariadb-admin flush-hosts` is run: look at 3306 from the host itself (127.0.0.1 is not
    /// counted), or seldom. `deploy pki status` ends its logins properly and is not counted.
    pub struct PkiStatus {
        /// The sets: dictionaries with `path`, and if they are others than usual `cert_name`, `key_name` and `ca_name`.
        /// Everything else in them is left alone, so that the variable `pki_sets` can be handed over as it is.
        #[serde(default)]
        pub sets: Vec<Set>,
        /// The ports: dictionaries with `address`, `port` and `protocol` (`tls`, or `mysql` for 3306). With `mysql` the address
        /// may be the path of this host's socket, where nothing is counted.
        #[serde(default)]
        pub ports: Vec<Port>,
    }
}

/// A set to look at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Set {
    name: Option<Text>,
    path: Text,
    cert_name: Option<Text>,
    key_name: Option<Text>,
    ca_name: Option<Text>,
}

/// A port to look at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Port {
    address: Text,
    port: Int,
    protocol: Option<Text>,
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let arguments: PkiStatus = decode(arguments)?;
    let sets: Result<Vec<Value>, ModuleError> = arguments.sets.iter().map(|set| files(set, machine)).collect();
    // All ports at the same time: one that does not answer keeps the others waiting for nothing.
    let ports: Vec<Value> = std::thread::scope(|scope| {
        let looks: Vec<_> = arguments.ports.iter().map(|port| scope.spawn(|| served(port))).collect();
        looks.into_iter().map(|look| look.join().unwrap_or_default()).collect()
    });
    Ok(Outcome::ok().with("sets", sets?).with("ports", ports))
}

/// What a set's files are.
fn files(set: &Set, machine: &Machine) -> Result<Value, ModuleError> {
    if !set.path.starts_with('/') {
        return Err(ModuleError::argument("sets", format!("the path {} is not absolute", set.path.0)));
    }
    let current = Path::new(set.path.trim_end_matches('/')).join(CURRENT);
    let name = |given: &Option<Text>, usual: &str| current.join(given.as_deref().unwrap_or(usual));
    let text = |path: &Path| -> Result<Option<String>, ModuleError> {
        let bytes = machine.read_file_if_exists(path, LIMIT)?;
        // Only what is public: somebody may keep the key in the same file.
        Ok(bytes.map(|bytes| leaf::pem(&leaf::certificates(&String::from_utf8_lossy(&bytes)))))
    };
    let cert = text(&name(&set.cert_name, "cert.pem"))?;
    let key = match machine.read_file_if_exists(name(&set.key_name, "key.pem"), LIMIT)?.map(Zeroizing::new) {
        Some(bytes) => match std::str::from_utf8(&bytes) {
            Ok(text) => public_half(text),
            Err(_) => KeyEvidence::Unusable("it is not text".into()),
        },
        None => KeyEvidence::Missing,
    };
    let link = match machine.lstat(&current)? {
        Some(stat) if stat.is_link() => Some(machine.read_link(&current)?.to_string_lossy().into_owned()),
        _ => None,
    };
    let stale = machine.exists(current.with_file_name(UNSERVED))?;
    let read = cert.as_deref().and_then(|cert| leaf::read(leaf::certificates(cert).first()?));
    Ok(json!({
        "name": set.name, "path": set.path, "set": link, "stale": stale, "cert": cert, "ca": text(&name(&set.ca_name, "ca.pem"))?,
        "key": key, "serial": read.as_ref().map(|leaf| &leaf.serial),
        "not_before": read.as_ref().map(|leaf| leaf.not_before), "not_after": read.as_ref().map(|leaf| leaf.not_after),
    }))
}

/// What a port serves.
fn served(port: &Port) -> Value {
    let protocol = port.protocol.as_deref().unwrap_or("tls");
    let mut answer = json!({"address": port.address, "port": port.port, "protocol": protocol});
    let said = match chain(port, protocol) {
        Ok(chain) => {
            let read = chain.first().and_then(|der| leaf::read(der));
            json!({
                "chain": leaf::pem(&chain), "serial": read.as_ref().map(|leaf| &leaf.serial),
                "not_before": read.as_ref().map(|leaf| leaf.not_before),
                "not_after": read.as_ref().map(|leaf| leaf.not_after), "error": null,
            })
        }
        Err(why) => json!({"chain": null, "serial": null, "not_before": null, "not_after": null, "error": why}),
    };
    if let (Some(answer), Value::Object(said)) = (answer.as_object_mut(), said) {
        answer.extend(said);
    }
    answer
}

fn chain(port: &Port, protocol: &str) -> Result<Vec<Vec<u8>>, String> {
    if protocol == "mysql" && port.address.starts_with('/') {
        return leaf::served_to_clients(&port.address, PATIENCE).map_err(|error| error.to_string());
    }
    let number = u16::try_from(port.port.0).map_err(|_| format!("{} is no port", port.port.0))?;
    let mut addresses = (port.address.0.as_str(), number).to_socket_addrs().map_err(|error| error.to_string())?;
    let address: SocketAddr = addresses.next().ok_or("the name has no address")?;
    let chain = match protocol {
        "tls" => leaf::served(address, PATIENCE),
        "mysql" => leaf::served_by_mysql(address, PATIENCE),
        other => return Err(format!("the protocol `{other}` is not known: write tls or mysql")),
    };
    chain.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Mode;
    use crate::modules::NoController;

    fn look(arguments: Value) -> Result<Outcome, ModuleError> {
        let mut context = Context { diff: false, no_log: false, controller: &mut NoController };
        run(arguments.as_object().cloned().unwrap(), &mut Machine::new(Mode::Live), &mut context)
    }

    #[test]
    fn what_is_not_there_is_said_and_nothing_fails() {
        let place = tempfile::tempdir().unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let ports = json!([{"address": "127.0.0.1", "port": closed, "protocol": "tls"},
                           {"address": "127.0.0.1", "port": closed, "protocol": "spdy"}]);
        let path = place.path().display().to_string();
        // As pki_sets has it, with more in it than the module needs.
        let seen = look(json!({"sets": [{"name": "x", "path": path, "reload": "none"}], "ports": ports})).unwrap();
        let set = &seen.data["sets"][0];
        assert_eq!(set["stale"], json!(false));
        assert_eq!((&set["cert"], &set["key"], &set["set"]), (&Value::Null, &json!("missing"), &Value::Null));
        assert!(seen.data["ports"][0]["error"].as_str().unwrap().contains("refused"), "{:?}", seen.data["ports"]);
        assert!(seen.data["ports"][1]["error"].as_str().unwrap().contains("spdy"));
        assert!(look(json!({"sets": [{"path": "relative"}]})).is_err());
    }
}
