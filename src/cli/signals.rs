//! SIGTERM and SIGINT: the first one asks for an end, the second one ends. SIGHUP asks for a look at the rules file.

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

/// The signals that ask for an end.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes the signals over from the system's default, which ends the process at once.
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Cancels the token at the first signal that asks for an end, and comes back at the second. Reports every other one.
    pub(super) async fn watch(mut self, stop: CancellationToken, hangup: &Notify) {
        self.next(hangup).await;
        stop.cancel();
        self.next(hangup).await;
    }

    async fn next(&mut self, hangup: &Notify) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                Some(()) = self.hangup.recv() => hangup.notify_one(),
            }
        }
    }
}
