//! `tidelog get`: one row.
//!
//! Not here: how it is written (`output`).

use std::path::PathBuf;

use anyhow::Result;
use tidelog::disk::Disk;
use tidelog::{Options, Seek, Store};

use crate::disk::OnDisk;
use crate::exit::{Code, Fault};
use crate::input::Format;
use crate::key::Key;
use crate::output::{Keys, PreviousKey, Printer, Style};
use crate::schema::columns;

/// Print one row: the last one with this key
///
/// Ends with 1 if there is none.
#[derive(clap::Args)]
#[command(before_help = "example:  tidelog get trades 2014-04-01T12:30:00Z --at-or-before")]
pub(crate) struct Get {
    /// The store's directory
    dir: PathBuf,
    /// Its key: a number, or a time
    key: Key,
    /// If there is no such key, the last row before it
    #[arg(long)]
    at_or_before: bool,
    /// Print one object
    #[arg(long)]
    json: bool,
}

impl OnDisk for Get {
    async fn run<D: Disk>(self, disk: D) -> Result<()> {
        let store = Store::follow_on(disk, &self.dir, Options::default()).await?;
        let (schema, reader, snapshot) = (store.schema(), store.reader(), store.snapshot());
        let key = self.key.exact(schema.unit())?;
        let seek = if self.at_or_before { Seek::AtOrBefore(key) } else { Seek::Key(key) };
        let Some(position) = reader.seek(&snapshot, seek).await? else {
            let what = if self.at_or_before { "at or before the" } else { "with the" };
            return Err(Fault::new(Code::CheckFailed, format!("there is no row {what} key {key}")).into());
        };
        let columns = columns(schema, None)?;
        let format = if self.json { Format::Jsonl } else { Format::Csv };
        let mut printer = Printer::new(
            schema,
            &columns,
            &Style { format, keys: Keys::Raw, null: None },
            PreviousKey::Absent,
        )?;
        printer.batch(&reader.values(&snapshot, position.row, &columns).await?)?;
        printer.flush()
    }
}
