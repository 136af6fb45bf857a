//! Recorded decisions put together: what is different about them, how often it was, and when last. Bounded.
//!
//! A node makes such a summary of its own records, and a control plane one of those of several nodes. Which records are
//! read, and from where, is the caller's knowledge; what rules would say to them is judged elsewhere.
use core::cmp::Reverse;
use core::fmt;
use core::str::FromStr;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::limits::TEXT_BYTES_MAX;
use crate::record::{Decision, Outcome};
use crate::sink::Level;

/// Which records are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "who asks fills in all of it")]
pub struct Wanted {
    /// Of callers of this subaccount.
    pub subaccount: String,
    /// Made then or later, in milliseconds of Unix time.
    pub since_unix_ms: u64,
    /// Where an answer before this one ended.
    pub after: Option<Cursor>,
}

/// A place in the records of a node, between two lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a place is a file and an offset")]
pub struct Cursor {
    /// The number of the segment.
    pub segment: u64,
    /// Bytes of it that were read.
    pub offset: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.segment, self.offset)
    }
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse().ok()).flatten()
        };
        let place = text
            .split_once('-')
            .and_then(|(segment, offset)| number(segment).zip(number(offset)));
        let (segment, offset) = place.ok_or("write it as the answer before gave it as `next`")?;
        Ok(Self { segment, offset })
    }
}

/// What a node tells of its records: a part of them, and where the next part begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Traffic {
    /// Which decisions the node records now.
    pub level: Level,
    /// When the first record was made that it still has, in milliseconds of Unix time; none where there is none.
    pub first_unix_ms: Option<u64>,
    /// The requests that are told each by itself, the most frequent first.
    pub requests: Vec<Seen>,
    /// Further grants, of which only this is told.
    pub rules: Vec<SeenRule>,
    /// Grants that are counted here and told nowhere.
    pub more_granted: u64,
    /// Denials that are counted here and told nowhere.
    pub more_denied: u64,
    /// Records that say of themselves that they were lost.
    pub lost: u64,
    /// Lines in which there is no record.
    pub unreadable: u64,
    /// What to ask for next, as a [`Cursor`]; none when this was the last part.
    pub next: Option<String>,
}

impl Traffic {
    /// Reads what a node told. Its texts are as short as those of records: who holds many of them relies on that.
    ///
    /// # Errors
    /// It is not what a node tells.
    pub fn read(json: &[u8]) -> Result<Self, &'static str> {
        let read = serde_json::from_slice::<Self>(json).ok();
        read.filter(Self::is_sound).ok_or("is not understood")
    }

    fn is_sound(&self) -> bool {
        let is_short = |text: &String| text.len() <= TEXT_BYTES_MAX + CUT_NOTE_BYTES;
        let all_short = |texts: [&String; 3], more: [Option<&String>; 2]| {
            texts
                .into_iter()
                .chain(more.into_iter().flatten())
                .all(is_short)
        };
        self.requests.iter().map(|seen| &seen.asked).all(|asked| {
            let texts = [&asked.caller, &asked.system, &asked.ground];
            all_short(texts, [asked.method.as_ref(), asked.path.as_ref()])
        }) && self.rules.iter().all(|seen| {
            all_short(
                [&seen.system, &seen.rule, &seen.rule],
                [seen.method.as_ref(), None],
            )
        })
    }
}

/// A request as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Asked {
    /// Who asked.
    pub caller: String,
    /// Virtual host and port.
    pub system: String,
    /// With which method; none for opaque streams.
    pub method: Option<String>,
    /// The path as its record tells it; none for opaque streams.
    pub path: Option<String>,
    /// Whether it asked to change the protocol, and its record tells so.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub upgrade: bool,
    /// Whether it was granted.
    pub granted: bool,
    /// The rule that granted, or the reason to deny.
    pub ground: String,
}

