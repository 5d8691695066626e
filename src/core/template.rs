//! Go templates with the delimiters `<<` and `>>`, as strict as Go's.
//!
//! The engine is gotmpl. It is laxer than `text/template` in places where Go finds mistakes while parsing (unknown functions and
//! variables, blocks that are not closed) and knows no structs, so [`check`] looks through the syntax tree first; and its
//! maps know no zero value, so `index` is ours.

mod check;

use std::{collections::BTreeMap, fmt, sync::Arc};

use gotmpl::{Template, Value};

/// How often all `range` loops of one rendering may turn.
const MAX_ITERATIONS: u64 = 100_000;

/// A template that cannot be used or fails for certain data.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TemplateError {
    /// The text is no template.
    #[error("the template does not parse: {0}")]
    Parse(String),
    /// The template names a field that its data does not have.
    #[error("the template has no field `.{field}`; there are {known}")]
    UnknownField {
        /// The field.
        field: String,
        /// The fields that exist.
        known: String,
    },
    /// The template fails for this data.
    #[error("the template fails: {0}")]
    Execute(String),
    /// The rendering is empty.
    #[error("the template renders to nothing")]
    Empty,
    /// A resource template that is the same for every resource.
    #[error("the template must depend on `<<.Resource>>`")]
    NoResource,
}

/// The template of a query: `metricsQuery`, `containerQuery`, `nodeQuery`.
pub struct QueryTemplate {
    template: Template,
    text: String,
}

/// What a query template is rendered with.
#[derive(Clone, Copy, Debug)]
pub struct QueryArguments<'a> {
    /// `.Series`: the series' name.
    pub series: &'a str,
    /// `.LabelMatchers`: the matchers, separated by commas.
    pub label_matchers: &'a str,
    /// `.LabelValuesByName`: the values that are matched, several joined by `|`.
    pub label_values_by_name: &'a BTreeMap<String, String>,
    /// `.GroupBy`: the labels to group by, separated by commas.
    pub group_by: &'a str,
    /// `.GroupBySlice`: the same as a list.
    pub group_by_slice: &'a [String],
}

const QUERY_FIELDS: &[&str] = &[
    "Series",
    "LabelMatchers",
    "LabelValuesByName",
    "GroupBy",
    "GroupBySlice",
];

impl QueryTemplate {
    /// Compiles a template. What Go finds only when it executes may be found here already.
    pub fn compile(text: &str) -> Result<Self, TemplateError> {
        Ok(Self {
            template: compile(text, QUERY_FIELDS)?,
            text: text.to_owned(),
        })
    }

    /// The template as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Renders the query.
    pub fn render(&self, arguments: &QueryArguments<'_>) -> Result<String, TemplateError> {
        let values: BTreeMap<Arc<str>, Value> = arguments
            .label_values_by_name
            .iter()
            .map(|(label, value)| (Arc::from(label.as_str()), string(value)))
            .collect();
        let group_by: Arc<[Value]> = arguments
            .group_by_slice
            .iter()
            .map(|label| string(label))
            .collect();
        let data = [
            ("Series", string(arguments.series)),
            ("LabelMatchers", string(arguments.label_matchers)),
            ("LabelValuesByName", Value::Map(Arc::new(values))),
            ("GroupBy", string(arguments.group_by)),
            ("GroupBySlice", Value::List(group_by)),
        ];
        render(&self.template, data)
    }
}

impl fmt::Debug for QueryTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QueryTemplate").field(&self.text).finish()
    }
}

/// The template of a label, `resources.template`: from a resource to the label that names its objects.
pub struct ResourceTemplate {
    template: Template,
    text: String,
}

/// `String` and `Empty` are methods of Go's `GroupResource`.
const RESOURCE_FIELDS: &[&str] = &["Group", "Resource", "String", "Empty"];

impl ResourceTemplate {
    /// Compiles a template, which has to depend on the resource.
    pub fn compile(text: &str) -> Result<Self, TemplateError> {
        let template = Self {
            template: compile(text, RESOURCE_FIELDS)?,
            text: text.to_owned(),
        };
        let probe = "loadlineprobe";
        if template.render("", probe)?.contains(probe) {
            Ok(template)
        } else {
            Err(TemplateError::NoResource)
        }
    }

