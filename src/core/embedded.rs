//! Rules inside of another file: a ConfigMap, or values of prometheus-adapter's chart and ours.
//!
//! What is taken out of the file stays on its line and in its column, so that places in it are places in the file. YAML allows
//! that: a mapping may be indented as a whole.

/// What the chart has under `rules`, and what a rules file calls it.
const SECTIONS: &[(&str, &str)] =
    &[("custom:", "rules: "), ("external:", "externalRules:"), ("resource:", "resourceRules:")];

/// What else the chart has there: nothing that could be looked at.
const OTHERS: &[&str] = &["default:", "existing:"];

/// A text with nothing but the rules in it, where they are in the file; nothing where the file is neither a ConfigMap that has
/// them in a literal block (`config.yaml: |`), as kubectl prints it, nor values with a block of `rules`. Of several documents
/// the first that has rules counts. What stands behind `external:` or `resource:` on the same line moves to the right.
pub fn rules_in(text: &str) -> Option<String> {
    let lines: Vec<_> = text.lines().collect();
    of_config_map(&lines).or_else(|| of_values(&lines))
}

fn of_config_map(lines: &[&str]) -> Option<String> {
    lines.iter().find(|line| line.trim_end() == "kind: ConfigMap")?;
    let opens = |line: &str| {
        let header = line.rsplit_once(": |").map(|(_, header)| header.trim_end());
        header.is_some_and(|header| header.chars().all(|c| matches!(c, '-' | '+' | '1'..='9')))
    };
    blocks(lines, opens).find(|block| block.iter().any(|(_, line)| is_rules(line))).map(|block| {
        let kept = block.into_iter().map(|(at, line)| (at, line.to_owned()));
        in_place(lines.len(), kept)
    })
}

fn is_rules(line: &str) -> bool {
    ["rules:", "externalRules:", "resourceRules:"].iter().any(|key| line.trim().starts_with(key))
}

fn of_values(lines: &[&str]) -> Option<String> {
    let is_key = |line: &str| {
        let names = SECTIONS.iter().map(|(key, _)| key).chain(OTHERS);
        names.into_iter().any(|key| line.trim_start().starts_with(key))
    };
    let mut blocks = blocks(lines, |line| line.trim() == "rules:");
    let (first, block) = blocks.find_map(|block| {
        let first = *block.iter().map(|(_, line)| line).find(|line| says_something(line))?;
        is_key(first).then(|| (indentation(first), block))
    })?;
    let mut is_kept = false;
    let kept = block.into_iter().filter_map(|(at, line)| {
        if indentation(line) == first && says_something(line) && !line.trim_start().starts_with('-')
        {
            let section = SECTIONS.iter().find_map(|(key, ours)| {
                let rest = line.trim_start().strip_prefix(key)?;
                Some(format!("{:first$}{ours}{rest}", ""))
            });
            is_kept = section.is_some();
            return Some((at, section?));
        }
        is_kept.then(|| (at, line.to_owned()))
    });
    Some(in_place(lines.len(), kept))
}

