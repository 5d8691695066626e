//! What a soak test prints.

use std::{
    collections::BTreeMap,
    fmt, fs,
    time::{Duration, Instant},
};

use crate::{control_plane::set_up::Server, support::readers::Read};

/// How long the effect of an event may last.
const EFFECT: Duration = Duration::from_secs(5);

const NOTHING: &str = "nothing else";

/// Something that happened.
pub(super) struct Event {
    pub(super) what: &'static str,
    pub(super) begun: Instant,
    pub(super) ended: Instant,
}

impl Event {
    /// Whether a read was under way while it happened, or begun soon after.
    fn concerns(&self, read: &Read) -> bool {
        read.began <= self.ended + EFFECT && read.began + read.took >= self.begun
    }
}

/// What a process takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Usage {
    /// Resident, in KiB.
    pub(super) memory: u32,
    /// Of it what the process has allocated, in KiB: without the pages of the program and of libraries, which are the kernel's to
    /// take back.
    pub(super) anonymous: u32,
    files: usize,
    threads: usize,
}

impl Usage {
    pub(super) fn of(server: &Server) -> Self {
        let process = format!("/proc/{}", server.process.id());
        let status = fs::read_to_string(format!("{process}/status")).expect("it runs");
        let kib = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("Linux");
            line.trim().trim_end_matches(" kB").parse().expect("a number")
        };
        let count = |what| fs::read_dir(format!("{process}/{what}")).expect("it runs").count();
        Self {
            memory: kib("VmRSS:"),
            anonymous: kib("RssAnon:"),
            files: count("fd"),
            threads: count("task"),
        }
    }

    /// The most of each.
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            anonymous: self.anonymous.max(other.anonymous),
            files: self.files.max(other.files),
            threads: self.threads.max(other.threads),
        }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory, anonymous, files, threads } = self;
        let (memory, anonymous) = (mib(*memory), mib(*anonymous));
        write!(
            f,
            "{memory:.1} MiB, {anonymous:.1} of it allocated, {files} files, {threads} threads"
        )
    }
}

fn mib(kib: u32) -> f64 {
    f64::from(kib) / 1024.0
}

/// How much more the second is, in percent of the first.
pub(super) fn growth(first: u32, last: u32) -> f64 {
    (f64::from(last) / f64::from(first) - 1.0) * 100.0
}

/// The reads and events since the start, and what the first replica took.
pub(super) struct Report {
    pub(super) start: Instant,
    pub(super) reads: Vec<Read>,
    pub(super) events: Vec<Event>,
    pub(super) first: Usage,
    pub(super) peak: Usage,
    pub(super) last: Usage,
}

impl Report {
    fn measured(&self) -> impl Iterator<Item = &Read> {
        self.reads.iter().filter(|read| read.began >= self.start)
    }

    /// The last event that concerns a read.
    fn during(&self, read: &Read) -> &'static str {
        let event = self.events.iter().rev().find(|event| event.concerns(read));
        event.map_or(NOTHING, |event| event.what)
    }

    /// The failures while none of these happened.
    pub(super) fn failures_outside(&self, events: &[&str]) -> Vec<(&'static str, &String)> {
        let failures = self.measured().filter_map(|read| {
            let why = read.outcome.as_ref().err()?;
            Some((self.during(read), why))
        });
        failures.filter(|(during, _)| !events.contains(during)).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut by_event = BTreeMap::<_, Vec<&Read>>::new();
        let mut by_kind = BTreeMap::<_, usize>::new();
        for read in self.measured() {
            let during = self.during(read);
            by_event.entry(during).or_default().push(read);
            if let Err(why) = &read.outcome {
                *by_kind.entry((during, why)).or_default() += 1;
            }
        }
        let all: Vec<_> = self.measured().collect();
        writeln!(f, "| while | times | reads | failed | p50 | p99 | oldest value |")?;
        writeln!(f, "| --- | --- | --- | --- | --- | --- | --- |")?;
        for (what, reads) in
            by_event.iter().map(|(what, reads)| (*what, reads)).chain([("in all", &all)])
        {
            let times = self.events.iter().filter(|event| event.what == what).count();
            let times = if times == 0 { String::new() } else { times.to_string() };
            let failed = reads.iter().filter(|read| read.outcome.is_err()).count();
            let mut took: Vec<_> = reads.iter().map(|read| read.took).collect();
            took.sort_unstable();
            let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_secs_f64() * 1e3;
            let ages =
                reads.iter().filter_map(|read| Some((*read.outcome.as_ref().ok()?, read.began)));
            let oldest = ages.max().map_or_else(String::new, |(age, began)| {
                format!("{age} s, at {} s", (began - self.start).as_secs())
            });
            let (count, half, most) = (reads.len(), at(50), at(99));
            writeln!(
                f,
                "| {what} | {times} | {count} | {failed} | {half:.1} ms | {most:.1} ms | {oldest} |"
            )?;
        }
        writeln!(f, "\n| failures while | why | reads |\n| --- | --- | --- |")?;
        for ((during, why), count) in by_kind {
            writeln!(f, "| {during} | {why} | {count} |")?;
        }
        writeln!(
            f,
            "\n| the first replica | memory | of it allocated | files | threads |\n| --- | --- | --- | --- | --- |"
        )?;
        for (when, usage) in
            [("after each event once", self.first), ("peak", self.peak), ("end", self.last)]
        {
            let Usage { memory, anonymous, files, threads } = usage;
            let (memory, anonymous) = (mib(memory), mib(anonymous));
            writeln!(f, "| {when} | {memory:.1} MiB | {anonymous:.1} MiB | {files} | {threads} |")?;
        }
        let resident = growth(self.first.memory, self.last.memory);
        let allocated = growth(self.first.anonymous, self.last.anonymous);
        writeln!(f, "| change | {resident:+.1} % | {allocated:+.1} % | | |")
    }
}
