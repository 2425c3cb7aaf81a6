//! Template text to something that can be run, and the environment it runs in.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use minijinja::machinery::{self, ast::Expr};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Expression, State, UndefinedBehavior};

use super::error::{TemplateError, TemplateErrorKind};
use super::rewrite::{self, Rewritten, Shape};
use super::scope::SearchPaths;
use crate::source::Reads;

/// How deep macros and includes may nest.
const RECURSION_LIMIT: usize = 200;
/// Instructions one evaluation may take.
const FUEL: u64 = 10_000_000;

/// Tags that Jinja knows only with an extension, as `jinja2_extensions` of `ansible.cfg` switches them on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extensions {
    /// `{% do %}`
    pub do_tag: bool,
    /// `{% break %}` and `{% continue %}`
    pub loop_controls: bool,
}

impl Extensions {
    /// Those of these names; others have nothing that is missing here.
    pub fn named(names: &[String]) -> Self {
        let has = |wanted: &str| names.iter().any(|name| name == wanted);
        Extensions { do_tag: has("jinja2.ext.do"), loop_controls: has("jinja2.ext.loopcontrols") }
    }
}

/// What compiling needs of the templar.
#[derive(Clone, Copy)]
pub(super) struct Compiling<'a> {
    pub reads: &'a Reads,
    pub extensions: Extensions,
}

/// Options of a rendered file, those of the template module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RenderOptions {
    /// Remove the newline after a block tag.
    pub trim_blocks: bool,
    /// Strip spaces before a block tag.
    pub lstrip_blocks: bool,
    /// Newlines of the output.
    pub newline_sequence: String,
    /// `{{`
    pub variable_start: String,
    /// `}}`
    pub variable_end: String,
    /// `{%`
    pub block_start: String,
    /// `%}`
    pub block_end: String,
    /// `{#`
    pub comment_start: String,
    /// `#}`
    pub comment_end: String,
    /// Keep the newlines the file ends with.
    pub keep_trailing_newline: bool,
    /// Directories for include, import and extends, before those of the scope.
    pub include_dirs: Vec<PathBuf>,
}

impl Default for RenderOptions {
    fn default() -> Self {
        RenderOptions {
            trim_blocks: true,
            lstrip_blocks: false,
            newline_sequence: "\n".to_owned(),
            variable_start: "{{".to_owned(),
            variable_end: "}}".to_owned(),
            block_start: "{%".to_owned(),
            block_end: "%}".to_owned(),
            comment_start: "{#".to_owned(),
            comment_end: "#}".to_owned(),
            keep_trailing_newline: true,
            include_dirs: Vec::new(),
        }
    }
}

impl RenderOptions {
    fn syntax(&self) -> Result<SyntaxConfig, TemplateError> {
        SyntaxConfig::builder()
            .block_delimiters(self.block_start.clone(), self.block_end.clone())
            .variable_delimiters(self.variable_start.clone(), self.variable_end.clone())
            .comment_delimiters(self.comment_start.clone(), self.comment_end.clone())
            .trim_blocks(self.trim_blocks)
            .lstrip_blocks(self.lstrip_blocks)
            .build()
            .map_err(|e| TemplateError::new(TemplateErrorKind::Syntax, format!("invalid template delimiters: {e}")))
    }

    fn text<'s>(&'s self, source: &'s str) -> rewrite::Text<'s> {
        rewrite::Text { source, block_start: &self.block_start, block_end: &self.block_end }
    }

    /// Takes a `#jinja2:` header off the text and applies it.
    pub(super) fn header<'t>(&mut self, text: &'t str) -> Result<&'t str, TemplateError> {
        let Some(rest) = text.strip_prefix("#jinja2:") else { return Ok(text) };
        let (header, body) = rest.split_once('\n').unwrap_or((rest, ""));
        for pair in header.split(',') {
            let pair = pair.trim();
            if pair.is_empty() {
                continue;
            }
            let bad =
                |why: &str| TemplateError::new(TemplateErrorKind::Syntax, format!("`#jinja2:` header: {why}: {pair}"));
            let (key, value) = pair.split_once(':').ok_or_else(|| bad("expected `option: value`"))?;
            let value = value.trim();
            let unquoted = value.trim_matches(['\'', '"']).replace("\\n", "\n").replace("\\r", "\r");
            let flag = || match value.to_ascii_lowercase().as_str() {
                "true" | "yes" | "1" => Ok(true),
                "false" | "no" | "0" => Ok(false),
                _ => Err(bad("expected True or False")),
            };
            match key.trim() {
                "trim_blocks" => self.trim_blocks = flag()?,
                "lstrip_blocks" => self.lstrip_blocks = flag()?,
                "keep_trailing_newline" => self.keep_trailing_newline = flag()?,
                "newline_sequence" => self.newline_sequence = unquoted,
                "variable_start_string" => self.variable_start = unquoted,
                "variable_end_string" => self.variable_end = unquoted,
                "block_start_string" => self.block_start = unquoted,
                "block_end_string" => self.block_end = unquoted,
                "comment_start_string" => self.comment_start = unquoted,
                "comment_end_string" => self.comment_end = unquoted,
                _ => return Err(bad("unknown option")),
            }
        }
        Ok(body)
    }
}

