//! Scales of plots: how values and times become places and labels.

use super::{Report, Run};
use crate::core::autoscaler::Target;

/// A number for a label, with three digits at most.
pub(super) fn short(number: f64) -> String {
    const SUFFIXES: [(f64, &str); 4] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let found = SUFFIXES.into_iter().find(|(factor, _)| number.abs() >= *factor);
    let (scaled, suffix) = found.map_or((number, ""), |(factor, suffix)| (number / factor, suffix));
    let digits = match scaled.abs() {
        it if it >= 100.0 || it == 0.0 => 0,
        it if it >= 10.0 => 1,
        it if it >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{scaled:.digits$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text.as_str()
    };
    format!("{text}{suffix}")
}

/// The smallest round number that is not less.
pub(super) fn round_up(number: f64) -> f64 {
    if number.is_nan() || number <= 0.0 || number.is_infinite() {
        return 1.0;
    }
    let power = 10_f64.powf(number.log10().floor());
    let steps = [1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    let step = steps.into_iter().find(|step| step * power >= number * 0.999_999);
    step.unwrap_or(10.0) * power
}

/// What a value is about, to follow the name of its metric.
pub(super) fn unit(target: Target) -> &'static str {
    match target {
        Target::Value(_) => "",
        Target::AverageValue(_) => " per pod",
        Target::Utilization(_) => " in percent of the requests",
    }
}

/// The target of a metric as it is plotted: percent for utilization.
pub(super) fn target(target: Target) -> f64 {
    match target {
        Target::Value(milli) | Target::AverageValue(milli) => thousandths(milli),
        Target::Utilization(percent) => f64::from(percent),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a label has few digits")]
fn thousandths(milli: i64) -> f64 {
    milli as f64 / 1000.0
}

/// The top of the scale of replicas, for all runs. A maximum that is far away is not shown.
pub(super) fn top_of_replicas(report: &Report) -> f64 {
    let most = report.runs.iter().map(|run| run.summary.most).max().unwrap_or_default().max(1);
    let limits = report.runs.iter().map(|run| run.spec.max_replicas);
    let near = limits.filter(|limit| *limit <= most.saturating_mul(2)).max();
    f64::from(near.unwrap_or(0).max(most))
}

/// The top of the scale of a metric, for all runs.
pub(super) fn top_of_metric(report: &Report, metric: usize) -> f64 {
    let of_run = |run: &Run| {
        let target = run.spec.metrics.get(metric).map_or(0.0, |it| target(it.target));
        let ratios = run.timeline.ratios.get(metric).into_iter().flatten();
        let highest = ratios.filter(|ratio| ratio.is_finite()).fold(0.0_f64, |a, b| a.max(*b));
        (highest * target).max(target * 1.2)
    };
    round_up(report.runs.iter().map(of_run).fold(0.0, f64::max))
}

/// The finite numbers of a part of a list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) mean: f64,
    pub(super) last: f64,
}

/// So many parts of a list, each as long as the others. Those without a finite number are none.
pub(super) fn parts(numbers: &[f64], count: usize) -> Vec<Option<Part>> {
    let (count, length) = (count.max(1), numbers.len());
    let part = |at: usize| {
        let (start, end) = (at * length / count, ((at + 1) * length / count).min(length));
        // Fewer numbers than parts: a number is in several.
        let numbers = numbers.get(start..end.max(start + 1).min(length)).unwrap_or_default();
        let finite = || numbers.iter().copied().filter(|it| it.is_finite());
        let last = finite().next_back()?;
        let (sum, count) = finite().fold((0.0, 0.0), |(sum, count), it| (sum + it, count + 1.0));
        let (low, high) = (finite().fold(last, f64::min), finite().fold(last, f64::max));
        Some(Part { low, high, mean: sum / count, last })
    };
    (0..count).map(part).collect()
}

/// A time as a label: of day, or with the day where the whole is longer than two.
pub(super) fn time(at_ms: i64, whole_ms: i64) -> String {
    let form = if whole_ms > 2 * 24 * 3_600_000 { "%b %d" } else { "%H:%M" };
    stamp(at_ms, form)
}

/// A time in a form of `strftime`, in UTC.
pub(super) fn stamp(at_ms: i64, form: &str) -> String {
    let at = jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default();
    at.strftime(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let numbers = [0.0, 0.25, 3.0, 12.5, 250.0, 1_500.0, 2e6, 0.1];
        let shown = numbers.map(short);
        assert_eq!(shown, ["0", "0.25", "3", "12.5", "250", "1.5k", "2M", "0.1"]);
        let tops = [0.0, 0.9, 1.0, 11.0, 130.0, 2_100.0, f64::NAN].map(round_up);
        assert_eq!(tops.map(short), ["1", "1", "1", "12", "150", "2.5k", "1"]);
    }

    #[test]
    fn parts_have_the_lowest_and_the_highest() {
        let numbers = [1.0, 3.0, f64::NAN, f64::INFINITY, 2.0, 0.0];
        let part = |low, high, mean, last| Some(Part { low, high, mean, last });
        let wanted = [part(1.0, 3.0, 2.0, 3.0), None, part(0.0, 2.0, 1.0, 0.0)];
        assert_eq!(parts(&numbers, 3), wanted);
        assert_eq!(parts(&[1.0, 2.0], 4).len(), 4);
        assert_eq!(parts(&[], 2), [None, None]);
    }
}
