//! A cluster that cannot be asked, or not yet.

use std::{cell::RefCell, sync::Once};

use tracing_subscriber::fmt::writer::OptionalWriter;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn reviews_that_cannot_be_had() {
    let stage = Stage::new().await;
    let delegation = stage.cluster.delegation();
    let app = ready(stage.launch()).await;
    let path = read();
    for status in [500, 503, 429, 403, 404] {
        delegation.fail_access_reviews(status);
        let reply = get(&app, "good", &path).await;
        assert_eq!(reply.status, 500, "{status}");
        assert_eq!(reply.json()["reason"], "InternalError");
        assert_eq!(reply.failure(), "Internal error occurred: access could not be reviewed");
    }
    assert_eq!(stage.reviewed().len(), 5, "no repetition, and failures are not remembered");
    for path in ["/healthz", "/livez", "/readyz"] {
        assert_eq!(app.get(path).await.status, 200, "{path}");
    }
    delegation.fail_access_reviews(0);
    assert_eq!(get(&app, "good", &path).await.status, 200);

    delegation.fail_token_reviews(500);
    delegation.token("later", json!({"username": "later"}));
    assert_eq!(get(&app, "later", &path).await.status, 401, "as by Kubernetes");
    assert_eq!(get(&app, "good", &path).await.status, 200, "it is remembered");
    let jane = stage.clients.issue("jane", [""; 2]);
    assert_eq!(ask(&app, Some(&jane), &[]).await.status, 200, "a certificate needs no review");
    delegation.fail_token_reviews(0);
    assert_eq!(get(&app, "later", &path).await.status, 200);
}

/// The log of a runtime of one thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn count(&self, text: &str) -> usize {
        self.text().matches(text).count()
    }

    /// How many errors there are of ours, within whatever spans.
    fn errors(&self) -> usize {
        let is_ours = |line: &&str| line.contains(" ERROR ") && line.contains(" loadline::");
        self.text().lines().filter(is_ours).count()
    }
}

thread_local! {
    /// Where the log of this thread goes.
    static LOG: RefCell<Option<Log>> = const { RefCell::new(None) };
}

/// The log of this thread from now on. One subscriber serves all threads: with one for each, whether a line is wanted would be asked
/// of the first thread that comes by it only.
fn logged() -> Log {
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| {
        let writer = || match LOG.with_borrow(Clone::clone) {
            Some(log) => OptionalWriter::some(log),
            None => OptionalWriter::none(),
        };
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish();
        tracing::subscriber::set_global_default(subscriber).expect("nobody else has set one");
    });
    let log = Log::default();
    LOG.set(Some(log.clone()));
    log
}

/// Whoever deletes the ConfigMap locks nobody out: what it said last counts until it is written again.
#[tokio::test]
async fn a_config_map_that_is_deleted_counts_on() {
    let log = logged();
    let stage = Stage::new().await;
    let app = ready(stage.forgetful()).await;
    let proxied =
        async || ask(&app, Some(&stage.proxy()), &[("x-remote-user", "ann")]).await.status.as_u16();
    assert_eq!(proxied().await, 200);
    stage.cluster.delegation().delete_config();
    until("it is noticed", async || (log.count("was deleted") == 1).then_some(())).await;
    assert_eq!(proxied().await, 200);
    assert_eq!(app.get("/readyz").await.status, 200);
    let others = Authority::new("proxies");
    stage.cluster.delegation().configure(&config(&stage.clients.pem(), &others.pem()));
    until("the new one counts", async || (proxied().await == 401).then_some(())).await;
}

#[tokio::test]
async fn what_fails_is_said_once() {
    let log = logged();
    let stage = Stage::new().await;
    let delegation = stage.cluster.delegation();
    let mut launch = stage.launch();
    // What is remembered outlasts the test, however slow the machine is.
    let hour = Duration::from_hours(1);
    launch.token_ttl = hour;
    launch.access_ttls = Ttls { authorized: hour, unauthorized: hour };
    let app = ready(launch).await;
    let remembered = async || assert_eq!(get(&app, "good", &read()).await.status, 200);
    remembered().await;
    let mut fresh = 0;
    for round in 1..3 {
        for status in [500, 0] {
            delegation.fail_access_reviews(status);
            delegation.fail_token_reviews(status);
            for _ in 0..3 {
                fresh += 1;
                app.get(&custom(&format!("namespaces/n/pods/p-{fresh}/m"))).await;
                remembered().await;
                get(&app, &format!("token-{fresh}"), &read()).await;
                remembered().await;
            }
        }
        for text in [
            "access cannot be reviewed",
            "tokens cannot be reviewed",
            "access reviews work again",
            "token reviews work again",
        ] {
            assert_eq!(log.count(text), round, "{text}");
        }
        assert_eq!(log.errors(), 2 * round);
    }
    assert_eq!(log.count("token-"), 0, "no token is in the log");
}

/// The way to a server that is not there yet.
async fn way(url: &str) -> Relay {
    let target: SocketAddr = url.trim_start_matches("http://").parse().unwrap();
    Relay::start(target, false).await
}

/// The cluster comes later than loadline: first nothing of it, then all but the ConfigMap, then that too.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_comes_later() {
    const MISSING: &str = "[-]authentication failed: kube-system/extension-apiserver-authentication has not been read yet";
    let stage = Stage::new().await;
    let delegation = stage.cluster.delegation();
    let relay = way(&stage.cluster.url).await;
    stage.cluster.reached_by(&format!("http://{}", relay.address));
    delegation.fail_config(403);
    let (clients, folder) = (Authority::new("of a file"), tempfile::tempdir().unwrap());
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, clients.pem()).unwrap();
    let mut launch = stage.launch();
    launch.relist_interval = Duration::from_secs(1);
    launch.trust.client_ca_file = Some(file);
    let app = launch.start().await;
    // Reasons are for who may read them, which nobody else can say yet.
    let master = client(&app, Some(&clients.issue("root", ["system:masters", ""])));
    let verbose = async || App::send(&master, Method::GET, &app.url("/readyz?verbose"), &[]).await;
    let reply = verbose().await;
    assert_eq!(reply.status, 500);
    assert!(reply.body.lines().any(|line| line == MISSING), "{}", reply.body);
    assert!(reply.body.contains("the API server does not list the kinds"), "{}", reply.body);
    assert_eq!(app.get("/readyz/authentication").await.status, 500);
    assert_eq!(app.get("/livez").await.status, 200);

    relay.open();
    until("kinds are known", async || {
        let reply = verbose().await;
        assert_eq!(reply.status, 500);
        assert!(reply.body.lines().any(|line| line == MISSING), "{}", reply.body);
        (!reply.body.contains("does not list the kinds")).then_some(())
    })
    .await;
    delegation.fail_config(0);
    until("the server is ready", async || (verbose().await.status == 200).then_some(())).await;
    let proxied = ask(&app, Some(&stage.proxy()), &[("x-remote-user", "ann")]).await;
    assert_eq!(proxied.values().len(), 1);
}