/// A template ready to run.
pub(super) enum Compiled {
    /// No template in it.
    Text(Value),
    /// Runs as one expression.
    Expression { run: Expression<'static, 'static>, origin: Origin },
    /// Has statements.
    Template(Box<TemplateFile>),
}

/// The author's text and how the rewritten one corresponds to it.
pub(super) struct Origin {
    /// What the author wrote, as it was parsed.
    pub source: Arc<str>,
    /// Whether it is a bare expression.
    pub bare: bool,
    /// What runs.
    pub rewritten: Rewritten,
}

/// A template with statements, in an environment of its own, with what it includes.
pub(super) struct TemplateFile {
    pub env: Environment<'static>,
    pub origin: Origin,
    pub included: Included,
}

/// Files that a template included, by the name it used.
pub(super) type Included = Arc<Mutex<HashMap<String, (PathBuf, Rewritten)>>>;

/// The name of the outermost template in its environment.
pub(super) const MAIN: &str = "<template>";

/// The environment that all others are made from.
pub(super) static BASE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_debug(false);
    env.set_fuel(Some(FUEL));
    env.set_recursion_limit(RECURSION_LIMIT);
    env.set_formatter(super::engine::format_value);
    env.set_unknown_method_callback(|state: &mut State<'_, '_>, value, method, args| {
        super::methods::call(state, value, method, args)
    });
    super::filters::register(&mut env);
    super::tests::register(&mut env);
    super::globals::register(&mut env);
    env
});

fn syntax_error(e: &Error) -> TemplateError {
    let mut error = TemplateError::new(
        TemplateErrorKind::Syntax,
        match e.detail() {
            Some(detail) => format!("syntax error in template: {detail}"),
            None => format!("syntax error in template: {}", e.kind()),
        },
    );
    error.set_line(e.line());
    error
}

fn line_ends(text: &str) -> Cow<'_, str> {
    match text.contains('\r') {
        true => Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")),
        false => Cow::Borrowed(text),
    }
}

/// Compiles the text of a template. `yaml`: a value of a YAML file, in whose expressions a backslash is a backslash.
pub(super) fn template(
    text: &str,
    yaml: bool,
    options: &RenderOptions,
    paths: &SearchPaths,
    base: Option<&Path>,
    with: Compiling<'_>,
) -> Result<Compiled, TemplateError> {
    // Jinja knows one kind of line end.
    let text = line_ends(text);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    limit_depth(text, Some(options))?;
    let source: Arc<str> = if yaml && text.contains('\\') { escape_backslashes(text).into() } else { text.into() };
    let parsed = machinery::parse(&source, MAIN, options.syntax()?);
    let root = match parsed {
        Ok(root) => root,
        Err(e) => {
            let mut error = syntax_error(&e);
            error.set_column(e.range().and_then(|r| column(&source, r.start)));
            return Err(error);
        }
    };
    super::numbers::check(&source, false, options.syntax()?)?;
    check_names(&root)?;
    check_tags(&root, with.extensions)?;
    // What is changed has to be kept from one expression to the next.
    let shape = match rewrite::shape(&root) {
        Shape::Single(_) | Shape::Pieces(_) if !rewrite::changed_names(&root).is_empty() => Shape::Statements,
        shape => shape,
    };
    let rewritten = match shape {
        Shape::Text => {
            let mut out = String::new();
            if let machinery::ast::Stmt::Template(t) = &root {
                for child in &t.children {
                    if let machinery::ast::Stmt::EmitRaw(raw) = child {
                        out.push_str(&options.text(&source).raw(raw.raw));
                    }
                }
            }
            return Ok(Compiled::Text(Value::from(out)));
        }
        // A value of a YAML file keeps its type; a file is text.
        Shape::Single(expr) if yaml => rewrite::expression(expr, false),
        Shape::Single(_) => match &root {
            machinery::ast::Stmt::Template(t) => rewrite::pieces(&t.children, options.text(&source)),
            other => rewrite::pieces(std::slice::from_ref(other), options.text(&source)),
        },
        Shape::Pieces(children) => rewrite::pieces(children, options.text(&source)),
        Shape::Statements => {
            let rewritten = rewrite::template(&root, options.text(&source));
            drop(root);
            return file(source, rewritten, options, paths, base, with);
        }
    };
    drop(root);
    let run = run_expression(&rewritten)?;
    Ok(Compiled::Expression { run, origin: Origin { source, bare: false, rewritten } })
}

