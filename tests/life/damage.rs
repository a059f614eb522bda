//! Damage behind the last crash: it must be refused, or harmless.
//!
//! A store is written, then some of its bytes rot, or older ones come back. Opening and reading it must give the
//! same rows or say `Corrupt`. Where things lie is seen from outside, by which pages a commit has changed.
//!
//! Not here: crashes (`random`, `history`).

use std::ops::Range;
use std::path::{Path, PathBuf};

use tidelog::disk::PAGE;
use tidelog::disk::sim::{self, Random, SimDisk};
use tidelog::{Error, Options, Writer};

use super::choices::Choices;
use super::random::{DIR, Life, Trouble};
use super::read::{self, Unread};
use super::{Kept, Wrong};

/// What rots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rot {
    /// The newest manifest, and an older one is there.
    Manifest,
    /// The newest manifest is missing, and an older one is there.
    ManifestGone,
    /// A record that is not the last.
    Record,
    /// A record, and every later one behind its first page.
    AllThatFollow,
    /// Log pages of the store's own copy, which lived on by itself, are there instead.
    Branch,
    /// The log file that holds the position is zeros.
    Zeros,
    /// Any byte of a closed store.
    AnyByte,
}

/// Every kind.
pub(crate) const ROTS: [Rot; 7] = [
    Rot::Manifest,
    Rot::ManifestGone,
    Rot::Record,
    Rot::AllThatFollow,
    Rot::Branch,
    Rot::Zeros,
    Rot::AnyByte,
];

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Refused,
    SameRows,
    /// The store came out such that there was nothing to spoil.
    Nothing,
}

/// Pages of a log file.
#[derive(Clone, Debug)]
struct Record {
    file: usize,
    pages: Range<usize>,
}

const LOGS: [&str; 2] = ["log-a", "log-b"];

/// Writes a store, spoils it, opens it again.
pub(crate) fn rot(seed: u64, rot: Rot) -> Kept<Answer> {
    // Two copies' first commits must not be the same by chance: every row has a value that says whose it is.
    let schema = (rot == Rot::Branch).then_some(seed % 2);
    let choices = Choices { errors: Some((0.0, 0.0)), drops: 0.0, schema, ..Choices::default() };
    let mut life = Life::new(seed, &choices)?;
    let disk = life.disk.clone();
    let spoiled = sim::run(&disk, spoil(&mut life, rot));
    let spoiled = match spoiled {
        Ok(Ok(spoiled)) => spoiled,
        Ok(Err(Trouble::Broken(wrong))) => return Err(wrong),
        Ok(Err(Trouble::Failed)) => return Err(Wrong::new("a call failed where nothing went wrong")),
        Err(stopped) => return Err(Wrong::new(stopped.to_string())),
    };
    let Some(disk) = spoiled else { return Ok(Answer::Nothing) };
    match sim::run(&disk, reopened(&life, &disk)) {
        Ok(answer) => answer,
        Err(stopped) => Err(Wrong::new(stopped.to_string())),
    }
}

/// Opens and reads all of it.
async fn reopened(life: &Life, disk: &SimDisk) -> Kept<Answer> {
    let refused = |error: Error| match error {
        Error::Corrupt { .. } | Error::Version { .. } => Ok(Answer::Refused),
        error => Err(Wrong::new(format!("damage is answered with {error}"))),
    };
    let writer = match Writer::open_on(disk.clone(), DIR, Options::default()).await {
        Ok(writer) => writer,
        Err(error) => return refused(error),
    };
    let at = writer.store().snapshot();
    let found = match read::all(&writer.store(), &at).await {
        Ok(found) => found,
        Err(Unread::Refused(error)) => return refused(error),
        Err(Unread::Wrong(wrong)) => return Err(wrong),
    };
    let expected = &life.expected.rows;
    if found.rows() < expected.rows() {
        let (found, rows) = (found.rows(), expected.rows());
        return Err(Wrong::new(format!("silently lost: {found} of {rows} acknowledged rows are there")));
    }
    match expected.difference(None, &found) {
        Some(difference) => Err(Wrong::new(format!("silently wrong: {difference}"))),
        None if at.note() != life.expected.note.as_deref() => Err(Wrong::new("silently another note")),
        None => Ok(Answer::SameRows),
    }
}

