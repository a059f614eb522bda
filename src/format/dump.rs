//! Any structure as annotated bytes: offset, hex, what it is.
//!
//! Made by the decoders themselves, so that a dump cannot say anything but what the code reads. The golden dumps of
//! docs/format.md are such, and what `inspect` shows. A store id is never shown.
//!
//! Not here: the fields (each decoder names its own).

use std::fmt::Write;

use super::block::{BlockPlace, SealedBlock};
use super::bytes::SealedBytes;
use super::cursor::{Cursor, Field};
use super::manifest::Manifest;
use super::record::{Place, decode_traced};
use super::segment::{self, Directory};
use super::sums::{Home, Sums};
use super::{Malformed, StoreId};
use crate::schema::Kind;

/// Bytes of one field that are shown.
const SHOWN: usize = 16;

/// Whether a dump shows the bytes beside what they mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hex {
    /// What they mean only.
    #[default]
    Hidden,
    /// Each field's bytes too, up to 16.
    Shown,
}

/// The lines of a record's dump.
pub(crate) fn record(bytes: &[u8], place: Place, store: &StoreId, hex: Hex) -> Result<String, Malformed> {
    let mut fields = Vec::new();
    decode_traced(bytes, place, store, Some(&mut fields))?;
    Ok(lines(&fields, hex))
}

/// The lines of a manifest's dump.
pub(crate) fn manifest(bytes: &[u8], generation: u64, hex: Hex) -> Result<String, Malformed> {
    let mut fields = Vec::new();
    Manifest::decode_traced(bytes, generation, Some(&mut fields))?;
    Ok(sheet(fields, bytes, hex))
}

/// The lines of a dump of a segment's sums.
pub(crate) fn sums(bytes: &[u8], home: Home, store: &StoreId, hex: Hex) -> Result<String, Malformed> {
    let mut fields = Vec::new();
    Sums::decode_traced(bytes, home, store, Some(&mut fields))?;
    Ok(sheet(fields, bytes, hex))
}

/// The lines of a dump of a sealed segment's directory, which ends a file of `file_bytes`.
pub(crate) fn directory(
    bytes: &[u8],
    home: segment::Home<'_>,
    file_bytes: u64,
    hex: Hex,
) -> Result<String, Malformed> {
    let mut fields = Vec::new();
    Directory::decode_traced(bytes, home, file_bytes, Some(&mut fields))?;
    Ok(sheet(fields, bytes, hex))
}

/// The lines of a dump of a block of fixed width: its head, and its vectors, which have been verified.
pub(crate) fn block(
    bytes: &[u8],
    kind: Kind,
    rows: usize,
    place: BlockPlace,
    store: &StoreId,
    hex: Hex,
) -> Result<String, Malformed> {
    let mut fields = Vec::new();
    let sealed = SealedBlock::parse_traced(bytes, kind, rows, place, store, Some(&mut fields))?;
    let vectors = bytes.get(sealed.head_bytes()..).unwrap_or_default();
    let mut from = Cursor::new(vectors, place.offset + sealed.head_bytes() as u64).traced(Some(&mut fields));
    let name = if sealed.block().pieces() == sealed.block().vectors() { "vector" } else { "page" };
    for index in 0..sealed.block().pieces() {
        sealed.verify(index, from.bytes(sealed.piece(index).len(), name)?)?;
    }
    Ok(lines(&fields, hex))
}

/// The lines of a dump of a block of bytes or text: its vectors and frames, which have been verified, and its head.
pub(crate) fn bytes_block(
    bytes: &[u8],
    head_bytes: usize,
    rows: usize,
    place: BlockPlace,
    store: &StoreId,
    hex: Hex,
) -> Result<String, Malformed> {
    let (content, head) = bytes.split_at(bytes.len().saturating_sub(head_bytes));
    let (mut fields, mut of_head) = (Vec::new(), Vec::new());
    let len = bytes.len() as u64;
    let sealed = SealedBytes::parse_traced(head, rows, len, place, store, Some(&mut of_head))?;
    let mut from = Cursor::new(content, place.offset).traced(Some(&mut fields));
    let pieces = sealed.block().pieces();
    for (index, bounds) in pieces.windows(2).enumerate() {
        let is_vector = index + sealed.block().frames() + 1 < pieces.len();
        let len = usize::try_from(bounds[1] - bounds[0]).unwrap_or(usize::MAX);
        let piece = from.bytes(len, if is_vector { "vector" } else { "frame" })?;
        sealed.verify(&(bounds[0]..bounds[1]), piece)?;
    }
    fields.append(&mut of_head);
    Ok(lines(&fields, hex))
}

/// With the padding, which a sheet's decoder has seen before the content.
fn sheet(mut fields: Vec<Field>, bytes: &[u8], hex: Hex) -> String {
    let shown = fields.last().map_or(0, |last| last.offset + last.bytes.as_ref().map_or(0, Vec::len) as u64);
    let padding = usize::try_from(shown).ok().and_then(|shown| bytes.get(shown..)).unwrap_or_default();
    if !padding.is_empty() {
        let head = padding[..padding.len().min(8)].to_vec();
        let value = format!("{} bytes", padding.len());
        fields.push(Field { offset: shown, bytes: Some(head), name: "padding".to_owned(), value });
    }
    lines(&fields, hex)
}

pub(super) fn lines(fields: &[Field], shown: Hex) -> String {
    let mut text = String::new();
    for field in fields {
        let mut hex = String::new();
        match &field.bytes {
            None => hex.push_str("................"),
            Some(bytes) => {
                bytes.iter().take(SHOWN).for_each(|byte| {
                    let _ = write!(hex, "{byte:02x}");
                });
                if bytes.len() > SHOWN {
                    hex.push_str("..");
                }
            }
        }
        let value = if field.value.is_empty() { String::new() } else { format!(": {}", field.value) };
        let _ = match shown {
            Hex::Shown => writeln!(text, "{:06x}  {hex:<34}  {}{value}", field.offset, field.name),
            Hex::Hidden => writeln!(text, "{:06x}  {}{value}", field.offset, field.name),
        };
    }
    text
}
