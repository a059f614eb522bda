//! The rules of the house, read off the source tree: layers, glommio's one place, module heads, sizes, leftovers,
//! and that the documents name what is there.
//!
//! A rule that fails says which file and line, and what the rule is. The rules stand in ARCHITECTURE.md ("Layers")
//! and CONTRIBUTING.md ("Style by the numbers").
//!
//! Not here: the length of functions, unused or undocumented code (clippy and rustc).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which modules of the crate a module directly below the root may name, besides itself: a module, or a path in
/// it. A module that has no row may not exist.
const IMPORTS: &[(&str, &[&str])] = &[
    ("disk", &["error"]),
    ("mutant", &[]),
    ("error", &["disk::is_failing", "disk::is_full"]),
    ("options", &["error", "disk::PAGE"]),
    ("schema", &["error", "options"]),
    ("value", &["schema"]),
    ("codec", &["error", "schema"]),
    ("statistics", &["codec"]),
    ("format", &["codec", "error", "options", "schema", "statistics", "disk::PAGE"]),
    ("segment", &["format", "disk", "options", "error", "schema", "mutant"]),
    ("log", &["format", "disk", "options", "error", "schema", "mutant"]),
    ("pending", &["codec", "options", "error", "schema", "value"]),
    (
        "store",
        &[
            "pending",
            "log",
            "segment",
            "format",
            "statistics",
            "codec",
            "disk",
            "options",
            "error",
            "schema",
            "mutant",
        ],
    ),
    // The public face.
    ("condition", FACE),
    ("writer", FACE),
    ("appender", FACE),
    ("snapshot", FACE),
    ("reader", FACE),
    ("scan", FACE),
    ("seek", FACE),
    ("batch", FACE),
    ("aggregate", FACE),
    ("check", FACE),
    ("inspect", FACE),
    ("stats", FACE),
];

const FACE: &[&str] = &[
    "writer",
    "appender",
    "snapshot",
    "reader",
    "scan",
    "seek",
    "batch",
    "condition",
    "aggregate",
    "store",
    "pending",
    "segment",
    "log",
    "format",
    "statistics",
    "codec",
    "disk",
    "options",
    "error",
    "schema",
    "value",
    "mutant",
];

/// Modules that never wait: bytes and values in, bytes and values out.
const PURE: &[&str] =
    &["codec", "error", "format", "mutant", "options", "pending", "schema", "statistics", "value"];

/// What the library asks of the outside world only through `disk/`.
const WORLD: &str = "std::fs std::env std::net std::process std::thread std::time Instant SystemTime getrandom \
                     io_uring nix rand sleep spawn";

/// What a simulated world, the same for the same seed, may not ask either.
const NOT_SIMULATED: &str = "std::thread std::time Instant SystemTime getrandom rand";

const LINES_MAX: usize = 700;
const LINES_WITHOUT_TESTS_MAX: usize = 600;
const HEAD_LINES_MAX: usize = 25;

/// Documents, and how long each may be.
const DOCUMENTS: &[(&str, usize)] = &[
    ("README.md", 150),
    ("ARCHITECTURE.md", 400),
    ("CONTRIBUTING.md", 120),
    ("CHANGELOG.md", 200),
    ("docs/cli.md", 250),
    ("docs/durability.md", 100),
    ("docs/format.md", usize::MAX),
];

struct Source {
    /// From the root of the repository.
    path: String,
    text: String,
    /// The same lines without comments and without what stands in literals.
    code: String,
}

impl Source {
    /// The module below `src/`, as in `["store", "core"]`; the root has none.
    fn module(&self) -> Vec<&str> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        path.split('/').filter(|part| !["lib", "mod"].contains(part)).collect()
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// The code without the tests at its foot.
    fn product(&self) -> &str {
        let foot = self.code.find("#[cfg(test)]\nmod tests {").unwrap_or(self.code.len());
        if self.is_test() { "" } else { &self.code[..foot] }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every Rust file below these directories.
fn sources(directories: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    directories.iter().for_each(|directory| walk(&root().join(directory), &mut paths));
    paths.sort();
    let source = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        Source { path, code: without_comments(&text), text }
    };
    paths.into_iter().map(source).collect()
}

/// Comments, and the insides of literals, become spaces; lines stay where they are.
fn without_comments(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let raw =
            rest.strip_prefix('r').filter(|_| !code.ends_with(|c: char| c.is_alphanumeric() || c == '_'));
        let hashes = raw.map_or(0, |raw| raw.len() - raw.trim_start_matches('#').len());
        let len = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if raw.is_some_and(|raw| raw[hashes..].starts_with('"')) {
            let start = hashes + 2;
            let end = format!("\"{}", "#".repeat(hashes));
            rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len())
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' && (rest[1..].starts_with('\\') || rest[1..].chars().nth(1) == Some('\'')) {
            quoted(rest, '\'')
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.extend(rest[..len].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[len..];
    }
    code
}

