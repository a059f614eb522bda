//! kill -9 of an ingesting child, again and again, with a follower in a third process beside it.
//!
//! Each row says which life sent it, so that a row that was seen and lost, and sent again by the next life, shows.
//! `TIDELOG_KILLS` says how many lives; 20 unless told.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;

use futures::executor::block_on;
use tidelog::disk::{Glommio, Posix};
use tidelog::{Error, Options, Store};

use crate::process::{on, spawn, tidelog, tidelog_on};

/// Rows of a commit; small ones ride in the log, large ones go to the files.
const BATCHES: [usize; 2] = [700, 20_000];

/// The rows of a store as `life,row`, from `first` on.
fn rows(dir: &Path, first: u64) -> Vec<(u64, i64)> {
    block_on(async {
        let store = match Store::follow_on(Posix::default(), dir, Options::default()).await {
            Err(Error::NotAStore { .. }) => return Vec::new(),
            store => store.unwrap(),
        };
        let (snapshot, reader) = (store.snapshot(), store.reader());
        let mut scan = reader.scan(&snapshot, ..).rows(first.min(snapshot.rows())..snapshot.rows());
        let mut found = Vec::new();
        while let Some(batch) = scan.next().await.unwrap() {
            let lives = batch.columns()[0].1.as_i64().unwrap();
            found.extend(batch.keys().iter().copied().zip(lives.iter().copied()));
        }
        found
    })
}

/// Waits until nothing that a dead writer asked for is on its way any more: the kernel keeps the locks of its files
/// until then.
fn settle(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            settle(&path);
        } else {
            File::open(path).unwrap().lock().unwrap();
        }
    }
}

/// One ingesting child, killed when it has acknowledged so many batches. Returns the rows that it acknowledged, of
/// the whole store; none where it had not begun.
fn life(dir: &Path, life: u64, first: u64, batch: usize, batches: u64) -> Option<u64> {
    let disk = if life.is_multiple_of(2) && Glommio::check().is_ok() { "glommio" } else { "posix" };
    let batch_rows = batch.to_string();
    let arguments = ["ingest", dir.to_str().unwrap(), "--acknowledge", "--batch", &batch_rows];
    let mut child = spawn(tidelog_on(disk, arguments).stderr(Stdio::null()));
    let mut stdin = child.stdin.take().unwrap();
    let mut acknowledged = BufReader::new(child.stdout.take().unwrap()).lines();
    thread::scope(|scope| {
        let feed = scope.spawn(move || {
            let mut text = String::from("row,life\n");
            for row in first.. {
                text += &format!("{row},{life}\n");
                if text.len() > 16 << 10 {
                    if stdin.write_all(text.as_bytes()).is_err() {
                        return;
                    }
                    text.clear();
                }
            }
        });
        let mut last = None;
        for _ in 0..batches {
            last = acknowledged.next().map(|line| line.unwrap().parse().unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        feed.join().unwrap();
        // What it said before it died counts; of its last word perhaps only a part is there.
        for line in acknowledged {
            let line = line.unwrap();
            last = line.parse().ok().max(last);
        }
        last
    })
}

/// A follower in its own process, and the rows that it prints.
fn follower(dir: &Path) -> (Child, mpsc::Receiver<(u64, i64)>) {
    let arguments = ["tail", dir.to_str().unwrap(), "--follow", "-n", "18446744073709551615"];
    let mut child = spawn(tidelog(arguments).stderr(Stdio::inherit()));
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in lines.skip(1) {
            let line = line.unwrap();
            let (row, life) = line.split_once(',').unwrap();
            if sender.send((row.parse().unwrap(), life.parse().unwrap())).is_err() {
                return;
            }
        }
    });
    (child, receiver)
}

#[test]
fn a_killed_ingest_leaves_whole_batches_and_all_that_it_acknowledged() {
    let lives = std::env::var("TIDELOG_KILLS").map_or(20, |lives| lives.parse().unwrap());
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("store");
    let mut dice = 3_u64;
    let mut roll = |bound: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % bound
    };
    let mut expected: Vec<(u64, i64)> = Vec::new();
    let (mut watching, mut killed_in_between, mut seen) = (None, 0, Vec::new());
    for number in 0..lives {
        let (first, batch) = (expected.len() as u64, BATCHES[usize::try_from(roll(2)).unwrap()]);
        let acknowledged = life(&dir, number, first, batch, roll(6));
        settle(&dir);
        let new = rows(&dir, first);
        let found = first + new.len() as u64;
        let acknowledged = acknowledged.unwrap_or(first);
        assert!(found >= acknowledged, "life {number}: {found} rows, {acknowledged} acknowledged");
        assert!(new.len().is_multiple_of(batch), "life {number}: {} rows in batches of {batch}", new.len());
        let sent = (first..found).map(|row| (row, i64::try_from(number).unwrap()));
        assert!(new.iter().copied().eq(sent), "life {number}: rows that nobody sent");
        killed_in_between += u64::from(found > acknowledged);
        expected.extend(new);
        if watching.is_none() && dir.exists() && !rows(&dir, 0).is_empty() {
            watching = Some(follower(&dir));
        }
        if let Some((_, rows)) = &watching {
            seen.extend(rows.try_iter());
            assert!(seen.len() <= expected.len(), "life {number}: the follower saw rows that are not there");
            assert_eq!(seen, expected[..seen.len()], "life {number}: the follower saw other rows");
        }
    }
    // The store goes on, and the follower sees that too.
    let last = expected.len() as u64;
    on("ingest", &dir, &[], format!("row,life\n{last},-1\n").as_bytes()).text();
    expected.push((last, -1));
    assert!(rows(&dir, 0) == expected, "all rows are those of their lives");
    let (mut child, rows) = watching.expect("some life committed something");
    seen.extend(rows.iter().take(expected.len() - seen.len()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(seen == expected, "the follower saw every row, once, and no other");
    println!("{lives} lives, {} rows, {killed_in_between} killed behind a commit", expected.len());
}
