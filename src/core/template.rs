//! The templates of rules: Go's `text/template` between `<<` and `>>`.
//!
//! The engine is gotmpl; around it is what makes it as strict as Go and formats as Go does. Where Go finds an error only
//! when it executes, and it can be seen in the text, it is found here at compile time, so that it is an error of the
//! rule and not of a request. `printf` has the verbs that queries need and refuses the others.

mod budget;
mod check;
mod engine;
mod format;
mod functions;
mod header;
mod plain;
mod value;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use gotmpl::Value;
use promql_parser::util::unquote_string;

use super::{
    go_quote::{escape, quote},
    names,
};
use engine::Engine;
pub use header::HeaderTemplate;
pub use plain::NamesUsed;
use value::{MARKER, text};

/// A compiled `metricsQuery`, `containerQuery` or `nodeQuery`, or the query of a team's rule.
pub struct QueryTemplate {
    form: Form,
    names: Result<(), NamesUsed>,
}

enum Form {
    Template(Box<Engine>),
    /// A query in which nothing is replaced.
    Literal(Arc<str>),
}

/// What a query template can refer to.
#[derive(Debug, Clone, Copy)]
pub struct QueryArguments<'a> {
    /// `.Series`: the name of the series.
    pub series: &'a str,
    /// `.LabelMatchers`: PromQL matchers, separated by commas.
    pub label_matchers: &'a str,
    /// `.LabelValuesByName`: the values that the matchers ask for, several joined by `|`. A template sees a label that has to be quoted
    /// in quotes, and finds its value without them as well.
    pub label_values_by_name: &'a BTreeMap<String, String>,
    /// `.GroupBy`: labels to group by, separated by commas.
    pub group_by: &'a str,
    /// `.GroupBySlice`: the same, as a list.
    pub group_by_slice: &'a [String],
}

