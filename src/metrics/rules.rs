//! The rules file, and what there is of its rules.

use std::fmt::{self, Write as _};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{Metrics, level};
use crate::core::{
    oddity::Oddity,
    rules::{FileName, RuleId},
};

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct GroupLabels {
    group: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct FileLabels {
    file: FileName,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RuleLabels {
    rule: RuleId,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct CauseLabels {
    rule: RuleId,
    cause: &'static str,
}

impl CauseLabels {
    fn of(rule: RuleId, cause: Oddity) -> Self {
        Self { rule, cause: cause.code() }
    }
}

impl EncodeLabelValue for FileName {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        write!(encoder, "{self}")
    }
}

impl EncodeLabelValue for RuleId {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        write!(encoder, "{self}")
    }
}

pub(super) struct Rules {
    reload_successful: Gauge,
    reload_success_time: Gauge,
    files: Family<FileLabels, Gauge>,
    used: Family<GroupLabels, Gauge>,
    left_out: Gauge,
    discovered: Family<RuleLabels, Gauge>,
    series_names: Family<RuleLabels, Gauge>,
    metrics_left_out: Family<RuleLabels, Gauge>,
    catalog: Gauge,
    catalog_bytes: Gauge,
    odd_reads: Family<CauseLabels, Counter>,
    empty_reads: Family<CauseLabels, Counter>,
    fallback_reads: Family<RuleLabels, Counter>,
    fallbacks_in_use: Family<RuleLabels, Gauge>,
}

impl Rules {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            reload_successful: Gauge::default(),
            reload_success_time: Gauge::default(),
            files: Family::default(),
            used: Family::default(),
            left_out: Gauge::default(),
            discovered: Family::default(),
            series_names: Family::default(),
            metrics_left_out: Family::default(),
            catalog: Gauge::default(),
            catalog_bytes: Gauge::default(),
            odd_reads: Family::default(),
            empty_reads: Family::default(),
            fallback_reads: Family::default(),
            fallbacks_in_use: Family::default(),
        };
        registry.register(
            "loadline_config_last_reload_successful",
            "Whether all rules files are in use as they are now",
            metrics.reload_successful.clone(),
        );
        registry.register(
            "loadline_config_last_reload_success_timestamp_seconds",
            "When the rules in use were read",
            metrics.reload_success_time.clone(),
        );
        registry.register(
            "loadline_config_file_last_reload_successful",
            "Whether a rules file of several is in use as it is now",
            metrics.files.clone(),
        );
        registry.register("loadline_rules", "Rules in use by API group", metrics.used.clone());
        registry.register(
            "loadline_rules_left_out",
            "Rules that are not used because they do not compile, and entries that another file has, too",
            metrics.left_out.clone(),
        );
        registry.register(
            "loadline_discovery_successful",
            "Whether the last discovery of a rule succeeded",
            metrics.discovered.clone(),
        );
        registry.register(
            "loadline_discovery_series_names",
            "Names of series that the last successful discovery of a rule found",
            metrics.series_names.clone(),
        );
        registry.register(
            "loadline_discovery_metrics_left_out",
            "Metrics of a rule that are not served because there are too many",
            metrics.metrics_left_out.clone(),
        );
        registry.register(
            "loadline_catalog_metrics",
            "How many metrics exist",
            metrics.catalog.clone(),
        );
        registry.register(
            "loadline_catalog_bytes",
            "Memory that the catalog of metrics takes, about",
            metrics.catalog_bytes.clone(),
        );
        registry.register(
            "loadline_read_oddities",
            "Reads of metrics whose samples had an oddity, by rule and oddity",
            metrics.odd_reads.clone(),
        );
        registry.register(
            "loadline_empty_reads",
            "Reads of metrics that ended without a value, by rule and cause",
            metrics.empty_reads.clone(),
        );
        registry.register(
            "loadline_fallback_reads",
            "Reads that returned the fallback of their rule, because the backend has failed for long enough",
            metrics.fallback_reads.clone(),
        );
        registry.register(
            "loadline_fallbacks_in_use",
            "Metrics whose reads return the fallback of their rule now, by namespace, objects and selector",
            metrics.fallbacks_in_use.clone(),
        );
        metrics
    }
}

