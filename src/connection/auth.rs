//! Logging in: the keys of the agent, certificates, key files, the password, the server's questions.

use std::sync::Arc;
use std::time::Duration;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse, Prompt};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::ssh_encoding::Encode;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{Algorithm, Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, signature};
use russh::{MethodKind, MethodSet, Signer};
use tokio::net::UnixStream;

use super::client::{Client, Notes};
use super::connector::Shared;
use super::error::ConnectionError;
use super::keys::{KeyFile, Private, read_certificate};
use super::target::Target;

/// How long the server may think about one attempt; PAM and slow name lookups take their time.
const PATIENCE: Duration = Duration::from_secs(45);

/// One key that may open the host.
enum Candidate {
    /// The agent signs.
    Agent(Box<AgentIdentity>),
    /// A key file signs, with or without a certificate.
    File(Arc<KeyFile>, Option<Box<Certificate>>),
}

/// How one attempt went.
enum Outcome {
    In,
    Refused,
    Gone,
}

/// What was tried so far, and what the server would still take.
struct Attempts<'a> {
    target: &'a Target,
    tried: Vec<String>,
    remaining: Option<MethodSet>,
    /// The server said that what was tried is right but not enough.
    partial: bool,
    count: usize,
}

/// Logs in, or says everything that was tried.
pub(crate) async fn log_in(
    handle: &mut Handle<Client>,
    notes: &Notes,
    target: &Target,
    shared: &Shared,
) -> Result<(), ConnectionError> {
    let mut attempts = Attempts { target, tried: Vec::new(), remaining: None, partial: false, count: 0 };
    let outcome = run(handle, &mut attempts, shared).await;
    match outcome {
        Outcome::In => Ok(()),
        Outcome::Refused => Err(attempts.refused(None)),
        Outcome::Gone => {
            let end = notes.end().unwrap_or_else(|| "the server closed the connection".to_string());
            Err(attempts.refused(Some(end)))
        }
    }
}

async fn run(handle: &mut Handle<Client>, attempts: &mut Attempts<'_>, shared: &Shared) -> Outcome {
    let target = attempts.target;
    if target.auth.methods.publickey {
        for candidate in candidates(handle, attempts, shared).await {
            if !attempts.accepts(MethodKind::PublicKey) {
                break;
            }
            match try_key(handle, attempts, shared, candidate).await {
                Outcome::Refused => {}
                other => return other,
            }
        }
    }
    let Some(password) = target.auth.password.clone().filter(|p| !p.is_empty()) else {
        return keyboard_interactive_after_key(handle, attempts, shared).await;
    };
    if attempts.remaining.is_none() {
        // A password is only sent to a server that takes it, so ask first.
        match attempts.judge_quietly(patient(shared, handle.authenticate_none(target.user.clone())).await) {
            Outcome::Refused => {}
            other => return other,
        }
    }
    let mut used = false;
    if target.auth.methods.password && attempts.accepts(MethodKind::Password) {
        used = true;
        let attempt = handle.authenticate_password(target.user.clone(), password.expose());
        match attempts.judge("password", patient(shared, attempt).await, false) {
            Outcome::Refused => {}
            other => return other,
        }
        if handle.is_closed() {
            return Outcome::Gone;
        }
    }
    // A password that was refused is not sent a second time by another method: it would count twice towards a lock.
    let ask_again = !used || attempts.partial;
    if target.auth.methods.keyboard_interactive && ask_again && attempts.accepts(MethodKind::KeyboardInteractive) {
        return keyboard_interactive(handle, attempts, shared, Some(password.expose())).await;
    }
    Outcome::Refused
}

/// A key was right but the server wants a second factor: ask for it, if somebody is there.
async fn keyboard_interactive_after_key(
    handle: &mut Handle<Client>,
    attempts: &mut Attempts<'_>,
    shared: &Shared,
) -> Outcome {
    let wanted = attempts.partial
        && attempts.target.auth.methods.keyboard_interactive
        && attempts.target.auth.interactive
        && attempts.accepts(MethodKind::KeyboardInteractive);
    if wanted { keyboard_interactive(handle, attempts, shared, None).await } else { Outcome::Refused }
}

