//! `agg`: against figures that are computed here, row by row.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::process::{Ended, Place, on};

/// What the rows of a store are, so that sums of floats are exact: key, value (none for a null), count.
type Row = (u64, Option<f64>, i64);

/// 40,000 rows, 7 ms apart with a hole, every 5th value a null; more than one group of the defined sum.
fn rows() -> Vec<Row> {
    let key = |row: u64| 1_700_000_000_003 + row * 7 + if row < 30_000 { 0 } else { 600_000 };
    let value = |row: u64| f64::from(u32::try_from(row * 37 % 1_000).unwrap()) / 4.0 - 50.0;
    let count = |row: u64| i64::try_from(row % 100).unwrap() - 50;
    (0..40_000).map(|row| (key(row), (row % 5 > 0).then(|| value(row)), count(row))).collect()
}

fn store(place: &Place, rows: &[Row]) -> PathBuf {
    let dir = place.store("store");
    let mut input = String::from("key,value,count\n");
    for (key, value, count) in rows {
        let value = value.map(|value| value.to_string()).unwrap_or_default();
        input += &format!("{key},{value},{count}\n");
    }
    let columns = ["--column", "value:f64?", "--column", "count:i64", "--key-unit", "ms"];
    on("create", &dir, &columns, b"").text();
    on("ingest", &dir, &[], input.as_bytes()).text();
    dir
}

/// The members that `agg` prints for these rows.
fn expected(rows: &[Row]) -> Value {
    let values: Vec<f64> = rows.iter().filter_map(|(_, value, _)| *value).collect();
    let sum: f64 = values.iter().sum();
    let count = u32::try_from(values.len()).unwrap();
    json!({
        "rows": rows.len(),
        "count": count,
        "min": values.iter().copied().reduce(f64::min),
        "max": values.iter().copied().reduce(f64::max),
        "sum": sum,
        "mean": (count > 0).then(|| sum / f64::from(count)),
        "first": values.first(),
        "last": values.last(),
    })
}

fn json(ended: Ended) -> Value {
    serde_json::from_str(&ended.text()).unwrap()
}

fn with(head: &Value, members: &Value) -> Value {
    let mut all = head.as_object().unwrap().clone();
    all.extend(members.as_object().unwrap().clone());
    Value::Object(all)
}

#[test]
fn a_range_comes_to_what_its_rows_come_to() {
    let (place, rows) = (Place::new(), rows());
    let dir = store(&place, &rows);
    let (from, to) = (rows[17].0, rows[33_333].0);
    for (arguments, part) in [
        (&[][..], &rows[..]),
        (&["--from", &from.to_string(), "--to", &to.to_string()], &rows[17..33_333]),
        (&["--from", "2023-11-14T22:13:20.010Z", "--to", "2023-11-14T22:13:20.011Z"], &rows[1..2]),
        (&["--to", &rows[1].0.to_string()], &rows[..1]),
        (&["--from", "9", "--to", "3"], &[]),
    ] {
        let arguments = [&["--column", "value", "--json"], arguments].concat();
        let found = json(on("agg", &dir, &arguments, b""));
        assert_eq!(found, with(&json!({"column": "value"}), &expected(part)), "{arguments:?}");
    }
    let sum: i64 = rows.iter().map(|(_, _, count)| count).sum();
    let text = on("agg", &dir, &["--column", "count"], b"").text();
    let expected = format!(
        "rows      40000\ncount     40000\nmin       -50\nmax       49\nsum       {sum}\nmean      -0.5\n\
         first     -50\nlast      49\n"
    );
    assert_eq!(text, expected);
}

#[test]
fn windows_are_multiples_of_their_step_and_only_those_with_rows() {
    let (place, rows) = (Place::new(), rows());
    let dir = store(&place, &rows);
    for (every, step) in [("1m", 60_000), ("1500ms", 1_500), ("977", 977), ("1d", 86_400_000)] {
        let inside = &rows[5..39_000];
        let (from, to) = (rows[5].0.to_string(), rows[39_000].0.to_string());
        let arguments = ["--column", "value", "--every", every, "--json", "--from", &from, "--to", &to];
        let windows: Vec<Value> = inside
            .chunk_by(|left, right| left.0 / step == right.0 / step)
            .map(|part| with(&json!({"start": part[0].0 / step * step}), &expected(part)))
            .collect();
        let found = json(on("agg", &dir, &arguments, b""));
        assert_eq!(found, json!({"column": "value", "step": step, "windows": windows}), "{every}");
    }
    let none = ["--column", "value", "--every", "1m", "--json", "--from", "9", "--to", "3"];
    assert_eq!(json(on("agg", &dir, &none, b"")), json!({"column": "value", "step": 60_000, "windows": []}));
    let text = on("agg", &dir, &["--column", "count", "--every", "1d"], b"").text();
    let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let sum: i64 = rows.iter().map(|(_, _, count)| count).sum();
    let sum = sum.to_string();
    let expected = [
        ["start", "rows", "count", "min", "max", "sum", "mean", "first", "last"],
        ["2023-11-14T00:00:00Z", "40000", "40000", "-50", "49", &sum, "-0.5", "-50", "49"],
    ];
    assert_eq!(words, expected);
}