impl QueryTemplate {
    const FIELDS: [&'static str; 5] =
        ["Series", "LabelMatchers", "LabelValuesByName", "GroupBy", "GroupBySlice"];

    /// Reads and checks a template.
    ///
    /// # Errors
    ///
    /// [`TemplateError::Syntax`] or [`TemplateError::Invalid`].
    pub fn compile(source: &str) -> Result<Self, TemplateError> {
        let engine = Engine::compile(source, &Self::FIELDS)?;
        let names = plain::names_are_plain(source);
        Ok(Self { form: Form::Template(Box::new(engine)), names })
    }

    /// The template of one query: it is the same for all objects, and `<<` in it means itself.
    pub fn literal(query: impl Into<Arc<str>>) -> Self {
        Self { form: Form::Literal(query.into()), names: Ok(()) }
    }

    /// Whether `.LabelMatchers` and the values of `.LabelValuesByName` are only printed, as they are. Then queries for different
    /// names differ in these texts and in nothing else, so that what is known of some names is known of any.
    ///
    /// # Errors
    ///
    /// The first use of them that may be another one.
    pub fn names_are_plain(&self) -> Result<(), &NamesUsed> {
        self.names.as_ref().copied()
    }

    /// The query for these arguments. A series whose name has to be quoted is written into the braces that follow it, and a label
    /// that has to be quoted has no quotes of its own within a string.
    ///
    /// # Errors
    ///
    /// [`TemplateError::Execution`], or [`TemplateError::Empty`] when nothing is left.
    pub fn render(&self, arguments: &QueryArguments<'_>) -> Result<String, TemplateError> {
        let query = self.render_series(arguments)?;
        let quoted = arguments.group_by_slice.iter().filter(|label| label.starts_with('"'));
        let quoted = quoted.filter_map(|label| unquote_string(label).ok());
        let matched = arguments.label_values_by_name.keys().filter(|label| !names::is_label(label));
        let names: BTreeSet<_> = quoted.chain(matched.cloned()).collect();
        let Some(in_string) = names.iter().find(|name| names::is_in_string(&query, name)) else {
            return Ok(query);
        };
        self.render_labels(arguments, &query, &names)?.ok_or_else(|| TemplateError::Execution {
            reason: format!(
                "`{in_string}` has to be quoted, and a template can write it into a string only where it prints .GroupBy, an element of .GroupBySlice or a key of .LabelValuesByName as it is; write the label itself there"
            ),
        })
    }

    /// A query with labels that have to be quoted outside its strings only. Nothing where the template does more with them than to
    /// print them, or a string cannot hold one.
    fn render_labels(
        &self,
        arguments: &QueryArguments<'_>,
        query: &str,
        names: &BTreeSet<String>,
    ) -> Result<Option<String>, TemplateError> {
        if query.contains(names::LABEL_STAND_IN) {
            return Ok(None);
        }
        let labels: Vec<(String, String)> =
            names.iter().map(|name| (names::label_stand_in(name), name.clone())).collect();
        let mut slice = arguments.group_by_slice.to_vec();
        let mut values = arguments.label_values_by_name.clone();
        for (stand_in, name) in &labels {
            let quoted = quote(name);
            if let Some(value) = values.remove(name) {
                values.insert(stand_in.clone(), value);
            }
            slice
                .iter_mut()
                .filter(|label| **label == quoted)
                .for_each(|it| it.clone_from(stand_in));
        }
        let stood_in = self.render_series(&QueryArguments {
            group_by: &slice.join(","),
            group_by_slice: &slice,
            label_values_by_name: &values,
            ..*arguments
        })?;
        // A template that computes with the label would not write another one in its place.
        let put_back = |written: fn(&str) -> String| {
            let put = |text: String, (stand_in, name): &(String, String)| {
                text.replace(stand_in, &written(name))
            };
            labels.iter().fold(stood_in.clone(), put) == query
        };
        // `printf "%q"` quotes it once more.
        let is_plain = put_back(quote) || put_back(|name| escape(&quote(name), '"'));
        Ok(names::with_labels(&stood_in, &labels).filter(|_| is_plain))
    }

    /// The query with the series, and with labels as they are in the arguments.
    fn render_series(&self, arguments: &QueryArguments<'_>) -> Result<String, TemplateError> {
        let query = self.render_any(arguments)?;
        if query.is_empty() {
            return Err(TemplateError::Empty { what: "query" });
        }
        let series = arguments.series;
        if series.is_empty() || names::is_metric(series) || !query.contains(series) {
            return Ok(query);
        }
        let stand_in = names::stand_in(&[arguments.label_matchers, arguments.group_by, series]);
        let stood_in = self.render_any(&QueryArguments { series: &stand_in, ..*arguments })?;
        // A template that computes with the name would not write another one in its place.
        let is_plain = stood_in.replace(&stand_in, series) == query;
        let quoted = names::with_series(&stood_in, &stand_in, series).filter(|_| is_plain);
        quoted.ok_or_else(|| TemplateError::Execution {
            reason: format!(
                "`{series}` has to be quoted, which a template can do only where it prints .Series as it is"
            ),
        })
    }

    /// As Go's engine has it, which does not mind an empty text.
    fn render_any(&self, arguments: &QueryArguments<'_>) -> Result<String, TemplateError> {
        let engine = match &self.form {
            Form::Template(engine) => engine,
            Form::Literal(query) => return Ok(query.to_string()),
        };
        let values = arguments
            .label_values_by_name
            .iter()
            .map(|(label, value)| (Arc::from(&*names::label(label)), text(value)))
            .collect();
        let labels = arguments.group_by_slice.iter().map(|label| text(label)).collect();
        let [series, matchers, by_name, group_by, group_by_slice] = Self::FIELDS.map(Arc::from);
        engine.execute(BTreeMap::from([
            (series, text(arguments.series)),
            (matchers, text(arguments.label_matchers)),
            (by_name, Value::Map(Arc::new(values))),
            (group_by, text(arguments.group_by)),
            (group_by_slice, Value::List(labels)),
            (Arc::from(MARKER), Value::List(Self::FIELDS.map(text).into())),
        ]))
    }
}

impl fmt::Debug for QueryTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryTemplate").finish_non_exhaustive()
    }
}

