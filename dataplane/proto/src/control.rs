//! What a node and its control plane say to each other.
//!
//! A node dials, over TLS 1.3 and HTTP/2, and asks; the control plane never dials. All requests are `POST` with a JSON
//! body under [`ENROL`], [`RENEW`] and [`SUBSCRIPTIONS`]. The answer to a [`Hello`] does not end: it is a row of events,
//! each a kind, a length and a payload:
//!
//! ```text
//! [kind: 1 byte] [length: 4 bytes, big-endian] [payload]
//! ```
//!
//! What a document in a push means, and whether its signature counts, is left to `manifest` and the node's intake.

use alloc::string::String;
use alloc::vec::Vec;

use crate::connect::RequestId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::limits::{CONTROL_BYTES_MAX, PUSH_BYTES_MAX};
use crate::wire::DecodeError;

/// Where a node that has an invitation gets its first certificate: [`Enrol`] for [`Enrolled`].
pub const ENROL: &str = "/node/v1/enrol";

/// Where a node changes its certificate for a newer one: [`Renew`] for [`Enrolled`].
pub const RENEW: &str = "/node/v1/renew";

/// Where a node subscribes: [`Hello`] for events. Below it, `/{subscription}/ack`, `/{subscription}/nack`, `/{subscription}/beat` and
/// `/{subscription}/answers/{ask}` take [`Ack`], [`Nack`], [`Beat`] and [`Answer`], and answer 204; 404 when there is no such
/// subscription any more.
pub const SUBSCRIPTIONS: &str = "/node/v1/subscriptions";

/// The newest version of these messages that this code speaks.
pub const FORMAT: u16 = 1;

/// The oldest version it still speaks.
pub const FORMAT_OLDEST: u16 = 1;

/// The newest version that this code and a peer that speaks `theirs` and older ones have in common.
#[must_use]
pub const fn common_format(theirs: u16) -> Option<u16> {
    if theirs < FORMAT_OLDEST {
        None
    } else if theirs < FORMAT {
        Some(theirs)
    } else {
        Some(FORMAT)
    }
}

/// A feature: beats say what a person should look at ([`Beat::problems`]).
pub const PROBLEMS: &str = "problems";

/// What this code can do beyond [`FORMAT`], a word each.
pub const FEATURES: &[&str] = &[PROBLEMS];

/// Those of [`FEATURES`] that a peer with `theirs` has too; what we do not know is ignored.
#[must_use]
pub fn common_features(theirs: &[String]) -> Vec<String> {
    let known = FEATURES.iter().filter(|ours| has_feature(theirs, ours));
    known.map(|&feature| String::from(feature)).collect()
}

/// Whether `feature` is among `theirs`.
#[must_use]
pub fn has_feature(theirs: &[String], feature: &str) -> bool {
    theirs.iter().any(|known| known == feature)
}

/// The first of `needed` that is not among `theirs`.
#[must_use]
pub fn missing_feature<'a>(needed: &[&'a str], theirs: &[String]) -> Option<&'a str> {
    let missing = |feature: &&&str| !has_feature(theirs, feature);
    needed.iter().find(missing).copied()
}

/// Seconds between two events, at most: a control plane that has nothing to say sends [`Event::Beat`]. A node that has
/// heard nothing for three times as long looks for another connection.
pub const BEAT_SECONDS: u64 = 3;

/// Bytes in front of an event's payload.
pub const EVENT_HEAD_BYTES: usize = 5;

/// What a node says to become one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a message: both ends write all of it"
)]
pub struct Enrol {
    /// The invitation's secret. Works once.
    pub token: String,
    /// A certificate signing request, PEM (RFC 2986). Its names are not looked at: the invitation says who this is.
    pub csr: String,
    /// Name and version of the program, for people.
    pub software: String,
}

/// What a node says to get a newer certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a message: both ends write all of it"
)]
pub struct Renew {
    /// A certificate signing request, PEM, best with a new key.
    pub csr: String,
    /// Where the connection has no client certificate, because it has expired: what proves who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired: Option<Expired>,
}

/// The proof of a node whose certificate has expired. Whether it counts is the control plane's policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a message: both ends write all of it"
)]
pub struct Expired {
    /// The certificate that has expired, PEM.
    pub certificate: String,
    /// A signature by its key (ECDSA P-256 with SHA-256, ASN.1, base64) over [`Expired::signed`] of the request.
    pub signature: String,
}

