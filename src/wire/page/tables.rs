//! The tables of the status page.

use maud::{Markup, html};

use super::{
    spark::{bar, sparkline},
    text::{self, ago, bytes, count, counter, cut, date, duration, latency, value},
};
use crate::core::{
    explain::Api,
    overview::{Overview, Shown, State, autoscalers::AutoscalerRow},
};

/// A table that scrolls within itself where it is too wide, and says how many rows it leaves out.
fn table<T>(
    caption: &str,
    columns: &[&str],
    shown: &Shown<T>,
    nothing: &str,
    row: impl Fn(&T) -> Markup,
) -> Markup {
    html! {
        @if shown.is_empty() {
            p.nothing { (nothing) }
        } @else {
            div.scroll tabindex="0" role="region" aria-label=(caption) {
                table {
                    caption { (caption) }
                    thead { tr { @for column in columns { th scope="col" { (column) } } } }
                    tbody { @for it in &shown.rows { tr { (row(it)) } } }
                }
            }
            @if shown.more > 0 { p.more { (count(shown.more)) " more" } }
        }
    }
}

/// A list of sentences.
fn list(sentences: &Shown<String>) -> Markup {
    html! {
        @if !sentences.is_empty() {
            ul.sentences {
                @for sentence in &sentences.rows { li { (cut(sentence)) } }
                @if sentences.more > 0 { li.more { (count(sentences.more)) " more" } }
            }
        }
    }
}

/// Names and values.
fn facts(facts: &[(&str, String)]) -> Markup {
    html! { dl.facts { @for (name, value) in facts { div { dt { (name) } dd { (cut(value)) } } } } }
}

fn state(state: &State) -> Markup {
    let (class, word, why) = match state {
        State::Good(word) => ("good", word, ""),
        State::Doubtful(word, why) => ("doubtful", word, why.as_str()),
        State::Bad(word, why) => ("bad", word, why.as_str()),
    };
    html! {
        span.state.(class) { (word) }
        @if !why.is_empty() { " " span.why { (cut(why)) } }
    }
}

pub(super) fn autoscalers(overview: &Overview) -> Markup {
    let columns = ["Autoscaler", "Replicas", "Limits", "Metrics: value / target"];
    match &overview.autoscalers {
        Err(why) => html! { p.nothing { (cut(why)) } },
        Ok(shown) => table(
            "HorizontalPodAutoscalers, with the values that the controller last read",
            &columns,
            shown,
            "There is none.",
            autoscaler,
        ),
    }
}

fn autoscaler(row: &AutoscalerRow) -> Markup {
    let AutoscalerRow { namespace, name, target, current, desired, limits, metrics, .. } = row;
    html! {
        th scope="row" { span.dim { (cut(namespace)) "/" } (cut(name)) div.dim { (cut(target)) } }
        td.number {
            @match current { Some(current) => (current), None => "–" }
            @if *current != Some(*desired) { " → " strong { (desired) } }
        }
        td.number { (limits.0) "–" (limits.1) }
        td {
            ul.metrics {
                @for metric in &metrics.rows {
                    li {
                        @if let Some(ratio) = metric.ratio_milli { (bar(ratio)) } @else { span.nobar {} }
                        span { (cut(&metric.name)) ": " strong { (metric.value.as_deref().map_or_else(|| "–".to_owned(), cut)) } " / " (cut(&metric.target)) }
                    }
                }
                @if metrics.more > 0 { li.more { (count(metrics.more)) " more" } }
            }
            @for remark in row.remarks.iter().take(4) { p.why.bad[row.is_failing] { (cut(remark)) } }
        }
    }
}

