//! Where things are in the store, and how their values are written.
//!
//! ```text
//! generation/number                           which generation counts, a restored backup is the next one; the format
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
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value as Json;

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

/// Reads what [`write`] wrote: all of it or nothing. A record with a member that this version does not know may say what
/// must not be passed over, and would lose it when it is written anew.
///
/// # Errors
/// [`Error::Newer`]: this version does not know all of it. [`Error::Corrupt`]: it is no record at all.
pub(crate) fn read<T: DeserializeOwned + Serialize>(key: &Key, bytes: &[u8]) -> Result<T, Error> {
    let value: T = hear(key, bytes)?;
    let known = serde_json::to_vec(&value).unwrap_or_default();
    // What this version wrote it writes again; only other records are looked at closely.
    if known != bytes
        && let (Ok(known), Ok(all)) = (
            serde_json::from_slice::<Json>(&known),
            serde_json::from_slice::<Json>(bytes),
        )
        && let Some(member) = unknown(&known, &all)
    {
        return Err(Error::Newer {
            place: key.to_string(),
            why: format!("this version does not know its member `{member}`"),
        });
    }
    Ok(value)
}

/// Reads what is not kept: what servers say to each other for a moment, and lines that are never written anew; and of kept
/// records what nobody may be kept waiting for, as which certificates are revoked. Members that are not known are passed
/// over, so nothing of it is ever written.
///
/// # Errors
/// As for [`read`].
pub(crate) fn hear<T: DeserializeOwned>(key: &Key, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| {
        let (place, why) = (key.to_string(), error.to_string());
        // The store has held it against its hash: what is a whole value was written so.
        if serde_json::from_slice::<IgnoredAny>(bytes).is_ok() {
            Error::Newer { place, why }
        } else {
            Error::Corrupt { place, why }
        }
    })
}

/// The first member of `all`, wherever it stands in it, that is not in `known`.
fn unknown(known: &Json, all: &Json) -> Option<String> {
    match (known, all) {
        (Json::Object(known), Json::Object(all)) => all.iter().find_map(|(name, value)| {
            match known.get(name) {
                // Nothing said is nothing lost.
                None => (!value.is_null()).then(|| name.clone()),
                Some(known) => unknown(known, value),
            }
        }),
        (Json::Array(known), Json::Array(all)) => known
            .iter()
            .zip(all)
            .find_map(|(known, all)| unknown(known, all)),
        (_, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use adit_api::{Canary, Version};
    use serde_json::json;

    use super::*;
    use crate::book::Head;
    use crate::register::Enrolment;

    fn read_json<T: DeserializeOwned + Serialize>(record: &Json) -> Result<T, Error> {
        let key = Key::new("a/record").unwrap();
        read(&key, record.to_string().as_bytes())
    }

    #[test]
    fn r15_a_record_with_a_member_that_is_not_known_is_refused_and_not_damaged() {
        let enrolment = json!({
            "location": "", "enrolled_unix_s": 1, "revoked": false,
            "certificates": [{"serial": "a", "until_unix_s": 2}],
        });
        let head = json!({"version": 1, "last": 2, "canary": {"version": 2, "agents": ["a"]}});
        read_json::<Enrolment>(&enrolment).unwrap();
        let known: Head = read_json(&head).unwrap();
        assert_eq!(
            known.canary,
            Some(Canary {
                version: 2,
                agents: vec!["a".to_owned()]
            })
        );

        // In the record itself and in what stands in it; also a member of another kind.
        let mut later = [enrolment.clone(), enrolment.clone(), enrolment];
        later[0]["not_before"] = json!(7);
        later[1]["certificates"][0]["not_before"] = json!(7);
        later[2]["revoked"] = json!({"since": 7});
        for (record, told) in later
            .iter()
            .zip(["`not_before`", "`not_before`", "boolean"])
        {
            let refused = read_json::<Enrolment>(record).unwrap_err();
            assert!(matches!(refused, Error::Newer { .. }), "{refused:?}");
            let text = refused.to_string();
            assert!(text.contains("a/record") && text.contains(told), "{text}");
            assert!(text.contains("start the newer version"), "{text}");
        }
        let mut later = head;
        later["canary"]["until_unix_s"] = json!(7);
        assert!(read_json::<Head>(&later).is_err());
        // What is no record at all is another trouble.
        let key = Key::new("a/record").unwrap();
        let damaged = read::<Head>(&key, b"{\"version\":1").unwrap_err();
        assert!(matches!(damaged, Error::Corrupt { .. }), "{damaged:?}");
    }

    #[test]
    fn r15_a_record_of_an_earlier_version_lacks_what_came_later_and_is_read() {
        // `abandoned` and the like came later; what says nothing is nothing.
        let head: Head = read_json(&json!({"version": 1, "last": 1, "canary": null})).unwrap();
        assert_eq!((head.version, head.canary), (1, None));
        let head: Head = read_json(&json!({"later": null, "version": 1, "last": 1})).unwrap();
        assert_eq!(head.version, 1);
        let version = json!({
            "subaccount": "acme", "location": "", "epoch": 1, "version": 1, "sha256": "", "systems": 0, "resources": 0,
            "changed_unix_s": 1, "changed_by": "ada", "message": "", "change": {"applied": {}},
        });
        read_json::<Version>(&version).unwrap();
    }

    #[test]
    fn r15_servers_of_two_versions_hear_each_other() {
        let key = server("cp-1");
        let said = json!({"version": 1, "last": 1, "canary": null, "later": 1}).to_string();
        assert_eq!(hear::<Head>(&key, said.as_bytes()).unwrap().last, 1);
    }

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
