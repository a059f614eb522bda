//! What bad input, bad stores and bad command lines get: a code, and one sentence.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use futures::executor::block_on;
use tidelog::disk::Posix;
use tidelog::{Options, Writer};

use crate::process::{Place, end, on, run, spawn, tidelog};

/// What `ingest` says to an input, and how many rows the store has then.
fn ingested(arguments: &[&str], input: &[u8]) -> (Option<i32>, String, usize) {
    let place = Place::new();
    let dir = place.store("store");
    let ended = on("ingest", &dir, arguments, input);
    let scanned = on("scan", &dir, &[], b"");
    let rows = scanned.out.iter().filter(|byte| **byte == b'\n').count().saturating_sub(1);
    (ended.code, ended.words, rows)
}

/// Options, input, the line that is wrong (0: none), what is said about it, rows that are committed.
type Case = (&'static [&'static str], &'static [u8], u64, &'static str, usize);

#[test]
fn a_row_that_is_wrong_is_named_and_what_is_before_it_is_committed() {
    let json = &["--format", "jsonl"][..];
    let cases: [Case; 17] = [
        (&[], b"t,a\n1,1\n2,2\n3,x\n", 0, "", 3),
        (&[], b"t,a\n1,1\n2\n3,3\n", 3, "it has 1 cells, the header has 2", 1),
        (&[], b"t,a\n1,1\n2,2,2\n3,3\n", 3, "it has 3 cells, the header has 2", 1),
        (&[], b"t,a\n1,x\n2,\xff\n", 3, "is no UTF-8", 1),
        (&[], b"t,a\n5,1\n6,1\n6,1\n5,1\n7,1\n", 5, "its key goes back: 5 is below 6", 3),
        (
            &[],
            b"t,a\n2014-04-02,1\n2014-04-01,1\n",
            3,
            "2014-04-01T00:00:00Z is below 2014-04-02T00:00:00Z",
            1,
        ),
        (&[], b"t,a\n1970-01-01,1\n1969-12-31 23:59:59,1\n", 3, "is before 1970", 1),
        (&["--key-unit", "s"], b"t,a\n-1,1\n", 2, "is before 1970", 0),
        (&["--key-unit", "s"], b"t,a\n2014-04-01 00:00:00.5,1\n", 2, "finer than the store's unit", 0),
        (&[], b"t,a\n1,1\nx,1\n", 3, "the key `x` is neither a whole number nor a time", 1),
        (&[], b"t,a\n2014-04-01,1\n5,1\n", 3, "the key `5` is no time", 1),
        (json, b"{\"t\":1,\"a\":1}\n{\"t\":2\n", 2, "byte 6: EOF", 1),
        (json, b"{\"t\":1,\"a\":1}\n{\"t\":2,\"a\":{}}\n", 2, "`a` holds other values", 1),
        (json, b"{\"t\":1,\"a\":1}\n{\"t\":2,\"a\":\"\xff\"}\n", 2, "it is no UTF-8", 1),
        (json, b"{\"t\":1,\"a\":1}\n\n7\n", 3, "an object", 1),
        (json, b"{\"t\":1,\"a\":1}\n{\"a\":1}\n", 2, "the key a null is neither", 1),
        (&["--batch", "1"], b"t,a\n1,1\n2,1\n3,\n1,\n", 5, "its key goes back", 3),
    ];
    for (arguments, input, line, what, rows) in cases {
        let shown = String::from_utf8_lossy(input);
        let (code, words, found) = ingested(arguments, input);
        assert_eq!(found, rows, "{shown}: {words}");
        if line == 0 {
            assert_eq!(code, Some(0), "{shown}: {words}");
            continue;
        }
        assert_eq!(code, Some(4), "{shown}: {words}");
        let start = format!("tidelog: standard input, line {line}: ");
        assert!(words.starts_with(&start) && words.contains(what), "{shown}: {words}");
        let committed = match rows {
            0 => "; nothing is committed\n".to_owned(),
            1 => "; the row before it is committed\n".to_owned(),
            rows => format!("; the {rows} rows before it are committed\n"),
        };
        assert!(words.ends_with(&committed), "{shown}: {words}");
    }
}

