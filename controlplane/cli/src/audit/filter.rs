//! Which records are asked for, and how they are told.

use std::path::Path;
use std::str::FromStr;

use adit_audit::{Decision, Numbered, Outcome, PushOutcome, Record, read_line};
use anyhow::Result;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Iso8601;

use super::files::{self, Lines};

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Filter {
    /// From this time on: 2026-01-31T12:00:00Z, or so long ago: 90s, 15m, 12h, 7d
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Before this time, written likewise
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// Decisions about requests of this caller
    #[arg(long, value_name = "NAME")]
    caller: Option<String>,
    /// Decisions about this system: HOST:PORT, or HOST for all its ports
    #[arg(long, value_name = "SYSTEM")]
    system: Option<String>,
    /// Decisions that went like this
    #[arg(long, value_name = "OUTCOME", value_parser = ["allowed", "denied"])]
    outcome: Option<String>,
    /// The decision about the request of this id
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

/// A time of the command line, in milliseconds of Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(u64);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        read_moment(text, OffsetDateTime::now_utc())
    }
}

fn read_moment(text: &str, now: OffsetDateTime) -> Result<Moment, String> {
    let wrong =
        || "write a time as 2026-01-31T12:00:00Z, or so long ago as 90s, 15m, 12h or 7d".to_owned();
    let millis = |time: OffsetDateTime| {
        u64::try_from(time.unix_timestamp_nanos() / 1_000_000)
            .map(Moment)
            .map_err(|_before_1970| wrong())
    };
    if let Ok(time) = OffsetDateTime::parse(text, &Iso8601::PARSING) {
        return millis(time);
    }
    let unit = match text.chars().next_back() {
        Some('s') => 1_000,
        Some('m') => 60_000,
        Some('h') => 3_600_000,
        Some('d') => 86_400_000,
        _ => return Err(wrong()),
    };
    let number = text.get(..text.len() - 1).unwrap_or_default();
    let number: u64 = number.parse().map_err(|_no_number| wrong())?;
    let Moment(now) = millis(now)?;
    number
        .checked_mul(unit)
        .map(|ago| Moment(now.saturating_sub(ago)))
        .ok_or_else(wrong)
}

impl Filter {
    /// Whether it is asked for.
    pub(crate) fn takes(&self, record: &Record<'_>) -> bool {
        let unix_ms = record.unix_ms();
        if self.since.is_some_and(|Moment(since)| unix_ms < since)
            || self.until.is_some_and(|Moment(until)| unix_ms >= until)
        {
            return false;
        }
        match record {
            Record::Decision(decision) => self.takes_decision(decision),
            // What is asked of decisions only, other records are not.
            Record::Started(_)
            | Record::RulesPushed(_)
            | Record::Act(_)
            | Record::Gap(_)
            | Record::Recovered(_)
            | Record::Checkpoint(_)
            | Record::SegmentRemoved(_)
            | Record::Stopped(_) => {
                self.caller.is_none()
                    && self.system.is_none()
                    && self.outcome.is_none()
                    && self.request_id.is_none()
            }
        }
    }

    fn takes_decision(&self, decision: &Decision<'_>) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        let system = decision.system.as_str();
        let host = system.rsplit_once(':').map_or(system, |(host, _)| host);
        let outcome = match decision.outcome {
            Outcome::Allowed { .. } => "allowed",
            Outcome::Denied { .. } => "denied",
        };
        is(&self.caller, decision.caller.as_str())
            && (is(&self.system, system) || is(&self.system, host))
            && is(&self.outcome, outcome)
            && is(&self.request_id, decision.request.as_str())
    }

