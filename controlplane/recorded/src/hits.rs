//! Who would have been hit: recorded grants that other rules would not have given.

use adit_policy::Table;

use crate::ledger::Ledger;

/// What would have become of recorded grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hits {
    /// The requests that would have been denied, the most frequent first.
    pub list: Vec<Hit>,
    /// Recorded grants that were judged.
    pub judged: u64,
    /// Recorded grants that could not be judged, because not all of them was recorded or held.
    pub unjudged: u64,
}

/// One caller's request that would have been denied.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hit {
    /// The caller's subaccount.
    pub subaccount: String,
    /// Who asked.
    pub caller: String,
    /// The request.
    pub request: String,
    /// How often it was granted.
    pub count: u64,
    /// Why it would have been denied.
    pub reason: String,
}

/// Judges every recorded grant by `rules`.
#[must_use]
pub fn hits(rules: &Table, ledger: &Ledger) -> Hits {
    let mut hits = Hits::default();
    for (asked, count) in ledger.granted() {
        let Some(request) = asked.request(asked.upgrade) else {
            hits.unjudged = hits.unjudged.saturating_add(count);
            continue;
        };
        hits.judged = hits.judged.saturating_add(count);
        let Err(denial) = rules.decide(&request.as_request()) else {
            continue;
        };
        let (subaccount, caller) = asked.caller.clone().unwrap_or_default();
        hits.list.push(Hit {
            subaccount: subaccount.into(),
            caller: caller.into(),
            request: asked.told(),
            count,
            reason: denial.reason().word().to_owned(),
        });
    }
    for (_, count) in ledger.folded() {
        hits.unjudged = hits.unjudged.saturating_add(count);
    }
    let order = |hit: &Hit| {
        (
            hit.subaccount.clone(),
            hit.caller.clone(),
            hit.request.clone(),
        )
    };
    hits.list
        .sort_by(|a, b| b.count.cmp(&a.count).then_with(|| order(a).cmp(&order(b))));
    hits
}
