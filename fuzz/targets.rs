//! What is fuzzed: for each target a function that takes any bytes. It panics where something that must hold does not.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Arc, LazyLock, atomic::AtomicBool},
    thread,
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use loadline::{
    auth::{
        Peer,
        certificate::Authority,
        front_proxy::{self, FrontProxy},
    },
    core::{
        autoscaler::Spec,
        catalog::Entry,
        duration, embedded,
        explain::{hpa, workload::Documents},
        fields::FieldSelector,
        kinds::Kinds,
        lint,
        migrate::{self as migration, Migration, Settings},
        plan::{self, Key, Objects, shareable},
        quantity::{self, Binary, Decimal},
        rules,
        samples::Index,
        selector::{Given, Selector},
        series::{self, SeriesSelector},
        simulation::{self, Grid, Load, Model, Recorded, SYNC_MS, Variant, Work, Workload},
        team_rules,
        template::{HeaderTemplate, QueryArguments, QueryTemplate, ResourceTemplate},
    },
    explain::{files::documents_of, question::Question},
    kubeconfig, objects,
    prometheus::{Answer, decode},
    traces::Cause,
    wire::{
        answer as answers,
        attributes::{Attributes, Target},
        custom::Version,
        delegated::{self, CustomRead, ExternalRead},
        explanation as explanations,
        path::{self as paths, ExternalPath, Name, UsagePath},
        table,
    },
};
use promql_parser::{
    label::{MatchOp, Matcher},
    parser::{Expr, VectorSelector, parse},
};
use rustls::pki_types::{CertificateDer, UnixTime};
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

/// Names that stand for any: nothing else writes them.
const ONE: &str = "loadline-opaque-one";
const TWO: &str = "loadline-opaque-two";

fn text(data: &[u8]) -> Option<&str> {
    str::from_utf8(data).ok()
}

/// The target of a request: what is read is what access was judged for.
pub fn path(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let (rest, query) = text.split_once('?').unwrap_or((text, ""));
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "labelSelector" | "metricLabelSelector" => drop(Selector::parse(&value)),
            "fieldSelector" => drop(FieldSelector::parse(&value)),
            _ => {}
        }
    }
    let judged = |group: &str| {
        let path = format!("/apis/{group}.metrics.k8s.io/v1beta1/{rest}");
        match Attributes::of("GET", &path, false).expect("it was decoded before").target {
            Target::Resource { namespace, name, .. } => (namespace.into_owned(), name.into_owned()),
            Target::Path(path) => panic!("{path} was judged as a path"),
        }
    };
    if let Ok(read) = paths::parse(rest) {
        let (namespace, name) = judged("custom");
        let object = match &read.name {
            Name::One(name) => name,
            Name::All => "*",
        };
        match &read.namespace {
            Some(read) => assert_eq!((namespace.as_str(), name.as_str()), (read.as_str(), object)),
            // A metric of a namespace is judged as one in it.
            None => assert!(namespace == object || name == object, "{namespace} {name} {object}"),
        }
    }
    if let Ok(read) = paths::parse_external(rest) {
        assert_eq!(judged("external").0, read.namespace);
    }
    match paths::parse_usage(rest) {
        Ok(UsagePath::Pods { namespace, name }) => {
            assert_eq!(judged(""), (namespace.unwrap_or_default(), name.unwrap_or_default()));
        }
        Ok(UsagePath::Nodes { name }) => {
            assert_eq!(judged(""), (String::new(), name.unwrap_or_default()));
        }
        Err(_) => {}
    }
    if let Ok(Some(read)) = paths::parse_explanation(rest) {
        assert!(paths::is_explanation(rest));
        assert_eq!(judged("custom").0, read.namespace.unwrap_or_default());
    }
}

