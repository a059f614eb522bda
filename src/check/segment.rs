//! A raw segment: its checksums first, then keys and columns, some of them at a time.
//!
//! Not here: one file (`sweep`), what its bytes mean (`column`).

use futures::{StreamExt, TryStreamExt, stream};

use super::column::{check_column, check_keys};
use super::report::{Damage, Part};
use crate::disk::Disk;
use crate::error::Result;
use crate::reader::holdings::Holdings;
use crate::schema::ColumnId;
use crate::segment::read::RawSegment;

/// Columns that are looked at side by side, so that several reads are in flight.
const AT_ONCE: usize = 4;

/// Checks a segment.
///
/// # Errors
/// What is no damage.
pub(super) async fn check<D: Disk>(holdings: &Holdings<D>, segment: RawSegment) -> Result<Part> {
    let mut all = Part::default();
    let rows = segment.rows.clone();
    let loaded = match holdings.load(segment).await {
        Ok(loaded) => loaded,
        Err(error) => {
            // Nothing proves any of its files.
            all.push(Damage { rows: Some(rows), ..Damage::of(error)? });
            return Ok(all);
        }
    };
    let columns = (0..).take(holdings.shared.schema.columns().len()).map(ColumnId);
    let parts = columns.map(|id| check_column(holdings, &loaded, id));
    all.extend(check_keys(holdings, &loaded).await?);
    let mut parts = stream::iter(parts).buffered(AT_ONCE);
    while let Some(part) = parts.try_next().await? {
        all.extend(part);
    }
    Ok(all)
}