impl Metrics {
    /// The rules files were read, and all of them are in use or not.
    pub fn reloaded(&self, successful: bool) {
        self.rules.reload_successful.set(successful.into());
        if successful {
            self.rules.reload_success_time.set(jiff::Timestamp::now().as_second());
        }
    }

    /// Whether each of several rules files is in use as it is now.
    pub fn rules_files<'f>(&self, files: impl Iterator<Item = (&'f FileName, bool)>) {
        for (file, is_current) in files.filter(|(file, _)| **file != FileName::Config) {
            let labels = FileLabels { file: file.clone() };
            self.rules.files.get_or_create(&labels).set(is_current.into());
        }
    }

    /// There is no such rules file any more.
    pub fn forget_rules_file(&self, file: &FileName) {
        self.rules.files.remove(&FileLabels { file: file.clone() });
    }

    /// So many rules of an API group are in use.
    pub fn rules(&self, group: &'static str, rules: usize) {
        self.rules.used.get_or_create(&GroupLabels { group }).set(level(rules));
    }

    /// So many rules of the file do not compile.
    pub fn left_out_rules(&self, rules: usize) {
        self.rules.left_out.set(level(rules));
    }

    /// There is no such rule any more.
    pub fn forget_rule(&self, rule: &RuleId) {
        let labels = RuleLabels { rule: rule.clone() };
        self.rules.discovered.remove(&labels);
        self.rules.series_names.remove(&labels);
        self.rules.metrics_left_out.remove(&labels);
        for cause in Oddity::ALL {
            let labels = CauseLabels::of(rule.clone(), cause);
            self.rules.odd_reads.remove(&labels);
            self.rules.empty_reads.remove(&labels);
        }
        self.forget_fallbacks(rule);
    }

    /// The rule has no fallback any more.
    pub fn forget_fallbacks(&self, rule: &RuleId) {
        let labels = RuleLabels { rule: rule.clone() };
        self.rules.fallback_reads.remove(&labels);
        self.rules.fallbacks_in_use.remove(&labels);
    }

    /// A read returned the fallback of its rule.
    pub fn fallback_read(&self, rule: RuleId) {
        self.rules.fallback_reads.get_or_create(&RuleLabels { rule }).inc();
    }

    /// So many questions are answered by the fallback of a rule now. A rule that was never asked has a count all the same.
    pub fn fallbacks_in_use(&self, rule: RuleId, questions: usize) {
        let labels = RuleLabels { rule };
        drop(self.rules.fallback_reads.get_or_create(&labels));
        self.rules.fallbacks_in_use.get_or_create(&labels).set(level(questions));
    }

    /// Something was odd about the samples that a read looked at.
    pub fn odd_read(&self, rule: RuleId, oddity: Oddity) {
        self.rules.odd_reads.get_or_create(&CauseLabels::of(rule, oddity)).inc();
    }

    /// A read ended without a value.
    pub fn empty_read(&self, rule: RuleId, cause: Oddity) {
        self.rules.empty_reads.get_or_create(&CauseLabels::of(rule, cause)).inc();
    }

    /// So many metrics of a rule are not served.
    pub fn metrics_left_out(&self, rule: RuleId, metrics: usize) {
        self.rules.metrics_left_out.get_or_create(&RuleLabels { rule }).set(level(metrics));
    }

    /// How the last discovery of a rule went, and how many series names are known, if any discovery has succeeded.
    pub fn discovery(&self, rule: RuleId, succeeded: bool, series_names: Option<usize>) {
        let labels = RuleLabels { rule };
        self.rules.discovered.get_or_create(&labels).set(succeeded.into());
        match series_names {
            Some(names) => {
                self.rules.series_names.get_or_create(&labels).set(level(names));
            }
            None => {
                self.rules.series_names.remove(&labels);
            }
        }
    }

    /// The catalog was swapped.
    pub fn catalog(&self, metrics: usize, bytes: usize) {
        self.rules.catalog.set(level(metrics));
        self.rules.catalog_bytes.set(level(bytes));
    }
}
