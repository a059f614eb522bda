//! A fixed history that meets every kind of operation, step by step, and what must be true behind each.
//!
//! A row's values follow from its number, so that a store needs no second copy to be compared with.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use tidelog::disk::sim::{Random, SimDisk};
use tidelog::{Column, Error, Kind, Options, Result, Schema, Store, Writer};

use super::{DIR, Row, draw_rows, rows_at, rows_of, tiny};

/// One call of the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Create,
    /// Appends so many rows and commits them in their record, in the active segment.
    Small(u64),
    /// The same, with a note.
    Noted(u64),
    /// The same, straight to the files.
    Large(u64),
    /// A small commit, or a large one, into the next segment.
    RollSmall(u64),
    RollLarge(u64),
    /// A small commit for which the log has no room before a checkpoint.
    Wrap(u64),
    Checkpoint,
    Close,
    /// Behind a close, or a writer that is dropped here as it is.
    Open,
}

use Step::{Checkpoint, Close, Create, Large, Noted, Open, RollLarge, RollSmall, Small, Wrap};

/// The history: every kind of step, in every company. A row takes some 470 bytes.
pub(crate) const STEPS: &[Step] = &[
    Create,
    Small(3),
    Noted(2),
    Large(40),
    Small(8),
    Large(75),
    Checkpoint,
    RollSmall(15),
    Noted(12),
    Small(14),
    Small(14),
    Small(14),
    Small(14),
    Small(14),
    Small(2),
    Small(1),
    Small(1),
    Small(1),
    Small(1),
    Small(1),
    Small(1),
    Small(1),
    Wrap(11),
    Close,
    Open,
    Small(10),
    RollLarge(560),
    RollSmall(4),
    Noted(3),
    Open,
    Large(60),
    Small(6),
    Checkpoint,
    RollLarge(90),
    Small(12),
    Open,
    Small(5),
    Close,
    Open,
    Large(20),
    Close,
];

/// Ways to go on for a while.
pub(crate) const MORE: &[&[Step]] = &[
    &[],
    &[Small(5)],
    &[Large(25)],
    &[Small(12), Small(12), Small(12), Small(12), Small(12), Small(12)],
    &[Checkpoint, Small(4)],
    &[Large(25), RollLarge(120), Small(6), Checkpoint],
];

pub(crate) fn schema() -> Schema {
    let columns =
        [Column::new("a", Kind::F64), Column::new("b", Kind::Text).nullable(), Column::new("c", Kind::Bytes)];
    Schema::new(columns).unwrap()
}

pub(crate) fn options() -> Options {
    tiny().segment_rows(130)
}

/// Row number `number` of the history.
pub(crate) fn row(number: u64) -> Row {
    rows(number..number + 1)[0].clone()
}

/// Rows of the history, by number.
pub(crate) fn rows(range: std::ops::Range<u64>) -> &'static [Row] {
    static ROWS: OnceLock<Vec<Row>> = OnceLock::new();
    let all = ROWS.get_or_init(|| {
        let schema = schema();
        let row = |number: u64| {
            let row = draw_rows(&mut Random::new(number), &schema, 0, 1, 900).remove(0);
            Row { key: number / 3, ..row }
        };
        (0..4_000).map(row).collect()
    });
    let [start, end] = [range.start, range.end].map(|number| usize::try_from(number).unwrap());
    &all[start..end]
}

/// A store on a simulated disk, and what it owes.
pub(crate) struct Life {
    pub(crate) disk: SimDisk,
    pub(crate) writer: Option<Writer<SimDisk>>,
    /// For readers, once there was a writer.
    pub(crate) store: Option<Store<SimDisk>>,
    /// Rows whose commit returned `Ok`.
    pub(crate) acknowledged: u64,
    /// Rows behind them that were handed to a commit that has not returned `Ok`.
    pub(crate) in_doubt: u64,
    pub(crate) note: Option<Vec<u8>>,
    pub(crate) note_in_doubt: Option<Vec<u8>>,
}

impl Life {
    pub(crate) fn new(disk: SimDisk) -> Self {
        let (acknowledged, in_doubt) = (0, 0);
        Life { disk, writer: None, store: None, acknowledged, in_doubt, note: None, note_in_doubt: None }
    }

    pub(crate) fn writer(&mut self) -> &mut Writer<SimDisk> {
        self.writer.as_mut().unwrap()
    }

