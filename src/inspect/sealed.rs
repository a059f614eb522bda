//! Sealed segments and their blocks, as lines of text.
//!
//! Not here: what a block's bytes mean (docs/format.md).

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use crate::codec::block::codec_name;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::format::block::BlockPlace;
use crate::format::dump::{self, Hex};
use crate::format::entries::Entries;
use crate::format::manifest::Manifest;
use crate::format::segment::Spacing;
use crate::options::Options;
use crate::reader::holdings::Holdings;
use crate::reader::sealed::Opened;
use crate::schema::{ColumnId, Kind, RawFile, Role, Schema};
use crate::segment::Segment;
use crate::snapshot::Store;
use crate::statistics::Total;
use crate::store::follow::Follower;

/// The longest block that is shown field by field.
const SHOWN_BYTES_MAX: u64 = 16 << 20;

/// What is in a sealed segment.
pub(super) async fn show_segment<D: Disk>(
    disk: D,
    dir: &Path,
    manifest: Manifest,
    number: u64,
    hex: Hex,
) -> Result<String> {
    let (holdings, opened) = open(disk, dir, manifest, number).await?;
    let (sealed, directory) = (&opened.segment.sealed, &opened.directory);
    let mut text = String::new();
    let (rows, groups) = (&directory.rows, &directory.groups);
    let _ = writeln!(
        text,
        "segment {number} sealed: rows {} to {}, {} bytes",
        rows.start,
        rows.end - 1,
        sealed.bytes
    );
    let _ = writeln!(text, "keys: {} to {}", sealed.first_key, sealed.last_key);
    let even = groups.iter().filter(|group| group.spacing == Spacing::Even).count();
    let _ = writeln!(text, "row groups: {}, keys evenly spaced in {even}", groups.len());
    let schema = &holdings.shared.schema;
    for (file, raw) in schema.files().iter().enumerate().filter(|(_, raw)| raw.role != Role::Offsets) {
        let entries = holdings.entries(&opened, file).await?;
        let (bytes, values) = (directory.streams[file].bytes, rows.end - rows.start);
        let _ =
            write!(text, "{}: {bytes} bytes, {:.2} bits a value", name(*raw, schema), bits(bytes, values));
        for (codec, count) in codecs(&entries, groups.len()) {
            let _ = write!(text, ", {codec} in {count}");
        }
        text.push('\n');
    }
    if hex == Hex::Shown {
        let sheet = holdings.directory_sheet(&opened.segment).await?;
        let path = opened.segment.path(dir);
        let shown = dump::directory(&sheet, opened.home(&holdings), sealed.bytes, hex);
        text += &shown.map_err(|malformed| malformed.at(&path))?;
    }
    Ok(text)
}

