//! `deploy pki init` and `import`: authorities.

use std::io::Write;

use super::arguments::{Import, Init, PkiArgs};
use super::{PkiCommandError, days_left, read};
use crate::pki::{AuthoritySpec, AuthorityView, Passphrase, Purpose, Subject, UnixTime};
use crate::secret::Secret;

impl PkiArgs {
    pub(super) fn init(&self, init: &Init, now: UnixTime, out: &mut dyn Write) -> Result<(), PkiCommandError> {
        let store = self.open()?;
        for (name, purpose) in [(&init.cluster, Purpose::Cluster), (&init.client, Purpose::Client)] {
            let mut spec = AuthoritySpec::new(name, purpose)?;
            spec.lifetime = init.lifetime;
            spec.key_type = init.key_type;
            spec.permitted = init.permitted.clone();
            spec.subject = Subject::new(&spec.subject.common_name, init.organization.as_deref())?;
            if let Some(place) = &init.offline_root {
                let (view, made) = self.below_root(&store, spec, init, place, now)?;
                let word = if made { "made" } else { "exists" };
                writeln!(out, "{name}: {word}, {}", one_line(&view, now))?;
                continue;
            }
            let (view, made) = store.ensure(&spec, now)?;
            let word = if made { "made" } else { "exists" };
            writeln!(out, "{name}: {word}, {}", one_line(&view, now))?;
        }
        writeln!(out, "store: {}", store.location())?;
        if let Some(place) = &init.offline_root {
            writeln!(out, "roots: {}: keep it away from here, with its passphrase elsewhere", place.display())?;
        }
        Ok(())
    }

    pub(super) fn import(&self, import: &Import, now: UnixTime, out: &mut dyn Write) -> Result<(), PkiCommandError> {
        let store = self.open()?;
        let key = Secret::new(read(&import.key)?);
        let own = Passphrase::from(import.key_passphrase_file.clone());
        let (view, warnings) =
            store.import(&import.ca, import.purpose, &read(&import.cert)?, &key, &|| own.get(), now)?;
        for warning in warnings {
            writeln!(out, "warning: {warning}")?;
        }
        writeln!(out, "{}: imported, {}", view.name, one_line(&view, now))?;
        Ok(())
    }
}

pub(super) fn one_line(view: &AuthorityView, now: UnixTime) -> String {
    format!(
        "{} ({} authority), {} days left, sha256 {}",
        view.info.subject,
        view.purpose.name(),
        days_left(&view.info, now),
        view.info.fingerprint_colons()
    )
}