/// Writes a store and spoils it: the world to go on in, unless there was nothing to spoil.
async fn spoil(life: &mut Life, rot: Rot) -> Result<Option<SimDisk>, Trouble> {
    life.options = Options::default()
        .log_bytes(64 << 10)
        .inline_bytes([4 << 10, 16 << 10][life.random.index(2)])
        .segment_bytes([30 << 10, 1 << 30][life.random.index(2)])
        .grow_bytes(4 << 10, 16 << 10);
    let mut writer = life.open(true).await?;
    for _ in 0..life.random.below(6) {
        life.commit(&mut writer, true).await?;
    }
    life.checkpoint(&mut writer, true).await?;
    match rot {
        Rot::Manifest | Rot::ManifestGone => manifest(life, writer, rot).await,
        Rot::Branch => branch(life, writer).await,
        Rot::AnyByte => any_byte(life, writer).await,
        Rot::Record | Rot::AllThatFollow | Rot::Zeros => record(life, writer, rot).await,
    }
}

fn manifests(disk: &SimDisk) -> Vec<(u64, PathBuf)> {
    let generation = |path: &Path| path.file_name()?.to_str()?.strip_prefix("manifest-")?.parse().ok();
    let files = disk.files();
    let mut found: Vec<(u64, PathBuf)> =
        files.into_iter().filter_map(|(path, _)| Some((generation(&path)?, path))).collect();
    found.sort();
    found
}

fn tool(error: std::io::Error) -> Trouble {
    Trouble::Broken(Wrong::new(format!("the tester's hand slipped: {error}")))
}

/// Changes one byte.
fn flip(disk: &SimDisk, path: &Path, at: Range<usize>, random: &mut Random) -> Result<(), Trouble> {
    let offset = at.start + random.index(at.len());
    disk.flip(path, offset as u64, 1 << random.below(8)).map_err(tool)
}

/// The power fails when everything is durable.
fn end(life: &Life, writer: Writer<SimDisk>) -> SimDisk {
    drop(writer);
    life.disk.settle();
    life.disk.make_durable();
    life.disk.power_cut()
}

async fn manifest(
    life: &mut Life,
    mut writer: Writer<SimDisk>,
    rot: Rot,
) -> Result<Option<SimDisk>, Trouble> {
    let Some((older, path)) = manifests(&life.disk).pop() else { return Ok(None) };
    let bytes = life.disk.file_bytes(&path).map_err(tool)?;
    // Until the next one is there; then some more, which may be the first to lie where older records lay.
    for _ in 0..40 {
        life.commit(&mut writer, true).await?;
        if manifests(&life.disk).last().is_some_and(|(generation, _)| *generation > older) {
            break;
        }
    }
    for _ in 0..life.random.below(6) {
        life.commit(&mut writer, true).await?;
    }
    let newest = manifests(&life.disk).pop().filter(|(generation, _)| *generation == older + 1);
    let Some((_, newest)) = newest else { return Ok(None) };
    let disk = end(life, writer);
    disk.put_file(&path, &bytes).map_err(tool)?;
    match rot {
        Rot::Manifest => flip(&disk, &newest, 0..PAGE, &mut life.random)?,
        _ => disk.unlink(&newest).map_err(tool)?,
    }
    Ok(Some(disk))
}

/// Commits, and where each record lies; nothing if a manifest was published meanwhile.
async fn records(
    life: &mut Life,
    writer: &mut Writer<SimDisk>,
    count: u64,
) -> Result<Option<Vec<Record>>, Trouble> {
    let newest = manifests(&life.disk).pop();
    let mut records = Vec::new();
    for _ in 0..count {
        let before = logs(&life.disk)?;
        life.commit(writer, true).await?;
        records.extend(changed(&before, &logs(&life.disk)?));
    }
    Ok((manifests(&life.disk).pop() == newest && records.len() as u64 == count).then_some(records))
}

fn log(file: usize) -> PathBuf {
    Path::new(DIR).join(LOGS[file])
}

fn logs(disk: &SimDisk) -> Result<[Vec<u8>; 2], Trouble> {
    Ok([disk.file_bytes(log(0)).map_err(tool)?, disk.file_bytes(log(1)).map_err(tool)?])
}

