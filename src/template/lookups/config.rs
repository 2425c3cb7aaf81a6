//! `config`: what `ansible.cfg` and the environment set, by Ansible's names.

use std::path::Path;

use minijinja::value::Value;

use super::{Call, Found};
use crate::config::{Setting, Surroundings, named, of_plugin};
use crate::template::args::fail;

/// `config(NAME, on_missing=error|warn|skip)`
pub(super) fn config(call: &Call<'_>) -> Found {
    let plugin = match (call.text("plugin_type"), call.text("plugin_name")) {
        (None, None) => None,
        (Some(kind), Some(name)) => Some((kind, name)),
        _ => return Err(fail("config: plugin_type and plugin_name belong together")),
    };
    let missing = call.text("on_missing").unwrap_or_else(|| "error".to_owned());
    if !matches!(missing.as_str(), "error" | "warn" | "skip") {
        return Err(fail(format!("config: on_missing is error, warn or skip, not '{missing}'")));
    }
    let directory = std::env::current_dir().map_err(|e| fail(format!("config: no working directory: {e}")))?;
    let around = Surroundings {
        variables: std::env::vars().collect(),
        directory: &directory,
        home: std::env::var_os("HOME").map(Into::into),
        system: Path::new("/etc/ansible"),
    };
    let mut out = Vec::new();
    for name in call.texts() {
        let found = match &plugin {
            Some((kind, plugin)) => of_plugin(kind, plugin, &name, &around),
            None => named(&name, &around),
        };
        match found.map_err(|e| fail(format!("config: {e}")))? {
            Some(Setting::Nothing) => out.push(Value::from(())),
            Some(Setting::Text(text)) => out.push(Value::from(text)),
            Some(Setting::Number(number)) => out.push(Value::from(number)),
            Some(Setting::Flag(flag)) => out.push(Value::from(flag)),
            Some(Setting::List(words)) => out.push(Value::from(words)),
            None if missing == "error" => {
                return Err(fail(format!("config: '{name}' is no setting that is known here")));
            }
            None if missing == "warn" => {
                call.scope.templar().warn(format!("config: '{name}' is no setting that is known here"));
            }
            None => {}
        }
    }
    Ok(out)
}
