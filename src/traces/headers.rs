//! `traceparent` and `tracestate`, by <https://www.w3.org/TR/trace-context-2/>.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The longest `tracestate` that is passed on, in bytes: what the standard says should be passed on at least.
const MAX_STATE_BYTES: usize = 512;

/// The span that a request belongs to; nothing where the headers do not say so in the form of the standard.
pub(super) fn read(headers: &HeaderMap) -> Option<SpanContext> {
    let mut parents = headers.get_all(&TRACEPARENT).iter();
    let (parent, None) = (parents.next()?, parents.next()) else { return None };
    let (trace, span, flags) = parse(parent.to_str().ok()?)?;
    Some(SpanContext::new(trace, span, flags, true, state(headers)))
}

/// Adds the headers that make this span the parent, unless there are others: then both stay as they are.
pub(super) fn write(context: &SpanContext, headers: &mut HeaderMap) {
    if headers.contains_key(&TRACEPARENT) || headers.contains_key(&TRACESTATE) {
        return;
    }
    let (trace, span) = (context.trace_id(), context.span_id());
    let parent = format!("00-{trace}-{span}-{:02x}", context.trace_flags().to_u8());
    if let Ok(parent) = HeaderValue::try_from(parent) {
        headers.insert(TRACEPARENT, parent);
    }
    let state = context.trace_state().header();
    if let (false, Ok(state)) = (state.is_empty(), HeaderValue::try_from(state)) {
        headers.insert(TRACESTATE, state);
    }
}

fn parse(text: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let mut fields = text.split('-');
    let version = hex(fields.next()?, 2)?;
    let trace = TraceId::from(hex(fields.next()?, 32)?);
    let span = SpanId::from(u64::try_from(hex(fields.next()?, 16)?).ok()?);
    let flags = TraceFlags::new(u8::try_from(hex(fields.next()?, 2)?).ok()?);
    // Later versions may say more, and this one calls one invalid that can never be.
    let is_whole = version != 0 || fields.next().is_none();
    let is_valid = trace != TraceId::INVALID && span != SpanId::INVALID && version != 0xff;
    (is_whole && is_valid).then_some((trace, span, flags))
}

/// A number of so many lower-case digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() != digits || !is_hex {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

/// What tracing systems say of the trace; nothing where that is malformed or too much.
fn state(headers: &HeaderMap) -> TraceState {
    let mut state = String::new();
    for part in headers.get_all(&TRACESTATE) {
        let Ok(part) = part.to_str() else { return TraceState::NONE };
        if !state.is_empty() {
            state.push(',');
        }
        state.push_str(part);
    }
    if state.len() > MAX_STATE_BYTES {
        return TraceState::NONE;
    }
    state.parse().unwrap_or(TraceState::NONE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        lines.iter().map(line).collect()
    }

    /// What is passed on.
    fn passed(lines: &[(&'static str, &str)]) -> Option<(String, String)> {
        let mut request = HeaderMap::new();
        write(&read(&headers(lines))?, &mut request);
        let text = |name| {
            request.get(name).map_or(String::new(), |value| value.to_str().unwrap().to_owned())
        };
        Some((text(TRACEPARENT), text(TRACESTATE)))
    }

    #[test]
    fn what_is_well_formed_is_passed_on_as_it_came() {
        let only = |parent: &str| passed(&[("traceparent", parent)]);
        let same = |parent: &str| Some((parent.to_owned(), String::new()));
        for flags in ["00", "01", "02", "ff"] {
            let parent = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
            assert_eq!(only(&parent), same(&parent));
        }
        // Of a later version what this one knows of it.
        let later = PARENT.replacen("00", "01", 1);
        assert_eq!(only(&later), same(PARENT));
        assert_eq!(only(&format!("{later}-more")), same(PARENT));
    }

    #[test]
    fn what_is_malformed_is_not_passed_on() {
        for parent in [
            "",
            "garbage",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-+1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(passed(&[("traceparent", parent)]), None, "{parent}");
        }
        assert_eq!(passed(&[("tracestate", "a=1")]), None);
        assert_eq!(passed(&[("traceparent", PARENT), ("traceparent", PARENT)]), None);
    }

    #[test]
    fn the_state_goes_with_the_parent() {
        let of = |states: &[&'static str]| {
            let mut lines = vec![("traceparent", PARENT)];
            lines.extend(states.iter().map(|state| ("tracestate", *state)));
            passed(&lines).unwrap().1
        };
        assert_eq!(
            of(&["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"]),
            "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
        );
        assert_eq!(of(&["a=1", "b=2"]), "a=1,b=2");
        assert_eq!(of(&["no list"]), "");
        assert_eq!(of(&[Box::leak(format!("a={}", "x".repeat(511)).into_boxed_str())]), "");
    }

    #[test]
    fn headers_that_are_there_win() {
        let mut request = headers(&[("traceparent", "mine")]);
        write(
            &read(&headers(&[("traceparent", PARENT), ("tracestate", "a=1")])).unwrap(),
            &mut request,
        );
        assert_eq!(request, headers(&[("traceparent", "mine")]));
    }

    proptest! {
        #[test]
        fn whatever_comes_what_is_passed_on_is_well_formed(
            parent in "[ -~]{0,60}|0[01]-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.{0,3})?",
            state in "[ -~]{0,80}",
        ) {
            let Ok(value) = HeaderValue::from_str(&parent) else { return Ok(()) };
            let mut incoming = HeaderMap::new();
            incoming.insert(TRACEPARENT, value);
            incoming.insert(TRACESTATE, HeaderValue::from_str(&state).unwrap());
            if let Some(context) = read(&incoming) {
                let mut outgoing = HeaderMap::new();
                write(&context, &mut outgoing);
                prop_assert_eq!(read(&outgoing), Some(context));
            }
        }
    }
}
