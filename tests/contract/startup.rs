//! Executors: where they run, and machines that cannot run them. What would change this process is done in a
//! child: this test binary again, told by a variable to be one.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidelog::disk::{Core, Disk, File, Glommio, Mode};
use tidelog::{Column, Error, Kind, Options, Schema, Writer};

use crate::cases::{contents, lock, pages, write};
use crate::{Need, directory_on_disk, say_skipped, skips};

const CHILD: &str = "TIDELOG_TEST_CHILD";

/// Whether this process is the child of the test of that name.
fn is_child(test: &str) -> bool {
    std::env::var(CHILD).is_ok_and(|child| child == test)
}

/// The command that runs one test of this file as a child.
fn child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments(test)).env(CHILD, test);
    command
}

fn arguments(test: &str) -> [String; 3] {
    ["--exact".to_owned(), format!("startup::{test}"), "--nocapture".to_owned()]
}

fn passes(output: &Output) {
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("1 passed"), "{}\n{text}", output.status);
}

/// Every way in says the same, and nothing panics or exits.
fn refused(parts: &[&str]) {
    let check = Glommio::check().err();
    let run = Glommio::run(async {}).err();
    let spawn = Glommio::spawn(Core::Any, "never", || async {}).err();
    for error in [check, run, spawn] {
        let Some(Error::Unsupported { what }) = error else { panic!("{error:?}") };
        for part in parts.iter().chain(&["Posix"]) {
            assert!(what.contains(part), "no {part} in: {what}");
        }
    }
}

#[test]
fn too_little_locked_memory_is_said_with_its_remedy() {
    const TEST: &str = "too_little_locked_memory_is_said_with_its_remedy";
    if is_child(TEST) {
        setrlimit(Resource::Memlock, Rlimit { current: Some(256 << 10), maximum: Some(256 << 10) }).unwrap();
        refused(&["262144", "524288", "ulimit -l", "LimitMEMLOCK"]);
    } else if !skips(&[Need::IoUring]) {
        passes(&crate::alone(|| child(TEST).output()).unwrap());
    }
}

#[test]
fn too_few_open_files_are_said_with_their_remedy() {
    const TEST: &str = "too_few_open_files_are_said_with_their_remedy";
    if is_child(TEST) {
        // What is open stays so.
        setrlimit(Resource::Nofile, Rlimit { current: Some(3), maximum: Some(3) }).unwrap();
        refused(&["ulimit -n"]);
    } else if !skips(&[Need::IoUring]) {
        passes(&crate::alone(|| child(TEST).output()).unwrap());
    }
}

/// Installs a seccomp filter that answers io_uring_setup (425 on every architecture) with an error, then becomes
/// the program that it is given.
const FILTER: &str = r#"
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
code = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x00050000 | int(sys.argv[1])), (0x06, 0, 0, 0x7fff0000)]
filter = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(filter)))
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
    sys.exit("no filter: errno %d" % ctypes.get_errno())
os.execv(sys.argv[2], sys.argv[2:])
"#;

#[test]
fn a_forbidden_io_uring_is_said_with_its_remedy() {
    const TEST: &str = "a_forbidden_io_uring_is_said_with_its_remedy";
    if is_child(TEST) {
        let expected = std::env::var("TIDELOG_TEST_EXPECTS").unwrap();
        return refused(&["io_uring_setup", &expected]);
    }
    if skips(&[Need::IoUring]) {
        return;
    }
    for (errno, expected) in [(nix::libc::EPERM, "seccomp"), (nix::libc::ENOSYS, "Linux 5.12")] {
        let mut python = Command::new("python3");
        python.args(["-c", FILTER, &errno.to_string()]).arg(std::env::current_exe().unwrap());
        python.args(arguments(TEST)).env(CHILD, TEST).env("TIDELOG_TEST_EXPECTS", expected);
        match crate::alone(|| python.output()) {
            Ok(output) => passes(&output),
            Err(error) => return say_skipped("python3", &error.to_string()),
        }
    }
}