/// A part of a template without statements.
pub(super) enum Piece {
    /// Text.
    Text(String),
    /// What stands between the braces.
    Expression(String),
}

/// The parts of a template, unless it has statements.
pub(super) fn pieces(text: &str) -> Option<Vec<Piece>> {
    let options = RenderOptions::default();
    limit_depth(text, Some(&options)).ok()?;
    let source = if text.contains('\\') { escape_backslashes(text) } else { text.to_owned() };
    let root = machinery::parse(&source, MAIN, options.syntax().ok()?).ok()?;
    let machinery::ast::Stmt::Template(template) = &root else { return None };
    let piece = |stmt: &machinery::ast::Stmt<'_>| match stmt {
        machinery::ast::Stmt::EmitRaw(raw) => Some(Piece::Text(options.text(&source).raw(raw.raw).into_owned())),
        machinery::ast::Stmt::EmitExpr(emit) => {
            // From the braces on: the place of a filter is that of its name, not of what is filtered.
            let place = emit.span();
            let written = source.get(place.start_offset as usize..place.end_offset as usize)?;
            let bare = written.strip_prefix("{{")?;
            let bare = bare.strip_prefix(['-', '+']).unwrap_or(bare);
            Some(Piece::Expression(bare.trim().to_owned()))
        }
        _ => None,
    };
    template.children.iter().map(piece).collect()
}

/// Compiles a bare expression, such as a condition.
pub(super) fn expression(text: &str, templates_in_strings: bool) -> Result<Compiled, TemplateError> {
    limit_depth(text, None)?;
    let source: Arc<str> = text.into();
    let rewritten = {
        let expr = machinery::parse_expr(&source).map_err(|e| {
            let mut error = syntax_error(&e);
            error.message = error.message.replace("in template", "in expression");
            error.set_column(e.range().and_then(|r| column(&source, r.start)));
            error
        })?;
        super::numbers::check(&source, true, Default::default())?;
        check_expr(&expr)?;
        rewrite::expression(&expr, templates_in_strings)
    };
    let run = run_expression(&rewritten)?;
    Ok(Compiled::Expression { run, origin: Origin { source, bare: true, rewritten } })
}

fn run_expression(rewritten: &Rewritten) -> Result<Expression<'static, 'static>, TemplateError> {
    let base: &'static Environment<'static> = &BASE;
    base.compile_expression_owned(rewritten.source.clone()).map_err(|e| syntax_error(&e))
}

fn file(
    source: Arc<str>,
    rewritten: Rewritten,
    options: &RenderOptions,
    paths: &SearchPaths,
    base: Option<&Path>,
    with: Compiling<'_>,
) -> Result<Compiled, TemplateError> {
    let extensions = with.extensions;
    let mut env = BASE.clone();
    let included = Included::default();
    let mut dirs = options.include_dirs.clone();
    if let Some(dir) = base.and_then(Path::parent) {
        dirs.push(dir.to_path_buf());
    }
    let (seen, options_of_included, paths, reads) =
        (included.clone(), options.clone(), paths.clone(), with.reads.clone());
    env.set_path_join_callback(|name, _parent| Cow::Borrowed(name));
    env.set_loader(move |name| {
        let path = dirs.iter().map(|d| d.join(name)).find(|p| p.is_file());
        let Some(path) = path.or_else(|| paths.find("templates", name)) else { return Ok(None) };
        reads.note(&path);
        let text = std::fs::read_to_string(&path)
            .map_err(|e| Error::new(ErrorKind::BadInclude, format!("cannot read {}: {e}", path.display())))?;
        let mut options = options_of_included.clone();
        let wrap = |e: TemplateError| Error::new(ErrorKind::BadInclude, e.to_string());
        let body = options.header(&text).map_err(wrap)?;
        let body = line_ends(body);
        let body = body.strip_suffix('\n').unwrap_or(&body);
        limit_depth(body, Some(&options)).map_err(wrap)?;
        let root = machinery::parse(body, name, options.syntax().map_err(wrap)?)?;
        super::numbers::check(body, false, options.syntax().map_err(wrap)?).map_err(wrap)?;
        check_names(&root).map_err(wrap)?;
        check_tags(&root, extensions).map_err(wrap)?;
        let rewritten = rewrite::template(&root, options.text(body));
        let source = rewritten.source.clone();
        seen.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), (path, rewritten));
        Ok(Some(source))
    });
    env.set_auto_reload(false);
    env.set_syntax(
        SyntaxConfig::builder()
            .keep_trailing_newline(true)
            .build()
            .map_err(|e| TemplateError::new(TemplateErrorKind::Syntax, e.to_string()))?,
    );
    env.add_template_owned(MAIN, rewritten.source.clone()).map_err(|e| syntax_error(&e))?;
    let origin = Origin { source, bare: false, rewritten };
    Ok(Compiled::Template(Box::new(TemplateFile { env, origin, included })))
}

