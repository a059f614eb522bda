//! The names in a store's directory.
//!
//! Not here: names in a slot (`schema::RawFile`).

use std::ffi::{OsStr, OsString};

/// The file that is locked.
pub(crate) const LOCK: &str = "LOCK";

/// What a name in the directory means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Lock,
    /// `manifest-<generation>`
    Manifest(u64),
    /// `manifest-<generation>.tmp-<epoch>`
    Temporary,
    /// `log-a`, `log-b`
    Log,
    /// `raw-<slot>`
    Slot(u32),
    /// `<number>.segment`
    Segment(u64),
    /// Nothing of ours.
    Foreign,
}

/// `manifest-<generation>`
pub(crate) fn manifest(generation: u64) -> String {
    format!("manifest-{generation}")
}

/// `manifest-<generation>.tmp-<epoch>`
pub(crate) fn temporary(generation: u64, epoch: u64) -> String {
    format!("manifest-{generation}.tmp-{epoch}")
}

/// What `name` means.
pub(crate) fn parse(name: &OsStr) -> Name {
    let Some(name) = name.to_str() else { return Name::Foreign };
    if name == LOCK {
        return Name::Lock;
    }
    if crate::log::NAMES.contains(&name) {
        return Name::Log;
    }
    if let Some(rest) = name.strip_prefix("manifest-") {
        return match rest.split_once(".tmp-") {
            Some((generation, epoch)) if number(generation).is_some() && number(epoch).is_some() => {
                Name::Temporary
            }
            Some(_) => Name::Foreign,
            None => number(rest).filter(|generation| *generation > 0).map_or(Name::Foreign, Name::Manifest),
        };
    }
    if let Some(slot) = name.strip_prefix("raw-").and_then(number) {
        return u32::try_from(slot).map_or(Name::Foreign, Name::Slot);
    }
    match name.strip_suffix(".segment").and_then(number) {
        Some(number) => Name::Segment(number),
        None => Name::Foreign,
    }
}

/// A number as we write it: decimal, no sign, no leading zero.
fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// What a directory holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    /// Generations of manifests, newest last.
    pub(crate) manifests: Vec<u64>,
    pub(crate) temporaries: Vec<OsString>,
    pub(crate) slots: Vec<u32>,
    /// Numbers of sealed segments.
    pub(crate) segments: Vec<u64>,
    pub(crate) logs: Vec<OsString>,
    pub(crate) foreign: Vec<OsString>,
}

impl Listing {
    pub(crate) fn new(names: Vec<OsString>) -> Self {
        let mut listing = Self::default();
        for name in names {
            match parse(&name) {
                Name::Lock => {}
                Name::Manifest(generation) => listing.manifests.push(generation),
                Name::Temporary => listing.temporaries.push(name),
                Name::Slot(slot) => listing.slots.push(slot),
                Name::Segment(number) => listing.segments.push(number),
                Name::Log => listing.logs.push(name),
                Name::Foreign => listing.foreign.push(name),
            }
        }
        listing.manifests.sort_unstable();
        listing.slots.sort_unstable();
        listing.foreign.sort_unstable();
        listing
    }

    /// Whether there is anything that only a store has, beyond what an unfinished creation leaves.
    pub(crate) fn has_parts(&self) -> bool {
        !self.slots.is_empty() || !self.segments.is_empty() || !self.logs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_we_write_are_ours() {
        let cases = [
            ("LOCK", Name::Lock),
            ("manifest-1", Name::Manifest(1)),
            ("manifest-18446744073709551615", Name::Manifest(u64::MAX)),
            ("manifest-18446744073709551616", Name::Foreign),
            ("manifest-0", Name::Foreign),
            ("manifest-01", Name::Foreign),
            ("manifest-+1", Name::Foreign),
            ("manifest-2.tmp-7", Name::Temporary),
            ("manifest-2.tmp-", Name::Foreign),
            ("manifest-2~", Name::Foreign),
            ("log-a", Name::Log),
            ("log-c", Name::Foreign),
            ("raw-12", Name::Slot(12)),
            ("raw-4294967296", Name::Foreign),
            ("3.segment", Name::Segment(3)),
            ("lost+found", Name::Foreign),
        ];
        for (name, meaning) in cases {
            assert_eq!(parse(OsStr::new(name)), meaning, "{name}");
        }
    }
}
