//! Plain system calls that both real disks make: names, directories, LOCK, and what may be opened at all.
//!
//! Each call blocks the thread that makes it. Errors are the kernel's own where they say enough.
//!
//! Invariant: a lock ends by closing the descriptor that holds it, never by LOCK_UN, so that a copy of the
//! descriptor elsewhere (a forked child, a request in the kernel) still counts.
//! Not here: reading and writing (each disk).

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use nix::libc;
use rustix::fs::{AtFlags, StatxFlags, fstatfs, statx};
use rustix::process::{Resource, getrlimit};

use super::{Mode, PAGE, TRANSFER_BYTES_MAX};

/// How long an open for writing waits for the requests of a dead writer.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How often a name is looked at again that changed while it was looked at.
const ATTEMPTS: usize = 10;

/// An error whose text names the remedy.
pub(super) fn unsupported(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, what.into())
}

fn busy(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::WouldBlock, what)
}

/// Our own mistakes: a request that is not whole pages, or so long that a device may choke on it (hazard
/// H8 of the io_uring disk).
pub(super) fn assert_transfer(offset: u64, len: usize) {
    assert!(offset.is_multiple_of(PAGE as u64), "a request at offset {offset}");
    assert!(len > 0 && len.is_multiple_of(PAGE), "a request of {len} bytes");
    assert!(len <= TRANSFER_BYTES_MAX, "a request of {len} bytes, {TRANSFER_BYTES_MAX} at most");
}

/// A hold on a store's LOCK.
#[derive(Clone, Debug)]
pub struct Lock(#[expect(dead_code, reason = "kept for its end")] Arc<Held>);

#[derive(Debug)]
struct Held {
    #[expect(dead_code, reason = "closing it is what ends the lock")]
    file: fs::File,
    /// What the lock guards: everything below.
    directory: PathBuf,
}

/// The locks that this process holds.
static LOCKS: Mutex<Vec<Weak<Held>>> = Mutex::new(Vec::new());

/// Takes the lock; does not wait.
pub(super) fn lock(path: &Path) -> io::Result<Lock> {
    for _ in 0..ATTEMPTS {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
        refuse_irregular(&file)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(busy("another writer holds the lock")),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
        // The name may have been given to another file between open and lock; that lock would guard nothing.
        if is_named(&file, path)? {
            let directory = path.parent().unwrap_or(Path::new("")).to_path_buf();
            let held = Arc::new(Held { file, directory });
            let mut locks = LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|lock| lock.strong_count() > 0);
            locks.push(Arc::downgrade(&held));
            return Ok(Lock(held));
        }
    }
    Err(busy("the lock's file keeps being replaced"))
}

/// This process's locks that guard `path`, for a call on names that may outlive its caller's interest.
pub(super) fn locks_over(path: &Path) -> Vec<Lock> {
    let locks = LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
    let held = locks.iter().filter_map(Weak::upgrade);
    held.filter(|held| path.starts_with(&held.directory)).map(Lock).collect()
}

/// How long to wait, again and again, for a lock on a file: a millisecond at first, ever longer, `patience`
/// altogether.
pub(super) fn pauses(patience: Duration) -> impl Iterator<Item = Duration> {
    let (mut left, mut next) = (patience, Duration::from_millis(1));
    std::iter::from_fn(move || {
        let pause = next.min(left);
        left -= pause;
        next = (next * 2).min(Duration::from_millis(100));
        (!pause.is_zero()).then_some(pause)
    })
}

/// What an open answers whose patience has come to its end.
pub(super) fn still_busy() -> io::Error {
    busy(
        "another program has the file open for writing, or a writer that died still has requests in the kernel",
    )
}

/// What a mode says about the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Existing,
    Either,
    New,
}

/// What a mode asks for: the name's presence, durable writes, the lock.
pub(super) fn wishes<'a, L>(mode: &Mode<'a, L>) -> (Presence, bool, Option<&'a L>) {
    match mode {
        Mode::Read => (Presence::Existing, false, None),
        Mode::Write(lock) => (Presence::Existing, false, Some(*lock)),
        Mode::WriteDurable(lock) => (Presence::Existing, true, Some(*lock)),
        Mode::Create(lock) => (Presence::Either, false, Some(*lock)),
        Mode::CreateNew(lock) => (Presence::New, false, Some(*lock)),
    }
}

/// Finds or makes the file, and makes sure that it is a regular one on a device whose alignment fits.
///
/// The handle is for looking at the file and for opening it again, not for reading or writing: an existing file
/// is not opened (O_PATH), so that a FIFO does not block and a device does nothing.
pub(super) fn admit(path: &Path, presence: Presence) -> io::Result<fs::File> {
    for _ in 0..ATTEMPTS {
        if presence != Presence::New {
            match OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && presence == Presence::Either => {}
                found => return fitting(found?),
            }
        }
        // Without O_DIRECT, which a file system may refuse when it has already made the file.
        match OpenOptions::new().write(true).create_new(true).custom_flags(libc::O_NOFOLLOW).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && presence == Presence::Either => {}
            made => return fitting(made?),
        }
    }
    Err(io::Error::other("the name keeps coming and going"))
}

