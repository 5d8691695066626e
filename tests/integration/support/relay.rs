//! A way to a server that can be cut, and that counts who takes it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

/// Passes TCP connections on to another address of loopback.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    open: watch::Sender<bool>,
    accepted: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl Relay {
    /// A way to `target`, at first open or cut.
    pub(crate) async fn start(target: SocketAddr, is_open: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (open, gate) = watch::channel(is_open);
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.expect("a connection");
                count.fetch_add(1, Ordering::SeqCst);
                let mut gate = gate.clone();
                if *gate.borrow_and_update() {
                    connections.spawn(async move {
                        let mut far =
                            TcpStream::connect(target).await.expect("the target is there");
                        // Either side may end it in any way.
                        tokio::select! {
                            _ = copy_bidirectional(&mut near, &mut far) => {}
                            _ = gate.wait_for(|is_open| !is_open) => {}
                        }
                    });
                }
            }
        });
        Self { address, open, accepted, _task: AbortOnDropHandle::new(task) }
    }

    /// Lets connections through from now on.
    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    /// Ends all connections, and lets none through from now on.
    pub(crate) fn cut(&self) {
        self.open.send_replace(false);
    }

    /// How many connections were made.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}