impl Expired {
    /// What the old key signs: a fixed text and the request, so that the signature is good for nothing else.
    #[must_use]
    pub fn signed(csr: &str) -> Vec<u8> {
        let mut bytes = b"adit renew after expiry 1\n".to_vec();
        bytes.extend_from_slice(csr.as_bytes());
        bytes
    }
}

/// A node's new certificate and what else it needs to be one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a message: both ends write all of it"
)]
pub struct Enrolled {
    /// Its certificate, PEM, leaf first.
    pub certificate: String,
    /// The location it serves; empty is the default one, and a gateway's.
    pub location: String,
    /// When to ask for the next certificate, in seconds since 1970: at half of its life.
    pub renew_unix_s: u64,
    /// Whom to trust.
    pub trust: Trust,
}

/// Whom a node trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a message: both ends write all of it"
)]
pub struct Trust {
    /// Grows with every change; an older one is not taken.
    pub version: u64,
    /// The roots, PEM. More than one while the authority rolls over.
    pub roots: String,
    /// The public keys of who signs rules, PEM.
    pub signing_keys: String,
    /// Certificates that no longer count: serial numbers in lower-case hexadecimal without leading zeros, sorted.
    pub revoked: Vec<String>,
}

/// What a node says first when it subscribes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a message: both ends write all of it"
)]
pub struct Hello {
    /// The newest [`FORMAT`] it speaks.
    pub format: u16,
    /// Name and version of the program, for people.
    pub software: String,
    /// Drawn anew at each start: 32 hexadecimal digits. Tells two processes with one certificate apart.
    pub instance: String,
    /// The location it serves. A control plane that knows another one for this node says no.
    pub location: String,
    /// What it has in force; none for a gateway and before the first push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force: Option<InForce>,
    /// The version of the [`Trust`] it has.
    pub trust: u64,
    /// Its [`FEATURES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
}

/// Rules that a node has in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a message: both ends write all of it"
)]
pub struct InForce {
    /// The signer's epoch; none for rules that came unsigned over the admin socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Their version.
    pub version: u64,
    /// SHA-256 of their text, 64 hexadecimal digits.
    pub sha256: String,
}

/// The first event of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a message: both ends write all of it"
)]
pub struct Welcome {
    /// Names the subscription in later requests.
    pub subscription: String,
    /// Which server of the control plane this is, for people.
    pub server: String,
    /// The [`FORMAT`] that both will speak.
    #[serde(default = "first_format")]
    pub format: u16,
    /// The [`FEATURES`] that both will use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
}

/// Rules are in force on all shards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a message: both ends write all of it"
)]
pub struct Ack {
    /// What is in force now.
    pub in_force: InForce,
    /// Exposed systems.
    pub systems: u64,
    /// Their resources.
    pub resources: u64,
}

/// Rules were refused, and changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a message: both ends write all of it"
)]
pub struct Nack {
    /// SHA-256 of the document that was refused, 64 hexadecimal digits.
    pub document_sha256: String,
    /// The reason, as a word.
    pub why: String,
    /// What is wrong, a line each; the first 100.
    pub problems: Vec<String>,
}

/// What a node says of itself, every [`BEAT_SECONDS`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a message: both ends write all of it"
)]
pub struct Beat {
    /// Whether it would take work; if not, why, a line each.
    pub not_ready: Vec<String>,
    /// Tunnels that are up.
    pub tunnels: u64,
    /// Streams that are open.
    pub streams: u64,
    /// When its certificate ends, in seconds since 1970.
    pub certificate_until_unix_s: u64,
    /// What a person should look at although it works, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// A question to a node: a request as its admin endpoint takes it, of the paths a node lets its control plane ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a message: both ends write all of it"
)]
pub struct Ask {
    /// Names the question in the answer.
    pub ask: String,
    /// `GET` or `POST`.
    pub method: String,
    /// `/status`, `/explain`, `/why`, ...
    pub path: String,
    /// What would follow the `?`.
    #[serde(default)]
    pub query: String,
    /// The body.
    #[serde(default)]
    pub body: String,
}

/// The request that a question for `/why` means.
///
/// # Errors
/// What should have been asked.
pub fn why_of(query: &str) -> Result<RequestId, &'static str> {
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix("id="))
        .and_then(|id| id.parse().ok())
        .ok_or("ask with ?id=<request id>, 32 hexadecimal digits")
}

