//! What Go's parser, and its type checks on structs, find and gotmpl does not.

use gotmpl::parse::{CommandNode, Expr, ListNode, Node, Parser, PipeNode};

use super::TemplateError;

/// The functions of `text/template`.
const FUNCTIONS: &[&str] = &[
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or",
    "print", "printf", "println", "slice", "urlquery",
];

/// Text that no template writes. Behind the template it must come out as text of the top level: else a block is not closed,
/// or closes what was never opened.
const END: &str = "\u{1}loadline-end\u{1}";

/// Refuses what Go refuses, and fields that the data does not have.
pub(super) fn check(text: &str, fields: &[&str]) -> Result<(), TemplateError> {
    let failed = |error: gotmpl::TemplateError| TemplateError::Parse(error.to_string());
    let with_end = format!("{text}{END}");
    let parser = Parser::with_name(None, &with_end, "<<", ">>").map_err(failed)?;
    let (top, defines) = parser.parse().map_err(failed)?;
    let is_closed = matches!(top.nodes.last(), Some(Node::Text(last)) if last.text.ends_with(END));
    if !is_closed {
        let problem = "a block is not closed by `<<end>>`, or an `<<end>>` closes none";
        return Err(TemplateError::Parse(problem.to_owned()));
    }
    let mut checker = Checker {
        fields,
        variables: vec!["$".to_owned()],
        loops: 0,
    };
    checker.list(&top, Dot::Root)?;
    for define in &defines {
        // A template of its own begins with whatever it is called with.
        let mut checker = Checker {
            fields,
            variables: vec!["$".to_owned()],
            loops: 0,
        };
        checker.list(&define.body, Dot::Other)?;
    }
    Ok(())
}

/// What the dot is.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Dot {
    Root,
    Other,
}

struct Checker<'a> {
    fields: &'a [&'a str],
    variables: Vec<String>,
    loops: usize,
}

impl Checker<'_> {
    fn list(&mut self, list: &ListNode, dot: Dot) -> Result<(), TemplateError> {
        list.nodes.iter().try_for_each(|node| self.node(node, dot))
    }

    fn node(&mut self, node: &Node, dot: Dot) -> Result<(), TemplateError> {
        match node {
            Node::Text(_) | Node::Define(_) => Ok(()),
            Node::List(list) => self.list(list, dot),
            Node::Action(action) => self.pipe(&action.pipe, dot),
            Node::Template(call) => call
                .pipe
                .as_ref()
                .map_or(Ok(()), |pipe| self.pipe(pipe, dot)),
            Node::If(branch) => self.branch(
                &branch.pipe,
                &branch.body,
                branch.else_body.as_ref(),
                dot,
                dot,
            ),
            Node::With(branch) => self.branch(
                &branch.pipe,
                &branch.body,
                branch.else_body.as_ref(),
                dot,
                Dot::Other,
            ),
            Node::Range(branch) => {
                self.loops += 1;
                let known = self.variables.len();
                self.pipe(&branch.pipe, dot)?;
                self.list(&branch.body, Dot::Other)?;
                self.loops -= 1;
                let result = branch
                    .else_body
                    .as_ref()
                    .map_or(Ok(()), |body| self.list(body, dot));
                self.variables.truncate(known);
                result
            }
            Node::Break(_) | Node::Continue(_) if self.loops > 0 => Ok(()),
            Node::Break(_) => Err(parse("`<<break>>` outside `<<range>>`")),
            Node::Continue(_) => Err(parse("`<<continue>>` outside `<<range>>`")),
        }
    }

    fn branch(
        &mut self,
        pipe: &PipeNode,
        body: &ListNode,
        else_body: Option<&ListNode>,
        dot: Dot,
        dot_in_body: Dot,
    ) -> Result<(), TemplateError> {
        let known = self.variables.len();
        self.pipe(pipe, dot)?;
        let declared = self.variables.len();
        self.list(body, dot_in_body)?;
        self.variables.truncate(declared);
        if let Some(body) = else_body {
            self.list(body, dot)?;
        }
        self.variables.truncate(known);
        Ok(())
    }

    fn pipe(&mut self, pipe: &PipeNode, dot: Dot) -> Result<(), TemplateError> {
        pipe.commands
            .iter()
            .try_for_each(|command| self.command(command, dot))?;
        for variable in &pipe.decl {
            if pipe.is_assign {
                self.variable(variable)?;
            } else {
                self.variables.push(variable.to_string());
            }
        }
        Ok(())
    }

    fn command(&mut self, command: &CommandNode, dot: Dot) -> Result<(), TemplateError> {
        command
            .args
            .iter()
            .try_for_each(|argument| self.expression(argument, dot))
    }

    fn expression(&mut self, expression: &Expr, dot: Dot) -> Result<(), TemplateError> {
        match expression {
            Expr::Field(_, path) if dot == Dot::Root => self.field(path.first()),
            Expr::Variable(_, name, path) => {
                self.variable(name)?;
                if name == "$" && dot == Dot::Root {
                    self.field(path.first())
                } else {
                    Ok(())
                }
            }
            Expr::Identifier(_, name) if FUNCTIONS.contains(&name.as_str()) => Ok(()),
            Expr::Identifier(_, name) => Err(parse(&format!("function \"{name}\" not defined"))),
            Expr::Pipe(_, pipe) => self.pipe(pipe, dot),
            Expr::Chain(_, inner, _) => self.expression(inner, dot),
            Expr::Field(..)
            | Expr::Dot(_)
            | Expr::String(..)
            | Expr::Number(..)
            | Expr::Bool(..)
            | Expr::Nil(_) => Ok(()),
        }
    }

    fn field(&self, name: Option<&impl AsRef<str>>) -> Result<(), TemplateError> {
        match name {
            Some(name) if !self.fields.contains(&name.as_ref()) => {
                Err(TemplateError::UnknownField {
                    field: name.as_ref().to_owned(),
                    known: self
                        .fields
                        .iter()
                        .map(|field| format!("`.{field}`"))
                        .collect::<Vec<_>>()
                        .join(", "),
                })
            }
            _ => Ok(()),
        }
    }

    fn variable(&self, name: &str) -> Result<(), TemplateError> {
        if self.variables.iter().any(|known| known == name) {
            Ok(())
        } else {
            Err(parse(&format!("undefined variable \"{name}\"")))
        }
    }
}

fn parse(problem: &str) -> TemplateError {
    TemplateError::Parse(problem.to_owned())
}
