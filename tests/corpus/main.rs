//! Every fuzz target with every file of its corpus, and with the same files damaged: what libFuzzer does for hours, in
//! seconds and on any toolchain.
//!
//! A crash that libFuzzer finds becomes a file in `fuzz/corpus/<target>`, and so a test here.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what must hold"
)]

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use adit_fuzz_targets::{ALL, Target};

/// Damaged copies of each file.
const DAMAGES: u64 = 40;

fn fuzz() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "fuzz"].iter().collect()
}

/// Names of what lies in a folder, hidden files left out.
fn listed(folder: &PathBuf) -> BTreeSet<String> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with('.')).collect()
}

/// The corpus of a target, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = fuzz().join("corpus").join(target);
    let read = |name: String| {
        let bytes = fs::read(folder.join(&name)).unwrap();
        (name, bytes)
    };
    listed(&folder).into_iter().map(read).collect()
}

fn run((target, body): Target, name: &str, bytes: &[u8]) {
    let outcome = catch_unwind(AssertUnwindSafe(|| body(bytes)));
    assert!(
        outcome.is_ok(),
        "target {target} breaks its promise, see above; {name} is \"{}\"",
        bytes.escape_ascii()
    );
}

#[test]
fn every_file_of_every_corpus_keeps_the_promises() {
    for target in ALL {
        let files = corpus(target.0);
        assert!(
            files.len() >= 10,
            "fuzz/corpus/{} holds too few beginnings",
            target.0
        );
        for (name, bytes) in files {
            run(*target, &name, &bytes);
        }
    }
}

#[test]
fn damaged_files_keep_them_too() {
    for target in ALL {
        for (name, bytes) in corpus(target.0) {
            for seed in 0..DAMAGES {
                let damaged = damage(&bytes, seed);
                run(*target, &format!("{name}, damaged by {seed},"), &damaged);
            }
        }
    }
}

/// The same bytes with one to three of them changed, taken out, doubled or moved.
fn damage(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    let mut next = |bound: usize| {
        // xorshift64 (Marsaglia, 2003)
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 11).unwrap() % bound.max(1)
    };
    let mut damaged = bytes.to_vec();
    for _ in 0..=next(3) {
        let at = next(damaged.len() + 1);
        match next(6) {
            0 => damaged.truncate(at),
            1 => damaged.insert(at, u8::try_from(next(256)).unwrap()),
            2 if at < damaged.len() => {
                damaged.remove(at);
            }
            3 => {
                let piece: Vec<u8> = damaged.iter().skip(at).take(next(20)).copied().collect();
                let to = next(damaged.len() + 1);
                damaged.splice(to..to, piece);
            }
            _ => {
                if let Some(byte) = damaged.get_mut(at) {
                    *byte ^= 1 << next(8);
                }
            }
        }
    }
    damaged
}

#[test]
fn each_target_has_a_corpus_and_a_program() {
    let targets: BTreeSet<String> = ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(
        listed(&fuzz().join("corpus")),
        targets,
        "fuzz/corpus has one folder for each target of `adit_fuzz_targets::ALL`"
    );
    let programs = listed(&fuzz().join("fuzz_targets"));
    let expected: BTreeSet<String> = targets.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(
        programs, expected,
        "fuzz/fuzz_targets has one program for each target"
    );
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for target in &targets {
        let path = format!("path = \"fuzz_targets/{target}.rs\"");
        assert!(
            manifest.contains(&path),
            "add a [[bin]] with `{path}` to fuzz/Cargo.toml"
        );
    }
}
