//! Figures of a sealed store: ingest until sealed, scans, lookups, aggregates, open.
//!
//! The rows are those of the bench set; what is read are those that are sealed, all but those of the last segment; every
//! pass checks what it read. Cold means a new reader, as options have it unless told, on direct I/O.
//!
//! Not here: figures of raw rows (`figures`).

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use tidelog::disk::{Disk, PAGE};
use tidelog::{
    ColumnId, Maintain, Maintained, Options, Reader, Seek, SegmentState, Snapshot, Store, Tier, Writer,
};

use super::Only;
use super::data::{Batch, Gaps, Rows, SplitMix64, schema};
use super::figures::{Figures, Keys, scan};
use super::report::{Report, median, quantile, whole};
use crate::disk::Engine;
use crate::exit::say;
use crate::machine;

const A: ColumnId = ColumnId(0);
const ALL: [ColumnId; 4] = [ColumnId(0), ColumnId(1), ColumnId(2), ColumnId(3)];
/// Rows of a durable batch.
const BATCH: usize = 65_536;
/// Batches that are made before they are timed: two segments.
const AT_ONCE: usize = 128;

/// With a cache that holds all of it.
fn keeping_all() -> Options {
    Options::default().cache_bytes(1 << 30)
}

/// What was written, to be compared with what is read.
struct Written {
    store: &'static str,
    rows: u64,
    /// Rows of sealed segments: the first ones.
    sealed: u64,
    /// Of their values in column a.
    sum: f64,
    first_key: u64,
    step: u64,
}

