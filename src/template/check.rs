//! What is wrong with a template, found without running it.

use std::path::Path;

use super::compile;
use super::{RenderOptions, SearchPaths, Templar, TemplateError, is_template};
use crate::source::{Node, NodeValue};

impl Templar {
    /// Finds what is wrong with a template's text without running it: syntax, unknown filters and tests.
    pub fn check_template(&self, text: &str) -> Result<(), TemplateError> {
        if is_template(text) { self.compiled(text).map(drop) } else { Ok(()) }
    }

    /// Finds what is wrong with a template file without rendering it.
    pub fn check_file(&self, name: &Path, text: &str) -> Result<(), TemplateError> {
        if !is_template(text) {
            return Ok(());
        }
        let mut options = RenderOptions::default();
        let compiled = options.header(text).and_then(|body| {
            let skipped = usize::from(body.len() != text.len());
            let paths = SearchPaths::default();
            compile::template(body, false, &options.clone(), &paths, Some(name), self.compiling()).map_err(|mut e| {
                e.set_line(e.line().map(|line| line + skipped));
                e
            })
        });
        compiled.map(drop).map_err(|mut error| {
            error.file.get_or_insert_with(|| name.to_path_buf());
            error
        })
    }

    /// Finds what is wrong with a bare expression without running it.
    pub fn check_expression(&self, text: &str) -> Result<(), TemplateError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(());
        }
        if text.contains("{{") || text.contains("{%") {
            return self.check_template(text).or_else(|_| compile::expression(text, true).map(drop));
        }
        self.compiled_expression(text).map(drop)
    }

    /// Finds what is wrong with every template inside a value of a file.
    pub fn check_node(&self, node: &Node) -> Vec<TemplateError> {
        let mut errors = Vec::new();
        self.collect_errors(node, &mut errors);
        errors
    }

    fn collect_errors(&self, node: &Node, errors: &mut Vec<TemplateError>) {
        match &node.value {
            NodeValue::Seq(items) => items.iter().for_each(|n| self.collect_errors(n, errors)),
            NodeValue::Map(map) => {
                for (k, v) in map.iter() {
                    self.collect_errors(k, errors);
                    self.collect_errors(v, errors);
                }
            }
            NodeValue::Str(text) if node.is_template() => {
                if let Err(e) = self.check_template(text) {
                    errors.push(e.at(&node.span));
                }
            }
            _ => {}
        }
    }
}
