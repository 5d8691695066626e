//! Whether a file has the form that [`super::keys`] describes: every problem, not only the first.

use http::HeaderName;

use super::{
    Problem, auth,
    fields::{Fields, quantity},
    keys::{AUTH, FALSE, FILE, Kind, Need, Shape, TRUE},
};
use crate::core::{
    duration,
    key_path::KeyPath,
    nearest::nearest,
    yaml::{Key, Node, Place, Value},
};

/// The most problems that are reported: who has more will look at the file again anyway.
const MAX_PROBLEMS: usize = 100;

/// The most characters of a text that a message repeats.
const EXCERPT: usize = 60;

/// The most headers of one rule or backend.
pub(in crate::core) const MAX_HEADERS: usize = 50;

/// The values of a file, or everything that is wrong with its form.
pub(super) fn read(root: &Node) -> Result<Fields<'_>, Vec<Problem>> {
    let path = KeyPath::default();
    let mut problems = Problems::default();
    if !matches!(root.value, Value::Null) {
        problems.check(root, &path, &FILE);
    }
    let file = Fields::of(root, path, &FILE);
    for rule in ["rules", "externalRules"].into_iter().flat_map(|list| file.items(list)) {
        rule.items("seriesFilters").for_each(|filter| problems.check_filter(&filter));
    }
    for backend in file.items("backends") {
        match (backend.object(auth::KEY), backend.null(auth::KEY)) {
            (Some(auth), _) => problems.check_auth(&auth),
            // All that stood below it may have been commented out: that is no wish for requests without credentials.
            (None, Some(place)) => problems.check_ways(0, place, &backend.path.key(auth::KEY)),
            (None, None) => {}
        }
    }
    problems.into_result()?;
    Ok(file)
}

/// The values of what `auth` of a backend may hold, or everything that is wrong with its form.
pub(super) fn read_auth(root: &Node) -> Result<Fields<'_>, Vec<Problem>> {
    let path = KeyPath::default();
    let mut problems = Problems::default();
    problems.check(root, &path, &AUTH);
    let auth = Fields::of(root, path, &AUTH);
    problems.check_auth(&auth);
    problems.into_result()?;
    Ok(auth)
}

/// Everything that is wrong with a file's form.
#[derive(Debug, Default)]
struct Problems {
    list: Vec<Problem>,
    untold: usize,
}

impl Problems {
    /// Checks that a filter says one thing.
    fn check_filter(&mut self, filter: &Fields<'_>) {
        let given = ["is", "isNot"].map(|key| !filter.text(key).value.is_empty());
        if given[0] == given[1] && filter.is_mapping {
            let message = "exactly one of `is` and `isNot` is expected";
            self.add(filter.place, &filter.path, message);
        }
    }

    /// Checks that one way to authenticate is given.
    fn check_auth(&mut self, auth: &Fields<'_>) {
        let given = AUTH.keys.iter().filter(|key| auth.get(key.name).is_some()).count();
        if auth.is_mapping {
            self.check_ways(given, auth.place, &auth.path);
        }
    }

    fn check_ways(&mut self, given: usize, place: Place, path: &KeyPath) {
        if given != 1 {
            let message = format!("exactly one of {} is expected", quoted(&AUTH));
            self.add(place, path, message);
        }
    }

    /// Checks a node against the shape that it should have.
    fn check(&mut self, node: &Node, path: &KeyPath, shape: &Shape) {
        let Some(entries) = self.entries(node, path, || {
            format!("a mapping is expected, with the keys {}", quoted(shape))
        }) else {
            return;
        };
        for (key, value) in entries {
            let path = path.key(&excerpt(&key.text));
            match shape.key(&key.text) {
                Some(known) if !matches!(value.value, Value::Null) => {
                    self.value(value, &path, &known.kind);
                }
                Some(_) => {}
                None => {
                    let misplaced = misplaced(&key.text, value, entries, shape);
                    let message = misplaced.unwrap_or_else(|| unknown(&key.text, shape));
                    self.add(key.place, &path, message);
                }
            }
        }
        for key in shape.keys.iter().filter(|key| key.need == Need::Required) {
            let is_there = entries.iter().any(|(known, value)| {
                known.text == key.name && !matches!(value.value, Value::Null)
            });
            if !is_there {
                let message = format!("`{}` is required: {}", key.name, key.doc);
                self.add(node.place, path, message);
            }
        }
    }

