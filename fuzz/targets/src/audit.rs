//! Lines of audit records, and what a node tells of many of them.

use adit_audit::{
    Chain, Cursor, Digest, History, Level, Tally, Traffic, Verifier, read_line, verify,
};

/// A history of two segments, divided at a byte that the first one names, and each line by itself. What is taken for
/// whole is written like that by a chain.
pub fn audit(data: &[u8]) {
    let Some((at, text)) = data.split_first() else {
        return;
    };
    let (one, two) = text.split_at(usize::from(*at).min(text.len()));
    let mut history = History::new(Vec::new());
    for (number, segment) in [(1, one), (2, two)] {
        if history.segment(number).is_err() {
            break;
        }
        for line in segment.split_inclusive(|byte| *byte == b'\n') {
            match history.line(line) {
                Ok(record) => {
                    assert!(read_line(line).is_ok(), "a line of a chain is a line");
                    drop(record);
                }
                Err(flaw) => assert!(flaw.to_string().len() < 10_000),
            }
        }
    }
    if let Err(flaw) = history.finish() {
        assert!(!flaw.to_string().is_empty());
    }
    let lines = || text.split_inclusive(|byte| *byte == b'\n');
    if let Ok(summary) = verify(Some(Digest::ZERO), lines()) {
        again(summary.start, lines());
    }
}

/// What a node tells of its records: read, put together and told again it fits its bytes, and no decision is lost.
pub fn traffic(data: &[u8]) {
    let Ok(told) = Traffic::read(data) else {
        return;
    };
    if let Some(next) = told
        .next
        .as_deref()
        .and_then(|next| next.parse::<Cursor>().ok())
    {
        assert_eq!(next.to_string().parse(), Ok(next));
    }
    let count = |told: &Traffic| {
        let requests = told.requests.iter().map(|seen| seen.count);
        let rules = told.rules.iter().map(|seen| seen.count);
        let more = [told.more_granted, told.more_denied];
        requests
            .chain(rules)
            .chain(more)
            .fold(0, u64::saturating_add)
    };
    let before = count(&told);
    let mut tally = Tally::new(3, 2);
    told.requests.into_iter().for_each(|seen| tally.seen(seen));
    told.rules.into_iter().for_each(|seen| tally.rule(seen));
    tally.more(told.more_granted, told.more_denied);
    let again = tally.finish(Level::All, 2_000);
    assert!(again.requests.len() <= 3 && again.rules.len() <= 2);
    assert_eq!(count(&again), before);
}

// The same records make the same bytes, when they begin a chain.
fn again<'l>(start: Digest, lines: impl Iterator<Item = &'l [u8]>) {
    let mut chain = Chain::new(start);
    let mut verifier = Verifier::new(Some(start));
    for line in lines {
        let record = verifier.line(line).expect("it was verified");
        let mut written = Vec::new();
        if read_line(line).is_ok_and(|read| read.sequence != chain.sequence() + 1) {
            return;
        }
        chain.append(&record, &mut written);
        assert_eq!(written, line);
    }
}
