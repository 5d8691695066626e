//! The induction over the syntax tree.

use promql_parser::{
    label::{MatchOp, Matcher},
    parser::{
        AggregateExpr, BinModifier, BinaryExpr, Call, Expr, LabelModifier, VectorMatchFillValues,
        VectorSelector,
        token::{T_BOTTOMK, T_COUNT_VALUES, T_LIMIT_RATIO, T_LIMITK, T_TOPK},
        value::ValueType,
    },
};

use super::{
    Names, Pointwise, Refusal,
    functions::{BUCKETS, Works, works},
    operation::{Kind, Operation, groups_by, matches_on},
    part::{Dependent, Grouping, Part},
};

/// How deep a tree may be.
const MAX_DEPTH: usize = 100;

/// A key, and the names that a narrow rendering was made for.
#[derive(Clone, Copy)]
pub(super) struct Name<'a> {
    pub(super) label: &'a str,
    pub(super) values: &'a [&'a str],
}

/// What is proven of a narrow and a wide rendering.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Proven {
    pub(super) pointwise: Pointwise,
    /// For every matcher in its order, whether it is the match on the names.
    carries: Vec<bool>,
}

/// A walk over the trees of a narrow and a wide rendering.
pub(super) struct Proof<'a> {
    object: Name<'a>,
    namespace: Option<Name<'a>>,
    carries: Vec<bool>,
    depth: usize,
}

impl<'a> Proof<'a> {
    pub(super) fn new(object: Name<'a>, namespace: Option<Name<'a>>) -> Self {
        Self { object, namespace, carries: Vec::new(), depth: 0 }
    }

    pub(super) fn prove(mut self, narrow: &Expr, wide: &Expr) -> Result<Proven, Refusal> {
        let pointwise = match self.part(narrow, wide)? {
            Part::Independent => Pointwise::Independent,
            Part::Dependent(_) => Pointwise::Dependent,
        };
        Ok(Proven { pointwise, carries: self.carries })
    }

    fn keys(&self) -> impl Iterator<Item = Name<'a>> + use<'a> {
        [Some(self.object), self.namespace].into_iter().flatten()
    }

    fn is_key(&self, label: &str) -> bool {
        self.keys().any(|key| key.label == label)
    }

    fn part(&mut self, narrow: &Expr, wide: &Expr) -> Result<Part, Refusal> {
        if self.depth == MAX_DEPTH {
            return Err(Refusal::TooDeep);
        }
        self.depth += 1;
        let part = match (narrow, wide) {
            (Expr::NumberLiteral(narrow), Expr::NumberLiteral(wide)) if narrow == wide => {
                Ok(Part::Independent)
            }
            (Expr::StringLiteral(narrow), Expr::StringLiteral(wide)) if narrow == wide => {
                Ok(Part::Independent)
            }
            (Expr::VectorSelector(narrow), Expr::VectorSelector(wide)) => {
                self.selector(narrow, wide)
            }
            (Expr::MatrixSelector(narrow), Expr::MatrixSelector(wide))
                if narrow.range == wide.range =>
            {
                self.selector(&narrow.vs, &wide.vs)
            }
            (Expr::Paren(narrow), Expr::Paren(wide)) => self.part(&narrow.expr, &wide.expr),
            (Expr::Unary(narrow), Expr::Unary(wide)) => self.part(&narrow.expr, &wide.expr),
            (Expr::Subquery(narrow), Expr::Subquery(wide))
                if narrow.range == wide.range
                    && narrow.step == wide.step
                    && narrow.offset == wide.offset
                    && narrow.at == wide.at =>
            {
                self.part(&narrow.expr, &wide.expr)
            }
            (Expr::Call(narrow), Expr::Call(wide)) => self.call(narrow, wide),
            (Expr::Aggregate(narrow), Expr::Aggregate(wide)) => self.aggregate(narrow, wide),
            (Expr::Binary(narrow), Expr::Binary(wide)) => self.binary(narrow, wide),
            _ => Err(Refusal::Differs),
        };
        self.depth -= 1;
        part
    }

    fn selector(
        &mut self,
        narrow: &VectorSelector,
        wide: &VectorSelector,
    ) -> Result<Part, Refusal> {
        let (matchers, others) = (&narrow.matchers.matchers, &wide.matchers.matchers);
        if narrow.name != wide.name
            || narrow.offset != wide.offset
            || narrow.at != wide.at
            || narrow.matchers.or_matchers != wide.matchers.or_matchers
            || matchers.len() != others.len()
        {
            return Err(Refusal::Differs);
        }
        let mut carried = Vec::new();
        for (narrow, wide) in matchers.iter().zip(others) {
            self.carries.push(narrow != wide);
            if narrow != wide {
                carried.push(self.carried(narrow, wide)?);
            }
        }
        let Some(present) = carried.first() else {
            return Ok(Part::Independent);
        };
        if let Some(missing) = self.keys().find(|key| !carried.contains(&key.label)) {
            return Err(Refusal::Half {
                present: (*present).to_owned(),
                missing: missing.label.to_owned(),
            });
        }
        if !wide.matchers.or_matchers.is_empty() {
            return Err(Refusal::Differs);
        }
        Ok(Part::Dependent(Dependent { keyed: true, grouping: Grouping::Same }))
    }

