//! HTTP methods as rules list them: a set that answers in constant time.
//!
//! Methods are case-sensitive (RFC 9110, section 9.1). None implies another: `GET` does not allow `HEAD`.
use core::fmt;

use serde::Serialize;

use crate::limits::METHOD_BYTES_MAX;

/// Registered methods and those that WebDAV, SAP OData and UPnP services use, sorted. Their index is their bit.
const KNOWN: [&str; 50] = [
    "ACL",
    "BASELINE-CONTROL",
    "BCOPY",
    "BDELETE",
    "BIND",
    "BMOVE",
    "BPROPFIND",
    "BPROPPATCH",
    "CHECKIN",
    "CHECKOUT",
    "CONNECT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "NOTIFY",
    "OPTIONS",
    "ORDERPATCH",
    "PATCH",
    "POLL",
    "POST",
    "PRI",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "PUT",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "SUBSCRIBE",
    "TRACE",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UNSUBSCRIBE",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
];

/// The methods a resource allows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Methods {
    all: bool,
    known: u64,
    /// Methods outside [`KNOWN`], sorted.
    others: Box<[Box<str>]>,
}

impl Methods {
    /// Every method.
    #[must_use]
    pub fn all() -> Self {
        Self {
            all: true,
            known: u64::MAX,
            others: Box::default(),
        }
    }

    /// Exactly these methods.
    pub fn these<'m>(methods: impl IntoIterator<Item = &'m str>) -> Self {
        let mut known = 0;
        let mut others: Vec<Box<str>> = Vec::new();
        for method in methods {
            match bit(method) {
                Some(bit) => known |= bit,
                None => others.push(method.into()),
            }
        }
        others.sort_unstable();
        others.dedup();
        Self {
            all: false,
            known,
            others: others.into(),
        }
    }

    /// Whether the text of a rule set may list `method`: it is one, of bounded length, and nobody mistyped another one.
    #[must_use]
    pub fn is_listable(method: &str) -> bool {
        is_token(method)
            && method.len() <= METHOD_BYTES_MAX
            && method != "CONNECT"
            && probably_meant(method).is_none()
    }

    /// Whether every method is allowed.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.all
    }

    /// Whether `method` is allowed.
    #[must_use]
    pub fn contains(&self, method: &str) -> bool {
        self.all
            || match bit(method) {
                Some(bit) => self.known & bit != 0,
                None => self.others.iter().any(|other| **other == *method),
            }
    }

    /// The methods by name, in alphabetical order; none when all are allowed.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let listed = if self.all { 0 } else { self.known };
        KNOWN
            .iter()
            .copied()
            .enumerate()
            .filter(move |(index, _)| listed >> index & 1 == 1)
            .map(|(_, name)| name)
            .chain(self.others.iter().map(|other| &**other))
    }

    /// The known methods as bits of [`bit`]; all ones when every method is allowed.
    pub(crate) fn known_bits(&self) -> u64 {
        self.known
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.all {
            return f.write_str("all methods");
        }
        for (index, name) in self.names().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

impl Serialize for Methods {
    /// As the list of names, or as the word `all`.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.all {
            return serializer.serialize_str("all");
        }
        serializer.collect_seq(self.names())
    }
}

/// The bit of a known method.
pub(crate) fn bit(method: &str) -> Option<u64> {
    KNOWN.binary_search(&method).ok().map(|index| 1 << index)
}

//= RFC 9110, section 5.6.2
//# token = 1*tchar
pub(crate) fn is_token(method: &str) -> bool {
    !method.is_empty()
        && method
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// The known method that an unknown one was probably meant to be: the same letters in another case, or one slip of
/// the keyboard away. Anything further off is taken for a method of its own.
pub(crate) fn probably_meant(method: &str) -> Option<&'static str> {
    if bit(method).is_some() {
        return None;
    }
    let upper = method.to_ascii_uppercase();
    KNOWN
        .iter()
        .copied()
        .find(|known| *known == upper)
        .or_else(|| {
            KNOWN
                .iter()
                .copied()
                .find(|known| strsim::osa_distance(known, &upper) <= 1)
        })
}

const _: () = assert!(KNOWN.len() <= 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_methods_are_sorted_so_that_each_is_found() {
        assert!(KNOWN.is_sorted());
        for method in KNOWN {
            assert!(bit(method).is_some(), "{method}");
        }
    }

    #[test]
    fn a_set_contains_what_it_lists_and_nothing_else() {
        let methods = Methods::these(["GET", "MERGE", "XYZZY"]);
        for method in ["GET", "MERGE", "XYZZY"] {
            assert!(methods.contains(method), "{method}");
        }
        for method in ["get", "HEAD", "POST", "", "XYZZ", "GET "] {
            assert!(!methods.contains(method), "{method}");
        }
        assert_eq!(
            methods.names().collect::<Vec<_>>(),
            ["GET", "MERGE", "XYZZY"]
        );
        assert!(Methods::all().contains("ANYTHING"));
        assert_eq!(Methods::all().names().count(), 0);
    }

    #[test]
    fn what_a_text_may_list_is_what_reading_one_takes() {
        for (method, listable) in [
            ("GET", true),
            ("XYZZY", true),
            ("get", false),
            ("POTS", false),
            ("CONNECT", false),
            ("", false),
            ("A B", false),
            (&*"X".repeat(METHOD_BYTES_MAX), true),
            (&*"X".repeat(METHOD_BYTES_MAX + 1), false),
        ] {
            assert_eq!(Methods::is_listable(method), listable, "{method}");
            let text = format!(
                "[[system]]\nvirtual = \"a:80\"\nprotocol = \"http\"\ninternal = \"http://b\"\n\
                 [[system.resource]]\npath = \"/\"\nmethods = [\"{method}\"]\n"
            );
            assert_eq!(crate::parse("rules", &text).is_ok(), listable, "{method}");
        }
    }

    #[test]
    fn slips_are_recognised_and_other_methods_are_left_alone() {
        assert_eq!(probably_meant("get"), Some("GET"));
        assert_eq!(probably_meant("Get"), Some("GET"));
        assert_eq!(probably_meant("GTE"), Some("GET"));
        assert_eq!(probably_meant("POTS"), Some("POST"));
        assert_eq!(probably_meant("DELTE"), Some("DELETE"));
        assert_eq!(probably_meant("XYZZY"), None);
        for known in KNOWN {
            assert_eq!(probably_meant(known), None, "{known}");
        }
    }
}
