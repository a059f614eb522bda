//! Running the program.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use tempfile::TempDir;

/// What a run of the program left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) words: String,
}

impl Ended {
    /// What it printed, if all went well.
    pub(crate) fn text(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.words);
        String::from_utf8(self.out).unwrap()
    }

    /// What it said, if it ended with `code`.
    pub(crate) fn refused(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}", self.words);
        assert!(
            self.words.starts_with("tidelog: ") && self.words.trim_end().lines().count() == 1,
            "{}",
            self.words
        );
        self.words
    }
}

/// The program, on the disk that works everywhere.
pub(crate) fn tidelog<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    tidelog_on("posix", arguments)
}

/// The program, on this disk.
pub(crate) fn tidelog_on<S: AsRef<OsStr>>(disk: &str, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidelog"));
    command.args(["--disk", disk]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the program to its end.
pub(crate) fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>, input: &[u8]) -> Ended {
    end(tidelog(arguments), input)
}

/// Starts a command. One at a time: a child that is not a program of its own yet holds the locks of stores that tests of
/// this process have open, also when those have given them back meanwhile.
pub(crate) fn spawn(command: &mut Command) -> Child {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    command.spawn().unwrap()
}

/// Runs a command to its end.
pub(crate) fn end(mut command: Command, input: &[u8]) -> Ended {
    let mut child = spawn(&mut command);
    let mut stdin = child.stdin.take().unwrap();
    thread::scope(|scope| {
        // One that refuses its input need not read it.
        scope.spawn(move || _ = stdin.write_all(input));
        let ended = child.wait_with_output().unwrap();
        Ended {
            code: ended.status.code(),
            out: ended.stdout,
            words: String::from_utf8(ended.stderr).unwrap(),
        }
    })
}

/// As [`run`], with the store in `dir` behind the command.
pub(crate) fn on(command: &str, dir: &Path, arguments: &[&str], input: &[u8]) -> Ended {
    let all = [OsStr::new(command), dir.as_os_str()].into_iter().chain(arguments.iter().map(OsStr::new));
    run(all, input)
}

/// A directory to make stores in, where a sync costs nothing if there is such a place.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap())
    }

    pub(crate) fn store(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// The most memory that a running process has had at once, in KiB.
pub(crate) fn peak_kib(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Reads until there is no more, or `enough`.
pub(crate) fn read_some(from: &mut impl Read, enough: usize) -> usize {
    let mut buffer = vec![0; 64 << 10];
    let mut total = 0;
    while total < enough {
        match from.read(&mut buffer).unwrap() {
            0 => break,
            count => total += count,
        }
    }
    total
}
