//! Directories: names that are live, names that are durable, and the changes between.
//!
//! Everything with a name is a node, found by its number; number 0 is the root directory, which is always
//! there and durable. A change of names is one operation of one or two edits.
//!
//! Invariant: live names are the kept ones with all pending changes applied, in order.
//! Not here: open files and locks (`world`), bytes (`contents`).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

use super::Random;
use super::contents::Contents;
use super::slab::Slab;

pub(super) type Name = Arc<OsStr>;
pub(super) type Node = usize;

/// The root directory.
pub(super) const ROOT: Node = 0;

#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    pub(super) live: BTreeMap<Name, Node>,
    kept: BTreeMap<Name, Node>,
}

/// What a node is. Shared with the forks of a world until one of them changes it.
#[derive(Clone, Debug)]
enum Body {
    File(Arc<Contents>),
    Directory(Arc<Directory>),
}

#[derive(Clone, Debug)]
struct Entry {
    body: Body,
    /// Live names that lead here.
    names: u32,
    /// Handles that are open on it, and late writes to it: they keep a file without a name alive.
    opens: u32,
    /// The handle that has its advisory lock.
    lock: Option<usize>,
}

/// One edit: `name` in `directory` leads to `node` from now on, or to nothing.
#[derive(Clone, Debug)]
struct Edit {
    directory: Node,
    name: Name,
    node: Option<Node>,
}

/// What one operation did to names.
#[derive(Clone, Debug)]
struct Change {
    first: Edit,
    second: Option<Edit>,
}

impl Change {
    fn edits(&self) -> impl Iterator<Item = &Edit> {
        std::iter::once(&self.first).chain(&self.second)
    }

    fn touches(&self, directory: Node) -> bool {
        self.edits().any(|edit| edit.directory == directory)
    }
}

/// All nodes and names.
#[derive(Clone, Debug)]
pub(super) struct Names {
    entries: Slab<Entry>,
    /// Changes that are not durable, oldest first.
    changes: Vec<Change>,
}

impl Names {
    pub(super) fn new() -> Self {
        let body = Body::Directory(Arc::default());
        let mut entries = Slab::new();
        entries.insert(Entry { body, names: 1, opens: 0, lock: None });
        Names { entries, changes: Vec::new() }
    }

