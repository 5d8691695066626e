//! A way to a server that can be cut, and that counts who takes it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

/// Passes TCP connections on to another address of loopback.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    open: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl Relay {
    /// A way to `target`, at first open or cut.
    pub(crate) async fn start(target: SocketAddr, is_open: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let open = Arc::new(AtomicBool::new(is_open));
        let accepted = Arc::new(AtomicUsize::new(0));
        let (gate, count) = (Arc::clone(&open), Arc::clone(&accepted));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.expect("a connection");
                count.fetch_add(1, Ordering::SeqCst);
                if gate.load(Ordering::SeqCst) {
                    connections.spawn(async move {
                        let mut far =
                            TcpStream::connect(target).await.expect("the target is there");
                        // Either side may end it in any way.
                        copy_bidirectional(&mut near, &mut far).await.map(drop).unwrap_or_default();
                    });
                }
            }
        });
        Self { address, open, accepted, _task: AbortOnDropHandle::new(task) }
    }

    /// Lets connections through from now on.
    pub(crate) fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
    }

    /// How many connections were made.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}
