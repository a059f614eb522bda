//! `tidelog create`: a new store.
//!
//! Not here: stores whose columns are inferred (`ingest`).

use std::path::PathBuf;

use anyhow::Result;
use tidelog::disk::Disk;
use tidelog::{KeyUnit, Options, Schema, Writer};

use crate::disk::OnDisk;
use crate::exit::Fault;
use crate::key::Unit;
use crate::schema::ColumnArgument;

/// Make a new store
#[derive(clap::Args)]
#[command(
    before_help = "example:  tidelog create trades --column price:f64 --column 'venue:text?' --key-unit ns"
)]
pub(crate) struct Create {
    /// The store's directory, which is made if it is absent and must be empty
    dir: PathBuf,
    /// A column: its name, its kind (u64, i64, f64, u32, i32, f32, bool, bytes, text), a `?` if it takes nulls;
    /// once for each column
    #[arg(long = "column", value_name = "NAME:KIND[?]")]
    columns: Vec<ColumnArgument>,
    /// What keys count; nothing in particular unless told
    #[arg(long, value_enum, value_name = "UNIT")]
    key_unit: Option<Unit>,
}

impl OnDisk for Create {
    async fn run<D: Disk>(self, disk: D) -> Result<()> {
        let schema = Schema::new(self.columns.into_iter().map(|column| column.0));
        let schema = schema.map_err(|error| Fault::usage(error.to_string()))?;
        let schema = schema.key_unit(self.key_unit.map_or(KeyUnit::None, KeyUnit::from));
        Ok(Writer::create_on(disk, &self.dir, schema, Options::default()).await?.close().await?)
    }
}
