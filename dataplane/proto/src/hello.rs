//! The first words on a tunnel: the agent says who it is and what it can do, the gateway welcomes or rejects it.
//!
//! Both messages are a magic, a length and a body. Readers ignore what follows the fields they know inside the length,
//! so that later versions can add fields at the end. Whether the certificate grants what is said here is not judged here.

use alloc::string::String;
use alloc::vec::Vec;

use crate::Refusal;
use crate::limits::{DETAIL_BYTES_MAX, HELLO_BYTES_MAX, LOCATION_BYTES_MAX, NAME_BYTES_MAX};
use crate::location::check_location;
use crate::wire::{DecodeError, EncodeError, Reader, cut, put_text};

/// The newest version of the tunnel protocol this code speaks.
pub const VERSION: u16 = 1;

/// The oldest version it still speaks.
pub const VERSION_OLDEST: u16 = 1;

/// The newest version that this code and a peer that speaks `theirs` and older ones have in common.
#[must_use]
pub const fn common_version(theirs: u16) -> Option<u16> {
    if theirs < VERSION_OLDEST {
        None
    } else if theirs < VERSION {
        Some(theirs)
    } else {
        Some(VERSION)
    }
}

const HELLO_MAGIC: [u8; 4] = *b"ADH1";
const ANSWER_MAGIC: [u8; 4] = *b"ADA1";
const WELCOME: u8 = 0;
const REJECTED: u8 = 1;

/// What an agent says first on a new tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The newest version of the tunnel protocol the agent speaks.
    pub version: u16,
    /// What it can do beyond that version, one bit each; unknown bits are ignored.
    pub features: u64,
    /// The location it serves; empty is the default one.
    pub location: String,
    /// Drawn anew at each start of the agent: tells two processes with one certificate apart.
    pub instance: [u8; 16],
    /// Name and version of the program, for people.
    pub software: String,
}

impl Hello {
    /// Appends the message to `out`. A software name that is too long is cut.
    ///
    /// # Errors
    /// The location is not one; nothing is appended then.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if check_location(&self.location).is_err() {
            return Err(EncodeError { part: "location" });
        }
        framed(HELLO_MAGIC, out, |out| {
            out.extend_from_slice(&self.version.to_be_bytes());
            out.extend_from_slice(&self.features.to_be_bytes());
            out.extend_from_slice(&self.instance);
            put_text(out, &self.location, LOCATION_BYTES_MAX, "location")?;
            put_text(
                out,
                cut(&self.software, NAME_BYTES_MAX),
                NAME_BYTES_MAX,
                "software name",
            )
        })
    }

    /// Reads one message off the front of `input`: the message and how many bytes it took, or none while it is not
    /// wholly there.
    ///
    /// # Errors
    /// The bytes can never become a hello, however many follow.
    pub fn decode(input: &[u8]) -> Result<Option<(Self, usize)>, DecodeError> {
        let Some((mut body, taken)) = unframed(HELLO_MAGIC, input)? else {
            return Ok(None);
        };
        let version = body.u16("version")?;
        let features = body.u64("features")?;
        let instance = body.array("instance")?;
        let location = body.text(LOCATION_BYTES_MAX, "location")?;
        if check_location(location).is_err() {
            return Err(DecodeError::Malformed { part: "location" });
        }
        let software = body.text(NAME_BYTES_MAX, "software name")?;
        Ok(Some((
            Self {
                version,
                features,
                location: location.into(),
                instance,
                software: software.into(),
            },
            taken,
        )))
    }
}

/// The gateway takes the tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The version both will speak.
    pub version: u16,
    /// The features both will use.
    pub features: u64,
    /// The gateway's name, for people.
    pub gateway: String,
    /// The gateway's shard this tunnel lives on, below `shards`.
    pub shard: u16,
    /// How many shards the gateway has: an agent may want a tunnel to each.
    pub shards: u16,
}

/// The gateway does not take the tunnel and will close it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Why. A reason of a newer version than ours reads as [`Refusal::ProtocolError`].
    pub refusal: Refusal,
    /// The same for the agent's operator.
    pub message: String,
}

/// What a gateway says to a [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed by nature: yes or no")]
pub enum Answer {
    /// The tunnel is taken.
    Welcome(Welcome),
    /// It is not.
    Rejected(Rejected),
}

