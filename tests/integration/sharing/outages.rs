//! What readers get, and what is asked, while Prometheus is away or does not answer.

use super::*;

/// A rule that has a value for every pod, whoever is asked for: 0 where there is no other.
const OR_ZERO: &str = "rules:\n- seriesQuery: m\n  resources: {overrides: {ns: {resource: namespace}, pod: {resource: pod}}}\n  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>) or sum(info{ns=\"ns-0\"}) by (pod) * 0\n";

impl World {
    /// Answers [`OR_ZERO`] as Prometheus would: 1 for the pods that are asked for, 0 for the others.
    fn or_zero(self, asked: &Asked) -> Answer {
        let Some(Matched::Names(names)) = matched(asked.parameter("query"), "pod") else {
            panic!("no names: {asked:?}")
        };
        let known = (0..self.apps).flat_map(|app| (0..=self.pods).map(move |of| pod(app, of)));
        let row = |name: String| {
            let value = if names.contains(&name) { "1" } else { "0" };
            json!({"metric": {"pod": name}, "value": [1_790_000_000, value]})
        };
        let rows: Vec<_> = known.map(row).collect();
        Answer::Data(json!({"resultType": "vector", "result": rows}))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_results_are_read_for_the_objects_that_they_were_asked_for() {
    let world = World { namespaces: 1, apps: 5, pods: 100 };
    for (max_query_bytes, parts) in [(800, 2), (8 << 10, 1)] {
        let cluster = world.cluster().await;
        let backend = Backend::start(knows(&["m"], move |asked| world.or_zero(asked))).await;
        let mut launch = Launch::new(OR_ZERO, &backend.url).cluster(&cluster);
        launch.planning.life.ttl = Duration::from_millis(50);
        launch.planning.life.max_stale = Duration::from_secs(600);
        launch.planning.max_query_bytes = max_query_bytes;
        let app = launch.start().await;
        watch_pods(&app, &cluster).await;
        queries(&backend);
        let before = app.get(&path(0, 3)).await.values();
        assert_eq!(before.len(), 100);
        assert_eq!(queries(&backend).len(), parts);

        backend.play(knows(&["m"], |_| Answer::Raw(503, "text/plain", "away".to_owned())));
        // One that no result was asked for, though each has a value for it.
        cluster.apply(Stored::new("pods", "ns-0", &pod(3, 100), &[("app", "app-3")]));
        cluster.delete("pods", "ns-0", &pod(3, 1));
        let after = until("the deleted pod is gone", async || {
            let values = app.get(&path(0, 3)).await.values();
            values.iter().all(|(name, _)| *name != pod(3, 1)).then_some(values)
        })
        .await;
        let wanted: Vec<_> = before.into_iter().filter(|(name, _)| *name != pod(3, 1)).collect();
        assert_eq!(after, wanted);
        assert!(after.iter().all(|(_, value)| value == "1"), "{after:?}");
        app.stop().await;
    }
}
