//! Looking at all hosts: one request each for its files, and one connection for each port, from another host.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use super::super::StoreChoice;
use super::report::{AuthorityLine, HostLine, PortLine, Report, SetLine};
use super::served::served;
use crate::cli::access::Access;
use crate::engine::Respondent;
use crate::modules::Status;
use crate::pki::{self, FilesSeen, IssuerSpec, Knowledge, Port, SetSpec, UnixTime};

/// What is asked of the inventory for every host.
const VARIABLES: &[&str] = &[
    "pki_sets",
    "pki_issuers",
    "galera_address",
    "ansible_host",
    "galera_group",
    "galera_cluster_name",
    "pki_store",
    "pki_renew_before",
    "pki_jitter",
];

/// A host that says nothing for so long is one that cannot be looked at.
const PATIENCE: Duration = Duration::from_secs(30);

/// So many ports are asked at a time.
const AT_A_TIME: usize = 64;

/// A host as the inventory has it.
struct Wanted {
    host: Arc<str>,
    address: String,
    /// What tells its cluster from others.
    cluster: String,
    sets: Vec<SetSpec>,
    /// Only there to ask others.
    helper: bool,
}

/// Looks at everything.
pub fn look(choice: &StoreChoice, access: &Arc<Access>, now: UnixTime) -> Result<Report, String> {
    access.block_on(look_at_all(choice, access, now))??.ok_or_else(|| {
        "no host that was selected has the variable `pki_sets`: it says where a host's certificates lie \
         (playbooks/group_vars/*/certificates.yml); --store-only shows the store alone"
            .into()
    })
}

/// Nothing where no host has sets.
pub async fn look_at_all(choice: &StoreChoice, access: &Arc<Access>, now: UnixTime) -> Result<Option<Report>, String> {
    let (mut all, mut broken) = (Vec::new(), Vec::new());
    let mut elsewhere = std::collections::BTreeSet::new();
    let mut stores: std::collections::BTreeSet<PathBuf> = choice.place.iter().cloned().collect();
    for (host, variables) in access.variables(&access.hosts(), VARIABLES).await {
        let chosen = access.limited.as_ref().is_none_or(|limited| limited.iter().any(|name| **name == *host));
        match variables.and_then(|variables| wanted(&host, &variables).map(|wanted| (wanted, variables))) {
            Ok((Some(wanted), variables)) => {
                match IssuerSpec::map(variables.get("pki_issuers").unwrap_or(&Value::Null)) {
                    Ok(issuers) => elsewhere.extend(
                        issuers.into_iter().filter(|(_, spec)| *spec != IssuerSpec::Store).map(|(name, _)| name),
                    ),
                    Err(error) => return Err(format!("{host}: {error}")),
                }
                if let (None, true, Some(path)) =
                    (&choice.place, chosen, variables.get("pki_store").and_then(Value::as_str))
                {
                    stores.insert(at_home(path));
                }
                all.push(Wanted { helper: !chosen, ..wanted });
            }
            Ok((None, _)) => {}
            Err(why) if chosen => broken.push(HostLine { host: host.to_string(), sets: Err(why) }),
            Err(_) => {}
        }
    }
    keep_helpers(&mut all);
    if all.is_empty() && broken.is_empty() {
        return Ok(None);
    }
    let store = knowledge(choice, stores);
    let (place, known, store_trouble) = match store {
        Ok((place, known)) => (place, Knowledge { elsewhere, ..known }, None),
        Err(why) => (None, Knowledge::default(), Some(why)),
    };
    let (reached, seen) = hosts(access, &all).await;
    let served = ports(access, &all, &reached).await;
    let mut hosts = broken;
    for wanted in all.into_iter().filter(|wanted| !wanted.helper) {
        let sets = match reached.get(&wanted.host) {
            Some(Err(why)) => Err(why.clone()),
            _ => Ok(judged(&wanted, &seen, &served, &known, now)),
        };
        hosts.push(HostLine { host: wanted.host.to_string(), sets });
    }
    hosts.sort_by(|a, b| a.host.cmp(&b.host));
    let authorities = known
        .authorities
        .into_values()
        .map(|view| AuthorityLine { findings: pki::judge_authority(&view, known.rotations.get(&view.name), now), view })
        .collect();
    Ok(Some(Report { now, store: place, authorities, hosts, store_trouble }))
}