/// A compiled `resources.template`: from a Kubernetes resource to the label that names its objects.
pub struct ResourceTemplate {
    engine: Engine,
}

impl ResourceTemplate {
    const FIELDS: [&'static str; 4] = ["Group", "Resource", "String", "Empty"];

    /// Reads and checks a template.
    ///
    /// # Errors
    ///
    /// [`TemplateError::Syntax`] or [`TemplateError::Invalid`], also when it fails for an unknown resource;
    /// [`TemplateError::Empty`]; [`TemplateError::NoResource`].
    pub fn compile(source: &str) -> Result<Self, TemplateError> {
        // The adapter that this replaces renders these to get a regular expression, so templates that compare
        // .Resource with some names must not fail or forget it for others.
        const ANY_RESOURCE: &str = "(?P<resource>.+?)";

        let engine = Engine::compile(source, &Self::FIELDS)?;
        let label =
            execute_resource(&engine, "(?P<group>.+?)", ANY_RESOURCE).map_err(
                |error| match error {
                    TemplateError::Execution { reason } => {
                        TemplateError::Invalid { line: 1, column: 1, reason }
                    }
                    error => error,
                },
            )?;
        if label.is_empty() {
            return Err(TemplateError::Empty { what: "label" });
        }
        if !label.contains(ANY_RESOURCE) {
            return Err(TemplateError::NoResource);
        }
        Ok(Self { engine })
    }

    /// The label for a resource, given in the singular; `group` is empty for the core group.
    ///
    /// Dots and dashes of the group become underscores, since a label cannot have them.
    ///
    /// # Errors
    ///
    /// [`TemplateError::Execution`], or [`TemplateError::Empty`] when nothing is left.
    pub fn render(&self, group: &str, resource: &str) -> Result<String, TemplateError> {
        let label = execute_resource(&self.engine, &group.replace(['.', '-'], "_"), resource)?;
        if label.is_empty() {
            return Err(TemplateError::Empty { what: "label" });
        }
        Ok(label)
    }
}

/// Renders with Go's `schema.GroupResource`: its fields, and those of its methods that need no argument.
fn execute_resource(engine: &Engine, group: &str, resource: &str) -> Result<String, TemplateError> {
    let full = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
    let [group_key, resource_key, string_key, empty_key] = ResourceTemplate::FIELDS.map(Arc::from);
    engine.execute(BTreeMap::from([
        (group_key, text(group)),
        (resource_key, text(resource)),
        (string_key, text(&full)),
        (empty_key, Value::Bool(full.is_empty())),
        (Arc::from(MARKER), text(&full)),
    ]))
}

impl fmt::Debug for ResourceTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceTemplate").finish_non_exhaustive()
    }
}

