//! `tidelog doctor`: could a store keep its promises here, and what to do if not.
//!
//! Each thing that matters is looked at by itself, so that all that is wrong is told at once; the last one is a small
//! store that is made, written and read back.
//!
//! Not here: asking the kernel (`machine`), what an executor needs (the library).

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

use anyhow::Result;
use futures::executor::block_on;
use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};
use tidelog::disk::{Disk, Glommio, PAGE, Posix};
use tidelog::{Column, Kind, Options, Schema, check_on};

use crate::disk::Engine;
use crate::exit::{Code, Fault};
use crate::machine;

/// Say whether this machine, and the disk that DIR is on, are fit for a store, and how to mend what is not
///
/// Exit code 1 if a store could not keep its promises here.
#[derive(clap::Args)]
#[command(before_help = "example:  tidelog doctor /data")]
pub(crate) struct Doctor {
    /// Where a store is, or is to be; the working directory unless told
    dir: Option<PathBuf>,
    /// Print one object with stable names
    #[arg(long)]
    json: bool,
}

/// What is thought of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ok,
    /// It works; it could be better, or is worth knowing.
    Note,
    /// A store could not keep its promises, or not be opened at all.
    Blocker,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Note => "note",
            State::Blocker => "blocker",
        }
    }
}

/// One thing that was looked at.
struct Finding {
    name: &'static str,
    state: State,
    /// What was found, and how to mend it where it needs mending.
    what: String,
}

impl Finding {
    fn new(name: &'static str, state: State, what: impl Into<String>) -> Self {
        Self { name, state, what: what.into() }
    }
}

impl Doctor {
    pub(crate) fn run(self, engine: Engine) -> Result<()> {
        let dir = self.dir.clone().unwrap_or_else(|| PathBuf::from("."));
        let mut findings = vec![kernel()];
        findings.extend(executors(engine));
        findings.extend([open_files(), cores()]);
        findings.extend(place(&dir, engine));
        let blockers = findings.iter().filter(|finding| finding.state == State::Blocker).count();
        let text = if self.json { format!("{}\n", as_json(engine, &findings)) } else { as_text(&findings) };
        stdout().write_all(text.as_bytes())?;
        if blockers == 0 {
            return Ok(());
        }
        let what = format!(
            "a store in {} could not keep its promises with `--disk {}`: see the blockers",
            dir.display(),
            engine.name()
        );
        Err(Fault::new(Code::CheckFailed, what).into())
    }
}

fn as_text(findings: &[Finding]) -> String {
    let line =
        |finding: &Finding| format!("{:<9}{:<14}{}\n", finding.state.name(), finding.name, finding.what);
    findings.iter().map(line).collect()
}

fn as_json(engine: Engine, findings: &[Finding]) -> Value {
    let shown = findings
        .iter()
        .map(|finding| json!({ "name": finding.name, "state": finding.state.name(), "what": finding.what }));
    json!({
        "fit": findings.iter().all(|finding| finding.state != State::Blocker),
        "engine": engine.name(),
        "findings": shown.collect::<Vec<_>>(),
    })
}

fn kernel() -> Finding {
    let system = rustix::system::uname();
    let release = system.release().to_string_lossy();
    Finding::new("kernel", State::Ok, format!("{} {release}", system.sysname().to_string_lossy()))
}

/// What an executor needs: it is missed only where it is to be used.
fn executors(engine: Engine) -> Vec<Finding> {
    let lacks = tidelog::disk::lacks();
    let state = if engine == Engine::Glommio { State::Blocker } else { State::Note };
    let memlock = match getrlimit(Resource::Memlock).current {
        Some(bytes) => format!("{bytes} bytes of memory may be locked"),
        None => "as much memory as there is may be locked".to_owned(),
    };
    let well =
        [("io_uring", "it works, with every operation that is needed".to_owned()), ("memlock", memlock)];
    let mut findings = Vec::new();
    for (name, well) in well {
        findings.push(match lacks.iter().find(|lack| lack.name == name) {
            None => Finding::new(name, State::Ok, well),
            Some(lack) => Finding::new(name, state, lack.what.clone()),
        });
    }
    let others = lacks.iter().filter(|lack| !["io_uring", "memlock"].contains(&lack.name));
    findings.extend(others.map(|lack| Finding::new(lack.name, state, lack.what.clone())));
    findings
}

