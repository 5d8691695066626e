//! The keys themselves.

use std::time::Duration;

use super::{Key, Kind, Need, Shape, auth::AUTH, key, required};

/// The most entries that `rules` and `externalRules` may each have.
pub(in crate::core::rules) const MAX_RULES: usize = 5_000;

/// How many servers a backend may have. A query may be sent to each of them.
const MAX_URLS: usize = 8;

/// The most backends.
const MAX_BACKENDS: usize = 100;

/// The most delegates.
const MAX_DELEGATES: usize = 20;

/// The most namespaces that a `match` names.
const MAX_NAMESPACES: usize = 1_000;

/// The most entries of one `seriesFilters`.
const MAX_FILTERS: usize = 100;

const HOUR: Duration = Duration::from_secs(3600);

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Go's longest duration: prometheus-adapter reads no longer window.
const GO_MAX: Duration = Duration::from_secs(9_223_372_036);

pub(in crate::core::rules) static FILE: Shape = Shape {
    name: "file",
    doc: "The rules of loadline. A file of prometheus-adapter is one, too.",
    keys: &[
        key(
            "rules",
            Kind::List(&CUSTOM_RULE, MAX_RULES),
            "What custom.metrics.k8s.io serves. Where two rules provide the same metric, the later one counts.",
        ),
        key(
            "externalRules",
            Kind::List(&EXTERNAL_RULE, MAX_RULES),
            "What external.metrics.k8s.io serves.",
        ),
        key("resourceRules", Kind::Object(&RESOURCE_RULES), "What metrics.k8s.io serves."),
        key(
            "backends",
            Kind::List(&BACKEND, MAX_BACKENDS),
            "Further servers of the Prometheus API, for rules that name one by `prometheus`. The others ask --prometheus-url.",
        ),
        key(
            "delegates",
            Kind::List(&DELEGATE, MAX_DELEGATES),
            "Other servers of custom.metrics.k8s.io and external.metrics.k8s.io, such as KEDA's. They are asked, in this order, for metrics that no rule serves, and at once for what their `match` says.",
        ),
        key(
            "teamRules",
            Kind::Object(&TEAM_RULES),
            "What rules of teams (`MetricRule` and `ClusterMetricRule`) may do, where --team-rules turns them on.",
        ),
    ],
};

static CUSTOM_RULE: Shape = Shape {
    name: "rule",
    doc: "Series of Prometheus as metrics of Kubernetes objects.",
    keys: &[
        SERIES_QUERY,
        SERIES_FILTERS,
        RULE_RESOURCES,
        NAME,
        METRICS_QUERY,
        STATIC,
        WINDOW,
        key(
            "nan",
            Kind::Choice(&["zero", "drop"]),
            "What becomes of NaN: 0 (`zero`, the default: a ratio of nothing to nothing is an idle one, and an autoscaler that gets no value holds its peak), or no value (`drop`).",
        ),
        key(
            "onEmpty",
            Kind::Quantity(&["omit", "zero"]),
            "What becomes of objects that exist but have no sample: they are left out (`omit`, the default), or have the value 0 (`zero`) or this one, such as `5` or `500m`. Only a new and whole answer says so; one that is stale, partial or has failed does not. With a value the HorizontalPodAutoscaler no longer treats pods without a sample with care (it does not scale in on their account): a failed scrape looks like an idle pod.",
        ),
        FALLBACK,
        CACHE_TTL,
        MAX_STALE,
        TIMEOUT,
        PROMETHEUS,
        HEADERS,
    ],
};

static EXTERNAL_RULE: Shape = Shape {
    name: "externalRule",
    doc: "Series of Prometheus as metrics that belong to no Kubernetes object.",
    keys: &[
        SERIES_QUERY,
        SERIES_FILTERS,
        RULE_RESOURCES,
        NAME,
        METRICS_QUERY,
        STATIC,
        WINDOW,
        key(
            "nan",
            Kind::Choice(&["zero", "drop"]),
            "What becomes of NaN: no value (`drop`, the default), or 0 (`zero`).",
        ),
        key(
            "onEmpty",
            Kind::Quantity(&["omit", "zero"]),
            "What becomes of an answer without a sample: no value (`omit`, the default: an autoscaler holds still), or one value without labels: 0 (`zero`), or this one, such as `5` or `500m`. Only a new and whole answer becomes a value; one that is stale, partial or has failed does not. A series that has ended is an unknown metric after a while, unless the rule is static.",
        ),
        key(
            "aggregate",
            Kind::Choice(&["none", "sum", "max", "avg"]),
            "What becomes of several samples: a value each (`none`, the default; an autoscaler adds them up), or one value: their sum, maximum or average.",
        ),
        FALLBACK,
        CACHE_TTL,
        MAX_STALE,
        TIMEOUT,
        PROMETHEUS,
        HEADERS,
    ],
};

