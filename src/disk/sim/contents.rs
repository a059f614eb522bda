//! The bytes of one file: what reads see, what is durable, and all that lies between.
//!
//! A page is shared with every fork and version of the world that holds the same bytes; `None` is zeros. A
//! page that is clean costs nothing but its two pointers. Versions are kept by page, with the sectors that
//! each one put: a power cut decides sector by sector.
//!
//! Invariant: a page without a version, a pending mapping or a lost sync is the same live and durable.
//! Not here: which files a sync covers (`world`), names (`names`).

use std::sync::Arc;

use super::Random;
use crate::disk::PAGE;

/// Bytes in a sector: what a device writes wholly or not at all, if it is kind.
pub(super) const SECTOR: usize = 512;

/// All sectors of a page, as a set.
pub(super) const WHOLE: u8 = 0xFF;

/// A page's bytes; none are zeros.
pub(super) type Content = Option<Arc<[u8]>>;

#[derive(Clone, Debug, Default)]
struct Page {
    live: Content,
    durable: Content,
    /// The mapping is durable: this space was written and its file synced.
    mapped: bool,
    /// It stands in `unmapped`.
    mapping: bool,
}

#[derive(Clone, Debug)]
struct Version {
    page: usize,
    sectors: u8,
    /// The page as reads saw it from then on; only `sectors` of it were put by this version.
    content: Content,
}

/// How a power cut treats what was pending.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// 0 to 1: below 0.3 all that was pending is kept, below 0.4 all is dropped, else each sector has its own
    /// fate, from 0.7 on also that of turning into garbage.
    pub(super) mode: f64,
    pub(super) garbage: bool,
    /// Some of the garbage cannot be read.
    pub(super) unreadable: bool,
    pub(super) cow: bool,
}

/// A file's bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    len: u64,
    durable_len: u64,
    /// Pages that were ever put; those behind are zeros.
    pages: Vec<Page>,
    /// What was put since the last sync, oldest first.
    versions: Vec<Version>,
    /// Pages whose first bytes' place is not durable yet.
    unmapped: Vec<usize>,
    /// Pages whose bytes a failed sync forgot.
    lost: Vec<usize>,
    /// Pages that cannot be read, until they are written.
    unreadable: Vec<usize>,
    /// The world has it on its list of files with versions.
    pub(super) listed: bool,
}

impl Contents {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Whether a power cut would have anything to decide.
    pub(super) fn is_pending(&self) -> bool {
        let settled = self.versions.is_empty() && self.unmapped.is_empty() && self.lost.is_empty();
        !settled || self.len != self.durable_len
    }

    /// The page's live bytes.
    pub(super) fn page(&self, page: usize) -> Content {
        self.pages.get(page)?.live.clone()
    }

    /// The sectors of a page of which reads see these bytes.
    pub(super) fn live_sectors(&self, page: usize, bytes: &[u8]) -> u8 {
        same_sectors(self.pages.get(page).and_then(|page| page.live.as_deref()), bytes)
    }

    /// The sectors of a page whose durable bytes are these already.
    pub(super) fn durable_sectors(&self, page: usize, bytes: &[u8]) -> u8 {
        same_sectors(self.pages.get(page).and_then(|page| page.durable.as_deref()), bytes)
    }

    /// Appends to `bytes` what reads see from `offset`, up to `len` bytes or the end of the file.
    pub(super) fn read(&self, offset: usize, len: usize, bytes: &mut Vec<u8>) {
        let end = (offset + len).min(index(self.len));
        bytes.reserve_exact(end.saturating_sub(offset));
        let mut at = offset;
        while at < end {
            let stop = end.min((at / PAGE + 1) * PAGE);
            match self.pages.get(at / PAGE).and_then(|page| page.live.as_ref()) {
                Some(live) => bytes.extend_from_slice(&live[at % PAGE..at % PAGE + (stop - at)]),
                None => bytes.resize(bytes.len() + (stop - at), 0),
            }
            at = stop;
        }
    }

    /// Whether all of these bytes can be read.
    pub(super) fn is_readable(&self, offset: usize, len: usize) -> bool {
        !self.unreadable.iter().any(|page| page * PAGE < offset + len && (page + 1) * PAGE > offset)
    }

    pub(super) fn set_unreadable(&mut self, page: usize) {
        self.unreadable.push(page);
    }

