//! Range queries: they have the turns, the time limit and the bounds of instant queries.

use std::time::Duration;

use super::{
    Error, Headers, MAX_GET_QUERY_BYTES, Method, Prometheus, QUERY_RANGE, Question, Range,
    bodies::Body, decode, patience,
};
use crate::core::{fair_share::Claimant, samples::Matrix};

/// When a query is evaluated.
#[derive(Clone, Copy)]
pub(super) struct Steps {
    pub(super) range: Range,
    pub(super) step: Duration,
}

impl Prometheus {
    pub(super) async fn query_range(
        &self,
        promql: &str,
        steps: Steps,
        headers: &Headers,
        timeout: Duration,
        claimant: &Claimant,
    ) -> Result<Matrix, Error> {
        let question = Question { path: QUERY_RANGE, promql, headers, timeout, claimant };
        let send = || self.send_range(promql, steps, headers, timeout);
        let mut matrix = self.evaluated(question, send, decode::matrix).await;
        if let Ok(Matrix { warnings, .. }) = &mut matrix
            && !warnings.is_empty()
        {
            self.secrets(headers).withhold_from(warnings);
        }
        matrix
    }

    async fn send_range(
        &self,
        promql: &str,
        steps: Steps,
        headers: &Headers,
        timeout: Duration,
    ) -> Result<Body, Error> {
        let until = patience(timeout);
        let connection = self.connections.current();
        let Steps { range: Range { start, end }, step } = steps;
        let (start, end) = (start.to_string(), end.to_string());
        let step = step.as_secs().max(1).to_string();
        // A little less than we wait, as for an instant query.
        let timeout = format!("{}ms", timeout.mul_f64(0.9).as_millis());
        let parameters = [
            ("query", promql),
            ("start", &start),
            ("end", &end),
            ("step", &step),
            ("timeout", &timeout),
        ];
        let by_post = self.method == Method::Post || promql.len() > MAX_GET_QUERY_BYTES;
        let request = connection.request(QUERY_RANGE, &parameters, by_post);
        let request = request.headers(connection.headers_with(headers));
        self.send(request, headers, usize::MAX, until).await
    }
}
