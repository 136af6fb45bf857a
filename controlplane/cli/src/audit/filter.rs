//! Which records are asked for, and how they are told.

use std::path::Path;
use std::str::FromStr;

use adit_audit::{
    Numbered, Outcome, PushOutcome, Record, RequestOutcome, Text, TunnelEvent, read_line,
};
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
    /// Requests of this caller; of tunnels, the SPIFFE ID of the agent
    #[arg(long, value_name = "NAME")]
    caller: Option<String>,
    /// Requests for this system: HOST:PORT, or HOST for all its ports
    #[arg(long, value_name = "SYSTEM")]
    system: Option<String>,
    /// Decisions that went like this; at a gateway, what was passed on or admitted, and what was refused
    #[arg(long, value_name = "OUTCOME", value_parser = ["allowed", "denied"])]
    outcome: Option<String>,
    /// The request of this id
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
            Record::Decision(decision) => self.takes_asked(&Asked {
                caller: Some(&decision.caller),
                system: Some(&decision.system),
                outcome: match decision.outcome {
                    Outcome::Allowed { .. } => "allowed",
                    Outcome::Denied { .. } => "denied",
                },
                request: Some(&decision.request),
            }),
            Record::Request(request) => self.takes_asked(&Asked {
                caller: request.caller.as_ref(),
                system: request.system.as_ref(),
                outcome: match request.outcome {
                    RequestOutcome::Passed { .. } => "allowed",
                    RequestOutcome::Refused { .. } | RequestOutcome::RefusedByAgent { .. } => {
                        "denied"
                    }
                    RequestOutcome::BrokenOff => "",
                },
                request: Some(&request.request),
            }),
            Record::Tunnel(tunnel) => self.takes_asked(&Asked {
                caller: tunnel.identity.as_ref(),
                system: None,
                outcome: match tunnel.event {
                    TunnelEvent::Up => "allowed",
                    TunnelEvent::Refused { .. } => "denied",
                    TunnelEvent::Ended { .. } => "",
                },
                request: None,
            }),
            // Nobody asked for them.
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

    fn takes_asked(&self, asked: &Asked<'_>) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        let system = asked.system.map_or("", Text::as_str);
        let host = system.rsplit_once(':').map_or(system, |(host, _)| host);
        is(&self.caller, asked.caller.map_or("", Text::as_str))
            && (is(&self.system, system) || is(&self.system, host))
            && is(&self.outcome, asked.outcome)
            && is(&self.request_id, asked.request.map_or("", Text::as_str))
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

// What a filter looks at, of any record of something that somebody asked for.
struct Asked<'r> {
    caller: Option<&'r Text<'r>>,
    system: Option<&'r Text<'r>>,
    outcome: &'static str,
    request: Option<&'r Text<'r>>,
}

/// Names of what [`cells`] gives.
pub(crate) const COLUMNS: [&str; 15] = [
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
    "from",
    "location",
    "agent",
];

/// A record as cells of a row; empty where it tells nothing.
pub(crate) fn cells(numbered: &Numbered<'_>) -> [String; 15] {
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
        from,
        location,
        agent,
    ] = &mut row;
    *sequence = numbered.sequence.to_string();
    *time = time_of(numbered.record.unix_ms());
    *record = kind.to_owned();
    let text = |text: &Option<Text<'_>>| text.as_ref().map(ToString::to_string).unwrap_or_default();
    match &numbered.record {
        Record::Decision(decision) => {
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
        Record::Request(request) => {
            (*outcome, *reason) = match &request.outcome {
                RequestOutcome::Passed { status } => (
                    "passed".to_owned(),
                    status.map(|status| status.to_string()).unwrap_or_default(),
                ),
                RequestOutcome::Refused { reason } => ("refused".to_owned(), reason.to_string()),
                RequestOutcome::RefusedByAgent { reason } => {
                    ("refused by agent".to_owned(), reason.to_string())
                }
                RequestOutcome::BrokenOff => ("broken off".to_owned(), String::new()),
            };
            *subaccount = text(&request.subaccount);
            *caller = text(&request.caller);
            *system = text(&request.system);
            *method = text(&request.method);
            *path = text(&request.path);
            *id = request.request.to_string();
            *from = request.from.to_string();
            *location = text(&request.location);
            *agent = text(&request.agent);
        }
        Record::Tunnel(tunnel) => {
            (*outcome, *reason) = match &tunnel.event {
                TunnelEvent::Up => ("up".to_owned(), String::new()),
                TunnelEvent::Ended { how } => ("ended".to_owned(), how.to_string()),
                TunnelEvent::Refused { reason, words } => {
                    ("refused".to_owned(), format!("{reason}: {words}"))
                }
            };
            *caller = text(&tunnel.identity);
            *from = tunnel.from.to_string();
            *location = text(&tunnel.location);
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
        Record::Request(_) => "request",
        Record::Tunnel(_) => "tunnel",
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
mod tests;