/// The keys in the order of OpenSSH: those that are configured and in the agent, configured files by name, the rest
/// of the agent, the usual files.
async fn candidates(handle: &Handle<Client>, attempts: &mut Attempts<'_>, shared: &Shared) -> Vec<Candidate> {
    let auth = &attempts.target.auth;
    let mut agent_keys = Vec::new();
    if let Some(socket) = &auth.agent {
        // An agent that hangs must not hang us.
        match patient(shared, agent_identities(handle, socket)).await {
            Ok(identities) => agent_keys = identities,
            Err(e) => attempts.tried.push(format!("agent {}: {e}", socket.display())),
        }
    }
    let mut certificates = Vec::new();
    for path in &auth.certificates {
        match read_certificate(path) {
            Some(certificate) => certificates.push(certificate),
            None => attempts.tried.push(format!("certificate {}: cannot be read", path.display())),
        }
    }

    let (mut first, mut named, mut usual) = (Vec::new(), Vec::new(), Vec::new());
    for identity in &auth.identities {
        let file = shared.keys.get(&identity.path);
        let held: Vec<usize> = agent_keys
            .iter()
            .enumerate()
            .filter(|(_, k)| file.public.as_ref().is_some_and(|p| p.key_data() == key_data(k)))
            .map(|(i, _)| i)
            .collect();
        let own_certificates = file.certificate.iter().chain(
            certificates.iter().filter(|c| file.public.as_ref().is_some_and(|p| p.key_data() == c.public_key())),
        );
        let list = if identity.explicit { &mut named } else { &mut usual };
        let signed_by_file = matches!(file.private, Private::Ready(_) | Private::Encrypted(_));
        for certificate in own_certificates {
            if signed_by_file {
                list.push(Candidate::File(file.clone(), Some(Box::new(certificate.clone()))));
            } else if !held.is_empty() {
                first.push(Candidate::Agent(Box::new(AgentIdentity::Certificate {
                    certificate: certificate.clone(),
                    comment: String::new(),
                })));
            }
        }
        if held.is_empty() {
            match &file.private {
                Private::Ready(_) | Private::Encrypted(_) => list.push(Candidate::File(file.clone(), None)),
                Private::Missing if identity.explicit => attempts
                    .tried
                    .push(format!("key {}: no such file, and the agent does not hold it", file.path.display())),
                Private::Missing => {}
                Private::Unusable(reason) => attempts.tried.push(format!("key {}: {reason}", file.path.display())),
            }
        }
        for index in held.into_iter().rev() {
            first.push(Candidate::Agent(Box::new(agent_keys.remove(index))));
        }
    }
    let rest = if auth.identities_only { Vec::new() } else { agent_keys };
    first.extend(named);
    first.extend(rest.into_iter().map(|k| Candidate::Agent(Box::new(k))));
    first.extend(usual);
    first
}

fn key_data(identity: &AgentIdentity) -> &russh::keys::ssh_key::public::KeyData {
    match identity {
        AgentIdentity::PublicKey { key, .. } => key.key_data(),
        AgentIdentity::Certificate { certificate, .. } => certificate.public_key(),
    }
}

async fn agent_client(
    handle: &Handle<Client>,
    socket: &std::path::Path,
) -> Result<AgentClient<UnixStream>, russh::keys::Error> {
    let mut agent = AgentClient::connect_uds(socket).await?;
    // Keys that are restricted to destinations only sign for sessions the agent was told about. Agents that do not
    // know the message refuse it, which is fine.
    if let Some(binding) = handle.agent_session_binding() {
        let _ = agent.bind_session(binding, false).await;
    }
    Ok(agent)
}

