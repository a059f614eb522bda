//! `tidelog scan`: the rows of a key range.
//!
//! Not here: how rows are written (`output`).

use std::path::PathBuf;

use anyhow::Result;
use tidelog::disk::Disk;
use tidelog::{Options, Store};

use crate::disk::OnDisk;
use crate::key::Key;
use crate::output::{Printer, Style};
use crate::schema::columns;

/// Print the rows whose keys are in a range
#[derive(clap::Args)]
#[command(
    before_help = "example:  tidelog scan trades --from 2014-04-01 --to 2014-04-02T12:00:00Z --columns price"
)]
pub(crate) struct Scan {
    /// The store's directory
    dir: PathBuf,
    /// The first key: a number, or a time; the first row unless told
    #[arg(long, value_name = "K")]
    from: Option<Key>,
    /// The key at which to stop, which is not printed any more: a number, or a time; never unless told
    #[arg(long, value_name = "K")]
    to: Option<Key>,
    /// Only these columns, in this order
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    columns: Option<Vec<String>>,
    /// At most so many rows
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// From the last row to the first
    #[arg(long)]
    reverse: bool,
    #[command(flatten)]
    style: Style,
}

impl OnDisk for Scan {
    async fn run<D: Disk>(self, disk: D) -> Result<()> {
        let store = Store::follow_on(disk, &self.dir, Options::default()).await?;
        let (schema, reader) = (store.schema(), store.reader());
        let columns = columns(schema, self.columns.as_deref())?;
        let bound = |key: Option<Key>| key.map(|key| key.bound(schema.unit())).transpose();
        let range = (bound(self.from)?.unwrap_or(0), bound(self.to)?);
        let mut printer = Printer::new(schema, &columns, &self.style)?;
        let snapshot = store.snapshot();
        let scan = match range {
            (from, Some(to)) => reader.scan(&snapshot, from..to),
            (from, None) => reader.scan(&snapshot, from..),
        };
        let scan = scan.columns(&columns).limit(self.limit.unwrap_or(u64::MAX));
        let mut scan = if self.reverse { scan.reverse() } else { scan };
        while let Some(batch) = scan.next().await? {
            printer.batch(&batch)?;
        }
        printer.flush()
    }
}