impl<D: Disk> Figures<'_, D> {
    pub(super) async fn sealed(&self, report: &mut Report, engine: Engine, only: Only<'_>) -> Result<()> {
        let written = self.ingest_sealed(report, engine, Gaps::Even).await?;
        if only.wants("open") {
            self.open(report, &written).await?;
        }
        if written.sealed == 0 {
            say(format_args!("no rows are sealed: that takes {} at least", 2 * BATCH));
            return Ok(());
        }
        if only.wants_any(&["scan_cold", "scan_warm"]) {
            self.scans(report, &written, Keys::Unwanted).await?;
        }
        if only.wants_any(&["get_cold", "get_warm"]) {
            self.lookups(report, &written).await?;
        }
        if only.wants("agg") {
            self.aggregates(report, &written, ["p50_us", "cold_p50_us"]).await?;
            self.merge(report, &written).await?;
            self.aggregates(report, &written, ["merged_p50_us", "merged_cold_p50_us"]).await?;
        }
        if only.wants("compact") {
            self.compact(report, &written).await?;
        }
        Ok(())
    }

    /// The twin whose keys are not evenly spaced, which is scanned with its keys.
    pub(super) async fn irregular(&self, report: &mut Report, engine: Engine) -> Result<()> {
        let written = self.ingest_sealed(report, engine, Gaps::Poisson).await?;
        match written.sealed {
            0 => Ok(()),
            _ => self.scans(report, &written, Keys::Wanted).await,
        }
    }

    /// Durable batches until all finished segments are sealed: commits on this core, sealing on another.
    async fn ingest_sealed(&self, report: &mut Report, engine: Engine, gaps: Gaps) -> Result<Written> {
        // Of few rows some are sealed too.
        let segment_rows = (self.rows / 3).clamp(BATCH as u64, 4 << 20);
        let options = Options::default().segment_rows(segment_rows);
        let name = if gaps == Gaps::Even { "sealed" } else { "irregular" };
        let mut writer =
            Writer::create_on(self.disk.clone(), self.dir.join(name), schema()?, options).await?;
        let store = writer.store();
        let sealer = Sealer::start(store.clone(), engine);
        let mut rows = Rows::new(gaps);
        let mut made: Vec<Batch> = (0..AT_ONCE).map(|_| Batch::default()).collect();
        let (mut sum, mut done, mut time) = (0.0, 0, Duration::ZERO);
        // Of the rows up to each batch's end: a segment ends with a batch.
        let mut sums = Vec::new();
        let before = machine::written_bytes(self.dir);
        while done < self.rows {
            // What is sealed while rows are made would not be timed.
            sealer.rest();
            for batch in &mut made {
                let count = usize::try_from(self.rows - done)?.min(BATCH);
                rows.fill(batch, count);
                sum += batch.columns[0].iter().sum::<f64>();
                done += count as u64;
                sums.push((done, sum));
            }
            sealer.work();
            let start = Instant::now();
            for batch in made.iter().filter(|batch| !batch.keys.is_empty()) {
                writer.pending().append_batch(&batch.keys, &batch.values())?;
                writer.commit().await?;
            }
            while finished(&store) > 0 {
                sealer.check()?;
                std::thread::sleep(Duration::from_micros(200));
                // What has been sealed meanwhile is published.
                writer.sync().await?;
            }
            time += start.elapsed();
        }
        sealer.stop()?;
        writer.close().await?;
        let device = before.zip(machine::written_bytes(self.dir)).map(|(before, after)| after - before);
        let stats = store.stats();
        let sealed = stats.segments.iter().filter(|segment| segment.slot.is_none());
        let sealed_rows: u64 = sealed.map(|segment| segment.rows.end - segment.rows.start).sum();
        let sum = sums.into_iter().find(|(rows, _)| *rows == sealed_rows).map_or(0.0, |(_, sum)| sum);
        if sealed_rows > 0 {
            report.put("ingest_sealed", "rows_s", whole(done) / time.as_secs_f64());
            report.put("ingest_sealed", "bytes_per_row", whole(stats.sealed_bytes) / whole(sealed_rows));
        }
        if let Some(device) = device.filter(|_| sealed_rows > 0) {
            report.put("ingest_sealed", "device_bytes_per_row", whole(device) / whole(done));
        }
        let (first_key, step) = Rows::keys();
        Ok(Written { store: name, rows: done, sealed: sealed_rows, sum, first_key, step })
    }

    /// Beside one pass over both files of the log, and beside a store of few rows.
    async fn open(&self, report: &mut Report, written: &Written) -> Result<()> {
        const FEW: u64 = 1_000_000;
        const LOG_BYTES: u64 = 2 * (16 << 20);
        let options = Options::default().log_bytes(LOG_BYTES / 2);
        let mut writer =
            Writer::create_on(self.disk.clone(), self.dir.join("few"), schema()?, options.clone()).await?;
        let (mut rows, mut batch) = (Rows::new(Gaps::Even), Batch::default());
        for _ in 0..FEW / 50_000 {
            rows.fill(&mut batch, 50_000);
            writer.pending().append_batch(&batch.keys, &batch.values())?;
            writer.commit().await?;
        }
        writer.close().await?;
        let (mut all, mut few) = (Vec::new(), Vec::new());
        for _ in 0..9 {
            for (name, rows, times) in [(written.store, written.rows, &mut all), ("few", FEW, &mut few)] {
                let start = Instant::now();
                let writer = Writer::open_on(self.disk.clone(), self.dir.join(name), options.clone()).await?;
                times.push(start.elapsed());
                ensure!(writer.store().rows() == rows, "open: {} rows", writer.store().rows());
                writer.close().await?;
            }
        }
        let pass = whole(LOG_BYTES) / self.floor.read_rate(256 << 20)?;
        report.put("open", "rows", whole(written.rows));
        report.put("open", "ms", quantile(&all, 0.5) * 1e3);
        report.put("open", "million_rows_ms", quantile(&few, 0.5) * 1e3);
        report.put("open", "log_pass_ms", pass * 1e3);
        Ok(())
    }

    async fn follow(&self, written: &Written, options: Options) -> Result<(Store<D>, Snapshot)> {
        let store = Store::follow_on(self.disk.clone(), self.dir.join(written.store), options).await?;
        let snapshot = store.snapshot();
        Ok((store, snapshot))
    }

    /// Warm scans of column a and of all, then cold ones of all.
    async fn scans(&self, report: &mut Report, written: &Written, keys: Keys) -> Result<()> {
        let (store, snapshot) = self.follow(written, keeping_all()).await?;
        let stored = whole(store.stats().sealed_bytes);
        let sealed = written.sealed;
        let check = |(rows, sum): (u64, f64)| {
            let off = (sum - written.sum).abs() / written.sum.abs();
            ensure!(rows == sealed && off < 1e-9, "a scan: {rows} rows of {sealed}, sum {sum}");
            Ok(())
        };
        let values = |columns: &[ColumnId]| {
            let a_row = columns.len() as u64 + u64::from(keys == Keys::Wanted);
            whole(sealed) * whole(a_row)
        };
        let (warm, mut rates) = (store.reader(), Vec::new());
        check(scan(&warm, &snapshot, &ALL, keys, sealed).await?)?;
        for columns in [&ALL[..1], &ALL] {
            rates.clear();
            let started = Instant::now();
            while started.elapsed() < self.time || rates.is_empty() {
                let start = Instant::now();
                check(scan(&warm, &snapshot, columns, keys, sealed).await?)?;
                rates.push(values(columns) / start.elapsed().as_secs_f64());
            }
            if columns.len() == 1 {
                report.put("scan_warm", "values_s", median(&rates));
            }
        }
        let decode = median(&rates);
        let (cold, snapshot) = self.follow(written, Options::default()).await?;
        let (mut rates, mut ratios, mut floors) = (Vec::new(), Vec::new(), Vec::new());
        let started = Instant::now();
        while started.elapsed() < self.time || rates.is_empty() {
            let before = self.floor.read_rate(256 << 20)?;
            let cold = cold.reader();
            let start = Instant::now();
            check(scan(&cold, &snapshot, &ALL, keys, sealed).await?)?;
            let rate = values(&ALL) / start.elapsed().as_secs_f64();
            let floor = f64::midpoint(before, self.floor.read_rate(256 << 20)?);
            let limit = decode.min(floor / stored * values(&ALL));
            rates.push(rate);
            floors.push(floor);
            ratios.push(rate / limit);
        }
        report.put("floor", "read_mb_s", median(&floors) / 1e6);
        report.put("floor", "read_4k_p50_us", quantile(&self.floor.read_4k(2000)?, 0.5) * 1e6);
        report.put("scan_cold", "values_s", median(&rates));
        report.put("scan_cold", "stored_mb_s", median(&rates) / values(&ALL) * stored / 1e6);
        report.put("scan_cold", "ratio", median(&ratios));
        Ok(())
    }

    /// All sealed rows in fewer, larger segments.
    async fn merge(&self, report: &mut Report, written: &Written) -> Result<()> {
        let dir = self.dir.join(written.store);
        let mut writer = Writer::open_on(self.disk.clone(), dir, Options::default()).await?;
        let (store, rows_s) = (writer.store(), rewrite(&mut writer, Tier::Fast).await?);
        report.put("agg", "merged_rows_s", rows_s);
        report.put("agg", "merged_segments", whole(store.stats().segments.len() as u64));
        writer.close().await?;
        Ok(())
    }

    /// All sealed rows, made dense.
    async fn compact(&self, report: &mut Report, written: &Written) -> Result<()> {
        let dir = self.dir.join(written.store);
        let mut writer = Writer::open_on(self.disk.clone(), dir, Options::default()).await?;
        let (store, rows_s) = (writer.store(), rewrite(&mut writer, Tier::Dense).await?);
        let at = store.snapshot();
        let (rows, sum) = scan(&store.reader(), &at, &ALL, Keys::Wanted, written.sealed).await?;
        let off = (sum - written.sum).abs() / written.sum.abs();
        ensure!(rows == written.sealed && off < 1e-9, "compact: {rows} rows, sum {sum}");
        report.put("compact", "rows_s", rows_s);
        report.put("compact", "bytes_per_row", whole(store.stats().sealed_bytes) / whole(written.sealed));
        writer.close().await?;
        Ok(())
    }

    /// Rows by key: each of a row group of its own, so that no block is there already; then again.
    async fn lookups(&self, report: &mut Report, written: &Written) -> Result<()> {
        const GROUP: u64 = 16_384;
        let (store, snapshot) = self.follow(written, keeping_all()).await?;
        let reader = store.reader();
        reader.encodings(&snapshot).await?;
        let mut random = SplitMix64(7);
        let mut groups: Vec<u64> = (1..(written.sealed / GROUP).saturating_sub(1)).collect();
        for index in (1..groups.len()).rev() {
            groups.swap(index, usize::try_from(random.next() % (index as u64 + 1))?);
        }
        groups.truncate(500);
        ensure!(!groups.is_empty(), "get_cold needs more rows than {}", written.sealed);
        let key = |row: u64| written.first_key + row * written.step;
        let rows: Vec<u64> = groups.iter().map(|group| group * GROUP + random.next() % GROUP).collect();
        let (mut cold, mut floors, before) = (Vec::new(), Vec::new(), machine::reads(self.dir));
        for row in &rows {
            let start = Instant::now();
            get(&reader, &snapshot, key(*row), *row).await?;
            cold.push(start.elapsed());
        }
        let reads = before.zip(machine::reads(self.dir)).map(|(before, after)| after - before);
        let a = reader.encodings(&snapshot).await?;
        let a = a.iter().filter(|encoding| encoding.column == Some(A));
        let (bytes, blocks) = a.fold((0, 0), |(bytes, blocks), one| (bytes + one.bytes, blocks + one.blocks));
        let len = usize::try_from(bytes / blocks.max(1))?.next_multiple_of(PAGE) + PAGE;
        floors.extend(self.floor.read_one(len, rows.len() as u64)?);
        report.put("get_cold", "p50_us", quantile(&cold, 0.5) * 1e6);
        report.put("get_cold", "ratio", quantile(&cold, 0.5) / quantile(&floors, 0.5));
        if let Some(reads) = reads {
            report.put("get_cold", "device_reads", whole(reads) / whole(rows.len() as u64));
        }
        let mut warm = Vec::new();
        for row in rows.iter().cycle().take(20_000) {
            let start = Instant::now();
            get(&reader, &snapshot, key(*row), *row).await?;
            warm.push(start.elapsed());
        }
        report.put("get_warm", "p50_ns", quantile(&warm, 0.5) * 1e9);
        Ok(())
    }

    /// Aggregates over random ranges.
    async fn aggregates(&self, report: &mut Report, written: &Written, names: [&str; 2]) -> Result<()> {
        let (store, snapshot) = self.follow(written, keeping_all()).await?;
        let warm = store.reader();
        warm.aggregate(&snapshot, .., A).await?;
        // The blocks at the edges of ranges too.
        scan(&warm, &snapshot, &[A], Keys::Unwanted, written.sealed).await?;
        let mut random = SplitMix64(9);
        let (mut times, mut cold) = (Vec::new(), Vec::new());
        for number in 0..200 {
            let (one, other) = (random.next() % written.sealed, random.next() % written.sealed);
            let rows = one.min(other)..one.max(other) + 1;
            let key = |row: u64| written.first_key + row * written.step;
            let start = Instant::now();
            let found = warm.aggregate(&snapshot, key(rows.start)..key(rows.end), A).await?;
            times.push(start.elapsed());
            ensure!(found.rows == rows.end - rows.start, "agg: {} rows of {rows:?}", found.rows);
            if number < 50 {
                let reader = store.reader();
                let start = Instant::now();
                let again = reader.aggregate(&snapshot, key(rows.start)..key(rows.end), A).await?;
                cold.push(start.elapsed());
                ensure!(again == found, "agg: {again:?} cold, {found:?} warm");
            }
        }
        report.put("agg", names[0], quantile(&times, 0.5) * 1e6);
        report.put("agg", names[1], quantile(&cold, 0.5) * 1e6);
        Ok(())
    }
}

