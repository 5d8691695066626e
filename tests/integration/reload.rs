//! Rules files that change while they are used, and what they say of backends.

use std::{path::Path, sync::Arc, time::Duration};

use loadline::{
    core::rules::RuleEntry,
    rules_file::{Requirements, Source},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::support::{
    app::{App, Launch, custom},
    backend::{Answer, Asked, Backend, knows, pods},
    process::Process,
    until,
};

/// A rules file, the server that uses it, and the backend that it asks.
struct Stage {
    folder: TempDir,
    asked: Arc<Notify>,
    app: App,
    backend: Backend,
}

fn rule(series: &str, more: &str) -> String {
    format!(
        "- {{seriesQuery: '{series}{{}}', resources: {{overrides: {{ns: {{resource: namespace}}, pod: {{resource: pod}}}}}}, metricsQuery: '<<.Series>>{{<<.LabelMatchers>>}}'{more}}}\n"
    )
}

/// Finds every series that is asked for by its name, and has pod `p` with the value 1.
async fn backend() -> Backend {
    Backend::start(|asked: &Asked| {
        if asked.is_query() {
            return Answer::Data(pods(&[("p", "1")]));
        }
        let selector = asked.parameter("match[]");
        let name = selector.split('{').next().unwrap_or_default();
        let names = if name.is_empty() { Vec::new() } else { vec![name.to_owned()] };
        Answer::Data(names.into())
    })
    .await
}

impl Stage {
    async fn new(rules: &str) -> Self {
        Self::with(rules, backend().await).await
    }

    async fn with(rules: &str, backend: Backend) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rules.yaml");
        std::fs::write(&path, rules).unwrap();
        let asked = Arc::new(Notify::new());
        let mut launch = Launch::new(rules, &backend.url);
        launch.planning.life.ttl = Duration::from_secs(600);
        let read = Source::read(Some(&path), None, Requirements::default(), Arc::clone(&asked));
        launch.source = Some(read.unwrap());
        let app = launch.start().await;
        Self { folder, asked, app, backend }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("rules.yaml")
    }

    fn write(&self, rules: &str) {
        std::fs::write(self.path(), rules).unwrap();
        self.asked.notify_one();
    }

    async fn status(&self, metric: &str) -> u16 {
        self.app.get(&custom(&format!("namespaces/n/pods/p/{metric}"))).await.status.as_u16()
    }

    async fn until_status(&self, metric: &str, status: u16) {
        let has = async || (self.status(metric).await == status).then_some(());
        until(&format!("{metric} is {status}"), has).await;
    }

    async fn ready(&self) -> String {
        self.app.get("/readyz?verbose").await.body
    }

    async fn until_metric(&self, line: &str) {
        let has = async || self.app.get("/metrics").await.body.contains(line).then_some(());
        until(line, has).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_rules_are_taken_over_and_what_has_not_changed_goes_on() {
    let stage = Stage::new(&format!("rules:\n{}{}", rule("a", ""), rule("b", ""))).await;
    assert_eq!((stage.status("a").await, stage.status("b").await), (200, 200));
    assert_eq!(stage.status("c").await, 404);
    stage.backend.take();
    // `b` moves to another place and gets another id.
    stage.write(&format!("rules:\n{}{}", rule("c", ""), rule("b", "")));
    stage.until_status("c", 200).await;
    stage.until_status("a", 404).await;
    assert_eq!(stage.status("b").await, 200);
    let asked = stage.backend.take();
    let about = |series: &str| {
        let selects = |asked: &&Asked| asked.parameter("match[]").starts_with(series);
        asked.iter().filter(selects).count()
    };
    assert_eq!((about("c"), about("b")), (2, 0), "{asked:#?}");
    let queries: Vec<_> = asked.iter().filter(|asked| asked.is_query()).collect();
    assert_eq!(queries.len(), 1, "the result for b is kept: {queries:#?}");
    stage.until_metric("loadline_config_last_reload_successful 1\n").await;
    stage.app.stop().await;
}

/// Two rules give `x`, and the series of the later one has ended.
fn contested(confirm_fails: bool) -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    move |asked| {
        if !asked.is_query() {
            let name = asked.parameter("match[]").split('{').next();
            return Answer::Data(name.filter(|name| !name.is_empty()).as_slice().into());
        }
        let query = asked.parameter("query");
        if !query.starts_with("group by") {
            let is_live = query.contains("live") || query.contains("new");
            return Answer::Data(pods(if is_live { &[("p", "1")] } else { &[] }));
        }
        if confirm_fails {
            return Answer::Raw(503, "text/plain", "away".to_owned());
        }
        let row = json!({"metric": {"__name__": "live"}, "value": [1, "1"]});
        let rows = query.contains("live").then_some(row);
        Answer::Data(json!({"resultType": "vector", "result": rows.as_slice()}))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn which_series_live_is_known_beyond_a_reload() {
    let rules = [rule("live", ", name: {as: x}"), rule("dead", ", name: {as: x}")].concat();
    let backend = Backend::start(contested(false)).await;
    let stage = Stage::with(&format!("rules:\n{rules}"), backend).await;
    assert_eq!(stage.status("x").await, 200);
    stage.backend.play(contested(true));
    // The rules move to other places.
    stage.write(&format!("rules:\n{}{rules}", rule("new", ", static: true")));
    stage.until_status("new", 200).await;
    assert_eq!(stage.status("x").await, 200);
    let told = async || Some(stage.app.discovery.problems()).filter(|told| told.len() == 2);
    let problems = until("what is told of it", told).await;
    assert_eq!(problems[0].rule, Some(RuleEntry::Custom(1).into()));
    assert!(problems[0].cause.starts_with("cannot distinguish live series"), "{problems:?}");
    stage.backend.play(contested(false));
    // The next discovery by the clock would be in ten minutes.
    let healed = async || stage.app.discovery.problems().is_empty().then_some(());
    until("another discovery", healed).await;
    assert_eq!(stage.status("x").await, 200);
    stage.app.stop().await;
}

/// A backend that cannot be connected is tried again and again, and what is wrong with it or odd in the file is said once.
#[tokio::test(flavor = "multi_thread")]
async fn findings_are_told_once_for_a_text() {
    let backend = backend().await;
    let folder = tempfile::tempdir().unwrap();
    let (path, token) = (folder.path().join("rules.yaml"), folder.path().join("token"));
    let before = format!("rules:\n{}", rule("a", ""));
    std::fs::write(&path, &before).unwrap();
    let server = Process::loadline(&[
        "serve",
        "--standalone",
        "--secure-port=0",
        &format!("--config={}", path.display()),
        &format!("--prometheus-url={}", backend.url),
        &format!("--backend-credentials-dir={}", folder.path().display()),
    ]);
    let has = async |text: &str| {
        until(text, async || server.stderr().contains(text).then_some(())).await;
    };
    has("serving").await;
    let named = format!("{{name: b, url: '{}', tokenFile: '{}'}}", backend.url, token.display());
    std::fs::write(&path, format!("{before}backends:\n- {named}\n")).unwrap();
    server.signal("HUP");
    has("No such file").await;
    std::fs::write(&token, "secret").unwrap();
    server.signal("HUP");
    has("no longer a problem").await;
    let log = server.stderr();
    assert_eq!(log.matches("No such file").count(), 2, "once, and when it is over: {log}");
    assert_eq!(log.matches("has changed and is in use").count(), 1, "{log}");
    assert_eq!(log.matches("no rule names the backend").count(), 1, "{log}");
    assert!(!log.contains("more="), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_of_rules_follows_them() {
    let stage = Stage::new(&format!("rules:\n{}{}", rule("a", ""), rule("b", ""))).await;
    let of = |name: &str, rule: usize| format!("{name}{{rule=\"rules[{rule}]\"}} 1\n");
    let told = ["loadline_discovery_successful", "loadline_discovery_series_names"];
    let custom =
        |rules: usize| format!("loadline_rules{{group=\"custom.metrics.k8s.io\"}} {rules}\n");
    stage.until_metric(&custom(2)).await;
    for name in told {
        stage.until_metric(&of(name, 1)).await;
    }
    // One that cannot compile is left out, and what stays is told of as before.
    let broken = "- {seriesQuery: 'c{}', metricsQuery: '<<', resources: {overrides: {}}}\n";
    stage.write(&format!("rules:\n{}{broken}", rule("a", "")));
    stage.until_metric("loadline_rules_left_out 1\n").await;
    stage.until_metric(&custom(1)).await;
    let metrics = stage.app.get("/metrics").await.body;
    for name in told {
        assert!(metrics.contains(&of(name, 0)), "{metrics}");
        assert!(!metrics.contains("rules[1]"), "{metrics}");
    }
    stage.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_changes_nothing_but_what_is_told_of_it() {
    let good = format!("rules:\n{}", rule("a", ""));
    let stage = Stage::new(&good).await;
    for broken in ["rules:\n- seriesQuery: [\n", "rules:\n- seriesQuerry: a\n"] {
        stage.write(broken);
        stage.until_metric("loadline_config_last_reload_successful 0\n").await;
        assert_eq!(stage.status("a").await, 200);
        let ready = stage.ready().await;
        assert!(ready.contains("readyz check passed"), "{ready}");
        let line = ready.lines().find(|line| line.starts_with("[!]rules")).unwrap();
        assert!(line.contains("rules.yaml:2:"), "{line}");
        stage.write(&good);
        stage.until_metric("loadline_config_last_reload_successful 1\n").await;
        assert!(stage.ready().await.contains("[+]rules ok"));
    }
    std::fs::remove_file(stage.path()).unwrap();
    stage.asked.notify_one();
    stage.until_metric("loadline_config_last_reload_successful 0\n").await;
    assert!(stage.ready().await.contains("cannot be read"));
    assert_eq!(stage.status("a").await, 200);
    stage.write(&good);
    stage.until_metric("loadline_config_last_reload_successful 1\n").await;
    stage.app.stop().await;
}

/// As a tool leaves it that truncates the file before it writes.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_has_lost_its_rules_replaces_none() {
    let good = format!("rules:\n{}", rule("a", ""));
    let stage = Stage::new(&good).await;
    let lost = [
        "",
        " \n---\n",
        "# only a comment\n",
        "{}\n",
        "rules:\nexternalRules: ~\n",
        "backends: [{name: other, url: 'http://127.0.0.1:1'}]\n",
        "resourceRules: {}\n",
        "resourceRules:\n  window: 5m\n",
        // Cut in the middle of the first rule.
        "rules:\n- seriesQuery: 'a{}'\n",
    ];
    for text in lost {
        stage.write(text);
        stage.until_metric("loadline_config_last_reload_successful 0\n").await;
        assert_eq!(stage.status("a").await, 200, "{text:?}");
        let ready = stage.ready().await;
        let line = ready.lines().find(|line| line.starts_with("[!]rules")).unwrap();
        assert!(line.contains("rules.yaml: it has no usable rule"), "{line}");
        assert!(ready.contains("readyz check passed"), "{ready}");
        stage.write(&good);
        stage.until_metric("loadline_config_last_reload_successful 1\n").await;
    }
    for text in ["rules: []\n", "externalRules: []\n"] {
        stage.write(text);
        stage.until_status("a", 404).await;
        assert!(stage.ready().await.contains("[+]rules ok"));
        // What has no rules has none to lose.
        stage.write("# nothing yet\n");
        stage.write(&good);
        stage.until_status("a", 200).await;
    }
    stage.app.stop().await;
}

/// As by a tool that runs wild: most of what is found is another file, and some of it half of one.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_replaced_all_the_time_fails_no_read() {
    let version = |n: usize| format!("rules:\n{}{}", rule("a", ""), rule(&format!("b{n}"), ""));
    let stage = Stage::new(&version(0)).await;
    assert_eq!(stage.status("a").await, 200);
    for n in 1..=100 {
        let text = version(n);
        stage.write(match n % 3 {
            0 => "",
            1 => text.get(..text.len() / 2).unwrap(),
            _ => &text,
        });
        assert_eq!(stage.status("a").await, 200, "{n}");
    }
    stage.write(&version(1_000));
    stage.until_status("b1000", 200).await;
    assert_eq!(stage.status("a").await, 200);
    let queries = stage.backend.take().into_iter().filter(Asked::is_query);
    let of_a = queries.filter(|asked| asked.parameter("query").starts_with("a{")).count();
    assert_eq!(of_a, 1, "the result is kept all the time");
    assert!(stage.ready().await.contains("[+]rules ok"));
    stage.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_swapped_is_noticed_and_the_first_external_rule_starts_its_api() {
    let custom = format!("rules:\n{}", rule("a", ""));
    let stage = Stage::new(&custom).await;
    let external =
        |name: &str| format!("/apis/external.metrics.k8s.io/v1beta1/namespaces/n/{name}");
    assert_eq!(stage.app.get(&external("queue")).await.status, 404);
    assert_eq!(stage.app.get("/apis/external.metrics.k8s.io").await.status, 404);
    // As Kubernetes changes the files of a ConfigMap.
    let link = |content: &str, to: &str| {
        let data = stage.folder.path().join(to);
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("rules.yaml"), content).unwrap();
        let next = stage.folder.path().join("next");
        std::os::unix::fs::symlink(Path::new(to).join("rules.yaml"), &next).unwrap();
        std::fs::rename(next, stage.path()).unwrap();
        stage.asked.notify_one();
    };
    link(&format!("{custom}externalRules:\n{}", rule("queue", "")), "first");
    let served = async || (stage.app.get(&external("queue")).await.status == 200).then_some(());
    until("the external metric", served).await;
    assert_eq!(stage.app.get("/apis/external.metrics.k8s.io").await.status, 200);
    link(&custom, "second");
    let gone = async || (stage.app.get(&external("queue")).await.status == 404).then_some(());
    until("no external metric", gone).await;
    assert_eq!(stage.status("a").await, 200);
    stage.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_ask_the_backend_that_they_name_as_the_tenant_that_they_say() {
    let (other, third) = (backend().await, backend().await);
    let rules = |third: &str| {
        format!(
            "backends:\n- {{name: other, url: '{}/prefix', headers: {{X-Team: blue}}, verb: POST}}\n- {{name: third, url: '{third}'}}\nrules:\n{}{}{}",
            other.url,
            rule("a", ""),
            rule("b", ", prometheus: other, headers: {X-Scope-OrgID: '<<.Namespace>>'}"),
            rule("c", ", prometheus: third"),
        )
    };
    let stage = Stage::new(&rules(&third.url)).await;
    for metric in ["a", "b", "c"] {
        assert_eq!(stage.status(metric).await, 200, "{metric}");
    }
    let elsewhere = custom("namespaces/elsewhere/pods/p/b");
    assert_eq!(stage.app.get(&elsewhere).await.status, 200);
    let queries = |backend: &Backend| -> Vec<_> {
        backend.take().into_iter().filter(Asked::is_query).collect()
    };
    let asked = queries(&stage.backend);
    assert_eq!(asked.len(), 1);
    assert!(asked[0].parameter("query").starts_with("a{"));
    assert_eq!(queries(&third).len(), 1);
    let asked = queries(&other);
    let tenants: Vec<_> = asked.iter().map(|asked| asked.header("x-scope-orgid")).collect();
    assert_eq!(tenants, ["n", "elsewhere"]);
    for asked in &asked {
        assert_eq!((asked.header("x-team"), asked.path.as_str()), ("blue", "/prefix/api/v1/query"));
        assert_eq!(asked.method, "POST");
    }
    // Another address for one of them: only its rule is asked for again.
    let fourth = backend().await;
    stage.write(&rules(&fourth.url));
    until("the new backend", async || (fourth.count(|_| true) > 0).then_some(())).await;
    stage.until_metric("loadline_config_last_reload_successful 1\n").await;
    let moved = async || {
        assert_eq!(stage.status("c").await, 200);
        (fourth.count(Asked::is_query) > 0).then_some(())
    };
    until("the metric is read there", moved).await;
    assert_eq!((stage.status("a").await, stage.status("b").await), (200, 200));
    assert_eq!(
        (queries(&stage.backend).len(), queries(&other).len(), queries(&third).len()),
        (0, 0, 0)
    );
    stage.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn static_rules_need_no_discovery_and_empty_ones_can_have_a_value() {
    let backend = Backend::start(knows(&[], |asked| {
        let value = if asked.parameter("query").contains("\"nan\"") { "NaN" } else { "1" };
        Answer::Data(pods(&[("p", value)]))
    }))
    .await;
    let objects = tempfile::NamedTempFile::new().unwrap();
    let pod = |name: &str| {
        format!("---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: n}}}}\n")
    };
    std::fs::write(objects.path(), format!("{}{}", pod("p"), pod("q"))).unwrap();
    let text = format!(
        "rules:\n{}{}{}{}",
        rule("fixed", ", static: true"),
        rule("five", ", static: true, onEmpty: 5"),
        rule("zero", ", static: true, onEmpty: zero"),
        rule("dropped", ", static: true, nan: drop"),
    );
    let mut launch = Launch::new(&text, &backend.url);
    launch.objects = Some(objects.path().to_owned());
    let app = launch.start().await;
    assert_eq!(backend.count(|asked| !asked.is_query()), 0, "nothing to discover");
    let read = async |rest: &str| app.get(&custom(&format!("namespaces/n/pods/{rest}"))).await;
    let pairs = |values: &[(&str, &str)]| -> Vec<_> {
        values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(read("*/fixed").await.values(), pairs(&[("p", "1")]));
    assert_eq!(read("*/zero").await.values(), pairs(&[("p", "1"), ("q", "0")]));
    assert_eq!(read("q/zero").await.values(), pairs(&[("q", "0")]));
    assert_eq!(read("gone/zero").await.status, 404, "it does not exist");
    assert_eq!(read("*/five").await.values(), pairs(&[("p", "1"), ("q", "5")]));
    assert_eq!(read("q/five").await.values(), pairs(&[("q", "5")]));
    assert_eq!(read("gone/five").await.status, 404, "it does not exist");
    let nan = read("*/dropped?metricLabelSelector=kind%3Dnan").await;
    assert_eq!(nan.values(), pairs(&[]));
    let nan = read("*/zero?metricLabelSelector=kind%3Dnan").await;
    assert_eq!(nan.values(), pairs(&[("p", "0"), ("q", "0")]));
    app.stop().await;
}
