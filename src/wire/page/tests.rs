use std::collections::BTreeMap;

use jiff::Timestamp;

use super::*;
use crate::core::{
    explain::{Answered, Api, Cause, Step, hpa::Found, name},
    overview::{
        BackendRow, CacheFacts, CertificateFacts, DelegateRow, DiscoveryFacts, Failure, MOST_NAMES,
        MOST_ROWS, PlanRow, ReloadFacts, RuleRow, ServerFacts, Shown,
        autoscalers::{AutoscalerRow, MetricRow},
        exchanges::Exchanges,
        history::{Histories, History, Seen, Topic},
        recent::Noted,
    },
};

/// What would be a script, an attribute or another element if it were not escaped.
const HOSTILE: &str = "\"'></td><script>alert(1)</script><img src=x onerror=alert(2)> &amp;";

/// The histories of metrics with such texts, whose values are as far apart as numbers can be.
fn histories(text: &str) -> Vec<(Topic, History)> {
    let mut histories = Histories::new(64 << 20);
    for second in 0..200 {
        for number in 0..200 {
            let topic = Topic {
                api: if number % 2 == 0 { Api::Custom } else { Api::External },
                namespace: format!("{number}"),
                objects: text.to_owned(),
                metric: text.to_owned(),
                selector: text.to_owned(),
            };
            let milli = (second * 7 % 11 - 5) * (i64::MAX / 6);
            histories.note(topic, Seen { milli, values: 3 }, second * 10);
        }
    }
    histories.sorted().into_iter().map(|(topic, it)| (topic.clone(), it.clone())).collect()
}

/// An answer with such texts.
fn answer(text: &str) -> Answer {
    let text = || text.to_owned();
    let steps = vec![Step::found(name::RULE, Cause::UnknownMetric, text(), text()); 1_000];
    let values = (0..1_000).map(|_| (text(), i64::MIN)).collect();
    let found = Found::new(Ok(values), text(), None);
    Answer::Explained(Answered { steps, found })
}

/// An autoscaler with such texts.
fn autoscaler(text: &str) -> AutoscalerRow {
    let text = || text.to_owned();
    let metric = || MetricRow {
        name: text(),
        value: Some(text()),
        target: text(),
        ratio_milli: Some(i64::MAX),
    };
    AutoscalerRow {
        namespace: text(),
        name: text(),
        target: text(),
        current: None,
        desired: i32::MIN,
        limits: (i32::MIN, i32::MAX),
        metrics: Shown::first((0..100).map(|_| metric()), 8),
        remarks: vec![text(); 100],
        is_failing: true,
    }
}

