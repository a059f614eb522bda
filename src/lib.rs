//! An embedded, thread-per-core, direct-I/O columnar time-series store.
//!
//! A **store** is a directory with one [`Writer`] and any number of readers. A **row** is a key (`u64`, never below
//! the one before, usually a time) and one value in each **column**; its **row number** is its address for ever.
//! Rows are **pending** (in memory) until a **commit** makes them durable, all or nothing, and then visible.
//!
//! ```
//! use tidelog::disk::Posix;
//! use tidelog::{Column, Kind, Options, Schema, Value, Writer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path().join("sensors");
//! # futures::executor::block_on(async {
//! let schema = Schema::new([Column::new("celsius", Kind::F64), Column::new("note", Kind::Text).nullable()])?;
//! let mut writer = Writer::create_on(Posix::default(), &dir, schema, Options::default()).await?;
//! writer.pending().append(1_700_000_000, &[Value::F64(21.5), Value::Text("window open")])?;
//! writer.pending().append(1_700_000_060, &[Value::F64(20.9), Value::Null])?;
//! assert_eq!(writer.commit().await?.rows, 0..2);
//!
//! let store = writer.store();
//! let (snapshot, reader) = (store.snapshot(), store.reader());
//! let mut scan = reader.scan(&snapshot, 1_700_000_030..).reverse().limit(10);
//! let batch = scan.next().await?.ok_or("one row is in the range")?;
//! assert_eq!(batch.keys(), [1_700_000_060]);
//! assert_eq!(batch.columns()[1].1.value(0), Some(Value::Null));
//! assert!(scan.next().await?.is_none());
//! writer.close().await?;
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! # Where to begin
//!
//! - **Writing**: [`Writer::create`], [`Writer::open`], [`Writer::pending`], [`Pending::append_batch`],
//!   [`Writer::commit`]. A commit may carry a note ([`Pending::note`]), up to 4 KiB of the caller's own state that is
//!   durable with its rows. [`Options`] holds every limit that can be set.
//! - **Reading**: [`Writer::store`] gives a [`Store`], which goes to any core; there, [`Store::snapshot`] and
//!   [`Store::reader`], and then [`Reader::scan`], [`Reader::seek`], [`Reader::values`], [`Reader::slices`].
//! - **Following**: [`Store::follow`] opens a store that another process writes, without a lock and without writing
//!   anything; [`Store::refresh`] looks again. All else is as in the writer's process.
//! - **Looking**: [`check()`] verifies every byte that an answer depends on, [`Store::stats`] says what is where,
//!   [`inspect_on`] shows what lies on disk.
//! - **Many callers**: [`Writer::share`] gives a cloneable [`Appender`] and a [`Committer`] that makes one commit of
//!   what has gathered.
//! - **Disks**: [`disk::Glommio`] (io_uring) unless told; [`disk::Posix`] for tools, other runtimes and containers
//!   without io_uring; with feature `sim` a simulated one, to crash what is built on top. Nothing here spawns a task
//!   or a thread but the disk itself: the caller's executor runs the futures.
//! - **Errors**: one [`Error`], which says what, where, and what to do. After an error other than `Full` from the first
//!   write of a commit on, the writer is poisoned; opening the store again recovers ([`Writer::recovery`]).
//!
//! What a commit promises, and what it assumes of the disk: docs/durability.md. The bytes: docs/format.md.

mod aggregate;
mod appender;
mod batch;
mod check;
mod codec;
mod condition;
pub mod disk;
mod error;
mod format;
mod inspect;
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
mod statistics;
mod stats;
mod store;
mod value;
mod writer;

pub use aggregate::{Aggregate, Sum, Window, Windows};
pub use appender::{Appender, Committer, OwnedValues};
pub use batch::{Batch, Data, Vector};
pub use check::{Checked, Damage, Notice, check, check_on};
pub use codec::Tier;
pub use error::{Error, Result};
pub use format::dump::Hex;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub use format::fuzz;
pub use inspect::{Inspect, inspect_on};
pub use options::{Durability, Options};
pub use pending::Pending;
pub use reader::{Reader, Slice};
pub use scan::Scan;
pub use schema::{Column, ColumnId, KeyUnit, Kind, Nulls, Schema};
pub use seek::{Position, Seek};
pub use snapshot::{Snapshot, Store};
pub use stats::{Encoding, SegmentState, SegmentStats, Stats};
pub use store::recover::{Dropped, Recovery};
pub use store::seal::{Maintain, Maintained};
pub use value::{Value, Values};
pub use writer::{Commit, Writer};

/// The code of README.md, compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
