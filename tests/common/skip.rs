//! What a machine may lack: io_uring, root, real data. A test that needs it and has it not says so and is counted.
//!
//! `TIDELOG_REQUIRE=io_uring,root,data` makes what it lists a failure instead.
//!
//! Not here: what a test does with it (`volume`, `throttle`).

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tidelog::disk::Glommio;

/// Something that a test needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// An executor on io_uring.
    IoUring,
    /// To be root, loop devices, `mkfs.ext4`.
    Root,
    /// A folder of real inputs, named by `TIDELOG_DATA`.
    Data,
}

impl Need {
    fn name(self) -> &'static str {
        match self {
            Need::IoUring => "io_uring",
            Need::Root => "root",
            Need::Data => "data",
        }
    }

    /// Why it is not here.
    fn lacking(self) -> Option<String> {
        match self {
            Need::IoUring => Glommio::check().err().map(|error| error.to_string()),
            Need::Root if !std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0) => {
                Some("this is not root".to_owned())
            }
            Need::Root if !Path::new("/dev/loop-control").exists() => {
                Some("there are no loop devices".to_owned())
            }
            Need::Root if !runs("losetup", &["-f"]) => Some("there is no free loop device".to_owned()),
            Need::Root if !has_program("mkfs.ext4") => Some("there is no mkfs.ext4".to_owned()),
            Need::Root => None,
            Need::Data => match std::env::var_os("TIDELOG_DATA") {
                Some(folder) if Path::new(&folder).is_dir() => None,
                Some(folder) => Some(format!("{} is no folder", folder.display())),
                None => Some("TIDELOG_DATA names no folder".to_owned()),
            },
        }
    }
}

/// Whether there is a program of this name.
pub(crate) fn has_program(name: &str) -> bool {
    runs(name, &["-V"])
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    let quiet = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

static SKIPPED: AtomicU32 = AtomicU32::new(0);

/// Whether the calling test cannot run here: it is counted then, and returns.
///
/// # Panics
/// If what is lacking is listed in `TIDELOG_REQUIRE`.
pub(crate) fn skips(needs: &[Need]) -> bool {
    for need in needs {
        let Some(why) = need.lacking() else { continue };
        let required = std::env::var("TIDELOG_REQUIRE").unwrap_or_default();
        let is_required = required.split(',').any(|name| name.trim() == need.name());
        assert!(!is_required, "TIDELOG_REQUIRE lists {}, but {why}", need.name());
        say_skipped(need.name(), &why);
        return true;
    }
    false
}

/// Counts and prints a part that cannot run here, and that no one may require.
pub(crate) fn say_skipped(what: &str, why: &str) {
    let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // Past the capture of a test's output: a test that was skipped passes.
    let line = format!("skipped ({count} in this binary): {test} needs {what}: {why}\n");
    _ = std::io::stderr().write_all(line.as_bytes());
}
