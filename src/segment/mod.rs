//! Raw segments: rows in per-column files, uncompressed.
//!
//! `tail` holds what is not in the files yet, `active` is the one segment that grows, as readers and the writer
//! see it, `slot` are its files, `flush` brings whole pages into them, `read` reads any raw segment back.
//!
//! Invariant: a page of a raw file is written once, when it is full (or padded, at the roll), and only bytes
//! below D are ever read from the file.
//!
//! Not here: when a segment is finished or a commit large (`store`), the log.

pub(crate) mod active;
pub(crate) mod flush;
pub(crate) mod read;
pub(crate) mod slot;
pub(crate) mod tail;
