//! `tidelog demo`: the newcomer's first command.
//!
//! A feed of trades is ingested in durable batches; the store is closed and opened again, and everything is scanned
//! and compared with what was sent.
//!
//! Not here: measuring against what the disk can do (`bench`).

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use tidelog::disk::Disk;
use tidelog::{Column, Data, KeyUnit, Kind, Options, Schema, Store, Values, Writer};

use crate::disk::OnDisk;

/// Rows of one commit.
const BATCH: u64 = 65_536;

const VENUES: [&str; 4] = ["north", "south", "east", "west"];

/// Make a feed of trades, ingest it durably, scan it, print the rates
#[derive(clap::Args)]
#[command(before_help = "example:  tidelog demo --rows 1000000")]
pub(crate) struct Demo {
    /// How many rows
    #[arg(long, value_name = "N", default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// Where the store is made, and stays; a temporary directory that goes afterwards unless told
    #[arg(long)]
    dir: Option<PathBuf>,
}

impl OnDisk for Demo {
    async fn run<D: Disk>(self, disk: D) -> Result<()> {
        if let Some(dir) = &self.dir {
            return demo(disk, self.rows, dir).await;
        }
        let dir = tempfile::Builder::new().prefix("tidelog-demo-").tempdir();
        let dir = dir.context("could not make a temporary directory; name one with --dir")?;
        demo(disk, self.rows, dir.path()).await?;
        dir.close().context("could not remove the temporary directory")
    }
}

async fn demo<D: Disk>(disk: D, rows: u64, dir: &Path) -> Result<()> {
    let mut out = stdout().lock();
    let schema = Schema::new([
        Column::new("price", Kind::F64),
        Column::new("size", Kind::U32),
        Column::new("venue", Kind::Text),
    ])?;
    let schema = schema.key_unit(KeyUnit::Nanoseconds);
    let mut writer = Writer::create_on(disk.clone(), dir, schema, Options::default()).await?;
    writeln!(out, "{rows} trades: price f64, size u32, venue text; {BATCH} in a commit")?;
    let (mut feed, mut sent) = (Feed::new(), Totals::default());
    let begun = Instant::now();
    while feed.rows < rows {
        let trades = feed.next(BATCH.min(rows - feed.rows));
        sent.add(&trades.prices, &trades.sizes, trades.venues.len());
        writer.pending().append_batch(&trades.keys, &trades.values())?;
        writer.commit().await?;
    }
    rate(&mut out, "ingested, durable", rows, begun)?;
    writer.close().await?;

    let begun = Instant::now();
    let writer = Writer::open_on(disk, dir, Options::default()).await?;
    writeln!(out, "{:<20}{:>10.1} ms", "opened again", begun.elapsed().as_secs_f64() * 1e3)?;
    let begun = Instant::now();
    let found = scan(&writer.store()).await?;
    rate(&mut out, "scanned, verified", rows, begun)?;
    ensure!(found == sent, "{found:?} was found, {sent:?} was sent");
    Ok(writer.close().await?)
}

/// What is the same of all rows sent and all rows found.
#[derive(Debug, Default, PartialEq)]
struct Totals {
    rows: usize,
    prices: f64,
    sizes: u64,
    venue_bytes: usize,
}

impl Totals {
    fn add(&mut self, prices: &[f64], sizes: &[u32], venue_bytes: usize) {
        self.rows += prices.len();
        // In the order of the rows both times, so that the sums are the same to the bit.
        self.prices = prices.iter().fold(self.prices, |sum, price| sum + price);
        self.sizes += sizes.iter().map(|size| u64::from(*size)).sum::<u64>();
        self.venue_bytes += venue_bytes;
    }
}

async fn scan<D: Disk>(store: &Store<D>) -> Result<Totals> {
    let (snapshot, reader) = (store.snapshot(), store.reader());
    let (mut scan, mut found) = (reader.scan(&snapshot, ..), Totals::default());
    while let Some(batch) = scan.next().await? {
        let [(_, prices), (_, sizes), (_, venues)] = batch.columns() else {
            bail!("three columns were asked for")
        };
        let (Data::F64(prices), Data::U32(sizes), Data::Text { data, .. }) =
            (prices.data(), sizes.data(), venues.data())
        else {
            bail!("the columns are of other kinds than they were created with")
        };
        found.add(prices, sizes, data.len());
    }
    Ok(found)
}

#[expect(clippy::cast_precision_loss, reason = "rounded for a person anyway")]
fn rate(out: &mut impl Write, what: &str, rows: u64, begun: Instant) -> Result<()> {
    let seconds = begun.elapsed().as_secs_f64();
    Ok(writeln!(out, "{what:<20}{:>10.2} million rows/s", rows as f64 / seconds / 1e6)?)
}

/// Trades that look like some, the same at every run.
struct Feed {
    dice: u64,
    key: u64,
    cents: i32,
    rows: u64,
}

/// Some trades, column by column.
#[derive(Default)]
struct Trades {
    keys: Vec<u64>,
    prices: Vec<f64>,
    sizes: Vec<u32>,
    venues: String,
    ends: Vec<u64>,
}

impl Trades {
    fn values(&self) -> [Values<'_>; 3] {
        [
            Values::F64(&self.prices),
            Values::U32(&self.sizes),
            Values::Text { data: &self.venues, ends: &self.ends },
        ]
    }
}

impl Feed {
    fn new() -> Self {
        Self { dice: 1, key: 1_700_000_000_000_000_000, cents: 10_000, rows: 0 }
    }

    /// Below `bound`.
    fn roll(&mut self, bound: u32) -> u32 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.dice >> 33).unwrap_or(0) % bound
    }

    fn next(&mut self, count: u64) -> Trades {
        let mut trades = Trades::default();
        for _ in 0..count {
            self.key += u64::from(self.roll(2_000_000));
            self.cents = (self.cents + self.roll(5).cast_signed() - 2).max(1);
            trades.keys.push(self.key);
            trades.prices.push(f64::from(self.cents) / 100.0);
            trades.sizes.push(100 * (1 + self.roll(50)));
            trades.venues.push_str(VENUES[self.roll(4) as usize]);
            trades.ends.push(trades.venues.len() as u64);
        }
        self.rows += count;
        trades
    }
}
