//! Who is registered for our APIs.
//!
//! kube-apiserver sends the requests for a version of a group to one Service. When another one takes it over nobody reaches our
//! metrics: the log, a metric and an Event say so. Registrations are only read here: whose they are is for people to decide.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::{
    kubernetes::{
        apiservices::Registrations,
        events::{Events, Occurrence, Regarding, Severity},
    },
    metrics::Metrics,
    rules_file::Rules,
    wire::discovery::{CUSTOM, EXTERNAL, RESOURCE},
};

/// How often the registrations are read.
const INTERVAL: Duration = Duration::from_secs(60);

/// The Service that we are reached by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Who answers for a version of a group.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Owner {
    Ours,
    /// This Service, or kube-apiserver itself.
    Another(Option<Service>),
    /// There is no `APIService`.
    Absent,
}

/// What readers know of the registrations: which of our APIs are sent elsewhere, or nowhere, a sentence each.
#[derive(Clone, Debug, Default)]
pub struct Problems(Arc<ArcSwapOption<Vec<String>>>);

impl Problems {
    /// The sentences; nothing while no registration could be read.
    pub fn get(&self) -> Option<Arc<Vec<String>>> {
        self.0.load_full()
    }
}

/// The task that reads the registrations of the APIs that there are rules for.
pub struct RegistrationsTask {
    registrations: Registrations,
    ours: Service,
    rules: Rules,
    metrics: Arc<Metrics>,
    events: Events,
    /// By `APIService`, as it was read last.
    known: BTreeMap<String, Owner>,
    /// The groups that nobody is registered for, as was said.
    unregistered: Vec<&'static str>,
    problems: Problems,
}

impl RegistrationsTask {
    /// Makes the task, which does nothing before [`RegistrationsTask::run`].
    pub fn new(
        client: Client,
        ours: Service,
        rules: Rules,
        (metrics, events): (Arc<Metrics>, Events),
    ) -> Self {
        Self {
            registrations: Registrations::new(client),
            ours,
            rules,
            metrics,
            events,
            known: BTreeMap::new(),
            unregistered: Vec::new(),
            problems: Problems::default(),
        }
    }

    /// What readers know of it.
    pub fn problems(&self) -> Problems {
        self.problems.clone()
    }

    /// Works until stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        let watching = async {
            loop {
                self.look().await;
                tokio::time::sleep(INTERVAL).await;
            }
        };
        stop.run_until_cancelled(watching).await;
    }

    /// Reads the registrations once, and says what has changed.
    async fn look(&mut self) {
        let mut before = std::mem::take(&mut self.known);
        let mut unregistered = Vec::new();
        let mut problems = Vec::new();
        let served = self.rules.served();
        for group in &served {
            let mut is_absent = true;
            for version in group.versions {
                let name = format!("{version}.{}", group.name);
                let before = before.remove(&name);
                let read = self.read(&name).await;
                let owner = read.as_ref().map(|(owner, _)| owner);
                self.metrics.registered(&name, owner.map_or("unknown", Owner::word));
                if let Some((owner, uid)) = &read {
                    self.tell((&name, uid), before.as_ref(), owner).await;
                }
                let Some(owner) = read.map(|(owner, _)| owner).or(before) else {
                    is_absent = false;
                    continue;
                };
                is_absent &= owner == Owner::Absent;
                if let Owner::Another(service) = &owner {
                    let service = named(service.as_ref());
                    problems.push(format!("{name} is sent to {service}, not to {}", self.ours));
                }
                self.known.insert(name, owner);
            }
            if is_absent {
                unregistered.push(group.name);
                problems.push(format!("there is no APIService of {}", group.name));
            }
        }
        for group in unregistered.iter().filter(|group| !self.unregistered.contains(group)) {
            tracing::warn!(
                group,
                "there is no APIService: kube-apiserver serves none of our metrics of this group"
            );
        }
        self.unregistered = unregistered;
        for group in [CUSTOM, EXTERNAL, RESOURCE].iter().filter(|group| !served.contains(group)) {
            for version in group.versions {
                self.metrics.forget_registration(&format!("{version}.{}", group.name));
            }
        }
        self.problems.0.store((!self.known.is_empty()).then(|| Arc::new(problems)));
    }

    /// Who answers for it, if we may know, and its UID.
    async fn read(&self, name: &str) -> Option<(Owner, Option<String>)> {
        let Service { namespace, name: service } = &self.ours;
        match self.registrations.read(name).await {
            Ok(None) => Some((Owner::Absent, None)),
            Ok(Some(found)) => {
                let owner = if found.is_served_by(service, namespace) {
                    Owner::Ours
                } else {
                    let other = found.service().map(|(namespace, name)| Service {
                        namespace: namespace.to_owned(),
                        name: name.to_owned(),
                    });
                    Owner::Another(other)
                };
                Some((owner, found.uid().map(str::to_owned)))
            }
            // Who may not read them was not meant to, so that this is no warning.
            Err(error) => {
                tracing::debug!(apiservice = name, %error, "it cannot be read");
                None
            }
        }
    }

    /// Says once that an API is another's, and once that it is ours after that.
    async fn tell(
        &self,
        (apiservice, uid): (&str, &Option<String>),
        before: Option<&Owner>,
        now: &Owner,
    ) {
        let (severity, reason, note) = match now {
            Owner::Another(service) if before != Some(now) => {
                let (service, ours) = (named(service.as_ref()), &self.ours);
                tracing::warn!(apiservice, service, %ours,
                    "another Service has this API: kube-apiserver serves none of our metrics of it");
                let note = format!(
                    "this API is sent to {service}, not to {ours}: kube-apiserver serves none of the metrics of {ours}"
                );
                (Severity::Warning, "AnotherOwner", note)
            }
            Owner::Ours if before.is_some_and(|before| *before != Owner::Ours) => {
                tracing::info!(apiservice, service = %self.ours, "this API is ours now");
                (Severity::Normal, "Registered", format!("this API is sent to {}", self.ours))
            }
            _ => return,
        };
        let regarding = Regarding {
            api_version: "apiregistration.k8s.io/v1".to_owned(),
            kind: "APIService".to_owned(),
            namespace: None,
            name: apiservice.to_owned(),
            uid: uid.clone(),
        };
        let action = "ReadRegistration";
        self.events.publish(&regarding, Occurrence { severity, reason, action, note: &note }).await;
    }
}

