//! How times, digests and words of strangers look to people.

use std::fmt::Write as _;

use time::OffsetDateTime;

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A String takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Seconds since 1970 as a date and a time, UTC.
pub(crate) fn when(unix_s: u64) -> String {
    let time = i64::try_from(unix_s)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    time.map_or_else(
        || unix_s.to_string(),
        |time| {
            format!(
                "{:04}-{:02}-{:02} {:02}:{:02}:{:02}Z",
                time.year(),
                u8::from(time.month()),
                time.day(),
                time.hour(),
                time.minute(),
                time.second()
            )
        },
    )
}

/// Now, in seconds since 1970.
pub(crate) fn now_unix_s() -> u64 {
    u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap_or(0)
}

/// A word that somebody else wrote, on one line; a dash where there is none.
pub(crate) fn plain(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    printable(text, |_| false)
}

/// Lines that may hold what somebody else wrote.
pub(crate) fn plain_lines(text: &str) -> String {
    printable(text, |char| matches!(char, '\n' | '\t'))
}

/// A terminal obeys control characters.
fn printable(text: &str, may: impl Fn(char) -> bool) -> String {
    let plain = |char: char| {
        if char.is_control() && !may(char) {
            ' '
        } else {
            char
        }
    };
    text.chars().map(plain).collect()
}

/// The first digits of a digest: enough to tell two apart.
pub(crate) fn short(digest: &str) -> String {
    plain(digest.get(..12).unwrap_or(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_of_utc() {
        assert_eq!(when(0), "1970-01-01 00:00:00Z");
        assert_eq!(when(1_763_692_094), "2025-11-21 02:28:14Z");
        assert_eq!(when(u64::MAX), u64::MAX.to_string());
    }

    #[test]
    fn words_of_strangers_are_no_orders_to_a_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\n"), "a [2Jb ");
        assert_eq!(plain(""), "-");
        assert_eq!(
            plain_lines("a\u{1b}]0;b\u{7}\n\u{9b}2J\tc"),
            "a ]0;b \n 2J\tc"
        );
    }
}
