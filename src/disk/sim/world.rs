//! The world behind every handle: processes, handles, and operations from submission to completion.
//!
//! An operation is submitted (it is in flight from then on) and completed (it takes effect and its caller
//! hears of it). In between, others pass it. Every submission and completion is an event, at which requests
//! without a caller may land.
//!
//! Invariant: nothing here depends on anything but the seed and the order of polls.
//! Not here: what each request does (`effect`), ends of processes and power cuts (`crash`).

use std::io;

use super::contents::{SECTOR, WHOLE, content};
use super::counts::Tally;
use super::fault::{Fault, Kind, Moment, Orders};
use super::names::{Name, Names, Node};
use super::operation::{Answer, Outcome, Request, Returned, Writing};
use super::slab::Slab;
use super::{Random, Settings};
use crate::disk::PAGE;

/// One running program. Its number is never used again.
#[derive(Clone, Debug, Default)]
pub(super) struct Process {
    /// It was killed, or the power failed.
    pub(super) ended: bool,
    /// An ordered crash has struck: nothing of it goes on, and it is to be killed or to lose its power.
    pub(super) stopped: bool,
    pub(super) operations: u64,
    pub(super) open_files: u64,
    pub(super) orders: Orders,
}

/// An open file, or a hold on a lock.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    pub(super) process: usize,
    pub(super) node: Node,
    /// Holders: the caller's own, and requests in flight.
    pub(super) holders: u32,
    /// The caller still has it.
    pub(super) held: bool,
    pub(super) writable: bool,
    /// It holds the node's advisory lock.
    pub(super) locks: bool,
    /// The store's lock, which it carries.
    pub(super) lock: Option<usize>,
    /// The number of its path in the tally.
    pub(super) path: usize,
}

/// An operation in flight.
#[derive(Clone, Debug)]
pub(super) struct Flying {
    pub(super) process: usize,
    /// Its number among the operations of its process.
    pub(super) number: u64,
    pub(super) request: Request,
    pub(super) path: usize,
    pub(super) fault: Option<Fault>,
    /// Its future was dropped.
    pub(super) abandoned: bool,
}

/// A write of a process that has ended. It counts as open on its node.
#[derive(Clone, Debug)]
pub(super) struct LateWrite {
    pub(super) node: Node,
    pub(super) offset: usize,
    pub(super) bytes: Vec<u8>,
    pub(super) returned: Returned,
}

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) settings: Settings,
    pub(super) random: Random,
    pub(super) names: Names,
    /// Files with versions, which a flush of the device's cache settles.
    pub(super) cached: Vec<Node>,
    pub(super) processes: Vec<Process>,
    pub(super) handles: Slab<Handle>,
    pub(super) flying: Slab<Flying>,
    /// Places in `flying` whose future was dropped.
    pub(super) abandoned: Vec<usize>,
    pub(super) late: Vec<LateWrite>,
    /// The most bytes that all files may have.
    pub(super) space: Option<u64>,
    pub(super) open_files_max: u64,
    pub(super) tally: Tally,
    trace: u64,
}

impl World {
    pub(super) fn new(seed: u64, settings: Settings) -> Self {
        World {
            settings,
            // Not the dice that the settings were drawn with.
            random: Random::new(!seed),
            names: Names::new(),
            cached: Vec::new(),
            processes: vec![Process::default()],
            handles: Slab::new(),
            flying: Slab::new(),
            abandoned: Vec::new(),
            late: Vec::new(),
            space: None,
            open_files_max: 1024,
            tally: Tally::default(),
            trace: seed,
        }
    }

    /// Another world that starts as a copy of this one, with dice and counts of its own.
    pub(super) fn fork(&mut self, seed: u64) -> Self {
        let tally = std::mem::take(&mut self.tally);
        let mut world = self.clone();
        self.tally = tally;
        world.random = Random::new(seed);
        world.trace = seed;
        world.processes.iter_mut().for_each(|process| process.orders = Orders::default());
        world
    }

    pub(super) fn trace_hash(&self) -> u64 {
        self.trace
    }

    /// Adds to what tells this history from all others.
    pub(super) fn trace(&mut self, value: u64) {
        self.trace = (self.trace ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23);
    }

    pub(super) fn runs(&self, process: usize) -> bool {
        self.processes.get(process).is_some_and(|process| !process.ended && !process.stopped)
    }

    // Operations.

