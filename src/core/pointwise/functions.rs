//! The functions that keep a query pointwise.

/// How a function works on a vector or range that depends on the names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::core) enum Works {
    /// On each element or series by itself, without changing a label but the metric name.
    Elementwise,
    /// On groups of elements that differ in the label of histogram buckets alone.
    OnBuckets,
    /// On each element, writing the label that the second argument names and reading the one of the fourth.
    LabelReplace,
    /// On each element, writing the label that the second argument names and reading those of the fourth and further.
    LabelJoin,
    /// In a way that is not known.
    Unknown,
}

/// The labels that identify the buckets of a histogram: Prometheus' and VictoriaMetrics'.
pub(in crate::core) const BUCKETS: [&str; 2] = ["le", "vmrange"];

pub(in crate::core) fn works(function: &str) -> Works {
    match function {
        "abs"
        | "acos"
        | "acosh"
        | "asin"
        | "asinh"
        | "atan"
        | "atanh"
        | "avg_over_time"
        | "ceil"
        | "changes"
        | "clamp"
        | "clamp_max"
        | "clamp_min"
        | "cos"
        | "cosh"
        | "count_over_time"
        | "day_of_month"
        | "day_of_week"
        | "day_of_year"
        | "days_in_month"
        | "deg"
        | "delta"
        | "deriv"
        | "double_exponential_smoothing"
        | "exp"
        | "first_over_time"
        | "floor"
        | "histogram_avg"
        | "histogram_count"
        | "histogram_stddev"
        | "histogram_stdvar"
        | "histogram_sum"
        | "hour"
        | "idelta"
        | "increase"
        | "irate"
        | "last_over_time"
        | "ln"
        | "log10"
        | "log2"
        | "mad_over_time"
        | "max_over_time"
        | "min_over_time"
        | "minute"
        | "month"
        | "predict_linear"
        | "present_over_time"
        | "quantile_over_time"
        | "rad"
        | "rate"
        | "resets"
        | "round"
        | "sgn"
        | "sin"
        | "sinh"
        | "sort"
        | "sort_by_label"
        | "sort_by_label_desc"
        | "sort_desc"
        | "sqrt"
        | "stddev_over_time"
        | "stdvar_over_time"
        | "sum_over_time"
        | "tan"
        | "tanh"
        | "timestamp"
        | "ts_of_first_over_time"
        | "ts_of_last_over_time"
        | "ts_of_max_over_time"
        | "ts_of_min_over_time"
        | "year" => Works::Elementwise,
        "histogram_fraction" | "histogram_quantile" => Works::OnBuckets,
        "label_replace" => Works::LabelReplace,
        "label_join" => Works::LabelJoin,
        _ => Works::Unknown,
    }
}
