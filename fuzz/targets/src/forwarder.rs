//! Answers of collectors, and lines of a folder on their way to them.

use adit_forwarder::limits::{BATCH_RECORDS_MAX, RETRY_AFTER_MAX};
use adit_forwarder::{Lines, Place, Verdict, verdict};

/// Two bytes of status, a line of Retry-After, and a body; and the body as lines of a chain.
pub fn forwarder(data: &[u8]) {
    let Some((status, rest)) = data.split_first_chunk() else {
        return;
    };
    let status = u16::from_be_bytes(*status);
    let at = rest.iter().position(|byte| *byte == b'\n');
    let (field, body) = rest.split_at(at.unwrap_or(0));
    let words = match verdict(status, Some(field), body) {
        Verdict::Taken { words, .. } => {
            assert!((200..300).contains(&status), "{status} is no yes");
            words
        }
        Verdict::Later { wait, words } => {
            assert!(wait.is_none_or(|wait| wait <= RETRY_AFTER_MAX));
            words
        }
        Verdict::Never { words } => words,
    };
    assert!(words.chars().count() < 400 && !words.chars().any(char::is_control));
    lines(body.strip_prefix(b"\n").unwrap_or(body));
}

// Whatever lies there: numbers only grow, and what is left out before them is told.
fn lines(text: &[u8]) {
    let mut place = Place::START;
    let Ok(mut batch) = Lines::behind(&place, 1 << 40) else {
        return;
    };
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if !matches!(batch.push(line), Ok(true)) {
            assert!(batch.len() <= BATCH_RECORDS_MAX);
            let count = u64::try_from(batch.len()).expect("it is small");
            let gap = batch.gap().map_or(0, |gap| gap.to - gap.from + 1);
            assert_eq!(batch.end().sequence, place.sequence + gap + count);
            place = batch.end();
            let Ok(next) = Lines::behind(&place, 1 << 40) else {
                return;
            };
            batch = next;
        }
    }
}
