//! Files that change while we run: read on threads where that may take long, and taken when they have settled.
//!
//! The content is compared, not the time or the name: Kubernetes changes a mounted volume by swapping a symbolic link above the
//! file, and not every file system notifies of that. Each user of a file rereads it periodically, in a task of its own.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::blocking;

/// How long changed files have to stay as they are: not everybody writes a file at once, or two files at the same time.
const SETTLED: Duration = Duration::from_millis(200);

/// How often changed files are read. If they are still changing then, the next look takes them.
const MAX_READS: usize = 5;

/// What `read` returns, if that is not what was `seen`, and is the same twice in succession. It is cancel-safe.
///
/// # Errors
///
/// Those of `read`.
pub async fn changed<T, E>(
    seen: Option<&T>,
    read: impl Fn() -> Result<T, E> + Send + Sync + 'static,
) -> Result<Option<T>, E>
where
    T: PartialEq + Send + 'static,
    E: Send + 'static,
{
    let read = Arc::new(read);
    let mut before = None;
    for _ in 0..MAX_READS {
        let read = Arc::clone(&read);
        let content = Some(blocking::run(move || read()).await?);
        if content.as_ref() == seen {
            return Ok(None);
        }
        if content == before {
            return Ok(content);
        }
        before = content;
        sleep(SETTLED).await;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use super::*;

    /// Reads one after the other of these, and the last one from then on.
    async fn look(
        seen: Option<u8>,
        reads: &'static [Result<u8, &'static str>],
    ) -> (Result<Option<u8>, &'static str>, usize) {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let runtime = thread::current().id();
        let changed = changed(seen.as_ref(), move || {
            assert_ne!(thread::current().id(), runtime, "a read may take long");
            let read = counted.fetch_add(1, Ordering::SeqCst);
            *reads.get(read).or(reads.last()).unwrap()
        });
        (changed.await, count.load(Ordering::SeqCst))
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_changed_is_taken_once_it_has_settled() {
        let cases: [(_, &[_], _, _); 7] = [
            (Some(1), &[Ok(1)], Ok(None), 1),
            (Some(1), &[Ok(2)], Ok(Some(2)), 2),
            (None, &[Ok(2)], Ok(Some(2)), 2),
            (Some(1), &[Ok(2), Ok(3), Ok(4)], Ok(Some(4)), 4),
            (Some(1), &[Ok(2), Ok(1)], Ok(None), 2),
            (Some(1), &[Ok(2), Err("gone")], Err("gone"), 2),
            (Some(1), &[Ok(2), Ok(3), Ok(2), Ok(3), Ok(2), Ok(3)], Ok(None), MAX_READS),
        ];
        for (seen, reads, wanted, count) in cases {
            assert_eq!(look(seen, reads).await, (wanted, count), "{seen:?} {reads:?}");
        }
    }
}