const SERIES_QUERY: Key = Key {
    name: "seriesQuery",
    kind: Kind::Text,
    need: Need::RequiredByRule,
    doc: "The series selector that finds the rule's series.",
};

const SERIES_FILTERS: Key = key(
    "seriesFilters",
    Kind::List(&FILTER, MAX_FILTERS),
    "Which of the found series are taken, by name: all filters must hold.",
);

const RULE_RESOURCES: Key = key(
    "resources",
    Kind::Object(&RESOURCES),
    "Which labels of the series name Kubernetes objects.",
);

const NAME: Key = key("name", Kind::Object(&NAMING), "What a series is called in the API.");

const METRICS_QUERY: Key = Key {
    name: "metricsQuery",
    kind: Kind::Text,
    need: Need::RequiredByRule,
    doc: "The query, as a Go template between << and >> with .Series, .LabelMatchers, .LabelValuesByName, .GroupBy and .GroupBySlice.",
};

const STATIC: Key = key(
    "static",
    Kind::Flag,
    "Serve the metric without asking Prometheus whether its series exists. `seriesQuery` must begin with the series' name, and `resources.overrides` name the labels.",
);

const WINDOW: Key = key(
    "window",
    Kind::Duration { least: Duration::from_secs(1), most: Duration::from_secs(366 * 24 * 3600) },
    "The range that the query looks over, as the answers report it. By default it is read from the query.",
);

const FALLBACK: Key = key(
    "fallback",
    Kind::Object(&FALLBACK_OF_RULE),
    "A value for reads that the backend has failed for a while. By default they fail, and an autoscaler holds still.",
);

const CACHE_TTL: Key = key(
    "cacheTTL",
    Kind::Duration { least: Duration::ZERO, most: HOUR },
    "How long an answer of Prometheus is used; 0 asks for every read. By default as --cache-ttl.",
);

const MAX_STALE: Key = key(
    "maxStale",
    Kind::Duration { least: Duration::ZERO, most: HOUR },
    "How old the last good answer may be that is used while Prometheus fails; 0 uses none.",
);

const TIMEOUT: Key = key(
    "timeout",
    Kind::Duration { least: Duration::from_millis(1), most: Duration::from_secs(600) },
    "How long a query may take. By default as the backend has it.",
);

const PROMETHEUS: Key = key(
    "prometheus",
    Kind::Name,
    "The entry of `backends` that the rule queries. By default the one of --prometheus-url.",
);

const HEADERS: Key = key(
    "headers",
    Kind::Headers,
    "Headers of the requests, in place of the backend's headers of the same names. A value is a Go template between << and >> with .Namespace, the requested namespace (empty where there is none).",
);

static FALLBACK_OF_RULE: Shape = Shape {
    name: "fallback",
    doc: "The value of an external metric, or of the objects that are known, while the backend fails. Never because of an empty answer. It ends with the first success.",
    keys: &[
        required(
            "after",
            Kind::Duration { least: Duration::from_secs(1), most: DAY },
            "How long reads must have failed, without a success in between. Stale values are successes.",
        ),
        required("value", Kind::Quantity(&[]), "The value, such as `5` or `500m`."),
    ],
};

static FILTER: Shape = Shape {
    name: "seriesFilter",
    doc: "Exactly one of `is` and `isNot`.",
    keys: &[
        key("is", Kind::Text, "A regular expression that the series' name must match somewhere."),
        key("isNot", Kind::Text, "A regular expression that the series' name must match nowhere."),
    ],
};

static RESOURCES: Shape = Shape {
    name: "resources",
    doc: "Labels to Kubernetes resources and back.",
    keys: &[
        key(
            "template",
            Kind::Text,
            "The label of a resource, as a Go template between << and >> with .Group (dots and dashes as underscores) and .Resource (singular).",
        ),
        key(
            "overrides",
            Kind::ByLabel(&GROUP_RESOURCE),
            "Labels that name objects of a resource, before the template.",
        ),
        key(
            "namespaced",
            Kind::Flag,
            "External rules: whether a query is limited to the requested namespace. True by default.",
        ),
    ],
};

