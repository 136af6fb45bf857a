//! A chain for tests, and who sends it.

use adit_audit::{Act, Chain, Digest, Record, Text};

use crate::status::Who;

/// So many lines of acts, with details of `filler` bytes.
pub(crate) fn chain(count: usize, filler: usize) -> Vec<Vec<u8>> {
    let mut chain = Chain::new(Digest::ZERO);
    let filler = "x".repeat(filler.min(1000));
    (0..count)
        .map(|number| {
            let mut line = Vec::new();
            let act = Act {
                unix_ms: 1_700_000_000_000 + u64::try_from(number).unwrap(),
                who: Text::of(&filler),
                verb: Text::of("rules-apply"),
                subaccount: Some(Text::of("acme")),
                what: Text::of(&filler),
                detail: Text::of(&filler),
                request: Text::of(&filler),
            };
            chain.append(&Record::Act(act), &mut line);
            line
        })
        .collect()
}

/// Whoever.
pub(crate) fn who() -> Who {
    Who {
        node: "agent-1".to_owned(),
        host: "machine".to_owned(),
        software: "aditd 0.1.0".to_owned(),
    }
}
