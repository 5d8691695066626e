//! Autoscalers that are about to read, so that it is fetched before they do.

use std::sync::Arc;

use super::{Failure, Planner};
use crate::{
    cache::now,
    core::{
        plan::{self, Objects, Source, cost},
        rules::QueryOptions,
        selector::Selector,
    },
};

/// What an autoscaler will read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Announced {
    /// The objects that a selector selects; about so many.
    Selector(usize),
    /// One object.
    Object(Arc<str>),
}

impl Planner {
    /// An autoscaler that exists is about to read such a query, so that it is fetched before.
    pub async fn expect(
        &self,
        options: &QueryOptions,
        namespace: &str,
        text: Arc<str>,
    ) -> Result<(), Failure> {
        let query = self.query(options, Some(namespace), text)?;
        self.cache.expect(&query, cost::USUAL_PACE).await;
        Ok(())
    }

    /// Autoscalers that exist are about to read a metric, so that what they will read can be fetched before. They replace
    /// those that were announced before for the same metric, namespace and metric selector.
    pub async fn announce(
        &self,
        source: Source<'_>,
        namespace: Option<&str>,
        metric_selector: &Selector,
        readers: &[Announced],
    ) -> Result<(), Failure> {
        let names = readers.iter().map(|reader| match reader {
            Announced::Selector(names) => *names,
            Announced::Object(_) => 1,
        });
        let names: Vec<_> = names.collect();
        let mut scopes = vec![namespace];
        if self.settings.across_namespaces && namespace.is_some() {
            // Readers come to the group of all namespaces first.
            scopes.insert(0, None);
        }
        let mut query = None;
        for scope in scopes {
            let group = self.group(source, scope, metric_selector).await;
            let shared = group.announce(namespace, names.clone(), now());
            query = query.or(shared.map(|shared| shared.query.clone()));
        }
        if let Some(query) = query {
            let query = query.asked_for(namespace.unwrap_or_default());
            self.cache.expect(&query, cost::USUAL_PACE).await;
            return Ok(());
        }
        for reader in readers {
            // Which objects a selector will select is only known when it comes.
            let Announced::Object(name) = reader else { continue };
            let objects = Objects::Named(vec![Arc::clone(name)]);
            let plan = plan::exact(source, namespace, &objects, metric_selector)?;
            let query = self.query(source.options, namespace, plan.query)?;
            self.cache.expect(&query, cost::USUAL_PACE).await;
        }
        Ok(())
    }
}