async fn agent_identities(
    handle: &Handle<Client>,
    socket: &std::path::Path,
) -> Result<Vec<AgentIdentity>, russh::keys::Error> {
    let mut agent = agent_client(handle, socket).await?;
    agent.request_identities().await
}

async fn try_key(
    handle: &mut Handle<Client>,
    attempts: &mut Attempts<'_>,
    shared: &Shared,
    candidate: Candidate,
) -> Outcome {
    let target = attempts.target;
    let user = target.user.clone();
    let asker = target.auth.interactive.then_some(&shared.asker);
    match candidate {
        Candidate::Agent(identity) => {
            let Some(socket) = &target.auth.agent else { return Outcome::Refused };
            let label = format!("agent key {}", name_of(&identity));
            let mut agent = match patient(shared, agent_client(handle, socket)).await {
                Ok(agent) => agent,
                Err(e) => {
                    attempts.tried.push(format!("{label}: {e}"));
                    return Outcome::Refused;
                }
            };
            let algorithm = match &*identity {
                AgentIdentity::PublicKey { key, .. } => key.algorithm(),
                AgentIdentity::Certificate { certificate, .. } => certificate.algorithm(),
            };
            let hash = rsa_hash(handle, &algorithm).await;
            let result = match *identity {
                AgentIdentity::PublicKey { key, .. } => {
                    patient(shared, handle.authenticate_publickey_with(user, key, hash, &mut agent)).await
                }
                AgentIdentity::Certificate { certificate, .. } => {
                    patient(shared, handle.authenticate_certificate_with(user, certificate, hash, &mut agent)).await
                }
            };
            attempts.judge(&label, result, handle.is_closed())
        }
        Candidate::File(file, certificate) => {
            let label = match &certificate {
                Some(c) => format!("certificate {:?} of key {}", c.key_id(), file.path.display()),
                None => format!("key {}", file.path.display()),
            };
            // A plain key signs at once. One that needs a passphrase, or an RSA certificate, first asks the server
            // whether it would be welcome, so that nobody is asked in vain.
            if let (Private::Ready(key), None) = (&file.private, &certificate) {
                let hash = rsa_hash(handle, &key.algorithm()).await;
                let key = PrivateKeyWithHashAlg::new(key.clone(), hash);
                let result = patient(shared, handle.authenticate_publickey(user, key)).await;
                return attempts.judge(&label, result, handle.is_closed());
            }
            let public: Option<PublicKey> = match &file.public {
                Some(public) => Some(public.clone()),
                // Old formats hide even the public key.
                None => match file.unlock(target.auth.passphrase.as_ref(), asker).await {
                    Ok(key) => Some(key.public_key().clone()),
                    Err(reason) => {
                        attempts.tried.push(format!("{label}: {reason}"));
                        None
                    }
                },
            };
            let Some(public) = public else { return Outcome::Refused };
            let hash = rsa_hash(handle, &public.algorithm()).await;
            let mut signer = FileSigner { file: &file, target, asker };
            let result = match certificate {
                Some(certificate) => {
                    let attempt = handle.authenticate_certificate_with(user, *certificate, hash, &mut signer);
                    patient(shared, attempt).await
                }
                None => patient(shared, handle.authenticate_publickey_with(user, public, hash, &mut signer)).await,
            };
            attempts.judge(&label, result, handle.is_closed())
        }
    }
}

/// RSA keys sign with SHA-2: what the server says it takes, or SHA-512 when it says nothing.
async fn rsa_hash(handle: &Handle<Client>, algorithm: &Algorithm) -> Option<HashAlg> {
    if !matches!(algorithm, Algorithm::Rsa { .. }) {
        return None;
    }
    match handle.best_supported_rsa_hash().await {
        Ok(Some(Some(hash))) => Some(hash),
        _ => Some(HashAlg::Sha512),
    }
}