/// What a node answers to an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a message: both ends write all of it"
)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// The last event of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a message: both ends write all of it"
)]
pub struct Goodbye {
    /// For the log.
    pub why: String,
    /// Whether coming back can help: it cannot for a revoked node or one whose identity is used elsewhere.
    pub come_back: bool,
}

/// What a control plane tells a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "closed: unknown kinds are passed over when they are read"
)]
pub enum Event {
    /// Kind 1: the subscription has begun.
    Welcome(Welcome),
    /// Kind 2: rules to put in force, as `manifest` writes them.
    Push(Vec<u8>),
    /// Kind 3: whom to trust from now on.
    Trust(Trust),
    /// Kind 4: something to answer.
    Ask(Ask),
    /// Kind 5: nothing; the line is alive.
    Beat,
    /// Kind 6: the subscription ends.
    Goodbye(Goodbye),
}

impl Event {
    /// Appends the event to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Welcome(welcome) => put_json(out, WELCOME, welcome),
            Self::Push(document) => put(out, PUSH, document),
            Self::Trust(trust) => put_json(out, TRUST, trust),
            Self::Ask(ask) => put_json(out, ASK, ask),
            Self::Beat => put(out, BEAT, &[]),
            Self::Goodbye(goodbye) => put_json(out, GOODBYE, goodbye),
        }
    }

    /// Reads one event off the front of `input`: the event and how many bytes it took, or none while it is not wholly
    /// there. Kinds this code does not know come as `None` with their bytes.
    ///
    /// # Errors
    /// The bytes can never become an event, however many follow.
    pub fn decode(input: &[u8]) -> Result<Option<(Option<Self>, usize)>, DecodeError> {
        let Some((&[kind, ref length @ ..], rest)) = input.split_first_chunk::<EVENT_HEAD_BYTES>()
        else {
            return Ok(None);
        };
        let announced = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let limit = if kind == PUSH {
            PUSH_BYTES_MAX
        } else {
            CONTROL_BYTES_MAX
        };
        if announced > limit {
            return Err(DecodeError::TooLarge { announced, limit });
        }
        let Some(payload) = rest.get(..announced) else {
            return Ok(None);
        };
        let event = match kind {
            WELCOME => Some(Self::Welcome(read_json(payload, "welcome")?)),
            PUSH => Some(Self::Push(payload.to_vec())),
            TRUST => Some(Self::Trust(read_json(payload, "trust")?)),
            ASK => Some(Self::Ask(read_json(payload, "question")?)),
            BEAT => Some(Self::Beat),
            GOODBYE => Some(Self::Goodbye(read_json(payload, "goodbye")?)),
            _ => None,
        };
        Ok(Some((event, EVENT_HEAD_BYTES + announced)))
    }
}

/// The bytes of a message.
#[must_use]
pub fn to_json<T: Serialize>(message: &T) -> Vec<u8> {
    // Texts, numbers and lists: there is nothing JSON cannot say.
    serde_json::to_vec(message).unwrap_or_default()
}

/// Reads a message; `part` is its name in the error.
///
/// # Errors
/// It is longer than [`CONTROL_BYTES_MAX`] or not such a message.
pub fn read_json<T: DeserializeOwned>(bytes: &[u8], part: &'static str) -> Result<T, DecodeError> {
    if bytes.len() > CONTROL_BYTES_MAX {
        return Err(DecodeError::TooLarge {
            announced: bytes.len(),
            limit: CONTROL_BYTES_MAX,
        });
    }
    // What serde says would repeat the peer's words.
    serde_json::from_slice(bytes).map_err(|_error| DecodeError::Malformed { part })
}

impl core::fmt::Debug for Enrol {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Enrol")
            .field("software", &self.software)
            .finish_non_exhaustive()
    }
}

// What spoke no other said none.
fn first_format() -> u16 {
    1
}

fn put_json<T: Serialize>(out: &mut Vec<u8>, kind: u8, message: &T) {
    put(out, kind, &to_json(message));
}

fn put(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.push(kind);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(payload);
}

