//! Limits: each says what it is, and a test goes to it.

use crate::nothing;
use crate::source::{Source, words};
use crate::tree::sources;

/// A named limit: a constant or a field of a `limits.rs`.
struct Limit {
    name: String,
    place: String,
    documented: bool,
}

fn files_of_limits() -> Vec<&'static Source> {
    let found: Vec<&Source> = sources()
        .iter()
        .filter(|source| source.path.ends_with("/limits.rs") && source.path.contains("/src/"))
        .collect();
    assert!(
        found.len() >= 6,
        "only {} files of limits found",
        found.len()
    );
    found
}

fn limits() -> Vec<Limit> {
    let mut limits = Vec::new();
    for source in files_of_limits() {
        let product = source.product();
        let mut offset = 0;
        let mut documented = false;
        for line in product.lines() {
            let told = source.text[offset..].trim_start().starts_with("///");
            let words: Vec<&str> = line.split_whitespace().collect();
            let name = match words.as_slice() {
                [public, "const" | "static", name, ..] | [public, name, ..]
                    if (*public == "pub" || public.starts_with("pub(")) && name.ends_with(':') =>
                {
                    Some(*name)
                }
                _ => None,
            };
            if let Some(name) = name {
                limits.push(Limit {
                    name: name.trim_end_matches(':').to_owned(),
                    place: source.place(offset),
                    documented,
                });
            }
            documented = told || (documented && line.trim_start().starts_with("#["));
            offset += line.len() + 1;
        }
    }
    assert!(limits.len() > 50, "only {} limits found", limits.len());
    limits
}

#[test]
fn every_limit_is_documented_with_a_number_and_a_reason() {
    let found: Vec<String> = limits()
        .iter()
        .filter(|limit| !limit.documented)
        .map(|limit| format!("{}: {}", limit.place, limit.name))
        .collect();
    nothing(
        "Say above it: default, unit, why this number, and worst-case memory.",
        &found,
    );
}

#[test]
fn every_limit_is_gone_to_by_a_test() {
    let tests: Vec<&str> = sources()
        .iter()
        .filter(|source| !source.is_in("tests/tidy"))
        .map(Source::tests)
        .filter(|text| !text.is_empty())
        .collect();
    assert!(tests.len() > 20, "only {} sources have tests", tests.len());
    // A limit that only one tunnel sets is set by `with_...`.
    let is_named = |name: &str| {
        let setter = format!("with_{name}");
        let named = |text: &&str| {
            [name, &setter]
                .iter()
                .any(|word| words(text, word).next().is_some())
        };
        tests.iter().any(named)
    };
    let found: Vec<String> = limits()
        .iter()
        .filter(|limit| !is_named(&limit.name))
        .map(|limit| format!("{}: {}", limit.place, limit.name))
        .collect();
    nothing(
        "Write a pair of tests that name the limit: the last allowed passes, one more does not.",
        &found,
    );
}
