//! What a client takes: forms of answers (`Accept`), and compressed ones (`Accept-Encoding`).

use axum::http::{HeaderMap, header};

use crate::wire::discovery::Aggregated;

/// The media type of JSON.
pub(super) const JSON: &str = "application/json";

/// The media type of YAML.
pub(super) const YAML: &str = "application/yaml";

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) enum Form {
    #[default]
    Json,
    /// JSON, indented.
    Pretty,
    Yaml,
    /// `Table` of meta.k8s.io/v1, where the answer has one.
    Table,
}

/// What a client takes best.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Accept {
    pub(super) form: Form,
    /// The aggregated form of discovery; elsewhere it means nothing.
    pub(super) aggregated: Option<Aggregated>,
}

impl Accept {
    /// The first accepted form that can be given, in the order of preference; nothing where there is none.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let values = || texts(headers, &header::ACCEPT);
        if values().all(|value| value.trim().is_empty()) {
            return Some(Self::default());
        }
        let ranges = values().flat_map(|value| value.split(',')).filter_map(range);
        // Of equals the first.
        let best = ranges.reduce(|best, next| if next.0 > best.0 { next } else { best });
        best.map(|(_, accept)| accept)
    }
}

/// A media range, with its quality. `as` names another object in place of the answer.
fn range(text: &str) -> Option<(f32, Accept)> {
    let mut parts = text.split(';').map(str::trim);
    let form = match parts.next()? {
        JSON | "application/*" | "*/*" => Form::Json,
        YAML => Form::Yaml,
        _ => return None,
    };
    let parameter =
        |name: &str| parts.clone().find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    let quality = parameter("q").map_or(Ok(1.0), str::parse).ok()?;
    let accept = match (form, parameter("as"), parameter("v")) {
        (form, None, _) => Accept { form, aggregated: None },
        (Form::Json, Some("Table"), None | Some("v1")) => {
            Accept { form: Form::Table, aggregated: None }
        }
        (Form::Json, Some("APIGroupDiscoveryList"), Some("v2")) => {
            Accept { form, aggregated: Some(Aggregated::V2) }
        }
        (Form::Json, Some("APIGroupDiscoveryList"), Some("v2beta1")) => {
            Accept { form, aggregated: Some(Aggregated::V2beta1) }
        }
        // An object that nobody knows here: the plain one is better than nothing.
        (form, Some("APIGroupDiscoveryList"), _) if quality > 0.0 => {
            return Some((f32::MIN_POSITIVE, Accept { form, aggregated: None }));
        }
        _ => return None,
    };
    (quality > 0.0).then_some((quality, accept))
}

/// Whether a client takes answers that are compressed by gzip.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = texts(headers, &header::ACCEPT_ENCODING);
    accepted.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let quality = parts.find_map(|part| part.strip_prefix("q="));
        is_gzip && quality.is_none_or(|quality| quality.parse().is_ok_and(|q: f32| q > 0.0))
    })
}

fn texts<'h>(
    headers: &'h HeaderMap,
    name: &header::HeaderName,
) -> impl Iterator<Item = &'h str> + use<'h> {
    headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn accept(value: &str) -> Option<Accept> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, value.parse().unwrap());
        Accept::of(&headers)
    }

    #[test]
    fn the_accepted_form_is_found() {
        assert_eq!(Accept::of(&HeaderMap::new()), Some(Accept::default()));
        let cases = [
            ("", Some(Form::Json)),
            ("*/*", Some(Form::Json)),
            ("application/yaml", Some(Form::Yaml)),
            ("application/vnd.kubernetes.protobuf,application/json", Some(Form::Json)),
            ("application/vnd.kubernetes.protobuf", None),
            ("application/json;q=0.1, application/yaml;q=0.9", Some(Form::Yaml)),
            ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Some(Form::Table)),
            (
                "application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
                Some(Form::Json),
            ),
            ("application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", None),
            ("application/yaml;as=Table", None),
            ("text/html", None),
            ("application/json;q=0", None),
            ("application/json;q=x", None),
            (
                "application/json; g=apidiscovery.k8s.io; v=v2; as=APIGroupDiscoveryList",
                Some(Form::Json),
            ),
        ];
        for (value, wanted) in cases {
            assert_eq!(accept(value).map(|accept| accept.form), wanted, "{value}");
        }
    }

    #[test]
    fn the_aggregated_form_is_given_to_whoever_prefers_it() {
        let (old, new) = (Aggregated::V2beta1, Aggregated::V2);
        let [v2beta1, v2] = [old, new].map(Aggregated::media_type);
        let cases = [
            (format!("{v2},application/json"), Some(new)),
            (v2.replace(';', "; "), Some(new)),
            (format!("{v2beta1},application/json"), Some(old)),
            (format!("{v2beta1},{v2}"), Some(old)),
            (format!("{v2},{v2beta1},application/json"), Some(new)),
            (format!("{},{v2}", v2.replace("v=v2", "v=v3")), Some(new)),
            ("application/json".to_owned(), None),
            ("*/*".to_owned(), None),
            (format!("application/json,{v2}"), None),
        ];
        for (value, wanted) in cases {
            assert_eq!(accept(&value).unwrap().aggregated, wanted, "{value}");
        }
    }

    #[test]
    fn only_who_says_so_takes_gzip() {
        let cases = [
            (&["gzip"][..], true),
            (&["br, GZIP;q=0.5"], true),
            (&["br", "deflate, gzip"], true),
            (&["gzip;q=0"], false),
            (&["gzip;q=x"], false),
            (&["identity"], false),
            (&[], false),
        ];
        for (accepted, wanted) in cases {
            let mut headers = HeaderMap::new();
            for value in accepted {
                headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            }
            assert_eq!(takes_gzip(&headers), wanted, "{accepted:?}");
        }
    }
}