/// A label selector: what is printed is read as the same.
pub fn selector(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok(parsed) = Selector::parse(text) else { return };
    let printed = parsed.to_string();
    let again = Selector::parse(&printed).expect("what is printed can be read");
    assert_eq!(again.requirements(), parsed.requirements(), "{printed}");
    let labels = [("app", "web"), ("tier", "1"), ("zone", "")];
    let of = |label: &str| labels.iter().find(|(key, _)| *key == label).map(|(_, value)| *value);
    assert_eq!(parsed.matches(of), again.matches(of));
    serde_json::to_string(&parsed.to_label_selector()).expect("a selector in JSON");
    let given = labels.map(|(label, value)| Given { label, value: Some(value), of: "it" });
    let contradictions: Vec<_> = parsed.contradictions(&given).map(|found| found.label).collect();
    if labels.iter().all(|(_, value)| !value.is_empty()) && parsed.matches(of) {
        assert!(contradictions.is_empty(), "{printed} matches, and {contradictions:?}");
    }
}

/// A rules file: what is checked is what is loaded.
pub fn rules(data: &[u8]) {
    let Some(text) = text(data) else { return };
    drop(embedded::find(text));
    let findings = lint::check(text);
    match rules::load(text) {
        Err(problems) => {
            assert!(!problems.is_empty());
            assert!(!findings.is_empty(), "a file that cannot be used passes the check");
        }
        Ok(rules) => {
            assert!(rules.broken.is_empty() || !findings.is_empty(), "a broken rule passes");
        }
    }
}

/// The templates of a rule: texts that are only printed are.
pub fn template(data: &[u8]) {
    let Some(source) = text(data) else { return };
    if let Ok(template) = HeaderTemplate::compile(source) {
        let (one, two) = (template.render(ONE), template.render(TWO));
        if !template.may_depend_on_namespace() {
            assert_eq!(one.ok(), two.ok());
        }
    }
    if let Ok(template) = ResourceTemplate::compile(source) {
        drop(template.render("apps", "deployment"));
    }
    let Ok(template) = QueryTemplate::compile(source) else { return };
    let of = |name: &str| {
        let values = BTreeMap::from([("pod".to_owned(), name.to_owned())]);
        template.render(&QueryArguments {
            series: "up",
            label_matchers: &format!("pod=\"{name}\""),
            label_values_by_name: &values,
            group_by: "pod",
            group_by_slice: &["pod".to_owned()],
        })
    };
    let (one, two) = (of(ONE), of(TWO));
    if template.names_are_plain().is_ok() && !source.contains("loadline-opaque") {
        assert_eq!(one.ok().map(|query| query.replace(ONE, TWO)), two.ok());
    }
}

/// A metric of pods with this query, if the file with it can be used.
fn entry(query: &str) -> Option<Entry> {
    let query = serde_json::to_string(query).expect("a string");
    let rules = rules::load(&format!(
        "rules: [{{seriesQuery: up, metricsQuery: {query}, resources: {{overrides: {{pod: {{resource: pod}}, ns: {{resource: namespace}}}}}}}}]"
    ));
    let rule = Arc::clone(rules.ok()?.custom.first()?);
    let kinds = Kinds::builtin();
    let mapping = rule.base.mapping.resolve(&kinds);
    let kind = Arc::clone(kinds.resolve("", "pod")?);
    Some(Entry {
        series: "up".into(),
        label: mapping.label(&kind.resource)?.into(),
        namespace_label: mapping.namespace_label().map(Arc::from),
        kind,
        rule,
    })
}

/// How queries are planned: the text to the last line is a query's template, the last line a metric selector. All of it is a series
/// selector, too.
pub fn plan(data: &[u8]) {
    let Some(text) = text(data) else { return };
    narrow(text);
    let (query, selector) = text.rsplit_once('\n').unwrap_or((text, ""));
    let (Some(entry), Ok(selector)) = (entry(query), Selector::parse(selector)) else { return };
    let source = entry.source();
    let of =
        |name: &str| plan::exact(source, Some("n"), &Objects::Named(vec![name.into()]), &selector);
    let names = [ONE, TWO].map(Arc::from);
    drop(plan::exact_in_parts(source, Some("n"), &names, &selector, 100));
    for namespace in [Some("n"), None] {
        let Ok(proven) = shareable::prove(source, namespace, &selector) else { continue };
        let shared = parse(&proven.plan.query).expect("a query that is understood");
        if namespace.is_some() && !proven.depends_on_names {
            let one = of(ONE).expect("it was rendered for the proof");
            // The texts may differ in a comment.
            assert_eq!(parse(&one.query), Ok(shared), "it does not depend on the names");
        }
    }
}