/// The lines below each line that opens a block, with their positions: blank ones, and those that are indented more.
fn blocks<'a>(
    lines: &'a [&'a str],
    opens: impl Fn(&str) -> bool + 'a,
) -> impl Iterator<Item = Vec<(usize, &'a str)>> {
    let numbered = || lines.iter().copied().enumerate();
    numbered().filter(move |(_, line)| opens(line)).map(move |(at, opening)| {
        let is_inside =
            |line: &str| line.trim().is_empty() || indentation(line) > indentation(opening);
        numbered().skip(at + 1).take_while(|(_, line)| is_inside(line)).collect()
    })
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

fn says_something(line: &str) -> bool {
    let line = line.trim_start();
    !line.is_empty() && !line.starts_with('#')
}

/// A text with these lines at their positions, and blank ones elsewhere.
fn in_place(count: usize, kept: impl Iterator<Item = (usize, String)>) -> String {
    let mut kept = kept.peekable();
    (0..count)
        .map(|at| {
            kept.next_if(|(position, _)| *position == at).map_or_else(String::new, |(_, line)| line)
        })
        .map(|line| line + "\n")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{lint, rules};

    const RULE: &str = "- seriesQuery: 'm{namespace!=\"\",pod!=\"\"}'\n  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}\n  metricsQuery: QUERY\n";
    const SUM: &str = "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)";

    /// A rule whose query is this one, indented.
    fn rule(query: &str, indentation: usize) -> String {
        let text = RULE.replace("QUERY", query);
        text.lines().map(|line| format!("{:indentation$}{line}\n", "")).collect()
    }

    fn config_map(rules: &str) -> String {
        format!(
            "apiVersion: v1\ndata:\n  README: |\n    no rules\n  config.yaml: |\n    rules:\n{rules}\nkind: ConfigMap\nmetadata:\n  name: adapter\n"
        )
    }

    #[track_caller]
    fn count(text: &str) -> (usize, usize) {
        let rules = rules::load(&rules_in(text).unwrap()).unwrap();
        assert_eq!(rules.broken, [], "{text}");
        (rules.custom.len(), rules.external.len())
    }

    #[test]
    fn rules_are_found_in_config_maps_and_values() {
        assert_eq!(count(&config_map(&rule(SUM, 4))), (1, 0));
        assert_eq!(count(&config_map(&rule(SUM, 4)).replace(": |\n", ": |-\n")), (1, 0));
        let several =
            format!("kind: Service\n---\n{}---\nkind: Secret\n", config_map(&rule(SUM, 6)));
        assert_eq!(count(&several), (1, 0));
        for indented in [2, 4] {
            let values = format!(
                "image: {{tag: x}}\nrules:\n  # ours\n  default: true\n\n  custom:\n{}{}  existing:\n  external:\n{}replicas: 2\n",
                rule(SUM, indented),
                rule(SUM, indented),
                rule(SUM, indented),
            );
            assert_eq!(count(&values), (2, 1), "{values}");
            let below = values.lines().map(|line| format!("  {line}\n")).collect::<String>();
            assert_eq!(count(&format!("prometheus-adapter:\n{below}")), (2, 1));
        }
        assert_eq!(count("rules:\n  default: true\n  custom: []\n  external: []\n"), (0, 0));
        let usage = "rules:\n  resource:\n    window: 5m\n    cpu: {containerQuery: up, containerLabel: c}\n";
        assert!(rules::load(&rules_in(usage).unwrap()).unwrap().resource.is_some());
    }

    #[test]
    fn other_files_are_left_as_they_are() {
        for text in [
            "",
            "rules:\n- seriesQuery: x\n",
            "rules: []\n",
            "rules:\n",
            "rules:\n  nothing: x\n",
            "kind: ConfigMap\ndata:\n  a: |\n    x\n",
            "kind: ConfigMap\ndata:\n  config.yaml: 'rules: []'\n",
            "kind: Secret\ndata:\n  config.yaml: |\n    rules:\n",
        ] {
            assert_eq!(rules_in(text), None, "{text}");
        }
    }

    #[test]
    fn places_are_those_of_the_file() {
        let unaggregated = "<<.Series>>{<<.LabelMatchers>>}";
        let values = format!("a: b\nrules:\n  custom:\n{}", rule(unaggregated, 2));
        for file in [config_map(&rule(unaggregated, 4)), values] {
            let found = lint::check(&rules_in(&file).unwrap());
            let finding = found.iter().find(|found| found.code == "several-samples-per-object");
            let place = finding.and_then(|found| found.place).unwrap();
            let line = file.lines().nth(usize::try_from(place.line).unwrap() - 1).unwrap();
            let before = usize::try_from(place.column).unwrap() - 1;
            assert_eq!(line.get(before..), Some(unaggregated), "{place:?}\n{file}");
        }
    }
}