/// Bytes of the literal at the start of `text`.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Where `word` stands in `code` as a whole word, as line numbers from 1.
fn lines_with(code: &str, word: &str) -> Vec<usize> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let whole =
        |(at, _): &(usize, &str)| !code[..*at].ends_with(part) && !code[at + word.len()..].starts_with(part);
    code.match_indices(word).filter(whole).map(|(at, _)| code[..at].matches('\n').count() + 1).collect()
}

/// The paths in `code` that begin with `crate::`, groups taken apart, without the `crate::`; and those that lead
/// to the crate's root by `super::` from `module`.
fn crate_paths(code: &str, module: &[&str]) -> Vec<(usize, String)> {
    let mut paths = Vec::new();
    let up = "super::".repeat(module.len());
    for prefix in ["crate::", &up].into_iter().filter(|prefix| !prefix.is_empty()) {
        for (at, _) in code.match_indices(prefix) {
            if code[..at].ends_with("super::") || code[..at].ends_with('$') {
                continue;
            }
            let line = code[..at].matches('\n').count() + 1;
            let rest = &code[at + prefix.len()..];
            // In a module within a file `super` leads to the file: what begins large is no module of the crate.
            let here = |item: &String| prefix != "crate::" && item.starts_with(char::is_uppercase);
            paths.extend(items(rest).into_iter().filter(|item| !here(item)).map(|item| (line, item)));
        }
    }
    paths
}

/// `a::b` as it is; `{a::b, c}` as `a::b` and `c`.
fn items(rest: &str) -> Vec<String> {
    let name = |text: &str| {
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
        text[..end].trim_end_matches(':').to_owned()
    };
    let Some(group) = rest.strip_prefix('{') else { return vec![name(rest)] };
    let (mut depth, mut found, mut start) = (1, Vec::new(), 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => {
                found.push(name(group[start..at].trim_start()));
                start = at + 1;
            }
            _ => {}
        }
        if depth == 0 {
            found.push(name(group[start..at].trim_start()));
            break;
        }
    }
    found.retain(|item| !item.is_empty());
    found
}

fn none(broken: &[String], rule: &str) {
    assert!(broken.is_empty(), "{rule}:\n  {}\n", broken.join("\n  "));
}

#[test]
fn glommio_is_named_in_one_place() {
    let mut broken = Vec::new();
    for source in sources(&["src"]) {
        for line in lines_with(&source.code, "glommio") {
            let text = source.text.lines().nth(line - 1).unwrap_or_default().trim();
            let is_module = source.path == "src/disk/mod.rs"
                && ["mod glommio;", "pub use glommio::"].iter().any(|start| text.starts_with(start));
            if source.path != "src/disk/glommio.rs" && !is_module {
                broken.push(format!("{}:{line}: {text}", source.path));
            }
        }
    }
    none(&broken, "only src/disk/glommio.rs names the crate glommio (the type is `crate::disk::Glommio`)");
}

#[test]
fn imports_point_down() {
    let mut broken = Vec::new();
    for source in sources(&["src"]) {
        let module = source.module();
        let Some(top) = module.first().copied() else { continue };
        if source.is_test() {
            continue;
        }
        let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == top) else {
            broken.push(format!("{}: `{top}` has no row in the table of imports", source.path));
            continue;
        };
        for (line, mut path) in crate_paths(&source.code, &module) {
            if path.starts_with("Error") || path == "Result" {
                path.insert_str(0, "error::");
            }
            let other = path.split("::").next().unwrap_or_default();
            let is_reexport = other.starts_with(char::is_uppercase);
            let is_module = IMPORTS.iter().any(|(name, _)| *name == other);
            let within = |allowed: &&str| path == **allowed || path.starts_with(&format!("{allowed}::"));
            if is_reexport || (is_module && other != top && !allowed.iter().any(within)) {
                broken.push(format!("{}:{line}: `{top}` may not use {path}", source.path));
            }
        }
    }
    none(&broken, "a module uses only what stands below it (IMPORTS in tests/tidy.rs)");
}

