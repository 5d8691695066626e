//! The text of a query, from its syntax tree.

use std::{fmt::Write as _, time::Duration};

use promql_parser::{
    label::{METRIC_NAME, MatchOp, Matcher},
    parser::{
        AggregateExpr, AtModifier, BinModifier, BinaryExpr, Call, Expr, LabelModifier, Offset,
        SubqueryExpr, VectorMatchCardinality, VectorMatchFillValues, VectorSelector,
        token::T_COUNT_VALUES,
    },
};

use super::{Enforced, MAX_DEPTH, MAX_SELECTORS, NotEnforced};
use crate::core::{
    duration,
    go_quote::{quote, quote_into},
    names,
    pointwise::{Works, works},
};

/// The only labels that begin with two underscores and that series have in every backend.
const KNOWN_LABELS: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

/// Writes a query with the matcher of the namespace in each of its selectors.
pub(super) fn enforced(
    query: &Expr,
    label: &str,
    namespace: &str,
) -> Result<Enforced, NotEnforced> {
    let mut writer = Writer {
        label,
        namespace,
        out: String::new(),
        selectors: Vec::new(),
        depth: 0,
        absent: None,
    };
    writer.expression(query)?;
    Ok(Enforced { query: writer.out, selectors: writer.selectors })
}

struct Writer<'a> {
    label: &'a str,
    namespace: &'a str,
    out: String,
    selectors: Vec<String>,
    depth: usize,
    /// The function around that takes the labels of its result from matchers.
    absent: Option<&'static str>,
}