type Reached = BTreeMap<Arc<str>, Result<Arc<Respondent>, String>>;
/// By host and number of the set.
type Files = BTreeMap<(Arc<str>, usize), FilesSeen>;
/// By host and port: who asked, and the chain or why there is none.
type Served = BTreeMap<(Arc<str>, Port), (Arc<str>, Result<String, String>)>;

/// What the inventory wants of a host; nothing where it has no sets.
fn wanted(host: &Arc<str>, variables: &Map<String, Value>) -> Result<Option<Wanted>, String> {
    let Some(sets) = variables.get("pki_sets") else { return Ok(None) };
    let mut sets = SetSpec::list(sets)?;
    let text = |name: &str| variables.get(name).and_then(Value::as_str).map(str::to_string);
    let lifetime = |name: &str| -> Result<Option<pki::Lifetime>, String> {
        let wrong = |error: pki::PkiError| format!("{name}: {error}");
        text(name).filter(|text| !text.is_empty()).map(|text| text.parse().map_err(wrong)).transpose()
    };
    let (margin, jitter) = (lifetime("pki_renew_before")?, lifetime("pki_jitter")?);
    let seed = pki::cluster_seed(text("galera_cluster_name").as_deref(), text("galera_group").as_deref());
    for set in &mut sets {
        set.renew_before = set.renew_before.or(margin);
        (set.jitter, set.cluster) = (jitter, seed);
    }
    let address = text("galera_address").or_else(|| text("ansible_host")).unwrap_or_else(|| host.to_string());
    let cluster = ["galera_group", "galera_cluster_name"].map(|name| text(name).unwrap_or_default()).join("\0");
    Ok(Some(Wanted { host: host.clone(), address, cluster, sets, helper: false }))
}

/// Whether two hosts serve a port for the same: one may ask the other, where others are kept out.
fn peers(a: &Wanted, b: &Wanted, port: Port, authority: &str) -> bool {
    let serves = |set: &SetSpec| set.authority == authority && set.ports.contains(&port);
    a.host != b.host && a.cluster == b.cluster && b.sets.iter().any(serves)
}

/// Of the hosts that `--limit` leaves out those stay that are needed: one peer of each that would have none.
fn keep_helpers(all: &mut Vec<Wanted>) {
    let mut needed: Vec<Arc<str>> = Vec::new();
    for one in all.iter().filter(|one| !one.helper) {
        for set in &one.sets {
            for port in &set.ports {
                let mut others = all.iter().filter(|other| peers(one, other, *port, &set.authority));
                let there = others.clone().any(|other| !other.helper || needed.contains(&other.host));
                if let (false, Some(first)) = (there, others.next()) {
                    needed.push(first.host.clone());
                }
            }
        }
    }
    all.retain(|one| !one.helper || needed.contains(&one.host));
}

/// What the store says. A controller without one can look nevertheless; one that was named must be there and be whole.
fn knowledge(
    choice: &StoreChoice,
    mut named: std::collections::BTreeSet<PathBuf>,
) -> Result<(Option<String>, Knowledge), String> {
    if named.len() > 1 {
        let all: Vec<String> = named.iter().map(|path| path.display().to_string()).collect();
        return Err(format!(
            "the hosts have several stores ({}): look at them one by one, with --limit or --store",
            all.join(", ")
        ));
    }
    let place = named.pop_first();
    let must = place.is_some();
    let read = || -> Result<(String, Knowledge), super::PkiCommandError> {
        let store = choice.open_at(place)?;
        let mut known = Knowledge { revoked: store.revoked()?, ..Knowledge::default() };
        for name in store.authorities()? {
            known.authorities.insert(name.clone(), store.require(&name)?);
            known.rotations.extend(store.rotation(&name)?.map(|rotation| (name, rotation)));
        }
        Ok((store.location(), known))
    };
    match read() {
        Ok((place, known)) if known.authorities.is_empty() && must => Err(format!("there is no authority in {place}")),
        Ok((_, known)) if known.authorities.is_empty() => Ok((None, known)),
        Ok((place, known)) => Ok((Some(place), known)),
        Err(error) => Err(error.to_string()),
    }
}