/// A request, how often, and when last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Seen {
    /// The request.
    #[serde(flatten)]
    pub asked: Asked,
    /// How often.
    pub count: u64,
    /// When last, in milliseconds of Unix time.
    pub last_unix_ms: u64,
}

/// Grants of one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct SeenRule {
    /// Virtual host and port.
    pub system: String,
    /// With which method; none for opaque streams.
    pub method: Option<String>,
    /// The rule that granted.
    pub rule: String,
    /// How often.
    pub count: u64,
}

/// Puts decisions together.
#[derive(Debug)]
pub struct Tally {
    requests_max: usize,
    rules_max: usize,
    requests: HashMap<Asked, (u64, u64)>,
    rules: HashMap<(String, Option<String>, String), u64>,
    more_granted: u64,
    more_denied: u64,
}

impl Tally {
    /// Holds so many requests, and beyond them so many rules.
    #[must_use]
    pub fn new(requests_max: usize, rules_max: usize) -> Self {
        Self {
            requests_max,
            rules_max,
            requests: HashMap::new(),
            rules: HashMap::new(),
            more_granted: 0,
            more_denied: 0,
        }
    }

    /// Takes a record in.
    pub fn decision(&mut self, decision: &Decision<'_>) {
        let (granted, ground) = match &decision.outcome {
            Outcome::Allowed { rule } => (true, rule),
            Outcome::Denied { reason } => (false, reason),
        };
        let asked = Asked {
            caller: decision.caller.as_str().to_owned(),
            system: decision.system.as_str().to_owned(),
            method: decision.method.as_ref().map(ToString::to_string),
            path: decision.path.as_ref().map(ToString::to_string),
            upgrade: decision.upgrade,
            granted,
            ground: ground.as_str().to_owned(),
        };
        self.seen(Seen {
            asked,
            count: 1,
            last_unix_ms: decision.unix_ms,
        });
    }

    /// Takes in what somebody else put together.
    pub fn seen(&mut self, seen: Seen) {
        let has_room = self.requests.len() < self.requests_max;
        if let Some((count, last)) = self.requests.get_mut(&seen.asked) {
            *count = count.saturating_add(seen.count);
            *last = (*last).max(seen.last_unix_ms);
        } else if has_room {
            self.requests
                .insert(seen.asked, (seen.count, seen.last_unix_ms));
        } else {
            self.fold(seen.asked, seen.count);
        }
    }

    /// Takes in grants of which only the rule is known.
    pub fn rule(&mut self, seen: SeenRule) {
        let key = (seen.system, seen.method, seen.rule);
        let has_room = self.rules.len() < self.rules_max;
        if let Some(count) = self.rules.get_mut(&key) {
            *count = count.saturating_add(seen.count);
        } else if has_room {
            self.rules.insert(key, seen.count);
        } else {
            self.more(seen.count, 0);
        }
    }

    /// Takes in decisions of which only their number is known.
    pub fn more(&mut self, granted: u64, denied: u64) {
        self.more_granted = self.more_granted.saturating_add(granted);
        self.more_denied = self.more_denied.saturating_add(denied);
    }

