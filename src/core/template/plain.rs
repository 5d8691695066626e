//! Whether a query template uses the names that it is rendered for in no way but to print them.

use gotmpl::parse::{
    BranchNode, CommandNode, Expr, ListNode, Node, Parser, PipeNode, Pos, SmolStr,
};

use super::engine::{LEFT, RIGHT};

/// The fields that hold names.
const NAMES: [&str; 2] = ["LabelMatchers", "LabelValuesByName"];

/// A use of `.LabelMatchers` or `.LabelValuesByName` other than to print one of them, or a value of the second.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct NamesUsed {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What is used, and how.
    pub reason: &'static str,
}

const COMPUTED: &str = "the names are used in another way than to be printed";
const WHOLE: &str = "the data is used as a whole, and with it the names";
const DEFINITION: &str = "definitions are not followed";

/// Looks for such a use in a template that compiles.
pub(super) fn names_are_plain(source: &str) -> Result<(), NamesUsed> {
    let unknown = NamesUsed { line: 1, column: 1, reason: "it does not parse" };
    let Ok((tree, defines)) = Parser::new(source, LEFT, RIGHT).and_then(Parser::parse) else {
        return Err(unknown);
    };
    let finder = Finder { source };
    if let Some(define) = defines.first() {
        return Err(finder.used(define.pos, DEFINITION));
    }
    finder.list(&tree, true)
}

struct Finder<'a> {
    source: &'a str,
}

impl Finder<'_> {
    /// `root` says whether dot is the data itself.
    fn list(&self, list: &ListNode, root: bool) -> Result<(), NamesUsed> {
        list.nodes.iter().try_for_each(|node| self.node(node, root))
    }

    fn node(&self, node: &Node, root: bool) -> Result<(), NamesUsed> {
        match node {
            Node::Text(_) | Node::Break(_) | Node::Continue(_) => Ok(()),
            Node::List(list) => self.list(list, root),
            Node::Action(action) if self.prints_names(&action.pipe, root) => Ok(()),
            Node::Action(action) => self.pipe(&action.pipe, root),
            Node::If(branch) => self.branch(branch, root, root),
            Node::Range(branch) | Node::With(branch) => self.branch(branch, root, false),
            Node::Template(call) => Err(self.used(call.pos, DEFINITION)),
            Node::Define(define) => Err(self.used(define.pos, DEFINITION)),
        }
    }

    fn branch(&self, branch: &BranchNode, root: bool, body: bool) -> Result<(), NamesUsed> {
        self.pipe(&branch.pipe, root)?;
        self.list(&branch.body, body)?;
        branch.else_body.as_ref().map_or(Ok(()), |list| self.list(list, root))
    }

    /// Whether this prints `.LabelMatchers` or a value of `.LabelValuesByName`, as it is.
    fn prints_names(&self, pipe: &PipeNode, root: bool) -> bool {
        let ([CommandNode { args, .. }], []) = (pipe.commands.as_slice(), pipe.decl.as_slice())
        else {
            return false;
        };
        match args.as_slice() {
            [Expr::Pipe(_, inner)] => self.prints_names(inner, root),
            [operand] => match path(operand, root) {
                Some([field]) => field == NAMES[0],
                Some([field, _]) => field == NAMES[1],
                _ => false,
            },
            [Expr::Identifier(_, function), values, label] => {
                function == "index"
                    && matches!(path(values, root), Some([field]) if field == NAMES[1])
                    && self.expr(label, root).is_ok()
            }
            _ => false,
        }
    }

    fn pipe(&self, pipe: &PipeNode, root: bool) -> Result<(), NamesUsed> {
        let mut operands = pipe.commands.iter().flat_map(|command| &command.args);
        operands.try_for_each(|operand| self.expr(operand, root))
    }

    /// What comes of an operand without names, such as a variable or the dot of a `<<range>>`, has none either.
    fn expr(&self, expr: &Expr, root: bool) -> Result<(), NamesUsed> {
        match expr {
            Expr::Pipe(_, pipe) => self.pipe(pipe, root),
            Expr::Chain(_, inner, _) => self.expr(inner, root),
            expr => match path(expr, root) {
                Some([]) => Err(self.used(expr.pos(), WHOLE)),
                Some([field, ..]) if NAMES.contains(&field.as_str()) => {
                    Err(self.used(expr.pos(), COMPUTED))
                }
                _ => Ok(()),
            },
        }
    }

    fn used(&self, pos: Pos, reason: &'static str) -> NamesUsed {
        let before = self.source.get(..pos.offset).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        NamesUsed { line: pos.line, column: line.chars().count() + 1, reason }
    }
}