/// A page full of such texts, of so many letters each.
fn full(length: usize) -> (Overview, Question, Answer) {
    let text = HOSTILE.repeat(length.div_ceil(HOSTILE.len()));
    let text = || text.clone();
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    let many = |make: &dyn Fn() -> String| Shown::first((0..1_000).map(|_| make()), MOST_ROWS);
    let histories = histories(&text());
    let autoscaler = autoscaler(&text());
    let mut exchanges = Exchanges::default();
    for _ in 0..1_000 {
        exchanges.note(Some(std::time::Duration::MAX), Some("timeout"), now);
    }
    let rule = || RuleRow {
        id: text(),
        series: text(),
        backend: text(),
        state: State::Bad("failing", text()),
        metrics: Shown::first((0..1_000).map(|_| text()), MOST_NAMES),
    };
    let backend = || BackendRow {
        name: text(),
        url: text(),
        state: State::Doubtful("paused", text()),
        exchanges: exchanges.clone(),
        received_bytes: u64::MAX,
    };
    let delegate = || DelegateRow {
        name: text(),
        host: text(),
        state: State::Bad("silent", text()),
        custom: usize::MAX,
        external: usize::MAX,
        answered: u64::MAX,
        failed: u64::MAX,
    };
    let plan = || PlanRow {
        rule: Some(text()),
        series: text(),
        label: text(),
        namespace: Some(text()),
        selector: text(),
        mode: "paused",
        why: text(),
        readers: usize::MAX,
        objects: usize::MAX,
        samples: Some(usize::MAX),
    };
    let failure = Noted { what: Failure { code: 500, message: text() }, at: now, times: u64::MAX };
    let overview = Overview {
        server: ServerFacts { version: "1.2.3", host: text(), started: Timestamp::MIN, now },
        problems: many(&text),
        rules: Shown::first((0..1_000).map(|_| rule()), MOST_ROWS),
        metrics: Shown::first(histories, MOST_ROWS),
        recording_since: Some(now),
        autoscalers: Ok(Shown::first((0..1_000).map(|_| autoscaler.clone()), MOST_ROWS)),
        backends: Shown::first((0..1_000).map(|_| backend()), MOST_ROWS),
        delegates: Shown::first((0..1_000).map(|_| delegate()), MOST_ROWS),
        plans: Shown::first((0..1_000).map(|_| plan()), MOST_ROWS),
        cache: CacheFacts {
            reads: vec![("fresh", u64::MAX)],
            plans: vec![("shared", u64::MAX)],
            ..CacheFacts::default()
        },
        discovery: DiscoveryFacts {
            last: Some((now, u64::MAX)),
            next: Some(Timestamp::MAX),
            failures: many(&text),
            remarks: many(&text),
            ..DiscoveryFacts::default()
        },
        reloads: ReloadFacts { problem: many(&text), ..ReloadFacts::default() },
        certificate: Some(CertificateFacts {
            subject: text(),
            issuer: text(),
            names: many(&text),
            not_before: Timestamp::MIN,
            not_after: Timestamp::MAX,
        }),
        failures: Shown::first((0..1_000).map(|_| failure.clone()), MOST_ROWS),
    };
    let question = Question {
        api: text(),
        namespace: text(),
        resource: text(),
        name: text(),
        labels: text(),
        metric: text(),
        metric_labels: text(),
    };
    let answer = answer(&text());
    (overview, question, answer)
}

#[test]
fn hostile_texts_stay_texts() {
    let (mut overview, question, answer) = full(1);
    let refused = Answer::Refused(HOSTILE.to_owned());
    for answer in [None, Some(&answer), Some(&refused)] {
        let page = render(&overview, &question, answer);
        for tag in ["<script", "<img"] {
            assert!(!page.contains(tag), "{tag}");
        }
        // Everything between angle brackets is ours, and so are all names of attributes.
        let tags = page.split('<').skip(1).filter_map(|rest| rest.split_once('>'));
        for (tag, text) in tags {
            assert!(!tag.contains("onerror") || tag.contains("&quot;"), "{tag}");
            assert!(!text.contains('"'), "{text}");
        }
        assert!(page.contains("&quot;'&gt;&lt;/td&gt;&lt;script&gt;alert(1)"));
        assert!(!page.contains("style="), "the policy forbids it");
    }
    overview.autoscalers = Err(HOSTILE.to_owned());
    let page = render(&overview, &question, None);
    assert!(!page.contains("<script"));
}

#[test]
fn a_page_has_a_length() {
    let (overview, question, answer) = full(2_000);
    let page = render(&overview, &question, Some(&answer));
    assert!(page.len() < MOST_BYTES, "{}", page.len());
    assert!(page.contains("900 more") && page.contains("992 more"));
}

#[test]
fn a_page_without_anything_says_so() {
    let now = Timestamp::UNIX_EPOCH;
    let overview = Overview {
        server: ServerFacts { version: "1", host: String::new(), started: now, now },
        problems: Shown::default(),
        rules: Shown::default(),
        metrics: Shown::default(),
        recording_since: None,
        autoscalers: Err("no cluster".to_owned()),
        backends: Shown::default(),
        delegates: Shown::default(),
        plans: Shown::default(),
        cache: CacheFacts::default(),
        discovery: DiscoveryFacts::default(),
        reloads: ReloadFacts::default(),
        certificate: None,
        failures: Shown::default(),
    };
    let page = render(&overview, &Question::default(), None);
    assert!(page.contains("no cluster") && !page.contains("Problems now"));
    // Every anchor of the navigation is there, and once.
    let counts: BTreeMap<_, _> = SECTIONS
        .iter()
        .map(|(anchor, _)| (anchor, page.matches(&format!(" id=\"{anchor}\"")).count()))
        .collect();
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
    assert!(STYLE.len() < 16 << 10);
}
