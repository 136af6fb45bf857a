//! Log records of OTLP in JSON, and what an answer to them means (OTLP 1, "OTLP/HTTP").
//!
//! Quiet: values in, bytes and verdicts out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits::RETRY_AFTER_MAX;
use crate::place::{Gap, Item, Lines, Severity};
use crate::status::{Who, clean};
use crate::syslog::gap_text;

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: taken, later, never")]
pub enum Verdict {
    /// The records are taken, but for some that were refused for good.
    Taken {
        /// How many.
        rejected: u64,
        /// Why.
        words: String,
    },
    /// Try again, not before the time it names.
    Later {
        /// How long.
        wait: Option<Duration>,
        /// Why.
        words: String,
    },
    /// These records will not be taken at another time either.
    Never {
        /// Why.
        words: String,
    },
}

/// The verdict of a status, its Retry-After and its body.
#[must_use]
pub fn verdict(status: u16, retry_after: Option<&[u8]>, body: &[u8]) -> Verdict {
    match status {
        200..=299 => {
            let answer: Answer = serde_json::from_slice(body).unwrap_or_default();
            let partial = answer.partial_success.unwrap_or_default();
            Verdict::Taken {
                rejected: partial.rejected.map_or(0, Number::get),
                words: clean(&partial.words),
            }
        }
        400 | 413 | 422 => Verdict::Never {
            words: said(status, body),
        },
        // The rest of the 4xx are answers to how we ask, not to what we bring: a person mends them.
        _ => Verdict::Later {
            wait: retry_after.and_then(wait),
            words: said(status, body),
        },
    }
}

/// The body of a request for these records of `lines`, a gap before them told first.
pub(crate) fn request(
    gap: Option<Gap>,
    lines: &Lines,
    items: &[Item],
    who: &Who,
    now_unix_ms: u64,
) -> Vec<u8> {
    let observed = nanos(now_unix_ms);
    let mut records = Vec::with_capacity(items.len() + 1);
    if let Some(gap) = gap {
        records.push(log(
            Severity::Warning,
            now_unix_ms,
            &observed,
            gap_text(gap),
            vec![
                text("adit.record", "not-sent"),
                text("adit.node", &who.node),
                int("adit.records", gap.records()),
            ],
        ));
    }
    for item in items {
        let line = String::from_utf8_lossy(lines.text(item)).into_owned();
        let attributes = vec![
            text("adit.record", item.kind),
            text("adit.node", &who.node),
            int("adit.sequence", item.sequence),
        ];
        records.push(log(
            item.severity,
            item.unix_ms,
            &observed,
            line,
            attributes,
        ));
    }
    let request = Request {
        resource_logs: [ResourceLogs {
            resource: Resource {
                attributes: vec![
                    text("service.name", "adit"),
                    text("service.instance.id", &who.node),
                    text("host.name", &who.host),
                ],
            },
            scope_logs: [ScopeLogs {
                scope: Scope {
                    name: "adit.audit",
                    version: &who.software,
                },
                log_records: records,
            }],
        }],
    };
    serde_json::to_vec(&request).expect("texts and numbers are written")
}

fn log(
    severity: Severity,
    unix_ms: u64,
    observed: &str,
    body: String,
    attributes: Vec<Attribute>,
) -> LogRecord {
    let (severity_number, severity_text) = severity.otlp();
    LogRecord {
        time_unix_nano: nanos(unix_ms),
        observed_time_unix_nano: observed.to_owned(),
        severity_number,
        severity_text,
        body: AnyValue::Text(body),
        attributes,
    }
}

// 64-bit numbers are decimal texts in the JSON form of protobuf.
fn nanos(unix_ms: u64) -> String {
    (u128::from(unix_ms) * 1_000_000).to_string()
}

fn text(key: &'static str, value: &str) -> Attribute {
    Attribute {
        key,
        value: AnyValue::Text(value.to_owned()),
    }
}

fn int(key: &'static str, value: u64) -> Attribute {
    Attribute {
        key,
        value: AnyValue::Int(value.to_string()),
    }
}

