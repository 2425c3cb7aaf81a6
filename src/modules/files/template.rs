//! `template`: a file rendered on the controller.

use super::common::{Step, begin, file_arguments};
use super::delivery::Delivery;
use super::place::Placement;
use crate::machine::Machine;
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};

/// `ansible.builtin.template`
pub const TEMPLATE: Module = Module {
    name: "ansible.builtin.template",
    aliases: &["template", "ansible.legacy.template"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Template::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: Some(prepare),
};

file_arguments! {
    /// Renders a Jinja2 template with the task's variables and copies it to the host. The file is replaced in one
    /// step, and only when its contents differ.
    pub struct Template {
        /// The template: looked for in `templates/` of the role and beside the playbook.
        pub src: Text,
        /// Where to. With a slash at its end, or where there is a directory, the template's name is added.
        pub dest: Text,
        /// Keep a copy of a file that is replaced, with the time in its name.
        #[serde(default)]
        pub backup: Flag,
        /// Replace a file whose contents differ; `no` writes only where there is none.
        #[serde(default = "Flag::yes")]
        pub force: Flag,
        /// Where `dest` is a link, write to the file that it points to, instead of replacing the link.
        #[serde(default)]
        pub follow: Flag,
        /// A command that must accept the file before it goes live, `%s` in the place of its name. It is run without
        /// a shell.
        pub validate: Option<Text>,
        /// End of lines: `\n`, `\r` or `\r\n`.
        pub newline_sequence: Option<Text>,
        /// What starts a block, `{%` when not given.
        pub block_start_string: Option<Text>,
        /// What ends a block, `%}` when not given.
        pub block_end_string: Option<Text>,
        /// What starts an expression, `{{` when not given.
        pub variable_start_string: Option<Text>,
        /// What ends an expression, `}}` when not given.
        pub variable_end_string: Option<Text>,
        /// What starts a comment, `{#` when not given.
        pub comment_start_string: Option<Text>,
        /// What ends a comment, `#}` when not given.
        pub comment_end_string: Option<Text>,
        /// Remove the first line end after a block.
        #[serde(default = "Flag::yes")]
        pub trim_blocks: Flag,
        /// Remove blanks from the start of a line to a block.
        #[serde(default)]
        pub lstrip_blocks: Flag,
        /// Encoding of the file, by a name that Python knows: `utf-8`, `utf-8-sig`, `utf-16`, `utf-32` (also with `-le` or
        /// `-be`), `ascii`, `latin-1`, `iso-8859-15` or `cp1252`.
        pub output_encoding: Option<Text>,
    }
}

fn run(mut arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let delivery = Delivery::take(&mut arguments)?;
    let arguments: Template = decode(arguments)?;
    begin(machine, context);
    let Some(delivery) = delivery else {
        return Err(ModuleError::Failed("the rendered template did not come with the request".into()));
    };
    let placement = Placement {
        dest: &arguments.dest,
        basename: Some(&delivery.basename),
        common: arguments.common(),
        directory_mode: None,
        force: arguments.force.0,
        backup: arguments.backup.0,
        follow: arguments.follow.0,
        validate: arguments.validate.as_deref(),
        checksum: None,
    };
    let outcome = placement.run(machine, context, &delivery.content, delivery.digests.as_ref())?;
    Ok(outcome.with("src", arguments.src.0.as_str()))
}

#[cfg(feature = "controller")]
mod action {
    use super::super::copy_action::{contents, failed, mode_of};
    use super::*;
    use crate::modules::scalars::FileMode;
    use crate::modules::{ActionError, ActionFuture, ActionHost, FileKind, Prepared, RenderOptions};
    use crate::source::codec::{self, CodecError};
    use std::path::Path;

    /// Renders the template.
    pub fn prepare<'a>(host: &'a dyn ActionHost, mut arguments: Map<String, Value>) -> ActionFuture<'a, Prepared> {
        Box::pin(async move {
            let template: Template = decode(arguments.clone()).map_err(failed)?;
            let source = host.find_file(FileKind::Templates, &template.src)?;
            let bytes = std::fs::read(&source)
                .map_err(|e| ActionError::Failed(format!("cannot read the template {}: {e}", source.display())))?;
            let bytes = host.unvault(&source, bytes)?;
            let text = String::from_utf8(bytes)
                .map_err(|e| ActionError::Failed(format!("the template {} is no UTF-8: {e}", source.display())))?;
            let options = options(&template)?;
            let rendered = host.render(&source, &text, &options, variables(host, &template, &source)?)?;
            let encoding = template.output_encoding.as_deref().unwrap_or("utf-8");
            let bytes = encode(&rendered, encoding)?;
            if matches!(template.mode, Some(FileMode::Preserve)) {
                arguments.insert("mode".into(), mode_of(&source)?);
            }
            let basename = source.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            contents(host, bytes, basename).add(&mut arguments)?;
            Ok(Prepared::Send(arguments))
        })
    }

    fn options(template: &Template) -> Result<RenderOptions, ActionError> {
        let newline = match template.newline_sequence.as_ref().map(|t| t.0.as_str()) {
            None => None,
            Some("\n" | "\\n") => Some("\n"),
            Some("\r" | "\\r") => Some("\r"),
            Some("\r\n" | "\\r\\n") => Some("\r\n"),
            Some(_) => {
                return Err(ActionError::Failed("newline_sequence needs to be one of: \\n, \\r or \\r\\n".into()));
            }
        };
        let text = |value: &Option<Text>| value.as_ref().map(|t| t.0.clone());
        Ok(RenderOptions {
            trim_blocks: Some(template.trim_blocks.0),
            lstrip_blocks: Some(template.lstrip_blocks.0),
            newline_sequence: newline.map(String::from),
            markers: [
                text(&template.variable_start_string),
                text(&template.variable_end_string),
                text(&template.block_start_string),
                text(&template.block_end_string),
                text(&template.comment_start_string),
                text(&template.comment_end_string),
            ],
        })
    }

    /// The variables that only templates have.
    fn variables(host: &dyn ActionHost, template: &Template, source: &Path) -> Result<Map<String, Value>, ActionError> {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(source)
            .map_err(|e| ActionError::Failed(format!("cannot read the template {}: {e}", source.display())))?;
        let time = |seconds: i64| {
            let zone = jiff::tz::TimeZone::system();
            let time = jiff::Timestamp::from_second(seconds).unwrap_or_default().to_zoned(zone);
            Value::from(time.strftime("%Y-%m-%d %H:%M:%S").to_string())
        };
        let machine = Machine::new(crate::machine::Mode::Predicted);
        let owner = machine.user_name(metadata.uid()).unwrap_or_else(|| metadata.uid().to_string());
        let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let mut variables = Map::new();
        variables.insert("template_host".into(), node.into());
        variables.insert("template_uid".into(), owner.into());
        variables.insert("template_path".into(), template.src.0.as_str().into());
        variables.insert("template_fullpath".into(), source.to_string_lossy().into());
        variables.insert("template_destpath".into(), template.dest.0.as_str().into());
        variables.insert("template_mtime".into(), time(metadata.mtime()));
        variables.insert("template_run_date".into(), time(jiff::Timestamp::now().as_second()));
        if host.variable("ansible_managed")?.is_none() {
            variables.insert("ansible_managed".into(), "Ansible managed".into());
        }
        Ok(variables)
    }

    fn encode(text: &str, encoding: &str) -> Result<Vec<u8>, ActionError> {
        let encoding = if encoding.is_empty() { "utf-8" } else { encoding };
        codec::encode(text, encoding).map_err(|e| {
            ActionError::Failed(match e {
                CodecError::Lacks(c) => format!("the character {c:?} cannot be written in {encoding}"),
                CodecError::Unknown | CodecError::Invalid => format!(
                    "output_encoding: {encoding} is not known; there are utf-8, utf-8-sig, utf-16, utf-32, ascii, latin-1, iso-8859-15 and cp1252"
                ),
            })
        })
    }
}
#[cfg(feature = "controller")]
use action::prepare;
