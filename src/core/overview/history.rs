//! The last values of metrics that were read, within a bound in bytes. Time is an argument.

use std::collections::{HashMap, VecDeque};

use crate::core::{explain::Api, memory::allocated};

/// How many values of a metric are kept.
pub const POINTS: usize = 60;

/// The least time between two values, in seconds. A value that comes sooner replaces the last one, so that the values of a metric
/// span ten minutes, whatever its readers do.
const PITCH_S: i64 = 10;

/// A metric that was not read for so many seconds is replaced by another.
const IDLE_S: i64 = 300;

/// The least time between two searches for metrics to replace, in seconds.
const SWEEP_S: i64 = 10;

/// The longest part of a topic that is kept, in characters.
const LONGEST: usize = 120;

/// What a metric takes beside its texts and values: its place in the table, and the sizes of its parts.
const PLACE_BYTES: usize = 2 * (size_of::<Topic>() + size_of::<History>());

/// What was read.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Topic {
    /// The API.
    pub api: Api,
    /// The namespace; empty for objects that are in none.
    pub namespace: String,
    /// The objects: a resource with a name or a selector; empty for external metrics.
    pub objects: String,
    /// The metric.
    pub metric: String,
    /// Which of its series.
    pub selector: String,
}

impl Topic {
    /// Shortens what a client may send at any length.
    #[must_use]
    pub fn short(mut self) -> Self {
        for text in [&mut self.namespace, &mut self.objects, &mut self.metric, &mut self.selector] {
            if let Some((end, _)) = text.char_indices().nth(LONGEST) {
                text.truncate(end);
                text.push('…');
            }
            text.shrink_to_fit();
        }
        self
    }

    fn weight(&self) -> usize {
        let texts = [&self.namespace, &self.objects, &self.metric, &self.selector];
        let texts: usize = texts.iter().map(|text| allocated(text.capacity())).sum();
        PLACE_BYTES + allocated(POINTS * size_of::<i64>()) + texts
    }
}

/// The values of one read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seen {
    /// The mean of the objects' values, or the sum of an external metric's, in thousandths.
    pub milli: i64,
    /// How many values there were.
    pub values: usize,
}

impl Seen {
    /// The mean of the values of objects; 0 where there are none.
    pub fn mean(milli: impl Iterator<Item = i64>) -> Self {
        let (sum, values) = total(milli);
        let mean = i128::try_from(values).ok().and_then(|values| sum.checked_div(values));
        Self { milli: clamped(mean.unwrap_or_default()), values }
    }

    /// The sum of the values of an external metric, as an autoscaler adds them.
    pub fn sum(milli: impl Iterator<Item = i64>) -> Self {
        let (sum, values) = total(milli);
        Self { milli: clamped(sum), values }
    }
}

fn total(milli: impl Iterator<Item = i64>) -> (i128, usize) {
    milli.fold((0, 0), |(sum, values), milli| (sum + i128::from(milli), values + 1))
}

fn clamped(milli: i128) -> i64 {
    i64::try_from(milli).unwrap_or(if milli < 0 { i64::MIN } else { i64::MAX })
}

/// The last values of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// The values in thousandths, the last one last.
    pub points: VecDeque<i64>,
    /// How many values the last read had.
    pub values: usize,
    /// When it was last read, in seconds since the epoch.
    pub read_s: i64,
    /// When the last point began.
    point_s: i64,
}

impl History {
    fn note(&mut self, seen: Seen, now_s: i64) {
        if now_s.saturating_sub(self.point_s) < PITCH_S {
            self.points.pop_back();
        } else {
            self.point_s = now_s;
        }
        if self.points.len() >= POINTS {
            self.points.pop_front();
        }
        self.points.push_back(seen.milli);
        (self.values, self.read_s) = (seen.values, now_s);
    }
}

/// The last values of all metrics that were read. Those of one namespace take a quarter of the room at the most; where there is
/// no room, new metrics are left out until others are not read any more.
#[derive(Debug)]
pub struct Histories {
    most_bytes: usize,
    bytes: usize,
    of_topics: HashMap<Topic, History>,
    bytes_of: HashMap<String, usize>,
    swept_s: i64,
}

impl Histories {
    /// None yet. They may take so many bytes.
    pub fn new(most_bytes: usize) -> Self {
        Self {
            most_bytes,
            bytes: 0,
            of_topics: HashMap::new(),
            bytes_of: HashMap::new(),
            swept_s: i64::MIN,
        }
    }

