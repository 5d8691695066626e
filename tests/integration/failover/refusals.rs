//! Servers that refuse all queries: they stay in use, and people are told.

use super::*;
use crate::support::{install_tls_provider, process::Process};

/// A backend with these servers, and a status page.
async fn start(urls: &[&str]) -> App {
    let mut launch = launch(urls);
    launch.debug = true;
    launch.start().await
}

async fn page(app: &App) -> String {
    let address = app.debug_address.expect("a debug address");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.get(format!("http://{address}/")).send().await.unwrap().text().await.unwrap()
}

/// What `/readyz` says of refusals, if it does.
async fn told(app: &App) -> Option<String> {
    let ready = app.get("/readyz?verbose").await;
    assert_eq!(ready.status, 200, "it is informational");
    assert!(!ready.body.contains("127.0.0.1"), "{}", ready.body);
    ready.body.lines().find(|line| line.contains("refuses all")).map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_everything_stays_in_use_and_is_told() {
    let a = Backend::start(knows(&["m"], |_| raw(401, "no"))).await;
    let b = Backend::start(says("2")).await;
    let urls = [a.url.as_str(), b.url.as_str()];
    let app = start(&urls).await;
    assert_eq!(told(&app).await, None);
    let line = until("it is told", async || {
        assert_eq!(value(&read(&app, "p").await), "2");
        told(&app).await
    })
    .await;
    assert!(line.contains("[!]prometheus informational: pair urls[0]: "), "{line}");
    assert!(line.contains("401") && !line.contains("urls[1]"), "{line}");
    assert_eq!((in_use(&app, &urls).await, is_ejected(&app, &a.url).await), (Some(0), false));
    let shown = page(&app).await;
    assert!(shown.contains(">refuses<") && shown.contains("1 doubtful"), "{shown}");
    assert!(!shown.contains(">in use<"), "{shown}");

    a.play(says("1"));
    assert_eq!(value(&read(&app, "p").await), "1");
    assert_eq!(told(&app).await, None);
    assert!(page(&app).await.contains(">in use<"));
}

/// A redirect and a page say what 401 says, where there is nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn an_only_server_that_refuses_everything_is_told_and_one_that_was_not_asked_is_not() {
    for (refusal, why) in [
        (raw(403, "no"), "403"),
        (raw(302, ""), "302"),
        (raw(200, "<html>a login page</html>"), "HTML"),
    ] {
        let a = Backend::start(knows(&["m"], move |_| refusal.clone())).await;
        let app = start(&[&a.url]).await;
        let line = until("it is told", async || {
            assert_eq!(read(&app, "p").await.status, 500);
            told(&app).await
        })
        .await;
        assert!(line.contains("pair: ") && line.contains(why), "{line}");
        let shown = page(&app).await;
        assert!(shown.contains(">refuses<"), "{shown}");
        // That of the flags has no rule.
        assert!(shown.contains(">not asked yet<") && !shown.contains(">answers<"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_that_are_refused_or_fail_by_themselves_are_no_refusal_of_all() {
    let a = Backend::start(knows(&["m"], |asked| match asked.parameter("query") {
        query if query.contains("\"good\"") => error(422, "execution"),
        _ => raw(403, "not this query"),
    }))
    .await;
    let app = start(&[&a.url]).await;
    let start = Instant::now();
    until("more than a second has passed", async || {
        for pod in ["p", "p", "p", "good"] {
            assert_eq!(read(&app, pod).await.status, 500);
        }
        (start.elapsed() > Duration::from_millis(1_500)).then_some(())
    })
    .await;
    assert!(a.count(is_read) > 10);
    assert_eq!(told(&app).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_the_beginning_and_the_end_once() {
    let backend = Backend::start(knows(&["m"], |_| raw(401, "no"))).await;
    let folder = tempfile::tempdir().unwrap();
    let (file, kubeconfig) = (folder.path().join("rules.yaml"), folder.path().join("kubeconfig"));
    std::fs::write(&file, rules(&[&backend.url])).unwrap();
    let server = Process::loadline(&[
        "serve",
        "--standalone",
        "--secure-port=0",
        "--cache-ttl=0",
        "--max-stale=0",
        &format!("--config={}", file.display()),
        "--prometheus-url=http://127.0.0.1:1",
        &format!("--write-kubeconfig={}", kubeconfig.display()),
    ]);
    until("the server", async || server.stderr().contains("serving").then_some(())).await;
    let text = std::fs::read_to_string(&kubeconfig).unwrap();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    let url = config["clusters"][0]["cluster"]["server"].as_str().unwrap().to_owned();
    install_tls_provider();
    let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).no_proxy();
    let client = client.build().unwrap();
    let read = async || {
        let url = format!("{url}{}", custom("namespaces/n/pods/p/m"));
        client.get(url).send().await.unwrap().status().as_u16()
    };
    let lines = |level: &str| {
        let log = server.stderr();
        let of_all = |line: &&str| line.contains(level) && line.contains("refuse all queries");
        let log = log.replace("refuses all", "refuse all");
        log.lines().filter(of_all).map(str::to_owned).collect::<Vec<_>>()
    };
    until("it is told", async || {
        read().await;
        (!lines("WARN").is_empty()).then_some(())
    })
    .await;
    for _ in 0..10 {
        assert_eq!(read().await, 500);
    }
    let [line] = &lines("WARN")[..] else { panic!("{:?}", lines("WARN")) };
    assert!(line.contains("401") && line.contains("pair"), "{line}");
    backend.play(says("1"));
    until("it is over", async || {
        assert_eq!(read().await, 200);
        (!lines("INFO").is_empty()).then_some(())
    })
    .await;
    assert_eq!((lines("WARN").len(), lines("INFO").len()), (1, 1));
}