impl Owner {
    fn word(&self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Another(_) => "another",
            Self::Absent => "absent",
        }
    }
}

fn named(service: Option<&Service>) -> String {
    service.map_or_else(|| "kube-apiserver itself".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{Mutex, PoisonError},
    };

    use http::{Method, Request, Response, StatusCode};
    use http_body_util::BodyExt as _;
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;
    use crate::core::rules::load;

    const RULES: &str = "externalRules:
- {seriesQuery: q, metricsQuery: q, resources: {namespaced: false}}
";
    const OURS: &str = "v1beta1.external.metrics.k8s.io";

    /// The registrations by name, or why they cannot be read.
    type Script = Arc<Mutex<Result<BTreeMap<String, Option<Service>>, StatusCode>>>;

    struct Stage {
        script: Script,
        /// The notes of the Events that were written.
        notes: Arc<Mutex<Vec<String>>>,
        metrics: Arc<Metrics>,
        rules: Rules,
        task: RegistrationsTask,
    }

    fn service(namespace: &str, name: &str) -> Service {
        Service { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn answer(script: &Script, request: &Request<Body>) -> Response<Body> {
        assert_eq!(request.method(), Method::GET, "nothing but Events is written");
        let name = request.uri().path().rsplit('/').next().unwrap_or_default();
        let found = script.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let found = found.and_then(|known| known.get(name).cloned().ok_or(StatusCode::NOT_FOUND));
        let (code, body): (StatusCode, Value) = match found {
            Ok(service) => {
                let service = service.map(|s| json!({"name": s.name, "namespace": s.namespace}));
                let spec =
                    json!({"service": service, "groupPriorityMinimum": 1, "versionPriority": 1});
                (
                    StatusCode::OK,
                    json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": name}, "spec": spec}),
                )
            }
            Err(code) => (
                code,
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": code.canonical_reason().unwrap().replace(' ', ""), "code": code.as_u16()}),
            ),
        };
        Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap()
    }

    impl Stage {
        fn new(rules: &str) -> Self {
            let script = Script::new(Mutex::new(Ok(BTreeMap::new())));
            let notes = Arc::<Mutex<Vec<String>>>::default();
            let client = {
                let (script, notes) = (Arc::clone(&script), Arc::clone(&notes));
                let serve = move |request: Request<Body>| {
                    let (script, notes) = (Arc::clone(&script), Arc::clone(&notes));
                    async move {
                        if !request.uri().path().ends_with("/namespaces/default/events") {
                            return Ok::<_, Infallible>(answer(&script, &request));
                        }
                        let event = request.into_body().collect().await.unwrap().to_bytes();
                        let body = Body::from(event.to_vec());
                        let event: Value = serde_json::from_slice(&event).unwrap();
                        assert_eq!(event["regarding"]["kind"], "APIService");
                        notes.lock().unwrap().push(event["note"].as_str().unwrap().to_owned());
                        Ok(Response::builder().status(StatusCode::CREATED).body(body).unwrap())
                    }
                };
                Client::new(tower::service_fn(serve), "monitoring")
            };
            let rules = Rules::new(load(rules).unwrap());
            let metrics = Arc::new(Metrics::default());
            let ours = service("monitoring", "adapter");
            let events = Events::new(client.clone(), "loadline-0");
            let told = (Arc::clone(&metrics), events);
            let task = RegistrationsTask::new(client, ours, rules.clone(), told);
            Self { script, notes, metrics, rules, task }
        }

        fn register(&self, name: &str, owner: Option<Service>) {
            let mut script = self.script.lock().unwrap();
            *script = Ok(script.clone().unwrap_or_default());
            script.as_mut().unwrap().insert(name.to_owned(), owner);
        }

        /// The problems after another look.
        async fn look(&mut self) -> Vec<String> {
            self.task.look().await;
            self.task.problems().get().as_deref().cloned().unwrap_or_default()
        }

        #[track_caller]
        fn assert_owner(&self, name: &str, wanted: &str) {
            let text = self.metrics.encode();
            for owner in ["ours", "another", "absent", "unknown"] {
                let level = u8::from(owner == wanted);
                let line = format!(
                    "loadline_apiservice_registered{{apiservice=\"{name}\",owner=\"{owner}\"}} {level}\n"
                );
                assert!(text.contains(&line), "{line}{text}");
            }
        }
    }

    #[tokio::test]
    async fn an_api_that_another_service_has_is_told_as_long_as_it_has_it() {
        let mut stage = Stage::new(RULES);
        stage.register(OURS, Some(service("monitoring", "adapter")));
        assert_eq!(stage.look().await, [""; 0]);
        stage.assert_owner(OURS, "ours");
        stage.register(OURS, Some(service("keda", "keda-operator")));
        let expected = format!("{OURS} is sent to keda/keda-operator, not to monitoring/adapter");
        assert_eq!(stage.look().await, [expected.as_str()]);
        stage.assert_owner(OURS, "another");
        // What cannot be read is as it was read last.
        *stage.script.lock().unwrap() = Err(StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(stage.look().await, [expected]);
        stage.assert_owner(OURS, "unknown");
        stage.register(OURS, None);
        let itself = stage.look().await;
        assert!(itself[0].contains("kube-apiserver itself"), "{itself:?}");
        stage.register(OURS, Some(service("monitoring", "adapter")));
        assert_eq!(stage.look().await, [""; 0]);
        stage.assert_owner(OURS, "ours");
        // Once for each owner, and once for the end.
        let notes = stage.notes.lock().unwrap().clone();
        let [keda, itself, ours] = &notes[..] else { panic!("{notes:?}") };
        assert!(keda.contains("sent to keda/keda-operator, not to monitoring/adapter"), "{keda}");
        assert!(itself.contains("kube-apiserver itself"), "{itself}");
        assert_eq!(ours, "this API is sent to monitoring/adapter");
    }

    #[tokio::test]
    async fn only_what_there_are_rules_for_is_looked_at() {
        let mut stage = Stage::new(RULES);
        stage.register("v1.metrics.k8s.io", Some(service("kube-system", "metrics-server")));
        assert_eq!(stage.look().await, ["there is no APIService of external.metrics.k8s.io"]);
        stage.assert_owner(OURS, "absent");
        assert!(!stage.metrics.encode().contains("apiservice=\"v1.metrics.k8s.io\""));
        // The rules change.
        let usage = "resourceRules: {}\n";
        stage.task.rules = Rules::new(load(usage).unwrap());
        assert_eq!(
            stage.look().await,
            ["v1.metrics.k8s.io is sent to kube-system/metrics-server, not to monitoring/adapter"]
        );
        // One version is enough, as metrics-server has it.
        stage.assert_owner("v1beta1.metrics.k8s.io", "absent");
        assert!(!stage.metrics.encode().contains(OURS));
        stage.task.rules = stage.rules.clone();
        assert_eq!(stage.look().await.len(), 1);
    }

    #[tokio::test]
    async fn who_may_not_read_registrations_knows_nothing_of_them() {
        let mut stage = Stage::new(RULES);
        *stage.script.lock().unwrap() = Err(StatusCode::FORBIDDEN);
        stage.look().await;
        assert_eq!(stage.task.problems().get(), None);
        stage.assert_owner(OURS, "unknown");
    }
}
