//! An explanation as people read it.

use std::fmt;

use super::{Explanation, Step, Verdict};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.object)?;
        let width = self.steps.iter().map(|step| step.name.len()).max().unwrap_or_default();
        for Step { name, ok, seen, .. } in &self.steps {
            let mark = match ok {
                Some(true) => '✓',
                Some(false) => '✗',
                None => '·',
            };
            writeln!(f, "  {mark} {name:<width$}  {seen}")?;
        }
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Doubtful => "doubtful",
            Verdict::Failed => "failed",
        };
        write!(f, "{verdict}")?;
        if let Some(cause) = self.cause {
            write!(f, ": {}", cause.code())?;
            let step =
                self.steps.iter().find(|step| matches!(step.cause, Some((it, _)) if it == cause));
            if let Some(Step { advice, .. }) = step.filter(|step| !step.advice.is_empty()) {
                write!(f, ": {advice}")?;
            }
        }
        writeln!(f)
    }
}
