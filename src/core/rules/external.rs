//! Checks of `externalRules` alone.

use super::Mapping;
use crate::core::kinds::Kinds;

/// Refuses rules whose queries are to be limited to the namespace of a request, but which do not say which label holds it.
/// Namespaces are the same in every cluster, so the check does not need one.
pub(super) fn names_its_namespace(mapping: &Mapping) -> Result<(), &'static str> {
    let kinds = Kinds::builtin();
    if mapping.namespaced() && mapping.resolve(&kinds).namespace_label().is_none() {
        return Err(
            "no label is mapped to namespaces: name one in `overrides`, such as `namespace: {resource: namespace}`, or set `namespaced: false`",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::core::rules::load;

    #[test]
    fn a_namespaced_rule_needs_a_label_for_namespaces() {
        let cases = [
            ("", false),
            ("resources: {overrides: {pod: {resource: pod}}}", false),
            ("resources: {overrides: {ns: {group: apps, resource: namespace}}}", false),
            ("resources: {namespaced: true}", false),
            ("resources: {overrides: {ns: {resource: namespace}}}", true),
            ("resources: {overrides: {ns: {resource: Namespaces}}}", true),
            ("resources: {template: 'kube_<<.Resource>>'}", true),
            ("resources: {template: 'k8s.<<.Resource>>.name'}", true),
            ("resources: {namespaced: false}", true),
        ];
        for (resources, is_sound) in cases {
            let rule = format!("- seriesQuery: up\n  metricsQuery: up\n  {resources}\n");
            let rules = load(&format!("rules:\n{rule}externalRules:\n{rule}")).unwrap();
            assert_eq!(rules.external.len(), usize::from(is_sound), "{resources}");
            let problems: Vec<_> = rules.broken.iter().map(ToString::to_string).collect();
            let about_external: Vec<_> =
                problems.iter().filter(|problem| problem.contains("externalRules[0]")).collect();
            assert_eq!(about_external.is_empty(), is_sound, "{problems:?}");
        }
    }
}
