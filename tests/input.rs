//! What bad input gets: an error that names column and position, and nothing has changed.
//!
//! Every refusal is tried among calls that are well: the world that saw the refusals must be, operation by
//! operation and byte by byte, the one that saw none.
//!
//! Not here: limits of size and number (tests/limits.rs), directories that are no store (tests/refusals.rs), full
//! disks (tests/full.rs).

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod common;

use common::{Cell, DIR, Row, append_batch, batch, draw, draw_rows, image, mixed, rows_of, run};
use tidelog::disk::sim::{Random, SimDisk};
use tidelog::{Column, Error, Kind, Nulls, Options, Pending, Result, Values, Writer};

/// An error without its words: what a program can go by.
fn facts(error: &Error) -> String {
    match error {
        Error::KeyOrder { index, key, last } => format!("key {key} below {last} at {index}"),
        Error::Schema { column, index, .. } => format!("column {column} at {index}"),
        Error::Limit { given, max, .. } => format!("{given} of {max}"),
        Error::Conflict { expected, found } => format!("{expected} rows, not {found}"),
        other => format!("{other:?}"),
    }
}

type Call = Box<dyn Fn(&mut Pending) -> Result<()>>;

/// A call that is refused.
struct Refusal {
    call: Call,
    facts: String,
}

fn refusal(facts: impl Into<String>, call: impl Fn(&mut Pending) -> Result<()> + 'static) -> Refusal {
    Refusal { call: Box::new(call), facts: facts.into() }
}

/// Makes each call: each is refused as it should be, and what is pending stays as it was.
fn refuse_all(pending: &mut Pending, refusals: &[Refusal]) {
    let before = format!("{pending:?}");
    for Refusal { call, facts: expected } in refusals {
        let Err(error) = call(pending) else { panic!("{expected}: it was not refused") };
        assert_eq!(facts(&error), *expected, "{error}");
        assert!(before == format!("{pending:?}"), "{error}: what is pending has changed");
    }
}

fn good_row(seed: u64, key: u64) -> Row {
    Row { key, ..draw_rows(&mut Random::new(seed), &mixed(), 0, 1, 20).remove(0) }
}

/// A value of another kind.
fn other_kind(kind: Kind) -> Cell {
    let schema = mixed();
    let place = schema.columns().iter().position(|column| column.kind() == kind).unwrap();
    // The next but one: neighbours in width are not neighbours here.
    draw(&mut Random::new(1), &schema.columns()[(place + 2) % 9], 9)
}

/// Rows that [`Pending::append`] refuses when `last` is the newest key.
fn bad_rows(last: u64) -> Vec<Refusal> {
    let schema = mixed();
    let append = |row: Row| move |pending: &mut Pending| row.append(pending).map(drop);
    let mut refusals = vec![
        refusal("column u64 at 0", |pending| pending.append(u64::MAX, &[]).map(drop)),
        refusal(format!("key 0 below {last} at 0"), append(good_row(1, 0))),
        refusal(format!("key {} below {last} at 0", last - 1), append(good_row(2, last - 1))),
    ];
    let (mut short, mut long) = (good_row(3, last), good_row(3, last));
    long.cells.extend(short.cells.pop());
    refusals.push(refusal("column text or null at 17", append(short)));
    refusals.push(refusal("column 18 at 18", append(long)));
    for (i, column) in schema.columns().iter().enumerate() {
        let mut row = good_row(4, last);
        row.cells[i] = other_kind(column.kind());
        refusals.push(refusal(format!("column {} at 0", column.name()), append(row)));
        if column.nulls() == Nulls::Forbidden {
            let mut row = good_row(5, last);
            row.cells[i] = Cell::Null;
            refusals.push(refusal(format!("column {} at 0", column.name()), append(row)));
        }
    }
    refusals
}

/// Appends rows as a batch whose values are changed before.
fn changed(
    rows: &[Row],
    change: impl Fn(&mut Vec<Values<'_>>) + 'static,
) -> impl Fn(&mut Pending) -> Result<()> + 'static {
    let rows = rows.to_vec();
    move |pending| {
        let schema = pending.schema().clone();
        batch(&schema, &rows, |keys, values| {
            let mut values = values.to_vec();
            change(&mut values);
            pending.append_batch(keys, &values).map(drop)
        })
    }
}