    /// Takes a request in. Returns its number and how often its future stays pending from now on (`None`: for
    /// ever); nothing if the process has ended.
    pub(super) fn submit(&mut self, process: usize, request: Request) -> Option<(usize, Option<u32>)> {
        if !self.runs(process) {
            return None;
        }
        self.tick();
        let path = self.count(&request);
        let number = self.processes[process].operations;
        self.processes[process].operations += 1;
        let fault = self.fault(process, number, &request, path);
        for handle in request.handles() {
            if let Some(handle) = self.handles.get_mut(*handle) {
                handle.holders += 1;
            }
        }
        self.trace_request(number, &request);
        let mut flying = Flying { process, number, request, path, fault, abandoned: false };
        if self.settings.racy && fault.is_none() {
            self.begin_early(&mut flying.request);
        }
        let place = self.flying.insert(flying);
        self.strike(process, number, Moment::InFlight);
        if fault == Some(Fault::Hang) {
            return Some((place, None));
        }
        // Half of all answers are there at the next poll, a quarter at the one after it, ...
        let polls = (self.random.bits() | 1 << 5).trailing_zeros();
        Some((place, Some(polls)))
    }

    /// Carries a request out. Nothing, if its process has ended.
    pub(super) fn complete(&mut self, process: usize, place: usize) -> Option<io::Result<Outcome>> {
        if !self.runs(process) {
            return None;
        }
        self.tick();
        let result = self.land(place)?;
        self.runs(process).then_some(result)
    }

    /// The future of a request was dropped: it lands at any later event.
    pub(super) fn abandon(&mut self, process: usize, place: usize) {
        if !self.runs(process) {
            return;
        }
        if let Some(flying) = self.flying.get_mut(place) {
            flying.abandoned = true;
            if flying.fault != Some(Fault::Hang) {
                self.abandoned.push(place);
            }
        }
    }

    /// Lets the request in this place take effect. A handle that nobody waits for is released at once.
    fn land(&mut self, place: usize) -> Option<io::Result<Outcome>> {
        let flying = self.flying.remove(place)?;
        let Flying { process, number, request, path, fault, abandoned } = flying;
        if request.kind() == Kind::Read {
            self.tally.end_read(path);
        }
        // Most hold one: no list is made for it.
        let (first, rest) = match request.handles() {
            [first, rest @ ..] => (Some(*first), rest.to_vec()),
            [] => (None, Vec::new()),
        };
        let result = self.effect(process, request, path, fault);
        for handle in first.into_iter().chain(rest) {
            self.release(handle);
        }
        self.trace_result(number, &result);
        if let (true, Ok(Outcome::Handle(handle))) = (abandoned, &result) {
            self.drop_handle(*handle);
        }
        self.strike(process, number, Moment::Done);
        Some(result)
    }

    /// Lets some abandoned request land now.
    pub(super) fn land_abandoned(&mut self, which: impl Fn(&Flying) -> bool) {
        let mut i = 0;
        while i < self.abandoned.len() {
            let place = self.abandoned[i];
            if self.flying.get(place).is_some_and(&which) {
                self.abandoned.remove(i);
                self.land(place);
            } else {
                i += 1;
            }
        }
    }

    /// Lets a dead process's write land now.
    pub(super) fn land_late(&mut self, place: usize) {
        let write = self.late.swap_remove(place);
        self.trace(write.offset as u64);
        self.arrive(&write);
        self.names.count_open(write.node, false);
    }

    /// A write of the dead arrives, but for what of it is there for good.
    pub(super) fn arrive(&mut self, write: &LateWrite) {
        for (i, page) in write.bytes.chunks_exact(PAGE).enumerate() {
            let settled = self.settled(write, i, page);
            self.put(write.node, write.offset / PAGE + i, &content(page), WHOLE & !settled);
        }
    }

    /// Time goes on: what nobody waits for may land.
    fn tick(&mut self) {
        if !self.late.is_empty() && self.random.chance(self.settings.late_landing) {
            let chosen = self.random.index(self.late.len());
            self.land_late(chosen);
        }
        if !self.abandoned.is_empty() && self.random.chance(self.settings.orphan_landing) {
            let place = self.abandoned.swap_remove(self.random.index(self.abandoned.len()));
            self.land(place);
        }
    }

    /// Stops the process, if a crash was ordered for this moment.
    fn strike(&mut self, process: usize, number: u64, moment: Moment) {
        let process = &mut self.processes[process];
        process.stopped |= process.orders.crash == Some((number, moment));
    }