/// Compacts until nothing is left to do; rows a second.
async fn rewrite<D: Disk>(writer: &mut Writer<D>, tier: Tier) -> Result<f64> {
    let (store, start, mut rewritten) = (writer.store(), Instant::now(), 0);
    while let Maintained::Compacted { rows, .. } = store.maintain(Maintain::Compact(tier)).await? {
        writer.checkpoint().await?;
        rewritten += rows;
    }
    Ok(whole(rewritten) / start.elapsed().as_secs_f64())
}

/// Segments that are finished and not sealed.
fn finished<D: Disk>(store: &Store<D>) -> usize {
    store.stats().segments.iter().filter(|segment| segment.state == SegmentState::Finished).count()
}

/// Another core, which seals whatever is finished.
struct Sealer {
    thread: JoinHandle<Result<()>>,
    orders: Arc<Orders>,
}

#[derive(Default)]
struct Orders {
    rest: AtomicBool,
    stop: AtomicBool,
}

impl Sealer {
    fn start<D: Disk>(store: Store<D>, engine: Engine) -> Self {
        let orders = Arc::new(Orders::default());
        let given = Arc::clone(&orders);
        let seal = async move || {
            while !given.stop.load(Ordering::Relaxed) {
                let rests = given.rest.load(Ordering::Relaxed);
                if rests || store.maintain(Maintain::Seal).await? == Maintained::Nothing {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
            Ok(())
        };
        Self { thread: std::thread::spawn(move || engine.block_on(seal())), orders }
    }

    /// It begins nothing more.
    fn rest(&self) {
        self.orders.rest.store(true, Ordering::Relaxed);
    }

    fn work(&self) {
        self.orders.rest.store(false, Ordering::Relaxed);
    }

    /// Whether it still works.
    fn check(&self) -> Result<()> {
        ensure!(!self.thread.is_finished(), "sealing has stopped; see its error when it is awaited");
        Ok(())
    }

    fn stop(self) -> Result<()> {
        self.orders.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(sealed) => sealed,
            Err(_) => bail!("the thread that seals panicked"),
        }
    }
}

async fn get<D: Disk>(reader: &Reader<D>, at: &Snapshot, key: u64, row: u64) -> Result<()> {
    let found = reader.seek(at, Seek::Key(key)).await?;
    ensure!(found.is_some_and(|found| found.row == row), "get: key {key} is row {found:?}, not {row}");
    let batch = reader.values(at, row, &[A]).await?;
    black_box(batch);
    Ok(())
}