    /// A metric was read.
    pub fn note(&mut self, topic: Topic, seen: Seen, now_s: i64) {
        let topic = topic.short();
        if let Some(history) = self.of_topics.get_mut(&topic) {
            history.note(seen, now_s);
            return;
        }
        let weight = topic.weight();
        if !self.has_room(&topic.namespace, weight) {
            self.sweep(now_s);
            if !self.has_room(&topic.namespace, weight) {
                return;
            }
        }
        self.bytes += weight;
        *self.bytes_of.entry(topic.namespace.clone()).or_default() += weight;
        let mut history = History {
            points: VecDeque::with_capacity(POINTS),
            values: 0,
            read_s: now_s,
            point_s: i64::MIN,
        };
        history.note(seen, now_s);
        self.of_topics.insert(topic, history);
    }

    fn has_room(&self, namespace: &str, weight: usize) -> bool {
        let own = self.bytes_of.get(namespace).copied().unwrap_or_default();
        self.bytes + weight <= self.most_bytes && own + weight <= self.most_bytes / 4
    }

    /// Forgets what is not read any more; looking takes a while, and so is not done for everybody who reads something new.
    fn sweep(&mut self, now_s: i64) {
        if now_s.saturating_sub(self.swept_s) < SWEEP_S {
            return;
        }
        self.swept_s = now_s;
        let Self { bytes, of_topics, bytes_of, .. } = self;
        of_topics.retain(|topic, history| {
            let is_kept = now_s.saturating_sub(history.read_s) < IDLE_S;
            if !is_kept {
                let weight = topic.weight();
                *bytes = bytes.saturating_sub(weight);
                if let Some(own) = bytes_of.get_mut(&topic.namespace) {
                    *own = own.saturating_sub(weight);
                }
            }
            is_kept
        });
        bytes_of.retain(|_, bytes| *bytes > 0);
    }

    /// All of them, in the order of namespace, metric and objects.
    pub fn sorted(&self) -> Vec<(&Topic, &History)> {
        let mut all: Vec<_> = self.of_topics.iter().collect();
        let key = |topic: &'_ Topic| {
            let Topic { api, namespace, objects, metric, selector } = topic.clone();
            (namespace, metric, objects, selector, matches!(api, Api::External))
        };
        all.sort_by_cached_key(|(topic, _)| key(topic));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(namespace: &str, metric: &str) -> Topic {
        Topic {
            api: Api::Custom,
            namespace: namespace.to_owned(),
            objects: "pods".to_owned(),
            metric: metric.to_owned(),
            selector: String::new(),
        }
    }

    fn seen(milli: i64) -> Seen {
        Seen { milli, values: 1 }
    }

    #[test]
    fn values_are_ten_seconds_apart_and_the_oldest_go() {
        let mut all = Histories::new(1 << 20);
        for at in 0..1_000 {
            all.note(topic("n", "m"), seen(at), at);
        }
        let (_, history) = all.sorted()[0];
        assert_eq!(history.points.len(), POINTS);
        assert_eq!(history.points.iter().rev().take(3).collect::<Vec<_>>(), [&999, &989, &979]);
        assert_eq!((history.read_s, history.values), (999, 1));
    }

    #[test]
    fn there_is_room_for_so_many_and_each_namespace_has_a_quarter() {
        let most = 100 * topic("a", "m").weight();
        let mut all = Histories::new(most);
        let count = |all: &Histories, namespace: &str| {
            all.sorted().iter().filter(|(topic, _)| topic.namespace == namespace).count()
        };
        for number in 0..1_000 {
            all.note(topic("a", &number.to_string()), seen(1), 0);
        }
        assert!((20..=25).contains(&count(&all, "a")), "{}", count(&all, "a"));
        for namespace in ["b", "c", "d", "e", "f"] {
            for number in 0..30 {
                all.note(topic(namespace, &number.to_string()), seen(1), 100);
            }
        }
        assert!(all.bytes <= most);
        assert_eq!(count(&all, "f"), 0);
        // What nobody has read for a while makes room.
        all.note(topic("f", "0"), seen(1), IDLE_S);
        assert_eq!((count(&all, "a"), count(&all, "f")), (0, 1));
        let bytes: usize = all.sorted().iter().map(|(topic, _)| topic.weight()).sum();
        assert_eq!((all.bytes, all.bytes_of.values().sum()), (bytes, bytes));
    }

    #[test]
    fn many_values_are_one() {
        let values = || [i64::MAX, i64::MAX, 1, 0].into_iter();
        assert_eq!(Seen::sum(values()), Seen { milli: i64::MAX, values: 4 });
        assert_eq!(Seen::mean(values()), Seen { milli: i64::MAX / 2, values: 4 });
        assert_eq!(Seen::mean([].into_iter()), Seen { milli: 0, values: 0 });
    }

    #[test]
    fn long_texts_are_cut_between_letters() {
        let mut all = Histories::new(1 << 20);
        all.note(topic("n", &"é".repeat(10_000)), seen(1), 0);
        let (topic, _) = all.sorted()[0];
        assert_eq!(topic.metric.chars().count(), LONGEST + 1);
    }
}
