//! Refusals: each is documented, and each is told by a test.

use std::fmt::Write;

use adit_proto::Refusal;

use crate::tree::sources;
use crate::{is_current, nothing};

const OPENING: &str = "# Refusals

Every answer that adit gives in its own name says why, with one reason of this closed list: in the field
`adit-refusal: <reason>; id=<request id>` of an HTTP answer, as reply code at the SOCKS5 door, as the label `reason` of
`gateway_refused_total` and `agent_refused_total`. Numbers are stable: they travel between agent and gateway.

Made from `dataplane/proto/src/refusal.rs` by `UPDATE=1 cargo test -p adit-tests --test tidy`.

| number | reason | HTTP | SOCKS5 | what the caller reads |
|---|---|---|---|---|
";

#[test]
fn the_documented_list_is_the_one_in_force() {
    assert!(Refusal::ALL.len() > 40);
    let mut page = OPENING.to_owned();
    for refusal in Refusal::ALL {
        writeln!(
            page,
            "| {} | `{}` | {} | {} | {} |",
            refusal.number(),
            refusal.reason(),
            refusal.http_status(),
            refusal.socks_reply(),
            refusal.text().replace('|', "\\|")
        )
        .unwrap();
    }
    is_current("docs/refusals.md", &page);
}

#[test]
fn every_reason_is_told_by_a_test() {
    let stories: Vec<&str> = sources()
        .iter()
        .filter(|source| {
            source.path != "dataplane/proto/src/refusal.rs" && !source.is_in("tests/tidy")
        })
        .map(|source| source.tests())
        .filter(|text| !text.is_empty())
        .collect();
    assert!(
        stories.len() > 20,
        "only {} sources have tests",
        stories.len()
    );
    let is_told = |refusal: Refusal| {
        let names = [
            format!("\"{}\"", refusal.reason()),
            format!("\"{};", refusal.reason()),
            format!("adit-refusal: {}", refusal.reason()),
            format!("Refusal::{refusal:?}"),
        ];
        stories
            .iter()
            .any(|text| names.iter().any(|name| is_named(text, name)))
    };
    let found: Vec<String> = Refusal::ALL
        .iter()
        .filter(|refusal| !is_told(**refusal))
        .map(|refusal| format!("{refusal}: no test names it"))
        .collect();
    nothing(
        "Write a test in which a caller is refused for this reason.",
        &found,
    );
}

/// Whether `name` stands in `text`, not as the beginning of a longer name.
fn is_named(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let next = text[at + name.len()..].chars().next();
        !next.is_some_and(|next| next.is_ascii_alphanumeric() || next == '-' || next == '_')
            || name.ends_with('"')
    })
}
