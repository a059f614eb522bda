//! Rows on their way out: batches as CSV or JSON lines.
//!
//! Numbers are written so that they read back to the same bits: the shortest decimal of a float, `NaN`, `inf` and
//! `-inf` (quoted in JSON, which has no numbers for them); bytes as base64.
//!
//! Not here: which rows (`command::scan`, `command::get`, `command::tail`), what they come to (`command::agg`).

use std::io::{self, Stdout, Write, stdout};

use anyhow::Result;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::ValueEnum;
use tidelog::{Batch, Column, ColumnId, Schema, Value};

use crate::exit::{Code, Fault};
use crate::input::Format;
use crate::key;

mod csv;
mod json;

/// How keys are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Keys {
    /// the number that is stored
    #[default]
    Raw,
    /// RFC 3339, in UTC
    Time,
}

/// How rows are to be written.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Style {
    /// How rows are written
    #[arg(long, value_enum, default_value = "csv")]
    pub(crate) format: Format,
    /// How keys are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) keys: Keys,
    /// What stands for a null in CSV; an empty cell unless told (an empty text is `""` then)
    #[arg(long, value_name = "TOKEN")]
    pub(crate) null: Option<String>,
}

/// Whether each row says which key was before its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PreviousKey {
    Absent,
    Printed,
}

/// Bytes that are gathered before they are written.
const BUFFER_BYTES: usize = 256 << 10;

/// Writes rows to standard output.
pub(crate) struct Printer {
    out: Stdout,
    buffer: Vec<u8>,
    form: Form,
    /// Key units in a second, where keys are written as times.
    per_second: Option<u64>,
    previous_key: PreviousKey,
}

enum Form {
    Csv(csv::Csv),
    Json(json::Json),
}

impl Printer {
    /// For these columns; writes the header.
    pub(crate) fn new(
        schema: &Schema,
        columns: &[ColumnId],
        style: &Style,
        previous_key: PreviousKey,
    ) -> Result<Self> {
        let per_second = match style.keys {
            Keys::Raw => None,
            Keys::Time => Some(key::of_times(schema.unit())?),
        };
        let names = columns.iter().filter_map(|id| schema.columns().get(id.0 as usize)).map(Column::name);
        let mut buffer = Vec::with_capacity(BUFFER_BYTES * 2);
        let form = match (style.format, &style.null) {
            (Format::Csv, null) => {
                Form::Csv(csv::Csv::new(names, null.as_deref(), previous_key, &mut buffer)?)
            }
            (Format::Jsonl, None) => Form::Json(json::Json::new(names, previous_key)?),
            (Format::Jsonl, Some(_)) => {
                return Err(Fault::usage("--null is for CSV; JSON lines have null").into());
            }
        };
        Ok(Self { out: stdout(), buffer, form, per_second, previous_key })
    }

    /// Writes the rows of a batch.
    pub(crate) fn batch(&mut self, batch: &Batch) -> Result<()> {
        for (index, key) in batch.keys().iter().enumerate() {
            match &mut self.form {
                Form::Csv(csv) => csv.key(&mut self.buffer, *key, self.per_second)?,
                Form::Json(json) => json.key(&mut self.buffer, *key, self.per_second)?,
            }
            if self.previous_key == PreviousKey::Printed {
                let previous = batch.previous_key(index);
                match &mut self.form {
                    Form::Csv(csv) => csv.previous_key(&mut self.buffer, previous, self.per_second)?,
                    Form::Json(json) => json.previous_key(&mut self.buffer, previous, self.per_second)?,
                }
            }
            for (place, (_, vector)) in batch.columns().iter().enumerate() {
                match &mut self.form {
                    Form::Csv(csv) => csv.value(&mut self.buffer, vector, index)?,
                    Form::Json(json) => json.value(&mut self.buffer, place, vector, index),
                }
            }
            match &self.form {
                Form::Csv(_) => self.buffer.push(b'\n'),
                Form::Json(_) => self.buffer.extend_from_slice(b"}\n"),
            }
            if self.buffer.len() >= BUFFER_BYTES {
                self.write()?;
            }
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// Everything so far is where it goes.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.write()?;
        Ok(self.out.flush()?)
    }
}

/// Appends a key as a time.
fn write_time(out: &mut Vec<u8>, key: u64, per_second: u64) -> Result<()> {
    if key::moment(key, per_second).write(out) {
        return Ok(());
    }
    let what = format!("the key {key} is beyond the year 9999, where times end; use --keys raw");
    Err(Fault::new(Code::Input, what).into())
}

/// Digits of numbers.
#[derive(Default)]
pub(crate) struct Digits {
    float: zmij::Buffer,
    integer: itoa::Buffer,
}

/// What a value is written as.
pub(crate) enum Written<'a> {
    Null,
    /// Digits, `true`, `false`.
    Plain(&'a str),
    /// `NaN`, `inf`, `-inf`.
    NotFinite(&'a str),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl Digits {
    pub(crate) fn value<'a>(&'a mut self, value: Option<Value<'a>>) -> Written<'a> {
        match value {
            Some(Value::F64(value)) if value.is_finite() => Written::Plain(self.float.format_finite(value)),
            Some(Value::F32(value)) if value.is_finite() => Written::Plain(self.float.format_finite(value)),
            Some(Value::F64(value)) => Written::NotFinite(self.float.format(value)),
            Some(Value::F32(value)) => Written::NotFinite(self.float.format(value)),
            Some(Value::U64(value)) => Written::Plain(self.integer.format(value)),
            Some(Value::I64(value)) => Written::Plain(self.integer.format(value)),
            Some(Value::U32(value)) => Written::Plain(self.integer.format(value)),
            Some(Value::I32(value)) => Written::Plain(self.integer.format(value)),
            Some(Value::Bool(value)) => Written::Plain(if value { "true" } else { "false" }),
            Some(Value::Text(value)) => Written::Text(value),
            Some(Value::Bytes(value)) => Written::Bytes(value),
            // Kinds of later versions: whoever adds one adds it here.
            _ => Written::Null,
        }
    }
}

/// Appends bytes as base64.
fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // The room is exactly what it takes.
    let written = BASE64_STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}
