//! Which pods of the past were those of a workload. Nobody but their names says it.

/// A workload, by kind and name.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The kind.
    pub kind: &'a str,
    /// The name.
    pub name: &'a str,
}

impl Owner<'_> {
    /// Whether its controller names pods like this one.
    pub fn names(self, pod: &str) -> bool {
        let rest = pod.strip_prefix(self.name).and_then(|rest| rest.strip_prefix('-'));
        let Some(rest) = rest else { return false };
        let mut parts = rest.split('-');
        let is_hash =
            |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_alphanumeric());
        match self.kind {
            "Deployment" => {
                let is_pod = parts.by_ref().take(2).filter(|part| is_hash(part)).count() == 2;
                is_pod && parts.next().is_none()
            }
            "StatefulSet" => !rest.is_empty() && rest.bytes().all(|it| it.is_ascii_digit()),
            _ => parts.next().is_some_and(is_hash) && parts.next().is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_known_by_their_names() {
        let cases = [
            ("Deployment", "web-7d4f9c-x2x9z", true),
            ("Deployment", "web-api-7d4f9c-x2x9z", false),
            ("Deployment", "web-0", false),
            ("Deployment", "web", false),
            ("StatefulSet", "web-12", true),
            ("StatefulSet", "web-", false),
            ("StatefulSet", "web-7d4f9c-x2x9z", false),
            ("ReplicaSet", "web-x2x9z", true),
            ("ReplicaSet", "website-x2x9z", false),
        ];
        for (kind, pod, wanted) in cases {
            assert_eq!(Owner { kind, name: "web" }.names(pod), wanted, "{kind} {pod}");
        }
    }
}
