//! Templates that were compiled once: a run evaluates the same texts for every host.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use super::compile::{self, Compiled};
use super::{CACHE_LIMIT, Cached, RenderOptions, Scope, SearchPaths, Templar, TemplateError, engine};

/// Compiled template files kept at most.
const FILE_LIMIT: usize = 500;

impl Templar {
    pub(super) fn compiled(&self, text: &str) -> Cached {
        Self::cached(&self.inner.templates, text, || {
            if !engine::stands_alone(text) {
                return None;
            }
            Some(self.compile_value(text, &SearchPaths::default()))
        })
        .unwrap_or_else(|| self.compile_value(text, &SearchPaths::default()).map(Arc::new))
    }

    pub(super) fn compiling(&self) -> compile::Compiling<'_> {
        compile::Compiling { reads: self.reads(), extensions: self.inner.options.extensions }
    }

    pub(super) fn compile_value(&self, text: &str, paths: &SearchPaths) -> Result<Compiled, TemplateError> {
        let mut options = RenderOptions::default();
        let body = options.header(text)?;
        compile::template(body, true, &options, paths, None, self.compiling())
    }

    pub(super) fn compiled_in(&self, text: &str, scope: &Scope) -> Cached {
        if engine::stands_alone(text) {
            self.compiled(text)
        } else {
            self.compile_value(text, scope.paths()).map(Arc::new)
        }
    }

    /// A file's template. One that includes others is compiled each time: they may have changed.
    pub(super) fn compiled_file(
        &self,
        body: &str,
        options: &RenderOptions,
        paths: &SearchPaths,
        name: &Path,
    ) -> Cached {
        let compile = || compile::template(body, false, options, paths, Some(name), self.compiling()).map(Arc::new);
        if !engine::stands_alone(body) {
            return compile();
        }
        let key = (Arc::<str>::from(body), options.clone());
        let cache = &self.inner.files;
        if let Some(found) = cache.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return found.clone();
        }
        let compiled = compile();
        let mut cache = cache.write().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= FILE_LIMIT {
            cache.clear();
        }
        cache.insert(key, compiled.clone());
        compiled
    }

    pub(super) fn compiled_expression(&self, text: &str) -> Cached {
        Self::cached(&self.inner.expressions, text, || Some(compile::expression(text, true)))
            .unwrap_or_else(|| compile::expression(text, true).map(Arc::new))
    }

    fn cached(
        cache: &RwLock<HashMap<Arc<str>, Cached>>,
        text: &str,
        compile: impl FnOnce() -> Option<Result<Compiled, TemplateError>>,
    ) -> Option<Cached> {
        if let Some(found) = cache.read().unwrap_or_else(PoisonError::into_inner).get(text) {
            return Some(found.clone());
        }
        let compiled = compile()?.map(Arc::new);
        let mut cache = cache.write().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHE_LIMIT {
            cache.clear();
        }
        cache.insert(text.into(), compiled.clone());
        Some(compiled)
    }
}
