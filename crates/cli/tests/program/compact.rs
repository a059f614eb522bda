//! `compact`: the same rows from fewer, denser segments.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use futures::executor::block_on;
use serde_json::Value;
use tidelog::disk::Posix;
use tidelog::{Options, Writer};

use crate::process::{Place, on};

fn rows(from: u64) -> String {
    let mut input = String::from("t,price,venue,count\n");
    for row in from..from + 40_000 {
        let venue = if row.is_multiple_of(7) { "" } else { ["north", "south", "east"][(row % 3) as usize] };
        let price = 10_000 + row * 7919 % 400;
        writeln!(input, "{},{}.{:02},{venue},{}", 1000 + row / 3, price / 100, price % 100, row % 50)
            .unwrap();
    }
    input
}

fn json(dir: &Path, command: &str, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    serde_json::from_str(&on(command, dir, &arguments, b"").text()).unwrap()
}

/// Names of sealed files.
fn files(dir: &Path) -> usize {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".segment")).count()
}

#[test]
fn a_compacted_store_answers_as_before_from_fewer_smaller_files() {
    let place = Place::new();
    let dir = place.store("store");
    for part in 0..3 {
        on("ingest", &dir, &["--key-unit", "s"], rows(part * 40_000).as_bytes()).text();
    }
    let ask = || {
        let scan = on("scan", &dir, &["--null", "NULL"], b"").text();
        let agg = json(&dir, "agg", &["--column", "price"]);
        let windows = json(&dir, "agg", &["--column", "count", "--every", "1000"]);
        (scan, agg, windows, json(&dir, "get", &["12345"]))
    };
    let before = ask();
    assert_eq!((before.0.lines().count(), files(&dir)), (120_001, 0), "all rows are in the active segment");

    let all = json(&dir, "compact", &[]);
    let number = |all: &Value, name: &str| all[name].as_u64().unwrap();
    assert_eq!((number(&all, "sealed_segments"), number(&all, "sealed_rows")), (1, 120_000));
    assert!(number(&all, "sealed_bytes") * 3 < number(&all, "bytes_before"), "{all}");
    assert!(ask() == before, "sealed");
    let sealed = number(&all, "sealed_bytes");

    let all = json(&dir, "compact", &["--dense"]);
    assert_eq!((number(&all, "sealed_segments"), number(&all, "rewritten_rows")), (1, 120_000));
    assert!(number(&all, "sealed_bytes") < sealed, "{all}, {sealed}");
    assert_eq!(files(&dir), 1, "the old file has gone");
    assert!(ask() == before, "dense");
    let text = on("compact", &dir, &["--dense"], b"").text();
    assert!(text.contains("120000 rows in 1 segment of ") && text.contains("0 rows rewritten"), "{text}");

    let checked = json(&dir, "check", &[]);
    assert_eq!((&checked["intact"], &checked["rows"]), (&true.into(), &120_000.into()));
}

#[test]
fn a_store_that_is_written_is_locked_and_none_is_none() {
    let place = Place::new();
    let dir = place.store("store");
    on("ingest", &dir, &["--key-unit", "s"], rows(0).as_bytes()).text();
    let writer = block_on(Writer::open_on(Posix::default(), &dir, Options::default())).unwrap();
    on("compact", &dir, &["--dense"], b"").refused(3);
    block_on(writer.close()).unwrap();
    on("compact", &dir, &["--dense"], b"").text();
    on("compact", &place.store("nothing"), &[], b"").refused(4);
}
