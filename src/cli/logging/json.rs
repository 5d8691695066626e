//! Lines of JSON, with the names of what they are about where other tools look for them.

use std::fmt;

use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::{Format, Json, Writer},
    },
    registry::LookupSpan,
};

/// Fields of spans that stand at the top of a line, too: by the first a request is known in kube-apiserver's audit log, by the
/// second in traces (<https://opentelemetry.io/docs/specs/otel/compatibility/logging_trace_context/>).
const NAMES: [&str; 2] = ["audit_id", "trace_id"];

/// A line as `tracing` writes it, with [`NAMES`] at its end where they are known.
pub(super) struct Lines(pub(super) Format<Json>);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let Some(open) = line.trim_end().strip_suffix('}') else {
            return writer.write_str(&line);
        };
        writer.write_str(open)?;
        let mut found: [Option<Value>; NAMES.len()] = Default::default();
        for span in context.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let Some(fields) = extensions.get::<FormattedFields<N>>() else { continue };
            let fields: Map<String, Value> = serde_json::from_str(fields).unwrap_or_default();
            for (name, known) in NAMES.into_iter().zip(&mut found) {
                // The nearest span says it best.
                *known = known.take().or_else(|| fields.get(name).cloned());
            }
        }
        for (name, value) in NAMES.into_iter().zip(found) {
            if let Some(value) = value {
                write!(writer, ",\"{name}\":{value}")?;
            }
        }
        writeln!(writer, "}}")
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    /// What has been written.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(work: impl FnOnce()) -> Vec<Value> {
        let written = Written::default();
        let writer = written.clone();
        let log = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .json()
            .map_event_format(Lines);
        tracing::subscriber::with_default(log.finish(), work);
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_says_at_its_top_what_it_is_about() {
        let lines = lines(|| {
            tracing::info!("outside");
            let nothing = tracing::info_span!("request", audit_id = None::<&str>);
            nothing.in_scope(|| tracing::info!("nothing known"));
            let request = tracing::info_span!("request", audit_id = "a\"b", trace_id = "0af7");
            request.in_scope(|| {
                tracing::warn!(code = 500, "inside");
                tracing::info_span!("part", trace_id = "own").in_scope(|| tracing::info!("deeper"));
            });
        });
        let tops = lines.iter().map(|line| (line.get("audit_id"), line.get("trace_id")));
        let text = |text: &str| Value::from(text);
        assert_eq!(
            tops.collect::<Vec<_>>(),
            [
                (None, None),
                (None, None),
                (Some(&text("a\"b")), Some(&text("0af7"))),
                (Some(&text("a\"b")), Some(&text("own"))),
            ]
        );
        assert_eq!(lines[2]["fields"]["message"], "inside");
        assert_eq!(lines[2]["fields"]["code"], 500);
        assert_eq!(lines[2]["level"], "WARN");
    }
}
