//! What was found, before it is written in one form or another.

use serde_json::{Value, json};

use super::days;
use crate::pki::{
    AuthorityView, CertInfo, Finding, Port, PortReport, Protocol, SetReport, SetSpec, State, UnixTime, date, worst,
};

/// Everything.
pub struct Report {
    /// When it was looked at.
    pub now: UnixTime,
    /// Where the store is; none where this controller has none.
    pub store: Option<String>,
    /// Its authorities.
    pub authorities: Vec<AuthorityLine>,
    /// The hosts that have sets.
    pub hosts: Vec<HostLine>,
    /// Why the store that was meant could not be read: what it knows (revocations, who signs) is missing then.
    pub store_trouble: Option<String>,
}

/// An authority of the store.
pub struct AuthorityLine {
    /// What it is.
    pub view: AuthorityView,
    /// What is to be said.
    pub findings: Vec<Finding>,
}

/// A host.
pub struct HostLine {
    /// Its name in the inventory.
    pub host: String,
    /// Its sets, or why it could not be looked at.
    pub sets: Result<Vec<SetLine>, String>,
}

/// A set on a host.
pub struct SetLine {
    /// What the inventory says of it.
    pub spec: SetSpec,
    /// What its files are.
    pub report: SetReport,
    /// What its ports serve.
    pub ports: Vec<PortLine>,
}

/// A port of a set.
pub struct PortLine {
    /// Which.
    pub port: Port,
    /// The host that asked.
    pub from: String,
    /// What it serves.
    pub report: PortReport,
}

/// A line of the table: a set on a port, or a set that has none, or a host that could not be seen.
pub struct Row<'a> {
    pub state: State,
    pub host: &'a str,
    pub set: &'a str,
    pub port: Option<&'a PortLine>,
    pub report: Option<&'a SetReport>,
    pub findings: Vec<(State, &'a str)>,
}

impl SetLine {
    /// The worst of it.
    pub fn state(&self) -> State {
        self.ports
            .iter()
            .map(|port| worst(&port.report.findings))
            .max()
            .unwrap_or_default()
            .max(worst(&self.report.findings))
    }
}

impl Report {
    /// The worst of all.
    pub fn state(&self) -> State {
        let hosts = self.hosts.iter().map(|host| match &host.sets {
            Ok(sets) => sets.iter().map(SetLine::state).max().unwrap_or_default(),
            Err(_) => State::Unknown,
        });
        let store = self.store_trouble.iter().map(|_| State::Unknown);
        hosts.chain(self.authorities.iter().map(|one| worst(&one.findings))).chain(store).max().unwrap_or_default()
    }

    /// All lines, in the order of hosts, sets and ports. What is to be said of a set's files is said on its first line.
    pub fn rows(&self) -> Vec<Row<'_>> {
        let mut rows = Vec::new();
        for HostLine { host, sets } in &self.hosts {
            match sets {
                Err(why) => rows.push(Row {
                    state: State::Unknown,
                    host,
                    set: "-",
                    port: None,
                    report: None,
                    findings: vec![(State::Unknown, why)],
                }),
                Ok(sets) => sets.iter().for_each(|set| rows.extend(set_rows(host, set))),
            }
        }
        rows
    }

    /// As one document.
    pub fn json(&self) -> Value {
        let authorities = self.authorities.iter().map(|AuthorityLine { view, findings }| {
            json!({
                "name": view.name, "purpose": view.purpose, "state": worst(findings), "findings": findings,
                "days_left": days(view.info.not_after, self.now), "info": view.info,
            })
        });
        let info = |info: &Option<CertInfo>| match info {
            Some(info) => json!({"serial": info.serial, "subject": info.subject, "issuer": info.issuer,
                                 "not_before": info.not_before, "not_after": info.not_after, "names": info.sans,
                                 "days_left": days(info.not_after, self.now), "key": info.key.to_string(),
                                 "fingerprint": info.fingerprint}),
            None => Value::Null,
        };
        let set = |line: &SetLine| {
            let ports = line.ports.iter().map(|PortLine { port, from, report }| {
                json!({"port": port.port, "protocol": port.protocol, "seen_from": from, "served": info(&report.info),
                       "state": worst(&report.findings), "findings": report.findings})
            });
            json!({
                "name": line.spec.name, "authority": line.spec.authority, "profile": line.spec.profile,
                "path": line.spec.path, "state": line.state(), "file": info(&line.report.info),
                "renew_at": line.report.renew_at, "trusts": line.report.trusts, "findings": line.report.findings,
                "ports": ports.collect::<Vec<_>>(),
            })
        };
        let hosts = self.hosts.iter().map(|HostLine { host, sets }| match sets {
            Ok(sets) => json!({"host": host, "sets": sets.iter().map(set).collect::<Vec<_>>()}),
            Err(why) => json!({"host": host, "state": State::Unknown, "error": why}),
        });
        json!({
            "state": self.state(), "at": self.now, "store": self.store, "store_trouble": self.store_trouble,
            "authorities": authorities.collect::<Vec<_>>(), "hosts": hosts.collect::<Vec<_>>(),
        })
    }
}