pub(super) fn metrics(overview: &Overview) -> Markup {
    let now_s = overview.server.now.as_second();
    let since = overview.recording_since.map(|since| duration(overview.server.now, since));
    let columns =
        ["Metric", "Namespace", "Objects", "Value", "Last 10 min and more", "Values", "Read"];
    html! {
        @match since {
            None => { p.nothing { "Values are not kept." } }
            Some(since) => { p.note { "The mean over the objects of a read, the sum of an external metric. Kept for " (since) "." } }
        }
        (table("Metrics that were read", &columns, &overview.metrics, "Nothing was read yet.", |(topic, history)| {
            let points: Vec<_> = history.points.iter().copied().collect();
            // A read without values is no value of 0.
            let last = points.last().copied().filter(|_| history.values > 0);
            let last = last.map_or_else(|| "–".to_owned(), value);
            let range = points.iter().min().zip(points.iter().max());
            let label = range.map_or_else(String::new, |(low, high)| format!("from {} to {}", value(*low), value(*high)));
            let api = match topic.api { Api::Custom => "", Api::External => "external", Api::Resource => "usage" };
            html! {
                th scope="row" { (cut(&topic.metric)) @if !topic.selector.is_empty() { div.dim { "{" (cut(&topic.selector)) "}" } } }
                td { (cut(&topic.namespace)) }
                td { (cut(&topic.objects)) @if !api.is_empty() { span.dim { (api) } } }
                td.number { strong { (last) } }
                td { (sparkline(&points, &label)) }
                td.number { (count(history.values)) }
                td.number { (text::seconds_ago(now_s, history.read_s)) }
            }
        }))
    }
}

pub(super) fn rules(overview: &Overview) -> Markup {
    let columns = ["Rule", "State", "Series", "Backend", "Exposes"];
    table(
        "Rules, in the order of the file",
        &columns,
        &overview.rules,
        "There are no rules.",
        |row| {
            html! {
                th scope="row" { (cut(&row.id)) }
                td { (state(&row.state)) }
                td { code { (cut(&row.series)) } }
                td { (cut(&row.backend)) }
                td {
                    @if !row.metrics.is_empty() {
                        span.number { (count(row.metrics.len())) ": " }
                        @for (at, name) in row.metrics.rows.iter().enumerate() { @if at > 0 { ", " } (cut(name)) }
                        @if row.metrics.more > 0 { ", " span.dim { (count(row.metrics.more)) " more" } }
                    }
                }
            }
        },
    )
}

pub(super) fn backends(overview: &Overview) -> Markup {
    let now = overview.server.now;
    let columns = [
        "Backend",
        "State",
        "Latency: median",
        "95%",
        "Last requests",
        "Answered",
        "Failed",
        "Received",
    ];
    table("Backends", &columns, &overview.backends, "There is none.", |row| {
        let it = &row.exchanges;
        let points: Vec<_> = it.latencies.iter().map(|micros| i64::from(*micros)).collect();
        let percentile = |percent| it.percentile(percent).map_or_else(|| "–".to_owned(), latency);
        let label = format!("latencies, 95% below {}", percentile(95));
        html! {
            th scope="row" { (cut(&row.name)) div.dim { (cut(&row.url)) } }
            td { (state(&row.state)) }
            td.number { (percentile(50)) }
            td.number { (percentile(95)) }
            td { (sparkline(&points, &label)) }
            td.number { (counter(it.answered)) }
            td {
                @if it.failed.is_empty() { "0" } @else {
                    @for (at, (reason, times)) in it.failed.iter().enumerate() { @if at > 0 { ", " } (counter(*times)) " " (reason) }
                    @if let Some((reason, at)) = it.last_failure { div.dim { "last: " (reason) ", " (ago(now, at)) } }
                }
            }
            td.number { (bytes(row.received_bytes)) }
        }
    })
}

pub(super) fn delegates(overview: &Overview) -> Markup {
    let columns = ["Delegate", "State", "Custom metrics", "External metrics", "Answered", "Failed"];
    table(
        "Other servers of the metrics APIs",
        &columns,
        &overview.delegates,
        "There is none.",
        |row| {
            html! {
                th scope="row" { (cut(&row.name)) div.dim { (cut(&row.host)) } }
                td { (state(&row.state)) }
                td.number { (count(row.custom)) }
                td.number { (count(row.external)) }
                td.number { (counter(row.answered)) }
                td.number { (counter(row.failed)) }
            }
        },
    )
}

