//! A writer is killed with writes in the kernel, and its successor opens at once: what lands late harms no
//! acknowledged row.
//!
//! A child process commits on a slow disk (a loop device, a control group that may write so many bytes a second)
//! and is killed while its writes are queued there. They land seconds later, whoever has the store by then. What
//! keeps them out of the successor's way is the lock on each file: it is on the very descriptor that writes, which
//! the kernel keeps until the last request has ended. A lock anywhere else is gone with the process.
//!
//! Only this test tells the two apart, and `a_lock_on_another_descriptor_loses_rows` shows that it does: there the
//! child moves each lock to a second descriptor of the same file, as a program would that opens a file twice, and
//! late writes land in the successor's pages and in the place of its first record.
//!
//! Root, io_uring; else skipped. Not here: the same on the simulated disk (`tests/crash.rs`).
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use futures::executor::block_on;
use futures::future::join;
use nix::fcntl::{FlockArg, OFlag};
use tidelog::disk::{Disk, File, Glommio, Mode, PAGE, Posix};
use tidelog::{Column, Error, Kind, Options, Schema, Values, Writer};

#[path = "common/hooked.rs"]
mod hooked;
#[path = "common/skip.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod skip;
#[path = "common/throttle.rs"]
mod throttle;
#[path = "common/volume.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod volume;

use hooked::{Access, Hooked, descriptors};
use skip::{Need, say_skipped, skips};
use throttle::Throttle;
use volume::{Format, Volume, alone};

/// What the child is told: where the store is, what it commits, and whether its locks are where they belong.
const DIRECTORY: &str = "TIDELOG_DEAD_WRITER";
const ROWS: &str = "TIDELOG_DEAD_WRITER_ROWS";
const MOVES_LOCKS: &str = "TIDELOG_DEAD_WRITER_MOVES_LOCKS";
/// How many reads the child waits for before it says that its commit is on its way.
const READS: &str = "TIDELOG_DEAD_WRITER_READS";

/// Rows of a commit that goes straight to the raw files, a few writes each; and of one that rides in its record.
const LARGE: u64 = 40_000;
const SMALL: u64 = 10;

fn options() -> Options {
    Options::default().log_bytes(1 << 20).grow_bytes(8 << 20, 8 << 20)
}

fn schema() -> Schema {
    Schema::new(["a", "b", "c"].map(|name| Column::new(name, Kind::U64))).unwrap()
}

/// A value of a row that this life wrote: the same row is another in each life.
fn value(row: u64, column: u64, life: u64) -> u64 {
    (row * 4 + column + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29) ^ life
}

async fn commit<D: Disk>(writer: &mut Writer<D>, rows: Range<u64>, life: u64) -> Result<(), Error> {
    let keys: Vec<u64> = rows.clone().collect();
    let columns =
        [0, 1, 2].map(|column| rows.clone().map(|row| value(row, column, life)).collect::<Vec<_>>());
    let values: Vec<Values<'_>> = columns.iter().map(|column| Values::U64(column)).collect();
    writer.pending().append_batch(&keys, &values)?;
    writer.commit().await.map(drop)
}

// The child.

/// What a program does that locks a file through a descriptor other than the one that it writes through.
fn move_lock(path: &Path, access: Access) -> io::Result<()> {
    if access == Access::Read {
        return Ok(());
    }
    for descriptor in descriptors(path)? {
        let mode = OFlag::from_bits_truncate(descriptor.flags) & OFlag::O_ACCMODE;
        if mode == OFlag::O_RDWR {
            #[expect(deprecated, reason = "the descriptor is the store's own")]
            nix::fcntl::flock(descriptor.number, FlockArg::Unlock)?;
        }
    }
    let other = fs::OpenOptions::new().write(true).open(path)?;
    other.try_lock()?;
    std::mem::forget(other);
    Ok(())
}

/// Not a test: the child's side of the others, which run this binary again.
#[test]
fn the_child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let number = |name| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let moves_locks = number(MOVES_LOCKS) == 1;
    let opened = move |path: &Path, access| if moves_locks { move_lock(path, access) } else { Ok(()) };
    let disk = Hooked { disk: Glommio::default(), opened };
    Glommio::run(write_for_ever(disk, directory.into(), number(ROWS), number(READS))).unwrap();
}

