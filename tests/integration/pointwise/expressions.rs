//! Templates at random, of everything that the proof knows, and of what it refuses.

use super::chance::Chance;

const LABELS: [&str; 6] = ["namespace", "pod", "node", "code", "instance", "le"];

/// Series with a match on the names.
const DEPENDENT: [&str; 5] =
    ["load", "requests_total", "requests_total", "latency_total", "limits"];

/// Series without.
const INDEPENDENT: [&str; 7] = [
    "info",
    "limits",
    "node_heat",
    "paused",
    "load",
    "load{namespace=\"a\"}",
    "requests_total{code=\"500\"}",
];

const ELEMENTWISE: [&str; 9] =
    ["abs", "ceil", "sqrt", "sgn", "sort", "sort_desc", "timestamp", "ln", "-"];

const OVER_TIME: [&str; 15] = [
    "rate",
    "increase",
    "irate",
    "delta",
    "idelta",
    "deriv",
    "changes",
    "resets",
    "avg_over_time",
    "max_over_time",
    "sum_over_time",
    "count_over_time",
    "last_over_time",
    "present_over_time",
    "stddev_over_time",
];

const AGGREGATIONS: [&str; 8] = ["sum", "avg", "max", "min", "count", "group", "stddev", "stdvar"];

/// A template for a vector: one of anything, or one of a few operators between vectors that match each other often.
pub(crate) fn template(chance: &mut Chance) -> String {
    if chance.percent(50) {
        let depth = 1 + chance.below(4);
        return vector(chance, depth);
    }
    let (left, right) = (side(chance), side(chance));
    let joined = joined(chance, &left, &right);
    match chance.below(6) {
        0 => format!("sum by (<<.GroupBy>>) ({joined})"),
        1 => format!("max_over_time(({joined})[10m:2m])"),
        2 => {
            let third = side(chance);
            let (first, second) =
                if chance.percent(50) { (joined, third) } else { (third, joined) };
            self::joined(chance, &first, &second)
        }
        _ => joined,
    }
}

/// A side of an operator.
fn side(chance: &mut Chance) -> String {
    const DEPENDENT: [&str; 7] = [
        "load{<<.LabelMatchers>>}",
        "limits{<<.LabelMatchers>>}",
        "sum by (<<.GroupBy>>) (load{<<.LabelMatchers>>})",
        "sum by (<<.GroupBy>>) (requests_total{<<.LabelMatchers>>})",
        "sum by (<<.GroupBy>>,node) (requests_total{<<.LabelMatchers>>})",
        "max by (namespace,pod) (load{<<.LabelMatchers>>})",
        "topk by (<<.GroupBy>>) (1,requests_total{<<.LabelMatchers>>})",
    ];
    const INDEPENDENT: [&str; 10] = [
        "info",
        "load",
        "limits",
        "max without (pod) (leader)",
        "paused",
        "vector(1)",
        "sum by (pod) (limits)",
        "sum by (<<.GroupBy>>) (load)",
        "sum by (namespace,pod) (requests_total)",
        "count by (namespace) (info)",
    ];
    // Of these there are few, so that they match without being too many.
    let side = match chance.below(100) {
        0..=14 => "leader{<<.LabelMatchers>>}",
        15..=59 => chance.pick(&DEPENDENT),
        60..=74 => chance.pick(&["lone", "leader", "node_heat"]),
        _ => chance.pick(&INDEPENDENT),
    };
    match chance.below(10) {
        0 => format!("label_replace({side},\"x\",\"$1\",\"namespace\",\"(.*)\")"),
        1 => format!("({side} > 1)"),
        2 => {
            let scalar = chance.pick(&["paused", "leader{<<.LabelMatchers>>}"]);
            format!("({side} / scalar({scalar}))")
        }
        _ => side.to_owned(),
    }
}

