//! An API server that knows Secrets and registrations, with their rules for concurrent writers.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::Barrier;

/// The path of the Secret that is kept in these tests.
pub(super) const SECRET: &str = "/api/v1/namespaces/monitoring/secrets/loadline-serving";

/// The path of a registration.
pub(super) fn registration(name: &str) -> String {
    format!("/apis/apiregistration.k8s.io/v1/apiservices/{name}")
}

#[derive(Clone, Default)]
pub(super) struct Cluster {
    objects: Arc<Mutex<BTreeMap<String, Value>>>,
    log: Arc<Mutex<Vec<String>>>,
    /// Kinds in the path that we may not touch, and methods.
    forbidden: Arc<Mutex<Vec<(Method, &'static str)>>>,
    /// Where the readers of a missing object wait for each other.
    race: Option<Arc<Barrier>>,
}

impl Cluster {
    /// A cluster in which this many readers find nothing before one of them may write.
    pub(super) fn racing(readers: usize) -> Self {
        Self { race: Some(Arc::new(Barrier::new(readers))), ..Self::default() }
    }

    pub(super) fn client(&self) -> kube::Client {
        let cluster = self.clone();
        let service = tower::service_fn(move |request| {
            let cluster = cluster.clone();
            async move { Ok::<_, Infallible>(cluster.answer(request).await) }
        });
        kube::Client::new(service, "monitoring")
    }

    pub(super) fn forbid(&self, methods: &[Method], kind: &'static str) {
        let forbidden = methods.iter().map(|method| (method.clone(), kind));
        self.forbidden.lock().unwrap().extend(forbidden);
    }

    pub(super) fn allow(&self) {
        self.forbidden.lock().unwrap().clear();
    }

    pub(super) fn put(&self, path: &str, mut object: Value) {
        object["metadata"]["resourceVersion"] = json!("1");
        self.objects.lock().unwrap().insert(path.to_owned(), object);
    }

    pub(super) fn get(&self, path: &str) -> Value {
        let objects = self.objects.lock().unwrap();
        objects.get(path).cloned().unwrap_or_default()
    }

    /// The requests since the last call.
    pub(super) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let line = format!("{} {}", head.method, path.rsplit('/').next().unwrap());
        self.log.lock().unwrap().push(line);
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        let mut answer = self.decide(&head.method, &path, body);
        if let (Some(race), Err(StatusCode::NOT_FOUND)) = (&self.race, &answer) {
            race.wait().await;
            answer = Err(StatusCode::NOT_FOUND);
        }
        let (code, body) = match answer {
            Ok(object) => (StatusCode::OK, object),
            Err(code) => {
                let text = code.canonical_reason().unwrap();
                let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                    "message": text, "reason": text.replace(' ', ""), "code": code.as_u16()});
                (code, status)
            }
        };
        Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap()
    }

    fn decide(&self, method: &Method, path: &str, body: Value) -> Result<Value, StatusCode> {
        let forbidden = self.forbidden.lock().unwrap();
        if forbidden.iter().any(|(what, kind)| what == method && path.contains(kind)) {
            return Err(StatusCode::FORBIDDEN);
        }
        let mut objects = self.objects.lock().unwrap();
        if method == Method::GET {
            return objects.get(path).cloned().ok_or(StatusCode::NOT_FOUND);
        }
        let mut object = body;
        let mut path = path.to_owned();
        if method == Method::POST {
            let name = object["metadata"]["name"].as_str().unwrap();
            path = format!("{path}/{name}");
            if objects.contains_key(&path) {
                return Err(StatusCode::CONFLICT);
            }
            object["metadata"]["resourceVersion"] = json!("1");
        } else {
            let Some(stored) = objects.get(&path) else {
                return Err(StatusCode::NOT_FOUND);
            };
            let version = stored["metadata"]["resourceVersion"].clone();
            if object["metadata"]["resourceVersion"] != version {
                return Err(StatusCode::CONFLICT);
            }
            if method == Method::PATCH {
                let mut merged = stored.clone();
                merge(&mut merged, object);
                object = merged;
            }
            let next = version.as_str().unwrap().parse::<u64>().unwrap() + 1;
            object["metadata"]["resourceVersion"] = json!(next.to_string());
        }
        objects.insert(path, object.clone());
        Ok(object)
    }
}

/// A JSON merge patch.
fn merge(object: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *object = patch;
        return;
    };
    for (name, value) in patch {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(&name);
        } else {
            merge(&mut object[name.as_str()], value);
        }
    }
}