    fn fault(&mut self, process: usize, number: u64, request: &Request, path: usize) -> Option<Fault> {
        let kind = request.kind();
        let orders = &mut self.processes[process].orders;
        if orders.has_any() {
            let fault = orders.take(number, request, self.tally.path(path));
            if fault.is_some() {
                return fault;
            }
        }
        let settings = &self.settings;
        let probability = match kind {
            Kind::Read => settings.read_errors,
            Kind::Write | Kind::WriteDurable | Kind::Grow => settings.write_errors,
            Kind::SyncFiles | Kind::SyncDir => settings.sync_errors,
            Kind::Open | Kind::List | Kind::CreateDir | Kind::Rename | Kind::Remove => settings.name_errors,
            Kind::Lock | Kind::Len | Kind::Close => 0.0,
        };
        if self.random.chance(probability) {
            return Some(Fault::IO);
        }
        let pages = request.range().1 / PAGE;
        if pages > 1 && self.random.chance(settings.short) {
            // At least a page, since a caller may take less for the end; then any number of sectors.
            let sectors = self.random.index((pages - 1) * PAGE / SECTOR);
            return Some(Fault::Short(PAGE + sectors * SECTOR));
        }
        None
    }

    // What meets other operations.

    /// A long operation begins before others complete: part of what it does, it does now.
    fn begin_early(&mut self, request: &mut Request) {
        match request {
            Request::Read { file, offset, len, early } if *len > PAGE && self.random.coin() => {
                let node = self.handles.get(*file).map(|handle| handle.node);
                if let Some(contents) = node.and_then(|node| self.names.file(node)) {
                    contents.read(*offset, *len, early);
                }
            }
            Request::List { path, salt, early } if self.random.coin() => {
                *salt = self.random.bits() | 1;
                if let Ok(names) = self.names.resolve(path).and_then(|node| self.names.directory(node)) {
                    early.extend(names.live.keys().filter(|name| is_early(name, *salt)).cloned());
                }
            }
            Request::SyncFiles { files, done } if self.random.coin() => {
                *done = true;
                for file in files.clone() {
                    self.sync_handle(file);
                }
            }
            _ => {}
        }
    }

    /// A read meets writes in flight, of the living and the dead: some of their sectors are there already,
    /// and stay.
    pub(super) fn meet_writes(&mut self, node: Node, offset: usize, len: usize) {
        let meets = |at: usize, bytes: &[u8]| at < offset + len && offset < at + bytes.len();
        let mut met: Vec<LateWrite> = Vec::new();
        for (_, flying) in self.flying.iter() {
            if let Request::Write(Writing { file, offset: at, bytes, returned, .. }) = &flying.request
                && flying.fault.is_none()
                && self.handles.get(*file).is_some_and(|handle| handle.node == node && handle.writable)
                && meets(*at, bytes)
            {
                let (bytes, returned) = (bytes.clone(), returned.clone());
                met.push(LateWrite { node, offset: *at, bytes, returned });
            }
        }
        met.extend(
            self.late.iter().filter(|write| write.node == node && meets(write.offset, &write.bytes)).cloned(),
        );
        for write in met {
            for (i, page) in write.bytes.chunks_exact(PAGE).enumerate() {
                let sectors = [0, 0, WHOLE, self.random.sectors()][self.random.index(4)];
                let settled = self.settled(&write, i, page);
                self.put(node, write.offset / PAGE + i, &content(page), sectors & !settled);
            }
        }
    }

    /// A read of these bytes returns: the writes that are on their way there learn what of theirs it has seen.
    pub(super) fn note_returned(&mut self, node: Node, offset: usize, len: usize) {
        let Some(file) = self.names.file(node) else { return };
        let note = |at: usize, bytes: &[u8], returned: &mut Returned| {
            returned.resize(bytes.len() / PAGE, 0);
            for ((page, bytes), returned) in (at / PAGE..).zip(bytes.chunks_exact(PAGE)).zip(returned) {
                if (offset..offset + len).contains(&(page * PAGE)) {
                    *returned |= file.live_sectors(page, bytes);
                }
            }
        };
        for flying in self.flying.values_mut() {
            if let Request::Write(Writing { file, offset, bytes, returned, .. }) = &mut flying.request
                && self.handles.get(*file).is_some_and(|handle| handle.node == node)
            {
                note(*offset, bytes, returned);
            }
        }
        for write in self.late.iter_mut().filter(|write| write.node == node) {
            note(write.offset, &write.bytes, &mut write.returned);
        }
    }

    /// The sectors of one page of a write that have arrived, were returned by a read and are durable. They do not
    /// arrive once more, to be lost or torn: a flush makes durable whatever a read has returned.
    pub(super) fn settled(&self, write: &LateWrite, page: usize, bytes: &[u8]) -> u8 {
        let returned = write.returned.get(page).copied().unwrap_or(0);
        let file = self.names.file(write.node).filter(|_| returned != 0);
        returned & file.map_or(0, |file| file.durable_sectors(write.offset / PAGE + page, bytes))
    }