/// An operator between them, of which one or many elements match.
fn joined(chance: &mut Chance, left: &str, right: &str) -> String {
    let labels = match chance.below(8) {
        0 => "pod".to_owned(),
        1 => "<<.GroupBy>>".to_owned(),
        2 => "<<.GroupBy>>,node".to_owned(),
        3 => "namespace,pod".to_owned(),
        4 => "node".to_owned(),
        5 => "namespace".to_owned(),
        _ => chance.some(&LABELS[..3], 40).join(","),
    };
    let modifier = match chance.below(6) {
        0 => String::new(),
        1 => format!(" ignoring ({})", chance.some(&LABELS, 40).join(",")),
        _ => format!(" on ({labels})"),
    };
    if chance.percent(45) {
        let operator = chance.pick(&["and", "or", "unless"]);
        return format!("({left}) {operator}{modifier} ({right})");
    }
    let operator = chance.pick(&["+", "*", ">=", "!= bool"]);
    let include = chance.some(&["node", "pod", "namespace", "x"], 15).join(",");
    let grouping = match chance.below(5) {
        0 | 1 if !modifier.is_empty() => format!(" group_left ({include})"),
        2 | 3 if !modifier.is_empty() => format!(" group_right ({include})"),
        _ => String::new(),
    };
    format!("({left}) {operator}{modifier}{grouping} ({right})")
}

/// A template for a vector, nested no deeper than this.
fn vector(chance: &mut Chance, depth: usize) -> String {
    if depth == 0 {
        return selector(chance);
    }
    let inner = depth - 1;
    match chance.below(26) {
        0 | 1 => selector(chance),
        2..=6 => {
            let operator = chance.pick(&AGGREGATIONS);
            format!("{operator}{} ({})", grouping(chance), vector(chance, inner))
        }
        7 => parametric(chance, inner),
        8 | 9 => {
            let function = chance.pick(&ELEMENTWISE);
            format!("{function}({})", vector(chance, inner))
        }
        10 => {
            let low = scalar(chance, 0);
            let (function, rest) = match chance.below(4) {
                0 => ("clamp", format!(",{low},{}", scalar(chance, 0))),
                1 => ("clamp_max", format!(",{}", scalar(chance, inner))),
                2 => ("clamp_min", format!(",{low}")),
                _ => ("round", String::new()),
            };
            format!("{function}({}{rest})", vector(chance, inner))
        }
        11..=13 => {
            let function = chance.pick(&OVER_TIME);
            format!("{function}({})", range(chance, inner))
        }
        14 => match chance.below(3) {
            0 => format!("predict_linear({},{})", range(chance, inner), scalar(chance, 0)),
            1 => format!("quantile_over_time({},{})", scalar(chance, inner), range(chance, inner)),
            _ => format!("absent_over_time({})", range(chance, inner)),
        },
        15 => {
            let buckets = match chance.below(3) {
                0 => "latency_total{<<.LabelMatchers>>}".to_owned(),
                1 => {
                    let labels = label_list(chance, 50);
                    let series = "rate(latency_total{<<.LabelMatchers>>}[5m])";
                    format!("sum by (le,{labels}) ({series})").replace(",)", ")")
                }
                _ => vector(chance, inner),
            };
            format!("histogram_quantile(0.7,{buckets})")
        }
        16 => relabelled(chance, inner),
        17..=20 => binary(chance, inner),
        21 | 22 => {
            let operator = chance.pick(&["+", "*", "-", "/", ">", "<=", "== bool", "> bool"]);
            let (vector, scalar) = (vector(chance, inner), scalar(chance, inner));
            if chance.percent(50) {
                format!("({vector}) {operator} {scalar}")
            } else {
                format!("{scalar} {operator} ({vector})")
            }
        }
        23 => format!("({}) or vector({})", vector(chance, inner), scalar(chance, inner)),
        24 => format!("absent({})", vector(chance, inner)),
        _ => format!("vector({})", scalar(chance, inner)),
    }
}

fn selector(chance: &mut Chance) -> String {
    let series = if chance.percent(75) {
        let further =
            chance.pick(&["", "", "", "node=\"n-0\",", "pod!=\"p-1\",", "code!=\"500\","]);
        format!("{}{{{further}<<.LabelMatchers>>}}", chance.pick(&DEPENDENT))
    } else {
        chance.pick(&INDEPENDENT).to_owned()
    };
    format!("{series}{}", chance.pick(&["", "", "", "", " offset 5m", " @ 1700001800"]))
}

