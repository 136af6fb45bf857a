//! Where things are in the store, and how their values are written.
//!
//! ```text
//! generation/number                           which generation counts: a restored backup is the next one
//! generation/restoring                        the mark of the restore that writes the next generation
//! g1/...                                      all of a generation; what follows is below it
//! meta/life                                   how many lives this control plane has had
//! meta/authority                              the sealed authority
//! meta/trust                                  version of what nodes trust
//! meta/setup                                  hash of the one-time setup token, until it is used
//! acts/head  acts/line/00..42                 who did what
//! users/ada  bearers/HASH                    people
//! invitations/HASH                            nodes to come
//! nodes/agent/acme/berlin-1  nodes/gateway/-/gw-1
//! revoked/SERIAL                              certificates that no longer count, until they end
//! heads/acme/=plant-1                         which version of a place's rules is in force
//! rules/acme/=plant-1/meta/00..42  .../document/00..42
//! sent/syslog                                 how far a sink has come with who did what
//! live/sender/turn  live/sender/facts         leased: who sends, and how it goes
//! live/server/NAME  live/node/agent/acme/berlin-1     leased: what is up
//! asks/SERVER/ID  answers/SERVER/ID           leased: questions to nodes that are connected elsewhere
//! ```
//!
//! Names that come in here are checked before, as `UserName`, `NodeId`, `Place` or by `is_subaccount`: letters, digits,
//! `.`, `_`, `-`; locations are URI-safe and stand behind `=`, since the default one is empty. A name that nobody has
//! checked is no key of anything either: see `name`.

use std::borrow::Cow;

