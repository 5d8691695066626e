//! The tasks of a running server, and the order in which they end.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::task::{self, JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long fetches that were begun for a reader may go on when all else has ended.
const LAST_FETCHES: Duration = Duration::from_secs(1);

/// A task that has not begun: its name, and what runs until it is stopped.
pub(super) struct Part {
    name: &'static str,
    run: Box<dyn FnOnce(CancellationToken) -> BoxFuture<'static, ()> + Send>,
}

impl Part {
    pub(super) fn new<F: Future<Output = ()> + Send + 'static>(
        name: &'static str,
        run: impl FnOnce(CancellationToken) -> F + Send + 'static,
    ) -> Self {
        Self { name, run: Box::new(|stop| Box::pin(run(stop))) }
    }
}

/// All tasks, by the phase of the end in which they are stopped.
pub(super) struct Supervisor {
    /// Answers requests. Ends first.
    serving: Phase,
    /// Keeps up what requests are answered from. An open request may wait for it, so it ends when the server has.
    keeping: Phase,
    /// Exports what all others report. Ends last.
    exporting: Phase,
    /// Fetches that were begun for a reader.
    fetches: TaskTracker,
}

impl Supervisor {
    /// Nothing runs yet but fetches.
    pub(super) fn new(fetches: TaskTracker) -> Self {
        let [serving, keeping, exporting] = [Phase::default(), Phase::default(), Phase::default()];
        Self { serving, keeping, exporting, fetches }
    }

    /// Begins a task that answers requests.
    pub(super) fn serve(&mut self, part: Part) {
        self.serving.begin(part);
    }

    /// Begins a task that requests depend on.
    pub(super) fn keep(&mut self, part: Part) {
        self.keeping.begin(part);
    }

    /// Begins a task that exports.
    pub(super) fn export(&mut self, part: Part) {
        self.exporting.begin(part);
    }

    /// Runs until stopped: then sets `stopping`, goes on for `delay`, and ends phase by phase. A task that ends before is an
    /// error, and stops the others.
    pub(super) async fn run(
        mut self,
        stop: CancellationToken,
        stopping: &AtomicBool,
        delay: Duration,
    ) -> anyhow::Result<()> {
        let result = tokio::select! {
            early = self.first() => Err(early),
            () = stop.cancelled() => {
                stopping.store(true, Ordering::Relaxed);
                tokio::select! {
                    early = self.first() => Err(early),
                    () = tokio::time::sleep(delay) => Ok(()),
                }
            }
        };
        if let Err(error) = &result {
            // Said now, because open requests may hold up the end.
            tracing::error!(%error, "shutting down: a task ended unexpectedly");
            stopping.store(true, Ordering::Relaxed);
        }
        let served = self.serving.end().await;
        let kept = self.keeping.end().await;
        self.fetches.close();
        // Nobody waits for what is still being fetched; what does not end soon ends with the runtime.
        tokio::time::timeout(LAST_FETCHES, self.fetches.wait()).await.unwrap_or_default();
        let exported = self.exporting.end().await;
        result.and(served).and(kept).and(exported)
    }

    /// Waits for the first task that ends, and says what that means.
    async fn first(&mut self) -> anyhow::Error {
        tokio::select! {
            error = self.serving.first() => error,
            error = self.keeping.first() => error,
            error = self.exporting.first() => error,
        }
    }
}

/// Tasks that are stopped together.
#[derive(Default)]
struct Phase {
    running: JoinSet<()>,
    names: HashMap<task::Id, &'static str>,
    stop: CancellationToken,
}

impl Phase {
    fn begin(&mut self, part: Part) {
        let handle = self.running.spawn((part.run)(self.stop.clone()));
        self.names.insert(handle.id(), part.name);
    }

    /// Waits for the next task that ends: its name, and an error if it has not come to its own end.
    async fn next(&mut self) -> Option<(&'static str, anyhow::Result<()>)> {
        let (id, result) = match self.running.join_next_with_id().await? {
            Ok((id, ())) => (id, Ok(())),
            Err(error) => (error.id(), Err(error)),
        };
        let name = self.names.remove(&id).unwrap_or("a task");
        Some((name, result.map_err(|error| anyhow::anyhow!("{name} has failed: {error}"))))
    }

    /// Waits for the first task that ends, which none should. Waits forever where there is none.
    async fn first(&mut self) -> anyhow::Error {
        match self.next().await {
            Some((_, Err(error))) => error,
            Some((name, Ok(()))) => anyhow::anyhow!("{name} has ended; this is a bug in loadline"),
            None => std::future::pending().await,
        }
    }

    /// Stops the tasks and waits until all have ended. The first that fails meanwhile is the error.
    async fn end(&mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        let mut all = Ok(());
        while let Some((_, result)) = self.next().await {
            all = all.and(result);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn supervisor() -> Supervisor {
        Supervisor::new(TaskTracker::new())
    }

    async fn run(supervisor: Supervisor, stop: &CancellationToken) -> anyhow::Result<()> {
        supervisor.run(stop.clone(), &AtomicBool::new(false), Duration::ZERO).await
    }

    fn until_stopped(name: &'static str) -> Part {
        Part::new(name, |stop| async move { stop.cancelled().await })
    }

    #[tokio::test]
    async fn a_task_that_dies_is_named_and_stops_the_others() {
        for (part, named) in [
            (Part::new("the second", |_| async { panic!("no more") }), "the second has failed"),
            (Part::new("the second", |_| async {}), "the second has ended"),
        ] {
            let mut supervisor = supervisor();
            supervisor.serve(until_stopped("the server"));
            supervisor.keep(until_stopped("the first"));
            supervisor.keep(part);
            let error = run(supervisor, &CancellationToken::new()).await.unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[tokio::test]
    async fn a_task_that_fails_at_the_end_is_an_error() {
        let (mut supervisor, stop) = (supervisor(), CancellationToken::new());
        supervisor.keep(Part::new("the keeper", |stop| async move {
            stop.cancelled().await;
            panic!("at the end");
        }));
        stop.cancel();
        let error = run(supervisor, &stop).await.unwrap_err().to_string();
        assert!(error.contains("the keeper has failed"), "{error}");
    }

    #[tokio::test]
    async fn phases_end_one_after_the_other() {
        let (mut supervisor, stop) = (supervisor(), CancellationToken::new());
        let ended = Arc::new(Mutex::new(Vec::new()));
        let part = |name: &'static str, yields: usize| {
            let ended = Arc::clone(&ended);
            Part::new(name, move |stop| async move {
                stop.cancelled().await;
                for _ in 0..yields {
                    task::yield_now().await;
                }
                ended.lock().unwrap().push(name);
            })
        };
        // Those that end first take longest.
        supervisor.export(part("the export", 0));
        supervisor.keep(part("discovery", 10));
        supervisor.serve(part("the server", 100));
        stop.cancel();
        run(supervisor, &stop).await.unwrap();
        assert_eq!(*ended.lock().unwrap(), ["the server", "discovery", "the export"]);
    }
}
