//! An embedded, thread-per-core, direct-I/O columnar time-series store.

pub mod disk;
mod error;
mod format;
mod options;
mod schema;

pub use error::{Error, Result};
pub use options::{Durability, Options};
pub use schema::{Column, ColumnId, Kind, KeyUnit, Nulls, Schema};
