//! A page of metrics that can be changed while it is scraped.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use axum::{Router, routing::get};
use tokio_util::task::AbortOnDropHandle;

use super::serve;

/// A page in the text format.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page(String);

impl Page {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a series. The value is text, so that it can be `NaN` and `+Inf`.
    pub(crate) fn series(mut self, name: &str, labels: &str, value: &str) -> Self {
        writeln!(self.0, "{name}{{{labels}}} {value}").expect("a String takes anything");
        self
    }

    /// Adds one series a pod, `pod-0` and on, all of value 1.
    pub(crate) fn pods(mut self, name: &str, namespace: &str, count: usize) -> Self {
        for pod in 0..count {
            let labels = format!("namespace=\"{namespace}\",pod=\"pod-{pod}\"");
            self = self.series(name, &labels, "1");
        }
        self
    }
}

/// The server of a page.
pub(crate) struct Exporter {
    page: Arc<Mutex<Page>>,
    pub(crate) url: String,
    _task: AbortOnDropHandle<()>,
}

impl Exporter {
    pub(crate) async fn start(page: Page) -> Self {
        let page = Arc::new(Mutex::new(page));
        let shown = Arc::clone(&page);
        let show = async move || {
            let text = shown.lock().expect("not poisoned").0.clone();
            ([("content-type", "text/plain; version=0.0.4")], text)
        };
        let (url, task) = serve(Router::new().route("/metrics", get(show))).await;
        Self { page, url, _task: task }
    }

    /// Shows another page from now on.
    pub(crate) fn show(&self, page: Page) {
        *self.page.lock().expect("not poisoned") = page;
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }
}
