//! `perftools.profiles.Profile`, the format of pprof, compressed by gzip.

use std::{collections::HashMap, hash::Hash, io::Write as _, time::Duration};

use flate2::{Compression, write::GzEncoder};
use prost::Message;

/// A stack that was seen.
#[derive(Debug)]
pub(super) struct Stack {
    /// Its frames, the innermost first; of each the calls that were inlined into one, the innermost first.
    pub(super) frames: Vec<Vec<Call>>,
    /// The name of the thread.
    pub(super) thread: String,
    /// How often it was seen.
    pub(super) samples: i64,
}

/// A function, and where it was.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) file: String,
    pub(super) line: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    text: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "4")]
    file: i64,
}

/// Numbers things in the order in which they come, each once.
struct Numbers<T>(HashMap<T, usize>, Vec<T>);

impl<T: Clone + Eq + Hash> Numbers<T> {
    fn new() -> Self {
        Self(HashMap::new(), Vec::new())
    }

    /// The number, from 0.
    fn of(&mut self, thing: T) -> usize {
        let next = self.1.len();
        *self.0.entry(thing).or_insert_with_key(|thing| {
            self.1.push(thing.clone());
            next
        })
    }
}

fn id(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX).saturating_add(1)
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// Writes what was seen from a time on, in nanoseconds since the epoch.
pub(super) fn encode(
    stacks: &[Stack],
    period: Duration,
    began_ns: i128,
    time: Duration,
) -> Vec<u8> {
    let profile = profile(stacks, period, began_ns, time).encode_to_vec();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory cannot fail.
    gzip.write_all(&profile).unwrap_or_default();
    gzip.finish().unwrap_or_default()
}

fn profile(stacks: &[Stack], period: Duration, began_ns: i128, time: Duration) -> Profile {
    let mut table = Numbers::new();
    // The first one is always empty.
    table.of(String::new());
    let mut texts = |it: &str| i64::try_from(table.of(it.to_owned())).unwrap_or(i64::MAX);
    let samples = ValueType { kind: texts("samples"), unit: texts("count") };
    let cpu = ValueType { kind: texts("cpu"), unit: texts("nanoseconds") };
    let thread = texts("thread");
    let (mut functions, mut locations) = (Numbers::new(), Numbers::new());
    let sample = stacks.iter().map(|stack| {
        let mut location = |calls: &Vec<Call>| {
            let line = |call: &Call| {
                let function = functions.of((call.name.clone(), call.file.clone()));
                (id(function), call.line)
            };
            id(locations.of(calls.iter().map(line).collect::<Vec<_>>()))
        };
        let location_id = stack.frames.iter().map(&mut location).collect();
        let value = vec![stack.samples, stack.samples.saturating_mul(nanos(period))];
        let label = vec![Label { key: thread, text: texts(&stack.thread) }];
        Sample { location_id, value, label }
    });
    let sample = sample.collect();
    let function = (0..).zip(functions.1).map(|(number, (name, file))| Function {
        id: id(number),
        name: texts(&name),
        file: texts(&file),
    });
    let function = function.collect();
    let location = (0..).zip(locations.1).map(|(number, lines)| {
        let line = |(function_id, line): (u64, u32)| Line { function_id, line: i64::from(line) };
        Location { id: id(number), line: lines.into_iter().map(line).collect() }
    });
    let location = location.collect();
    Profile {
        sample_type: vec![samples, cpu],
        sample,
        location,
        function,
        string_table: table.1,
        time_nanos: i64::try_from(began_ns).unwrap_or(i64::MAX),
        duration_nanos: nanos(time),
        period_type: Some(cpu),
        period: nanos(period),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    fn call(name: &str, line: u32) -> Call {
        Call { name: name.to_owned(), file: "a.rs".to_owned(), line }
    }

    #[test]
    fn what_is_the_same_is_written_once_and_found_by_its_number() {
        let stack = |inner: Vec<Call>, samples| Stack {
            frames: vec![inner, vec![call("main", 7)]],
            thread: "worker".to_owned(),
            samples,
        };
        let stacks =
            [stack(vec![call("inlined", 3), call("work", 5)], 2), stack(vec![call("work", 6)], 1)];
        let (period, time) = (Duration::from_millis(10), Duration::from_secs(1));
        let bytes = encode(&stacks, period, 5, time);
        let mut plain = Vec::new();
        GzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).unwrap();
        let profile = Profile::decode(plain.as_slice()).unwrap();
        assert_eq!(profile.string_table[0], "");
        let text = |number: i64| profile.string_table[usize::try_from(number).unwrap()].as_str();
        let function = |id: u64| {
            let found = profile.function.iter().find(|function| function.id == id).unwrap();
            (text(found.name), text(found.file))
        };
        let shown = |sample: &Sample| {
            let mut calls = Vec::new();
            for id in &sample.location_id {
                let location = profile.location.iter().find(|it| it.id == *id).unwrap();
                calls.extend(location.line.iter().map(|it| (function(it.function_id).0, it.line)));
            }
            calls
        };
        let calls: Vec<_> = profile.sample.iter().map(shown).collect();
        assert_eq!(
            calls,
            [vec![("inlined", 3), ("work", 5), ("main", 7)], vec![("work", 6), ("main", 7)]]
        );
        assert_eq!(profile.sample[0].value, [2, 20_000_000]);
        assert_eq!(text(profile.sample[1].label[0].text), "worker");
        assert_eq!((profile.function.len(), profile.location.len()), (3, 3));
        assert_eq!(
            (profile.time_nanos, profile.duration_nanos, profile.period),
            (5, 1_000_000_000, 10_000_000)
        );
        let types: Vec<_> =
            profile.sample_type.iter().map(|it| (text(it.kind), text(it.unit))).collect();
        assert_eq!(types, [("samples", "count"), ("cpu", "nanoseconds")]);
    }
}
