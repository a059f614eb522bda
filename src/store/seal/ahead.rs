//! Row groups of the segment that is being written, encoded from what commits left in memory.
//!
//! When the segment is finished its blocks are there but for their places; sealing it is writing them. Each block is
//! decoded and compared with its values, as every other one is. One call does a bounded piece.
//!
//! Not here: what is in memory, and how much (`staging`), how values are encoded (`blocks`).

use super::blocks::{self, Raws, Target, Wrong};
use super::staging::{Block, Work};
use super::{Maintained, nulls_of};
use crate::codec::Tier;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::format::block::BlockPlace;
use crate::format::segment::Shape;
use crate::segment::active::Active;
use crate::segment::slot;
use crate::statistics::FloatSum;
use crate::store::sealing::Turn;
use crate::store::shared::Shared;

/// Encodes one piece, if there is one.
pub(super) async fn encode<D: Disk>(
    shared: &Shared<D>,
    turn: &Turn<'_, D::Lock>,
    active: &Active,
) -> Result<Maintained> {
    let Some(work) = shared.staging.work(active.number, active.first_row, &shared.schema) else {
        return Ok(Maintained::Nothing);
    };
    let (mut blocks, mut bytes) = (Vec::with_capacity(work.files.len()), 0);
    for file in &work.files {
        match block(shared, &work, *file) {
            Ok((block, raw_bytes)) => {
                blocks.push(block);
                bytes += raw_bytes;
            }
            Err((row, what)) => {
                // The raw files are asked when it is sealed.
                shared.staging.forget(active.number);
                let name = shared.schema.files()[*file].name();
                let row = work.rows().start - active.first_row + row as u64;
                let width = shared.schema.files()[*file].width().unwrap_or(0) as u64;
                let path = slot::path(&shared.dir, active.slot).join(name);
                return Err(Error::corrupt(&path, row * width, what));
            }
        }
    }
    let rows = work.rows();
    shared.staging.put(active.number, active.first_row, work, blocks);
    turn.check()?;
    // A caller's loop of such pieces waits for the disk, so that others get their turn.
    shared.disk.submit().await;
    Ok(Maintained::Encoded { segment: active.number, rows, bytes })
}

/// The block of one file's values, and how many bytes it was made of.
fn block<D: Disk>(shared: &Shared<D>, work: &Work, file: usize) -> Result<(Block, u64), Wrong> {
    let schema = &shared.schema;
    let raw = schema.files()[file];
    let Some(width) = raw.width() else { unreachable!("what is staged has a width") };
    let nulls = nulls_of(raw, schema).map(|nulls| work.bytes(nulls, 1));
    let (bytes, row) = (work.bytes(file, width), work.rows().start);
    let raws = Raws { bytes: &bytes, nulls: nulls.as_deref(), row };
    let (mut sum, nowhere) = (FloatSum::default(), BlockPlace { segment: 0, offset: 0 });
    let target = Target { tier: Tier::Fast, place: nowhere, store: &shared.id };
    let made = blocks::make(Shape::of(raw, schema), raws, target, &mut sum)?;
    Ok((Block::new(made, sum.lanes()), bytes.len() as u64))
}
