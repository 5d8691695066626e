//! Reports as text and as a page.

use super::*;

fn report(name: &str, runs: usize) -> Report {
    let spec = spec(&json!({"maxReplicas": 8}));
    let load = wanting(&[(2, 40), (10, 40), (3, 80)]);
    let workload = Workload { replicas: 2, ..Workload::default() };
    let grid = grid(160);
    let timeline = run(&spec, &[load], grid, &workload).unwrap();
    let summary = Summary::of(&spec, &timeline);
    let findings = vec![Finding::NeverAbove(name.to_owned())];
    let variant =
        |at: usize| Variant { name: format!("{name}{at}"), changes: vec![name.to_owned()] };
    let run = |at| Run {
        variant: variant(at),
        spec: spec.clone(),
        timeline: timeline.clone(),
        summary,
        findings: findings.clone(),
    };
    Report {
        name: name.to_owned(),
        namespace: name.to_owned(),
        target: name.to_owned(),
        grid,
        replicas: 2,
        pod_start_ms: 0,
        metrics: vec![MetricNote {
            name: name.to_owned(),
            source: "External",
            query: name.to_owned(),
            model: Model::Fixed,
            is_assumed: true,
            meaning: "",
        }],
        notes: vec![name.to_owned()],
        runs: (0..runs).map(run).collect(),
    }
}

#[test]
fn names_cannot_leave_their_place_in_a_page() {
    let hostile =
        "</title><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;\u{202e}\u{7}";
    let page = page(&[report(hostile, 2)]);
    for forbidden in [
        "<script",
        "<img",
        "onerror=alert(1)>",
        "\u{202e}",
        "\u{7}",
        "'>",
        "&amp;amp;</title>\n<script",
    ] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    // The same tags as with a harmless name.
    let harmless = super::page(&[report("web", 2)]);
    let tags = |page: &str| page.matches('<').count();
    assert_eq!(tags(&page), tags(&harmless));
    assert_eq!(page.matches('"').count(), harmless.matches('"').count());
}

#[test]
fn terminals_get_no_control_characters_of_others() {
    let text = report("web\u{1b}[2J\u{7}", 1).text(Canvas { width: 60, is_ascii: true });
    let plain = uncolored(&text);
    assert!(!plain.contains(['\u{1b}', '\u{7}']), "{plain:?}");
}

/// Without our own colors.
fn uncolored(text: &str) -> String {
    let color = regex::Regex::new("\u{1b}\\[[0-9;]*m").unwrap();
    color.replace_all(text, "").into_owned()
}

#[test]
fn plots_fit_their_width() {
    for (width, is_ascii) in [(0, true), (40, true), (80, false), (500, false)] {
        let text = uncolored(&report("web", 1).text(Canvas { width, is_ascii }));
        let plot =
            text.lines().filter(|line| line.chars().nth(7).is_some_and(|it| "|│".contains(it)));
        let longest = plot.map(|line| line.chars().count()).max().unwrap();
        assert!(longest <= width.max(28), "{width}: {longest}");
        assert_eq!(text.is_ascii(), is_ascii, "{text}");
    }
}