/// Batches that are refused when `last` is the newest key, most of them in the middle.
fn bad_batches(last: u64) -> Vec<Refusal> {
    let schema = mixed();
    let rows = draw_rows(&mut Random::new(6), &schema, last, 10, 20);
    let mut refusals = Vec::new();
    for position in [0, 7] {
        let mut back = rows.clone();
        let before = if position == 0 { last } else { back[position - 1].key };
        back[position].key = before - 1;
        let facts = format!("key {} below {before} at {position}", before - 1);
        refusals.push(refusal(facts, move |pending| append_batch(pending, &back).map(drop)));
    }
    for (i, column) in schema.columns().iter().enumerate() {
        let name = column.name();
        let is_bool = column.kind() == Kind::Bool;
        let other = if is_bool { Values::U32(&[0; 10]) } else { Values::Bool(&[true; 10]) };
        refusals
            .push(refusal(format!("column {name} at 0"), changed(&rows, move |values| values[i] = other)));
        refusals.extend(bad_counts(&rows, i, column));
        refusals.extend(bad_nulls(&rows, i, column));
    }
    refusals.push(refusal("column text or null at 17", changed(&rows, |values| values.truncate(17))));
    refusals.push(refusal("column 18 at 18", changed(&rows, |values| values.push(values[0]))));
    refusals
}

/// Nine values for ten keys, and eleven.
fn bad_counts(rows: &[Row], i: usize, column: &Column) -> Vec<Refusal> {
    let refused = |count: usize| {
        let rows = rows.to_vec();
        let mut others = rows.clone();
        others.push(rows[9].clone());
        others.truncate(count);
        refusal(format!("column {} at {}", column.name(), count.min(10)), move |pending| {
            let schema = pending.schema().clone();
            batch(&schema, &others, |_, others| {
                batch(&schema, &rows, |keys, values| {
                    let mut values = values.to_vec();
                    values[i] = others[i];
                    pending.append_batch(keys, &values).map(drop)
                })
            })
        })
    };
    vec![refused(9), refused(11), refused(0)]
}

/// A column's own values, with flags for nulls that do not fit.
fn bad_nulls(rows: &[Row], i: usize, column: &Column) -> Vec<Refusal> {
    let with = |nulls: &'static [bool], is_nested: bool| {
        let rows = rows.to_vec();
        move |pending: &mut Pending| {
            let schema = pending.schema().clone();
            batch(&schema, &rows, |keys, values| {
                let bare = match values[i] {
                    Values::Nullable { values, .. } => *values,
                    bare => bare,
                };
                let once = Values::Nullable { values: &bare, nulls: &[false; 10] };
                let inner = if is_nested { &once } else { &bare };
                let mut values = values.to_vec();
                values[i] = Values::Nullable { values: inner, nulls };
                pending.append_batch(keys, &values).map(drop)
            })
        }
    };
    let name = column.name();
    let mut refusals = vec![
        refusal(format!("column {name} at 9"), with(&[false; 9], false)),
        refusal(format!("column {name} at 10"), with(&[false; 11], false)),
        refusal(format!("column {name} at 0"), with(&[false; 10], true)),
    ];
    if column.nulls() == Nulls::Forbidden {
        const EIGHTH: [bool; 10] = [false, false, false, false, false, false, false, true, true, false];
        refusals.push(refusal(format!("column {name} at 7"), with(&EIGHTH, false)));
    }
    refusals
}

