//! Constant memory, whatever the length of a pipe.

use std::io::{BufRead, BufReader, Write};
use std::process::ChildStdout;
use std::thread;

use crate::process::{peak_kib, read_some, spawn, tidelog};

/// What a command may take at most.
const PEAK_KIB_MAX: u64 = 128 << 10;

/// More than that.
const ROWS: usize = 160_000;
const NOTE_BYTES: usize = 1_000;

#[test]
fn a_pipe_of_any_length_takes_the_same_memory() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("store");
    let mut ingest = spawn(&mut tidelog(["ingest", dir.to_str().unwrap(), "--acknowledge"]));
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
        let mut scan = spawn(&mut tidelog(["scan", dir.to_str().unwrap(), "--format", format]));
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

/// Rows of two formats that never end, behind one that is right.
#[test]
fn a_row_without_an_end_is_refused_where_it_begins() {
    for (format, head) in
        [("csv", "t,a\n1,x\n2,\"y"), ("jsonl", "{\"t\":1,\"a\":\"x\"}\n\n{\"t\":2,\"a\":\"y")]
    {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("store");
        let arguments = ["ingest", dir.to_str().unwrap(), "--format", format];
        let mut ingest = spawn(&mut tidelog(arguments));
        let mut stdin = ingest.stdin.take().unwrap();
        let feed = thread::spawn(move || {
            let more = vec![b'z'; 1 << 20];
            // The program goes away before the end.
            stdin.write_all(head.as_bytes()).and_then(|()| (0..40).try_for_each(|_| stdin.write_all(&more)))
        });
        let ended = ingest.wait_with_output().unwrap();
        assert!(feed.join().unwrap().is_err(), "{format}: it was not read to its end");
        let words = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(4), "{format}: {words}");
        let says = words.contains("line 3: the row that begins here is longer than 8388608 bytes");
        assert!(says && words.contains("the row before it is committed"), "{format}: {words}");
    }
}
