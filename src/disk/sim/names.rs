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
    /// Handles that are open on it; a file without a name lives as long as one is.
    opens: u32,
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
    entries: Vec<Option<Entry>>,
    /// Changes that are not durable, oldest first.
    changes: Vec<Change>,
}

impl Names {
    pub(super) fn new() -> Self {
        let root = Entry { body: Body::Directory(Arc::default()), names: 1, opens: 0 };
        Names { entries: vec![Some(root)], changes: Vec::new() }
    }

    fn entry(&self, node: Node) -> Option<&Entry> {
        self.entries.get(node)?.as_ref()
    }

    fn entry_mut(&mut self, node: Node) -> Option<&mut Entry> {
        self.entries.get_mut(node)?.as_mut()
    }

    pub(super) fn directory(&self, node: Node) -> io::Result<&Directory> {
        match self.entry(node).map(|entry| &entry.body) {
            Some(Body::Directory(directory)) => Ok(directory),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn directory_mut(&mut self, node: Node) -> Option<&mut Directory> {
        match &mut self.entry_mut(node)?.body {
            Body::Directory(directory) => Some(Arc::make_mut(directory)),
            Body::File(_) => None,
        }
    }

    pub(super) fn is_directory(&self, node: Node) -> bool {
        self.directory(node).is_ok()
    }

    pub(super) fn file(&self, node: Node) -> Option<&Contents> {
        match &self.entry(node)?.body {
            Body::File(contents) => Some(contents),
            Body::Directory(_) => None,
        }
    }

    pub(super) fn file_mut(&mut self, node: Node) -> Option<&mut Contents> {
        match &mut self.entry_mut(node)?.body {
            Body::File(contents) => Some(Arc::make_mut(contents)),
            Body::Directory(_) => None,
        }
    }

    /// The numbers of all files.
    pub(super) fn files(&self) -> Vec<Node> {
        (0..self.entries.len()).filter(|node| self.file(*node).is_some()).collect()
    }

    /// The bytes of all files that have a name or are open.
    pub(super) fn used(&self) -> u64 {
        let used = |entry: &Entry| match &entry.body {
            Body::File(contents) if entry.names > 0 || entry.opens > 0 => contents.len(),
            _ => 0,
        };
        self.entries.iter().flatten().map(used).sum()
    }

    /// Counts a handle in (`true`) or out.
    pub(super) fn count_open(&mut self, node: Node, more: bool) {
        if let Some(entry) = self.entry_mut(node) {
            entry.opens = if more { entry.opens + 1 } else { entry.opens.saturating_sub(1) };
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
        self.entries.push(Some(Entry { body, names: 0, opens: 0 }));
        let node = self.entries.len() - 1;
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
            if let Some(entry) = edit.node.and_then(|node| self.entry_mut(node)) {
                entry.names += 1;
            }
            if let Some(entry) = before.and_then(|node| self.entry_mut(node)) {
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

    /// The power fails: pending changes are decided, and everything is closed.
    pub(super) fn cut(&mut self, random: &mut Random, journal: bool) {
        let changes = std::mem::take(&mut self.changes);
        let kept = if journal { random.index(changes.len() + 1) } else { changes.len() };
        for edit in changes[..kept].iter().flat_map(Change::edits) {
            if journal || random.coin() {
                self.keep(edit);
            }
        }
        let mut names = vec![0; self.entries.len()];
        names[ROOT] = 1;
        for entry in self.entries.iter_mut().flatten() {
            entry.opens = 0;
            let Body::Directory(directory) = &mut entry.body else { continue };
            if !changes.is_empty() {
                let directory = Arc::make_mut(directory);
                directory.live = directory.kept.clone();
            }
            directory.live.values().for_each(|node| names[*node] += 1);
        }
        for (entry, names) in self.entries.iter_mut().zip(names) {
            if let Some(entry) = entry {
                entry.names = names;
            }
        }
        self.collect();
    }

    /// Forgets the nodes that no name, durable or live or in between, and no handle can reach.
    fn collect(&mut self) {
        let mut used = vec![false; self.entries.len()];
        used[ROOT] = true;
        for entry in self.entries.iter().flatten() {
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
        for (entry, used) in self.entries.iter_mut().zip(used) {
            if entry.as_ref().is_some_and(|entry| !used && entry.names == 0 && entry.opens == 0) {
                *entry = None;
            }
        }
    }
}
