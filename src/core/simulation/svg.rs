//! The chart of a run as SVG: its metrics with their targets, and its replicas with their limits.
//!
//! All runs of a report have the same scales, so that charts can be compared side by side.

use super::{
    Report, Run,
    scale::{Part, parts, short, target, time, top_of_metric, top_of_replicas, unit},
    texts::escape,
};

/// The width of a chart, and the place of the plots in it, in units of the drawing.
const WIDTH: f64 = 640.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 628.0;

/// The height of a plot, the place above it for its title, and that below the last one for times.
const HEIGHT: f64 = 116.0;
const TITLE: f64 = 34.0;
const TIMES: f64 = 24.0;

/// How many places there are along a plot.
const COLUMNS: usize = 480;

/// Draws a run. `id` is different for every chart of a page.
pub(super) fn chart(report: &Report, run: &Run, id: usize) -> String {
    let plots = run.spec.metrics.len() + 1;
    let height = (0..plots).fold(TIMES, |height, _| height + TITLE + HEIGHT);
    let label = escape(&format!("{}: metrics and replicas over time", run.variant.name));
    let mut svg =
        format!("<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{label}\">\n");
    let mut top = TITLE;
    for (at, (metric, ratios)) in run.spec.metrics.iter().zip(&run.timeline.ratios).enumerate() {
        let target = target(metric.target);
        let values: Vec<_> = ratios.iter().map(|ratio| ratio * target).collect();
        let plot = Plot { top, scale: top_of_metric(report, at) };
        let note = report.metrics.get(at);
        let title =
            note.map_or(String::new(), |note| format!("{}{}", note.name, unit(metric.target)));
        svg += &plot.frame(report, &title);
        svg += &plot.metric(&values, target, &format!("above-{id}-{at}"));
        top += HEIGHT + TITLE;
    }
    let plot = Plot { top, scale: top_of_replicas(report) };
    let (min, max) = (run.spec.min_replicas, run.spec.max_replicas);
    let far = if f64::from(max) > plot.scale { format!(" (maximum {max})") } else { String::new() };
    svg += &plot.frame(report, &format!("replicas{far}"));
    svg += &plot.replicas(run);
    for (limit, name) in [(min, "min"), (max, "max")] {
        if f64::from(limit) <= plot.scale {
            svg += &plot.line(f64::from(limit), "limit", &format!("{name} {limit}"));
        }
    }
    svg += &times(report, top + HEIGHT);
    svg + "</svg>\n"
}

/// A plot in a chart.
struct Plot {
    /// The place of its upper edge.
    top: f64,
    /// The value there.
    scale: f64,
}

impl Plot {
    fn y(&self, value: f64) -> f64 {
        let part = (value / self.scale).clamp(0.0, 1.0);
        self.top + HEIGHT * (1.0 - part)
    }

    /// The title and the grid.
    fn frame(&self, report: &Report, title: &str) -> String {
        let mut svg = format!(
            "<text class=\"title\" x=\"{LEFT}\" y=\"{:.0}\">{}</text>\n",
            self.top - 9.0,
            escape(title)
        );
        for part in [0.0, 0.5, 1.0] {
            let value = self.scale * part;
            let y = self.y(value);
            svg += &format!(
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/><text class=\"tick end\" x=\"{:.0}\" y=\"{:.1}\">{}</text>\n",
                LEFT - 7.0,
                y + 3.5,
                short(value)
            );
        }
        for (x, _) in marks(report) {
            svg += &format!(
                "<path class=\"grid\" d=\"M{x:.1} {:.1}V{:.1}\"/>\n",
                self.top,
                self.top + HEIGHT
            );
        }
        svg
    }