    pub(super) fn directory(&self, node: Node) -> io::Result<&Directory> {
        match self.entries.get(node).map(|entry| &entry.body) {
            Some(Body::Directory(directory)) => Ok(directory),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn directory_mut(&mut self, node: Node) -> Option<&mut Directory> {
        match &mut self.entries.get_mut(node)?.body {
            Body::Directory(directory) => Some(Arc::make_mut(directory)),
            Body::File(_) => None,
        }
    }

    pub(super) fn is_directory(&self, node: Node) -> bool {
        self.directory(node).is_ok()
    }

    pub(super) fn file(&self, node: Node) -> Option<&Contents> {
        match &self.entries.get(node)?.body {
            Body::File(contents) => Some(contents),
            Body::Directory(_) => None,
        }
    }

    pub(super) fn file_mut(&mut self, node: Node) -> Option<&mut Contents> {
        match &mut self.entries.get_mut(node)?.body {
            Body::File(contents) => Some(Arc::make_mut(contents)),
            Body::Directory(_) => None,
        }
    }

    /// The numbers of all files.
    pub(super) fn files(&self) -> Vec<Node> {
        self.entries.places(|entry| matches!(entry.body, Body::File(_)))
    }

    /// The bytes of all files that have a name or are open.
    pub(super) fn used(&self) -> u64 {
        let used = |entry: &Entry| match &entry.body {
            Body::File(contents) if entry.names > 0 || entry.opens > 0 => contents.len(),
            _ => 0,
        };
        self.entries.iter().map(|(_, entry)| used(entry)).sum()
    }

    /// Counts a handle in (`true`) or out.
    pub(super) fn count_open(&mut self, node: Node, more: bool) {
        if let Some(entry) = self.entries.get_mut(node) {
            entry.opens = if more { entry.opens + 1 } else { entry.opens.saturating_sub(1) };
        }
    }

    /// The handle that has this node's advisory lock.
    pub(super) fn lock(&self, node: Node) -> Option<usize> {
        self.entries.get(node)?.lock
    }

    pub(super) fn set_lock(&mut self, node: Node, lock: Option<usize>) {
        if let Some(entry) = self.entries.get_mut(node) {
            entry.lock = lock;
        }
    }

    pub(super) fn resolve(&self, path: &Path) -> io::Result<Node> {
        let mut node = ROOT;
        for component in path.components() {
            match component {
                Component::RootDir | Component::CurDir => {}
                Component::Normal(name) => {
                    let directory = self.directory(node)?;
                    node = *directory.live.get(name).ok_or(io::ErrorKind::NotFound)?;
                }
                Component::ParentDir | Component::Prefix(_) => return Err(io::ErrorKind::InvalidInput.into()),
            }
        }
        Ok(node)
    }

    /// The directory that holds, or would hold, the last name of `path`, and that name.
    pub(super) fn parent<'a>(&self, path: &'a Path) -> io::Result<(Node, &'a OsStr)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let directory = self.resolve(path.parent().unwrap_or(Path::new("/")))?;
        self.directory(directory)?;
        Ok((directory, name))
    }

    pub(super) fn lookup(&self, directory: Node, name: &OsStr) -> Option<Node> {
        self.directory(directory).ok()?.live.get(name).copied()
    }

    /// Makes an empty file or directory under a name that is free.
    pub(super) fn make(&mut self, directory: Node, name: &OsStr, is_directory: bool) -> Node {
        let body = if is_directory { Body::Directory(Arc::default()) } else { Body::File(Arc::default()) };
        let node = self.entries.insert(Entry { body, names: 0, opens: 0, lock: None });
        self.change(Edit { directory, name: name.into(), node: Some(node) }, None);
        node
    }

    /// Takes a name away.
    pub(super) fn unlink(&mut self, directory: Node, name: &OsStr) {
        self.change(Edit { directory, name: name.into(), node: None }, None);
    }

    /// Gives `node` another name and takes its old one away, in one change.
    pub(super) fn rename(&mut self, node: Node, from: (Node, &OsStr), to: (Node, &OsStr)) {
        self.change(
            Edit { directory: to.0, name: to.1.into(), node: Some(node) },
            Some(Edit { directory: from.0, name: from.1.into(), node: None }),
        );
    }

    fn change(&mut self, first: Edit, second: Option<Edit>) {
        let change = Change { first, second };
        for edit in change.edits() {
            let Some(directory) = self.directory_mut(edit.directory) else { continue };
            let before = match edit.node {
                Some(node) => directory.live.insert(edit.name.clone(), node),
                None => directory.live.remove(&edit.name),
            };
            if let Some(entry) = edit.node.and_then(|node| self.entries.get_mut(node)) {
                entry.names += 1;
            }
            if let Some(entry) = before.and_then(|node| self.entries.get_mut(node)) {
                entry.names = entry.names.saturating_sub(1);
            }
        }
        self.changes.push(change);
    }

    fn keep(&mut self, edit: &Edit) {
        if let Some(directory) = self.directory_mut(edit.directory) {
            match edit.node {
                Some(node) => directory.kept.insert(edit.name.clone(), node),
                None => directory.kept.remove(&edit.name),
            };
        }
    }

    /// Makes the names in a directory durable; with a journal, every change before the last one of them too.
    pub(super) fn sync(&mut self, directory: Node, journal: bool) {
        let Some(last) = self.changes.iter().rposition(|change| change.touches(directory)) else { return };
        let later = self.changes.split_off(last + 1);
        let (now, mut rest): (Vec<Change>, Vec<Change>) = std::mem::take(&mut self.changes)
            .into_iter()
            .partition(|change| journal || change.touches(directory));
        now.iter().flat_map(Change::edits).for_each(|edit| self.keep(edit));
        rest.extend(later);
        self.changes = rest;
        self.collect();
    }

    /// Makes every name durable.
    pub(super) fn sync_all(&mut self) {
        for change in std::mem::take(&mut self.changes) {
            change.edits().for_each(|edit| self.keep(edit));
        }
        self.collect();
    }

    /// Makes the latest change durable, alone, as if this name had never had another; for the tools.
    pub(super) fn keep_latest(&mut self) {
        let Some(Change { first: latest, .. }) = self.changes.pop() else { return };
        self.keep(&latest);
        let stays = |edit: &Edit| edit.directory != latest.directory || edit.name != latest.name;
        for Change { first, second } in std::mem::take(&mut self.changes) {
            let mut edits = std::iter::once(first).chain(second).filter(stays);
            if let Some(first) = edits.next() {
                self.changes.push(Change { first, second: edits.next() });
            }
        }
        self.collect();
    }

    /// The power fails: pending changes are decided, and everything is closed.
    pub(super) fn cut(&mut self, random: &mut Random, journal: bool) {
        let changes = std::mem::take(&mut self.changes);
        let kept = if journal { random.index(changes.len() + 1) } else { changes.len() };
        for edit in changes[..kept].iter().flat_map(Change::edits) {
            if journal || random.coin() {
                self.keep(edit);
            }
        }
        let mut names = vec![0; self.entries.end()];
        names[ROOT] = 1;
        for entry in self.entries.values_mut() {
            (entry.names, entry.opens, entry.lock) = (0, 0, None);
            let Body::Directory(directory) = &mut entry.body else { continue };
            if directory.live != directory.kept {
                let directory = Arc::make_mut(directory);
                directory.live = directory.kept.clone();
            }
            directory.live.values().for_each(|node| names[*node] += 1);
        }
        for (node, names) in names.into_iter().enumerate() {
            if let Some(entry) = self.entries.get_mut(node) {
                entry.names = names;
            }
        }
        self.collect();
    }

    /// Forgets the nodes that no name, durable or live or in between, and no handle can reach.
    fn collect(&mut self) {
        let mut used = vec![false; self.entries.end()];
        used[ROOT] = true;
        for (_, entry) in self.entries.iter() {
            if let Body::Directory(directory) = &entry.body {
                directory.kept.values().for_each(|node| used[*node] = true);
            }
        }
        for edit in self.changes.iter().flat_map(Change::edits) {
            used[edit.directory] = true;
            if let Some(node) = edit.node {
                used[node] = true;
            }
        }
        for node in self.entries.places(|entry| entry.names == 0 && entry.opens == 0) {
            if !used[node] {
                self.entries.remove(node);
            }
        }
    }
}
