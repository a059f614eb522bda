//! `tidelog demo`: the newcomer's first command.
//!
//! A feed of trades is ingested in durable batches, its last rows one by one; the store is closed and opened again,
//! everything is scanned and compared with what was sent, and a range is drawn. Beside each rate stands what the disk
//! itself does, measured in the same run.
//!
//! Not here: measuring with care (`bench`).

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use tidelog::disk::{Disk, PAGE};
use tidelog::{ColumnId, Data, Options, Seek, Store, Writer};

use super::bench::floors::Written;
use super::bench::report::{median, whole};
use crate::disk::OnDisk;
use crate::exit::say;
use crate::figure::{self, terminal};
use crate::machine;
use crate::seal;

mod feed;

use feed::Feed;

/// Rows of one commit.
const BATCH: u64 = 65_536;

/// Rows at the end that are committed one by one.
const SINGLE: u64 = 200;

/// Bytes of each of the disk's own rates.
const FLOOR_BYTES: u64 = 256 << 20;

/// Make a feed of trades, ingest it durably, scan it, draw a range, print rates beside the disk's own
#[derive(clap::Args)]
#[command(before_help = "example:  tidelog demo --rows 1000000")]
pub(crate) struct Demo {
    /// How many rows
    #[arg(long, value_name = "N", default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// Where the store is made, and stays; a temporary directory that goes afterwards unless told
    #[arg(long)]
    dir: Option<PathBuf>,
}

impl OnDisk for Demo {
    async fn run<D: Disk>(self, disk: D) -> Result<()> {
        let temporary = tempfile::Builder::new().prefix("tidelog-demo-").to_owned();
        let parent = self.dir.as_ref().and_then(|dir| dir.parent());
        let around = match parent {
            None => temporary.tempdir(),
            Some(parent) if parent == Path::new("") => temporary.tempdir_in("."),
            Some(parent) => temporary.tempdir_in(parent),
        };
        let around = around.context("could not make a temporary directory; name another place with --dir")?;
        let dir = self.dir.unwrap_or_else(|| around.path().join("store"));
        let floor = Floor::measure(around.path())?;
        demo(disk, self.rows, &dir, &floor).await?;
        around.close().context("could not remove the temporary directory")
    }
}

/// What the disk itself does.
struct Floor {
    write_rate: f64,
    read_rate: f64,
    write_seconds: f64,
}

impl Floor {
    fn measure(dir: &Path) -> Result<Self> {
        let kind =
            machine::mount(dir).map_or("a file system that the kernel does not name".to_owned(), |m| m.kind);
        if ["tmpfs", "ramfs"].contains(&kind.as_str()) {
            say(format_args!(
                "tidelog: {kind} is memory: these are no disk's rates, name a directory on one with --dir"
            ));
        }
        let written = Written::new(dir, FLOOR_BYTES)?;
        let single: Vec<f64> =
            written.dsync(PAGE, SINGLE)?.iter().map(std::time::Duration::as_secs_f64).collect();
        Ok(Self {
            write_rate: written.write_rate(FLOOR_BYTES)?,
            read_rate: written.read_rate(FLOOR_BYTES)?,
            write_seconds: median(&single),
        })
    }
}

async fn demo<D: Disk>(disk: D, rows: u64, dir: &Path, floor: &Floor) -> Result<()> {
    let mut out = stdout().lock();
    let mut writer = Writer::create_on(disk.clone(), dir, feed::schema()?, Options::default()).await?;
    writeln!(out, "{rows} trades: price f64, size u32, venue text; {BATCH} in a commit")?;
    let (mut feed, mut sent, mut single) = (Feed::new(), Totals::default(), Vec::new());
    let begun = Instant::now();
    let one_by_one = rows.saturating_sub(SINGLE);
    while feed.rows < one_by_one {
        let count = BATCH.min(one_by_one - feed.rows);
        commit(&mut writer, &mut feed, count, &mut sent).await?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let stats = writer.store().stats();
    let bytes = stats.keys_bytes + stats.column_bytes.iter().sum::<u64>();
    rate(&mut out, "ingested, durable", one_by_one, bytes, seconds, ("written", floor.write_rate))?;
    while feed.rows < rows {
        let begun = Instant::now();
        commit(&mut writer, &mut feed, 1, &mut sent).await?;
        single.push(begun.elapsed().as_secs_f64());
    }
    let (ours, raw) = (median(&single) * 1e6, floor.write_seconds * 1e6);
    writeln!(out, "{:<20}{ours:>9.0} us, a durable write of 4 KiB {raw:.0} us", "one durable row")?;
    let begun = Instant::now();
    let (before, after) = seal::all(&mut writer).await?;
    if before > 0 {
        let seconds = begun.elapsed().as_secs_f64();
        let (before, after) = (before / 1_000_000, after / 1_000_000);
        writeln!(out, "{:<20}{before:>9} MB to {after} MB in {seconds:.1} s", "sealed")?;
    }
    writer.close().await?;

    let begun = Instant::now();
    let writer = Writer::open_on(disk, dir, Options::default()).await?;
    writeln!(out, "{:<20}{:>9.1} ms", "opened again", begun.elapsed().as_secs_f64() * 1e3)?;
    let begun = Instant::now();
    let found = scan(&writer.store()).await?;
    let seconds = begun.elapsed().as_secs_f64();
    rate(&mut out, "scanned, verified", rows, bytes, seconds, ("read", floor.read_rate))?;
    ensure!(found == sent, "{found:?} was found, {sent:?} was sent");
    out.write_all(draw(&writer.store()).await?.as_bytes())?;
    Ok(writer.close().await?)
}

/// Sends the next rows as one commit.
async fn commit<D: Disk>(
    writer: &mut Writer<D>,
    feed: &mut Feed,
    rows: u64,
    sent: &mut Totals,
) -> Result<()> {
    let trades = feed.next(rows);
    sent.add(&trades.prices, &trades.sizes, trades.venues.len());
    writer.pending().append_batch(&trades.keys, &trades.values())?;
    writer.commit().await?;
    Ok(())
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

/// The price over the middle tenth of the rows.
async fn draw<D: Disk>(store: &Store<D>) -> Result<String> {
    let (snapshot, reader) = (store.snapshot(), store.reader());
    let rows = snapshot.rows();
    let (first, last) = (rows / 20 * 9, (rows / 20 * 11).min(rows - 1));
    let first = reader.seek(&snapshot, Seek::Row(first)).await?.context("the row is there")?.key;
    let last = reader.seek(&snapshot, Seek::Row(last)).await?.context("the row is there")?.key;
    let columns = terminal::columns();
    let figure = figure::figure(&reader, &snapshot, (first, last), ColumnId(0), u64::from(columns)).await?;
    Ok(terminal::draw(&figure.context("prices are finite")?, columns))
}

fn rate(
    out: &mut impl Write,
    what: &str,
    rows: u64,
    bytes: u64,
    seconds: f64,
    (done, floor): (&str, f64),
) -> Result<()> {
    let (rows, bytes, floor) = (whole(rows) / seconds / 1e6, whole(bytes) / seconds / 1e6, floor / 1e6);
    Ok(writeln!(
        out,
        "{what:<20}{rows:>9.2} million rows/s, {bytes:.0} MB/s; this disk raw: {floor:.0} MB/s {done}"
    )?)
}