impl Answer {
    /// Appends the message to `out`. A message to the operator that is too long is cut.
    ///
    /// # Errors
    /// The gateway's name is too long or the shard is not one; nothing is appended then.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        framed(ANSWER_MAGIC, out, |out| match self {
            Self::Welcome(welcome) => {
                if welcome.shard >= welcome.shards {
                    return Err(EncodeError { part: "shard" });
                }
                out.push(WELCOME);
                out.extend_from_slice(&welcome.version.to_be_bytes());
                out.extend_from_slice(&welcome.features.to_be_bytes());
                out.extend_from_slice(&welcome.shard.to_be_bytes());
                out.extend_from_slice(&welcome.shards.to_be_bytes());
                put_text(out, &welcome.gateway, NAME_BYTES_MAX, "gateway name")
            }
            Self::Rejected(rejected) => {
                out.push(REJECTED);
                out.extend_from_slice(&rejected.refusal.number().to_be_bytes());
                put_text(
                    out,
                    cut(&rejected.message, DETAIL_BYTES_MAX),
                    DETAIL_BYTES_MAX,
                    "message",
                )
            }
        })
    }

    /// Reads one answer off the front of `input`, as [`Hello::decode`] does.
    ///
    /// # Errors
    /// The bytes can never become an answer, however many follow.
    pub fn decode(input: &[u8]) -> Result<Option<(Self, usize)>, DecodeError> {
        let Some((mut body, taken)) = unframed(ANSWER_MAGIC, input)? else {
            return Ok(None);
        };
        let answer = match body.u8("kind")? {
            WELCOME => {
                let version = body.u16("version")?;
                let features = body.u64("features")?;
                let shard = body.u16("shard")?;
                let shards = body.u16("shards")?;
                if shard >= shards {
                    return Err(DecodeError::Malformed { part: "shard" });
                }
                let gateway = body.text(NAME_BYTES_MAX, "gateway name")?.into();
                Self::Welcome(Welcome {
                    version,
                    features,
                    gateway,
                    shard,
                    shards,
                })
            }
            REJECTED => {
                let refusal =
                    Refusal::from_number(body.u16("refusal")?).unwrap_or(Refusal::ProtocolError);
                let message = body.text(DETAIL_BYTES_MAX, "message")?.into();
                Self::Rejected(Rejected { refusal, message })
            }
            _ => return Err(DecodeError::Malformed { part: "kind" }),
        };
        Ok(Some((answer, taken)))
    }
}

const HEADER: usize = 6;

/// Appends magic, length and what `body` writes; leaves `out` as it was when that fails.
fn framed(
    magic: [u8; 4],
    out: &mut Vec<u8>,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    out.extend_from_slice(&magic);
    out.extend_from_slice(&[0, 0]);
    let written = body(out).and_then(|()| {
        let length = u16::try_from(out.len() - start - HEADER).ok();
        let field = out.get_mut(start + magic.len()..start + HEADER);
        match (length, field) {
            (Some(length), Some(field)) => {
                field.copy_from_slice(&length.to_be_bytes());
                Ok(())
            }
            (None, _) | (_, None) => Err(EncodeError { part: "message" }),
        }
    });
    if written.is_err() {
        out.truncate(start);
    }
    debug_assert!(
        out.len() - start <= HELLO_BYTES_MAX,
        "the limits of the parts add up to less"
    );
    written
}

