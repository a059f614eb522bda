//! Rows on their way in: from a file or a pipe to commits, in constant memory.
//!
//! [`source`] is where rows come from, [`csv`] and [`json`] are the formats; [`infer`] says what a store for them
//! would be, [`load`] commits them.
//!
//! Not here: the command line (`command::ingest`).

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::ValueEnum;

use crate::exit::{Code, Fault};

mod cell;
mod column;
mod csv;
mod infer;
mod json;
mod keys;
mod load;
mod source;

pub(crate) use csv::CsvRows;
pub(crate) use infer::{Inferred, infer};
pub(crate) use json::JsonRows;
pub(crate) use keys::KeyNumbers;
pub(crate) use load::{Late, Load, Loaded, Settings};

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// comma-separated values with a header
    Csv,
    /// an object a line
    Jsonl,
}

impl Format {
    /// By a file's name; CSV where that says nothing.
    pub(crate) fn of(file: Option<&Path>) -> Self {
        let extension = file.and_then(Path::extension).and_then(|extension| extension.to_str());
        if matches!(extension, Some("jsonl" | "ndjson")) { Format::Jsonl } else { Format::Csv }
    }
}

/// Bytes on their way in.
pub(crate) struct Input {
    /// The file; none for standard input.
    path: Option<PathBuf>,
    /// Where the bytes come from.
    pub(crate) bytes: Box<dyn Read>,
    /// How many there will be, where that is known.
    pub(crate) len: Option<u64>,
}

impl Input {
    /// A file; standard input where there is none, or it is `-`.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            return Ok(Self { path: None, bytes: Box::new(io::stdin()), len: None });
        };
        let cannot =
            |error: io::Error| Fault::new(Code::Input, format!("could not open {}: {error}", path.display()));
        let file = File::open(path).map_err(cannot)?;
        let metadata = file.metadata().map_err(cannot)?;
        if metadata.is_dir() {
            return Err(Fault::new(Code::Input, format!("{} is a directory", path.display())).into());
        }
        let len = metadata.is_file().then_some(metadata.len());
        Ok(Self { path: Some(path.to_path_buf()), bytes: Box::new(file), len })
    }

    /// What a message calls it.
    pub(crate) fn name(&self) -> String {
        self.path.as_ref().map_or("standard input".to_owned(), |path| path.display().to_string())
    }
}
