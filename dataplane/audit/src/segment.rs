//! Names of the files that a chain is kept in: a number that only grows, and the kind.

/// The name of segment `number`. Names sort as numbers do up to ten digits, and are read as numbers beyond.
#[must_use]
pub fn file_name(number: u64) -> String {
    format!("{number:010}{SUFFIX}")
}

/// The number of the segment that is called `name`; `None` for another file.
#[must_use]
pub fn number_of(name: &str) -> Option<u64> {
    let number = name.strip_suffix(SUFFIX)?.parse().ok()?;
    // A sign, or more or fewer zeros than we write, make it another file.
    (number > 0 && file_name(number) == name).then_some(number)
}

const SUFFIX: &str = ".jsonl";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbers_of_ten_digits_and_nothing_else_is() {
        assert_eq!(file_name(1), "0000000001.jsonl");
        for number in [1, 42, 9_999_999_999, 10_000_000_000, u64::MAX] {
            assert_eq!(number_of(&file_name(number)), Some(number));
        }
        for name in [
            "0000000000.jsonl",
            "1.jsonl",
            "+000000001.jsonl",
            "00000000001.jsonl",
            "0000000001.json",
            "0000000001.jsonl.gz",
            "key.pem",
            "",
        ] {
            assert_eq!(number_of(name), None, "{name}");
        }
    }
}
