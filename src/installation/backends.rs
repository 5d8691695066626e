//! Whether the backends answer, and what they are.

use std::collections::BTreeMap;

use futures::{StreamExt as _, future::join_all, stream};

use crate::{
    core::{
        explain::{facts::Failure, metric::advice_for},
        installation::{Finding, Subject, product::Product},
        rules::{QueryOptions, RuleSet},
    },
    explain::{Deadline, Explainer},
    prometheus::BackendHandle,
};

/// How many backends are asked at the same time.
const AT_ONCE: usize = 4;

/// What costs nothing to answer, and has to look into the store as others do.
const NOTHING: &str = "loadline_matches_nothing";

/// What only VictoriaMetrics evaluates.
const METRICSQL: &str = "now()";

/// Asks each server of the backends that a rule names, as that rule asks it.
pub(super) async fn look(explainer: &Explainer, deadline: Deadline) -> Vec<Finding> {
    let rules = explainer.rules.current();
    let mut asked = BTreeMap::new();
    for options in options(&rules) {
        let name = options.backend.as_ref().map(|backend| backend.name.to_string());
        asked.entry(name).or_insert(options);
    }
    let asks = asked.into_iter().map(async |(name, options)| {
        match explainer.backends.discovery_handle(options) {
            Ok(backend) => {
                let servers = backend.each();
                join_all(servers.iter().map(|server| one(server, deadline))).await
            }
            Err(error) => {
                vec![failed(&name.unwrap_or_default(), &explainer.unusable(&error))]
            }
        }
    });
    let findings: Vec<_> = stream::iter(asks).buffered(AT_ONCE).collect().await;
    findings.into_iter().flatten().collect()
}

/// How the rules ask, each of them.
fn options(rules: &RuleSet) -> impl Iterator<Item = &QueryOptions> {
    let custom = rules.custom.iter().map(|rule| &rule.base.options);
    let external = rules.external.iter().map(|rule| &rule.base.options);
    let usage = rules.resource.iter().flat_map(|usage| [&usage.cpu, &usage.memory]).flatten();
    custom.chain(external).chain(usage.map(|rule| &rule.options))
}

async fn one(backend: &BackendHandle, deadline: Deadline) -> Finding {
    if let Err(failure) = deadline.ask(backend.query(NOTHING)).await {
        return failed(backend.name(), &failure);
    }
    let info = deadline.ask(backend.build_info()).await.ok();
    let evaluates_metricsql = match &info {
        Some(info) if !info.is_bare() => false,
        _ => deadline.ask(backend.query(METRICSQL)).await.is_ok(),
    };
    let product = Product::of(info.as_ref(), evaluates_metricsql);
    Finding::ok(Subject::Backend(backend.name().to_owned()), format!("answers: {product}"))
}

fn failed(name: &str, failure: &Failure) -> Finding {
    let Failure { cause, text } = failure;
    Finding::error(Subject::Backend(name.to_owned()), cause.code(), text, advice_for(*cause))
}
