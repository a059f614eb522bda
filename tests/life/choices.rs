//! What kind of lives are lived, and what they were made of.
//!
//! Not here: living them (`random`).

use tidelog::disk::sim::Random;

/// What kind of lives are drawn.
#[derive(Clone, Debug)]
pub(crate) struct Choices {
    /// How many of the crashes are kills; the others are power cuts.
    pub(crate) kills: f64,
    /// How probably a dead process's request lands at each event; else as the world has it.
    pub(crate) late_landing: Option<f64>,
    /// How probably an operation fails, and how probably space runs out before a call; else drawn.
    pub(crate) errors: Option<(f64, f64)>,
    /// How probably the future of a call is dropped.
    pub(crate) drops: f64,
    /// Opening for writing takes the file's advisory lock.
    pub(crate) flocks: bool,
    /// Once the store is open, a sync that fails forgets what it should have written.
    pub(crate) lossy: bool,
    /// The caller goes on with a writer that has failed, or closes it, and looks at no error.
    pub(crate) careless: bool,
    /// Commits of the last process, about.
    pub(crate) last_commits: u64,
    /// The kind of schema; else drawn.
    pub(crate) schema: Option<u64>,
    /// Commits of up to so many bytes ride in the log; else drawn.
    pub(crate) inline_bytes: Option<u64>,
    /// Records and commits of more than one write may bring, 1 MiB.
    pub(crate) huge: bool,
    /// Processes that follow the store; else drawn.
    pub(crate) followers: Option<u64>,
    /// Commits are buffered, but for the last process's.
    pub(crate) buffered: bool,
    /// Of a hundred acts so many, up to 75, are about sealing.
    pub(crate) seals: u64,
    /// Tell what happens.
    pub(crate) trace: bool,
}

impl Default for Choices {
    fn default() -> Self {
        Choices {
            kills: 0.4,
            late_landing: None,
            errors: None,
            drops: 0.01,
            flocks: true,
            lossy: false,
            careless: false,
            last_commits: 6,
            schema: None,
            inline_bytes: None,
            huge: false,
            followers: None,
            buffered: false,
            seals: 10,
            trace: false,
        }
    }
}

impl Choices {
    /// What kind of life belongs to a seed, where nobody asks for another: most are ordinary.
    pub(crate) fn of(seed: u64) -> Self {
        let choices = Choices::default();
        let mut random = Random::new(!seed);
        // These cost as much as dozens of others.
        if random.below(250) == 0 {
            return Choices { huge: true, ..choices };
        }
        match random.below(20) {
            0 => Choices { kills: 1.0, late_landing: Some(0.002), ..choices },
            1 => Choices { kills: 0.0, ..choices },
            2 => Choices { drops: 0.1, ..choices },
            3 => Choices { errors: Some((0.02, 0.0)), ..choices },
            4 => Choices { errors: Some((0.0, 0.3)), ..choices },
            5 => Choices { kills: 0.7, schema: Some(5), ..choices },
            6 => Choices { errors: Some((0.01, 0.1)), drops: 0.05, inline_bytes: Some(0), ..choices },
            7 => Choices { buffered: true, ..choices },
            8 => Choices { buffered: true, errors: Some((0.004, 0.1)), ..choices },
            _ => choices,
        }
    }
}

/// What lives were made of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Story {
    pub(crate) operations: u64,
    pub(crate) opens: u64,
    pub(crate) commits: u64,
    pub(crate) checkpoints: u64,
    pub(crate) kills: u64,
    pub(crate) power_cuts: u64,
    /// Crashes while the store was being opened.
    pub(crate) in_recovery: u64,
    pub(crate) fulls: u64,
    pub(crate) failures: u64,
    pub(crate) drops: u64,
    /// Commits whose end nobody had heard: found whole, and not at all.
    pub(crate) found: u64,
    pub(crate) absent: u64,
    /// Callers of an `Appender` whose rows were acknowledged.
    pub(crate) callers: u64,
    /// Commits that were shown only, and commits that took those before them along.
    pub(crate) buffered: u64,
    pub(crate) synced: u64,
    /// Acknowledged commits of more than one write, 1 MiB.
    pub(crate) huge: u64,
    /// Lives at whose end there were several segments, and raw files of several chunks.
    pub(crate) rolled: u64,
    pub(crate) chunked: u64,
    /// How often followers were shown new rows.
    pub(crate) shows: u64,
    /// Segments that were handed to the writer, and calls that were dropped.
    pub(crate) seals: u64,
    pub(crate) compacted: u64,
    pub(crate) stopped_seals: u64,
    /// Segments that were found sealed, and slots that had been used again, when a life was last compared with them.
    pub(crate) sealed: u64,
    pub(crate) reused: u64,
}

impl Story {
    /// Both together.
    pub(crate) fn add(&mut self, other: &Story) {
        let pairs = [
            (&mut self.operations, other.operations),
            (&mut self.opens, other.opens),
            (&mut self.commits, other.commits),
            (&mut self.checkpoints, other.checkpoints),
            (&mut self.kills, other.kills),
            (&mut self.power_cuts, other.power_cuts),
            (&mut self.in_recovery, other.in_recovery),
            (&mut self.fulls, other.fulls),
            (&mut self.failures, other.failures),
            (&mut self.drops, other.drops),
            (&mut self.found, other.found),
            (&mut self.absent, other.absent),
            (&mut self.callers, other.callers),
            (&mut self.buffered, other.buffered),
            (&mut self.synced, other.synced),
            (&mut self.huge, other.huge),
            (&mut self.rolled, other.rolled),
            (&mut self.chunked, other.chunked),
            (&mut self.shows, other.shows),
            (&mut self.seals, other.seals),
            (&mut self.compacted, other.compacted),
            (&mut self.stopped_seals, other.stopped_seals),
            (&mut self.sealed, other.sealed),
            (&mut self.reused, other.reused),
        ];
        pairs.into_iter().for_each(|(sum, more)| *sum += more);
    }
}
