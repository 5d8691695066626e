//! Plots for terminals: bars of block characters, or of `#`.

use anstyle::{AnsiColor, Style};

use super::{
    Report, Run,
    scale::{parts, short, target, time, top_of_metric, top_of_replicas, unit},
    texts::printable,
};

/// The lines of a plot.
const HEIGHT: usize = 6;

/// The characters before a plot.
const MARGIN: usize = 8;

/// The fewest and the most columns of a plot.
const COLUMNS: [usize; 2] = [20, 160];

/// Where plots are shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Canvas {
    /// The width in characters.
    pub width: usize,
    /// Whether only ASCII is shown.
    pub is_ascii: bool,
}

/// A plot.
struct Plot {
    title: String,
    /// The highest value of each column; nothing where there is none.
    columns: Vec<Option<f64>>,
    top: f64,
    /// Lines at values, such as targets and limits.
    lines: Vec<f64>,
    color: AnsiColor,
    /// The color of a column that is higher than a value.
    above: Option<(f64, AnsiColor)>,
}

/// The plots of a run: one for each metric, and that of the replicas.
pub(super) fn plots(report: &Report, run: &Run, canvas: Canvas) -> String {
    let [least, most] = COLUMNS;
    let width = canvas.width.saturating_sub(MARGIN + 1).clamp(least, most);
    let highest = |numbers: &[f64]| -> Vec<Option<f64>> {
        parts(numbers, width).into_iter().map(|part| part.map(|part| part.high)).collect()
    };
    let mut text = String::new();
    for (at, (metric, ratios)) in run.spec.metrics.iter().zip(&run.timeline.ratios).enumerate() {
        let target = target(metric.target);
        let values: Vec<_> = ratios.iter().map(|ratio| ratio * target).collect();
        let note = report.metrics.get(at);
        let name = note.map_or("", |note| note.name.as_str());
        let plot = Plot {
            title: format!("{}{}, target {}", printable(name), unit(metric.target), short(target)),
            columns: highest(&values),
            top: top_of_metric(report, at),
            lines: vec![target],
            color: AnsiColor::Cyan,
            above: Some((target * (1.0 + run.spec.tolerance_up), AnsiColor::Red)),
        };
        plot.draw(&mut text, canvas);
    }
    let (min, max) = (run.spec.min_replicas, run.spec.max_replicas);
    let replicas: Vec<_> = run.timeline.syncs.iter().map(|sync| f64::from(sync.replicas)).collect();
    let plot = Plot {
        title: format!("replicas, {min} to {max}"),
        columns: highest(&replicas),
        top: top_of_replicas(report),
        lines: vec![f64::from(min), f64::from(max)],
        color: AnsiColor::Green,
        above: None,
    };
    plot.draw(&mut text, canvas);
    text + &axis(report, width) + "\n"
}

impl Plot {
    fn draw(&self, text: &mut String, canvas: Canvas) {
        *text += &format!("{}\n", self.title);
        let at = |value: f64| value / self.top * as_float(HEIGHT);
        let marked: Vec<_> = self.lines.iter().map(|line| (row_of(at(*line)), *line)).collect();
        let (side, line) = if canvas.is_ascii { ('|', '-') } else { ('│', '┄') };
        for row in (0..HEIGHT).rev() {
            let mark = marked.iter().find(|(marked, _)| *marked == row).map(|(_, line)| *line);
            let label = match mark {
                Some(value) => short(value),
                None if row + 1 == HEIGHT => short(self.top),
                None if row == 0 => short(0.0),
                None => String::new(),
            };
            *text += &format!("{label:>width$}{side}", width = MARGIN - 1);
            let mut last = Style::new();
            for value in &self.columns {
                let filled = value.map_or(0.0, |value| at(value) - as_float(row));
                let cell = cell(filled, value == &Some(0.0) && row == 0, canvas.is_ascii);
                let (shown, style) = match cell {
                    ' ' if mark.is_some() => (line, Style::new().dimmed()),
                    ' ' => (' ', Style::new()),
                    cell => (cell, self.style(*value)),
                };
                if style != last {
                    *text += &format!("{last:#}{style}");
                    last = style;
                }
                text.push(shown);
            }
            *text += &format!("{last:#}");
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
        }
    }

    fn style(&self, value: Option<f64>) -> Style {
        let color = match (self.above, value) {
            (Some((limit, color)), Some(value)) if value > limit => color,
            _ => self.color,
        };
        Style::new().fg_color(Some(color.into()))
    }
}

/// The row in which a height is, counted from below.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast saturates")]
fn row_of(height: f64) -> usize {
    // A line at the top of a row is in that row.
    (height - 1e-9).max(0.0).floor() as usize
}

/// The character of a cell that is filled to a part.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is 0 to 8")]
fn cell(filled: f64, is_zero: bool, is_ascii: bool) -> char {
    const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let eighths = (filled.clamp(0.0, 1.0) * 8.0).round() as usize;
    match (is_ascii, eighths) {
        (true, 0) if is_zero => '_',
        (true, 0..4) => ' ',
        (true, _) => '#',
        (false, 0) if is_zero => '▁',
        (false, eighths) => BLOCKS.get(eighths).copied().unwrap_or(' '),
    }
}

/// The times below the plots.
fn axis(report: &Report, width: usize) -> String {
    let (start, end) = (report.grid.start_ms, report.grid.end_ms());
    let mut line = " ".repeat(MARGIN);
    let count = (width / 20).clamp(1, 8);
    let whole = i64::try_from(count).unwrap_or(1);
    for (mark, step) in (0..count).zip(0..) {
        let column = MARGIN + mark * width / count;
        line.extend(std::iter::repeat_n(' ', column.saturating_sub(line.len())));
        line += &time(start + (end - start) / whole * step, end - start);
    }
    let last = time(end, end - start);
    let column = (MARGIN + width).saturating_sub(last.len());
    line.extend(std::iter::repeat_n(' ', column.saturating_sub(line.len())));
    line + &last + " UTC"
}

#[expect(clippy::cast_precision_loss, reason = "a height is small")]
fn as_float(count: usize) -> f64 {
    count as f64
}