/// A series selector that is narrowed has one matcher more, and else the same.
fn narrow(text: &str) {
    let selector = SeriesSelector::new(text);
    let Some(narrowed) = selector.narrowed(&[series::Matcher::carries("a label")]) else { return };
    let narrowed = SeriesSelector::new(&narrowed);
    let before = selector.matchers().expect("it was understood when it was narrowed");
    let after = narrowed.matchers().expect("what is narrowed is a selector");
    assert_eq!(after.len(), before.len() + 1, "{}", narrowed.text());
    assert!(before.iter().all(|matcher| after.contains(matcher)), "{}", narrowed.text());
}

/// A query of a team: one that is accepted requires the namespace in each selector, whatever was written.
pub fn enforce(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok(enforced) = team_rules::enforce(text, "namespace", "shop") else { return };
    let tree = parse(&enforced.query).expect("a query that is understood");
    let mut selectors = Vec::new();
    selectors_of(&tree, &mut selectors);
    assert_eq!(selectors.len(), enforced.selectors.len());
    for selector in selectors {
        assert!(selector.matchers.or_matchers.is_empty(), "{}", enforced.query);
        let is_own = |matcher: &Matcher| {
            matcher.op == MatchOp::Equal && matcher.name == "namespace" && matcher.value == "shop"
        };
        assert!(selector.matchers.matchers.iter().any(is_own), "{}", enforced.query);
    }
    assert_eq!(team_rules::enforce(&enforced.query, "namespace", "shop"), Ok(enforced));
}

/// All selectors of a query.
fn selectors_of<'e>(query: &'e Expr, found: &mut Vec<&'e VectorSelector>) {
    match query {
        Expr::VectorSelector(selector) => found.push(selector),
        Expr::MatrixSelector(matrix) => found.push(&matrix.vs),
        Expr::Aggregate(aggregate) => {
            if let Some(parameter) = &aggregate.param {
                selectors_of(parameter, found);
            }
            selectors_of(&aggregate.expr, found);
        }
        Expr::Binary(binary) => {
            selectors_of(&binary.lhs, found);
            selectors_of(&binary.rhs, found);
        }
        Expr::Call(call) => call.args.args.iter().for_each(|one| selectors_of(one, found)),
        Expr::Unary(unary) => selectors_of(&unary.expr, found),
        Expr::Paren(paren) => selectors_of(&paren.expr, found),
        Expr::Subquery(subquery) => selectors_of(&subquery.expr, found),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => {}
        Expr::Extension(_) => panic!("the parser makes none"),
    }
}

/// The answers of a backend: nothing of them is lost, and each sample is found.
pub fn answer(data: &[u8]) {
    drop(decode::error(data));
    drop(decode::strings(data));
    drop(decode::series(data, |label| label != "instance"));
    let Ok(Answer::Vector(vector)) = decode::query(data) else { return };
    // What is not read need not be sound.
    let Ok(body) = serde_json::from_slice::<Value>(data) else { return };
    let rows = body["data"]["result"].as_array().map_or(0, Vec::len);
    assert_eq!(vector.samples.len() + vector.unusable.len(), rows);
    let key = Key { name: "pod".into(), ..Key::default() };
    let index = Index::new(&vector, &key);
    let named = |at: usize| {
        let sample = vector.samples.get(at).expect("a sample");
        sample.label("pod").filter(|name| !name.is_empty())
    };
    let found = (0..vector.samples.len()).filter_map(named);
    for name in found {
        assert!(index.of(&vector, "n", name).next().is_some(), "{name}");
    }
    let _weight = vector.weight() + Index::weight_of(&vector);
}

