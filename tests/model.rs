//! Random histories against a plain model: a vector of rows, a note, and what is pending.
//!
//! Whatever the writer was told, readers see what the model holds: now, in snapshots that are held over commits,
//! rolls and the writer's end, and when the store is opened again. What is easily forgotten is counted, and has to
//! be met often enough.
//!
//! Not here: crashes (tests/crash.rs), failing disks (tests/faults.rs), readers on other cores (tests/cores.rs).

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod common;
#[path = "model/reads.rs"]
mod reads;

use std::path::PathBuf;

use common::{Cell, DIR, Row, append_batch, directory, draw, mixed, run, tiny};
use futures::executor::block_on;
use reads::{Met, View, meet};
use tidelog::disk::sim::{Random, SimDisk};
use tidelog::disk::{Disk, Posix};
use tidelog::{Column, Error, Kind, Options, Reader, Schema, Snapshot, Value, Writer};

/// How keys go on.
#[derive(Clone, Copy, Debug)]
enum Keys {
    FromZero,
    ToTheEnd,
    Jumping,
    Equal,
}

/// A snapshot that is held, and what it must show for ever.
struct Held<D: Disk> {
    reader: Reader<D>,
    at: Snapshot,
    rows: usize,
    note: Option<Vec<u8>>,
}

/// A store and its model.
struct History<D: Disk> {
    disk: D,
    dir: PathBuf,
    random: Random,
    schema: Schema,
    options: Options,
    /// What the options say, for the model.
    segment_rows: u64,
    inline_bytes: u64,
    len_max: usize,
    keys: Keys,
    writer: Option<Writer<D>>,
    rows: Vec<Row>,
    note: Option<Vec<u8>>,
    pending: Vec<Row>,
    pending_note: Option<Vec<u8>>,
    /// The first rows of segments, but for the first.
    rolls: Vec<u64>,
    held: Vec<Held<D>>,
    met: Met,
}

fn draw_schema(random: &mut Random) -> Schema {
    let mixed = mixed();
    let any = |random: &mut Random, count: usize| {
        let column = |i| {
            let like = &mixed.columns()[random.index(18)];
            let column = Column::new(format!("column {i}"), like.kind());
            if like.nulls() == tidelog::Nulls::Allowed { column.nullable() } else { column }
        };
        Schema::new((0..count).map(column)).unwrap()
    };
    match random.below(8) {
        0 => Schema::new([]).unwrap(),
        1 => mixed,
        2 => any(random, 50),
        3 => Schema::new([Column::new("b", Kind::Bytes), Column::new("t", Kind::Text).nullable()]).unwrap(),
        _ => {
            let count = 1 + random.index(5);
            any(random, count)
        }
    }
}

impl<D: Disk> History<D> {
    fn new(disk: D, dir: PathBuf, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let schema = draw_schema(&mut random);
        let columns = schema.columns().len();
        let segment_rows = [30, 100, 300, 1000, 1 << 30][random.index(5)];
        let inline_bytes = [0, 1 << 10, 8 << 10, 256 << 10][random.index(4)];
        let options = tiny()
            .log_bytes(if columns > 5 { 1 << 20 } else { 64 << 10 })
            .segment_rows(segment_rows)
            .inline_bytes(inline_bytes)
            .memory_bytes([40_000, 1 << 20, 256 << 20][random.index(3)])
            .grow_bytes(4096, [4096, 64 << 10][random.index(2)])
            .cache_bytes([0, 64 << 10, 32 << 20][random.index(3)])
            .reads_in_flight(1 + random.index(8));
        let keys = [Keys::FromZero, Keys::ToTheEnd, Keys::Jumping, Keys::Equal][random.index(4)];
        let len_max = [3, 40, 600, 6000][random.index(4)] / (1 + columns / 6);
        History {
            disk,
            dir,
            random,
            schema,
            options,
            segment_rows,
            inline_bytes,
            len_max,
            keys,
            writer: None,
            rows: Vec::new(),
            note: None,
            pending: Vec::new(),
            pending_note: None,
            rolls: Vec::new(),
            held: Vec::new(),
            met: Met::new(),
        }
    }