    /// What was taken in, in at most `bytes_max` bytes of JSON: the most frequent requests; of the others their rules;
    /// and of what is left the number. Everything but that is left empty.
    #[must_use]
    pub fn finish(mut self, level: Level, bytes_max: usize) -> Traffic {
        let mut all: Vec<Seen> = self
            .requests
            .drain()
            .map(|(asked, (count, last_unix_ms))| Seen {
                asked,
                count,
                last_unix_ms,
            })
            .collect();
        all.sort_by(|a, b| (Reverse(a.count), &a.asked).cmp(&(Reverse(b.count), &b.asked)));
        // Rules are few, and each stands for many requests: a quarter is kept for them.
        let mut room = bytes_max.saturating_sub(ENVELOPE_BYTES);
        let for_rules = room / 4;
        room -= for_rules;
        let mut requests = Vec::new();
        for seen in all {
            match room.checked_sub(written(&seen)) {
                Some(left) => {
                    room = left;
                    requests.push(seen);
                }
                None => self.fold(seen.asked, seen.count),
            }
        }
        room += for_rules;
        let mut all: Vec<SeenRule> = self
            .rules
            .drain()
            .map(|((system, method, rule), count)| SeenRule {
                system,
                method,
                rule,
                count,
            })
            .collect();
        let order = |seen: &SeenRule| (seen.system.clone(), seen.rule.clone(), seen.method.clone());
        all.sort_by_cached_key(|seen| (Reverse(seen.count), order(seen)));
        let mut rules = Vec::new();
        for seen in all {
            match room.checked_sub(written(&seen)) {
                Some(left) => {
                    room = left;
                    rules.push(seen);
                }
                None => self.more(seen.count, 0),
            }
        }
        Traffic {
            level,
            first_unix_ms: None,
            requests,
            rules,
            more_granted: self.more_granted,
            more_denied: self.more_denied,
            lost: 0,
            unreadable: 0,
            next: None,
        }
    }

    fn fold(&mut self, asked: Asked, count: u64) {
        if asked.granted {
            self.rule(SeenRule {
                system: asked.system,
                method: asked.method,
                rule: asked.ground,
                count,
            });
        } else {
            self.more(0, count);
        }
    }
}

/// Bytes of JSON, with a comma.
fn written(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |bytes| bytes.len().saturating_add(1))
}

/// Bytes of the note that a text was cut.
const CUT_NOTE_BYTES: usize = 64;

