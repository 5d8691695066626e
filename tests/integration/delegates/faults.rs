//! Delegates that answer wrongly, or not at all.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_that_is_wrong_harms_nobody_and_its_answer_is_not_passed_on() {
    let delegate = Delegate::start(external_server(keda)).await;
    let (app, _backend) = start(RULES, &delegate, ", api: external, timeout: 3s").await;
    let raw = |code, body: &str| Answer::Raw(code, "application/json", body.to_owned());
    let other = |pointer: &str, value: Value| {
        let mut list = values("m");
        *list.pointer_mut(pointer).unwrap() = value;
        json_of(&list)
    };
    let unfit = (500, "sent an answer that is not one to the read");
    let cases: Vec<(Answer, (u16, &str))> = vec![
        (other("/items/0/metricName", json!("other")), unfit),
        (other("/kind", json!("SecretList")), unfit),
        (other("/apiVersion", json!("external.metrics.k8s.io/v1")), unfit),
        (raw(200, "garbage"), unfit),
        (raw(200, ""), unfit),
        (Answer::Endless(20 << 20), (500, "too large")),
        (Answer::Bomb(9 << 20), (500, "too large")),
        (
            Answer::Redirect(302, "https://thief.example.com/token".to_owned()),
            (500, "answered 302"),
        ),
        (
            status(401, "Unauthorized", "delegate-token is not valid"),
            (500, "credentials of loadline"),
        ),
        (
            status(403, "Forbidden", "loadline cannot list it"),
            (403, "answered 403: loadline cannot"),
        ),
        (status(403, "Forbidden", "who sends delegate-token?"), (403, "answered 403 Forbidden")),
        (status(429, "TooManyRequests", "later"), (429, "answered 429: later")),
        (status(500, "InternalError", "dial 10.0.0.1 failed"), (500, "answered 500 InternalError")),
        (status(503, "ServiceUnavailable", "x"), (503, "answered 503 ServiceUnavailable")),
        (Answer::Cut(100), (503, "cannot be reached")),
        (Answer::Trickle, (504, "did not answer in time")),
        (Answer::Hang, (504, "did not answer in time")),
    ];
    for (answer, (code, wanted)) in cases {
        let shown = format!("{answer:?}");
        delegate.server.play(external_server(move |_| answer.clone()));
        let reply = app.get(&external("namespaces/n/m")).await;
        let failure = reply.failure();
        assert_eq!(reply.status, code, "{shown}: {failure}");
        assert!(!reply.headers.contains_key("retry-after"), "{shown}");
        assert!(failure.contains("the delegate other ") && failure.contains(wanted), "{failure}");
        let port = delegate.url.rsplit(':').next().unwrap();
        for secret in ["delegate-token", "thief", "10.0.0.1", "127.0.0.1", port] {
            assert!(!reply.body.contains(secret), "{secret}: {}", reply.body);
        }
        assert_own(&app).await;
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_delegate_is_given_a_rest_and_asked_again() {
    let delegate = Delegate::start(external_server(keda)).await;
    let more = ", api: external, timeout: 200ms, concurrency: 2";
    let (app, _backend) = start(RULES, &delegate, more).await;
    delegate.server.play(external_server(|_| Answer::Hang));
    let resting = until("reads fail at once", async || {
        let began = Instant::now();
        let failure = app.get(&external("namespaces/n/m")).await.failure();
        failure.contains("is not asked now").then(|| began.elapsed())
    })
    .await;
    assert!(resting.as_millis() < 150, "{resting:?}");
    assert_own(&app).await;
    let open = "loadline_delegate_breaker_open{delegate=\"other\"} 1\n";
    assert!(app.get("/metrics").await.body.contains(open));
    let ready = app.get("/readyz?verbose").await.body;
    assert!(
        ready.contains("[!]delegates informational: the delegate other does not answer"),
        "{ready}"
    );
    delegate.server.play(external_server(|asked: &Asked| {
        json_of(&values(asked.path.rsplit('/').next().unwrap()))
    }));
    until("it answers again", async || {
        (app.get(&external("namespaces/n/m")).await.status == 200).then_some(())
    })
    .await;
    assert!(!app.get("/metrics").await.body.contains(open));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_that_is_away_keeps_its_metrics_in_the_list() {
    let delegate = Delegate::start(external_server(keda)).await;
    let (app, _backend) = start(RULES, &delegate, ", api: external, timeout: 200ms").await;
    let list = "/apis/external.metrics.k8s.io/v1beta1";
    let before = app.get(list).await.body;
    assert!(before.contains("externalmetrics"), "{before}");
    let Delegate { guard, server, .. } = delegate;
    drop((guard, server));
    let reply = app.get(&external("namespaces/n/m")).await;
    assert!(reply.failure().contains("the delegate other"), "{}", reply.body);
    assert_eq!(app.get(list).await.body, before);
    assert_own(&app).await;
    app.stop().await;
}
