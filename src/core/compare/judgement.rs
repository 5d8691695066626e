//! Whether two servers answer a read alike, from one look or, because series move, from several.

use std::collections::{BTreeMap, BTreeSet};

use super::{Aspect, Finding, Measured, MetricsApi, Reason, Response, Sides};

/// How far two servers' times of measurement may be apart, in seconds. A cache and a scrape interval explain less.
const APART: i64 = 60;

/// The number of billionths in a thousandth, in which prometheus-adapter counts.
const MILLI: i128 = 1_000_000;

/// The thousandths from which on a number is none: what an integer of 64 bits holds.
const EXTREME: i128 = i64::MAX as i128;

/// What came out for one read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// How many values both have.
    pub values: usize,
    /// How many of these were only alike over time.
    pub moved: usize,
    /// What differs.
    pub findings: Vec<Finding>,
}

impl Judged {
    /// Whether another look could make no difference.
    pub fn is_settled(&self) -> bool {
        self.findings.iter().all(|finding| finding.reason.is_some())
    }
}

/// Judges all looks at one read, of which each asked both servers at the same moment. Values are alike where they are within
/// `tolerance`, a fraction of the larger one, in any look, or where the ranges overlap that they have moved in.
pub fn judge(api: MetricsApi, looks: &[Sides<Response>], tolerance: f64) -> Judged {
    let mut seen: BTreeMap<&str, Sides<Vec<&Measured>>> = BTreeMap::new();
    let mut last = Sides::default();
    for look in looks {
        let Sides { reference: Response::Values(reference), with: Response::Values(with) } = look
        else {
            continue;
        };
        for (object, value) in reference {
            seen.entry(object).or_default().reference.push(value);
        }
        for (object, value) in with {
            seen.entry(object).or_default().with.push(value);
        }
        last = Sides { reference: Some(reference), with: Some(with) };
    }
    let (Some(last_reference), Some(last_with)) = (last.reference, last.with) else {
        return Judged {
            findings: looks.last().and_then(|look| failure(api, look)).into_iter().collect(),
            ..Judged::default()
        };
    };
    let mut judged = Judged::default();
    let mut circumstances = BTreeSet::new();
    for (object, Sides { reference, with }) in seen {
        let (Some(mine), Some(theirs)) = (with.last(), reference.last()) else {
            // What has come or gone meanwhile is no difference.
            if last_reference.contains_key(object) || last_with.contains_key(object) {
                judged.findings.push(missing(object, reference.last(), with.last()));
            }
            continue;
        };
        judged.values += 1;
        match alike(&reference, &with, tolerance) {
            Alike::Now => {}
            Alike::OverTime => judged.moved += 1,
            Alike::Not(reason) => judged.findings.push(Finding {
                aspect: Aspect::Value,
                object: object.to_owned(),
                sides: Sides {
                    reference: Some(theirs.quantity.clone()),
                    with: Some(mine.quantity.clone()),
                },
                reason,
            }),
        }
        // All values of an answer have the same: one finding says it.
        for finding in [window(object, theirs, mine), timestamp(object, theirs, mine)] {
            judged
                .findings
                .extend(finding.filter(|it| circumstances.insert((it.aspect, it.reason))));
        }
    }
    judged
}

/// How a read ended that did not succeed at both servers in any look.
fn failure(api: MetricsApi, look: &Sides<Response>) -> Option<Finding> {
    let reason = match (&look.reference, &look.with) {
        (
            Response::Failed { code: a, reason: why },
            Response::Failed { code: b, reason: why_with },
        ) if a == b && why == why_with && *a != 0 => return None,
        (Response::Values(values), Response::Failed { code: 503, .. })
            if values.is_empty() && api == MetricsApi::Resource =>
        {
            Some(Reason::UsageUnavailable)
        }
        _ => None,
    };
    let sides =
        Sides { reference: Some(look.reference.to_string()), with: Some(look.with.to_string()) };
    Some(Finding { aspect: Aspect::Status, object: String::new(), sides, reason })
}

