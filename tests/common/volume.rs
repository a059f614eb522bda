//! A file system of its own on a loop device, made and taken away by root.
//!
//! Not here: whether this machine can (`skip`), slowing it down (`throttle`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

/// Which file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Ext4,
    Xfs,
    Btrfs,
}

impl Format {
    /// The program that makes it.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Format::Ext4 => "mkfs.ext4",
            Format::Xfs => "mkfs.xfs",
            Format::Btrfs => "mkfs.btrfs",
        }
    }

    /// Everything is initialised by mkfs: nothing writes later by itself.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Format::Ext4 => {
                &["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"]
            }
            Format::Xfs => &["-q", "-f", "-K"],
            Format::Btrfs => &["-q", "-f", "-K"],
        }
    }

    /// No commit of the journal but those that somebody waits for.
    fn options(self) -> &'static str {
        match self {
            Format::Ext4 => "noatime,commit=3600",
            Format::Xfs => "noatime",
            Format::Btrfs => "noatime,commit=300",
        }
    }
}

/// A mounted file system, gone when this is dropped.
pub(crate) struct Volume {
    directory: TempDir,
    /// As in `/dev/loop3`.
    device: String,
}

const PREFIX: &str = "tidelog-volume-";

/// For each test of a program that opens stores while others of its tests start programs: between fork and exec a
/// child holds every lock of its parent, and a store that was just closed is `Locked`.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(program: &str, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(program).args(arguments).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program} {}: {words}", arguments.join(" "))))
}

impl Volume {
    /// Makes one of so many bytes.
    pub(crate) fn make(format: Format, bytes: u64) -> io::Result<Self> {
        sweep();
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let directory = tempfile::Builder::new().prefix(&prefix).tempdir()?;
        let image = directory.path().join("image");
        fs::File::create_new(&image)?.set_len(bytes)?;
        fs::create_dir(directory.path().join("mount"))?;
        let image = image.to_string_lossy();
        run(format.program(), &[format.arguments(), &[&image]].concat())?;
        let device = run("losetup", &["-f", "--show", &image])?;
        let volume = Volume { directory, device };
        run("mount", &["-o", format.options(), &volume.device, &volume.path().to_string_lossy()])?;
        Ok(volume)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("mount")
    }

    /// Its device's numbers, as in `7:3`.
    pub(crate) fn numbers(&self) -> io::Result<String> {
        Ok(fs::read_to_string(self.sys().join("dev"))?.trim().to_owned())
    }

    fn sys(&self) -> PathBuf {
        Path::new("/sys/block").join(self.device.trim_start_matches("/dev/"))
    }

    /// What the device has been asked since it was made.
    pub(crate) fn counts(&self) -> io::Result<DeviceCounts> {
        let text = fs::read_to_string(self.sys().join("stat"))?;
        let fields: Vec<u64> = text.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        match fields[..] {
            // Documentation/block/stat.rst: requests merged into others count for nothing.
            [reads, _, _, _, writes, _, sectors, _, _, _, _, _, _, _, _, flushes, ..] => {
                Ok(DeviceCounts { reads, writes, write_bytes: sectors * 512, flushes })
            }
            _ => Err(io::Error::other("this kernel does not count flushes")),
        }
    }

    /// Writes everything that waits in memory: nothing is left that could be written later by itself.
    pub(crate) fn settle(&self) -> io::Result<()> {
        run("sync", &["-f", &self.path().to_string_lossy()]).map(drop)
    }

    /// Unmounts it: fails while anybody, or any request in the kernel, uses it.
    pub(crate) fn unmount(&self) -> io::Result<()> {
        run("umount", &[&*self.path().to_string_lossy()]).map(drop)
    }

    /// Mounts it again.
    pub(crate) fn mount(&self) -> io::Result<()> {
        run("mount", &["-o", "noatime", &self.device, &self.path().to_string_lossy()]).map(drop)
    }
}

/// Requests that a device got, those that were merged into others apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeviceCounts {
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    pub(crate) write_bytes: u64,
    pub(crate) flushes: u64,
}

impl DeviceCounts {
    /// Those since an earlier moment.
    pub(crate) fn since(self, before: Self) -> Self {
        DeviceCounts {
            reads: self.reads - before.reads,
            writes: self.writes - before.writes,
            write_bytes: self.write_bytes - before.write_bytes,
            flushes: self.flushes - before.flushes,
        }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        take_away(&self.path(), &self.device);
    }
}

/// If somebody still uses it the rest happens when he stops.
fn take_away(mount: &Path, device: &str) {
    _ = run("umount", &["-l", &mount.to_string_lossy()]);
    _ = run("losetup", &["-d", device]);
}

/// Takes away what test runs left that were killed.
fn sweep() {
    let Ok(devices) = fs::read_dir("/sys/block") else { return };
    for device in devices.flatten() {
        let Ok(image) = fs::read_to_string(device.path().join("loop/backing_file")) else { continue };
        let Some(directory) = Path::new(image.trim()).parent() else { continue };
        let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            take_away(&directory.join("mount"), &format!("/dev/{}", device.file_name().display()));
            _ = fs::remove_dir_all(directory);
        }
    }
}
