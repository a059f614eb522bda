//! An embedded, thread-per-core, direct-I/O columnar time-series store.

mod appender;
mod batch;
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
mod reader;
mod scan;
mod schema;
mod seek;
mod segment;
mod snapshot;
mod store;
mod value;
mod writer;

pub use appender::{Appender, Committer, OwnedValues};
pub use batch::{Batch, Data, Vector};
pub use error::{Error, Result};
pub use options::{Durability, Options};
pub use pending::Pending;
pub use reader::{Reader, Slice};
pub use scan::Scan;
pub use schema::{Column, ColumnId, KeyUnit, Kind, Nulls, Schema};
pub use seek::{Position, Seek};
pub use snapshot::{Snapshot, Store};
pub use store::recover::{Dropped, Recovery};
pub use value::{Value, Values};
pub use writer::{Commit, Writer};
