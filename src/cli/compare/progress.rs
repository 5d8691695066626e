//! How far a comparison is, on a terminal.

use std::io::{self, IsTerminal as _, Write as _};

use crate::{
    compare::Progress,
    core::excerpt::{NAME, excerpt},
};

/// The width of the bar.
const WIDTH: usize = 24;

/// Back to the begin of the line, and nothing behind.
const CLEAR: &str = "\r\x1b[K";

/// A line on standard error that changes; nothing where that is no terminal.
pub(super) struct Bar {
    is_shown: bool,
}

impl Bar {
    pub(super) fn new() -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self { is_shown: io::stderr().is_terminal() && !is_dumb }
    }

    pub(super) fn show(&self, progress: Progress<'_>) {
        if self.is_shown {
            write(&format!("{CLEAR}{}", line(progress)));
        }
    }
}

impl Drop for Bar {
    /// Takes the line away, for what is printed next.
    fn drop(&mut self) {
        if self.is_shown {
            write(CLEAR);
        }
    }
}

fn write(text: &str) {
    let mut stderr = io::stderr();
    // A closed standard error shows nothing.
    stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()).unwrap_or_default();
}

fn line(Progress { done, all, metric }: Progress<'_>) -> String {
    let full = (done * WIDTH).checked_div(all).unwrap_or_default().min(WIDTH);
    let (full, empty) = ("#".repeat(full), "-".repeat(WIDTH - full));
    let line = format!("[{full}{empty}] {done} of {all} metrics {}", excerpt(metric, NAME));
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_and_names_are_short() {
        let line = |done, all, metric| line(Progress { done, all, metric });
        assert!(line(0, 2, "m").starts_with("[------------------------] 0 of 2 metrics m"));
        assert!(line(0, 2, "").ends_with("0 of 2 metrics"));
        assert!(line(1, 2, "m").starts_with("[############------------] 1 of 2"));
        assert!(line(2, 2, "m\x1b[0m").ends_with("] 2 of 2 metrics m\\u{1b}[0m"));
        assert!(line(0, 0, &"m".repeat(500)).chars().count() < 120);
    }
}
