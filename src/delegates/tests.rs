use futures::FutureExt as _;

use super::*;
use crate::{
    core::{rules::load, selector::Selector},
    wire::{delegated::ExternalRead, path::ExternalPath},
};

/// A delegate at a port where nobody listens.
fn entry(more: &str) -> Vec<Arc<Delegate>> {
    let text = format!("delegates: [{{name: a, url: 'http://127.0.0.1:1'{more}}}]");
    load(&text).unwrap().delegates
}

fn none_yet() -> (Delegates, Arc<Metrics>) {
    // As the binary does; a test before this one may have done it.
    rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
    let metrics = Arc::new(Metrics::default());
    let noted = Arc::clone(&metrics);
    (Delegates::new(None, Arc::default(), Arc::default(), noted), metrics)
}

fn only(delegates: &Delegates) -> Arc<Remote> {
    let remotes = delegates.remotes.load();
    let [remote] = &remotes[..] else { panic!("{} delegates", remotes.len()) };
    Arc::clone(remote)
}

#[tokio::test]
async fn no_gauge_tells_what_a_delegate_does_that_is_gone() {
    let (delegates, metrics) = none_yet();
    let gauges = ["_connected{", "_breaker_open{", "_list_successful{", "_listed_metrics{"];
    let told = || {
        let told = metrics.encode();
        gauges.map(|gauge| told.contains(&format!("loadline_delegate{gauge}")))
    };
    let works = async |remote: &Remote| {
        remote.reconnect().await;
        remote.list().await;
        let path = ExternalPath { namespace: "n".to_owned(), metric: "m".to_owned() };
        let question = Question::external(ExternalRead { path, selector: Selector::default() });
        for _ in 0..10 {
            remote.read(&question).await.unwrap_err();
        }
        assert!(remote.problem().unwrap().contains("does not answer"));
    };
    delegates.install(&entry(""));
    let old = only(&delegates);
    delegates.install(&[]);
    assert_eq!(told(), [false; 4]);
    works(&old).await;
    assert_eq!(told(), [false; 4]);
    delegates.install(&entry(""));
    works(&only(&delegates)).await;
    assert_eq!(told(), [true; 4]);
}

#[tokio::test]
async fn a_delegate_that_changes_is_told_of_anew() {
    let (delegates, metrics) = none_yet();
    let custom =
        "loadline_delegate_list_successful{delegate=\"a\",group=\"custom.metrics.k8s.io\"}";
    delegates.install(&entry(""));
    let old = only(&delegates);
    old.reconnect().await;
    old.list().await;
    let told = metrics.encode();
    assert!(told.contains(custom), "{told}");
    assert!(told.contains("loadline_delegate_connected{delegate=\"a\"} 1\n"), "{told}");
    delegates.install(&entry(", api: external"));
    let told = metrics.encode();
    assert!(!told.contains(custom), "{told}");
    assert!(told.contains("loadline_delegate_connected{delegate=\"a\"} 0\n"), "{told}");
}

#[tokio::test]
async fn what_does_not_concern_delegates_does_not_begin_their_round_anew() {
    let (delegates, _metrics) = none_yet();
    let begins_anew = || delegates.changed.notified().now_or_never().is_some();
    assert!(!begins_anew());
    for (installed, is_other) in [
        (entry(""), true),
        (entry(""), false),
        (entry(", api: external"), true),
        (Vec::new(), true),
        (Vec::new(), false),
    ] {
        delegates.install(&installed);
        assert_eq!(begins_anew(), is_other, "{installed:?}");
    }
}
