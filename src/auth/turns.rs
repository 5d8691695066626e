//! How many reviews are under way at a time: strangers must not be able to flood kube-apiserver by way of us.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Each review is a connection, for as long as it takes.
const AT_A_TIME: usize = 100;

/// The turns of one kind of review. Clones share them.
#[derive(Clone)]
pub(super) struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_A_TIME)))
    }
}

impl Turns {
    /// Does something when its turn has come.
    pub(super) async fn take<T>(&self, work: impl Future<Output = T>) -> T {
        // Never closed, so there is always a permit to come.
        let _permit = self.0.acquire().await.ok();
        work.await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;

    use super::*;

    #[tokio::test]
    async fn only_so_many_are_under_way() {
        let (turns, under_way) = (Turns::default(), AtomicUsize::new(0));
        let work = || {
            turns.take(async {
                let count = under_way.fetch_add(1, Ordering::SeqCst) + 1;
                tokio::task::yield_now().await;
                under_way.fetch_sub(1, Ordering::SeqCst);
                count
            })
        };
        let counts = join_all((0..AT_A_TIME * 3).map(|_| work())).await;
        assert_eq!(counts.into_iter().max(), Some(AT_A_TIME));
    }
}
