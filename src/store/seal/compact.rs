//! Compacting: sealed segments, one or several that follow each other, become one that is denser.
//!
//! Like sealing, but that the rows come from sealed files, and the new one has a number of its own: the old files stay
//! as they are, named and read, until the manifest that names the new one is durable; the writer removes each when no
//! snapshot holds it any more.
//!
//! Not here: making the file (`seal`), publishing and removing (`core`).

use std::ops::Range;
use std::sync::Arc;

use super::older::Older;
use super::origin::Origin;
use super::{Maintained, Making};
use crate::codec::Tier;
use crate::disk::Disk;
use crate::error::Result;
use crate::format::manifest::Sealed;
use crate::options::Options;
use crate::store::shared::Shared;

/// Rewrites what is worth it first, if anything is and nobody is at work.
pub(crate) async fn compact<D: Disk>(shared: &Shared<D>, tier: Tier) -> Result<Maintained> {
    let Some(turn) = shared.sealing.turn()? else { return Ok(Maintained::Nothing) };
    // Behind the turn: whoever had it before has published.
    let version = shared.version();
    let Some((chosen, tier)) = choose(&version.sealed, tier, &shared.options) else {
        return Ok(Maintained::Nothing);
    };
    let (before, run) = (&version.sealed[..chosen.start], &version.sealed[chosen]);
    let mut olds = Vec::with_capacity(run.len());
    for sealed in run {
        turn.check()?;
        olds.push(Older::open(shared, sealed).await?);
    }
    let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(Maintained::Nothing) };
    let making = Making {
        shared,
        turn: &turn,
        number: turn.number(first.number),
        rows: first.first_row..last.first_row + last.rows,
        keys: (first.first_key, last.last_key),
        before: before.last(),
        origin: Origin::Sealed(olds),
        tier,
    };
    let Some(sealed) = making.make().await? else { return Ok(Maintained::Nothing) };
    turn.check()?;
    let did = Maintained::Compacted {
        segments: run.len() as u64,
        segment: sealed.number,
        rows: sealed.rows,
        bytes_before: run.iter().map(|sealed| sealed.bytes).sum(),
        bytes_after: sealed.bytes,
    };
    turn.hand_over(sealed);
    Ok(did)
}

/// Segments to be rewritten as one, and how: the oldest that are less dense than wanted; else the first neighbours of
/// one density that are worth merging.
fn choose(sealed: &[Arc<Sealed>], tier: Tier, options: &Options) -> Option<(Range<usize>, Tier)> {
    let is_wanted = |sealed: &&Arc<Sealed>| tier == Tier::Dense && sealed.tier == Tier::Fast;
    if let Some(start) = sealed.iter().position(|sealed| is_wanted(&sealed)) {
        let run = sealed[start..].iter().take_while(is_wanted);
        let mut total = Total::default();
        let fitting = run.take_while(|sealed| total.add(sealed).fits(options)).count();
        return Some((start..start + fitting.max(1), Tier::Dense));
    }
    let merged = |start: usize| {
        let first = &sealed[start];
        let (mut total, mut end) = (Total::default(), None);
        let run = sealed[start..].iter().enumerate().take_while(|(_, sealed)| sealed.tier == first.tier);
        for (index, sealed) in run {
            if !total.add(sealed).fits(options) {
                break;
            }
            if index > 0 && total.is_balanced() {
                end = Some(start + index + 1);
            }
        }
        end.map(|end| (start..end, first.tier))
    };
    (0..sealed.len()).find_map(merged)
}

/// What several segments come to.
#[derive(Debug, Default)]
struct Total {
    rows: u64,
    bytes: u64,
    rows_of_largest: u64,
}

impl Total {
    fn add(&mut self, sealed: &Sealed) -> &Self {
        // Rows of a store can be counted; what manifests say of files may be anything.
        self.rows += sealed.rows;
        self.bytes = self.bytes.saturating_add(sealed.bytes);
        self.rows_of_largest = self.rows_of_largest.max(sealed.rows);
        self
    }

    /// Whether they may be one segment.
    fn fits(&self, options: &Options) -> bool {
        self.rows <= options.compact_rows && self.bytes <= options.segment_bytes
    }

    /// Whether none has more than half of the rows: each row is then rewritten no more often than segments double.
    fn is_balanced(&self) -> bool {
        self.rows_of_largest <= self.rows - self.rows_of_largest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(sizes: &[(u64, Tier)]) -> Vec<Arc<Sealed>> {
        let mut first_row = 0;
        let make = |(number, (rows, tier)): (u64, &(u64, Tier))| {
            let sealed = Sealed {
                number,
                first_row,
                rows: *rows,
                first_key: 0,
                last_key: 0,
                bytes: 8192,
                directory_sum: 0,
                tier: *tier,
            };
            first_row += rows;
            Arc::new(sealed)
        };
        (0..).zip(sizes).map(make).collect()
    }

    #[test]
    fn what_is_compacted() {
        use Tier::{Dense, Fast};
        let options = Options::default().compact_rows(100);
        type Case<'a> = (&'a [(u64, Tier)], Tier, Option<(Range<usize>, Tier)>);
        let cases: &[Case<'_>] = &[
            (&[], Fast, None),
            (&[(10, Fast)], Fast, None),
            (&[(10, Fast)], Dense, Some((0..1, Dense))),
            (&[(500, Fast)], Dense, Some((0..1, Dense))),
            (&[(10, Dense)], Dense, None),
            (&[(10, Fast), (10, Fast)], Fast, Some((0..2, Fast))),
            (&[(60, Fast), (40, Fast), (20, Fast)], Dense, Some((0..2, Dense))),
            // One that holds more than half of the rows stays until there are more.
            (&[(30, Fast), (10, Fast)], Fast, None),
            (&[(30, Fast), (10, Fast), (10, Fast)], Fast, Some((1..3, Fast))),
            (&[(30, Fast), (10, Fast), (10, Fast), (10, Fast)], Fast, Some((0..4, Fast))),
            // Not above the limit, and never of different density.
            (&[(60, Fast), (60, Fast)], Fast, None),
            (&[(50, Dense), (50, Fast), (50, Dense)], Fast, None),
            (&[(50, Dense), (50, Dense), (50, Fast)], Fast, Some((0..2, Dense))),
            (&[(50, Dense), (10, Fast), (10, Fast), (50, Dense)], Dense, Some((1..3, Dense))),
        ];
        for (sizes, tier, expected) in cases {
            assert_eq!(choose(&segments(sizes), *tier, &options), *expected, "{sizes:?} to {tier:?}");
        }
    }

    #[test]
    fn compacting_comes_to_an_end_and_rewrites_each_row_a_few_times() {
        let options = Options::default().compact_rows(1 << 20);
        let (mut sealed, mut rewritten, rows) = (Vec::new(), 0, 4096);
        for _ in 0..rows {
            sealed.push((1, Tier::Fast));
            while let Some((run, tier)) = choose(&segments(&sealed), Tier::Fast, &options) {
                let merged = sealed[run.clone()].iter().map(|(rows, _)| rows).sum();
                rewritten += merged;
                sealed.splice(run, [(merged, tier)]);
            }
        }
        assert!(sealed.len() <= 13, "{} segments", sealed.len());
        assert!(rewritten <= rows * 12, "{rewritten} rows rewritten");
    }
}