    /// Hands all records of `dir` that are asked for to `each`, with their lines, in their order; how many lines could
    /// not be read. A line that is being written is passed over.
    pub(crate) fn walk(
        &self,
        dir: &Path,
        mut each: impl FnMut(&[u8], &Numbered<'_>) -> Result<()>,
    ) -> Result<u64> {
        let mut unread = 0;
        for segment in files::segments(dir)? {
            let Some(mut lines) = Lines::open(&segment)? else {
                continue;
            };
            while let Some(line) = lines.next()? {
                match read_line(line) {
                    Ok(numbered) => {
                        if self.takes(&numbered.record) {
                            each(line, &numbered)?;
                        }
                    }
                    Err(adit_audit::Defect::Torn) => {}
                    Err(_) => unread += 1,
                }
            }
        }
        Ok(unread)
    }
}

/// Names of what [`cells`] gives.
pub(crate) const COLUMNS: [&str; 12] = [
    "sequence",
    "time",
    "record",
    "outcome",
    "reason",
    "subaccount",
    "caller",
    "system",
    "method",
    "path",
    "version",
    "request_id",
];

/// A record as cells of a row; empty where it tells nothing.
pub(crate) fn cells(numbered: &Numbered<'_>) -> [String; 12] {
    let mut row = std::array::from_fn(|_| String::new());
    let kind = kind(&numbered.record);
    let [
        sequence,
        time,
        record,
        outcome,
        reason,
        subaccount,
        caller,
        system,
        method,
        path,
        version,
        id,
    ] = &mut row;
    *sequence = numbered.sequence.to_string();
    *time = time_of(numbered.record.unix_ms());
    *record = kind.to_owned();
    match &numbered.record {
        Record::Decision(decision) => {
            let text = |text: &Option<adit_audit::Text<'_>>| {
                text.as_ref().map(ToString::to_string).unwrap_or_default()
            };
            (*outcome, *reason) = match &decision.outcome {
                Outcome::Allowed { rule } => ("allowed".to_owned(), rule.to_string()),
                Outcome::Denied { reason } => ("denied".to_owned(), reason.to_string()),
            };
            *subaccount = decision.subaccount.to_string();
            *caller = decision.caller.to_string();
            *system = decision.system.to_string();
            *method = text(&decision.method);
            *path = text(&decision.path);
            *version = decision.version.to_string();
            *id = decision.request.to_string();
        }
        Record::RulesPushed(pushed) => {
            (*outcome, *reason) = match &pushed.outcome {
                PushOutcome::InForce => ("in force".to_owned(), String::new()),
                PushOutcome::Refused { reason } => ("refused".to_owned(), reason.to_string()),
            };
            *caller = pushed.by.to_string();
            *version = pushed.version.to_string();
        }
        Record::Act(act) => {
            let none = String::new();
            *outcome = act.verb.to_string();
            *subaccount = act.subaccount.as_ref().map_or(none, ToString::to_string);
            *caller = act.who.to_string();
            *system = act.what.to_string();
            *reason = act.detail.to_string();
            *id = act.request.to_string();
        }
        Record::Started(started) => {
            *reason = format!("{} of {}", started.software, started.node);
        }
        Record::Gap(gap) => {
            *reason = format!(
                "{} records lost since {}",
                gap.lost,
                time_of(gap.since_unix_ms)
            );
        }
        Record::Recovered(recovered) => {
            *reason = format!("{} bytes cut off", recovered.cut_bytes);
        }
        Record::SegmentRemoved(removed) => {
            *reason = format!(
                "segment {}, up to record {}",
                removed.segment, removed.last_sequence
            );
        }
        Record::Checkpoint(checkpoint) => *reason = format!("key {}", checkpoint.key),
        Record::Stopped(_) => {}
    }
    row
}

/// A line as it was written, for programs.
pub(crate) fn value(line: &[u8]) -> Value {
    serde_json::from_slice(line).unwrap_or_else(|error| json!({ "unreadable": error.to_string() }))
}

