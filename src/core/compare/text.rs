//! A comparison as people read it.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{Comparison, Counts, Difference, Reason, Verdict, documented::DOCUMENTED};
use crate::core::excerpt::{NAME, excerpt};

/// The page that says what is meant to differ.
const PAGE: &str = "docs/from-prometheus-adapter.md";

/// The heads of the columns; those of the servers' values are their names.
const HEADS: [&str; 4] = ["METRIC", "NAMESPACE", "OBJECT", "DIFFERENCE"];

impl Comparison {
    /// A table of the differences and what to make of them. Without `all` it has only those that nothing explains.
    pub fn text(&self, all: bool) -> String {
        let mut out = String::new();
        // Writing to a String does not fail.
        self.write(&mut out, all).unwrap_or_default();
        out
    }

    fn write(&self, out: &mut String, all: bool) -> std::fmt::Result {
        let shown = self.differences.iter().filter(|it| all || it.reason.is_none());
        let rows: Vec<_> = shown.map(row).collect();
        if !rows.is_empty() {
            let [metric, namespace, object, difference] = HEADS.map(str::to_owned);
            let (reference, with) = (self.reference.clone(), self.with.clone());
            table(out, &[metric, namespace, object, reference, with, difference], &rows)?;
            writeln!(out)?;
        }
        let mut known: BTreeMap<Reason, usize> = BTreeMap::new();
        for difference in &self.differences {
            if let Some(reason) = difference.reason {
                *known.entry(reason).or_default() += difference.count;
            }
        }
        for (reason, count) in known {
            let title = DOCUMENTED.iter().find(|row| row.reasons.contains(&reason));
            let title = title.map_or("", |row| row.title.trim_end_matches([':', '.']));
            writeln!(out, "{}: {count} (documented: {title})", reason.code())?;
        }
        for note in &self.notes {
            writeln!(out, "note: {note}")?;
        }
        let Counts { metrics, reads, values, moved } = self.compared;
        let moving = if moved == 0 { String::new() } else { format!(" ({moved} moving)") };
        writeln!(out, "metrics: {metrics}, reads: {reads}, values: {values}{moving}")?;
        match self.verdict {
            Verdict::Same => writeln!(out, "same: nothing differs"),
            Verdict::Explained => {
                writeln!(out, "explained: all differences are documented in {PAGE}")
            }
            Verdict::Different => writeln!(out, "different: see the table"),
        }
    }
}

type Row = [String; 6];

fn row(difference: &Difference) -> Row {
    let Difference {
        api: _,
        metric,
        aspect,
        namespace,
        object,
        count,
        reference,
        with,
        reason,
        cause,
    } = difference;
    let object = match (&*excerpt(object, NAME), *count) {
        (object, 0 | 1) => object.to_owned(),
        ("", count) => format!("{count} answers"),
        (object, count) => format!("{object} and {} more", count - 1),
    };
    let why = match (reason, cause) {
        (Some(reason), _) => format!(": {}", reason.code()),
        (None, Some(cause)) => format!(" (explain: {})", cause.code()),
        (None, None) => String::new(),
    };
    let value = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".to_owned());
    let namespace = namespace.clone().unwrap_or_default();
    let difference = format!("{}{why}", aspect.name());
    [metric.clone(), namespace, object, value(reference), value(with), difference]
}

fn table(out: &mut String, heads: &Row, rows: &[Row]) -> std::fmt::Result {
    let all = || std::iter::once(heads).chain(rows);
    let mut widths = [0; 6];
    for row in all() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in all() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            write!(line, "{cell:<width$}  ")?;
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        compare::{Aspect, MetricsApi, Sides},
        explain::Cause,
    };

    #[test]
    fn the_table_has_what_nothing_explains_and_counts_the_rest() {
        let difference = |object: &str, count, reason, cause| Difference {
            api: MetricsApi::Custom,
            metric: "pods/m".to_owned(),
            aspect: Aspect::Value,
            namespace: Some("ide".to_owned()),
            object: object.to_owned(),
            count,
            reference: Some("1".to_owned()),
            with: None,
            reason,
            cause,
        };
        let sides = Sides { reference: "registered".to_owned(), with: "loadline".to_owned() };
        let differences = vec![
            difference("web-0", 3, None, Some(Cause::SeriesEnded)),
            difference("web-1", 2, Some(Reason::Rounding), None),
        ];
        let counts = Counts { metrics: 1, reads: 2, values: 3, moved: 1 };
        let notes = vec!["of the rest nothing".to_owned()];
        let comparison = Comparison::conclude(sides, counts, differences, notes);
        let text = comparison.text(false);
        let row = text.lines().nth(1).unwrap();
        let cells: Vec<_> = row.split("  ").map(str::trim).filter(|it| !it.is_empty()).collect();
        let why = "value (explain: series-ended)";
        assert_eq!(cells, ["pods/m", "ide", "web-0 and 2 more", "1", "-", why]);
        assert!(!text.contains("web-1") && text.contains("rounding: 2 "), "{text}");
        let all = comparison.text(true);
        assert!(all.contains("web-1 and 1 more") && all.contains("value: rounding"), "{all}");
    }
}