fn name_of(identity: &AgentIdentity) -> String {
    let (key, comment, kind) = match identity {
        AgentIdentity::PublicKey { key, comment } => (key.fingerprint(HashAlg::Sha256), comment, ""),
        AgentIdentity::Certificate { certificate, comment } => {
            (certificate.public_key().fingerprint(HashAlg::Sha256), comment, " certificate")
        }
    };
    if comment.is_empty() { format!("{key}{kind}") } else { format!("{key}{kind} ({comment})") }
}

/// Lets the server think for a while, not counting the time somebody types.
async fn patient<T, E: std::fmt::Display>(
    shared: &Shared,
    attempt: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match shared.asker.within(PATIENCE, attempt).await {
        Some(Ok(result)) => Ok(result),
        Some(Err(e)) => Err(e.to_string()),
        None => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

async fn keyboard_interactive(
    handle: &mut Handle<Client>,
    attempts: &mut Attempts<'_>,
    shared: &Shared,
    password: Option<&str>,
) -> Outcome {
    let target = attempts.target;
    let mut password = password;
    let mut response =
        patient(shared, handle.authenticate_keyboard_interactive_start(target.user.clone(), None::<String>)).await;
    // Servers may ask several times, also for nothing; not for ever.
    for _ in 0..10 {
        let prompts = match response {
            Ok(KeyboardInteractiveAuthResponse::Success) => return Outcome::In,
            Ok(KeyboardInteractiveAuthResponse::Failure { remaining_methods, partial_success }) => {
                let result = Ok(AuthResult::Failure { remaining_methods, partial_success });
                return attempts.judge("keyboard-interactive", result, handle.is_closed());
            }
            Ok(KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. }) => prompts,
            Err(reason) => return attempts.judge("keyboard-interactive", Err(reason), handle.is_closed()),
        };
        let mut answers = Vec::new();
        for prompt in &prompts {
            match answer(target, shared, prompt, &mut password).await {
                Some(text) => answers.push(text),
                None => {
                    let question = prompt.prompt.trim();
                    attempts.tried.push(format!(
                        "keyboard-interactive: the server asked {question:?}, and nobody is there to answer"
                    ));
                    return Outcome::Refused;
                }
            }
        }
        response = patient(shared, handle.authenticate_keyboard_interactive_respond(answers)).await;
    }
    attempts.tried.push("keyboard-interactive: the server kept asking".to_string());
    Outcome::Refused
}

/// The answer to one question: the password for the first hidden one, a person for the others.
async fn answer(target: &Target, shared: &Shared, prompt: &Prompt, password: &mut Option<&str>) -> Option<String> {
    if !prompt.echo
        && let Some(password) = password.take()
    {
        return Some(password.to_string());
    }
    if !target.auth.interactive {
        return None;
    }
    let turn = shared.asker.turn().await;
    let question = format!("[{}] {}", target.name, prompt.prompt);
    if prompt.echo { turn.line(question).await } else { turn.secret(question).await.map(|s| s.expose().to_string()) }
}

/// Signs with a key file, asking for the passphrase at that moment.
struct FileSigner<'a> {
    file: &'a KeyFile,
    target: &'a Target,
    asker: Option<&'a super::ask::Asker>,
}

/// Why a key file did not sign.
#[derive(Debug, thiserror::Error)]
enum SignError {
    #[error("{0}")]
    Key(String),
    #[error("the connection ended")]
    Send,
}

impl From<russh::SendError> for SignError {
    fn from(_: russh::SendError) -> Self {
        SignError::Send
    }
}

impl Signer for FileSigner<'_> {
    type Error = SignError;

    async fn auth_sign(
        &mut self,
        _key: &AgentIdentity,
        hash: Option<HashAlg>,
        mut to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, SignError> {
        let key = self.file.unlock(self.target.auth.passphrase.as_ref(), self.asker).await.map_err(SignError::Key)?;
        let signed = sign(&key, hash, &to_sign).map_err(|e| SignError::Key(format!("it cannot sign: {e}")))?;
        // russh sends what it gave us with the signature behind it, as a string.
        signed.encode(&mut to_sign).map_err(|e| SignError::Key(e.to_string()))?;
        Ok(to_sign)
    }
}

