//! Copies between a simulated directory and a real one: fixtures, and what a failed test left.

use std::fs;
use std::io;
use std::path::Path;

use super::SimDisk;

impl SimDisk {
    /// Writes everything below `directory` into the real directory `to`, which is made.
    pub fn export(&self, directory: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
        let (directory, to) = (directory.as_ref(), to.as_ref());
        fs::create_dir_all(to)?;
        for path in self.directories() {
            if let Ok(rest) = path.strip_prefix(directory) {
                fs::create_dir_all(to.join(rest))?;
            }
        }
        for (path, _) in self.files() {
            if let Ok(rest) = path.strip_prefix(directory) {
                fs::write(to.join(rest), self.file_bytes(&path)?)?;
            }
        }
        Ok(())
    }

    /// Copies everything in the real directory `from` to `directory`, durably.
    pub fn import(&self, from: impl AsRef<Path>, directory: impl AsRef<Path>) -> io::Result<()> {
        let directory = directory.as_ref();
        self.make_dirs(directory)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let to = directory.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.import(entry.path(), to)?;
            } else if kind.is_file() {
                self.put_file(to, &fs::read(entry.path())?)?;
            }
        }
        Ok(())
    }
}
