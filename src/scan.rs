//! Scans: the rows of a key range, in batches.
//!
//! [`Scan`] is what the caller asked for. Behind it, [`running`] goes from segment to segment and makes batches,
//! [`ahead`] keeps reads in flight, [`feed`] is one raw file of a segment on its way through memory.
//!
//! Not here: finding rows by key (`seek`), bytes into vectors (`reader::decode`).

use std::fmt;
use std::ops::{Bound, Range, RangeBounds};

use crate::batch::Batch;
use crate::condition::Condition;
use crate::disk::{Disk, Glommio};
use crate::error::{Error, Result};
use crate::reader::Reader;
use crate::schema::ColumnId;
use crate::seek::Edge;
use crate::snapshot::Snapshot;
use crate::value::Value;

mod ahead;
mod feed;
mod running;
mod sealed;
mod window;

pub(crate) use feed::Direction;
use running::Running;

/// Rows in a batch, unless the caller says otherwise.
const BATCH_ROWS: usize = 16_384;

/// The rows of a snapshot whose keys are in a range, in batches; [`Reader::scan`] begins one.
///
/// While the caller works on a batch, the next ones are being read: up to
/// [`Options::reads_in_flight`](crate::Options::reads_in_flight) reads of at most 1 MiB, and twice as many MiB in
/// memory besides the batch itself; at least a chunk of 64 KiB for each file of a chosen column. The memory of a batch that
/// is dropped is used for the next ones.
#[must_use = "a scan does nothing until its `next` is awaited"]
pub struct Scan<'r, D: Disk = Glommio> {
    reader: &'r Reader<D>,
    at: Snapshot,
    ask: Ask,
    state: State<D>,
}

/// What the caller asked for.
#[derive(Clone, Debug)]
struct Ask {
    /// Behind which keys the range begins and ends.
    edges: [Option<Edge>; 2],
    pick: Pick,
    rows: Range<u64>,
    columns: Option<Vec<ColumnId>>,
    with_keys: bool,
    direction: Direction,
    limit: u64,
    batch_rows: usize,
    conditions: Vec<Condition>,
}

impl Ask {
    fn wants_keys(&self) -> bool {
        self.with_keys || self.pick == Pick::Interval
    }
}

/// What of a row must lie in the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pick {
    Key,
    /// A part of what lies between the key before and its own.
    Interval,
}

/// Behind which keys a range begins and ends.
pub(crate) fn edges(keys: impl RangeBounds<u64>) -> [Option<Edge>; 2] {
    let start = match keys.start_bound() {
        Bound::Included(key) => Some(Edge::Before(*key)),
        Bound::Excluded(key) => Some(Edge::Behind(*key)),
        Bound::Unbounded => None,
    };
    let end = match keys.end_bound() {
        Bound::Included(key) => Some(Edge::Behind(*key)),
        Bound::Excluded(key) => Some(Edge::Before(*key)),
        Bound::Unbounded => None,
    };
    [start, end]
}

enum State<D: Disk> {
    New,
    Running(Box<Running<D>>),
    /// After an error there is nothing but that error.
    Failed(Error),
    Done,
}

impl<D: Disk> fmt::Debug for Scan<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").field("ask", &self.ask).finish_non_exhaustive()
    }
}

impl<'r, D: Disk> Scan<'r, D> {
    pub(crate) fn new(reader: &'r Reader<D>, at: Snapshot, keys: impl RangeBounds<u64>) -> Self {
        Self::between(reader, at, edges(keys))
    }

    pub(crate) fn between(reader: &'r Reader<D>, at: Snapshot, edges: [Option<Edge>; 2]) -> Self {
        let ask = Ask {
            edges,
            pick: Pick::Key,
            rows: 0..at.rows(),
            columns: None,
            with_keys: true,
            direction: Direction::Forward,
            limit: u64::MAX,
            batch_rows: BATCH_ROWS,
            conditions: Vec::new(),
        };
        Self { reader, at, ask, state: State::New }
    }

    /// Only these columns, in this order; none of them: keys only. All columns unless told.
    pub fn columns(mut self, columns: &[ColumnId]) -> Self {
        self.ask.columns = Some(columns.to_vec());
        self
    }

