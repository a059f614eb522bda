//! The store's own figures, each beside its floor in the same run.
//!
//! Samples alternate floor, ours, floor, so that a noisy neighbour disturbs both; a ratio is the median of the
//! pairs. Every pass checks what it read.
//!
//! Not here: the floors (`floors`), the words (`report`).

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use fearless_simd::{Level, dispatch};
use futures::stream::{FuturesUnordered, StreamExt};
use tidelog::disk::{Disk, PAGE};
use tidelog::{
    Appender, Column, ColumnId, Kind, Maintain, Maintained, Options, Reader, Schema, Snapshot, Store, Value,
    Writer,
};

use super::data::{Batch, Gaps, Rows, schema};
use super::floors::Written;
use super::report::{self, Report, median, quantile, spread};
use crate::machine;

/// Each timed figure runs this long at least.
const LONG_ENOUGH: Duration = Duration::from_secs(10);

/// What every figure needs.
pub(crate) struct Figures<'a, D> {
    pub(crate) disk: D,
    pub(crate) dir: &'a Path,
    pub(crate) floor: &'a Written,
    pub(crate) rows: u64,
    pub(crate) time: Duration,
}

impl<'a, D: Disk> Figures<'a, D> {
    pub(crate) fn new(disk: D, dir: &'a Path, floor: &'a Written, rows: u64, quick: bool) -> Self {
        Self { disk, dir, floor, rows, time: if quick { LONG_ENOUGH / 20 } else { LONG_ENOUGH } }
    }

    async fn writer(&self, name: &str) -> Result<Writer<D>> {
        Ok(Writer::create_on(self.disk.clone(), self.dir.join(name), schema()?, Options::default()).await?)
    }

    /// One durable row of 4 columns, against one durable page written raw and through the engine.
    pub(crate) async fn append_1(&self, report: &mut Report) -> Result<()> {
        const SAMPLES: u64 = 200;
        let mut writer = self.writer("append_1").await?;
        let (mut raw, mut engine, mut ours) = (Vec::new(), Vec::new(), Vec::new());
        let (mut ratios, mut floors): ([Vec<f64>; 3], _) = (Default::default(), Vec::new());
        let start = Instant::now();
        let mut key = 0;
        while start.elapsed() < self.time {
            let raw_now = self.floor.dsync(PAGE, SAMPLES)?;
            let engine_now = self.floor.dsync_on(&self.disk, PAGE, SAMPLES).await?;
            let mut ours_now = Vec::new();
            for _ in 0..SAMPLES {
                let value = Value::F64(1.0);
                let start = Instant::now();
                writer.pending().append(key, &[value, value, value, value])?;
                writer.commit().await?;
                ours_now.push(start.elapsed());
                key += 1;
            }
            let p50 = |times: &[Duration]| quantile(times, 0.5);
            floors.push(p50(&raw_now));
            ratios[0].push(p50(&ours_now) / p50(&raw_now));
            ratios[1].push(p50(&ours_now) / p50(&engine_now));
            ratios[2].push(quantile(&ours_now, 0.99) / quantile(&raw_now, 0.99));
            raw.extend(raw_now);
            engine.extend(engine_now);
            ours.extend(ours_now);
        }
        ensure!(
            writer.store().rows() == key,
            "append_1: {} rows, {key} were acknowledged",
            writer.store().rows()
        );
        writer.close().await?;
        report.time("floor", "dsync_4k", &raw);
        report.put("floor", "dsync_4k_engine_p50_us", quantile(&engine, 0.5) * 1e6);
        report.put("floor", "spread", spread(&floors));
        report.time("append_1", "", &ours);
        report.put("append_1", "ratio_p50", median(&ratios[0]));
        report.put("append_1", "ratio_engine_p50", median(&ratios[1]));
        report.put("append_1", "ratio_p99", median(&ratios[2]));
        report.commits(&ours);
        Ok(())
    }