#[test]
fn a_late_contradiction_names_the_store_that_would_fit() {
    let place = Place::new();
    let mut input = String::from("time,a count,b,c\n");
    (1..=10_500).for_each(|row| input += &format!("{row},{row},{},true\n", row % 2));
    for (last, fit) in [
        ("20000,x,1,true", "--column 'a count:text' --column b:i64 --column c:bool"),
        ("20000,1.5,1,true", "--column 'a count:f64' --column b:i64 --column c:bool"),
        ("20000,1,,true", "--column 'a count:i64' --column 'b:i64?' --column c:bool"),
        ("20000,1,1,1", "--column 'a count:i64' --column b:i64 --column c:text"),
    ] {
        let (dir, fitting) = (place.store(&format!("a{}", last.len())), place.store("fitting"));
        let input = format!("{input}{last}\n");
        let words = on("ingest", &dir, &[], input.as_bytes()).refused(4);
        assert!(
            words.contains("line 10502: column ") && words.contains("the 10500 rows before it"),
            "{words}"
        );
        assert!(words.contains(&format!("`tidelog create DIR {fit}`")), "{words}");
        // The command that it names makes a store that takes all.
        let command = words.split('`').find_map(|part| part.strip_prefix("tidelog create DIR ")).unwrap();
        let options = command.split("--column ").skip(1).map(|option| option.trim().trim_matches('\''));
        let options: Vec<&str> = options.flat_map(|option| ["--column", option]).collect();
        on("create", &fitting, &options, b"").text();
        on("ingest", &fitting, &[], input.as_bytes()).text();
        assert_eq!(on("tail", &fitting, &["-n", "1"], b"").text().lines().nth(1), Some(last));
        fs::remove_dir_all(&fitting).unwrap();
        fs::remove_dir_all(&dir).unwrap();
    }
}

#[test]
fn columns_that_do_not_fit_the_store_are_named() {
    let place = Place::new();
    let dir = place.store("store");
    on("create", &dir, &["--column", "a:i64", "--column", "b:i64?"], b"").text();
    for (input, what) in [
        (&b"t,a,x\n1,1,1\n"[..], "the store has no column `x`; it has a, b"),
        (b"t,b\n1,1\n", "column a: a null where the column takes no nulls"),
        (b"t,a,a\n1,1,1\n", "two columns are named `a`"),
        (b"", "not even a header"),
        (b"t,a\n2014-04-01,1\n", "the store's keys have no unit"),
        (b"t,a\n1,9223372036854775808\n", "`9223372036854775808` is no i64"),
    ] {
        let words = on("ingest", &dir, &[], input).refused(4);
        assert!(words.contains(what), "{words}");
    }
    let words = on("ingest", &dir, &["--key", "nothing"], b"t,a\n1,1\n").refused(4);
    assert!(words.contains("there is no column `nothing` for the key; there are t, a"), "{words}");
    // In any order, the key anywhere, what may be null left out.
    on("ingest", &dir, &["--key", "t"], b"a,t\n7,1\n").text();
    on("ingest", &dir, &["--key", "t"], b"b,t,a\n8,2,9\n").text();
    assert_eq!(on("scan", &dir, &[], b"").text(), "key,a,b\n1,7,\n2,9,8\n");
}

#[test]
fn a_command_line_that_is_wrong_is_2() {
    let place = Place::new();
    let dir = place.store("store");
    on("create", &dir, &["--column", "a:i64"], b"").text();
    let store = dir.to_str().unwrap();
    for arguments in [
        &["nothing"][..],
        &[],
        &["scan"],
        &["scan", store, "--format", "xml"],
        &["scan", store, "--from", "yesterday"],
        &["scan", store, "--from", "2014-04-01"],
        &["scan", store, "--columns", "x"],
        &["scan", store, "--columns", "a,a"],
        &["scan", store, "--keys", "time"],
        &["scan", store, "--null", "7"],
        &["get", store, "-1"],
        &["ingest", store, "--on-late", "maybe"],
        &["ingest", store, "--batch", "0"],
        &["bench", "--rows", "0"],
        &["ingest", store, "--key-unit", "s"],
        &["ingest", store, "--format", "jsonl", "--null", "x"],
        &["create", "/nowhere/at/all", "--column", "a:float"],
        &["create", "/nowhere/at/all", "--column", "a"],
        &["create", "/nowhere/at/all", "--key-unit", "h"],
        &["completions", "tcl"],
    ] {
        let ended = run(arguments, b"");
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.words);
        assert!(ended.out.is_empty() && !ended.words.is_empty(), "{arguments:?}");
    }
    assert!(run(["scan", store, "--disk", "tape"], b"").words.contains("glommio, posix"));
}

#[test]
fn what_is_no_store_is_4() {
    let place = Place::new();
    let (absent, foreign) = (place.store("absent"), place.store("foreign"));
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("precious"), "mine").unwrap();
    for dir in [&absent, &foreign, &foreign.join("precious")] {
        for command in [&["scan"][..], &["get", "1"], &["tail"], &["tail", "--follow"]] {
            let words = on(command[0], dir, &command[1..], b"").refused(4);
            assert!(words.contains("is not a store"), "{words}");
        }
    }
    let words = on("ingest", &foreign, &[], b"t,a\n1,1\n").refused(4);
    assert!(words.contains("it holds precious"), "{words}");
    let words = on("create", &foreign, &[], b"").refused(4);
    assert!(words.contains("it holds precious"), "{words}");
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1, "nothing was made there");
    let words = on("ingest", &absent, &["/nowhere/at/all.csv"], b"").refused(4);
    assert!(words.contains("could not open /nowhere/at/all.csv"), "{words}");
    assert!(on("ingest", &absent, &[foreign.to_str().unwrap()], b"").refused(4).contains("is a directory"));
    let words = on("ingest", &absent, &[], b"t,a\n").refused(4);
    assert!(words.contains("no rows") && words.contains("no store was made"), "{words}");
    assert!(!absent.exists());
}

