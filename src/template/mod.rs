//! The Jinja environment with Ansible's meaning: native values, lazy variables, filters, tests, lookups, `omit`,
//! and a record of what an evaluation touched that is not known.
//!
//! [`Templar`] evaluates text, expressions, conditions and whole YAML values in a [`Scope`]. The engine underneath is
//! minijinja; `rewrite` gives templates Ansible's meaning where the two differ.

mod args;
mod bytes;
mod cached;
mod check;
mod compile;
mod cycler;
mod engine;
mod error;
mod file;
mod filters;
mod globals;
mod held;
mod lazy;
mod lookups;
mod methods;
mod mutable;
mod numbers;
mod own;
mod py;
mod range;
mod rewrite;
mod scope;
mod tests;
mod time;
mod touch;
mod trust;

#[cfg(test)]
mod differential;
#[cfg(test)]
mod suite;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

pub use compile::{Extensions, RenderOptions};
pub use error::{TemplateError, TemplateErrorKind};
pub use filters::names as filter_names;
pub use lazy::hostvars_of;
pub use lookups::{LookupHost, names as lookup_names};
pub use minijinja::Value;
pub use scope::{HostVars, Layer, LayerOfLastResort, Raw, Scope, SearchPaths, absolute};
pub use tests::names as test_names;
pub use touch::{
    Touched, UnknownTouch, from_json, result_with_unknown, to_json, to_shown, unknown_value, unknowns_in, with_entry,
};

use compile::Compiled;
use engine::Site;
use minijinja::value::{Object, ObjectRepr, ValueKind};
use trust::Trust;

use crate::redact::Redactor;
use crate::source::{Node, NodeValue, Reads, Span};
use crate::vars::vault::Vault;

/// The result of an evaluation. If anything was touched that is not known, `value` means nothing.
#[derive(Debug, Clone)]
pub struct Evaluated<T = Value> {
    /// The result.
    pub value: T,
    /// What was looked at that is unknown or pending.
    pub touched: Touched,
}

impl<T> Evaluated<T> {
    /// Whether the value can be used.
    pub fn is_known(&self) -> bool {
        self.touched.is_empty()
    }

    fn map<U>(self, f: impl FnOnce(T) -> U) -> Evaluated<U> {
        Evaluated { value: f(self.value), touched: self.touched }
    }
}

/// What a templar is made of.
#[derive(Default)]
pub struct TemplarOptions {
    /// Decrypts `!vault` values.
    pub vault: Option<Arc<Vault>>,
    /// Learns every secret that is decrypted.
    pub redactor: Redactor,
    /// Does what lookups may not do themselves, such as storing a new password.
    pub lookup_host: Option<Arc<dyn LookupHost>>,
    /// The text of `ansible_managed`.
    pub ansible_managed: Option<String>,
    /// Which tags there are besides Jinja's own.
    pub extensions: Extensions,
    /// Notes which files of the controller are read.
    pub reads: Reads,
}

/// Evaluates templates. Cheap to clone; compiled templates are shared.
#[derive(Clone)]
pub struct Templar {
    inner: Arc<Inner>,
}

struct Inner {
    options: TemplarOptions,
    templates: RwLock<HashMap<Arc<str>, Cached>>,
    expressions: RwLock<HashMap<Arc<str>, Cached>>,
    /// Template files by their text and options.
    files: RwLock<Files>,
    /// Lists and dictionaries of files by address: the value of a plain one, nothing for one that must be evaluated.
    plain: RwLock<HashMap<usize, (Node, Option<Value>)>>,
    warnings: Mutex<Vec<String>>,
}

type Cached = Result<Arc<Compiled>, TemplateError>;
type Files = HashMap<(Arc<str>, RenderOptions), Cached>;

/// Compiled templates kept at most; more are dropped all at once.
const CACHE_LIMIT: usize = 50_000;

/// The singleton behind `omit`.
#[derive(Debug)]
struct Omit;

impl Object for Omit {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
}

/// The value of `omit`.
pub fn omit() -> Value {
    Value::from_object(Omit)
}

/// Whether a value is `omit`: its key, item or argument is to be left out.
pub fn is_omit(value: &Value) -> bool {
    value.downcast_object_ref::<Omit>().is_some()
}

/// A value's text as Ansible prints it.
pub fn display(value: &Value) -> String {
    if value.is_none() { String::new() } else { py::str(value) }
}