/// A proxy, its certificate, and that of nobody.
struct Proxy {
    rules: FrontProxy,
    itself: Peer,
    nobody: Peer,
}

static PROXY: LazyLock<Proxy> = LazyLock::new(|| {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().expect("a key");
    let authority = parameters.self_signed(&key).expect("an authority");
    let issuer = rcgen::Issuer::new(parameters, key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut parameters = rcgen::CertificateParams::default();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "proxy");
    parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = parameters.signed_by(&key, &issuer).expect("a certificate");
    let chain: [CertificateDer<'static>; 1] = [certificate.der().clone()];
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Proxy {
        rules: FrontProxy {
            authority: Authority::new(&authority.pem()).expect("a bundle"),
            allowed_names: names(&["proxy"]),
            username_headers: names(&["X-Remote-User", "X-Other-User"]),
            group_headers: names(&["X-Remote-Group", "X-Other-Group"]),
            uid_headers: names(&["X-Remote-Uid"]),
            extra_prefixes: names(&["X-Remote-Extra-", "X-Other-"]),
        },
        itself: Peer::new(&chain, Arc::new(AtomicBool::new(false))),
        nobody: Peer::new(&[], Arc::new(AtomicBool::new(false))),
    }
});

/// The headers of a request, one a line: they count with the certificate of the proxy alone, and are gone afterwards.
pub fn front_proxy(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(64) {
        let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':').unwrap_or(0));
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value.get(1..).unwrap_or_default());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
    let of = |headers: &HeaderMap, peer: &Peer| PROXY.rules.authenticate(headers, peer, now);
    assert!(of(&headers, &PROXY.nobody).is_ok_and(|user| user.is_none()));
    if let Some(user) = of(&headers, &PROXY.itself).expect("the proxy is known") {
        assert!(!user.name.is_empty());
        assert!(user.groups.iter().all(|group| !group.is_empty()));
    }
    front_proxy::strip(&mut headers, Some(&PROXY.rules));
    assert!(of(&headers, &PROXY.itself).is_ok_and(|user| user.is_none()));
    let said = ["x-remote-user", "x-remote-group", "x-remote-uid", "x-remote-extra-"];
    let is_said = |name: &HeaderName| said.iter().any(|said| name.as_str().starts_with(said));
    assert!(!headers.keys().any(is_said));
    let cause = Cause::of(&headers);
    assert_eq!(cause.context().is_some(), cause.trace_id().is_some());
}

/// A file with this content.
fn file(data: &[u8]) -> PathBuf {
    static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));
    // Tests of several targets may run in one process.
    let path = FOLDER.path().join(format!("{:?}", thread::current().id()));
    fs::write(&path, data).expect("a file");
    path
}

/// A kubeconfig, in a file as it is read. What is refused is not repeated.
pub fn kubeconfig(data: &[u8]) {
    if let Err(error) = kubeconfig::read(&file(data)) {
        let said = error.to_string();
        assert!(said.len() < 200, "{said}");
    }
}

/// Manifests that are migrated: what comes out can be read, and means what it says.
pub fn migrate(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok(documents) = documents_of(text) else { return };
    let documents = documents.into_values();
    let url = |text: &str| Url::parse(text).expect("a URL");
    let settings = Settings {
        namespace: Some("ide".to_owned()),
        prometheus: Some(url("http://prometheus:9090")),
        aliases: BTreeMap::from([("other".to_owned(), url("http://other:9090"))]),
    };
    is_readable(&migration::keda(documents.clone(), &settings));
    is_readable(&migration::kube_metrics_adapter(documents, &settings));
}

fn is_readable(migration: &Migration) {
    let file = migration.rules_yaml();
    let printed = documents_of(&migration.manifests_yaml()).expect("what is printed can be read");
    let mut printed = printed.into_values();
    if !file.is_empty() {
        let config_map = printed.pop().expect("the ConfigMap is the last one");
        let embedded = config_map["data"]["config.yaml"].as_str().expect("a file");
        for file in [&file, embedded] {
            match rules::load(file) {
                Ok(rules) => assert!(rules.broken.is_empty(), "{:?} in {file}", rules.broken),
                Err(problems) => panic!("{problems:?} in {file}"),
            }
        }
    }
    assert!(printed.iter().eq(migration.autoscalers()), "{printed:?}");
}

