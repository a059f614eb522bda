//! The protocol's shortcuts, one by one: each is a way to lose rows, and a test that must catch it.
//!
//! Switched on for the current thread by tests (feature `sim`); otherwise a constant `false` that costs nothing.
//! One branch each, at the place of the rule that it breaks.
//!
//! Not here: the tests that catch them (tests/mutants.rs).

#![cfg_attr(not(feature = "sim"), expect(unreachable_pub, reason = "public with feature sim"))]

/// A rule of the protocol that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutant {
    /// Commit: large commits do not sync their data before the record.
    NoDataSync,
    /// Commit: one sync stands for all files.
    SyncOneFile,
    /// Log: it enters the other file without a checkpoint.
    NoLogRule,
    /// Checkpoint: D, tails and sums move before the manifest is durable.
    MemoryFirst,
    /// Publish: the temporary is not synced before its rename.
    NoManifestSync,
    /// Publish: the directory is not synced behind the rename.
    NoDirectorySync,
    /// Roll: the sums are not synced.
    NoSumsSync,
    /// Creation: the parent directory is not synced.
    NoParentSync,
    /// Errors: the writer goes on after one.
    NoPoison,
    /// Recovery: directories and files are not synced before they are trusted.
    NoRecoverySync,
    /// Recovery: a damaged newest manifest is passed over.
    OlderManifest,
    /// Recovery: the record before the manifest's position is not asked for.
    NoRecordBefore,
    /// Recovery: records of a later manifest are not looked for.
    NoGenerationCheck,
    /// Recovery: a later record behind a missing one is not looked for.
    NoLaterRecord,
}

#[cfg(feature = "sim")]
mod switch {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static ON: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Breaks one rule, or none, for what this thread does from now on.
    pub fn set(mutant: Option<Mutant>) {
        ON.with(|on| on.set(mutant));
    }

    pub(crate) fn is(mutant: Mutant) -> bool {
        ON.with(Cell::get) == Some(mutant)
    }
}

#[cfg(feature = "sim")]
pub(crate) use switch::is;
#[cfg(feature = "sim")]
pub use switch::set;

/// Never, outside tests.
#[cfg(not(feature = "sim"))]
pub(crate) const fn is(_: Mutant) -> bool {
    false
}
