//! Figures by name, as text and as JSON.
//!
//! A figure that this version cannot produce is absent: never zero, never made up.
//!
//! Not here: measuring, and the facts that figures depend on (`machine`).

use std::time::Duration;

use serde_json::{Map, Value};

/// Figures in the order in which they were put.
#[derive(Default)]
pub(crate) struct Report {
    groups: Vec<(&'static str, Vec<(String, f64)>)>,
    /// The longest single commit of all.
    longest_commit: Duration,
}

impl Report {
    /// Keeps a figure; a later one of the same name replaces it.
    pub(crate) fn put(&mut self, group: &'static str, name: &str, value: f64) {
        let group = match self.groups.iter().position(|(name, _)| *name == group) {
            Some(index) => &mut self.groups[index].1,
            None => {
                self.groups.push((group, Vec::new()));
                let last = self.groups.len() - 1;
                &mut self.groups[last].1
            }
        };
        match group.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => group.push((name.to_owned(), value)),
        }
    }

    /// Median and 99th percentile of `times`, in microseconds.
    pub(crate) fn time(&mut self, group: &'static str, prefix: &str, times: &[Duration]) {
        for (quantile_name, share) in [("p50_us", 0.5), ("p99_us", 0.99)] {
            let name = if prefix.is_empty() {
                quantile_name.to_owned()
            } else {
                format!("{prefix}_{quantile_name}")
            };
            self.put(group, &name, quantile(times, share) * 1e6);
        }
    }

    /// Keeps the longest single commit.
    pub(crate) fn commits(&mut self, times: &[Duration]) {
        self.longest_commit = times.iter().copied().fold(self.longest_commit, Duration::max);
    }

    /// One object: `facts`, then the figures by their groups.
    pub(crate) fn json(&self, facts: Map<String, Value>) -> Map<String, Value> {
        let mut all = facts;
        for (group, figures) in &self.groups {
            let figures = figures.iter().filter_map(|(name, value)| Some((name.clone(), shown(*value)?)));
            all.insert((*group).to_owned(), Value::Object(figures.collect()));
        }
        if !self.longest_commit.is_zero() {
            let longest = shown(self.longest_commit.as_secs_f64() * 1e3);
            all.extend(longest.map(|longest| ("longest_commit_ms".to_owned(), longest)));
        }
        all
    }
}

/// The same object, a line for each value.
pub(crate) fn text(report: &Map<String, Value>) -> String {
    let mut text = String::new();
    lines("", report, &mut text);
    text
}

fn lines(group: &str, figures: &Map<String, Value>, text: &mut String) {
    for (name, value) in figures {
        let name = if group.is_empty() { name.clone() } else { format!("{group} {name}") };
        match value {
            Value::Object(figures) => lines(&name, figures, text),
            Value::String(word) => *text += &format!("{name:<38}{word:>16}\n"),
            value => *text += &format!("{name:<38}{:>16}\n", value.to_string()),
        }
    }
}

/// Rounded as far as it means something; none where there is no figure.
fn shown(value: f64) -> Option<Value> {
    let text = if value.abs() >= 1000.0 { format!("{value:.0}") } else { format!("{value:.3}") };
    // No number at all is no JSON.
    serde_json::from_str(&text).ok()
}

/// The value below which `share` of the times lie, in seconds.
pub(crate) fn quantile(times: &[Duration], share: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    at(&sorted, share).map_or(f64::NAN, |time| time.as_secs_f64())
}

/// How far the middle half of `values` lies apart, as a share of the median.
pub(crate) fn spread(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = |share| at(&sorted, share).unwrap_or(f64::NAN);
    (at(0.75) - at(0.25)) / at(0.5)
}

/// The middle of `values`.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    at(&sorted, 0.5).unwrap_or(f64::NAN)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index within the slice")]
fn at<T: Copy>(sorted: &[T], share: f64) -> Option<T> {
    let index = (count(sorted.len().checked_sub(1)?) * share).round() as usize;
    sorted.get(index).copied()
}

/// A count as a float: exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(crate) fn count(count: usize) -> f64 {
    count as f64
}

/// As [`count`].
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(crate) fn whole(count: u64) -> f64 {
    count as f64
}
