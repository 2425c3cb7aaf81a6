//! `pki_certificate`: a host's certificate, issued on the controller and put in place in one step.

use crate::modules::scalars::{FileMode, Flag, Int, Text, TextList};
use crate::modules::{FreeForm, Module, Reach};

/// `deploy.builtin.pki_certificate`
pub const MODULE: Module = Module {
    name: "deploy.builtin.pki_certificate",
    aliases: &["pki_certificate"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: PkiCertificate::ARGUMENTS,
    run: Some(super::set::run),
    #[cfg(feature = "controller")]
    action: Some(controller::act),
};

crate::arguments! {
    /// Keeps a certificate with its key on a host: issued on the controller by an authority of `pki_ca`, renewed when it is due, or
    /// taken from files that another authority's owner gave you (`cert_src`, `key_src`, `ca_src`).
    ///
    /// Every run judges the pair that lies on the host: chain, dates, names, usage, key type, and whether the key belongs to the
    /// certificate. A good one stays. A new one is verified on the controller, written beside the old one with its owners and
    /// modes, tested there, and goes live in one step: `path/current` is a link to `path/<serial>/`, and servers are configured
    /// with `path/current/cert.pem`, `key.pem` and `ca.pem`. The private key is made in memory and forgotten; a host's key never
    /// leaves it.
    ///
    /// Files of your own go the same way: they are judged first (dates, chain, names of `dns` and `ip`, purpose, strength of the key,
    /// whether the key belongs to the certificate, whether who trusts the `ca.pem` in force would take it), and files that would
    /// not work are refused, with what is wrong, before anything is touched. They are put in place when they differ from what
    /// lies there. `ca`, `lifetime`, `window` and what else is about issuing has no meaning for them.
    ///
    /// In a check subject, names, dates, owners and modes are predicted; key and serial number are made at apply.
    ///
    /// Returned are `cert`, `key` and `ca` (paths), `subject` (as `REQUIRE SUBJECT` wants it), `serial`, `fingerprint`, `not_before`,
    /// `not_after`, `renew_at` (seconds since 1970), `days_left`, `issued` and `reason`; `due` says whether the set is replaced,
    /// and `previous` is the name of the one that was in force before, below `path`. `held` says in words that a renewal is
    /// due and waits for its window, `key_type_changed` that the key is of another kind than the one before. `waiting` is the request that somebody has
    /// to sign, where the variable `pki_issuers` gives the authority an issuer of type `files`: until the certificate has come
    /// the old one stays in force, and the task fails only where none is there that works.
    ///
    /// A certificate that works is not replaced by one of an authority that its `ca.pem` does not hold, as a wrong store would do it;
    /// the variable `pki_other_authority: replace` allows it.
    pub struct PkiCertificate {
        /// The authority that signs; needed unless `cert_src` is given.
        #[serde(alias = "authority")]
        pub ca: Option<Text>,
        /// A certificate of your own instead of one that is issued: a file on the controller (searched as `copy` does; it may be a
        /// vault), the leaf first, intermediates behind it.
        pub cert_src: Option<Text>,
        /// Its private key, without a passphrase: a file on the controller, best a vault.
        pub key_src: Option<Text>,
        /// The authorities that are trusted beside it, to a self-signed one: a file on the controller.
        pub ca_src: Option<Text>,
        /// `cluster` for a node's replication, `server` for a server on 3306 and the like, `client` for an application.
        #[serde(alias = "purpose")]
        pub profile: Text,
        /// Directory on the host for this certificate's sets, and for nothing else.
        #[serde(alias = "dest")]
        pub path: Text,
        /// Common name of the subject; the host's inventory name when missing.
        pub common_name: Option<Text>,
        /// Organisation of the subject.
        pub organization: Option<Text>,
        /// DNS names it is valid for.
        #[serde(default)]
        pub dns: TextList,
        /// Addresses it is valid for.
        #[serde(default)]
        pub ip: TextList,
        /// How long a new one lives: `90d` (the default), `12h`, or days.
        #[serde(alias = "days")]
        pub lifetime: Option<Text>,
        /// Renew this long before its end; after two thirds of its life when missing.
        pub renew_before: Option<Text>,
        /// How long until the next scheduled run: what would expire before it is renewed now.
        pub next_run: Option<Text>,
        /// When what is due is renewed: `Sat-Sun 02:00-04:00 Europe/Berlin`, as `window` of a rolling play. Outside of it a due
        /// certificate stays, unless four fifths of its life are over before it opens.
        pub window: Option<Text>,
        /// Due up to so much earlier (`12h`): by how much depends on the authority and the cluster (the variables
        /// `galera_cluster_name` and `galera_group`), so that the clusters of a site are not due at the same moment, and the nodes
        /// of one are.
        pub jitter: Option<Text>,
        /// Renew regardless. The variable `pki_renew` with the value `force` does the same for all.
        #[serde(default)]
        pub force: Flag,
        /// Kind of its key: `ecdsa_p256` (default), `ecdsa_p384`, `ed25519`, `rsa_3072`, `rsa_4096`.
        pub key_type: Option<Text>,
        /// `refuse` leaves a certificate alone, with an error, where its successor's key would be of another kind. Galera's provider
        /// goes on serving the old one beside the new one until its server is restarted.
        pub key_type_change: Option<Text>,
        /// Further authorities of the store that go into `ca.pem`, beside the one that signs.
        #[serde(default)]
        pub trust: TextList,
        /// File name of the certificate, intermediates behind it; `cert.pem` when missing.
        pub cert_name: Option<Text>,
        /// File name of the private key; `key.pem` when missing.
        pub key_name: Option<Text>,
        /// File name of the trusted authorities; `ca.pem` when missing.
        pub ca_name: Option<Text>,
        /// File name of certificate and key in one file, for programs that want that (its owner and mode are the key's); there is
        /// none when missing. HAProxy needs none: with `cert_name: site.pem` and `key_name: site.pem.key` it finds the key.
        pub combined_name: Option<Text>,
        /// Owner of directories and files.
        pub owner: Option<Text>,
        /// Group of directories and files.
        pub group: Option<Text>,
        /// Mode of the certificate and the authorities; 0644 when missing.
        pub mode: Option<FileMode>,
        /// Mode of the directories; 0755 when missing.
        pub directory_mode: Option<FileMode>,
        /// Owner of the private key; `owner` when missing.
        pub key_owner: Option<Text>,
        /// Group of the private key; `group` when missing.
        pub key_group: Option<Text>,
        /// Mode of the private key; 0640 when a group is given, otherwise 0600.
        pub key_mode: Option<FileMode>,
        /// Users who must be able to read all of it: a set that they cannot read does not go live.
        #[serde(default)]
        pub readable_by: TextList,
        /// Say in `due` and `reason` whether the set would be replaced, and do nothing.
        #[serde(default)]
        pub judge_only: Flag,
        /// How many older sets stay on the host, for a way back; 1 when missing.
        pub keep: Option<Int>,
        /// Directory of the store on the controller, as for `pki_ca`.
        pub store: Option<Text>,
        /// File with the passphrase of the CA keys, as for `pki_ca`.
        pub passphrase_file: Option<Text>,
    }
}

#[cfg(feature = "controller")]
pub use controller::preflight;

#[cfg(feature = "controller")]
pub(super) mod controller {
    use serde_json::{Map, Value, json};

    use jiff::Timestamp;

    use super::PkiCertificate;
    use crate::modules::pki::set::{Install, Ownership, Place, Retrust, Step};
    use crate::modules::pki::stores::{failed, open};
    use crate::modules::pki::{given, issued, issuers};
    use crate::modules::{ActionError, ActionFuture, ActionHost, Outcome, Prepared, Status, decode};
    use crate::pki::{
        self, Found, KeyEvidence, KeyKind, Lifetime, PkiError, Profile, RenewalPolicy, Request, San, Subject, UnixTime,
    };
    use crate::window::Window;

    pub fn act<'a>(host: &'a dyn ActionHost, arguments: Map<String, Value>) -> ActionFuture<'a, Prepared> {
        Box::pin(prepare(host, arguments))
    }

    /// What can be said without the host: names that are none, unknown profiles, an authority that has expired. One that
    /// does not exist may be made by an earlier task.
    pub fn preflight(host: &dyn ActionHost, arguments: Map<String, Value>) -> Result<(), ActionError> {
        let arguments: PkiCertificate = decode(arguments).map_err(|error| ActionError::Failed(error.to_string()))?;
        let request = request(&arguments, host.host()).map_err(failed)?;
        request.check().map_err(failed)?;
        place(&arguments)?;
        if given::is_given(&arguments)? {
            return Ok(());
        }
        let authority = authority(&arguments)?;
        renewal_policy(host, &arguments)?.check(request.lifetime, authority).map_err(failed)?;
        let store = open(host, arguments.store.as_deref(), arguments.passphrase_file.as_deref())?;
        let issuer = issuers::of(host, &store, authority)?;
        if let Some(anchor) = issuer.anchor(pki::now()).map_err(failed)? {
            request.profile.allowed_by(anchor.purpose, &anchor.name).map_err(failed)?;
        }
        issuer.accepts(&request).map_err(failed)
    }

    async fn prepare(host: &dyn ActionHost, raw: Map<String, Value>) -> Result<Prepared, ActionError> {
        let ownership = ownership(&raw);
        let arguments: PkiCertificate = decode(raw).map_err(|error| ActionError::Failed(error.to_string()))?;
        let request = request(&arguments, host.host()).map_err(failed)?;
        request.check().map_err(failed)?;
        let place = place(&arguments)?;
        if given::is_given(&arguments)? {
            return given::prepare(host, &arguments, &request, place, ownership).await;
        }
        issued::prepare(host, &arguments, &request, place, ownership).await
    }

    /// The authority that signs.
    pub fn authority(arguments: &PkiCertificate) -> Result<&str, ActionError> {
        arguments.ca.as_deref().ok_or_else(|| {
            let why =
                "say with `ca` which authority signs, or give a certificate with `cert_src`, `key_src` and `ca_src`";
            ActionError::Failed(why.into())
        })
    }

    fn request(arguments: &PkiCertificate, host: &str) -> Result<Request, PkiError> {
        let profile: Profile = arguments.profile.parse()?;
        let mut sans = Vec::new();
        for name in &arguments.dns.0 {
            sans.push(San::dns(name)?);
        }
        for address in &arguments.ip.0 {
            sans.push(San::ip(address)?);
        }
        sans.sort();
        sans.dedup();
        let common_name = arguments.common_name.as_deref().unwrap_or(host);
        Ok(Request {
            profile,
            subject: Subject::new(common_name, arguments.organization.as_deref())?,
            sans,
            key_type: arguments.key_type.as_deref().map(str::parse).transpose()?.unwrap_or_default(),
            lifetime: arguments.lifetime.as_deref().map(str::parse).transpose()?.unwrap_or(Lifetime::days(90)),
        })
    }

    pub fn renewal_policy(host: &dyn ActionHost, arguments: &PkiCertificate) -> Result<RenewalPolicy, ActionError> {
        let lifetime = |text: &Option<crate::modules::scalars::Text>| {
            text.as_deref().map(str::parse::<Lifetime>).transpose().map_err(failed)
        };
        let forced = match host.variable("pki_renew")? {
            None | Some(Value::Null) => false,
            Some(Value::String(word)) if word == "force" => true,
            Some(Value::String(word)) if word.is_empty() || word == "due" => false,
            Some(other) => return Err(ActionError::Failed(format!("`pki_renew` is {other}: write `force` or `due`"))),
        };
        let opens = match arguments.window.as_deref().filter(|text| !text.trim().is_empty()) {
            None => None,
            Some(text) => {
                let window = Window::parse(text).map_err(|why| ActionError::Failed(format!("`window`: {why}")))?;
                let now = Timestamp::now();
                match (window.is_open(now), window.next_opening(now)) {
                    (true, _) => None,
                    (false, Some(at)) => Some(at.timestamp().as_second()),
                    (false, None) => {
                        return Err(ActionError::Failed(format!("`window`: `{window}` never opens again")));
                    }
                }
            }
        };
        let word = |name: &str| -> Result<Option<String>, ActionError> {
            Ok(host.variable(name)?.and_then(|value| value.as_str().map(str::to_string)))
        };
        let (name, group) = (word("galera_cluster_name")?, word("galera_group")?);
        Ok(RenewalPolicy {
            opens,
            cluster: pki::cluster_seed(name.as_deref(), group.as_deref()),
            jitter: lifetime(&arguments.jitter)?,
            renew_before: lifetime(&arguments.renew_before)?,
            next_run: lifetime(&arguments.next_run)?,
            force: arguments.force.0 || forced,
            revoked: None,
        })
    }

    fn place(arguments: &PkiCertificate) -> Result<Place, ActionError> {
        let path = arguments.path.trim_end_matches('/');
        if !path.starts_with('/') {
            return Err(ActionError::Failed(format!("`path` is {}: write an absolute path", arguments.path.0)));
        }
        let name = |given: &Option<crate::modules::scalars::Text>, usual: &str| {
            let name = given.as_deref().unwrap_or(usual);
            if name.is_empty() || name.contains('/') || name.starts_with('.') {
                return Err(ActionError::Failed(format!(
                    "`{name}` is no file name: the three files of a set lie in one directory, `path`/current"
                )));
            }
            Ok(name.to_string())
        };
        let place = Place {
            path: path.to_string(),
            cert: name(&arguments.cert_name, "cert.pem")?,
            key: name(&arguments.key_name, "key.pem")?,
            ca: name(&arguments.ca_name, "ca.pem")?,
            combined: arguments.combined_name.is_some().then(|| name(&arguments.combined_name, "")).transpose()?,
        };
        let mut names: Vec<&String> = [&place.cert, &place.key, &place.ca].into_iter().chain(&place.combined).collect();
        names.sort();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            let why = "certificate, key and authorities, and what combines them, need different file names";
            return Err(ActionError::Failed(why.into()));
        }
        Ok(place)
    }

    /// Refuses a key of another kind, where that was asked for.
    pub fn refuse_other_key(arguments: &PkiCertificate, have: KeyKind, want: &str) -> Result<(), ActionError> {
        match arguments.key_type_change.as_deref() {
            Some("refuse") => Err(ActionError::Failed(format!(
                "its key is {have} and should be {want}: who serves it would serve the old one, too, until it is restarted. \
                 rotate-certs.yml does both, node by node"
            ))),
            None | Some("allow") => Ok(()),
            Some(other) => Err(ActionError::Failed(format!("`key_type_change` is {other}: write `allow` or `refuse`"))),
        }
    }

    /// A set without news.
    pub fn install(arguments: &PkiCertificate, place: Place, ca: Option<String>, ownership: Ownership) -> Install {
        Install {
            place,
            fresh: None,
            retrust: None,
            ca,
            ownership,
            readable_by: arguments.readable_by.0.clone(),
            keep: arguments.keep.map_or(1, |keep| usize::try_from(keep.0).unwrap_or(0)),
            report: Map::new(),
            unknown: Vec::new(),
        }
    }

    /// The same pair beside other authorities, or beside some where there is no file of them.
    pub fn retrust(old: Option<&str>, new: &str) -> Retrust {
        let words = |bundle: &str| match pki::inspect_all(bundle, "the authorities on the host") {
            Ok(all) => all.iter().map(|one| format!("trusts: {} (serial {})\n", one.subject, one.serial)).collect(),
            Err(error) => format!("trusts: {error}\n"),
        };
        let before = old.map_or_else(|| "trusts: nobody, the file is missing\n".to_string(), words);
        Retrust { before, after: words(new) }
    }

    /// Owners and modes as they were written, for the host to make sense of.
    fn ownership(raw: &Map<String, Value>) -> Ownership {
        let text = |name: &str| match raw.get(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => Some(other.to_string()),
        };
        let mode = |name: &str| raw.get(name).filter(|value| !value.is_null()).cloned();
        Ownership {
            owner: text("owner"),
            group: text("group"),
            directory_mode: mode("directory_mode"),
            mode: mode("mode"),
            key_owner: text("key_owner"),
            key_group: text("key_group"),
            key_mode: mode("key_mode"),
        }
    }

    /// Looks at what lies on the host; what the task comes to, where that cannot be seen.
    pub async fn look(host: &dyn ActionHost, place: &Place) -> Result<Result<(Outcome, Found), Prepared>, ActionError> {
        let seen = host.call(super::MODULE.name, step(&Step::Inspect(place.clone()))?).await?;
        Ok(match seen.status {
            Status::Ok => {
                let found = found(&seen)?;
                Ok((seen, found))
            }
            Status::Unknown => Err(Prepared::Done(Outcome::unknown(seen.msg.unwrap_or_default()))),
            _ => Err(Prepared::Done(seen)),
        })
    }

    fn found(seen: &Outcome) -> Result<Found, ActionError> {
        let cert = match seen.data.get("cert") {
            Some(Value::String(text)) => Some(text.clone()),
            _ => None,
        };
        let key = evidence(seen.data.get("key"))?;
        Ok(Found { cert, key })
    }

    /// What the host says of a key.
    pub fn evidence(key: Option<&Value>) -> Result<KeyEvidence, ActionError> {
        serde_json::from_value(key.cloned().unwrap_or(Value::Null))
            .map_err(|error| ActionError::Failed(format!("the host's answer about its key is malformed: {error}")))
    }

    pub fn report(info: &pki::CertInfo, renew_at: UnixTime, now: UnixTime, reason: Option<&str>) -> Map<String, Value> {
        let mut report = Map::new();
        report.insert("subject".into(), info.subject.clone().into());
        report.insert("serial".into(), info.serial.clone().into());
        report.insert("fingerprint".into(), info.fingerprint_colons().into());
        report.insert("not_before".into(), info.not_before.into());
        report.insert("not_after".into(), info.not_after.into());
        report.insert("renew_at".into(), renew_at.into());
        report.insert("days_left".into(), (info.not_after - now).div_euclid(86_400).into());
        report.insert("issued".into(), reason.is_some().into());
        report.insert("reason".into(), json!(reason));
        report
    }

    pub fn report_planned(
        request: &Request,
        policy: &RenewalPolicy,
        now: UnixTime,
        reason: &str,
    ) -> Map<String, Value> {
        let lifetime = request.lifetime.as_seconds();
        let end = now + lifetime;
        let mut report = Map::new();
        report.insert("not_before".into(), (now - request.lifetime.backdating()).into());
        report.insert("not_after".into(), end.into());
        let margin = policy.renew_before.map_or(lifetime / 3, Lifetime::as_seconds);
        report.insert("renew_at".into(), (end - margin).into());
        report.insert("days_left".into(), lifetime.div_euclid(86_400).into());
        report.insert("issued".into(), true.into());
        report.insert("reason".into(), reason.into());
        report
    }

    pub fn step(step: &Step) -> Result<Map<String, Value>, ActionError> {
        match serde_json::to_value(step) {
            Ok(Value::Object(map)) => Ok(map),
            Ok(_) => Err(ActionError::Failed("a step of pki_certificate is no mapping".into())),
            Err(error) => Err(ActionError::Failed(format!("cannot write down a step of pki_certificate: {error}"))),
        }
    }
}
