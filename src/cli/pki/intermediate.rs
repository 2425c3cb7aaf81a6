//! `deploy pki intermediate`, and `init` with a root that is offline.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::arguments::{Init, Intermediate, PkiArgs, RootPassphrase};
use super::authority::one_line;
use super::{PkiCommandError, days_left, new_file, read};
use crate::pki::{
    AuthoritySpec, AuthorityView, DirStorage, Installed, KeyType, Lifetime, Passphrase, Purpose, SigningRequest, Store,
    Subject, UnixTime,
};

impl PkiArgs {
    /// An authority of the store below a root in `place`; says whether it was made.
    pub(super) fn below_root(
        &self,
        store: &Store,
        mut spec: AuthoritySpec,
        init: &Init,
        place: &Path,
        now: UnixTime,
    ) -> Result<(AuthorityView, bool), PkiCommandError> {
        if let Some(view) = store.authority(&spec.name)? {
            if view.info.is_self_issued() {
                return Err(PkiCommandError::Refused(format!(
                    "the authority `{}` is its own root, in {}: it cannot be put below another one. Begin with an empty store, or \
                     go over to a new root with `deploy pki intermediate` and rotate-ca.yml (docs/issuers.md)",
                    spec.name,
                    store.location()
                )));
            }
            return Ok((view, false));
        }
        let (name, purpose, lifetime) = (spec.name.clone(), spec.purpose, spec.lifetime);
        let roots = roots(self, place, &init.root)?;
        spec.subject = Subject::new(&format!("{name} root CA"), init.organization.as_deref())?;
        spec.lifetime = init.root_lifetime;
        spec.path_length = Some(1);
        roots.ensure(&spec, now)?;
        let request = store.request_intermediate(&name, purpose, init.key_type, init.organization.as_deref())?;
        let request = SigningRequest::read(&request, "the request")?;
        let (chain, _) = roots.sign_intermediate(&name, &request, lifetime, now)?;
        Ok((store.install_intermediate(&name, purpose, &chain, now)?.0, true))
    }

    pub(super) fn intermediate(
        &self,
        command: &Intermediate,
        now: UnixTime,
        out: &mut dyn Write,
    ) -> Result<(), PkiCommandError> {
        match command {
            Intermediate::Request { ca, purpose, key_type, organization, out: file } => {
                let store = self.open()?;
                let purpose = purpose_of(&store, ca, *purpose)?;
                let request = store.request_intermediate(ca, purpose, *key_type, organization.as_deref())?;
                new_file(file, request.as_bytes(), 0o644)?;
                let asked = SigningRequest::read(&request, "the request")?.subject.one_line();
                writeln!(
                    out,
                    "{}: {asked} asks to be an intermediate; its key waits in {}",
                    file.display(),
                    store.location()
                )?;
                writeln!(out, "next: deploy pki intermediate sign --offline-root DIR --ca {ca} --csr FILE --out FILE")?;
            }
            Intermediate::Sign { offline_root, root, ca, csr, lifetime, out: file } => {
                let request = SigningRequest::read(&read(csr)?, &csr.display().to_string())?;
                let (chain, info) = roots(self, offline_root, root)?.sign_intermediate(ca, &request, *lifetime, now)?;
                new_file(file, chain.as_bytes(), 0o644)?;
                writeln!(out, "{}: {}, {} days", file.display(), info.subject, days_left(&info, now))?;
                writeln!(out, "next: deploy pki intermediate install --ca {ca} --cert FILE")?;
            }
            Intermediate::Install { ca, purpose, cert } => {
                let store = self.open()?;
                let purpose = purpose_of(&store, ca, *purpose)?;
                let (view, what) = store.install_intermediate(ca, purpose, &read(cert)?, now)?;
                told(&view, what, now, out)?;
            }
            Intermediate::Renew { ca, offline_root, root, lifetime } => {
                let store = self.open()?;
                let view = store.require(ca)?;
                let organization = subject_organization(&view);
                let request = store.request_intermediate(
                    ca,
                    view.purpose,
                    KeyType::like(view.info.key),
                    organization.as_deref(),
                )?;
                let request = SigningRequest::read(&request, "the request")?;
                let chain = sign(self, offline_root, root, ca, &request, *lifetime, now)?;
                let (view, what) = store.install_intermediate(ca, view.purpose, &chain, now)?;
                told(&view, what, now, out)?;
            }
        }
        Ok(())
    }
}

fn sign(
    args: &PkiArgs,
    place: &Path,
    root: &RootPassphrase,
    ca: &str,
    request: &SigningRequest,
    lifetime: Lifetime,
    now: UnixTime,
) -> Result<String, PkiCommandError> {
    Ok(roots(args, place, root)?.sign_intermediate(ca, request, lifetime, now)?.0)
}

/// The roots in a directory, which are a store with a passphrase of their own.
fn roots(args: &PkiArgs, place: &Path, passphrase: &RootPassphrase) -> Result<Store, PkiCommandError> {
    let real = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let own: Option<PathBuf> = args.store.clone().or_else(|| crate::pki::default_path(&args.name));
    if own.is_some_and(|own| real(&own) == real(place)) {
        let why = "the roots' directory is the store itself: a root that lies beside its intermediates is not offline";
        return Err(PkiCommandError::Refused(why.into()));
    }
    let storage = DirStorage::open(place)?;
    Ok(Store::new(Box::new(storage), Passphrase::of_root(passphrase.root_passphrase_file.clone())))
}

fn purpose_of(store: &Store, ca: &str, given: Option<Purpose>) -> Result<Purpose, PkiCommandError> {
    if let Some(purpose) = given {
        return Ok(purpose);
    }
    match store.authority(ca)? {
        Some(view) => Ok(view.purpose),
        None => ca.parse().map_err(|_| {
            PkiCommandError::Refused(format!("there is no authority `{ca}` yet: say with --purpose what it is for"))
        }),
    }
}

fn subject_organization(view: &AuthorityView) -> Option<String> {
    let (_, rest) = view.info.subject.split_once("/O=")?;
    Some(rest.split("/CN=").next().unwrap_or(rest).to_string())
}

fn told(view: &AuthorityView, what: Installed, now: UnixTime, out: &mut dyn Write) -> Result<(), PkiCommandError> {
    let name = &view.name;
    writeln!(out, "{name}: {}", one_line(view, now))?;
    match what {
        Installed::Made => {}
        Installed::Renewed => writeln!(
            out,
            "its root is the same: `deploy playbooks/rotate-certs.yml` gives every host a certificate of the new intermediate"
        )?,
        Installed::Rotating => writeln!(
            out,
            "its root is another one: the old intermediate signs on until `deploy playbooks/rotate-ca.yml -e rotate_ca={name}` has \
             brought the new root to every host"
        )?,
    }
    Ok(())
}