/// One block: what the index says of it, and its vectors.
pub(super) async fn show_block<D: Disk>(
    disk: D,
    dir: &Path,
    manifest: Manifest,
    number: u64,
    (column, group): (Option<ColumnId>, usize),
    hex: Hex,
) -> Result<String> {
    let (holdings, opened) = open(disk, dir, manifest, number).await?;
    let schema = &holdings.shared.schema;
    let file = match column {
        None => 0,
        Some(id) if id.index() < schema.columns().len() => schema.places(id).data,
        Some(id) => {
            let what = format!("the store has {} columns, from 0", schema.columns().len()).into();
            return Err(Error::Schema { column: id.0.to_string(), index: 0, what });
        }
    };
    if group >= opened.directory.groups.len() {
        let max = opened.directory.groups.len() as u64;
        return Err(Error::Limit { what: "the row group, counted from 0,".into(), given: group as u64, max });
    }
    let entries = holdings.entries(&opened, file).await?;
    let (entry, range, rows) = (entries.get(group), entries.block(group), opened.directory.rows_of(group));
    let described = opened.directory.groups[group];
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}, row group {group}: rows {} to {}",
        name(schema.files()[file], schema),
        rows.start,
        rows.end - 1
    );
    let _ = writeln!(text, "keys: {} to {}", described.first_key, described.last_key);
    let (bytes, values) = (range.end - range.start, rows.end - rows.start);
    let _ = writeln!(
        text,
        "block: bytes {} to {}, {bytes} bytes, {:.2} bits a value",
        range.start,
        range.end,
        bits(bytes, values)
    );
    if let Some(coded) = entry.block {
        let _ = writeln!(text, "codec: {}, head of {} bytes", codec_name(coded.codec), coded.head_bytes);
    }
    if let Some(statistics) = entry.statistics {
        let kind = entries.shape().kind();
        match statistics.extremes {
            Some((min, max)) => {
                let _ = writeln!(text, "values: {} to {}", value(kind, min), value(kind, max));
            }
            None => text += "values: none that can be ordered\n",
        }
        let _ = match statistics.total {
            Total::Integer(sum) => writeln!(text, "sum: {sum}"),
            Total::Float(sum) => writeln!(text, "sum: {sum:?}, of the row group from its first row on"),
        };
    }
    let Some(coded) = entry.block.filter(|_| bytes <= SHOWN_BYTES_MAX) else { return Ok(text) };
    let bytes = holdings.bytes(&opened.segment, range.clone()).await?;
    let place = BlockPlace { segment: number, offset: range.start };
    let (kind, store) = (entries.shape().kind(), &holdings.shared.id);
    let rows = usize::try_from(values).unwrap_or(usize::MAX);
    let shown = match kind.width() {
        Some(_) => dump::block(&bytes, kind, rows, place, store, hex),
        None => dump::bytes_block(&bytes, coded.head_bytes as usize, rows, place, store, hex),
    };
    text += &shown.map_err(|malformed| malformed.at(&opened.segment.path(dir)))?;
    Ok(text)
}

async fn open<D: Disk>(
    disk: D,
    dir: &Path,
    manifest: Manifest,
    number: u64,
) -> Result<(Holdings<D>, Arc<Opened>)> {
    let generation = manifest.generation;
    let follower = Follower::at(disk, dir, Options::default(), manifest);
    let snapshot = Store::new(follower.shared.clone()).snapshot();
    let sealed = (0..snapshot.segments()).find_map(|index| match snapshot.segment(index) {
        Segment::Sealed(segment) if segment.sealed.number == number => Some(segment),
        _ => None,
    });
    let Some(segment) = sealed else {
        let what = format!("the newest manifest, {generation}, names no sealed segment {number}");
        return Err(Error::Unsupported { what: what.into() });
    };
    let holdings = Holdings::new(follower.shared.clone());
    let opened = holdings.open_sealed(segment).await?;
    Ok((holdings, opened))
}

/// Which codecs the blocks of a stream have, and how many have each.
fn codecs(entries: &Entries, groups: usize) -> Vec<(&'static str, usize)> {
    let mut found: Vec<(&'static str, usize)> = Vec::new();
    for coded in (0..groups).filter_map(|group| entries.get(group).block) {
        let codec = codec_name(coded.codec);
        match found.iter_mut().find(|(known, _)| *known == codec) {
            Some((_, count)) => *count += 1,
            None => found.push((codec, 1)),
        }
    }
    found
}

fn name(raw: RawFile, schema: &Schema) -> String {
    let column = raw.column.map(|id| &schema.columns()[id.index()]);
    match (raw.role, column) {
        (Role::Nulls, Some(column)) => format!("nulls of {:?}", column.name()),
        (_, Some(column)) => format!("{:?}, {}", column.name(), column.kind()),
        _ => "keys".to_owned(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for a person")]
fn bits(bytes: u64, values: u64) -> f64 {
    bytes as f64 * 8.0 / values.max(1) as f64
}

/// A value from its bits.
fn value(kind: Kind, bits: u64) -> String {
    use crate::codec::fixed::Fixed;
    match kind {
        Kind::I64 => i64::from_bits(bits).to_string(),
        Kind::I32 => i32::from_bits(bits).to_string(),
        Kind::F64 => format!("{:?}", f64::from_bits(bits)),
        Kind::F32 => format!("{:?}", <f32 as Fixed>::from_bits(bits)),
        _ => bits.to_string(),
    }
}
