//! A control group whose processes write slowly to one device: version 1 or 2, whichever has block devices.
//!
//! Not here: the device (`volume`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The group, gone when this is dropped.
pub(crate) struct Throttle {
    group: PathBuf,
    /// The file that sets the limit, and what it wants behind the device's numbers.
    limit: &'static str,
    wording: &'static str,
    unlimited: &'static str,
}

/// Where control groups of either version may be mounted: version 1 first, since its controllers are not
/// available in version 2 then.
const PLACES: [(&str, bool); 3] =
    [("/sys/fs/cgroup/blkio", false), ("/sys/fs/cgroup", true), ("/sys/fs/cgroup/unified", true)];

impl Throttle {
    /// Makes a group without limits.
    pub(crate) fn make() -> io::Result<Self> {
        let mut errors = Vec::new();
        for (place, is_second) in PLACES {
            match Self::make_in(Path::new(place), is_second) {
                Ok(throttle) => return Ok(throttle),
                Err(error) => errors.push(format!("{place}: {error}")),
            }
        }
        Err(io::Error::other(errors.join("; ")))
    }

    fn make_in(place: &Path, is_second: bool) -> io::Result<Self> {
        if is_second {
            let controllers = fs::read_to_string(place.join("cgroup.controllers"))?;
            if !controllers.split_whitespace().any(|controller| controller == "io") {
                return Err(io::Error::other("no controller for block devices"));
            }
            fs::write(place.join("cgroup.subtree_control"), "+io")?;
        }
        sweep(place);
        let name = format!("{PREFIX}{}-{:?}", std::process::id(), std::thread::current().id());
        let group = place.join(name.replace(['(', ')'], ""));
        fs::create_dir(&group)?;
        let (limit, wording, unlimited) = match is_second {
            true => ("io.max", "wbps=", "max"),
            false => ("blkio.throttle.write_bps_device", "", "0"),
        };
        let throttle = Throttle { group, limit, wording, unlimited };
        match throttle.group.join(limit).exists() {
            true => Ok(throttle),
            false => Err(io::Error::other("no limit for block devices")),
        }
    }

    /// From now on the group writes so many bytes a second to the device; none: as many as it can.
    pub(crate) fn limit(&self, device: &str, bytes_a_second: Option<u64>) -> io::Result<()> {
        let bytes = bytes_a_second.map_or(self.unlimited.to_owned(), |bytes| bytes.to_string());
        fs::write(self.group.join(self.limit), format!("{device} {}{bytes}", self.wording))
    }

    /// Puts a process in.
    pub(crate) fn add(&self, process: u32) -> io::Result<()> {
        fs::write(self.group.join("cgroup.procs"), process.to_string())
    }
}

const PREFIX: &str = "tidelog-throttle-";

impl Drop for Throttle {
    fn drop(&mut self) {
        // Processes that are still in it are another drop's business; the next run sweeps.
        _ = fs::remove_dir(&self.group);
    }
}

/// Takes away the groups of test runs that were killed.
fn sweep(place: &Path) {
    let Ok(groups) = fs::read_dir(place) else { return };
    for group in groups.flatten() {
        let name = group.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            _ = fs::remove_dir(group.path());
        }
    }
}
