//! Backends with several servers: which one is asked, and what readers see when one is not well.

mod credentials;
mod overload;
mod probes;
mod refusals;
mod trials;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::sync::watch;

use crate::support::{
    app::{App, Launch, Reply, custom},
    backend::{Answer, Asked, Backend, knows, pods},
    exporter::{Exporter, Page},
    store::Store,
    until,
};

fn rules(urls: &[&str]) -> String {
    let urls = serde_json::to_string(urls).expect("JSON");
    format!(
        "backends: [{{name: pair, urls: {urls}, timeout: 5s}}]\nrules:\n- {{seriesQuery: m, prometheus: pair, resources: {{overrides: {{pod: {{resource: pod}}, ns: {{resource: namespace}}}}}}, metricsQuery: 'sum(<<.Series>>{{<<.LabelMatchers>>}}) by (<<.GroupBy>>)'}}\n"
    )
}

fn launch(urls: &[&str]) -> Launch {
    Launch::new(&rules(urls), "http://127.0.0.1:1")
}

/// A query that no other read has, for the same metric.
async fn read(app: &App, pod: &str) -> Reply {
    app.get(&custom(&format!("namespaces/n/pods/{pod}/m"))).await
}

#[track_caller]
fn value(reply: &Reply) -> String {
    reply.values().into_iter().map(|(_, value)| value).collect()
}

/// Any pod has this value.
fn says(value: &'static str) -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    knows(&["m"], move |asked| {
        let query = asked.parameter("query");
        let pod = query.split("pod=\"").nth(1).and_then(|rest| rest.split('"').next());
        Answer::Data(pods(&pod.map(|pod| (pod, value)).into_iter().collect::<Vec<_>>()))
    })
}

/// Queries of readers, and not probes.
fn is_read(asked: &Asked) -> bool {
    asked.is_query() && !asked.is_probe()
}

/// The number of the server that the metrics name as the one in use.
async fn in_use(app: &App, urls: &[&str]) -> Option<usize> {
    let metrics = app.get("/metrics").await.body;
    urls.iter().position(|url| {
        let labels = format!("{{backend=\"pair\",server=\"{url}\"}}");
        metrics.contains(&format!("loadline_prometheus_server_in_use{labels} 1"))
    })
}

/// Whether the metrics say that a server is ejected.
async fn is_ejected(app: &App, url: &str) -> bool {
    let metrics = app.get("/metrics").await.body;
    let labels = format!("{{backend=\"pair\",server=\"{url}\"}}");
    metrics.contains(&format!("loadline_prometheus_server_ejected{labels} 1"))
}

fn error(status: u16, kind: &str) -> Answer {
    let body = json!({"status": "error", "errorType": kind, "error": "SECRET at 10.1.2.3"});
    Answer::Raw(status, "application/json", body.to_string())
}

fn partial() -> Answer {
    let body = json!({"status": "success", "isPartial": true, "data": pods(&[("p", "9")])});
    Answer::Raw(200, "application/json", body.to_string())
}

