//! For people at a terminal.

use super::report::{AUTHORITY_HEADINGS, HEADINGS, Report, authority_cells, cells, whom};
use crate::cli::table::table;
use crate::pki::State;

/// The whole as text.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    let heading = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    match &report.store {
        Some(store) => text.push_str(&format!("store {store}\n")),
        None => text.push_str("no store on this controller: authorities and revocations are not known\n"),
    }
    if !report.authorities.is_empty() {
        let mut rows = vec![heading(&AUTHORITY_HEADINGS)];
        rows.extend(report.authorities.iter().map(|line| authority_cells(line, report.now)));
        text.push_str(&table(&rows, "  "));
    }
    let lines = report.rows();
    let mut rows = vec![heading(&HEADINGS)];
    rows.extend(lines.iter().map(|row| cells(row, report.now)));
    text.push_str("\nhosts\n");
    text.push_str(&table(&rows, "  "));
    let mut said = String::new();
    for line in &report.authorities {
        for finding in &line.findings {
            said.push_str(&format!("  {}: authority {}: {}\n", finding.state.word(), line.view.name, finding.why));
        }
    }
    for row in &lines {
        for (state, why) in &row.findings {
            said.push_str(&format!("  {}: {}: {why}\n", state.word(), whom(row)));
        }
    }
    if !said.is_empty() {
        text.push_str("\nwhy\n");
        text.push_str(&said);
    }
    text.push_str(&format!("\n{}\n", summary(report)));
    text
}

/// One line, as monitoring shows it.
pub fn summary(report: &Report) -> String {
    let rows = report.rows();
    let count = |state: State| rows.iter().filter(|row| row.state == state).count();
    let hosts = report.hosts.len();
    let next = report
        .hosts
        .iter()
        .filter_map(|host| host.sets.as_ref().ok())
        .flatten()
        .filter_map(|set| set.report.info.as_ref().map(|info| info.not_after))
        .min();
    let next = next.map(|end| format!(", the first certificate ends in {} days", super::days(end, report.now)));
    format!(
        "{}: {hosts} hosts: {} ok, {} warning, {} critical, {} unknown{}",
        report.state().word(),
        count(State::Ok),
        count(State::Warning),
        count(State::Critical),
        count(State::Unknown),
        next.unwrap_or_default()
    )
}
