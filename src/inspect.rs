//! What lies on disk, in the words of docs/format.md, for a person to read.
//!
//! Made by the decoders themselves, so that it cannot say anything but what the code reads. A store's id is shown
//! nowhere. Takes no lock and writes nothing; beside a live writer it shows some moment.
//!
//! Not here: verifying values (`check`).

use std::fmt::Write;
use std::path::Path;

use crate::disk::{Disk, File, Mode, PAGE, TRANSFER_BYTES_MAX, read_exact};
use crate::error::{Error, Result};
use crate::format::dump::{self, Hex};
use crate::format::manifest::{LogPosition, Manifest};
use crate::format::record::{Form, Header, Place, Record};
use crate::format::sums::Home;
use crate::log::walk::{Begun, Chain};
use crate::log::{self, LogFile};
use crate::schema::{ColumnId, RawFile, Role, Schema};
use crate::segment::slot;
use crate::store::names;
use crate::store::newest;

mod sealed;

/// The longest file that is shown whole: above any that a store's limits allow.
const BYTES_MAX: u64 = 1 << 30;

/// What is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inspect {
    /// The newest manifest in short: segments, slots, the log's position.
    Store,
    /// The newest manifest, field by field.
    Manifest,
    /// Each record that was begun in the log: a line; with bytes, field by field.
    Log,
    /// The files of a slot, and its sums if the segment in it is finished.
    Slot(u32),
    /// What is in a sealed segment, by its number: row groups, streams, codecs, bits a value; with bytes, its directory.
    Segment(u64),
    /// One block of a sealed segment.
    Block {
        /// The segment's number.
        segment: u64,
        /// Whose values; none: the keys.
        column: Option<ColumnId>,
        /// Which row group of the segment, from 0.
        group: usize,
    },
}

/// Shows a part of the store in `dir`, as lines of text.
///
/// # Errors
/// `NotAStore` if there is none; `Corrupt` if what is shown is damaged, or nothing that the manifest names;
/// `Version` if a newer tidelog wrote it; `Io`, `Unsupported`.
pub async fn inspect_on<D: Disk>(disk: D, dir: impl AsRef<Path>, what: Inspect, hex: Hex) -> Result<String> {
    let dir = dir.as_ref();
    let manifest = newest::newest(&disk, dir).await?;
    match what {
        Inspect::Store => Ok(in_short(&manifest)),
        Inspect::Manifest => {
            let path = dir.join(names::manifest(manifest.generation));
            let bytes = whole(&disk, &path).await?;
            dump::manifest(&bytes, manifest.generation, hex).map_err(|malformed| malformed.at(&path))
        }
        Inspect::Log => show_log(&disk, dir, &manifest, hex).await,
        Inspect::Slot(number) => show_slot(&disk, dir, &manifest, number, hex).await,
        Inspect::Segment(number) => sealed::show_segment(disk, dir, manifest, number, hex).await,
        Inspect::Block { segment, column, group } => {
            sealed::show_block(disk, dir, manifest, segment, (column, group), hex).await
        }
    }
}

/// A file, whole pages of it.
async fn whole<D: Disk>(disk: &D, path: &Path) -> Result<Vec<u8>> {
    let read = async {
        let file = disk.open(path, Mode::Read).await?;
        let len = file.len().await?.min(BYTES_MAX) / PAGE as u64 * PAGE as u64;
        let mut bytes = Vec::new();
        for offset in (0..len).step_by(TRANSFER_BYTES_MAX) {
            let part = usize::try_from(len - offset).unwrap_or(usize::MAX).min(TRANSFER_BYTES_MAX);
            bytes.extend_from_slice(&read_exact(&file, offset, part).await?);
        }
        file.close().await?;
        Ok(bytes)
    };
    read.await.map_err(|error| Error::io("read", path, error))
}

fn in_short(manifest: &Manifest) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "manifest generation: {}", manifest.generation);
    let _ = writeln!(text, "pages of each log file: {}", manifest.log.pages);
    if let Some(LogPosition { next, last, sequence, epoch, .. }) = manifest.log.at {
        let name = log::NAMES[usize::from(next.file)];
        let _ =
            writeln!(text, "position: {name} page {}, next sequence {sequence}, epoch {epoch}", next.page);
        let _ = writeln!(text, "last record: {name} page {}", last.page);
    }
    for segment in &manifest.sealed {
        let _ = writeln!(
            text,
            "segment {} sealed: rows {} to {}, keys {} to {}, {} bytes",
            segment.number,
            segment.first_row,
            segment.first_row + segment.rows - 1,
            segment.first_key,
            segment.last_key,
            segment.bytes,
        );
    }
    for segment in &manifest.finished {
        let _ = writeln!(
            text,
            "segment {} finished: slot {}, rows {} to {}, keys {} to {}, {} bytes",
            segment.number,
            segment.slot,
            segment.first_row,
            segment.first_row + segment.rows - 1,
            segment.first_key,
            segment.last_key,
            segment.lengths.iter().sum::<u64>(),
        );
    }
    if let Some(active) = &manifest.active {
        let in_files: u64 = active.files.iter().map(|file| file.end).sum();
        let tails: usize = active.files.iter().map(|file| file.tail.len()).sum();
        let _ = writeln!(
            text,
            "segment {} active: slot {}, {} rows from {} on, {in_files} bytes in files, {tails} in tails",
            active.number, active.slot, active.rows, active.first_row,
        );
    }
    if let Some(note) = &manifest.note {
        let _ = writeln!(text, "note: {} bytes", note.len());
    }
    text
}

