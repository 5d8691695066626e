//! gotmpl, made as strict as Go.
//!
//! gotmpl 0.6.1 takes text after a stray `<<end>>` and a missing `<<end>>` for the end of the template. So the template
//! is parsed with a sentinel appended, which must come out as text at the top. The rest is in [`super::check`].

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::parse::{ListNode, Node, Parser};
use gotmpl::{Template, TemplateError as GoError, Value};

use super::budget::{self, Output, Refusal};
use super::check::Checker;
use super::value::{TOO_MUCH_WORK, too_long};
use super::{TemplateError, functions};

pub(super) const LEFT: &str = "<<";
pub(super) const RIGHT: &str = ">>";

/// Cannot be mistaken for the user's text, and no trim marker removes it.
const SENTINEL: &str = "\u{0}the end of the template\u{0}";

/// The name under which the checked tree is kept beside the user's `<<define>>`s.
const MAIN: &str = "\u{0}main";

/// Templates are written by people; longer than this, in bytes, one was not.
const MAX_SOURCE: usize = 64 << 10;

/// The most actions of a template. The parser limits how deep blocks may be, but takes a chain of `else if` as deep as
/// the stack is.
const MAX_ACTIONS: usize = 200;

/// A checked template for data with known fields.
pub(super) struct Engine {
    template: Template,
}

impl Engine {
    pub(super) fn compile(source: &str, fields: &[&str]) -> Result<Self, TemplateError> {
        check_size(source)?;
        // Also finds what only gotmpl's merging of definitions refuses.
        let mut template = functions::register(Template::new(""))
            .delims(LEFT, RIGHT)
            .max_range_iters(100_000)
            .parse(source)
            .map_err(syntax_error)?;

        let marked = format!("{source}{SENTINEL}");
        let (mut tree, mut defines) =
            Parser::new(&marked, LEFT, RIGHT).and_then(Parser::parse).map_err(syntax_error)?;
        if !remove_sentinel(&mut tree) {
            let unclosed = defines.iter().any(|define| has_sentinel(&define.body))
                || tree.nodes.iter().any(node_has_sentinel);
            let reason =
                if unclosed { "a block has no <<end>>" } else { "unexpected <<end>> or <<else>>" };
            let last = source.lines().count().max(1);
            let column = source.lines().last().map_or(0, |line| line.chars().count()) + 1;
            return Err(TemplateError::Syntax { line: last, column, reason: reason.to_owned() });
        }

        Checker::new(source, Some(fields)).check(&mut tree)?;
        for define in &mut defines {
            Checker::new(source, None).check(&mut define.body)?;
        }
        budget::mark(&mut tree);
        let names: Vec<_> = template.templates().into_iter().map(str::to_owned).collect();
        for name in names {
            let Some(mut body) = template.lookup(&name).cloned() else { continue };
            budget::mark(&mut body);
            template = template.add_parse_tree(&name, body);
        }
        Ok(Self { template: template.add_parse_tree(MAIN, tree) })
    }

    pub(super) fn execute(&self, root: BTreeMap<Arc<str>, Value>) -> Result<String, TemplateError> {
        let mut out = Output::begin(root.values().map(bytes).sum());
        let root = Value::Map(Arc::new(root));
        let result = self.template.execute_template_fmt(&mut out, MAIN, &root);
        let reason = match (result, out.refusal()) {
            (Ok(()), _) => return Ok(out.into_text()),
            (Err(_), Some(Refusal::TooLong)) => too_long(),
            (Err(_), Some(Refusal::TooMuchWork)) => TOO_MUCH_WORK.to_owned(),
            (Err(GoError::Exec(reason)), None) => reason,
            (Err(error), None) => error.to_string(),
        };
        Err(TemplateError::Execution { reason })
    }
}

/// The bytes of all texts in a value.
fn bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::List(values) => values.iter().map(bytes).sum(),
        Value::Map(values) => values.iter().map(|(key, value)| key.len() + bytes(value)).sum(),
        _ => 0,
    }
}

fn check_size(source: &str) -> Result<(), TemplateError> {
    let reason = if source.len() > MAX_SOURCE {
        format!("longer than {MAX_SOURCE} bytes")
    } else if source.matches(LEFT).nth(MAX_ACTIONS).is_some() {
        format!("more than {MAX_ACTIONS} actions")
    } else {
        return Ok(());
    };
    Err(TemplateError::Invalid { line: 1, column: 1, reason })
}

fn syntax_error(error: GoError) -> TemplateError {
    match error {
        GoError::Parse { line, col, message, .. } | GoError::Lex { line, col, message, .. } => {
            TemplateError::Syntax { line, column: col, reason: message }
        }
        error => TemplateError::Syntax { line: 1, column: 1, reason: error.to_string() },
    }
}

/// Takes the sentinel away from the end of the top level; false if it is not there.
fn remove_sentinel(tree: &mut ListNode) -> bool {
    let Some(Node::Text(last)) = tree.nodes.last_mut() else {
        return false;
    };
    let Some(rest) = last.text.strip_suffix(SENTINEL) else {
        return false;
    };
    last.text = Arc::from(rest);
    true
}

fn has_sentinel(list: &ListNode) -> bool {
    list.nodes.iter().any(node_has_sentinel)
}

fn node_has_sentinel(node: &Node) -> bool {
    match node {
        Node::Text(text) => text.text.ends_with(SENTINEL),
        Node::List(list) => has_sentinel(list),
        Node::If(branch) | Node::Range(branch) | Node::With(branch) => {
            has_sentinel(&branch.body) || branch.else_body.as_ref().is_some_and(has_sentinel)
        }
        _ => false,
    }
}