pub(in crate::core::rules) static GROUP_RESOURCE: Shape = Shape {
    name: "groupResource",
    doc: "A Kubernetes resource.",
    keys: &[
        key("group", Kind::Text, "The API group; empty for the core group."),
        required("resource", Kind::NonEmpty, "The resource, singular or plural, such as `pod`."),
    ],
};

static NAMING: Shape = Shape {
    name: "name",
    doc: "What a series is called in the API.",
    keys: &[
        key(
            "matches",
            Kind::Text,
            "A regular expression; series whose names do not match it are not taken. `.*` by default.",
        ),
        key(
            "as",
            Kind::Text,
            "The metric's name, with `$1` or `${1}` for the capture groups of `matches`. By default `$0` without a group, and `$1` with one.",
        ),
    ],
};

static RESOURCE_RULES: Shape = Shape {
    name: "resourceRules",
    doc: "How the usage of pods and nodes is queried.",
    keys: &[
        key("cpu", Kind::Object(&RESOURCE_RULE), "CPU, in cores."),
        key("memory", Kind::Object(&RESOURCE_RULE), "Memory, in bytes."),
        key(
            "window",
            Kind::Duration { least: Duration::ZERO, most: GO_MAX },
            "The range that the answers report. By default it is read from the CPU queries; else it is 1m.",
        ),
    ],
};

static RESOURCE_RULE: Shape = Shape {
    name: "resourceRule",
    doc: "How the usage of one resource is queried.",
    keys: &[
        key(
            "containerQuery",
            Kind::Text,
            "The query for the containers of pods, as a template like `metricsQuery`. .GroupBy has the label of pods and `containerLabel`.",
        ),
        key("nodeQuery", Kind::Text, "The query for nodes, as a template like `metricsQuery`."),
        key(
            "resources",
            Kind::Object(&RESOURCES),
            "Which labels name pods and namespaces (for `containerQuery`) and nodes (for `nodeQuery`).",
        ),
        key("containerLabel", Kind::Text, "The label that holds a container's name."),
        CACHE_TTL,
        MAX_STALE,
        TIMEOUT,
        PROMETHEUS,
        HEADERS,
    ],
};

static TEAM_RULES: Shape = Shape {
    name: "teamRules",
    doc: "What rules of teams may do.",
    keys: &[
        key(
            "namespaceLabel",
            Kind::NonEmpty,
            "The label of series that holds the namespace: every selector of a team's query is limited by it. Teams must not be able to choose its value. `namespace` by default.",
        ),
        key("quotas", Kind::Object(&TEAM_QUOTAS), "The limits of each namespace."),
    ],
};

static TEAM_QUOTAS: Shape = Shape {
    name: "teamQuotas",
    doc: "What the rules of a namespace may use.",
    keys: &[
        key(
            "rules",
            Kind::Count(1_000),
            "How many rules a namespace may have; of more, the oldest count. 100 by default.",
        ),
        key("queries", Kind::Count(1_000), "How many queries may run at a time. 4 by default."),
        key(
            "samples",
            Kind::Count(10_000_000),
            "How many samples the result of a query may have. 10000 by default.",
        ),
        key(
            "queryTime",
            Kind::Duration { least: Duration::from_millis(1), most: Duration::from_secs(600) },
            "How long a query may take. 5s by default.",
        ),
    ],
};

/// Of a server, whose certificate it checks.
pub(super) const CA_FILE: Key = key(
    "caFile",
    Kind::NonEmpty,
    "The certification authorities that its certificate is checked with. By default the system's.",
);

const AUTH_IN_CLUSTER: Key =
    key("authInCluster", Kind::Flag, "Authenticate with the service account of the pod.");

/// Of an object of the cluster.
const NAMESPACE: Key = required("namespace", Kind::Name, "Its namespace.");

