//! JSON that means one thing only.
//!
//! Reads an object whose members are all distinct, at every depth: two readers of such bytes
//! cannot disagree. What the members mean is left to `jws`, `keys` and `claims`.

use core::fmt;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::error::quoted;

/// The members of an object.
pub(crate) type Object = BTreeMap<String, Json>;

/// One JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool,
    Number(Number),
    Text(String),
    List(Vec<Self>),
    Object(Object),
}

/// A JSON number as far as a time of day needs it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Natural(u64),
    Negative,
    Fraction(f64),
}

/// Why bytes are not such an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JsonError {
    Syntax(String),
    DuplicateKey(String),
    NotAnObject,
}

/// Reads one object and nothing after it.
pub(crate) fn object(bytes: &[u8]) -> Result<Object, JsonError> {
    match serde_json::from_slice(bytes) {
        Ok(Json::Object(members)) => Ok(members),
        Ok(Json::Null | Json::Bool | Json::Number(_) | Json::Text(_) | Json::List(_)) => {
            Err(JsonError::NotAnObject)
        }
        // The visitor takes every kind of value, so the only data error is its own.
        Err(error) if error.is_data() => Err(JsonError::DuplicateKey(duplicate_of(&error))),
        Err(error) => Err(JsonError::Syntax(error.to_string())),
    }
}

impl Json {
    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Bool | Self::Number(_) | Self::List(_) | Self::Object(_) => None,
        }
    }
}

impl Number {
    /// Whole seconds since 1970, rounded down; what lies before 1970 is 0.
    ///
    /// `None` beyond 2^53, where a float no longer counts single seconds: no issuer means it.
    pub(crate) fn seconds(self) -> Option<u64> {
        const EXACT: u64 = 1 << 53;
        const EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;
        match self {
            Self::Natural(seconds) => (seconds <= EXACT).then_some(seconds),
            Self::Negative => Some(0),
            Self::Fraction(seconds) if seconds < 0.0 => Some(0),
            #[expect(
                clippy::as_conversions,
                clippy::cast_possible_truncation,
                reason = "the guard keeps it between 0 and 2^53, where the cast rounds down exactly"
            )]
            Self::Fraction(seconds) if (0.0..=EXACT_FLOAT).contains(&seconds) => {
                Some(seconds as u64)
            }
            Self::Fraction(_) => None,
        }
    }
}

/// Takes the key back out of serde_json's message (`duplicate key NAME at line 1 column 9`).
fn duplicate_of(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let name = message.strip_prefix(DUPLICATE).unwrap_or(&message);
    let name = name.rsplit_once(" at line ").map_or(name, |(name, _)| name);
    name.to_owned()
}

const DUPLICATE: &str = "duplicate key ";

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Bool)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Number(Number::Natural(number)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Number(
            u64::try_from(number).map_or(Number::Negative, Number::Natural),
        ))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Number(Number::Fraction(number)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(Json::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Json::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members = Object::new();
        while let Some(name) = map.next_key::<String>()? {
            match members.entry(name) {
                Entry::Vacant(free) => {
                    free.insert(map.next_value()?);
                }
                Entry::Occupied(taken) => {
                    let name = quoted(taken.key());
                    return Err(A::Error::custom(format_args!("{DUPLICATE}{name}")));
                }
            }
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<u64> {
        let members = object(format!(r#"{{"exp":{text}}}"#).as_bytes()).ok()?;
        match members.get("exp") {
            Some(Json::Number(number)) => number.seconds(),
            _ => None,
        }
    }

    #[test]
    fn a_member_named_twice_is_refused_at_every_depth() {
        for (text, name) in [
            (r#"{"a":1,"a":1}"#, "a"),
            (r#"{"a":1,"b":2,"\u0061":1}"#, "a"),
            (r#"{"x":{"y":[{"b c":1,"b c":2}]}}"#, "b c"),
            (r#"{"":1,"":2}"#, ""),
        ] {
            assert_eq!(
                object(text.as_bytes()),
                Err(JsonError::DuplicateKey(name.to_owned())),
                "{text}"
            );
        }
        assert!(object(br#"{"a":{"a":1},"A":1}"#).is_ok());
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["null", "true", "1", "\"a\"", "[{}]"] {
            assert_eq!(
                object(text.as_bytes()),
                Err(JsonError::NotAnObject),
                "{text}"
            );
        }
    }

    #[test]
    fn damaged_json_is_a_syntax_error() {
        let mut texts: Vec<Vec<u8>> = [
            "",
            "{",
            "{}x",
            "{} {}",
            "{'a':1}",
            "{\"a\":01}",
            "{\"a\":NaN}",
            "{\"a\":1e999}",
            "{\"a\":\"\\ud800\"}",
            "\u{feff}{}",
        ]
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect();
        texts.push(b"{\"a\":\"\xff\"}".to_vec());
        texts.push([b"{\"a\":".repeat(1000), b"1".to_vec(), b"}".repeat(1000)].concat());
        for text in texts {
            assert!(
                matches!(object(&text), Err(JsonError::Syntax(_))),
                "{}",
                String::from_utf8_lossy(&text)
            );
        }
    }

    #[test]
    fn numbers_are_seconds_when_they_can_be_counted() {
        assert_eq!(seconds("0"), Some(0));
        assert_eq!(seconds("1300819380"), Some(1_300_819_380));
        assert_eq!(seconds("1300819380.999"), Some(1_300_819_380));
        assert_eq!(seconds("1.3e9"), Some(1_300_000_000));
        assert_eq!(seconds("-1"), Some(0));
        assert_eq!(seconds("-0.5"), Some(0));
        assert_eq!(seconds("9007199254740992"), Some(1 << 53));
        assert_eq!(seconds("9007199254740993"), None);
        assert_eq!(seconds("18446744073709551615"), None);
        assert_eq!(seconds("18446744073709551616"), None);
        assert_eq!(seconds("1e300"), None);
        assert_eq!(seconds("\"1300819380\""), None);
    }
}
