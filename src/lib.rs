//! An embedded, thread-per-core, direct-I/O columnar time-series store.

pub mod disk;
mod error;

pub use error::{Error, Result};
