//! A checksum at the head of a text file, so that a byte that rotted is noticed and not believed.
//!
//! It stands where readers of an earlier version pass over it: a first member of JSON, a line before PEM. Texts without
//! one are those of an earlier version, and are taken as they are.

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};

/// The text does not match its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rotten;

/// A JSON object, as it is printed over several lines, with a checksum of all that follows it as the first member.
pub(crate) fn json(text: &str) -> String {
    let members = text.strip_prefix("{\n").unwrap_or(text);
    let (before, behind) = JSON;
    format!("{before}{}{behind}{members}", sum(members))
}

/// PEM with a checksum in a line before it.
pub(crate) fn pem(text: &str) -> String {
    let (before, behind) = PEM;
    format!("{before}{}{behind}{text}", sum(text))
}

/// One line with its checksum behind it.
pub(crate) fn line(word: &str) -> String {
    format!("{word} {}\n", sum(word))
}

/// Holds a text against its checksum, if it has one.
///
/// # Errors
/// [`Rotten`] when it is another one.
pub(crate) fn check(text: &str) -> Result<(), Rotten> {
    for (before, behind) in [JSON, PEM] {
        if let Some(rest) = text.strip_prefix(before) {
            let rest = rest.split_at_checked(SUM_CHARACTERS);
            let (said, rest) = rest.ok_or(Rotten)?;
            let summed = rest.strip_prefix(behind).ok_or(Rotten)?;
            return if sum(summed) == said {
                Ok(())
            } else {
                Err(Rotten)
            };
        }
    }
    Ok(())
}

/// The word of a [`line`]; of an earlier version it is all of the line.
///
/// # Errors
/// [`Rotten`] when the line is not whole or its checksum is another one.
pub(crate) fn word(text: &str) -> Result<&str, Rotten> {
    let line = text.strip_suffix('\n').ok_or(Rotten)?;
    match line.split_once(' ') {
        None => Ok(line),
        Some((word, said)) if sum(word) == said => Ok(word),
        Some(_) => Err(Rotten),
    }
}

fn sum(text: &str) -> String {
    let mut hex = String::with_capacity(SUM_CHARACTERS);
    for byte in digest(&SHA256, text.as_bytes()).as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// What stands before a checksum and behind it.
const JSON: (&str, &str) = ("{\n  \"sha256\": \"", "\",\n");
const PEM: (&str, &str) = ("sha256: ", "\n");
const SUM_CHARACTERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_summed_is_whole_and_so_is_what_never_was() {
        let object = serde_json::json!({"a": 1, "b": {"c": "text"}});
        let text = serde_json::to_string_pretty(&object).unwrap();
        let summed = json(&text);
        assert_eq!(check(&summed), Ok(()));
        let read: serde_json::Value = serde_json::from_str(&summed).unwrap();
        assert_eq!(read["b"], object["b"], "it is JSON as before");
        assert_eq!(check(&text), Ok(()));
        assert_eq!(check(&pem("-----BEGIN\n")), Ok(()));
        assert_eq!(check("-----BEGIN\n"), Ok(()));
        assert_eq!(word(&line("17")), Ok("17"));
        assert_eq!(word("17\n"), Ok("17"));
        assert_eq!(word("17"), Err(Rotten), "its end is missing");
    }
}
