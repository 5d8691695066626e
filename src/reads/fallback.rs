//! Reads that the backend fails, where the rule has a fallback.

use super::{
    MetricRequest, Reads, Values,
    external::{ExternalRequest, ExternalValues, Origin},
};
use crate::{
    core::{catalog::Entry, external, reading::Readings, rules::RuleBase},
    objects::Selected,
    planner::Failure,
};

impl Reads {
    /// The fallback of the rule for the objects that exist, where the backend has failed for long enough.
    pub(super) async fn fall_back(
        &self,
        request: &MetricRequest,
        entry: &Entry,
        selected: &Selected,
        failure: &Failure,
    ) -> Option<Values> {
        let Failure::Fetch(error) = failure else { return None };
        let rule = &entry.rule.base;
        let due = self.fallbacks.failed(rule, || request.topic())?;
        let names = self.existing(request, entry, selected).await.ok()?;
        if names.is_empty() {
            return None;
        }
        self.fallbacks.used(rule, &due, error);
        let mut readings = Readings::default();
        readings.fill(&names, due.milli, jiff::Timestamp::now().as_millisecond());
        Some(self.values(request, entry, readings))
    }

    /// Brings the number of fallbacks that are used up to date in `/metrics`.
    pub fn report_fallbacks(&self) {
        self.fallbacks.report(&self.rules.current());
    }

    /// The fallback of the rule, where the backend has failed for long enough.
    pub(super) fn fall_back_external(
        &self,
        request: &ExternalRequest,
        rule: &RuleBase,
        failure: &Failure,
    ) -> Option<ExternalValues> {
        let Failure::Fetch(error) = failure else { return None };
        let due = self.fallbacks.failed(rule, || request.topic())?;
        self.fallbacks.used(rule, &due, error);
        let at_ms = jiff::Timestamp::now().as_millisecond();
        let (reading, vector) = external::of_fallback(due.milli, at_ms);
        let readings = vec![reading];
        self.records.read(|| request.seen(&readings));
        let (origin, window_seconds) = (Origin::Own(Box::new(vector)), rule.window_seconds);
        Some(ExternalValues { readings, origin, window_seconds })
    }
}