fn at_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => path.into(),
    }
}

/// Reaches every host and asks it for the files of its sets, each as soon as it is there: the others may still be shaking
/// hands. One that does not answer counts as one that was not reached.
async fn hosts(access: &Arc<Access>, all: &[Wanted]) -> (Reached, Files) {
    let asking = all.iter().map(|wanted| {
        let sets = wanted.sets.iter().map(|set| {
            json!({"path": set.path, "cert_name": set.cert_name, "key_name": set.key_name, "ca_name": set.ca_name})
        });
        let arguments = Map::from_iter([("sets".to_string(), sets.collect::<Vec<_>>().into())]);
        let arguments = (!wanted.helper).then_some(arguments);
        let (access, host) = (access.clone(), wanted.host.clone());
        let task = tokio::spawn(async move {
            let reached = access.reach(std::slice::from_ref(&host)).await.pop();
            let respondent = reached.map_or_else(|| Err("it was not tried".to_string()), |(_, reached)| reached)?;
            let Some(arguments) = arguments else { return Ok((respondent, Vec::new())) };
            let asked = respondent.ask(&access.run, "deploy.builtin.pki_status", arguments);
            let answer = match tokio::time::timeout(PATIENCE, asked).await {
                Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
                Ok(Err(why)) => Err(why),
                Ok(Ok(outcome)) if outcome.status == Status::Ok => Ok(outcome.data),
                Ok(Ok(outcome)) => Err(outcome.msg.unwrap_or_else(|| "it does not say why".into())),
            };
            let data = answer.map_err(|why| access.redactor.mask(&why).into_owned())?;
            Ok((respondent, data.get("sets").and_then(Value::as_array).cloned().unwrap_or_default()))
        });
        (wanted.host.clone(), task)
    });
    let asking: Vec<_> = asking.collect();
    let (mut reached, mut seen) = (Reached::new(), Files::new());
    for (host, task) in asking {
        let answer = task.await.unwrap_or_else(|error| Err(format!("a fault of ours: {error}")));
        let respondent = answer.map(|(respondent, sets)| {
            for (number, set) in sets.iter().enumerate() {
                let text = |name: &str| set.get(name).and_then(Value::as_str).map(str::to_string);
                let stale = set.get("stale").and_then(Value::as_bool).unwrap_or(false);
                let key = set.get("key").cloned().unwrap_or_default();
                let key = serde_json::from_value(key).unwrap_or(pki::KeyEvidence::Missing);
                seen.insert((host.clone(), number), FilesSeen { cert: text("cert"), key, ca: text("ca"), stale });
            }
            respondent
        });
        reached.insert(host, respondent);
    }
    (reached, seen)
}