#[test]
fn what_is_no_json_number_is_a_string_and_sums_are_exact() {
    let place = Place::new();
    let dir = place.store("store");
    let columns = ["u:u64?", "i:i64", "f:f64", "g:f32?"].map(|column| ["--column", column]).concat();
    on("create", &dir, &columns, b"").text();
    let input = "key,u,i,f,g\n0,18446744073709551615,-9223372036854775808,NaN,0.1\n\
                 1,18446744073709551615,-1,inf,\n18446744073709551615,,3,-1.5,\n";
    on("ingest", &dir, &[], input.as_bytes()).text();
    let agg = |column: &str, more: &[&str]| {
        on("agg", &dir, &[&["--column", column, "--json"], more].concat(), b"").text()
    };
    let u = "{\"column\":\"u\",\"rows\":3,\"count\":2,\"min\":18446744073709551615,\"max\":18446744073709551615,\
             \"sum\":\"36893488147419103230\",\"mean\":1.8446744073709552e19,\"first\":18446744073709551615,\
             \"last\":18446744073709551615}\n";
    // Digits of the mean are the float's own, whoever writes them.
    assert_eq!(agg("u", &[]).replace("e+19", "e19"), u);
    assert!(agg("i", &[]).contains("\"sum\":-9223372036854775806,"));
    assert!(agg("i", &["--to", "2"]).contains("\"sum\":\"-9223372036854775809\","));
    let f = agg("f", &[]);
    let part =
        "\"min\":-1.5,\"max\":\"inf\",\"sum\":\"NaN\",\"mean\":\"NaN\",\"first\":\"NaN\",\"last\":-1.5}";
    assert!(f.contains(part), "{f}");
    let g = agg("g", &["--to", "1"]);
    assert!(g.contains("\"min\":0.1,\"max\":0.1,") && g.contains("\"first\":0.1,"), "{g}");
    let nulls = "\"rows\":1,\"count\":0,\"min\":null,\"max\":null,\"sum\":0,\"mean\":null,\"first\":null,\"last\":null";
    assert!(agg("g", &["--from", "1", "--to", "2"]).replace("0.0", "0").contains(nulls));
    let widest = agg("u", &["--every", "18446744073709551615"]);
    assert_eq!(serde_json::from_str::<Value>(&widest).unwrap()["windows"].as_array().unwrap().len(), 2);
}

#[test]
fn what_cannot_be_aggregated_says_why() {
    let place = Place::new();
    let dir = place.store("store");
    on("ingest", &dir, &[], b"t,a,b\n1,1,x\n").text();
    for command in ["agg", "plot"] {
        let refused = |arguments: &[&str], code| on(command, &dir, arguments, b"").refused(code);
        assert!(refused(&["--column", "c"], 2).contains("no column `c`; it has a, b"));
        assert!(refused(&["--column", "b"], 4).contains("aggregates are of numbers"));
        assert!(refused(&["--column", "a", "--from", "2014-04-01"], 2).contains("no unit; give a number"));
        assert_eq!(on(command, &dir, &[], b"").code, Some(2));
        let absent = on(command, &place.store("absent"), &["--column", "a"], b"").refused(4);
        assert!(absent.contains("there is no such directory"), "{absent}");
    }
    assert!(on("agg", &dir, &["--column", "a", "--every", "1m"], b"").refused(2).contains("have no unit"));
    assert_eq!(on("agg", &dir, &["--column", "a", "--every", "0"], b"").code, Some(2));
    let seconds = place.store("seconds");
    on("ingest", &seconds, &["--key-unit", "s"], b"t,a\n1,1\n").text();
    let words = on("agg", &seconds, &["--column", "a", "--every", "500ms"], b"").refused(2);
    assert!(words.contains("--every is finer than s"), "{words}");
}