fn kind(record: &Record<'_>) -> &'static str {
    match record {
        Record::Started(_) => "started",
        Record::Decision(_) => "decision",
        Record::RulesPushed(_) => "rules-pushed",
        Record::Act(_) => "act",
        Record::Gap(_) => "gap",
        Record::Recovered(_) => "recovered",
        Record::Checkpoint(_) => "checkpoint",
        Record::SegmentRemoved(_) => "segment-removed",
        Record::Stopped(_) => "stopped",
    }
}

/// Unix time as people read it.
pub(crate) fn time_of(unix_ms: u64) -> String {
    let nanos = i128::from(unix_ms) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).map_or_else(
        |_beyond_year_9999| unix_ms.to_string(),
        |time| {
            let (hour, minute, second, milli) = time.time().as_hms_milli();
            format!(
                "{}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z",
                time.date()
            )
        },
    )
}

#[cfg(test)]
mod tests {
    use adit_audit::{Gap, Text};

    use super::*;

    fn decision(caller: &'static str) -> Record<'static> {
        Record::Decision(Decision {
            unix_ms: 1_000_000,
            request: Text::of("77"),
            subaccount: Text::of("acme"),
            caller: Text::of(caller),
            system: Text::of("erp.virtual:80"),
            method: Some(Text::of("GET")),
            path: Some(Text::of("/a")),
            upgrade: false,
            outcome: Outcome::Denied {
                reason: Text::of("resource-denied"),
            },
            version: 3,
        })
    }

    fn filter(change: impl FnOnce(&mut Filter)) -> Filter {
        let mut filter = Filter::default();
        change(&mut filter);
        filter
    }

    #[test]
    fn each_question_is_asked_of_decisions() {
        let yes = |text: &str| Some(text.to_owned());
        for (filter, is_taken) in [
            (Filter::default(), true),
            (filter(|f| f.caller = yes("app")), true),
            (filter(|f| f.caller = yes("ap")), false),
            (filter(|f| f.system = yes("erp.virtual")), true),
            (filter(|f| f.system = yes("erp.virtual:80")), true),
            (filter(|f| f.system = yes("erp.virtual:81")), false),
            (filter(|f| f.outcome = yes("denied")), true),
            (filter(|f| f.outcome = yes("allowed")), false),
            (filter(|f| f.request_id = yes("77")), true),
            (filter(|f| f.request_id = yes("7")), false),
            (filter(|f| f.since = Some(Moment(1_000_000))), true),
            (filter(|f| f.since = Some(Moment(1_000_001))), false),
            (filter(|f| f.until = Some(Moment(1_000_001))), true),
            (filter(|f| f.until = Some(Moment(1_000_000))), false),
        ] {
            assert_eq!(filter.takes(&decision("app")), is_taken, "{filter:?}");
        }
    }

    #[test]
    fn other_records_are_shown_unless_something_of_decisions_is_asked() {
        let gap = Record::Gap(Gap {
            unix_ms: 5,
            since_unix_ms: 1,
            lost: 2,
        });
        assert!(Filter::default().takes(&gap));
        assert!(!filter(|f| f.caller = Some("app".to_owned())).takes(&gap));
    }

    #[test]
    fn times_are_moments_or_so_long_ago() {
        let now = OffsetDateTime::from_unix_timestamp(1_000_000).unwrap();
        for (text, seconds) in [
            ("1970-01-12T13:46:40Z", 1_000_000),
            ("90s", 999_910),
            ("15m", 999_100),
            ("12h", 956_800),
            ("7d", 395_200),
            ("99999d", 0),
        ] {
            assert_eq!(read_moment(text, now), Ok(Moment(seconds * 1000)), "{text}");
        }
        for text in [
            "",
            "7",
            "d",
            "-7d",
            "7w",
            "yesterday",
            "18446744073709551615d",
            "\u{e4}",
        ] {
            assert!(read_moment(text, now).is_err(), "{text}");
        }
        assert_eq!(time_of(1_000_000_007), "1970-01-12T13:46:40.007Z");
        assert_eq!(time_of(u64::MAX), u64::MAX.to_string());
    }
}