/// A line to the parent, past the capture of a test's output.
fn say(words: &str) {
    let mut out = io::stdout();
    out.write_all(format!("\n@{words}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

async fn write_for_ever<D: Disk>(disk: D, directory: PathBuf, count: u64, reads: u64) {
    let mut writer = Writer::open_on(disk.clone(), &directory, options()).await.unwrap();
    let mut next = writer.recovery().rows;
    let page = disk.open(&directory.join("log-a"), Mode::Read).await.unwrap();
    let mut told = io::stdin().lines();
    say(&format!("open {next}"));
    // Each line of the parent's is one commit.
    while told.next().is_some() {
        let announce = async {
            // What was submitted to the ring before a read is with the kernel when the read returns.
            for _ in 0..reads {
                page.read_at(0, PAGE).await.unwrap();
            }
            say("flying");
        };
        let (committed, ()) = join(commit(&mut writer, next..next + count, 1), announce).await;
        committed.unwrap();
        next += count;
        say(&format!("acknowledged {next}"));
    }
}

// The parent.

/// A child at work; killed when this is dropped.
struct Victim {
    child: Child,
    lines: io::Lines<BufReader<ChildStdout>>,
    orders: ChildStdin,
}

impl Victim {
    fn start(directory: &Path, round: Round) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["the_child", "--exact", "--nocapture", "--test-threads=1"]);
        command.env(DIRECTORY, directory).env(ROWS, round.rows.to_string());
        command.env(MOVES_LOCKS, u8::from(round.moves_locks).to_string()).env(READS, round.reads.to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let orders = child.stdin.take().unwrap();
        Victim { child, lines, orders }
    }

    fn order(&mut self) {
        self.orders.write_all(b"commit\n").unwrap();
    }

    /// What it says next.
    fn hear(&mut self) -> String {
        let said = self.lines.find_map(|line| line.unwrap().strip_prefix('@').map(str::to_owned));
        said.expect("the child has more to say")
    }

    /// Waits for an acknowledgement; returns how many rows there are.
    fn acknowledged(&mut self) -> u64 {
        loop {
            if let Some(rows) = self.hear().strip_prefix("acknowledged ") {
                return rows.parse().unwrap();
            }
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// One life of a child, and of its successor.
#[derive(Clone, Copy, Debug)]
struct Round {
    rows: u64,
    moves_locks: bool,
    reads: u64,
}

/// What came of it.
#[derive(Debug)]
struct Outcome {
    /// The dead child had requests in the kernel.
    was_in_flight: bool,
    /// What happened to rows that had been acknowledged.
    harm: Result<(), String>,
}

impl Round {
    /// 1. The child commits, and is told to commit again on a disk that has become slow.
    /// 2. It is killed while that is on its way.
    /// 3. The successor opens at once, on either disk, and commits.
    /// 4. What is still in the kernel lands; then every acknowledged row is looked at.
    fn play(self, volume: &Volume, throttle: &Throttle) -> Outcome {
        let directory = volume.path().join("store");
        let device = volume.numbers().unwrap();
        Glommio::run(async { Writer::create(&directory, schema(), options()).await?.close().await })
            .unwrap()
            .unwrap();
        let mut victim = Victim::start(&directory, self);
        assert_eq!(victim.hear(), "open 0");
        victim.order(); // 1
        let acknowledged = victim.acknowledged();
        throttle.add(victim.child.id()).unwrap();
        // A second or two for what it will write.
        let bytes = if self.rows == LARGE { 32 * self.rows } else { PAGE as u64 };
        throttle.limit(&device, Some(bytes)).unwrap();
        victim.order();
        while victim.hear() != "flying" {}
        drop(victim); // 2
        let was_in_flight = is_in_use(&directory).unwrap();

        let succeeded = match self.reads % 2 {
            0 => block_on(succeed(Posix::default(), &directory, acknowledged, self.rows)), // 3
            _ => Glommio::run(succeed(Glommio::default(), &directory, acknowledged, self.rows)).unwrap(),
        };
        throttle.limit(&device, None).unwrap(); // 4
        while volume.unmount().is_err() {
            // A request in the kernel keeps the file system in use.
            std::thread::yield_now();
        }
        volume.mount().unwrap();
        let lives = succeeded.map_err(|error| error.to_string());
        let harm = lives.and_then(|lives| Glommio::run(look(&directory, &lives)).unwrap());
        fs::remove_dir_all(&directory).unwrap();
        Outcome { was_in_flight, harm }
    }
}

/// Whether any file of the store is locked by somebody.
fn is_in_use(directory: &Path) -> io::Result<bool> {
    let mut paths: Vec<PathBuf> = ["log-a", "log-b"].map(|name| directory.join(name)).into();
    for file in fs::read_dir(directory.join("raw-0"))? {
        paths.push(file?.path());
    }
    for path in paths {
        match fs::File::open(path)?.try_lock_shared() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(true),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(false)
}

/// Rows and the life that wrote them.
type Lives = Vec<(Range<u64>, u64)>;

/// Opens the store, commits, and is gone without a checkpoint: its records are needed still.
async fn succeed<D: Disk>(disk: D, directory: &Path, acknowledged: u64, count: u64) -> Result<Lives, Error> {
    let mut writer = Writer::open_on(disk, directory, options()).await?;
    let found = writer.recovery().rows;
    assert!(
        found == acknowledged || found == acknowledged + count,
        "{found} rows, {acknowledged} acknowledged"
    );
    let mut lives = vec![(0..found, 1)];
    for life in 2..4 {
        let (start, end) = (lives.last().unwrap().0.end, lives.last().unwrap().0.end + count);
        commit(&mut writer, start..end, life).await?;
        lives.push((start..end, life));
    }
    Ok(lives)
}

/// Whether every row is there, as it was written.
async fn look(directory: &Path, lives: &Lives) -> Result<(), String> {
    let said = |error: Error| error.to_string();
    let writer = Writer::open(directory, options()).await.map_err(said)?;
    let (reader, at) = (writer.store().reader(), writer.store().snapshot());
    let mut scan = reader.scan(&at, ..);
    let mut row = 0;
    while let Some(batch) = scan.next().await.map_err(said)? {
        for index in 0..batch.len() {
            let life = lives.iter().find(|(rows, _)| rows.contains(&row)).map_or(0, |(_, life)| *life);
            let cells = batch.columns().iter().map(|(_, values)| values.as_u64().unwrap()[index]);
            let expected = [0, 1, 2].map(|column| value(row, column, life));
            if batch.keys()[index] != row || !cells.eq(expected) {
                return Err(format!("row {row} is not as life {life} wrote it"));
            }
            row += 1;
        }
    }
    let expected = lives.last().map_or(0, |(rows, _)| rows.end);
    if row != expected {
        return Err(format!("{row} rows of {expected} are left"));
    }
    drop(scan);
    writer.close().await.map_err(said)
}

/// A disk to be slow on; none where this machine has none.
fn slow_disk() -> Option<(Volume, Throttle)> {
    if skips(&[Need::Root, Need::IoUring]) {
        return None;
    }
    match Throttle::make() {
        Ok(throttle) => Some((Volume::make(Format::Ext4, 256 << 20).unwrap(), throttle)),
        Err(error) => {
            say_skipped("a control group that limits writes", &error.to_string());
            None
        }
    }
}

#[test]
fn what_a_dead_writer_still_writes_harms_no_acknowledged_row() {
    let _alone = alone();
    let Some((volume, throttle)) = slow_disk() else { return };
    for rows in [LARGE, SMALL] {
        let mut in_flight = 0;
        for reads in 1..=4 {
            let round = Round { rows, moves_locks: false, reads };
            let outcome = round.play(&volume, &throttle);
            assert_eq!(outcome.harm, Ok(()), "{round:?}");
            in_flight += u32::from(outcome.was_in_flight);
        }
        assert!(in_flight > 0, "some child was killed with writes of {rows} rows in flight");
    }
}

#[test]
fn a_lock_on_another_descriptor_loses_rows() {
    let _alone = alone();
    let Some((volume, throttle)) = slow_disk() else { return };
    for rows in [LARGE, SMALL] {
        let harmed = (1..=8).find_map(|reads| {
            let outcome = Round { rows, moves_locks: true, reads }.play(&volume, &throttle);
            println!("{rows} rows, {reads} reads: {:?}", outcome.harm);
            assert!(!outcome.was_in_flight, "the locks are not where the requests are");
            outcome.harm.err()
        });
        assert!(harmed.is_some(), "nothing was harmed by late writes of {rows} rows: this test sees nothing");
    }
}