// Seconds only: the other form is a date, and clocks differ.
fn wait(field: &[u8]) -> Option<Duration> {
    let seconds = std::str::from_utf8(field).ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

fn said(status: u16, body: &[u8]) -> String {
    let refusal: Refusal = serde_json::from_slice(body).unwrap_or_default();
    let words = clean(&refusal.message);
    if words.is_empty() {
        format!("the collector answered {status}")
    } else {
        format!("the collector answered {status}: {words}")
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    resource_logs: [ResourceLogs<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceLogs<'a> {
    resource: Resource,
    scope_logs: [ScopeLogs<'a>; 1],
}

#[derive(Serialize)]
struct Resource {
    attributes: Vec<Attribute>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScopeLogs<'a> {
    scope: Scope<'a>,
    log_records: Vec<LogRecord>,
}

#[derive(Serialize)]
struct Scope<'a> {
    name: &'static str,
    version: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogRecord {
    time_unix_nano: String,
    observed_time_unix_nano: String,
    severity_number: u8,
    severity_text: &'static str,
    body: AnyValue,
    attributes: Vec<Attribute>,
}

#[derive(Serialize)]
struct Attribute {
    key: &'static str,
    value: AnyValue,
}

#[derive(Serialize)]
enum AnyValue {
    #[serde(rename = "stringValue")]
    Text(String),
    #[serde(rename = "intValue")]
    Int(String),
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Answer {
    partial_success: Option<Partial>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Partial {
    #[serde(rename = "rejectedLogRecords")]
    rejected: Option<Number>,
    #[serde(rename = "errorMessage")]
    words: String,
}

/// A 64-bit number: a text by the book, a number by many.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Text(String),
    Number(u64),
}

impl Number {
    fn get(self) -> u64 {
        match self {
            Self::Text(text) => text.parse().unwrap_or(0),
            Self::Number(number) => number,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    message: String,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::place::Place;
    use crate::test_world::{chain, who};

    #[test]
    fn a_request_carries_lines_with_times_severities_and_numbers() {
        let all = chain(4, 0);
        let mut first = Lines::behind(&Place::START, 4).unwrap();
        first.push(&all[0]).unwrap();
        let mut lines = Lines::behind(&first.end(), 4).unwrap();
        lines.push(&all[2]).unwrap();
        lines.push(&all[3]).unwrap();
        let body = request(lines.gap(), &lines, lines.items(), &who(), 5);
        let read: Value = serde_json::from_slice(&body).unwrap();
        let logs = &read["resourceLogs"][0];
        assert_eq!(
            logs["resource"]["attributes"][1]["value"]["stringValue"],
            "agent-1"
        );
        let records = &logs["scopeLogs"][0]["logRecords"];
        assert_eq!(
            records[0]["attributes"][0]["value"]["stringValue"],
            "not-sent"
        );
        assert_eq!(records[0]["timeUnixNano"], "5000000");
        assert_eq!(records[1]["timeUnixNano"], "1700000000002000000");
        assert_eq!(
            (&records[1]["severityNumber"], &records[1]["severityText"]),
            (&json!(10), &json!("INFO2"))
        );
        let line = std::str::from_utf8(&all[2]).unwrap().trim_end();
        assert_eq!(records[1]["body"]["stringValue"], line);
        assert_eq!(
            records[1]["attributes"][2],
            json!({"key": "adit.sequence", "value": {"intValue": "3"}})
        );
        // The second half of a batch does not tell the gap again.
        let half = request(None, &lines, &lines.items()[1..], &who(), 5);
        assert!(!String::from_utf8(half).unwrap().contains("not-sent"));
    }

    #[test]
    fn answers_are_taken_later_or_never() {
        let taken = |rejected, words: &str| Verdict::Taken {
            rejected,
            words: words.to_owned(),
        };
        assert_eq!(verdict(200, None, b"{}"), taken(0, ""));
        assert_eq!(verdict(200, None, b"what"), taken(0, ""));
        let partial =
            br#"{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"too\u001b old"}}"#;
        assert_eq!(verdict(200, None, partial), taken(2, "too old"));
        assert_eq!(
            verdict(202, None, br#"{"partialSuccess":{"rejectedLogRecords":3}}"#),
            taken(3, "")
        );
        for status in [400, 413, 422] {
            assert!(matches!(verdict(status, None, b""), Verdict::Never { .. }));
        }
        for status in [301, 401, 403, 404, 429, 500, 502, 503, 504] {
            assert!(matches!(
                verdict(status, None, b""),
                Verdict::Later { wait: None, .. }
            ));
        }
        let Verdict::Later { words, .. } = verdict(503, None, br#"{"code":14,"message":"full"}"#)
        else {
            panic!("it is later");
        };
        assert_eq!(words, "the collector answered 503: full");
    }

    #[test]
    fn a_collector_may_ask_for_retry_after_max_and_no_more() {
        let asked = |field: &str| match verdict(503, Some(field.as_bytes()), b"") {
            Verdict::Later { wait, .. } => wait,
            Verdict::Taken { .. } | Verdict::Never { .. } => panic!("it is later"),
        };
        let most = RETRY_AFTER_MAX.as_secs();
        assert_eq!(
            asked(&(most - 1).to_string()),
            Some(Duration::from_secs(most - 1))
        );
        assert_eq!(asked(&most.to_string()), Some(RETRY_AFTER_MAX));
        assert_eq!(asked(&(most + 1).to_string()), Some(RETRY_AFTER_MAX));
        assert_eq!(asked("Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert_eq!(asked("-1"), None);
    }
}
