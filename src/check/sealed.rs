//! A sealed segment: directory, entries, and every block of every stream, decoded; what the index says of their values
//! is computed again.
//!
//! Not here: blocks themselves (`reader::sealed`, `reader::rows`).

use std::ops::Range;
use std::sync::Arc;

use super::report::{Damage, Part};
use crate::batch::{Data, Vector};
use crate::codec::block::Scratch;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::format::entries::Entries;
use crate::format::segment::Group;
use crate::reader::holdings::Holdings;
use crate::reader::rows::{Keys, Streams};
use crate::reader::sealed::Opened;
use crate::schema::ColumnId;
use crate::segment::SealedSegment;
use crate::statistics::{FloatSum, GROUP_BITS, Statistics, Total};

/// Checks a segment. Sums of floats go on from `sums`, one for each column, if those of the segments before are known.
///
/// # Errors
/// What is no damage.
pub(super) async fn check<D: Disk>(
    holdings: &Holdings<D>,
    segment: SealedSegment,
    sums: &mut [Option<FloatSum>],
) -> Result<Part> {
    let mut all = Part { bytes: segment.sealed.bytes, ..Part::default() };
    let rows = segment.rows.clone();
    let opened = match holdings.open_sealed(segment).await {
        Ok(opened) => opened,
        Err(error) => {
            // Nothing proves any other of its bytes.
            all.push(Damage { rows: Some(rows), ..Damage::of(error)? });
            sums.fill(None);
            return Ok(all);
        }
    };
    check_padding(holdings, &opened, &mut all).await?;
    check_keys(holdings, &opened, &mut all).await?;
    for (id, sum) in (0..).map(ColumnId).zip(sums) {
        check_column(holdings, &opened, id, sum, &mut all).await?;
    }
    Ok(all)
}

/// What lies between blocks, entries and directory is zero.
async fn check_padding<D: Disk>(holdings: &Holdings<D>, opened: &Opened, all: &mut Part) -> Result<()> {
    for gap in opened.directory.gaps(&holdings.shared.schema) {
        let found = match holdings.bytes(&opened.segment, gap.clone()).await {
            Ok(bytes) => bytes.iter().position(|byte| *byte != 0).map(|at| at as u64),
            Err(error) => {
                all.push(Damage { bytes: gap.end - gap.start, ..Damage::of(error)? });
                continue;
            }
        };
        if let Some(at) = found {
            let error = Error::corrupt(
                &opened.segment.path(&holdings.shared.dir),
                gap.start + at,
                "padding is not zero",
            );
            all.push(Damage::of(error)?);
        }
    }
    Ok(())
}

/// Keys as they are in their blocks, also where a reader computes them.
async fn check_keys<D: Disk>(holdings: &Holdings<D>, opened: &Opened, all: &mut Part) -> Result<()> {
    let entries = match holdings.entries(opened, 0).await {
        Ok(entries) => entries,
        Err(error) => {
            all.push(Damage { rows: Some(opened.segment.rows.clone()), ..Damage::of(error)? });
            return Ok(());
        }
    };
    for (group, described) in opened.directory.groups.iter().enumerate() {
        let rows = opened.directory.rows_of(group);
        match keys(holdings, opened, &entries, group).await {
            Ok(keys) if keys.is_sorted() && Group::of(&keys) == Some(*described) => {}
            Ok(_) => {
                let what = "the keys of a row group are not those that the directory says";
                let path = opened.segment.path(&holdings.shared.dir);
                let error = Error::corrupt(&path, entries.block(group).start, what);
                all.push(Damage { rows: Some(rows), ..Damage::of(error)? });
            }
            Err(error) => all.push(Damage { rows: Some(rows), ..Damage::of(error)? }),
        }
    }
    Ok(())
}

async fn keys<D: Disk>(
    holdings: &Holdings<D>,
    opened: &Opened,
    entries: &Entries,
    group: usize,
) -> Result<Vec<u64>> {
    let block = holdings.block(opened, entries, 0, group).await?;
    let rows = opened.directory.rows_of(group);
    let rows = usize::try_from(rows.end - rows.start).unwrap_or(usize::MAX);
    let mut keys = vec![0; rows];
    let decoded = block.decode(0, &mut Scratch::default(), &mut keys);
    decoded.map_err(|malformed| malformed.at(&opened.segment.path(&holdings.shared.dir)))?;
    Ok(keys)
}