/// Manifests of objects and of autoscalers, as `--objects`, `explain -f` and `simulate -f` read them: what is decided is within the
/// limits of the autoscaler.
pub fn manifests(data: &[u8]) {
    if let Ok(manifests) = objects::Manifests::read(&file(data)) {
        drop(manifests.kinds());
    }
    let Some(text) = text(data) else { return };
    let Ok(documents) = documents_of(text) else { return };
    for document in documents.of_kind("HorizontalPodAutoscaler") {
        let (read, steps) = hpa::spec(document);
        assert!(!steps.is_empty(), "nothing is said of {document}");
        let Some((autoscaler, spec)) = read else { continue };
        explain(&autoscaler, &spec, &documents);
        if spec.max_replicas <= 50 {
            simulate(&spec);
        }
    }
}

fn explain(autoscaler: &HorizontalPodAutoscaler, spec: &Spec, documents: &Documents) {
    let target = &autoscaler.spec.scale_target_ref;
    let workload = documents.workload(&target.kind, "ide", &target.name);
    let selector = workload.as_ref().map(|workload| Selector::parse(&workload.selector));
    let pods = documents.pods("ide", &selector.and_then(Result::ok).unwrap_or_default());
    let values = pods.iter().map(|owned| (owned.pod.name.clone(), 1_500)).collect();
    let found = hpa::Found::new(Ok(values), "up".to_owned(), None);
    let found = vec![found; spec.metrics.len()];
    for (metric, found) in spec.metrics.iter().zip(&found) {
        drop(hpa::target_steps(metric, found));
    }
    let now_ms = 1_800_000_000_000;
    let (outcome, _) = hpa::decide(spec, autoscaler, workload.as_ref(), &pods, &found, now_ms);
    if let (Some(current), Some(desired)) = (outcome.current, outcome.desired) {
        let is_within = (0..=spec.max_replicas).contains(&desired);
        assert!(is_within || desired == current, "from {current} to {desired}");
    }
}

fn simulate(spec: &Spec) {
    let grid = Grid { start_ms: 1_800_000_000_000, step_ms: SYNC_MS, steps: 20 };
    let values = [Some(5_000), Some(1_000_000_000), None, Some(0), Some(-1_000)]
        .map(|milli| milli.map(|sum| Recorded { sum, count: 2 }));
    let values: Vec<_> = values.into_iter().cycle().take(grid.steps).collect();
    let load = |model| Load { model, values: values.clone().into(), replicas: None };
    for model in [Model::Fixed, Model::PerPod] {
        let loads = vec![load(model); spec.metrics.len()];
        let workload = Workload { replicas: 1, pod_start_ms: SYNC_MS, ..Workload::default() };
        let mut progress = |_done: usize, _all: usize| {};
        let mut work = Work::new(1, grid, &mut progress);
        let timeline = simulation::run(spec, &loads, grid, &workload, &mut work);
        let timeline = timeline.expect("few replicas");
        let most = spec.max_replicas.max(workload.replicas);
        let is_within = |sync: &simulation::Sync| (0..=most).contains(&sync.replicas);
        assert!(timeline.syncs.iter().all(is_within), "{timeline:?}");
    }
}

/// What other servers answer to `explain` and `compare`: an explanation is encoded as it was read.
pub fn explanation(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(read) = explanations::decode(text) {
        let again = explanations::encode("v1", read.clone());
        let again = explanations::decode(self::text(&again).expect("JSON is text"));
        let again = again.expect("what is encoded can be read");
        assert_eq!(again.steps, read.steps);
        // Of a fraction the last digit may differ.
        assert_eq!((again.found.values, again.found.query), (read.found.values, read.found.query));
    }
    drop(answers::items(text));
    drop(answers::versions(text));
    drop(answers::resources(text));
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        drop(table::of(&value));
    }
}

