use super::*;

fn connection() -> Connection {
    Connection { url: "https://127.0.0.1:6443".to_owned(), kubeconfig: "/tmp/kubeconfig".into() }
}

#[test]
fn header_and_lines_and_summary() {
    let readings = [
        (0, Workload::LspServer, 2, Ok((46_000, 2, Reason::WithinTolerance))),
        (0, Workload::AiInference, 1, Ok((600, 1, Reason::RoundsUp))),
        (3, Workload::LspServer, 2, Ok((64_049, 3, Reason::ScaleUp))),
        (3, Workload::AiInference, 6, Ok((401, 5, Reason::ScaleDown))),
        (57, Workload::LspServer, 8, Ok((66_666, 10, Reason::LimitedToMax(10)))),
        (60, Workload::LspServer, 10, Ok((9_999, 10, Reason::Stabilizing { recommended: 2 }))),
        (3_600, Workload::LspServer, 3, Ok((0, 2, Reason::LimitedToMin(2)))),
        (3_603, Workload::AiInference, 4, Ok((810, 4, Reason::PodsMissing(2)))),
        (3_606, Workload::AiInference, 4, Err("503 Service Unavailable".to_owned())),
    ];
    let window = 10;
    let mut text = header(&connection(), "http://127.0.0.1:9090", Duration::from_secs(3), window);
    let mut summaries = Workload::ALL.map(WorkloadSummary::new);
    for (seconds, workload, current, outcome) in readings {
        let outcome =
            outcome.map(|(value_milli, desired, reason)| Decision { value_milli, desired, reason });
        text += &line(Duration::from_secs(seconds), workload, current, &outcome);
        for summary in &mut summaries {
            if summary.workload == workload {
                summary.note(current, &outcome);
            }
        }
    }
    text += &summary(Duration::from_millis(3_606_200), &summaries);
    insta::assert_snapshot!(text);
}

#[test]
fn commands_are_quoted_for_a_shell() {
    let connection = Connection { kubeconfig: "/tmp/it's here/kubeconfig".into(), ..connection() };
    assert_eq!(
        curl(&connection, Workload::LspServer),
        r"curl -sk 'https://127.0.0.1:6443/apis/custom.metrics.k8s.io/v1beta2/namespaces/cloud-ide/pods/*/lsp_requests_per_second'"
    );
    assert_eq!(
        kubectl(&connection, Workload::AiInference),
        r"kubectl --kubeconfig='/tmp/it'\''s here/kubeconfig' get --raw '/apis/custom.metrics.k8s.io/v1beta2/namespaces/cloud-ide/pods/*/ai_inference_memory_utilization'"
    );
}

#[test]
fn numbers() {
    use Workload::{AiInference, LspServer};
    for (workload, milli, text) in [
        (AiInference, 0, "0.000"),
        (AiInference, 700, "0.700"),
        (AiInference, 12_345, "12.345"),
        (LspServer, 0, "0.0"),
        (LspServer, 9_999, "10.0"),
        (LspServer, 46_049, "46.0"),
        (LspServer, 46_050, "46.1"),
    ] {
        assert_eq!(number(workload, milli), text);
    }
}

#[test]
fn the_header_names_the_targets() {
    for workload in Workload::ALL {
        let target = workload.target_milli();
        let words = about(workload);
        assert!(
            words.contains(&format!("target {} ", target / 1_000))
                || words.contains(&format!("target 0.{} ", target / 100)),
            "{words}"
        );
    }
}
