//! Machines and places that cannot do it: a named error at once, with the code and what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::process::{Place, on, run};
use crate::skip::{Need, say_skipped, skips};

const INPUT: &str = "t,a\n1,1\n";

/// Runs the program by a shell or another program; its code and what it said.
fn through(mut command: Command) -> (Option<i32>, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn program() -> &'static str {
    env!("CARGO_BIN_EXE_tidelog")
}

#[test]
fn a_removed_directory_is_no_store() {
    let place = Place::new();
    let dir = place.store("store");
    on("ingest", &dir, &[], INPUT.as_bytes()).text();
    fs::remove_dir_all(&dir).unwrap();
    for command in [&["scan"][..], &["tail"], &["stat"], &["check"], &["inspect"]] {
        assert!(on(command[0], &dir, &command[1..], b"").refused(4).contains("there is no such directory"));
    }
}

/// Root may write anywhere: the mount itself must forbid it.
#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let place = Place::new();
    let dir = place.store("store");
    let words = if rustix::process::getuid().is_root() {
        let words = run(["ingest", "/proc/store", "--format", "csv"], INPUT.as_bytes());
        words.words
    } else {
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o555)).unwrap();
        on("ingest", &dir, &[], INPUT.as_bytes()).refused(5)
    };
    assert!(words.starts_with("tidelog: could not ") && words.trim_end().lines().count() == 1, "{words}");
}

#[test]
fn too_little_locked_memory_is_said_before_anything_is_made() {
    if skips(&[Need::IoUring]) {
        return;
    }
    let place = Place::new();
    let dir = place.store("store");
    let mut shell = Command::new("sh");
    let script = format!("ulimit -l 64 && exec {} create {} --column a:i64", program(), dir.display());
    shell.args(["-c", &script]);
    let (code, words) = through(shell);
    assert_eq!(code, Some(5), "{words}");
    for part in ["RLIMIT_MEMLOCK", "65536 bytes", "ulimit -l", "`--disk posix` can"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert!(!dir.exists());
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -l 64 && exec {} doctor {}", program(), env!("CARGO_TARGET_TMPDIR"))]);
    let output = shell.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("blocker  memlock") && text.contains("ok       io_uring"), "{text}");
    assert_eq!(output.status.code(), Some(1));
}

/// Answers io_uring_setup (425 on every architecture) with an error, then becomes the program that it is given.
const FILTER: &str = r#"
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
code = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7fff0000)]
filter = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(filter)))
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
    sys.exit("no filter: errno %d" % ctypes.get_errno())
os.execv(sys.argv[1], sys.argv[1:])
"#;

#[test]
fn a_forbidden_io_uring_is_said_and_posix_still_works() {
    if skips(&[Need::IoUring]) {
        return;
    }
    let place = Place::new();
    let dir = place.store("store");
    let filtered = |arguments: &[&str]| {
        let mut python = Command::new("python3");
        python.args(["-c", FILTER, program()]).args(arguments);
        python
    };
    let create = ["create", dir.to_str().unwrap(), "--column", "a:i64"];
    let mut python = filtered(&create);
    if python.stdin(Stdio::null()).output().is_err() {
        return say_skipped("python3", "it filters io_uring_setup");
    }
    let (code, words) = through(filtered(&create));
    assert_eq!(code, Some(5), "{words}");
    for part in ["io_uring_setup", "`--disk posix` can", "seccomp"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert!(!dir.exists());
    let (code, words) = through(filtered(&[&create[..], &["--disk", "posix"]].concat()));
    assert_eq!(code, Some(0), "{words}");
    let output = filtered(&["doctor", env!("CARGO_TARGET_TMPDIR")]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("blocker  io_uring") && output.status.code() == Some(1), "{text}");
}

/// A file system of 16 MiB: its two log files alone take more.
#[test]
fn a_file_system_that_is_full_is_named_and_what_was_acknowledged_stays() {
    if skips(&[Need::Root]) {
        return;
    }
    let place = Place::new();
    let (image, mounted) = (place.store("image"), place.store("mounted"));
    fs::File::create(&image).unwrap().set_len(60 << 20).unwrap();
    fs::create_dir(&mounted).unwrap();
    let done = |program: &str, arguments: &[&Path]| {
        let status = Command::new(program).args(arguments).stdout(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    assert!(done("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), &image]));
    assert!(done("mount", &["-o".as_ref(), "loop".as_ref(), &image, &mounted]));
    let dir = mounted.join("store");
    let mut rows = String::from("t,text\n");
    (0..60_000).for_each(|row| rows += &format!("{row},{}\n", "x".repeat(1000)));
    let ended = on("ingest", &dir, &["--batch", "1000"], rows.as_bytes());
    let kept = on("check", &dir, &["--json"], b"");
    let trial = run(["doctor", mounted.to_str().unwrap()], b"");
    assert!(done("umount", &[&mounted]));
    let words = ended.refused(5);
    assert!(words.contains("no space for ") && words.contains("free some space"), "{words}");
    let kept: serde_json::Value = serde_json::from_slice(&kept.out).unwrap();
    assert!(kept["intact"] == true && kept["rows"].as_u64().unwrap() >= 1000, "{kept}");
    let found = String::from_utf8(trial.out).unwrap();
    assert!(trial.code == Some(1) && found.contains("blocker  free space"), "{found}");
}