    /// The values of a metric: their mean as a line, and a band from the lowest to the highest. Shaded above the target.
    fn metric(&self, values: &[f64], target: f64, id: &str) -> String {
        let bottom = self.top + HEIGHT;
        let parts = parts(values, COLUMNS);
        let known: Vec<_> = (0..).zip(&parts).filter_map(|(at, it)| Some((at, (*it)?))).collect();
        let (mut line, mut area, mut band) = (String::new(), String::new(), String::new());
        for run in known.chunk_by(|(before, _), (after, _)| after - before == 1) {
            let point = |at: usize, value: f64| format!("{:.1} {:.1}", column(at), self.y(value));
            let path = |of: &dyn Fn(&Part) -> f64| {
                let points: Vec<_> = run.iter().map(|(at, part)| point(*at, of(part))).collect();
                points.join("L")
            };
            let mean = path(&|part| part.mean);
            line += &format!("M{mean}");
            if let (Some((first, _)), Some((last, _))) = (run.first(), run.last()) {
                let (first, last) = (column(*first), column(*last));
                area += &format!("M{mean}L{last:.1} {bottom:.1}H{first:.1}Z");
            }
            let back = run.iter().rev().map(|(at, part)| point(*at, part.low));
            let back: Vec<_> = back.collect();
            band += &format!("M{}L{}Z", path(&|part| part.high), back.join("L"));
        }
        let clip = format!(
            "<clipPath id=\"{id}\"><rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/></clipPath>",
            self.top,
            RIGHT - LEFT,
            self.y(target) - self.top
        );
        format!(
            "{clip}<path class=\"area\" d=\"{area}\"/><path class=\"band\" d=\"{band}\"/><path class=\"above\" clip-path=\"url(#{id})\" d=\"{area}{band}\"/><path class=\"metric\" d=\"{line}\"/>\n{}",
            self.line(target, "target", &format!("target {}", short(target)))
        )
    }

    /// The replicas, which change in steps.
    fn replicas(&self, run: &Run) -> String {
        let replicas: Vec<_> =
            run.timeline.syncs.iter().map(|sync| f64::from(sync.replicas)).collect();
        let mut line = String::new();
        for (at, part) in parts(&replicas, COLUMNS).into_iter().enumerate() {
            let Some(Part { low, high, last, .. }) = part else { continue };
            let x = column(at);
            line += &if line.is_empty() {
                format!("M{x:.1} {:.1}", self.y(low))
            } else {
                format!("H{x:.1}")
            };
            let mut before = None;
            for value in [low, high, last] {
                let point = format!("V{:.1}", self.y(value));
                if before.as_ref() != Some(&point) {
                    line += &point;
                }
                before = Some(point);
            }
        }
        if line.is_empty() {
            return line;
        }
        line += &format!("H{RIGHT}");
        let bottom = self.top + HEIGHT;
        format!(
            "<path class=\"fill\" d=\"{line}V{bottom:.1}H{LEFT}Z\"/><path class=\"replicas\" d=\"{line}\"/>\n"
        )
    }

    /// A line at a value, with its label at the right, above it or below where there is no place.
    fn line(&self, value: f64, class: &str, label: &str) -> String {
        let y = self.y(value);
        let below = if y - self.top < 14.0 { 12.0 } else { -4.0 };
        format!(
            "<path class=\"{class}\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/><text class=\"tick end {class}-label\" x=\"{:.0}\" y=\"{:.1}\">{label}</text>\n",
            RIGHT - 4.0,
            y + below
        )
    }
}

/// The place of a column.
#[expect(clippy::cast_precision_loss, reason = "there are few columns")]
fn column(at: usize) -> f64 {
    LEFT + (RIGHT - LEFT) * at as f64 / COLUMNS as f64
}

/// The places of the times that are marked.
fn marks(report: &Report) -> impl Iterator<Item = (f64, i64)> {
    const COUNT: i32 = 6;
    let (start, end) = (report.grid.start_ms, report.grid.end_ms());
    (0..=COUNT).map(move |mark| {
        let x = LEFT + (RIGHT - LEFT) * f64::from(mark) / f64::from(COUNT);
        (x, start + (end - start) / i64::from(COUNT) * i64::from(mark))
    })
}

/// The times below the plots.
fn times(report: &Report, bottom: f64) -> String {
    let whole = report.grid.end_ms() - report.grid.start_ms;
    let mark = |(x, at_ms): (f64, i64)| {
        let class = if x >= RIGHT { "tick end" } else { "tick middle" };
        format!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>\n",
            bottom + 16.0,
            time(at_ms, whole)
        )
    };
    marks(report).map(mark).collect()
}