fn open_files() -> Finding {
    const FEW: u64 = 1024;
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < FEW => {
            let what = format!(
                "{limit} files may be open; a store needs two for each column, three with nulls or text: raise it \
                 (`ulimit -n`)"
            );
            Finding::new("open files", State::Note, what)
        }
        Some(limit) => Finding::new("open files", State::Ok, format!("{limit} may be open")),
        None => Finding::new("open files", State::Ok, "any number may be open"),
    }
}

fn cores() -> Finding {
    match std::thread::available_parallelism() {
        Ok(count) if count.get() == 1 => {
            Finding::new("cores", State::Note, "1 may be used; readers and the writer share it")
        }
        Ok(count) => Finding::new("cores", State::Ok, format!("{count} may be used")),
        Err(error) => Finding::new("cores", State::Note, format!("the kernel does not say: {error}")),
    }
}

/// Everything about the directory, or the first one above it that is there.
fn place(dir: &Path, engine: Engine) -> Vec<Finding> {
    let there = dir.ancestors().find(|dir| dir.is_dir());
    // Of a relative path with one part, the last ancestor is empty: the working directory.
    let there = there.filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut findings = vec![file_system(there)];
    findings.extend(journal(there));
    if let Err(error) = tempfile::tempfile_in(there) {
        let what = format!(
            "no file can be made in {}: {error}; choose another directory, or mount it for writing and give this user \
             the right to write",
            there.display()
        );
        findings.push(Finding::new("writing", State::Blocker, what));
        return findings;
    }
    findings.extend([direct_io(there, engine), alignment(there), write_cache(there), free_space(there)]);
    findings.push(trial(there, engine));
    findings
}

fn file_system(dir: &Path) -> Finding {
    const NAME: &str = "file system";
    let Some(mount) = machine::mount(dir) else {
        return Finding::new(NAME, State::Note, "the kernel does not say what it is (is /proc mounted?)");
    };
    let kind = &mount.kind;
    let device = machine::device_name(dir).map(|name| format!(" on {name}")).unwrap_or_default();
    if !mount.unsafe_options.is_empty() {
        let options = mount.unsafe_options.join(",");
        let what = format!(
            "{kind}{device} is mounted with {options}: flushes do not reach the device, and acknowledged rows are lost \
             when the power goes; mount it without"
        );
        return Finding::new(NAME, State::Blocker, what);
    }
    match kind.as_str() {
        "tmpfs" | "ramfs" => {
            let what =
                format!("{kind} is memory: nothing in it survives a restart; choose a directory on a disk");
            Finding::new(NAME, State::Blocker, what)
        }
        "nfs" | "nfs4" | "cifs" | "smb3" | "9p" | "ceph" | "glusterfs" => {
            let what =
                format!("{kind} is a network's: whether a flush is kept is not known; choose a local disk");
            Finding::new(NAME, State::Blocker, what)
        }
        "ext4" | "xfs" => Finding::new(NAME, State::Ok, format!("{kind}{device}")),
        "btrfs" | "zfs" | "bcachefs" => {
            let what = format!("{kind}{device} writes copies: a commit there costs more than one flush");
            Finding::new(NAME, State::Note, what)
        }
        _ => {
            let what = format!("{kind}{device}; ext4 and xfs are the ones that tidelog is tested on");
            Finding::new(NAME, State::Note, what)
        }
    }
}

/// Nothing of file systems that need none, or of which it is not known.
fn journal(dir: &Path) -> Option<Finding> {
    const NAME: &str = "journal";
    if machine::journal(dir)? {
        return Some(Finding::new(NAME, State::Ok, "the file system has one"));
    }
    let what = "the file system has none: after a power cut it needs fsck, and names may be lost that were made \
                durable; `tune2fs -O has_journal` gives an unmounted ext4 one";
    Some(Finding::new(NAME, State::Note, what))
}

fn direct_io(dir: &Path, engine: Engine) -> Finding {
    match machine::takes_direct_io(dir) {
        Ok(true) => Finding::new("direct I/O", State::Ok, "files take it"),
        Ok(false) => {
            let state = if engine == Engine::Glommio { State::Blocker } else { State::Note };
            let what = "files do not take it: `--disk glommio` needs it, `--disk posix` goes through the page cache; \
                        choose another file system";
            Finding::new("direct I/O", state, what)
        }
        Err(error) => Finding::new("direct I/O", State::Blocker, format!("could not be tried: {error}")),
    }
}

