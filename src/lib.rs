//! An embedded, thread-per-core, direct-I/O columnar time-series store.

mod appender;
mod codec;
pub mod disk;
mod error;
mod format;
mod log;
#[cfg(feature = "sim")]
pub mod mutant;
#[cfg(not(feature = "sim"))]
mod mutant;
mod options;
mod pending;
mod schema;
mod segment;
mod store;
mod value;
mod writer;

pub use appender::{Appender, Committer, OwnedValues};
pub use error::{Error, Result};
pub use options::{Durability, Options};
pub use pending::Pending;
pub use schema::{Column, ColumnId, Kind, KeyUnit, Nulls, Schema};
pub use store::recover::{Dropped, Recovery};
pub use value::{Value, Values};
pub use writer::{Commit, Writer};