/// The name Python has for a value's type.
pub fn type_name(value: &Value) -> &'static str {
    py::type_name(value)
}

/// Whether text holds a template.
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#") || text.starts_with("#jinja2:")
}

impl Default for Templar {
    fn default() -> Self {
        Templar::new(TemplarOptions::default())
    }
}

impl std::fmt::Debug for Templar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Templar")
    }
}

impl Templar {
    /// A templar with these options.
    pub fn new(options: TemplarOptions) -> Self {
        Templar {
            inner: Arc::new(Inner {
                options,
                templates: RwLock::default(),
                expressions: RwLock::default(),
                files: RwLock::default(),
                plain: RwLock::default(),
                warnings: Mutex::default(),
            }),
        }
    }

    /// The redactor that learns decrypted secrets.
    pub fn redactor(&self) -> &Redactor {
        &self.inner.options.redactor
    }

    /// Notes which files of the controller are read.
    pub fn reads(&self) -> &Reads {
        &self.inner.options.reads
    }

    /// The vault, if there is one.
    pub fn vault(&self) -> Option<&Arc<Vault>> {
        self.inner.options.vault.as_ref()
    }

    fn lookup_host(&self) -> Option<&Arc<dyn LookupHost>> {
        self.inner.options.lookup_host.as_ref()
    }

    /// What `ansible_managed` is when no variable says otherwise.
    pub fn ansible_managed(&self) -> &str {
        self.inner.options.ansible_managed.as_deref().unwrap_or("Ansible managed")
    }