#[test]
fn who_comes_second_is_3() {
    let place = Place::new();
    let dir = place.store("store");
    on("ingest", &dir, &[], b"t,a\n1,1\n").text();
    assert!(on("create", &dir, &[], b"").refused(3).contains("is a store already"));
    let writer = block_on(Writer::open_on(Posix::default(), &dir, Options::default())).unwrap();
    assert!(on("ingest", &dir, &[], b"t,a\n2,2\n").refused(3).contains("LOCK is locked"));
    // Readers need no lock.
    assert_eq!(on("scan", &dir, &[], b"").text(), "key,a\n1,1\n");
    drop(writer);
    on("ingest", &dir, &[], b"t,a\n2,2\n").text();
}

/// The newest manifest of a store.
fn manifest(dir: &Path) -> PathBuf {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let generation = |name: &String| name.strip_prefix("manifest-")?.parse::<u64>().ok();
    dir.join(names.max_by_key(generation).unwrap())
}

/// CRC-32C, bit by bit.
fn checksum(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(!0_u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ (0x82F6_3B78 * (sum & 1)))
    })
}

#[test]
fn a_newer_version_is_4_and_damage_is_5() {
    let place = Place::new();
    let dir = place.store("store");
    on("ingest", &dir, &[], b"t,a\n1,1\n").text();
    let path = manifest(&dir);
    let whole = fs::read(&path).unwrap();

    // docs/format.md, "Sheet" and "Checksums".
    let mut newer = whole.clone();
    newer[8] = 2;
    newer[52..56].fill(0);
    let mut salt = [0; 48];
    salt[0] = 2;
    salt[24..32].copy_from_slice(&whole[32..40]);
    salt[32..].copy_from_slice(&whole[16..32]);
    let sum = checksum(salt.into_iter().chain(newer.iter().copied()));
    newer[52..56].copy_from_slice(&sum.to_le_bytes());
    let mut damaged = whole.clone();
    damaged[70] ^= 1;
    for (bytes, code, what) in [(&newer, 4, "has format version 2"), (&damaged, 5, "is damaged at byte")] {
        fs::write(&path, bytes).unwrap();
        for command in [&["scan"][..], &["get", "1"], &["tail"], &["ingest"]] {
            let words = on(command[0], &dir, &command[1..], b"t,a\n2,2\n").refused(code);
            assert!(words.contains(what) && words.contains(path.to_str().unwrap()), "{words}");
        }
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(on("scan", &dir, &[], b"").text(), "key,a\n1,1\n");
}

#[test]
fn a_reader_that_goes_away_ends_a_follower_quietly() {
    let place = Place::new();
    let dir = place.store("store");
    on("ingest", &dir, &[], b"t,a\n1,1\n").text();
    let mut tail = spawn(&mut tidelog(["tail", dir.to_str().unwrap(), "--follow"]));
    let mut stdout = tail.stdout.take().unwrap();
    let mut seen = [0; 10];
    stdout.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"key,a\n1,1\n");
    on("ingest", &dir, &[], b"t,a\n2,2\n").text();
    let mut seen = [0; 4];
    stdout.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"2,2\n");
    // No new row is needed to see it.
    drop(stdout);
    let ended = tail.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn nobody_who_stops_listening_keeps_rows_from_being_ingested() {
    let place = Place::new();
    let dir = place.store("store");
    let arguments = ["ingest", dir.to_str().unwrap(), "--acknowledge", "--batch", "1"];
    let mut ingest = spawn(&mut tidelog(arguments));
    drop(ingest.stdout.take());
    ingest.stdin.take().unwrap().write_all(b"t,a\n1,1\n2,2\n3,3\n").unwrap();
    assert!(ingest.wait().unwrap().success());
    assert_eq!(on("scan", &dir, &[], b"").text(), "key,a\n1,1\n2,2\n3,3\n");
}

#[test]
fn where_words_cannot_go_the_code_is_the_same() {
    let place = Place::new();
    let dir = place.store("store");
    let deaf = |arguments: &[&str], input: &[u8]| {
        let mut command = tidelog(arguments);
        command.stderr(fs::File::create("/dev/full").unwrap());
        end(command, input).code
    };
    let store = dir.to_str().unwrap();
    assert_eq!(deaf(&["scan", store], b""), Some(4));
    assert_eq!(deaf(&["ingest", store], b"t,a\n1,1\n"), Some(0));
    assert_eq!(on("scan", &dir, &[], b"").text(), "key,a\n1,1\n");
    assert_eq!(deaf(&["scan", store, "--format", "xml"], b""), Some(2));
}