/// Nobody in particular, with the 8 MiB of locked memory that distributions give: fewer than an executor's
/// buffers take, which may cost it speed and nothing else.
#[test]
fn an_ordinary_user_can_do_everything() {
    const TEST: &str = "an_ordinary_user_can_do_everything";
    const NOBODY: u32 = 65534;
    if is_child(TEST) {
        let maximum = getrlimit(Resource::Memlock).maximum;
        let current = Some(maximum.unwrap_or(u64::MAX).min(8 << 20));
        setrlimit(Resource::Memlock, Rlimit { current, maximum }).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let run = Glommio::run(async {
            let disk = Glommio::default();
            let lock = lock(&disk, directory.path()).await;
            let file = disk.open(&directory.path().join("file"), Mode::CreateNew(&lock)).await.unwrap();
            write(&file, 0, &pages(0, 600)).await;
            disk.sync_files(&[&file]).await.unwrap();
            assert_eq!(contents(&file).await, pages(0, 600));
        });
        return run.unwrap();
    }
    if skips(&[Need::IoUring]) {
        return;
    }
    if !rustix::process::getuid().is_root() {
        return say_skipped("root", "this is an ordinary user");
    }
    let mut child = child(TEST);
    child.uid(NOBODY).gid(NOBODY).current_dir("/").env("TMPDIR", "/tmp");
    match crate::alone(|| child.output()) {
        Ok(output) => passes(&output),
        Err(error) => say_skipped("a test binary that everybody may run", &error.to_string()),
    }
}

/// The name and the allowed cores of the calling thread.
fn whereabouts() -> (Option<String>, String) {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let cores = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    (std::thread::current().name().map(str::to_owned), cores.trim().to_owned())
}

#[test]
fn executors_run_where_they_are_put() {
    if skips(&[Need::IoUring]) {
        return;
    }
    let (name, anywhere) =
        Glommio::spawn(Core::Any, "tide-any", || async { whereabouts() }).unwrap().join().unwrap().unwrap();
    assert_eq!(name.as_deref(), Some("tide-any"));
    let first: usize = anywhere.split([',', '-']).next().unwrap().parse().unwrap();
    let pinned = Glommio::spawn(Core::Pinned(first), "tide-pinned", || async {
        // Its blocking calls need not wait for its core.
        (whereabouts().1, Glommio::default().list("/proc/self".as_ref()).await.is_ok())
    });
    assert_eq!(pinned.unwrap().join().unwrap().unwrap(), (first.to_string(), true));
    let nowhere = Glommio::run_on(Core::Pinned(1 << 20), async {});
    let Err(Error::Unsupported { what }) = nowhere else { panic!("{nowhere:?}") };
    assert!(what.contains("1048576"), "{what}");
}

#[test]
fn executors_follow_each_other_on_one_thread_whatever_becomes_of_them() {
    if skips(&[Need::IoUring]) {
        return;
    }
    for round in 0..10 {
        let directory = directory_on_disk();
        let run = || {
            Glommio::run(async {
                let disk = Glommio::default();
                let lock = lock(&disk, directory.path()).await;
                let file = disk.open(&directory.path().join("file"), Mode::CreateNew(&lock)).await.unwrap();
                write(&file, 0, &pages(round, 2)).await;
                assert_eq!(contents(&file).await, pages(round, 2));
                assert!(round % 3 != 0, "a panic, on purpose");
                file.close().await.unwrap();
            })
        };
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        assert_eq!(ended.is_ok(), round % 3 != 0);
    }
}

/// Executors on other threads, a store between them: the disk handle goes anywhere, what it opens stays.
#[test]
fn a_store_is_written_on_one_core_and_read_on_another() {
    if skips(&[Need::IoUring]) {
        return;
    }
    let directory = directory_on_disk();
    let path = directory.path().join("store");
    let rows = Glommio::run(async {
        let schema = Schema::new([Column::new("value", Kind::U64)]).unwrap();
        let mut writer = Writer::create(&path, schema, Options::default()).await.unwrap();
        for key in 0..100 {
            writer.pending().append(key, &[tidelog::Value::U64(key * 2)]).unwrap();
            writer.commit().await.unwrap();
        }
        let store = writer.store();
        let reader = Glommio::spawn(Core::Any, "reader", move || async move {
            let (snapshot, reader) = (store.snapshot(), store.reader());
            let mut scan = reader.scan(&snapshot, ..);
            let mut rows = 0;
            while let Some(batch) = scan.next().await.unwrap() {
                rows += batch.len();
            }
            rows
        });
        let rows = reader.unwrap().join().unwrap().unwrap();
        writer.close().await.unwrap();
        rows
    });
    assert_eq!(rows.unwrap(), 100);
}