    /// The key whose match on the names the two matchers are.
    fn carried(&self, narrow: &Matcher, wide: &Matcher) -> Result<&'a str, Refusal> {
        let key = self.keys().find(|key| key.label == narrow.name && key.label == wide.name);
        let is_narrow = |key: &Name<'_>| match (&narrow.op, key.values) {
            (MatchOp::Equal | MatchOp::Re(_), [name]) => narrow.value == *name,
            (MatchOp::Re(_), names) => narrow.value == names.join("|"),
            _ => false,
        };
        let is_wide = match wide.op {
            MatchOp::NotEqual => wide.value.is_empty(),
            MatchOp::Re(_) => wide.value == ".+",
            MatchOp::Equal | MatchOp::NotRe(_) => false,
        };
        key.filter(|key| is_wide && is_narrow(key))
            .map(|key| key.label)
            .ok_or_else(|| Refusal::Form { matcher: wide.to_string() })
    }

    fn call(&mut self, narrow: &Call, wide: &Call) -> Result<Part, Refusal> {
        if narrow.func != wide.func || narrow.args.len() != wide.args.len() {
            return Err(Refusal::Differs);
        }
        let mut dependent = None;
        for (narrow, second) in narrow.args.args.iter().zip(&wide.args.args) {
            if let Part::Dependent(part) = self.part(narrow, second)?
                && dependent.replace(part).is_some()
            {
                return Err(Refusal::Function { function: wide.func.name.to_owned() });
            }
        }
        let Some(part) = dependent else {
            return Ok(Part::Independent);
        };
        let function = || wide.func.name.to_owned();
        match works(wide.func.name) {
            Works::Elementwise => {}
            Works::OnBuckets => {
                if let Some(label) = BUCKETS.into_iter().find(|label| self.is_key(label)) {
                    return Err(Refusal::AggregatedAway {
                        operator: function(),
                        label: label.to_owned(),
                    });
                }
            }
            Works::LabelReplace => self.relabels(wide, part, 3..4)?,
            Works::LabelJoin => self.relabels(wide, part, 3..wide.args.len())?,
            Works::Unknown => return Err(Refusal::Function { function: function() }),
        }
        Ok(Part::Dependent(part))
    }

    /// Checks the labels that a function writes, given by its second argument, and reads.
    fn relabels(
        &self,
        call: &Call,
        part: Dependent,
        reads: std::ops::Range<usize>,
    ) -> Result<(), Refusal> {
        let function = || call.func.name.to_owned();
        let label = |argument: usize| match call.args.args.get(argument).map(|label| &**label) {
            Some(Expr::StringLiteral(label)) => Ok(label.val.as_str()),
            _ => Err(Refusal::Function { function: function() }),
        };
        let written = label(1)?;
        if self.is_key(written) {
            return Err(Refusal::Writes { function: function(), label: written.to_owned() });
        }
        for argument in reads {
            let read = label(argument)?;
            if part.grouping == Grouping::Gains && self.is_namespace(read) {
                return Err(Refusal::Reads { function: function(), label: read.to_owned() });
            }
        }
        Ok(())
    }

    fn is_namespace(&self, label: &str) -> bool {
        self.namespace.is_some_and(|namespace| namespace.label == label)
    }

    fn aggregate(&mut self, narrow: &AggregateExpr, wide: &AggregateExpr) -> Result<Part, Refusal> {
        if narrow.op != wide.op {
            return Err(Refusal::Differs);
        }
        let operator = || wide.op.to_string();
        match (&narrow.param, &wide.param) {
            (None, None) => {}
            (Some(narrow), Some(wide)) => {
                if self.part(narrow, wide)? != Part::Independent {
                    return Err(Refusal::Function { function: operator() });
                }
            }
            _ => return Err(Refusal::Differs),
        }
        let part = self.part(&narrow.expr, &wide.expr)?;
        let gains = self.gains(narrow.modifier.as_ref(), wide.modifier.as_ref())?;
        let Part::Dependent(part) = part else {
            return if gains { Err(self.regrouped(operator())) } else { Ok(Part::Independent) };
        };
        match wide.op.id() {
            T_LIMITK | T_LIMIT_RATIO => {
                return Err(Refusal::Function { function: operator() });
            }
            T_COUNT_VALUES => {
                let label = match wide.param.as_deref() {
                    Some(Expr::StringLiteral(label)) => &label.val,
                    _ => return Err(Refusal::Function { function: operator() }),
                };
                if self.is_key(label) {
                    return Err(Refusal::Writes { function: operator(), label: label.clone() });
                }
            }
            _ => {}
        }
        if let Some(key) = self.keys().find(|key| !groups_by(wide.modifier.as_ref(), key.label)) {
            return Err(Refusal::AggregatedAway {
                operator: operator(),
                label: key.label.to_owned(),
            });
        }
        // Those that pick elements leave them their labels.
        let picks = matches!(wide.op.id(), T_TOPK | T_BOTTOMK);
        let grouping = if gains && !picks { Grouping::Gains } else { part.grouping };
        Ok(Part::Dependent(Dependent { grouping, ..part }))
    }

    fn binary(&mut self, narrow: &BinaryExpr, wide: &BinaryExpr) -> Result<Part, Refusal> {
        let default = BinModifier::default();
        let before = narrow.modifier.as_ref().unwrap_or(&default);
        let modifier = wide.modifier.as_ref().unwrap_or(&default);
        if narrow.op != wide.op
            || before.return_bool != modifier.return_bool
            || before.fill_values != modifier.fill_values
            || before.card != modifier.card
        {
            return Err(Refusal::Differs);
        }
        let left = self.part(&narrow.lhs, &wide.lhs)?;
        let right = self.part(&narrow.rhs, &wide.rhs)?;
        let gains = self.gains(before.matching.as_ref(), modifier.matching.as_ref())?;
        let operator = || wide.op.to_string();
        let (names, sides) = match (left, right) {
            (Part::Independent, Part::Independent) if gains => {
                return Err(self.regrouped(operator()));
            }
            (Part::Independent, Part::Independent) => return Ok(Part::Independent),
            (Part::Dependent(left), Part::Dependent(right)) => (Names::Both, (left, right)),
            (Part::Dependent(left), Part::Independent) => (Names::Left, (left, left)),
            (Part::Independent, Part::Dependent(right)) => (Names::Right, (right, right)),
        };
        if modifier.fill_values != VectorMatchFillValues::default() {
            return Err(Refusal::Fills { operator: operator() });
        }
        if [&wide.lhs, &wide.rhs].iter().any(|side| side.value_type() == ValueType::Scalar) {
            return Ok(Part::Dependent(sides.0));
        }
        let included = modifier.card.labels().map(|labels| labels.labels.iter());
        if let Some(label) = included.into_iter().flatten().find(|label| self.is_key(label)) {
            return Err(Refusal::Included { operator: operator(), label: label.clone() });
        }
        let operation = Operation { kind: Kind::new(wide, modifier), names, sides };
        if operation.needs_match()
            && let Some(key) = self.keys().find(|key| !matches_on(modifier, key.label))
        {
            let label = key.label.to_owned();
            return Err(Refusal::Match { operator: operator(), names, label });
        }
        if !operation.kind.is_set() && modifier.matching.is_none() && !operation.is_keyed() {
            let label = self.object.label.to_owned();
            return Err(Refusal::Keyless { operator: operator(), label });
        }
        let keyed = operation.keeps_keyed();
        let grouping = match self.namespace {
            None => Grouping::Same,
            Some(_) if !keyed => return Err(Refusal::OtherNamespaces { operator: operator() }),
            Some(namespace) => operation
                .regroup(matches_on(before, namespace.label), matches_on(modifier, namespace.label))
                .ok_or_else(|| self.regrouped(operator()))?,
        };
        Ok(Part::Dependent(Dependent { keyed, grouping }))
    }

    /// Whether the labels of the wide rendering are those of the narrow one and the namespace's. All else that differs is refused.
    fn gains(
        &self,
        narrow: Option<&LabelModifier>,
        wide: Option<&LabelModifier>,
    ) -> Result<bool, Refusal> {
        let (narrow, wide, is_by) = match (narrow, wide) {
            (None, None) => return Ok(false),
            (Some(LabelModifier::Include(narrow)), Some(LabelModifier::Include(wide))) => {
                (narrow, wide, true)
            }
            (Some(LabelModifier::Exclude(narrow)), Some(LabelModifier::Exclude(wide))) => {
                (narrow, wide, false)
            }
            _ => return Err(Refusal::Differs),
        };
        let mut gained = wide.labels.iter().filter(|label| !narrow.labels.contains(label));
        if narrow.labels.iter().any(|label| !wide.labels.contains(label)) {
            return Err(Refusal::Differs);
        }
        match gained.next() {
            None => Ok(false),
            Some(label)
                if is_by
                    && self.is_namespace(label)
                    && gained.all(|label| self.is_namespace(label)) =>
            {
                Ok(true)
            }
            Some(_) => Err(Refusal::Differs),
        }
    }

    fn regrouped(&self, operator: String) -> Refusal {
        let label = self.namespace.map_or("", |namespace| namespace.label).to_owned();
        Refusal::Grouping { operator, label }
    }
}