    /// Makes a step. One that failed with `Full` may be made again.
    pub(crate) async fn step(&mut self, step: Step) -> Result<()> {
        match step {
            Create => {
                self.writer = Some(Writer::create_on(self.disk.clone(), DIR, schema(), options()).await?);
                self.store = self.writer.as_ref().map(Writer::store);
            }
            Open => {
                self.writer = None;
                self.forget();
                self.writer = Some(Writer::open_on(self.disk.clone(), DIR, options()).await?);
                self.store = self.writer.as_ref().map(Writer::store);
            }
            Close => {
                if let Some(writer) = self.writer.take() {
                    self.forget();
                    writer.close().await?;
                }
            }
            Checkpoint => self.writer().checkpoint().await?,
            Small(rows) | Large(rows) | RollSmall(rows) | RollLarge(rows) | Wrap(rows) => {
                self.append(rows, false);
                self.commit().await?;
            }
            Noted(rows) => {
                self.append(rows, true);
                self.commit().await?;
            }
        }
        Ok(())
    }

    /// Appends, unless rows of an earlier try are pending.
    fn append(&mut self, count: u64, noted: bool) {
        if self.in_doubt > 0 {
            return;
        }
        let first = self.acknowledged;
        let pending = self.writer().pending();
        for number in first..first + count {
            assert_eq!(row(number).append(pending).unwrap(), number);
        }
        if noted {
            pending.note(&first.to_le_bytes()).unwrap();
            self.note_in_doubt = Some(first.to_le_bytes().to_vec());
        }
        self.in_doubt = count;
    }

    async fn commit(&mut self) -> Result<()> {
        let rows = self.acknowledged..self.acknowledged + self.in_doubt;
        let commit = self.writer().commit().await?;
        assert_eq!(commit.rows, rows);
        self.acknowledged = rows.end;
        self.in_doubt = 0;
        self.note = self.note_in_doubt.take().or(self.note.take());
        Ok(())
    }

    /// Pending rows of a writer that was not committed are gone with it, where nothing was written.
    fn forget(&mut self) {
        self.in_doubt = 0;
        self.note_in_doubt = None;
    }

    /// What a reader of this process sees: what was acknowledged, whatever became of the writer.
    pub(crate) async fn check_readers(&self) {
        let Some(store) = &self.store else { return };
        let snapshot = store.snapshot();
        let found = rows_at(&store.reader(), &snapshot).await.unwrap();
        assert_eq!(found.len() as u64, self.acknowledged);
        assert!(found == rows(0..self.acknowledged));
        assert_eq!(snapshot.note(), self.note.as_deref());
    }

    /// Opens the store on `disk` and finds all that was acknowledged, and what is in doubt whole or not at all.
    pub(crate) async fn check_open(&self, disk: &SimDisk) -> Writer<SimDisk> {
        let writer =
            Writer::open_on(disk.clone(), DIR, options()).await.unwrap_or_else(|error| panic!("{error}"));
        self.check_rows(&writer).await;
        writer
    }

    /// Whether a store that was opened holds what it owes; true if what is in doubt is there.
    pub(crate) async fn check_rows(&self, writer: &Writer<SimDisk>) -> bool {
        let found = rows_of(writer).await.unwrap();
        let is_there = found.len() as u64 != self.acknowledged;
        let expected = if is_there { self.acknowledged + self.in_doubt } else { self.acknowledged };
        assert_eq!(found.len() as u64, expected, "{} are in doubt", self.in_doubt);
        assert!(found == rows(0..expected), "a row differs");
        let note = self.note_in_doubt.as_ref().filter(|_| is_there).or(self.note.as_ref());
        assert_eq!(writer.note().as_deref(), note.map(Vec::as_slice));
        is_there && self.in_doubt > 0
    }

    /// Goes on with a writer that was opened again: what was in doubt is decided.
    pub(crate) fn take_over(&mut self, writer: Writer<SimDisk>) {
        if super::run(&self.disk, self.check_rows(&writer)) {
            self.acknowledged += self.in_doubt;
            self.note = self.note_in_doubt.take().or(self.note.take());
        }
        self.forget();
        self.store = Some(writer.store());
        self.writer = Some(writer);
    }

    /// As [`Life::check_open`]; and the store goes on, is closed, and keeps all of it.
    pub(crate) async fn check_goes_on(&self, disk: &SimDisk) {
        let mut writer = self.check_open(disk).await;
        let first = writer.pending().next_row();
        for number in first..first + 2 {
            row(number).append(writer.pending()).unwrap();
        }
        assert_eq!(writer.commit().await.unwrap().rows, first..first + 2);
        writer.close().await.unwrap();
        let writer = Writer::open_on(disk.clone(), DIR, options()).await.unwrap();
        assert_eq!(writer.recovery().commits_replayed, 0);
        assert!(rows_of(&writer).await.unwrap() == rows(0..first + 2));
    }
}

/// What each kind of step came to, counted.
pub(crate) type Tally = BTreeMap<String, u64>;

/// The name of a step, without its size.
pub(crate) fn name(step: Step) -> String {
    let name = format!("{step:?}");
    name.split('(').next().unwrap_or_default().to_owned()
}

/// Whether an error says that the writer has stopped.
pub(crate) fn is_poisoned<T>(result: &Result<T>) -> bool {
    matches!(result, Err(Error::Poisoned { .. }))
}
