//! Values of headers that depend on the request.

use std::{collections::BTreeMap, fmt, sync::Arc};

use gotmpl::Value;

use super::{
    TemplateError,
    engine::Engine,
    value::{MARKER, text},
};

/// A compiled value of a header: text with `.Namespace` in it.
pub struct HeaderTemplate {
    engine: Engine,
    has_actions: bool,
}

impl HeaderTemplate {
    const FIELDS: [&'static str; 1] = ["Namespace"];

    /// Reads and checks a template.
    ///
    /// # Errors
    ///
    /// [`TemplateError::Syntax`] or [`TemplateError::Invalid`].
    pub fn compile(source: &str) -> Result<Self, TemplateError> {
        let engine = Engine::compile(source, &Self::FIELDS)?;
        Ok(Self { engine, has_actions: source.contains("<<") })
    }

    /// The value for a namespace; empty where there is none. It may be empty, too.
    ///
    /// # Errors
    ///
    /// [`TemplateError::Execution`].
    pub fn render(&self, namespace: &str) -> Result<String, TemplateError> {
        self.engine.execute(BTreeMap::from([
            (Arc::from("Namespace"), text(namespace)),
            (Arc::from(MARKER), Value::List(Self::FIELDS.map(text).into())),
        ]))
    }

    /// Whether the value may differ from namespace to namespace. Only of plain text it is known that it does not.
    pub fn may_depend_on_namespace(&self) -> bool {
        self.has_actions
    }
}

impl fmt::Debug for HeaderTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderTemplate").finish_non_exhaustive()
    }
}
