//! `tidelog scan`: the rows of a key range.
//!
//! Not here: how rows are written (`output`).

use std::path::PathBuf;

use anyhow::Result;
use tidelog::disk::Disk;
use tidelog::{Options, Store};

use crate::disk::OnDisk;
use crate::key::KeyRange;
use crate::output::{PreviousKey, Printer, Style};
use crate::schema::columns;

/// Print the rows whose keys are in a range
#[derive(clap::Args)]
#[command(
    before_help = "example:  tidelog scan trades --from 2014-04-01 --to 2014-04-02T12:00:00Z --columns price"
)]
pub(crate) struct Scan {
    /// The store's directory
    dir: PathBuf,
    #[command(flatten)]
    range: KeyRange,
    /// Only these columns, in this order
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    columns: Option<Vec<String>>,
    /// At most so many rows
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// From the last row to the first
    #[arg(long)]
    reverse: bool,
    /// Take each row for the interval that it ends, from the key before it (behind that) to its own, and print those
    /// that meet the range behind --from, up to and with --to; each row says where its interval begins
    #[arg(long)]
    intervals: bool,
    #[command(flatten)]
    style: Style,
}

impl OnDisk for Scan {
    async fn run<D: Disk>(self, disk: D) -> Result<()> {
        let store = Store::follow_on(disk, &self.dir, Options::default()).await?;
        let (schema, reader) = (store.schema(), store.reader());
        let columns = columns(schema, self.columns.as_deref())?;
        let previous_key = if self.intervals { PreviousKey::Printed } else { PreviousKey::Absent };
        let mut printer = Printer::new(schema, &columns, &self.style, previous_key)?;
        let (unit, snapshot) = (schema.unit(), store.snapshot());
        let scan = match self.intervals {
            true => reader.scan(&snapshot, self.range.bounds_of_intervals(unit)?).intervals(),
            false => reader.scan(&snapshot, self.range.bounds(unit)?),
        };
        let scan = scan.columns(&columns).limit(self.limit.unwrap_or(u64::MAX));
        let mut scan = if self.reverse { scan.reverse() } else { scan };
        while let Some(batch) = scan.next().await? {
            printer.batch(&batch)?;
        }
        printer.flush()
    }
}
