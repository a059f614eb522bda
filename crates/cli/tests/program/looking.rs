//! `check`, `stat`, `inspect`, `doctor`: what they print, and what they end with.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use futures::executor::block_on;
use serde_json::Value;
use tidelog::disk::Posix;
use tidelog::{Options, Writer};

use crate::process::{Place, on, run};

/// A store of 20,000 rows of two columns, one of them nullable text.
fn store(place: &Place) -> PathBuf {
    let dir = place.store("store");
    let mut input = String::from("t,price,venue\n");
    for row in 0..20_000 {
        let venue = if row % 3 == 0 { "" } else { "north" };
        input += &format!("{},{}.5,{venue}\n", 1_000 + row, row % 100);
    }
    on("ingest", &dir, &["--key-unit", "s"], input.as_bytes()).text();
    dir
}

fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

fn names(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn a_check_of_an_intact_store_is_0_and_of_a_damaged_one_1() {
    const NAMES: [&str; 7] = ["intact", "rows", "segments", "bytes", "damage", "damage_omitted", "notices"];
    let place = Place::new();
    let dir = store(&place);
    let text = on("check", &dir, &[], b"").text();
    assert!(
        text.ends_with("bytes of raw files verified: intact\n")
            && text.contains(": 20000 rows in 1 segment, "),
        "{text}"
    );
    let all = json(on("check", &dir, &["--json"], b"").text().as_bytes());
    assert_eq!(names(&all), NAMES);
    assert_eq!(
        (&all["intact"], &all["rows"], all["damage"].as_array().unwrap().len()),
        (&true.into(), &20_000.into(), 0)
    );

    fs::write(dir.join("notes.txt"), "mine").unwrap();
    let path = dir.join("raw-0").join("0.data");
    let file = fs::File::options().read(true).write(true).open(&path).unwrap();
    file.write_at(&[0xFF], 70_000).unwrap();
    let ended = on("check", &dir, &["--json"], b"");
    let all = json(&ended.out);
    let words = ended.refused(1);
    assert!(words.contains("is damaged in 1 place; restore a copy"), "{words}");
    assert_eq!(names(&all), NAMES);
    let damage = &all["damage"][0];
    assert_eq!(names(damage), ["path", "offset", "bytes", "column", "rows", "what"]);
    assert_eq!(damage["path"], path.to_str().unwrap());
    assert_eq!((&damage["offset"], &damage["column"]), (&65_536.into(), &"price".into()));
    assert_eq!(damage["rows"][0], 8192);
    let notices = all["notices"].as_array().unwrap();
    assert!(notices.iter().any(|notice| notice["path"] == dir.join("notes.txt").to_str().unwrap()));
    assert_eq!(names(&notices[0]), ["path", "offset", "what"]);
    let ended = on("check", &dir, &[], b"");
    let text = String::from_utf8(ended.out).unwrap();
    let line = format!("damage: {} is damaged at byte 65536 (", path.display());
    assert!(text.starts_with(&line) && text.contains("column \"price\"; rows 8192 to "), "{text}");
    assert!(text.ends_with(": damaged\n"), "{text}");
}

#[test]
fn stat_counts_what_is_there_beside_a_writer() {
    let place = Place::new();
    let dir = store(&place);
    let writer = block_on(Writer::open_on(Posix::default(), &dir, Options::default())).unwrap();
    let all = json(on("stat", &dir, &["--json"], b"").text().as_bytes());
    drop(writer);
    let expected = [
        "rows",
        "first_key",
        "last_key",
        "key_unit",
        "keys_bytes",
        "columns",
        "segments",
        "log_bytes",
        "tail_bytes",
        "sums_bytes",
        "device_bytes",
    ];
    assert_eq!(names(&all), expected);
    assert_eq!(
        (&all["rows"], &all["first_key"], &all["last_key"]),
        (&20_000.into(), &1_000.into(), &20_999.into())
    );
    assert_eq!((&all["key_unit"], &all["keys_bytes"]), (&"s".into(), &160_000.into()));
    assert_eq!(names(&all["columns"][0]), ["name", "kind", "nullable", "bytes", "codec", "codecs"]);
    assert_eq!(
        (&all["columns"][0]["bytes"], &all["columns"][0]["nullable"]),
        (&160_000.into(), &false.into())
    );
    // 8 bytes of offset and one of null a row, and five letters of two rows in three.
    assert_eq!(all["columns"][1]["bytes"], 180_000 + 5 * 13_333);
    assert_eq!(names(&all["segments"][0]), ["number", "slot", "first_row", "rows", "bytes", "state"]);
    assert_eq!(
        (&all["segments"][0]["rows"], &all["segments"][0]["state"]),
        (&20_000.into(), &"active".into())
    );
    let text = on("stat", &dir, &[], b"").text();
    for part in [
        "rows      20000\n",
        "1000 to 20999 s",
        "column    venue:text?, ",
        "log       2 files of 16777216 bytes\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_store_without_rows_is_looked_at_too() {
    let place = Place::new();
    let dir = place.store("store");
    on("create", &dir, &["--column", "a:i64"], b"").text();
    let all = json(on("stat", &dir, &["--json"], b"").text().as_bytes());
    assert_eq!((&all["rows"], &all["first_key"], &all["key_unit"]), (&0.into(), &Value::Null, &Value::Null));
    assert!(on("check", &dir, &[], b"").text().contains(": 0 rows in "));
    assert!(on("inspect", &dir, &[], b"").text().starts_with("manifest generation: "));
}

#[test]
fn inspect_shows_each_part_and_refuses_what_is_not_there() {
    let place = Place::new();
    let dir = store(&place);
    for (what, part) in [
        (&[][..], "segment 0 active: slot 0, 20000 rows from 0 on"),
        (&["manifest"], "name: \"venue\""),
        (&["manifest", "--hex"], "544c4d414e494645                    magic: TLMANIFE"),
        (&["log"], "rows 0 to "),
        (&["log", "--hex"], "checksum of the previous record"),
        (&["slot", "0"], "1.offsets: offsets of \"venue\", text; D "),
    ] {
        let text = on("inspect", &dir, what, b"").text();
        assert!(text.contains(part), "{what:?}: {text}");
    }
    let words = on("inspect", &dir, &["slot", "7"], b"").refused(4);
    assert!(words.contains("names no such slot"), "{words}");
    assert_eq!(on("inspect", &dir, &["slot"], b"").code, Some(2));
    assert_eq!(on("inspect", &dir, &["everything"], b"").code, Some(2));
}

#[test]
fn what_cannot_be_looked_at_says_why() {
    let place = Place::new();
    for command in ["check", "stat", "inspect"] {
        let words = on(command, &place.store("absent"), &[], b"").refused(4);
        assert!(words.contains("there is no such directory"), "{words}");
    }
    let unfinished = place.store("unfinished");
    fs::create_dir(&unfinished).unwrap();
    fs::write(unfinished.join("LOCK"), "").unwrap();
    fs::write(unfinished.join("manifest-1.tmp-0"), "half").unwrap();
    let text = on("check", &unfinished, &[], b"").text();
    assert!(text.contains("notice: ") && text.contains("was not finished"), "{text}");
    assert!(on("stat", &unfinished, &[], b"").refused(4).contains("was not finished"));
}

/// The findings of a doctor, by name, and the code.
fn doctor(dir: &Path) -> (Vec<(String, String, String)>, i32) {
    let ended = run(["doctor", dir.to_str().unwrap(), "--json"], b"");
    let all = json(&ended.out);
    assert_eq!(names(&all), ["fit", "engine", "findings"]);
    let code = ended.code.unwrap();
    assert_eq!((&all["fit"], &all["engine"]), (&(code == 0).into(), &"posix".into()));
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    let finding = |f: &Value| (text(f, "name"), text(f, "state"), text(f, "what"));
    (all["findings"].as_array().unwrap().iter().map(finding).collect(), code)
}

#[test]
fn doctor_names_what_it_looked_at_and_what_stands_in_the_way() {
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (findings, code) = doctor(&disk.path().join("not").join("yet"));
    for name in
        ["kernel", "io_uring", "memlock", "cores", "file system", "direct I/O", "free space", "a store"]
    {
        assert!(findings.iter().any(|(found, ..)| found == name), "{name}: {findings:?}");
    }
    let is_blocked = findings.iter().any(|(_, state, _)| state == "blocker");
    assert_eq!(code, i32::from(is_blocked), "{findings:?}");
    assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 0, "nothing is left");
    if Path::new("/dev/shm").is_dir() {
        let (findings, code) = doctor("/dev/shm".as_ref());
        let (_, state, what) = findings.iter().find(|(name, ..)| name == "file system").unwrap();
        assert!(state == "blocker" && what.contains("is memory") && code == 1, "{findings:?}");
    }
    let words = run(["doctor", "/proc"], b"").refused(1);
    assert!(words.contains("could not keep its promises with `--disk posix`"), "{words}");
    let text = String::from_utf8(run(["doctor", "/proc"], b"").out).unwrap();
    assert!(text.contains("blocker  writing       no file can be made in /proc: "), "{text}");
}