    /// Warnings since the last call, each once.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.inner.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn warn(&self, message: impl Into<String>) {
        let message = message.into();
        let mut warnings = self.inner.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if !warnings.contains(&message) {
            warnings.push(message);
        }
    }

    /// Evaluates text. Its value is native if the text is nothing but one `{{ expression }}`; text without a template
    /// is returned as it is. `omit` is returned as [`omit`].
    pub fn template_str(&self, text: &str, scope: &Scope) -> Result<Evaluated, TemplateError> {
        if !is_template(text) {
            return Ok(Evaluated { value: Value::from(text), touched: Touched::default() });
        }
        self.top(|| self.final_text(text, scope, None, false))
    }

    /// The text of a template that cannot be evaluated, with Ansible's sentence in place of each expression that is why.
    /// `None` where statements or something unknown are in it.
    pub fn with_errors(&self, text: &str, scope: &Scope) -> Option<String> {
        let pieces = compile::pieces(text)?;
        let (mut out, mut errors) = (String::new(), 0);
        let mut say = |why: &str| {
            errors += 1;
            format!("<< error {errors} - {why} >>")
        };
        for piece in pieces {
            let source = match piece {
                compile::Piece::Text(text) => {
                    out.push_str(&text);
                    continue;
                }
                compile::Piece::Expression(source) => source,
            };
            match self.expression(&source, scope) {
                Ok(value) if value.is_known() => out.push_str(&display(&value.value)),
                Ok(_) => return None,
                Err(error) => {
                    out.push_str(&say(&error.innermost()));
                    if !error.is_undefined() {
                        out.push_str(&say("template potentially truncated"));
                        break;
                    }
                }
            }
        }
        Some(out)
    }

    /// Evaluates a value of a file, deeply. `omit` leaves its dictionary or list; `!unsafe` is left alone;
    /// `!vault` is decrypted.
    pub fn template_node(&self, node: &Node, scope: &Scope) -> Result<Evaluated, TemplateError> {
        if let Some(value) = self.constant(node) {
            return Ok(Evaluated { value, touched: Touched::default() });
        }
        self.top(|| self.final_node(node, scope, false, 0))
    }

    /// Like [`Templar::template_node`], but what is not known inside the result stays in it untouched: for the items
    /// of a loop, which may read only the known keys.
    pub fn template_node_keep_unknown(&self, node: &Node, scope: &Scope) -> Result<Evaluated, TemplateError> {
        if let Some(value) = self.constant(node) {
            return Ok(Evaluated { value, touched: Touched::default() });
        }
        self.top(|| self.final_node(node, scope, true, 0))
    }

    /// The value of a variable, or `None` if there is none of this name.
    pub fn variable(&self, name: &str, scope: &Scope) -> Result<Option<Evaluated>, TemplateError> {
        if !scope.contains(name) {
            return Ok(None);
        }
        self.top(|| {
            let value = scope.value(name).unwrap_or_default();
            if value.is_undefined() {
                let mut error = TemplateError::new(TemplateErrorKind::Undefined, format!("'{name}' is undefined"));
                error.undefined = Some(name.into());
                if let Some(why) = touch::cause_of(name) {
                    error.because(why);
                }
                return Err(error);
            }
            lazy::finalize(&value, false).map_err(|e| Self::plain_error(&e))
        })
        .map(Some)
    }

    /// Evaluates a bare expression. Braces around it are tolerated, with a warning.
    pub fn expression(&self, text: &str, scope: &Scope) -> Result<Evaluated, TemplateError> {
        self.top(|| self.final_expression(text, scope, None))
    }

    /// Evaluates a bare expression that stands at a place.
    pub fn expression_at(&self, text: &str, span: &Span, scope: &Scope) -> Result<Evaluated, TemplateError> {
        self.top(|| self.final_expression(text, scope, Some(span)))
    }

    /// Evaluates a condition: a boolean, an expression, or a list of which all must hold, in order, up to the first
    /// that does not. What Ansible 2.18 took for true or false still is, with a warning.
    pub fn condition(&self, node: &Node, scope: &Scope) -> Result<Evaluated<bool>, TemplateError> {
        match &node.value {
            NodeValue::Bool(b) => Ok(Evaluated { value: *b, touched: Touched::default() }),
            NodeValue::Seq(items) => {
                for item in items.iter() {
                    let one = self.condition(item, scope)?;
                    if !one.value || !one.is_known() {
                        return Ok(one);
                    }
                }
                Ok(Evaluated { value: true, touched: Touched::default() })
            }
            NodeValue::Str(text) => Ok(self
                .top(|| self.condition_text(text, scope, Some(&node.span)).map(Value::from))?
                .map(|v| v.is_true())),
            NodeValue::Null => {
                self.warn(format!("{}: an empty condition is taken for true", node.span));
                Ok(Evaluated { value: true, touched: Touched::default() })
            }
            NodeValue::Int(_) | NodeValue::Float(_) | NodeValue::Map(_) => {
                let value = self.template_node(node, scope)?;
                self.warn(format!("{}: a condition should be a boolean, not {}", node.span, node.kind()));
                Ok(value.map(|v| v.is_true()))
            }
        }
    }

    /// Reads a value outside any evaluation and returns what that touched: for the engine's own look at a result.
    pub fn reading<T>(&self, f: impl FnOnce() -> T) -> Evaluated<T> {
        let (value, touched) = touch::recording(f);
        Evaluated { value, touched: touched.unwrap_or_default() }
    }

    /// The items a loop goes over: what `with_<kind>` makes of its value.
    /// `action` is the name of the task's module.
    pub fn loop_items(
        &self,
        kind: &str,
        value: &Value,
        action: &str,
        scope: &Scope,
    ) -> Result<Evaluated<Vec<Value>>, TemplateError> {
        let evaluated =
            self.top(|| lookups::loop_items(kind, value, action, scope).map_err(|e| Self::plain_error(&e)))?;
        Ok(evaluated.map(|v| v.try_iter().into_iter().flatten().collect()))
    }

    /// Runs with a recorder. An error of an evaluation that touched something unknown is no error.
    fn top(&self, f: impl FnOnce() -> Result<Value, TemplateError>) -> Result<Evaluated, TemplateError> {
        let (result, touched) = touch::recording(f);
        match touched {
            Some(touched) if !touched.is_empty() => Ok(Evaluated { value: Value::UNDEFINED, touched }),
            touched => Ok(Evaluated { value: result?, touched: touched.unwrap_or_default() }),
        }
    }

    fn constant(&self, node: &Node) -> Option<Value> {
        match &node.value {
            NodeValue::Seq(_) | NodeValue::Map(_) => self.plain(node),
            _ if node.is_template() || node.is_vault() => None,
            _ => Some(lazy::plain_value(node)),
        }
    }

    /// The value of a list or dictionary without templates, made once.
    fn plain(&self, node: &Node) -> Option<Value> {
        let address = std::ptr::from_ref(&**node) as usize;
        if let Some((_, value)) = self.inner.plain.read().unwrap_or_else(PoisonError::into_inner).get(&address) {
            return value.clone();
        }
        lazy::learn_below(node, self.redactor());
        let value = (!lazy::needs_evaluation(node)).then(|| lazy::plain_value(node));
        let mut cache = self.inner.plain.write().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHE_LIMIT {
            cache.clear();
        }
        cache.insert(address, (node.clone(), value.clone()));
        value
    }

    /// A template of a variable, inside an evaluation.
    fn nested(&self, node: &Node, text: &Arc<str>, scope: &Scope, name: Option<&str>) -> Value {
        let invalid = |e: TemplateError| Value::from(engine::wrap(e));
        match touch::enter(Arc::as_ptr(text).cast::<u8>() as usize, scope.identity()) {
            touch::Entered::Yes => {}
            touch::Entered::Loop => {
                let what = name.map(|n| format!(" of '{n}'")).unwrap_or_default();
                let message = format!("recursive loop detected in template string{what}");
                return invalid(TemplateError::new(TemplateErrorKind::Loop, message).at(&node.span));
            }
            touch::Entered::TooDeep => {
                let message = format!(
                    "recursive loop detected in template string: variables refer to each other more than {} deep",
                    touch::MAX_NESTING
                );
                return invalid(TemplateError::new(TemplateErrorKind::Loop, message).at(&node.span));
            }
        }
        let compiled = match self.compiled_in(text, scope) {
            Ok(compiled) => compiled,
            Err(e) => {
                touch::leave();
                return invalid(e.at(&node.span));
            }
        };
        let result = engine::run(&compiled, scope);
        touch::leave();
        match result {
            Ok(value) if value.is_undefined() => {
                if let Some(name) = name {
                    touch::note_cause(name, engine::cause(&compiled, scope, None, Some(&node.span)));
                }
                value
            }
            Ok(value) => engine::restore_newlines(value, text, "\n"),
            Err(e) if engine::is_undefined(&e) => {
                if let Some(name) = name {
                    touch::note_cause(name, engine::cause(&compiled, scope, Some(&e), Some(&node.span)));
                }
                Value::UNDEFINED
            }
            Err(e) => {
                let site = Site { span: Some(&node.span), file: None, skipped_lines: 0 };
                invalid(engine::explain(&e, &compiled, scope, &site))
            }
        }
    }

    fn final_text(
        &self,
        text: &str,
        scope: &Scope,
        span: Option<&Span>,
        keep_unknown: bool,
    ) -> Result<Value, TemplateError> {
        let placed = |e: TemplateError| match span {
            Some(span) => e.at(span),
            None => e,
        };
        let compiled = self.compiled_in(text, scope).map_err(placed)?;
        let site = Site { span, file: None, skipped_lines: 0 };
        let entered =
            span.is_some() && matches!(touch::enter(text.as_ptr() as usize, scope.identity()), touch::Entered::Yes);
        let result = engine::run(&compiled, scope);
        if entered {
            touch::leave();
        }
        let value = result.map_err(|e| engine::explain(&e, &compiled, scope, &site))?;
        if value.is_undefined() {
            return Err(engine::undefined_result(&compiled, scope, &site));
        }
        let value = lazy::finalize(&value, keep_unknown).map_err(|e| engine::explain(&e, &compiled, scope, &site))?;
        Ok(engine::restore_newlines(value, text, "\n"))
    }

    fn final_node(&self, node: &Node, scope: &Scope, keep: bool, depth: usize) -> Result<Value, TemplateError> {
        if depth > 100 {
            return Err(TemplateError::new(TemplateErrorKind::Limit, "nested more than 100 levels deep").at(&node.span));
        }
        match &node.value {
            NodeValue::Str(text) if node.is_template() => self.final_text(text, scope, Some(&node.span), keep),
            NodeValue::Str(_) if node.is_vault() => self.decrypt(node).map(Value::from),
            NodeValue::Seq(items) => {
                if let Some(value) = self.plain(node) {
                    return Ok(value);
                }
                let mut out = Vec::with_capacity(items.len());
                for item in items.iter() {
                    let value = self.final_node(item, scope, keep, depth + 1)?;
                    if !is_omit(&value) {
                        out.push(value);
                    }
                }
                Ok(Value::from(out))
            }
            NodeValue::Map(map) => {
                if let Some(value) = self.plain(node) {
                    return Ok(value);
                }
                let mut out = Vec::with_capacity(map.len());
                for (key, item) in map.iter() {
                    let value = self.final_node(item, scope, keep, depth + 1)?;
                    if !is_omit(&value) {
                        // Keys are taken as they are written.
                        out.push((lazy::plain_value(key), value));
                    }
                }
                Ok(Value::from_pairs(out))
            }
            _ => Ok(lazy::plain_value(node)),
        }
    }

    fn final_expression(&self, text: &str, scope: &Scope, span: Option<&Span>) -> Result<Value, TemplateError> {
        let text = text.trim();
        if text.starts_with("{{") && text.ends_with("}}") {
            self.warn(format!("{}an expression needs no braces around it", at(span)));
            return self.final_text(text, scope, span, false);
        }
        self.run_expression(text, scope, span)
    }

    fn run_expression(&self, text: &str, scope: &Scope, span: Option<&Span>) -> Result<Value, TemplateError> {
        self.run_compiled(self.compiled_expression(text), scope, span)
    }

    fn run_compiled(&self, compiled: Cached, scope: &Scope, span: Option<&Span>) -> Result<Value, TemplateError> {
        let placed = |e: TemplateError| match span {
            Some(span) => e.at(span),
            None => e,
        };
        let compiled = compiled.map_err(placed)?;
        let site = Site { span, file: None, skipped_lines: 0 };
        let value = engine::run(&compiled, scope).map_err(|e| engine::explain(&e, &compiled, scope, &site))?;
        if value.is_undefined() {
            return Err(engine::undefined_result(&compiled, scope, &site));
        }
        lazy::finalize(&value, false).map_err(|e| engine::explain(&e, &compiled, scope, &site))
    }

    fn condition_text(&self, text: &str, scope: &Scope, span: Option<&Span>) -> Result<bool, TemplateError> {
        let text = text.trim();
        if text.is_empty() {
            self.warn(format!("{}an empty condition is taken for true", at(span)));
            return Ok(true);
        }
        let value = if text.contains("{{") || text.contains("{%") {
            self.warn(format!("{}a condition needs no braces: it is an expression already", at(span)));
            let whole =
                (text.starts_with("{{") && text.ends_with("}}")) || (text.starts_with("{%") && text.ends_with("%}"));
            if !whole && self.compiled_expression(text).is_ok() {
                self.run_expression(text, scope, span)?
            } else {
                let value = self.final_text(text, scope, span, false)?;
                match value.as_str().map(str::trim) {
                    Some("") => Value::from(true),
                    Some(expr) => match trust::of(expr, text, scope) {
                        Trust::Written => self.run_expression(expr, scope, span)?,
                        Trust::Foreign => {
                            self.run_compiled(compile::expression(expr, false).map(Arc::new), scope, span)?
                        }
                        Trust::Refused => {
                            let why = "the condition is a text that a template gave, which is in no file of yours, and it calls \
                                       functions: it is not evaluated, since it may come from a host. Write the expression \
                                       itself, without braces";
                            return Err(span.iter().fold(TemplateError::runtime(why), |error, span| error.at(span)));
                        }
                    },
                    None => value,
                }
            }
        } else {
            self.run_expression(text, scope, span)?
        };
        if value.kind() == ValueKind::Bool {
            return Ok(value.is_true());
        }
        // Until 2.19 a string was taken for an expression once more when it came out of a variable.
        self.warn(format!(
            "{}the condition's result is of type '{}', not a boolean; it is taken for {}",
            at(span),
            py::type_name(&value),
            if value.is_true() { "true" } else { "false" }
        ));
        Ok(value.is_true())
    }

    /// The text of a `!vault` value; the redactor learns it.
    fn decrypt(&self, node: &Node) -> Result<String, TemplateError> {
        let text = node.as_str().unwrap_or_default();
        let vault = self.inner.options.vault.as_ref().ok_or_else(|| {
            TemplateError::runtime("a vault value is used, but no vault password was given (--vault-password-file)")
                .at(&node.span)
        })?;
        let clear = vault
            .decrypt_str(text)
            .map_err(|e| TemplateError::runtime(format!("cannot decrypt the vault value: {e}")).at(&node.span))?;
        self.redactor().add(&clear);
        Ok(clear)
    }

    fn plain_error(e: &minijinja::Error) -> TemplateError {
        engine::explain(e, &Compiled::Text(Value::UNDEFINED), &Scope::new(&Templar::default()), &Site::NOWHERE)
    }
}

fn at(span: Option<&Span>) -> String {
    span.filter(|s| !s.is_generated()).map(|s| format!("{s}: ")).unwrap_or_default()
}