/// The way from the data to what an operand stands for; nothing where it does not start there.
fn path(expr: &Expr, root: bool) -> Option<&[SmolStr]> {
    match expr {
        Expr::Dot(_) if root => Some(&[]),
        Expr::Field(_, fields) if root => Some(fields),
        Expr::Variable(_, name, fields) if name == "$" => Some(fields),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::template::QueryTemplate;

    fn plain(source: &str) -> Result<(), String> {
        let template = QueryTemplate::compile(source).unwrap();
        template.names_are_plain().map_err(ToString::to_string)
    }

    #[test]
    fn names_may_be_printed() {
        for source in [
            "sum(rate(<<.Series>>{<<.LabelMatchers>>,x=\"y\"}[2m])) by (<<.GroupBy>>)",
            "<<$.LabelMatchers>>",
            "<<(.LabelMatchers)>>",
            "<<- .LabelMatchers ->>",
            "<<index .LabelValuesByName \"pod\">>",
            "<<(index $.LabelValuesByName \"pod\")>>",
            "<<index .LabelValuesByName .GroupBy>>",
            "<<index .LabelValuesByName (index .GroupBySlice 0)>>",
            "<<.LabelValuesByName.pod>>",
            "<<if eq .GroupBy \"pod\">><<.LabelMatchers>><<else>>x<<end>>",
            "<<range $i, $label := .GroupBySlice>><<$label>>,<<.>><<$.LabelMatchers>><<end>>",
            "<<with .Series>><<.>><<$.LabelMatchers>><<else>><<.LabelMatchers>><<end>>",
            "<<$x := .Series | printf \"%q\">><<$x>>",
            "up",
        ] {
            assert_eq!(plain(source), Ok(()), "{source}");
        }
    }

    #[test]
    fn names_may_not_be_computed_with() {
        for (source, column, reason) in [
            ("<<if .LabelMatchers>>x<<end>>", 6, COMPUTED),
            ("<<if index .LabelValuesByName \"pod\">>x<<end>>", 12, COMPUTED),
            ("<<if .LabelValuesByName.pod>>x<<end>>", 6, COMPUTED),
            ("<<with .LabelMatchers>><<.>><<end>>", 8, COMPUTED),
            ("<<range .LabelValuesByName>><<.>><<end>>", 9, COMPUTED),
            ("<<range .GroupBySlice>><<$.LabelValuesByName>><<end>>", 26, COMPUTED),
            ("<<range .GroupBySlice>><<index $.LabelValuesByName . | len>><<end>>", 32, COMPUTED),
            ("<<$x := .LabelMatchers>><<$x>>", 9, COMPUTED),
            ("<<len .LabelMatchers>>", 7, COMPUTED),
            ("<<.LabelMatchers | printf \"%s\">>", 3, COMPUTED),
            ("<<printf \"%s\" .LabelMatchers>>", 15, COMPUTED),
            ("<<eq (index .LabelValuesByName \"pod\") \"x\">>", 13, COMPUTED),
            ("<<index .LabelValuesByName \"pod\" 0>>", 9, COMPUTED),
            ("<<index .LabelValuesByName .LabelMatchers>>", 9, COMPUTED),
            ("<<.LabelValuesByName>>", 3, COMPUTED),
            ("<<(.).LabelMatchers>>", 4, WHOLE),
            ("<<.>>", 3, WHOLE),
            ("<<$>>", 3, WHOLE),
            ("<<$x := .>><<$x.LabelMatchers>>", 9, WHOLE),
            ("<<with $>><<.LabelMatchers>><<end>>", 8, WHOLE),
            ("<<define \"x\">><<.>><<end>><<template \"x\" .>>", 3, DEFINITION),
        ] {
            let error = plain(source).unwrap_err();
            assert_eq!(error, format!("line 1, column {column}: {reason}"), "{source}");
        }
    }
}