    fn value(&mut self, node: &Node, path: &KeyPath, kind: &Kind) {
        match kind {
            Kind::Object(shape) => self.check(node, path, shape),
            Kind::List(shape, most) => self.list(node, path, shape, *most),
            Kind::ByLabel(shape) => self.by_label(node, path, shape),
            Kind::Headers => self.headers(node, path),
            Kind::Names(most) => self.names(node, path, *most),
            Kind::Words(most) => self.words(node, path, *most),
            Kind::Parameters(most) => self.parameters(node, path, *most),
            scalar => {
                let Value::Scalar(text) = &node.value else {
                    let expected = match scalar {
                        Kind::Flag => "true or false is expected",
                        Kind::Duration { .. } => "a duration such as `5m` is expected",
                        Kind::Count(_) | Kind::Quantity(_) => "a number is expected",
                        _ if is_unquoted(node) => {
                            "a string is expected: quote one that begins with `{`"
                        }
                        _ => "a string is expected",
                    };
                    return self.add(node.place, path, expected);
                };
                if let Err(message) = check_scalar(text, scalar) {
                    self.add(node.place, path, message);
                }
            }
        }
    }

    fn list(&mut self, node: &Node, path: &KeyPath, shape: &Shape, most: usize) {
        let Value::Sequence(items) = &node.value else {
            return self.add(node.place, path, "a list is expected");
        };
        if items.len() > most {
            let message = format!("{} entries; at most {most} are read", items.len());
            return self.add(node.place, path, message);
        }
        for (index, item) in items.iter().enumerate() {
            self.check(item, &path.index(index), shape);
        }
    }

    fn names(&mut self, node: &Node, path: &KeyPath, most: usize) {
        let Value::Sequence(items) = &node.value else {
            return self.add(node.place, path, "a list is expected");
        };
        if items.len() > most {
            let message = format!("{} entries; at most {most} are read", items.len());
            return self.add(node.place, path, message);
        }
        for (index, item) in items.iter().enumerate() {
            self.value(item, &path.index(index), &Kind::Name);
        }
    }

    fn by_label(&mut self, node: &Node, path: &KeyPath, shape: &Shape) {
        let Some(entries) = self.entries(node, path, || {
            let keys = shape.keys.iter().map(|key| key.name).collect::<Vec<_>>().join(", ");
            format!("a mapping from label to `{{{keys}}}` is expected")
        }) else {
            return;
        };
        for (label, node) in entries {
            let path = path.key(&excerpt(&label.text));
            if label.text.trim().is_empty() {
                let message = "the name of a label is expected";
                self.add(label.place, &path, message);
            }
            self.check(node, &path, shape);
        }
    }

    fn headers(&mut self, node: &Node, path: &KeyPath) {
        let Some(entries) = self.entries(node, path, || {
            "a mapping from the header's name to its value is expected".to_owned()
        }) else {
            return;
        };
        if entries.len() > MAX_HEADERS {
            let message = format!("{} headers; at most {MAX_HEADERS} are read", entries.len());
            return self.add(node.place, path, message);
        }
        let mut seen: Vec<HeaderName> = Vec::new();
        for (name, value) in entries {
            let path = path.key(&excerpt(&name.text));
            match check_header(&name.text) {
                Ok(header) if seen.contains(&header) => {
                    let message = "the header is given twice: names do not differ by case";
                    self.add(name.place, &path, message);
                }
                Ok(header) => seen.push(header),
                Err(message) => self.add(name.place, &path, message),
            }
            match &value.value {
                Value::Scalar(text) if !text.trim().is_empty() => {}
                _ => self.add(value.place, &path, "a value is expected"),
            }
        }
    }