    /// Obtains space: the length is pending, the bytes are zeros in space that was never written.
    pub(super) fn grow(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    /// Puts some sectors of a page into the cache. With `cow` its place is pending whatever was there before.
    pub(super) fn put(&mut self, at: usize, content: &Content, sectors: u8, cow: bool) {
        if sectors == 0 {
            return;
        }
        if self.pages.len() <= at {
            self.pages.resize_with(at + 1, Page::default);
        }
        self.unreadable.retain(|page| *page != at);
        self.len = self.len.max(((at + 1) * PAGE) as u64);
        let page = &mut self.pages[at];
        page.live = merge(&page.live, content, sectors);
        if !page.mapped && !page.mapping && !cow {
            page.mapping = true;
            self.unmapped.push(at);
        }
        self.versions.push(Version { page: at, sectors, content: page.live.clone() });
    }

    /// The file is synced: versions, mappings, length.
    pub(super) fn sync(&mut self) {
        self.flush();
        for page in self.unmapped.drain(..) {
            self.pages[page].mapping = false;
            self.pages[page].mapped = true;
        }
        self.durable_len = self.len;
    }

    /// The device's cache is flushed: versions, but no mapping and no length.
    pub(super) fn flush(&mut self) {
        for version in self.versions.drain(..) {
            settle(&mut self.pages[version.page], &version);
        }
    }

    /// A durable write of these pages returns: they are durable, their places, and a length that holds them.
    pub(super) fn sync_pages(&mut self, first: usize, count: usize) {
        let range = first..first + count;
        let pages = &mut self.pages;
        self.versions.retain(|version| {
            let inside = range.contains(&version.page);
            if inside {
                settle(&mut pages[version.page], version);
            }
            !inside
        });
        self.unmapped.retain(|page| {
            let inside = range.contains(page);
            if inside {
                pages[*page].mapping = false;
                pages[*page].mapped = true;
            }
            !inside
        });
        self.durable_len = self.durable_len.max(self.len.min((range.end * PAGE) as u64));
    }

    /// A sync failed; some pages had become durable. If `lossy`, the others never will.
    pub(super) fn fail_sync(&mut self, random: &mut Random, lossy: bool) {
        let luck = random.bits();
        let pages = &mut self.pages;
        let lost = &mut self.lost;
        self.versions.retain(|version| {
            // One fate for all versions of a page, so that no older one overtakes a newer one.
            let lucky = Random::new(luck ^ version.page as u64).below(4) == 0;
            if lucky {
                settle(&mut pages[version.page], version);
            } else if lossy {
                lost.push(version.page);
            }
            !lucky && !lossy
        });
    }

    /// The power fails: all that was pending is decided.
    pub(super) fn cut(&mut self, random: &mut Random, cut: Cut) {
        self.cut_versions(random, cut);
        if !self.unmapped.is_empty() {
            let fate = random.below(4);
            for page in std::mem::take(&mut self.unmapped) {
                let gone = fate == 0 || fate == 1 && random.coin();
                let page = &mut self.pages[page];
                page.mapping = false;
                page.mapped = !gone;
                if gone {
                    page.durable = None;
                }
                page.live = page.durable.clone();
            }
        }
        for page in std::mem::take(&mut self.lost) {
            self.pages[page].live = self.pages[page].durable.clone();
        }
        if self.len != self.durable_len {
            let pages = (self.len - self.durable_len).div_ceil(PAGE as u64);
            let kept = [0, pages, random.below(pages + 1)][random.index(3)];
            let len = self.len.min(self.durable_len + kept * PAGE as u64);
            self.set_len(len);
        }
    }

    fn cut_versions(&mut self, random: &mut Random, cut: Cut) {
        let mut versions = std::mem::take(&mut self.versions);
        versions.sort_by_key(|version| version.page);
        for versions in versions.chunk_by(|a, b| a.page == b.page) {
            let at = versions[0].page;
            let page = &mut self.pages[at];
            page.durable = if cut.cow {
                choose_version(random, cut, &page.durable, versions)
            } else {
                let (chosen, garbage) = choose_sectors(random, cut, &page.durable, versions);
                if garbage && cut.unreadable && random.coin() {
                    self.unreadable.push(at);
                }
                chosen
            };
            page.live = page.durable.clone();
        }
    }

    /// Sets the length, durably, at once; for the tools. What is pending behind it is forgotten.
    pub(super) fn set_len(&mut self, len: u64) {
        let pages = index(len.div_ceil(PAGE as u64));
        if pages < self.pages.len() {
            self.pages.truncate(pages);
            self.versions.retain(|version| version.page < pages);
            self.unmapped.retain(|page| *page < pages);
            self.lost.retain(|page| *page < pages);
        }
        let rest = index(len) % PAGE;
        if rest != 0 && len < self.len && self.pages.len() == pages {
            let shorten = |old: &Content| {
                let mut bytes = bytes_of(old);
                bytes[rest..].fill(0);
                content(&bytes)
            };
            let page = &mut self.pages[pages - 1];
            (page.live, page.durable) = (shorten(&page.live), shorten(&page.durable));
        }
        self.len = len;
        self.durable_len = len;
    }

    /// Overwrites bytes, live and durable, at once; for the tools. Nothing is pending in the pages touched.
    pub(super) fn overwrite(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        let (first, last) = (offset / PAGE, end.div_ceil(PAGE));
        let len = self.len.max(end as u64);
        for page in first..last {
            let mut new = bytes_of(&self.page(page));
            let (from, to) = (offset.max(page * PAGE), end.min((page + 1) * PAGE));
            new[from - page * PAGE..to - page * PAGE].copy_from_slice(&bytes[from - offset..to - offset]);
            self.put(page, &content(&new), WHOLE, false);
        }
        self.len = len;
        self.sync_pages(first, last - first);
        self.durable_len = self.durable_len.max(end as u64);
    }
}

/// A version becomes durable.
fn settle(page: &mut Page, version: &Version) {
    page.durable = merge(&page.durable, &version.content, version.sectors);
}

/// The sectors in which both pages are the same.
fn same_sectors(one: Option<&[u8]>, other: &[u8]) -> u8 {
    let sectors = one.unwrap_or(&[0; PAGE]).chunks_exact(SECTOR).zip(other.chunks_exact(SECTOR)).enumerate();
    sectors.fold(0, |same, (sector, (one, other))| same | u8::from(one == other) << sector)
}

/// `old`, with `sectors` from `new`.
fn merge(old: &Content, new: &Content, sectors: u8) -> Content {
    if sectors == WHOLE {
        return new.clone();
    }
    let (mut merged, new) = (bytes_of(old), bytes_of(new));
    for sector in (0..PAGE / SECTOR).filter(|sector| sectors & (1 << sector) != 0) {
        let range = sector * SECTOR..(sector + 1) * SECTOR;
        merged[range.clone()].copy_from_slice(&new[range]);
    }
    content(&merged)
}

/// A page that lies wholly where one of its versions was written.
fn choose_version(random: &mut Random, cut: Cut, durable: &Content, versions: &[Version]) -> Content {
    let newest = versions.len();
    match cut.mode {
        mode if mode < 0.3 => versions[newest - 1].content.clone(),
        mode if mode < 0.4 => durable.clone(),
        _ => match random.index(newest + 1) {
            0 => durable.clone(),
            chosen => versions[chosen - 1].content.clone(),
        },
    }
}

/// A page in place: each sector is one of those that were put there, or garbage; whether any is.
fn choose_sectors(random: &mut Random, cut: Cut, durable: &Content, versions: &[Version]) -> (Content, bool) {
    if cut.mode < 0.3 {
        let newest = versions.iter().fold(durable.clone(), |old, new| merge(&old, &new.content, new.sectors));
        return (newest, false);
    }
    if cut.mode < 0.4 {
        return (durable.clone(), false);
    }
    let mut page = bytes_of(durable);
    let mut torn = false;
    for sector in 0..PAGE / SECTOR {
        let range = sector * SECTOR..(sector + 1) * SECTOR;
        let candidates = || versions.iter().filter(|version| version.sectors & (1 << sector) != 0);
        let count = candidates().count();
        if count == 0 {
            continue;
        }
        if let Some(version) =
            random.index(count + 1).checked_sub(1).and_then(|chosen| candidates().nth(chosen))
        {
            match &version.content {
                Some(bytes) => page[range.clone()].copy_from_slice(&bytes[range.clone()]),
                None => page[range.clone()].fill(0),
            }
        }
        if cut.garbage && cut.mode > 0.7 && random.chance(0.08) {
            garbage(random, &mut page[range]);
            torn = true;
        }
    }
    (content(&page), torn)
}

/// What a torn sector holds: noise, noise behind the first bytes of what was there, all ones.
pub(super) fn garbage(random: &mut Random, sector: &mut [u8]) {
    match random.below(4) {
        0 => sector.fill(0xFF),
        1 => {
            let kept = random.index(sector.len());
            random.fill(&mut sector[kept..]);
        }
        _ => random.fill(sector),
    }
}

/// A page's bytes as content: zeros need no memory.
pub(super) fn content(bytes: &[u8]) -> Content {
    let zeros = bytes[0] == 0 && bytes.iter().fold(0, |all, byte| all | byte) == 0;
    (!zeros).then(|| Arc::from(bytes))
}

/// The bytes of a page, to be changed.
pub(super) fn bytes_of(content: &Content) -> [u8; PAGE] {
    let mut bytes = [0; PAGE];
    if let Some(content) = content {
        bytes.copy_from_slice(content);
    }
    bytes
}

/// A length or offset as an index. Simulated files fit into memory.
#[expect(clippy::cast_possible_truncation, reason = "simulated files fit into memory")]
pub(super) fn index(bytes: u64) -> usize {
    bytes as usize
}
