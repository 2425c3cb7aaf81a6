//! Modules and arguments that are only wrong when a task is reached, and modules that were never tried.

use crate::lint::finding::Findings;
use crate::lint::rules;
use crate::lint::walk::Visit;
use crate::source::Severity;

pub fn task(visit: &Visit<'_>, findings: &mut Findings) {
    let task = visit.task;
    if let Some(diag) = &task.late_error {
        let mut diag = (**diag).clone();
        if diag.code == Some(rules::UNKNOWN_MODULE.id) {
            // A role may have branches for systems that nobody here has.
            diag.severity = Severity::Warning;
            diag = diag.with_note("a condition stands before it: it fails only where that holds");
        }
        findings.add_diag(diag, &rules::PLAYBOOK);
    }
    if task.action.is_template() {
        let message = format!("`{}` names the module: it is not looked at before the task runs", task.action.name);
        findings.add(&rules::TEMPLATED_MODULE, rules::TEMPLATED_MODULE.breach(message).at(&task.action.span));
    }
    let Some(module) = task.action.canonical.and_then(crate::modules::find) else { return };
    // Modules say so of themselves in their documentation; in bold letters where it is true of some values alone.
    let text = module.arguments.description();
    let parts: Vec<&str> = match text.split_once("**Unverified**:") {
        Some((_, rest)) => rest.split(". ").next().unwrap_or_default().split('`').skip(1).step_by(2).collect(),
        None => Vec::new(),
    };
    let part = task.action.args.iter().find_map(|(_, value)| value.as_str().filter(|text| parts.contains(text)));
    let whole = text.split_whitespace().any(|word| word == "UNVERIFIED:" || word == "Unverified:");
    if whole || part.is_some() {
        let what = part.map(|part| format!("with `{part}`, ")).unwrap_or_default();
        let message = format!("{what}`{}` was never tried against the real thing", task.action.name);
        let help = format!("`deploy doc {}` says what was not tried", task.action.name);
        findings.add(
            &rules::UNVERIFIED_MODULE,
            rules::UNVERIFIED_MODULE.breach(message).at(&task.action.span).with_help(help),
        );
    }
}