    /// The label for a resource in the singular. Dots and dashes of the group become underscores.
    pub fn render(&self, group: &str, resource: &str) -> Result<String, TemplateError> {
        self.render_sanitized(&group.replace(['.', '-'], "_"), resource)
    }

    fn render_sanitized(&self, group: &str, resource: &str) -> Result<String, TemplateError> {
        let both = if group.is_empty() {
            resource.to_owned()
        } else {
            format!("{resource}.{group}")
        };
        let data = [
            ("Group", string(group)),
            ("Resource", string(resource)),
            ("String", string(&both)),
            (
                "Empty",
                Value::Bool(group.is_empty() && resource.is_empty()),
            ),
        ];
        render(&self.template, data)
    }
}

impl fmt::Debug for ResourceTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ResourceTemplate").field(&self.text).finish()
    }
}

fn compile(text: &str, fields: &[&str]) -> Result<Template, TemplateError> {
    check::check(text, fields)?;
    Template::new("")
        .delims("<<", ">>")
        .max_range_iters(MAX_ITERATIONS)
        .func("index", index)
        .parse(text)
        .map_err(|error| TemplateError::Parse(error.to_string()))
}

fn render<const N: usize>(
    template: &Template,
    data: [(&str, Value); N],
) -> Result<String, TemplateError> {
    let data: BTreeMap<Arc<str>, Value> = data
        .into_iter()
        .map(|(name, value)| (Arc::from(name), value))
        .collect();
    let text = template
        .execute_to_string(&Value::Map(Arc::new(data)))
        .map_err(|error| TemplateError::Execute(error.to_string()))?;
    if text.is_empty() {
        Err(TemplateError::Empty)
    } else {
        Ok(text)
    }
}

fn string(text: &str) -> Value {
    Value::String(Arc::from(text))
}

