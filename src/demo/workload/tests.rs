use super::*;

fn total(samples: &[Sample], name: &str, pod: &str) -> f64 {
    samples
        .iter()
        .filter(|sample| sample.name == name && sample.labels.iter().any(|(_, v)| v == pod))
        .map(|sample| sample.value)
        .sum()
}

#[test]
fn load_stays_in_its_range_and_repeats() {
    for second in -60..240_i32 {
        let at = f64::from(second);
        assert!((91.9..=608.1).contains(&lsp_load(at)), "{at}");
        assert!((0.349..=3.051).contains(&session_memory(at)), "{at}");
        if second >= 0 {
            assert!((lsp_load(at) - lsp_load(at + PERIOD)).abs() < 1e-6);
        }
    }
    assert!((lsp_load(30.0) - 608.0).abs() < 1e-9);
    assert!((session_memory(30.0) - 3.05).abs() < 1e-9);
}

#[test]
fn counted_requests_are_the_integral_of_the_load() {
    for second in -10..130_i32 {
        let at = f64::from(second);
        let counted = lsp_requests(at + 0.01) - lsp_requests(at);
        assert!((counted / 0.01 - lsp_load(at)).abs() < 1.0, "{at}");
    }
}

#[test]
fn pods_share_the_load_and_nothing_is_lost_by_scaling() {
    let mut ide = CloudIde::new(0.0);
    ide.scale(Workload::LspServer, 10.0, 5);
    let sum: f64 = ide.lsp_counts(20.0).iter().sum();
    assert!((sum - lsp_requests(20.0)).abs() < 1e-6);
    assert_eq!(
        ide.pods(Workload::LspServer),
        ["lsp-server-0", "lsp-server-1", "lsp-server-2", "lsp-server-3", "lsp-server-4"]
    );
}

#[test]
fn counters_never_run_backwards_while_a_pod_lives() {
    let mut ide = CloudIde::new(-120.0);
    let mut last = 0.0;
    for second in -120..120_i32 {
        let at = f64::from(second);
        if second % 7 == 0 {
            // A scrape may come a moment later than the scaling that it is older than.
            ide.scale(Workload::LspServer, at + 0.3, 2 + second.unsigned_abs() % 5);
        }
        let now = total(&ide.samples(at), "lsp_requests_total", "lsp-server-0");
        assert!(now >= last, "{at}: {now} < {last}");
        last = now;
    }
}

#[test]
fn a_pod_that_comes_back_counts_from_zero() {
    let mut ide = CloudIde::new(0.0);
    ide.scale(Workload::LspServer, 10.0, 3);
    ide.scale(Workload::LspServer, 20.0, 2);
    ide.scale(Workload::LspServer, 30.0, 3);
    let samples = ide.samples(30.0);
    assert!(total(&samples, "lsp_requests_total", "lsp-server-2") < 1.0);
    assert!(total(&samples, "lsp_requests_total", "lsp-server-0") > 1_000.0);
}

#[test]
fn memory_follows_the_sessions_and_stays_below_the_limit() {
    let mut ide = CloudIde::new(0.0);
    let used = |ide: &CloudIde, at: f64| {
        ide.samples(at)
            .iter()
            .find(|s| s.name == "container_memory_working_set_bytes")
            .map(|s| s.value / MEMORY_LIMIT)
            .unwrap()
    };
    assert!((used(&ide, 0.0) - 0.60).abs() < 1e-6);
    assert!((used(&ide, 30.0) - 0.97).abs() < 1e-6);
    ide.scale(Workload::AiInference, 30.0, 6);
    assert!((0.70..0.78).contains(&used(&ide, 30.0)));
}
