//! What the machine says of the place where a store lies: file system, journal, block device.
//!
//! Not here: whether that is good enough (`command::doctor`).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use procfs::process::{MountInfo, Process};
use rustix::fs::{major, minor};
use serde_json::{Map, Value};

/// The mount that holds a path.
pub(crate) struct Mount {
    /// `ext4`, `xfs`, `tmpfs`.
    pub(crate) kind: String,
    /// Mount and file-system options that switch flushes off.
    pub(crate) unsafe_options: Vec<String>,
}

/// Options that let a file system acknowledge what it has not flushed.
const UNSAFE_OPTIONS: [(&str, &str); 2] = [("nobarrier", ""), ("barrier", "0")];

/// The mount that holds `path`; none where the kernel does not say.
pub(crate) fn mount(path: &Path) -> Option<Mount> {
    let path = fs::canonicalize(path).ok()?;
    let mounts = Process::myself().ok()?.mountinfo().ok()?;
    // The last of those that cover each other is what is seen.
    let holding = mounts.0.into_iter().filter(|mount| path.starts_with(&mount.mount_point));
    let MountInfo { fs_type, mount_options, super_options, .. } =
        holding.max_by_key(|mount| mount.mount_point.components().count())?;
    let options = mount_options.into_iter().chain(super_options);
    let flag = |(name, value): (String, Option<String>)| {
        let value = value.unwrap_or_default();
        let is_unsafe = UNSAFE_OPTIONS.contains(&(name.as_str(), value.as_str()));
        is_unsafe.then(|| if value.is_empty() { name } else { format!("{name}={value}") })
    };
    Some(Mount { kind: fs_type, unsafe_options: options.filter_map(flag).collect() })
}

/// Whether the file system that holds `path` has a journal; none where that is not known.
pub(crate) fn journal(path: &Path) -> Option<bool> {
    match mount(path)?.kind.as_str() {
        "xfs" | "jfs" | "ext3" => Some(true),
        "ext2" => Some(false),
        "ext4" => {
            let number = fs::metadata(path).ok()?.dev();
            let device =
                fs::canonicalize(format!("/sys/dev/block/{}:{}", major(number), minor(number))).ok()?;
            let task = Path::new("/sys/fs/ext4").join(device.file_name()?).join("journal_task");
            Some(fs::read_to_string(task).ok()?.trim() != "<none>")
        }
        _ => None,
    }
}

/// The block device that holds `path`, in /sys; none for file systems without one.
fn device(path: &Path) -> Option<PathBuf> {
    let number = fs::metadata(path).ok()?.dev();
    let device = fs::canonicalize(format!("/sys/dev/block/{}:{}", major(number), minor(number))).ok()?;
    // A partition's queue is its disk's.
    if device.join("queue").is_dir() { Some(device) } else { device.parent().map(Path::to_path_buf) }
}

/// The device's name, as in `nvme0n1`.
pub(crate) fn device_name(path: &Path) -> Option<String> {
    Some(device(path)?.file_name()?.to_string_lossy().into_owned())
}

/// What the kernel says of the device's queue, as in `write_cache`.
pub(crate) fn queue(path: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(device(path)?.join("queue").join(name)).ok()?;
    Some(text.trim().to_owned())
}

/// Bytes that the device under `path` has been given to write, where the kernel counts them.
pub(crate) fn written_bytes(path: &Path) -> Option<u64> {
    let stat = fs::read_to_string(device(path)?.join("stat")).ok()?;
    Some(stat.split_whitespace().nth(6)?.parse::<u64>().ok()? * 512)
}

/// Reads that the device under `path` has completed, where the kernel counts them.
pub(crate) fn reads(path: &Path) -> Option<u64> {
    let stat = fs::read_to_string(device(path)?.join("stat")).ok()?;
    stat.split_whitespace().next()?.parse().ok()
}

/// Flushes that the device under `path` has completed, where the kernel counts them.
pub(crate) fn flushes(path: &Path) -> Option<u64> {
    let stat = fs::read_to_string(device(path)?.join("stat")).ok()?;
    stat.split_whitespace().nth(15)?.parse().ok()
}

/// The most memory that this process has had at once, in bytes.
pub(crate) fn peak_memory_bytes() -> Option<u64> {
    Some(Process::myself().ok()?.status().ok()?.vmhwm? * 1024)
}

/// Whether files in `directory` take direct I/O.
pub(crate) fn takes_direct_io(directory: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = tempfile::NamedTempFile::new_in(directory)?;
    let mut options = fs::OpenOptions::new();
    options.read(true).custom_flags(rustix::fs::OFlags::DIRECT.bits().cast_signed());
    match options.open(file.path()) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What figures depend on; what is not known is absent.
pub(crate) fn facts(path: &Path) -> Map<String, Value> {
    let mut facts = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            facts.insert(name.to_owned(), value);
        }
    };
    put("o_direct", takes_direct_io(path).ok().map(Value::from));
    put("filesystem", mount(path).map(|mount| mount.kind.into()));
    put("journal", journal(path).map(Value::from));
    put("write_cache", queue(path, "write_cache").map(Value::from));
    put("fua", queue(path, "fua").map(|fua| (fua == "1").into()));
    facts
}
