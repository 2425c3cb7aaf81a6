//! `deploy pki status --store-only`: what the store itself knows.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use serde_json::json;

use super::super::arguments::{Format, PkiArgs};
use super::super::{PkiCommandError, days_left};
use crate::pki::{self, IssuedRecord, UnixTime};

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
        // Of each host, authority and subject only the newest counts: what came before has been replaced.
        let mut newest: BTreeMap<(String, String, String), IssuedRecord> = BTreeMap::new();
        for record in store.issued()? {
            newest.insert((record.host.clone(), record.authority.clone(), record.info.subject.clone()), record);
        }
        let revoked = store.revoked()?;
        let urgency = |info: &pki::CertInfo, now| match revoked.contains_key(&info.serial) {
            true => 2,
            false => urgency(info, now),
        };
        let worst = authorities
            .iter()
            .map(|view| &view.info)
            .chain(newest.values().map(|record| &record.info))
            .map(|info| urgency(info, now))
            .max()
            .unwrap_or(0);
        match format {
            Format::Json => {
                let authorities: Vec<_> = authorities
                    .iter()
                    .map(|view| {
                        json!({"name": view.name, "purpose": view.purpose, "info": view.info,
                               "days_left": days_left(&view.info, now), "state": word(urgency(&view.info, now))})
                    })
                    .collect();
                let certificates: Vec<_> = newest
                    .values()
                    .map(|record| {
                        json!({"host": record.host, "authority": record.authority, "profile": record.profile,
                               "issued_at": record.issued_at, "info": record.info,
                               "days_left": days_left(&record.info, now), "state": word(urgency(&record.info, now))})
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
                let row = |name: &str, what: &str, info: &pki::CertInfo| {
                    [
                        word(urgency(info, now)).to_string(),
                        name.to_string(),
                        what.to_string(),
                        info.subject.clone(),
                        days_left(info, now).to_string(),
                        pki::date(info.not_after),
                        info.serial.clone(),
                    ]
                };
                rows.extend(authorities.iter().map(|view| row(&view.name, "authority", &view.info)));
                rows.extend(
                    newest.values().map(|r| row(&r.host, &format!("{} {}", r.authority, r.profile.name()), &r.info)),
                );
                table(&rows, out)?;
            }
        }
        Ok(ExitCode::from(worst))
    }
}

/// 0 while all is well, 1 when 80 % of the life are over, 2 when nine tenths are.
fn urgency(info: &pki::CertInfo, now: UnixTime) -> u8 {
    let life = (info.not_after - info.not_before).max(1);
    match (info.not_after - now).saturating_mul(10) {
        left if left <= life => 2,
        left if left <= life.saturating_mul(2) => 1,
        _ => 0,
    }
}

fn word(urgency: u8) -> &'static str {
    match urgency {
        0 => "ok",
        1 => "WARNING",
        _ => "CRITICAL",
    }
}

fn table(rows: &[[String; 7]], out: &mut dyn Write) -> std::io::Result<()> {
    let mut widths = [0; 7];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}
