//! Profiles of this process, in the format of pprof: of CPU, samples of the stacks of the threads that run; of the heap, samples of
//! what is allocated, by the stack that allocated it.

mod format;

use std::{sync::Arc, time::Duration};

use format::{Call, Stack};
use jemalloc_pprof::PROF_CTL;
use pprof::{ProfilerGuardBuilder, Report};
use tokio::sync::Semaphore;

use crate::blocking;

/// How often a second stacks are looked at.
const FREQUENCY: i32 = 99;

/// Libraries that must not be interrupted while they unwind or allocate.
const NOT_IN: [&str; 4] = ["libc", "libgcc", "pthread", "vdso"];

/// One profile at a time: there is one timer of a process.
static TURN: Semaphore = Semaphore::const_new(1);

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another one is being made.
    #[error("a profile is being made; please try again later")]
    Busy,
    /// The system does not allow it.
    #[error("no profile can be made: {0}")]
    Refused(#[from] pprof::Error),
    /// The allocator takes no samples.
    #[error(
        "there are no samples of the heap: start with _RJEM_MALLOC_CONF=prof:true,lg_prof_sample:19 in the environment"
    )]
    NoSamples,
    /// The samples of the heap cannot be written or read.
    #[error("no profile of the heap can be made: {0}")]
    Heap(String),
}

/// Profiles for a while. Whoever goes away ends the profile.
pub async fn cpu(time: Duration) -> Result<Vec<u8>, Error> {
    let _turn = TURN.try_acquire().map_err(|_none| Error::Busy)?;
    let guard = ProfilerGuardBuilder::default().frequency(FREQUENCY).blocklist(&NOT_IN).build()?;
    let began = jiff::Timestamp::now();
    tokio::time::sleep(time).await;
    // The symbols are read from the program, which takes a while.
    let made = blocking::run(move || {
        let report = guard.report().build()?;
        drop(guard);
        let period = Duration::from_secs(1) / FREQUENCY.unsigned_abs();
        Ok::<_, Error>(format::encode(&stacks(report), period, began.as_nanosecond(), time))
    });
    made.await
}

/// What is allocated now.
pub async fn heap() -> Result<Vec<u8>, Error> {
    let control = PROF_CTL.as_ref().ok_or(Error::NoSamples)?;
    let mut control = Arc::clone(control).try_lock_owned().map_err(|_held| Error::Busy)?;
    // jemalloc writes a file, which is read and translated.
    let made = blocking::run(move || control.dump_pprof());
    made.await.map_err(|error| Error::Heap(error.to_string()))
}

fn stacks(report: Report) -> Vec<Stack> {
    let stack = |(frames, count): (pprof::Frames, isize)| {
        let frame = |symbols: &Vec<pprof::Symbol>| {
            let call = |symbol: &pprof::Symbol| Call {
                name: symbol.name(),
                file: symbol.filename().into_owned(),
                line: symbol.lineno(),
            };
            symbols.iter().map(call).collect()
        };
        Stack {
            frames: frames.frames.iter().map(frame).collect(),
            thread: frames.thread_name,
            samples: i64::try_from(count).unwrap_or(i64::MAX),
        }
    };
    report.data.into_iter().map(stack).collect()
}
