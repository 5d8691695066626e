//! CPU time, by thread name or by process.

use std::{fs, path::Path, time::Duration};

/// The owner of the CPU time.
pub(crate) enum Usage {
    /// The threads of this process with this name.
    Threads(&'static str),
    /// Other processes.
    Processes(Vec<u32>),
}

impl Usage {
    /// Their CPU time so far.
    pub(crate) fn so_far(&self) -> Duration {
        let (tasks, name) = match self {
            Self::Threads(name) => (vec!["/proc/self/task".to_owned()], Some(*name)),
            Self::Processes(all) => {
                (all.iter().map(|process| format!("/proc/{process}/task")).collect(), None)
            }
        };
        let threads = tasks.iter().flat_map(|tasks| fs::read_dir(tasks).unwrap());
        Duration::from_nanos(
            threads.filter_map(|thread| nanoseconds(&thread.unwrap().path(), name)).sum(),
        )
    }
}

/// None for a thread with another name, and for one that has exited in between.
fn nanoseconds(thread: &Path, name: Option<&str>) -> Option<u64> {
    if let Some(name) = name
        && fs::read_to_string(thread.join("comm")).ok()?.trim() != name
    {
        return None;
    }
    let ran = fs::read_to_string(thread.join("schedstat")).ok()?;
    ran.split(' ').next()?.parse().ok()
}
