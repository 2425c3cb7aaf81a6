//! `deploy pki revoke`: a mark in the store, and an honest word about what it does.

use std::io::Write;

use super::PkiCommandError;
use super::arguments::{PkiArgs, Revoke};
use crate::pki::{self, IssuedRecord, Profile, UnixTime};

impl PkiArgs {
    pub(super) fn revoke(&self, revoke: &Revoke, now: UnixTime, out: &mut dyn Write) -> Result<(), PkiCommandError> {
        let store = self.open()?;
        let wanted = revoke.serial.to_ascii_lowercase().replace(':', "");
        let known = store.issued()?;
        let found: Vec<&IssuedRecord> = known.iter().filter(|one| one.info.serial.starts_with(&wanted)).collect();
        let record = match found.as_slice() {
            [one] if !wanted.is_empty() => *one,
            [] => {
                let why = format!(
                    "{} has signed no certificate with the serial number {wanted}: `deploy pki status --store-only \
                     --format json` lists them",
                    store.location()
                );
                return Err(PkiCommandError::Refused(why));
            }
            several => {
                let why =
                    format!("{} certificates begin with `{wanted}`: write more of the serial number", several.len());
                return Err(PkiCommandError::Refused(why));
            }
        };
        let before = store.revocation(&record.info.serial)?;
        let revocation = store.revoke(&record.info.serial, revoke.reason.as_deref(), now)?;
        let since = pki::date(revocation.at);
        let word = if before.is_some() { "was revoked already, at" } else { "is revoked since" };
        writeln!(out, "{} of {} ({}) {word} {since}", record.info.subject, record.host, record.info.serial)?;
        out.write_all(advice(record).as_bytes())?;
        Ok(())
    }
}

/// What follows from it, and what does not.
fn advice(record: &IssuedRecord) -> String {
    let end = pki::date(record.info.not_after);
    let authority = &record.authority;
    let replaced = "The next run of a playbook with `pki_certificate` replaces it where the store's mark finds it in place, and `deploy pki \
                    status` is CRITICAL until then.";
    match record.profile {
        Profile::Cluster => format!(
            "{replaced}\nNobody is kept out by this: Galera's provider reads no revocation list, so whoever holds the key \
             can join replication until {end}. If the key is in foreign hands: let the firewall keep 4567, 4568 and 4444 \
             to the members (role firewall), and rotate the authority `{authority}` to its end, the rolling restart \
             included, because a running provider never unlearns an authority.\n"
        ),
        Profile::Server => format!(
            "{replaced}\nNobody is kept out by this: clients do not ask for revocation lists, and whoever holds the key \
             can pose as this server towards them until {end}. If the key is in foreign hands, rotate the authority \
             `{authority}`, and give clients the new one.\n"
        ),
        Profile::Client => {
            let subject = record.info.subject.replace('\'', "''");
            format!(
                "{replaced}\nNobody is kept out by this: servers are given no revocation list, and an account takes every \
                 certificate that fits its REQUIRE clause until {end}. To keep this one out, on one member of the \
                 cluster:\n\n    SELECT user, host FROM mysql.global_priv WHERE JSON_VALUE(priv, '$.x509_subject') = \
                 '{subject}';\n    ALTER USER 'NAME'@'HOST' ACCOUNT LOCK;                    -- at once; open \
                 connections stay: KILL USER 'NAME'@'HOST'\n    ALTER USER 'NAME'@'HOST' REQUIRE SUBJECT \
                 '{subject}-2';  -- after its successor was issued under that name\n    ALTER USER 'NAME'@'HOST' \
                 ACCOUNT UNLOCK;\n\nA successor with the same subject would leave the door open for both: give it another \
                 common name (pki_application).\n"
            )
        }
    }
}