fn fitting(file: fs::File) -> io::Result<fs::File> {
    refuse_irregular(&file)?;
    // Linux before 6.1 and some file systems do not say; what they hide is at most a page.
    if let Ok(known) = statx(&file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) {
        refuse_alignment(known.stx_dio_offset_align, known.stx_dio_mem_align)?;
    }
    Ok(file)
}

/// Zero means that it is not known, or that there is no direct I/O.
fn refuse_alignment(offset: u32, memory: u32) -> io::Result<()> {
    let fits = |alignment: u32| alignment == 0 || PAGE.is_multiple_of(alignment as usize);
    if fits(offset) && fits(memory) {
        return Ok(());
    }
    let needed = offset.max(memory);
    Err(unsupported(format!(
        "the device wants direct I/O in pieces of {needed} bytes, tidelog's are {PAGE}; put the store on another \
         device, or format this one with sectors of at most {PAGE} bytes"
    )))
}

fn refuse_irregular(file: &fs::File) -> io::Result<()> {
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        return Ok(());
    }
    let what = if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_dir() {
        "a directory"
    } else {
        "a device, FIFO or socket"
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, not a regular file")))
}

/// Whether two handles are of one file.
pub(super) fn is_same(one: &fs::File, other: &fs::File) -> io::Result<bool> {
    let (one, other) = (one.metadata()?, other.metadata()?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

fn is_named(file: &fs::File, path: &Path) -> io::Result<bool> {
    let file = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok((file.dev(), file.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The path of an open descriptor. It leads to that file, whatever may have the file's name by now.
pub(super) fn path_of(descriptor: RawFd) -> String {
    format!("/proc/self/fd/{descriptor}")
}

/// The length of an open file. A look into memory, which does not block.
pub(super) fn len_of(descriptor: RawFd) -> io::Result<u64> {
    fs::metadata(path_of(descriptor)).map(|metadata| metadata.len()).map_err(not_direct)
}

/// Why an admitted file could not be opened again for direct I/O by its descriptor's path.
pub(super) fn not_direct(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        // The file is open: it is the way to it that is missing.
        Some(libc::ENOENT) => {
            unsupported("there is no /proc/self/fd; mount /proc, or use `tidelog::disk::Posix`")
        }
        Some(libc::EINVAL) => unsupported(
            "its file system takes no direct I/O; put the store on another one, or use `tidelog::disk::Posix`",
        ),
        _ => error,
    }
}

/// What a read or write came to; says what it means where a polled one met a device that cannot poll (hazard
/// H3 of the io_uring disk).
pub(super) fn transferred<T>(result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| match error.raw_os_error() {
        Some(libc::EOPNOTSUPP) => unsupported(
            "this thread's executor takes the device for one that can be polled, which happens when its first open \
             of all is that of an empty file; let tidelog open its store first, or on a thread of its own",
        ),
        _ => error,
    })
}

/// Whether a file lies in tmpfs, which takes O_DIRECT in newer kernels only, and never needs it.
pub(super) fn is_in_memory(file: &fs::File) -> io::Result<bool> {
    Ok(u64::try_from(fstatfs(file)?.f_type).is_ok_and(|magic| magic == TMPFS_MAGIC))
}

const TMPFS_MAGIC: u64 = 0x0102_1994;

pub(super) fn list(directory: &Path) -> io::Result<Vec<OsString>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
}

/// A full fsync: for a directory, not every file system takes fdatasync to mean its names.
pub(super) fn sync_dir(directory: &Path) -> io::Result<()> {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(directory)?.sync_all()
}

pub(super) fn unique_id() -> io::Result<[u8; 16]> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(id)
}

/// The soft limit. Raising it, up to the hard one, is the program's own business.
pub(super) fn open_files_max() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end_with_the_patience() {
        let check = |patience: u64, expected: &[u64]| {
            let pauses: Vec<u64> = pauses(Duration::from_millis(patience))
                .map(|pause| u64::try_from(pause.as_millis()).unwrap())
                .collect();
            assert_eq!(pauses, expected, "{patience} ms");
        };
        check(0, &[]);
        check(1, &[1]);
        check(10, &[1, 2, 4, 3]);
        check(400, &[1, 2, 4, 8, 16, 32, 64, 100, 100, 73]);
        assert_eq!(pauses(PATIENCE).sum::<Duration>(), PATIENCE);
    }

    #[test]
    fn an_alignment_beyond_a_page_is_refused_and_the_error_says_what_to_do() {
        for (offset, memory) in [(0, 0), (512, 4), (512, 512), (4096, 4096), (4096, 512)] {
            refuse_alignment(offset, memory).unwrap();
        }
        for (offset, memory) in [(8192, 512), (512, 8192), (65536, 4), (3000, 4)] {
            let error = refuse_alignment(offset, memory).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::Unsupported);
            assert!(error.to_string().contains("another device"), "{error}");
        }
    }

    #[test]
    fn a_lock_is_found_by_what_lies_below_its_directory() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        fs::create_dir(&store).unwrap();
        let held = lock(&store.join("LOCK")).unwrap();
        assert_eq!(locks_over(&store.join("raw-1").join("keys")).len(), 1);
        assert_eq!(locks_over(&directory.path().join("store-2").join("keys")).len(), 0);
        assert_eq!(locks_over(directory.path()).len(), 0);
        drop(held);
        assert_eq!(locks_over(&store.join("raw-1")).len(), 0);
    }
}