    /// Durable batches of 1,000 rows, against one durable write of the same bytes.
    pub(crate) async fn batch_1000(&self, report: &mut Report) -> Result<()> {
        const SAMPLES: u64 = 50;
        let mut writer = self.writer("batch_1000").await?;
        let (mut rows, mut batch) = (Rows::new(Gaps::Even), Batch::default());
        // Five raw files of 8 bytes a row, and the header.
        let record = (1000 * 5 * 8 + 500_usize).next_multiple_of(PAGE);
        let (mut ours, mut ratios) = (Vec::new(), Vec::new());
        let start = Instant::now();
        while start.elapsed() < self.time {
            let floor = self.floor.dsync(record, SAMPLES)?;
            let mut ours_now = Vec::new();
            for _ in 0..SAMPLES {
                rows.fill(&mut batch, 1000);
                let start = Instant::now();
                writer.pending().append_batch(&batch.keys, &batch.values())?;
                writer.commit().await?;
                ours_now.push(start.elapsed());
            }
            ratios.push(total(&floor) / total(&ours_now));
            ours.extend(ours_now);
        }
        writer.close().await?;
        report.put("batch_1000", "rows_s", 1000.0 * report::count(ours.len()) / total(&ours));
        report.put("batch_1000", "p50_us", quantile(&ours, 0.5) * 1e6);
        report.put("batch_1000", "ratio", median(&ratios));
        Ok(())
    }

    /// Durable batches of 65,536 rows in a plain loop: into fresh space, and into slots whose rows have been sealed.
    pub(crate) async fn batches(&self, report: &mut Report) -> Result<()> {
        const BATCH: usize = 65_536;
        const AT_ONCE: usize = 16;
        // Together with that, one segment: a round writes to one slot.
        const BETWEEN_FLOORS: usize = 4;
        let mut writer = self.writer("batches").await?;
        let store = writer.store();
        let mut rows = Rows::new(Gaps::Even);
        // Made before they are timed: a pause for making rows between two commits lets the disk fall asleep.
        let mut made: Vec<Batch> = (0..AT_ONCE).map(|_| Batch::default()).collect();
        let (mut ours, mut floors) = (Vec::new(), Vec::new());
        let (mut used, mut fresh, mut reused) = (BTreeSet::new(), Vec::new(), Vec::new());
        let (mut sum, mut done) = (0.0, 0);
        while done < self.rows {
            let floor_before = self.floor.write_rate(256 << 20)?;
            let (mut time, mut bytes) = (0.0, 0.0);
            for _ in 0..BETWEEN_FLOORS {
                let first = done;
                for batch in &mut made {
                    let count = usize::try_from(self.rows - done)?.min(BATCH);
                    rows.fill(batch, count);
                    sum += batch.columns[0].iter().sum::<f64>();
                    done += count as u64;
                }
                for batch in made.iter().filter(|batch| !batch.keys.is_empty()) {
                    let start = Instant::now();
                    writer.pending().append_batch(&batch.keys, &batch.values())?;
                    writer.commit().await?;
                    ours.push(start.elapsed());
                    time += start.elapsed().as_secs_f64();
                }
                bytes += report::whole(done - first) * 40.0;
            }
            let floor = f64::midpoint(floor_before, self.floor.write_rate(256 << 20)?);
            floors.push(floor);
            let slot = store.stats().segments.last().and_then(|segment| segment.slot);
            let ratios = if used.insert(slot) { &mut fresh } else { &mut reused };
            ratios.push(bytes / time / floor);
            while store.maintain(Maintain::Seal).await? != Maintained::Nothing {
                // What has been sealed is published, and its slot is free.
                writer.checkpoint().await?;
            }
        }
        let all = total(&ours);
        report.put("floor", "write_mb_s", median(&floors) / 1e6);
        report.put("batch_65536", "rows_s", report::whole(done) / all);
        report.put("batch_65536", "mb_s", report::whole(done) * 40.0 / all / 1e6);
        report.put("batch_65536", "ratio", median(&reused));
        report.put("batch_65536", "fresh_ratio", median(&fresh));
        report.commits(&ours);
        report.put("batch_65536", "longest_ms", quantile(&ours, 1.0) * 1e3);
        writer.close().await?;
        self.check("batches", done, sum).await
    }