    fn words(&mut self, node: &Node, path: &KeyPath, most: usize) {
        let Value::Sequence(items) = &node.value else {
            return self.add(node.place, path, "a list is expected");
        };
        if items.len() > most {
            let message = format!("{} entries; at most {most} are read", items.len());
            return self.add(node.place, path, message);
        }
        for (index, item) in items.iter().enumerate() {
            let is_word = |text: &str| !text.is_empty() && !text.contains(char::is_whitespace);
            if !item.text().is_some_and(is_word) {
                self.add(item.place, &path.index(index), "a word is expected");
            }
        }
    }

    fn parameters(&mut self, node: &Node, path: &KeyPath, most: usize) {
        let Some(entries) = self.entries(node, path, || {
            "a mapping from the parameter's name to its value is expected".to_owned()
        }) else {
            return;
        };
        if entries.len() > most {
            let message = format!("{} parameters; at most {most} are read", entries.len());
            return self.add(node.place, path, message);
        }
        for (name, value) in entries {
            if name.text.trim().is_empty() || value.text().is_none() {
                let message = "the name of a parameter and its value are expected";
                self.add(name.place, &path.key(&excerpt(&name.text)), message);
            }
        }
    }

    fn entries<'n>(
        &mut self,
        node: &'n Node,
        path: &KeyPath,
        expected: impl FnOnce() -> String,
    ) -> Option<&'n [(Key, Node)]> {
        if let Value::Mapping(entries) = &node.value {
            return Some(entries);
        }
        self.add(node.place, path, expected());
        None
    }

    fn add(&mut self, place: Place, path: &KeyPath, message: impl Into<String>) {
        if self.list.len() < MAX_PROBLEMS {
            self.list.push(Problem::new(Some(place), path.clone(), message));
        } else {
            self.untold += 1;
        }
    }

    /// The problems in the order of the file, if there are any.
    fn into_result(mut self) -> Result<(), Vec<Problem>> {
        if self.list.is_empty() {
            return Ok(());
        }
        self.list.sort_by_key(|problem| problem.place);
        if self.untold > 0 {
            let message = format!("there are {} more problems", self.untold);
            self.list.push(Problem::new(None, KeyPath::default(), message));
        }
        Err(self.list)
    }
}

/// Whether a mapping looks like a selector without quotes, as `{a="b",c!=""}`.
fn is_unquoted(node: &Node) -> bool {
    let Value::Mapping(entries) = &node.value else { return false };
    entries.iter().any(|(key, node)| {
        matches!(node.value, Value::Null) && (key.text.contains('=') || key.text.contains('!'))
    })
}

/// Blanks at the ends are no part of a scalar, as where it is read: a block scalar (`|`) ends in a newline.
fn check_scalar(text: &str, kind: &Kind) -> Result<(), String> {
    let text = text.trim();
    match kind {
        Kind::NonEmpty if text.trim().is_empty() => Err("it must not be empty".to_owned()),
        Kind::Name if !is_dns_label(text) => Err(format!(
            "`{}` is no name: at most 63 lower-case letters, digits and dashes between them are expected",
            excerpt(text)
        )),
        Kind::Flag if !TRUE.contains(&text) && !FALSE.contains(&text) => {
            Err(format!("`{}` is neither true nor false", excerpt(text)))
        }
        Kind::Duration { least, most } => match duration::parse_either(text) {
            None => Err(format!("`{}`: a duration such as `5m` is expected", excerpt(text))),
            Some(parsed) if parsed < *least || parsed > *most => Err(format!(
                "`{}`: a duration from {} to {} is expected",
                excerpt(text),
                duration::prometheus(*least),
                duration::prometheus(*most),
            )),
            Some(_) => Ok(()),
        },
        Kind::Choice(words) if !words.contains(&text) => {
            let words = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>();
            Err(format!("`{}`: one of {} is expected", excerpt(text), words.join(", ")))
        }
        Kind::Quantity(words) if !words.contains(&text.trim()) && quantity(text).is_none() => {
            let words: String = words.iter().map(|word| format!("`{word}`, ")).collect();
            let or = if words.is_empty() { "" } else { "or " };
            Err(format!(
                "`{}`: {words}{or}a quantity such as `5` or `500m`, not negative, is expected",
                excerpt(text)
            ))
        }
        Kind::Count(most) if !text.parse().is_ok_and(|count: u32| (1..=*most).contains(&count)) => {
            Err(format!("`{}`: a number from 1 to {most} is expected", excerpt(text)))
        }
        _ => Ok(()),
    }
}

