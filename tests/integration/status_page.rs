//! The status page: on the debug address, through the API, and in a real browser.

use std::{fs, path::Path, time::Duration};

use loadline::{auth::access::Ttls, planner};
use reqwest::Method;
use serde_json::json;

use crate::support::{
    app::{App, Launch, Reply, custom, external},
    browser::{Browser, Look},
    cluster::{Kubernetes, Stored},
    exporter::{Exporter, Page},
    store::Store,
    until,
};

const RULES: &str = "
rules:
- seriesQuery: 'http_requests_total{namespace!=\"\",pod!=\"\"}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
- seriesQuery: 'no_such_series{namespace!=\"\",pod!=\"\"}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
externalRules:
- seriesQuery: 'queue_length'
  resources: {namespaced: false}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
";

/// A label's value that would be a script if it were not escaped.
const HOSTILE: &str = "</td><script>document.title='taken'</script><img src=x onerror=alert(1)>";

/// A cluster, a real Prometheus and a server with a debug address, of which some metrics were read.
struct Stage {
    cluster: Kubernetes,
    _store: Store,
    _exporter: Exporter,
    app: App,
}

impl Stage {
    async fn new(is_guarded: bool) -> Self {
        let cluster = Kubernetes::start(&[], 500).await;
        for pod in ["web-0", "web-1", "web-2"] {
            cluster.apply(Stored::new("pods", "shop", pod, &[("app", "web")]));
        }
        let hpa = json!({
            "spec": {
                "maxReplicas": 10, "minReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                "metrics": [
                    {"type": "Pods", "pods": {"metric": {"name": "http_requests_total"}, "target": {"type": "AverageValue", "averageValue": "40"}}},
                    {"type": "External", "external": {"metric": {"name": "queue_length"}, "target": {"type": "AverageValue", "averageValue": "30"}}},
                ],
            },
            "status": {
                "currentReplicas": 3, "desiredReplicas": 4,
                "currentMetrics": [
                    {"type": "Pods", "pods": {"metric": {"name": "http_requests_total"}, "current": {"averageValue": "53"}}},
                    {"type": "External", "external": {"metric": {"name": "queue_length"}, "current": {"averageValue": "14"}}},
                ],
                "conditions": [{"type": "ScalingActive", "status": "True"}],
            },
        });
        cluster.apply(Stored::new("horizontalpodautoscalers", "shop", "web", &[]).with(hpa));
        let exporter = Exporter::start(values([40, 50, 69], 42, HOSTILE)).await;
        let store = Store::prometheus(&exporter).await;
        let mut launch = Launch::new(RULES, &store.url).cluster(&cluster);
        launch.debug = true;
        launch.planning = planner::Settings::with_ttl(Duration::from_secs(5));
        if is_guarded {
            let delegation = cluster.delegation();
            delegation.configure(&[]);
            for name in ["admin", "onlooker", "stranger"] {
                delegation.token(name, json!({"username": name}));
            }
            delegation.access(|spec| {
                let is_page = spec["resourceAttributes"]["resource"] == "statuspages";
                let is_page = is_page && spec["resourceAttributes"]["verb"] == "get";
                json!({"allowed": match spec["user"].as_str() {
                    Some("onlooker") => is_page,
                    Some("admin") => true,
                    _ => false,
                }})
            });
            launch.guarded = true;
            launch.access_ttls = Ttls { authorized: Duration::ZERO, unauthorized: Duration::ZERO };
        }
        let app = launch.start().await;
        until("the server is ready", async || {
            (app.get("/readyz").await.status == 200).then_some(())
        })
        .await;
        Self { cluster, _store: store, _exporter: exporter, app }
    }

    async fn read(&self) {
        let pods = custom("namespaces/shop/pods/*/http_requests_total?labelSelector=app%3Dweb");
        assert_eq!(self.app.get(&pods).await.status, 200);
        let queue = external("namespaces/shop/queue_length");
        assert_eq!(self.app.get(&queue).await.status, 200);
    }

    async fn fail(&self) {
        let unknown = external("namespaces/shop/%3Cscript%3Ealert(1)%3C%2Fscript%3E");
        assert_eq!(self.app.get(&unknown).await.status, 404);
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.app.debug_address.expect("a debug address"))
    }

    async fn debug(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        App::send(&self.app.client, Method::GET, &self.url(path), headers).await
    }
}