use adit_people::UserName;
use adit_store::{Error, Key, Prefix, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::place::{NodeId, Place};
use crate::secret::hex;

fn key(text: String) -> Key {
    Key::new(text).expect("keys are put together of words of ours, checked types and `name`s")
}

fn prefix(text: String) -> Prefix {
    Prefix::new(text).expect("keys are put together of words of ours, checked types and `name`s")
}

/// A text as a part of a key: itself, if it can be one; else a name under which nothing ever is, since nobody can be
/// called so. What somebody asks for by it is not found.
fn name(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte);
    let is_name = (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(plain)
        && !matches!(text, "." | "..");
    if is_name {
        Cow::Borrowed(text)
    } else {
        let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        Cow::Owned(format!("%{}", hex(hash.as_ref())))
    }
}

/// Bytes of a name as it is: of users, subaccounts, nodes and servers, of hashes and serials. The longest key, that of a
/// document, has two of them and stays below what the store takes.
const NAME_BYTES_MAX: usize = 128;

pub(crate) fn generations() -> Prefix {
    prefix("generation/".to_owned())
}

pub(crate) fn generation() -> Key {
    key("generation/number".to_owned())
}

pub(crate) fn restoring() -> Key {
    key("generation/restoring".to_owned())
}

/// The key of the whole store that is `key` in a generation.
///
/// # Errors
/// It is too long there.
pub(crate) fn of_generation(number: u64, key: &Key) -> Result<Key, Error> {
    Key::new(format!("g{number}/{key}")).map_err(|error| Error::Corrupt {
        place: key.to_string(),
        why: error.to_string(),
    })
}

pub(crate) fn generation_prefix(number: u64) -> Prefix {
    prefix(format!("g{number}/"))
}

pub(crate) fn all_meta() -> Prefix {
    prefix("meta/".to_owned())
}

pub(crate) fn life() -> Key {
    key("meta/life".to_owned())
}

pub(crate) fn authority() -> Key {
    key("meta/authority".to_owned())
}

pub(crate) fn trust() -> Key {
    key("meta/trust".to_owned())
}

pub(crate) fn setup() -> Key {
    key("meta/setup".to_owned())
}

pub(crate) fn acts_head() -> Key {
    key("acts/head".to_owned())
}

pub(crate) fn acts() -> Prefix {
    prefix("acts/line/".to_owned())
}

pub(crate) fn act(sequence: u64) -> Key {
    key(format!("acts/line/{sequence:020}"))
}

/// How far a sink has come.
pub(crate) fn sent(sink: &str) -> Key {
    key(format!("sent/{sink}"))
}

pub(crate) fn sender_turn() -> Key {
    key("live/sender/turn".to_owned())
}

pub(crate) fn sender_facts() -> Key {
    key("live/sender/facts".to_owned())
}

pub(crate) fn users() -> Prefix {
    prefix("users/".to_owned())
}

pub(crate) fn user(user: &UserName) -> Key {
    key(format!("users/{user}"))
}

pub(crate) fn bearers() -> Prefix {
    prefix("bearers/".to_owned())
}

pub(crate) fn bearer(hash: &str) -> Key {
    key(format!("bearers/{}", name(hash)))
}

pub(crate) fn invitations() -> Prefix {
    prefix("invitations/".to_owned())
}

pub(crate) fn invitation(hash: &str) -> Key {
    key(format!("invitations/{}", name(hash)))
}

pub(crate) fn all_agents() -> Prefix {
    prefix("nodes/agent/".to_owned())
}

pub(crate) fn agents_of(subaccount: &str) -> Prefix {
    prefix(format!("nodes/agent/{}/", name(subaccount)))
}

pub(crate) fn gateways() -> Prefix {
    prefix("nodes/gateway/-/".to_owned())
}

pub(crate) fn node(id: &NodeId) -> Key {
    key(format!("nodes/{id}"))
}

pub(crate) fn revoked_all() -> Prefix {
    prefix("revoked/".to_owned())
}

pub(crate) fn revoked(serial: &str) -> Key {
    key(format!("revoked/{}", name(serial)))
}

pub(crate) fn heads() -> Prefix {
    prefix("heads/".to_owned())
}

pub(crate) fn heads_of(subaccount: &str) -> Prefix {
    prefix(format!("heads/{}/", name(subaccount)))
}

// Apart from what a place keeps of its versions: who looks for heads need not pass all documents.
pub(crate) fn head(place: &Place) -> Key {
    key(format!(
        "heads/{}/={}",
        place.subaccount(),
        place.location()
    ))
}

/// The place of a head, if `key` is one.
pub(crate) fn place_of_head(key: &Key) -> Option<Place> {
    let rest = key.as_str().strip_prefix("heads/")?;
    let (subaccount, location) = rest.split_once("/=")?;
    Place::new(subaccount, location).ok()
}

pub(crate) fn meta(place: &Place, version: u64) -> Key {
    key(format!(
        "rules/{}/={}/meta/{version:020}",
        place.subaccount(),
        place.location()
    ))
}

pub(crate) fn document(place: &Place, version: u64) -> Key {
    key(format!(
        "rules/{}/={}/document/{version:020}",
        place.subaccount(),
        place.location()
    ))
}

pub(crate) fn servers() -> Prefix {
    prefix("live/server/".to_owned())
}

pub(crate) fn server(server: &str) -> Key {
    key(format!("live/server/{}", name(server)))
}

pub(crate) fn live_gateways() -> Prefix {
    prefix("live/node/gateway/-/".to_owned())
}

pub(crate) fn live_agents_of(subaccount: &str) -> Prefix {
    prefix(format!("live/node/agent/{}/", name(subaccount)))
}

pub(crate) fn live(id: &NodeId) -> Key {
    key(format!("live/node/{id}"))
}

/// The node of a live key.
pub(crate) fn node_of_live(key: &Key) -> Option<NodeId> {
    NodeId::parse(key.as_str().strip_prefix("live/node/")?)
}

pub(crate) fn asks(server: &str) -> Prefix {
    prefix(format!("asks/{}/", name(server)))
}

pub(crate) fn ask(server: &str, id: &str) -> Key {
    key(format!("asks/{}/{}", name(server), name(id)))
}

pub(crate) fn answers(server: &str) -> Prefix {
    prefix(format!("answers/{}/", name(server)))
}

pub(crate) fn answer(server: &str, id: &str) -> Key {
    key(format!("answers/{}/{}", name(server), name(id)))
}

/// A value as it is stored.
pub(crate) fn write<T: Serialize>(value: &T) -> Value {
    // Texts, numbers and lists: there is nothing JSON cannot say.
    Value::from(serde_json::to_vec(value).unwrap_or_default())
}

/// Reads what [`write`] wrote.
///
/// # Errors
/// [`Error::Corrupt`]: something else is there.
pub(crate) fn read<T: DeserializeOwned>(key: &Key, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Corrupt {
        place: key.to_string(),
        why: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_a_panic_or_anothers_key() {
        let long = "n".repeat(NAME_BYTES_MAX + 1);
        let texts = [
            "",
            ".",
            "..",
            "/",
            "a/b",
            "\0",
            "a b",
            "%",
            "=",
            "\u{e4}",
            &long,
            &"x".repeat(5000),
        ];
        for text in texts {
            for found in [
                agents_of(text),
                heads_of(text),
                live_agents_of(text),
                asks(text),
                answers(text),
            ] {
                assert!(found.as_str().contains("/%"), "{found:?}");
            }
            for found in [
                bearer(text),
                invitation(text),
                revoked(text),
                server(text),
                ask(text, text),
                answer("cp-1", text),
            ] {
                assert!(found.as_str().contains("/%"), "{found:?}");
            }
            assert_ne!(bearer(text), bearer("other/"), "{text:?}");
        }
        let longest = "n".repeat(NAME_BYTES_MAX);
        for text in ["a", "...", "a.b_c-d@e+f", &longest] {
            assert_eq!(server(text).as_str(), format!("live/server/{text}"));
        }
    }

    #[test]
    fn the_longest_names_make_keys_in_every_generation() {
        let name = "n".repeat(NAME_BYTES_MAX);
        let location = "l".repeat(adit_proto::limits::LOCATION_BYTES_MAX);
        let place = Place::new(&name, &location).unwrap();
        let agent = NodeId::agent(&name, &name).unwrap();
        for key in [document(&place, u64::MAX), live(&agent), ask(&name, &name)] {
            of_generation(u64::MAX, &key).unwrap();
        }
    }
}