/// Verifies the blocks of a row group that no reader needs: values that are all null.
async fn verify_unneeded<D: Disk>(holdings: &Holdings<D>, streams: &Streams, group: usize) -> Result<()> {
    for (index, stream) in streams.all.iter().enumerate() {
        if stream.entries.get(group).block.is_some() && !streams.needs(index, group) {
            holdings.block(&streams.opened, &stream.entries, stream.file, group).await?;
        }
    }
    Ok(())
}

async fn check_column<D: Disk>(
    holdings: &Holdings<D>,
    opened: &Arc<Opened>,
    id: ColumnId,
    sum: &mut Option<FloatSum>,
    all: &mut Part,
) -> Result<()> {
    let column = Some(holdings.shared.schema.columns()[id.index()].name().to_owned());
    let groups = opened.directory.groups.len();
    let streams = match Streams::load(
        holdings,
        Arc::clone(opened),
        &[id],
        Keys::Unwanted,
        0..groups,
        holdings.shared.options.reads_in_flight,
    )
    .await
    {
        Ok(streams) => streams,
        Err(error) => {
            all.push(Damage { rows: Some(opened.segment.rows.clone()), column, ..Damage::of(error)? });
            *sum = None;
            return Ok(());
        }
    };
    for group in 0..groups {
        let rows = opened.directory.rows_of(group);
        if sum.is_none() && rows.start >> GROUP_BITS << GROUP_BITS == rows.start {
            *sum = Some(FloatSum::default());
        }
        let read = async {
            verify_unneeded(holdings, &streams, group).await?;
            streams.read(holdings, group, &rows, Keys::Unwanted).await
        };
        let damaged = match read.await {
            Err(error) => Some(error),
            Ok(found) => found.columns.first().and_then(|(_, vector)| {
                let (entry, nulls) = streams.statistics(group);
                let counted = vector.nulls().map_or(0, |nulls| nulls.iter().filter(|null| **null).count());
                let same = statistics(vector, &rows, sum.as_mut())
                    .is_none_or(|found| entry.statistics.is_some_and(|known| is_same(known, found)));
                let what = "what the index says of a block's values is not so";
                let at = streams.block_start(0, group);
                let path = || opened.segment.path(&holdings.shared.dir);
                (!same || counted != usize::from(nulls)).then(|| Error::corrupt(&path(), at, what))
            }),
        };
        if let Some(error) = damaged {
            all.push(Damage { rows: Some(rows), column: column.clone(), ..Damage::of(error)? });
            *sum = None;
        }
    }
    if let Some(sum) = sum
        && streams.has_lanes()
        && !sum
            .lanes()
            .into_iter()
            .zip(streams.lanes())
            .all(|(one, other)| Total::Float(one).is_same(Total::Float(other)))
    {
        let what = "the sums that the next segment goes on from are not those of the values";
        let at = opened.directory.entries(holdings.shared.schema.places(id).data, &holdings.shared.schema);
        let error = Error::corrupt(&opened.segment.path(&holdings.shared.dir), at.start, what);
        all.push(Damage { column, ..Damage::of(error)? });
    }
    Ok(())
}

/// Of numbers; none where the sum of what came before is not known.
fn statistics(vector: &Vector, rows: &Range<u64>, sum: Option<&mut FloatSum>) -> Option<Statistics> {
    let (nulls, row) = (vector.nulls(), rows.start);
    let mut none = FloatSum::default();
    match (vector.data(), sum) {
        (Data::U64(values), _) => Some(Statistics::of(values, nulls, row, &mut none)),
        (Data::I64(values), _) => Some(Statistics::of(values, nulls, row, &mut none)),
        (Data::U32(values), _) => Some(Statistics::of(values, nulls, row, &mut none)),
        (Data::I32(values), _) => Some(Statistics::of(values, nulls, row, &mut none)),
        (Data::F64(values), Some(sum)) => Some(Statistics::of(values, nulls, row, sum)),
        (Data::F32(values), Some(sum)) => Some(Statistics::of(values, nulls, row, sum)),
        _ => None,
    }
}

/// Equal bit by bit: a sum may be a NaN.
fn is_same(one: Statistics, other: Statistics) -> bool {
    one.extremes == other.extremes && one.total.is_same(other.total)
}
