//! What finds out whether a server is well, and what does not.

use super::*;

/// The counts of requests for queries of readers and of discovery that were not answered.
async fn unanswered(app: &App) -> Vec<String> {
    let metrics = app.get("/metrics").await.body;
    let counts = metrics.lines().filter(|line| {
        let is_of = |label: &str| line.contains(label);
        line.starts_with("loadline_prometheus_requests_total{backend=\"pair\"")
            && !is_of("path=\"probe\"")
            && ["unreachable", "silent", "paused"]
                .iter()
                .any(|it| is_of(&format!("outcome=\"{it}\"")))
    });
    counts.map(str::to_owned).collect()
}

/// It is known before it is needed, and no request counts as failed with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_while_it_stands_by_is_found_out() {
    let (a, b) = (Backend::start(says("1")).await, Backend::start(|_| Answer::Cut(100)).await);
    let app = launch(&[&a.url, &b.url]).start().await;
    assert_eq!(value(&read(&app, "p").await), "1");
    until("it is ejected", async || is_ejected(&app, &b.url).await.then_some(())).await;
    assert!(!is_ejected(&app, &a.url).await);
    assert!(app.get("/readyz?verbose").await.body.contains("pair urls[1]: no answer since"));
    assert_eq!((value(&read(&app, "p").await), b.count(is_read)), ("1".into(), 0));
    let counted = unanswered(&app).await;
    assert!(counted.is_empty(), "{counted:?}");

    // What the other one fails is counted once.
    a.play(knows(
        &["m"],
        |asked| {
            if asked.is_probe() { Answer::Data(pods(&[])) } else { raw(503, "") }
        },
    ));
    assert_eq!(read(&app, "p").await.status, 500);
    let metrics = app.get("/metrics").await.body;
    let failed = "requests_total{backend=\"pair\",path=\"/api/v1/query\",outcome=\"http\"} 1";
    assert!(metrics.contains(failed), "{metrics}");
    let counted = unanswered(&app).await;
    assert!(counted.is_empty(), "{counted:?}");

    b.play(says("2"));
    until("it is well again", async || (!is_ejected(&app, &b.url).await).then_some(())).await;
    b.play(|_| Answer::Later(503, "60"));
    for pod in ["q", "r"] {
        assert_eq!(read(&app, pod).await.status, 500);
    }
    assert_eq!(b.count(|asked| is_read(asked) && asked.parameter("query").contains("\"r\"")), 0);
    let counted = unanswered(&app).await;
    assert!(counted.is_empty(), "{counted:?}");
}

/// Queries fail everywhere, and discovery is answered, without the header that queries need.
#[tokio::test(flavor = "multi_thread")]
async fn answers_of_discovery_say_nothing_of_queries() {
    let (a, b) = (Backend::start(tenants("1")).await, Backend::start(tenants("2")).await);
    let urls = [a.url.as_str(), b.url.as_str()];
    let mut launch = Launch::new(&of_tenants(&urls), "http://127.0.0.1:1");
    launch.relist_interval = Duration::from_millis(50);
    let app = launch.start().await;
    assert_eq!(value(&read(&app, "p").await), "1");
    for backend in [&a, &b] {
        backend.play(knows(&["m"], |_| raw(503, "")));
    }
    let both_are_ejected =
        async || is_ejected(&app, &a.url).await && is_ejected(&app, &b.url).await;
    until("both are ejected", async || {
        assert_eq!(read(&app, "p").await.status, 500);
        both_are_ejected().await.then_some(())
    })
    .await;
    a.take();
    b.take();
    until("discovery and probes have gone on", async || {
        assert!(both_are_ejected().await);
        let discovery = a.count(|asked| !asked.is_query()) + b.count(|asked| !asked.is_query());
        let probes = a.count(Asked::is_probe).min(b.count(Asked::is_probe));
        (discovery >= 3 && probes >= 2).then_some(())
    })
    .await;
    let asked = [a.take(), b.take()].concat().into_iter().filter(Asked::is_probe);
    for probe in asked {
        assert_eq!(probe.header("x-scope-orgid"), "n");
    }
}

