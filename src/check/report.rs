//! What a check finds: damage, and what is harmless and worth a word.
//!
//! Not here: finding it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Damaged places that a report names one by one.
const DAMAGE_MAX: usize = 10_000;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// Committed rows, as far as manifest and log tell.
    pub rows: u64,
    /// Raw segments that the manifest names, the active one included.
    pub segments: u64,
    /// Bytes of raw files that were read and verified.
    pub bytes: u64,
    /// Every damaged place, one after another in a file as one.
    pub damage: Vec<Damage>,
    /// Damaged places beyond the first 10,000, which are only counted.
    pub damage_omitted: u64,
    /// What is harmless, and will go or can be removed.
    pub notices: Vec<Notice>,
}

impl Checked {
    /// Whether every byte that an answer depends on is as it was written.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.damage.is_empty()
    }

    pub(super) fn push(&mut self, damage: Damage) {
        if self.damage.len() < DAMAGE_MAX {
            self.damage.push(damage);
        } else {
            self.damage_omitted += 1;
        }
    }

    pub(super) fn extend(&mut self, part: Part) {
        self.bytes += part.bytes;
        part.damage.into_iter().for_each(|damage| self.push(damage));
        self.damage_omitted += part.omitted;
    }

    /// Takes down what an error says of damage.
    ///
    /// # Errors
    /// The error, if it is about something else.
    pub(super) fn take_down(&mut self, error: Error) -> Result<(), Error> {
        self.push(Damage::of(error)?);
        Ok(())
    }

    pub(super) fn notice(&mut self, path: PathBuf, offset: Option<u64>, what: impl Into<Cow<'static, str>>) {
        self.notices.push(Notice { path, offset, what: what.into() });
    }
}

/// Bytes that are not what was written: in which file, and what cannot be read because of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The file (the directory, where a file is missing that its name would not tell).
    pub path: PathBuf,
    /// The first byte of the damaged place.
    pub offset: u64,
    /// How many bytes from there on are in doubt; 0 where that is not known.
    pub bytes: u64,
    /// The column whose file it is; none for keys, checksums, manifest and log.
    pub column: Option<String>,
    /// The rows that cannot be read (in that column, if there is one); none where that is not known.
    pub rows: Option<Range<u64>>,
    /// What was expected there.
    pub what: Cow<'static, str>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is damaged at byte {}", self.path.display(), self.offset)?;
        if self.bytes > 0 {
            write!(f, " ({} bytes)", self.bytes)?;
        }
        write!(f, ": {}", self.what)?;
        if let Some(column) = &self.column {
            write!(f, "; column {column:?}")?;
        }
        if let Some(Range { start, end }) = &self.rows {
            write!(f, "; rows {start} to {}", end.saturating_sub(1))?;
        }
        Ok(())
    }
}

impl Damage {
    /// What an error says of damage.
    ///
    /// # Errors
    /// The error, if it is about something else.
    pub(super) fn of(error: Error) -> Result<Self, Error> {
        let (path, offset, what) = match error {
            Error::Corrupt { path, offset, what } => (path, offset, what),
            Error::Io { path, source, .. } if crate::disk::is_failing(&source) => {
                (path, 0, unreadable(&source))
            }
            other => return Err(other),
        };
        Ok(Self { path, offset, bytes: 0, column: None, rows: None, what })
    }
}

/// What to say of bytes that the device does not give back.
pub(super) fn unreadable(error: &std::io::Error) -> Cow<'static, str> {
    format!("the device does not give it back ({error}); copy what can be read to another one").into()
}

/// Something harmless.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// The file or directory.
    pub path: PathBuf,
    /// Where in it, if it is about a place.
    pub offset: Option<u64>,
    /// What it is.
    pub what: Cow<'static, str>,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            None => write!(f, "{}: {}", self.path.display(), self.what),
            Some(offset) => write!(f, "{} at byte {offset}: {}", self.path.display(), self.what),
        }
    }
}

/// What was found in one column, or in the keys, of one segment.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) bytes: u64,
    pub(super) damage: Vec<Damage>,
    pub(super) omitted: u64,
}

impl Part {
    pub(super) fn extend(&mut self, part: Part) {
        self.bytes += part.bytes;
        self.omitted += part.omitted;
        part.damage.into_iter().for_each(|damage| self.push(damage));
    }

    pub(super) fn push(&mut self, damage: Damage) {
        if self.damage.len() < DAMAGE_MAX {
            self.damage.push(damage);
        } else {
            self.omitted += 1;
        }
    }
}

/// Whether `damage` goes on where `before` ends, of the same kind: then `before` takes it in.
pub(super) fn joins(before: &mut Damage, path: &Path, bytes: &Range<u64>, what: &str) -> bool {
    let end = before.offset + before.bytes;
    let joins = before.bytes > 0 && before.path == path && end == bytes.start && before.what == what;
    if joins {
        before.bytes = bytes.end - before.offset;
    }
    joins
}
