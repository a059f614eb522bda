//! Values to bytes and back, as they stand in raw files: little-endian, fixed width, nothing else.
//!
//! Not here: compressed forms (a later codec each), which file a value goes to (`pending`, `scan`).

pub(crate) mod raw;
