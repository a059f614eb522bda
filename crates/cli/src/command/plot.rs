//! `tidelog plot`: a range of a column, drawn.
//!
//! Not here: what is drawn, and how (`figure`).

use std::fs::{self, File};
use std::io::{self, Write, stdout};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result};
use tidelog::disk::Disk;
use tidelog::{Options, Reader, Seek, Snapshot, Store};

use crate::disk::OnDisk;
use crate::exit::{Code, Fault};
use crate::figure::{self, PIXELS, png, svg, terminal};
use crate::key::KeyRange;
use crate::schema::column;

/// Draw a range of any size of a column of numbers: the mean, and the least to the greatest
///
/// Ends with 4 if there is nothing to draw, with 3 if FILE is there already.
#[derive(clap::Args)]
#[command(before_help = "example:  tidelog plot trades --column price --from 2014-04-01 --out price.svg")]
pub(crate) struct Plot {
    /// The store's directory
    dir: PathBuf,
    /// The column
    #[arg(long, value_name = "C")]
    column: String,
    #[command(flatten)]
    range: KeyRange,
    /// A new file, FILE.svg or FILE.png; drawn in characters on standard output unless told
    #[arg(long, value_name = "FILE")]
    out: Option<Picture>,
}

/// A file that is drawn into.
#[derive(Clone, Debug)]
struct Picture {
    path: PathBuf,
    format: Format,
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Svg,
    Png,
}

impl FromStr for Picture {
    type Err = &'static str;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        let path = PathBuf::from(path);
        let format = match path.extension().and_then(|extension| extension.to_str()) {
            Some("svg") => Format::Svg,
            Some("png") => Format::Png,
            _ => return Err("its name must end in .svg or .png"),
        };
        Ok(Self { path, format })
    }
}

impl OnDisk for Plot {
    async fn run<D: Disk>(self, disk: D) -> Result<()> {
        let store = Store::follow_on(disk, &self.dir, Options::default()).await?;
        let (schema, reader, snapshot) = (store.schema(), store.reader(), store.snapshot());
        let (id, range) = (column(schema, &self.column)?, self.range.bounds(schema.unit())?);
        if let Some(picture) = &self.out {
            // Before a long range is read for nothing.
            picture.check_absent()?;
        }
        let keys = ends(&reader, &snapshot, range).await?;
        let keys =
            keys.ok_or_else(|| Fault::new(Code::Input, "there are no rows in this range: nothing to draw"))?;
        let columns = terminal::columns();
        let places = if self.out.is_some() { PIXELS } else { u64::from(columns) };
        let figure = figure::figure(&reader, &snapshot, keys, id, places).await?.ok_or_else(|| {
            let what = format!("column `{}` has no finite value in this range: nothing to draw", self.column);
            Fault::new(Code::Input, what)
        })?;
        match self.out {
            None => Ok(stdout().write_all(terminal::draw(&figure, columns).as_bytes())?),
            Some(Picture { path, format: Format::Svg }) => write(&path, svg::draw(&figure).as_bytes()),
            Some(Picture { path, format: Format::Png }) => write(&path, &png::draw(&figure)?),
        }
    }
}

/// The first and the last key in a range; none if there are no rows in it.
async fn ends<D: Disk>(
    reader: &Reader<D>,
    at: &Snapshot,
    (from, to): (Bound<u64>, Bound<u64>),
) -> Result<Option<(u64, u64)>> {
    let first = match from {
        Bound::Included(key) => Seek::AtOrAfter(key),
        _ => Seek::First,
    };
    let last = match to {
        Bound::Excluded(0) => return Ok(None),
        Bound::Excluded(key) => Seek::AtOrBefore(key - 1),
        _ => Seek::Last,
    };
    let (first, last) = (reader.seek(at, first).await?, reader.seek(at, last).await?);
    let keys = first.zip(last).map(|(first, last)| (first.key, last.key));
    Ok(keys.filter(|(first, last)| first <= last))
}

fn there_already(path: &Path) -> Fault {
    let what = format!("{} is there already; remove it, or name another file", path.display());
    Fault::new(Code::Conflict, what)
}

impl Picture {
    fn check_absent(&self) -> Result<()> {
        let is_there = fs::symlink_metadata(&self.path).is_ok();
        if is_there { Err(there_already(&self.path).into()) } else { Ok(()) }
    }
}

/// Makes a file of these bytes, or none.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let could_not = || format!("could not write {}", path.display());
    let mut file = match File::create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(there_already(path).into()),
        file => file.with_context(could_not)?,
    };
    let written = file.write_all(bytes);
    if written.is_err() {
        // What could not be written says more than what could not be removed.
        _ = fs::remove_file(path);
    }
    written.with_context(could_not)
}
