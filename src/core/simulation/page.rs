//! Reports as a page of HTML that needs nothing else: no script, no font, no image.

use super::{
    FLAP_MS, Report, Run,
    svg::chart,
    table::{HEADS, cells},
    texts::escape,
};

const STYLE: &str = include_str!("page.css");

/// The page of some reports.
pub fn page(reports: &[Report]) -> String {
    let names: Vec<_> = reports.iter().map(|report| format!("hpa/{}", report.name)).collect();
    let title = escape(&format!("Simulation of {}", names.join(", ")));
    let mut ids = 0..;
    let sections: String = reports.iter().map(|report| section(report, &mut ids)).collect();
    format!(
        "<!DOCTYPE html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">
<title>{title}</title>
<style>
{STYLE}</style>
</head>
<body>
<main>
{sections}</main>
</body>
</html>
"
    )
}

fn section(report: &Report, ids: &mut impl Iterator<Item = usize>) -> String {
    let mut html = format!(
        "<section>\n<h1>{}</h1>\n<p class=\"soft\">{}</p>\n",
        escape(&report.heading()),
        escape(&report.times())
    );
    for metric in &report.metrics {
        let assumed = if metric.is_assumed { " (assumed)" } else { "" };
        html += &format!(
            "<p class=\"soft\">{} <code>{}</code>: model {}{assumed}: {}</p>\n",
            metric.source,
            escape(&metric.name),
            metric.model,
            metric.meaning
        );
    }
    html += &table(&report.runs);
    let notes = report.warnings().into_iter().chain(report.notes.iter().cloned());
    let items: String = notes.map(|note| format!("<li>{}</li>\n", escape(&note))).collect();
    if !items.is_empty() {
        html += &format!("<ul class=\"warnings\">\n{items}</ul>\n");
    }
    html += "<div class=\"runs\">\n";
    for (run, id) in report.runs.iter().zip(ids) {
        let changes: String = run
            .variant
            .changes
            .iter()
            .map(|change| format!("<code>{}</code>", escape(change)))
            .collect();
        html += &format!(
            "<figure>\n<figcaption><b>{}</b>{changes}</figcaption>\n{}</figure>\n",
            escape(&run.variant.name),
            chart(report, run, id)
        );
    }
    html += "</div>\n<details>\n<summary>Queries and definitions</summary>\n<dl>\n";
    for metric in &report.metrics {
        html += &format!(
            "<dt>{}</dt><dd><code>{}</code></dd>\n",
            escape(&metric.name),
            escape(&metric.query)
        );
    }
    html += &format!(
        "<dt>above target</dt><dd>a metric was above its target by more than the tolerance</dd>
<dt>no decision</dt><dd>a metric had no value, and the replicas stayed as they were</dd>
<dt>flaps</dt><dd>changes of replicas that were reversed within {} minutes</dd>
</dl>
</details>
</section>
",
        FLAP_MS / 60_000
    );
    html
}

fn table(runs: &[Run]) -> String {
    let Some(first) = runs.first() else { return String::new() };
    let heads: String = HEADS.iter().map(|head| format!("<th>{head}</th>")).collect();
    let row = |run: &Run| {
        let cells: String =
            cells(run, first).iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let rows: String = runs.iter().map(row).collect();
    format!(
        "<div class=\"scroll\"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}