    fn meet(&mut self, what: &'static str) {
        meet(&mut self.met, what, true);
    }

    fn writer(&mut self) -> &mut Writer<D> {
        self.writer.as_mut().unwrap()
    }

    fn last_key(&self) -> u64 {
        self.pending.last().or(self.rows.last()).map_or(0, |row| row.key)
    }

    fn draw_row(&mut self, after: Option<u64>) -> Row {
        let random = &mut self.random;
        let is_first = after.is_none() && self.rows.is_empty() && self.pending.is_empty();
        let last = after.unwrap_or_else(|| self.pending.last().or(self.rows.last()).map_or(0, |row| row.key));
        let key = match self.keys {
            Keys::FromZero => last + random.below(4).saturating_sub(2),
            Keys::ToTheEnd if is_first => u64::MAX - 150,
            Keys::ToTheEnd => last.saturating_add(random.below(2)),
            Keys::Jumping => last.saturating_add(random.bits() >> (random.below(20) + 10)),
            Keys::Equal => last.max(7),
        };
        let len_max = self.len_max;
        Row { key, cells: self.schema.columns().iter().map(|column| draw(random, column, len_max)).collect() }
    }

    /// The rows that are pending, or an error that changed nothing.
    fn appended(&mut self, rows: Vec<Row>, result: Result<u64, Error>) {
        let first = (self.rows.len() + self.pending.len()) as u64;
        match result {
            Ok(number) => {
                assert_eq!(number, first);
                let before = self.last_key();
                let keys = std::iter::once(before).chain(rows.iter().map(|row| row.key));
                let equal = keys.zip(&rows).filter(|(before, row)| *before == row.key).count();
                *self.met.entry("equal keys appended").or_default() += equal as u64;
                self.pending.extend(rows);
            }
            Err(Error::Limit { .. }) => self.meet("appends beyond memory_bytes"),
            Err(error) => panic!("{error}"),
        }
        let (rows, next_row) = (self.pending.len() as u64, (self.rows.len() + self.pending.len()) as u64);
        let pending = self.writer().pending();
        assert_eq!((pending.rows(), pending.next_row()), (rows, next_row));
    }

    fn append(&mut self) {
        let row = self.draw_row(None);
        let result = row.append(self.writer().pending());
        self.appended(vec![row], result);
    }

    fn append_many(&mut self) {
        let count = [0, 1, 2, 10, 60, 400][self.random.index(6)] / (1 + self.schema.columns().len() / 6);
        let mut rows: Vec<Row> = Vec::new();
        for _ in 0..count {
            let row = self.draw_row(rows.last().map(|row| row.key));
            rows.push(row);
        }
        let result = append_batch(self.writer().pending(), &rows);
        if let Ok(numbers) = &result {
            assert_eq!(numbers.end - numbers.start, count as u64);
        }
        self.appended(rows, result.map(|numbers| numbers.start));
    }

    /// A call that is refused, alone or in the middle of a batch.
    fn append_badly(&mut self) {
        let mut rows: Vec<Row> = (0..3).map(|_| self.draw_row(None)).collect();
        rows.sort_by_key(|row| row.key);
        let (last, columns) = (self.last_key(), self.schema.columns().len());
        let place = self.random.index(3);
        let pending = self.writer.as_mut().unwrap().pending();
        let before = format!("{pending:?}");
        let error = match self.random.below(4) {
            0 if last > 0 => {
                rows[place].key = last - 1;
                if self.random.coin() {
                    append_batch(pending, &rows).map(drop)
                } else {
                    rows[place].append(pending).map(drop)
                }
            }
            1 if columns > 0 => {
                rows[0].cells.pop();
                rows[0].append(pending).map(drop)
            }
            2 if columns > 0 => {
                let kind = self.schema.columns()[columns - 1].kind();
                rows[0].cells[columns - 1] = if kind == Kind::Bool { Cell::U32(0) } else { Cell::Bool(true) };
                rows[0].append(pending).map(drop)
            }
            _ => {
                let mut values: Vec<Value<'_>> = rows[0].cells.iter().map(Cell::value).collect();
                values.push(Value::Null);
                pending.append(u64::MAX, &values).map(drop)
            }
        };
        assert!(matches!(error, Err(Error::KeyOrder { .. } | Error::Schema { .. })), "{error:?}");
        assert!(before == format!("{pending:?}"), "a refused call changed what is pending");
        self.meet("failed appends");
    }