fn alignment(dir: &Path) -> Finding {
    use rustix::fs::{AtFlags, StatxFlags, statx};
    const NAME: &str = "alignment";
    let asked = tempfile::NamedTempFile::new_in(dir).map(|file| {
        statx(file.as_file(), "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN)
            .map(|known| (known.stx_dio_offset_align, known.stx_dio_mem_align))
    });
    match asked {
        Ok(Ok((offset, memory))) if offset > 0 && memory > 0 => {
            let found =
                format!("direct I/O in pieces of {offset} bytes, memory of {memory}; tidelog's are {PAGE}");
            let fits = |align: u32| PAGE.is_multiple_of(align as usize);
            if fits(offset) && fits(memory) {
                Finding::new(NAME, State::Ok, found)
            } else {
                let what = format!("{found}; choose another device, or format this one with smaller sectors");
                Finding::new(NAME, State::Blocker, what)
            }
        }
        Ok(Ok(_)) => Finding::new(NAME, State::Ok, "not told, and not needed"),
        Ok(Err(error)) => Finding::new(NAME, State::Note, format!("the kernel does not tell: {error}")),
        Err(error) => Finding::new(NAME, State::Note, format!("could not be asked for: {error}")),
    }
}

fn write_cache(dir: &Path) -> Finding {
    const NAME: &str = "write cache";
    let (cache, fua) = (machine::queue(dir, "write_cache"), machine::queue(dir, "fua"));
    match (cache.as_deref(), fua.as_deref()) {
        (Some("write through"), _) => {
            Finding::new(NAME, State::Ok, "none that could be lost: a durable write is one write")
        }
        (Some(_), Some("1")) => {
            Finding::new(NAME, State::Ok, "volatile, with FUA: a durable write is one write")
        }
        (Some(_), _) => {
            Finding::new(NAME, State::Ok, "volatile, without FUA: a durable write is a write and a flush")
        }
        (None, _) => Finding::new(NAME, State::Note, "not known of this file system's device"),
    }
}

fn free_space(dir: &Path) -> Finding {
    const NAME: &str = "free space";
    /// Two log files of the usual size, and the first space for some columns.
    const NEEDED: u64 = 40 << 20;
    match rustix::fs::statvfs(dir) {
        Ok(known) => {
            let free = known.f_bavail.saturating_mul(known.f_frsize);
            if free < NEEDED {
                let what =
                    format!("{free} bytes: a new store takes {NEEDED}; free some, or choose another disk");
                Finding::new(NAME, State::Blocker, what)
            } else {
                Finding::new(NAME, State::Ok, format!("{free} bytes"))
            }
        }
        Err(error) => Finding::new(NAME, State::Note, format!("the kernel does not tell: {error}")),
    }
}

/// Makes a small store, writes a row, opens it again, and checks it.
fn trial(dir: &Path, engine: Engine) -> Finding {
    const NAME: &str = "a store";
    let made = match tempfile::Builder::new().prefix("tidelog-doctor-").tempdir_in(dir) {
        Ok(made) => made,
        Err(error) => return Finding::new(NAME, State::Blocker, format!("could not be made: {error}")),
    };
    let path = made.path().join("store");
    let tried = match engine {
        Engine::Glommio => Glommio::run(live(Glommio::default(), &path)).and_then(|lived| lived),
        Engine::Posix => block_on(live(Posix::default(), &path)),
    };
    match (tried, made.close()) {
        (Err(error), _) => Finding::new(NAME, State::Blocker, error.to_string()),
        (Ok(()), Err(error)) => {
            Finding::new(NAME, State::Note, format!("the one made on trial could not be removed: {error}"))
        }
        (Ok(()), Ok(())) => {
            Finding::new(NAME, State::Ok, "made, a row committed, opened again, checked, removed")
        }
    }
}

async fn live<D: Disk>(disk: D, dir: &Path) -> tidelog::Result<()> {
    let options = Options::default().log_bytes(64 << 10);
    let schema = Schema::new([Column::new("value", Kind::F64)])?;
    let mut writer = tidelog::Writer::create_on(disk.clone(), dir, schema, options.clone()).await?;
    writer.pending().append(1, &[tidelog::Value::F64(1.5)])?;
    writer.commit().await?;
    writer.close().await?;
    tidelog::Writer::open_on(disk.clone(), dir, options.clone()).await?.close().await?;
    let checked = check_on(disk, dir, options).await?;
    match checked.damage.first() {
        None => Ok(()),
        Some(damage) => Err(tidelog::Error::Unsupported {
            what: format!("what was written is not read back: {damage}").into(),
        }),
    }
}