    /// Takes each row for the interval that it ends, `(previous key, key]`, and gives every row whose interval meets
    /// the range, the one that reaches beyond its end included: with keys 12 and 18 the range `9..=14` has both.
    /// Rows of one key share the interval that the first of them ends, so that either all of them are given or
    /// none. Nothing lies before row 0: its interval has no beginning.
    ///
    /// [`Batch::previous_key`] says where each row's interval begins. The keys are read, whatever
    /// [`Scan::without_keys`] says.
    pub fn intervals(mut self) -> Self {
        self.ask.pick = Pick::Interval;
        self
    }

    /// Only rows whose value in a numeric column lies in a range; of several filters all must let a row pass. A null
    /// lies in no range, and neither does a NaN; `-0.0` and `0.0` are equal. Row groups of which statistics say that
    /// no row passes are not read, and other columns are decoded only where rows pass. Batches have as many rows as
    /// pass, at most [`Scan::batch_rows`].
    ///
    /// ```
    /// # async fn f(store: tidelog::Store) -> tidelog::Result<()> {
    /// # let price = tidelog::ColumnId(0);
    /// use tidelog::Value;
    ///
    /// let reader = store.reader();
    /// let mut scan = reader.scan(&store.snapshot(), ..).filter(price, Value::F64(100.0)..);
    /// while let Some(batch) = scan.next().await? {
    ///     println!("{} rows, the first is number {:?}", batch.len(), batch.row(0));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`Scan::next`] says `Schema` where the column is not of numbers, or the range is not of its kind, and
    /// `Unsupported` in a scan of [intervals](Scan::intervals).
    pub fn filter(mut self, column: ColumnId, values: impl RangeBounds<Value<'static>>) -> Self {
        self.ask.conditions.push(Condition::new(column, values));
        self
    }

    /// Leaves out the keys, which are not read then, except to find the range: [`Batch::keys`] is empty.
    pub fn without_keys(mut self) -> Self {
        self.ask.with_keys = false;
        self
    }

    /// From the last row of the range to the first: exactly the other way round.
    pub fn reverse(mut self) -> Self {
        self.ask.direction = Direction::Reverse;
        self
    }

    /// At most so many rows.
    pub fn limit(mut self, rows: u64) -> Self {
        self.ask.limit = rows;
        self
    }

    /// Only rows with these numbers, of those whose keys are in the range.
    pub fn rows(mut self, rows: Range<u64>) -> Self {
        self.ask.rows = rows;
        self
    }

    /// At most so many rows in a batch: 16,384 unless told, at least 1. A batch has fewer at the end of a segment,
    /// and where its values would be more than 16 MiB.
    pub fn batch_rows(mut self, rows: usize) -> Self {
        self.ask.batch_rows = rows.max(1);
        self
    }

    /// The next rows; none when there are no more.
    ///
    /// A future that is dropped loses nothing: the next call goes on where it was.
    ///
    /// # Errors
    /// `Schema` for a column that the store does not have, or one that is asked for twice; `Corrupt`, `Io`;
    /// `SnapshotGone`; `Unsupported` for a snapshot of another store. After an error each call returns that error.
    pub async fn next(&mut self) -> Result<Option<Batch>> {
        let mut next = self.advance().await;
        if let (Err(error), State::New | State::Running(_)) = (&next, &self.state) {
            next = Err(self.at.judge(&self.reader.holdings.shared, error.clone()).await);
        }
        match &next {
            Ok(Some(_)) => {}
            Ok(None) => self.state = State::Done,
            Err(error) => self.state = State::Failed(error.clone()),
        }
        next
    }

    async fn advance(&mut self) -> Result<Option<Batch>> {
        loop {
            match &mut self.state {
                State::New => {
                    let running = Running::begin(self.reader, &self.at, &self.ask).await?;
                    self.state = State::Running(Box::new(running));
                }
                State::Running(running) => return running.next(self.reader, &self.at, &self.ask).await,
                State::Failed(error) => return Err(error.clone()),
                State::Done => return Ok(None),
            }
        }
    }
}
