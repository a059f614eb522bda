//! Hostile bytes cost no more memory than their own size, a few times over.
//!
//! The tests of hostile and random bytes run again in a process that cannot have much: a count near 2^32 that is
//! believed before it is compared with the bytes ends it.

use std::process::Command;

#[test]
fn hostile_bytes_are_decoded_in_little_memory() {
    let tests = std::env::current_exe().unwrap();
    let limited = "ulimit -v 300000 && exec \"$0\" --test-threads 1 format::tests::hostile format::tests::fuzz format::tests::segments codec::tests::hostile codec::tests::bytes";
    let child = Command::new("sh").args(["-c", limited]).arg(tests).output().unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{said}{}", String::from_utf8_lossy(&child.stderr));
    assert!(!said.contains(" 0 passed"), "no test ran: {said}");
}
