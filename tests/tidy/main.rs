//! The house rules: what no compiler checks and every reader relies on.
//!
//! Each test looks at all files of one kind, asserts that there are some, and says in one sentence how to mend what it
//! finds. `UPDATE=1 cargo test -p adit-tests --test tidy` writes anew what is made from the code.
#![expect(clippy::unwrap_used, reason = "a test says what must hold")]

mod docs;
mod files;
mod limits;
mod metrics;
mod refusals;
mod rooms;
mod source;
mod tree;
mod words;

/// Fails when anything was found, with how to mend it.
fn nothing(mend: &str, found: &[String]) {
    assert!(found.is_empty(), "{mend}\n  {}", found.join("\n  "));
}

/// Compares a file that is made from the code with what the code makes now, or writes it when `UPDATE` is set.
fn is_current(path: &str, wanted: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(tree::root().join(path), wanted).unwrap();
    }
    let found = tree::read(path).unwrap_or_default();
    assert!(
        found == wanted,
        "{path} is not what the code says; run `UPDATE=1 cargo test -p adit-tests --test tidy`, look at the change \
         and commit it\n{}",
        difference(&found, wanted)
    );
}

/// The lines that only one of two texts has.
fn difference(found: &str, wanted: &str) -> String {
    let only = |one: &str, other: &str, sign: &str| -> Vec<String> {
        let known: std::collections::BTreeSet<&str> = other.lines().collect();
        let lines = one.lines().filter(|line| !known.contains(line));
        lines.map(|line| format!("  {sign} {line}")).collect()
    };
    [only(found, wanted, "-"), only(wanted, found, "+")]
        .concat()
        .join("\n")
}
