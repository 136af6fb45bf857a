//! What every file has, and what none has.

use crate::nothing;
use crate::source::words;
use crate::tree::{files, sources};

#[test]
fn every_source_opens_with_what_it_is_for() {
    let found: Vec<String> = sources()
        .iter()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| source.path.clone())
        .collect();
    nothing(
        "Open the file with `//!` and two to five lines: what it is for, and what it leaves to others.",
        &found,
    );
}

#[test]
fn no_source_is_longer_than_a_reader_bears() {
    const LINES_MAX: usize = 800;
    let found: Vec<String> = sources()
        .iter()
        .map(|source| (source, source.text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(source, lines)| format!("{}: {lines} lines", source.path))
        .collect();
    nothing(
        "A file that needs a second noun to describe it is two files: split it by noun.",
        &found,
    );
}

#[test]
fn a_file_is_a_noun_or_a_verb_and_not_a_drawer() {
    const DRAWERS: [&str; 10] = [
        "utils", "util", "common", "helpers", "helper", "types", "manager", "misc", "tools",
        "stuff",
    ];
    let found: Vec<String> = files()
        .iter()
        .filter(|path| {
            let mut parts = path
                .split('/')
                .map(|part| part.split('.').next().unwrap_or(part));
            parts.any(|part| DRAWERS.contains(&part))
        })
        .cloned()
        .collect();
    nothing(
        "Name the file after what it holds, a noun of the field or a verb of the story.",
        &found,
    );
}

#[test]
fn no_test_is_ignored() {
    let mut found = Vec::new();
    let mut tests = 0;
    for source in sources() {
        tests += source.code.matches("#[test]").count();
        for (at, _) in source.code.match_indices("#[") {
            let attribute = &source.code[at..];
            let attribute = &attribute[..attribute.find(']').unwrap_or(attribute.len())];
            if words(attribute, "ignore").next().is_some() {
                found.push(source.place(at));
            }
        }
    }
    assert!(tests > 300, "only {tests} tests found");
    nothing(
        "A test that is not run proves nothing: mend it, or delete it with a reason in the commit.",
        &found,
    );
}

#[test]
fn nothing_is_left_for_later_in_silence() {
    let mut found = Vec::new();
    for source in sources() {
        for word in ["todo!", "unimplemented!"] {
            let places = source.code.match_indices(word);
            found.extend(places.map(|(at, _)| format!("{}: {word}", source.place(at))));
        }
        for word in ["TODO", "FIXME", "XXX"] {
            for at in words(&source.text, word) {
                // A TODO with an event: "TODO(name): when rustls 0.24 is out".
                let line = source.text[at..].lines().next().unwrap_or_default();
                let named = word == "TODO"
                    && line.starts_with("TODO(")
                    && words(line, "when").next().is_some();
                let written_here = source.is_in("tests/tidy");
                if !named && !written_here {
                    found.push(format!("{}: {word}", source.place(at)));
                }
            }
        }
    }
    nothing("Do it, or write `TODO(name): when <event>, ...`.", &found);
}

#[test]
fn every_allowance_gives_its_reason() {
    let mut found = Vec::new();
    let mut seen = 0;
    for source in sources() {
        for form in ["#[", "#!["] {
            for (at, _) in source.code.match_indices(form) {
                let attribute = &source.code[at..];
                let attribute = &attribute[..attribute.find(")]").unwrap_or(attribute.len())];
                // Also behind a condition: `#[cfg_attr(test, allow(..))]`.
                let name = attribute.trim_start_matches(['#', '!', '[']);
                let allows = ["allow(", "expect("].iter().any(|word| {
                    name.starts_with(word) || (name.starts_with("cfg_attr(") && name.contains(word))
                });
                seen += usize::from(allows);
                if allows && !attribute.contains("reason =") {
                    found.push(source.place(at));
                }
            }
        }
    }
    assert!(seen > 10, "only {seen} allowances found");
    nothing(
        "Add `reason = \"...\"`: whoever reads it must know when it may go.",
        &found,
    );
}