    // Handles.

    pub(super) fn open_handle(&mut self, handle: Handle) -> usize {
        let (node, locks) = (handle.node, handle.locks);
        self.names.count_open(node, true);
        self.processes[handle.process].open_files += 1;
        let place = self.handles.insert(handle);
        if locks {
            self.names.set_lock(node, Some(place));
        }
        place
    }

    /// Closes a handle, whoever still has it.
    pub(super) fn close_handle(&mut self, place: usize) -> Option<Handle> {
        let handle = self.handles.remove(place)?;
        self.names.count_open(handle.node, false);
        self.processes[handle.process].open_files -= 1;
        if handle.locks {
            self.names.set_lock(handle.node, None);
        }
        Some(handle)
    }

    /// The caller gives a handle back.
    pub(super) fn drop_handle(&mut self, place: usize) {
        if let Some(handle) = self.handles.get_mut(place) {
            handle.held = false;
        }
        self.release(place);
    }

    /// One holder less; with the last one it closes, and its locks are free.
    pub(super) fn release(&mut self, place: usize) {
        let Some(handle) = self.handles.get_mut(place) else { return };
        handle.holders -= 1;
        if handle.holders > 0 {
            return;
        }
        if let Some(lock) = self.close_handle(place).and_then(|handle| handle.lock) {
            self.release(lock);
        }
    }

    // Records of what happened.

    /// Counts a request; returns the number of its path.
    fn count(&mut self, request: &Request) -> usize {
        let kind = request.kind();
        let bytes = request.range().1 as u64;
        if let Some(path) = request.path() {
            let path = self.tally.number(path);
            self.tally.count(path, kind, bytes);
            return path;
        }
        let mut first = usize::MAX;
        for handle in request.handles() {
            let path = self.handles.get(*handle).map_or(usize::MAX, |handle| handle.path);
            self.tally.count(path, kind, bytes);
            first = if first == usize::MAX { path } else { first };
        }
        first
    }

    fn trace_request(&mut self, number: u64, request: &Request) {
        let (offset, len) = request.range();
        self.trace(number << 8 | request.kind() as u64);
        self.trace((offset as u64) << 24 ^ len as u64);
        for byte in request.path().into_iter().flat_map(|path| path.as_os_str().as_encoded_bytes()) {
            self.trace(u64::from(*byte));
        }
        if let Request::Write(Writing { bytes, .. }) = request {
            self.trace(sample(bytes));
        }
    }

    fn trace_result(&mut self, number: u64, result: &io::Result<Outcome>) {
        self.trace(number);
        self.trace(match result {
            Err(error) => 1 << 32 | u64::from(error.raw_os_error().unwrap_or(0).unsigned_abs()),
            Ok(Outcome::Done) => 2 << 32,
            Ok(Outcome::Handle(handle)) => 3 << 32 | *handle as u64,
            Ok(Outcome::Names(names)) => 4 << 32 | names.len() as u64,
            Ok(Outcome::Read(Answer::Page(bytes))) => sample(bytes),
            Ok(Outcome::Read(Answer::Bytes(bytes))) => sample(bytes),
            Ok(Outcome::Written(count, _)) => 5 << 32 | *count as u64,
            Ok(Outcome::Len(len)) => 6 << 32 ^ len,
        });
    }

    /// What is in flight for a process, in words: why it is stuck.
    pub(super) fn describe(&self, process: usize) -> String {
        let mine = self.flying.iter().filter(|(_, flying)| flying.process == process);
        let words: Vec<String> = mine
            .map(|(_, flying)| {
                let path = self.tally.path(flying.path).display();
                format!(
                    "operation {}: {:?} of {path}, {:?}",
                    flying.number,
                    flying.request.kind(),
                    flying.fault
                )
            })
            .collect();
        if words.is_empty() { "nothing is in flight".to_owned() } else { words.join("; ") }
    }

    /// The bytes that may still be obtained.
    pub(super) fn available(&self) -> u64 {
        self.space.map_or(u64::MAX, |space| space.saturating_sub(self.names.used()))
    }
}

/// Whether a listing that takes long comes by this name early.
pub(super) fn is_early(name: &Name, salt: u64) -> bool {
    let hash = name.as_encoded_bytes().iter().fold(salt, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23)
    });
    salt != 0 && hash & 1 == 0
}

/// A few of the bytes, to tell one page from another.
fn sample(bytes: &[u8]) -> u64 {
    bytes.chunks_exact(8).step_by(31).fold(bytes.len() as u64, |hash, chunk| {
        let word = chunk.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
        (hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23)
    })
}