fn sign(
    key: &PrivateKey,
    hash: Option<HashAlg>,
    data: &[u8],
) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let signature = match key.key_data() {
        KeypairData::Rsa(pair) => signature::Signer::try_sign(&(pair, hash), data)?,
        other => signature::Signer::try_sign(other, data)?,
    };
    let mut encoded = Vec::new();
    signature.encode(&mut encoded)?;
    Ok(encoded)
}

impl Attempts<'_> {
    /// Whether the server may take `method`; before the first answer, everything.
    fn accepts(&self, method: MethodKind) -> bool {
        self.remaining.as_ref().is_none_or(|m| m.contains(&method))
    }

    /// Takes over what the server offers, without an attempt to tell of.
    fn judge_quietly(&mut self, result: Result<AuthResult, String>) -> Outcome {
        match result {
            Ok(AuthResult::Success) => Outcome::In,
            Ok(AuthResult::Failure { remaining_methods, .. }) => {
                self.remaining = Some(remaining_methods);
                Outcome::Refused
            }
            Err(reason) => {
                self.tried.push(reason);
                Outcome::Gone
            }
        }
    }

    /// Notes an attempt's result.
    fn judge(&mut self, label: &str, result: Result<AuthResult, String>, closed: bool) -> Outcome {
        self.count += 1;
        match result {
            Ok(AuthResult::Success) => Outcome::In,
            Ok(AuthResult::Failure { .. }) if closed => {
                self.tried.push(format!("{label}: the server closed the connection"));
                Outcome::Gone
            }
            Ok(AuthResult::Failure { remaining_methods, partial_success }) => {
                self.partial |= partial_success;
                self.remaining = Some(remaining_methods);
                let how = if partial_success { "accepted, but the server wants more" } else { "refused" };
                self.tried.push(format!("{label}: {how}"));
                Outcome::Refused
            }
            Err(reason) => {
                self.tried.push(format!("{label}: {reason}"));
                if closed { Outcome::Gone } else { Outcome::Refused }
            }
        }
    }

    /// The error that says everything.
    fn refused(&self, end: Option<String>) -> ConnectionError {
        let target = self.target;
        let mut tried = if self.tried.is_empty() {
            "there was nothing to try".to_string()
        } else {
            format!("tried: {}", self.tried.join("; "))
        };
        if let Some(end) = end {
            tried.push_str(&format!("; then {end}"));
        }
        if let Some(remaining) = self.remaining.as_ref().filter(|r| !r.is_empty()) {
            let offered: Vec<&str> = remaining.iter().map(Into::into).collect();
            tried.push_str(&format!("; the server takes {}", offered.join(", ")));
        }
        if !target.auth.unsupported.is_empty() {
            tried.push_str(&format!("; not available here: {}", target.auth.unsupported.join(", ")));
        }
        let takes_password = self.accepts(MethodKind::Password) || self.accepts(MethodKind::KeyboardInteractive);
        let hint = if self.count >= 5 {
            ". After some attempts servers take no more (MaxAuthTries): name the right key with \
             ansible_ssh_private_key_file or --private-key, and -o IdentitiesOnly=yes"
        } else if target.auth.password.is_none() && takes_password {
            ". Name a key with ansible_ssh_private_key_file or --private-key, load it into ssh-agent, or give a password \
             with -k"
        } else {
            ". Name a key with ansible_ssh_private_key_file or --private-key, or correct ansible_user"
        };
        ConnectionError::Auth {
            host: target.name.clone(),
            address: target.address.clone(),
            port: target.port,
            user: target.user.clone(),
            tried,
            hint: hint.to_string(),
        }
    }
}
