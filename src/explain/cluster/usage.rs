//! The usage of pods: metrics.k8s.io is often served by metrics-server, which is as it should be, and cannot explain itself.

use super::{super::environment::Server, Cluster, better_known, objects_step, valueless};
use crate::{
    core::explain::{
        Answered, Api, Cause, Inquiry, Step, Subject,
        facts::Which,
        hpa::Found,
        name, registration,
        usage::{
            response::{self, Response},
            shown,
        },
    },
    explain::{Known, environment::Way},
    kubernetes::reader::Unread,
};

impl Cluster {
    /// What there is to say of the usage of pods. Values are those that the HPA controller reads.
    pub(super) async fn usage(
        &self,
        way: &Way,
        inquiry: &Inquiry,
        known: Known,
    ) -> Result<Answered, Step> {
        let Some(server) = way.servers.iter().find(|server| server.api == Api::Resource) else {
            return Ok(valueless("its API is not served"));
        };
        let read = self.pod_metrics(server, inquiry).await;
        let asked: Option<Vec<String>> = known
            .selected
            .as_ref()
            .map(|selected| selected.iter().map(|object| object.name.clone()).collect());
        let asked: Vec<&str> = asked.iter().flatten().map(String::as_str).collect();
        let explained = match self.ask(server, inquiry).await {
            Ok(answered) => better_known(answered, inquiry, known),
            Err(step) => {
                let steps = match (step.cause, &read) {
                    (Some((Cause::ApiserviceOtherOwner, _)), _) => vec![other(server, inquiry)],
                    (_, Ok(_)) => {
                        let seen = format!("what lies behind it is not shown: {}", step.seen);
                        vec![Step::unknown(name::RULE, seen)]
                    }
                    (_, Err(_)) => return Err(step),
                };
                let steps = steps.into_iter().chain(objects_step(inquiry, known)).collect();
                let read = read?;
                return Ok(of_response(steps, read, &asked));
            }
        };
        let is_failed = explained.steps.iter().any(Step::is_failure);
        match read {
            Ok(Ok(response)) if !is_failed && !response.values.is_empty() => {
                let mut steps = explained.steps;
                steps.retain(|step| step.name != name::VALUES || step.cause.is_some());
                Ok(of_response(steps, Ok(response), &asked))
            }
            // What is behind is known, and says more.
            _ => Ok(explained),
        }
    }

    /// The usage that a server returns; a step where a pod has not the container that is asked for.
    async fn pod_metrics(
        &self,
        server: &Server,
        inquiry: &Inquiry,
    ) -> Result<Result<Response, Step>, Step> {
        let Subject::Usage { which, container } = &inquiry.subject else {
            return Ok(Ok(Response::default()));
        };
        let place = inquiry.namespace.as_ref();
        let place = place.map_or(String::new(), |it| format!("/namespaces/{it}"));
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Which::Selected(selector) = which {
            query.append_pair("labelSelector", &selector.to_string());
        }
        let path = format!("{}{place}/pods?{}", server.prefix, query.finish());
        let mut list = self.0.get(&path).await.map_err(|unread| unreadable(server, &unread))?;
        if let (Which::Named(name), Some(items)) =
            (which, list.get_mut("items").and_then(serde_json::Value::as_array_mut))
        {
            items.retain(|item| {
                item.pointer("/metadata/name").and_then(serde_json::Value::as_str) == Some(name)
            });
        }
        Ok(response::read(&list, &inquiry.metric, container.as_deref()))
    }
}

/// The steps of usage that was read, after others.
fn of_response(mut steps: Vec<Step>, read: Result<Response, Step>, asked: &[&str]) -> Answered {
    if let Some(failure) = steps.iter().find(|step| step.is_failure()) {
        let found = Found::missing(failure.seen.clone());
        return Answered { steps, found };
    }
    let found = match read {
        Ok(Response { values, measured }) if !values.is_empty() => {
            steps.push(shown(&values, asked));
            Found { measured, ..Found::new(Ok(values), String::new(), None) }
        }
        Ok(_) => {
            let seen = "the server returns no usage of these pods";
            let advice =
                "wait until the pods have run for a minute; after that, see the log of the server";
            steps.push(Step::found(name::VALUES, Cause::NotReady, seen, advice));
            Found::missing(seen)
        }
        Err(step) => {
            let found = Found::missing(step.seen.clone());
            steps.push(step);
            found
        }
    };
    Answered { steps, found }
}

/// Another server has the API, which is as it should be.
fn other(server: &Server, inquiry: &Inquiry) -> Step {
    let resource = &inquiry.metric;
    Step::good(
        name::RULE,
        match &server.service {
            Some(service) => {
                let owner = registration::owner(service);
                format!("`{resource}` is served by Service {service}{owner}, and not by loadline")
            }
            None => format!("`{resource}` is served by another server, and not by loadline"),
        },
    )
}

/// The server has returned no usage.
fn unreadable(server: &Server, unread: &Unread) -> Step {
    if unread.is_forbidden() {
        let advice = "have the ClusterRole `view` bound to you, or another one that allows to list pods of metrics.k8s.io";
        return Step::found(name::ACCESS, Cause::NotAuthorizedMe, unread.to_string(), advice);
    }
    let service = server.service.as_ref();
    let whose = service.map_or_else(|| "its server".to_owned(), |it| format!("Service {it}"));
    let seen = format!("usage cannot be read from metrics.k8s.io: {unread}");
    let advice = format!("check that the pods of {whose} are ready, and read their log");
    Step::found(name::APISERVICE, Cause::ApiserviceUnavailable, seen, advice)
}