pub(super) fn plans(overview: &Overview) -> Markup {
    let columns = ["Series", "Namespace", "Plan", "Why", "Readers", "Objects", "Shared samples"];
    html! {
        @if !overview.cache.plans.is_empty() {
            (facts(&overview.cache.plans.iter().map(|(plan, times)| (*plan, counter(*times))).collect::<Vec<_>>()))
        }
        (table("Readers that can share a query, the largest groups first", &columns, &overview.plans, "Nothing was read yet.", |row| {
            html! {
                th scope="row" {
                    (cut(&row.series)) span.dim { " by " (cut(&row.label)) }
                    @if !row.selector.is_empty() { div.dim { "{" (cut(&row.selector)) "}" } }
                    @if let Some(rule) = &row.rule { div.dim { (cut(rule)) } }
                }
                td { @match &row.namespace { Some(namespace) => (cut(namespace)), None => span.dim { "all" } } }
                td { span.state.{ @if row.mode == "paused" { "bad" } @else if row.mode == "shared" { "good" } @else { "plain" } } { (row.mode) } }
                td.why { (cut(&row.why)) }
                td.number { (count(row.readers)) }
                td.number { (count(row.objects)) }
                td.number { @match row.samples { Some(samples) => (count(samples)), None => "–" } }
            }
        }))
    }
}

pub(super) fn cache(overview: &Overview) -> Markup {
    let it = &overview.cache;
    let mut all = vec![
        ("results", count(it.entries)),
        ("size", format!("{} of {}", bytes(it.bytes), bytes(it.most_bytes))),
        ("gave way", counter(it.evicted)),
        ("reads that waited", counter(it.waits)),
    ];
    all.extend(it.reads.iter().map(|(outcome, reads)| (*outcome, counter(*reads))));
    facts(&all)
}

pub(super) fn discovery(overview: &Overview) -> Markup {
    let (it, now) = (&overview.discovery, overview.server.now);
    let last = it.last.map_or_else(
        || "not yet".to_owned(),
        |(at, took)| format!("{} ({}), took {took} ms", date(at), ago(now, at)),
    );
    let next = it.next.map_or_else(
        || "–".to_owned(),
        |at| if at <= now { "now".to_owned() } else { format!("in {}", duration(at, now)) },
    );
    html! {
        (facts(&[("last", last), ("next", next), ("discoveries", counter(it.rounds)), ("metrics", count(it.metrics))]))
        @if !it.failures.is_empty() { h3 { "Failed" } (list(&it.failures)) }
        @if !it.remarks.is_empty() { h3 { "Remarks" } (list(&it.remarks)) }
    }
}

pub(super) fn failures(overview: &Overview) -> Markup {
    let now = overview.server.now;
    let columns = ["Last", "Times", "Status", "What the client was told"];
    html! {
        p.note { "Reads that were answered with an error. The log has the causes." }
        (table("Errors, the last one first", &columns, &overview.failures, "None yet.", |noted| {
            html! {
                td.number { (ago(now, noted.at)) }
                td.number { (counter(noted.times)) }
                td.number { (noted.what.code) }
                td { (cut(&noted.what.message)) }
            }
        }))
    }
}

pub(super) fn server(overview: &Overview) -> Markup {
    let (reloads, now) = (&overview.reloads, overview.server.now);
    let at = |at: Option<jiff::Timestamp>| {
        at.map_or_else(|| "–".to_owned(), |at| format!("{} ({})", date(at), ago(now, at)))
    };
    html! {
        h3 { "Rules file" }
        (facts(&[
            ("in use since", at(reloads.since)),
            ("taken over", counter(reloads.taken)),
            ("refused", counter(reloads.refused.0)),
            ("last refused", at(reloads.refused.1)),
        ]))
        (list(&reloads.problem))
        h3 { "Serving certificate" }
        @match &overview.certificate {
            None => { p.nothing { "It cannot be read." } }
            Some(it) => {
                (facts(&[
                    ("subject", it.subject.clone()),
                    ("issuer", it.issuer.clone()),
                    ("valid from", date(it.not_before)),
                    ("expires", format!("{} (in {})", date(it.not_after), duration(it.not_after, now))),
                    ("names", it.names.rows.join(", ")),
                ]))
            }
        }
        h3 { "Process" }
        (facts(&[("version", overview.server.version.to_owned()), ("started", at(Some(overview.server.started)))]))
    }
}
