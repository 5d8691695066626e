//! Which known names are nearest to one that is not known: slips of the keyboard, upper for lower case, and other separators.

use std::fmt::Display;

/// How many names are proposed.
pub const MOST: usize = 3;

/// The longest name that others are proposed for: more is no slip of the keyboard.
const LONGEST: usize = 200;

/// The most edits between a name and one that is proposed for it.
const MOST_EDITS: usize = 4;

/// How many names are compared by edits, and by letters. Clients choose the name, and the comparison must not take long: of
/// hundreds of thousands of names some may not be looked at.
const MOST_COMPARED: usize = 500;
const MOST_COUNTED: usize = 50_000;

/// Letters in classes: upper and lower case are one, and so are separators.
type Letters = [i16; 32];

/// The shortest name that is looked for among the words of another one.
const SHORTEST_PART: usize = 5;

/// The known names that are nearest to a word, at most [`MOST`], the nearest first: those that differ by case or separators only, else
/// those that differ by no more than a third of their letters, else those that have more words or less, as `requests` and
/// `http_requests_total` do.
///
/// The work is linear in the known names, but for a bounded number of them.
pub fn nearest<'n>(word: &str, known: impl IntoIterator<Item = &'n str>) -> Vec<&'n str> {
    if word.len() > LONGEST {
        return Vec::new();
    }
    let (mut by_words, mut looked_at) = (Vec::new(), 0);
    let known = known.into_iter().inspect(|name| {
        looked_at += 1;
        if looked_at <= MOST_COUNTED && by_words.len() < MOST_COMPARED && shares_words(word, name) {
            by_words.push((name.len().abs_diff(word.len()), *name));
        }
    });
    let near = by_edits(word, known);
    if !near.is_empty() {
        return near;
    }
    by_words.sort_unstable();
    by_words.dedup();
    by_words.into_iter().map(|(_, name)| name).take(MOST).collect()
}

/// Whether one name has all words of the other one in a row, and not many more.
fn shares_words(one: &str, other: &str) -> bool {
    let (part, whole) = if one.len() < other.len() { (one, other) } else { (other, one) };
    part.len() >= SHORTEST_PART && part.len() * 3 >= whole.len() && has_words(whole, part)
}

/// Whether a part of a name is there, and no letter or digit is beside it.
fn has_words(whole: &str, part: &str) -> bool {
    let is_apart = |neighbour: Option<char>| neighbour.is_none_or(|c| !c.is_alphanumeric());
    whole.match_indices(part).any(|(start, _)| {
        let (before, rest) = whole.split_at_checked(start).unwrap_or_default();
        let behind = rest.strip_prefix(part).unwrap_or_default();
        is_apart(before.chars().next_back()) && is_apart(behind.chars().next())
    })
}

