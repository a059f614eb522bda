//! Rows into commits: each batch is gathered column by column, appended, committed.
//!
//! Not here: what becomes of the counts (`command::ingest`).

use anyhow::{Context, Result};
use clap::ValueEnum;
use tidelog::disk::Disk;
use tidelog::{Column, ColumnId, Nulls, Schema, Values, Writer};

use super::cell::{Cell, wider};
use super::column::{ColumnValues, Misfit};
use super::infer::key_place;
use super::keys::{KeyNumbers, Keys};
use super::source::{Row, Source, Stop};
use crate::exit::{Code, Fault};
use crate::key::{self, unit_name};
use crate::seal;

/// Bytes of values at which a batch is committed although it has not enough rows.
const BATCH_BYTES: usize = 16 << 20;

/// What to do with a row whose key is below the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Late {
    /// stop there; everything before it is committed
    #[default]
    Reject,
    /// leave it out, and count it
    Skip,
}

/// How rows become commits.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The key's name; the first name unless told.
    pub(crate) key: Option<String>,
    /// What numbers of the key column count.
    pub(crate) numbers: KeyNumbers,
    /// Rows in a commit.
    pub(crate) batch_rows: usize,
    /// What becomes of rows whose key goes back.
    pub(crate) late: Late,
}

/// What has become of the input so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// Rows that are committed.
    pub(crate) rows: u64,
    /// Rows that were left out because their key went back.
    pub(crate) skipped: u64,
    /// Bytes of the input that were used.
    pub(crate) bytes: u64,
    /// Rows of the store.
    pub(crate) store_rows: u64,
}

/// Loads the rows of one input into a store.
pub(crate) struct Load<'a, D: Disk> {
    writer: &'a mut Writer<D>,
    settings: Settings,
    keys: Keys,
    last_key: u64,
    gathered: Gathered,
    loaded: Loaded,
}

/// Rows that wait for their commit.
struct Gathered {
    keys: Vec<u64>,
    columns: Vec<ColumnValues>,
    bytes: usize,
}

/// Where in the input's rows the store's columns are.
struct Plan {
    /// How many names there were when it was made.
    names: usize,
    key: usize,
    columns: Vec<Option<usize>>,
}

impl<'a, D: Disk> Load<'a, D> {
    /// Rows will follow `last_key`.
    pub(crate) fn new(writer: &'a mut Writer<D>, last_key: u64, settings: Settings) -> Self {
        let schema = writer.schema();
        let columns = schema.columns().iter().map(ColumnValues::new).collect();
        let keys = Keys::new(settings.numbers, schema.unit());
        let gathered = Gathered { keys: Vec::new(), columns, bytes: 0 };
        Self { writer, settings, keys, last_key, gathered, loaded: Loaded::default() }
    }

    /// Commits all rows of `source`, the input `name`, telling `committed` after each batch.
    ///
    /// A row that is wrong ends it, when the rows before it are committed.
    pub(crate) async fn run(
        mut self,
        mut source: impl Source,
        name: &str,
        mut committed: impl FnMut(&Loaded) -> Result<()>,
    ) -> Result<Loaded> {
        let mut plan = None;
        loop {
            let more = self.gather(&mut source, &mut plan);
            self.commit().await?;
            committed(&self.loaded)?;
            match more {
                Ok(true) => {}
                Ok(false) => return Ok(self.loaded),
                Err(stop) => return Err(self.stopped(name, stop)),
            }
        }
    }

    /// Gathers a batch; whether there may be more.
    fn gather(&mut self, source: &mut impl Source, plan: &mut Option<Plan>) -> Result<bool, Stop> {
        while self.gathered.keys.len() < self.settings.batch_rows && self.gathered.bytes < BATCH_BYTES {
            let Some(row) = source.next()? else { return Ok(false) };
            self.loaded.bytes = row.bytes_read;
            let plan = match plan {
                Some(plan) if plan.names == source.names().len() => plan,
                _ => plan.insert(self.plan(source, row)?),
            };
            self.take(source, plan, row)?;
        }
        Ok(true)
    }

    /// Finds the store's columns among the names.
    fn plan(&self, source: &impl Source, row: Row) -> Result<Plan, Stop> {
        let (schema, names) = (self.writer.schema(), source.names());
        let key = key_place(source, self.settings.key.as_deref())?;
        let mut columns = vec![None; schema.columns().len()];
        for (place, name) in names.iter().enumerate().filter(|(place, _)| *place != key) {
            let Some(ColumnId(id)) = schema.column(name) else {
                let columns: Vec<&str> = schema.columns().iter().map(Column::name).collect();
                let what = format!("the store has no column `{name}`; it has {}", columns.join(", "));
                return Err(Stop::at(row.line, what));
            };
            columns[id as usize] = Some(place);
        }
        Ok(Plan { names: names.len(), key, columns })
    }