    fn note_something(&mut self) {
        let len = [0, 1, 100, 4096][self.random.index(4)];
        let mut note = vec![0; len];
        self.random.fill(&mut note);
        self.writer().pending().note(&note).unwrap();
        self.pending_note = Some(note);
        self.meet("notes");
    }

    fn expect_rows(&mut self) {
        let rows = (self.rows.len() + self.pending.len()) as u64;
        self.writer().pending().expect_rows(rows).unwrap();
        let conflict = self.writer().pending().expect_rows(rows + 1);
        assert!(
            matches!(conflict, Err(Error::Conflict { expected, found }) if (expected, found) == (rows + 1, rows))
        );
        self.meet("conflicts");
    }

    fn clear(&mut self) {
        self.writer().pending().clear();
        meet(&mut self.met, "rows cleared", !self.pending.is_empty());
        self.forget();
    }

    fn forget(&mut self) {
        self.pending.clear();
        self.pending_note = None;
    }

    async fn commit(&mut self) {
        let (bytes, inline_bytes) = (self.writer().pending().bytes(), self.inline_bytes);
        let (first, count) = (self.rows.len() as u64, self.pending.len() as u64);
        let commit = self.writer().commit().await.unwrap();
        assert_eq!(commit.rows, first..first + count);
        let in_segment = first - self.rolls.last().copied().unwrap_or(0);
        if count > 0 && in_segment > 0 && in_segment + count > self.segment_rows {
            self.rolls.push(first);
            self.meet("rolls");
        }
        meet(&mut self.met, "large commits", count > 0 && bytes > inline_bytes);
        meet(&mut self.met, "small commits", count > 0 && bytes <= inline_bytes);
        self.rows.append(&mut self.pending);
        self.note = self.pending_note.take().or(self.note.take());
        let writer = self.writer.as_mut().unwrap();
        assert_eq!((writer.pending().rows(), writer.pending().bytes()), (0, 0));
        assert_eq!(writer.note().as_deref(), self.note.as_deref());
    }

    /// The writer's life ends, well or not, and the next one begins.
    async fn reopen(&mut self) {
        let is_clean = self.random.coin();
        let writer = self.writer.take().unwrap();
        if is_clean {
            writer.close().await.unwrap();
            self.meet("reopened behind a close");
        } else {
            drop(writer);
            self.meet("reopened behind a writer that was dropped");
        }
        meet(&mut self.met, "rows pending at the end of a life", !self.pending.is_empty());
        self.forget();
        let writer = Writer::open_on(self.disk.clone(), &self.dir, self.options.clone()).await.unwrap();
        assert_eq!(writer.recovery().rows, self.rows.len() as u64);
        assert!(!is_clean || writer.recovery().commits_replayed == 0);
        assert_eq!(writer.recovery().dropped, None);
        assert_eq!(**writer.schema(), self.schema);
        assert_eq!(writer.note().as_deref(), self.note.as_deref());
        self.writer = Some(writer);
    }

    fn hold(&mut self) {
        let store = self.writer().store();
        let held = Held {
            reader: store.reader(),
            at: store.snapshot(),
            rows: self.rows.len(),
            note: self.note.clone(),
        };
        if self.held.len() < 4 {
            self.held.push(held);
        } else {
            let place = self.random.index(4);
            self.held[place] = held;
        }
    }

