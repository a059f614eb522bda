//! `tidelog scan`: the rows of a key range.
//!
//! Not here: how rows are written (`output`).

use std::ops::Bound;
use std::path::PathBuf;

use anyhow::Result;
use tidelog::disk::Disk;
use tidelog::{KeyUnit, Options, Store};

use crate::disk::OnDisk;
use crate::exit::Fault;
use crate::key::Key;
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
    /// Take each row for the interval that it ends, from the key before it (behind that) to its own, and print those
    /// that meet the range behind --from, up to and with --to; each row says where its interval begins
    #[arg(long)]
    intervals: bool,
    #[command(flatten)]
    style: Style,
}

impl Scan {
    /// The range of keys; of rows as moments without its end, of rows as intervals without its beginning.
    fn range(&self, unit: KeyUnit) -> Result<(Bound<u64>, Bound<u64>), Fault> {
        let bound = |key: Option<Key>, bound: fn(u64) -> Bound<u64>| {
            let key = key.map(|key| if self.intervals { key.exact(unit) } else { key.bound(unit) });
            Ok(key.transpose()?.map_or(Bound::Unbounded, bound))
        };
        match self.intervals {
            true => Ok((bound(self.from, Bound::Excluded)?, bound(self.to, Bound::Included)?)),
            false => Ok((bound(self.from, Bound::Included)?, bound(self.to, Bound::Excluded)?)),
        }
    }
}

impl OnDisk for Scan {
    async fn run<D: Disk>(self, disk: D) -> Result<()> {
        let store = Store::follow_on(disk, &self.dir, Options::default()).await?;
        let (schema, reader) = (store.schema(), store.reader());
        let columns = columns(schema, self.columns.as_deref())?;
        let previous_key = if self.intervals { PreviousKey::Printed } else { PreviousKey::Absent };
        let mut printer = Printer::new(schema, &columns, &self.style, previous_key)?;
        let scan = reader.scan(&store.snapshot(), self.range(schema.unit())?);
        let scan = if self.intervals { scan.intervals() } else { scan };
        let scan = scan.columns(&columns).limit(self.limit.unwrap_or(u64::MAX));
        let mut scan = if self.reverse { scan.reverse() } else { scan };
        while let Some(batch) = scan.next().await? {
            printer.batch(&batch)?;
        }
        printer.flush()
    }
}
