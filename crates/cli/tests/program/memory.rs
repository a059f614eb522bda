//! Constant memory, whatever the length of a pipe.

use std::io::{BufRead, BufReader, Write};
use std::process::ChildStdout;
use std::thread;

use crate::process::{peak_kib, read_some, tidelog};

/// What a command may take at most.
const PEAK_KIB_MAX: u64 = 128 << 10;

/// More than that.
const ROWS: usize = 160_000;
const NOTE_BYTES: usize = 1_000;

#[test]
fn a_pipe_of_any_length_takes_the_same_memory() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("store");
    let mut ingest = tidelog(["ingest", dir.to_str().unwrap(), "--acknowledge"]).spawn().unwrap();
    let (mut stdin, stdout) = (ingest.stdin.take().unwrap(), ingest.stdout.take().unwrap());
    let note = "n".repeat(NOTE_BYTES);
    thread::scope(|scope| {
        let feed = scope.spawn(move || {
            stdin.write_all(b"t,value,note\n").unwrap();
            for row in 0..ROWS {
                writeln!(stdin, "2014-04-01 00:00:07.{row:09},{row}.5,{note}").unwrap();
            }
            stdin
        });
        let mut acknowledged =
            BufReader::new(stdout).lines().map(|line| line.unwrap().parse::<usize>().unwrap());
        // The feed is still open: whatever the program holds, it holds now.
        let last = acknowledged.find(|rows| *rows + 65_536 > ROWS);
        assert!(last.is_some(), "nearly all of it is committed");
        let peak = peak_kib(&ingest).expect("it runs");
        assert!(peak <= PEAK_KIB_MAX, "ingest took {peak} KiB");
        drop(feed.join().unwrap());
        assert_eq!(acknowledged.last(), Some(ROWS));
    });
    assert!(ingest.wait().unwrap().success());

    for format in ["csv", "jsonl"] {
        let mut scan = tidelog(["scan", dir.to_str().unwrap(), "--format", format]).spawn().unwrap();
        let mut stdout: ChildStdout = scan.stdout.take().unwrap();
        // It has far more to write than the pipe holds.
        let enough = ROWS * NOTE_BYTES * 9 / 10;
        assert!(read_some(&mut stdout, enough) >= enough);
        let peak = peak_kib(&scan).expect("it runs");
        assert!(peak <= PEAK_KIB_MAX, "scan took {peak} KiB");
        // Whoever has seen enough goes away, and nobody says a word about it.
        drop(stdout);
        let ended = scan.wait_with_output().unwrap();
        assert_eq!((ended.status.code(), String::from_utf8(ended.stderr).unwrap().as_str()), (Some(0), ""));
    }
}