fn set_rows<'a>(host: &'a str, line: &'a SetLine) -> Vec<Row<'a>> {
    fn said(findings: &[Finding]) -> impl Iterator<Item = (State, &str)> {
        findings.iter().map(|finding| (finding.state, finding.why.as_str()))
    }
    let own = worst(&line.report.findings);
    let row = |port: Option<&'a PortLine>, first: bool| {
        let mut findings: Vec<_> = said(&line.report.findings).filter(|_| first).collect();
        findings.extend(port.into_iter().flat_map(|port| said(&port.report.findings)));
        let state = port.map_or(own, |port| worst(&port.report.findings).max(own));
        Row { state, host, set: &line.spec.name, port, report: Some(&line.report), findings }
    };
    match line.ports.as_slice() {
        [] => vec![row(None, true)],
        ports => ports.iter().enumerate().map(|(at, port)| row(Some(port), at == 0)).collect(),
    }
}

/// The columns of a line, as the table and the page show them.
pub fn cells(row: &Row<'_>, now: UnixTime) -> Vec<String> {
    let dash = || "-".to_string();
    let file = row.report.and_then(|report| report.info.as_ref());
    let served = row.port.map(|port| match &port.report.info {
        Some(info) => crate::pki::short(&info.serial).to_string(),
        None => "?".into(),
    });
    let port = row.port.map(|line| match line.port.protocol {
        Protocol::Tls => line.port.port.to_string(),
        Protocol::Mysql => format!("{}/mysql", line.port.port),
    });
    let from = row.port.map(|port| if port.from == row.host { "itself".to_string() } else { port.from.clone() });
    let names = file.map(|info| info.sans.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    vec![
        row.state.word().to_string(),
        row.host.to_string(),
        row.set.to_string(),
        port.unwrap_or_else(dash),
        file.map_or_else(dash, |info| crate::pki::short(&info.serial).to_string()),
        served.unwrap_or_else(dash),
        from.unwrap_or_else(dash),
        file.map_or_else(dash, |info| days(info.not_after, now).to_string()),
        row.report.and_then(|report| report.renew_at).map_or_else(dash, date),
        file.map_or_else(dash, |info| info.issuer.clone()),
        row.report.map(|report| report.trusts.join(" ")).filter(|text| !text.is_empty()).unwrap_or_else(dash),
        names.filter(|text| !text.is_empty()).unwrap_or_else(dash),
    ]
}

/// Their headings.
pub const HEADINGS: [&str; 12] =
    ["STATE", "HOST", "SET", "PORT", "FILE", "SERVED", "SEEN FROM", "DAYS", "RENEWAL DUE", "ISSUER", "TRUSTS", "NAMES"];

/// The columns of an authority.
pub fn authority_cells(line: &AuthorityLine, now: UnixTime) -> Vec<String> {
    let info = &line.view.info;
    vec![
        worst(&line.findings).word().to_string(),
        line.view.name.clone(),
        line.view.purpose.name().to_string(),
        info.subject.clone(),
        crate::pki::short(&info.serial).to_string(),
        days(info.not_after, now).to_string(),
        date(info.not_after),
    ]
}

/// Their headings.
pub const AUTHORITY_HEADINGS: [&str; 7] = ["STATE", "AUTHORITY", "FOR", "SUBJECT", "SERIAL", "DAYS", "UNTIL"];

/// What is to be said of a line, before the sentence: `galera1, cluster, 4567`.
pub fn whom(row: &Row<'_>) -> String {
    match (row.report, row.port) {
        (None, _) => row.host.to_string(),
        (_, None) => format!("{}, {}", row.host, row.set),
        (_, Some(port)) => format!("{}, {}, {}", row.host, row.set, port.port.port),
    }
}