/// What is scraped: a value for each pod, and one of a queue with this name.
fn values(pods: [u32; 3], queued: u32, queue: &str) -> Page {
    let mut page = Page::new();
    for (number, value) in pods.into_iter().enumerate() {
        let labels = format!("namespace=\"shop\",pod=\"web-{number}\"");
        page = page.series("http_requests_total", &labels, &value.to_string());
    }
    let queue = queue.replace('"', "\\\"");
    page.series("queue_length", &format!("queue=\"{queue}\""), &queued.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_on_the_page_and_hostile_texts_are_texts() {
    let stage = Stage::new(false).await;
    stage.read().await;
    stage.fail().await;
    let reply = stage.debug("/", &[]).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.headers["content-type"], "text/html; charset=utf-8");
    let policy = reply.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self'"), "{policy}");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
        ("x-frame-options", "DENY"),
    ] {
        assert_eq!(reply.headers[name], value);
    }
    for shown in [
        // The mean of 40, 50 and 69.
        "<strong>53</strong>",
        "pods app=web",
        "shop/</span>web",
        "132% of the target",
        "pods/http_requests_total",
        "rules[0], line 3",
        "externalRules[0], line 10",
        "no_such_series{namespace!=&quot;&quot;,pod!=&quot;&quot;}",
        "--prometheus-url",
        "answers",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "loadline-0",
        "<strong>42</strong>",
    ] {
        assert!(reply.body.contains(shown), "{shown} is not in\n{}", reply.body);
    }
    assert!(!reply.body.contains("<script"));

    let asked = "/?api=external&namespace=shop&metric=queue_length&resource=&name=";
    let reply = stage.debug(asked, &[]).await;
    assert!(reply.body.contains("queue_length{}"), "{}", reply.body);
    assert!(reply.body.contains("&lt;/td&gt;&lt;script&gt;document.title"), "{}", reply.body);
    assert!(!reply.body.contains("<script") && !reply.body.contains("<img"));
    let refused = stage.debug("/?metric=m&namespace=A%22", &[]).await;
    assert!(refused.body.contains("role=\"alert\""), "{}", refused.body);
    let style = stage.debug("/style.css", &[]).await;
    assert_eq!(style.headers["content-type"], "text/css; charset=utf-8");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_cannot_use_the_debug_address() {
    let stage = Stage::new(false).await;
    let code = async |path: &str, headers: &[(&str, &str)]| stage.debug(path, headers).await.status;
    for host in ["evil.example", "127.0.0.1.evil.example:6060", "localhost.evil.example"] {
        assert_eq!(code("/", &[("host", host)]).await, 403, "{host}");
    }
    assert_eq!(code("/", &[("host", "localhost:1")]).await, 200);
    assert_eq!(code("/", &[("origin", "http://evil.example")]).await, 403);
    assert_eq!(code("/?metric=m", &[("sec-fetch-site", "cross-site")]).await, 403);
    assert_eq!(code("/metrics", &[]).await, 404);
    assert_eq!(code(&format!("/?metric={}", "m".repeat(9_000)), &[]).await, 414);
    let post = App::send(&stage.app.client, Method::POST, &stage.url("/"), &[]).await;
    assert_eq!(post.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_shows_the_page_to_those_who_have_the_right() {
    let stage = Stage::new(true).await;
    let ask = async |user: &str, path: &str| {
        let bearer = format!("Bearer {user}");
        stage.app.request(Method::GET, path, &[("authorization", &bearer)]).await
    };
    let page = custom("statuspages/loadline");
    for user in ["admin", "onlooker"] {
        let reply = ask(user, &page).await;
        assert_eq!(reply.status, 200, "{user}");
        assert!(reply.body.contains("pods/http_requests_total"), "{user}: {}", reply.body);
        assert_eq!(ask(user, &custom("statuspages/style.css")).await.status, 200);
    }
    assert_eq!(ask("admin", &external("statuspages/loadline")).await.status, 200);
    for path in [&page, &custom("statuspages/style.css"), &external("statuspages/loadline")] {
        assert_eq!(ask("stranger", path).await.status, 403, "{path}");
        let stranger = stage.app.get(path).await.status.as_u16();
        assert!([401, 403].contains(&stranger), "{path}: {stranger}");
    }
    let asked = format!("{page}?api=external&namespace=shop&metric=queue_length");
    let reply = ask("onlooker", &asked).await;
    assert!(reply.body.contains("right to get explanations"), "{}", reply.body);
    assert!(!reply.body.contains("document.title"), "{}", reply.body);
    assert!(ask("admin", &asked).await.body.contains("document.title"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_shows_it_on_a_phone_and_on_a_desk() {
    let stage = Stage::new(false).await;
    stage.read().await;
    stage.fail().await;
    let url = stage.url("/");
    let looked = tokio::task::spawn_blocking(move || {
        let mut browser = Browser::start()?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let mut backgrounds = Vec::new();
        for (width, scheme) in [(390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")] {
            let look = Look { width, scheme };
            browser.open(&url, look);
            let across = browser.evaluate("document.documentElement.scrollWidth");
            assert_eq!(across, width, "{look:?}");
            let name = folder.join(format!("status-{width}-{scheme}.png"));
            fs::write(name, browser.picture()).expect("a folder for tests");
            backgrounds.push(browser.evaluate("getComputedStyle(document.body).backgroundColor"));

            let fill = "document.querySelector('[name=metric]').value = 'http_requests_total';
                document.querySelector('[name=namespace]').value = 'shop';
                document.querySelector('[name=labelSelector]').value = 'app=web';
                document.querySelector('form button').click()";
            browser.follow(fill);
            let steps = browser.evaluate("document.querySelectorAll('.steps li.good').length");
            assert!(steps.as_u64() > Some(3), "{look:?}: {steps}");
            let across = browser.evaluate("document.documentElement.scrollWidth");
            assert_eq!(across, width, "{look:?}");
            let name = folder.join(format!("status-explained-{width}-{scheme}.png"));
            fs::write(name, browser.picture()).expect("a folder for tests");
        }
        assert_eq!(backgrounds[0], backgrounds[2]);
        assert_ne!(backgrounds[0], backgrounds[1]);
        // With the keyboard: the first stop leads to the content, and every table that scrolls is one.
        browser.open(&url, Look { width: 390, scheme: "light" });
        let stops = "[...document.querySelectorAll('.scroll')].every(it => it.tabIndex === 0)";
        assert_eq!(browser.evaluate(stops), true);
        let title = browser.evaluate("document.title");
        assert_eq!(title, "loadline on loadline-0");
        assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
        Some(())
    });
    looked.await.expect("a page that can be looked at");
    drop(stage.cluster);
}

/// A server with profiles, and its debug address.
#[cfg(feature = "profiles")]
async fn profiled(environment: &[(&str, &str)]) -> (crate::support::process::Process, String) {
    use crate::support::process::{Process, loadline};

    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.yaml");
    fs::write(&rules, "rules: []").unwrap();
    let config = format!("--config={}", rules.display());
    let flags = ["--standalone", "--prometheus-url=http://127.0.0.1:1", "--secure-port=0"];
    let mut command = loadline(&[&["serve", &config, "--debug-address=0"], &flags[..]].concat());
    command.envs(environment.iter().copied());
    let server = Process::start(command, "cargo builds it");
    let address = until("the debug address is in the log", async || {
        let log = server.stderr();
        let line = log.lines().find(|line| line.contains("serving the status page"))?;
        let port = line.split("127.0.0.1:").nth(1)?;
        let port = port.chars().take_while(char::is_ascii_digit).collect::<String>();
        Some(format!("127.0.0.1:{port}"))
    })
    .await;
    (server, address)
}

#[cfg(feature = "profiles")]
#[tokio::test(flavor = "multi_thread")]
async fn the_heap_has_a_profile_if_samples_are_taken() {
    use std::io::Read as _;

    use crate::support::install_tls_provider;

    install_tls_provider();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for (environment, status) in
        [(&[][..], 404), (&[("_RJEM_MALLOC_CONF", "prof:true,lg_prof_sample:14")][..], 200)]
    {
        let (_server, address) = profiled(environment).await;
        let url = format!("http://{address}/debug/pprof/heap");
        let reply = client.get(url).send().await.unwrap();
        assert_eq!(reply.status(), status);
        if status == 200 {
            let (mut plain, gzip) = (Vec::new(), reply.bytes().await.unwrap());
            flate2::read::GzDecoder::new(&gzip[..]).read_to_end(&mut plain).unwrap();
            assert!(String::from_utf8_lossy(&plain).contains("inuse_space"));
        }
    }
}

#[cfg(feature = "profiles")]
#[tokio::test(flavor = "multi_thread")]
async fn cpu_profiles_are_made_one_at_a_time() {
    use std::io::Read as _;

    use futures::future::join_all;

    use crate::support::install_tls_provider;

    install_tls_provider();
    let (_server, address) = profiled(&[]).await;
    let url = |path: &str| format!("http://{address}/debug/pprof/profile{path}");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let code = async |path: &str| client.get(url(path)).send().await.unwrap().status();
    for bad in ["?seconds=0", "?seconds=61", "?seconds=x"] {
        assert_eq!(code(bad).await, 400, "{bad}");
    }
    let two = join_all([(); 2].map(|()| client.get(url("?seconds=3")).send())).await;
    let (made, refused): (Vec<_>, Vec<_>) =
        two.into_iter().map(Result::unwrap).partition(|reply| reply.status() == 200);
    assert_eq!(refused.iter().map(reqwest::Response::status).collect::<Vec<_>>(), [429]);
    let profile = made.into_iter().next().expect("the other one is made");
    let (mut plain, gzip) = (Vec::new(), profile.bytes().await.unwrap());
    flate2::read::GzDecoder::new(&gzip[..]).read_to_end(&mut plain).unwrap();
    let text = String::from_utf8_lossy(&plain);
    assert!(text.contains("samples") && text.contains("nanoseconds"), "{text}");
}
