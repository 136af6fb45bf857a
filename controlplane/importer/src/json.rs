//! JSON as a tree that keeps what others drop: a member that is there twice is an error with its place.
//!
//! What the members mean is not known here.
use core::cell::Cell;
use core::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

use crate::limits::JSON_VALUES_MAX;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Flag(bool),
    /// A whole number from 0, or `None` for any other one.
    Number(Option<u64>),
    Text(String),
    List(Vec<Self>),
    Members(Vec<(String, Self)>),
}

impl Json {
    /// Reads a document.
    ///
    /// # Errors
    /// What is wrong, with line and column.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let seen = Cell::new(0);
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let value = Seed { seen: &seen }.deserialize(&mut reader)?;
        reader.end()?;
        Ok(value)
    }

    /// A member of an object; `None` also for the value `null`, which says as much as an absent one.
    pub(crate) fn member(&self, name: &str) -> Option<&Self> {
        let Self::Members(members) = self else {
            return None;
        };
        let (_, value) = members.iter().find(|(key, _)| key == name)?;
        (*value != Self::Null).then_some(value)
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Flag(_) | Self::Number(_) | Self::List(_) | Self::Members(_) => None,
        }
    }

    /// What the value is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Flag(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Members(_) => "an object",
        }
    }
}

#[derive(Clone, Copy)]
struct Seed<'c> {
    seen: &'c Cell<usize>,
}

impl Seed<'_> {
    fn count<E: Error>(self) -> Result<(), E> {
        let seen = self.seen.get() + 1;
        self.seen.set(seen);
        if seen > JSON_VALUES_MAX {
            return Err(E::custom(format_args!(
                "a document has at most {JSON_VALUES_MAX} values"
            )));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Json, D::Error> {
        self.count()?;
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Json, E> {
        Ok(Json::Flag(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Number(Some(number)))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Number(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Number(None))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(Json::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = sequence.next_element_seed(self)? {
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members: Vec<(String, Json)> = Vec::new();
        // Few objects are large; for those a list would be searched once too often.
        let mut names = std::collections::HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format_args!(
                    "member {} is there twice",
                    crate::finding::quoted(&name)
                )));
            }
            let value = map.next_value_seed(self)?;
            members.push((name, value));
        }
        Ok(Json::Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_is_there_twice_is_told_with_its_place() {
        let error = Json::read(b"{\"a\": 1,\n \"b\": {\"x\": 1, \"x\": 2}}").unwrap_err();
        assert_eq!(error.line(), 2);
        assert!(error.to_string().contains("`x` is there twice"), "{error}");
    }

    #[test]
    fn a_document_holds_as_many_values_as_the_limit_and_no_more() {
        let list = |values: usize| format!("[{}0]", "0,".repeat(values - 1));
        // the list itself is one
        assert!(Json::read(list(JSON_VALUES_MAX - 1).as_bytes()).is_ok());
        assert!(Json::read(list(JSON_VALUES_MAX).as_bytes()).is_err());
    }

    #[test]
    fn what_follows_the_document_is_an_error() {
        assert!(Json::read(b"[] []").is_err());
        assert!(Json::read(b"").is_err());
        assert_eq!(
            Json::read(b" [-1, 2.5, 7] ").unwrap(),
            Json::List(vec![
                Json::Number(None),
                Json::Number(None),
                Json::Number(Some(7)),
            ])
        );
    }
}