/// A tag of an extension that is not switched on is none that Jinja knows.
fn check_tags(root: &machinery::ast::Stmt<'_>, extensions: Extensions) -> Result<(), TemplateError> {
    let Some((tag, span)) = rewrite::unknown_tag(root, extensions.do_tag, extensions.loop_controls) else {
        return Ok(());
    };
    let extension = if tag == "do" { "jinja2.ext.do" } else { "jinja2.ext.loopcontrols" };
    let message = format!(
        "syntax error in template: unknown tag '{tag}'; `jinja2_extensions = {extension}` in ansible.cfg switches it on"
    );
    let mut error = TemplateError::new(TemplateErrorKind::Syntax, message);
    error.set_line(Some(span.start_line as usize));
    error.set_column(Some(span.start_col as usize + 1));
    Err(error)
}

fn check_names(root: &machinery::ast::Stmt<'_>) -> Result<(), TemplateError> {
    let mut problem = None;
    rewrite::visit_stmt(root, &mut |e| {
        if problem.is_none() {
            problem = unknown_name(e);
        }
    });
    problem.map_or(Ok(()), Err)
}

fn check_expr(expr: &Expr<'_>) -> Result<(), TemplateError> {
    let mut problem = None;
    rewrite::visit_expr(expr, &mut |e| {
        if problem.is_none() {
            problem = unknown_name(e);
        }
    });
    problem.map_or(Ok(()), Err)
}

/// An unknown filter or test is an error of the text, found before it runs.
fn unknown_name(expr: &Expr<'_>) -> Option<TemplateError> {
    let (kind, name, span, known) = match expr {
        Expr::Filter(f) => ("filter", f.name, f.span(), super::filters::is_known(f.name)),
        Expr::Test(t) => ("test", t.name, t.span(), super::tests::is_known(t.name)),
        _ => return None,
    };
    if known {
        return None;
    }
    let plain: String = name.chars().filter(|c| !c.is_whitespace()).collect();
    let names = if kind == "filter" { super::filters::names() } else { super::tests::names() };
    let mut message = format!("there is no {kind} named '{plain}'");
    let whole = if kind == "filter" { super::filters::qualified(&plain) } else { Vec::new() };
    if !whole.is_empty() {
        message.push_str(&format!(": there is {}", whole.join(" and ")));
    } else if let Some(near) = crate::source::did_you_mean(&plain, names.iter().copied()) {
        message.push_str(&format!("; did you mean '{near}'?"));
    }
    let mut error = TemplateError::new(TemplateErrorKind::UnknownName, message);
    error.set_line(Some(span.start_line as usize));
    error.set_column(Some(span.start_col as usize + 1));
    Some(error)
}

/// Operators one expression may have in a chain. The parser's tree is as deep as the chain is long, and whoever walks
/// it recurses.
const MAX_CHAIN: usize = 400;

