//! `tidelog ingest`: rows from a file or a pipe into a store.
//!
//! Not here: reading rows and committing them (`input`).

use std::io::{self, Write, stdout};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use tidelog::disk::Disk;
use tidelog::{Error, KeyUnit, Options, Schema, Seek, Writer};

use crate::disk::OnDisk;
use crate::exit::{Code, Fault, say};
use crate::input::{
    CsvRows, Format, Inferred, Input, JsonRows, KeyNumbers, Late, Load, Loaded, Settings, infer,
};
use crate::key::Unit;
use crate::progress::Progress;
use crate::seal;

/// Read rows from a file or standard input into a store, which is made if it is missing
///
/// A new store's columns are inferred from the first 10,000 rows (or 16 MiB, if those are fewer): whole numbers are
/// i64 (u64 where they are beyond it), decimals f64, true and false bool, everything else text; a column in which a
/// value is missing takes nulls. Keys that are times (RFC 3339, `2014-04-01 12:30:00.5`, `2014-04-01`; UTC unless
/// there is an offset) become nanoseconds since 1970, or what --key-unit says.
#[derive(clap::Args)]
#[command(before_help = "example:  tidelog ingest trades trades.csv")]
pub(crate) struct Ingest {
    /// The store's directory
    dir: PathBuf,
    /// The file; `-` or nothing is standard input
    file: Option<PathBuf>,
    /// How rows are written; by the file's name unless told, else csv
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The column that holds the key; the first unless told
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// What keys that are numbers count, and what a new store's keys count
    #[arg(long, value_enum, value_name = "UNIT")]
    key_unit: Option<Unit>,
    /// Rows in a commit (fewer where they hold more than 16 MiB)
    #[arg(long, value_name = "N", default_value_t = 65_536, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
    /// What to do with a row whose key is below the one before it
    #[arg(long, value_enum, default_value_t)]
    on_late: Late,
    /// What stands for a null in CSV; an empty cell unless told
    #[arg(long, value_name = "TOKEN")]
    null: Option<String>,
    /// Print the store's number of rows on standard output after each commit: so many rows are durable
    #[arg(long)]
    acknowledge: bool,
}

impl OnDisk for Ingest {
    async fn run<D: Disk>(self, disk: D) -> Result<()> {
        let begun = Instant::now();
        let mut input = Input::open(self.file.as_deref())?;
        let format = self.format.unwrap_or_else(|| Format::of(self.file.as_deref()));
        if self.null.is_some() && format == Format::Jsonl {
            return Err(Fault::usage("--null is for CSV; JSON lines have null").into());
        }
        let mut writer = self.open(disk, &mut input, format).await?;
        let loaded = self.load(&mut writer, input, format).await;
        let sealed = if loaded.is_ok() { seal::all(&mut writer).await.map(drop) } else { Ok(()) };
        // What was committed is committed; a store that is closed opens sooner.
        let closed = writer.close().await;
        let loaded = loaded?;
        sealed?;
        closed?;
        sum_up(&loaded, begun);
        Ok(())
    }
}

impl Ingest {
    /// Opens the store, or makes one for the input.
    async fn open<D: Disk>(&self, disk: D, input: &mut Input, format: Format) -> Result<Writer<D>> {
        match Writer::open_on(disk.clone(), &self.dir, Options::default()).await {
            Err(Error::NotAStore { .. }) => {}
            opened => return Ok(opened?),
        }
        let bytes = std::mem::replace(&mut input.bytes, Box::new(io::empty()));
        let inferred = infer(bytes, format, self.key.as_deref(), self.null.as_deref());
        let inferred = inferred.map_err(|stop| {
            Fault::new(Code::Input, format!("{}, {stop}; no store was made", input.name()))
        })?;
        let Inferred { columns, unit, bytes } = inferred;
        input.bytes = bytes;
        let unit = self.key_unit.map_or(unit, KeyUnit::from);
        let schema = Schema::new(columns)?.key_unit(unit);
        Ok(Writer::create_on(disk, &self.dir, schema, Options::default()).await?)
    }

    async fn load<D: Disk>(&self, writer: &mut Writer<D>, input: Input, format: Format) -> Result<Loaded> {
        let settings = Settings {
            key: self.key.clone(),
            numbers: KeyNumbers::new(self.key_unit, writer.schema().unit())?,
            batch_rows: usize::try_from(self.batch).unwrap_or(usize::MAX),
            late: self.on_late,
        };
        let store = writer.store();
        let last = store.reader().seek(&store.snapshot(), Seek::Last).await?;
        let (name, progress) = (input.name(), Progress::new(input.len));
        let mut acknowledges = self.acknowledge;
        let committed = |loaded: &Loaded| {
            progress.at(loaded.bytes, loaded.rows);
            // Nobody who stops listening keeps rows from being ingested.
            acknowledges = acknowledges && writeln!(stdout(), "{}", loaded.store_rows).is_ok();
            Ok(())
        };
        let load = Load::new(writer, last.map_or(0, |last| last.key), settings);
        match format {
            Format::Csv => match CsvRows::new(input.bytes, self.null.as_deref()) {
                Ok(rows) => load.run(rows, &name, committed).await,
                Err(stop) => Err(load.stopped(&name, stop)),
            },
            Format::Jsonl => {
                const BUFFER_BYTES: usize = 256 << 10;
                let rows = JsonRows::new(io::BufReader::with_capacity(BUFFER_BYTES, input.bytes));
                load.run(rows, &name, committed).await
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "rounded for a person anyway")]
fn sum_up(loaded: &Loaded, begun: Instant) {
    let seconds = begun.elapsed().as_secs_f64();
    let skipped = match loaded.skipped {
        0 => String::new(),
        skipped => format!("; {skipped} skipped because their keys went back"),
    };
    say(format_args!(
        "{} rows committed in {seconds:.2} s: {:.0} rows/s, {} bytes read{skipped}",
        loaded.rows,
        loaded.rows as f64 / seconds,
        loaded.bytes
    ));
}