async fn show_log<D: Disk>(disk: &D, dir: &Path, manifest: &Manifest, hex: Hex) -> Result<String> {
    let Some(at) = manifest.log.at else {
        return Ok("the first manifest names no log\n".to_owned());
    };
    let (pages, store) = (manifest.log.pages, &manifest.store);
    let files = log::open_to_read(disk, dir).await?;
    let shown = async {
        let begun = Begun::find(&files, pages, store).await?;
        let mut chain = Chain::new(&files, pages, store);
        let mut text = String::new();
        for (place, header) in begun.headers() {
            let name = log::NAMES[usize::from(place.file)];
            let record = chain.record(*place).await?;
            let _ = writeln!(text, "{name} {}", line(*place, header, record.as_ref(), &at));
            if hex == Hex::Shown
                && record.is_some()
                && let Some(bytes) = chain.bytes(*place).await?
            {
                let path = &files[usize::from(place.file)].path;
                text += &dump::record(bytes, *place, store, hex).map_err(|malformed| malformed.at(path))?;
            }
        }
        Ok(text)
    };
    let shown = shown.await;
    close(files).await;
    shown
}

async fn close<F: File>(files: [LogFile<F>; 2]) {
    for log in files {
        // Nothing was written through it: whether closing fails concerns nobody.
        let _ = log.file.close().await;
    }
}

/// A record in one line.
fn line(place: Place, header: &Header, record: Option<&Record<'_>>, at: &LogPosition) -> String {
    let Header { pages, epoch, sequence, generation, .. } = header;
    let mut line = format!("page {}: record {sequence}", place.page);
    let _ = write!(line, ", {pages} pages, epoch {epoch}, manifest generation {generation}");
    match record {
        None => line += ", not whole",
        Some(Record { rows: None, note: None, .. }) => line += ", empty",
        Some(Record { rows, note, .. }) => {
            if let Some(rows) = rows {
                let form = if rows.form == Form::Small { "small" } else { "large" };
                let last = rows.first_row + rows.rows - 1;
                let _ =
                    write!(line, ", rows {} to {last} {form}, last key {}", rows.first_row, rows.last_key);
            }
            if let Some(note) = note {
                let _ = write!(line, ", note of {} bytes", note.len());
            }
        }
    }
    let relation = match () {
        () if place == at.last => "the last before the manifest",
        () if *sequence < at.sequence => "older than the manifest",
        () => "behind the manifest",
    };
    line + ", " + relation
}

/// A file of a slot, as the manifest names it.
struct Named {
    /// Bytes below D.
    end: u64,
    /// L.
    len: u64,
    /// Sums that the manifest itself holds.
    sums: Vec<u32>,
}

async fn show_slot<D: Disk>(
    disk: &D,
    dir: &Path,
    manifest: &Manifest,
    number: u32,
    hex: Hex,
) -> Result<String> {
    let path = slot::path(dir, number);
    let mut text = String::new();
    let finished = manifest.finished.iter().find(|segment| segment.slot == number);
    let active = manifest.active.as_ref().filter(|segment| segment.slot == number);
    let named: Vec<Named> = match (finished, active) {
        (Some(segment), _) => {
            let _ = writeln!(text, "slot {number}: segment {}, finished", segment.number);
            let named =
                |len: &u64| Named { end: len.next_multiple_of(PAGE as u64), len: *len, sums: Vec::new() };
            segment.lengths.iter().map(named).collect()
        }
        (_, Some(segment)) => {
            let _ = writeln!(text, "slot {number}: segment {}, active", segment.number);
            let files = segment.files.iter();
            let named = files.map(|file| Named {
                end: file.end,
                len: file.end + file.tail.len() as u64,
                sums: file.sums.clone(),
            });
            named.collect()
        }
        (None, None) => {
            let what = format!("the newest manifest, {}, names no such slot", manifest.generation);
            return Err(Error::NotAStore { path, what: what.into() });
        }
    };
    for (raw, named) in manifest.schema.files().iter().zip(&named) {
        text += &file_line(disk, &path.join(raw.name()), &manifest.schema, *raw, named).await?;
        if hex == Hex::Shown && !named.sums.is_empty() {
            let sums: Vec<String> = named.sums.iter().map(|sum| format!("{sum:08x}")).collect();
            let _ = writeln!(text, "  sums of chunks: {}", sums.join(" "));
        }
    }
    if let Some(segment) = finished {
        let (path, home) = (path.join("sums"), Home { segment: segment.number, slot: number });
        let bytes = whole(disk, &path).await?;
        let _ = writeln!(text, "sums: {} bytes", bytes.len());
        let sums = dump::sums(&bytes, home, &manifest.store, hex);
        text += &sums.map_err(|malformed| malformed.at(&path))?;
    }
    Ok(text)
}

async fn file_line<D: Disk>(
    disk: &D,
    path: &Path,
    schema: &Schema,
    raw: RawFile,
    named: &Named,
) -> Result<String> {
    let len = async {
        let file = disk.open(path, Mode::Read).await?;
        let len = file.len().await?;
        file.close().await?;
        Ok(len)
    };
    let space = len.await.map_err(|error| Error::io("open", path, error))?;
    let what = match raw.role {
        Role::Keys => "keys",
        Role::Fixed(_) | Role::Bytes => "values",
        Role::Offsets => "offsets",
        Role::Nulls => "nulls",
    };
    let column = raw.column.map(|id| &schema.columns()[id.index()]);
    let column = column.map(|column| format!(" of {:?}, {}", column.name(), column.kind()));
    let Named { end, len, .. } = named;
    Ok(format!(
        "{}: {what}{}; D {end}, L {len}, {space} bytes long\n",
        raw.name(),
        column.unwrap_or_default()
    ))
}
