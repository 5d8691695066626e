//! Small pictures of numbers, as SVG.

use maud::{Markup, html};

/// The size of a picture, in the units of its coordinates.
const WIDTH: i64 = 120;
const HEIGHT: i64 = 28;

/// What is left free at the borders, for the width of the line.
const BORDER: i64 = 2;

/// The line through some values: its path, and the position of its end. Nothing where there are fewer than two.
fn line(points: &[i64]) -> Option<(String, i64, i64)> {
    let last = points.len().checked_sub(1).filter(|last| *last > 0)?;
    let (low, high) = (*points.iter().min()?, *points.iter().max()?);
    // The values of a series may be as far apart as numbers can be.
    let range = i128::from(high) - i128::from(low);
    let (width, height) = (WIDTH - 2 * BORDER, HEIGHT - 2 * BORDER);
    let position = |at: usize, point: i64| {
        let x = width * i64::try_from(at).ok()? / i64::try_from(last).ok()?;
        let above = i128::from(point) - i128::from(low);
        let y = (i128::from(height) * above).checked_div(range).unwrap_or(i128::from(height / 2));
        Some((BORDER + x, HEIGHT - BORDER - i64::try_from(y).ok()?))
    };
    let mut path = String::with_capacity(points.len() * 8);
    let mut end = (0, 0);
    for (at, point) in points.iter().enumerate() {
        let (x, y) = position(at, *point)?;
        path.push_str(&format!("{}{x},{y}", if at == 0 { 'M' } else { 'L' }));
        end = (x, y);
    }
    Some((path, end.0, end.1))
}

/// A line through values, and a point at the last one. `label` says the same in words.
pub(super) fn sparkline(points: &[i64], label: &str) -> Markup {
    html! {
        @if let Some((path, x, y)) = line(points) {
            svg.spark viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } width=(WIDTH) height=(HEIGHT) role="img" aria-label=(label) {
                path d=(path) {}
                circle cx=(x) cy=(y) r="2" {}
            }
        } @else {
            span.none { "–" }
        }
    }
}

/// A bar for a part of a target in thousandths, with a mark at the target itself. It ends at twice the target.
pub(super) fn bar(ratio_milli: i64) -> Markup {
    let length = WIDTH * ratio_milli.clamp(0, 2_000) / 2_000;
    let percent = ratio_milli / 10;
    html! {
        svg.bar.over[ratio_milli > 1_100] viewBox={ "0 0 " (WIDTH) " 10" } width=(WIDTH) height="10" role="img" aria-label={ (percent) "% of the target" } {
            rect.track x="0" y="2" width=(WIDTH) height="6" rx="3" {}
            rect.fill x="0" y="2" width=(length) height="6" rx="3" {}
            rect.mark x=(WIDTH / 2) y="0" width="1.5" height="10" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fills_its_box() {
        assert_eq!(line(&[]), None);
        assert_eq!(line(&[1]), None);
        assert_eq!(line(&[5, 5]), Some(("M2,14L118,14".to_owned(), 118, 14)));
        assert_eq!(line(&[0, 10, 5]), Some(("M2,26L60,2L118,14".to_owned(), 118, 14)));
        let extreme = line(&[i64::MIN, i64::MAX, 0]);
        assert_eq!(extreme, Some(("M2,26L60,2L118,14".to_owned(), 118, 14)));
    }

    #[test]
    fn a_bar_ends_at_twice_the_target() {
        let width = |ratio| {
            let bar = bar(ratio).into_string();
            let fill = bar.split("class=\"fill\"").nth(1).unwrap_or_default().to_owned();
            fill.split('"').nth(5).unwrap_or_default().to_owned()
        };
        assert_eq!(
            [width(i64::MIN), width(500), width(1_000), width(i64::MAX)],
            ["0", "30", "60", "120"]
        );
    }
}
