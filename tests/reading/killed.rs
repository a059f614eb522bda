//! A writer that is killed again and again in its own process, on real files, and a follower beside it.
//!
//! Whatever the follower was shown is there when the store is opened again; so is whatever was acknowledged; and
//! there are whole commits only. The follower's checks are on its own thread, never in step with the writer.
//!
//! Not here: power cuts, and late writes of the dead (`tests/crash.rs`, `tests/dead_writers.rs`).

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use futures::executor::block_on;
use tidelog::disk::Posix;
use tidelog::{Column, ColumnId, Kind, Options, Schema, Store, Values, Writer};

/// Tells the child where the store is.
const DIRECTORY: &str = "TIDELOG_KILLED_WRITER";

const KILLS: usize = 40;

fn options() -> Options {
    // Some ten small commits fill a log file; the larger ones go straight to the files.
    Options::default().log_bytes(64 << 10).segment_rows(3_000).inline_bytes(4 << 10)
}

fn value(row: u64) -> u64 {
    (row + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
}

/// Where commits end: the same in every life, since a life begins where one ends.
fn boundaries() -> impl Iterator<Item = u64> {
    let rows = (0_u64..).map(|commit| 1 + commit * 37 % 900);
    std::iter::once(0).chain(rows.scan(0, |end, rows| {
        *end += rows;
        Some(*end)
    }))
}

fn is_boundary(rows: u64) -> bool {
    boundaries().find(|end| *end >= rows) == Some(rows)
}

/// Not a test: the writer's side, which runs this binary again.
#[test]
fn the_writer_that_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    block_on(async {
        let mut writer = Writer::open_on(Posix::default(), &directory, options()).await.unwrap();
        let found = writer.recovery().rows;
        let mut start = found;
        for end in boundaries().skip_while(|end| *end <= found) {
            let rows: Vec<u64> = (start..end).collect();
            let values: Vec<u64> = rows.iter().map(|row| value(*row)).collect();
            writer.pending().append_batch(&rows, &[Values::U64(&values)]).unwrap();
            writer.commit().await.unwrap();
            start = end;
            // Past the capture of a test's output.
            let mut out = std::io::stdout();
            out.write_all(format!("\n@{end}\n").as_bytes()).unwrap();
            out.flush().unwrap();
        }
    });
}

/// Kills a writer that has acknowledged so many commits; returns how many rows those are.
fn kill_one(directory: &Path, commits: usize) -> u64 {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["killed::the_writer_that_is_killed", "--exact", "--nocapture"]);
    let mut child = command.env(DIRECTORY, directory).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = lines.filter_map(|line| line.unwrap().strip_prefix('@')?.parse().ok());
    let acknowledged = told.take(commits).last().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    acknowledged
}

/// Reads what is new, again and again, until it is told to stop; says how many rows it was shown.
async fn follow(directory: &Path, shown: &AtomicU64, stop: &AtomicBool) -> u64 {
    let store = Store::follow_on(Posix::default(), directory, options()).await.unwrap();
    let reader = store.reader();
    let mut looks_left = u64::MAX;
    while looks_left > 0 {
        // One more look when nobody writes any more.
        looks_left = if stop.load(Ordering::Acquire) { looks_left.min(2) - 1 } else { looks_left };
        let (before, at) = (shown.load(Ordering::Relaxed), store.refresh().await.unwrap());
        assert!(at.rows() >= before, "{before} rows were shown, then {}", at.rows());
        assert!(is_boundary(at.rows()), "{} rows are not whole commits", at.rows());
        let mut scan = reader.scan(&at, ..).rows(before..u64::MAX);
        let mut row = before;
        while let Some(batch) = scan.next().await.unwrap() {
            let values = batch.column(ColumnId(0)).unwrap().as_u64().unwrap();
            for (key, found) in batch.keys().iter().zip(values) {
                assert_eq!((*key, *found), (row, value(row)));
                row += 1;
            }
        }
        assert_eq!(row, at.rows());
        shown.store(row, Ordering::Release);
    }
    store.rows()
}

#[test]
fn what_a_follower_was_shown_outlives_every_kill() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("store");
    let schema = Schema::new([Column::new("value", Kind::U64)]).unwrap();
    let created = block_on(Writer::create_on(Posix::default(), &directory, schema, options())).unwrap();
    block_on(created.close()).unwrap();
    let (shown, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (mut rows, mut between) = (0, 0);
    let seen = thread::scope(|scope| {
        let follower = scope.spawn(|| block_on(follow(&directory, &shown, &stop)));
        for round in 0..KILLS {
            let acknowledged = kill_one(&directory, 1 + round % 7);
            let before = shown.load(Ordering::Acquire);
            between += u64::from(before < acknowledged);
            let writer = block_on(Writer::open_on(Posix::default(), &directory, options())).unwrap();
            rows = writer.recovery().rows;
            assert!(rows >= acknowledged && rows >= before, "{rows} of {acknowledged}, {before} shown");
            assert!(is_boundary(rows), "{rows} rows are not whole commits");
            if round % 3 == 0 {
                block_on(writer.close()).unwrap();
            }
            assert!(!follower.is_finished(), "the follower has failed");
        }
        stop.store(true, Ordering::Release);
        follower.join().unwrap()
    });
    println!("{rows} rows; {between} of {KILLS} kills came when the follower was behind");
    assert_eq!(seen, rows, "in the end it sees everything");
}
