//! The form that asks why a metric has its value, and the answer.

use maud::{Markup, html};

use super::text;
use crate::core::{
    explain::{Answered, Severity, Step},
    quantity::Decimal,
};

/// How many steps of an answer are shown, and how many values.
const MOST_STEPS: usize = 40;
const MOST_VALUES: usize = 20;

/// What is written in the form, as it was sent.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Question {
    /// `custom` or `external`.
    pub api: String,
    /// The namespace.
    pub namespace: String,
    /// The resource of the objects.
    pub resource: String,
    /// The name of one object.
    pub name: String,
    /// The selector of the objects.
    pub labels: String,
    /// The metric.
    pub metric: String,
    /// The selector of its series.
    pub metric_labels: String,
}

/// What the form has led to.
#[derive(Clone, Debug)]
pub enum Answer {
    /// An explanation.
    Explained(Answered),
    /// None, and why.
    Refused(String),
}

/// A field of the form: its name, its label, what is written in it, and an example.
fn field(name: &str, label: &str, value: &str, example: &str) -> Markup {
    html! {
        label {
            span { (label) }
            input type="text" name=(name) value=(text::cut(value)) placeholder=(example) autocomplete="off" autocapitalize="off" spellcheck="false" required[name == "metric"];
        }
    }
}

pub(super) fn section(question: &Question, answer: Option<&Answer>) -> Markup {
    let Question { api, namespace, resource, name, labels, metric, metric_labels } = question;
    let is_external = api == "external";
    let resource = if resource.is_empty() { "pods" } else { resource };
    html! {
        form method="get" action="#explain" {
            label {
                span { "API" }
                select name="api" {
                    option value="custom" selected[!is_external] { "custom" }
                    option value="external" selected[is_external] { "external" }
                }
            }
            (field("metric", "Metric", metric, "http_requests_per_second"))
            (field("namespace", "Namespace", namespace, "default"))
            (field("resource", "Resource", resource, "pods"))
            (field("labelSelector", "Object labels", labels, "app=web"))
            (field("name", "or one name", name, "web-0"))
            (field("metricLabelSelector", "Series labels", metric_labels, "queue=jobs"))
            button type="submit" { "Explain" }
        }
        @match answer {
            None => {}
            Some(Answer::Refused(why)) => { p.refusal role="alert" { (text::cut(why)) } }
            Some(Answer::Explained(answered)) => (explained(answered)),
        }
    }
}

fn mark(step: &Step) -> (&'static str, &'static str, &'static str) {
    match (step.cause, step.ok) {
        (Some((_, Severity::Failed)), _) => ("bad", "✗", "wrong"),
        (Some((_, Severity::Doubtful)), _) => ("doubtful", "!", "doubtful"),
        (_, Some(true)) => ("good", "✓", "as it should be"),
        (_, Some(false)) => ("bad", "✗", "wrong"),
        (_, None) => ("unknown", "·", "not looked at"),
    }
}

fn explained(answered: &Answered) -> Markup {
    let Answered { steps, found } = answered;
    html! {
        div.answer role="status" {
            ol.steps {
                @for step in steps.iter().take(MOST_STEPS) {
                    @let (class, sign, label) = mark(step);
                    li class=(class) {
                        span.sign role="img" aria-label=(label) { (sign) }
                        span.step { (step.name) }
                        div {
                            p { (text::cut(&step.seen)) }
                            @if let Some((cause, _)) = step.cause { code.cause { (cause.code()) } }
                            @if !step.advice.is_empty() { p.advice { (text::cut(&step.advice)) } }
                        }
                    }
                }
            }
            @if !found.query.is_empty() { pre tabindex="0" { code { (found.query.chars().take(2_000).collect::<String>()) } } }
            @match &found.values {
                Err(why) => { p.refusal { (text::cut(why)) } }
                Ok(values) => {
                    dl.values {
                        @for (name, milli) in values.iter().take(MOST_VALUES) {
                            div {
                                dt { @if name.is_empty() { "value" } @else { (text::cut(name)) } }
                                dd { (Decimal(*milli).to_string()) }
                            }
                        }
                    }
                    @if values.len() > MOST_VALUES { p.more { (text::count(values.len() - MOST_VALUES)) " more" } }
                }
            }
        }
    }
}
