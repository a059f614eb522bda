//! Where rows come from, row by row, in either format.
//!
//! Not here: the formats (`csv`, `json`), what becomes of the rows (`load`).

use std::fmt;
use std::io;

use super::cell::Cell;

/// Bytes of one row's text, at most: where a quote is not closed, the rest of the input would be one row.
pub(super) const ROW_BYTES_MAX: u64 = 8 << 20;

/// Names of columns, at most: the store's own limit, and the key.
pub(super) const NAMES_MAX: usize = 4097;

/// Rows on their way in: constant memory, whatever their number.
pub(crate) trait Source {
    /// The names that rows have values for; JSON lines may add to them with any row.
    fn names(&self) -> &[String];

    /// Goes to the next row; none at the end.
    fn next(&mut self) -> Result<Option<Row>, Stop>;

    /// A value of the row at hand, by its name's place in [`Source::names`].
    fn cell(&self, index: usize) -> Cell<'_>;
}

/// Which row is at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its first line in the input, from 1.
    pub(crate) line: u64,
    /// How much of the input has been used.
    pub(crate) bytes_read: u64,
}

/// Why no more rows can be had.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The row that begins at this line is wrong.
    At { line: u64, what: String },
    /// The input itself.
    Unreadable(io::Error),
}

impl Stop {
    pub(crate) fn at(line: u64, what: impl Into<String>) -> Self {
        Stop::At { line, what: what.into() }
    }

    /// The row that begins at this line has no end within [`ROW_BYTES_MAX`].
    pub(super) fn too_long(line: u64) -> Self {
        let what =
            format!("the row that begins here is longer than {ROW_BYTES_MAX} bytes; is a quote not closed?");
        Stop::at(line, what)
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::At { line, what } => write!(f, "line {line}: {what}"),
            Stop::Unreadable(error) => write!(f, "could not be read: {error}"),
        }
    }
}
