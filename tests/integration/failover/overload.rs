//! Servers that answer probes and fail queries.

use super::*;

/// A server under too much load.
fn overloaded(asked: &Asked) -> Answer {
    if asked.is_probe() { Answer::Data(pods(&[])) } else { raw(503, "") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_under_too_much_load_is_not_sent_each_query_twice() {
    let (a, b) = (Backend::start(says("1")).await, Backend::start(says("2")).await);
    let urls = [a.url.as_str(), b.url.as_str()];
    let app = launch(&urls).start().await;
    assert_eq!(value(&read(&app, "p").await), "1");
    for backend in [&a, &b] {
        backend.play(knows(&["m"], overloaded));
        backend.take();
    }
    let start = Instant::now();
    for _ in 0..100 {
        let reply = read(&app, "p").await;
        assert!(reply.failure().ends_with("HTTP status 503 (it is unavailable)"), "{reply:?}");
    }
    let second_tries = b.count(is_read);
    assert_eq!(a.count(is_read), 100);
    assert!((10..=10 + once_a_second(start)).contains(&second_tries), "{second_tries}");

    // A query now and then finds out that the other one answers. From then on each of them is sent to it.
    b.play(says("2"));
    until("the other one answers", async || (read(&app, "p").await.status == 200).then_some(()))
        .await;
    for pod in ["p", "q", "r"].repeat(10) {
        assert_eq!(value(&read(&app, pod).await), "2");
    }
    // The first one answers nothing but probes. When that has gone on for a second, it is asked nothing else.
    until("the other one is in use", async || {
        assert_eq!(value(&read(&app, "p").await), "2");
        (in_use(&app, &urls).await == Some(1)).then_some(())
    })
    .await;
    assert!(is_ejected(&app, &a.url).await);
    a.take();
    for pod in ["p", "q", "r"] {
        assert_eq!(value(&read(&app, pod).await), "2");
    }
    assert_eq!(a.count(is_read), 0);
}

/// What a server refuses some readers, or what cannot reach it, is no load on it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_to_readers_is_always_asked_of_the_other_server() {
    let (a, b) = (Backend::start(says("1")).await, Backend::start(says("2")).await);
    let app = launch(&[&a.url, &b.url]).start().await;
    assert_eq!(value(&read(&app, "p").await), "1");
    a.play(knows(&["m"], |asked| if asked.is_probe() { overloaded(asked) } else { raw(403, "") }));
    b.play(knows(&["m"], overloaded));
    b.take();
    for _ in 0..50 {
        assert_eq!(read(&app, "p").await.status, 500);
    }
    assert_eq!(b.count(is_read), 50);
}
