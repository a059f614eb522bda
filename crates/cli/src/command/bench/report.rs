//! Figures by name, as text and as JSON; the facts about the machine that they depend on.
//!
//! A figure that this version cannot produce is absent: never zero, never made up.
//!
//! Not here: measuring.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Figures in the order in which they were put.
#[derive(Default)]
pub(crate) struct Report {
    groups: Vec<(&'static str, Vec<(String, f64)>)>,
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

    /// A line for each figure.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (group, figures) in &self.groups {
            for (name, value) in figures {
                let _ = writeln!(text, "{:<34}{:>16}", format!("{group} {name}"), shown(*value));
            }
        }
        text
    }

    /// One object; `facts` are pairs of a name and a JSON value.
    pub(crate) fn json(&self, facts: &[(&str, String)]) -> String {
        let mut parts: Vec<String> =
            facts.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        for (group, figures) in &self.groups {
            let figures: Vec<String> =
                figures.iter().map(|(name, value)| format!("\"{name}\":{}", shown(*value))).collect();
            parts.push(format!("\"{group}\":{{{}}}", figures.join(",")));
        }
        format!("{{{}}}", parts.join(","))
    }
}

fn shown(value: f64) -> String {
    if value.abs() >= 1000.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

/// The value below which `share` of the times lie, in seconds.
pub(crate) fn quantile(times: &[Duration], share: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    at(&sorted, share).map_or(f64::NAN, |time| time.as_secs_f64())
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

/// The block device that holds `path`, in /sys.
fn device(path: &Path) -> Option<PathBuf> {
    let number = std::fs::metadata(path).ok()?.dev();
    let (major, minor) = ((number >> 8) & 0xFFF, (number & 0xFF) | ((number >> 12) & 0xFFF_FF00));
    let device = std::fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    // A partition's queue is its disk's.
    if device.join("queue").is_dir() { Some(device) } else { device.parent().map(Path::to_path_buf) }
}

/// Flushes that the device under `path` has completed, where the kernel counts them.
pub(crate) fn flushes(path: &Path) -> Option<u64> {
    let stat = std::fs::read_to_string(device(path)?.join("stat")).ok()?;
    stat.split_whitespace().nth(15)?.parse().ok()
}

/// What the figures depend on: file system, journal, write cache, FUA; each a JSON value.
pub(crate) fn facts(path: &Path) -> Vec<(&'static str, String)> {
    let read = |name: &str| {
        let text = std::fs::read_to_string(device(path)?.join("queue").join(name)).ok()?;
        Some(text.trim().to_owned())
    };
    let mut facts = Vec::new();
    if let Some((kind, source)) = mount(path) {
        facts.push(("filesystem", format!("\"{kind}\"")));
        if kind == "ext4" {
            let name = Path::new(&source).file_name().unwrap_or_default().to_string_lossy().into_owned();
            let name = if name == "root" { root_name(path).unwrap_or(name) } else { name };
            if let Ok(task) = std::fs::read_to_string(format!("/sys/fs/ext4/{name}/journal_task")) {
                facts.push(("journal", (task.trim() != "<none>").to_string()));
            }
        }
    }
    if let Some(cache) = read("write_cache") {
        facts.push(("write_cache", format!("\"{cache}\"")));
    }
    if let Some(fua) = read("fua") {
        facts.push(("fua", (fua == "1").to_string()));
    }
    facts
}

fn root_name(path: &Path) -> Option<String> {
    Some(device(path)?.file_name()?.to_string_lossy().into_owned())
}

/// Kind and source of the file system that holds `path`.
fn mount(path: &Path) -> Option<(String, String)> {
    let path = std::fs::canonicalize(path).ok()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let fields = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        Some((fields.next()?, fields.next()?, fields.next()?))
    });
    let holding = fields.filter(|(_, at, _)| path.starts_with(at)).max_by_key(|(_, at, _)| at.len())?;
    Some((holding.2.to_owned(), holding.0.to_owned()))
}
