//! Work that may take long, off the threads that serve requests.

/// Works on a thread where it may take long, because a backend or a file decides how much there is to do. It goes on when nobody
/// waits for it any more.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and all that waits with it.
            Err(_) => std::future::pending().await,
        },
    }
}