/// Why a template is refused, or fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The text is no template; Go's parser refuses it too.
    #[error("line {line}, column {column}: {reason}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// The template would fail when it is rendered. Go notices only then, or prints `%!` where a format is wrong.
    #[error("line {line}, column {column}: {reason}")]
    Invalid {
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// The label would be the same for every resource.
    #[error("must include at least <<.Resource>>")]
    NoResource,
    /// Nothing is left after rendering.
    #[error("empty {what}")]
    Empty {
        /// What it should have been.
        what: &'static str,
    },
    /// It failed with these arguments.
    #[error("cannot render: {reason}")]
    Execution {
        /// The engine's message.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Vector {
        kind: String,
        template: String,
        data: Data,
        stage: String,
        #[serde(default)]
        out: String,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    #[derive(Default)]
    struct Data {
        series: String,
        label_matchers: String,
        label_values_by_name: BTreeMap<String, String>,
        group_by: String,
        group_by_slice: Vec<String>,
        group: String,
        resource: String,
    }

    /// What Go does differently, and why we leave it so. The tests fail when one of these is no longer different.
    const KNOWN_DIFFERENCES: [(&str, &str); 2] = [
        (
            "<< /* c */ >>",
            "Go wants no space before a comment; gotmpl's lexer allows it, which harms nobody",
        ),
        (
            "<<.WithVersion \"v1\">>",
            "a method with an argument; no label can have the / and = that it prints",
        ),
    ];

    /// The stage that Go's engine would have come to, and the text.
    fn run(vector: &Vector) -> (&'static str, Result<String, TemplateError>) {
        let data = &vector.data;
        let compiled = if vector.kind == "resource" {
            // Not through the public face, which refuses what does not depend on .Resource.
            Engine::compile(&vector.template, &ResourceTemplate::FIELDS)
                .map(|engine| execute_resource(&engine, &data.group, &data.resource))
        } else {
            QueryTemplate::compile(&vector.template).map(|template| {
                template.render_any(&QueryArguments {
                    series: &data.series,
                    label_matchers: &data.label_matchers,
                    label_values_by_name: &data.label_values_by_name,
                    group_by: &data.group_by,
                    group_by_slice: &data.group_by_slice,
                })
            })
        };
        match compiled {
            Ok(Ok(text)) => ("ok", Ok(text)),
            Ok(Err(error)) | Err(error @ TemplateError::Invalid { .. }) => {
                ("exec-error", Err(error))
            }
            Err(error) => ("parse-error", Err(error)),
        }
    }

    fn differences(json: &str) -> Vec<(String, String)> {
        let vectors: Vec<Vector> = serde_json::from_str(json).unwrap();
        vectors
            .iter()
            .filter_map(|vector| {
                let (stage, result) = run(vector);
                let same_text = || result.as_ref().is_ok_and(|text| *text == vector.out);
                if stage == vector.stage && (stage != "ok" || same_text()) {
                    return None;
                }
                let (go, out) = (&vector.stage, &vector.out);
                Some((vector.template.clone(), format!("{stage} {result:?}, but Go: {go} {out:?}")))
            })
            .collect()
    }

    /// Directives of Go that are refused here.
    const OTHER_DIRECTIVES: [&str; 10] =
        ["%x", "%e", "%t", "%T", "%+v", "%#v", "%+q", "%#q", "%[2]s", "%*d"];

    /// Whether a template is refused for its `printf`: for a directive of Go, or where Go prints `%!`.
    fn is_refused_format(template: &str, difference: &str) -> bool {
        let is_of_go = OTHER_DIRECTIVES.iter().any(|directive| template.contains(directive));
        difference.contains("printf: ") && (is_of_go || difference.contains("%!"))
    }

    #[test]
    fn agrees_with_go_on_hand_written_templates() {
        let different = differences(include_str!("../../tests/vectors/templates.json"));
        for (template, difference) in &different {
            let known = KNOWN_DIFFERENCES.iter().any(|(known, _)| known == template);
            assert!(known || is_refused_format(template, difference), "{template}: {difference}");
        }
        for directive in OTHER_DIRECTIVES {
            let refused = different.iter().any(|(template, _)| template.contains(directive));
            assert!(refused, "{directive} is not refused");
        }
        for (template, reason) in KNOWN_DIFFERENCES {
            let still = different.iter().any(|(different, _)| different == template);
            assert!(still, "{template} is no longer different, remove it: {reason}");
        }
    }

    #[test]
    fn agrees_with_go_on_generated_templates() {
        let different = differences(include_str!("../../tests/vectors/templates-generated.json"));
        let (formats, others): (Vec<_>, Vec<_>) = different
            .into_iter()
            .partition(|(template, difference)| is_refused_format(template, difference));
        // Each time `%d` of a string.
        assert_eq!(formats.len(), 5, "{formats:#?}");
        // In one of the thousand an unknown field stands in a branch that is not taken. That is refused on purpose.
        assert_eq!(others.len(), 1, "{others:#?}");
        for (template, difference) in others {
            assert!(difference.contains("there is no .Nope here"), "{template}: {difference}");
        }
    }

    fn query(source: &str) -> Result<String, TemplateError> {
        QueryTemplate::compile(source)?.render(&QueryArguments {
            series: "requests",
            label_matchers: "pod=\"a\"",
            label_values_by_name: &BTreeMap::from([("pod".to_owned(), "a".to_owned())]),
            group_by: "pod",
            group_by_slice: &["pod".to_owned()],
        })
    }

    #[test]
    fn errors_say_where_and_what() {
        for (source, message) in [
            (
                "<<.Serie>>",
                "line 1, column 3: there is no .Serie here, but .Series .LabelMatchers .LabelValuesByName .GroupBy .GroupBySlice",
            ),
            ("é\né<<.Series | upper>>", "line 2, column 14: unknown function upper"),
            ("<<$x>>", "line 1, column 3: undefined variable $x"),
            ("<<if .Series>>x", "line 1, column 16: a block has no <<end>>"),
            ("x<<end>>", "line 1, column 9: unexpected <<end>> or <<else>>"),
            ("<<break>>", "line 1, column 3: <<break>> outside <<range>>"),
            ("<<if .LabelValuesByName.nope>>x<<end>>", "empty query"),
            ("<<index .GroupBySlice 1>>", "cannot render: index out of range: 1"),
            (
                "up\n<<.Series | printf \"%s%d\" 1 >>",
                "cannot render: printf: %s cannot print an integer",
            ),
            (
                "up\n<<.Series | printf \"%d\" 1 >>",
                "line 2, column 20: printf: verbs in the format: 1, operands: 2",
            ),
        ] {
            assert_eq!(query(source).unwrap_err().to_string(), message, "{source}");
        }
    }

    #[test]
    fn a_directive_that_is_not_supported_is_an_error_of_the_rule() {
        for source in [
            "<<printf \"%x\" 1>>",
            "<<if false>><<printf \"%x\" 1>><<end>>",
            "<<.Series | len | printf \"%x\">>",
            "<<$x := (printf \"%x\" 1)>>",
            "<<define \"a\">><<printf \"%x\" 1>><<end>>",
        ] {
            let error = QueryTemplate::compile(source).unwrap_err();
            assert!(matches!(error, TemplateError::Invalid { .. }), "{source}: {error:?}");
            assert!(
                error.to_string().contains("printf: `%x` is not supported"),
                "{source}: {error}"
            );
        }
        let computed = QueryTemplate::compile("<<printf (print \"%\" \"x\") 1>>");
        assert!(computed.is_ok(), "{computed:?}");
        let error = query("<<printf (print \"%\" \"x\") 1>>").unwrap_err();
        assert!(matches!(error, TemplateError::Execution { .. }), "{error:?}");
    }

    #[test]
    fn a_series_is_quoted_where_it_has_to_be() {
        let render = |source: &str, series: &str| {
            QueryTemplate::compile(source).unwrap().render(&QueryArguments {
                series,
                label_matchers: "pod=\"loadline_series\"",
                label_values_by_name: &BTreeMap::new(),
                group_by: "pod",
                group_by_slice: &[],
            })
        };
        for (source, plain, quoted) in [
            (
                "sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)",
                "sum(rate(up{pod=\"loadline_series\"}[2m])) by (pod)",
                "sum(rate({__name__=\"a.b\",pod=\"loadline_series\"}[2m])) by (pod)",
            ),
            ("<<.Series>> / {\"<<.Series>>\"}", "up / {\"up\"}", "{__name__=\"a.b\"} / {\"a.b\"}"),
            (
                "sum(up{<<.LabelMatchers>>})",
                "sum(up{pod=\"loadline_series\"})",
                "sum(up{pod=\"loadline_series\"})",
            ),
        ] {
            assert_eq!(render(source, "up").unwrap(), plain);
            assert_eq!(render(source, "a.b").unwrap(), quoted);
        }
        let computed = "<<if eq .Series \"a.b\">><<.Series>><<else>>up<<end>>";
        assert_eq!(render(computed, "up").unwrap(), "up");
        assert!(matches!(render(computed, "a.b"), Err(TemplateError::Execution { .. })));
    }

    #[test]
    fn a_label_that_has_to_be_quoted_is_written_into_strings_as_it_is() {
        let render = |source: &str, labels: &[&str]| {
            let quoted: Vec<String> =
                labels.iter().map(|label| names::label(label).into()).collect();
            QueryTemplate::compile(source).unwrap().render(&QueryArguments {
                series: "a.b",
                label_matchers: r#"app="\"k8s.pod.name\"""#,
                label_values_by_name: &labels
                    .iter()
                    .map(|it| ((*it).to_owned(), "v".to_owned()))
                    .collect(),
                group_by: &quoted.join(","),
                group_by_slice: &quoted,
            })
        };
        let pod = &["k8s.pod.name"];
        for (source, quoted, plain) in [
            (
                r#"label_replace(sum by (<<.GroupBy>>) (<<.Series>>{<<.LabelMatchers>>}), "<<.GroupBy>>", "x $1", '<<index .GroupBySlice 0>>', "(.*)")"#,
                r#"label_replace(sum by ("k8s.pod.name") ({__name__="a.b",app="\"k8s.pod.name\""}), "k8s.pod.name", "x $1", 'k8s.pod.name', "(.*)")"#,
                r#"label_replace(sum by (pod) ({__name__="a.b",app="\"k8s.pod.name\""}), "pod", "x $1", 'pod', "(.*)")"#,
            ),
            (
                r#"f("<<.GroupBy>>", `-<<.GroupBy>>`, "<<index .LabelValuesByName (index .GroupBySlice 0)>>")"#,
                r#"f("k8s.pod.name", `-k8s.pod.name`, "v")"#,
                r#"f("pod", `-pod`, "v")"#,
            ),
            (r#"f(<<printf "%q" .GroupBy>>)"#, r#"f("k8s.pod.name")"#, r#"f("pod")"#),
            (
                r#"<<if eq .GroupBy "pod">>a<<else>>f(<<.GroupBy>>, "k8s.pod.name")<<end>>"#,
                r#"f("k8s.pod.name", "k8s.pod.name")"#,
                "a",
            ),
        ] {
            assert_eq!(render(source, pod).unwrap(), quoted);
            assert_eq!(render(source, &["pod"]).unwrap(), plain);
        }
        let several =
            render(r#"by (<<.GroupBy>>) "<<index .GroupBySlice 1>>""#, &["a.b", "a.c", "d"]);
        assert_eq!(several.unwrap(), r#"by ("a.b","a.c",d) "a.c""#);
        let computed =
            r#"f("<<if eq .GroupBy "pod">>pod<<else>><<.GroupBy>><<end>> <<len .GroupBy>>")"#;
        let error = render(computed, pod).unwrap_err();
        assert!(matches!(error, TemplateError::Execution { .. }), "{error:?}");
        render(computed, &["pod"]).unwrap();
    }

    #[test]
    fn runaway_templates_are_errors() {
        for source in [
            "<<range 1000000000>><<end>>",
            "<<range 50000>><<printf \"%100d\" 1>><<end>>",
            "<<$s := \"ab\">><<range 64>><<$s = print $s $s>><<end>>",
            "<<$s := printf \"%1000d\" 1>><<range 10>><<$s = print $s $s>><<end>><<print $s $s>>",
            "<<define \"a\">><<template \"a\">><<end>><<template \"a\">>",
            "<<range 40000>><<$x := printf \"%1000d\" 1>><<end>>",
            "<<$x := printf \"%1000d\" 1>><<range 100000>><<if eq $x $x>><<end>><<end>>",
            "<<$x := printf \"%1000d\" 1>><<range 100000>><<$y := slice $x 1>><<end>>",
            "<<range 1000>><<range 100>><<end>><<end>><<range 1000>><<end>>",
        ] {
            assert!(matches!(query(source), Err(TemplateError::Execution { .. })), "{source}");
        }
    }

    /// Each calls the next one twice: 2^40 calls without a loop, and only 41 deep.
    #[test]
    fn definitions_that_double_are_errors() {
        let mut source = String::new();
        for n in 0..40 {
            let next = n + 1;
            source.push_str(&format!(
                "<<define \"{n}\">><<template \"{next}\">><<template \"{next}\">><<end>>"
            ));
        }
        source.push_str("<<define \"40\">><<end>><<template \"0\">>x");
        let error = query(&source).unwrap_err().to_string();
        assert_eq!(error, "cannot render: the template does too much for one query");
    }

    #[test]
    fn many_names_are_within_the_budget() {
        let names: Vec<_> = (0..10_000).map(|n| format!("deployment-5d4f8c7b9-{n:05}")).collect();
        let matchers = format!("pod=~\"{}\"", names.join("|"));
        let source = "<<range .GroupBySlice>><<printf \"%s\" .>><<if eq . \"x\">>y<<end>><<end>>{<<.LabelMatchers>>}";
        let query = QueryTemplate::compile(source).unwrap().render(&QueryArguments {
            series: "requests",
            label_matchers: &matchers,
            label_values_by_name: &BTreeMap::from([("pod".to_owned(), names.join("|"))]),
            group_by: "pod,namespace",
            group_by_slice: &["pod".to_owned(), "namespace".to_owned()],
        });
        assert_eq!(query.unwrap(), format!("podnamespace{{{matchers}}}"));
    }

    #[test]
    fn can_be_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<QueryTemplate>();
        shared::<ResourceTemplate>();
    }

    #[test]
    fn labels_of_resources() {
        for (source, label) in [
            ("<<.Resource>>", "deployment"),
            ("kube_<<.Group>>_<<.Resource>>", "kube_my_apps_io_deployment"),
            ("<<if .Group>><<.Group>>_<<end>><<.Resource>>", "my_apps_io_deployment"),
            ("<<if eq .Resource \"pod\">>p<<else>>x_<<.Resource>><<end>>", "x_deployment"),
        ] {
            let template = ResourceTemplate::compile(source).unwrap();
            assert_eq!(template.render("my-apps.io", "deployment").unwrap(), label, "{source}");
        }
    }

    #[test]
    fn a_label_must_depend_on_the_resource() {
        for (source, message) in [
            ("pod", "must include at least <<.Resource>>"),
            ("<<.Group>>", "must include at least <<.Resource>>"),
            ("<<.Resource | len>>", "must include at least <<.Resource>>"),
            ("", "empty label"),
            (
                "<<.Name>>",
                "line 1, column 3: there is no .Name here, but .Group .Resource .String .Empty",
            ),
        ] {
            let error = ResourceTemplate::compile(source).err().unwrap();
            assert_eq!(error.to_string(), message, "{source}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn never_panics(parts in prop::collection::vec(prop::sample::select(vec![
            "<<", ">>", "<<-", "->>", "- ", " -", "if ", "range ", "with ", "else", "end", "define ", "template ",
            "block ", "break", "continue", "\"x\"", "`", "'", "$", "$x", ":=", "=", ",", "|", "(", ")", ".", ".Series",
            ".GroupBySlice", "index ", "printf ", "%", "\"%[1]*.*q\" ", "slice ", "1", "-", "0x", "1e9", "nil", " ",
            "\n", "/*", "*/", "é", "\0",
        ]), 0..14)) {
            for source in [parts.concat(), format!("<<{}>>", parts.concat())] {
                // gotmpl turns a panic of a function into an error.
                if let Err(error) = query(&source) {
                    prop_assert!(!error.to_string().contains("panicked"), "{}: {}", source, error);
                }
            }
        }
    }
}