/// The header of that name, if a request of ours may carry it.
pub(in crate::core) fn check_header(name: &str) -> Result<HeaderName, String> {
    let Ok(header) = name.parse::<HeaderName>() else {
        return Err(format!("`{}` is not the name of an HTTP header", excerpt(name)));
    };
    let refused = match header.as_str() {
        "authorization" | "cookie" => {
            "credentials belong to a backend: see `auth`, `authInCluster`, `authConfig`"
        }
        "host" => "the backend's URL says the host",
        "connection"
        | "keep-alive"
        | "proxy-authenticate"
        | "proxy-authorization"
        | "proxy-connection"
        | "te"
        | "trailer"
        | "transfer-encoding"
        | "upgrade" => "it is about a connection, not about a request",
        "accept" | "accept-encoding" | "content-encoding" | "content-length" | "content-type"
        | "expect" => "it is part of how requests are sent and answers read",
        _ => return Ok(header),
    };
    Err(format!("this header cannot be set: {refused}"))
}

/// Where a key belongs that is known elsewhere: most often the indentation is wrong.
fn misplaced(key: &str, value: &Node, entries: &[(Key, Node)], shape: &Shape) -> Option<String> {
    let is_empty = |name: &str| {
        let found = entries.iter().find(|(known, _)| known.text == name);
        found.is_some_and(|(_, node)| matches!(node.value, Value::Null))
    };
    let holds = |known: &Kind| match known {
        Kind::Object(inner) => inner.key(key).is_some(),
        // A key of any name, by its value.
        Kind::ByLabel(inner) => match &value.value {
            Value::Mapping(values) => {
                !values.is_empty() && values.iter().all(|(key, _)| inner.key(&key.text).is_some())
            }
            _ => false,
        },
        _ => false,
    };
    let mut inner = shape.keys.iter().filter(|known| holds(&known.kind));
    if let Some(inner) = inner.clone().find(|known| is_empty(known.name)).or(inner.next()) {
        let name = inner.name;
        let how =
            if is_empty(name) { "indent it below that, which is empty" } else { "put it there" };
        return Some(format!("unknown key; it belongs to `{name}`: {how}"));
    }
    let is_of_file = shape.name != FILE.name && FILE.key(key).is_some();
    is_of_file
        .then(|| "unknown key; it is one of the file, and is indented too far here".to_owned())
}

fn unknown(key: &str, shape: &Shape) -> String {
    match nearest(key, shape.keys.iter().map(|key| key.name)).first() {
        Some(known) => format!("unknown key; did you mean `{known}`?"),
        None => format!("unknown key; expected one of {}", quoted(shape)),
    }
}

fn quoted(shape: &Shape) -> String {
    shape.keys.iter().map(|key| format!("`{}`", key.name)).collect::<Vec<_>>().join(", ")
}

/// The beginning of a text of the file, for a message.
pub(crate) fn excerpt(text: &str) -> String {
    let mut characters = text.chars();
    let mut excerpt: String = characters.by_ref().take(EXCERPT).collect();
    if characters.next().is_some() {
        excerpt.push('…');
    }
    excerpt
}

/// Whether a text can be the name of a namespace.
pub(crate) fn is_dns_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}