static BACKEND: Shape = Shape {
    name: "backend",
    doc: "A server of the Prometheus API. Credentials are only its own: none of the flags' are sent to it.",
    keys: &[
        required("name", Kind::Name, "What rules call it."),
        key(
            "url",
            Kind::NonEmpty,
            "Its http or https URL, with any path prefix. User and password in it are used for basic authentication, and parameters such as `?extra_label=team=a` are sent with every request. `url` or `urls` is required.",
        ),
        key(
            "urls",
            Kind::Words(MAX_URLS),
            "URLs of servers with the same series, in place of `url`. The first one is asked as long as it is well.",
        ),
        key("headers", Kind::Headers, "Headers of every request, such as X-Scope-OrgID."),
        key(
            "auth",
            Kind::Object(&AUTH),
            "How requests are authenticated; in place of `tokenFile`, `authInCluster`, `authConfig`, and of user and password in the URL.",
        ),
        key("tokenFile", Kind::NonEmpty, "A file with a bearer token; read again when it changes."),
        CA_FILE,
        key("clientTLSCertFile", Kind::NonEmpty, "A client certificate."),
        key("clientTLSKeyFile", Kind::NonEmpty, "The key of the client certificate."),
        AUTH_IN_CLUSTER,
        key("authConfig", Kind::NonEmpty, "Authenticate with the user of this kubeconfig."),
        key(
            "verb",
            Kind::Choice(&["GET", "POST"]),
            "The HTTP method of requests. By default as --prometheus-verb.",
        ),
        key(
            "timeout",
            TIMEOUT.kind,
            "How long a query may take. By default as --prometheus-query-timeout.",
        ),
        key(
            "discoveryTimeout",
            TIMEOUT.kind,
            "How long a request of discovery may take. By default as --prometheus-discovery-timeout.",
        ),
        key("concurrency", Kind::Count(10_000), "How many queries may run at a time."),
        key(
            "teamRules",
            Kind::Flag,
            "Whether rules of teams (`MetricRule`) may query it. Those that name no backend ask the first such one. If there is none, they ask the one of --prometheus-url.",
        ),
    ],
};

static DELEGATE: Shape = Shape {
    name: "delegate",
    doc: "Another server of the metrics APIs. Users are authenticated and authorized before it is asked, and it is asked as loadline.",
    keys: &[
        required("name", Kind::Name, "The name in errors, metrics and on the status page."),
        key("service", Kind::Object(&SERVICE), "Its Service. `service` or `url` is required."),
        key(
            "url",
            Kind::NonEmpty,
            "Its URL: https, a host and a port. http is allowed for this machine only.",
        ),
        CA_FILE,
        key(
            "caSecret",
            Kind::Object(&CA_SECRET),
            "The Secret with these authorities, in place of a file.",
        ),
        key(
            "caBundleOf",
            Kind::NonEmpty,
            "The name of the APIService whose `caBundle` has these authorities, in place of a file.",
        ),
        key(
            "tokenFile",
            Kind::NonEmpty,
            "A file with a bearer token, such as a projected token for the delegate's audience; read again when it changes.",
        ),
        AUTH_IN_CLUSTER,
        key(
            "api",
            Kind::Choice(&["custom", "external"]),
            "The API that it is asked about. By default both.",
        ),
        key(
            "match",
            Kind::Object(&MATCH),
            "Reads that go to it at once, even if a rule has the metric; then it gets no others.",
        ),
        key(
            "timeout",
            Kind::Duration { least: Duration::from_millis(100), most: Duration::from_secs(50) },
            "How long a read may take. 10s by default.",
        ),
        key(
            "concurrency",
            Kind::Count(1_000),
            "How many reads may be under way at a time. 16 by default.",
        ),
    ],
};

static SERVICE: Shape = Shape {
    name: "service",
    doc: "A Service of the cluster.",
    keys: &[
        NAMESPACE,
        required("name", Kind::Name, "Its name."),
        key("port", Kind::Count(65_535), "Its port. 443 by default."),
    ],
};

static CA_SECRET: Shape = Shape {
    name: "caSecret",
    doc: "A Secret with certification authorities. loadline needs the right to get it.",
    keys: &[
        NAMESPACE,
        required("name", Kind::NonEmpty, "Its name."),
        key("key", Kind::NonEmpty, "The key of the PEM. `ca.crt` by default."),
    ],
};

static MATCH: Shape = Shape {
    name: "match",
    doc: "Which reads go to the delegate at once: those for which all of this holds.",
    keys: &[
        key(
            "metrics",
            Kind::NonEmpty,
            "A regular expression that the metric's whole name matches.",
        ),
        key(
            "selectorKey",
            Kind::NonEmpty,
            "A key that a selector of the read requires, such as `scaledobject.keda.sh/name`.",
        ),
        key("namespaces", Kind::Names(MAX_NAMESPACES), "The namespaces that are read."),
    ],
};
