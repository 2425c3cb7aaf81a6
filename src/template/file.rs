//! Template files: their header, what they include, and the newlines that they end with.

use std::path::Path;

use super::compile::Compiled;
use super::engine::Site;
use super::{Evaluated, RenderOptions, Scope, Templar, TemplateError, Touched, Value, display, engine, is_omit, lazy};

impl Templar {
    /// Renders a template file. `name` is shown in errors; its directory is where includes are looked for first.
    pub fn render_file(
        &self,
        name: &Path,
        text: &str,
        options: RenderOptions,
        scope: &Scope,
    ) -> Result<Evaluated<String>, TemplateError> {
        // A header's newlines are those of the lines that it renders; what stands at the end of the file is added by the task.
        let last = options.newline_sequence.clone();
        let mut options = options;
        let in_file = |mut e: TemplateError| {
            e.file.get_or_insert_with(|| name.to_path_buf());
            e
        };
        let body = options.header(text).map_err(in_file)?;
        let skipped = usize::from(body.len() != text.len());
        if !body.contains(options.variable_start.as_str())
            && !body.contains(options.block_start.as_str())
            && !body.contains(options.comment_start.as_str())
        {
            let lines = body.trim_end_matches('\n');
            let end = body.get(lines.len()..).unwrap_or_default().to_owned();
            let text = newlines(lines.to_owned(), &options.newline_sequence) + &newlines(end, &last);
            return Ok(Evaluated { value: text, touched: Touched::default() });
        }
        let compiled = self.compiled_file(body, &options, scope.paths(), name).map_err(|mut e| {
            e.set_line(e.line().map(|l| l + skipped));
            in_file(e)
        })?;
        let site = || Site { span: None, file: Some(name.to_path_buf()), skipped_lines: skipped };
        let rendered = self.top(|| {
            let value = match &*compiled {
                Compiled::Template(file) => engine::render(file, scope).map(Value::from),
                other => engine::run(other, scope),
            };
            let value = value.map_err(|e| engine::explain(&e, &compiled, scope, &site()))?;
            if value.is_undefined() {
                return Err(engine::undefined_result(&compiled, scope, &site()));
            }
            let value = lazy::finalize(&value, false).map_err(|e| engine::explain(&e, &compiled, scope, &site()))?;
            Ok(if is_omit(&value) { Value::from("") } else { value })
        })?;
        Ok(rendered.map(|value| {
            // A file that is one expression of no text is its value, without the newline behind it.
            let native = value.as_str().is_none() && !body.ends_with("\n\n");
            let text = Value::from(display(&value));
            // Statements that print nothing leave an empty file.
            let empty = matches!(&*compiled, Compiled::Template(_)) && value.as_str() == Some("");
            let text = if options.keep_trailing_newline && !empty && !native {
                engine::restore_newlines(text, body, "\n")
            } else {
                text
            };
            let text = display(&text);
            let lines = text.trim_end_matches('\n');
            let end = text.get(lines.len()..).unwrap_or_default().to_owned();
            newlines(lines.to_owned(), &options.newline_sequence) + &newlines(end, &last)
        }))
    }
}

fn newlines(text: String, sequence: &str) -> String {
    if sequence == "\n" { text } else { text.replace("\r\n", "\n").replace('\n', sequence) }
}