fn missing(object: &str, reference: Option<&&Measured>, with: Option<&&Measured>) -> Finding {
    let is_no_number = reference.is_some_and(|value| is_extreme(value));
    let text = |value: Option<&&Measured>| value.map(|value| value.quantity.clone());
    Finding {
        aspect: Aspect::Object,
        object: object.to_owned(),
        sides: Sides { reference: text(reference), with: text(with) },
        reason: (is_no_number && with.is_none()).then_some(Reason::NotFinite),
    }
}

/// Whether a value is what Go makes of a float that an integer of 64 bits does not hold.
fn is_extreme(value: &Measured) -> bool {
    value.nano().is_some_and(|nano| nano.abs() / MILLI >= EXTREME)
}

enum Alike {
    Now,
    OverTime,
    Not(Option<Reason>),
}

fn alike(reference: &[&Measured], with: &[&Measured], tolerance: f64) -> Alike {
    let numbers = |values: &[&Measured]| values.iter().map(|value| value.nano()).collect();
    let (theirs, mine): (Option<Vec<i128>>, Option<Vec<i128>>) =
        (numbers(reference), numbers(with));
    let (Some(theirs), Some(mine)) = (theirs, mine) else {
        // A text that is no quantity can only be the same.
        let is_same = reference.iter().zip(with).any(|(a, b)| a.quantity == b.quantity);
        return if is_same { Alike::Now } else { Alike::Not(None) };
    };
    let mut pairs = theirs.iter().zip(&mine);
    if pairs.any(|(a, b)| is_near(*a, *b, tolerance)) {
        return Alike::Now;
    }
    let range = |numbers: &[i128]| Some((*numbers.iter().min()?, *numbers.iter().max()?));
    if let (Some((low, high)), Some((other_low, other_high))) = (range(&theirs), range(&mine))
        && low <= other_high
        && other_low <= high
    {
        return Alike::OverTime;
    }
    let (Some(a), Some(b)) = (theirs.last(), mine.last()) else { return Alike::Not(None) };
    let is_clamped = reference.last().is_some_and(|value| is_extreme(value))
        && with.last().is_some_and(|value| is_extreme(value));
    Alike::Not(if is_clamped {
        Some(Reason::Clamped)
    } else if (a - b).abs() <= MILLI {
        Some(Reason::Rounding)
    } else {
        None
    })
}

#[expect(clippy::cast_precision_loss, reason = "a tolerance is no more exact")]
fn is_near(a: i128, b: i128, tolerance: f64) -> bool {
    a == b || (a - b).abs() as f64 <= tolerance * a.abs().max(b.abs()) as f64
}

fn window(object: &str, reference: &Measured, with: &Measured) -> Option<Finding> {
    let reason = match (reference.window, with.window) {
        (a, b) if a == b => return None,
        (None, Some(_)) => Some(Reason::Window),
        _ => None,
    };
    let text = |window: Option<i64>| window.map(|seconds| format!("{seconds} s"));
    let sides = Sides { reference: text(reference.window), with: text(with.window) };
    Some(Finding { aspect: Aspect::Window, object: object.to_owned(), sides, reason })
}

fn timestamp(object: &str, reference: &Measured, with: &Measured) -> Option<Finding> {
    let (theirs, mine) = (reference.at?, with.at?);
    let later = theirs.saturating_sub(mine);
    let reason = (later > 0).then_some(Reason::EvaluationTime);
    let text = |at: i64| Some(jiff::Timestamp::from_second(at).ok()?.to_string());
    (later.saturating_abs() > APART).then(|| Finding {
        aspect: Aspect::Timestamp,
        object: object.to_owned(),
        sides: Sides { reference: text(theirs), with: text(mine) },
        reason,
    })
}

#[cfg(test)]
mod tests;