#[test]
fn pure_code_never_waits() {
    let mut broken = Vec::new();
    for source in sources(&["src"]) {
        if source.module().first().is_some_and(|top| PURE.contains(top)) {
            let waits = ["async", "await"].iter().flat_map(|word| lines_with(source.product(), word));
            broken.extend(waits.map(|line| format!("{}:{line}", source.path)));
        }
    }
    none(&broken, "pure modules have nothing asynchronous in them");
}

#[test]
fn the_outside_world_is_behind_the_seam() {
    let mut broken = Vec::new();
    for source in sources(&["src"]) {
        let words = match source.module().as_slice() {
            ["disk", "sim", ..] => NOT_SIMULATED,
            ["disk", ..] => continue,
            _ => WORLD,
        };
        for word in words.split_whitespace() {
            let lines = lines_with(source.product(), word).into_iter();
            broken.extend(lines.map(|line| format!("{}:{line}: {word}", source.path)));
        }
    }
    none(&broken, "files, clocks, threads and dice are asked for in src/disk only");
}

#[test]
fn every_module_says_what_it_is_and_what_it_is_not() {
    let mut broken = Vec::new();
    for source in sources(&["src"]) {
        let head: Vec<&str> = source.text.lines().take_while(|line| line.starts_with("//!")).collect();
        // Examples do not count.
        let prose = head.split(|line| line.contains("```")).step_by(2).map(<[&str]>::len).sum::<usize>();
        let says_not = head.iter().any(|line| line.contains("Not here:"));
        let is_root = source.path == "src/lib.rs";
        if head.is_empty() {
            broken.push(format!("{}: no //! at its head", source.path));
        } else if prose > HEAD_LINES_MAX && !is_root {
            broken.push(format!("{}: a head of {prose} lines", source.path));
        } else if !says_not && !source.is_test() && !is_root && !is_part_of_sim(&source) {
            broken.push(format!("{}: its head has no line `Not here:`", source.path));
        }
    }
    none(&broken, "a module's head says what it is, and what to look for elsewhere");
}

/// The simulated disk is one subject in pieces: its own head says for all of them what is not here.
fn is_part_of_sim(source: &Source) -> bool {
    source.path.starts_with("src/disk/sim/") && source.path != "src/disk/sim/mod.rs"
}

#[test]
fn files_hold_one_idea() {
    let mut broken = Vec::new();
    for source in sources(&["src", "tests", "benches", "examples", "crates"]) {
        let (lines, product) = (source.text.lines().count(), source.product().lines().count());
        if lines > LINES_MAX || (source.path.starts_with("src/") && product > LINES_WITHOUT_TESTS_MAX) {
            broken.push(format!("{}: {lines} lines, {product} without tests", source.path));
        }
    }
    none(&broken, &format!("at most {LINES_MAX} lines a file, {LINES_WITHOUT_TESTS_MAX} without tests"));
}

#[test]
fn nothing_unsafe_and_nothing_left_over() {
    // In halves, so that this file does not hold them.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let macros = ["todo!", "dbg!", "unimplemented!", concat!("#[", "ignore")];
    let mut broken = Vec::new();
    for source in sources(&["src", "tests", "benches", "examples", "crates"]) {
        let mut add = |line: usize, what: &str| broken.push(format!("{}:{line}: {what}", source.path));
        if !source.path.starts_with("tests/") {
            lines_with(&source.code, "unsafe").into_iter().for_each(|line| add(line, "unsafe"));
        }
        for (number, (text, code)) in (1..).zip(source.text.lines().zip(source.code.lines())) {
            words
                .into_iter()
                .filter(|word| !lines_with(text, word).is_empty())
                .for_each(|word| add(number, word));
            macros.into_iter().filter(|word| code.contains(word)).for_each(|word| add(number, word));
            if text.trim_start().trim_start_matches('/').trim_start().starts_with("mod ")
                && code.trim().is_empty()
            {
                add(number, "a module in a comment");
            }
        }
    }
    none(&broken, "no unsafe code, no leftovers");
}

