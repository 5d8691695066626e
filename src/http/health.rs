//! Whether this process lives and is ready, in Kubernetes' form (`/livez`, `/readyz`, `/healthz`, each with `?verbose` and
//! single checks below it) and as JSON (`/health/live`, `/health/ready`, `/health/startup`).

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    extract::Request,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tokio::sync::watch;

use super::{Api, access::Reader, error::ApiError};
use crate::{
    backends::Backends, delegates::Delegates, discovery, registrations::Problems,
    rules_file::Rules, wire::status::Reason,
};

/// What health is judged by.
pub struct Health {
    /// Readers' view of discovery.
    pub discovery: discovery::Handle,
    /// Who is asked for values.
    pub backends: Arc<Backends>,
    /// Who else is asked.
    pub delegates: Arc<Delegates>,
    /// Whether the trusted authorities have been read; nothing where none are needed.
    pub trust: Option<watch::Receiver<bool>>,
    /// The rules, and what is wrong with their file.
    pub rules: Rules,
    /// What is wrong with the registrations of our APIs; nothing where nobody looks at them.
    pub registrations: Option<Problems>,
    /// Whether the end has begun.
    pub stopping: Arc<AtomicBool>,
}

/// One check: its name, what is wrong, and whether that counts.
struct Check {
    name: &'static str,
    problem: Option<String>,
    counts: bool,
}

/// What a probe wants to know.
#[derive(Clone, Copy)]
enum Probe {
    Live,
    Ready,
    Startup,
}

impl Probe {
    /// That of an endpoint: one of Kubernetes' three, or one of those with JSON.
    fn of(endpoint: &str) -> Self {
        match endpoint {
            "readyz" | "ready" => Self::Ready,
            "startup" => Self::Startup,
            _ => Self::Live,
        }
    }
}

impl Health {
    fn checks(&self, probe: Probe) -> Vec<Check> {
        let check = |name, problem: Option<&str>| Check {
            name,
            problem: problem.map(str::to_owned),
            counts: true,
        };
        let mut checks = vec![check("ping", None)];
        if matches!(probe, Probe::Live) {
            return checks;
        }
        if let Some(trust) = &self.trust {
            let missing = "kube-system/extension-apiserver-authentication has not been read yet";
            checks.push(check("authentication", (!*trust.borrow()).then_some(missing)));
        }
        if let Some(are_known) = self.rules.are_config_maps_known() {
            let missing = "the ConfigMaps with rules have not been read yet";
            checks.push(check("config-maps", (!are_known).then_some(missing)));
        }
        let missing = "the first discovery has not been tried yet";
        checks.push(check("discovery", (!self.discovery.tried()).then_some(missing)));
        if matches!(probe, Probe::Ready) {
            let stopping = self.stopping.load(Ordering::Relaxed);
            checks.push(check("shutdown", stopping.then_some("the process is stopping")));
        }
        // Prometheus' state is informational: taking the server out of service would answer nobody.
        let mut problems = self.backends.problems();
        problems.extend(self.discovery.problems().iter().map(ToString::to_string));
        checks.push(Check {
            name: "prometheus",
            problem: (!problems.is_empty()).then(|| problems.join("; ")),
            counts: false,
        });
        // A broken file is informational, too: the other rules are served. So are rules without a metric.
        let broken = self.rules.problem();
        let broken = broken.map(|problem| problem.0.join("; "));
        let remarks = self.discovery.remarks();
        let remarks = remarks.iter().map(ToString::to_string);
        let reasons: Vec<_> = broken.into_iter().chain(remarks).collect();
        checks.push(Check {
            name: "rules",
            problem: (!reasons.is_empty()).then(|| reasons.join("; ")),
            counts: false,
        });
        // Our own metrics do not depend on other servers.
        let problems = self.delegates.problems();
        if !self.delegates.is_empty() || !problems.is_empty() {
            checks.push(Check {
                name: "delegates",
                problem: (!problems.is_empty()).then(|| problems.join("; ")),
                counts: false,
            });
        }
        // Who has our APIs is for people to decide.
        if let Some(problems) = self.registrations.as_ref().and_then(Problems::get) {
            checks.push(Check {
                name: "registration",
                problem: (!problems.is_empty()).then(|| problems.join("; ")),
                counts: false,
            });
        }
        checks
    }
}

/// The path whose authorization counts for a health path: the JSON forms are judged as their plain ones.
pub(super) fn canonical(path: &str) -> &str {
    match path {
        "/health/live" => "/livez",
        "/health/ready" | "/health/startup" => "/readyz",
        path => path,
    }
}

/// What is said in place of a reason to those who may not read it.
const WITHHELD: &str = "reason withheld";

/// The checks of an endpoint, with the reasons that the sender of a request may read: those of the single checks that it may
/// read. A probe may read none, and waits for nobody.
async fn readable_checks(api: &Api, probe: Probe, mut request: Request) -> Vec<Check> {
    let mut checks = api.health.checks(probe);
    if checks.iter().all(|check| check.problem.is_none()) {
        return checks;
    }
    let reader = Reader::of(api, &mut request).await;
    for check in &mut checks {
        if check.problem.is_some() && !reader.may_get(&format!("/readyz/{}", check.name)).await {
            check.problem = Some(WITHHELD.to_owned());
        }
    }
    checks
}

/// A single check.
pub(super) fn single(api: &Api, endpoint: &str, name: &str) -> Result<Response, ApiError> {
    let checks = api.health.checks(Probe::of(endpoint));
    let check = checks.iter().find(|check| check.name == name).ok_or_else(ApiError::not_found)?;
    match &check.problem {
        None => Ok("ok".into_response()),
        Some(problem) => {
            let message = format!("{name} failed: {problem}");
            Err(ApiError::new(Reason::InternalError, message).quiet())
        }
    }
}

/// An endpoint in Kubernetes' form.
pub(super) async fn plain(
    api: &Api,
    endpoint: &str,
    is_verbose: bool,
    request: Request,
) -> Response {
    let probe = Probe::of(endpoint);
    if !is_verbose && is_well(&api.health.checks(probe)) {
        return "ok".into_response();
    }
    let checks = readable_checks(api, probe, request).await;
    let is_well = is_well(&checks);
    let mut text = String::new();
    for check in &checks {
        let Check { name, problem, counts } = check;
        // Writing to a String cannot fail.
        match problem {
            None => writeln!(text, "[+]{name} ok"),
            Some(problem) if *counts => writeln!(text, "[-]{name} failed: {problem}"),
            Some(problem) => writeln!(text, "[!]{name} informational: {problem}"),
        }
        .unwrap_or_default();
    }
    text += &format!("{endpoint} check {}\n", if is_well { "passed" } else { "failed" });
    let code = if is_well { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    (code, text).into_response()
}

fn is_well(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.problem.is_none() || !check.counts)
}

/// An endpoint as JSON.
pub(super) async fn json_form(api: &Api, endpoint: &str, request: Request) -> Response {
    let checks = readable_checks(api, Probe::of(endpoint), request).await;
    let is_well = is_well(&checks);
    let word = |well: bool| if well { "ok" } else { "failed" };
    let details: Vec<_> = checks
        .iter()
        .map(|check| {
            let mut detail = json!({"name": check.name, "status": word(check.problem.is_none())});
            if let (Some(detail), Some(problem)) = (detail.as_object_mut(), &check.problem) {
                detail.insert("message".to_owned(), problem.as_str().into());
            }
            detail
        })
        .collect();
    let body = json!({"status": word(is_well), "checks": details}).to_string();
    let code = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
