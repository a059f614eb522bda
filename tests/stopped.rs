//! An executor that ends with a commit in flight: its process cannot open the store again, the next one finds
//! every acknowledged row.
//!
//! The kernel may still be writing, and nobody is left who would hear of the end: so what the requests hold, the
//! store's lock too, is given back by the end of the process only. [`Glommio::run`] waits for them instead.
//!
//! io_uring; else skipped. Not here: single requests (tests/contract), futures dropped at every poll on the
//! simulated disk (tests/drops.rs), a writer that is killed (tests/dead_writers.rs).

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod common;
#[path = "common/skip.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod skip;

use std::path::Path;
use std::pin::pin;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::directory;
use common::history::{options, row, rows, schema};
use futures::poll;
use skip::{Need, skips};
use tidelog::disk::Glommio;
use tidelog::{Error, Writer};

/// What the child is told: where the store is, rows of the commit that is left in flight (none: a checkpoint),
/// and how often that is polled.
const DIRECTORY: &str = "TIDELOG_STOPPED";
const ROWS: &str = "TIDELOG_STOPPED_ROWS";
const POLLS: &str = "TIDELOG_STOPPED_POLLS";

/// Rows that are acknowledged before: some in the files, some in the log.
const ACKNOWLEDGED: u64 = 45;

/// One test at a time: a child that another one starts holds the locks of this process until it is a program of its own.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn append(writer: &mut Writer, from: u64, to: u64) {
    (from..to).for_each(|number| assert_eq!(row(number).append(writer.pending()).unwrap(), number));
}

/// Makes a store with acknowledged rows.
async fn begin(dir: &Path) -> Writer {
    let mut writer = Writer::create(dir, schema(), options()).await.unwrap();
    append(&mut writer, 0, 40);
    writer.commit().await.unwrap();
    append(&mut writer, 40, ACKNOWLEDGED);
    writer.commit().await.unwrap();
    writer
}

/// Begins a commit or a checkpoint, and leaves it where it is; true if it came to its end.
async fn leave_behind(writer: &mut Writer, count: u64, polls: u64) -> bool {
    append(writer, ACKNOWLEDGED, ACKNOWLEDGED + count);
    let call = async { if count > 0 { writer.commit().await.map(drop) } else { writer.checkpoint().await } };
    let mut call = pin!(call);
    for _ in 0..polls {
        if poll!(&mut call).is_ready() {
            return true;
        }
        glommio::executor().yield_task_queue_now().await;
    }
    false
}

#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIRECTORY) else { return };
    let number = |name: &str| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let (count, polls) = (number(ROWS), number(POLLS));
    // Not by `Glommio::run`, which would wait.
    let executor = glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound).make().unwrap();
    let dir = Path::new(&dir);
    let is_over = executor.run(async {
        let mut writer = begin(dir).await;
        leave_behind(&mut writer, count, polls).await
    });
    drop(executor);
    let opened = Glommio::run(async { Writer::open(dir, options()).await.map(drop) }).unwrap();
    let words = match opened {
        Err(Error::Locked { path, .. }) => {
            assert!(path.starts_with(dir), "{}", path.display());
            "locked"
        }
        Ok(()) => "open",
        Err(error) => panic!("{error}"),
    };
    println!("it was {} and is {words}", if is_over { "over" } else { "in flight" });
}

/// What a child says whose executor ended with a call in flight.
fn said(dir: &Path, count: u64, polls: u64) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child", "--exact", "--nocapture"]);
    command.env(DIRECTORY, dir).env(ROWS, count.to_string()).env(POLLS, polls.to_string());
    let output = command.output().unwrap();
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{words}\n{}", String::from_utf8_lossy(&output.stderr));
    words
}

#[test]
fn a_store_stays_locked_behind_an_executor_that_ended_and_a_new_process_finds_all() {
    let _alone = alone();
    if skips(&[Need::IoUring]) {
        return;
    }
    let mut locked = 0;
    // A small commit, a large one with its writes, syncs and record, a checkpoint.
    for (count, polls) in [(3, 1), (3, 2), (60, 1), (60, 2), (60, 3), (60, 4), (0, 1), (0, 3), (0, 5)] {
        let directory = directory(true);
        let dir = directory.path().join("store");
        let words = said(&dir, count, polls);
        let is_locked = words.contains("in flight and is locked");
        assert!(
            is_locked || words.contains("over and is") || polls > 1,
            "{count} rows, {polls} polls: {words}"
        );
        locked += u64::from(is_locked);
        // This process is a new one to that store.
        let found = Glommio::run(async {
            let mut writer = Writer::open(&dir, options()).await.unwrap();
            let found = common::rows_of(&writer).await.unwrap();
            append(&mut writer, found.len() as u64, found.len() as u64 + 1);
            writer.commit().await.unwrap();
            writer.close().await.unwrap();
            found
        });
        let found = found.unwrap();
        let last = if found.len() as u64 == ACKNOWLEDGED { ACKNOWLEDGED } else { ACKNOWLEDGED + count };
        assert!(found == rows(0..last), "{} rows", found.len());
    }
    assert!(locked >= 5, "{locked} were locked");
}

#[test]
fn the_librarys_own_executor_ends_with_nothing_in_flight() {
    let _alone = alone();
    if skips(&[Need::IoUring]) {
        return;
    }
    for (count, polls) in [(3, 1), (60, 1), (60, 2), (60, 4), (0, 1), (0, 4)] {
        let directory = directory(true);
        let dir = directory.path().join("store");
        Glommio::run(async {
            let mut writer = begin(&dir).await;
            leave_behind(&mut writer, count, polls).await
        })
        .unwrap();
        let found = Glommio::run(async {
            let writer = Writer::open(&dir, options()).await.unwrap();
            common::rows_of(&writer).await.unwrap()
        });
        let found = found.unwrap();
        let last = if found.len() as u64 == ACKNOWLEDGED { ACKNOWLEDGED } else { ACKNOWLEDGED + count };
        assert!(found == rows(0..last), "{} rows", found.len());
    }
}