/// Go's `index`, to which a map of strings has the empty string where a key is missing.
fn index(arguments: &[Value]) -> gotmpl::Result<Value> {
    let Some((first, keys)) = arguments.split_first() else {
        return Err(gotmpl::TemplateError::Exec(
            "index needs an argument".to_owned(),
        ));
    };
    let mut value = first.clone();
    for key in keys {
        value = match (&value, key) {
            (Value::Map(map), Value::String(key)) => {
                map.get(&**key).cloned().unwrap_or_else(|| string(""))
            }
            _ => value.index(key)?,
        };
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vector {
        kind: String,
        template: String,
        data: Data,
        stage: String,
        #[serde(default)]
        out: String,
    }

    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Data {
        series: String,
        label_matchers: String,
        label_values_by_name: BTreeMap<String, String>,
        group_by: String,
        group_by_slice: Option<Vec<String>>,
        group: String,
        resource: String,
    }

    /// What our engine makes of a vector: the stage at which it fails, or what it prints.
    fn ours(vector: &Vector) -> Result<String, &'static str> {
        let stage = |error: &TemplateError| match error {
            TemplateError::Parse(_) => "parse-error",
            _ => "exec-error",
        };
        let data = &vector.data;
        let rendered = if vector.kind == "resource" {
            let fields = RESOURCE_FIELDS;
            compile(&vector.template, fields).and_then(|template| {
                let template = ResourceTemplate {
                    template,
                    text: String::new(),
                };
                template.render_sanitized(&data.group, &data.resource)
            })
        } else {
            QueryTemplate::compile(&vector.template).and_then(|template| {
                template.render(&QueryArguments {
                    series: &data.series,
                    label_matchers: &data.label_matchers,
                    label_values_by_name: &data.label_values_by_name,
                    group_by: &data.group_by,
                    group_by_slice: data.group_by_slice.as_deref().unwrap_or_default(),
                })
            })
        };
        match rendered {
            Ok(text) => Ok(text),
            // Go renders nothing to nothing; that it is no query is the caller's word, as it is prometheus-adapter's.
            Err(TemplateError::Empty) => Ok(String::new()),
            Err(error) => Err(stage(&error)),
        }
    }

    fn agrees(vector: &Vector) -> bool {
        match ours(vector) {
            Ok(text) => vector.stage == "ok" && vector.out == text,
            Err(stage) => vector.stage == stage,
        }
    }

    /// Parts of templates that we render differently from Go, each with its reason. The tests fail when one of them makes
    /// no difference any more.
    const KNOWN: &[(&str, &str)] = &[
        (
            ".LabelMatchers | printf \"%q\"",
            "%q leaves what Go calls unprintable",
        ),
        (
            "<<printf \"%q\" \"é\u{a0}\u{200b}\">>",
            "%q leaves what Go calls unprintable",
        ),
        ("<<printf \"%+q\" \"é\">>", "%+q is %q"),
        ("<<printf \"%T\" .Series>>", "there are no Go types to name"),
        ("<<printf \"%#v\" .Series>>", "%#v is %v"),
        (
            "<<printf \"%q %s %v\" .GroupBySlice",
            "%q and %s take no lists",
        ),
        ("<<.>>", "a struct printed whole is a map"),
        ("<<printf \"%v\" .>>", "a struct printed whole is a map"),
        ("<<printf \"%+v\" .>>", "a struct printed whole is a map"),
        ("<< /* c */ >>", "a comment may have spaces before it"),
        ("<<.WithVersion", "a method that no rule can have a use for"),
        (
            "<<.Nope>>",
            "a field that does not exist is refused in branches that are not taken, too",
        ),
    ];

    #[track_caller]
    fn all_agree(vectors: &str, least: usize) {
        let vectors: Vec<Vector> = serde_json::from_str(vectors).unwrap();
        assert!(vectors.len() >= least);
        let is_known =
            |vector: &Vector| KNOWN.iter().any(|(part, _)| vector.template.contains(part));
        let different: Vec<_> = vectors
            .iter()
            .filter(|vector| !agrees(vector) && !is_known(vector))
            .map(|vector| {
                let Vector {
                    kind,
                    template,
                    stage,
                    out,
                    ..
                } = vector;
                format!(
                    "{kind} {template:?}: Go {stage} {out:?}, ours {:?}",
                    ours(vector)
                )
            })
            .collect();
        assert!(
            different.is_empty(),
            "{}\n{}",
            different.len(),
            different.join("\n")
        );
    }

    #[test]
    fn written_templates_render_as_in_go() {
        all_agree(include_str!("../../tests/vectors/templates.json"), 243);
    }

    #[test]
    fn generated_templates_render_as_in_go() {
        all_agree(
            include_str!("../../tests/vectors/templates-generated.json"),
            1000,
        );
    }

    #[test]
    fn known_differences_are_still_different() {
        let mut vectors: Vec<Vector> =
            serde_json::from_str(include_str!("../../tests/vectors/templates.json")).unwrap();
        let generated: Vec<Vector> =
            serde_json::from_str(include_str!("../../tests/vectors/templates-generated.json"))
                .unwrap();
        vectors.extend(generated);
        for (part, reason) in KNOWN {
            let differs = vectors
                .iter()
                .any(|vector| vector.template.contains(part) && !agrees(vector));
            assert!(differs, "no longer different: {part} ({reason})");
        }
        let different = vectors.iter().filter(|vector| !agrees(vector)).count();
        assert!(different <= 20, "{different} of {} differ", vectors.len());
    }

    #[test]
    fn an_empty_query_is_an_error() {
        let template = QueryTemplate::compile("<<if eq .Series \"x\">>y<<end>>").unwrap();
        let arguments = QueryArguments {
            series: "z",
            label_matchers: "",
            label_values_by_name: &BTreeMap::new(),
            group_by: "",
            group_by_slice: &[],
        };
        assert_eq!(template.render(&arguments), Err(TemplateError::Empty));
    }

    #[test]
    fn resource_templates_depend_on_the_resource() {
        assert_eq!(
            ResourceTemplate::compile("kube").unwrap_err(),
            TemplateError::NoResource
        );
        let template = ResourceTemplate::compile("kube_<<.Group>>_<<.Resource>>").unwrap();
        assert_eq!(
            template.render("networking.k8s.io", "ingress").unwrap(),
            "kube_networking_k8s_io_ingress"
        );
    }
}
