//! The protocol's shortcuts, one by one: each is a way to lose rows, and a test that must catch it.
//!
//! Switched on for the current thread by tests (feature `sim`); otherwise a constant `false` that costs nothing.
//! One branch each, at the place of the rule that it breaks. Some rules have a second line behind them: those are
//! switched off together.
//!
//! Not here: the tests that catch them (tests/mutants.rs).

#![cfg_attr(not(feature = "sim"), expect(unreachable_pub, reason = "public with feature sim"))]

/// A rule of the protocol that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutant {
    /// Pages: the one that is not full is written too, at each checkpoint again, and is the tail's only copy.
    RewritesPages,
    /// Commit: large commits do not sync their data before the record.
    NoDataSync,
    /// Commit: one sync stands for all files.
    SyncsOneFile,
    /// Commit: the writes of a large commit are not waited for.
    DataNotAwaited,
    /// Commit: it is laid out before room is made.
    LaidOutBeforeRoom,
    /// Commit: space for a large one is not obtained before it is written.
    NoSpaceBefore,
    /// Commit: the record's write is not durable.
    RecordNotDurable,
    /// Commit: acknowledged when the record's write has begun.
    AcknowledgesEarly,
    /// Commit: shown to readers before its record is durable.
    ShowsEarly,
    /// Commit: in memory a large one's inline bytes extend the tail where D did not move.
    InlineExtends,
    /// Buffered: shown although the record that is to come has no room.
    BufferedWithoutRoom,
    /// Buffered: checkpoint and close do not record what was shown.
    BufferedForgotten,
    /// Log: it enters the other file without a checkpoint.
    NoLogRule,
    /// Log: it enters the other file when room is made, before the record is written.
    EntersEarly,
    /// Log: the position behind a record that fills its file is the start of the other.
    PositionMoves,
    /// Checkpoint: raw files are not synced.
    NoCheckpointSync,
    /// Checkpoint: D, tails and sums move before the manifest is durable.
    MemoryFirst,
    /// Checkpoint: the newest note is not in the manifest.
    NoteForgotten,
    /// Roll: the last pages are not padded and written.
    NoPadding,
    /// Roll: the sums are not synced.
    NoSumsSync,
    /// Roll: the slot's directory is not synced.
    NoSlotSync,
    /// Roll: names that were found are taken for durable.
    FoundIsDurable,
    /// Roll and first writer: the store's directory is not synced before the rename.
    NoNamesSync,
    /// Roll: a slot that is still named is taken again.
    SlotTakenAgain,
    /// Publish: the temporary is not synced before its rename.
    NoManifestSync,
    /// Publish: a leftover is written over, not unlinked.
    LeftoverWrittenOver,
    /// Publish: the directory is not synced behind the rename.
    NoDirectorySync,
    /// Publish: the manifest before is removed before the directory is synced.
    OldManifestFirst,
    /// Seal: a leftover is written over, not unlinked.
    SegmentWrittenOver,
    /// Seal: a removal of the name that was dropped on its way is not minded.
    RemovalForgotten,
    /// Seal: the file is not synced before it is handed over.
    NoSegmentSync,
    /// Seal: the directory is not synced before it is handed over.
    NoSegmentNameSync,
    /// Seal: what the disk holds is not compared with what was written.
    NoReadBack,
    /// Seal: rows stay in memory to be sealed before their commit is durable.
    StagedUncommitted,
    /// Seal: a segment that waits to be published is sealed again.
    SealedTwice,
    /// Compact: the new file has the name of an old one.
    CompactedInPlace,
    /// Compact: old files are removed before the manifest that does not name them is durable.
    OldSegmentsFirst,
    /// Compact: an old file is removed although a snapshot reads it.
    ReplacedForgotten,
    /// Slots: one is used again although a snapshot reads what was in it.
    PinForgotten,
    /// Creation: the parent directory is not synced.
    NoParentSync,
    /// Creation: log and slot are made before the first manifest.
    LogBeforeManifest,
    /// Creation: the log is not synced before it is named.
    NoLogSync,
    /// Recovery: the directory is not synced before the manifest is chosen.
    NoDirectorySyncAtOpen,
    /// Recovery: the slots' directories are not synced.
    NoSlotSyncAtOpen,
    /// Recovery: log and active files are not synced before they are trusted.
    NoFileSyncAtOpen,
    /// Recovery: no record begins the new epoch.
    NoEpochRecord,
    /// Recovery: a record's epoch may be below the one before.
    EpochMayFall,
    /// Recovery: where the newest manifest is damaged, the one before it counts.
    OlderManifest,
    /// Recovery: the record before the manifest's position is not asked for.
    NoRecordBefore,
    /// Recovery: records of a later manifest are not looked for.
    NoGenerationCheck,
    /// Recovery: a later record behind a missing one is not looked for.
    NoLaterRecord,
    /// Recovery: of later records only whole ones prove anything.
    OnlyWholeRecords,
    /// Recovery: a record need not name the one before it.
    NoPreviousCheck,
    /// Errors: the writer goes on after one.
    NoPoison,
    /// Errors: closing a poisoned writer makes a checkpoint.
    PoisonedClose,
    /// Errors: a sync that failed is asked for again, and believed.
    SyncRetried,
    /// Reading: the bytes of raw files are not verified.
    NoReadCheck,
    /// Reading: bytes that do not match are damage, whatever the newest manifest says.
    NotAskedAgain,
    /// Following: where no manifest is listed none is there.
    NotListedAgain,
    /// Following: a missing record is not read a second time, behind the look for a later one.
    NoSecondRead,
    /// Following: manifests are listed before a missing record is read a second time.
    ListsFirst,
    /// Following: a record of a later manifest is taken for one of this manifest's.
    LaterGenerationApplied,
    /// Following: where a record that follows was begun, whatever record is read whole is taken for it.
    OnlyBegunFollows,
    /// Following: rows are shown before the log is synced.
    NoSyncBeforeShowing,
}

#[cfg(feature = "sim")]
mod switch {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        /// A bit for each.
        static ON: Cell<u128> = const { Cell::new(0) };
    }

    /// Breaks these rules, and no other, for what this thread does from now on.
    pub fn set(mutants: &[Mutant]) {
        ON.with(|on| on.set(mutants.iter().fold(0, |bits, mutant| bits | 1 << *mutant as u32)));
    }

    pub(crate) fn is(mutant: Mutant) -> bool {
        ON.with(Cell::get) & 1 << mutant as u32 != 0
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