    /// Asks a reader: of now, or one that has held its snapshot for a while.
    async fn read(&mut self) {
        self.hold();
        let Self { random, held, rows, rolls, schema, met, .. } = self;
        let held = &held[random.index(held.len())];
        let view = View { reader: &held.reader, at: &held.at, rows: &rows[..held.rows], rolls, schema };
        match random.below(8) {
            0..4 => view.check_scan(random, met).await,
            4..6 => view.check_seek(random, met).await,
            6 => view.check_values(random, met).await,
            _ => view.check_slices(random, met).await,
        }
        assert_eq!(held.at.note(), held.note.as_deref());
        let crossed = rolls.iter().filter(|first| **first >= held.rows as u64).count();
        meet(met, "snapshots held over a commit", held.rows < rows.len());
        meet(met, "snapshots held over a roll", crossed > 0);
    }

    async fn check_all(&mut self) {
        self.hold();
        for held in &self.held {
            let Self { rows, rolls, schema, .. } = &*self;
            let view = View { reader: &held.reader, at: &held.at, rows: &rows[..held.rows], rolls, schema };
            view.check_all().await;
        }
    }

    async fn live(mut self, steps: u64) -> Met {
        let (disk, dir) = (self.disk.clone(), self.dir.clone());
        let created = Writer::create_on(disk, &dir, self.schema.clone(), self.options.clone()).await;
        self.writer = Some(created.unwrap());
        for step in 0..steps {
            match self.random.below(40) {
                0..8 => self.append(),
                8..12 => self.append_many(),
                12..14 => self.append_badly(),
                14 => self.note_something(),
                15 => self.expect_rows(),
                16 if self.random.coin() => self.clear(),
                16..24 => self.commit().await,
                24 => {
                    self.writer().checkpoint().await.unwrap();
                    self.meet("checkpoints");
                }
                25 => self.reopen().await,
                _ => self.read().await,
            }
            if step % 50 == 49 {
                self.check_all().await;
            }
        }
        self.commit().await;
        self.reopen().await;
        self.check_all().await;
        self.met
    }
}

/// Adds up, and demands a minimum of each.
fn demand(all: impl Iterator<Item = Met>, least: &[(&'static str, u64)]) {
    let mut sum = Met::new();
    for (what, count) in all.flatten() {
        *sum.entry(what).or_default() += count;
    }
    for (what, count) in least {
        assert!(sum.get(what).is_some_and(|met| met >= count), "{what}, {count} at least: {sum:#?}");
    }
}

const LEAST: &[(&str, u64)] = &[
    ("equal keys appended", 2000),
    ("key 0 read", 500),
    ("key u64::MAX read", 500),
    ("nulls read", 5000),
    ("empty values read", 5000),
    ("failed appends", 500),
    ("appends beyond memory_bytes", 50),
    ("notes", 200),
    ("conflicts", 200),
    ("rows cleared", 50),
    ("small commits", 500),
    ("large commits", 300),
    ("checkpoints", 200),
    ("rolls", 300),
    ("reopened behind a close", 100),
    ("reopened behind a writer that was dropped", 100),
    ("rows pending at the end of a life", 100),
    ("reverse scans over a roll", 200),
    ("forward scans over a roll", 200),
    ("limited scans", 300),
    ("scans that found nothing", 100),
    ("seeks of the last of equal keys", 50),
    ("seeks that found nothing", 100),
    ("rows read alone", 200),
    ("rows that are not there", 20),
    ("slices", 100),
    ("snapshots held over a commit", 500),
    ("snapshots held over a roll", 200),
];

#[test]
fn histories_on_the_simulated_disk_are_what_a_plain_model_says() {
    let live = |seed: u64| {
        let disk = SimDisk::new(seed);
        run(&disk, History::new(disk.clone(), DIR.into(), seed).live(250))
    };
    demand((0..100).map(live), LEAST);
}

#[test]
fn histories_on_posix_calls_are_what_a_plain_model_says() {
    let live = |seed: u64| {
        // Two with direct I/O, where the machine has it.
        let dir = directory(seed < 1002);
        block_on(History::new(Posix::default(), dir.path().join("store"), seed).live(100))
    };
    let least =
        [("rolls", 4), ("large commits", 30), ("reverse scans over a roll", 3), ("failed appends", 40)];
    demand((1000..1016).map(live), &least);
}
