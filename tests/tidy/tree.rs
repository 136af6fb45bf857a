//! The files of the repository, as they lie here; what `.gitignore` names is left out.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::source::Source;

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// A text file, by its path from the root.
pub(crate) fn read(path: &str) -> Option<String> {
    fs::read_to_string(root().join(path)).ok()
}

pub(crate) fn exists(path: &str) -> bool {
    root().join(path).exists()
}

/// Every file, as path from the root, in order.
pub(crate) fn files() -> &'static [String] {
    static FILES: OnceLock<Vec<String>> = OnceLock::new();
    FILES.get_or_init(|| {
        let ignored = read(".gitignore").unwrap_or_default();
        let ignored: Vec<&str> = ignored.lines().collect();
        let mut found = Vec::new();
        walk("", &ignored, &mut found);
        found.sort();
        assert!(
            found.len() > 100,
            "the repository is not at {}",
            root().display()
        );
        found
    })
}

fn walk(folder: &str, ignored: &[&str], found: &mut Vec<String>) {
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry
            .file_name()
            .into_string()
            .expect("file names are UTF-8");
        let path = if folder.is_empty() {
            name.clone()
        } else {
            format!("{folder}/{name}")
        };
        let kind = entry.file_type().unwrap();
        if name == ".git" || name == "__pycache__" || is_ignored(&path, &name, ignored) {
            continue;
        }
        if kind.is_dir() {
            walk(&path, ignored, found);
        } else if kind.is_file() {
            found.push(path);
        }
    }
}

/// The two forms that our `.gitignore` uses: `/path` from the root, `*.ending` anywhere.
fn is_ignored(path: &str, name: &str, ignored: &[&str]) -> bool {
    ignored.iter().any(
        |rule| match (rule.strip_prefix('/'), rule.strip_prefix('*')) {
            (Some(from_root), _) => path == from_root,
            (None, Some(ending)) => name.ends_with(ending),
            (None, None) => false,
        },
    )
}

/// Every Rust file.
pub(crate) fn sources() -> &'static [Source] {
    static SOURCES: OnceLock<Vec<Source>> = OnceLock::new();
    SOURCES.get_or_init(|| {
        let paths = files().iter().filter(|path| path.ends_with(".rs"));
        let sources: Vec<Source> = paths
            .map(|path| Source::new(path, read(path).expect("sources are UTF-8")))
            .collect();
        assert!(sources.len() > 50, "no sources found");
        sources
    })
}