impl Writer<'_> {
    fn expression(&mut self, expression: &Expr) -> Result<(), NotEnforced> {
        if self.depth == MAX_DEPTH {
            return Err(NotEnforced::TooLarge { most: MAX_DEPTH, what: "nested expressions" });
        }
        self.depth += 1;
        match expression {
            Expr::NumberLiteral(number) => self.number(number.val),
            Expr::StringLiteral(string) => quote_into(&mut self.out, &string.val),
            Expr::VectorSelector(selector) => self.selector(selector, None)?,
            Expr::MatrixSelector(matrix) => self.selector(&matrix.vs, Some(matrix.range))?,
            Expr::Paren(paren) => self.expression(&paren.expr)?,
            Expr::Unary(unary) => {
                self.out.push('-');
                self.operand(&unary.expr)?;
            }
            Expr::Subquery(subquery) => self.subquery(subquery)?,
            Expr::Call(call) => self.call(call)?,
            Expr::Aggregate(aggregate) => self.aggregate(aggregate)?,
            Expr::Binary(binary) => self.binary(binary)?,
            Expr::Extension(_) => {
                return Err(NotEnforced::Construct { construct: "extensions" });
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// With parentheses where precedence would matter.
    fn operand(&mut self, expression: &Expr) -> Result<(), NotEnforced> {
        let expression = inner(expression);
        let is_plain = match expression {
            Expr::Binary(_) | Expr::Unary(_) => false,
            Expr::NumberLiteral(number) => number.val.is_sign_positive(),
            _ => true,
        };
        if is_plain {
            return self.expression(expression);
        }
        self.out.push('(');
        self.expression(expression)?;
        self.out.push(')');
        Ok(())
    }

    fn number(&mut self, number: f64) {
        let _infallible = if number.is_nan() {
            self.out.write_str("NaN")
        } else if number.is_infinite() {
            self.out.write_str(if number > 0.0 { "Inf" } else { "-Inf" })
        } else if number == 0.0 || (1e-6..1e15).contains(&number.abs()) {
            write!(self.out, "{number}")
        } else {
            write!(self.out, "{number:e}")
        };
    }

    fn selector(
        &mut self,
        selector: &VectorSelector,
        range: Option<Duration>,
    ) -> Result<(), NotEnforced> {
        if self.selectors.len() == MAX_SELECTORS {
            return Err(NotEnforced::TooLarge { most: MAX_SELECTORS, what: "selectors" });
        }
        let written = self.narrowed(selector)?;
        self.out.push_str(&written);
        self.selectors.push(written);
        if let Some(range) = range {
            let _infallible = write!(self.out, "[{}]", duration::prometheus(range));
        }
        self.modifiers(selector.at.as_ref(), selector.offset.as_ref());
        Ok(())
    }

    fn narrowed(&self, selector: &VectorSelector) -> Result<String, NotEnforced> {
        if !selector.matchers.or_matchers.is_empty() {
            return Err(NotEnforced::Alternatives);
        }
        let mut text = match &selector.name {
            Some(name) if names::is_metric(name) => name.clone(),
            Some(_) => return Err(NotEnforced::Differs),
            None => String::new(),
        };
        let _infallible = write!(text, "{{{}={}", names::label(self.label), quote(self.namespace));
        for matcher in &selector.matchers.matchers {
            if matcher.name.starts_with("__") && !KNOWN_LABELS.contains(&matcher.name.as_str()) {
                return Err(NotEnforced::Reserved { label: matcher.name.clone() });
            }
            if let Some(function) = self.absent
                && matcher.name == self.label
                && !self.is_own(matcher)
            {
                return Err(NotEnforced::Writes { function, label: self.label.to_owned() });
            }
            if !self.is_own(matcher) {
                let (name, value) = (names::label(&matcher.name), quote(&matcher.value));
                let _infallible = write!(text, ",{name}{}{value}", matcher.op);
            }
        }
        text.push('}');
        Ok(text)
    }

    fn is_own(&self, matcher: &Matcher) -> bool {
        matcher.op == MatchOp::Equal
            && matcher.name == self.label
            && matcher.value == self.namespace
    }

    fn modifiers(&mut self, at: Option<&AtModifier>, offset: Option<&Offset>) {
        if let Some(at) = at {
            let _infallible = write!(self.out, " {at}");
        }
        let (sign, by) = match offset {
            Some(Offset::Pos(by)) => ("", by),
            Some(Offset::Neg(by)) => ("-", by),
            None => return,
        };
        let _infallible = write!(self.out, " offset {sign}{}", duration::prometheus(*by));
    }

    fn subquery(&mut self, subquery: &SubqueryExpr) -> Result<(), NotEnforced> {
        self.out.push('(');
        self.expression(&subquery.expr)?;
        let step = subquery.step.map(duration::prometheus).unwrap_or_default();
        let range = duration::prometheus(subquery.range);
        let _infallible = write!(self.out, ")[{range}:{step}]");
        self.modifiers(subquery.at.as_ref(), subquery.offset.as_ref());
        Ok(())
    }

    fn call(&mut self, call: &Call) -> Result<(), NotEnforced> {
        let function = call.func.name;
        let written = match (works(function), function) {
            (Works::Elementwise | Works::OnBuckets, _)
            | (Works::Unknown, "pi" | "scalar" | "time" | "vector") => None,
            (Works::Unknown, "absent") => return self.absent("absent", call),
            (Works::Unknown, "absent_over_time") => return self.absent("absent_over_time", call),
            (Works::LabelReplace, _) => Some("label_replace"),
            (Works::LabelJoin, _) => Some("label_join"),
            (Works::Unknown, _) => {
                return Err(NotEnforced::Function { function: function.to_owned() });
            }
        };
        let arguments = &call.args.args;
        if let Some(function) = written {
            self.writes(function, arguments.get(1).map(|label| &**label))?;
        }
        self.out.push_str(function);
        self.list(arguments.iter().map(|argument| &**argument))
    }

    /// Writes a call whose result has the labels of matchers. Of two matchers of one label backends take either.
    fn absent(&mut self, function: &'static str, call: &Call) -> Result<(), NotEnforced> {
        let around = self.absent.replace(function);
        self.out.push_str(function);
        self.list(call.args.args.iter().map(|argument| &**argument))?;
        self.absent = around;
        Ok(())
    }

    /// Refuses what writes the label of the namespace.
    fn writes(&self, function: &'static str, label: Option<&Expr>) -> Result<(), NotEnforced> {
        match label.map(inner) {
            Some(Expr::StringLiteral(label)) if label.val != self.label => Ok(()),
            Some(Expr::StringLiteral(label)) => {
                Err(NotEnforced::Writes { function, label: label.val.clone() })
            }
            _ => Err(NotEnforced::Unknown { function }),
        }
    }

    fn list<'e>(&mut self, mut list: impl Iterator<Item = &'e Expr>) -> Result<(), NotEnforced> {
        self.out.push('(');
        if let Some(first) = list.next() {
            self.expression(first)?;
        }
        for next in list {
            self.out.push_str(", ");
            self.expression(next)?;
        }
        self.out.push(')');
        Ok(())
    }

    fn aggregate(&mut self, aggregate: &AggregateExpr) -> Result<(), NotEnforced> {
        if aggregate.op.id() == T_COUNT_VALUES {
            self.writes("count_values", aggregate.param.as_deref())?;
        }
        let _infallible = write!(self.out, "{}", aggregate.op);
        if let Some(modifier) = &aggregate.modifier {
            self.labels(modifier, "by", "without");
            self.out.push(' ');
        }
        self.list(aggregate.param.as_deref().into_iter().chain([&*aggregate.expr]))
    }

    fn labels(&mut self, modifier: &LabelModifier, include: &str, exclude: &str) {
        let (word, labels) = match modifier {
            LabelModifier::Include(labels) => (include, labels),
            LabelModifier::Exclude(labels) => (exclude, labels),
        };
        self.named(word, &labels.labels);
    }

    fn named(&mut self, word: &str, labels: &[String]) {
        let labels: Vec<_> = labels.iter().map(|label| names::label(label)).collect();
        let _infallible = write!(self.out, " {word} ({})", labels.join(", "));
    }

    fn binary(&mut self, binary: &BinaryExpr) -> Result<(), NotEnforced> {
        self.operand(&binary.lhs)?;
        let _infallible = write!(self.out, " {}", binary.op);
        if let Some(modifier) = &binary.modifier {
            self.matching(modifier)?;
        }
        self.out.push(' ');
        self.operand(&binary.rhs)
    }

    fn matching(&mut self, modifier: &BinModifier) -> Result<(), NotEnforced> {
        let BinModifier { card, matching, return_bool, fill_values } = modifier;
        if *fill_values != VectorMatchFillValues::default() {
            return Err(NotEnforced::Construct { construct: "`fill` modifiers" });
        }
        if *return_bool {
            self.out.push_str(" bool");
        }
        if let Some(matching) = matching {
            self.labels(matching, "on", "ignoring");
        }
        match card {
            VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => {}
            VectorMatchCardinality::ManyToOne(included) => {
                self.named("group_left", &included.labels);
            }
            VectorMatchCardinality::OneToMany(included) => {
                self.named("group_right", &included.labels);
            }
        }
        Ok(())
    }
}

/// The expression in parentheses.
fn inner(expression: &Expr) -> &Expr {
    match expression {
        Expr::Paren(paren) => inner(&paren.expr),
        other => other,
    }
}
