//! Ends: of a process, and of the power.
//!
//! A kill leaves the disk as it is, but for what was in flight; a power cut decides all that was pending, and
//! the world goes on from what was left.

use super::World;
use super::contents::{Cut, SECTOR, WHOLE, bytes_of, content, garbage};
use super::operation::{Request, Writing};
use super::slab::Slab;
use super::world::{Flying, LateWrite, Process};
use crate::disk::PAGE;

impl World {
    /// A new process; its number.
    pub(super) fn start(&mut self) -> usize {
        self.processes.push(Process::default());
        self.processes.len() - 1
    }

    /// Ends a process at this moment. What it had in flight lands, is lost, or lands later.
    pub(super) fn kill(&mut self, process: usize) {
        if self.processes[process].ended {
            return;
        }
        self.trace(0xDEAD);
        for place in self.flying.places(|flying| flying.process == process) {
            self.abandoned.retain(|abandoned| *abandoned != place);
            if let Some(flying) = self.flying.remove(place) {
                self.end_in_flight(flying, World::strand);
            }
        }
        for place in self.handles.places(|handle| handle.process == process) {
            self.close_handle(place);
        }
        self.processes[process] = Process { ended: true, ..Process::default() };
    }

    /// A request in flight comes to its end; `write` says what that is for a write.
    fn end_in_flight(&mut self, flying: Flying, write: fn(&mut World, LateWrite)) {
        match flying.request {
            Request::Write(Writing { file, offset, bytes, returned, .. }) => {
                let handle = self.handles.get(file).filter(|handle| handle.writable);
                if let Some(node) = handle.map(|handle| handle.node) {
                    write(self, LateWrite { node, offset, bytes, returned });
                }
            }
            Request::SyncFiles { files, done: false } => {
                for file in files {
                    if self.random.coin() {
                        self.sync_handle(file);
                    }
                }
            }
            Request::Read { .. } => self.tally.end_read(flying.path),
            Request::List { .. } | Request::Len { .. } | Request::Close { .. } => {}
            request => {
                if self.random.coin() {
                    // Nobody hears of its result.
                    let _ = self.effect(flying.process, request, flying.path, None);
                }
            }
        }
    }

    /// What becomes of a write whose process was killed. A long one may have been handed over in pieces.
    fn strand(&mut self, write: LateWrite) {
        let LateWrite { node, offset, bytes, returned } = write;
        let piece = if self.random.below(4) == 0 { PAGE } else { bytes.len() };
        for (i, bytes) in bytes.chunks(piece).enumerate() {
            let returned = returned.iter().skip(i * piece / PAGE).take(piece / PAGE).copied().collect();
            let write = LateWrite { node, offset: offset + i * piece, bytes: bytes.to_vec(), returned };
            match self.random.fraction() {
                fate if fate < 0.3 => self.arrive(&write),
                fate if fate < 0.9 => {
                    self.names.count_open(node, true);
                    self.late.push(write);
                }
                _ => {}
            }
        }
    }

    /// What becomes of a write when the power fails: each sector may have arrived.
    fn tear(&mut self, write: LateWrite) {
        for (i, new) in write.bytes.chunks_exact(PAGE).enumerate() {
            let page = write.offset / PAGE + i;
            if self.settings.cow {
                let sectors = if self.random.coin() { WHOLE } else { 0 };
                self.put(write.node, page, &content(new), sectors);
                continue;
            }
            let mut torn = bytes_of(&content(new));
            let mut arrived = 0;
            for sector in 0..PAGE / SECTOR {
                let fate = self.random.fraction();
                if fate < 0.55 {
                    arrived |= 1 << sector;
                }
                if (0.45..0.55).contains(&fate) && self.settings.garbage {
                    garbage(&mut self.random, &mut torn[sector * SECTOR..(sector + 1) * SECTOR]);
                }
            }
            let settled = self.settled(&write, i, new);
            self.put(write.node, page, &content(&torn), arrived & !settled);
        }
    }

    /// The power fails: every process ends, and all that was pending is decided.
    pub(super) fn power_cut(&mut self) {
        self.trace(0xDA4C);
        for place in self.flying.places(|_| true) {
            if let Some(flying) = self.flying.remove(place) {
                self.end_in_flight(flying, World::tear);
            }
        }
        for write in std::mem::take(&mut self.late) {
            self.tear(write);
        }
        let cut = Cut {
            mode: self.random.fraction(),
            garbage: self.settings.garbage,
            unreadable: self.settings.unreadable,
            cow: self.settings.cow,
        };
        for node in self.names.files() {
            // A file that is settled stays shared with the forks.
            if self.names.file(node).is_some_and(|contents| contents.is_pending() || contents.listed)
                && let Some(contents) = self.names.file_mut(node)
            {
                contents.cut(&mut self.random, cut);
                contents.listed = false;
            }
        }
        self.names.cut(&mut self.random, self.settings.journal);
        self.cached.clear();
        self.abandoned.clear();
        self.handles = Slab::new();
        self.processes
            .iter_mut()
            .for_each(|process| *process = Process { ended: true, ..Process::default() });
    }
}
