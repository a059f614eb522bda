//! The console blocks of the documents, run as they stand: what is behind `$` in a shell, in a directory of its own
//! for each document; what follows is what it prints, where `...` is any lines and `[..]` anything in a line. `? N`
//! behind a command is its exit code.

use std::path::{Path, PathBuf};
use std::process::Command;

use snapbox::assert_data_eq;

use crate::skip::{Need, skips};

const DOCUMENTS: [&str; 2] = ["README.md", "docs/cli.md"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join("..")
}

/// A command, and what the document says that it prints and ends with.
struct Shown {
    command: String,
    expected: String,
    code: i32,
}

fn commands(document: &str) -> Vec<Shown> {
    let mut shown: Vec<Shown> = Vec::new();
    for block in document.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        for line in block.lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                shown.push(Shown { command: command.to_owned(), expected: String::new(), code: 0 });
            } else if let Some(code) = line.strip_prefix("? ") {
                shown.last_mut().unwrap().code = code.parse().unwrap();
            } else {
                let last = shown.last_mut().expect("a block begins with a command");
                last.expected += line;
                last.expected.push('\n');
            }
        }
    }
    shown
}

#[test]
fn what_the_documents_show_is_what_happens() {
    if skips(&[Need::IoUring]) {
        return;
    }
    let binary = Path::new(env!("CARGO_BIN_EXE_tidelog"));
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", binary.parent().unwrap().display());
    let mut count = 0;
    for document in DOCUMENTS {
        let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        for Shown { command, expected, code } in commands(&text) {
            let mut shell = Command::new("sh");
            shell
                .args(["-c", &format!("{{ {command}\n}} 2>&1")])
                .current_dir(place.path())
                .env("PATH", &path);
            let output = shell.output().unwrap();
            let printed = String::from_utf8(output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(code), "{document}: {command}: {printed}");
            // A block may part its commands by empty lines.
            assert_data_eq!(printed.trim_end(), expected.trim_end());
            count += 1;
        }
    }
    assert!(count >= 8, "{count} commands are shown");
}