    /// Adds the row at hand to the batch, or nothing.
    #[inline]
    fn take(&mut self, source: &impl Source, plan: &Plan, row: Row) -> Result<(), Stop> {
        let key = self.keys.read(source.cell(plan.key)).map_err(|what| Stop::at(row.line, what))?;
        if key < self.last_key {
            return self.late(key, row);
        }
        let rows = self.gathered.keys.len();
        for (index, (column, place)) in self.gathered.columns.iter_mut().zip(&plan.columns).enumerate() {
            let cell = place.map_or(Cell::Null, |place| source.cell(place));
            match column.push(cell) {
                Ok(bytes) => self.gathered.bytes += bytes,
                Err(misfit) => {
                    let what = misfits(self.writer.schema(), index, cell, &misfit);
                    self.gathered.columns.iter_mut().for_each(|column| column.truncate(rows));
                    return Err(Stop::at(row.line, what));
                }
            }
        }
        self.gathered.bytes += 8;
        self.gathered.keys.push(key);
        self.last_key = key;
        Ok(())
    }

    fn late(&mut self, key: u64, row: Row) -> Result<(), Stop> {
        match self.settings.late {
            Late::Skip => {
                self.loaded.skipped += 1;
                Ok(())
            }
            Late::Reject => {
                let unit = self.writer.schema().unit();
                let (key, last) = (key::shown(key, unit), key::shown(self.last_key, unit));
                let what = format!(
                    "its key goes back: {key} is below {last}, the key before it; `--on-late skip` leaves such rows out"
                );
                Err(Stop::at(row.line, what))
            }
        }
    }

    /// Makes the gathered rows durable.
    async fn commit(&mut self) -> Result<()> {
        let gathered = &mut self.gathered;
        let values: Vec<Values<'_>> = gathered.columns.iter().map(ColumnValues::values).collect();
        let values: Vec<Values<'_>> = values
            .iter()
            .zip(&gathered.columns)
            .map(|(values, column)| match column.nulls() {
                Some(nulls) => Values::Nullable { values, nulls },
                None => *values,
            })
            .collect();
        let committed = self.loaded.rows;
        let before = || format!("the first {committed} rows are committed, then this happened");
        self.writer.pending().append_batch(&gathered.keys, &values).with_context(before)?;
        self.loaded.store_rows = self.writer.commit().await.with_context(before)?.rows.end;
        seal::one(&self.writer.store()).await?;
        self.loaded.rows += gathered.keys.len() as u64;
        gathered.columns.iter_mut().for_each(|column| column.truncate(0));
        gathered.keys.clear();
        gathered.bytes = 0;
        Ok(())
    }

    /// What to tell when the input ended before its end.
    pub(crate) fn stopped(&self, name: &str, stop: Stop) -> anyhow::Error {
        let rows = self.loaded.rows;
        let committed = match rows {
            0 => "nothing is committed".to_owned(),
            1 => "the row before it is committed".to_owned(),
            rows => format!("the {rows} rows before it are committed"),
        };
        match stop {
            Stop::At { line, what } => {
                Fault::new(Code::Input, format!("{name}, line {line}: {what}; {committed}")).into()
            }
            Stop::Unreadable(error) => {
                Fault::new(Code::Failed, format!("{name} could not be read: {error}; {committed}")).into()
            }
        }
    }
}

/// What is wrong with a cell, and which store would take it.
fn misfits(schema: &Schema, index: usize, cell: Cell<'_>, misfit: &Misfit) -> String {
    let column = &schema.columns()[index];
    let what = format!("column {}: {cell} {misfit}", column.name());
    if *misfit == Misfit::Utf8 {
        return what;
    }
    let options = schema.columns().iter().enumerate().map(|(at, known)| {
        let (kind, null) = match at == index {
            true => (wider(known.kind(), cell), known.nulls() == Nulls::Allowed || *misfit == Misfit::Null),
            false => (known.kind(), known.nulls() == Nulls::Allowed),
        };
        let option = format!("{}:{kind}{}", known.name(), if null { "?" } else { "" });
        format!(" --column {}", quoted(&option))
    });
    let options: String = options.collect();
    let unit = unit_name(schema.unit()).map(|unit| format!(" --key-unit {unit}")).unwrap_or_default();
    format!("{what} (a store that takes it: `tidelog create DIR{options}{unit}`)")
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-/".contains(&byte));
    if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}
