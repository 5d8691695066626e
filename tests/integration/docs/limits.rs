//! The tables of limits: every row has the numbers of the source.

use std::fs;

use regex::Regex;

use super::{page::Page, root};

/// How a number is written in the table.
#[derive(Clone, Copy)]
enum Unit {
    Bytes,
    Count,
    Seconds,
}

use Unit::{Bytes, Count, Seconds};

/// A number: the file below `src/`, the constant there, or an expression that finds it, and how the table writes it.
type Number = (&'static str, &'static str, Unit);

const ANSWERS: Number = ("core/budgets.rs", r"answers: size\(4, (.+)\),", Bytes);
const LARGEST_ANSWER: Number = ("core/budgets.rs", r"largest_answer: size\(16, (.+)\),", Bytes);
const DECISIONS: Number = ("core/budgets.rs", r"decisions: part\(64, (.+)\),", Bytes);
const HISTORIES: Number = ("core/budgets.rs", r"histories: size\(512, (.+)\),", Bytes);
const READERS: Number = ("core/budgets.rs", r"readers: part\(32, (.+)\),", Bytes);
const TOKENS: Number = ("core/budgets.rs", r"tokens: part\(64, (.+)\),", Bytes);

/// How a row begins, and its numbers. What is not ours to decide, or has no number, has none.
const ROWS: &[(&str, &[Number])] = &[
    ("path and query of a request", &[("http/access.rs", "MAX_URI_BYTES", Bytes)]),
    ("headers of a request, with its path", &[("server.rs", "MAX_HEAD_BYTES", Bytes)]),
    ("headers of a request by HTTP/1.1", &[("server.rs", "MAX_HEADERS", Count)]),
    ("body of a request", &[("http/access.rs", "MAX_BODY_BYTES", Bytes)]),
    ("bearer token", &[("auth/token.rs", "MAX_TOKEN_BYTES", Bytes)]),
    (
        "memory of the requests of one user",
        &[("core/budgets.rs", r"requests: size\(32, (.+)\),", Bytes)],
    ),
    ("the same for all strangers", &[]),
    ("answers of more than 64 KiB", &[("core/budgets.rs", r"responses: size\(16, (.+)\),", Bytes)]),
    (
        "access reviews of strangers",
        &[
            ("auth/review_limiter.rs", "STRANGERS_AT_A_TIME", Count),
            ("auth/review_limiter.rs", "STRANGERS_AT_ONCE", Count),
        ],
    ),
    ("token reviews of tokens", &[]),
    (
        "other reviews",
        &[
            ("auth/review_limiter.rs", "AT_A_TIME", Count),
            ("auth/review_limiter.rs", "PATIENCE", Seconds),
            ("auth/review_limiter.rs", "WAITING_EACH", Bytes),
            ("auth/review_limiter.rs", "WAITING_ALL", Bytes),
        ],
    ),
    ("a review that kube-apiserver", &[("kubernetes.rs", "TIMEOUT", Seconds)]),
    ("explanations at a time", &[("http/explain.rs", "AT_ONCE", Count)]),
    ("an explanation", &[("http/explain.rs", "EXPLANATION_TIME", Seconds)]),
    ("status pages made", &[("http/status_page.rs", "AT_ONCE", Count)]),
    ("rows of a table of a status page", &[("core/overview.rs", "MOST_ROWS", Count)]),
    ("a status page", &[("wire/page.rs", "MOST_BYTES", Bytes)]),
    ("a CPU profile", &[("http/debug.rs", "LONGEST_PROFILE_SECONDS", Seconds)]),
    ("query of a request to the debug", &[("http/debug.rs", "MAX_QUERY_BYTES", Bytes)]),
    ("a read of a metric", &[("http/deadline.rs", "DEADLINE", Seconds)]),
    ("queries at a time", &[("prometheus/config.rs", r"concurrency: (\d+),", Count)]),
    (
        "the answer of a query to Prometheus",
        &[("prometheus/config.rs", r"query_timeout: (Duration.+),", Seconds)],
    ),
    (
        "connections",
        &[
            ("core/budgets.rs", r"connections: size\(16 \* CONNECTION, ([\d_]+)", Count),
            ("server/limits.rs", "RESERVED_FILES", Count),
        ],
    ),
    (
        "strangers' connections from one",
        &[("server/limits.rs", r"strangers_per_address: (\d+)", Count)],
    ),
    ("strangers' connections in all", &[("server/limits.rs", "STRANGERS", Count)]),
    ("from the connection to the whole", &[("server.rs", "FIRST_HEAD", Seconds)]),
    ("from an answer to the whole head", &[("server.rs", "REQUEST_HEAD", Seconds)]),
    ("requests at a time on a connection", &[("server.rs", "MAX_STREAMS", Count)]),
    ("bytes of bodies on the way", &[("server.rs", "BODY_WINDOW", Count)]),
    (
        "connections to the debug address",
        &[("server/plain.rs", "CONNECTIONS", Count), ("server/plain.rs", "HEAD", Seconds)],
    ),
    ("resets and other misuse of HTTP/2", &[]),
    ("decisions of access reviews", &[DECISIONS]),
    ("who holds which token", &[TOKENS]),
    ("tokens that were good", &[("auth/token.rs", "MAX_GOOD", Count)]),
    (
        "readers of metrics",
        &[
            READERS,
            ("core/sharing/readers.rs", "MAX_READERS", Count),
            ("core/sharing/readers.rs", "MAX_QUERY_BYTES", Bytes),
        ],
    ),
    ("last values of metrics", &[HISTORIES, ("core/overview/history.rs", "POINTS", Count)]),
    ("last errors", &[("records.rs", "FAILURES", Count)]),
    (
        "questions whose reads fail",
        &[
            ("core/fallback.rs", "MOST_QUESTIONS", Count),
            ("fallbacks.rs", "MAX_QUESTION_BYTES", Bytes),
            ("core/fallback.rs", "IDLE", Seconds),
        ],
    ),
    (
        "fallbacks that wait",
        &[
            ("fallbacks/events.rs", "MOST_WAITING", Count),
            ("fallbacks/events.rs", "MOST_AUTOSCALERS", Count),
        ],
    ),
    (
        "files of a [folder]",
        &[
            ("rules_file/source.rs", "MAX_FILES", Count),
            ("rules_file/source.rs", "MAX_BYTES", Bytes),
        ],
    ),
    (
        "[ConfigMaps](team-rules.md#configmaps) with rules",
        &[
            ("core/config_maps.rs", "MAX_FILES", Count),
            ("core/config_maps.rs", "MAX_BYTES", Bytes),
            ("core/go_regex.rs", "STRICT_SIZE", Bytes),
        ],
    ),
    ("namespaces of ConfigMaps", &[("rules_file/config_maps.rs", "MAX_NAMESPACES", Count)]),
    (
        "rules of teams that are kept",
        &[
            ("core/team_rules/inventory/events.rs", "MOST_OBJECTS", Count),
            ("core/team_rules/inventory/events.rs", "MOST_BYTES", Bytes),
        ],
    ),
    ("the spec of a rule", &[("core/team_rules/inventory.rs", "MAX_SPEC_BYTES", Bytes)]),
    ("rules of the cluster that", &[("team_rules.rs", "MOST_COMPILED", Count)]),
    ("writes of statuses", &[("team_rules/status.rs", "AT_ONCE", Count)]),
    (
        "queries under way for rules",
        &[
            ("core/fair_share.rs", "FILE_WEIGHT", Count),
            ("core/fair_share.rs", "TEAM_WEIGHT", Count),
        ],
    ),
    ("samples in the result", &[("team_rules.rs", "SUSPENSION", Seconds)]),
    ("spans that wait", &[("traces/settings.rs", r#""OTEL_BSP_MAX_QUEUE_SIZE", ([\d_]+)"#, Count)]),
    ("an answer of Prometheus", &[LARGEST_ANSWER]),
    ("all answers that are", &[ANSWERS]),
    ("the label names of a query's", &[("core/samples/labels.rs", "MAX_NAMES", Count)]),
    ("the times of samples", &[]),
    ("a pause that Prometheus asks for", &[("prometheus/pauses.rs", "LONGEST", Seconds)]),
    (
        "an answer of a [delegate]",
        &[
            ("delegates/remote.rs", "MAX_ANSWER_BYTES", Bytes),
            ("wire/delegated.rs", "MOST_VALUES", Count),
            ("wire/delegated.rs", "MOST_LABELS", Count),
            ("wire/delegated.rs", "MOST_LABELS_IN_ALL", Count),
            ("wire/delegated.rs", "LONGEST_LABEL", Bytes),
        ],
    ),
    ("a read of a delegate", &[("core/rules/delegate.rs", "TIMEOUT", Seconds)]),
    ("reads of a delegate at a", &[("core/rules/delegate.rs", "CONCURRENCY", Count)]),
    (
        "reads in succession",
        &[
            ("core/delegation/breaker.rs", "FAILURES", Count),
            ("core/delegation/breaker.rs", "SHORTEST", Seconds),
            ("core/delegation/breaker.rs", "LONGEST", Seconds),
        ],
    ),
    (
        "a request for the metrics of a delegate",
        &[
            ("delegates/remote.rs", "LIST_TIMEOUT", Seconds),
            ("delegates/remote.rs", "LIST_INTERVAL", Seconds),
        ],
    ),
    (
        "metrics that a delegate lists",
        &[
            ("core/delegation/listing.rs", "MOST_OF_DELEGATE", Count),
            ("core/delegation/listing.rs", "MOST_IN_ALL", Count),
        ],
    ),
    ("Events about objects", &[("kubernetes/events.rs", "MAX_EVENTS", Count)]),
    (
        "a reply of a [token endpoint]",
        &[
            ("prometheus/auth/endpoint.rs", "MAX_REPLY_BYTES", Bytes),
            ("prometheus/auth/endpoint.rs", "TIMEOUT", Seconds),
            ("prometheus/auth.rs", "TIMEOUT", Seconds),
        ],
    ),
    (
        "metrics of a rule",
        &[
            ("core/catalog/found.rs", "MOST_OF_RULE", Count),
            ("core/catalog/found.rs", "MOST_IN_ALL", Count),
        ],
    ),
    ("the text that a template makes", &[("core/template/value.rs", "MAX_LENGTH", Bytes)]),
    ("what a template copies", &[("core/template/budget.rs", "MAX_WORK", Bytes)]),
    ("an answer of the API server", &[("kubernetes/bounds.rs", "MAX_BODY_BYTES", Bytes)]),
    ("an event of a watch", &[("kubernetes/bounds.rs", "MAX_EVENT_BYTES", Bytes)]),
    ("pages of a list", &[("kubernetes/list.rs", "MAX_PAGES", Count)]),
    (
        "a LIST that a read waits for",
        &[("kubernetes.rs", "TIMEOUT", Seconds), ("kubernetes/list.rs", "WHOLE_LIST", Seconds)],
    ),
    (
        "the LIST that a watch begins",
        &[
            ("kubernetes.rs", "TIMEOUT", Seconds),
            ("kubernetes/collection.rs", "WHOLE_LIST", Seconds),
        ],
    ),
    ("the kinds of the cluster", &[("kubernetes.rs", "TIMEOUT", Seconds)]),
    ("a pause that the API server", &[("kubernetes/retries.rs", "LONGEST_RETRY_AFTER", Seconds)]),
    (
        "autoscalers that a check",
        &[
            ("installation/hpas.rs", "MOST_AUTOSCALERS", Count),
            ("installation/hpas.rs", "AT_ONCE", Count),
        ],
    ),
    (
        "rules that a check",
        &[
            ("installation/rules.rs", "MOST_RULES", Count),
            ("installation/rules.rs", "AT_ONCE", Count),
            ("installation/rules.rs", "MOST_EXAMPLES", Count),
        ],
    ),
    ("metrics of an API whose rights", &[("installation/apis.rs", "MOST_LISTED", Count)]),
    ("what a backend says", &[("prometheus.rs", "MAX_BUILD_INFO_BYTES", Bytes)]),
    ("the time of a check", &[]),
    ("answers under way", &[ANSWERS]),
    ("the largest answer", &[LARGEST_ANSWER]),
    ("results of queries", &[("core/budgets.rs", r"results: part\(8, (.+)\),", Bytes)]),
    (
        "all connections",
        &[("core/budgets.rs", r"connections: size\(16 \* CONNECTION, ([\d_]+)", Count)],
    ),
    ("requests of all users", &[("core/budgets.rs", r"requests: size\(32, (.+)\),", Bytes)]),
    ("decisions that are", &[DECISIONS]),
    ("tokens that are", &[TOKENS]),
    ("requests whose token", &[("core/budgets.rs", r"token_reviews: size\(64, (.+)\),", Bytes)]),
    ("groups of readers", &[READERS]),
    ("metrics whose last values", &[HISTORIES]),
    ("lists of metrics", &[("core/budgets.rs", r"lists: part\(64, (.+)\),", Bytes)]),
    ("the time that is simulated", &[]),
    ("times of a range query", &[("explain/past.rs", "MOST_POINTS", Count)]),
    (
        "autoscalers of a simulation",
        &[
            ("cli/simulate.rs", "MOST_AUTOSCALERS", Count),
            ("core/simulation.rs", "MOST_METRICS", Count),
        ],
    ),
    ("variants of an autoscaler", &[("cli/simulate.rs", "MOST_VARIANTS", Count)]),
    ("replicas that are simulated", &[("core/simulation.rs", "MOST_REPLICAS", Count)]),
    ("values of pods that a simulation", &[("core/simulation.rs", "MOST_WORK", Count)]),
    ("queries under way at a backend", &[("prometheus/config.rs", r"concurrency: (\d+),", Count)]),
    (
        "metrics that are fetched before",
        &[
            ("core/prefetch.rs", "MAX_OF_AUTOSCALER", Count),
            ("core/prefetch.rs", "MAX_OF_NAMESPACE", Count),
        ],
    ),
    ("queries that are refreshed before", &[("cache.rs", "MAX_SCHEDULED", Count)]),
    ("kept results", &[]),
    ("discoveries because a metric", &[("discovery/budgets.rs", "PAUSE", Seconds)]),
];

/// Rows that no number is known of or whose numbers are others, and what is known of rows that are not there.
pub(super) fn complaints(page: &Page) -> Vec<String> {
    let rows: Vec<_> = page
        .prose
        .iter()
        .filter_map(|(line, text)| {
            let mut cells = text.strip_prefix("| ")?.split(" | ");
            let (what, limit) = (cells.next()?, cells.next()?);
            let is_head = ["what", "---"].contains(&what);
            (!is_head).then_some((line, what, limit))
        })
        .collect();
    let begins =
        |what: &str, row: &str| what == row || (what.starts_with(row) && row.contains(' '));
    let mut complaints = Vec::new();
    for (line, what, limit) in &rows {
        let known: Vec<_> = ROWS.iter().filter(|(row, _)| begins(what, row)).collect();
        let [(_, numbers)] = known[..] else {
            complaints.push(format!("{}:{line}: nobody knows the numbers of: {what}", page.path));
            continue;
        };
        for number in *numbers {
            let value = written(*number);
            let is_said = contains(limit, &value);
            if !is_said && (value != "60 s" || !limit.contains("a minute")) {
                complaints.push(format!("{}:{line}: {what}: not {value}", page.path));
            }
        }
    }
    let gone = ROWS.iter().filter(|(row, _)| !rows.iter().any(|(_, what, _)| begins(what, row)));
    complaints.extend(gone.map(|(row, _)| format!("{}: there is no row: {row}", page.path)));
    complaints
}

/// Whether a text has a number, and not only one that ends or begins so.
fn contains(text: &str, value: &str) -> bool {
    let whole = Regex::new(&format!(r"(?:^|[^\d,]){value}(?:$|[^\d,]|,\D|,$)"));
    whole.expect("our own expression").is_match(text)
}

/// A number of the source, as the table writes it.
fn written((file, place, unit): Number) -> String {
    let source = fs::read_to_string(root().join("src").join(file)).unwrap();
    let found = if place.contains('(') {
        Regex::new(place)
    } else {
        Regex::new(&format!(r"const {place}: \w+ = (.+);"))
    };
    let found = found.expect("our own expression").captures(&source);
    let found = found.unwrap_or_else(|| panic!("{file}: no {place}"));
    let number = value(found[1].trim_end_matches(')'));
    match unit {
        Bytes if number.is_multiple_of(1 << 20) => format!("{} MiB", number >> 20),
        Bytes => format!("{} KiB", number >> 10),
        Count => grouped(number),
        Seconds => format!("{number} s"),
    }
}

/// The value of an expression as limits are written.
fn value(expression: &str) -> u64 {
    let expression = expression.trim_start_matches("Duration::from_secs(").trim();
    let both = |(one, other): (&str, &str)| (value(one), value(other));
    if let Some((one, other)) = expression.split_once("<<").map(both) {
        one << other
    } else if let Some((one, other)) = expression.split_once('*').map(both) {
        one * other
    } else {
        let number = expression.trim().replace('_', "");
        number.parse().unwrap_or_else(|error| panic!("{error}: {expression}"))
    }
}

/// A number with a comma before each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let threes = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    threes.collect::<Vec<_>>().join(",")
}