/// What another server of the metrics APIs answers: a list is bounded, and passes on as one that the same read accepts.
pub fn delegate(data: &[u8]) {
    drop(delegated::declined(500, data, "secret"));
    if let Some(text) = text(data) {
        drop(answers::versions(text));
        drop(answers::resources(text));
    }
    let path = |rest: &str| paths::parse(rest).expect("it is a path");
    let kind = Kinds::builtin().resolve("", "pods").cloned();
    let custom = CustomRead {
        path: path("namespaces/n/pods/*/m"),
        objects: Selector::default(),
        metric: Selector::parse("a=b").expect("it is a selector"),
        kind,
        version: Version::V1beta2,
    };
    for server in Version::ALL {
        let Ok(passed_on) = custom.answer(server, data) else { continue };
        let again = custom.answer(Version::V1beta2, &passed_on).expect("it was accepted before");
        assert_eq!(again, passed_on);
        let list: Value = serde_json::from_slice(&passed_on).expect("it is JSON");
        for item in list["items"].as_array().expect("it is a list") {
            assert_eq!(item["describedObject"]["namespace"], "n");
            assert_eq!(item["metric"]["name"], "m");
        }
    }
    let path = ExternalPath { namespace: "n".to_owned(), metric: "m".to_owned() };
    let external = ExternalRead { path, selector: Selector::default() };
    if let Ok(passed_on) = external.answer(data) {
        assert_eq!(external.answer(&passed_on).expect("it was accepted before"), passed_on);
        let items = answers::items(text(&passed_on).expect("JSON is text")).expect("it is a list");
        assert!(items.len() <= delegated::MOST_VALUES);
        assert!(items.iter().all(|item| item.metric_labels.len() <= delegated::MOST_LABELS));
    }
}

/// What is written in flags, fields and on a command line: durations, quantities, changes of an autoscaler, questions.
pub fn words(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(read) = duration::parse_go(text) {
        assert_eq!(duration::parse_go(&duration::go(read)), Ok(read));
    }
    if let Ok(read) = duration::parse_prometheus(text) {
        assert_eq!(duration::parse_prometheus(&duration::prometheus(read)), Ok(read));
        assert_eq!(duration::parse_either(text), Some(read));
    }
    let exact = quantity::parse_nano(text);
    if let Some(milli) = quantity::parse_milli(text) {
        assert_eq!(exact, Some(i128::from(milli) * 1_000_000));
        for printed in [Decimal(milli).to_string(), Binary(milli).to_string()] {
            assert_eq!(quantity::parse_milli(&printed), Some(milli), "{printed}");
        }
    }
    if let (Some(exact), Some(rounded)) = (exact, quantity::parse_milli_rounded_up(text)) {
        let added = (i128::from(rounded) * 1_000_000).abs() - exact.abs();
        assert!((0..1_000_000).contains(&added), "{exact} is rounded to {rounded}");
    }
    if let Some(milli) = text.parse().ok().and_then(quantity::milli) {
        assert_eq!(quantity::parse_milli(&Decimal(milli).to_string()), Some(milli));
    }
    let words: Vec<_> = text.split(' ').map(str::to_owned).collect();
    if let Ok(Question::Metric(metric)) = Question::parse(&words) {
        drop(metric.inquiry("ide", (None, None)));
    }
    if let Ok(variant) = Variant::parse(text)
        && let Ok(changed) = variant.apply(&AUTOSCALER.0, &AUTOSCALER.1)
    {
        drop(hpa::spec(&changed));
    }
}

/// An autoscaler that variants change.
static AUTOSCALER: LazyLock<(Value, Spec)> = LazyLock::new(|| {
    let document = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "worker"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker"},
            "minReplicas": 2, "maxReplicas": 20,
            "metrics": [{"type": "Pods", "pods": {
                "metric": {"name": "requests"}, "target": {"type": "AverageValue", "averageValue": "50"},
            }}],
        },
    });
    let spec = hpa::spec(&document).0.expect("an autoscaler").1;
    (document, spec)
});
