//! `tidelog agg`: what the values of a column come to, over a range or in windows.
//!
//! Windows are printed as they are computed, so that memory does not depend on how many there are.
//!
//! Not here: computing them (the library).

use std::io::{BufWriter, Write, stdout};
use std::path::PathBuf;

use anyhow::Result;
use tidelog::disk::Disk;
use tidelog::{Aggregate, KeyUnit, Options, Store, Sum, Value, Window};

use crate::disk::OnDisk;
use crate::key::{KeyRange, shown};
use crate::output::{Digits, Written};
use crate::schema::column;
use crate::step::Step;

/// Print count, least, greatest, sum, mean, first and last of a column of numbers
///
/// A null is a row and nothing else. A NaN is counted and makes sum and mean NaN, but is neither least nor greatest.
#[derive(clap::Args)]
#[command(before_help = "example:  tidelog agg trades --column price --from 2014-04-01 --every 1h")]
pub(crate) struct Agg {
    /// The store's directory
    dir: PathBuf,
    /// The column
    #[arg(long, value_name = "C")]
    column: String,
    #[command(flatten)]
    range: KeyRange,
    /// For each window of this length that has rows: 500ms, 10s, 1m, 1h, 1d, or a number in the unit of the keys.
    /// Windows begin at multiples of it
    #[arg(long, value_name = "STEP")]
    every: Option<Step>,
    /// Print one object with stable names
    #[arg(long)]
    json: bool,
}

impl OnDisk for Agg {
    async fn run<D: Disk>(self, disk: D) -> Result<()> {
        let store = Store::follow_on(disk, &self.dir, Options::default()).await?;
        let (schema, reader, snapshot) = (store.schema(), store.reader(), store.snapshot());
        let (id, range) = (column(schema, &self.column)?, self.range.bounds(schema.unit())?);
        let mut out = BufWriter::new(stdout().lock());
        let Some(every) = self.every else {
            let aggregate = reader.aggregate(&snapshot, range, id).await?;
            if self.json {
                write!(out, "{{\"column\":{},", serde_json::to_string(&self.column)?)?;
                members(&mut out, &aggregate)?;
                writeln!(out, "}}")?;
            } else {
                for (name, cell) in cells(&aggregate) {
                    writeln!(out, "{name:<10}{}", cell.text())?;
                }
            }
            return Ok(out.flush()?);
        };
        let step = every.keys(schema.unit())?;
        let mut printer = Printer { out, unit: schema.unit(), written: 0 };
        let mut windows = reader.aggregate_every(&snapshot, range, step, id);
        if self.json {
            write!(printer.out, "{{\"column\":{},\"step\":{step},", serde_json::to_string(&self.column)?)?;
            write!(printer.out, "\"windows\":[")?;
        }
        while let Some(window) = windows.next().await? {
            if self.json { printer.object(&window)? } else { printer.line(&window)? }
        }
        if self.json {
            writeln!(printer.out, "]}}")?;
        }
        Ok(printer.out.flush()?)
    }
}

/// Writes windows, one after the other.
struct Printer<W: Write> {
    out: W,
    unit: KeyUnit,
    written: u64,
}

impl<W: Write> Printer<W> {
    /// As a member of an array, each in a line of its own.
    fn object(&mut self, window: &Window) -> Result<()> {
        let separator = if self.written == 0 { "" } else { "," };
        write!(self.out, "{separator}\n{{\"start\":{},", window.start)?;
        members(&mut self.out, &window.aggregate)?;
        write!(self.out, "}}")?;
        self.written += 1;
        Ok(())
    }

    /// As a line of a table, the first one below its head.
    fn line(&mut self, window: &Window) -> Result<()> {
        let cells = cells(&window.aggregate);
        if self.written == 0 {
            write!(self.out, "{:<24}", "start")?;
            cells.iter().try_for_each(|(name, _)| write!(self.out, " {name:>16}"))?;
            writeln!(self.out)?;
        }
        write!(self.out, "{:<24}", shown(window.start, self.unit))?;
        cells.iter().try_for_each(|(_, cell)| write!(self.out, " {:>16}", cell.text()))?;
        writeln!(self.out)?;
        self.written += 1;
        Ok(())
    }
}

/// One figure of an aggregate.
enum Cell {
    None,
    Number(String),
    /// What JSON has no number for: not finite, or an integer that does not fit 64 bits.
    Quoted(String),
}

impl Cell {
    fn text(&self) -> &str {
        match self {
            Cell::None => "-",
            Cell::Number(text) | Cell::Quoted(text) => text,
        }
    }
}

fn cells(aggregate: &Aggregate) -> [(&'static str, Cell); 8] {
    let sum = match aggregate.sum {
        Sum::Float(sum) => cell(Some(Value::F64(sum))),
        Sum::Integer(sum) if i64::try_from(sum).is_ok() || u64::try_from(sum).is_ok() => {
            Cell::Number(sum.to_string())
        }
        Sum::Integer(sum) => Cell::Quoted(sum.to_string()),
    };
    [
        ("rows", cell(Some(Value::U64(aggregate.rows)))),
        ("count", cell(Some(Value::U64(aggregate.count)))),
        ("min", cell(aggregate.min)),
        ("max", cell(aggregate.max)),
        ("sum", sum),
        ("mean", cell(aggregate.mean().map(Value::F64))),
        ("first", cell(aggregate.first)),
        ("last", cell(aggregate.last)),
    ]
}

fn cell(value: Option<Value<'static>>) -> Cell {
    match Digits::default().value(value) {
        Written::Plain(text) => Cell::Number(text.to_owned()),
        Written::NotFinite(text) => Cell::Quoted(text.to_owned()),
        // Aggregates are of numbers.
        Written::Null | Written::Text(_) | Written::Bytes(_) => Cell::None,
    }
}

/// Writes the members of a JSON object.
fn members(out: &mut impl Write, aggregate: &Aggregate) -> Result<()> {
    for (index, (name, cell)) in cells(aggregate).iter().enumerate() {
        let separator = if index == 0 { "" } else { "," };
        match cell {
            Cell::None => write!(out, "{separator}\"{name}\":null")?,
            Cell::Number(text) => write!(out, "{separator}\"{name}\":{text}")?,
            Cell::Quoted(text) => write!(out, "{separator}\"{name}\":\"{text}\"")?,
        }
    }
    Ok(())
}