/// Asks every port, from another host that serves the same where there is one, the next in a ring so that all have as
/// much to do; where that one does not get through, and where there is none, from the host itself.
async fn ports(access: &Arc<Access>, all: &[Wanted], reached: &Reached) -> Served {
    let free = Arc::new(Semaphore::new(AT_A_TIME));
    let there = |host: &Arc<str>| reached.get(host).and_then(|reached| reached.as_ref().ok()).cloned();
    let mut asking = Vec::new();
    for (at, wanted) in all.iter().enumerate().filter(|(_, wanted)| !wanted.helper) {
        let Some(own) = there(&wanted.host) else { continue };
        for set in &wanted.sets {
            for port in &set.ports {
                let ring = all[at + 1..].iter().chain(&all[..at]);
                let mut ring = ring.filter(|other| peers(wanted, other, *port, &set.authority));
                let peer = ring.find_map(|other| there(&other.host));
                let (own, address, port, free) = (own.clone(), wanted.address.clone(), *port, free.clone());
                let task = tokio::spawn(async move {
                    let _permit = free.acquire().await;
                    let Some(peer) = peer else {
                        return (own.host.clone(), served(&own, &address, port).await);
                    };
                    match served(&peer, &address, port).await {
                        Ok(chain) => (peer.host.clone(), Ok(chain)),
                        Err(why) => match served(&own, &address, port).await {
                            Ok(_) => {
                                let why = format!(
                                    "{why} from {}, and from the host itself it is: is a firewall in between?",
                                    peer.host
                                );
                                (peer.host.clone(), Err(why))
                            }
                            Err(_) => (peer.host.clone(), Err(format!("{why} (asked from {})", peer.host))),
                        },
                    }
                });
                asking.push(((wanted.host.clone(), port), task));
            }
        }
    }
    let mut served = Served::new();
    for (key, task) in asking {
        let nobody: Arc<str> = "nobody".into();
        let (from, told) = task.await.unwrap_or_else(|error| (nobody, Err(format!("a fault of ours: {error}"))));
        served.insert(key, (from, told.map_err(|why| access.redactor.mask(&why).into_owned())));
    }
    served
}

/// Puts together what was seen of a host.
fn judged(wanted: &Wanted, seen: &Files, served: &Served, known: &Knowledge, now: UnixTime) -> Vec<SetLine> {
    let nothing = FilesSeen { cert: None, key: pki::KeyEvidence::Missing, ca: None, stale: false };
    let sets = wanted.sets.iter().enumerate().map(|(number, spec)| {
        let files = seen.get(&(wanted.host.clone(), number)).unwrap_or(&nothing);
        let report = pki::judge_set(files, spec, known, now);
        let ports = spec.ports.iter().filter_map(|port| {
            let (from, told) = served.get(&(wanted.host.clone(), *port))?;
            let told = told.as_deref().map_err(String::as_str);
            let judged = pki::judge_port(port.port, told, &report, files.ca.as_deref(), spec, known, now);
            Some(PortLine { port: *port, from: from.to_string(), report: judged })
        });
        let ports = ports.collect();
        SetLine { spec: spec.clone(), report, ports }
    });
    sets.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, cluster: &str, authority: &str, helper: bool) -> Wanted {
        let variables = json!({
            "pki_sets": [{"name": "x", "authority": authority, "profile": "cluster", "path": "/x", "ports": [{"port": 4567}]}],
            "galera_group": cluster, "galera_address": "10.0.0.1", "ansible_host": "10.9.9.9", "pki_renew_before": "9d",
        });
        let read = wanted(&name.into(), variables.as_object().unwrap()).unwrap().unwrap();
        assert_eq!((read.address.as_str(), read.sets[0].renew_before), ("10.0.0.1", Some(pki::Lifetime::days(9))));
        Wanted { helper, ..read }
    }

    #[test]
    fn whoever_is_left_out_helps_only_where_nobody_else_can() {
        let left = |all: Vec<Wanted>| {
            let mut all = all;
            keep_helpers(&mut all);
            all.iter().map(|one| one.host.to_string()).collect::<Vec<_>>().join(" ")
        };
        let one = |name, helper| host(name, "g", "cluster", helper);
        assert_eq!(left(vec![one("a", false), one("b", false), one("c", true)]), "a b");
        assert_eq!(left(vec![one("a", true), one("b", true), one("c", false)]), "a c");
        // Neither another cluster nor another authority's host is let in.
        let strangers = vec![host("a", "h", "cluster", true), host("b", "g", "client", true), one("c", false)];
        assert_eq!(left(strangers), "c");
    }

    #[test]
    fn a_host_without_sets_is_none_of_ours() {
        assert!(wanted(&"a".into(), &Map::new()).unwrap().is_none());
        let bad = json!({"pki_sets": [], "pki_renew_before": "soon"});
        assert!(wanted(&"a".into(), bad.as_object().unwrap()).is_err_and(|why| why.contains("`soon` is no lifetime")));
    }
}
