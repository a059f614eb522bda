//! Values at the edges of their kinds, through both formats and back, to the bit.

use std::path::Path;

use futures::executor::block_on;
use tidelog::disk::Posix;
use tidelog::{Options, Store, Value};

use crate::process::{Place, end, on, run, tidelog_on};
use crate::skip::{Need, skips};

const COLUMNS: [&str; 9] = ["u64", "i64", "f64", "u32", "i32", "f32", "bool", "bytes", "text"];

/// One row a line, with every kind; `NULL` is a null.
const ROWS: &str = "key,u64,i64,f64,u32,i32,f32,bool,bytes,text
0,18446744073709551615,-9223372036854775808,NaN,4294967295,-2147483648,NaN,true,/w==,
0,0,9223372036854775807,inf,0,2147483647,inf,false,,NULLS
7,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL
8,1,-1,-inf,1,-1,-inf,true,AAEC,\"two
lines\"
9,9007199254740993,9007199254740993,-0.0,1,1,-0.0,true,////,\"a \"\"quoted\"\", b\"
9,1,1,5e-324,1,1,1e-45,true,AA==,\"\r\n\"
18446744073709551615,1,1,1.7976931348623157e308,1,1,3.4028235e38,true,AA==,\u{20ac} \\ / \u{0} \u{1f30a}
";

/// Every value, with the bits of its floats.
fn values(dir: &Path) -> Vec<String> {
    block_on(async {
        let store = Store::follow_on(Posix::default(), dir, Options::default()).await.unwrap();
        let (snapshot, reader) = (store.snapshot(), store.reader());
        let mut scan = reader.scan(&snapshot, ..);
        let mut found = Vec::new();
        while let Some(batch) = scan.next().await.unwrap() {
            for (row, key) in batch.keys().iter().enumerate() {
                found.push(key.to_string());
                found.extend(batch.columns().iter().map(|(_, vector)| match vector.value(row).unwrap() {
                    Value::F64(value) => format!("f64 {:016x}", value.to_bits()),
                    Value::F32(value) => format!("f32 {:08x}", value.to_bits()),
                    value => format!("{value:?}"),
                }));
            }
        }
        found
    })
}

fn create(dir: &Path, null: &str) {
    let mut arguments = vec!["create".to_owned(), dir.to_str().unwrap().to_owned()];
    for kind in COLUMNS {
        arguments.extend(["--column".to_owned(), format!("{kind}:{kind}{null}")]);
    }
    assert_eq!(run(arguments, b"").text(), "");
}

