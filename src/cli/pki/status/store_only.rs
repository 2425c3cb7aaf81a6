//! `deploy pki status --store-only`: what the store itself knows.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use serde_json::json;

use super::super::arguments::{Format, PkiArgs};
use super::super::{PkiCommandError, days_left};
use crate::cli::table::table;
use crate::pki::{self, IssuedRecord, State, UnixTime};

impl PkiArgs {
    pub(super) fn store_only(
        &self,
        format: Format,
        now: UnixTime,
        out: &mut dyn Write,
    ) -> Result<ExitCode, PkiCommandError> {
        let store = self.open()?;
        let mut authorities = Vec::new();
        for name in store.authorities()? {
            authorities.push(store.require(&name)?);
        }
        // Of each host, authority, purpose and subject only the newest counts: what came before has been replaced.
        let mut newest: BTreeMap<[String; 4], IssuedRecord> = BTreeMap::new();
        for record in store.issued()? {
            let name =
                [&record.host, &record.authority, record.profile.name(), &record.info.subject].map(str::to_string);
            newest.insert(name, record);
        }
        let revoked = store.revoked()?;
        let judge = |info: &pki::CertInfo| match revoked.contains_key(&info.serial) {
            true => State::Critical,
            false => urgency(info, now),
        };
        // Nobody renews an authority by itself: it is judged as it is beside the hosts.
        let mut stands = BTreeMap::new();
        for view in &authorities {
            let rotation = store.rotation(&view.name)?;
            stands.insert(view.name.clone(), pki::worst(&pki::judge_authority(view, rotation.as_ref(), now)));
        }
        let state = |view: &pki::AuthorityView| stands.get(&view.name).copied().unwrap_or_default();
        let worst = stands.values().copied().chain(newest.values().map(|record| judge(&record.info))).max();
        match format {
            Format::Json => {
                let authorities: Vec<_> = authorities
                    .iter()
                    .map(|view| {
                        json!({"name": view.name, "purpose": view.purpose, "info": view.info,
                               "days_left": days_left(&view.info, now), "state": state(view).word()})
                    })
                    .collect();
                let certificates: Vec<_> = newest
                    .values()
                    .map(|record| {
                        json!({"host": record.host, "authority": record.authority, "profile": record.profile,
                               "issued_at": record.issued_at, "info": record.info,
                               "days_left": days_left(&record.info, now), "state": judge(&record.info).word()})
                    })
                    .collect();
                let document =
                    json!({"store": store.location(), "authorities": authorities, "certificates": certificates});
                writeln!(out, "{document:#}")?;
            }
            Format::Prometheus | Format::Html => {
                let why = "--store-only writes a table or json: without it the authorities are in every format";
                return Err(PkiCommandError::Refused(why.into()));
            }
            Format::Table => {
                writeln!(out, "store {}", store.location())?;
                let mut rows = vec![["", "NAME", "FOR", "SUBJECT", "DAYS LEFT", "UNTIL", "SERIAL"].map(String::from)];
                let row = |name: &str, what: &str, info: &pki::CertInfo, state: State| {
                    [
                        state.word().to_string(),
                        name.to_string(),
                        what.to_string(),
                        info.subject.clone(),
                        days_left(info, now).to_string(),
                        pki::date(info.not_after),
                        info.serial.clone(),
                    ]
                };
                rows.extend(authorities.iter().map(|view| row(&view.name, "authority", &view.info, state(view))));
                rows.extend(newest.values().map(|one| {
                    row(&one.host, &format!("{} {}", one.authority, one.profile.name()), &one.info, judge(&one.info))
                }));
                let rows: Vec<Vec<String>> = rows.into_iter().map(Vec::from).collect();
                out.write_all(table(&rows, "").as_bytes())?;
            }
        }
        Ok(ExitCode::from(worst.unwrap_or_default().code()))
    }
}

/// As late as its life is over: nine tenths, four fifths.
fn urgency(info: &pki::CertInfo, now: UnixTime) -> State {
    let life = (info.not_after - info.not_before).max(1);
    match (info.not_after - now).saturating_mul(10) {
        left if left <= life => State::Critical,
        left if left <= life.saturating_mul(2) => State::Warning,
        _ => State::Ok,
    }
}
