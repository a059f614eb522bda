//! Whether this machine can run an executor on io_uring, asked before anything could panic or exit.
//!
//! The executor checks too, but answers by panicking, by ending the process, or by an error that nobody understands.
//!
//! Not here: file systems (`system`, at each open).

use std::fs;
use std::io;
use std::path::Path;

use io_uring::{IoUring, Probe, opcode};
use nix::libc;
use rustix::process::{Resource, getrlimit};

use crate::{Error, Result};

/// What the executor insists on, as root too, although no kernel that we support charges it for the rings.
const MEMLOCK_BYTES_MIN: u64 = 512 << 10;

const ELSE: &str = "or use `tidelog::disk::Posix`, which needs no io_uring";

/// Every operation that the executor uses or insists on.
const OPERATIONS: &[(&str, u8)] = &[
    ("NOP", opcode::Nop::CODE),
    ("READV", opcode::Readv::CODE),
    ("WRITEV", opcode::Writev::CODE),
    ("FSYNC", opcode::Fsync::CODE),
    ("READ_FIXED", opcode::ReadFixed::CODE),
    ("WRITE_FIXED", opcode::WriteFixed::CODE),
    ("POLL_ADD", opcode::PollAdd::CODE),
    ("POLL_REMOVE", opcode::PollRemove::CODE),
    ("SENDMSG", opcode::SendMsg::CODE),
    ("RECVMSG", opcode::RecvMsg::CODE),
    ("TIMEOUT", opcode::Timeout::CODE),
    ("TIMEOUT_REMOVE", opcode::TimeoutRemove::CODE),
    ("ACCEPT", opcode::Accept::CODE),
    ("ASYNC_CANCEL", opcode::AsyncCancel::CODE),
    ("LINK_TIMEOUT", opcode::LinkTimeout::CODE),
    ("CONNECT", opcode::Connect::CODE),
    ("FALLOCATE", opcode::Fallocate::CODE),
    ("OPENAT", opcode::OpenAt::CODE),
    ("CLOSE", opcode::Close::CODE),
    ("STATX", opcode::Statx::CODE),
    ("READ", opcode::Read::CODE),
    ("WRITE", opcode::Write::CODE),
    ("SEND", opcode::Send::CODE),
    ("RECV", opcode::Recv::CODE),
];

/// Something that an executor needs and does not find.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lack {
    /// `io_uring`, `memlock` or `proc`.
    pub name: &'static str,
    /// What is wrong, and what to do about it.
    pub what: String,
}

/// All that an executor of [`Glommio`](super::Glommio) would not find on this machine; nothing where
/// [`Glommio::check`](super::Glommio::check) is `Ok`.
#[must_use]
pub fn lacks() -> Vec<Lack> {
    let memlock = getrlimit(Resource::Memlock).current;
    let all = [
        ("io_uring", check_io_uring().err()),
        ("memlock", memlock.and_then(memlock_lacks)),
        ("proc", proc_lacks(Path::new("/proc/self/fd"))),
    ];
    all.into_iter().filter_map(|(name, what)| Some(Lack { name, what: what? })).collect()
}

/// Whether an executor could start here, and what to do if not.
pub(super) fn check() -> Result<()> {
    match lacks().into_iter().next() {
        None => Ok(()),
        Some(Lack { what, .. }) => Err(Error::Unsupported { what: what.into() }),
    }
}

fn check_io_uring() -> Result<(), String> {
    let ring = IoUring::new(8).map_err(|error| refused("io_uring_setup", &error))?;
    // Workers that are threads of this process are what resolves /proc/self as we mean it.
    if !ring.params().is_feature_native_workers() {
        return Err(format!("io_uring here is that of an old kernel; use Linux 5.12 or newer, {ELSE}"));
    }
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(|error| refused("io_uring_register", &error))?;
    match OPERATIONS.iter().find(|(_, code)| !probe.is_supported(*code)) {
        None => Ok(()),
        Some((name, _)) => Err(format!("io_uring here has no operation {name}; use a newer kernel, {ELSE}")),
    }
}

/// Why the kernel refused a call, as far as can be told.
fn refused(call: &str, error: &io::Error) -> String {
    let why = match error.raw_os_error() {
        Some(libc::ENOSYS) => {
            "this kernel has no io_uring, or a sandbox hides it (gVisor, some container profiles); use Linux 5.12 \
             or newer outside of it"
        }
        Some(libc::EPERM | libc::EACCES) => match disabled() {
            Some(2) => "it is switched off; `sysctl kernel.io_uring_disabled=0` switches it on",
            Some(1) => {
                "it is switched off for ordinary users; `sysctl kernel.io_uring_disabled=0` switches it on, or join \
                 the group that `sysctl kernel.io_uring_group` names"
            }
            _ => {
                "a seccomp filter or a security module forbids it, as Docker's default profile does; allow \
                 io_uring_setup, io_uring_enter and io_uring_register (`--security-opt seccomp=<profile>`)"
            }
        },
        Some(libc::ENOMEM) => "there is no memory for its rings",
        Some(libc::EMFILE | libc::ENFILE) => "too many files are open; raise the limit (`ulimit -n`)",
        _ => "the kernel gives no reason",
    };
    format!("io_uring does not work here ({call}: {error}): {why}, {ELSE}")
}

fn disabled() -> Option<u8> {
    fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

fn memlock_lacks(limit: u64) -> Option<String> {
    (limit < MEMLOCK_BYTES_MIN).then(|| {
        format!(
            "the limit on locked memory (RLIMIT_MEMLOCK) is {limit} bytes, an executor needs {MEMLOCK_BYTES_MIN}; \
             raise it (`ulimit -l 8192` in a shell, `LimitMEMLOCK=8M` in a systemd unit, `--ulimit \
             memlock=8388608` for a container), {ELSE}"
        )
    })
}

fn proc_lacks(descriptors: &Path) -> Option<String> {
    (!descriptors.exists()).then(|| format!("there is no {}; mount /proc, {ELSE}", descriptors.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_its_reason_and_a_remedy() {
        let check = |errno: i32, expected: &str| {
            let text = refused("io_uring_setup", &io::Error::from_raw_os_error(errno));
            assert!(text.contains(expected) && text.contains("Posix"), "{errno}: {text}");
        };
        check(libc::ENOSYS, "Linux 5.12");
        check(libc::EPERM, if disabled() == Some(0) { "seccomp" } else { "io_uring_disabled" });
        check(libc::EMFILE, "ulimit -n");
        check(libc::EINVAL, "no reason");
    }

    #[test]
    fn what_lacks_is_said_with_its_figures() {
        assert_eq!(memlock_lacks(MEMLOCK_BYTES_MIN), None);
        let text = memlock_lacks(65536).unwrap();
        for part in ["65536", "524288", "ulimit -l", "LimitMEMLOCK"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(proc_lacks(Path::new("/")), None);
        assert!(proc_lacks(Path::new("/nowhere/fd")).unwrap().contains("mount /proc"));
    }
}