const WELCOME: u8 = 1;
const PUSH: u8 = 2;
const TRUST: u8 = 3;
const ASK: u8 = 4;
const BEAT: u8 = 5;
const GOODBYE: u8 = 6;

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;
    use alloc::vec;

    use super::*;

    fn events() -> Vec<Event> {
        vec![
            Event::Welcome(Welcome {
                subscription: "s1".to_owned(),
                server: "cp-1".to_owned(),
                format: FORMAT,
                features: common_features(&[PROBLEMS.to_owned()]),
            }),
            Event::Push(b"adit-manifest 1\n".to_vec()),
            Event::Trust(Trust {
                version: 3,
                revoked: vec!["0a".to_owned()],
                ..Trust::default()
            }),
            Event::Ask(Ask {
                ask: "q".to_owned(),
                method: "GET".to_owned(),
                path: "/status".to_owned(),
                query: String::new(),
                body: String::new(),
            }),
            Event::Beat,
            Event::Goodbye(Goodbye {
                why: "restart".to_owned(),
                come_back: true,
            }),
        ]
    }

    #[test]
    fn events_read_back_as_themselves_wherever_they_are_cut() {
        let mut bytes = Vec::new();
        events().iter().for_each(|event| event.encode(&mut bytes));
        let mut rest = &bytes[..];
        for event in events() {
            let (read, took) = Event::decode(rest).unwrap().unwrap();
            assert_eq!(read, Some(event));
            for cut in 0..took {
                assert_eq!(Event::decode(&rest[..cut]).unwrap(), None, "cut at {cut}");
            }
            rest = &rest[took..];
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn an_unknown_kind_is_passed_over() {
        let bytes = [9, 0, 0, 0, 2, b'x', b'y', 5, 0, 0, 0, 0];
        assert_eq!(Event::decode(&bytes).unwrap(), Some((None, 7)));
        assert_eq!(
            Event::decode(&bytes[7..]).unwrap(),
            Some((Some(Event::Beat), 5))
        );
    }

    #[test]
    fn push_bytes_max_may_be_announced_and_one_more_may_not() {
        let head = |kind: u8, length: usize| {
            let mut head = vec![kind];
            head.extend_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
            head
        };
        assert_eq!(Event::decode(&head(PUSH, PUSH_BYTES_MAX)), Ok(None));
        assert!(Event::decode(&head(PUSH, PUSH_BYTES_MAX + 1)).is_err());
        assert_eq!(Event::decode(&head(ASK, CONTROL_BYTES_MAX)), Ok(None));
        assert!(Event::decode(&head(ASK, CONTROL_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn a_message_of_control_bytes_max_is_read_and_one_byte_more_is_not() {
        let padded = |length: usize| {
            let mut text = br#"{"status":200,"body":"ok"}"#.to_vec();
            text.resize(length, b' ');
            text
        };
        assert!(read_json::<Answer>(&padded(CONTROL_BYTES_MAX), "answer").is_ok());
        assert!(read_json::<Answer>(&padded(CONTROL_BYTES_MAX + 1), "answer").is_err());
    }

    #[test]
    fn what_is_no_message_is_malformed_and_unknown_members_are_passed_over() {
        assert_eq!(
            read_json::<Answer>(b"{\"status\":200}", "answer"),
            Err(DecodeError::Malformed { part: "answer" })
        );
        let later = br#"{"status":200,"body":"","later":1}"#;
        assert!(read_json::<Answer>(later, "answer").is_ok());
        let mut bytes = Vec::new();
        put(&mut bytes, WELCOME, b"{}");
        assert!(Event::decode(&bytes).is_err());
    }

    #[test]
    fn r15_a_peer_is_met_in_the_newest_format_that_both_speak() {
        assert_eq!(common_format(FORMAT_OLDEST - 1), None);
        assert_eq!(common_format(FORMAT_OLDEST), Some(FORMAT_OLDEST));
        assert_eq!(common_format(FORMAT), Some(FORMAT));
        assert_eq!(common_format(FORMAT + 1), Some(FORMAT));
    }

    #[test]
    fn r15_features_are_those_of_both_and_one_that_is_needed_and_missing_is_named() {
        let theirs = ["later", PROBLEMS].map(str::to_owned);
        assert_eq!(common_features(&theirs), [PROBLEMS]);
        assert_eq!(common_features(&theirs[..1]), Vec::<String>::new());
        assert_eq!(missing_feature(&[PROBLEMS, "later"], &theirs), None);
        assert_eq!(
            missing_feature(&[PROBLEMS, "latest"], &theirs),
            Some("latest")
        );
        assert_eq!(missing_feature(&[], &[]), None);
    }

    #[test]
    fn an_invitation_is_not_shown() {
        let enrol = Enrol {
            token: "hunter2".to_owned(),
            csr: "pem".to_owned(),
            software: "aditd".to_owned(),
        };
        let shown = alloc::format!("{enrol:?}");
        assert!(
            !shown.contains("hunter2") && shown.contains("aditd"),
            "{shown}"
        );
    }
}
