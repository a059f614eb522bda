//! `tidelog stat`: what a store holds, and how much room that takes.
//!
//! Not here: counting it (the library).

use std::fs;
use std::io::{Write, stdout};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tidelog::disk::Disk;
use tidelog::{ColumnId, Encoding, Nulls, Options, Schema, Seek, SegmentState, Stats, Store};

use crate::disk::OnDisk;
use crate::key::unit_name;

/// Show what a store holds: schema, rows, key range, bytes per column, segments, log, memory
///
/// A writer may be at work meanwhile.
#[derive(clap::Args)]
#[command(before_help = "example:  tidelog stat /data/ticks --json")]
pub(crate) struct Stat {
    /// The store
    dir: PathBuf,
    /// Print one object with stable names
    #[arg(long)]
    json: bool,
}

/// What is printed.
struct Found {
    stats: Stats,
    /// Of sealed segments.
    encodings: Vec<Encoding>,
    /// First and last; none where there is no row.
    keys: Option<(u64, u64)>,
    /// Bytes of each log file; none before the first writer has made them.
    log_bytes: Option<u64>,
    /// Bytes that the store's files take on the device.
    device_bytes: u64,
}

impl OnDisk for Stat {
    async fn run<D: Disk>(self, disk: D) -> Result<()> {
        let store = Store::follow_on(disk, &self.dir, Options::default()).await?;
        let (snapshot, reader) = (store.snapshot(), store.reader());
        let first = reader.seek(&snapshot, Seek::First).await?;
        let last = reader.seek(&snapshot, Seek::Last).await?;
        let found = Found {
            stats: store.stats(),
            encodings: reader.encodings(&snapshot).await?,
            keys: first.zip(last).map(|(first, last)| (first.key, last.key)),
            log_bytes: fs::metadata(self.dir.join("log-a")).ok().map(|log| log.len()),
            device_bytes: device_bytes(&self.dir)
                .with_context(|| format!("could not look through {}", self.dir.display()))?,
        };
        let schema = store.schema();
        let text = if self.json { format!("{}\n", found.as_json(schema)) } else { found.as_text(schema) };
        Ok(stdout().write_all(text.as_bytes())?)
    }
}

/// Bytes that the files in a directory and in those below it take. A file that a writer removes meanwhile takes none.
fn device_bytes(directory: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        bytes += metadata.blocks() * 512;
        if metadata.is_dir() {
            bytes += device_bytes(&entry.path())?;
        }
    }
    Ok(bytes)
}

fn state_name(state: SegmentState) -> &'static str {
    match state {
        SegmentState::Active => "active",
        SegmentState::Sealed => "sealed",
        _ => "finished",
    }
}

/// Bytes of a column, or of the keys, by codec; `raw` are those of raw segments.
struct Codecs(Vec<(&'static str, u64, u64)>);

impl Codecs {
    fn of(found: &Found, column: Option<ColumnId>, raw: u64) -> Self {
        let sealed = found.encodings.iter().filter(|encoding| encoding.column == column);
        let sealed = sealed.map(|encoding| (encoding.codec, encoding.bytes, encoding.values));
        Self((raw > 0).then_some(("raw", raw, 0)).into_iter().chain(sealed).collect())
    }

    fn bytes(&self) -> u64 {
        self.0.iter().map(|(_, bytes, _)| bytes).sum()
    }

    fn as_json(&self) -> Value {
        self.0
            .iter()
            .map(|(codec, bytes, _)| ((*codec).to_owned(), json!(bytes)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    /// The one that takes the most bytes.
    fn most(&self) -> &'static str {
        self.0.iter().max_by_key(|(_, bytes, _)| *bytes).map_or("raw", |(codec, ..)| codec)
    }

    #[expect(clippy::cast_precision_loss, reason = "a figure for a person")]
    fn as_text(&self) -> String {
        let each = self.0.iter().map(|(codec, bytes, values)| match values {
            0 => format!("{bytes} bytes, {codec}"),
            values => {
                format!("{bytes} bytes, {codec}, {:.2} bits a value", *bytes as f64 * 8.0 / *values as f64)
            }
        });
        let text = each.collect::<Vec<_>>().join("; ");
        if text.is_empty() { "0 bytes, raw".to_owned() } else { text }
    }
}

impl Found {
    fn columns(&self, schema: &Schema) -> Vec<Codecs> {
        let ids = (0..).map(ColumnId).take(schema.columns().len()).zip(&self.stats.column_bytes);
        ids.map(|(id, raw)| Codecs::of(self, Some(id), *raw)).collect()
    }

    fn keys(&self) -> Codecs {
        Codecs::of(self, None, self.stats.keys_bytes)
    }
    fn as_json(&self, schema: &Schema) -> Value {
        let codecs = self.columns(schema);
        let columns = schema.columns().iter().zip(&codecs).map(|(column, codecs)| {
            json!({
                "name": column.name(),
                "kind": column.kind().to_string(),
                "nullable": column.nulls() == Nulls::Allowed,
                "bytes": codecs.bytes(),
                "codec": codecs.most(),
                "codecs": codecs.as_json(),
            })
        });
        let segments = self.stats.segments.iter().map(|segment| {
            json!({
                "number": segment.number,
                "slot": segment.slot,
                "first_row": segment.rows.start,
                "rows": segment.rows.end - segment.rows.start,
                "bytes": segment.bytes,
                "state": state_name(segment.state),
            })
        });
        json!({
            "rows": self.stats.rows,
            "first_key": self.keys.map(|(first, _)| first),
            "last_key": self.keys.map(|(_, last)| last),
            "key_unit": unit_name(schema.unit()),
            "keys_bytes": self.keys().bytes(),
            "columns": columns.collect::<Vec<_>>(),
            "segments": segments.collect::<Vec<_>>(),
            "log_bytes": self.log_bytes,
            "tail_bytes": self.stats.tail_bytes,
            "sums_bytes": self.stats.sums_bytes,
            "device_bytes": self.device_bytes,
        })
    }

    fn as_text(&self, schema: &Schema) -> String {
        let mut text = format!("rows      {}\n", self.stats.rows);
        let unit = unit_name(schema.unit()).map(|unit| format!(" {unit}")).unwrap_or_default();
        if let Some((first, last)) = self.keys {
            text += &format!("keys      {first} to {last}{unit}, {}\n", self.keys().as_text());
        }
        for (column, codecs) in schema.columns().iter().zip(self.columns(schema)) {
            let null = if column.nulls() == Nulls::Allowed { "?" } else { "" };
            text += &format!("column    {}:{}{null}, {}\n", column.name(), column.kind(), codecs.as_text());
        }
        for segment in &self.stats.segments {
            let state = state_name(segment.state);
            let rows = segment.rows.end - segment.rows.start;
            let number = segment.number;
            let place =
                segment.slot.map_or_else(|| format!("{number}.segment"), |slot| format!("raw-{slot}"));
            text +=
                &format!("segment   {number} in {place}, {state}: {rows} rows, {} bytes\n", segment.bytes);
        }
        if let Some(bytes) = self.log_bytes {
            text += &format!("log       2 files of {bytes} bytes\n");
        }
        let Stats { tail_bytes, sums_bytes, .. } = self.stats;
        text += &format!("memory    {tail_bytes} bytes of tails, {sums_bytes} of sums\n");
        text + &format!("on disk   {} bytes\n", self.device_bytes)
    }
}