/// Refuses expressions whose tree would be too deep to walk. It looks only at what stands inside tags.
fn limit_depth(text: &str, options: Option<&RenderOptions>) -> Result<(), TemplateError> {
    if text.len() <= MAX_CHAIN {
        return Ok(());
    }
    let bytes = text.as_bytes();
    let (mut inside, mut quote, mut at) = (options.is_none(), 0u8, 0);
    // The chain so far at each level of brackets, and their sum.
    let mut levels = vec![0usize];
    let mut total = 0usize;
    let starts = |at: usize, mark: &str| bytes.get(at..).is_some_and(|rest| rest.starts_with(mark.as_bytes()));
    let mut previous = 0u8;
    while let Some(c) = bytes.get(at).copied() {
        if !inside {
            if let Some(o) = options
                && (starts(at, &o.variable_start) || starts(at, &o.block_start))
            {
                inside = true;
                (levels, total, quote) = (vec![0], 0, 0);
                at += 2;
                continue;
            }
            at += 1;
            continue;
        }
        if quote != 0 {
            match c {
                b'\\' => at += 1,
                c if c == quote => quote = 0,
                _ => {}
            }
            at += 1;
            continue;
        }
        if let Some(o) = options
            && (starts(at, &o.variable_end) || starts(at, &o.block_end))
        {
            inside = false;
            at += 2;
            continue;
        }
        let mut count = 0;
        match c {
            b'\'' | b'"' => quote = c,
            b'(' | b'[' | b'{' => {
                count = 1;
                levels.push(0);
            }
            b')' | b']' | b'}' if levels.len() > 1 => total -= levels.pop().unwrap_or(0),
            b',' => {
                if let Some(top) = levels.last_mut() {
                    total -= std::mem::take(top);
                }
            }
            b'.' | b'|' | b'-' | b'~' => count = 1,
            b'+' | b'*' | b'/' | b'%' | b'<' | b'>' | b'=' | b'!' => {
                count = usize::from(previous != c && previous != b'!')
            }
            b'a' | b'o' | b'n' | b'i' | b'e' if !previous.is_ascii_alphanumeric() && previous != b'_' => {
                let keyword = ["and", "or", "not", "is", "in", "if", "else"].iter().any(|word| {
                    starts(at, word)
                        && bytes.get(at + word.len()).is_none_or(|n| !n.is_ascii_alphanumeric() && *n != b'_')
                });
                count = usize::from(keyword);
            }
            _ => {}
        }
        if count > 0 {
            // A bracket counts for the chain it stands in, not for what is inside it.
            let level = if matches!(c, b'(' | b'[' | b'{') { levels.len().saturating_sub(2) } else { levels.len() - 1 };
            if let Some(level) = levels.get_mut(level) {
                *level += 1;
            }
            total += 1;
            if total > MAX_CHAIN {
                let message = format!("an expression has more than {MAX_CHAIN} operators in a chain");
                return Err(TemplateError::new(TemplateErrorKind::Limit, message));
            }
        }
        previous = c;
        at += 1;
    }
    Ok(())
}

/// The column of an offset, from 1.
pub(super) fn column(source: &str, offset: usize) -> Option<usize> {
    let before = source.get(..offset)?;
    let start = before.rfind('\n').map_or(0, |i| i + 1);
    Some(before.get(start..)?.chars().count() + 1)
}

/// Doubles the backslashes in string constants inside `{{ }}`: YAML has read them once already.
fn escape_backslashes(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(at) = rest.find("{{") {
        let (before, from) = rest.split_at(at);
        // A comment or a raw block may hold braces; what follows is then copied as text, which is harmless.
        out.push_str(before);
        let mut chars = from.char_indices();
        let mut quote: Option<char> = None;
        let mut end = from.len();
        while let Some((i, c)) = chars.next() {
            match quote {
                None => {
                    if c == '}' && from.get(i..).is_some_and(|s| s.starts_with("}}")) {
                        end = i;
                        break;
                    }
                    if c == '\'' || c == '"' {
                        quote = Some(c);
                    }
                    out.push(c);
                }
                Some(q) => {
                    if c == '\\' {
                        out.push_str("\\\\");
                        match chars.next() {
                            Some((_, n)) if n == q => {
                                out.push('\\');
                                out.push(n);
                            }
                            Some((_, '\\')) => out.push_str("\\\\"),
                            Some((_, n)) => out.push(n),
                            None => {}
                        }
                    } else {
                        if c == q {
                            quote = None;
                        }
                        out.push(c);
                    }
                }
            }
        }
        rest = from.get(end..).unwrap_or_default();
        if rest.starts_with("}}") {
            out.push_str("}}");
            rest = rest.get(2..).unwrap_or_default();
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn backslashes_in_expressions_are_literal() {
        for (from, to) in [
            (r"{{ a | f('\1') }}\n", r"{{ a | f('\\1') }}\n"),
            (r"\d {{ 'a\'b' }}", r"\d {{ 'a\\\'b' }}"),
            (r#"{{ "\\" }} {{ x }}"#, r#"{{ "\\\\" }} {{ x }}"#),
            ("{{ unfinished '", "{{ unfinished '"),
        ] {
            assert_eq!(escape_backslashes(from), to);
        }
    }

    #[test]
    fn header_options() {
        let mut o = RenderOptions::default();
        let body = o.header("#jinja2: lstrip_blocks: True, variable_start_string:'[['\nrest\n");
        assert_eq!(body.ok(), Some("rest\n"));
        assert!(o.lstrip_blocks);
        assert_eq!(o.variable_start, "[[");
        assert!(RenderOptions::default().header("#jinja2: nonsense:1\n").is_err());
    }
}
