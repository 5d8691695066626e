//! Faults of the servers and the machine around loadline, from the first one to the recovery. `docs/faults.md` has all of them, with
//! the tests of other modules that show the rest.

mod api_server;
mod prometheus;
mod samples;

const RULE: &str = "rules:\n- seriesQuery: m\n  resources: {overrides: {pod: {resource: pod}, ns: {resource: namespace}}}\n  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)\n";
