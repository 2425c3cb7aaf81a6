//! `deploy lint`: everything that is wrong in a tree, for people and for programs.

use super::EXIT_PARSE;
use super::arguments::{Colour, SourceArguments};
use super::run::{name_templar, wants_colour};
use super::settings::settings;
use crate::lint::{self, Finding, Reader, Rule};
use crate::redact::Redactor;
use crate::source::{Diags, Severity, did_you_mean};
use crate::template::{Extensions, Layer, Raw, Templar, TemplarOptions};
use clap::{Args, ValueEnum};
use std::collections::HashSet;
use std::fmt::Write;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Options of `deploy lint`.
#[derive(Clone, Debug, Default, Args)]
pub struct LintArguments {
    /// Files and folders to look at [default: playbooks, roles, inventory and what else of the usual layout there is]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// How to write what was found
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: LintFormat,
    /// Warnings count as errors, notes as warnings
    #[arg(long)]
    pub strict: bool,
    /// Leave out these rules; may be given several times, or with commas
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    pub skip: Vec<String>,
    /// Only these rules
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    pub only: Vec<String>,
    /// List the rules, and look at nothing
    #[arg(long)]
    pub rules: bool,
    /// Where else roles are looked for, with colons between [env: ANSIBLE_ROLES_PATH]
    #[arg(long = "roles-path", value_name = "PATHS")]
    pub roles_path: Option<String>,
    /// Variables that names of static imports need: key=value words, YAML or JSON, or @FILE
    #[arg(short = 'e', long = "extra-vars", value_name = "VARS")]
    pub extra_vars: Vec<String>,
    /// File with the vault password, or a program that prints it; may be given several times
    #[arg(long = "vault-password-file", alias = "vault-pass-file", value_name = "FILE")]
    pub vault_password_file: Vec<PathBuf>,
    /// A vault identity: LABEL@FILE or LABEL@prompt
    #[arg(long = "vault-id", value_name = "ID")]
    pub vault_id: Vec<String>,
    /// When to use colours
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: Colour,
}

/// How findings are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LintFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// SARIF 2.1.0, for code hosting sites and editors.
    Sarif,
}

/// Runs the command.
pub fn run(arguments: &LintArguments) -> ExitCode {
    if arguments.rules {
        super::show(&rules(arguments.format));
        return ExitCode::SUCCESS;
    }
    for name in arguments.skip.iter().chain(&arguments.only) {
        if lint::find(name).is_none() {
            let near = did_you_mean(name, lint::ALL.iter().map(|rule| rule.id));
            let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            eprintln!("error: there is no rule `{name}`{hint}");
            return ExitCode::from(5);
        }
    }
    match look(arguments) {
        Ok((found, redactor)) => {
            let text = match arguments.format {
                LintFormat::Text => told(&found, wants_colour(arguments.color, std::io::stdout().is_terminal())),
                LintFormat::Json => pretty(&lint::json(&found)),
                LintFormat::Sarif => pretty(&lint::sarif(&found)),
            };
            super::show(&redactor.mask(&text));
            ExitCode::from(code(&found, arguments.strict))
        }
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(EXIT_PARSE)
        }
    }
}

fn look(arguments: &LintArguments) -> Result<(Vec<Finding>, Redactor), String> {
    let redactor = Redactor::new();
    let mut sources = SourceArguments {
        vault_password_file: arguments.vault_password_file.clone(),
        vault_id: arguments.vault_id.clone(),
        ..SourceArguments::default()
    };
    settings().fill_vault(&mut sources);
    // Nobody is asked: a tree is looked at where nobody sits.
    sources.ask_vault_pass = false;
    let vault = Arc::new(super::vault::open(&sources, &redactor)?);
    let hook = |bytes: &[u8], _: &std::path::Path| vault.decrypt(bytes).map_err(|error| error.to_string());
    let mut extra = Layer::new();
    for text in &arguments.extra_vars {
        let mut said = Diags::new();
        let vars = super::extra_vars::parse(text, &hook, &mut said).map_err(|diag| diag.one_line())?;
        super::say(&redactor, &said.render(false));
        extra.extend(vars.into_iter().map(|(name, node)| (name, Raw::Node(node))));
    }
    let templar = Templar::new(TemplarOptions {
        vault: Some(vault.clone()),
        redactor: redactor.clone(),
        extensions: Extensions::named(&settings().jinja2_extensions),
        ..TemplarOptions::default()
    });
    let template = name_templar(&templar, &Arc::new(extra));
    let roles_path: Vec<PathBuf> = match (&arguments.roles_path, &settings().roles_path) {
        (Some(list), _) => list.split(':').filter(|path| !path.is_empty()).map(PathBuf::from).collect(),
        (None, Some(paths)) => paths.clone(),
        (None, None) => vec![PathBuf::from("roles")],
    };
    let reader = Reader { vault: &hook, roles_path, template: &template };
    let findings = lint::lint(&arguments.paths, &reader, &templar)?;
    let wanted = |rule: &Rule| {
        let named = |list: &[String]| list.iter().any(|name| name == rule.id);
        !named(&arguments.skip) && (arguments.only.is_empty() || named(&arguments.only))
    };
    let (found, secrets) = findings.finish(wanted);
    secrets.iter().for_each(|secret| {
        redactor.add(secret);
    });
    Ok((found, redactor))
}

/// 2 for errors, 1 for warnings, 0 for notes and nothing; --strict makes each one step worse.
fn code(found: &[Finding], strict: bool) -> u8 {
    let worst = found.iter().map(Finding::severity).min();
    match (worst, strict) {
        (Some(Severity::Error), _) | (Some(Severity::Warning), true) => 2,
        (Some(Severity::Warning), false) | (Some(Severity::Note), true) => 1,
        (Some(Severity::Note), false) | (None, _) => 0,
    }
}

/// Findings as a run shows its diagnostics. Why a rule is one is said where it is met first.
fn told(found: &[Finding], colour: bool) -> String {
    let mut out = String::new();
    let mut explained = HashSet::new();
    for finding in found {
        let mut diag = finding.diag.clone();
        if explained.insert(finding.rule.id) {
            diag.notes.push(finding.rule.why.to_owned());
        }
        if diag.help.is_empty() {
            diag.help.push(finding.rule.remedy.to_owned());
        }
        let _ = writeln!(out, "{}\n", diag.render_as(finding.rule.id, colour));
    }
    let count = |severity: Severity, word: &str| {
        let count = found.iter().filter(|finding| finding.severity() == severity).count();
        format!("{count} {word}{}", if count == 1 { "" } else { "s" })
    };
    if found.is_empty() {
        out.push_str("nothing is wrong\n");
    } else {
        let (errors, warnings) = (count(Severity::Error, "error"), count(Severity::Warning, "warning"));
        let _ = writeln!(out, "{errors}, {warnings}, {}", count(Severity::Note, "note"));
    }
    out
}

fn rules(format: LintFormat) -> String {
    if format != LintFormat::Text {
        let all: Vec<serde_json::Value> = lint::ALL
            .iter()
            .map(|rule| {
                serde_json::json!({
                    "rule": rule.id, "severity": word(rule.severity), "title": rule.title, "why": rule.why,
                    "remedy": rule.remedy,
                })
            })
            .collect();
        return pretty(&all.into());
    }
    let mut out = String::new();
    for rule in lint::ALL {
        let _ = writeln!(out, "{} ({})\n    {}: {}.", rule.id, word(rule.severity), rule.title, rule.why);
        let _ = writeln!(out, "    Remedy: {}.", rule.remedy);
    }
    out
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(value).unwrap_or_default())
}
