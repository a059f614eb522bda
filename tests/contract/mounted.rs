//! File systems that lack something: no direct I/O, no fallocate, no space.
//!
//! Not here: those that stores are meant for (`tests/common/volume.rs`).

use std::path::Path;
use std::process::Command;

use tempfile::{NamedTempFile, TempDir};

use crate::directory_on_disk;
use crate::skip::{Need, say_skipped, skips};

/// A file system that is mounted until this is dropped.
pub(crate) struct Mounted {
    point: TempDir,
    _image: Option<NamedTempFile>,
}

impl Mounted {
    /// One that needs no device, such as `tmpfs` or `ramfs`. None, and it is said, if this process may not.
    pub(crate) fn without_device(kind: &str, options: &str) -> Option<Self> {
        if skips(&[Need::Root]) {
            return None;
        }
        let point = directory_on_disk();
        let mut mount = Command::new("mount");
        mount.args(["-t", kind, "-o", options, kind]).arg(point.path());
        succeeds(mount).then(|| Self { point, _image: None })
    }

    /// One of `kind` (`ext2`, `ext4`) in a file of so many bytes.
    pub(crate) fn in_image(kind: &str, bytes: u64) -> Option<Self> {
        if skips(&[Need::Root]) {
            return None;
        }
        let image = NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        image.as_file().set_len(bytes).unwrap();
        let mut make = Command::new(format!("mkfs.{kind}"));
        make.args(["-q", "-F"]).arg(image.path());
        let point = directory_on_disk();
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop"]).arg(image.path()).arg(point.path());
        (succeeds(make) && succeeds(mount)).then(|| Self { point, _image: Some(image) })
    }

    pub(crate) fn path(&self) -> &Path {
        self.point.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a test that failed may have left files open.
        let _ = crate::alone(|| Command::new("umount").arg("-l").arg(self.point.path()).status());
    }
}

/// A root without the rights to mount is one more machine that lacks something.
fn succeeds(mut command: Command) -> bool {
    let output = crate::alone(|| command.output()).unwrap();
    if !output.status.success() {
        say_skipped(&format!("{command:?}"), String::from_utf8_lossy(&output.stderr).trim());
    }
    output.status.success()
}