fn range(chance: &mut Chance, depth: usize) -> String {
    if depth > 0 && chance.percent(40) {
        let modifier = chance.pick(&["", "", " offset 3m"]);
        return format!("({})[10m:2m]{modifier}", vector(chance, depth - 1));
    }
    let series = selector(chance);
    match series.split_once(' ') {
        Some((series, modifier)) => format!("{series}[7m] {modifier}"),
        None => format!("{series}[7m]"),
    }
}

fn scalar(chance: &mut Chance, depth: usize) -> String {
    match chance.below(8) {
        0 => "time()".to_owned(),
        1 if depth > 0 => format!("scalar({})", vector(chance, depth - 1)),
        2 => "scalar(paused)".to_owned(),
        _ => chance.pick(&["0", "1", "2", "0.5", "3"]).to_owned(),
    }
}

/// Labels, each key with this chance; more often the label that the rule groups by.
fn label_list(chance: &mut Chance, percent: usize) -> String {
    let mut labels = Vec::new();
    if chance.percent(percent) {
        labels.push("<<.GroupBy>>");
        labels.extend(chance.some(&LABELS[2..], 15));
    } else {
        labels.extend(chance.some(&LABELS[..2], 50));
        labels.extend(chance.some(&LABELS[2..], 25));
    }
    labels.join(",")
}

fn grouping(chance: &mut Chance) -> String {
    match chance.below(8) {
        0 => String::new(),
        1 | 2 => {
            let mut labels = chance.some(&LABELS[2..], 40);
            labels.extend(chance.some(&LABELS[..2], 15));
            format!(" without ({})", labels.join(","))
        }
        _ => format!(" by ({})", label_list(chance, 70)),
    }
}

fn parametric(chance: &mut Chance, depth: usize) -> String {
    let by = grouping(chance);
    let inner = vector(chance, depth);
    match chance.below(4) {
        0 => format!("quantile{by} ({},{inner})", scalar(chance, depth)),
        1 => {
            let label = chance.pick(&["value", "value", "code", "pod", "namespace"]);
            format!("count_values{by} (\"{label}\",{inner})")
        }
        2 => format!("topk{by} ({},{inner})", scalar(chance, depth)),
        _ => format!("bottomk{by} ({},{inner})", scalar(chance, depth)),
    }
}

fn relabelled(chance: &mut Chance, depth: usize) -> String {
    let written = chance.pick(&["x", "x", "node", "code", "pod", "namespace"]);
    let inner = vector(chance, depth);
    if chance.percent(70) {
        let read = chance.pick(&LABELS);
        let pattern = chance.pick(&["(.*)", "(.)-.*", "", ".-(0|1)"]);
        format!("label_replace({inner},\"{written}\",\"$1\",\"{read}\",\"{pattern}\")")
    } else {
        let read = chance
            .some(&LABELS[..3], 60)
            .iter()
            .map(|label| format!(",\"{label}\""))
            .collect::<String>();
        format!("label_join({inner},\"{written}\",\"-\"{read})")
    }
}

fn binary(chance: &mut Chance, depth: usize) -> String {
    // Two sides that are alike have elements that match more often.
    let left = vector(chance, depth);
    let right = if chance.percent(20) { left.clone() } else { vector(chance, depth) };
    let mut modifier = match chance.below(6) {
        0..=2 => String::new(),
        3 => format!(" ignoring ({})", chance.some(&LABELS, 30).join(",")),
        _ => format!(" on ({})", label_list(chance, 50)),
    };
    if chance.percent(40) {
        let operator = chance.pick(&["and", "or", "unless"]);
        return format!("({left}) {operator}{modifier} ({right})");
    }
    let operator = chance.pick(&["+", "-", "*", "/", ">", "==", "!= bool", "< bool"]);
    if !modifier.is_empty() && chance.percent(60) {
        let include = chance.some(&["node", "code", "pod", "namespace"], 15).join(",");
        modifier.push_str(chance.pick(&[" group_left", " group_left", " group_right"]));
        modifier.push_str(&format!(" ({include})"));
    }
    format!("({left}) {operator}{modifier} ({right})")
}
