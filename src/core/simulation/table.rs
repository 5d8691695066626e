//! The table that compares runs.

use super::{Run, texts::printable};

/// The heads of the columns. Times are in minutes.
pub(super) const HEADS: [&str; 8] = [
    "variant",
    "replica-hours",
    "replicas",
    "scale events",
    "above target",
    "at maximum",
    "no decision",
    "flaps",
];

/// The cells of a run.
pub(super) fn cells(run: &Run, first: &Run) -> [String; 8] {
    let summary = run.summary;
    let hours = format!("{:.1}", summary.replica_hours);
    let base = first.summary.replica_hours;
    let is_first = std::ptr::eq(run, first);
    let hours = if is_first || base <= 0.0 {
        hours
    } else {
        format!("{hours} ({:+.0} %)", (summary.replica_hours / base - 1.0) * 100.0)
    };
    let minutes = |minutes: f64| format!("{minutes:.0} min");
    [
        printable(&run.variant.name),
        hours,
        format!("{} to {}", summary.fewest, summary.most),
        format!("{} up, {} down", summary.ups, summary.downs),
        minutes(summary.minutes_above_target),
        minutes(summary.minutes_at_maximum),
        minutes(summary.minutes_unreadable),
        summary.flaps.to_string(),
    ]
}

/// The table as text, the numbers aligned to the right.
pub(super) fn text(runs: &[Run]) -> String {
    let Some(first) = runs.first() else { return String::new() };
    let mut rows = vec![HEADS.map(str::to_owned)];
    rows.extend(runs.iter().map(|run| cells(run, first)));
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..HEADS.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for ((at, cell), width) in row.iter().enumerate().zip(&widths) {
            if at == 0 {
                line += &format!("{cell:<width$}");
            } else {
                line += &format!("  {cell:>width$}");
            }
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}
