//! One word, one meaning; and words that do not belong here at all.

use crate::nothing;
use crate::source::identifiers;
use crate::tree::{files, read, sources};

/// Names that others gave.
const FOREIGN: [&str; 6] = [
    // TLS and rustls
    "NEW_SESSION_TICKET",
    "handle_new_session_ticket",
    "NoServerSessionStorage",
    "session_storage",
    // the word of HTTP servers for a cookie
    "jsessionid",
    "JSESSIONID",
];

#[test]
fn session_is_a_word_of_the_multiplexer() {
    let mut found = Vec::new();
    let mut inside = 0;
    for source in sources() {
        let home = ["dataplane/mux", "dataplane/tunnel", "benches/src/mux"]
            .iter()
            .any(|room| source.is_in(room));
        for (at, name) in identifiers(source.product()) {
            if !name.to_ascii_lowercase().contains("session") {
                continue;
            }
            // `tunnel.session()` is the tunnel's.
            let asked = source.product()[..at].ends_with('.') && name == "session";
            inside += usize::from(home);
            if !home && !asked && !FOREIGN.contains(&name) {
                found.push(format!("{}: {name}", source.place(at)));
            }
        }
    }
    assert!(inside > 20, "the multiplexer has sessions");
    nothing(
        "A session is all of one tunnel's multiplexing: say tunnel, stream, connection or exchange.",
        &found,
    );
}

#[test]
fn saps_calls_and_documents_of_the_ietf_are_told_apart() {
    let mut found = Vec::new();
    let mut seen = 0;
    for source in sources() {
        for (at, name) in identifiers(&source.code) {
            seen += 1;
            let snake = name.to_ascii_lowercase();
            let parts: Vec<&str> = snake.split('_').collect();
            let bare = parts.iter().enumerate().any(|(index, part)| {
                let after_sap =
                    index.checked_sub(1).and_then(|before| parts.get(before)) == Some(&"sap");
                *part == "rfc" && !after_sap
            });
            let camel = name.contains("Rfc") && !name.contains("SapRfc");
            if bare || camel {
                found.push(format!("{}: {name}", source.place(at)));
            }
        }
    }
    assert!(seen > 10_000, "only {seen} identifiers found");
    nothing(
        "Say `sap_rfc` for SAP's calls; an IETF document is cited in a comment, as \"RFC 9110, section 7\".",
        &found,
    );
}

/// Words of the world outside this repository. Written in pieces, so that this file does not hold them.
fn strangers() -> Vec<String> {
    let pieces = [
        ["/wo", "rk/"],
        ["shar", "ed/"],
        ["/tmp/", "plan"],
        ["CONTR", "ACT.md"],
        ["DESI", "GN.md"],
        ["STY", "LE.md"],
        ["hostile-", "world"],
        ["sap-", "connectivity.md"],
        ["real-", "clients.md"],
        ["issues ", "show"],
        ["target-", "house"],
        ["crates", ".io"],
        ["docker", ".io"],
        ["quay", ".io"],
        ["ghcr", ".io"],
        ["pypi", ".org"],
        ["registry.", "npmjs"],
        ["proxy.", "golang.org"],
        ["deb.", "debian.org"],
        ["this ", "session"],
        ["another ", "session"],
        ["the ", "assistant"],
        ["language ", "model"],
        ["work", "place"],
        ["co", "pilot"],
    ];
    pieces.map(|[one, two]| format!("{one}{two}")).to_vec()
}

#[test]
fn nothing_speaks_of_the_place_where_it_was_made() {
    let strangers = strangers();
    let mut found = Vec::new();
    let mut seen = 0;
    for path in files() {
        // A lock file names the registry of its packages; that is its form.
        if path.ends_with("Cargo.lock") || path.starts_with("fuzz/corpus/") {
            continue;
        }
        let Some(text) = read(path) else {
            continue;
        };
        seen += 1;
        for (number, line) in text.lines().enumerate() {
            let lower = line.to_lowercase();
            for word in &strangers {
                let exact = word.chars().any(char::is_uppercase);
                let there = if exact {
                    line.contains(word.as_str())
                } else {
                    lower.contains(word.as_str())
                };
                if there {
                    found.push(format!("{path}:{}: {word}", number + 1));
                }
            }
        }
    }
    assert!(seen > 200, "only {seen} files were read");
    nothing(
        "The repository stands alone: say what is meant in its own words, or leave it out.",
        &found,
    );
}