/// Ends of bytes and text that contradict the data.
fn bad_ends(last: u64) -> Vec<Refusal> {
    let schema = mixed();
    let rows = draw_rows(&mut Random::new(7), &schema, last, 4, 20);
    let bytes = |data: &'static [u8], ends: &'static [u64]| Values::Bytes { data, ends };
    let text = |data: &'static str, ends: &'static [u64]| Values::Text { data, ends };
    let cases = [
        (bytes(b"abcdef", &[1, 3, 2, 6]), 2),
        (bytes(b"abcdef", &[1, 2, 3, 7]), 3),
        (bytes(b"abcdef", &[1, 2, 3, u64::MAX]), 3),
        (bytes(b"abcdef", &[7, 7, 7, 7]), 0),
        (bytes(b"abcdef", &[1, 2, 3, 5]), 4),
        (bytes(b"abcdef", &[0, 0, 0, 0]), 4),
        (bytes(b"abcdef", &[1, 2, 6]), 3),
        (bytes(b"abcdef", &[1, 2, 3, 4, 6]), 4),
        (text("aé水", &[1, 2, 3, 6]), 1),
        (text("aé水", &[1, 3, 5, 6]), 2),
        (text("aé水", &[1, 3, 3, 3]), 4),
        (text("aé水", &[3, 1, 3, 6]), 1),
    ];
    let mut refusals = Vec::new();
    for (bad, position) in cases {
        for (i, column) in
            schema.columns().iter().enumerate().filter(|(_, column)| column.kind() == bad.kind())
        {
            let facts = format!("column {} at {position}", column.name());
            refusals.push(refusal(facts, changed(&rows, move |values| values[i] = bad)));
        }
    }
    // No row, but data.
    let data_only = |values: &mut Vec<Values<'_>>| values[7] = Values::Bytes { data: b"x", ends: &[] };
    refusals.push(refusal("column bytes at 0", changed(&[], data_only)));
    refusals
}

/// Calls that are not about values.
fn bad_calls(next_row: u64) -> Vec<Refusal> {
    let conflict =
        |rows: u64| refusal(format!("{rows} rows, not {next_row}"), move |pending| pending.expect_rows(rows));
    let long_note = refusal("4097 of 4096", |pending| pending.note(&[0; 4097]));
    vec![long_note, conflict(next_row + 1), conflict(next_row - 1), conflict(u64::MAX)]
}

/// Rows and notes in four commits. With `refusals`, everything that is refused stands between the calls.
fn history(disk: &SimDisk, refusals: bool) {
    let refuse = |pending: &mut Pending, rows: &[Row]| {
        if refusals {
            let last = rows.last().map_or(0, |row| row.key);
            refuse_all(pending, &bad_rows(last));
            refuse_all(pending, &bad_batches(last));
            refuse_all(pending, &bad_ends(last));
            refuse_all(pending, &bad_calls(pending.next_row()));
        }
    };
    let mut rows: Vec<Row> = Vec::new();
    run(disk, async {
        let options = Options::default().log_bytes(256 << 10).inline_bytes(8 << 10);
        let mut writer = Writer::create_on(disk.clone(), DIR, mixed(), options).await.unwrap();
        for round in 0..4_u64 {
            let pending = writer.pending();
            let first = good_row(10 + round, 1000 * (round + 1));
            assert_eq!(first.append(pending).unwrap(), rows.len() as u64);
            rows.push(first);
            refuse(pending, &rows);
            let (key, count) = (rows.last().map_or(0, |row| row.key), if round % 2 == 0 { 30 } else { 300 });
            let more = draw_rows(&mut Random::new(20 + round), &mixed(), key, count, 40);
            append_batch(pending, &more).unwrap();
            rows.extend(more);
            pending.note(&round.to_le_bytes()).unwrap();
            pending.expect_rows(rows.len() as u64).unwrap();
            refuse(pending, &rows);
            assert_eq!(writer.commit().await.unwrap().rows.end, rows.len() as u64);
            // Nothing is pending now: keys are held against the committed ones.
            refuse(writer.pending(), &rows);
            assert_eq!(writer.note().as_deref(), Some(&round.to_le_bytes()[..]));
        }
        assert_eq!(rows_of(&writer).await.unwrap(), rows);
        writer.close().await.unwrap();
        let writer = Writer::open_on(disk.clone(), DIR, Options::default()).await.unwrap();
        assert_eq!(rows_of(&writer).await.unwrap(), rows);
    });
}

#[test]
fn a_refused_call_names_column_and_position_and_changes_nothing() {
    for seed in 0..4 {
        let (plain, refusing) = (SimDisk::new(seed), SimDisk::new(seed));
        history(&plain, false);
        history(&refusing, true);
        assert_eq!(plain.trace_hash(), refusing.trace_hash(), "an operation differs");
        assert!(image(&plain) == image(&refusing), "a byte differs");
    }
    assert!(bad_rows(9).len() + bad_batches(9).len() + bad_ends(9).len() + bad_calls(9).len() >= 190);
}