fn by_edits<'n>(word: &str, known: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let word = folded(word);
    let letters = letters(&word);
    let (mut compared, mut counted) = (0, 0);
    let mut found: Vec<_> = known
        .filter_map(|name| {
            if is_same(name, &word) {
                return Some((0, name));
            }
            let most_edits = (name.len() / 3).min(MOST_EDITS);
            if compared == MOST_COMPARED
                || counted == MOST_COUNTED
                || word.len().abs_diff(name.len()) > most_edits
                || !has_an_end_of(name.as_bytes(), word.as_bytes())
            {
                return None;
            }
            counted += 1;
            if least_edits(letters, name) > most_edits {
                return None;
            }
            compared += 1;
            let edits = strsim::osa_distance(&word, &folded(name));
            (edits <= most_edits).then_some((edits, name))
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    let is_written_otherwise = found.first().is_some_and(|(edits, _)| *edits == 0);
    let names = found.into_iter().filter(|(edits, _)| !is_written_otherwise || *edits == 0);
    names.map(|(_, name)| name).take(MOST).collect()
}

/// A name without what people confuse: in lower case, and with one separator for all.
fn folded(name: &str) -> String {
    name.chars()
        .flat_map(char::to_lowercase)
        .map(|c| if is_separator(c) { '_' } else { c })
        .collect()
}

fn is_separator(c: char) -> bool {
    matches!(c, '-' | '_' | '.' | ':')
}

fn folded_byte(byte: u8) -> u8 {
    if is_separator(char::from(byte)) { b'_' } else { byte.to_ascii_lowercase() }
}

/// Whether two names are the same, folded.
fn is_same(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().map(folded_byte).eq(other.bytes().map(folded_byte))
}

/// Whether the first or the last letter is the same: few slips are in both.
fn has_an_end_of(name: &[u8], word: &[u8]) -> bool {
    let same = |a: Option<&u8>, b: Option<&u8>| {
        a.zip(b).is_some_and(|(a, b)| folded_byte(*a) == folded_byte(*b))
    };
    same(name.first(), word.first()) || same(name.last(), word.last())
}

fn letters(text: &str) -> Letters {
    let mut letters = Letters::default();
    count(&mut letters, text, 1);
    letters
}

fn count(letters: &mut Letters, text: &str, by: i16) {
    for byte in text.bytes().map(folded_byte) {
        if let Some(class) = letters.get_mut(usize::from(byte % 32)) {
            *class += by;
        }
    }
}

/// Fewer edits than this cannot make a name of a word with these letters: an edit takes one letter away, and adds one.
fn least_edits(mut letters: Letters, name: &str) -> usize {
    count(&mut letters, name, -1);
    let missing: i16 = letters.iter().map(|class| (*class).max(0)).sum();
    let superfluous: i16 = letters.iter().map(|class| (*class).min(0)).sum();
    usize::from(missing.max(-superfluous).unsigned_abs())
}

/// `; did you mean …?` for the end of a sentence that says what is not known; nothing where no name is near.
pub fn did_you_mean<S: Display>(names: &[S]) -> String {
    match names.split_last() {
        None => String::new(),
        Some((last, [])) => format!("; did you mean {last}?"),
        Some((last, others)) => {
            let others: Vec<_> = others.iter().map(ToString::to_string).collect();
            format!("; did you mean {} or {last}?", others.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn slips_find_their_name() {
        let known = [
            "DCGM_FI_PROF_GR_ENGINE_ACTIVE",
            "DCGM_FI_PROF_SM_ACTIVE",
            "http_requests_per_second",
            "http_requests_per_minute",
            "queue",
            "up",
        ];
        let cases: [(&str, &[&str]); 12] = [
            ("dcgm_fi_prof_gr_engine_active", &known[..1]),
            ("DCGM-FI-PROF-GR-ENGINE-ACTIVE", &known[..1]),
            ("dcgm.fi.prof.sm.activ", &known[1..2]),
            ("http:requests-per.minute", &known[3..4]),
            ("DCGM_FI_PROF_GR_ENGINE_ACTIV", &known[..1]),
            ("http_request_per_second", &known[2..3]),
            ("htpt_requests_per_minute", &known[3..4]),
            ("quere", &["queue"]),
            ("UP", &["up"]),
            ("u", &[]),
            ("memory", &[]),
            ("", &[]),
        ];
        for (word, wanted) in cases {
            assert_eq!(nearest(word, known), wanted, "{word}");
        }
    }

    #[test]
    fn names_with_more_words_or_less_are_found_where_none_is_nearer() {
        let known = ["http_requests_per_second", "queue_depth", "queue_depth_of_all", "up"];
        let cases: [(&str, &[&str]); 10] = [
            ("http_requests", &known[..1]),
            ("requests_per_second", &known[..1]),
            ("depth", &known[1..2]),
            ("queue_depth_of", &known[1..3]),
            ("queue_depth_total_now", &known[1..2]),
            ("queue_dept", &known[1..2]),
            // Neither parts of words, nor words that are in many names.
            ("http_request_per", &[]),
            ("second", &[]),
            ("up_to_now", &[]),
            ("", &[]),
        ];
        for (word, wanted) in cases {
            assert_eq!(nearest(word, known), wanted, "{word}");
        }
    }

    #[test]
    fn no_more_than_a_few_are_proposed_in_the_order_of_their_names() {
        let known = ["job_4", "job_3", "job_2", "job_1"];
        assert_eq!(nearest("job_", known), ["job_1", "job_2", "job_3"]);
        assert_eq!(did_you_mean(&nearest("job_", known)), "; did you mean job_1, job_2 or job_3?");
        assert_eq!(did_you_mean(&nearest("other", known)), "");
    }

    #[test]
    fn what_is_too_long_is_not_compared() {
        let long = "a".repeat(LONGEST + 1);
        assert_eq!(nearest(&long, [long.as_str()]), [""; 0]);
    }

    proptest! {
        /// The filter by letters never drops what the distance would take.
        #[test]
        fn letters_never_promise_more_edits_than_there_are(a in "[a-z_0-9]{0,20}", b in "[a-zA-Z_.:0-9-]{0,20}") {
            let edits = strsim::osa_distance(&a, &folded(&b));
            prop_assert!(least_edits(letters(&a), &b) <= edits);
        }
    }
}