/// All turns are held by queries that wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_probe_needs_no_turn() {
    let (a, b) = (Backend::start(says("1")).await, Backend::start(says("2")).await);
    let urls = [a.url.as_str(), b.url.as_str()];
    let rules = rules(&urls).replace("timeout: 5s", "timeout: 120s, concurrency: 1");
    let mut launch = Launch::new(&rules, "http://127.0.0.1:1");
    launch.relist_interval = Duration::from_millis(50);
    let app = launch.start().await;
    let (open, gate) = watch::channel(false);
    let says = says("1");
    a.play(move |asked| match says(asked) {
        Answer::Data(data) if is_read(asked) => Answer::Gated(gate.clone(), data),
        other => other,
    });
    let failing = async {
        until("it has the only turn", async || (a.count(is_read) > 0).then_some(())).await;
        // Discovery needs none. When it fails, a probe is due.
        a.play(|_| raw(503, ""));
        until("the other one is in use", async || {
            (in_use(&app, &urls).await == Some(1)).then_some(())
        })
        .await;
        open.send(true).expect("it is waited for");
    };
    let (reply, ()) = tokio::join!(read(&app, "p"), failing);
    assert_eq!(value(&reply), "1");
}

/// A busy server that answers probes late, as in [`super::a_busy_server_is_not_taken_for_one_that_hangs`], and one query not at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_too_slow_takes_no_busy_server_from_others() {
    let (a, b) = (Backend::start(says("1")).await, Backend::start(says("2")).await);
    let urls = [a.url.as_str(), b.url.as_str()];
    let rules = rules(&urls).replace("timeout: 5s", "timeout: 10s");
    let app = Launch::new(&rules, "http://127.0.0.1:1").start().await;
    a.play(knows(&["m"], |asked| {
        if !asked.is_probe() {
            return Answer::Hang;
        }
        let (open, gate) = watch::channel(false);
        tokio::spawn(async move {
            // As long as it takes to answer.
            tokio::time::sleep(Duration::from_secs(2)).await;
            open.send_replace(true);
        });
        Answer::Gated(gate, pods(&[]))
    }));
    let reply = read(&app, "p").await;
    assert!(reply.failure().ends_with("Prometheus did not answer in time"), "{reply:?}");
    assert_eq!(a.count(Asked::is_probe), 2, "early, and at the end of its time");
    assert_eq!((in_use(&app, &urls).await, b.count(is_read)), (Some(0), 0));
    assert!(!is_ejected(&app, &a.url).await);
}

/// A query has failed, and the probe takes long: a query that takes as long is waited for, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_has_as_much_time_for_a_probe_as_for_a_query() {
    let (a, b) = (Backend::start(says("1")).await, Backend::start(says("2")).await);
    let urls = [a.url.as_str(), b.url.as_str()];
    let rules = rules(&urls).replace("timeout: 5s", "timeout: 20s");
    let app = Launch::new(&rules, "http://127.0.0.1:1").start().await;
    let (open, mut opened) = watch::channel(false);
    let gate = opened.clone();
    a.play(knows(&["m"], move |asked| {
        if !asked.is_probe() {
            return raw(503, "");
        }
        let open = open.clone();
        tokio::spawn(async move {
            // As long as it takes to answer.
            tokio::time::sleep(Duration::from_secs(4)).await;
            open.send_replace(true);
        });
        Answer::Gated(gate.clone(), pods(&[]))
    }));
    assert_eq!(value(&read(&app, "p").await), "2");
    opened.wait_for(|is_open| *is_open).await.expect("it is probed");
    assert!(!is_ejected(&app, &a.url).await);
    assert_eq!(in_use(&app, &urls).await, Some(0));
}