    /// That all of it is there.
    async fn check(&self, name: &str, rows: u64, sum: f64) -> Result<()> {
        let store = Store::follow_on(self.disk.clone(), self.dir.join(name), Options::default()).await?;
        let reader = store.reader();
        let (found, total) =
            scan(&reader, &store.snapshot(), &[ColumnId(0)], Keys::Unwanted, u64::MAX).await?;
        let off = (total - sum).abs() / sum.abs();
        ensure!(found == rows && off < 1e-9, "{name}: {found} rows of {rows}, sum {total} for {sum}");
        Ok(())
    }

    /// 64 callers, one durable row each at a time, through the appender.
    pub(crate) async fn group_64(&self, report: &mut Report) -> Result<()> {
        let columns = ["a", "b", "c", "d"].map(|name| Column::new(name, Kind::F64));
        let dir = self.dir.join("group_64");
        let writer =
            Writer::create_on(self.disk.clone(), dir, Schema::new(columns)?, Options::default()).await?;
        let store = writer.store();
        let (appender, committer) = writer.share();
        let until = Instant::now() + self.time;
        let flushes = machine::flushes(self.dir);
        let start = Instant::now();
        let callers: FuturesUnordered<_> = (0..64).map(|_| caller(appender.clone(), until)).collect();
        drop(appender);
        let (writer, times) = futures::join!(committer.run(), callers.collect::<Vec<_>>());
        let elapsed = start.elapsed().as_secs_f64();
        let mut all = Vec::new();
        for times in times {
            all.extend(times?);
        }
        let rows = store.rows();
        ensure!(rows == all.len() as u64, "group_64: {rows} rows, {} were acknowledged", all.len());
        if let (Some(before), Some(after)) = (flushes, machine::flushes(self.dir)) {
            report.put(
                "group_64",
                "flushes_per_64",
                report::whole(after - before) * 64.0 / report::whole(rows),
            );
        }
        writer?.close().await?;
        report.put("group_64", "rows_s", report::whole(rows) / elapsed);
        report.put("group_64", "p99_us", quantile(&all, 0.99) * 1e6);
        Ok(())
    }
}

/// Whether a scan reads keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    Wanted,
    Unwanted,
}

/// Rows of a scan of these columns over the first `rows_max` rows, and the sum of the first column.
pub(super) async fn scan<D: Disk>(
    reader: &Reader<D>,
    at: &Snapshot,
    columns: &[ColumnId],
    keys: Keys,
    rows_max: u64,
) -> Result<(u64, f64)> {
    let scan = reader.scan(at, ..).rows(0..rows_max).columns(columns);
    let mut scan = if keys == Keys::Wanted { scan } else { scan.without_keys() };
    let (mut rows, mut sum) = (0, 0.0);
    while let Some(batch) = scan.next().await? {
        rows += batch.len() as u64;
        let column = batch.column(columns[0]).and_then(|column| column.as_f64());
        sum += sum_of(column.unwrap_or_default());
    }
    Ok((rows, sum))
}

/// In lanes, and with the widest registers of the machine, so that adding costs less than reading.
fn sum_of(values: &[f64]) -> f64 {
    #[inline(always)]
    fn sum(values: &[f64]) -> f64 {
        let (chunks, rest) = values.as_chunks::<32>();
        let mut lanes = [0.0; 32];
        for chunk in chunks {
            lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane += value);
        }
        lanes.iter().chain(rest).sum()
    }
    dispatch!(Level::new(), _ => sum(values))
}

async fn caller(appender: Appender, until: Instant) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    let value = Value::F64(1.0);
    while Instant::now() < until {
        let start = Instant::now();
        appender.append(1, &[value, value, value, value]).await?;
        times.push(start.elapsed());
    }
    Ok(times)
}

fn total(times: &[Duration]) -> f64 {
    times.iter().sum::<Duration>().as_secs_f64()
}