/// Bytes of what stands around the lists: nine names, seven numbers.
const ENVELOPE_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Text;
    use crate::limits::{TRAFFIC_BYTES_MAX, TRAFFIC_REQUESTS_MAX, TRAFFIC_RULES_MAX};

    fn seen(path: &str, granted: bool, count: u64) -> Seen {
        Seen {
            asked: Asked {
                caller: "shop".to_owned(),
                system: "erp.virtual:80".to_owned(),
                method: Some("GET".to_owned()),
                path: Some(path.to_owned()),
                upgrade: false,
                granted,
                ground: if granted { "/" } else { "resource-denied" }.to_owned(),
            },
            count,
            last_unix_ms: count,
        }
    }

    #[test]
    fn the_same_request_is_told_once_with_how_often_and_when_last() {
        let mut tally = Tally::new(10, 10);
        for (path, unix_ms) in [("/a", 7), ("/b", 8), ("/a", 9), ("/a", 3)] {
            tally.decision(&Decision {
                unix_ms,
                request: Text::of("id"),
                subaccount: Text::of("acme"),
                caller: Text::of("shop"),
                system: Text::of("erp.virtual:80"),
                method: Some(Text::of("GET")),
                path: Some(Text::of(path)),
                upgrade: false,
                outcome: Outcome::Allowed {
                    rule: Text::of("/"),
                },
                version: 1,
            });
        }
        let traffic = tally.finish(Level::All, 10_000);
        let told: Vec<_> = traffic
            .requests
            .iter()
            .map(|seen| (seen.asked.path.as_deref(), seen.count, seen.last_unix_ms))
            .collect();
        assert_eq!(told, [(Some("/a"), 3, 9), (Some("/b"), 1, 8)]);
        let json = serde_json::to_string(&traffic).unwrap();
        assert_eq!(Traffic::read(json.as_bytes()), Ok(traffic));
    }

    #[test]
    fn as_many_requests_as_the_limit_are_held_and_one_more_is_told_by_its_rule_or_counted() {
        let mut tally = Tally::new(TRAFFIC_REQUESTS_MAX, TRAFFIC_RULES_MAX);
        for at in 0..TRAFFIC_REQUESTS_MAX {
            tally.seen(seen(&format!("/{at}"), true, 1));
        }
        assert_eq!(
            (tally.requests.len(), tally.rules.len()),
            (TRAFFIC_REQUESTS_MAX, 0)
        );
        tally.seen(seen("/further", true, 3));
        tally.seen(seen("/further", false, 2));
        assert_eq!(
            (tally.requests.len(), tally.rules.len()),
            (TRAFFIC_REQUESTS_MAX, 1)
        );
        assert_eq!((tally.more_granted, tally.more_denied), (0, 2));
        for at in 1..TRAFFIC_RULES_MAX {
            let mut other = seen("/further", true, 1);
            other.asked.ground = format!("/rule{at}");
            tally.seen(other);
        }
        assert_eq!(
            (tally.rules.len(), tally.more_granted),
            (TRAFFIC_RULES_MAX, 0)
        );
        let mut other = seen("/further", true, 5);
        other.asked.ground = "/one/more".to_owned();
        tally.seen(other);
        assert_eq!(
            (tally.rules.len(), tally.more_granted),
            (TRAFFIC_RULES_MAX, 5)
        );
    }

    #[test]
    fn an_answer_has_so_many_bytes_also_as_a_text_of_another_and_no_decision_is_forgotten() {
        let mut tally = Tally::new(TRAFFIC_REQUESTS_MAX, TRAFFIC_RULES_MAX);
        // Every byte of these doubles twice.
        let long = "\\".repeat(1000);
        let all = 2 * TRAFFIC_RULES_MAX;
        for at in 0..all {
            let mut one = seen(&format!("/{at}{long}"), at % 3 > 0, 2);
            one.asked.ground = format!("/{long}{at}");
            tally.seen(one);
        }
        let traffic = tally.finish(Level::All, TRAFFIC_BYTES_MAX);
        let json = serde_json::to_string(&traffic).unwrap();
        assert!(json.len() <= TRAFFIC_BYTES_MAX, "{}", json.len());
        assert!(json.len() > TRAFFIC_BYTES_MAX - 20_000, "{}", json.len());
        let within = serde_json::to_string(&json).unwrap();
        assert!(within.len() < 1024 * 1024 - 1024, "{}", within.len());
        let told: u64 = traffic.requests.iter().map(|seen| seen.count).sum();
        let by_rule: u64 = traffic.rules.iter().map(|seen| seen.count).sum();
        assert!(told > 0 && by_rule > 0 && traffic.more_granted > 0 && traffic.more_denied > 0);
        let counted = told + by_rule + traffic.more_granted + traffic.more_denied;
        assert_eq!(counted, 2 * u64::try_from(all).unwrap());
    }

    #[test]
    fn texts_are_as_short_as_records_have_them_or_the_answer_is_not_taken() {
        let longest = "a".repeat(TEXT_BYTES_MAX + CUT_NOTE_BYTES);
        for (text, is_sound) in [(longest.clone(), true), (format!("{longest}a"), false)] {
            let mut tally = Tally::new(2, 2);
            tally.seen(seen(&text, true, 1));
            let traffic = tally.finish(Level::All, 10_000);
            assert_eq!(traffic.requests.len(), 1);
            let json = serde_json::to_vec(&traffic).unwrap();
            assert_eq!(Traffic::read(&json).is_ok(), is_sound);
            let mut tally = Tally::new(0, 2);
            let mut one = seen("/", true, 1);
            one.asked.ground = text;
            tally.seen(one);
            let traffic = tally.finish(Level::All, 10_000);
            assert_eq!((traffic.rules.len(), traffic.is_sound()), (1, is_sound));
        }
    }

    #[test]
    fn a_place_reads_back_and_nothing_else_is_one() {
        let place = Cursor {
            segment: 7,
            offset: 1234,
        };
        assert_eq!(place.to_string().parse(), Ok(place));
        for text in [
            "",
            "7",
            "7-",
            "-7",
            "+7-1",
            "7-1-2",
            "99999999999999999999-1",
        ] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