#[test]
fn every_value_survives_both_formats() {
    let place = Place::new();
    let [first, second, third] = ["first", "second", "third"].map(|name| place.store(name));
    for dir in [&first, &second, &third] {
        create(dir, "?");
    }
    let null = ["--null", "NULL"];
    on("ingest", &first, &null, ROWS.as_bytes()).text();
    let sent = values(&first);
    for bits in [
        "U64(18446744073709551615)",
        "I64(-9223372036854775808)",
        "f64 7ff8000000000000",
        "f64 8000000000000000",
    ] {
        assert!(sent.iter().any(|value| value == bits), "{bits}: {sent:?}");
    }
    for (value, count) in
        [("Null", 9), ("Text(\"\")", 1), ("Bytes([])", 1), ("Bytes([255])", 1), ("f32 80000000", 1)]
    {
        assert_eq!(sent.iter().filter(|found| *found == value).count(), count, "{value}: {sent:?}");
    }
    assert!(sent.contains(&"Text(\"two\\nlines\")".to_owned()), "{sent:?}");

    let rows = on("scan", &first, &null, b"").text();
    on("ingest", &second, &null, rows.as_bytes()).text();
    assert_eq!(values(&second), sent);
    assert_eq!(on("scan", &second, &null, b"").text(), rows);

    let lines = on("scan", &second, &["--format", "jsonl"], b"").text();
    assert!(lines.contains(r#""f64":"NaN""#) && lines.contains(r#""bytes":"/w==""#), "{lines}");
    on("ingest", &third, &["--format", "jsonl"], lines.as_bytes()).text();
    assert_eq!(values(&third), sent);
    assert_eq!(on("scan", &third, &["--format", "jsonl"], b"").text(), lines);
}

#[test]
fn an_empty_cell_is_empty_text_where_there_are_no_nulls() {
    let place = Place::new();
    let dir = place.store("store");
    let arguments = ["--column", "a:text", "--column", "b:bytes", "--column", "c:text?"];
    on("create", &dir, &arguments, b"").text();
    on("ingest", &dir, &[], b"key,a,b,c\n1,,,\n").text();
    assert_eq!(values(&dir), ["1", "Text(\"\")", "Bytes([])", "Null"]);
    assert_eq!(on("scan", &dir, &[], b"").text(), "key,a,b,c\n1,\"\",,\n");
    // A value that would read back as a null is not written.
    on("ingest", &dir, &[], b"key,a,b,c\n2,NONE,,\n").text();
    let words = on("scan", &dir, &["--null", "NONE"], b"").refused(4);
    assert!(words.contains("choose another --null"), "{words}");
}

#[test]
fn what_is_chosen_is_what_is_printed() {
    let place = Place::new();
    let dir = place.store("store");
    let input = b"t,a,b\n2014-04-01T00:00:00Z,1,x\n2014-04-01 00:00:01.5,2,y\n2014-04-02,3,z\n";
    on("ingest", &dir, &[], input).text();
    let scan = |arguments: &[&str]| on("scan", &dir, arguments, b"").text();
    assert_eq!(
        scan(&["--keys", "time", "--columns", "b,a"]),
        "key,b,a\n2014-04-01T00:00:00Z,x,1\n2014-04-01T00:00:01.5Z,y,2\n2014-04-02T00:00:00Z,z,3\n"
    );
    let half = ["--from", "2014-04-01T00:00:00.000000001Z", "--to", "1396396800000000000", "--columns", "a"];
    assert_eq!(scan(&half), "key,a\n1396310401500000000,2\n");
    assert_eq!(scan(&["--reverse", "--limit", "1", "--columns", "a"]), "key,a\n1396396800000000000,3\n");
    assert_eq!(scan(&["--from", "9", "--to", "3"]), "key,a,b\n");
    let get = |arguments: &[&str]| on("get", &dir, arguments, b"");
    assert_eq!(get(&["2014-04-02", "--json"]).text(), "{\"key\":1396396800000000000,\"a\":3,\"b\":\"z\"}\n");
    assert_eq!(get(&["1396310401500000001", "--at-or-before"]).text(), "key,a,b\n1396310401500000000,2,y\n");
    assert!(get(&["1396310401500000001"]).refused(1).contains("no row with the key"));
    assert!(get(&["0", "--at-or-before"]).refused(1).contains("no row at or before"));
    let tail = on("tail", &dir, &["-n", "2", "--format", "jsonl", "--keys", "time"], b"").text();
    let expected = "{\"key\":\"2014-04-01T00:00:01.5Z\",\"a\":2,\"b\":\"y\"}\n{\"key\":\"2014-04-02T00:00:00Z\",\"a\":3,\"b\":\"z\"}\n";
    assert_eq!(tail, expected);
}

#[test]
fn rows_are_intervals_that_end_at_their_keys() {
    let place = Place::new();
    let dir = place.store("store");
    on("ingest", &dir, &["--key-unit", "s"], b"t,a\n12,x\n18,y\n18,z\n30,w\n").text();
    let scan = |arguments: &[&str]| {
        let arguments: Vec<&str> = ["--intervals"].iter().chain(arguments).copied().collect();
        on("scan", &dir, &arguments, b"").text()
    };
    let head = "key,previous_key,a\n";
    assert_eq!(scan(&["--from", "8", "--to", "14"]), format!("{head}12,,x\n18,12,y\n18,18,z\n"));
    assert_eq!(scan(&["--from", "8", "--to", "12"]), format!("{head}12,,x\n"));
    assert_eq!(scan(&["--from", "18", "--null", "NONE"]), format!("{head}30,18,w\n"));
    let last = ["--reverse", "--limit", "1", "--format", "jsonl", "--keys", "time"];
    let expected =
        "{\"key\":\"1970-01-01T00:00:30Z\",\"previous_key\":\"1970-01-01T00:00:18Z\",\"a\":\"w\"}\n";
    assert_eq!(scan(&last), expected);
    let first = "{\"key\":12,\"previous_key\":null,\"a\":\"x\"}\n";
    assert_eq!(scan(&["--limit", "1", "--format", "jsonl"]), first);
}

#[test]
fn both_disks_hold_the_same_store() {
    if skips(&[Need::IoUring]) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("store");
    let dir = dir.to_str().unwrap();
    let mut text = String::new();
    for (round, disk) in ["glommio", "posix", "glommio"].into_iter().enumerate() {
        let rows = (0..1_000).map(|row| format!("{},{row}.5,x\n", round * 1_000 + row)).collect::<String>();
        end(tidelog_on(disk, ["ingest", dir, "--batch", "100"]), format!("t,a,b\n{rows}").as_bytes()).text();
        text += &rows;
        for disk in ["glommio", "posix"] {
            assert_eq!(end(tidelog_on(disk, ["scan", dir]), b"").text(), format!("key,a,b\n{text}"));
            let last = end(tidelog_on(disk, ["tail", dir, "-n", "1"]), b"").text();
            let key = (round * 1_000 + 999).to_string();
            assert_eq!(end(tidelog_on(disk, ["get", dir, &key]), b"").text(), last);
        }
    }
}

#[test]
fn csv_comes_in_the_shapes_that_programs_write() {
    let place = Place::new();
    for (name, input) in [
        ("mark", &b"\xef\xbb\xbft,a\n1,x\n2,y\n"[..]),
        ("carriage", b"t,a\r\n1,x\r\n2,y\r\n"),
        ("open end", b"t,a\n1,x\n2,y"),
        ("empty lines", b"t,a\n\n1,x\n\n2,y\n\n"),
        ("quotes", b"\"t\",\"a\"\n\"1\",\"x\"\n\"2\",\"y\"\n"),
    ] {
        let dir = place.store(name);
        on("ingest", &dir, &["--key", "t"], input).text();
        assert_eq!(on("scan", &dir, &[], b"").text(), "key,a\n1,x\n2,y\n", "{name}");
    }
}
