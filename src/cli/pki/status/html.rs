//! One page that needs nothing else, for the light and for the dark.

use super::report::{AUTHORITY_HEADINGS, HEADINGS, Report, authority_cells, cells, whom};
use super::table::summary;
use crate::pki::{State, date, worst};

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--line:#d8dee4;--quiet:#57606a;--ok:#1a7f37;--warning:#9a6700;\
--critical:#cf222e;--unknown:#8250df}\
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--paper:#0d1117;--line:#30363d;--quiet:#8b949e;--ok:#3fb950;\
--warning:#d29922;--critical:#f85149;--unknown:#a371f7}}\
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:2rem}\
h1{font-size:1.3rem}h2{font-size:1.05rem;margin-top:2rem}.quiet{color:var(--quiet)}\
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem}\
th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top;white-space:nowrap}\
th{color:var(--quiet);font-weight:500}td:last-child{white-space:normal}td.mono{font-family:ui-monospace,monospace}\
.ok{color:var(--ok)}.warning{color:var(--warning)}.critical{color:var(--critical)}.unknown{color:var(--unknown)}\
.state{font-weight:600}li{margin:.2rem 0}";

/// The page.
pub fn text(report: &Report) -> String {
    let rows = report.rows();
    let state = report.state();
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>Certificates: {}</title><style>{STYLE}</style></head><body>\n<h1>Certificates: \
         <span class=\"{}\">{}</span></h1>\n<p class=\"quiet\">{}. Looked at {}.</p>\n",
        state.word(),
        class(state),
        state.word(),
        escaped(&summary(report)),
        date(report.now)
    );
    let mut said: Vec<(State, String)> = Vec::new();
    for line in &report.authorities {
        said.extend(line.findings.iter().map(|one| (one.state, format!("authority {}: {}", line.view.name, one.why))));
    }
    for row in &rows {
        said.extend(row.findings.iter().map(|(state, why)| (*state, format!("{}: {why}", whom(row)))));
    }
    said.sort_by_key(|(state, _)| std::cmp::Reverse(*state));
    if !said.is_empty() {
        page.push_str("<h2>Why</h2>\n<ul>\n");
        for (state, why) in said {
            page.push_str(&format!(
                "<li><span class=\"state {}\">{}</span> {}</li>\n",
                class(state),
                state.word(),
                escaped(&why)
            ));
        }
        page.push_str("</ul>\n");
    }
    page.push_str("<h2>Hosts</h2>\n");
    let body = rows.iter().map(|row| (row.state, cells(row, report.now))).collect();
    page.push_str(&table(&HEADINGS, body, &[4, 5]));
    match &report.store {
        Some(store) => page.push_str(&format!("<h2>Authorities</h2>\n<p class=\"quiet\">{}</p>\n", escaped(store))),
        None => page.push_str("<p class=\"quiet\">No store on this controller.</p>\n"),
    }
    let authorities = report.authorities.iter().map(|line| (worst(&line.findings), authority_cells(line, report.now)));
    page.push_str(&table(&AUTHORITY_HEADINGS, authorities.collect(), &[4]));
    page.push_str("</body></html>\n");
    page
}

fn table(headings: &[&str], rows: Vec<(State, Vec<String>)>, mono: &[usize]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let capital = |name: &&str| format!("<th>{}{}</th>", &name[..1], name[1..].to_lowercase());
    let mut text = format!(
        "<div class=\"wide\"><table><thead><tr>{}</tr></thead><tbody>\n",
        headings.iter().map(capital).collect::<String>()
    );
    for (state, cells) in rows {
        text.push_str("<tr>");
        for (at, cell) in cells.iter().enumerate() {
            let class = match at {
                0 => format!(" class=\"state {}\"", class(state)),
                at if mono.contains(&at) => " class=\"mono\"".into(),
                _ => String::new(),
            };
            text.push_str(&format!("<td{class}>{}</td>", escaped(cell)));
        }
        text.push_str("</tr>\n");
    }
    text.push_str("</tbody></table></div>\n");
    text
}

fn class(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Warning => "warning",
        State::Unknown => "unknown",
        State::Critical => "critical",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