/// The pages that are no longer the same.
fn changed(before: &[Vec<u8>; 2], after: &[Vec<u8>; 2]) -> Option<Record> {
    let differs = |file: usize, page: usize| {
        let bytes = page * PAGE..(page + 1) * PAGE;
        before[file].get(bytes.clone()) != after[file].get(bytes)
    };
    (0..2).find_map(|file| {
        let pages: Vec<usize> = (0..after[file].len() / PAGE).filter(|page| differs(file, *page)).collect();
        Some(Record { file, pages: *pages.first()?..*pages.last()? + 1 })
    })
}

async fn record(life: &mut Life, mut writer: Writer<SimDisk>, rot: Rot) -> Result<Option<SimDisk>, Trouble> {
    // The first one says in which file the position lies.
    let count = 2 + life.random.below(6);
    let Some(records) = records(life, &mut writer, count).await? else { return Ok(None) };
    let disk = end(life, writer);
    let bytes = |pages: &Range<usize>| pages.start * PAGE..pages.end * PAGE;
    if rot == Rot::Zeros {
        let file = records[0].file;
        if records[0].pages.start == 0 || records.iter().any(|record| record.file != file) {
            return Ok(None);
        }
        let len = disk.file_bytes(log(file)).map_err(tool)?.len();
        disk.overwrite(log(file), 0, &vec![0; len]).map_err(tool)?;
        return Ok(Some(disk));
    }
    // Where all that follow are to keep their first page, those need more than one.
    let single =
        records.iter().rposition(|record| record.pages.len() < 2).filter(|_| rot == Rot::AllThatFollow);
    let first = single.unwrap_or(0);
    if first + 1 >= records.len() {
        return Ok(None);
    }
    let chosen = first + life.random.index(records.len() - 1 - first);
    let spoiled = &records[chosen];
    flip(&disk, &log(spoiled.file), bytes(&spoiled.pages), &mut life.random)?;
    for record in records.iter().skip(chosen + 1).filter(|_| rot == Rot::AllThatFollow) {
        let rest = record.pages.start + 1..record.pages.end;
        flip(&disk, &log(record.file), bytes(&rest), &mut life.random)?;
    }
    Ok(Some(disk))
}

/// Two copies live on, each with commits of its own; then the later pages of one lie in the other.
async fn branch(life: &mut Life, mut writer: Writer<SimDisk>) -> Result<Option<SimDisk>, Trouble> {
    if records(life, &mut writer, 1).await?.is_none() {
        return Ok(None);
    }
    drop(writer);
    life.disk.settle();
    life.disk.make_durable();
    let mut other = life.twin();
    let mut writers = [life.open(true).await?, other.open(true).await?];
    let [mine, theirs] = &mut writers;
    let count = 3 + life.random.below(3);
    let (mine, theirs) = (records(life, mine, count).await?, records(&mut other, theirs, count).await?);
    let (Some(mine), Some(theirs)) = (mine, theirs) else { return Ok(None) };
    if mine.iter().zip(&theirs).any(|(mine, theirs)| (mine.file, &mine.pages) != (theirs.file, &theirs.pages))
    {
        return Ok(None);
    }
    // From the first on they would be a log that nobody could tell from the right one, and of the last alone
    // nobody could tell that another had been acknowledged.
    let from = 1 + life.random.index(mine.len() - 2);
    let logs = logs(&other.disk)?;
    let [writer, _] = writers;
    let disk = end(life, writer);
    for record in &theirs[from..] {
        let bytes = record.pages.start * PAGE..record.pages.end * PAGE;
        disk.overwrite(log(record.file), bytes.start as u64, &logs[record.file][bytes]).map_err(tool)?;
    }
    Ok(Some(disk))
}

async fn any_byte(life: &mut Life, mut writer: Writer<SimDisk>) -> Result<Option<SimDisk>, Trouble> {
    for _ in 0..life.random.below(8) {
        life.commit(&mut writer, true).await?;
    }
    writer.close().await.map_err(|error| Trouble::Broken(Wrong::new(error.to_string())))?;
    life.disk.make_durable();
    let disk = life.disk.power_cut();
    let files: Vec<_> = disk.files().into_iter().filter(|(_, len)| *len > 0).collect();
    let Some((path, len)) = files.get(life.random.index(files.len())) else { return Ok(None) };
    let len = usize::try_from(*len).unwrap_or(usize::MAX);
    // Half of all rot is where there is something.
    let end = if life.random.coin() { len.min(PAGE) } else { len };
    flip(&disk, path, 0..end, &mut life.random)?;
    Ok(Some(disk))
}