/// The body of the message at the front of `input`, and the size of the whole message.
fn unframed(magic: [u8; 4], input: &[u8]) -> Result<Option<(Reader<'_>, usize)>, DecodeError> {
    if input.iter().zip(magic).any(|(&got, wanted)| got != wanted) {
        return Err(DecodeError::Magic);
    }
    let Some(header) = input.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let [_, _, _, _, high, low] = *header;
    let announced = HEADER + usize::from(u16::from_be_bytes([high, low]));
    if announced > HELLO_BYTES_MAX {
        return Err(DecodeError::TooLarge {
            announced,
            limit: HELLO_BYTES_MAX,
        });
    }
    Ok(input
        .get(HEADER..announced)
        .map(|body| (Reader::new(body), announced)))
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    fn hello() -> Hello {
        Hello {
            version: 1,
            features: 5,
            location: "b-1".into(),
            instance: [7; 16],
            software: "aditd 0.1".into(),
        }
    }

    #[test]
    fn a_newer_peer_is_met_in_our_version_and_an_older_one_not_at_all() {
        assert_eq!(common_version(VERSION_OLDEST - 1), None);
        assert_eq!(common_version(VERSION_OLDEST), Some(VERSION_OLDEST));
        assert_eq!(common_version(VERSION), Some(VERSION));
        assert_eq!(common_version(VERSION + 1), Some(VERSION));
        assert_eq!(common_version(u16::MAX), Some(VERSION));
    }

    #[test]
    fn a_hello_has_exactly_the_documented_bytes() {
        let mut out = Vec::new();
        hello().encode(&mut out).unwrap();
        let mut expected = b"ADH1".to_vec();
        expected.extend([0, 2 + 8 + 16 + 2 + 3 + 2 + 9]);
        expected.extend([0, 1]);
        expected.extend([0, 0, 0, 0, 0, 0, 0, 5]);
        expected.extend([7; 16]);
        expected.extend(b"\x00\x03b-1\x00\x09aditd 0.1");
        assert_eq!(out, expected);
    }

    #[test]
    fn a_field_added_by_a_later_version_is_ignored() {
        let mut out = Vec::new();
        hello().encode(&mut out).unwrap();
        out.extend(b"later");
        out[5] += 5;
        let total = out.len();
        assert_eq!(Hello::decode(&out), Ok(Some((hello(), total))));
    }

    #[test]
    fn bytes_of_another_protocol_are_refused_at_the_first_wrong_byte() {
        assert_eq!(Hello::decode(b"A"), Ok(None));
        assert_eq!(Hello::decode(b"AD"), Ok(None));
        assert_eq!(Hello::decode(b"ADX"), Err(DecodeError::Magic));
        assert_eq!(Hello::decode(b"GET / HTTP/1.1"), Err(DecodeError::Magic));
        assert_eq!(Answer::decode(b"ADH1"), Err(DecodeError::Magic));
    }

    #[test]
    fn an_announced_length_above_the_limit_is_refused_before_it_arrives() {
        let longest = u16::try_from(HELLO_BYTES_MAX - HEADER).unwrap();
        let mut head = b"ADH1".to_vec();
        head.extend(longest.to_be_bytes());
        assert_eq!(Hello::decode(&head), Ok(None));
        let mut head = b"ADH1".to_vec();
        head.extend((longest + 1).to_be_bytes());
        assert_eq!(
            Hello::decode(&head),
            Err(DecodeError::TooLarge {
                announced: HELLO_BYTES_MAX + 1,
                limit: HELLO_BYTES_MAX
            })
        );
    }

    #[test]
    fn a_location_that_is_none_is_refused_on_both_sides() {
        let mut out = vec![9];
        let bad = Hello {
            location: "a b".into(),
            ..hello()
        };
        assert_eq!(bad.encode(&mut out), Err(EncodeError { part: "location" }));
        assert_eq!(out, [9], "nothing was appended");
        let mut good = Vec::new();
        hello().encode(&mut good).unwrap();
        let at = good.windows(3).position(|w| w == b"b-1").unwrap();
        good[at + 1] = b' ';
        assert_eq!(
            Hello::decode(&good),
            Err(DecodeError::Malformed { part: "location" })
        );
    }

    #[test]
    fn the_longest_location_fits_and_one_byte_more_does_not() {
        let mut out = Vec::new();
        let longest = Hello {
            location: "x".repeat(LOCATION_BYTES_MAX),
            ..hello()
        };
        assert_eq!(longest.encode(&mut out), Ok(()));
        assert!(matches!(Hello::decode(&out), Ok(Some((read, _))) if read == longest));
        let longer = Hello {
            location: "x".repeat(LOCATION_BYTES_MAX + 1),
            ..hello()
        };
        assert!(longer.encode(&mut out).is_err());
    }

    #[test]
    fn a_long_software_name_is_cut_rather_than_refused() {
        let mut out = Vec::new();
        Hello {
            software: "s".repeat(NAME_BYTES_MAX + 1),
            ..hello()
        }
        .encode(&mut out)
        .unwrap();
        let (read, _) = Hello::decode(&out).unwrap().unwrap();
        assert_eq!(read.software.len(), NAME_BYTES_MAX);
    }

    #[test]
    fn a_rejection_with_a_reason_we_do_not_know_yet_still_reads() {
        let mut out = Vec::new();
        Answer::Rejected(Rejected {
            refusal: Refusal::Draining,
            message: "no".into(),
        })
        .encode(&mut out)
        .unwrap();
        out[7..9].copy_from_slice(&u16::MAX.to_be_bytes());
        let (read, _) = Answer::decode(&out).unwrap().unwrap();
        assert_eq!(
            read,
            Answer::Rejected(Rejected {
                refusal: Refusal::ProtocolError,
                message: "no".into()
            })
        );
    }

    #[test]
    fn a_shard_the_gateway_does_not_have_is_refused() {
        let welcome = |shard, shards| {
            Answer::Welcome(Welcome {
                version: 1,
                features: 0,
                gateway: "g".into(),
                shard,
                shards,
            })
            .encode(&mut Vec::new())
        };
        assert_eq!(welcome(1, 2), Ok(()));
        assert_eq!(welcome(2, 2), Err(EncodeError { part: "shard" }));
        assert_eq!(welcome(0, 0), Err(EncodeError { part: "shard" }));
        // Kind, version, features, then shard 2 of 2, then an empty name.
        let mut bytes = b"ADA1\0\x11\0\0\x01".to_vec();
        bytes.extend([0; 8]);
        bytes.extend([0, 2, 0, 2, 0, 0]);
        assert_eq!(
            Answer::decode(&bytes),
            Err(DecodeError::Malformed { part: "shard" })
        );
        bytes[18] = 1;
        assert!(
            matches!(Answer::decode(&bytes), Ok(Some((Answer::Welcome(w), 23))) if w.shard == 1)
        );
    }
}
