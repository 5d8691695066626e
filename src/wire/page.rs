//! The status page: HTML without scripts, from what was gathered. Every text is escaped by the template library.

mod explain;
mod spark;
mod tables;
mod text;

use maud::{DOCTYPE, Markup, html};

pub use self::explain::{Answer, Question};
use self::text::{ago, bytes, count, date, duration};
use crate::core::overview::{Overview, State};

/// The name of the stylesheet, beside the page.
pub const STYLE_NAME: &str = "style.css";

/// The stylesheet.
pub const STYLE: &str = include_str!("page/style.css");

/// What a browser may do with the page: take its stylesheet and send its form, both to where it came from, and nothing else.
pub const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The longest page, in bytes: its tables have so many rows, its lists so many items, and its texts so many letters.
pub const MOST_BYTES: usize = 6 << 20;

/// The sections, by their anchors and headings, in the order of the page.
const SECTIONS: [(&str, &str); 11] = [
    ("explain", "Explain a metric"),
    ("autoscalers", "Autoscalers"),
    ("metrics", "Metrics read"),
    ("rules", "Rules"),
    ("backends", "Backends"),
    ("delegates", "Delegates"),
    ("plans", "Plans"),
    ("cache", "Cache"),
    ("discovery", "Discovery"),
    ("failures", "Last errors"),
    ("server", "Server"),
];

/// The page.
pub fn render(overview: &Overview, question: &Question, answer: Option<&Answer>) -> String {
    let body = |anchor: &str| match anchor {
        "explain" => explain::section(question, answer),
        "autoscalers" => tables::autoscalers(overview),
        "metrics" => tables::metrics(overview),
        "rules" => tables::rules(overview),
        "backends" => tables::backends(overview),
        "delegates" => tables::delegates(overview),
        "plans" => tables::plans(overview),
        "cache" => tables::cache(overview),
        "discovery" => tables::discovery(overview),
        "failures" => tables::failures(overview),
        _ => tables::server(overview),
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { "loadline on " (text::cut(&overview.server.host)) }
                link rel="stylesheet" href=(STYLE_NAME);
            }
            body {
                a.skip href="#main" { "Skip to content" }
                (header(overview))
                main #main {
                    (summary(overview))
                    (problems(overview))
                    @for (anchor, heading) in SECTIONS {
                        section #(anchor) aria-labelledby={ (anchor) "-heading" } {
                            h2 id={ (anchor) "-heading" } { (heading) }
                            (body(anchor))
                        }
                    }
                }
            }
        }
    };
    page.into_string()
}

fn header(overview: &Overview) -> Markup {
    let server = &overview.server;
    html! {
        header {
            h1 { "loadline " span.version { (server.version) } }
            p.host { (text::cut(&server.host)) " · up " (duration(server.now, server.started)) " · " (date(server.now)) }
            nav aria-label="Sections" {
                ul { @for (anchor, heading) in SECTIONS { li { a href={ "#" (anchor) } { (heading) } } } }
            }
        }
    }
}

/// A number of the summary, and whether it is as it should be.
fn figure(anchor: &str, name: &str, value: &str, note: &str, is_good: bool) -> Markup {
    html! {
        a.figure.bad[!is_good] href={ "#" (anchor) } {
            span.name { (name) }
            span.value { (value) }
            span.note { (note) }
        }
    }
}

fn summary(overview: &Overview) -> Markup {
    let Overview { discovery, backends, cache, autoscalers, rules, .. } = overview;
    let failing = |states: &mut dyn Iterator<Item = &State>| {
        states.filter(|state| matches!(state, State::Bad(..))).count()
    };
    let silent = failing(&mut backends.rows.iter().map(|row| &row.state));
    let broken = failing(&mut rules.rows.iter().map(|row| &row.state));
    let well = |failing: usize| match failing {
        0 => "all well".to_owned(),
        failing => format!("{failing} failing"),
    };
    // One that is only waited for has no reason.
    let is_doubtful = |state: &State| matches!(state, State::Doubtful(_, why) if !why.is_empty());
    let doubtful = backends.rows.iter().filter(|row| is_doubtful(&row.state)).count();
    let answering = match (silent, doubtful) {
        (0, 1..) => format!("{doubtful} doubtful"),
        _ => well(silent),
    };
    let reads: u64 = cache.reads.iter().map(|(_, reads)| reads).sum();
    let fresh = cache.reads.iter().find(|(outcome, _)| *outcome == "fresh").map_or(0, |it| it.1);
    let share = fresh.saturating_mul(100).checked_div(reads);
    let share = share.map_or_else(|| "–".to_owned(), |share| format!("{share}%"));
    let last = discovery.last.map_or_else(
        || "not yet".to_owned(),
        |(at, _)| format!("discovered {}", ago(overview.server.now, at)),
    );
    html! {
        div.figures {
            (figure("discovery", "Metrics", &count(discovery.metrics), &last, discovery.failures.is_empty()))
            (figure("rules", "Rules", &count(rules.len()), &well(broken), broken == 0))
            (figure("backends", "Backends", &count(backends.len()), &answering, silent == 0))
            @if let Ok(autoscalers) = autoscalers {
                @let failing = autoscalers.rows.iter().filter(|row| row.is_failing).count();
                (figure("autoscalers", "Autoscalers", &count(autoscalers.len()), &well(failing), failing == 0))
            }
            (figure("cache", "Fresh from cache", &share, &format!("{} in {}", count(cache.entries), bytes(cache.bytes)), true))
            @if let Some(certificate) = &overview.certificate {
                @let now = overview.server.now;
                @let left = duration(certificate.not_after, now);
                (figure("server", "Certificate", &left, "until it expires", certificate.not_after > now))
            }
        }
    }
}

fn problems(overview: &Overview) -> Markup {
    let problems = &overview.problems;
    html! {
        @if !problems.is_empty() {
            section.problems aria-labelledby="problems-heading" {
                h2 #problems-heading { "Problems now" }
                ul {
                    @for problem in &problems.rows { li { (text::cut(problem)) } }
                    @if problems.more > 0 { li.more { (count(problems.more)) " more" } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
