//! What Go's parser refuses and gotmpl's does not, and what must fail when it is executed.

use gotmpl::parse::{
    BranchNode, CommandNode, Expr, ListNode, Node, Number, PipeNode, Pos, SmolStr,
};

use super::{TemplateError, format};

/// Go's predefined functions.
const FUNCTIONS: [&str; 19] = [
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or",
    "print", "printf", "println", "slice", "urlquery",
];

/// Walks one tree: that of the template, or that of a definition.
pub(super) struct Checker<'a> {
    source: &'a str,
    /// The fields of `$`; `None` in a definition, where `$` is what the caller passes.
    fields: Option<&'a [&'a str]>,
    /// Declared so far, innermost last.
    variables: Vec<SmolStr>,
    /// How many loops are around.
    loops: usize,
}

impl<'a> Checker<'a> {
    pub(super) fn new(source: &'a str, fields: Option<&'a [&'a str]>) -> Self {
        Self { source, fields, variables: vec![SmolStr::new_static("$")], loops: 0 }
    }

    /// Checks the tree, and has values printed as Go prints them where gotmpl itself would not.
    pub(super) fn check(&mut self, tree: &mut ListNode) -> Result<(), TemplateError> {
        self.list(tree, self.fields.is_some())
    }

    /// `root` says whether dot is known to be the data itself.
    fn list(&mut self, list: &mut ListNode, root: bool) -> Result<(), TemplateError> {
        list.nodes.iter_mut().try_for_each(|node| self.node(node, root))
    }

    fn node(&mut self, node: &mut Node, root: bool) -> Result<(), TemplateError> {
        match node {
            Node::List(list) => self.list(list, root),
            Node::Action(action) => {
                self.pipe(&action.pipe, root)?;
                self.print_like_go(&mut action.pipe, root);
                Ok(())
            }
            Node::If(branch) => self.branch(branch, root, root),
            Node::With(branch) => {
                let same = self.is_root(&branch.pipe, root);
                self.branch(branch, root, same)
            }
            Node::Range(branch) => {
                self.loops += 1;
                let checked = self.branch(branch, root, false);
                self.loops -= 1;
                checked
            }
            Node::Template(call) => call.pipe.as_ref().map_or(Ok(()), |pipe| self.pipe(pipe, root)),
            Node::Define(define) => Checker::new(self.source, None).check(&mut define.body),
            Node::Break(pos) if self.loops == 0 => {
                Err(self.syntax(*pos, "<<break>> outside <<range>>".to_owned()))
            }
            Node::Continue(pos) if self.loops == 0 => {
                Err(self.syntax(*pos, "<<continue>> outside <<range>>".to_owned()))
            }
            Node::Text(_) | Node::Break(_) | Node::Continue(_) => Ok(()),
        }
    }

    fn branch(
        &mut self,
        branch: &mut BranchNode,
        root: bool,
        root_in_body: bool,
    ) -> Result<(), TemplateError> {
        let outer = self.variables.len();
        self.pipe(&branch.pipe, root)?;
        self.list(&mut branch.body, root_in_body)?;
        if let Some(else_body) = &mut branch.else_body {
            self.list(else_body, root)?;
        }
        self.variables.truncate(outer);
        Ok(())
    }

    fn pipe(&mut self, pipe: &PipeNode, root: bool) -> Result<(), TemplateError> {
        for variable in &pipe.decl {
            if pipe.is_assign && !self.variables.contains(variable) {
                return Err(self.invalid(pipe.pos, format!("undefined variable {variable}")));
            }
            // Go declares before it reads the right side.
            self.variables.push(variable.clone());
        }
        for (stage, command) in pipe.commands.iter().enumerate() {
            self.command(command, root, stage > 0)?;
        }
        Ok(())
    }

    fn command(
        &mut self,
        command: &CommandNode,
        root: bool,
        piped: bool,
    ) -> Result<(), TemplateError> {
        if let Some(
            Expr::Bool(pos, _)
            | Expr::Dot(pos)
            | Expr::Nil(pos)
            | Expr::Number(pos, _)
            | Expr::String(pos, _),
        ) = command.args.first()
            && piped
        {
            return Err(self.syntax(*pos, "a constant cannot take what is piped to it".to_owned()));
        }
        if let [Expr::Identifier(_, function), Expr::String(pos, format), operands @ ..] =
            command.args.as_slice()
            && function == "printf"
        {
            format::check(format, operands.len() + usize::from(piped))
                .map_err(|reason| self.invalid(*pos, reason))?;
        }
        command.args.iter().try_for_each(|expr| self.expr(expr, root))
    }

    fn expr(&mut self, expr: &Expr, root: bool) -> Result<(), TemplateError> {
        match expr {
            Expr::Field(pos, names) if root => self.field(*pos, names),
            Expr::Variable(pos, name, _) if !self.variables.contains(name) => {
                Err(self.syntax(*pos, format!("undefined variable {name}")))
            }
            Expr::Variable(pos, name, names) if name == "$" => self.field(*pos, names),
            Expr::Identifier(pos, name) if !FUNCTIONS.contains(&name.as_str()) => {
                Err(self.syntax(*pos, format!("unknown function {name}")))
            }
            Expr::Pipe(_, pipe) => self.pipe(pipe, root),
            Expr::Chain(_, inner, _) => self.expr(inner, root),
            _ => Ok(()),
        }
    }

    /// The first name after the root.
    fn field(&self, pos: Pos, names: &[SmolStr]) -> Result<(), TemplateError> {
        match (self.fields, names.first()) {
            (Some(fields), Some(name)) if !fields.contains(&name.as_str()) => {
                let known: Vec<_> = fields.iter().map(|field| format!(".{field}")).collect();
                let known = known.join(" ");
                Err(self.invalid(pos, format!("there is no .{name} here, but {known}")))
            }
            _ => Ok(()),
        }
    }

    /// Whether the pipeline is nothing but the data itself.
    fn is_root(&self, pipe: &PipeNode, root: bool) -> bool {
        match sole_operand(pipe) {
            Some(Expr::Dot(_)) => root,
            Some(Expr::Variable(_, name, names)) => {
                self.fields.is_some() && name == "$" && names.is_empty()
            }
            _ => false,
        }
    }

    /// gotmpl prints the root as a map and floats in its own way; through `print` both come out as in Go.
    fn print_like_go(&self, pipe: &mut PipeNode, root: bool) {
        let float = matches!(sole_operand(pipe), Some(Expr::Number(_, Number::Float(_))));
        if pipe.decl.is_empty() && (float || self.is_root(pipe, root)) {
            let print = Expr::Identifier(pipe.pos, SmolStr::new_static("print"));
            pipe.commands.push(CommandNode { pos: pipe.pos, args: vec![print] });
        }
    }

    fn syntax(&self, pos: Pos, reason: String) -> TemplateError {
        let (line, column) = self.place(pos);
        TemplateError::Syntax { line, column, reason }
    }

    fn invalid(&self, pos: Pos, reason: String) -> TemplateError {
        let (line, column) = self.place(pos);
        TemplateError::Invalid { line, column, reason }
    }

    fn place(&self, pos: Pos) -> (usize, usize) {
        let before = self.source.get(..pos.offset).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        (pos.line, line.chars().count() + 1)
    }
}

fn sole_operand(pipe: &PipeNode) -> Option<&Expr> {
    match pipe.commands.as_slice() {
        [CommandNode { args, .. }] => match args.as_slice() {
            [operand] => Some(operand),
            _ => None,
        },
        _ => None,
    }
}
