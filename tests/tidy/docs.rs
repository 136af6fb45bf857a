//! What the documents promise is there.

use std::collections::BTreeSet;

use crate::nothing;
use crate::rooms::quoted;
use crate::source::identifiers;
use crate::tree::{exists, files, read, sources};

fn documents() -> Vec<(&'static str, String)> {
    let documents: Vec<_> = files()
        .iter()
        .filter(|path| path.ends_with(".md"))
        .map(|path| (path.as_str(), read(path).unwrap()))
        .collect();
    assert!(
        documents.len() > 8,
        "only {} documents found",
        documents.len()
    );
    documents
}

#[test]
fn the_readme_shows_the_two_commands_and_make_knows_them() {
    let readme = read("README.md").expect("there is a README.md");
    let makefile = read("Makefile").expect("there is a Makefile");
    let mut found = Vec::new();
    for command in ["demo", "test"] {
        if !readme.contains(&format!("make {command}")) {
            found.push(format!("README.md does not show `make {command}`"));
        }
        if !makefile
            .lines()
            .any(|line| line.starts_with(&format!("{command}:")))
        {
            found.push(format!("Makefile cannot make `{command}`"));
        }
    }
    nothing(
        "The README's two commands are `make demo` and `make test`.",
        &found,
    );
}

/// Every command `make <goal>` that a document or a script names can be made.
#[test]
fn what_documents_make_can_be_made() {
    let makefile = read("Makefile").unwrap();
    let goals: BTreeSet<&str> = makefile
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
        .filter_map(|line| line.split_once(':').map(|(goal, _)| goal))
        .collect();
    assert!(goals.len() > 4, "goals found: {goals:?}");
    let mut found = Vec::new();
    let mut seen = 0;
    for (path, text) in documents() {
        // In a block of code each line may be a command.
        for command in quoted(&text)
            .iter()
            .flat_map(|code| code.lines())
            .filter_map(|line| line.trim_start_matches("$ ").strip_prefix("make "))
        {
            seen += 1;
            let goal = command.split_whitespace().next().unwrap_or_default();
            if !goals.contains(goal) {
                found.push(format!("{path}: `make {command}`"));
            }
        }
    }
    assert!(seen > 3, "only {seen} commands found");
    nothing(
        "Mend the document, or add the goal to the Makefile.",
        &found,
    );
}

#[test]
fn links_lead_to_files() {
    let mut found = Vec::new();
    let mut seen = 0;
    for (path, text) in documents() {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (at, _) in text.match_indices("](") {
            let target = &text[at + 2..];
            let target = &target[..target.find(')').unwrap_or(0)];
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.contains(char::is_whitespace) {
                continue;
            }
            seen += 1;
            let leads = if folder.is_empty() {
                target.to_owned()
            } else {
                format!("{folder}/{target}")
            };
            if !exists(&leads) {
                found.push(format!("{path}: {target}"));
            }
        }
    }
    assert!(seen > 10, "only {seen} links found");
    nothing("Mend the link: no such file.", &found);
}

#[test]
fn paths_that_documents_name_are_there() {
    const TOP: [&str; 8] = [
        "dataplane/",
        "controlplane/",
        "loadtest/",
        "benches/",
        "tests/",
        "fuzz/",
        "docs/",
        ".ci/",
    ];
    let mut found = Vec::new();
    let mut seen = 0;
    for (path, text) in documents() {
        for name in quoted(&text) {
            let plain = name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
            if !plain || !TOP.iter().any(|top| name.starts_with(top)) {
                continue;
            }
            seen += 1;
            if !exists(&name)
                && !name.starts_with("fuzz/corpus-run")
                && !name.starts_with("fuzz/artifacts")
            {
                found.push(format!("{path}: {name}"));
            }
        }
    }
    assert!(seen > 10, "only {seen} paths found");
    nothing("Mend the document: no such file or folder.", &found);
}

#[test]
fn tests_that_documents_name_are_there() {
    let tests: BTreeSet<String> = sources()
        .iter()
        .flat_map(|source| {
            let mut before = "";
            identifiers(&source.code).filter_map(move |(_, name)| {
                let is_function = std::mem::replace(&mut before, name) == "fn";
                is_function.then(|| name.to_owned())
            })
        })
        .collect();
    let mut found = Vec::new();
    let mut seen = 0;
    for (path, text) in documents() {
        for name in quoted(&text) {
            // A name of five words or more is a sentence, and only tests are named by sentences.
            let is_sentence = name.matches('_').count() >= 4
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
            let is_metric = name.ends_with("_total") || name.ends_with("_seconds");
            if !is_sentence || is_metric {
                continue;
            }
            seen += 1;
            if !tests.contains(&name) {
                found.push(format!("{path}: {name}"));
            }
        }
    }
    assert!(seen > 10, "only {seen} names of tests found");
    nothing("Mend the document: no test has this name.", &found);
}