fn raw(status: u16, body: &str) -> Answer {
    Answer::Raw(status, "text/html", body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_a_server_the_other_one_answers_and_comes_into_use() {
    let cut = "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{}";
    for (wrong, reason) in [
        (raw(503, "unavailable"), "503"),
        (raw(502, "<html>"), "502"),
        (raw(200, "<html>a login page</html>"), "HTML"),
        (raw(200, cut), "not one of a Prometheus"),
        (error(500, "internal"), "500"),
        (error(200, "internal"), "refused the query"),
        (partial(), "partial"),
        (Answer::Cut(100), "no answer"),
        (Answer::Hang, "no answer"),
        (Answer::Trickle, "no answer"),
    ] {
        let (a, b) = (Backend::start(says("1")).await, Backend::start(says("2")).await);
        let urls = [a.url.as_str(), b.url.as_str()];
        let app = launch(&urls).start().await;
        assert_eq!(
            (value(&read(&app, "p").await), in_use(&app, &urls).await),
            ("1".into(), Some(0))
        );
        assert_eq!(b.count(|asked| !asked.is_probe()), 0, "the other one is not asked");

        let shown = format!("{wrong:?}");
        a.play(move |_| wrong.clone());
        assert_eq!(value(&read(&app, "p").await), "2", "{shown}");
        until("the other one is in use", async || {
            (in_use(&app, &urls).await == Some(1)).then_some(())
        })
        .await;
        a.take();
        for pod in ["p", "q", "r"] {
            assert_eq!(value(&read(&app, pod).await), "2", "{shown}");
        }
        assert_eq!(a.count(is_read), 0, "{shown}");
        let ready = app.get("/readyz?verbose").await.body;
        assert!(ready.contains("pair urls[0]: ") && ready.contains(reason), "{ready}");
        assert!(!ready.contains("127.0.0.1") && !ready.contains("SECRET"), "{ready}");
        let metrics = app.get("/metrics").await.body;
        let ejected = format!("ejections_total{{backend=\"pair\",server=\"{}\"}} 1", urls[0]);
        assert!(metrics.contains(&ejected), "{metrics}");
        assert!(metrics.contains("switches_total{backend=\"pair\"} 1"), "{metrics}");
        assert!(metrics.contains("down_since_timestamp_seconds{backend=\"pair\"} 0"), "{metrics}");

        // It is well again, and the one in use stays: values do not jump.
        a.play(says("1"));
        until("it is found to be well", async || {
            let ready = app.get("/readyz?verbose").await.body;
            (!ready.contains("pair urls[0]")).then_some(())
        })
        .await;
        assert_eq!(value(&read(&app, "p").await), "2", "{shown}");
        // It is asked where the other one fails.
        b.play(|_| raw(503, ""));
        assert_eq!(value(&read(&app, "p").await), "1", "{shown}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_refused_ejects_nothing_and_is_sent_once() {
    let (a, b) = (Backend::start(says("1")).await, Backend::start(says("2")).await);
    let urls = [a.url.as_str(), b.url.as_str()];
    let app = launch(&urls).start().await;
    for (status, kind) in
        [(400, "bad_data"), (422, "execution"), (503, "timeout"), (200, "execution")]
    {
        a.play(knows(&["m"], move |asked| {
            if asked.is_probe() { Answer::Data(pods(&[])) } else { error(status, kind) }
        }));
        a.take();
        let reply = read(&app, "p").await;
        assert_eq!(reply.status, 500);
        assert!(!reply.body.contains("SECRET"), "{}", reply.body);
        assert_eq!((a.count(is_read), b.count(is_read)), (1, 0), "{status} {kind}");
    }
    // A tenant's limit is no fault of the server: the other one answers, and the first one stays in use.
    a.play(knows(
        &["m"],
        |asked| {
            if asked.is_probe() { Answer::Data(pods(&[])) } else { raw(429, "") }
        },
    ));
    assert_eq!(value(&read(&app, "p").await), "2");
    a.play(says("1"));
    assert_eq!(value(&read(&app, "p").await), "1");
    assert_eq!(in_use(&app, &urls).await, Some(0));
    let metrics = app.get("/metrics").await.body;
    assert!(metrics.contains("switches_total{backend=\"pair\"} 0"), "{metrics}");
}

/// What a server does that cannot read its data: each query fails by the status of one that is at fault itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_evaluates_nothing_is_found_out_by_a_probe() {
    let (a, b) = (Backend::start(says("1")).await, Backend::start(says("2")).await);
    let urls = [a.url.as_str(), b.url.as_str()];
    let app = launch(&urls).start().await;
    a.play(knows(&["m"], |_| error(422, "execution")));
    until("the other one answers", async || {
        let reply = read(&app, "p").await;
        (reply.status == 200 && value(&reply) == "2").then_some(())
    })
    .await;
    assert_eq!(in_use(&app, &urls).await, Some(1));
}

/// Rules by which each namespace is a tenant.
fn of_tenants(urls: &[&str]) -> String {
    let of_all = "prometheus: pair,";
    rules(urls).replace(of_all, &format!("{of_all} headers: {{X-Scope-OrgID: <<.Namespace>>}},"))
}

/// A gateway that answers only tenants that it knows, and nobody without one.
fn tenants(value: &'static str) -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    let says = says(value);
    move |asked| match asked.header("x-scope-orgid") {
        "" if asked.is_query() => raw(401, "no org id"),
        "gone" => raw(404, "no such tenant"),
        "locked" => raw(403, "not this tenant"),
        _ => says(asked),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_is_refused_takes_no_server_from_others() {
    let failing = |asked: &Asked| if asked.is_probe() { raw(503, "") } else { tenants("2")(asked) };
    let (a, b) = (Backend::start(tenants("1")).await, Backend::start(failing).await);
    let urls = [a.url.as_str(), b.url.as_str()];
    let app = Launch::new(&of_tenants(&urls), "http://127.0.0.1:1").start().await;
    assert_eq!(value(&read(&app, "p").await), "1");
    until("the other one is ejected", async || is_ejected(&app, &b.url).await.then_some(())).await;
    b.play(tenants("2"));
    // It is probed again after a pause. Failures that counted would be followed by a probe of the first one before that.
    for _ in 0..3 {
        for namespace in ["gone", "locked"] {
            let reply = app.get(&custom(&format!("namespaces/{namespace}/pods/p/m"))).await;
            assert_eq!(reply.status, 500, "{reply:?}");
        }
        assert_eq!(value(&read(&app, "p").await), "1");
    }
    until("the other one is well", async || (!is_ejected(&app, &b.url).await).then_some(())).await;
    assert!(!app.get("/readyz?verbose").await.body.contains("refuses"), "others are answered");
    assert_eq!(a.count(Asked::is_probe), 0, "nothing is to be found out");
    // Probes have the headers of what was answered.
    a.play(|_| raw(503, ""));
    until("the other one is in use", async || {
        let gone = app.get(&custom("namespaces/gone/pods/p/m")).await;
        assert_eq!(gone.status, 500, "{gone:?}");
        assert_eq!(value(&read(&app, "p").await), "2");
        (in_use(&app, &urls).await == Some(1)).then_some(())
    })
    .await;
    a.play(tenants("1"));
    until("it is found to be well", async || {
        let ready = app.get("/readyz?verbose").await.body;
        (!ready.contains("pair urls[0]")).then_some(())
    })
    .await;
    let asked = a.take().into_iter().filter(Asked::is_probe).collect::<Vec<_>>();
    assert!(asked.iter().all(|asked| asked.header("x-scope-orgid") == "n"));
}

/// Probes that are refused show nothing: a query finds out that there is a server that is well.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_ends_for_queries_where_probes_are_refused() {
    let (a, b) = (Backend::start(says("1")).await, Backend::start(says("2")).await);
    let urls = [a.url.as_str(), b.url.as_str()];
    let app = launch(&urls).start().await;
    for backend in [&a, &b] {
        backend.play(|_| raw(503, ""));
    }
    until("both are ejected", async || {
        assert_eq!(read(&app, "p").await.status, 500);
        let ready = app.get("/readyz?verbose").await.body;
        (ready.contains("pair urls[0]: ") && ready.contains("pair urls[1]: ")).then_some(())
    })
    .await;
    let number = in_use(&app, &urls).await.expect("one is in use");
    let other = if number == 0 { &b } else { &a };
    let says = says("3");
    other.play(move |asked| if asked.is_probe() { raw(401, "") } else { says(asked) });
    until("the other one is asked", async || {
        let reply = read(&app, "p").await;
        (reply.status == 200 && value(&reply) == "3").then_some(())
    })
    .await;
    assert_eq!(in_use(&app, &urls).await, Some(1 - number));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_hangs_holds_up_no_other() {
    let failing = |name: &'static [&'static str]| knows(name, |_| raw(503, ""));
    let (a, b) = (Backend::start(failing(&["m"])).await, Backend::start(failing(&["m"])).await);
    let hanging = |asked: &Asked| if asked.is_probe() { Answer::Hang } else { raw(503, "") };
    let c = Backend::start(knows(&["k"], hanging)).await;
    let d = Backend::start(failing(&["k"])).await;
    let rules = rules(&[&a.url, &b.url]).replace(
        "backends: [",
        &format!("backends: [{{name: other, urls: ['{}', '{}']}}, ", c.url, d.url),
    );
    let rule = rules.lines().last().expect("a rule").replace("seriesQuery: m", "seriesQuery: k");
    let rules = format!("{rules}{}\n", rule.replace("prometheus: pair", "prometheus: other"));
    let app = Launch::new(&rules, "http://127.0.0.1:1").start().await;
    assert_eq!(read(&app, "p").await.status, 500);
    until("both are probed", async || (a.count(Asked::is_probe) > 0).then_some(())).await;
    assert_eq!(app.get(&custom("namespaces/n/pods/p/k")).await.status, 500);
    until("it is probed", async || (c.count(Asked::is_probe) == 1).then_some(())).await;
    let before = a.count(Asked::is_probe);
    until("that is over", async || {
        let ready = app.get("/readyz?verbose").await.body;
        ready.contains("other urls[0]: no answer").then_some(())
    })
    .await;
    assert!(a.count(Asked::is_probe) > before);
}

/// The probe of a server that is busy takes longer than that of one that is not, and all its queries are answered in the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_is_not_taken_for_one_that_hangs() {
    let (a, b) = (Backend::start(says("1")).await, Backend::start(says("2")).await);
    let urls = [a.url.as_str(), b.url.as_str()];
    let rules = rules(&urls).replace("timeout: 5s", "timeout: 10s");
    let app = Launch::new(&rules, "http://127.0.0.1:1").start().await;
    let (open, gate) = watch::channel(false);
    let says = says("1");
    a.play(move |asked| match says(asked) {
        Answer::Data(data) => Answer::Gated(gate.clone(), data),
        other => other,
    });
    let busy = async {
        until("it is probed", async || (a.count(Asked::is_probe) > 0).then_some(())).await;
        // As long as it takes to answer.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        open.send(true).expect("it is waited for");
    };
    let (one, other, ()) = tokio::join!(read(&app, "p"), read(&app, "q"), busy);
    assert_eq!((value(&one), value(&other)), ("1".into(), "1".into()));
    assert_eq!((in_use(&app, &urls).await, b.count(is_read)), (Some(0), 0));
}

/// A second try has less time than the query may take. That it is over does not show that the query is too slow.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_says_is_told_and_not_that_there_was_no_time_for_another() {
    let (a, b) = (Backend::start(says("1")).await, Backend::start(says("2")).await);
    let app = launch(&[&a.url, &b.url]).start().await;
    a.play(knows(&["m"], |_| raw(503, "")));
    b.play(knows(
        &["m"],
        |asked| {
            if asked.is_probe() { Answer::Data(pods(&[])) } else { Answer::Hang }
        },
    ));
    let reply = read(&app, "p").await;
    assert!(reply.failure().ends_with("HTTP status 503 (it is unavailable)"), "{reply:?}");
    assert_eq!((a.count(is_read), b.count(is_read)), (1, 1), "it is not taken for too slow");
}

/// A query that both fail by a status that says nothing of it, while they answer others.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_fails_everywhere_does_not_make_servers_alternate() {
    let poisoned = |value: &'static str| {
        let says = says(value);
        move |asked: &Asked| {
            if asked.parameter("query").contains("pod=\"poison\"") {
                error(500, "internal")
            } else {
                says(asked)
            }
        }
    };
    let (a, b) = (Backend::start(poisoned("1")).await, Backend::start(poisoned("2")).await);
    let app = launch(&[&a.url, &b.url]).start().await;
    let mut probes = 0;
    until("it was probed three times", async || {
        let reply = read(&app, "poison").await;
        assert!(reply.failure().ends_with("HTTP status 500 (it failed)"), "{reply:?}");
        assert_eq!(value(&read(&app, "p").await), "1");
        probes += a.take().iter().filter(|asked| asked.is_probe()).count();
        (probes >= 3).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_fail_one_is_asked_and_the_reader_is_told_why() {
    let (a, b) = (Backend::start(says("1")).await, Backend::start(says("2")).await);
    let app = launch(&[&a.url, &b.url]).start().await;
    for backend in [&a, &b] {
        backend.play(|_| raw(503, "SECRET"));
    }
    let told = "Internal error occurred: unable to fetch metrics: rules[0]: Prometheus, or a proxy before it, answered with HTTP status 503 (it is unavailable)";
    until("both are ejected", async || {
        assert_eq!(read(&app, "p").await.failure(), told);
        let ready = app.get("/readyz?verbose").await.body;
        (ready.contains("pair urls[0]: ") && ready.contains("pair urls[1]: ")).then_some(())
    })
    .await;
    a.take();
    b.take();
    let start = Instant::now();
    for _ in 0..20 {
        assert_eq!(read(&app, "p").await.failure(), told);
    }
    let asked = a.count(is_read) + b.count(is_read);
    assert!(
        asked <= 20 + once_a_second(start),
        "hardly more queries than with one server: {asked}"
    );
    b.play(says("2"));
    until("one is well again", async || {
        let reply = read(&app, "p").await;
        (reply.status == 200 && value(&reply) == "2").then_some(())
    })
    .await;
    // What says most is told, and nobody sees an address.
    let url = b.url.clone();
    drop((a, b));
    // The first request may find a connection that breaks.
    let told = until("nothing listens", async || {
        let reply = read(&app, "p").await;
        let refused = "Prometheus cannot be reached (connection refused)";
        (reply.status != 200 && reply.failure().ends_with(refused)).then_some(reply)
    })
    .await;
    assert!(!told.body.contains(url.trim_start_matches("http://")), "{told:?}");
    let metrics = until("the backend is down", async || {
        read(&app, "p").await;
        let metrics = app.get("/metrics").await.body;
        let up = "down_since_timestamp_seconds{backend=\"pair\"} 0";
        (!metrics.contains(up)).then_some(metrics)
    });
    metrics.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_answer_is_used_where_there_is_no_better_one() {
    let (a, b) = (Backend::start(says("1")).await, Backend::start(says("2")).await);
    let app = launch(&[&a.url, &b.url]).start().await;
    a.play(knows(&["m"], |_| partial()));
    b.play(|_| error(422, "execution"));
    assert_eq!(value(&read(&app, "p").await), "9");
    b.play(|_| raw(503, ""));
    until("both are ejected", async || {
        assert_eq!(value(&read(&app, "p").await), "9");
        let ready = app.get("/readyz?verbose").await.body;
        (ready.contains("pair urls[0]: ") && ready.contains("pair urls[1]: ")).then_some(())
    })
    .await;
    b.take();
    let start = Instant::now();
    for _ in 0..5 {
        assert_eq!(value(&read(&app, "p").await), "9");
    }
    assert!(b.count(is_read) <= once_a_second(start));
}

/// How often something has happened since then at the most that happens once a second.
fn once_a_second(since: Instant) -> usize {
    1 + usize::try_from(since.elapsed().as_secs()).expect("a few")
}

#[tokio::test(flavor = "multi_thread")]
async fn discovery_and_the_server_of_the_flags_have_others_too() {
    let (a, b) = (Backend::start(|_| raw(503, "")).await, Backend::start(says("2")).await);
    let rules = rules(&[])
        .replace("prometheus: pair, ", "")
        .replace("backends: [{name: pair, urls: [], timeout: 5s}]\n", "");
    let mut launch = Launch::new(&rules, &a.url);
    launch.prometheus.add_fallback(&b.url.replace("http://", "http://user:secret@")).unwrap();
    assert!(launch.prometheus.add_fallback(&b.url).is_err(), "it is there");
    let app = launch.start().await;
    assert_eq!(value(&read(&app, "p").await), "2");
    let asked = b.take();
    assert!(asked.iter().any(|asked| !asked.is_query()), "discovery");
    assert!(asked.iter().all(|asked| asked.header("authorization").starts_with("Basic ")));
    assert!(a.take().iter().all(|asked| asked.header("authorization").is_empty()), "its own");
    let metrics = app.get("/metrics").await.body;
    assert!(!metrics.contains("secret"), "{metrics}");
}

/// Names that are missing from a partial answer may be those that a selector is ignored for.
#[tokio::test(flavor = "multi_thread")]
async fn whether_selectors_are_ignored_is_asked_of_another_server_after_a_partial_answer() {
    let asks_for_nothing =
        |asked: &Asked| !asked.is_query() && asked.parameter("match[]").contains("matches_nothing");
    let others = says("1");
    let a = Backend::start(move |asked| {
        if asks_for_nothing(asked) {
            let body = json!({"status": "success", "isPartial": true, "data": []});
            return Answer::Raw(200, "application/json", body.to_string());
        }
        others(asked)
    })
    .await;
    let b = Backend::start(says("2")).await;
    let _app = launch(&[&a.url, &b.url]).start().await;
    until("both are asked", async || {
        (a.count(asks_for_nothing) > 0 && b.count(asks_for_nothing) > 0).then_some(())
    })
    .await;
}

fn page(value: &str) -> Page {
    Page::new().series("m", "ns=\"n\",pod=\"p\"", value)
}

/// Reads without a pause until it is told to stop; no read may fail.
fn steady(app: &Arc<App>) -> (Arc<AtomicBool>, tokio::task::JoinHandle<usize>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (app, stopped) = (Arc::clone(app), Arc::clone(&stop));
    let reading = tokio::spawn(async move {
        let mut reads = 0;
        while !stopped.load(Ordering::SeqCst) {
            assert_eq!(value(&read(&app, "p").await), "7");
            reads += 1;
        }
        reads
    });
    (stop, reading)
}

/// The restart of both, one after the other, as a rollout does it.
#[tokio::test(flavor = "multi_thread")]
async fn no_read_fails_while_one_of_two_prometheus_is_well() {
    let exporter = Exporter::start(page("7")).await;
    let (a, b) = (Store::prometheus(&exporter).await, Store::prometheus(&exporter).await);
    let urls = [a.url.clone(), b.url.clone()];
    let urls = [urls[0].as_str(), urls[1].as_str()];
    // Nothing is kept: every read is a query.
    let app = Arc::new(launch(&urls).start().await);
    let (stop, reading) = steady(&app);
    let a = a.stop().await;
    until("the second one is in use", async || {
        (in_use(&app, &urls).await == Some(1)).then_some(())
    })
    .await;
    let a = a.start().await;
    a.until("m{*}").await;
    // At once, whatever is known of the first one.
    let b = b.stop().await;
    until("the first one is in use", async || (in_use(&app, &urls).await == Some(0)).then_some(()))
        .await;
    let b = b.start().await;
    b.until("m{*}").await;
    a.suspend().await;
    until("the second one is in use", async || {
        (in_use(&app, &urls).await == Some(1)).then_some(())
    })
    .await;
    a.signal("CONT");
    stop.store(true, Ordering::SeqCst);
    assert!(reading.await.expect("no read fails") > 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_read_from_the_same_server() {
    let (a, b) = (Backend::start(says("1")).await, Backend::start(says("2")).await);
    let urls = [a.url.as_str(), b.url.as_str()];
    let (one, other) = (launch(&urls).start().await, launch(&urls).start().await);
    let agree = async |wanted: &str| {
        until("both have this value", async || {
            let values = [value(&read(&one, "p").await), value(&read(&other, "p").await)];
            values.iter().all(|value| value == wanted).then_some(())
        })
        .await;
    };
    agree("1").await;
    a.play(|_| raw(503, ""));
    agree("2").await;
    // One that starts meanwhile finds out by itself.
    let third = launch(&urls).start().await;
    assert_eq!(value(&read(&third, "p").await), "2");
}

/// How often two instances have another value at the same time, behind two Prometheus whose scrapes differ.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement of a minute"]
async fn how_far_instances_agree() {
    let exporter = Exporter::start(page("0")).await;
    // When a Prometheus scrapes depends on its external labels, which those of a pair have.
    let started = async |replica: &str| {
        let config = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "external_labels": {"replica": replica}},
            "scrape_configs": [{"job_name": "test", "honor_labels": true, "static_configs": [{"targets": [exporter.address()]}]}],
        });
        let store = Store::configured(&config.to_string(), &[]).await;
        store.until("m{*}").await;
        store
    };
    let (a, b) = (started("a").await, started("b").await);
    let began = tokio::time::Instant::now();
    for (name, first, second) in [
        (
            "urls: [a, b] in both",
            vec![a.url.as_str(), b.url.as_str()],
            vec![a.url.as_str(), b.url.as_str()],
        ),
        ("url: a in one, url: b in the other", vec![a.url.as_str()], vec![b.url.as_str()]),
    ] {
        let (one, other) = (launch(&first).start().await, launch(&second).start().await);
        let (mut reads, mut differ, mut most) = (0, 0, 0.0_f64);
        let start = tokio::time::Instant::now();
        while start.elapsed() < Duration::from_secs(30) {
            exporter.show(page(&began.elapsed().as_millis().to_string()));
            let (one, other) = tokio::join!(read(&one, "p"), read(&other, "p"));
            // Whole thousands are written so.
            let number = |reply: &Reply| value(reply).replace('k', "000").parse::<f64>();
            let number = |reply: &Reply| number(reply).expect("a number");
            let difference = (number(&one) - number(&other)).abs();
            reads += 1;
            differ += usize::from(difference > 0.0);
            most = most.max(difference);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        println!("{name}: {differ} of {reads} pairs of reads differ, by at most {most} ms");
    }
}
