//! What became of each judged request: a record for whoever keeps records.
//!
//! The seam at which audit is attached: records have their own type, are never filtered by a log level,
//! and go to one [`Sink`]. Until a lasting one is attached, the last denials are kept for `status`.

use std::collections::VecDeque;
use std::fmt;

use adit_policy::{Denial, Permit, Request};
use adit_proto::connect::RequestId;
use parking_lot::Mutex;
use serde::Serialize;

use crate::limits::DENIALS_KEPT;

/// One judged request.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Decision<'a> {
    /// Names the request in answers and logs of both sides.
    pub id: RequestId,
    /// When, in seconds since 1970.
    pub unix_s: u64,
    /// The subaccount of the caller, as the gateway proved it.
    pub subaccount: &'a str,
    /// The caller, as its token named it.
    pub caller: &'a str,
    /// What was asked.
    pub request: &'a Request<'a>,
    /// The version of the snapshot that judged.
    pub version: u64,
    /// What came of it.
    pub outcome: Outcome<'a>,
}

/// What came of a request.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a request is granted or it is not")]
pub enum Outcome<'a> {
    /// Granted by this rule.
    Granted(&'a Permit),
    /// Denied for this reason.
    Denied(&'a Denial),
}

/// Takes decisions in. Called on the shards for every request: it must not wait.
pub trait Sink: Send + Sync {
    /// Takes one in.
    fn record(&self, decision: &Decision<'_>);
}

/// The last denials, in memory. Grants leave no trace here.
#[derive(Debug, Default)]
pub struct Denials {
    kept: Mutex<VecDeque<Denied>>,
}

/// A denied request, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Denied {
    /// Names the request.
    pub id: String,
    /// When, in seconds since 1970.
    pub unix_s: u64,
    /// Whose request it was.
    pub subaccount: String,
    /// Which application asked.
    pub caller: String,
    /// What was asked, long parts cut.
    pub request: String,
    /// Which snapshot judged.
    pub version: u64,
    /// The reason in one word.
    pub reason: &'static str,
    /// Why, with the rule that came closest.
    pub text: String,
}

impl Denials {
    /// The denials kept, newest first.
    #[must_use]
    pub fn list(&self) -> Vec<Denied> {
        self.kept.lock().iter().cloned().collect()
    }
}

impl Sink for Denials {
    fn record(&self, decision: &Decision<'_>) {
        let Outcome::Denied(denial) = decision.outcome else {
            return;
        };
        let denied = Denied {
            id: decision.id.to_string(),
            unix_s: decision.unix_s,
            subaccount: decision.subaccount.to_owned(),
            caller: decision.caller.to_owned(),
            request: decision.request.to_string(),
            version: decision.version,
            reason: denial.reason().word(),
            text: denial.to_string(),
        };
        let mut kept = self.kept.lock();
        kept.truncate(DENIALS_KEPT - 1);
        kept.push_front(denied);
    }
}

impl fmt::Display for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted(permit) => write!(f, "granted by {}", permit.rule()),
            Self::Denied(denial) => write!(f, "denied: {denial}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use adit_policy::Snapshot;

    use super::*;

    const RULES: &str = "[[system]]\nvirtual = \"erp.virtual:80\"\nprotocol = \"http\"\n\
                         internal = \"http://10.1.2.3:8000\"\n[[system.resource]]\npath = \"/a\"\n";

    fn ask(denials: &Denials, path: &str, unix_s: u64) {
        let snapshot = Snapshot::new(7, RULES.to_owned()).unwrap();
        let request = Request::Http {
            host: "erp.virtual",
            port: 80,
            method: "GET",
            path: path.as_bytes(),
            upgrade: false,
        };
        let decided = snapshot.decide(&request);
        let outcome = match &decided {
            Ok(permit) => Outcome::Granted(permit),
            Err(denial) => Outcome::Denied(denial),
        };
        denials.record(&Decision {
            id: RequestId([1; 16]),
            unix_s,
            subaccount: "acme",
            caller: "app",
            request: &request,
            version: 7,
            outcome,
        });
    }

    #[test]
    fn a_denial_is_kept_with_its_explanation_and_a_grant_is_not() {
        let denials = Denials::default();
        ask(&denials, "/a", 1);
        assert!(denials.list().is_empty());
        ask(&denials, "/b", 2);
        let list = denials.list();
        assert_eq!(list.len(), 1);
        assert_eq!((list[0].reason, list[0].version, list[0].unix_s), ("resource-denied", 7, 2));
        assert_eq!(list[0].request, "GET http://erp.virtual:80/b");
    }

    #[test]
    fn the_last_place_is_used_and_then_the_oldest_falls_out() {
        let denials = Denials::default();
        let kept = u64::try_from(DENIALS_KEPT).unwrap();
        for second in 1..=kept {
            ask(&denials, "/b", second);
        }
        assert_eq!(denials.list().last().unwrap().unix_s, 1);
        ask(&denials, "/b", kept + 1);
        let list = denials.list();
        assert_eq!(list.len(), DENIALS_KEPT);
        assert_eq!((list[0].unix_s, list[DENIALS_KEPT - 1].unix_s), (kept + 1, 2));
    }
}
