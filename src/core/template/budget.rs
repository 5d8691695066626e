//! What one rendering may cost, in bytes that are copied or compared.
//!
//! gotmpl bounds the iterations of loops and the depth of calls, but not their product with the length of texts, nor
//! templates that call each other twice. It has no hook for a step, but it passes every text of the template to the
//! output, also an empty one. So each list of nodes begins with empty texts: one for itself, and one for each function
//! that it calls. The output charges for each of them what a function call may cost: the longest text that can exist by then.

use std::{cell::Cell, fmt, sync::Arc};

use gotmpl::parse::{CommandNode, Expr, ListNode, Node, PipeNode, TextNode};

use super::value::MAX_LENGTH;

/// The most bytes that one rendering may copy or compare. A query with all of its arguments is below 1 MiB.
const MAX_WORK: usize = 64 << 20;

/// The most bytes that the functions of one rendering may return.
const MAX_MADE: usize = 16 << 20;

/// What a step costs at the least.
const STEP: usize = 64;

thread_local! {
    /// The bytes that functions have returned in the rendering that runs on this thread. gotmpl passes functions their
    /// arguments and nothing else.
    static MADE: Cell<usize> = const { Cell::new(0) };
}

/// Charges a function's result to the rendering that runs on this thread. Returns whether it may go on.
pub(super) fn made(bytes: usize) -> bool {
    let made = MADE.get().saturating_add(bytes);
    MADE.set(made);
    made <= MAX_MADE
}

/// Marks the steps of a tree.
pub(super) fn mark(list: &mut ListNode) {
    let mut calls = 1;
    for node in &mut list.nodes {
        match node {
            Node::List(inner) => mark(inner),
            Node::Action(action) => calls += of_pipe(&action.pipe),
            Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
                calls += of_pipe(&branch.pipe);
                mark(&mut branch.body);
                branch.else_body.iter_mut().for_each(mark);
            }
            Node::Template(call) => calls += call.pipe.as_ref().map_or(0, of_pipe),
            Node::Text(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_) => {}
        }
    }
    let step = Node::Text(TextNode { pos: list.pos, text: Arc::from("") });
    list.nodes.splice(..0, std::iter::repeat_n(step, calls));
}

fn of_pipe(pipe: &PipeNode) -> usize {
    pipe.commands.iter().map(of_command).sum()
}

fn of_command(command: &CommandNode) -> usize {
    command.args.iter().map(of_expr).sum()
}

fn of_expr(expr: &Expr) -> usize {
    match expr {
        Expr::Identifier(..) => 1,
        Expr::Pipe(_, pipe) => of_pipe(pipe),
        Expr::Chain(_, inner, _) => of_expr(inner),
        Expr::Dot(_)
        | Expr::Field(..)
        | Expr::Variable(..)
        | Expr::String(..)
        | Expr::Number(..)
        | Expr::Bool(..)
        | Expr::Nil(_) => 0,
    }
}

/// The output of one rendering. It refuses to grow beyond [`MAX_LENGTH`], and steps beyond the budget.
pub(super) struct Output {
    text: String,
    /// The bytes of the template's arguments.
    given: usize,
    work: usize,
    refusal: Option<Refusal>,
}

/// Why a rendering was ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    /// The text is longer than [`MAX_LENGTH`].
    TooLong,
    /// The rendering has used up its budget.
    TooMuchWork,
}

impl Output {
    /// Begins a rendering on this thread. `given` is the number of bytes of its arguments.
    pub(super) fn begin(given: usize) -> Self {
        MADE.set(0);
        Self { text: String::with_capacity(256), given, work: 0, refusal: None }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Why a write failed; nothing while none has.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }
}

impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let longest = self.given.saturating_add(MADE.get()).min(MAX_LENGTH);
        let cost = if text.is_empty() { longest } else { text.len() };
        self.work = self.work.saturating_add(STEP).saturating_add(cost);
        self.refusal = if self.work > MAX_WORK {
            Some(Refusal::TooMuchWork)
        } else if self.text.len() + text.len() > MAX_LENGTH {
            Some(Refusal::TooLong)
        } else {
            self.text.push_str(text);
            return Ok(());
        };
        Err(fmt::Error)
    }
}
