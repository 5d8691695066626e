//! Values that take the place of those that are missing.

use std::time::Duration;

use super::Report;
use crate::core::{
    duration,
    quantity::Decimal,
    rules::{Fallback, RuleBase},
};

/// How old a stale value may be by default, and how long a restart of Prometheus may take.
const SHORT: Duration = Duration::from_secs(30);

/// The labels that name the pod that a series is of.
const PODS: [&str; 2] = ["pod", "exported_pod"];

/// A value of objects that have none.
pub(super) fn check_objects(rule: &RuleBase, report: &mut Report<'_>) {
    let whose = "objects without a sample have";
    let zero = "an autoscaler takes pods that were not scraped for idle";
    check_on_empty(rule, report, whose, zero, "an autoscaler counts pods that were not scraped");
}

/// A value of answers that have none.
pub(super) fn check_answers(rule: &RuleBase, report: &mut Report<'_>) {
    let whose = "a query without a result has";
    let zero = "an autoscaler scales in where the exporter is not scraped";
    check_on_empty(
        rule,
        report,
        whose,
        zero,
        "an autoscaler scales by it where the exporter is not scraped",
    );
    if rule.on_empty.milli() == Some(0) && is_of_pods(rule) {
        report.info(
            rule.id.entry,
            "zero-of-pods",
            "onEmpty",
            "the series are of pods, and without a pod the value is 0: an autoscaler with `minReplicas: 0` that scales these pods never starts one again",
            "nothing, if others are scaled by it; otherwise scale on a series that is there without the pods, or keep `minReplicas: 1`",
        );
    }
}

/// Whether all series of a rule carry the name of a pod.
fn is_of_pods(rule: &RuleBase) -> bool {
    let matchers = rule.selector.matchers().unwrap_or_default();
    matchers.iter().any(|matcher| PODS.contains(&&*matcher.name) && !matcher.is_match(""))
}

fn check_on_empty(rule: &RuleBase, report: &mut Report<'_>, whose: &str, zero: &str, other: &str) {
    let Some(milli) = rule.on_empty.milli() else { return };
    let (code, effect, help) = match milli {
        0 => ("zero-for-missing", zero, "leave `onEmpty` out, unless a missing sample does mean 0"),
        _ => (
            "value-for-missing",
            other,
            "leave `onEmpty` out, unless a missing sample does mean this value; for a backend that fails there is `fallback`",
        ),
    };
    let message = format!("{whose} the value {}, so {effect}", Decimal(milli));
    report.info(rule.id.entry, code, "onEmpty", message, help);
}

/// A fallback that replaces values in every restart of Prometheus, or scales in.
pub(super) fn check_fallback(rule: &RuleBase, report: &mut Report<'_>) {
    let Some(Fallback { after, milli }) = rule.fallback else { return };
    let least = rule.options.max_stale.unwrap_or(SHORT).max(SHORT);
    if after < least {
        let (after, least) = (duration::prometheus(after), duration::prometheus(least));
        report.warning(
            rule.id.entry,
            "short-fallback",
            ["fallback", "after"],
            format!("the fallback takes the place of values after {after} of failures: a restart of Prometheus is enough"),
            format!("set `after` to {least} or more; meanwhile an autoscaler holds still"),
        );
    }
    if milli == 0 {
        report.warning(
            rule.id.entry,
            "zero-fallback",
            ["fallback", "value"],
            "while the backend fails, the value is 0: an autoscaler scales in, whatever the load",
            "set a value that is enough in an outage, or leave `fallback` out: an autoscaler without a value holds still",
        );
    }
}