#[test]
fn the_code_map_is_the_tree() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let map = text.split("<!-- code map -->").nth(1).expect("ARCHITECTURE.md has a code map");
    let paths = map.lines().filter_map(|line| line.strip_prefix("| `src/")?.split('`').next());
    let listed: Vec<String> = paths.map(|path| format!("src/{path}")).collect();
    let found: BTreeSet<String> =
        sources(&["src"]).into_iter().filter(|source| !source.is_test()).map(|source| source.path).collect();
    let mapped: BTreeSet<String> = listed.iter().cloned().collect();
    let missing = found.difference(&mapped).map(|path| format!("{path} is not on the map"));
    let mut broken: Vec<String> = missing.collect();
    broken.extend(mapped.difference(&found).map(|path| format!("{path} is on the map only")));
    if listed.len() != mapped.len() {
        broken.push("a file stands there twice".to_owned());
    }
    none(&broken, "the code map of ARCHITECTURE.md lists every file in src/, once");
}

#[test]
fn the_code_of_the_readme_is_the_example_that_runs() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let example = fs::read_to_string(root().join("examples/quickstart.rs")).unwrap();
    let code = readme.split("```rust,no_run\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let start = code.find("async fn").expect("README.md shows a function");
    let end = code.find("fn main").expect("README.md shows how it is run");
    assert!(
        example.contains(&code[start..end]),
        "README.md shows a function of examples/quickstart.rs as it is there"
    );
}

/// What looks like a path of this repository in a text, with the `::name` that may follow it.
fn paths_in(text: &str) -> impl Iterator<Item = &str> {
    let tops = ["src/", "tests/", "docs/", "examples/", "benches/", "crates/", ".ci/"];
    let words = text.split(|c: char| !(c.is_alphanumeric() || "_./-:".contains(c)));
    words
        .map(|word| word.trim_end_matches(['.', ':']))
        .filter(move |word| tops.iter().any(|top| word.starts_with(top)))
}

#[test]
fn documents_name_what_is_there() {
    let mut texts: Vec<(String, String)> = Vec::new();
    let mut broken = Vec::new();
    for (path, lines_max) in DOCUMENTS {
        let text = fs::read_to_string(root().join(path)).unwrap_or_default();
        match text.lines().count() {
            0 => broken.push(format!("{path} is missing")),
            lines if lines > *lines_max => {
                broken.push(format!("{path} has {lines} lines, {lines_max} at most"))
            }
            _ => texts.push(((*path).to_owned(), text)),
        }
    }
    for source in sources(&["src", "tests", "benches", "examples", "crates"]) {
        if source.path != "tests/tidy.rs" {
            texts.push((source.path, source.text));
        }
    }
    for (document, text) in &texts {
        for named in paths_in(text) {
            let (path, function) = named.split_once("::").unwrap_or((named, ""));
            let whole = root().join(path);
            let there = fs::read_to_string(&whole).unwrap_or_default();
            // A suite is named without its ending: it may be a file or a folder.
            if !whole.exists() && !whole.with_added_extension("rs").exists() {
                broken.push(format!("{document}: there is no {path}"));
            } else if !function.is_empty() && lines_with(&there, &format!("fn {function}")).is_empty() {
                broken.push(format!("{document}: {path} has no function {function}"));
            }
        }
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let beside = root().join(document).parent().unwrap().join(link);
            let is_file = document.ends_with(".md") && !link.is_empty() && !link.contains("://");
            if is_file && !beside.exists() {
                broken.push(format!("{document}: the link {link} leads nowhere"));
            }
        }
    }
    broken.sort();
    broken.dedup();
    none(&broken, "documents are there, short, and name files and tests that exist");
}

#[test]
fn this_reader_of_code_knows_comments_from_code() {
    let text = "a // b\n\"c\\\" // d\" e /* f\n */ 'g' '\\'' <'h> r#\"i \" j\"# k";
    let code = without_comments(text);
    let words: Vec<&str> = code.split_whitespace().collect();
    assert_eq!(words, ["a", "e", "<'h>", "k"]);
    assert_eq!(code.lines().count(), text.lines().count());
    assert_eq!(lines_with("ab a\na_b a", "a"), [1, 2]);
    assert_eq!(
        crate_paths("use crate::{a::{b, c}, d}; $crate::x", &["m"]),
        [(1, "a".into()), (1, "d".into())]
    );
    assert_eq!(crate_paths("use super::a::b;", &["m"]), [(1, "a::b".into())]);
    assert_eq!(crate_paths("use super::a;\nuse super::super::b;", &["m", "n"]), [(2, "b".into())]);
}
