//! What a record of the log does to the state that a manifest describes: the same after a crash (`recover`) and
//! beside the writer (`follow`).
//!
//! Not here: finding records (`log::walk`).

use std::path::Path;

use crate::disk::PAGE;
use crate::error::{Error, Result};
use crate::format::CHUNK;
use crate::format::manifest::LogPosition;
use crate::format::record::{Form, Place, Record, Rows};
use crate::log;
use crate::schema::{Role, Schema};
use crate::segment::active::ActiveWriter;

/// What records move.
pub(super) struct Replay<'a> {
    pub(super) schema: &'a Schema,
    /// Pages in each log file.
    pub(super) pages: u32,
    pub(super) at: &'a mut LogPosition,
    pub(super) active: &'a mut ActiveWriter,
    pub(super) last_key: &'a mut u64,
}

impl Replay<'_> {
    /// Takes over the record that stands at `place` of the log file `path` and follows `at`.
    pub(super) fn apply(&mut self, path: &Path, place: Place, record: &Record<'_>) -> Result<()> {
        if let Some(rows) = &record.rows {
            check_rows(self.schema, self.active, *self.last_key, rows)
                .map_err(|what| Error::corrupt(path, place.offset(), what))?;
            self.active.apply(rows);
            *self.last_key = rows.last_key;
        }
        let header = record.header;
        let next = log::behind(place, header.pages, self.pages);
        let sequence = header.sequence + 1;
        *self.at =
            LogPosition { next, last: place, checksum: record.checksum, sequence, epoch: header.epoch };
        Ok(())
    }
}

/// Whether a record's rows continue what is there: a checksum says that the bytes are a writer's own, not that
/// the writer was right.
fn check_rows(
    schema: &Schema,
    active: &ActiveWriter,
    last_key: u64,
    rows: &Rows<'_>,
) -> Result<(), &'static str> {
    if rows.files.len() != active.files.len() {
        return Err("a record's files are not the schema's");
    }
    if rows.first_row != active.shared.first_row + active.rows || rows.last_key < last_key {
        return Err("a record's rows do not follow the ones before");
    }
    let first_key = rows.files[0].inline.first_chunk().map(|key| u64::from_le_bytes(*key));
    if rows.form == Form::Small && first_key.is_some_and(|key| key < last_key) {
        return Err("a record's keys go back behind the ones before");
    }
    let Some(total) = active.rows.checked_add(rows.rows) else {
        return Err("a record has more rows than can be counted");
    };
    for ((raw, state), change) in schema.files().iter().zip(&active.files).zip(&rows.files) {
        let small = change.end == state.end && change.inline_from() == state.len() && change.sums.is_empty();
        let chunk = u64::from(change.first_chunk);
        let large = change.inline_from() == change.end
            && change.inline.len() < PAGE
            && change.len >= state.len()
            && match change.sums.len() {
                0 => change.end == state.end,
                _ => change.end > state.end && chunk == state.end / CHUNK,
            };
        let fixed = raw.width().is_none_or(|width| total.checked_mul(width as u64) == Some(change.len));
        let follows = if rows.form == Form::Small { small } else { large };
        if !follows || !fixed || (raw.role == Role::Keys && rows.first_keys.len() != change.sums.len()) {
            return Err("a record's lengths do not continue the ones before");
        }
    }
    Ok(())
}
